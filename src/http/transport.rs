//! The way to the server: ureq's own connectors, and around them what a stream needs besides.
//!
//! ```text
//!   LineTransport ── counts, names of faults, no response to another request
//!     └ TLS
//!        └ Socket ── limits per phase; an early response survives a failed write; torn records
//!           └ proxy or TCP
//! ```
//!
//! It uses ureq's `unversioned` interface, which may change in a minor release; nobody else does.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::{Duration as Span, Instant as Moment};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, ShutdownHandle,
    SocksConnector, TcpConnector, Transport,
};
use ureq::{Agent, Error, Proxy, Timeout};

use crate::cancel::Interrupt;

/// The most that may come before the head of a response is whole: twice what a head may have, for
/// the interim responses that may precede it. It bounds the trailers behind a body, too.
pub(crate) const MAX_PREAMBLE: usize = 64 << 10;

/// An agent whose connections `line` governs. `tls` comes last in the chain.
pub(crate) fn agent(config: Config, tls: impl Connector<Box<dyn Transport>>) -> (Agent, Arc<Line>) {
    let line = Arc::new(Line::default());
    let chain =
        ().chain(SocksConnector::default())
            .chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default());
    let connector = LineConnector { line: Arc::clone(&line), chain, tls };
    (Agent::with_parts(config, connector, Later), line)
}

/// The time limits of a request; a deadline that lies beyond the clock's end is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) idle: Duration,
    pub(crate) stall: Duration,
}

/// What a connection is doing, and with it which limits hold beside the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// Name look-up, connection, the proxy's and the TLS handshake.
    Connect,
    /// The request is written and the head of the response read. There is no limit on one read,
    /// which every byte of a dripping head would restart.
    Head,
    /// The body is read. The limit on one read is always the same, so that it is set only once: see
    /// [`Line::read_limit`].
    #[default]
    Body,
}

/// What the transport knows and decides about the connections of one agent, which serves one stream
/// at a time.
#[derive(Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    phase: Phase,
    /// When the phase has to end.
    deadline: Option<Instant>,
    limits: Limits,
    /// How many connectors are at work: a proxy's runs inside the target's.
    depth: u8,
    /// Whether this request opened a connection.
    fresh: bool,
    /// How much of a head this request has received, or the latest read of a body.
    received: usize,
    interrupted: bool,
    sockets: Vec<Weak<dyn ShutdownHandle>>,
}

impl Line {
    /// A request begins; it is not known yet whether a connection is at hand.
    pub(crate) fn begin(&self, limits: Limits) {
        let mut state = self.state();
        state.enter(Phase::Head, after(limits.first_byte));
        state.limits = limits;
        state.fresh = false;
        state.received = 0;
    }

    /// The next read of the body begins, which ends at `deadline` at the latest, whatever drips in.
    pub(crate) fn body(&self, deadline: Option<Instant>) {
        let mut state = self.state();
        state.enter(Phase::Body, deadline);
        state.received = 0;
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Whether the request opened a connection.
    pub(crate) fn is_fresh(&self) -> bool {
        self.state().fresh
    }

    /// Whether the request went to a connection of an earlier one and nothing came back: then the
    /// server had most likely closed it meanwhile.
    pub(crate) fn is_stale(&self) -> bool {
        let state = self.state();
        !state.fresh && state.received == 0
    }

    /// Whether there is a connection, and nobody has interrupted it.
    pub(crate) fn is_open(&self) -> bool {
        let mut state = self.state();
        state.sockets.retain(|socket| socket.strong_count() > 0);
        !state.interrupted && !state.sockets.is_empty()
    }

    /// Makes a socket known before any handshake on it.
    fn register(&self, socket: Weak<dyn ShutdownHandle>) -> Result<(), Error> {
        let mut state = self.state();
        // Under the same lock as the interruption, so that no socket escapes it.
        if state.interrupted {
            return Err(Fault::Interrupted.into());
        }
        state.sockets.retain(|socket| socket.strong_count() > 0);
        state.sockets.push(socket);
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.state().interrupted {
            return Err(Fault::Interrupted.into());
        }
        Ok(())
    }

    /// The limits of the phase for one read or write of a socket.
    fn limit(&self, timeout: NextTimeout) -> NextTimeout {
        let state = self.state();
        let idle = Some(Span::Exact(state.limits.idle));
        let (reason, per_read, per_write) = match state.phase {
            Phase::Connect => (Timeout::Connect, None, None),
            // A server that reads nothing is as dead as one that writes nothing.
            Phase::Head => (Timeout::RecvResponse, None, idle),
            Phase::Body => (Timeout::RecvBody, idle, idle),
        };
        let deadline = state.deadline;
        drop(state);
        // Who asks for less than the phase allows gets less: see `has_leftovers`.
        let per_read = timeout.per_read.or(per_read);
        let mut timeout = NextTimeout { per_read, per_write, ..timeout };
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout.after.is_not_happening() || left < *timeout.after {
                timeout.after = Span::Exact(left);
                timeout.reason = reason;
            }
        }
        timeout
    }

    /// The same for one read, and whether it ends early, so that the read has to go on behind it.
    ///
    /// Each piece of the answer moves the deadline, and the socket would have to be told before each
    /// read. As long as the deadline is far away, it is told less, and always the same.
    fn read_limit(&self, timeout: NextTimeout) -> (NextTimeout, bool) {
        let mut limit = self.limit(timeout);
        let stall = self.state().limits.stall;
        let far = stall - stall / 8;
        let comes_first = limit.for_read().reason == Timeout::RecvBody;
        let is_early = comes_first && *limit.after > far;
        if is_early {
            limit.after = Span::Exact(far);
        }
        (limit, is_early)
    }

    /// No code of others runs under the lock, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase, deadline: Option<Instant>) {
        self.phase = phase;
        self.deadline = deadline;
    }
}

impl Interrupt for Line {
    fn interrupt(&self) {
        let mut state = self.state();
        state.interrupted = true;
        let sockets: Vec<_> = state.sockets.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        for socket in sockets {
            socket.shutdown();
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// The instant that lies so far ahead; `None` if the clock does not reach it.
pub(crate) fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

/// What the transport adds to ureq's errors, inside [`Error::Other`].
#[derive(Debug)]
pub(crate) enum Fault {
    /// The connection ended in the middle of a body. ureq would take some of these for the body's
    /// end.
    Broken(io::Error),
    /// No connection, or none through the proxy.
    Connect { proxy: bool, source: Error },
    /// The stream was cancelled.
    Interrupted,
    /// The head of the response does not end, or its trailers do not.
    Endless,
    /// There is no address for a name.
    Name { host: String, source: Error },
    /// No TLS session, with the target or with the proxy.
    Tls { proxy: bool, source: Error },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(source) => source.fmt(f),
            Self::Connect { source, .. } | Self::Name { source, .. } | Self::Tls { source, .. } => {
                source.fmt(f)
            }
            Self::Interrupted => f.write_str("interrupted"),
            Self::Endless => f.write_str("it does not end"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Other(Box::new(fault))
    }
}

/// Names an error, unless it was named on its way or is a time limit, which the phase names.
fn named(error: Error, name: impl FnOnce(Error) -> Fault) -> Error {
    match error {
        Error::Timeout(reason) => Error::Timeout(reason),
        Error::Other(fault) if fault.is::<Fault>() => Error::Other(fault),
        error => name(error).into(),
    }
}

/// Opens connections under the limits of a [`Line`].
struct LineConnector<C, T> {
    line: Arc<Line>,
    chain: C,
    tls: T,
}

impl<C: Connector, T: Connector<Box<dyn Transport>>> Connector for LineConnector<C, T> {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let mut state = self.line.state();
        state.depth += 1;
        state.fresh = true;
        if state.depth == 1 {
            let deadline = after(state.limits.connect);
            state.enter(Phase::Connect, deadline);
        }
        let depth = state.depth;
        drop(state);

        let transport = self.open(details, depth);

        let mut state = self.line.state();
        state.depth -= 1;
        if state.depth == 0 && transport.is_ok() {
            let deadline = after(state.limits.first_byte);
            state.enter(Phase::Head, deadline);
        }
        drop(state);
        transport.map(Some)
    }
}

impl<C: Connector, T: Connector<Box<dyn Transport>>> LineConnector<C, T> {
    fn open(
        &self,
        details: &ConnectionDetails<'_>,
        depth: u8,
    ) -> Result<Box<dyn Transport>, Error> {
        self.line.check()?;
        let nested = depth > 1;
        let proxy = details.config.proxy();
        let needs_address = proxy.is_none_or(Proxy::resolve_target);
        let addrs = if details.addrs.is_empty() && needs_address {
            let limit = self.line.limit(details.timeout);
            let addrs = Names.resolve(details.uri, details.config, limit)?;
            self.line.check()?;
            addrs
        } else {
            details.addrs.clone()
        };

        let theirs = Arc::clone(&details.register_shutdown);
        let line = Arc::clone(&self.line);
        let details = ConnectionDetails {
            uri: details.uri,
            addrs,
            config: details.config,
            request_level: details.request_level,
            resolver: &Names,
            now: Moment::now(),
            timeout: self.line.limit(details.timeout),
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: if nested {
                theirs
            } else {
                Arc::new(move |socket| {
                    line.register(Weak::clone(&socket))?;
                    theirs(socket)
                })
            },
        };
        let transport = self
            .chain
            .connect(&details, None)
            .and_then(|transport| transport.ok_or(Error::ConnectionFailed))
            .map_err(|source| {
                let proxy = nested || proxy.is_some();
                named(source, |source| Fault::Connect { proxy, source })
            })?;
        let socket = Socket::new(&self.line, Box::new(transport), details.needs_tls());
        let transport = self
            .tls
            .connect(&details, Some(Box::new(socket)))
            .and_then(|transport| transport.ok_or(Error::ConnectionFailed))
            .map_err(|source| {
                let proxy = nested;
                named(source, |source| Fault::Tls { proxy, source })
            })?;
        Ok(Box::new(LineTransport {
            line: Arc::clone(&self.line),
            inner: Box::new(transport),
            outermost: !nested,
            held: Vec::new(),
            holds: true,
        }))
    }
}

impl<C, T> fmt::Debug for LineConnector<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineConnector").finish_non_exhaustive()
    }
}

/// Keeps the requests of a [`Line`] and their responses together.
#[derive(Debug)]
struct LineTransport {
    line: Arc<Line>,
    inner: Box<dyn Transport>,
    /// Whether what comes is the answer, and not what a proxy passes on.
    outermost: bool,
    /// The beginning of the request. ureq writes head and body one after the other; in one piece
    /// the server wakes up once.
    held: Vec<u8>,
    /// Whether a request begins, of which little has been written yet.
    holds: bool,
}

/// How much is held back: of a large request, the rest is not copied.
const HELD: usize = 8 << 10;

/// The limit on a read that is to give what is there and not wait: see
/// [`LineTransport::has_leftovers`].
const AT_ONCE: Span = Span::Exact(Duration::ZERO);

impl LineTransport {
    /// Writes what was held back.
    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        self.holds = false;
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let is_reused = self.outermost && !self.line.is_fresh();
        if is_reused && self.has_leftovers(timeout) {
            // Such a connection is of no more use than one that the server has closed.
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let room = self.inner.buffers().output();
            let (piece, behind) = rest.split_at(rest.len().min(room.len()));
            if let Some(room) = room.get_mut(..piece.len()) {
                room.copy_from_slice(piece);
            }
            rest = behind;
            self.inner.transmit_output(piece.len(), timeout)?;
        }
        Ok(())
    }

    /// Whether something is there before the request is written, which therefore cannot be its
    /// response. ureq looks into the input buffer and the system's, but not between them: records
    /// that are not decrypted yet, text that is still in the TLS session, and a part of a record,
    /// which the session keeps until the rest comes.
    ///
    /// The session gives what it has before it asks for more. If it does ask, [`Socket`] says
    /// whether a record is torn, and else gives up at once, which leaves the session as it is.
    fn has_leftovers(&mut self, timeout: NextTimeout) -> bool {
        let at_once = NextTimeout { per_read: Some(AT_ONCE), ..timeout };
        !self.inner.buffers().input().is_empty()
            || !matches!(self.inner.await_input(at_once), Err(Error::Timeout(Timeout::PerRead)))
    }
}

impl Transport for LineTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.holds {
            let output = self.inner.buffers().output().iter().take(amount);
            self.held.extend(output);
            return if self.held.len() < HELD { Ok(()) } else { self.flush(timeout) };
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.flush(timeout)?;
        let before = self.inner.buffers().input().len();
        let progress = self.inner.await_input(timeout);
        self.holds = true;
        if !self.outermost {
            return progress;
        }
        let came = self.inner.buffers().input().len().saturating_sub(before);
        let mut state = self.line.state();
        state.received += came;
        if state.received > MAX_PREAMBLE {
            return Err(Fault::Endless.into());
        }
        match progress {
            Err(Error::Io(error)) if state.phase == Phase::Body => Err(Fault::Broken(error).into()),
            progress => progress,
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Reads and writes under the limits of a [`Line`]. It stands below TLS, since a record that drips
/// in makes the session read again and again before it gives anything.
///
/// It also lets a response be read that came before the request was written: a server that refuses
/// a large body responds, closes, and so makes the rest of the writing fail. TLS would try the
/// failed write again before it reads.
#[derive(Debug)]
struct Socket {
    line: Arc<Line>,
    inner: Box<dyn Transport>,
    broken: bool,
    /// Where the records stand that TLS reads from here, if it does.
    records: Option<Records>,
}

impl Socket {
    fn new(line: &Arc<Line>, mut inner: Box<dyn Transport>, carries_tls: bool) -> Self {
        let mut records = carries_tls.then(Records::default);
        if let Some(records) = &mut records {
            // A proxy may have sent more than its own response.
            records.follow(inner.buffers().input());
        }
        Self { line: Arc::clone(line), inner, broken: false, records }
    }

    /// Whether a part of a record has come, and not all of it.
    fn is_torn(&self) -> bool {
        self.records.as_ref().is_some_and(Records::is_torn)
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.broken {
            return Ok(());
        }
        match self.inner.transmit_output(amount, self.line.limit(timeout)) {
            Err(Error::Io(error)) if is_disconnect(&error) => {
                self.broken = true;
                Ok(())
            }
            written => written,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if timeout.per_read == Some(AT_ONCE) && self.is_torn() {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let before = self.inner.buffers().input().len();
        let progress = loop {
            let (limit, is_early) = self.line.read_limit(timeout);
            match self.inner.await_input(limit) {
                Err(Error::Timeout(Timeout::RecvBody)) if is_early => {}
                progress => break progress,
            }
        };
        if let Some(records) = &mut self.records {
            records.follow(self.inner.buffers().input().get(before..).unwrap_or_default());
        }
        progress
    }

    fn is_open(&mut self) -> bool {
        !self.broken && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Follows TLS records as they come in, by their lengths: the session does not tell whether it
/// holds a part of one. It looks at the headers only, and keeps nothing of the rest.
#[derive(Debug, Default)]
struct Records {
    /// How much of a header has come.
    header: usize,
    /// The latest two bytes of it; at its end, the record's length.
    length: u16,
    /// How much of the record behind the header is still to come.
    left: usize,
}

impl Records {
    /// How long a record's header is.
    const HEADER: usize = 5;

    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let come = self.left.min(bytes.len());
                self.left -= come;
                bytes = bytes.get(come..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.header += 1;
            self.length = self.length << 8 | u16::from(byte);
            if self.header == Self::HEADER {
                self.header = 0;
                self.left = usize::from(self.length);
            }
        }
    }

    fn is_torn(&self) -> bool {
        self.header > 0 || self.left > 0
    }
}

/// Stands where TLS would be.
#[cfg(not(feature = "rustls"))]
#[derive(Debug)]
pub(crate) struct Plain;

#[cfg(not(feature = "rustls"))]
impl Connector<Box<dyn Transport>> for Plain {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<Box<dyn Transport>>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained)
    }
}

/// Whether the other side is gone.
pub(crate) fn is_disconnect(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}

/// Looks nothing up. ureq asks before it knows whether it needs a connection; [`LineConnector`]
/// asks [`Names`] when it does.
#[derive(Debug)]
struct Later;

impl Resolver for Later {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Looks names up within a limit. That takes a thread, so what needs no look-up goes without.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        mut timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let bare = bare_host(host);
        if bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost") {
            timeout.after = Span::NotHappening;
        }
        let found = DefaultResolver::default().resolve(uri, config, timeout);
        found.map_err(|source| {
            let host = host.to_owned();
            named(source, |source| Fault::Name { host, source })
        })
    }
}

/// A URL's host without the brackets of an IPv6 address. Around anything else they are a part of the
/// name that is looked up, so `[localhost]` is not `localhost`.
pub(crate) fn bare_host(host: &str) -> &str {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.filter(|inside| inside.parse::<Ipv6Addr>().is_ok()).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_told_the_same_limit_until_the_deadline_is_near() {
        let second = Duration::from_secs(1);
        let line = Line::default();
        let told = |left: Duration| {
            line.body(after(left));
            let (limit, is_early) = line.read_limit(NextTimeout::default());
            (*limit.for_read().after, limit.for_read().reason, is_early)
        };
        let limits = |stall, idle| {
            line.begin(Limits { stall, idle, ..Limits::default() });
        };
        limits(8 * second, 300 * second);
        for spent in [0, 10, 900] {
            let left = 8 * second - Duration::from_millis(spent);
            assert_eq!(told(left), (7 * second, Timeout::RecvBody, true));
        }
        let (near, reason, is_early) = told(second);
        assert!(near <= second && reason == Timeout::RecvBody && !is_early);
        // Who waits for nothing waits for no deadline.
        line.body(after(8 * second));
        let at_once = NextTimeout { per_read: Some(AT_ONCE), ..NextTimeout::default() };
        assert!(!line.read_limit(at_once).1);
        // A shorter limit on one read is the same anyway, and comes first.
        limits(8 * second, 7 * second + second / 2);
        assert_eq!(told(8 * second), (7 * second + second / 2, Timeout::PerRead, false));
        limits(8 * second, 8 * second);
        assert_eq!(told(8 * second), (7 * second, Timeout::RecvBody, true));
        assert_eq!(told(Duration::MAX), (8 * second, Timeout::PerRead, false));
    }

    #[test]
    fn records_are_followed_whatever_the_pieces() {
        let record = |length: u16| {
            let mut record = vec![23, 3, 3];
            record.extend(length.to_be_bytes());
            record.resize(5 + usize::from(length), 7);
            record
        };
        let lengths = [1, 300, 0, 16_640];
        let all: Vec<u8> = lengths.into_iter().flat_map(record).collect();
        let mut ends = vec![0];
        for length in lengths {
            ends.push(ends.last().unwrap() + 5 + usize::from(length));
        }
        for piece in [1, 2, 3, 5, 7, 4096, all.len()] {
            let mut records = Records::default();
            let mut come = 0;
            for piece in all.chunks(piece) {
                records.follow(piece);
                come += piece.len();
                assert_eq!(records.is_torn(), !ends.contains(&come), "{come}");
            }
            assert!(!records.is_torn());
        }
    }
}
