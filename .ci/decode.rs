//! Decodes recorded streams from memory, repeatedly. `ours` uses this crate. `floor` uses
//! `serde_json` and the smallest struct that holds the pieces of text and the finish reason, which
//! is the least possible work.
//!
//! `decode ours|floor PROTOCOL REPEATS FOLDER...` prints the number of events.

use std::fs;
use std::hint::black_box;

use kerb_stream::{GenerationConfig, GenerationStream, Protocol};
use serde::Deserialize;

/// Declares structs with only these fields, all of which may be missing.
macro_rules! smallest {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })+) => {$(
        #[derive(Deserialize)]
        #[allow(dead_code, non_snake_case)]
        struct $name<'a> { $(#[serde(borrow)] $field: Option<$type>),* }
    )+};
}

/// A string that is borrowed if it has no escapes.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

smallest! {
    Chunk { model: Text<'a>, choices: Vec<Choice<'a>> }
    Choice { delta: Delta<'a>, finish_reason: Text<'a> }
    Delta { content: Text<'a> }

    Typed { r#type: Text<'a>, delta: Text<'a> }

    Frame { r#type: Text<'a>, delta: FrameDelta<'a> }
    FrameDelta { r#type: Text<'a>, text: Text<'a>, stop_reason: Text<'a> }

    Answer { candidates: Vec<Candidate<'a>>, modelVersion: Text<'a> }
    Candidate { content: Content<'a>, finishReason: Text<'a> }
    Content { parts: Vec<Part<'a>> }
    Part { text: Text<'a> }

    Event { r#type: Text<'a>, delta: EventDelta<'a> }
    EventDelta { message: Message<'a>, finish_reason: Text<'a> }
    Message { content: Part<'a> }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [who, protocol, repeats, folders @ ..] = args.as_slice() else { panic!("{args:?}") };
    let protocol = protocol.parse().unwrap();
    let mut files: Vec<_> =
        folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).collect();
    files.sort_by_key(|file| file.as_ref().unwrap().path());
    let streams = files.into_iter().map(|file| file.unwrap().path());
    let streams =
        streams.filter(|path| path.extension().is_some_and(|extension| extension == "sse"));
    let streams: Vec<&'static [u8]> =
        streams.map(|path| &*fs::read(path).unwrap().leak()).collect();
    for _ in 0..repeats.parse().unwrap() {
        for stream in &streams {
            match who.as_str() {
                "ours" => ours(protocol, stream),
                _ => floor(protocol, stream),
            }
        }
    }
    println!("{}", streams.iter().flat_map(|stream| lines(stream)).count());
}

fn ours(protocol: Protocol, stream: &'static [u8]) {
    let config = GenerationConfig::default().protocol(protocol);
    for chunk in GenerationStream::from_reader(stream, config) {
        let _ = black_box(chunk);
    }
}

fn floor(protocol: Protocol, stream: &[u8]) {
    fn read<'a, T: Deserialize<'a>>(data: &'a [u8]) {
        let _ = black_box(serde_json::from_slice::<T>(data));
    }
    for data in lines(stream).take_while(|data| data != b"[DONE]") {
        match protocol {
            Protocol::ChatCompletions => read::<Chunk>(data),
            Protocol::Responses => read::<Typed>(data),
            Protocol::Messages => read::<Frame>(data),
            Protocol::GenerateContent => read::<Answer>(data),
            _ => read::<Event>(data),
        }
    }
}

/// Returns the data of each event, which is on one line in these recordings.
fn lines(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some(data) = line.strip_prefix(b"data:") {
                return Some(data.trim_ascii());
            }
        }
        None
    })
}
