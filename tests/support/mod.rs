//! What the tests have in common: a scripted server, and a watchdog for whatever waits.

#![allow(dead_code, unused_imports)] // Each program uses another part of it.
#![allow(clippy::type_complexity)] // a table is read more easily than its type

use std::io::{BufRead, BufReader};
use std::panic;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

#[path = "../../examples/demo/mod.rs"]
pub(crate) mod demo;

pub(crate) mod bytes;
pub(crate) mod outcome;
pub(crate) mod reader;
pub(crate) mod shapes;
pub(crate) mod tls;

pub(crate) use demo::server::{Connection, Request, Server};
pub(crate) use outcome::Outcome;

/// The folder with the data and servers that some tests need, or a path in it.
pub(crate) fn shared(path: &str) -> PathBuf {
    let shared = std::env::var_os("KERB_STREAM_SHARED").expect("KERB_STREAM_SHARED names a folder");
    PathBuf::from(shared).join(path)
}

/// Starts a Python server from the folder that `KERB_STREAM_SHARED` names, and waits for the line
/// that it prints when it listens.
pub(crate) fn python(
    script: &str,
    set: impl FnOnce(&mut Command) -> &mut Command,
) -> (Child, String) {
    let mut command = Command::new("python3");
    command.arg(shared(script)).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = set(&mut command).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (process, line)
}

/// Runs `test`, and fails should it take longer than `limit`, which is there for what would hang.
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
