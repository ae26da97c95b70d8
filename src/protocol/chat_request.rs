//! The input of the encoders, [`ChatRequest`], and the changes that they report, [`Adaptation`].

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageRole, ToolCall};
use crate::model::begins_like;
use crate::provider::{LlmProvider, Protocol, Vendor, WebSearch};

/// A request to encode, after its provider and protocol have been chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChatRequest<'a> {
    pub(crate) provider: LlmProvider,
    pub(crate) protocol: Protocol,
    /// The model name without the prefix `provider::`.
    pub(crate) model: &'a str,
    pub(crate) messages: &'a [Message],
    pub(crate) config: &'a GenerationConfig,
    /// The provider that owns the host of the base URL, even if the caller configured the URL for
    /// another provider.
    pub(crate) owner: Option<LlmProvider>,
    /// The changes that the encoder made to fit the provider.
    pub(crate) adaptations: &'a RefCell<Vec<Adaptation>>,
}

/// A change to a request that makes it fit the provider.
///
/// A change keeps the meaning where the provider has a form for it. If the provider has only
/// something similar, such as another level of reasoning, that is sent. If it has nothing similar,
/// the request is rejected with an error. `Display` writes one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Adaptation {
    /// The option or message that was changed, such as `reasoning` or `messages[2]`.
    pub what: String,
    /// The requested value, or a description of it.
    pub asked: String,
    /// The value that is sent instead, or a description of it.
    pub sent: String,
    /// The reason, such as a rule of the provider.
    pub why: String,
}

impl fmt::Display for Adaptation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, asked, sent, why } = self;
        write!(f, "{what}: sent {sent} instead of {asked}, because {why}")
    }
}

impl<'a> ChatRequest<'a> {
    /// Returns the vendor whose rules apply: the owner of the host, or else the provider.
    pub(crate) fn vendor(self) -> &'static Vendor {
        self.owner.unwrap_or(self.provider).vendor()
    }

    /// Returns the messages. It is an error if an attachment is not an image, or belongs to a
    /// message that is not a user message.
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

    /// Returns the form of the web search, or an error if the provider has none over the protocol.
    pub(crate) fn web_search(self) -> Result<WebSearch, Error> {
        let forms = self.vendor().web_search;
        let mut forms = forms.iter().filter(|(_, models, _)| begins_like(self.model, models));
        if let Some((.., form)) = forms.clone().find(|(it, ..)| *it == self.protocol) {
            return Ok(*form);
        }
        let advice = match forms.next() {
            Some((other, ..)) => format!("set `.protocol(Protocol::{other:?})`"),
            None => "leave out `Tool::web_search()`, or describe the tool of this server with \
                     `Tool::hosted`"
                .to_owned(),
        };
        Err(self.refuse(format!(
            "no web search is known for the model {:?} over the protocol `{}`; {advice}",
            self.model, self.protocol
        )))
    }

    /// Returns the id of the tool call that a tool result belongs to, for protocols that require
    /// it.
    pub(crate) fn call_id(self, result: &Message) -> Result<&str, Error> {
        let why = "a tool message needs the id of the call that it answers";
        result.tool_call_id.as_deref().ok_or_else(|| self.refuse(why))
    }

    /// Returns the arguments of a tool call as a JSON object, for protocols that require an object.
    /// A call with invalid arguments is part of the history too: its text is wrapped in an object,
    /// so that the model sees what it wrote.
    pub(crate) fn arguments(self, call: &ToolCall) -> Value {
        let arguments = call.parse::<Value>().ok().filter(Value::is_object);
        arguments.unwrap_or_else(|| {
            let what = format!("the arguments of the tool call {:?}", call.name);
            // The field's name follows <https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming>.
            let sent = json!({ "INVALID_JSON": call.arguments });
            let why = "they are not the JSON of an object";
            self.adapt(&what, &call.arguments, sent.to_string(), why);
            sent
        })
    }

    /// Returns the arguments of a tool call as the model wrote them, for protocols that require
    /// text. Servers that parse this text accept only an object, so for these servers, invalid
    /// arguments are wrapped as in [`arguments`](Self::arguments).
    pub(crate) fn arguments_text(self, call: &ToolCall) -> String {
        let is_read =
            self.protocol == Protocol::CohereChat || self.vendor().dialect.reads_arguments;
        let is_object = || call.parse::<Value>().is_ok_and(|arguments| arguments.is_object());
        if call.arguments.trim().is_empty() || (is_read && !is_object()) {
            return self.arguments(call).to_string();
        }
        call.arguments.clone()
    }

    /// Records that `what` is sent in another form than requested.
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

    /// Returns an error about the prompt or the configuration.
    pub(crate) fn refuse(self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, self.provider, message)
    }
}
