//! The requests for each vendor's own web search: [`WebSearch`].

use WebSearch::{Always, Fields, Tool};

use super::protocol::Protocol::{self, ChatCompletions, GenerateContent, Messages, Responses};

/// The way in which a request asks for a vendor's own web search.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WebSearch {
    /// An element of `tools`, as JSON.
    Tool(&'static str),
    /// Fields of the body, as a JSON object.
    Fields(&'static str),
    /// Nothing, because the models search for every request.
    Always,
}

/// The protocol, blank-separated prefixes of the models, and the form. The first entry that fits
/// decides.
pub(crate) type SearchForms = &'static [(Protocol, &'static str, WebSearch)];

const TOOL: &str = r#"{"type":"web_search"}"#;
const STEP_TOOL: &str = r#"{"type":"web_search","function":{"description":"Searches the web."}}"#;
const GLM_TOOL: &str = r#"{"type":"web_search","web_search":
    {"enable":true,"search_engine":"search_std","search_result":true}}"#;
const OPENROUTER_TOOL: &str = r#"{"type":"openrouter:web_search"}"#;

impl WebSearch {
    /// <https://learn.microsoft.com/azure/foundry/openai/how-to/web-search>,
    /// <https://docs.x.ai/docs/guides/tools/search-tools>,
    /// <https://www.volcengine.com/docs/82379>
    pub(super) const RESPONSES: SearchForms = &[(Responses, "", Tool(TOOL))];
    /// <https://developers.openai.com/api/docs/guides/tools-web-search>
    pub(super) const OPENAI: SearchForms = &[
        (Responses, "", Tool(TOOL)),
        (ChatCompletions, "gpt-4o-search gpt-4o-mini-search gpt-5-search", Always),
    ];
    /// The oldest version of the tool, which every model knows.
    /// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool>
    pub(super) const ANTHROPIC: SearchForms =
        &[(Messages, "", Tool(r#"{"type":"web_search_20250305","name":"web_search"}"#))];
    /// <https://ai.google.dev/gemini-api/docs/google-search>
    pub(super) const GOOGLE: SearchForms = &[(GenerateContent, "", Tool(r#"{"googleSearch":{}}"#))];
    /// <https://www.alibabacloud.com/help/en/model-studio/web-search>
    pub(super) const ALIBABA: SearchForms =
        &[(Responses, "", Tool(TOOL)), (ChatCompletions, "", Fields(r#"{"enable_search":true}"#))];
    /// <https://console.groq.com/docs/browser-search>, <https://console.groq.com/docs/compound>
    pub(super) const GROQ: SearchForms = &[
        (ChatCompletions, "openai/gpt-oss", Tool(r#"{"type":"browser_search"}"#)),
        (ChatCompletions, "groq/compound compound", Always),
    ];
    /// <https://openrouter.ai/docs/guides/features/server-tools>
    pub(super) const OPENROUTER: SearchForms =
        &[(ChatCompletions, "", Tool(OPENROUTER_TOOL)), (Responses, "", Tool(OPENROUTER_TOOL))];
    /// <https://docs.perplexity.ai>
    pub(super) const PERPLEXITY: SearchForms = &[(ChatCompletions, "", Always)];
    /// <https://cloud.baidu.com/doc/qianfan-docs/s/Wm8r4sw29>
    pub(super) const QIANFAN: SearchForms =
        &[(ChatCompletions, "", Fields(r#"{"web_search":{"enable":true}}"#))];
    /// StepFun shows the description to the model.
    /// <https://platform.stepfun.com/docs/zh/api-reference/tool-call>
    pub(super) const STEPFUN: SearchForms = &[(ChatCompletions, "", Tool(STEP_TOOL))];
    /// <https://platform.xiaomimimo.com/docs/en-US/usage-guide/tool-calling/web-search>
    pub(super) const XIAOMI: SearchForms = &[(ChatCompletions, "", Tool(TOOL))];
    /// <https://docs.z.ai/guides/tools/web-search>
    pub(super) const ZHIPU: SearchForms = &[(ChatCompletions, "", Tool(GLM_TOOL))];
}
