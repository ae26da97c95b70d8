//! OpenAI Chat Completions, and its many relatives.
//!
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use serde_json::{Map, Value, json};

use super::wire::{First, Indexed, Raw, wire};
use super::{Ask, Decoder, Output, Wire};
use crate::chunk::{FinishReason, Usage};
use crate::config::{Reasoning, ResponseFormat, ToolChoice};
use crate::error::Error;
use crate::message::{Message, MessageRole, Said};
use crate::provider::Protocol;
use crate::sse::Event;

pub(super) const WIRE: Wire = Wire {
    path: "chat/completions",
    auth: ("authorization", "Bearer "),
    headers: &[],
    body,
    decoder: || Box::new(ChatCompletions),
};

/// How a vendor's Chat Completions differ from the common form.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// What it calls `max_tokens`.
    pub(super) max_tokens: &'static str,
    /// What it calls `seed`.
    pub(super) seed: &'static str,
    /// How it is told that a tool has to be called.
    pub(super) required: &'static str,
    /// What to ask for with the stream; `null` where the vendor refuses the field.
    pub(super) stream_options: fn() -> Value,
    /// Options of the common form that it refuses.
    pub(super) refuses: &'static [&'static str],
}

impl Dialect {
    /// What nearly every compatible server understands.
    pub(super) const COMMON: Self = Self {
        max_tokens: "max_tokens",
        seed: "seed",
        required: "required",
        stream_options: || json!({"include_usage": true}),
        refuses: &[],
    };

    /// Newer models refuse `max_tokens`. Random padding that hides the length of a token from
    /// eavesdroppers doubles the bytes of a stream.
    pub(super) const OPENAI: Self = Self {
        max_tokens: "max_completion_tokens",
        stream_options: || json!({"include_usage": true, "include_obfuscation": false}),
        refuses: &["top_k"],
        ..Self::COMMON
    };

    /// It refuses `stream_options` and sends the usage anyway.
    pub(super) const MISTRAL: Self = Self {
        seed: "random_seed",
        required: "any",
        stream_options: || Value::Null,
        refuses: &["top_k", "logprobs"],
        ..Self::COMMON
    };
}

fn body(ask: Ask<'_>) -> Result<Map<String, Value>, Error> {
    let dialect = &ask.provider.vendor().dialect;
    let messages = ask.messages.iter().map(|m| message(ask, m)).collect::<Result<Vec<_>, _>>()?;
    let mut body = Map::new();
    body.insert("model".into(), ask.model.into());
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), true.into());
    let stream_options = (dialect.stream_options)();
    if !stream_options.is_null() {
        body.insert("stream_options".into(), stream_options);
    }

    let mut options = ask.options();
    options.refuse(dialect.refuses)?;
    options.say(
        &mut body,
        &[
            ("temperature", "temperature"),
            ("top_p", "top_p"),
            ("top_k", "top_k"),
            ("max_tokens", dialect.max_tokens),
            ("stop", "stop"),
            ("frequency_penalty", "frequency_penalty"),
            ("presence_penalty", "presence_penalty"),
            ("seed", dialect.seed),
            ("parallel_tool_calls", "parallel_tool_calls"),
        ],
    );
    if let Some(alternatives) = options.take("logprobs") {
        body.insert("logprobs".into(), true.into());
        if alternatives != 0 {
            body.insert("top_logprobs".into(), alternatives);
        }
    }
    if let Some(format) = options.typed("response_format", &ask.config.response_format) {
        body.insert("response_format".into(), response_format(format));
    }
    if let Some(reasoning) = options.typed("reasoning", &ask.config.reasoning) {
        body.insert("reasoning_effort".into(), effort(ask, *reasoning)?.into());
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
            ToolChoice::Auto => "auto".into(),
            ToolChoice::None => "none".into(),
            ToolChoice::Required => dialect.required.into(),
            ToolChoice::Tool(name) => json!({"type": "function", "function": {"name": name}}),
        };
        body.insert("tool_choice".into(), choice);
    }
    options.finish()?;
    Ok(body)
}

fn message(ask: Ask<'_>, message: &Message) -> Result<Value, Error> {
    let mut value = json!({"role": message.role.name()});
    value["content"] = if message.images.is_empty() {
        message.content.as_str().into()
    } else if message.role == MessageRole::User {
        let text = json!({"type": "text", "text": message.content});
        let images = message.images.iter().map(|image| {
            json!({"type": "image_url", "image_url": {"url": image.to_url()}})
        });
        let text = (!message.content.is_empty()).then_some(text);
        text.into_iter().chain(images).collect()
    } else {
        return Err(ask.refuse("only a user message can have images"));
    };
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
            let function = json!({"name": call.name, "arguments": arguments});
            json!({"id": call.id, "type": "function", "function": function})
        });
        value["tool_calls"] = calls.collect();
        if message.content.is_empty() {
            value["content"] = Value::Null;
        }
    }
    // DeepSeek and OpenRouter want their reasoning back when tools were called.
    for part in message.turn(Protocol::ChatCompletions) {
        if let Said::Opaque(Value::Object(fields)) = part {
            for (name, field) in fields {
                value[name] = field.clone();
            }
        }
    }
    if let Some(id) = &message.tool_call_id {
        value["tool_call_id"] = id.as_str().into();
    }
    Ok(value)
}

fn response_format(format: &ResponseFormat) -> Value {
    match format {
        ResponseFormat::Json => json!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, schema } => json!({
            "type": "json_schema",
            "json_schema": {"name": name, "schema": schema, "strict": true},
        }),
    }
}

fn effort(ask: Ask<'_>, reasoning: Reasoning) -> Result<&'static str, Error> {
    Ok(match reasoning {
        Reasoning::Off => "none",
        Reasoning::Minimal => "minimal",
        Reasoning::Low => "low",
        Reasoning::Medium => "medium",
        Reasoning::High => "high",
        Reasoning::Budget(_) => {
            return Err(ask.refuse("the option `reasoning` takes a level here, not a budget"));
        }
    })
}

wire! {
    struct Chunk {
        model: Raw<'a>,
        choices: First<Choice<'a>>,
        usage: Raw<'a>,
        x_groq: Groq<'a>,
        error: Raw<'a>,
    }
    struct Choice {
        index: Raw<'a>,
        delta: Option<Delta<'a>>,
        /// The whole message, from servers that do not stream; Perplexity sends it beside each delta.
        message: Delta<'a>,
        finish_reason: Raw<'a>,
    }
    struct Delta {
        content: Raw<'a>,
        refusal: Raw<'a>,
        reasoning: Raw<'a>,
        reasoning_content: Raw<'a>,
        tool_calls: Raw<'a>,
    }
    /// A part of a content that is a list: Mistral's way to tell thinking from text.
    struct Part {
        kind = "type": Raw<'a>,
        text: Raw<'a>,
        thinking: Raw<'a>,
    }
    struct Call {
        index: Raw<'a>,
        id: Raw<'a>,
        function: Function<'a>,
    }
    struct Function {
        name: Raw<'a>,
        arguments: Raw<'a>,
    }
    struct Groq {
        usage: Raw<'a>,
        error: Raw<'a>,
    }
    struct Tokens {
        prompt_tokens: Raw<'a>,
        completion_tokens: Raw<'a>,
        total_tokens: Raw<'a>,
        prompt_tokens_details: TokenDetails<'a>,
        completion_tokens_details: TokenDetails<'a>,
        /// DeepSeek's name for cached tokens.
        prompt_cache_hit_tokens: Raw<'a>,
        /// Mistral's.
        num_cached_tokens: Raw<'a>,
    }
    struct TokenDetails {
        cached_tokens: Raw<'a>,
        reasoning_tokens: Raw<'a>,
    }
}

impl Indexed for Choice<'_> {
    fn index(&self) -> Raw<'_> {
        self.index
    }
}

struct ChatCompletions;

impl Decoder for ChatCompletions {
    fn decode(&mut self, event: &Event<'_>, out: &mut Output) -> serde_json::Result<()> {
        let Chunk { model, choices: First(choice), usage, x_groq, error } =
            serde_json::from_str(event.data)?;
        out.model(model);
        decode_delta(&choice.delta.unwrap_or(choice.message), out);
        if let Some(word) = choice.finish_reason.str() {
            out.finish(finish_reason(&word), &word);
            // OpenRouter, Mistral and DeepSeek end a failed answer so.
            if matches!(&*word, "error" | "insufficient_system_resource") {
                out.fail(format!("the model stopped with {word:?}"));
            }
        }
        // An empty object stands for no usage: MiniMax.
        if let Some(usage) = [usage, x_groq.usage].iter().find_map(|usage| tokens(*usage)) {
            out.usage(usage);
        }
        // Looked at last, so that what came with it is not lost; `""` and `{}` are no errors.
        if [error, x_groq.error].iter().any(|error| !matches!(error.json(), "" | "\"\"" | "{}")) {
            out.fail(event.data);
        }
        Ok(())
    }
}

fn decode_delta(delta: &Delta<'_>, out: &mut Output) {
    // Some gateways send the same reasoning under both names.
    let reasoning = if delta.reasoning_content.str().is_some() {
        delta.reasoning_content
    } else {
        delta.reasoning
    };
    out.reasoning(reasoning);
    if delta.content.json().starts_with('[') {
        for part in delta.content.parse::<Vec<Part<'_>>>() {
            out.text(part.text);
            for thought in part.thinking.parse::<Vec<Part<'_>>>() {
                out.reasoning(thought.text);
            }
        }
    } else {
        out.text(delta.content);
    }
    // A refusal comes in place of the text, and is what the user is to read.
    out.text(delta.refusal);
    for call in delta.tool_calls.parse::<Vec<Call<'_>>>() {
        out.tool_call(call.index, call.id, call.function.name, call.function.arguments);
    }
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "stop" => FinishReason::Stop,
        // Relays pass on Anthropic's `max_tokens`; `model_length` is Mistral's full context.
        "length" | "max_tokens" | "model_length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

fn tokens(usage: Raw<'_>) -> Option<Usage> {
    let Tokens {
        prompt_tokens,
        completion_tokens,
        total_tokens,
        prompt_tokens_details,
        completion_tokens_details,
        prompt_cache_hit_tokens,
        num_cached_tokens,
    } = usage.parse();
    let counts = [prompt_tokens.u64(), completion_tokens.u64(), total_tokens.u64()];
    let [prompt, completion, total] = counts.map(Option::unwrap_or_default);
    let cached = [prompt_tokens_details.cached_tokens, prompt_cache_hit_tokens, num_cached_tokens];
    counts.iter().any(Option::is_some).then(|| Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: total.max(prompt.saturating_add(completion)),
        cached_tokens: cached.iter().find_map(|count| count.u64()),
        reasoning_tokens: completion_tokens_details.reasoning_tokens.u64(),
    })
}
