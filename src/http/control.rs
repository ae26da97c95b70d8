//! Controls a connection from outside: limits its time by phase, and cancels it.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::time::Duration as Span;
use ureq::unversioned::transport::{NextTimeout, ShutdownHandle};
use ureq::{Error, Timeout};

use super::fault::Fault;
use crate::cancel::Interrupt;

/// The time limits of a request. A deadline that the clock cannot represent is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) idle: Duration,
    pub(crate) stall: Duration,
}

/// The phase of a connection. It decides which limits apply besides the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// DNS lookup, TCP connection, proxy handshake and TLS handshake.
    Connect,
    /// The request is written and the response headers are read. A single read has no limit of its
    /// own, because every byte of slowly dripping headers would restart it.
    Headers,
    /// The body is read. Most reads get the same limit, so the socket option is rarely set: see
    /// [`ConnectionControl::read_limit`].
    #[default]
    Body,
}

/// The shared state of all connections of one agent. An agent serves one stream at a time.
#[derive(Debug, Default)]
pub(crate) struct ConnectionControl(Mutex<ControlState>);

#[derive(Debug, Default)]
pub(super) struct ControlState {
    pub(super) phase: Phase,
    /// The instant at which the phase has to end.
    pub(super) deadline: Option<Instant>,
    pub(super) limits: Limits,
    /// The number of connectors that are running: a proxy's connector runs inside the target's.
    pub(super) depth: u8,
    /// `true` if this request opened a connection.
    pub(super) fresh: bool,
    /// The number of bytes received for this request's response headers, or by the latest read of
    /// the body.
    pub(super) received: usize,
    interrupted: bool,
    sockets: Vec<Weak<dyn ShutdownHandle>>,
}

impl ConnectionControl {
    /// Starts a request. It may get a pooled connection or a new one.
    pub(crate) fn begin_request(&self, limits: Limits) {
        let mut state = self.state();
        (state.phase, state.deadline) = (Phase::Headers, deadline_in(limits.first_byte));
        state.limits = limits;
        state.fresh = false;
        state.received = 0;
    }

    /// Starts the next read of the body. The read ends at `deadline` at the latest, even if bytes
    /// keep dripping in.
    pub(crate) fn begin_read(&self, deadline: Option<Instant>) {
        let mut state = self.state();
        (state.phase, state.deadline) = (Phase::Body, deadline);
        state.received = 0;
    }

    /// Returns whether the request went to a pooled connection and no byte came back. The server
    /// had then most likely closed that connection already.
    pub(crate) fn is_stale(&self) -> bool {
        let state = self.state();
        !state.fresh && state.received == 0
    }

    /// Returns whether a connection is open and was not interrupted.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state();
        !state.interrupted && state.sockets.iter().any(|socket| socket.strong_count() > 0)
    }

    /// Registers a socket before any handshake on it, or a wait for a thread.
    pub(super) fn register(&self, socket: Weak<dyn ShutdownHandle>) -> Result<(), Error> {
        let mut state = self.state();
        // Interrupting takes the same lock, so no socket escapes it.
        state.check()?;
        state.sockets.retain(|socket| socket.strong_count() > 0);
        state.sockets.push(socket);
        Ok(())
    }

    /// Returns the limits of the phase for one read or write of a socket.
    pub(super) fn limit(&self, timeout: NextTimeout) -> NextTimeout {
        let state = self.state();
        let idle = Some(Span::Exact(state.limits.idle));
        let (reason, per_read, per_write) = match state.phase {
            Phase::Connect => (Timeout::Connect, None, None),
            // The idle limit also covers a server that does not read the request.
            Phase::Headers => (Timeout::RecvResponse, None, idle),
            Phase::Body => (Timeout::RecvBody, idle, idle),
        };
        // `has_leftovers` asks for a shorter limit than the phase's.
        let per_read = timeout.per_read.or(per_read);
        let mut timeout = NextTimeout { per_read, per_write, ..timeout };
        if let Some(deadline) = state.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout.after.is_not_happening() || left < *timeout.after {
                timeout.after = Span::Exact(left);
                timeout.reason = reason;
            }
        }
        timeout
    }

    /// Returns the limits for one read, and whether that read ends before its deadline and has to
    /// be repeated.
    ///
    /// Each piece of the response moves the deadline, so a limit that ends at the deadline would
    /// have to be set before each read. While the deadline is far away, every read gets one shorter
    /// limit instead, and the socket option stays as it is.
    pub(super) fn read_limit(&self, timeout: NextTimeout) -> (NextTimeout, bool) {
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

    /// Locks the state and ignores poisoning: a panic under the lock cannot leave the state half
    /// changed.
    pub(super) fn state(&self) -> MutexGuard<'_, ControlState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlState {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.interrupted { Err(Fault::Interrupted.into()) } else { Ok(()) }
    }
}

impl Interrupt for ConnectionControl {
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

/// Returns the instant that is `time` from now, or `None` if the clock cannot represent it.
pub(crate) fn deadline_in(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::transport::AT_ONCE;

    #[test]
    fn the_socket_is_told_the_same_limit_until_the_deadline_is_near() {
        let second = Duration::from_secs(1);
        let control = ConnectionControl::default();
        let told = |left: Duration| {
            control.begin_read(deadline_in(left));
            let (limit, is_early) = control.read_limit(NextTimeout::default());
            (*limit.for_read().after, limit.for_read().reason, is_early)
        };
        let limits = |stall, idle| {
            control.begin_request(Limits { stall, idle, ..Limits::default() });
        };
        limits(8 * second, 300 * second);
        for spent in [0, 10, 900] {
            let left = 8 * second - Duration::from_millis(spent);
            assert_eq!(told(left), (7 * second, Timeout::RecvBody, true));
        }
        let (near, reason, is_early) = told(second);
        assert!(near <= second && reason == Timeout::RecvBody && !is_early);
        // A read that does not wait needs no repetition.
        control.begin_read(deadline_in(8 * second));
        let at_once = NextTimeout { per_read: Some(AT_ONCE), ..NextTimeout::default() };
        assert!(!control.read_limit(at_once).1);
        // A shorter idle limit ends the read first, and is constant anyway.
        limits(8 * second, 7 * second + second / 2);
        assert_eq!(told(8 * second), (7 * second + second / 2, Timeout::PerRead, false));
        limits(8 * second, 8 * second);
        assert_eq!(told(8 * second), (7 * second, Timeout::RecvBody, true));
        assert_eq!(told(Duration::MAX), (8 * second, Timeout::PerRead, false));
    }
}
