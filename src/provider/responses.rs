//! OpenAI Responses: OpenAI's newer protocol, and the servers that follow it.
//! (<https://platform.openai.com/docs/api-reference/responses>)
//!
//! Nothing is stored at the provider: `store` is false, so that the conversation lives in its messages
//! and nowhere else. What a model must see again of its own answer is kept in the assistant message:
//! reasoning (encrypted by OpenAI, in the clear from open models), calls of built-in tools, and whether
//! a text was a commentary or the answer.

use serde_json::{Map, Value, json};

use super::wire::{Raw, wire};
use super::{Ask, Decoder, Output, Protocol, Wire};
use crate::chunk::{FinishReason, Usage};
use crate::config::{Reasoning, ResponseFormat, Tool, ToolChoice};
use crate::error::Error;
use crate::message::{Message, MessageRole, Said};
use crate::sse::Event;

pub(super) const WIRE: Wire = Wire {
    path: "responses",
    auth: ("authorization", "Bearer "),
    headers: &[],
    body,
    decoder: || Box::new(Responses::default()),
};

fn body(ask: Ask<'_>) -> Result<Map<String, Value>, Error> {
    let config = ask.config;
    let mut options = ask.options();
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    let mut include = Vec::new();

    put("model", ask.model.into());
    put("input", input(ask)?.into());
    put("stream", true.into());
    put("store", false.into());
    if options.take("response_format").is_some()
        && let Some(format) = &config.response_format
    {
        put("text", json!({"format": text_format(format)}));
    }
    if options.take("reasoning").is_some()
        && let Some(reasoning) = config.reasoning
    {
        put("reasoning", self::reasoning(ask, reasoning)?);
        if reasoning != Reasoning::Off {
            // OpenAI includes it by itself where nothing is stored; Azure, xAI and others have to be
            // asked. Models that do not reason refuse to be, so it is asked only along with reasoning.
            include.push("reasoning.encrypted_content");
        }
    }
    if options.take("tools").is_some() {
        put("tools", config.tools.iter().map(tool).collect());
    }
    if options.take("tool_choice").is_some()
        && let Some(choice) = &config.tool_choice
    {
        put("tool_choice", tool_choice(choice));
    }
    if let Some(alternatives) = options.take("logprobs") {
        put("top_logprobs", alternatives);
        include.push("message.output_text.logprobs");
    }
    if !include.is_empty() {
        put("include", include.into());
    }
    options.say(
        &mut body,
        &[
            ("max_tokens", "max_output_tokens"),
            ("parallel_tool_calls", "parallel_tool_calls"),
            ("temperature", "temperature"),
            ("top_p", "top_p"),
        ],
    );
    options.finish()?;
    Ok(body)
}

/// The conversation as items. System messages are items too, rather than `instructions`: they keep
/// their places, and every server that was looked at takes them.
fn input(ask: Ask<'_>) -> Result<Vec<Value>, Error> {
    let mut items = Vec::with_capacity(ask.messages.len());
    // The calls whose arguments are free text; their results have a type of their own.
    let mut custom = Vec::new();
    for message in ask.messages {
        if message.role != MessageRole::User && !message.images.is_empty() {
            return Err(ask.refuse("only a user message can have images"));
        }
        match message.role {
            MessageRole::Assistant => {
                for item in turn(message) {
                    if let Some("custom_tool_call") = kind(&item) {
                        custom.extend(item.get("call_id").cloned());
                    }
                    items.push(item);
                }
            }
            MessageRole::Tool => {
                let Some(id) = &message.tool_call_id else {
                    return Err(ask.refuse("a tool message needs the `tool_call_id` it answers"));
                };
                let kind = if custom.iter().any(|call| call == id) {
                    "custom_tool_call_output"
                } else {
                    "function_call_output"
                };
                items.push(json!({"type": kind, "call_id": id, "output": message.content}));
            }
            MessageRole::System | MessageRole::User => {
                items.push(said(message.role, content(message)));
            }
        }
    }
    Ok(items)
}

/// llama.cpp knows a message only by its `type`, and takes an assistant's text without an id only as a
/// plain string.
fn said(role: MessageRole, content: Value) -> Value {
    json!({"type": "message", "role": role.name(), "content": content})
}

fn content(message: &Message) -> Value {
    if message.images.is_empty() {
        return message.content.as_str().into();
    }
    let text = (!message.content.is_empty())
        .then(|| json!({"type": "input_text", "text": message.content}));
    let image = |image: &crate::Image| {
        // vLLM insists on `detail`.
        json!({"type": "input_image", "image_url": image.to_url(), "detail": "auto"})
    };
    text.into_iter()
        .chain(message.images.iter().map(image))
        .collect()
}

/// What the assistant said and did, item by item. Ids of messages and calls are left out: they refer
/// to a store that holds nothing.
fn turn(message: &Message) -> Vec<Value> {
    let mut items: Vec<Value> = message
        .turn(Protocol::Responses)
        .into_iter()
        .filter_map(|part| {
            Some(match part {
                Said::Text("", _) | Said::Opaque(Value::Null) => return None,
                Said::Text(text, extra) => {
                    with(said(MessageRole::Assistant, text.into()), extra)
                }
                Said::Call(call, extra) => {
                    let custom = extra.and_then(kind) == Some("custom_tool_call");
                    let (name, arguments) = match call.arguments.as_str() {
                        text if custom => ("input", text),
                        "" => ("arguments", "{}"),
                        json => ("arguments", json),
                    };
                    let item = json!({
                        "type": "function_call", "call_id": call.id, "name": call.name, name: arguments,
                    });
                    with(item, extra)
                }
                Said::Opaque(item) => item.clone(),
            })
        })
        .collect();
    // OpenAI refuses reasoning that leads to nothing: an answer cut in the middle of it.
    while items.pop_if(|item| kind(item) == Some("reasoning")).is_some() {}
    items
}

fn with(mut item: Value, extra: Option<&Value>) -> Value {
    if let (Value::Object(item), Some(Value::Object(extra))) = (&mut item, extra) {
        item.extend(extra.clone());
    }
    item
}

fn kind(item: &Value) -> Option<&str> {
    item.get("type")?.as_str()
}

fn text_format(format: &ResponseFormat) -> Value {
    match format {
        ResponseFormat::Json => json!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, schema } => {
            json!({"type": "json_schema", "name": name, "schema": schema, "strict": true})
        }
    }
}

fn reasoning(ask: Ask<'_>, reasoning: Reasoning) -> Result<Value, Error> {
    let effort = match reasoning {
        Reasoning::Off => return Ok(json!({"effort": "none"})),
        Reasoning::Minimal => "minimal",
        Reasoning::Low => "low",
        Reasoning::Medium => "medium",
        Reasoning::High => "high",
        Reasoning::Budget(_) => {
            return Err(ask.refuse(
                "the option `reasoning` cannot be a budget of tokens for this provider; name an effort",
            ));
        }
    };
    Ok(json!({"effort": effort, "summary": "auto"}))
}

/// Not strict: strict tools, the default of this protocol, take only schemas written for it.
fn tool(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": false,
    })
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Tool(name) => json!({"type": "function", "name": name}),
    }
}

wire! {
    /// What an event says.
    struct Data {
        kind = "type": Raw<'a>, delta: Raw<'a>, output_index: Raw<'a>, item_id: Raw<'a>, item: Raw<'a>,
        response: Response<'a>, error: Raw<'a>,
    }
    struct Response {
        model: Raw<'a>, status: Raw<'a>, incomplete_details: Details<'a>, error: Raw<'a>,
        output: Raw<'a>, usage: Counts<'a>,
    }
    struct Details { reason: Raw<'a> }
    struct Counts {
        input_tokens: Raw<'a>, input_tokens_details: Cached<'a>,
        output_tokens: Raw<'a>, output_tokens_details: Reasoned<'a>, total_tokens: Raw<'a>,
    }
    struct Cached { cached_tokens: Raw<'a> }
    struct Reasoned { reasoning_tokens: Raw<'a> }

    /// A piece of the answer: a message, reasoning, a call of a tool.
    struct Item {
        kind = "type": Raw<'a>, id: Raw<'a>, call_id: Raw<'a>, name: Raw<'a>, arguments: Raw<'a>,
        input: Raw<'a>, namespace: Raw<'a>, phase: Raw<'a>, content: Raw<'a>, summary: Raw<'a>,
        encrypted_content: Raw<'a>,
    }
    struct Text { text: Raw<'a>, refusal: Raw<'a> }
}

/// The most items that are remembered as unfinished, which is more than any answer has.
const MAX_OPEN: usize = 1024;

#[derive(Debug, Default)]
struct Responses {
    /// The items that have begun and are not done, the latest last.
    open: Vec<Open>,
    /// Whether any item was told before the end.
    told: bool,
}

/// What was told so far of an item. Its ids are JSON, as they came.
#[derive(Debug, Default)]
struct Open {
    index: Option<u64>,
    id: String,
    call_id: String,
    /// Its place among the parts of the answer, if it is an opaque one.
    place: Option<usize>,
    /// The call's name was told.
    named: bool,
    /// Some of its text, reasoning or arguments were told.
    said: bool,
    /// No other item was told of since.
    latest: bool,
}

impl Decoder for Responses {
    fn decode(&mut self, event: &Event<'_>, out: &mut Output) -> serde_json::Result<()> {
        let data: Data<'_> = serde_json::from_str(event.data)?;
        let kind = data.kind.str();
        let kind = kind.as_deref().unwrap_or(event.name);
        out.model(data.response.model);
        if is_told(data.response.error) {
            out.fail(data.response.error.json());
        } else if event.name == "error" || kind == "error" || is_told(data.error) {
            // Flat as documented, nested as OpenAI sends it, or with a type of its own from llama.cpp.
            out.fail(event.data);
        }
        match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                self.delta(&data);
                out.text(data.delta);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.delta(&data);
                out.reasoning(data.delta);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                let call_id = self.delta(&data);
                out.tool_call(data.output_index, raw(call_id), Raw::default(), data.delta);
            }
            "response.output_item.added" => self.added(data.output_index, data.item, out),
            "response.output_item.done" => self.done(data.output_index, data.item, out),
            "response.completed" | "response.incomplete" | "response.failed" => {
                if !self.told {
                    // Everything there is came at once. Otherwise it is known, and may be left out:
                    // ChatGPT's endpoint for Codex sends an empty `output`.
                    for item in data.response.output.parse::<Vec<Raw<'_>>>() {
                        self.done(Raw::default(), item, out);
                    }
                }
                end(kind, &data.response, out);
                if kind == "response.failed" && out.failure.is_none() {
                    out.fail(event.data);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Responses {
    /// Notes that a piece of an item was told; returns the id of the call, if it is one.
    fn delta(&mut self, data: &Data<'_>) -> &str {
        let mut open = self.take(data.output_index, [data.item_id, Raw::default()]);
        open.said = true;
        self.open.push(open);
        self.open.last().map_or("", |open| &open.call_id)
    }

    fn added(&mut self, index: Raw<'_>, json: Raw<'_>, out: &mut Output) {
        let item: Item<'_> = json.parse();
        let mut open = self.take(index, [item.id, item.call_id]);
        if item.is_call() {
            open.named = item.name.is_some();
            out.tool_call(index, item.call_id, item.name, Raw::default());
        } else if item.is_opaque() {
            // Keeps its place, since llama.cpp says only at the end that an item is done.
            open.place = Some(out.opaque(Value::Null, json.json().len()));
        }
        self.open.push(open);
    }

    /// An item as a whole. What was told in deltas is not told again.
    fn done(&mut self, index: Raw<'_>, json: Raw<'_>, out: &mut Output) {
        let item: Item<'_> = json.parse();
        let open = self.take(index, [item.id, item.call_id]);
        if item.is_call() {
            let unless = |told: bool, field| if told { Raw::default() } else { field };
            let arguments = if item.is("custom_tool_call") { item.input } else { item.arguments };
            // LM Studio tells the arguments only here.
            let arguments = unless(open.said, arguments);
            out.tool_call(index, item.call_id, unless(open.named, item.name), arguments);
        } else if !open.said {
            let content: Vec<Text<'_>> = item.content.parse();
            if !item.is("reasoning") {
                content.iter().for_each(|part| out.text(part.any()));
            } else if !content.is_empty() {
                content.iter().for_each(|part| out.reasoning(part.text));
            } else {
                let summary: Vec<Text<'_>> = item.summary.parse();
                summary.iter().for_each(|part| out.reasoning(part.text));
            }
        }
        if item.is_opaque() {
            let whole = if item.is_whole() { json.parse() } else { Value::Null };
            match open.place {
                Some(place) => out.replace(place, whole, json.json().len()),
                None => _ = out.opaque(whole, json.json().len()),
            }
        } else if open.latest && (item.is_call() || open.said || !out.chunk.content.is_empty()) {
            let extra = item.extra();
            if !extra.is_empty() {
                let bytes = extra.values().map(|value| value.to_string().len()).sum();
                out.extra(extra.into(), bytes);
            }
        }
    }

    /// Takes out what is known of an item: found by its index or, at llama.cpp, which tells none, by its
    /// id or that of the call. An event that names nothing is about the latest item.
    fn take(&mut self, index: Raw<'_>, ids: [Raw<'_>; 2]) -> Open {
        self.told = true;
        let index = index.u64();
        let [id, call_id] = ids.map(Raw::json);
        let named = |open: &Open, id: &str| !id.is_empty() && (open.id == id || open.call_id == id);
        let found = self.open.iter().rposition(|open| match (index, open.index) {
            (Some(index), Some(known)) => index == known,
            (None, _) if id.is_empty() && call_id.is_empty() => true,
            _ => named(open, id) || named(open, call_id),
        });
        let last = self.open.len().checked_sub(1);
        if let Some(at) = found {
            return Open {
                latest: found == last,
                ..self.open.remove(at)
            };
        }
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
        }
        Open {
            index,
            id: id.to_owned(),
            call_id: call_id.to_owned(),
            latest: true,
            ..Open::default()
        }
    }
}

impl Item<'_> {
    fn is(&self, kind: &str) -> bool {
        self.kind.str().as_deref() == Some(kind)
    }

    /// A call of one of the caller's tools. Other calls are the provider's own affair.
    fn is_call(&self) -> bool {
        self.is("function_call") || self.is("custom_tool_call")
    }

    /// Something to send back as it is.
    fn is_opaque(&self) -> bool {
        self.kind.is_some() && !self.is_call() && !self.is("message")
    }

    /// Whether it means something by itself. Reasoning may be no more than a reference into a store, and
    /// there we keep nothing.
    fn is_whole(&self) -> bool {
        !self.is("reasoning")
            || self.encrypted_content.str().is_some()
            || !self.content.parse::<Vec<Raw<'_>>>().is_empty()
    }

    /// What has to be sent back along with a text or a call.
    fn extra(&self) -> Map<String, Value> {
        let mut extra = Map::new();
        if self.is("custom_tool_call") {
            extra.insert("type".to_owned(), "custom_tool_call".into());
        }
        for (name, field) in [("namespace", self.namespace), ("phase", self.phase)] {
            if let Some(value) = field.str() {
                extra.insert(name.to_owned(), value.into());
            }
        }
        extra
    }
}

impl<'a> Text<'a> {
    fn any(&self) -> Raw<'a> {
        if self.text.is_some() { self.text } else { self.refusal }
    }
}

/// The end of the answer. vLLM calls one that is cut short `completed` too, and tells only the status.
fn end(kind: &str, response: &Response<'_>, out: &mut Output) {
    if let Some(usage) = response.usage.usage() {
        out.usage(usage);
    }
    let status = response.status.str();
    if kind == "response.incomplete" || status.as_deref() == Some("incomplete") {
        let reason = response.incomplete_details.reason.str();
        let word = reason.as_deref().unwrap_or("incomplete");
        let finish = match word {
            // The latter from Doubao.
            "max_output_tokens" | "length" => FinishReason::Length,
            "content_filter" => FinishReason::ContentFilter,
            _ => FinishReason::Other,
        };
        out.finish(finish, word);
    } else if kind == "response.completed" {
        out.finish(FinishReason::Stop, "completed");
    }
    out.ended = true;
}

impl Counts<'_> {
    fn usage(&self) -> Option<Usage> {
        let (prompt, completion) = (self.input_tokens.u64(), self.output_tokens.u64());
        prompt.or(completion)?;
        let (prompt_tokens, completion_tokens) = (prompt.unwrap_or(0), completion.unwrap_or(0));
        let sum = prompt_tokens.saturating_add(completion_tokens);
        Some(Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: self.total_tokens.u64().unwrap_or(0).max(sum),
            cached_tokens: self.input_tokens_details.cached_tokens.u64(),
            reasoning_tokens: self.output_tokens_details.reasoning_tokens.u64(),
        })
    }
}

/// Whether a field called `error` holds one.
fn is_told(error: Raw<'_>) -> bool {
    !matches!(error.json(), "" | "{}" | "\"\"" | "false")
}

/// JSON that was kept, as it came.
fn raw(json: &str) -> Raw<'_> {
    serde_json::from_str(json).unwrap_or_default()
}
