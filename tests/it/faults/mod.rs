//! Whatever a server or a network does, a caller gets the response or an error that says what
//! happened. The stream never hangs, and a part is never reported as whole.
//!
//! A fault is one entry of a table: its number, a sentence, what the server does, and what a caller
//! sees. The table is run here in every protocol, and by [`fault_server`] against a server by other
//! authors. `docs/faults.md` is generated from it. The numbers are those of `faults/FAULTS.md` in
//! the folder that `KERB_STREAM_SHARED` names.

// Clippy suggests methods instead of closures, but a method of a type with a lifetime cannot be a
// script.
#![allow(clippy::redundant_closure_for_method_calls)]

mod caller;
mod connecting;
mod events;
mod fault_server;
mod framing;
mod head;
mod interruptions;
mod server;
mod statuses;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use kerb_stream::{Environment, ErrorKind, GenerationConfig, Protocol, generate_stream};

use self::server::{Script, Scripted, Shown, Stage, Then};
use crate::support::shapes::Shape;
use crate::support::{Outcome, watchdog};

use Protocol::{ChatCompletions, GenerateContent, Messages, Responses};

/// The API key of these tests. It must never appear in errors or responses.
const KEY: &str = "sk-test-7c0ffee7c0ffee";

/// The text of a good response.
const HELLO: &str = "Hello wörld 😀";
/// The text that arrives before most faults.
const TWO: &str = "tok0 tok1 ";

const OPENAI: &[Protocol] = &[ChatCompletions];
/// The protocols whose errors have a type.
const TYPED: &[Protocol] = &[ChatCompletions, Messages, Responses, GenerateContent];
/// The protocols whose end marker is an event of its own.
const MARKED: &[Protocol] = &[ChatCompletions, Messages];

fn parts() -> [(&'static str, Vec<Fault>); 7] {
    [
        ("Connecting, TLS, proxies", connecting::faults()),
        ("Status line and headers", head::faults()),
        ("HTTP framing of the body", framing::faults()),
        ("Interrupted and slow streams", interruptions::faults()),
        ("Status codes and error bodies", statuses::faults()),
        ("Contents of the stream", events::faults()),
        ("Invalid configuration", caller::faults()),
    ]
}

/// One fault, and what a caller sees of it.
#[derive(Clone)]
struct Fault {
    id: &'static str,
    /// The sentence that describes the fault.
    sentence: &'static str,
    /// The server's behaviour.
    script: Script,
    /// The parameters that make the fault server do the same, such as `v=neg,n=2`.
    variant: &'static str,
    needs_tls: bool,
    protocols: &'static [Protocol],
    config: fn(GenerationConfig) -> GenerationConfig,
    prompt_bytes: usize,
    /// The number of requests that the caller makes in turn. All but the last get a whole response.
    turns: usize,
    /// The text of all chunks.
    text: &'static str,
    /// The kind of the error and a part of its message, or `None` if the stream ends well.
    error: Option<(ErrorKind, &'static str)>,
    /// The number of requests that the server sees.
    requests: usize,
    /// An additional condition, in words and as a check.
    also: Option<Also>,
    at_least: Duration,
    at_most: Duration,
}

type Also = (&'static str, fn(&Outcome) -> bool);

/// A fault of a server that handles each request with `script`.
fn fault(id: &'static str, sentence: &'static str, script: fn(&mut Scripted<'_>) -> Then) -> Fault {
    Fault::new(id, sentence, Script::Requests(script))
}

/// A fault that needs more than one scripted server.
fn staged(id: &'static str, sentence: &'static str, stage: fn(Shape) -> Stage) -> Fault {
    Fault::new(id, sentence, Script::Stage(stage))
}

impl Fault {
    fn new(id: &'static str, sentence: &'static str, script: Script) -> Self {
        Self {
            id,
            sentence,
            script,
            variant: "",
            needs_tls: false,
            protocols: Protocol::ALL,
            config: |config| config,
            prompt_bytes: 0,
            turns: 1,
            text: "",
            error: None,
            requests: 1,
            also: None,
            at_least: Duration::ZERO,
            at_most: Duration::from_secs(20), // This catches hangs, even on a busy machine.
        }
    }

    fn variant(self, variant: &'static str) -> Self {
        Self { variant, ..self }
    }

    fn needs_tls(self) -> Self {
        Self { needs_tls: true, ..self }
    }

    fn on(self, protocols: &'static [Protocol]) -> Self {
        Self { protocols, ..self }
    }

    fn set(self, config: fn(GenerationConfig) -> GenerationConfig) -> Self {
        Self { config, ..self }
    }

    fn prompt(self, bytes: usize) -> Self {
        Self { prompt_bytes: bytes, ..self }
    }

    fn turns(self, turns: usize) -> Self {
        Self { turns, ..self }
    }

    fn gives(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    fn fails(self, kind: ErrorKind, says: &'static str) -> Self {
        Self { error: Some((kind, says)), ..self }
    }

    fn requests(self, requests: usize) -> Self {
        Self { requests, ..self }
    }

    fn also(self, what: &'static str, check: fn(&Outcome) -> bool) -> Self {
        Self { also: Some((what, check)), ..self }
    }

    fn takes(self, at_least: u64, at_most: u64) -> Self {
        Self {
            at_least: Duration::from_millis(at_least),
            at_most: Duration::from_millis(at_most),
            ..self
        }
    }

    /// Returns the caller's configuration.
    fn config(&self, protocol: Protocol, base_url: String) -> GenerationConfig {
        let limit = Duration::from_secs(10);
        let config = GenerationConfig::new("m")
            .protocol(protocol)
            .base_url(base_url)
            .api_key(KEY)
            .environment(Environment::empty())
            .connect_timeout(limit)
            .first_byte_timeout(limit)
            .idle_timeout(limit)
            .stall_timeout(limit);
        (self.config)(config)
    }

    /// Makes the fault's number of requests, and returns the last outcome. Calls `show` for each
    /// chunk.
    fn ask(&self, config: &GenerationConfig, show: impl Fn()) -> Outcome {
        let prompt = match self.prompt_bytes {
            0 => "Hello?".to_owned(),
            bytes => "x".repeat(bytes),
        };
        let ask = || Outcome::of_shown(generate_stream(&*prompt, config), |_| show());
        for turn in 1..self.turns {
            assert_eq!(ask().text(), self.text, "turn {turn}");
        }
        ask()
    }

    /// Returns what differs from the table. `requests` is the number that the server saw.
    fn differences(&self, seen: &Outcome, requests: usize) -> Vec<String> {
        let mut differences = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                differences.push(what);
            }
        };
        let (text, told, kind) = (seen.text(), seen.message(), seen.kind());
        check(text == self.text, format!("text {text:?}, not {:?}", self.text));
        match self.error {
            None => check(seen.error.is_none(), format!("it fails: {kind:?} {told}")),
            Some((expected, says)) => check(
                kind == Some(expected) && told.contains(says),
                format!("{kind:?} {told:?}, not {expected:?} with {says:?}"),
            ),
        }
        let debug = format!("{:?} {:?}", seen.error, seen.response);
        check(!told.contains(KEY) && !debug.contains(KEY), format!("the key is shown: {told}"));
        check(!told.chars().any(char::is_control), format!("control characters: {told:?}"));
        check(told.len() < 2000, format!("a message of {} bytes", told.len()));
        check(requests == self.requests, format!("{requests} requests, not {}", self.requests));
        check(
            seen.time >= self.at_least && seen.time <= self.at_most,
            format!("it took {:?}, not {:?} to {:?}", seen.time, self.at_least, self.at_most),
        );
        if let Some((what, holds)) = self.also {
            check(holds(seen), format!("not so: {what}"));
        }
        differences
    }

    /// Returns the fault's row of the table in the documentation.
    fn row(&self) -> String {
        // Text in brackets must not become a link.
        let sentence = self.sentence.replace('[', "\\[").replace(']', "\\]");
        let mut row = format!("| {} | {sentence} | ", self.id);
        let text = !self.text.is_empty();
        row += match (&self.error, text) {
            (None, true) => "the whole answer",
            (None, false) => "the whole answer, which has no text",
            (Some(_), true) => "the chunks that arrived, then ",
            (Some(_), false) => "",
        };
        if let Some((kind, says)) = self.error {
            write!(row, "`{kind:?}`, `…{says}…`").unwrap();
        }
        if self.protocols.len() < Protocol::ALL.len() {
            let names: Vec<_> = self.protocols.iter().map(|protocol| protocol.as_str()).collect();
            write!(row, " ({})", names.join(", ")).unwrap();
        }
        if self.requests > 1 {
            write!(row, " ({} requests)", self.requests).unwrap();
        }
        if let Some((what, _)) = self.also {
            write!(row, "; {what}").unwrap();
        }
        row + " |\n"
    }
}

/// Returns the table of the documentation.
fn table() -> String {
    let mut table = String::from(
        "# What can go wrong, and what a caller sees\n\n\
         Every row is a test. A server in the test process causes the fault. The last column shows\n\
         what the caller gets: the whole answer, or an error (its kind and a part of its message).\n\
         \n\
         - Parentheses after it may name the protocols that the row is tested with. Without names, the\n\
         \x20 row is tested with all five: `chat_completions`, `messages`, `responses`, `generate_content`\n\
         \x20 and `cohere_chat`. A fault that is the same in every protocol may be tested with only one.\n\
         - Parentheses with a number give the requests that the server received, retries included.\n\
         \x20 Without a number, it is at most one. By default a request is retried twice. Some tests allow\n\
         \x20 fewer retries.\n\
         \n\
         A chunk is a [`StreamChunk`](crate::StreamChunk), an item of the stream. An HTTP chunk is a part of\n\
         a response body with chunked encoding. The fault numbers (F01, …) come from a longer list, so\n\
         some numbers are not used. Rows with the same number are variants of one fault.\n",
    );
    for (part, faults) in parts() {
        write!(
            table,
            "\n## {part}\n\n| No. | What happens | What a caller sees |\n|---|---|---|\n"
        )
        .unwrap();
        for fault in faults {
            table += &fault.row();
        }
    }
    table
}

#[test]
fn the_documentation_has_the_same_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    let table = table();
    if std::env::var_os("KERB_STREAM_WRITE").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    let known = std::fs::read_to_string(file).unwrap_or_default();
    assert!(known == table, "run this test with KERB_STREAM_WRITE=1 to write docs/faults.md anew");
}

/// Returns every fault in every protocol in which it makes a difference. `KERB_STREAM_FAULT`
/// restricts the list to one number.
fn acts() -> Vec<(Fault, Protocol)> {
    let only = std::env::var("KERB_STREAM_FAULT").ok();
    let faults = parts().into_iter().flat_map(|(_, faults)| faults);
    let acts: Vec<_> = faults
        .filter(|fault| only.as_deref().is_none_or(|only| fault.id == only))
        .flat_map(|fault| fault.protocols.iter().map(move |&protocol| (fault.clone(), protocol)))
        .collect();
    assert!(!acts.is_empty(), "there is no fault {only:?}");
    acts
}

/// Calls `play` with each act and its number, and fails if it returns differences or exceeds
/// `limit`. Runs many acts at once, because most of them wait.
fn play_all(
    acts: Vec<(Fault, Protocol)>,
    at_once: usize,
    limit: Duration,
    play: impl Fn(Fault, Protocol, usize) -> Vec<String> + Send + Sync + 'static,
) {
    let count = acts.len();
    let acts = Arc::new(Mutex::new(acts.into_iter().enumerate()));
    let play = Arc::new(play);
    let (report, reports) = mpsc::channel();
    for _ in 0..at_once {
        let (acts, play, report) = (Arc::clone(&acts), Arc::clone(&play), report.clone());
        thread::spawn(move || {
            loop {
                let Some((number, (fault, protocol))) = acts.lock().unwrap().next() else {
                    return;
                };
                let name = format!("{} {:?} {protocol}", fault.id, fault.variant);
                let play = Arc::clone(&play);
                let act = move || play(fault, protocol, number);
                let result = panic::catch_unwind(AssertUnwindSafe(|| watchdog(limit, act)));
                let differences = result.unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    vec![text.unwrap_or_else(|| "it panics".to_owned())]
                });
                report.send((name, differences)).unwrap();
            }
        });
    }
    drop(report);
    let reports: Vec<_> = reports.iter().collect();
    assert_eq!(reports.len(), count, "an act is reported once");
    let failures: BTreeMap<_, _> =
        reports.into_iter().filter(|(_, differences)| !differences.is_empty()).collect();
    println!("{count} faults");
    assert!(failures.is_empty(), "{} of {count}: {failures:#?}", failures.len());
}

#[test]
fn every_fault_is_what_the_table_says() {
    // Each act has its own server, so the test needs more descriptors than a shell allows.
    let _ = rlimit::increase_nofile_limit(8192);
    let mut acts = acts();
    acts.retain(|(fault, _)| cfg!(feature = "rustls") || !fault.needs_tls);
    // The longest acts begin first.
    acts.sort_by_key(|(fault, _)| Reverse(fault.at_least));
    play_all(acts, 48, Duration::from_secs(30), |fault, protocol, _| {
        let shown = Arc::new(Shown::default());
        let stage = Stage::of(fault.script, Shape(protocol), &shown);
        let config = stage.change(fault.config(protocol, stage.url.clone()));
        let seen = fault.ask(&config, || shown.count_one());
        fault.differences(&seen, stage.requests())
    });
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn short_connect(config: GenerationConfig) -> GenerationConfig {
    config.connect_timeout(ms(500))
}

fn short_head(config: GenerationConfig) -> GenerationConfig {
    config.first_byte_timeout(ms(500))
}

fn short_idle(config: GenerationConfig) -> GenerationConfig {
    config.idle_timeout(ms(1_000))
}

fn short_stall(config: GenerationConfig) -> GenerationConfig {
    config.stall_timeout(ms(1_000))
}

fn once(config: GenerationConfig) -> GenerationConfig {
    config.max_retries(0)
}

fn twice(config: GenerationConfig) -> GenerationConfig {
    config.max_retries(1)
}

fn small_events(config: GenerationConfig) -> GenerationConfig {
    config.max_event_bytes(1 << 20)
}
