//! Tools that run in the loop: what `run_tools` promises, on every protocol.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::bail;
use kerb_stream::{
    Activity, Error, ErrorKind, FinishReason, GenerationConfig, GenerationStream, Message,
    Protocol, Tool, generate_stream,
};
use serde_json::{Value, json};

use crate::support::shapes::Shape;
use crate::support::{Server, answers, config};

/// Returns a response that calls `f` with these arguments.
fn calls(protocol: Protocol, arguments: &[&str]) -> String {
    let shape = Shape(protocol);
    let calls = (0..).zip(arguments).map(|(at, json)| shape.call(at, &[json]));
    let ending = shape.stop() + &shape.usage() + &shape.done();
    shape.start() + &calls.collect::<String>() + &ending
}

fn at(server: &Server, protocol: Protocol) -> GenerationConfig {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let tools = [Tool::function("f", "Counts.", schema)];
    config(server.url()).protocol(protocol).tools(tools)
}

/// Returns each activity as `f(arguments)` for the start and `f = output` for the end.
fn line(activity: &Activity) -> String {
    match activity {
        Activity::ToolStarted { name, input, hosted: false, .. } => format!("{name}({input})"),
        Activity::ToolFinished { name, output, is_error, hosted: false, .. } => {
            format!("{name} {} {output}", if *is_error { "!" } else { "=" })
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_run_in_order_and_the_model_gets_the_results() {
    for &protocol in Protocol::ALL {
        let two = calls(protocol, &["{\"n\":1}", "{\"n\":2}"]);
        let server = answers([two, Shape(protocol).whole(&["Three", "."])]);
        // The loop and the tools note what happens, in one order.
        let log = RefCell::new(Vec::new());
        let mut stream = generate_stream("Count.", at(&server, protocol)).run_tools(|call| {
            log.borrow_mut().push(format!("run {}", call.arguments));
            Ok(format!("got {}", call.parse::<Value>()?["n"]))
        });
        for chunk in &mut stream {
            let chunk = chunk.unwrap();
            log.borrow_mut().extend(chunk.activity.iter().map(line));
            log.borrow_mut().extend((!chunk.content.is_empty()).then_some(chunk.content.clone()));
        }
        let expected = [
            "f({\"n\":1})",
            "run {\"n\":1}",
            "f = got 1",
            "f({\"n\":2})",
            "run {\"n\":2}",
            "f = got 2",
            "Three",
            ".",
        ];
        assert_eq!(*log.borrow(), expected, "{protocol}");
        let [first, second] = stream.responses() else { panic!() };
        assert_eq!(first.finish_reason, Some(FinishReason::ToolCalls));
        // Each response has its own usage.
        assert_eq!(first.usage.map(|usage| usage.total_tokens), Some(8), "{protocol}");
        assert_eq!(second.usage.is_some(), protocol != Protocol::ChatCompletions);
        let messages = stream.new_messages();
        assert_eq!(messages.len(), 4, "{protocol}: {messages:?}");
        assert_eq!((&*messages[1].content, &*messages[3].content), ("got 1", "Three."));
        // The second request has the turn and the results.
        let requests = server.requests();
        assert_eq!(requests.len(), 2, "{protocol}");
        let second = requests[1].json().to_string();
        assert!(second.contains("got 1") && second.contains("got 2"), "{protocol}: {second}");
        // A history that is sent by hand gives the same request.
        let mut history = vec![Message::user("Count.")];
        history.extend(messages.into_iter().take(3));
        let by_hand = generate_stream(&history, at(&server, protocol)).request().unwrap();
        assert_eq!(by_hand.body, requests[1].json(), "{protocol}");
        let response = stream.into_response().unwrap();
        assert_eq!(response.content, "Three.", "{protocol}");
    }
}

#[test]
fn what_cannot_run_is_told_to_the_model() {
    for &protocol in Protocol::ALL {
        let mut bodies = vec![
            calls(protocol, &["{\"n\":1}"]),
            calls(protocol, &["{\"n\":2}"]).replace("\"f\"", "\"other\""),
        ];
        // Gemini's arguments are JSON already.
        let is_gemini = protocol == Protocol::GenerateContent;
        bodies.push(calls(protocol, &[if is_gemini { "[]" } else { "[1" }]));
        bodies.push(Shape(protocol).whole(&["Well."]));
        let server = answers(bodies);
        let mut ran = 0;
        let mut stream = generate_stream("Count.", at(&server, protocol)).run_tools(|_| {
            ran += 1;
            Err(anyhow::anyhow!("no network").context("it failed"))
        });
        let finished = stream.by_ref().flat_map(|chunk| chunk.unwrap().activity.clone());
        let finished: Vec<_> = finished.map(|it| line(&it)).filter(|it| it.contains('!')).collect();
        assert_eq!(
            finished[..2],
            ["f ! it failed: no network", "other ! there is no tool \"other\""]
        );
        let malformed = &finished[2];
        assert!(is_gemini || malformed.contains("are not JSON"), "{protocol}: {malformed}");
        let messages = stream.new_messages();
        let failed = messages.iter().filter(|message| message.is_error).count();
        assert_eq!(failed, 3, "{protocol}");
        drop(stream);
        assert_eq!(ran, 1 + usize::from(is_gemini), "{protocol}");
    }
}

#[test]
fn a_response_that_is_not_whole_runs_nothing() {
    for &protocol in Protocol::ALL {
        let shape = Shape(protocol);
        let begun = shape.start() + &shape.text("Let me see. ") + &shape.call(1, &["{\"n\":1}"]);
        let server = answers([begun]);
        let mut stream = generate_stream("Count.", at(&server, protocol))
            .run_tools(|_| panic!("a cut response runs no tool"));
        assert!(stream.new_messages().is_empty());
        while stream.response().content.is_empty() {
            stream.next().unwrap().unwrap();
        }
        let [said] = &*stream.new_messages() else { panic!() };
        assert_eq!(*said, Message::assistant("Let me see. "), "{protocol}");
        let error = stream.by_ref().last().unwrap().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Incomplete), "{protocol}");
        // Its text goes on as a plain message.
        let [said] = &*stream.new_messages() else { panic!() };
        assert_eq!((&*said.content, said.tool_calls.len()), ("Let me see. ", 0), "{protocol}");
        assert!(stream.into_response().is_err());
    }
}

#[test]
fn results_count_towards_the_largest_response() {
    for &protocol in Protocol::ALL {
        let two = calls(protocol, &["{\"n\":1}", "{\"n\":2}"]);
        let server = answers([calls(protocol, &["{\"n\":0}"]), two]);
        let config = at(&server, protocol).max_response_bytes(100_000);
        let mut stream = generate_stream("Count.", config).run_tools(|_| Ok("x".repeat(60_000)));
        let error = stream.by_ref().last().unwrap().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Limit), "{protocol}");
        let says = "with the result of \"f\", the results of tools are larger than 100000 bytes; \
                    raise `max_response_bytes`";
        assert!(error.to_string().contains(says), "{error}");
        // The last call is open, and those before it have their results.
        let messages = stream.new_messages();
        assert_eq!(messages.len(), 4, "{protocol}");
        assert_eq!((messages[2].tool_calls.len(), messages[3].content.len()), (2, 60_000));
    }
}

#[test]
fn each_answer_may_have_a_list() {
    for &protocol in Protocol::ALL {
        let shape = Shape(protocol);
        let body = shape.start() + &shape.text("I count: [1, 2") + &shape.call(1, &["{\"n\":1}"]);
        let server = answers([body + &shape.ending(), shape.whole(&["So: [3", ", 4]."])]);
        let mut stream =
            generate_stream("Count.", at(&server, protocol)).run_tools(|_| Ok("x".into()));
        let numbers: Vec<_> = stream.elements::<i32>("").map(Result::unwrap).collect();
        assert_eq!(numbers, [1, 3, 4], "{protocol}");

        // Between two turns, the elements are those of the next one.
        let body = shape.start() + &shape.text("[1]") + &shape.call(1, &["{}"]) + &shape.ending();
        let server = answers([body, shape.whole(&["[3]"])]);
        let mut stream =
            generate_stream("Count.", at(&server, protocol)).run_tools(|_| Ok("x".into()));
        assert!(stream.any(|chunk| !chunk.unwrap().activity.is_empty()));
        let numbers: Vec<_> = stream.elements::<i32>("").map(Result::unwrap).collect();
        assert_eq!(numbers, [3], "{protocol}");
    }
}

#[test]
fn the_texts_of_two_turns_are_written_apart() {
    for &protocol in Protocol::ALL {
        let shape = Shape(protocol);
        let two = shape.call(1, &["{\"n\":1}"]) + &shape.call(2, &["{\"n\":2}"]);
        let body = shape.start() + &shape.text("Let me see.") + &two + &shape.ending();
        let bodies = vec![body, calls(protocol, &["{}"]), shape.whole(&["So: ", "3."])];
        let mut out = Vec::new();
        let stream = generate_stream("Count.", at(&answers(bodies), protocol));
        let response = stream.run_tools(|_| Ok("x".into())).write_to(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "Let me see.\n\nSo: 3.", "{protocol}");
        assert_eq!(response.content, "So: 3.");

        // After the last text there is nothing.
        let (mut out, body) = (Vec::new(), shape.start() + &shape.text("See.") + &two);
        let server = answers([body + &shape.ending()]);
        let stream = generate_stream("Count.", at(&server, protocol));
        assert!(stream.run_tools(|_| Ok("x".into())).write_to(&mut out).is_err());
        assert_eq!(out, b"See.", "{protocol}");
    }
}

#[test]
fn turns_are_limited() {
    for &protocol in Protocol::ALL {
        let server = answers(vec![calls(protocol, &["{\"n\":1}"]); 3]);
        let mut ran = 0;
        let config = at(&server, protocol).max_turns(3);
        let mut stream = generate_stream("Count.", config).run_tools(|_| {
            ran += 1;
            Ok("one".into())
        });
        let error = stream.by_ref().last().unwrap().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Limit), "{protocol}");
        assert!(
            error
                .to_string()
                .contains("the model has not finished, and `max_turns` is 3; raise it"),
            "{error}"
        );
        assert_eq!(stream.responses().len(), 3);
        // The last call is open, and another stream would run it.
        let messages = stream.new_messages();
        assert_eq!((messages.len(), messages[4].tool_calls.len()), (5, 1), "{protocol}");
        drop(stream);
        assert_eq!((ran, server.requests().len()), (2, 3), "{protocol}");
    }
}

#[test]
fn open_calls_run_before_anything_is_sent() {
    for &protocol in Protocol::ALL {
        let first = answers([calls(protocol, &["{\"n\":1}", "{\"n\":2}"])]);
        let asked = generate_stream("Count.", at(&first, protocol)).into_response().unwrap();
        let server = answers([Shape(protocol).whole(&["Done."])]);
        let mut history = vec![Message::user("Count."), Message::from(&asked)];
        history.push(Message::tool(&asked.tool_calls[0].id, "one"));
        let saved = serde_json::to_string(&history).unwrap();
        let history: Vec<Message> = serde_json::from_str(&saved).unwrap();
        let mut ran = Vec::new();
        let stream = generate_stream(&history, at(&server, protocol)).run_tools(|call| {
            assert!(server.requests().is_empty());
            ran.push(call.arguments.clone());
            Ok("two".into())
        });
        let error = stream.request().unwrap_err().to_string();
        assert!(error.contains("the tools run first"), "{error}");
        let mut stream = stream;
        assert!(stream.by_ref().all(|chunk| chunk.is_ok()), "{protocol}");
        let added = stream.new_messages();
        assert_eq!((&*added[0].content, &*added[1].content), ("two", "Done."), "{protocol}");
        drop(stream);
        assert_eq!(ran, ["{\"n\":2}"], "{protocol}");
    }
}

#[test]
fn open_calls_do_not_run_if_the_request_cannot_be_sent() {
    for &protocol in Protocol::ALL {
        let mut asked = Message::assistant("");
        asked.tool_calls = vec![kerb_stream::ToolCall::new("a", "f", "{}")];
        let history = [Message::user("Count."), asked];
        let config = at(&answers([""]), protocol).temperature(f64::NAN);
        let mut stream = generate_stream(&history[..], config)
            .run_tools(|_| panic!("its result could not be sent"));
        let error = stream.next().unwrap().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Config), "{protocol}");
        assert_eq!((stream.new_messages().len(), stream.responses().len()), (0, 0));
    }
}

#[test]
fn between_two_responses_the_latest_one_is_the_whole_one() {
    for &protocol in Protocol::ALL {
        let server = answers([calls(protocol, &["{\"n\":1}"])]);
        let mut stream =
            generate_stream("Count.", at(&server, protocol)).run_tools(|_| Ok("one".into()));
        let is_end = |it: &Activity| matches!(it, Activity::ToolFinished { .. });
        assert!(stream.any(|chunk| chunk.unwrap().activity.iter().any(is_end)));
        stream.cancel_handle().cancel();
        assert!(stream.next().unwrap().is_err());
        assert_eq!((stream.responses().len(), stream.response().tool_calls.len()), (1, 1));
        assert_eq!(stream.new_messages().len(), 2, "{protocol}");
    }
}

/// Anthropic has tools that it knows, but that the caller's program runs.
#[test]
fn a_tool_of_the_provider_that_the_program_runs_is_declared() {
    let body = calls(Protocol::Messages, &["{}"]).replace("\"f\"", "\"bash\"");
    let server = answers([body, Shape(Protocol::Messages).whole(&["Done."])]);
    let bash = Tool::hosted(json!({"type": "bash_20250124", "name": "bash"}));
    let config = at(&server, Protocol::Messages).tools([bash]);
    let mut ran = 0;
    let stream = generate_stream("List.", config).run_tools(|call| {
        ran += usize::from(call.name == "bash");
        Ok("a.txt".into())
    });
    assert_eq!(stream.into_response().unwrap().content, "Done.");
    assert_eq!(ran, 1);
}

#[test]
fn a_turn_that_is_only_a_picture_is_a_message() {
    let part = json!({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}});
    let content = json!({"parts": [part], "role": "model"});
    let event = json!({"candidates": [{"content": content, "finishReason": "STOP"}]});
    let server = answers([format!("data: {event}\n\n"), String::new()]);
    let config = at(&server, Protocol::GenerateContent).provider(kerb_stream::LlmProvider::Google);
    let config = config.api_key("k").base_url(server.url());
    let mut stream = generate_stream("Draw.", &config);
    assert!(stream.by_ref().all(|chunk| chunk.is_ok()));
    let mut history = vec![Message::user("Draw.")];
    history.extend(stream.new_messages());
    history.push(Message::user("Bigger."));
    let sent = generate_stream(&history, &config).request().unwrap().body;
    assert_eq!(sent["contents"][1]["parts"][0]["inlineData"]["data"], "iVBORw0KGgo=", "{sent}");
}

#[test]
fn a_cancelled_tool_leaves_its_call_open() {
    for &protocol in Protocol::ALL {
        let server = answers([calls(protocol, &["{\"n\":1}", "{\"n\":2}"])]);
        let handle = RefCell::new(None::<kerb_stream::CancelHandle>);
        let mut stream = generate_stream("Count.", at(&server, protocol)).run_tools(|call| {
            if call.arguments.contains('2') {
                handle.borrow().as_ref().unwrap().cancel();
            }
            Ok("one".into())
        });
        *handle.borrow_mut() = Some(stream.cancel_handle());
        let error = stream.by_ref().last().unwrap().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Cancelled), "{protocol}");
        assert!(stream.next().is_none());
        let messages = stream.new_messages();
        assert_eq!((messages.len(), &*messages[1].content), (2, "one"), "{protocol}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_tool_that_is_announced_does_not_run_after_a_cancel() {
    for &protocol in Protocol::ALL {
        let server = answers([calls(protocol, &["{\"n\":1}"])]);
        let config = at(&server, protocol);
        let mut stream =
            generate_stream("Count.", config).run_tools(|_| panic!("it was cancelled"));
        assert!(stream.any(|chunk| !chunk.unwrap().activity.is_empty()));
        stream.cancel_handle().cancel();
        let error = stream.next().unwrap().unwrap_err();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Cancelled));
        let [turn] = &*stream.new_messages() else { panic!() };
        assert_eq!(turn.tool_calls.len(), 1);
    }
}

#[test]
fn after_a_panic_in_a_tool_there_is_nothing() {
    for &protocol in Protocol::ALL {
        let server = answers([calls(protocol, &["{\"n\":1}"])]);
        let config = at(&server, protocol);
        let mut stream =
            generate_stream("Count.", config).run_tools(|_| panic!("a bug in the tool"));
        let started = stream.by_ref().find(|chunk| !chunk.as_ref().unwrap().activity.is_empty());
        assert_eq!(line(&started.unwrap().unwrap().activity[0]), "f({\"n\":1})");
        assert!(catch_unwind(AssertUnwindSafe(|| stream.next())).is_err());
        assert!(stream.next().is_none() && stream.next().is_none());
        assert!(Error::of(&stream.into_response().unwrap_err()).is_some());
    }
}

#[test]
fn a_panic_in_the_callback_between_two_tools_is_an_error() {
    for &protocol in Protocol::ALL {
        let server = answers([calls(protocol, &["{\"n\":1}"])]);
        let config = at(&server, protocol);
        let callback = |chunk: &kerb_stream::StreamChunk| {
            assert!(chunk.activity.is_empty(), "a bug in the callback");
        };
        let mut stream =
            generate_stream("Count.", config).callback(callback).run_tools(|_| Ok("x".into()));
        let all = catch_unwind(AssertUnwindSafe(|| stream.by_ref().for_each(drop)));
        assert!(all.is_err());
        assert!(stream.next().unwrap().is_err() && stream.next().is_none());
        // The response before is still there.
        assert_eq!((stream.responses().len(), stream.response().tool_calls.len()), (1, 1));
        assert!(stream.into_response().is_err());
    }
}

#[test]
fn tools_have_to_be_declared() {
    for &protocol in Protocol::ALL {
        let server = answers([""]);
        for tools in [vec![], vec![Tool::hosted(json!({"type": "x"}))]] {
            let config = at(&server, protocol).tools(tools);
            let mut stream = generate_stream("Hi", config).run_tools(|_| Ok("x".into()));
            let previewed = stream.request().unwrap_err().to_string();
            let error = stream.next().unwrap().unwrap_err();
            assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Config));
            assert_eq!(error.to_string(), previewed);
            assert!(previewed.contains("`run_tools` needs the functions"), "{error}");
        }
        assert!(server.requests().is_empty());
        let config = at(&server, protocol);
        let body = std::io::Cursor::new(calls(protocol, &["{}"]));
        let mut stream = GenerationStream::from_reader(body, config).run_tools(|_| Ok("x".into()));
        let error = stream.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("the response comes from a reader"), "{error}");
    }
}

#[test]
fn a_pause_goes_on_as_one_stream() {
    let shape = Shape(Protocol::Messages);
    let pause = shape.start() + &shape.text("I search. ") + &shape.stop_for("pause_turn");
    let paused = answers([pause.clone() + &shape.done(), shape.whole(&["Found."])]);
    let mut stream = generate_stream("Search.", at(&paused, Protocol::Messages));
    let text: String = stream.by_ref().map(|chunk| chunk.unwrap().content).collect();
    assert_eq!(text, "I search. Found.");
    let messages = paused.requests()[1].json()["messages"].clone();
    assert!(messages[1]["content"].to_string().contains("I search. "), "{messages}");
    assert_eq!(stream.new_messages().len(), 2);
    assert_eq!(stream.into_response().unwrap().content, "Found.");

    // A list may go on after it.
    let begun = shape.start() + &shape.text("[1, ") + &shape.stop_for("pause_turn") + &shape.done();
    let paused_list = answers([begun, shape.whole(&["2]"])]);
    let mut stream = generate_stream("Search.", at(&paused_list, Protocol::Messages));
    let elements: Vec<i32> = stream.elements("").map(Result::unwrap).collect();
    assert_eq!(elements, [1, 2]);

    // A response from a reader does not go on.
    let body = std::io::Cursor::new(pause.clone() + &shape.done());
    let config = at(&paused, Protocol::Messages);
    let read = GenerationStream::from_reader(body, config).into_response().unwrap();
    assert_eq!(read.raw_finish_reason.as_deref(), Some("pause_turn"));
    assert_eq!(paused.requests().len(), 2);

    // A pause without an end is an error, and with `max_turns(1)` the caller sees the pause.
    let pause = pause + &shape.done();
    let paused = answers([pause.clone(), pause.clone(), pause.clone()]);
    let config = at(&paused, Protocol::Messages);
    let error = generate_stream("Search.", config.clone().max_turns(2)).into_response();
    let error = error.unwrap_err();
    assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Limit), "{error}");
    let response = generate_stream("Search.", config.max_turns(1)).into_response().unwrap();
    assert_eq!(response.finish_reason, Some(FinishReason::Other));
    assert_eq!(response.raw_finish_reason.as_deref(), Some("pause_turn"));

    // A pause may have no text.
    let block = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    let start = json!({"type": "content_block_start", "index": 0, "content_block": block});
    let silent = shape.event("message_start", r#"{"type":"message_start","message":{}}"#)
        + &shape.event("content_block_start", &start.to_string())
        + &shape.stop_for("pause_turn");
    let paused = answers([silent + &shape.done()]);
    let mut stream = generate_stream("Search.", at(&paused, Protocol::Messages).max_turns(1));
    assert!(stream.by_ref().all(|chunk| chunk.is_ok()));
    assert_eq!(stream.new_messages().len(), 1);

    // The word means nothing in other protocols.
    let shape = Shape(Protocol::ChatCompletions);
    let other = answers([shape.start()
        + &shape.text("Hi")
        + &shape.stop_for("pause_turn")
        + &shape.done()]);
    let config = at(&other, Protocol::ChatCompletions);
    assert_eq!(generate_stream("Hi", config).into_response().unwrap().content, "Hi");
}

#[test]
fn a_tool_may_end_the_loop_by_bailing_out_of_it() -> anyhow::Result<()> {
    let server = answers([
        calls(Protocol::ChatCompletions, &["{}"]),
        Shape(Protocol::ChatCompletions).whole(&["Ok."]),
    ]);
    let response = generate_stream("Count.", at(&server, Protocol::ChatCompletions))
        .run_tools(|call| match call.name.as_str() {
            "g" => Ok("x".to_owned()),
            _ => bail!("the person said no"),
        })
        .into_response()?;
    assert_eq!(response.content, "Ok.");
    assert!(server.requests()[1].json().to_string().contains("the person said no"));
    Ok(())
}

#[test]
fn a_call_without_a_result_is_told_as_not_run() {
    for &protocol in Protocol::ALL {
        let server = answers([calls(protocol, &["{\"n\":1}", "{\"n\":2}"])]);
        let asked = generate_stream("Count.", at(&server, protocol)).into_response().unwrap();
        let ids = [0, 1].map(|at| asked.tool_calls[at].id.clone());
        let history = [
            Message::user("Count."),
            Message::from(&asked),
            Message::tool(&ids[0], "one"),
            Message::user("Never mind."),
        ];
        let request = generate_stream(&history[..], at(&server, protocol)).request().unwrap();
        let body = request.body.to_string();
        let [one, not_run, never] =
            ["one", "not run", "Never mind."].map(|text| body.find(text).unwrap());
        assert!(one < not_run && not_run < never, "{protocol}: {body}");
        assert!(request.adaptations.iter().any(|it| it.sent.contains("not run")), "{protocol}");
        // At the end of the prompt, a program may still run them.
        let open = generate_stream(&history[..2], at(&server, protocol)).request().unwrap();
        assert!(!open.body.to_string().contains("not run"), "{protocol}");
    }
}
