//! Sources, hosted tools, pictures, sounds, log probabilities and retries arrive in the chunks, alike
//! for every protocol.

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};

use kerb_stream::{
    Activity, Environment, ErrorKind, GenerationConfig, GenerationStream, Protocol, generate_stream,
};
use serde_json::{Value, json};

use crate::support::{Outcome, Server};

/// Reads a stream of these events.
fn read(protocol: Protocol, events: &[Value]) -> Outcome {
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let config = GenerationConfig::default().protocol(protocol);
    Outcome::of(GenerationStream::from_reader(Cursor::new(body), config))
}

/// Returns the lines of the activity, each with the input or output.
fn activity(outcome: &Outcome) -> Vec<String> {
    let all = outcome.chunks.iter().flat_map(|chunk| &chunk.activity);
    all.map(|activity| match activity {
        Activity::ToolStarted { id, name, input, hosted: true, .. } => {
            format!("{id} {name} < {input}")
        }
        Activity::ToolFinished { id, name, output, is_error, hosted: true, .. } => {
            format!("{id} {name} > {output}{}", if *is_error { " (failed)" } else { "" })
        }
        other => panic!("{other:?}"),
    })
    .collect()
}

/// Returns each source with the text that it supports.
fn sources(outcome: &Outcome) -> Vec<String> {
    let response = &outcome.response;
    let sources = response.sources.iter().map(|source| {
        let cited = source.citations.iter().map(|citation| match &citation.span {
            Some(span) => response.content.get(span.clone()).unwrap(),
            None => "?",
        });
        let cited: Vec<_> = cited.collect();
        format!("{} {source} {cited:?}", source.number)
    });
    // The chunks tell the same, piece by piece.
    let in_chunks = outcome.chunks.iter().flat_map(|chunk| &chunk.sources);
    let in_chunks: usize = in_chunks.map(|source| source.citations.len()).sum();
    let in_response: usize = response.sources.iter().map(|source| source.citations.len()).sum();
    assert_eq!(in_chunks, in_response);
    sources.collect()
}

#[test]
fn what_a_search_finds_and_what_the_answer_cites() {
    let message = json!({"type": "message_start", "message": {"model": "m"}});
    let block = |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let text = |text: &str| json!({"type": "text_delta", "text": text});
    let outcome = read(
        Protocol::Messages,
        &[
            message,
            block(
                0,
                json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}),
            ),
            delta(0, json!({"type": "input_json_delta", "partial_json": "{\"query\": \"moon\"}"})),
            stop(0),
            block(
                1,
                json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": [
                    {"type": "web_search_result", "title": "A", "url": "https://a.example", "encrypted_content": "x"},
                    {"type": "web_search_result", "title": "B", "url": "https://b.example"},
                ]}),
            ),
            stop(1),
            block(2, json!({"type": "text", "text": ""})),
            delta(2, text("🌒 The moon ")),
            stop(2),
            block(3, json!({"type": "text", "text": ""})),
            delta(
                3,
                json!({"type": "citations_delta", "citation": {
                    "type": "web_search_result_location", "cited_text": "It is round.", "title": "B",
                    "url": "https://b.example",
                }}),
            ),
            delta(3, text("is röund")),
            stop(3),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
            json!({"type": "message_stop"}),
        ],
    );
    assert_eq!(
        sources(&outcome),
        ["1 A <https://a.example> []", "2 B <https://b.example> [\"is röund\"]"]
    );
    assert_eq!(outcome.response.sources[1].citations[0].quote, "It is round.");
    let lines = activity(&outcome);
    assert_eq!(lines[0], "s1 web_search < moon");
    assert!(
        lines[1].starts_with("s1 web_search > [") && !lines[1].contains("encrypted"),
        "{lines:?}"
    );

    let item =
        |item: Value| json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let search = json!({"type": "web_search_call", "id": "w1", "status": "in_progress"});
    let outcome = read(
        Protocol::Responses,
        &[
            json!({"type": "response.output_item.added", "output_index": 0, "item": search}),
            item(json!({"type": "web_search_call", "id": "w1", "status": "completed", "action":
                {"type": "search", "query": "moon", "sources": [{"url": "https://a.example"}]},
                "results": [{"filename": "moon.pdf", "text": "round"}]})),
            json!({"type": "response.output_item.added", "output_index": 1, "item":
                {"type": "message", "id": "m1", "phase": "final_answer"}}),
            json!({"type": "response.output_text.delta", "output_index": 1, "item_id": "m1", "content_index": 0,
                "delta": "🌒 Round ([b](https://b.example/x))."}),
            json!({"type": "response.output_text.annotation.added", "output_index": 1, "item_id": "m1",
                "content_index": 0, "annotation": {"type": "url_citation", "start_index": 9, "end_index": 33,
                "title": "B", "url": "https://b.example/x?utm_source=openai"}}),
            json!({"type": "response.completed", "response": {"status": "completed", "output": []}}),
        ],
    );
    assert_eq!(
        sources(&outcome),
        [
            "1 <https://a.example> []",
            "2 moon.pdf []",
            "3 B <https://b.example/x?utm_source=openai> [\"[b](https://b.example/x)\"]",
        ]
    );
    // A file without an ID is known by its name.
    assert_eq!(outcome.response.sources[1].id.as_deref(), Some("moon.pdf"));
    let lines = activity(&outcome);
    assert_eq!(lines[0], "w1 web_search < ");
    assert!(lines[1].starts_with("w1 web_search > {") && lines[1].contains("moon"), "{lines:?}");
    assert!(outcome.chunks.iter().any(|chunk| chunk.phase.as_deref() == Some("final_answer")));

    let outcome = read(
        Protocol::GenerateContent,
        &[
            json!({"candidates": [{"content": {"parts": [
                {"executableCode": {"language": "PYTHON", "code": "1+1"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "no"}},
            ]}}]}),
            json!({"candidates": [{"content": {"parts": [{"text": "Größe: it is round."}]}}]}),
            json!({"candidates": [{"finishReason": "STOP", "groundingMetadata": {
                "webSearchQueries": ["moon"],
                "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}},
                    {"web": {"uri": "https://b.example", "title": "B"}}],
                "groundingSupports": [{"segment": {"startIndex": 9, "endIndex": 22, "text": "it is round."},
                    "groundingChunkIndices": [1]}, {"segment": {"startIndex": 9, "endIndex": 21,
                    "text": "it is round."}, "groundingChunkIndices": [1, 7]}],
            }}]}),
        ],
    );
    // A place is told only if the words are there.
    assert_eq!(
        sources(&outcome),
        ["1 B <https://b.example> [\"?\", \"it is round.\"]", "2 A <https://a.example> []"]
    );
    assert_eq!(
        activity(&outcome),
        [
            "1 code_execution < 1+1",
            "1 code_execution > no (failed)",
            "2 google_search < moon",
            "2 google_search > ",
        ]
    );

    let outcome = read(
        Protocol::CohereChat,
        &[
            json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}),
            json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "日本 is far."}}}}),
            json!({"type": "citation-start", "index": 0, "delta": {"message": {"citations": {"start": 6, "end": 10,
                "text": "far.", "type": "TEXT_CONTENT", "sources": [
                    {"type": "document", "id": "d1", "document": {"title": "Maps"}}]}}}}),
            json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}),
        ],
    );
    assert_eq!(sources(&outcome), ["1 Maps [\"far.\"]"]);
    assert_eq!(outcome.response.sources[0].id.as_deref(), Some("d1"));

    let choice = |delta: Value, reason: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    let page = json!(["https://a.example", "https://b.example"]);
    let outcome = read(
        Protocol::ChatCompletions,
        &[
            json!({"citations": page, "search_results": [{"url": "https://a.example", "title": "A"}], "choices":
                [{"delta": {"content": "é Round[1]."}}]}),
            json!({"citations": page, "choices": [{"delta": {"content": " Yes."}}]}),
            choice(
                json!({"annotations": [{"type": "url_citation", "url_citation": {"start_index": 2,
                    "end_index": 7, "url": "https://c.example", "title": "C", "content": "A ball."}}]}),
                Value::Null,
            ),
            choice(
                json!({"executed_tools": [{"index": 3, "type": "search", "arguments": "{\"query\": \"moon\"}"}]}),
                Value::Null,
            ),
            choice(
                json!({"executed_tools": [{"index": 3, "type": "search", "output": "found", "search_results":
                    {"results": [{"url": "https://b.example", "title": "B"}]}}]}),
                json!("stop"),
            ),
        ],
    );
    assert_eq!(
        sources(&outcome),
        [
            "1 A <https://a.example> []",
            "2 B <https://b.example> []",
            "3 C <https://c.example> [\"Round\"]",
        ]
    );
    assert_eq!(outcome.response.sources[2].citations[0].quote, "A ball.");
    assert_eq!(activity(&outcome), ["3 search < moon", "3 search > found"]);
}

/// A search may take long, and the user sees meanwhile what happens.
#[test]
fn activity_does_not_wait_for_the_answer() {
    let search = json!({"type": "web_search_call", "id": "w1", "status": "in_progress"});
    let use_of_tool =
        json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}});
    let tool = json!({"index": 0, "type": "search", "arguments": "{}"});
    for (protocol, events) in [
        (
            Protocol::Responses,
            vec![json!({"type": "response.output_item.added", "output_index": 0, "item": search})],
        ),
        (
            Protocol::Messages,
            vec![
                json!({"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": use_of_tool}),
                json!({"type": "content_block_stop", "index": 0}),
            ],
        ),
        (
            Protocol::GenerateContent,
            vec![
                json!({"candidates": [{"content": {"parts": [{"executableCode": {"code": "1"}}]}}]}),
            ],
        ),
        (
            Protocol::ChatCompletions,
            vec![json!({"choices": [{"delta": {"executed_tools": [tool]}}]})],
        ),
    ] {
        let outcome = read(protocol, &events);
        assert_eq!(activity(&outcome).len(), 1, "{protocol}: {outcome:?}");
        assert_eq!(outcome.kind(), Some(ErrorKind::Incomplete), "{protocol}");
    }
}

#[test]
fn what_is_repeated_or_told_apart_is_reported_once() {
    let part = |part: Value| json!({"candidates": [{"content": {"parts": [part]}}]});
    let grounding = |metadata: Value| json!({"candidates": [{"groundingMetadata": metadata}]});
    let support =
        |chunks: Value| json!([{"segment": {"endIndex": 2}, "groundingChunkIndices": chunks}]);
    let pages = json!([{"web": {"uri": "a"}}, {"web": {"uri": "b"}}]);
    let stop =
        json!({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]});
    let code = || part(json!({"executableCode": {"code": "1"}}));
    let result = || part(json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}));
    let call = json!({"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t", "args": {"queries": ["q"]}}});
    let documents = json!([{"retrievedContext": {"title": "a.txt"}}, {"retrievedContext":
        {"fileSearchStore": "s", "text": "Words."}}]);
    let tool = |tool: Value| json!({"choices": [{"delta": {"executed_tools": [tool]}}]});
    let annotation = json!({"url": "https://a.example", "start_index": 0, "end_index": 2});
    let said = json!({"content": "Hi", "annotations": [annotation]});
    let listed =
        |pages: Value| json!({"search_results": pages, "choices": [{"delta": {"content": "."}}]});
    let item =
        |item: Value| json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let added = |item: Value| json!({"type": "response.output_item.added", "output_index": 0, "item": item});
    let x_search = |input: &str| {
        json!({"type": "custom_tool_call", "id": "c", "call_id": "xs_call-1",
        "name": "x_keyword_search", "input": input})
    };
    let input = |kind: &str| {
        json!({"type": format!("response.custom_tool_call_input.{kind}"), "item_id": "c",
        "output_index": 0, "delta": "{", "input": "{\"query\": \"q\"}"})
    };
    let completed =
        json!({"type": "response.completed", "response": {"status": "completed", "output": []}});
    let search = |action: Value| json!({"type": "web_search_call", "id": "w", "action": action});
    for (protocol, events, lines, found) in [
        // Gemini: calls without an ID end in order, whatever comes between.
        (
            Protocol::GenerateContent,
            vec![
                code(),
                code(),
                grounding(json!({"webSearchQueries": ["q"]})),
                result(),
                result(),
                stop.clone(),
            ],
            vec![
                "1 code_execution < 1",
                "2 code_execution < 1",
                "3 google_search < q",
                "3 google_search > ",
                "1 code_execution > 2",
                "2 code_execution > 2",
            ],
            vec![],
        ),
        // A query that was told as a call is not told again.
        (
            Protocol::GenerateContent,
            vec![part(call), grounding(json!({"webSearchQueries": ["q"]})), stop.clone()],
            vec!["t google_search_web < {\"queries\":[\"q\"]}"],
            vec![],
        ),
        // Metadata that grows, with the pages in an earlier event than the places.
        (
            Protocol::GenerateContent,
            vec![
                stop.clone(),
                grounding(json!({"groundingChunks": pages})),
                grounding(json!({"groundingSupports": support(json!([1]))})),
                grounding(
                    json!({"groundingChunks": pages, "groundingSupports": support(json!([1, 0]))}),
                ),
            ],
            vec![],
            vec!["1 <a> [\"Hi\"]", "2 <b> [\"Hi\"]"],
        ),
        // Documents that have no URL.
        (
            Protocol::GenerateContent,
            vec![
                stop,
                grounding(
                    json!({"groundingChunks": documents, "groundingSupports": support(json!([1]))}),
                ),
            ],
            vec![],
            vec!["1 s [\"Hi\"]", "2 a.txt []"],
        ),
        // Groq: an empty output is an end, and tools without a number are told apart.
        (
            Protocol::ChatCompletions,
            vec![
                tool(json!({"index": 1, "type": "search", "arguments": "{}"})),
                tool(json!({"index": 1, "type": "search", "output": ""})),
                json!({"choices": [{"delta": {"content": "a", "executed_tools": [{"type": "a"}, {"type": "b"}]},
                    "finish_reason": "stop"}]}),
            ],
            vec!["1 search < ", "1 search > ", "0 a < ", "1 b < "],
            vec![],
        ),
        // A `message` repeats what the deltas said.
        (
            Protocol::ChatCompletions,
            vec![json!({"choices": [{"delta": said, "message": said, "finish_reason": "stop"}]})],
            vec![],
            vec!["1 <https://a.example> [\"Hi\"]"],
        ),
        // A list of pages changes.
        (
            Protocol::ChatCompletions,
            vec![
                listed(json!([{"url": "a"}, {"url": "b"}])),
                listed(json!([{"url": "c"}, {"url": "a"}, {"url": "b"}])),
                listed(json!([{"url": "c"}, {"url": "a"}, {"url": "long"}])),
                json!({"web_search": [{"link": "z"}], "choices": [{"delta": {}, "finish_reason": "stop"}]}),
            ],
            vec![],
            vec!["1 <a> []", "2 <b> []", "3 <c> []", "4 <long> []", "5 <z> []"],
        ),
        // xAI's search of X looks like a call for the caller.
        (
            Protocol::Responses,
            vec![
                added(x_search("")),
                input("delta"),
                input("done"),
                item(x_search("{\"query\": \"q\"}")),
                json!({"type": "response.output_text.delta", "output_index": 1, "delta": "Hi"}),
                completed.clone(),
            ],
            vec!["xs_call-1 x_keyword_search < q", "xs_call-1 x_keyword_search > "],
            vec![],
        ),
        // OpenAI announces a search without its query, and its pages are no input.
        (
            Protocol::Responses,
            vec![
                added(search(json!({"type": "search"}))),
                item(search(
                    json!({"type": "search", "query": "q", "queries": ["q"], "sources": [{"url": "a"}]}),
                )),
                json!({"type": "response.output_text.delta", "output_index": 1, "delta": "Hi"}),
                completed.clone(),
            ],
            vec!["w web_search < ", "w web_search > q"],
            vec!["1 <a> []"],
        ),
        // The search for tools has its output in another item, and a shell call is for the caller.
        (
            Protocol::Responses,
            vec![
                item(
                    json!({"type": "tool_search_call", "id": "t", "execution": "server", "arguments": {"a": "b"}}),
                ),
                json!({"type": "response.output_item.done", "output_index": 1, "item":
                    {"type": "tool_search_output", "id": "o", "tools": [{"name": "f"}]}}),
                json!({"type": "response.output_item.done", "output_index": 2, "item":
                    {"type": "shell_call", "id": "s", "action": {"commands": ["ls"]}}}),
                completed,
            ],
            vec!["t tool_search < b", "t tool_search > {\"tools\":[{\"name\":\"f\"}]}"],
            vec![],
        ),
    ] {
        let outcome = read(protocol, &events);
        assert_eq!(activity(&outcome), lines, "{protocol}");
        assert_eq!(sources(&outcome), found, "{protocol}");
        assert_eq!(outcome.message(), "", "{protocol}");
        assert!(outcome.response.tool_calls.is_empty(), "{protocol}");
    }
}

/// Text beyond a limit is not in the response, so a citation cannot point into it.
#[test]
fn no_place_is_beyond_the_text_that_arrived() {
    let call =
        |index: u32| json!({"index": index, "id": index.to_string(), "function": {"name": "f"}});
    let annotation = json!({"url": "https://a.example", "start_index": 4, "end_index": 9});
    let events = [
        json!({"choices": [{"delta": {"content": "Hi. "}}]}),
        json!({"choices": [{"delta": {"content": "Hello", "annotations": [annotation],
            "tool_calls": [call(0), call(1)]}}]}),
    ];
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions).max_tool_calls(1);
    let outcome = Outcome::of(GenerationStream::from_reader(Cursor::new(body), config));
    assert_eq!((outcome.kind(), &*outcome.response.content), (Some(ErrorKind::Limit), "Hi. "));
    assert_eq!(outcome.response.sources[0].citations[0].span, None);
}

/// What a server repeats in each event does not add up, and long answers may have log
/// probabilities.
#[test]
fn ordinary_long_answers_stay_within_the_limits() {
    let pages: Vec<_> =
        (0..100).map(|n| json!({"web": {"uri": format!("https://{n}.example/page")}})).collect();
    let event = json!({"candidates": [{"content": {"parts": [{"text": "Hi"}]},
        "groundingMetadata": {"groundingChunks": pages}}]});
    let stop = json!({"candidates": [{"finishReason": "STOP"}]});
    let events = [vec![event; 300], vec![stop]].concat();
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let config = GenerationConfig::default().protocol(Protocol::GenerateContent);
    let config = config.max_response_bytes(200_000);
    let outcome = Outcome::of(GenerationStream::from_reader(Cursor::new(body), config));
    assert_eq!((outcome.message(), outcome.response.sources.len()), (String::new(), 100));

    let alternatives = vec![json!({"token": " word", "logprob": -1.5}); 20];
    let token = json!({"token": " word", "logprob": -0.5, "top_logprobs": alternatives});
    let event =
        json!({"choices": [{"delta": {"content": " word"}, "logprobs": {"content": [token]}}]});
    let stop = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let events = [vec![event; 24_000], vec![stop]].concat();
    let outcome = read(Protocol::ChatCompletions, &events);
    assert_eq!((outcome.message(), outcome.response.logprobs.len()), (String::new(), 24_000));
}

#[test]
fn what_the_model_made_and_how_sure_it_was() {
    let picture = "iVBORw0KGgo=";
    for (protocol, events, media_type) in [
        (
            Protocol::GenerateContent,
            vec![json!({"candidates": [{"content": {"parts": [
                {"inlineData": {"mimeType": "image/png", "data": picture}}]}, "finishReason": "STOP"}]})],
            "image/png",
        ),
        (
            Protocol::Responses,
            vec![
                json!({"type": "response.output_item.done", "output_index": 0, "item": {"type":
                    "image_generation_call", "id": "i", "status": "completed", "output_format": "webp", "result": picture}}),
                json!({"type": "response.completed", "response": {"status": "completed", "output": []}}),
            ],
            "image/webp",
        ),
        (
            Protocol::Responses,
            vec![
                json!({"type": "response.output_item.done", "output_index": 0, "item": {"type":
                    "code_interpreter_call", "id": "c", "status": "completed", "code": "plot()", "outputs":
                    [{"type": "image", "url": format!("data:image/png;base64,{picture}")}]}}),
                json!({"type": "response.completed", "response": {"status": "completed", "output": []}}),
            ],
            "image/png",
        ),
        (
            Protocol::ChatCompletions,
            vec![json!({"choices": [{"delta": {"images": [{"type": "image_url", "image_url":
                {"url": format!("data:image/png;base64,{picture}")}}]}, "finish_reason": "stop"}]})],
            "image/png",
        ),
        (
            Protocol::ChatCompletions,
            vec![
                json!({"choices": [{"delta": {"audio": {"data": "iVBORw==", "transcript": "Hi"}}}]}),
                json!({"choices": [{"delta": {"audio": {"data": "DQoaCg=="}}, "finish_reason": "stop"}]}),
            ],
            "audio/pcm",
        ),
    ] {
        let outcome = read(protocol, &events);
        let [made] = outcome.response.attachments.as_slice() else { panic!("{outcome:?}") };
        assert_eq!(made.media_type.as_deref(), Some(media_type));
        assert_eq!(made.to_bytes().unwrap(), b"\x89PNG\r\n\x1a\n");
        let chunks = outcome.chunks.iter().flat_map(|chunk| &chunk.attachments);
        assert_eq!(chunks.collect::<Vec<_>>(), [made]);
        assert!(outcome.error.is_none(), "{}", outcome.message());
    }

    let tokens = json!([{"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Hi", "logprob": -0.5},
        {"token": "Ho", "logprob": -1}]}]);
    for (protocol, events) in [
        (
            Protocol::ChatCompletions,
            vec![json!({"choices": [{"delta": {"content": "Hi"}, "logprobs": {"content": tokens},
                "finish_reason": "stop"}]})],
        ),
        (
            Protocol::ChatCompletions,
            vec![json!({"choices": [{"delta": {"content": "Hi"}, "logprobs": {"tokens": ["Hi"],
                "token_logprobs": [-0.5], "top_logprobs": [[{"token": "Hi", "logprob": -0.5},
                {"token": "Ho", "logprob": -1}]]}, "finish_reason": "stop"}]})],
        ),
        (
            Protocol::Responses,
            vec![
                json!({"type": "response.output_text.delta", "delta": "Hi", "logprobs": tokens}),
                json!({"type": "response.completed", "response": {"status": "completed"}}),
            ],
        ),
        (
            Protocol::GenerateContent,
            vec![
                json!({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP",
                "logprobsResult": {"chosenCandidates": [{"token": "Hi", "logProbability": -0.5}],
                "topCandidates": [{"candidates": [{"token": "Hi", "logProbability": -0.5},
                {"token": "Ho", "logProbability": -1}]}]}}]}),
            ],
        ),
    ] {
        let outcome = read(protocol, &events);
        let [token] = outcome.response.logprobs.as_slice() else { panic!("{outcome:?}") };
        assert_eq!((token.token.as_str(), token.logprob), ("Hi", -0.5));
        assert_eq!(token.alternatives, [("Hi".to_owned(), -0.5), ("Ho".to_owned(), -1.0)]);
        let json = serde_json::to_string(&outcome.chunks).unwrap();
        let again: Vec<kerb_stream::StreamChunk> = serde_json::from_str(&json).unwrap();
        assert_eq!(again, outcome.chunks);
    }
}

#[test]
fn what_the_model_made_counts_as_part_of_the_response() {
    let data = "AAAA".repeat(1000);
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": data}});
    let item =
        json!({"type": "image_generation_call", "id": "i", "status": "completed", "result": data});
    for (protocol, event) in [
        (Protocol::GenerateContent, json!({"candidates": [{"content": {"parts": [picture]}}]})),
        (
            Protocol::Responses,
            json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        ),
        (
            Protocol::ChatCompletions,
            json!({"choices": [{"delta": {"images": [{"image_url":
                {"url": format!("data:image/png;base64,{data}")}}]}}]}),
        ),
        (Protocol::ChatCompletions, json!({"choices": [{"delta": {"audio": {"data": data}}}]})),
    ] {
        let body = Cursor::new(format!("data: {event}\n\n"));
        let config = GenerationConfig::default().protocol(protocol).max_response_bytes(2000);
        let outcome = Outcome::of(GenerationStream::from_reader(body, config));
        assert_eq!(outcome.kind(), Some(ErrorKind::Limit), "{protocol}");
        assert!(outcome.response.attachments.is_empty(), "{protocol}");
    }
}

#[test]
fn nothing_is_lost_if_the_end_is_not_announced() {
    // A recorded spoken answer of OpenAI has no finish reason.
    let sound = |data: &str| json!({"choices": [{"delta": {"audio": {"data": data}}}]});
    let thought = json!({"choices": [{"delta": {"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}}]});
    let text = json!({"choices": [{"delta": {"content": "Hi", "tool_calls": [
        {"index": 0, "id": "c", "function": {"name": "go", "arguments": "{}"}}]}}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
    let events = [thought, text, sound("iVBORw=="), sound("DQoaCg=="), usage, json!("[DONE]")];
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let body = body.replace("\"[DONE]\"", "[DONE]");
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    let whole = Outcome::of(GenerationStream::from_reader(Cursor::new(body), &config)).whole();
    assert_eq!(whole.attachments[0].to_bytes().unwrap(), b"\x89PNG\r\n\x1a\n");
    assert!(serde_json::to_string(&whole).unwrap().contains("reasoning_details"), "{whole:?}");

    let cut = read(Protocol::ChatCompletions, &events[1..3]);
    assert_eq!(cut.kind(), Some(ErrorKind::Incomplete));
    assert_eq!(cut.response.attachments[0].to_bytes().unwrap(), b"\x89PNG");

    let cut = read(
        Protocol::Messages,
        &[
            json!({"type": "message_start", "message": {"model": "m"}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "It is"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta",
                "citation": {"url": "https://a.example", "cited_text": "Is it?"}}}),
        ],
    );
    let [source] = cut.response.sources.as_slice() else { panic!("{cut:?}") };
    assert_eq!(
        (source.citations[0].span.clone(), &*source.citations[0].quote),
        (Some(0..5), "Is it?")
    );
}

#[test]
fn a_raw_chunk_has_the_events_name_and_is_neither_progress_nor_text() {
    let body = "event: ping\ndata: {}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n\
                data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions).raw(true);
    let outcome = Outcome::of(GenerationStream::from_reader(Cursor::new(body), config));
    let seen: Vec<_> = outcome
        .chunks
        .iter()
        .map(|chunk| (chunk.raw_event.as_deref(), &*chunk.content, chunk.raw.as_deref()))
        .collect();
    assert_eq!(seen[0], (Some("ping"), "", Some("{}")));
    assert_eq!((seen[1].1, seen[3]), ("Hi", (None, "", Some("[DONE]"))));
    assert_eq!((seen.len(), outcome.response.chunk_count), (4, 2));
}

#[test]
fn a_retry_is_announced_before_its_wait() {
    let server = Server::start(|connection| {
        while connection.request()?.is_some() {
            connection.write("HTTP/1.1 503 X\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n")?;
        }
        Ok(())
    });
    let server = server.unwrap();
    let config =
        GenerationConfig::new("m").base_url(server.url()).environment(Environment::empty());
    let mut seen = Vec::new();
    let mut stream =
        generate_stream("Hi", config.max_retries(1)).callback(|chunk| seen.push(chunk.clone()));
    let notice = stream.next().unwrap().unwrap();
    let [Activity::Retry { kind, message, wait, .. }] = notice.activity.as_slice() else {
        panic!("{notice:?}")
    };
    assert_eq!(*kind, ErrorKind::Overloaded);
    assert!(message.contains("returned 503") && wait.as_secs() == 2, "{message} {wait:?}");
    assert!(!message.contains("try again"), "{message}");
    // The wait has not begun: it is within the next call.
    assert_eq!((server.requests().len(), stream.response().retries), (1, 0));
    let error = stream.next().unwrap().unwrap_err();
    assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Overloaded));
    assert_eq!((server.requests().len(), stream.response().retries), (2, 1));
    assert!(stream.next().is_none());
    drop(stream);
    assert_eq!(seen, [notice]);

    // A search is no part of the answer, so the request may be sent again.
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |connection| {
        while connection.request()?.is_some() {
            connection.start()?;
            connection
                .event(r#"{"choices":[{"delta":{"executed_tools":[{"type":"search"}]}}]}"#)?;
            if asked.fetch_add(1, Ordering::SeqCst) > 0 {
                connection
                    .event(r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#)?;
            }
            connection.end()?;
        }
        Ok(())
    });
    let server = server.unwrap();
    let config = GenerationConfig::new("m").base_url(server.url());
    let outcome = Outcome::of(generate_stream("Hi", config.environment(Environment::empty())));
    let lines: Vec<_> = outcome.chunks.iter().flat_map(|chunk| &chunk.activity).collect();
    assert!(matches!(lines[1], Activity::Retry { kind: ErrorKind::Incomplete, .. }), "{lines:?}");
    let response = outcome.whole();
    assert_eq!((&*response.content, response.retries, response.chunk_count), ("Hi", 1, 1));
}
