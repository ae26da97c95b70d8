//! The messages that a user of the crate can read, whole and in one table. Read it aloud before you
//! change a word in it.

use std::io::{self, Read};
use std::time::Duration;

use kerb_stream::{
    Attachment, CancelHandle, Environment, GenerationConfig, GenerationStream, LlmProvider,
    Message, Prompt, Protocol, Proxy, Reasoning, ResponseFormat, Tool, ToolCall, ToolChoice,
    generate_stream,
};
use serde_json::json;

use crate::support::{Server, all_at_once, config};

/// A row: the situation, a function that produces the message, and the expected message.
type Row = (&'static str, Box<dyn Fn() -> String + Send + Sync>, &'static str);

fn row(
    what: &'static str,
    message: &'static str,
    happens: impl Fn() -> String + Send + Sync + 'static,
) -> Row {
    (what, Box::new(happens), message)
}

/// The error of a request that cannot be made.
fn refused(
    what: &'static str,
    message: &'static str,
    config: fn(GenerationConfig) -> GenerationConfig,
) -> Row {
    refused_prompt(what, message, || "Hi".into(), config)
}

fn refused_prompt(
    what: &'static str,
    message: &'static str,
    prompt: fn() -> Prompt,
    config: fn(GenerationConfig) -> GenerationConfig,
) -> Row {
    row(what, message, move || {
        let openai = GenerationConfig::new("gpt-4o").api_key("k").environment(Environment::empty());
        let stream = generate_stream(prompt(), config(openai));
        stream.request().map_or_else(|error| format!("{error:#}"), |preview| preview.to_string())
    })
}

/// The changes that are made to fit a provider.
fn adapted(
    what: &'static str,
    message: &'static str,
    prompt: fn() -> Prompt,
    config: fn(GenerationConfig) -> GenerationConfig,
) -> Row {
    row(what, message, move || {
        let openai = GenerationConfig::new("gpt-4o").api_key("k").environment(Environment::empty());
        let request = generate_stream(prompt(), config(openai)).request().unwrap();
        let told: Vec<_> = request.adaptations.iter().map(ToString::to_string).collect();
        told.join("\n")
    })
}

/// The error at the end of a response that is read from memory.
fn read(what: &'static str, message: &'static str, protocol: Protocol, body: &'static str) -> Row {
    read_with(what, message, protocol, body, |config| config)
}

fn read_with(
    what: &'static str,
    message: &'static str,
    protocol: Protocol,
    body: &'static str,
    set: fn(GenerationConfig) -> GenerationConfig,
) -> Row {
    row(what, message, move || {
        let config = GenerationConfig::new("m").provider(LlmProvider::Local).protocol(protocol);
        last(GenerationStream::from_reader(body.as_bytes(), set(config)))
    })
}

/// The error of a server that answers so.
fn served(
    what: &'static str,
    message: &'static str,
    response: &'static str,
    set: fn(GenerationConfig) -> GenerationConfig,
) -> Row {
    row(what, message, move || {
        let server = Server::start(move |connection| {
            if connection.request()?.is_some() {
                connection.write(response)?;
            }
            Ok(())
        });
        let server = server.unwrap();
        let address = server.address().to_string();
        last(generate_stream("Hi", set(config(server.url())))).replace(&address, "HOST")
    })
}

fn last(stream: GenerationStream) -> String {
    // Without its cause: the words of operating systems differ.
    stream.into_response().map_or_else(|error| error.to_string(), |_| "no error".to_owned())
}

fn configuration() -> Vec<Row> {
    vec![
        refused(
            "no model",
            "no model is named; name one, such as \"gemini-flash-latest\" or \"ollama::llama3.2\"",
            |_| GenerationConfig::new(""),
        ),
        refused(
            "a misspelt model",
            "no provider found for model \"gtp-4o\"; did you mean \"openai::gpt-4o\"?",
            |_| GenerationConfig::new("gtp-4o"),
        ),
        refused(
            "a misspelt word in a model's name",
            "the model \"claude-sonet-5\" looks misspelt; did you mean \"anthropic::claude-sonnet-5\"? To send it as it is, write \"anthropic::claude-sonet-5\"",
            |_| GenerationConfig::new("claude-sonet-5"),
        ),
        refused(
            "a model that several addresses serve",
            "several providers serve the model \"kimi-k3\"; choose one: \"moonshot::kimi-k3\" or \"moonshot_cn::kimi-k3\"",
            |_| GenerationConfig::new("kimi-k3"),
        ),
        refused(
            "a model that many serve",
            "no provider found for model \"llama3.2\"; name its provider, as in \"ollama::llama3.2\", or set `base_url`",
            |_| GenerationConfig::new("llama3.2"),
        ),
        refused(
            "two providers",
            "openai: the model name says groq, but `provider` says openai; remove one",
            |config| config.model("groq::m").provider(LlmProvider::OpenAi),
        ),
        refused(
            "no key",
            "openai: there is no API key; set OPENAI_API_KEY, or the option `api_key`",
            |mut config| {
                config.api_key = None;
                config
            },
        ),
        refused(
            "no key, and no variable for it",
            "vertex: there is no API key; set the option `api_key`",
            |mut config| {
                config.api_key = None;
                config.model("vertex::m").base_url("https://x.example")
            },
        ),
        refused(
            "a key with a line break",
            "openai: the API key (from the option `api_key`) has characters that an API key cannot have (a line break, a space or a non-ASCII character); copy it again",
            |config| config.api_key("a\nb"),
        ),
        refused(
            "no base URL",
            "no base URL is set; set `base_url`, as in http://localhost:8080/v1",
            |config| config.provider(LlmProvider::Local),
        ),
        refused(
            "a variable of the base URL is missing",
            "bedrock: no base URL is set; set AWS_REGION or AWS_DEFAULT_REGION or AWS_BEDROCK_BASE_URL, or the option `base_url`",
            |config| config.model("bedrock::m"),
        ),
        refused(
            "a variable that would lead elsewhere",
            "azure: AZURE_RESOURCE_NAME has a character that is neither a letter, a digit, `-` nor `_`",
            |config| {
                let variables = [("AZURE_RESOURCE_NAME", "a/b")].into_iter().collect();
                config.model("azure::m").environment(variables)
            },
        ),
        refused(
            "a base URL without a scheme",
            "the option `base_url` does not begin with http:// or https://; a base URL looks like http://localhost:8080/v1",
            |config| config.base_url("localhost:8080/v1"),
        ),
        refused(
            "a base URL that is empty",
            "the option `base_url` is empty; a base URL looks like http://localhost:8080/v1",
            |config| config.base_url(" "),
        ),
        refused(
            "a base URL with a blank",
            "the option `base_url` contains a space, a control character or a non-ASCII character; a base URL looks like http://localhost:8080/v1",
            |config| config.base_url("http://a b/v1"),
        ),
        refused(
            "a base URL with a fragment",
            "the option `base_url` has a fragment (#…); a base URL looks like http://localhost:8080/v1",
            |config| config.base_url("http://localhost/#a"),
        ),
        refused(
            "a base URL with a password",
            "the option `base_url` contains a user name or a password; remove them, and set `api_key` or `headers`; a base URL looks like http://localhost:8080/v1",
            |config| config.base_url("http://u:p@localhost"),
        ),
        refused(
            "a base URL without a host",
            "the option `base_url` has no host, or its host is neither a name nor an IP address; a base URL looks like http://localhost:8080/v1",
            |config| config.base_url("http:///v1"),
        ),
        refused(
            "a base URL with a bad port",
            "the option `base_url` has a port that is not between 1 and 65535; a base URL looks like http://localhost:8080/v1",
            |config| config.base_url("http://localhost:99999"),
        ),
        refused(
            "a base URL that leads elsewhere",
            "the option `base_url` has a segment `.` or `..`, which the server may resolve to another path; a base URL looks like http://localhost:8080/v1",
            |config| config.base_url("http://localhost/v1/../x"),
        ),
        refused(
            "a base URL with the path of the protocol",
            "the option `base_url` ends in /chat/completions, which is added automatically; use http://localhost:8080/v1",
            |config| config.base_url("http://localhost:8080/v1/chat/completions"),
        ),
        refused(
            "a base URL from a variable",
            "openai: OPENAI_BASE_URL does not begin with http:// or https://; a base URL looks like http://localhost:8080/v1",
            |config| {
                let variables = [("OPENAI_BASE_URL", "localhost:8080")].into_iter().collect();
                config.environment(variables)
            },
        ),
        refused(
            "a key without TLS",
            "an API key or another credential would be sent unencrypted: http://192.0.2.1/v1/chat/completions is neither https nor on this machine; use https, or set `allow_plain_http`",
            |config| config.base_url("http://192.0.2.1/v1"),
        ),
        refused(
            "a key without TLS through a proxy",
            "an API key or another credential would be sent unencrypted: http://127.0.0.1:1/v1/chat/completions is not https, and the proxy 192.0.2.1:3128 is not on this machine; use https, or set `allow_plain_http`",
            |config| {
                let proxy = Proxy::Url("http://192.0.2.1:3128".into());
                config.base_url("http://127.0.0.1:1/v1").proxy(proxy)
            },
        ),
        refused(
            "a path that leads elsewhere",
            "openai: the option `path` has a segment `.` or `..`, which the server may resolve to another path; remove it",
            |config| config.path("../x"),
        ),
        refused(
            "a model that leads elsewhere",
            "google: the model's name in the URL has a segment `.` or `..`, which the server may resolve to another path; remove it",
            |config| config.model("google::../x"),
        ),
        refused(
            "a path with a blank",
            "openai: the option `path` has characters that a URL cannot have",
            |config| config.path("a b"),
        ),
        refused(
            "a proxy that is none",
            "openai: the proxy \"gopher://x\" (from the option `proxy`) is not supported; it should look like http://host:3128 or socks5://host:1080",
            |config| config.proxy(Proxy::Url("gopher://x".into())),
        ),
        row("a CA file that is missing", "cannot read /nowhere/ca.pem (ca_file)", || {
            let config = config("https://127.0.0.1:1/v1").ca_file("/nowhere/ca.pem");
            let error = generate_stream("Hi", config).request().unwrap_err().to_string();
            error.split(": ").take(1).collect() // The system's own words follow.
        }),
        refused(
            "a CA file that is a folder",
            "openai: / is a directory, a pipe or a device; name a regular file of PEM certificates (ca_file)",
            |config| config.ca_file("/"),
        ),
        refused("a header set twice", "openai: the header a is set twice; set it once", |config| {
            config.header("a", "1").header("A", "2")
        }),
        refused("a header's name", "openai: \"a b\" is not a valid header name", |config| {
            config.header("a b", "1")
        }),
        refused(
            "a header's value",
            "openai: the value of the header a has a character that a header cannot have, such as a line break or a non-ASCII character; if it is a key, copy it again",
            |config| config.header("a", "1\n2"),
        ),
        refused(
            "a header of the framing",
            "openai: the header content-length cannot be set",
            |config| config.header("content-length", "1"),
        ),
        refused(
            "an option that the protocol has no word for",
            "openai: the option `top_k` cannot be sent to this provider; leave it unset",
            |config| config.top_k(9),
        ),
        refused(
            "two unsupported options: the first is reported",
            "cohere: the option `logprobs` must be 0: Cohere returns no alternatives",
            |config| config.model("cohere::m").parallel_tool_calls(true).logprobs(2),
        ),
        refused(
            "an option that Responses has no word for",
            "openai: the option `seed` cannot be sent over the protocol `responses`, which this model uses; leave it unset, or set `.protocol(Protocol::ChatCompletions)`",
            |config| config.model("gpt-6-luna").seed(9),
        ),
        refused(
            "an option over a protocol that was named",
            "openai: the option `seed` cannot be sent over the protocol `responses`; leave it unset",
            |config| config.protocol(Protocol::Responses).seed(9),
        ),
        refused(
            "an option that is not a number",
            "openai: the option `temperature` is not a finite number",
            |config| config.temperature(f64::NAN),
        ),
        refused(
            "reasoning that cannot be off",
            "anthropic: the option `reasoning` cannot be off for this model; unset it, or use a low level",
            |config| config.model("claude-opus-5-5").reasoning(Reasoning::Off),
        ),
        refused(
            "reasoning by budget",
            "openai: the option `reasoning` takes a level here, not a budget",
            |config| config.reasoning(Reasoning::Budget(2000)),
        ),
        refused(
            "reasoning without a form",
            "minimax: the option `reasoning` is not supported for this model; leave it unset",
            |config| config.model("minimax::MiniMax-M2").reasoning(Reasoning::High),
        ),
        refused(
            "a tool choice that is ignored",
            "ollama: this server ignores the option `tool_choice` (required); ask for the call in the prompt",
            |config| config.model("ollama::m").tools([look()]).tool_choice(ToolChoice::Required),
        ),
        refused(
            "a tool that Cohere cannot be told",
            "cohere: `tool_choice` cannot name a tool: Cohere does not support that",
            |config| {
                config
                    .model("cohere::m")
                    .tools([look()])
                    .tool_choice(ToolChoice::Tool("look".into()))
            },
        ),
        refused(
            "alternatives that Cohere does not tell",
            "cohere: the option `logprobs` must be 0: Cohere returns no alternatives",
            |config| config.model("cohere::m").logprobs(2),
        ),
        refused(
            "`model` among the caller's fields",
            "openai: `extra_body` cannot set `model`; set the option `model`",
            |config| config.extra("model", "x"),
        ),
        refused(
            "`stream` among the caller's fields",
            "openai: `extra_body` cannot set `stream`: every request streams",
            |config| config.extra("stream", false),
        ),
        refused(
            "the prompt among the caller's fields",
            "openai: `extra_body` cannot set `messages`: the prompt sets it",
            |config| config.extra("messages", json!([])),
        ),
        refused(
            "an option among the caller's fields",
            "openai: `extra_body` sets `temperature`, and so does the option `temperature`; leave one of them out",
            |config| config.temperature(0.5).extra("temperature", 1),
        ),
        refused_prompt(
            "an empty prompt",
            "openai: the prompt is empty",
            || " ".into(),
            |config| config,
        ),
        refused_prompt(
            "an attachment of the assistant",
            "openai: only a user message can have attachments",
            || {
                let picture = Attachment::bytes("image/png", b"x");
                [Message::user("Hi"), Message::assistant("A").attach(picture)].into()
            },
            |config| config,
        ),
        refused_prompt(
            "an attachment that is no picture",
            "openai: the attachment without a name is application/pdf; only pictures (image/…) can be sent",
            || Message::user("Hi").attach(Attachment::bytes("application/pdf", b"x")).into(),
            |config| config,
        ),
        refused_prompt(
            "an attachment of an unknown type",
            "openai: the media type of the attachment a is unknown; set its `media_type`, as in \"image/png\"",
            || Message::user("Hi").attach(Attachment::url("https://x.example/a")).into(),
            |config| config,
        ),
        refused_prompt(
            "a result without an id",
            "anthropic: a tool message needs the id of the call that it answers",
            || {
                let mut result = Message::tool("c", "42");
                result.tool_call_id = None;
                [Message::user("Hi"), result].into()
            },
            |config| config.model("claude-opus-5"),
        ),
        refused_prompt(
            "a result without a call",
            "google: no message before the result of tool call \"c\" has that call",
            || [Message::user("Hi"), Message::tool("c", "42")].into(),
            |config| config.model("gemini-flash-latest"),
        ),
    ]
}

fn look() -> Tool {
    Tool::function("look", "", json!({"type": "object", "properties": {}}))
}

fn history() -> Prompt {
    let mut asking = Message::assistant("Let me look.");
    asking.tool_calls.push(ToolCall::new("a:b", "look", "{\"a"));
    [
        Message::system("Be brief."),
        Message::user("Q"),
        Message::assistant(""),
        asking,
        Message::tool("a:b", "42"),
        Message::system("Be kind."),
        Message::user("And?"),
        Message::user("Well?"),
    ]
    .into()
}

fn adaptations() -> Vec<Row> {
    vec![
        adapted(
            "a history for Messages",
            "the id of a tool call: sent ke6e7be3j instead of a:b, because anthropic refuses ids of this form\nmessages[2]: sent nothing instead of an empty assistant message, because this protocol refuses a turn without content\nthe arguments of the tool call \"look\": sent {\"INVALID_JSON\":\"{\\\"a\"} instead of {\"a, because they are not the JSON of an object\nmessages[3]: sent it in the same turn instead of a second assistant message, because the roles must alternate in this protocol\nmessages[7]: sent it in the same turn instead of a second user message, because the roles must alternate in this protocol\nmessages: sent one `system` text instead of system messages in their places, because this protocol takes system messages only at the top\nmax_tokens: sent 64000 instead of nothing, because this protocol requires a limit",
            history,
            |config| config.model("claude-opus-4-5"),
        ),
        adapted(
            "a history for Gemini",
            "messages[2]: sent nothing instead of an empty assistant message, because this protocol refuses a turn without content\nthe arguments of the tool call \"look\": sent {\"INVALID_JSON\":\"{\\\"a\"} instead of {\"a, because they are not the JSON of an object\nmessages[3]: sent it in the same turn instead of a second assistant message, because the roles must alternate in this protocol\nmessages[7]: sent it in the same turn instead of a second user message, because the roles must alternate in this protocol\nmessages: sent parts of `systemInstruction` instead of system messages in their places, because this protocol takes system messages only at the top",
            history,
            |config| config.model("gemini-flash-latest"),
        ),
        adapted(
            "a history for Cohere",
            "messages[2]: sent nothing instead of an empty assistant message, because this protocol refuses a turn without content\nthe arguments of the tool call \"look\": sent {\"INVALID_JSON\":\"{\\\"a\"} instead of {\"a, because they are not the JSON of an object\nmessages[3]: sent `tool_plan` instead of text, because Cohere accepts no text with tool calls",
            history,
            |config| config.model("command-a-03-2025"),
        ),
        adapted(
            "a history for Mistral",
            "the id of a tool call: sent ke6e7be3j instead of a:b, because mistral refuses ids of this form\nmessages[2]: sent nothing instead of an empty assistant message, because this protocol refuses a turn without content",
            history,
            |config| config.model("mistral-small-latest"),
        ),
        adapted(
            "a history for MiniMax",
            "messages[2]: sent nothing instead of an empty assistant message, because this protocol refuses a turn without content\nthe arguments of the tool call \"look\": sent {\"INVALID_JSON\":\"{\\\"a\"} instead of {\"a, because they are not the JSON of an object\nmessages[5]: sent its text in the first one instead of a system message, because only one is accepted here",
            history,
            |config| config.model("minimax::m"),
        ),
        adapted(
            "a history for Responses",
            "messages[2]: sent nothing instead of an empty assistant message, because this protocol refuses a turn without content",
            history,
            |config| config.model("gpt-6-luna"),
        ),
        adapted(
            "a system message inside",
            "messages[3]: sent it before the system message instead of after it, because system messages follow user messages\nmax_tokens: sent 64000 instead of nothing, because this protocol requires a limit",
            || {
                [
                    Message::user("Q"),
                    Message::assistant("A"),
                    Message::system("Be kind."),
                    Message::user("And?"),
                ]
                .into()
            },
            |config| config.model("claude-opus-5"),
        ),
        adapted(
            "a system message that has no place inside",
            "messages: sent one `system` text instead of system messages in their places, because this model takes system messages at the top, or after a user message\nmax_tokens: sent 64000 instead of nothing, because this protocol requires a limit",
            || [Message::user("Q"), Message::assistant("A"), Message::system("Be kind.")].into(),
            |config| config.model("claude-opus-5"),
        ),
        adapted(
            "results after another message",
            "messages: sent the result first instead of a message before a tool result, because tool results must directly follow their calls",
            || {
                let mut asking = Message::assistant("");
                asking.tool_calls.push(ToolCall::new("c", "look", "{}"));
                [Message::user("Q"), asking, Message::user("Wait."), Message::tool("c", "42")]
                    .into()
            },
            |config| config.model("claude-opus-5").max_tokens(9),
        ),
        adapted(
            "no call, and their number",
            "parallel_tool_calls: sent nothing instead of false, because tool calls are off, so their number cannot be limited",
            || "Hi".into(),
            |config| {
                let config = config.model("claude-opus-5").max_tokens(9).tools([look()]);
                config.tool_choice(ToolChoice::None).parallel_tool_calls(false)
            },
        ),
        adapted(
            "a level with another name",
            "reasoning: sent low instead of minimal, because this model has other reasoning levels",
            || "Hi".into(),
            |config| config.model("deepseek-flash").reasoning(Reasoning::Minimal),
        ),
        adapted(
            "a level where there is only a switch",
            "reasoning: sent reasoning on instead of low, because this model has no reasoning levels",
            || "Hi".into(),
            |config| config.model("xiaomi::m").reasoning(Reasoning::Low),
        ),
        adapted(
            "a level where there is a budget",
            "reasoning: sent a budget of 1024 tokens instead of low, because this model takes a token budget",
            || "Hi".into(),
            |config| config.model("gemini-2.5-flash").reasoning(Reasoning::Low),
        ),
        adapted(
            "off where that is minimal",
            "reasoning: sent minimal instead of off, because this model cannot turn thinking off",
            || "Hi".into(),
            |config| config.model("gemini-flash-latest").reasoning(Reasoning::Off),
        ),
        adapted(
            "off where that is between tools",
            "reasoning: sent reasoning between tool calls instead of off, because this model cannot think less",
            || "Hi".into(),
            |config| config.model("claude-sonnet-5-5").max_tokens(9).reasoning(Reasoning::Off),
        ),
        adapted(
            "off where nothing is to be said",
            "reasoning: sent nothing instead of off, because this model does not think by default",
            || "Hi".into(),
            |config| config.model("claude-opus-4-8").max_tokens(9).reasoning(Reasoning::Off),
        ),
        adapted(
            "a schema that is made strict",
            "response_format: sent an equivalent strict schema instead of the schema, because only strict schemas are enforced",
            || "Hi".into(),
            |config| {
                let property = json!({"type": ["string", "null"]});
                let schema = json!({"type": "object", "properties": {"a": property}});
                config.response_format(ResponseFormat::json_schema("x", schema))
            },
        ),
        adapted(
            "a schema that cannot be strict",
            "response_format: sent it with `strict: false` instead of a strict schema, because the property \"a\" is not required or nullable, or has no schema",
            || "Hi".into(),
            |config| {
                let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
                config.response_format(ResponseFormat::json_schema("x", schema))
            },
        ),
        adapted(
            "a schema that is closed",
            "response_format: sent one in Anthropic's subset of JSON Schema instead of the schema, because others are refused; limits such as `minimum` stand in its descriptions",
            || "Hi".into(),
            |config| {
                let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
                let config = config.model("claude-opus-5").max_tokens(9);
                config.response_format(ResponseFormat::json_schema("x", schema))
            },
        ),
        adapted(
            "what another provider has attached",
            "messages[1]: sent only text and tool calls instead of the whole message of anthropic, because openai cannot read another provider's reasoning and signatures",
            || {
                let event = "event: message\ndata: {\"type\":\"message\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"Hm\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"A\"}],\"stop_reason\":\"end_turn\"}\n\n";
                let config =
                    GenerationConfig::new("claude-opus-5").provider(LlmProvider::Anthropic);
                let response =
                    GenerationStream::from_reader(event.as_bytes(), config).into_response();
                [Message::user("Q"), response.unwrap().into(), Message::user("And?")].into()
            },
            |config| config,
        ),
    ]
}

fn streams() -> Vec<Row> {
    use Protocol::{ChatCompletions, GenerateContent, Messages, Responses};
    vec![
        read(
            "nothing",
            "the stream ended after 0.0 s, before the first event; the response is incomplete",
            ChatCompletions,
            "",
        ),
        read(
            "an end marker alone",
            "the stream is empty: it has nothing but an end marker",
            ChatCompletions,
            "data: [DONE]\n\n",
        ),
        read(
            "a cut",
            "the stream ended after 0.0 s (events: 1, chunks: 1), without a finish reason or an end marker; the response is incomplete",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
        ),
        read(
            "an end marker without a reason",
            "the response was interrupted: no finish reason and no usage came before the end marker",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n",
        ),
        read(
            "events that say nothing",
            "no event could be decoded (events: 1); is `protocol` chat_completions right? The stream begins: \"{\\\"a\\\":1}\"",
            ChatCompletions,
            "data: {\"a\":1}\n\ndata: [DONE]\n\n",
        ),
        read(
            "a page",
            "the response is not an event stream. It begins: \"<html>Sign in</html>\"",
            ChatCompletions,
            "<html>Sign in</html>",
        ),
        row(
            "a recording in UTF-16",
            "the response is not an event stream. It is UTF-16, as PowerShell's `>` writes; save it with `curl.exe -o FILE`",
            || {
                let body = b"\xff\xfed\0a\0t\0a\0:\0 \0{\0}\0\n\0\n\0";
                let config = GenerationConfig::default().protocol(ChatCompletions);
                last(GenerationStream::from_reader(&body[..], config))
            },
        ),
        row(
            "a compressed recording",
            "the response is not an event stream. It begins: \"␟�␈␀␀␀␀ab\"",
            || {
                let body = b"\x1f\x8b\x08\0\0\0\0ab";
                let config = GenerationConfig::default().protocol(ChatCompletions);
                last(GenerationStream::from_reader(&body[..], config))
            },
        ),
        read(
            "an event that is not JSON",
            "event 1 cannot be read: \"{\\\"choices\\\":[\"",
            ChatCompletions,
            "data: {\"choices\":[\n\n",
        ),
        read(
            "a call that never came",
            "the finish reason is a tool call, but the response has no tool call",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
        ),
        read(
            "a call without a name",
            "the response has a tool call without a name",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
        ),
        read(
            "a piece that is missing",
            "the response is inconsistent: later events do not match earlier ones",
            Responses,
            "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"Hi\"}\n\ndata: {\"type\":\"response.output_text.done\",\"output_index\":0,\"text\":\"Ho\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n",
        ),
        read(
            "a model that stopped with an error",
            "the server reports an error inside the stream: the model stopped with \"error\"",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"error\"}]}\n\ndata: [DONE]\n\n",
        ),
        read(
            "a call that Gemini could not write",
            "the server reports an error inside the stream: the model's output is broken (type MALFORMED_FUNCTION_CALL)",
            GenerateContent,
            "data: {\"candidates\":[{\"content\":{\"parts\":[]},\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}\n\n",
        ),
        read(
            "an error inside the stream",
            "the server reports an error inside the stream: Overloaded (type overloaded_error)",
            Messages,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        ),
        read_with(
            "an event that is too large",
            "a line or an event is larger than 20 bytes; raise `max_event_bytes`",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hello you\"}}]}\n\n",
            |config| config.max_event_bytes(20),
        ),
        read_with(
            "a response that is too large",
            "the response is larger than 4 bytes; raise `max_response_bytes`",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hello you\"}}]}\n\n",
            |config| config.max_response_bytes(4),
        ),
        read_with(
            "too many calls",
            "the response has too many tool calls; raise `max_tool_calls`",
            ChatCompletions,
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"a\",\"arguments\":\"{}\"}},{\"index\":1,\"id\":\"d\",\"function\":{\"name\":\"a\",\"arguments\":\"{}\"}}]}}]}\n\n",
            |config| config.max_tool_calls(1),
        ),
        row(
            "a reader that fails",
            "the stream was cut after 0.0 s, before the first event",
            || {
                let config = GenerationConfig::new("m").provider(LlmProvider::Local);
                last(GenerationStream::from_reader(Failing(io::ErrorKind::Other), config))
            },
        ),
        row("a reader that gives up", "the reader timed out", || {
            let config = GenerationConfig::new("m").provider(LlmProvider::Local);
            last(GenerationStream::from_reader(Failing(io::ErrorKind::TimedOut), config))
        }),
        row("a cancelled stream", "the caller cancelled the stream", || {
            let stream = generate_stream("Hi", config("http://127.0.0.1:1/v1"));
            let cancel: CancelHandle = stream.cancel_handle();
            cancel.cancel();
            last(stream)
        }),
        row(
            "the request of a reader",
            "the response comes from a reader, so there is no request",
            || {
                let config = GenerationConfig::new("m").provider(LlmProvider::Local);
                let stream = GenerationStream::from_reader(io::empty(), config);
                stream.request().unwrap_err().to_string()
            },
        ),
        row(
            "the request of a stream that has begun",
            "the stream has begun; call `request` before the first `next`",
            || {
                let mut stream = generate_stream("Hi", GenerationConfig::new(""));
                stream.next();
                stream.request().unwrap_err().to_string()
            },
        ),
    ]
}

struct Failing(io::ErrorKind);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

macro_rules! response {
    ($status:literal, $headers:literal, $body:literal) => {
        concat!("HTTP/1.1 ", $status, "\r\n", $headers, "connection: close\r\n\r\n", $body)
    };
}

fn servers() -> Vec<Row> {
    vec![
        served(
            "400",
            "the server at HOST returned 400: Bad field (type invalid_request_error, code x, request r1)",
            response!(
                "400 Bad",
                "content-type: application/json\r\nx-request-id: r1\r\n",
                "{\"error\":{\"message\":\"Bad field.\",\"type\":\"invalid_request_error\",\"code\":\"x\"}}"
            ),
            |config| config,
        ),
        served(
            "401",
            "the server at HOST returned 401: Bad key; check the API key (from the option `api_key`)",
            response!("401 No", "", "{\"error\":{\"message\":\"Bad key\"}}"),
            |config| config.api_key("k"),
        ),
        served(
            "401 without a key",
            "the server at HOST returned 401; no API key was sent; set the option `api_key`",
            response!("401 No", "", ""),
            |config| config,
        ),
        served(
            "401 without an error text, with a key",
            "openai at HOST returned 401; check the API key (from the option `api_key`)",
            response!("401 No", "", ""),
            |config| config.provider(LlmProvider::OpenAi).api_key("k"),
        ),
        served(
            "404",
            "openai at HOST returned 404 for model \"gpt-4o-mni\": No such model; check the model's name (did you mean \"gpt-4o-mini\"?), whether the model supports the request, and the base URL",
            response!("404 No", "", "{\"error\":{\"message\":\"No such model\"}}"),
            |config| config.provider(LlmProvider::OpenAi).api_key("k").model("gpt-4o-mni"),
        ),
        served("413", "the server at HOST returned 413", response!("413 No", "", ""), |config| {
            config
        }),
        served(
            "a prompt that is too long",
            "the server at HOST returned 400: Too long (code context_length_exceeded); shorten the prompt",
            response!(
                "400 No",
                "",
                "{\"error\":{\"message\":\"Too long\",\"code\":\"context_length_exceeded\"}}"
            ),
            |config| config,
        ),
        served(
            "429",
            "the server at HOST returned 429: Slow down; try again in 7 s",
            response!("429 No", "retry-after: 7\r\n", "{\"error\":{\"message\":\"Slow down\"}}"),
            |config| config,
        ),
        served(
            "a quota that is used up",
            "the server at HOST returned 429: No credit (code insufficient_quota); the account's credit or quota is used up",
            response!(
                "429 No",
                "",
                "{\"error\":{\"message\":\"No credit\",\"code\":\"insufficient_quota\"}}"
            ),
            |config| config,
        ),
        served(
            "503",
            "the server at HOST returned 503: Busy",
            response!("503 No", "", "Busy"),
            |config| config,
        ),
        served(
            "a redirect",
            "the server at HOST returned 307: a redirect to https://other.example/v1/chat/completions, which was not followed; if that is right, set the base URL to https://other.example/v1",
            response!("307 No", "location: https://other.example/v1/chat/completions\r\n", ""),
            |config| config,
        ),
        served(
            "a redirect without a location",
            "the server at HOST returned 307: a redirect without a valid location; check the base URL",
            response!("307 No", "", ""),
            |config| config,
        ),
        served(
            "a page",
            "the server at HOST: the response is not an event stream; check the base URL. It begins: \"<html>Sign in</html>\"",
            response!("200 OK", "content-type: text/html\r\n", "<html>Sign in</html>"),
            |config| config,
        ),
        served(
            "an encoded response",
            "the response of HOST is compressed (gzip), which was not requested",
            response!(
                "200 OK",
                "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n",
                "x"
            ),
            |config| config,
        ),
        served(
            "no content",
            "the server at HOST returned 204: this is not an event stream; check the base URL",
            response!("204 No", "", ""),
            |config| config,
        ),
        served(
            "no HTTP",
            "the response of HOST is not HTTP; check the URL's scheme and port",
            "SSH-2.0-OpenSSH\r\n",
            |config| config,
        ),
        served("nothing", "HOST closed the connection without a response", "", |config| config),
        served(
            "a body that is cut",
            "the server at HOST: the stream was cut after 0.0 s, before the first event",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\nda",
            |config| config,
        ),
        row(
            "no server listens",
            "127.0.0.1:1 refused the connection; is the server running?",
            || last(generate_stream("Hi", config("http://127.0.0.1:1/v1"))),
        ),
        row(
            "no proxy listens",
            "the proxy 127.0.0.1:1 refused the connection; is it running?",
            || {
                let proxy = Proxy::Url("http://127.0.0.1:1".into());
                last(generate_stream("Hi", config("http://localhost:2/v1").proxy(proxy)))
            },
        ),
        row(
            "a proxy that refuses",
            "the proxy PROXY refuses to connect to x.example:443 (403)",
            || through_proxy("HTTP/1.1 403 No\r\n\r\n"),
        ),
        row(
            "a proxy that wants a password",
            "the proxy PROXY requires a valid user name and password (407)",
            || through_proxy("HTTP/1.1 407 No\r\n\r\n"),
        ),
        row(
            "a proxy that cannot connect",
            "the proxy PROXY could not connect to x.example:443 (502)",
            || through_proxy("HTTP/1.1 502 No\r\n\r\n"),
        ),
        silent(
            "no headers in time",
            "no response from HOST within 50ms (first_byte_timeout)",
            "",
            |config| config.first_byte_timeout(Duration::from_millis(50)),
        ),
        silent(
            "silence",
            "no data from HOST for 50ms (idle_timeout)",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
            |config| config.idle_timeout(Duration::from_millis(50)),
        ),
    ]
}

/// A server that answers so, and then says nothing more while the client waits.
fn silent(
    what: &'static str,
    message: &'static str,
    response: &'static str,
    set: fn(GenerationConfig) -> GenerationConfig,
) -> Row {
    row(what, message, move || {
        let server = Server::start(move |connection| {
            connection.request()?;
            connection.write(response)?;
            connection.request().map(drop)
        });
        let server = server.unwrap();
        let address = server.address().to_string();
        last(generate_stream("Hi", set(config(server.url())))).replace(&address, "HOST")
    })
}

fn through_proxy(response: &'static str) -> String {
    let server = Server::start(move |connection| {
        connection.request()?;
        connection.write(response)
    });
    let server = server.unwrap();
    let proxy = Proxy::Url(format!("http://{}", server.address()));
    let config = config("https://x.example/v1").proxy(proxy);
    last(generate_stream("Hi", config)).replace(&server.address().to_string(), "PROXY")
}

fn sessions() -> Vec<Row> {
    use crate::support::tls::{Shows, TlsServer};

    fn shown(shows: Shows, trusts: bool) -> String {
        let server =
            TlsServer::start(shows, |session| io::copy(session, &mut io::sink()).map(drop));
        let mut config = config(server.url());
        if trusts {
            config = config.ca_file(&server.ca_file);
        }
        let address = server.address.to_string();
        last(generate_stream("Hi", config)).replace(&address, "HOST")
    }
    vec![
        row(
            "a CA that is not trusted",
            "the certificate of HOST is not signed by a trusted CA; to trust it, set `ca_file` or SSL_CERT_FILE to a file with its CA",
            || {
                shown(Shows::Good, false)
                    .replace(", or build with the feature `platform-verifier`", "")
            },
        ),
        row(
            "a CA that the file does not have",
            "the certificate of HOST is not signed by a trusted CA; the file in ca_file does not contain its CA",
            || shown(Shows::SelfSigned, true),
        ),
        row(
            "a certificate that has expired",
            "the certificate of HOST has expired; check this machine's clock, too",
            || shown(Shows::Expired, true),
        ),
        row(
            "a certificate of another host",
            "the certificate of HOST is for another host; check the URL",
            || shown(Shows::OtherHost, true),
        ),
        row("no TLS", "HOST does not speak TLS; check the URL's port, or use http://", || {
            let server = Server::start(|connection| connection.write("HTTP/1.1 400 Bad\r\n\r\n"));
            let server = server.unwrap();
            let url = server.url().replace("http://", "https://");
            last(generate_stream("Hi", config(url))).replace(&server.address().to_string(), "HOST")
        }),
        row(
            "a connection that closes in the handshake",
            "HOST closed the connection during the TLS handshake",
            || {
                let server = Server::start(|_| Ok(())).unwrap();
                let url = server.url().replace("http://", "https://");
                last(generate_stream("Hi", config(url)))
                    .replace(&server.address().to_string(), "HOST")
            },
        ),
    ]
}

fn others() -> Vec<Row> {
    vec![
        row("no such provider", "unknown provider \"opnai\"; did you mean \"openai\"?", || {
            "opnai".parse::<LlmProvider>().unwrap_err().to_string()
        }),
        row(
            "no such protocol",
            "unknown protocol \"chat\"; the known names are chat_completions, responses, messages, generate_content, cohere_chat",
            || "chat".parse::<Protocol>().unwrap_err().to_string(),
        ),
        row(
            "arguments that are not JSON",
            "the arguments of the tool call \"look\" are not JSON",
            || {
                ToolCall::new("c", "look", "{\"a")
                    .parse::<serde_json::Value>()
                    .unwrap_err()
                    .to_string()
            },
        ),
        row(
            "arguments of another type",
            "the arguments of the tool call \"look\" do not match the type",
            || ToolCall::new("c", "look", "{}").parse::<u32>().unwrap_err().to_string(),
        ),
        row("a file that is missing", "cannot read /nowhere/a.png", || {
            Attachment::from_path("/nowhere/a.png").unwrap_err().to_string()
        }),
    ]
}

#[test]
fn all_messages_are_those_of_the_table() {
    let rows = [configuration(), adaptations(), streams(), servers(), sessions(), others()];
    let differences = std::sync::Mutex::new(Vec::new());
    all_at_once(rows.iter().flatten().enumerate(), |(at, (what, happens, message))| {
        let told = happens();
        if told != *message {
            differences.lock().unwrap().push((at, format!("{what}: {told:?}")));
        }
    });
    let mut differences = differences.into_inner().unwrap();
    differences.sort();
    let shown: Vec<_> = differences.into_iter().map(|(_, difference)| difference).collect();
    assert!(shown.is_empty(), "other messages than in the table:\n{}", shown.join("\n"));
}
