//! Limits on the size of an event, the size of a response and the number of its tool calls.

use std::io::Cursor;

use kerb_stream::{ErrorKind, GenerationConfig, GenerationStream, Protocol};

use crate::support::Outcome;
use crate::support::bytes::{MAX_EVENT, MAX_RESPONSE, decode};
use crate::support::shapes::Shape;

const CHAT: Shape = Shape(Protocol::ChatCompletions);

/// Returns `count` tool calls, each with its own id.
fn calls(shape: Shape, count: u64) -> String {
    let call = |n| shape.call(n, &["{}"]).replace("\"t\"", &format!("\"t{n}\""));
    (0..count).map(call).collect()
}

/// Checks that a body of this protocol ends at its limit. Returns the error message.
fn limited(
    protocol: Protocol,
    body: String,
    limit: fn(GenerationConfig) -> GenerationConfig,
) -> String {
    let config = limit(GenerationConfig::default().protocol(protocol));
    let outcome = Outcome::of(GenerationStream::from_reader(Cursor::new(body), config));
    let error = outcome.failure();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    error.to_string()
}

#[test]
fn what_a_server_can_grow_is_limited() {
    use Protocol::{ChatCompletions, Messages};
    let long = CHAT.text(&"x".repeat(100));
    let thought = Shape(Messages).event(
        "",
        r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"x"}}"#,
    );
    let message = limited(ChatCompletions, long.clone(), |config| config.max_event_bytes(100));
    assert!(message.contains("max_event_bytes"), "{message}");
    let message = limited(ChatCompletions, calls(CHAT, 3), |config| config.max_tool_calls(2));
    assert!(message.contains("max_tool_calls"), "{message}");
    for (protocol, body) in [
        (ChatCompletions, long.repeat(3)),
        // The limit also counts the names of calls, and replay data, which makes no chunk.
        (ChatCompletions, calls(CHAT, 100)),
        (Messages, thought.repeat(9)),
        // A refusal is stored twice, so it counts twice.
        (ChatCompletions, CHAT.text(&"x".repeat(130)).replace("content", "refusal")),
    ] {
        let message = limited(protocol, body, |config| config.max_response_bytes(250));
        assert!(message.contains("max_response_bytes"), "{message}");
    }
}

#[test]
fn a_limit_that_is_passed_after_the_finish_reason_comes_through() {
    let begun = CHAT.call(0, &["{}"]) + &CHAT.stop();
    let body = begun + &calls(CHAT, 4) + &CHAT.ending();
    limited(Protocol::ChatCompletions, body, |config| config.max_tool_calls(2));
    let late = CHAT.text("Hi") + &CHAT.stop() + "data: " + &"x".repeat(2000);
    limited(Protocol::ChatCompletions, late, |config| config.max_event_bytes(1000));
}

/// Data that grows without end meets a limit, or is not stored (comments, stray lines).
#[test]
fn everything_that_a_server_can_grow_has_a_limit() {
    for &protocol in Protocol::ALL {
        let shape = Shape(protocol);
        let many = 4 * MAX_RESPONSE;
        let text = shape.text("0123456789abcdef").repeat(many / 8);
        let reasoning = shape.reasoning("0123456789abcdef").repeat(many / 8);
        for (grows, bytes, says) in [
            ("a line", format!("data: {}", "x".repeat(2 * MAX_EVENT)), Some("max_event_bytes")),
            ("an event", "data: x\n".repeat(MAX_EVENT), Some("max_event_bytes")),
            ("a comment", format!(":{}\n", "x".repeat(many)), None),
            ("comments", ": x\n".repeat(many), None),
            ("stray lines", "stray\n".repeat(many), None),
            ("text", text, Some("max_response_bytes")),
            ("reasoning", reasoning, Some("max_response_bytes")),
            ("calls", calls(shape, 20), Some("max_tool_calls")),
        ] {
            let error = decode(protocol, bytes.as_bytes(), &[]).failure().to_string();
            let fits = says.is_none_or(|says| error.contains(says));
            assert!(fits, "{grows}, {protocol}: {error}");
        }
    }
}
