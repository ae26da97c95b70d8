//! Reads a response body: the bytes as they arrive, until a deadline.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::deadline_in;
use super::error::{self, Peer};
use super::pool::{self, Connection};
use crate::cancel::CancelHandle;
use crate::error::{Error, ErrorKind};

/// The maximum number of bytes that are read from the body of an error response. `Error::body`
/// keeps less, but servers may send a long prompt back, and truncated JSON cannot be parsed.
const ERROR_BODY: u64 = 1 << 20;
/// After a complete response, the crate reads on for about this many bytes, so that the connection
/// can serve the next request.
const REST: usize = 16 << 10;
/// After a complete response, the crate reads on for this time at most.
const REST_TIME: Duration = Duration::from_millis(100);

/// The body of a response, or another source of the same bytes.
pub(crate) struct Body {
    source: Source,
    /// The result that ended the reading: `Ok(0)` or an error. Every later read returns it again.
    /// ureq would return `Ok(0)` after an error, as if the body were complete.
    end: Option<Result<usize, Error>>,
}

enum Source {
    Connection(Box<HttpBody>),
    Reader(Box<dyn Read + Send>),
}

impl Body {
    /// Creates a body from a recording, a pipe or another client's response.
    pub(crate) fn from_reader(reader: impl Read + Send + 'static) -> Self {
        Self { source: Source::Reader(Box::new(reader)), end: None }
    }

    pub(super) fn of_connection(body: HttpBody) -> Self {
        Self { source: Source::Connection(Box::new(body)), end: None }
    }

    /// Reads the bytes that are available. If there are none, waits for them until `deadline` at
    /// the latest. Returns 0 at the end of the body. The first error is final.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, Error> {
        if let Some(end) = &self.end {
            return end.clone();
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.source {
            Source::Connection(body) => body.read(buffer, deadline),
            // Neither a deadline nor a cancellation can interrupt a caller's reader.
            Source::Reader(reader) => uninterrupted(reader, buffer).map_err(error::of_reader),
        };
        if !matches!(read, Ok(1..)) {
            self.end = Some(read.clone());
        }
        read
    }

    /// Reads on after a complete response, so that the connection can be reused. It stops after
    /// about [`REST`] bytes or [`REST_TIME`], so a server that does not end the response costs
    /// little.
    pub(crate) fn drain(mut self) {
        let (mut buffer, mut rest) = ([0; 2048], 0);
        let deadline = deadline_in(REST_TIME);
        while matches!(self.source, Source::Connection(_))
            && rest <= REST
            && let Ok(read @ 1..) = self.read(&mut buffer, deadline)
        {
            rest += read;
        }
    }

    /// Reads the body of an error response until `deadline`.
    pub(super) fn error_text(&mut self, deadline: Option<Instant>) -> Result<String, Error> {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while (text.len() as u64) < ERROR_BODY {
            match self.read(&mut buffer, deadline) {
                Ok(0) => break,
                Ok(read) => text.extend(buffer.iter().take(read)),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                // The status tells more than an error about the incomplete body.
                Err(_) => break,
            }
        }
        text.truncate(ERROR_BODY as usize);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// A body that arrives over a connection.
pub(super) struct HttpBody {
    pub(super) reader: ureq::BodyReader<'static>,
    /// The connection, until it is returned to the pool.
    pub(super) connection: Option<Connection>,
    pub(super) cancel: CancelHandle,
    pub(super) peer: Arc<Peer>,
}

impl HttpBody {
    fn read(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<usize, Error> {
        if let Some(connection) = &self.connection {
            connection.control.begin_read(deadline);
        }
        let read = uninterrupted(&mut self.reader, buffer);
        // Cancelling shuts the socket down. That can look like the end of the body.
        if !matches!(read, Ok(1..)) && self.cancel.is_cancelled() {
            return Err(Error::cancelled(self.peer.provider));
        }
        if let Ok(0) = read
            && let Some(connection) = self.connection.take()
        {
            self.cancel.detach();
            pool::checkin(connection);
        }
        read.map_err(|error| self.peer.cut(error.into()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

fn uninterrupted(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
