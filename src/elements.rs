//! The elements of a list, each as soon as the model has written it: [`Elements`].

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::activity::Activity;
use crate::chunk::StreamChunk;
use crate::error::{Error, ErrorKind};
use crate::json_reader::JsonReader;
use crate::message::ToolCall;
use crate::stream::GenerationStream;
use crate::typed;

/// The elements of a list that a model writes as JSON. [`GenerationStream::elements`] creates it.
///
/// Each element comes as soon as it is whole: a number only after the comma or the bracket behind
/// it. After the list, the rest of the answer is read to its end. If the stream [runs
/// tools](GenerationStream::run_tools), each answer may have a list. An error is the last item.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Elements<'s, V, S> {
    stream: &'s mut S,
    pointer: String,
    list: JsonReader,
    has_ended: bool,
    values: PhantomData<fn() -> V>,
}

impl<C, T> GenerationStream<C, T>
where
    C: FnMut(&StreamChunk),
    T: FnMut(&ToolCall) -> anyhow::Result<String>,
{
    /// Returns the elements of a list that the model writes as JSON, each as soon as it is whole.
    ///
    /// `pointer` is a JSON pointer (RFC 6901), such as `/steps` for the list in
    /// `{"steps": […]}`; an empty text is an answer that is a list itself. Text around the JSON is
    /// skipped, such as a code fence. The stream is only borrowed: afterwards it has the whole
    /// response. Meanwhile a [`callback`](Self::callback) gets the chunks.
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
    /// The last item is an error of the stream, or [`ErrorKind::Decode`] if an element does not fit
    /// the type, if the list is not JSON, or if a whole answer has no such list or no end of it.
    pub fn elements<V: DeserializeOwned>(&mut self, pointer: &str) -> Elements<'_, V, Self> {
        let list = JsonReader::of_list(pointer);
        let pointer = pointer.to_owned();
        Elements { stream: self, pointer, list, has_ended: false, values: PhantomData }
    }
}

impl<V, S> Elements<'_, V, S> {
    /// Returns the stream, for the response so far and for its handle.
    pub fn stream(&self) -> &S {
        self.stream
    }
}

impl<V, C, T> Elements<'_, V, GenerationStream<C, T>>
where
    V: DeserializeOwned,
    C: FnMut(&StreamChunk),
    T: FnMut(&ToolCall) -> anyhow::Result<String>,
{
    fn advance(&mut self) -> anyhow::Result<Option<V>> {
        let at = &self.pointer;
        let problem = loop {
            if let Some(element) = self.list.whole.pop_front() {
                match typed::read(&element) {
                    Ok(value) => return Ok(Some(value)),
                    Err(why) => {
                        break format!("an element of the list at {at:?} does not fit: {why}");
                    }
                }
            } else if self.list.ended_well == Some(false) {
                break format!("the list at {at:?} is not JSON");
            }
            match self.stream.next() {
                Some(chunk) => {
                    let chunk = chunk?;
                    if chunk.activity.iter().any(is_new_turn) {
                        self.list = JsonReader::of_list(at);
                    }
                    self.list.read(&chunk.content);
                }
                None if self.list.ended_well.is_some() => return Ok(None),
                None if self.list.has_begun() => break format!("the list at {at:?} does not end"),
                None => break format!("the answer has no list at {at:?}"),
            }
        };
        let response = self.stream.response().clone();
        let error = Error::new(ErrorKind::Decode, response.provider, problem);
        Err(error.with_partial(response).into())
    }
}

/// Returns whether the model's next turn begins: a tool of the caller's starts.
fn is_new_turn(activity: &Activity) -> bool {
    matches!(activity, Activity::ToolStarted { hosted: false, .. })
}

impl<V, C, T> Iterator for Elements<'_, V, GenerationStream<C, T>>
where
    V: DeserializeOwned,
    C: FnMut(&StreamChunk),
    T: FnMut(&ToolCall) -> anyhow::Result<String>,
{
    type Item = anyhow::Result<V>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = if self.has_ended { None } else { self.advance().transpose() };
        self.has_ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<V, C, T> FusedIterator for Elements<'_, V, GenerationStream<C, T>>
where
    V: DeserializeOwned,
    C: FnMut(&StreamChunk),
    T: FnMut(&ToolCall) -> anyhow::Result<String>,
{
}

impl<V, S: fmt::Debug> fmt::Debug for Elements<'_, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, pointer, .. } = self;
        f.debug_struct("Elements").field("stream", stream).field("pointer", pointer).finish()
    }
}
