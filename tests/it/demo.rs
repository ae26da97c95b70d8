//! The demo server speaks the protocol and serves many requests on one connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{demo, watchdog};

/// Sends requests over one connection and returns all bytes that the server sent.
fn exchange(requests: &[(&str, Value)]) -> String {
    let requests: Vec<_> = requests
        .iter()
        .map(|(line, body)| {
            let body = body.to_string();
            format!("{line} HTTP/1.1\r\nhost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
        .collect();
    watchdog(Duration::from_secs(30), move || {
        let server = demo::start(|_| {}).unwrap();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(requests.concat().as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!((server.connections(), server.requests().len()), (1, requests.len()));
        answer
    })
}

const CHAT: &str = "POST /v1/chat/completions";

/// Returns the JSON of every event.
fn events(answer: &str) -> Vec<Value> {
    let data = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

fn text(events: &[Value]) -> String {
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    deltas.collect()
}

#[test]
fn an_answer_has_role_pieces_finish_reason_usage_and_done() {
    let mut body = json!({
        "model": "demo", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Explain async/await."}],
    });
    let whole = exchange(&[(CHAT, body.clone())]);
    assert!(whole.starts_with("HTTP/1.1 200 OK\r\n"), "{whole}");
    assert!(whole.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{whole}");
    let events = events(&whole);
    let [first, .., finish, usage] = events.as_slice() else {
        panic!("{whole}");
    };
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], events.len() - 3);
    assert!(text(&events).starts_with("Async/await lets"), "{whole}");

    body["max_tokens"] = json!(2);
    let cut = self::events(&exchange(&[(CHAT, body)]));
    assert_eq!(text(&cut), "Async/await");
    assert_eq!(cut[cut.len() - 2]["choices"][0]["finish_reason"], "length");
}

#[test]
fn it_reads_the_whole_conversation() {
    let message = |role: &str, content: Value| json!({"role": role, "content": content});
    let messages = json!([
        message("user", json!("One")),
        message("assistant", json!("1")),
        message("user", json!([{"type": "text", "text": "Two"}])),
    ]);
    let answer =
        exchange(&[(CHAT, json!({"model": "demo", "stream": true, "messages": messages}))]);
    let text = text(&events(&answer));
    assert!(text.contains("Two") && text.contains("turn 2"), "{text}");
    assert!(!answer.contains("completion_tokens"), "usage was not requested");
}

#[test]
fn what_it_cannot_do_is_an_error_and_the_connection_stays() {
    let hello = json!([{"role": "user", "content": "Hello"}]);
    let answer = exchange(&[
        ("GET /v1/models", json!({})),
        (CHAT, json!({"stream": true, "messages": []})),
        (CHAT, json!({"messages": hello})),
        (CHAT, json!({"stream": true, "messages": hello})),
    ]);
    let statuses = answer.matches("HTTP/1.1 ").count();
    assert_eq!(statuses, 4, "{answer}");
    for part in ["HTTP/1.1 404 Not Found", "HTTP/1.1 400 Bad Request", "\"invalid_request_error\""]
    {
        assert!(answer.contains(part), "{answer}");
    }
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}
