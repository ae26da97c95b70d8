//! Bytes that a server leaves in a TLS connection are never read as the response to the next
//! request.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kerb_stream::{Error, ErrorKind, GenerationConfig, Proxy, generate_stream};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::python::PythonServer;
use crate::support::tls::{self, Session, Shows, TlsServer, records};
use crate::support::{Server, all_at_once, chunk, config, watchdog};

const WATCHDOG: Duration = Duration::from_secs(60);
/// The bytes that the server sends after the response to the first request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaves {
    Nothing,
    /// A second response in the same record.
    SameRecord,
    /// A second response in its own record, in the same packet.
    NextRecord,
    /// A second response after a first one that ends exactly where the input buffer is full.
    BehindFullBuffer,
    /// A second response in a record so large that its end stays in the socket's buffer.
    LongRecord,
    /// A second response in its own record. Only a part of the record header arrives before the
    /// second request.
    TornHeader,
    /// A second response in its own record. Only the first half of the record arrives before the
    /// second request.
    TornRecord,
}

/// The size of the client's input buffer, in bytes.
const INPUT: usize = 24 << 10;

/// Returns a whole response with `pad` additional bytes in its headers.
fn response(text: &str, pad: usize) -> Vec<u8> {
    let body = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}]}}\n\n\
         data: [DONE]\n\n"
    );
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
    let head = format!("{head}x-pad: {}\r\n\r\n", "p".repeat(pad));
    [head.as_bytes(), &chunk(body), b"0\r\n\r\n"].concat()
}

/// Returns the bytes that the server sends after the first request, and those after the second.
fn first_response(session: &mut Session, leaves: Leaves) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (first, stray) = (response("first", 0), response("stray", 0));
    let whole = match leaves {
        Leaves::Nothing => records(session, [&first[..]]),
        Leaves::SameRecord => records(session, [&[first, stray].concat()[..]]),
        Leaves::NextRecord => records(session, [&first[..], &stray[..]]),
        Leaves::BehindFullBuffer => {
            let first = response("first", INPUT - first.len());
            assert_eq!(first.len(), INPUT);
            let (front, back) = first.split_at(INPUT / 2);
            records(session, [front, &[back, &stray[..]].concat()[..]])
        }
        Leaves::LongRecord => {
            records(session, [&response("first", 6_000)[..], &response("stray", 6_000)[..]])
        }
        Leaves::TornHeader | Leaves::TornRecord => {
            let mut now = records(session, [&first[..]])?;
            let mut torn = records(session, [&stray[..]])?;
            let part = if leaves == Leaves::TornHeader { 3 } else { torn.len() / 2 };
            let later = torn.split_off(part);
            now.extend(torn);
            return Ok((now, later));
        }
    };
    Ok((whole?, Vec::new()))
}

/// Responds to requests on one connection until the client closes it.
fn respond(session: &mut Session, leaves: Leaves) -> io::Result<()> {
    let mut later = Vec::new();
    loop {
        let request = tls::read_request(session)?;
        let response = match request.contains("first question") {
            true => {
                let (now, then) = first_response(session, leaves)?;
                later = then;
                now
            }
            false if later.is_empty() => records(session, [&response("second", 0)[..]])?,
            false => std::mem::take(&mut later),
        };
        session.sock.write_all(&response)?;
    }
}

#[test]
fn what_is_left_in_a_tls_session_is_no_response_to_the_next_question() {
    let cases = |leaves| {
        let proxies = [None, Some("http"), Some("https")];
        [&TLS12, &TLS13].map(|version| proxies.map(|proxy| (version, leaves, proxy))).concat()
    };
    let leaves = [
        Leaves::Nothing,
        Leaves::SameRecord,
        Leaves::NextRecord,
        Leaves::BehindFullBuffer,
        Leaves::LongRecord,
        Leaves::TornHeader,
        Leaves::TornRecord,
    ];
    watchdog(WATCHDOG, move || {
        all_at_once(leaves.map(cases).concat(), |(version, leaves, proxy)| {
            let told = ask_twice(version, leaves, proxy);
            let connections = if leaves == Leaves::Nothing { 1 } else { 2 };
            assert_eq!(
                told,
                ("first".to_owned(), "second".to_owned(), connections),
                "{leaves:?} over {version:?} by {proxy:?}"
            );
        });
    });
}

/// Sends two requests. Returns both responses and the number of connections that the server saw.
fn ask_twice(
    version: &'static SupportedProtocolVersion,
    leaves: Leaves,
    proxy: Option<&str>,
) -> (String, String, usize) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let server = TlsServer::speaking(&[version], Shows::Good, move |session| {
        count.fetch_add(1, Ordering::SeqCst);
        respond(session, leaves)
    });
    let mut config = config(server.url()).ca_file(&server.ca_file);
    let (plain, secure);
    match proxy {
        Some("http") => {
            plain = Server::start(|connection| {
                let target = connection.request()?.unwrap().path;
                connection.write("HTTP/1.1 200 OK\r\n\r\n")?;
                tunnel(&mut connection.tcp(), connection.tcp(), &target)
            });
            let address = plain.as_ref().unwrap().address();
            config = config.proxy(Proxy::Url(format!("http://{address}")));
        }
        Some(_) => {
            secure = TlsServer::start(Shows::Good, |session| {
                let request = tls::read_request(session)?;
                let target = request.split(' ').nth(1).unwrap().to_owned();
                session.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                let socket = session.sock.try_clone()?;
                tunnel(session, &socket, &target)
            });
            // The CA file contains the CAs of the server and of the proxy.
            let both = [&server.ca_file, &secure.ca_file].map(|file| std::fs::read(file).unwrap());
            std::fs::write(&secure.ca_file, both.concat()).unwrap();
            config = config.ca_file(&secure.ca_file);
            config = config.proxy(Proxy::Url(format!("https://{}", secure.address)));
        }
        None => {}
    }
    let [first, second] = both_responses(&config);
    (first, second, connections.load(Ordering::SeqCst))
}

fn both_responses(config: &GenerationConfig) -> [String; 2] {
    ["first question", "second question"]
        .map(|question| generate_stream(question, config).into_response().unwrap().content)
}

#[test]
fn what_is_left_in_a_session_with_a_proxy_is_no_response_to_the_next_question() {
    watchdog(WATCHDOG, || {
        for version in [&TLS12, &TLS13] {
            for leaves in [
                Leaves::Nothing,
                Leaves::NextRecord,
                Leaves::LongRecord,
                Leaves::TornHeader,
                Leaves::TornRecord,
            ] {
                let connections = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&connections);
                // This proxy is also the target, which speaks plain HTTP in the tunnel.
                let proxy = TlsServer::speaking(&[version], Shows::Good, move |session| {
                    count.fetch_add(1, Ordering::SeqCst);
                    tls::read_request(session)?;
                    session.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                    respond(session, leaves)
                });
                let config = config("http://192.0.2.1/v1")
                    .ca_file(&proxy.ca_file)
                    .proxy(Proxy::Url(format!("https://{}", proxy.address)));
                let [first, second] = both_responses(&config);
                let expected = if leaves == Leaves::Nothing { 1 } else { 2 };
                assert_eq!(
                    (&*first, &*second, connections.load(Ordering::SeqCst)),
                    ("first", "second", expected),
                    "{leaves:?} over {version:?}"
                );
            }
        }
    });
}

#[test]
fn what_is_no_tls_on_a_tls_connection_breaks_it() {
    watchdog(WATCHDOG, || {
        for version in [&TLS12, &TLS13] {
            let connections = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&connections);
            let server = TlsServer::speaking(&[version], Shows::Good, move |session| {
                let number = count.fetch_add(1, Ordering::SeqCst);
                while let Ok(request) = tls::read_request(session) {
                    let response = match (number, request.contains("third question")) {
                        (0, _) if request.contains("second question") => GARBAGE.to_vec(),
                        (_, true) => GARBAGE.to_vec(),
                        _ => records(session, [&response("whole", 0)[..]])?,
                    };
                    session.sock.write_all(&response)?;
                }
                Ok(())
            });
            let config = config(server.url()).ca_file(&server.ca_file);
            // Garbage on a kept connection leads to a new connection.
            assert_eq!(both_responses(&config), ["whole", "whole"]);
            assert_eq!(connections.load(Ordering::SeqCst), 2, "{version:?}");

            let error = generate_stream("third question", &config).into_response().unwrap_err();
            let text = error.to_string();
            let error = Error::of(&error).unwrap();
            assert_eq!(error.kind(), ErrorKind::Network);
            assert!(error.is_retryable() && text.contains("lost the connection to"), "{text}");
            assert!(text.contains(&server.address.to_string()), "{text}");
        }
    });
}

const GARBAGE: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";

#[test]
fn a_tls_connection_is_used_again_and_again() {
    watchdog(WATCHDOG, || {
        for version in [&TLS12, &TLS13] {
            let connections = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&connections);
            let server = TlsServer::speaking(&[version], Shows::Good, move |session| {
                count.fetch_add(1, Ordering::SeqCst);
                respond(session, Leaves::Nothing)
            });
            let config = config(server.url()).ca_file(&server.ca_file);
            for number in 0..20 {
                let response = generate_stream(format!("{number}"), &config).into_response();
                assert_eq!(response.unwrap().content, "second");
            }
            assert_eq!(connections.load(Ordering::SeqCst), 1, "{version:?}");
        }
    });
}

/// Carries bytes between a client and the target, in both directions by turns.
fn tunnel(client: &mut (impl Read + Write), socket: &TcpStream, target: &str) -> io::Result<()> {
    let mut target = TcpStream::connect(target)?;
    let turn = Some(Duration::from_millis(1));
    socket.set_read_timeout(turn)?;
    target.set_read_timeout(turn)?;
    loop {
        pass(client, &mut target)?;
        pass(&mut target, client)?;
    }
}

fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    use io::ErrorKind::{TimedOut, WouldBlock};
    let mut buffer = [0; 64 << 10];
    match from.read(&mut buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => to.write_all(&buffer[..read]),
        // Windows calls it the other way.
        Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => Ok(()),
        Err(error) => Err(error),
    }
}

#[test]
#[ignore = "needs python3 and $KERB_STREAM_SHARED/attack"]
fn what_another_tls_leaves_is_no_response_to_the_next_question() {
    watchdog(WATCHDOG, || {
        for mode in ["same", "two", "full"] {
            for version in [&[][..], &["tls12"]] {
                let server =
                    PythonServer::start("attack/tls_smuggle.py", &[&[mode], version].concat());
                let config = server.config("https");
                for (number, expected) in
                    ["first", "to question 1", "to question 2"].iter().enumerate()
                {
                    let question = format!("question {number}");
                    let response = generate_stream(question, &config).into_response().unwrap();
                    assert_eq!(response.content, *expected, "{mode} {version:?}");
                }
            }
        }
    });
}
