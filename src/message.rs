//! The input of a request: a [`Prompt`] is a conversation, a list of [`Message`]s.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::attachment::Attachment;
use crate::names::{conversions, names};
use crate::provider::{LlmProvider, Protocol};

/// The input for the model: one or more messages.
///
/// You rarely need to name this type. Text, a single message, and arrays, slices and vectors of
/// messages convert into it. Iterators of messages can be collected into it.
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
    /// Returns the messages, in the order in which the model reads them.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
}

/// One turn of a conversation.
///
/// You may change the fields. A message implements `Serialize` and `Deserialize`, so a history can
/// be saved and continued later. Saving keeps the data that providers require back (see
/// [`Message::assistant`]).
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
    /// The author of the message.
    pub role: MessageRole,
    /// The text.
    #[serde(default)]
    pub content: String,
    /// The attachments, such as pictures. Only user messages may have them. A message from a
    /// response has none: Google and OpenAI get the pictures that they made back in the replay data
    /// of the message, and other providers do not get them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The tool calls of an assistant message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The [`ToolCall::id`] of the call whose result this message is. Only tool messages have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// True if the tool failed: the text then says how. It is for tool messages only, and defaults
    /// to false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    /// Provider-specific data that is sent back unchanged (replay data).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<Replay>,
}

impl Message {
    /// Creates a system message: instructions for the whole conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(MessageRole::System, content)
    }

    /// Creates a message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(MessageRole::User, content)
    }

    /// Creates a message of the model.
    ///
    /// To continue a conversation, prefer `Message::from(response)`. Besides the text, it has the
    /// tool calls, and the data that some providers require back unchanged. An example is the
    /// model's reasoning, which Anthropic signs and OpenAI's Responses protocol encrypts.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(MessageRole::Assistant, content)
    }

    /// Creates the result of a tool call. `call_id` is the [`ToolCall::id`] of that call.
    pub fn tool(call_id: impl Into<String>, result: impl Into<String>) -> Self {
        Self { tool_call_id: Some(call_id.into()), ..Self::new(MessageRole::Tool, result) }
    }

    /// Creates the result of a tool call that failed. The model reads the error, and may try
    /// something else.
    ///
    /// The Messages protocol (Anthropic) and Gemini's protocol have a field that marks a failure.
    /// In the other protocols, only the text tells the model about it.
    pub fn tool_error(call_id: impl Into<String>, error: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::tool(call_id, error) }
    }

    /// Adds an attachment. At present, only pictures can be sent.
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

    /// Returns the parts of this turn in the order in which the model wrote them.
    ///
    /// If that order is unknown, the text comes first, and then the calls. It is unknown if the
    /// turn came through another protocol, or if the caller changed the text or the calls.
    pub(crate) fn turn(&self, protocol: Protocol) -> Vec<TurnPart<'_>> {
        self.remembered(protocol).unwrap_or_else(|| {
            let text = (!self.content.is_empty()).then_some(TurnPart::Text(&self.content, None));
            let calls = self.tool_calls.iter().map(|call| TurnPart::Call(call, None));
            text.into_iter().chain(calls).collect()
        })
    }

    /// Returns the turn exactly as the model wrote it, if its replay data is for this protocol and
    /// still matches.
    pub(crate) fn remembered(&self, protocol: Protocol) -> Option<Vec<TurnPart<'_>>> {
        let replay = self.replay.as_ref().filter(|r| r.protocol == protocol)?;
        let is_unchanged = replay.fingerprint == fingerprint_of(&self.content, &self.tool_calls);
        let replay = is_unchanged.then_some(replay)?;
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
    /// The author of a [`Message`].
    // The enum is exhaustive on purpose, so that callers can match all roles: a fifth role would be
    // a new kind of conversation.
    #[allow(clippy::exhaustive_enums)]
    pub enum MessageRole {
        /// The application, which gives instructions for the whole conversation.
        System = "system",
        /// The user.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// A tool, which returns its result to the model.
        Tool = "tool",
    }

    /// Returns the name that most providers use: `"system"`, `"user"`, `"assistant"` or `"tool"`.
    pub fn as_str;
}

/// A tool call of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ToolCall {
    /// The ID of the call, to which the tool result refers. If the provider sends none, the crate
    /// makes one that is unique in the response. If the provider repeats the ID of an earlier call,
    /// the crate appends the index of the call.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments as the model wrote them: JSON text, usually an object. Empty if the model
    /// wrote none. If the answer was cut off, for example with
    /// [`FinishReason::Length`](crate::FinishReason::Length), they may be incomplete.
    pub arguments: String,
    /// True if the answer was cut off before any arguments arrived. Empty arguments then do not
    /// mean `{}`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

impl ToolCall {
    /// Creates a call with an ID, a name and arguments (JSON text).
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into(), cut: false }
    }

    /// Returns the ID that the crate gives to a call if the provider sends none. `index` is the
    /// position of the call in the response.
    pub(crate) fn made_up_id(index: usize) -> String {
        format!("call_{index}")
    }

    /// Returns the ID of the call if the provider sent it, or `None` if the crate made it. `index`
    /// is the position of the call in the response.
    pub(crate) fn given_id(&self, index: usize) -> Option<&str> {
        (!self.id.is_empty() && self.id != Self::made_up_id(index)).then_some(&self.id)
    }

    /// Parses the arguments. If the model wrote none, it parses `{}`.
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
    /// Returns an error if the arguments do not fit the type or are not JSON. They are not JSON if
    /// the answer was cut off inside them or before them.
    pub fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let is_empty = self.arguments.trim().is_empty() && !self.cut;
        let arguments = if is_empty { "{}" } else { &self.arguments };
        serde_json::from_str(arguments).map_err(|error| self.problem(error))
    }

    /// Parses the call as a variant of an enum: the name of the tool is the name of the variant, and
    /// the arguments are its fields. A variant without fields takes `{}`.
    ///
    /// ```
    /// use kerb_stream::ToolCall;
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Call { Weather { city: String }, Time }
    ///
    /// let call = ToolCall::new("call_1", "weather", r#"{"city": "Oslo"}"#);
    /// match call.parse_variant()? {
    ///     Call::Weather { city } => assert_eq!(city, "Oslo"),
    ///     Call::Time => {}
    /// }
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`parse`](Self::parse), or an error if the enum has no variant of this
    /// name.
    pub fn parse_variant<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let arguments: Value = self.parse()?;
        let is_empty = arguments.as_object().is_some_and(Map::is_empty);
        let variant = T::deserialize(json!({ self.name.as_str(): arguments }));
        let of_name = || T::deserialize(Value::from(self.name.as_str())).ok().filter(|_| is_empty);
        variant.or_else(|error| of_name().ok_or(error)).map_err(|error| self.problem(error))
    }

    fn problem(&self, error: serde_json::Error) -> anyhow::Error {
        let problem = if error.is_data() { "do not match the type" } else { "are not JSON" };
        let name = &self.name;
        anyhow::Error::new(error)
            .context(format!("the arguments of the tool call {name:?} {problem}"))
    }
}

/// Returns the calls of the first message that have no result before the next turn of the model.
pub(crate) fn open_calls(messages: &[Message]) -> impl Iterator<Item = &ToolCall> {
    let rest = messages.iter().skip(1).take_while(|it| it.role != MessageRole::Assistant);
    let has_result = move |id: &str| rest.clone().any(|it| it.tool_call_id.as_deref() == Some(id));
    let calls = messages.first().into_iter().flat_map(|message| &message.tool_calls);
    calls.filter(move |call| !has_result(&call.id))
}

/// The data to rebuild a turn in the provider's own form. It does not repeat the text and the
/// calls: the parts only give their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replay {
    /// The provider that wrote the turn. Its signatures and encrypted reasoning are useless to
    /// others.
    pub(crate) provider: LlmProvider,
    /// The protocol of the response. The parts cannot be sent in another one.
    pub(crate) protocol: Protocol,
    /// The parts of the turn, in the order in which the model wrote them.
    pub(crate) parts: Vec<ReplayPart>,
    /// The [fingerprint](fingerprint_of) of the text and the calls as the model wrote them.
    pub(crate) fingerprint: u64,
}

/// Returns a hash of a turn's text and calls, to find out whether the caller changed them. The IDs
/// of the calls do not count, because they are changed to fit providers.
pub(crate) fn fingerprint_of(content: &str, calls: &[ToolCall]) -> u64 {
    let calls = calls.iter().flat_map(|call| [&*call.name, &call.arguments]);
    // Some JSON parsers read numbers as `f64`, which is exact only for integers of up to 53 bits.
    // So 11 of the 64 bits are dropped.
    fingerprint([content].into_iter().chain(calls)) >> 11
}

/// Returns a hash of texts and the borders between them. It follows FNV-1a, but takes eight bytes
/// at a time.
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
    /// The next `bytes` bytes of the text, and the fields that the provider attached to them.
    Text { bytes: usize, extra: Option<Value> },
    /// The next tool call, and the fields that the provider attached to it.
    Call { extra: Option<Value> },
    /// A part that is neither text nor a call, exactly as received.
    Opaque(Value),
    /// The next `bytes` bytes of the text. They are a blank line that the crate added for readers
    /// between two messages of the model, so they are not sent back.
    Gap { bytes: usize },
}

/// One part of a turn that is sent to a provider: see [`Message::turn`].
#[derive(Debug, PartialEq)]
pub(crate) enum TurnPart<'a> {
    /// A piece of the text, and the `extra` of [`ReplayPart::Text`].
    Text(&'a str, Option<&'a Value>),
    /// A tool call, and the `extra` of [`ReplayPart::Call`].
    Call(&'a ToolCall, Option<&'a Value>),
    /// A part that is neither text nor a call, exactly as received.
    Opaque(&'a Value),
}

conversions! {
    Prompt;
    &str: text => Message::user(text).into();
    String: text => Message::user(text).into();
    &String: text => Message::user(text).into();
    Message: message => vec![message].into();
    &Message: message => vec![message.clone()].into();
    Vec<Message>: messages => Self { messages };
    &Vec<Message>: messages => messages.clone().into();
    &[Message]: messages => messages.to_vec().into();
    [Message; N], N: messages => Vec::from(messages).into();
    &[Message; N], N: messages => messages.to_vec().into();
    &Prompt: prompt => prompt.clone();
}

impl Prompt {
    pub(crate) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }
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
