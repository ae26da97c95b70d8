//! What the examples have in common: which model they ask, and how they end.

#![allow(dead_code)] // each example uses another part of it

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;
use kerb_stream::{GenerationConfig, ModelName, generate_stream};

#[path = "../demo/mod.rs"]
pub(crate) mod demo;

/// What the command line says: `[--model MODEL] [PROVIDER::MODEL] [PROMPT]`.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    model: Option<String>,
    /// The prompt, if there is one.
    pub(crate) prompt: Option<String>,
    /// The value of the option that only this example has.
    pub(crate) option: Option<String>,
}

impl Arguments {
    /// Reads the command line; `option` is one more option that takes a value, such as `--svg`.
    pub(crate) fn read(option: Option<&str>) -> anyhow::Result<Self> {
        let mut arguments = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let slot = match word.as_str() {
                "--model" => &mut arguments.model,
                name if Some(name) == option => &mut arguments.option,
                name if name.starts_with("--") => {
                    let more = option.map(|name| format!(" [{name} FILE]")).unwrap_or_default();
                    bail!("usage: [--model MODEL | PROVIDER::MODEL]{more} [PROMPT]")
                }
                name if is_model(name) => {
                    arguments.model = Some(word);
                    continue;
                }
                _ => {
                    let before = arguments.prompt.take().map(|before| before + " ");
                    arguments.prompt = Some(before.unwrap_or_default() + &word);
                    continue;
                }
            };
            *slot = words.next();
            if slot.is_none() {
                bail!("{word} needs a value");
            }
        }
        Ok(arguments)
    }

    /// The prompt on the command line, or else this one.
    pub(crate) fn prompt<'a>(&'a self, default: &'a str) -> &'a str {
        self.prompt.as_deref().unwrap_or(default)
    }

    /// The model that the command line names; else OpenAI, if there is a key for it; else the demo.
    pub(crate) fn model(&self) -> anyhow::Result<GenerationConfig> {
        if let Some(model) = &self.model {
            return Ok(model.into());
        }
        if std::env::var("OPENAI_API_KEY").is_ok_and(|key| !key.trim().is_empty()) {
            return Ok(ModelName::GPT_4O_MINI.into());
        }
        writeln!(
            io::stderr(),
            "This is the demo: canned answers from a server inside this program.\n\
             For a real model set OPENAI_API_KEY, or name one, such as ollama::llama3.2.\n"
        )?;
        let server = demo::start(demo::like_a_model)?;
        Ok(GenerationConfig::new("demo").base_url(server.url()))
    }
}

/// Whether a word names a model: somebody serves it, if only for those who have a key or say where.
fn is_model(word: &str) -> bool {
    let served = match generate_stream("?", word).request() {
        Ok(_) => true,
        Err(error) => !error.to_string().starts_with("no provider found"),
    };
    !word.contains(char::is_whitespace) && (served || word.contains("::"))
}

/// How a program ends: well, also when nobody reads on (`stream | head`), or with a message.
pub(crate) fn exit(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    // Only an error of our own writing is an `io::Error` itself; the network's is a cause at most.
    let unread = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(unread) {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

/// Standard output, which ends its last line when an answer is cut: what follows starts on a new
/// one.
#[derive(Debug)]
pub(crate) struct Stdout {
    within_line: bool,
}

pub(crate) fn stdout() -> Stdout {
    Stdout { within_line: false }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stdout().write(bytes)?;
        if let Some(last) = bytes.get(..written).and_then(<[u8]>::last) {
            self.within_line = *last != b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

impl Drop for Stdout {
    fn drop(&mut self) {
        if self.within_line {
            // There is nobody left to tell.
            let _ = io::stdout().write_all(b"\n");
        }
    }
}
