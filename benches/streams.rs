//! Measures the cost of reading, in the process and over loopback: `cargo bench`. If
//! `KERB_STREAM_SHARED` is set, recordings of real providers are read too.

#![allow(clippy::indexing_slicing, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, Divan};
use kerb_stream::{
    GenerationConfig, GenerationResponse, GenerationStream, LlmProvider, Protocol, generate,
};

#[path = "../tests/support/shapes.rs"]
mod shapes;

use shapes::Shape;

const CHUNKS: usize = 1_000;

fn main() {
    Divan::from_args().main();
}

/// Measures mostly the framing: long comments, and events that repeat.
#[divan::bench(args = [1, 16, 1460, 16384])]
fn framing(bencher: Bencher<'_, '_>, read: usize) {
    let shape = Shape(Protocol::CohereChat);
    let pings = format!(": {}\n\n", "x".repeat(300)).repeat(CHUNKS);
    read_all(bencher, shape.0, shape.start() + &pings + &shape.ending(), read);
}

/// Reads a whole response whose events differ only in their text.
#[divan::bench(args = Protocol::ALL)]
fn events_that_repeat(bencher: Bencher<'_, '_>, protocol: &Protocol) {
    let shape = Shape(*protocol);
    read_all(bencher, *protocol, shape.whole(&[" word"; CHUNKS]), 1460);
}

/// Reads a whole response whose events also differ elsewhere, so that each is decoded.
#[divan::bench(args = Protocol::ALL)]
fn events_that_change(bencher: Bencher<'_, '_>, protocol: &Protocol) {
    let shape = Shape(*protocol);
    let text = shape.text(" word");
    let events: String =
        (0..CHUNKS).map(|n| text.replacen('{', &format!("{{\"n\":{n},"), 1)).collect();
    read_all(bencher, *protocol, shape.start() + &events + &shape.ending(), 1460);
}

/// Reads the largest recorded stream of a folder, or a small generated one if there are no
/// recordings.
#[divan::bench(args = [
    ("openai-chat", Protocol::ChatCompletions),
    ("anthropic-messages", Protocol::Messages),
    ("openai-responses", Protocol::Responses),
    ("cohere-v2", Protocol::CohereChat),
    ("google-gemini", Protocol::GenerateContent),
].map(|(folder, protocol)| Recording { folder, protocol }))]
fn recordings(bencher: Bencher<'_, '_>, recording: &Recording) {
    let made_up = || Shape(recording.protocol).everything();
    let stream = recording.largest().unwrap_or_else(made_up);
    read_all(bencher, recording.protocol, stream, 1460);
}

/// Reads whole responses over loopback, all on one connection.
#[divan::bench]
fn loopback(bencher: Bencher<'_, '_>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = GenerationConfig::new("m")
        .provider(LlmProvider::Local)
        .base_url(format!("http://{}/v1", listener.local_addr().unwrap()));
    let stream = Shape(Protocol::ChatCompletions).whole(&[" word"; CHUNKS]);
    let bytes = stream.len();
    thread::spawn(move || serve(&listener, &stream));
    bencher
        .counter(ItemsCount::new(CHUNKS))
        .counter(BytesCount::new(bytes))
        .bench(|| generate("Hi", config.clone()).unwrap());
}

#[derive(Debug)]
struct Recording {
    folder: &'static str,
    protocol: Protocol,
}

impl Recording {
    fn largest(&self) -> Option<String> {
        let shared = PathBuf::from(std::env::var_os("KERB_STREAM_SHARED")?);
        let files = fs::read_dir(shared.join("streams").join(self.folder)).ok()?;
        let streams = files.filter_map(|file| {
            let path = file.ok()?.path();
            let is_stream = path.extension().is_some_and(|extension| extension == "sse");
            is_stream.then(|| fs::read_to_string(path).ok()).flatten()
        });
        let config = || GenerationConfig::default().protocol(self.protocol);
        streams
            .filter(|stream| {
                let stream = io::Cursor::new(stream.clone());
                GenerationStream::from_reader(stream, config()).into_response().is_ok()
            })
            .max_by_key(String::len)
    }
}

impl std::fmt::Display for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.folder)
    }
}

fn read_all(bencher: Bencher<'_, '_>, protocol: Protocol, stream: String, read: usize) {
    let fold = |stream: String| -> GenerationResponse {
        let config = GenerationConfig::default().protocol(protocol);
        let reader = Slowly(io::Cursor::new(stream), read);
        GenerationStream::from_reader(reader, config).into_response().unwrap()
    };
    bencher
        .counter(ItemsCount::new(fold(stream.clone()).chunk_count))
        .counter(BytesCount::new(stream.len()))
        .with_inputs(|| stream.clone())
        .bench_values(fold);
}

/// A reader that reads at most this many bytes at once.
struct Slowly<R>(R, usize);

impl<R: Read> Read for Slowly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.1);
        self.0.read(&mut buffer[..count])
    }
}

/// Sends the same response to every request until the client closes.
fn serve(listener: &TcpListener, stream: &str) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{stream}\r\n0\r\n\r\n",
        stream.len()
    );
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = connection.read(&mut buffer) {
            request.extend_from_slice(&buffer[..count]);
            if request.ends_with(b"}") {
                request.clear();
                if connection.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    }
}
