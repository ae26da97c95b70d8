//! Answers as values of the caller's types: whole ones, and the elements of a list while it is
//! written.

use std::collections::BTreeSet;
use std::io::Cursor;

use jiter::{JsonValue, PartialMode};
use kerb_stream::{
    Error, ErrorKind, GenerationConfig, GenerationResponse, GenerationStream, Protocol, ToolCall,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::recordings::{self, READ, SETS};
use crate::support::shapes::Shape;
use crate::support::shared;

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
            ["``` {\"title\":\"Stir\",", "\"minutes\":3}```"],
            ["```json {\"title\":\"Stir\",", "\"minutes\":3}```"],
            ["``` json-ld title=1\n{\"title\":\"Stir\",", "\n\"minutes\":3}\n```"],
            ["```{\"title\":\"Stir\",", "\n\"minutes\":3}```"],
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
             \"/steps/0/minutes\", after `{\"steps\": [{\"title\": \"Stir\", \"minutes\": \"three\"`",
        ),
        // What a model writes cannot drive a terminal.
        (
            json!({"refusal": "No\u{1b}[2J\n.", "finish_reason": "stop"}),
            ErrorKind::Refusal,
            "the model refused: No␛[2J .",
        ),
        (
            json!({"content": "I am sorry.\u{7}"}),
            ErrorKind::Decode,
            "the answer does not fit the type: it is not JSON: `I am sorry.␇`",
        ),
        (json!({}), ErrorKind::Decode, "it is not JSON: ``"),
        (json!({"content": "not sure"}), ErrorKind::Decode, "it is not JSON: `not sure`"),
        (
            json!({"content": "{\"steps\": [{\"title\": \"a\" \"minutes\": 1}]}"}),
            ErrorKind::Decode,
            "expected `,` or `}` at \"/steps/0/title\", after `{\"steps\": [{\"title\": \"a\" \"`",
        ),
        (
            json!({"content": "{\"step\": 1}"}),
            ErrorKind::Decode,
            "the answer does not fit the type: missing field `steps`, after `{\"step\": 1}`",
        ),
        (
            json!({"content": "{\"steps\": [\"meet at line 3\"]}"}),
            ErrorKind::Decode,
            "invalid type: string \"meet at line 3\", expected struct Step at \"/steps/0\"",
        ),
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
fn elements_begin_with_the_answer_whenever_they_are_asked_for() {
    let mut stream = answer(Protocol::Messages, &["[[1, 2]", ", [3]", "]"]);
    assert_eq!(stream.next().unwrap().unwrap().content, "[[1, 2]");
    let first = stream.elements::<Vec<i32>>("").next().unwrap().unwrap();
    assert_eq!(first, [1, 2]);
    for _ in 0..2 {
        let all: Vec<Vec<i32>> = stream.elements("").map(Result::unwrap).collect();
        assert_eq!(all, [vec![1, 2], vec![3]]);
    }
}

#[test]
fn elements_of_a_stream_that_has_failed_are_its_error() {
    let chat = Shape(Protocol::ChatCompletions);
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    let body = chat.start() + &chat.text("[1, 2]");
    let mut stream = GenerationStream::from_reader(Cursor::new(body), config);
    for expected in [3, 1] {
        let items: Vec<_> = stream.elements::<i32>("").collect();
        let error = items.last().unwrap().as_ref().unwrap_err();
        assert_eq!((items.len(), ErrorKind::of(error)), (expected, Some(ErrorKind::Incomplete)));
        assert!(Error::of(error).unwrap().partial().is_none_or(|it| it.content == "[1, 2]"));
    }
}

#[test]
fn an_error_is_the_last_element() {
    for (pieces, says) in [
        (vec!["{\"a\": 1}"], "the answer has no list at \"/steps\""),
        (vec!["{\"steps\": [1, 2"], "the answer has an unfinished list at \"/steps\""),
        (vec!["{\"steps\": [1, 2}"], "the list at \"/steps\" is not JSON"),
        (
            vec!["{\"steps\": [1, ", "\"x\", 3]}"],
            "an element does not fit the type: \
            invalid type: string \"x\", expected i32 at \"/steps/1\", after `\"x\"`",
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
    // The answer was no list, whatever its text.
    let chat = Shape(Protocol::ChatCompletions);
    for (word, kind) in [
        ("length", ErrorKind::Incomplete),
        ("content_filter", ErrorKind::Refusal),
        ("stop", ErrorKind::Decode),
    ] {
        let body = chat.start() + &chat.text("[1, 2") + &chat.stop_for(word) + &chat.done();
        let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
        let mut stream = GenerationStream::from_reader(Cursor::new(body), config);
        let items: Vec<_> = stream.elements::<i32>("").collect();
        let error = items.last().unwrap().as_ref().unwrap_err();
        assert_eq!((items.len(), ErrorKind::of(error)), (2, Some(kind)), "{word}");
    }
    // A pointer that is none costs no answer.
    let mut stream = answer(Protocol::ChatCompletions, &["[1]"]);
    let error = stream.elements::<i32>("steps").next().unwrap().unwrap_err();
    assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Config));
    assert_eq!(error.to_string(), "the JSON pointer \"steps\" must begin with `/`");
    assert!(stream.response().content.is_empty());
    // A cut stream is not a short list.
    let body =
        Shape(Protocol::ChatCompletions).start() + &Shape(Protocol::ChatCompletions).text("[1, 2");
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    let mut stream = GenerationStream::from_reader(Cursor::new(body), config);
    let items: Vec<_> = stream.elements::<i32>("").collect();
    assert_eq!(items.len(), 2);
    assert_eq!(ErrorKind::of(items[1].as_ref().unwrap_err()), Some(ErrorKind::Incomplete));
}

/// jiter reads JSON that is not complete. Of every list in every JSON answer of the recordings, an
/// element comes at the prefix with which jiter has it whole.
#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn every_element_comes_when_it_is_whole() {
    let texts: BTreeSet<String> = recorded_texts().collect();
    let (mut documents, mut lists, mut elements) = (0, 0, 0);
    for text in texts {
        // A fence or other text may be around the JSON.
        let start = text.find(['{', '[']).unwrap_or(text.len());
        let mut parser =
            serde_json::Deserializer::from_str(text.get(start..).unwrap()).into_iter::<Value>();
        let Some(Ok(document)) = parser.next() else { continue };
        documents += 1;
        let json = text.get(start..start + parser.byte_offset()).unwrap();
        let mut pointers = Vec::new();
        lists_in(&document, "", &mut pointers);
        for pointer in pointers {
            let list = document.pointer(&pointer).unwrap().as_array().unwrap();
            let arrived = arrivals(&text, &pointer, 1);
            for size in [2, 3, 7, text.len()] {
                assert!(arrivals(&text, &pointer, size).iter().map(|(it, _)| it).eq(list));
            }
            assert!(arrived.iter().map(|(it, _)| it).eq(list), "{pointer} in {text}");
            check(json, &pointer, &arrived.iter().map(|(_, at)| at - start).collect::<Vec<_>>());
            (lists, elements) = (lists + 1, elements + list.len());
        }
    }
    assert_eq!((documents, lists, elements), (931, 1114, 1054));
}

/// The answers of all recordings, the arguments of their calls, and an event of each, which has more
/// lists.
fn recorded_texts() -> impl Iterator<Item = String> {
    let folders = READ.iter().flat_map(|(folder, protocol, _)| {
        SETS.iter().map(move |set| (shared(set).join(folder), *protocol))
    });
    folders.flat_map(|(folder, protocol)| {
        recordings::cases(&folder).into_iter().flat_map(move |path| {
            let config = recordings::config(&recordings::json(&path)).protocol(protocol);
            let body = std::fs::read(path.with_extension("sse")).unwrap();
            let events = String::from_utf8_lossy(&body).into_owned();
            let events = events.lines().filter_map(|line| line.strip_prefix("data: "));
            let event = events.filter(|data| data.len() < 1000).max_by_key(|data| data.len());
            let event = event.map(str::to_owned);
            let mut stream = GenerationStream::from_reader(Cursor::new(body), config);
            stream.by_ref().for_each(drop);
            let GenerationResponse { content, tool_calls, .. } = stream.response().clone();
            tool_calls.into_iter().map(|call| call.arguments).chain([content]).chain(event)
        })
    })
}

/// Adds the pointers of all lists in a document.
fn lists_in(value: &Value, at: &str, pointers: &mut Vec<String>) {
    match value {
        Value::Array(list) => {
            pointers.push(at.to_owned());
            let elements = list.iter().enumerate();
            elements.for_each(|(n, it)| lists_in(it, &format!("{at}/{n}"), pointers));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, it)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            lists_in(it, &format!("{at}/{name}"), pointers);
        }),
        _ => {}
    }
}

/// Returns the elements of a list in a text that comes in pieces of `size` characters, and the
/// bytes of the text that had come with each.
fn arrivals(text: &str, pointer: &str, size: usize) -> Vec<(Value, usize)> {
    let chars: Vec<_> = text.chars().collect();
    let pieces: Vec<String> = chars.chunks(size).map(|piece| piece.iter().collect()).collect();
    let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
    let mut stream = answer(Protocol::ChatCompletions, &pieces);
    let mut elements = stream.elements(pointer);
    let mut arrivals = Vec::new();
    while let Some(element) = elements.next() {
        arrivals.push((element.unwrap(), elements.stream().response().content.len()));
    }
    arrivals
}

/// Compares the prefixes at which the elements of a list came with what jiter has there.
fn check(json: &str, pointer: &str, arrivals: &[usize]) {
    let whole = JsonValue::parse(json.as_bytes(), false).unwrap();
    let path: Vec<_> =
        pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")).collect();
    let (_, closing) = list_at(&whole, &path).unwrap();
    let mut expected = 0;
    for (at, c) in json.char_indices() {
        let before = json.get(..at + c.len_utf8()).unwrap();
        let partial = JsonValue::parse_with_config(before.as_bytes(), false, PartialMode::On);
        let partial = partial.unwrap();
        let begun = list_at(&partial, &path).map_or(0, |(list, _)| list.len());
        let came = arrivals.iter().filter(|arrival| **arrival <= before.len()).count();
        // An element that is not complete is in jiter's list, too.
        assert!(came == begun || came + 1 == begun, "{came} of {begun} {pointer} in {before}");
        // If the brackets on the way to the list end it, all its elements are whole. Before its own
        // bracket, a number may go on up to the comma.
        let before_comma = before.trim_end().trim_end_matches(',');
        let is_open = before.trim_end().ends_with(|c: char| c.is_ascii_alphanumeric());
        for (text, closing, open) in [
            (before_comma, &*closing, usize::from(is_open)),
            (before, closing.strip_prefix(']').unwrap(), 0),
        ] {
            let ended = format!("{text}{closing}");
            if let Ok(ended) = JsonValue::parse(ended.as_bytes(), false)
                && let Some((whole, _)) = list_at(&ended, &path)
            {
                expected = expected.max(whole.len() - open);
            }
        }
        assert_eq!(came, expected, "{pointer} in {before}");
    }
}

/// Returns the list at a path, and the brackets that end it and everything around it.
fn list_at<'a>(value: &'a JsonValue<'a>, path: &[String]) -> Option<(&'a [JsonValue<'a>], String)> {
    match (value, path) {
        (JsonValue::Array(list), []) => Some((list, "]".to_owned())),
        (JsonValue::Array(list), [first, rest @ ..]) => {
            let (list, closing) = list_at(list.get(first.parse::<usize>().ok()?)?, rest)?;
            Some((list, closing + "]"))
        }
        (JsonValue::Object(fields), [first, rest @ ..]) => {
            let (_, value) = fields.iter().find(|(name, _)| name == first)?;
            let (list, closing) = list_at(value, rest)?;
            Some((list, closing + "}"))
        }
        _ => None,
    }
}

#[cfg(feature = "schemars")]
mod schemas {
    use kerb_stream::{GenerationConfig, ResponseFormat, Tool, ToolCall, generate_stream};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};

    /// A city.
    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    struct City {
        name: String,
        at: Option<Place>,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    struct Place {
        /// In degrees.
        latitude: f64,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Call {
        /// Today's weather.
        Weather {
            city: String,
            days: Option<u8>,
        },
        Now,
        /// The time in a year.
        Later,
        Visit(City),
        Empty {},
    }

    fn body(config: GenerationConfig) -> Value {
        let config = config.api_key("k").environment(kerb_stream::Environment::empty());
        generate_stream("Hi", config).request().unwrap().body
    }

    #[test]
    fn a_variant_is_a_tool_and_its_call_is_the_variant() {
        let tools = Tool::variants_of::<Call>().unwrap();
        let body = body(GenerationConfig::new("claude-sonnet-5").tools(tools));
        let sent = |name: &str| {
            let tools = body["tools"].as_array().unwrap();
            tools
                .iter()
                .find(|tool| tool["name"] == name)
                .unwrap_or_else(|| panic!("{name}"))
                .clone()
        };
        assert_eq!(body["tools"].as_array().unwrap().len(), 5);
        let weather = sent("weather");
        assert_eq!(weather["description"], "Today's weather.");
        assert_eq!(weather["input_schema"]["required"], json!(["city"]));
        assert_eq!(sent("later")["description"], "The time in a year.");
        assert_eq!(sent("now")["input_schema"], json!({"type": "object", "properties": {}}));
        let visit = sent("visit");
        assert_eq!(visit["description"], "A city.");
        let latitude = &visit["input_schema"]["$defs"]["Place"]["properties"]["latitude"];
        assert_eq!(latitude["description"], "In degrees.");

        for (name, arguments, expected) in [
            ("weather", "{\"city\": \"Oslo\"}", Call::Weather { city: "Oslo".into(), days: None }),
            ("now", "{}", Call::Now),
            ("later", "", Call::Later),
            ("visit", "{\"name\": \"Oslo\"}", Call::Visit(City { name: "Oslo".into(), at: None })),
            ("empty", "{}", Call::Empty {}),
        ] {
            assert_eq!(
                ToolCall::new("c", name, arguments).parse_variant::<Call>().unwrap(),
                expected
            );
        }
    }

    #[test]
    fn a_type_that_has_no_variants_by_name_is_an_error() {
        #[derive(JsonSchema)]
        #[serde(tag = "type")]
        #[allow(dead_code)] // Only their schemas are used.
        enum Internal {
            A,
            B { x: i32 },
        }
        #[derive(JsonSchema)]
        #[serde(tag = "t", content = "c")]
        #[allow(dead_code)]
        enum Adjacent {
            A,
            B { x: i32 },
        }
        #[derive(JsonSchema)]
        #[serde(untagged)]
        #[allow(dead_code)]
        enum Untagged {
            A { y: i32 },
            B { x: i32 },
        }
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        enum Tuple {
            A(i32, i32),
        }
        #[derive(JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Closed {
            place: Place,
        }
        for tools in [
            Tool::variants_of::<Internal>(),
            Tool::variants_of::<Adjacent>(),
            Tool::variants_of::<Untagged>(),
            Tool::variants_of::<Tuple>(),
            Tool::variants_of::<City>(),
            Tool::variants_of::<Closed>(),
            Tool::variants_of::<String>(),
            Tool::variants_of::<Vec<Call>>(),
        ] {
            let error = tools.unwrap_err().to_string();
            assert!(error.contains("serde must tell its variants apart by their names"), "{error}");
        }
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        enum Units {
            A,
            B,
        }
        assert_eq!(Tool::variants_of::<Units>().unwrap().len(), 2);
    }

    /// The model could write no finite JSON if a variant referred to itself in place of the enum.
    #[test]
    fn a_tool_has_the_definitions_that_it_uses_and_no_others() {
        #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
        enum Expression {
            Add { left: Box<Self>, right: Box<Self> },
            Number { value: f64 },
            Go { to: Place },
            Empty {},
            Count(Größe),
        }
        #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
        struct Größe {
            of: Maß,
        }
        #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
        struct Maß {
            n: i32,
        }
        let tools = Tool::variants_of::<Expression>().unwrap();
        let body = body(GenerationConfig::new("claude-sonnet-5").tools(tools));
        let sent = body["tools"].as_array().unwrap().iter();
        let sent: Vec<_> = sent.map(|tool| &tool["input_schema"]).collect();
        assert_eq!(sent[0]["properties"]["left"]["$ref"], "#/$defs/Expression");
        let defined = |at: usize| {
            let defs = sent[at]["$defs"].as_object().into_iter().flatten();
            defs.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let used = [0, 1, 2, 3, 4].map(defined);
        let all = vec!["Expression", "Größe", "Maß", "Place"];
        assert_eq!(used, [all, vec![], vec!["Place"], vec![], vec!["Maß"]]);
        assert_eq!(sent[3]["properties"], json!({}));
        let number = |value| json!({"Number": {"value": value}});
        let call =
            ToolCall::new("c", "Add", json!({"left": number(1), "right": number(2)}).to_string());
        let number = |value| Box::new(Expression::Number { value });
        let expected = Expression::Add { left: number(1.0), right: number(2.0) };
        assert_eq!(call.parse_variant::<Expression>().unwrap(), expected);
    }

    #[test]
    fn a_format_has_the_name_and_the_schema_of_its_type() {
        let format = ResponseFormat::of::<City>();
        let sent = body(GenerationConfig::new("gpt-5.6-luna").response_format(format));
        let format = &sent["text"]["format"];
        assert_eq!((&format["name"], &format["strict"]), (&json!("City"), &json!(true)));
        assert_eq!(format["schema"]["required"], json!(["name", "at"]));
        assert!(format["schema"].get("$schema").is_none());
        let tool = Tool::of::<Place>("go", "Goes there.");
        let sent = body(GenerationConfig::new("mistral-small-latest").tools([tool]));
        let function = &sent["tools"][0]["function"];
        assert_eq!(
            (&function["name"], &function["description"]),
            (&json!("go"), &json!("Goes there."))
        );
        assert_eq!(function["parameters"]["properties"]["latitude"]["type"], "number");
    }
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
