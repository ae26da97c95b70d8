//! The response type [`GenerationResponse`], which is folded from chunks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attachment::Attachment;
use crate::chunk::{ChunkExtras, FinishReason, StreamChunk, TokenLogprob, ToolCallDelta, Usage};
use crate::message::{Message, Replay, ReplayPart, ToolCall};
use crate::provider::LlmProvider;
use crate::seconds;
use crate::source::Source;

/// A whole answer, or the part of it that has arrived.
///
/// [`GenerationStream::into_response`](crate::GenerationStream::into_response) and
/// [`generate`](crate::generate()) return it only if the answer is whole.
/// [`GenerationStream::response`](crate::GenerationStream::response) returns it at any time.
///
/// It implements `Serialize` and `Deserialize`, so it can be written to a log, read again, and then
/// converted into a [`Message`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GenerationResponse {
    /// The text of the answer.
    pub content: String,
    /// The model's reasoning before the answer. Empty if the provider does not show it.
    pub reasoning: String,
    /// The tool calls, in the model's order. After [`FinishReason::Length`], the arguments of the
    /// last call may be cut off.
    pub tool_calls: Vec<ToolCall>,
    /// The reason why the model stopped. `None` if the provider ended the answer without one.
    pub finish_reason: Option<FinishReason>,
    /// The finish reason in the provider's own word.
    pub raw_finish_reason: Option<String>,
    /// The model that answered, as the provider names it.
    pub model: Option<Arc<str>>,
    /// The provider that received the request. `None` until the provider is known.
    pub provider: Option<LlmProvider>,
    /// The token counts. `None` if the provider does not report them.
    pub usage: Option<Usage>,
    /// The pictures and sounds that the model made.
    pub attachments: Vec<Attachment>,
    /// The sources of the answer, in the order in which they were first cited or found. A source
    /// without citations was found, but the answer does not cite it.
    pub sources: Vec<Source>,
    /// The log probabilities of all tokens, if the option
    /// [`logprobs`](crate::GenerationConfig::logprobs) is set. Some providers include the tokens of
    /// the reasoning.
    pub logprobs: Vec<TokenLogprob>,
    /// The ID of the response. Its field is `responseId` in [`Protocol::GenerateContent`], and `id`
    /// in all other protocols.
    ///
    /// [`Protocol::GenerateContent`]: crate::Protocol::GenerateContent
    pub id: Option<String>,
    /// The service tier of the request, in the provider's word. A tier is a class of speed and
    /// price, such as `flex` or `priority`. It may differ from the requested tier.
    ///
    /// The field is `service_tier` in [`Protocol::ChatCompletions`] (for Mistral inside the usage),
    /// in the last event of [`Protocol::Responses`], and in the usage of [`Protocol::Messages`]. It
    /// is `serviceTier` in the usage of [`Protocol::GenerateContent`]. Cohere reports none.
    ///
    /// [`Protocol::ChatCompletions`]: crate::Protocol::ChatCompletions
    /// [`Protocol::Responses`]: crate::Protocol::Responses
    /// [`Protocol::Messages`]: crate::Protocol::Messages
    /// [`Protocol::GenerateContent`]: crate::Protocol::GenerateContent
    pub service_tier: Option<String>,
    /// The reason why the model refuses to answer.
    ///
    /// In [`Protocol::ChatCompletions`] and [`Protocol::Responses`] it is the text of a `refusal`,
    /// which is also part of [`content`](Self::content). In [`Protocol::Messages`] it is the
    /// `explanation` in `stop_details`, which is not part of `content`.
    ///
    /// [`Protocol::ChatCompletions`]: crate::Protocol::ChatCompletions
    /// [`Protocol::Responses`]: crate::Protocol::Responses
    /// [`Protocol::Messages`]: crate::Protocol::Messages
    pub refusal: Option<String>,
    /// The category of a refusal, such as `cyber`. It is the `category` in the `stop_details`
    /// of [`Protocol::Messages`](crate::Protocol::Messages).
    pub refusal_category: Option<String>,
    /// The ID of the request. The provider's support asks for it.
    pub request_id: Option<String>,
    /// The headers about rate limits, from the latest HTTP response, even if that was an error. The
    /// names are in lower case. The values are as received, up to 256 bytes, with keys redacted.
    pub rate_limit: BTreeMap<String, String>,
    /// The number of retries.
    pub retries: u32,
    /// The time from the `next` that asked for this response to its end, even if it ended with an
    /// error. It is zero until then. In JSON it is a number of seconds.
    #[serde(with = "seconds")]
    pub latency: Duration,
    /// The time from that `next` to the first text. In JSON it is a number of seconds.
    #[serde(with = "seconds::optional")]
    pub time_to_first_text: Option<Duration>,
    /// The number of chunks that arrived with a part of the answer. Chunks that have only sources,
    /// activity or a raw event are not counted.
    pub chunk_count: usize,
    /// Provider-specific data that is sent back unchanged (replay data). It is set once the
    /// answer is whole, if the provider needs any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<Replay>,
}

impl GenerationResponse {
    /// Adds a chunk.
    #[inline]
    pub(crate) fn fold(&mut self, chunk: &StreamChunk) {
        self.chunk_count += usize::from(chunk.is_part(self.chunk_count > 0));
        if chunk.has_piece() {
            // Content after a finish reason shows that the model had not stopped.
            self.finish_reason = None;
            self.raw_finish_reason = None;
        }
        self.content.push_str(&chunk.content);
        self.reasoning.push_str(&chunk.reasoning);
        for delta in &chunk.tool_calls {
            self.call(delta);
        }
        if chunk.has_extras() {
            self.add_extras(chunk);
        }
        self.note(chunk);
        if chunk.finish_reason == Some(FinishReason::Length) {
            self.mark_truncated();
        }
    }

    /// Adds pictures, sounds, log probabilities and sources.
    pub(crate) fn add_extras(&mut self, extras: &ChunkExtras) {
        self.attachments.extend_from_slice(&extras.attachments);
        self.logprobs.extend_from_slice(&extras.logprobs);
        extras.sources.iter().for_each(|source| self.cite(source));
    }

    /// Copies finish reason, model and usage from a chunk, but not its piece of the answer.
    pub(crate) fn note(&mut self, chunk: &StreamChunk) {
        if chunk.finish_reason.is_some() {
            self.finish_reason = chunk.finish_reason;
            self.raw_finish_reason.clone_from(&chunk.raw_finish_reason);
        }
        if self.model.is_none() {
            self.model.clone_from(&chunk.model);
        }
        self.usage = chunk.usage.or(self.usage);
    }

    /// Copies the facts about the response that no chunk carries.
    pub(crate) fn learn(&mut self, facts: &Self) {
        // `clone_from` reuses the memory of the old value.
        self.id.clone_from(&facts.id);
        self.service_tier.clone_from(&facts.service_tier);
        self.refusal_category.clone_from(&facts.refusal_category);
        // The refusal grows, and only its new part is copied.
        let known = self.refusal.as_ref().map_or(0, String::len);
        if let Some(more) = facts.refusal.as_ref().and_then(|refusal| refusal.get(known..)) {
            self.refusal.get_or_insert_default().push_str(more);
        }
    }

    /// Returns whether the provider has only paused. Anthropic pauses a long turn of its own tools,
    /// and goes on if it gets the turn back.
    pub(crate) fn has_paused(&self) -> bool {
        self.raw_finish_reason.as_deref() == Some("pause_turn") && self.tool_calls.is_empty()
    }

    /// Returns the text of the last message.
    pub(crate) fn last_text(&self) -> &str {
        let mut start = 0;
        let mut at = 0;
        for part in self.replay.iter().flat_map(|replay| &replay.parts) {
            match part {
                ReplayPart::Text { bytes, .. } => at += bytes,
                ReplayPart::Gap { bytes } => {
                    at += bytes;
                    start = at;
                }
                _ => {}
            }
        }
        self.content.get(start..).unwrap_or_default()
    }

    /// Marks the last tool call as cut off if it has no arguments. In a truncated answer they are
    /// missing, while empty arguments of a whole call mean `{}`.
    pub(crate) fn mark_truncated(&mut self) {
        if let Some(call) = self.tool_calls.last_mut() {
            call.cut = call.arguments.trim().is_empty();
        }
    }

    fn cite(&mut self, source: &Source) {
        match self.sources.get_mut(source.number.saturating_sub(1)) {
            None => self.sources.push(source.clone()),
            Some(known) => {
                known.title = known.title.take().or_else(|| source.title.clone());
                known.citations.extend_from_slice(&source.citations);
            }
        }
    }

    fn call(&mut self, delta: &ToolCallDelta) {
        if self.tool_calls.len() <= delta.index {
            // The tool result refers to the call by its ID. This one is kept if the provider sends
            // none.
            let id = ToolCall::made_up_id(delta.index);
            self.tool_calls.resize_with(delta.index + 1, || ToolCall::new(id.clone(), "", ""));
        }
        let Some(call) = self.tool_calls.get_mut(delta.index) else { return };
        if let Some(id) = &delta.id {
            call.id.clone_from(id);
        }
        if let Some(name) = &delta.name {
            // If the provider sends the name in parts, each later delta has the whole name so far.
            call.name.clone_from(name);
        }
        call.arguments.push_str(&delta.arguments);
    }
}

impl From<GenerationResponse> for Message {
    fn from(response: GenerationResponse) -> Self {
        let GenerationResponse { content, tool_calls, replay, .. } = response;
        Self { tool_calls, replay, ..Self::assistant(content) }
    }
}

impl From<&GenerationResponse> for Message {
    fn from(response: &GenerationResponse) -> Self {
        let GenerationResponse { content, tool_calls, replay, .. } = response;
        Self { tool_calls: tool_calls.clone(), replay: replay.clone(), ..Self::assistant(content) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::message::ReplayPart;
    use crate::provider::Protocol;

    #[test]
    fn a_log_can_be_written_and_read_again() {
        let response = GenerationResponse {
            content: "Hi".into(),
            model: Some("m".into()),
            latency: Duration::from_millis(1500),
            time_to_first_text: Some(Duration::from_millis(250)),
            replay: Some(Replay {
                provider: LlmProvider::Anthropic,
                protocol: Protocol::Messages,
                parts: vec![ReplayPart::Opaque(json!({"type": "thinking"}))],
                fingerprint: 0,
            }),
            ..GenerationResponse::default()
        };
        let written = serde_json::to_string(&response).unwrap();
        let read: GenerationResponse = serde_json::from_str(&written).unwrap();
        assert_eq!(read, response, "{written}");
        assert_eq!(Message::from(read).replay, response.replay);
        let written: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(
            (&written["latency"], &written["time_to_first_text"]),
            (&json!(1.5), &json!(0.25))
        );
    }
}
