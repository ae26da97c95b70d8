//! Keeps idle connections for later requests.
//!
//! Each running stream has its own agent, so cancelling it affects no other stream. When a response
//! was read to its end, its agent is kept with the connection in a list for the whole process.

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

/// The maximum number of idle connections.
const MAX_IDLE: usize = 8;
/// The maximum idle time. Servers usually close idle connections after a minute or more.
const MAX_AGE: Duration = Duration::from_secs(55);
/// The size in bytes of the input buffers of a socket and of a TLS session. The response headers
/// have to fit into each of them.
const INPUT: usize = 24 << 10;
/// The size in bytes of the output buffers. The request line and each request header have to fit
/// into each of them.
pub(crate) const MAX_LINE: usize = 8 << 10;

static IDLE: Mutex<Vec<(Instant, Connection)>> = Mutex::new(Vec::new());

/// The settings that two requests must share to use the same connection.
#[derive(Clone, PartialEq)]
pub(crate) struct ConnectionSettings {
    origin: Origin,
    proxy: Option<ChosenProxy>,
    tls: Tls,
}

impl ConnectionSettings {
    /// Chooses the proxy and loads the certificates, so that their errors are found before anything
    /// is sent.
    pub(crate) fn new(endpoint: &Endpoint, config: &GenerationConfig) -> Result<Self, String> {
        let origin = endpoint.origin.clone();
        if origin.is_secure && cfg!(not(feature = "rustls")) {
            return Err("https needs the crate's feature `rustls`".to_owned());
        }
        let proxy = proxy::choose(&origin, config)?;
        let protocol = proxy.as_ref().map(|proxy| proxy.proxy.protocol());
        // A certificate file may be missing if the request does not use TLS.
        let tls = tls::load(config, origin.is_secure || protocol == Some(ProxyProtocol::Https))?;
        Ok(Self { origin, proxy, tls })
    }

    /// Returns the option or variable that named the CA file.
    pub(crate) fn ca_option(&self) -> Option<&'static str> {
        self.tls.ca_option()
    }

    /// Returns the proxy's name for messages.
    pub(crate) fn proxy_name(&self) -> Option<&str> {
        Some(&self.proxy.as_ref()?.name)
    }

    /// Returns the proxy's name for messages if the proxy is not on this machine.
    pub(crate) fn remote_proxy(&self) -> Option<&str> {
        let proxy = self.proxy.as_ref();
        Some(&proxy.filter(|proxy| !is_loopback(proxy.proxy.host()))?.name)
    }
}

/// An agent that serves one stream at a time, and therefore has at most one connection.
pub(super) struct Connection {
    pub(super) agent: Agent,
    pub(super) control: Arc<ConnectionControl>,
    settings: ConnectionSettings,
}

impl Connection {
    pub(super) fn new(settings: &ConnectionSettings) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("kerb-stream/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .input_buffer_size(INPUT)
            .output_buffer_size(MAX_LINE)
            // The headers must not fill the buffer: a full buffer reads nothing, which would look
            // like a closed connection.
            .max_response_header_size(INPUT - 1)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(2 * MAX_AGE)
            .proxy(settings.proxy.as_ref().map(|proxy| proxy.proxy.clone()));
        #[cfg(feature = "rustls")]
        let config = config.tls_config(settings.tls.config.clone());
        let (agent, control) = connector::agent(config.build(), settings.tls.clone());
        Self { agent, control, settings: settings.clone() }
    }

    /// Returns whether a request failed only because its connection was stale: the server had
    /// closed it, or had sent a TLS alert or bytes that are not TLS.
    pub(super) fn is_stale(&self, error: &ureq::Error) -> bool {
        let ureq::Error::Io(error) = error else { return false };
        let is_broken = fault::is_disconnect(error) || error.kind() == io::ErrorKind::InvalidData;
        is_broken && self.control.is_stale()
    }
}

/// Removes an idle connection with these settings from the pool and returns it.
pub(super) fn checkout(settings: &ConnectionSettings) -> Option<Connection> {
    let mut idle = idle();
    let stale = expired(&mut idle);
    let at = idle.iter().rposition(|(_, connection)| connection.settings == *settings);
    let found = at.map(|at| idle.remove(at).1);
    drop(idle);
    // Closing a socket can take time, so it is done after the lock is released.
    drop(stale);
    found
}

/// Returns a connection to the pool after its response was read to the end, unless the connection
/// was closed or interrupted.
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

/// Removes and returns the connections that were idle for too long. They are at the front.
fn expired(idle: &mut Vec<(Instant, Connection)>) -> Vec<(Instant, Connection)> {
    let fresh = idle.iter().position(|(since, _)| since.elapsed() < MAX_AGE);
    idle.drain(..fresh.unwrap_or(idle.len())).collect()
}

/// Locks the list and ignores poisoning: a panic under the lock cannot leave the list half changed.
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
            (since, Connection::new(&settings))
        };
        let mut all = vec![waiting(100), waiting(56), waiting(50), waiting(0)];
        assert_eq!(expired(&mut all).len(), 2);
        assert_eq!(all.len(), 2);
        assert_eq!(expired(&mut all).len(), 0);
    }
}
