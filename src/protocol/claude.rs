//! Describes how the requests for Anthropic's models differ. It does not list what a model
//! supports: the API itself rejects the rest.

use crate::model::begins_like;
use crate::provider::ReasoningForm;

const BUDGET: &str =
    r#"{"thinking":{"type":"enabled","budget_tokens":$budget,"display":"summarized"}}"#;

/// With this form the model decides how long it thinks. Since Claude Opus 4.7 the response contains
/// no thoughts unless the request asks for them.
const EFFORTS: ReasoningForm = ReasoningForm {
    off: r#"{"thinking":{"type":"disabled"}}"#,
    level: r#"{"thinking":{"type":"adaptive","display":"summarized"},"effort":"$level"}"#,
    budget: BUDGET,
    words: "minimal=low",
    ..ReasoningForm::NONE
};
const ALWAYS: ReasoningForm = ReasoningForm { off: "", ..EFFORTS };
const BETWEEN_TOOLS: ReasoningForm = ReasoningForm {
    off: r#"{"thinking":{"type":"between_tools"}}"#,
    off_means: Some(("reasoning between tool calls", "this model cannot think less")),
    ..EFFORTS
};
const IF_ASKED: ReasoningForm = ReasoningForm {
    off: "{}",
    off_means: Some(("nothing", "this model does not think by default")),
    ..EFFORTS
};
const WITHOUT_XHIGH: ReasoningForm = ReasoningForm { words: "minimal=low xhigh=high", ..IF_ASKED };
const BUDGETS: ReasoningForm = ReasoningForm { level: BUDGET, words: "", ..EFFORTS };

/// The form in which reasoning and `effort` are requested, by prefixes of the model name. The first
/// matching prefix decides.
/// (<https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking>)
pub(super) const REASONING: &[(&str, ReasoningForm)] = &[
    ("claude-opus-5-5 claude-fable-5 claude-mythos-5", ALWAYS),
    ("claude-sonnet-5-5", BETWEEN_TOOLS),
    ("claude-opus-4-8 claude-opus-4-7", IF_ASKED),
    ("claude-opus-4-6 claude-sonnet-4-6", WITHOUT_XHIGH),
    ("claude-opus-4 claude-sonnet-4 claude-haiku-4 claude-3", BUDGETS),
    // This row is for the other models of version 5, future models and models of other vendors.
    ("", EFFORTS),
];

/// Prefixes of the models that accept a system message inside the conversation. Other models refuse
/// it, except Claude Sonnet 5, which ignores it.
/// (<https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages>)
const SYSTEM_INSIDE: &str = "claude-opus-5 claude-sonnet-5-5 claude-haiku-5-5 claude-fable-5 \
                             claude-mythos-5 claude-opus-4-8";

/// Returns the name of an Anthropic model as Anthropic writes it. Hosts add a prefix
/// (`us.anthropic.`, `anthropic/`), and OpenRouter writes the version with a dot. Returns `None`
/// for other models. These include distilled models, which have `claude-` in the middle of their
/// names.
pub(super) fn name(model: &str) -> Option<String> {
    let (host, version) = model.split_once("claude-")?;
    let is_host = host.is_empty() || host.ends_with(['.', '/', ':']) || host == "databricks-";
    is_host.then(|| format!("claude-{}", version.replace('.', "-")))
}

pub(super) fn takes_system_inside(model: &str) -> bool {
    name(model).is_some_and(|name| begins_like(&name, SYSTEM_INSIDE))
}

#[cfg(test)]
#[cfg(feature = "rustls")] // Requests to a hosted provider need TLS.
mod tests {
    use serde_json::{Value, json};

    use crate::config::{GenerationConfig, Reasoning};

    /// Returns the `thinking` and `effort` that are sent and the value of the reported adaptation,
    /// or the error.
    fn told_to_think(config: &GenerationConfig) -> Result<([Value; 2], String), String> {
        let config = config.clone().api_key("k");
        let request = crate::generate_stream("Hi", config).request();
        let mut request = request.map_err(|error| error.to_string())?;
        let told = request.adaptations.iter().find(|told| told.what == "reasoning");
        let told = told.map(|told| told.sent.clone()).unwrap_or_default();
        let effort = request.body["output_config"]["effort"].take();
        let mut thinking = request.body["thinking"].take();
        // A request for thinking also asks to see the thoughts.
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
            // The model itself refuses these.
            ("claude-opus-5", Budget(2000), budget(2000), ""),
            ("claude-opus-5", Off, plain(kind("disabled")), ""),
            ("claude-sonnet-5", Budget(0), plain(kind("disabled")), ""),
            ("claude-haiku-5-5", Off, plain(kind("disabled")), ""),
            ("claude-haiku-4-5", Off, plain(kind("disabled")), ""),
            (
                "claude-sonnet-5-5",
                Off,
                plain(kind("between_tools")),
                "reasoning between tool calls",
            ),
            ("claude-opus-4-8", Off, plain(Value::Null), "nothing"),
            ("claude-sonnet-4-6", Budget(0), plain(Value::Null), "nothing"),
            // Hosts write the names in this way.
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
