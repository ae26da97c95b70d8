//! Prints an answer while a callback records when each chunk arrives.
//!
//! ```text
//! cargo run --example callback -- ollama::llama3.2
//! ```

use std::env;
use std::io::{Write, stderr, stdout};
use std::time::Instant;

use kerb_stream::{FinishReason, generate_stream, terminal_safe};

/// The callback keeps these parts of each chunk.
struct Record {
    content: String,
    /// The time since the start, in seconds.
    at: f64,
    finish_reason: Option<FinishReason>,
}

fn main() -> anyhow::Result<()> {
    let model = env::args().nth(1).unwrap_or_else(|| "gemini-flash-latest".to_owned());

    let start = Instant::now();
    let mut records = Vec::new();
    let mut stream =
        generate_stream("Name three benefits of streaming.", model).callback(|chunk| {
            records.push(Record {
                content: chunk.content.clone(),
                at: start.elapsed().as_secs_f64(),
                finish_reason: chunk.finish_reason,
            });
        });
    let mut out = stdout();
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    writeln!(out)?;
    // This consumes the stream, so its callback no longer borrows `records`.
    stream.into_response()?;

    let characters: usize = records.iter().map(|record| record.content.chars().count()).sum();
    let finish_reason = records.iter().find_map(|record| record.finish_reason);
    let span = match records.as_slice() {
        [first, .., last] => last.at - first.at,
        _ => 0.0,
    };
    let gap = span / records.len().saturating_sub(1).max(1) as f64 * 1e3;
    let mut report = stderr();
    writeln!(report, "chunks         {}, {characters} characters", records.len())?;
    writeln!(report, "first to last  {span:.3} s")?;
    writeln!(report, "mean gap       {gap:.1} ms")?;
    if let Some(reason) = finish_reason {
        writeln!(report, "finish reason  {reason:?}")?;
    }
    Ok(())
}
