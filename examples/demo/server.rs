//! Serves HTTP/1.1 over TCP on this machine, with no more than the demo and the tests need.

#![allow(dead_code)] // Each program uses a different part of this module.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A server on 127.0.0.1, on a port that the system chooses. It runs until the process ends.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

/// The connections and requests that a server has received.
#[derive(Debug, Default)]
struct Log {
    connections: usize,
    requests: Vec<Request>,
}

impl Server {
    /// Calls `serve` with each connection, in a thread of its own, and closes the connection when
    /// it returns. An error only ends that connection: the client has probably closed it.
    pub(crate) fn start(
        serve: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let log = Arc::<Mutex<Log>>::default();
        let (serve, shared) = (Arc::new(serve), Arc::clone(&log));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serve, log) = (Arc::clone(&serve), Arc::clone(&shared));
                let mut number = 0;
                with(&log, |log| {
                    number = log.connections;
                    log.connections += 1;
                });
                thread::spawn(move || {
                    // Each write is one piece of an answer, and must be sent at once.
                    stream.set_nodelay(true)?;
                    serve(&mut Connection { stream: BufReader::new(stream), number, log })
                });
            }
        });
        Ok(Self { address, log })
    }

    /// Returns the base URL, as OpenAI's clients expect it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        with(&self.log, |log| log.connections)
    }

    /// Returns the requests that were read so far on all connections.
    pub(crate) fn requests(&self) -> Vec<Request> {
        with(&self.log, |log| log.requests.clone())
    }
}

fn with<T>(log: &Mutex<Log>, f: impl FnOnce(&mut Log) -> T) -> T {
    f(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A connection to one client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// 0 for the server's first connection.
    pub(crate) number: usize,
    log: Arc<Mutex<Log>>,
}

impl Connection {
    /// Reads the next request and its body, or returns `None` if the client has closed the
    /// connection.
    pub(crate) fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(first) = self.line()? else {
            return Ok(None);
        };
        let mut words = first.split(' ').map(str::to_owned);
        let mut request = Request {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            ..Request::default()
        };
        while let Some(line) = self.line()?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let header = (name.to_ascii_lowercase(), value.trim().to_owned());
            request.headers.push(header);
        }
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        request.body.resize(length.unwrap_or(0), 0);
        self.stream.read_exact(&mut request.body)?;
        with(&self.log, |log| log.requests.push(request.clone()));
        Ok(Some(request))
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }

    /// Writes bytes unchanged.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a response with its whole body.
    pub(crate) fn answer(&mut self, status: &str, media_type: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// Sends the headers of a chunked event stream, which [`Self::end`] ends.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
    }

    /// Sends one server-sent event as one chunk.
    pub(crate) fn event(&mut self, data: impl ToString) -> io::Result<()> {
        self.chunk(format!("data: {}\n\n", data.to_string()))
    }

    /// Sends one chunk.
    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        let size = format!("{:x}\r\n", bytes.len());
        self.write([size.as_bytes(), bytes, b"\r\n"].concat())
    }

    /// Ends a chunked response. The connection stays open for another one.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.write("0\r\n\r\n")
    }

    /// Returns the socket.
    pub(crate) fn tcp(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Waits until the client has closed the connection.
    pub(crate) fn wait_until_closed(&mut self) {
        // An error means that the client has closed the connection without a clean end.
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    /// Shuts the connection down in both directions.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Both)
    }
}

/// A request as it was received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The headers in their order, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns the first header with this name, which must be in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(given, _)| given == name)?;
        Some(&header.1)
    }

    /// Returns the body as JSON, or `null` if it is not JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
