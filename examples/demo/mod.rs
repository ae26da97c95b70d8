//! Replaces a model: a small server on this machine that speaks Chat Completions over real TCP and
//! HTTP, at the pace of a model. Its answers are canned.

#![allow(dead_code)] // Each program uses a different part of this module.
#![allow(clippy::indexing_slicing)] // A missing field of a JSON value is `null`, not a panic.

pub(crate) mod server;

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use kerb_stream::GenerationConfig;
use serde_json::{Value, json};

use self::server::{Connection, Request, Server};

/// Starts the demo, says so on standard error, and returns a configuration that reaches it.
pub(crate) fn config() -> io::Result<GenerationConfig> {
    writeln!(
        io::stderr(),
        "This is the demo: canned answers from a server inside this program.\n\
         To ask a real model, put its name after `--`: ollama::llama3.2, or gemini-flash-latest\n\
         (first set GOOGLE_API_KEY).\n"
    )?;
    let server = start(like_a_model)?;
    Ok(GenerationConfig::new("demo").base_url(server.url()))
}

/// Starts the demo. Before piece `n` of an answer it calls `pace(n)`, which may sleep or, in a test,
/// wait for something else to happen first.
pub(crate) fn start(pace: impl Fn(usize) + Send + Sync + 'static) -> io::Result<Server> {
    Server::start(move |connection| {
        while let Some(request) = connection.request()? {
            match Answer::to(&request) {
                Ok(answer) => answer.stream(connection, &pace)?,
                Err((status, message)) => {
                    let kind = "invalid_request_error";
                    let error =
                        json!({"message": message, "type": kind, "param": null, "code": null});
                    let body = json!({ "error": error }).to_string();
                    connection.answer(status, "application/json", &body)?;
                }
            }
        }
        Ok(())
    })
}

/// Pauses like a model: longer before the first piece, and shortly before the others. The variable
/// `DEMO_PACE` scales the pauses in percent: 200 doubles them, and 0 leaves them out.
pub(crate) fn like_a_model(piece: usize) {
    let percent = std::env::var("DEMO_PACE").ok().and_then(|pace| pace.parse().ok());
    let pause = Duration::from_millis(if piece == 0 { 400 } else { 30 });
    thread::sleep(pause * percent.unwrap_or(100) / 100);
}

/// An answer of the demo, before it is sent.
struct Answer {
    model: Value,
    pieces: Vec<String>,
    finish_reason: &'static str,
    usage: Option<Value>,
}

impl Answer {
    fn to(request: &Request) -> Result<Self, (&'static str, String)> {
        if request.method != "POST" || !request.path.ends_with("/chat/completions") {
            let message = format!("Unknown request URL: {} {}.", request.method, request.path);
            return Err(("404 Not Found", message));
        }
        let asked = request.json();
        let bad = |message: &str| Err(("400 Bad Request", message.to_owned()));
        let Some(messages) = asked["messages"].as_array().filter(|messages| !messages.is_empty())
        else {
            return bad("'messages' has to be a list of at least one message.");
        };
        if asked["stream"] != true {
            return bad("The demo only streams: set 'stream' to true.");
        }

        let mut answer = pieces(&text(messages));
        let mut finish_reason = "stop";
        let limit = asked["max_tokens"].as_u64().or(asked["max_completion_tokens"].as_u64());
        if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok())
            && limit < answer.len()
        {
            answer.truncate(limit);
            finish_reason = "length";
        }

        let read: usize = messages.iter().map(|message| pieces(&content(message)).len() + 4).sum();
        let written = answer.len();
        let usage = json!({
            "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
        });
        Ok(Self {
            model: asked["model"].clone(),
            pieces: answer,
            finish_reason,
            usage: (asked["stream_options"]["include_usage"] == true).then_some(usage),
        })
    }

    fn stream(self, connection: &mut Connection, pace: &impl Fn(usize)) -> io::Result<()> {
        let event = |choices: Value, usage: Option<Value>| {
            json!({
                "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 1_750_000_000,
                "model": self.model, "choices": choices, "usage": usage,
            })
        };
        let choice = |delta: Value, finish_reason: Option<&str>| {
            event(json!([{"index": 0, "delta": delta, "finish_reason": finish_reason}]), None)
        };
        connection.start()?;
        connection.event(choice(json!({"role": "assistant", "content": ""}), None))?;
        for (n, piece) in self.pieces.iter().enumerate() {
            pace(n);
            connection.event(choice(json!({ "content": piece }), None))?;
        }
        connection.event(choice(json!({}), Some(self.finish_reason)))?;
        if self.usage.is_some() {
            connection.event(event(json!([]), self.usage.clone()))?;
        }
        connection.event("[DONE]")?;
        connection.end()
    }
}

/// Returns an answer that fits the prompts of the examples. It shows that the whole conversation was
/// read.
fn text(messages: &[Value]) -> String {
    let prompt = messages.iter().rev().find(|message| message["role"] == "user");
    let prompt = prompt.map(content).unwrap_or_default();
    let prompt_words = prompt.to_lowercase();
    let known =
        ANSWERS.iter().find(|(words, _)| words.iter().all(|word| prompt_words.contains(word)));
    if let Some((_, answer)) = known {
        return (*answer).to_owned();
    }
    let turns = messages.iter().filter(|message| message["role"] == "user").count();
    match turns {
        1 => format!("You said “{prompt}”. I am only the demo, so I have little to say about it."),
        _ => format!(
            "You said “{prompt}”, and that is turn {turns} of our conversation: I see them all."
        ),
    }
}

const ANSWERS: &[(&[&str], &str)] = &[
    (
        &["async"],
        "Async/await lets a function pause at slow work, such as a network call, and hand its thread \
         to other tasks until the result is there. The code still reads from top to bottom, although \
         an executor runs many such functions in turns.",
    ),
    (
        &["river"],
        "A river begins small, as rain and melted snow that trickle downhill and meet in a brook. \
         Each valley adds water, and the brook grows into a stream that cuts its own bed, carrying \
         stones in the mountains, gravel in the hills and fine sand in the plain. There it slows \
         down and winds in wide bends. At the end it spreads out, drops the last of its sand in a \
         delta, and mixes with the salt water of the sea.",
    ),
    (
        &["streaming"],
        "First, the reader starts at once instead of waiting for the last word. Second, a wrong answer \
         can be stopped early. Third, a program can work on the beginning while the rest is still on its way.",
    ),
];

/// Returns the text of a message, which is a string or a list of parts.
fn content(message: &Value) -> String {
    let parts = message["content"].as_array().into_iter().flatten();
    let text = parts.filter_map(|part| part["text"].as_str()).collect();
    message["content"].as_str().map_or(text, str::to_owned)
}

/// Splits a text as models do: a space belongs to the word after it, a long word becomes two pieces,
/// and punctuation is a piece of its own.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for c in text.chars() {
        let cut = c.is_whitespace() || c.is_ascii_punctuation() && c != '\'';
        match pieces.last_mut() {
            Some(piece) if !cut && piece.chars().count() < 8 => piece.push(c),
            _ => pieces.push(c.into()),
        }
    }
    pieces
}
