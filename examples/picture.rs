//! Asks a model for a picture, prints what the model says, and saves the picture in a file.
//!
//! ```text
//! cargo run --example picture -- gemini-3.1-flash-image "A red bicycle"
//! ```

use std::env;
use std::fs::File;
use std::io::{Write, stderr, stdout};

use anyhow::{Context as _, ensure};
use kerb_stream::{generate_stream, terminal_safe};

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let model = arguments.next().unwrap_or_else(|| "gemini-3.1-flash-image".to_owned());
    let prompt = arguments.next().unwrap_or_else(|| "A lighthouse in a storm.".to_owned());

    let (mut out, mut log) = (stdout(), stderr());
    let mut stream = generate_stream(prompt, model);
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    let response = stream.into_response()?;
    ensure!(!response.attachments.is_empty(), "the model made no picture");
    for (number, picture) in (1..).zip(&response.attachments) {
        // The name must not depend on what a server says.
        let extension = match picture.media_type.as_deref() {
            Some("image/png") => "png",
            Some("image/jpeg") => "jpg",
            Some("image/webp") => "webp",
            _ => "bin",
        };
        let name = format!("picture-{number}.{extension}");
        let bytes = picture.to_bytes().context("the picture is a URL")?;
        // This never replaces a file.
        let mut file = File::create_new(&name).with_context(|| format!("cannot create {name}"))?;
        file.write_all(&bytes)?;
        writeln!(log, "{name}: {} bytes", bytes.len())?;
    }
    Ok(())
}
