//! A response is whole if it has a finish reason or an end marker. Otherwise its last item is an
//! error, after the chunks that arrived.

use std::io::{self, Cursor, Read};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kerb_stream::{
    Environment, Error, ErrorKind, FinishReason, GenerationConfig, GenerationStream, Message,
    Protocol, StreamChunk, generate, generate_stream,
};

use crate::support::reader::dripping;
use crate::support::shapes::Shape;
use crate::support::{Outcome, Server, all_at_once, watchdog};

fn config() -> GenerationConfig {
    GenerationConfig::default().protocol(Protocol::ChatCompletions)
}

/// Returns the text of each chunk, and the kind and message of the error, if the stream ended with
/// one.
fn outcome(body: &str) -> (Vec<String>, Result<(), (ErrorKind, String)>) {
    read(config(), Cursor::new(body.to_owned()))
}

fn read(
    config: GenerationConfig,
    body: impl Read + Send + 'static,
) -> (Vec<String>, Result<(), (ErrorKind, String)>) {
    let outcome = Outcome::of(GenerationStream::from_reader(body, config));
    let texts = outcome.texts().into_iter().map(str::to_owned).collect();
    let end = outcome.error().map_or(Ok(()), |error| Err((error.kind(), error.to_string())));
    (texts, end)
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// Decodes a body. Returns its text, reasoning, finish reason, and kind of error.
fn told(
    protocol: Protocol,
    body: &str,
) -> (String, String, Option<FinishReason>, Option<ErrorKind>) {
    let config = GenerationConfig::default().protocol(protocol);
    let outcome = Outcome::of(GenerationStream::from_reader(Cursor::new(body.to_owned()), config));
    let kind = outcome.kind();
    let response = outcome.response;
    (response.content, response.reasoning, response.finish_reason, kind)
}

fn text(text: &str) -> String {
    event(&format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#))
}

fn reasoning(text: &str) -> String {
    event(&format!(r#"{{"choices":[{{"delta":{{"reasoning":"{text}"}}}}]}}"#))
}

fn call(index: u64, id: &str, name: &str, arguments: &str) -> String {
    let function = format!(r#"{{"name":"{name}","arguments":"{arguments}"}}"#);
    let call = format!(r#"{{"index":{index},"id":"{id}","function":{function}}}"#);
    event(&format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{call}]}}}}]}}"#))
}

const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
const CALLS: &str = r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#;
const ROLE: &str = r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

#[test]
fn a_finish_reason_or_the_end_marker_makes_it_whole() {
    let (hi, stop, done) = (text("Hi"), event(STOP), event("[DONE]"));
    for (whole, chunks) in [
        (format!("{hi}{stop}{done}"), 2),
        (format!("{hi}{stop}"), 2),
        // After usage, the end marker is enough. Snowflake sends no finish reason.
        (format!("{hi}{}{done}", event(USAGE)), 2),
        (format!("{}{hi}{stop}{}{done}", event(ROLE), event(USAGE)), 3),
        // Bytes after the end marker are ignored.
        (format!("{hi}{stop}{done}data: {{broken\n\n{hi}"), 2),
        // The last event may lack its line ends.
        (format!("{hi}{}data: [DONE]", event(USAGE)), 2),
        (format!("{hi}{}data: [DONE] \n", event(USAGE)), 2),
        (format!("{hi}data: {STOP}"), 2),
        (format!("{hi}{}data:  [DONE]  \n\n", event(USAGE)), 2),
        // Broken events after the finish reason change nothing.
        (format!("{hi}{stop}data: {{\"choices\""), 2),
        (format!("{hi}{stop}data: {{broken\n\n{hi}"), 2),
    ] {
        let (texts, end) = outcome(&whole);
        assert_eq!((texts.concat().as_str(), end), ("Hi", Ok(())), "{whole}");
        assert_eq!(texts.len(), chunks, "{whole}");
    }
}

#[test]
fn anything_else_is_cut_after_the_chunks_that_arrived() {
    let hi = text("Hi");
    for (cut, arrived, says) in [
        (hi.clone(), "Hi", "(events: 1, chunks: 1)"),
        (format!("{hi}data: {}", STOP.split_at(20).0), "Hi", "the response is incomplete"),
        (format!("{hi}{}", event(ROLE)), "Hi", "events: 2"),
        (event(ROLE), "", "the response is incomplete"),
        (event("[DONE]"), "", "the stream is empty"),
        (event(ROLE) + &event("[DONE]"), "", "the stream is empty"),
        (event(ROLE) + &event(USAGE) + &event("[DONE]"), "", "the stream is empty"),
        // llama-cpp-python ends a stream like this when another request interrupts it.
        (format!("{hi}{}", event("[DONE]")), "Hi", "was interrupted"),
        (reasoning("Hm") + &event(USAGE) + &event("[DONE]"), "", "was interrupted"),
        (call(0, "c", "", "{}") + &event(STOP), "", "a tool call without a name"),
        // Usage before the last text does not end the response.
        (event(USAGE) + &hi + &event("[DONE]"), "Hi", "was interrupted"),
        (hi.clone() + &event(USAGE) + &hi + &event("[DONE]"), "HiHi", "was interrupted"),
        // A finish reason before a tool call does not end that call.
        (
            hi.clone() + &event(STOP) + &call(0, "c", "f", "{") + &event("[DONE]"),
            "Hi",
            "was interrupted",
        ),
        (hi.clone() + &event(CALLS) + &event("[DONE]"), "Hi", "but the response has no tool call"),
        (": ping\n\n: ping\n\n".to_owned(), "", "before the first event"),
        (String::new(), "", "before the first event"),
        (format!("{hi}{}{hi}", event(STOP)), "HiHi", "a finish reason before the text"),
    ] {
        let (texts, end) = outcome(&cut);
        let (kind, message) = end.unwrap_err();
        assert_eq!((texts.concat().as_str(), kind), (arrived, ErrorKind::Incomplete), "{cut}");
        assert!(message.contains(says), "{cut}: {message}");
    }
}

#[test]
fn ollama_ends_without_a_reason() {
    let ollama = GenerationConfig::new("ollama::m");
    let body = text("Hi") + &event("[DONE]");
    assert_eq!(read(ollama, Cursor::new(body)), (vec!["Hi".into()], Ok(())));
}

/// A plain stop ends a response only if text came before it, or an end marker follows.
#[test]
fn a_stop_before_anything_is_said_is_not_the_end() {
    use Protocol::{ChatCompletions, GenerateContent, Messages};
    let done = event("[DONE]");
    let gemini = |parts: &str, reason: &str| {
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!(r#","finishReason":"{reason}""#)
        };
        event(&format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}{reason}}}]}}"#))
    };
    let thought = r#"{"text":"Hm","thought":true}"#;
    let code = r#"{"executableCode":{"code":"1"}}"#;
    let result = r#"{"codeExecutionResult":{"output":"1"}}"#;
    let hi = r#"{"text":"Hi"}"#;
    let messages = |more: &str| {
        format!("{}{}{more}", Shape(Messages).start(), Shape(Messages).reasoning("Hm"))
            + &event(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#)
    };
    for (protocol, body, text, reason, whole) in [
        (GenerateContent, gemini("", "STOP"), "", "Stop", false),
        (GenerateContent, gemini(thought, "STOP"), "", "Stop", false),
        (GenerateContent, gemini(hi, "STOP"), "Hi", "Stop", true),
        (
            GenerateContent,
            gemini("", "STOP") + &gemini(hi, "") + &gemini("", "STOP"),
            "Hi",
            "Stop",
            true,
        ),
        (GenerateContent, gemini("", "MAX_TOKENS"), "", "Length", true),
        (GenerateContent, gemini("", "SAFETY"), "", "ContentFilter", true),
        (GenerateContent, gemini(r#"{"inlineData":{"data":"x"}}"#, "STOP"), "", "Stop", true),
        (GenerateContent, gemini(r#"{"fileData":{"fileUri":"x"}}"#, "STOP"), "", "Stop", true),
        // A tool call is final, because it waits for its result, whatever Gemini's own tools did.
        (
            GenerateContent,
            gemini(r#"{"functionCall":{"name":"f","args":{}}},{"toolCall":{"id":"1"}}"#, "STOP"),
            "",
            "ToolCalls",
            true,
        ),
        (GenerateContent, gemini(&format!("{hi},{code}"), "STOP"), "Hi", "Stop", false),
        (
            GenerateContent,
            gemini(hi, "") + &gemini(r#"{"toolCall":{"id":"1"}}"#, "STOP"),
            "Hi",
            "Stop",
            false,
        ),
        (GenerateContent, gemini(&format!("{code},{result}"), "STOP"), "", "Stop", false),
        (GenerateContent, gemini(&format!("{code},{result},{hi}"), "STOP"), "Hi", "Stop", true),
        (ChatCompletions, event(STOP), "", "Stop", false),
        (ChatCompletions, event(STOP) + &done, "", "Stop", true),
        (ChatCompletions, reasoning("Hm") + &event(STOP), "", "Stop", false),
        (ChatCompletions, reasoning("Hm") + &event(STOP) + &done, "", "Stop", true),
        (Messages, messages(""), "", "Stop", false),
        (Messages, messages("") + &event(r#"{"type":"message_stop"}"#), "", "Stop", true),
    ] {
        let (content, _, finish, error) = told(protocol, &body);
        let finish = format!("{:?}", finish.unwrap());
        assert_eq!((&*content, &*finish), (text, reason), "{body}");
        assert_eq!(error, (!whole).then_some(ErrorKind::Incomplete), "{body}");
    }
}

/// Baseten sends `stop` at the end of the reasoning, and then the text.
#[test]
fn a_reason_that_was_taken_back_comes_again_at_the_end_marker() {
    let body = reasoning("Hm") + &event(STOP) + &text("Hi");
    assert_eq!(told(Protocol::ChatCompletions, &body).3, Some(ErrorKind::Incomplete));
    let body = body + &event("[DONE]");
    let stream = GenerationStream::from_reader(Cursor::new(body), config());
    let chunks: Vec<StreamChunk> = stream.map(Result::unwrap).collect();
    let reasons: Vec<_> = chunks.iter().map(|chunk| chunk.finish_reason).collect();
    assert_eq!(reasons, [None, Some(FinishReason::Stop), None, Some(FinishReason::Stop)]);
    assert_eq!(chunks[3].raw_finish_reason.as_deref(), Some("stop"));
}

/// Half a character (a lone surrogate) at the end does not withdraw the finish reason.
#[test]
fn half_a_character_at_the_end_does_not_follow_the_finish_reason() {
    let half = r#"{"choices":[{"delta":{"content":"Hi \ud83d"},"finish_reason":"stop"}]}"#;
    for body in [event(half), event(half) + &event("[DONE]")] {
        let (text, _, finish, error) = told(Protocol::ChatCompletions, &body);
        assert_eq!((&*text, finish, error), ("Hi \u{fffd}", Some(FinishReason::Stop), None));
    }
}

/// Some gateways write errors outside of events, or name their events differently.
#[test]
fn an_error_is_found_wherever_it_stands() {
    let bare = "{\"error\":{\"message\":\"context too long\",\"code\":400}}\n\n".to_owned();
    let (_, end) = outcome(&(bare + &event("[DONE]")));
    let (kind, message) = end.unwrap_err();
    assert_eq!(kind, ErrorKind::InvalidRequest);
    assert!(message.contains("context too long"), "{message}");
    for &protocol in Protocol::ALL {
        for data in ["upstream gone", "{\"reason\":\"upstream gone\"}"] {
            let shape = Shape(protocol);
            let body =
                shape.start() + &shape.text("Hi") + &format!("event: error\ndata: {data}\n\n");
            let config = GenerationConfig::default().protocol(protocol);
            let (kind, message) = read(config, Cursor::new(body)).1.unwrap_err();
            assert_eq!(kind, ErrorKind::Server, "{protocol}: {message}");
            assert!(message.contains("upstream gone"), "{protocol}: {message}");
        }
    }
}

/// After an error, a reader from the caller is not read for long, even if it never ends.
#[test]
fn what_follows_an_error_is_not_waited_for() {
    let error = event(r#"{"error":{"message":"m"}}"#);
    let mut stream = GenerationStream::from_reader(Cursor::new(error).chain(pings()), config());
    assert!(stream.next().unwrap().is_err());
    assert!(stream.response().latency < Duration::from_secs(5), "{:?}", stream.response().latency);
}

#[test]
fn what_is_not_understood_is_not_an_empty_answer() {
    let cloudflare = event(r#"{"response":"Hi","p":"abc"}"#) + &event("[DONE]");
    let (texts, end) = outcome(&cloudflare);
    let (kind, message) = end.unwrap_err();
    assert_eq!((texts.len(), kind), (0, ErrorKind::Decode));
    assert!(message.contains(r#"{\"response\":\"Hi\""#), "{message}");
    // Usage alone does not make this a valid response.
    let counted = event(r#"{"response":"Hi","usage":{"prompt_tokens":1,"completion_tokens":2}}"#);
    assert_eq!(outcome(&(counted + &event("[DONE]"))).1.unwrap_err().0, ErrorKind::Decode);
    for &spoken in Protocol::ALL {
        let body = Shape(spoken).whole(&["Hello", " world"]);
        for &read in Protocol::ALL {
            let (text, _, _, error) = told(read, &body);
            let expected = if spoken == read { "Hello world" } else { "" };
            assert_eq!(text, expected, "{spoken} as {read}");
            assert_eq!(error, (spoken != read).then_some(ErrorKind::Decode), "{spoken} as {read}");
        }
    }
}

/// As long as the caller got no chunk, a clean end is retried like a broken connection.
#[test]
fn an_answer_that_ends_before_it_begins_is_asked_for_again() {
    let usage = event(ROLE) + &event(USAGE) + &event("[DONE]");
    let failing = event(
        r#"{"choices":[{"delta":{"content":""},"finish_reason":"network_error"}],"usage":{"prompt_tokens":5}}"#,
    ) + &event("[DONE]");
    let mut cases = vec![(Protocol::ChatCompletions, usage), (Protocol::ChatCompletions, failing)];
    for &protocol in Protocol::ALL {
        let start = Shape(protocol).start();
        let marked = start.clone() + &event("[DONE]");
        cases.extend([String::new(), start, marked].map(|first| (protocol, first)));
    }
    all_at_once(cases, |(protocol, first)| {
        let (whole, shown) = (Shape(protocol).whole(&["Hi"]), first.clone());
        let count = AtomicUsize::new(0);
        let server = Server::start(move |connection| {
            while connection.request()?.is_some() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let body = if number == 0 { &first } else { &whole };
                connection.answer("200 OK", "text/event-stream", body)?;
            }
            Ok(())
        });
        let config = GenerationConfig::new("m")
            .protocol(protocol)
            .base_url(server.unwrap().url())
            .environment(Environment::empty());
        let response = watchdog(Duration::from_secs(20), || generate("Hi", config)).unwrap();
        assert_eq!((&*response.content, response.retries), ("Hi", 1), "{protocol}: {shown}");
    });
}

/// A retry counts only once its request is sent, not while the stream waits to send it.
#[test]
fn a_retry_that_was_not_sent_is_not_counted() {
    let server = Server::start(|connection| {
        connection.request()?;
        connection.write("HTTP/1.1 503 No\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n")
    })
    .unwrap();
    let config =
        GenerationConfig::new("m").base_url(server.url()).environment(Environment::empty());
    let mut stream = generate_stream("Hi", config);
    let cancel = stream.cancel_handle();
    let canceller = std::thread::spawn(move || {
        while server.connections() == 0 {
            std::thread::yield_now();
        }
        cancel.cancel();
    });
    let (kind, retries) = watchdog(Duration::from_secs(20), move || {
        // A chunk before the error may announce the retry.
        let error = stream.by_ref().find_map(Result::err).unwrap();
        (Error::of(&error).unwrap().kind(), stream.response().retries)
    });
    assert_eq!((kind, retries), (ErrorKind::Cancelled, 0));
    canceller.join().unwrap();
}

/// The model, usage and finish reason that a provider sends with or after its error are kept,
/// although no chunk has them.
#[test]
fn a_failure_keeps_the_model_the_usage_and_the_reason() {
    let created = event(r#"{"type":"response.created","response":{"model":"m-1"}}"#);
    let error = event(r#"{"type":"error","code":"server_error","message":"Sorry."}"#);
    let failed = event(
        r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error",
            "message":"Sorry."},"usage":{"input_tokens":5,"output_tokens":2}}}"#
            .replace('\n', " ")
            .as_str(),
    );
    for body in [format!("{created}{failed}"), format!("{created}{error}{failed}")] {
        let config = GenerationConfig::default().protocol(Protocol::Responses);
        let mut stream = GenerationStream::from_reader(Cursor::new(body), config);
        let failure = stream.next().unwrap().unwrap_err();
        assert!(failure.to_string().contains("Sorry"), "{failure}");
        let response = stream.response();
        assert_eq!(response.model.as_deref(), Some("m-1"));
        assert_eq!(response.usage.unwrap().total_tokens, 7);
        assert_eq!(response.finish_reason, Some(FinishReason::Other));
        assert_eq!(response.raw_finish_reason.as_deref(), Some("failed"));
    }
}

#[test]
fn text_after_a_finish_reason_takes_it_back() {
    let again = format!("{}{}{}{}", text("a"), event(STOP), text("b"), event(STOP));
    assert_eq!(
        outcome(&again),
        (vec!["a".into(), String::new(), "b".into(), String::new()], Ok(()))
    );
}

#[test]
fn an_error_in_any_shape_is_the_last_item() {
    let hi = text("Hi");
    for (failing, arrived, kind, says) in [
        (
            format!(r#"{hi}data: {{"error":{{"message":"Busy.","type":"overloaded_error"}}}}"#)
                + "\n\n",
            "Hi",
            ErrorKind::Overloaded,
            "Busy",
        ),
        (event(r#"{"error":"no such thing"}"#), "", ErrorKind::Server, "no such thing"),
        (event(r#"{"error":{"message":"m","code":429}}"#), "", ErrorKind::RateLimited, "code 429"),
        (event(r#"{"error":{"message":"m"},"choices":[]}"#), "", ErrorKind::Server, "m"),
        (
            event(
                r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":"error"}],"error":{"message":"m"}}"#,
            ),
            "Hi",
            ErrorKind::Server,
            "m",
        ),
        (
            format!("{hi}event: error\ndata: {{\"error\":{{\"message\":\"m\"}}}}\n\n"),
            "Hi",
            ErrorKind::Server,
            "m",
        ),
        // Old llama.cpp, and gateways that give up, write the error without an event.
        (format!("{hi}error: {{\"message\":\"slot\"}}\n"), "Hi", ErrorKind::Server, "slot"),
        (format!("{hi}{{\"error\":{{\"message\":\"m\"}}}}"), "Hi", ErrorKind::Server, "m"),
        (
            "{\"error\":{\"message\":\"no key\",\"code\":\"invalid_api_key\"}}".into(),
            "",
            ErrorKind::Auth,
            "no key",
        ),
        (
            format!(
                "{hi}data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"insufficient_system_resource\"}}]}}\n\n"
            ),
            "Hi",
            ErrorKind::Server,
            "insufficient_system_resource",
        ),
    ] {
        let (texts, end) = outcome(&failing);
        let (told, message) = end.unwrap_err();
        assert_eq!((texts.concat().as_str(), told), (arrived, kind), "{failing}: {message}");
        assert!(message.contains(says), "{failing}: {message}");
    }
}

#[test]
fn arguments_that_were_cut_are_never_none() {
    let call = |arguments: &str, reason: &str| {
        let call = format!(
            r#"[{{"index":0,"id":"c","function":{{"name":"f","arguments":"{arguments}"}}}}]"#
        );
        event(&format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":{call}}},"finish_reason":{reason}}}]}}"#
        ))
    };
    let parsed = |body: String| {
        let stream = GenerationStream::from_reader(Cursor::new(body), config());
        let part = |error: anyhow::Error| Error::of(&error).unwrap().partial().unwrap().clone();
        let response = stream.into_response().unwrap_or_else(part);
        let saved = serde_json::to_string(&response.tool_calls[0]).unwrap();
        let call: kerb_stream::ToolCall = serde_json::from_str(&saved).unwrap();
        if call.arguments.is_empty() && call.parse::<serde_json::Value>().is_err() {
            let local = GenerationConfig::new("m").base_url("http://localhost/v1");
            for &protocol in Protocol::ALL {
                let history = [Message::user("Hi"), Message::from(&response)];
                let asked = generate_stream(history, local.clone().protocol(protocol)).request();
                let told = asked.unwrap().adaptations.remove(0);
                assert_eq!(told.what, "the arguments of the tool call \"f\"", "{protocol}");
            }
        }
        call.parse::<serde_json::Value>().map(|arguments| arguments.to_string()).ok()
    };
    assert_eq!(parsed(call("", "\"tool_calls\"")).as_deref(), Some("{}"));
    assert_eq!(parsed(call("", "\"length\"")), None);
    assert_eq!(parsed(call("{\\\"a", "\"length\"")), None);
    assert_eq!(parsed(call("", "null")), None, "the stream was cut");
}

#[test]
fn an_error_inside_the_stream_has_the_request_id_of_its_answer() {
    let server = Server::start(|connection| {
        if connection.request()?.is_some() {
            let error = event(r#"{"error":{"message":"No.","type":"invalid_request_error"}}"#);
            let head = "HTTP/1.1 200 OK\r\nx-request-id: req_7\r\nconnection: close\r\n\r\n";
            connection.write(format!("{head}{error}").as_bytes())?;
        }
        Ok(())
    })
    .unwrap();
    let config =
        GenerationConfig::new("m").base_url(server.url()).environment(Environment::empty());
    let error = watchdog(Duration::from_secs(20), || generate("Hi", config)).unwrap_err();
    let error = Error::of(&error).unwrap();
    assert!(error.body().is_some(), "{error}");
    assert_eq!((error.request_id(), error.status()), (Some("req_7"), None));
}

#[test]
fn what_is_no_stream_is_told_apart() {
    for (body, says) in [
        ("<!doctype html>\n<html><body>Please log in</body></html>", "Please log in"),
        ("upstream connect error", "upstream connect error"),
        ("{\"object\":\"list\",\"data\":[]}", "not an event stream"),
        ("{\"a\":1}\n{\"a\":2}\n", "not an event stream"),
        ("SSH-2.0-OpenSSH", "SSH"),
        ("data: {broken\n\n", "event 1 cannot be read"),
    ] {
        let (texts, end) = outcome(body);
        let (kind, message) = end.unwrap_err();
        assert_eq!((texts.len(), kind), (0, ErrorKind::Decode), "{body}");
        assert!(message.contains(says), "{body}: {message}");
        assert!(!message.contains('\n'));
    }
}

#[test]
fn a_recording_needs_a_provider_or_a_protocol() {
    for nobodys in ["llama3.2", "nobody::m", ""] {
        let (_, end) = read(nobodys.into(), Cursor::new(text("Hi") + &event(STOP)));
        assert_eq!(end.unwrap_err().0, ErrorKind::Config, "{nobodys}");
    }
    assert_eq!(read("ollama::m".into(), Cursor::new(text("Hi") + &event(STOP))).1, Ok(()));
}

#[test]
fn a_small_request_leaves_in_one_piece() {
    for _ in 0..10 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut piece = [0; 65536];
            let size = socket.read(&mut piece).unwrap();
            String::from_utf8_lossy(&piece[..size]).into_owned()
        });
        let config = GenerationConfig::new("m").base_url(url).environment(Environment::empty());
        let asked = watchdog(Duration::from_secs(20), || generate("Hi", config.max_retries(0)));
        assert!(asked.is_err());
        let piece = server.join().unwrap();
        assert!(piece.contains("\r\n\r\n{") && piece.ends_with('}'), "{piece}");
    }
}

#[test]
fn an_answer_that_was_not_streamed_is_one_chunk() {
    let body = r#"{"model":"m","choices":[{"index":0,"message":{"role":"assistant",
        "content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    assert_eq!(outcome(body), (vec!["Hi".into()], Ok(())));
    let list = format!("[{},\n{STOP}]", r#"{"choices":[{"delta":{"content":"Hi"}}]}"#);
    assert_eq!(outcome(&list), (vec!["Hi".into(), String::new()], Ok(())));
    // The end of the document also ends the response.
    let unsaid = body.replace("\"stop\"", "null");
    assert_eq!(outcome(&unsaid), (vec!["Hi".into()], Ok(())));
    for marker in ["data: [DONE]\n\n", "data: [DONE]\n", "data: [DONE]"] {
        assert_eq!(outcome(&format!("{body}\n\n{marker}")).1, Ok(()));
        let (kind, message) =
            outcome(&format!(r#"{{"error":{{"message":"no","code":400}}}}{}{marker}"#, "\n\n"))
                .1
                .unwrap_err();
        assert!(kind == ErrorKind::InvalidRequest && message.contains("no"), "{message}");
    }
    // A single line with a chunk, which is no event and has no finish reason, is not a whole
    // document.
    let cut = r#"{"choices":[{"delta":{"content":"Hi"}}]}"#;
    assert_eq!(outcome(cut).1.unwrap_err().0, ErrorKind::Incomplete);

    for (protocol, body) in [
        (
            Protocol::Messages,
            r#"{"type":"message","model":"m","content":[{"type":"thinking","thinking":"Hm","signature":"s"},
                {"type":"text","text":"Hi"}],"stop_reason":"REASON","usage":{"input_tokens":1,"output_tokens":2}}"#,
        ),
        (
            Protocol::Responses,
            r#"{"object":"response","status":"completed","model":"m","error":null,"output":[
                {"type":"reasoning","summary":[{"text":"Hm"}]},
                {"type":"message","content":[{"type":"output_text","text":"Hi"}]}],
                "usage":{"input_tokens":1,"output_tokens":2}}"#,
        ),
        (
            Protocol::CohereChat,
            r#"{"id":"c","finish_reason":"REASON","message":{"role":"assistant","content":[
                {"type":"thinking","thinking":"Hm"},{"type":"text","text":"Hi"}]},
                "usage":{"tokens":{"input_tokens":1,"output_tokens":2}}}"#,
        ),
        (
            Protocol::GenerateContent,
            r#"{"candidates":[{"content":{"parts":[{"text":"Hm","thought":true},{"text":"Hi"}]},
                "finishReason":"REASON"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#,
        ),
    ] {
        for reason in ["STOP", "null"] {
            let word = match protocol {
                Protocol::Messages => "end_turn",
                Protocol::CohereChat => "COMPLETE",
                _ => "STOP",
            };
            let quoted = if reason == "null" { reason.to_owned() } else { format!("{word:?}") };
            let body = body.replace("\"REASON\"", &quoted);
            let (text, reasoning, finish, error) = told(protocol, &body);
            assert_eq!((&*text, &*reasoning), ("Hi", "Hm"), "{protocol}: {body}");
            let unsaid = reason == "null" && protocol != Protocol::Responses;
            // In Gemini's protocol, one chunk of a stream looks like a whole document.
            let is_cut = unsaid && protocol == Protocol::GenerateContent;
            assert_eq!(error, is_cut.then_some(ErrorKind::Incomplete), "{protocol}: {body}");
            assert_eq!(finish, (!unsaid).then_some(FinishReason::Stop), "{protocol}");
        }
    }
}

#[test]
fn a_reader_that_fails_cuts_the_answer_and_loses_nothing() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer"))
        }
    }
    let torn = Cursor::new(text("Hi") + "data: {\"cho").chain(Failing);
    let (texts, end) = read(config(), torn);
    let (kind, message) = end.unwrap_err();
    assert_eq!((texts.concat().as_str(), kind), ("Hi", ErrorKind::Incomplete));
    assert!(message.contains("the stream was cut"), "{message}");

    let whole = Cursor::new(text("Hi") + &event(STOP)).chain(Failing);
    assert_eq!(read(config(), whole).1, Ok(()));
}

#[test]
fn a_reader_that_only_pings_is_left_when_the_stream_is_cancelled() {
    let impatient = config().stall_timeout(Duration::from_secs(5));
    let mut stream = GenerationStream::from_reader(pings(), impatient);
    let cancel = stream.cancel_handle();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        cancel.cancel();
    });
    let error = stream.next().unwrap().unwrap_err();
    assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Cancelled));
    assert!(stream.response().latency < Duration::from_secs(4));
    canceller.join().unwrap();
}

fn pings() -> impl Read + Send + 'static {
    dripping(": ping\n")
}
