//! HTTP/1.1 over TCP on this machine, no more than the demo and the tests need.

#![allow(dead_code)] // each program uses another part of it

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A server on 127.0.0.1, at a port that the system picks. It runs until the process ends.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

/// What a server has seen.
#[derive(Debug, Default)]
struct Log {
    connections: usize,
    requests: Vec<Request>,
}

impl Server {
    /// Calls `serve` with each connection, in a thread of its own, and closes the connection when
    /// it returns. An error is taken to mean that the client went away.
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
                    // Each write is one piece of an answer, and is to travel at once.
                    stream.set_nodelay(true)?;
                    serve(&mut Connection { stream: BufReader::new(stream), number, log })
                });
            }
        });
        Ok(Self { address, log })
    }

    /// The base URL, as OpenAI's clients want it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        with(&self.log, |log| log.connections)
    }

    /// The requests that were read so far, of all connections.
    pub(crate) fn requests(&self) -> Vec<Request> {
        with(&self.log, |log| log.requests.clone())
    }
}

fn with<T>(log: &Mutex<Log>, f: impl FnOnce(&mut Log) -> T) -> T {
    f(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// One client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// 0 for the server's first connection.
    pub(crate) number: usize,
    log: Arc<Mutex<Log>>,
}

impl Connection {
    /// Reads the next request whole; `None` once the client has closed the connection.
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

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// A whole answer.
    pub(crate) fn answer(&mut self, status: &str, media_type: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// The head of an answer that comes in chunks; [`Self::end`] ends it.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
    }

    /// One server-sent event, as one chunk.
    pub(crate) fn event(&mut self, data: impl ToString) -> io::Result<()> {
        self.chunk(format!("data: {}\n\n", data.to_string()))
    }

    /// One chunk.
    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        let size = format!("{:x}\r\n", bytes.len());
        self.write([size.as_bytes(), bytes, b"\r\n"].concat())
    }

    /// The end of an answer in chunks. The connection can carry another one.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.write("0\r\n\r\n")
    }

    /// The connection itself.
    pub(crate) fn tcp(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Waits until the client has closed the connection.
    pub(crate) fn wait_until_closed(&mut self) {
        // A client that does not close cleanly has closed, too.
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    /// Ends the connection now, in both directions.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Both)
    }
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first header of this name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(given, _)| given == name)?;
        Some(&header.1)
    }

    /// The body as JSON; `null` if it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
