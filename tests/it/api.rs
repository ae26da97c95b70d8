//! The promises of the public types: what the compiler accepts, and what short programs rely on.

use std::cell::Cell;
use std::io;
use std::iter::FusedIterator;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kerb_stream::{
    Activity, Adaptation, Attachment, CancelHandle, ChunkExtras, Citation, Elements, Environment,
    Error, ErrorKind, FinishReason, GenerationConfig, GenerationResponse, GenerationStream,
    LlmProvider, Message, ModelName, Prompt, Protocol, Proxy, Reasoning, RequestPreview,
    ResponseFormat, Source, StreamChunk, TokenLogprob, Tool, ToolCall, ToolCallDelta, ToolChoice,
    Usage, generate, generate_stream,
};
use serde_json::json;
use static_assertions::{assert_impl_all, assert_not_impl_any};

use crate::support::Server;

const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n\
                     data: {\"choices\":[{\"delta\":{\"content\":\" you\"}}]}\n\n\
                     data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn hello() -> GenerationStream {
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    GenerationStream::from_reader(HELLO.as_bytes(), config)
}

#[test]
fn there_is_a_request_to_see_until_the_stream_begins() {
    let config = GenerationConfig::new("m").protocol(Protocol::ChatCompletions);
    let said = |stream: &GenerationStream| stream.request().unwrap_err().to_string();
    let given = GenerationStream::from_reader(io::empty(), config);
    assert!(said(&given).contains("the response comes from a reader"), "{}", said(&given));
    let config = GenerationConfig::new("").environment(Environment::empty());
    let mut failed = generate_stream("Hi", config);
    assert!(said(&failed).contains("model"), "{}", said(&failed));
    assert!(failed.next().unwrap().is_err());
    assert!(said(&failed).contains("the stream has begun"), "{}", said(&failed));
}

#[test]
fn everything_crosses_threads() {
    fn sends<T: Send>() {}
    fn shares<T: Send + Sync + 'static>() {}
    sends::<GenerationStream>();
    shares::<CancelHandle>();
    shares::<Error>();
    shares::<GenerationConfig>();
    shares::<GenerationResponse>();
    shares::<Prompt>();
    shares::<StreamChunk>();

    // A stream can move to another thread exactly if its closures can.
    let stream = hello().callback(|_: &StreamChunk| ());
    std::thread::spawn(move || stream.into_response()).join().unwrap().unwrap();
    assert_impl_all!(GenerationStream<Cell<()>, Cell<()>>: Send);
    assert_not_impl_any!(GenerationStream<Rc<()>>: Send);
    assert_not_impl_any!(GenerationStream<fn(&StreamChunk), Rc<()>>: Send);
}

/// With `Drop`, a loan of a closure would last until the stream is dropped, and a program could not
/// move a field out of a response.
#[test]
fn no_public_type_implements_drop() {
    macro_rules! check {
        ($($type:ty),+) => { $(assert_not_impl_any!($type: Drop);)+ };
    }
    check!(GenerationStream, Elements<'_, (), GenerationStream>, StreamChunk, ChunkExtras);
    check!(GenerationResponse, GenerationConfig, Message, Prompt, ToolCall, Tool, Attachment);
    check!(Activity, Source, Citation, TokenLogprob, ToolCallDelta, Usage, Error, CancelHandle);
    check!(RequestPreview, Adaptation, Environment, Proxy, Reasoning, ResponseFormat, ToolChoice);
}

#[test]
fn a_tool_may_be_any_closure() {
    // The plainest closure needs no type.
    let stream = hello().run_tools(|_| Ok("x".into()));
    // The stream crosses threads if its closures do.
    std::thread::spawn(move || drop(stream)).join().unwrap();

    // A tool may use what cannot cross threads, and its loan ends at the last use of the stream.
    let (counter, mut notes) = (Cell::new(0), Vec::new());
    let mut stream = hello().callback(|_| counter.set(counter.get() + 1)).run_tools(|call| {
        notes.push(call.name.clone());
        Ok(counter.get().to_string())
    });
    assert!(stream.next().is_some());
    assert!(notes.is_empty());
    // So do the loans of the elements.
    let mut pieces = Vec::new();
    let mut stream = hello().callback(|chunk| pieces.push(chunk.content.clone()));
    let mut elements = stream.elements::<String>("");
    assert!(elements.next().unwrap().is_err());
    assert_eq!(stream.response().content, "Hello you");
    assert_eq!(pieces.len(), 3);
    // Helpers take any stream, whatever its closures.
    fn text(chunks: impl Iterator<Item = anyhow::Result<StreamChunk>>) -> anyhow::Result<String> {
        chunks.map(|chunk| Ok(chunk?.content)).collect()
    }
    assert_eq!(text(hello()).unwrap(), "Hello you");
}

#[test]
fn a_stream_is_a_fused_iterator() {
    fn fused<T: FusedIterator<Item = anyhow::Result<StreamChunk>>>(_: &T) {}
    let mut stream = hello();
    fused(&stream);
    assert_eq!((&mut stream).count(), 3);
    assert!(stream.next().is_none() && stream.next().is_none());
}

#[test]
fn a_callback_borrows_what_the_caller_uses_again_before_the_stream_is_dropped() {
    let mut lengths = Vec::new();
    let mut stream = hello().callback(|chunk| lengths.push(chunk.content.len()));
    let mut seen = 0;
    #[allow(clippy::while_let_on_iterator)] // a boxed callback would break this form
    while let Some(chunk) = stream.next() {
        seen += chunk.unwrap().content.len();
    }
    // If the stream implemented `Drop`, the borrow would last until it is dropped.
    assert_eq!(lengths, [5, 4, 0]);
    assert_eq!(seen, 9);
}

#[test]
fn a_callback_sees_each_chunk_once_and_after_the_fold_also_without_a_loop() {
    let mut seen = String::new();
    let response = hello().callback(|chunk| seen += &chunk.content).into_response().unwrap();
    assert_eq!(seen, "Hello you");
    assert_eq!((response.chunk_count, response.finish_reason), (3, Some(FinishReason::Stop)));

    let mut stream = hello().callback(|chunk| assert!(chunk.content != " you", "stop"));
    assert_eq!(stream.next().unwrap().unwrap().content, "Hello");
    let panics = std::panic::AssertUnwindSafe(|| stream.next());
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(stream.response().content, "Hello you", "the chunk was folded before the panic");
}

#[test]
fn what_reads_as_a_prompt_is_one() {
    let messages = vec![Message::system("s"), Message::user("u")];
    let [system, user] = [Message::system("s"), Message::user("u")];
    let prompts: [Prompt; 7] = [
        messages.clone().into(),
        (&messages).into(),
        messages.as_slice().into(),
        [system.clone(), user.clone()].into(),
        (&[system.clone(), user.clone()]).into(),
        messages.iter().cloned().collect(),
        (&Prompt::from(messages.clone())).into(),
    ];
    assert!(prompts.iter().all(|prompt| prompt.messages() == messages));
    let single: [Prompt; 5] = [
        "u".into(),
        String::from("u").into(),
        (&String::from("u")).into(),
        user.clone().into(),
        (&user).into(),
    ];
    assert!(single.iter().all(|prompt| prompt.messages() == [user.clone()]));
}

#[test]
fn what_reads_as_a_configuration_is_one() {
    let config = GenerationConfig::new("gpt-4o-mini");
    assert_eq!(GenerationConfig::from("gpt-4o-mini"), config);
    assert_eq!(GenerationConfig::from(String::from("gpt-4o-mini")), config);
    assert_eq!(GenerationConfig::from(&String::from("gpt-4o-mini")), config);
    assert_eq!(GenerationConfig::from(ModelName::GPT_4O_MINI), config);
    assert_eq!(GenerationConfig::from(&config), config);
}

#[test]
fn a_stream_is_lazy_and_every_failure_is_an_item() {
    let config = GenerationConfig::new("gpt-4o-mini").environment(Environment::empty());
    let mut stream = generate_stream("Hi", &config);
    let error = stream.next().unwrap().unwrap_err();
    assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Auth));
    assert!(stream.next().is_none());

    // The error is found under any context, and a context does not hide its message.
    let error = generate("Hi", &config).unwrap_err().context("while greeting");
    assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Auth));
    assert!(format!("{error:#}").starts_with("while greeting: openai: there is no API key"));
}

/// A forgotten environment variable is a common reason for a wrong base URL or a wrong API key.
#[test]
fn an_error_says_with_whom_and_which_variable_named_it() {
    const MISSING: &str = r#"{"error":{"message":"No such model.","code":"model_not_found"}}"#;
    const REFUSED: &str = r#"{"error":{"message":"No.","code":"invalid_api_key"}}"#;
    for (status, body, says) in [
        (
            "404 Not Found",
            MISSING,
            "returned 404 for model \"gpt-4o\": No such model (code model_not_found); check the \
             model's name, whether the model supports the request, and the base URL",
        ),
        (
            "401 Unauthorized",
            REFUSED,
            "returned 401: No (code invalid_api_key); check the API key (from OPENAI_API_KEY)",
        ),
        (
            "200 OK",
            MISSING,
            "reports an error inside the stream for model \"gpt-4o\": No such model (code \
             model_not_found); check the model's name, whether the model supports the request, and \
             the base URL",
        ),
        (
            "200 OK",
            REFUSED,
            "reports an error inside the stream: No (code invalid_api_key); check the API key (from \
             OPENAI_API_KEY)",
        ),
    ] {
        let server = Server::start(move |connection| {
            connection.request()?;
            match status {
                "200 OK" => {
                    connection.start()?;
                    connection.event(body)?;
                    connection.end()
                }
                _ => connection.answer(status, "application/json", body),
            }
        })
        .unwrap();
        let variables = [("OPENAI_BASE_URL", server.url()), ("OPENAI_API_KEY", "k".repeat(9))];
        let config = GenerationConfig::new("gpt-4o").environment(variables.into_iter().collect());
        let error = generate("Hi", config).unwrap_err().to_string();
        let address = server.address();
        assert_eq!(error, format!("openai at {address} (from OPENAI_BASE_URL) {says}"));
    }

    // The model name is a typing error of a known model of this provider.
    let server = Server::start(|connection| {
        connection.request()?;
        connection.answer("404 Not Found", "application/json", MISSING)
    })
    .unwrap();
    let config = GenerationConfig::new("claude-sonet-5").provider(LlmProvider::Anthropic);
    let error = generate("Hi", config.base_url(server.url()).api_key("k")).unwrap_err();
    let says = "check the model's name (did you mean \"claude-sonnet-5-5\"?), whether";
    assert!(error.to_string().contains(says), "{error}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Environment::from_iter([("http_proxy", format!("http://{closed}"))]);
    let config = GenerationConfig::new("m").base_url("http://192.0.2.1/v1").environment(proxy);
    let error = generate("Hi", config.max_retries(0)).unwrap_err().to_string();
    let says =
        format!("the proxy {closed} (from http_proxy) refused the connection; is it running?");
    assert_eq!(error, says);
}

#[test]
fn latency_is_told_at_the_end() {
    let mut stream = hello();
    assert!(stream.next().is_some());
    assert!(stream.response().latency.is_zero());
    assert!(!stream.into_response().unwrap().latency.is_zero());
}

#[test]
fn what_is_told_beside_the_answer_is_known_at_once_and_after_it_was_cut() {
    let begins = r#"{"id":"r1","service_tier":"flex","choices":[{"delta":{"refusal":"I can"}}]}"#;
    let body = format!("data: {begins}\n\ndata: {}\n\n", begins.replace("I can", "not."));
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    let read = || GenerationStream::from_reader(io::Cursor::new(body.clone()), &config);
    let facts = |response: &GenerationResponse| {
        let GenerationResponse { id, service_tier, refusal, .. } = response.clone();
        [id, service_tier, refusal].map(Option::unwrap_or_default).join(" ")
    };

    let mut stream = read();
    stream.next().unwrap().unwrap();
    assert_eq!(facts(stream.response()), "r1 flex I can");
    stream.cancel_handle().cancel();
    let error = stream.into_response().unwrap_err();
    assert_eq!(facts(Error::of(&error).unwrap().partial().unwrap()), "r1 flex I can");

    let error = read().into_response().unwrap_err();
    let error = Error::of(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(facts(error.partial().unwrap()), "r1 flex I cannot.");
    let written = serde_json::to_string(error.partial().unwrap()).unwrap();
    assert_eq!(facts(&serde_json::from_str(&written).unwrap()), "r1 flex I cannot.");
}

#[test]
fn a_response_becomes_the_next_turn() {
    let response = hello().into_response().unwrap();
    assert_eq!(Message::from(&response), Message::assistant("Hello you"));
    assert_eq!(Message::from(response), Message::assistant("Hello you"));
}

#[test]
fn a_request_serialises_for_a_dry_run() {
    let config = GenerationConfig::new("anthropic::m").base_url("http://localhost:1/v1");
    let prompt = [Message::user("Hi"), Message::user("there")];
    let request =
        generate_stream(prompt, config.api_key("planted").max_tokens(5)).request().unwrap();
    let json = serde_json::to_value(&request).unwrap();
    assert_eq!((&json["provider"], &json["protocol"]), (&json!("anthropic"), &json!("messages")));
    assert_eq!(json["url"], "http://localhost:1/v1/messages");
    assert_eq!(json["headers"]["x-api-key"], "(hidden)");
    assert_eq!(json["body"], request.body);
    let adaptation = &json["adaptations"][0];
    assert_eq!(adaptation["what"], "messages[1]");
    let fields = ["asked", "sent", "why"];
    assert!(fields.iter().all(|field| adaptation[field].is_string()), "{adaptation}");
}

#[test]
fn chunks_and_responses_serialise() {
    let mut stream = hello();
    let chunk = serde_json::to_string(&stream.next().unwrap().unwrap()).unwrap();
    assert_eq!(chunk, r#"{"content":"Hello"}"#);
    let response = serde_json::to_value(stream.into_response().unwrap()).unwrap();
    assert_eq!(response.get("finish_reason").unwrap(), "stop");
    let usage: Usage = serde_json::from_str(r#"{"prompt_tokens": 3}"#).unwrap();
    assert_eq!(usage.prompt_tokens, 3);
}

/// A program that slows down near its limit needs these headers most after a 429.
#[test]
fn what_the_head_of_the_last_response_says_is_in_the_response() {
    const LIMITED: &str = "HTTP/1.1 429 X\r\nretry-after-ms: 1\r\nx-request-id: r-NUMBER\r\n\
                           x-ratelimit-remaining-requests: NUMBER\r\ncontent-length: 0\r\n\r\n";
    const GOOD: &str = "HTTP/1.1 200 X\r\nx-request-id: good\r\nx-ratelimit-reset-tokens: 6ms\r\n\
                        connection: close\r\n\r\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for (responses, limit, id) in [
        (&[LIMITED][..], Some(("x-ratelimit-remaining-requests", "0")), Some("r-0")),
        (&[LIMITED, LIMITED], Some(("x-ratelimit-remaining-requests", "1")), Some("r-1")),
        (&[LIMITED, GOOD], Some(("x-ratelimit-reset-tokens", "6ms")), Some("good")),
        // The second request has no response.
        (&[LIMITED, ""], Some(("x-ratelimit-remaining-requests", "0")), None),
        (&[""], None, None),
    ] {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |connection| {
            while connection.request()?.is_some() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                match responses.get(number) {
                    None | Some(&"") => break,
                    Some(response) => {
                        connection.write(response.replace("NUMBER", &number.to_string()))?;
                    }
                }
            }
            Ok(())
        });
        let config = GenerationConfig::new("m")
            .base_url(server.unwrap().url())
            .max_retries(responses.len() as u32 - 1)
            .environment(Environment::empty());
        let mut stream = generate_stream("Hi", config);
        let is_whole = stream.all(|item| item.is_ok());
        let seen = stream.response().clone();
        let limits: Vec<_> =
            seen.rate_limit.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(limits, Vec::from_iter(limit), "{responses:?}");
        assert_eq!(seen.request_id.as_deref(), id, "{responses:?}");
        match stream.into_response() {
            Ok(_) => assert!(is_whole),
            Err(error) => {
                let partial = Error::of(&error).unwrap().partial().unwrap();
                assert_eq!(partial.rate_limit, seen.rate_limit);
            }
        }
    }
}

/// A writer that records its flushes, and fails after `breaks_after` writes.
struct Tell {
    told: Vec<String>,
    breaks_after: usize,
}

impl io::Write for Tell {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.breaks_after == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.breaks_after -= 1;
        self.told.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.told.push("(flush)".to_owned());
        Ok(())
    }
}

#[test]
fn each_piece_is_written_and_flushed() {
    let mut out = Tell { told: Vec::new(), breaks_after: usize::MAX };
    let response = hello().write_to(&mut out).unwrap();
    assert_eq!(out.told.concat().replace("(flush)", ""), response.content);
    assert!(out.told.iter().skip(1).step_by(2).all(|told| told == "(flush)"), "{:?}", out.told);

    let mut broken = Tell { told: Vec::new(), breaks_after: 1 };
    let error = hello().write_to(&mut broken).unwrap_err();
    let error = error.downcast_ref::<io::Error>().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

    let cut = HELLO.split_once("[DONE]").unwrap().0.replace("\"stop\"", "null");
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    let stream = GenerationStream::from_reader(io::Cursor::new(cut), config);
    let mut out = Vec::new();
    let error = stream.write_to(&mut out).unwrap_err();
    assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Incomplete));
    let partial = Error::of(&error).unwrap().partial().unwrap();
    assert_eq!(partial.content.as_bytes(), out);
}
