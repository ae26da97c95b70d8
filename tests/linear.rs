//! Twice the input is twice the work: counted in instructions, under valgrind, since time says little on a
//! machine that does other things as well.
//!
//! It stands alone because valgrind reads a program's debugging information whenever it starts it, and
//! that of all the tests together is large.

#![cfg(test)] // Helpers are tests to clippy, too, and may unwrap as clippy.toml says.

use std::process::Command;

use kerb_stream::{GenerationConfig, GenerationStream, Protocol};

#[path = "support/reader.rs"]
mod reader;
#[path = "support/shapes.rs"]
mod shapes;

use reader::in_pieces;
use shapes::Shape;

/// What the test, run under valgrind by itself, is to do: a case, a protocol, a size.
const WORK: &str = "KERB_STREAM_LINEAR";

const CASES: &[(&str, usize)] = &[
    // One event with a text of so many bytes, in reads of 1460 bytes.
    ("one huge event", 400_000),
    // The same with escapes and a character beyond ASCII in it.
    ("one huge event with escapes", 200_000),
    // So many events with a text of one byte.
    ("many tiny events", 1_000),
    // So many events, byte by byte.
    ("one byte per read", 100),
    // One event of so many `data` lines.
    ("an event of many lines", 2_000),
    // So many bytes of comments, which are no event.
    ("nothing but comments", 100_000),
];

#[test]
#[ignore = "needs valgrind"]
fn twice_the_input_is_twice_the_work() {
    if let Ok(work) = std::env::var(WORK) {
        return child(&work);
    }
    for (case, size) in CASES {
        for &protocol in Protocol::ALL {
            let [none, once, twice] =
                [0, *size, 2 * size].map(|size| instructions(case, protocol, size));
            let ratio = (twice - none) as f64 / (once - none) as f64;
            println!("{case}, {protocol}: {ratio:.2}");
            assert!((1.8..2.3).contains(&ratio), "{case}, {protocol}: {ratio:.2}");
            if *case != "one huge event" {
                break; // The rest says nothing about the protocol.
            }
        }
    }
}

fn instructions(case: &str, protocol: Protocol, size: usize) -> u64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "twice_the_input_is_twice_the_work", "--ignored", "--test-threads=1"])
        .env(WORK, format!("{case}/{protocol}/{size}"))
        .output()
        .expect("valgrind is not installed");
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{told}");
    let count = told.split("Collected :").nth(1).and_then(|rest| rest.split_whitespace().next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{told}"))
}

fn child(work: &str) {
    let mut work = work.split('/');
    let case = work.next().unwrap();
    let protocol: Protocol = work.next().unwrap().parse().unwrap();
    let size: usize = work.next().unwrap().parse().unwrap();
    let shape = Shape(protocol);
    let (events, step) = match case {
        "one huge event" => (shape.text(&"x".repeat(size)), 1460),
        "one huge event with escapes" => (shape.text(&"\"\n\u{e9}x".repeat(size / 5)), 1460),
        "many tiny events" => (shape.text("x").repeat(size), 1460),
        "one byte per read" => (shape.text("x").repeat(size), 1),
        "an event of many lines" => {
            let lines = "data:\n".repeat(size);
            (shape.text("x").replacen("data:", &(lines + "data:"), 1), 1460)
        }
        _ => (": ping\n\n".repeat(size / 8), 1460),
    };
    let events = shape.start() + &events + &shape.ending();
    let config = GenerationConfig::default().protocol(protocol);
    let response = GenerationStream::from_reader(in_pieces(events, &[step]), config);
    let Ok(response) = response.into_response() else {
        // Gemini's stop with nothing before it is no end.
        return assert_eq!(size, 0);
    };
    assert!(size == 0 || case == "nothing but comments" || !response.content.is_empty());
}
