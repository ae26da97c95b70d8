//! Asks the same twice, with `generate` and with `generate_stream`, and draws when the text was
//! there.
//!
//! ```text
//! cargo run --example compare -- --svg timeline.svg
//! ```

#[path = "../common/mod.rs"]
mod common;
mod timeline;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use kerb_stream::{Error, generate, generate_stream, terminal_safe};

use timeline::Timeline;

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let arguments = common::Arguments::read(Some("--svg"))?;
    let prompt = arguments.prompt("Describe in one paragraph how a river gets to the sea.");
    let model = arguments.model()?;
    let mut out = common::stdout();
    let mut report = io::stderr();

    writeln!(report, "generate: nothing, and then everything")?;
    let start = Instant::now();
    let result = generate(prompt, &model);
    let whole = Timeline::new("generate", [start.elapsed()]);
    if let Err(error) = &result
        && let Some(part) = Error::of(error).and_then(Error::partial)
    {
        write!(out, "{}", terminal_safe(&part.content))?;
    }
    writeln!(out, "{}", terminal_safe(&result?.content))?;

    writeln!(report, "\ngenerate_stream: each piece as it comes")?;
    let start = Instant::now();
    let mut pieces = Vec::new();
    for chunk in generate_stream(prompt, &model) {
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
    if let Some(file) = &arguments.option {
        std::fs::write(file, timeline::svg(&timelines)).with_context(|| file.to_owned())?;
        writeln!(report, "\nThe picture is in {file}.")?;
    }
    Ok(())
}
