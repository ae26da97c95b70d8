//! Connections that wait for the next request.
//!
//! A running stream has an agent of its own, so that cancelling it touches no other. One that was
//! read to its end leaves its agent, and with it the connection, in a list for the whole process.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::{Agent, ProxyProtocol};

use super::control::ConnectionControl;
use super::proxy::{self, ChosenProxy};
use super::tls::{self, Tls};
use super::{connector, fault};
use crate::config::GenerationConfig;
use crate::endpoint::{Endpoint, Origin, is_loopback};

/// How many connections wait at most.
const MAX_IDLE: usize = 8;
/// How long one may have waited. Servers close theirs after a minute or more, as a rule.
const MAX_AGE: Duration = Duration::from_secs(55);
/// What the input buffer of a socket, and with TLS that of the session, holds. The headers of a
/// response have to fit into it.
const INPUT: usize = 24 << 10;
/// The same for output: the first line of a request, and each of its headers, has to fit into it.
pub(crate) const MAX_LINE: usize = 8 << 10;

static IDLE: Mutex<Vec<(Instant, Connection)>> = Mutex::new(Vec::new());

/// All that two requests must have in common to use the same connection.
#[derive(Clone, PartialEq)]
pub(crate) struct ConnectionSettings {
    origin: Origin,
    proxy: Option<ChosenProxy>,
    tls: Tls,
}

impl ConnectionSettings {
    /// Chooses the proxy and loads the certificates, so that an error comes before anything is sent.
    pub(crate) fn new(endpoint: &Endpoint, config: &GenerationConfig) -> Result<Self, String> {
        let origin = endpoint.origin.clone();
        if origin.is_secure && cfg!(not(feature = "rustls")) {
            return Err("https needs the crate's feature `rustls`".to_owned());
        }
        let proxy = proxy::choose(&origin, config)?;
        let protocol = proxy.as_ref().map(|proxy| proxy.proxy.protocol());
        // A file that is not needed need not be there.
        let tls = tls::load(config, origin.is_secure || protocol == Some(ProxyProtocol::Https))?;
        Ok(Self { origin, proxy, tls })
    }

    /// Who names the file of trusted CAs, if there is one.
    pub(crate) fn ca_option(&self) -> Option<&'static str> {
        self.tls.ca_option()
    }

    /// The proxy as messages show it.
    pub(crate) fn proxy_name(&self) -> Option<&str> {
        Some(&self.proxy.as_ref()?.name)
    }

    /// The same if it is not on this machine.
    pub(crate) fn remote_proxy(&self) -> Option<&str> {
        let proxy = self.proxy.as_ref();
        Some(&proxy.filter(|proxy| !is_loopback(proxy.proxy.host()))?.name)
    }
}

/// An agent that serves one stream at a time, and so has one connection at most.
pub(super) struct Connection {
    pub(super) agent: Agent,
    pub(super) control: Arc<ConnectionControl>,
    settings: ConnectionSettings,
}

impl Connection {
    pub(super) fn new(settings: ConnectionSettings) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("kerb-stream/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .input_buffer_size(INPUT)
            .output_buffer_size(MAX_LINE)
            // A full buffer reads nothing, which would look like a connection that was closed.
            .max_response_header_size(INPUT - 1)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(2 * MAX_AGE)
            .proxy(settings.proxy.as_ref().map(|proxy| proxy.proxy.clone()));
        #[cfg(feature = "rustls")]
        let config = config.tls_config(settings.tls.config.clone());
        let (agent, control) = connector::agent(config.build(), settings.tls.clone());
        Self { agent, control, settings }
    }

    /// Whether a request failed only because the connection was of no more use: the server had
    /// closed it, or something comes over it that is no TLS.
    pub(super) fn is_stale(&self, error: &ureq::Error) -> bool {
        let ureq::Error::Io(error) = error else { return false };
        let is_broken = fault::is_disconnect(error) || error.kind() == io::ErrorKind::InvalidData;
        is_broken && self.control.is_stale()
    }
}

/// A connection that waits for such a request.
pub(super) fn checkout(settings: &ConnectionSettings) -> Option<Connection> {
    let mut idle = idle();
    let stale = expired(&mut idle);
    let at = idle.iter().rposition(|(_, connection)| connection.settings == *settings);
    let found = at.map(|at| idle.remove(at).1);
    drop(idle);
    // Closing a socket may take its time.
    drop(stale);
    found
}

/// Keeps a connection whose response was read to its end, unless the server or somebody has closed
/// it.
pub(super) fn checkin(connection: Connection) {
    if !connection.control.is_open() {
        return;
    }
    let mut idle = idle();
    let stale = expired(&mut idle);
    let longest = (idle.len() >= MAX_IDLE).then(|| idle.remove(0));
    idle.push((Instant::now(), connection));
    drop(idle);
    drop((stale, longest));
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
        let config = GenerationConfig::new("m").environment(Environment::empty());
        let endpoint = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let settings = ConnectionSettings::new(&endpoint, &config).unwrap();
        let waiting = |seconds| {
            let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            (since, Connection::new(settings.clone()))
        };
        let mut all = vec![waiting(100), waiting(56), waiting(50), waiting(0)];
        assert_eq!(expired(&mut all).len(), 2);
        assert_eq!(all.len(), 2);
        assert_eq!(expired(&mut all).len(), 0);
    }
}
