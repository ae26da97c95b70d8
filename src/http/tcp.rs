//! Reads and writes a TCP socket, so that cancelling ends every wait.
//!
//! Cancelling shuts the socket down ([`ConnectionControl`]). On most systems this ends a read or a
//! write that waits. On Windows it does not, so no wait is longer than [`SLICE`] there: the next
//! read or write fails at once.
//!
//! On Windows, a read or a write that ran out of time may have lost data. So a read waits until
//! there is something to read, by a peek, which takes no data, and a write does not wait at all.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, ShutdownHandle, Transport};

use super::control::ConnectionControl;

/// The longest wait for data where shutting the socket down does not end a wait.
const SLICE: Duration = Duration::from_millis(50);
/// The wait before a write is tried again, where a write does not wait.
const PAUSE: Duration = Duration::from_millis(5);

/// A TCP connection.
pub(super) struct TcpTransport {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    /// The limits that are set on the socket. They are set again only if they change.
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
    /// `true` if shutting the socket down does not end a wait.
    in_slices: bool,
}

impl TcpTransport {
    /// Wraps a socket, and registers it, so that cancelling shuts it down.
    pub(super) fn new(
        stream: TcpStream,
        config: &Config,
        control: &Arc<ConnectionControl>,
    ) -> Result<Self, Error> {
        let stream = Arc::new(stream);
        let handle: Arc<dyn ShutdownHandle> = Arc::<TcpStream>::clone(&stream);
        control.register(Arc::downgrade(&handle))?;
        Ok(Self {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            read_limit: None,
            write_limit: None,
            in_slices: cfg!(windows),
        })
    }

    /// Reads what is there, or waits for it until `limit` is over.
    fn read(&mut self, limit: Option<Duration>) -> io::Result<usize> {
        let limit = if self.in_slices { Some(limit.unwrap_or(SLICE).min(SLICE)) } else { limit };
        set_limit(&mut self.read_limit, limit, |limit| self.stream.set_read_timeout(limit))?;
        if self.in_slices {
            self.stream.peek(&mut [0])?;
        }
        (&*self.stream).read(self.buffers.input_append_buf())
    }

    /// Writes some of the output, beginning at `from`, or waits until that is possible or `limit`
    /// is over.
    fn write(&mut self, from: usize, to: usize, limit: Option<Duration>) -> io::Result<usize> {
        let output = self.buffers.output().get(from..to).unwrap_or_default();
        if !self.in_slices {
            set_limit(&mut self.write_limit, limit, |limit| self.stream.set_write_timeout(limit))?;
            return (&*self.stream).write(output);
        }
        self.stream.set_nonblocking(true)?;
        let written = (&*self.stream).write(output);
        self.stream.set_nonblocking(false)?;
        if matches!(&written, Err(error) if self.is_waiting(error)) {
            thread::sleep(PAUSE.min(limit.unwrap_or(PAUSE)));
        }
        written
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut done = 0;
        while done < amount {
            let write = |this: &mut Self, limit| this.write(done, amount, limit);
            match self.repeat(timeout.for_write(), write)? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                written => done += written,
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let read = self.repeat(timeout.for_read(), Self::read)?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Returns whether the server has neither closed the connection nor sent anything.
    fn is_open(&mut self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let is_quiet = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_ok() && is_quiet
    }
}

impl TcpTransport {
    /// Returns whether nothing has happened: the time is over, nothing can be read or written now,
    /// or a signal arrived. Only Windows reports the first as `TimedOut`; elsewhere that means a
    /// lost connection.
    fn is_waiting(&self, error: &io::Error) -> bool {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        matches!(error.kind(), Interrupted | WouldBlock)
            || (self.in_slices && error.kind() == TimedOut)
    }

    /// Repeats a read or a write until it does something or the time is over.
    fn repeat(
        &mut self,
        timeout: NextTimeout,
        mut act: impl FnMut(&mut Self, Option<Duration>) -> io::Result<usize>,
    ) -> Result<usize, Error> {
        let started = Instant::now();
        let limit = (!timeout.after.is_not_happening()).then_some(*timeout.after);
        let mut left = limit;
        loop {
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::Timeout(timeout.reason));
            }
            match act(self, left) {
                Err(error) if self.is_waiting(&error) => {}
                done => return Ok(done?),
            }
            left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
        }
    }
}

/// Sets a limit of the socket, if it is not set already.
fn set_limit(
    is_set: &mut Option<Duration>,
    limit: Option<Duration>,
    set: impl FnOnce(Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    if *is_set != limit {
        match set(limit) {
            // macOS refuses to change the limit after the server has closed the connection. What
            // the server sent before can still be read.
            Err(error) if cfg!(target_os = "macos") && is_invalid(&error) => return Ok(()),
            result => result?,
        }
        *is_set = limit;
    }
    Ok(())
}

fn is_invalid(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// `Debug` must not show the buffers, which contain the API key.
impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use ureq::Timeout;
    use ureq::unversioned::transport::time::Duration as Span;

    use super::*;
    use crate::cancel::Interrupt;

    const LONG: Duration = Duration::from_secs(60);

    /// Returns a transport and the other end of its connection, for waits in slices and for others.
    fn both_ways() -> [(TcpTransport, TcpStream, Arc<ConnectionControl>); 2] {
        [false, true].map(|in_slices| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let control = Arc::new(ConnectionControl::default());
            let config = ureq::Agent::config_builder().build();
            let mut transport = TcpTransport::new(stream, &config, &control).unwrap();
            transport.in_slices = in_slices || cfg!(windows);
            (transport, listener.accept().unwrap().0, control)
        })
    }

    fn within(limit: Duration) -> NextTimeout {
        NextTimeout { after: Span::Exact(limit), reason: Timeout::Global, ..NextTimeout::default() }
    }

    #[test]
    fn every_byte_arrives_however_long_the_wait() {
        for (mut transport, mut server, _) in both_ways() {
            assert!(transport.is_open());
            let sent: Vec<u8> = (0..40_000_u32).map(|at| at as u8).collect();
            let bytes = sent.clone();
            let writer = thread::spawn(move || {
                for piece in bytes.chunks(9_999) {
                    // Some waits are longer than a slice, and end at its end.
                    thread::sleep(SLICE + SLICE / 50);
                    server.write_all(piece).unwrap();
                }
            });
            let mut received: Vec<u8> = Vec::new();
            while transport.await_input(within(LONG)).unwrap() {
                received.extend(transport.buffers().input());
                let length = transport.buffers().input().len();
                transport.buffers().input_consume(length);
            }
            writer.join().unwrap();
            assert_eq!(received, sent);
            assert!(!transport.is_open());
        }
    }

    #[test]
    fn a_full_socket_takes_the_rest_when_the_server_reads() {
        for (mut transport, mut server, _) in both_ways() {
            let reader = thread::spawn(move || {
                thread::sleep(2 * SLICE);
                let mut received = Vec::new();
                server.read_to_end(&mut received).unwrap();
                received
            });
            let mut written: Vec<u8> = Vec::new();
            for piece in 0..4_000 {
                let output = transport.buffers().output();
                let length = output.len().min(5_000);
                output[..length].fill(piece as u8);
                written.extend(&output[..length]);
                transport.transmit_output(length, within(LONG)).unwrap();
            }
            transport.stream.shutdown(Shutdown::Write).unwrap();
            assert!(reader.join().unwrap() == written);
        }
    }

    #[test]
    fn a_wait_ends_when_its_time_is_over() {
        for (mut transport, _server, _) in both_ways() {
            for limit in [Duration::ZERO, SLICE / 5, 2 * SLICE] {
                let started = Instant::now();
                let error = transport.await_input(within(limit)).unwrap_err();
                assert!(matches!(error, Error::Timeout(Timeout::Global)), "{error:?}");
                assert!(started.elapsed() >= limit);
            }
            let full = loop {
                let length = transport.buffers().output().len();
                if let Err(error) = transport.transmit_output(length, within(2 * SLICE)) {
                    break error;
                }
            };
            assert!(matches!(full, Error::Timeout(Timeout::Global)), "{full:?}");
        }
    }

    #[test]
    fn cancelling_ends_a_read_and_a_write() {
        for writes in [false, true] {
            for (mut transport, server, control) in both_ways() {
                let waits = thread::spawn(move || {
                    loop {
                        let length = transport.buffers().output().len();
                        let result = match writes {
                            true => transport.transmit_output(length, within(LONG)).map(|()| true),
                            false => transport.await_input(within(LONG)),
                        };
                        if !matches!(result, Ok(true)) {
                            break result;
                        }
                    }
                });
                thread::sleep(SLICE / 2);
                let started = Instant::now();
                control.interrupt();
                let result = waits.join().unwrap();
                assert!(started.elapsed() < LONG / 2, "{result:?}");
                drop(server);
            }
        }
    }
}
