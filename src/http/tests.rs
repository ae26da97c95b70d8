//! Tests the transport against scripted servers on this machine.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Instant;

use super::*;
use crate::config::{GenerationConfig, Proxy};
use crate::environment::Environment;
use crate::error::ErrorKind;
use crate::{request, retry};

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(300);
/// A time limit that is longer than any step of a test should take, even on a busy machine.
const LONG: Duration = Duration::from_secs(20);

const STREAM: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const END: &str = "0\r\n\r\n";

/// A server that passes each connection to `script`, with the connection's number.
struct Server {
    address: String,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    fn new(script: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let script = Arc::new(script);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                socket.set_read_timeout(Some(LONG)).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                thread::spawn(move || script(number, &mut socket));
            }
        });
        Self { address, accepted }
    }

    /// Sends the same bytes in response to every request of every connection.
    fn answering(answer: &'static str) -> Self {
        Self::new(move |_, socket| {
            while request_of(socket).is_some() {
                let _ = socket.write_all(answer.as_bytes());
            }
        })
    }

    fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    fn request(&self) -> PreparedRequest {
        request_to(&self.url(), &config())
    }

    fn send(&self) -> Result<HttpResponse, Error> {
        self.send_with(&config())
    }

    fn send_with(&self, config: &GenerationConfig) -> Result<HttpResponse, Error> {
        send(&request_to(&self.url(), config), &CancelHandle::new())
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn request_to(url: &str, config: &GenerationConfig) -> PreparedRequest {
    prepared(url, config).unwrap()
}

/// Makes one attempt of a request to `url`.
fn attempt(
    url: &str,
    config: &GenerationConfig,
    cancel: &CancelHandle,
) -> Result<HttpResponse, Error> {
    send(&prepared(url, config)?, cancel)
}

fn prepared(url: &str, config: &GenerationConfig) -> Result<PreparedRequest, Error> {
    let config = config.clone().base_url(url).allow_plain_http(true);
    request::prepare(&"Hi".into(), &config).map(|(request, _)| request)
}

fn config() -> GenerationConfig {
    GenerationConfig::new("m").environment(Environment::empty()).api_key("sk-0123456789")
}

/// Returns the headers and the body of the next request, or `None` if the client has closed the
/// connection.
fn request_of(socket: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return None,
        }
    }
    let mut head = String::from_utf8(request).unwrap();
    let length = head.to_ascii_lowercase();
    let length = length
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    head.push_str(&String::from_utf8(body).unwrap());
    Some(head)
}

/// Keeps the connection open until the client closes it.
fn linger(socket: &mut TcpStream) {
    while matches!(socket.read(&mut [0; 1024]), Ok(1..)) {}
}

fn read_all(body: &mut Body) -> Result<String, Error> {
    let mut text = Vec::new();
    let mut buffer = [0; 64];
    loop {
        match body.read(&mut buffer, None)? {
            0 => return Ok(String::from_utf8(text).unwrap()),
            read => text.extend(&buffer[..read]),
        }
    }
}

/// Tests that count connections run alone, because all tests share one pool.
static ALONE: RwLock<()> = RwLock::new(());

fn alone<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let _guard = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    watched(test)
}

fn in_time<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let _guard = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    watched(test)
}

/// Fails the test instead of letting it hang.
fn watched<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(test()));
    result.recv_timeout(LONG).expect("the test hangs or has failed")
}

fn api(error: Error) -> Error {
    assert!(error.body().is_some(), "{error:?}");
    error
}

#[test]
fn a_request_says_what_it_must_and_the_answer_tells_its_headers() {
    in_time(|| {
        let (seen, requests) = mpsc::channel();
        let server = Server::new(move |_, socket| {
            seen.send(request_of(socket).unwrap()).unwrap();
            let head = "HTTP/1.1 200 OK\r\nX-Request-Id: r-1\r\nX-RateLimit-Remaining: 9\r\n\
                        anthropic-ratelimit-echo: sk-0123456789\r\nContent-Length: 5\r\n\r\nhello";
            socket.write_all(head.as_bytes()).unwrap();
            linger(socket);
        });
        let mut answer = server.send().unwrap();
        assert_eq!(read_all(&mut answer.body).unwrap(), "hello");
        assert_eq!(answer.body.read(&mut [0; 8], None).unwrap(), 0);
        assert_eq!(answer.request_id.as_deref(), Some("r-1"));
        let limits: Vec<_> = answer.rate_limit.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(limits, ["anthropic-ratelimit-echo=[redacted]", "x-ratelimit-remaining=9"]);

        let request = requests.recv().unwrap();
        let lower = request.to_ascii_lowercase();
        assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
        for header in [
            "accept-encoding: identity\r\n",
            concat!("user-agent: kerb-stream/", env!("CARGO_PKG_VERSION"), "\r\n"),
            "content-type: application/json\r\n",
            "authorization: bearer sk-0123456789\r\n",
        ] {
            assert!(lower.contains(header), "{header}: {request}");
        }
    });
}

#[test]
fn a_finished_answer_leaves_its_connection_and_an_abandoned_one_closes_it() {
    alone(|| {
        let server = Server::answering(concat!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n"
        ));
        for _ in 0..5 {
            let mut answer = server.send().unwrap();
            assert_eq!(answer.body.read(&mut [0; 5], None).unwrap(), 5);
            answer.body.drain();
        }
        assert_eq!(server.accepted(), 1);

        // Requests with other limits share a connection. A late cancellation does not affect it.
        let handle = CancelHandle::new();
        let other = config().idle_timeout(LONG);
        let answer = attempt(&server.url(), &other, &handle).unwrap();
        answer.body.drain();
        handle.cancel();
        server.send().unwrap().body.drain();
        assert_eq!(server.accepted(), 1);

        let answer = server.send().unwrap();
        drop(answer);
        server.send().unwrap().body.drain();
        assert_eq!(server.accepted(), 2);

        // Two streams at once need two connections.
        let (one, two) = (server.send().unwrap(), server.send().unwrap());
        assert_eq!(server.accepted(), 3);
        one.body.drain();
        two.body.drain();
        server.send().unwrap().body.drain();
        assert_eq!(server.accepted(), 3);
    });
}

#[test]
fn few_connections_wait_for_the_next_request() {
    alone(|| {
        let (closed, is_closed) = mpsc::channel();
        let server = Server::new(move |_, socket| {
            request_of(socket).unwrap();
            write!(socket, "{STREAM}{END}").unwrap();
            linger(socket);
            closed.send(()).unwrap();
        });
        let answers: Vec<_> = (0..12).map(|_| server.send().unwrap()).collect();
        answers.into_iter().for_each(|answer| answer.body.drain());
        for _ in 0..4 {
            is_closed.recv_timeout(LONG).unwrap();
        }
        assert_eq!(server.accepted(), 12);
        assert!(is_closed.recv_timeout(SHORT).is_err());
    });
}

#[cfg(feature = "rustls")]
#[test]
fn tls_that_fails_says_why() {
    in_time(|| {
        let send = |url: String, config: &GenerationConfig, cancel: &CancelHandle| {
            attempt(&url, config, cancel).unwrap_err()
        };
        let plain = Server::new(|_, socket| {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            linger(socket);
        });
        let never = CancelHandle::new();
        let error = send(format!("https://{}", plain.address), &config(), &never);
        let text = error.to_string();
        assert!(text.contains("does not speak TLS") && text.contains("http://"), "{text}");
        assert!(!error.is_retryable(), "{error:?}");

        let silent = Server::new(|_, socket| linger(socket));
        let url = format!("https://{}", silent.address);
        let text = send(url.clone(), &config().connect_timeout(SHORT), &never).to_string();
        assert!(text.contains("(connect_timeout)"), "{text}");
        let handle = CancelHandle::new();
        let waiting = {
            let (handle, url) = (handle.clone(), url.clone());
            thread::spawn(move || send(url, &config(), &handle))
        };
        while silent.accepted() < 2 {
            thread::yield_now();
        }
        handle.cancel();
        assert_eq!(waiting.join().unwrap().kind(), ErrorKind::Cancelled);

        let large = std::env::temp_dir().join(format!("kerb-stream-large-{}", std::process::id()));
        std::fs::File::create(&large).and_then(|file| file.set_len((16 << 20) + 1)).unwrap();
        let large = large.to_str().unwrap();
        for (file, says) in [
            ("Cargo.toml", "PEM certificate"),
            ("no/such/file", "cannot read"),
            ("src", "is a directory"),
            (large, "larger than 16 MiB"),
        ] {
            let variable = Environment::from_iter([("SSL_CERT_FILE", file)]);
            for (config, option) in [
                (config().ca_file(file), "(ca_file)"),
                (config().client_certificate(file), "(client_certificate)"),
                (config().environment(variable), "(SSL_CERT_FILE)"),
            ] {
                let error = send(url.clone(), &config, &never);
                assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
                let text = error.to_string();
                assert!(text.contains(file) && text.contains(says), "{text}");
                assert!(text.contains(option), "{text}");
            }
        }
        std::fs::remove_file(large).unwrap();
        assert_eq!(silent.accepted(), 2);
    });
}

#[test]
fn dropping_a_body_closes_the_socket_at_once() {
    in_time(|| {
        let (closed, is_closed) = mpsc::channel();
        let server = Server::new(move |_, socket| {
            request_of(socket).unwrap();
            socket.write_all(STREAM.as_bytes()).unwrap();
            linger(socket);
            closed.send(()).unwrap();
        });
        let answer = server.send().unwrap();
        drop(answer);
        is_closed.recv_timeout(5 * SECOND).unwrap();
    });
}

#[test]
fn a_connection_that_the_server_had_closed_is_replaced_unseen() {
    alone(|| {
        // The first connection serves one response, reads the second request and closes.
        let server = Server::new(|number, socket| {
            request_of(socket).unwrap();
            socket.write_all(STREAM.as_bytes()).unwrap();
            socket.write_all(END.as_bytes()).unwrap();
            let _ = request_of(socket);
            if number > 0 {
                linger(socket);
            }
        });
        server.send().unwrap().body.drain();
        server.send().unwrap().body.drain();
        assert_eq!(server.accepted(), 2);

        // If a new connection is closed, that is an error.
        let server = Server::new(|_, socket| drop(request_of(socket)));
        let error = server.send().unwrap_err();
        assert_eq!(server.accepted(), 1);
        let expected = format!("{} closed the connection without a response", server.address);
        assert_eq!(error.to_string(), expected);
        assert!(error.is_retryable());
    });
}

#[test]
fn the_rest_of_an_answer_is_read_if_it_costs_next_to_nothing() {
    alone(|| {
        // On the first connection, the server ends the body a little later. On the second one it
        // never does, and on the others it sends chunks without end.
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let server = Server::new(move |number, socket| {
            while request_of(socket).is_some() {
                socket.write_all(STREAM.as_bytes()).unwrap();
                match number {
                    0 => {
                        let _ = wait.lock().unwrap().recv();
                        let _ = socket.write_all(END.as_bytes());
                    }
                    1 => return linger(socket),
                    _ => while socket.write_all(b"5\r\nhello\r\n").is_ok() {},
                }
            }
        });
        for connections in [1, 1] {
            let mut answer = server.send().unwrap();
            assert_eq!(answer.body.read(&mut [0; 8], None).unwrap(), 5);
            go.send(()).unwrap();
            answer.body.drain();
            assert_eq!(server.accepted(), connections);
        }
        let kept = server.send().unwrap();
        for connections in [2, 3] {
            let answer = server.send().unwrap();
            assert_eq!(server.accepted(), connections);
            let start = Instant::now();
            answer.body.drain();
            assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        }
        drop(kept);
    });
}

#[test]
fn each_limit_on_time_names_itself() {
    in_time(|| {
        let silent = Server::new(|_, socket| linger(socket));
        let dripping = Server::new(|_, socket| {
            request_of(socket).unwrap();
            for byte in b"HTTP/1.1 200 OK\r\nX-Long: ".iter().chain([b'x'; 4000].iter()) {
                if socket.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let stalling = Server::new(|_, socket| {
            request_of(socket).unwrap();
            socket.write_all(STREAM.as_bytes()).unwrap();
            linger(socket);
        });
        let timeout = |error: Error, option: &str| {
            assert!(error.kind() == ErrorKind::Timeout, "{error:?}");
            assert_eq!(retry::wait_before_retry(&error, 0, &config()), None);
            let text = error.to_string();
            assert!(text.contains(option) && text.contains("300ms"), "{text}");
        };
        for server in [&silent, &dripping] {
            let error = server.send_with(&config().first_byte_timeout(SHORT)).unwrap_err();
            timeout(error, "(first_byte_timeout)");
        }
        let mut answer = stalling.send_with(&config().idle_timeout(SHORT)).unwrap();
        assert_eq!(answer.body.read(&mut [0; 8], None).unwrap(), 5);
        timeout(answer.body.read(&mut [0; 8], None).unwrap_err(), "(idle_timeout)");
        // The first error is final.
        timeout(answer.body.read(&mut [0; 8], None).unwrap_err(), "(idle_timeout)");

        // This server reads nothing.
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", deaf.local_addr().unwrap());
        let mut request = request_to(&url, &config().idle_timeout(SHORT));
        request.body = vec![b' '; 32 << 20];
        let error = send(&request, &CancelHandle::new()).unwrap_err();
        timeout(error, "(idle_timeout)");

        // The second read has a deadline, the first one has none.
        let config = config().stall_timeout(SHORT);
        let mut answer = stalling.send_with(&config).unwrap();
        assert_eq!(answer.body.read(&mut [0; 8], None).unwrap(), 5);
        let start = Instant::now();
        let error = answer.body.read(&mut [0; 8], Some(start + SHORT)).unwrap_err();
        assert!(
            error.kind() == ErrorKind::Timeout && error.to_string().contains("stall_timeout"),
            "{error}"
        );
        assert!(start.elapsed() >= SHORT);
    });
}

#[test]
fn a_limit_beyond_the_end_of_time_is_none() {
    in_time(|| {
        let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let config = config()
            .connect_timeout(Duration::MAX)
            .first_byte_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX);
        let mut answer = server.send_with(&config).unwrap();
        assert_eq!(read_all(&mut answer.body).unwrap(), "hello");
    });
}

#[test]
fn cancelling_wakes_whoever_waits_and_nobody_else() {
    in_time(|| {
        let (waiting, is_waiting) = mpsc::channel();
        let server = Server::new(move |_, socket| {
            let request = request_of(socket).unwrap();
            if request.contains("body") {
                // This body ends with the connection, so a shutdown looks like its end.
                socket.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").unwrap();
            }
            waiting.send(()).unwrap();
            linger(socket);
        });
        for phase in ["head", "body"] {
            let other = {
                let mut request = server.request();
                request.body = b"body".to_vec();
                let cancel = CancelHandle::new();
                send(&request, &cancel).unwrap()
            };
            is_waiting.recv().unwrap();
            let handle = CancelHandle::new();
            let stream = {
                let (mut request, handle) = (server.request(), handle.clone());
                request.body = phase.as_bytes().to_vec();
                thread::spawn(move || {
                    let mut answer = send(&request, &handle)?;
                    read_all(&mut answer.body)
                })
            };
            is_waiting.recv().unwrap();
            let start = Instant::now();
            handle.cancel();
            let error = stream.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{phase}: {error:?}");
            assert!(start.elapsed() < SECOND, "{phase}: {:?}", start.elapsed());

            let before = server.accepted();
            let error = send(&server.request(), &handle);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
            assert_eq!(server.accepted(), before);

            let mut body = other.body;
            assert_eq!(body.read(&mut [0; 8], None).unwrap(), 5);
            let deadline = Some(Instant::now() + SHORT);
            assert!(body.read(&mut [0; 8], deadline).unwrap_err().kind() == ErrorKind::Timeout);
        }
    });
}

#[test]
fn an_answer_that_comes_before_the_request_is_written_is_read() {
    in_time(|| {
        let server = Server::new(|_, socket| {
            socket.read_exact(&mut [0; 1024]).unwrap();
            let answer =
                "HTTP/1.1 413 Too Large\r\nContent-Length: 25\r\n\r\n{\"error\":\"too large ...\"}";
            socket.write_all(answer.as_bytes()).unwrap();
            // The server closes with much unread data, so the client's write gets a reset.
            let _ = socket.shutdown(Shutdown::Both);
        });
        let mut request = server.request();
        request.body = vec![b' '; 32 << 20];
        let error = send(&request, &CancelHandle::new());
        let error = api(error.unwrap_err());
        assert_eq!((error.status(), error.message()), (Some(413), "too large ..."));
    });
}

#[test]
fn statuses_are_data_and_only_200_is_a_stream() {
    in_time(|| {
        for (answer, shown) in [
            (
                "HTTP/1.1 401 No\r\nrequest-id: q\r\nContent-Length: 36\r\n\r\n{\"error\":\"no sk-0123456789, please\"}",
                "401: no [redacted], please (request q); check the API key (from the option `api_key`)",
            ),
            (
                "HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
                "429; try again in 7 s",
            ),
            (
                "HTTP/1.1 500 No\r\nContent-Length: 500\r\n\r\ncut \u{1b}[2J here",
                "500: cut ␛[2J here",
            ),
            (
                "HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x08x",
                "500: the error is compressed (gzip)",
            ),
            (
                "HTTP/1.1 302 No\r\nLocation: https://user:pw@Evil.example:8443/p?key=sk-x\r\nContent-Length: 0\r\n\r\n",
                "302: a redirect to https://Evil.example:8443/p, which was not followed; check the base URL",
            ),
            (
                "HTTP/1.1 308 No\r\nLocation: /v2/chat/completions\r\nContent-Length: 2\r\n\r\nno",
                "308: a redirect to http://{address}/v2/chat/completions, which was not followed; if that is right, set the base URL to http://{address}/v2",
            ),
            (
                "HTTP/1.1 307 No\r\nContent-Length: 0\r\n\r\n",
                "307: a redirect without a valid location; check the base URL",
            ),
            ("HTTP/1.1 204 No\r\n\r\n", "204: this is not an event stream; check the base URL"),
            (
                "HTTP/1.1 101 No\r\nUpgrade: websocket\r\n\r\n",
                "101: this is not an event stream; check the base URL",
            ),
            (
                "HTTP/1.1 299 No\r\nContent-Length: 2\r\n\r\nno",
                "299: this is not an event stream; check the base URL",
            ),
        ] {
            let server = Server::new(move |_, socket| {
                request_of(socket).unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
                linger(socket);
            });
            let error = server.send().unwrap_err();
            let address = &server.address;
            let shown = shown.replace("{address}", address);
            let shown = format!("the server at {address} returned {shown}");
            assert_eq!(error.to_string(), shown, "{answer}");
            assert!(!format!("{error:?}").contains("sk-"), "{error:?}");
        }
        let server = Server::answering(
            "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        );
        let error = server.send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{error:?}");
        assert!(error.to_string().contains("(br)"), "{error}");
    });
}

#[test]
fn an_error_keeps_its_connection_and_its_body_is_bounded() {
    alone(|| {
        let server = Server::answering(
            "HTTP/1.1 503 No\r\nContent-Length: 22\r\n\r\n{\"message\":\"later...\"}",
        );
        for _ in 0..3 {
            assert_eq!(api(server.send().unwrap_err()).message(), "later...");
        }
        assert_eq!(server.accepted(), 1);

        let flood = Server::new(|_, socket| {
            request_of(socket).unwrap();
            let _ = socket.write_all(b"HTTP/1.1 500 No\r\n\r\n");
            while socket.write_all(&[0xff; 4096]).is_ok() {}
        });
        let error = api(flood.send().unwrap_err());
        assert_eq!(error.status(), Some(500));
        assert!(
            error.body().unwrap().starts_with('\u{fffd}')
                && error.body().unwrap().len() <= 64 << 10
        );
    });
}

/// Servers send a long prompt back in an error about it.
#[test]
fn a_long_error_is_read_to_its_end() {
    let prompt = "word ".repeat(180_000);
    let body = format!(
        r#"{{"error":{{"input":"{prompt}","message":"no money","code":"insufficient_quota"}}}}"#
    );
    let head = format!("HTTP/1.1 429 X\r\nContent-Length: {}\r\n\r\n", body.len());
    let server = Server::new(move |_, socket| {
        request_of(socket);
        let _ = socket.write_all(format!("{head}{body}").as_bytes());
    });
    let error = api(server.send().unwrap_err());
    assert_eq!((error.kind(), error.message()), (ErrorKind::Quota, "no money"));
    assert!(
        error.body().unwrap().starts_with("{\"error\"") && error.body().unwrap().len() <= 64 << 10
    );
}

#[test]
fn a_body_that_is_cut_or_torn_is_an_error() {
    in_time(|| {
        for (head, rest) in [
            ("Content-Length: 9\r\n\r\nhello", ""),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ""),
            ("Transfer-Encoding: chunked\r\n\r\n6\r\nhello", ""),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "5"),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "-5\r\n"),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "FFFFFFFFFFFFFFFFF\r\n"),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello", "world\r\n"),
        ] {
            let (go, wait) = mpsc::channel::<()>();
            let wait = std::sync::Mutex::new(wait);
            let server = Server::new(move |_, socket| {
                request_of(socket).unwrap();
                write!(socket, "HTTP/1.1 200 OK\r\n{head}").unwrap();
                wait.lock().unwrap().recv().unwrap();
                socket.write_all(rest.as_bytes()).unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
                linger(socket);
            });
            let mut body = server.send().unwrap().body;
            assert_eq!(body.read(&mut [0; 8], None).unwrap(), 5, "{head}");
            go.send(()).unwrap();
            for _ in 0..2 {
                let error = body.read(&mut [0; 8], None).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Network, "{head}: {error:?}");
                assert!(error.to_string().contains(&server.address), "{error}");
            }
        }
    });
}

#[test]
fn a_reset_is_not_the_end_of_a_body_without_a_length() {
    in_time(|| {
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let server = Server::new(move |_, socket| {
            // Closing with unread data resets the connection.
            socket.read_exact(&mut [0; 16]).unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
            wait.lock().unwrap().recv().unwrap();
        });
        let mut body = server.send().unwrap().body;
        assert_eq!(body.read(&mut [0; 8], None).unwrap(), 5);
        go.send(()).unwrap();
        let error = body.read(&mut [0; 8], None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    });
}

#[test]
fn a_head_has_an_end_and_is_http() {
    in_time(|| {
        let ambiguous = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(400);
        let endless = "x".repeat(4 << 10);
        for (beginning, more) in [
            ("SSH-2.0-OpenSSH_9.6\r\n\r\n", ""),
            (ambiguous, ""),
            ("HTTP/1.1 200 OK\r\nX: ", &endless),
            ("", &interim),
        ] {
            let (beginning, more) = (beginning.to_owned(), more.to_owned());
            let server = Server::new(move |_, socket| {
                request_of(socket).unwrap();
                let mut sent = socket.write_all(beginning.as_bytes());
                // Sending without pauses would fill the buffer at once.
                for _ in 0..20 {
                    sent = sent.and_then(|()| socket.write_all(more.as_bytes()));
                    thread::sleep(Duration::from_millis(20));
                }
                let _ = socket.shutdown(Shutdown::Write);
                linger(socket);
            });
            let error = server.send().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{error:?}");
        }
    });
}

#[test]
fn nobody_at_home_is_said_with_host_and_port() {
    in_time(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let send = |url: String, config: &GenerationConfig| {
            attempt(&url, config, &CancelHandle::new()).unwrap_err()
        };
        let error = send(format!("http://{address}/secret/path?key=k"), &config());
        let expected = format!("{address} refused the connection; is the server running?");
        assert_eq!(error.to_string(), expected);
        assert!(error.is_retryable() && std::error::Error::source(&error).is_some());

        let proxied = config().proxy(Proxy::Url(format!("http://user:hunter2@{address}")));
        for url in ["http://127.0.0.1:1/v1", "https://api.example/v1"] {
            let error = send(url.to_owned(), &proxied);
            let expected = match url.starts_with("https") && cfg!(not(feature = "rustls")) {
                true => "https needs the crate's feature `rustls`".to_owned(),
                false => {
                    format!("the proxy {address} refused the connection; is it running?")
                }
            };
            assert_eq!(error.to_string(), expected);
        }
    });
}

#[test]
fn a_proxy_s_refusal_is_not_the_origin_s() {
    in_time(|| {
        for (answer, shown) in [
            ("HTTP/1.1 407 No\r\n\r\n", "requires a valid user name and password (407)"),
            // tinyproxy sends this if it gets no password.
            ("HTTP/1.1 401 No\r\n\r\n", "requires a valid user name and password (401)"),
            ("HTTP/1.1 403 No\r\n\r\n", "refuses to connect to far.example:80 (403)"),
            ("HTTP/1.1 429 No\r\n\r\n", "could not connect to far.example:80 (429)"),
            ("HTTP/1.1 502 No\r\n\r\n", "could not connect to far.example:80 (502)"),
            // The proxy does not support CONNECT.
            ("HTTP/1.1 501 No\r\n\r\n", "refuses to connect to far.example:80 (501)"),
            ("", "did not connect to far.example:80"),
        ] {
            let proxy = Server::answering(answer);
            let proxy = match answer {
                "" => Server::new(|_, socket| drop(request_of(socket))),
                _ => proxy,
            };
            let config = config().proxy(Proxy::Url(format!("http://u:hunter2@{}", proxy.address)));
            let error = attempt("http://far.example/v1?key=k", &config, &CancelHandle::new());
            let error = error.unwrap_err();
            assert_eq!(error.to_string(), format!("the proxy {} {shown}", proxy.address));
            assert_eq!(error.status(), None);
            let may_pass = answer.is_empty() || shown.contains("could not");
            assert_eq!(error.is_retryable(), may_pass, "{error}");
        }

        // A SOCKS5 proxy requires a password and gets none, does not know the user, or sends one of
        // its replies to the connect command.
        let login = "requires a valid user name and password";
        let refuses = "refuses to connect to far.example:80";
        let failed = "did not connect to far.example:80";
        let other = "cannot be used for far.example:80; check the proxy's URL";
        for (user, answers, shown, may_pass) in [
            ("", [5, 0xff].as_slice(), login, false),
            ("u:hunter2@", &[5, 2, 1, 1], login, false),
            ("", &[5, 0, 5, 1], failed, true),
            ("", &[5, 0, 5, 2], refuses, false),
            ("", &[5, 0, 5, 4], failed, true),
            ("", &[5, 0, 5, 5], failed, true),
            ("", &[5, 0, 5, 7], other, false),
            ("", &[5, 0, 5, 8], other, false),
            ("", &[5, 9], other, false),
            ("", b"HTTP/1.1 400 No", other, false),
        ] {
            let proxy = Server::new(move |_, socket| {
                let mut said = [0; 64];
                for answer in answers.chunks(2) {
                    let _ = socket.read(&mut said);
                    let _ = socket.write_all(answer);
                }
            });
            let url = format!("socks5h://{user}{}", proxy.address);
            let config = config().proxy(Proxy::Url(url));
            let error = attempt("http://far.example/v1", &config, &CancelHandle::new());
            let error = error.unwrap_err();
            assert_eq!(error.to_string(), format!("the proxy {} {shown}", proxy.address));
            assert_eq!(error.is_retryable(), may_pass, "{error:?}");
        }

        // SOCKS4 has no IPv6, so nothing is sent.
        let proxy = Server::new(|_, socket| linger(socket));
        let config4 = config().proxy(Proxy::Url(format!("socks4://{}", proxy.address)));
        let error = attempt("http://[2001:db8::1]/v1", &config4, &CancelHandle::new());
        let error = error.unwrap_err();
        assert!(error.to_string().ends_with("check the proxy's URL"), "{error}");
        assert!(!error.is_retryable());

        // A proxy that drips its response, or sends none, is subject to the connect timeout.
        let dripping = Server::new(|_, socket| {
            request_of(socket);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            while socket.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        for scheme in ["http", "socks5h"] {
            let url = format!("{scheme}://{}", dripping.address);
            let config = config().proxy(Proxy::Url(url)).connect_timeout(SHORT);
            let error = attempt("http://far.example/v1", &config, &CancelHandle::new());
            let text = error.unwrap_err().to_string();
            assert!(text.contains("(connect_timeout)"), "{text}");
        }
    });
}

#[test]
fn a_name_without_an_address_is_the_target_s_or_the_proxy_s() {
    in_time(|| {
        // DNS lookups come first, so no proxy has to listen.
        let elsewhere = "to let the proxy look it up, use socks5h:// or socks4a://";
        for (proxy, whom, advice) in [
            (None, "no-such-host.invalid:80", "check the URL"),
            (Some("socks5://127.0.0.1:1"), "no-such-host.invalid:80", elsewhere),
            (Some("socks5://no-such-host.invalid:1"), "no-such-host.invalid:80", elsewhere),
            (
                Some("socks5h://no-such-host.invalid:1"),
                "the proxy no-such-host.invalid:1",
                "check the URL",
            ),
            (
                Some("http://no-such-host.invalid:1"),
                "the proxy no-such-host.invalid:1",
                "check the URL",
            ),
        ] {
            let proxy = proxy.map_or(Proxy::Direct, |url| Proxy::Url(url.to_owned()));
            let url = "http://no-such-host.invalid/v1";
            let error = attempt(url, &config().proxy(proxy), &CancelHandle::new()).unwrap_err();
            assert_eq!(error.to_string(), format!("no address found for {whom}; {advice}"));
        }
    });
}

#[test]
fn a_tunnel_carries_streams_and_is_kept() {
    alone(|| {
        let server = Server::answering(concat!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n"
        ));
        let target = server.address.clone();
        let proxy = Server::new(move |_, socket| {
            let request = request_of(socket).unwrap();
            assert!(request.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{request}");
            assert!(request.contains("Proxy-Authorization: Basic dTpwIQ==\r\n"), "{request}");
            assert!(!request.contains("sk-0123456789"), "{request}");
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let mut up = TcpStream::connect(&target).unwrap();
            let (mut from_up, mut to_down) = (up.try_clone().unwrap(), socket.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut from_up, &mut to_down));
            let _ = io::copy(socket, &mut up);
        });
        let config = config().proxy(Proxy::Url(format!("http://u:p%21@{}", proxy.address)));
        for _ in 0..3 {
            let mut answer = server.send_with(&config).unwrap();
            assert_eq!(read_all(&mut answer.body).unwrap(), "hello");
        }
        assert_eq!((proxy.accepted(), server.accepted()), (1, 1));
    });
}

#[test]
fn a_line_that_no_buffer_holds_is_refused_before_it_is_sent() {
    in_time(|| {
        let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let header = |more| {
            config().header("x-long", "x".repeat(MAX_LINE - "x-long: \r\n\r\n".len() + more))
        };
        let fits = header(0).header("x-more", "x".repeat(MAX_LINE - "x-more: \r\n\r\n".len()));
        server.send_with(&fits).unwrap();
        assert!(
            prepared(&server.url(), &header(1)).is_err_and(|e| e.to_string().contains("x-long"))
        );

        let url = server.url();
        let others = format!("POST {url}/ HTTP/1.1\r\n").len();
        let path = |more| config().path("x".repeat(MAX_LINE - others + more));
        server.send_with(&path(0)).unwrap();
        assert!(prepared(&url, &path(1)).is_err_and(|e| e.to_string().contains("too long")));
    });
}

#[test]
fn a_reader_of_another_s_is_read_to_its_first_error() {
    struct Script(Vec<io::Result<usize>>);
    impl Read for Script {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.remove(0)
        }
    }
    let mut body = Body::from_reader(Script(vec![
        Ok(3),
        Err(io::ErrorKind::Interrupted.into()),
        Ok(2),
        Err(io::ErrorKind::TimedOut.into()),
    ]));
    assert_eq!(body.read(&mut [0; 8], None).unwrap(), 3);
    assert_eq!(body.read(&mut [0; 8], None).unwrap(), 2);
    for _ in 0..2 {
        assert!(body.read(&mut [0; 8], None).unwrap_err().kind() == ErrorKind::Timeout);
    }
    body.drain();
}
