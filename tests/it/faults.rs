//! Whatever a server or a network does, a caller gets the answer or an error that says what happened:
//! never a hang, never a part passed off as a whole.
//!
//! The cases stand in `support/faults.rs`, from which `docs/faults.md` is written; here they are acted
//! out.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use kerb_stream::{GenerationConfig, Protocol, Proxy};
use serde_json::{Value, json};
use socket2::{SockRef, Socket};

use crate::support::faults::{Case, Seen, cases, see, table};
use crate::support::shapes::Shape;
use crate::support::tls::{self, Shows, TlsServer};
use crate::support::{Connection, Request, Server};

/// For what would hang.
const WATCHDOG: Duration = Duration::from_secs(30);
/// What takes place over TLS, or on the way to it.
const WITH_TLS: &[&str] = &["F08", "F09", "F10", "F11", "F12", "F13", "F15", "F16", "F43"];
/// How many cases are acted out at once; most of them wait.
const AT_ONCE: usize = 48;

#[test]
fn every_fault_is_what_the_table_says() {
    // Each case has a server of its own, more of them than a shell allows descriptors.
    let _ = rlimit::increase_nofile_limit(8192);
    let only = std::env::var("KERB_STREAM_FAULT").ok();
    let acts: Vec<(Case, Protocol)> = cases()
        .into_iter()
        .filter(|case| only.as_deref().is_none_or(|only| case.id == only))
        .filter(|case| {
            let over_tls = WITH_TLS.contains(&case.id) || case.option("v") == Some("tls");
            cfg!(feature = "rustls") || !over_tls
        })
        .flat_map(|case| case.protocols.iter().map(move |&protocol| (case.clone(), protocol)))
        .collect();
    let count = acts.len();
    assert!(count > 0, "there is no fault {only:?}");
    let acts = Arc::new(Mutex::new(acts.into_iter()));
    let (report, reports) = mpsc::channel();
    for _ in 0..AT_ONCE {
        let (acts, report) = (Arc::clone(&acts), report.clone());
        thread::spawn(move || {
            loop {
                let Some((case, protocol)) = acts.lock().unwrap().next() else {
                    return;
                };
                let name = format!("{} {:?} {protocol}", case.id, case.options);
                let act = move || play(&case, protocol);
                let result = std::panic::catch_unwind(|| crate::support::watchdog(WATCHDOG, act));
                let differences = result.unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    vec![text.unwrap_or_else(|| "it panics".to_owned())]
                });
                report.send((name, differences)).unwrap();
            }
        });
    }
    drop(report);
    let reports: Vec<_> = reports.iter().collect();
    assert_eq!(reports.len(), count, "a case is reported once");
    let failures: BTreeMap<_, _> =
        reports.into_iter().filter(|(_, differences)| !differences.is_empty()).collect();
    assert!(failures.is_empty(), "{} of {count}: {failures:#?}", failures.len());
}

#[test]
fn the_documentation_has_the_same_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    let table = table();
    if std::env::var_os("KERB_STREAM_WRITE").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    let known = std::fs::read_to_string(file).unwrap_or_default();
    assert!(known == table, "run this test with KERB_STREAM_WRITE=1 to write docs/faults.md anew");
}

/// Acts one case out, and says what is not as it should be.
fn play(case: &Case, protocol: Protocol) -> Vec<String> {
    let shown = Arc::new(Shown::default());
    let stage = Stage::new(case, Shape(protocol), &shown);
    let base_url = match stage.url.strip_suffix("/v1") {
        Some(origin) => format!("{origin}{}/v1", case.path()),
        None => stage.url.clone(),
    };
    let config = (stage.config)(case.config(protocol, base_url));
    let prompt = match case.id {
        "F06" | "F62" => "x".repeat(30 << 20),
        _ => "Hello?".to_owned(),
    };
    let look = |config: &GenerationConfig| see(config.clone(), &prompt, || shown.count_one());
    let mut seen: Seen = look(&config);
    if matches!(case.id, "F60" | "F61") {
        assert_eq!(seen.text, case.text, "the first turn");
        seen = look(&config);
    }
    case.differences(&seen, (stage.requests)())
}

/// How many chunks the caller has seen: what a server waits for, in place of a pause.
#[derive(Default)]
struct Shown {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Shown {
    fn count_one(&self) {
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

/// What a case takes place on.
struct Stage {
    url: String,
    config: Box<dyn Fn(GenerationConfig) -> GenerationConfig>,
    requests: Box<dyn Fn() -> usize>,
    /// What has to live as long as the case.
    _props: Vec<Box<dyn Any>>,
}

impl Stage {
    fn new(case: &Case, shape: Shape, shown: &Arc<Shown>) -> Self {
        match case.id {
            "F01" => {
                // Bound and not listening, so that nobody else gets the port.
                let socket = socket();
                let url = url(&socket);
                Self::at(url, 0).with(socket)
            }
            "F02" => Self::at("http://no-such-host.invalid/v1".into(), 0)
                .changed(|c| c.allow_plain_http(true)),
            "F03" => {
                let socket = socket();
                socket.listen(0).unwrap();
                let address = socket.local_addr().unwrap();
                let mut stage = Self::at(url(&socket), 0).with(socket);
                // Fills the queue of connections that nobody accepts.
                for _ in 0..4 {
                    let full =
                        Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                    full.set_nonblocking(true).unwrap();
                    let _ = full.connect(&address);
                    stage = stage.with(full);
                }
                stage
            }
            "F06" | "F12" => {
                // Accepted by the kernel, and by nobody else.
                let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
                let scheme = if case.id == "F12" { "https" } else { "http" };
                let url = format!("{scheme}://{}/v1", listener.local_addr().unwrap());
                Self::at(url, case.requests).with(listener)
            }
            "F08" => Self::tls(case, Shows::SelfSigned, |_| Ok(())),
            "F09" => Self::tls(case, Shows::Expired, |_| Ok(())),
            "F10" => Self::tls(case, Shows::OtherHost, |_| Ok(())),
            "F11" => {
                let server = Server::start(|connection| {
                    connection
                        .write("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\nplain HTTP")?;
                    connection.wait_until_closed();
                    Ok(())
                });
                let server = server.unwrap();
                let url = server.url().replace("http:", "https:");
                Self::at(url, 1).counting(move || server.connections())
            }
            "F13" => Self::tls(case, Shows::Good, move |stream| {
                tls::read_request(stream)?;
                tls::answer(stream, &two(shape))
            }),
            "F43" => Self::tls(case, Shows::Good, move |stream| {
                tls::read_request(stream)?;
                let location = "http://127.0.0.1:1/v1/chat/completions";
                write!(
                    stream,
                    "HTTP/1.1 307 X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
                )?;
                stream.flush()
            }),
            "F15" if case.option("v") == Some("socks") => {
                let proxy = Server::start(|connection| {
                    for reply in [[5, 0], [5, 2]] {
                        let _ = connection.tcp().read(&mut [0; 512])?;
                        connection.write(reply)?;
                    }
                    Ok(())
                });
                let proxy = proxy.unwrap();
                let address = proxy.address();
                Self::at("https://192.0.2.1/v1".into(), 1)
                    .changed(move |c| c.proxy(Proxy::Url(format!("socks5://{address}"))))
                    .counting(move || proxy.connections())
            }
            "F15" | "F16" => {
                let answer = match (case.option("status"), case.option("v")) {
                    (Some(status), _) => {
                        Some(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n"))
                    }
                    (_, Some("close")) => Some(String::new()),
                    _ => None,
                };
                let proxy = Server::start(move |connection| {
                    connection.request()?;
                    match &answer {
                        Some(answer) => connection.write(answer),
                        None => {
                            connection.wait_until_closed();
                            Ok(())
                        }
                    }
                });
                let proxy = proxy.unwrap();
                let address = proxy.address();
                Self::at("https://192.0.2.1/v1".into(), 1)
                    .changed(move |c| c.proxy(Proxy::Url(format!("http://{address}"))))
                    .counting(move || proxy.connections())
            }
            "F61" if case.option("v") == Some("tls") => {
                let first = AtomicUsize::new(0);
                Self::tls(case, Shows::Good, move |stream| {
                    loop {
                        tls::read_request(stream)?;
                        let body = shape.whole(&["Hel", "lo ", "wörld", " 😀"]);
                        let pad = "p".repeat(6_000);
                        let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}x-pad: {pad}\r\n");
                        let response =
                            format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                        let evil =
                            format!("{head}content-length: 16\r\n\r\n{{\"evil\":\"reply\"}}");
                        let both = [response.as_bytes(), evil.as_bytes()];
                        let count = if first.fetch_add(1, Ordering::SeqCst) == 0 { 2 } else { 1 };
                        let records = tls::records(stream, both.into_iter().take(count))?;
                        stream.sock.write_all(&records)?;
                    }
                })
            }
            "F62" => {
                let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
                let url = format!("http://{}/v1", listener.local_addr().unwrap());
                let count = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&count);
                thread::spawn(move || {
                    for mut stream in listener.incoming().flatten() {
                        counted.fetch_add(1, Ordering::SeqCst);
                        let body = shape.error("too large", "request_too_large").to_string();
                        let length = body.len();
                        // In one piece, since closing also destroys what has not left yet.
                        let answer = format!(
                            "HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                        );
                        let _ = stream.write_all(answer.as_bytes());
                        // With the request unread, closing is resetting.
                    }
                });
                Self::at(url, 0).counting(move || count.load(Ordering::SeqCst))
            }
            _ => {
                let (case, shown) = (case.clone(), Arc::clone(shown));
                let (requests, answered) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
                let requests = Arc::new(requests);
                let counted = Arc::clone(&requests);
                let server = Server::start(move |connection| {
                    while let Some(request) = connection.request()? {
                        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                        let mut act = Act {
                            connection: &mut *connection,
                            request,
                            number,
                            case: &case,
                            shape,
                            shown: &shown,
                            answered: &answered,
                        };
                        if !act.out()? {
                            break;
                        }
                    }
                    Ok(())
                });
                Self::at(server.unwrap().url(), 0).counting(move || requests.load(Ordering::SeqCst))
            }
        }
    }

    fn at(url: String, requests: usize) -> Self {
        Self {
            url,
            config: Box::new(|config| config),
            requests: Box::new(move || requests),
            _props: Vec::new(),
        }
    }

    fn tls(
        case: &Case,
        shows: Shows,
        serve: impl Fn(&mut tls::Session) -> io::Result<()> + Send + Sync + 'static,
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
        let _ = case;
        let ca_file = server.ca_file.clone();
        Self::at(server.url(), 0)
            .changed(move |config| config.ca_file(ca_file.clone()))
            .counting(move || count.load(Ordering::SeqCst))
            .with(server)
    }

    fn with(mut self, prop: impl Any) -> Self {
        self._props.push(Box::new(prop));
        self
    }

    fn changed(self, config: impl Fn(GenerationConfig) -> GenerationConfig + 'static) -> Self {
        Self { config: Box::new(config), ..self }
    }

    fn counting(self, requests: impl Fn() -> usize + 'static) -> Self {
        Self { requests: Box::new(requests), ..self }
    }
}

/// A socket that is bound to a port of 127.0.0.1.
fn socket() -> Socket {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&address.into()).unwrap();
    socket
}

fn url(socket: &Socket) -> String {
    format!("http://{}/v1", socket.local_addr().unwrap().as_socket().unwrap())
}

fn two(shape: Shape) -> String {
    shape.start() + &shape.text("tok0 ") + &shape.text("tok1 ")
}

/// A whole answer of one word.
fn hello(shape: Shape) -> String {
    shape.whole(&["Hello"])
}

/// One request, and what the server makes of it.
struct Act<'a> {
    connection: &'a mut Connection,
    request: Request,
    /// 1 for the first request of the case.
    number: usize,
    case: &'a Case,
    shape: Shape,
    shown: &'a Shown,
    /// How many answers were whole.
    answered: &'a AtomicUsize,
}

const EVENTS: &str = "content-type: text/event-stream\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n";
const HTML: &str = "<!doctype html><html><head><title>Sign in to WiFi</title></head><body><h1>Please sign \
                    in</h1></body></html>";

impl Act<'_> {
    /// Acts it out; whether the connection is to be kept.
    fn out(&mut self) -> io::Result<bool> {
        let shape = self.shape;
        match self.case.id {
            "F04" => {}
            "F05" => self.reset()?,
            "F07" => self.connection.wait_until_closed(),
            "F17" => {
                self.head("")?;
                self.connection.wait_until_closed();
            }
            "F18" => {
                for byte in format!("HTTP/1.1 200 OK\r\n{EVENTS}connection: close\r\n\r\n").bytes() {
                    self.connection.write([byte])?;
                    thread::sleep(self.time("drip"));
                }
                self.connection.write(hello(shape))?;
            }
            "F19" => self.connection.write("HTTP/1.1 200 OK\r\n")?,
            "F20" => self.connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-str")?,
            "F21" => self.connection.write(b"SSH-2.0-OpenSSH_9.6\r\n\x00\x01\x02\xff\xfe")?,
            "F22" => self.endless("HTTP/1.1 200 OK\r\n", &format!("X-Pad: {}\r\n", "y".repeat(60)))?,
            "F23" => self.endless("HTTP/1.1 200 OK\r\nX-Pad: ", "yyyyyyyy")?,
            "F26" => self.endless("", "HTTP/1.1 100 Continue\r\n\r\n")?,
            "F24" => {
                let body = hello(shape);
                let length = body.len();
                self.connection.write(format!(
                    "HTTP/1.1 200 OK\r\n{EVENTS}content-length: {length}\r\ncontent-length: 7\r\n\r\n{body}"
                ))?;
            }
            "F25" => {
                let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
                self.connection.write(interim)?;
                return self.good("");
            }
            "F27" => {
                self.connection.write("HTTP/1.1 204 No Content\r\n\r\n")?;
                return Ok(true);
            }
            "F28" => return self.answer(200, "", ""),
            "F29" => self.connection.write(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x02hi",
            )?,
            "F30" => self.connection.write(format!("HTTP/1.0 200 OK\r\n{EVENTS}\r\n{}", hello(shape)))?,
            "F31" => return self.json(200, &shape.unstreamed(), ""),
            "F32" => return self.json(200, &shape.error("model is not available", "invalid_request_error"), ""),
            "F33" => return self.answer(200, HTML, "content-type: text/html\r\n"),
            "F34" => return self.good_as("Content-Type: Text/Event-Stream ; Charset=\"UTF-8\"\r\n"),
            "F35" => return self.good_as(""),
            "F36" => return self.good_as("content-type: text/plain\r\n"),
            "F37" => return self.good_as("content-type: text/event-stream; charset=iso-8859-1\r\n"),
            "F38" => return self.redirect(302, "http://localhost:1/v1/chat?key=secret"),
            "F39" => return self.redirect(307, "http://localhost:1/v1/chat?key=secret"),
            "F40" | "F41" | "F44" => {
                let path = self.request.path.clone();
                return self.redirect(307, &path);
            }
            "F42" => return self.answer(307, "", ""),
            "F45" => {
                let body = shape.start() + &shape.text("Hello ") + &shape.text("world");
                let length = body.len() + 1000;
                self.connection
                    .write(format!("HTTP/1.1 200 OK\r\n{EVENTS}content-length: {length}\r\n\r\n{body}"))?;
            }
            "F46" => {
                let begun = shape.start() + &shape.text("Hello ");
                let length = begun.len() + 10;
                let body = begun + &shape.ending();
                self.connection
                    .write(format!("HTTP/1.1 200 OK\r\n{EVENTS}content-length: {length}\r\n\r\n{body}"))?;
            }
            "F47" | "F48" => {
                self.after_two("")?;
                // What comes in one packet with a fault of the framing is lost with it.
                self.shown.wait_for(2)?;
                self.connection.write(match (self.case.id, self.case.option("v")) {
                    ("F47", _) => "zz\r\nhello\r\n",
                    (_, Some(_)) => "-5\r\nhello\r\n",
                    _ => "FFFFFFFFFFFFFFFFF\r\nhello\r\n",
                })?;
                self.connection.wait_until_closed();
            }
            "F49" => {
                self.head("trailer: x-checksum\r\n")?;
                match self.case.option("v") {
                    Some("drip") => {
                        self.chunk(two(shape))?;
                        self.connection.write("0\r\n")?;
                        self.drip("X-Other: def\r\n")?;
                    }
                    Some(_) => {
                        self.chunk(two(shape))?;
                        self.endless("0\r\n", "X-Other: def\r\n")?;
                    }
                    None => {}
                }
                self.chunk(hello(shape))?;
                self.connection.write("0\r\nX-Checksum: abc\r\nX-Other: def\r\n\r\n")?;
                return Ok(true);
            }
            "F50" => {
                if self.case.option("v") == Some("drip") {
                    self.after_two("5;")?;
                    self.drip("x")?;
                }
                self.head("")?;
                let body = hello(shape);
                let size = format!("{:08X};n=\"v\"", body.len());
                let more = if self.case.option("v").is_some() { "" } else { ";name=value;q=\"a\\\"b\"" };
                self.connection.write(format!("{size}{more}\r\n{body}\r\n0000;last\r\n\r\n"))?;
                return Ok(true);
            }
            "F51" => {
                let piece = shape.text("never complete");
                let half = piece.split_at(piece.len() / 2).0;
                self.after_two(&format!("{:x}\r\n{half}", piece.len()))?;
            }
            "F52" => self.after_two("")?,
            "F53" => {
                self.head("")?;
                let piece = shape.start() + &shape.text("Hello");
                let length = piece.len();
                self.connection.write(format!("{length:x}\r\n{piece}"))?;
                self.shown.wait_for(1)?;
                self.connection.write(format!("{length:x}\r\n{piece}\r\n0\r\n\r\n"))?;
            }
            "F54" => {
                let body = shape.whole(&["Hello 😀 wörld"]);
                self.head("")?;
                let mut chunks = Vec::new();
                for byte in body.bytes() {
                    chunks.extend([b'1', b'\r', b'\n', byte, b'\r', b'\n']);
                }
                self.connection.write(chunks)?;
                return self.end();
            }
            "F55" => return self.good("content-length: 5\r\n"),
            "F56" | "F57" | "F58" => return self.good("content-encoding: gzip\r\n"),
            "F59" => return self.good("content-encoding: br\r\n"),
            "F60" => {
                if self.connection.number == 0 && self.number > 1 {
                    return self.reset().map(|()| false);
                }
                return self.good("");
            }
            "F61" => {
                if self.connection.number == 0 && self.number > 1 {
                    // The client took what came before it asked for an answer.
                    return Ok(false);
                }
                // In one piece: one that comes after the next request is written cannot be told from
                // its answer.
                return self.good_before(
                    EVENTS,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"evil\":\"reply\"}",
                );
            }
            "F63" => {
                self.connection.write(format!("HTTP/1.1 200 OK\r\n{EVENTS}connection: close\r\n\r\n"))?;
                for byte in hello(shape).bytes() {
                    self.connection.write([byte])?;
                    thread::sleep(self.time("drip"));
                }
            }
            "F64" => {
                self.after_two("")?;
                self.connection.wait_until_closed();
            }
            "F65" => {
                let piece = shape.text("half");
                self.head("")?;
                self.chunk(two(shape) + piece.split_at(piece.len() - 20).0)?;
                self.shown.wait_for(2)?;
                self.reset()?;
            }
            "F66" => {
                self.after_two("")?;
                self.shown.wait_for(2)?;
                self.reset()?;
            }
            "F67" | "F68" => {
                let piece = shape.text("half");
                let torn = if self.case.id == "F67" { piece.split_at(piece.len() - 20).0 } else { "" };
                let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}connection: close\r\n\r\n");
                self.connection.write(head + &two(shape) + torn)?;
            }
            "F69" => {
                self.after_two("")?;
                return self.end();
            }
            "F70" => {
                let body = two(shape) + &shape.ending();
                let lf = if self.case.option("lf").is_some() { "\n" } else { "" };
                return self.stream(body.trim_end().to_owned() + lf);
            }
            "F71" => {
                let events = match self.case.option("v") {
                    Some("usage") => r#"data: {"choices":[],"usage":{"total_tokens":1}}"#,
                    Some(_) => r#"data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"},"index":0}]}}]}"#,
                    None => ": keep-alive",
                };
                self.after_two("")?;
                loop {
                    self.chunk(format!("{events}\n\n"))?;
                    thread::sleep(self.time("every"));
                }
            }
            "F72" => {
                self.head("")?;
                loop {
                    self.chunk(match shape.0 {
                        Protocol::Messages => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
                        _ => ": PROCESSING\n\n",
                    })?;
                    thread::sleep(self.time("every"));
                }
            }
            "F73" => {
                let error = shape.error("it went wrong", "invalid_request_error").to_string();
                let name = if shape.0 == Protocol::Messages { "error" } else { "" };
                return self.stream(two(shape) + &shape.event(name, &error));
            }
            "F74" => {
                self.head("")?;
                self.chunk(two(shape) + &shape.ending())?;
                // Gemini has no end marker, so only the body's end tells that the answer is over.
                if shape.0 == Protocol::GenerateContent {
                    return self.end();
                }
                self.connection.wait_until_closed();
            }
            "F75" => {
                thread::sleep(self.time("pause"));
                return self.good("");
            }
            "F76" => return self.answer(200, &hello(shape), EVENTS),
            "F77" | "F135" => {
                let body = shape.whole(&["Hel", "lo"]).replace('\n', "\r\n");
                self.head("")?;
                for piece in body.split_inclusive('\r') {
                    self.chunk(piece)?;
                    if self.case.id == "F77" {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
                return self.end();
            }
            "F78" => {
                let cr = |text: String| text.replace('\n', "\r");
                self.head("")?;
                self.chunk(cr(shape.start() + &shape.text("Hel")))?;
                self.shown.wait_for(1)?;
                self.chunk(cr(shape.text("lo")))?;
                self.shown.wait_for(2)?;
                self.chunk(cr(shape.ending()))?;
                return self.end();
            }
            "F80" => return self.status(400, "invalid_request_error", ""),
            "F81" => return self.status(401, "authentication_error", ""),
            "F82" => return self.status(403, "permission_error", ""),
            "F83" => return self.status(404, "not_found_error", ""),
            "F84" => return self.status(408, "timeout_error", "retry-after-ms: 1\r\n"),
            "F85" => return self.status(409, "conflict_error", "retry-after-ms: 1\r\n"),
            "F86" => return self.status(413, "request_too_large", ""),
            "F87" => {
                let body = json!({"detail": [{"loc": ["body", "messages"], "msg": "field required",
                    "type": "value_error.missing"}]});
                return self.json(422, &body, "");
            }
            "F88" => return self.status(429, "rate_limit_error", ""),
            "F89" | "F92" => {
                let wait = self.case.option("ra").unwrap();
                return self.status(429, "rate_limit_error", &format!("retry-after: {wait}\r\n"));
            }
            "F90" => {
                // On this server's clock, which is many years behind.
                let dates = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:39 GMT\r\n";
                return self.status(429, "rate_limit_error", dates);
            }
            "F91" => {
                return self.status(429, "rate_limit_error", "retry-after-ms: 1500\r\nretry-after: 30\r\n");
            }
            "F93" => {
                let error = json!({"error": {"message": "no money", "type": "insufficient_quota",
                    "code": "insufficient_quota"}});
                return self.json(429, &error, "");
            }
            "F94" => return self.status(500, "api_error", "retry-after-ms: 1\r\n"),
            "F95" => {
                let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
                return self.answer(502, page, "content-type: text/html\r\n");
            }
            "F96" => return self.status(503, "api_error", "retry-after: 1\r\n"),
            "F97" => return self.answer(504, "upstream request timeout", "content-type: text/plain\r\n"),
            "F98" => return self.status(529, "overloaded_error", ""),
            "F99" => return self.status(500, "api_error", "x-should-retry: false\r\n"),
            "F100" => return self.status(400, "invalid_request_error", "x-should-retry: true\r\n"),
            "F101" => {
                let failures = self.case.option("n").unwrap().parse().unwrap();
                if self.number > failures {
                    return self.good("");
                }
                match self.case.option("status").unwrap() {
                    "rst" => self.reset()?,
                    status => {
                        let wait = self.case.option("ra").unwrap_or("0");
                        let wait = format!("retry-after: {wait}\r\n");
                        return self.status(status.parse().unwrap(), "api_error", &wait);
                    }
                }
            }
            "F102" | "F104" => {
                let status: u16 = self.case.option("status").unwrap().parse().unwrap();
                let kind = if status == 402 { "billing_error" } else { "invalid_request_error" };
                return self.status(status, kind, "");
            }
            "F103" => {
                let head = format!("HTTP/1.1 200\r\n{EVENTS}connection: close\r\n\r\n");
                self.connection.write(head + &hello(shape))?;
            }
            "F105" => {
                self.connection.write(format!("HTTP/1.1 400 X\r\n{CHUNKED}\r\n"))?;
                self.chunk("{\"error\":{\"message\":\"")?;
                loop {
                    self.chunk("x".repeat(1 << 20))?;
                }
            }
            "F106" => {
                let body = b"{\"error\":{\"message\":\"Erreur \xe0 la cl\xe9 \xff\xfe\",\"type\":\"x\"}}";
                let head = format!("HTTP/1.1 400 X\r\ncontent-length: {}\r\n\r\n", body.len());
                self.connection.write([head.as_bytes(), body].concat())?;
                return Ok(true);
            }
            "F107" => return self.answer(500, "", "retry-after-ms: 1\r\n"),
            "F108" => return self.answer(400, HTML, "content-type: text/html\r\n"),
            "F109" => {
                let number: usize = self.case.option("i").unwrap().parse().unwrap();
                return self.answer(400, ERRORS[number], "");
            }
            "F110" => {
                let head = "HTTP/1.1 400 X\r\ncontent-length: 5000\r\n\r\n";
                self.connection.write(format!("{head}{{\"error\":{{\"message\":\"wait"))?;
                self.connection.wait_until_closed();
            }
            "F111" => {
                let headers = format!("{:?}", self.request.headers);
                let names = ["authorization", "x-api-key", "x-goog-api-key"];
                let key = names.iter().find_map(|name| self.request.header(name)).unwrap().to_owned();
                let message = format!("Incorrect API key provided: {key}. All: {headers}");
                let error = shape.error(&message, "authentication_error");
                return self.json(401, &error, &format!("x-request-id: {key}\r\n"));
            }
            "F112" => return self.answer(400, "\u{1f}\u{8b}\u{8}", "content-encoding: gzip\r\n"),
            "F113" => self.endless_body("data: ", "x")?,
            "F114" => self.endless_body(":", "x")?,
            "F117" => self.endless_body("", "data: x\n")?,
            "F116" => {
                let count = self.case.option("n").unwrap().parse::<usize>().unwrap() / 500;
                let events = "data: {\"choices\":[]}\n\n".repeat(500);
                self.head("")?;
                for _ in 0..count {
                    self.chunk(&events)?;
                }
                self.chunk(shape.ending())?;
                return self.end();
            }
            "F118" => {
                let halves = shape.text("ok ")
                    + &shape.literal("\"\\ud83d\"")
                    + &shape.literal("\"\\ude00\"")
                    + &shape.text(" after");
                return self.among(halves);
            }
            "F119" => {
                let depth = self.case.option("n").unwrap().parse().unwrap();
                let (open, close) = ("[".repeat(depth), "]".repeat(depth));
                let choices = r#"[{"index":0,"delta":{"content":"b"}}]"#;
                let deep = format!("{{\"x\":{open}{close},\"choices\":{choices}}}");
                return self.among(shape.text("a") + &shape.event("", &deep) + &shape.text("c"));
            }
            "F120" => {
                let event = match shape.0 {
                    Protocol::Messages => {
                        r#"{"type":"content_block_delta","index":0,"index":0,"delta":{"type":"text_delta","text":"first","text":"second"}}"#
                    }
                    _ => r#"{"id":"c1","id":"c2","choices":[{"index":0,"delta":{"content":"first","content":"second"}}]}"#,
                };
                return self.among(shape.event("", event));
            }
            "F121" => {
                let torn = shape.event("", "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"torn");
                return self.among(shape.text("before ") + &torn + &shape.text("after"));
            }
            "F122" => {
                let values = ["null", "[]", "42", "\"text\"", "true", "{}"];
                let events: String = values.iter().map(|value| shape.event("", value)).collect();
                return self.among(shape.text("a") + &events + &shape.text("b"));
            }
            "F123" => {
                let events: &[&str] = match shape.0 {
                    Protocol::Messages => &[
                        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a","new":[]}}"#,
                        r#"{"type":"brand_new_event","x":1}"#,
                        r#"{"type":"content_block_delta","index":0,"delta":{"type":"future_delta","blob":"?"}}"#,
                        r#"{"type":"content_block_delta","index":7,"delta":{"type":"text_delta","text":"b"}}"#,
                    ],
                    _ => &[
                        r#"{"choices":[{"delta":{"content":"a"}}]}"#,
                        r#"{"future":{"x":1},"choices":[{"delta":{"content":"b","hologram":[1]},"weather":null}]}"#,
                        r#"{"choices":[]}"#,
                        r#"{"object":"unknown.kind"}"#,
                        r#"{"choices":[{}]}"#,
                        r#"{"choices":[{"delta":null}]}"#,
                    ],
                };
                let events: String = events.iter().map(|event| shape.event("", event)).collect();
                return self.stream(events + &shape.ending());
            }
            "F124" => {
                let event = match self.case.option("i").unwrap() {
                    "0" => r#"{"choices":[{"index":0,"delta":{"content":42}}]}"#,
                    "1" => r#"{"choices":null}"#,
                    "5" => r#"{"choices":{"index":0}}"#,
                    _ => r#"{"choices":[null]}"#,
                };
                return self.among(shape.event("", event) + &shape.text(" end"));
            }
            "F125" => return self.stream(two(shape) + &shape.ending() + &shape.done()),
            "F126" => {
                self.head("")?;
                self.chunk(two(shape) + &shape.ending() + &shape.text("ghost"))?;
                self.chunk(b"data: \xff\xfe torn\n\n")?;
                return self.end();
            }
            "F127" => {
                let done = match self.case.option("v") {
                    Some("quote") => "data: \"[DONE]\"\n\n",
                    Some("case") => "data: [done]\n\n",
                    Some("tight") => "data:[DONE]\n\n",
                    Some("tail") => "data: [DONE] bye\n\n",
                    Some("nl") => "data: [DONE]\ndata: \n\n",
                    _ => "data:   [DONE]  \n\n",
                };
                return self.stream(two(shape) + &shape.stop() + done);
            }
            "F128" if self.case.option("v").is_some() => {
                return self.stream(shape.start() + &shape.stop());
            }
            "F128" => return self.stream(two(shape) + &shape.stop()),
            "F129" => return self.stream(two(shape) + &shape.done()),
            "F130" => {
                let nul = if self.case.option("v").is_some() { "\"a\0b\"" } else { "\"a\\u0000b\"" };
                return self.among(shape.literal(nul) + &shape.text(" end"));
            }
            "F131" => {
                let wild = r#""\u001b[31mred\u001b]0;pwned\u0007\u202e\u0008\u0008""#;
                return self.among(shape.literal(wild) + &shape.text(" end"));
            }
            "F132" => {
                self.head("")?;
                let body = shape.whole(&["é€😀👨\u{200d}👩\u{200d}👧\u{200d}👦 e\u{301}"]);
                for byte in body.bytes() {
                    self.chunk([byte])?;
                }
                return self.end();
            }
            "F133" => {
                let marked = shape.start() + &shape.text("a") + &shape.text("caf@1 @2") + &shape.text(" end");
                let marked = marked + &shape.ending();
                let (before, rest) = marked.split_once("@1").unwrap();
                let (middle, after) = rest.split_once("@2").unwrap();
                let body: [&[u8]; 5] =
                    [before.as_bytes(), b"\xe9", middle.as_bytes(), b"\xff\xf0\x9f", after.as_bytes()];
                self.head("")?;
                self.chunk(body.concat())?;
                return self.end();
            }
            "F134" => return self.stream("\u{feff}".to_owned() + &hello(shape)),
            "F136" => return self.stream(hello(shape).replace('\n', "\r")),
            "F137" => return self.among(shape.call(4_000_000_000, &["{}"])),
            "F138" => {
                let usage = r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":1e999,"total_tokens":123456789012345678901234567890}}"#;
                return self.stream(
                    shape.start() + &shape.text("a") + &shape.stop() + &shape.event("", usage) + &shape.done(),
                );
            }
            "F139" => return self.stream(two(shape) + &shape.stop_for("quantum_collapse") + &shape.done()),
            "F140" => {
                let choice = |index, text| {
                    shape.event("", &json!({"choices": [{"index": index, "delta": {"content": text}}]}).to_string())
                };
                let other = r#"{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#;
                return self.among(
                    choice(1, "B1") + &choice(0, "A1") + &choice(1, "B2") + &choice(0, "A2") + &shape.event("", other),
                );
            }
            "F141" => {
                let body = shape.whole(&["Hel", "lo"]);
                let events = body.split_inclusive("\n\n");
                let events: String = events.map(|event| format!("id: 1\n{event}\n\n: ping\n\n")).collect();
                return self.stream(events);
            }
            "F142" => {
                let body = shape.whole(&["Hel", "lo"]);
                let events = body.split_inclusive("\n\n");
                let events: String = events.map(|event| format!("event: ping\n\n{event}")).collect();
                return self.stream(events);
            }
            "F143" => return self.stream("retry: 3000\n\n".to_owned() + &hello(shape)),
            "F144" => {
                let word = if shape.0 == Protocol::Messages { "tool_use" } else { "tool_calls" };
                let call = shape.call(1, &["{\"ci", "ty\":\"Par", "is"]);
                return self.stream(shape.start() + &call + &shape.stop_for(word) + &shape.done());
            }
            "F145" => {
                let piece = shape.text("a");
                let double = piece.trim_end().to_owned() + " {\"x\":1}\n\n";
                return self.among(double + &shape.text("b"));
            }
            "F146" => {
                let lines = (shape.text("Hel") + &shape.text("lo")).replace("data: ", "").replace("\n\n", "\n");
                return self.stream(lines);
            }
            "F147" => return self.stream(pretty(&hello(shape))),
            "F148" if self.case.option("v").is_some() => {
                return self.stream(shape.start() + &shape.done());
            }
            "F148" => return self.stream(shape.done()),
            "F00" | "F150" | "F153" | "F155" => return self.good(""),
            id => panic!("nobody acts out {id}"),
        }
        Ok(false)
    }

    fn time(&self, option: &str) -> Duration {
        Duration::from_secs_f64(self.case.option(option).unwrap().parse().unwrap())
    }

    fn head(&mut self, more: &str) -> io::Result<()> {
        self.connection.write(format!("HTTP/1.1 200 OK\r\n{EVENTS}{CHUNKED}{more}\r\n"))
    }

    fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        let size = format!("{:x}\r\n", bytes.len());
        self.connection.write([size.as_bytes(), bytes, b"\r\n"].concat())
    }

    fn end(&mut self) -> io::Result<bool> {
        self.connection.end()?;
        Ok(true)
    }

    /// A well-framed answer with this body.
    fn stream(&mut self, body: String) -> io::Result<bool> {
        self.head("")?;
        self.chunk(body)?;
        self.end()
    }

    /// A whole answer with these events as its text.
    fn among(&mut self, events: String) -> io::Result<bool> {
        let shape = self.shape;
        self.stream(shape.start() + &events + &shape.ending())
    }

    /// The head and two pieces of text, then something else.
    fn after_two(&mut self, then: &str) -> io::Result<()> {
        self.head("")?;
        self.chunk(two(self.shape))?;
        self.connection.write(then)
    }

    /// A good answer.
    fn good(&mut self, more: &str) -> io::Result<bool> {
        self.good_as(&format!("{EVENTS}{more}"))
    }

    fn good_as(&mut self, headers: &str) -> io::Result<bool> {
        self.good_before(headers, "")
    }

    fn good_before(&mut self, headers: &str, next: &str) -> io::Result<bool> {
        self.connection.write(format!("HTTP/1.1 200 OK\r\n{headers}{CHUNKED}\r\n"))?;
        let body = self.shape.whole(&["Hel", "lo ", "wörld", " 😀"]);
        for event in body.split_inclusive("\n\n") {
            self.chunk(event)?;
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.connection.write(format!("0\r\n\r\n{next}"))?;
        Ok(true)
    }

    fn answer(&mut self, status: u16, body: &str, headers: &str) -> io::Result<bool> {
        let length = body.len();
        self.connection.write(format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))?;
        Ok(true)
    }

    fn json(&mut self, status: u16, body: &Value, headers: &str) -> io::Result<bool> {
        let headers = format!("content-type: application/json\r\n{headers}");
        self.answer(status, &body.to_string(), &headers)
    }

    fn status(&mut self, status: u16, kind: &str, headers: &str) -> io::Result<bool> {
        let error = self.shape.error_with(status, &format!("synthetic {status}"), kind);
        self.json(status, &error, &format!("x-request-id: req_fault\r\n{headers}"))
    }

    fn redirect(&mut self, status: u16, location: &str) -> io::Result<bool> {
        self.answer(status, "", &format!("location: {location}\r\n"))
    }

    /// Closing resets the connection from now on.
    fn reset(&mut self) -> io::Result<()> {
        SockRef::from(self.connection.tcp()).set_linger(Some(Duration::ZERO))
    }

    /// Until the client goes away.
    fn endless(&mut self, first: &str, again: &str) -> io::Result<()> {
        self.connection.write(first)?;
        let block = again.repeat(1 + 65_536 / again.len());
        loop {
            self.connection.write(&block)?;
        }
    }

    /// The same, at its leisure.
    fn drip(&mut self, again: &str) -> io::Result<()> {
        loop {
            self.connection.write(again)?;
            thread::sleep(self.time("every"));
        }
    }

    fn endless_body(&mut self, first: &str, again: &str) -> io::Result<()> {
        self.head("")?;
        self.chunk(": they begin\n".to_owned() + &self.shape.start() + first)?;
        let block = again.repeat(65_536 / again.len());
        loop {
            self.chunk(&block)?;
        }
    }
}

/// The data of each event over several lines, without the blanks behind the colons.
fn pretty(body: &str) -> String {
    let line = |line: &str| match line.strip_prefix("data: ").map(serde_json::from_str::<Value>) {
        Some(Ok(json)) => {
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            pretty.lines().map(|line| format!("data:{line}\n")).collect()
        }
        _ => format!("{line}\n"),
    };
    body.lines().map(line).collect()
}

const ERRORS: [&str; 18] = [
    r#"{"error":"just a string"}"#,
    r#"{"error":null}"#,
    r#"{"error":{"message":null}}"#,
    r#"{"error":{"message":{"nested":["x"]}}}"#,
    r#"{"message":"top level","code":7}"#,
    r#"{"detail":"not found"}"#,
    r#"{"errors":[{"message":"a"},{"message":"b"}]}"#,
    r#"[{"error":{"code":400,"message":"array (Gemini)","status":"INVALID_ARGUMENT"}}]"#,
    r#""a bare string""#,
    "null",
    "42",
    "{",
    r#"{"error":{"message":"a","message":"b"}}"#,
    r#"{"type":"error","error":{"type":"x","message":"y"}}"#,
    r#"{"error":{"message":"\ud83d","code":1e999}}"#,
    r#"{"object":"error","message":"vLLM","type":"BadRequestError","param":null,"code":400}"#,
    r#"{"error_code":1,"error_msg":"old style"}"#,
    r#"{"success":false,"errors":[{"code":10000,"message":"Cloudflare"}],"result":null}"#,
];
