//! Sends one prompt twice, with `generate` and with `generate_stream`, and draws when the text of
//! each could be read.
//!
//! ```text
//! cargo run --example compare -- --svg timeline.svg
//! cargo run --example compare -- ollama::llama3.2 "Why is the sky blue?"
//! ```

use std::env;
use std::io::{Write, stderr, stdout};
use std::time::Instant;

use anyhow::{Context as _, bail};
use kerb_stream::{GenerationConfig, generate, generate_stream, terminal_safe};

use timeline::Timeline;

#[path = "../demo/mod.rs"]
mod demo;
mod timeline;

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<_> = env::args().skip(1).collect();
    let picture = match arguments.iter().position(|argument| argument == "--svg") {
        Some(at) if at + 1 < arguments.len() => arguments.drain(at..at + 2).next_back(),
        Some(_) => bail!("--svg needs a file name"),
        None => None,
    };
    let mut arguments = arguments.into_iter();
    let config = match arguments.next() {
        Some(model) => GenerationConfig::new(model),
        None => demo::config()?,
    };
    let prompt = arguments.next();
    let prompt =
        prompt.as_deref().unwrap_or("Describe in one paragraph how a river gets to the sea.");
    let mut out = stdout();
    let mut report = stderr();

    writeln!(report, "generate: the whole answer at once")?;
    let start = Instant::now();
    let response = generate(prompt, &config)?;
    let whole = Timeline::new("generate", [start.elapsed()]);
    writeln!(out, "{}", terminal_safe(&response.content))?;

    writeln!(report, "\ngenerate_stream: each piece when it arrives")?;
    let start = Instant::now();
    let mut pieces = Vec::new();
    for chunk in generate_stream(prompt, &config) {
        let chunk = chunk?;
        if !chunk.content.is_empty() {
            pieces.push(start.elapsed());
        }
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    let timelines = [whole, Timeline::new("generate_stream", pieces)];
    writeln!(report, "\n{}", timeline::bars(&timelines))?;
    if let Some(file) = picture {
        std::fs::write(&file, timeline::svg(&timelines))
            .with_context(|| format!("cannot write {file}"))?;
        writeln!(report, "\nThe picture is in {file}.")?;
    }
    Ok(())
}
