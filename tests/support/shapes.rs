//! The events of each protocol, as its servers write them. The tests pass the content as JSON
//! literals, so that anything can be sent.

#![allow(dead_code)] // Each test program uses only a part of this file.

use kerb_stream::Protocol;
use serde_json::{Value, json};

/// The form in which the servers of a protocol write events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape(pub(crate) Protocol);

impl Shape {
    /// Returns the events before the text.
    pub(crate) fn start(self) -> String {
        match self.0 {
            Protocol::ChatCompletions => self.event(
                "",
                r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            ),
            Protocol::Messages => {
                self.event(
                    "message_start",
                    r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}"#,
                ) + &self.event(
                    "content_block_start",
                    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                )
            }
            Protocol::Responses => self.event(
                "response.created",
                r#"{"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"model":"m","output":[],"usage":null}}"#,
            ),
            Protocol::CohereChat => {
                self.event(
                    "message-start",
                    r#"{"id":"c1","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
                ) + &self.event(
                    "content-start",
                    r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
                )
            }
            _ => String::new(),
        }
    }

    /// Returns a piece of text.
    pub(crate) fn text(self, text: &str) -> String {
        self.literal(&Value::from(text).to_string())
    }

    /// Returns a piece of text that is given as a JSON string literal.
    pub(crate) fn literal(self, literal: &str) -> String {
        match self.0 {
            Protocol::ChatCompletions => self.event(
                "",
                &format!(
                    r#"{{"id":"c1","model":"m","choices":[{{"index":0,"delta":{{"content":{literal}}},"finish_reason":null}}]}}"#
                ),
            ),
            Protocol::Messages => self.event(
                "content_block_delta",
                &format!(
                    r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{literal}}}}}"#
                ),
            ),
            Protocol::Responses => self.event(
                "response.output_text.delta",
                &format!(
                    r#"{{"type":"response.output_text.delta","output_index":0,"content_index":0,"item_id":"msg_1","delta":{literal}}}"#
                ),
            ),
            Protocol::CohereChat => self.event(
                "content-delta",
                &format!(
                    r#"{{"type":"content-delta","index":0,"delta":{{"message":{{"content":{{"text":{literal}}}}}}}}}"#
                ),
            ),
            _ => self.event(
                "",
                &format!(
                    r#"{{"candidates":[{{"content":{{"parts":[{{"text":{literal}}}],"role":"model"}},"index":0}}]}}"#
                ),
            ),
        }
    }

    /// Returns a piece of reasoning.
    pub(crate) fn reasoning(self, text: &str) -> String {
        let text = Value::from(text);
        match self.0 {
            Protocol::ChatCompletions => self.event(
                "",
                &format!(r#"{{"model":"m","choices":[{{"index":0,"delta":{{"reasoning_content":{text}}}}}]}}"#),
            ),
            Protocol::Messages => self.event(
                "content_block_delta",
                &format!(
                    r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"thinking_delta","thinking":{text}}}}}"#
                ),
            ),
            Protocol::Responses => self.event(
                "response.reasoning_summary_text.delta",
                &format!(
                    r#"{{"type":"response.reasoning_summary_text.delta","output_index":0,"item_id":"rs_1","summary_index":0,"delta":{text}}}"#
                ),
            ),
            Protocol::CohereChat => self.event(
                "content-delta",
                &format!(
                    r#"{{"type":"content-delta","index":0,"delta":{{"message":{{"content":{{"thinking":{text}}}}}}}}}"#
                ),
            ),
            _ => self.event(
                "",
                &format!(
                    r#"{{"candidates":[{{"content":{{"parts":[{{"text":{text},"thought":true}}],"role":"model"}},"index":0}}]}}"#
                ),
            ),
        }
    }

    /// Returns a call of the tool `f` with its arguments in these pieces, or in one piece if the
    /// protocol has no pieces. `index` is the server's index of the call.
    pub(crate) fn call(self, index: u64, arguments: &[&str]) -> String {
        let pieces = |piece: &dyn Fn(Value) -> String| {
            let pieces = arguments.iter().map(|text| piece(Value::from(*text)));
            pieces.collect::<String>()
        };
        match self.0 {
            Protocol::ChatCompletions => {
                let call = |rest: &str, arguments: Value| {
                    self.event(
                        "",
                        &format!(
                            r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":{index}{rest}"arguments":{arguments}}}}}]}},"finish_reason":null}}]}}"#
                        ),
                    )
                };
                let first = r#","id":"t","type":"function","function":{"name":"f","#;
                call(first, "".into()) + &pieces(&|piece| call(r#","function":{"#, piece))
            }
            Protocol::Messages => {
                self.event(
                    "content_block_start",
                    &format!(
                        r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"t","name":"f","input":{{}}}}}}"#
                    ),
                ) + &pieces(&|piece| {
                    self.event(
                        "content_block_delta",
                        &format!(
                            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":{piece}}}}}"#
                        ),
                    )
                }) + &self.event(
                    "content_block_stop",
                    &format!(r#"{{"type":"content_block_stop","index":{index}}}"#),
                )
            }
            Protocol::Responses => {
                let whole = Value::from(arguments.concat());
                let item = |arguments: &Value| {
                    format!(
                        r#"{{"id":"fc_1","type":"function_call","call_id":"t","name":"f","arguments":{arguments}}}"#
                    )
                };
                let of = |kind: &str, rest: String| {
                    self.event(kind, &format!(r#"{{"type":"{kind}","output_index":{index},{rest}}}"#))
                };
                of(
                    "response.output_item.added",
                    format!(r#""item":{}"#, item(&"".into())),
                ) + &pieces(&|piece| {
                    of(
                        "response.function_call_arguments.delta",
                        format!(r#""item_id":"fc_1","delta":{piece}"#),
                    )
                }) + &of(
                    "response.output_item.done",
                    format!(r#""item":{}"#, item(&whole)),
                )
            }
            Protocol::CohereChat => {
                self.event(
                    "tool-call-start",
                    &format!(
                        r#"{{"type":"tool-call-start","index":{index},"delta":{{"message":{{"tool_calls":{{"id":"t","type":"function","function":{{"name":"f","arguments":""}}}}}}}}}}"#
                    ),
                ) + &pieces(&|piece| {
                    self.event(
                        "tool-call-delta",
                        &format!(
                            r#"{{"type":"tool-call-delta","index":{index},"delta":{{"message":{{"tool_calls":{{"function":{{"arguments":{piece}}}}}}}}}}}"#
                        ),
                    )
                })
            }
            _ => self.event(
                "",
                &format!(
                    r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f","args":{}}}}}],"role":"model"}},"index":0}}]}}"#,
                    arguments.concat()
                ),
            ),
        }
    }

    /// Returns the finish reason of a normal end, with usage if the protocol sends it there.
    pub(crate) fn stop(self) -> String {
        self.stop_for(match self.0 {
            Protocol::ChatCompletions => "stop",
            Protocol::Messages => "end_turn",
            Protocol::Responses => "completed",
            Protocol::CohereChat => "COMPLETE",
            _ => "STOP",
        })
    }

    /// Returns this finish reason, in the provider's words.
    pub(crate) fn stop_for(self, word: &str) -> String {
        match self.0 {
            Protocol::ChatCompletions => self.event(
                "",
                &format!(r#"{{"id":"c1","model":"m","choices":[{{"index":0,"delta":{{}},"finish_reason":"{word}"}}]}}"#),
            ),
            Protocol::Messages => {
                self.event(
                    "content_block_stop",
                    r#"{"type":"content_block_stop","index":0}"#,
                ) + &self.event(
                    "message_delta",
                    &format!(
                        r#"{{"type":"message_delta","delta":{{"stop_reason":"{word}","stop_sequence":null}},"usage":{{"output_tokens":5}}}}"#
                    ),
                )
            }
            Protocol::Responses => self.event(
                "response.completed",
                &format!(
                    r#"{{"type":"response.completed","response":{{"id":"resp_1","status":"{word}","error":null,"model":"m","output":[],"usage":{{"input_tokens":3,"output_tokens":5,"total_tokens":8}}}}}}"#
                ),
            ),
            Protocol::CohereChat => self.event(
                "message-end",
                &format!(
                    r#"{{"type":"message-end","delta":{{"finish_reason":"{word}","usage":{{"tokens":{{"input_tokens":3,"output_tokens":5}}}}}}}}"#
                ),
            ),
            _ => self.event(
                "",
                &format!(
                    r#"{{"candidates":[{{"content":{{"parts":[{{"text":""}}],"role":"model"}},"finishReason":"{word}","index":0}}],"usageMetadata":{{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8}}}}"#
                ),
            ),
        }
    }

    /// Returns usage as an event of its own, if the protocol has one.
    pub(crate) fn usage(self) -> String {
        match self.0 {
            Protocol::ChatCompletions => self.event(
                "",
                r#"{"id":"c1","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#,
            ),
            _ => String::new(),
        }
    }

    /// Returns the end marker, if the protocol has one besides the finish reason.
    pub(crate) fn done(self) -> String {
        match self.0 {
            Protocol::ChatCompletions => self.event("", "[DONE]"),
            Protocol::Messages => self.event("message_stop", r#"{"type":"message_stop"}"#),
            _ => String::new(),
        }
    }

    /// Returns whether the end marker is an event of its own.
    pub(crate) fn has_done(self) -> bool {
        !self.done().is_empty()
    }

    pub(crate) fn ending(self) -> String {
        self.stop() + &self.done()
    }

    /// Returns a whole response with these pieces of text.
    pub(crate) fn whole(self, pieces: &[&str]) -> String {
        let text: String = pieces.iter().map(|piece| self.text(piece)).collect();
        self.start() + &text + &self.ending()
    }

    /// Returns a whole response with text, reasoning, a tool call and usage: `Hé😀 !`, `hm…`,
    /// `f({"city":"Köln"})`.
    pub(crate) fn everything(self) -> String {
        let stop = match self.0 {
            Protocol::ChatCompletions => self.stop_for("tool_calls"),
            Protocol::Messages => self.stop_for("tool_use"),
            Protocol::CohereChat => self.stop_for("TOOL_CALL"),
            _ => self.stop(),
        };
        self.start()
            + &self.reasoning("hm")
            + &self.reasoning("…")
            + &self.text("Hé")
            + &self.text("😀 !")
            + &self.call(1, &["{\"city\":", "\"Köln\"}"])
            + &stop
            + &self.usage()
            + &self.done()
    }

    /// Returns an error of this kind, in the words of OpenAI and Anthropic.
    pub(crate) fn error(self, message: &str, kind: &str) -> Value {
        self.error_with(400, message, kind)
    }

    /// Returns an error as the body of a response with this status.
    pub(crate) fn error_with(self, status: u16, message: &str, kind: &str) -> Value {
        match self.0 {
            Protocol::Messages => {
                json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fault"})
            }
            Protocol::CohereChat => json!({"id": "req_fault", "message": message}),
            Protocol::ChatCompletions | Protocol::Responses => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
            }
            _ => {
                let word = match status {
                    400 => "INVALID_ARGUMENT",
                    401 => "UNAUTHENTICATED",
                    403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    429 => "RESOURCE_EXHAUSTED",
                    500 => "INTERNAL",
                    503 => "UNAVAILABLE",
                    _ => "UNKNOWN",
                };
                json!({"error": {"code": status, "message": message, "status": word}})
            }
        }
    }

    /// Returns the same response as one document, which a server sends without streaming.
    pub(crate) fn unstreamed(self) -> Value {
        match self.0 {
            Protocol::ChatCompletions => {
                json!({"id": "c1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message":
                    {"role": "assistant", "content": "Hello world"}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}})
            }
            Protocol::Messages => {
                json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content":
                    [{"type": "text", "text": "Hello world"}], "stop_reason": "end_turn",
                    "usage": {"input_tokens": 3, "output_tokens": 5}})
            }
            Protocol::Responses => {
                json!({"id": "resp_1", "object": "response", "status": "completed", "error": null, "model": "m",
                    "output": [{"type": "message", "role": "assistant", "content":
                        [{"type": "output_text", "text": "Hello world"}]}],
                    "usage": {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}})
            }
            Protocol::CohereChat => {
                json!({"id": "c1", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content":
                    [{"type": "text", "text": "Hello world"}]},
                    "usage": {"tokens": {"input_tokens": 3, "output_tokens": 5}}})
            }
            _ => {
                json!({"candidates": [{"content": {"parts": [{"text": "Hello world"}], "role": "model"},
                    "finishReason": "STOP", "index": 0}]})
            }
        }
    }

    /// Returns one event. An empty `name` makes an event without a name.
    pub(crate) fn event(self, name: &str, data: &str) -> String {
        match name {
            "" => format!("data: {data}\n\n"),
            name => format!("event: {name}\ndata: {data}\n\n"),
        }
    }
}
