//! The stall limit ends a stream that brings no new content for the caller.

use std::io::{Cursor, Read};
use std::time::{Duration, Instant};
use std::{iter, thread};

use kerb_stream::{ErrorKind, GenerationConfig, GenerationStream, Protocol};

use Protocol::{ChatCompletions, GenerateContent, Messages, Responses};

use crate::support::Outcome;
use crate::support::reader::{Pieces, dripping};
use crate::support::shapes::Shape;

const CHAT: Shape = Shape(ChatCompletions);
/// The limit of most streams here.
const LIMIT: Duration = Duration::from_millis(150);

/// Reads `body`, then `again` once a millisecond for much longer than the limits here.
fn stalling(
    config: GenerationConfig,
    body: impl Into<Vec<u8>>,
    again: impl Into<Vec<u8>>,
) -> Outcome {
    let again = again.into();
    let size = 800 * again.len() as u64;
    let body = Cursor::new(body.into()).chain(dripping(again).take(size));
    Outcome::of(GenerationStream::from_reader(body, config))
}

fn config(protocol: Protocol, limit: Duration) -> GenerationConfig {
    GenerationConfig::default().protocol(protocol).stall_timeout(limit)
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// The limit also works while events arrive so fast that the stream hardly ever waits for a read.
#[test]
fn counts_of_tokens_that_come_without_a_pause_are_no_answer() {
    let counts = event(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#);
    let begun = Instant::now();
    let pieces = iter::from_fn(move || {
        (begun.elapsed() < Duration::from_secs(10)).then(|| counts.repeat(1000))
    });
    let body = Cursor::new(CHAT.text("Hi")).chain(Pieces::new(pieces));
    let config = config(ChatCompletions, LIMIT);
    let last = GenerationStream::from_reader(body, config).last().unwrap();
    assert_eq!(ErrorKind::of(&last.unwrap_err()), Some(ErrorKind::Timeout));
}

/// After a finish reason that may not be final, silence does not end the response. The stream times
/// out.
#[test]
fn silence_is_the_end_only_of_an_answer_that_is_settled() {
    let code = r#"{"executableCode":{"code":"1"}}"#;
    let stop = |parts: &str| {
        event(&format!(
            r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":"STOP"}}]}}"#
        ))
    };
    let hi = r#"{"text":"Hi"}"#;
    for (protocol, body, whole) in [
        (ChatCompletions, CHAT.text("Hi") + &CHAT.stop(), true),
        (ChatCompletions, CHAT.stop(), false),
        (ChatCompletions, CHAT.reasoning("Hm") + &CHAT.stop(), false),
        (GenerateContent, stop(hi), true),
        (GenerateContent, stop(""), false),
        (GenerateContent, stop(&format!("{hi},{code}")), false),
        // Google's own tool was at work, so more rounds may follow.
        (GenerateContent, stop(&format!("{code},{hi}")), false),
        // Without text, even a finish reason like `length` may not be final.
        (ChatCompletions, CHAT.reasoning("Hm") + &CHAT.stop_for("length"), false),
        (GenerateContent, stop("").replace("STOP", "OTHER"), false),
        (ChatCompletions, CHAT.text("Hi") + &CHAT.stop_for("length"), true),
    ] {
        let outcome = stalling(config(protocol, LIMIT), &*body, ": ping\n");
        assert_eq!(outcome.kind(), (!whole).then_some(ErrorKind::Timeout), "{body}");
    }
}

#[test]
fn pings_after_the_finish_reason_do_not_destroy_a_whole_answer() {
    let impatient = config(ChatCompletions, LIMIT);
    let whole = CHAT.text("Hi") + &CHAT.stop();
    assert_eq!(stalling(impatient.clone(), whole, ": ping\n").whole().content, "Hi");
    let outcome = stalling(impatient, CHAT.text("Hi"), ": ping\n");
    assert_eq!(outcome.kind(), Some(ErrorKind::Timeout));
    assert!(outcome.message().contains("stall_timeout"), "{}", outcome.message());
}

#[test]
fn only_what_a_caller_reads_keeps_a_stream_from_stalling() {
    let impatient = config(ChatCompletions, LIMIT);
    let usage = r#"{"choices":[],"usage":{"total_tokens":1}}"#;
    let call =
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}}]}"#;
    let nothing =
        r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":""}]}}]}"#;
    for repeated in [usage, call, nothing] {
        let outcome = stalling(impatient.clone(), CHAT.text("Hi"), event(repeated));
        assert_eq!(outcome.kind(), Some(ErrorKind::Timeout), "{repeated}");
        assert!(outcome.message().contains("stall_timeout"), "{}", outcome.message());
    }
    let finished = stalling(impatient, CHAT.text("Hi"), CHAT.stop());
    assert_eq!(finished.whole().content, "Hi");
    // Events of the provider's own tools count as progress. Other events without content do not.
    for (protocol, repeated, stalls) in [
        (
            Messages,
            r#"{"type":"content_block_start","content_block":{"type":"server_tool_use","name":"s"}}"#,
            false,
        ),
        (
            Messages,
            r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":""}}"#,
            true,
        ),
        (Responses, r#"{"type":"response.output_item.added","item":{"type":"reasoning"}}"#, true),
        (Responses, r#"{"type":"response.web_search_call.searching"}"#, false),
        (
            GenerateContent,
            r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"x"}]}}]}"#,
            true,
        ),
        (
            GenerateContent,
            r#"{"candidates":[{"content":{"parts":[{"executableCode":{"code":"1"}}]}}]}"#,
            false,
        ),
    ] {
        let outcome = stalling(config(protocol, LIMIT), "", event(repeated));
        // A stream that does not stall is read to its end, and has no finish reason there.
        let expected = if stalls { ErrorKind::Timeout } else { ErrorKind::Incomplete };
        assert_eq!(outcome.kind(), Some(expected), "{repeated}");
        assert!(outcome.time > LIMIT, "{repeated}: {:?}", outcome.time);
    }

    // The time that the caller takes between two chunks does not count.
    let counts = Cursor::new(event(usage)).chain(Cursor::new(event(usage)));
    let whole = Cursor::new(CHAT.text("Hi")).chain(counts).chain(Cursor::new(CHAT.stop()));
    let config = config(ChatCompletions, Duration::from_millis(500));
    let mut stream = GenerationStream::from_reader(whole, config);
    assert_eq!(stream.next().unwrap().unwrap().content, "Hi");
    for _ in 0..2 {
        assert!(stream.next().unwrap().unwrap().usage.is_some());
        thread::sleep(Duration::from_millis(600));
    }
    assert_eq!(stream.into_response().unwrap().content, "Hi");
}
