//! Tests of requests: which are refused, and what the others send.

#![cfg(feature = "rustls")] // Most of these requests go to hosted providers, over TLS.

use serde_json::{Value, json};

use super::*;
use crate::config::{Proxy, Reasoning};
use crate::environment::Environment;
use crate::error::ErrorKind;
use crate::message::{Replay, ReplayPart, ToolCall};
use crate::model::ModelName;
use crate::provider::{LlmProvider, Protocol};

/// Returns an environment with a key for every provider.
fn keys() -> Environment {
    LlmProvider::ALL
        .iter()
        .flat_map(|provider| provider.key_variables())
        .map(|name| (*name, "environment-key"))
        .collect()
}

fn config(model: &str) -> GenerationConfig {
    GenerationConfig::new(model).environment(keys())
}

fn prepared(config: &GenerationConfig) -> Result<PreparedRequest, Error> {
    prepare(&"Hi".into(), config).map(|(request, _)| request)
}

fn refusal(config: &GenerationConfig) -> String {
    let error = prepared(config).err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config), "{error:?}");
    error.to_string()
}

fn header<'a>(request: &'a PreparedRequest, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

#[test]
fn a_model_finds_its_provider() {
    let provider = |config: &GenerationConfig| prepared(config).unwrap().peer.provider;
    assert_eq!(provider(&config("gpt-4o-mini")), LlmProvider::OpenAi);
    assert_eq!(provider(&config("o3")), LlmProvider::OpenAi);
    assert_eq!(provider(&config("ollama::llama3.2")), LlmProvider::Ollama);
    assert_eq!(provider(&config(" mistral :: gpt-like ")), LlmProvider::Mistral);
    assert_eq!(provider(&config("any").provider(LlmProvider::OpenAi)), LlmProvider::OpenAi);
    assert_eq!(provider(&config("gpt-4o").base_url("http://localhost/v1")), LlmProvider::Local);
    for &model in ModelName::ALL {
        let config = GenerationConfig::from(model).environment(keys());
        assert_eq!(provider(&config), model.provider(), "{model}");
        assert_eq!(json!(model), model.as_str());
    }
    let body = |config| serde_json::from_slice::<Value>(&prepared(&config).unwrap().body).unwrap();
    assert_eq!(body(config("ollama::llama3.2"))["model"], "llama3.2");

    assert!(refusal(&config("llama3.2")).contains("\"ollama::llama3.2\""));
    assert!(refusal(&config("")).contains("no model"));
    assert!(refusal(&config("nobody::x")).contains("unknown provider \"nobody\""));
    assert!(refusal(&config("mistral::x").provider(LlmProvider::OpenAi)).contains("mistral"));
}

#[test]
fn the_protocol_follows_the_model_at_the_hosts_of_openai() {
    use Protocol::{ChatCompletions, Messages, Responses};
    let protocol = |config: GenerationConfig| prepared(&config).unwrap().protocol;
    for (model, expected) in [
        ("gpt-5.6-luna", Responses),
        ("gpt-6.1-sol", Responses),
        ("o3-pro", Responses),
        ("computer-use-preview", Responses),
        ("openai::brand-new", Responses),
        ("gpt-4o-mini", ChatCompletions),
        ("gpt-4.1", ChatCompletions),
        ("gpt-3.5-turbo", ChatCompletions),
        ("chatgpt-4o-latest", ChatCompletions),
        ("gpt-4o-search-preview", ChatCompletions),
        ("gpt-5-search-api", ChatCompletions),
        ("gpt-audio-1.5", ChatCompletions),
        ("ft:gpt-4o-mini:org::id", ChatCompletions),
        ("openai::ft:gpt-4o-mini:org::id", ChatCompletions),
        ("ft:gpt-6-luna:org::id", Responses),
    ] {
        assert_eq!(protocol(config(model)), expected, "{model}");
        // The protocol does not depend on how the host was named.
        for url in ["https://api.openai.com/v1", "https://eu.API.openai.com/v1"] {
            let elsewhere = config(model).base_url(url);
            assert_eq!(protocol(elsewhere), expected, "{model} at {url}");
        }
        let proxy = config(model).base_url("https://proxy.example/v1");
        assert_eq!(protocol(proxy), ChatCompletions, "{model}");
        let like_it = config(model).base_url("https://xapi.openai.com/v1");
        assert_eq!(protocol(like_it), ChatCompletions, "{model}");
        let chosen = config(model).protocol(ChatCompletions);
        assert_eq!(protocol(chosen), ChatCompletions, "{model}");
    }
    let variable = Environment::from_iter([
        ("OPENAI_API_KEY", "k"),
        ("OPENAI_BASE_URL", "https://us.api.openai.com/v1"),
    ]);
    assert_eq!(protocol(config("gpt-6-luna").environment(variable)), Responses);
    assert_eq!(protocol(config("anthropic::m").base_url("https://api.openai.com/v1")), Messages);
    assert_eq!(protocol(config("grok-4.7")), ChatCompletions);

    let sent = prepared(&config("ft:gpt-4o-mini:org::id")).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&sent.body).unwrap()["model"],
        "ft:gpt-4o-mini:org::id"
    );
    let error = refusal(&config("gpt-6-luna").seed(1));
    assert!(error.contains("`seed`") && error.contains("Protocol::ChatCompletions"), "{error}");
    assert!(prepared(&config("gpt-6-luna").seed(1).protocol(ChatCompletions)).is_ok());
    let error = refusal(&config("gpt-6-luna").top_k(1));
    assert!(error.ends_with("leave it unset"), "Chat Completions refuses it, too: {error}");
    let error = refusal(&config("gpt-6-luna").seed(1).protocol(Responses));
    assert!(error.ends_with("leave it unset"), "{error}");

    // A recording is read in the protocol that a request for its model would use.
    let event = r#"data: {"type":"response.output_text.delta","delta":"Hi"}

data: {"type":"response.completed","response":{"status":"completed"}}

"#;
    let read = |model: &str| {
        crate::GenerationStream::from_reader(event.as_bytes(), config(model)).into_response()
    };
    assert_eq!(read("gpt-6-luna").unwrap().content, "Hi");
    assert!(read("gpt-4o").is_err());
}

#[test]
fn a_wrong_name_gets_a_suggestion() {
    for (model, meant) in [
        ("gtp-4o", "openai::gpt-4o"),
        ("GPT-4o", "openai::gpt-4o"),
        ("openai/gpt-4o", "openai::gpt-4o"),
        ("openai:gpt-4o", "openai::gpt-4o"),
        ("OpenAI/gpt-4o", "openai::gpt-4o"),
        ("together/meta-llama/Llama-3.3-70B", "together::meta-llama/Llama-3.3-70B"),
        ("openai: gpt-4o", "openai::gpt-4o"),
        ("cluade-sonnet-5-5", "anthropic::claude-sonnet-5-5"),
        // No constant has these names, but their prefixes are known.
        ("claud-sonnet-5", "anthropic::claude-sonnet-5"),
        ("gork-4.6", "xai::grok-4.6"),
        ("sonr-pro", "perplexity::sonar-pro"),
        ("gtp-7.2-pro", "openai::gpt-7.2-pro"),
        ("Claude-Sonet-5", "anthropic::claude-sonnet-5"),
    ] {
        let expected = format!("no provider found for model {model:?}; did you mean {meant:?}?");
        assert_eq!(refusal(&config(model)), expected);
    }
    for model in ["KIMI-K3", "kmi-k3"] {
        let error = refusal(&config(model));
        let choices = "did you mean \"moonshot::kimi-k3\" or \"moonshot_cn::kimi-k3\"?";
        assert!(error.ends_with(choices), "{error}");
    }
    let long = "gpt".repeat(400_000);
    let others = [
        "llama3.2",
        "llama-4-maverick",
        "phi-4-mini",
        "nova-pro",
        "yi-34b",
        "mixtral-8x7b",
        "solar-pro2",
        "gemma2-9b-it",
        "glm4-9b-chat",
        "chatglm-6b",
        "opt-66b",
        "mathstral-7b",
        "gpt4-turbo",
        "us.anthropic.claude-sonnet-5",
    ];
    for model in ["gpt-oss-120b", "openai/gpt-oss-120b", "gq", &long].into_iter().chain(others) {
        let error = refusal(&config(model));
        assert!(error.contains(&format!("\"ollama::{model}\"")), "{error}");
    }
    let error = refusal(&config("opnai::gpt-4o"));
    assert!(error.starts_with("unknown provider \"opnai\"; did you mean \"openai\"?"), "{error}");
    // The prefix leads to a provider, but a word in the name is nearly a word of that provider's.
    assert_eq!(
        refusal(&config("claude-sonet-5")),
        "the model \"claude-sonet-5\" looks misspelt; did you mean \"anthropic::claude-sonnet-5\"? \
         To send it as it is, write \"anthropic::claude-sonet-5\""
    );
    assert!(refusal(&config("gemini-3.5-falsh")).contains("mean \"google::gemini-3.5-flash\"?"));
    let named = prepared(&config("anthropic::claude-sonet-5")).unwrap();
    assert_eq!(named.peer.provider, LlmProvider::Anthropic);
    // New names are sent.
    for model in [
        "claude-fable-5-2",
        "claude-opos-6",
        "gpt-6-mine",
        "gpt-5-search-api",
        "gemini-live-2.5-flash",
        "ministral-3b-latest",
        "magistral-small",
        "devstral-medium-2507",
        "open-mistral-nemo",
        "deepseek-coder",
        "grok-code-fast-1",
        "command-light",
        "sonar-deep-research",
        "claude-sonnet5",
        "claude-Sonnet-4-5",
        "mistral-large3",
        "mistral-smaller-2612",
        "deepseek-v5-flashx",
        "deepseek-ai/DeepSeek-V4-Flash",
        "ft:open-mistral-7b:acme:20240430:mall-stall-bot",
    ] {
        assert!(prepared(&config(model)).is_ok(), "{model}");
    }
}

#[test]
fn the_base_url_and_who_may_set_it() {
    let url = |config: &GenerationConfig| prepared(config).unwrap().endpoint.uri.to_string();
    let with = |name: &str, value: &str| {
        Environment::from_iter([(name, value), ("OPENAI_API_KEY", "k"), ("MISTRAL_API_KEY", "k")])
    };
    let on = |base: &str| url(&config("m").base_url(base));
    assert_eq!(url(&config("gpt-4o")), "https://api.openai.com/v1/chat/completions");
    let elsewhere = config("gpt-4o").environment(with("OPENAI_BASE_URL", " https://proxy/v1/ "));
    assert_eq!(url(&elsewhere), "https://proxy/v1/chat/completions");
    let ollama = config("ollama::m").environment(with("OLLAMA_HOST", "0.0.0.0:9"));
    assert_eq!(url(&ollama), "http://127.0.0.1:9/v1/chat/completions");
    assert_eq!(on("HTTP://localhost:1/v1//"), "http://localhost:1/v1/chat/completions");
    let moonshot = prepared(&config("m").base_url("https://api.moonshot.ai/v1")).unwrap();
    assert_eq!(moonshot.peer.vendor.key_variables, LlmProvider::Moonshot.key_variables());
    assert_eq!(on("http://[::1]:8080"), "http://[::1]:8080/chat/completions");
    assert_eq!(
        on("https://x.example/openai?api-version=1"),
        "https://x.example/openai/chat/completions?api-version=1"
    );
    for (model, path, says) in [
        ("../../../evil", "/models/{model}:go", "the model's name"),
        ("a/./b", "/{model}", "the model's name"),
        ("..", "/{model}/go", "the model's name"),
        ("m", "/v1/../{model}", "the option `path`"),
        ("m", "%2E%2e/x", "the option `path`"),
        ("m", "/.%2e?x", "the option `path`"),
        ("m", "..\\..\\x", "the option `path`"),
        ("m", "..%2f..%2Fx", "the option `path`"),
        ("m", "a/..%5cx", "the option `path`"),
        ("m", "a/..;/b", "the option `path`"),
        ("m", "a/%2e%3bx=1/b", "the option `path`"),
        ("..;/x", "/{model}", "the model's name"),
        ("a\\..\\x", "/{model}", "the model's name"),
    ] {
        let config = config(model).base_url("https://x.example").path(path);
        let error = refusal(&config);
        assert!(error.contains(says) && error.contains("`..`"), "{model} {path}: {error}");
    }
    assert!(refusal(&config("google::../../evil")).contains("the model's name"));
    for (model, path) in [
        ("..a/.b/c..", "/{model}"),
        ("../m", "/v1?x=/../"),
        ("%2e%2e", "/{model}"),
        ("a;../b", "/{model}"),
    ] {
        assert!(
            prepared(&config(model).base_url("https://x.example").path(path)).is_ok(),
            "{model}"
        );
    }

    let gateway = config("a b/c").base_url("https://x.example").path("/run/{model}?stream=1");
    assert_eq!(url(&gateway), "https://x.example/run/a%20b/c?stream=1");

    for (wrong, says) in [
        ("", "is empty"),
        ("localhost:8080/v1", "http://"),
        ("ftp://x/", "http://"),
        ("http://", "no host"),
        ("http://a b/", "a space"),
        ("http://x/\u{e9}", "a space"),
        ("http://x:99999/", "port"),
        ("http://x:0", "port"),
        ("http://localhost:+80", "port"),
        ("http://[::1]:+80", "port"),
        ("http://x:", "port"),
        ("http://[localhost]:1", "no host"),
        ("http://[127.0.0.1]:1", "no host"),
        ("http://[[::1]]:1", "no host"),
        ("http://[::1]x:1", "no host"),
        ("http://[::1", "no host"),
        ("http://::1/", "no host"),
        ("http://x\\..\\y/", "no host"),
        ("http://x/../y", "segment"),
        ("http://x/v1/%2e%2e", "segment"),
        ("http://x/v1/..;/y?z", "segment"),
        ("http://x/..\\y", "segment"),
        ("http://user:hunter2@x/", "user name"),
        ("http://x/#top", "fragment"),
    ] {
        let error = refusal(&config("m").base_url(wrong));
        assert!(error.contains(says) && error.contains("`base_url`"), "{wrong}: {error}");
        assert!(!error.contains("hunter2"));
    }
    assert!(refusal(&config("local::m")).contains("base_url"));
}

#[test]
fn a_key_goes_to_its_own_provider_only() {
    let key = |config: &GenerationConfig| {
        header(&prepared(config).unwrap(), "authorization").map(str::to_owned)
    };
    assert_eq!(key(&config("gpt-4o")).unwrap(), "Bearer environment-key");
    assert_eq!(key(&config("gpt-4o").api_key(" own-key\n")).unwrap(), "Bearer own-key");
    assert_eq!(key(&config("gpt-4o").base_url("https://elsewhere.example/v1")), None);
    let together =
        config("gpt-4o").provider(LlmProvider::OpenAi).base_url("https://gateway.example/v1");
    assert_eq!(key(&together).unwrap(), "Bearer environment-key");
    assert_eq!(key(&config("ollama::m")), None);
    let token = Environment::from_iter([("ANTHROPIC_AUTH_TOKEN", "token")]);
    assert_eq!(key(&config("claude-x").environment(token)).unwrap(), "Bearer token");
    assert_eq!(
        header(&prepared(&config("claude-x")).unwrap(), "x-api-key"),
        Some("environment-key")
    );

    let none = |model: &str| GenerationConfig::new(model).environment(Environment::empty());
    let error = prepared(&none("gpt-4o")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!(
        error.to_string(),
        "openai: there is no API key; set OPENAI_API_KEY, or the option `api_key`"
    );
    assert!(refusal(&none("gpt-4o").api_key("  ")).contains("OPENAI_API_KEY"));
    assert_eq!(key(&none("gpt-4o").header("API-Key", "azure-key")), None);
    for bad in ["sk-\nsecret", "sk-s\u{e9}cret", "sk secret"] {
        let error = refusal(&none("gpt-4o").api_key(bad));
        assert!(
            error.contains("has characters that an API key cannot have") && !error.contains("cret"),
            "{error}"
        );
    }
}

#[test]
fn a_key_does_not_travel_in_the_clear() {
    let plain = |url: &str| config("m").api_key("secret-key").base_url(url);
    for here in ["http://localhost:1", "http://127.8.8.8/v1", "http://[::1]/"] {
        assert!(prepared(&plain(here)).is_ok(), "{here}");
        for proxy in ["http://127.0.0.1:1", "socks5://LOCALHOST", "https://u:p@[::1]:1"] {
            let config = plain(here).proxy(Proxy::Url(proxy.into()));
            assert!(prepared(&config).is_ok(), "{here} by {proxy}");
        }
        for proxy in ["http://u:hunter2@10.0.0.9:3128", "socks5h://box", "http://localhost.:1"] {
            let config = plain(here).proxy(Proxy::Url(proxy.into()));
            let error = refusal(&config);
            assert!(error.contains("allow_plain_http") && error.contains("the proxy"), "{error}");
            assert!(!error.contains("secret") && !error.contains("hunter2"), "{error}");
            assert!(prepared(&config.clone().allow_plain_http(true)).is_ok());
            assert!(prepared(&config.base_url("https://x.example")).is_ok());
        }
    }
    // These are not local: DNS decides where they lead.
    for elsewhere in ["http://localhost.:1", "http://127.0.0.1./v1", "http://a.localhost"] {
        assert!(refusal(&plain(elsewhere)).contains("allow_plain_http"), "{elsewhere}");
    }
    let error = refusal(&plain("http://192.168.1.5:8080/v1"));
    assert!(error.contains("allow_plain_http") && error.contains("192.168.1.5"), "{error}");
    assert!(!error.contains("secret"));
    assert!(prepared(&plain("http://192.168.1.5/v1").allow_plain_http(true)).is_ok());
    assert!(prepared(&config("m").base_url("http://192.168.1.5/v1")).is_ok());
    let header = |name| config("m").base_url("http://box/v1").header(name, "Bearer x");
    for name in [
        "Authorization",
        "cf-aig-authorization",
        "X-Portkey-API-Key",
        "Ocp-Apim-Subscription-Key",
        "x-functions-key",
        "x-access-key",
        "x_api_key",
        "access_key",
        "XApiKey",
        "x-accesstoken",
        "x-jwt",
        "passwd",
        "credentials",
        "X-Amz-Signature",
        "cookie",
    ] {
        assert!(refusal(&header(name)).contains("allow_plain_http"), "{name}");
    }
    for name in ["idempotency-key", "max-tokens", "x-author", "code", "x-signal", "x-title"] {
        assert!(prepared(&header(name)).is_ok(), "{name}");
    }
    let secret = |query: &str| {
        let at_base = config("m").base_url(format!("http://box/v1?v=1&{query}=hunter2"));
        let in_path = config("m").base_url("http://box").path(format!("/chat?v=1&{query}=hunter2"));
        let [first, second] = [at_base, in_path].map(|config| {
            let error = prepared(&config).err().map(|error| error.to_string());
            assert!(!error.as_ref().is_some_and(|error| error.contains("hunter2")), "{error:?}");
            assert!(!format!("{config:?}").contains("hunter2"));
            let config = config.allow_plain_http(true);
            let secrets = prepared(&config).unwrap().secrets;
            let shown = if error.is_some() { "[redacted]&v=1" } else { "hunter2&v=1" };
            assert_eq!(secrets.redact("hunter2&v=1"), shown);
            error.is_some()
        });
        assert_eq!(first, second, "{query}");
        first
    };
    for name in [
        "api_key",
        "apiKey",
        "key",
        "code",
        "auth",
        "pass",
        "pwd",
        "jwt",
        "credential",
        "sig",
        "access_token",
        "X-Amz-Signature",
    ] {
        assert!(secret(name), "{name}");
    }
    for name in ["max_tokens", "api-version", "model", "encode"] {
        assert!(!secret(name), "{name}");
    }
}

#[test]
fn headers_and_extra_fields_reach_the_request() {
    let config = config("gpt-4o")
        .header("X-Title", "me")
        .header("Accept", "*/*")
        .extra("stream_options", json!({"include_usage": false}))
        .extra("service_tier", "flex");
    let request = prepared(&config).unwrap();
    assert_eq!(header(&request, "x-title"), Some("me"));
    assert_eq!(header(&request, "accept"), Some("*/*"));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["service_tier"], "flex");
    assert_eq!(
        body["stream_options"],
        json!({"include_usage": false, "include_obfuscation": false})
    );
}

#[test]
fn a_prompt_must_say_something_and_numbers_must_be_numbers() {
    let refused = |prompt: Prompt| prepare(&prompt, &config("gpt-4o")).err().unwrap().to_string();
    assert_eq!(refused("".into()), "openai: the prompt is empty");
    assert_eq!(refused(" \n".into()), "openai: the prompt is empty");
    assert_eq!(refused(Vec::new().into()), "openai: the prompt is empty");
    assert!(refusal(&config("gpt-4o").top_p(f64::NAN)).contains("`top_p`"));
}

#[test]
fn what_one_provider_attached_is_not_sent_to_another() {
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let mut answer = Message::assistant("Hello.");
    answer.replay = Some(Replay {
        provider: LlmProvider::Anthropic,
        protocol: Protocol::Messages,
        parts: vec![ReplayPart::Opaque(thought), ReplayPart::Text { bytes: 6, extra: None }],
        fingerprint: message::fingerprint_of(&answer.content, &answer.tool_calls),
    });
    let prompt = Prompt::from([Message::user("Hi"), answer, Message::user("And?")]);
    let sent = |config: GenerationConfig| {
        let body = prepare(&prompt, &config).ok().unwrap().0.body;
        String::from_utf8(body).unwrap()
    };
    assert!(sent(config("claude-x")).contains("signature"));
    let relay = config("openrouter::claude-x").protocol(Protocol::Messages);
    assert!(!sent(relay).contains("signature"));
}

#[test]
fn a_preview_hides_what_is_secret() {
    let config = config("m")
        .base_url("https://x.example/v1?key=planted-key&v=1")
        .api_key("planted-key")
        .header("X-Custom", "planted-key");
    let shown = preview(&"Hi".into(), &config).unwrap().to_string();
    assert!(!shown.contains("planted"), "{shown}");
    assert!(
        shown.starts_with("POST https://x.example/v1/chat/completions?key=(hidden)&v=(hidden)\n")
    );
    assert!(shown.contains("authorization: (hidden)\nx-custom: (hidden)\n"), "{shown}");
    assert!(shown.contains("\"content\": \"Hi\""));
}

#[test]
fn headers_that_cannot_be_sent_are_refused_without_their_values() {
    for (name, value) in [
        ("x-api-key", "sk-0123\n456789"),
        ("x-api-key", "sk-0123456789é"),
        ("x-api-key", "sk-0123\u{0}456789"),
        ("x y", "sk-0123456789"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
    ] {
        let text = refusal(&config("gpt-4o").header(name, value)).to_lowercase();
        assert!(text.contains(&name.to_lowercase()) && !text.contains("sk-"), "{text}");
    }
    let twice = config("gpt-4o").header("X-Team", "a").header("x-team", "b");
    assert!(refusal(&twice).contains("the header x-team is set twice"));
}

/// A preview also makes the checks that only sending needs.
#[test]
fn a_preview_gives_every_error_that_sending_would_give() {
    for (config, says) in [
        (config("gpt-4o").proxy(Proxy::Url("gopher://x".into())), "the proxy \"gopher://x\""),
        (
            config("gpt-4o").proxy(Proxy::Url("http://127.0.0.1:99999".into())),
            "has a port that is not between 1 and 65535",
        ),
        (config("gpt-4o").header("x-long", "y".repeat(9000)), "the header x-long is too long"),
        (config("gpt-4o").path("y".repeat(9000)), "the URL is too long"),
        (
            config("gpt-4o").environment(Environment::from_iter([
                ("OPENAI_API_KEY", "k"),
                ("https_proxy", "gopher://x"),
            ])),
            "(from https_proxy)",
        ),
        #[cfg(feature = "rustls")]
        (config("gpt-4o").ca_file("no/such/file"), "cannot read no/such/file"),
        #[cfg(feature = "rustls")]
        (config("gpt-4o").client_certificate("Cargo.toml"), "Cargo.toml must hold"),
    ] {
        let error = preview(&"Hi".into(), &config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(says), "{error}");
        let sending = crate::generate("Hi", config).unwrap_err();
        assert_eq!(sending.to_string(), error.to_string());
    }
}

#[test]
fn a_base_url_that_ends_in_the_path_is_refused_before_it_is_asked() {
    for (config, right) in [
        (config("m").base_url("https://x.example/v1/chat/completions"), "https://x.example/v1"),
        (config("m").base_url("https://x.example/v1/chat/completions/"), "https://x.example/v1"),
        (
            config("claude-x").environment(Environment::from_iter([
                ("ANTHROPIC_API_KEY", "k"),
                ("ANTHROPIC_BASE_URL", "https://x.example/v1/messages"),
            ])),
            "https://x.example/v1",
        ),
        (
            config("m")
                .protocol(Protocol::Responses)
                .base_url("https://x.example/v1/chat/completions"),
            "https://x.example/v1",
        ),
        (
            config("gemini-x")
                .base_url("https://x.example/v1beta/models/gemini-1:streamGenerateContent?alt=sse"),
            "https://x.example/v1beta",
        ),
    ] {
        assert!(refusal(&config).ends_with(&format!("use {right}")), "{config:?}");
    }
    let path = config("m").base_url("https://x.example/chat/completions").path("chat/completions");
    assert!(prepared(&path).is_ok());
}

#[test]
fn what_is_changed_to_fit_the_provider_is_told() {
    let told = |prompt: Prompt, config: &GenerationConfig| {
        let (_, adaptations) = prepare(&prompt, config).unwrap();
        adaptations.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let plain = || Prompt::from([Message::system("Be brief."), Message::user("Hi")]);
    for model in ["gpt-4o", "gemini-x", "command-x"] {
        assert_eq!(told(plain(), &config(model)), [""; 0], "{model}");
    }
    assert_eq!(
        told(plain(), &config("claude-x")),
        ["max_tokens: sent 64000 instead of nothing, because this protocol requires a limit"]
    );
    let moved = Prompt::from([
        Message::user("Hi"),
        Message::user("there"),
        Message::system("Be brief."),
        Message::assistant(""),
    ]);
    for (model, system) in
        [("claude-x", "one `system` text"), ("gemini-x", "parts of `systemInstruction`")]
    {
        let config = config(model).max_tokens(5);
        let mut told = told(moved.clone(), &config);
        told.sort();
        assert_eq!(
            told.iter().filter(|told| !told.contains("an empty assistant")).collect::<Vec<_>>(),
            [
                &format!(
                    "messages: sent {system} instead of system messages in their places, because this \
                     protocol takes system messages only at the top"
                ),
                "messages[1]: sent it in the same turn instead of a second user message, because the \
                 roles must alternate in this protocol",
            ],
            "{told:?}"
        );
    }
    let mut called = Message::assistant("");
    called.tool_calls.push(ToolCall::new("c1", "go", "{}"));
    let between = Prompt::from([called, Message::user("Wait"), Message::tool("c1", "done")]);
    let told_between = told(between, &config("claude-x").max_tokens(5));
    assert!(
        told_between.contains(
            &"messages: sent the result first instead of a message before a tool result, because \
              tool results must directly follow their calls"
                .to_owned()
        ),
        "{told_between:?}"
    );
    let low = |model: &str| told("Hi".into(), &config(model).reasoning(Reasoning::Minimal));
    assert!(low("claude-x")[0].starts_with("reasoning: sent low instead of minimal"));
    assert!(low("gemini-2.5-pro")[0].contains("a budget of 1024 tokens"));
    assert!(low("command-x")[0].contains("a budget of 1024 tokens"));
    assert_eq!(low("gpt-5"), [""; 0]);
    let max = |model: &str| told("Hi".into(), &config(model).reasoning(Reasoning::Max));
    assert!(max("gemini-x")[0].starts_with("reasoning: sent high instead of max"));
    assert!(max("command-x")[0].contains("a budget of 32768 tokens"));
    assert_eq!(max("gpt-5"), [""; 0]);
}
