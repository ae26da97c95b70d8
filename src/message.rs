//! What is asked: a [`Prompt`] is a conversation, a list of [`Message`]s.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attachment::Attachment;
use crate::names::names;
use crate::provider::{LlmProvider, Protocol};

/// What is asked of the model: one or more messages.
///
/// You seldom name this type. Whatever reads as a prompt converts into it: text, one message, and
/// arrays, slices, vectors and iterators of messages.
///
/// ```
/// use kerb_stream::{Message, Prompt};
///
/// let question = Prompt::from("Why is the sky blue?");
/// let conversation = Prompt::from([
///     Message::system("Answer in one sentence."),
///     Message::user("Why is the sky blue?"),
/// ]);
/// let filtered: Prompt = conversation.into_iter().filter(|m| !m.content.is_empty()).collect();
/// # assert_eq!(question.messages().len() + filtered.messages().len(), 3);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prompt {
    messages: Vec<Message>,
}

impl Prompt {
    /// The messages, in the order in which the model reads them.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
}

/// One turn of a conversation.
///
/// The fields are yours to change. A message serialises, so that a history can be saved and
/// continued later, and keeps what its provider wants to see again (see [`Message::assistant`]).
///
/// ```
/// use kerb_stream::Message;
///
/// let saved = serde_json::to_string(&[Message::user("Hello")])?;
/// let history: Vec<Message> = serde_json::from_str(&saved)?;
/// assert_eq!(history, [Message::user("Hello")]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Who says it.
    pub role: MessageRole,
    /// The text.
    #[serde(default)]
    pub content: String,
    /// What belongs to the text. Only user messages may have attachments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The tools that an assistant message asks to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// In a tool message: the [`ToolCall::id`] that this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// In a tool message: the tool failed, and the text says how.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    /// What only the provider that wrote this turn understands, and demands back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<Replay>,
}

impl Message {
    /// What the model should keep to throughout.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(MessageRole::System, content)
    }

    /// What the person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(MessageRole::User, content)
    }

    /// What the model said.
    ///
    /// To continue a conversation, prefer `Message::from(response)`: next to the text it carries
    /// the tool calls, and what some providers demand to see again (signed thoughts, reasoning
    /// items).
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(MessageRole::Assistant, content)
    }

    /// The result of a tool call: `call_id` is the [`ToolCall::id`] that the model gave it.
    pub fn tool(call_id: impl Into<String>, result: impl Into<String>) -> Self {
        Self { tool_call_id: Some(call_id.into()), ..Self::new(MessageRole::Tool, result) }
    }

    /// The failure of a tool call, for the model to read: it may try something else.
    ///
    /// It is marked as one where the protocol has a word for it (Messages and Gemini); elsewhere the
    /// text alone says so.
    pub fn tool_error(call_id: impl Into<String>, error: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::tool(call_id, error) }
    }

    /// Adds an attachment. For now only pictures can be sent.
    #[must_use]
    pub fn attach(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    fn new(role: MessageRole, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            attachments: Vec::new(),
            tool_calls: Vec::new(),
            tool_call_id: None,
            is_error: false,
            replay: None,
        }
    }

    /// The turn in the order in which the model said it, for the protocol that is to hear it again.
    ///
    /// Without a memory of that order (another protocol wrote it, or the caller changed the text),
    /// it is the text and then the calls.
    pub(crate) fn turn(&self, protocol: Protocol) -> Vec<TurnPart<'_>> {
        self.remembered(protocol).unwrap_or_else(|| {
            let text = (!self.content.is_empty()).then_some(TurnPart::Text(&self.content, None));
            let calls = self.tool_calls.iter().map(|call| TurnPart::Call(call, None));
            text.into_iter().chain(calls).collect()
        })
    }

    /// The turn as the model said it, if that is known.
    pub(crate) fn remembered(&self, protocol: Protocol) -> Option<Vec<TurnPart<'_>>> {
        let replay = self.replay.as_ref().filter(|r| r.protocol == protocol)?;
        let is_unchanged = replay.fingerprint == fingerprint_of(&self.content, &self.tool_calls);
        let replay = Some(replay).filter(|_| is_unchanged)?;
        let (mut text, mut calls) = (self.content.as_str(), self.tool_calls.iter());
        let mut turn = Vec::with_capacity(replay.parts.len());
        for part in &replay.parts {
            turn.push(match part {
                ReplayPart::Opaque(value) => TurnPart::Opaque(value),
                ReplayPart::Text { bytes, extra } => {
                    let (said, rest) = text.split_at_checked(*bytes)?;
                    text = rest;
                    TurnPart::Text(said, extra.as_ref())
                }
                ReplayPart::Gap { bytes } => {
                    text = text.split_at_checked(*bytes)?.1;
                    continue;
                }
                ReplayPart::Call { extra } => TurnPart::Call(calls.next()?, extra.as_ref()),
            });
        }
        (text.is_empty() && calls.next().is_none()).then_some(turn)
    }
}

names! {
    /// Who says a [`Message`].
    #[allow(clippy::exhaustive_enums)] // a fifth role would be a new kind of conversation
    pub enum MessageRole {
        /// Instructions that hold for the whole conversation.
        System = "system",
        /// The person.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// The result of a tool that the model asked for.
        Tool = "tool",
    }

    /// The role as most providers spell it: `"system"`, `"user"`, `"assistant"`, `"tool"`.
    pub fn as_str;
}

/// A call of a tool, as the model asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ToolCall {
    /// The provider's name for this call; the result refers to it. Where the provider gives none, the
    /// crate makes one that is unique within the response; where it gives that of an earlier call, the
    /// crate adds the call's index.
    pub id: String,
    /// The tool to call.
    pub name: String,
    /// The arguments as the model wrote them: JSON text, usually an object. Empty where it wrote
    /// none, and cut short where the answer was
    /// ([`FinishReason::Length`](crate::FinishReason::Length)).
    pub arguments: String,
    /// The answer was cut before any arguments came, so that empty ones do not mean `{}`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

impl ToolCall {
    /// A call with the given id, name and arguments (JSON text).
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into(), cut: false }
    }

    /// The id that the crate makes for a call without one, by its place in the response.
    pub(crate) fn made_up_id(index: usize) -> String {
        format!("call_{index}")
    }

    /// The id of the call at this index, if it was the provider that gave it.
    pub(crate) fn given_id(&self, index: usize) -> Option<&str> {
        (!self.id.is_empty() && self.id != Self::made_up_id(index)).then_some(&self.id)
    }

    /// The arguments as a value; `{}` where the model wrote none.
    ///
    /// ```
    /// use kerb_stream::ToolCall;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Place { city: String }
    ///
    /// let call = ToolCall::new("call_1", "weather", r#"{"city": "Oslo"}"#);
    /// assert_eq!(call.parse::<Place>()?.city, "Oslo");
    /// assert_eq!(call.parse::<serde_json::Value>()?["city"], "Oslo");
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// When they do not fit the type, or are not JSON, as when the answer was cut off in the middle
    /// of them or before them.
    pub fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let is_empty = self.arguments.trim().is_empty() && !self.cut;
        let arguments = if is_empty { "{}" } else { &self.arguments };
        serde_json::from_str(arguments).map_err(|error| {
            let problem = if error.is_data() { "do not fit" } else { "are not JSON" };
            let name = &self.name;
            anyhow::Error::new(error)
                .context(format!("the arguments of the call of {name:?} {problem}"))
        })
    }
}

/// How a provider's own form of a turn is put together again. Text and calls are not kept a second
/// time: the parts say in which order they came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replay {
    /// Signatures and encrypted thoughts are of use to those who wrote them only.
    pub(crate) provider: LlmProvider,
    pub(crate) protocol: Protocol,
    pub(crate) parts: Vec<ReplayPart>,
    /// That of text and calls as they were said.
    pub(crate) fingerprint: u64,
}

/// A number that is another one for another turn. The ids of its calls are changed to fit providers.
pub(crate) fn fingerprint_of(content: &str, calls: &[ToolCall]) -> u64 {
    let calls = calls.iter().flat_map(|call| [&*call.name, &call.arguments]);
    // A whole number that every reader of JSON keeps.
    fingerprint([content].into_iter().chain(calls)) >> 11
}

/// A hash of texts and the borders between them, after FNV-1a, but eight bytes at a time.
pub(crate) fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    texts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, text| {
        let (words, rest) = text.as_bytes().as_chunks();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let words = words.chain(rest.iter().map(|&byte| byte.into())).chain([text.len() as u64]);
        words.fold(hash, |hash, word| (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23))
    })
}

/// One part of a [`Replay`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReplayPart {
    /// The next so many bytes of the text, and what the provider attached to them.
    Text { bytes: usize, extra: Option<Value> },
    /// The next tool call, and what the provider attached to it.
    Call { extra: Option<Value> },
    /// Something that is neither, word for word.
    Opaque(Value),
    /// The next so many bytes of the text set two messages apart for a reader; they are not sent.
    Gap { bytes: usize },
}

/// One part of a turn as a protocol has to send it: see [`Message::turn`].
#[derive(Debug, PartialEq)]
pub(crate) enum TurnPart<'a> {
    Text(&'a str, Option<&'a Value>),
    Call(&'a ToolCall, Option<&'a Value>),
    Opaque(&'a Value),
}

macro_rules! prompts {
    ($($type:ty $(, $length:ident)?: $from:ident => $messages:expr;)*) => {$(
        impl $(<const $length: usize>)? From<$type> for Prompt {
            fn from($from: $type) -> Self {
                Self { messages: $messages }
            }
        }
    )*};
}

prompts! {
    &str: text => vec![Message::user(text)];
    String: text => vec![Message::user(text)];
    &String: text => vec![Message::user(text)];
    Message: message => vec![message];
    &Message: message => vec![message.clone()];
    Vec<Message>: messages => messages;
    &Vec<Message>: messages => messages.clone();
    &[Message]: messages => messages.to_vec();
    [Message; N], N: messages => messages.into();
    &[Message; N], N: messages => messages.to_vec();
    &Prompt: prompt => prompt.messages.clone();
}

impl FromIterator<Message> for Prompt {
    fn from_iter<I: IntoIterator<Item = Message>>(messages: I) -> Self {
        Self { messages: messages.into_iter().collect() }
    }
}

impl IntoIterator for Prompt {
    type Item = Message;
    type IntoIter = std::vec::IntoIter<Message>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_written_as_it_is_serialised() {
        use MessageRole::{Assistant, System, Tool, User};
        for role in [System, User, Assistant, Tool] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert_eq!(role.to_string(), role.as_str());
        }
    }

    #[test]
    fn made_up_ids_are_known_again() {
        let id = |id: &str, index| ToolCall::new(id, "look", "{}").given_id(index).is_some();
        for (made_up, index) in
            [(ToolCall::made_up_id(0), 0), ("call_12".into(), 12), ("".into(), 1)]
        {
            assert!(!id(&made_up, index), "{made_up}");
        }
        for given in ["call_1a", "k0srpqrc", "17", "call_966934", "call_01"] {
            assert!(id(given, 1), "{given}");
        }
    }

    #[test]
    fn a_turn_is_remembered_only_by_its_protocol_and_only_unchanged() {
        let mut message = Message::assistant("Aha. So");
        message.tool_calls.push(ToolCall::new("c1", "look", "{}"));
        let thought = json!({"type": "thinking"});
        message.replay = Some(Replay {
            provider: LlmProvider::Local,
            protocol: Protocol::ChatCompletions,
            parts: vec![
                ReplayPart::Opaque(thought.clone()),
                ReplayPart::Text { bytes: 5, extra: None },
                ReplayPart::Call { extra: None },
                ReplayPart::Text { bytes: 2, extra: None },
            ],
            fingerprint: fingerprint_of(&message.content, &message.tool_calls),
        });
        let call = message.tool_calls[0].clone();
        let plain = [TurnPart::Text("Aha. So", None), TurnPart::Call(&call, None)];

        assert_eq!(
            message.turn(Protocol::ChatCompletions),
            [
                TurnPart::Opaque(&thought),
                TurnPart::Text("Aha. ", None),
                TurnPart::Call(&call, None),
                TurnPart::Text("So", None)
            ]
        );
        assert_eq!(message.turn(Protocol::Responses), plain);

        let saved = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&saved).unwrap(), message);

        message.content.push('!');
        assert_eq!(
            message.turn(Protocol::ChatCompletions),
            [TurnPart::Text("Aha. So!", None), TurnPart::Call(&call, None)]
        );
    }
}
