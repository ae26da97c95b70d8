//! Well-known models, by constant: [`ModelName`].

use std::fmt;

use crate::provider::LlmProvider;

/// A well-known model and who serves it.
///
/// The set is open: any `&str` or `String` names a model too, and nothing here is checked against a
/// list, since models come and go within weeks. The constants are those of kerb that name a model,
/// and newer ones.
///
/// ```
/// use kerb_stream::{GenerationConfig, ModelName};
///
/// let known = GenerationConfig::from(ModelName::GPT_4O_MINI);
/// let other = GenerationConfig::from("anthropic::claude-next");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelName {
    name: &'static str,
    provider: LlmProvider,
}

macro_rules! models {
    ($($provider:ident: $($constant:ident = $name:literal),+;)+) => {
        impl ModelName {
            $($(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: Self = Self { name: $name, provider: LlmProvider::$provider };
            )+)+

            /// Every constant of this type.
            pub const ALL: &[Self] = &[$($(Self::$constant),+),+];
        }
    };
}

models! {
    OpenAi:
        GPT_5_6_SOL = "gpt-5.6-sol",
        GPT_5_6_TERRA = "gpt-5.6-terra",
        GPT_5_6_LUNA = "gpt-5.6-luna",
        GPT_5_5 = "gpt-5.5",
        GPT_5_4 = "gpt-5.4",
        GPT_5_4_PRO = "gpt-5.4-pro",
        GPT_5_4_MINI = "gpt-5.4-mini",
        GPT_5_4_NANO = "gpt-5.4-nano",
        GPT_5_3 = "gpt-5.3",
        GPT_5_2 = "gpt-5.2",
        GPT_5 = "gpt-5",
        GPT_5_MINI = "gpt-5-mini",
        GPT_5_NANO = "gpt-5-nano",
        GPT_4_1 = "gpt-4.1",
        GPT_4_1_MINI = "gpt-4.1-mini",
        GPT_4_1_NANO = "gpt-4.1-nano",
        GPT_4O = "gpt-4o",
        GPT_4O_MINI = "gpt-4o-mini",
        O4_MINI = "o4-mini",
        O3 = "o3",
        O3_PRO = "o3-pro",
        O3_MINI = "o3-mini",
        O1 = "o1",
        O1_PRO = "o1-pro",
        O1_MINI = "o1-mini";
    Anthropic:
        CLAUDE_OPUS_5 = "claude-opus-5",
        CLAUDE_SONNET_5 = "claude-sonnet-5",
        CLAUDE_FABLE_5 = "claude-fable-5",
        CLAUDE_OPUS_4_6 = "claude-opus-4-6",
        CLAUDE_SONNET_4_6 = "claude-sonnet-4-6",
        CLAUDE_OPUS_4_5 = "claude-opus-4-5",
        CLAUDE_SONNET_4_5 = "claude-sonnet-4-5",
        CLAUDE_HAIKU_4_5 = "claude-haiku-4-5";
    Google:
        GEMINI_3_6_FLASH = "gemini-3.6-flash",
        GEMINI_3_5_FLASH = "gemini-3.5-flash",
        GEMINI_3_1_PRO = "gemini-3.1-pro-preview",
        GEMINI_3_1_FLASH_LITE = "gemini-3.1-flash-lite",
        GEMINI_3_FLASH = "gemini-3-flash-preview",
        GEMINI_2_5_PRO = "gemini-2.5-pro",
        GEMINI_2_5_FLASH = "gemini-2.5-flash",
        GEMINI_2_5_FLASH_LITE = "gemini-2.5-flash-lite";
    Mistral:
        MISTRAL_LARGE = "mistral-large-latest",
        MISTRAL_SMALL = "mistral-small-latest",
        CODESTRAL = "codestral-latest",
        MAGISTRAL_MEDIUM = "magistral-medium-latest";
    Cohere:
        COMMAND_A_PLUS = "command-a-plus-05-2026",
        COMMAND_A = "command-a-03-2025",
        COMMAND_A_REASONING = "command-a-reasoning-08-2025",
        COMMAND_R_PLUS = "command-r-plus-08-2024";
}

impl ModelName {
    /// The model's name, as its provider spells it.
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// Who serves it.
    pub const fn provider(self) -> LlmProvider {
        self.provider
    }
}

impl AsRef<str> for ModelName {
    fn as_ref(&self) -> &str {
        self.name
    }
}

impl From<ModelName> for String {
    fn from(model: ModelName) -> Self {
        model.name.to_owned()
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
