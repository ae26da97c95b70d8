//! A panic in between leaves no whole answer: of a logger, a reader, a callback. A process for itself,
//! since a logger is everybody's.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::io::{self, Read};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kerb_stream::{
    Environment, Error, ErrorKind, GenerationConfig, GenerationResponse, GenerationStream,
    Protocol, StreamChunk, generate_stream,
};

struct Panics;

impl log::Log for Panics {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert!(!record.target().starts_with("kerb_stream"), "the logger panics");
    }

    fn flush(&self) {}
}

impl Read for Panics {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("the reader panics")
    }
}

/// Catches the panic of the first `next`; then there is nothing more, and no whole.
fn interrupted<F: FnMut(&StreamChunk)>(mut stream: GenerationStream<F>) -> GenerationResponse {
    assert!(catch_unwind(AssertUnwindSafe(|| stream.next())).is_err());
    assert!(stream.next().is_none() && stream.next().is_none());
    let error = stream.into_response().unwrap_err();
    assert!(error.to_string().contains("a panic interrupted the stream"), "{error}");
    let error = Error::of(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    error.partial().unwrap().clone()
}

#[test]
fn nothing_that_panicked_is_whole() {
    let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    interrupted(GenerationStream::from_reader(&config, Panics));

    let whole: &[u8] = br#"data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#;
    let stream = GenerationStream::from_reader(&config, whole);
    let partial = interrupted(stream.callback(|_| panic!("the callback panics")));
    assert_eq!(partial.content, "Hi");

    log::set_logger(&Panics).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", nobody.local_addr().unwrap());
    let config = GenerationConfig::new("m").base_url(url).environment(Environment::empty());
    interrupted(generate_stream("Hi", config));
}
