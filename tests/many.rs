//! Many streams at once, and many in turn, are all whole, and use few sockets and little memory.
//!
//! This is a test program of its own, because memory, descriptors and threads are counted for the
//! whole process. For the same reason, its tests run one at a time.

#![cfg(target_os = "linux")]
#![cfg(test)] // Clippy treats helpers as tests too, so they may unwrap (clippy.toml).

mod support;

use std::io::{Read, Write};
use std::iter;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kerb_stream::{
    Environment, ErrorKind, GenerationConfig, GenerationStream, Protocol, generate_stream,
};
use support::reader::Pieces;
use support::shapes::Shape;
use support::{Server, watchdog, whole_answers};

const WATCHDOG: Duration = Duration::from_secs(60);
const SHAPE: Shape = Shape(Protocol::ChatCompletions);

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(url: impl Into<String>) -> GenerationConfig {
    let limit = Duration::from_secs(50);
    GenerationConfig::new("m")
        .base_url(url)
        .environment(Environment::empty())
        .max_retries(0)
        .connect_timeout(limit)
        .first_byte_timeout(limit)
        .idle_timeout(limit)
}

#[test]
fn a_thousand_streams_at_once() {
    let streams = as_many_as(1000);
    let _turn = turn();
    watchdog(WATCHDOG, move || {
        let before = descriptors();
        // Bare sockets show the costs of threads, sockets and the server.
        let bare = at_once(streams, |server, begun| {
            let mut socket = TcpStream::connect(server.address()).unwrap();
            socket.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
            let mut buffer = [0; 1024];
            while !String::from_utf8_lossy(&buffer).contains("Hel") {
                assert!(socket.read(&mut buffer).unwrap() > 0);
            }
            begun();
            assert!(socket.read(&mut buffer).unwrap() > 0);
        });
        let asked = at_once(streams, |server, begun| {
            let mut stream = generate_stream("Hello?", config(server.url()));
            assert_eq!(stream.next().unwrap().unwrap().content, "Hel");
            begun();
            assert_eq!(stream.into_response().unwrap().content, "Hello");
        });
        let each = asked.saturating_sub(bare) / streams;
        println!(
            "a stream: {} KiB more resident than a bare socket's {} KiB",
            each >> 10,
            (bare / streams) >> 10
        );
        assert!(each < 256 << 10, "{each} bytes a stream");
        // At most 8 idle connections remain, and each has a descriptor on either end.
        eventually(
            || descriptors() <= before + 2 * 8 + 4,
            || format!("{} descriptors", descriptors()),
        );
        println!("descriptors: {before} before, {} after", descriptors());
    });
}

#[test]
fn a_stream_that_waits_takes_little_memory() {
    let streams = as_many_as(200);
    let _turn = turn();
    watchdog(WATCHDOG, move || {
        let server = Server::start(|connection| {
            connection.request()?;
            connection.start()?;
            connection.event(r#"{"choices":[{"delta":{"content":"Hel"}}]}"#)?;
            connection.wait_until_closed();
            Ok(())
        });
        let server = server.unwrap();
        let open = || {
            let mut stream = generate_stream("Hello?", config(server.url()));
            stream.next().unwrap().unwrap();
            stream
        };
        let _first = open();
        let before = resident();
        let all: Vec<_> = (0..streams).map(|_| open()).collect();
        let each = resident().saturating_sub(before) / streams;
        drop(all);
        println!("a stream without its thread, and its server's thread: {} KiB", each >> 10);
        assert!(each < 128 << 10, "{each} bytes a stream");
    });
}

/// Runs `client` in `count` threads at once. Returns the memory that they and the server use while
/// all are between the first and the second piece of their responses.
fn at_once(count: usize, client: impl Fn(&Server, &dyn Fn()) + Send + Sync + 'static) -> usize {
    let gate = Arc::new(Barrier::new(count + 1));
    let served = Arc::clone(&gate);
    let server = Server::start(move |connection| {
        while connection.request()?.is_some() {
            connection.start()?;
            connection.event(r#"{"choices":[{"delta":{"content":"Hel"}}]}"#)?;
            served.wait();
            connection.event(r#"{"choices":[{"delta":{"content":"lo"}}]}"#)?;
            connection.event(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#)?;
            connection.event("[DONE]")?;
            connection.end()?;
        }
        Ok(())
    });
    let shared = Arc::new((server.unwrap(), client, AtomicUsize::new(0)));
    let before = resident();
    let mut threads = Vec::new();
    let wait_for = |begun, threads: &[thread::JoinHandle<()>]| {
        while shared.2.load(Ordering::SeqCst) < begun {
            thread::sleep(Duration::from_millis(1));
            assert!(!threads.iter().any(thread::JoinHandle::is_finished), "one has failed");
        }
    };
    for number in 0..count {
        let shared = Arc::clone(&shared);
        let thread = thread::Builder::new().stack_size(256 << 10).spawn(move || {
            let (server, client, begun) = &*shared;
            client(server, &|| {
                begun.fetch_add(1, Ordering::SeqCst);
            });
        });
        threads.push(thread.unwrap());
        // The system limits how many connections may wait until the server accepts them.
        wait_for(number.saturating_sub(64), &threads);
    }
    wait_for(count, &threads);
    let during = resident();
    gate.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    during.saturating_sub(before)
}

#[test]
fn a_thousand_one_after_another_and_memory_stays_flat() {
    let _turn = turn();
    watchdog(WATCHDOG, || {
        let server = whole_answers();
        let ask = |count| {
            for _ in 0..count {
                let response = generate_stream("Hello?", config(server.url())).into_response();
                assert_eq!(response.unwrap().content, "Hello");
            }
        };
        ask(50);
        let before = (resident(), descriptors());
        ask(1000);
        let more = resident().saturating_sub(before.0);
        println!("1,000 more streams: {} KiB more resident", more >> 10);
        // The server stores the requests.
        assert!(more < 4 << 20, "{more} bytes");
        assert!(descriptors() <= before.1 + 2);
        assert_eq!(server.connections(), 1, "a connection is used again");
    });
}

#[test]
fn ten_turns_on_one_connection_while_the_server_lingers_or_not() {
    let _turn = turn();
    watchdog(WATCHDOG, || {
        // The end of the body comes with the end marker, 20 ms later, or never.
        for (linger, connections) in [(Some(0), 1), (Some(20), 1), (None, 10)] {
            let server = Server::start(move |connection| {
                while connection.request()?.is_some() {
                    connection.start()?;
                    let body = SHAPE.whole(&["Hel", "lo"]);
                    connection.chunk(&body)?;
                    match linger {
                        Some(time) => thread::sleep(Duration::from_millis(time)),
                        None => {
                            connection.wait_until_closed();
                            return Ok(());
                        }
                    }
                    connection.end()?;
                }
                Ok(())
            });
            let server = server.unwrap();
            let started = Instant::now();
            for _ in 0..10 {
                let response = generate_stream("Hello?", config(server.url())).into_response();
                assert_eq!(response.unwrap().content, "Hello");
            }
            let time = started.elapsed();
            println!("ten turns, the body ends {linger:?} ms after the marker: {time:?}");
            assert_eq!(server.connections(), connections);
            // It would be longer if a turn waited until one of its limits.
            assert!(time < WATCHDOG / 6, "{time:?}");
        }
    });
}

#[test]
fn a_stream_without_end_takes_no_more_memory() {
    let _turn = turn();
    watchdog(WATCHDOG, || {
        for unit in
            [": ping\n\n", "data: {\"choices\":[]}\n\n", "event: ping\n\n", ":xxxxxxxxxxxxxxx"]
        {
            let block = unit.repeat((16 << 10) / unit.len()).leak();
            let read = |bytes| {
                let reader = Pieces::new(iter::repeat_n(&*block, bytes / block.len()));
                let error = GenerationStream::from_reader(reader, config("http://127.0.0.1:1/v1"))
                    .into_response()
                    .unwrap_err();
                assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Incomplete));
            };
            // The first read pays for what is loaded only once.
            read(64 << 10);
            let before = resident();
            read(8 << 20);
            let more = resident().saturating_sub(before);
            assert!(more < 1 << 20, "{more} bytes of {unit:?}");
        }
    });
}

/// A caller that sleeps makes the server wait, because the crate does not read ahead.
#[test]
fn a_slow_consumer_slows_the_server() {
    let _turn = turn();
    watchdog(WATCHDOG, || {
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let server = Server::start(move |connection| {
            connection.request()?;
            connection.start()?;
            let event = SHAPE.text(&"x".repeat(1000)).repeat(60);
            for _ in 0..1000 {
                connection.chunk(&event)?;
                count.fetch_add(event.len(), Ordering::SeqCst);
            }
            connection.end()
        });
        let mut stream = generate_stream(
            "Hello?",
            config(server.unwrap().url()).idle_timeout(Duration::from_millis(300)),
        );
        stream.next().unwrap().unwrap();
        let before = resident();
        // This is longer than `idle_timeout`, which counts only the time within a read.
        thread::sleep(Duration::from_millis(500));
        let (ahead, more) = (written.load(Ordering::SeqCst), resident().saturating_sub(before));
        println!("while the caller sleeps: {ahead} bytes written, {more} more resident");
        assert!(ahead < 20 << 20 && more < 1 << 20, "{ahead} bytes written, {more} more resident");
        stream.next().unwrap().unwrap();
    });
}

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Returns `streams`, or fewer if the machine allows fewer descriptors. Each stream needs one on
/// either end.
fn as_many_as(streams: usize) -> usize {
    let limit = rlimit::increase_nofile_limit(4 * streams as u64 + 500).unwrap_or(1024);
    streams.min((limit as usize).saturating_sub(500) / 4)
}

/// Returns the number of open descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn eventually(holds: impl Fn() -> bool, what: impl Fn() -> String) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{}", what());
        thread::sleep(Duration::from_millis(10));
    }
}
