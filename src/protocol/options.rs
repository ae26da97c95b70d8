//! Builds the request body. No option is lost: an option that the protocol cannot express is an
//! error.

use serde_json::{Map, Value, json};

use super::chat_request::ChatRequest;
use crate::config::GenerationConfig;
use crate::error::Error;
use crate::provider::{Protocol, WebSearch};
use crate::tool::{Function, ToolKind};

macro_rules! options {
    (sent: $($option:ident)*; not_sent: $($other:ident)*;) => {
        /// The names of all options that a request body can contain.
        pub(crate) const OPTIONS: &[&str] = &[$(stringify!($option)),*];

        /// Returns the options that are set, with their values.
        fn set_options(config: &GenerationConfig) -> Vec<(&'static str, Value)> {
            // This pattern names all fields, so a new field does not compile until `options!` lists
            // it.
            let GenerationConfig { $($option,)* $($other: _,)* } = config;
            let mut set = vec![$((stringify!($option), json!($option))),*];
            set.retain(|(_, value)| !(value.is_null() || *value == json!([])));
            set
        }

        /// Returns the configuration with only the options for which `keep` returns true.
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
    // These choose the provider and its address, add the caller's own fields, or set limits and
    // timeouts.
    not_sent: model provider protocol api_key base_url path headers environment extra_body raw
        max_event_bytes max_response_bytes max_tool_calls max_turns max_retries max_retry_wait
        connect_timeout first_byte_timeout idle_timeout stall_timeout proxy ca_file
        client_certificate allow_plain_http;
}

/// The options that are set but not yet written into the request body.
pub(super) struct Options<'a> {
    pub(super) request: ChatRequest<'a>,
    set: Vec<(&'static str, Value)>,
}

/// The fields of a JSON object in the request body.
#[derive(Default)]
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// Adds a field, unless its value is `null` or an empty object.
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        if !value.is_null() && value != json!({}) {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Adds the fields of an object that is given as JSON text.
    pub(super) fn put_json(&mut self, object: &str) {
        self.0.extend(serde_json::from_str::<Map<_, _>>(object).unwrap_or_default());
    }
}

impl<'a> Options<'a> {
    pub(super) fn of(request: ChatRequest<'a>) -> Self {
        Self { request, set: set_options(request.config) }
    }

    /// Returns the options, and a body that already contains `model` and `stream`.
    pub(super) fn and_body(request: ChatRequest<'a>) -> (Self, Fields) {
        let mut body = Fields::default();
        body.put("model", request.model);
        body.put("stream", true);
        (Self::of(request), body)
    }

    /// Removes an option and returns its value as JSON, if it is set.
    pub(super) fn take(&mut self, option: &str) -> Option<Value> {
        let at = self.set.iter().position(|(name, _)| *name == option)?;
        Some(self.set.remove(at).1)
    }

    /// Removes an option and returns its typed value, if it is set.
    pub(super) fn typed<T>(&mut self, option: &str, value: &'a Option<T>) -> Option<&'a T> {
        self.take(option)?;
        value.as_ref()
    }

    /// Removes the tools. Returns the functions in the protocol's form, and the hosted tools. The
    /// fields that ask for a web search are added to the body if it is not a tool.
    pub(super) fn tools(
        &mut self,
        body: &mut Fields,
        form: impl Fn(&Function) -> Value,
    ) -> Result<[Vec<Value>; 2], Error> {
        self.take("tools");
        let (mut functions, mut hosted) = (Vec::new(), Vec::new());
        for tool in &self.request.config.tools {
            match &tool.0 {
                ToolKind::Function(function) => functions.push(form(function)),
                ToolKind::Hosted(tool) if tool.is_object() => hosted.push(tool.clone()),
                ToolKind::Hosted(_) => {
                    return Err(self.request.refuse("a hosted tool must be a JSON object"));
                }
                ToolKind::WebSearch => match self.request.web_search()? {
                    WebSearch::Tool(tool) => hosted.extend(serde_json::from_str::<Value>(tool)),
                    WebSearch::Fields(fields) => body.put_json(fields),
                    WebSearch::Always => {
                        let why = "this model searches for every request";
                        self.request.adapt("tools", "a web search", "nothing", why);
                    }
                },
            }
        }
        Ok([functions, hosted])
    }

    /// Moves options into an object. `top_k=k` moves the option `top_k` into the field `k`.
    pub(super) fn move_into(&mut self, names: &str, object: &mut Fields) {
        for name in names.split_whitespace() {
            let (option, name) = name.split_once('=').unwrap_or((name, name));
            object.put(name, self.take(option));
        }
    }

    /// Returns an error that names those of the given options that are set, if any.
    pub(super) fn ensure_unset(&self, options: &[&str]) -> Result<(), Error> {
        let set = self.set.iter().map(|(name, _)| *name).filter(|name| options.contains(name));
        let set: Vec<_> = set.map(|name| format!("`{name}`")).collect();
        let (whom, advice) = match self.request.config.protocol {
            Some(protocol) => (format!("over the protocol `{protocol}`"), ""),
            // The model name selected this protocol, and Chat Completions may accept the option.
            None if self.request.protocol == Protocol::Responses => {
                let refused = self.request.vendor().dialect.refuses;
                let is_taken = !self.set.iter().any(|(name, _)| refused.contains(name));
                let advice = ", or set `.protocol(Protocol::ChatCompletions)`";
                let whom = "over the protocol `responses`, which this model uses";
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

    /// Returns the body, or an error if an option is left that the protocol cannot express.
    pub(super) fn finish(self, body: Fields) -> Result<Map<String, Value>, Error> {
        self.ensure_unset(OPTIONS)?;
        Ok(body.0)
    }
}
