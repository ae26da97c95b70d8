//! Tests against llama.cpp with SmolLM2-135M, a real model that counts its tokens.

use std::thread;
use std::time::{Duration, Instant};

use kerb_stream::{
    ErrorKind, FinishReason, GenerationConfig, Message, Protocol, ResponseFormat, Tool, ToolCall,
    ToolChoice, generate_stream,
};
use serde_json::{Value, json};

use super::{LIMIT, ask, config, server, watchdog};

/// The three protocols that llama.cpp speaks.
const PROTOCOLS: [Protocol; 3] =
    [Protocol::ChatCompletions, Protocol::Responses, Protocol::Messages];

/// Returns a configuration that makes the response repeatable and short.
fn llama(protocol: Protocol) -> GenerationConfig {
    config(server("KERB_STREAM_LLAMA") + "/v1").protocol(protocol).temperature(0.0).max_tokens(60)
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn the_same_program_speaks_every_protocol() {
    watchdog(LIMIT, || {
        for protocol in PROTOCOLS {
            let prompt = "What is the capital of France? Answer in one short sentence.";
            let run = ask(prompt, &llama(protocol));
            let texts = run.chunks.iter().filter(|chunk| !chunk.content.is_empty());
            assert!(texts.count() > 3, "{protocol}: it comes in pieces");
            let response = run.whole();
            assert!(response.content.contains("Paris"), "{protocol}: {response:?}");
            assert_eq!(response.finish_reason, Some(FinishReason::Stop), "{protocol}");
            assert_eq!(response.model.as_deref(), Some("smollm2"), "{protocol}");
            let usage = response.usage.expect("usage");
            assert!(usage.prompt_tokens > 20, "{protocol}: {usage:?}");
            assert!((4..60).contains(&usage.completion_tokens), "{protocol}: {usage:?}");
            let sum = usage.prompt_tokens + usage.completion_tokens;
            assert_eq!(usage.total_tokens, sum, "{protocol}");
            assert!(response.time_to_first_text < Some(response.latency), "{protocol}");
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn an_answer_cut_by_max_tokens_says_so() {
    watchdog(LIMIT, || {
        for protocol in PROTOCOLS {
            let response = ask("Tell me a long story.", &llama(protocol).max_tokens(5)).whole();
            assert_eq!(response.usage.unwrap().completion_tokens, 5, "{protocol}");
            let expected = match protocol {
                // Under `/v1/responses`, llama.cpp reports `completed` even at the token limit.
                Protocol::Responses => FinishReason::Stop,
                _ => FinishReason::Length,
            };
            assert_eq!(response.finish_reason, Some(expected), "{protocol}");
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn a_conversation_goes_on() {
    watchdog(LIMIT, || {
        for protocol in PROTOCOLS {
            let mut history = vec![
                Message::system("You are a helpful assistant. Answer in one short sentence."),
                Message::user("My name is Clementine. Please remember it."),
            ];
            let first = ask(&history, &llama(protocol)).whole();
            let usage = first.usage.unwrap();
            let first_turn = usage.prompt_tokens + usage.completion_tokens;
            history.push(first.into());
            history.push(Message::user("What is my name?"));
            let second = ask(&history, &llama(protocol)).whole();
            // Such a small model may not use the history, but the token count proves that it has
            // read all of it.
            let read = second.usage.unwrap().prompt_tokens;
            assert!(read > first_turn, "{protocol}: {read} after {first_turn}");
            assert!(!second.content.is_empty(), "{protocol}");
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn a_prompt_beyond_the_context_is_called_that() {
    watchdog(LIMIT, || {
        for protocol in PROTOCOLS {
            let run = ask("word ".repeat(6000), &llama(protocol).max_retries(2));
            let error = run.failure();
            assert_eq!(error.kind(), ErrorKind::ContextLength, "{protocol}: {error:?}");
            assert_eq!(error.status(), Some(400), "{protocol}");
            assert_eq!(run.response.retries, 0, "{protocol}");
            assert!(error.to_string().contains("shorten the prompt"), "{error}");
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA_KEY, whose key is k"]
fn a_wrong_key_is_an_error_that_does_not_show_it() {
    watchdog(LIMIT, || {
        for protocol in PROTOCOLS {
            let with_key = |key: &str| {
                llama(protocol)
                    .base_url(server("KERB_STREAM_LLAMA_KEY") + "/v1")
                    .api_key(key)
                    .max_tokens(3)
            };
            let wrong = "sk-wrong-4711";
            let run = ask("Hi", &with_key(wrong));
            let error = run.failure();
            assert_eq!(error.kind(), ErrorKind::Auth, "{protocol}: {error:?}");
            assert_eq!(error.status(), Some(401), "{protocol}");
            let shown = format!("{} {error:?} {:?}", run.message(), with_key(wrong));
            assert!(!shown.contains(wrong), "{shown}");
            ask("Hi", &with_key("k")).whole();
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn what_the_server_refuses_is_told_in_its_words() {
    watchdog(LIMIT, || {
        let nonsense = ResponseFormat::json_schema("nonsense", json!({"type": "nonsense"}));
        for (config, word) in [
            (llama(Protocol::ChatCompletions).extra("min_p", "hot"), "min_p"),
            (llama(Protocol::ChatCompletions).response_format(nonsense), "schema"),
            (llama(Protocol::ChatCompletions).extra("repeat_penalty", "none"), "repeat_penalty"),
        ] {
            let run = ask("Hi", &config);
            let error = run.failure();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error:?}");
            assert!(error.to_string().contains(word), "{error}");
        }
        let elsewhere =
            llama(Protocol::ChatCompletions).base_url(server("KERB_STREAM_LLAMA") + "/v9");
        let run = ask("Hi", &elsewhere);
        assert_eq!(run.failure().kind(), ErrorKind::NotFound, "{:?}", run.failure());
        assert!(run.failure().to_string().contains("base URL"), "{}", run.failure());
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn every_option_is_accepted() {
    watchdog(LIMIT, || {
        let common = |protocol| llama(protocol).temperature(0.5).top_p(0.9);
        let chat = common(Protocol::ChatCompletions)
            .stop(["blue", "Blue"])
            .frequency_penalty(0.1)
            .presence_penalty(0.1)
            .seed(7)
            .logprobs(2)
            .raw(true);
        let run = ask("Repeat after me: red green blue", &chat);
        let raw = run.chunks.iter().filter_map(|chunk| chunk.raw.as_deref());
        assert!(raw.into_iter().any(|raw| raw.contains("top_logprobs")));
        let response = run.whole();
        assert!(!response.content.to_lowercase().contains("blue"), "{}", response.content);

        let messages = common(Protocol::Messages).top_k(20).stop(["blue"]);
        assert!(!ask("Say: red green blue", &messages).whole().content.contains("blue"));
        ask("Hi", &common(Protocol::Responses)).whole();
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn a_schema_is_kept_to() {
    watchdog(LIMIT, || {
        let schema = json!({
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 120}},
            "required": ["name", "age"],
            "additionalProperties": false
        });
        let prompt = "Tom is 30 years old. Give his name and age as JSON.";
        // llama.cpp ignores `text.format` under `/v1/responses`, and `/v1/messages` has no such
        // field.
        let config = llama(Protocol::ChatCompletions)
            .response_format(ResponseFormat::json_schema("person", schema));
        let response = ask(prompt, &config).whole();
        let person: Value = serde_json::from_str(&response.content).unwrap();
        assert!(person["name"].is_string() && person["age"].is_i64(), "{person}");

        // This llama.cpp does not enforce plain JSON mode, so only the request is checked.
        ask(prompt, &llama(Protocol::ChatCompletions).response_format(ResponseFormat::Json))
            .whole();
    });
}

/// llama.cpp makes a grammar from the schema, so that even a small model has to obey it.
#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn an_answer_is_read_as_a_type_and_its_elements_come_as_they_are_written() {
    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Recipe {
        name: Kind,
        #[schemars(length(min = 3, max = 3))]
        steps: Vec<Step>,
    }
    #[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Pancakes,
        Bread,
    }
    #[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Step {
        #[schemars(length(max = 30))]
        title: String,
        #[schemars(range(max = 60))]
        minutes: u8,
        tool: Option<Kind>,
    }
    watchdog(LIMIT, || {
        let schema = schemars::schema_for!(Recipe).to_value();
        let config = llama(Protocol::ChatCompletions)
            .max_tokens(400)
            .response_format(ResponseFormat::json_schema("Recipe", schema));
        let mut stream = generate_stream("Three steps to make pancakes, as JSON.", &config);
        let mut steps = stream.elements::<Step>("/steps");
        let (mut arrived, mut lengths) = (Vec::new(), Vec::new());
        while let Some(step) = steps.next() {
            arrived.push(step.unwrap());
            lengths.push(steps.stream().response().content.len());
        }
        let response = stream.into_response().unwrap();
        let recipe: Recipe = response.parse().unwrap();
        assert_eq!((recipe.steps.len(), &recipe.steps), (3, &arrived), "{response:?}");
        assert!(recipe.name == Kind::Pancakes || recipe.name == Kind::Bread);
        // Each came while the next one was not yet written.
        assert!(lengths.is_sorted_by(|a, b| a < b), "{lengths:?}");
        assert!(lengths[0] < response.content.len() * 2 / 3, "{lengths:?}");

        let cut = ask("Three steps to make pancakes, as JSON.", &config.max_tokens(10)).whole();
        let error = cut.parse::<Recipe>().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Incomplete));
    });
}

/// The model is too small to call tools by itself, so the calls are in the prompt. The server's
/// template checks the form of the conversation that the loop builds.
#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA_KEY, with a template that knows tools"]
fn the_conversation_of_the_loop_is_accepted() {
    watchdog(LIMIT, || {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let tool = Tool::function("weather", "The weather in a city.", schema);
        let call =
            |id, city: &str| ToolCall::new(id, "weather", json!({ "city": city }).to_string());
        let mut asked = Message::assistant("Let me look.");
        asked.tool_calls = vec![call("a", "Paris"), call("b", "Oslo"), call("c", "Rome")];
        let question = Message::user("Where is it warm?");
        for protocol in PROTOCOLS {
            let config = llama(protocol)
                .base_url(server("KERB_STREAM_LLAMA_KEY") + "/v1")
                .api_key("k")
                .tools([tool.clone()]);
            let mut stream =
                generate_stream([question.clone(), asked.clone()], &config).run_tools(|call| {
                    match call.id.as_str() {
                        "b" => Err(anyhow::anyhow!("no such city")),
                        _ => Ok(format!("21 degrees: {}", call.arguments)),
                    }
                });
            stream.by_ref().for_each(|chunk| drop(chunk.unwrap()));
            let added = stream.new_messages();
            let [first, failed, last, said] = &*added else { panic!("{protocol}: {added:?}") };
            assert_eq!((first.is_error, failed.is_error, last.is_error), (false, true, false));
            assert!(!said.content.is_empty(), "{protocol}");
            // The server has read the calls and their results.
            let long = stream.into_response().unwrap().usage.unwrap().prompt_tokens;
            let short = ask([question.clone()], &config).whole().usage.unwrap().prompt_tokens;
            assert!(long > short + 60, "{protocol}: {long} after {short}");
        }
    });
}

/// llama.cpp parses the arguments of calls as JSON, and responds with 500 to any history in which
/// they are invalid.
#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn a_malformed_call_does_not_poison_the_conversation() {
    watchdog(LIMIT, || {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let tool = Tool::function("weather", "The weather in a city.", schema);
        let mut asked = Message::assistant("");
        asked.tool_calls = vec![ToolCall::new("call-a", "weather", r#"{"city":"Os"#)];
        let history =
            [Message::user("Q"), asked, Message::tool_error("call-a", "that is not JSON")];
        for protocol in PROTOCOLS {
            let config = llama(protocol).tools([tool.clone()]).max_tokens(4);
            // The content depends on the model and may be empty, so it is not checked.
            ask(&history, &config).whole();
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn tools_are_accepted_with_their_history() {
    watchdog(LIMIT, || {
        let tool = Tool::function(
            "get_weather",
            "The weather in a city",
            json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
        );
        // This turn is written by hand, because such a small model calls no tools.
        let mut asked = Message::assistant("");
        asked.tool_calls = vec![ToolCall::new("call-a", "get_weather", r#"{"city": "Paris"}"#)];
        let history = [
            Message::user("What is the weather in Paris?"),
            asked,
            Message::tool("call-a", "21 degrees, sunny"),
        ];
        for protocol in PROTOCOLS {
            for choice in [ToolChoice::Auto, ToolChoice::Required, ToolChoice::None] {
                let config = llama(protocol).tools([tool.clone()]).tool_choice(choice);
                assert!(ask(&history, &config).whole().finish_reason.is_some());
            }
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn an_answer_is_cancelled_in_its_middle() {
    watchdog(LIMIT, || {
        for protocol in PROTOCOLS {
            let long = llama(protocol).max_tokens(2000).extra("ignore_eos", true);
            let mut stream = generate_stream("Count to a thousand.", &long);
            // Messages sends usage before the text.
            while stream.response().content.is_empty() {
                stream.next().unwrap().unwrap();
            }
            let cancel = stream.cancel_handle();
            let canceller = thread::spawn(move || {
                thread::sleep(Duration::from_millis(100));
                cancel.cancel();
                Instant::now()
            });
            let error = stream.find_map(Result::err).expect("an error");
            let took = canceller.join().unwrap().elapsed();
            assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Cancelled), "{protocol}: {error:#}");
            assert!(took < Duration::from_millis(50), "{protocol}: {took:?}");
            assert!(stream.next().is_none());
            assert!(!stream.response().content.is_empty());
            // Dropping a stream must not disturb the next one either.
            let mut dropped = generate_stream("Count to a thousand.", &long);
            dropped.next().unwrap().unwrap();
            drop(dropped);
            let started = Instant::now();
            assert!(!ask("Hi", &llama(protocol)).whole().content.is_empty());
            assert!(started.elapsed() < Duration::from_secs(30), "the server went on writing");
        }
    });
}

#[test]
#[ignore = "needs llama.cpp at $KERB_STREAM_LLAMA"]
fn several_threads_ask_at_once() {
    watchdog(LIMIT, || {
        thread::scope(|scope| {
            let ask = |_| scope.spawn(|| ask("Hi", &llama(Protocol::ChatCompletions)).whole());
            let answers: Vec<_> = (0..6).map(ask).collect();
            for answer in answers {
                assert_eq!(answer.join().unwrap().finish_reason, Some(FinishReason::Stop));
            }
        });
    });
}
