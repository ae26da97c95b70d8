//! Chats in the terminal. Ctrl-C stops the answer. Ctrl-D ends the chat; on Windows, Ctrl-Z and
//! Enter do.
//!
//! ```text
//! cargo run --example chat -- ollama::llama3.2 "What is a monad?"
//! ```
//!
//! A copy of this file also needs `cargo add ctrlc`.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::iter;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use kerb_stream::{
    CancelHandle, ErrorKind, GenerationConfig, GenerationStream, Message, generate_stream,
    terminal_safe,
};

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let model = arguments.next().unwrap_or_else(|| "gemini-flash-latest".to_owned());
    let config = GenerationConfig::new(model);
    let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
    let running = Running::default();
    let on_interrupt = running.clone();
    ctrlc::set_handler(move || on_interrupt.stop(interactive))?;

    let lines = iter::from_fn(|| read_line(interactive).transpose());
    let mut history = Vec::new();
    for question in arguments.next().into_iter().map(Ok).chain(lines) {
        let question = question?;
        if question.trim().is_empty() {
            continue;
        }
        history.push(Message::user(question));
        let mut stream = generate_stream(&history, &config);
        running.set(Some(stream.cancel_handle()));
        let shown = show(&mut stream, interactive);
        running.set(None);

        if let Err(error) = shown {
            match ErrorKind::of(&error) {
                Some(ErrorKind::Cancelled) => writeln!(io::stderr(), "(stopped)")?,
                Some(_) if interactive => writeln!(io::stderr(), "Error: {error:#}")?,
                _ => return Err(error),
            }
        }
        // The text of a stopped answer stays in the history, since the user has read it. If there
        // is none, the question goes, too.
        match stream.new_messages() {
            said if said.is_empty() => drop(history.pop()),
            said => history.extend(said),
        }
    }
    if interactive {
        // The shell's prompt then begins on a new line.
        writeln!(io::stderr())?;
    }
    Ok(())
}

/// Prints the answer while it arrives.
fn show(stream: &mut GenerationStream, interactive: bool) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let mut waiting = Waiting::start(interactive)?;
    let mut result = Ok(());
    for chunk in &mut *stream {
        match chunk {
            Ok(chunk) => {
                if !chunk.content.is_empty() {
                    drop(waiting.take());
                }
                write!(out, "{}", terminal_safe(&chunk.content))?;
                out.flush()?;
            }
            Err(error) => result = Err(error),
        }
    }
    drop(waiting);
    if !stream.response().content.is_empty() {
        writeln!(out)?;
    }
    result
}

/// Returns the next line without its end, or `None` at the end of input.
fn read_line(interactive: bool) -> io::Result<Option<String>> {
    if interactive {
        io::stderr().write_all(b"> ")?;
    }
    let line = io::stdin().lines().next().transpose();
    line.map_err(|error| io::Error::new(error.kind(), format!("standard input: {error}")))
}

/// Shows "waiting …" in the terminal. Dropping it clears that line.
struct Waiting;

impl Waiting {
    fn start(interactive: bool) -> io::Result<Option<Self>> {
        if !interactive {
            return Ok(None);
        }
        io::stderr().write_all("waiting …".as_bytes())?;
        Ok(Some(Self))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // This moves the cursor to the start of the line and clears the line.
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
}

/// The cancel handle of the running answer, for the thread that handles Ctrl-C.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<Option<CancelHandle>>>);

impl Running {
    fn set(&self, handle: Option<CancelHandle>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = handle;
    }

    fn stop(&self, interactive: bool) {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(handle) => handle.cancel(),
            None if interactive => {
                let keys = if cfg!(windows) { "Ctrl-Z and Enter" } else { "Ctrl-D" };
                let _ = write!(io::stderr(), "\n(to leave the chat, press {keys})\n> ");
            }
            None => process::exit(130),
        }
    }
}
