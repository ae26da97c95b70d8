//! Checks that a response is never reported as whole after a panic in a logger, a reader or a
//! callback.
//!
//! This is a test program of its own, because a process has only one logger, and this one panics.

#![cfg(test)] // Clippy treats helpers as tests too, so they may unwrap (clippy.toml).

mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, Once};
use std::time::Duration;

use kerb_stream::{
    Environment, Error, ErrorKind, GenerationConfig, GenerationResponse, GenerationStream,
    Protocol, StreamChunk, generate_stream,
};
use support::{Connection, Server, watchdog};

const WATCHDOG: Duration = Duration::from_secs(60);
const WHOLE: &str = r#"data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#;

thread_local! {
    /// The number of log records in this thread before the logger panics once.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

struct Panics;

impl Panics {
    /// Installs the logger of this process.
    fn log() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&Self).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
        });
    }
}

impl log::Log for Panics {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        let left = LEFT.get();
        LEFT.set(left.and_then(|left| left.checked_sub(1)));
        if left == Some(0) {
            // `resume_unwind` prints nothing to stderr. There are many of these panics.
            resume_unwind(Box::new("the logger panics"));
        }
    }

    fn flush(&self) {}
}

impl Read for Panics {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("the reader panics")
    }
}

/// Reads the stream and catches its only panic. After a panic there must be one error, then
/// nothing, and no whole response. Without a panic, the response must be whole and `None` is
/// returned.
fn interrupted<F: FnMut(&StreamChunk)>(
    mut stream: GenerationStream<F>,
) -> Option<GenerationResponse> {
    loop {
        match catch_unwind(AssertUnwindSafe(|| stream.next())) {
            Ok(Some(chunk)) => drop(chunk.unwrap()),
            Ok(None) => {
                assert_eq!(stream.into_response().unwrap().content, "Hi");
                return None;
            }
            Err(_) => break,
        }
    }
    let is_said = |error: &anyhow::Error| {
        assert!(error.to_string().contains("a panic interrupted the stream"), "{error}");
        assert_eq!(ErrorKind::of(error), Some(ErrorKind::Incomplete));
    };
    is_said(&stream.next().unwrap().unwrap_err());
    assert!(stream.next().is_none() && stream.next().is_none());
    let error = stream.into_response().unwrap_err();
    is_said(&error);
    Some(Error::of(&error).unwrap().partial().unwrap().clone())
}

#[test]
fn nothing_that_panicked_is_whole() {
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    interrupted(GenerationStream::from_reader(Panics, &config)).unwrap();

    let stream = GenerationStream::from_reader(WHOLE.as_bytes(), &config);
    let partial = interrupted(stream.callback(|_| panic!("the callback panics"))).unwrap();
    assert_eq!(partial.content, "Hi");

    // A caller that collects chunks and catches the panic must see that a part is missing.
    let two = WHOLE.replace("stop", "").repeat(2).replace("}data", "}\n\ndata");
    let mut chunks = 0;
    let mut stream = GenerationStream::from_reader(io::Cursor::new(two), &config).callback(|_| {
        chunks += 1;
        assert!(chunks < 2, "the callback panics");
    });
    assert_eq!(stream.next().unwrap().unwrap().content, "Hi");
    assert_eq!(interrupted(stream).unwrap().content, "HiHi");
}

fn config(url: String) -> GenerationConfig {
    GenerationConfig::new("m").base_url(url).environment(Environment::empty())
}

/// Repeats a request and lets the logger panic at each record in turn. Returns the number of
/// records.
fn at_every_record(question: &str, config: &GenerationConfig) -> usize {
    for at in 0.. {
        let warm = generate_stream("Hi", config).into_response();
        assert_eq!(warm.unwrap().content, "Hi");
        let stream = generate_stream(format!("{question} {at}"), config);
        LEFT.set(Some(at));
        let partial = interrupted(stream);
        LEFT.set(None);
        if partial.is_none() {
            return at;
        }
    }
    unreachable!("there are fewer records")
}

#[test]
fn a_logger_may_panic_at_any_record() {
    Panics::log();
    watchdog(WATCHDOG, || {
        let seen = Mutex::new(HashSet::new());
        let server = Server::start(move |connection: &mut Connection| {
            while let Some(request) = connection.request()? {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let is_new = seen.lock().unwrap().insert(body.clone());
                if is_new && body.contains("stale") {
                    return Ok(());
                } else if is_new && body.contains("busy") {
                    connection
                        .write("HTTP/1.1 503 No\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n")?;
                } else {
                    connection.answer("200 OK", "text/event-stream", WHOLE)?;
                }
            }
            Ok(())
        });
        let config = config(server.unwrap().url());
        let records = ["kept", "stale", "busy"].map(|question| at_every_record(question, &config));
        assert!(records.iter().all(|&records| records > 5), "{records:?}");
        // Requests with a stale connection or a retry write additional log records.
        assert!(records[1] > records[0] && records[2] > records[0], "{records:?}");
    });
}

#[cfg(feature = "rustls")]
mod with_tls {
    use std::io::Write;
    use std::path::PathBuf;

    use super::support::tls::{self, Shows, TlsServer};
    use super::*;

    /// Writes a client certificate in one file with its own key, or with a key that does not match.
    fn certificate(key_fits: bool) -> PathBuf {
        let name = format!("kerb-stream-panics-{}-{key_fits}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        tls::write_pem(&folder).unwrap();
        let certificate = std::fs::read(folder.join("s.pem")).unwrap();
        if !key_fits {
            tls::write_pem(&folder).unwrap();
        }
        let key = std::fs::read(folder.join("s.key")).unwrap();
        let file = folder.with_extension("pem");
        std::fs::write(&file, [certificate, key].concat()).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        file
    }

    fn server() -> TlsServer {
        TlsServer::start(Shows::Good, |session| {
            tls::read_request(session)?;
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
            let response = format!("{head}content-length: {}\r\n\r\n{WHOLE}", WHOLE.len());
            session.write_all(response.as_bytes())
        })
    }

    #[test]
    fn a_panic_while_connecting_is_no_word_about_a_certificate() {
        Panics::log();
        watchdog(WATCHDOG, || {
            let server = server();
            let config = config(server.url()).ca_file(&server.ca_file);
            assert!(at_every_record("direct", &config) > 5);
            let file = certificate(true);
            let config = config.client_certificate(&file);
            assert!(at_every_record("with a certificate", &config) > 5);
            std::fs::remove_file(file).unwrap();
        });
    }

    #[test]
    fn a_certificate_whose_key_is_another_one_is_an_error() {
        watchdog(WATCHDOG, || {
            let server = server();
            let file = certificate(false);
            let config = config(server.url()).ca_file(&server.ca_file).client_certificate(&file);
            for _ in 0..2 {
                let error = generate_stream("Hi", &config).into_response().unwrap_err();
                assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Config));
                let says = "cannot be used with the private key beside it (client_certificate)";
                assert!(error.to_string().contains(says), "{error}");
            }
            std::fs::remove_file(file).unwrap();
        });
    }
}
