//! The whole of an answer: [`GenerationResponse`], chunks folded into one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chunk::{FinishReason, StreamChunk, ToolCallDelta, Usage};
use crate::message::{Message, Replay, ToolCall};
use crate::provider::LlmProvider;
use crate::seconds;

/// An answer as far as it has arrived.
///
/// [`GenerationStream::into_response`](crate::GenerationStream::into_response) and
/// [`generate`](crate::generate()) give one only when the answer is whole;
/// [`GenerationStream::response`](crate::GenerationStream::response) shows it at any time.
///
/// It serialises, so that a log can be written and read again, and a [`Message`] made of it later.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GenerationResponse {
    /// The text.
    pub content: String,
    /// What the model thought before it answered, where the provider shows it.
    pub reasoning: String,
    /// The tools that the model asks to be called, in order. After [`FinishReason::Length`] the
    /// last one's arguments may be cut.
    pub tool_calls: Vec<ToolCall>,
    /// Why the model stopped; `None` where the provider ended the answer without saying.
    pub finish_reason: Option<FinishReason>,
    /// The finish reason in the provider's own word.
    pub raw_finish_reason: Option<String>,
    /// The model that answered, as the provider names it.
    pub model: Option<Arc<str>>,
    /// Who was asked, once that is known.
    pub provider: Option<LlmProvider>,
    /// Tokens used; `None` where the provider does not say.
    pub usage: Option<Usage>,
    /// The id of the response: `id` in Chat Completions, Responses, Messages and Cohere's Chat,
    /// `responseId` from Gemini.
    pub id: Option<String>,
    /// The tier that served the request, in the provider's word, whatever was asked for:
    /// `service_tier` in Chat Completions (in the usage from Mistral), at the end of Responses and in
    /// the usage of Messages; `serviceTier` in that of Gemini. Cohere tells none.
    pub service_tier: Option<String>,
    /// Why the model refuses: the text of a `refusal` in Chat Completions and Responses, which is in
    /// [`content`](Self::content), too; the `explanation` in the `stop_details` of Messages, which is
    /// not.
    pub refusal: Option<String>,
    /// The rule behind a refusal: the `category` in the `stop_details` of Messages, such as `cyber`.
    pub refusal_category: Option<String>,
    /// What the provider's support asks for when something went wrong.
    pub request_id: Option<String>,
    /// The last response's headers about rate limits, also if it was an error, as they came, by
    /// their names in lower case.
    pub rate_limit: BTreeMap<String, String>,
    /// How often the request was tried again.
    pub retries: u32,
    /// From the first `next` to the end, well or not; zero before it. In JSON, it is in seconds.
    #[serde(with = "seconds")]
    pub latency: Duration,
    /// From the first `next` to the first text. In JSON, it is in seconds.
    #[serde(with = "seconds::optional")]
    pub time_to_first_text: Option<Duration>,
    /// How many chunks came.
    pub chunk_count: usize,
    /// The size of text, reasoning and tool calls.
    #[serde(skip)]
    pub(crate) bytes: usize,
    /// How the provider wants to hear it again; set once the answer is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<Replay>,
}

impl GenerationResponse {
    /// Adds a chunk.
    pub(crate) fn fold(&mut self, chunk: &StreamChunk) {
        self.chunk_count += usize::from(!chunk.is_void());
        if chunk.has_piece() {
            // What comes after a finish reason shows that it was none.
            self.finish_reason = None;
            self.raw_finish_reason = None;
        }
        self.bytes += chunk.bytes();
        self.content.push_str(&chunk.content);
        self.reasoning.push_str(&chunk.reasoning);
        for delta in &chunk.tool_calls {
            self.call(delta);
        }
        self.note(chunk);
        if chunk.finish_reason == Some(FinishReason::Length) {
            self.cut();
        }
    }

    /// Takes over what a chunk tells about the answer, without the piece of it.
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

    /// Takes over what is known beside the pieces of the answer.
    pub(crate) fn learn(&mut self, facts: &Self) {
        // Each is copied into the room that it has already.
        self.id.clone_from(&facts.id);
        self.service_tier.clone_from(&facts.service_tier);
        self.refusal_category.clone_from(&facts.refusal_category);
        // This one grows, and only what is new is copied.
        let known = self.refusal.as_ref().map_or(0, String::len);
        if let Some(more) = facts.refusal.as_ref().and_then(|refusal| refusal.get(known..)) {
            self.refusal.get_or_insert_default().push_str(more);
        }
    }

    /// The answer ends before the model did: what is missing from its last call was not left out.
    pub(crate) fn cut(&mut self) {
        if let Some(call) = self.tool_calls.last_mut() {
            call.cut = call.arguments.trim().is_empty();
        }
    }

    fn call(&mut self, delta: &ToolCallDelta) {
        if self.tool_calls.len() <= delta.index {
            // Its result needs an id to go back with: this one stays if the provider gives none.
            let id = ToolCall::made_up_id(delta.index);
            self.tool_calls.resize_with(delta.index + 1, || ToolCall::new(id.clone(), "", ""));
        }
        let Some(call) = self.tool_calls.get_mut(delta.index) else { return };
        if let Some(id) = &delta.id {
            call.id.clone_from(id);
        }
        if let Some(name) = &delta.name {
            // A later piece that tells more of the name has all of it.
            call.name.clone_from(name);
        }
        call.arguments.push_str(&delta.arguments);
    }
}

impl From<GenerationResponse> for Message {
    fn from(response: GenerationResponse) -> Self {
        let mut message = Self::assistant(response.content);
        message.tool_calls = response.tool_calls;
        message.replay = response.replay;
        message
    }
}

impl From<&GenerationResponse> for Message {
    fn from(response: &GenerationResponse) -> Self {
        let mut message = Self::assistant(&response.content);
        message.tool_calls.clone_from(&response.tool_calls);
        message.replay.clone_from(&response.replay);
        message
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
