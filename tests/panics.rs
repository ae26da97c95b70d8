//! A panic in between leaves no whole answer: of a logger, a reader, a callback.
//!
//! It stands alone because a process has one logger, and this one panics.

#![cfg(test)] // Helpers are tests to clippy, too, and may unwrap as clippy.toml says.

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
    /// How many records the logger takes in this thread before it panics, once.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

struct Panics;

impl Panics {
    /// Makes it the logger of this process.
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
            // A panic without a word on stderr: there are many.
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

/// Catches the one panic that there may be. Behind it come one error and nothing more, and no whole;
/// without it, the answer is whole.
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

    // Whoever collects the chunks and catches what panics sees that something is missing.
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

/// Lets the logger panic at each record of a request in turn, and says how many there are.
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
        // A connection that turned out to be closed, and a try more, are logged, too.
        assert!(records[1] > records[0] && records[2] > records[0], "{records:?}");
    });
}

#[cfg(feature = "rustls")]
mod with_tls {
    use std::io::Write;
    use std::path::PathBuf;

    use super::support::tls::{self, Shows, TlsServer};
    use super::*;

    /// A certificate of a client, and a key that is its own or another one's.
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
