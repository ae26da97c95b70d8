//! Every stream recorded from a real provider decodes to what its own SDK made of it, whole and byte by
//! byte; every recorded error answer keeps its message.
//!
//! The recordings lie beside the checkout, in the folder that `KERB_STREAM_SHARED` names.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use kerb_stream::{
    Environment, Error, FinishReason, GenerationConfig, GenerationResponse, GenerationStream,
    LlmProvider, Protocol, StreamChunk, generate,
};
use serde_json::Value;

/// Cases in which we differ on purpose, with the reason.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "anthropic.anthropic-programmatic-tool-calling-1.0.5394e9db",
        "the input came as an object; we keep its text as it came, without a blank after the colon",
    ),
    (
        "anthropic.anthropic-programmatic-tool-calling-1.1.6f77857c",
        "the input came as an object; we keep its text as it came, without a blank after the colon",
    ),
    (
        "google.streaming-failure-prompt-blocked-safety.0.5c106a27",
        "a blocked prompt has no finish reason there; we give the block reason as one",
    ),
    (
        "google.google-stream-no-args-tool-call.0.5206dc28",
        "the pieces of a call's arguments are calls there; we put them together",
    ),
    (
        "google.google-stream-tool-call-arguments.0.9d5c2d9c",
        "the pieces of a call's arguments are calls there; we put them together",
    ),
];

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn chat_completions() {
    check("openai-chat", Protocol::ChatCompletions, LlmProvider::Local, 171);
    check("mistral-chat", Protocol::ChatCompletions, LlmProvider::Mistral, 16);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn messages() {
    check("anthropic-messages", Protocol::Messages, LlmProvider::Anthropic, 66);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn generate_content() {
    check("google-gemini", Protocol::GenerateContent, LlmProvider::Google, 54);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn cohere_chat() {
    check("cohere-v2", Protocol::CohereChat, LlmProvider::Cohere, 8);
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn responses() {
    check("openai-responses", Protocol::Responses, LlmProvider::OpenAi, 51);
}

fn check(folder: &str, protocol: Protocol, provider: LlmProvider, count: usize) {
    let folder = shared().join("streams").join(folder);
    let mut failures = BTreeMap::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sse") {
            continue;
        }
        let case: Value =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let config = GenerationConfig::new("any").provider(provider).protocol(protocol);
        let whole = Outcome::of(GenerationStream::from_reader(
            &config,
            std::io::Cursor::new(bytes.clone()),
        ));
        let single =
            Outcome::of(GenerationStream::from_reader(&config, OneByOne(bytes.into_iter())));
        let mut differences = whole.differences(&case["expected"], protocol);
        if whole != single {
            differences.push("read byte by byte it is another answer".to_owned());
        }
        let id = case["id"].as_str().unwrap();
        if !differences.is_empty() && !DIFFERENCES.iter().any(|(known, _)| *known == id) {
            failures.insert(id.to_owned(), differences);
        }
        seen += 1;
    }
    assert_eq!(seen, count, "in {}", folder.display());
    assert!(failures.is_empty(), "{} of {seen}: {failures:#?}", failures.len());
}

/// What a program sees of a stream.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    chunks: Vec<StreamChunk>,
    error: Option<String>,
    told: bool,
    response: GenerationResponse,
}

impl Outcome {
    fn of(mut stream: GenerationStream) -> Self {
        let mut outcome = Self::default();
        for item in &mut stream {
            match item {
                Ok(chunk) => outcome.chunks.push(chunk),
                Err(error) => {
                    outcome.told = matches!(Error::of(&error), Some(Error::Api(_)));
                    // How long it took is another thing each time.
                    outcome.error =
                        Some(error.to_string().split(", after").next().unwrap().to_owned());
                }
            }
        }
        assert!(stream.next().is_none());
        outcome.response = stream.response().clone();
        outcome.response.latency = Default::default();
        outcome.response.time_to_first_text = None;
        outcome
    }

    fn differences(&self, expected: &Value, protocol: Protocol) -> Vec<String> {
        let mut expected = expected.clone();
        if let Some(Value::Object(flushed)) = expected.get("if_tail_flushed").cloned() {
            // We count a last event that is whole but for its line end.
            expected.as_object_mut().unwrap().extend(flushed);
        }
        let mut differences = Vec::new();
        let mut check = |what: &str, ours: Value, theirs: &Value| {
            let nothing = |v: &Value| v.is_null() || v == "" || v == &Value::Array(Vec::new());
            if ours != *theirs && !(nothing(&ours) && nothing(theirs)) {
                differences.push(format!("{what}: {ours} is not {theirs}"));
            }
        };
        let response = &self.response;
        let refusal = expected["refusal"].as_str().unwrap_or_default();
        let text = expected["text"].as_str().unwrap_or_default();
        check("text", response.content.as_str().into(), &format!("{text}{refusal}").into());
        if refusal.is_empty() {
            let lengths: Vec<_> =
                self.chunks.iter().map(|c| c.content.len()).filter(|&length| length > 0).collect();
            check("deltas", lengths.into(), &expected["text_delta_byte_lens"]);
        }
        // Cohere's plan for its tools is what it thinks before it answers.
        let reasoning = [&expected["reasoning"], &expected["tool_plan"]];
        let reasoning: String = reasoning.iter().filter_map(|text| text.as_str()).collect();
        check("reasoning", response.reasoning.as_str().into(), &reasoning.into());
        check("model", response.model.as_deref().into(), &expected["model"]);
        let reason = match &expected["incomplete_reason"] {
            Value::Null => &expected["finish_reason"],
            reason => reason,
        };
        check("finish reason", response.raw_finish_reason.as_deref().into(), reason);
        let calls =
            |list: Vec<(&str, &str, Value)>| {
                Value::from_iter(list.into_iter().map(|(id, name, arguments)| {
                    Value::from_iter([id.into(), name.into(), arguments])
                }))
            };
        // Where the arguments are JSON within JSON, what counts is their value.
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
            calls(
                ours.map(|c| (c.id.as_str(), c.name.as_str(), arguments(&c.arguments))).collect(),
            ),
            &calls(
                theirs
                    .iter()
                    .enumerate()
                    .map(|(at, call)| {
                        let id = call["id"].as_str().filter(|id| !id.is_empty());
                        let own = response.tool_calls.get(at).map_or("", |call| call.id.as_str());
                        let text = call["arguments"].as_str().unwrap_or_default();
                        (
                            id.unwrap_or(own),
                            call["name"].as_str().unwrap_or_default(),
                            arguments(text),
                        )
                    })
                    .collect(),
            ),
        );
        if !response.tool_calls.is_empty() && response.finish_reason == Some(FinishReason::Stop) {
            differences.push("a stop with tool calls".to_owned());
        }
        differences.extend(self.usage_differences(&expected, protocol));
        let told = !(expected["stream_error"].is_null() && expected["error_outside_sse"].is_null());
        let message = ["/stream_error/message", "/error_outside_sse/message"]
            .iter()
            .find_map(|path| expected.pointer(path)?.as_str())
            .unwrap_or_default();
        let error = self.error.as_deref().unwrap_or_default();
        if told != self.told || !error.contains(message.trim_end_matches('.')) {
            differences.push(format!("error: {error:?} is not {message:?}"));
        }
        differences
    }

    /// The recordings have the numbers as each provider counts; ours mean the same everywhere.
    fn usage_differences(&self, expected: &Value, protocol: Protocol) -> Vec<String> {
        let theirs = |path: &str| expected.pointer(path).and_then(Value::as_u64);
        let sum =
            |paths: &[&str]| paths.iter().filter_map(|path| theirs(path)).reduce(|a, b| a + b);
        let input: &[&str] = match protocol {
            Protocol::Messages => &[
                "/usage/input",
                "/usage_raw/cache_read_input_tokens",
                "/usage_raw/cache_creation_input_tokens",
            ],
            Protocol::GenerateContent => &["/usage/input", "/usage_raw/toolUsePromptTokenCount"],
            _ => &["/usage/input"],
        };
        let output: &[&str] = match protocol {
            Protocol::GenerateContent => &["/usage/output", "/usage_raw/thoughtsTokenCount"],
            _ => &["/usage/output"],
        };
        let ours = self.response.usage.unwrap_or_default();
        let pairs = [
            ("input", sum(input), Some(ours.prompt_tokens)),
            ("output", sum(output), Some(ours.completion_tokens)),
            ("total", theirs("/usage/total"), Some(ours.total_tokens)),
            ("cached", theirs("/usage/cached"), ours.cached_tokens),
            ("reasoning", theirs("/usage/reasoning"), ours.reasoning_tokens),
        ];
        let differing =
            pairs.into_iter().filter(|(_, theirs, ours)| theirs.is_some() && theirs != ours);
        differing
            .map(|(name, theirs, ours)| format!("usage {name}: {ours:?}, {theirs:?}"))
            .collect()
    }
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn errors() {
    let mut seen = 0;
    for entry in std::fs::read_dir(shared().join("streams/errors")).unwrap() {
        let case: Value =
            serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let provider = match case["provider"].as_str().unwrap() {
            "google-vertex" => LlmProvider::Google,
            name => name.parse().unwrap_or(LlmProvider::Local),
        };
        let config = GenerationConfig::new("any")
            .provider(provider)
            .base_url(answering(&case))
            .api_key("sk-something")
            .max_retries(0)
            .environment(Environment::empty());
        let error = generate("Hi", config).unwrap_err();
        let Some(Error::Api(error)) = Error::of(&error) else {
            panic!("{}: {error:#}", case["id"])
        };
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let gist = &case["gist"];
        let text = |value: &Value| match value {
            Value::String(text) => Some(words(text)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let id = &case["id"];
        assert_eq!(error.status, case["status"].as_u64().map(|status| status as u16), "{id}");
        if let Some(message) = text(&gist["message"]) {
            // A long message is cut.
            assert!(
                message.starts_with(error.message.trim_end_matches('…')),
                "{id}: {}",
                error.message
            );
            assert!(error.message.len() >= message.len().min(900), "{id}: {}", error.message);
        }
        assert!(!error.message.contains("<html"), "{id}: {}", error.message);
        assert_eq!(error.code, text(&gist["code"]), "{id}");
        if let Some(kind) = text(&gist["type"]) {
            assert_eq!(error.error_type.as_deref(), Some(&*kind), "{id}");
        }
        let headers = &case["headers"];
        let request_id =
            ["x-request-id", "mistral-correlation-id", "apim-request-id", "x-amzn-requestid"]
                .iter()
                .find_map(|name| headers[*name].as_str());
        if request_id.is_some() {
            assert_eq!(error.request_id.as_deref(), request_id, "{id}");
        }
        seen += 1;
    }
    assert_eq!(seen, 75);
}

/// The base URL of a server that gives one recorded answer.
fn answering(case: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let body = case["body"].as_str().unwrap().to_owned();
    let mut head =
        format!("HTTP/1.1 {} Recorded\r\ncontent-length: {}\r\n", case["status"], body.len());
    for (name, value) in case["headers"].as_object().unwrap() {
        if !["content-length", "transfer-encoding"].contains(&name.as_str()) {
            head += &format!("{name}: {}\r\n", value.as_str().unwrap());
        }
    }
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        // The request is small: it comes in one read, or its rest does not matter.
        let _ = socket.read(&mut [0; 65536]);
        let _ = socket.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes());
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    url
}

/// Gives out one byte a read.
struct OneByOne(std::vec::IntoIter<u8>);

impl Read for OneByOne {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(match (self.0.next(), buffer) {
            (Some(byte), [first, ..]) => {
                *first = byte;
                1
            }
            _ => 0,
        })
    }
}

fn shared() -> &'static Path {
    let shared =
        std::env::var("KERB_STREAM_SHARED").expect("KERB_STREAM_SHARED names the shared folder");
    Box::leak(Box::from(Path::new(&shared)))
}
