//! Faults in the events of a stream.

use kerb_stream::ErrorKind::{Decode, Incomplete, Limit, Timeout};
use kerb_stream::Protocol::{ChatCompletions, CohereChat, GenerateContent, Messages, Responses};
use kerb_stream::{FinishReason, terminal_safe};
use serde_json::{Value, json};

use super::server::{Scripted, Then, hello, two};
use super::{Fault, MARKED, OPENAI, TWO, fault, short_stall, small_events};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault("F113", "A data line never ends; its bytes are kept, so a size limit applies", |s| {
            s.endless_body("data: ", "x")
        })
        .set(small_events)
        .fails(Limit, "max_event_bytes"),
        fault(
            "F114",
            "A comment never ends; its bytes are not kept, so only a time limit applies",
            |s| s.endless_body(":", "x"),
        )
        .set(short_stall)
        .fails(Timeout, "stall_timeout"),
        fault("F116", "The stream has 100,000 tiny events without text", |s| {
            let events = "data: {\"choices\":[]}\n\n".repeat(500);
            s.head("")?;
            for _ in 0..200 {
                s.chunk(&events)?;
            }
            s.chunk(s.shape.ending())?;
            s.end()
        })
        .variant("n=100000")
        .on(OPENAI)
        .takes(0, 15_000),
        fault("F117", "The data lines of one event never end", |s| s.endless_body("", "data: x\n"))
            .set(small_events)
            .fails(Limit, "max_event_bytes"),
        fault("F118", "The two halves of a surrogate pair come in two events", |s| {
            let halves = s.shape.literal(r#""\ud83d""#) + &s.shape.literal(r#""\ude00""#);
            s.among(s.shape.text("ok ") + &halves + &s.shape.text(" after"))
        })
        .gives("ok 😀 after"),
        fault("F119", "JSON is nested 100,000 levels deep, in an unused field", |s| {
            let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
            let choices = r#"[{"index":0,"delta":{"content":"b"}}]"#;
            let deep = format!("{{\"x\":{open}{close},\"choices\":{choices}}}");
            s.among(s.shape.text("a") + &s.shape.event("", &deep) + &s.shape.text("c"))
        })
        .variant("n=100000")
        .on(OPENAI)
        .gives("abc"),
        fault("F120", "A JSON key occurs twice", |s| {
            s.among(
                s.shape.event(
                    "",
                    match s.shape.0 {
                        Messages => {
                            r#"{"type":"content_block_delta","index":0,"index":0,
                    "delta":{"type":"text_delta","text":"first","text":"second"}}"#
                        }
                        _ => {
                            r#"{"id":"c1","id":"c2",
                    "choices":[{"index":0,"delta":{"content":"first","content":"second"}}]}"#
                        }
                    }
                    .replace('\n', " ")
                    .as_str(),
                ),
            )
        })
        .on(&[ChatCompletions, Messages])
        .gives("second"),
        fault("F121", "The JSON of an event is truncated", |s| {
            let torn = s.shape.event("", r#"{"choices":[{"index":0,"delta":{"content":"torn"#);
            s.among(s.shape.text("before ") + &torn + &s.shape.text("after"))
        })
        .gives("before ")
        .fails(Decode, "cannot be read: \"{\\\"choices\\\""),
        fault("F122", "Events are null, a list, a number, a string, true and {}", |s| {
            let values = ["null", "[]", "42", "\"text\"", "true", "{}"];
            let events: String = values.iter().map(|value| s.shape.event("", value)).collect();
            s.among(s.shape.text("a") + &events + &s.shape.text("b"))
        })
        .gives("ab"),
        fault("F123", "Some fields are missing, others are unknown", |s| {
            let events = match s.shape.0 {
                Messages => future_messages(),
                _ => future_chat_completions(),
            };
            let events: String =
                events.iter().map(|event| s.shape.event("", &event.to_string())).collect();
            s.stream(events + &s.shape.ending())
        })
        .on(&[ChatCompletions, Messages])
        .gives("ab"),
        fault("F124", "A value has the wrong type: `content` is a number", |s| {
            before_the_end(s, r#"{"choices":[{"index":0,"delta":{"content":42}}]}"#)
        })
        .variant("i=0")
        .on(OPENAI)
        .gives(" end"),
        fault("F124", "A value has the wrong type: `choices` is null", |s| {
            before_the_end(s, r#"{"choices":null}"#)
        })
        .variant("i=1")
        .on(OPENAI)
        .gives(" end"),
        fault("F124", "A value has the wrong type: `choices` is an object", |s| {
            before_the_end(s, r#"{"choices":{"index":0}}"#)
        })
        .variant("i=5")
        .on(OPENAI)
        .gives(" end"),
        fault("F124", "A value has the wrong type: `choices` contains null", |s| {
            before_the_end(s, r#"{"choices":[null]}"#)
        })
        .variant("i=6")
        .on(OPENAI)
        .gives(" end"),
        fault("F125", "The end marker comes twice", |s| {
            s.stream(two(s.shape) + &s.shape.ending() + &s.shape.done())
        })
        .on(MARKED)
        .gives(TWO),
        fault("F126", "Data comes after the end marker", |s| {
            s.head("")?;
            s.chunk(two(s.shape) + &s.shape.ending() + &s.shape.text("ghost"))?;
            s.chunk(b"data: \xff\xfe torn\n\n")?;
            s.end()
        })
        .on(MARKED)
        .gives(TWO),
        fault("F127", "[DONE] with spaces around it", |s| done(s, "data:   [DONE]  \n\n"))
            .on(OPENAI)
            .gives(TWO),
        fault("F127", "[DONE] without a space before it", |s| done(s, "data:[DONE]\n\n"))
            .variant("v=tight")
            .on(OPENAI)
            .gives(TWO),
        fault("F127", "[DONE] with an empty data line after it", |s| {
            done(s, "data: [DONE]\ndata: \n\n")
        })
        .variant("v=nl")
        .on(OPENAI)
        .gives(TWO),
        fault("F127", "[DONE] in quotes, after the finish reason", |s| {
            done(s, "data: \"[DONE]\"\n\n")
        })
        .variant("v=quote")
        .on(OPENAI)
        .gives(TWO),
        fault("F127", "[done], after the finish reason", |s| done(s, "data: [done]\n\n"))
            .variant("v=case")
            .on(OPENAI)
            .gives(TWO),
        fault("F127", "[DONE] with more text, after the finish reason", |s| {
            done(s, "data: [DONE] bye\n\n")
        })
        .variant("v=tail")
        .on(OPENAI)
        .gives(TWO),
        fault("F128", "The stream has a finish reason, but no end marker", |s| {
            s.stream(two(s.shape) + &s.shape.stop())
        })
        .gives(TWO)
        .also("the finish reason is `Stop`", |seen| {
            seen.response.finish_reason == Some(FinishReason::Stop)
        }),
        fault("F128", "The stream has a plain stop before any content, and no end marker", |s| {
            s.stream(s.shape.start() + &s.shape.stop())
        })
        .variant("v=nothing")
        .on(&[ChatCompletions, Messages, GenerateContent])
        .fails(Incomplete, "a finish reason before the text and no end marker")
        .requests(3),
        fault("F129", "The stream has an end marker, but no finish reason and no usage", |s| {
            s.stream(two(s.shape) + &s.shape.done())
        })
        .on(OPENAI)
        .gives(TWO)
        .fails(Incomplete, "no finish reason and no usage came"),
        fault("F129", "The end event has no finish reason", |s| {
            s.stream(two(s.shape) + &s.shape.done())
        })
        .on(&[Messages])
        .gives(TWO)
        .also("the finish reason is `None`", |seen| seen.response.finish_reason.is_none()),
        fault("F130", "The text has an escaped NUL", |s| {
            s.among(s.shape.literal(r#""a\u0000b""#) + &s.shape.text(" end"))
        })
        .gives("a\0b end"),
        fault("F130", "The text has an unescaped NUL, which JSON forbids", |s| {
            s.among(s.shape.literal("\"a\0b\"") + &s.shape.text(" end"))
        })
        .variant("v=raw")
        .fails(Decode, "cannot be read"),
        fault("F131", "The text has control characters", |s| {
            let wild = r#""\u001b[31mred\u001b]0;pwned\u0007\u202e\u0008\u0008""#;
            s.among(s.shape.literal(wild) + &s.shape.text(" end"))
        })
        .gives("\u{1b}[31mred\u{1b}]0;pwned\u{7}\u{202e}\u{8}\u{8} end")
        .also(
            "the characters are unchanged, and `terminal_safe` makes them visible",
            |seen| {
                let safe = terminal_safe(&seen.text()).to_string();
                !safe.contains(|c: char| c.is_control() || c == '\u{202e}')
                    && safe.contains('␛')
                    && safe.ends_with(" end")
            },
        ),
        fault("F132", "Each byte comes in its own packet", |s| {
            s.head("")?;
            for byte in s.shape.whole(&[EMOJI]).bytes() {
                s.chunk([byte])?;
            }
            s.end()
        })
        .gives(EMOJI),
        fault("F133", "The text has bytes that are not UTF-8", |s| {
            let whole = s.shape.whole(&["a", "caf@1 @2", " end"]);
            let (before, rest) = whole.split_once("@1").unwrap();
            let (middle, after) = rest.split_once("@2").unwrap();
            let (before, middle, after) = (before.as_bytes(), middle.as_bytes(), after.as_bytes());
            s.stream([before, b"\xe9", middle, b"\xff\xf0\x9f", after].concat())
        })
        .gives("acaf\u{fffd} \u{fffd}\u{fffd} end"),
        fault("F134", "The stream starts with a byte order mark", |s| {
            s.stream("\u{feff}".to_owned() + &hello(s.shape))
        })
        .gives("Hello"),
        fault("F135", "CR and LF come in two HTTP chunks", |s| {
            let body = s.shape.whole(&["Hel", "lo"]).replace('\n', "\r\n");
            s.head("")?;
            for piece in body.split_inclusive('\r') {
                s.chunk(piece)?;
            }
            s.end()
        })
        .gives("Hello"),
        fault("F136", "Lines end in CR", |s| s.stream(hello(s.shape).replace('\n', "\r")))
            .gives("Hello"),
        fault("F137", "A tool call has the index 4,000,000,000", |s| {
            s.among(s.shape.call(4_000_000_000, &["{}"]))
        })
        .on(&[ChatCompletions, Messages, Responses, CohereChat])
        .also("the response has one call", |seen| seen.response.tool_calls.len() == 1),
        fault("F138", "Usage has numbers that are negative or too large", |s| {
            let total = "123456789012345678901234567890";
            let usage = r#""prompt_tokens":-1,"completion_tokens":1e999,"total_tokens":"#;
            let usage = format!("{{\"choices\":[],\"usage\":{{{usage}{total}}}}}");
            let answer = s.shape.start() + &s.shape.text("a") + &s.shape.stop();
            s.stream(answer + &s.shape.event("", &usage) + &s.shape.done())
        })
        .on(OPENAI)
        .gives("a"),
        fault("F139", "The finish reason is unknown", |s| {
            s.stream(two(s.shape) + &s.shape.stop_for("quantum_collapse") + &s.shape.done())
        })
        .on(&[ChatCompletions, Messages, GenerateContent, CohereChat])
        .gives(TWO)
        .also(
            "the finish reason is `Other`, and `raw_finish_reason` has the provider's value",
            |seen| {
                seen.response.finish_reason == Some(FinishReason::Other)
                    && seen.response.raw_finish_reason.as_deref() == Some("quantum_collapse")
            },
        ),
        fault("F140", "The stream has several choices", |s| {
            let choice = |index, text| {
                let choice = json!({"index": index, "delta": {"content": text}});
                s.shape.event("", &json!({"choices": [choice]}).to_string())
            };
            let both = choice(1, "B1") + &choice(0, "A1") + &choice(1, "B2") + &choice(0, "A2");
            let other = r#"{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#;
            let other = s.shape.event("", other);
            s.among(both + &other)
        })
        .on(OPENAI)
        .gives("A1A2"),
        fault("F141", "There are ids and blank lines between events", |s| {
            each_event(s, |event| format!("id: 1\n{event}\n\n: ping\n\n"))
        })
        .gives("Hello"),
        fault("F142", "Some events have no data", |s| {
            each_event(s, |event| format!("event: ping\n\n{event}"))
        })
        .gives("Hello"),
        fault("F143", "The stream starts with a retry field", |s| {
            s.stream("retry: 3000\n\n".to_owned() + &hello(s.shape))
        })
        .gives("Hello"),
        fault("F144", "The arguments of a tool call are truncated", |s| {
            let word = if s.shape.0 == Messages { "tool_use" } else { "tool_calls" };
            let call = s.shape.call(1, &["{\"ci", "ty\":\"Par", "is"]);
            s.stream(s.shape.start() + &call + &s.shape.stop_for(word) + &s.shape.done())
        })
        .on(&[ChatCompletions, Messages])
        .also("the arguments are returned unchanged", |seen| {
            seen.response.tool_calls[0].arguments == "{\"city\":\"Paris"
        }),
        fault("F145", "One event has two JSON values", |s| {
            let double = s.shape.text("a").trim_end().to_owned() + " {\"x\":1}\n\n";
            s.among(double + &s.shape.text("b"))
        })
        .fails(Decode, "event"),
        fault("F146", "The stream has JSON lines instead of events", |s| {
            let events = s.shape.text("Hel") + &s.shape.text("lo");
            s.stream(events.replace("data: ", "").replace("\n\n", "\n"))
        })
        .on(OPENAI)
        .fails(Decode, "is not an event stream"),
        fault(
            "F147",
            "The data of an event has several lines, without a space after the colon",
            |s| s.stream(pretty(&hello(s.shape))),
        )
        .gives("Hello"),
        fault("F148", "The stream has only [DONE]", |s| s.stream(s.shape.done()))
            .on(OPENAI)
            .fails(Incomplete, "it has nothing but an end marker")
            .requests(3),
        fault("F148", "The stream has only a role and [DONE]", |s| {
            s.stream(s.shape.start() + &s.shape.done())
        })
        .variant("v=role")
        .on(OPENAI)
        .fails(Incomplete, "the stream is empty")
        .requests(3),
    ]
}

const EMOJI: &str = "é€😀👨\u{200d}👩\u{200d}👧\u{200d}👦 e\u{301}";

fn future_messages() -> Vec<Value> {
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 7, "delta": delta});
    vec![
        json!({"type": "content_block_delta",
            "delta": {"type": "text_delta", "text": "a", "new": []}}),
        json!({"type": "brand_new_event", "x": 1}),
        delta(json!({"type": "future_delta", "blob": "?"})),
        delta(json!({"type": "text_delta", "text": "b"})),
    ]
}

fn future_chat_completions() -> Vec<Value> {
    let b = json!({"delta": {"content": "b", "hologram": [1]}, "weather": null});
    vec![
        json!({"choices": [{"delta": {"content": "a"}}]}),
        json!({"future": {"x": 1}, "choices": [b]}),
        json!({"choices": []}),
        json!({"object": "unknown.kind"}),
        json!({"choices": [{}]}),
        json!({"choices": [{"delta": null}]}),
    ]
}

/// Sends a whole response with this event before its last text.
fn before_the_end(server: &mut Scripted<'_>, event: &str) -> Then {
    let shape = server.shape;
    server.among(shape.event("", event) + &shape.text(" end"))
}

/// Sends a response with this end marker.
fn done(server: &mut Scripted<'_>, marker: &str) -> Then {
    let shape = server.shape;
    server.stream(two(shape) + &shape.stop() + marker)
}

/// Sends a whole response after `change` was applied to each event.
fn each_event(server: &mut Scripted<'_>, change: impl Fn(&str) -> String) -> Then {
    let body = server.shape.whole(&["Hel", "lo"]);
    server.stream(body.split_inclusive("\n\n").map(change).collect::<String>())
}

/// Splits the data of each event into several lines, without blanks after the colons.
fn pretty(body: &str) -> String {
    let line = |line: &str| match line.strip_prefix("data: ").map(serde_json::from_str::<Value>) {
        Some(Ok(json)) => {
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            pretty.lines().map(|line| format!("data:{line}\n")).collect()
        }
        _ => format!("{line}\n"),
    };
    body.lines().map(line).collect()
}
