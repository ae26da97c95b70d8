//! The iterator that joins the rooms: request → body → events → chunks, and whether the answer is
//! whole.

use std::fmt;
use std::io::Read;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::cancel::CancelHandle;
use crate::chunk::StreamChunk;
use crate::config::GenerationConfig;
use crate::error::{Error, Failure};
use crate::http::{self, Body};
use crate::message::Prompt;
use crate::provider::{self, Decoder, LlmProvider, Output, Protocol};
use crate::request::{self, Request, Route};
use crate::response::GenerationResponse;
use crate::retry;
use crate::sse::{Event, Frame, Parser, TooLarge};

/// How long to wait for what follows a finish reason, which is usage at most.
const TAIL: Duration = Duration::from_secs(10);

/// An answer as it is written: an iterator over its [chunks](StreamChunk).
///
/// It is lazy: nothing is sent before the first `next`, and dropping it closes the connection,
/// which makes most servers stop writing. Every failure is an item, a missing key included, and the
/// last one: after an `Err` there is only `None`.
///
/// The iteration ends without an error only if the answer is whole, that is, if the model gave a
/// finish reason or the provider's end marker came. A stream that is cut ends with
/// [`Error::Incomplete`] after the chunks that arrived.
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
    inner: Inner,
    callback: Option<F>,
}

impl GenerationStream {
    pub(crate) fn new(prompt: Prompt, config: GenerationConfig) -> Self {
        Self { inner: Inner::new(State::Asked(prompt), config), callback: None }
    }

    /// Decodes an answer that comes from somewhere else: a recording, a pipe, another HTTP client's
    /// body.
    ///
    /// `config` says which protocol to read, directly or through its provider or model, and which
    /// limits on sizes to keep. How long a read may wait is the reader's own affair: of the time
    /// limits only `stall_timeout` holds, and it and [`cancel_handle`](Self::cancel_handle) take
    /// effect between two reads.
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, GenerationStream, Protocol};
    ///
    /// let recording = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi!\"}}]}\n\ndata: [DONE]\n\n";
    /// let config = GenerationConfig::default().protocol(Protocol::ChatCompletions);
    /// let response = GenerationStream::from_reader(config, recording.as_bytes()).into_response()?;
    /// assert_eq!(response.content, "Hi!");
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn from_reader(
        config: impl Into<GenerationConfig>,
        reader: impl Read + Send + 'static,
    ) -> Self {
        let state = State::Given(Body::from_reader(reader));
        Self { inner: Inner::new(state, config.into()), callback: None }
    }
}

impl<F> GenerationStream<F> {
    /// Calls `callback` with each chunk just before it is handed out, also within
    /// [`into_response`](Self::into_response). It may borrow the caller's variables; a second one
    /// replaces the first.
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
    /// The same that the first `next` would give before it sends anything.
    pub fn request(&self) -> anyhow::Result<Request> {
        match &self.inner.state {
            State::Asked(prompt) => {
                let config = &self.inner.config;
                Ok(Route::new(prompt, config).map(|route| route.preview(config))?)
            }
            _ => Err(Error::Config(Failure::new(None, "the request has been sent already")).into()),
        }
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
        match self.inner.state {
            State::Ended(Some(error)) => Err(error.with_partial(self.inner.response).into()),
            _ => Ok(self.inner.response),
        }
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
struct Inner {
    config: Box<GenerationConfig>,
    cancel: CancelHandle,
    response: GenerationResponse,
    started: Option<Instant>,
    state: State,
}

enum State {
    Asked(Prompt),
    Given(Body),
    /// To be sent, again if it was sent before.
    Sending(Route),
    Reading(Box<Answer>),
    Ended(Option<Error>),
}

impl Inner {
    fn new(state: State, config: GenerationConfig) -> Self {
        Self {
            config: Box::new(config),
            cancel: CancelHandle::new(),
            response: GenerationResponse::default(),
            started: None,
            state,
        }
    }

    fn next(&mut self) -> Option<Result<StreamChunk, Error>> {
        if let State::Ended(_) = self.state {
            return None;
        }
        let item = self.advance();
        if let Ok(Some(chunk)) = &item
            && self.response.time_to_first_text.is_none()
            && !chunk.content.is_empty()
        {
            self.response.time_to_first_text = self.started.map(|started| started.elapsed());
        }
        match item {
            Ok(Some(chunk)) => Some(Ok(chunk)),
            Ok(None) => {
                self.end(None);
                None
            }
            Err(error) => {
                self.end(Some(error.clone()));
                Some(Err(error))
            }
        }
    }

    /// The one place where a stream ends. What it leaves behind closes the connection, unless the
    /// answer was read to its end.
    fn end(&mut self, error: Option<Error>) {
        if error.is_some() {
            self.response.cut();
        }
        self.response.latency = self.started.map(|started| started.elapsed()).unwrap_or_default();
        let state = std::mem::replace(&mut self.state, State::Ended(error));
        if let (State::Reading(mut answer), State::Ended(None)) = (state, &self.state) {
            let Events { provider, protocol, output, .. } = &mut answer.events;
            self.response.replay = output.replay(*provider, *protocol);
            answer.body.finish();
        }
    }

    fn advance(&mut self) -> Result<Option<StreamChunk>, Error> {
        self.started.get_or_insert_with(Instant::now);
        loop {
            if self.cancel.is_cancelled() {
                return Err(self.cancelled());
            }
            let result = match &mut self.state {
                State::Reading(answer) => {
                    answer.next(&mut self.response, &self.config, &self.cancel)
                }
                State::Ended(_) => return Ok(None),
                State::Asked(_) | State::Given(_) | State::Sending(_) => match self.open() {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match result {
                Err(_) if self.cancel.is_cancelled() => return Err(self.cancelled()),
                Err(error) => self.try_again(error)?,
                item => return item,
            }
        }
    }

    fn open(&mut self) -> Result<(), Error> {
        let config = &self.config;
        let (body, provider, protocol, route) =
            match std::mem::replace(&mut self.state, State::Ended(None)) {
                State::Asked(prompt) => {
                    self.state = State::Sending(Route::new(&prompt, config)?);
                    return Ok(());
                }
                State::Sending(route) => {
                    let sent = http::send(&route.request, route.provider, config, &self.cancel);
                    let (provider, protocol) = (route.provider, route.protocol);
                    match sent {
                        Ok(answer) => {
                            self.response.request_id = answer.request_id;
                            self.response.rate_limit = answer.rate_limit;
                            (answer.body, provider, protocol, Some(route))
                        }
                        Err(error) => {
                            self.state = State::Sending(route);
                            self.response.provider = Some(provider);
                            return Err(error);
                        }
                    }
                }
                State::Given(body) => {
                    let provider = match (config.provider, request::provider_of(config)) {
                        (Some(provider), _) | (None, Ok((provider, _))) => provider,
                        // The protocol is all that it takes to read a recording.
                        (None, Err(_)) if config.protocol.is_some() => LlmProvider::Local,
                        (None, Err(error)) => return Err(error),
                    };
                    (body, provider, request::protocol_of(config, provider), None)
                }
                other => {
                    self.state = other;
                    return Ok(());
                }
            };
        self.response.provider = Some(provider);
        let events = Events {
            provider,
            protocol,
            decoder: (protocol.wire().decoder)(),
            output: Output::new(config.max_tool_calls),
            raw: config.raw,
            secrets: route.as_ref().map(|route| route.request.secrets.clone()).unwrap_or_default(),
            count: 0,
            failure: None,
            ended: false,
        };
        self.state = State::Reading(Box::new(Answer {
            route,
            body,
            parser: Parser::new(config.max_event_bytes),
            events,
            queue: Vec::new().into_iter(),
            at_end: false,
            no_stream: None,
            in_tail: false,
            reads: 0,
            reading_since: None,
            opened: Instant::now(),
        }));
        Ok(())
    }

    /// Goes back to sending, if the failure may pass and nothing has been handed out.
    fn try_again(&mut self, error: Error) -> Result<(), Error> {
        if self.response.chunk_count > 0 {
            return Err(error);
        }
        let route = match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Sending(route) => route,
            State::Reading(answer) => match answer.route {
                Some(route) => route,
                None => return Err(error),
            },
            State::Asked(_) | State::Given(_) | State::Ended(_) => return Err(error),
        };
        // That the answer is cut only says that the connection broke.
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
        let cause = cause.filter(|_| matches!(error, Error::Incomplete(_))).unwrap_or(&error);
        let Some(wait) = retry::again(cause, self.response.retries, &self.config) else {
            return Err(error);
        };
        log::info!("{error}; trying again in {:.1} s", wait.as_secs_f64());
        self.response.retries += 1;
        let partial = std::mem::take(&mut self.response);
        self.response = GenerationResponse {
            provider: partial.provider,
            retries: partial.retries,
            ..GenerationResponse::default()
        };
        self.state = State::Sending(route);
        if self.cancel.wait(wait) { Err(self.cancelled()) } else { Ok(()) }
    }

    fn cancelled(&self) -> Error {
        cancelled(self.response.provider)
    }
}

fn cancelled(provider: Option<LlmProvider>) -> Error {
    Error::Cancelled(Failure::new(provider, "the caller cancelled the answer"))
}

/// An answer while it is read.
struct Answer {
    /// What was sent, to send it again if need be; `None` for a recording.
    route: Option<Route>,
    body: Body,
    parser: Parser,
    events: Events,
    /// What was found once the body had ended: an event without its line ends, or JSON that is no
    /// stream.
    queue: std::vec::IntoIter<String>,
    at_end: bool,
    /// How the body began, if it was no event stream.
    no_stream: Option<String>,
    /// A finish reason has come, and has not been taken back.
    in_tail: bool,
    /// How often the body was read since the latest chunk, and since when.
    reads: usize,
    reading_since: Option<Instant>,
    opened: Instant,
}

impl Answer {
    fn next(
        &mut self,
        response: &mut GenerationResponse,
        config: &GenerationConfig,
        cancel: &CancelHandle,
    ) -> Result<Option<StreamChunk>, Error> {
        loop {
            self.check_size(response, config)?;
            if !self.events.output.chunk.is_void() {
                return Ok(Some(self.hand_out(response)));
            }
            if let Some(mut failure) = self.events.failure.take() {
                if let Error::Api(api) = &mut failure {
                    // What the provider's support asks for stands in the head of the answer.
                    api.request_id = api.request_id.take().or_else(|| response.request_id.clone());
                }
                return Err(failure);
            }
            if self.events.ended {
                self.events.output.flush();
                if self.events.output.chunk.is_void() {
                    return Ok(None);
                }
                continue;
            }
            let read = match self.parser.next() {
                Ok(Some(frame)) => self.events.read(frame),
                Ok(None) => match self.queue.next() {
                    Some(data) => self.events.read(Frame::Event(Event { name: "", data: &data })),
                    None if self.at_end => self.judge(response),
                    // A reader that was given cannot be interrupted, but need not be asked again.
                    None if cancel.is_cancelled() => {
                        return Err(cancelled(self.events.provider.into()));
                    }
                    None => self.read_body(response, config),
                },
                Err(TooLarge) => Err(self.too_large(config)),
            };
            match read {
                // A failure after the finish reason does not destroy a whole answer. The provider's
                // own word that it failed is none of these.
                Err(error) if self.in_tail => {
                    log::debug!("after the finish reason: {error}");
                    self.events.ended = true;
                }
                read => read?,
            }
        }
    }

    /// Also without a chunk: what only the provider reads again grows in silence.
    fn check_size(
        &self,
        response: &GenerationResponse,
        config: &GenerationConfig,
    ) -> Result<(), Error> {
        let output = &self.events.output;
        let limit = config.max_response_bytes;
        if response.bytes + output.chunk.bytes() + output.opaque_bytes() <= limit {
            return Ok(());
        }
        let message =
            format!("the answer is larger than {limit} bytes; raise `max_response_bytes`");
        Err(Error::Limit(Failure::new(self.events.provider, message)))
    }

    fn hand_out(&mut self, response: &mut GenerationResponse) -> StreamChunk {
        let chunk = self.events.output.take();
        response.fold(&chunk);
        let in_tail = response.finish_reason.is_some();
        if in_tail != self.in_tail {
            self.in_tail = in_tail;
            self.body.tail(in_tail.then(|| Instant::now() + TAIL));
        }
        self.reads = 0;
        chunk
    }

    fn read_body(
        &mut self,
        response: &GenerationResponse,
        config: &GenerationConfig,
    ) -> Result<(), Error> {
        match self.parser.fill(|buffer| self.body.read(buffer)) {
            Ok(0) => {
                self.at_end = true;
                self.look_at_rest(config)
            }
            Ok(_) => self.check_progress(config),
            Err(Error::Network(cause)) => {
                let message = format!("the connection broke {}", self.so_far(response));
                let failure = Failure::new(self.events.provider, message);
                Err(Error::Incomplete(failure.caused_by(Error::Network(cause.unnamed()))))
            }
            Err(error) => Err(error),
        }
    }

    /// Pings keep a stream alive, but not for ever. The clock is only looked at when a read brought
    /// no chunk.
    fn check_progress(&mut self, config: &GenerationConfig) -> Result<(), Error> {
        self.reads += 1;
        if self.reads == 1 {
            self.reading_since = None;
            return Ok(());
        }
        let waited = self.reading_since.get_or_insert_with(Instant::now).elapsed();
        if self.in_tail {
            // The answer is whole, whatever follows. A reader that was given keeps no deadline.
            self.events.ended |= waited > config.stall_timeout.min(TAIL);
            return Ok(());
        }
        if waited <= config.stall_timeout {
            return Ok(());
        }
        let message = format!(
            "only signs of life, and no piece of the answer, for {} s (`stall_timeout`)",
            config.stall_timeout.as_secs_f64()
        );
        Err(Error::Timeout(Failure::new(self.events.provider, message)))
    }

    /// At the end of the body: an event that lacks only its line ends counts if it is whole. Lines
    /// that belong to no event may be an error, or the whole of an answer that was not streamed.
    fn look_at_rest(&mut self, config: &GenerationConfig) -> Result<(), Error> {
        let mut queue = Vec::new();
        match self.parser.finish() {
            Ok(Some(Frame::Event(event))) if is_end_marker(event.data) || is_json(event.data) => {
                queue.push(event.data.to_owned());
            }
            Ok(Some(error @ Frame::Error(_))) => self.events.read(error)?,
            Ok(_) => {}
            Err(TooLarge) => return Err(self.too_large(config)),
        }
        let stray = String::from_utf8_lossy(self.parser.stray());
        let stray = stray.trim();
        if stray.starts_with('{') && is_json(stray) {
            queue.push(stray.to_owned());
        } else if stray.starts_with('[')
            && let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(stray)
        {
            // Gemini streams so when a proxy has dropped `alt=sse`.
            queue.extend(list.into_iter().map(|event| event.get().to_owned()));
        }
        // A stream that was cut in its first line may end within a field's name.
        let is_field = ["data", "event", "id", "retry"].iter().any(|name| name.starts_with(stray));
        if self.events.count == 0 && !is_field {
            self.no_stream = Some(self.events.excerpt(stray));
        }
        self.queue = queue.into_iter();
        Ok(())
    }

    /// The body has ended, and everything in it was read. Is the answer whole?
    fn judge(&mut self, response: &GenerationResponse) -> Result<(), Error> {
        if response.finish_reason.is_some() {
            self.events.ended = true;
            return Ok(());
        }
        let provider = self.events.provider;
        Err(match &self.no_stream {
            Some(beginning) => {
                let advice = if self.route.is_some() { "; check the base URL" } else { "" };
                let message =
                    format!("the answer is no event stream{advice}. It begins: {beginning}");
                Error::Decode(Failure::new(provider, message))
            }
            None => {
                let message = format!("the stream ended {}", self.so_far(response));
                Error::Incomplete(Failure::new(provider, message))
            }
        })
    }

    /// How far the answer had come: enough to recognise a proxy's time limit.
    fn so_far(&self, response: &GenerationResponse) -> String {
        let seconds = self.opened.elapsed().as_secs_f64();
        match (self.events.count, response.chunk_count) {
            (0, _) => format!("after {seconds:.1} s without a single event"),
            (events, chunks) => format!(
                "before the answer did, after {seconds:.1} s, {events} events and {chunks} chunks, \
                 without a finish reason or an end marker"
            ),
        }
    }

    fn too_large(&self, config: &GenerationConfig) -> Error {
        let limit = config.max_event_bytes;
        let message =
            format!("a line or an event is larger than {limit} bytes; raise `max_event_bytes`");
        Error::Limit(Failure::new(self.events.provider, message))
    }
}

/// Events → the chunk in `output`, whatever the protocol.
struct Events {
    provider: LlmProvider,
    protocol: Protocol,
    decoder: Box<dyn Decoder>,
    output: Output,
    /// Whether to keep each event's data.
    raw: bool,
    /// Keys that a provider must not echo into a message.
    secrets: Vec<String>,
    /// How many events were decoded.
    count: usize,
    /// The provider's word that it failed, to follow the chunk that came with it.
    failure: Option<Error>,
    /// The end marker has come, or the answer was found to be whole without it.
    ended: bool,
}

impl Events {
    fn read(&mut self, frame: Frame<'_>) -> Result<(), Error> {
        let event = match frame {
            // Nearly all; the rest is looked at more closely.
            Frame::Event(event) if event.data.starts_with('{') => event,
            Frame::Event(event) if event.data.trim().is_empty() => return Ok(()),
            Frame::Event(event) if is_end_marker(event.data) => return self.end(),
            Frame::Event(event) => event,
            Frame::Error(error) => {
                self.fail(error);
                return Ok(());
            }
        };
        self.count += 1;
        self.decoder.decode(&event, &mut self.output).map_err(|error| {
            let message =
                format!("event {} cannot be read: {}", self.count, self.excerpt(event.data));
            Error::Decode(Failure::new(self.provider, message).caused_by(error))
        })?;
        if self.raw && !self.output.chunk.is_void() {
            self.output.chunk.raw = Some(event.data.to_owned());
        }
        if let Some(error) = self.output.failure.take() {
            self.fail(&error);
        }
        if self.output.too_many_calls {
            let message = "the answer has too many tool calls; raise `max_tool_calls`";
            return Err(Error::Limit(Failure::new(self.provider, message)));
        }
        self.ended |= self.output.ended;
        Ok(())
    }

    /// `[DONE]`, which only Chat Completions promises, but relays of other protocols send too. vLLM
    /// sends nothing but it when it fails before the first token.
    fn end(&mut self) -> Result<(), Error> {
        if self.count == 0 {
            let message = "the stream is empty: its end marker is all there is";
            return Err(Error::Incomplete(Failure::new(self.provider, message)));
        }
        self.ended = true;
        Ok(())
    }

    fn fail(&mut self, error: &str) {
        let error = http::scrub(error, &self.secrets);
        self.failure = Some(Error::Api(Box::new(provider::api_error(self.provider, None, &error))));
    }

    /// The beginning of what cannot be read, for a message.
    fn excerpt(&self, data: &str) -> String {
        let beginning = provider::one_line(provider::truncated(data, 200));
        format!("{:?}", http::scrub(&beginning, &self.secrets))
    }
}

fn is_end_marker(data: &str) -> bool {
    data.trim() == "[DONE]"
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
