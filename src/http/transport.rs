//! Reads and writes one connection under the limits of its [`ConnectionControl`].

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use ureq::unversioned::transport::time::Duration as Span;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::control::{ConnectionControl, Phase};
use super::fault::{Fault, is_disconnect};

/// The maximum number of bytes that may arrive before the response headers are complete. It is more
/// than twice the limit of the headers themselves, since interim responses may precede them. It
/// also limits the trailers after a body.
pub(crate) const MAX_PREAMBLE: usize = 64 << 10;

/// The outer transport of a connection. It makes sure that a response belongs to its request: bytes
/// that arrived before the request was written make the connection unusable.
#[derive(Debug)]
pub(super) struct ControlledTransport {
    pub(super) control: Arc<ConnectionControl>,
    pub(super) inner: Box<dyn Transport>,
    /// `true` for the transport that receives the response, `false` for that of a proxy below it.
    pub(super) outermost: bool,
    /// The beginning of the request, which is held back. ureq writes the headers and the body
    /// separately. Written in one piece, they wake the server only once.
    pub(super) held: Vec<u8>,
    /// `true` while the beginning of a request is held back.
    pub(super) holds: bool,
}

/// When this many bytes are held back, they are written. The rest of a large request is not copied.
const HELD: usize = 8 << 10;

/// The limit of a read that returns what is available and does not wait: see
/// [`ControlledTransport::has_leftovers`].
pub(super) const AT_ONCE: Span = Span::Exact(Duration::ZERO);

impl ControlledTransport {
    /// Writes the bytes that were held back.
    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        self.holds = false;
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let is_reused = self.outermost && !self.control.state().fresh;
        if is_reused && self.has_leftovers(timeout) {
            // The connection is unusable, as if the server had closed it.
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let mut rest = held.as_slice();
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
    /// The session returns what it has before it reads from the socket. If it does read,
    /// [`SocketTransport`] reports a torn record as an error. Otherwise it times out at once, which
    /// does not change the session.
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

/// The transport below TLS. It applies the limits of a [`ConnectionControl`] to each read and
/// write. Above TLS, it could not: while a record drips in, the TLS session reads many times before
/// it returns anything.
///
/// It also keeps a response that arrives before the request is written completely. A server that
/// rejects a large body responds and closes the connection, so the rest of the write fails. That
/// failure is ignored here, because TLS would repeat the write before it reads the response.
#[derive(Debug)]
pub(super) struct SocketTransport {
    control: Arc<ConnectionControl>,
    inner: Box<dyn Transport>,
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

/// The position in the incoming TLS records. The TLS session does not report whether it has only a
/// part of one. Only the record headers are read, and nothing of the rest is kept.
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
