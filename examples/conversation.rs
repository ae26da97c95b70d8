//! Asks, and asks again: the second turn continues the first.

mod common;

use std::io::Write;
use std::process::ExitCode;

use kerb_stream::{GenerationConfig, GenerationResponse, Message, generate_stream, terminal_safe};

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let arguments = common::Arguments::read(None)?;
    let question = arguments.prompt("What is an iterator in Rust?");
    let model = arguments.model()?;

    let mut conversation = vec![
        Message::system("You are a patient teacher. Answer in one sentence."),
        Message::user(question),
    ];
    let response = answer(&conversation, &model)?;

    conversation.push(Message::from(response));
    conversation.push(Message::user("And what does it mean that an iterator is lazy?"));
    answer(&conversation, &model)?;
    Ok(())
}

fn answer(
    conversation: &[Message],
    model: &GenerationConfig,
) -> anyhow::Result<GenerationResponse> {
    let mut out = common::stdout();
    let mut stream = generate_stream(conversation, model);
    for chunk in &mut stream {
        write!(out, "{}", terminal_safe(&chunk?.content))?;
        out.flush()?;
    }
    writeln!(out)?;
    stream.into_response()
}
