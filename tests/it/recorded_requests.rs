//! Checks our request bodies against those that other clients sent to the real providers.
//!
//! A small reader for each protocol, which shares no code with our encoder, turns a recorded body
//! into a prompt and a configuration. To read an assistant's turn, the crate decodes it as the
//! response that it once was. The body that we would send must then equal the recorded body, except
//! for the differences that are listed here, each with its reason.
//!
//! The recordings are beside the checkout, in the folder that `KERB_STREAM_SHARED` names. `cargo
//! test --test it recorded_requests:: -- --include-ignored --nocapture` prints what was compared.

use std::collections::BTreeMap;

use kerb_stream::{
    Environment, GenerationConfig, GenerationStream, LlmProvider, Message, Protocol, Reasoning,
    ResponseFormat, Tool, ToolChoice, generate_stream,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::support::shared;

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn chat_completions() {
    let count = Count { cases: 162, as_it_is: 38, skipped: 0 };
    check("openai-chat", Protocol::ChatCompletions, chat, CHAT, count);
    let count = Count { cases: 16, as_it_is: 13, skipped: 0 };
    check("mistral-chat", Protocol::ChatCompletions, chat, CHAT, count);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn responses() {
    let count = Count { cases: 40, as_it_is: 0, skipped: 0 };
    check("openai-responses", Protocol::Responses, items, RESPONSES, count);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn messages() {
    let count = Count { cases: 50, as_it_is: 5, skipped: 2 };
    check("anthropic-messages", Protocol::Messages, blocks, MESSAGES, count);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn generate_content() {
    let count = Count { cases: 39, as_it_is: 4, skipped: 0 };
    check("google-gemini", Protocol::GenerateContent, contents, GEMINI, count);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn cohere_chat() {
    let count = Count { cases: 7, as_it_is: 2, skipped: 0 };
    check("cohere-v2", Protocol::CohereChat, cohere, COHERE, count);
}

/// The expected counts, so that a test that compares fewer cases fails.
#[derive(Debug, PartialEq)]
struct Count {
    cases: usize,
    /// The number of cases that are equal without any normalisation.
    as_it_is: usize,
    skipped: usize,
}

/// Takes the fields that it knows out of a body. The rest is sent as `extra`. An error is the
/// reason why the crate cannot express this body.
pub(super) type Reader =
    fn(&mut Map<String, Value>, &mut GenerationConfig) -> Result<Vec<Message>, &'static str>;

/// A difference that does not matter, and a function that removes it from a body.
pub(super) type Normalisation = (&'static str, fn(&mut Value));

fn check(folder: &str, protocol: Protocol, read: Reader, known: &[Normalisation], expected: Count) {
    let folder = shared("streams").join(folder);
    let mut count = Count { cases: 0, as_it_is: 0, skipped: 0 };
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    let mut failures = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let recorded = &case["request"]["body"];
        if recorded.is_null() {
            continue;
        }
        count.cases += 1;
        let id = case["id"].as_str().unwrap();
        let (ours, extra) = match sent_again(&case, protocol, read) {
            Ok(sent) => sent,
            Err(reason) => {
                count.skipped += 1;
                *used.entry(format!("skipped: {reason}")).or_default() += 1;
                continue;
            }
        };
        for name in extra {
            *used.entry(format!("`{name}` sent as `extra`")).or_default() += 1;
        }
        match needed(known, &ours, recorded) {
            Err((ours, theirs)) => {
                failures.insert(id.to_owned(), format!("\n  ours   {ours}\n  theirs {theirs}"));
            }
            Ok(needed) => {
                count.as_it_is += usize::from(needed.is_empty());
                for name in needed {
                    *used.entry(name.to_owned()).or_default() += 1;
                }
            }
        }
    }
    println!("{protocol}, {}: {count:?}", folder.file_name().unwrap().display());
    for (name, cases) in used {
        println!("{cases:>6}  {name}");
    }
    for (id, difference) in &failures {
        println!("{id}{difference}");
    }
    assert!(failures.is_empty(), "{} of {}", failures.len(), count.cases);
    assert_eq!(count, expected);
}

/// Returns the body that we would send for a recorded one, and the fields for which we have no
/// option.
fn sent_again(
    case: &Value,
    protocol: Protocol,
    read: Reader,
) -> Result<(Value, Vec<String>), &'static str> {
    let (messages, config) = asked(case, protocol, read)?;
    let extra = config.extra_body.keys().cloned().collect();
    let request = generate_stream(messages, config).request().unwrap();
    // Some recorded URLs are redacted. Writer has its own path, and so does Anthropic on Vertex.
    let others = ["REDACTED", "api.writer.com", ":streamRawPredict"];
    let path = request.url.strip_prefix("https://localhost/v1").unwrap();
    let url = case["request"]["url"].as_str().unwrap();
    assert!(url.contains(path) || others.iter().any(|other| url.contains(other)), "{url}");
    Ok((request.body, extra))
}

/// Returns the prompt and the configuration of a recorded request.
pub(super) fn asked(
    case: &Value,
    protocol: Protocol,
    read: Reader,
) -> Result<(Vec<Message>, GenerationConfig), &'static str> {
    let mut body = case["request"]["body"].as_object().unwrap().clone();
    let url = case["request"]["url"].as_str().unwrap();
    let in_url = url.split_once("models/").map(|(_, model)| model.split(':').next().unwrap());
    let model: Option<String> = take(&mut body, "model");
    let model = model.unwrap_or_else(|| in_url.unwrap_or("m").to_owned());
    let own = case["provider"].as_str().unwrap().parse().unwrap_or(match protocol {
        Protocol::GenerateContent => LlmProvider::Google,
        Protocol::Messages => LlmProvider::Anthropic,
        _ => LlmProvider::Local,
    });
    // The model name may be anything, and may contain `::`, so the provider is always put before
    // it.
    let mut config = GenerationConfig::new(format!("{own}::{model}"))
        .protocol(protocol)
        .base_url("https://localhost/v1")
        .api_key("k")
        .environment(Environment::empty());
    assert_eq!(body.remove("stream").unwrap_or(true.into()), true);
    config.temperature = take(&mut body, "temperature");
    config.top_p = take(&mut body, "top_p");
    let messages = read(&mut body, &mut config)?;
    body.retain(|_, value| !value.is_null() && *value != json!({}));
    config.extra_body = body;
    Ok((messages, config))
}

/// Returns the normalisations without which the two bodies differ. An error holds both bodies after
/// all normalisations.
pub(super) fn needed(
    known: &[Normalisation],
    ours: &Value,
    theirs: &Value,
) -> Result<Vec<&'static str>, (Value, Value)> {
    let after = |normalisations: &[Normalisation]| {
        let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
        for (_, normalise) in normalisations {
            normalise(&mut ours);
            normalise(&mut theirs);
        }
        (ours, theirs)
    };
    let mut needed = known.to_vec();
    let (ours, theirs) = after(&needed);
    if ours != theirs {
        return Err((ours, theirs));
    }
    for at in (0..needed.len()).rev() {
        let one = needed.remove(at);
        let (ours, theirs) = after(&needed);
        if ours != theirs {
            needed.insert(at, one);
        }
    }
    Ok(needed.into_iter().map(|(name, _)| name).collect())
}

/// Decodes a response from these events, and returns it as the assistant's message.
fn said(config: &GenerationConfig, events: &[Value]) -> Message {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let stream = GenerationStream::from_reader(std::io::Cursor::new(events), config);
    stream.into_response().unwrap().into()
}

/// Takes a field out of an object, if it has the requested type.
fn take<T: DeserializeOwned>(body: &mut Map<String, Value>, name: &str) -> Option<T> {
    let value = serde_json::from_value(body.get(name)?.clone()).ok()?;
    body.remove(name);
    Some(value)
}

/// Returns the text of a content, which is a string or a list of texts.
fn text(content: &Value) -> Result<String, &'static str> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        parts => {
            let parts = parts.as_array().unwrap().iter();
            let texts = parts.map(|part| part["text"].as_str().ok_or("a file to read"));
            texts.collect()
        }
    }
}

fn tool(tool: &Value, schema: &str) -> Tool {
    let description = tool["description"].as_str().unwrap_or_default();
    Tool::function(tool["name"].as_str().unwrap(), description, tool[schema].clone())
}

/// Takes the tools out of a body. Returns none, and changes nothing, if the list has other tools
/// than the caller's functions, or fields other than name, description and schema.
fn tools(
    body: &mut Map<String, Value>,
    own: fn(&Value) -> Option<&Value>,
    schema: &str,
) -> Vec<Tool> {
    let list = body.get("tools").and_then(Value::as_array).cloned().unwrap_or_default();
    let fields = |tool: &Value| {
        let is_known = |name: &str, value: &Value| {
            ["type", "name", "description", schema].contains(&name)
                || (name == "strict" && value == false)
        };
        tool.as_object().unwrap().iter().all(|(name, value)| is_known(name, value))
    };
    let read = |listed: &Value| {
        let own = own(listed)?;
        fields(own).then(|| tool(own, schema))
    };
    let read: Option<Vec<_>> = list.iter().map(read).collect();
    read.inspect(|_| drop(body.remove("tools"))).unwrap_or_default()
}

fn function(listed: &Value) -> Option<&Value> {
    (listed["type"] == "function").then(|| &listed["function"])
}

fn effort(word: &str) -> Option<Reasoning> {
    Some(match word {
        "none" => Reasoning::Off,
        "minimal" => Reasoning::Minimal,
        "low" => Reasoning::Low,
        "medium" => Reasoning::Medium,
        "high" => Reasoning::High,
        _ => return None,
    })
}

fn tool_choice(body: &mut Map<String, Value>, config: &mut GenerationConfig) {
    let choice = match body.get("tool_choice").and_then(Value::as_str) {
        Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("required" | "any") => ToolChoice::Required,
        _ => return,
    };
    body.remove("tool_choice");
    config.tool_choice = Some(choice);
}

pub(super) fn chat(
    body: &mut Map<String, Value>,
    config: &mut GenerationConfig,
) -> Result<Vec<Message>, &'static str> {
    body.remove("stream_options");
    config.max_tokens = take(body, "max_tokens").or_else(|| take(body, "max_completion_tokens"));
    config.stop = take(body, "stop").unwrap_or_default();
    if let Some(stop) = take::<String>(body, "stop") {
        config.stop = vec![stop];
    }
    config.parallel_tool_calls = take(body, "parallel_tool_calls");
    if take(body, "logprobs") == Some(true) {
        config.logprobs = Some(take(body, "top_logprobs").unwrap_or(0));
    }
    let reasoning = body.get("reasoning_effort").and_then(Value::as_str).and_then(effort);
    config.reasoning = reasoning.inspect(|_| drop(body.remove("reasoning_effort")));
    if let Some(mut format) = take::<Value>(body, "response_format").filter(|f| !f.is_null()) {
        assert_eq!(format["type"], "json_schema");
        let format = format["json_schema"].take();
        let name = format["name"].as_str().unwrap();
        config.response_format = Some(ResponseFormat::json_schema(name, format["schema"].clone()));
    }
    config.tools = tools(body, function, "parameters");
    tool_choice(body, config);
    let messages: Vec<Value> = take(body, "messages").unwrap();
    let read = |message: Value| {
        Ok(match message["role"].as_str().unwrap() {
            "system" | "developer" => Message::system(text(&message["content"])?),
            "user" => Message::user(text(&message["content"])?),
            "tool" => {
                let mut tool = Message::tool("", text(&message["content"])?);
                tool.tool_call_id = message["tool_call_id"].as_str().map(str::to_owned);
                tool
            }
            _ => {
                said(config, &[json!({"choices": [{"message": message, "finish_reason": "stop"}]})])
            }
        })
    };
    messages.into_iter().map(read).collect()
}

pub(super) const CHAT: &[Normalisation] = &[
    NULLS,
    WHOLE_NUMBERS,
    EMPTY_TOOLS,
    STRICT,
    ("a text may stand in a list", |body| {
        each(body, "messages", texts_as_string);
    }),
    (
        "the stream's options are each client's own choice: we want the usage, and no padding",
        |body| {
            remove(body, "stream_options");
        },
    ),
    ("`max_completion_tokens` is OpenAI's newer name, and `max_tokens` everybody's", |body| {
        rename(body, "max_completion_tokens", "max_tokens");
    }),
    ("`developer` is OpenAI's newer name for `system`", |body| {
        each(body, "messages", |message| {
            if message["role"] == "developer" {
                message["role"] = "system".into();
            }
        });
    }),
    ("beside calls no text may be null, empty or not there", |body| {
        each(body, "messages", |message| {
            if message.get("tool_calls").is_some()
                && matches!(message["content"].as_str(), None | Some(""))
            {
                remove(message, "content");
            }
        });
    }),
    ("no alternatives may be said or left out", |body| {
        if body["top_logprobs"] == 0 {
            remove(body, "top_logprobs");
        }
    }),
    ("one stop sequence need not be a list", |body| {
        if let Some(Value::String(one)) = body.get("stop") {
            body["stop"] = json!([one]);
        }
    }),
    ("the place of a call in the answer means nothing in a request", |body| {
        each(body, "messages", |message| {
            each(message, "tool_calls", |call| remove(call, "index"));
        });
    }),
    ("the same reasoning under two names", |body| {
        each(body, "messages", |message| {
            if message.get("reasoning_content").is_some() {
                remove(message, "reasoning");
            }
        });
    }),
    ("an empty reasoning stands where DeepSeek wants some", |body| {
        each(body, "messages", |message| {
            if message["reasoning_content"] == "" {
                remove(message, "reasoning_content");
            }
        });
    }),
    ("beside an effort it need not be said that the model shall think", |body| {
        if body.get("reasoning_effort").is_some() {
            remove(body, "thinking");
        }
    }),
    ("Z.ai is asked for the arguments of a call in pieces", |body| {
        remove(body, "tool_stream");
    }),
    ("an id is of our own where it was left out, or hidden in the recording", |body| {
        let mut known: Vec<Value> = Vec::new();
        let mut number = |id: &mut Value| {
            let at = known.iter().position(|known| known == id).unwrap_or(known.len());
            if at == known.len() {
                known.push(id.clone());
            }
            *id = json!(at);
        };
        each(body, "messages", |message| {
            each(message, "tool_calls", |call| number(&mut call["id"]));
            if let Some(id) = message.get_mut("tool_call_id") {
                number(id);
            }
        });
    }),
    ("Mistral's `prefix` is false unless one asks", |body| {
        each(body, "messages", |message| {
            if message["prefix"] == false {
                remove(message, "prefix");
            }
        });
    }),
];

pub(super) fn cohere(
    body: &mut Map<String, Value>,
    config: &mut GenerationConfig,
) -> Result<Vec<Message>, &'static str> {
    config.max_tokens = take(body, "max_tokens");
    config.tools = tools(body, function, "parameters");
    let messages: Vec<Value> = take(body, "messages").unwrap();
    let read = |message: Value| {
        Ok(match message["role"].as_str().unwrap() {
            "system" => Message::system(text(&message["content"])?),
            "user" => Message::user(text(&message["content"])?),
            "tool" => {
                Message::tool(message["tool_call_id"].as_str().unwrap(), text(&message["content"])?)
            }
            _ => {
                let content = message["content"].as_array().into_iter().flatten();
                let calls = message["tool_calls"].as_array().into_iter().flatten();
                let content = content.map(|part| {
                    json!({"type": "content-start", "delta": {"message": {"content": part}}})
                });
                let calls = calls.enumerate().map(|(index, call)| {
                    let delta = json!({"message": {"tool_calls": call}});
                    json!({"type": "tool-call-start", "index": index, "delta": delta})
                });
                let end = json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}});
                said(config, &content.chain(calls).chain([end]).collect::<Vec<_>>())
            }
        })
    };
    messages.into_iter().map(read).collect()
}

pub(super) const COHERE: &[Normalisation] = &[
    ("a text may stand in a list", |body| {
        each(body, "messages", texts_as_string);
    }),
    ("no text with tool calls may be empty or not there", |body| {
        each(body, "messages", |message| {
            if message["content"] == "" {
                remove(message, "content");
            }
        });
    }),
];

pub(super) fn items(
    body: &mut Map<String, Value>,
    config: &mut GenerationConfig,
) -> Result<Vec<Message>, &'static str> {
    config.max_tokens = take(body, "max_output_tokens");
    body.remove("store");
    if body.get("include").is_some_and(|include| include.as_array().unwrap().len() < 2) {
        body.remove("include");
    }
    config.tools = tools(body, |tool| (tool["type"] == "function").then_some(tool), "parameters");
    tool_choice(body, config);
    // We send `summary` together with an effort. Any other combination is sent unchanged.
    if let Some(Value::Object(reasoning)) = body.get_mut("reasoning")
        && reasoning.contains_key("summary")
        && let Some(level) = reasoning.get("effort").and_then(Value::as_str).and_then(effort)
    {
        config.reasoning = Some(level);
        reasoning.remove("effort");
        if reasoning.get("summary").is_some_and(|summary| summary == "auto") {
            body.remove("reasoning");
        }
    }
    if let Some(Value::Object(text)) = body.get_mut("text")
        && let Some(format) = text.get("format").filter(|format| format["type"] == "json_schema")
    {
        let name = format["name"].as_str().unwrap();
        config.response_format = Some(ResponseFormat::json_schema(name, format["schema"].clone()));
        text.remove("format");
    }
    let mut messages = Vec::new();
    messages.extend(take(body, "instructions").map(|text: String| Message::system(text)));
    let mut turn = Vec::new();
    let input: Value = take(body, "input").unwrap();
    let input = match input {
        Value::String(text) => vec![json!({"role": "user", "content": text})],
        list => serde_json::from_value(list).unwrap(),
    };
    for item in input {
        let message = match item["role"].as_str() {
            Some("system" | "developer") => Message::system(text(&item["content"])?),
            Some("user") => Message::user(text(&item["content"])?),
            None if item["type"] == "function_call_output" => {
                let id = item["call_id"].as_str().ok_or("a result without an id")?;
                Message::tool(id, text(&item["output"])?)
            }
            _ => {
                turn.push(item);
                continue;
            }
        };
        messages.extend(assistant_items(config, &mut turn));
        messages.push(message);
    }
    messages.extend(assistant_items(config, &mut turn));
    Ok(messages)
}

/// Decodes the items of a response into a message.
fn assistant_items(config: &GenerationConfig, turn: &mut Vec<Value>) -> Option<Message> {
    for item in &mut *turn {
        // Some clients send a text as a string. An assistant's item may lack its type; items of
        // responses always have one.
        if item["role"] == "assistant" {
            item["type"] = "message".into();
        }
        if let Some(Value::String(text)) = item.get("content") {
            item["content"] = json!([{"type": "output_text", "text": text}]);
        }
    }
    let response = json!({"status": "completed", "output": std::mem::take(turn)});
    let any = response["output"] != json!([]);
    any.then(|| said(config, &[json!({"type": "response.completed", "response": response})]))
}

pub(super) const RESPONSES: &[Normalisation] = &[
    NULLS,
    EMPTY_TOOLS,
    STRICT,
    ("a text may be the whole input", |body| {
        if let Some(Value::String(text)) = body.get("input") {
            body["input"] = json!([{"type": "message", "role": "user", "content": text}]);
        }
    }),
    ("a message need not say that it is one", |body| {
        each(body, "input", |item| {
            if item.get("role").is_some() {
                item["type"] = "message".into();
            }
        });
    }),
    ("a text may stand in a list", |body| {
        each(body, "input", texts_as_string);
    }),
    ("`developer` is OpenAI's newer name for `system`", |body| {
        each(body, "input", |item| {
            if item["role"] == "developer" {
                item["role"] = "system".into();
            }
        });
    }),
    ("instructions may be the first message", |body| {
        if let Some(Value::String(text)) = body.as_object_mut().unwrap().remove("instructions") {
            let message = json!({"type": "message", "role": "system", "content": text});
            body["input"].as_array_mut().unwrap().insert(0, message);
        }
    }),
    ("ids of messages and calls refer to a store that we do not use", |body| {
        each(body, "input", |item| {
            if item["type"] != "reasoning" {
                remove(item, "id");
            }
            remove(item, "status");
        });
    }),
    ("we never have an answer stored", |body| {
        remove(body, "store");
    }),
    ("we ask for encrypted reasoning when we ask for reasoning; others always, or never", |body| {
        if body["include"] == json!([]) || body["include"] == json!(["reasoning.encrypted_content"])
        {
            remove(body, "include");
        }
    }),
];

pub(super) fn blocks(
    body: &mut Map<String, Value>,
    config: &mut GenerationConfig,
) -> Result<Vec<Message>, &'static str> {
    config.max_tokens = take(body, "max_tokens");
    config.stop = take(body, "stop_sequences").unwrap_or_default();
    config.tools = tools(body, |tool| tool.get("type").is_none().then_some(tool), "input_schema");
    if let Some(Value::Object(mut choice)) = take(body, "tool_choice") {
        config.parallel_tool_calls =
            take(&mut choice, "disable_parallel_tool_use").map(|no: bool| !no);
        config.tool_choice = Some(match choice["type"].as_str().unwrap() {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            _ => ToolChoice::Tool(take(&mut choice, "name").unwrap()),
        });
    }
    if let Some(tokens) = body.get("thinking").and_then(|thinking| thinking.get("budget_tokens")) {
        config.reasoning = Some(Reasoning::Budget(serde_json::from_value(tokens.clone()).unwrap()));
        body.remove("thinking");
    }
    let mut messages = Vec::new();
    if let Some(system) = body.remove("system") {
        messages.push(Message::system(text(&system)?));
    }
    for message in take::<Vec<Value>>(body, "messages").unwrap() {
        let content = &message["content"];
        if message["role"] == "assistant" {
            let start = json!({"content": content, "stop_reason": "end_turn"});
            messages.push(said(
                config,
                &[
                    json!({"type": "message_start", "message": start}),
                    json!({"type": "message_stop"}),
                ],
            ));
        } else if content.is_string() {
            messages.push(Message::user(text(content)?));
        } else {
            for block in content.as_array().unwrap() {
                messages.push(match block["type"].as_str().unwrap() {
                    "tool_result" => Message::tool(
                        block["tool_use_id"].as_str().unwrap(),
                        text(&block["content"])?,
                    ),
                    _ => Message::user(text(&json!([block]))?),
                });
            }
        }
    }
    Ok(messages)
}

pub(super) const MESSAGES: &[Normalisation] = &[
    WHOLE_NUMBERS,
    EMPTY_TOOLS,
    ("what to cache is no option", |body| {
        let system = body.get_mut("system").and_then(Value::as_array_mut);
        system.into_iter().flatten().for_each(|block| remove(block, "cache_control"));
        each(body, "messages", |message| {
            each(message, "content", |block| remove(block, "cache_control"));
        });
    }),
    ("a text may be a string or a list of one", |body| {
        if body["system"].is_array() {
            body["system"] = text(&body["system"]).unwrap().into();
        }
        each(body, "messages", |message| {
            if let Some(Value::String(text)) = message.get("content") {
                message["content"] = json!([{"type": "text", "text": text}]);
            }
            each(message, "content", |block| {
                if block["content"].is_array() {
                    block["content"] = text(&block["content"]).unwrap().into();
                }
            });
        });
    }),
    ("a result is no error unless one says so", |body| {
        each(body, "messages", |message| {
            each(message, "content", |block| {
                if block["is_error"] == false {
                    remove(block, "is_error");
                }
            });
        });
    }),
    ("we say that we want to see the thoughts, which later models hide", |body| {
        if let Some(thinking) = body.get_mut("thinking") {
            remove(thinking, "display");
        }
    }),
    ("Vertex has the model in its address", |body| {
        if body.get("anthropic_version").is_some() {
            remove(body, "model");
        }
    }),
];

pub(super) fn contents(
    body: &mut Map<String, Value>,
    config: &mut GenerationConfig,
) -> Result<Vec<Message>, &'static str> {
    if let Some(Value::Object(generation)) = body.get_mut("generationConfig") {
        config.temperature = take(generation, "temperature");
        config.max_tokens = take(generation, "maxOutputTokens");
        if let Some(schema) = generation.remove("responseJsonSchema") {
            generation.remove("responseMimeType");
            config.response_format = Some(ResponseFormat::json_schema("answer", schema));
        }
        let thinking = generation.remove("thinkingConfig").unwrap_or_default();
        let level = thinking.get("thinkingLevel").or(thinking.get("thinking_level"));
        let level = level.and_then(|level| effort(&level.as_str()?.to_lowercase()));
        let budget = thinking["thinkingBudget"].as_u64().map(|tokens| match tokens {
            0 => Reasoning::Off,
            tokens => Reasoning::Budget(tokens.try_into().unwrap()),
        });
        config.reasoning = level.or(budget);
    }
    let own = |tools: &[Value]| {
        let [tools] = tools else { return None };
        let list = tools["functionDeclarations"].as_array()?;
        let schema = |tool: &Value| {
            let names = ["parameters", "parameters_json_schema"];
            tool.get(names[0]).map_or(names[1], |_| names[0])
        };
        Some(list.iter().map(|listed| tool(listed, schema(listed))).collect())
    };
    if let Some(tools) = body.get("tools").and_then(Value::as_array).and_then(|tools| own(tools)) {
        config.tools = tools;
        body.remove("tools");
    }
    if let Some(choice) = body.get("toolConfig").filter(|choice| !choice.is_null()) {
        assert_eq!(choice, &json!({"functionCallingConfig": {"mode": "AUTO"}}));
        body.remove("toolConfig");
        config.tool_choice = Some(ToolChoice::Auto);
    }
    let mut messages = Vec::new();
    if let Some(system) = body.remove("systemInstruction").filter(|system| !system.is_null()) {
        messages.push(Message::system(text(&system["parts"])?));
    }
    for turn in take::<Vec<Value>>(body, "contents").unwrap() {
        if turn["role"] == "model" {
            let candidate = json!({"content": turn, "finishReason": "STOP"});
            messages.push(said(config, &[json!({"candidates": [candidate]})]));
            continue;
        }
        for (at, part) in turn["parts"].as_array().unwrap().iter().enumerate() {
            messages.push(match part.get("functionResponse") {
                None => Message::user(text(&json!([part]))?),
                Some(response) => {
                    // Without an id, the order of the results shows which call each belongs to.
                    let calls = messages.iter().rev().map(|message: &Message| &message.tool_calls);
                    let mut calls = calls.filter(|calls| !calls.is_empty());
                    Message::tool(&calls.next().unwrap()[at].id, response["response"].to_string())
                }
            });
        }
    }
    Ok(messages)
}

pub(super) const GEMINI: &[Normalisation] = &[
    NULLS,
    WHOLE_NUMBERS,
    EMPTY_TOOLS,
    ("an empty configuration and tools that are null need not be said", |body| {
        if body["generationConfig"] == json!({}) {
            remove(body, "generationConfig");
        }
        each(body, "tools", |tools| {
            tools.as_object_mut().unwrap().retain(|_, tool| !tool.is_null());
        });
    }),
    ("a name may be written with underscores, and a level in capitals", |body| {
        if let Some(thinking) = body.pointer_mut("/generationConfig/thinkingConfig") {
            rename(thinking, "include_thoughts", "includeThoughts");
            rename(thinking, "thinking_level", "thinkingLevel");
            if let Some(Value::String(level)) = thinking.get_mut("thinkingLevel") {
                *level = level.to_lowercase();
            }
        }
        each_tool(body, |tool| {
            rename(tool, "parameters_json_schema", "parametersJsonSchema");
        });
    }),
    (
        "`parameters` is a dialect that refuses most of JSON Schema; we use the field that takes it",
        |body| {
            each_tool(body, |tool| {
                rename(tool, "parameters", "parametersJsonSchema");
            });
        },
    ),
    ("the role of the instructions is ignored", |body| {
        if let Some(system) = body.get_mut("systemInstruction") {
            remove(system, "role");
        }
    }),
    ("a part is no thought unless it says so", |body| {
        let mut parts = |turn: &mut Value| {
            each(turn, "parts", |part| {
                if part["thought"] == false {
                    remove(part, "thought");
                }
            });
        };
        each(body, "contents", &mut parts);
        body.get_mut("systemInstruction").into_iter().for_each(parts);
    }),
    ("thoughts without a signature are of no use to Gemini", |body| {
        each(body, "contents", |turn| {
            let parts = turn["parts"].as_array_mut().unwrap();
            parts.retain(|part| part["thought"] != true || part.get("thoughtSignature").is_some());
        });
    }),
];

const NULLS: Normalisation = ("null means that nothing is said", |body| {
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    each(body, "messages", |message| {
        let is_content = |name: &str| name == "content";
        message.as_object_mut().unwrap().retain(|name, value| is_content(name) || !value.is_null());
    });
});

const EMPTY_TOOLS: Normalisation = ("no tools and no description need not be said", |body| {
    if body["tools"] == json!([]) {
        remove(body, "tools");
    }
    each_tool(body, |tool| {
        if matches!(tool["description"].as_str(), None | Some("")) {
            remove(tool, "description");
        }
    });
});

const WHOLE_NUMBERS: Normalisation =
    ("a number may be written with a fraction of nothing", |body| {
        for pointer in ["/temperature", "/top_p", "/generationConfig/temperature"] {
            if let Some(number) = body.pointer_mut(pointer).filter(|number| number.is_number()) {
                *number = number.as_f64().into();
            }
        }
    });

const STRICT: Normalisation = ("a tool is strict where its schema can be, said or not", |body| {
    each_tool(body, |tool| {
        remove(tool, "strict");
        loosen(&mut tool["parameters"]);
    });
});

/// Removes from a schema what makes it strict.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(node) => {
            if node.get("additionalProperties").is_some_and(|more| *more == false) {
                node.remove("additionalProperties");
            }
            node.retain(|name, value| {
                !(name == "$schema" || name == "required" && *value == json!([]))
            });
            node.values_mut().for_each(loosen);
        }
        Value::Array(list) => list.iter_mut().for_each(loosen),
        _ => {}
    }
}

/// Calls `f` for each tool, at the place where a protocol has it.
fn each_tool(body: &mut Value, mut f: impl FnMut(&mut Value)) {
    each(body, "tools", |tool| {
        if let Some(function) = tool.get_mut("function") {
            f(function);
        } else if tool.get("functionDeclarations").is_some() {
            each(tool, "functionDeclarations", &mut f);
        } else {
            f(tool);
        }
    });
}

/// Turns a content that is a list of texts into one string.
fn texts_as_string(message: &mut Value) {
    if message["content"].is_array()
        && let Ok(text) = text(&message["content"])
        && message["type"] != "reasoning"
    {
        message["content"] = text.into();
    }
}

/// Calls `f` for each element of a list in an object.
pub(super) fn each(object: &mut Value, list: &str, f: impl FnMut(&mut Value)) {
    let list = object.get_mut(list).and_then(Value::as_array_mut);
    list.into_iter().flatten().for_each(f);
}

pub(super) fn remove(object: &mut Value, name: &str) {
    if let Value::Object(object) = object {
        object.remove(name);
    }
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Value::Object(object) = object
        && let Some(value) = object.remove(from)
    {
        object.insert(to.to_owned(), value);
    }
}
