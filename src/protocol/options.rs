//! The options of a request, so that none is dropped: what a protocol does not say is an error.

use serde_json::{Map, Value, json};

use super::chat_request::ChatRequest;
use crate::config::GenerationConfig;
use crate::error::Error;

macro_rules! options {
    ($($option:ident)*) => {
        /// The names of all options that a body may carry.
        pub(crate) const OPTIONS: &[&str] = &[$(stringify!($option)),*];

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
    temperature top_p top_k max_tokens stop frequency_penalty presence_penalty seed logprobs
    parallel_tool_calls response_format reasoning tools tool_choice
}

/// The options that the caller has set. A protocol takes out each one that it can say;
/// [`finish`](Self::finish) refuses what is left by name.
pub(crate) struct Options<'a> {
    request: ChatRequest<'a>,
    set: Vec<(&'static str, Value)>,
}

impl<'a> Options<'a> {
    pub(super) fn new(request: ChatRequest<'a>) -> Self {
        // All of them by name: an option that is added does not compile before it has a place here.
        let GenerationConfig {
            temperature,
            top_p,
            top_k,
            max_tokens,
            stop,
            frequency_penalty,
            presence_penalty,
            seed,
            response_format,
            logprobs,
            reasoning,
            tools,
            tool_choice,
            parallel_tool_calls,
            // Whom to request, and where.
            model: _,
            provider: _,
            protocol: _,
            api_key: _,
            base_url: _,
            path: _,
            headers: _,
            environment: _,
            // The caller's own fields, which are merged into the body last.
            extra_body: _,
            // What to keep, and how much of it.
            raw: _,
            max_event_bytes: _,
            max_response_bytes: _,
            max_tool_calls: _,
            // How long to wait, and how often.
            max_retries: _,
            max_retry_wait: _,
            connect_timeout: _,
            first_byte_timeout: _,
            idle_timeout: _,
            stall_timeout: _,
            // The way to the server.
            proxy: _,
            ca_file: _,
            client_certificate: _,
            allow_plain_http: _,
        } = request.config;
        let here = |set: bool| set.then_some(Value::Null);
        let set = [
            ("temperature", temperature.map(Value::from)),
            ("top_p", top_p.map(Value::from)),
            ("top_k", top_k.map(Value::from)),
            ("max_tokens", max_tokens.map(Value::from)),
            ("stop", (!stop.is_empty()).then(|| json!(stop))),
            ("frequency_penalty", frequency_penalty.map(Value::from)),
            ("presence_penalty", presence_penalty.map(Value::from)),
            ("seed", seed.map(Value::from)),
            ("logprobs", logprobs.map(Value::from)),
            ("parallel_tool_calls", parallel_tool_calls.map(Value::from)),
            // These have types of their own, which every protocol spells in its own way.
            ("response_format", here(response_format.is_some())),
            ("reasoning", here(reasoning.is_some())),
            ("tools", here(!tools.is_empty())),
            ("tool_choice", here(tool_choice.is_some())),
        ];
        let set = set.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Self { request, set }
    }

    /// Takes out one option, if it is set: its value for a scalar or a list, else `null`.
    pub(crate) fn take(&mut self, option: &str) -> Option<Value> {
        let at = self.set.iter().position(|(name, _)| *name == option)?;
        Some(self.set.swap_remove(at).1)
    }

    /// Takes out an option that has a type of its own.
    pub(crate) fn typed<T>(&mut self, option: &str, value: &'a Option<T>) -> Option<&'a T> {
        self.take(option)?;
        value.as_ref()
    }

    /// Moves scalars and lists into `body`: each pair is an option and what the protocol calls it.
    pub(crate) fn move_into(&mut self, body: &mut Map<String, Value>, names: &[(&str, &str)]) {
        for (option, name) in names {
            if let Some(value) = self.take(option) {
                body.insert((*name).to_owned(), value);
            }
        }
    }

    /// An error if any of these is set.
    pub(crate) fn refuse(&self, options: &[&str]) -> Result<(), Error> {
        let set = self.set.iter().map(|(name, _)| *name).filter(|name| options.contains(name));
        let mut set: Vec<_> = set.map(|name| format!("`{name}`")).collect();
        set.sort_unstable();
        let whom = match self.request.config.protocol {
            Some(protocol) => format!("over the protocol {protocol}"),
            None => "to this provider".to_owned(),
        };
        let message = match set.as_slice() {
            [] => return Ok(()),
            [one] => format!("the option {one} cannot be sent {whom}; leave it unset"),
            _ => format!("the options {} cannot be sent {whom}; leave them unset", set.join(", ")),
        };
        Err(self.request.refuse(message))
    }

    /// An error where an option is left: the protocol has no word for it.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let left: Vec<_> = self.set.iter().map(|(name, _)| *name).collect();
        self.refuse(&left)
    }
}
