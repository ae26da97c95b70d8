//! Streams of arbitrary bytes in arbitrary pieces, for the property tests and the fuzzer.

#![allow(dead_code)] // Each test program uses only a part of this file.

use kerb_stream::{Environment, GenerationConfig, GenerationStream, Protocol, StreamChunk};

use super::outcome::Outcome;
use super::reader::in_pieces;
use super::shapes::Shape;

/// These limits are small, so that the tests reach them.
pub(crate) const MAX_EVENT: usize = 4 << 10;
pub(crate) const MAX_RESPONSE: usize = 16 << 10;
pub(crate) const MAX_CALLS: usize = 8;

/// Decodes `bytes` in pieces of these sizes, which repeat, and checks what must be true of every
/// stream.
pub(crate) fn decode(protocol: Protocol, bytes: &[u8], sizes: &[usize]) -> Outcome {
    let config = GenerationConfig::new("m")
        .protocol(protocol)
        .environment(Environment::empty())
        .base_url("http://127.0.0.1/v1")
        .max_event_bytes(MAX_EVENT)
        .max_response_bytes(MAX_RESPONSE)
        .max_tool_calls(MAX_CALLS);
    let outcome = Outcome::of(GenerationStream::from_reader(in_pieces(bytes, sizes), config));
    let text = outcome.message();
    assert!(!text.chars().any(char::is_control) && text.len() < 4000, "{text:?}");
    let size = |chunk: &StreamChunk| {
        let calls = chunk.tool_calls.iter().map(|call| call.arguments.len());
        chunk.content.len() + chunk.reasoning.len() + calls.sum::<usize>()
    };
    let size: usize = outcome.chunks.iter().map(size).sum();
    assert!(size <= MAX_RESPONSE, "{size} bytes were handed out");
    assert!(outcome.response.tool_calls.len() <= MAX_CALLS);
    outcome
}

/// Decodes `bytes` in pieces of each of these sizes, and checks that the results are equal.
pub(crate) fn decode_in_any_pieces(protocol: Protocol, bytes: &[u8], sizes: &[&[usize]]) {
    let whole = decode(protocol, bytes, &[]);
    for sizes in sizes {
        let cut = decode(protocol, bytes, sizes);
        let is_same = cut.without_times() == whole.without_times();
        let bytes = String::from_utf8_lossy(bytes);
        assert!(is_same, "{bytes:?} in pieces of {sizes:?}: {cut:?}, not {whole:?}");
    }
}

/// Returns the streams that the tests damage, both whole and unusual ones.
pub(crate) fn seeds(protocol: Protocol) -> Vec<String> {
    let shape = Shape(protocol);
    let error = shape.error("no \u{1b}[31m", "overloaded_error").to_string();
    vec![
        shape.everything(),
        shape.whole(&["Hel", "lo"]).replace('\n', "\r\n"),
        shape.start()
            + &shape.literal(r#""\ud83d""#)
            + &shape.literal(r#""\ude00\n""#)
            + &shape.call(0, &["{}"])
            + &shape.call(7, &["{\"a\":", "[1,2]}"])
            + &shape.ending(),
        shape.start() + &shape.text("a") + &shape.event("error", &error),
        shape.unstreamed().to_string(),
        format!("\u{feff}: ping\n\nretry: 1\nid: 2\n{}error: {error}\n\n", shape.text("x")),
    ]
}

/// Pieces that the tests insert anywhere.
pub(crate) const WORDS: &[&str] = &[
    "data: ",
    "data:",
    "event: ",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    ":",
    "error: {}",
    "[DONE]",
    "null",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\ud83d",
    "\\ude00",
    "\\u0000",
    "1e999",
    "-1",
    "4000000000",
    "\u{feff}",
    "\u{0}",
    "\"error\":",
    "\"error\":{\"message\":\"x\"}",
    "\"index\":",
    "\"id\":\"\"",
    "\"finish_reason\":\"stop\"",
    "\"type\":",
    "\"delta\":",
    "\"content\":[",
    "\"usage\":",
    "\"tool_calls\":[{}]",
];
