//! Every stream recorded from a real provider decodes to the result of the provider's own SDK, at
//! once and byte by byte. Every recorded error response keeps its message.
//!
//! The recordings are beside the checkout, in the folder that `KERB_STREAM_SHARED` names.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use kerb_stream::{
    Environment, Error, ErrorKind, FinishReason, GenerationConfig, GenerationStream, LlmProvider,
    Protocol, Usage, generate,
};
use serde_json::Value;

use crate::support::reader::in_pieces;
use crate::support::{Outcome, Server, shared};

/// The folders of recordings. The older is first.
pub(super) const SETS: [&str; 2] = ["streams", "streams-2"];

/// Cases in which we deliberately differ from the provider's SDK: the case, what differs, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "anthropic.anthropic-programmatic-tool-calling-1.0.5394e9db",
        "tool calls",
        "the input came as an object; we keep its text as it came, without a blank after the colon",
    ),
    (
        "anthropic.anthropic-programmatic-tool-calling-1.1.6f77857c",
        "tool calls",
        "the input came as an object; we keep its text as it came, without a blank after the colon",
    ),
    (
        "google.streaming-failure-prompt-blocked-safety.0.5c106a27",
        "finish reason",
        "a blocked prompt has no finish reason there; we give the block reason as one",
    ),
    (
        "google.google-stream-no-args-tool-call.0.5206dc28",
        "tool calls",
        "the pieces of a call's arguments are calls there; we put them together",
    ),
    (
        "google.google-stream-tool-call-arguments.0.9d5c2d9c",
        "tool calls",
        "the pieces of a call's arguments are calls there; we put them together",
    ),
    (
        "snowflake.test-snowflake-thinking-streaming.0.684feae8",
        "reasoning",
        "it stands only in `reasoning_details`, which the SDK passes over",
    ),
    (
        "openrouter.minimax-minimax-m1-object-streaming.0.10f3311c",
        "end",
        "no text, no call and no finish reason: an empty stream, although usage came",
    ),
    (
        "openrouter.minimax-minimax-m2-free-object-streaming.0.42edf645",
        "end",
        "no text, no call and no finish reason: an empty stream, although usage came",
    ),
    (
        "openrouter.qwen-qwen3-coder-object-streaming.0.4c7ecbba",
        "end",
        "no text, no call and no finish reason: an empty stream, although usage came",
    ),
    (
        "openai.openai-gpt-4o-responses-stream.1.9d5fdf0f",
        "text",
        "two messages are run together there; we set them apart by a blank line",
    ),
    (
        "openai.openai-gpt-4o-responses-stream.1.9d5fdf0f",
        "deltas",
        "the chunk that begins the second message has the blank line before it",
    ),
];

/// Spoken responses with the pieces of their transcript. The transcript is the text for us, while
/// the SDK has no text.
const SPOKEN: &[(&str, &[&str])] = &[
    ("openai.genstream-maxtokens.0.56f5bd67", &["Sure", "!"]),
    ("openai.gpt-audio-genstream-stop.0.19727619", &["Canada", " "]),
];

/// Protocols that the crate does not support.
const FOREIGN: &[&str] = &[
    "google-interactions",
    "openai-assistants",
    "openai-transcription",
    "watsonx-text",
    "writer-completions",
];

/// The folders that are read: the name, the protocol, and the number of cases in each set.
pub(super) const READ: &[(&str, Protocol, [usize; 2])] = &[
    ("anthropic-messages", Protocol::Messages, [66, 63]),
    ("cohere-v2", Protocol::CohereChat, [8, 19]),
    ("google-gemini", Protocol::GenerateContent, [54, 31]),
    ("mistral-chat", Protocol::ChatCompletions, [16, 18]),
    ("openai-chat", Protocol::ChatCompletions, [171, 240]),
    ("openai-completions", Protocol::ChatCompletions, [3, 7]),
    ("openai-responses", Protocol::Responses, [51, 50]),
];

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn chat_completions() {
    check(Protocol::ChatCompletions);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn messages() {
    check(Protocol::Messages);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn generate_content() {
    check(Protocol::GenerateContent);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn cohere_chat() {
    check(Protocol::CohereChat);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn responses() {
    check(Protocol::Responses);
}

/// A folder that no test reads would prove nothing.
#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn every_folder_is_read_or_foreign() {
    let mut known: Vec<_> = READ.iter().map(|(folder, ..)| *folder).collect();
    known.extend(FOREIGN.iter().chain(&["errors", "README.md"]));
    for set in SETS {
        for entry in std::fs::read_dir(shared(set)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&&*name), "no test reads {set}/{name}");
        }
    }
}

fn check(protocol: Protocol) {
    let mut failures = BTreeMap::new();
    let mut seen = 0;
    for (folder, _, counts) in READ.iter().filter(|(_, known, _)| *known == protocol) {
        for (set, count) in SETS.iter().zip(counts) {
            let folder = shared(set).join(folder);
            let cases = cases(&folder);
            assert_eq!(cases.len(), *count, "in {}", folder.display());
            for path in cases {
                let case: Value = json(&path);
                let id = case["id"].as_str().unwrap();
                let mut differences = differences(&case, &path.with_extension("sse"), protocol);
                for (_, what, _) in DIFFERENCES.iter().filter(|(known, ..)| *known == id) {
                    let before = differences.len();
                    differences.retain(|difference| !difference.starts_with(what));
                    if differences.len() == before {
                        differences.push(format!("{what} is as it is there, against DIFFERENCES"));
                    }
                }
                if !differences.is_empty() {
                    failures.insert(format!("{set}/{id}"), differences);
                }
                seen += 1;
            }
        }
    }
    assert!(failures.is_empty(), "{} of {seen}: {failures:#?}", failures.len());
}

/// Responses sends all content twice. If a relay loses, doubles or reorders events, the result must
/// be an error or the same response.
#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn events_that_are_lost_or_mixed_up_make_an_error_or_no_difference() {
    let config = GenerationConfig::default().protocol(Protocol::Responses);
    let read = |body: String| {
        let stream = GenerationStream::from_reader(Cursor::new(body), &config);
        let response = stream.into_response().ok()?;
        let calls = response.tool_calls.into_iter().map(|call| (call.name, call.arguments));
        let mut calls: Vec<_> = calls.collect();
        // A call whose events were lost comes last, so the order is ignored.
        calls.sort();
        Some((response.content, calls))
    };
    let (mut changed, mut mended, mut whole_recordings) = (0, 0, 0);
    for set in SETS {
        for case in cases(&shared(set).join("openai-responses")) {
            let body = std::fs::read_to_string(case.with_extension("sse")).unwrap();
            let body = body.replace("\r\n", "\n");
            // Recordings of failed responses cannot be compared.
            let Some(whole) = read(body.clone()) else { continue };
            whole_recordings += 1;
            let events: Vec<&str> = body.split_inclusive("\n\n").collect();
            let mut changes: Vec<(String, Vec<&str>)> = Vec::new();
            for at in (0..events.len()).step_by(events.len().div_ceil(12)) {
                let what = |how: &str| format!("{how} {}", events[at]);
                changes.push((what("without"), [&events[..at], &events[at + 1..]].concat()));
                changes.push((what("twice"), [&events[..=at], &events[at..]].concat()));
                let mut mixed = events.clone();
                mixed.swap(at, (at + 1).min(events.len() - 1));
                changes.push((what("later"), mixed));
            }
            // ChatGPT's endpoint for Codex does not repeat the content at the end.
            let tells_again = !events.iter().any(|event| {
                event.contains("response.completed") && event.contains("\"output\":[]")
            });
            for index in (0..8).filter(|_| tells_again) {
                let of = format!("\"output_index\":{index},");
                let rest = events.iter().copied().filter(|event| !event.contains(&of));
                changes.push((format!("without item {index}"), rest.collect()));
            }
            for (how, events) in changes {
                changed += 1;
                let Some((text, calls)) = read(events.concat()) else { continue };
                mended += 1;
                let is_same = (text.trim(), &calls) == (whole.0.trim(), &whole.1);
                assert!(is_same, "{} {how}: {text:?}, {calls:?}", case.display());
            }
        }
    }
    assert!(whole_recordings > 90 && mended > 1_000 && mended < changed, "{mended} of {changed}");
}

/// Returns the JSON files of a folder that have a stream beside them.
pub(super) fn cases(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_stream = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sse");
    paths.filter(is_stream).map(|path| path.with_extension("json")).collect()
}

pub(super) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn differences(case: &Value, stream: &Path, protocol: Protocol) -> Vec<String> {
    let bytes = std::fs::read(stream).unwrap();
    let config = config(case).protocol(protocol);
    let whole = Cursor::new(bytes.clone());
    let whole = Outcome::of(GenerationStream::from_reader(whole, &config));
    let single = in_pieces(bytes, &[1]);
    let single = Outcome::of(GenerationStream::from_reader(single, &config));
    let mut differences = differences_to(&whole, case, protocol);
    let told = std::fs::read_to_string(stream).unwrap();
    let tier = served(&told, protocol);
    if whole.response.service_tier != tier {
        let ours = &whole.response.service_tier;
        differences.push(format!("service tier: {ours:?} is not {tier:?}"));
    }
    if whole.without_times() != single.without_times() {
        differences.push("read byte by byte it is another response".to_owned());
    }
    differences
}

/// Returns the last service tier in a stream: from an event itself, its response or its usage.
/// Early events of Responses are skipped, because they repeat the requested tier.
fn served(stream: &str, protocol: Protocol) -> Option<String> {
    let events = stream.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line.strip_prefix("data:")?).ok()?;
        let ends = ["response.completed", "response.incomplete", "response.failed"];
        let counts =
            protocol != Protocol::Responses || ends.iter().any(|end| event["type"] == *end);
        counts.then_some(event)
    });
    let tiers = events.filter_map(|event| {
        let places = ["/service_tier", "/response/service_tier", "/usage/service_tier"];
        let more = ["/message/usage/service_tier", "/usageMetadata/serviceTier"];
        let tier = places.iter().chain(&more).find_map(|place| event.pointer(place)?.as_str());
        tier.filter(|tier| !tier.is_empty()).map(str::to_owned)
    });
    tiers.reduce(|_, latest| latest)
}

/// Returns a configuration for the vendor of the case, or else for the vendor of its model.
pub(super) fn config(case: &Value) -> GenerationConfig {
    let in_url = case["request"]["url"].as_str().and_then(|url| url.split_once("models/"));
    let in_url = in_url.and_then(|(_, model)| model.split(':').next());
    let asked = case["request"]["body"]["model"].as_str().or(in_url);
    let model = asked.or(case["expected"]["model"].as_str()).unwrap_or("any");
    let config = GenerationConfig::new(model);
    let provider = match case["provider"].as_str().unwrap() {
        "unknown" | "openaicompatible" => return config,
        "api.cohere.ai" => LlmProvider::Cohere,
        "chatgpt-codex" => LlmProvider::OpenAi,
        "google-vertex" | "google_vertex" => LlmProvider::Google,
        "ollama-cloud" => LlmProvider::Ollama,
        name => name.parse().unwrap_or(LlmProvider::Local),
    };
    config.provider(provider)
}

/// The way in which a stream ended.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    Well,
    /// The provider reported an error.
    Told,
    Cut,
    Otherwise,
}

impl End {
    fn of(outcome: &Outcome) -> Self {
        match outcome.error() {
            None => Self::Well,
            Some(error) if error.body().is_some() => Self::Told,
            Some(error) if error.kind() == ErrorKind::Incomplete => Self::Cut,
            Some(_) => Self::Otherwise,
        }
    }
}

fn differences_to(outcome: &Outcome, case: &Value, protocol: Protocol) -> Vec<String> {
    let mut expected = expected(case);
    if let Some((_, pieces)) = SPOKEN.iter().find(|(id, _)| case["id"] == *id) {
        expected["text"] = pieces.concat().into();
        expected["text_delta_byte_lens"] = pieces.iter().map(|piece| piece.len()).collect();
    }
    let mut differences = Vec::new();
    let mut check = |what: &str, ours: Value, theirs: &Value| {
        let nothing = |v: &Value| v.is_null() || v == "" || v == &Value::Array(Vec::new());
        if ours != *theirs && !(nothing(&ours) && nothing(theirs)) {
            differences.push(format!("{what}: {ours} is not {theirs}"));
        }
    };
    let response = &outcome.response;
    let refusal = expected["refusal"].as_str().unwrap_or_default();
    let text = expected["text"].as_str().unwrap_or_default();
    check("text", response.content.as_str().into(), &format!("{text}{refusal}").into());
    if refusal.is_empty() {
        let lengths: Vec<_> =
            outcome.chunks.iter().map(|c| c.content.len()).filter(|&length| length > 0).collect();
        check("deltas", lengths.into(), &expected["text_delta_byte_lens"]);
    }
    // Cohere's plan for its tools is reasoning for us.
    let reasoning = [&expected["reasoning"], &expected["tool_plan"]];
    let reasoning: String = reasoning.iter().filter_map(|text| text.as_str()).collect();
    check("reasoning", response.reasoning.as_str().into(), &reasoning.into());
    check("id", response.id.as_deref().into(), &expected["id"]);
    check("refusal", response.refusal.as_deref().into(), &expected["refusal"]);
    check("model", response.model.as_deref().into(), &expected["model"]);
    let reason = match &expected["incomplete_reason"] {
        Value::Null => &expected["finish_reason"],
        reason => reason,
    };
    check("finish reason", response.raw_finish_reason.as_deref().into(), reason);
    let calls = |list: Vec<(&str, &str, Value)>| {
        Value::from_iter(
            list.into_iter()
                .map(|(id, name, arguments)| Value::from_iter([id.into(), name.into(), arguments])),
        )
    };
    // Gemini's arguments are a JSON object, so they are compared by value, not as text.
    let arguments = |text: &str| {
        if protocol == Protocol::GenerateContent {
            serde_json::from_str(text).unwrap_or_default()
        } else {
            Value::from(text)
        }
    };
    let ours = response.tool_calls.iter();
    let theirs = expected["tool_calls"].as_array().cloned().unwrap_or_default();
    check(
        "tool calls",
        calls(ours.map(|c| (c.id.as_str(), c.name.as_str(), arguments(&c.arguments))).collect()),
        &calls(
            theirs
                .iter()
                .enumerate()
                .map(|(at, call)| {
                    let id = call["id"].as_str().filter(|id| !id.is_empty());
                    let own = response.tool_calls.get(at).map_or("", |call| call.id.as_str());
                    let text = call["arguments"].as_str().unwrap_or_default();
                    (id.unwrap_or(own), call["name"].as_str().unwrap_or_default(), arguments(text))
                })
                .collect(),
        ),
    );
    if !response.tool_calls.is_empty() && response.finish_reason == Some(FinishReason::Stop) {
        differences.push("a stop with tool calls".to_owned());
    }
    differences.extend(usage_differences(response.usage, &expected["usage_raw"], protocol));
    differences.extend(end_differences(outcome, &expected, case));
    differences
}

/// Returns the result to which a recording must decode.
pub(super) fn expected(case: &Value) -> Value {
    let mut expected = case["expected"].clone();
    if let Some(Value::Object(flushed)) = expected.get("if_tail_flushed").cloned() {
        // We accept a last event that lacks only its blank line.
        expected.as_object_mut().unwrap().extend(flushed);
    }
    expected
}

fn end_differences(outcome: &Outcome, expected: &Value, case: &Value) -> Option<String> {
    let (end, says) = expected_end(expected, case);
    let (ours, error) = (End::of(outcome), outcome.message());
    (ours != end || !error.contains(says))
        .then(|| format!("end: {ours:?} with {error:?} is not {end:?} with {says:?}"))
}

/// Returns the expected end: `Well` for a whole response, `Told` with the provider's message for a
/// failed one, otherwise `Cut`.
pub(super) fn expected_end<'a>(expected: &'a Value, case: &Value) -> (End, &'a str) {
    let text = |path: &str| expected.pointer(path).and_then(Value::as_str);
    let is = |path: &str| expected.pointer(path).is_some_and(|value| !value.is_null());
    let reason = text("/finish_reason").or(text("/block_reason")).filter(|r| !r.is_empty());
    let told = is("/stream_error")
        || is("/error_outside_sse")
        || reason.is_some_and(|reason| FAILURES.contains(&reason));
    // The end marker alone is not enough, because some servers send it after a failure too.
    let is_marked = is("/sse/done_marker") && (is("/usage") || case["provider"] == "ollama");
    let message = ["/stream_error/message", "/stream_error", "/error_outside_sse/message"];
    let message = message.iter().find_map(|path| text(path)).unwrap_or_default();
    match (told, reason.is_some() || is_marked) {
        (true, _) => (End::Told, message.trim_end_matches('.')),
        (false, true) => (End::Well, ""),
        (false, false) => (End::Cut, ""),
    }
}

/// Compares usage with the provider's counts, by the meaning of their names: all tokens that were
/// read and all that were written. Some providers include the cached and reasoning tokens in these
/// totals, and others count them separately.
fn usage_differences(ours: Option<Usage>, raw: &Value, protocol: Protocol) -> Vec<String> {
    let inner = raw.as_object().into_iter().flat_map(|raw| raw.values());
    let objects: Vec<_> = inner.chain([raw]).collect();
    let count = |names: &[&str]| {
        let counts = names.iter().flat_map(|name| objects.iter().map(|at| at[*name].as_u64()));
        counts.max().flatten()
    };
    let beside: &[&str] = match protocol {
        Protocol::Messages => &["cache_read_input_tokens", "cache_creation_input_tokens"],
        Protocol::GenerateContent => &["toolUsePromptTokenCount"],
        _ => &[],
    };
    let read = count(&["prompt_tokens", "input_tokens", "promptTokenCount"]);
    let read = read.map(|read| read + beside.iter().filter_map(|name| count(&[name])).sum::<u64>());
    let reasoning = count(&["reasoning_tokens", "thinking_tokens", "thoughtsTokenCount"]);
    let written = count(&["completion_tokens", "output_tokens", "candidatesTokenCount"]);
    let written = written.or(read.map(|_| 0));
    let total = count(&["total_tokens", "totalTokenCount"]);
    let sum = |written: Option<u64>| Some(read? + written?);
    let both = written.map(|written| written + reasoning.unwrap_or_default());
    let is_beside = sum(written) != total && sum(both) == total;
    let written = if is_beside { both } else { written };
    let cached = count(&[
        "cached_tokens",
        "num_cached_tokens",
        "prompt_cache_hit_tokens",
        "cache_read_input_tokens",
        "cachedContentTokenCount",
    ]);
    let written_to_cache = count(&["cache_write_tokens", "cache_creation_input_tokens"]);
    let pairs = [
        ("input", read, ours.map(|ours| ours.prompt_tokens)),
        ("output", written, ours.map(|ours| ours.completion_tokens)),
        ("total", sum(written).max(total), ours.map(|ours| ours.total_tokens)),
        ("cached", cached, ours.and_then(|ours| ours.cached_tokens)),
        ("cache writes", written_to_cache, ours.and_then(|ours| ours.cache_write_tokens)),
        ("reasoning", reasoning, ours.and_then(|ours| ours.reasoning_tokens)),
    ];
    let differing = pairs.into_iter().filter(|(_, theirs, ours)| theirs != ours);
    differing
        .map(|(name, theirs, ours)| format!("usage {name}: {ours:?} is not {theirs:?}"))
        .collect()
}

/// The finish reasons of a failed response.
const FAILURES: &[&str] =
    &["error", "insufficient_system_resource", "network_error", "ERROR", "TIMEOUT", "failed"];

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn errors() {
    let mut failures = BTreeMap::new();
    for (set, count) in SETS.iter().zip([75, 72]) {
        let folder = shared(set).join("errors");
        let paths: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(paths.len(), count, "in {}", folder.display());
        for path in paths {
            let case = json(&path);
            let differences = error_differences(&case);
            if !differences.is_empty() {
                failures.insert(format!("{set}/{}", case["id"].as_str().unwrap()), differences);
            }
        }
    }
    assert!(failures.is_empty(), "{}: {failures:#?}", failures.len());
}

/// Errors with status 400 that are about the API key.
const KEYS: &[&str] =
    &["google-vertex.400.66415d57d5", "google-vertex.400.d469fa4d2a", "google.400.362254c67d"];
/// Errors with status 400 that are about the length of the prompt.
const LENGTHS: &[&str] = &[
    "bedrock.400.0e6e6e0b26",
    "cohere.400.6a92e75237",
    "deepseek.400.92b4931ced",
    "google-vertex.400.12a7832d6a",
    "openai.400.e31a7dc494",
    "openrouter.400.5ca09608b7",
];
/// Errors with status 400 that are about the model name.
const MODELS: &[&str] = &[
    "deepseek.400.8dff7d8280",
    "deepseek.400.caf4269efc",
    "mistral.400.21dfd7379c",
    "openai.400.0d830ec15e",
    "openai.400.47820eadd1",
    "openai.400.c16e6e63f6",
    "xiaomi.400.3edfafd802",
];

fn error_differences(case: &Value) -> Vec<String> {
    let config = config(case)
        .base_url(answering(case).url())
        .api_key("sk-something")
        .max_retries(0)
        .environment(Environment::empty());
    let error = generate("Hi", config).unwrap_err();
    let Some(error) = Error::of(&error).filter(|error| error.body().is_some()) else {
        return vec![format!("it is another error: {error:#}")];
    };
    let mut differences = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            differences.push(what);
        }
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = |value: &Value| match value {
        Value::String(text) => Some(words(text)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    check(error.status().map(Value::from).as_ref() == Some(&case["status"]), "status".to_owned());
    let id = case["id"].as_str().unwrap();
    let kind = match case["status"].as_u64().unwrap() {
        _ if KEYS.contains(&id) => ErrorKind::Auth,
        _ if LENGTHS.contains(&id) => ErrorKind::ContextLength,
        _ if MODELS.contains(&id) => ErrorKind::NotFound,
        401 | 403 => ErrorKind::Auth,
        402 => ErrorKind::Quota,
        404 => ErrorKind::NotFound,
        500 => ErrorKind::Server,
        _ => ErrorKind::InvalidRequest,
    };
    check(error.kind() == kind, format!("kind: {} is not {kind}", error.kind()));
    let gist = &case["gist"];
    let mut message = text(&gist["message"]);
    // Xiaomi's message is generic, but its `param` is a sentence.
    if let (Some(message), Some(param)) = (&mut message, gist["param"].as_str())
        && param.contains(' ')
    {
        *message += &format!(": {param}");
    }
    match message {
        // A long message is truncated.
        Some(message) => check(
            message.starts_with(error.message().trim_end_matches('…'))
                && error.message().len() >= message.len().min(900),
            format!("message: {:?} is not {message:?}", error.message()),
        ),
        None => check(
            !error.message().is_empty() && !error.message().contains("<html"),
            format!("message: {:?}", error.message()),
        ),
    }
    let code = text(&gist["code"]);
    let told = code.or(text(&gist["type"]));
    if let Some(told) = &told {
        check(error.code() == Some(told), format!("code: {:?} is not {told:?}", error.code()));
    }
    if let Some(told) = text(&gist["type"]) {
        check(
            error.to_string().contains(&format!("(type {told}")),
            format!("type: {told:?} is not in {error}"),
        );
    }
    let names = ["x-request-id", "request-id", "mistral-correlation-id", "apim-request-id"];
    let names = names.iter().chain(&["x-amzn-requestid"]);
    let id = names.filter_map(|name| case["headers"][*name].as_str()).next();
    if id.is_some() {
        check(error.request_id() == id, format!("request id: {:?}", error.request_id()));
    }
    differences
}

/// Returns a server that sends one recorded response.
fn answering(case: &Value) -> Server {
    let body = case["body"].as_str().unwrap();
    let mut head =
        format!("HTTP/1.1 {} Recorded\r\ncontent-length: {}\r\n", case["status"], body.len());
    for (name, value) in case["headers"].as_object().unwrap() {
        if !["content-length", "transfer-encoding"].contains(&name.as_str()) {
            head += &format!("{name}: {}\r\n", value.as_str().unwrap());
        }
    }
    let answer = format!("{head}connection: close\r\n\r\n{body}");
    let server = Server::start(move |connection| {
        connection.request()?;
        connection.write(&answer)
    });
    server.unwrap()
}
