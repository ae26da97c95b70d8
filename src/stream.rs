//! The iterator that joins the modules. It prepares a request, sends it and reads the response,
//! retries where that may help, and can be cancelled.

use std::fmt;
use std::io::{Read, Write};
use std::iter::FusedIterator;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::activity::Activity;
use crate::cancel::CancelHandle;
use crate::chunk::StreamChunk;
use crate::config::GenerationConfig;
use crate::decode::{self, ResponseDecoder};
use crate::error::{Error, ErrorKind};
use crate::http::{self, Body, PreparedRequest};
use crate::message::Prompt;
use crate::request::{self, RequestPreview};
use crate::response::GenerationResponse;
use crate::retry;

/// An iterator that yields the [chunks](StreamChunk) of an answer as the model writes them.
///
/// The stream is lazy: nothing is sent before the first `next`. Dropping it closes the connection,
/// which makes most servers stop writing.
///
/// Every error arrives as an item, even a missing API key. An error is the last item: only `None`
/// follows it. The iteration ends without an error only if the answer is
/// [whole](crate::guide::providers#when-an-answer-is-whole). A stream that is cut off ends with
/// [`ErrorKind::Incomplete`] after the chunks that arrived.
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
#[must_use = "streams are lazy and do nothing unless consumed"]
pub struct GenerationStream<F = fn(&StreamChunk)> {
    inner: StreamCore,
    callback: Option<F>,
}

impl GenerationStream {
    pub(crate) fn new(prompt: Prompt, config: GenerationConfig) -> Self {
        Self { inner: StreamCore::new(StreamState::New(prompt), config), callback: None }
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
        let state = StreamState::Supplied(Body::from_reader(reader));
        Self { inner: StreamCore::new(state, config.into()), callback: None }
    }
}

impl<F> GenerationStream<F> {
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
    pub fn callback<G: FnMut(&StreamChunk)>(self, callback: G) -> GenerationStream<G> {
        GenerationStream { inner: self.inner, callback: Some(callback) }
    }

    /// Returns the part of the answer that has arrived so far. After an error, it has everything
    /// that arrived before the error.
    pub fn response(&self) -> &GenerationResponse {
        &self.inner.response
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
        let why = match &self.inner.state {
            StreamState::New(prompt) => return Ok(request::preview(prompt, &self.inner.config)?),
            StreamState::Supplied(_) => "the response comes from a reader, so there is no request",
            _ => "the stream has begun; call `request` before the first `next`",
        };
        Err(Error::new(ErrorKind::Config, None, why).into())
    }
}

impl<F: FnMut(&StreamChunk)> GenerationStream<F> {
    /// Reads the rest of the stream, and returns the whole answer.
    ///
    /// # Errors
    /// Returns the error that ended the stream, also if an earlier `next` has already returned it.
    /// So a part of an answer never looks like a whole one. [`Error::partial`] has that part.
    pub fn into_response(mut self) -> anyhow::Result<GenerationResponse> {
        for _ in &mut self {}
        let error = match self.inner.state {
            StreamState::Ended(None) => return Ok(self.inner.response),
            StreamState::Ended(Some(error)) => error,
            _ => decode::panic_error(self.inner.response.provider),
        };
        Err(error.with_partial(self.inner.response).into())
    }

    /// Writes each piece of text to `out` and flushes it at once, because Rust's standard output
    /// keeps text back until a line ends. Returns the whole answer.
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
        for chunk in &mut self {
            let Ok(chunk) = chunk else { break };
            if !chunk.content.is_empty() {
                out.write_all(chunk.content.as_bytes())?;
                out.flush()?;
            }
        }
        self.into_response()
    }
}

impl<F: FnMut(&StreamChunk)> Iterator for GenerationStream<F> {
    type Item = anyhow::Result<StreamChunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.inner.next();
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

impl<F: FnMut(&StreamChunk)> FusedIterator for GenerationStream<F> {}

impl<F> fmt::Debug for GenerationStream<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerationStream")
            .field("config", &self.inner.config)
            .field("response", &self.inner.response)
            .finish_non_exhaustive()
    }
}

/// The stream without its callback, and therefore without the type parameter.
struct StreamCore {
    config: Arc<GenerationConfig>,
    cancel: CancelHandle,
    response: GenerationResponse,
    started: Option<Instant>,
    /// The request, kept for retries. It is `None` before it is prepared, or if the caller supplied
    /// the response.
    request: Option<Arc<PreparedRequest>>,
    state: StreamState,
    /// The chunk that announces a retry, until it is handed out.
    notice: StreamChunk,
    /// Set while `next` runs. If it is already set when `next` begins, the previous call panicked.
    /// [`GenerationStream::next`] clears it, because the callback can panic, too.
    in_next: bool,
}

enum StreamState {
    /// The request has not been prepared.
    New(Prompt),
    /// The caller supplied the response.
    Supplied(Body),
    /// The request is prepared, and has no response yet.
    Sending,
    /// The request failed. It is sent again after this wait.
    Waiting(Duration),
    Reading(Box<ResponseDecoder>),
    Ended(Option<Error>),
}

impl StreamCore {
    fn new(state: StreamState, config: GenerationConfig) -> Self {
        Self {
            config: Arc::new(config),
            cancel: CancelHandle::new(),
            response: GenerationResponse::default(),
            started: None,
            request: None,
            state,
            notice: StreamChunk::default(),
            in_next: false,
        }
    }

    /// Prepares the next chunk, which [`take`](Self::take) then returns. Returns `false` if there is
    /// none, because the stream has ended.
    fn next(&mut self) -> Result<bool, Error> {
        let item = if mem::replace(&mut self.in_next, true) {
            // A logger, a callback or a reader has panicked, and the caller has caught the panic.
            // A piece of the answer may be lost, and `None` would mean that the answer is whole.
            Err(decode::panic_error(self.response.provider))
        } else if let StreamState::Ended(_) = self.state {
            return Ok(false);
        } else {
            self.advance()
        };
        if !matches!(item, Ok(true)) {
            self.end(item.as_ref().err().cloned());
        } else if self.response.time_to_first_text.is_none() && !self.chunk().content.is_empty() {
            self.response.time_to_first_text = self.started.map(|at| at.elapsed());
        }
        item
    }

    /// Returns the chunk that [`next`](Self::next) has prepared.
    fn chunk(&self) -> &StreamChunk {
        match &self.state {
            StreamState::Reading(decoder) => decoder.chunk(),
            _ => &self.notice,
        }
    }

    /// Takes the chunk that [`next`](Self::next) has prepared.
    #[inline]
    fn take(&mut self) -> StreamChunk {
        match &mut self.state {
            StreamState::Reading(decoder) => decoder.take(),
            _ => mem::take(&mut self.notice),
        }
    }

    /// Ends the stream. Only this function sets `Ended`. Dropping the old state closes the
    /// connection, unless the response was read to its end.
    fn end(&mut self, error: Option<Error>) {
        if error.is_some() {
            self.response.mark_truncated();
        }
        self.response.latency = self.started.map(|at| at.elapsed()).unwrap_or_default();
        let state = mem::replace(&mut self.state, StreamState::Ended(error));
        if let (StreamState::Reading(decoder), StreamState::Ended(None)) = (state, &self.state) {
            self.response.replay = decoder.finish(&self.response);
        }
    }

    fn advance(&mut self) -> Result<bool, Error> {
        self.started.get_or_insert_with(Instant::now);
        match self.attempt() {
            Err(_) if self.cancel.is_cancelled() => Err(self.cancelled()),
            Err(error) => self.try_again(error).map(|()| true),
            item => item,
        }
    }

    /// Prepares the next chunk without a retry.
    fn attempt(&mut self) -> Result<bool, Error> {
        while !self.cancel.is_cancelled() {
            if let StreamState::Reading(decoder) = &mut self.state {
                return decoder.next(&mut self.response, &self.cancel);
            }
            self.open()?;
        }
        Err(self.cancelled())
    }

    /// Takes one step towards a response that can be read: prepares the request, sends it, or waits
    /// before it is sent again.
    fn open(&mut self) -> Result<(), Error> {
        let config = &self.config;
        let state = mem::replace(&mut self.state, StreamState::Sending);
        let (body, whom) = match (state, &self.request) {
            (StreamState::New(prompt), _) => {
                let (request, _) = request::prepare(&prompt, config)?;
                self.response.provider = Some(request.peer.provider);
                self.request = Some(Arc::new(request));
                return Ok(());
            }
            (StreamState::Waiting(wait), _) => {
                if self.cancel.wait(wait) {
                    return Err(self.cancelled());
                }
                self.response = GenerationResponse {
                    provider: self.response.provider,
                    retries: self.response.retries + 1,
                    // Kept until the next response replaces it.
                    rate_limit: mem::take(&mut self.response.rate_limit),
                    ..GenerationResponse::default()
                };
                return Ok(());
            }
            (StreamState::Supplied(body), _) => (body, request::route_of_reader(config)?),
            (StreamState::Sending, Some(request)) => {
                let response = http::send(request, &self.cancel).inspect_err(|error| {
                    if let Some(report) = error.report() {
                        self.response.request_id.clone_from(&report.request_id);
                        self.response.rate_limit.clone_from(&report.rate_limit);
                    }
                })?;
                self.response.request_id = response.request_id;
                self.response.rate_limit = response.rate_limit;
                (response.body, (request.peer.provider, request.peer.vendor, request.protocol))
            }
            // Unreachable: `open` is not called in `Reading` or `Ended`. If there is no request in
            // `Sending`, an earlier `open` has failed, and that ends the stream.
            _ => return Err(decode::panic_error(self.response.provider)),
        };
        self.response.provider = Some(whom.0);
        let decoder = ResponseDecoder::new(body, whom, self.request.clone(), Arc::clone(config));
        self.state = StreamState::Reading(Box::new(decoder));
        Ok(())
    }

    /// Prepares a chunk that announces a retry, if a retry may help and no piece of the answer has
    /// been handed out. The next call waits, so that the caller can show why. Otherwise returns the
    /// error.
    fn try_again(&mut self, mut error: Error) -> Result<(), Error> {
        let wait = retry::wait_before_retry(&error, self.response.retries, &self.config)
            .filter(|_| self.response.chunk_count == 0 && self.request.is_some());
        let Some(wait) = wait else { return Err(error) };
        // The notice tells the wait, so the error does not.
        if let Some(report) = error.report_mut() {
            report.retry_after = None;
        }
        log::info!("{error}; trying again in {:.1} s", wait.as_secs_f64());
        // Dropping the old state closes its connection, if there is one, before the wait.
        self.state = StreamState::Waiting(wait);
        let notice = Activity::Retry { kind: error.kind(), message: error.to_string(), wait };
        self.notice.activity.push(notice);
        Ok(())
    }

    fn cancelled(&self) -> Error {
        Error::cancelled(self.response.provider)
    }
}
