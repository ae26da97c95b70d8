//! Recorded responses in the loop that runs tools: which calls run, and what is sent next.
//!
//! The recordings are beside the checkout, in the folder that `KERB_STREAM_SHARED` names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kerb_stream::{
    Activity, Environment, FinishReason, Message, MessageRole, Protocol, Tool, ToolCall,
    generate_stream,
};
use serde_json::{Value, json};

use super::recorded_requests::{
    CHAT, COHERE, GEMINI, MESSAGES, Normalisation, RESPONSES, Reader, asked, blocks, chat, cohere,
    contents, each, items, needed, remove,
};
use super::recordings::{self, READ, SETS};
use crate::support::{answers, shared};

/// How a folder is read: its name, its protocol, and the name of the request's field with the
/// conversation.
type Folder = (&'static str, Protocol, &'static str, Reader, &'static [Normalisation]);

const FOLDERS: [Folder; 5] = [
    ("openai-chat", Protocol::ChatCompletions, "messages", chat, CHAT),
    ("openai-responses", Protocol::Responses, "input", items, RESPONSES),
    ("anthropic-messages", Protocol::Messages, "messages", blocks, MESSAGES),
    ("google-gemini", Protocol::GenerateContent, "contents", contents, GEMINI),
    ("cohere-v2", Protocol::CohereChat, "messages", cohere, COHERE),
];

/// What the clients that made the recordings lose or change. That we send it word for word is
/// tested in `round_trip`.
const LOST: &[Normalisation] = &[
    ("reasoning", |body| {
        each(body, "messages", |message| {
            for name in ["reasoning", "reasoning_content", "reasoning_details"] {
                remove(message, name);
            }
            if message["content"][0]["type"] == "thinking" {
                remove(message, "content");
            }
        });
        if let Some(items) = body.get_mut("input").and_then(Value::as_array_mut) {
            items.retain(|item| item["type"] != "reasoning");
        }
    }),
    ("the white space in arguments", |body| {
        let compact = |call: &mut Value| {
            if let Some(json) = call["arguments"].as_str() {
                call["arguments"] = serde_json::from_str(json).unwrap();
            }
        };
        each(body, "messages", |message| {
            each(message, "tool_calls", |call| compact(&mut call["function"]));
        });
        each(body, "input", |item| {
            if item["type"] == "function_call" {
                compact(item);
            }
        });
    }),
    ("the id of a call, before which one client puts that of the response", |body| {
        each(body, "input", |item| {
            if let Some(id) = item["call_id"].as_str() {
                item["call_id"] = id.rsplit(':').next().unwrap().into();
            }
        });
    }),
    ("an id where Gemini gives none", |body| {
        each(body, "contents", |turn| {
            each(turn, "parts", |part| {
                for name in ["functionCall", "functionResponse"] {
                    part.get_mut(name).into_iter().for_each(|call| remove(call, "id"));
                }
            });
        });
    }),
];

/// Conversations that went on otherwise, and how.
const OTHERWISE: [(&str, &str); 3] = [
    ("google.multi-tool-streaming.1.04190655", "the response before it was not recorded"),
    ("avian.multi-tool-streaming.1.93410852", "the client lost the text beside the calls"),
    ("openrouter.cassettes-eve-v0-cassette.3.a410f293", "the results came in another order"),
];

/// A recorded request whose conversation is longer than that of another one by the response to it
/// and the results: the loop sends the same.
#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn the_next_request_of_a_recorded_conversation_is_the_one_that_was_sent() {
    let (mut counts, mut used) = (BTreeMap::new(), BTreeSet::new());
    for (folder, protocol, field, read, known) in FOLDERS {
        for (before, after) in SETS.iter().flat_map(|set| pairs(&shared(set).join(folder), field)) {
            let [first, second] = [&before, &after].map(|path| recordings::json(path));
            let bodies =
                [&before, &after].map(|it| std::fs::read(it.with_extension("sse")).unwrap());
            let server = answers(bodies);
            let both = [&first, &second].map(|case| asked(case, protocol, read));
            let [Ok((prompt, config)), Ok((conversation, _))] = both else { continue };
            let mut results = conversation.into_iter().skip(prompt.len() + 1);
            // In some, a response between the two was not recorded.
            if results.clone().any(|message| message.role != MessageRole::Tool) {
                continue;
            }
            // The tools are those that the response calls, whatever else was declared.
            let called = first["expected"]["tool_calls"].as_array().unwrap().iter();
            let tools =
                called.map(|call| Tool::function(call["name"].as_str().unwrap(), "", json!({})));
            let mut config = config.base_url(server.url()).max_turns(2).tools(tools);
            config.extra_body.remove("tools");
            let stream = generate_stream(prompt, config);
            let mut stream = stream.run_tools(|_| {
                let result = results.next().unwrap();
                if result.is_error {
                    Err(anyhow::Error::msg(result.content))
                } else {
                    Ok(result.content)
                }
            });
            // The second response may call tools again.
            stream.by_ref().for_each(drop);
            let turns = stream.responses().len();
            drop(stream);
            assert_eq!((turns, results.count()), (2, 0), "{}", before.display());
            let sent = server.requests()[1].json();
            let sent = json!({field: sent[field]});
            let mut expected = json!({field: second["request"]["body"][field]});
            if let Some(instructions) = second["request"]["body"].get("instructions") {
                expected["instructions"] = instructions.clone();
            }
            let known = [known, LOST].concat();
            let needed = needed(&known, &sent, &expected);
            if OTHERWISE.iter().any(|(name, _)| after.ends_with(format!("{name}.json"))) {
                assert!(needed.is_err(), "{}", after.display());
                continue;
            }
            match needed {
                Ok(names) => used.extend(names),
                Err((ours, theirs)) => {
                    panic!("{}:\n  ours   {ours}\n  theirs {theirs}", after.display())
                }
            }
            *counts.entry(folder).or_insert(0) += 1;
        }
    }
    let expected = [
        ("anthropic-messages", 1),
        ("cohere-v2", 1),
        ("google-gemini", 2),
        ("openai-chat", 13),
        ("openai-responses", 8),
    ];
    assert_eq!(counts, expected.into());
    for (name, _) in LOST {
        assert!(used.contains(name), "no longer needed: {name}");
    }
}

/// Calls `f` for each element of a list and each block of its content.
fn each_block(messages: &mut Value, f: &dyn Fn(&mut Value)) {
    for message in messages.as_array_mut().into_iter().flatten() {
        each(message, "content", f);
        f(message);
    }
}

/// Returns the recorded requests that follow on another one after its calls have run.
fn pairs(folder: &Path, field: &str) -> Vec<(PathBuf, PathBuf)> {
    let mut cases = Vec::new();
    for path in recordings::cases(folder) {
        let case = recordings::json(&path);
        let mut messages = case["request"]["body"][field].clone();
        each_block(&mut messages, &|block| remove(block, "cache_control"));
        if messages.is_string() {
            messages = json!([{"type": "message", "role": "user", "content": messages}]);
        }
        if let Value::Array(messages) = messages {
            let calls = case["expected"]["tool_calls"].as_array().cloned().unwrap_or_default();
            cases.push((path, messages, calls, case["provider"].clone()));
        }
    }
    let mut pairs = Vec::new();
    for (after, longer, _, from) in &cases {
        let before = cases.iter().filter(|(_, messages, calls, provider)| {
            let more = longer.strip_prefix(&**messages).unwrap_or_default();
            let more = Value::from(more).to_string();
            let has = |call: &Value| {
                let id = call["id"].as_str().or(call["name"].as_str());
                id.is_some_and(|id| more.contains(id))
            };
            provider == from && !calls.is_empty() && calls.iter().all(has)
        });
        let before = before.max_by_key(|(path, messages, ..)| {
            let names = [path, after].map(|path| path.file_name().unwrap().as_encoded_bytes());
            let same = names[0].iter().zip(names[1]).take_while(|(one, other)| one == other);
            (messages.len(), same.count())
        });
        pairs.extend(before.map(|(before, ..)| (before.clone(), after.clone())));
    }
    pairs
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn only_the_callers_tools_run_and_only_after_a_response_that_waits_for_them() {
    let (mut waiting, mut ran, mut hosted) = (0, 0, 0);
    for (path, protocol) in READ.iter().flat_map(|(folder, protocol, _)| {
        let cases = SETS.iter().flat_map(move |set| recordings::cases(&shared(set).join(folder)));
        cases.map(|path| (path, *protocol))
    }) {
        let case = recordings::json(&path);
        let body = std::fs::read(path.with_extension("sse")).unwrap();
        // The second time, the tools are declared.
        let server = answers([body.clone(), body]);
        let config = recordings::config(&case)
            .protocol(protocol)
            .base_url(server.url())
            .api_key("k")
            .environment(Environment::empty())
            .max_retries(0);
        let response = generate_stream("Q", config.clone().max_turns(1)).into_response();
        let is_whole = response.is_ok();
        let calls = response.map(|response| response.tool_calls).unwrap_or_default();
        let mut names: Vec<_> = calls.iter().map(|call| call.name.clone()).collect();
        names.push("unused".to_owned());
        names.sort();
        names.dedup();
        let tool = |name| Tool::function(name, "", json!({"type": "object"}));
        let config = config.tools(names.into_iter().map(tool).collect::<Vec<_>>());

        let mut run: Vec<ToolCall> = Vec::new();
        let mut stream = generate_stream("Q", &config).run_tools(|call| {
            run.push(call.clone());
            Ok("R".to_owned())
        });
        let chunks = stream.by_ref().filter_map(Result::ok);
        let is_hosted =
            |activity: &Activity| matches!(activity, Activity::ToolStarted { hosted: true, .. });
        hosted += chunks.filter(|chunk| chunk.activity.iter().any(is_hosted)).count();
        let (first, messages) = (stream.responses()[0].clone(), stream.new_messages());
        drop(stream);
        let requests = server.requests().split_off(1);
        let is_waiting = is_whole && first.finish_reason == Some(FinishReason::ToolCalls);
        let is_paused = is_whole && first.raw_finish_reason.as_deref() == Some("pause_turn");
        assert_eq!(requests.len(), 1 + usize::from(is_waiting || is_paused), "{}", path.display());
        let good = calls.iter().filter(|call| is_waiting && call.parse::<Value>().is_ok());
        assert_eq!(run, good.cloned().collect::<Vec<_>>(), "{}", path.display());
        ran += run.len();
        if is_waiting {
            waiting += 1;
            // The second request is that of a program which keeps the history itself.
            let mut history = vec![Message::user("Q"), Message::from(&first)];
            for (call, told) in calls.iter().zip(&messages[1..]) {
                let is_good = call.parse::<Value>().is_ok();
                assert_eq!((told.role, told.is_error), (MessageRole::Tool, !is_good));
                assert_eq!(told.tool_call_id.as_ref(), Some(&call.id));
                history.push(told.clone());
            }
            let by_hand = generate_stream(history, config).request().unwrap();
            assert_eq!(by_hand.body, requests[1].json(), "{}", path.display());
        }
    }
    assert_eq!((waiting, ran, hosted), (234, 296, 103));
}
