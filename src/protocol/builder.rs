//! Collects what the decoders read: the current chunk, and the state that is kept between events.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::cited::Place;
use super::told::ToldJson;
use super::wire::{Raw, unescape};
use super::{common, json};
use crate::activity::Activity;
use crate::attachment::Attachment;
use crate::chunk::{FinishReason, StreamChunk, TokenLogprob, ToolCallDelta, Usage};
use crate::message::{Replay, ReplayPart, fingerprint, fingerprint_of};
use crate::provider::{LlmProvider, Protocol};
use crate::response::GenerationResponse;
use crate::source::{Citation, Source};

/// Builds the chunks of one response.
///
/// It joins surrogate halves that a provider splits over events, and assigns the pieces of tool
/// calls to their calls. It does so in one place for all protocols.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuilder {
    pub(crate) chunk: StreamChunk,
    /// Set when the protocol's own final event has arrived.
    pub(crate) ended: bool,
    /// The error that the provider reported: JSON or text.
    pub(crate) failure: Option<String>,
    /// Set when there are more tool calls than the limit.
    pub(crate) too_many_calls: bool,
    /// Set when a piece arrives that a caller can use, or when a tool that the provider runs makes
    /// progress. The response decoder resets it.
    pub(crate) progress: bool,
    /// The kinds of content that have arrived since the start of the response.
    pub(crate) seen: Seen,
    /// Facts about the whole response: id, service tier, refusal and refusal category. Other fields
    /// are empty.
    pub(crate) facts: GenerationResponse,
    /// Set when `facts` has changed. The response decoder resets it.
    pub(crate) has_news: bool,
    max_tool_calls: usize,
    /// The limit of [`kept_bytes`](Self::kept_bytes).
    max_kept_bytes: usize,
    model: Option<Arc<str>>,
    usage: Option<Usage>,
    calls: Vec<BuiltCall>,
    /// The parts of the whole response in order, with the provider-specific data that is sent back
    /// unchanged (replay data).
    parts: Vec<ReplayPart>,
    /// The approximate memory of everything that is kept of the response: the chunks that were
    /// taken, the replay data, and a copy of the refusal.
    pub(crate) kept_bytes: usize,
    /// A high surrogate at the end of the text, or of the reasoning, whose low surrogate has not
    /// arrived yet.
    text_half: Option<u16>,
    reasoning_half: Option<u16>,
    /// The field of Chat Completions in which the reasoning arrives.
    reasoning_field: Option<&'static str>,
    /// The number of bytes of text before this chunk.
    text_before: usize,
    /// The places of the sources in `chunk`, one for each.
    pub(crate) places: Vec<Option<Place>>,
    /// The provider's own tools that run: the id of the call and the name.
    running: Vec<(String, String)>,
    /// The number of such tools that had no id.
    unnamed: usize,
    /// Fingerprints of what was reported about sources and searches.
    told: HashSet<u64>,
}

/// The kinds of content that have arrived since the start of a response.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) text: bool,
    pub(crate) reasoning: bool,
    /// Text, a tool call for the caller, or an image.
    pub(crate) anything: bool,
    /// A tool that the provider runs itself was used.
    pub(crate) provider_tools: bool,
    /// Such a tool seems to be still running: no text, call or image has arrived since.
    pub(crate) provider_tool_runs: bool,
    /// An event had the form of the protocol, whatever its content.
    pub(crate) understood: bool,
    /// An event had the form of a whole response that is not streamed.
    pub(crate) document: bool,
    /// A part of the response was lost: an event refers to a call that never started or has ended,
    /// events arrive in an impossible order, or a complete value differs from its pieces.
    pub(crate) gap: bool,
}

/// A tool call, as far as it has arrived.
#[derive(Debug, Default)]
struct BuiltCall {
    id: Option<String>,
    index: Option<u64>,
    /// Empty until the name arrives.
    name: String,
    arguments: ToldJson,
    /// A high surrogate at the end of the arguments, whose low surrogate has not arrived yet.
    half: Option<u16>,
}

impl ChunkBuilder {
    /// Creates a builder that accepts `max_tool_calls` tool calls, and `max_kept_bytes` as the
    /// limit of [`kept_bytes`](Self::kept_bytes).
    pub(crate) fn new(max_tool_calls: usize, max_kept_bytes: usize) -> Self {
        Self { max_tool_calls, max_kept_bytes, ..Self::default() }
    }

    /// Appends a JSON string to the text, and returns the added text. Other JSON values are
    /// ignored.
    pub(crate) fn text(&mut self, text: Raw<'_>) -> &str {
        let before = self.chunk.content.len();
        append(text, &mut self.text_half, &mut self.chunk.content);
        if text.is_text() {
            self.note_text(before);
        }
        self.chunk.content.get(before..).unwrap_or_default()
    }

    /// Appends a JSON string to the text, and also to the refusal.
    pub(crate) fn refusal(&mut self, text: Raw<'_>) {
        let piece = self.text(text).to_owned();
        self.count_kept(piece.len());
        self.facts.refusal.get_or_insert_default().push_str(&piece);
        self.has_news = true;
    }

    /// Appends plain text that is not a JSON string literal.
    pub(crate) fn plain_text(&mut self, text: &str) {
        self.text_half = None;
        let before = self.chunk.content.len();
        self.chunk.content.push_str(text);
        self.note_text(before);
    }

    /// Starts a new text part for the text that follows.
    pub(crate) fn new_text(&mut self) {
        self.count_kept(size_of::<ReplayPart>());
        self.parts.push(ReplayPart::Text { bytes: 0, extra: None });
    }

    /// Starts a new message for the text that follows. The blank line before it is for readers. It
    /// is not sent back to the provider.
    pub(crate) fn new_message(&mut self) {
        self.flush_text();
        self.count_kept(size_of::<ReplayPart>());
        self.chunk.content.push_str("\n\n");
        self.parts.push(ReplayPart::Gap { bytes: 2 });
    }

    /// Appends a JSON string to the reasoning, and returns the added text.
    pub(crate) fn reasoning(&mut self, text: Raw<'_>) -> &str {
        let before = self.chunk.reasoning.len();
        append(text, &mut self.reasoning_half, &mut self.chunk.reasoning);
        if text.is_text() {
            self.seen.reasoning = true;
            self.progress = true;
        }
        self.chunk.reasoning.get(before..).unwrap_or_default()
    }

    /// Like [`reasoning`](Self::reasoning), and remembers the field in which it is sent back.
    pub(crate) fn reasoning_in(&mut self, field: &'static str, text: Raw<'_>) {
        self.reasoning(text);
        self.reasoning_field.get_or_insert(field);
    }

    /// Like [`reasoning`](Self::reasoning), and appends the piece to `kept`, which is sent back to
    /// the provider.
    pub(crate) fn kept_reasoning(&mut self, text: Raw<'_>, kept: &mut String) {
        let piece = self.reasoning(text);
        let bytes = piece.len();
        kept.push_str(piece);
        self.count_kept(bytes);
    }

    /// Adds a tool call or a piece of one, for protocols that do not say which call a piece belongs
    /// to. `arguments` is a string that contains JSON, or the JSON itself. Returns the position of
    /// the call in the response.
    pub(crate) fn tool_call(
        &mut self,
        index: Raw<'_>,
        id: Raw<'_>,
        name: Raw<'_>,
        arguments: Raw<'_>,
    ) -> Option<usize> {
        let index = index.u64();
        match self.find_call(index, id, name, arguments) {
            Belongs::ToCall(at) => {
                self.extend_call(at, id, name, arguments);
                Some(at)
            }
            Belongs::ToNewCall => self.new_call(index, id, name, arguments),
            Belongs::Ignored => None,
        }
    }

    /// Adds a new call and returns its position, or `None` if there are too many calls.
    pub(crate) fn new_call(
        &mut self,
        index: Option<u64>,
        id: Raw<'_>,
        name: Raw<'_>,
        arguments: Raw<'_>,
    ) -> Option<usize> {
        let at = self.calls.len();
        if at >= self.max_tool_calls {
            self.too_many_calls = true;
            return None;
        }
        self.calls.push(BuiltCall { index, ..BuiltCall::default() });
        self.parts.push(ReplayPart::Call { extra: None });
        self.call_delta(ToolCallDelta { index: at, ..ToolCallDelta::default() });
        self.extend_call(at, id, name, arguments);
        Some(at)
    }

    /// Appends plain text, which is not a JSON string literal, to the arguments of a call.
    pub(crate) fn plain_arguments(&mut self, at: usize, piece: String) {
        if let Some(call) = self.calls.get_mut(at).filter(|_| !piece.is_empty()) {
            call.half = None;
            call.arguments.add(&piece);
            self.call_delta(ToolCallDelta { index: at, arguments: piece, ..Default::default() });
        }
    }

    /// Appends a JSON string or other JSON to the arguments of a call.
    pub(crate) fn call_arguments(&mut self, at: usize, piece: Raw<'_>) {
        self.extend_call(at, Raw::default(), Raw::default(), piece);
    }

    fn extend_call(&mut self, at: usize, id: Raw<'_>, name: Raw<'_>, arguments: Raw<'_>) {
        // Tool results could not distinguish two calls with the same id, so the caller gets another
        // id for the later call. `call.id` stays the provider's id, which later pieces repeat.
        let is_taken = self.call_with_id(id).is_some();
        let Some(call) = self.calls.get_mut(at) else { return };
        let mut piece = String::new();
        match arguments.literal() {
            Some(_) => append(arguments, &mut call.half, &mut piece),
            None => piece.push_str(arguments.json()),
        }
        call.arguments.add(&piece);
        let id = id.str().filter(|_| call.id.is_none()).map(Cow::into_owned);
        call.id = call.id.take().or_else(|| id.clone());
        let id = id.map(|id| if is_taken { format!("{id}_{at}") } else { id });
        let name = name.str().and_then(|name| call.add_name(&name));
        if id.is_some() || name.is_some() || !piece.is_empty() {
            self.call_delta(ToolCallDelta { index: at, id, name, arguments: piece });
        }
    }

    /// Compares a complete call, which repeats a call that arrived in pieces, with these pieces,
    /// and appends what is missing at the end of the arguments. An id or a name is added if none
    /// has arrived.
    pub(crate) fn whole_call(&mut self, at: usize, id: Raw<'_>, name: Raw<'_>, whole: Raw<'_>) {
        let Some(call) = self.calls.get(at) else { return };
        if name.is_text() && !call.name.is_empty() && !name.is(&call.name) {
            self.seen.gap = true;
            return;
        }
        self.extend_call(at, id, name, Raw::default());
        self.whole_arguments(at, &text_of(whole));
    }

    /// Compares complete arguments with the pieces that arrived, and appends what is missing at the
    /// end.
    pub(crate) fn whole_arguments(&mut self, at: usize, whole: &str) {
        let Some(call) = self.calls.get(at) else { return };
        match call.arguments.rest(whole) {
            Some(rest) => self.plain_arguments(at, rest.to_owned()),
            None => self.seen.gap = true,
        }
    }

    /// Returns the position of the call with this id.
    pub(crate) fn call_with_id(&self, id: Raw<'_>) -> Option<usize> {
        let id = id.str()?;
        self.call_where(|call| call.id.as_deref() == Some(&*id)).map(|(at, _)| at)
    }

    /// Returns the number of tool calls.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Returns whether no arguments of this call have arrived.
    pub(crate) fn has_no_arguments(&self, at: usize) -> bool {
        self.calls.get(at).is_some_and(|call| call.arguments.is_empty())
    }

    /// Returns whether a call has no name. Without a name it is unusable.
    pub(crate) fn has_nameless_call(&self) -> bool {
        self.calls.iter().any(|call| call.name.is_empty())
    }

    /// Finds the call that a piece belongs to.
    ///
    /// Some providers omit ids or indices, repeat index 0, send the id late, give each piece
    /// another id, or give all calls the same id.
    ///
    /// Usually a name starts a call. A piece without a name continues a call: the one with its id,
    /// else the one at its index, else the latest call. Exception: a new id without name and
    /// arguments, at an unused index, starts a call. A piece with a name continues the call with
    /// its id or at its index, but only if that call's name and arguments can still grow.
    fn find_call(
        &self,
        index: Option<u64>,
        id: Raw<'_>,
        name: Raw<'_>,
        arguments: Raw<'_>,
    ) -> Belongs {
        let piece = text_of(arguments);
        if !(id.is_text() || name.is_text()) && piece.is_empty() {
            return Belongs::Ignored;
        }
        let has_id = |call: &BuiltCall| call.id.as_deref().is_some_and(|known| id.is(known));
        let at_index = index.and_then(|_| self.call_where(|call| call.index == index));
        let known = at_index.filter(|(_, call)| has_id(call)).or_else(|| self.call_where(has_id));
        let found = match (id.is_text(), name.is_text()) {
            _ if known.is_some() => known,
            // A new id starts a call, unless the call at its index still lacks its id or its name.
            (true, true) => at_index.filter(|(_, call)| call.id.is_none() || call.name.is_empty()),
            // A new id without arguments announces a call at its own index. A new id with arguments
            // is another id for the call at its index, or else for the latest call.
            (true, false) if index.is_some() && piece.is_empty() => at_index,
            (false, true) => at_index,
            (_, false) => at_index.or(self.calls.iter().enumerate().next_back()),
        };
        let Some((at, call)) = found else { return Belongs::ToNewCall };
        let is_whole = piece.starts_with('{') && json::read::<Raw<'_>>(&piece).is_ok();
        let again = is_whole && call.arguments.is_same(ToldJson::of(&piece));
        let is_named = name.is_text() && !call.name.is_empty();
        let is_other_name = is_named && !name.is(&call.name);
        let moved = is_named && index.is_some() && index != call.index;
        let begins_another = match (is_other_name, call.arguments.is_empty()) {
            (false, _) if again => return Belongs::Ignored,
            // A different name before the arguments is the next piece of the name. At another
            // index, it is the name of another call.
            (true, true) => moved,
            // A different name after the arguments is the name of another call: a name is complete
            // before its arguments start.
            (true, false) => true,
            // The same name at another index starts another call. But if complete arguments arrive
            // with it, it repeats this call, which still lacks them.
            (false, true) => moved && !is_whole,
            // The same name starts another call if it arrives at another index, or if both its
            // arguments and those of this call are complete: a complete object cannot grow.
            (false, false) => moved || (is_named && is_whole && call.arguments.is_whole()),
        };
        if begins_another { Belongs::ToNewCall } else { Belongs::ToCall(at) }
    }

    /// Returns the latest call that fulfils a condition, and its position.
    fn call_where(&self, is: impl Fn(&BuiltCall) -> bool) -> Option<(usize, &BuiltCall)> {
        self.calls.iter().enumerate().rfind(|(_, call)| is(call))
    }

    /// Adds a piece of a call to the chunk. Consecutive pieces of one call are joined: otherwise a
    /// server could produce many of them with a small event.
    fn call_delta(&mut self, delta: ToolCallDelta) {
        self.note_content();
        self.seen.understood = true;
        match self.chunk.tool_calls.last_mut() {
            Some(last) if last.index == delta.index => {
                last.id = delta.id.or(last.id.take());
                last.name = delta.name.or(last.name.take());
                last.arguments.push_str(&delta.arguments);
            }
            _ => self.chunk.tool_calls.push(delta),
        }
    }

    /// Adds a part that is neither text nor a call, and that must be sent back to the provider.
    /// Returns its position, for [`replace`](Self::replace). Beyond the limit the part is dropped,
    /// and the position is meaningless.
    pub(crate) fn opaque(&mut self, part: Value) -> usize {
        self.count_kept(size_of::<ReplayPart>());
        if !self.is_full() {
            self.parts.push(ReplayPart::Opaque(part));
        }
        self.parts.len().saturating_sub(1)
    }

    /// Replaces the value of an opaque part. The part keeps its position, even if others followed
    /// it.
    pub(crate) fn replace(&mut self, place: usize, part: Value) {
        if let Some(ReplayPart::Opaque(known)) = self.parts.get_mut(place) {
            *known = part;
        }
    }

    /// Parses JSON for the replay data. Its memory cost is counted first. Beyond the limit the
    /// result is `null`. The response decoder then ends the stream with an error, because it checks
    /// [`kept_bytes`](Self::kept_bytes).
    pub(crate) fn keep(&mut self, json: Raw<'_>) -> Value {
        if self.has_room(json.cost()) { json.value() } else { Value::Null }
    }

    /// Returns the fields of an object for the replay data, without the fields in `but`.
    pub(crate) fn others(&mut self, json: Raw<'_>, but: &[(&str, Raw<'_>)]) -> Map<String, Value> {
        let mut others = Map::new();
        json.others(but, |name, value| self.keep_field(&mut others, name, value));
        others
    }

    /// Adds a field to an object of the replay data.
    pub(crate) fn keep_field(&mut self, into: &mut Map<String, Value>, name: &str, value: Raw<'_>) {
        // A field takes about 110 bytes, and the first field of an object about 640.
        self.count_kept(name.len() + if into.is_empty() { 640 } else { 128 });
        let value = self.keep(value);
        if !self.is_full() {
            into.insert(name.to_owned(), value);
        }
    }

    /// Adds to [`kept_bytes`](Self::kept_bytes). A decoder calls it for bytes that it collects
    /// before a part is complete.
    pub(crate) fn count_kept(&mut self, bytes: usize) {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
    }

    /// Does the same, and returns whether there is room for these bytes. If there is none, the
    /// response decoder ends the stream with an error.
    pub(crate) fn has_room(&mut self, bytes: usize) -> bool {
        self.count_kept(bytes);
        !self.is_full()
    }

    /// Returns whether [`kept_bytes`](Self::kept_bytes) and the chunk exceed the limit.
    pub(crate) fn is_full(&self) -> bool {
        self.kept_bytes.saturating_add(self.chunk.bytes()) > self.max_kept_bytes
    }

    /// Notes that a tool runs at the provider. The response continues after it.
    pub(crate) fn note_provider_tool(&mut self) {
        self.seen.provider_tools = true;
        self.seen.provider_tool_runs = true;
        self.progress = true;
    }

    /// Notes that usable content has arrived: text, a call, or another part such as an image.
    pub(crate) fn note_content(&mut self) {
        self.seen.anything = true;
        self.seen.provider_tool_runs = false;
        self.progress = true;
    }

    /// Attaches provider-specific fields, if there are any, to the latest text or call. They are
    /// sent back with it.
    pub(crate) fn extra(&mut self, fields: Map<String, Value>) {
        let fields = Some(fields).filter(|fields| !fields.is_empty()).map(Value::from);
        match self.parts.last_mut() {
            _ if fields.is_none() => {}
            Some(ReplayPart::Text { extra, .. } | ReplayPart::Call { extra }) => *extra = fields,
            _ => self.parts.push(ReplayPart::Text { bytes: 0, extra: fields }),
        }
    }

    /// Attaches a provider-specific value to the call at this position, even if other parts
    /// followed it.
    pub(crate) fn call_extra(&mut self, at: usize, value: Value) {
        let parts = self.parts.iter_mut();
        let mut calls = parts.filter(|part| matches!(part, ReplayPart::Call { .. }));
        if let Some(ReplayPart::Call { extra }) = calls.nth(at) {
            *extra = Some(value);
        }
    }

    /// Sets the finish reason. A plain stop after tool calls means that the model waits for their
    /// results.
    pub(crate) fn finish(&mut self, reason: FinishReason, word: &str) {
        let waits = reason == FinishReason::Stop && !self.calls.is_empty();
        self.chunk.finish_reason = Some(if waits { FinishReason::ToolCalls } else { reason });
        self.chunk.raw_finish_reason = Some(word.to_owned());
        self.seen.understood = true;
    }

    /// Sets the name of the model that responds. The first non-empty name is kept.
    pub(crate) fn model(&mut self, name: Raw<'_>) {
        if self.model.is_none() {
            self.model = name.str().map(|name| Arc::from(&*name));
        }
    }

    /// Sets one of the [`facts`](Self::facts). The first non-empty value is kept.
    #[inline]
    pub(crate) fn told_first(
        &mut self,
        fact: fn(&mut GenerationResponse) -> &mut Option<String>,
        told: Raw<'_>,
    ) {
        let fact = fact(&mut self.facts);
        if fact.is_none() && told.is_text() {
            *fact = told.str().map(Cow::into_owned);
            self.has_news = true;
        }
    }

    /// Sets the service tier. The latest value is kept, because some servers first repeat the
    /// requested tier.
    pub(crate) fn service_tier(&mut self, word: Raw<'_>) {
        if word.literal() != self.facts.service_tier.as_deref()
            && let Some(word) = word.str()
        {
            self.facts.service_tier = Some(word.into_owned());
            self.has_news = true;
        }
    }

    /// Sets the usage so far. Some servers send each number only once, and 0 in all other events.
    /// So 0 prompt tokens replace neither the known number nor its parts (cached tokens and cache
    /// writes). The same holds for completion tokens and their part, the reasoning tokens. The
    /// total is the provider's, but at least the sum of prompt and completion tokens.
    pub(crate) fn usage(&mut self, told: Option<Usage>) {
        let Some(told) = told else { return };
        let known = self.usage.unwrap_or_default();
        // A count that the first of two does not tell is taken from the other.
        let in_order = |is_zero| if is_zero { [known, told] } else { [told, known] };
        let [input, other_input] = in_order(told.prompt_tokens == 0);
        let [output, other_output] = in_order(told.completion_tokens == 0);
        let sum = input.prompt_tokens.saturating_add(output.completion_tokens);
        let usage = Usage {
            prompt_tokens: input.prompt_tokens,
            completion_tokens: output.completion_tokens,
            total_tokens: told.total_tokens.max(sum),
            cached_tokens: input.cached_tokens.or(other_input.cached_tokens),
            cache_write_tokens: input.cache_write_tokens.or(other_input.cache_write_tokens),
            reasoning_tokens: output.reasoning_tokens.or(other_output.reasoning_tokens),
        };
        (self.usage, self.chunk.usage) = (Some(usage), Some(usage));
    }

    /// Sets the error that the provider reported. It is not truncated, because truncated JSON
    /// cannot be parsed. It is at most as large as an event.
    pub(crate) fn fail(&mut self, error: &str) {
        self.failure = Some(error.to_owned());
        self.seen.understood = true;
    }

    /// Returns the number of bytes of text so far. It is the position of text that comes next.
    pub(crate) fn position(&self) -> usize {
        self.text_before + self.chunk.content.len()
    }

    /// Adds a source that was found, and the place of its citation, if it has one.
    pub(crate) fn source(&mut self, source: Source, place: Option<Place>) {
        let is_known = source.url.is_some() || source.id.is_some();
        // The chunk, the response and the table of numbers have a copy.
        if is_known && self.has_room(4 * (size_of::<Source>() + source.bytes())) {
            self.chunk.sources.push(source);
            self.places.push(place);
        }
    }

    /// Adds the log probability of a token.
    pub(crate) fn logprob(&mut self, token: TokenLogprob) {
        if self.has_room(2 * size_of::<TokenLogprob>() + token.token.len()) {
            self.chunk.logprobs.push(token);
        }
    }

    /// Adds a citation of a source, with the quoted words and the place, if they are told.
    pub(crate) fn cite(&mut self, source: Source, quote: String, place: Option<Place>) {
        let citations = vec![Citation { quote, span: None }];
        self.source(Source { citations, ..source }, place);
    }

    /// Adds a picture or a sound.
    pub(crate) fn attach(&mut self, attachment: Attachment) {
        self.note_content();
        if self.has_room(attachment.size()) {
            self.chunk.attachments.push(attachment);
        }
    }

    /// Returns whether this was not reported before. Some providers repeat in later events what
    /// they told of sources and searches.
    pub(crate) fn is_new<const N: usize>(&mut self, told: [&str; N]) -> bool {
        let is_new = self.told.insert(fingerprint(told));
        self.count_kept(if is_new { 64 } else { 0 });
        is_new
    }

    /// Reports that a tool of the provider's own starts. Without an id, it gets a number.
    pub(crate) fn tool_started(&mut self, id: &str, name: &str, input: String) {
        if self.running.iter().any(|(running, _)| running == id) {
            return;
        }
        self.unnamed += usize::from(id.is_empty());
        let id = if id.is_empty() { self.unnamed.to_string() } else { id.to_owned() };
        if self.running.len() >= common::MAX_OPEN {
            self.running.remove(0); // the oldest is forgotten
        }
        let name = name.to_owned();
        self.running.push((id.clone(), name.clone()));
        self.report(input.len(), Activity::ToolStarted { id, name, input, hosted: true });
    }

    /// Reports that a tool of the provider's own has ended. `name` is used if its start is unknown.
    pub(crate) fn tool_finished(&mut self, id: &str, name: &str, output: String, is_error: bool) {
        let known = self.running.iter().position(|(running, _)| running == id);
        let known = known.or_else(|| self.running.iter().position(|(_, running)| running == name));
        let known = known.map(|at| self.running.remove(at));
        let (id, name) = known.unwrap_or_else(|| (id.to_owned(), name.to_owned()));
        let hosted = true;
        self.report(output.len(), Activity::ToolFinished { id, name, output, is_error, hosted });
    }

    fn report(&mut self, bytes: usize, activity: Activity) {
        self.progress = true;
        // It also counts the room that a list has for more, and what is kept of a tool that runs.
        if self.has_room(4 * size_of::<Activity>() + bytes) {
            self.chunk.activity.push(activity);
        }
    }

    /// Takes the chunk and leaves an empty one for the next event.
    #[inline]
    pub(crate) fn take(&mut self) -> StreamChunk {
        self.text_before += self.chunk.content.len();
        self.count_kept(self.chunk.bytes());
        std::mem::take(&mut self.chunk)
    }

    /// Names the model in the chunk.
    pub(crate) fn name_model(&mut self) {
        self.chunk.model.clone_from(&self.model);
    }

    /// Ends the response: a surrogate half without its other half becomes U+FFFD.
    pub(crate) fn flush(&mut self) {
        if self.reasoning_half.take().is_some() {
            self.chunk.reasoning.push(char::REPLACEMENT_CHARACTER);
        }
        self.flush_text();
        for at in 0..self.calls.len() {
            if self.calls.get_mut(at).and_then(|call| call.half.take()).is_some() {
                self.plain_arguments(at, char::REPLACEMENT_CHARACTER.to_string());
            }
        }
    }

    fn flush_text(&mut self) {
        if self.text_half.take().is_some() {
            self.plain_text("\u{fffd}");
        }
    }

    /// Returns how the response is sent back, or `None` if it is just one text and the calls after
    /// it.
    pub(crate) fn replay(
        &mut self,
        provider: LlmProvider,
        protocol: Protocol,
        returns_all: bool,
        response: &GenerationResponse,
    ) -> Option<Replay> {
        let mut parts = std::mem::take(&mut self.parts);
        let is_chat = protocol == Protocol::ChatCompletions;
        if is_chat {
            self.add_reasoning(&mut parts, returns_all, &response.reasoning);
            for part in &mut parts {
                // A text that is exactly as long as the whole refusal is taken for the refusal.
                if let ReplayPart::Text { bytes, extra } = part
                    && self.facts.refusal.as_ref().is_some_and(|text| text.len() == *bytes)
                {
                    *extra = Some("refusal".into());
                }
            }
        }
        parts.retain(|part| !matches!(part, ReplayPart::Text { bytes: 0, extra: None }));
        let is_plain = parts.iter().enumerate().all(|(at, part)| match part {
            // A Chat Completions message has one text, and its position among the calls does not
            // matter.
            ReplayPart::Text { extra: None, .. } => at == 0 || is_chat,
            part => matches!(part, ReplayPart::Call { extra: None }),
        });
        (!is_plain).then(|| {
            let fingerprint = fingerprint_of(&response.content, &response.tool_calls);
            Replay { provider, protocol, parts, fingerprint }
        })
    }

    /// Adds the reasoning, in the field in which it arrived, to the parts of a Chat Completions
    /// message. If the response has no calls, and the vendor does not require all reasoning back,
    /// it removes the opaque parts instead: they are the `reasoning_details`.
    fn add_reasoning(&self, parts: &mut Vec<ReplayPart>, returns_all: bool, reasoning: &str) {
        let is_detailed = |part: &ReplayPart| matches!(part, ReplayPart::Opaque(_));
        if self.calls.is_empty() && !returns_all {
            parts.retain(|part| !is_detailed(part));
        } else if let Some(field) = self.reasoning_field.filter(|_| !reasoning.is_empty())
            // OpenRouter reads `reasoning_details` instead of `reasoning`.
            && !(field == "reasoning" && parts.iter().any(is_detailed))
        {
            parts.push(ReplayPart::Opaque(json!({ field: reasoning })));
        }
    }

    /// Notes the text that was appended to the chunk after its first `before` bytes. It extends the
    /// last part if that is text without attached fields.
    fn note_text(&mut self, before: usize) {
        self.note_content();
        self.seen.text = true;
        let more = self.chunk.content.len() - before;
        match self.parts.last_mut() {
            _ if more == 0 => {}
            Some(ReplayPart::Text { bytes, extra: None }) => *bytes += more,
            _ => self.parts.push(ReplayPart::Text { bytes: more, extra: None }),
        }
    }
}

/// The call that a piece belongs to.
enum Belongs {
    ToCall(usize),
    ToNewCall,
    /// The piece is empty, or repeats what is known.
    Ignored,
}

/// Returns the JSON of arguments that are a string which contains JSON, or the JSON itself.
fn text_of(arguments: Raw<'_>) -> Cow<'_, str> {
    match arguments.literal() {
        Some(_) => arguments.str().unwrap_or_default(),
        None => Cow::Borrowed(arguments.json()),
    }
}

impl BuiltCall {
    /// Adds a piece of the name. Returns the name so far if it has changed. Some servers repeat the
    /// name in every piece, others split it.
    fn add_name(&mut self, piece: &str) -> Option<String> {
        if piece == self.name {
            return None;
        }
        let more = piece.strip_prefix(&*self.name).unwrap_or(piece);
        self.name.push_str(more);
        Some(self.name.clone())
    }
}

/// Appends a JSON string to `text`. A high surrogate at its end is kept in `half` until the low
/// surrogate arrives.
fn append(string: Raw<'_>, half: &mut Option<u16>, text: &mut String) {
    let Some(literal) = string.literal().filter(|literal| !literal.is_empty()) else {
        return;
    };
    // A chunk usually has one text, so exactly its size is reserved.
    if half.is_some() || memchr::memchr(b'\\', literal.as_bytes()).is_some() {
        if text.is_empty() {
            text.reserve_exact(literal.len());
        }
        *half = unescape(literal, half.take(), text);
    } else if text.is_empty() {
        *text = literal.to_owned();
    } else {
        text.push_str(literal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Raw<'_> {
        json::read(json).unwrap()
    }

    fn texts(pieces: &[&str]) -> Vec<String> {
        let mut output = ChunkBuilder::new(9, 9999);
        let mut texts: Vec<_> = pieces
            .iter()
            .map(|piece| {
                output.text(raw(piece));
                output.take().content
            })
            .collect();
        output.flush();
        texts.push(output.take().content);
        texts
    }

    #[test]
    fn halves_of_a_character_are_joined() {
        assert_eq!(texts(&[r#""a\ud83d""#, r#""\ude00b""#]), ["a", "😀b", ""]);
        assert_eq!(texts(&[r#""\ud83d\ude00""#]), ["😀", ""]);
        assert_eq!(texts(&[r#""\ud83d""#, r#""""#, r#""\ude00""#]), ["", "", "😀", ""]);
        assert_eq!(texts(&[r#""\ud83d""#, r#""x\n""#]), ["", "\u{fffd}x\n", ""]);
        assert_eq!(texts(&[r#""\ude00\"\\""#]), ["\u{fffd}\"\\", ""]);
        assert_eq!(texts(&[r#""é\ud83d""#]), ["é", "\u{fffd}"]);
        assert_eq!(texts(&["null", "42", "[]"]), ["", "", "", ""]);
    }

    /// Feeds pieces of calls to a builder. Returns the index, name and arguments of each delta.
    fn calls(pieces: &[[&str; 4]]) -> Vec<String> {
        let mut output = ChunkBuilder::new(9, 9999);
        let mut told = Vec::new();
        for piece in pieces {
            let [index, id, name, arguments] = piece.map(raw);
            output.tool_call(index, id, name, arguments);
            for delta in output.take().tool_calls {
                let name = delta.name.unwrap_or_default();
                told.push(format!("{}{name}({})", delta.index, delta.arguments));
            }
        }
        told
    }

    const NONE: &str = "null";
    const A: &str = "\"a\"";
    const B: &str = "\"b\"";
    const LOOK: &str = "\"look\"";
    const OBJECT: &str = r#""{\"x\":1}""#;

    #[test]
    fn calls_are_told_apart_by_id_then_index_then_order() {
        for (pieces, told) in [
            (&[["0", A, LOOK, NONE], ["0", NONE, NONE, "\"x\""]][..], &["0look()", "0(x)"][..]),
            (&[["0", A, LOOK, NONE], ["0", "\"\"", NONE, "\"x\""]], &["0look()", "0(x)"]),
            (&[["0", A, LOOK, NONE], ["0", B, LOOK, NONE]], &["0look()", "1look()"]),
            (&[["0", NONE, LOOK, NONE], ["0", A, NONE, NONE]], &["0look()", "0()"]),
            (&[[NONE, A, LOOK, NONE], [NONE, NONE, NONE, "\"x\""]], &["0look()", "0(x)"]),
            (&[[NONE, NONE, LOOK, "{}"], [NONE, NONE, LOOK, "{}"]], &["0look({})", "1look({})"]),
            (&[["4000000000", A, LOOK, "{}"], ["7", B, LOOK, "{}"]], &["0look({})", "1look({})"]),
            (
                &[["1", B, LOOK, "\"1\""], ["0", A, LOOK, "\"2\""], ["1", NONE, NONE, "\"3\""]],
                &["0look(1)", "1look(2)", "0(3)"],
            ),
            (&[["0", A, LOOK, r#"{"x": 1}"#]], &[r#"0look({"x": 1})"#]),
            // A new id without a name continues the call at its index, or else the latest call.
            (&[["0", A, LOOK, NONE], ["0", B, "\"\"", "\"x\""]], &["0look()", "0(x)"]),
            (&[[NONE, A, LOOK, NONE], [NONE, B, NONE, "\"x\""]], &["0look()", "0(x)"]),
            (&[["0", A, LOOK, NONE], ["7", B, NONE, "\"x\""]], &["0look()", "0(x)"]),
            (&[["0", A, LOOK, NONE], ["7", NONE, NONE, "\"x\""]], &["0look()", "0(x)"]),
            // A new id without arguments announces a call whose name arrives later.
            (
                &[["0", A, LOOK, NONE], ["1", B, NONE, NONE], ["1", NONE, "\"go\"", "\"x\""]],
                &["0look()", "1()", "1go(x)"],
            ),
            // A complete call is repeated.
            (&[["0", A, LOOK, OBJECT], ["0", A, LOOK, OBJECT]], &[r#"0look({"x":1})"#]),
            (&[["0", A, LOOK, OBJECT], ["1", A, LOOK, r#"{"x": 1}"#]], &[r#"0look({"x":1})"#]),
            (
                &[["0", A, LOOK, "\"{\""], ["0", NONE, NONE, "\"}\""], ["1", A, LOOK, "{}"]],
                &["0look({)", "0(})"],
            ),
            (&[["0", A, LOOK, NONE], ["1", A, LOOK, "{}"]], &["0look()", "0({})"]),
            (&[["0", A, LOOK, "\"1\""], ["0", A, LOOK, "\"1\""]], &["0look(1)", "0(1)"]),
            // An empty piece starts no call.
            (&[["0", NONE, NONE, NONE]], &[]),
            (&[["0", "\"\"", "\"\"", "\"\""]], &[]),
            // Complete arguments end a call: Gemini sends parallel calls without ids and with the
            // same index.
            (
                &[["0", "\"\"", LOOK, OBJECT], ["0", "\"\"", LOOK, "{}"]],
                &[r#"0look({"x":1})"#, "1look({})"],
            ),
            // All calls have the same id.
            (
                &[["0", A, LOOK, OBJECT], ["1", A, LOOK, r#"{"x":2}"#]],
                &[r#"0look({"x":1})"#, r#"1look({"x":2})"#],
            ),
            (
                &[
                    ["0", A, LOOK, NONE],
                    ["1", A, "\"go\"", NONE],
                    ["0", A, NONE, "\"1\""],
                    ["1", A, NONE, "\"2\""],
                ],
                &["0look()", "1go()", "0(1)", "1(2)"],
            ),
            (
                &[
                    ["0", A, LOOK, NONE],
                    ["0", A, NONE, "\"1\""],
                    ["1", A, LOOK, "\"{\""],
                    ["1", A, NONE, "\"2\""],
                ],
                &["0look()", "0(1)", "1look({)", "1(2)"],
            ),
            // Another name after the arguments starts another call.
            (&[["0", NONE, LOOK, "{}"], ["0", NONE, "\"go\"", "{}"]], &["0look({})", "1go({})"]),
        ] {
            assert_eq!(calls(pieces), told, "{pieces:?}");
        }
    }

    #[test]
    fn a_name_comes_in_pieces_or_again_and_again() {
        let pieces = [
            ["0", A, "\"get_wea\"", NONE],
            ["0", NONE, "\"ther\"", "\"x\""],
            ["0", NONE, "\"get_weather\"", "\"y\""],
        ];
        assert_eq!(calls(&pieces), ["0get_wea()", "0get_weather(x)", "0(y)"]);
        let longer = [["0", A, "\"get\"", NONE], ["0", A, "\"get_weather\"", NONE]];
        assert_eq!(calls(&longer), ["0get()", "0get_weather()"]);
        assert!(calls(&[["0", A, LOOK, NONE], ["0", A, LOOK, NONE]]).len() == 1, "no news");
        let mut output = ChunkBuilder::new(9, 9999);
        output.tool_call(Raw::ZERO, raw(A), Raw::default(), Raw::default());
        assert!(output.has_nameless_call());
        output.tool_call(Raw::ZERO, Raw::default(), raw(LOOK), Raw::default());
        assert!(!output.has_nameless_call());
    }

    #[test]
    fn halves_of_characters_are_joined_in_their_own_call() {
        let halves = [
            ["0", A, LOOK, r#""{\"x\":\"\ud83d""#],
            ["1", B, LOOK, "{}"],
            ["0", A, NONE, r#""\ude00\"}""#],
        ];
        assert_eq!(calls(&halves), [r#"0look({"x":")"#, "1look({})", r#"0(😀"})"#]);
        let mut output = ChunkBuilder::new(9, 9999);
        output.tool_call(Raw::ZERO, raw(A), raw(LOOK), raw(r#""\ud83d""#));
        output.flush();
        assert_eq!(output.take().tool_calls[0].arguments, "\u{fffd}");
    }

    #[test]
    fn pieces_of_one_call_in_an_event_are_one() {
        let mut output = ChunkBuilder::new(9, 9999);
        for piece in ["\"1\"", "\"2\"", "\"3\""] {
            output.tool_call(Raw::ZERO, raw(A), raw(LOOK), raw(piece));
        }
        let [delta] = &*output.take().tool_calls else { panic!() };
        assert_eq!((delta.name.as_deref(), &*delta.arguments), (Some("look"), "123"));
    }

    #[test]
    fn no_tokens_at_all_are_no_news_after_a_number() {
        let mut output = ChunkBuilder::new(9, 9999);
        let mut told = |prompt, completion, cached| {
            output.usage(Some(Usage {
                prompt_tokens: prompt,
                completion_tokens: completion,
                cached_tokens: cached,
                // Cache writes follow the same rule as cached tokens.
                cache_write_tokens: cached,
                ..Usage::default()
            }));
            let usage = output.take().usage.unwrap();
            assert_eq!(usage.cache_write_tokens, usage.cached_tokens);
            (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cached_tokens)
        };
        assert_eq!(told(21, 0, Some(4)), (21, 0, 21, Some(4)));
        assert_eq!(told(0, 3, None), (21, 3, 24, Some(4)));
        assert_eq!(told(0, 3, Some(0)), (21, 3, 24, Some(4)));
        assert_eq!(told(22, 5, Some(0)), (22, 5, 27, Some(0)));
        assert_eq!(told(23, 6, None), (23, 6, 29, Some(0)));
    }
}
