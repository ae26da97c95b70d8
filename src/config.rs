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
pub struct GenerationConfig {
    /// The model, as its provider names it, or `"provider::model"`.
    pub model: String,
    /// Who serves the model. Defaults to what the model's name or [`base_url`](Self::base_url)
    /// implies.
    pub provider: Option<LlmProvider>,
    /// The wire protocol, for an endpoint that speaks several. Defaults to the provider's own, and at
    /// OpenAI's hosts to the one that serves the model: Responses, but for `gpt-4…` and a few more.
    pub protocol: Option<Protocol>,
    /// The API key. Defaults to the provider's environment variables.
    pub api_key: Option<String>,
    /// Where the API lives, up to and including its version: `http://localhost:8080/v1`. Defaults
    /// to the provider's variable, else its public address. On its own it means
    /// [`LlmProvider::Local`].
    pub base_url: Option<String>,
    /// The path below the base URL, for a gateway with paths of its own; `{model}` stands for the
    /// model. Defaults to the protocol's.
    pub path: Option<String>,
    /// Headers to send as well. One that the crate sets itself is replaced; a name that comes twice
    /// is an error. A value whose header's name sounds like a key (`…key`, `…auth`, `…token`,
    /// `…secret`, `cookie`) is guarded like one, and so is one in the query of the base URL or the
    /// path.
    #[serde(deserialize_with = "headers")]
    pub headers: Vec<(String, String)>,
    /// Fields to merge into the request's body, for whatever is not modelled here. Objects are merged
    /// field by field, and the elements of `tools` and `include` are added to those that are there.
    /// A field that the crate sets by itself is replaced; one that an option of yours has set is an
    /// error that names both, and so are `model` and `stream`.
    pub extra_body: Map<String, Value>,

    /// How freely to choose among likely tokens: 0 takes the likeliest; the largest is 1 or 2,
    /// depending on the provider.
    pub temperature: Option<f64>,
    /// Choose among the likeliest tokens that together have this probability, from 0 to 1.
    pub top_p: Option<f64>,
    /// Choose among this many likeliest tokens.
    pub top_k: Option<u32>,
    /// How many tokens to write at most, reasoning included. Defaults to the provider's own limit; the
    /// Messages protocol demands one, which is then 64,000 for Claude.
    pub max_tokens: Option<u32>,
    /// Stop before writing any of these.
    pub stop: Vec<String>,
    /// Make tokens less likely the more often they were written: from -2 to 2, as a rule.
    pub frequency_penalty: Option<f64>,
    /// Make tokens less likely once they were written: from -2 to 2, as a rule.
    pub presence_penalty: Option<f64>,
    /// Try to give the same answer to the same question.
    pub seed: Option<i64>,
    /// The form of the answer, such as JSON.
    pub response_format: Option<ResponseFormat>,
    /// Tell how likely each token was, and this many alternatives. They come in
    /// [`StreamChunk::raw`](crate::StreamChunk::raw), so [`raw`](Self::raw) has to be set too.
    pub logprobs: Option<u32>,
    /// How much to think before answering. Each vendor is told in its own words, which
    /// [`guide::providers`](crate::guide::providers) lists. Defaults to the model's own habit.
    pub reasoning: Option<Reasoning>,
    /// The tools that the model may ask for.
    pub tools: Vec<Tool>,
    /// Whether it must use them. Defaults to the model's own choice.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may ask for several calls at once.
    pub parallel_tool_calls: Option<bool>,

    /// Keep each event's data in [`StreamChunk::raw`](crate::StreamChunk::raw). Defaults to false.
    pub raw: bool,
    /// How often to try again before the first chunk; a timeout is not retried. Defaults to 2; 0
    /// turns retries off.
    pub max_retries: u32,
    /// The longest wait before a retry that a server may ask for; above it the error comes at once.
    /// Defaults to 60 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    pub max_retry_wait: Duration,
    /// The time for name look-up, connection and TLS handshake. Defaults to 10 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    pub connect_timeout: Duration,
    /// The time from the request until the response's headers are complete. Defaults to 600 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    pub first_byte_timeout: Duration,
    /// The time without a single byte, once the answer has begun, or while the request is written.
    /// Defaults to 300 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    pub idle_timeout: Duration,
    /// The largest line or event, in bytes. Defaults to 32 MiB.
    pub max_event_bytes: usize,
    /// The largest answer, in bytes: text, reasoning, tool calls and what is kept for the provider
    /// together. Defaults to 64 MiB.
    pub max_response_bytes: usize,
    /// How many tool calls a response may have. Defaults to 1,024.
    pub max_tool_calls: usize,
    /// The time that `next` waits for more text, reasoning or tool calls, however many pings and
    /// counts of tokens come meanwhile. Work of a provider's own tools counts as more; what only the
    /// provider can read, such as a signature, does not. Defaults to 900 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    pub stall_timeout: Duration,

    /// The proxy. Defaults to [`Proxy::Environment`].
    pub proxy: Proxy,
    /// A file of PEM certificates to trust instead of the built-in roots. Defaults to
    /// `SSL_CERT_FILE`. It has to be a regular file: a pipe such as the shell's `<(…)` is refused,
    /// since it may never end and can be read only once.
    pub ca_file: Option<PathBuf>,
    /// A file with the client's PEM certificates and its private key, for servers that ask for
    /// them; a regular one, like `ca_file`.
    pub client_certificate: Option<PathBuf>,
    /// Allow a key to travel over plain HTTP to another machine, be it a proxy. Defaults to false.
    pub allow_plain_http: bool,
    /// Where variables such as `OPENAI_API_KEY` are read. Defaults to the process's environment.
    #[serde(skip)]
    pub environment: Environment,
}

/// Gives each option its setter and its default, and `Debug` the name under which it is shown.
macro_rules! setters {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    ($($field:ident($value:ident: $type:ty) = $set:expr $(, else $default:expr)?;)*) => {
        impl GenerationConfig {$(
            #[doc = concat!(
                "Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ")."
            )]
            #[must_use]
            pub fn $field(mut self, $value: $type) -> Self {
                self.$field = $set;
                self
            }
        )*}

        impl Default for GenerationConfig {
            fn default() -> Self {
                Self {
                    $($field: setters!(@default $($default)?),)*
                    headers: Vec::new(),
                    extra_body: Map::new(),
                }
            }
        }

        /// Shows what is set, without keys: header values, the proxy and a URL's query are hidden too.
        impl fmt::Debug for GenerationConfig {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let default = Self::default();
                let without_query = |url: &Option<String>| {
                    url.as_deref().map(endpoint::redacted).unwrap_or_default()
                };
                let mut debug = f.debug_struct("GenerationConfig");
                $(if self.$field != default.$field {
                    match stringify!($field) {
                        "api_key" => debug.field("api_key", &format_args!("(hidden)")),
                        "base_url" => debug.field("base_url", &without_query(&self.base_url)),
                        "path" => debug.field("path", &without_query(&self.path)),
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

setters! {
    model(model: impl Into<String>) = model.into();
    provider(provider: LlmProvider) = Some(provider);
    protocol(protocol: Protocol) = Some(protocol);
    api_key(key: impl Into<String>) = Some(key.into());
    base_url(url: impl Into<String>) = Some(url.into());
    path(path: impl Into<String>) = Some(path.into());
    temperature(temperature: f64) = Some(temperature);
    top_p(probability: f64) = Some(probability);
    top_k(tokens: u32) = Some(tokens);
    max_tokens(tokens: u32) = Some(tokens);
    stop(sequences: impl IntoIterator<Item = impl Into<String>>)
        = sequences.into_iter().map(Into::into).collect();
    frequency_penalty(penalty: f64) = Some(penalty);
    presence_penalty(penalty: f64) = Some(penalty);
    seed(seed: i64) = Some(seed);
    response_format(format: ResponseFormat) = Some(format);
    logprobs(alternatives: u32) = Some(alternatives);
    reasoning(reasoning: Reasoning) = Some(reasoning);
    tools(tools: impl IntoIterator<Item = Tool>) = tools.into_iter().collect();
    tool_choice(choice: ToolChoice) = Some(choice);
    parallel_tool_calls(allowed: bool) = Some(allowed);
    raw(keep: bool) = keep;
    max_retries(retries: u32) = retries, else 2;
    max_retry_wait(limit: Duration) = limit, else Duration::from_secs(60);
    connect_timeout(limit: Duration) = limit, else Duration::from_secs(10);
    first_byte_timeout(limit: Duration) = limit, else Duration::from_secs(600);
    idle_timeout(limit: Duration) = limit, else Duration::from_secs(300);
    max_event_bytes(bytes: usize) = bytes, else 32 << 20;
    max_response_bytes(bytes: usize) = bytes, else 64 << 20;
    max_tool_calls(calls: usize) = calls, else 1024;
    stall_timeout(limit: Duration) = limit, else Duration::from_secs(900);
    proxy(proxy: Proxy) = proxy;
    ca_file(file: impl Into<PathBuf>) = Some(file.into());
    client_certificate(file: impl Into<PathBuf>) = Some(file.into());
    allow_plain_http(allowed: bool) = allowed;
    environment(environment: Environment) = environment;
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
