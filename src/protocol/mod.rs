//! The wire protocols.
//!
//! A protocol is one file. It says where to send (its `CODEC`), turns a [`ChatRequest`] into a
//! request's body, and reads events into a [`ChunkBuilder`]. It does no I/O, and does not decide
//! whether to try again or whether an answer is whole. `api_error` reads the errors of all of them.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::provider::Protocol;

mod api_error;
mod builder;
mod chat_completions;
mod chat_request;
mod claude;
mod codec;
mod cohere_chat;
mod common;
mod generate_content;
mod json;
mod messages;
mod options;
mod responses;
mod told;
#[cfg(test)]
#[path = "visitors/tests.rs"]
mod visitors;
mod wire;

pub(crate) use api_error::api_error;
pub(crate) use builder::ChunkBuilder;
pub use chat_request::Adaptation;
pub(crate) use chat_request::ChatRequest;
pub(crate) use codec::{Codec, Decoder};
pub(crate) use options::{OPTIONS, only_options};

/// The body of a request, before the caller's own fields are merged into it.
pub(crate) fn encode(
    request: ChatRequest<'_>,
    protocol: Protocol,
) -> Result<Map<String, Value>, Error> {
    (codec(protocol).body)(request)
}

/// How a protocol is spoken.
pub(crate) fn codec(protocol: Protocol) -> &'static Codec {
    match protocol {
        Protocol::ChatCompletions => &chat_completions::CODEC,
        Protocol::Responses => &responses::CODEC,
        Protocol::Messages => &messages::CODEC,
        Protocol::GenerateContent => &generate_content::CODEC,
        Protocol::CohereChat => &cohere_chat::CODEC,
    }
}

/// What the protocols' tests share.
#[cfg(test)]
mod testing {
    use std::cell::RefCell;

    use serde_json::Value;

    use super::*;
    use crate::config::GenerationConfig;
    use crate::message::Prompt;
    use crate::provider::LlmProvider;
    use crate::response::GenerationResponse;
    use crate::sse::Event;

    /// The body that is sent for a prompt, or the error's message.
    pub(super) fn sent(
        protocol: Protocol,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
    ) -> Result<Value, String> {
        let speaks = |provider: &&LlmProvider| provider.vendor().protocol == protocol;
        let prompt = prompt.into();
        let request = ChatRequest {
            provider: *LlmProvider::ALL.iter().find(speaks).unwrap_or(&LlmProvider::OpenAi),
            model: &config.model,
            messages: prompt.messages(),
            config,
            adaptations: &RefCell::default(),
        };
        encode(request, protocol).map(Value::from).map_err(|error| error.to_string())
    }

    /// The answer that events without names make, and the failure that they tell.
    pub(super) fn decoded(
        protocol: Protocol,
        events: &[&str],
    ) -> (GenerationResponse, Option<String>) {
        let (mut decoder, mut output) = ((codec(protocol).decoder)(), ChunkBuilder::new(9, 9999));
        let mut response = GenerationResponse::default();
        for data in events {
            decoder.decode(&Event { name: "", data }, &mut output).unwrap();
            response.fold(&output.take());
        }
        response.replay = output.replay(LlmProvider::Local, protocol);
        (response, output.failure)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::attachment::Attachment;
    use crate::config::{GenerationConfig, Reasoning};
    use crate::message::Message;
    use crate::provider::LlmProvider;

    #[test]
    fn what_is_no_picture_is_refused_by_name() {
        for &protocol in Protocol::ALL {
            for (attachment, says) in [
                (Attachment::bytes("application/pdf", b"%PDF-"), "is application/pdf"),
                (Attachment::url("https://example.com/a.pdf?b=c.png"), "a.pdf is application/pdf"),
                (Attachment::url("https://example.com/a"), "of the attachment a is unknown"),
            ] {
                let prompt = Message::user("Read this.").attach(attachment);
                let error =
                    testing::sent(protocol, prompt, &GenerationConfig::new("m")).unwrap_err();
                assert!(error.contains(says), "{protocol}: {error}");
            }
        }
    }

    #[test]
    fn each_protocol_says_the_highest_levels() {
        for (reasoning, words) in [
            (Reasoning::XHigh, ["\"xhigh\"", "\"xhigh\"", "\"xhigh\"", "\"high\"", "32768"]),
            (Reasoning::Max, ["\"max\"", "\"max\"", "\"max\"", "\"high\"", "32768"]),
        ] {
            let config = GenerationConfig::new("m").reasoning(reasoning);
            for (&protocol, word) in Protocol::ALL.iter().zip(words) {
                let body = testing::sent(protocol, "Hi", &config).unwrap().to_string();
                assert!(body.contains(&format!(":{word}")), "{protocol}: {body}");
            }
        }
    }

    /// The tables of `docs/providers.md` that say what the code does; `KERB_STREAM_WRITE=1` writes
    /// them.
    #[test]
    fn the_tables_in_the_docs_are_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
        let written = std::fs::read_to_string(path).unwrap();
        let mut docs = written.clone();
        for (name, table) in [("vendors", vendors_table()), ("options", options_table())] {
            let start = format!("<!-- {name} -->\n");
            let from = docs.find(&start).unwrap() + start.len();
            let to = from + docs.split_at(from).1.find("<!-- end -->").unwrap();
            docs.replace_range(from..to, &table);
        }
        if std::env::var_os("KERB_STREAM_WRITE").is_some() {
            std::fs::write(path, docs).unwrap();
        } else {
            assert_eq!(docs, written, "KERB_STREAM_WRITE=1 cargo test the_tables writes them");
        }
    }

    fn vendors_table() -> String {
        let code = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let mut table = "| Provider | Protocol | Models | Base URL | Variable | Key |\n".to_owned();
        table += "|---|---|---|---|---|---|\n";
        for provider in LlmProvider::ALL {
            let vendor = provider.vendor();
            let url = if vendor.base_url.is_empty() {
                String::new()
            } else {
                format!("`{}`", vendor.base_url)
            };
            let begin: Vec<_> = vendor.model_prefixes.iter().map(|p| format!("{p}…")).collect();
            let models = code(&begin.iter().map(String::as_str).collect::<Vec<_>>());
            let variable = vendor.base_url_variable.map(|(name, _)| format!("`{name}`"));
            table += &format!(
                "| `{}` | `{}` | {models} | {url} | {} | {} |\n",
                provider,
                vendor.protocol,
                variable.unwrap_or_default(),
                code(vendor.key_variables),
            );
        }
        table
    }

    /// Which option each protocol takes, found out by asking it.
    fn options_table() -> String {
        use crate::config::ResponseFormat;
        use crate::tool::{Tool, ToolChoice};

        let new = || GenerationConfig::new("m");
        let schema = || ResponseFormat::json_schema("s", serde_json::json!({"type": "object"}));
        let tool = || Tool::function("t", "", serde_json::json!({"type": "object"}));
        let options = [
            ("temperature", new().temperature(0.5)),
            ("top_p", new().top_p(0.5)),
            ("top_k", new().top_k(5)),
            ("max_tokens", new().max_tokens(5000)),
            ("stop", new().stop(["x"])),
            ("frequency_penalty", new().frequency_penalty(0.5)),
            ("presence_penalty", new().presence_penalty(0.5)),
            ("seed", new().seed(5)),
            ("logprobs", new().logprobs(0)),
            ("logprobs with alternatives", new().logprobs(3)),
            ("response_format: JSON", new().response_format(ResponseFormat::Json)),
            ("response_format: schema", new().response_format(schema())),
            ("reasoning: a level", new().reasoning(Reasoning::Low)),
            ("reasoning: a budget", new().reasoning(Reasoning::Budget(2000))),
            ("tools", new().tools([tool()])),
            ("tool_choice: required", new().tools([tool()]).tool_choice(ToolChoice::Required)),
            (
                "tool_choice: a tool",
                new().tools([tool()]).tool_choice(ToolChoice::Tool("t".into())),
            ),
            ("parallel_tool_calls", new().tools([tool()]).parallel_tool_calls(false)),
        ];
        let columns = [
            ("Local", Protocol::ChatCompletions, LlmProvider::Local),
            ("OpenAI", Protocol::ChatCompletions, LlmProvider::OpenAi),
            ("Mistral", Protocol::ChatCompletions, LlmProvider::Mistral),
            ("Responses", Protocol::Responses, LlmProvider::OpenAi),
            ("Anthropic", Protocol::Messages, LlmProvider::Anthropic),
            ("Google", Protocol::GenerateContent, LlmProvider::Google),
            ("Cohere", Protocol::CohereChat, LlmProvider::Cohere),
        ];
        let names: Vec<_> = columns.iter().map(|(name, ..)| *name).collect();
        let mut table = format!("| Option | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(7));
        let messages = [Message::user("Hi")];
        for (option, config) in &options {
            let (name, rest) = option.split_at(option.find([':', ' ']).unwrap_or(option.len()));
            table += &format!("| `{name}`{rest} |");
            for (_, protocol, provider) in columns {
                let adaptations = RefCell::default();
                let request = ChatRequest {
                    provider,
                    model: "m",
                    messages: &messages,
                    config,
                    adaptations: &adaptations,
                };
                table += if encode(request, protocol).is_ok() { " ✓ |" } else { " – |" };
            }
            table.push('\n');
        }
        table
    }
}
