//! A chunk costs one allocation, which is its text, and keeps no other memory.
//!
//! The folded response grows too. Its reallocations are counted separately, and its capacity
//! accounts for them.
//!
//! This is a test program of its own, because its allocator counts what the whole program
//! allocates, other tests included.

#![cfg(test)] // Clippy treats helpers as tests too, so they may unwrap (clippy.toml).

use std::alloc::System;

use kerb_stream::{GenerationConfig, GenerationStream, Protocol};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[path = "support/reader.rs"]
mod reader;
#[path = "support/shapes.rs"]
mod shapes;

use reader::Pieces;
use shapes::Shape;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn stream(protocol: Protocol, events: &[String]) -> GenerationStream {
    let config = GenerationConfig::default().protocol(protocol).max_response_bytes(usize::MAX);
    // The same events repeat without end, in reads of a packet's size.
    let reader = Pieces::new(events.concat().leak().as_bytes().chunks(1460).cycle());
    let mut stream = GenerationStream::from_reader(reader, config);
    for _ in 0..1_000 {
        stream.next().unwrap().unwrap();
    }
    stream
}

/// Returns the numbers of allocations and reallocations during 1,000 chunks.
fn count(protocol: Protocol, events: &[String]) -> (usize, usize) {
    let mut stream = stream(protocol, events);
    let before = COUNTED.stats();
    for _ in 0..1_000 {
        let chunk = stream.next().unwrap().unwrap();
        assert!(!chunk.content.is_empty());
    }
    let after = COUNTED.stats();
    (after.allocations - before.allocations, after.reallocations - before.reallocations)
}

/// This is a single test, because the counters belong to the whole process.
#[test]
fn a_chunk_is_one_allocation_and_leaves_nothing_behind() {
    for &protocol in Protocol::ALL {
        let shape = Shape(protocol);
        let events = [shape.text(" word"), shape.text(" and"), shape.text(" so")];
        // The test harness allocates now and then too, so the lowest of five counts is used.
        let (allocations, reallocations) = (0..5).map(|_| count(protocol, &events)).min().unwrap();
        assert_eq!(allocations, 1_000, "{protocol}");
        assert!(reallocations <= 1, "{protocol}");
    }

    let mut stream =
        stream(Protocol::ChatCompletions, &[Shape(Protocol::ChatCompletions).text(" word")]);
    let live = |stats: stats_alloc::Stats| stats.bytes_allocated - stats.bytes_deallocated;
    let (before, folded) = (live(COUNTED.stats()), stream.response().content.capacity());
    for _ in 0..200_000 {
        stream.next().unwrap().unwrap();
    }
    let (after, grown) = (live(COUNTED.stats()), stream.response().content.capacity());
    assert_eq!(after - before, grown - folded);
    assert!(grown < 2 * 201_000 * " word".len());
}
