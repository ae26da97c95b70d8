//! Bytes that come in any pieces, and what is made of them: for the property tests and the fuzzer.

use std::io::{self, Read};

use kerb_stream::{
    Environment, Error, GenerationConfig, GenerationResponse, GenerationStream, Protocol,
    StreamChunk,
};

use super::shapes::Shape;

/// Small, so that the tests meet them.
pub(crate) const MAX_EVENT: usize = 4 << 10;
pub(crate) const MAX_RESPONSE: usize = 16 << 10;
pub(crate) const MAX_CALLS: usize = 8;

/// What a program sees of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    chunks: Vec<StreamChunk>,
    pub(crate) error: Option<String>,
    response: GenerationResponse,
}

/// Decodes `bytes`, which come in pieces of these sizes over and over, and checks what must hold of
/// every stream.
pub(crate) fn decode(protocol: Protocol, bytes: &[u8], sizes: &[usize]) -> Seen {
    let config = GenerationConfig::new("m")
        .protocol(protocol)
        .environment(Environment::empty())
        .base_url("http://127.0.0.1/v1")
        .max_event_bytes(MAX_EVENT)
        .max_response_bytes(MAX_RESPONSE)
        .max_tool_calls(MAX_CALLS);
    let reader = InPieces { bytes: bytes.to_vec(), at: 0, sizes: sizes.to_vec(), reads: 0 };
    let mut stream = GenerationStream::from_reader(reader, config);
    let mut chunks: Vec<StreamChunk> = Vec::new();
    let mut error = None;
    for item in &mut stream {
        assert!(error.is_none(), "an item after an error");
        match item {
            Ok(chunk) => chunks.push(chunk),
            Err(failure) => {
                assert!(Error::of(&failure).is_some());
                let text = format!("{failure:#}");
                assert!(!text.chars().any(char::is_control) && text.len() < 4000, "{text:?}");
                error = Some(without_time(&text));
            }
        }
    }
    assert!(stream.next().is_none());

    let mut response = stream.response().clone();
    response.latency = Default::default();
    response.time_to_first_text = None;
    let size = |chunk: &StreamChunk| {
        let calls = chunk.tool_calls.iter().map(|call| call.arguments.len());
        chunk.content.len() + chunk.reasoning.len() + calls.sum::<usize>()
    };
    let size: usize = chunks.iter().map(size).sum();
    assert!(size <= MAX_RESPONSE, "{size} bytes were handed out");
    assert!(response.tool_calls.len() <= MAX_CALLS);
    let text: String = chunks.iter().map(|chunk| chunk.content.as_str()).collect();
    // A chunk that is too much is folded, and not handed out.
    assert!(response.content.starts_with(&text) && (error.is_some() || response.content == text));
    Seen { chunks, error, response }
}

/// How long it took is another thing each time.
fn without_time(text: &str) -> String {
    let (before, rest) = text.split_once("after ").unwrap_or((text, ""));
    let rest = rest.split_once(" s").map_or(rest, |(_, rest)| rest);
    format!("{before}{rest}")
}

struct InPieces {
    bytes: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    reads: usize,
}

impl Read for InPieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = match self.sizes.as_slice() {
            [] => usize::MAX,
            sizes => sizes[self.reads % sizes.len()].max(1),
        };
        self.reads += 1;
        let rest = &self.bytes[self.at..];
        let size = size.min(rest.len()).min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        self.at += size;
        Ok(size)
    }
}

/// Streams to begin with, whole and odd.
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

/// Pieces to put in anywhere.
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
