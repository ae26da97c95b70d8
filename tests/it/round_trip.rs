//! An assistant's turn is sent back to its provider unchanged.
//!
//! A small reader for each protocol, which shares no code with our decoders, assembles a recorded
//! response as the provider's own SDK does. The crate decodes the same bytes and sends the message
//! back in the next request, directly and after it was saved and loaded. The turn in that request
//! must equal the recorded one, except for the differences that are listed here, each with its
//! reason.
//!
//! The recordings are beside the checkout, in the folder that `KERB_STREAM_SHARED` names. `cargo
//! test --test it round_trip:: -- --include-ignored --nocapture` prints what was compared.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use kerb_stream::{
    Environment, GenerationConfig, GenerationStream, LlmProvider, Message, Protocol,
    generate_stream,
};
use serde_json::{Map, Value, json};

use super::recorded_requests::each;
use super::recordings::{self, End, SETS};
use crate::support::shared;

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn chat_completions() {
    let counts = "414 whole, 7 failed, 0 cut, 24 silent";
    check(&["openai-chat", "mistral-chat"], &CHAT, counts);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn responses() {
    check(&["openai-responses"], &RESPONSES, "97 whole, 0 failed, 0 cut, 4 silent");
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn messages() {
    check(&["anthropic-messages"], &MESSAGES, "128 whole, 0 failed, 0 cut, 1 silent");
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn generate_content() {
    check(&["google-gemini"], &GEMINI, "82 whole, 1 failed, 1 cut, 1 silent");
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn cohere_chat() {
    check(&["cohere-v2"], &COHERE, "26 whole, 1 failed, 0 cut, 0 silent");
}

/// The reader for one protocol.
struct Reader {
    protocol: Protocol,
    /// Returns the turn that the events of a response make. Returns two if the end repeats the turn
    /// in a different form, and none if the turn is empty.
    recorded: fn(&[Value]) -> Vec<Value>,
    /// Returns the turn in a body, the ids of its calls, and the ids in the results after it.
    sent: fn(&Value) -> (Value, [Vec<String>; 2]),
    tolerated: &'static [Tolerance],
}

/// A turn as we send it, and as it was recorded.
#[derive(Clone)]
struct Turns {
    provider: LlmProvider,
    ours: Value,
    theirs: Value,
}

/// A difference that does not matter, and a function that removes it.
type Tolerance = (&'static str, fn(&mut Turns));

/// The tolerances without which two turns differ. An error says how they differ after all of them.
type Needed = Result<Vec<&'static str>, String>;

/// Compares all cases that are whole and not empty. `expected` holds the counts, so that a test
/// that compares fewer cases fails.
fn check(folders: &[&str], reader: &Reader, expected: &str) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    let folders = SETS.iter().flat_map(|set| folders.iter().map(move |at| shared(set).join(at)));
    for path in folders.flat_map(|folder| recordings::cases(&folder)) {
        let case = recordings::json(&path);
        let bytes = std::fs::read(path.with_extension("sse")).unwrap();
        let recorded = (reader.recorded)(&events(&String::from_utf8_lossy(&bytes)));
        let kind = match recordings::expected_end(&recordings::expected(&case), &case).0 {
            End::Well if recorded.is_empty() => "silent",
            End::Well => "whole",
            End::Told => "failed",
            End::Cut | End::Otherwise => "cut",
        };
        *counts.entry(kind).or_default() += 1;
        if kind == "whole" {
            match compare(&case, &bytes, &recorded, reader) {
                Ok(needed) if needed.is_empty() => *counts.entry("as it is").or_default() += 1,
                Ok(needed) => needed.iter().for_each(|name| *counts.entry(name).or_default() += 1),
                Err(difference) => drop(failures.insert(path.display().to_string(), difference)),
            }
        }
    }
    println!("{}: {counts:#?}", reader.protocol);
    let count = |name| counts.get(name).copied().unwrap_or_default();
    let [whole, failed, cut, silent] = ["whole", "failed", "cut", "silent"].map(count);
    assert!(failures.is_empty(), "{} of {whole}: {failures:#?}", failures.len());
    assert_eq!(format!("{whole} whole, {failed} failed, {cut} cut, {silent} silent"), expected);
    for (name, _) in reader.tolerated {
        assert!(count(name) > 0, "no longer needed: {name}");
    }
}

/// Compares the turn that is sent with the recorded one.
fn compare(case: &Value, bytes: &[u8], recorded: &[Value], reader: &Reader) -> Needed {
    let config = recordings::config(case)
        .protocol(reader.protocol)
        .base_url("https://localhost/v1")
        .api_key("k")
        .environment(Environment::empty());
    let stream = GenerationStream::from_reader(Cursor::new(bytes.to_vec()), &config);
    let response = stream.into_response().map_err(|error| format!("{error:#}"))?;
    let message = Message::from(response);
    let saved = serde_json::to_string(&message).unwrap();
    let saved = body(&serde_json::from_str(&saved).unwrap(), &config)?;
    let body = body(&message, &config)?;
    if saved != body {
        return Err("a saved message is sent otherwise".to_owned());
    }
    let (turn, [calls, results]) = (reader.sent)(&body);
    let named: Vec<_> = calls.iter().filter(|call| !call.starts_with("null")).collect();
    if calls != results || named.iter().collect::<BTreeSet<_>>().len() != named.len() {
        return Err(format!("the results of {calls:?} are of {results:?}"));
    }
    let provider = config.provider.unwrap_or(LlmProvider::Local);
    let turns = |theirs: &Value| Turns { provider, ours: turn.clone(), theirs: theirs.clone() };
    let needed = recorded.iter().map(|theirs| needed(reader.tolerated, &turns(theirs)));
    needed.reduce(|told, again| again.or(told)).unwrap()
}

/// Returns the body of the next request in this conversation.
fn body(message: &Message, config: &GenerationConfig) -> Result<Value, String> {
    let mut conversation = vec![Message::user("Q"), message.clone()];
    conversation.extend(message.tool_calls.iter().map(|call| Message::tool(&call.id, "x")));
    conversation.push(Message::user("Next"));
    let request = generate_stream(conversation, config).request();
    request.map(|request| request.body).map_err(|error| format!("{error:#}"))
}

fn needed(tolerated: &[Tolerance], turns: &Turns) -> Needed {
    let difference = |tolerances: &[Tolerance]| {
        let mut turns = turns.clone();
        tolerances.iter().for_each(|(_, tolerate)| tolerate(&mut turns));
        difference(&turns)
    };
    let mut needed = tolerated.to_vec();
    difference(&needed).map_or(Ok(()), Err)?;
    for at in (0..needed.len()).rev() {
        let one = needed.remove(at);
        if difference(&needed).is_some() {
            needed.insert(at, one);
        }
    }
    Ok(needed.into_iter().map(|(name, _)| name).collect())
}

/// Returns the first line in which two turns differ.
fn difference(Turns { ours, theirs, .. }: &Turns) -> Option<String> {
    (ours != theirs).then(|| {
        let [ours, theirs] = [ours, theirs].map(|it| serde_json::to_string_pretty(it).unwrap());
        let mut lines = ours.lines().zip(theirs.lines());
        let (ours, theirs) = lines.find(|(ours, theirs)| ours != theirs).unwrap();
        format!("{:.400} is not {:.400}", ours.trim(), theirs.trim())
    })
}

/// Returns the data of all events that is JSON, even if the last event lacks its blank line.
fn events(body: &str) -> Vec<Value> {
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    let data = |event: &str| {
        let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    };
    body.split("\n\n").filter_map(|event| serde_json::from_str(&data(event)).ok()).collect()
}

const MESSAGES: Reader = Reader {
    protocol: Protocol::Messages,
    recorded: blocks,
    sent: |body| {
        let [said, results] = [1, 2].map(|at| &body["messages"][at]["content"]);
        let results = ids(results, "type", &["tool_result"], "tool_use_id");
        (said.clone(), [ids(said, "type", &["tool_use"], "id"), results])
    },
    tolerated: &[
        ("one text may be a plain string", |turns| text_as_part(&mut turns.ours, "text")),
        ("no citations need not be said", |turns| {
            turns.each(|block| remove_if(block, "citations", &json!([])));
        }),
        ("the caller is the model unless one says otherwise", |turns| {
            turns.each(|block| remove_if(block, "caller", &json!({"type": "direct"})));
        }),
        ("an empty text is refused", |turns| {
            list(&mut turns.theirs).retain(|block| *block != json!({"type": "text", "text": ""}));
        }),
        ("Anthropic refuses a thought without its signature", |turns| {
            if turns.provider == LlmProvider::Anthropic {
                let is_signed = |block: &Value| block["signature"] != "";
                list(&mut turns.theirs).retain(|it| it["type"] != "thinking" || is_signed(it));
            }
        }),
    ],
};

fn blocks(events: &[Value]) -> Vec<Value> {
    let mut blocks = Vec::new();
    for event in events {
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => blocks.extend(elements(&event["message"]["content"]).to_vec()),
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let at = usize::try_from(event["index"].as_u64().unwrap()).unwrap();
                let (delta, block) = (&event["delta"], &mut blocks[at]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add(block, "text", &delta["text"]),
                    "thinking_delta" => add(block, "thinking", &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "compaction_delta" => block["content"] = delta["content"].clone(),
                    "citations_delta" => push(block, "citations", &delta["citation"]),
                    "input_json_delta" => add(block, "written", &delta["partial_json"]),
                    other => panic!("{other}"),
                }
            }
            _ => {}
        }
    }
    for block in &mut blocks {
        if let Some(Value::String(input)) = fields(block).remove("written") {
            let invalid = |_| json!({"INVALID_JSON": input});
            block["input"] = serde_json::from_str(&input).unwrap_or_else(invalid);
        }
    }
    said(blocks.into())
}

const RESPONSES: Reader = Reader {
    protocol: Protocol::Responses,
    recorded: items,
    sent: |body| {
        let results = &["function_call_output", "custom_tool_call_output"];
        let mut turn = body["input"].clone();
        list(&mut turn).retain(|item| item["role"] != "user" && !is(item, "type", results));
        let calls = ids(&turn, "type", &["function_call", "custom_tool_call"], "call_id");
        (turn, [calls, ids(&body["input"], "type", results, "call_id")])
    },
    tolerated: &[
        ("one text may be a plain string", |turns| {
            let contents = list(&mut turns.ours).iter_mut().filter_map(|it| it.get_mut("content"));
            contents.for_each(|content| text_as_part(content, "output_text"));
        }),
        ("no annotations need not be said", |turns| {
            turns.each_part(|part| remove_if(part, "annotations", &json!([])));
        }),
        ("how likely each token was is for the reader", |turns| {
            turns.each_part(|part| drop(fields(part).remove("logprobs")));
        }),
        ("ids of messages and calls refer to a store we do not use", |turns| {
            turns.each(|item| {
                if is(item, "type", &["message", "function_call", "custom_tool_call"]) {
                    fields(item).retain(|name, _| name != "id" && name != "status");
                }
            });
        }),
        ("a message in which nothing was said is left out", |turns| {
            let nothing = json!([{"type": "output_text", "text": ""}]);
            list(&mut turns.theirs).retain(|item| item["content"] != nothing);
        }),
        ("reasoning without content is a mere reference", |turns| {
            let has = |item: &Value, name| !(item[name].is_null() || item[name] == json!([]));
            let is_whole = |item: &Value| has(item, "encrypted_content") || has(item, "content");
            list(&mut turns.theirs).retain(|item| item["type"] != "reasoning" || is_whole(item));
        }),
    ],
};

/// Returns all items twice: as each was sent when it was done, and as the end repeats them. OpenAI
/// encrypts its reasoning anew at the end.
fn items(events: &[Value]) -> Vec<Value> {
    let (mut done, mut end) = (BTreeMap::new(), &Value::Null);
    for event in events {
        match event["type"].as_str().unwrap_or_default() {
            "response.output_item.done" => {
                done.insert(event["output_index"].as_u64().unwrap(), event["item"].clone());
            }
            "response.completed" | "response.incomplete" => end = &event["response"],
            _ => {}
        }
    }
    let again = elements(&end["output"]);
    for (at, item) in (0..).zip(again) {
        done.entry(at).or_insert_with(|| item.clone());
    }
    let told = [done.into_values().collect(), again.to_vec()].into_iter().map(|mut items| {
        // OpenAI rejects reasoning without the item that followed it.
        if end["status"] == "incomplete" {
            let led_to = items.iter().rposition(|item| item["type"] != "reasoning");
            items.truncate(led_to.map_or(0, |at| at + 1));
        }
        Value::from(items)
    });
    told.flat_map(said).collect()
}

const GEMINI: Reader = Reader {
    protocol: Protocol::GenerateContent,
    recorded: parts,
    sent: |body| {
        let contents = &body["contents"];
        let names = |turn: &Value, kind| {
            let found = elements(&turn["parts"]).iter().filter_map(|part| part.get(kind));
            found.map(|call| format!("{} {}", call["id"], call["name"])).collect()
        };
        let results = names(&contents[2], "functionResponse");
        (contents[1]["parts"].clone(), [names(&contents[1], "functionCall"), results])
    },
    tolerated: &[
        ("thoughts without a signature are of no use", |turns| {
            let is_signed = |part: &Value| part.get("thoughtSignature").is_some();
            list(&mut turns.theirs).retain(|part| part["thought"] != true || is_signed(part));
        }),
        ("an empty text says nothing", |turns| {
            turns.both(|parts| list(parts).retain(|part| *part != json!({"text": ""})));
        }),
        ("a text comes in pieces", |turns| {
            let is_plain = |part: &Value| *part == json!({"text": part["text"]});
            turns.both(|parts| {
                let mut joined: Vec<Value> = Vec::new();
                for part in list(parts).drain(..) {
                    match joined.last_mut().filter(|last| is_plain(last)) {
                        Some(last) if is_plain(&part) => add(last, "text", &part["text"]),
                        _ => joined.push(part),
                    }
                }
                *parts = joined.into();
            });
        }),
        ("a call without arguments may say so", |turns| {
            turns.each(|part| {
                if let Some(call) = part.get_mut("functionCall") {
                    remove_if(call, "args", &json!({}));
                }
            });
        }),
    ],
};

fn parts(events: &[Value]) -> Vec<Value> {
    let mut parts: Vec<Value> = Vec::new();
    // Set while the latest call has more pieces to come.
    let mut is_open = false;
    for part in first(events, "candidates").flat_map(|it| elements(&it["content"]["parts"])) {
        let mut part = part.clone();
        let Some(Value::Object(call)) = part.get_mut("functionCall") else {
            parts.push(part);
            continue;
        };
        let goes_on = call.remove("willContinue") == Some(true.into());
        let pieces = call.remove("partialArgs").unwrap_or_default();
        if !is_open {
            parts.push(part);
        }
        is_open = goes_on;
        let call = &mut parts.last_mut().unwrap()["functionCall"];
        for piece in elements(&pieces) {
            // The recordings have no deeper paths and no other types.
            let name = piece["jsonPath"].as_str().unwrap().strip_prefix("$.").unwrap();
            assert!(!name.contains(['.', '[']) && piece["stringValue"].is_string(), "{piece}");
            let arguments = fields(call).entry("args").or_insert_with(|| json!({}));
            add(arguments, name, &piece["stringValue"]);
        }
    }
    said(parts.into())
}

const COHERE: Reader =
    Reader { protocol: Protocol::CohereChat, recorded: cohere, sent: message, tolerated: &[] };

/// Each part and call is complete before the next begins. Some models give all parts the same
/// index, so the index is ignored.
fn cohere(events: &[Value]) -> Vec<Value> {
    let mut turn = json!({});
    for event in events {
        for (name, it) in event["delta"]["message"].as_object().into_iter().flatten() {
            match event["type"].as_str().unwrap_or_default() {
                "content-start" | "tool-call-start" | "citation-start" => push(&mut turn, name, it),
                "content-delta" | "tool-call-delta" => {
                    grow(list(&mut turn[name]).last_mut().unwrap(), it);
                }
                "tool-plan-delta" => add(&mut turn, name, it),
                _ => {}
            }
        }
    }
    said(turn)
}

const CHAT: Reader = Reader {
    protocol: Protocol::ChatCompletions,
    recorded: chat,
    sent: |body| {
        let (mut turn, ids) = message(body);
        let content = fields(&mut turn).remove("content").unwrap_or_default();
        add_content(&mut turn, &content);
        (turn, ids)
    },
    tolerated: &[
        ("reasoning goes back where the vendor wants it", |turns| {
            let Turns { ours, theirs, .. } = turns;
            fields(theirs).retain(|name, _| !is_reasoning(name) || ours.get(name).is_some());
        }),
        ("servers read no arguments as JSON, too", |turns| {
            each(&mut turns.theirs, "tool_calls", |call| {
                if call["function"]["arguments"] == "" {
                    call["function"]["arguments"] = "{}".into();
                }
            });
        }),
        ("a call that was cut before its arguments says so", |turns| {
            each(&mut turns.ours, "tool_calls", |call| {
                if call["function"]["arguments"] == r#"{"INVALID_JSON":""}"# {
                    call["function"]["arguments"] = "{}".into();
                }
            });
        }),
        ("a call without an id that fits gets one", |turns| {
            let has_any = turns.provider != LlmProvider::Mistral;
            let mut ours = elements(&turns.ours["tool_calls"]).iter();
            each(&mut turns.theirs, "tool_calls", |call| {
                let (ours, id) = (ours.next(), call["id"].as_str().unwrap_or_default());
                if id.is_empty() || !(has_any || id.len() == 9) {
                    call["id"] = ours.map(|ours| ours["id"].clone()).unwrap_or_default();
                }
            });
        }),
        ("DeepSeek wants any reasoning, and Xiaomi a text beside a call", |turns| {
            let Turns { ours, theirs, .. } = turns;
            let is_blank = |it: &Value| it.as_str().is_some_and(|it| it.trim().is_empty());
            fields(ours).retain(|name, it| theirs.get(name).is_some() || !is_blank(it));
        }),
    ],
};

/// Returns whether a field holds reasoning. `thinking` is Mistral's, which is a part of the
/// content.
fn is_reasoning(name: &String) -> bool {
    name.starts_with("reasoning") || name == "thinking"
}

fn chat(events: &[Value]) -> Vec<Value> {
    let mut turn = json!({});
    // Each element is a call and its index.
    let mut calls: Vec<(&Value, Value)> = Vec::new();
    for choice in first(events, "choices") {
        let delta = choice.get("delta").unwrap_or(&choice["message"]);
        add_content(&mut turn, &delta["content"]);
        // A spoken response is sent back as its text.
        add(&mut turn, "content", &delta["audio"]["transcript"]);
        for name in ["refusal", "reasoning_content", "reasoning"] {
            add(&mut turn, name, &delta[name]);
        }
        for piece in elements(&delta["reasoning_details"]) {
            add_detail(&mut turn, piece);
        }
        for piece in elements(&delta["tool_calls"]) {
            let (at, id) = (&piece["index"], piece["id"].as_str().unwrap_or_default());
            let is_same = |known: &Value| id.is_empty() || known["id"] == id;
            match calls.iter_mut().find(|(index, known)| *index == at && is_same(known)) {
                Some((_, call)) => grow(call, piece),
                None => calls.push((at, piece.clone())),
            }
        }
    }
    for (_, mut call) in calls {
        fields(&mut call).remove("index");
        call["type"] = "function".into();
        push(&mut turn, "tool_calls", &call);
    }
    said(if fields(&mut turn).keys().all(is_reasoning) { json!({}) } else { turn })
}

/// Adds a piece of reasoning. Pieces of a text or a summary are joined, and all others are
/// complete.
fn add_detail(turn: &mut Value, piece: &Value) {
    let is_same = |known: &Value| ["type", "index"].iter().all(|name| known[name] == piece[name]);
    let details = turn.get_mut("reasoning_details").and_then(Value::as_array_mut);
    let known = details.and_then(|details| details.last_mut()).filter(|known| is_same(known));
    match known.filter(|_| piece["type"] != "reasoning.encrypted") {
        Some(known) => grow(known, piece),
        None => push(turn, "reasoning_details", piece),
    }
}

/// Adds a content, which is a text or a list of parts. Only Mistral has reasoning in some of the
/// parts.
fn add_content(turn: &mut Value, content: &Value) {
    add(turn, "content", content);
    for part in elements(content) {
        match part["type"].as_str().unwrap() {
            "text" => add(turn, "content", &part["text"]),
            "thinking" => {
                for part in elements(&part["thinking"]) {
                    add(turn, "thinking", &part["text"]);
                }
            }
            other => panic!("{other}"),
        }
    }
}

/// Returns the turn, its calls and the results. Cohere and Chat Completions have the same form.
fn message(body: &Value) -> (Value, [Vec<String>; 2]) {
    let mut turn = body["messages"][1].clone();
    assert_eq!(fields(&mut turn).remove("role").unwrap(), "assistant");
    let calls = ids(&turn["tool_calls"], "type", &["function"], "id");
    (turn, [calls, ids(&body["messages"], "role", &["tool"], "tool_call_id")])
}

impl Turns {
    fn both(&mut self, f: impl Fn(&mut Value)) {
        f(&mut self.ours);
        f(&mut self.theirs);
    }

    /// Calls `f` for each element of both turns.
    fn each(&mut self, f: impl Fn(&mut Value)) {
        self.both(|turn| turn.as_array_mut().into_iter().flatten().for_each(&f));
    }

    /// Calls `f` for each part of the content of each element.
    fn each_part(&mut self, f: impl Fn(&mut Value)) {
        self.each(|element| each(element, "content", &f));
    }
}

/// Returns the first alternative of each event.
fn first<'a>(events: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = events.iter().flat_map(move |event| elements(&event[name]));
    all.filter(|one| one["index"].as_u64().unwrap_or(0) == 0)
}

/// Returns a turn, unless it is empty.
fn said(turn: Value) -> Vec<Value> {
    if turn == json!([]) || turn == json!({}) { Vec::new() } else { vec![turn] }
}

fn is(one: &Value, name: &str, kinds: &[&str]) -> bool {
    one[name].as_str().is_some_and(|kind| kinds.contains(&kind))
}

/// Returns the ids of the elements of these kinds.
fn ids(list: &Value, name: &str, kinds: &[&str], id: &str) -> Vec<String> {
    let those = elements(list).iter().filter(|one| is(one, name, kinds));
    those.map(|one| one[id].to_string()).collect()
}

/// Turns a text into a list of one part.
fn text_as_part(content: &mut Value, kind: &str) {
    if content.is_string() {
        *content = json!([{"type": kind, "text": content}]);
    }
}

/// Adds a piece to a text.
fn add(object: &mut Value, name: &str, piece: &Value) {
    if let Some(piece) = piece.as_str().filter(|piece| !piece.is_empty()) {
        let text = object[name].as_str().unwrap_or_default();
        object[name] = format!("{text}{piece}").into();
    }
}

/// Adds the fields of a piece. Texts are joined.
fn grow(object: &mut Value, piece: &Value) {
    for (name, value) in piece.as_object().unwrap() {
        match &**name {
            "text" | "thinking" | "summary" | "signature" | "arguments" => add(object, name, value),
            _ if value.is_object() => grow(&mut object[name], value),
            _ if value.is_null() || value == "" => {}
            _ => object[name] = value.clone(),
        }
    }
}

/// Adds an element to a list.
fn push(object: &mut Value, name: &str, element: &Value) {
    let elements = fields(object).entry(name).or_insert_with(|| json!([]));
    list(elements).push(element.clone());
}

fn remove_if(object: &mut Value, name: &str, value: &Value) {
    fields(object).retain(|known, of| known != name || of != value);
}

fn elements(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn list(value: &mut Value) -> &mut Vec<Value> {
    value.as_array_mut().unwrap()
}

fn fields(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().unwrap()
}
