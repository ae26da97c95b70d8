//! Checks that twice the input takes twice the work. Valgrind counts instructions, because time is
//! unreliable on a busy machine.
//!
//! This is a test program of its own, because valgrind reads the program's debug information at
//! every start, and that of all tests together is large.

#![cfg(test)] // Clippy treats helpers as tests too, so they may unwrap (clippy.toml).

use std::process::Command;

use kerb_stream::{GenerationConfig, GenerationStream, Protocol};

#[path = "support/reader.rs"]
mod reader;
#[path = "support/shapes.rs"]
mod shapes;

use reader::in_pieces;
use shapes::Shape;

/// The variable that gives the process under valgrind its work: a case, a protocol, a size.
const WORK: &str = "KERB_STREAM_LINEAR";

const CASES: &[(&str, usize)] = &[
    // One event with a text of this many bytes, in reads of 1460 bytes.
    ("one huge event", 400_000),
    // One event whose text has escapes and a non-ASCII character.
    ("one huge event with escapes", 200_000),
    // This many events with a text of one byte each.
    ("many tiny events", 1_000),
    // This many events, read byte by byte.
    ("one byte per read", 100),
    // One event with this many `data` lines.
    ("an event of many lines", 2_000),
    // This many citations of as many pages, before and after the text that they cite.
    ("many citations", 400),
    // This many elements of a list, which are read while they arrive.
    ("elements of a list", 500),
    // A name of this many bytes, and as many lists inside it, of which none is the one looked for.
    ("lists elsewhere", 2_000),
    // This many bytes of comments, which produce no events.
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
                break; // The other cases do not depend on the protocol.
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
        "elements of a list" => {
            let elements = shape.text("{\"a\": [1, \"x\"]},").repeat(size);
            (shape.text("[") + &elements + &shape.text("0]"), 1460)
        }
        "lists elsewhere" => {
            let text = format!("{{\"{}\": [{}0]}}", "x".repeat(size), "[],".repeat(size));
            (shape.text(&text), 1460)
        }
        "many citations" => {
            let cite = |number: usize| {
                let (start, end) = (20 * number, 20 * number + 9);
                format!(
                    r#"data: {{"choices":[{{"delta":{{"annotations":[{{"url":"{number}","start_index":{start},"end_index":{end}}}]}}}}]}}"#
                ) + "\n\n"
            };
            let early: String = (0..size).map(cite).collect();
            let late: String = (0..size).rev().map(cite).collect();
            (early + &shape.text(&"\u{e9}".repeat(20 * size)) + &late, 1460)
        }
        _ => (": ping\n\n".repeat(size / 8), 1460),
    };
    let events = shape.start() + &events + &shape.ending();
    let config = GenerationConfig::default().protocol(protocol);
    let mut response = GenerationStream::from_reader(in_pieces(events, &[step]), config);
    if case == "elements of a list" {
        assert_eq!(response.elements::<serde::de::IgnoredAny>("").count(), size + 1);
    }
    if case == "lists elsewhere" {
        assert_eq!(response.elements::<serde::de::IgnoredAny>("/y/0").count(), 1);
    }
    let Ok(response) = response.into_response() else {
        // Gemini's stop without text before it is not an end, so this stream is incomplete.
        return assert_eq!(size, 0);
    };
    assert!(size == 0 || case == "nothing but comments" || !response.content.is_empty());
}
