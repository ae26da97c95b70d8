//! How Anthropic's models differ in what they are told. What they can do is theirs to say.

use serde_json::{Value, json};

use super::chat_request::ChatRequest;
use super::common;
use crate::config::Reasoning;
use crate::error::Error;

/// What the name begins with, of which the first counts; what a level of reasoning becomes; how it
/// is switched off; and whether the model takes a system message inside the conversation: others
/// refuse it, but for Claude Sonnet 5, which ignores it.
/// (<https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking>,
/// <https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages>)
type Form = (&'static str, Levels, Off, bool);

const FORMS: &[Form] = &[
    ("claude-opus-5-5", Levels::Efforts, Off::Impossible, true),
    ("claude-opus-5", Levels::Efforts, Off::Disabled, true),
    ("claude-sonnet-5-5", Levels::Efforts, Off::BetweenTools, true),
    ("claude-haiku-5-5", Levels::Efforts, Off::Disabled, true),
    ("claude-fable-5", Levels::Efforts, Off::Impossible, true),
    ("claude-mythos-5", Levels::Efforts, Off::Impossible, true),
    ("claude-opus-4-8", Levels::Efforts, Off::Unsaid, true),
    ("claude-opus-4-7", Levels::Efforts, Off::Unsaid, false),
    ("claude-opus-4-6", Levels::WithoutXHigh, Off::Unsaid, false),
    ("claude-sonnet-4-6", Levels::WithoutXHigh, Off::Unsaid, false),
    ("claude-opus-4", Levels::Budgets, Off::Disabled, false),
    ("claude-sonnet-4", Levels::Budgets, Off::Disabled, false),
    ("claude-haiku-4", Levels::Budgets, Off::Disabled, false),
    ("claude-3", Levels::Budgets, Off::Disabled, false),
];

/// The form of Claude Sonnet 5, of models to come, and of those that are not Anthropic's.
const OTHERS: Form = ("", Levels::Efforts, Off::Disabled, false);

/// What a level becomes.
#[derive(Clone, Copy, PartialEq)]
enum Levels {
    /// An effort; the model decides for itself how long to think.
    Efforts,
    WithoutXHigh,
    /// A number of tokens.
    Budgets,
}

/// How a model is told not to think.
#[derive(Clone, Copy)]
enum Off {
    Disabled,
    /// It thinks only if it is asked to.
    Unsaid,
    /// It can be told to think less.
    BetweenTools,
    Impossible,
}

/// The name of one of Anthropic's models, as Anthropic writes it: hosts write something before it
/// (`us.anthropic.`, `anthropic/`), and OpenRouter its version with a dot. Models that were distilled
/// from one have it in the middle of their names.
pub(super) fn name(model: &str) -> Option<String> {
    let (host, version) = model.split_once("claude-")?;
    let is_host = host.is_empty() || host.ends_with(['.', '/', ':']) || host == "databricks-";
    is_host.then(|| format!("claude-{}", version.replace('.', "-")))
}

fn form(model: &str) -> Form {
    let name = name(model).unwrap_or_default();
    FORMS.iter().find(|form| name.starts_with(form.0)).copied().unwrap_or(OTHERS)
}

pub(super) fn takes_system_inside(model: &str) -> bool {
    form(model).3
}

/// How a model is told to think, and with what effort. Since Claude Opus 4.7 thoughts are left out
/// unless one asks for them.
pub(super) fn thinking(
    request: ChatRequest<'_>,
    reasoning: Reasoning,
) -> Result<(Value, Option<&'static str>), Error> {
    let (_, levels, off, _) = form(request.model);
    let level = common::level(reasoning);
    let adapt = |sent: &str, why| request.adapt("reasoning", level.unwrap_or("none"), sent, why);
    let effort = match reasoning {
        Reasoning::Off | Reasoning::Budget(0) => {
            let thinking = match off {
                Off::Disabled => json!({ "type": "disabled" }),
                Off::Unsaid => {
                    adapt("nothing", "this model thinks only if it is asked to");
                    Value::Null
                }
                Off::BetweenTools => {
                    adapt("between tools", "it is the least that this model can do");
                    json!({ "type": "between_tools" })
                }
                Off::Impossible => {
                    let why = "the option `reasoning` cannot be off: this model always thinks";
                    return Err(request.refuse(format!("{why}; set it to low")));
                }
            };
            return Ok((thinking, None));
        }
        Reasoning::Budget(tokens) => return Ok((budget(tokens), None)),
        _ if levels == Levels::Budgets => {
            // It has to be smaller than the limit, half of which is left for the answer.
            let most = request.config.max_tokens.map_or(u32::MAX, |limit| limit / 2);
            let tokens = reasoning.budget().min(most).max(1024);
            adapt(&format!("a budget of {tokens} tokens"), "this model counts tokens");
            return Ok((budget(tokens), None));
        }
        Reasoning::Minimal => {
            adapt("low", "it is the lowest effort here");
            Some("low")
        }
        Reasoning::XHigh if levels == Levels::WithoutXHigh => {
            adapt("high", "this model has no effort between high and max");
            Some("high")
        }
        _ => level,
    };
    Ok((json!({ "type": "adaptive", "display": "summarized" }), effort))
}

fn budget(tokens: u32) -> Value {
    json!({ "type": "enabled", "budget_tokens": tokens, "display": "summarized" })
}

#[cfg(test)]
#[cfg(feature = "rustls")] // These requests go to a hosted provider.
mod tests {
    use super::*;
    use crate::config::GenerationConfig;

    /// What is sent for a level, and how what was changed is told; or the error.
    fn told_to_think(config: &GenerationConfig) -> Result<([Value; 2], String), String> {
        let config = config.clone().api_key("k");
        let request = crate::generate_stream("Hi", config).request();
        let mut request = request.map_err(|error| error.to_string())?;
        let told = request.adaptations.iter().find(|told| told.what == "reasoning");
        let told = told.map(|told| told.sent.clone()).unwrap_or_default();
        let effort = request.body["output_config"]["effort"].take();
        let mut thinking = request.body["thinking"].take();
        // Where thoughts are asked for, they are to be seen.
        if thinking["type"] == "adaptive" || thinking["type"] == "enabled" {
            let display = thinking.as_object_mut().unwrap().remove("display");
            assert_eq!(display.unwrap(), "summarized");
        }
        Ok(([thinking, effort], told))
    }

    #[test]
    fn each_model_is_told_to_think_in_its_form() {
        use Reasoning::{Budget, High, Low, Max, Medium, Minimal, Off, XHigh};
        let kind = |kind: &str| json!({"type": kind});
        let adaptive = |effort: &str| [kind("adaptive"), json!(effort)];
        let plain = |thinking: Value| [thinking, Value::Null];
        let budget = |tokens: u32| plain(json!({"type": "enabled", "budget_tokens": tokens}));
        for (model, reasoning, sent, told) in [
            ("claude-opus-5", Low, adaptive("low"), ""),
            ("claude-opus-5", Minimal, adaptive("low"), "low"),
            ("claude-sonnet-5-5", Max, adaptive("max"), ""),
            ("claude-opus-4-7", XHigh, adaptive("xhigh"), ""),
            ("claude-opus-4-6", XHigh, adaptive("high"), "high"),
            ("claude-sonnet-4-6", Max, adaptive("max"), ""),
            ("claude-next-7", XHigh, adaptive("xhigh"), ""),
            ("claude-next-7", Off, plain(kind("disabled")), ""),
            ("claude-opus-4-5", High, budget(24_576), "a budget of 24576 tokens"),
            ("claude-sonnet-4-5", Medium, budget(8192), "a budget of 8192 tokens"),
            ("claude-haiku-4-5", Max, budget(32_768), "a budget of 32768 tokens"),
            ("claude-3-7-sonnet-latest", Minimal, budget(1024), "a budget of 1024 tokens"),
            ("claude-haiku-4-5", Budget(7), budget(7), ""),
            // Refused by the model, which says so.
            ("claude-opus-5", Budget(2000), budget(2000), ""),
            ("claude-opus-5", Off, plain(kind("disabled")), ""),
            ("claude-sonnet-5", Budget(0), plain(kind("disabled")), ""),
            ("claude-haiku-5-5", Off, plain(kind("disabled")), ""),
            ("claude-haiku-4-5", Off, plain(kind("disabled")), ""),
            ("claude-sonnet-5-5", Off, plain(kind("between_tools")), "between tools"),
            ("claude-opus-4-8", Off, plain(Value::Null), "nothing"),
            ("claude-sonnet-4-6", Budget(0), plain(Value::Null), "nothing"),
            // As hosts write them.
            ("claude-opus-4@20250514", Low, budget(1024), "a budget of 1024 tokens"),
            ("anthropic::us.anthropic.claude-sonnet-4-6-v1:0", XHigh, adaptive("high"), "high"),
            ("anthropic::anthropic/claude-opus-4.6", XHigh, adaptive("high"), "high"),
            (
                "anthropic::databricks-claude-haiku-4-5",
                Low,
                budget(1024),
                "a budget of 1024 tokens",
            ),
            ("anthropic::qwen3-claude-opus-4-5-distill", High, adaptive("high"), ""),
            ("anthropic::MiniMax-M2", High, adaptive("high"), ""),
            ("anthropic::MiniMax-M2", Off, plain(kind("disabled")), ""),
        ] {
            let config = GenerationConfig::new(model).reasoning(reasoning);
            let expected = Ok((sent, told.to_owned()));
            assert_eq!(told_to_think(&config), expected, "{model} {reasoning:?}");
        }
        for model in ["claude-opus-5-5", "claude-fable-5-2", "claude-mythos-5"] {
            let config = GenerationConfig::new(model).reasoning(Off);
            let error = told_to_think(&config).unwrap_err();
            assert!(
                error.contains("`reasoning` cannot be off") && error.contains("low"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_budget_leaves_room_for_an_answer() {
        for (limit, tokens) in [(100_000, 24_576), (8000, 4000), (1500, 1024)] {
            let config = GenerationConfig::new("claude-haiku-4-5").max_tokens(limit);
            let ([thinking, _], told) = told_to_think(&config.reasoning(Reasoning::High)).unwrap();
            assert_eq!(thinking["budget_tokens"], tokens);
            assert!(told.contains(&tokens.to_string()), "{told}");
        }
    }
}
