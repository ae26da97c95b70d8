//! Prints an answer with numbered footnotes. Meanwhile it shows on standard error what the provider's
//! search does.
//!
//! ```text
//! cargo run --example search
//! cargo run --example search -- gpt-5.6-luna "What happened today?"
//! ```
//!
//! Without a model on the command line it shows the canned answer in `search.sse`. A copy of this
//! file in another project needs that file, too.

use std::env;
use std::io::{Write, stderr, stdout};

use kerb_stream::{
    GenerationConfig, GenerationStream, Protocol, Source, Tool, generate_stream, terminal_safe,
};

/// An answer over the protocol Messages.
const CANNED: &[u8] = include_bytes!("search.sse");

fn main() -> anyhow::Result<()> {
    let mut log = stderr();
    let mut arguments = env::args().skip(1);
    let mut stream = if let Some(model) = arguments.next() {
        let question = arguments.next();
        let question = question.as_deref().unwrap_or("How tall is the tallest tree?");
        generate_stream(question, GenerationConfig::new(model).tools([Tool::web_search()]))
    } else {
        writeln!(log, "This is a canned answer. To ask a real model, put its name after `--`.\n")?;
        let config = GenerationConfig::default().protocol(Protocol::Messages);
        GenerationStream::from_reader(CANNED, config)
    };

    let mut out = stdout();
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        for step in &chunk.activity {
            writeln!(log, "· {step}")?;
        }
        write!(out, "{}", terminal_safe(&chunk.content))?;
        for source in cited(&chunk.sources) {
            write!(out, "[{}]", source.number)?;
        }
        out.flush()?;
    }
    writeln!(out)?;

    let response = stream.into_response()?;
    // Perplexity lists the pages that its text refers to, without their places in the text.
    let has_places = cited(&response.sources).next().is_some();
    for source in response.sources.iter().filter(|it| !has_places || !it.citations.is_empty()) {
        writeln!(out, "\n[{}] {source}", source.number)?;
        for citation in &source.citations {
            let claim = citation.span.clone().and_then(|span| response.content.get(span));
            if let Some(claim) = claim {
                writeln!(out, "    for “{}”", terminal_safe(claim))?;
            }
        }
    }
    Ok(())
}

/// Returns the sources that the answer cites, without those that were only found.
fn cited(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources.iter().filter(|source| !source.citations.is_empty())
}
