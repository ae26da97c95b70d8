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

// The models of makers that have several addresses, of which none is chosen by the name alone.
const GLM: &[&str] = &["glm-", "autoglm-"];
const HUNYUAN: &[&str] = &["hy3", "hy4", "hy-"];
const KIMI: &[&str] = &["kimi-", "moonshot-v1"];
const MINIMAX: &[&str] = &["MiniMax-", "minimax-"];
const QWEN: &[&str] = &["qwen", "qwq-", "qvq-"];
const STEP: &[&str] = &["step-"];

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
            "devstral-", "pixtral-", "voxtral-"],
        dialect: Dialect::MISTRAL,
    };
    /// [Cohere](https://docs.cohere.com), at `CO_API_URL` if that is set.
    Cohere = "cohere" at "https://api.cohere.com/v2" with ["CO_API_KEY", "COHERE_API_KEY"] {
        base_url_variable: Some(("CO_API_URL", UrlForm::WithoutVersion("v2"))),
        model_prefixes: &["command-", "c4ai-", "north-"], protocol: Protocol::CohereChat,
    };
    /// [Alibaba Cloud Model Studio](https://www.alibabacloud.com/help/en/model-studio) in Singapore.
    Alibaba = "alibaba" at "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"]
        { model_prefixes: QWEN, dialect: Dialect::ALIBABA };
    /// [Alibaba Cloud](https://help.aliyun.com/zh/model-studio) in mainland China.
    AlibabaCn = "alibaba_cn" at "https://dashscope.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"]
        { model_prefixes: QWEN, dialect: Dialect::ALIBABA };
    /// [Alibaba Cloud](https://www.alibabacloud.com/help/en/model-studio) in Hong Kong.
    AlibabaHk = "alibaba_hk" at "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"]
        { model_prefixes: QWEN, dialect: Dialect::ALIBABA };
    /// [Alibaba Cloud](https://www.alibabacloud.com/help/en/model-studio) in the United States.
    AlibabaUs = "alibaba_us" at "https://dashscope-us.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"]
        { model_prefixes: QWEN, dialect: Dialect::ALIBABA };
    /// A workspace of [Alibaba Cloud](https://www.alibabacloud.com/help/en/model-studio)'s:
    /// `DASHSCOPE_WORKSPACE`, in a `DASHSCOPE_REGION` such as `ap-northeast-1` or `eu-central-1`.
    AlibabaWorkspace = "alibaba_workspace"
        at "https://{DASHSCOPE_WORKSPACE}.{DASHSCOPE_REGION}.maas.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"]
        { model_prefixes: QWEN, dialect: Dialect::ALIBABA };
    /// [Azure OpenAI](https://learn.microsoft.com/azure/ai-foundry/openai), version 1 of its API, at
    /// `AZURE_OPENAI_ENDPOINT` if that is set. The model is the name of a deployment.
    Azure = "azure" at "https://{AZURE_RESOURCE_NAME}.openai.azure.com/openai/v1"
        with ["AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "AZURE_API_KEY"] {
        base_url_variable: Some(("AZURE_OPENAI_ENDPOINT", UrlForm::WithoutVersion("openai/v1"))),
        dialect: Dialect::AZURE,
    };
    /// [Amazon Bedrock](https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions)
    /// in `AWS_REGION`, with a Bedrock API key.
    Bedrock = "bedrock"
        at "https://bedrock-runtime.{AWS_REGION|AWS_DEFAULT_REGION}.amazonaws.com/openai/v1"
        with ["AWS_BEARER_TOKEN_BEDROCK"] {
        base_url_variable: Some(("AWS_BEDROCK_BASE_URL", UrlForm::Whole)),
        model_prefixes: &["openai.gpt-"], dialect: Dialect::NEW_LIMIT,
    };
    /// The Messages API of [Amazon Bedrock](https://docs.aws.amazon.com/bedrock/latest/userguide)
    /// in `AWS_REGION`, with a Bedrock API key.
    BedrockAnthropic = "bedrock_anthropic"
        at "https://bedrock-mantle.{AWS_REGION|AWS_DEFAULT_REGION}.api.aws/anthropic/v1"
        with ["AWS_BEARER_TOKEN_BEDROCK"] {
        base_url_variable: Some((
            "ANTHROPIC_BEDROCK_MANTLE_BASE_URL", UrlForm::WithoutVersion("v1"),
        )),
        bearer_variables: &["AWS_BEARER_TOKEN_BEDROCK"],
        model_prefixes: &["anthropic.claude-"], protocol: Protocol::Messages,
    };
    /// [Cerebras](https://inference-docs.cerebras.ai), at `CEREBRAS_BASE_URL` if that is set.
    Cerebras = "cerebras" at "https://api.cerebras.ai/v1" with ["CEREBRAS_API_KEY"] {
        base_url_variable: Some(("CEREBRAS_BASE_URL", UrlForm::WithoutVersion("v1"))),
        dialect: Dialect::CEREBRAS,
    };
    /// [DeepSeek](https://api-docs.deepseek.com).
    DeepSeek = "deepseek" at "https://api.deepseek.com" with ["DEEPSEEK_API_KEY"] {
        model_prefixes: &["deepseek-"], dialect: Dialect::DEEPSEEK,
    };
    /// [Fireworks](https://docs.fireworks.ai), at `FIREWORKS_BASE_URL` if that is set.
    Fireworks = "fireworks" at "https://api.fireworks.ai/inference/v1" with ["FIREWORKS_API_KEY"] {
        base_url_variable: Some(("FIREWORKS_BASE_URL", UrlForm::WithoutVersion("v1"))),
        model_prefixes: &["accounts/fireworks/"],
    };
    /// [Groq](https://console.groq.com/docs/openai), at `GROQ_BASE_URL` if that is set.
    Groq = "groq" at "https://api.groq.com/openai/v1" with ["GROQ_API_KEY"] {
        base_url_variable: Some(("GROQ_BASE_URL", UrlForm::WithoutVersion("openai/v1"))),
        dialect: Dialect::GROQ,
    };
    /// [MiniMax](https://platform.minimax.io/docs).
    MiniMax = "minimax" at "https://api.minimax.io/v1" with ["MINIMAX_API_KEY"]
        { model_prefixes: MINIMAX, dialect: Dialect::MINIMAX };
    /// [MiniMax](https://platform.minimaxi.com/docs) in mainland China.
    MiniMaxCn = "minimax_cn" at "https://api.minimaxi.com/v1"
        with ["MINIMAX_CN_API_KEY", "MINIMAX_API_KEY"]
        { model_prefixes: MINIMAX, dialect: Dialect::MINIMAX };
    /// [Moonshot](https://platform.kimi.ai/docs), the maker of Kimi.
    Moonshot = "moonshot" at "https://api.moonshot.ai/v1" with ["MOONSHOT_API_KEY"]
        { model_prefixes: KIMI, dialect: Dialect::MOONSHOT };
    /// [Moonshot](https://platform.kimi.com/docs) in mainland China.
    MoonshotCn = "moonshot_cn" at "https://api.moonshot.cn/v1"
        with ["MOONSHOT_API_KEY"] { model_prefixes: KIMI, dialect: Dialect::MOONSHOT };
    /// [OpenRouter](https://openrouter.ai/docs).
    OpenRouter = "openrouter" at "https://openrouter.ai/api/v1" with ["OPENROUTER_API_KEY"] {
        dialect: Dialect::OPENROUTER,
    };
    /// [Perplexity](https://docs.perplexity.ai), at `PERPLEXITY_BASE_URL` if that is set.
    Perplexity = "perplexity" at "https://api.perplexity.ai"
        with ["PERPLEXITY_API_KEY", "PPLX_API_KEY"] {
        base_url_variable: Some(("PERPLEXITY_BASE_URL", UrlForm::Whole)),
        model_prefixes: &["sonar"],
        dialect: Dialect::PERPLEXITY,
    };
    /// [Baidu Qianfan](https://cloud.baidu.com/doc/qianfan-api).
    Qianfan = "qianfan" at "https://qianfan.baidubce.com/v2" with ["QIANFAN_API_KEY"] {
        model_prefixes: &["ernie-"], dialect: Dialect::QIANFAN,
    };
    /// [SiliconFlow](https://docs.siliconflow.com).
    SiliconFlow = "siliconflow" at "https://api.siliconflow.com/v1" with ["SILICONFLOW_API_KEY"]
        { dialect: Dialect::SILICONFLOW };
    /// [SiliconFlow](https://docs.siliconflow.cn) in mainland China.
    SiliconFlowCn = "siliconflow_cn" at "https://api.siliconflow.cn/v1"
        with ["SILICONFLOW_CN_API_KEY", "SILICONFLOW_API_KEY"] { dialect: Dialect::SILICONFLOW };
    /// [StepFun](https://platform.stepfun.ai/docs).
    StepFun = "stepfun" at "https://api.stepfun.ai/v1" with ["STEPFUN_API_KEY"]
        { model_prefixes: STEP, dialect: Dialect::STEPFUN };
    /// [StepFun](https://platform.stepfun.com/docs) in mainland China.
    StepFunCn = "stepfun_cn" at "https://api.stepfun.com/v1" with ["STEPFUN_API_KEY"]
        { model_prefixes: STEP, dialect: Dialect::STEPFUN };
    /// [Tencent TokenHub](https://www.tencentcloud.com/document/product/1300).
    Tencent = "tencent" at "https://tokenhub-intl.tencentcloudmaas.com/v1"
        with ["TENCENT_TOKENHUB_INTL_API_KEY", "TENCENT_TOKENHUB_API_KEY"]
        { model_prefixes: HUNYUAN, dialect: Dialect::TENCENT };
    /// [Tencent TokenHub](https://cloud.tencent.com/document/product/1823) in mainland China.
    TencentCn = "tencent_cn" at "https://tokenhub.tencentmaas.com/v1"
        with ["TENCENT_TOKENHUB_API_KEY", "TENCENT_API_KEY"]
        { model_prefixes: HUNYUAN, dialect: Dialect::TENCENT };
    /// [Together](https://docs.together.ai), at `TOGETHER_BASE_URL` if that is set.
    Together = "together" at "https://api.together.ai/v1" with ["TOGETHER_API_KEY"] {
        base_url_variable: Some(("TOGETHER_BASE_URL", UrlForm::WithoutVersion("v1"))),
        dialect: Dialect::TOGETHER,
    };
    /// The Chat Completions of [Google Cloud](https://docs.cloud.google.com/vertex-ai/generative-ai) in
    /// the project `GOOGLE_CLOUD_PROJECT`. Its key is an access token, which holds for an hour.
    Vertex = "vertex" at "https://aiplatform.googleapis.com/v1/projects/{GOOGLE_CLOUD_PROJECT}\
        /locations/global/endpoints/openapi" with [];
    /// [Volcengine Ark](https://www.volcengine.com/docs/82379), the house of Doubao.
    Volcengine = "volcengine" at "https://ark.cn-beijing.volces.com/api/v3" with ["ARK_API_KEY"] {
        model_prefixes: &["doubao-", "ep-"], dialect: Dialect::VOLCENGINE,
    };
    /// [xAI](https://docs.x.ai).
    XAi = "xai" at "https://api.x.ai/v1" with ["XAI_API_KEY"] {
        model_prefixes: &["grok-"], dialect: Dialect::NEW_LIMIT,
    };
    /// [Xiaomi MiMo](https://platform.xiaomimimo.com/docs).
    Xiaomi = "xiaomi" at "https://api.xiaomimimo.com/v1" with ["MIMO_API_KEY", "XIAOMI_API_KEY"] {
        model_prefixes: &["mimo-"], dialect: Dialect::XIAOMI,
    };
    /// [Z.ai](https://docs.z.ai), at `ZAI_BASE_URL` if that is set.
    Zai = "zai" at "https://api.z.ai/api/paas/v4" with ["ZAI_API_KEY"] {
        base_url_variable: Some(("ZAI_BASE_URL", UrlForm::Whole)),
        model_prefixes: GLM, dialect: Dialect::ZHIPU,
    };
    /// [Zhipu BigModel](https://docs.bigmodel.cn), the house of GLM in mainland China.
    Zhipu = "zhipu" at "https://open.bigmodel.cn/api/paas/v4"
        with ["ZHIPU_API_KEY", "ZHIPUAI_API_KEY", "ZAI_API_KEY"]
        { model_prefixes: GLM, dialect: Dialect::ZHIPU };
    /// [llama.cpp](https://github.com/ggml-org/llama.cpp) on this machine.
    LlamaCpp = "llamacpp" at "http://localhost:8080/v1" with ["LLAMA_API_KEY"] {
        key_required: false, dialect: Dialect::LOCAL,
        ignored_tool_choices: &[("tool", "send that tool alone, with `ToolChoice::Required`")],
    };
    /// [LM Studio](https://lmstudio.ai) on this machine.
    LmStudio = "lmstudio" at "http://localhost:1234/v1" with ["LM_API_TOKEN"]
        { key_required: false, dialect: Dialect::LOCAL };
    /// [Ollama](https://ollama.com) on this machine, or at `OLLAMA_HOST`.
    Ollama = "ollama" at "http://localhost:11434/v1" with [] {
        base_url_variable: Some(("OLLAMA_HOST", UrlForm::OllamaHost)), key_required: false,
        // https://github.com/pydantic/pydantic-ai/issues/2996
        ends_without_reason: true,
        // https://docs.ollama.com/api/openai-compatibility
        ignored_tool_choices: &[
            ("none", "leave the tools out"),
            ("required", "ask for the call in the prompt"),
            ("tool", "send that tool alone, and ask for the call in the prompt"),
        ],
        dialect: Dialect::OLLAMA,
    };
    /// [vLLM](https://docs.vllm.ai) on this machine, or at `VLLM_BASE_URL`.
    Vllm = "vllm" at "http://localhost:8000/v1" with ["VLLM_API_KEY"] {
        base_url_variable: Some(("VLLM_BASE_URL", UrlForm::Whole)), key_required: false,
        dialect: Dialect::VLLM,
    };
    /// Any server at a [`base_url`](crate::GenerationConfig::base_url) that you name. It gets no key
    /// from the environment.
    Local = "local" at "" with [] { key_required: false, dialect: Dialect::LOCAL };
}
