//! Who serves a model, and how it is spoken to: [`LlmProvider`], [`Protocol`] and the table of vendors.
//!
//! It is plain data. A compatible vendor is one row of [`vendors!`]; what the rows mean is up to
//! those who read them.

use std::str::FromStr;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::names::names;

/// The wire protocols: how a request is written and a response is read.
///
/// Each provider has its own. Set [`GenerationConfig::protocol`](crate::GenerationConfig::protocol)
/// for an endpoint that speaks several, such as OpenAI's or llama.cpp's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Protocol {
    /// [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat): OpenAI,
    /// Mistral, and nearly every server that people run themselves.
    ChatCompletions,
    /// [OpenAI Responses](https://platform.openai.com/docs/api-reference/responses): OpenAI, and
    /// servers that follow it, such as llama.cpp, LM Studio and xAI. Asked not to store anything:
    /// what a model has to see again of its own answer travels in the [`Message`](crate::Message).
    Responses,
    /// [Anthropic Messages](https://platform.claude.com/docs/en/api/messages): Anthropic;
    /// llama.cpp, vLLM and OpenRouter speak it too.
    Messages,
    /// [Google Gemini's `generateContent`](https://ai.google.dev/api/generate-content).
    GenerateContent,
    /// [Cohere's Chat API](https://docs.cohere.com/reference/chat-stream), version 2.
    CohereChat,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: &[Self] = &[
        Self::ChatCompletions,
        Self::Responses,
        Self::Messages,
        Self::GenerateContent,
        Self::CohereChat,
    ];
}

names! {
    /// The protocol's name in lower case, as it is also serialised.
    Protocol {
        ChatCompletions = "chat_completions", Responses = "responses", Messages = "messages",
        GenerateContent = "generate_content", CohereChat = "cohere_chat",
    }
}

/// An error lists the protocols there are.
impl FromStr for Protocol {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        by_name("protocol", name, Self::ALL, Self::as_str)
    }
}

macro_rules! vendors {
    ($(
        $(#[$doc:meta])*
        $provider:ident = $name:literal at $base_url:literal with [$($key:literal),*]
        $({ $($field:ident: $value:expr),* $(,)? })?;
    )+) => {
        /// Who serves a model.
        ///
        /// The name, in lower case, is what goes before `::` in `"provider::model"`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "&str", try_from = "String")]
        #[non_exhaustive]
        pub enum LlmProvider { $($(#[$doc])* $provider),+ }

        names! {
            /// The provider's name in lower case: what [`FromStr`] reads and `"provider::model"`
            /// begins with.
            LlmProvider { $($provider = $name),+ }
        }

        impl LlmProvider {
            /// Every provider.
            pub const ALL: &[Self] = &[$(Self::$provider),+];

            pub(crate) fn vendor(self) -> &'static Vendor {
                match self {$(
                    Self::$provider => {
                        const VENDOR: &Vendor = &Vendor {
                            $($($field: $value,)*)?
                            ..Vendor::compatible($base_url, &[$($key),*])
                        };
                        VENDOR
                    }
                )+}
            }
        }
    };
}

vendors! {
    /// [OpenAI](https://platform.openai.com/docs), at `OPENAI_BASE_URL` if that is set.
    OpenAi = "openai" at "https://api.openai.com/v1" with ["OPENAI_API_KEY"] {
        base_url_variable: Some(("OPENAI_BASE_URL", UrlForm::Whole)),
        model_prefixes: &["gpt-", "chatgpt-", "o1", "o3", "o4"], dialect: Dialect::OPENAI,
    };
    /// [Anthropic](https://platform.claude.com/docs), at `ANTHROPIC_BASE_URL` if that is set. The
    /// token in `ANTHROPIC_AUTH_TOKEN` is used where there is no `ANTHROPIC_API_KEY`.
    Anthropic = "anthropic" at "https://api.anthropic.com/v1"
        with ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"] {
        base_url_variable: Some(("ANTHROPIC_BASE_URL", UrlForm::WithoutVersion("v1"))),
        bearer_variables: &["ANTHROPIC_AUTH_TOKEN"], model_prefixes: &["claude-"],
        protocol: Protocol::Messages,
    };
    /// [Google Gemini](https://ai.google.dev/gemini-api/docs), at `GOOGLE_GEMINI_BASE_URL` if that
    /// is set.
    Google = "google" at "https://generativelanguage.googleapis.com/v1beta"
        with ["GOOGLE_API_KEY", "GEMINI_API_KEY"] {
        base_url_variable: Some(("GOOGLE_GEMINI_BASE_URL", UrlForm::WithoutVersion("v1beta"))),
        model_prefixes: &["gemini-", "gemma-"], protocol: Protocol::GenerateContent,
    };
    /// [Mistral](https://docs.mistral.ai/api/), at `MISTRAL_BASE_URL` if that is set.
    Mistral = "mistral" at "https://api.mistral.ai/v1" with ["MISTRAL_API_KEY"] {
        base_url_variable: Some(("MISTRAL_BASE_URL", UrlForm::Whole)),
        model_prefixes: &["mistral-", "open-mistral", "ministral-", "magistral-", "codestral-",
            "devstral-", "pixtral-"],
        dialect: Dialect::MISTRAL,
    };
    /// [Cohere](https://docs.cohere.com), at `CO_API_URL` if that is set.
    Cohere = "cohere" at "https://api.cohere.com/v2" with ["CO_API_KEY", "COHERE_API_KEY"] {
        base_url_variable: Some(("CO_API_URL", UrlForm::WithoutVersion("v2"))),
        model_prefixes: &["command-", "c4ai-"], protocol: Protocol::CohereChat,
    };
    /// [Cerebras](https://inference-docs.cerebras.ai).
    Cerebras = "cerebras" at "https://api.cerebras.ai/v1" with ["CEREBRAS_API_KEY"];
    /// [DeepSeek](https://api-docs.deepseek.com).
    DeepSeek = "deepseek" at "https://api.deepseek.com" with ["DEEPSEEK_API_KEY"] {
        model_prefixes: &["deepseek-"],
    };
    /// [Fireworks](https://docs.fireworks.ai).
    Fireworks = "fireworks" at "https://api.fireworks.ai/inference/v1" with ["FIREWORKS_API_KEY"] {
        model_prefixes: &["accounts/fireworks/"],
    };
    /// [Groq](https://console.groq.com/docs/openai).
    Groq = "groq" at "https://api.groq.com/openai/v1" with ["GROQ_API_KEY"] {
        dialect: Dialect { refuses: &["logprobs"], ..Dialect::COMMON },
    };
    /// [OpenRouter](https://openrouter.ai/docs).
    OpenRouter = "openrouter" at "https://openrouter.ai/api/v1" with ["OPENROUTER_API_KEY"];
    /// [Perplexity](https://docs.perplexity.ai).
    Perplexity = "perplexity" at "https://api.perplexity.ai"
        with ["PERPLEXITY_API_KEY", "PPLX_API_KEY"] {
        model_prefixes: &["sonar"],
    };
    /// [Together](https://docs.together.ai).
    Together = "together" at "https://api.together.xyz/v1" with ["TOGETHER_API_KEY"];
    /// [xAI](https://docs.x.ai).
    XAi = "xai" at "https://api.x.ai/v1" with ["XAI_API_KEY"] { model_prefixes: &["grok-"] };
    /// [llama.cpp](https://github.com/ggml-org/llama.cpp) on this machine.
    LlamaCpp = "llamacpp" at "http://localhost:8080/v1" with [] { key_required: false };
    /// [LM Studio](https://lmstudio.ai) on this machine.
    LmStudio = "lmstudio" at "http://localhost:1234/v1" with [] { key_required: false };
    /// [Ollama](https://ollama.com) on this machine, or at `OLLAMA_HOST`.
    Ollama = "ollama" at "http://localhost:11434/v1" with [] {
        base_url_variable: Some(("OLLAMA_HOST", UrlForm::OllamaHost)), key_required: false,
        // https://github.com/pydantic/pydantic-ai/issues/2996
        ends_without_reason: true,
    };
    /// [vLLM](https://docs.vllm.ai) on this machine.
    Vllm = "vllm" at "http://localhost:8000/v1" with [] { key_required: false };
    /// Any server at a [`base_url`](crate::GenerationConfig::base_url) that you name. It gets no key
    /// from the environment.
    Local = "local" at "" with [] { key_required: false };
}

impl LlmProvider {
    /// The environment variables that may hold its key, in the order in which they are tried.
    pub fn key_variables(self) -> &'static [&'static str] {
        self.vendor().key_variables
    }
}

/// An error lists the providers there are.
impl FromStr for LlmProvider {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        by_name("provider", name, Self::ALL, Self::as_str)
    }
}

impl From<LlmProvider> for &str {
    fn from(provider: LlmProvider) -> Self {
        provider.as_str()
    }
}

impl TryFrom<String> for LlmProvider {
    type Error = anyhow::Error;

    fn try_from(name: String) -> anyhow::Result<Self> {
        name.parse()
    }
}

fn by_name<T: Copy>(
    what: &str,
    name: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> anyhow::Result<T> {
    let wanted = name.trim().to_ascii_lowercase();
    all.iter().copied().find(|&one| as_str(one) == wanted).with_context(|| {
        let known: Vec<_> = all.iter().copied().map(as_str).collect();
        format!("there is no {what} {name:?}; there are {}", known.join(", "))
    })
}

/// A row of the table: all there is to know of a vendor that speaks one of the protocols.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// Up to and including the version; empty where there is no public one.
    pub(crate) base_url: &'static str,
    /// The variable that names another base URL, and what the vendor's own tools write there.
    pub(crate) base_url_variable: Option<(&'static str, UrlForm)>,
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

/// What a variable that names a base URL holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UrlForm {
    /// The whole base URL.
    Whole,
    /// The base URL without this version, which the vendor's own tools add to it.
    WithoutVersion(&'static str),
    /// The address that Ollama's server listens on.
    OllamaHost,
}

impl Vendor {
    /// What a row without braces means.
    const fn compatible(base_url: &'static str, key_variables: &'static [&'static str]) -> Self {
        Self {
            base_url,
            base_url_variable: None,
            key_variables,
            bearer_variables: &[],
            key_required: true,
            model_prefixes: &[],
            protocol: Protocol::ChatCompletions,
            ends_without_reason: false,
            dialect: Dialect::COMMON,
        }
    }
}

/// How a vendor's Chat Completions differ from the common form.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The option `max_tokens`, and after `=` what it is called if that differs.
    pub(crate) max_tokens: &'static str,
    /// The same of `seed`.
    pub(crate) seed: &'static str,
    /// The value of `tool_choice` for [`ToolChoice::Required`](crate::ToolChoice::Required).
    pub(crate) required: &'static str,
    /// What to ask for with the stream; nothing where the vendor refuses the field.
    pub(crate) stream_options: &'static [(&'static str, bool)],
    /// Options of the common form that it refuses.
    pub(crate) refuses: &'static [&'static str],
}

impl Dialect {
    /// What nearly every compatible server understands.
    pub(crate) const COMMON: Self = Self {
        max_tokens: "max_tokens",
        seed: "seed",
        required: "required",
        stream_options: &[("include_usage", true)],
        refuses: &[],
    };

    /// Newer models refuse `max_tokens`. Random padding that hides the length of a token from
    /// eavesdroppers doubles the bytes of a stream; we ask for none.
    pub(crate) const OPENAI: Self = Self {
        max_tokens: "max_tokens=max_completion_tokens",
        stream_options: &[("include_usage", true), ("include_obfuscation", false)],
        refuses: &["top_k"],
        ..Self::COMMON
    };

    /// It refuses `stream_options` and sends the usage anyway.
    pub(crate) const MISTRAL: Self = Self {
        seed: "seed=random_seed",
        required: "any",
        stream_options: &[],
        refuses: &["top_k", "logprobs"],
        ..Self::COMMON
    };
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
