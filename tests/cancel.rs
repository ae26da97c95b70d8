//! Cancelling ends a stream at once, wherever it waits, and on every way to the server: the servers
//! here neither answer nor close the connection, whatever the client does.
//!
//! This is a test program of its own, because it prints times, and other tests would disturb them.
//! For the same reason, its tests run one at a time.

#![cfg(test)] // Clippy treats helpers as tests too, so they may unwrap (clippy.toml).

mod support;

use std::fmt;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kerb_stream::{Environment, ErrorKind, GenerationConfig, Protocol, Proxy, generate_stream};
use support::shapes::Shape;
use support::{Connection, Outcome, Server, watchdog, whole_answers};

/// The limits of the stream, and of the test. A wait that cancelling does not end takes so long.
const LONG: Duration = Duration::from_secs(60);
/// The bound for a wait that cancelling ends.
const BOUND: Duration = Duration::from_secs(2);
const SHAPE: Shape = Shape(Protocol::ChatCompletions);

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(url: impl Into<String>) -> GenerationConfig {
    GenerationConfig::new("m")
        .base_url(url)
        .environment(Environment::empty())
        .max_retries(0)
        .connect_timeout(LONG)
        .first_byte_timeout(LONG)
        .idle_timeout(LONG)
}

/// The way to the server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Direct,
    HttpProxy,
    SocksProxy,
}

/// What the stream waits for when it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wait {
    Connection,
    ProxyResponse,
    TlsHandshake,
    Headers,
    Body,
    /// The server sends comments, and no event.
    BodyOfPings,
    /// The server does not read the request.
    Write,
    Retry,
}

#[derive(Debug, Clone, Copy)]
struct Case(Way, Wait);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.0, self.1)
    }
}

impl Case {
    /// Every wait on every way.
    fn all() -> Vec<Self> {
        use Wait::{
            Body, BodyOfPings, Connection, Headers, ProxyResponse, Retry, TlsHandshake, Write,
        };
        let waits =
            [Connection, ProxyResponse, TlsHandshake, Headers, Body, BodyOfPings, Write, Retry];
        let ways = [Way::Direct, Way::HttpProxy, Way::SocksProxy];
        let all = ways.into_iter().flat_map(|way| waits.map(|wait| Self(way, wait)));
        let is_possible = |&Self(way, wait): &Self| {
            (way != Way::Direct || wait != ProxyResponse)
                && (wait != TlsHandshake || cfg!(feature = "rustls"))
        };
        all.filter(is_possible).collect()
    }

    /// Plays the proxy and the server, up to the point where the client has to wait.
    fn play(self, connection: &mut Connection) -> io::Result<()> {
        let Self(way, wait) = self;
        match way {
            Way::Direct => {}
            Way::HttpProxy => {
                connection.request()?;
            }
            Way::SocksProxy => {
                connection.tcp().read_exact(&mut [0; 3])?;
            }
        }
        if wait == Wait::ProxyResponse {
            return Ok(());
        }
        match way {
            Way::Direct => {}
            Way::HttpProxy => connection.write("HTTP/1.1 200 OK\r\n\r\n")?,
            Way::SocksProxy => {
                connection.write([5, 0])?;
                connection.tcp().read_exact(&mut [0; 10])?;
                connection.write([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
            }
        }
        match wait {
            Wait::Headers => {
                connection.request()?;
            }
            Wait::Body | Wait::BodyOfPings => {
                connection.request()?;
                connection.start()?;
                connection.event(r#"{"choices":[{"delta":{"content":"Hel"}}]}"#)?;
            }
            Wait::Retry => {
                connection.request()?;
                connection
                    .write("HTTP/1.1 503 X\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Cancels a stream `after` it has got to its wait. Returns the time from `cancel` until `next`
    /// returns in the other thread.
    fn time(self, full: &FullListener, after: Duration) -> Duration {
        let Self(way, wait) = self;
        let (arrived, arrives) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let ends = Mutex::new(ends);
        let server = Server::start(move |connection| {
            self.play(connection)?;
            let _ = arrived.send(());
            let ends = ends.lock().unwrap();
            let step = if wait == Wait::BodyOfPings { Duration::from_millis(5) } else { LONG };
            // The connection stays open until the test has ended.
            while let Err(mpsc::RecvTimeoutError::Timeout) = ends.recv_timeout(step) {
                if connection.chunk(": ping\n\n").is_err() {
                    thread::sleep(step);
                }
            }
            Ok(())
        });
        let server = server.unwrap();
        let at = if wait == Wait::Connection { full.address } else { server.address() };
        // No proxy here looks at the target.
        let scheme = if wait == Wait::TlsHandshake { "https" } else { "http" };
        let config = config(format!("{scheme}://{at}/v1"));
        let config = match way {
            Way::Direct => config,
            Way::HttpProxy => config.proxy(Proxy::Url(format!("http://{at}"))),
            Way::SocksProxy => config.proxy(Proxy::Url(format!("socks5://{at}"))),
        };
        let config = if wait == Wait::Retry { config.max_retries(2) } else { config };
        let prompt = match wait {
            Wait::Write => "x".repeat(16 << 20),
            _ => "Hello?".to_owned(),
        };
        let mut stream = generate_stream(prompt, config);
        let handle = stream.cancel_handle();
        let (saw, sees) = mpsc::channel();
        let reader = thread::spawn(move || {
            let outcome = Outcome::read(&mut stream, |_| saw.send(()).unwrap());
            let ended = Instant::now();
            assert_eq!(outcome.kind(), Some(ErrorKind::Cancelled), "{}", outcome.message());
            (ended, outcome.text())
        });
        let has_text = matches!(wait, Wait::Body | Wait::BodyOfPings);
        if wait != Wait::Connection {
            arrives.recv().unwrap();
        }
        if has_text {
            sees.recv().unwrap();
        }
        // The stream may not have begun to wait yet. Cancelling must work then too.
        thread::sleep(after);
        let cancelled = Instant::now();
        handle.cancel();
        let (ended, content) = reader.join().unwrap();
        assert_eq!(content, if has_text { "Hel" } else { "" });
        drop(end);
        ended.saturating_duration_since(cancelled)
    }
}

/// A listener that accepts nothing, and whose queue is full, so that the system leaves further
/// attempts to connect waiting.
struct FullListener {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
    /// `false` if the system refuses these attempts instead.
    lets_wait: bool,
}

impl FullListener {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let lets_wait = loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
                Ok(stream) => queued.push(stream),
                Err(error) => break error.kind() == io::ErrorKind::TimedOut,
            }
        };
        Self { address, _listener: listener, _queued: queued, lets_wait }
    }
}

#[test]
fn cancelling_ends_every_wait_on_every_way() {
    let _turn = turn();
    let thorough = std::env::var_os("KERB_STREAM_THOROUGH").is_some();
    let runs = if thorough { 100 } else { 6 };
    watchdog(LONG * (5 + runs as u32 / 5), move || {
        let full = FullListener::new();
        if !full.lets_wait {
            println!("this system refuses connections that it cannot queue: not tested");
        }
        let is_possible = |case: &Case| full.lets_wait || case.1 != Wait::Connection;
        println!("from cancel() until next() returned, {runs} times:");
        for case in Case::all().into_iter().filter(is_possible) {
            let measure = |run| {
                // Where waits are cut into slices, the time depends on when a slice began.
                let time = case.time(&full, Duration::from_millis(2 + 7 * run % 50));
                assert!(time < BOUND, "{case}: {time:?}");
                time
            };
            // The long request of this wait takes time to build.
            let runs = if case.1 == Wait::Write { runs.min(20) } else { runs };
            let mut times: Vec<_> = (0..runs as u64).map(measure).collect();
            times.sort();
            let (p50, max) = (times[runs / 2], times[runs - 1]);
            println!("{:26} p50 {p50:9.1?}, max {max:9.1?}", case.to_string());
        }
    });
}

#[test]
fn cancelled_before_the_first_next_nothing_is_sent() {
    let _turn = turn();
    watchdog(LONG, || {
        let server = whole_answers();
        let mut stream = generate_stream("Hello?", config(server.url()));
        stream.cancel_handle().cancel();
        let error = stream.next().unwrap().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Cancelled));
        assert!(stream.next().is_none());
        assert_eq!(server.connections(), 0);
    });
}

#[test]
fn cancelling_one_stream_touches_no_other() {
    let _turn = turn();
    watchdog(LONG, || {
        let server = whole_answers();
        let ask = || {
            let mut stream = generate_stream("Hello?", config(server.url()));
            let handle = stream.cancel_handle();
            let text: String = stream.by_ref().map(|chunk| chunk.unwrap().content).collect();
            assert_eq!(text, "Hello");
            (stream, handle)
        };
        // The handle of a stream that has ended affects neither its response nor the next stream on
        // the connection.
        let (stream, late) = ask();
        late.cancel();
        assert_eq!(stream.into_response().unwrap().content, "Hello");
        let mut next = generate_stream("Hello?", config(server.url()));
        next.next().unwrap().unwrap();
        late.cancel();
        assert_eq!(next.into_response().unwrap().content, "Hello");
        assert_eq!(server.connections(), 1);

        // Two streams run at once. One is cancelled in its body, and the other continues.
        let [mut one, mut other] =
            [(); 2].map(|()| generate_stream("Hello?", config(server.url())));
        one.next().unwrap().unwrap();
        other.next().unwrap().unwrap();
        one.cancel_handle().cancel();
        assert_eq!(other.into_response().unwrap().content, "Hello");
        assert!(one.into_response().is_err());
    });
}

/// A stream that is dropped by `break`, or by a panic in the loop, closes its connection at once.
#[test]
fn a_stream_that_is_dropped_closes_its_connection() {
    let _turn = turn();
    watchdog(LONG, || {
        for panics in [false, true] {
            let (closed, closes) = mpsc::channel();
            let closed = Mutex::new(closed);
            let server = Server::start(move |connection| {
                connection.request()?;
                connection.start()?;
                let event = SHAPE.text("0123456789abcdef").repeat(100);
                // This body is far too long for a client to drain.
                while connection.chunk(&event).is_ok() {}
                closed.lock().unwrap().send(Instant::now()).unwrap();
                Ok(())
            });
            let server = server.unwrap();
            let mut stream = generate_stream("Hello?", config(server.url()));
            let broken = Instant::now();
            let result = thread::spawn(move || {
                let chunk = stream.next().unwrap().unwrap();
                assert!(!panics || chunk.content.is_empty(), "the caller's own");
            });
            assert_eq!(result.join().is_err(), panics);
            let time = closes.recv().unwrap().saturating_duration_since(broken);
            assert!(time < Duration::from_secs(2), "{time:?}");
        }
        // No lock is left poisoned.
        let server = whole_answers();
        assert!(generate_stream("Hello?", config(server.url())).into_response().is_ok());
    });
}
