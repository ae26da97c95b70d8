//! The wire protocols: how requests are encoded and how events are decoded.
//!
//! Each protocol is one file. Its `CODEC` names the path and the headers. It encodes a
//! [`ChatRequest`] as a request body, and decodes events into a [`ChunkBuilder`]. It does no I/O,
//! and it decides neither about retries nor whether a response is complete. `api_error` parses the
//! errors of all protocols.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::provider::Protocol;

mod api_error;
mod builder;
mod chat_completions;
mod chat_request;
mod cited;
mod claude;
mod codec;
mod cohere_chat;
mod common;
mod generate_content;
mod hosted;
mod json;
mod logprobs;
mod messages;
mod options;
mod own_tool;
mod responses;
mod schema;
mod told;
#[cfg(test)]
#[path = "visitors/tests.rs"]
mod visitors;
mod wire;

pub(crate) use api_error::api_error;
pub(crate) use builder::ChunkBuilder;
pub use chat_request::Adaptation;
pub(crate) use chat_request::ChatRequest;
pub(crate) use cited::Sources;
pub(crate) use codec::{Codec, Decoder};
pub(crate) use options::{OPTIONS, only_options};

/// Encodes the request body. The caller's `extra_body` is merged into it later.
pub(crate) fn encode(request: ChatRequest<'_>) -> Result<Map<String, Value>, Error> {
    (codec(request.protocol).body)(request)
}

/// Returns the codec of a protocol.
pub(crate) fn codec(protocol: Protocol) -> &'static Codec {
    match protocol {
        Protocol::ChatCompletions => &chat_completions::CODEC,
        Protocol::Responses => &responses::CODEC,
        Protocol::Messages => &messages::CODEC,
        Protocol::GenerateContent => &generate_content::CODEC,
        Protocol::CohereChat => &cohere_chat::CODEC,
    }
}

/// Helpers for the tests of all protocols.
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

    /// Encodes a prompt. Returns the request body, or the error message.
    pub(super) fn sent(
        protocol: Protocol,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
    ) -> Result<Value, String> {
        let speaks = |provider: &&LlmProvider| provider.vendor().protocol == protocol;
        let prompt = prompt.into();
        let request = ChatRequest {
            provider: *LlmProvider::ALL.iter().find(speaks).unwrap_or(&LlmProvider::OpenAi),
            protocol,
            model: &config.model,
            messages: prompt.messages(),
            config,
            owner: None,
            adaptations: &RefCell::default(),
        };
        encode(request).map(Value::from).map_err(|error| error.to_string())
    }

    /// Decodes events without SSE event names. Returns the response, and the failure if one was
    /// reported.
    pub(super) fn decoded(
        protocol: Protocol,
        events: &[&str],
    ) -> (GenerationResponse, Option<String>) {
        let (mut decoder, mut output) = ((codec(protocol).decoder)(), ChunkBuilder::new(9, 9999));
        let mut response = GenerationResponse::default();
        for data in events {
            decoder.decode(&Event { name: "", data }, &mut output).unwrap();
            output.name_model();
            response.fold(&output.take());
            response.learn(&output.facts);
        }
        response.replay = output.replay(LlmProvider::Local, protocol, false, &response);
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

    #[test]
    fn what_is_told_beside_the_pieces_of_an_answer_is_known() {
        use Protocol::*;
        let none = [None; 4];
        let id = [Some("r1"), None, None, None];
        for (protocol, events, facts) in [
            (ChatCompletions, &["{}", r#"{"id":null,"service_tier":null}"#][..], none),
            // The first non-empty id and the latest service tier are kept.
            (
                ChatCompletions,
                &[
                    r#"{"id":"","service_tier":"auto","choices":[]}"#,
                    r#"{"id":"r1","choices":[{"delta":{"refusal":"I \ud83d"}}]}"#,
                    r#"{"id":"stub","service_tier":"flex","choices":[{"delta":{"refusal":"\ude00 can't."}}]}"#,
                    r#"{"id":"r1","service_tier":"","choices":[{"delta":{"refusal":"","content":"."}}]}"#,
                ],
                [Some("r1"), Some("flex"), Some("I 😀 can't."), None],
            ),
            (
                ChatCompletions,
                &[r#"{"id":"r1","usage":{"service_tier":"standard"}}"#],
                [Some("r1"), Some("standard"), None, None],
            ),
            (
                ChatCompletions,
                &[r#"{"id":"r1","choices":[{"message":{"refusal":"No."}}]}"#],
                [Some("r1"), None, Some("No."), None],
            ),
            // `response.created` repeats the requested tier, which is not always the tier that
            // serves.
            (
                Responses,
                &[r#"{"type":"response.created","response":{"id":"r1","service_tier":"auto"}}"#],
                id,
            ),
            (
                Responses,
                &[
                    r#"{"type":"response.created","response":{"id":"r1","service_tier":"auto"}}"#,
                    r#"{"type":"response.refusal.delta","output_index":0,"delta":"No."}"#,
                    r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"refusal","refusal":"No."}]}}"#,
                    r#"{"type":"response.completed","response":{"id":"r2","service_tier":"flex","output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]}}"#,
                ],
                [Some("r1"), Some("flex"), Some("No."), None],
            ),
            (
                Responses,
                &[
                    r#"{"object":"response","id":"r1","status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]}"#,
                ],
                [Some("r1"), None, Some("No."), None],
            ),
            (
                Messages,
                &[
                    r#"{"type":"message_start","message":{"id":"r1","usage":{"service_tier":"batch"}}}"#,
                    r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"No."}},"usage":{"output_tokens":1}}"#,
                    r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#,
                ],
                [Some("r1"), Some("batch"), Some("No."), Some("cyber")],
            ),
            (
                Messages,
                &[
                    r#"{"type":"message","id":"r1","stop_reason":"refusal","stop_details":{"category":null,"explanation":"No."}}"#,
                ],
                [Some("r1"), None, Some("No."), None],
            ),
            // `stop_details` describe a refusal only if the stop reason is `refusal`.
            (
                Messages,
                &[
                    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_details":{"explanation":"Done.","category":"x"}}}"#,
                ],
                none,
            ),
            (
                GenerateContent,
                &[
                    r#"{"candidates":[],"responseId":"r1","usageMetadata":{"serviceTier":"standard"}}"#,
                    r#"{"responseId":"r1"}"#,
                ],
                [Some("r1"), Some("standard"), None, None],
            ),
            (CohereChat, &[r#"{"type":"message-start","id":"r1","delta":{}}"#], id),
            (CohereChat, &[r#"{"id":"r1","message":{"content":[]}}"#], id),
        ] {
            let (response, _) = testing::decoded(protocol, events);
            let told = [
                response.id,
                response.service_tier,
                response.refusal.clone(),
                response.refusal_category,
            ];
            assert_eq!(told.each_ref().map(Option::as_deref), facts, "{protocol}: {events:?}");
            if protocol != Messages {
                assert!(response.content.starts_with(response.refusal.as_deref().unwrap_or("")));
            }
        }
    }

    #[test]
    fn what_was_written_into_a_cache_is_counted() {
        use Protocol::*;
        for (protocol, event) in [
            (
                ChatCompletions,
                r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cache_write_tokens":7}}}"#,
            ),
            (
                ChatCompletions,
                r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cache_creation_input_tokens":7}}}"#,
            ),
            (ChatCompletions, r#"{"usage":{"prompt_tokens":9,"cache_creation_input_tokens":7}}"#),
            (
                Responses,
                r#"{"type":"response.completed","response":{"usage":{"input_tokens":9,"input_tokens_details":{"cache_write_tokens":7}}}}"#,
            ),
            (
                Messages,
                r#"{"type":"message_start","message":{"usage":{"input_tokens":2,"cache_creation_input_tokens":7}}}"#,
            ),
        ] {
            let usage = testing::decoded(protocol, &[event]).0.usage.unwrap();
            assert_eq!((usage.prompt_tokens, usage.cache_write_tokens), (9, Some(7)), "{event}");
        }
    }

    /// Checks that the tables in `docs/providers.md` match the code. If `KERB_STREAM_WRITE` is set,
    /// it writes the tables instead.
    #[test]
    fn the_tables_in_the_docs_are_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
        let written = std::fs::read_to_string(path).unwrap();
        let mut docs = written.clone();
        for (name, table) in [
            ("vendors", vendors_table()),
            ("options", options_table()),
            ("dialects", dialects_table()),
            ("reasoning", reasoning_table()),
        ] {
            let start = format!("<!-- {name} -->\n");
            let from = docs.find(&start).unwrap() + start.len();
            let to = from + docs.split_at(from).1.find("<!-- end -->").unwrap();
            docs.replace_range(from..to, &table);
        }
        if std::env::var_os("KERB_STREAM_WRITE").is_some() {
            std::fs::write(path, docs).unwrap();
        } else {
            assert!(docs == written, "KERB_STREAM_WRITE=1 cargo test the_tables writes them");
        }
    }

    fn beginnings(names: &str) -> String {
        names.split(' ').map(|name| format!("`{name}…`")).collect::<Vec<_>>().join(", ")
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
                format!("`{}`", vendor.base_url.replace('|', "\\|"))
            };
            let begin: Vec<_> = vendor.model_prefixes.iter().map(|p| format!("{p}…")).collect();
            let models = code(&begin.iter().map(String::as_str).collect::<Vec<_>>());
            let variable = vendor.base_url_variable.map(|(name, _)| format!("`{name}`"));
            let mut protocol = format!("`{}`", vendor.protocol);
            if !vendor.protocols.is_empty() {
                let rules = vendor.protocols.iter().map(|(names, protocol)| match *names {
                    "" => format!("else `{protocol}`"),
                    names => format!("{} `{protocol}`", beginnings(names)),
                });
                let rules = rules.collect::<Vec<_>>().join(", ");
                protocol += &format!("; at its own address {rules}");
            }
            table += &format!(
                "| `{provider}` | {protocol} | {models} | {url} | {} | {} |\n",
                variable.unwrap_or_default(),
                code(vendor.key_variables),
            );
        }
        table
    }

    /// The rows of a table. Providers whose cells are equal share one row.
    #[derive(Default)]
    struct Rows(Vec<(String, Vec<LlmProvider>)>);

    impl Rows {
        fn add(&mut self, provider: LlmProvider, cells: String) {
            match self.0.iter_mut().find(|(known, _)| *known == cells) {
                Some((_, providers)) => providers.push(provider),
                None => self.0.push((cells, vec![provider])),
            }
        }
    }

    impl std::fmt::Display for Rows {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            for (cells, providers) in &self.0 {
                let providers: Vec<_> = providers.iter().map(|it| format!("`{it}`")).collect();
                writeln!(f, "| {} | {cells} |", providers.join(", "))?;
            }
            Ok(())
        }
    }

    /// Returns the providers whose default protocol is Chat Completions, with their dialects.
    fn dialects() -> impl Iterator<Item = (LlmProvider, &'static crate::provider::Dialect)> {
        let all = LlmProvider::ALL.iter().map(|provider| (*provider, provider.vendor()));
        all.filter(|(_, vendor)| vendor.protocol == Protocol::ChatCompletions)
            .map(|(provider, vendor)| (provider, &vendor.dialect))
    }

    fn dialects_table() -> String {
        use crate::provider::CallIds;

        let mut rows = Rows::default();
        let table = "| Provider | Token limit | Usage | Reasoning sent back | Filler | Tool call \
            ids | Refused | Other |\n|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for (provider, dialect) in dialects() {
            let limit = dialect.max_tokens.split('=').next_back().unwrap();
            let usage = if dialect.usage == "{}" { "always sent" } else { "requested" };
            let mut back = match dialect.reasoning_field {
                "" => "no".to_owned(),
                field if dialect.returns_all_reasoning => format!("`{field}`, always"),
                field => format!("`{field}`, with calls"),
            };
            if let Some(models) = dialect.think_tags {
                back += &format!("; `{models}…` as `<think>` in the content");
            }
            let mut filler = String::new();
            if let Some(text) = dialect.reasoning_filler {
                let scope = if dialect.fills_all_reasoning { "always" } else { "with calls" };
                filler = format!("`{text:?}`, {scope}");
            }
            let ids = match dialect.call_ids {
                CallIds::Any => "any".to_owned(),
                CallIds::AtMost(length) => format!("{length} characters"),
                CallIds::NineAlphanumerics => "nine letters and digits".to_owned(),
                CallIds::Word => "letters, digits, `_`, `-`".to_owned(),
            };
            let choices = provider.vendor().ignored_tool_choices.iter();
            let choices = choices.map(|(kind, models, _)| match *models {
                "" => format!("`tool_choice: {kind}`"),
                models => format!("`tool_choice: {kind}` for {}", beginnings(models)),
            });
            let refused = dialect.refuses.iter().map(|name| format!("`{name}`")).chain(choices);
            let mut besides = Vec::new();
            for (fields, when) in [(dialect.always, ""), (dialect.with_tools, " with tools")] {
                if fields != "{}" {
                    besides.push(format!("`{fields}`{when}"));
                }
            }
            for (is_so, what) in [
                (dialect.seed != "seed", "`random_seed`".to_owned()),
                (dialect.required != "required", format!("`tool_choice: {}`", dialect.required)),
                (dialect.counts_logprobs, "`logprobs` is a number".to_owned()),
                (dialect.strict_tools, "strict tools".to_owned()),
                (dialect.one_system, "one system message".to_owned()),
                (dialect.reads_arguments, "arguments of calls are JSON".to_owned()),
                (!dialect.empty_content.is_empty(), "no empty content".to_owned()),
                (
                    dialect.error_numbers.is_some(),
                    format!("{}'s error numbers", dialect.error_numbers.unwrap_or_default()),
                ),
            ] {
                besides.extend(is_so.then_some(what));
            }
            if let Some(models) = dialect.strict_schemas {
                let of = if models.is_empty() { String::new() } else { beginnings(models) + " " };
                besides.push(format!("{of}strict schemas in OpenAI's dialect"));
            }
            let refused = refused.collect::<Vec<_>>().join(", ");
            let besides = besides.join("; ");
            rows.add(
                provider,
                format!("`{limit}` | {usage} | {back} | {filler} | {ids} | {refused} | {besides}"),
            );
        }
        table + &rows.to_string()
    }

    fn reasoning_table() -> String {
        let mut rows = Rows::default();
        let table = "| Provider | Models | Off | A level | A budget | Levels with another name |\n\
            |---|---|---|---|---|---|\n"
            .to_owned();
        for (provider, dialect) in dialects() {
            for (names, form) in dialect.reasoning {
                let code = |text: &str| match text {
                    "" => "refused".to_owned(),
                    text => format!("`{text}`"),
                };
                let models = if names.is_empty() { String::new() } else { beginnings(names) };
                let words = form.words.split_whitespace().map(|pair| pair.replace('=', " → "));
                let (off, level, budget) = (code(form.off), code(form.level), code(form.budget));
                let words = words.collect::<Vec<_>>().join(", ");
                rows.add(provider, format!("{models} | {off} | {level} | {budget} | {words}"));
            }
        }
        table + &rows.to_string()
    }

    /// Builds the table of the options that each protocol accepts. It encodes one request per
    /// option and protocol.
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
                    protocol,
                    model: "m",
                    messages: &messages,
                    config,
                    owner: None,
                    adaptations: &adaptations,
                };
                table += if encode(request).is_ok() { " ✓ |" } else { " – |" };
            }
            table.push('\n');
        }
        table
    }
}
