//! Decodes a recorded stream from a file or from standard input, and prints its text. With `--json`
//! it prints each chunk as one line of JSON.
//!
//! ```text
//! cargo run --example replay -- --json recording.sse
//! curl -sN … | cargo run --example replay -- --protocol chat_completions
//! ```
//!
//! A copy of this file also needs `cargo add serde_json`.

use std::env;
use std::fs::File;
use std::io::{Read, Write, stdin, stdout};

use anyhow::{Context as _, bail};
use kerb_stream::{GenerationConfig, GenerationStream, Protocol, terminal_safe};

fn main() -> anyhow::Result<()> {
    let mut protocol = Protocol::ChatCompletions;
    let mut json = false;
    let mut recording: Box<dyn Read + Send> = Box::new(stdin());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--protocol" => {
                let name =
                    arguments.next().context("--protocol needs a name, as in `responses`")?;
                protocol = name.parse()?;
            }
            option if option.starts_with("--") => {
                bail!("usage: replay [--protocol NAME] [--json] [FILE]")
            }
            "-" => {}
            file => {
                let opened = File::open(file).with_context(|| format!("cannot open {file}"))?;
                recording = Box::new(opened);
            }
        }
    }

    let mut out = stdout();
    let config = GenerationConfig::default().protocol(protocol);
    let mut stream = GenerationStream::from_reader(recording, config);
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        if json {
            // JSON allows some control characters unescaped, such as U+009B. They could control a
            // terminal, so they are escaped here.
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
    stream.into_response()?;
    Ok(())
}
