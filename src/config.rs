//! How it is asked: [`GenerationConfig`] and the types of its options.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::endpoint;
use crate::environment::Environment;
use crate::model::ModelName;
use crate::provider::{LlmProvider, Protocol};
use crate::seconds;
use crate::tool::{Tool, ToolChoice};

/// Declares the options. Each has a field with its default, where that is not the type's own, and a
/// setter: what it takes, and what it sets the field to.
macro_rules! configuration {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (
        $(#[$config_doc:meta])* $config:ident;
        $(
            $(#[$doc:meta])*
            $field:ident: $type:ty $(= $default:expr)? $(, ($value:ident: $given:ty) => $set:expr)?;
        )*
    ) => {
        $(#[$config_doc])*
        pub struct $config { $($(#[$doc])* pub $field: $type,)* }

        impl $config {$($(
            #[doc = concat!(
                "Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ")."
            )]
            #[must_use]
            pub fn $field(mut self, $value: $given) -> Self {
                self.$field = $set;
                self
            }
        )?)*}

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: configuration!(@default $($default)?),)* }
            }
        }

        /// Shows what is set, without keys: header values, the proxy and a URL's query are hidden too.
        impl fmt::Debug for $config {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let default = Self::default();
                let without_query = |url: &Option<String>| {
                    url.as_deref().map(endpoint::redacted).unwrap_or_default()
                };
                let mut debug = f.debug_struct(stringify!($config));
                $(if self.$field != default.$field {
                    match stringify!($field) {
                        "api_key" => debug.field("api_key", &format_args!("(hidden)")),
                        "base_url" => debug.field("base_url", &without_query(&self.base_url)),
                        "path" => debug.field("path", &without_query(&self.path)),
                        "headers" | "extra_body" => &mut debug, // by name, behind the rest
                        name => debug.field(name, &self.$field),
                    };
                })*
                if !self.headers.is_empty() {
                    let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
                    debug.field("headers", &names);
                }
                if !self.extra_body.is_empty() {
                    debug.field("extra_body", &self.extra_body.keys().collect::<Vec<_>>());
                }
                debug.finish()
            }
        }
    };
}

configuration! {
    /// How the model is asked: which one, where, with what options and limits.
    ///
    /// A model's name is a configuration already; everything else is set where it differs:
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, ModelName, generate_stream};
    ///
    /// let config = GenerationConfig::new(ModelName::GPT_4O_MINI).temperature(0.2).max_tokens(200);
    /// let stream = generate_stream("Hello", &config);
    /// let stream = generate_stream("Hello", "ollama::llama3.2");
    /// ```
    ///
    /// An option that is not set is not sent. One that is set either reaches the provider or is an
    /// error that names it. The fields can also be read from a file: the type is [`Deserialize`],
    /// durations are in seconds, and a misspelt field is an error.
    #[derive(Clone, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[non_exhaustive]
    GenerationConfig;

    /// The model, as its provider names it, or `"provider::model"`.
    model: String, (model: impl Into<String>) => model.into();
    /// Who serves the model. Defaults to what the model's name or [`base_url`](Self::base_url)
    /// implies.
    provider: Option<LlmProvider>, (provider: LlmProvider) => Some(provider);
    /// The wire protocol, for an endpoint that speaks several. Defaults to the provider's own, and at
    /// OpenAI's hosts to the one that serves the model: Responses, but for `gpt-4…` and a few more.
    protocol: Option<Protocol>, (protocol: Protocol) => Some(protocol);
    /// The API key. Defaults to the provider's environment variables.
    api_key: Option<String>, (key: impl Into<String>) => Some(key.into());
    /// Where the API lives, up to and including its version: `http://localhost:8080/v1`. Defaults
    /// to the provider's variable, else its public address. On its own it means
    /// [`LlmProvider::Local`].
    base_url: Option<String>, (url: impl Into<String>) => Some(url.into());
    /// The path below the base URL, for a gateway with paths of its own; `{model}` stands for the
    /// model. Defaults to the protocol's.
    path: Option<String>, (path: impl Into<String>) => Some(path.into());
    /// Headers to send as well. One that the crate sets itself is replaced; a name that comes twice
    /// is an error. A value whose header's name sounds like a key (`…key`, `…auth`, `…token`,
    /// `…secret`, `cookie`) is guarded like one, and so is one in the query of the base URL or the
    /// path.
    #[serde(deserialize_with = "headers")]
    headers: Vec<(String, String)>;
    /// Fields to merge into the request's body, for whatever is not modelled here. Objects are merged
    /// field by field, and the elements of `tools` and `include` are added to those that are there.
    /// A field that the crate sets by itself is replaced; one that an option of yours has set is an
    /// error that names both, and so are `model` and `stream`.
    extra_body: Map<String, Value>;

    /// How freely to choose among likely tokens: 0 takes the likeliest; the largest is 1 or 2,
    /// depending on the provider.
    temperature: Option<f64>, (temperature: f64) => Some(temperature);
    /// Choose among the likeliest tokens that together have this probability, from 0 to 1.
    top_p: Option<f64>, (probability: f64) => Some(probability);
    /// Choose among this many likeliest tokens.
    top_k: Option<u32>, (tokens: u32) => Some(tokens);
    /// How many tokens to write at most, reasoning included. Defaults to the provider's own limit; the
    /// Messages protocol demands one, which is then 64,000 for Claude.
    max_tokens: Option<u32>, (tokens: u32) => Some(tokens);
    /// Stop before writing any of these.
    stop: Vec<String>, (sequences: impl IntoIterator<Item = impl Into<String>>)
        => sequences.into_iter().map(Into::into).collect();
    /// Make tokens less likely the more often they were written: from -2 to 2, as a rule.
    frequency_penalty: Option<f64>, (penalty: f64) => Some(penalty);
    /// Make tokens less likely once they were written: from -2 to 2, as a rule.
    presence_penalty: Option<f64>, (penalty: f64) => Some(penalty);
    /// Try to give the same answer to the same question.
    seed: Option<i64>, (seed: i64) => Some(seed);
    /// The form of the answer, such as JSON.
    response_format: Option<ResponseFormat>, (format: ResponseFormat) => Some(format);
    /// Tell how likely each token was, and this many alternatives. They come in
    /// [`StreamChunk::raw`](crate::StreamChunk::raw), so [`raw`](Self::raw) has to be set too.
    logprobs: Option<u32>, (alternatives: u32) => Some(alternatives);
    /// How much to think before answering. Each vendor is told in its own words, which
    /// [`guide::providers`](crate::guide::providers) lists. Defaults to the model's own habit.
    reasoning: Option<Reasoning>, (reasoning: Reasoning) => Some(reasoning);
    /// The tools that the model may ask for.
    tools: Vec<Tool>, (tools: impl IntoIterator<Item = Tool>) => tools.into_iter().collect();
    /// Whether it must use them. Defaults to the model's own choice.
    tool_choice: Option<ToolChoice>, (choice: ToolChoice) => Some(choice);
    /// Whether it may ask for several calls at once.
    parallel_tool_calls: Option<bool>, (allowed: bool) => Some(allowed);

    /// Keep each event's data in [`StreamChunk::raw`](crate::StreamChunk::raw). Defaults to false.
    raw: bool, (keep: bool) => keep;
    /// How often to try again before the first chunk; a timeout is not retried. Defaults to 2; 0
    /// turns retries off.
    max_retries: u32 = 2, (retries: u32) => retries;
    /// The longest wait before a retry that a server may ask for; above it the error comes at once.
    /// Defaults to 60 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    max_retry_wait: Duration = Duration::from_secs(60), (limit: Duration) => limit;
    /// The time for name look-up, connection and TLS handshake. Defaults to 10 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    connect_timeout: Duration = Duration::from_secs(10), (limit: Duration) => limit;
    /// The time from the request until the response's headers are complete. Defaults to 600 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    first_byte_timeout: Duration = Duration::from_secs(600), (limit: Duration) => limit;
    /// The time without a single byte, once the answer has begun, or while the request is written.
    /// Defaults to 300 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    idle_timeout: Duration = Duration::from_secs(300), (limit: Duration) => limit;
    /// The largest line or event, in bytes. Defaults to 32 MiB.
    max_event_bytes: usize = 32 << 20, (bytes: usize) => bytes;
    /// The largest answer, in bytes: text, reasoning, tool calls and what is kept for the provider
    /// together. Defaults to 64 MiB.
    max_response_bytes: usize = 64 << 20, (bytes: usize) => bytes;
    /// How many tool calls a response may have. Defaults to 1,024.
    max_tool_calls: usize = 1024, (calls: usize) => calls;
    /// The time that `next` waits for more text, reasoning or tool calls, however many pings and
    /// counts of tokens come meanwhile. Work of a provider's own tools counts as more; what only the
    /// provider can read, such as a signature, does not. Defaults to 900 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    stall_timeout: Duration = Duration::from_secs(900), (limit: Duration) => limit;

    /// The proxy. Defaults to [`Proxy::Environment`].
    proxy: Proxy, (proxy: Proxy) => proxy;
    /// A file of PEM certificates to trust instead of the built-in roots. Defaults to
    /// `SSL_CERT_FILE`. It has to be a regular file: a pipe such as the shell's `<(…)` is refused,
    /// since it may never end and can be read only once.
    ca_file: Option<PathBuf>, (file: impl Into<PathBuf>) => Some(file.into());
    /// A file with the client's PEM certificates and its private key, for servers that ask for
    /// them; a regular one, like `ca_file`.
    client_certificate: Option<PathBuf>, (file: impl Into<PathBuf>) => Some(file.into());
    /// Allow a key to travel over plain HTTP to another machine, be it a proxy. Defaults to false.
    allow_plain_http: bool, (allowed: bool) => allowed;
    /// Where variables such as `OPENAI_API_KEY` are read. Defaults to the process's environment.
    #[serde(skip)]
    environment: Environment, (environment: Environment) => environment;
}

impl GenerationConfig {
    /// A configuration for `model` that leaves everything else to the provider.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Adds one of the [`headers`](Self#structfield.headers).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds one of the [`extra_body`](Self#structfield.extra_body) fields.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra_body.insert(name.into(), value.into());
        self
    }
}

macro_rules! configs {
    ($($type:ty: $from:ident => $config:expr;)*) => {$(
        impl From<$type> for GenerationConfig {
            fn from($from: $type) -> Self {
                $config
            }
        }
    )*};
}

configs! {
    &str: model => Self::new(model);
    String: model => Self::new(model);
    &String: model => Self::new(model);
    ModelName: model => Self::new(model.as_str());
    &GenerationConfig: config => config.clone();
}

/// The form that an answer must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseFormat {
    /// Any JSON object. Say in the prompt, too, that you want JSON.
    Json,
    /// JSON that follows a [JSON Schema](https://json-schema.org).
    #[non_exhaustive]
    JsonSchema {
        /// A name for it, for providers that want one.
        name: String,
        /// The schema.
        schema: Value,
    },
}

impl ResponseFormat {
    /// JSON that follows `schema`; `name` is for providers that want one.
    pub fn json_schema(name: impl Into<String>, schema: impl Into<Value>) -> Self {
        Self::JsonSchema { name: name.into(), schema: schema.into() }
    }
}

/// How much a model thinks before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reasoning {
    /// Not at all.
    Off,
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// As much as is usual.
    Medium,
    /// A lot.
    High,
    /// More than that, where the provider has such a level.
    #[serde(rename = "xhigh")]
    XHigh,
    /// As much as it can.
    Max,
    /// Up to so many tokens, for providers that count them.
    Budget(u32),
}

impl Reasoning {
    /// The budget in tokens, for providers that count them: efforts as Google translates them
    /// (<https://ai.google.dev/gemini-api/docs/openai#thinking>), and above them the largest budget
    /// of Gemini 2.5 Pro, which leaves the other models that count room for an answer, too.
    pub(crate) fn budget(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Minimal | Self::Low => 1024,
            Self::Medium => 8192,
            Self::High => 24_576,
            Self::XHigh | Self::Max => 32_768,
            Self::Budget(tokens) => tokens,
        }
    }
}

/// The way to the provider.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proxy {
    /// As the environment says, read as curl reads it: `https_proxy` or `http_proxy`, else
    /// `all_proxy`, but for what `no_proxy` lists; in capitals, too, except `HTTP_PROXY`, which a
    /// CGI program gets from its client. This machine itself is never reached through a proxy.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one: `http://`, `https://`, `socks4://` or `socks5://`, with user and password if need
    /// be.
    Url(String),
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Direct => f.write_str("Direct"),
            Self::Url(url) => f.debug_tuple("Url").field(&endpoint::redacted(url)).finish(),
        }
    }
}

/// In a file, headers are an object. All are kept, in their order: that one is there twice is an
/// error later.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Headers;

    impl<'de> Visitor<'de> for Headers {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of headers")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect()
        }
    }

    deserializer.deserialize_map(Headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_what_is_set_and_no_secret() {
        let config = GenerationConfig::new("m")
            .api_key("sk-secret")
            .base_url("https://u:secret@host:1/v1?key=secret#secret")
            .header("api-key", "secret")
            .proxy(Proxy::Url("http://u:secret@proxy:3128".into()))
            .extra("token", "secret")
            .top_p(0.5);
        let shown = format!("{config:?}");
        assert_eq!(
            shown,
            "GenerationConfig { model: \"m\", api_key: (hidden), base_url: \"https://host:1/v1\", \
             top_p: Some(0.5), proxy: Url(\"http://proxy:3128\"), headers: [\"api-key\"], extra_body: [\"token\"] }"
        );
    }

    #[test]
    fn a_url_is_shown_without_its_password_even_if_that_is_not_encoded() {
        for (url, shown) in [
            ("https://host:1/v1?key=secret#secret", "https://host:1/v1"),
            ("http://[::1]/v1/a@b", "http://[::1]/v1/a@b"),
            ("http://u:secret@host/v1", "http://host/v1"),
            ("http://u:se/cr?e#t@host:1/v1?a=b", "http://host:1/v1"),
            ("u:s@cret/secret@host", "host"),
            ("localhost:8080/v1", "localhost:8080/v1"),
            ("host/v1?key=secret&to=https://other/x", "host/v1"),
            ("chat?key=secret&to=https://other/x", "chat"),
            ("", ""),
        ] {
            assert_eq!(endpoint::redacted(url), shown);
        }
    }

    #[test]
    fn a_level_is_written_as_providers_spell_it() {
        let levels = ["off", "minimal", "low", "medium", "high", "xhigh", "max"];
        let mut budget = 0;
        for level in levels {
            let reasoning: Reasoning = serde_json::from_value(level.into()).unwrap();
            assert_eq!(serde_json::to_value(reasoning).unwrap(), level);
            assert!(reasoning.budget() >= budget, "{level}");
            budget = reasoning.budget();
        }
    }

    #[test]
    fn a_file_can_hold_a_configuration() {
        let config: GenerationConfig = serde_json::from_str(
            r#"{"model": "m", "provider": "openai", "idle_timeout": 1.5, "headers": {"a": "b"},
                "response_format": "json", "reasoning": {"budget": 7}, "proxy": "direct"}"#,
        )
        .unwrap();
        let expected = GenerationConfig::new("m")
            .provider(LlmProvider::OpenAi)
            .idle_timeout(Duration::from_millis(1500))
            .header("a", "b")
            .response_format(ResponseFormat::Json)
            .reasoning(Reasoning::Budget(7))
            .proxy(Proxy::Direct);
        assert_eq!(config, expected);
        assert!(serde_json::from_str::<GenerationConfig>(r#"{"temprature": 1}"#).is_err());
        let twice = r#"{"base_url": "http://localhost/v1", "model": "m",
                        "headers": {"b": "1", "a": "2", "b": "3"}}"#;
        let twice: GenerationConfig = serde_json::from_str(twice).unwrap();
        let local = GenerationConfig::new("m").base_url("http://localhost/v1");
        assert_eq!(twice, local.header("b", "1").header("a", "2").header("b", "3"));
        let error = crate::generate_stream("Hi", twice).request().unwrap_err().to_string();
        assert!(error.contains("the header b is set twice"), "{error}");
        assert!(serde_json::from_str::<GenerationConfig>(r#"{"idle_timeout": -1}"#).is_err());
    }
}
