//! Measures a stream with a callback, without a loop: the number of chunks, their length, and the
//! time between them.
//!
//! ```text
//! cargo run --example analytics -- ollama::llama3.2
//! ```

use std::env;
use std::io::{Write, stderr, stdout};
use std::time::{Duration, Instant};

use kerb_stream::{generate_stream, terminal_safe};

fn main() -> anyhow::Result<()> {
    let model = env::args().nth(1).unwrap_or_else(|| "gemini-flash-latest".to_owned());

    let (start, mut arrivals, mut characters) = (Instant::now(), Vec::new(), 0);
    let stream = generate_stream("Name three benefits of streaming.", model).callback(|chunk| {
        arrivals.push(start.elapsed());
        characters += chunk.content.chars().count();
    });
    let response = stream.into_response()?;
    writeln!(stdout(), "{}", terminal_safe(&response.content))?;

    let gap = match arrivals.as_slice() {
        [first, between @ .., last] => (*last - *first) / (between.len() as u32 + 1),
        _ => Duration::ZERO,
    };
    let mut report = stderr();
    writeln!(report, "{} chunks, {characters} characters, mean gap {gap:.1?}", arrivals.len())?;
    if let Some(reason) = response.finish_reason {
        writeln!(report, "finish reason {reason:?}")?;
    }
    Ok(())
}
