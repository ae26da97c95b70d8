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
use super::control::{ConnectionControl, Limits};
use super::fault;
use super::{Origin, proxy};
use crate::cancel::{CancelHandle, Interrupt};
use crate::config::GenerationConfig;
use crate::error::Error;
use crate::provider::LlmProvider;

/// How many connections wait at most.
const MAX_IDLE: usize = 8;
/// How long one may have waited. Servers close theirs after a minute or more, as a rule.
const MAX_AGE: Duration = Duration::from_secs(55);
/// What the buffers of a socket, and with TLS those of the session, hold. The head of an answer has
/// to fit into the first, and each line of a request's head into the second.
const INPUT: usize = 24 << 10;
const OUTPUT: usize = 8 << 10;

static IDLE: Mutex<Vec<(Instant, Connection)>> = Mutex::new(Vec::new());

/// All that two requests must have in common to use the same connection.
#[derive(Clone, PartialEq)]
pub(super) struct ConnectionSettings {
    origin: Origin,
    pub(super) proxy: Option<Proxy>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
}

impl ConnectionSettings {
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
    pub(super) control: Arc<ConnectionControl>,
    pub(super) settings: ConnectionSettings,
}

impl Connection {
    pub(super) fn new(settings: ConnectionSettings, provider: LlmProvider) -> Result<Self, Error> {
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
        let (agent, control) = {
            let tls = super::tls::tls(&settings, provider)?;
            connector::agent(config.tls_config(tls.config).build(), tls.connector)
        };
        #[cfg(not(feature = "rustls"))]
        let (agent, control) = {
            let _ = provider;
            connector::agent(config.build(), connector::NoTls)
        };
        Ok(Self { agent, control, settings })
    }

    /// A request begins, which `cancel` ends.
    pub(super) fn begin(&self, limits: Limits, cancel: &CancelHandle) {
        self.control.begin_request(limits);
        let control: Weak<ConnectionControl> = Arc::downgrade(&self.control);
        let control: Weak<dyn Interrupt> = control;
        cancel.attach(control);
    }

    /// Whether a request failed only because the connection was of no more use: the server had
    /// closed it, or something comes over it that is no TLS.
    pub(super) fn is_stale(&self, error: &ureq::Error) -> bool {
        let is_broken = |error: &io::Error| {
            fault::is_disconnect(error) || error.kind() == io::ErrorKind::InvalidData
        };
        matches!(error, ureq::Error::Io(error) if is_broken(error)) && self.control.is_stale()
    }
}

/// A connection that waits for such a request.
pub(super) fn checkout(settings: &ConnectionSettings) -> Option<Connection> {
    let mut idle = idle();
    let old = expired(&mut idle);
    let at = idle.iter().rposition(|(_, connection)| connection.settings == *settings);
    let found = at.map(|at| idle.remove(at).1);
    drop(idle);
    // Closing a socket may take its time.
    drop(old);
    found
}

/// Keeps a connection whose answer was read to its end, unless the server or somebody has closed
/// it.
pub(super) fn checkin(connection: Connection) {
    if !connection.control.is_open() {
        return;
    }
    let mut idle = idle();
    let old = expired(&mut idle);
    let oldest = (idle.len() >= MAX_IDLE).then(|| idle.remove(0));
    idle.push((Instant::now(), connection));
    drop(idle);
    drop((old, oldest));
}

/// Those that have waited for too long; they stand first.
fn expired(idle: &mut Vec<(Instant, Connection)>) -> Vec<(Instant, Connection)> {
    let fresh = idle.iter().position(|(since, _)| since.elapsed() < MAX_AGE);
    idle.drain(..fresh.unwrap_or(idle.len())).collect()
}

/// No code of others runs under the lock, so a poisoned one is whole.
fn idle() -> MutexGuard<'static, Vec<(Instant, Connection)>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
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
        let settings = ConnectionSettings::new(&origin, provider, &config).unwrap();
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
