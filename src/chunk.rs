//! What comes out: a [`StreamChunk`] is one piece of an answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::names;

/// One piece of an answer: an event with text, reasoning, a tool call, a finish reason or usage.
///
/// Events that carry none of these (pings, a bare role) give no chunk. Usage that comes before
/// anything else waits for it, so the first chunk is the first thing a person can use. One chunk can
/// carry several of them at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StreamChunk {
    /// The next piece of the answer's text; empty where this chunk has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// The next piece of what the model thinks before it answers, where the provider shows it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Pieces of tool calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
    /// Why the model stopped: set in the last chunk or near it (usage may follow).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// The finish reason in the provider's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_finish_reason: Option<String>,
    /// The model that answers, as the provider names it; kept from the event that told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// Tokens used so far. Each one replaces the one before it; never add them up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The event's data as it came, usually JSON; of several events in one chunk, one a line. Only
    /// with [`GenerationConfig::raw`](crate::GenerationConfig::raw).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

impl StreamChunk {
    /// The size of what a fold keeps of it.
    pub(crate) fn bytes(&self) -> usize {
        let calls: usize = self.tool_calls.iter().map(ToolCallDelta::bytes).sum();
        self.content.len() + self.reasoning.len() + calls
    }

    /// Whether there is a piece of the answer in it: text, reasoning or a tool call.
    pub(crate) fn has_piece(&self) -> bool {
        !(self.content.is_empty() && self.reasoning.is_empty() && self.tool_calls.is_empty())
    }

    /// Whether there is nothing in it that a caller could use.
    pub(crate) fn is_void(&self) -> bool {
        !self.has_piece() && self.finish_reason.is_none() && self.usage.is_none()
    }
}

/// A piece of a tool call. The pieces of one call share its [`index`](Self::index).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ToolCallDelta {
    /// Which call of this response it belongs to: 0 for the first, whatever the provider counts.
    pub index: usize,
    /// The provider's name for the call, in the piece that tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tool to call, in the piece that tells it. Should a later piece tell more of the name, it
    /// has the whole of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The next piece of the arguments' JSON text.
    pub arguments: String,
}

impl ToolCallDelta {
    fn bytes(&self) -> usize {
        let names = [&self.id, &self.name].into_iter().flatten();
        names.map(String::len).sum::<usize>() + self.arguments.len()
    }
}

names! {
    /// Why the model stopped, in terms that hold for every provider.
    ///
    /// [`StreamChunk::raw_finish_reason`] has the provider's own word.
    #[non_exhaustive]
    pub enum FinishReason {
        /// It had said everything, or met a stop sequence.
        Stop = "stop",
        /// It ran into `max_tokens` or the end of its context: the answer is cut short. Where you
        /// set no limit, it may have been ours: Anthropic demands one, which is listed in
        /// [`RequestPreview::adaptations`](crate::RequestPreview#structfield.adaptations).
        Length = "length",
        /// It waits for the results of the tools it called.
        ToolCalls = "tool_calls",
        /// The provider's filter stopped it, or it refused.
        ContentFilter = "content_filter",
        /// Something else; see the raw word.
        Other = "other",
    }

    /// The reason's name in snake case, as it is also serialised: `"tool_calls"`.
    pub fn as_str;
}

/// Tokens used, counted alike for every provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens read, those from a cache included.
    pub prompt_tokens: u64,
    /// Tokens written, reasoning included.
    pub completion_tokens: u64,
    /// Their sum, or the provider's own total where it counts more.
    pub total_tokens: u64,
    /// Of the tokens read: those that came from a cache. `None` where the provider does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Of the tokens read: those that were written into a cache, which some providers charge more
    /// for. `None` where the provider does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Of the tokens written: those spent on reasoning. `None` where the provider does not say.
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
