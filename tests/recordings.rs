//! Every stream recorded from a real provider decodes to what its own SDK made of it, whole and byte by
//! byte; every recorded error answer keeps its message.
//!
//! The recordings lie beside the checkout, in the folder that `KERB_STREAM_SHARED` names.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use kerb_stream::{
    Error, FinishReason, GenerationConfig, GenerationResponse, GenerationStream, LlmProvider,
    Protocol, StreamChunk,
};
use serde_json::Value;

/// Cases in which we differ on purpose, with the reason.
const DIFFERENCES: &[(&str, &str)] = &[];

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
fn chat_completions() {
    check(
        "openai-chat",
        Protocol::ChatCompletions,
        LlmProvider::Local,
        171,
    );
    check(
        "mistral-chat",
        Protocol::ChatCompletions,
        LlmProvider::Mistral,
        16,
    );
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
        let config = GenerationConfig::new("any")
            .provider(provider)
            .protocol(protocol);
        let whole = Outcome::of(GenerationStream::from_reader(
            &config,
            std::io::Cursor::new(bytes.clone()),
        ));
        let single = Outcome::of(GenerationStream::from_reader(
            &config,
            OneByOne(bytes.into_iter()),
        ));
        let mut differences = whole.differences(&case["expected"]);
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
    assert!(
        failures.is_empty(),
        "{} of {seen}: {failures:#?}",
        failures.len()
    );
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
                    outcome.error = Some(
                        error
                            .to_string()
                            .split(", after")
                            .next()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        assert!(stream.next().is_none());
        outcome.response = stream.response().clone();
        outcome.response.latency = Default::default();
        outcome.response.time_to_first_text = None;
        outcome
    }

    fn differences(&self, expected: &Value) -> Vec<String> {
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
        check(
            "text",
            response.content.as_str().into(),
            &format!("{text}{refusal}").into(),
        );
        if refusal.is_empty() {
            let lengths: Vec<_> = self
                .chunks
                .iter()
                .map(|c| c.content.len())
                .filter(|&length| length > 0)
                .collect();
            check("deltas", lengths.into(), &expected["text_delta_byte_lens"]);
        }
        check(
            "reasoning",
            response.reasoning.as_str().into(),
            &expected["reasoning"],
        );
        check(
            "model",
            response.model.as_deref().into(),
            &expected["model"],
        );
        let reason = match &expected["incomplete_reason"] {
            Value::Null => &expected["finish_reason"],
            reason => reason,
        };
        check(
            "finish reason",
            response.raw_finish_reason.as_deref().into(),
            reason,
        );
        let calls =
            |list: Vec<(&str, &str, Value)>| {
                Value::from_iter(list.into_iter().map(|(id, name, arguments)| {
                    Value::from_iter([id.into(), name.into(), arguments])
                }))
            };
        let gemini = expected["tool_calls"].pointer("/0/args").is_some();
        let arguments = |text: &str| {
            if gemini {
                serde_json::from_str(text).unwrap_or_default()
            } else {
                Value::from(text)
            }
        };
        let ours = response.tool_calls.iter();
        let theirs = expected["tool_calls"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        check(
            "tool calls",
            calls(
                ours.map(|c| (c.id.as_str(), c.name.as_str(), arguments(&c.arguments)))
                    .collect(),
            ),
            &calls(
                theirs
                    .iter()
                    .enumerate()
                    .map(|(at, call)| {
                        let id = call["id"].as_str().filter(|id| !id.is_empty());
                        let own = response
                            .tool_calls
                            .get(at)
                            .map_or("", |call| call.id.as_str());
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
        differences.extend(self.usage_differences(&expected["usage"]));
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

    fn usage_differences(&self, expected: &Value) -> Vec<String> {
        let ours = self.response.usage.unwrap_or_default();
        let pairs = [
            ("input", Some(ours.prompt_tokens)),
            ("output", Some(ours.completion_tokens)),
            ("total", Some(ours.total_tokens)),
            ("cached", ours.cached_tokens),
            ("reasoning", ours.reasoning_tokens),
        ];
        let differs = |(name, ours): &(&str, Option<u64>)| {
            let theirs = expected[*name].as_u64();
            theirs.is_some() && theirs != *ours
        };
        let differing = pairs.into_iter().filter(differs);
        differing
            .map(|(name, ours)| format!("usage {name}: {ours:?}, {}", expected[name]))
            .collect()
    }
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
