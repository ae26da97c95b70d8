//! Prints an answer piece by piece, as it arrives, and then what it came to.
//!
//! ```text
//! cargo run --example stream
//! cargo run --example stream -- ollama::llama3.2 "Why is the sky blue?"
//! ```

mod common;

use std::io::{self, Write};
use std::process::ExitCode;

use kerb_stream::{generate_stream, terminal_safe};

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let arguments = common::Arguments::read(None)?;
    let model = arguments.model()?;
    let prompt = arguments.prompt.as_deref();
    let mut out = common::stdout();

    let mut stream = generate_stream(
        prompt.unwrap_or("Explain async/await in two sentences."),
        model,
    );
    for chunk in &mut stream {
        write!(out, "{}", terminal_safe(&chunk?.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    let response = stream.into_response()?;
    let (chunks, latency) = (response.chunk_count, response.latency.as_secs_f64());
    let first = response
        .time_to_first_text
        .unwrap_or_default()
        .as_secs_f64();
    let tokens = response.usage.map_or_else(String::new, |usage| {
        format!(", {} tokens written", usage.completion_tokens)
    });
    writeln!(
        io::stderr(),
        "{chunks} chunks in {latency:.2} s, the first text after {first:.2} s{tokens}"
    )?;
    Ok(())
}
