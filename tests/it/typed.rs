//! Answers as values of the caller's types: whole ones, and the elements of a list while it is
//! written.

use std::io::Cursor;

use kerb_stream::{
    Error, ErrorKind, GenerationConfig, GenerationResponse, GenerationStream, Protocol, ToolCall,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::shapes::Shape;

/// Returns a stream of a whole answer in these pieces.
fn answer(protocol: Protocol, pieces: &[&str]) -> GenerationStream {
    let body = Shape(protocol).whole(pieces);
    GenerationStream::from_reader(Cursor::new(body), GenerationConfig::default().protocol(protocol))
}

fn response(fields: Value) -> GenerationResponse {
    serde_json::from_value(fields).unwrap()
}

#[derive(Debug, Deserialize, PartialEq)]
struct Step {
    title: String,
    minutes: u32,
}

#[test]
fn an_answer_is_read_as_a_value() {
    for protocol in Protocol::ALL {
        for pieces in [
            ["{\"title\": \"Stir", "\", \"minutes\": 3}"],
            ["```json\n{\"title\":\"Stir\",", "\"minutes\":3}\n```\n"],
        ] {
            let response = answer(*protocol, &pieces).into_response().unwrap();
            let step: Step = response.parse().unwrap();
            assert_eq!(step, Step { title: "Stir".into(), minutes: 3 }, "{protocol}");
        }
    }
}

#[test]
fn an_answer_that_is_no_value_says_why() {
    let wrong = "{\"steps\": [{\"title\": \"Stir\", \"minutes\": \"three\"}]}";
    for (fields, kind, says) in [
        (
            json!({"content": "{\"a\": ", "finish_reason": "length"}),
            ErrorKind::Incomplete,
            "a length limit cut the answer; raise `max_tokens`",
        ),
        (
            json!({"content": "No.", "refusal": "No.", "finish_reason": "stop"}),
            ErrorKind::Refusal,
            "the model refused: No.",
        ),
        (
            json!({"finish_reason": "content_filter", "raw_finish_reason": "SAFETY"}),
            ErrorKind::Refusal,
            "the model refused: SAFETY",
        ),
        (
            json!({"content": wrong}),
            ErrorKind::Decode,
            "the answer does not fit the type: invalid type: string \"three\", expected u32 at \
             \"/steps/0/minutes\", after \"{\\\"steps\\\": [{\\\"title\\\": \\\"Stir\\\", \\\"minutes\\\": \\\"three\\\"\"",
        ),
        (json!({"content": "Hello"}), ErrorKind::Decode, "expected value at \"\", after \"H\""),
    ] {
        #[derive(Debug, Deserialize)]
        struct Recipe {
            #[allow(dead_code)] // It is only read.
            steps: Vec<Step>,
        }
        let response = response(fields);
        let error = response.parse::<Recipe>().unwrap_err();
        let error = Error::of(&error).unwrap();
        assert_eq!((error.kind(), error.partial()), (kind, Some(&response)));
        assert!(error.message().contains(says), "{}", error.message());
    }
}

#[test]
fn the_last_message_is_the_value() {
    let message = |id: &str, text: &str| {
        let item = json!({"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]});
        json!({"type": "response.output_item.done", "output_index": id.parse::<u32>().unwrap(), "item": item})
    };
    let end = json!({"type": "response.completed", "response": {"status": "completed"}});
    let events =
        [message("0", "Let me think."), message("1", "{\"title\":\"é\",\"minutes\":1}"), end];
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let config = GenerationConfig::default().protocol(Protocol::Responses);
    let response =
        GenerationStream::from_reader(Cursor::new(body), config).into_response().unwrap();
    assert!(response.content.starts_with("Let me think.\n\n{"), "{}", response.content);
    assert_eq!(response.parse::<Step>().unwrap().title, "é");
    let again: GenerationResponse =
        serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
    assert_eq!(again.parse::<Step>().unwrap().title, "é");
}

#[test]
fn elements_come_as_soon_as_they_are_whole() {
    for protocol in Protocol::ALL {
        let pieces = [
            "{\"n\": 2, \"steps\": [{\"title\": \"Stir\", ",
            "\"minutes\": 3}, {\"title\":",
            " \"Bake\", \"minutes\": 20}",
            "], \"x\": [1]}",
        ];
        let mut text = String::new();
        let mut stream = answer(*protocol, &pieces).callback(|chunk| text += &chunk.content);
        let mut steps = stream.elements::<Step>("/steps");
        let mut arrived = Vec::new();
        while let Some(step) = steps.next() {
            arrived.push((step.unwrap().title, steps.stream().response().content.len()));
        }
        assert!(steps.next().is_none());
        let ends = [pieces[..2].concat().len(), pieces[..3].concat().len()];
        let expected = [("Stir".to_owned(), ends[0]), ("Bake".to_owned(), ends[1])];
        assert_eq!(arrived, expected, "{protocol}");
        let response = stream.into_response().unwrap();
        assert_eq!((&*response.content, &*text), (&*pieces.concat(), &*pieces.concat()));
    }
}

#[test]
fn an_error_is_the_last_element() {
    for (pieces, says) in [
        (vec!["{\"a\": 1}"], "the answer has no list at \"/steps\""),
        (vec!["{\"steps\": [1, 2"], "the list at \"/steps\" does not end"),
        (vec!["{\"steps\": [1, 2}"], "the list at \"/steps\" is not JSON"),
        (
            vec!["{\"steps\": [1, ", "\"x\", 3]}"],
            "an element of the list at \"/steps\" does not fit: \
            invalid type: string \"x\", expected i32 at \"\", after \"\\\"x\\\"\"",
        ),
    ] {
        let mut stream = answer(Protocol::ChatCompletions, &pieces);
        let mut items: Vec<_> = stream.elements::<i32>("/steps").collect();
        let error = items.pop().unwrap().unwrap_err();
        assert!(items.iter().all(Result::is_ok));
        let error = Error::of(&error).unwrap();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Decode, says));
        assert!(
            error.partial().is_some_and(|partial| pieces.concat().starts_with(&partial.content))
        );
    }
    // A cut stream is not a short list.
    let body =
        Shape(Protocol::ChatCompletions).start() + &Shape(Protocol::ChatCompletions).text("[1, 2");
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    let mut stream = GenerationStream::from_reader(Cursor::new(body), config);
    let items: Vec<_> = stream.elements::<i32>("").collect();
    assert_eq!(items.len(), 2);
    assert_eq!(ErrorKind::of(items[1].as_ref().unwrap_err()), Some(ErrorKind::Incomplete));
}

#[test]
fn a_call_is_read_as_a_variant() {
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Call {
        Weather { city: String },
        Add(Vec<i32>),
        Now,
    }
    for (name, arguments, expected) in [
        ("weather", "{\"city\": \"Oslo\"}", Call::Weather { city: "Oslo".into() }),
        ("add", "[1, 2]", Call::Add(vec![1, 2])),
        ("now", "{}", Call::Now),
        ("now", "", Call::Now),
    ] {
        assert_eq!(ToolCall::new("c", name, arguments).parse_variant::<Call>().unwrap(), expected);
    }
    for (name, arguments, says) in [
        ("other", "{}", "unknown variant `other`"),
        ("weather", "{}", "missing field `city`"),
        ("weather", "{\"city\": ", "are not JSON"),
        ("now", "{\"a\": 1}", "do not match the type"),
    ] {
        let error = ToolCall::new("c", name, arguments).parse_variant::<Call>().unwrap_err();
        assert!(format!("{error:#}").contains(says), "{error:#}");
    }
}
