//! What governs a connection from outside: its time limits by phase, and cancelling.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::time::Duration as Span;
use ureq::unversioned::transport::{NextTimeout, ShutdownHandle};
use ureq::{Error, Timeout};

use super::fault::Fault;
use crate::cancel::Interrupt;

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
    /// The request is written and the response headers read. There is no limit on one read,
    /// which every byte of dripping headers would restart.
    Headers,
    /// The body is read. The limit on one read is always the same, so that it is set only once: see
    /// [`ConnectionControl::read_limit`].
    #[default]
    Body,
}

/// What the transport knows and decides about the connections of one agent, which serves one stream
/// at a time.
#[derive(Debug, Default)]
pub(crate) struct ConnectionControl(Mutex<ControlState>);

#[derive(Debug, Default)]
pub(super) struct ControlState {
    pub(super) phase: Phase,
    /// When the phase has to end.
    deadline: Option<Instant>,
    pub(super) limits: Limits,
    /// How many connectors are at work: a proxy's runs inside the target's.
    pub(super) depth: u8,
    /// Whether this request opened a connection.
    pub(super) fresh: bool,
    /// How much of the headers this request has received, or the latest read of a body.
    pub(super) received: usize,
    interrupted: bool,
    sockets: Vec<Weak<dyn ShutdownHandle>>,
}

impl ConnectionControl {
    /// A request begins; it is not known yet whether a connection is at hand.
    pub(crate) fn begin_request(&self, limits: Limits) {
        let mut state = self.state();
        state.enter(Phase::Headers, deadline_in(limits.first_byte));
        state.limits = limits;
        state.fresh = false;
        state.received = 0;
    }

    /// The next read of the body begins, which ends at `deadline` at the latest, whatever drips in.
    pub(crate) fn begin_read(&self, deadline: Option<Instant>) {
        let mut state = self.state();
        state.enter(Phase::Body, deadline);
        state.received = 0;
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
    pub(super) fn register(&self, socket: Weak<dyn ShutdownHandle>) -> Result<(), Error> {
        let mut state = self.state();
        // Under the same lock as the interruption, so that no socket escapes it.
        state.check()?;
        state.sockets.retain(|socket| socket.strong_count() > 0);
        state.sockets.push(socket);
        Ok(())
    }

    /// The limits of the phase for one read or write of a socket.
    pub(super) fn limit(&self, timeout: NextTimeout) -> NextTimeout {
        let state = self.state();
        let idle = Some(Span::Exact(state.limits.idle));
        let (reason, per_read, per_write) = match state.phase {
            Phase::Connect => (Timeout::Connect, None, None),
            // A server that reads nothing is as dead as one that writes nothing.
            Phase::Headers => (Timeout::RecvResponse, None, idle),
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
    /// Each piece of the response moves the deadline, and the socket would have to be told before each
    /// read. As long as the deadline is far away, it is told less, and always the same.
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

    /// No code of others runs under the lock, so a poisoned one is whole.
    pub(super) fn state(&self) -> MutexGuard<'_, ControlState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlState {
    pub(super) fn enter(&mut self, phase: Phase, deadline: Option<Instant>) {
        self.phase = phase;
        self.deadline = deadline;
    }

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

/// The instant that lies so far ahead; `None` if the clock does not reach it.
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
        // Who waits for nothing waits for no deadline.
        control.begin_read(deadline_in(8 * second));
        let at_once = NextTimeout { per_read: Some(AT_ONCE), ..NextTimeout::default() };
        assert!(!control.read_limit(at_once).1);
        // A shorter limit on one read is the same anyway, and comes first.
        limits(8 * second, 7 * second + second / 2);
        assert_eq!(told(8 * second), (7 * second + second / 2, Timeout::PerRead, false));
        limits(8 * second, 8 * second);
        assert_eq!(told(8 * second), (7 * second, Timeout::RecvBody, true));
        assert_eq!(told(Duration::MAX), (8 * second, Timeout::PerRead, false));
    }
}
