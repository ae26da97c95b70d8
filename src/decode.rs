//! The body of a response → chunks, and whether the answer is whole.
//!
//! ```text
//!   Open ◀─▶ Tail ──▶ Ended, Leftover or Failed
//!   Leftover ───────▶ Ended or Failed
//!   Ended ──────────▶ whole, or an error that says what is missing; or Leftover, if nothing was said
//!   Failed ─────────▶ the provider's error
//! ```

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use crate::cancel::CancelHandle;
use crate::chunk::{FinishReason, StreamChunk};
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::http::{self, Body, Peer, PreparedRequest};
use crate::message::Replay;
use crate::protocol::{self, ChunkBuilder, Decoder};
use crate::provider::{LlmProvider, Protocol, Vendor};
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

/// Where a response stands.
#[derive(Debug)]
enum Stage {
    /// More of the answer may come.
    Open,
    /// The model has stopped. Nothing but usage is to come, and it is waited for only a short time.
    Tail,
    /// The stream has ended, and what is left of the body, which is not a stream, is read.
    Leftover { after_marker: bool },
    /// Nothing more is read, and it is to be decided whether the answer is whole.
    Ended(End),
    /// The provider says that it failed; `is_last` if nothing follows that.
    Failed { error: Error, is_last: bool },
}

/// Where an answer ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// At `[DONE]`, which only Chat Completions promises, but relays of other protocols send, too.
    Marker,
    /// At `[DONE]`, and nothing else is left in the body.
    MarkerAlone,
    /// At the protocol's own last event.
    Protocol,
    /// At a place where the model had stopped, or at the end of a whole document.
    Settled,
}

/// Reads one response.
pub(crate) struct ResponseDecoder {
    body: Body,
    parser: Parser,
    events: EventDecoder,
    stage: Stage,
    document: Document,
    /// How the body begins, if it is not an event stream.
    not_a_stream: Option<String>,
    /// A stop that settles nothing yet, or that a later piece has taken back, with the provider's
    /// word for it.
    early_stop: Option<(FinishReason, String)>,
    /// Usage came after the latest piece.
    has_final_usage: bool,
    clock: Clock,
    opened: Instant,
}

impl ResponseDecoder {
    pub(crate) fn new(
        body: Body,
        (provider, vendor, protocol): (LlmProvider, &'static Vendor, Protocol),
        request: Option<&PreparedRequest>,
        config: Arc<GenerationConfig>,
    ) -> Self {
        Self {
            body,
            parser: Parser::new(config.max_event_bytes),
            events: EventDecoder {
                provider,
                vendor,
                protocol,
                decoder: (protocol::codec(protocol).decoder)(),
                builder: ChunkBuilder::new(config.max_tool_calls, config.max_response_bytes),
                config,
                peer: request.map(|request| Arc::clone(&request.peer)),
                secrets: request.map(|request| request.secrets.clone()).unwrap_or_default(),
                count: 0,
                beginning: None,
            },
            stage: Stage::Open,
            document: Document::default(),
            not_a_stream: None,
            early_stop: None,
            has_final_usage: false,
            clock: Clock::default(),
            opened: Instant::now(),
        }
    }

    /// The next chunk, folded into `response`; `None` at the end of a whole answer.
    pub(crate) fn next(
        &mut self,
        response: &mut GenerationResponse,
        cancel: &CancelHandle,
    ) -> Result<Option<StreamChunk>, Error> {
        self.clock.go_on();
        let item = self.advance(response, cancel);
        self.clock.pause();
        if mem::take(&mut self.events.builder.has_news) {
            response.learn(&self.events.builder.facts);
        }
        if item.is_err() {
            // What was told about the answer without a piece of it counts, too.
            response.note(&self.events.builder.take());
            if let Some((reason, word)) = self.early_stop.take()
                && response.chunk_count == 0
            {
                response.finish_reason.get_or_insert(reason);
                response.raw_finish_reason.get_or_insert(word);
            }
        }
        item
    }

    /// The answer is whole: keeps the connection, and tells how the answer goes back.
    pub(crate) fn finish(mut self, response: &GenerationResponse) -> Option<Replay> {
        let EventDecoder { provider, vendor, protocol, builder, .. } = &mut self.events;
        let keeps_reasoning = vendor.dialect.returns_all_reasoning;
        let replay = builder.replay(*provider, *protocol, keeps_reasoning, response);
        self.body.drain();
        replay
    }

    fn advance(
        &mut self,
        response: &mut GenerationResponse,
        cancel: &CancelHandle,
    ) -> Result<Option<StreamChunk>, Error> {
        loop {
            self.check_size(response)?;
            if mem::take(&mut self.events.builder.progress) {
                self.clock = Clock::default();
            }
            if self.is_chunk_due(response) {
                return Ok(Some(self.hand_out(response)));
            }
            self.hold_back_stop();
            match self.stage {
                Stage::Failed { .. } => return Err(self.failure(response, cancel)),
                Stage::Ended(end) => {
                    self.events.builder.flush();
                    if self.events.builder.chunk.has_piece() {
                        continue;
                    }
                    if end == End::Marker && self.is_empty() && response.finish_reason.is_none() {
                        // Gateways write an error or a whole answer as bare JSON, and then the marker.
                        self.stage = Stage::Leftover { after_marker: true };
                        self.read_stray_lines();
                        continue;
                    }
                    self.check_whole(end, response)?;
                    let is_void = self.events.builder.chunk.is_void();
                    return Ok((!is_void).then(|| self.hand_out(response)));
                }
                Stage::Open | Stage::Tail | Stage::Leftover { .. } => {}
            }
            let is_over = self.watch_tail(response);
            match self.read_more(response, cancel) {
                // A failure after the end does not destroy a whole answer. The provider's own word
                // that it failed is none of these, and neither is a limit of the caller's.
                Err(error) if is_over && error.kind() != ErrorKind::Limit => {
                    log::debug!("after the finish reason: {error}");
                    self.stage = Stage::Ended(End::Settled);
                }
                read => read?,
            }
        }
    }

    /// Reads one event, or more of the body.
    fn read_more(
        &mut self,
        response: &GenerationResponse,
        cancel: &CancelHandle,
    ) -> Result<(), Error> {
        if let Stage::Leftover { after_marker } = self.stage {
            let next = self.document.next();
            let Some(data) = next else { return self.end_body(after_marker, response) };
            let event = Event { name: "", data: &data };
            return self.events.read(Frame::Event(event), &mut self.stage);
        }
        match self.parser.next() {
            Ok(Some(frame)) => self.events.read(frame, &mut self.stage),
            // A reader that was given cannot be interrupted, but need not be asked again.
            Ok(None) if cancel.is_cancelled() => Err(Error::cancelled(self.events.provider)),
            Ok(None) => self.read_body(response),
            Err(TooLarge) => Err(self.too_large()),
        }
    }

    /// Checked even when no chunk is ready: what only the provider reads again counts, too.
    fn check_size(&self, response: &GenerationResponse) -> Result<(), Error> {
        let builder = &self.events.builder;
        let limit = self.events.config.max_response_bytes;
        let bytes = response.bytes + builder.chunk.bytes();
        if bytes.saturating_add(builder.opaque_bytes()) <= limit {
            return Ok(());
        }
        let message =
            format!("the answer is larger than {limit} bytes; raise `max_response_bytes`");
        Err(self.error(ErrorKind::Limit, message))
    }

    /// Whether there is a chunk to hand out. As long as nothing was handed out, the request can be
    /// sent again: so usage alone and a stop that settles nothing wait for a piece of the answer,
    /// and what comes with a failure goes with it.
    fn is_chunk_due(&self, response: &GenerationResponse) -> bool {
        let chunk = &self.events.builder.chunk;
        match self.stage {
            _ if chunk.has_piece() || (response.chunk_count > 0 && !chunk.is_void()) => true,
            Stage::Failed { .. } => false,
            Stage::Ended(_) => chunk.finish_reason.is_some(),
            _ => self.is_settled(chunk.finish_reason),
        }
    }

    fn hold_back_stop(&mut self) {
        let chunk = &mut self.events.builder.chunk;
        if !matches!(self.stage, Stage::Failed { .. })
            && let Some(reason) = chunk.finish_reason.take()
        {
            self.early_stop = Some((reason, chunk.raw_finish_reason.take().unwrap_or_default()));
        }
    }

    fn hand_out(&mut self, response: &mut GenerationResponse) -> StreamChunk {
        let chunk = self.events.builder.take();
        if chunk.has_piece() {
            if let Some(reason) = response.finish_reason {
                let word = response.raw_finish_reason.take();
                self.early_stop = Some((reason, word.unwrap_or_default()));
            }
            if !chunk.tool_calls.is_empty() && !matches!(self.stage, Stage::Ended(_)) {
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

    /// Whether the model has stopped for good, as far as can be told without an end marker. A plain
    /// stop before anything was said is none: Gemini sends one and goes on, and so do servers that
    /// end the reasoning with it. A call waits for its result, whatever else is at work.
    fn is_settled(&self, reason: Option<FinishReason>) -> bool {
        let builder = &self.events.builder;
        match reason {
            None => false,
            Some(FinishReason::Stop | FinishReason::ToolCalls) => {
                builder.calls() > 0 || (builder.seen.anything && !builder.seen.at_work)
            }
            Some(_) => true,
        }
    }

    /// Whether nothing was said, not even that the answer ends.
    fn is_empty(&self) -> bool {
        let seen = self.events.builder.seen;
        !(seen.anything || seen.reasoning || self.early_stop.is_some())
    }

    /// Bounds the time of what follows the end of an answer, unless more of it may come: a tool of
    /// the provider's own makes that possible, and so does an answer in which nothing was said yet.
    /// Returns whether that end has come.
    fn watch_tail(&mut self, response: &GenerationResponse) -> bool {
        let builder = &self.events.builder;
        let was_said = builder.calls() > 0 || builder.seen.anything;
        let is_over =
            self.is_settled(response.finish_reason) && was_said && !builder.seen.own_tools;
        match (&self.stage, is_over) {
            (Stage::Open, true) => self.stage = Stage::Tail,
            (Stage::Tail, false) => self.stage = Stage::Open,
            _ => return is_over,
        }
        self.clock = Clock::default();
        is_over
    }

    /// Decides whether the answer is whole that ends here.
    fn check_whole(&mut self, end: End, response: &GenerationResponse) -> Result<(), Error> {
        let builder = &mut self.events.builder;
        let reason = response.finish_reason.or(builder.chunk.finish_reason);
        let problem = if builder.seen.gap {
            "a piece of the answer is missing, as what came later in the stream shows"
        } else if builder.has_nameless_call() {
            "the answer has a tool call whose name never came"
        } else if reason == Some(FinishReason::ToolCalls) && builder.calls() == 0 {
            "the model asks for a tool call, but none came"
        } else if reason.is_some() {
            return Ok(());
        } else if let Some((reason, word)) = self.early_stop.take() {
            builder.finish(reason, &word);
            return Ok(());
        } else if end == End::Settled {
            return Ok(());
        } else if self.is_empty() {
            return Err(self.nothing_said());
        } else {
            let is_marked = self.has_final_usage || self.events.vendor.ends_without_reason;
            if end == End::Protocol || (self.events.builder.seen.anything && is_marked) {
                return Ok(());
            }
            "the answer was interrupted: its end marker came without a finish reason and usage"
        };
        Err(self.error(ErrorKind::Incomplete, problem))
    }

    /// The stream has ended well, and nothing was said in it.
    fn nothing_said(&self) -> Error {
        let EventDecoder { protocol, count, beginning, builder, .. } = &self.events;
        if *count == 0 {
            let problem = "the stream is empty: its end marker is all there is";
            return self.error(ErrorKind::Incomplete, problem);
        }
        let begins = self.events.excerpt(beginning.as_deref().unwrap_or_default());
        if builder.seen.understood {
            let problem = "the stream is empty: there is no text and no call in it";
            return self.error(ErrorKind::Incomplete, format!("{problem}. It begins: {begins}"));
        }
        let problem = format!("none of the {count} events could be understood");
        let advice = format!("is the protocol {protocol}? The stream begins: {begins}");
        self.error(ErrorKind::Decode, format!("{problem}; {advice}"))
    }

    /// The provider's error. What the provider says behind it is read, too, as far as it comes at
    /// once: the usage, and how the answer ended.
    fn failure(&mut self, response: &GenerationResponse, cancel: &CancelHandle) -> Error {
        let stage = mem::replace(&mut self.stage, Stage::Open);
        let Stage::Failed { mut error, is_last } = stage else {
            return panic_error(self.events.provider.into());
        };
        if let Some(report) = error.report_mut() {
            // What the provider's support asks for stands in the headers of the response.
            report.request_id = report.request_id.take().or_else(|| response.request_id.clone());
        }
        let deadline = Instant::now().checked_add(AFTER_FAILURE);
        let mut left = AFTER_FAILURE_BYTES;
        while !is_last && left > 0 && matches!(self.stage, Stage::Open) {
            match self.parser.next() {
                Ok(Some(frame)) if self.events.read(frame, &mut self.stage).is_ok() => continue,
                Ok(None) => {}
                _ => break,
            }
            // A reader that was given keeps no deadline, but need not be asked again.
            if deadline.is_none_or(|at| at <= Instant::now()) || cancel.is_cancelled() {
                break;
            }
            match self.parser.fill(|buffer| self.body.read(buffer, deadline)) {
                Ok(bytes @ 1..) => left = left.saturating_sub(bytes),
                _ => break,
            }
        }
        error
    }

    fn read_body(&mut self, response: &GenerationResponse) -> Result<(), Error> {
        let limit = match self.stage {
            Stage::Tail => self.events.config.stall_timeout.min(TAIL),
            _ => self.events.config.stall_timeout,
        };
        // Bytes that are there already, and readers that were given, keep no deadline.
        if self.clock.has_waited(limit) {
            return Err(http::stalled(self.events.provider, self.events.config.stall_timeout));
        }
        let deadline = self.clock.deadline(limit);
        match self.parser.fill(|buffer| self.body.read(buffer, deadline)) {
            Ok(0) => self.read_last_lines(),
            Ok(_) => Ok(()),
            Err(cause) if cause.kind() == ErrorKind::Network => {
                let message = format!("the stream was cut {}", self.progress_made(response));
                let error = self.error(ErrorKind::Incomplete, message);
                Err(error.caused_by(cause.without_provider()))
            }
            Err(error) => Err(error),
        }
    }

    /// At the end of the body, an event that lacks only its line end counts if it is whole.
    fn read_last_lines(&mut self) -> Result<(), Error> {
        let data = match self.parser.finish() {
            Ok(Some(Frame::Event(event))) => event.data.to_owned(),
            Ok(Some(error @ Frame::Error(_))) => return self.events.read(error, &mut self.stage),
            Ok(None) => String::new(),
            Err(TooLarge) => return Err(self.too_large()),
        };
        let is_marker = is_end_marker(&data);
        // Before the marker there may be something that is not an event: see `advance`.
        let after_marker = is_marker && self.events.count == 0;
        self.stage = Stage::Leftover { after_marker };
        self.read_stray_lines();
        if after_marker || !(is_marker || is_json(&data)) {
            return Ok(());
        }
        self.events.read(Frame::Event(Event { name: "", data: &data }), &mut self.stage)
    }

    /// Lines that belong to no event may be an error, or the whole of an answer that was not
    /// streamed.
    fn read_stray_lines(&mut self) {
        let mut stray = self.parser.take_stray();
        stray.truncate(stray.trim_end().len());
        stray.drain(..stray.len() - stray.trim_start().len());
        // A stream that was cut in its first line may end within a field's name.
        let is_field =
            ["data", "event", "id", "retry"].iter().any(|name| name.starts_with(&*stray));
        if self.events.count == 0 && !is_field {
            self.not_a_stream = Some(self.events.excerpt(&stray));
        }
        if stray.starts_with(['{', '[']) && is_json(&stray) {
            self.document.json = stray;
        }
    }

    /// The body has ended, and everything in it was read.
    fn end_body(&mut self, after_marker: bool, response: &GenerationResponse) -> Result<(), Error> {
        let seen = self.events.builder.seen;
        let is_document = self.not_a_stream.is_some() && seen.document;
        if self.is_settled(response.finish_reason) || (is_document && !self.is_empty()) {
            self.stage = Stage::Ended(End::Settled);
        } else if after_marker {
            self.stage = Stage::Ended(End::MarkerAlone);
        } else if let Some(beginning) = self.not_a_stream.as_ref().filter(|_| self.is_empty()) {
            let advice = if self.events.peer.is_some() { "; check the base URL" } else { "" };
            let message =
                format!("the response is not an event stream{advice}. It begins: {beginning}");
            return Err(self.error(ErrorKind::Decode, message));
        } else if self.events.count > 0 && !seen.understood {
            return Err(self.nothing_said());
        } else {
            let progress = self.progress_made(response);
            let message = format!("the stream ended before the answer did, {progress}");
            return Err(self.error(ErrorKind::Incomplete, message));
        }
        Ok(())
    }

    /// How far the answer had come: enough to recognise a proxy's time limit.
    fn progress_made(&self, response: &GenerationResponse) -> String {
        let seconds = self.opened.elapsed().as_secs_f64();
        let count = self.events.count;
        if count == 0 {
            return format!("after {seconds:.1} s without a single event");
        }
        let chunks = response.chunk_count;
        let has_stopped = response.finish_reason.is_some() || self.early_stop.is_some();
        let lacks = match has_stopped {
            false => "without a finish reason or an end marker",
            true => "with a finish reason before the answer and no end marker",
        };
        format!("after {seconds:.1} s, {count} events and {chunks} chunks, {lacks}")
    }

    fn too_large(&self) -> Error {
        let limit = self.events.config.max_event_bytes;
        let message =
            format!("a line or an event is larger than {limit} bytes; raise `max_event_bytes`");
        self.error(ErrorKind::Limit, message)
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, self.events.provider, message)
    }
}

pub(crate) fn panic_error(provider: Option<LlmProvider>) -> Error {
    let message = "a panic interrupted the stream; what arrived before it may lack a piece";
    Error::new(ErrorKind::Incomplete, provider, message)
}

/// JSON in the place of a stream: an object, or a list of them. Gemini streams so when a proxy has
/// dropped `alt=sse`.
#[derive(Default)]
struct Document {
    json: String,
    /// How much of it has been read.
    read: usize,
}

impl Document {
    /// The next object. A list is not taken apart before: its elements could be many.
    fn next(&mut self) -> Option<String> {
        if !self.json.starts_with('[') {
            return Some(mem::take(&mut self.json)).filter(|json| !json.is_empty());
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
        // Without a read, too: chunks that are no such piece may come faster than they are read.
        if !self.waited.is_zero() {
            self.since = Some(Instant::now());
        }
    }

    /// The caller gets a chunk.
    fn pause(&mut self) {
        self.waited += self.since.take().map(|since| since.elapsed()).unwrap_or_default();
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

/// Events → the chunk in `builder`, whatever the protocol.
struct EventDecoder {
    provider: LlmProvider,
    /// What the server wants, which may be another one's.
    vendor: &'static Vendor,
    protocol: Protocol,
    decoder: Box<dyn Decoder>,
    builder: ChunkBuilder,
    config: Arc<GenerationConfig>,
    /// Whom the request went to; `None` if the caller gave the response.
    peer: Option<Arc<Peer>>,
    /// Keys that a provider must not echo into a message.
    secrets: Secrets,
    /// How many events were decoded.
    count: usize,
    /// How the stream begins, for a message; kept if the first event has no piece of the answer.
    beginning: Option<String>,
}

impl EventDecoder {
    /// Reads an event into the chunk, and moves the response on to the stage that it tells.
    fn read(&mut self, frame: Frame<'_>, stage: &mut Stage) -> Result<(), Error> {
        let event = match frame {
            // Nearly all; the rest is looked at more closely.
            Frame::Event(event) if event.data.starts_with('{') => event,
            Frame::Event(event) if event.data.trim().is_empty() => return Ok(()),
            Frame::Event(event) if is_end_marker(event.data) => {
                let is_alone = matches!(stage, Stage::Leftover { .. });
                *stage = Stage::Ended(if is_alone { End::MarkerAlone } else { End::Marker });
                return Ok(());
            }
            Frame::Event(event) => event,
            Frame::Error(error) => {
                *stage = self.failed(error, true);
                return Ok(());
            }
        };
        self.count += 1;
        let Self { decoder, builder, .. } = self;
        let decoded = decoder.decode(&event, builder);
        if event.name == "error" && builder.failure.is_none() {
            // Whatever its data looks like.
            builder.fail(event.data);
        } else if let Err(cause) = decoded {
            let message =
                format!("event {} cannot be read: {}", self.count, self.excerpt(event.data));
            return Err(Error::new(ErrorKind::Decode, self.provider, message).caused_by(cause));
        }
        if self.count == 1 && !builder.chunk.has_piece() {
            self.beginning = Some(truncated(event.data, EXCERPT).to_owned());
        }
        if self.config.raw && !builder.chunk.is_void() {
            // What waited for a piece comes with it.
            let before = builder.chunk.raw.take().map(|before| before + "\n");
            builder.chunk.raw = Some(before.unwrap_or_default() + event.data);
        }
        if builder.too_many_calls {
            let message = "the answer has too many tool calls; raise `max_tool_calls`";
            return Err(Error::new(ErrorKind::Limit, self.provider, message));
        }
        let is_last = builder.ended;
        if let Some(error) = builder.failure.take() {
            *stage = self.failed(&error, is_last);
        } else if is_last {
            *stage = Stage::Ended(End::Protocol);
        }
        Ok(())
    }

    fn failed(&self, error: &str, is_last: bool) -> Stage {
        let mut error = protocol::api_error(self.provider, None, error);
        error.map_texts(|text| self.secrets.redact(text));
        if let (Some(peer), Some(report)) = (&self.peer, error.report_mut()) {
            peer.introduce(report);
        }
        Stage::Failed { error, is_last }
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
