//! Two tools. One asks before it changes anything. Without a question, the program goes on where an
//! error or a limit has stopped it.
//!
//! ```text
//! cargo run --features schemars --example tools -- "Will it rain in Oslo? Note it."
//! ```
//!
//! A copy of this file also needs `cargo add schemars serde_json`, `cargo add serde --features
//! derive`, and the feature `schemars` of this crate.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fs::File;
use std::io::{self, Write, stdout};

use anyhow::bail;
use kerb_stream::{GenerationConfig, Message, StreamChunk, Tool, generate_stream};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Today's weather in a city.
    Weather { city: String },
    /// Writes something down for the person.
    Note { text: String },
}

fn main() -> anyhow::Result<()> {
    let config =
        GenerationConfig::new("claude-sonnet-5").tools(Tool::variants_of::<Call>()?).max_turns(8);
    let mut history: Vec<Message> = match File::open("history.json") {
        Ok(file) => serde_json::from_reader(file)?, // may end in calls that nobody ran: they run first
        Err(_) => vec![Message::system("Be brief.")],
    };
    history.extend(std::env::args().nth(1).map(Message::user)); // without a question, go on where it stopped
    let mut notes = Vec::new();
    let mut stream =
        generate_stream(&history, &config).run_tools(|call| match call.parse_variant()? {
            Call::Weather { city } => Ok(format!("It rains in {city}.")),
            Call::Note { text } => {
                if !confirm(&format!("Write down {text:?}?"))? {
                    bail!("the person said no")
                }
                notes.push(text);
                Ok(format!("Noted, {} in all.", notes.len()))
            }
        });
    let shown = show(&mut stream);
    history.extend(stream.new_messages()); // whole or not
    serde_json::to_writer_pretty(File::create("history.json")?, &history)?;
    println!("\n{notes:?}");
    shown
}

fn show(chunks: impl Iterator<Item = anyhow::Result<StreamChunk>>) -> anyhow::Result<()> {
    for chunk in chunks {
        let chunk = chunk?;
        chunk.activity.iter().for_each(|step| eprintln!("\n· {step}"));
        print!("{}", chunk.content);
        stdout().flush()?;
    }
    Ok(())
}

fn confirm(question: &str) -> io::Result<bool> {
    eprint!("{question} [y/N] ");
    Ok(io::stdin().lines().next().transpose()?.is_some_and(|answer| answer.trim() == "y"))
}
