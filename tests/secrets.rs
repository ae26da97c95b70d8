//! Checks that nothing that this crate prints or logs contains an API key, wherever the key comes from
//! and whatever a server does with it.
//!
//! This is a program with a single test, because a process has only one logger, and this one collects
//! what all threads log.

#![cfg(test)] // Helpers are tests to clippy, too, and may unwrap as clippy.toml says.

mod support;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use kerb_stream::{
    Environment, GenerationConfig, GenerationStream, LlmProvider, Message, Protocol, Proxy,
    Reasoning, generate_stream,
};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::{Value, json};
use support::shapes::Shape;
use support::{Outcome, Server, watchdog};

/// The key has characters that each encoding changes.
const KEY: &str = "sk-Pl4nted\"+/9f8e7d6c5b4a?key=";

/// Returns the key in every encoding in which it could be printed.
fn written(key: &str) -> Vec<String> {
    let percent = |all: bool| {
        let byte = |b: u8| match b {
            b if b.is_ascii_alphanumeric() || (!all && b"-._~".contains(&b)) => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        };
        key.bytes().map(byte).collect::<String>()
    };
    let json = Value::from(key).to_string();
    let mut ways = vec![
        key.to_owned(),
        percent(true),
        percent(false),
        percent(false).to_lowercase(),
        json.trim_matches('"').to_owned(),
        format!("{key:?}"),
        // Every character is escaped, in JSON and in JSON inside a JSON string.
        escaped(key, "\\"),
        escaped(key, "\\\\"),
        key.to_uppercase(),
        // These parts would give the key away.
        key.split_at(14).0.to_owned(),
        key.split_at(key.len() - 14).1.to_owned(),
        "9f8e7d6c5b4a".to_owned(),
    ];
    // In Base64, a text looks different after one or two other bytes. The characters that also depend
    // on those bytes are cut off.
    for engine in [&STANDARD, &URL_SAFE] {
        for before in 0..3 {
            let text = [&b"::"[..before.min(2)], key.as_bytes()].concat();
            let encoded = engine.encode(text).trim_end_matches('=').to_owned();
            let (known, _) = encoded.split_at(encoded.len() - 2);
            ways.push(known.split_at(if before == 0 { 0 } else { 4 }).1.to_owned());
        }
    }
    ways
}

/// Escapes every character, as JSON allows.
fn escaped(key: &str, backslash: &str) -> String {
    key.bytes().map(|byte| format!("{backslash}u{byte:04x}")).collect()
}

#[test]
fn a_key_is_nowhere_to_be_read() {
    static COLLECTOR: Collector = Collector(Mutex::new(Vec::new()));
    log::set_logger(&COLLECTOR).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let printed = watchdog(Duration::from_secs(60), everything_printed);
    let logged = COLLECTOR.0.lock().unwrap_or_else(PoisonError::into_inner).split_off(0);

    let ways = written(KEY);
    let mut found = Vec::new();
    for (what, text) in &printed {
        found.extend(
            ways.iter()
                .filter(|way| text.contains(*way))
                .map(|way| format!("{what}: {way} in {text:?}")),
        );
    }
    for (level, target, text) in logged.iter().filter(|(_, target, _)| is_ours(target)) {
        found.extend(
            ways.iter()
                .filter(|way| text.contains(*way))
                .map(|way| format!("{level} {target}: {way} in {text}")),
        );
    }
    found.iter_mut().for_each(|found| *found = found.chars().take(400).collect());
    assert!(found.is_empty(), "{} times: {:#?}", found.len(), &found[..found.len().min(30)]);
    assert!(printed.len() > 100, "{}", printed.len());
    let ours = logged.iter().filter(|(_, target, _)| is_ours(target)).count();
    assert!(ours > 10, "{ours} records");

    // The dependencies show the key in three places, which `docs/logging.md` names.
    let shown: BTreeSet<String> = logged
        .iter()
        .filter(|(_, target, text)| !is_ours(target) && ways.iter().any(|way| text.contains(way)))
        .map(|(level, target, _)| format!("{level} {target}"))
        .collect();
    let known = ["DEBUG ureq::body", "DEBUG ureq::run", "TRACE ureq_proto::util"];
    assert_eq!(shown, known.map(str::to_owned).into());
}

fn is_ours(target: &str) -> bool {
    target.starts_with("kerb_stream")
}

/// Returns all texts that the crate prints, each with its cause.
fn everything_printed() -> Vec<(String, String)> {
    let mut printed = Vec::new();

    let key = |config: GenerationConfig| config.api_key(KEY);
    let header = |config: GenerationConfig| config.header("Authorization", format!("Bearer {KEY}"));
    let query = |config: GenerationConfig| {
        let url = config.base_url.clone().unwrap();
        let key = KEY.replace('"', "%22").replace('?', "%3F");
        config.base_url(format!("{url}?key={key}&api-version=1"))
    };
    let path = |config: GenerationConfig| {
        let code = KEY.replace('"', "%22").replace('?', "%3F");
        config.path(format!("/chat?code={code}&api-version=1"))
    };
    let gateway = |config: GenerationConfig| config.header("Ocp-Apim-Subscription-Key", KEY);
    let environment = |config: GenerationConfig| {
        let names = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"];
        let provider = match config.protocol {
            Some(Protocol::Messages) => LlmProvider::Anthropic,
            _ => LlmProvider::OpenAi,
        };
        config.provider(provider).environment(Environment::from_iter(names.map(|name| (name, KEY))))
    };
    type Plant<'a> = (&'a str, &'a dyn Fn(GenerationConfig) -> GenerationConfig);
    let plants: [Plant<'_>; 6] = [
        ("key", &key),
        ("header", &header),
        ("query", &query),
        ("path", &path),
        ("gateway", &gateway),
        ("environment", &environment),
    ];

    let server = Server::start(|connection| {
        while let Some(request) = connection.request()? {
            for answer in answers(&request.path) {
                connection.write(answer)?;
            }
            if request.path.contains("/close") {
                break;
            }
        }
        Ok(())
    });
    let server = server.unwrap();
    for &protocol in Protocol::ALL {
        for (plant, put) in plants {
            for number in 0..ANSWERS {
                let base = server.url().replace("/v1", &format!("/{protocol}/{number}/v1"));
                let config = GenerationConfig::new("m")
                    .protocol(protocol)
                    .base_url(base)
                    .environment(Environment::empty())
                    .max_retries(u32::from(number == 0))
                    .raw(true)
                    .max_retry_wait(Duration::from_secs(1));
                let what = format!("{protocol}, {plant}, answer {number}");
                print_stream(&mut printed, &what, put(config));
            }
        }
    }

    let refused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent_address = silent.local_addr().unwrap();
    let local = |url: String| {
        let limit = Duration::from_millis(100);
        GenerationConfig::new("m")
            .base_url(url)
            .environment(Environment::empty())
            .max_retries(0)
            .connect_timeout(limit)
            .first_byte_timeout(limit)
    };
    let at_refused = || local(format!("http://{refused}/v1"));
    for (what, config) in [
        ("refused", key(at_refused())),
        ("refused, query", query(at_refused())),
        ("a key with a line break", at_refused().api_key(format!("{KEY}\n{KEY}"))),
        ("a key beyond ASCII", at_refused().api_key(format!("{KEY}ä"))),
        ("a header with a line break", at_refused().header("api-key", format!("{KEY}\n{KEY}"))),
        ("a header with a name that is none", at_refused().header("x y", KEY)),
        ("plain HTTP", key(local("http://192.0.2.1/v1".into()))),
        ("plain HTTP, query", query(local("http://192.0.2.1/v1".into()))),
        ("plain HTTP, path", path(local("http://192.0.2.1/v1".into()))),
        (
            "user and password",
            local(format!("http://u:{}@127.0.0.1:1/v1", KEY.replace('/', "%2F"))),
        ),
        ("a fragment", local(format!("http://127.0.0.1:1/v1#{KEY}"))),
        ("a port", local("http://127.0.0.1:99999/v1".to_owned()).api_key(KEY)),
        ("no host", query(local("http:///v1".into()))),
        ("silence", key(local(format!("http://{silent_address}/v1")))),
        ("silence, TLS", key(local(format!("https://{silent_address}/v1")))),
        (
            "a proxy's password",
            key(local("https://192.0.2.1/v1".into())).proxy(Proxy::Url(format!(
                "http://u:{}@{refused}",
                KEY.replace(['/', '?', '"'], "x")
            ))),
        ),
        (
            "a proxy that is none",
            key(local("https://192.0.2.1/v1".into()))
                .proxy(Proxy::Url(format!("nonsense://u:{KEY}@x"))),
        ),
        (
            "an option that is refused",
            key(at_refused()).provider(LlmProvider::Mistral).top_k(1).reasoning(Reasoning::High),
        ),
        ("an extra field", at_refused().extra("token", KEY)),
        ("no model", key(GenerationConfig::new("")).environment(Environment::empty())),
        ("cookie", at_refused().header("cookie", format!("session={KEY}"))),
    ] {
        print_stream(&mut printed, what, config);
    }

    // These streams are cancelled before they begin, or end with an error.
    let stream = generate_stream("Hello?", key(at_refused()));
    stream.cancel_handle().cancel();
    print_rest(&mut printed, "cancelled", stream);
    let recording =
        GenerationStream::from_reader(&b"data: {\n\n"[..], key(local("http://a/v1".into())));
    print_rest(&mut printed, "a recording", recording);
    printed.push(("an environment".into(), format!("{:?}", Environment::from_iter([("A", KEY)]))));
    printed
}

fn print_stream(printed: &mut Vec<(String, String)>, what: &str, config: GenerationConfig) {
    // The configuration contains the key.
    printed.push((format!("{what}, the config"), format!("{config:?} {config:#?}")));
    let stream = generate_stream(Message::user("Hello?"), config);
    printed.push((
        format!("{what}, the request"),
        match stream.request() {
            // The preview shows the extra fields, because they are part of the body.
            Ok(request) if what == "an extra field" => format!("{:?}", request.headers),
            Ok(request) => format!("{request} {request:?} {request:#?}"),
            Err(error) => format!("{error:#} {error:?} {error:#?}"),
        },
    ));
    print_rest(printed, what, stream);
}

fn print_rest(printed: &mut Vec<(String, String)>, what: &str, mut stream: GenerationStream) {
    printed.push((format!("{what}, the stream"), format!("{stream:?}")));
    let outcome = Outcome::read(&mut stream, |_| ());
    printed.push((
        format!("{what}, the stream at its end"),
        format!("{stream:?} {:?}", stream.cancel_handle()),
    ));
    printed.push((format!("{what}, the response"), format!("{:?}", stream.response())));
    let activity = outcome.chunks.iter().flat_map(|chunk| &chunk.activity);
    printed.extend(activity.map(|it| (format!("{what}, the activity"), format!("{it} {it:?}"))));
    let json = serde_json::to_string(stream.response()).unwrap();
    printed.push((format!("{what}, the response as JSON"), json));
    if let Some(error) = &outcome.error {
        let ours = outcome.failure();
        printed.push((
            format!("{what}, the error"),
            format!("{error} {error:#} {error:?} {error:#?} {ours} {ours:?} {ours:#?}"),
        ));
        if let Err(error) = stream.into_response() {
            printed.push((format!("{what}, the error at the end"), format!("{error:#} {error:?}")));
        }
    }
}

const ANSWERS: usize = 18;

/// Returns the responses in which a server repeats the key. The path has the protocol and the number
/// of the response.
fn answers(path: &str) -> Vec<String> {
    let mut parts = path.split('/').skip(1);
    let protocol: Protocol = parts.next().unwrap().parse().unwrap();
    let number: usize = parts.next().unwrap().parse().unwrap();
    let shape = Shape(protocol);
    let ways = written(KEY);
    let (percent, base64) = (&ways[1], STANDARD.encode(format!("u:{KEY}")));
    let half = KEY.split_at(16).0;
    let in_escapes = || {
        let once = escaped(KEY, "\\");
        let upper = Value::from(KEY.to_uppercase());
        format!(
            r#"{{"type":"error","error":{{"message":"{once}","type":"{once}","code":"{once}","param":{upper},
            "metadata":{{"raw":"{{\"a\":\"{}\"}}"}}}},"request_id":"{once}"}}"#,
            escaped(KEY, "\\\\")
        )
    };
    let all = format!("You sent {KEY}, that is {percent} or {base64}, {half}…");
    let answer = |status: &str, headers: String, body: String| {
        let length = body.len();
        vec![format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")]
    };
    let events =
        |body: String| answer("200 OK", "content-type: text/event-stream\r\n".into(), body);
    let told = |status: &str| {
        let error = json!({"error": {"message": all, "type": KEY, "code": KEY, "param": KEY}, "request_id": KEY});
        answer(
            status,
            format!("x-request-id: {KEY}\r\nretry-after-ms: 1\r\nx-ratelimit-{KEY}: {KEY}\r\n")
                .replace("\"+/", "")
                .replace("?key=:", "a:"),
            error.to_string(),
        )
    };
    match number {
        0 => told("503 X"),
        1 => told("401 X"),
        2 => told("429 X"),
        3 => told("400 X"),
        4 => answer("400 X", String::new(), format!("<html><title>{all}</title>{KEY}</html>")),
        5 => answer("400 X", String::new(), all),
        6 => answer(
            "307 X",
            format!("location: https://{percent}.example/?key={KEY}\r\n"),
            String::new(),
        ),
        7 => answer("307 X", format!("location: https://example/?key={KEY}\r\n"), String::new()),
        8 => events(shape.start() + &shape.event("error", &shape.error(&all, KEY).to_string())),
        9 => events(shape.start() + &shape.event("", &format!("{{{all}"))),
        10 => events(format!("error: {all}\n\n")),
        11 => events(format!("{all}\n")),
        12 => events(shape.start() + &shape.text("Hi")),
        13 => answer("200 OK", format!("content-encoding: {KEY}\r\n"), String::new()),
        14 => answer(
            "200 OK",
            format!("x-request-id: {KEY}\r\nx-ratelimit-remaining: {KEY}\r\n"),
            shape.whole(&["Hi"]),
        ),
        15 => answer("400 X", String::new(), in_escapes()),
        16 => events(shape.start() + &shape.event("error", &in_escapes())),
        _ => vec![format!("{KEY} is no HTTP\r\n\r\n")],
    }
}

struct Collector(Mutex<Vec<(Level, String, String)>>);

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.push((record.level(), record.target().to_owned(), record.args().to_string()));
    }

    fn flush(&self) {}
}
