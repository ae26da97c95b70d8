//! The elements of a list, each as soon as the model has written it: [`Elements`].

use std::iter::FusedIterator;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::activity::Activity;
use crate::chunk::StreamChunk;
use crate::error::{Error, ErrorKind};
use crate::json_reader::JsonReader;
use crate::stream::GenerationStream;
use crate::typed;

/// The elements of a list that a model writes as JSON. [`GenerationStream::elements`] creates it.
///
/// Each element comes as soon as it is whole: a number only after the comma or the bracket behind
/// it. After the list, the rest of the answer is read to its end. If the stream [runs
/// tools](GenerationStream::run_tools), each answer may have a list, and the last one must. An error
/// is the last item.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Elements<'s, V, S> {
    stream: &'s mut S,
    pointer: String,
    list: JsonReader,
    /// The number of elements of the list so far.
    count: usize,
    has_ended: bool,
    values: PhantomData<fn() -> V>,
}

impl<C, T> GenerationStream<C, T> {
    /// Returns the elements of a list that the model writes as JSON, each as soon as it is whole.
    ///
    /// `pointer` is a JSON pointer (RFC 6901), such as `/steps` for the list in
    /// `{"steps": […]}`. An empty text is an answer that is a list itself, which many providers
    /// cannot enforce. Text around the JSON is skipped, such as a code fence: the first list at the
    /// pointer counts, so `[1]` in such a text is taken for an answer that is a list.
    ///
    /// The stream is only borrowed: afterwards it has the whole response. The elements begin with
    /// the current response, even if a part of it was read before. Meanwhile a
    /// [`callback`](Self::callback) gets the chunks; or use `while let Some(step) = steps.next()` and
    /// [`Elements::stream`].
    ///
    /// ```no_run
    /// use kerb_stream::generate_stream;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Step { title: String, minutes: u32 }
    ///
    /// let question = "How do I make pancakes? Answer as JSON: {\"steps\": [{\"title\", \"minutes\"}]}";
    /// let mut stream = generate_stream(question, "mistral-small-latest");
    /// for step in stream.elements::<Step>("/steps") {
    ///     let step = step?;
    ///     println!("{}: {} min", step.title, step.minutes);
    /// }
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// The last item may be an error of the stream, or one of these. [`Error::partial`] has the
    /// response.
    /// - [`ErrorKind::Config`]: `pointer` is not empty and does not begin with `/`. Nothing is sent.
    /// - [`ErrorKind::Decode`]: an element does not fit the type, the list is not JSON, or a whole
    ///   answer has no such list or no end of it.
    /// - [`ErrorKind::Incomplete`], [`ErrorKind::Refusal`]: there is no whole list because a length
    ///   limit cut the answer, or because the model refused.
    pub fn elements<V: DeserializeOwned>(&mut self, pointer: &str) -> Elements<'_, V, Self> {
        let mut list = JsonReader::of_list(pointer);
        list.read(self.text_so_far().unwrap_or_default());
        let pointer = pointer.to_owned();
        Elements { stream: self, pointer, list, count: 0, has_ended: false, values: PhantomData }
    }
}

impl<V, S> Elements<'_, V, S> {
    /// Returns the stream, for the response so far and for its handle.
    pub fn stream(&self) -> &S {
        self.stream
    }
}

impl<V: DeserializeOwned, C, T> Elements<'_, V, GenerationStream<C, T>>
where
    GenerationStream<C, T>: Iterator<Item = anyhow::Result<StreamChunk>>,
{
    fn advance(&mut self) -> anyhow::Result<Option<V>> {
        use ErrorKind::{Config, Decode};
        let at = &self.pointer;
        let (kind, problem) = loop {
            if !at.is_empty() && !at.starts_with('/') {
                break (Config, format!("the JSON pointer {at:?} must begin with `/`"));
            }
            if let Some(element) = self.list.whole.pop_front() {
                let place = format!("{at}/{}", self.count);
                self.count += 1;
                match typed::read(&element, &place) {
                    Ok(value) => return Ok(Some(value)),
                    Err(why) => break (Decode, format!("an element does not fit the type: {why}")),
                }
            }
            if self.list.ended_well == Some(false) {
                break (Decode, format!("the list at {at:?} is not JSON"));
            }
            let Some(chunk) = self.stream.next() else {
                self.stream.text_so_far()?;
                if self.list.is_whole() {
                    return Ok(None);
                }
                let what = if self.list.has_begun() { "an unfinished list" } else { "no list" };
                let problem = format!("the answer has {what} at {at:?}");
                break typed::stopped(self.stream.response()).unwrap_or((Decode, problem));
            };
            let chunk = chunk?;
            if chunk.activity.iter().any(Activity::is_own_start) {
                (self.list, self.count) = (JsonReader::of_list(at), 0);
            }
            self.list.read(&chunk.content);
        };
        let response = self.stream.response().clone();
        let error = Error::new(kind, response.provider, problem);
        Err(error.with_partial(response).into())
    }
}

impl<V: DeserializeOwned, C, T> Iterator for Elements<'_, V, GenerationStream<C, T>>
where
    GenerationStream<C, T>: Iterator<Item = anyhow::Result<StreamChunk>>,
{
    type Item = anyhow::Result<V>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = if self.has_ended { None } else { self.advance().transpose() };
        self.has_ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<V, S> FusedIterator for Elements<'_, V, S> where Self: Iterator {}
