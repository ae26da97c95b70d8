//! Who answers: the table of providers, and the seam behind which each wire protocol lives.
//!
//! A compatible vendor is one row of [`vendors!`]. A protocol is one file, which turns an [`Ask`]
//! into a request's body and events into an [`Output`], and one line of [`protocols!`]. The files
//! are pure: they know nothing of URLs, statuses, retries, environment or completeness.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageRole, ToolCall};
use crate::sse::Event;

mod api_error;
mod builder;
mod common;
mod json;
mod options;
mod told;

pub(crate) use api_error::{api_error, one_line, truncated};
pub(crate) use builder::Output;
use builder::SoFar;
use chat_completions::Dialect;
pub(crate) use options::Options;

macro_rules! protocols {
    ($($(#[$doc:meta])* $protocol:ident = $file:ident, $name:literal;)+) => {
        $(mod $file;)+

        /// The wire protocols: how a request is written and an answer is read.
        ///
        /// Each provider has its own. Set [`GenerationConfig::protocol`] for an endpoint that
        /// speaks several, such as OpenAI's or llama.cpp's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Protocol { $($(#[$doc])* $protocol),+ }

        impl Protocol {
            /// Every protocol.
            pub const ALL: &[Self] = &[$(Self::$protocol),+];

            /// The protocol's name in lower case, as it is also serialised.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$protocol => $name),+ }
            }

            pub(crate) fn wire(self) -> &'static Wire {
                match self { $(Self::$protocol => &$file::WIRE),+ }
            }
        }
    };
}

protocols! {
    /// [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat): OpenAI,
    /// Mistral, and nearly every server that people run themselves.
    ChatCompletions = chat_completions, "chat_completions";
    /// [OpenAI Responses](https://platform.openai.com/docs/api-reference/responses): OpenAI, and
    /// servers that follow it, such as llama.cpp, LM Studio and xAI. Asked not to store anything:
    /// what a model has to see again of its own answer travels in the [`Message`].
    Responses = responses, "responses";
    /// [Anthropic Messages](https://platform.claude.com/docs/en/api/messages): Anthropic;
    /// llama.cpp, vLLM and OpenRouter speak it too.
    Messages = messages, "messages";
    /// [Google Gemini's `generateContent`](https://ai.google.dev/api/generate-content).
    GenerateContent = generate_content, "generate_content";
    /// [Cohere's Chat API](https://docs.cohere.com/reference/chat-stream), version 2.
    CohereChat = cohere_chat, "cohere_chat";
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("protocol", name, Self::ALL, Self::as_str)
    }
}

macro_rules! vendors {
    ($($(#[$doc:meta])* $provider:ident { $($field:ident: $value:expr),* $(,)? })+) => {
        /// Who serves a model.
        ///
        /// The name, in lower case, is what goes before `::` in `"provider::model"`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "&str", try_from = "String")]
        #[non_exhaustive]
        pub enum LlmProvider { $($(#[$doc])* $provider),+ }

        impl LlmProvider {
            /// Every provider.
            pub const ALL: &[Self] = &[$(Self::$provider),+];

            pub(crate) fn vendor(self) -> &'static Vendor {
                match self {$(
                    Self::$provider => {
                        const VENDOR: &Vendor = &Vendor { $($field: $value,)* ..COMPATIBLE };
                        VENDOR
                    }
                )+}
            }
        }
    };
}

vendors! {
    /// [OpenAI](https://platform.openai.com/docs), at `OPENAI_BASE_URL` if that is set.
    OpenAi {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        base_url_variable: Some(("OPENAI_BASE_URL", as_given)),
        key_variables: &["OPENAI_API_KEY"],
        model_prefixes: &["gpt-", "chatgpt-", "o1", "o3", "o4"],
        dialect: Dialect::OPENAI,
    }
    /// [Anthropic](https://platform.claude.com/docs), at `ANTHROPIC_BASE_URL` if that is set. The
    /// token in `ANTHROPIC_AUTH_TOKEN` is used where there is no `ANTHROPIC_API_KEY`.
    Anthropic {
        name: "anthropic",
        base_url: "https://api.anthropic.com/v1",
        base_url_variable: Some(("ANTHROPIC_BASE_URL", |url| with_version(url, "v1"))),
        key_variables: &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"],
        bearer_variables: &["ANTHROPIC_AUTH_TOKEN"],
        model_prefixes: &["claude-"],
        protocol: Protocol::Messages,
    }
    /// [Google Gemini](https://ai.google.dev/gemini-api/docs), at `GOOGLE_GEMINI_BASE_URL` if that
    /// is set.
    Google {
        name: "google",
        base_url: "https://generativelanguage.googleapis.com/v1beta",
        base_url_variable: Some(("GOOGLE_GEMINI_BASE_URL", |url| with_version(url, "v1beta"))),
        key_variables: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        model_prefixes: &["gemini-", "gemma-"],
        protocol: Protocol::GenerateContent,
    }
    /// [Mistral](https://docs.mistral.ai/api/), at `MISTRAL_BASE_URL` if that is set.
    Mistral {
        name: "mistral",
        base_url: "https://api.mistral.ai/v1",
        base_url_variable: Some(("MISTRAL_BASE_URL", as_given)),
        key_variables: &["MISTRAL_API_KEY"],
        model_prefixes: &[
            "mistral-", "open-mistral", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-",
        ],
        dialect: Dialect::MISTRAL,
    }
    /// [Cohere](https://docs.cohere.com), at `CO_API_URL` if that is set.
    Cohere {
        name: "cohere",
        base_url: "https://api.cohere.com/v2",
        base_url_variable: Some(("CO_API_URL", |url| with_version(url, "v2"))),
        key_variables: &["CO_API_KEY", "COHERE_API_KEY"],
        model_prefixes: &["command-", "c4ai-"],
        protocol: Protocol::CohereChat,
    }
    /// [Cerebras](https://inference-docs.cerebras.ai).
    Cerebras {
        name: "cerebras",
        base_url: "https://api.cerebras.ai/v1",
        key_variables: &["CEREBRAS_API_KEY"],
    }
    /// [DeepSeek](https://api-docs.deepseek.com).
    DeepSeek {
        name: "deepseek",
        base_url: "https://api.deepseek.com",
        key_variables: &["DEEPSEEK_API_KEY"],
        model_prefixes: &["deepseek-"],
    }
    /// [Fireworks](https://docs.fireworks.ai).
    Fireworks {
        name: "fireworks",
        base_url: "https://api.fireworks.ai/inference/v1",
        key_variables: &["FIREWORKS_API_KEY"],
        model_prefixes: &["accounts/fireworks/"],
    }
    /// [Groq](https://console.groq.com/docs/openai).
    Groq {
        name: "groq",
        base_url: "https://api.groq.com/openai/v1",
        key_variables: &["GROQ_API_KEY"],
        dialect: Dialect { refuses: &["logprobs"], ..Dialect::COMMON },
    }
    /// [OpenRouter](https://openrouter.ai/docs).
    OpenRouter {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        key_variables: &["OPENROUTER_API_KEY"],
    }
    /// [Perplexity](https://docs.perplexity.ai).
    Perplexity {
        name: "perplexity",
        base_url: "https://api.perplexity.ai",
        key_variables: &["PERPLEXITY_API_KEY", "PPLX_API_KEY"],
        model_prefixes: &["sonar"],
    }
    /// [Together](https://docs.together.ai).
    Together {
        name: "together",
        base_url: "https://api.together.xyz/v1",
        key_variables: &["TOGETHER_API_KEY"],
    }
    /// [xAI](https://docs.x.ai).
    XAi {
        name: "xai",
        base_url: "https://api.x.ai/v1",
        key_variables: &["XAI_API_KEY"],
        model_prefixes: &["grok-"],
    }
    /// [llama.cpp](https://github.com/ggml-org/llama.cpp) on this machine.
    LlamaCpp {
        name: "llamacpp",
        base_url: "http://localhost:8080/v1",
        key_required: false,
    }
    /// [LM Studio](https://lmstudio.ai) on this machine.
    LmStudio {
        name: "lmstudio",
        base_url: "http://localhost:1234/v1",
        key_required: false,
    }
    /// [Ollama](https://ollama.com) on this machine, or at `OLLAMA_HOST`.
    Ollama {
        name: "ollama",
        base_url: "http://localhost:11434/v1",
        base_url_variable: Some(("OLLAMA_HOST", ollama_host)),
        key_required: false,
        // https://github.com/pydantic/pydantic-ai/issues/2996
        ends_without_reason: true,
    }
    /// [vLLM](https://docs.vllm.ai) on this machine.
    Vllm {
        name: "vllm",
        base_url: "http://localhost:8000/v1",
        key_required: false,
    }
    /// Any server at a [`base_url`](GenerationConfig::base_url) that you name. It gets no key from
    /// the environment.
    Local {
        name: "local",
        key_required: false,
    }
}

impl LlmProvider {
    /// The provider's name in lower case: what [`FromStr`] reads and `"provider::model"` begins
    /// with.
    pub fn as_str(self) -> &'static str {
        self.vendor().name
    }

    /// The environment variables that may hold its key, in the order in which they are tried.
    pub fn key_variables(self) -> &'static [&'static str] {
        self.vendor().key_variables
    }
}

impl fmt::Display for LlmProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LlmProvider {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("provider", name, Self::ALL, Self::as_str)
    }
}

impl From<LlmProvider> for &str {
    fn from(provider: LlmProvider) -> Self {
        provider.as_str()
    }
}

impl TryFrom<String> for LlmProvider {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

fn by_name<T: Copy>(
    what: &str,
    name: &str,
    all: &[T],
    of: fn(T) -> &'static str,
) -> Result<T, Error> {
    let wanted = name.trim().to_ascii_lowercase();
    all.iter().copied().find(|&one| of(one) == wanted).ok_or_else(|| {
        let known: Vec<_> = all.iter().copied().map(of).collect();
        let message = format!("there is no {what} {name:?}; there are {}", known.join(", "));
        Error::new(ErrorKind::Config, None, message)
    })
}

/// A row of the table: all there is to know of a vendor that speaks one of the protocols.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// In lower case, for `"provider::model"`.
    pub(crate) name: &'static str,
    /// Up to and including the version; empty where there is no public one.
    pub(crate) base_url: &'static str,
    /// The variable that names another base URL, and how the vendor's own tools read it.
    pub(crate) base_url_variable: Option<(&'static str, ReadUrl)>,
    /// In the order of the vendor's own SDK.
    pub(crate) key_variables: &'static [&'static str],
    /// Those of them that hold a token, which goes as `Authorization: Bearer` whatever the
    /// protocol's own header is.
    pub(crate) bearer_variables: &'static [&'static str],
    /// Whether a request without a key is hopeless.
    pub(crate) key_required: bool,
    /// How the names of its models begin.
    pub(crate) model_prefixes: &'static [&'static str],
    pub(crate) protocol: Protocol,
    /// Its whole answers may end with `[DONE]` alone, without a finish reason and usage. Elsewhere
    /// an answer that was interrupted ends so.
    pub(crate) ends_without_reason: bool,
    /// How its Chat Completions differ from the common form.
    pub(crate) dialect: Dialect,
}

/// How a variable's value becomes a base URL.
type ReadUrl = fn(&str) -> String;

/// What a vendor's row leaves out.
const COMPATIBLE: Vendor = Vendor {
    name: "",
    base_url: "",
    base_url_variable: None,
    key_variables: &[],
    bearer_variables: &[],
    key_required: true,
    model_prefixes: &[],
    protocol: Protocol::ChatCompletions,
    ends_without_reason: false,
    dialect: Dialect::COMMON,
};

fn as_given(url: &str) -> String {
    url.to_owned()
}

/// For vendors whose own tools add the version to the address.
fn with_version(url: &str, version: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.strip_suffix(version) {
        Some(before) if before.ends_with('/') => url.to_owned(),
        _ => format!("{url}/{version}"),
    }
}

/// `OLLAMA_HOST` may be a bare host, a bare port with its colon, a pair of both, or a URL; a server
/// that listens on every address is reached on this machine.
/// (<https://github.com/ollama/ollama/blob/main/envconfig/config.go>)
fn ollama_host(host: &str) -> String {
    let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let has_port = authority.get(bracket..).is_some_and(|after| after.contains(':'));
    let bare_ipv6 = bracket == 0 && authority.matches(':').count() > 1;
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if has_port && !bare_ipv6 && port.parse::<u16>().is_ok() => (name, port),
        Some((name, _)) if has_port && !bare_ipv6 => (name, "11434"),
        _ if scheme == "https" => (authority, "443"),
        _ if host.contains("://") => (authority, "80"),
        _ => (authority, "11434"),
    };
    let name = match name {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        name if bare_ipv6 => format!("[{name}]"),
        name => name.to_owned(),
    };
    let path = path.trim_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{name}:{port}{slash}{path}/v1")
}

/// What is asked, once it is settled who is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) provider: LlmProvider,
    /// The model without its `provider::`.
    pub(crate) model: &'a str,
    pub(crate) messages: &'a [Message],
    pub(crate) config: &'a GenerationConfig,
}

impl<'a> Ask<'a> {
    /// Everything that the caller has set and that has to be said, or refused.
    pub(crate) fn options(self) -> Options<'a> {
        Options::new(self)
    }

    /// The messages, where only those of the user have attachments, and only pictures.
    pub(crate) fn messages(self) -> Result<&'a [Message], Error> {
        for message in self.messages {
            if message.role != MessageRole::User && !message.attachments.is_empty() {
                return Err(self.refuse("only a user message can have attachments"));
            }
            if let Some(other) = message.attachments.iter().find(|other| !other.is_image()) {
                let label = other.label().unwrap_or("without a name");
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

    /// The arguments of a call, for protocols that want them as an object.
    pub(crate) fn arguments(self, call: &ToolCall) -> Result<Value, Error> {
        match call.parse::<Value>() {
            Ok(arguments @ Value::Object(_)) => Ok(arguments),
            Ok(_) => {
                let message = format!("the arguments of the call of {:?} are no object", call.name);
                Err(self.refuse(message))
            }
            Err(error) => Err(self.refuse(format!("{error:#}"))),
        }
    }

    /// An error about something in the prompt or the configuration.
    pub(crate) fn refuse(self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, self.provider, message)
    }
}

/// A wire protocol: how to ask, and how to read the answer.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Below the base URL; `{model}` stands for the model.
    pub(crate) path: &'static str,
    /// The header that carries the key, and what stands before the key in it.
    pub(crate) auth: (&'static str, &'static str),
    /// Headers that every request has.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The request's body.
    pub(crate) body: fn(Ask<'_>) -> Result<Map<String, Value>, Error>,
    /// A decoder for one answer.
    pub(crate) decoder: fn() -> Box<dyn Decoder>,
}

/// Reads the events of one answer.
pub(crate) trait Decoder: Send {
    /// Reads one event into `out`. What it does not know it passes over; an error is JSON that
    /// cannot be read at all.
    fn decode(&mut self, event: &Event<'_>, out: &mut Output) -> serde_json::Result<()>;
}

/// What the protocols' tests share.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::message::Prompt;
    use crate::response::GenerationResponse;

    /// The body that is sent for a prompt, or the error's message.
    pub(super) fn sent(
        protocol: Protocol,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
    ) -> Result<Value, String> {
        let speaks = |provider: &&LlmProvider| provider.vendor().protocol == protocol;
        let prompt = prompt.into();
        let ask = Ask {
            provider: *LlmProvider::ALL.iter().find(speaks).unwrap_or(&LlmProvider::OpenAi),
            model: &config.model,
            messages: prompt.messages(),
            config,
        };
        (protocol.wire().body)(ask).map(Value::from).map_err(|error| error.to_string())
    }

    /// The answer that events without names make, and the failure that they tell.
    pub(super) fn decoded(
        protocol: Protocol,
        events: &[&str],
    ) -> (GenerationResponse, Option<String>) {
        let (mut decoder, mut output) = ((protocol.wire().decoder)(), Output::new(9, 9999));
        let mut response = GenerationResponse::default();
        for data in events {
            decoder.decode(&Event { name: "", data }, &mut output).unwrap();
            response.fold(&output.take());
        }
        response.replay = output.replay(LlmProvider::Local, protocol);
        (response, output.failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::Attachment;

    #[test]
    fn names_are_unique_and_read_back() {
        for &provider in LlmProvider::ALL {
            assert_eq!(provider.as_str().parse::<LlmProvider>().unwrap(), provider);
            assert_eq!(provider.as_str(), provider.as_str().to_ascii_lowercase());
        }
        for &protocol in Protocol::ALL {
            assert_eq!(protocol.as_str().parse::<Protocol>().unwrap(), protocol);
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
        }
        let error = "opnai".parse::<LlmProvider>().unwrap_err().to_string();
        assert!(error.contains("\"opnai\"") && error.contains("openai, anthropic"), "{error}");
    }

    #[test]
    fn what_is_no_picture_is_refused_by_name() {
        for &protocol in Protocol::ALL {
            for (attachment, says) in [
                (Attachment::bytes("application/pdf", b"%PDF-"), "is application/pdf"),
                (Attachment::url("https://example.com/a.pdf?b=c.png"), "a.pdf is application/pdf"),
                (Attachment::url("https://example.com/a"), "of the attachment a is unknown"),
            ] {
                let prompt = Message::user("Read this.").attach(attachment);
                let error =
                    testing::sent(protocol, prompt, &GenerationConfig::new("m")).unwrap_err();
                assert!(error.contains(says), "{protocol}: {error}");
            }
        }
    }

    #[test]
    fn a_version_is_added_once() {
        for url in ["https://host/a", "https://host/a/", "https://host/a/v2", "https://host/a/v2/"]
        {
            assert_eq!(with_version(url, "v2"), "https://host/a/v2");
        }
        assert_eq!(with_version("http://host/v1", "v1beta"), "http://host/v1/v1beta");
    }

    /// The tables of `docs/providers.md` that say what the code does; `KERB_STREAM_WRITE=1` writes
    /// them.
    #[test]
    fn the_tables_in_the_docs_are_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
        let written = std::fs::read_to_string(path).unwrap();
        let mut docs = written.clone();
        for (name, table) in [("vendors", vendors_table()), ("options", options_table())] {
            let start = format!("<!-- {name} -->\n");
            let from = docs.find(&start).unwrap() + start.len();
            let to = from + docs.split_at(from).1.find("<!-- end -->").unwrap();
            docs.replace_range(from..to, &table);
        }
        if std::env::var_os("KERB_STREAM_WRITE").is_some() {
            std::fs::write(path, docs).unwrap();
        } else {
            assert_eq!(docs, written, "KERB_STREAM_WRITE=1 cargo test the_tables writes them");
        }
    }

    fn vendors_table() -> String {
        let code = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let mut table = "| Provider | Protocol | Models | Base URL | Variable | Key |\n".to_owned();
        table += "|---|---|---|---|---|---|\n";
        for provider in LlmProvider::ALL {
            let vendor = provider.vendor();
            let url = if vendor.base_url.is_empty() {
                String::new()
            } else {
                format!("`{}`", vendor.base_url)
            };
            let begin: Vec<_> = vendor.model_prefixes.iter().map(|p| format!("{p}…")).collect();
            let models = code(&begin.iter().map(String::as_str).collect::<Vec<_>>());
            let variable = vendor.base_url_variable.map(|(name, _)| format!("`{name}`"));
            table += &format!(
                "| `{}` | `{}` | {models} | {url} | {} | {} |\n",
                vendor.name,
                vendor.protocol,
                variable.unwrap_or_default(),
                code(vendor.key_variables),
            );
        }
        table
    }

    /// Which option each protocol takes, found out by asking it.
    fn options_table() -> String {
        use crate::config::{Reasoning, ResponseFormat};
        use crate::tool::{Tool, ToolChoice};

        let new = || GenerationConfig::new("m");
        let schema = || ResponseFormat::json_schema("s", serde_json::json!({"type": "object"}));
        let tool = || Tool::function("t", "", serde_json::json!({"type": "object"}));
        let options = [
            ("temperature", new().temperature(0.5)),
            ("top_p", new().top_p(0.5)),
            ("top_k", new().top_k(5)),
            ("max_tokens", new().max_tokens(5000)),
            ("stop", new().stop(["x"])),
            ("frequency_penalty", new().frequency_penalty(0.5)),
            ("presence_penalty", new().presence_penalty(0.5)),
            ("seed", new().seed(5)),
            ("logprobs", new().logprobs(0)),
            ("logprobs with alternatives", new().logprobs(3)),
            ("response_format: JSON", new().response_format(ResponseFormat::Json)),
            ("response_format: schema", new().response_format(schema())),
            ("reasoning: a level", new().reasoning(Reasoning::Low)),
            ("reasoning: a budget", new().reasoning(Reasoning::Budget(2000))),
            ("tools", new().tools([tool()])),
            ("tool_choice: required", new().tools([tool()]).tool_choice(ToolChoice::Required)),
            (
                "tool_choice: a tool",
                new().tools([tool()]).tool_choice(ToolChoice::Tool("t".into())),
            ),
            ("parallel_tool_calls", new().tools([tool()]).parallel_tool_calls(false)),
        ];
        let columns = [
            ("Local", Protocol::ChatCompletions, LlmProvider::Local),
            ("OpenAI", Protocol::ChatCompletions, LlmProvider::OpenAi),
            ("Mistral", Protocol::ChatCompletions, LlmProvider::Mistral),
            ("Responses", Protocol::Responses, LlmProvider::OpenAi),
            ("Anthropic", Protocol::Messages, LlmProvider::Anthropic),
            ("Google", Protocol::GenerateContent, LlmProvider::Google),
            ("Cohere", Protocol::CohereChat, LlmProvider::Cohere),
        ];
        let names: Vec<_> = columns.iter().map(|(name, ..)| *name).collect();
        let mut table = format!("| Option | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(7));
        let messages = [Message::user("Hi")];
        for (option, config) in &options {
            let (name, rest) = option.split_at(option.find([':', ' ']).unwrap_or(option.len()));
            table += &format!("| `{name}`{rest} |");
            for (_, protocol, provider) in columns {
                let ask = Ask { provider, model: "m", messages: &messages, config };
                table += if (protocol.wire().body)(ask).is_ok() { " ✓ |" } else { " – |" };
            }
            table.push('\n');
        }
        table
    }

    #[test]
    fn ollama_host_as_ollama_reads_it() {
        for (host, url) in [
            ("1.2.3.4", "http://1.2.3.4:11434/v1"),
            ("1.2.3.4:8080", "http://1.2.3.4:8080/v1"),
            (":8080", "http://127.0.0.1:8080/v1"),
            ("0.0.0.0", "http://127.0.0.1:11434/v1"),
            ("[::1]", "http://[::1]:11434/v1"),
            ("::1", "http://[::1]:11434/v1"),
            ("[::]:9", "http://[::1]:9/v1"),
            ("host:99999", "http://host:11434/v1"),
            ("http://host", "http://host:80/v1"),
            ("https://host", "https://host:443/v1"),
            ("https://host:1/some/path/", "https://host:1/some/path/v1"),
        ] {
            assert_eq!(ollama_host(host), url, "{host}");
        }
    }
}
