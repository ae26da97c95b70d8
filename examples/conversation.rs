//! A chat that keeps its history. Ctrl-C stops an answer, and what has arrived stays.
//!
//! ```text
//! cargo run --example conversation
//! ```
//!
//! A copy of this file also needs `cargo add ctrlc`.

#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::semicolon_if_nothing_returned)]

use std::io::{Write, stdin, stdout};
use std::sync::Mutex;

use kerb_stream::{CancelHandle, ErrorKind, GenerationConfig, Message, generate_stream};

static RUNNING: Mutex<Option<CancelHandle>> = Mutex::new(None);

fn main() -> anyhow::Result<()> {
    ctrlc::set_handler(|| match RUNNING.lock().unwrap().take() {
        Some(running) => running.cancel(),
        None => std::process::exit(130),
    })?;
    let config = GenerationConfig::new("claude-sonnet-5").max_tokens(800);
    let mut history = vec![Message::system("Answer briefly.")];
    for question in stdin().lines() {
        history.push(Message::user(question?));
        let mut stream = generate_stream(&history, &config);
        *RUNNING.lock().unwrap() = Some(stream.cancel_handle());
        for chunk in &mut stream {
            match chunk {
                Ok(chunk) => print!("{}", chunk.content),
                Err(error) if ErrorKind::of(&error) == Some(ErrorKind::Cancelled) => {
                    print!(" [stopped]")
                }
                Err(error) => eprintln!("\nerror: {error:#}"),
            }
            stdout().flush()?;
        }
        println!();
        RUNNING.lock().unwrap().take();
        match stream.new_messages() {
            said if said.is_empty() => drop(history.pop()), // nothing came: the question may be put again
            said => history.extend(said),
        }
    }
    Ok(())
}
