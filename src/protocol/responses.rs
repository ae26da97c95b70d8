//! Encodes and decodes Responses, OpenAI's newer protocol, which other servers also implement.
//! (<https://platform.openai.com/docs/api-reference/responses>)
//!
//! The provider stores nothing: `store` is false, so the messages hold the whole conversation. The
//! assistant message keeps everything that has to be sent back to the model: reasoning (encrypted
//! by OpenAI, plain text from open models), calls of built-in tools, the citations of a text, and
//! whether a text was commentary or the final answer.
//!
//! The raw finish reason is `completed`, or the reason why the response is incomplete.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::builder::ChunkBuilder;
use super::chat_request::ChatRequest;
use super::cited::{Cited, Unit};
use super::codec::{Codec, Decoder};
use super::common::{self, text_in};
use super::options::Options;
use super::own_tool::OwnTool;
use super::told::ToldText;
use super::wire::{Raw, wire};
use super::{json, logprobs, schema};
use crate::attachment::Attachment;
use crate::chunk::{FinishReason, Usage};
use crate::config::ResponseFormat;
use crate::error::Error;
use crate::message::{MessageRole, TurnPart};
use crate::provider::{Protocol, ReasoningForm, reasoning_form};
use crate::sse::Event;
use crate::tool::Function;

pub(super) const CODEC: Codec = Codec::new::<ResponsesDecoder>("responses", body);

/// OpenAI's models send no reasoning text unless the request asks for a summary.
const REASONING: &[(&str, ReasoningForm)] =
    &[("", reasoning_form(r#"{"effort":"none"}"#, r#"{"effort":"$level","summary":"auto"}"#, ""))];

fn body(request: ChatRequest<'_>) -> Result<Map<String, Value>, Error> {
    let (mut options, mut body) = Options::and_body(request);
    let alternatives = options.take("logprobs");
    let mut include = Vec::new();
    // If nothing is stored, OpenAI sends the encrypted reasoning by default, but Azure and others do
    // not. Models without reasoning reject it, so it is requested only together with reasoning.
    let reasons = request.config.reasoning.is_some_and(|how| how.budget() > 0);
    include.extend(reasons.then_some("reasoning.encrypted_content"));
    include.extend(alternatives.is_some().then_some("message.output_text.logprobs"));
    body.put("input", input(request)?);
    body.put("store", false);
    body.put("include", (!include.is_empty()).then_some(include));
    body.put("reasoning", common::reasoning(&mut options, request.model, REASONING)?);
    let format = options.typed("response_format", &request.config.response_format);
    body.put("text", format.map(|it| text(request, it)));
    let tools = options.tools(&mut body, |it| function(request, it))?.concat();
    body.put("tools", (!tools.is_empty()).then_some(tools));
    let named = |tool: &str| json!({"type": "function", "name": tool});
    body.put("tool_choice", common::tool_choice(&mut options, "required", named));
    body.put("top_logprobs", alternatives);
    options
        .move_into("max_tokens=max_output_tokens parallel_tool_calls temperature top_p", &mut body);
    options.finish(body)
}

/// Encodes the conversation as items. System messages are also items, not `instructions`, so that
/// they keep their places. Every server that we checked accepts this.
fn input(request: ChatRequest<'_>) -> Result<Vec<Value>, Error> {
    let mut items = Vec::with_capacity(request.messages.len());
    // The ids of custom tool calls, whose arguments are free text. Their results have another type.
    let mut custom = Vec::new();
    for (at, message) in request.messages()?.iter().enumerate() {
        match message.role {
            MessageRole::Assistant => {
                let before = items.len();
                for part in message.turn(Protocol::Responses) {
                    let Some(item) = assistant(request, part, items.len()) else { continue };
                    if text_in(&item, "type") == "custom_tool_call" {
                        custom.extend(item.get("call_id").cloned());
                    }
                    items.push(item);
                }
                if items.len() == before {
                    common::note_changed_turn(request, at, true);
                }
            }
            MessageRole::Tool => {
                let id = json!(request.call_id(message)?);
                let call = if custom.contains(&id) { "custom_tool_call" } else { "function_call" };
                let kind = format!("{call}_output");
                items.push(json!({"type": kind, "call_id": id, "output": message.content}));
            }
            MessageRole::System | MessageRole::User => {
                items.push(said(message.role, common::content(message, input_text, image)));
            }
        }
    }
    Ok(items)
}

/// Encodes a message. llama.cpp requires `type`, and accepts an assistant's text without an id only
/// as a plain string.
fn said(role: MessageRole, content: Value) -> Value {
    json!({"type": "message", "role": role.as_str(), "content": content})
}

fn input_text(text: &str) -> Value {
    json!({"type": "input_text", "text": text})
}

fn image(image: &Attachment) -> Value {
    // vLLM requires `detail`.
    json!({"type": "input_image", "image_url": image.to_url(), "detail": "auto"})
}

/// Encodes one part of an assistant message. The ids of messages and calls are left out: they refer
/// to a store that holds nothing, and OpenAI rejects a message with its id if the reasoning that
/// led to it is missing.
fn assistant(request: ChatRequest<'_>, part: TurnPart<'_>, place: usize) -> Option<Value> {
    Some(match part {
        TurnPart::Opaque(Value::Null) => return None,
        TurnPart::Text(text, extra) => {
            let mut item = common::with(said(MessageRole::Assistant, text.into()), extra);
            match item.get_mut("content") {
                Some(Value::Array(parts)) => put_text(parts, text),
                _ if text.is_empty() => return None,
                _ => return Some(item),
            }
            // The schema requires an id for such a message, and vLLM and OpenRouter check it.
            // OpenAI accepts every id that begins with `msg_`.
            // (https://github.com/UKGovernmentBEIS/inspect_ai/pull/1545)
            common::with(item, Some(&json!({"id": format!("msg_{place}"), "status": "completed"})))
        }
        TurnPart::Call(call, extra) => {
            let (name, arguments) = match extra.map(|extra| text_in(extra, "type")) {
                Some("custom_tool_call") => ("input", call.arguments.clone()),
                _ => ("arguments", request.arguments_text(call)),
            };
            let call = json!({
                "type": "function_call", "call_id": call.id, "name": call.name, name: arguments,
            });
            common::with(call, extra)
        }
        TurnPart::Opaque(item) => item.clone(),
    })
}

/// Puts a text back into the parts of a message, in which a length replaces each piece of it. The
/// last part gets the rest of the text, because the lengths come from a whole message that the
/// server may have trimmed.
fn put_text(parts: &mut [Value], mut text: &str) {
    let fields = parts.iter_mut().filter_map(Value::as_object_mut).flatten();
    let is_place = |name: &str, value: &Value| matches!(name, "text" | "refusal") && value.is_u64();
    let mut places = fields.filter(|(name, value)| is_place(name, value)).peekable();
    while let Some((_, place)) = places.next() {
        let bytes = place.as_u64().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = bytes.filter(|_| places.peek().is_some()).unwrap_or(text.len());
        let (said, rest) = text.split_at_checked(bytes).unwrap_or((text, ""));
        *place = said.into();
        text = rest;
    }
}

fn text(request: ChatRequest<'_>, format: &ResponseFormat) -> Value {
    json!({"format": match format {
        ResponseFormat::Json => json!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, schema } => {
            let (schema, strict) = schema::strict(request, "response_format", schema);
            json!({"type": "json_schema", "name": name, "schema": schema, "strict": strict})
        }
    }})
}

/// Builds a tool. `strict` is always sent, because its default is true in this protocol.
fn function(request: ChatRequest<'_>, tool: &Function) -> Value {
    let what = format!("tools[{}]", tool.name);
    let (schema, strict) = schema::strict(request, &what, &tool.parameters);
    let fields = json!({"type": "function", "parameters": schema, "strict": strict});
    common::with(common::function(tool, "parameters"), Some(&fields))
}

wire! {
    /// An event, with the fields of all types of events.
    struct ResponsesEvent {
        kind = "type", delta, output_index, item_id, item, content_index, summary_index,
        response: ResponseObject<'a>, error, object, status,
        /// The whole part, in `response.content_part.done`.
        part: TextPart<'a>,
        text, refusal, arguments, input, code, annotation, logprobs,
    }
    struct ResponseObject {
        id, model, status, incomplete_details: IncompleteDetails<'a>, error, output, service_tier,
        usage: ResponsesUsage<'a>,
    }
    struct IncompleteDetails { reason }
    struct ResponsesUsage {
        input_tokens, input_tokens_details: TokenDetails<'a>, output_tokens,
        output_tokens_details: TokenDetails<'a>, total_tokens,
    }
    struct TokenDetails { cached_tokens, cache_write_tokens, reasoning_tokens }

    /// An item of the output: a message, reasoning or a tool call.
    struct OutputItem {
        kind = "type", id, call_id, name, arguments, input, content, summary, encrypted_content,
        phase,
    }
    struct TextPart { kind = "type", text, refusal, annotations }
}

/// An item together with its JSON.
type WholeItem<'a> = (OutputItem<'a>, Raw<'a>);

/// Decodes one response, and keeps the state of its items.
#[derive(Debug, Default)]
struct ResponsesDecoder {
    /// The item of the latest event. The initial value matches no event.
    item: KnownItem,
    /// All other known items, the latest first.
    others: VecDeque<KnownItem>,
    /// There were more items than [`common::MAX_OPEN`], and the oldest are forgotten.
    has_forgotten: bool,
    /// The text of all messages so far, and the number of messages that have text.
    text: ToldText,
    messages: usize,
    /// The highest output index of a message that has text.
    latest_message: Option<u64>,
    /// The place of a reasoning item that no other item has followed yet.
    thought: Option<usize>,
}

/// The state of an item. Its ids are kept as JSON.
#[derive(Debug, Default)]
struct KnownItem {
    index: Option<u64>,
    id: String,
    call_id: String,
    /// The item's place among the parts of the replay data, if it is opaque.
    place: Option<usize>,
    /// The index of the tool call in the response, once the item was announced as a call.
    call: Option<usize>,
    /// The arguments in the announcement (`response.output_item.added`).
    announced: String,
    /// The text of a message so far, and the text of its latest part.
    text: ToldText,
    part_text: ToldText,
    /// The index of the latest part that has text or reasoning.
    part: Option<u64>,
    /// The position at which the text of that part begins.
    part_start: usize,
    /// An annotation has come.
    has_annotations: bool,
    /// The call of a tool that OpenAI runs.
    tool: OwnTool,
    /// The number of the message, from 1, once it has text.
    message: usize,
    /// Arguments came before the item was announced as a call, and are lost.
    is_lost: bool,
    /// The whole item has not come yet.
    is_open: bool,
}

impl Decoder for ResponsesDecoder {
    fn decode(&mut self, event: &Event<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()> {
        let data: ResponsesEvent<'_> = json::read(event.data)?;
        let kind = data.kind.str();
        let kind = kind.as_deref().unwrap_or(event.name);
        out.seen.understood |= kind.starts_with("response.");
        out.model(data.response.model);
        out.told_first(|facts| &mut facts.id, data.response.id);
        let has_failed = kind == "response.failed" || (kind.is_empty() && data.status.is("failed"));
        if data.response.error.is_error() {
            out.fail(data.response.error.json());
        } else if kind == "error" || data.error.is_error() || has_failed {
            // The error is flat (as documented), nested (as OpenAI sends it), or in a format of
            // llama.cpp's own.
            out.fail(event.data);
        }
        match kind {
            "response.output_item.added" => self.added(data.output_index, data.item, out),
            "response.output_item.done" => self.done(data.output_index, data.item, out),
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.end(kind.trim_start_matches("response."), &data.response, out);
            }
            // The response is not streamed.
            "" if data.object.is("response") => {
                let response: ResponseObject<'_> = json::read(event.data)?;
                out.model(response.model);
                out.told_first(|facts| &mut facts.id, response.id);
                let status = response.status.str().unwrap_or_default();
                self.end(&status, &response, out);
                // A response that is still in progress, or was cancelled, is not complete.
                out.ended = matches!(&*status, "" | "completed" | "incomplete" | "failed");
            }
            _ => self.piece(kind, &data, out),
        }
        Ok(())
    }
}

impl ResponsesDecoder {
    /// Decodes an event about a piece of an item.
    fn piece(&mut self, kind: &str, data: &ResponsesEvent<'_>, out: &mut ChunkBuilder) {
        match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                let part = self.turn_to(data);
                if data.delta.is_text() {
                    self.begin_text(part, out);
                }
                self.remember_text(out.text(data.delta));
                // Most deltas have an empty list.
                if data.logprobs.json().len() > "[]".len() {
                    logprobs::read(data.logprobs, out);
                }
            }
            "response.output_text.annotation.added" => {
                let part = self.turn_to(data);
                self.annotation(data.annotation, part, out);
            }
            "response.output_text.done" | "response.refusal.done" => {
                self.whole_part(data, data.text.or(data.refusal), out);
            }
            "response.content_part.done" => {
                let TextPart { kind, text, refusal, .. } = data.part;
                // Reasoning is never compared: some servers repeat it in other words.
                if kind.is("output_text") || kind.is("refusal") {
                    self.whole_part(data, text.or(refusal), out);
                }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.item.part = Some(self.turn_to(data));
                out.reasoning(data.delta);
            }
            "response.reasoning_summary_text.done" | "response.reasoning_text.done" => {
                let part = self.turn_to(data);
                if self.item.part < Some(part) {
                    self.item.part = Some(part);
                    out.reasoning(data.text);
                }
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.turn_to(data);
                match self.item.call {
                    Some(at) => out.call_arguments(at, data.delta),
                    None => self.item.is_lost = self.item.place.is_none(),
                }
            }
            "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
                self.turn_to(data);
                self.item.is_lost = self.item.call.is_none() && self.item.place.is_none();
                if let Some(at) = self.item.call {
                    let whole = data.input.or(data.arguments);
                    out.whole_call(at, Raw::default(), Raw::default(), whole);
                }
            }
            // A tool of OpenAI's own is running. Each event counts towards the memory limit, so
            // that an endless stream of them fails.
            _ if kind.starts_with("response.") && kind.contains("_call") => {
                out.count_kept(64);
                out.note_provider_tool();
                let input = data.code.or(data.arguments);
                if kind.ends_with(".done") && input.is_text() {
                    self.turn_to(data);
                    self.item.tool.start(input.str().unwrap_or_default().into_owned(), out);
                }
            }
            _ => {}
        }
    }

    fn added(&mut self, index: Raw<'_>, json: Raw<'_>, out: &mut ChunkBuilder) {
        let item: OutputItem<'_> = json.parse();
        self.turn_to_item(index, [item.id, item.call_id], true);
        if item.kind.is("message")
            && let Some(phase) = item.phase.str()
        {
            out.chunk.phase = Some(phase.into_owned());
        }
        if item.is_call() && self.item.call.is_none() {
            self.item.call = out.new_call(None, item.call_id, item.name, Raw::default());
            self.item.announced = item.arguments().str().unwrap_or_default().into_owned();
            out.count_kept(self.item.announced.len());
        } else if item.is_opaque() {
            // Reserves the place, because llama.cpp sends whole items only at the end.
            self.item.place = Some(out.opaque(Value::Null));
            if !item.kind.is("reasoning") {
                let item = out.keep(json);
                self.item.tool.announce(&item, out);
            }
        }
    }

    fn done(&mut self, index: Raw<'_>, json: Raw<'_>, out: &mut ChunkBuilder) {
        let item: WholeItem<'_> = json.parse();
        let was_latest = self.turn_to_item(index, [item.0.id, item.0.call_id], false);
        self.whole_item(&item, was_latest, out);
    }

    /// Decodes a whole item. Content that deltas have brought is compared with it, not added again.
    fn whole_item(&mut self, whole: &WholeItem<'_>, was_latest: bool, out: &mut ChunkBuilder) {
        let (item, json) = whole;
        let was_open = std::mem::take(&mut self.item.is_open);
        if item.is_call() {
            // LM Studio sends the arguments only here.
            let whole = item.arguments();
            match self.item.call {
                Some(at) => out.whole_call(at, item.call_id, item.name, whole),
                None => self.item.call = out.new_call(None, item.call_id, item.name, whole),
            }
            self.item.is_lost = false;
        } else if item.kind.is("message") {
            let part = self.item.part.unwrap_or_default();
            self.add_rest(self.item.text, &item.whole_text(), part, out);
            let has_annotations = self.item.has_annotations;
            for (at, part) in (0..).zip(item.content.elements::<TextPart<'_>>()) {
                out.told_first(|facts| &mut facts.refusal, part.refusal);
                for annotation in part.annotations.elements().filter(|_| !has_annotations) {
                    self.annotation(annotation, at, out);
                }
            }
        } else if item.kind.is("reasoning") && self.item.part.is_none() {
            let parts = if item.content.has_elements() { item.content } else { item.summary };
            for part in parts.elements::<TextPart<'_>>() {
                out.reasoning(part.text);
            }
            self.item.part = Some(0);
        }
        if item.is_opaque() {
            self.keep(whole, was_open, out);
        } else if was_latest && was_open {
            let extra = item.extra(*json, out);
            if !extra.is_empty() && item.kind.is("message") && self.item.message == 0 {
                out.new_text(); // the message has no text, and the latest part is another item's
            }
            out.extra(extra);
        }
    }

    /// Keeps an item for the next request, at the place where it was announced.
    fn keep(&mut self, (item, json): &WholeItem<'_>, was_open: bool, out: &mut ChunkBuilder) {
        let is_thought = item.kind.is("reasoning");
        let place = *self.item.place.get_or_insert_with(|| out.opaque(Value::Null));
        if was_open {
            let whole = out.keep(*json);
            if !is_thought {
                out.note_provider_tool();
                self.item.tool.end(&whole, out);
            }
            if item.is_whole() {
                out.replace(place, whole);
            }
        }
        self.thought = is_thought.then_some(place);
    }

    /// Compares a whole part of a message with its deltas. A part that another part has followed is
    /// compared at the end of the message instead. Parts of a reasoning item are skipped, because
    /// they are not text.
    fn whole_part(&mut self, data: &ResponsesEvent<'_>, whole: Raw<'_>, out: &mut ChunkBuilder) {
        let part = self.turn_to(data);
        let KnownItem { part: latest, message, part_text, .. } = self.item;
        let reasons = latest.is_some() && message == 0;
        if latest <= Some(part) && !reasons {
            let told = if latest == Some(part) { part_text } else { ToldText::default() };
            self.add_rest(told, &whole.str().unwrap_or_default(), part, out);
        }
    }

    /// Compares the text so far with the whole text, and adds what is missing at the end.
    fn add_rest(&mut self, told: ToldText, whole: &str, part: u64, out: &mut ChunkBuilder) {
        match told.rest(whole) {
            Some("") => {}
            Some(rest) => {
                self.begin_text(part, out);
                out.plain_text(rest);
                self.remember_text(rest);
            }
            None => out.seen.gap = true,
        }
    }

    /// Prepares for text of a part of the latest item. Text can be added only at the end of the
    /// response; text that belongs before other text is a gap.
    fn begin_text(&mut self, part: u64, out: &mut ChunkBuilder) {
        let item = &mut self.item;
        if item.part.is_none() {
            // A blank line separates the message from the one before.
            if out.seen.text {
                out.new_message();
            }
            self.messages += 1;
            item.message = self.messages;
            out.seen.gap |= item.index.is_some() && item.index < self.latest_message;
            self.latest_message = item.index.max(self.latest_message);
        }
        out.seen.gap |= item.message != self.messages || item.part > Some(part);
        if item.part != Some(part) {
            item.part_text = ToldText::default();
            item.part_start = out.position();
        }
        item.part = Some(part);
    }

    /// Adds a citation of the part with this index.
    fn annotation(&mut self, told: Raw<'_>, part: u64, out: &mut ChunkBuilder) {
        self.item.has_annotations = true;
        let told: Cited<'_> = told.parse();
        let place = told.place(self.item.part_start, Unit::Chars);
        // The place is known only for the latest part.
        let place = place.filter(|_| self.item.part == Some(part));
        out.cite(told.source(), String::new(), place);
    }

    /// Adds text to the state of the latest item, for later comparisons.
    fn remember_text(&mut self, piece: &str) {
        self.item.text.add(piece);
        self.item.part_text.add(piece);
        self.text.add(piece);
    }

    /// Decodes the final event. vLLM sends `response.completed` for a truncated response too, and
    /// only its `status` is `incomplete`.
    fn end(&mut self, kind: &str, response: &ResponseObject<'_>, out: &mut ChunkBuilder) {
        if self.others.is_empty() {
            // There were no events about items: the whole output comes at once.
            for item in response.output.elements() {
                self.whole_new_item(&item, out);
            }
        } else if !self.has_forgotten {
            self.compare(response.output, out);
        }
        // Earlier events contain only the requested service tier.
        out.service_tier(response.service_tier);
        out.usage(response.usage.usage());
        if kind == "incomplete" || response.status.is("incomplete") {
            let reason = response.incomplete_details.reason.str();
            let word = reason.as_deref().unwrap_or("incomplete");
            let finish = match word {
                // Doubao sends `length`.
                "max_output_tokens" | "length" => FinishReason::Length,
                "content_filter" => FinishReason::ContentFilter,
                _ => FinishReason::Other,
            };
            out.finish(finish, word);
            if let Some(place) = self.thought {
                // OpenAI rejects reasoning without the item that it has led to.
                out.replace(place, Value::Null);
            }
        } else if kind == "completed" {
            self.keep_the_rest(response.output, out);
            out.finish(FinishReason::Stop, kind);
        } else if kind == "failed" {
            out.finish(FinishReason::Other, kind);
        }
        out.ended = true;
    }

    /// Keeps opaque items that were announced, but are whole only in the final event.
    fn keep_the_rest(&mut self, output: Raw<'_>, out: &mut ChunkBuilder) {
        for (at, whole) in (0..).zip(output.elements::<WholeItem<'_>>()) {
            let age = self.find_again(at, &whole.0).filter(|_| whole.0.is_opaque());
            if let Some(age) = age.filter(|&age| self.known().nth(age).is_some_and(|it| it.is_open))
            {
                self.bring_back(age);
                self.whole_item(&whole, age == 0, out);
            }
        }
    }

    /// Compares the output in the final event with the items so far, because a relay may have lost
    /// events. Some endpoints, such as ChatGPT's for Codex, send no output there. vLLM gives its
    /// items other ids there, so they are matched by their order.
    fn compare(&mut self, output: Raw<'_>, out: &mut ChunkBuilder) {
        let mut calls = 0;
        let (knows_calls, knows_messages, latest) = self.known_in(output);
        for (at, whole) in (0..).zip(output.elements::<WholeItem<'_>>()) {
            let (item, _) = &whole;
            if !(item.is_call() || item.kind.is("message")) {
                continue;
            }
            let knows_others = if item.is_call() { knows_calls } else { knows_messages };
            let found = self.find_again(at, item);
            // A lost message cannot be added behind a later message.
            out.seen.gap |= item.kind.is("message")
                && latest.is_some_and(|latest| at < latest)
                && !(self.has_text(found) || item.whole_text().is_empty());
            if let Some(age) = found {
                self.bring_back(age);
                self.whole_item(&whole, age == 0, out);
            } else if knows_others || (item.is_call() && calls >= out.calls()) {
                self.whole_new_item(&whole, out);
            } else if item.is_call() {
                out.whole_call(calls, item.call_id, item.name, item.arguments());
            }
            calls += usize::from(item.is_call());
        }
        if !knows_messages {
            self.compare_texts(output, out);
        }
        for known in self.known() {
            if let Some(at) = known.call.filter(|&at| out.has_no_arguments(at)) {
                out.whole_arguments(at, &known.announced);
            }
            out.seen.gap |= known.is_lost;
        }
    }

    /// Returns whether the final output contains known calls, whether it contains known messages,
    /// and the index of its last message that has text already.
    fn known_in(&self, output: Raw<'_>) -> (bool, bool, Option<u64>) {
        let (mut knows_calls, mut knows_messages, mut latest) = (false, false, None);
        for (at, item) in (0..).zip(output.elements::<OutputItem<'_>>()) {
            let found = self.find_again(at, &item);
            knows_calls |= found.is_some() && item.is_call();
            knows_messages |= found.is_some() && item.kind.is("message");
            if item.kind.is("message") && self.has_text(found) {
                latest = Some(at);
            }
        }
        (knows_calls, knows_messages, latest)
    }

    /// Compares the joined text of all messages, because single messages cannot be matched, and
    /// adds what is missing at the end.
    fn compare_texts(&self, output: Raw<'_>, out: &mut ChunkBuilder) {
        let messages = output.elements::<OutputItem<'_>>().filter(|item| item.kind.is("message"));
        let messages: Vec<_> = messages.map(|message| message.whole_text()).collect();
        let text = messages.concat();
        let Some(rest) = self.text.rest(&text) else {
            out.seen.gap = true;
            return;
        };
        let mut told = text.len() - rest.len();
        for message in messages {
            if let Some(rest) = message.get(told..).filter(|rest| !rest.is_empty()) {
                if told == 0 && out.seen.text {
                    out.new_message();
                }
                out.plain_text(rest);
            }
            told = told.saturating_sub(message.len());
        }
    }

    /// Decodes an item that comes only in the final event.
    fn whole_new_item(&mut self, item: &WholeItem<'_>, out: &mut ChunkBuilder) {
        let new = KnownItem { is_open: true, ..KnownItem::default() };
        let latest = std::mem::replace(&mut self.item, new);
        self.whole_item(item, true, out);
        self.item = latest;
    }

    /// Returns all known items, the latest first. The age of an item is its position here.
    fn known(&self) -> impl Iterator<Item = &KnownItem> {
        std::iter::once(&self.item).chain(&self.others)
    }

    fn has_text(&self, age: Option<usize>) -> bool {
        age.and_then(|age| self.known().nth(age)).is_some_and(|known| known.message > 0)
    }

    /// Makes the item of an event the latest one, and returns the index of the event's part.
    fn turn_to(&mut self, data: &ResponsesEvent<'_>) -> u64 {
        self.turn_to_item(data.output_index, [data.item_id, Raw::default()], false);
        data.content_index.u64().or(data.summary_index.u64()).unwrap_or_default()
    }

    /// Makes an item the latest one, and adds it if it is unknown. Returns whether it is new or was
    /// the latest one before.
    fn turn_to_item(&mut self, index: Raw<'_>, ids: [Raw<'_>; 2], is_new: bool) -> bool {
        self.thought = None;
        let index = index.u64();
        let found = self.find(index, ids, is_new);
        if let Some(age) = found {
            self.bring_back(age);
        } else {
            let [id, call_id] = ids.map(|id| id.json().to_owned());
            let new = KnownItem { index, id, call_id, is_open: true, ..KnownItem::default() };
            self.others.push_front(std::mem::replace(&mut self.item, new));
            self.has_forgotten |= self.others.len() > common::MAX_OPEN;
            self.others.truncate(common::MAX_OPEN);
        }
        found.is_none_or(|age| age == 0)
    }

    /// Makes the item of this age the latest one.
    fn bring_back(&mut self, age: usize) {
        if let Some(known) = age.checked_sub(1).and_then(|at| self.others.remove(at)) {
            self.others.push_front(std::mem::replace(&mut self.item, known));
        }
    }

    /// Returns the age of an item. It is found by its id or, at llama.cpp, by its call id; else by
    /// its index. Some shims give all items the same index, so a new item with an id (`is_new`) is
    /// not matched by index to a known item with an id. An event without id and index is about the
    /// latest item.
    fn find(&self, index: Option<u64>, ids: [Raw<'_>; 2], is_new: bool) -> Option<usize> {
        let is_named = ids.iter().any(|id| id.is_some());
        let has_name = |known: &KnownItem| !(known.id.is_empty() && known.call_id.is_empty());
        self.find_by_id(index, ids).or_else(|| {
            self.known().position(|known| match index {
                Some(_) => known.index == index && !(is_new && is_named && has_name(known)),
                None if is_new || !known.is_open => false,
                None => !is_named || (known.index.is_none() && !has_name(known)),
            })
        })
    }

    /// Returns the age of the item with one of these ids, unless its call id or its index differs.
    fn find_by_id(&self, index: Option<u64>, ids: [Raw<'_>; 2]) -> Option<usize> {
        let [id, call_id] = ids.map(Raw::json);
        self.known().position(|known| {
            let has = |id: &str| !id.is_empty() && (known.id == id || known.call_id == id);
            (has(id) || has(call_id))
                && (known.call_id.is_empty() || call_id.is_empty() || known.call_id == call_id)
                && index.zip(known.index).is_none_or(|(told, known)| told == known)
        })
    }

    /// Returns the age of an item of the final output: by its ids, or by its index there if it has
    /// no ids.
    fn find_again(&self, at: u64, item: &OutputItem<'_>) -> Option<usize> {
        let ids = [item.id, item.call_id];
        self.find_by_id(None, ids).or_else(|| self.find(Some(at), ids, true))
    }
}

impl OutputItem<'_> {
    /// Returns whether the item is a call of the caller's tools. The provider runs all other calls.
    fn is_call(&self) -> bool {
        // xAI's search of X is told as a custom tool, too.
        let is_of_xai = self.call_id.str().is_some_and(|id| id.starts_with("xs_call"));
        self.kind.is("function_call") || self.kind.is("custom_tool_call") && !is_of_xai
    }

    /// Returns whether the item has to be sent back unchanged.
    fn is_opaque(&self) -> bool {
        self.kind.is_some() && !self.is_call() && !self.kind.is("message")
    }

    /// Returns whether the item is usable by itself. Reasoning may be only a reference into a store
    /// at the provider, and we store nothing there.
    fn is_whole(&self) -> bool {
        !self.kind.is("reasoning")
            || self.encrypted_content.str().is_some()
            || self.content.has_elements()
    }

    /// Returns the arguments of a call, which a custom tool call has in `input`.
    fn arguments(&self) -> Raw<'_> {
        if self.kind.is("custom_tool_call") { self.input } else { self.arguments }
    }

    /// Returns the text of all parts of a message.
    fn whole_text(&self) -> String {
        let parts = self.content.elements::<TextPart<'_>>();
        parts.filter_map(|part| part.text.or(part.refusal).str()).collect()
    }

    /// Returns the fields that have to be sent back with a text or a call.
    fn extra(&self, json: Raw<'_>, out: &mut ChunkBuilder) -> Map<String, Value> {
        let known =
            ["type", "id", "status", "role", "content", "call_id", "name", "arguments", "input"];
        let mut extra = out.others(json, &known.map(|name| (name, Raw::default())));
        if self.kind.is("custom_tool_call") {
            extra.insert("type".to_owned(), "custom_tool_call".into());
        } else if self.kind.is("message") && !self.is_plain() {
            extra.insert("content".to_owned(), self.content_without_text(out));
        }
        extra
    }

    /// Returns whether a message is only one text, without annotations.
    fn is_plain(&self) -> bool {
        let mut parts = self.content.elements::<(TextPart<'_>, Raw<'_>)>();
        let (part, json) = parts.next().unwrap_or_default();
        let is_text = part.kind.is("output_text") || !part.kind.is_some();
        let mut is_plain = is_text && parts.next().is_none();
        let known = ["type", "text", "logprobs"].map(|name| (name, Raw::default()));
        json.others(&known, |name, value| {
            is_plain &= name == "annotations" && !value.has_elements();
        });
        is_plain
    }

    /// Returns the parts of a message. Each text is replaced by its length, so that it is not kept
    /// twice. `logprobs` are dropped, because they are useless to the model.
    fn content_without_text(&self, out: &mut ChunkBuilder) -> Value {
        let mut parts = Vec::new();
        for (part, json) in self.content.elements::<(TextPart<'_>, Raw<'_>)>() {
            let known = ["text", "refusal", "logprobs"].map(|name| (name, Raw::default()));
            let mut kept = out.others(json, &known);
            let name = if part.text.is_some() { "text" } else { "refusal" };
            let text = part.text.or(part.refusal);
            if text.literal().is_some() {
                kept.insert(name.to_owned(), text.str().map_or(0, |text| text.len()).into());
            }
            out.count_kept(640);
            if !out.is_full() {
                parts.push(kept.into());
            }
        }
        Value::Array(parts)
    }
}

impl ResponsesUsage<'_> {
    fn usage(&self) -> Option<Usage> {
        let (prompt, completion) = (self.input_tokens.u64(), self.output_tokens.u64());
        prompt.or(completion)?;
        Some(Usage {
            prompt_tokens: prompt.unwrap_or_default(),
            completion_tokens: completion.unwrap_or_default(),
            total_tokens: self.total_tokens.u64().unwrap_or_default(),
            cached_tokens: self.input_tokens_details.cached_tokens.u64(),
            cache_write_tokens: self.input_tokens_details.cache_write_tokens.u64(),
            reasoning_tokens: self.output_tokens_details.reasoning_tokens.u64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::common::with;
    use super::*;
    use crate::config::{GenerationConfig, Reasoning};
    use crate::error::ErrorKind;
    use crate::protocol::api_error;
    use crate::provider::LlmProvider;
    use crate::response::GenerationResponse;
    use crate::{Message, Tool, ToolCall, ToolChoice};

    fn sent(messages: &[Message], config: &GenerationConfig) -> Result<Value, Error> {
        let (provider, model) = (LlmProvider::OpenAi, "m");
        let (protocol, adaptations) = (Protocol::Responses, &RefCell::default());
        body(ChatRequest { provider, protocol, model, messages, config, owner: None, adaptations })
            .map(Value::Object)
    }

    fn items(messages: &[Message]) -> Value {
        sent(messages, &GenerationConfig::new("m")).unwrap()["input"].take()
    }

    /// Decodes events and folds them, as the stream does.
    fn read(events: &[Value]) -> (GenerationResponse, ChunkBuilder) {
        let mut out = ChunkBuilder::new(9, 99_999);
        let mut response = GenerationResponse::default();
        let mut decoder = (CODEC.decoder)();
        for event in events {
            let data = event.to_string();
            decoder.decode(&Event { name: "", data: &data }, &mut out).unwrap();
            out.name_model();
            response.fold(&out.take());
        }
        response.replay = out.replay(LlmProvider::OpenAi, Protocol::Responses, false, &response);
        (response, out)
    }

    fn text(index: u64, delta: &str) -> Value {
        json!({"type": "response.output_text.delta", "output_index": index, "delta": delta})
    }

    fn added(index: u64, item: Value) -> Value {
        json!({"type": "response.output_item.added", "output_index": index, "item": item})
    }

    fn done(index: u64, item: Value) -> Value {
        json!({"type": "response.output_item.done", "output_index": index, "item": item})
    }

    fn ended(status: &str) -> Value {
        json!({"type": format!("response.{status}"), "response": {"status": status, "output": []}})
    }

    #[test]
    fn each_option_in_its_own_words() {
        let config = || GenerationConfig::new("m");
        let loose = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let mut schema = loose.clone();
        schema["required"] = json!(["a"]);
        schema["additionalProperties"] = false.into();
        let encrypted = json!(["reasoning.encrypted_content"]);
        for (config, more) in [
            (config(), json!({})),
            (config().temperature(0.5), json!({"temperature": 0.5})),
            (config().top_p(0.5), json!({"top_p": 0.5})),
            (config().max_tokens(7), json!({"max_output_tokens": 7})),
            (
                config().logprobs(2),
                json!({"top_logprobs": 2, "include": ["message.output_text.logprobs"]}),
            ),
            (
                config().response_format(ResponseFormat::Json),
                json!({"text": {"format": {"type": "json_object"}}}),
            ),
            (
                config().response_format(ResponseFormat::json_schema("answer", schema.clone())),
                json!({"text": {"format": {
                    "type": "json_schema", "name": "answer", "schema": schema, "strict": true,
                }}}),
            ),
            (config().reasoning(Reasoning::Off), json!({"reasoning": {"effort": "none"}})),
            (config().reasoning(Reasoning::Budget(0)), json!({"reasoning": {"effort": "none"}})),
            (
                config().reasoning(Reasoning::Minimal),
                json!({"reasoning": {"effort": "minimal", "summary": "auto"}, "include": encrypted}),
            ),
            (
                config().reasoning(Reasoning::High).logprobs(0),
                json!({
                    "reasoning": {"effort": "high", "summary": "auto"}, "top_logprobs": 0,
                    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
                }),
            ),
            (
                config().tools([
                    Tool::function("look", "Looks.", schema.clone()),
                    Tool::function("b", "", loose.clone()),
                ]),
                json!({"tools": [
                    {
                        "type": "function", "name": "look", "description": "Looks.",
                        "parameters": schema, "strict": true,
                    },
                    {"type": "function", "name": "b", "parameters": loose, "strict": false},
                ]}),
            ),
            (config().tool_choice(ToolChoice::Auto), json!({"tool_choice": "auto"})),
            (config().tool_choice(ToolChoice::None), json!({"tool_choice": "none"})),
            (config().tool_choice(ToolChoice::Required), json!({"tool_choice": "required"})),
            (
                config().tool_choice(ToolChoice::Tool("look".into())),
                json!({"tool_choice": {"type": "function", "name": "look"}}),
            ),
            (config().parallel_tool_calls(false), json!({"parallel_tool_calls": false})),
        ] {
            let hello = json!({"type": "message", "role": "user", "content": "Hello"});
            let plain = json!({"model": "m", "input": [hello], "stream": true, "store": false});
            let expected = with(plain, Some(&more));
            assert_eq!(sent(&[Message::user("Hello")], &config).unwrap(), expected);
        }
    }

    #[test]
    fn what_the_protocol_has_no_word_for_is_refused_by_name() {
        let config = || GenerationConfig::new("m");
        for (config, name) in [
            (config().top_k(1), "`top_k`"),
            (config().stop(["."]), "`stop`"),
            (config().frequency_penalty(1.0), "`frequency_penalty`"),
            (config().presence_penalty(1.0), "`presence_penalty`"),
            (config().seed(1), "`seed`"),
            (config().reasoning(Reasoning::Budget(9)), "`reasoning`"),
        ] {
            let error = sent(&[Message::user("Hello")], &config).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let mut nameless = Message::tool("c1", "42");
        nameless.tool_call_id = None;
        let picture = Message::assistant("See").attach(Attachment::url("https://a/b.png"));
        for (message, what) in [(nameless, "the id of the call"), (picture, "attachments")] {
            let error = sent(&[message], &config()).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn a_conversation_keeps_its_order() {
        let mut asks = Message::assistant("Let me look.");
        asks.tool_calls =
            vec![ToolCall::new("c1", "look", r#"{"at":1}"#), ToolCall::new("c2", "b", "")];
        let messages = [
            Message::system("Be brief."),
            Message::user("What is it?").attach(Attachment::bytes("image/png", b"foo")),
            Message::user("").attach(Attachment::url("https://a/b.png")),
            asks,
            Message::tool("c1", "42"),
            Message::tool("c2", ""),
            Message::assistant("It is 42."),
            Message::system("Now in French."),
            Message::user("Again"),
        ];
        let expected = json!([
            {"type": "message", "role": "system", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": "data:image/png;base64,Zm9v", "detail": "auto"},
            ]},
            {"type": "message", "role": "user", "content": [
                {"type": "input_image", "image_url": "https://a/b.png", "detail": "auto"},
            ]},
            {"type": "message", "role": "assistant", "content": "Let me look."},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"at\":1}"},
            {"type": "function_call", "call_id": "c2", "name": "b", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
            {"type": "function_call_output", "call_id": "c2", "output": ""},
            {"type": "message", "role": "assistant", "content": "It is 42."},
            {"type": "message", "role": "system", "content": "Now in French."},
            {"type": "message", "role": "user", "content": "Again"},
        ]);
        assert_eq!(items(&messages), expected);
    }

    #[test]
    fn a_turn_is_sent_back_with_all_that_the_model_must_see_again() {
        let thought = json!({
            "type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        });
        let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed"});
        let call = |kind: &str, id: &str, call_id: &str, name: &str| json!({"type": kind, "id": id, "call_id": call_id, "name": name, "status": "in_progress"});
        let look = call("function_call", "fc_1", "call_1", "look");
        let look = with(look, Some(&json!({"namespace": "eyes", "arguments": ""})));
        let patch = call("custom_tool_call", "ctc_1", "call_2", "patch");
        let (response, _) = read(&[
            added(0, json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "gA"})),
            json!({
                "type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0,
                "delta": "Hm.",
            }),
            done(0, thought.clone()),
            added(1, search.clone()),
            json!({"type": "response.web_search_call.searching", "output_index": 1, "item_id": "ws_1"}),
            done(1, search.clone()),
            added(2, json!({"type": "message", "id": "msg_1", "content": []})),
            text(2, "Let me"),
            text(2, " look."),
            done(
                2,
                json!({
                    "type": "message", "id": "msg_1", "phase": "commentary",
                    "content": [{"type": "output_text", "text": "Let me look."}],
                }),
            ),
            added(3, look.clone()),
            json!({"type": "response.function_call_arguments.delta", "output_index": 3, "delta": "{}"}),
            json!({"type": "response.function_call_arguments.done", "output_index": 3, "arguments": "{}"}),
            done(3, with(look, Some(&json!({"arguments": "{}"})))),
            added(4, patch.clone()),
            json!({"type": "response.custom_tool_call_input.delta", "output_index": 4, "delta": "+ a"}),
            done(4, with(patch, Some(&json!({"input": "+ a"})))),
            ended("completed"),
        ]);
        assert_eq!((&*response.content, &*response.reasoning), ("Let me look.", "Hm."));
        assert_eq!(
            response.tool_calls,
            [ToolCall::new("call_1", "look", "{}"), ToolCall::new("call_2", "patch", "+ a")]
        );
        assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!(response.raw_finish_reason.as_deref(), Some("completed"));
        // There is a chunk for each delta, each added call and the end: nothing is repeated.
        assert_eq!(response.chunk_count, 8);

        let saved = serde_json::to_string(&Message::from(response)).unwrap();
        let turn = serde_json::from_str(&saved).unwrap();
        let expected = json!([
            {"type": "message", "role": "user", "content": "Go"},
            thought,
            search,
            {
                "type": "message", "role": "assistant", "content": "Let me look.",
                "phase": "commentary",
            },
            {
                "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}",
                "namespace": "eyes",
            },
            {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "+ a"},
            {"type": "function_call_output", "call_id": "call_1", "output": "seen"},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
        ]);
        let results = [Message::tool("call_1", "seen"), Message::tool("call_2", "done")];
        let [seen, patched] = results;
        assert_eq!(items(&[Message::user("Go"), turn, seen, patched]), expected);
    }

    #[test]
    fn a_message_goes_back_in_parts_where_it_is_more_than_one_text() {
        let cited = json!({"type": "output_text", "text": "Sée. ", "annotations": [
            {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://a", "title": "A"},
        ]});
        let refused = json!({"type": "refusal", "refusal": "No."});
        let plain =
            json!({"type": "output_text", "text": "Yes", "annotations": [], "logprobs": []});
        let silent = json!({"type": "output_text", "text": "", "annotations": []});
        let picture = json!({"type": "output_image", "url": "https://a/b.png", "text": {"alt": 1}});
        let unseen = json!({"type": "output_image", "url": "https://a/b.png"});
        let numbered = with(plain.clone(), Some(&json!({"annotations": [1], "index": 7})));
        for (parts, told, sent) in [
            (vec![cited.clone()], "Sée. ", vec![cited.clone()]),
            (vec![refused.clone()], "No.", vec![refused.clone()]),
            (
                vec![cited.clone(), refused.clone(), silent.clone(), numbered.clone()],
                "Sée. No.Yes",
                vec![
                    cited.clone(),
                    refused.clone(),
                    silent,
                    json!({"type": "output_text", "text": "Yes", "annotations": [1], "index": 7}),
                ],
            ),
            (vec![picture, refused.clone()], "No.", vec![unseen.clone(), refused.clone()]),
            // The message has no text.
            (vec![unseen.clone()], "", vec![unseen]),
            // The deltas have white space that the whole message lacks.
            (
                vec![cited.clone()],
                "\nSée. \n",
                vec![with(cited, Some(&json!({"text": "\nSée. \n"})))],
            ),
        ] {
            let item = json!({"type": "message", "id": "m", "role": "assistant", "content": parts, "new": [1]});
            let whole = json!({"type": "response.completed", "response": {"output": [item]}});
            let streamed = [
                added(0, json!({"type": "message", "id": "m", "content": []})),
                text(0, told),
                done(0, item),
            ];
            let mut streamed: Vec<_> = streamed.into_iter().collect();
            streamed.retain(|event| event["delta"] != "");
            streamed.push(ended("completed"));
            let mut ways = vec![streamed];
            if told.trim_start() == told {
                ways.push(vec![whole]);
            }
            for events in ways {
                let (response, out) = read(&events);
                assert_eq!((&*response.content, out.seen.gap), (told, false));
                let saved = serde_json::to_string(&Message::from(response)).unwrap();
                assert_eq!(
                    saved.matches("No.").count(),
                    told.matches("No.").count(),
                    "kept twice: {saved}"
                );
                let mut turn: Message = serde_json::from_str(&saved).unwrap();
                let expected = json!([
                    {"type": "message", "role": "user", "content": "Go"},
                    {
                        "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                        "content": sent, "new": [1],
                    },
                ]);
                assert_eq!(items(&[Message::user("Go"), turn.clone()]), expected);
                // After the text was changed, the replay data is not used.
                turn.content = "Something else.".into();
                let other =
                    json!([{"type": "message", "role": "assistant", "content": "Something else."}]);
                assert_eq!(items(&[turn]), other);
            }
        }
        let item = json!({"type": "message", "id": "m", "role": "assistant", "content": [plain]});
        let (response, _) = read(&[text(0, "Yes"), done(0, item), ended("completed")]);
        assert_eq!(response.replay, None, "a plain answer is remembered by its text alone");
    }

    #[test]
    fn what_is_new_in_a_call_goes_back_with_it_and_only_with_it() {
        let call = json!({
            "type": "function_call", "id": "fc", "call_id": "c", "name": "look", "arguments": "{}",
            "status": "completed", "caller": {"type": "program"}, "null": null,
        });
        let empty = json!({"type": "message", "id": "m", "phase": "commentary", "content": []});
        let (response, _) = read(&[done(0, call), done(1, empty), ended("completed")]);
        let expected = json!([{
            "type": "function_call", "call_id": "c", "name": "look", "arguments": "{}",
            "caller": {"type": "program"},
        }]);
        assert_eq!(items(&[response.into()]), expected);
    }

    #[test]
    fn reasoning_that_nobody_could_read_again_is_left_out() {
        let thought = |encrypted: &str| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encrypted});
        let incomplete = |reason: &str| {
            json!({"type": "response.incomplete", "response": {
                "status": "incomplete", "incomplete_details": {"reason": reason},
            }})
        };
        let answer = json!({"type": "message", "content": []});
        let said = json!({"type": "message", "role": "assistant", "content": "Yes"});
        for (events, expected) in [
            // The reasoning is only a reference into a store.
            (vec![done(0, thought("")), text(1, "Yes"), ended("completed")], json!([said])),
            // The response is truncated after the reasoning led to a text, and before.
            (
                vec![done(0, thought("gA")), text(1, "Yes"), incomplete("max_output_tokens")],
                json!([thought("gA"), said]),
            ),
            (vec![done(0, thought("gA")), incomplete("max_output_tokens")], json!([])),
            (vec![added(0, thought("g")), incomplete("max_output_tokens")], json!([])),
            (
                vec![
                    text(0, "Yes"),
                    done(0, answer.clone()),
                    done(1, thought("gA")),
                    incomplete("max_output_tokens"),
                ],
                json!([said]),
            ),
            // OpenRouter sends Gemini's reasoning after the text, and requires it back.
            (
                vec![text(0, "Yes"), done(0, answer), done(1, thought("gA")), ended("completed")],
                json!([said, thought("gA")]),
            ),
        ] {
            let (response, _) = read(&events);
            assert_eq!(items(&[response.into()]), expected, "{events:?}");
        }
    }

    #[test]
    fn what_is_told_only_as_a_whole_comes_out_once() {
        let message = json!({"type": "message", "id": "msg_1", "content": [
            {"type": "output_text", "text": "Yes. "}, {"type": "refusal", "refusal": "No."},
        ]});
        let thought = json!({
            "type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}],
        });
        let raw_thought = json!({
            "type": "reasoning", "id": "rs_1", "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
        });
        let call = json!({
            "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look",
            "arguments": "{\"at\":1}",
        });
        let output = json!([thought, message, call]);
        let snapshot = json!({"type": "response.completed", "response": {"output": output}});
        let open =
            json!({"type": "function_call", "call_id": "c1", "name": "look", "arguments": ""});
        for events in [
            // LM Studio sends no deltas of arguments.
            vec![
                added(0, thought.clone()),
                done(0, thought.clone()),
                added(1, json!({"type": "message"})),
                done(1, message.clone()),
                added(2, open.clone()),
                done(2, call.clone()),
                snapshot.clone(),
            ],
            vec![
                done(0, raw_thought),
                done(1, message.clone()),
                done(2, call.clone()),
                snapshot.clone(),
            ],
            vec![snapshot.clone()],
            // No event has an index or an item id.
            vec![
                json!({"type": "response.reasoning_text.delta", "delta": "Hm."}),
                json!({"type": "response.output_item.done", "item": {"type": "reasoning", "content": [
                    {"type": "reasoning_text", "text": "Hm."},
                ]}}),
                json!({"type": "response.output_text.delta", "delta": "Yes. No."}),
                json!({"type": "response.output_item.done", "item": {"type": "message", "content": [
                    {"type": "output_text", "text": "Yes. No."},
                ]}}),
                json!({"type": "response.output_item.added", "item": open}),
                json!({"type": "response.function_call_arguments.delta", "delta": "{\"at\":1}"}),
                json!({"type": "response.output_item.done", "item": open}),
                snapshot.clone(),
            ],
            // llama.cpp sends no indices, and no whole item before the end.
            vec![
                json!({"type": "response.output_item.added", "item": {"type": "reasoning", "id": "rs_1"}}),
                json!({"type": "response.reasoning_text.delta", "item_id": "rs_1", "delta": "Hm."}),
                json!({"type": "response.output_item.added", "item": {"type": "message", "id": "msg_1"}}),
                json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Yes. "}),
                json!({"type": "response.refusal.delta", "item_id": "msg_1", "delta": "No."}),
                json!({"type": "response.output_item.added", "item": open}),
                json!({
                    "type": "response.function_call_arguments.delta", "item_id": "c1",
                    "delta": "{\"at\":1}",
                }),
                json!({"type": "response.output_item.done", "item": thought}),
                json!({"type": "response.output_item.done", "item": message}),
                json!({"type": "response.output_item.done", "item": call}),
                snapshot,
            ],
        ] {
            let (response, out) = read(&events);
            assert_eq!((&*response.content, &*response.reasoning), ("Yes. No.", "Hm."));
            assert_eq!(response.tool_calls, [ToolCall::new("c1", "look", r#"{"at":1}"#)]);
            assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
            assert!(out.ended && out.failure.is_none());
        }
    }

    /// A relay may lose deltas, and send the whole text after them.
    #[test]
    fn what_the_end_tells_again_fills_what_is_missing_or_shows_that_it_is() {
        let message = |text: &str| json!({"type": "message", "id": "m", "content": [{"type": "output_text", "text": text}]});
        let part = |text: &str| json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": text});
        let completed = |output: Value| json!({"type": "response.completed", "response": {"status": "completed", "output": output}});
        for (told, whole, content, gap) in [
            (&["Hel", "lo"][..], "Hello", "Hello", false),
            (&["Hel"], "Hello", "Hello", false),
            (&[], "Hello", "Hello", false),
            (&["Hel"], "", "Hel", false),
            // Servers trim the whole text.
            (&["Hello", "\n"], "Hello", "Hello\n", false),
            (&["Hello"], "\nHello", "Hello", false),
            (&["He", "o"], "Hello", "Heo", true),
            // A delta came twice, or two deltas came in the wrong order.
            (&["Hel", "Hel", "lo"], "Hello", "HelHello", true),
            (&["lo", "Hel"], "Hello", "loHel", true),
            (&["llo"], "Hello", "llo", true),
            (&["é"], "日本", "é", true),
        ] {
            let deltas: Vec<_> = told.iter().map(|piece| text(0, piece)).collect();
            for last in [
                vec![part(whole), ended("completed")],
                vec![done(0, message(whole)), ended("completed")],
                vec![part(whole), done(0, message(whole)), completed(json!([message(whole)]))],
                vec![completed(json!([message(whole)]))],
            ] {
                let events: Vec<_> = deltas.iter().cloned().chain(last).collect();
                let (response, out) = read(&events);
                assert_eq!((&*response.content, out.seen.gap), (content, gap), "{events:?}");
            }
        }

        let call = |arguments: &str| json!({"type": "function_call", "call_id": "c", "name": "look", "arguments": arguments});
        let piece = |delta: &str| json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": delta});
        let end = |arguments: &str| json!({"type": "response.function_call_arguments.done", "output_index": 0, "arguments": arguments});
        for (told, content, gap) in [
            (&["{\"a\"", ":1}"][..], "{\"a\":1}", false),
            (&["{\"a\""], "{\"a\":1}", false),
            (&[], "{\"a\":1}", false),
            (&["{", ":1}"], "{:1}", true),
            (&["{\"a\": 1}"], "{\"a\": 1}", false),
            (&["{\"a\"", "{\"a\"", ":1}"], "{\"a\"{\"a\":1}", true),
            (&["{\"b\":1}"], "{\"b\":1}", true),
        ] {
            let whole = "{\"a\":1}";
            for last in [
                vec![end(whole), ended("completed")],
                vec![done(0, call(whole)), ended("completed")],
                vec![end(whole), done(0, call(whole)), completed(json!([call(whole)]))],
                vec![completed(json!([call(whole)]))],
            ] {
                let deltas = told.iter().map(|delta| piece(delta));
                let first = added(0, call(""));
                let events: Vec<_> = [first].into_iter().chain(deltas).chain(last).collect();
                let (response, out) = read(&events);
                assert_eq!(
                    response.tool_calls,
                    [ToolCall::new("c", "look", content)],
                    "{events:?}"
                );
                assert_eq!(out.seen.gap, gap, "{events:?}");
            }
        }
        // The announcement of the second call was lost. Its arguments do not belong to the first.
        let events = [
            added(0, call("")),
            piece("{}"),
            with(piece("{\"b\""), Some(&json!({"output_index": 1}))),
        ];
        let second = with(call("{\"b\":2}"), Some(&json!({"call_id": "d"})));
        let told_again =
            [events.to_vec(), vec![done(1, second.clone()), ended("completed")]].concat();
        let (response, out) = read(&told_again);
        let calls = [ToolCall::new("c", "look", "{}"), ToolCall::new("d", "look", "{\"b\":2}")];
        assert_eq!((&*response.tool_calls, out.seen.gap), (&calls[..], false));
        let at_the_end = [events.to_vec(), vec![completed(json!([call("{}"), second]))]].concat();
        assert_eq!(read(&at_the_end).0.tool_calls, calls);
        let never = [events.to_vec(), vec![ended("completed")]].concat();
        assert!(read(&never).1.seen.gap);
        let one = [events.to_vec(), vec![completed(json!([call("{}")]))]].concat();
        assert!(read(&one).1.seen.gap, "the second was told of, and never came");
    }

    #[test]
    fn an_item_that_was_lost_is_not_another_one() {
        let call = |id: &str, name: &str, arguments: &str| json!({"type": "function_call", "id": format!("f{id}"), "call_id": id, "name": name, "arguments": arguments});
        let (f, g) = (call("a", "f", "{\"x\":1}"), call("b", "g", "{\"y\":22}"));
        let told = [
            added(1, call("b", "g", "")),
            json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fb", "delta": "{\"y\":22}"}),
        ];
        let end = |output: Value| json!({"type": "response.completed", "response": {"status": "completed", "output": output}});
        let names = |events: &[Value]| {
            let (response, out) = read(events);
            let calls =
                response.tool_calls.iter().map(|call| format!("{}{}", call.name, call.arguments));
            (calls.collect::<Vec<_>>(), out.seen.gap)
        };
        let both = [told.to_vec(), vec![end(json!([f, g]))]].concat();
        assert_eq!(names(&both), (vec!["g{\"y\":22}".into(), "f{\"x\":1}".into()], false));
        // vLLM gives the calls other ids at the end: they are matched by order, or there is a gap.
        let again = call("z", "g", "{\"y\": 22}");
        let renamed = [told.to_vec(), vec![end(json!([again]))]].concat();
        assert_eq!(names(&renamed), (vec!["g{\"y\":22}".into()], false));
        let unlike = [told.to_vec(), vec![end(json!([call("z", "f", "{\"x\":1}")]))]].concat();
        assert!(names(&unlike).1);
        // Only the announcement has the arguments.
        let announced = [added(0, f.clone()), ended("completed")];
        assert_eq!(names(&announced).0, ["f{\"x\":1}"]);
        // Two calls with the same id remain two calls.
        let twice = [done(0, f.clone()), done(1, call("a", "f", "{\"x\":2}"))];
        let twice = twice.map(|event| {
            let mut event = event;
            event["item"].as_object_mut().unwrap().remove("id");
            event
        });
        assert_eq!(names(&twice).0.len(), 2);
    }

    #[test]
    fn what_is_told_late_or_twice_is_told_once() {
        let message = json!({"type": "message", "id": "m", "content": [{"text": "Hi"}]});
        let late =
            |kind: &str| json!({"type": kind, "item_id": "m", "output_index": 0, "text": "Hi"});
        let delta = json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": "Hi"});
        for events in [
            vec![delta.clone(), done(0, message.clone()), late("response.output_text.done")],
            vec![delta.clone(), done(0, message.clone()), done(0, message.clone())],
            // The delta has no id, but the whole item has one.
            vec![
                json!({"type": "response.output_text.delta", "delta": "Hi"}),
                json!({"type": "response.output_item.done", "item": message}),
            ],
        ] {
            let (response, out) = read(&[&events[..], &[ended("completed")]].concat());
            assert_eq!((&*response.content, out.seen.gap), ("Hi", false), "{events:?}");
        }
        // The second part comes without deltas.
        let second = json!({"type": "response.output_text.done", "item_id": "m", "output_index": 0, "content_index": 1, "text": " there"});
        assert_eq!(read(&[delta, second, ended("completed")]).0.content, "Hi there");
        let thought = |index: u64| json!({"type": "response.reasoning_summary_text.done", "item_id": "r", "summary_index": index, "text": "Hm"});
        assert_eq!(read(&[thought(0), thought(1), ended("completed")]).0.reasoning, "HmHm");
        // Some shims give every item the index 0.
        let shim = |id: &str, name: &str| {
            added(
                0,
                json!({"type": "function_call", "id": id, "call_id": id, "name": name, "arguments": ""}),
            )
        };
        let piece = |id: &str| json!({"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": id, "delta": "{}"});
        let (response, _) =
            read(&[shim("a", "f"), shim("b", "g"), piece("a"), piece("b"), ended("completed")]);
        let calls: Vec<_> = response.tool_calls.iter().map(|c| (&*c.name, &*c.arguments)).collect();
        assert_eq!(calls, [("f", "{}"), ("g", "{}")]);
    }

    #[test]
    fn two_messages_are_set_apart_for_a_reader_and_go_back_as_they_were() {
        let message = |id: &str, text: &str, phase: &str| json!({"type": "message", "id": id, "phase": phase, "content": [{"text": text}]});
        let (first, second) =
            (message("a", "Wait.", "commentary"), message("b", "Done.", "final_answer"));
        let streamed = [
            added(0, json!({"type": "message", "id": "a"})),
            text(0, "Wa"),
            text(0, "it."),
            done(0, first.clone()),
            added(1, json!({"type": "message", "id": "b"})),
            text(1, "Done."),
            done(1, second.clone()),
            ended("completed"),
        ];
        let whole = [
            json!({"type": "response.completed", "response": {"status": "completed", "output": [first, second]}}),
        ];
        for events in [&streamed[..], &whole] {
            let (response, out) = read(events);
            assert_eq!((&*response.content, out.seen.gap), ("Wait.\n\nDone.", false));
            let said = |text: &str, phase: &str| json!({"type": "message", "role": "assistant", "content": text, "phase": phase});
            let expected = json!([said("Wait.", "commentary"), said("Done.", "final_answer")]);
            assert_eq!(items(&[response.into()]), expected);
        }
        // The second message comes only at the end.
        let end = whole[0].clone();
        let (response, _) = read(&[text(0, "Wait."), end]);
        assert_eq!(response.content, "Wait.\n\nDone.");
        // Parts of one message are not separated.
        let second_part = with(text(0, "b"), Some(&json!({"content_index": 1})));
        assert_eq!(read(&[text(0, "a"), second_part, ended("completed")]).0.content, "ab");
    }

    /// Text can be added only at the end of the response.
    #[test]
    fn what_belongs_before_text_that_has_come_is_a_gap() {
        let message = |id: &str, text: &str| json!({"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]});
        let completed = |output: &[Value]| json!({"type": "response.completed", "response": {"status": "completed", "output": output}});
        let piece = |index: u64, id: &str, delta: &str| {
            with(text(index, delta), Some(&json!({"item_id": id})))
        };
        let both = completed(&[message("a", "wait a bit"), message("b", "one two")]);
        let renamed = completed(&[message("x", "wait"), message("y", "one")]);
        for (events, content, gap) in [
            // The end of the first message was lost.
            (vec![piece(0, "a", "wait"), piece(1, "b", "one two"), both.clone()], None, true),
            (
                vec![
                    piece(0, "a", "wait"),
                    piece(1, "b", "one two"),
                    done(0, message("a", "wait a bit")),
                    ended("completed"),
                ],
                None,
                true,
            ),
            // The whole first message was lost.
            (vec![piece(1, "b", "one two"), both.clone()], None, true),
            (
                vec![
                    json!({"type": "response.output_item.added", "item": {"type": "message", "id": "a"}}),
                    json!({"type": "response.output_text.delta", "item_id": "b", "delta": "one two"}),
                    both.clone(),
                ],
                None,
                true,
            ),
            (
                vec![
                    piece(1, "b", "one two"),
                    done(0, message("a", "wait a bit")),
                    ended("completed"),
                ],
                None,
                true,
            ),
            // Two pieces came in the wrong order.
            (
                vec![
                    piece(0, "a", "wait"),
                    piece(1, "b", "one"),
                    piece(0, "a", " a bit"),
                    piece(1, "b", " two"),
                    both.clone(),
                ],
                None,
                true,
            ),
            // The second message was lost, or its end.
            (vec![piece(0, "a", "wait a bit"), both.clone()], Some("wait a bit\n\none two"), false),
            (
                vec![piece(0, "a", "wait a bit"), piece(1, "b", "one"), both],
                Some("wait a bit\n\none two"),
                false,
            ),
            // The final event has other ids.
            (vec![piece(0, "a", "wait"), renamed.clone()], Some("wait\n\none"), false),
            (vec![piece(0, "a", "wa"), renamed.clone()], Some("wait\n\none"), false),
            (vec![piece(1, "b", "one"), renamed], None, true),
        ] {
            let (response, out) = read(&events);
            assert_eq!(out.seen.gap, gap, "{events:?}");
            assert!(content.is_none_or(|content| response.content == content), "{response:?}");
        }
    }

    #[test]
    fn each_part_of_a_message_is_compared_with_what_its_end_tells() {
        let delta = |part: u64, text: &str| {
            with(self::text(0, text), Some(&json!({"content_index": part})))
        };
        let done = |part: u64, text: &str| json!({"type": "response.output_text.done", "output_index": 0, "content_index": part, "text": text});
        let part_done = |part: u64, text: &str| json!({"type": "response.content_part.done", "output_index": 0, "content_index": part, "part": {"type": "output_text", "text": text}});
        let refused = json!({"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": {"type": "refusal", "refusal": "No."}});
        let reasoned =
            json!({"type": "response.reasoning_text.delta", "output_index": 0, "delta": "Hm."});
        let thought = json!({"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": {"type": "reasoning_text", "text": "Hm."}});
        for (events, content, gap) in [
            (vec![delta(0, "A."), done(0, "A."), delta(1, "B"), done(1, "BC")], "A.BC", false),
            (vec![delta(0, "A."), delta(1, "B"), delta(1, "D"), done(1, "BCD")], "A.BD", true),
            (vec![delta(0, "A."), done(1, "B"), part_done(1, "B")], "A.B", false),
            (vec![delta(0, "A"), part_done(0, "AB"), part_done(0, "AB")], "AB", false),
            (vec![delta(0, "A"), part_done(0, "BA")], "A", true),
            (vec![delta(1, "B"), delta(0, "A")], "BA", true),
            (vec![refused], "No.", false),
            (vec![thought], "", false),
            (vec![reasoned, part_done(0, "Hm.")], "", false),
        ] {
            let events: Vec<_> = events.into_iter().chain([ended("completed")]).collect();
            let (response, out) = read(&events);
            assert_eq!((&*response.content, out.seen.gap), (content, gap), "{events:?}");
        }
    }

    #[test]
    fn items_that_come_mixed_up_are_told_apart() {
        let thought = json!({
            "type": "reasoning", "id": "rs", "content": [{"type": "reasoning_text", "text": "Hm."}],
        });
        let answer = json!({"type": "message", "id": "msg", "phase": "commentary", "content": []});
        let call = |id: &str, more: Value| {
            with(json!({"type": "function_call", "call_id": id, "name": id}), Some(&more))
        };
        for indexed in [true, false] {
            let event = |kind: &str, index: u64, more: Value| {
                let event = json!({"type": format!("response.{kind}")});
                let index = indexed.then(|| json!({"output_index": index}));
                with(with(event, Some(&more)), index.as_ref())
            };
            let added = |index, item| event("output_item.added", index, json!({"item": item}));
            let done = |index, item| event("output_item.done", index, json!({"item": item}));
            let delta = |index, id: &str, delta: &str| {
                let piece = json!({"item_id": id, "delta": delta});
                event("function_call_arguments.delta", index, piece)
            };
            let (response, _) = read(&[
                added(0, json!({"type": "reasoning", "id": "rs"})),
                added(1, answer.clone()),
                event("output_text.delta", 1, json!({"item_id": "msg", "delta": "Yes"})),
                // As at llama.cpp, this item has only a call id.
                added(2, call("a", json!({}))),
                added(3, call("b", json!({"id": "fc"}))),
                delta(2, "a", "[1"),
                delta(3, "fc", "[2"),
                delta(2, "a", "]"),
                delta(3, "fc", "]"),
                done(0, thought.clone()),
                done(1, answer.clone()),
                done(2, call("a", json!({"arguments": "[1]"}))),
                done(3, call("b", json!({"id": "fc", "arguments": "[2]"}))),
                ended("completed"),
            ]);
            let expected = json!([
                thought,
                // The phase came after other items, so it is not kept.
                {"type": "message", "role": "assistant", "content": "Yes"},
                call("a", json!({"arguments": "[1]"})),
                call("b", json!({"arguments": "[2]"})),
            ]);
            assert_eq!(items(&[response.into()]), expected, "indexed: {indexed}");
        }
    }

    /// OpenAI's lists of MCP tools are announced without their tools.
    #[test]
    fn an_item_that_only_the_end_tells_as_a_whole_keeps_its_place() {
        let tools = json!({"type": "mcp_list_tools", "id": "mcpl", "tools": [{"name": "look"}]});
        let message = json!({"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hi"}]});
        let output = json!([tools, message]);
        for (kind, kept) in [("completed", true), ("incomplete", false)] {
            let (response, _) = read(&[
                added(0, json!({"type": "mcp_list_tools", "id": "mcpl"})),
                added(1, json!({"type": "message", "id": "m"})),
                text(1, "Hi"),
                done(1, message.clone()),
                json!({"type": format!("response.{kind}"), "response": {"status": kind, "output": output}}),
            ]);
            let said = json!({"type": "message", "role": "assistant", "content": "Hi"});
            let expected = if kept { json!([tools, said]) } else { json!([said]) };
            assert_eq!(items(&[response.into()]), expected, "{kind}");
        }
    }

    #[test]
    fn only_so_many_unfinished_items_are_remembered() {
        let (mut decoder, mut out) = (ResponsesDecoder::default(), ChunkBuilder::new(9, 99_999));
        for index in 0..2000 {
            let data = added(index, json!({"type": "message"})).to_string();
            decoder.decode(&Event { name: "", data: &data }, &mut out).unwrap();
        }
        assert_eq!(decoder.others.len(), common::MAX_OPEN);
    }

    #[test]
    fn other_events_are_passed_over() {
        let (response, out) = read(&[
            json!({"type": "response.created", "response": {"model": "m-1", "error": null}}),
            json!({"type": "keepalive", "sequence_number": 3}),
            json!({"type": "response.new_thing.delta", "delta": "x", "output_index": {}}),
            json!({"type": "response.mcp_call_arguments.delta", "delta": "{}"}),
            done(0, json!({"type": "mcp_call", "id": "mcp_1", "name": "look", "arguments": "{}"})),
            done(
                1,
                json!({"type": "new_item", "content": [{"text": "x"}], "summary": [{"text": "x"}]}),
            ),
            json!({"type": "response.output_text.delta", "delta": null, "error": {}}),
            json!({"no": "type"}),
            json!([1]),
            text(2, "Yes"),
            json!({"type": "response.output_text.done", "text": "Yes"}),
            json!({"type": "response.content_part.done", "part": {"text": "Yes"}}),
            json!({"type": "response.completed", "response": {"status": "completed", "usage": {
                "input_tokens": 5, "input_tokens_details": {"cached_tokens": 4},
                "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2},
                "total_tokens": 8,
            }}}),
        ]);
        assert_eq!((&*response.content, response.model.as_deref()), ("Yes", Some("m-1")));
        assert_eq!(response.finish_reason, Some(FinishReason::Stop));
        assert!(response.tool_calls.is_empty() && out.failure.is_none());
        let usage = Usage {
            prompt_tokens: 5,
            completion_tokens: 3,
            total_tokens: 8,
            cached_tokens: Some(4),
            cache_write_tokens: None,
            reasoning_tokens: Some(2),
        };
        assert_eq!((response.usage, response.chunk_count), (Some(usage), 2));

        let named = Event { name: "response.output_text.delta", data: r#"{"delta": "Yes"}"# };
        let mut out = ChunkBuilder::new(9, 99_999);
        (CODEC.decoder)().decode(&named, &mut out).unwrap();
        assert_eq!(out.take().content, "Yes");
        assert!((CODEC.decoder)().decode(&Event { name: "", data: "{" }, &mut out).is_err());
    }

    #[test]
    fn an_answer_that_is_cut_short_says_why() {
        for (kind, status, reason, finish, word) in [
            (
                "incomplete",
                "incomplete",
                "max_output_tokens",
                FinishReason::Length,
                "max_output_tokens",
            ),
            (
                "incomplete",
                "incomplete",
                "content_filter",
                FinishReason::ContentFilter,
                "content_filter",
            ),
            ("incomplete", "incomplete", "new", FinishReason::Other, "new"),
            ("incomplete", "", "", FinishReason::Other, "incomplete"),
            (
                "completed",
                "incomplete",
                "max_output_tokens",
                FinishReason::Length,
                "max_output_tokens",
            ),
        ] {
            let (response, out) = read(&[
                added(0, json!({"type": "function_call", "call_id": "c1", "name": "look"})),
                json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{\"a"}),
                json!({"type": format!("response.{kind}"), "response": {
                    "status": status, "incomplete_details": {"reason": reason},
                }}),
            ]);
            assert_eq!(response.finish_reason, Some(finish));
            assert_eq!(response.raw_finish_reason.as_deref(), Some(word));
            assert_eq!(response.tool_calls[0].arguments, "{\"a");
            assert!(out.ended);
        }
    }

    #[test]
    fn failures_in_every_shape() {
        let limited = json!({"code": "rate_limit_exceeded", "message": "Slow down."});
        let failed = |error: Value| {
            json!({"type": "response.failed", "response": {
                "status": "failed", "instructions": "x".repeat(9999), "error": error,
            }})
        };
        for (event, kind, code, message) in [
            (failed(limited.clone()), ErrorKind::RateLimited, "rate_limit_exceeded", "Slow down."),
            (
                with(json!({"type": "error", "param": null}), Some(&limited)),
                ErrorKind::RateLimited,
                "rate_limit_exceeded",
                "Slow down.",
            ),
            (
                json!({"type": "error", "error": limited, "sequence_number": 2}),
                ErrorKind::RateLimited,
                "rate_limit_exceeded",
                "Slow down.",
            ),
            (
                failed(json!({"code": "invalid_base64_image", "message": "Not an image."})),
                ErrorKind::InvalidRequest,
                "invalid_base64_image",
                "Not an image.",
            ),
            (
                failed(json!({"code": "server_error", "message": "Sorry."})),
                ErrorKind::Server,
                "server_error",
                "Sorry.",
            ),
            (
                json!({"error": {"code": 400, "message": "Too long.", "type": "exceed_context_size_error"}}),
                ErrorKind::ContextLength,
                "400",
                "Too long.",
            ),
        ] {
            let (_, out) = read(&[event]);
            let error = api_error(LlmProvider::OpenAi, None, &out.failure.unwrap());
            assert_eq!((error.kind(), error.message()), (kind, message));
            assert_eq!(error.code(), Some(code));
        }
        assert!(read(&[failed(Value::Null)]).1.failure.is_some());
    }
}
