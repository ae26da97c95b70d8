//! The configuration of a request: [`GenerationConfig`] and the types of its options.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::endpoint;
use crate::environment::Environment;
use crate::model::ModelName;
use crate::names::conversions;
use crate::provider::{LlmProvider, Protocol};
use crate::seconds;
use crate::tool::{Tool, ToolChoice};

/// Declares the options. Each one is written as
/// `field: Type = default, (parameter: Type) => stored value;`. The default is left out if it is
/// the type's own. The last part makes a setter, which repeats the field's doc. It may be missing.
macro_rules! configuration {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@setter [$($doc:tt)*] $field:ident) => {};
    (@setter [$($doc:tt)*] $field:ident ($value:ident: $given:ty) => $set:expr) => {
        #[doc = concat!("Sets `", stringify!($field), "`:")]
        $($doc)*
        #[must_use]
        pub fn $field(mut self, $value: $given) -> Self {
            self.$field = $set;
            self
        }
    };
    (
        $(#[$config_doc:meta])* $config:ident;
        $(
            $(#[doc = $doc:literal])*
            $(#[serde($serde:meta)])?
            $field:ident: $type:ty $(= $default:expr)? $(, ($value:ident: $given:ty) => $set:expr)?;
        )*
    ) => {
        $(#[$config_doc])*
        pub struct $config { $($(#[doc = $doc])* $(#[serde($serde)])? pub $field: $type,)* }

        impl $config {$(
            configuration!(@setter [$(#[doc = $doc])*] $field $(($value: $given) => $set)?);
        )*}

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: configuration!(@default $($default)?),)* }
            }
        }

        /// Shows the options that differ from their defaults. Keys, the values of headers and of
        /// `extra_body`, and the passwords and queries of URLs are hidden.
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
                        "headers" | "extra_body" => &mut debug, // shown last, by name
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
    /// The configuration of a request: the model, its provider, the options and the limits.
    ///
    /// A model name alone is a complete configuration. Set only what differs from the defaults:
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, generate_stream};
    ///
    /// let config = GenerationConfig::new("mistral-small-latest").temperature(0.2).max_tokens(200);
    /// let stream = generate_stream("Hello", &config);
    /// let stream = generate_stream("Hello", "ollama::llama3.2");
    /// ```
    ///
    /// An option that is not set is not sent, except [`max_tokens`](Self::max_tokens), which the
    /// Messages protocol requires. An option that is set is sent, or in the form that comes closest
    /// ([`RequestPreview::adaptations`](crate::RequestPreview::adaptations) lists such changes), or
    /// it is rejected with an error that names it. A configuration can also be read from a file:
    /// the type is [`Deserialize`], durations are numbers of seconds, and an unknown field is an
    /// error.
    #[derive(Clone, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[non_exhaustive]
    GenerationConfig;

    /// The model name as the provider spells it, or `"provider::model"`. There is no default: an
    /// empty name is an error.
    model: String, (model: impl Into<String>) => model.into();
    /// The provider. Defaults to the one that the model name or [`base_url`](Self::base_url)
    /// implies.
    provider: Option<LlmProvider>, (provider: LlmProvider) => Some(provider);
    /// The wire protocol, for a server that speaks several. Defaults to the provider's own. At
    /// OpenAI's hosts it defaults to Responses, but to Chat Completions for `gpt-4…` and a few
    /// other models.
    protocol: Option<Protocol>, (protocol: Protocol) => Some(protocol);
    /// The API key. Defaults to the first of the provider's environment variables that is set
    /// ([`LlmProvider::key_variables`]).
    api_key: Option<String>, (key: impl Into<String>) => Some(key.into());
    /// The URL of the API up to and including its version, such as `http://localhost:8080/v1`.
    /// Defaults to the provider's environment variable, else to its public URL. A base URL without
    /// a provider means [`LlmProvider::Local`]: any server that speaks Chat Completions, or the
    /// [`protocol`](Self::protocol) that you set.
    base_url: Option<String>, (url: impl Into<String>) => Some(url.into());
    /// The path below the base URL, for a gateway with its own paths. `{model}` is replaced by the
    /// model name. Defaults to the protocol's path.
    path: Option<String>, (path: impl Into<String>) => Some(path.into());
    /// Additional HTTP headers. They replace headers of the same name that the crate sets itself. A
    /// name that is given twice is an error. A value is protected like an API key if the name of
    /// its header suggests a secret (`…key`, `…auth`, `…token`, `…secret`, `cookie`). The same
    /// holds for values in the query of the base URL or the path. Defaults to none.
    #[serde(deserialize_with = "headers")]
    headers: Vec<(String, String)>;
    /// Additional fields of the request body, for everything that has no option here. Objects are
    /// merged field by field. Elements of `include`, in OpenAI's Responses protocol, are appended. A
    /// tool that the provider runs belongs into [`tools`](Self::tools). Your field replaces one that the crate sets by itself. If the prompt or one of
    /// your options also sets the field, that is an error. It names the field, and the prompt or
    /// the option. `model` and `stream` cannot be set. Defaults to none.
    extra_body: Map<String, Value>;

    /// The sampling temperature. 0 takes the likeliest token, and larger values make the text more
    /// random. The largest is 1 or 2, depending on the provider. Defaults to the provider's value.
    temperature: Option<f64>, (temperature: f64) => Some(temperature);
    /// The nucleus sampling threshold, from 0 to 1. At each step the model chooses among the most
    /// likely tokens: as many as it takes until their probabilities add up to the threshold.
    /// Defaults to the provider's value.
    top_p: Option<f64>, (probability: f64) => Some(probability);
    /// The number of most likely tokens among which the model chooses at each step. Defaults to the
    /// provider's value.
    top_k: Option<u32>, (tokens: u32) => Some(tokens);
    /// The largest number of tokens to write, reasoning included. Defaults to the provider's limit.
    /// The Messages protocol (Anthropic) requires a value, which defaults to 8,192 plus the token
    /// budget of [`reasoning`](Self::reasoning), and for Claude to 64,000 if that is more.
    max_tokens: Option<u32>, (tokens: u32) => Some(tokens);
    /// The stop sequences: the model stops before it writes one of them. Defaults to none.
    stop: Vec<String>, (sequences: impl IntoIterator<Item = impl Into<String>>)
        => sequences.into_iter().map(Into::into).collect();
    /// The penalty that makes a token less likely the more often it was written, usually from -2 to
    /// 2. Defaults to the provider's value.
    frequency_penalty: Option<f64>, (penalty: f64) => Some(penalty);
    /// The penalty that makes a token less likely once it was written, usually from -2 to 2.
    /// Defaults to the provider's value.
    presence_penalty: Option<f64>, (penalty: f64) => Some(penalty);
    /// The random seed. With the same seed, the provider tries to give the same answer to the same
    /// prompt. Defaults to none.
    seed: Option<i64>, (seed: i64) => Some(seed);
    /// The format of the answer, such as JSON. Defaults to free text.
    response_format: Option<ResponseFormat>, (format: ResponseFormat) => Some(format);
    /// The number of alternatives to report for each token. The log probabilities of the token and
    /// of its alternatives arrive in [`ChunkExtras::logprobs`](crate::ChunkExtras::logprobs);
    /// Cohere's arrive only in [`raw`](crate::ChunkExtras::raw). Defaults to no log probabilities.
    logprobs: Option<u32>, (alternatives: u32) => Some(alternatives);
    /// The amount of reasoning before the answer. Each vendor has its own request fields for it,
    /// which [`guide::providers`](crate::guide::providers) lists. Defaults to the model's own
    /// behaviour.
    reasoning: Option<Reasoning>, (reasoning: Reasoning) => Some(reasoning);
    /// The tools that the model may use: functions of your program, and
    /// [tools that the provider runs](Tool::hosted). Defaults to none.
    tools: Vec<Tool>, (tools: impl IntoIterator<Item = Tool>) => tools.into_iter().collect();
    /// The rule for tool use: the model may, must or must not call a tool. Defaults to the model's
    /// own choice.
    tool_choice: Option<ToolChoice>, (choice: ToolChoice) => Some(choice);
    /// If true, the model may make several tool calls in one response; if false, only one. Defaults
    /// to the provider's value.
    parallel_tool_calls: Option<bool>, (allowed: bool) => Some(allowed);

    /// If true, each event gives a chunk, with the event's data in
    /// [`ChunkExtras::raw`](crate::ChunkExtras::raw), even if the chunk has nothing else. Such a
    /// chunk is not progress for [`stall_timeout`](Self::stall_timeout), and does not prevent a
    /// retry. The last event that is shown is the one in which the provider reports an error.
    /// Defaults to false.
    raw: bool, (keep: bool) => keep;
    /// The number of retries before the first piece of the answer. A timeout is not retried.
    /// Defaults to 2; 0 turns retries off.
    max_retries: u32 = 2, (retries: u32) => retries;
    /// The number of responses that one stream may ask for while it
    /// [runs tools](crate::GenerationStream::run_tools). Then the stream ends with
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit), before the tools of the last response run. A
    /// pause of Anthropic (`pause_turn`), which the stream continues by itself, counts, too: 1 turns
    /// that off. Defaults to 16.
    max_turns: u32 = 16, (turns: u32) => turns;
    /// The longest wait that a server may request of the crate before a retry. If it requests a
    /// longer wait, the error is returned at once. Defaults to 60 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    max_retry_wait: Duration = Duration::from_secs(60), (limit: Duration) => limit;
    /// The time limit for DNS lookup, connection and TLS handshake together. Defaults to 10 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    connect_timeout: Duration = Duration::from_secs(10), (limit: Duration) => limit;
    /// The time limit from the request until the response headers are complete. Despite the name,
    /// it ends with the last header. Defaults to 600 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    first_byte_timeout: Duration = Duration::from_secs(600), (limit: Duration) => limit;
    /// The longest time without a single byte, while the request is written or the response body is
    /// read. Pings are bytes, too: [`stall_timeout`](Self::stall_timeout) limits the time without
    /// progress. Defaults to 300 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    idle_timeout: Duration = Duration::from_secs(300), (limit: Duration) => limit;
    /// The largest size of a line or an event of the stream, in bytes. Defaults to 32 MiB.
    max_event_bytes: usize = 32 << 20, (bytes: usize) => bytes;
    /// The largest size of a response, in bytes: text, reasoning, tool calls, attachments, sources,
    /// activity, log probabilities and replay data (provider-specific data that is sent back
    /// unchanged) together. It also limits the results of the tools that run after a response,
    /// together. Defaults to 64 MiB.
    max_response_bytes: usize = 64 << 20, (bytes: usize) => bytes;
    /// The largest number of tool calls in a response. Defaults to 1,024.
    max_tool_calls: usize = 1024, (calls: usize) => calls;
    /// The longest time that `next` waits for more text, reasoning or tool calls. Work of a
    /// provider's own tools is progress, too. Pings, token counts and data that only the provider
    /// can read, such as a signature, are not. Defaults to 900 s.
    #[serde(deserialize_with = "seconds::deserialize")]
    stall_timeout: Duration = Duration::from_secs(900), (limit: Duration) => limit;

    /// The proxy. Defaults to [`Proxy::Environment`].
    proxy: Proxy, (proxy: Proxy) => proxy;
    /// The file of trusted CA certificates, in PEM format (text with `BEGIN CERTIFICATE` lines). It
    /// replaces the built-in roots: Mozilla's list of CAs or, with the feature `platform-verifier`,
    /// the operating system's. It has to be an ordinary file on disk: a pipe such as the shell's
    /// `<(…)` is refused, since it may never end and can be read only once. Defaults to the file
    /// that `SSL_CERT_FILE` names, else to the built-in roots.
    ca_file: Option<PathBuf>, (file: impl Into<PathBuf>) => Some(file.into());
    /// The PEM file of the client's certificates and its private key, for servers that require
    /// them. It has to be an ordinary file on disk, like `ca_file`. Defaults to none.
    client_certificate: Option<PathBuf>, (file: impl Into<PathBuf>) => Some(file.into());
    /// If true, a key may be sent over plain HTTP to another machine, which may be a proxy.
    /// Defaults to false.
    allow_plain_http: bool, (allowed: bool) => allowed;
    /// The source of variables such as `OPENAI_API_KEY`. Defaults to the process's environment.
    #[serde(skip)]
    environment: Environment, (environment: Environment) => environment;
}

impl GenerationConfig {
    /// Returns a configuration for `model`. All other options have their defaults.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Adds an HTTP header to [`headers`](Self#structfield.headers).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a field of the request body to [`extra_body`](Self#structfield.extra_body). It replaces
    /// an earlier `extra` of the same name.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra_body.insert(name.into(), value.into());
        self
    }
}

conversions! {
    GenerationConfig;
    &str: model => Self::new(model);
    String: model => Self::new(model);
    &String: model => Self::new(model);
    ModelName: model => Self::new(model.as_str());
    &GenerationConfig: config => config.clone();
}

/// The format that the answer must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseFormat {
    /// Any JSON object. Ask for JSON in the prompt, too.
    Json,
    /// JSON that follows a [JSON Schema](https://json-schema.org).
    #[non_exhaustive]
    JsonSchema {
        /// The name of the schema, for providers that require one.
        name: String,
        /// The schema.
        schema: Value,
    },
}

impl ResponseFormat {
    /// Returns the format of JSON that follows `schema`. `name` is for providers that require one.
    pub fn json_schema(name: impl Into<String>, schema: impl Into<Value>) -> Self {
        Self::JsonSchema { name: name.into(), schema: schema.into() }
    }
}

/// The amount of reasoning before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reasoning {
    /// No reasoning.
    Off,
    /// The least that the model can do.
    Minimal,
    /// A small amount.
    Low,
    /// The usual amount.
    Medium,
    /// A large amount.
    High,
    /// More than `High`, if the provider has such a level.
    #[serde(rename = "xhigh")]
    XHigh,
    /// The most that the model can do.
    Max,
    /// A limit in tokens, for providers that count them.
    Budget(u32),
}

impl Reasoning {
    /// Returns the budget in tokens, for providers that count them. Levels up to `High` follow
    /// Google (<https://ai.google.dev/gemini-api/docs/openai#thinking>). Higher levels get the
    /// largest budget of Gemini 2.5 Pro. For other models it is not larger, because reasoning
    /// counts towards the output limit: the rest has to be enough for the answer.
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

/// The proxy between this machine and the provider.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proxy {
    /// The proxy that the environment names. It is read as curl reads it: `https_proxy` or
    /// `http_proxy`, else `all_proxy`, except for the hosts in `no_proxy`. Upper case works, too,
    /// except `HTTP_PROXY`: in a CGI web program, any visitor can set that variable. On Windows,
    /// `HTTP_PROXY` and `http_proxy` are one variable, so set [`Proxy::Direct`] in a CGI program
    /// there. Servers on this machine are reached directly.
    #[default]
    Environment,
    /// No proxy, even if the environment names one.
    Direct,
    /// The proxy at this URL: `http://`, `https://`, `socks4://` or `socks5://`, with user and
    /// password if needed. It is used for servers on this machine, too.
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

/// Reads headers from an object. All are kept, in their order: a name that is given twice is
/// refused later, when the request is prepared.
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
