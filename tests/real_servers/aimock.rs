//! Tests against aimock, a mock of every protocol by other authors. Words in the prompt choose the
//! fault.

use std::time::{Duration, Instant};

use kerb_stream::{
    ErrorKind, FinishReason, GenerationConfig, Message, Protocol, Tool, generate_stream,
};
use serde_json::{Value, json};

use super::{LIMIT, ask, config, server, version, watchdog};

const HELLO: &str = "Hello! This is a canned answer of the mock server, long enough to be split into \
                     several chunks.";

fn mock(protocol: Protocol) -> GenerationConfig {
    let model = match protocol {
        Protocol::ChatCompletions | Protocol::Responses => "gpt-5",
        Protocol::Messages => "claude-sonnet-4-5",
        Protocol::GenerateContent => "gemini-2.5-pro",
        Protocol::CohereChat => "command-a-03-2025",
        other => panic!("which model speaks {other}?"),
    };
    let mut config = config(server("KERB_STREAM_AIMOCK") + version(protocol)).protocol(protocol);
    config.model = model.to_owned();
    config
}

/// Calls `check` for every protocol, with a configuration for the mock.
fn each(check: fn(Protocol, &GenerationConfig)) {
    watchdog(LIMIT, move || {
        for &protocol in Protocol::ALL {
            check(protocol, &mock(protocol));
        }
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn every_protocol_gives_the_same_answer() {
    each(|protocol, config| {
        let run = ask("Say hello.", config);
        assert!(run.chunks.len() > 10, "{protocol}: {}", run.chunks.len());
        let response = run.whole();
        assert_eq!(response.content, HELLO, "{protocol}");
        assert_eq!(response.finish_reason, Some(FinishReason::Stop), "{protocol}");
        assert_eq!(response.reasoning, "", "{protocol}");
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn every_protocol_counts_tokens_and_tells_a_cut_by_length() {
    each(|protocol, config| {
        let response = ask("please count", config).whole();
        assert_eq!(response.content, "Cut by the limit", "{protocol}");
        let expected = match protocol {
            // The mock sends the status `incomplete` without a reason.
            Protocol::Responses => FinishReason::Other,
            _ => FinishReason::Length,
        };
        assert_eq!(response.finish_reason, Some(expected), "{protocol}");
        let usage = response.usage.expect("usage");
        let counted = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens);
        assert_eq!(counted, (11, 4, 15), "{protocol}");
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn thoughts_are_told_apart_from_the_answer() {
    each(|protocol, config| {
        let response = ask("please think", config).whole();
        let thought = "First I think about the greeting. Then I choose one.";
        let said = "Hello after thinking.";
        let expected = match protocol {
            // For Cohere, the mock writes the reasoning and the text both as text.
            Protocol::CohereChat => (String::new(), format!("{thought}{said}")),
            _ => (thought.to_owned(), said.to_owned()),
        };
        assert_eq!((response.reasoning, response.content), expected, "{protocol}");
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn tools_run_until_the_answer() {
    each(|protocol, config| {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let tool = Tool::function("get_weather", "The weather in a city", parameters);
        let config = config.clone().tools([tool]);
        let (mut cities, mut ids) = (Vec::new(), Vec::new());
        let prompt = "What is the weather in Paris and Oslo?";
        let mut stream = generate_stream(prompt, &config).run_tools(|call| {
            assert_eq!(call.name, "get_weather", "{protocol}");
            cities.push(call.parse::<Value>()?["city"].clone());
            ids.push(call.id.clone());
            Ok("21 degrees".to_owned())
        });
        let text: String = stream.by_ref().map(|chunk| chunk.unwrap().content).collect();
        assert_eq!(text, "Let me look. It is 21 degrees in Paris.", "{protocol}");
        let reasons = stream.responses().iter().map(|response| response.finish_reason);
        let expected = [Some(FinishReason::ToolCalls), Some(FinishReason::Stop)];
        assert!(reasons.eq(expected), "{protocol}");
        let added = stream.new_messages();
        drop(stream);
        assert_eq!(cities, ["Paris", "Oslo"], "{protocol}");
        assert!(!ids[0].is_empty() && ids[0] != ids[1], "{protocol}: {ids:?}");

        // The same conversation, saved before the tools ran.
        let mut history = vec![Message::user(prompt), added[0].clone()];
        history = serde_json::from_str(&serde_json::to_string(&history).unwrap()).unwrap();
        let stream = generate_stream(&history, &config).run_tools(|_| Ok("21 degrees".to_owned()));
        assert_eq!(stream.into_response().unwrap().content, added[3].content, "{protocol}");
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn halves_of_characters_are_joined() {
    each(|protocol, config| {
        let run = ask("unicode", config);
        let expected = "Zażółć gęślą jaźń — 日本語 👩‍👩‍👧‍👦 naïve \u{2028} and \u{85} and \r\n a line, \t a tab, \" \
                        a quote.";
        let family = run.chunks.iter().find(|chunk| chunk.content == "👩");
        assert!(family.is_some(), "{protocol}: one letter at a time");
        assert_eq!(run.whole().content, expected, "{protocol}");
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn a_slow_answer_comes_as_it_is_written() {
    each(|protocol, config| {
        let run = ask("please be slow", config);
        let response = run.whole();
        assert_eq!(response.content, "Slow first token and then a steady pace.", "{protocol}");
        let first = response.time_to_first_text.unwrap();
        assert!(first >= Duration::from_millis(1400), "{protocol}: {first:?}");
        assert!(response.latency > first + Duration::from_millis(100), "{protocol}");

        let hasty = config.clone().first_byte_timeout(Duration::from_millis(200));
        let hasty = hasty.idle_timeout(Duration::from_millis(300));
        let run = ask("please be slow", &hasty);
        assert_eq!(run.failure().kind(), ErrorKind::Timeout, "{protocol}");
        assert!(run.failure().to_string().contains("timeout"), "{}", run.failure());
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn a_cut_answer_is_never_a_whole_one() {
    each(|protocol, config| {
        for (prompt, text) in [
            ("please truncate", "This answer is cut before it ends because"),
            ("please disconnect", "This answer is torn down"),
        ] {
            let run = ask(prompt, config);
            let error = run.failure();
            assert_eq!(error.kind(), ErrorKind::Incomplete, "{protocol} {prompt}: {error:?}");
            let came = &run.response.content;
            // The mock cuts at an event. How much text arrived by then depends on the protocol's
            // other events.
            assert!(text.starts_with(came.as_str()), "{protocol} {prompt}: {came:?}");
            assert_eq!(run.response.finish_reason, None, "{protocol} {prompt}");
            let joined: String = run.chunks.iter().map(|chunk| chunk.content.as_str()).collect();
            assert_eq!(&joined, came, "{protocol} {prompt}");
        }
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn a_refusal_is_told_with_what_to_do() {
    each(|protocol, config| {
        for (prompt, kind, status, says) in [
            ("please limit", ErrorKind::RateLimited, 429, "try again in 2 s"),
            ("please overload", ErrorKind::Overloaded, 529, "Overloaded"),
            ("please refuse", ErrorKind::Auth, 401, "no API key was sent"),
        ] {
            let run = ask(prompt, config);
            let error = run.failure();
            let seen = (error.kind(), error.status());
            assert_eq!(seen, (kind, Some(status)), "{protocol} {prompt}: {error:?}");
            assert!(error.to_string().contains(says), "{protocol} {prompt}: {error}");
            let wait = (status == 429).then_some(Duration::from_secs(2));
            assert_eq!(error.retry_after(), wait, "{protocol} {prompt}");
            assert!(error.request_id().is_some_and(|id| id.starts_with("req-")), "{error:?}");
        }
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn a_limit_that_passes_is_waited_for() {
    each(|protocol, config| {
        // The mock counts the requests separately for each test id.
        let id = format!("{protocol}-{}", std::process::id());
        let config = config.clone().header("x-test-id", id).max_retries(2);
        let started = Instant::now();
        let response = ask("limit once", &config).whole();
        assert_eq!(response.content, "The second try went through.", "{protocol}");
        assert_eq!(response.retries, 1, "{protocol}");
        assert!(started.elapsed() >= Duration::from_secs(1), "{protocol}: asked to wait 1 s");
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn what_is_no_stream_is_an_error() {
    each(|protocol, config| {
        let run = ask("please garble", config);
        assert_eq!(run.failure().kind(), ErrorKind::Decode, "{protocol}: {:?}", run.failure());
        assert!(run.failure().to_string().contains("malformed json"), "{}", run.failure());
        let run = ask("please drop", config);
        assert_eq!(run.failure().kind(), ErrorKind::Network, "{protocol}: {:?}", run.failure());
        assert!(run.failure().is_retryable(), "{protocol}");
        assert!(run.chunks.is_empty(), "{protocol}");
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn comments_before_the_answer_are_no_chunks() {
    watchdog(LIMIT, || {
        let response = ask("openrouter", &mock(Protocol::ChatCompletions)).whole();
        assert_eq!(response.content, "Comments come before this.");
    });
}
