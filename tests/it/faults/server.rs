//! The servers of the fault tests. They run in this process and do what a script says.

use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use kerb_stream::GenerationConfig;
use serde_json::Value;
use socket2::{SockRef, Socket};

use super::ms;
use crate::support::shapes::Shape;
use crate::support::tls::{Session, Shows, TlsServer};
use crate::support::{Connection, Request, Server};

/// The cause of a fault.
#[derive(Clone, Copy)]
pub(super) enum Script {
    /// A function that a server calls for each request.
    Requests(fn(&mut Scripted<'_>) -> Then),
    /// A function that sets up any other endpoint.
    Stage(fn(Shape) -> Stage),
}

/// Says whether the connection can carry another request. An error means that the client closed it.
pub(super) type Then = io::Result<After>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
}

/// The number of chunks that the caller has seen. Servers wait for it, instead of for a fixed time.
#[derive(Default)]
pub(super) struct Shown {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Shown {
    pub(super) fn count_one(&self) {
        *self.count.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, count: usize) -> io::Result<()> {
        let shown = self.count.lock().unwrap();
        let limit = Duration::from_secs(5);
        let waited = self.changed.wait_timeout_while(shown, limit, |shown| *shown < count);
        match waited.unwrap().1.timed_out() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}

/// The endpoint that a caller connects to, and everything it needs.
pub(super) struct Stage {
    pub(super) url: String,
    change: Box<dyn Fn(GenerationConfig) -> GenerationConfig>,
    requests: Box<dyn Fn() -> usize>,
    /// Values that must live as long as the stage.
    props: Vec<Box<dyn Any>>,
}

impl Stage {
    pub(super) fn of(script: Script, shape: Shape, shown: &Arc<Shown>) -> Self {
        let script = match script {
            Script::Stage(stage) => return stage(shape),
            Script::Requests(script) => script,
        };
        let (requests, shown) = (Arc::new(AtomicUsize::new(0)), Arc::clone(shown));
        let count = Arc::clone(&requests);
        let server = Server::start(move |connection| {
            while let Some(request) = connection.request()? {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let (connection, shown) = (&mut *connection, &*shown);
                let mut scripted = Scripted { connection, request, number, shape, shown };
                if script(&mut scripted)? == After::Close {
                    break;
                }
            }
            Ok(())
        });
        Self::at(server.unwrap().url()).counting(move || requests.load(Ordering::SeqCst))
    }

    /// Returns a stage at this URL that sees no requests.
    pub(super) fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            change: Box::new(|config| config),
            requests: Box::new(|| 0),
            props: Vec::new(),
        }
    }

    /// Starts a TLS server. It counts sessions instead of requests.
    pub(super) fn tls(
        shows: Shows,
        serve: impl Fn(&mut Session) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let server = TlsServer::start(shows, move |stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock)?;
            }
            serve(stream)
        });
        let ca_file = server.ca_file.clone();
        Self::at(server.url())
            .changing(move |config| config.ca_file(ca_file.clone()))
            .counting(move || count.load(Ordering::SeqCst))
            .with(server)
    }

    /// Starts a proxy in front of a server that it does not connect to.
    pub(super) fn proxy(
        scheme: &'static str,
        serve: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let proxy = Server::start(serve).unwrap();
        let url = format!("{scheme}://{}", proxy.address());
        Self::at("https://192.0.2.1/v1")
            .changing(move |config| config.proxy(kerb_stream::Proxy::Url(url.clone())))
            .counting(move || proxy.connections())
    }

    /// Returns a stage whose connections the system accepts, but no program.
    pub(super) fn unaccepted(scheme: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Self::at(format!("{scheme}://{}/v1", listener.local_addr().unwrap())).with(listener)
    }

    /// Returns a stage with a socket that is bound to a port. `prepare` decides whether it listens.
    pub(super) fn socket(prepare: impl FnOnce(&Socket)) -> Self {
        let socket = new_socket();
        let address: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&address.into()).unwrap();
        prepare(&socket);
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self::at(format!("http://{address}/v1")).with(socket)
    }

    pub(super) fn with(mut self, prop: impl Any) -> Self {
        self.props.push(Box::new(prop));
        self
    }

    pub(super) fn changing(
        self,
        change: impl Fn(GenerationConfig) -> GenerationConfig + 'static,
    ) -> Self {
        Self { change: Box::new(change), ..self }
    }

    pub(super) fn counting(self, requests: impl Fn() -> usize + 'static) -> Self {
        Self { requests: Box::new(requests), ..self }
    }

    /// Returns the configuration that a caller needs to reach this stage.
    pub(super) fn change(&self, config: GenerationConfig) -> GenerationConfig {
        (self.change)(config)
    }

    pub(super) fn requests(&self) -> usize {
        (self.requests)()
    }
}

pub(super) fn new_socket() -> Socket {
    Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap()
}

/// Returns the beginning of a response, with the text [`TWO`](super::TWO).
pub(super) fn two(shape: Shape) -> String {
    shape.start() + &shape.text("tok0 ") + &shape.text("tok1 ")
}

/// Returns a whole response of one word.
pub(super) fn hello(shape: Shape) -> String {
    shape.whole(&["Hello"])
}

/// Returns the events of a good response, with the text [`HELLO`](super::HELLO).
pub(super) fn good(shape: Shape) -> String {
    shape.whole(&["Hel", "lo ", "wörld", " 😀"])
}

pub(super) const EVENTS: &str = "content-type: text/event-stream\r\n";
pub(super) const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// A request, and the functions with which a script responds to it.
pub(super) struct Scripted<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) request: Request,
    /// The number of the request, counted from 1 over all connections of the server.
    pub(super) number: usize,
    pub(super) shape: Shape,
    shown: &'a Shown,
}

impl Scripted<'_> {
    pub(super) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.connection.write(bytes)
    }

    /// Sends these bytes and closes the connection.
    pub(super) fn write_and_close(&mut self, bytes: impl AsRef<[u8]>) -> Then {
        self.write(bytes)?;
        self.close()
    }

    /// Keeps the connection open, because the response is whole.
    pub(super) fn keep(&mut self) -> Then {
        Ok(After::Keep)
    }

    pub(super) fn close(&mut self) -> Then {
        Ok(After::Close)
    }

    pub(super) fn reset(&mut self) -> Then {
        SockRef::from(self.connection.tcp()).set_linger(Some(Duration::ZERO))?;
        self.close()
    }

    /// Sends nothing more until the client closes.
    pub(super) fn hang(&mut self) -> Then {
        self.connection.wait_until_closed();
        self.close()
    }

    /// Waits until the caller has seen this many chunks.
    pub(super) fn wait_for_chunks(&mut self, count: usize) -> io::Result<()> {
        self.shown.wait_for(count)
    }

    /// Sends the headers of a chunked response.
    pub(super) fn head(&mut self, headers: &str) -> io::Result<()> {
        self.write(format!("HTTP/1.1 200 OK\r\n{EVENTS}{CHUNKED}{headers}\r\n"))
    }

    pub(super) fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.connection.chunk(bytes)
    }

    /// Ends a chunked response.
    pub(super) fn end(&mut self) -> Then {
        self.connection.end()?;
        self.keep()
    }

    /// Sends a well-framed response with this body.
    pub(super) fn stream(&mut self, body: impl AsRef<[u8]>) -> Then {
        self.head("")?;
        self.chunk(body)?;
        self.end()
    }

    /// Sends a whole response with these events as its text.
    pub(super) fn among(&mut self, events: String) -> Then {
        let shape = self.shape;
        self.stream(shape.start() + &events + &shape.ending())
    }

    /// Sends the headers and two pieces of text.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.head("")?;
        self.chunk(two(self.shape))
    }

    /// Sends a good response.
    pub(super) fn good(&mut self) -> Then {
        self.good_with(EVENTS)
    }

    /// Sends a good response with these headers.
    pub(super) fn good_with(&mut self, headers: &str) -> Then {
        self.write(format!("HTTP/1.1 200 OK\r\n{headers}{CHUNKED}\r\n"))?;
        for event in good(self.shape).split_inclusive("\n\n") {
            self.chunk(event)?;
        }
        self.end()
    }

    /// Sends a body with a wrong `Content-Length`.
    pub(super) fn with_length(&mut self, length: usize, body: &str) -> Then {
        let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}content-length: {length}\r\n\r\n");
        self.write_and_close(head + body)
    }

    pub(super) fn answer(&mut self, status: u16, headers: &str, body: impl AsRef<[u8]>) -> Then {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
        self.write([head.as_bytes(), body].concat())?;
        self.keep()
    }

    pub(super) fn html(&mut self, status: u16, page: &str) -> Then {
        self.answer(status, "content-type: text/html\r\n", page)
    }

    pub(super) fn json(&mut self, status: u16, headers: &str, body: &Value) -> Then {
        let headers = format!("content-type: application/json\r\n{headers}");
        self.answer(status, &headers, body.to_string())
    }

    /// Sends an error with this status.
    pub(super) fn status(&mut self, status: u16, kind: &str, headers: &str) -> Then {
        let error = self.shape.error_with(status, &format!("synthetic {status}"), kind);
        self.json(status, &format!("x-request-id: req_fault\r\n{headers}"), &error)
    }

    pub(super) fn redirect(&mut self, status: u16, location: &str) -> Then {
        self.answer(status, &format!("location: {location}\r\n"), "")
    }

    /// Sends `first`, then repeats `again` until the client closes.
    pub(super) fn endless(&mut self, first: &str, again: &str) -> Then {
        self.write(first)?;
        let block = again.repeat(1 + 65_536 / again.len());
        loop {
            self.write(&block)?;
        }
    }

    /// Does the same inside a chunked body.
    pub(super) fn endless_body(&mut self, first: &str, again: &str) -> Then {
        self.head("")?;
        self.chunk(": they begin\n".to_owned() + &self.shape.start() + first)?;
        let block = again.repeat(65_536 / again.len());
        loop {
            self.chunk(&block)?;
        }
    }

    /// Repeats these bytes every 20 ms until the client closes.
    pub(super) fn drip(&mut self, again: &str) -> Then {
        loop {
            self.write(again)?;
            thread::sleep(ms(20));
        }
    }

    /// Repeats these bytes as a chunk every 20 ms until the client closes.
    pub(super) fn drip_chunks(&mut self, again: &str) -> Then {
        loop {
            self.chunk(again)?;
            thread::sleep(ms(20));
        }
    }

    /// Sends these bytes one by one.
    pub(super) fn drip_bytes(&mut self, bytes: &str, pause: Duration) -> io::Result<()> {
        for byte in bytes.bytes() {
            self.write([byte])?;
            thread::sleep(pause);
        }
        Ok(())
    }
}
