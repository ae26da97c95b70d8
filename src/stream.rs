//! The iterator that joins the modules: it prepares a request, sends it, reads the response, tries
//! again if that may help, and can be cancelled.

use std::fmt;
use std::io::{Read, Write};
use std::iter::FusedIterator;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

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

/// An answer as it is written: an iterator over its [chunks](StreamChunk).
///
/// It is lazy: nothing is sent before the first `next`, and dropping it closes the connection,
/// which makes most servers stop writing. Every failure is an item, a missing key included, and the
/// last one: after an `Err` there is only `None`.
///
/// The iteration ends without an error only if the answer is whole
/// ([when that is](crate::guide::providers#when-an-answer-is-whole)). A stream that is cut ends with
/// [`ErrorKind::Incomplete`] after the chunks that arrived.
///
/// ```no_run
/// use kerb_stream::generate_stream;
///
/// let mut stream = generate_stream("Count to three.", "gpt-4o-mini");
/// while let Some(chunk) = stream.next() {
///     print!("{}", chunk?.content);
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
        Self { inner: StreamCore::new(StreamState::Asked(prompt), config), callback: None }
    }

    /// Decodes an answer that comes from somewhere else: a recording, a pipe, another HTTP client's
    /// body.
    ///
    /// `config` says which protocol to read, directly or through its provider or model, and which
    /// limits on sizes to keep. How long a read may wait is the reader's own affair: of the time
    /// limits only `stall_timeout` holds, and it and [`cancel_handle`](Self::cancel_handle) take
    /// effect between two reads. After an error of the provider's up to 64 KiB more are read, within
    /// 0.1 s, for the usage that they may tell. Errors come as items.
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
        let state = StreamState::Given(Body::from_reader(reader));
        Self { inner: StreamCore::new(state, config.into()), callback: None }
    }
}

impl<F> GenerationStream<F> {
    /// Calls `callback` with each chunk just before it is handed out; a second callback replaces the
    /// first. It is called within [`into_response`](Self::into_response), too, and may borrow the
    /// caller's variables.
    ///
    /// ```no_run
    /// # use kerb_stream::generate_stream;
    /// let mut pieces = 0;
    /// let stream = generate_stream("Hello", "gpt-4o-mini").callback(|_| pieces += 1);
    /// let response = stream.into_response()?;
    /// println!("{pieces} pieces: {}", response.content);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn callback<G: FnMut(&StreamChunk)>(self, callback: G) -> GenerationStream<G> {
        GenerationStream { inner: self.inner, callback: Some(callback) }
    }

    /// What has arrived so far, folded into one. After an error it is what came before it.
    pub fn response(&self) -> &GenerationResponse {
        &self.inner.response
    }

    /// A handle that ends this stream from another thread, also while `next` waits in this one (but
    /// not within a read of [`from_reader`](GenerationStream::from_reader)'s reader).
    pub fn cancel_handle(&self) -> CancelHandle {
        self.inner.cancel.clone()
    }

    /// What would be sent, without sending it; possible until the first `next`.
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
    /// Those that the first `next` would give before it sends anything, but for a client's certificate
    /// that does not fit its key, which shows only when it is used; and one after the first
    /// `next`, or where [`from_reader`](GenerationStream::from_reader) gave the response.
    pub fn request(&self) -> anyhow::Result<RequestPreview> {
        let why = match &self.inner.state {
            StreamState::Asked(prompt) => return Ok(request::preview(prompt, &self.inner.config)?),
            StreamState::Given(_) => "the answer comes from a reader: there is no request",
            _ => "the stream has begun; ask for the request before the first `next`",
        };
        Err(Error::new(ErrorKind::Config, None, why).into())
    }
}

impl<F: FnMut(&StreamChunk)> GenerationStream<F> {
    /// Reads what is still to come, and gives the whole answer.
    ///
    /// # Errors
    /// When the stream fails, or has failed before: a part of an answer is never passed off as a
    /// whole. [`Error::partial`] has what arrived.
    pub fn into_response(mut self) -> anyhow::Result<GenerationResponse> {
        for _ in &mut self {}
        let error = match self.inner.state {
            StreamState::Ended(None) => return Ok(self.inner.response),
            StreamState::Ended(Some(error)) => error,
            _ => decode::panic_error(self.inner.response.provider),
        };
        Err(error.with_partial(self.inner.response).into())
    }

    /// Writes each piece of text to `out` as it comes, and flushes: Rust's standard output keeps
    /// text back until the line ends. Returns the whole answer.
    ///
    /// ```no_run
    /// let stream = kerb_stream::generate_stream("Why is the sky blue?", "gpt-4o-mini");
    /// stream.write_to(&mut std::io::stdout())?;
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`into_response`](Self::into_response), and the [`std::io::Error`] of a failed
    /// write, which ends the stream.
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
        if let Some(Ok(chunk)) = &item
            && let Some(callback) = &mut self.callback
        {
            callback(chunk);
        }
        self.inner.is_running = false;
        item.map(|item| item.map_err(Into::into))
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

/// The stream without its callback, and so without the type parameter.
struct StreamCore {
    config: Arc<GenerationConfig>,
    cancel: CancelHandle,
    response: GenerationResponse,
    started: Option<Instant>,
    /// What is sent, and sent again if need be; `None` before it is prepared, and for a recording.
    request: Option<Box<PreparedRequest>>,
    state: StreamState,
    /// A `next` has begun and not ended: it still runs, or has panicked.
    is_running: bool,
}

enum StreamState {
    Asked(Prompt),
    /// The caller gives the response.
    Given(Body),
    Sending,
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
            is_running: false,
        }
    }

    fn next(&mut self) -> Option<Result<StreamChunk, Error>> {
        let item = if mem::replace(&mut self.is_running, true) {
            // A logger, a callback or a reader has panicked, and the caller has caught it. What is
            // left can no longer be told from the whole, and `None` would say that it is.
            Some(Err(decode::panic_error(self.response.provider)))
        } else if let StreamState::Ended(_) = self.state {
            return None;
        } else {
            self.advance().transpose()
        };
        match &item {
            Some(Ok(chunk)) => {
                if self.response.time_to_first_text.is_none() && !chunk.content.is_empty() {
                    self.response.time_to_first_text = self.started.map(|at| at.elapsed());
                }
            }
            Some(Err(error)) => self.end(Some(error.clone())),
            None => self.end(None),
        }
        item
    }

    /// The one place where a stream ends. What it leaves behind closes the connection, unless the
    /// response was read to its end.
    fn end(&mut self, error: Option<Error>) {
        if error.is_some() {
            self.response.cut();
        }
        self.response.latency = self.started.map(|at| at.elapsed()).unwrap_or_default();
        let state = mem::replace(&mut self.state, StreamState::Ended(error));
        if let (StreamState::Reading(decoder), StreamState::Ended(None)) = (state, &self.state) {
            self.response.replay = decoder.finish(&self.response);
        }
    }

    fn advance(&mut self) -> Result<Option<StreamChunk>, Error> {
        self.started.get_or_insert_with(Instant::now);
        loop {
            if self.cancel.is_cancelled() {
                return Err(self.cancelled());
            }
            let item = match &mut self.state {
                StreamState::Reading(decoder) => decoder.next(&mut self.response, &self.cancel),
                _ => match self.open() {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match item {
                Err(_) if self.cancel.is_cancelled() => return Err(self.cancelled()),
                Err(error) => self.try_again(error)?,
                item => return item,
            }
        }
    }

    /// Goes one step nearer to a response that can be read.
    fn open(&mut self) -> Result<(), Error> {
        let config = &self.config;
        let state = mem::replace(&mut self.state, StreamState::Sending);
        let (body, whom) = match (state, &self.request) {
            (StreamState::Asked(prompt), _) => {
                let (request, _) = request::prepare(&prompt, config)?;
                self.response.provider = Some(request.peer.provider);
                self.request = Some(Box::new(request));
                return Ok(());
            }
            (StreamState::Given(body), _) => (body, request::route_of_reader(config)?),
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
            // What is sent has been prepared, and what has been opened is not opened again.
            _ => return Err(decode::panic_error(self.response.provider)),
        };
        self.response.provider = Some(whom.0);
        let request = self.request.as_deref();
        let decoder = ResponseDecoder::new(body, whom, request, Arc::clone(config));
        self.state = StreamState::Reading(Box::new(decoder));
        Ok(())
    }

    /// Goes back to sending, if the failure may pass and nothing has been handed out.
    fn try_again(&mut self, error: Error) -> Result<(), Error> {
        let wait = retry::wait_before_retry(&error, self.response.retries, &self.config)
            .filter(|_| self.response.chunk_count == 0 && self.request.is_some());
        let Some(wait) = wait else { return Err(error) };
        // A connection that failed closes before the wait.
        self.state = StreamState::Sending;
        log::info!("{error}; trying again in {:.1} s", wait.as_secs_f64());
        if self.cancel.wait(wait) {
            return Err(self.cancelled());
        }
        self.response = GenerationResponse {
            provider: self.response.provider,
            retries: self.response.retries + 1,
            // Until another response replaces it.
            rate_limit: mem::take(&mut self.response.rate_limit),
            ..GenerationResponse::default()
        };
        Ok(())
    }

    fn cancelled(&self) -> Error {
        Error::cancelled(self.response.provider)
    }
}
