//! Whatever JSON a server sends, a stream takes at most a few times the memory of the event, or
//! ends at a limit. Each case is measured as the peak memory of its own process.
//!
//! This is a test program of its own, because a program with all tests would need more memory
//! before its first event. Its processes also use every core for a while, which would disturb tests
//! that measure time.

#![cfg(target_os = "linux")]
#![cfg(test)] // Clippy treats helpers as tests too, so they may unwrap (clippy.toml).

use std::process::Command;
use std::sync::Mutex;
use std::{iter, thread};

use kerb_stream::{Error, ErrorKind, GenerationConfig, GenerationStream, Protocol};

#[path = "support/reader.rs"]
mod reader;

use reader::Pieces;

/// The variable that names the shape for a child process.
const SHAPE: &str = "KERB_STREAM_SHAPE";

/// The size of an event, in bytes. The limits are larger in the same proportion as the default
/// limits are above 31 MB. It nearly fills a buffer that grows by doubling, so that spare capacity
/// does not count.
const EVENT: usize = 4_190_000;
const MAX_EVENT: usize = EVENT + EVENT / 20;
const MAX_RESPONSE: usize = 2 * MAX_EVENT;

/// The allowed bytes beside the multiple of the event and the memory before the first byte. About
/// 2.7 MB of this is the program itself, which is loaded as it runs.
const BASE: usize = 3_500_000;

/// The pieces of a body.
type Body = Box<dyn Iterator<Item = String> + Send>;

/// The approximate length of a piece, in bytes.
const PIECE: usize = 4 << 10;

/// Returns one event: `before`, as many `unit`s as fit, and `after`.
fn event(before: &'static str, unit: &'static str, after: &'static str) -> Body {
    let count = (EVENT - before.len() - after.len()) / unit.len();
    let units = repeated(unit, count);
    let before = iter::once(format!("data: {before}"));
    Box::new(before.chain(units).chain(iter::once(format!("{after}\n\n"))))
}

/// Returns `count` repetitions of `unit`.
fn repeated(unit: &'static str, count: usize) -> Body {
    let each = PIECE.div_ceil(unit.len());
    Box::new((0..count).step_by(each).map(move |at| unit.repeat(each.min(count - at))))
}

/// Returns the same JSON as a document that is not a stream.
fn document(before: &'static str, unit: &'static str, after: &'static str) -> Body {
    let mut event = event(before, unit, after);
    event.next();
    Box::new(iter::once(before.to_owned()).chain(event))
}

/// Returns many small events with twice the bytes of one large event. Each has its own number.
fn events(event: &'static str) -> Body {
    let count = 2 * EVENT / event.len();
    let event =
        move |number| format!("data: {}\n\n", event.replace("NUMBER", &format!("{number}")));
    let each = PIECE.div_ceil(event(0).len());
    let piece = move |first| (first..count.min(first + each)).map(event).collect();
    Box::new((0..count).step_by(each).map(piece))
}

fn text(text: &str) -> Body {
    Box::new(iter::once(text.to_owned()))
}

const DONE: &str = "data: [DONE]\n\n";

fn shapes() -> Vec<(&'static str, Protocol, Vec<Body>)> {
    use Protocol::{ChatCompletions as Chat, CohereChat, GenerateContent, Messages, Responses};
    let delta = |field: &'static str, unit: &'static str| {
        let before = match field {
            "details" => r#"{"choices":[{"delta":{"reasoning_details":["#,
            "calls" => r#"{"choices":[{"delta":{"tool_calls":["#,
            _ => r#"{"choices":[{"delta":{"content":["#,
        };
        event(before, unit, "0]}}]}")
    };
    let block = |unit| {
        event(r#"{"type":"content_block_start","content_block":{"type":"x","v":["#, unit, r#"0]}}"#)
    };
    let parts = |unit| {
        event(
            r#"{"candidates":[{"content":{"parts":["#,
            unit,
            r#"{"text":"a"}]},"finishReason":"STOP"}]}"#,
        )
    };
    let whole = |unit| {
        event(r#"{"type":"response.completed","response":{"output":["#, unit, r#"{"type":"x"}]}}"#)
    };
    let words = |before: &'static str| event(before, "word ", r#""}}]}"#);
    let content = r#"{"choices":[{"delta":{"content":""#;
    vec![
        ("numbers for details", Chat, vec![delta("details", "0,"), text(DONE)]),
        ("objects for details", Chat, vec![delta("details", r#"{"a":0},"#), text(DONE)]),
        ("details again", Chat, vec![delta("details", "0,"), delta("details", "{},"), text(DONE)]),
        ("numbers for calls", Chat, vec![delta("calls", "0,"), text(DONE)]),
        (
            "one call again and again",
            Chat,
            vec![delta("calls", r#"{"id":"a","function":{"name":"f"}},"#), text(DONE)],
        ),
        (
            "a call in small pieces",
            Chat,
            vec![
                delta("calls", r#"{"index":0,"function":{"name":"f","arguments":"x"}},"#),
                text(DONE),
            ],
        ),
        ("numbers for contents", Chat, vec![delta("content", "0,"), text(DONE)]),
        ("a deep content", Chat, vec![delta("content", "["), text(DONE)]),
        ("contents in contents", Chat, vec![delta("content", r#"[{"thinking":"#), text(DONE)]),
        ("text", Chat, vec![words(content), text(DONE)]),
        ("escaped text", Chat, vec![event(content, r"\u00e9", r#""}}]}"#), text(DONE)]),
        ("an error", Chat, vec![event(r#"{"error":{"message":""#, r"sk-12345 x\n", r#""}}"#)]),
        ("an error of objects", Chat, vec![event(r#"{"error":["#, "{},", "0]}")]),
        (
            "an error of errors",
            Chat,
            vec![event(r#"{"error":{"details":["#, r#"{"violations":[{"quotaId":"a"}]},"#, "0]}}")],
        ),
        ("an error that is no JSON", Chat, vec![event("{\"error\":", "<title>", "\\u0000")]),
        (
            "an error in an event of its name",
            Chat,
            vec![text("event: error\n"), event("", "data: {}\ndata: ", "")],
        ),
        (
            "one name again and again",
            Chat,
            vec![
                events(
                    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]}}]}"#,
                ),
                text(DONE),
            ],
        ),
        (
            "a name that grows",
            Chat,
            vec![
                events(
                    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"NUMBER"}}]}}]}"#,
                ),
                text(DONE),
            ],
        ),
        ("a block of numbers", Messages, vec![block("0,")]),
        ("blocks of objects", Messages, vec![block("{},"), block(r#"{"a":0},"#)]),
        (
            "a thought that comes whole",
            Messages,
            vec![
                event(
                    r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":""#,
                    "word ",
                    r#""}}"#,
                ),
                text("data: {\"type\":\"content_block_stop\"}\n\n"),
            ],
        ),
        (
            "an unstreamed thought",
            Messages,
            vec![document(
                r#"{"type":"message","stop_reason":"end_turn","content":[{"type":"thinking","thinking":""#,
                r"w\nrd ",
                r#"","signature":"s"},{"type":"text","text":"a"}]}"#,
            )],
        ),
        (
            "an input of numbers",
            Messages,
            vec![
                text(concat!(
                    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"x"}}"#,
                    "\n\n"
                )),
                event(
                    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"["#,
                    "0,",
                    r#"0]"}}"#,
                ),
                text("data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"),
            ],
        ),
        (
            "blocks that never end",
            Messages,
            vec![events(
                r#"{"type":"content_block_start","index":NUMBER,"content_block":{"type":"x"}}"#,
            )],
        ),
        (
            "small blocks",
            Messages,
            vec![repeated(
                r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"x"}}

data: {"type":"content_block_stop","index":0}

"#,
                EVENT / 100,
            )],
        ),
        ("parts", GenerateContent, vec![parts(r#"{"z":0},"#)]),
        ("parts of numbers", GenerateContent, vec![parts(r#"{"z":[0,0,0,0,0,0,0,0]},"#)]),
        ("signed parts", GenerateContent, vec![parts(r#"{"text":"a","thoughtSignature":"s"},"#)]),
        ("small calls", GenerateContent, vec![parts(r#"{"functionCall":{"name":"f"}},"#)]),
        (
            "a deep path",
            GenerateContent,
            vec![event(
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","willContinue":true,"partialArgs":[{"jsonPath":"$"#,
                ".a",
                r#"","stringValue":"x"}]}}]}}]}"#,
            )],
        ),
        (
            "items",
            Responses,
            vec![events(
                r#"{"type":"response.output_item.added","output_index":NUMBER,"item":{"type":"x"}}"#,
            )],
        ),
        ("a whole of items", Responses, vec![whole(r#"{"type":"x"},"#)]),
        (
            "a whole of texts",
            Responses,
            vec![whole(r#"{"type":"message","content":[{"text":"a"}]},"#)],
        ),
        (
            "a message of parts",
            Responses,
            vec![event(
                r#"{"type":"response.completed","response":{"output":[{"type":"message","content":["#,
                r#"{"text":""},"#,
                r#"{"text":"a"}]}]}}"#,
            )],
        ),
        (
            "short thoughts",
            CohereChat,
            vec![events(
                r#"{"type":"content-start","delta":{"message":{"content":{"type":"thinking","thinking":"a"}}}}"#,
            )],
        ),
        (
            "calls",
            CohereChat,
            vec![events(
                r#"{"type":"tool-call-start","index":9223372036854775808,"delta":{"message":{"tool_calls":{"id":"tNUMBER","function":{"name":"f"}}}}}"#,
            )],
        ),
        (
            "citations",
            Chat,
            vec![event(
                r#"{"choices":[{"delta":{"annotations":["#,
                r#"{"url":"a"},"#,
                r#"{"url":"b"}]},"finish_reason":"stop"}]}"#,
            )],
        ),
        (
            "citations of other pages",
            Chat,
            vec![
                events(
                    r#"{"choices":[{"delta":{"annotations":[{"url":"NUMBER","end_index":9}]}}]}"#,
                ),
                text(DONE),
            ],
        ),
        (
            "found pages",
            Chat,
            vec![event(r#"{"search_results":["#, r#"{"url":"a"},"#, r#"0],"choices":[]}"#)],
        ),
        ("cited pages", Chat, vec![event(r#"{"citations":["#, r#""a","#, r#"0],"choices":[]}"#)]),
        (
            "probable tokens",
            Chat,
            vec![event(r#"{"choices":[{"logprobs":{"content":["#, r#"{"logprob":0},"#, "0]}}]}")],
        ),
        (
            "other tokens",
            Responses,
            vec![event(
                r#"{"type":"response.output_text.delta","delta":"a","logprobs":[{"top_logprobs":["#,
                r#"{"logprob":0},"#,
                "0]}]}",
            )],
        ),
        (
            "annotations",
            Responses,
            vec![events(
                r#"{"type":"response.output_text.annotation.added","annotation":{"file_id":"NUMBER"}}"#,
            )],
        ),
        (
            "a result of numbers",
            Responses,
            vec![event(
                r#"{"type":"response.output_item.done","item":{"type":"x_call","output":["#,
                "0,",
                "0]}}",
            )],
        ),
        (
            "found files",
            Responses,
            vec![event(
                r#"{"type":"response.output_item.done","item":{"type":"x_call","results":["#,
                r#"{"title":"a"},"#,
                "0]}}",
            )],
        ),
        (
            "citations of a text",
            Messages,
            vec![
                text(
                    "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n",
                ),
                events(
                    r#"{"type":"content_block_delta","delta":{"type":"citations_delta","citation":{"url":"NUMBER"}}}"#,
                ),
            ],
        ),
        (
            "found pages of a search",
            Messages,
            vec![
                event(
                    r#"{"type":"content_block_start","content_block":{"type":"x_tool_result","content":["#,
                    r#"{"url":"a"},"#,
                    "0]}}",
                ),
                text("data: {\"type\":\"content_block_stop\"}\n\n"),
            ],
        ),
        (
            "searches",
            GenerateContent,
            vec![event(
                r#"{"candidates":[{"groundingMetadata":{"webSearchQueries":["#,
                r#""a","#,
                "0]}}]}",
            )],
        ),
        (
            "grounded claims",
            GenerateContent,
            vec![event(
                r#"{"candidates":[{"groundingMetadata":{"groundingChunks":[{"web":{"uri":"a"}}],"groundingSupports":["#,
                r#"{"groundingChunkIndices":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},"#,
                "0]}}]}",
            )],
        ),
        (
            "grounds",
            GenerateContent,
            vec![event(
                r#"{"candidates":[{"groundingMetadata":{"groundingChunks":["#,
                r#"{"web":{"uri":"a"}},"#,
                "0]}}]}",
            )],
        ),
        (
            "cited documents",
            CohereChat,
            vec![event(
                r#"{"type":"citation-start","delta":{"message":{"citations":{"sources":["#,
                r#"{"id":"a"},"#,
                "0]}}}}",
            )],
        ),
        ("a list in place of a stream", Chat, vec![document("[", "0,", "0]")]),
        (
            "a list of objects in place of a stream",
            GenerateContent,
            vec![document("[", "{},", "{}]")],
        ),
        (
            "an answer that is not streamed",
            Chat,
            vec![document(r#"{"choices":[{"message":{"content":""#, "word ", r#""}}]}"#)],
        ),
        ("stray lines", Chat, vec![words(content), repeated("xxxxxxxx: y\n", EVENT / 12)]),
        ("empty data lines", Chat, vec![repeated("data:\n", EVENT / 6)]),
        ("line ends", Chat, vec![repeated("\r", EVENT)]),
        ("empty events", Chat, vec![repeated("data\n\n", EVENT / 6)]),
        (
            "a name of an event",
            Chat,
            vec![text("event: "), repeated("x", EVENT), text("\ndata: {}\n\n")],
        ),
    ]
}

#[test]
fn no_shape_of_json_takes_more_memory_than_a_few_times_the_event() {
    if let Ok(name) = std::env::var(SHAPE) {
        println!("peak {}", read(&name));
        return;
    }
    let names = Mutex::new(shapes().into_iter().map(|(name, ..)| name));
    let failures = Mutex::new(Vec::new());
    let next = || names.lock().unwrap().next();
    let work = || {
        while let Some(name) = next() {
            // The system's count varies by half a megabyte, so a large peak is measured again.
            let is_small = |(peak, _): &(usize, String)| *peak <= 4 * EVENT + BASE;
            let (peak, kind) =
                (0..2).map(|_| peak(name)).find(is_small).unwrap_or_else(|| peak(name));
            println!("{name}: {:.1} MB, {kind}", peak as f64 / 1e6);
            if peak > 4 * EVENT + BASE {
                failures.lock().unwrap().push(format!("{name}: {peak} bytes, {kind}"));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, Into::into) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Returns the peak memory of a process that reads a shape, and how the stream ends.
fn peak(name: &str) -> (usize, String) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("no_shape_of_json_takes_more_memory_than_a_few_times_the_event")
        .env(SHAPE, name)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&out.stdout);
    let (_, rest) = told.split_once("peak ").unwrap_or_else(|| panic!("{name}: {out:?}"));
    let (peak, kind) = rest.split_once(' ').unwrap();
    (peak.parse().unwrap(), kind.lines().next().unwrap().to_owned())
}

/// Reads one shape. Returns the peak memory of this process, less the memory before, in bytes, and
/// the error.
fn read(name: &str) -> String {
    let (_, protocol, pieces) = shapes().into_iter().find(|(known, ..)| *known == name).unwrap();
    let config = GenerationConfig::default()
        .protocol(protocol)
        .max_event_bytes(MAX_EVENT)
        .max_response_bytes(MAX_RESPONSE);
    let body = Pieces::new(pieces.into_iter().flatten());
    let bytes = |field: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let told = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        told.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
    };
    let before = bytes("VmRSS:");
    let end = GenerationStream::from_reader(body, config).find_map(Result::err);
    let kind = end.as_ref().map(|error| Error::of(error).unwrap().kind());
    assert_ne!(kind, Some(ErrorKind::Config));
    format!("{} {kind:?}", bytes("VmHWM:").saturating_sub(before))
}
