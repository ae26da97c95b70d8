//! Encodes and decodes Cohere's Chat API, version 2.
//!
//! <https://docs.cohere.com/reference/chat-stream>

use serde_json::{Map, Value, json};

use super::builder::ChunkBuilder;
use super::chat_request::ChatRequest;
use super::cited::{Cited, Unit};
use super::codec::{Codec, Decoder};
use super::common::{self, object};
use super::json;
use super::options::Options;
use super::wire::{Raw, wire};
use crate::chunk::{FinishReason, Usage};
use crate::config::ResponseFormat;
use crate::error::Error;
use crate::message::{Message, MessageRole, TurnPart};
use crate::provider::{Protocol, ReasoningForm, reasoning_form};
use crate::source::Source;
use crate::sse::Event;
use crate::tool::{Function, ToolChoice};

pub(super) const CODEC: Codec = Codec::new::<CohereChatDecoder>("chat", body);

const BUDGET: &str = r#"{"type":"enabled","token_budget":$budget}"#;
const REASONING: &[(&str, ReasoningForm)] =
    &[("", reasoning_form(r#"{"type":"disabled"}"#, BUDGET, BUDGET))];

fn body(request: ChatRequest<'_>) -> Result<Map<String, Value>, Error> {
    let (mut options, mut body) = Options::and_body(request);
    let messages = request.messages()?.iter().enumerate();
    let messages = messages.filter_map(|(at, said)| message(request, at, said));
    body.put("messages", messages.collect::<Value>());
    options.move_into("temperature top_p=p top_k=k max_tokens stop=stop_sequences seed", &mut body);
    options.move_into("frequency_penalty presence_penalty", &mut body);
    if let Some(alternatives) = options.take("logprobs") {
        if alternatives != 0 {
            let message = "the option `logprobs` must be 0: Cohere returns no alternatives";
            return Err(request.refuse(message));
        }
        body.put("logprobs", true);
    }
    let format = options.typed("response_format", &request.config.response_format);
    body.put("response_format", format.map(response_format));
    body.put("thinking", common::reasoning(&mut options, request.model, REASONING)?);
    let function =
        |it: &Function| json!({"type": "function", "function": common::function(it, "parameters")});
    if request.config.tools.iter().any(|tool| tool.name().is_none()) {
        return Err(request.refuse("Cohere has no hosted tools; leave them out of `tools`"));
    }
    let tools = options.tools(&mut body, function)?.concat();
    body.put("tools", (!tools.is_empty()).then_some(tools));
    let choice = match options.typed("tool_choice", &request.config.tool_choice) {
        // This is Cohere's default, for which it has no value.
        None | Some(ToolChoice::Auto) => None,
        Some(ToolChoice::None) => Some("NONE"),
        Some(ToolChoice::Required) => Some("REQUIRED"),
        Some(ToolChoice::Tool(_)) => {
            let message = "`tool_choice` cannot name a tool: Cohere does not support that";
            return Err(request.refuse(message));
        }
    };
    body.put("tool_choice", choice);
    options.finish(body)
}

fn response_format(format: &ResponseFormat) -> Value {
    match format {
        ResponseFormat::Json => json!({"type": "json_object"}),
        ResponseFormat::JsonSchema { schema, .. } => {
            json!({"type": "json_object", "json_schema": schema})
        }
    }
}

/// Returns `None` for an empty assistant message, which Cohere rejects.
fn message(request: ChatRequest<'_>, at: usize, message: &Message) -> Option<Value> {
    if message.role == MessageRole::Assistant {
        return assistant(request, at, message);
    }
    Some(object([
        ("role", Some(message.role.as_str().into())),
        ("tool_call_id", message.tool_call_id.as_deref().map(Value::from)),
        ("content", Some(common::content(message, common::text, common::image))),
    ]))
}

fn assistant(request: ChatRequest<'_>, at: usize, message: &Message) -> Option<Value> {
    let (mut content, mut calls, mut fields) = (Vec::new(), Vec::new(), json!({}));
    for said in message.turn(Protocol::CohereChat) {
        match said {
            TurnPart::Text(text, extra) => content.push(common::with(common::text(text), extra)),
            TurnPart::Call(call, _) => {
                calls.push(common::function_call(call, &request.arguments_text(call)));
            }
            TurnPart::Opaque(part) if part.get("type").is_some() => content.push(part.clone()),
            TurnPart::Opaque(part) => fields = common::with(fields, Some(part)),
        }
    }
    let is_known = message.remembered(Protocol::CohereChat).is_some();
    if !calls.is_empty() && !is_known && !content.is_empty() {
        // Cohere accepts no text with tool calls. (https://github.com/vercel/ai/issues/5794)
        let what = format!("messages[{at}]");
        request.adapt(&what, "text", "`tool_plan`", "Cohere accepts no text with tool calls");
        content.clear();
        fields = json!({"tool_plan": message.content});
    }
    if content.is_empty() && calls.is_empty() {
        common::note_changed_turn(request, at, true);
        return None;
    }
    let message = object([
        ("role", Some("assistant".into())),
        ("content", (!content.is_empty()).then(|| content.into())),
        ("tool_calls", (!calls.is_empty()).then(|| calls.into())),
    ]);
    Some(common::with(message, Some(&fields)))
}

wire! {
    struct CohereEvent { kind = "type", index, delta: CohereDelta<'a>, error, message, id }
    struct CohereDelta { message: CoherePiece<'a>, finish_reason, error, usage: CohereUsage<'a> }
    struct CoherePiece { content: CohereContent<'a>, tool_plan, tool_calls: CohereCall<'a> }
    struct CohereContent { text, thinking, kind = "type" }
    struct CohereCall { id, function: CohereFunction<'a> }
    struct CohereFunction { name, arguments }
    struct CohereUsage { tokens: CohereTokens<'a>, cached_tokens }
    struct CohereTokens { input_tokens, output_tokens, reasoning_tokens }
    /// An event that starts a part or a citation, with the JSON that is kept of it.
    struct CohereStart { delta: StartDelta<'a> }
    struct StartDelta { message: CohereMessage<'a> }
    struct CohereCitation { kind = "type", sources }
    struct CohereSource { id, document: Cited<'a> }
    /// The message of a response that is not streamed. It has lists where a stream has their
    /// elements.
    struct CohereMessage { content, tool_plan, tool_calls, citations }
}

/// Decodes one response. Keeps the reasoning and the citations, because Cohere expects them back.
#[derive(Default)]
struct CohereChatDecoder {
    thinking: String,
    tool_plan: String,
    citations: Vec<Value>,
    /// The position at which the text of the latest content part begins.
    text_start: usize,
    /// The other fields of the content part whose text is coming.
    fields: Map<String, Value>,
    /// The calls, each with Cohere's index and its index in the response.
    calls: Vec<(Option<u64>, usize)>,
}

impl Decoder for CohereChatDecoder {
    fn decode(&mut self, event: &Event<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()> {
        let CohereEvent { kind, index, delta, error, message, id } = json::read(event.data)?;
        out.told_first(|facts| &mut facts.id, id);
        let kind = kind.str();
        match kind.as_deref().unwrap_or(event.name) {
            "content-delta" => self.content(&delta.message.content, out),
            "content-start" => self.start(begun(event)?.content, out),
            "citation-start" => self.cite(begun(event)?.citations, out),
            "content-end" => self.keep(out),
            "tool-plan-delta" => out.kept_reasoning(delta.message.tool_plan, &mut self.tool_plan),
            "tool-call-start" => self.call(index.u64(), &delta.message.tool_calls, out),
            "tool-call-delta" => {
                let arguments = delta.message.tool_calls.function.arguments;
                let index = index.u64();
                match self.calls.iter().rfind(|(known, _)| index.is_none() || *known == index) {
                    Some(&(_, at)) => out.call_arguments(at, arguments),
                    // The call of this piece was never announced.
                    None => out.seen.gap |= arguments.is_text(),
                }
            }
            "message-end" => {
                self.keep_fields(out);
                end(&delta, out);
            }
            "message-start" | "tool-call-end" | "citation-end" => {}
            // Cohere's errors outside a stream have a `message`, and errors of gateways an `error`.
            _ if error.is_error() || message.is_text() => out.fail(event.data),
            "" if message.is_some() => {
                self.whole(&message.parse(), out);
                // The finish reason and the usage are beside the message, as in the `delta` of
                // `message-end`.
                end(&json::read(event.data)?, out);
            }
            _ => return Ok(()),
        }
        out.seen.understood = true;
        Ok(())
    }
}

/// Reads the part of the message that an event starts.
fn begun<'a>(event: &Event<'a>) -> serde_json::Result<CohereMessage<'a>> {
    Ok(json::read::<CohereStart<'_>>(event.data)?.delta.message)
}

impl CohereChatDecoder {
    /// Starts a content part, and ends the one before it.
    fn start(&mut self, json: Raw<'_>, out: &mut ChunkBuilder) {
        self.keep(out);
        let content: CohereContent<'_> = json.parse();
        let CohereContent { text, thinking, kind } = content;
        if matches!(kind.str().as_deref(), None | Some("text" | "thinking")) {
            self.fields =
                out.others(json, &[("type", kind), ("text", text), ("thinking", thinking)]);
            if out.seen.text {
                out.new_text();
            }
            if !kind.is("thinking") {
                self.text_start = out.position();
            }
            self.content(&content, out);
        } else {
            let part = out.keep(json);
            out.opaque(part);
        }
    }

    fn content(&mut self, content: &CohereContent<'_>, out: &mut ChunkBuilder) {
        out.text(content.text);
        out.kept_reasoning(content.thinking, &mut self.thinking);
    }

    fn cite(&mut self, citation: Raw<'_>, out: &mut ChunkBuilder) {
        let (CohereCitation { kind, sources }, cited) =
            (citation.parse(), citation.parse::<Cited<'_>>());
        // Thinking and plans have citations, too.
        let is_of_text = !kind.is_text() || kind.is("TEXT_CONTENT");
        for CohereSource { id, document } in sources.elements() {
            let place = cited.place(self.text_start, Unit::Chars).filter(|_| is_of_text);
            let id = id.str().map(String::from);
            out.cite(Source { id, ..document.source() }, String::new(), place);
        }
        let citation = out.keep(citation);
        self.citations.extend(citation.is_object().then_some(citation));
    }

    fn call(&mut self, index: Option<u64>, call: &CohereCall<'_>, out: &mut ChunkBuilder) {
        self.keep(out);
        let CohereCall { id, function } = call;
        let at = out.new_call(None, *id, function.name, function.arguments);
        self.calls.extend(at.map(|at| (index, at)));
    }

    /// Decodes the message of a response that is not streamed.
    fn whole(&mut self, message: &CohereMessage<'_>, out: &mut ChunkBuilder) {
        out.kept_reasoning(message.tool_plan, &mut self.tool_plan);
        message.content.elements().for_each(|part| self.start(part, out));
        message.tool_calls.elements().for_each(|call| self.call(None, &call, out));
        message.citations.elements().for_each(|citation| self.cite(citation, out));
        self.keep_fields(out);
    }

    /// Ends a content part: keeps its thinking, or the other fields of its text.
    fn keep(&mut self, out: &mut ChunkBuilder) {
        let fields = std::mem::take(&mut self.fields);
        let thinking = std::mem::take(&mut self.thinking);
        if !thinking.is_empty() {
            out.count_kept(640);
            let thought = json!({"type": "thinking", "thinking": thinking});
            out.opaque(common::with(thought, Some(&fields.into())));
        } else {
            out.extra(fields);
        }
    }

    /// Keeps the plan and the citations of the message, once they are complete.
    fn keep_fields(&mut self, out: &mut ChunkBuilder) {
        self.keep(out);
        let (plan, citations) = (&mut self.tool_plan, &mut self.citations);
        let fields = object([
            ("tool_plan", (!plan.is_empty()).then(|| std::mem::take(plan).into())),
            ("citations", (!citations.is_empty()).then(|| std::mem::take(citations).into())),
        ]);
        if fields != json!({}) {
            out.opaque(fields);
        }
    }
}

fn end(delta: &CohereDelta<'_>, out: &mut ChunkBuilder) {
    out.ended = true;
    out.usage(tokens(&delta.usage));
    let word = delta.finish_reason.str().unwrap_or_default();
    if !word.is_empty() {
        out.finish(finish_reason(&word), &word);
    }
    let told = delta.error.str();
    if told.is_some() || matches!(&*word, "ERROR" | "TIMEOUT") {
        let message = told.unwrap_or_else(|| "the response failed".into());
        out.fail(&json!({"message": message, "code": word}).to_string());
    }
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "COMPLETE" | "STOP_SEQUENCE" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "TOOL_CALL" => FinishReason::ToolCalls,
        _ => FinishReason::Other,
    }
}

fn tokens(counts: &CohereUsage<'_>) -> Option<Usage> {
    let tokens = &counts.tokens;
    Some(Usage {
        prompt_tokens: tokens.input_tokens.u64()?,
        completion_tokens: tokens.output_tokens.u64()?,
        cached_tokens: counts.cached_tokens.u64(),
        reasoning_tokens: tokens.reasoning_tokens.u64(),
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::Attachment;
    use crate::config::{GenerationConfig, Reasoning};
    use crate::message::{Prompt, ToolCall};
    use crate::protocol::testing;
    use crate::response::GenerationResponse;
    use crate::tool::Tool;

    fn sent(prompt: impl Into<Prompt>, config: &GenerationConfig) -> Result<Value, String> {
        testing::sent(Protocol::CohereChat, prompt, config)
    }

    fn decoded(events: &[&str]) -> (GenerationResponse, Option<String>) {
        testing::decoded(Protocol::CohereChat, events)
    }

    fn command() -> GenerationConfig {
        GenerationConfig::new("command-a-03-2025")
    }

    #[test]
    fn a_conversation_keeps_its_order() {
        let mut asking = Message::assistant("Let me look.");
        asking.tool_calls =
            vec![ToolCall::new("a", "look", r#"{"at":"sky"}"#), ToolCall::new("b", "time", "")];
        let conversation = [
            Message::system("Be brief."),
            Message::user("What is it?").attach(Attachment::bytes("image/png", b"foo")),
            Message::user("").attach(Attachment::url("https://example.com/a.png")),
            Message::assistant(""),
            asking,
            Message::tool("a", "blue"),
            Message::system("Be kind."),
            Message::assistant("Blue."),
        ];
        let expected = json!({
            "model": "command-a-03-2025",
            "stream": true,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,Zm9v"}},
                ]},
                {"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                ]},
                {
                    "role": "assistant",
                    "tool_plan": "Let me look.",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"sky\"}"}},
                        {"id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
                    ],
                },
                {"role": "tool", "tool_call_id": "a", "content": "blue"},
                {"role": "system", "content": "Be kind."},
                {"role": "assistant", "content": [{"type": "text", "text": "Blue."}]},
            ],
        });
        assert_eq!(sent(conversation, &command()).unwrap(), expected);
    }

    #[test]
    fn every_option_has_its_place() {
        let schema = json!({"type": "object", "properties": {"at": {"type": "string"}}});
        let cases = [
            (command(), json!({})),
            (command().temperature(0.5), json!({"temperature": 0.5})),
            (command().top_p(0.9), json!({"p": 0.9})),
            (command().top_k(40), json!({"k": 40})),
            (command().max_tokens(10), json!({"max_tokens": 10})),
            (command().stop(["."]), json!({"stop_sequences": ["."]})),
            (command().frequency_penalty(0.5), json!({"frequency_penalty": 0.5})),
            (command().presence_penalty(0.5), json!({"presence_penalty": 0.5})),
            (command().seed(1), json!({"seed": 1})),
            (command().logprobs(0), json!({"logprobs": true})),
            (
                command().response_format(ResponseFormat::Json),
                json!({"response_format": {"type": "json_object"}}),
            ),
            (
                command().response_format(ResponseFormat::json_schema("place", schema.clone())),
                json!({"response_format": {"type": "json_object", "json_schema": schema}}),
            ),
            (command().reasoning(Reasoning::Off), json!({"thinking": {"type": "disabled"}})),
            (
                command().reasoning(Reasoning::Low),
                json!({"thinking": {"type": "enabled", "token_budget": 1024}}),
            ),
            (
                command().reasoning(Reasoning::Budget(7)),
                json!({"thinking": {"type": "enabled", "token_budget": 7}}),
            ),
            (
                command().tools([
                    Tool::function("look", "Looks.", schema.clone()),
                    Tool::function("t", "", schema.clone()),
                ]),
                json!({"tools": [
                    {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": schema}},
                    {"type": "function", "function": {"name": "t", "parameters": schema}},
                ]}),
            ),
            (command().tool_choice(ToolChoice::Auto), json!({})),
            (command().tool_choice(ToolChoice::None), json!({"tool_choice": "NONE"})),
            (command().tool_choice(ToolChoice::Required), json!({"tool_choice": "REQUIRED"})),
        ];
        for (config, mut expected) in cases {
            expected["model"] = "command-a-03-2025".into();
            expected["stream"] = true.into();
            expected["messages"] = json!([{"role": "user", "content": "Hi"}]);
            assert_eq!(sent("Hi", &config).unwrap(), expected, "{config:?}");
        }
    }

    #[test]
    fn what_cohere_cannot_be_told_is_refused_by_name() {
        for (config, named) in [
            (command().parallel_tool_calls(true), "`parallel_tool_calls`"),
            (command().logprobs(1), "`logprobs`"),
            (command().tool_choice(ToolChoice::Tool("look".into())), "`tool_choice`"),
        ] {
            let error = sent("Hi", &config).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        let picture = Attachment::url("https://example.com/a.png");
        assert!(sent(Message::tool("a", "b").attach(picture), &command()).is_err());
    }

    #[test]
    fn thoughts_plan_and_calls_come_apart_and_go_back() {
        let (response, failure) = decoded(&[
            r#"{"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}"#,
            r#"{"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": "H"}}}}"#,
            r#"{"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "m"}}}}"#,
            r#"{"type": "content-end", "index": 0}"#,
            r#"{"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}}"#,
            r#"{"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "Well."}}}}"#,
            r#"{"type": "citation-start", "index": 0, "delta": {"message": {"citations": {"start": 0, "text": "Well"}}}}"#,
            r#"{"type": "citation-end", "index": 0}"#,
            r#"{"type": "content-end", "index": 1}"#,
            r#"{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": " I"}}}"#,
            r#"{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": " look"}}}"#,
            r#"{"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {"id": "a", "type": "function", "function": {"name": "look", "arguments": ""}}}}}"#,
            r#"{"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "{\"at\":"}}}}}"#,
            r#"{"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "1}"}}}}}"#,
            r#"{"type": "tool-call-end", "index": 0}"#,
            r#"{"type": "tool-call-start", "index": 1, "delta": {"message": {"tool_calls": {"id": "b", "function": {"name": "time"}}}}}"#,
            r#"{"type": "brand-new", "delta": 7}"#,
            r#"{"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "error": null, "usage": {"billed_units": {"input_tokens": 1},
                "tokens": {"input_tokens": 9, "output_tokens": 5, "reasoning_tokens": 2}, "cached_tokens": 4}}}"#,
        ]);
        assert_eq!(failure, None);
        assert_eq!(
            (response.content.as_str(), response.reasoning.as_str()),
            ("Well.", "Hm I look")
        );
        assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!(response.raw_finish_reason.as_deref(), Some("TOOL_CALL"));
        let calls = [ToolCall::new("a", "look", r#"{"at":1}"#), ToolCall::new("b", "time", "")];
        assert_eq!(response.tool_calls, calls);
        let usage = Usage {
            prompt_tokens: 9,
            completion_tokens: 5,
            total_tokens: 14,
            cached_tokens: Some(4),
            cache_write_tokens: None,
            reasoning_tokens: Some(2),
        };
        assert_eq!(response.usage, Some(usage));

        let mut answer = Message::from(response);
        let body = sent(&answer, &command()).unwrap();
        let expected = json!({
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Well."}],
            "tool_plan": " I look",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{\"at\":1}"}},
                {"id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ],
            "citations": [{"start": 0, "text": "Well"}],
        });
        assert_eq!(body["messages"], json!([expected]));

        // After the caller has changed the text, the replay data is not used.
        answer.content = "Let me look.".to_owned();
        let body = sent(answer, &command()).unwrap();
        let edited = json!({"role": "assistant", "tool_plan": "Let me look.", "tool_calls": expected["tool_calls"]});
        assert_eq!(body["messages"], json!([edited]));
    }

    #[test]
    fn every_part_of_the_content_goes_back_with_what_it_has() {
        let content = json!([
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
            {"type": "text", "text": "b", "new": {"x": 1}},
            {"type": "picture", "url": "https://a/b.png"},
            {"type": "text", "text": "c"},
            {"type": "text", "text": "", "new": 2},
        ]);
        let cited =
            json!([{"start": 0, "end": 1, "content_index": 1, "sources": []}, {"start": 1}]);
        let call = json!({"id": "id", "type": "function", "function": {"name": "look", "arguments": "{}"}});
        let event = |kind: &str, message: Value| {
            json!({"type": kind, "index": 0, "delta": {"message": message}}).to_string()
        };
        let stop = json!({"finish_reason": "COMPLETE"});
        for says_where_parts_end in [true, false] {
            let mut events = Vec::new();
            for part in content.as_array().unwrap() {
                events.push(event("content-start", json!({"content": part})));
                if part["text"] == "c" {
                    events.push(event("content-delta", json!({"content": {"text": "d"}})));
                    events.push(event("citation-start", json!({"citations": cited[0]})));
                    events.push(event("content-delta", json!({"content": {"text": "e"}})));
                }
                if says_where_parts_end {
                    events.push(event("content-end", json!(null)));
                }
            }
            events.push(event("tool-call-start", json!({"tool_calls": call})));
            events.push(event("citation-start", json!({"citations": cited[1]})));
            events.push(json!({"type": "message-end", "delta": stop}).to_string());
            let whole = json!({
                "message": {"content": content, "tool_calls": [call], "citations": cited}, "finish_reason": "COMPLETE",
            });
            let whole = [whole.to_string().replace("\"c\"", "\"cde\"")];
            for events in [&events[..], &whole] {
                let (response, _) = decoded(&events.iter().map(String::as_str).collect::<Vec<_>>());
                assert_eq!((&*response.content, &*response.reasoning), ("abbcde", "Hm"));
                let saved = serde_json::to_string(&Message::from(response)).unwrap();
                let turn: Message = serde_json::from_str(&saved).unwrap();
                let mut expected = json!({
                    "role": "assistant", "content": content, "tool_calls": [call], "citations": cited,
                });
                expected["content"][5]["text"] = "cde".into();
                assert_eq!(sent(turn, &command()).unwrap()["messages"], json!([expected]));
            }
        }
        let plain = [
            event("content-start", json!({"content": {"type": "text", "text": ""}})),
            event("content-delta", json!({"content": {"text": "Hi"}})),
            event("content-end", json!(null)),
            json!({"type": "message-end", "delta": stop}).to_string(),
        ];
        let plain = decoded(&plain.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(plain.0.replay, None);
    }

    #[test]
    fn every_way_to_end_has_one_meaning() {
        use FinishReason::{Length, Other, Stop, ToolCalls};
        for (delta, reason, message) in [
            (r#"{"finish_reason": "COMPLETE", "error": ""}"#, Some(Stop), None),
            (r#"{"finish_reason": "STOP_SEQUENCE"}"#, Some(Stop), None),
            (r#"{"finish_reason": "MAX_TOKENS"}"#, Some(Length), None),
            (r#"{"finish_reason": "TOOL_CALL"}"#, Some(ToolCalls), None),
            (r#"{"finish_reason": "BRAND_NEW"}"#, Some(Other), None),
            ("{}", None, None),
            ("null", None, None),
            (r#"{"finish_reason": "ERROR", "error": "Odd."}"#, Some(Other), Some("Odd.")),
            (r#"{"finish_reason": "TIMEOUT"}"#, Some(Other), Some("the response failed")),
            (r#"{"error": "Odd."}"#, None, Some("Odd.")),
        ] {
            let event = format!(r#"{{"type": "message-end", "delta": {delta}}}"#);
            let mut output = ChunkBuilder::new(9, 9999);
            CohereChatDecoder::default()
                .decode(&Event { name: "", data: &event }, &mut output)
                .unwrap();
            assert!(output.ended);
            assert_eq!(output.chunk.finish_reason, reason, "{delta}");
            let told = output.failure.map(|failure| {
                crate::protocol::api_error(crate::provider::LlmProvider::Cohere, None, &failure)
                    .message()
                    .to_owned()
            });
            assert_eq!(told.as_deref(), message, "{delta}");
        }
    }

    #[test]
    fn an_event_may_be_named_outside_its_data_and_an_error_may_have_no_name() {
        let data = r#"{"delta": {"message": {"content": {"text": "Hi"}}}}"#;
        let mut output = ChunkBuilder::new(9, 9999);
        CohereChatDecoder::default()
            .decode(&Event { name: "content-delta", data }, &mut output)
            .unwrap();
        assert_eq!(output.take().content, "Hi");
        for error in [r#"{"message": "Odd."}"#, r#"{"error": {"message": "Odd."}}"#] {
            assert_eq!(decoded(&[error]).1.as_deref(), Some(error));
        }
    }

    #[test]
    fn a_piece_of_a_call_that_was_not_announced_is_a_gap() {
        let start = r#"{"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {"id": "a", "function": {"name": "look"}}}}}"#;
        let piece = r#"{"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}}}"#;
        let other = piece.replace("\"index\": 0", "\"index\": 1");
        for (events, gap) in
            [(&[start, piece][..], false), (&[start, &other], true), (&[piece], true)]
        {
            let (mut decoder, mut out) = (CohereChatDecoder::default(), ChunkBuilder::new(9, 9999));
            for data in events {
                decoder.decode(&Event { name: "", data }, &mut out).unwrap();
            }
            assert_eq!(out.seen.gap, gap, "{events:?}");
        }
    }
}
