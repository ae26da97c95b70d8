//! A chat in the terminal. Ctrl-C stops the answer; the end of input, Ctrl-D, ends the chat.

mod common;

use std::io::{self, IsTerminal, Write};
use std::iter;
use std::process::{self, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};

use kerb_stream::{
    CancelHandle, ErrorKind, GenerationStream, Message, generate_stream, terminal_safe,
};

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let arguments = common::Arguments::read(None)?;
    let model = arguments.model()?;
    let person = io::stdin().is_terminal() && io::stderr().is_terminal();
    let running = Running::default();
    let stop = running.clone();
    ctrlc::set_handler(move || stop.stop(person))?;

    let lines = iter::from_fn(|| read_line(person).transpose());
    let mut history = Vec::new();
    for question in arguments.prompt.into_iter().map(Ok).chain(lines) {
        let question = question?;
        if question.trim().is_empty() {
            continue;
        }
        history.push(Message::user(question));
        let mut stream = generate_stream(&history, &model);
        running.set(Some(stream.cancel_handle()));
        let shown = show(&mut stream, person);
        running.set(None);

        if let Err(error) = shown {
            match ErrorKind::of(&error) {
                Some(ErrorKind::Cancelled) => writeln!(io::stderr(), "(stopped)")?,
                Some(_) if person => {
                    writeln!(io::stderr(), "error: {error:#}")?;
                    history.pop();
                    continue;
                }
                _ => return Err(error),
            }
        }
        // What was said until it was stopped stays said: the person has read it.
        let said = stream.response();
        if said.content.is_empty() {
            history.pop();
        } else {
            history.push(Message::from(said));
        }
    }
    if person {
        // The shell gets a line of its own.
        writeln!(io::stderr())?;
    }
    Ok(())
}

/// Prints the answer as it comes.
fn show(stream: &mut GenerationStream, person: bool) -> anyhow::Result<()> {
    let mut out = common::stdout();
    let mut waiting = Waiting::start(person)?;
    for chunk in stream {
        let chunk = chunk?;
        if !chunk.content.is_empty() {
            drop(waiting.take());
        }
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    drop(waiting);
    writeln!(out)?;
    Ok(())
}

/// The next line, without its end; `None` when there are no more.
fn read_line(person: bool) -> io::Result<Option<String>> {
    if person {
        io::stderr().write_all(b"> ")?;
    }
    io::stdin().lines().next().transpose()
}

/// Shows that no text has come yet, until it is dropped.
struct Waiting;

impl Waiting {
    fn start(person: bool) -> io::Result<Option<Self>> {
        if !person {
            return Ok(None);
        }
        io::stderr().write_all("waiting …".as_bytes())?;
        Ok(Some(Self))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // To the start of the line, and clear it.
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
}

/// The handle of the answer that is running, for the thread that hears Ctrl-C.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<Option<CancelHandle>>>);

impl Running {
    fn set(&self, handle: Option<CancelHandle>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = handle;
    }

    fn stop(&self, person: bool) {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(handle) => handle.cancel(),
            None if person => {
                let _ = io::stderr().write_all(b"\n(Ctrl-D ends the chat)\n> ");
            }
            None => process::exit(130),
        }
    }
}
