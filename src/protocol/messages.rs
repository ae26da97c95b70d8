//! Encodes and decodes Anthropic Messages (<https://platform.claude.com/docs/en/api/messages>),
//! which llama.cpp, vLLM and OpenRouter also implement.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::builder::ChunkBuilder;
use super::chat_request::ChatRequest;
use super::cited::{Place, Unit, source_in};
use super::codec::{Codec, Decoder};
use super::common::{self, some_text_in, text_in};
use super::options::{Fields, Options};
use super::wire::{Raw, unescaped, wire};
use super::{claude, hosted, json, schema};
use crate::attachment::Attachment;
use crate::chunk::{FinishReason, Usage};
use crate::config::{Reasoning, ResponseFormat};
use crate::error::Error;
use crate::message::{Message, MessageRole, TurnPart};
use crate::provider::Protocol;
use crate::source::Source;
use crate::sse::Event;
use crate::tool::ToolChoice;

pub(super) const CODEC: Codec = Codec {
    auth: ("x-api-key", ""),
    headers: &[("anthropic-version", "2023-06-01")],
    ..Codec::new::<MessagesDecoder>("messages", body)
};

/// The default limit for Claude. The protocol requires a limit, and reasoning counts towards it.
/// Every Claude that is served can write this much; a longer response ends with `Length`.
const MAX_TOKENS: u32 = 64_000;

/// The room for the answer beside the reasoning budget. It is small, because the limits of models
/// other than Claude are unknown, and vLLM rejects a limit that exceeds the model's context.
const MAX_ANSWER: u32 = 8192;

fn body(request: ChatRequest<'_>) -> Result<Map<String, Value>, Error> {
    let config = request.config;
    let (mut options, mut body) = Options::and_body(request);
    let (system, messages) = messages(request)?;
    body.put("messages", messages);
    // The value is one text, because llama.cpp joins several blocks without a separator.
    body.put("system", (!system.is_empty()).then(|| system.join("\n\n")));
    let tools = options.tools(&mut body, |tool| common::function(tool, "input_schema"))?.concat();
    body.put("tools", (!tools.is_empty()).then_some(tools));
    options.take("tool_choice");
    options.take("parallel_tool_calls");
    body.put("tool_choice", tool_choice(request));

    let mut output = Fields::default();
    let claude = claude::name(request.model);
    let name = claude.as_deref().unwrap_or_default();
    let mut reasoning = common::reasoning(&mut options, name, claude::REASONING)?;
    body.put("thinking", reasoning.remove("thinking"));
    output.put("effort", reasoning.remove("effort"));
    // This protocol has no JSON format without a schema.
    if let Some(ResponseFormat::JsonSchema { schema, .. }) = &config.response_format {
        options.take("response_format");
        let schema = schema::closed(request, schema);
        output.put("format", json!({ "type": "json_schema", "schema": schema }));
    }
    body.put("output_config", output.0);
    let thought = config.reasoning.map_or(0, Reasoning::budget);
    let least = if claude.is_some() { MAX_TOKENS } else { MAX_ANSWER };
    let max_tokens = MAX_ANSWER.saturating_add(thought).max(least);
    if config.max_tokens.is_none() {
        let why = "this protocol requires a limit";
        request.adapt("max_tokens", "nothing", max_tokens.to_string(), why);
    }
    body.put("max_tokens", max_tokens);
    options.move_into("max_tokens stop=stop_sequences temperature top_k top_p", &mut body);
    options.finish(body)
}

/// Returns the system texts, and the conversation as turns of user and assistant, and of `system`
/// where the model accepts that. Tool results are part of the user's turns.
fn messages(request: ChatRequest<'_>) -> Result<(Vec<String>, Value), Error> {
    let (beside, inside) = ("one `system` text", claude::takes_system_inside(request.model));
    let (system, turns) =
        common::turns(request, "assistant", beside, inside, |_, message| match message.role {
            MessageRole::Assistant => Ok(answer(request, message)),
            MessageRole::Tool => Ok(vec![tool_result(request.call_id(message)?, message)]),
            MessageRole::System | MessageRole::User => {
                Ok(message.attachments.iter().map(image).chain(text(&message.content)).collect())
            }
        })?;
    let turns = turns.into_iter().map(|(role, mut blocks)| {
        let is_other = |block: &Value| !is(block, "tool_result");
        if !blocks.is_sorted_by_key(is_other) {
            let why = "tool results must directly follow their calls";
            request.adapt("messages", "a message before a tool result", "the result first", why);
            blocks.sort_by_key(is_other);
        }
        json!({ "role": role, "content": plain_or_list(blocks) })
    });
    Ok((system, turns.collect()))
}

/// Returns the content of a turn. A single text without other fields becomes a string, which every
/// server accepts.
fn plain_or_list(blocks: Vec<Value>) -> Value {
    match blocks.as_slice() {
        [block] if *block == common::text(text_in(block, "text")) => text_in(block, "text").into(),
        _ => blocks.into(),
    }
}

/// Encodes an assistant message, with its blocks unchanged if they are known: reasoning is valid
/// only after an unchanged conversation.
/// (<https://platform.claude.com/docs/en/build-with-claude/preserved-thinking>)
fn answer(request: ChatRequest<'_>, message: &Message) -> Vec<Value> {
    let is_known = message.remembered(Protocol::Messages).is_some();
    let is_claude = claude::name(request.model).is_some();
    let turn = message.turn(Protocol::Messages).into_iter();
    let blocks = turn.filter_map(|said| match said {
        TurnPart::Text(said, None) if !is_known => text(said),
        TurnPart::Text(said, fields) => Some(common::with(common::text(said), fields)),
        TurnPart::Call(call, fields) => {
            let (id, name, input) = (&call.id, &call.name, request.arguments(call));
            let block = json!({ "type": "tool_use", "id": id, "name": name, "input": input });
            Some(common::with(block, fields))
        }
        TurnPart::Opaque(block) if is_claude && is_unsigned(block) => {
            let why = "Claude refuses it: it was cut off, or another model wrote it";
            request.adapt("messages", "thinking without a signature", "nothing", why);
            None
        }
        TurnPart::Opaque(block) => Some(block.clone()),
    });
    blocks.collect()
}

/// Builds a text block. A blank text gets none, because a blank block is rejected.
fn text(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| common::text(text))
}

/// Returns whether the block is thinking without a signature. Anthropic signs each thinking block
/// at its end. Other providers of this protocol sign none, and require them back.
fn is_unsigned(block: &Value) -> bool {
    is(block, "thinking") && text_in(block, "signature").is_empty()
}

fn image(image: &Attachment) -> Value {
    let source = match image.base64() {
        Some(data) => json!({ "type": "base64", "media_type": image.media_type, "data": data }),
        None => json!({ "type": "url", "url": image.to_url() }),
    };
    json!({ "type": "image", "source": source })
}

fn tool_result(id: &str, message: &Message) -> Value {
    let said = (!message.content.is_empty()).then(|| json!(message.content));
    common::object([
        ("type", Some("tool_result".into())),
        ("tool_use_id", Some(id.into())),
        ("content", said),
        ("is_error", message.is_error.then_some(Value::Bool(true))),
    ])
}

fn tool_choice(request: ChatRequest<'_>) -> Option<Value> {
    let allowed = request.config.parallel_tool_calls;
    let choice = match &request.config.tool_choice {
        None if allowed.is_none() => return None,
        Some(ToolChoice::None) => {
            if let Some(allowed) = allowed {
                let why = "tool calls are off, so their number cannot be limited";
                request.adapt("parallel_tool_calls", allowed.to_string(), "nothing", why);
            }
            return Some(json!({ "type": "none" }));
        }
        None | Some(ToolChoice::Auto) => json!({ "type": "auto" }),
        Some(ToolChoice::Required) => json!({ "type": "any" }),
        Some(ToolChoice::Tool(name)) => json!({ "type": "tool", "name": name }),
    };
    let parallel = allowed.map(|allowed| json!({ "disable_parallel_tool_use": !allowed }));
    Some(common::with(choice, parallel.as_ref()))
}

fn is(block: &Value, kind: &str) -> bool {
    text_in(block, "type") == kind
}

wire! {
    /// An event, with the fields of all types of events.
    struct MessagesEvent {
        kind = "type", error, message, index, content_block,
        delta: BlockDelta<'a>, usage,
    }
    struct WholeMessage {
        id, model, content, stop_reason, stop_details, usage: MessagesUsage<'a>,
    }
    struct StopDetails { category, explanation }
    struct ContentBlock { kind = "type", text, thinking, id, name, input }
    struct BlockDelta {
        kind = "type", text, citation, thinking, signature, partial_json, content,
        encrypted_content, stop_reason, stop_details,
    }
    struct MessagesUsage {
        service_tier, input_tokens, cache_creation_input_tokens, cache_read_input_tokens, output_tokens,
        output_tokens_details: OutputDetails<'a>,
    }
    struct OutputDetails { thinking_tokens }
}

#[derive(Default)]
struct MessagesDecoder {
    /// The other fields of the open text block, such as citations.
    text: Option<Map<String, Value>>,
    /// The position at which that text begins.
    text_start: usize,
    /// All other open blocks, each with its index.
    open: Vec<(Option<u64>, OpenBlock)>,
    /// The latest token counts: input, cache writes, cache reads, output, reasoning.
    counted: [Option<u64>; 5],
}

/// An open block that is not a text.
enum OpenBlock {
    /// A call of one of the caller's tools, and its index in the response. `whole`: the input came
    /// complete with the start of the block, as when code that the provider runs made the call.
    Call { at: usize, whole: bool },
    /// Thinking, a tool of the provider's own or its result, or a newer type. The block is sent
    /// back unchanged. `pieces` are its fields that grow by deltas: JSON strings without their
    /// quotes, so that the two halves of a split character are joined.
    Kept { block: Map<String, Value>, pieces: BTreeMap<&'static str, String> },
}

impl Decoder for MessagesDecoder {
    fn decode(&mut self, event: &Event<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()> {
        let frame: MessagesEvent<'_> = json::read(event.data)?;
        // Some relays leave out `type`, and others the event's name.
        let kind = frame.kind.str();
        match kind.as_deref().unwrap_or(event.name) {
            kind if kind == "error" || frame.error.is_error() => out.fail(event.data),
            "message_start" => self.whole(&frame.message.parse(), out),
            // The response is not streamed.
            "message" => {
                self.whole(&json::read(event.data)?, out);
                out.ended = true;
            }
            "content_block_start" => self.start(frame.index.u64(), frame.content_block, out),
            "content_block_delta" => self.delta(frame.index, &frame.delta, out),
            "content_block_stop" => self.close(frame.index, out),
            "message_delta" => {
                if frame.delta.stop_reason.is_some() {
                    self.close_all(out);
                }
                self.count(&frame.usage.parse(), out);
                stop(frame.delta.stop_reason, frame.delta.stop_details, out);
            }
            "message_stop" => {
                self.close_all(out);
                out.ended = true;
            }
            "ping" => {}
            _ => return Ok(()),
        }
        out.seen.understood = true;
        Ok(())
    }

    fn end(&mut self, out: &mut ChunkBuilder) {
        self.end_text(out);
    }
}

impl MessagesDecoder {
    /// Decodes a message object. Usually it has only the model and the usage. It has content after
    /// a call by code at the provider, or if the response is not streamed.
    fn whole(&mut self, message: &WholeMessage<'_>, out: &mut ChunkBuilder) {
        out.model(message.model);
        out.told_first(|facts| &mut facts.id, message.id);
        for block in message.content.elements() {
            self.start(None, block, out);
            self.close_all(out);
        }
        self.count(&message.usage, out);
        stop(message.stop_reason, message.stop_details, out);
    }

    /// Updates the token counts, because no event has all of them. A later 0 is ignored, because some
    /// servers send 0 for what they do not know. Exception: a part (such as cache reads) may become 0
    /// in an event whose total is above 0.
    fn count(&mut self, counts: &MessagesUsage<'_>, out: &mut ChunkBuilder) {
        let (input, output) = (counts.input_tokens.u64(), counts.output_tokens.u64());
        let told = [
            (input, input),
            (input, counts.cache_creation_input_tokens.u64()),
            (input, counts.cache_read_input_tokens.u64()),
            (output, output),
            (output, counts.output_tokens_details.thinking_tokens.u64()),
        ];
        for (latest, (whole, count)) in self.counted.iter_mut().zip(told) {
            let is_news = count.max(whole) > Some(0);
            *latest = if is_news { count.or(*latest) } else { latest.or(count) };
        }
        let [input, cache_creation, cached_tokens, output, reasoning_tokens] = self.counted;
        let prompt = [input, cache_creation, cached_tokens].into_iter().flatten();
        let usage = Usage {
            prompt_tokens: prompt.fold(0, u64::saturating_add),
            completion_tokens: output.unwrap_or_default(),
            cached_tokens,
            cache_write_tokens: cache_creation,
            reasoning_tokens,
            ..Usage::default()
        };
        out.service_tier(counts.service_tier);
        out.usage(told.iter().any(|(_, count)| count.is_some()).then_some(usage));
    }

    fn start(&mut self, index: Option<u64>, json: Raw<'_>, out: &mut ChunkBuilder) {
        self.end_text(out);
        let ContentBlock { kind, text, thinking, id, name, input } = json.parse();
        let open = match kind.str().as_deref() {
            Some("text") => {
                out.new_text();
                self.text_start = out.position();
                out.text(text);
                let known = [("type", kind), ("text", text)];
                self.text = Some(other_fields(json, &known, out));
                return;
            }
            Some("tool_use") => {
                // An empty object or an empty string counts as no input.
                let void = ['"', '{', '}', ' ', '\t', '\r', '\n'];
                let whole = !input.json().trim_matches(void).is_empty();
                let arguments = if whole { input } else { Raw::default() };
                let Some(at) = out.new_call(None, id, name, arguments) else { return };
                let known = [("type", kind), ("id", id), ("name", name), ("input", input)];
                let fields = other_fields(json, &known, out);
                out.extra(fields);
                OpenBlock::Call { at, whole }
            }
            kind => {
                if kind.is_some_and(|kind| kind.contains("tool")) {
                    out.note_provider_tool();
                }
                out.reasoning(thinking);
                let Value::Object(block) = out.keep(json) else { return };
                OpenBlock::Kept { block, pieces: BTreeMap::new() }
            }
        };
        if self.open.len() >= common::MAX_OPEN {
            self.open.remove(0); // the oldest is forgotten
        }
        self.open.push((index, open));
    }

    fn delta(&mut self, index: Raw<'_>, delta: &BlockDelta<'_>, out: &mut ChunkBuilder) {
        match delta.kind.str().as_deref() {
            Some("text_delta") => _ = out.text(delta.text),
            Some("citations_delta") => {
                let citation = out.keep(delta.citation);
                if let Some(text) = self.text.as_mut().filter(|_| !citation.is_null())
                    && let Value::Array(citations) =
                        text.entry("citations").or_insert_with(|| json!([]))
                {
                    citations.push(citation);
                }
            }
            Some("thinking_delta") => {
                out.reasoning(delta.thinking);
                self.grow(index, "thinking", delta.thinking, out);
            }
            Some("signature_delta") => self.grow(index, "signature", delta.signature, out),
            Some("input_json_delta") => match self.opened(index) {
                Some(&mut OpenBlock::Call { at, whole: false }) => {
                    out.call_arguments(at, delta.partial_json);
                }
                Some(_) => {
                    self.grow(index, "input", delta.partial_json, out);
                    out.progress |= delta.partial_json.is_text();
                }
                // The call of this piece was never announced, or has ended.
                None => out.seen.gap |= delta.partial_json.is_text(),
            },
            Some("compaction_delta") => {
                self.grow(index, "content", delta.content, out);
                self.grow(index, "encrypted_content", delta.encrypted_content, out);
            }
            _ => {}
        }
    }

    /// Appends a piece to a field of a block that is kept.
    fn grow(&mut self, index: Raw<'_>, name: &'static str, text: Raw<'_>, out: &mut ChunkBuilder) {
        if let Some(OpenBlock::Kept { pieces, block }) = self.opened(index)
            && let Some(piece) = text.literal()
        {
            out.count_kept(piece.len());
            let so_far = pieces.entry(name).or_insert_with(|| {
                // Thinking may begin in `content_block_start`.
                let begun = block.get(name).filter(|_| name == "thinking");
                let begun = begun.map(Value::to_string).unwrap_or_default();
                Raw(&begun).literal().unwrap_or_default().to_owned()
            });
            so_far.push_str(piece);
        }
    }

    fn opened(&mut self, index: Raw<'_>) -> Option<&mut OpenBlock> {
        let at = self.position(index.u64())?;
        self.open.get_mut(at).map(|(_, block)| block)
    }

    /// Returns the position of the block with this index, or of the latest block if there is no
    /// index.
    fn position(&self, index: Option<u64>) -> Option<usize> {
        self.open.iter().rposition(|(known, _)| index.is_none() || *known == index)
    }

    fn end_text(&mut self, out: &mut ChunkBuilder) {
        let fields = self.text.take().unwrap_or_default();
        if let Some(Value::Array(citations)) = fields.get("citations") {
            // The whole block rests on its citations.
            for citation in citations {
                let told = self.text_start as u64..out.position() as u64;
                let place = Place { from: 0, told, unit: Unit::Bytes, words: String::new() };
                let quote = text_in(citation, "cited_text").to_owned();
                out.cite(source_in(citation), quote, Some(place));
            }
        }
        out.extra(fields);
    }

    fn close(&mut self, index: Raw<'_>, out: &mut ChunkBuilder) {
        self.end_text(out);
        if let Some(at) = self.position(index.u64()) {
            keep(self.open.remove(at).1, out);
        }
    }

    /// Closes the blocks that a relay has left open.
    fn close_all(&mut self, out: &mut ChunkBuilder) {
        self.end_text(out);
        for (_, block) in self.open.drain(..) {
            keep(block, out);
        }
    }
}

/// Returns the fields of a text or a call that the decoder does not use, except those with a
/// default value. They are sent back with it.
fn other_fields(
    block: Raw<'_>,
    read: &[(&str, Raw<'_>)],
    out: &mut ChunkBuilder,
) -> Map<String, Value> {
    let mut others = out.others(block, read);
    others.retain(|name, value| match name.as_str() {
        "citations" => *value != json!([]),
        "caller" => !is(value, "direct"),
        _ => true,
    });
    others
}

/// Keeps a finished block unchanged for the next request.
fn keep(block: OpenBlock, out: &mut ChunkBuilder) {
    let OpenBlock::Kept { mut block, pieces } = block else { return };
    for (field, literal) in pieces {
        let text = unescaped(&literal);
        let value = match field {
            "input" if text.trim().is_empty() => continue,
            "input" => match json::read(&text) {
                Ok(input) => out.keep(input),
                Err(_) => return,
            },
            _ => Value::String(text),
        };
        block.insert(field.to_owned(), value);
    }
    if block.contains_key("type") {
        let block = Value::Object(block);
        report(&block, out);
        out.opaque(block);
    }
}

/// Reports the call of a tool that runs at Anthropic, or its result.
fn report(block: &Value, out: &mut ChunkBuilder) {
    let text = |name| text_in(block, name);
    let kind = text("type");
    if kind.ends_with("tool_use") {
        let input = block.get("input").map(hosted::text_of).unwrap_or_default();
        out.tool_started(text("id"), text("name"), input);
    } else if let Some(name) = kind.strip_suffix("_tool_result") {
        let content = block.get("content").unwrap_or_default();
        let has_failed = text_in(content, "type").ends_with("_error")
            || block.get("is_error").is_some_and(|is_error| *is_error == true);
        out.tool_finished(text("tool_use_id"), name, hosted::text_of(content), has_failed);
        // A search has a list of pages, and a fetch has one.
        for page in common::list(Some(content)) {
            let text = |value, name| some_text_in(value, name).map(str::to_owned);
            let title = text(page.get("content").unwrap_or(page), "title");
            out.source(Source { url: text(page, "url"), title, ..Source::default() }, None);
        }
    }
}

fn stop(reason: Raw<'_>, details: Raw<'_>, out: &mut ChunkBuilder) {
    if let Some(word) = reason.str() {
        let reason = match &*word {
            "end_turn" | "stop_sequence" => FinishReason::Stop,
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "tool_use" => FinishReason::ToolCalls,
            "refusal" => FinishReason::ContentFilter,
            _ => FinishReason::Other,
        };
        out.finish(reason, &word);
        if word == "refusal" {
            let StopDetails { category, explanation } = details.parse();
            out.told_first(|facts| &mut facts.refusal, explanation);
            out.told_first(|facts| &mut facts.refusal_category, category);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::sent;
    use super::*;
    use crate::config::{GenerationConfig, Reasoning};
    use crate::message::{Replay, ReplayPart, ToolCall};
    use crate::response::GenerationResponse;
    use crate::tool::Tool;

    fn body_of(messages: &[Message], config: &GenerationConfig) -> Result<Value, String> {
        sent(Protocol::Messages, messages, config)
    }

    fn turns(messages: &[Message]) -> Result<Value, String> {
        body_of(messages, &GenerationConfig::new("m")).map(|mut body| body["messages"].take())
    }

    #[test]
    fn each_option_has_its_place_in_the_body() {
        let config = || GenerationConfig::new("m");
        let schema = json!({"type": "object"});
        let tools = [
            Tool::function("look", "Looks.", schema.clone()),
            Tool::function("go", "", schema.clone()),
        ];
        let format = || ResponseFormat::json_schema("answer", schema.clone());
        let thinking = |kind: &str| json!({"type": kind, "display": "summarized"});
        for (config, more) in [
            (config(), json!({})),
            (config().max_tokens(7), json!({"max_tokens": 7})),
            (config().temperature(0.5), json!({"temperature": 0.5})),
            (config().top_p(0.5), json!({"top_p": 0.5})),
            (config().top_k(5), json!({"top_k": 5})),
            (config().stop(["a", "b"]), json!({"stop_sequences": ["a", "b"]})),
            (
                config().tools(tools),
                json!({"tools": [
                    {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}},
                    {"name": "go", "input_schema": {"type": "object"}},
                ]}),
            ),
            (config().tool_choice(ToolChoice::Auto), json!({"tool_choice": {"type": "auto"}})),
            (config().tool_choice(ToolChoice::None), json!({"tool_choice": {"type": "none"}})),
            (config().tool_choice(ToolChoice::Required), json!({"tool_choice": {"type": "any"}})),
            (
                config().tool_choice(ToolChoice::Tool("go".into())).parallel_tool_calls(false),
                json!({"tool_choice": {"type": "tool", "name": "go", "disable_parallel_tool_use": true}}),
            ),
            (
                config().parallel_tool_calls(true),
                json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": false}}),
            ),
            (
                config().tool_choice(ToolChoice::None).parallel_tool_calls(false),
                json!({"tool_choice": {"type": "none"}}),
            ),
            (
                config().response_format(format()),
                json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
            ),
            (
                config().response_format(ResponseFormat::json_schema(
                    "answer",
                    json!({"type": "object", "properties": {}}),
                )),
                json!({"output_config": {"format": {"type": "json_schema", "schema":
                    {"type": "object", "properties": {}, "additionalProperties": false}}}}),
            ),
            (config().reasoning(Reasoning::Off), json!({"thinking": {"type": "disabled"}})),
            (config().reasoning(Reasoning::Budget(0)), json!({"thinking": {"type": "disabled"}})),
            (
                config().reasoning(Reasoning::Budget(2000)),
                json!({
                    "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
                    "max_tokens": 10192,
                }),
            ),
            (
                config().reasoning(Reasoning::Minimal),
                json!({"thinking": thinking("adaptive"), "output_config": {"effort": "low"}, "max_tokens": 9216}),
            ),
            (
                config().reasoning(Reasoning::Medium).max_tokens(9),
                json!({"thinking": thinking("adaptive"), "output_config": {"effort": "medium"}, "max_tokens": 9}),
            ),
            (
                config().reasoning(Reasoning::High).response_format(format()),
                json!({
                    "thinking": thinking("adaptive"),
                    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
                    "max_tokens": 32768,
                }),
            ),
        ] {
            let mut expected = json!({
                "model": "m",
                "stream": true,
                "max_tokens": 8192,
                "messages": [{"role": "user", "content": "Hi"}],
            });
            for (name, value) in more.as_object().unwrap() {
                expected[name] = value.clone();
            }
            assert_eq!(body_of(&[Message::user("Hi")], &config).unwrap(), expected, "{config:?}");
        }
    }

    #[test]
    fn there_is_room_for_thoughts_and_answer() {
        let limit = |config: GenerationConfig| {
            body_of(&[Message::user("Hi")], &config).unwrap()["max_tokens"].as_u64().unwrap()
        };
        let claude = || GenerationConfig::new("claude-opus-4-6");
        assert_eq!(limit(claude()), 64_000);
        assert_eq!(limit(claude().max_tokens(7)), 7);
        assert_eq!(limit(claude().reasoning(Reasoning::Max)), 64_000);
        assert_eq!(limit(claude().reasoning(Reasoning::Budget(5000))), 64_000);
        assert_eq!(limit(claude().reasoning(Reasoning::Budget(100_000))), 108_192);
        assert_eq!(limit(claude().reasoning(Reasoning::Budget(u32::MAX))), u64::from(u32::MAX));
        assert_eq!(limit(GenerationConfig::new("Qwen3")), 8192);
    }

    #[test]
    fn what_the_protocol_cannot_say_is_refused_by_name() {
        let config = || GenerationConfig::new("m");
        for (config, name) in [
            (config().frequency_penalty(1.0), "frequency_penalty"),
            (config().presence_penalty(1.0), "presence_penalty"),
            (config().seed(1), "seed"),
            (config().logprobs(1), "logprobs"),
            (config().response_format(ResponseFormat::Json), "response_format"),
        ] {
            let error = body_of(&[Message::user("Hi")], &config).unwrap_err();
            assert!(error.contains(&format!("anthropic: the option `{name}`")), "{error}");
        }
    }

    #[test]
    fn a_conversation_becomes_turns_of_blocks() {
        let mut assistant = Message::assistant("Let me see.");
        assistant.tool_calls.push(ToolCall::new("c1", "look", r#"{"at": "door"}"#));
        assistant.tool_calls.push(ToolCall::new("c2", "look", ""));
        let conversation = [
            Message::system("Be brief."),
            Message::user("What is this?")
                .attach(Attachment::bytes("image/png", b"foo"))
                .attach(Attachment::url("https://example.com/a.png"))
                .attach(Attachment::url("data:image/gif;base64,Zg==")),
            Message::system("Be kind."),
            Message::user("And this?"),
            Message::assistant(" \n"),
            Message::user(""),
            assistant,
            Message::tool("c1", "a door"),
            Message::user("Hurry!"),
            Message::tool("c2", ""),
            Message::assistant("A door."),
        ];
        let image = |source: Value| json!({"type": "image", "source": source});
        let body = body_of(&conversation, &GenerationConfig::new("m")).unwrap();
        assert_eq!(body["system"], "Be brief.\n\nBe kind.");
        assert_eq!(
            body["messages"],
            json!([
                {"role": "user", "content": [
                    image(json!({"type": "base64", "media_type": "image/png", "data": "Zm9v"})),
                    image(json!({"type": "url", "url": "https://example.com/a.png"})),
                    image(json!({"type": "base64", "media_type": "image/gif", "data": "Zg=="})),
                    {"type": "text", "text": "What is this?"},
                    {"type": "text", "text": "And this?"},
                ]},
                {"role": "assistant", "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "door"}},
                    {"type": "tool_use", "id": "c2", "name": "look", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "a door"},
                    {"type": "tool_result", "tool_use_id": "c2"},
                    {"type": "text", "text": "Hurry!"},
                ]},
                {"role": "assistant", "content": "A door."},
            ])
        );
    }

    #[test]
    #[cfg(feature = "rustls")] // The provider is hosted, although the address is local.
    fn a_later_system_message_keeps_its_place_where_the_model_takes_it() {
        let (system, user, assistant) = (Message::system, Message::user, Message::assistant);
        let mut calls = assistant("");
        calls.tool_calls = vec![ToolCall::new("c", "go", "{}"), ToolCall::new("d", "go", "{}")];
        let result = |id: &str| Message::tool(id, "done");
        let sent = |model: &str, messages: &[Message]| {
            let config = GenerationConfig::new(model).api_key("k").max_tokens(9);
            let config = config.provider(crate::LlmProvider::Anthropic);
            let config = config.base_url("http://127.0.0.1:1/v1");
            let request = crate::generate_stream(messages, config).request().unwrap();
            let turns = request.body["messages"].as_array().unwrap().iter();
            let turns: Vec<_> = turns.map(|turn| turn["role"].as_str().unwrap()).collect();
            let told = request.adaptations.iter().any(|told| told.sent == "one `system` text");
            let system = request.body["system"].as_str().unwrap_or_default();
            (system.to_owned(), turns.join(" "), told)
        };
        for (messages, system, turns, told) in [
            (&[system("A"), user("u"), system("B")][..], "A", "user system", false),
            (&[user("u"), system("A"), assistant("a")], "", "user system assistant", false),
            (
                &[user("u"), system("A"), system(" "), system("B"), assistant("a"), user("v")],
                "",
                "user system assistant user",
                false,
            ),
            // The assistant message is empty, so that the system messages are joined.
            (&[user("u"), system("A"), assistant(""), system("B")], "", "user system", false),
            (
                &[user("u"), calls.clone(), result("c"), result("d"), system("A")],
                "",
                "user assistant user system",
                false,
            ),
            // A user message follows the system message.
            (
                &[user("u"), assistant("a"), system("A"), user("v")],
                "",
                "user assistant user system",
                false,
            ),
            (&[user("u"), system("A"), user("v"), system("B")], "", "user system", false),
            (
                &[user("u"), assistant("a"), system("A"), system("B"), user("v")],
                "",
                "user assistant user system",
                false,
            ),
            (&[user("u"), system("A"), assistant(" "), user("v")], "", "user system", false),
            (
                &[user("u"), calls.clone(), result("c"), system("A"), result("d")],
                "",
                "user assistant user system",
                false,
            ),
            (
                &[user("u"), calls, system("A"), result("c"), result("d")],
                "",
                "user assistant user system",
                false,
            ),
            // The system message is not next to a user message.
            (&[user("u"), assistant("a"), system("A")], "A", "user assistant", true),
            (
                &[user("u"), assistant("a"), system("A"), assistant("b"), user("v")],
                "A",
                "user assistant user",
                true,
            ),
            (&[system("A"), system("B"), user("u")], "A\n\nB", "user", true),
        ] {
            let expected = (system.to_owned(), turns.to_owned(), told);
            assert_eq!(sent("claude-opus-4-8", messages), expected, "{messages:?}");
        }
        let conversation = [user("u"), system("A"), assistant("a")];
        let stays = |model: &str| sent(model, &conversation).1 == "user system assistant";
        for model in [
            "claude-opus-5-5",
            "claude-haiku-5-5-20261001",
            "claude-fable-5-2",
            "claude-sonnet-5-5@20261001",
            "anthropic::us.anthropic.claude-opus-4-8-v1:0",
            "anthropic::anthropic/claude-opus-4.8",
        ] {
            assert!(stays(model), "{model}");
        }
        for model in ["claude-sonnet-5", "claude-opus-4-7", "claude-haiku-4-5", "anthropic::opus-5"]
        {
            assert!(!stays(model), "{model}");
        }
        let turns = body_of(&conversation, &GenerationConfig::new("claude-opus-5")).unwrap();
        assert_eq!(turns["messages"][1], json!({"role": "system", "content": "A"}));
    }

    #[test]
    fn a_call_that_was_cut_before_its_arguments_says_so() {
        let mut message = Message::assistant("");
        message.tool_calls.push(ToolCall { cut: true, ..ToolCall::new("c1", "look", "") });
        let input = &turns(&[message.clone()]).unwrap()[0]["content"][0]["input"];
        assert_eq!(input, &json!({"INVALID_JSON": ""}));
        for protocol in [Protocol::ChatCompletions, Protocol::Responses, Protocol::CohereChat] {
            let body = sent(protocol, message.clone(), &GenerationConfig::new("m")).unwrap();
            assert!(body.to_string().contains(r#"{\"INVALID_JSON\":\"\"}"#), "{body}");
        }
    }

    #[test]
    fn what_no_message_may_be_is_refused() {
        let mut orphan = Message::tool("c1", "a door");
        orphan.tool_call_id = None;
        assert!(turns(&[orphan]).unwrap_err().contains("id of the call"));
        let image = Attachment::url("https://example.com/a.png");
        assert!(
            turns(&[Message::assistant("x").attach(image)]).unwrap_err().contains("attachments")
        );
    }

    /// Decodes events, and returns the response and the builder.
    fn decode(events: &[&str]) -> (GenerationResponse, ChunkBuilder) {
        let mut decoder = MessagesDecoder::default();
        let mut out = ChunkBuilder::new(9, 9999);
        let mut response = GenerationResponse::default();
        for data in events {
            // Some tests put the name of the event before its data.
            let (name, data) = data.split_at(data.find(['{', '[']).unwrap());
            decoder.decode(&Event { name, data }, &mut out).unwrap();
            out.name_model();
            response.fold(&out.take());
        }
        out.flush();
        out.name_model();
        response.fold(&out.take());
        response.replay =
            out.replay(crate::LlmProvider::Anthropic, Protocol::Messages, false, &response);
        (response, out)
    }

    /// Returns the prompt, completion, total, cached and reasoning tokens.
    fn usage(events: &[&str]) -> Option<[Option<u64>; 5]> {
        let usage = decode(events).0.usage?;
        let totals = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];
        let [prompt, completion, total] = totals.map(Some);
        Some([prompt, completion, total, usage.cached_tokens, usage.reasoning_tokens])
    }

    const TEXT: &str = r#"{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}"#;
    const HI: &str = r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}"#;
    const STOP: &str = r#"{"type": "content_block_stop", "index": 0}"#;
    const END: &str = r#"{"type": "message_stop"}"#;

    #[test]
    fn what_is_not_known_is_passed_over() {
        let (response, out) = decode(&[
            r#"{"type": "message_start", "message": null}"#,
            r#"{"type": "message_start", "message": {"model": "claude", "content": []}}"#,
            r#"{"type": "ping"}"#,
            r#"{"type": "from_the_future", "delta": {"type": "text_delta", "text": "no"}}"#,
            "[]",
            r#"{"error": null}"#,
            r#"{"error": "", "type": "ping"}"#,
            r#"{"error": {}, "type": "ping"}"#,
            TEXT,
            r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"text": "no"}}}"#,
            r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "text": "no"}}"#,
            r#"{"type": "content_block_delta", "index": 0, "delta": null}"#,
            r#"{"type": "content_block_delta", "index": 5, "delta": {"type": "input_json_delta", "partial_json": "no"}}"#,
            r#"content_block_delta{"delta": {"type": "text_delta", "text": "O"}}"#,
            HI,
            STOP,
            r#"{"type": "content_block_start", "index": 1, "content_block": {"type": "new_block", "text": "no"}}"#,
            r#"{"type": "content_block_stop", "index": 1}"#,
            r#"{"type": "content_block_start", "index": 2, "content_block": null}"#,
            r#"{"type": "content_block_stop", "index": 2}"#,
        ]);
        assert_eq!((&*response.content, response.model.as_deref()), ("OHi", Some("claude")));
        assert!(response.reasoning.is_empty() && response.tool_calls.is_empty());
        assert_eq!(response.chunk_count, 2);
        assert!(!out.ended && out.failure.is_none());
    }

    #[test]
    fn an_error_is_told_first_or_after_text_by_either_name() {
        for error in [
            r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}   "#,
            r#"error{"message": "Overloaded"}"#,
            r#"{"error": {"message": "Overloaded"}}"#,
            r#"{"type": "message_stop", "error": "Overloaded"}"#,
        ] {
            let (_, out) = decode(&[error]);
            assert!(out.failure.unwrap().contains("Overloaded") && !out.ended);
            let (response, out) = decode(&[TEXT, HI, error]);
            assert_eq!(response.content, "Hi");
            assert!(out.failure.is_some());
        }
    }

    #[test]
    fn stop_reasons_and_ends() {
        use FinishReason::*;
        for (word, reason) in [
            ("end_turn", Stop),
            ("stop_sequence", Stop),
            ("max_tokens", Length),
            ("model_context_window_exceeded", Length),
            ("tool_use", ToolCalls),
            ("refusal", ContentFilter),
            ("pause_turn", Other),
            ("compaction", Other),
        ] {
            let delta =
                format!(r#"{{"type": "message_delta", "delta": {{"stop_reason": "{word}"}}}}"#);
            let again = r#"{"type": "message_delta", "delta": {"stop_reason": null}, "usage": {}}"#;
            let (response, out) = decode(&[TEXT, HI, STOP, &delta, again]);
            assert_eq!(response.finish_reason, Some(reason));
            assert_eq!(response.raw_finish_reason.as_deref(), Some(word));
            assert!(!out.ended && response.usage.is_none());
        }
        assert!(decode(&[TEXT, HI, END]).1.ended);
        assert_eq!(decode(&[TEXT, HI, END]).0.finish_reason, None);
    }

    #[test]
    fn usage_is_the_latest_of_each_count() {
        let start = r#"{"type": "message_start", "message": {"usage": {
            "input_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 1}}}"#;
        let delta = r#"{"type": "message_delta", "usage": {"output_tokens": 40}}"#;
        let last = r#"{"type": "message_delta", "usage": {
            "input_tokens": 6, "output_tokens": 41, "output_tokens_details": {"thinking_tokens": 9}}}"#;
        assert_eq!(usage(&[start, END]), Some([Some(325), Some(1), Some(326), Some(300), None]));
        assert_eq!(usage(&[start, delta]), Some([Some(325), Some(40), Some(365), Some(300), None]));
        assert_eq!(
            usage(&[start, delta, last]),
            Some([Some(326), Some(41), Some(367), Some(300), Some(9)])
        );
        // A later 0 does not replace a count.
        let zero = r#"{"type": "message_delta", "usage": {
            "input_tokens": 0, "cache_read_input_tokens": 300, "output_tokens": 3}}"#;
        assert_eq!(usage(&[start, zero]), Some([Some(325), Some(3), Some(328), Some(300), None]));
        assert_eq!(usage(&[delta]), Some([Some(0), Some(40), Some(40), None, None]));
        assert_eq!(usage(&[r#"{"type": "message_delta", "usage": {"input_tokens": null}}"#]), None);
    }

    #[test]
    fn calls_come_in_pieces_or_whole_and_tools_of_the_provider_are_none() {
        let start = |index: usize, block: &str| {
            format!(
                r#"{{"type": "content_block_start", "index": {index}, "content_block": {block}}}"#
            )
        };
        let piece = |index: usize, json: &str| {
            let delta = json!({"type": "input_json_delta", "partial_json": json});
            json!({"type": "content_block_delta", "index": index, "delta": delta}).to_string()
        };
        let stop = |index: usize| format!(r#"{{"type": "content_block_stop", "index": {index}}}"#);
        let events = [
            start(0, r#"{"type": "tool_use", "id": "a", "name": "look", "input": {}}"#),
            piece(0, ""),
            piece(0, r#"{"at": "#),
            start(1, r#"{"type": "server_tool_use", "id": "s", "name": "search", "input": {}}"#),
            piece(1, r#"{"q": 1}"#),
            piece(0, "1}"),
            stop(0),
            stop(1),
            start(
                2,
                r#"{"type": "tool_use", "id": "b", "name": "roll", "input": {"n": 2}, "caller": {"type": "code", "tool_id": "s"}}"#,
            ),
            piece(2, r#"{"n": 2}"#),
            stop(2),
            start(
                3,
                r#"{"type": "tool_use", "id": "c", "name": "go", "input": {}, "caller": {"type": "direct"}}"#,
            ),
            stop(3),
            r#"{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}"#.to_owned(),
        ];
        let (response, _) = decode(&events.each_ref().map(String::as_str));
        assert_eq!(
            response.tool_calls,
            [
                ToolCall::new("a", "look", r#"{"at": 1}"#),
                ToolCall::new("b", "roll", r#"{"n": 2}"#),
                ToolCall::new("c", "go", ""),
            ]
        );
        assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!(
            turns(&[response.into()]).unwrap()[0]["content"],
            json!([
                {"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}},
                {"type": "server_tool_use", "id": "s", "name": "search", "input": {"q": 1}},
                {"type": "tool_use", "id": "b", "name": "roll", "input": {"n": 2}, "caller": {"type": "code", "tool_id": "s"}},
                {"type": "tool_use", "id": "c", "name": "go", "input": {}},
            ])
        );

        let whole = r#"{"type": "message_start", "message": {"stop_reason": "tool_use", "content": [
            {"type": "text", "text": "Hi"}, {"type": "server_tool_use", "id": "s", "name": "run", "input": {"q": 1}},
            {"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}}]}}"#;
        let (response, _) = decode(&[whole, END]);
        assert_eq!(response.content, "Hi");
        assert_eq!(response.tool_calls, [ToolCall::new("a", "look", r#"{"at": 1}"#)]);
        assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!(
            turns(&[response.into()]).unwrap()[0]["content"],
            json!([
                {"type": "text", "text": "Hi"},
                {"type": "server_tool_use", "id": "s", "name": "run", "input": {"q": 1}},
                {"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}},
            ])
        );
    }

    #[test]
    fn what_anthropic_demands_back_goes_back_in_order() {
        let (response, _) = decode(&[
            r#"{"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}"#,
            r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm \ud83d"}}"#,
            r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "\ude00"}}"#,
            r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s1=="}}"#,
            STOP,
            r#"{"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "r1"}}"#,
            r#"{"type": "content_block_stop", "index": 1}"#,
            r#"{"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "A"}}"#,
            r#"{"type": "content_block_stop", "index": 2}"#,
            r#"{"type": "content_block_start", "index": 3, "content_block": {"type": "web_search_tool_result", "content": [{"url": "u"}]}}"#,
            r#"{"type": "content_block_stop", "index": 3}"#,
            r#"{"type": "content_block_start", "index": 4, "content_block": {"type": "text", "text": "B"}}"#,
            r#"{"type": "content_block_stop", "index": 4}"#,
            r#"{"type": "content_block_start", "index": 5, "content_block": {"type": "compaction", "content": null}}"#,
            r#"{"type": "content_block_delta", "index": 5, "delta": {"type": "compaction_delta", "content": "Sum", "encrypted_content": "e"}}"#,
            // A relay leaves out the stop. Then thinking is truncated before its signature.
            r#"{"type": "content_block_start", "index": 6, "content_block": {"type": "thinking", "thinking": "cut"}}"#,
            r#"{"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}"#,
        ]);
        assert_eq!((&*response.content, &*response.reasoning), ("AB", "Hm 😀cut"));
        let message = Message::from(&response);
        let saved = serde_json::to_string(&message).unwrap();
        let message: Message = serde_json::from_str(&saved).unwrap();
        assert_eq!(
            turns(&[message]).unwrap(),
            json!([{"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm 😀", "signature": "s1=="},
                {"type": "redacted_thinking", "data": "r1"},
                {"type": "text", "text": "A"},
                {"type": "web_search_tool_result", "content": [{"url": "u"}]},
                {"type": "text", "text": "B"},
                {"type": "compaction", "content": "Sum", "encrypted_content": "e"},
                {"type": "thinking", "thinking": "cut"},
            ]}])
        );
    }

    /// Decodes a response with these blocks and saves it. Returns its message, and the content that
    /// is sent back to the model.
    fn goes_back(model: &str, blocks: &[Value]) -> (Message, Value) {
        let whole = json!({"type": "message", "content": blocks, "stop_reason": "end_turn"});
        let (response, _) = decode(&[&whole.to_string()]);
        let saved = serde_json::to_string(&Message::from(response)).unwrap();
        let message: Message = serde_json::from_str(&saved).unwrap();
        let mut body =
            body_of(std::slice::from_ref(&message), &GenerationConfig::new(model)).unwrap();
        (message, body["messages"][0]["content"].take())
    }

    #[test]
    fn an_answer_goes_back_word_for_word() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let cited =
            json!({"type": "text", "text": "Ice", "citations": [{"cited_text": "ice", "n": null}]});
        let signed = json!({"type": "thinking", "thinking": "", "signature": "s"});
        let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "go", "input": {}, "new": [{"a": 1.0}]});
        let server =
            json!({"type": "server_tool_use", "id": "s", "name": "run", "input": {}, "new": null});
        for blocks in [
            vec![text("One. "), text("Two.")],
            vec![cited.clone()],
            vec![text("So: "), cited.clone(), cited.clone(), text("."), call("c")],
            vec![json!({"type": "text", "text": "New", "new": {"field": [null]}}), text("Old")],
            vec![text("\n\n"), signed.clone(), text("Hi")],
            vec![signed.clone(), text(" "), call("c"), text("\n"), call("d")],
            vec![text("A"), server, text("B")],
        ] {
            let (mut message, back) = goes_back("claude-opus-5", &blocks);
            assert_eq!(back, json!(blocks));
            // A message that the caller has changed is one text, without the old replay data.
            message.content = " \n".repeat(99);
            message.tool_calls.clear();
            let back = turns(&[Message::user("Hi"), message]).unwrap();
            assert_eq!(back.as_array().unwrap().len(), 1, "{back}");
        }
        // Fields with a default value are not sent back.
        let (message, back) = goes_back(
            "claude-opus-5",
            &[
                json!({"type": "text", "text": "Hi", "citations": [], "new": null}),
                json!({"type": "tool_use", "id": "c", "name": "go", "input": {}, "caller": {"type": "direct"}}),
            ],
        );
        assert_eq!(message.replay, None);
        assert_eq!(back[0], text("Hi"));
        assert!(back[1].get("caller").is_none());
    }

    #[test]
    fn a_citation_belongs_to_the_text_that_is_being_written() {
        let cite = |text: &str| {
            let delta = json!({"type": "citations_delta", "citation": {"cited_text": text}});
            json!({"type": "content_block_delta", "index": 0, "delta": delta}).to_string()
        };
        let thought = r#"{"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "r"}}"#;
        let call = r#"{"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "c", "name": "go"}}"#;
        let cited = |texts: &[&str]| {
            let citations: Vec<_> = texts.iter().map(|text| json!({"cited_text": text})).collect();
            json!({"type": "text", "text": "Hi", "citations": citations})
        };
        // Some relays leave out the stop.
        for stop in [STOP, r#"{"type": "ping"}"#] {
            let (response, _) = decode(&[
                &cite("no"),
                TEXT,
                &cite("a"),
                HI,
                &cite("b"),
                stop,
                thought,
                &cite("no"),
                TEXT,
                HI,
                &cite("c"),
                stop,
                call,
                &cite("no"),
                END,
            ]);
            let mut back = turns(&[response.into()]).unwrap()[0]["content"].take();
            back.as_array_mut().unwrap().retain(|block| !is(block, "redacted_thinking"));
            let call = json!({"type": "tool_use", "id": "c", "name": "go", "input": {}});
            assert_eq!(back, json!([cited(&["a", "b"]), cited(&["c"]), call]));
        }
        let (response, _) = decode(&[TEXT, &cite("a"), HI, STOP, &cite("no"), END]);
        assert_eq!(turns(&[response.into()]).unwrap()[0]["content"], json!([cited(&["a"])]));
    }

    #[test]
    #[cfg(feature = "rustls")] // The provider is hosted, although the address is local.
    fn a_thought_without_a_signature_goes_back_to_others_than_claude() {
        let thought = json!({"type": "thinking", "thinking": "Hm", "signature": ""});
        let blocks = [thought, json!({"type": "text", "text": "Hi"})];
        assert_eq!(goes_back("MiniMax-M2", &blocks).1, json!(blocks));
        let (message, back) = goes_back("us.anthropic.claude-opus-5", &blocks);
        assert_eq!(back, "Hi");
        let config = GenerationConfig::new("claude-opus-5").api_key("k");
        let config = config.provider(crate::LlmProvider::Anthropic);
        let config = config.base_url("http://127.0.0.1:1/v1");
        let request = crate::generate_stream(message, config).request().unwrap();
        assert!(
            request.adaptations.iter().any(|told| told.asked == "thinking without a signature"),
            "{:?}",
            request.adaptations
        );
    }

    #[test]
    fn many_unknown_fields_end_the_stream() {
        let fields: Vec<_> = (0..100).map(|n| format!(r#""f{n}": 1"#)).collect();
        let start = format!(
            r#"{{"type": "content_block_start", "content_block": {{"type": "text", "text": "", {}}}}}"#,
            fields.join(", ")
        );
        let (_, out) = decode(&[&start]);
        assert!(out.is_full(), "{}", out.kept_bytes);
    }

    #[test]
    fn a_piece_of_a_call_that_was_not_announced_is_a_gap() {
        let start = r#"{"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "c", "name": "go"}}"#;
        let piece = r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}}"#;
        let other = piece.replace("0", "1");
        assert!(!decode(&[start, piece, STOP]).1.seen.gap);
        for lost in [&[piece][..], &[start, &other], &[start, STOP, piece]] {
            assert!(decode(lost).1.seen.gap, "{lost:?}");
        }
        // Two blocks are two calls, even if their ids are the same.
        let second = start.replace("0,", "1,");
        let (response, _) = decode(&[start, piece, STOP, &second, &other]);
        let calls: Vec<_> = response.tool_calls.iter().map(|call| &*call.arguments).collect();
        assert_eq!(calls, ["{}", "{}"]);
    }

    #[test]
    fn only_so_many_unfinished_blocks_are_remembered() {
        let (mut decoder, mut out) = (MessagesDecoder::default(), ChunkBuilder::new(9999, 9999));
        let start =
            r#"{"type": "content_block_start", "content_block": {"type": "tool_use", "id": "c"}}"#;
        for _ in 0..2 * common::MAX_OPEN {
            decoder.decode(&Event { name: "", data: start }, &mut out).unwrap();
        }
        assert_eq!(decoder.open.len(), common::MAX_OPEN);
    }

    #[test]
    fn what_is_gathered_counts_before_it_is_whole() {
        let piece = r#"{"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "12345678"}}"#;
        let block =
            r#"{"type": "content_block_start", "content_block": {"type": "server_tool_use"}}"#;
        assert!(decode(&[block, piece, piece]).1.kept_bytes >= 16);
        // Replay data of another protocol is not used: only text and calls are sent back.
        let mut message = Message::assistant("Hi");
        let parts = vec![ReplayPart::Opaque(json!({"type": "reasoning"}))];
        message.replay = Some(Replay {
            provider: crate::LlmProvider::Anthropic,
            protocol: Protocol::ChatCompletions,
            parts,
            fingerprint: crate::message::fingerprint_of(&message.content, &message.tool_calls),
        });
        assert_eq!(turns(&[message]).unwrap()[0]["content"], "Hi");
    }
}
