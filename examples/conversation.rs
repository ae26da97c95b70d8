//! Asks two questions. The second one continues the conversation.
//!
//! ```text
//! cargo run --example conversation -- ollama::llama3.2
//! ```

use std::env;
use std::io::{Write, stdout};

use kerb_stream::{GenerationConfig, GenerationResponse, Message, generate_stream, terminal_safe};

fn main() -> anyhow::Result<()> {
    let model = env::args().nth(1).unwrap_or_else(|| "gemini-flash-latest".to_owned());
    let config = GenerationConfig::new(model);

    let mut history = vec![
        Message::system("You are a patient teacher. Answer in one sentence."),
        Message::user("What is an iterator in Rust?"),
    ];
    let response = answer(&history, &config)?;

    // A message made from the response carries everything that the provider expects to get back.
    history.push(Message::from(response));
    history.push(Message::user("And what does it mean that an iterator is lazy?"));
    answer(&history, &config)?;
    Ok(())
}

/// Prints an answer while it arrives, and returns the response.
fn answer(history: &[Message], config: &GenerationConfig) -> anyhow::Result<GenerationResponse> {
    let mut out = stdout();
    let mut stream = generate_stream(history, config);
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    writeln!(out)?;
    stream.into_response()
}
