//! What the encoders are given: [`ChatRequest`]; and what they tell about it: [`Adaptation`].

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageRole, ToolCall};
use crate::provider::{LlmProvider, Protocol, Vendor};

/// What is asked, once it is settled which provider is asked, and in which protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChatRequest<'a> {
    pub(crate) provider: LlmProvider,
    pub(crate) protocol: Protocol,
    /// The model without its `provider::`.
    pub(crate) model: &'a str,
    pub(crate) messages: &'a [Message],
    pub(crate) config: &'a GenerationConfig,
    /// The provider whose own address the request goes to, whoever has named that address.
    pub(crate) owner: Option<LlmProvider>,
    /// What the encoder changes to fit the provider.
    pub(crate) adaptations: &'a RefCell<Vec<Adaptation>>,
}

/// Something that was changed to fit the provider. `Display` is one line.
///
/// Only the form is changed; where the meaning would change, the request is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Adaptation {
    /// The option or message.
    pub what: String,
    /// What the caller asked.
    pub asked: String,
    /// What is sent.
    pub sent: String,
    /// The reason, such as a rule of the provider's.
    pub why: String,
}

impl fmt::Display for Adaptation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, asked, sent, why } = self;
        write!(f, "{what}: asked {asked}, sent {sent}: {why}")
    }
}

impl<'a> ChatRequest<'a> {
    /// The row that says how the server is spoken to.
    pub(crate) fn vendor(self) -> &'static Vendor {
        self.owner.unwrap_or(self.provider).vendor()
    }

    /// The messages, where only those of the user have attachments, and only pictures.
    pub(crate) fn messages(self) -> Result<&'a [Message], Error> {
        for message in self.messages {
            if message.role != MessageRole::User && !message.attachments.is_empty() {
                return Err(self.refuse("only a user message can have attachments"));
            }
            if let Some(other) = message.attachments.iter().find(|other| !other.is_image()) {
                let label = other.label().unwrap_or_else(|| "without a name".to_owned());
                return Err(self.refuse(match &other.media_type {
                    Some(media_type) => format!(
                        "the attachment {label} is {media_type}; only pictures (image/…) can be sent"
                    ),
                    None => format!(
                        "the media type of the attachment {label} is unknown; set its `media_type`, \
                         as in \"image/png\""
                    ),
                }));
            }
        }
        Ok(self.messages)
    }

    /// The id of the call that a result answers, for protocols that insist on one.
    pub(crate) fn call_id(self, result: &Message) -> Result<&str, Error> {
        let why = "a tool message needs the id of the call that it answers";
        result.tool_call_id.as_deref().ok_or_else(|| self.refuse(why))
    }

    /// The arguments of a call, for protocols that want them as an object. A call that went wrong is
    /// a part of the conversation, too: its text goes back inside an object, so that the model sees
    /// what it wrote.
    pub(crate) fn arguments(self, call: &ToolCall) -> Value {
        let arguments = call.parse::<Value>().ok().filter(Value::is_object);
        arguments.unwrap_or_else(|| {
            let what = format!("the arguments of the call of {:?}", call.name);
            // The field's name follows <https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming>.
            let sent = json!({ "INVALID_JSON": call.arguments });
            let why = "they are not the JSON of an object";
            self.adapt(&what, &call.arguments, sent.to_string(), why);
            sent
        })
    }

    /// The arguments of a call as the model wrote them, for protocols that want them as text. Where
    /// the text is read as JSON, anything else is refused.
    pub(crate) fn arguments_text(self, call: &ToolCall) -> String {
        let is_read =
            self.protocol == Protocol::CohereChat || self.vendor().dialect.reads_arguments;
        let is_object = || call.parse::<Value>().is_ok_and(|arguments| arguments.is_object());
        if call.arguments.trim().is_empty() || (is_read && !is_object()) {
            return self.arguments(call).to_string();
        }
        call.arguments.clone()
    }

    /// Tells that `what` is sent in another form than it was asked in.
    pub(crate) fn adapt(
        self,
        what: &str,
        asked: impl Into<String>,
        sent: impl Into<String>,
        why: &str,
    ) {
        let (what, why) = (what.to_owned(), why.to_owned());
        let adaptation = Adaptation { what, asked: asked.into(), sent: sent.into(), why };
        self.adaptations.borrow_mut().push(adaptation);
    }

    /// An error about something in the prompt or the configuration.
    pub(crate) fn refuse(self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, self.provider, message)
    }
}
