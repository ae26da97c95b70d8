//! Prints an answer while it arrives, then its timing and its tokens.
//!
//! ```text
//! cargo run --example stream
//! cargo run --example stream -- ollama::llama3.2 "Why is the sky blue?"
//! ```
//!
//! Without a model on the command line it asks the demo server. A copy of this file in another
//! project must leave the demo out.

use std::env;
use std::io::{Write, stderr, stdout};

use kerb_stream::{GenerationConfig, generate_stream, terminal_safe};

#[path = "demo/mod.rs"]
mod demo;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let config = match arguments.next() {
        Some(model) => GenerationConfig::new(model),
        None => demo::config()?,
    };
    let prompt = arguments.next();
    let prompt = prompt.as_deref().unwrap_or("Explain async/await in two sentences.");

    let mut out = stdout();
    let mut stream = generate_stream(prompt, config);
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    let response = stream.into_response()?;
    let mut report = stderr();
    writeln!(report, "{} chunks in {:.2?}", response.chunk_count, response.latency)?;
    if let Some(time) = response.time_to_first_text {
        writeln!(report, "the first text after {time:.2?}")?;
    }
    if let Some(usage) = response.usage {
        let (read, written) = (usage.prompt_tokens, usage.completion_tokens);
        writeln!(report, "{read} tokens read, {written} written")?;
    }
    Ok(())
}
