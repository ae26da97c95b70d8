//! Looks over the loop's shoulder: a callback records when each chunk came.

mod common;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kerb_stream::{FinishReason, generate_stream, terminal_safe};

/// What the callback keeps of a chunk.
struct Seen {
    content: String,
    at: Duration,
    finish_reason: Option<FinishReason>,
}

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let arguments = common::Arguments::read(None)?;
    let model = arguments.model()?;
    let prompt = arguments.prompt.as_deref();
    let mut out = common::stdout();

    let start = Instant::now();
    let mut seen = Vec::new();
    let stream = generate_stream(prompt.unwrap_or("Name three benefits of streaming."), model);
    for chunk in stream.callback(|chunk| {
        seen.push(Seen {
            content: chunk.content.clone(),
            at: start.elapsed(),
            finish_reason: chunk.finish_reason,
        });
    }) {
        write!(out, "{}", terminal_safe(&chunk?.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    // The loop has ended, and so has the loan: `seen` is ours again.
    let chunks = seen.len();
    let letters: usize = seen.iter().map(|seen| seen.content.chars().count()).sum();
    let finish_reason = seen.iter().find_map(|seen| seen.finish_reason);
    let span = match (seen.first(), seen.last()) {
        (Some(first), Some(last)) => last.at - first.at,
        _ => Duration::ZERO,
    };
    let gaps = u32::try_from(chunks.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .max(1);
    let mut report = io::stderr();
    writeln!(report, "chunks         {chunks}, {letters} characters")?;
    writeln!(report, "total span     {:.3} s", span.as_secs_f64())?;
    writeln!(
        report,
        "mean gap       {:.1} ms",
        (span / gaps).as_secs_f64() * 1e3
    )?;
    match finish_reason {
        Some(reason) => writeln!(report, "finish reason  {reason:?}")?,
        None => writeln!(report, "finish reason  none")?,
    }
    Ok(())
}
