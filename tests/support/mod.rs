//! Helpers that the tests share. `Server` is that of the demo: it calls a closure for each
//! connection.

#![allow(dead_code, unused_imports)] // Each test program uses only a part of this file.

use std::collections::VecDeque;
use std::panic;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use kerb_stream::{Environment, GenerationConfig, Protocol};

#[path = "../../examples/demo/mod.rs"]
pub(crate) mod demo;

pub(crate) mod bytes;
pub(crate) mod outcome;
pub(crate) mod python;
pub(crate) mod reader;
pub(crate) mod shapes;
pub(crate) mod tls;

pub(crate) use demo::server::{Connection, Request, Server};
pub(crate) use outcome::Outcome;

/// Returns a path in the folder with the data and servers that some tests need.
pub(crate) fn shared(path: &str) -> PathBuf {
    let shared = std::env::var_os("KERB_STREAM_SHARED").expect("KERB_STREAM_SHARED names a folder");
    PathBuf::from(shared).join(path)
}

/// Returns a configuration that ignores the environment and does not retry.
pub(crate) fn config(url: impl Into<String>) -> GenerationConfig {
    GenerationConfig::new("m").base_url(url).environment(Environment::empty()).max_retries(0)
}

/// Starts a server that answers every request with "Hello", in two pieces.
pub(crate) fn whole_answers() -> Server {
    let shape = shapes::Shape(Protocol::ChatCompletions);
    let server = Server::start(move |connection| {
        while connection.request()?.is_some() {
            connection.start()?;
            connection.chunk(shape.whole(&["Hel", "lo"]))?;
            connection.end()?;
        }
        Ok(())
    });
    server.unwrap()
}

/// Starts a server that answers with these bodies, one after the other, and then with an error. An
/// empty body is an error, too.
pub(crate) fn answers(bodies: impl IntoIterator<Item: Into<Vec<u8>>>) -> Server {
    let bodies: VecDeque<Vec<u8>> = bodies.into_iter().map(Into::into).collect();
    let bodies = Mutex::new(bodies);
    let server = Server::start(move |connection| {
        while connection.request()?.is_some() {
            let body = bodies.lock().unwrap().pop_front().unwrap_or_default();
            if body.is_empty() {
                connection.answer("400 Bad Request", "application/json", "{}")?;
                continue;
            }
            connection.start()?;
            connection.chunk(body)?;
            connection.end()?;
        }
        Ok(())
    });
    server.unwrap()
}

/// Returns these bytes as one chunk of HTTP's chunked encoding.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Runs `test` with all cases at the same time, because it mostly waits.
pub(crate) fn all_at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        let test = &test;
        let threads: Vec<_> =
            cases.into_iter().map(|case| scope.spawn(move || test(case))).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                panic::resume_unwind(panic);
            }
        }
    });
}

/// Runs `test`, and fails if it takes longer than `limit`, so that a hang is found.
pub(crate) fn watchdog<T: Send + 'static>(
    limit: Duration,
    test: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, wait) = channel();
    let thread = thread::spawn(move || drop(done.send(test())));
    match wait.recv_timeout(limit) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("still running after {limit:?}"),
        Err(RecvTimeoutError::Disconnected) => {
            panic::resume_unwind(thread.join().expect_err("it ended without a value"))
        }
    }
}
