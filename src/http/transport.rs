//! Reads and writes one connection under the limits of its [`ConnectionControl`].

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use ureq::unversioned::transport::time::Duration as Span;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::control::{ConnectionControl, Phase};
use super::fault::{Fault, is_disconnect};

/// The maximum number of bytes that may arrive until the response headers are complete. Interim
/// responses may precede the headers, so it is more than twice as large as ureq's limit for the
/// headers of one response. The count restarts with each read of the body. So the trailers, which
/// are read together, are limited too.
pub(crate) const MAX_PREAMBLE: usize = 64 << 10;

/// The outer transport of a connection. It makes sure that a response belongs to its request: bytes
/// that arrived before the request was written make the connection unusable.
#[derive(Debug)]
pub(super) struct ControlledTransport {
    pub(super) control: Arc<ConnectionControl>,
    pub(super) inner: Box<dyn Transport>,
    /// `true` for the connection to the target, which receives the response. `false` for a
    /// connection to a proxy, through which the connection to the target runs.
    pub(super) outermost: bool,
    /// The beginning of the request, which is held back. ureq writes the headers and the body
    /// separately. One write for both wakes the server only once.
    pub(super) unwritten: Vec<u8>,
    /// `true` while writes are held back: until a read needs the server's response, or until
    /// [`MAX_UNWRITTEN`] bytes are reached.
    pub(super) holds_back: bool,
}

/// The limit for the bytes that are held back. When it is reached, they are written. The rest of a
/// large request is then written directly, without a copy.
const MAX_UNWRITTEN: usize = 8 << 10;

/// The limit of a read that returns what is available and does not wait: see
/// [`ControlledTransport::has_leftovers`].
pub(super) const AT_ONCE: Span = Span::Exact(Duration::ZERO);

impl ControlledTransport {
    /// Writes the bytes that were held back. On a reused connection, it first checks that nothing
    /// arrived before the request, and fails otherwise.
    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        self.holds_back = false;
        let unwritten = std::mem::take(&mut self.unwritten);
        if unwritten.is_empty() {
            return Ok(());
        }
        let is_reused = self.outermost && !self.control.state().fresh;
        if is_reused && self.has_leftovers(timeout) {
            // The connection is unusable, as if the server had closed it.
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let mut rest = unwritten.as_slice();
        while !rest.is_empty() {
            // The output buffer may be too small for everything at once.
            let amount = self.inner.buffers().output().write(rest)?;
            rest = rest.get(amount..).unwrap_or_default();
            self.inner.transmit_output(amount, timeout)?;
        }
        Ok(())
    }

    /// Returns whether bytes arrived before the request is written. They cannot belong to its
    /// response. ureq checks its input buffer and the system's, but not the TLS session between
    /// them. The session can contain encrypted records, decrypted text, or a part of a record whose
    /// rest has not arrived.
    ///
    /// Only a read that times out at once shows that nothing has arrived. The session returns what
    /// it has before it reads from the socket. When it reads from the socket after a part of a
    /// record, [`SocketTransport`] returns an error. When it reads from the socket after a complete
    /// record and no byte is there, the read times out, which does not change the session.
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
        if self.holds_back {
            self.unwritten.extend(self.inner.buffers().output().iter().take(amount));
            return if self.unwritten.len() < MAX_UNWRITTEN { Ok(()) } else { self.flush(timeout) };
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.flush(timeout)?;
        let before = self.inner.buffers().input().len();
        let progress = self.inner.await_input(timeout);
        // After a read, the next write usually begins a request.
        self.holds_back = true;
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

/// The transport below TLS. It applies the limits of a [`ConnectionControl`] to each read and
/// write. A transport above TLS does not see each read: while a record arrives byte by byte, the
/// TLS session reads many times before it returns anything.
///
/// It also hides a failed write, so that an early response can still be read: a server that rejects
/// a large body responds and closes the connection before the request is written completely. The
/// failure is hidden below TLS, because TLS would repeat the write before it reads the response.
#[derive(Debug)]
pub(super) struct SocketTransport {
    control: Arc<ConnectionControl>,
    pub(super) inner: Box<dyn Transport>,
    /// Set when the server has closed the connection during a write.
    broken: bool,
    /// The position in the TLS records that arrive here; `None` without TLS.
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
            // A proxy may have sent more bytes than its own response.
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
                // This was the shorter limit of `read_limit`, not the deadline.
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

/// The position in the incoming TLS records. The TLS session does not report whether its latest
/// record is incomplete, so the record headers are read here. No bytes of the records are kept.
#[derive(Debug, Default)]
struct TlsRecords {
    /// The number of bytes of the record header that have arrived.
    header: usize,
    /// The latest two bytes of the header. When the header is complete, they are the record's
    /// length.
    length: u16,
    /// The number of bytes of the record that have not arrived yet, without the header.
    left: usize,
}

impl TlsRecords {
    /// The length of a record header.
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

    /// Returns whether a record has arrived only in part.
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
