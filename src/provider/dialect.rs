//! How vendors differ in Chat Completions: [`Dialect`].

use super::record::record;

/// Which ids of tool calls a vendor takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallIds {
    Any,
    /// Of so many characters at most.
    AtMost(usize),
    NineAlphanumerics,
    /// Of letters, digits, `_` and `-`.
    Word,
}

/// How reasoning is switched: fields of the request, as the JSON of an object. `$level` and `$budget`
/// stand for what is asked; an empty text says that there is no form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReasoningForm {
    pub(crate) off: &'static str,
    /// What it is then in fact, and why, where it is not off.
    pub(crate) off_means: Option<(&'static str, &'static str)>,
    pub(crate) level: &'static str,
    pub(crate) budget: &'static str,
    /// The levels that have another name here, as in `minimal=low`.
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

/// The levels of vendors that know three.
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
    /// How a vendor's Chat Completions differ from the common form: which words, in which fields.
    /// What a model can do changes too often to stand here; its refusal is shown.
    Dialect;

    /// What nearly every compatible server understands.
    COMMON {
        /// The option `max_tokens`, and after `=` what it is called if that differs.
        max_tokens: &'static str = "max_tokens",
        /// The same of `seed`.
        seed: &'static str = "seed",
        /// The value of `tool_choice` for [`ToolChoice::Required`](crate::ToolChoice::Required).
        required: &'static str = "required",
        /// The fields that ask for the usage, as the JSON of an object; none where the vendor refuses
        /// them.
        usage: &'static str = r#"{"stream_options":{"include_usage":true}}"#,
        /// Options of the common form that it is known to ignore or to refuse whatever the model.
        refuses: &'static [&'static str] = &[],
        /// Its `logprobs` is the number of alternatives, not a flag.
        counts_logprobs: bool = false,
        /// The models, by the beginnings of names, that take a strict schema only in OpenAI's dialect.
        strict_schemas: Option<&'static str> = None,
        /// Its tools can be strict, whatever the model.
        strict_tools: bool = false,
        /// It takes only the arguments of calls that are JSON.
        reads_arguments: bool = false,
        /// It refuses a second system message.
        one_system: bool = false,
        call_ids: CallIds = CallIds::Any,
        /// What stands for a content in which there is nothing.
        empty_content: &'static str = "",
        /// Fields that every request has: the JSON of an object.
        always: &'static str = "{}",
        /// Fields that a request with tools has.
        with_tools: &'static str = "{}",
        /// How reasoning is switched, by the beginnings of models' names. The first that fits
        /// decides.
        reasoning: &'static [(&'static str, ReasoningForm)] =
            &[("", form(EFFORT_OFF, EFFORT, NONE))],
        /// The field in which reasoning goes back where another vendor, or nobody, told it; empty where
        /// none does.
        reasoning_field: &'static str = "reasoning_content",
        /// Reasoning goes back with every answer, not only with one that calls tools.
        returns_all_reasoning: bool = false,
        /// What stands for the reasoning of an answer with calls that has none, where it has to
        /// have some.
        reasoning_filler: Option<&'static str> = None,
        /// It stands for that of every answer.
        fills_all_reasoning: bool = false,
        /// Whose meaning the numbers have that its errors have for a code.
        error_numbers: Option<&'static str> = None,
        /// The models that take their reasoning back inside the content, as `<think>…</think>`.
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
    /// Beside a protocol of their own, in which arguments are no text.
    BESIDE_OWN like COMMON { reads_arguments: true };
    /// Servers that put the arguments of calls into a template read them as JSON: llama.cpp answers 500
    /// where they are not, and vLLM and Ollama 400. Z.ai may be reached as a server of one's own.
    LOCAL like BESIDE_OWN { error_numbers: Some("Z.ai") };
    /// `max_tokens` is refused, or ignored.
    NEW_LIMIT like COMMON { max_tokens: "max_tokens=max_completion_tokens" };
    /// As OpenAI, but for a field that its servers may not know.
    AZURE like NEW_LIMIT {
        refuses: &["top_k"], call_ids: CallIds::AtMost(40),
        strict_schemas: Some(""), strict_tools: true
    };
    /// Random padding that hides the length of a token from eavesdroppers doubles the bytes of a
    /// stream; we ask for none.
    OPENAI like AZURE {
        usage: r#"{"stream_options":{"include_usage":true,"include_obfuscation":false}}"#
    };
    /// It refuses `stream_options` and sends the usage anyway. Its models reason, or do not.
    /// <https://docs.mistral.ai/capabilities/reasoning/>
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
    /// The reasoning has another name. vLLM has renamed it, too.
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
    /// A call without reasoning, or with an empty one, is refused. Levels that it does not know are
    /// ignored. <https://platform.kimi.ai/docs/overview>
    MOONSHOT like NEW_LIMIT {
        refuses: &["top_k", "seed"],
        reasoning: &[("kimi-k2", form(SWITCH_OFF, SWITCH_ON, NONE)),
            ("", form(NONE, EFFORT, NONE).words(LOW_HIGH_MAX))],
        returns_all_reasoning: true, reasoning_filler: Some(" ")
    };
    /// Without `tool_stream` the arguments of a call come at once, minutes later.
    /// <https://docs.z.ai/guides/capabilities/thinking-mode>
    ZHIPU like COMMON {
        with_tools: r#"{"tool_stream":true}"#,
        reasoning: &[("", form(SWITCH_OFF, SWITCH_EFFORT, NONE).words(LOW_HIGH_MAX))],
        returns_all_reasoning: true, error_numbers: Some("Z.ai")
    };
    /// Without `reasoning_split` the reasoning stands inside the text. M2 ignores that it is switched
    /// off. <https://platform.minimax.io/docs/api-reference/text-openai-api>
    MINIMAX like NEW_LIMIT {
        reads_arguments: true, one_system: true, always: r#"{"reasoning_split":true}"#,
        reasoning: &[("MiniMax-M2", form(NONE, NONE, NONE)),
            ("", form(SWITCH_OFF, SWITCH_ADAPTIVE, NONE))],
        returns_all_reasoning: true
    };
    /// Its models cannot be kept from reasoning. <https://platform.stepfun.ai/docs>
    STEPFUN like REASONING {
        reasoning: &[("", form(NONE, EFFORT, NONE).words("minimal=low xhigh=high max=high"))]
    };
    /// <https://www.tencentcloud.com/document/product/1300>
    TENCENT like COMMON { reasoning: &[("", form(SWITCH_OFF, SWITCH_EFFORT, SWITCH_BUDGET))] };
    /// <https://www.volcengine.com/docs/82379>
    VOLCENGINE like COMMON { reasoning: &[("", form(SWITCH_OFF, SWITCH_EFFORT, NONE))] };
    /// Every call has to have reasoning, and every message a content. The usage comes unasked.
    /// <https://platform.xiaomimimo.com/docs>
    XIAOMI like NEW_LIMIT {
        usage: "{}", reads_arguments: true, empty_content: " ", reasoning_filler: Some(""),
        reasoning: &[("", form(SWITCH_OFF, SWITCH_ON, NONE))]
    };
}
