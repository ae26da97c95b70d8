//! Cohere's Chat API, version 2.
//!
//! <https://docs.cohere.com/reference/chat-stream>

use serde_json::{Map, Value, json};

use super::wire::{Raw, wire};
use super::{Ask, Decoder, Output, Protocol, Wire};
use crate::chunk::{FinishReason, Usage};
use crate::config::{Reasoning, ResponseFormat, ToolChoice};
use crate::error::Error;
use crate::message::{Message, MessageRole, Said};
use crate::sse::Event;

pub(super) const WIRE: Wire = Wire {
    path: "chat",
    auth: ("authorization", "Bearer "),
    headers: &[],
    body,
    decoder: || Box::new(CohereChat::default()),
};

fn body(ask: Ask<'_>) -> Result<Map<String, Value>, Error> {
    let mut messages = Vec::with_capacity(ask.messages.len());
    for message in ask.messages {
        messages.extend(self::message(ask, message)?);
    }
    let mut body = Map::new();
    body.insert("model".into(), ask.model.into());
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), true.into());

    let mut options = ask.options();
    options.say(
        &mut body,
        &[
            ("temperature", "temperature"),
            ("top_p", "p"),
            ("top_k", "k"),
            ("max_tokens", "max_tokens"),
            ("stop", "stop_sequences"),
            ("frequency_penalty", "frequency_penalty"),
            ("presence_penalty", "presence_penalty"),
            ("seed", "seed"),
        ],
    );
    if let Some(alternatives) = options.take("logprobs") {
        if alternatives != 0 {
            return Err(ask.refuse("the option `logprobs` must be 0: Cohere tells no alternatives"));
        }
        body.insert("logprobs".into(), true.into());
    }
    if let Some(format) = options.typed("response_format", &ask.config.response_format) {
        let format = match format {
            ResponseFormat::Json => json!({"type": "json_object"}),
            ResponseFormat::JsonSchema { schema, .. } => {
                json!({"type": "json_object", "json_schema": schema})
            }
        };
        body.insert("response_format".into(), format);
    }
    if let Some(reasoning) = options.typed("reasoning", &ask.config.reasoning) {
        let thinking = match reasoning {
            Reasoning::Off => json!({"type": "disabled"}),
            some => json!({"type": "enabled", "token_budget": some.budget()}),
        };
        body.insert("thinking".into(), thinking);
    }
    if options.take("tools").is_some() {
        let tools = ask.config.tools.iter().map(|tool| {
            let mut function = json!({"name": tool.name, "parameters": tool.parameters});
            if !tool.description.is_empty() {
                function["description"] = tool.description.as_str().into();
            }
            json!({"type": "function", "function": function})
        });
        body.insert("tools".into(), tools.collect());
    }
    if let Some(choice) = options.typed("tool_choice", &ask.config.tool_choice) {
        let choice = match choice {
            // What it does unless it is told otherwise.
            ToolChoice::Auto => None,
            ToolChoice::None => Some("NONE"),
            ToolChoice::Required => Some("REQUIRED"),
            ToolChoice::Tool(_) => {
                return Err(ask.refuse("the option `tool_choice` cannot name a tool to Cohere"));
            }
        };
        body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice.into())));
    }
    options.finish()?;
    Ok(body)
}

/// `None` for a turn in which nothing was said, which Cohere refuses.
fn message(ask: Ask<'_>, message: &Message) -> Result<Option<Value>, Error> {
    let images = ask.images(message)?;
    if message.role == MessageRole::Assistant {
        return Ok(assistant(message));
    }
    let mut value = json!({"role": message.role.name(), "content": message.content});
    if !images.is_empty() {
        let text = (!message.content.is_empty()).then(|| text(&message.content));
        let images = images
            .iter()
            .map(|image| json!({"type": "image_url", "image_url": {"url": image.to_url()}}));
        value["content"] = text.into_iter().chain(images).collect();
    }
    if let Some(id) = &message.tool_call_id {
        value["tool_call_id"] = id.as_str().into();
    }
    Ok(Some(value))
}

fn assistant(message: &Message) -> Option<Value> {
    let mut value = json!({"role": "assistant"});
    let (mut content, mut calls) = (Vec::new(), Vec::new());
    for said in message.turn(Protocol::CohereChat) {
        match said {
            Said::Text(words, _) => content.push(text(words)),
            Said::Call(call, _) => {
                let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                let function = json!({"name": call.name, "arguments": arguments});
                calls.push(json!({"id": call.id, "type": "function", "function": function}));
            }
            Said::Opaque(part) => match part.get("tool_plan") {
                Some(plan) => value["tool_plan"] = plan.clone(),
                None => content.push(part.clone()),
            },
        }
    }
    if content.is_empty() && calls.is_empty() {
        return None;
    }
    if !content.is_empty() {
        value["content"] = content.into();
    }
    if !calls.is_empty() {
        value["tool_calls"] = calls.into();
    }
    Some(value)
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

wire! {
    struct Frame {
        kind = "type": Raw<'a>,
        index: Raw<'a>,
        delta: Delta<'a>,
        error: Raw<'a>,
        message: Raw<'a>,
    }
    struct Delta {
        message: Piece<'a>,
        finish_reason: Raw<'a>,
        error: Raw<'a>,
        usage: Counts<'a>,
    }
    struct Piece {
        content: Content<'a>,
        tool_plan: Raw<'a>,
        tool_calls: Call<'a>,
    }
    struct Content {
        text: Raw<'a>,
        thinking: Raw<'a>,
    }
    struct Call {
        id: Raw<'a>,
        function: Function<'a>,
    }
    struct Function {
        name: Raw<'a>,
        arguments: Raw<'a>,
    }
    struct Counts {
        tokens: Tokens<'a>,
        cached_tokens: Raw<'a>,
    }
    struct Tokens {
        input_tokens: Raw<'a>,
        output_tokens: Raw<'a>,
        reasoning_tokens: Raw<'a>,
    }
}

/// Remembers what was thought, since Cohere wants to see it again.
#[derive(Default)]
struct CohereChat {
    thinking: String,
    tool_plan: String,
}

impl Decoder for CohereChat {
    fn decode(&mut self, event: &Event<'_>, out: &mut Output) -> serde_json::Result<()> {
        let Frame { kind, index, delta, error, message } = serde_json::from_str(event.data)?;
        let kind = kind.str();
        match kind.as_deref().unwrap_or(event.name) {
            "content-start" | "content-delta" => {
                out.text(delta.message.content.text);
                think(delta.message.content.thinking, &mut self.thinking, out);
            }
            "content-end" => self.keep(out),
            "tool-plan-delta" => think(delta.message.tool_plan, &mut self.tool_plan, out),
            "tool-call-start" | "tool-call-delta" => {
                let Call { id, function } = delta.message.tool_calls;
                out.tool_call(index, id, function.name, function.arguments);
            }
            "message-end" => {
                self.keep(out);
                end(&delta, out);
            }
            // The form that its errors have elsewhere, and gateways' form.
            _ if error.is_some() || message.is_some() => out.fail(event.data),
            _ => {}
        }
        Ok(())
    }
}

impl CohereChat {
    /// Keeps what is complete of the thoughts.
    fn keep(&mut self, out: &mut Output) {
        let thinking = std::mem::take(&mut self.thinking);
        if !thinking.is_empty() {
            let bytes = thinking.len();
            out.opaque(json!({"type": "thinking", "thinking": thinking}), bytes);
        }
        let tool_plan = std::mem::take(&mut self.tool_plan);
        if !tool_plan.is_empty() {
            let bytes = tool_plan.len();
            out.opaque(json!({"tool_plan": tool_plan}), bytes);
        }
    }
}

fn think(thought: Raw<'_>, thoughts: &mut String, out: &mut Output) {
    let before = out.chunk.reasoning.len();
    out.reasoning(thought);
    thoughts.push_str(out.chunk.reasoning.get(before..).unwrap_or_default());
}

fn end(delta: &Delta<'_>, out: &mut Output) {
    out.ended = true;
    if let Some(usage) = tokens(&delta.usage) {
        out.usage(usage);
    }
    let word = delta.finish_reason.str().unwrap_or_default();
    if !word.is_empty() {
        out.finish(finish_reason(&word), &word);
    }
    let told = delta.error.str();
    if told.is_some() || matches!(&*word, "ERROR" | "TIMEOUT") {
        let message = told.unwrap_or_else(|| "the answer has failed".into());
        out.fail(json!({"message": message, "code": word}).to_string());
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

fn tokens(counts: &Counts<'_>) -> Option<Usage> {
    let tokens = &counts.tokens;
    let (prompt, completion) = (tokens.input_tokens.u64()?, tokens.output_tokens.u64()?);
    Some(Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt.saturating_add(completion),
        cached_tokens: counts.cached_tokens.u64(),
        reasoning_tokens: tokens.reasoning_tokens.u64(),
    })
}
