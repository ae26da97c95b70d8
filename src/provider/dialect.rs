//! The differences between vendors in Chat Completions: [`Dialect`].

use super::record::record;

/// The rule for the tool-call ids that a vendor accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallIds {
    Any,
    /// The largest length, in bytes.
    AtMost(usize),
    /// Exactly nine ASCII letters and digits.
    NineAlphanumerics,
    /// ASCII letters, digits, `_` and `-`.
    Word,
}

/// The request fields that control reasoning, each a JSON object. `$level` and `$budget` are
/// replaced by the requested values. An empty string means that the vendor has no such form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReasoningForm {
    pub(crate) off: &'static str,
    /// The adaptation to report when `off` is requested: the form that is sent, and why.
    pub(crate) off_means: Option<(&'static str, &'static str)>,
    pub(crate) level: &'static str,
    pub(crate) budget: &'static str,
    /// Blank-separated pairs of levels: `minimal=low` sends `low` for `minimal`.
    pub(crate) words: &'static str,
}

const NONE: &str = "";
const EFFORT_OFF: &str = r#"{"reasoning_effort":"none"}"#;
const EFFORT: &str = r#"{"reasoning_effort":"$level"}"#;
const SWITCH_OFF: &str = r#"{"thinking":{"type":"disabled"}}"#;
const SWITCH_ON: &str = r#"{"thinking":{"type":"enabled"}}"#;
const SWITCH_ADAPTIVE: &str = r#"{"thinking":{"type":"adaptive"}}"#;
const SWITCH_EFFORT: &str = r#"{"thinking":{"type":"enabled"},"reasoning_effort":"$level"}"#;
const SWITCH_BUDGET: &str = r#"{"thinking":{"type":"enabled","budget_tokens":$budget}}"#;
const ENABLE_OFF: &str = r#"{"enable_thinking":false}"#;
const ENABLE: &str = r#"{"enable_thinking":true}"#;
const ENABLE_BUDGET: &str = r#"{"enable_thinking":true,"thinking_budget":$budget}"#;
const OBJECT_OFF: &str = r#"{"reasoning":{"effort":"none"}}"#;
const OBJECT: &str = r#"{"reasoning":{"effort":"$level"}}"#;
const OBJECT_BUDGET: &str = r#"{"reasoning":{"max_tokens":$budget}}"#;
const FLAG_OFF: &str = r#"{"reasoning":{"enabled":false}}"#;
const FLAG_EFFORT: &str = r#"{"reasoning":{"enabled":true},"reasoning_effort":"$level"}"#;

/// The mapping for vendors that know only the levels low, high and max.
const LOW_HIGH_MAX: &str = "minimal=low medium=high xhigh=max";

pub(crate) const fn form(
    off: &'static str,
    level: &'static str,
    budget: &'static str,
) -> ReasoningForm {
    ReasoningForm { off, off_means: None, level, budget, words: "" }
}

impl ReasoningForm {
    pub(crate) const NONE: Self = form("", "", "");

    const fn words(self, words: &'static str) -> Self {
        Self { words, ..self }
    }
}

record! {
    /// The differences of a vendor's Chat Completions from the common form: fields and their
    /// values. The abilities of models are not listed, because they change too often. If a model
    /// refuses an option, the vendor's error is shown.
    Dialect;

    /// The form that nearly every compatible server understands.
    COMMON {
        /// The option `max_tokens`, followed by `=` and the vendor's field if the name differs.
        max_tokens: &'static str = "max_tokens",
        /// The option `seed`, written in the same way.
        seed: &'static str = "seed",
        /// The value of `tool_choice` for [`ToolChoice::Required`](crate::ToolChoice::Required).
        required: &'static str = "required",
        /// The fields that ask for the usage, as a JSON object. Empty if the vendor refuses them or
        /// sends the usage anyway.
        usage: &'static str = r#"{"stream_options":{"include_usage":true}}"#,
        /// Options of the common form that the vendor ignores or refuses for every model.
        refuses: &'static [&'static str] = &[],
        /// The field `logprobs` is the number of alternatives, not a flag.
        counts_logprobs: bool = false,
        /// Blank-separated prefixes of the models that accept strict schemas only in OpenAI's
        /// subset of JSON Schema.
        strict_schemas: Option<&'static str> = None,
        /// Tools can be strict for every model.
        strict_tools: bool = false,
        /// The vendor refuses tool calls whose arguments are not JSON objects.
        reads_arguments: bool = false,
        /// The vendor refuses a second system message, so all are joined into the first one.
        one_system: bool = false,
        call_ids: CallIds = CallIds::Any,
        /// The text that is sent in place of an empty content.
        empty_content: &'static str = "",
        /// Fields of every request, as a JSON object.
        always: &'static str = "{}",
        /// Fields of every request with tools, as a JSON object.
        with_tools: &'static str = "{}",
        /// The fields that control reasoning: blank-separated prefixes of model names, and the
        /// form. The first entry that fits decides.
        reasoning: &'static [(&'static str, ReasoningForm)] =
            &[("", form(EFFORT_OFF, EFFORT, NONE))],
        /// The message field that carries reasoning back to the vendor. Empty if there is none.
        /// Reasoning that the vendor itself sent is sent back in the field that it came in.
        reasoning_field: &'static str = "reasoning_content",
        /// Reasoning is sent back with every assistant message, not only with tool calls.
        returns_all_reasoning: bool = false,
        /// The text that is sent as the reasoning of an assistant message with tool calls and no
        /// reasoning, where the vendor requires some.
        reasoning_filler: Option<&'static str> = None,
        /// `reasoning_filler` is sent in every assistant message without reasoning.
        fills_all_reasoning: bool = false,
        /// The vendor that defines the numeric error codes.
        error_numbers: Option<&'static str> = None,
        /// Blank-separated prefixes of the models whose reasoning is sent back inside the content,
        /// as `<think>…</think>`.
        think_tags: Option<&'static str> = None,
    }
}

macro_rules! dialects {
    ($($(#[$doc:meta])* $name:ident like $base:ident { $($field:ident: $value:expr),* };)+) => {
        impl Dialect {
            $(
                $(#[$doc])*
                pub(crate) const $name: Self = Self { $($field: $value,)* ..Self::$base };
            )+
        }
    };
}

dialects! {
    /// Vendors whose own protocol has objects as arguments: their Chat Completions read the
    /// arguments as JSON, too.
    BESIDE_OWN like COMMON { reads_arguments: true };
    /// Servers that put the arguments of calls into a template, and read them as JSON for that. If
    /// they are not JSON, llama.cpp returns status 500, and vLLM and Ollama return 400. Z.ai's
    /// error numbers are known here, too, because a user may set Z.ai's URL as `base_url`.
    LOCAL like BESIDE_OWN { error_numbers: Some("Z.ai") };
    /// Vendors that refuse or ignore `max_tokens`.
    NEW_LIMIT like COMMON { max_tokens: "max_tokens=max_completion_tokens" };
    /// As OpenAI, but without `include_obfuscation`, which Azure's servers may not know.
    AZURE like NEW_LIMIT {
        refuses: &["top_k"], call_ids: CallIds::AtMost(40),
        strict_schemas: Some(""), strict_tools: true
    };
    /// By default OpenAI hides the length of each token from eavesdroppers by random padding. The
    /// padding doubles the bytes of a stream, so it is switched off.
    OPENAI like AZURE {
        usage: r#"{"stream_options":{"include_usage":true,"include_obfuscation":false}}"#
    };
    /// Mistral refuses `stream_options` and sends the usage anyway. The levels of its models are
    /// only `high` and `none`. <https://docs.mistral.ai/capabilities/reasoning/>
    MISTRAL like COMMON {
        seed: "seed=random_seed", required: "any", usage: "{}",
        call_ids: CallIds::NineAlphanumerics, reasoning_field: "",
        reasoning: &[("", form(EFFORT_OFF, EFFORT, NONE)
            .words("minimal=high low=high medium=high xhigh=high max=high"))]
    };
    /// <https://api-docs.deepseek.com/guides/thinking_mode>
    DEEPSEEK like COMMON {
        reasoning: &[("", form(SWITCH_OFF, SWITCH_EFFORT, NONE)
            .words("minimal=low medium=high xhigh=high"))],
        returns_all_reasoning: true, reasoning_filler: Some(""), fills_all_reasoning: true
    };
    /// Vendors whose reasoning field is `reasoning`. vLLM renamed its `reasoning_content` to it,
    /// too.
    REASONING like COMMON { reasoning_field: "reasoning" };
    /// <https://docs.ollama.com/api/openai-compatibility>
    OLLAMA like REASONING {
        reads_arguments: true, refuses: &["top_k", "parallel_tool_calls"],
        reasoning: &[("", form(EFFORT_OFF, EFFORT, NONE).words("minimal=low xhigh=max"))]
    };
    VLLM like REASONING { reads_arguments: true };
    /// <https://inference-docs.cerebras.ai/capabilities/reasoning>,
    /// <https://inference-docs.cerebras.ai/capabilities/structured-outputs>
    CEREBRAS like NEW_LIMIT {
        strict_schemas: Some(""), reasoning_field: "reasoning", think_tags: Some("zai-glm")
    };
    /// <https://console.groq.com/docs/openai>, <https://console.groq.com/docs/structured-outputs>
    GROQ like NEW_LIMIT {
        refuses: &["logprobs"], strict_schemas: Some(""), reasoning_field: "reasoning"
    };
    /// <https://openrouter.ai/docs/use-cases/reasoning-tokens>
    OPENROUTER like REASONING {
        strict_schemas: Some("openai/"), reasoning: &[("", form(OBJECT_OFF, OBJECT, OBJECT_BUDGET))]
    };
    /// <https://docs.together.ai/docs/reasoning-overview>
    TOGETHER like REASONING {
        counts_logprobs: true, reasoning: &[("", form(FLAG_OFF, FLAG_EFFORT, NONE))]
    };
    /// <https://docs.perplexity.ai>
    PERPLEXITY like COMMON { reasoning: &[("", form(NONE, EFFORT, NONE))] };
    /// <https://www.alibabacloud.com/help/en/model-studio/deep-thinking>
    ALIBABA like COMMON {
        refuses: &["frequency_penalty"], reads_arguments: true,
        reasoning: &[
            ("qwen3.8", form(EFFORT_OFF, EFFORT, NONE).words("minimal=low high=xhigh max=xhigh")),
            ("", form(ENABLE_OFF, ENABLE_BUDGET, ENABLE_BUDGET)),
        ]
    };
    /// <https://docs.siliconflow.com>
    SILICONFLOW like COMMON { reasoning: &[("", form(ENABLE_OFF, ENABLE_BUDGET, ENABLE_BUDGET))] };
    /// <https://cloud.baidu.com/doc/qianfan-api>
    QIANFAN like COMMON { reasoning: &[("", form(ENABLE_OFF, ENABLE, ENABLE_BUDGET))] };
    /// Moonshot refuses a message with tool calls if its reasoning is missing or empty, and ignores
    /// unknown levels. <https://platform.kimi.ai/docs/overview>
    MOONSHOT like NEW_LIMIT {
        refuses: &["top_k", "seed"],
        reasoning: &[("kimi-k2", form(SWITCH_OFF, SWITCH_ON, NONE)),
            ("", form(NONE, EFFORT, NONE).words(LOW_HIGH_MAX))],
        returns_all_reasoning: true, reasoning_filler: Some(" ")
    };
    /// Without `tool_stream` the arguments of a call arrive in one piece, after minutes of silence.
    /// <https://docs.z.ai/guides/capabilities/thinking-mode>
    ZHIPU like COMMON {
        with_tools: r#"{"tool_stream":true}"#,
        reasoning: &[("", form(SWITCH_OFF, SWITCH_EFFORT, NONE).words(LOW_HIGH_MAX))],
        returns_all_reasoning: true, error_numbers: Some("Z.ai")
    };
    /// Without `reasoning_split` the reasoning is part of the text. M2 always reasons: it ignores
    /// the switch. <https://platform.minimax.io/docs/api-reference/text-openai-api>
    MINIMAX like NEW_LIMIT {
        reads_arguments: true, one_system: true, always: r#"{"reasoning_split":true}"#,
        reasoning: &[("MiniMax-M2", form(NONE, NONE, NONE)),
            ("", form(SWITCH_OFF, SWITCH_ADAPTIVE, NONE))],
        returns_all_reasoning: true
    };
    /// StepFun's models always reason. <https://platform.stepfun.ai/docs>
    STEPFUN like REASONING {
        reasoning: &[("", form(NONE, EFFORT, NONE).words("minimal=low xhigh=high max=high"))]
    };
    /// <https://www.tencentcloud.com/document/product/1300>
    TENCENT like COMMON { reasoning: &[("", form(SWITCH_OFF, SWITCH_EFFORT, SWITCH_BUDGET))] };
    /// <https://www.volcengine.com/docs/82379>
    VOLCENGINE like COMMON { reasoning: &[("", form(SWITCH_OFF, SWITCH_EFFORT, NONE))] };
    /// Xiaomi requires reasoning in every message with tool calls, and a content in every message.
    /// It sends the usage without being asked. <https://platform.xiaomimimo.com/docs>
    XIAOMI like NEW_LIMIT {
        usage: "{}", reads_arguments: true, empty_content: " ", reasoning_filler: Some(""),
        reasoning: &[("", form(SWITCH_OFF, SWITCH_ON, NONE))]
    };
}
