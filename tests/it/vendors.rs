//! Tests what each vendor requires, row by row. The facts are those of docs/providers.md, and their
//! sources are beside the rows of the table.

use std::io::Cursor;

use kerb_stream::{
    Environment, GenerationConfig, GenerationStream, LlmProvider, Message, Protocol, Reasoning,
    RequestPreview, ResponseFormat, Tool, ToolCall, ToolChoice, generate_stream,
};
use serde_json::{Value, json};

/// The variables that are part of some vendors' URLs.
const VARIABLES: [(&str, &str); 5] = [
    ("AWS_REGION", "eu-central-1"),
    ("AZURE_RESOURCE_NAME", "res"),
    ("DASHSCOPE_REGION", "eu-central-1"),
    ("DASHSCOPE_WORKSPACE", "ws-1"),
    ("GOOGLE_CLOUD_PROJECT", "p-1"),
];

/// Returns a configuration for a vendor's own base URL.
fn config(model: &str) -> GenerationConfig {
    GenerationConfig::new(model).api_key("k").environment(VARIABLES.into_iter().collect())
}

fn asked(
    prompt: impl Into<kerb_stream::Prompt>,
    config: GenerationConfig,
) -> Result<RequestPreview, String> {
    generate_stream(prompt, config).request().map_err(|error| error.to_string())
}

fn tool() -> Tool {
    Tool::function("look", "Looks.", json!({"type": "object", "properties": {}}))
}

/// Each row: a provider, its URL for the model `m`, and the variables that may hold its API key.
const ADDRESSES: &[(&str, &str, &str)] = &[
    ("openai", "https://api.openai.com/v1/responses", "OPENAI_API_KEY"),
    (
        "anthropic",
        "https://api.anthropic.com/v1/messages",
        "ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN",
    ),
    (
        "google",
        "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
        "GOOGLE_API_KEY GEMINI_API_KEY",
    ),
    ("mistral", "https://api.mistral.ai/v1/chat/completions", "MISTRAL_API_KEY"),
    ("cohere", "https://api.cohere.com/v2/chat", "CO_API_KEY COHERE_API_KEY"),
    (
        "alibaba",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
        "DASHSCOPE_API_KEY ALIBABA_API_KEY",
    ),
    (
        "alibaba_cn",
        "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
        "DASHSCOPE_API_KEY ALIBABA_API_KEY",
    ),
    (
        "alibaba_hk",
        "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
        "DASHSCOPE_API_KEY ALIBABA_API_KEY",
    ),
    (
        "alibaba_us",
        "https://dashscope-us.aliyuncs.com/compatible-mode/v1/chat/completions",
        "DASHSCOPE_API_KEY ALIBABA_API_KEY",
    ),
    (
        "alibaba_workspace",
        "https://ws-1.eu-central-1.maas.aliyuncs.com/compatible-mode/v1/chat/completions",
        "DASHSCOPE_API_KEY ALIBABA_API_KEY",
    ),
    (
        "azure",
        "https://res.openai.azure.com/openai/v1/chat/completions",
        "AZURE_OPENAI_AD_TOKEN AZURE_OPENAI_API_KEY AZURE_API_KEY",
    ),
    (
        "bedrock",
        "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1/chat/completions",
        "AWS_BEARER_TOKEN_BEDROCK",
    ),
    (
        "bedrock_anthropic",
        "https://bedrock-mantle.eu-central-1.api.aws/anthropic/v1/messages",
        "AWS_BEARER_TOKEN_BEDROCK",
    ),
    ("cerebras", "https://api.cerebras.ai/v1/chat/completions", "CEREBRAS_API_KEY"),
    ("deepseek", "https://api.deepseek.com/chat/completions", "DEEPSEEK_API_KEY"),
    ("fireworks", "https://api.fireworks.ai/inference/v1/chat/completions", "FIREWORKS_API_KEY"),
    ("groq", "https://api.groq.com/openai/v1/chat/completions", "GROQ_API_KEY"),
    ("minimax", "https://api.minimax.io/v1/chat/completions", "MINIMAX_API_KEY"),
    (
        "minimax_cn",
        "https://api.minimaxi.com/v1/chat/completions",
        "MINIMAX_CN_API_KEY MINIMAX_API_KEY",
    ),
    ("moonshot", "https://api.moonshot.ai/v1/chat/completions", "MOONSHOT_API_KEY"),
    ("moonshot_cn", "https://api.moonshot.cn/v1/chat/completions", "MOONSHOT_API_KEY"),
    ("openrouter", "https://openrouter.ai/api/v1/chat/completions", "OPENROUTER_API_KEY"),
    ("perplexity", "https://api.perplexity.ai/chat/completions", "PERPLEXITY_API_KEY PPLX_API_KEY"),
    ("qianfan", "https://qianfan.baidubce.com/v2/chat/completions", "QIANFAN_API_KEY"),
    ("siliconflow", "https://api.siliconflow.com/v1/chat/completions", "SILICONFLOW_API_KEY"),
    (
        "siliconflow_cn",
        "https://api.siliconflow.cn/v1/chat/completions",
        "SILICONFLOW_CN_API_KEY SILICONFLOW_API_KEY",
    ),
    ("stepfun", "https://api.stepfun.ai/v1/chat/completions", "STEPFUN_API_KEY"),
    ("stepfun_cn", "https://api.stepfun.com/v1/chat/completions", "STEPFUN_API_KEY"),
    (
        "tencent",
        "https://tokenhub-intl.tencentcloudmaas.com/v1/chat/completions",
        "TENCENT_TOKENHUB_INTL_API_KEY TENCENT_TOKENHUB_API_KEY",
    ),
    (
        "tencent_cn",
        "https://tokenhub.tencentmaas.com/v1/chat/completions",
        "TENCENT_TOKENHUB_API_KEY TENCENT_API_KEY",
    ),
    ("together", "https://api.together.ai/v1/chat/completions", "TOGETHER_API_KEY"),
    (
        "vertex",
        "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global/endpoints/openapi/chat/completions",
        "",
    ),
    ("volcengine", "https://ark.cn-beijing.volces.com/api/v3/chat/completions", "ARK_API_KEY"),
    ("xai", "https://api.x.ai/v1/chat/completions", "XAI_API_KEY"),
    ("xiaomi", "https://api.xiaomimimo.com/v1/chat/completions", "MIMO_API_KEY XIAOMI_API_KEY"),
    ("zai", "https://api.z.ai/api/paas/v4/chat/completions", "ZAI_API_KEY"),
    (
        "zhipu",
        "https://open.bigmodel.cn/api/paas/v4/chat/completions",
        "ZHIPU_API_KEY ZHIPUAI_API_KEY ZAI_API_KEY",
    ),
    ("llamacpp", "http://localhost:8080/v1/chat/completions", "LLAMA_API_KEY"),
    ("lmstudio", "http://localhost:1234/v1/chat/completions", "LM_API_TOKEN"),
    ("ollama", "http://localhost:11434/v1/chat/completions", ""),
    ("vllm", "http://localhost:8000/v1/chat/completions", "VLLM_API_KEY"),
];

#[test]
fn each_provider_is_reached_at_its_address_with_its_key() {
    let reached: Vec<_> = ADDRESSES.iter().map(|(name, ..)| *name).collect();
    let mut all: Vec<_> = LlmProvider::ALL.iter().map(|provider| provider.as_str()).collect();
    all.retain(|name| *name != "local");
    assert_eq!(reached, all);
    for &(name, url, keys) in ADDRESSES {
        let preview = asked("Hi", config(&format!("{name}::m"))).unwrap();
        assert_eq!(preview.url, url);
        let header = match name {
            "anthropic" => "x-api-key",
            "google" => "x-goog-api-key",
            _ => "authorization",
        };
        assert!(preview.headers.iter().any(|(it, _)| it == header), "{:?}", preview.headers);

        let provider: LlmProvider = name.parse().unwrap();
        let keys: Vec<_> = keys.split_whitespace().collect();
        assert_eq!(provider.key_variables(), keys, "{name}");
        for key in keys {
            let variables = VARIABLES.into_iter().chain([(key, "k")]).collect();
            let keyless = GenerationConfig::new("m").provider(provider).environment(variables);
            let headers = asked("Hi", keyless).unwrap().headers;
            let header = if key == "ANTHROPIC_AUTH_TOKEN" { "authorization" } else { header };
            assert!(headers.iter().any(|(it, _)| it == header), "{key}: {headers:?}");
        }
    }
    let local = config("m").base_url("http://127.0.0.1:1/v1").protocol(Protocol::Messages);
    let headers = asked("Hi", local).unwrap().headers;
    assert!(headers.iter().any(|(header, _)| header == "x-api-key"), "{headers:?}");
}

#[test]
fn a_variable_in_an_address_is_named_where_it_is_missing_and_leads_nowhere_else() {
    let with = |name: &str, value: &str| {
        let variables: Environment = [(name, value)].into_iter().collect();
        let config = GenerationConfig::new("azure::m").api_key("k").environment(variables);
        asked("Hi", config)
    };
    let missing = with("OTHER", "x").unwrap_err();
    assert_eq!(
        missing,
        "azure: no base URL is set; set AZURE_RESOURCE_NAME or AZURE_OPENAI_ENDPOINT, or the option \
         `base_url`"
    );
    for evil in ["evil.example/", "a.evil.example", "a@b", "a:1", "a?b", "a#b", "é"] {
        let error = with("AZURE_RESOURCE_NAME", evil).unwrap_err();
        assert!(error.contains("AZURE_RESOURCE_NAME has a character"), "{evil}: {error}");
    }
    let elsewhere = config("azure::m").base_url("https://proxy.example/v1");
    assert_eq!(asked("Hi", elsewhere).unwrap().url, "https://proxy.example/v1/chat/completions");
    let endpoint = with("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com/").unwrap();
    assert_eq!(endpoint.url, "https://res.openai.azure.com/openai/v1/chat/completions");
    let region = [("AWS_DEFAULT_REGION", "us-east-1")].into_iter().collect();
    let bedrock = GenerationConfig::new("bedrock::m").api_key("k").environment(region);
    assert!(asked("Hi", bedrock).unwrap().url.starts_with("https://bedrock-runtime.us-east-1."));
    let none = GenerationConfig::new("bedrock::m").api_key("k").environment(Environment::empty());
    let missing = "set AWS_REGION or AWS_DEFAULT_REGION or AWS_BEDROCK_BASE_URL, or the option";
    assert!(asked("Hi", none).unwrap_err().contains(missing));
    let no_key = GenerationConfig::new("vertex::m")
        .environment([("GOOGLE_CLOUD_PROJECT", "p")].into_iter().collect());
    let error = asked("Hi", no_key).unwrap_err();
    assert_eq!(error, "vertex: there is no API key; set the option `api_key`");
}

#[test]
fn openai_is_told_the_organization_and_the_project() {
    let variables =
        [("OPENAI_API_KEY", "k"), ("OPENAI_ORG_ID", "org-1"), ("OPENAI_PROJECT_ID", "p")];
    let config = GenerationConfig::new("gpt-4o").environment(variables.into_iter().collect());
    let headers = asked("Hi", config).unwrap().headers;
    for name in ["openai-organization", "openai-project"] {
        assert!(headers.iter().any(|(header, _)| header == name), "{headers:?}");
    }
    let other =
        GenerationConfig::new("groq::m").api_key("k").environment(variables.into_iter().collect());
    assert!(!asked("Hi", other).unwrap().headers.iter().any(|(it, _)| it.starts_with("openai")));
}

#[test]
fn a_name_that_several_addresses_serve_is_not_chosen() {
    for (model, choices) in [
        ("kimi-k3", "choose one: \"moonshot::kimi-k3\" or \"moonshot_cn::kimi-k3\""),
        ("glm-5.3", "choose one: \"zai::glm-5.3\" or \"zhipu::glm-5.3\""),
        ("MiniMax-M3", "\"minimax::MiniMax-M3\" or \"minimax_cn::MiniMax-M3\""),
        ("qwen3.8-max", "\"alibaba::qwen3.8-max\" or \"alibaba_cn::qwen3.8-max\" or"),
    ] {
        let error = asked("Hi", config(model)).unwrap_err();
        assert!(error.contains(choices), "{error}");
    }
    for (model, provider) in [
        ("doubao-seed-2-1-pro-260915", LlmProvider::Volcengine),
        ("mimo-v2.6-pro", LlmProvider::Xiaomi),
        ("ernie-5.0", LlmProvider::Qianfan),
        ("anthropic.claude-opus-5-5", LlmProvider::BedrockAnthropic),
        ("openai.gpt-oss-120b", LlmProvider::Bedrock),
    ] {
        assert_eq!(asked("Hi", config(model)).unwrap().provider, provider);
    }
}

/// Returns the fields that `reasoning` adds to a body, or `None` if the option is rejected by name.
fn switched(model: &str, reasoning: Reasoning) -> Option<Value> {
    let plain = asked("Hi", config(model)).unwrap().body;
    match asked("Hi", config(model).reasoning(reasoning)) {
        Ok(preview) => {
            let mut body = preview.body;
            let fields = body.as_object_mut().unwrap();
            fields.retain(|name, value| plain.get(name) != Some(value));
            Some(body)
        }
        Err(error) => {
            assert!(error.contains("`reasoning`"), "{error}");
            None
        }
    }
}

#[test]
fn reasoning_is_switched_as_each_vendor_wants_it() {
    use Reasoning::{Budget, High, Low, Max, Medium, Minimal, Off, XHigh};
    let effort = |word: &str| Some(json!({"reasoning_effort": word}));
    let switch = |on: &str| Some(json!({"thinking": {"type": on}}));
    let both =
        |word: &str| Some(json!({"thinking": {"type": "enabled"}, "reasoning_effort": word}));
    let enable = |tokens: u32| Some(json!({"enable_thinking": true, "thinking_budget": tokens}));
    let object = |value: Value| Some(json!({"reasoning": value}));
    for (model, expected) in [
        (
            "openai::gpt-4o",
            vec![(Off, effort("none")), (XHigh, effort("xhigh")), (Budget(2000), None)],
        ),
        (
            "deepseek::deepseek-v4-pro",
            vec![
                (Off, switch("disabled")),
                (Minimal, both("low")),
                (Low, both("low")),
                (Medium, both("high")),
                (High, both("high")),
                (Max, both("max")),
                (Budget(2000), None),
            ],
        ),
        (
            "mistral::mistral-medium-latest",
            vec![
                (Off, effort("none")),
                (Minimal, effort("high")),
                (Low, effort("high")),
                (Medium, effort("high")),
                (High, effort("high")),
                (Max, effort("high")),
            ],
        ),
        (
            "alibaba::qwen3.7-max",
            vec![
                (Off, Some(json!({"enable_thinking": false}))),
                (Low, enable(1024)),
                (Budget(2000), enable(2000)),
                (Budget(0), Some(json!({"enable_thinking": false}))),
            ],
        ),
        (
            "alibaba_cn::qwen3.8-max",
            vec![(Off, effort("none")), (Low, effort("low")), (High, effort("xhigh"))],
        ),
        ("siliconflow::Qwen/Qwen3", vec![(Off, Some(json!({"enable_thinking": false})))]),
        (
            "qianfan::ernie-5.0",
            vec![(High, Some(json!({"enable_thinking": true}))), (Budget(200), enable(200))],
        ),
        (
            "moonshot::kimi-k3",
            vec![
                (Off, None),
                (Low, effort("low")),
                (Medium, effort("high")),
                (XHigh, effort("max")),
            ],
        ),
        ("moonshot_cn::kimi-k2.6", vec![(Off, switch("disabled")), (High, switch("enabled"))]),
        ("zai::glm-4.7", vec![(Off, switch("disabled")), (High, both("high"))]),
        (
            "zhipu::glm-5.3",
            vec![(Minimal, both("low")), (Medium, both("high")), (Max, both("max"))],
        ),
        ("minimax::MiniMax-M3", vec![(Off, switch("disabled")), (High, switch("adaptive"))]),
        ("minimax_cn::MiniMax-M2.7", vec![(Off, None), (High, None), (Budget(2000), None)]),
        ("minimax::minimax-m2", vec![(Off, None)]),
        ("volcengine::doubao-seed", vec![(Off, switch("disabled")), (Minimal, both("minimal"))]),
        (
            "tencent::hy4",
            vec![
                (Off, switch("disabled")),
                (
                    Budget(2000),
                    Some(json!({"thinking": {"type": "enabled", "budget_tokens": 2000}})),
                ),
            ],
        ),
        (
            "stepfun::step-3.7-flash",
            vec![(Off, None), (Minimal, effort("low")), (Max, effort("high"))],
        ),
        ("xiaomi::mimo-v2.6-pro", vec![(Off, switch("disabled")), (Low, switch("enabled"))]),
        (
            "openrouter::a/b",
            vec![
                (Off, object(json!({"effort": "none"}))),
                (Max, object(json!({"effort": "max"}))),
                (Budget(2000), object(json!({"max_tokens": 2000}))),
            ],
        ),
        (
            "together::a/b",
            vec![
                (Off, object(json!({"enabled": false}))),
                (Low, Some(json!({"reasoning": {"enabled": true}, "reasoning_effort": "low"}))),
            ],
        ),
        ("perplexity::sonar-pro", vec![(Off, None), (Minimal, effort("minimal"))]),
        (
            "ollama::qwen3",
            vec![(Off, effort("none")), (Minimal, effort("low")), (XHigh, effort("max"))],
        ),
        (
            "vllm::m",
            vec![(Off, effort("none")), (Minimal, effort("minimal")), (Max, effort("max"))],
        ),
        ("groq::m", vec![(Off, effort("none")), (Low, effort("low")), (Budget(2000), None)]),
        ("cerebras::m", vec![(Off, effort("none")), (High, effort("high"))]),
        ("xai::grok-4.7", vec![(Off, effort("none")), (Low, effort("low")), (Max, effort("max"))]),
        ("fireworks::m", vec![(Off, effort("none")), (Medium, effort("medium"))]),
        ("azure::m", vec![(Off, effort("none")), (Minimal, effort("minimal"))]),
        ("bedrock::openai.gpt-6", vec![(Off, effort("none")), (High, effort("high"))]),
        ("vertex::google/gemini-3-pro", vec![(Off, effort("none")), (Low, effort("low"))]),
        ("llamacpp::m", vec![(Off, effort("none")), (Medium, effort("medium"))]),
        ("lmstudio::m", vec![(Off, effort("none")), (High, effort("high"))]),
        // The remaining rows use the other protocols.
        (
            "gpt-6-luna",
            vec![
                (Off, object(json!({"effort": "none"}))),
                (
                    XHigh,
                    Some(json!({"reasoning": {"effort": "xhigh", "summary": "auto"},
                    "include": ["reasoning.encrypted_content"]})),
                ),
                (Budget(2000), None),
            ],
        ),
        (
            "bedrock_anthropic::anthropic.claude-opus-4-7",
            vec![(
                Low,
                Some(json!({"thinking": {"type": "adaptive", "display": "summarized"},
                    "output_config": {"effort": "low"}})),
            )],
        ),
        (
            "gemini-3-pro",
            vec![(
                Low,
                Some(json!({"generationConfig": {"thinkingConfig":
                    {"includeThoughts": true, "thinkingLevel": "low"}}})),
            )],
        ),
        (
            "command-a-03-2025",
            vec![
                (Off, Some(json!({"thinking": {"type": "disabled"}}))),
                (
                    Budget(2000),
                    Some(json!({"thinking": {"type": "enabled", "token_budget": 2000}})),
                ),
            ],
        ),
    ] {
        for (reasoning, expected) in expected {
            assert_eq!(switched(model, reasoning), expected, "{model} {reasoning:?}");
        }
    }
    // A level that is sent under another name is reported as an adaptation.
    let told = asked("Hi", config("deepseek::m").reasoning(Minimal)).unwrap().adaptations;
    assert_eq!((&*told[0].what, &*told[0].asked, &*told[0].sent), ("reasoning", "minimal", "low"));
    let told = asked("Hi", config("xiaomi::m").reasoning(Low)).unwrap().adaptations;
    assert_eq!((&*told[0].asked, &*told[0].sent), ("low", "reasoning on"));
    let neither = asked("Hi", config("minimax::MiniMax-M2.7").reasoning(Budget(2000))).unwrap_err();
    assert!(neither.contains("`reasoning` is not supported for this model"), "{neither}");
    let told = asked("Hi", config("xiaomi::m").reasoning(Budget(0))).unwrap().adaptations;
    assert!(told.is_empty(), "{told:?}");
    let told = asked("Hi", config("alibaba::m").reasoning(Low)).unwrap().adaptations;
    assert_eq!((&*told[0].asked, &*told[0].sent), ("low", "a budget of 1024 tokens"));
    // Every form in the table is valid JSON.
    for &provider in LlmProvider::ALL.iter().filter(|it| **it != LlmProvider::Local) {
        for reasoning in [Off, Low, Budget(2000)] {
            let model = format!("{provider}::m");
            assert_ne!(switched(&model, reasoning), Some(json!({})), "{provider} {reasoning:?}");
        }
    }
}

#[test]
fn fields_that_a_vendor_wants_always() {
    let body = asked("Hi", config("minimax::m").tools([tool()])).unwrap().body;
    assert_eq!(body["reasoning_split"], true);
    let replaced = config("minimax::m").extra("reasoning_split", false);
    assert_eq!(asked("Hi", replaced).unwrap().body["reasoning_split"], false);
    for name in ["zai::m", "zhipu::m"] {
        assert_eq!(asked("Hi", config(name)).unwrap().body.get("tool_stream"), None);
        let body = asked("Hi", config(name).tools([tool()])).unwrap().body;
        assert_eq!(body["tool_stream"], true, "{name}");
        let kept = json!({"type": "enabled", "clear_thinking": false});
        let config = config(name).extra("thinking", json!({"clear_thinking": false}));
        assert_eq!(asked("Hi", config.reasoning(Reasoning::High)).unwrap().body["thinking"], kept);
    }
    for name in ["moonshot", "xai", "groq", "cerebras", "xiaomi", "minimax", "azure"] {
        let body = asked("Hi", config(&format!("{name}::m")).max_tokens(9)).unwrap().body;
        assert_eq!(body["max_completion_tokens"], 9, "{name}");
    }
    for name in ["deepseek", "zai", "alibaba", "openrouter", "ollama", "siliconflow", "stepfun"] {
        let body = asked("Hi", config(&format!("{name}::m")).max_tokens(9)).unwrap().body;
        assert_eq!(body["max_tokens"], 9, "{name}");
    }
}

/// The base URL may come from an option, a variable or the table.
#[test]
fn a_vendors_own_address_is_spoken_to_as_the_vendor_wants_it() {
    let schema = || {
        let properties = json!({"a": {"type": "string"}});
        let schema = json!({"type": "object", "properties": properties, "required": ["a"]});
        ResponseFormat::json_schema("x", schema)
    };
    let asked_at = |url: &str, config: GenerationConfig| asked("Hi", config.base_url(url)).unwrap();
    let plain = || config("gpt-4o").max_tokens(9).response_format(schema());
    let body = asked("Hi", plain()).unwrap().body;
    assert_eq!(body["store"], false);
    assert_eq!(body["max_completion_tokens"], 9);
    assert_eq!(body["response_format"]["json_schema"]["schema"]["additionalProperties"], false);
    for url in ["https://api.openai.com/v1", "https://eu.api.openai.com/v1"] {
        assert_eq!(asked_at(url, plain()).body, body, "{url}");
        assert_eq!(asked_at(url, plain().provider(LlmProvider::OpenAi)).body, body, "{url}");
    }
    let variable = [("OPENAI_BASE_URL", "https://us.api.openai.com/v1")].into_iter().collect();
    assert_eq!(asked("Hi", plain().environment(variable)).unwrap().body, body);

    for url in ["https://api.openai.com.example/v1", "https://api-openai.com/v1"] {
        let other = asked_at(url, plain()).body;
        assert_eq!((&other["max_tokens"], other.get("store")), (&json!(9), None), "{url}");
    }
    for name in ["azure::m", "groq::m", "openrouter::openai/gpt-4o"] {
        assert_eq!(asked("Hi", config(name)).unwrap().body.get("store"), None, "{name}");
    }
    for provider in [LlmProvider::Local, LlmProvider::OpenAi] {
        let config = config("deepseek-v4-pro").provider(provider).reasoning(Reasoning::Off);
        let body = asked_at("https://api.deepseek.com", config).body;
        assert_eq!(body["thinking"], json!({"type": "disabled"}), "{provider}");
    }
    // The provider is not named here, so its API key is not taken from the environment.
    let variables = [("OPENAI_API_KEY", "k")].into_iter().collect();
    let keyless = GenerationConfig::new("gpt-4o").environment(variables);
    let headers = asked_at("https://api.openai.com/v1", keyless).headers;
    assert!(!headers.iter().any(|(name, _)| name == "authorization"), "{headers:?}");
}

/// Everything that a vendor requires is sent the same way, whether its name or its URL was given.
#[test]
fn an_address_is_as_good_as_its_name() {
    let mut asking = Message::assistant("");
    asking.tool_calls.push(ToolCall::new("a:b".repeat(20), "look", "{\"a"));
    let history = [Message::user("Q"), asking, Message::tool("a:b".repeat(20), "42")];
    let schema = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
    let options = |config: GenerationConfig| {
        let config = config.tools([Tool::function("look", "", schema.clone())]).max_tokens(9);
        config.response_format(ResponseFormat::json_schema("x", schema.clone())).raw(true)
    };
    for &(name, url, _) in ADDRESSES {
        let protocol = asked("Hi", config(&format!("{name}::m"))).unwrap().protocol;
        let end = match protocol {
            Protocol::ChatCompletions => "/chat/completions",
            Protocol::Responses => "/responses",
            Protocol::Messages => "/messages",
            Protocol::CohereChat => "/chat",
            _ => "/models/m:streamGenerateContent?alt=sse",
        };
        let base = url.strip_suffix(end).unwrap();
        let by_name = asked(&history, options(config(&format!("{name}::m")))).unwrap();
        let by_url = asked(&history, options(config("m").base_url(base).protocol(protocol)));
        let by_url = by_url.unwrap();
        assert_eq!(by_url.url, by_name.url);
        // Any server may listen on localhost, so its URL does not identify a vendor.
        if !url.starts_with("http://localhost") {
            assert_eq!(by_url.body, by_name.body, "{name}");
        }
        for (option, set) in [
            ("top_k", config("m").top_k(9)),
            ("seed", config("m").seed(9)),
            ("reasoning", config("m").reasoning(Reasoning::Low)),
        ] {
            let named = set.clone().provider(name.parse().unwrap()).protocol(protocol);
            let [named, at_url] = [named, set.base_url(base).protocol(protocol)]
                .map(|config| asked(&history, config).map(|preview| preview.body));
            if url.starts_with("https://") {
                assert_eq!(named.ok(), at_url.ok(), "{name} {option}");
            }
        }
    }
}

#[test]
fn a_tool_choice_that_a_server_ignores_is_refused_with_advice() {
    use ToolChoice::{Auto, None, Required, Tool};
    let look = || Tool("look".to_owned());
    for (name, choice, advice) in [
        ("ollama", None, Some("leave the tools out")),
        ("ollama", Required, Some("ask for the call in the prompt")),
        ("ollama", look(), Some("send that tool alone")),
        ("ollama", Auto, Option::None),
        ("llamacpp", look(), Some("`ToolChoice::Required`")),
        ("llamacpp", Required, Option::None),
        ("llamacpp", None, Option::None),
        ("vllm", look(), Option::None),
        ("vllm", Required, Option::None),
        ("vllm::gpt-oss-20b", Required, Some("ask for the call in the prompt")),
        ("vllm::openai/gpt-oss-120b", Required, Some("ask for the call in the prompt")),
        ("vllm::openai/gpt-oss-120b", None, Option::None),
    ] {
        let (name, model) = name.split_once("::").unwrap_or((name, "m"));
        for protocol in [Protocol::ChatCompletions, Protocol::Messages] {
            let config = config(&format!("{name}::{model}")).protocol(protocol).tools([tool()]);
            let result = asked("Hi", config.tool_choice(choice.clone()));
            match advice {
                Option::None => assert!(result.is_ok(), "{name} {choice:?}"),
                Some(advice) => {
                    let error = result.unwrap_err();
                    assert!(error.contains("`tool_choice` (") && error.contains(advice), "{error}");
                    assert_eq!(error.matches(name).count(), 1, "{error}");
                }
            }
        }
    }
}

/// Returns the response that these deltas make, as an assistant's message of this provider.
/// Each row: the providers, the model, the protocol if it is not the default one, and the field that
/// asks for a web search. `null` means that nothing is sent.
fn searches() -> Vec<(&'static str, &'static str, Option<Protocol>, &'static str, Value)> {
    let responses = Some(Protocol::Responses);
    let tool = || json!([{"type": "web_search"}]);
    vec![
        ("openai azure xai volcengine", "m", responses, "/tools", tool()),
        ("openai", "gpt-5-search-api", None, "/tools", Value::Null),
        (
            "anthropic",
            "m",
            None,
            "/tools",
            json!([{"type": "web_search_20250305", "name": "web_search"}]),
        ),
        ("google", "m", None, "/tools", json!([{"googleSearch": {}}])),
        (
            "alibaba alibaba_cn alibaba_hk alibaba_us alibaba_workspace",
            "m",
            None,
            "/enable_search",
            json!(true),
        ),
        ("alibaba", "m", responses, "/tools", tool()),
        ("groq", "openai/gpt-oss-120b", None, "/tools", json!([{"type": "browser_search"}])),
        ("groq", "groq/compound", None, "/tools", Value::Null),
        ("openrouter", "m", None, "/tools", json!([{"type": "openrouter:web_search"}])),
        ("perplexity", "sonar", None, "/tools", Value::Null),
        ("qianfan", "m", None, "/web_search/enable", json!(true)),
        ("stepfun stepfun_cn", "m", None, "/tools/0/type", json!("web_search")),
        ("xiaomi", "m", None, "/tools", tool()),
        ("zai zhipu", "m", None, "/tools/0/web_search/search_result", json!(true)),
    ]
}

#[test]
fn each_provider_is_asked_for_a_web_search_in_its_own_form() {
    let mut with_search = Vec::new();
    for (providers, model, protocol, field, sent) in searches() {
        for provider in providers.split(' ') {
            let mut asks = config(&format!("{provider}::{model}")).tools([Tool::web_search()]);
            asks.protocol = protocol;
            let request = asked("Hi", asks).unwrap_or_else(|error| panic!("{provider}: {error}"));
            let body = &request.body;
            assert_eq!(body.pointer(field).unwrap_or(&Value::Null), &sent, "{provider}: {body}");
            let told = request.adaptations.iter().any(|it| it.what == "tools");
            assert_eq!(sent.is_null(), told, "{provider}");
            with_search.push(provider);
        }
    }
    for &provider in LlmProvider::ALL {
        let name = provider.as_str();
        let mut asks = config(&format!("{name}::m")).tools([Tool::web_search()]);
        if name == "local" {
            asks.base_url = Some("http://localhost:1/v1".into());
        }
        if !with_search.contains(&name) {
            let error = asked("Hi", asks).unwrap_err();
            let says = match provider {
                LlmProvider::Cohere => "Cohere has no hosted tools; leave them out of `tools`",
                _ => "no web search is known for the model \"m\"",
            };
            assert!(error.contains(says), "{error}");
            assert!(error.contains("`Tool::hosted`") || provider == LlmProvider::Cohere, "{error}");
        }
    }
    let chat = config("xai::grok-4").protocol(Protocol::ChatCompletions);
    let error = asked("Hi", chat.tools([Tool::web_search()])).unwrap_err();
    assert!(error.ends_with("set `.protocol(Protocol::Responses)`"), "{error}");
}

#[test]
fn functions_and_hosted_tools_are_sent_side_by_side() {
    for (model, function, hosted) in [
        ("openai::m", "/tools/0/name", "/tools/1/type"),
        ("anthropic::m", "/tools/0/name", "/tools/1/type"),
        ("openrouter::m", "/tools/0/function/name", "/tools/1/type"),
        ("google::m", "/tools/0/functionDeclarations/0/name", "/tools/1/googleSearch"),
    ] {
        let tools = [Tool::web_search(), tool()];
        let body = asked("Hi", config(model).tools(tools)).unwrap().body;
        assert_eq!(body.pointer(function).unwrap(), "look", "{model}: {body}");
        assert!(body.pointer(hosted).is_some(), "{model}: {body}");
        assert_eq!(body["tools"].as_array().unwrap().len(), 2, "{model}: {body}");
        let is_mixed = body.pointer("/toolConfig/includeServerSideToolInvocations");
        assert_eq!(is_mixed.is_some(), model == "google::m", "{model}: {body}");
    }
    let cohere = config("command-a").tools([Tool::hosted(json!({"type": "x"}))]);
    assert!(asked("Hi", cohere).unwrap_err().contains("Cohere has no hosted tools"));
    let text = config("gpt-5.6-luna").tools([Tool::hosted("x")]);
    assert!(asked("Hi", text).unwrap_err().contains("a hosted tool must be a JSON object"));
}

fn answer(provider: LlmProvider, deltas: &[Value]) -> Message {
    answer_to(GenerationConfig::new("m").provider(provider), deltas)
}

fn answer_to(config: GenerationConfig, deltas: &[Value]) -> Message {
    let events = deltas.iter().map(|delta| json!({"choices": [{"delta": delta}]}).to_string());
    let has_calls = deltas.iter().any(|delta| delta.get("tool_calls").is_some());
    let reason = if has_calls { "tool_calls" } else { "stop" };
    let end = json!({"choices": [{"delta": {}, "finish_reason": reason}]}).to_string();
    let body: String = events.chain([end]).map(|event| format!("data: {event}\n\n")).collect();
    let config = config.protocol(Protocol::ChatCompletions);
    let response = GenerationStream::from_reader(Cursor::new(body), config).into_response();
    let message = Message::from(response.unwrap());
    let saved = serde_json::to_string(&message).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&saved).unwrap(), message);
    message
}

fn call() -> Value {
    json!({"tool_calls": [{"index": 0, "id": "abcdefgh1", "function": {"name": "look", "arguments": "{}"}}]})
}

/// Returns the assistant's turns of a body, without their calls.
fn turns(history: Vec<Message>, config: GenerationConfig) -> Vec<Value> {
    let body = asked(history, config.tools([tool()])).unwrap().body;
    let messages = body["messages"].as_array().unwrap().iter();
    let turns = messages.filter(|message| message["role"] == "assistant").cloned();
    let without = |mut turn: Value| {
        turn.as_object_mut().unwrap().retain(|name, _| name != "role" && name != "tool_calls");
        turn
    };
    turns.map(without).collect()
}

#[test]
fn reasoning_goes_back_where_it_must_under_the_name_that_it_came_under() {
    use LlmProvider::{
        Cerebras, DeepSeek, Groq, Local, MiniMax, Moonshot, Ollama, OpenAi, OpenRouter, StepFun,
        Together, Vllm, XAi, Xiaomi, Zai,
    };
    let thought = |field: &str| json!({field: "Hm."});
    let history = |provider, field: &str| {
        vec![
            Message::user("Q"),
            answer(provider, &[thought(field), call()]),
            Message::tool("abcdefgh1", "42"),
            answer(provider, &[thought(field), json!({"content": "So."})]),
            Message::user("And?"),
        ]
    };
    let of_others = || {
        vec![
            Message::user("Q"),
            answer(XAi, &[thought("reasoning_content"), call()]),
            Message::tool("abcdefgh1", "42"),
            answer(XAi, &[json!({"content": "So."})]),
            Message::user("And?"),
        ]
    };
    let both = |field: &str, first: Option<&str>, second: Option<&str>| {
        let turn = |content: &str, reasoning: Option<&str>| {
            let mut turn = json!({"content": content});
            if let Some(reasoning) = reasoning {
                turn[field] = reasoning.into();
            }
            turn
        };
        vec![turn("", first), turn("So.", second)]
    };
    let hm = Some("Hm.");
    // Each row: the provider, the field of its reasoning, whether turns without calls get it back,
    // and the text that replaces another provider's reasoning, in turns with and without calls.
    for (provider, field, all, fillers) in [
        (DeepSeek, "reasoning_content", true, (Some(""), Some(""))),
        (Moonshot, "reasoning_content", true, (Some(" "), None)),
        (Zai, "reasoning_content", true, (None, None)),
        (MiniMax, "reasoning_content", true, (None, None)),
        (Xiaomi, "reasoning_content", false, (Some(""), None)),
        (Vllm, "reasoning", false, (None, None)),
        (Ollama, "reasoning", false, (None, None)),
        (StepFun, "reasoning", false, (None, None)),
        (Groq, "reasoning", false, (None, None)),
        (Cerebras, "reasoning", false, (None, None)),
        (Together, "reasoning", false, (None, None)),
        (OpenRouter, "reasoning", false, (None, None)),
        (Local, "reasoning", false, (None, None)),
        (Local, "reasoning_content", false, (None, None)),
    ] {
        let config = || {
            let config = config("m").provider(provider);
            if provider == Local { config.base_url("http://127.0.0.1:1/v1") } else { config }
        };
        let mut expected = both(field, hm, hm.filter(|_| all));
        let mut foreign = both(field, fillers.0, fillers.1);
        if provider == Xiaomi {
            expected[0]["content"] = " ".into();
            foreign[0]["content"] = " ".into();
        }
        assert_eq!(turns(history(provider, field), config()), expected, "{provider} {field}");
        assert_eq!(turns(of_others(), config()), foreign, "{provider} from others");
        // The reasoning of one vendor is not sent to another.
        assert_eq!(turns(history(provider, field), self::config("xai::m")).len(), 2);
        assert_eq!(
            turns(history(provider, field), self::config("xai::m")),
            both(field, None, None)
        );
    }
    let glm = turns(history(Cerebras, "reasoning"), config("cerebras::zai-glm-5.3"));
    assert_eq!(glm, [json!({"content": "<think>Hm.</think>"}), json!({"content": "So."})]);
    assert_eq!(turns(history(OpenAi, "reasoning"), config("gpt-4o"))[0]["reasoning"], "Hm.");

    // The row also applies when only the vendor's base URL is given.
    let moonshot = || config("kimi-k3").base_url("https://api.moonshot.ai/v1");
    let reply = answer_to(moonshot(), &[thought("reasoning_content"), json!({"content": "So."})]);
    let sent = turns(vec![Message::user("Q"), reply, Message::user("And?")], moonshot());
    assert_eq!(sent, [json!({"content": "So.", "reasoning_content": "Hm."})]);

    // The details say more than the text, and MiniMax sends both.
    let details = json!([{"type": "reasoning.text", "text": "Hm.", "index": 0}]);
    let detailed = |provider, field: &str| {
        let thought = json!({field: "Hm.", "reasoning_details": details});
        vec![
            Message::user("Q"),
            answer(provider, &[thought, call()]),
            Message::tool("abcdefgh1", "1"),
        ]
    };
    let sent = turns(detailed(OpenRouter, "reasoning"), config("openrouter::a/b"));
    assert_eq!(sent, [json!({"content": "", "reasoning_details": details})]);
    let sent = turns(detailed(MiniMax, "reasoning_content"), config("minimax::m"));
    let expected = json!({"content": "", "reasoning_content": "Hm.", "reasoning_details": details});
    assert_eq!(sent, [expected]);
}

#[test]
fn geminis_signature_of_a_call_goes_back_word_for_word() {
    let extra = json!({"google": {"thought_signature": "CsIB0pq"}});
    let mut call = call();
    call["tool_calls"][0]["extra_content"] = extra.clone();
    let other = json!({"tool_calls": [{"index": 1, "id": "abcdefgh2", "function": {"name": "look", "arguments": "{}"}}]});
    let asking = answer(LlmProvider::Vertex, &[call, other, json!({"content": "Let me look."})]);
    let history = || vec![Message::user("Q"), asking.clone(), Message::tool("abcdefgh1", "1")];
    let calls = |config| asked(history(), config).unwrap().body["messages"][1]["tool_calls"].take();
    let sent = calls(config("vertex::google/gemini-3-pro"));
    assert_eq!(sent[0]["extra_content"], extra);
    assert_eq!(sent[1].get("extra_content"), None);
    assert_eq!(calls(config("gpt-4o"))[0].get("extra_content"), None);
}

#[test]
fn an_empty_answer_is_left_out_and_an_empty_content_is_text() {
    let history = || vec![Message::user("Q"), Message::assistant(""), Message::user("And?")];
    for &protocol in Protocol::ALL {
        let config = GenerationConfig::new("m")
            .base_url("http://127.0.0.1:1/v1")
            .environment(Environment::empty())
            .protocol(protocol);
        let preview = asked(history(), config).unwrap();
        let body = preview.body.to_string();
        assert!(!body.contains("assistant") && !body.contains("\"role\":\"model\""), "{body}");
        let is_told = preview.adaptations.iter().any(|told| told.what == "messages[1]");
        assert!(is_told, "{protocol}");
    }
    let mut asking = Message::assistant("");
    asking.tool_calls.push(ToolCall::new("c", "look", "{}"));
    let history = vec![Message::user("Q"), asking, Message::tool("c", "")];
    for (name, content) in [("llamacpp", ""), ("xai", ""), ("xiaomi", " ")] {
        let body = asked(history.clone(), config(&format!("{name}::m"))).unwrap().body;
        for at in [1, 2] {
            assert_eq!(body["messages"][at]["content"], content, "{name}");
        }
    }
}

/// MiniMax responds with 400 to a second system message, so every later request would fail.
#[test]
fn several_system_messages_are_one_where_only_one_is_taken() {
    let history = [
        Message::system("Be brief."),
        Message::user("Q"),
        Message::assistant("A"),
        Message::system("Be kind."),
        Message::user("And?"),
    ];
    let preview = asked(&history, config("minimax::MiniMax-M3")).unwrap();
    let roles = |preview: &RequestPreview| {
        let messages = preview.body["messages"].as_array().unwrap().clone();
        messages.iter().map(|it| it["role"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles(&preview), ["system", "user", "assistant", "user"]);
    assert_eq!(preview.body["messages"][0]["content"], "Be brief.\n\nBe kind.");
    let told = &preview.adaptations[0];
    assert_eq!((&*told.what, &*told.sent), ("messages[3]", "its text in the first one"));
    let one = [Message::system("Be brief."), Message::user("Q")];
    let preview = asked(&one, config("minimax::MiniMax-M3")).unwrap();
    assert_eq!((roles(&preview).len(), preview.adaptations.len()), (2, 0));
    let others = asked(&history, config("xai::grok-4.7")).unwrap();
    assert_eq!(roles(&others), ["system", "user", "assistant", "system", "user"]);
}

/// llama.cpp responds with 500 to arguments that are not JSON. vLLM and Ollama respond with 400.
#[test]
fn malformed_arguments_are_wrapped_where_they_are_read() {
    let mut asking = Message::assistant("");
    asking.tool_calls.push(ToolCall::new("abcdefgh1", "look", "{\"a"));
    let history = [Message::user("Q"), asking, Message::tool("abcdefgh1", "error: not JSON")];
    for (name, is_read) in [
        ("llamacpp", true),
        ("lmstudio", true),
        ("ollama", true),
        ("vllm", true),
        ("minimax", true),
        ("openai", false),
        ("mistral", false),
        ("groq", false),
    ] {
        for protocol in [Protocol::ChatCompletions, Protocol::Responses] {
            let config = config(&format!("{name}::m")).protocol(protocol);
            let body = asked(&history, config).unwrap().body.to_string();
            let expected = match is_read {
                true => r#""arguments":"{\"INVALID_JSON\":\"{\\\"a\"}""#,
                false => r#""arguments":"{\"a""#,
            };
            assert!(body.contains(expected), "{name} over {protocol}: {body}");
        }
    }
    for url in [
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "https://api.anthropic.com/v1",
        "https://api.cohere.com/compatibility/v1",
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi",
    ] {
        let body = asked(&history, config("m").base_url(url)).unwrap().body.to_string();
        assert!(body.contains("INVALID_JSON"), "{url}: {body}");
    }
}

/// Some protocols send arguments as an object, so each number is parsed and written again.
#[test]
fn the_numbers_in_arguments_go_back_as_they_came() {
    // Numbers from 1 to 2 that have no short decimal form, and the limits of integers and floats.
    let steps = (0..999).map(|n| (1.0 + f64::from(n) / 999.0).to_string());
    let ends = ["18446744073709551615", "-9223372036854775808", "1.7976931348623157e308", "5e-324"];
    let numbers: Vec<_> = steps.chain(ends.map(str::to_owned)).filter(|n| n != "1").collect();
    let arguments = format!("{{\"n\":[{}]}}", numbers.join(","));
    let mut asking = Message::assistant("");
    asking.tool_calls.push(ToolCall::new("abcdefgh1", "look", &arguments));
    let history = [Message::user("Q"), asking, Message::tool("abcdefgh1", "42")];
    for model in ["claude-opus-5", "gemini-3-pro"] {
        let stream = generate_stream(&history, config(model));
        let body = stream.request().unwrap().body.to_string();
        for number in &numbers {
            let sent = number.replace("e308", "e+308");
            assert!(body.contains(number) || body.contains(&sent), "{model}: {number}");
        }
    }
}

#[test]
fn ids_of_calls_are_made_to_fit_alike_in_call_and_result() {
    let long = "x".repeat(53);
    let sent = |provider: LlmProvider, protocol: Protocol, ids: &[&str]| {
        let mut history = vec![Message::user("Q")];
        for id in ids {
            let mut asking = Message::assistant("");
            asking.tool_calls.push(ToolCall::new(*id, "look", "{}"));
            history.extend([asking, Message::tool(*id, "42")]);
        }
        let config = config("m").provider(provider).protocol(protocol);
        let preview = asked(history, config.base_url("https://x.example/v1")).unwrap();
        let (mut calls, mut results) = (Vec::new(), Vec::new());
        collect(&preview.body, &mut calls, &mut results);
        assert_eq!(calls, results, "{provider}");
        let told = preview.adaptations.iter().filter(|told| told.what == "the id of a tool call");
        assert_eq!(told.count(), ids.iter().zip(&calls).filter(|(old, new)| old != new).count());
        calls
    };
    let fits = |id: &str, length, more: &str| {
        id.len() == length && id.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    use LlmProvider::{Anthropic, Mistral, OpenAi};
    use Protocol::{ChatCompletions, Messages, Responses};
    let ids = ["functions.look:0", "functions.look:1", "toolu_01VpEm654HvfMoRcrE3Hgdc6"];
    let [one, other, kept] = &*sent(Anthropic, Messages, &ids) else { panic!() };
    assert!(fits(one, 9, "") && fits(other, 9, "") && one != other, "{one} {other}");
    assert_eq!(kept, "toolu_01VpEm654HvfMoRcrE3Hgdc6");

    let ids = ["toolu_01VpEm654HvfMoRcrE3Hgdc6", "call_0", "D681PevKs", ""];
    let mistral = sent(Mistral, ChatCompletions, &ids);
    assert!(mistral.iter().all(|id| fits(id, 9, "")), "{mistral:?}");
    assert_eq!(mistral[2], "D681PevKs");
    let distinct: std::collections::BTreeSet<_> = mistral.iter().collect();
    assert_eq!(distinct.len(), 4);
    // An id has the same substitute in every request.
    assert_eq!(sent(Mistral, ChatCompletions, &["call_0"]), [mistral[1].clone()]);

    // This covers a call without an id, and two responses that both count their calls from 0.
    assert!(fits(&sent(Anthropic, Messages, &[""])[0], 9, ""));
    for (provider, protocol) in [
        (Anthropic, Messages),
        (OpenAi, Responses),
        (OpenAi, ChatCompletions),
        (LlmProvider::Groq, ChatCompletions),
    ] {
        let again = sent(provider, protocol, &["call_0", "x", "call_0"]);
        assert!(again[0] == "call_0" && fits(&again[2], 9, ""), "{provider} {protocol} {again:?}");
    }

    assert!(fits(&sent(OpenAi, ChatCompletions, &[&long])[0], 9, ""));
    assert_eq!(sent(OpenAi, Responses, &[&long]), std::slice::from_ref(&long));
    assert!(fits(&sent(OpenAi, Responses, &["y".repeat(65).as_str()])[0], 9, ""));
    assert_eq!(
        sent(LlmProvider::XAi, ChatCompletions, &[&long, "a:b.c"]),
        [long.as_str(), "a:b.c"]
    );
}

/// Some servers give all calls of a response the same id. Each result must still match its call.
#[test]
fn calls_of_one_answer_with_the_same_id_are_told_apart() {
    for id in ["same", "call_1"] {
        calls_with_the_id(id);
    }
}

fn calls_with_the_id(id: &str) {
    let call = |index: u32, name: &str, arguments: &str| {
        let function = json!({"name": name, "arguments": arguments});
        json!({"tool_calls": [{"index": index, "id": id, "function": function}]})
    };
    let more =
        json!({"tool_calls": [{"index": 1, "id": id, "function": {"arguments": "{\"b\":2}"}}]});
    let asking =
        answer(LlmProvider::Local, &[call(0, "look", "{\"a\":1}"), call(1, "read", ""), more]);
    let calls = &asking.tool_calls;
    let told: Vec<_> = calls.iter().map(|call| (&*call.name, &*call.arguments)).collect();
    assert_eq!(told, [("look", "{\"a\":1}"), ("read", "{\"b\":2}")]);
    assert_eq!((&*calls[0].id, &*calls[1].id), (id, &*format!("{id}_1")));
    let results = [Message::tool(&calls[0].id, "of look"), Message::tool(&calls[1].id, "of read")];
    let history: Vec<_> = [Message::user("Q"), asking.clone()].into_iter().chain(results).collect();
    for &protocol in Protocol::ALL {
        for provider in [LlmProvider::Local, LlmProvider::Mistral] {
            let config = config("m").provider(provider).protocol(protocol);
            let config = config.base_url("http://127.0.0.1:1/v1");
            let preview = asked(&history, config).unwrap();
            if protocol == Protocol::GenerateContent {
                let parts = &preview.body["contents"][2]["parts"];
                assert_eq!(parts[0]["functionResponse"]["name"], "look", "{parts}");
                assert_eq!(parts[1]["functionResponse"]["name"], "read", "{parts}");
                continue;
            }
            let (mut calls, mut results) = (Vec::new(), Vec::new());
            collect(&preview.body, &mut calls, &mut results);
            assert!(calls.len() == 2 && calls[0] != calls[1], "{protocol} {provider}: {calls:?}");
            assert_eq!(calls, results, "{protocol} {provider}");
        }
    }
}

/// Collects the ids of calls and results in a body, whatever their fields are called.
fn collect(value: &Value, calls: &mut Vec<String>, results: &mut Vec<String>) {
    let Value::Object(object) = value else {
        for element in value.as_array().into_iter().flatten() {
            collect(element, calls, results);
        }
        return;
    };
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    match text("type").as_deref() {
        Some("function_call") => calls.extend(text("call_id")),
        Some("function_call_output") => results.extend(text("call_id")),
        Some("function" | "tool_use") => calls.extend(text("id")),
        Some("tool_result") => results.extend(text("tool_use_id")),
        _ => results.extend(text("tool_call_id")),
    }
    object.values().for_each(|value| collect(value, calls, results));
}
