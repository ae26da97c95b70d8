//! What a program sees of a stream that it reads to its end.

#![allow(dead_code)] // Each program uses another part of it.

use std::time::{Duration, Instant};

use kerb_stream::{Error, ErrorKind, GenerationResponse, GenerationStream, StreamChunk};

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) chunks: Vec<StreamChunk>,
    /// The last item, if that is an error.
    pub(crate) error: Option<anyhow::Error>,
    pub(crate) response: GenerationResponse,
    pub(crate) time: Duration,
}

impl Outcome {
    /// Reads the stream to its end, and checks what must hold of every stream.
    pub(crate) fn of(stream: GenerationStream) -> Self {
        Self::of_shown(stream, |_| ())
    }

    /// The same, where `show` is called with each chunk as it comes.
    pub(crate) fn of_shown(mut stream: GenerationStream, show: impl FnMut(&StreamChunk)) -> Self {
        let outcome = Self::read(&mut stream, show);
        // A part is never passed off as a whole.
        match (stream.into_response(), &outcome.error) {
            (Ok(whole), None) => assert_eq!(whole, outcome.response),
            (Err(last), Some(_)) => {
                let partial = Error::of(&last).unwrap().partial();
                let is_same = |partial: &GenerationResponse| *partial == outcome.response;
                assert!(partial.is_none_or(is_same), "{partial:?}, not {:?}", outcome.response);
            }
            (last, error) => panic!("{last:?} after {error:?}"),
        }
        outcome
    }

    /// The same for a stream that is still needed afterwards.
    pub(crate) fn read(stream: &mut GenerationStream, mut show: impl FnMut(&StreamChunk)) -> Self {
        let started = Instant::now();
        let (mut chunks, mut error) = (Vec::new(), None);
        for item in &mut *stream {
            assert!(error.is_none(), "an item after an error");
            match item {
                Ok(chunk) => {
                    show(&chunk);
                    chunks.push(chunk);
                }
                Err(failure) => error = Some(failure),
            }
        }
        let time = started.elapsed();
        assert!(stream.next().is_none(), "an item after the end");
        let outcome = Self { chunks, error, response: stream.response().clone(), time };
        let (told, text) = (&outcome.response.content, outcome.text());
        // A chunk that is too much is folded, and not handed out.
        let is_limit = outcome.kind() == Some(ErrorKind::Limit);
        assert!(*told == text || is_limit && told.starts_with(&text), "{told:?}, not {text:?}");
        outcome
    }

    /// The text of all chunks.
    pub(crate) fn text(&self) -> String {
        self.texts().concat()
    }

    /// The text of each chunk.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.chunks.iter().map(|chunk| chunk.content.as_str()).collect()
    }

    pub(crate) fn error(&self) -> Option<&Error> {
        let error = self.error.as_ref()?;
        Some(Error::of(error).expect("an error of this crate"))
    }

    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        self.error().map(Error::kind)
    }

    /// The error with its causes, or nothing.
    pub(crate) fn message(&self) -> String {
        self.error.as_ref().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    /// The response of a stream that must have ended well.
    #[track_caller]
    pub(crate) fn whole(self) -> GenerationResponse {
        assert!(self.error.is_none(), "{}", self.message());
        self.response
    }

    /// The error of a stream that must have failed.
    #[track_caller]
    pub(crate) fn failure(&self) -> &Error {
        self.error().unwrap_or_else(|| panic!("it ended well: {:?}", self.response))
    }

    /// All of it but the times, which are others whenever the same bytes are read.
    pub(crate) fn without_times(&self) -> (&[StreamChunk], String, GenerationResponse) {
        let mut response = self.response.clone();
        response.latency = Duration::ZERO;
        response.time_to_first_text = None;
        let text = self.message();
        let (before, rest) = text.split_once("after ").unwrap_or((&text, ""));
        let rest = rest.split_once(" s").map_or(rest, |(_, rest)| rest);
        (&self.chunks, format!("{before}{rest}"), response)
    }
}
