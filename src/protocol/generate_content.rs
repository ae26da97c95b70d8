//! Encodes and decodes Google Gemini's `streamGenerateContent`.
//!
//! <https://ai.google.dev/api/generate-content>

use serde_json::{Map, Value, json};

use super::builder::ChunkBuilder;
use super::chat_request::ChatRequest;
use super::cited::{Cited, Unit};
use super::codec::{Codec, Decoder};
use super::common::{self, is_in, list_in, object, text_in};
use super::options::{Fields, Options};
use super::wire::{First, Raw, wire};
use super::{hosted, json, logprobs};
use crate::attachment::Attachment;
use crate::chunk::{FinishReason, Usage};
use crate::config::ResponseFormat;
use crate::error::Error;
use crate::message::{Message, MessageRole, TurnPart};
use crate::model::begins_like;
use crate::provider::{LlmProvider, Protocol, ReasoningForm, reasoning_form};
use crate::source::{Citation, Source};
use crate::sse::Event;
use crate::tool::ToolChoice;

pub(super) const CODEC: Codec = Codec {
    // Without this query, the response is one long JSON array.
    query: "alt=sse",
    auth: ("x-goog-api-key", ""),
    ..Codec::new::<GenerateContentDecoder>("models/{model}:streamGenerateContent", body)
};

/// Gemini 2.5 takes a budget of tokens and rejects levels. Later models take levels, and still
/// accept a budget, but their reasoning cannot be switched off.
const REASONING: &[(&str, ReasoningForm)] = &[("gemini-1. gemini-2.", BUDGETS), ("", LEVELS)];
const BUDGET: &str = r#"{"includeThoughts":true,"thinkingBudget":$budget}"#;
const BUDGETS: ReasoningForm = reasoning_form(r#"{"thinkingBudget":0}"#, BUDGET, BUDGET);
const LEVELS: ReasoningForm = ReasoningForm {
    off: r#"{"thinkingLevel":"minimal"}"#,
    off_means: Some(("minimal", "this model cannot turn thinking off")),
    level: r#"{"includeThoughts":true,"thinkingLevel":"$level"}"#,
    budget: BUDGET,
    words: "xhigh=high max=high",
};

fn body(request: ChatRequest<'_>) -> Result<Map<String, Value>, Error> {
    let (mut options, mut body) = (Options::of(request), Fields::default());
    let (system, contents) = contents(request)?;
    let parts: Vec<_> = system.into_iter().map(|text| json!({"text": text})).collect();
    body.put("systemInstruction", (!parts.is_empty()).then(|| json!({"parts": parts})));
    body.put("contents", contents);
    // For new projects, Google stores requests by default. Vertex and proxies may reject the field.
    body.put("store", (request.owner == Some(LlmProvider::Google)).then_some(false));

    let mut generation = Fields::default();
    options.move_into(
        "temperature top_p=topP top_k=topK max_tokens=maxOutputTokens stop=stopSequences seed \
         frequency_penalty=frequencyPenalty presence_penalty=presencePenalty",
        &mut generation,
    );
    if let Some(alternatives) = options.take("logprobs") {
        generation.put("responseLogprobs", true);
        generation.put("logprobs", alternatives);
    }
    if let Some(format) = options.typed("response_format", &request.config.response_format) {
        generation.put("responseMimeType", "application/json");
        if let ResponseFormat::JsonSchema { schema, .. } = format {
            generation.put("responseJsonSchema", schema.clone());
        }
    }
    generation.put("thinkingConfig", common::reasoning(&mut options, name(request), REASONING)?);
    body.put("generationConfig", generation.0);
    // `parameters` takes only Google's own dialect, which rejects most of JSON Schema.
    let [functions, mut tools] =
        options.tools(&mut body, |tool| common::function(tool, "parametersJsonSchema"))?;
    let mut config = Fields::default();
    if !functions.is_empty() {
        // Google requires this for functions beside hosted tools:
        // <https://ai.google.dev/gemini-api/docs/tool-combination>
        let is_mixed = (!tools.is_empty()).then_some(true);
        config.put("includeServerSideToolInvocations", is_mixed);
        tools.insert(0, json!({"functionDeclarations": functions}));
    }
    body.put("tools", (!tools.is_empty()).then_some(tools));
    let choice = options.typed("tool_choice", &request.config.tool_choice);
    config.put("functionCallingConfig", choice.map(calling));
    body.put("toolConfig", config.0);
    options.finish(body)
}

fn calling(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Tool(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    }
}

/// Returns the system texts and the conversation.
fn contents(request: ChatRequest<'_>) -> Result<(Vec<String>, Value), Error> {
    let beside = "parts of `systemInstruction`";
    let last_question = request.messages.iter().rposition(|it| it.role == MessageRole::User);
    let (system, turns) =
        common::turns(request, "model", beside, false, |at, message| match message.role {
            MessageRole::Assistant => {
                let mut parts = model(request, message);
                let is_signed = !begins_like(name(request), "gemini-1. gemini-2. gemma");
                if is_signed && last_question < Some(at) {
                    sign(request, at, &mut parts);
                }
                Ok(parts)
            }
            MessageRole::Tool => Ok(vec![result(request, at, message)?]),
            MessageRole::System | MessageRole::User => {
                let says = !message.content.is_empty() || message.attachments.is_empty();
                let text = says.then(|| json!({"text": message.content}));
                Ok(text.into_iter().chain(message.attachments.iter().map(image)).collect())
            }
        })?;
    let turns = turns.into_iter().map(|(role, parts)| json!({"role": role, "parts": parts}));
    Ok((system, turns.collect()))
}

fn image(image: &Attachment) -> Value {
    match image.base64() {
        Some(data) => json!({"inlineData": {"mimeType": image.media_type, "data": data}}),
        None => json!({"fileData": {"mimeType": image.media_type, "fileUri": image.to_url()}}),
    }
}

fn model(request: ChatRequest<'_>, message: &Message) -> Vec<Value> {
    let mut calls = 0..;
    let turn = message.turn(Protocol::GenerateContent).into_iter();
    let parts = turn.map(|said| {
        let (name, value, extra) = match said {
            TurnPart::Opaque(part) => return part.clone(),
            TurnPart::Text(text, extra) => ("text", json!(text), extra),
            TurnPart::Call(call, extra) => {
                let call = object([
                    ("id", call.given_id(calls.next().unwrap_or_default()).map(Value::from)),
                    ("name", Some(json!(call.name))),
                    ("args", Some(request.arguments(call))),
                ]);
                ("functionCall", call, extra)
            }
        };
        let mut part = extra.and_then(Value::as_object).cloned().unwrap_or_default();
        let value = common::with(value, part.get(name));
        part.insert(name.to_owned(), value);
        part.into()
    });
    parts.collect()
}

/// Adds a signature to the first call of a message, if it has none. Since Gemini 3, each assistant
/// message after the last user message requires one. Calls of other models get the value that
/// Google documents for them. (<https://ai.google.dev/gemini-api/docs/thought-signatures#faqs>)
fn sign(request: ChatRequest<'_>, at: usize, parts: &mut [Value]) {
    let mut parts = parts.iter_mut().filter_map(Value::as_object_mut);
    let Some(call) = parts.find(|part| part.contains_key("functionCall")) else { return };
    if !call.contains_key("thoughtSignature") {
        let (what, sent) = (format!("messages[{at}]"), "skip_thought_signature_validator");
        let why = "Gemini requires one on the first call of each message after the last question";
        request.adapt(&what, "a tool call without `thoughtSignature`", sent, why);
        call.insert("thoughtSignature".to_owned(), sent.into());
    }
}

/// Returns the model name without its path.
fn name(request: ChatRequest<'_>) -> &str {
    request.model.rsplit('/').next().unwrap_or_default()
}

/// Encodes a tool result. Gemini requires an object, and the tool's name, which only the call has.
fn result(request: ChatRequest<'_>, at: usize, message: &Message) -> Result<Value, Error> {
    let id = request.call_id(message)?;
    let earlier = request.messages.iter().take(at).rev();
    let mut calls = earlier.flat_map(|earlier| earlier.tool_calls.iter().enumerate());
    let (index, call) = calls.find(|(_, call)| call.id == id).ok_or_else(|| {
        request.refuse(format!("no message before the result of tool call {id:?} has that call"))
    })?;
    let told = serde_json::from_str(&message.content).ok().filter(Value::is_object);
    // Gemini reads `$ref` as the name of a file. (https://github.com/vercel/ai/issues/14369)
    let told = told.filter(|_| !message.is_error && !message.content.contains(r#""$ref""#));
    let name = if message.is_error { "error" } else { "output" };
    let response = told.unwrap_or_else(|| json!({ name: message.content }));
    let response = object([
        ("id", call.given_id(index).map(Value::from)),
        ("name", Some(json!(call.name))),
        ("response", Some(response)),
    ]);
    Ok(json!({"functionResponse": response}))
}

wire! {
    struct GeminiEvent {
        candidates: First<GeminiCandidate<'a>>, feedback = "promptFeedback": PromptFeedback<'a>,
        model = "modelVersion", usage = "usageMetadata": GeminiUsage<'a>, error, id = "responseId",
    }
    struct GeminiCandidate by index {
        index, content: GeminiContent<'a>, finish_reason = "finishReason",
        finish_message = "finishMessage", grounding = "groundingMetadata",
        pages = "urlContextMetadata", citations = "citationMetadata", logprobs = "logprobsResult",
    }
    struct Grounding {
        chunks = "groundingChunks", supports = "groundingSupports", queries = "webSearchQueries",
    }
    struct GroundingChunk { web, retrieved = "retrievedContext", maps }
    struct GroundingSupport { place = "segment", chunks = "groundingChunkIndices" }
    struct UrlContext { pages = "urlMetadata" }
    struct UrlPage { url = "retrievedUrl", status = "urlRetrievalStatus" }
    struct GeminiCitations {
        citations,
        /// Google's own API has this name, and Vertex the other.
        sources = "citationSources",
    }
    struct GeminiFile { media_type = "mimeType", data, uri = "fileUri" }
    struct GeminiContent { parts }
    struct GeminiPart {
        text, thought, signature = "thoughtSignature", call = "functionCall",
        picture = "inlineData", file = "fileData",
        /// The calls of Gemini's own tools, and their results.
        code = "executableCode",
        code_result = "codeExecutionResult", own_call = "toolCall", own_response = "toolResponse",
    }
    struct GeminiCall {
        id, name, args, partial_args = "partialArgs", will_continue = "willContinue",
    }
    /// An argument, or a piece of a string argument.
    struct PartialArg {
        path = "jsonPath", string = "stringValue", number = "numberValue", boolean = "boolValue",
        will_continue = "willContinue",
    }
    struct PromptFeedback { block_reason = "blockReason" }
    struct GeminiUsage {
        prompt = "promptTokenCount", tool_use = "toolUsePromptTokenCount",
        candidates = "candidatesTokenCount", thoughts = "thoughtsTokenCount",
        cached = "cachedContentTokenCount", total = "totalTokenCount", tier = "serviceTier",
    }
}

#[derive(Default)]
struct GenerateContentDecoder {
    /// The arguments of the call that has begun, but not ended.
    arguments: Option<ArgumentsInPieces>,
    /// The pages and documents that a search has found, each with a citation of it.
    found: Vec<Source>,
}

impl Decoder for GenerateContentDecoder {
    fn decode(&mut self, event: &Event<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()> {
        let GeminiEvent { candidates, feedback, model, usage, error, id } = json::read(event.data)?;
        let First { one: candidate, is_list } = candidates;
        out.told_first(|facts| &mut facts.id, id);
        out.service_tier(usage.tier);
        let usage = tokens(&usage);
        out.seen.understood |= is_list || usage.is_some();
        out.model(model);
        for part in candidate.content.parts.elements() {
            self.decode_part(part, out)?;
        }
        let rare = [candidate.grounding, candidate.pages, candidate.citations, candidate.logprobs];
        if rare.iter().any(|field| field.is_some()) {
            self.sources(&candidate, out);
            logprobs::read(candidate.logprobs, out);
        }
        if let Some(word) = candidate.finish_reason.str() {
            let reason = finish_reason(&word);
            out.finish(reason, &word);
            if reason == FinishReason::Other && is_in(FAILED, &word) {
                let message = candidate.finish_message.str();
                let message = message.unwrap_or_else(|| "the model's output is broken".into());
                out.fail(&json!({"error": {"status": word, "message": message}}).to_string());
            }
        } else if let Some(word) = feedback.block_reason.str() {
            // A blocked prompt has no candidate.
            out.finish(FinishReason::ContentFilter, &word);
        }
        out.usage(usage);
        if error.is_error() {
            out.fail(event.data);
        }
        Ok(())
    }
}

impl GenerateContentDecoder {
    fn decode_part<'a>(
        &mut self,
        (part, json): (GeminiPart<'a>, Raw<'a>),
        out: &mut ChunkBuilder,
    ) -> serde_json::Result<()> {
        let GeminiPart { text, thought, signature, call, .. } = part;
        let is_thought = thought.json() == "true";
        if call.is_some() || (text.is_some() && !is_thought) {
            // Gemini requires the extra fields of a text or a call, such as a signature, back in
            // the same place. A part that has some must not be joined with a part that has none.
            let known = [
                ("text", text),
                ("thought", thought),
                ("functionCall", call),
                ("thoughtSignature", signature),
            ];
            let mut extra = out.others(json, &known);
            if signature.is_some() {
                out.keep_field(&mut extra, "thoughtSignature", signature);
            }
            if call.is_some() {
                self.decode_call(call, out)?;
                let known = ["id", "name", "args", "partialArgs", "willContinue"];
                let of_call = out.others(call, &known.map(|name| (name, Raw::default())));
                if !of_call.is_empty() {
                    out.count_kept(640);
                    extra.insert("functionCall".to_owned(), of_call.into());
                }
            } else {
                if !extra.is_empty() {
                    out.new_text();
                }
                out.text(text);
            }
            out.extra(extra);
        } else {
            out.reasoning(text);
            // Gemini also requires other parts back: the code that it ran, its pictures, and its
            // signed thoughts.
            if signature.is_some() || !is_thought {
                let part = out.keep(json);
                if part.is_object() && part != json!({}) {
                    out.opaque(part);
                }
            }
        }
        let own = [part.code, part.code_result, part.own_call, part.own_response];
        if own.iter().any(|field| field.is_some()) {
            out.note_provider_tool();
            Self::own_tool(&part, out);
        }
        if part.picture.is_some() && !is_thought {
            let GeminiFile { media_type, data, .. } = part.picture.parse();
            let [media_type, data] = [media_type, data].map(|it| it.str().unwrap_or_default());
            out.attach(Attachment::from_base64(media_type, data));
        } else if part.file.is_some() && !is_thought {
            let GeminiFile { media_type, uri, .. } = part.file.parse();
            let mut file = Attachment::url(uri.str().unwrap_or_default());
            file.media_type = media_type.str().map(String::from).or(file.media_type);
            out.attach(file);
        }
        Ok(())
    }

    /// Reports a tool of Gemini's own: code that it runs, or another tool.
    fn own_tool(part: &GeminiPart<'_>, out: &mut ChunkBuilder) {
        let (call, result) = (part.code.or(part.own_call), part.code_result.or(part.own_response));
        let is_code = part.code.or(part.code_result).is_some();
        let name = |tool: &Value| match is_code {
            true => "code_execution".to_owned(),
            false => text_in(tool, "toolType").to_ascii_lowercase(),
        };
        if call.is_some() {
            let call = out.keep(call);
            let input = hosted::text_of(call.get("code").or(call.get("args")).unwrap_or_default());
            for query in list_in(call.get("args").unwrap_or_default(), "queries") {
                out.is_new([&query.to_string()]); // Gemini lists the queries later, too.
            }
            out.tool_started(text_in(&call, "id"), &name(&call), input);
        }
        if result.is_some() {
            let result = out.keep(result);
            let output = result.get("output").or(result.get("response")).unwrap_or_default();
            let (output, outcome) = (hosted::text_of(output), text_in(&result, "outcome"));
            let has_failed = !matches!(outcome, "" | "OUTCOME_OK");
            out.tool_finished(text_in(&result, "id"), &name(&result), output, has_failed);
        }
    }

    /// Reports the pages that a search has found, the places that cite them, and the queries.
    fn sources(&mut self, told: &GeminiCandidate<'_>, out: &mut ChunkBuilder) {
        let grounding: Grounding<'_> = told.grounding.parse();
        for query in grounding.queries.elements::<Raw<'_>>() {
            if out.is_new([query.json()]) {
                out.tool_started("", "google_search", hosted::text_of(&Raw::value(query)));
                out.tool_finished("", "google_search", String::new(), false);
            }
        }
        // The places may come in a later event than the pages.
        let has_pages = grounding.chunks.is_some() && out.is_new([grounding.chunks.json()]);
        if has_pages {
            let found = grounding.chunks.elements().map(|chunk: GroundingChunk<'_>| {
                let page: Cited<'_> = chunk.web.or(chunk.retrieved).or(chunk.maps).parse();
                let citations = vec![Citation { quote: page.quote(), span: None }];
                Source { citations, ..page.source() }
            });
            let found = found.take_while(|it| out.has_room(2 * (size_of::<Source>() + it.bytes())));
            self.found = found.collect();
        }
        for GroundingSupport { place, chunks } in grounding.supports.elements() {
            for number in chunks.elements::<Raw<'_>>() {
                let at = number.u64().and_then(|at| usize::try_from(at).ok());
                let source = at.and_then(|at| self.found.get(at));
                if let Some(source) = source.filter(|_| out.is_new([place.json(), number.json()])) {
                    let place = place.parse::<Cited<'_>>().place(0, Unit::Bytes);
                    out.source(source.clone(), place);
                }
            }
        }
        for source in self.found.iter().filter(|_| has_pages) {
            out.source(Source { citations: Vec::new(), ..source.clone() }, None);
        }
        let GeminiCitations { citations, sources } = told.citations.parse();
        for (cited, json) in citations.or(sources).elements::<(Cited<'_>, Raw<'_>)>() {
            if out.is_new([json.json()]) {
                out.cite(cited.source(), String::new(), cited.place(0, Unit::Bytes));
            }
        }
        for UrlPage { url, status } in told.pages.parse::<UrlContext<'_>>().pages.elements() {
            let is_read = status.str().is_none_or(|status| status.ends_with("SUCCESS"));
            if is_read && out.is_new([url.json()]) {
                out.source(Cited::page(url).source(), None);
            }
        }
    }

    /// Decodes a call. Usually it comes whole, and has no `args` if there are no arguments. On
    /// request, Vertex sends it in pieces: the name, the arguments one by one, and an empty call at
    /// the end.
    fn decode_call(&mut self, call: Raw<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()> {
        let GeminiCall { id, name, args, partial_args, will_continue } = call.parse();
        let mut text = String::new();
        if name.is_some() || args.is_some() {
            self.arguments = None;
            let at = out.new_call(None, id, name, args);
            let Some(at) = at.filter(|_| !args.is_some()) else { return Ok(()) };
            // With this brace, truncated arguments are invalid JSON, not a call without arguments.
            text.push('{');
            self.arguments = Some(ArgumentsInPieces { at, ..ArgumentsInPieces::default() });
        }
        let Some(arguments) = &mut self.arguments else {
            // The call of this piece was never announced, or has ended.
            out.seen.gap |= partial_args.is_some();
            return Ok(());
        };
        for argument in partial_args.elements() {
            arguments.write(&argument, &mut text)?;
        }
        let at = arguments.at;
        if will_continue.json() != "true" {
            arguments.go_to(Vec::new(), &mut text);
            text.push('}');
            self.arguments = None;
        }
        out.plain_arguments(at, text);
        Ok(())
    }
}

/// Builds JSON text from arguments that come one by one, each with its path. They come in the order
/// of that text, so two consecutive paths show what has to be closed and opened between them.
#[derive(Default)]
struct ArgumentsInPieces {
    /// The index of the call in the response.
    at: usize,
    /// The path of the latest value: names (as JSON strings) and indices.
    path: Vec<String>,
    /// The latest value is a string, which may grow.
    in_string: bool,
}

impl ArgumentsInPieces {
    fn write(&mut self, argument: &PartialArg<'_>, text: &mut String) -> serde_json::Result<()> {
        let path = steps(&argument.path.str().unwrap_or_default())?;
        let grows = self.in_string && path == self.path;
        let value = argument.string.or(argument.number).or(argument.boolean);
        if let Some(literal) = argument.string.literal() {
            if !grows {
                self.go_to(path, text);
                text.push('"');
            }
            self.in_string = true;
            text.push_str(literal);
        } else if !grows && (value.is_some() || argument.will_continue.json() != "true") {
            self.go_to(path, text);
            // `nullValue` is not read: an argument without any other value is null.
            text.push_str(if value.is_some() { value.json() } else { "null" });
        }
        Ok(())
    }

    /// Closes the objects and lists that the next path leaves, and opens those that it enters.
    fn go_to(&mut self, path: Vec<String>, text: &mut String) {
        if std::mem::take(&mut self.in_string) {
            text.push('"');
        }
        let shared = self.path.iter().zip(&path).take_while(|(old, new)| old == new).count();
        // The object or list in which the two paths differ stays open. Deeper ones are closed.
        let left = self.path.iter().skip(shared + 1).rev();
        text.extend(left.map(|step| if is_name(step) { '}' } else { ']' }));
        if !self.path.is_empty() && !path.is_empty() {
            text.push(',');
        }
        for (depth, step) in path.iter().enumerate().skip(shared) {
            if depth > shared {
                text.push(if is_name(step) { '{' } else { '[' });
            }
            if is_name(step) {
                text.push_str(step);
                text.push(':');
            }
        }
        self.path = path;
    }
}

/// Returns whether a step leads into an object, not into a list.
fn is_name(step: &str) -> bool {
    step.starts_with('"')
}

/// The depth that serde_json reads. The limit keeps a short event from becoming a large text.
const MAX_DEPTH: usize = 128;

/// Splits a path such as `$.a.b[0]` or `$['a b']` into its steps. This is the part of RFC 9535 that
/// names a single value.
fn steps(path: &str) -> serde_json::Result<Vec<String>> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if steps.len() == MAX_DEPTH {
            return Err(serde::de::Error::custom("the path of an argument is too deep"));
        }
        let step;
        (step, rest) = if let Some(inside) = rest.strip_prefix('[') {
            let end =
                if inside.starts_with(['\'', '"']) { ["']", "\"]"].as_slice() } else { &["]"] };
            let (inside, after) =
                end.iter().find_map(|end| inside.split_once(end)).unwrap_or((inside, ""));
            let step = match inside.parse::<u64>() {
                Ok(index) => index.to_string(),
                Err(_) => Value::from(inside.trim_matches(['\'', '"'])).to_string(),
            };
            (step, after)
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            (Value::from(name).to_string(), after)
        };
        steps.push(step);
    }
    Ok(steps)
}

const FILTERED: &str = "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII MODEL_ARMOR IMAGE_SAFETY \
                        IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION";
/// The finish reasons of a response that failed because of an error of the model or of Gemini.
const FAILED: &str = "MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE MISSING_THOUGHT_SIGNATURE \
                      TOO_MANY_TOOL_CALLS UNEXPECTED_TOOL_CALL";

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        // Gemini itself sends `STOP` here, but some compatible servers send this.
        "FUNCTION_CALL" => FinishReason::ToolCalls,
        word if is_in(FILTERED, word) => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Returns `None` if there are no counts, as in every chunk of Vertex but the last.
fn tokens(tokens: &GeminiUsage<'_>) -> Option<Usage> {
    let counts = [tokens.prompt, tokens.candidates, tokens.total].map(Raw::u64);
    let [prompt, candidates, total] = counts.map(Option::unwrap_or_default);
    let prompt = prompt.saturating_add(tokens.tool_use.u64().unwrap_or_default());
    let completion = candidates.saturating_add(tokens.thoughts.u64().unwrap_or_default());
    counts.iter().any(Option::is_some).then(|| Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: total,
        cached_tokens: tokens.cached.u64(),
        cache_write_tokens: None,
        reasoning_tokens: tokens.thoughts.u64(),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::config::{GenerationConfig, Reasoning};
    use crate::environment::Environment;
    use crate::message::{Prompt, ToolCall};
    use crate::protocol::{Adaptation, testing};
    use crate::response::GenerationResponse;
    use crate::tool::Tool;

    fn sent(prompt: impl Into<Prompt>, config: &GenerationConfig) -> Result<Value, String> {
        testing::sent(Protocol::GenerateContent, prompt, config)
    }

    fn decoded(events: &[&str]) -> (GenerationResponse, Option<String>) {
        testing::decoded(Protocol::GenerateContent, events)
    }

    /// Returns the adaptations of a request.
    fn told(messages: &[Message], config: &GenerationConfig) -> Vec<Adaptation> {
        let adaptations = RefCell::default();
        let (provider, model) = (LlmProvider::Google, &*config.model);
        body(ChatRequest {
            provider,
            protocol: Protocol::GenerateContent,
            model,
            messages,
            config,
            owner: None,
            adaptations: &adaptations,
        })
        .unwrap();
        adaptations.into_inner()
    }

    fn named(model: &str) -> GenerationConfig {
        GenerationConfig::new(model).environment(Environment::empty())
    }

    fn gemini() -> GenerationConfig {
        named("gemini-3-flash-preview")
    }

    #[test]
    fn a_conversation_is_put_into_turns_of_user_and_model() {
        let mut asking = Message::assistant("Let me look.");
        asking.tool_calls = vec![
            ToolCall::new("call_0", "look", r#"{"at": "sky"}"#),
            ToolCall::new("call_7", "time", ""),
        ];
        let mut again = Message::assistant("");
        again.tool_calls = vec![ToolCall::new("call_0", "ask", "{}")];
        let conversation = [
            Message::system("Be brief."),
            Message::user("What is it?")
                .attach(Attachment::bytes("image/png", b"foo"))
                .attach(Attachment::url("https://example.com/a.JPG?b.png")),
            Message::assistant(""),
            Message::user("").attach(Attachment::url("data:image/gif;base64,Zm9v")),
            Message::system("Be kind."),
            asking,
            Message::tool("call_7", "noon"),
            Message::tool("call_0", r#"{"colour": "blue"}"#),
            Message::user("Well?"),
            again,
            Message::tool("call_0", "[1]"),
            Message::tool("call_0", r##"{"of": [{"$ref": "#/a"}]}"##),
        ];
        let expected = json!({
            "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
            "contents": [
                {"role": "user", "parts": [
                    {"text": "What is it?"},
                    {"inlineData": {"mimeType": "image/png", "data": "Zm9v"}},
                    {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.JPG?b.png"}},
                    {"inlineData": {"mimeType": "image/gif", "data": "Zm9v"}},
                ]},
                {"role": "model", "parts": [
                    {"text": "Let me look."},
                    {"functionCall": {"name": "look", "args": {"at": "sky"}}},
                    {"functionCall": {"id": "call_7", "name": "time", "args": {}}},
                ]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "call_7", "name": "time", "response": {"output": "noon"}}},
                    {"functionResponse": {"name": "look", "response": {"colour": "blue"}}},
                    {"text": "Well?"},
                ]},
                {"role": "model", "parts": [{"functionCall": {"name": "ask", "args": {}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"name": "ask", "response": {"output": "[1]"}}},
                    {"functionResponse": {"name": "ask", "response": {"output": "{\"of\": [{\"$ref\": \"#/a\"}]}"}}},
                ]},
            ],
        });
        let older = named("gemini-2.5-flash");
        assert_eq!(sent(conversation, &older).unwrap(), expected);
    }

    #[test]
    fn every_option_has_its_place() {
        let schema = json!({"type": "object", "properties": {"at": {"type": "string"}}});
        let generation = |config: Value| json!({"generationConfig": config});
        let calling = |config: Value| json!({"toolConfig": {"functionCallingConfig": config}});
        let format = ResponseFormat::json_schema("place", schema.clone());
        let cases = [
            (gemini(), json!({})),
            (gemini().temperature(0.5), generation(json!({"temperature": 0.5}))),
            (gemini().top_p(0.9), generation(json!({"topP": 0.9}))),
            (gemini().top_k(40), generation(json!({"topK": 40}))),
            (gemini().max_tokens(10), generation(json!({"maxOutputTokens": 10}))),
            (gemini().stop(["."]), generation(json!({"stopSequences": ["."]}))),
            (gemini().frequency_penalty(1.5), generation(json!({"frequencyPenalty": 1.5}))),
            (gemini().presence_penalty(-1.5), generation(json!({"presencePenalty": -1.5}))),
            (gemini().seed(-1), generation(json!({"seed": -1}))),
            (gemini().logprobs(3), generation(json!({"responseLogprobs": true, "logprobs": 3}))),
            (
                gemini().response_format(ResponseFormat::Json),
                generation(json!({"responseMimeType": "application/json"})),
            ),
            (
                gemini().response_format(format),
                generation(json!({
                    "responseMimeType": "application/json", "responseJsonSchema": schema,
                })),
            ),
            (
                gemini().reasoning(Reasoning::Off),
                generation(json!({"thinkingConfig": {"thinkingLevel": "minimal"}})),
            ),
            (
                named("models/gemini-2.5-flash").reasoning(Reasoning::Off),
                generation(json!({"thinkingConfig": {"thinkingBudget": 0}})),
            ),
            (
                gemini().reasoning(Reasoning::Minimal),
                generation(json!({
                    "thinkingConfig": {"includeThoughts": true, "thinkingLevel": "minimal"},
                })),
            ),
            (
                gemini().reasoning(Reasoning::Budget(7)),
                generation(json!({
                    "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 7},
                })),
            ),
            (
                named("gemini-2.5-flash").reasoning(Reasoning::Medium),
                generation(json!({
                    "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 8192},
                })),
            ),
            (
                gemini().tools([
                    Tool::function("look", "Looks.", schema.clone()),
                    Tool::function("t", "", schema.clone()),
                ]),
                json!({"tools": [{"functionDeclarations": [
                    {"name": "look", "description": "Looks.", "parametersJsonSchema": schema},
                    {"name": "t", "parametersJsonSchema": schema},
                ]}]}),
            ),
            (gemini().tool_choice(ToolChoice::Auto), calling(json!({"mode": "AUTO"}))),
            (gemini().tool_choice(ToolChoice::None), calling(json!({"mode": "NONE"}))),
            (gemini().tool_choice(ToolChoice::Required), calling(json!({"mode": "ANY"}))),
            (
                gemini().tool_choice(ToolChoice::Tool("look".into())),
                calling(json!({"mode": "ANY", "allowedFunctionNames": ["look"]})),
            ),
        ];
        for (config, mut expected) in cases {
            expected["contents"] = json!([{"role": "user", "parts": [{"text": "Hi"}]}]);
            assert_eq!(sent("Hi", &config).unwrap(), expected, "{config:?}");
        }
    }

    #[test]
    #[cfg(feature = "rustls")] // These requests go to Google.
    fn google_itself_is_told_not_to_store_anything() {
        let at = |variable: &str| Environment::from_iter([(variable, "http://localhost/")]);
        let openrouter = gemini().provider(LlmProvider::OpenRouter);
        for (config, store) in [
            (gemini(), json!(false)),
            (gemini().environment(at("OPENAI_BASE_URL")), json!(false)),
            (gemini().environment(at("GOOGLE_GEMINI_BASE_URL")), json!(null)),
            (
                gemini()
                    .provider(LlmProvider::Google)
                    .base_url("https://aiplatform.googleapis.com/v1"),
                json!(null),
            ),
            (
                gemini()
                    .base_url("https://generativelanguage.googleapis.com/v1beta")
                    .protocol(Protocol::GenerateContent),
                json!(false),
            ),
            (openrouter.protocol(Protocol::GenerateContent), json!(null)),
        ] {
            let request = crate::generate_stream("Hi", config.clone().api_key("k")).request();
            assert_eq!(request.unwrap().body["store"], store, "{config:?}");
        }
    }

    #[test]
    fn that_a_model_thinks_although_it_should_not_is_told() {
        let told = |config: GenerationConfig| {
            let told = told(&[Message::user("Hi")], &config.reasoning(Reasoning::Off));
            told.into_iter()
                .map(|told| format!("{} → {}", told.asked, told.sent))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(gemini()), ["off → minimal"]);
        assert_eq!(told(named("gemini-2.5-flash")), [""; 0]);
    }

    #[test]
    fn what_gemini_cannot_be_told_is_refused_by_name() {
        let picture = Attachment::url("https://example.com/a.png");
        let refused = [
            (Prompt::from("Hi"), gemini().parallel_tool_calls(false), "`parallel_tool_calls`"),
            (Message::tool("x", "blue").into(), gemini(), "\"x\""),
            (Message::system("Look").attach(picture).into(), gemini(), "attachments"),
        ];
        for (prompt, config, named) in refused {
            let error = sent(prompt, &config).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn thoughts_text_and_calls_come_apart_and_signatures_go_back_in_place() {
        let (response, failure) = decoded(&[
            r#"{"candidates": [{"content": {"parts": [{"text": "Hm", "thought": true}]}}],
                "usageMetadata": {"trafficType": "ON_DEMAND"}, "modelVersion": "gemini-3"}"#,
            r#"{"candidates": [{"index": 1, "content": {"parts": [{"text": "other"}]}},
                {"index": 0, "content": {"parts": [{"text": "I "}, {"text": "", "thought": true, "thoughtSignature": "s0"}]}}]}"#,
            r#"{"candidates": [{"content": {"parts": [{"text": "look", "thoughtSignature": "s1"}]}}]}"#,
            r#"{"candidates": [{"content": {"parts": [{"text": "."}, {"executableCode": {"code": "1"}},
                {"functionCall": {"name": "look", "args": {"b": 1, "a": "2"}}, "thoughtSignature": "s2"},
                {"functionCall": {"name": "look"}},
                {"functionCall": {"name": "time", "id": "x7", "args": {}}}]}}]}"#,
            r#"{"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "s3"}, {"text": ""}, {}, null]},
                "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 5, "toolUsePromptTokenCount": 2, "cachedContentTokenCount": 1,
                    "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 14}}"#,
        ]);
        assert_eq!(failure, None);
        assert_eq!((response.content.as_str(), response.reasoning.as_str()), ("I look.", "Hm"));
        assert_eq!(response.model.as_deref(), Some("gemini-3"));
        assert_eq!(response.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!(response.raw_finish_reason.as_deref(), Some("STOP"));
        let calls = [
            ToolCall::new("call_0", "look", r#"{"b": 1, "a": "2"}"#),
            ToolCall::new("call_1", "look", "{}"),
            ToolCall::new("x7", "time", "{}"),
        ];
        assert_eq!(response.tool_calls, calls);
        let usage = Usage {
            prompt_tokens: 7,
            completion_tokens: 7,
            total_tokens: 14,
            cached_tokens: Some(1),
            cache_write_tokens: None,
            reasoning_tokens: Some(4),
        };
        assert_eq!(response.usage, Some(usage));
        assert_eq!(response.chunk_count, 5);

        let parts = json!([
            {"text": "I "},
            {"text": "", "thought": true, "thoughtSignature": "s0"},
            {"text": "look", "thoughtSignature": "s1"},
            {"text": "."},
            {"executableCode": {"code": "1"}},
            {"functionCall": {"name": "look", "args": {"a": "2", "b": 1}}, "thoughtSignature": "s2"},
            {"functionCall": {"name": "look", "args": {}}},
            {"functionCall": {"name": "time", "id": "x7", "args": {}}},
            {"text": "", "thoughtSignature": "s3"},
        ]);
        let body = sent(Message::from(response), &gemini()).unwrap();
        assert_eq!(body["contents"], json!([{"role": "model", "parts": parts}]));
    }

    #[test]
    fn whatever_a_part_has_goes_back_in_its_place() {
        let signed = json!({"text": "b", "thoughtSignature": "s", "partMetadata": {"k": [1]}});
        let silent = json!({"text": "", "partMetadata": {"k": 2}});
        let call = json!({
            "functionCall": {"id": "x", "name": "look", "args": {}, "new": "n"},
            "thoughtSignature": "t", "videoMetadata": {"fps": 1},
        });
        let new = json!({"newThing": {"a": null}, "mediaResolution": {"level": "HIGH"}});
        let thought = json!({"text": "Hm", "thought": true, "thoughtSignature": "u", "new": 1});
        let parts = json!([
            {"text": "a"}, {"text": "a", "thought": false}, signed, {"text": "c"}, {"text": "c"}, silent, call,
            {"text": "Hm", "thought": true, "new": 1}, thought, new, {"text": "d", "null": null},
        ]);
        let event = json!({"candidates": [{"content": {"parts": parts}}]});
        // White space in the JSON makes no difference.
        for event in [event.to_string(), serde_json::to_string_pretty(&event).unwrap()] {
            let (response, _) = decoded(&[&event]);
            assert_eq!((&*response.content, &*response.reasoning), ("aabccd", "HmHm"));
            let saved = serde_json::to_string(&Message::from(response)).unwrap();
            let turn: Message = serde_json::from_str(&saved).unwrap();
            let expected = json!([
                {"text": "aa"}, signed, {"text": "cc"}, silent, call, thought, new, {"text": "d"},
            ]);
            let body = sent(turn, &gemini()).unwrap();
            assert_eq!(body["contents"], json!([{"role": "model", "parts": expected}]));
        }
        let plain = json!({"candidates": [{"content": {"parts": [{"text": "a"}]}}]});
        let plain = [plain.to_string(), serde_json::to_string_pretty(&plain).unwrap()];
        assert_eq!(decoded(&[&plain[0], &plain[1]]).0.replay, None);
    }

    #[test]
    fn a_call_of_another_model_is_signed_where_gemini_3_looks() {
        let asks = |names: [&str; 2]| {
            let mut asks = Message::assistant("Let me look.");
            asks.tool_calls = names.map(|name| ToolCall::new(name, name, "{}")).into();
            asks
        };
        let ours = json!({"candidates": [{"content": {"parts": [
            {"functionCall": {"id": "g", "name": "g", "args": {}}, "thoughtSignature": "s"},
            {"functionCall": {"id": "h", "name": "h", "args": {}}},
        ]}}]});
        let messages = [
            Message::user("Before."),
            asks(["a", "b"]),
            Message::tool("a", ""),
            Message::tool("b", ""),
            Message::user("Now."),
            asks(["c", "d"]),
            Message::tool("c", ""),
            Message::tool("d", ""),
            Message::system("Be brief."),
            asks(["e", "f"]),
            Message::tool("e", ""),
            Message::tool("f", ""),
            Message::from(decoded(&[&ours.to_string()]).0),
            Message::tool("g", ""),
            Message::tool("h", ""),
        ];
        let signatures = |model: &str, messages: &[Message]| {
            let body = sent(messages, &named(model)).unwrap();
            let turns = body["contents"].as_array().unwrap();
            let parts = turns.iter().flat_map(|turn| turn["parts"].as_array().unwrap().clone());
            let calls = parts.filter_map(|mut part| {
                let name = part["functionCall"]["name"].as_str()?.to_owned();
                Some((name, part["thoughtSignature"].take()))
            });
            let mut signed: Vec<_> = calls.collect();
            signed.retain(|(_, signature)| !signature.is_null());
            signed
        };
        let skip = "skip_thought_signature_validator";
        let signed = |signed: &[(&str, &str)]| -> Vec<(String, Value)> {
            signed.iter().map(|&(name, signature)| (name.to_owned(), signature.into())).collect()
        };
        for newer in [
            "gemini-3-pro-preview",
            "gemini-3.1-flash-lite",
            "gemini-4-argon",
            "gemini-10-pro",
            "gemini-flash-latest",
            "models/gemini-pro-latest",
            "publishers/google/models/gemini-3-flash-preview",
        ] {
            let expected = signed(&[("c", skip), ("e", skip), ("g", "s")]);
            assert_eq!(signatures(newer, &messages), expected, "{newer}");
            // Without a user message, the whole conversation is one turn.
            assert_eq!(signatures(newer, &messages[1..4]), signed(&[("a", skip)]));
        }
        for older in
            ["gemini-2.5-pro", "models/gemini-2.0-flash", "gemini-1.5-pro", "gemma-3-27b-it"]
        {
            assert_eq!(signatures(older, &messages), signed(&[("g", "s")]), "{older}");
        }

        let told = told(&messages[4..], &gemini()).into_iter().filter(|told| told.sent == skip);
        let told: Vec<_> = told.map(|told| told.what).collect();
        assert_eq!(told, ["messages[1]", "messages[5]"]);
    }

    #[test]
    fn pieces_of_arguments_are_put_together() {
        let part = |call: &Value| {
            json!({"candidates": [{"content": {"parts": [{"functionCall": call}]}}]}).to_string()
        };
        let arguments = |calls: &[Value]| {
            let events: Vec<_> = calls.iter().map(part).collect();
            let events: Vec<_> = events.iter().map(String::as_str).collect();
            let calls = decoded(&events).0.tool_calls;
            calls.into_iter().map(|call| call.arguments).collect::<Vec<_>>()
        };
        let begin = || json!({"name": "look", "willContinue": true});
        let more = |pieces: Value| json!({"partialArgs": pieces, "willContinue": true});
        let string = |path: &str, text: &str| json!({"jsonPath": path, "stringValue": text});
        let end = || json!({});

        // Vertex sends one call after the other; the second one is truncated.
        let boston = [
            begin(),
            more(json!([string("$.at", "Bos")])),
            more(json!([string("$.at", "ton")])),
            end(),
        ];
        assert_eq!(arguments(&boston), [r#"{"at":"Boston"}"#]);
        let cut = [boston.as_slice(), &[begin(), more(json!([string("$.at", "San ")]))]].concat();
        assert_eq!(arguments(&cut), [r#"{"at":"Boston"}"#, r#"{"at":"San "#]);
        assert_eq!(arguments(&[begin()]), ["{"]);
        assert_eq!(arguments(&[begin(), end(), begin(), end()]), ["{}", "{}"]);
        assert_eq!(arguments(&[end(), json!({"name": "look"}), end()]), ["{}"]);

        let nested = [
            begin(),
            more(json!([
                {"jsonPath": "$.n", "numberValue": -1.5}, {"jsonPath": "$.yes", "boolValue": false},
                {"jsonPath": "$.none", "nullValue": "NULL_VALUE"}, {"jsonPath": "$.null", "nullValue": null},
                {"jsonPath": "$.later", "willContinue": true}, string("$.later", "\"\u{1f600}"), string("$.later", ""),
                string("$.a.b[0].c", "x"), string("$.a.b[0].c", "y"), string("$.a.b[0].d", ""),
                string("$.a.b[1].c", "z"), string("$.a.b[2][0]", "p"),
            ])),
            json!({"partialArgs": [string("$.a.b[2][1]", "q"), string("$.a.e", "r"), string("$['odd. name']", "s")]}),
        ];
        let [nested] = &*arguments(&nested) else { panic!() };
        assert_eq!(
            serde_json::from_str::<Value>(nested).unwrap(),
            json!({
                "n": -1.5, "yes": false, "none": null, "null": null, "later": "\"\u{1f600}",
                "a": {"b": [{"c": "xy", "d": ""}, {"c": "z"}, ["p", "q"]], "e": "r"}, "odd. name": "s",
            }),
            "{nested}"
        );
    }

    #[test]
    fn every_way_to_end_has_one_meaning() {
        use FinishReason::{ContentFilter, Length, Other, Stop, ToolCalls};
        for (word, reason) in [
            ("STOP", Stop),
            ("MAX_TOKENS", Length),
            ("FUNCTION_CALL", ToolCalls),
            ("SAFETY", ContentFilter),
            ("RECITATION", ContentFilter),
            ("BLOCKLIST", ContentFilter),
            ("PROHIBITED_CONTENT", ContentFilter),
            ("SPII", ContentFilter),
            ("IMAGE_SAFETY", ContentFilter),
            ("LANGUAGE", Other),
            ("OTHER", Other),
            ("BRAND_NEW", Other),
        ] {
            let (response, failure) =
                decoded(&[&format!(r#"{{"candidates": [{{"finishReason": "{word}"}}]}}"#)]);
            assert_eq!(response.finish_reason, Some(reason), "{word}");
            assert_eq!(response.raw_finish_reason.as_deref(), Some(word));
            assert_eq!(failure, None, "{word}");
        }

        // A built-in tool causes a `STOP` before the rest of the text.
        let stop =
            r#"{"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}"#;
        let more = r#"{"candidates": [{"content": {"parts": [{"text": "b"}]}}]}"#;
        assert_eq!(decoded(&[stop, more]).0.finish_reason, None);
        let answer = decoded(&[stop, more, stop]).0;
        assert_eq!((answer.finish_reason, answer.content.as_str()), (Some(Stop), "aba"));

        let blocked = r#"{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}"#;
        let (response, failure) = decoded(&[blocked]);
        assert_eq!(response.finish_reason, Some(ContentFilter));
        assert_eq!(response.raw_finish_reason.as_deref(), Some("SAFETY"));
        assert_eq!(response.usage.unwrap().prompt_tokens, 3);
        assert_eq!(failure, None);
    }

    #[test]
    fn a_failure_is_told_as_one() {
        for word in [
            "MALFORMED_FUNCTION_CALL",
            "MALFORMED_RESPONSE",
            "MISSING_THOUGHT_SIGNATURE",
            "TOO_MANY_TOOL_CALLS",
            "UNEXPECTED_TOOL_CALL",
        ] {
            let event = format!(
                r#"{{"candidates": [{{"finishReason": "{word}", "finishMessage": "So \"odd\"."}}]}}"#
            );
            let (response, failure) = decoded(&[&event]);
            assert_eq!(response.finish_reason, Some(FinishReason::Other));
            let error = crate::protocol::api_error(LlmProvider::Google, None, &failure.unwrap());
            assert_eq!((error.message(), error.code()), ("So \"odd\".", Some(word)));
        }
        let error = r#"{"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}}"#;
        let (response, failure) = decoded(&[error]);
        assert_eq!((response.finish_reason, failure.as_deref()), (None, Some(error)));
    }

    #[test]
    fn a_piece_of_a_call_that_was_not_announced_is_a_gap() {
        let decode = |calls: &[&str]| {
            let (mut decoder, mut out) =
                (GenerateContentDecoder::default(), ChunkBuilder::new(9, 9999));
            for call in calls {
                let data = format!(
                    r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{call}}}]}}}}]}}"#
                );
                decoder.decode(&Event { name: "", data: &data }, &mut out).unwrap();
            }
            (out.seen.gap, out.take().tool_calls.len())
        };
        let piece = r#"{"partialArgs":[{"jsonPath":"$.a","numberValue":1}]}"#;
        assert_eq!(decode(&[r#"{"name":"f","willContinue":true}"#, piece, "{}"]), (false, 1));
        assert_eq!(decode(&[piece]), (true, 0));
        // Two calls remain two calls, even if their ids are the same.
        let same = r#"{"id":"x","name":"f","args":{}}"#;
        assert_eq!(decode(&[same, same]), (false, 2));
    }
}
