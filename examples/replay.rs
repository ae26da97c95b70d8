//! Decodes a recorded stream, from a file or from standard input: as text, or a chunk a line as
//! JSON.
//!
//! ```text
//! cargo run --example replay -- --json recording.sse
//! curl -sN … | cargo run --example replay -- --protocol chat_completions
//! ```

mod common;

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use kerb_stream::{GenerationConfig, GenerationStream, Protocol, terminal_safe};

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let mut protocol = Protocol::ChatCompletions;
    let mut json = false;
    let mut recording: Box<dyn Read + Send> = Box::new(io::stdin());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--protocol" => protocol = arguments.next().unwrap_or_default().parse()?,
            option if option.starts_with("--") => {
                bail!("usage: replay [--protocol NAME] [--json] [FILE]")
            }
            "-" => {}
            file => recording = Box::new(File::open(file).with_context(|| file.to_owned())?),
        }
    }

    let mut out = common::stdout();
    let config = GenerationConfig::default().protocol(protocol);
    let mut stream = GenerationStream::from_reader(recording, config);
    for chunk in &mut stream {
        let chunk = chunk?;
        if json {
            // For programs to read, so exactly as it is, but in escapes where it could drive a
            // terminal.
            for c in serde_json::to_string(&chunk)?.chars() {
                match c {
                    c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
                    c => write!(out, "{c}")?,
                }
            }
            writeln!(out)?;
        } else {
            write!(out, "{}", terminal_safe(&chunk.content))?;
        }
        out.flush()?;
    }
    if !json {
        writeln!(out)?;
    }
    Ok(())
}
