//! The table of vendors: [`LlmProvider`] has one variant for each row.

use serde::{Deserialize, Serialize};

use super::dialect::Dialect;
use super::protocol::Protocol;
use super::vendor::{UrlForm, Vendor};
use crate::names::names;

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
        header_variables: &[
            ("openai-organization", "OPENAI_ORG_ID"), ("openai-project", "OPENAI_PROJECT_ID"),
        ],
        model_prefixes: &["gpt-", "chatgpt-", "o1", "o3", "o4", "computer-use-", "codex-",
            "chat-latest", "daybreak-"],
        // Models that reason call tools over Responses only, and some are served nowhere else.
        // https://developers.openai.com/api/docs/guides/migrate-to-responses
        protocols_at: Some(("api.openai.com", &[
            ("gpt-4", Protocol::ChatCompletions), ("gpt-3.5", Protocol::ChatCompletions),
            ("chatgpt-", Protocol::ChatCompletions), ("gpt-audio", Protocol::ChatCompletions),
            ("gpt-5-search-api", Protocol::ChatCompletions), ("", Protocol::Responses),
        ])),
        dialect: Dialect::OPENAI,
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
