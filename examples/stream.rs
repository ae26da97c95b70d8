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
    let prompt = arguments.prompt("Explain async/await in two sentences.");
    let model = arguments.model()?;
    let mut out = common::stdout();

    let mut stream = generate_stream(prompt, model);
    for chunk in &mut stream {
        write!(out, "{}", terminal_safe(&chunk?.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    let response = stream.into_response()?;
    let mut report = io::stderr();
    writeln!(
        report,
        "{} chunks in {:.2?}, the first text after {:.2?}",
        response.chunk_count,
        response.latency,
        response.time_to_first_text.unwrap_or_default(),
    )?;
    if let Some(usage) = response.usage {
        let (read, written) = (usage.prompt_tokens, usage.completion_tokens);
        writeln!(report, "{read} tokens read, {written} written")?;
    }
    Ok(())
}
