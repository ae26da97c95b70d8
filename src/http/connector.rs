//! Opens connections with ureq's own connectors, and wraps them in transports that add limits,
//! cancelling and checks.
//!
//! ```text
//!   ControlledTransport ── counts bytes, converts errors, detects bytes before the request
//!     └ TLS
//!        └ SocketTransport ── applies limits, lets early responses be read, follows TLS records
//!           └ proxy or TCP
//! ```

use std::sync::{Arc, Weak};

use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Instant as Moment;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, SocksConnector, TcpConnector, Transport,
};
use ureq::{Agent, Error, Proxy};

use super::control::{ConnectionControl, Phase, deadline_in};
use super::fault::{Fault, named};
use super::resolver::{NoopResolver, TimedResolver};
use super::tls::Tls;
use super::transport::{ControlledTransport, SocketTransport};

/// Returns an agent and the control that governs its connections.
pub(crate) fn agent(config: Config, tls: Tls) -> (Agent, Arc<ConnectionControl>) {
    let control = Arc::new(ConnectionControl::default());
    let chain =
        ().chain(SocksConnector::default())
            .chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default());
    let connector = ControlledConnector { control: Arc::clone(&control), chain, tls };
    (Agent::with_parts(config, connector, NoopResolver), control)
}

/// Opens connections under the limits of a [`ConnectionControl`].
#[derive(Debug)]
struct ControlledConnector<C> {
    control: Arc<ConnectionControl>,
    chain: C,
    /// This connector runs after `chain`.
    tls: Tls,
}

impl<C: Connector> Connector for ControlledConnector<C> {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let mut state = self.control.state();
        state.depth += 1;
        state.fresh = true;
        if state.depth == 1 {
            let deadline = deadline_in(state.limits.connect);
            state.enter(Phase::Connect, deadline);
        }
        let depth = state.depth;
        drop(state);

        let transport = self.open(details, depth);

        let mut state = self.control.state();
        state.depth -= 1;
        if state.depth == 0 && transport.is_ok() {
            let deadline = deadline_in(state.limits.first_byte);
            state.enter(Phase::Headers, deadline);
        }
        transport.map(Some)
    }
}

impl<C: Connector> ControlledConnector<C> {
    fn open(
        &self,
        details: &ConnectionDetails<'_>,
        depth: u8,
    ) -> Result<Box<dyn Transport>, Error> {
        let with_proxy = depth > 1;
        let via_proxy = with_proxy || details.config.proxy().is_some();
        let theirs = Arc::clone(&details.register_shutdown);
        let control = Arc::clone(&self.control);
        let details = ConnectionDetails {
            addrs: self.addresses(details)?,
            // The connectors look up only names of proxies.
            resolver: &TimedResolver { of_proxy: true },
            now: Moment::now(),
            timeout: self.control.limit(details.timeout),
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: if with_proxy {
                theirs
            } else {
                Arc::new(move |socket| {
                    control.register(Weak::clone(&socket))?;
                    theirs(socket)
                })
            },
            ..*details
        };
        let transport = self
            .chain
            .connect(&details, None)
            .and_then(|transport| transport.ok_or(Error::ConnectionFailed))
            .map_err(|error| named(error, |source| Fault::Connect { via_proxy, source }))?;
        let socket = SocketTransport::new(&self.control, Box::new(transport), details.needs_tls());
        let transport = self
            .tls
            .connect(&details, Some(Box::new(socket)))
            .and_then(|transport| transport.ok_or(Error::ConnectionFailed))
            .map_err(|error| named(error, |source| Fault::Tls { with_proxy, source }))?;
        Ok(Box::new(ControlledTransport {
            control: Arc::clone(&self.control),
            inner: Box::new(transport),
            outermost: !with_proxy,
            unwritten: Vec::new(),
            holds_back: true,
        }))
    }

    /// Returns the addresses to connect to. They are empty if a proxy looks up the target's name.
    fn addresses(&self, details: &ConnectionDetails<'_>) -> Result<ResolvedSocketAddrs, Error> {
        self.control.state().check()?;
        let is_ours = details.config.proxy().is_none_or(Proxy::resolve_target);
        if !is_ours || !details.addrs.is_empty() {
            return Ok(details.addrs.clone());
        }
        let limit = self.control.limit(details.timeout);
        let resolver = TimedResolver { of_proxy: false };
        let addresses = resolver.resolve(details.uri, details.config, limit)?;
        self.control.state().check()?;
        Ok(addresses)
    }
}
