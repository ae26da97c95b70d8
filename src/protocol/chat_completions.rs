//! Encodes and decodes OpenAI Chat Completions, in the dialect of each vendor.
//!
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::builder::ChunkBuilder;
use super::chat_request::ChatRequest;
use super::cited::{Cited, Unit};
use super::codec::{Codec, Decoder};
use super::common::{self, is_in, object};
use super::options::Options;
use super::wire::{First, Raw, wire};
use super::{hosted, json, logprobs, schema};
use crate::attachment::Attachment;
use crate::chunk::{FinishReason, Usage};
use crate::config::ResponseFormat;
use crate::error::Error;
use crate::message::{Message, MessageRole, TurnPart};
use crate::model::begins_like;
use crate::provider::{LlmProvider, Protocol};
use crate::sse::Event;
use crate::tool::Function;

pub(super) const CODEC: Codec = Codec::new::<ChatCompletionsDecoder>("chat/completions", body);

fn body(request: ChatRequest<'_>) -> Result<Map<String, Value>, Error> {
    let (config, dialect) = (request.config, &request.vendor().dialect);
    let (mut options, mut body) = Options::and_body(request);
    let messages = request.messages()?.iter().enumerate();
    let messages = messages.filter_map(|(at, said)| message(request, at, said));
    body.put("messages", messages.collect::<Value>());
    // For new accounts, OpenAI stores completions by default. Other vendors may not know the field.
    body.put("store", (request.owner == Some(LlmProvider::OpenAi)).then_some(false));
    body.put_json(dialect.always);
    body.put_json(dialect.usage);
    options.ensure_unset(dialect.refuses)?;
    options.move_into("temperature top_p top_k stop frequency_penalty presence_penalty", &mut body);
    options.move_into("parallel_tool_calls", &mut body);
    options.move_into(dialect.max_tokens, &mut body);
    options.move_into(dialect.seed, &mut body);
    let alternatives = options.typed("logprobs", &config.logprobs).copied();
    if dialect.counts_logprobs {
        body.put("logprobs", alternatives.map(|count| count.max(1)));
    } else {
        body.put("logprobs", alternatives.map(|_| true));
        body.put("top_logprobs", alternatives.filter(|count| *count != 0));
    }
    let format = options.typed("response_format", &config.response_format);
    body.put("response_format", format.map(|format| response_format(request, format)));
    body.0.extend(common::reasoning(&mut options, request.model, dialect.reasoning)?);
    let tools = options.tools(&mut body, |tool| function(request, tool))?.concat();
    if !tools.is_empty() {
        body.put("tools", tools);
        body.put_json(dialect.with_tools);
    }
    let named = |tool: &str| json!({"type": "function", "function": {"name": tool}});
    body.put("tool_choice", common::tool_choice(&mut options, dialect.required, named));
    options.finish(body)
}

/// Returns `None` for an empty assistant message (Moonshot refuses it, and then every later
/// request), and for a system message that is merged into the first one.
fn message(request: ChatRequest<'_>, at: usize, message: &Message) -> Option<Value> {
    let dialect = &request.vendor().dialect;
    let (mut calls, mut reasoning, mut refusal) = (Vec::new(), Map::new(), None);
    for part in message.turn(Protocol::ChatCompletions) {
        match part {
            TurnPart::Call(call, extra) => {
                let arguments = request.arguments_text(call);
                calls.push(common::with(common::function_call(call, &arguments), extra));
            }
            TurnPart::Opaque(Value::Object(fields)) => reasoning.extend(fields.clone()),
            TurnPart::Text(text, Some(_)) => refusal = Some(json!(text)),
            TurnPart::Text(..) | TurnPart::Opaque(_) => {}
        }
    }
    let mut content = common::content(message, common::text, common::image);
    if message.role == MessageRole::Assistant {
        if content == "" && calls.is_empty() {
            common::note_changed_turn(request, at, true);
            return None;
        }
        let has_reasoned = reasoning.values().any(|it| it != "");
        if dialect.think_tags.is_some_and(|models| begins_like(request.model, models))
            && let Some(Value::String(thought)) = reasoning.remove(dialect.reasoning_field)
        {
            content = format!("<think>{thought}</think>{}", message.content).into();
        }
        let is_filled = !has_reasoned && (dialect.fills_all_reasoning || !calls.is_empty());
        if let Some(filler) = dialect.reasoning_filler.filter(|_| is_filled) {
            reasoning.insert(dialect.reasoning_field.to_owned(), filler.into());
        }
    }
    if message.role == MessageRole::System && dialect.one_system {
        let is_system = |other: &&Message| other.role == MessageRole::System;
        if request.messages.iter().take(at).any(|other| is_system(&other)) {
            let (what, why) = (format!("messages[{at}]"), "only one is accepted here");
            request.adapt(&what, "a system message", "its text in the first one", why);
            return None;
        }
        let texts = request.messages.iter().filter(is_system).map(|other| &*other.content);
        content = texts.collect::<Vec<_>>().join("\n\n").into();
    }
    if content == "" {
        content = dialect.empty_content.into();
    }
    let value = object([
        ("role", Some(message.role.as_str().into())),
        ("content", Some(if refusal.is_some() { Value::Null } else { content })),
        ("refusal", refusal),
        ("tool_calls", (!calls.is_empty()).then(|| calls.into())),
        ("tool_call_id", message.tool_call_id.as_deref().map(Value::from)),
    ]);
    Some(common::with(value, Some(&reasoning.into())))
}

/// Builds a tool. `strict` is left out where it would be false, because false is the default. A
/// fine-tuned model (`ft:`) supports fewer keywords in a strict schema, so its tools are not
/// strict.
fn function(request: ChatRequest<'_>, tool: &Function) -> Value {
    let mut function = common::function(tool, "parameters");
    if request.vendor().dialect.strict_tools && !request.model.starts_with("ft:") {
        let what = format!("tools[{}]", tool.name);
        if let (schema, true) = schema::strict(request, &what, &tool.parameters) {
            function = common::with(function, Some(&json!({"parameters": schema, "strict": true})));
        }
    }
    json!({"type": "function", "function": function})
}

fn response_format(request: ChatRequest<'_>, format: &ResponseFormat) -> Value {
    let ResponseFormat::JsonSchema { name, schema } = format else {
        return json!({"type": "json_object"});
    };
    let (schema, strict) = match request.vendor().dialect.strict_schemas {
        Some(models) if begins_like(request.model, models) => {
            schema::strict(request, "response_format", schema)
        }
        _ => (schema.clone(), true),
    };
    let schema = json!({"name": name, "schema": schema, "strict": strict});
    json!({"type": "json_schema", "json_schema": schema})
}

wire! {
    struct ChatEvent {
        model, choices: First<ChatChoice<'a>>, usage, x_groq, error, id, service_tier,
        /// MiniMax's status of the request.
        base_resp,
        /// The pages that Perplexity and xAI cite, those that Perplexity found, and those of Z.ai.
        /// Each event has all of them.
        citations, search_results, web_search,
    }
    /// An error of vLLM or DashScope: its fields are at the top level, and there are no choices.
    struct FlatError { code, message }
    struct ChatChoice by index {
        index, delta: Option<ChatDelta<'a>>,
        /// The whole message. Servers that do not stream send only this; Perplexity sends it beside
        /// each delta, and MiniMax at the end.
        message,
        /// The text, from servers that use the format of text completions.
        text,
        finish_reason,
        /// The finish reason of the provider behind OpenRouter, in that provider's own words.
        native_finish_reason,
        /// Moonshot sends the usage here.
        usage,
        error, logprobs,
    }
    struct ChatDelta {
        content, refusal, reasoning, reasoning_content, reasoning_details, tool_calls,
        /// The predecessor of `tool_calls`, which some servers still send.
        function_call,
        audio, annotations,
        /// The tools that run at Groq.
        executed_tools,
        /// The pictures that a model behind OpenRouter has made.
        images,
    }
    struct ChatAudio { transcript, data }
    /// One part of a `content` that is a list. Mistral separates thinking from text in this way,
    /// and names the pages that a tool of its own has found.
    struct ContentPart { text, thinking, kind = "type" }
    struct ExecutedTool { index, name, kind = "type", arguments, output, search_results: FoundPages<'a> }
    struct FoundPages { results }
    struct ChatAnnotation { url_citation }
    struct MadePicture { image_url: PictureUrl<'a> }
    struct PictureUrl { url }
    struct ReasoningDetail { text, summary }
    struct ChatCall {
        index, id, function: ChatFunction<'a>,
        /// Gemini's thought signature, which has to be sent back.
        extra_content,
    }
    struct ChatFunction { name, arguments }
    struct GroqFields { usage, error }
    struct MiniMaxStatus { status_code }
    struct ChatUsage {
        prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details: ChatUsageDetails<'a>,
        completion_tokens_details: ChatUsageDetails<'a>,
        /// DeepSeek's name for cached tokens.
        prompt_cache_hit_tokens,
        /// Mistral's name for cached tokens.
        num_cached_tokens,
        /// Together and Moonshot send the cached tokens here, not in the details.
        cached_tokens,
        reasoning_tokens,
        /// Databricks passes on Anthropic's names.
        cache_read_input_tokens, cache_creation_input_tokens,
    }
    /// Mistral sends the service tier inside the usage.
    struct UsageTier { service_tier }
    struct ChatUsageDetails {
        cached_tokens, reasoning_tokens, cache_write_tokens,
        /// Alibaba's name for cache writes.
        cache_creation_input_tokens,
    }
}

impl FlatError<'_> {
    fn is_error(&self) -> bool {
        self.message.is_text() && self.code.is_some() && !matches!(self.code.u64(), Some(0 | 200))
    }
}

/// Decodes one response. Keeps the reasoning details, which have to be sent back.
#[derive(Default)]
struct ChatCompletionsDecoder {
    /// The `reasoning_details` of OpenRouter and MiniMax that have come so far.
    details: Vec<Value>,
    has_deltas: bool,
    /// The lengths of the lists of pages in the latest event.
    pages: [usize; 3],
    /// Deltas had annotations, pictures or tools that ran.
    has_rest: bool,
    /// The sound so far.
    sound: Vec<u8>,
}

impl Decoder for ChatCompletionsDecoder {
    fn decode(&mut self, event: &Event<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()> {
        let chunk: ChatEvent<'_> = json::read(event.data)?;
        let choice = &chunk.choices.one;
        out.seen.understood |= chunk.choices.is_list;
        out.model(chunk.model);
        out.told_first(|facts| &mut facts.id, chunk.id);
        out.service_tier(chunk.service_tier.or(chunk.usage.parse::<UsageTier<'_>>().service_tier));
        match &choice.delta {
            Some(delta) => {
                self.has_deltas = true;
                self.decode_delta(delta, out);
            }
            None => _ = out.text(choice.text),
        }
        if choice.message.is_some() {
            out.seen.document = !self.has_deltas;
            self.decode_message(choice, out);
        }
        if choice.logprobs.is_some() {
            logprobs::read(choice.logprobs, out);
        }
        if let Some(word) = choice.finish_reason.str() {
            self.finish(&word, choice.native_finish_reason, out);
        }
        let pages = [chunk.citations, chunk.search_results, chunk.web_search];
        if pages.iter().any(|list| list.is_some()) {
            self.pages(pages, out);
        }
        // MiniMax sends `usage: {}`, which counts as no usage.
        let groq: GroqFields<'_> = chunk.x_groq.parse();
        let usage = [chunk.usage, choice.usage, groq.usage];
        out.usage(usage.into_iter().find_map(tokens));
        // Errors are checked last, so that content in the same event is not lost. `""` and `{}` are
        // not errors. Only an event without choices is read a second time, as a `FlatError`.
        let errors = [chunk.error, groq.error, choice.error];
        if errors.iter().any(|error| error.is_error())
            || chunk.base_resp.parse::<MiniMaxStatus<'_>>().status_code.u64().unwrap_or(0) != 0
            || (!chunk.choices.is_list && json::read::<FlatError<'_>>(event.data)?.is_error())
        {
            out.fail(event.data);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut ChunkBuilder) {
        if !self.sound.is_empty() {
            // A stream has no other format.
            out.attach(Attachment::bytes("audio/pcm", &std::mem::take(&mut self.sound)));
        }
        let details = std::mem::take(&mut self.details);
        if !details.is_empty() {
            out.opaque(Map::from_iter([("reasoning_details".to_owned(), details.into())]).into());
        }
    }
}

impl ChatCompletionsDecoder {
    fn decode_delta(&mut self, delta: &ChatDelta<'_>, out: &mut ChunkBuilder) {
        // Some gateways send the same reasoning in two or all three of these fields: read only one.
        if delta.reasoning_content.is_text() {
            out.reasoning_in("reasoning_content", delta.reasoning_content);
        } else if delta.reasoning.is_text() {
            out.reasoning_in("reasoning", delta.reasoning);
        } else {
            for ReasoningDetail { text, summary } in delta.reasoning_details.elements() {
                out.reasoning(if text.is_text() { text } else { summary });
            }
        }
        for detail in delta.reasoning_details.elements() {
            self.detail(detail, out);
        }
        self.decode_content(delta.content, out);
        // A refusal comes instead of text, and the user has to read it.
        if delta.refusal.is_text() {
            out.refusal(delta.refusal);
        }
        let rare = [delta.audio, delta.annotations, delta.executed_tools, delta.images];
        if rare.iter().any(|field| field.is_some()) {
            self.has_rest = true;
            self.decode_rest(delta, out);
        }
        for ChatCall { index, id, function, extra_content } in delta.tool_calls.elements() {
            let at = out.tool_call(index, id, function.name, function.arguments);
            if let Some(at) = at.filter(|_| extra_content.is_some()) {
                let extra = out.keep(extra_content);
                out.call_extra(at, json!({ "extra_content": extra }));
            }
        }
        if delta.function_call.is_some() && !delta.tool_calls.has_elements() {
            let ChatFunction { name, arguments } = delta.function_call.parse();
            out.tool_call(Raw::ZERO, Raw::default(), name, arguments);
        }
    }

    /// Decodes the fields that nearly no delta has.
    fn decode_rest(&mut self, delta: &ChatDelta<'_>, out: &mut ChunkBuilder) {
        if delta.audio.is_some() {
            let ChatAudio { transcript, data } = delta.audio.parse();
            out.text(transcript);
            let piece = data.str().and_then(|data| BASE64.decode(&*data).ok()).unwrap_or_default();
            out.count_kept(piece.len());
            self.sound.extend(piece);
            out.progress = true;
        }
        for annotation in delta.annotations.elements() {
            // The citation is inside `url_citation` at OpenAI. Xiaomi lists all found pages here.
            let ChatAnnotation { url_citation } = Raw::parse(annotation);
            let cited: Cited<'_> = url_citation.or(annotation).parse();
            match cited.place(0, Unit::Chars) {
                None => out.source(cited.source(), None),
                place => out.cite(cited.source(), cited.quote(), place),
            }
        }
        for (at, tool) in delta.executed_tools.elements().enumerate() {
            executed(at, &tool, out);
        }
        for MadePicture { image_url } in delta.images.elements() {
            if let Some(url) = image_url.url.str() {
                out.attach(Attachment::url(url));
            }
        }
    }

    /// Decodes `message`, which comes after the deltas or beside each of them. It adds only what no
    /// delta has brought. Some servers send no deltas, but pieces of `message`. Writer's `message`
    /// beside a delta is the same piece again, so only a `message` without a delta is compared with
    /// the calls so far.
    fn decode_message(&mut self, choice: &ChatChoice<'_>, out: &mut ChunkBuilder) {
        let mut message: ChatDelta<'_> = choice.message.parse();
        let nothing = Raw::default();
        let has_calls = self.has_deltas && out.calls() > 0;
        if has_calls && choice.delta.is_none() {
            for (nth, ChatCall { id, function, .. }) in message.tool_calls.elements().enumerate() {
                let nth = Some(nth).filter(|&nth| nth < out.calls());
                match out.call_with_id(id).or(nth) {
                    Some(at) => out.whole_call(at, id, function.name, function.arguments),
                    None => _ = out.tool_call(nothing, id, function.name, function.arguments),
                }
            }
        }
        if self.has_deltas && out.seen.text {
            message = ChatDelta { content: nothing, refusal: nothing, audio: nothing, ..message };
        }
        if self.has_deltas && out.seen.reasoning {
            (message.reasoning, message.reasoning_content) = (nothing, nothing);
            message.reasoning_details = nothing;
        }
        if self.has_rest {
            message = ChatDelta {
                annotations: nothing,
                executed_tools: nothing,
                images: nothing,
                ..message
            };
        }
        if has_calls {
            message = ChatDelta { tool_calls: nothing, function_call: nothing, ..message };
        }
        self.decode_delta(&message, out);
    }

    fn decode_content(&self, content: Raw<'_>, out: &mut ChunkBuilder) {
        match content.json().as_bytes().first() {
            Some(b'[') => {
                for (ContentPart { text, thinking, kind }, part) in content.elements() {
                    out.text(text);
                    if kind.is("tool_reference") {
                        out.cite(Raw::parse::<Cited<'_>>(part).source(), String::new(), None);
                    }
                    for thought in thinking.elements::<ContentPart<'_>>() {
                        out.reasoning(thought.text);
                    }
                }
            }
            // Cloudflare sends the requested JSON as an object instead of a string.
            Some(b'{') => out.plain_text(content.json()),
            _ => _ = out.text(content),
        }
    }

    /// Adds the pages that are new. They have no places: the text refers to them by number.
    fn pages(&mut self, lists: [Raw<'_>; 3], out: &mut ChunkBuilder) {
        // Most events repeat the lists unchanged.
        let lengths = lists.map(|list| list.json().len());
        if lengths == std::mem::replace(&mut self.pages, lengths) {
            return;
        }
        for page in lists.into_iter().flat_map(Raw::elements::<Raw<'_>>) {
            // In the list of cited pages, a page is only its URL.
            let source = if page.is_text() { Cited::page(page) } else { page.parse() }.source();
            let told = [&source.url, &source.id, &source.title];
            if out.is_new(told.map(|text| text.as_deref().unwrap_or_default())) {
                out.source(source, None);
            }
        }
    }

    fn finish(&mut self, word: &str, native: Raw<'_>, out: &mut ChunkBuilder) {
        self.end(out);
        let native = native.str().unwrap_or_default();
        let reason = match (finish_reason(word), finish_reason(&native)) {
            // OpenRouter reports a truncated call as `tool_calls`. Only the native reason names the
            // limit.
            (FinishReason::ToolCalls, FinishReason::Length) => FinishReason::Length,
            (reason, _) => reason,
        };
        out.finish(reason, word);
        if is_failure(word) || (is_failure(&native) && !out.seen.anything) {
            let word = if is_failure(word) { word } else { &*native };
            out.fail(&format!("the model stopped with {word:?}"));
        }
    }

    /// Adds an element of `reasoning_details`. Texts and summaries come in pieces that share type
    /// and index; all other elements are whole.
    fn detail(&mut self, json: Raw<'_>, out: &mut ChunkBuilder) {
        let Value::Object(piece) = out.keep(json) else { return };
        let kind = piece.get("type").and_then(Value::as_str);
        let is_text = matches!(kind, Some("reasoning.text" | "reasoning.summary"));
        let latest = self.details.last_mut().filter(|known| {
            is_text && ["type", "index"].iter().all(|name| known.get(name) == piece.get(*name))
        });
        let Some(Value::Object(known)) = latest else { return self.details.push(piece.into()) };
        for (name, value) in piece {
            let grows = matches!(&*name, "text" | "summary" | "signature");
            match (known.get_mut(&name), value) {
                (Some(Value::String(text)), Value::String(more)) if grows => text.push_str(&more),
                (Some(_), Value::Null) => {}
                (_, value) => _ = known.insert(name, value),
            }
        }
    }
}

/// Reports a tool that runs at Groq. Its start has no output.
fn executed(at: usize, tool: &ExecutedTool<'_>, out: &mut ChunkBuilder) {
    let id = tool.index.u64().unwrap_or(at as u64).to_string();
    let name = tool.name.or(tool.kind).str().unwrap_or_default();
    let arguments = tool.arguments.str().unwrap_or_default();
    let input = serde_json::from_str(&arguments).map(|json| hosted::text_of(&json));
    out.tool_started(&id, &name, input.unwrap_or_else(|_| arguments.into_owned()));
    if tool.output.is_some() {
        let output = tool.output.str().unwrap_or_default().into_owned();
        out.tool_finished(&id, &name, output, false);
    }
    for page in tool.search_results.results.elements::<Cited<'_>>() {
        out.source(page.source(), None);
    }
}

/// The finish reasons of a response that a token limit has truncated. Relays pass on those of
/// Anthropic, Google and OpenAI's Responses. `model_length` means a full context at Mistral, and
/// `model_context_window_exceeded` at Z.ai.
const LENGTH: &str = "length max_tokens MAX_TOKENS max_output_tokens model_length \
                      model_context_window_exceeded";

fn finish_reason(word: &str) -> FinishReason {
    match word {
        // Together and Hugging Face send `eos`.
        "stop" | "eos" => FinishReason::Stop,
        word if is_in(LENGTH, word) => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        // Z.ai sends `sensitive`.
        "content_filter" | "sensitive" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Returns whether a finish reason means that the response has failed. OpenRouter and Mistral send
/// the first of these, DeepSeek the second, and Z.ai the third.
fn is_failure(word: &str) -> bool {
    matches!(word, "error" | "insufficient_system_resource" | "network_error")
}

fn tokens(usage: Raw<'_>) -> Option<Usage> {
    let told: ChatUsage<'_> = usage.is_some().then(|| usage.parse())?;
    let counts = [told.prompt_tokens, told.completion_tokens, told.total_tokens].map(Raw::u64);
    let [prompt, completion, total] = counts.map(Option::unwrap_or_default);
    let cached = [
        told.prompt_tokens_details.cached_tokens,
        told.prompt_cache_hit_tokens,
        told.num_cached_tokens,
        told.cached_tokens,
        told.cache_read_input_tokens,
    ];
    let details = &told.prompt_tokens_details;
    let written = details.cache_write_tokens.or(details.cache_creation_input_tokens);
    let reasoning = [told.completion_tokens_details.reasoning_tokens, told.reasoning_tokens];
    let reasoning = reasoning.iter().find_map(|count| count.u64());
    // xAI leaves the reasoning out of the completion tokens, but not out of the total.
    let thought = reasoning.unwrap_or_default();
    let is_apart =
        prompt.checked_add(completion).and_then(|sum| sum.checked_add(thought)) == Some(total);
    counts.iter().any(Option::is_some).then(|| Usage {
        prompt_tokens: prompt,
        completion_tokens: if is_apart { total - prompt } else { completion },
        total_tokens: total,
        cached_tokens: cached.iter().find_map(|count| count.u64()),
        cache_write_tokens: written.or(told.cache_creation_input_tokens).u64(),
        reasoning_tokens: reasoning,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::attachment::Attachment;
    use crate::config::{GenerationConfig, Reasoning};
    use crate::message::ToolCall;
    use crate::protocol::testing;
    use crate::response::GenerationResponse;
    use crate::tool::{Tool, ToolChoice};

    fn said(messages: &[Message], config: &GenerationConfig, provider: LlmProvider) -> Value {
        Value::Object(
            body(ChatRequest {
                provider,
                protocol: Protocol::ChatCompletions,
                model: &config.model,
                messages,
                config,
                owner: None,
                adaptations: &RefCell::default(),
            })
            .unwrap(),
        )
    }

    /// Returns the fields that a configuration adds to the smallest body.
    fn added(config: GenerationConfig, provider: LlmProvider) -> Value {
        let mut body = said(&[Message::user("Hi")], &config, provider);
        for field in ["model", "messages", "stream", "stream_options"] {
            body.as_object_mut().unwrap().remove(field);
        }
        body
    }

    fn refusal(config: GenerationConfig, provider: LlmProvider) -> String {
        let messages = [Message::user("Hi")];
        body(ChatRequest {
            provider,
            protocol: Protocol::ChatCompletions,
            model: "m",
            messages: &messages,
            config: &config,
            owner: None,
            adaptations: &RefCell::default(),
        })
        .unwrap_err()
        .to_string()
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let messages = [Message::user("Hi")];
        let config = GenerationConfig::new("m");
        let message = json!([{"role": "user", "content": "Hi"}]);
        assert_eq!(
            said(&messages, &config, LlmProvider::Local),
            json!({"model": "m", "messages": message, "stream": true,
                "stream_options": {"include_usage": true}})
        );
        assert_eq!(
            said(&messages, &config, LlmProvider::OpenAi),
            json!({"model": "m", "messages": message, "stream": true,
                "stream_options": {"include_usage": true, "include_obfuscation": false}})
        );
        assert_eq!(
            said(&messages, &config, LlmProvider::Mistral),
            json!({"model": "m", "messages": message, "stream": true})
        );
    }

    #[test]
    fn every_option_is_said_in_the_vendors_words_or_refused() {
        use LlmProvider::{Groq, Local, Mistral, Moonshot, OpenAi, Together};
        let new = || GenerationConfig::new("m");
        let schema = json!({"type": "object"});
        for (config, common) in [
            (new().temperature(0.5), json!({"temperature": 0.5})),
            (new().top_p(0.9), json!({"top_p": 0.9})),
            (new().top_k(40), json!({"top_k": 40})),
            (new().max_tokens(7), json!({"max_tokens": 7})),
            (new().stop(["\n", "END"]), json!({"stop": ["\n", "END"]})),
            (new().frequency_penalty(0.1), json!({"frequency_penalty": 0.1})),
            (new().presence_penalty(-0.1), json!({"presence_penalty": -0.1})),
            (new().seed(42), json!({"seed": 42})),
            (new().logprobs(0), json!({"logprobs": true})),
            (new().logprobs(3), json!({"logprobs": true, "top_logprobs": 3})),
            (new().parallel_tool_calls(false), json!({"parallel_tool_calls": false})),
            (
                new().response_format(ResponseFormat::Json),
                json!({"response_format": {"type": "json_object"}}),
            ),
            (
                new().response_format(ResponseFormat::json_schema("answer", schema.clone())),
                json!({"response_format": {"type": "json_schema", "json_schema":
                    {"name": "answer", "schema": schema, "strict": true}}}),
            ),
            (new().reasoning(Reasoning::Off), json!({"reasoning_effort": "none"})),
            (new().reasoning(Reasoning::High), json!({"reasoning_effort": "high"})),
            (
                new().tools([
                    Tool::function("look", "Looks.", schema.clone()),
                    Tool::function("go", "", schema.clone()),
                ]),
                json!({"tools": [
                    {"type": "function", "function":
                        {"name": "look", "description": "Looks.", "parameters": schema}},
                    {"type": "function", "function": {"name": "go", "parameters": schema}},
                ]}),
            ),
            (new().tool_choice(ToolChoice::Auto), json!({"tool_choice": "auto"})),
            (new().tool_choice(ToolChoice::None), json!({"tool_choice": "none"})),
            (new().tool_choice(ToolChoice::Required), json!({"tool_choice": "required"})),
            (
                new().tool_choice(ToolChoice::Tool("look".into())),
                json!({"tool_choice": {"type": "function", "function": {"name": "look"}}}),
            ),
        ] {
            assert_eq!(added(config, Local), common);
        }
        assert_eq!(added(new().max_tokens(7), OpenAi), json!({"max_completion_tokens": 7}));
        assert_eq!(added(new().seed(7), Mistral), json!({"random_seed": 7}));
        let required = new().tool_choice(ToolChoice::Required);
        assert_eq!(added(required, Mistral), json!({"tool_choice": "any"}));

        assert!(refusal(new().top_k(1), OpenAi).contains("openai: the option `top_k`"));
        assert!(refusal(new().logprobs(1), Groq).contains("groq: the option `logprobs`"));
        assert_eq!(added(new().logprobs(0), Together), json!({"logprobs": 1}));
        assert_eq!(added(new().logprobs(3), Together), json!({"logprobs": 3}));
        let both = refusal(new().top_k(1).seed(1), Moonshot);
        assert!(both.contains("the options `top_k`, `seed` cannot be sent"), "{both}");
        let over = refusal(new().top_k(1).protocol(Protocol::ChatCompletions), OpenAi);
        assert!(over.contains("over the protocol `chat_completions`"), "{over}");
        assert!(refusal(new().reasoning(Reasoning::Budget(9)), Local).contains("`reasoning`"));
    }

    #[test]
    fn a_conversation_with_pictures_and_tools() {
        let mut asks = Message::assistant("");
        asks.tool_calls.push(ToolCall::new("c1", "look", ""));
        let image = Attachment::url("https://example.com/cat.png");
        let messages = [
            Message::system("Be brief."),
            Message::user("What is it?")
                .attach(image)
                .attach(Attachment::bytes("image/png", b"foo")),
            asks,
            Message::tool("c1", "a cat"),
            Message::assistant(""),
            Message::assistant("A cat."),
        ];
        assert_eq!(
            said(&messages, &GenerationConfig::new("m"), LlmProvider::Local)["messages"],
            json!([
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,Zm9v"}},
                ]},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                ]},
                {"role": "tool", "content": "a cat", "tool_call_id": "c1"},
                {"role": "assistant", "content": "A cat."},
            ])
        );
    }

    fn decode(events: &[&str]) -> ChunkBuilder {
        let (mut decoder, mut out) =
            (ChatCompletionsDecoder::default(), ChunkBuilder::new(9, 9999));
        for data in events {
            decoder.decode(&Event { name: "", data }, &mut out).unwrap();
        }
        out
    }

    /// Decodes one event and shows it as `text|reasoning name(arguments) [finish reason]`.
    fn seen(event: &str) -> String {
        let chunk = decode(&[event]).chunk;
        let calls = chunk.tool_calls.iter().map(|call| {
            format!(" {}({})", call.name.as_deref().unwrap_or_default(), call.arguments)
        });
        let reason = chunk.raw_finish_reason.map(|word| format!(" [{word}]")).unwrap_or_default();
        format!("{}|{}{}{reason}", chunk.content, chunk.reasoning, calls.collect::<String>())
    }

    #[test]
    fn everything_that_was_seen_in_place_of_a_delta() {
        for (event, expected) in [
            (r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#, "|"),
            (r#"{"choices":[],"prompt_filter_results":[{}]}"#, "|"),
            (r#"{"id":"x"}"#, "|"),
            (r#"{"choices":null}"#, "|"),
            (r#"{"choices":[{}]}"#, "|"),
            (r#"{"choices":[{"delta":null,"finish_reason":"stop"}]}"#, "| [stop]"),
            (r#"{"choices":[{"delta":{"content":null},"finish_reason":""}]}"#, "|"),
            (r#"{"choices":[{"delta":{"content":42}}]}"#, "|"),
            (r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"weird"}]}"#, "a| [weird]"),
            (r#"{"choices":[{"delta":{"content":"a","reasoning":"b"}}]}"#, "a|b"),
            (r#"{"choices":[{"delta":{"reasoning_content":"b","reasoning":"b"}}]}"#, "|b"),
            (r#"{"choices":[{"delta":{"content":null,"refusal":"No."}}]}"#, "No.|"),
            (
                r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text",
                    "text":"hm"}]},{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]}]}}]}"#,
                "a|hm",
            ),
            (
                r#"{"choices":[{"index":1,"delta":{"content":"b"}},{"index":0,"delta":{"content":"a"}}]}"#,
                "a|",
            ),
            (r#"{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}"#, "|"),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"go",
                    "arguments":{"x":1}}}]},"finish_reason":"stop"}]}"#,
                "| go({\"x\":1}) [stop]",
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":-1,"id":"","function":
                    {"name":"go","arguments":null}}]}}]}"#,
                "| go()",
            ),
            (
                r#"{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}"#,
                "whole| [stop]",
            ),
            (r#"{"choices":[{"delta":{"content":"a"},"message":{"content":"sofar a"}}]}"#, "a|"),
            // Perplexity's responses without streaming have an empty delta beside the message.
            (r#"{"choices":[{"delta":{"content":""},"message":{"content":"whole"}}]}"#, "whole|"),
            (r#"{"choices":[{"text":"a","index":0,"finish_reason":"stop"}]}"#, "a| [stop]"),
            (r#"{"choices":[{"delta":{"content":"a"},"text":"b"}]}"#, "a|"),
            (r#"{"choices":[{"delta":{"content":{"a":[1, 2]}}}]}"#, "{\"a\":[1, 2]}|"),
            (
                r#"{"choices":[{"delta":{"audio":{"id":"x","transcript":"Sure","data":"AA"}}}]}"#,
                "Sure|",
            ),
            (
                r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"a"},
                    {"type":"reasoning.summary","summary":"b"}]}}]}"#,
                "|ab",
            ),
            (
                r#"{"choices":[{"delta":{"reasoning":"a","reasoning_details":[{"text":"a"}]}}]}"#,
                "|a",
            ),
            // Half of a surrogate pair does not destroy the text around it.
            (r#"{"choices":[{"delta":{"reasoning_content":"I think \ud83d"}}]}"#, "|I think "),
            (
                r#"{"choices":[{"delta":{"reasoning_details":[{"text":"I think \ud83d"}]}}]}"#,
                "|I think ",
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"go\ud83d","arguments":"{}"}}]}}]}"#,
                "| go\u{fffd}({})",
            ),
            (r#"{"choices":[{"delta":{"content":"first","content":"second"}}]}"#, "second|"),
            ("null", "|"),
            ("[]", "|"),
        ] {
            assert_eq!(seen(event), expected, "{event}");
        }
        assert!(
            ChatCompletionsDecoder::default()
                .decode(&Event { name: "", data: "{\"choices\":" }, &mut ChunkBuilder::new(9, 9999))
                .is_err()
        );
    }

    #[test]
    fn a_refusal_goes_back_as_one() {
        let events = [
            r#"{"choices":[{"delta":{"refusal":"I ca"}}]}"#,
            r#"{"choices":[{"delta":{"refusal":"n't."},"finish_reason":"stop"}]}"#,
        ];
        let answer = Message::from(folded(&events).0);
        assert_eq!(answer.content, "I can't.");
        let sent = |answer: &Message| {
            let config = GenerationConfig::new("m");
            said(std::slice::from_ref(answer), &config, LlmProvider::Local)["messages"][0].take()
        };
        let refused = json!({"role": "assistant", "content": null, "refusal": "I can't."});
        assert_eq!(sent(&answer), refused);
        let other = Message { content: "Well.".into(), ..answer };
        assert_eq!(sent(&other), json!({"role": "assistant", "content": "Well."}));
        // A refusal with other text beside it is sent back as one content.
        let more = r#"{"choices":[{"delta":{"content":" Sorry."}}]}"#;
        let both = Message::from(folded(&[events[0], more]).0);
        assert_eq!(sent(&both), json!({"role": "assistant", "content": "I ca Sorry."}));
    }

    #[test]
    fn reasoning_goes_back_beside_the_calls_that_it_has_led_to() {
        let delta = |delta: Value| json!({"choices": [{"delta": delta}]}).to_string();
        let detail =
            |detail: Value| delta(json!({"reasoning": "R", "reasoning_details": [detail]}));
        let call =
            delta(json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "go"}}]}));
        let stop = r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned();
        let again = |events: &[String]| {
            let events: Vec<_> = events.iter().map(String::as_str).collect();
            let answer = Message::from(folded(&events).0);
            said(&[answer], &GenerationConfig::new("m"), LlmProvider::Local)["messages"][0].take()
        };
        let assistant = |fields: Value| {
            let call = json!({"id": "c", "type": "function", "function": {"name": "go", "arguments": "{}"}});
            let mut message = json!({"role": "assistant", "content": "", "tool_calls": [call]});
            message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            message
        };

        let thought = |text: &str| delta(json!({"reasoning_content": text, "reasoning": text}));
        assert_eq!(
            again(&[thought("H"), thought("m"), call.clone(), stop.clone()]),
            assistant(json!({"reasoning_content": "Hm"}))
        );
        assert_eq!(
            again(&[
                detail(
                    json!({"type": "reasoning.text", "index": 0, "text": "A", "signature": "", "format": "f"})
                ),
                detail(
                    json!({"type": "reasoning.text", "index": 0, "text": "B", "signature": null})
                ),
                detail(json!({"type": "reasoning.text", "index": 0, "text": "", "signature": "s"})),
                detail(json!({"type": "reasoning.text", "index": 1, "text": "C"})),
                call.clone(),
                detail(json!({"type": "reasoning.encrypted", "index": 2, "data": "x"})),
                detail(json!({"type": "reasoning.encrypted", "index": 2, "data": "y"})),
                stop.clone(),
            ]),
            assistant(json!({"reasoning_details": [
                {"type": "reasoning.text", "index": 0, "text": "AB", "signature": "s", "format": "f"},
                {"type": "reasoning.text", "index": 1, "text": "C"},
                {"type": "reasoning.encrypted", "index": 2, "data": "x"},
                {"type": "reasoning.encrypted", "index": 2, "data": "y"},
            ]}))
        );
        let answer = delta(json!({"content": "Yes."}));
        assert_eq!(
            again(&[thought("Hm"), answer.clone(), stop.clone()]),
            json!({"role": "assistant", "content": "Yes."})
        );
        let detail = detail(json!({"type": "reasoning.text", "text": "Hm", "signature": "s"}));
        assert_eq!(again(&[detail, answer, stop]), json!({"role": "assistant", "content": "Yes."}));
    }

    /// Returns the response of a whole stream, and the failure that it reports.
    fn folded(events: &[&str]) -> (GenerationResponse, Option<String>) {
        testing::decoded(Protocol::ChatCompletions, events)
    }

    #[test]
    fn a_whole_at_the_end_is_told_only_as_far_as_no_delta_has_told_it() {
        let call = r#"{"id":"c","function":{"name":"go","arguments":"{}"}}"#;
        let thought = r#"{"choices":[{"delta":{"reasoning_content":"Hm"}}]}"#;
        let text = r#"{"choices":[{"delta":{"content":"Hi"}}]}"#;
        let calls = format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{call}]}}}}]}}"#);
        let whole = format!(
            r#"{{"model":"m","choices":[{{"finish_reason":"stop","message":{{"content":"Hi",
                "reasoning_content":"Hm","tool_calls":[{call}]}}}}],"usage":{{"total_tokens":3}}}}"#
        );
        for deltas in [&[thought, text, &calls][..], &[thought, text], &[thought], &[text], &[]] {
            let events: Vec<_> = deltas.iter().copied().chain([&*whole]).collect();
            let (response, failure) = folded(&events);
            assert_eq!((&*response.content, &*response.reasoning), ("Hi", "Hm"), "{deltas:?}");
            assert_eq!(response.tool_calls, [ToolCall::new("c", "go", "{}")], "{deltas:?}");
            assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
            assert!(response.usage.is_some() && response.model.is_some() && failure.is_none());
        }
    }

    #[test]
    fn arguments_that_come_only_in_the_whole_are_not_lost() {
        let calls = |calls: &str, place: &str| {
            format!(r#"{{"choices":[{{"{place}":{{"tool_calls":[{calls}]}}}}]}}"#)
        };
        let call = |arguments: &str| {
            format!(
                r#"{{"index":0,"id":"c","function":{{"name":"go","arguments":"{arguments}"}}}}"#
            )
        };
        let other = r#"{"index":1,"id":"d","function":{"name":"look","arguments":"{}"}}"#;
        let whole = calls(&format!("{},{other}", call(r#"{\"x\":1}"#)), "message");
        for told in ["", r#"{\"x"#, r#"{\"x\": 1}"#] {
            let (response, _) = folded(&[&calls(&call(told), "delta"), &whole]);
            let all: Vec<_> = response
                .tool_calls
                .iter()
                .map(|call| (&*call.id, call.parse::<Value>().unwrap()))
                .collect();
            assert_eq!(all, [("c", json!({"x": 1})), ("d", json!({}))], "{told}");
        }
        let mut out = decode(&[&calls(&call("{1"), "delta"), &whole]);
        assert!(std::mem::take(&mut out.seen.gap));
        // Writer's message beside a delta is the same piece again.
        let piece = calls(&call(r#"{\"x"#), "delta");
        let piece = piece.replace(r#""delta""#, r#""message":{"tool_calls":null},"delta""#);
        assert!(!decode(&[&piece]).seen.gap);
        // Some servers send pieces of `message` and no deltas.
        let [hel, lo] = ["Hel", "lo"]
            .map(|text| format!(r#"{{"choices":[{{"message":{{"content":"{text}"}}}}]}}"#));
        assert_eq!(folded(&[&hel, &lo]).0.content, "Hello");
    }

    #[test]
    fn a_function_call_of_old_is_a_call() {
        let delta =
            |call: &str| format!(r#"{{"choices":[{{"delta":{{"function_call":{call}}}}}]}}"#);
        let first = delta(r#"{"name":"go","arguments":""}"#);
        let (response, _) = folded(&[
            &first,
            &delta(r#"{"name":"go","arguments":"{\"x\":"}"#),
            &delta(r#"{"arguments":"1}"}"#),
            r#"{"choices":[{"delta":{},"finish_reason":"function_call"}]}"#,
        ]);
        let [call] = &*response.tool_calls else { panic!("{response:?}") };
        assert_eq!((&*call.name, &*call.arguments), ("go", r#"{"x":1}"#));
        assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
        let both = r#"{"choices":[{"delta":{"function_call":{"name":"go","arguments":"{}"},
            "tool_calls":[{"id":"c","function":{"name":"go","arguments":"{}"}}]}}]}"#;
        assert_eq!(folded(&[both]).0.tool_calls.len(), 1);
        let empty = r#"{"choices":[{"delta":{"function_call":{"name":"go","arguments":"{}"},"tool_calls":[]}}]}"#;
        assert_eq!(folded(&[empty]).0.tool_calls.len(), 1);
        for nothing in [
            r#"{"choices":[{"delta":{"content":"Hi","function_call":{"name":"","arguments":""}}}]}"#,
            r#"{"choices":[{"delta":{"content":"Hi","tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":""}}]}}]}"#,
        ] {
            assert_eq!(folded(&[nothing]).0.tool_calls.len(), 0, "{nothing}");
        }
    }

    #[test]
    fn how_answers_end_at_each_vendor() {
        use FinishReason::{ContentFilter, Length, Other, Stop, ToolCalls};
        for (words, reason, fails) in [
            (r#""finish_reason":"stop""#, Stop, false),
            (r#""finish_reason":"eos""#, Stop, false),
            (r#""finish_reason":"length""#, Length, false),
            (r#""finish_reason":"model_context_window_exceeded""#, Length, false),
            (r#""finish_reason":"sensitive""#, ContentFilter, false),
            (r#""finish_reason":"network_error""#, Other, true),
            (r#""finish_reason":"error""#, Other, true),
            (
                r#""finish_reason":"tool_calls","native_finish_reason":"max_output_tokens""#,
                Length,
                false,
            ),
            (
                r#""finish_reason":"tool_calls","native_finish_reason":"completed""#,
                ToolCalls,
                false,
            ),
            (r#""finish_reason":"stop","native_finish_reason":"network_error""#, Stop, true),
        ] {
            let event = format!(r#"{{"choices":[{{"delta":{{}},{words}}}]}}"#);
            let (response, failure) = folded(&[&event]);
            assert_eq!(
                (response.finish_reason, failure.is_some()),
                (Some(reason), fails),
                "{words}"
            );
        }
        // After text, a failure that only the native reason reports is ignored.
        let said = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop","native_finish_reason":"error"}]}"#;
        assert_eq!(folded(&[said]).1, None);
    }

    #[test]
    fn a_schema_is_rewritten_only_for_those_who_take_no_other() {
        use LlmProvider::{Cerebras, Groq, Local, Mistral, OpenAi, OpenRouter};
        let text = json!({"type": "string"});
        let maybe = json!({"type": ["string", "null"]});
        let schema = json!({"type": "object", "properties": {"a": maybe}});
        let strict = json!({"type": "object", "properties": {"a": maybe}, "required": ["a"],
            "additionalProperties": false});
        let loose = json!({"type": "object", "properties": {"a": text}});
        for (provider, model, schema, sent, is_strict) in [
            (OpenAi, "m", &schema, &strict, true),
            (Groq, "m", &schema, &strict, true),
            (Cerebras, "m", &schema, &strict, true),
            (OpenAi, "m", &loose, &loose, false),
            (OpenRouter, "qwen/m", &schema, &schema, true),
            (OpenRouter, "openai/gpt-5", &schema, &strict, true),
            (OpenRouter, "openai/gpt-5", &loose, &loose, false),
            (Mistral, "m", &loose, &loose, true),
            (Local, "openai/m", &loose, &loose, true),
        ] {
            let format = ResponseFormat::json_schema("answer", schema.clone());
            let config = GenerationConfig::new(model).response_format(format);
            let body = added(config, provider);
            let told = json!({"name": "answer", "schema": sent, "strict": is_strict});
            let format = json!({"type": "json_schema", "json_schema": told});
            assert_eq!(body["response_format"], format, "{provider}");
            // Tools are strict only at OpenAI. A tool that is not strict has no field for it.
            let tool = Tool::function("look", "", schema.clone());
            let body = added(GenerationConfig::new("m").tools([tool]), provider);
            let expected = match (provider, is_strict) {
                (OpenAi, true) => json!({"name": "look", "parameters": strict, "strict": true}),
                _ => json!({"name": "look", "parameters": schema}),
            };
            assert_eq!(body["tools"][0]["function"], expected, "{provider}");
        }
        let tool = Tool::function("look", "", schema.clone());
        let tuned = added(GenerationConfig::new("ft:gpt-4o:org::id").tools([tool]), OpenAi);
        assert_eq!(
            tuned["tools"][0]["function"],
            json!({"name": "look", "parameters": schema}),
            "a fine-tuned model refuses words that others take"
        );
    }

    #[test]
    fn usage_wherever_it_comes() {
        let counts = |event: &str| {
            decode(&[event])
                .chunk
                .usage
                .map(|u| (u.prompt_tokens, u.completion_tokens, u.total_tokens, u.cached_tokens))
        };
        assert_eq!(counts(r#"{"choices":[],"usage":null}"#), None);
        assert_eq!(counts(r#"{"usage":{}}"#), None);
        assert_eq!(
            counts(
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,
                "prompt_tokens_details":{"cached_tokens":2}}}"#
            ),
            Some((3, 4, 7, Some(2)))
        );
        assert_eq!(
            counts(r#"{"x_groq":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#),
            Some((1, 2, 3, None))
        );
        assert_eq!(
            counts(r#"{"usage":{"prompt_tokens":-1,"completion_tokens":1e999}}"#),
            Some((0, u64::MAX, u64::MAX, None))
        );
        assert_eq!(
            counts(r#"{"usage":{"prompt_tokens":9,"prompt_cache_hit_tokens":4}}"#),
            Some((9, 0, 9, Some(4)))
        );
        assert_eq!(
            counts(r#"{"choices":[{"delta":{},"usage":{"prompt_tokens":9,"cached_tokens":4}}]}"#),
            Some((9, 0, 9, Some(4)))
        );
        let reasoned = |usage: &str| {
            let usage = decode(&[&format!(r#"{{"usage":{{{usage}}}}}"#)]).chunk.usage.unwrap();
            (usage.completion_tokens, usage.total_tokens, usage.reasoning_tokens)
        };
        // Only xAI leaves the reasoning out of the completion tokens.
        let details = r#""completion_tokens_details":{"reasoning_tokens":5}"#;
        let counts = r#""prompt_tokens":3,"completion_tokens":7,"total_tokens""#;
        assert_eq!(reasoned(&format!("{counts}:15,{details}")), (12, 15, Some(5)));
        assert_eq!(reasoned(&format!("{counts}:10,{details}")), (7, 10, Some(5)));
        assert_eq!(reasoned(&format!(r#"{counts}:10,"reasoning_tokens":5"#)), (7, 10, Some(5)));
    }

    #[test]
    fn an_error_in_any_shape() {
        let failure = |event: &str| decode(&[event]).failure;
        for none in [
            r#"{"error":null}"#,
            r#"{"error":""}"#,
            r#"{"error":{}}"#,
            "{}",
            r#"{"code":0,"message":"ok"}"#,
            r#"{"code":"x","message":"no","choices":[]}"#,
            r#"{"base_resp":{"status_code":0,"status_msg":""}}"#,
            r#"{"error":false,"choices":[]}"#,
            r#"{"error":[],"choices":[]}"#,
        ] {
            assert_eq!(failure(none), None, "{none}");
        }
        for told in [
            r#"{"error":"no"}"#,
            r#"{"error":{"message":"no","code":500}}"#,
            r#"{"error":{"message":"no"},"choices":[]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"error"}],"error":{"code":"x","message":"no"}}"#,
            r#"{"choices":[{"delta":{},"error":{"code":502,"message":"no"}}]}"#,
            r#"{"request_id":"r","code":"Throttling","message":"no"}"#,
            r#"{"object":"error","message":"no","type":"BadRequestError","param":null,"code":400}"#,
            r#"{"choices":null,"base_resp":{"status_code":1008,"status_msg":"no"}}"#,
            r#"{"choices":[{"finish_reason":"stop"}],"base_resp":{"status_code":1027,"status_msg":"no"}}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"base_resp":{"status_code":1027,"status_msg":"no"}}"#,
        ] {
            assert_eq!(failure(told).as_deref(), Some(told));
        }
        let out = decode(&[
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"insufficient_system_resource"}]}"#,
        ]);
        assert_eq!(out.chunk.content, "a");
        assert!(out.failure.unwrap().contains("insufficient_system_resource"));
    }
}
