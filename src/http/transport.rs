//! Reads and writes of one connection, under the limits of its [`ConnectionControl`].

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use ureq::unversioned::transport::time::Duration as Span;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::control::{ConnectionControl, Phase};
use super::fault::{Fault, is_disconnect};

/// The most that may come before the headers of a response are complete: twice what they may have, for
/// the interim responses that may precede it. It bounds the trailers behind a body, too.
pub(crate) const MAX_PREAMBLE: usize = 64 << 10;

/// Keeps the requests of a [`ConnectionControl`] and their responses together.
#[derive(Debug)]
pub(super) struct ControlledTransport {
    pub(super) control: Arc<ConnectionControl>,
    pub(super) inner: Box<dyn Transport>,
    /// Whether what comes is the response, and not what a proxy passes on.
    pub(super) outermost: bool,
    /// The beginning of the request. ureq writes headers and body one after the other; in one piece
    /// the server wakes up once.
    pub(super) held: Vec<u8>,
    /// Whether a request begins, of which little has been written yet.
    pub(super) holds: bool,
}

/// How much is held back: of a large request, the rest is not copied.
const HELD: usize = 8 << 10;

/// The limit on a read that is to give what is there and not wait: see
/// [`ControlledTransport::has_leftovers`].
pub(super) const AT_ONCE: Span = Span::Exact(Duration::ZERO);

impl ControlledTransport {
    /// Writes what was held back.
    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        self.holds = false;
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let is_reused = self.outermost && !self.control.state().fresh;
        if is_reused && self.has_leftovers(timeout) {
            // Such a connection is of no more use than one that the server has closed.
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            // As much as there is room for.
            let amount = self.inner.buffers().output().write(rest)?;
            rest = rest.get(amount..).unwrap_or_default();
            self.inner.transmit_output(amount, timeout)?;
        }
        Ok(())
    }

    /// Whether something is there before the request is written, which therefore cannot be its
    /// response. ureq looks into the input buffer and the system's, but not between them: records
    /// that are not decrypted yet, text that is still in the TLS session, and a part of a record,
    /// which the session keeps until the rest comes.
    ///
    /// The session gives what it has before it asks for more. If it does ask, [`SocketTransport`] says
    /// whether a record is torn, and else gives up at once, which leaves the session as it is.
    fn has_leftovers(&mut self, timeout: NextTimeout) -> bool {
        let at_once = NextTimeout { per_read: Some(AT_ONCE), ..timeout };
        !self.inner.buffers().input().is_empty()
            || !matches!(self.inner.await_input(at_once), Err(Error::Timeout(Timeout::PerRead)))
    }
}

impl Transport for ControlledTransport {
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
        let mut state = self.control.state();
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

/// Reads and writes under the limits of a [`ConnectionControl`]. It stands below TLS, since a record
/// that drips in makes the session read again and again before it gives anything.
///
/// It also lets a response be read that came before the request was written: a server that refuses
/// a large body responds, closes, and so makes the rest of the writing fail. TLS would try the
/// failed write again before it reads.
#[derive(Debug)]
pub(super) struct SocketTransport {
    control: Arc<ConnectionControl>,
    inner: Box<dyn Transport>,
    broken: bool,
    /// Where the records stand that TLS reads from here, if it does.
    records: Option<TlsRecords>,
}

impl SocketTransport {
    pub(super) fn new(
        control: &Arc<ConnectionControl>,
        mut inner: Box<dyn Transport>,
        carries_tls: bool,
    ) -> Self {
        let mut records = carries_tls.then(TlsRecords::default);
        if let Some(records) = &mut records {
            // A proxy may have sent more than its own response.
            records.follow(inner.buffers().input());
        }
        Self { control: Arc::clone(control), inner, broken: false, records }
    }
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.broken {
            return Ok(());
        }
        match self.inner.transmit_output(amount, self.control.limit(timeout)) {
            Err(Error::Io(error)) if is_disconnect(&error) => {
                self.broken = true;
                Ok(())
            }
            written => written,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let is_torn = self.records.as_ref().is_some_and(TlsRecords::is_torn);
        if is_torn && timeout.per_read == Some(AT_ONCE) {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let before = self.inner.buffers().input().len();
        let progress = loop {
            let (limit, is_early) = self.control.read_limit(timeout);
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
struct TlsRecords {
    /// How much of a header has come.
    header: usize,
    /// The latest two bytes of it; at its end, the record's length.
    length: u16,
    /// How much of the record behind the header is still to come.
    left: usize,
}

impl TlsRecords {
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

    /// Whether a part of a record has come, and not all of it.
    fn is_torn(&self) -> bool {
        self.header > 0 || self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut records = TlsRecords::default();
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
