//! The body of a response → chunks, and whether the answer is whole.

use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use crate::cancel::CancelHandle;
use crate::chunk::{FinishReason, StreamChunk};
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::http::{self, Body, PreparedRequest};
use crate::message::Replay;
use crate::protocol::{self, ChunkBuilder, Decoder};
use crate::provider::{LlmProvider, Protocol};
use crate::redact::{Secrets, one_line, truncated};
use crate::response::GenerationResponse;
use crate::sse::{Event, Frame, Parser, TooLarge};

/// How long to wait for what follows a finish reason, which is usage at most.
const TAIL: Duration = Duration::from_secs(10);
/// How long to wait for what follows a failure, and how much of it to read.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
const AFTER_FAILURE_BYTES: usize = 64 << 10;
/// How much of what cannot be read a message shows.
const EXCERPT: usize = 200;

pub(crate) fn cancelled(provider: Option<LlmProvider>) -> Error {
    Error::new(ErrorKind::Cancelled, provider, "the caller cancelled the answer")
}

/// An answer while it is read.
pub(crate) struct Answer {
    /// What was sent, to send it again if need be; `None` for a recording.
    pub(crate) route: Option<Box<PreparedRequest>>,
    body: Body,
    parser: Parser,
    events: Events,
    /// What was found once the body had ended.
    rest: Rest,
    at_end: bool,
    /// The end was that of `[DONE]`, with nothing before it but what is no event.
    has_marker: bool,
    /// How the body begins, if it is no event stream.
    no_stream: Option<String>,
    /// The answer is settled, and nothing but usage is to come.
    in_tail: bool,
    /// A stop that settles nothing yet, or that a later piece has taken back, with the provider's
    /// word for it.
    early_stop: Option<(FinishReason, String)>,
    /// Usage came after the latest piece.
    has_final_usage: bool,
    clock: Clock,
    opened: Instant,
}

/// What is left of a body at its end.
#[derive(Default)]
struct Rest {
    /// The last event, without its line ends.
    event: Option<String>,
    /// JSON that is no stream: a document, or a list of them. Gemini streams so when a proxy has
    /// dropped `alt=sse`.
    json: String,
    /// How much of the JSON has been read.
    read: usize,
}

impl Rest {
    /// The next event, or what stands in place of one. A list is not taken apart before: its
    /// elements could be many.
    fn next(&mut self) -> Option<String> {
        if let Some(event) = self.event.take() {
            return Some(event);
        }
        if !self.json.starts_with('[') {
            return Some(std::mem::take(&mut self.json)).filter(|json| !json.is_empty());
        }
        self.read = self.read.max(1);
        let rest = self.json.get(self.read..)?.trim_start_matches([' ', '\t', '\r', '\n', ',']);
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let value = rest.get(..values.byte_offset())?.to_owned();
        self.read = self.json.len() - rest.len() + value.len();
        Some(value)
    }
}

/// Where an answer ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// At `[DONE]`, which only Chat Completions promises, but relays of other protocols send too.
    Done,
    /// At the protocol's own last event.
    Protocol,
    /// At a place where the model had stopped, or that of a whole document.
    Settled,
}

impl Answer {
    pub(crate) fn new(
        body: Body,
        provider: LlmProvider,
        protocol: Protocol,
        route: Option<Box<PreparedRequest>>,
        config: &GenerationConfig,
    ) -> Self {
        let events = Events {
            provider,
            protocol,
            decoder: (protocol::wire(protocol).decoder)(),
            output: ChunkBuilder::new(config.max_tool_calls, config.max_response_bytes),
            raw: config.raw,
            secrets: route.as_ref().map(|route| route.secrets.clone()).unwrap_or_default(),
            count: 0,
            beginning: None,
            failure: None,
            ended: None,
        };
        Self {
            route,
            body,
            parser: Parser::new(config.max_event_bytes),
            events,
            rest: Rest::default(),
            at_end: false,
            has_marker: false,
            no_stream: None,
            in_tail: false,
            early_stop: None,
            has_final_usage: false,
            clock: Clock::default(),
            opened: Instant::now(),
        }
    }

    /// The answer is whole: keeps the connection, and tells how the answer goes back.
    pub(crate) fn finish(mut self) -> Option<Replay> {
        let Events { provider, protocol, output, .. } = &mut self.events;
        let replay = output.replay(*provider, *protocol);
        self.body.finish();
        replay
    }

    pub(crate) fn next(
        &mut self,
        response: &mut GenerationResponse,
        config: &GenerationConfig,
        cancel: &CancelHandle,
    ) -> Result<Option<StreamChunk>, Error> {
        self.clock.go_on();
        let item = self.advance(response, config, cancel);
        self.clock.pause();
        if item.is_err() {
            // What was told about the answer without a piece of it counts, too.
            response.note(&self.events.output.take());
            if let Some((reason, word)) = self.early_stop.take()
                && response.chunk_count == 0
            {
                response.finish_reason.get_or_insert(reason);
                response.raw_finish_reason.get_or_insert(word);
            }
        }
        item
    }

    fn advance(
        &mut self,
        response: &mut GenerationResponse,
        config: &GenerationConfig,
        cancel: &CancelHandle,
    ) -> Result<Option<StreamChunk>, Error> {
        loop {
            self.check_size(response, config)?;
            if std::mem::take(&mut self.events.output.progress) {
                self.clock = Clock::default();
            }
            if self.has_chunk(response) {
                return Ok(Some(self.hand_out(response)));
            }
            if let Some(failure) = self.events.failure.take() {
                return Err(self.failed(failure, response, cancel));
            }
            if let Some(end) = self.events.ended {
                self.events.output.flush();
                if self.events.output.chunk.has_piece() {
                    continue;
                }
                if end == End::Done
                    && !self.at_end
                    && self.is_empty()
                    && response.finish_reason.is_none()
                {
                    // Gateways write an error or a whole answer as bare JSON, and then the marker.
                    self.at_end = true;
                    self.has_marker = true;
                    self.events.ended = None;
                    self.look_at_stray();
                    continue;
                }
                self.check_whole(end, response)?;
                let is_void = self.events.output.chunk.is_void();
                return Ok((!is_void).then(|| self.hand_out(response)));
            }
            self.watch_tail(response);
            // What follows the marker is nobody's.
            let next = if self.has_marker { Ok(None) } else { self.parser.next() };
            let read = match next {
                Ok(Some(frame)) => self.events.read(frame),
                Ok(None) => match self.rest.next() {
                    Some(data) => self.events.read(Frame::Event(Event { name: "", data: &data })),
                    None if self.at_end => self.end(response),
                    // A reader that was given cannot be interrupted, but need not be asked again.
                    None if cancel.is_cancelled() => {
                        return Err(cancelled(self.events.provider.into()));
                    }
                    None => self.read_body(response, config),
                },
                Err(TooLarge) => Err(self.too_large(config)),
            };
            match read {
                // A failure after the end does not destroy a whole answer. The provider's own word
                // that it failed is none of these, and neither is a limit of the caller's.
                Err(error) if self.in_tail && error.kind() != ErrorKind::Limit => {
                    log::debug!("after the finish reason: {error}");
                    self.events.ended = Some(End::Settled);
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
        let bytes = response.bytes + output.chunk.bytes();
        if bytes.saturating_add(output.opaque_bytes()) <= limit {
            return Ok(());
        }
        let message =
            format!("the answer is larger than {limit} bytes; raise `max_response_bytes`");
        Err(Error::new(ErrorKind::Limit, self.events.provider, message))
    }

    /// Whether there is a chunk to hand out. As long as nothing was handed out, the request can be
    /// sent again: so usage alone and a stop that settles nothing wait for a piece of the answer,
    /// and what comes with a failure goes with it.
    fn has_chunk(&mut self, response: &GenerationResponse) -> bool {
        let chunk = &self.events.output.chunk;
        if chunk.has_piece() || (response.chunk_count > 0 && !chunk.is_void()) {
            return true;
        }
        let is_settled = self.is_settled(chunk.finish_reason);
        let chunk = &mut self.events.output.chunk;
        match chunk.finish_reason {
            None => false,
            Some(_) if self.events.failure.is_some() => false,
            Some(_) if is_settled || self.events.ended.is_some() => true,
            Some(reason) => {
                chunk.finish_reason = None;
                let word = chunk.raw_finish_reason.take();
                self.early_stop = Some((reason, word.unwrap_or_default()));
                false
            }
        }
    }

    fn hand_out(&mut self, response: &mut GenerationResponse) -> StreamChunk {
        let chunk = self.events.output.take();
        if chunk.has_piece() {
            if let Some(reason) = response.finish_reason {
                let word = response.raw_finish_reason.take();
                self.early_stop = Some((reason, word.unwrap_or_default()));
            }
            if !chunk.tool_calls.is_empty() && self.events.ended.is_none() {
                // A call that follows a stop may be cut: it needs a reason of its own.
                self.early_stop = None;
            }
            self.has_final_usage = false;
        } else {
            self.has_final_usage |= chunk.usage.is_some();
        }
        response.fold(&chunk);
        chunk
    }

    /// Whether the model has stopped for good, as far as anybody can tell without an end marker. A
    /// plain stop before anything was said is none: Gemini sends one and goes on, and so do servers
    /// that end the reasoning with it. A call waits for its result, whatever else is at work.
    fn is_settled(&self, reason: Option<FinishReason>) -> bool {
        let output = &self.events.output;
        match reason {
            None => false,
            Some(FinishReason::Stop | FinishReason::ToolCalls) => {
                output.calls() > 0 || (output.seen.anything && !output.seen.at_work)
            }
            Some(_) => true,
        }
    }

    /// Whether nothing was said, not even that the answer ends.
    fn is_empty(&self) -> bool {
        let seen = self.events.output.seen;
        !(seen.anything || seen.reasoning || self.early_stop.is_some())
    }

    /// Bounds the time of what follows the end of an answer, unless more of it may come: a tool of
    /// the provider's own makes that possible, and so does an answer in which nothing was said yet.
    fn watch_tail(&mut self, response: &GenerationResponse) {
        let (output, reason) = (&self.events.output, response.finish_reason);
        let was_said = output.calls() > 0 || output.seen.anything;
        let in_tail = self.is_settled(reason) && was_said && !output.seen.own_tools;
        if in_tail != self.in_tail {
            self.in_tail = in_tail;
            self.clock = Clock::default();
        }
    }

    /// Is the answer whole that ends here?
    fn check_whole(&mut self, end: End, response: &GenerationResponse) -> Result<(), Error> {
        let (provider, output) = (self.events.provider, &mut self.events.output);
        let incomplete =
            |message: String| Err(Error::new(ErrorKind::Incomplete, provider, message));
        if output.seen.gap {
            return incomplete(
                "a piece of the answer is missing, as what came later in the stream shows".into(),
            );
        }
        if output.has_nameless_call() {
            return incomplete("the answer has a tool call whose name never came".into());
        }
        let reason = response.finish_reason.or(output.chunk.finish_reason);
        if reason == Some(FinishReason::ToolCalls) && output.calls() == 0 {
            return incomplete("the model asks for a tool call, but none came".into());
        }
        if reason.is_some() {
            return Ok(());
        }
        if let Some((reason, word)) = self.early_stop.take() {
            output.finish(reason, &word);
            return Ok(());
        }
        if end == End::Settled {
            return Ok(());
        }
        if self.is_empty() {
            return Err(self.nothing_said());
        }
        let vendor = self.events.provider.vendor();
        let is_marked = self.has_final_usage || vendor.ends_without_reason;
        if end == End::Protocol || (self.events.output.seen.anything && is_marked) {
            return Ok(());
        }
        incomplete(
            "the answer was interrupted: its end marker came without a finish reason and usage"
                .into(),
        )
    }

    /// The stream has ended well, and nothing was said in it.
    fn nothing_said(&self) -> Error {
        let Events { provider, protocol, count, beginning, output, .. } = &self.events;
        let begins = self.events.excerpt(beginning.as_deref().unwrap_or_default());
        match (count, output.seen.understood) {
            (0, _) => Error::new(
                ErrorKind::Incomplete,
                *provider,
                "the stream is empty: its end marker is all there is",
            ),
            (_, true) => Error::new(
                ErrorKind::Incomplete,
                *provider,
                format!(
                    "the stream is empty: there is no text and no call in it. It begins: {begins}"
                ),
            ),
            (_, false) => Error::new(
                ErrorKind::Decode,
                *provider,
                format!(
                    "none of the {count} events could be understood; is the protocol {protocol}? \
                     The stream begins: {begins}"
                ),
            ),
        }
    }

    /// The provider says that it failed. What it says behind that is read, too, as far as it comes
    /// at once: the usage, and how the answer ended.
    fn failed(
        &mut self,
        mut failure: Error,
        response: &GenerationResponse,
        cancel: &CancelHandle,
    ) -> Error {
        if let Some(report) = failure.report_mut() {
            // What the provider's support asks for stands in the head of the answer.
            report.request_id = report.request_id.take().or_else(|| response.request_id.clone());
        }
        let deadline = Instant::now().checked_add(AFTER_FAILURE);
        let mut left = AFTER_FAILURE_BYTES;
        // A reader that was given keeps no deadline, but need not be asked again.
        let is_over = || deadline.is_none_or(|at| at <= Instant::now()) || cancel.is_cancelled();
        while self.events.ended.is_none() && left > 0 {
            let read = match self.parser.next() {
                Ok(Some(frame)) => self.events.read(frame).ok(),
                Ok(None) if is_over() => None,
                Ok(None) => match self.parser.fill(|buffer| self.body.read(buffer, deadline)) {
                    Ok(bytes @ 1..) => {
                        left = left.saturating_sub(bytes);
                        Some(())
                    }
                    _ => None,
                },
                Err(TooLarge) => None,
            };
            if read.is_none() {
                break;
            }
        }
        failure
    }

    fn read_body(
        &mut self,
        response: &GenerationResponse,
        config: &GenerationConfig,
    ) -> Result<(), Error> {
        let limit = config.stall_timeout;
        let limit = if self.in_tail { limit.min(TAIL) } else { limit };
        // Bytes that are there already, and readers that were given, keep no deadline.
        if self.clock.has_waited(limit) {
            return Err(http::stalled(self.events.provider, config.stall_timeout));
        }
        let deadline = self.clock.deadline(limit);
        match self.parser.fill(|buffer| self.body.read(buffer, deadline)) {
            Ok(0) => {
                self.at_end = true;
                self.look_at_rest(config)
            }
            Ok(_) => Ok(()),
            Err(cause) if cause.kind() == ErrorKind::Network => {
                let message = format!("the stream was cut {}", self.so_far(response));
                let error = Error::new(ErrorKind::Incomplete, self.events.provider, message);
                Err(error.caused_by(cause.without_provider()))
            }
            Err(error) => Err(error),
        }
    }

    /// At the end of the body: an event that lacks only its line ends counts if it is whole.
    fn look_at_rest(&mut self, config: &GenerationConfig) -> Result<(), Error> {
        match self.parser.finish() {
            // What is no event may stand before the marker: see `advance`.
            Ok(Some(Frame::Event(event)))
                if is_end_marker(event.data) && self.events.count == 0 =>
            {
                self.has_marker = true;
            }
            Ok(Some(Frame::Event(event))) if is_end_marker(event.data) || is_json(event.data) => {
                self.rest.event = Some(event.data.to_owned());
            }
            Ok(Some(error @ Frame::Error(_))) => self.events.read(error)?,
            Ok(_) => {}
            Err(TooLarge) => return Err(self.too_large(config)),
        }
        self.look_at_stray();
        Ok(())
    }

    /// Lines that belong to no event may be an error, or the whole of an answer that was not
    /// streamed.
    fn look_at_stray(&mut self) {
        let mut stray = self.parser.take_stray();
        stray.truncate(stray.trim_end().len());
        stray.drain(..stray.len() - stray.trim_start().len());
        // A stream that was cut in its first line may end within a field's name.
        let is_field =
            ["data", "event", "id", "retry"].iter().any(|name| name.starts_with(&*stray));
        if self.events.count == 0 && !is_field {
            self.no_stream = Some(self.events.excerpt(&stray));
        }
        if stray.starts_with(['{', '[']) && is_json(&stray) {
            self.rest.json = stray;
        }
    }

    /// The body has ended, and everything in it was read.
    fn end(&mut self, response: &GenerationResponse) -> Result<(), Error> {
        let Events { provider, output, .. } = &self.events;
        let is_document = self.no_stream.is_some() && output.seen.document;
        if self.is_settled(response.finish_reason) || (is_document && !self.is_empty()) {
            self.events.ended = Some(End::Settled);
            return Ok(());
        }
        if self.has_marker {
            self.events.ended = Some(End::Done);
            return Ok(());
        }
        if let Some(beginning) = &self.no_stream
            && self.is_empty()
        {
            let advice = if self.route.is_some() { "; check the base URL" } else { "" };
            let message = format!("the answer is no event stream{advice}. It begins: {beginning}");
            return Err(Error::new(ErrorKind::Decode, *provider, message));
        }
        if self.events.count > 0 && !output.seen.understood {
            return Err(self.nothing_said());
        }
        let message = format!("the stream ended before the answer did, {}", self.so_far(response));
        Err(Error::new(ErrorKind::Incomplete, *provider, message))
    }

    /// How far the answer had come: enough to recognise a proxy's time limit.
    fn so_far(&self, response: &GenerationResponse) -> String {
        let seconds = self.opened.elapsed().as_secs_f64();
        let Events { count, .. } = self.events;
        if count == 0 {
            return format!("after {seconds:.1} s without a single event");
        }
        let chunks = response.chunk_count;
        let stopped = response.finish_reason.is_some() || self.early_stop.is_some();
        let lacks = match stopped {
            false => "without a finish reason or an end marker",
            true => "with a finish reason before the answer and no end marker",
        };
        format!("after {seconds:.1} s, {count} events and {chunks} chunks, {lacks}")
    }

    fn too_large(&self, config: &GenerationConfig) -> Error {
        let limit = config.max_event_bytes;
        let message =
            format!("a line or an event is larger than {limit} bytes; raise `max_event_bytes`");
        Error::new(ErrorKind::Limit, self.events.provider, message)
    }
}

/// How long a stream has waited for the next piece of the answer. What the caller does between two
/// calls of `next` takes no time here.
#[derive(Default)]
struct Clock {
    /// How long it had waited when the caller last got a chunk, which was no such piece.
    waited: Duration,
    /// Since when it has been waiting, from the first read on.
    since: Option<Instant>,
}

impl Clock {
    /// The caller asks for the next chunk.
    fn go_on(&mut self) {
        if !self.waited.is_zero() {
            self.since = Some(Instant::now());
        }
    }

    /// The caller gets a chunk.
    fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    fn has_waited(&self, limit: Duration) -> bool {
        self.since.is_some_and(|since| self.waited + since.elapsed() >= limit)
    }

    /// When the wait is over; `None` if that lies beyond the clock's end.
    fn deadline(&mut self, limit: Duration) -> Option<Instant> {
        let since = *self.since.get_or_insert_with(Instant::now);
        since.checked_add(limit.saturating_sub(self.waited))
    }
}

/// Events → the chunk in `output`, whatever the protocol.
struct Events {
    provider: LlmProvider,
    protocol: Protocol,
    decoder: Box<dyn Decoder>,
    output: ChunkBuilder,
    /// Whether to keep each event's data.
    raw: bool,
    /// Keys that a provider must not echo into a message.
    secrets: Secrets,
    /// How many events were decoded.
    count: usize,
    /// How the stream begins, for a message; kept as long as nothing in it is understood.
    beginning: Option<String>,
    /// The provider's word that it failed, to follow the chunk that came with it.
    failure: Option<Error>,
    /// Where the answer has ended.
    ended: Option<End>,
}

impl Events {
    fn read(&mut self, frame: Frame<'_>) -> Result<(), Error> {
        let event = match frame {
            // Nearly all; the rest is looked at more closely.
            Frame::Event(event) if event.data.starts_with('{') => event,
            Frame::Event(event) if event.data.trim().is_empty() => return Ok(()),
            Frame::Event(event) if is_end_marker(event.data) => {
                self.ended = Some(End::Done);
                return Ok(());
            }
            Frame::Event(event) => event,
            Frame::Error(error) => {
                self.fail(error);
                self.ended = Some(End::Done);
                return Ok(());
            }
        };
        self.count += 1;
        let decoded = self.decoder.decode(&event, &mut self.output);
        if event.name == "error" && self.output.failure.is_none() {
            // Whatever its data looks like.
            self.output.fail(event.data);
        } else if let Err(error) = decoded {
            let message =
                format!("event {} cannot be read: {}", self.count, self.excerpt(event.data));
            return Err(Error::new(ErrorKind::Decode, self.provider, message).caused_by(error));
        }
        if self.count == 1 && !self.output.chunk.has_piece() {
            self.beginning = Some(truncated(event.data, EXCERPT).to_owned());
        }
        if self.raw && !self.output.chunk.is_void() {
            // What waited for a piece comes with it.
            let before = self.output.chunk.raw.take().map(|before| before + "\n");
            self.output.chunk.raw = Some(before.unwrap_or_default() + event.data);
        }
        if let Some(error) = self.output.failure.take() {
            self.fail(&error);
        }
        if self.output.too_many_calls {
            let message = "the answer has too many tool calls; raise `max_tool_calls`";
            return Err(Error::new(ErrorKind::Limit, self.provider, message));
        }
        if self.output.ended {
            self.ended = Some(End::Protocol);
        }
        Ok(())
    }

    fn fail(&mut self, error: &str) {
        let mut error = protocol::api_error(self.provider, None, error);
        error.map_texts(|text| self.secrets.redact(text));
        self.failure = Some(error);
    }

    /// The beginning of what cannot be read, for a message.
    fn excerpt(&self, data: &str) -> String {
        let beginning = one_line(truncated(data, EXCERPT));
        format!("{:?}", self.secrets.redact(&beginning))
    }
}

fn is_end_marker(data: &str) -> bool {
    data.trim() == "[DONE]"
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
