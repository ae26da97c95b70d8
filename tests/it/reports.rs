//! Streams from public bug reports decode correctly. The samples are beside the checkout, in the
//! folder that `KERB_STREAM_SHARED` names. The expected results are written here.

use std::io::Cursor;
use std::thread;
use std::time::Duration;

use kerb_stream::{
    Environment, ErrorKind, FinishReason, GenerationConfig, GenerationStream, Message, Protocol,
    Reasoning, Tool, ToolCall, generate, generate_stream,
};
use serde_json::json;

use crate::support::shapes::Shape;
use crate::support::{Outcome, Server, shared, watchdog};

fn sample(name: &str) -> String {
    std::fs::read_to_string(shared("reports").join(name)).unwrap()
}

/// Reads a sample to its end.
fn read(name: &str) -> Outcome {
    let protocol: Protocol = name.split('.').next().unwrap().parse().unwrap();
    let config = GenerationConfig::default().protocol(protocol);
    Outcome::of(GenerationStream::from_reader(Cursor::new(sample(name)), config))
}

#[test]
#[ignore = "reads the samples in $KERB_STREAM_SHARED/reports"]
fn every_sample_comes_out_right() {
    use FinishReason::{Other, Stop, ToolCalls};
    // Each row: the name, text, reasoning, tool call (id, name, arguments), finish reason, and
    // prompt, completion and cached tokens.
    for (name, text, reasoning, call, finish, usage) in [
        (
            "chat_completions.deepseek-final-answer.sse",
            "Take one.",
            "It rains.",
            None,
            Stop,
            Some((1, 1, None)),
        ),
        ("chat_completions.kimi-usage.sse", "Hi", "", None, Stop, Some((19, 13, Some(12)))),
        (
            "chat_completions.legacy-function-call.sse",
            "",
            "",
            Some(("call_0", "read_file", r#"{"path":"README.md"}"#)),
            ToolCalls,
            None,
        ),
        (
            "chat_completions.lmstudio-nameless-new-ids.sse",
            "",
            "",
            Some(("700000001", "search", r#"{"q":1}"#)),
            ToolCalls,
            None,
        ),
        (
            "chat_completions.minimax-final-object.sse",
            "Hello",
            "",
            None,
            Stop,
            Some((20, 10, None)),
        ),
        (
            "chat_completions.minimax-reasoning-details-only.sse",
            "Hi",
            "The user greets.",
            None,
            Stop,
            None,
        ),
        (
            "chat_completions.split-name.sse",
            "",
            "",
            Some(("call_1", "get_weather", r#"{"city":"Oslo"}"#)),
            ToolCalls,
            None,
        ),
        ("generate_content.stop-before-text.sse", "Hello", "", None, Stop, Some((5, 6, None))),
        ("messages.sglang-zero-in-delta.sse", "OK", "", None, Stop, Some((21, 3, None))),
        (
            "responses.arguments-only-in-done.sse",
            "",
            "",
            Some(("call_1", "look", r#"{"a":1}"#)),
            ToolCalls,
            Some((5, 6, None)),
        ),
    ] {
        let outcome = read(name);
        assert!(outcome.error.is_none(), "{name}: {}", outcome.message());
        let response = outcome.response;
        assert_eq!((&*response.content, &*response.reasoning), (text, reasoning), "{name}");
        let calls: Vec<_> =
            response.tool_calls.iter().map(|c| (&*c.id, &*c.name, &*c.arguments)).collect();
        assert_eq!(calls, call.into_iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(response.finish_reason, Some(finish), "{name}");
        let counts =
            response.usage.map(|u| (u.prompt_tokens, u.completion_tokens, u.cached_tokens));
        assert_eq!(counts, usage, "{name}");
    }
    for (name, text, finish, kind, says, usage) in [
        (
            "chat_completions.dashscope-error.sse",
            "",
            None,
            ErrorKind::RateLimited,
            &["Allocated quota exceeded, raise it", "Throttling.AllocationQuota", "r-1"][..],
            None,
        ),
        (
            "chat_completions.glm-network-error.sse",
            "The answer is",
            Some(Other),
            ErrorKind::Server,
            &["network_error"],
            Some(8),
        ),
        (
            "chat_completions.minimax-base-resp.json",
            "",
            None,
            ErrorKind::Quota,
            &["insufficient balance", "1008"],
            Some(0),
        ),
    ] {
        let outcome = read(name);
        let error = outcome.failure();
        assert_eq!(error.kind(), kind, "{name}");
        assert!(says.iter().all(|says| error.to_string().contains(says)), "{name}: {error}");
        let response = outcome.response;
        assert_eq!((&*response.content, response.finish_reason), (text, finish), "{name}");
        assert_eq!(response.usage.map(|usage| usage.total_tokens), usage, "{name}");
    }
}

/// The response of a sample is sent back in the form that its vendor requires, and options are sent
/// in the vendor's form too.
#[test]
#[ignore = "reads the samples in $KERB_STREAM_SHARED/reports"]
fn every_sample_goes_back_right() {
    let sent = |prompt: Vec<Message>, config: GenerationConfig| {
        let config = config.api_key("k").environment(Environment::empty());
        generate_stream(prompt, config).request().unwrap().body
    };
    let answer = |name: &str, config: &GenerationConfig| {
        let config = config.clone().protocol(Protocol::ChatCompletions);
        let body = Cursor::new(sample(&format!("chat_completions.{name}.sse")));
        Message::from(GenerationStream::from_reader(body, config).into_response().unwrap())
    };
    let tool = || Tool::function("look", "", json!({"type": "object"}));
    let user = |text: &str| Message::user(text);

    let gemini = GenerationConfig::new("gemini-3-pro")
        .base_url("https://generativelanguage.googleapis.com/v1beta/openai");
    let asking = answer("gemini-extra-content", &gemini);
    let history = vec![user("Q"), asking, Message::tool("function-call-77", "42")];
    let signature = json!({"google": {"thought_signature": "CsIB0pq"}});
    let body = sent(history.clone(), gemini);
    assert_eq!(body["messages"][1]["tool_calls"][0]["extra_content"], signature);
    let other = sent(history, GenerationConfig::new("gpt-4o"));
    assert_eq!(other["messages"][1]["tool_calls"][0].get("extra_content"), None);

    let deepseek = GenerationConfig::new("deepseek::deepseek-v4-pro").tools([tool()]);
    let one = answer("deepseek-reasoning-tool", &deepseek);
    let two = answer("deepseek-final-answer", &deepseek);
    let rain = Message::tool(&one.tool_calls[0].id, "rain");
    let history = vec![user("Umbrella?"), one, rain, two, user("And tomorrow?")];
    let body = sent(history, deepseek.clone());
    assert_eq!(body["messages"][1]["reasoning_content"], "I need the weather.");
    assert_eq!(body["messages"][3]["reasoning_content"], "It rains.");
    let body = sent(vec![user("Hi")], deepseek.reasoning(Reasoning::Off));
    assert_eq!(body["thinking"], json!({"type": "disabled"}));
    assert_eq!(body.get("reasoning_effort"), None);

    let local = GenerationConfig::new("m").base_url("http://127.0.0.1:1/v1");
    let asking = answer("vllm-reasoning-tool", &local);
    let result = Message::tool(&asking.tool_calls[0].id, "rain");
    let body = sent(vec![user("Q"), asking, result], local.clone());
    assert_eq!(body["messages"][1]["reasoning"], "I need the weather.");
    assert_eq!(body["messages"][1].get("reasoning_content"), None);

    let mistral = || GenerationConfig::new("mistral::mistral-medium-latest");
    for level in [Reasoning::Minimal, Reasoning::Low, Reasoning::Medium] {
        let body = sent(vec![user("Hi")], mistral().reasoning(level));
        assert_eq!(body["reasoning_effort"], "high", "{level:?}");
    }

    let empty = vec![user("Q"), Message::assistant(""), user("And?")];
    for config in [local, mistral(), GenerationConfig::new("sonar")] {
        assert_eq!(sent(empty.clone(), config)["messages"].as_array().unwrap().len(), 2);
    }

    let mut asking = Message::assistant("");
    asking.tool_calls.push(ToolCall::new("call_of_another", "look", "{}"));
    let history = vec![user("Q"), asking, Message::tool("call_of_another", "42")];
    let body = sent(history, GenerationConfig::new("gemini-3-pro-preview"));
    let signature = &body["contents"][1]["parts"][0]["thoughtSignature"];
    assert_eq!(signature, "skip_thought_signature_validator");
}

/// A pause longer than the crate waits for more after a response that is complete.
const PAUSE: Duration = Duration::from_secs(12);

/// Checks that a stream goes on after twelve seconds of silence, if its finish reason was not
/// final.
#[test]
#[ignore = "takes twelve seconds, and reads the samples in $KERB_STREAM_SHARED/reports"]
fn a_model_that_thinks_after_a_stop_is_waited_for() {
    let gemini = sample("generate_content.stop-before-text.sse");
    let (stops, text) = gemini.split_at(
        gemini.find(r#"data: {"candidates":[{"content":{"parts":[{"text":"Hel"#).unwrap(),
    );
    let chat = Shape(Protocol::ChatCompletions);
    let code = r#"data: {"candidates":[{"content":{"parts":[{"text":"Hel"},{"executableCode":{"code":"1"}}]},"finishReason":"STOP"}]}"#;
    let result = r#"data: {"candidates":[{"content":{"parts":[{"codeExecutionResult":{"output":"1"}},{"text":"lo"}]},"finishReason":"STOP"}]}"#;
    let nothing = r#"data: {"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}"#;
    let thread = |protocol: Protocol, before: String, after: String| {
        thread::spawn(move || {
            let server = Server::start(move |connection| {
                connection.request()?;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                connection.write(format!("{head}{before}"))?;
                thread::sleep(PAUSE);
                connection.write(&after)
            });
            let config = GenerationConfig::new("m")
                .protocol(protocol)
                .base_url(server.unwrap().url())
                .environment(Environment::empty());
            let response = watchdog(3 * PAUSE, || generate("Hi", config)).unwrap();
            assert_eq!(
                (&*response.content, response.finish_reason),
                ("Hello", Some(FinishReason::Stop))
            );
        })
    };
    for thread in [
        thread(Protocol::GenerateContent, stops.to_owned(), text.to_owned()),
        thread(Protocol::GenerateContent, format!("{code}\n\n"), format!("{result}\n\n")),
        thread(Protocol::ChatCompletions, format!("{nothing}\n\n"), chat.whole(&["Hel", "lo"])),
        thread(
            Protocol::ChatCompletions,
            chat.reasoning("Hm") + &format!("{nothing}\n\n"),
            chat.whole(&["Hel", "lo"]),
        ),
    ] {
        thread.join().unwrap();
    }
}
