//! What the tests have in common: a scripted server, and a watchdog for whatever waits.

#![allow(dead_code, unused_imports)] // each test file uses another part of it
#![allow(clippy::type_complexity)] // a table is read more easily than its type
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::panic;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

#[path = "../../examples/demo/mod.rs"]
pub(crate) mod demo;

pub(crate) mod bytes;
pub(crate) mod faults;
pub(crate) mod shapes;
pub(crate) mod tls;

pub(crate) use demo::server::{Connection, Request, Server};

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
