//! The items that a program gets from a stream that it reads to its end.

#![allow(dead_code)] // Each test program uses only a part of this file.

use std::time::{Duration, Instant};

use kerb_stream::{Error, ErrorKind, GenerationResponse, GenerationStream, StreamChunk};

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) chunks: Vec<StreamChunk>,
    /// The last item, if it is an error.
    pub(crate) error: Option<anyhow::Error>,
    pub(crate) response: GenerationResponse,
    pub(crate) time: Duration,
}

impl Outcome {
    /// Reads the stream to its end, and checks what must be true of every stream.
    pub(crate) fn of(stream: GenerationStream) -> Self {
        Self::of_shown(stream, |_| ())
    }

    /// Does the same as [`of`](Self::of), and calls `show` with each chunk as it arrives.
    pub(crate) fn of_shown(mut stream: GenerationStream, show: impl FnMut(&StreamChunk)) -> Self {
        let outcome = Self::read(&mut stream, show);
        // A part must never be reported as a whole response.
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

    /// Reads a stream that the caller still needs afterwards.
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
        // A chunk beyond a limit is added to the response, but not returned.
        let is_limit = outcome.kind() == Some(ErrorKind::Limit);
        assert!(*told == text || is_limit && told.starts_with(&text), "{told:?}, not {text:?}");
        outcome
    }

    /// Returns the text of all chunks.
    pub(crate) fn text(&self) -> String {
        self.texts().concat()
    }

    /// Returns the text of each chunk.
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

    /// Returns the error with its causes, or an empty string.
    pub(crate) fn message(&self) -> String {
        self.error.as_ref().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    /// Returns the response. The stream must have ended without an error.
    #[track_caller]
    pub(crate) fn whole(self) -> GenerationResponse {
        assert!(self.error.is_none(), "{}", self.message());
        self.response
    }

    /// Returns the error. The stream must have failed.
    #[track_caller]
    pub(crate) fn failure(&self) -> &Error {
        self.error().unwrap_or_else(|| panic!("it ended well: {:?}", self.response))
    }

    /// Returns everything except the times, which differ between two readings of the same bytes.
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
