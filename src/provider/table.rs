//! The table of vendors: [`LlmProvider`] has one variant for each row.

use super::dialect::Dialect;
use super::protocol::Protocol::{self, ChatCompletions, Responses};
use super::vendor::UrlForm::{OllamaHost, Whole, WithoutVersion};
use super::vendor::Vendor;
use super::web_search::WebSearch;
use crate::names::names;

macro_rules! vendors {
    ($(
        $(#[$doc:meta])*
        $provider:ident = $name:literal at $base_url:literal $(or $variable:tt)? with $keys:tt
        $(for $models:tt)? $(in $dialect:ident)? $(over $protocol:ident)? $(searching $search:ident)?
        $({ $($field:ident: $value:expr),* $(,)? })?;
    )+) => {
        names! {
            /// A provider: a vendor or a local server that serves models.
            ///
            /// Its name in lower case is the part before `::` in `"provider::model"`.
            #[non_exhaustive]
            pub enum LlmProvider { $($(#[$doc])* $provider = $name,)+ }

            /// Returns the provider's name in lower case, as in `"provider::model"`.
            /// [`FromStr`](std::str::FromStr) parses it.
            pub fn as_str;
            read as "provider";
        }

        impl LlmProvider {
            pub(crate) fn vendor(self) -> &'static Vendor {
                match self {$(
                    Self::$provider => {
                        const VENDOR: &Vendor = &Vendor {
                            base_url: $base_url,
                            key_variables: &$keys,
                            $(base_url_variable: Some($variable),)?
                            $(model_prefixes: &$models,)?
                            $(dialect: Dialect::$dialect,)?
                            $(protocol: Protocol::$protocol,)?
                            $(web_search: WebSearch::$search,)?
                            $($($field: $value,)*)?
                            ..Vendor::COMPATIBLE
                        };
                        VENDOR
                    }
                )+}
            }
        }
    };
}

// Model prefixes of makers with several addresses. The prefix alone does not choose between them.
const GLM: [&str; 2] = ["glm-", "autoglm-"];
const HUNYUAN: [&str; 3] = ["hy3", "hy4", "hy-"];
const KIMI: [&str; 2] = ["kimi-", "moonshot-v1"];
const MINIMAX: [&str; 2] = ["MiniMax-", "minimax-"];
const QWEN: [&str; 3] = ["qwen", "qwq-", "qvq-"];
const STEP: [&str; 1] = ["step-"];

vendors! {
    /// [OpenAI](https://platform.openai.com/docs), at `OPENAI_BASE_URL` if that is set.
    OpenAi = "openai" at "https://api.openai.com/v1" or ("OPENAI_BASE_URL", Whole)
        with ["OPENAI_API_KEY"] for ["gpt-", "chatgpt-", "o1", "o3", "o4", "computer-use-", "codex-",
            "chat-latest", "daybreak-"] in OPENAI searching OPENAI {
        header_variables: &[
            ("openai-organization", "OPENAI_ORG_ID"), ("openai-project", "OPENAI_PROJECT_ID"),
        ],
        // Reasoning models can call tools only over Responses, and some models are served only
        // there. https://developers.openai.com/api/docs/guides/migrate-to-responses
        protocols: &[
            ("gpt-4 gpt-3.5 chatgpt- gpt-audio gpt-5-search-api", ChatCompletions), ("", Responses),
        ],
    };
    /// [Anthropic](https://platform.claude.com/docs), at `ANTHROPIC_BASE_URL` if that is set. The
    /// token in `ANTHROPIC_AUTH_TOKEN` is used if `ANTHROPIC_API_KEY` is not set.
    Anthropic = "anthropic" at "https://api.anthropic.com/v1"
        or ("ANTHROPIC_BASE_URL", WithoutVersion("v1"))
        with ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"] for ["claude-"] in BESIDE_OWN
        over Messages searching ANTHROPIC {
        bearer_variables: &["ANTHROPIC_AUTH_TOKEN"],
    };
    /// [Google Gemini](https://ai.google.dev/gemini-api/docs), at `GOOGLE_GEMINI_BASE_URL` if that
    /// is set.
    Google = "google" at "https://generativelanguage.googleapis.com/v1beta"
        or ("GOOGLE_GEMINI_BASE_URL", WithoutVersion("v1beta"))
        with ["GOOGLE_API_KEY", "GEMINI_API_KEY"] for ["gemini-", "gemma-"] in BESIDE_OWN
        over GenerateContent searching GOOGLE;
    /// [Mistral](https://docs.mistral.ai/api/), at `MISTRAL_BASE_URL` if that is set.
    Mistral = "mistral" at "https://api.mistral.ai/v1" or ("MISTRAL_BASE_URL", Whole)
        with ["MISTRAL_API_KEY"]
        for ["mistral-", "open-mistral", "ministral-", "magistral-", "codestral-", "devstral-",
            "pixtral-", "voxtral-"]
        in MISTRAL;
    /// [Cohere](https://docs.cohere.com), at `CO_API_URL` if that is set.
    Cohere = "cohere" at "https://api.cohere.com/v2" or ("CO_API_URL", WithoutVersion("v2"))
        with ["CO_API_KEY", "COHERE_API_KEY"] for ["command-", "c4ai-", "north-"] in BESIDE_OWN
        over CohereChat;
    /// [Alibaba Cloud Model Studio](https://www.alibabacloud.com/help/en/model-studio) in
    /// Singapore.
    Alibaba = "alibaba" at "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"] for QWEN in ALIBABA searching ALIBABA;
    /// [Alibaba Cloud](https://help.aliyun.com/zh/model-studio) in mainland China.
    AlibabaCn = "alibaba_cn" at "https://dashscope.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"] for QWEN in ALIBABA searching ALIBABA;
    /// [Alibaba Cloud](https://www.alibabacloud.com/help/en/model-studio) in Hong Kong.
    AlibabaHk = "alibaba_hk" at "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"] for QWEN in ALIBABA searching ALIBABA;
    /// [Alibaba Cloud](https://www.alibabacloud.com/help/en/model-studio) in the United States.
    AlibabaUs = "alibaba_us" at "https://dashscope-us.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"] for QWEN in ALIBABA searching ALIBABA;
    /// A workspace of [Alibaba Cloud](https://www.alibabacloud.com/help/en/model-studio). The
    /// variable `DASHSCOPE_WORKSPACE` holds its name, and `DASHSCOPE_REGION` its region, such as
    /// `ap-northeast-1` or `eu-central-1`.
    AlibabaWorkspace = "alibaba_workspace"
        at "https://{DASHSCOPE_WORKSPACE}.{DASHSCOPE_REGION}.maas.aliyuncs.com/compatible-mode/v1"
        with ["DASHSCOPE_API_KEY", "ALIBABA_API_KEY"] for QWEN in ALIBABA searching ALIBABA;
    /// [Azure OpenAI](https://learn.microsoft.com/azure/ai-foundry/openai), version 1 of its API,
    /// at `AZURE_OPENAI_ENDPOINT` if that is set. The model name is the name of a deployment.
    Azure = "azure" at "https://{AZURE_RESOURCE_NAME}.openai.azure.com/openai/v1"
        or ("AZURE_OPENAI_ENDPOINT", WithoutVersion("openai/v1"))
        with ["AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "AZURE_API_KEY"] in AZURE
        searching RESPONSES;
    /// [Amazon Bedrock](https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions)
    /// in `AWS_REGION`, with a Bedrock API key.
    Bedrock = "bedrock"
        at "https://bedrock-runtime.{AWS_REGION|AWS_DEFAULT_REGION}.amazonaws.com/openai/v1"
        or ("AWS_BEDROCK_BASE_URL", Whole) with ["AWS_BEARER_TOKEN_BEDROCK"] for ["openai.gpt-"]
        in NEW_LIMIT;
    /// The Messages API of [Amazon Bedrock](https://docs.aws.amazon.com/bedrock/latest/userguide)
    /// in `AWS_REGION`, with a Bedrock API key.
    BedrockAnthropic = "bedrock_anthropic"
        at "https://bedrock-mantle.{AWS_REGION|AWS_DEFAULT_REGION}.api.aws/anthropic/v1"
        or ("ANTHROPIC_BEDROCK_MANTLE_BASE_URL", WithoutVersion("v1"))
        with ["AWS_BEARER_TOKEN_BEDROCK"] for ["anthropic.claude-"] over Messages {
        bearer_variables: &["AWS_BEARER_TOKEN_BEDROCK"],
    };
    /// [Cerebras](https://inference-docs.cerebras.ai), at `CEREBRAS_BASE_URL` if that is set.
    Cerebras = "cerebras" at "https://api.cerebras.ai/v1"
        or ("CEREBRAS_BASE_URL", WithoutVersion("v1")) with ["CEREBRAS_API_KEY"] in CEREBRAS;
    /// [DeepSeek](https://api-docs.deepseek.com).
    DeepSeek = "deepseek" at "https://api.deepseek.com" with ["DEEPSEEK_API_KEY"] for ["deepseek-"]
        in DEEPSEEK;
    /// [Fireworks](https://docs.fireworks.ai), at `FIREWORKS_BASE_URL` if that is set.
    Fireworks = "fireworks" at "https://api.fireworks.ai/inference/v1"
        or ("FIREWORKS_BASE_URL", WithoutVersion("v1")) with ["FIREWORKS_API_KEY"]
        for ["accounts/fireworks/"];
    /// [Groq](https://console.groq.com/docs/openai), at `GROQ_BASE_URL` if that is set.
    Groq = "groq" at "https://api.groq.com/openai/v1"
        or ("GROQ_BASE_URL", WithoutVersion("openai/v1")) with ["GROQ_API_KEY"] in GROQ searching GROQ;
    /// [MiniMax](https://platform.minimax.io/docs).
    MiniMax = "minimax" at "https://api.minimax.io/v1" with ["MINIMAX_API_KEY"] for MINIMAX
        in MINIMAX;
    /// [MiniMax](https://platform.minimaxi.com/docs) in mainland China.
    MiniMaxCn = "minimax_cn" at "https://api.minimaxi.com/v1"
        with ["MINIMAX_CN_API_KEY", "MINIMAX_API_KEY"] for MINIMAX in MINIMAX;
    /// [Moonshot](https://platform.kimi.ai/docs), the maker of Kimi.
    Moonshot = "moonshot" at "https://api.moonshot.ai/v1" with ["MOONSHOT_API_KEY"] for KIMI
        in MOONSHOT;
    /// [Moonshot](https://platform.kimi.com/docs) in mainland China.
    MoonshotCn = "moonshot_cn" at "https://api.moonshot.cn/v1" with ["MOONSHOT_API_KEY"] for KIMI
        in MOONSHOT;
    /// [OpenRouter](https://openrouter.ai/docs).
    OpenRouter = "openrouter" at "https://openrouter.ai/api/v1" with ["OPENROUTER_API_KEY"]
        in OPENROUTER searching OPENROUTER;
    /// [Perplexity](https://docs.perplexity.ai), at `PERPLEXITY_BASE_URL` if that is set.
    Perplexity = "perplexity" at "https://api.perplexity.ai" or ("PERPLEXITY_BASE_URL", Whole)
        with ["PERPLEXITY_API_KEY", "PPLX_API_KEY"] for ["sonar"] in PERPLEXITY
        searching PERPLEXITY;
    /// [Baidu Qianfan](https://cloud.baidu.com/doc/qianfan-api).
    Qianfan = "qianfan" at "https://qianfan.baidubce.com/v2" with ["QIANFAN_API_KEY"]
        for ["ernie-"] in QIANFAN searching QIANFAN;
    /// [SiliconFlow](https://docs.siliconflow.com).
    SiliconFlow = "siliconflow" at "https://api.siliconflow.com/v1" with ["SILICONFLOW_API_KEY"]
        in SILICONFLOW;
    /// [SiliconFlow](https://docs.siliconflow.cn) in mainland China.
    SiliconFlowCn = "siliconflow_cn" at "https://api.siliconflow.cn/v1"
        with ["SILICONFLOW_CN_API_KEY", "SILICONFLOW_API_KEY"] in SILICONFLOW;
    /// [StepFun](https://platform.stepfun.ai/docs).
    StepFun = "stepfun" at "https://api.stepfun.ai/v1" with ["STEPFUN_API_KEY"] for STEP in STEPFUN
        searching STEPFUN;
    /// [StepFun](https://platform.stepfun.com/docs) in mainland China.
    StepFunCn = "stepfun_cn" at "https://api.stepfun.com/v1" with ["STEPFUN_API_KEY"] for STEP
        in STEPFUN searching STEPFUN;
    /// [Tencent TokenHub](https://www.tencentcloud.com/document/product/1300).
    Tencent = "tencent" at "https://tokenhub-intl.tencentcloudmaas.com/v1"
        with ["TENCENT_TOKENHUB_INTL_API_KEY", "TENCENT_TOKENHUB_API_KEY"] for HUNYUAN in TENCENT;
    /// [Tencent TokenHub](https://cloud.tencent.com/document/product/1823) in mainland China.
    TencentCn = "tencent_cn" at "https://tokenhub.tencentmaas.com/v1"
        with ["TENCENT_TOKENHUB_API_KEY", "TENCENT_API_KEY"] for HUNYUAN in TENCENT;
    /// [Together](https://docs.together.ai), at `TOGETHER_BASE_URL` if that is set.
    Together = "together" at "https://api.together.ai/v1"
        or ("TOGETHER_BASE_URL", WithoutVersion("v1")) with ["TOGETHER_API_KEY"] in TOGETHER;
    /// [Google Cloud](https://docs.cloud.google.com/vertex-ai/generative-ai)'s Chat Completions, in
    /// the project `GOOGLE_CLOUD_PROJECT`. The API key is an access token, valid for an hour.
    Vertex = "vertex"
        at "https://aiplatform.googleapis.com/v1/projects/{GOOGLE_CLOUD_PROJECT}\
            /locations/global/endpoints/openapi"
        with [] in BESIDE_OWN;
    /// [Volcengine Ark](https://www.volcengine.com/docs/82379), which serves Doubao.
    Volcengine = "volcengine" at "https://ark.cn-beijing.volces.com/api/v3" with ["ARK_API_KEY"]
        for ["doubao-", "ep-"] in VOLCENGINE searching RESPONSES;
    /// [xAI](https://docs.x.ai).
    XAi = "xai" at "https://api.x.ai/v1" with ["XAI_API_KEY"] for ["grok-"] in NEW_LIMIT
        searching RESPONSES;
    /// [Xiaomi MiMo](https://platform.xiaomimimo.com/docs).
    Xiaomi = "xiaomi" at "https://api.xiaomimimo.com/v1" with ["MIMO_API_KEY", "XIAOMI_API_KEY"]
        for ["mimo-"] in XIAOMI searching XIAOMI;
    /// [Z.ai](https://docs.z.ai), at `ZAI_BASE_URL` if that is set.
    Zai = "zai" at "https://api.z.ai/api/paas/v4" or ("ZAI_BASE_URL", Whole) with ["ZAI_API_KEY"]
        for GLM in ZHIPU searching ZHIPU;
    /// [Zhipu BigModel](https://docs.bigmodel.cn), which serves GLM in mainland China.
    Zhipu = "zhipu" at "https://open.bigmodel.cn/api/paas/v4"
        with ["ZHIPU_API_KEY", "ZHIPUAI_API_KEY", "ZAI_API_KEY"] for GLM in ZHIPU searching ZHIPU;
    /// [llama.cpp](https://github.com/ggml-org/llama.cpp) on this machine.
    LlamaCpp = "llamacpp" at "http://localhost:8080/v1" with ["LLAMA_API_KEY"] in LOCAL {
        key_required: false,
        ignored_tool_choices: &[("a tool", "", "send that tool alone, with `ToolChoice::Required`")],
    };
    /// [LM Studio](https://lmstudio.ai) on this machine.
    LmStudio = "lmstudio" at "http://localhost:1234/v1" with ["LM_API_TOKEN"] in LOCAL {
        key_required: false,
    };
    /// [Ollama](https://ollama.com) on this machine, or at `OLLAMA_HOST`.
    Ollama = "ollama" at "http://localhost:11434/v1" or ("OLLAMA_HOST", OllamaHost) with []
        in OLLAMA {
        // Ollama may end a response with `[DONE]` alone, and it ignores `tool_choice`.
        // https://github.com/pydantic/pydantic-ai/issues/2996
        // https://docs.ollama.com/api/openai-compatibility
        key_required: false, ends_without_reason: true,
        ignored_tool_choices: &[
            ("none", "", "leave the tools out"), ("required", "", "ask for the call in the prompt"),
            ("a tool", "", "send that tool alone, and ask for the call in the prompt"),
        ],
    };
    /// [vLLM](https://docs.vllm.ai) on this machine, or at `VLLM_BASE_URL`.
    Vllm = "vllm" at "http://localhost:8000/v1" or ("VLLM_BASE_URL", Whole) with ["VLLM_API_KEY"]
        in VLLM {
        // vLLM ignores `required` for gpt-oss: https://github.com/vllm-project/vllm/issues/44216
        key_required: false, ignored_tool_choices: &[
            ("required", "gpt-oss openai/gpt-oss", "ask for the call in the prompt"),
        ],
    };
    /// Any server at a [`base_url`](crate::GenerationConfig::base_url) that you set. No key from
    /// the environment is sent to it.
    Local = "local" at "" with [] in LOCAL { key_required: false };
}
