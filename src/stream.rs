//! The iterator that a program loops over: [`GenerationStream`].

use std::fmt;
use std::io::{Read, Write};
use std::iter::FusedIterator;

use crate::activity::Activity;
use crate::cancel::CancelHandle;
use crate::chunk::StreamChunk;
use crate::config::GenerationConfig;
use crate::decode;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Exchange, State};
use crate::http::Body;
use crate::message::{Message, Prompt, ToolCall};
use crate::request::{self, RequestPreview};
use crate::response::GenerationResponse;
use crate::turns::RunTool;

/// An iterator that yields the [chunks](StreamChunk) of an answer as the model writes them.
///
/// The stream is lazy: nothing is sent before the first `next`. Dropping it closes the connection,
/// which makes most servers stop writing.
///
/// Every error arrives as an item, even a missing API key. An error is the last item: only `None`
/// follows it. The iteration ends without an error only if the answer is
/// [whole](crate::guide::providers#when-an-answer-is-whole). A stream that is cut off ends with
/// [`ErrorKind::Incomplete`] after the chunks that arrived. If a closure panics and the program goes
/// on, [`into_response`](Self::into_response) returns an error.
///
/// ```no_run
/// use std::io::{Write, stdout};
///
/// use kerb_stream::generate_stream;
///
/// let mut stream = generate_stream("Count to three.", "mistral-small-latest");
/// while let Some(chunk) = stream.next() {
///     print!("{}", chunk?.content);
///     stdout().flush()?;
/// }
/// if let Some(usage) = stream.response().usage {
///     eprintln!("{} tokens", usage.total_tokens);
/// }
/// # Ok::<(), anyhow::Error>(())
/// ```
/// # In signatures
///
/// The type parameters are those of the closures, a [`callback`](Self::callback) and
/// [`run_tools`](Self::run_tools). A function that only reads chunks takes any stream as an
/// iterator. One that returns a stream with tools names the closure's trait, and a field has a box:
///
/// ```
/// use kerb_stream::{GenerationConfig, GenerationStream, StreamChunk, ToolCall, generate_stream};
///
/// fn show(chunks: impl Iterator<Item = anyhow::Result<StreamChunk>>) -> anyhow::Result<()> {
///     for chunk in chunks {
///         print!("{}", chunk?.content);
///     }
///     Ok(())
/// }
///
/// fn ask(
///     notes: &mut Vec<String>,
/// ) -> GenerationStream<fn(&StreamChunk), impl FnMut(&ToolCall) -> anyhow::Result<String>> {
///     generate_stream("Note it.", GenerationConfig::new("mistral-small-latest")).run_tools(|call| {
///         notes.push(call.arguments.clone());
///         Ok("Noted.".into())
///     })
/// }
///
/// type RunTool = Box<dyn FnMut(&ToolCall) -> anyhow::Result<String> + Send>;
/// struct Job {
///     stream: GenerationStream<fn(&StreamChunk), RunTool>,
/// }
/// ```
#[must_use = "streams are lazy and do nothing unless consumed"]
pub struct GenerationStream<C = fn(&StreamChunk), T = fn(&ToolCall) -> anyhow::Result<String>> {
    inner: Exchange,
    callback: Option<C>,
    tools: Option<T>,
}

impl GenerationStream {
    pub(crate) fn new(prompt: Prompt, config: GenerationConfig) -> Self {
        let inner = Exchange::new(State::New, prompt, config);
        Self { inner, callback: None, tools: None }
    }

    /// Decodes a response body from another source: a recording, a pipe, or another HTTP client.
    ///
    /// `config` sets the size limits and the protocol. The protocol may also follow from the
    /// provider or the model. Of the time limits, only `stall_timeout` applies. A read of `reader`
    /// can block without limit: `stall_timeout` and [`cancel_handle`](Self::cancel_handle) take
    /// effect between two reads. If the provider reports an error in the stream, reading goes on
    /// for at most about 64 KiB and 0.1 s, because usage may follow the error. The error is then
    /// the last item.
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, GenerationStream, Protocol};
    ///
    /// let recording = r#"data: {"choices":[{"delta":{"content":"Hi!"},"finish_reason":"stop"}]}"#;
    /// let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    /// let response = GenerationStream::from_reader(recording.as_bytes(), config).into_response()?;
    /// assert_eq!(response.content, "Hi!");
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn from_reader(
        reader: impl Read + Send + 'static,
        config: impl Into<GenerationConfig>,
    ) -> Self {
        let state = State::Supplied(Body::from_reader(reader));
        let inner = Exchange::new(state, Prompt::default(), config.into());
        Self { inner, callback: None, tools: None }
    }
}

impl<C, T> GenerationStream<C, T> {
    /// Returns the text of the response that is open, or of the last one, or the error that has
    /// ended the stream.
    pub(crate) fn text_so_far(&self) -> Result<&str, Error> {
        match &self.inner.state {
            State::Ended(Some(error)) => Err(error.clone().with_partial(self.response().clone())),
            State::Tools => Ok(""),
            _ => Ok(&self.response().content),
        }
    }

    /// Calls `callback` with each chunk just before `next` returns the chunk.
    ///
    /// The callback may borrow the caller's variables. It is also called during
    /// [`into_response`](Self::into_response) and [`write_to`](Self::write_to). A second callback
    /// replaces the first.
    ///
    /// ```no_run
    /// # use kerb_stream::generate_stream;
    /// let mut pieces = 0;
    /// let stream = generate_stream("Hello", "mistral-small-latest").callback(|_| pieces += 1);
    /// let response = stream.into_response()?;
    /// println!("{pieces} pieces: {}", response.content);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn callback<D: FnMut(&StreamChunk)>(self, callback: D) -> GenerationStream<D, T> {
        GenerationStream { inner: self.inner, callback: Some(callback), tools: self.tools }
    }

    /// Runs the tools that the model calls, tells the results to the model, and goes on until the
    /// model answers.
    ///
    /// `run` may borrow the caller's variables. It gets the calls one after the other, in order, and
    /// only after a whole response that ends in [`FinishReason::ToolCalls`](crate::FinishReason): if a
    /// length limit or a filter has cut the response, none of its calls run. An error is told to the
    /// model, with its causes, so it must not contain secrets. A call of a tool that is not in
    /// [`tools`](crate::GenerationConfig#structfield.tools), or whose arguments are not JSON, does
    /// not reach `run`: the model is told. Tools that run at the provider do not reach it either.
    ///
    /// [`StreamChunk::activity`](crate::ChunkExtras::activity) tells that a tool starts before it
    /// runs in the following `next`, and then that it has ended. Calls at the end of the prompt that
    /// have no result run before anything is sent, so a saved conversation goes on where it stopped.
    ///
    /// Each response costs money: the whole conversation is sent again. After
    /// [`max_turns`](crate::GenerationConfig#structfield.max_turns) responses, the stream ends with
    /// [`ErrorKind::Limit`]. To end it earlier, cancel it, also from within `run`. A tool that runs
    /// is not interrupted, but after a cancel its result is dropped, and the call has none: a tool
    /// may run again when the conversation goes on. If `run` panics, the stream has ended.
    ///
    /// ```no_run
    /// use kerb_stream::{GenerationConfig, Tool, generate_stream};
    /// use serde_json::json;
    ///
    /// let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    /// let weather = Tool::function("weather", "Today's weather in a city.", schema);
    /// let stop = Tool::function("stop", "Ends the conversation.", json!({"type": "object"}));
    /// let config = GenerationConfig::new("mistral-small-latest").tools([weather, stop]);
    ///
    /// let stream = generate_stream("Do I need an umbrella in Oslo?", config);
    /// let cancel = stream.cancel_handle();
    /// let mut stream = stream.run_tools(|call| match call.name.as_str() {
    ///     "weather" => Ok(format!("It rains: {}", call.arguments)),
    ///     _ => {
    ///         cancel.cancel();
    ///         Ok(String::new())
    ///     }
    /// });
    /// for chunk in &mut stream {
    ///     let chunk = chunk?;
    ///     chunk.activity.iter().for_each(|step| eprintln!("{step}"));
    ///     print!("{}", chunk.content);
    /// }
    /// let usages = stream.responses().iter().filter_map(|response| response.usage);
    /// eprintln!("{} tokens", usages.map(|usage| usage.total_tokens).sum::<u64>());
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn run_tools<U>(self, run: U) -> GenerationStream<C, U>
    where
        U: FnMut(&ToolCall) -> anyhow::Result<String>,
    {
        GenerationStream { inner: self.inner, callback: self.callback, tools: Some(run) }
    }

    /// Returns the part of the answer that has arrived so far. After an error, it has everything
    /// that arrived before the error. While tools run, it is the latest response.
    pub fn response(&self) -> &GenerationResponse {
        self.inner.response()
    }

    /// Returns the responses that have ended, in order: several if the stream [runs
    /// tools](Self::run_tools), or goes on after a pause of Anthropic. A request that failed is one
    /// of them, with an empty response.
    pub fn responses(&self) -> &[GenerationResponse] {
        &self.inner.turns.responses
    }

    /// Returns the messages to append to the history: the model's turns so far, and the results of
    /// tools. Of a turn that has not ended, was cancelled, or was cut by an error, it is the text, if
    /// there is any. The same is true if a length limit or a filter has cut a turn with calls.
    ///
    /// A turn may end in calls without results. A stream that [runs tools](Self::run_tools) runs
    /// them first, if they are at the end of its prompt. If other messages follow, the model is told
    /// that they have not run.
    pub fn new_messages(&self) -> Vec<Message> {
        let is_over = matches!(self.inner.state, State::Tools | State::Ended(_));
        self.inner.turns.new_messages((!is_over).then_some(&self.inner.response))
    }

    /// Returns a handle that ends this stream from another thread, even while `next` waits. But it
    /// cannot interrupt a read of a reader that was passed to
    /// [`from_reader`](GenerationStream::from_reader).
    pub fn cancel_handle(&self) -> CancelHandle {
        self.inner.cancel.clone()
    }

    /// Returns the request that would be sent, without sending it. Call it before the first `next`.
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, generate_stream};
    ///
    /// let config = GenerationConfig::new("ollama::llama3.2").temperature(0.5);
    /// let request = generate_stream("Hello", config).request()?;
    /// assert_eq!(request.body["temperature"], 0.5);
    /// println!("{request}");
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the error that the first `next` would return for an invalid prompt or configuration.
    /// Errors that come up when `next` connects are not found here; among them is a client
    /// certificate that does not match its key. It is also an error to call this after the first
    /// `next`, or on a stream of [`from_reader`](GenerationStream::from_reader).
    pub fn request(&self) -> anyhow::Result<RequestPreview> {
        let turns = &self.inner.turns;
        let why = match &self.inner.state {
            State::New if self.tools.is_some() && turns.has_open_calls() => {
                "the prompt ends in tool calls without results, and the tools run first"
            }
            State::New => match self.tools.as_ref().and_then(|_| self.inner.tools_problem()) {
                None => return Ok(request::preview(&turns.conversation, &self.inner.config)?),
                Some(problem) => problem,
            },
            State::Supplied(_) => "the response comes from a reader, so there is no request",
            _ => "the stream has begun; call `request` before the first `next`",
        };
        Err(Error::new(ErrorKind::Config, None, why).into())
    }
}

impl<C, T> GenerationStream<C, T>
where
    C: FnMut(&StreamChunk),
    T: FnMut(&ToolCall) -> anyhow::Result<String>,
{
    /// Reads the rest of the stream, and returns the whole answer: the last one, if the stream has
    /// several [`responses`](Self::responses).
    ///
    /// # Errors
    /// Returns the error that ended the stream, also if an earlier `next` has already returned it.
    /// So a part of an answer never looks like a whole one. [`Error::partial`] has that part.
    pub fn into_response(mut self) -> anyhow::Result<GenerationResponse> {
        for _ in &mut self {}
        let response = self.inner.turns.responses.pop().unwrap_or(self.inner.response);
        let error = match self.inner.state {
            State::Ended(None) => return Ok(response),
            State::Ended(Some(error)) => error,
            _ => decode::panic_error(response.provider),
        };
        Err(error.with_partial(response).into())
    }

    /// Writes each piece of text to `out` and flushes it at once, because Rust's standard output
    /// keeps text back until a line ends. If tools [run](Self::run_tools) between two texts, a blank
    /// line sets them apart. Returns the whole answer.
    ///
    /// ```no_run
    /// let stream = kerb_stream::generate_stream("Why is the sky blue?", "mistral-small-latest");
    /// stream.write_to(&mut std::io::stdout())?;
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`into_response`](Self::into_response), or the [`std::io::Error`] of a
    /// failed write, which ends the stream.
    pub fn write_to(mut self, out: &mut impl Write) -> anyhow::Result<GenerationResponse> {
        let (mut has_text, mut is_next_turn) = (false, false);
        for chunk in &mut self {
            let Ok(chunk) = chunk else { break };
            is_next_turn |= chunk.activity.iter().any(Activity::is_own_start);
            if !chunk.content.is_empty() {
                if is_next_turn && has_text {
                    out.write_all(b"\n\n")?;
                }
                (has_text, is_next_turn) = (true, false);
                out.write_all(chunk.content.as_bytes())?;
                out.flush()?;
            }
        }
        self.into_response()
    }
}

impl<C, T> Iterator for GenerationStream<C, T>
where
    C: FnMut(&StreamChunk),
    T: FnMut(&ToolCall) -> anyhow::Result<String>,
{
    type Item = anyhow::Result<StreamChunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let run = self.tools.as_mut().map(|run| run as RunTool<'_>);
        let item = self.inner.next(run);
        if let Ok(true) = item
            && let Some(callback) = &mut self.callback
        {
            callback(self.inner.chunk());
        }
        self.inner.in_next = false;
        match item {
            Ok(true) => Some(Ok(self.inner.take())),
            Ok(false) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl<C, T> FusedIterator for GenerationStream<C, T> where Self: Iterator {}

impl<C, T> fmt::Debug for GenerationStream<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerationStream")
            .field("config", &self.inner.config)
            .field("response", self.response())
            .finish_non_exhaustive()
    }
}
