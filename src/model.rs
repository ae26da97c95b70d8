//! Lists well-known models ([`ModelName`]), and finds the provider of a model name.

use std::fmt;

use serde::Serialize;

use crate::names::nearest;
use crate::provider::LlmProvider;

/// A well-known model and its provider.
///
/// The set is open: any `&str` or `String` names a model, too. Models come and go within weeks, so
/// a name that has no constant is sent like any other. Two kinds of names are errors, unless the
/// provider is set: a name that fits no provider, or several; and a name with a word that looks
/// like a misspelt word of these constants. The error suggests what may have been meant.
///
/// The constants are the models that the Python toolkit kerb names and that are still served, and
/// a few current models. A constant is serialised as the model's name, such as `"gpt-4o-mini"`.
///
/// ```
/// use kerb_stream::{GenerationConfig, ModelName};
///
/// let known = GenerationConfig::from(ModelName::GPT_4O_MINI);
/// let other = GenerationConfig::from("anthropic::claude-next");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
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

            /// All constants of this type.
            pub const ALL: &[Self] = &[$($(Self::$constant),+),+];
        }
    };
}

models! {
    OpenAi:
        GPT_6_1_SOL = "gpt-6.1-sol",
        GPT_6_LUNA = "gpt-6-luna",
        GPT_5 = "gpt-5",
        GPT_5_MINI = "gpt-5-mini",
        GPT_5_NANO = "gpt-5-nano",
        GPT_4_1 = "gpt-4.1",
        GPT_4_1_MINI = "gpt-4.1-mini",
        GPT_4O = "gpt-4o",
        GPT_4O_MINI = "gpt-4o-mini",
        O3 = "o3",
        O3_PRO = "o3-pro";
    Anthropic:
        CLAUDE_SONNET_5_5 = "claude-sonnet-5-5",
        CLAUDE_HAIKU_5_5 = "claude-haiku-5-5",
        CLAUDE_OPUS_4_5 = "claude-opus-4-5",
        CLAUDE_HAIKU_4_5 = "claude-haiku-4-5";
    Google:
        GEMINI_PRO = "gemini-pro-latest",
        GEMINI_FLASH = "gemini-flash-latest",
        GEMINI_2_5_PRO = "gemini-2.5-pro",
        GEMINI_2_5_FLASH = "gemini-2.5-flash",
        GEMINI_2_5_FLASH_LITE = "gemini-2.5-flash-lite";
    Mistral:
        MISTRAL_LARGE = "mistral-large-latest",
        MISTRAL_SMALL = "mistral-small-latest",
        CODESTRAL = "codestral-latest";
    Cohere:
        COMMAND_A = "command-a-03-2025",
        COMMAND_R_PLUS = "command-r-plus-08-2024";
    DeepSeek:
        DEEPSEEK_FLASH = "deepseek-flash",
        DEEPSEEK_V4_PRO = "deepseek-v4-pro";
    XAi:
        GROK_4_7 = "grok-4.7";
}

impl ModelName {
    /// Returns the model name as its provider spells it.
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// Returns the provider that serves the model.
    pub const fn provider(self) -> LlmProvider {
        self.provider
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

/// OpenAI's models with open weights. Other hosts serve them, so the prefix `gpt-` must not lead to
/// OpenAI.
const SERVED_BY_OTHERS: &str = "gpt-oss";

/// Returns a model name without the prefix of fine-tuned models. They have the provider and the
/// protocol of their base model.
pub(crate) fn base_model(model: &str) -> &str {
    model.strip_prefix("ft:").unwrap_or(model)
}

/// Returns whether a model name begins with one of some blank-separated prefixes. Case is ignored,
/// since MiniMax spells its models in upper and in lower case.
pub(crate) fn begins_like(model: &str, names: &str) -> bool {
    let begins =
        |name: &str| model.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name));
    names.split(' ').any(begins)
}

/// Returns the providers that have the longest matching prefix of a model name.
pub(crate) fn providers_of(model: &str) -> Vec<LlmProvider> {
    let base_model = base_model(model);
    let beginning = |provider: &LlmProvider| {
        let prefixes = provider.vendor().model_prefixes.iter();
        prefixes.filter(|prefix| base_model.starts_with(**prefix)).map(|prefix| prefix.len()).max()
    };
    let longest = LlmProvider::ALL.iter().filter_map(beginning).max();
    let longest = longest.filter(|_| !base_model.starts_with(SERVED_BY_OTHERS));
    let has_it = |provider: &LlmProvider| longest.is_some() && beginning(provider) == longest;
    LlmProvider::ALL.iter().copied().filter(has_it).collect()
}

/// Returns a text with the quoted model names that the user may have meant by a name that leads to
/// no single provider, joined by `or`. It is empty if there are none.
pub(crate) fn suggestions(model: &str) -> String {
    let quoted = |provider, name: &str| format!("\"{provider}::{name}\"");
    if let Some((provider, name)) = model.split_once(['/', ':'])
        && let Ok(provider) = provider.parse::<LlmProvider>()
    {
        let name = name.trim_start_matches([':', ' ']);
        let is_foreign = provider == LlmProvider::OpenAi && name.starts_with(SERVED_BY_OTHERS);
        return if is_foreign { String::new() } else { quoted(provider, name) };
    }
    let lower = model.to_ascii_lowercase();
    let begins = lower.split('-').next().unwrap_or_default();
    // A family is the part of a prefix before the first `-`, such as `mistral`. A word with a
    // letter that the family's name lacks is not misspelt: `solar`, `mixtral` and `gemma2` are
    // other models than `sonar`, `mistral` and `gemma`.
    let families = LlmProvider::ALL.iter().flat_map(|one| one.vendor().model_prefixes);
    let families = families.filter_map(|prefix| prefix.split('-').next());
    let families = families.filter(|it| begins.chars().all(|letter| it.contains(letter)));
    let family = nearest(begins, families).map(|family| lower.replacen(begins, family, 1));
    let known = nearest(&lower, ModelName::ALL.iter().map(|known| known.name));
    let names = [Some(model), Some(&lower), family.as_deref(), known].into_iter().flatten();
    let mut meant = names.map(|name| {
        let providers = providers_of(name).into_iter();
        providers.map(|one| quoted(one, &respelt(name, one))).collect::<Vec<_>>().join(" or ")
    });
    meant.find(|meant| !meant.is_empty()).unwrap_or_default()
}

/// Returns a model name with its misspelt words corrected, by the words of the provider's
/// constants. A known word of four letters or fewer is never the correction, because too many words
/// are similar to it. A word that continues a known one, such as `flashx`, is a new word.
pub(crate) fn respelt(model: &str, provider: LlmProvider) -> String {
    let known = ModelName::ALL.iter().filter(|known| known.provider == provider);
    let words = known.flat_map(|known| known.name.split('-').skip(1));
    // A slash or a colon means that other people chose the words, as in a fine-tuned model's name.
    let words = words.filter(|known| known.len() > 4 && !model.contains(['/', ':']));
    let spelt = model.split('-').map(|word| {
        let lower = word.to_ascii_lowercase();
        nearest(word, words.clone().filter(|known| !lower.starts_with(known))).unwrap_or(word)
    });
    spelt.collect::<Vec<_>>().join("-")
}

/// Returns the provider's model that the user may have meant by a name that the provider does not
/// know.
pub(crate) fn similar(model: &str, provider: LlmProvider) -> Option<&'static str> {
    let known = ModelName::ALL.iter().filter(|known| known.provider == provider);
    nearest(model, known.map(|known| known.name)).filter(|known| *known != model)
}
