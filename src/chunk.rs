//! The pieces of an answer: [`StreamChunk`] and the types of its fields.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize};

use crate::activity::Activity;
use crate::attachment::Attachment;
use crate::names::names;
use crate::source::Source;

/// One piece of an answer: text, reasoning, tool calls, a finish reason, usage, or several of them.
///
/// A chunk also has the fields of [`ChunkExtras`], as if they were its own: `chunk.attachments`,
/// `chunk.sources`, `chunk.activity`, `chunk.logprobs`, `chunk.phase`, `chunk.raw` and
/// `chunk.raw_event`.
///
/// An event without anything for these fields gives no chunk, such as a ping (an event that keeps
/// the connection open), unless [`raw`](crate::GenerationConfig::raw) is set. Usage that arrives
/// before the first piece of the answer is part of that piece's chunk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StreamChunk {
    /// The next piece of text. It is empty if this chunk has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// The next piece of the model's reasoning. It is empty if this chunk has none, or if the
    /// provider does not show it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// The next pieces of tool calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
    /// The reason why the model stopped. It is set in the last chunk of a response or near it: usage
    /// may follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// The finish reason in the provider's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_finish_reason: Option<String>,
    /// The model that answers, as the provider names it. Later chunks repeat the name even if their
    /// events do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// The tokens that the response has used so far. The value replaces that of earlier chunks of the
    /// response: do not add them up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(flatten, deserialize_with = "extras")]
    extras: Option<Box<ChunkExtras>>,
}

/// The fields of a [`StreamChunk`] that most chunks do not have. They are fields of the chunk, too:
/// read them as `chunk.sources`, `chunk.activity` and so on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ChunkExtras {
    /// The pictures and sounds that the model made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The sources that the answer cites or that were found, with the new citations of each. They
    /// may arrive before, after or long after the text that they support:
    /// [`Citation::span`](crate::Citation::span) says where they belong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// The events besides the answer itself: retries, and what tools do, those of the provider and
    /// those that [`run_tools`](crate::GenerationStream::run_tools) runs. The response does not keep
    /// them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub activity: Vec<Activity>,
    /// The log probabilities of the new tokens, if the option
    /// [`logprobs`](crate::GenerationConfig::logprobs) is set. Some providers include the tokens of
    /// the reasoning. The texts of the tokens may differ from the text of the chunk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    /// The phase to which the text from here on belongs, in the provider's word, such as
    /// `commentary` or `final_answer`. It holds until a chunk names another one. The response does
    /// not keep it. Only [`Protocol::Responses`](crate::Protocol::Responses) has phases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The data of the event as received, usually JSON, or an end marker such as `[DONE]`. With
    /// [`GenerationConfig::raw`](crate::GenerationConfig::raw), each event gives one chunk, even if
    /// the chunk has nothing else. Otherwise it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The name of the event in `raw`. `None` if the event has no name, or if `raw` is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_event: Option<String>,
}

/// The extras of a chunk that has none.
static NO_EXTRAS: LazyLock<ChunkExtras> = LazyLock::new(ChunkExtras::default);

/// A chunk is moved often, so its rare fields are boxed together. They are read as its own.
impl Deref for StreamChunk {
    type Target = ChunkExtras;

    fn deref(&self) -> &ChunkExtras {
        self.extras.as_deref().unwrap_or(&NO_EXTRAS)
    }
}

impl DerefMut for StreamChunk {
    fn deref_mut(&mut self) -> &mut ChunkExtras {
        self.extras.get_or_insert_default()
    }
}

/// Reads the extras of a chunk. They are `None` if all of them are empty.
fn extras<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<ChunkExtras>>, D::Error> {
    let extras = ChunkExtras::deserialize(from)?;
    Ok((extras != *NO_EXTRAS).then(|| Box::new(extras)))
}

impl StreamChunk {
    /// Returns whether the chunk has any of the rare fields.
    pub(crate) fn has_extras(&self) -> bool {
        self.extras.is_some()
    }

    /// Returns the number of bytes that this chunk adds to a response. The rare fields are counted
    /// when they are added.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        let calls: usize = self.tool_calls.iter().map(ToolCallDelta::bytes).sum();
        self.content.len() + self.reasoning.len() + calls
    }

    /// Returns whether the chunk has a piece of the answer: text, reasoning, a tool call, or a
    /// picture or sound.
    pub(crate) fn has_piece(&self) -> bool {
        !(self.content.is_empty() && self.reasoning.is_empty() && self.tool_calls.is_empty())
            || self.extras.as_ref().is_some_and(|extras| !extras.attachments.is_empty())
    }

    /// Returns whether the chunk has sources, activity or log probabilities. A user wants to see
    /// them at once, even before the answer begins.
    pub(crate) fn has_news(&self) -> bool {
        self.extras.as_ref().is_some_and(|it| {
            !(it.sources.is_empty() && it.activity.is_empty() && it.logprobs.is_empty())
        })
    }

    /// Returns whether the chunk is a part of the answer. Usage alone is one only after the answer
    /// has begun.
    pub(crate) fn is_part(&self, has_begun: bool) -> bool {
        self.has_piece() || self.finish_reason.is_some() || (has_begun && self.usage.is_some())
    }
}

/// A token that the model wrote, and its log probability.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TokenLogprob {
    /// The token as text.
    pub token: String,
    /// The natural logarithm of the token's probability.
    pub logprob: f64,
    /// The most likely tokens at this position, and the log probability of each. The token itself
    /// is usually one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<(String, f64)>,
}

/// A piece of a tool call. The pieces of one call share its [`index`](Self::index).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ToolCallDelta {
    /// The position of the call in this response. The first call has 0, even if the provider counts
    /// differently.
    pub index: usize,
    /// The ID of the call. It is set in one piece of the call, usually the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the tool. It is usually set in the first piece of the call. If a provider sends
    /// the name in parts, each later delta contains the whole name so far: replace the old value,
    /// do not append.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The next piece of the arguments, which are JSON text.
    pub arguments: String,
}

impl ToolCallDelta {
    fn bytes(&self) -> usize {
        let names = [&self.id, &self.name].into_iter().flatten();
        names.map(String::len).sum::<usize>() + self.arguments.len()
    }
}

names! {
    /// The reason why the model stopped, with the same meaning for every provider.
    ///
    /// [`StreamChunk::raw_finish_reason`] has the provider's own word.
    #[non_exhaustive]
    pub enum FinishReason {
        /// The model finished its answer, or reached one of the stop sequences that you set.
        Stop = "stop",
        /// The model reached `max_tokens` or the end of its context: the answer is truncated. If
        /// you set no `max_tokens`, the crate sends a limit of its own to Anthropic, which requires
        /// one. [`RequestPreview::adaptations`](crate::RequestPreview#structfield.adaptations)
        /// lists it.
        Length = "length",
        /// The model waits for the results of its tool calls.
        ToolCalls = "tool_calls",
        /// The provider's content filter stopped the model, or the model refused.
        ContentFilter = "content_filter",
        /// The model stopped for another reason, which the raw finish reason names.
        Other = "other",
    }

    /// Returns the reason's name in snake case, such as `"tool_calls"`. It is serialised the same
    /// way.
    pub fn as_str;
}

/// Token counts, with the same meaning for every provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt, including cached ones.
    pub prompt_tokens: u64,
    /// Tokens that the model generated, including reasoning.
    pub completion_tokens: u64,
    /// The sum of both, or the provider's own total if that is larger.
    pub total_tokens: u64,
    /// Prompt tokens that were read from a cache. `None` if the provider does not report them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Prompt tokens that were written into a cache. Some providers charge more for them. `None` if
    /// the provider does not report them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Generated tokens that were used for reasoning. `None` if the provider does not report them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_written_as_it_is_serialised() {
        use FinishReason::{ContentFilter, Length, Other, Stop, ToolCalls};
        for reason in [Stop, Length, ToolCalls, ContentFilter, Other] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(reason.to_string(), reason.as_str());
        }
    }

    #[test]
    fn a_chunk_can_be_written_and_read_again() {
        let delta = ToolCallDelta { index: 1, name: Some("go".into()), ..Default::default() };
        let chunk = StreamChunk {
            content: "Hi".into(),
            tool_calls: vec![delta],
            finish_reason: Some(FinishReason::Length),
            model: Some("m".into()),
            usage: Some(Usage { prompt_tokens: 3, ..Usage::default() }),
            ..StreamChunk::default()
        };
        let written = serde_json::to_string(&chunk).unwrap();
        assert_eq!(serde_json::from_str::<StreamChunk>(&written).unwrap(), chunk, "{written}");
        assert_eq!(serde_json::from_str::<StreamChunk>("{}").unwrap(), StreamChunk::default());
    }
}
