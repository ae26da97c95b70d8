//! What decoders write into: one chunk at a time, and what has to be remembered from event to
//! event.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::wire::Raw;
use super::{LlmProvider, Protocol};
use crate::chunk::{FinishReason, StreamChunk, ToolCallDelta, Usage};
use crate::message::{Part, Replay};

/// The piece of an answer that an event brings.
///
/// It joins what providers tear apart (halves of a character) and tells apart what they mix up
/// (tool calls), in one place for every protocol.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) chunk: StreamChunk,
    /// The protocol's own end marker has come.
    pub(crate) ended: bool,
    /// The provider's own word for a failure: JSON or text.
    pub(crate) failure: Option<String>,
    /// There are more tool calls than the limit.
    pub(crate) too_many_calls: bool,
    max_tool_calls: usize,
    model: Option<Arc<str>>,
    calls: Vec<Call>,
    /// The order of the whole answer, with what the provider will want to see again.
    parts: Vec<Part>,
    /// The size of that beyond text and calls.
    opaque_bytes: usize,
    /// The first half of a character whose second half is still to come.
    halves: Halves,
}

/// How a provider names a call, as far as it is known.
#[derive(Debug)]
struct Call {
    id: Option<String>,
    index: Option<u64>,
}

/// The halves that wait, for each kind of text.
#[derive(Debug, Default)]
struct Halves {
    text: Option<u16>,
    reasoning: Option<u16>,
    arguments: Option<u16>,
}

impl Output {
    /// An output that takes up to so many tool calls.
    pub(crate) fn new(max_tool_calls: usize) -> Self {
        Self { max_tool_calls, ..Self::default() }
    }

    /// Adds a JSON string to the text; anything else is no text.
    pub(crate) fn text(&mut self, text: Raw<'_>) {
        if text.literal().is_none_or(str::is_empty) {
            return;
        }
        let before = self.chunk.content.len();
        append(text, &mut self.halves.text, &mut self.chunk.content);
        self.said(self.chunk.content.len() - before);
    }

    /// The text that follows is a part for itself.
    pub(crate) fn new_text(&mut self) {
        self.parts.push(Part::Text { bytes: 0, extra: None });
    }

    /// Adds a JSON string to the reasoning; returns what that added.
    pub(crate) fn reasoning(&mut self, text: Raw<'_>) -> &str {
        let before = self.chunk.reasoning.len();
        append(text, &mut self.halves.reasoning, &mut self.chunk.reasoning);
        self.chunk.reasoning.get(before..).unwrap_or_default()
    }

    /// Adds a piece of a tool call, or a whole one.
    ///
    /// Providers leave out ids or indices, repeat index 0, or tell the id late: the id decides,
    /// then the index, and without either it is the latest call. `arguments` is a string with JSON
    /// in it, or the JSON itself.
    pub(crate) fn tool_call(
        &mut self,
        index: Raw<'_>,
        id: Raw<'_>,
        name: Raw<'_>,
        arguments: Raw<'_>,
    ) {
        let (id, name) = (id.str(), name.str());
        let wire_index = index.u64();
        let same_id = |call: &Call| call.id.is_some() && call.id.as_deref() == id.as_deref();
        let same_index = |call: &Call| call.index.is_some() && call.index == wire_index;
        let found = match &id {
            Some(_) => self.calls.iter().rposition(same_id).or_else(|| {
                self.calls.iter().rposition(|call| same_index(call) && call.id.is_none())
            }),
            None if wire_index.is_some() => self.calls.iter().rposition(same_index),
            None if name.is_some() => None,
            None => self.calls.len().checked_sub(1),
        };
        let new = found.is_none();
        let index = found.unwrap_or(self.calls.len());
        if new {
            if self.calls.len() >= self.max_tool_calls {
                self.too_many_calls = true;
                return;
            }
            self.calls.push(Call { id: None, index: wire_index });
            self.parts.push(Part::Call { extra: None });
            self.halves.arguments = None;
        }
        let mut delta = ToolCallDelta { index, ..ToolCallDelta::default() };
        if let Some(call) = self.calls.get_mut(index)
            && call.id.is_none()
            && let Some(id) = id
        {
            call.id = Some(id.clone().into_owned());
            delta.id = Some(id.into_owned());
        }
        delta.name = name.map(Cow::into_owned);
        match arguments.literal() {
            Some(_) => append(arguments, &mut self.halves.arguments, &mut delta.arguments),
            None => delta.arguments.push_str(arguments.json()),
        }
        if new || delta.name.is_some() || delta.id.is_some() || !delta.arguments.is_empty() {
            self.chunk.tool_calls.push(delta);
        }
    }

    /// A part of the answer that is neither text nor a call, and that the provider demands back.
    /// Returns its place, for [`replace`](Self::replace).
    pub(crate) fn opaque(&mut self, part: Value, bytes: usize) -> usize {
        self.opaque_bytes += bytes;
        self.parts.push(Part::Opaque(part));
        self.parts.len() - 1
    }

    /// The same part as it is now known: it keeps its place, whatever came after it.
    pub(crate) fn replace(&mut self, place: usize, part: Value, bytes: usize) {
        if let Some(Part::Opaque(known)) = self.parts.get_mut(place) {
            *known = part;
            self.opaque_bytes += bytes;
        }
    }

    /// Counts what a decoder gathers for [`opaque`](Self::opaque) before it is whole.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.opaque_bytes += bytes;
    }

    /// What the provider attaches to the latest text or call, and demands back with it.
    pub(crate) fn extra(&mut self, value: Value, bytes: usize) {
        self.opaque_bytes += bytes;
        match self.parts.last_mut() {
            Some(Part::Text { extra, .. } | Part::Call { extra }) => *extra = Some(value),
            _ => self.parts.push(Part::Text { bytes: 0, extra: Some(value) }),
        }
    }

    /// The model stopped. A plain stop after tool calls means that it waits for their results.
    pub(crate) fn finish(&mut self, reason: FinishReason, word: &str) {
        let waits = reason == FinishReason::Stop && !self.calls.is_empty();
        self.chunk.finish_reason = Some(if waits { FinishReason::ToolCalls } else { reason });
        self.chunk.raw_finish_reason = Some(word.to_owned());
    }

    /// The model that answers; the first name that is not empty counts.
    pub(crate) fn model(&mut self, name: Raw<'_>) {
        if self.model.is_none() {
            self.model = name.str().map(|name| Arc::from(&*name));
        }
    }

    /// Tokens used so far. The total is the provider's own where it counts more than the two parts.
    pub(crate) fn usage(&mut self, mut usage: Usage) {
        let sum = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        usage.total_tokens = usage.total_tokens.max(sum);
        self.chunk.usage = Some(usage);
    }

    /// The provider says that it failed: the error as it told it.
    pub(crate) fn fail(&mut self, error: impl Into<String>) {
        self.failure = Some(error.into());
    }

    /// Takes the chunk out, so that the next event finds an empty one.
    pub(crate) fn take(&mut self) -> StreamChunk {
        StreamChunk { model: self.model.clone(), ..std::mem::take(&mut self.chunk) }
    }

    /// At the end of the answer: halves that were never joined become U+FFFD.
    pub(crate) fn flush(&mut self) {
        if self.halves.reasoning.take().is_some() {
            self.chunk.reasoning.push(char::REPLACEMENT_CHARACTER);
        }
        if self.halves.text.take().is_some() {
            self.chunk.content.push(char::REPLACEMENT_CHARACTER);
            self.said(char::REPLACEMENT_CHARACTER.len_utf8());
        }
    }

    /// How much is kept for the provider.
    pub(crate) fn opaque_bytes(&self) -> usize {
        self.opaque_bytes
    }

    /// How to say the whole answer again, if text and calls alone do not tell it.
    pub(crate) fn replay(&mut self, provider: LlmProvider, protocol: Protocol) -> Option<Replay> {
        let parts = std::mem::take(&mut self.parts);
        let plain = |part: &Part| {
            matches!(part, Part::Text { extra: None, .. } | Part::Call { extra: None })
        };
        (!parts.iter().all(plain)).then_some(Replay { provider, protocol, parts })
    }

    /// Notes that so many bytes of text came; text with something attached is a part for itself.
    fn said(&mut self, more: usize) {
        match self.parts.last_mut() {
            _ if more == 0 => {}
            Some(Part::Text { bytes, extra: None }) => *bytes += more,
            _ => self.parts.push(Part::Text { bytes: more, extra: None }),
        }
    }
}

/// Appends a JSON string to `text`. JSON may escape a character beyond the basic plane as two
/// halves, and some servers put them into two events: a half at the end waits in `half` for the
/// other.
fn append(string: Raw<'_>, half: &mut Option<u16>, text: &mut String) {
    let Some(literal) = string.literal().filter(|literal| !literal.is_empty()) else {
        return;
    };
    if half.is_none() {
        if memchr::memchr(b'\\', literal.as_bytes()).is_none() {
            return join(text, Cow::Borrowed(literal));
        }
        if let Ok(unescaped) = serde_json::from_str(string.json()) {
            return join(text, Cow::Owned(unescaped));
        }
    }
    let mut units: Vec<u16> = half.take().into_iter().chain(utf16(literal)).collect();
    *half = units.pop_if(|last| (0xd800..0xdc00).contains(last));
    text.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

/// Appends without a copy more than it takes, and without room for more: a chunk has one text, as a
/// rule.
fn join(text: &mut String, more: Cow<'_, str>) {
    if text.is_empty() {
        *text = more.into_owned();
    } else {
        text.push_str(&more);
    }
}

/// The UTF-16 code units of a JSON string literal that is known to be well-formed.
fn utf16(literal: &str) -> Vec<u16> {
    let mut units = Vec::with_capacity(literal.len());
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        let c = match (c, if c == '\\' { chars.next() } else { None }) {
            (_, Some('u')) => {
                let digits: String = chars.by_ref().take(4).collect();
                units.push(u16::from_str_radix(&digits, 16).unwrap_or(0xfffd));
                continue;
            }
            (_, Some('b')) => '\u{8}',
            (_, Some('f')) => '\u{c}',
            (_, Some('n')) => '\n',
            (_, Some('r')) => '\r',
            (_, Some('t')) => '\t',
            (_, Some(itself)) => itself,
            (c, None) => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Raw<'_> {
        serde_json::from_str(json).unwrap()
    }

    fn texts(pieces: &[&str]) -> Vec<String> {
        let mut output = Output::default();
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

    fn calls(pieces: &[(&str, &str, &str, &str)]) -> Vec<(usize, String)> {
        let mut output = Output { max_tool_calls: 9, ..Output::default() };
        for (index, id, name, arguments) in pieces {
            output.tool_call(raw(index), raw(id), raw(name), raw(arguments));
        }
        output.chunk.tool_calls.into_iter().map(|d| (d.index, d.arguments)).collect()
    }

    #[test]
    fn calls_are_told_apart_by_id_then_index_then_order() {
        let indices = |pieces: &[_]| calls(pieces).into_iter().map(|(i, _)| i).collect::<Vec<_>>();
        let (a, b, n) = ("\"a\"", "\"b\"", "\"look\"");
        assert_eq!(indices(&[("0", a, n, "null"), ("0", "null", "null", "\"x\"")]), [0, 0]);
        assert_eq!(indices(&[("0", a, n, "null"), ("0", "\"\"", "null", "\"x\"")]), [0, 0]);
        assert_eq!(indices(&[("0", a, n, "null"), ("0", b, n, "null")]), [0, 1]);
        assert_eq!(indices(&[("0", "null", n, "null"), ("0", a, "null", "null")]), [0, 0]);
        assert_eq!(indices(&[("null", a, n, "null"), ("null", "null", "null", "\"x\"")]), [0, 0]);
        assert_eq!(indices(&[("null", "null", n, "{}"), ("null", "null", n, "{}")]), [0, 1]);
        assert_eq!(indices(&[("4000000000", a, n, "{}"), ("7", b, n, "{}")]), [0, 1]);
        let mixed = [("1", b, n, "\"1\""), ("0", a, n, "\"2\""), ("1", "null", "null", "\"3\"")];
        assert_eq!(indices(&mixed), [0, 1, 0]);
        assert_eq!(calls(&[("0", a, n, r#"{"x": 1}"#)]), [(0, r#"{"x": 1}"#.to_owned())]);
    }
}
