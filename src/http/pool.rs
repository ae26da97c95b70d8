//! Connections that wait for the next request.
//!
//! A running stream has an agent of its own, so that cancelling it touches no other. One that was
//! read to its end leaves its agent, and with it the connection, in a list for the whole process.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::{Agent, Proxy};

use super::connector;
use super::control::{Limits, Line};
use super::fault;
use super::{Origin, proxy};
use crate::cancel::{CancelHandle, Interrupt};
use crate::config::GenerationConfig;
use crate::error::Error;
use crate::provider::LlmProvider;

/// How many connections wait at most.
const KEPT: usize = 8;
/// How long one may have waited. Servers close theirs after a minute or more, as a rule.
const MAX_AGE: Duration = Duration::from_secs(55);
/// What the buffers of a socket, and with TLS those of the session, hold. The head of an answer has
/// to fit into the first, and each line of a request's head into the second.
const INPUT: usize = 24 << 10;
const OUTPUT: usize = 8 << 10;

static WAITING: Mutex<Vec<(Instant, Connection)>> = Mutex::new(Vec::new());

/// All that two requests must have in common to use the same connection.
#[derive(Clone, PartialEq)]
pub(super) struct Settings {
    origin: Origin,
    pub(super) proxy: Option<Proxy>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
}

impl Settings {
    pub(super) fn new(
        origin: &Origin,
        provider: LlmProvider,
        config: &GenerationConfig,
    ) -> Result<Self, Error> {
        let proxy = proxy::choose(origin, provider, config)?;
        let variable = || config.environment.get("SSL_CERT_FILE").map(PathBuf::from);
        let uses_tls = origin.secure || proxy.as_ref().is_some_and(is_secure);
        Ok(Self {
            origin: origin.clone(),
            proxy,
            // A file that is not needed need not be there.
            ca_file: config.ca_file.clone().or_else(variable).filter(|_| uses_tls),
            client_certificate: config.client_certificate.clone().filter(|_| uses_tls),
        })
    }
}

fn is_secure(proxy: &Proxy) -> bool {
    proxy.protocol() == ureq::ProxyProtocol::Https
}

/// An agent that serves one stream at a time, and so has one connection at most.
pub(super) struct Connection {
    pub(super) agent: Agent,
    pub(super) line: Arc<Line>,
    pub(super) settings: Settings,
}

impl Connection {
    pub(super) fn new(settings: Settings, provider: LlmProvider) -> Result<Self, Error> {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("kerb-stream/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .input_buffer_size(INPUT)
            .output_buffer_size(OUTPUT)
            // A full buffer reads nothing, which would look like a connection that was closed.
            .max_response_header_size(INPUT - 1)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(2 * MAX_AGE)
            .proxy(settings.proxy.clone());
        #[cfg(feature = "rustls")]
        let (agent, line) = {
            let tls = super::tls::tls(&settings, provider)?;
            connector::agent(config.tls_config(tls.config).build(), tls.connector)
        };
        #[cfg(not(feature = "rustls"))]
        let (agent, line) = {
            let _ = provider;
            connector::agent(config.build(), connector::Plain)
        };
        Ok(Self { agent, line, settings })
    }

    /// A request begins, which `cancel` ends.
    pub(super) fn begin(&self, limits: Limits, cancel: &CancelHandle) {
        self.line.begin(limits);
        let line: Weak<Line> = Arc::downgrade(&self.line);
        let line: Weak<dyn Interrupt> = line;
        cancel.attach(line);
    }

    /// Whether a request failed only because the connection was of no more use: the server had
    /// closed it, or something comes over it that is no TLS.
    pub(super) fn is_stale(&self, error: &ureq::Error) -> bool {
        let is_broken = |error: &io::Error| {
            fault::is_disconnect(error) || error.kind() == io::ErrorKind::InvalidData
        };
        matches!(error, ureq::Error::Io(error) if is_broken(error)) && self.line.is_stale()
    }
}

/// A connection that waits for such a request.
pub(super) fn take(settings: &Settings) -> Option<Connection> {
    let mut waiting = waiting();
    let old = expired(&mut waiting);
    let at = waiting.iter().rposition(|(_, connection)| connection.settings == *settings);
    let found = at.map(|at| waiting.remove(at).1);
    drop(waiting);
    // Closing a socket may take its time.
    drop(old);
    found
}

/// Keeps a connection whose answer was read to its end, unless the server or somebody has closed
/// it.
pub(super) fn give(connection: Connection) {
    if !connection.line.is_open() {
        return;
    }
    let mut waiting = waiting();
    let old = expired(&mut waiting);
    let oldest = (waiting.len() >= KEPT).then(|| waiting.remove(0));
    waiting.push((Instant::now(), connection));
    drop(waiting);
    drop((old, oldest));
}

/// Those that have waited for too long; they stand first.
fn expired(waiting: &mut Vec<(Instant, Connection)>) -> Vec<(Instant, Connection)> {
    let fresh = waiting.iter().position(|(since, _)| since.elapsed() < MAX_AGE);
    waiting.drain(..fresh.unwrap_or(waiting.len())).collect()
}

/// No code of others runs under the lock, so a poisoned one is whole.
fn waiting() -> MutexGuard<'static, Vec<(Instant, Connection)>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    #[test]
    fn connections_that_have_waited_too_long_are_not_used() {
        let provider = LlmProvider::Local;
        let config = GenerationConfig::new("m").environment(Environment::empty());
        let origin = Origin::of("http://127.0.0.1:1", provider).unwrap();
        let settings = Settings::new(&origin, provider, &config).unwrap();
        let waiting = |seconds| {
            let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            (since, Connection::new(settings.clone(), provider).unwrap())
        };
        let mut all = vec![waiting(100), waiting(56), waiting(50), waiting(0)];
        assert_eq!(expired(&mut all).len(), 2);
        assert_eq!(all.len(), 2);
        assert_eq!(expired(&mut all).len(), 0);
    }
}
