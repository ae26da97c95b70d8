//! Opens connections, directly or through a proxy, and wraps them in transports that add limits,
//! cancelling and checks.
//!
//! ```text
//!   ControlledTransport ── counts bytes, converts errors, detects bytes before the request
//!     └ TLS
//!        └ SocketTransport ── applies limits, lets early responses be read, follows TLS records
//!           └ TCP, or the tunnel of a proxy
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Instant as Moment;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, Transport, TransportAdapter,
};
use ureq::{Agent, Error, Proxy, ProxyProtocol};

use super::control::{ConnectionControl, Phase, deadline_in};
use super::dial;
use super::fault::{Fault, named};
use super::socks::{self, Target};
use super::tcp::TcpTransport;
use super::tls::Tls;
use super::transport::{ControlledTransport, SocketTransport};
use crate::endpoint::bare_host;

/// Returns an agent and the control that governs its connections.
pub(crate) fn agent(config: Config, tls: Tls) -> (Agent, Arc<ConnectionControl>) {
    let control = Arc::new(ConnectionControl::default());
    let connector = ControlledConnector { control: Arc::clone(&control), tls };
    (Agent::with_parts(config, connector, NoopResolver), control)
}

/// A resolver that looks up nothing. ureq calls its resolver before it knows whether it needs a new
/// connection. [`dial`] looks up names if it does.
#[derive(Debug)]
struct NoopResolver;

impl Resolver for NoopResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Opens connections under the limits of a [`ConnectionControl`].
#[derive(Debug)]
struct ControlledConnector {
    control: Arc<ConnectionControl>,
    tls: Tls,
}

impl Connector for ControlledConnector {
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
            (state.phase, state.deadline) = (Phase::Connect, deadline_in(state.limits.connect));
        }
        let with_proxy = state.depth > 1;
        drop(state);

        let transport = self.open(details, with_proxy);

        let mut state = self.control.state();
        state.depth -= 1;
        if state.depth == 0 && transport.is_ok() {
            (state.phase, state.deadline) = (Phase::Headers, deadline_in(state.limits.first_byte));
        }
        transport.map(Some)
    }
}

impl ControlledConnector {
    fn open(
        &self,
        details: &ConnectionDetails<'_>,
        with_proxy: bool,
    ) -> Result<Box<dyn Transport>, Error> {
        let proxy = details.config.proxy();
        let via_proxy = with_proxy || proxy.is_some();
        let details = ConnectionDetails {
            addrs: details.addrs.clone(),
            now: Moment::now(),
            timeout: self.control.limit(details.timeout),
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
            ..*details
        };
        let transport = match proxy {
            None => self.open_tcp(details.uri, details.config, with_proxy),
            Some(proxy) if socks::is_socks(proxy.protocol()) => self.open_socks(proxy, &details),
            // ureq calls this connector again, for the connection to the proxy.
            Some(_) => ConnectProxyConnector::default()
                .connect(&details, None::<()>)
                .and_then(|transport| transport.ok_or(Error::ConnectionFailed))
                .map(|transport| Box::new(transport) as Box<dyn Transport>),
        };
        let transport = transport
            .map_err(|error| named(error, |source| Fault::Connect { via_proxy, source }))?;
        let socket = SocketTransport::new(&self.control, transport, details.needs_tls());
        let inner = self.tls.connect(&details, Box::new(socket));
        let inner =
            inner.map_err(|error| named(error, |source| Fault::Tls { with_proxy, source }))?;
        Ok(Box::new(ControlledTransport {
            control: Arc::clone(&self.control),
            inner,
            outermost: !with_proxy,
            unwritten: Vec::new(),
            holds_back: true,
        }))
    }

    fn open_tcp(
        &self,
        uri: &Uri,
        config: &Config,
        to_proxy: bool,
    ) -> Result<Box<dyn Transport>, Error> {
        let stream = dial::connect(uri, to_proxy, &self.control)?;
        Ok(Box::new(TcpTransport::new(stream, config, &self.control)?))
    }

    /// Opens a connection to a SOCKS proxy, and asks it to connect to the target.
    fn open_socks(
        &self,
        proxy: &Proxy,
        details: &ConnectionDetails<'_>,
    ) -> Result<Box<dyn Transport>, Error> {
        let host = bare_host(details.uri.host().unwrap_or_default());
        let port = details.uri.port_u16().unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let addresses = match host.parse() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) if proxy.resolve_target() => dial::lookup(details.uri, &self.control)?,
            Err(_) => Vec::new(),
        };
        let takes_ipv6 = matches!(proxy.protocol(), ProxyProtocol::Socks5 | ProxyProtocol::Socks5h);
        let usable = addresses.iter().find(|address| takes_ipv6 || address.is_ipv4());
        let target = usable.or(addresses.first()).copied();
        let target = target.map_or(Target::Name(host, port), Target::Address);
        let tcp = self.open_tcp(proxy.uri(), details.config, true)?;
        let socket = SocketTransport::new(&self.control, tcp, false);
        let mut stream = TransportAdapter::new(socket, Arc::clone(&details.current_time));
        stream.set_timeout(self.control.limit(details.timeout));
        socks::handshake(&mut stream, proxy, target)?;
        Ok(stream.into_inner().inner)
    }
}
