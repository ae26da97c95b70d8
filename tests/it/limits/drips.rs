//! Servers that send very slowly, or never stop sending, are given up in time.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use kerb_stream::{Error, ErrorKind, GenerationConfig, Proxy, generate_stream};

use crate::support::python::PythonServer;
use crate::support::tls::{self, Session, Shows, TlsServer, records};
use crate::support::{Connection, Server, all_at_once, chunk, config, shared, watchdog};

const WATCHDOG: Duration = Duration::from_secs(60);
/// The pause before a server sends the next piece. It is well within all limits.
const GAP: Duration = Duration::from_millis(20);

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"total_tokens\":1}}\n\n";
const NAME: &str = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}}]}\n\n";
const COMMENT: &str = ": x\n";

/// The expected end: the kind of the error and a part of its message, or `None` for a whole
/// response.
type Ends = Option<(ErrorKind, &'static str)>;

const STALLED: Ends =
    Some((ErrorKind::Timeout, "no part of the response was completed for 500ms (stall_timeout)"));
const NO_HEAD: Ends = Some((ErrorKind::Timeout, "(first_byte_timeout)"));
const NO_CONNECTION: Ends = Some((ErrorKind::Timeout, "(connect_timeout)"));

/// The bytes that a server sends first, and the bytes that it then repeats until the client closes.
#[derive(Debug, Clone)]
struct Script {
    name: &'static str,
    first: Vec<u8>,
    again: Vec<u8>,
    /// Set if the server pauses between the repetitions.
    drips: bool,
    ends: Ends,
}

fn script(name: &'static str, first: &[&[u8]], again: impl AsRef<[u8]>, ends: Ends) -> Script {
    let drips = !name.contains("flood");
    let again = match drips {
        true => again.as_ref().to_vec(),
        false => again.as_ref().repeat(1_000),
    };
    Script { name, first: first.concat(), again, drips, ends }
}

fn scripts() -> Vec<Script> {
    let text = [HEAD.as_bytes(), &chunk(TEXT)].concat();
    let text = &text[..];
    let finished = [text, &chunk(FINISH)].concat();
    let trailers = [text, b"0\r\n"].concat();
    let endless = Some((ErrorKind::Incomplete, "the trailers of the response"));
    vec![
        script("trailers", &[&trailers], "x: y\r\n", STALLED),
        script("one trailer", &[&trailers], "x", STALLED),
        script("flood of trailers", &[&trailers], "x: yyyyyyyyyyyyyyyyyyyyy\r\n", endless),
        script("size of a chunk", &[text], "0", STALLED),
        script("extension of a chunk", &[text, b"5;"], "x", STALLED),
        script("comments", &[text], chunk(COMMENT), STALLED),
        script("flood of comments", &[text], chunk(COMMENT), STALLED),
        script("a long event", &[text, &chunk("data: ")], chunk("x"), STALLED),
        script("usage", &[text], chunk(USAGE), STALLED),
        script("flood of usage", &[text], chunk(USAGE), STALLED),
        script("name of a call", &[text], chunk(NAME), STALLED),
        script("finish reasons", &[&finished], chunk(FINISH), None),
        script("usage after the finish reason", &[&finished], chunk(USAGE), None),
        script("flood of comments after the finish reason", &[&finished], chunk(COMMENT), None),
        script("trailers after the finish reason", &[&finished, b"0\r\n"], "x: y\r\n", None),
        script("rest", &[&finished, &chunk("data: [DONE]\n\n")], chunk(COMMENT), None),
        script("head", &[b"HTTP/1.1 200 OK\r\nx: "], "x", NO_HEAD),
        script("interim responses", &[], "HTTP/1.1 102 Processing\r\n\r\n", NO_HEAD),
        script(
            "body of an error",
            &[b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n"],
            chunk("x"),
            Some((ErrorKind::Server, "returned 500")),
        ),
        script(
            "trailers of an error",
            &[b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"],
            "x: y\r\n",
            Some((ErrorKind::Server, "returned 500: x")),
        ),
    ]
}

/// Returns scripts that send TLS records byte by byte.
fn scripts_in_records() -> Vec<(Script, bool)> {
    let text = [HEAD.as_bytes(), &chunk(TEXT)].concat();
    let finished = [&text[..], &chunk(FINISH)].concat();
    let long = "x".repeat(15_000);
    let comment = chunk(format!(": {long}\n"));
    vec![
        (script("record of the head", &[], HEAD.to_owned() + &long, NO_HEAD), false),
        (script("record in the head", &[&HEAD.as_bytes()[..20]], &long, NO_HEAD), false),
        (script("record of the body", &[&text], &comment, STALLED), false),
        (script("record after the finish reason", &[&finished], &comment, None), false),
        (script("handshake", &[], "", NO_CONNECTION), true),
    ]
}

fn scripts_of_proxies() -> Vec<Script> {
    let head: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let refuses = Some((ErrorKind::Network, "refuses to connect"));
    let login = Some((ErrorKind::Network, "requires a valid user name and password"));
    let no_response = Some((ErrorKind::Network, "did not connect"));
    let no: &[u8] = b"HTTP/1.1 407 No\r\ncontent-length: 100000000\r\n\r\n";
    vec![
        script("head of a proxy", &[head, b"x: "], "y", NO_CONNECTION),
        script("flood of a proxy's head", &[head], "x: yyyyyyyyyyyyyyyyy\r\n", no_response),
        script("flood of interim responses", &[], "HTTP/1.1 100 Continue\r\n\r\n", refuses),
        script("flood of a proxy's body", &[no], "x", login),
    ]
}

fn play(script: &Script, connection: &mut Connection) -> io::Result<()> {
    connection.request()?;
    connection.write(&script.first)?;
    loop {
        connection.write(&script.again)?;
        if script.drips {
            thread::sleep(GAP);
        }
    }
}

fn drip(session: &mut Session, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        session.sock.write_all(&[*byte])?;
        thread::sleep(GAP);
    }
    Ok(())
}

fn play_in_records(script: &Script, session: &mut Session, handshake: bool) -> io::Result<()> {
    session.sock.set_nodelay(true)?;
    if handshake {
        session.conn.read_tls(&mut session.sock)?;
        session.conn.process_new_packets().map_err(io::Error::other)?;
        let flight = records(session, [])?;
        return drip(session, &flight);
    }
    tls::read_request(session)?;
    let first = records(session, [&script.first[..]])?;
    session.sock.write_all(&first)?;
    let again = records(session, [&script.again[..]])?;
    drip(session, &again)
}

/// Sends a request, and returns a description of what differs from `ends`. Only the limit that
/// should end the wait is short.
fn differs(name: &str, ends: Ends, config: GenerationConfig) -> Option<String> {
    let limit = |is_short| Duration::from_millis(if is_short { 500 } else { 30_000 });
    let kind = ends.map(|(kind, _)| kind);
    let stalls = ends == STALLED || matches!(kind, None | Some(ErrorKind::Server));
    let config = config
        .connect_timeout(limit(ends == NO_CONNECTION))
        .first_byte_timeout(limit(ends == NO_HEAD))
        .idle_timeout(limit(false))
        .stall_timeout(limit(stalls));
    let started = Instant::now();
    let error = generate_stream("Hello?", config).find_map(Result::err);
    let time = started.elapsed();
    let seen = error.as_ref().and_then(Error::of).map(Error::kind);
    let text = error.map(|error| format!("{error:#}")).unwrap_or_default();
    let says = ends.map_or("", |(_, says)| says);
    let as_expected = seen == kind && text.contains(says) && time < Duration::from_secs(10);
    (!as_expected).then(|| format!("{name}: {seen:?} {text:?} after {time:?}"))
}

#[test]
fn a_server_that_never_quite_stops_is_left_in_time() {
    watchdog(WATCHDOG, || {
        let mut acts: Vec<Box<dyn FnOnce() -> Option<String> + Send>> = Vec::new();
        for script in scripts() {
            let (name, ends) = (script.name, script.ends);
            let server = Server::start(move |connection| play(&script, connection)).unwrap();
            acts.push(Box::new(move || differs(name, ends, config(server.url()))));
        }
        for script in scripts_of_proxies() {
            let (name, ends) = (script.name, script.ends);
            let proxy = Server::start(move |connection| play(&script, connection)).unwrap();
            let proxy = Proxy::Url(format!("http://{}", proxy.address()));
            let config = config("https://192.0.2.1/v1").proxy(proxy);
            acts.push(Box::new(move || differs(name, ends, config)));
        }
        for (script, handshake) in scripts_in_records() {
            let (name, ends) = (script.name, script.ends);
            let server = TlsServer::start(Shows::Good, move |session| {
                play_in_records(&script, session, handshake)
            });
            acts.push(Box::new(move || {
                differs(name, ends, config(server.url()).ca_file(&server.ca_file))
            }));
        }
        let threads: Vec<_> = acts.into_iter().map(thread::spawn).collect();
        let wrong: Vec<_> =
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
    });
}

#[test]
fn a_server_behind_a_proxy_that_speaks_tls_is_left_in_time() {
    watchdog(WATCHDOG, || {
        all_at_once([Vec::new(), chunk(COMMENT)], |again| {
            let proxy = TlsServer::start(Shows::Good, move |session| {
                tls::read_request(session)?;
                session.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                tls::read_request(session)?;
                session.write_all(HEAD.as_bytes())?;
                session.write_all(&chunk(TEXT))?;
                while !again.is_empty() {
                    session.write_all(&again)?;
                    thread::sleep(GAP);
                }
                // The server stays silent until the client closes.
                tls::read_request(session).map(drop)
            });
            let config = config("http://192.0.2.1/v1")
                .ca_file(&proxy.ca_file)
                .proxy(Proxy::Url(format!("https://{}", proxy.address)));
            assert_eq!(differs("a proxy that speaks TLS", STALLED, config), None);
        });
    });
}

#[test]
#[ignore = "needs python3 and $KERB_STREAM_SHARED/attack"]
fn another_server_that_never_quite_stops_is_left_in_time() {
    watchdog(WATCHDOG, || {
        let program = std::fs::read_to_string(shared("attack/drip.py")).unwrap();
        let modes = program.split("mode == '").skip(1).filter_map(|rest| rest.split('\'').next());
        // `finish-text` never stops sending text. Text is what a caller waits for, so no limit ends
        // it.
        let modes: Vec<_> =
            modes.filter(|mode| *mode != "finish-text").map(str::to_owned).collect();
        assert!(modes.len() > 25, "{modes:?}");
        let threads: Vec<_> =
            modes.into_iter().map(|mode| thread::spawn(move || (time_of(&mode), mode))).collect();
        for thread in threads {
            let ((time, ended), mode) = thread.join().unwrap();
            println!("{mode}: {:.1} s, {ended:?}", time.as_secs_f64());
            assert!(time < Duration::from_secs(6), "{mode}: {time:?}");
            let expected = end_of(&mode);
            let kind = ended.as_ref().map(|(kind, _)| *kind);
            assert_eq!(kind, expected.map(|(kind, _)| kind), "{mode}: {ended:?}");
            let says = expected.map_or("", |(_, says)| says);
            assert!(ended.is_none_or(|(_, text)| text.contains(says)), "{mode}");
        }
    });
}

/// Returns the expected end of a mode of `drip.py`.
fn end_of(mode: &str) -> Ends {
    match mode {
        "finish"
        | "finish-usage"
        | "finish-then-comments-fast"
        | "rest-after-done"
        | "tls-body-fine" => None,
        "trailers-drip"
        | "trailers-byte"
        | "chunksize-drip"
        | "chunkext-drip"
        | "comments"
        | "usage"
        | "usage-fast"
        | "name"
        | "tls-body-record-drip" => Some((ErrorKind::Timeout, "for 3s (stall_timeout)")),
        "1xx-drip" | "head-drip" | "tls-head-record-drip" | "tls-head-half" => NO_HEAD,
        "tls-handshake-drip" | "proxy-head-drip" => NO_CONNECTION,
        "trailers-fast" => Some((ErrorKind::Incomplete, "the trailers of the response")),
        "errorbody-drip" | "errortrailer" => Some((ErrorKind::Server, "returned 500: x")),
        "proxy-head-fast" => Some((ErrorKind::Network, "did not connect")),
        "proxy-1xx-fast" | "proxy-1xx-drip" => Some((ErrorKind::Network, "refuses to connect")),
        "proxy-407-body" => Some((ErrorKind::Network, "requires a valid user name and password")),
        _ => panic!("{mode} is new"),
    }
}

/// Reads a stream with limits of 1 to 3 s. Returns its time, and the kind and message of its error.
fn time_of(mode: &str) -> (Duration, Option<(ErrorKind, String)>) {
    let server = PythonServer::start("attack/drip.py", &[mode]);
    let config = match mode.split_once('-') {
        Some(("tls", _)) => server.config("https"),
        Some(("proxy", _)) => {
            let proxy = format!("http://127.0.0.1:{}", server.port());
            config("https://192.0.2.1/v1").proxy(Proxy::Url(proxy))
        }
        _ => server.config("http"),
    };
    let config = config
        .connect_timeout(Duration::from_secs(2))
        .first_byte_timeout(Duration::from_secs(2))
        .idle_timeout(Duration::from_secs(1))
        .stall_timeout(Duration::from_secs(3));
    let started = Instant::now();
    let error = generate_stream("Hello?", config).find_map(Result::err);
    let kind = |error: &anyhow::Error| Error::of(error).unwrap().kind();
    (started.elapsed(), error.map(|error| (kind(&error), format!("{error:#}"))))
}
