//! Asks a model for a picture, prints what the model says, and saves the picture in a file.
//!
//! ```text
//! cargo run --example picture -- gemini-3.1-flash-image "A red bicycle"
//! ```

use std::env;
use std::fs::File;
use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Context as _, bail, ensure};
use kerb_stream::{generate_stream, terminal_safe};

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let model = arguments.next().unwrap_or_else(|| "gemini-3.1-flash-image".to_owned());
    let prompt = arguments.next().unwrap_or_else(|| "A lighthouse in a storm.".to_owned());

    let (mut out, mut log) = (stdout(), stderr());
    let mut stream = generate_stream(prompt, model);
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        for step in &chunk.activity {
            writeln!(log, "· {step}")?;
        }
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    writeln!(out)?;

    let response = stream.into_response()?;
    ensure!(!response.attachments.is_empty(), "the model made no picture");
    let mut number = 0;
    for picture in &response.attachments {
        // The name must not depend on what a server says.
        let extension = match picture.media_type.as_deref() {
            Some("image/png") => "png",
            Some("image/jpeg") => "jpg",
            Some("image/webp") => "webp",
            _ => "bin",
        };
        let Some(bytes) = picture.to_bytes() else {
            bail!("the picture has no bytes; its URL is {:?}", picture.as_url())
        };
        // This never replaces a file: the name gets the next free number.
        let (name, mut file) = loop {
            number += 1;
            let name = format!("picture-{number}.{extension}");
            match File::create_new(&name) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                file => {
                    let file = file.with_context(|| format!("cannot create {name}"))?;
                    break (name, file);
                }
            }
        };
        file.write_all(&bytes)?;
        writeln!(log, "{name}: {} bytes", bytes.len())?;
    }
    Ok(())
}
