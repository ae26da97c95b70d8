//! Looks over the loop's shoulder: a callback records when each chunk came.

mod common;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use kerb_stream::{FinishReason, generate_stream, terminal_safe};

/// What the callback keeps of a chunk.
struct Seen {
    content: String,
    /// In seconds since the request.
    at: f64,
    finish_reason: Option<FinishReason>,
}

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let arguments = common::Arguments::read(None)?;
    let prompt = arguments.prompt("Name three benefits of streaming.");
    let model = arguments.model()?;
    let mut out = common::stdout();

    let start = Instant::now();
    let mut seen = Vec::new();
    let stream = generate_stream(prompt, model).callback(|chunk| {
        seen.push(Seen {
            content: chunk.content.clone(),
            at: start.elapsed().as_secs_f64(),
            finish_reason: chunk.finish_reason,
        });
    });
    for chunk in stream {
        write!(out, "{}", terminal_safe(&chunk?.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    // The loop has ended, and so has the loan: `seen` is ours again.
    let letters: usize = seen.iter().map(|seen| seen.content.chars().count()).sum();
    let finish_reason = seen.iter().find_map(|seen| seen.finish_reason);
    let span = match seen.as_slice() {
        [first, .., last] => last.at - first.at,
        _ => 0.0,
    };
    let gap = span / seen.len().saturating_sub(1).max(1) as f64 * 1e3;
    let mut report = io::stderr();
    writeln!(report, "chunks         {}, {letters} characters", seen.len())?;
    writeln!(report, "total span     {span:.3} s")?;
    writeln!(report, "mean gap       {gap:.1} ms")?;
    if let Some(reason) = finish_reason {
        writeln!(report, "finish reason  {reason:?}")?;
    }
    Ok(())
}
