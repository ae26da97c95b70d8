//! The loop of model and tools, on every protocol. Data that a provider requires back is sent
//! unchanged and in its place, also from a saved history, and never to another provider.

use std::time::Duration;

use kerb_stream::{
    Activity, Environment, FinishReason, GenerationConfig, GenerationResponse, GenerationStream,
    LlmProvider, Message, Protocol, Tool, ToolCall, generate, generate_stream,
};
use serde_json::{Value, json};

use crate::support::{answers, watchdog};

const QUESTION: &str = "Is it warmer in Oslo or in Rome?";

#[test]
fn the_loop_completes_on_every_protocol() {
    for &protocol in Protocol::ALL {
        assert!(scripts().iter().any(|script| script.protocol == protocol), "{protocol}");
    }
    for script in scripts() {
        for way in [Way::ByHand, Way::Saved, Way::Loop, Way::LoopAgain] {
            watchdog(Duration::from_secs(60), move || check(&script, way));
        }
    }
}

/// How a program runs the tools.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// It runs them itself.
    ByHand,
    /// It saves and loads the history meanwhile.
    Saved,
    /// It uses `run_tools`.
    Loop,
    /// It ends between the two calls, and another one goes on with the saved history.
    LoopAgain,
}

/// Runs the loop against a server that sends two tool calls, and then text.
fn check(script: &Script, way: Way) {
    let server = answers([body((script.calls)()), body((script.answer)())]);
    let config = script.config().base_url(server.url());

    let mut history = vec![Message::user(QUESTION)];
    let answer = match way {
        Way::ByHand | Way::Saved => loop {
            let response = generate(&history, &config).unwrap();
            if response.tool_calls.is_empty() {
                break response;
            }
            assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls), "{script:?}");
            history.push(Message::from(&response));
            history.extend(results(&response));
            if let Way::Saved = way {
                history = saved(&history);
            }
        },
        Way::Loop => {
            let mut stream = generate_stream(&history, &config).run_tools(result);
            stream.by_ref().for_each(drop);
            stream.into_response().unwrap()
        }
        Way::LoopAgain => {
            let mut stream = generate_stream(&history, &config).run_tools(result);
            let is_end = |it: &Activity| matches!(it, Activity::ToolFinished { .. });
            assert!(stream.any(|chunk| chunk.unwrap().activity.iter().any(is_end)));
            history.extend(stream.new_messages());
            drop(stream);
            let stream = generate_stream(saved(&history), &config).run_tools(result);
            stream.into_response().unwrap()
        }
    };
    assert_eq!(answer.content, "In Rome.", "{script:?} {way:?}");

    let requests = server.requests();
    assert_eq!(requests.len(), 2, "{script:?} {way:?}");
    assert!(requests[0].json()["tools"].to_string().contains("\"weather\""), "{script:?}");
    let sent = &requests[1].json()[script.conversation];
    assert_eq!(*sent, (script.sent_back)(), "{script:?} {way:?}");
}

fn saved(history: &[Message]) -> Vec<Message> {
    serde_json::from_str(&serde_json::to_string(history).unwrap()).unwrap()
}

/// The tool.
fn result(call: &ToolCall) -> anyhow::Result<String> {
    assert_eq!(call.name, "weather");
    let arguments = call.parse::<Value>()?;
    Ok(format!("warm in {}", arguments["city"].as_str().unwrap()))
}

/// Returns the tool's result for each call.
fn results(response: &GenerationResponse) -> Vec<Message> {
    let message = |call: &ToolCall| Message::tool(&call.id, result(call).unwrap());
    response.tool_calls.iter().map(message).collect()
}

#[test]
fn what_one_provider_demands_back_is_not_sent_to_another() {
    for script in scripts() {
        let response = decoded(&script, (script.calls)());
        let mut history = vec![Message::user(QUESTION), Message::from(&response)];
        history.extend(results(&response));
        for other in scripts() {
            let asked = generate_stream(&history, other.config()).request().unwrap();
            let conversation = asked.body[other.conversation].to_string();
            let same = script.provider == other.provider;
            assert_eq!(conversation.contains("opaque"), same, "{script:?} to {other:?}");
            for word in ["Oslo", "Rome", "look.", "warm in Oslo", "warm in Rome"] {
                assert!(conversation.contains(word), "{word}: {script:?} to {other:?}");
            }
        }
    }
}

#[test]
fn arguments_that_were_cut_stay_visible_and_are_never_none() {
    for script in scripts() {
        let response = decoded(&script, (script.cut)());
        assert_eq!(response.finish_reason, Some(FinishReason::Length), "{script:?}");
        let [call] = response.tool_calls.as_slice() else { panic!("{response:?}") };
        assert_eq!(call.arguments, r#"{"city":"Os"#, "{script:?}");
        assert!(call.parse::<Value>().is_err(), "{script:?}");
    }
}

#[test]
fn calls_of_a_cut_response_do_not_run() {
    for script in scripts() {
        let server = answers([body((script.cut)())]);
        let config = script.config().base_url(server.url());
        let mut stream = generate_stream(QUESTION, config).run_tools(|_| panic!("it was cut"));
        assert!(stream.by_ref().all(|chunk| chunk.is_ok()), "{script:?}");
        // Later they do not run either.
        let calls = stream.new_messages().into_iter().flat_map(|message| message.tool_calls);
        assert_eq!(calls.count(), 0, "{script:?}");
        let response = stream.into_response().unwrap();
        assert_eq!(response.finish_reason, Some(FinishReason::Length), "{script:?}");
        assert_eq!(server.requests().len(), 1, "{script:?}");
    }
}

/// A malformed call is sent back to the model, and does not make later requests fail.
#[test]
fn a_malformed_call_goes_back_for_the_model_to_see() {
    for script in scripts() {
        let takes_text = matches!(script.protocol, Protocol::ChatCompletions | Protocol::Responses);
        for (arguments, wrapped) in [
            (r#"{"city":"Os"#, r#"{"INVALID_JSON":"{\"city\":\"Os"}"#),
            ("[1]", r#"{"INVALID_JSON":"[1]"}"#),
            ("Oslo", r#"{"INVALID_JSON":"Oslo"}"#),
        ] {
            let mut response = decoded(&script, (script.cut)());
            response.tool_calls[0].arguments = arguments.to_owned();
            let id = response.tool_calls[0].id.clone();
            let history = [
                Message::user(QUESTION),
                Message::from(&response),
                Message::tool(id, "error: not JSON"),
            ];
            let asked = generate_stream(&history, script.config()).request().unwrap();
            let sent = asked.body[script.conversation].to_string();
            let expected = match script.protocol {
                Protocol::ChatCompletions | Protocol::Responses => {
                    json!({ "arguments": arguments })
                }
                Protocol::CohereChat => json!({ "arguments": wrapped }),
                Protocol::Messages => json!({ "input": value(wrapped) }),
                _ => json!({ "args": value(wrapped) }),
            };
            let expected = expected.to_string();
            assert!(sent.contains(expected.trim_matches(['{', '}'])), "{script:?}: {sent}");
            let told = asked.adaptations.iter().any(|told| told.what.contains("\"weather\""));
            assert_eq!(told, !takes_text, "{script:?}");
        }
    }
}

#[test]
fn a_tool_that_failed_is_marked_where_the_protocol_has_a_word_for_it() {
    for script in scripts() {
        let response = decoded(&script, (script.calls)());
        for error in ["no such city", r#"{"code":7}"#, ""] {
            let mut history = vec![Message::user(QUESTION), Message::from(&response)];
            let failed =
                response.tool_calls.iter().map(|call| Message::tool_error(&call.id, error));
            history.extend(failed);
            let saved = serde_json::to_string(&history).unwrap();
            assert_eq!(serde_json::from_str::<Vec<Message>>(&saved).unwrap(), history);

            let asked = generate_stream(&history, script.config()).request().unwrap();
            let last = asked.body[script.conversation].as_array().unwrap().last().unwrap();
            let sent = match script.protocol {
                Protocol::Messages => &last["content"][1],
                Protocol::GenerateContent => &last["parts"][1]["functionResponse"]["response"],
                Protocol::Responses => &last["output"],
                _ => &last["content"],
            };
            let marked = json!({"type": "tool_result", "tool_use_id": "c2", "is_error": true});
            let expected = match script.protocol {
                Protocol::Messages if error.is_empty() => marked,
                Protocol::Messages => with(marked, "content", error),
                Protocol::GenerateContent => json!({ "error": error }),
                _ => json!(error),
            };
            assert_eq!(*sent, expected, "{script:?}");
        }
        // A successful result is never marked as an error.
        let mut history = vec![Message::user(QUESTION), Message::from(&response)];
        history.extend(results(&response));
        let asked = generate_stream(&history, script.config()).request().unwrap();
        assert!(!asked.body.to_string().contains("error"), "{script:?}");
        assert!(!serde_json::to_string(&history).unwrap().contains("error"), "{script:?}");
    }
}

fn with(mut object: Value, name: &str, text: &str) -> Value {
    object[name] = text.into();
    object
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// Decodes the response that these events make.
fn decoded(script: &Script, events: Vec<Value>) -> GenerationResponse {
    let events = std::io::Cursor::new(body(events));
    GenerationStream::from_reader(events, script.config()).into_response().unwrap()
}

fn body(events: Vec<Value>) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// One provider's events for two tool calls, and the conversation that it requires afterwards. All
/// replay data (which only the provider understands) contains the word "opaque".
#[derive(Clone, Copy)]
struct Script {
    provider: LlmProvider,
    protocol: Protocol,
    /// The events of a response with reasoning, some text and two calls.
    calls: fn() -> Vec<Value>,
    /// The name of the request's field with the conversation.
    conversation: &'static str,
    /// The expected value of that field after the results.
    sent_back: fn() -> Value,
    /// The events of the response "In Rome.".
    answer: fn() -> Vec<Value>,
    /// The events of a response that was cut in the middle of a call.
    cut: fn() -> Vec<Value>,
}

impl Script {
    fn config(&self) -> GenerationConfig {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        GenerationConfig::new("m")
            .provider(self.provider)
            .protocol(self.protocol)
            // A build without TLS would reject the provider's own URL.
            .base_url("http://127.0.0.1:1/v1")
            .api_key("k")
            .environment(Environment::empty())
            .max_retries(0)
            .tools([Tool::function("weather", "The weather in a city.", schema)])
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.protocol, self.provider)
    }
}

fn scripts() -> [Script; 6] {
    [
        Script {
            provider: LlmProvider::DeepSeek,
            protocol: Protocol::ChatCompletions,
            calls: || {
                vec![
                    delta(
                        json!({"role": "assistant", "content": null, "reasoning_content": "An opaque "}),
                    ),
                    delta(json!({"reasoning_content": "thought."})),
                    delta(json!({"content": "Let me look."})),
                    delta(json!({"tool_calls": [chat_call(0, "c1", ""), chat_call(1, "c2", "")]})),
                    delta(json!({"tool_calls": [
                        {"index": 1, "function": {"arguments": r#"{"city":"#}},
                        {"index": 0, "function": {"arguments": r#"{"city":"Oslo"}"#}},
                        {"index": 1, "function": {"arguments": r#""Rome"}"#}},
                    ]})),
                    chat_end("tool_calls"),
                ]
            },
            conversation: "messages",
            sent_back: || chat_history(json!({"reasoning_content": "An opaque thought."})),
            answer: chat_answer,
            cut: chat_cut,
        },
        Script {
            provider: LlmProvider::OpenRouter,
            protocol: Protocol::ChatCompletions,
            calls: || {
                let thought =
                    |text: &str| json!({"type": "reasoning.text", "index": 0, "text": text});
                let hidden = json!({"type": "reasoning.encrypted", "index": 1, "data": "opaque=="});
                vec![
                    delta(json!({"reasoning": "An ", "reasoning_details": [thought("An ")]})),
                    delta(
                        json!({"reasoning": "o", "reasoning_details": [thought("opaque thought."), hidden]}),
                    ),
                    delta(json!({"content": "Let me look."})),
                    delta(json!({"tool_calls": [chat_call(0, "c1", r#"{"city":"Oslo"}"#)]})),
                    delta(json!({"tool_calls": [chat_call(0, "c2", r#"{"city":"Rome"}"#)]})),
                    chat_end("tool_calls"),
                ]
            },
            conversation: "messages",
            sent_back: || {
                chat_history(json!({"reasoning_details": [
                    {"type": "reasoning.text", "index": 0, "text": "An opaque thought."},
                    {"type": "reasoning.encrypted", "index": 1, "data": "opaque=="},
                ]}))
            },
            answer: chat_answer,
            cut: chat_cut,
        },
        Script {
            provider: LlmProvider::OpenAi,
            protocol: Protocol::Responses,
            calls: || {
                let thought = |encrypted: &str| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encrypted});
                let said = json!({"type": "message", "id": "msg_1", "role": "assistant",
                    "phase": "opaque", "content": []});
                let mut events = vec![
                    item("added", 0, thought("")),
                    item("done", 0, thought("opaque==")),
                    item("added", 1, said.clone()),
                    json!({"type": "response.output_text.delta", "output_index": 1, "delta": "Let me look."}),
                    item("done", 1, said),
                ];
                for (index, id, city) in [(2, "c1", "Oslo"), (3, "c2", "Rome")] {
                    let arguments = format!(r#"{{"city":"{city}"}}"#);
                    let call = |arguments: &str| {
                        json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id,
                            "name": "weather", "arguments": arguments})
                    };
                    let delta = json!({"type": "response.function_call_arguments.delta",
                        "output_index": index, "item_id": format!("fc_{id}"), "delta": arguments});
                    events.extend([
                        item("added", index, call("")),
                        delta,
                        item("done", index, call(&arguments)),
                    ]);
                }
                events.push(
                    json!({"type": "response.completed", "response": {"status": "completed"}}),
                );
                events
            },
            conversation: "input",
            sent_back: || {
                let call = |id: &str, city: &str| {
                    let arguments = format!(r#"{{"city":"{city}"}}"#);
                    json!({"type": "function_call", "call_id": id, "name": "weather", "arguments": arguments})
                };
                let result = |id: &str, city: &str| json!({"type": "function_call_output", "call_id": id, "output": format!("warm in {city}")});
                json!([
                    {"type": "message", "role": "user", "content": QUESTION},
                    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "opaque=="},
                    {"type": "message", "role": "assistant", "phase": "opaque", "content": "Let me look."},
                    call("c1", "Oslo"), call("c2", "Rome"), result("c1", "Oslo"), result("c2", "Rome"),
                ])
            },
            answer: || {
                vec![
                    json!({"type": "response.output_text.delta", "output_index": 0, "delta": "In Rome."}),
                    json!({"type": "response.completed", "response": {"status": "completed"}}),
                ]
            },
            cut: || {
                let details = json!({"reason": "max_output_tokens"});
                vec![
                    item(
                        "added",
                        0,
                        json!({"type": "function_call", "call_id": "c1", "name": "weather"}),
                    ),
                    json!({"type": "response.function_call_arguments.delta", "output_index": 0,
                        "delta": r#"{"city":"Os"#}),
                    json!({"type": "response.incomplete",
                        "response": {"status": "incomplete", "incomplete_details": details}}),
                ]
            },
        },
        Script {
            provider: LlmProvider::Anthropic,
            protocol: Protocol::Messages,
            calls: || {
                let mut events = vec![json!({"type": "message_start",
                    "message": {"model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}})];
                events.extend(block(
                    0,
                    json!({"type": "thinking", "thinking": "", "signature": ""}),
                    &[
                        json!({"type": "thinking_delta", "thinking": "An opaque "}),
                        json!({"type": "thinking_delta", "thinking": "thought."}),
                        json!({"type": "signature_delta", "signature": "opaque=="}),
                    ],
                ));
                events.extend(block(
                    1,
                    json!({"type": "redacted_thinking", "data": "opaque"}),
                    &[],
                ));
                events.extend(block(
                    2,
                    json!({"type": "text", "text": ""}),
                    &[json!({"type": "text_delta", "text": "Let me look."})],
                ));
                for (index, id, rest) in [(3, "c1", r#""Oslo"}"#), (4, "c2", r#""Rome"}"#)] {
                    let pieces = [r#"{"city":"#, rest];
                    let pieces = pieces
                        .map(|json| json!({"type": "input_json_delta", "partial_json": json}));
                    let call =
                        json!({"type": "tool_use", "id": id, "name": "weather", "input": {}});
                    events.extend(block(index, call, &pieces));
                }
                events.extend(message_end("tool_use"));
                events
            },
            conversation: "messages",
            sent_back: || {
                let call = |id: &str, city: &str| json!({"type": "tool_use", "id": id, "name": "weather", "input": {"city": city}});
                let result = |id: &str, city: &str| json!({"type": "tool_result", "tool_use_id": id, "content": format!("warm in {city}")});
                json!([
                    {"role": "user", "content": QUESTION},
                    {"role": "assistant", "content": [
                        {"type": "thinking", "thinking": "An opaque thought.", "signature": "opaque=="},
                        {"type": "redacted_thinking", "data": "opaque"},
                        {"type": "text", "text": "Let me look."},
                        call("c1", "Oslo"), call("c2", "Rome"),
                    ]},
                    {"role": "user", "content": [result("c1", "Oslo"), result("c2", "Rome")]},
                ])
            },
            answer: || {
                let text = block(0, json!({"type": "text", "text": "In Rome."}), &[]);
                text.into_iter().chain(message_end("end_turn")).collect()
            },
            cut: || {
                let call = json!({"type": "tool_use", "id": "c1", "name": "weather", "input": {}});
                let piece = json!({"type": "input_json_delta", "partial_json": r#"{"city":"Os"#});
                block(0, call, &[piece]).into_iter().chain(message_end("max_tokens")).collect()
            },
        },
        Script {
            provider: LlmProvider::Google,
            protocol: Protocol::GenerateContent,
            calls: || {
                let call = |city: &str| json!({"name": "weather", "args": {"city": city}});
                vec![
                    candidate(json!([{"text": "Hm.", "thought": true}]), None),
                    candidate(json!([{"text": "Let me "}]), None),
                    candidate(json!([{"text": "look.", "thoughtSignature": "opaque1"}]), None),
                    candidate(
                        json!([
                            {"functionCall": call("Oslo"), "thoughtSignature": "opaque2"},
                            {"functionCall": call("Rome")},
                            {"text": "", "thoughtSignature": "opaque3"},
                        ]),
                        Some("STOP"),
                    ),
                ]
            },
            conversation: "contents",
            sent_back: || {
                let call = |city: &str| json!({"name": "weather", "args": {"city": city}});
                let result = |city: &str| {
                    let response = json!({"output": format!("warm in {city}")});
                    json!({"functionResponse": {"name": "weather", "response": response}})
                };
                json!([
                    {"role": "user", "parts": [{"text": QUESTION}]},
                    {"role": "model", "parts": [
                        {"text": "Let me "},
                        {"text": "look.", "thoughtSignature": "opaque1"},
                        {"functionCall": call("Oslo"), "thoughtSignature": "opaque2"},
                        {"functionCall": call("Rome")},
                        {"text": "", "thoughtSignature": "opaque3"},
                    ]},
                    {"role": "user", "parts": [result("Oslo"), result("Rome")]},
                ])
            },
            answer: || vec![candidate(json!([{"text": "In Rome."}]), Some("STOP"))],
            cut: || {
                let piece =
                    json!({"jsonPath": "$.city", "stringValue": "Os", "willContinue": true});
                vec![
                    candidate(
                        json!([{"functionCall": {"name": "weather", "willContinue": true}}]),
                        None,
                    ),
                    candidate(
                        json!([{"functionCall": {"partialArgs": [piece], "willContinue": true}}]),
                        Some("MAX_TOKENS"),
                    ),
                ]
            },
        },
        Script {
            provider: LlmProvider::Cohere,
            protocol: Protocol::CohereChat,
            calls: || {
                let plan = |plan: &str| json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": plan}}});
                let mut events = vec![
                    cohere_content(
                        "content-start",
                        json!({"type": "thinking", "thinking": "An opaque "}),
                    ),
                    cohere_content("content-delta", json!({"thinking": "thought."})),
                    json!({"type": "content-end", "index": 0}),
                    cohere_content(
                        "content-start",
                        json!({"type": "text", "text": "Let me look."}),
                    ),
                    json!({"type": "content-end", "index": 1}),
                    plan("An opaque "),
                    plan("plan."),
                ];
                for (index, id, rest) in [(0, "c1", r#""Oslo"}"#), (1, "c2", r#""Rome"}"#)] {
                    let start = json!({"id": id, "type": "function",
                        "function": {"name": "weather", "arguments": r#"{"city":"#}});
                    events.extend([
                        cohere_call("tool-call-start", index, start),
                        cohere_call(
                            "tool-call-delta",
                            index,
                            json!({"function": {"arguments": rest}}),
                        ),
                        json!({"type": "tool-call-end", "index": index}),
                    ]);
                }
                events.push(cohere_end("TOOL_CALL"));
                events
            },
            conversation: "messages",
            sent_back: || {
                json!([
                    {"role": "user", "content": QUESTION},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "An opaque thought."},
                            {"type": "text", "text": "Let me look."},
                        ],
                        "tool_plan": "An opaque plan.",
                        "tool_calls": chat_calls(),
                    },
                    {"role": "tool", "tool_call_id": "c1", "content": "warm in Oslo"},
                    {"role": "tool", "tool_call_id": "c2", "content": "warm in Rome"},
                ])
            },
            answer: || {
                let text = json!({"type": "text", "text": "In Rome."});
                vec![cohere_content("content-start", text), cohere_end("COMPLETE")]
            },
            cut: || {
                let call = json!({"id": "c1", "function": {"name": "weather", "arguments": r#"{"city":"Os"#}});
                vec![cohere_call("tool-call-start", 0, call), cohere_end("MAX_TOKENS")]
            },
        },
    ]
}

fn delta(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn chat_call(index: usize, id: &str, arguments: &str) -> Value {
    let function = json!({"name": "weather", "arguments": arguments});
    json!({"index": index, "id": id, "type": "function", "function": function})
}

fn chat_end(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn chat_answer() -> Vec<Value> {
    vec![delta(json!({"content": "In Rome."})), chat_end("stop")]
}

fn chat_cut() -> Vec<Value> {
    vec![delta(json!({"tool_calls": [chat_call(0, "c1", r#"{"city":"Os"#)]})), chat_end("length")]
}

fn chat_calls() -> Value {
    let call = |(id, city)| {
        let function = json!({"name": "weather", "arguments": format!(r#"{{"city":"{city}"}}"#)});
        json!({"id": id, "type": "function", "function": function})
    };
    [("c1", "Oslo"), ("c2", "Rome")].map(call).into_iter().collect()
}

fn chat_history(reasoning: Value) -> Value {
    let mut asks =
        json!({"role": "assistant", "content": "Let me look.", "tool_calls": chat_calls()});
    asks.as_object_mut().unwrap().extend(reasoning.as_object().unwrap().clone());
    json!([
        {"role": "user", "content": QUESTION},
        asks,
        {"role": "tool", "tool_call_id": "c1", "content": "warm in Oslo"},
        {"role": "tool", "tool_call_id": "c2", "content": "warm in Rome"},
    ])
}

fn item(kind: &str, index: usize, item: Value) -> Value {
    json!({"type": format!("response.output_item.{kind}"), "output_index": index, "item": item})
}

/// Returns the events of one block of an Anthropic message, from start to stop.
fn block(index: usize, block: Value, deltas: &[Value]) -> Vec<Value> {
    let start = json!({"type": "content_block_start", "index": index, "content_block": block});
    let deltas = deltas
        .iter()
        .map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta}));
    let stop = json!({"type": "content_block_stop", "index": index});
    [start].into_iter().chain(deltas).chain([stop]).collect()
}

fn message_end(reason: &str) -> [Value; 2] {
    let delta = json!({"stop_reason": reason});
    let usage = json!({"output_tokens": 5});
    [
        json!({"type": "message_delta", "delta": delta, "usage": usage}),
        json!({"type": "message_stop"}),
    ]
}

fn candidate(parts: Value, reason: Option<&str>) -> Value {
    let content = json!({"role": "model", "parts": parts});
    json!({"candidates": [{"index": 0, "content": content, "finishReason": reason}]})
}

fn cohere_content(kind: &str, content: Value) -> Value {
    json!({"type": kind, "delta": {"message": {"content": content}}})
}

fn cohere_call(kind: &str, index: usize, call: Value) -> Value {
    json!({"type": kind, "index": index, "delta": {"message": {"tool_calls": call}}})
}

fn cohere_end(reason: &str) -> Value {
    json!({"type": "message-end", "delta": {"finish_reason": reason}})
}
