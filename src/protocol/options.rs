//! The body of a request, in which no option is lost: what a protocol does not say is an error.

use serde_json::{Map, Value, json};

use super::chat_request::ChatRequest;
use crate::config::GenerationConfig;
use crate::error::Error;
use crate::provider::Protocol;
use crate::tool::Tool;

macro_rules! options {
    (sent: $($option:ident)*; not_sent: $($other:ident)*;) => {
        /// The names of all options that a body may carry.
        pub(crate) const OPTIONS: &[&str] = &[$(stringify!($option)),*];

        /// Those that are set.
        fn set_options(config: &GenerationConfig) -> Vec<(&'static str, Value)> {
            // All fields by name: one that is added does not compile before it has a place here.
            let GenerationConfig { $($option,)* $($other: _,)* } = config;
            let mut set = vec![$((stringify!($option), json!($option))),*];
            set.retain(|(_, value)| !(value.is_null() || *value == json!([])));
            set
        }

        /// The configuration with only some of its options.
        pub(crate) fn only_options(
            config: &GenerationConfig,
            keep: impl Fn(&str) -> bool,
        ) -> GenerationConfig {
            let mut kept = config.clone();
            let GenerationConfig { $($option,)* .. } = GenerationConfig::default();
            $(if !keep(stringify!($option)) {
                kept.$option = $option;
            })*
            kept
        }
    };
}

options! {
    sent: temperature top_p top_k max_tokens stop frequency_penalty presence_penalty seed logprobs
        parallel_tool_calls response_format reasoning tools tool_choice;
    // Which provider is asked, and where; what the caller adds; what is kept; how long to wait.
    not_sent: model provider protocol api_key base_url path headers environment extra_body raw
        max_event_bytes max_response_bytes max_tool_calls max_retries max_retry_wait
        connect_timeout first_byte_timeout idle_timeout stall_timeout proxy ca_file
        client_certificate allow_plain_http;
}

/// The options that are set, and that the body of a request does not say yet.
pub(super) struct Options<'a> {
    pub(super) request: ChatRequest<'a>,
    set: Vec<(&'static str, Value)>,
}

/// The fields of an object in the body of a request.
#[derive(Default)]
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// Adds a field, unless there is nothing to say in it: no value, or an object without fields.
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        if !value.is_null() && value != json!({}) {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Adds the fields of an object, given as JSON.
    pub(super) fn put_json(&mut self, object: &str) {
        self.0.extend(serde_json::from_str::<Map<_, _>>(object).unwrap_or_default());
    }
}

impl<'a> Options<'a> {
    pub(super) fn of(request: ChatRequest<'a>) -> Self {
        Self { request, set: set_options(request.config) }
    }

    /// The same, and a body that names the model and asks for a stream.
    pub(super) fn and_body(request: ChatRequest<'a>) -> (Self, Fields) {
        let mut body = Fields::default();
        body.put("model", request.model);
        body.put("stream", true);
        (Self::of(request), body)
    }

    /// Takes out one option, if it is set: its value, as it is serialised.
    pub(super) fn take(&mut self, option: &str) -> Option<Value> {
        let at = self.set.iter().position(|(name, _)| *name == option)?;
        Some(self.set.remove(at).1)
    }

    /// Takes out an option that has a type of its own.
    pub(super) fn typed<T>(&mut self, option: &str, value: &'a Option<T>) -> Option<&'a T> {
        self.take(option)?;
        value.as_ref()
    }

    /// Takes out the tools, each in the protocol's form.
    pub(super) fn tools(&mut self, form: impl FnMut(&Tool) -> Value) -> Option<Value> {
        self.take("tools")?;
        Some(self.request.config.tools.iter().map(form).collect())
    }

    /// Moves options into an object: `top_k=k` is one that the protocol calls otherwise.
    pub(super) fn move_into(&mut self, names: &str, object: &mut Fields) {
        for name in names.split_whitespace() {
            let (option, name) = name.split_once('=').unwrap_or((name, name));
            object.put(name, self.take(option));
        }
    }

    /// An error if any of these is set.
    pub(super) fn ensure_unset(&self, options: &[&str]) -> Result<(), Error> {
        let set = self.set.iter().map(|(name, _)| *name).filter(|name| options.contains(name));
        let set: Vec<_> = set.map(|name| format!("`{name}`")).collect();
        let (whom, advice) = match self.request.config.protocol {
            Some(protocol) => (format!("over the protocol {protocol}"), ""),
            // The model has led here, and the vendor's other protocol may take the option.
            None if self.request.protocol == Protocol::Responses => {
                let refused = self.request.vendor().dialect.refuses;
                let is_taken = !self.set.iter().any(|(name, _)| refused.contains(name));
                let advice = ", or set `.protocol(Protocol::ChatCompletions)`";
                let whom = "over the protocol responses, which this model is asked in";
                (whom.to_owned(), if is_taken { advice } else { "" })
            }
            None => ("to this provider".to_owned(), ""),
        };
        let (options, them) = match set.len() {
            0 => return Ok(()),
            1 => ("option", "it"),
            _ => ("options", "them"),
        };
        let set = set.join(", ");
        Err(self.request.refuse(format!(
            "the {options} {set} cannot be sent {whom}; leave {them} unset{advice}"
        )))
    }

    /// The body, or an error where an option is left: the protocol has no word for it.
    pub(super) fn finish(self, body: Fields) -> Result<Map<String, Value>, Error> {
        self.ensure_unset(OPTIONS)?;
        Ok(body.0)
    }
}
