//! What decoders write into: one chunk at a time, and what has to be remembered from event to
//! event.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::json;
use super::told::ToldJson;
use super::wire::{Raw, unescape};

use crate::chunk::{FinishReason, StreamChunk, ToolCallDelta, Usage};
use crate::message::{Replay, ReplayPart, fingerprint_of};
use crate::provider::{LlmProvider, Protocol};
use crate::response::GenerationResponse;

/// The piece of an answer that an event brings.
///
/// It joins what providers tear apart (halves of a character) and tells apart what they mix up
/// (tool calls), in one place for every protocol.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuilder {
    pub(crate) chunk: StreamChunk,
    /// The protocol's own end marker has come.
    pub(crate) ended: bool,
    /// The provider's own word for a failure: JSON or text.
    pub(crate) failure: Option<String>,
    /// There are more tool calls than the limit.
    pub(crate) too_many_calls: bool,
    /// Something came that a caller reads, or a tool of the provider's own was at work. The stream
    /// takes this back whenever it has seen it.
    pub(crate) progress: bool,
    /// What has come since the beginning of the answer.
    pub(crate) seen: Seen,
    /// What is told of the response beside its pieces; the rest of it is empty.
    pub(crate) facts: GenerationResponse,
    /// Some of that is new. The stream takes this back whenever it has seen it.
    pub(crate) has_news: bool,
    max_tool_calls: usize,
    /// The most that [`opaque_bytes`](Self::opaque_bytes) may become.
    max_opaque_bytes: usize,
    model: Option<Arc<str>>,
    usage: Option<Usage>,
    calls: Vec<BuiltCall>,
    /// The order of the whole answer, with what the provider will want to see again.
    parts: Vec<ReplayPart>,
    /// About how much memory that takes beyond text and calls.
    opaque_bytes: usize,
    /// The first half of a character of the text whose second half is still to come, and the same of
    /// the reasoning.
    text_half: Option<u16>,
    reasoning_half: Option<u16>,
    /// The field of Chat Completions that the reasoning comes in.
    reasoning_field: Option<&'static str>,
}

/// What has come since the beginning of an answer.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) text: bool,
    pub(crate) reasoning: bool,
    /// Text, a call of the caller's tools, or a picture.
    pub(crate) anything: bool,
    /// A tool of the provider's own was at work.
    pub(crate) own_tools: bool,
    /// One still is, as far as the stream tells: nothing has come since.
    pub(crate) at_work: bool,
    /// An event had the form of the protocol, whatever it brought.
    pub(crate) understood: bool,
    /// An event had the form of a whole answer, as of one that is not streamed.
    pub(crate) document: bool,
    /// A piece is known to be missing: it had no call to belong to, or what was told again differs
    /// from what came.
    pub(crate) gap: bool,
}

/// What is known of a tool call.
#[derive(Debug, Default)]
struct BuiltCall {
    id: Option<String>,
    index: Option<u64>,
    /// Empty as long as it has not been told.
    name: String,
    arguments: ToldJson,
    /// The half of a character at the end of the arguments so far.
    half: Option<u16>,
}

impl ChunkBuilder {
    /// A builder that takes up to `max_tool_calls` calls, and `max_opaque_bytes` bytes that only
    /// the provider reads again.
    pub(crate) fn new(max_tool_calls: usize, max_opaque_bytes: usize) -> Self {
        Self { max_tool_calls, max_opaque_bytes, ..Self::default() }
    }

    /// Adds a JSON string to the text, and returns what that added; anything else is no text.
    pub(crate) fn text(&mut self, text: Raw<'_>) -> &str {
        let before = self.chunk.content.len();
        append(text, &mut self.text_half, &mut self.chunk.content);
        if text.is_text() {
            self.said(before);
        }
        self.chunk.content.get(before..).unwrap_or_default()
    }

    /// The same for text that says why the model refuses.
    pub(crate) fn refusal(&mut self, text: Raw<'_>) {
        let piece = self.text(text).to_owned();
        self.hold(piece.len());
        self.facts.refusal.get_or_insert_default().push_str(&piece);
        self.has_news = true;
    }

    /// Adds text that is no JSON string.
    pub(crate) fn plain_text(&mut self, text: &str) {
        self.text_half = None;
        let before = self.chunk.content.len();
        self.chunk.content.push_str(text);
        self.said(before);
    }

    /// The text that follows is a part for itself.
    pub(crate) fn new_text(&mut self) {
        self.hold(size_of::<ReplayPart>());
        self.parts.push(ReplayPart::Text { bytes: 0, extra: None });
    }

    /// The text that follows is another message: a blank line sets it apart for those who read, and
    /// does not go back to the provider.
    pub(crate) fn new_message(&mut self) {
        self.flush_text();
        self.hold(size_of::<ReplayPart>());
        self.chunk.content.push_str("\n\n");
        self.parts.push(ReplayPart::Gap { bytes: 2 });
    }

    /// Adds a JSON string to the reasoning; returns what that added.
    pub(crate) fn reasoning(&mut self, text: Raw<'_>) -> &str {
        let before = self.chunk.reasoning.len();
        append(text, &mut self.reasoning_half, &mut self.chunk.reasoning);
        if text.is_text() {
            self.seen.reasoning = true;
            self.progress = true;
        }
        self.chunk.reasoning.get(before..).unwrap_or_default()
    }

    /// Like [`reasoning`](Self::reasoning), and remembers the field that it goes back in.
    pub(crate) fn reasoning_in(&mut self, field: &'static str, text: Raw<'_>) {
        self.reasoning(text);
        self.reasoning_field.get_or_insert(field);
    }

    /// Like [`reasoning`](Self::reasoning), and adds the piece to `kept`, which goes back to the
    /// provider.
    pub(crate) fn kept_reasoning(&mut self, text: Raw<'_>, kept: &mut String) {
        let piece = self.reasoning(text);
        let bytes = piece.len();
        kept.push_str(piece);
        self.hold(bytes);
    }

    /// Adds a piece of a tool call, or a whole one, where the protocol does not say which call a
    /// piece belongs to; `arguments` is a string with JSON in it, or the JSON itself. Returns which of
    /// the answer's calls that is.
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
            Belongs::Nowhere => None,
        }
    }

    /// Begins a call; returns which of the answer's it is, if there is room for it.
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

    /// Adds a piece of the arguments of a call that is no JSON string.
    pub(crate) fn plain_arguments(&mut self, at: usize, piece: String) {
        if let Some(call) = self.calls.get_mut(at).filter(|_| !piece.is_empty()) {
            call.half = None;
            call.arguments.add(&piece);
            self.call_delta(ToolCallDelta { index: at, arguments: piece, ..Default::default() });
        }
    }

    /// Adds a piece of the arguments of a call.
    pub(crate) fn call_arguments(&mut self, at: usize, piece: Raw<'_>) {
        self.extend_call(at, Raw::default(), Raw::default(), piece);
    }

    fn extend_call(&mut self, at: usize, id: Raw<'_>, name: Raw<'_>, arguments: Raw<'_>) {
        // A result could not tell two calls with one id apart.
        let is_taken = self.call_with_id(id).is_some();
        let Some(call) = self.calls.get_mut(at) else { return };
        let mut piece = String::new();
        match arguments.literal() {
            Some(_) => append(arguments, &mut call.half, &mut piece),
            None => piece.push_str(arguments.json()),
        }
        call.arguments.add(&piece);
        let mut id = id.str().filter(|_| call.id.is_none()).map(Cow::into_owned);
        if id.is_some() {
            call.id.clone_from(&id);
            id = id.map(|id| if is_taken { format!("{id}_{at}") } else { id });
        }
        let name = name.str().and_then(|name| call.add_name(&name));
        if id.is_some() || name.is_some() || !piece.is_empty() {
            self.call_delta(ToolCallDelta { index: at, id, name, arguments: piece });
        }
    }

    /// Compares a call that is told again as a whole with what has come of it, and adds what is
    /// missing at its end. Its id and name count where none have come.
    pub(crate) fn whole_call(&mut self, at: usize, id: Raw<'_>, name: Raw<'_>, whole: Raw<'_>) {
        let Some(call) = self.calls.get(at) else { return };
        if name.is_text() && !call.name.is_empty() && !name.is(&call.name) {
            self.seen.gap = true;
            return;
        }
        self.extend_call(at, id, name, Raw::default());
        self.whole_arguments(at, &text_of(whole));
    }

    /// The same for the arguments alone.
    pub(crate) fn whole_arguments(&mut self, at: usize, whole: &str) {
        let Some(call) = self.calls.get(at) else { return };
        match call.arguments.rest(whole) {
            Some(rest) => self.plain_arguments(at, rest.to_owned()),
            None => self.seen.gap = true,
        }
    }

    /// The call with an id.
    pub(crate) fn call_with_id(&self, id: Raw<'_>) -> Option<usize> {
        let id = id.str()?;
        self.call_where(|call| call.id.as_deref() == Some(&*id)).map(|(at, _)| at)
    }

    /// How many calls there are.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing of a call's arguments has come.
    pub(crate) fn has_no_arguments(&self, at: usize) -> bool {
        self.calls.get(at).is_some_and(|call| call.arguments.is_empty())
    }

    /// Whether the name of a call never came: it is no call.
    pub(crate) fn has_nameless_call(&self) -> bool {
        self.calls.iter().any(|call| call.name.is_empty())
    }

    /// The call that a piece belongs to.
    ///
    /// Providers leave out ids or indices, repeat index 0, tell the id late, give each piece an id
    /// of its own, or all calls the same. So a call begins with its name, and a piece without one
    /// goes on with a call that is known: by its id, else its index, else the latest. A piece with a
    /// name goes on with a call only as far as its arguments can.
    fn find_call(
        &self,
        index: Option<u64>,
        id: Raw<'_>,
        name: Raw<'_>,
        arguments: Raw<'_>,
    ) -> Belongs {
        let piece = text_of(arguments);
        if !(id.is_text() || name.is_text()) && piece.is_empty() {
            return Belongs::Nowhere;
        }
        let has_id = |call: &BuiltCall| call.id.as_deref().is_some_and(|known| id.is(known));
        let at_index = index.and_then(|_| self.call_where(|call| call.index == index));
        let known = at_index.filter(|(_, call)| has_id(call)).or_else(|| self.call_where(has_id));
        let found = match (id.is_text(), name.is_text()) {
            _ if known.is_some() => known,
            // A new id begins a call, unless that of the call at its index is told late.
            (true, true) => at_index.filter(|(_, call)| call.id.is_none() || call.name.is_empty()),
            // An id alone announces a call at an index of its own; with arguments it is a new name
            // for the call that is being written.
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
            (false, _) if again => return Belongs::Nowhere,
            // A piece of the name; or the name of another call, if it is at another index.
            (true, true) => moved,
            // The name is whole before the arguments begin.
            (true, false) => true,
            // Told again at another index, as a whole where nothing else was told.
            (false, true) => moved && !is_whole,
            // Arguments that are whole cannot go on with another whole.
            (false, false) => moved || (is_named && is_whole && call.arguments.is_whole()),
        };
        if begins_another { Belongs::ToNewCall } else { Belongs::ToCall(at) }
    }

    /// The latest call of which something is true, and which of the answer's it is.
    fn call_where(&self, is: impl Fn(&BuiltCall) -> bool) -> Option<(usize, &BuiltCall)> {
        self.calls.iter().enumerate().rfind(|(_, call)| is(call))
    }

    /// Adds a piece of a call to the chunk. Pieces of one call in a row are one: a server could
    /// else make many of them out of a small event.
    fn call_delta(&mut self, delta: ToolCallDelta) {
        self.something();
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

    /// A part of the answer that is neither text nor a call, and that the provider demands back.
    /// Returns its place, for [`replace`](Self::replace).
    pub(crate) fn opaque(&mut self, part: Value) -> usize {
        self.hold(size_of::<ReplayPart>());
        if !self.is_full() {
            self.parts.push(ReplayPart::Opaque(part));
        }
        self.parts.len().saturating_sub(1)
    }

    /// The same part as it is now known: it keeps its place, whatever came after it.
    pub(crate) fn replace(&mut self, place: usize, part: Value) {
        if let Some(ReplayPart::Opaque(known)) = self.parts.get_mut(place) {
            *known = part;
        }
    }

    /// JSON that is kept for the provider, as a value. What it costs is counted first: beyond the
    /// limit it is `null`, and the stream ends.
    pub(crate) fn keep(&mut self, json: Raw<'_>) -> Value {
        self.hold(json.cost());
        if self.is_full() { Value::Null } else { json.value() }
    }

    /// The fields of an object but for those that are known, as they are kept for the provider.
    pub(crate) fn others(&mut self, json: Raw<'_>, but: &[(&str, Raw<'_>)]) -> Map<String, Value> {
        let mut others = Map::new();
        json.others(but, |name, value| self.keep_field(&mut others, name, value));
        others
    }

    /// Adds a field to an object that is kept for the provider.
    pub(crate) fn keep_field(&mut self, into: &mut Map<String, Value>, name: &str, value: Raw<'_>) {
        // A field takes some 110 bytes, and the first one as much as ten.
        self.hold(name.len() + if into.is_empty() { 640 } else { 128 });
        let value = self.keep(value);
        if !self.is_full() {
            into.insert(name.to_owned(), value);
        }
    }

    /// Counts what a decoder gathers for [`opaque`](Self::opaque) before it is whole.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.opaque_bytes = self.opaque_bytes.saturating_add(bytes);
    }

    /// Whether more is kept for the provider than the limit allows.
    pub(crate) fn is_full(&self) -> bool {
        self.opaque_bytes > self.max_opaque_bytes
    }

    /// A tool of the provider's own is at work: the answer goes on after it.
    pub(crate) fn own_tool(&mut self) {
        self.seen.own_tools = true;
        self.seen.at_work = true;
        self.progress = true;
    }

    /// Something has come that a person can use: text, a call, or a part that is neither, such as a
    /// picture.
    pub(crate) fn something(&mut self) {
        self.seen.anything = true;
        self.seen.at_work = false;
        self.progress = true;
    }

    /// The fields, if any, that the provider attaches to the latest text or call, and demands back
    /// with it.
    pub(crate) fn extra(&mut self, fields: Map<String, Value>) {
        let fields = Some(fields).filter(|fields| !fields.is_empty()).map(Value::from);
        match self.parts.last_mut() {
            _ if fields.is_none() => {}
            Some(ReplayPart::Text { extra, .. } | ReplayPart::Call { extra }) => *extra = fields,
            _ => self.parts.push(ReplayPart::Text { bytes: 0, extra: fields }),
        }
    }

    /// The same for a call of the answer's, whatever has come after it.
    pub(crate) fn call_extra(&mut self, at: usize, value: Value) {
        let mut calls = self.parts.iter_mut().filter_map(|part| match part {
            ReplayPart::Call { extra } => Some(extra),
            _ => None,
        });
        if let Some(extra) = calls.nth(at) {
            *extra = Some(value);
        }
    }

    /// The model stopped. A plain stop after tool calls means that it waits for their results.
    pub(crate) fn finish(&mut self, reason: FinishReason, word: &str) {
        let waits = reason == FinishReason::Stop && !self.calls.is_empty();
        self.chunk.finish_reason = Some(if waits { FinishReason::ToolCalls } else { reason });
        self.chunk.raw_finish_reason = Some(word.to_owned());
        self.seen.understood = true;
    }

    /// The model that answers; the first name that is not empty counts.
    pub(crate) fn model(&mut self, name: Raw<'_>) {
        if self.model.is_none() {
            self.model = name.str().map(|name| Arc::from(&*name));
        }
    }

    /// Something beside the pieces of the answer that counts as it is told first.
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

    /// The tier that serves the request; the latest word counts, since some begin with what was asked.
    pub(crate) fn service_tier(&mut self, word: Raw<'_>) {
        if word.literal() != self.facts.service_tier.as_deref()
            && let Some(word) = word.str()
        {
            self.facts.service_tier = Some(word.into_owned());
            self.has_news = true;
        }
    }

    /// Tokens used so far. A later 0 does not replace the tokens read or written that are known, and
    /// neither does what it says of their parts: some servers tell each number once, and 0 for it
    /// elsewhere. The total is the provider's own where it counts more than the two.
    pub(crate) fn usage(&mut self, told: Option<Usage>) {
        let Some(mut usage) = told else { return };
        let known = self.usage.unwrap_or_default();
        if usage.prompt_tokens == 0 {
            usage.prompt_tokens = known.prompt_tokens;
            usage.cached_tokens = known.cached_tokens.or(usage.cached_tokens);
            usage.cache_write_tokens = known.cache_write_tokens.or(usage.cache_write_tokens);
        }
        if usage.completion_tokens == 0 {
            usage.completion_tokens = known.completion_tokens;
            usage.reasoning_tokens = known.reasoning_tokens.or(usage.reasoning_tokens);
        }
        usage.cached_tokens = usage.cached_tokens.or(known.cached_tokens);
        usage.cache_write_tokens = usage.cache_write_tokens.or(known.cache_write_tokens);
        usage.reasoning_tokens = usage.reasoning_tokens.or(known.reasoning_tokens);
        let sum = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        usage.total_tokens = usage.total_tokens.max(sum);
        self.usage = Some(usage);
        self.chunk.usage = Some(usage);
    }

    /// The provider says that it failed: the error as it told it. It is kept whole, since JSON that
    /// is cut cannot be read; it is as large as an event at most.
    pub(crate) fn fail(&mut self, error: &str) {
        self.failure = Some(error.to_owned());
        self.seen.understood = true;
    }

    /// Takes the chunk out, so that the next event finds an empty one.
    pub(crate) fn take(&mut self) -> StreamChunk {
        StreamChunk { model: self.model.clone(), ..std::mem::take(&mut self.chunk) }
    }

    /// At the end of the answer: halves that were never joined become U+FFFD.
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

    /// About how much memory is kept for the provider.
    pub(crate) fn opaque_bytes(&self) -> usize {
        self.opaque_bytes
    }

    /// How to say the whole answer again, if one text and the calls after it do not tell it.
    pub(crate) fn replay(
        &mut self,
        provider: LlmProvider,
        protocol: Protocol,
        keeps_reasoning: bool,
        response: &GenerationResponse,
    ) -> Option<Replay> {
        let mut parts = std::mem::take(&mut self.parts);
        if protocol == Protocol::ChatCompletions {
            self.add_reasoning(&mut parts, keeps_reasoning, &response.reasoning);
            for part in &mut parts {
                if let ReplayPart::Text { bytes, extra } = part
                    && self.facts.refusal.as_ref().is_some_and(|text| text.len() == *bytes)
                {
                    *extra = Some("refusal".into());
                }
            }
        }
        parts.retain(|part| !matches!(part, ReplayPart::Text { bytes: 0, extra: None }));
        let is_plain = parts.iter().enumerate().all(|(at, part)| match part {
            // A Chat Completions message has one text, wherever the calls came.
            ReplayPart::Text { extra: None, .. } => {
                at == 0 || protocol == Protocol::ChatCompletions
            }
            part => matches!(part, ReplayPart::Call { extra: None }),
        });
        (!is_plain).then(|| {
            let fingerprint = fingerprint_of(&response.content, &response.tool_calls);
            Replay { provider, protocol, parts, fingerprint }
        })
    }

    /// Adds the reasoning under the name that it came under: that of calls, or all that the vendor
    /// wants back.
    fn add_reasoning(&self, parts: &mut Vec<ReplayPart>, keeps_all: bool, reasoning: &str) {
        let is_detailed = |part: &ReplayPart| matches!(part, ReplayPart::Opaque(_));
        if self.calls.is_empty() && !keeps_all {
            parts.retain(|part| !is_detailed(part));
        } else if let Some(field) = self.reasoning_field.filter(|_| !reasoning.is_empty())
            // OpenRouter reads the details instead.
            && !(field == "reasoning" && parts.iter().any(is_detailed))
        {
            parts.push(ReplayPart::Opaque(json!({ field: reasoning })));
        }
    }

    /// Notes that text came behind so many bytes of the chunk's; text with something attached is a
    /// part for itself.
    fn said(&mut self, before: usize) {
        self.something();
        self.seen.text = true;
        let more = self.chunk.content.len() - before;
        match self.parts.last_mut() {
            _ if more == 0 => {}
            Some(ReplayPart::Text { bytes, extra: None }) => *bytes += more,
            _ => self.parts.push(ReplayPart::Text { bytes: more, extra: None }),
        }
    }
}

/// Where a piece of a call belongs.
enum Belongs {
    ToCall(usize),
    ToNewCall,
    /// It tells nothing, or nothing new.
    Nowhere,
}

/// JSON that is told as a string, or as itself.
fn text_of(arguments: Raw<'_>) -> Cow<'_, str> {
    match arguments.literal() {
        Some(_) => arguments.str().unwrap_or_default(),
        None => Cow::Borrowed(arguments.json()),
    }
}

impl BuiltCall {
    /// Adds a piece of the name; returns the name as it is then known, if that is news. Some
    /// servers repeat the name in every piece, others tear it apart.
    fn add_name(&mut self, piece: &str) -> Option<String> {
        if piece == self.name {
            return None;
        }
        if piece.starts_with(&self.name) {
            piece.clone_into(&mut self.name);
        } else {
            self.name.push_str(piece);
        }
        Some(self.name.clone())
    }
}

/// Appends a JSON string to `text`; a half of a character at its end waits in `half` for the other.
fn append(string: Raw<'_>, half: &mut Option<u16>, text: &mut String) {
    let Some(literal) = string.literal().filter(|literal| !literal.is_empty()) else {
        return;
    };
    // A chunk has one text, as a rule: it gets as much room as that takes, and no more.
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

    /// What comes out of pieces of calls: index, name and arguments, piece by piece.
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
            // A new id without a name continues a call: at its index, or the latest.
            (&[["0", A, LOOK, NONE], ["0", B, "\"\"", "\"x\""]], &["0look()", "0(x)"]),
            (&[[NONE, A, LOOK, NONE], [NONE, B, NONE, "\"x\""]], &["0look()", "0(x)"]),
            (&[["0", A, LOOK, NONE], ["7", B, NONE, "\"x\""]], &["0look()", "0(x)"]),
            (&[["0", A, LOOK, NONE], ["7", NONE, NONE, "\"x\""]], &["0look()", "0(x)"]),
            // Unless it announces one, whose name comes later.
            (
                &[["0", A, LOOK, NONE], ["1", B, NONE, NONE], ["1", NONE, "\"go\"", "\"x\""]],
                &["0look()", "1()", "1go(x)"],
            ),
            // A call that is told again as a whole.
            (&[["0", A, LOOK, OBJECT], ["0", A, LOOK, OBJECT]], &[r#"0look({"x":1})"#]),
            (&[["0", A, LOOK, OBJECT], ["1", A, LOOK, r#"{"x": 1}"#]], &[r#"0look({"x":1})"#]),
            (
                &[["0", A, LOOK, "\"{\""], ["0", NONE, NONE, "\"}\""], ["1", A, LOOK, "{}"]],
                &["0look({)", "0(})"],
            ),
            (&[["0", A, LOOK, NONE], ["1", A, LOOK, "{}"]], &["0look()", "0({})"]),
            (&[["0", A, LOOK, "\"1\""], ["0", A, LOOK, "\"1\""]], &["0look(1)", "0(1)"]),
            // What tells nothing begins nothing.
            (&[["0", NONE, NONE, NONE]], &[]),
            (&[["0", "\"\"", "\"\"", "\"\""]], &[]),
            // Arguments that are whole cannot go on: Gemini gives parallel calls no ids and one index.
            (
                &[["0", "\"\"", LOOK, OBJECT], ["0", "\"\"", LOOK, "{}"]],
                &[r#"0look({"x":1})"#, "1look({})"],
            ),
            // One id for all.
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
            // Another name after the arguments is that of another call.
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
                // The same holds for what is written into a cache.
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
