//! Decodes a response body into chunks, and decides whether the answer is whole: the model finished
//! it, and no piece is missing. `docs/providers.md` lists the cases.
//!
//! The stages of a response (`Tail`: the model has stopped, but usage may follow; `Leftover`: the
//! events have ended, and lines that belong to none of them are read as JSON):
//!
//! ```text
//!   Open ◀──────────▶ Tail
//!   Open, Tail ─────▶ Ended, Leftover or Failed
//!   Leftover ───────▶ Ended or Failed
//!   Ended ──────────▶ whole, or an error that says what is missing; Leftover if nothing arrived
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
use crate::http::{self, Body, PreparedRequest};
use crate::message::Replay;
use crate::protocol::{self, ChunkBuilder, Decoder, Sources};
use crate::provider::{LlmProvider, Protocol, Vendor};
use crate::redact::{one_line, truncated};
use crate::response::GenerationResponse;
use crate::sse::{Event, Frame, Parser, TooLarge};

/// The longest wait for data after a finish reason. Usually only usage follows. The exceptions are
/// in [`is_settled`](ResponseDecoder::is_settled) and [`watch_tail`](ResponseDecoder::watch_tail).
const TAIL: Duration = Duration::from_secs(10);
/// The longest wait for data after the provider reported a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// The most bytes to read after the provider reported a failure.
const AFTER_FAILURE_BYTES: usize = 64 << 10;
/// The most bytes of unreadable data that an error message quotes.
const EXCERPT: usize = 200;

/// The state of a response.
#[derive(Debug)]
enum Stage {
    /// More of the answer may come.
    Open,
    /// The model has stopped. Usually only usage follows, so the wait for it is short. If more of
    /// the answer comes, the stage is `Open` again.
    Tail,
    /// The event stream has ended, after an end marker if `after_marker` is set. The body may also
    /// have lines that are not part of any event. They are now read as JSON.
    Leftover { after_marker: bool },
    /// Nothing more is read. The next step decides whether the answer is whole.
    Ended(End),
    /// The provider reported a failure. `is_last` means that nothing follows the report.
    Failed { error: Error, is_last: bool },
}

/// The sign by which the end of an answer was recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// `[DONE]` arrived. Only Chat Completions promises it, but relays of other protocols send it,
    /// too.
    Marker,
    /// `[DONE]` arrived, and the lines that are not part of any event were read, too.
    MarkerAlone,
    /// The protocol's own last event arrived.
    Protocol,
    /// The model had stopped, and then the body ended, no data came or the connection was lost. Or
    /// the body was a whole JSON document.
    Settled,
}

/// Decodes one response.
pub(crate) struct ResponseDecoder {
    body: Body,
    parser: Parser,
    events: EventDecoder,
    stage: Stage,
    document: Document,
    /// A sentence that describes the body, if the body is not an event stream.
    not_a_stream: Option<String>,
    /// A finish reason that did not end the answer, with the provider's word for it. It came before
    /// the first piece of the answer, or more pieces followed it. It is used if the answer ends
    /// without another one.
    early_stop: Option<(FinishReason, String)>,
    /// Usage arrived after the latest piece of the answer.
    has_final_usage: bool,
    clock: Clock,
    opened: Instant,
    sources: Sources,
}

impl ResponseDecoder {
    pub(crate) fn new(
        body: Body,
        (provider, vendor, protocol): (LlmProvider, &'static Vendor, Protocol),
        request: Option<Arc<PreparedRequest>>,
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
                request,
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
            sources: Sources::default(),
        }
    }

    /// Prepares the next chunk, which [`take`](Self::take) then returns, and folds it into
    /// `response`. Returns `false` at the end of a whole answer.
    pub(crate) fn next(
        &mut self,
        response: &mut GenerationResponse,
        cancel: &CancelHandle,
    ) -> Result<bool, Error> {
        self.clock.go_on();
        let item = self.advance(response, cancel);
        self.clock.pause();
        if mem::take(&mut self.events.builder.has_news) {
            response.learn(&self.events.builder.facts);
        }
        if item.is_err() {
            // Facts, sources and sound are kept even if no chunk carried them.
            self.events.end();
            // Text that no chunk has carried is not in the response, so no place may be in it.
            self.events.builder.chunk.content.clear();
            self.number_sources(response);
            self.events.builder.name_model();
            let rest = self.events.builder.take();
            response.note(&rest);
            response.add_extras(&rest);
            if let Some((reason, word)) = self.early_stop.take()
                && response.chunk_count == 0
            {
                response.finish_reason.get_or_insert(reason);
                response.raw_finish_reason.get_or_insert(word);
            }
        }
        if !matches!(item, Ok(true)) {
            self.sources.settle(response);
        }
        item
    }

    /// Returns the chunk that [`next`](Self::next) has prepared. A chunk is large, so it is moved
    /// only here.
    #[inline]
    pub(crate) fn take(&mut self) -> StreamChunk {
        self.events.builder.take()
    }

    /// Returns the chunk that [`take`](Self::take) will return.
    pub(crate) fn chunk(&self) -> &StreamChunk {
        &self.events.builder.chunk
    }

    /// Ends a whole answer: returns its replay data, and reads the rest of the body so that the
    /// connection can be reused.
    pub(crate) fn finish(mut self, response: &GenerationResponse) -> Option<Replay> {
        let EventDecoder { provider, vendor, protocol, builder, .. } = &mut self.events;
        let returns_all = vendor.dialect.returns_all_reasoning;
        let replay = builder.replay(*provider, *protocol, returns_all, response);
        self.body.drain();
        replay
    }

    fn advance(
        &mut self,
        response: &mut GenerationResponse,
        cancel: &CancelHandle,
    ) -> Result<bool, Error> {
        loop {
            self.check_size()?;
            if mem::take(&mut self.events.builder.progress) {
                self.clock = Clock::default();
            }
            if self.is_chunk_due(response) {
                self.prepare(response);
                return Ok(true);
            }
            self.hold_back_stop();
            if self.events.builder.chunk.raw.is_some() {
                self.prepare(response);
                return Ok(true);
            }
            match self.stage {
                Stage::Failed { .. } => return Err(self.failure(response, cancel)),
                Stage::Ended(end) => {
                    self.events.end();
                    if self.events.builder.chunk.has_piece() {
                        continue;
                    }
                    if end == End::Marker && self.is_empty() && response.finish_reason.is_none() {
                        // Some gateways send an error or a whole answer as plain JSON, and then
                        // the end marker.
                        self.stage = Stage::Leftover { after_marker: true };
                        self.read_stray_lines();
                        continue;
                    }
                    self.check_whole(end, response)?;
                    let chunk = &self.events.builder.chunk;
                    let has_rest = chunk.has_news() || chunk.is_part(true);
                    if has_rest {
                        self.prepare(response);
                    }
                    return Ok(has_rest);
                }
                Stage::Open | Stage::Tail | Stage::Leftover { .. } => {}
            }
            let is_over = self.watch_tail(response);
            match self.read_more(response, cancel) {
                // A timeout or a lost connection after the finish reason does not make the answer
                // invalid. An answer that exceeds a limit of the caller is invalid. So is one whose
                // failure the provider reports, but that sets `Stage::Failed` and is no `Err` here.
                Err(error) if is_over && error.kind() != ErrorKind::Limit => {
                    log::debug!("after the finish reason: {error}");
                    self.stage = Stage::Ended(End::Settled);
                }
                read => read?,
            }
        }
    }

    /// Decodes one event, or reads more of the body if no event is complete.
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
            // The body may come from a reader that the caller supplied. Cancelling cannot interrupt
            // a read from it, but prevents the next read.
            Ok(None) if cancel.is_cancelled() => Err(Error::cancelled(self.events.provider)),
            Ok(None) => self.read_body(response),
            Err(TooLarge) => Err(self.too_large()),
        }
    }

    /// Checks `max_response_bytes`, even when no chunk is ready: replay data counts, too.
    fn check_size(&self) -> Result<(), Error> {
        if !self.events.builder.is_full() {
            return Ok(());
        }
        let limit = self.events.config.max_response_bytes;
        let message =
            format!("the response is larger than {limit} bytes; raise `max_response_bytes`");
        Err(self.error(ErrorKind::Limit, message))
    }

    /// Returns whether there is a chunk to hand out.
    ///
    /// The request can be retried until a part of the answer is handed out. So the first part waits
    /// for a piece of the answer: usage alone is not enough, and neither is an early stop. If a
    /// failure comes first, they become part of the response without a chunk. Sources and activity
    /// do not wait.
    fn is_chunk_due(&self, response: &GenerationResponse) -> bool {
        let chunk = &self.events.builder.chunk;
        match self.stage {
            _ if chunk.has_piece() || chunk.has_news() => true,
            _ if response.chunk_count > 0 && chunk.is_part(true) => true,
            Stage::Failed { .. } => false,
            Stage::Ended(_) => chunk.finish_reason.is_some(),
            _ => self.is_settled(chunk.finish_reason),
        }
    }

    /// Takes a finish reason that came too early out of the chunk.
    fn hold_back_stop(&mut self) {
        let chunk = &mut self.events.builder.chunk;
        if !matches!(self.stage, Stage::Failed { .. })
            && let Some(reason) = chunk.finish_reason.take()
        {
            self.early_stop = Some((reason, chunk.raw_finish_reason.take().unwrap_or_default()));
        }
    }

    /// Numbers the sources in the chunk, and finds the places that cite them.
    fn number_sources(&mut self, response: &mut GenerationResponse) {
        let builder = &mut self.events.builder;
        if builder.chunk.sources.is_empty() {
            return;
        }
        let places = mem::take(&mut builder.places);
        let chunk = &mut builder.chunk;
        // The places may be in the text of this chunk, too.
        let before = response.content.len();
        response.content.push_str(&chunk.content);
        let found = mem::take(&mut chunk.sources);
        chunk.sources = self.sources.number(found, places, &response.content);
        response.content.truncate(before);
    }

    /// Completes the chunk, and folds it into the response.
    fn prepare(&mut self, response: &mut GenerationResponse) {
        self.number_sources(response);
        self.events.builder.name_model();
        let chunk = &mut self.events.builder.chunk;
        if chunk.has_piece() {
            if let Some(reason) = response.finish_reason {
                let word = response.raw_finish_reason.take();
                self.early_stop = Some((reason, word.unwrap_or_default()));
            }
            // A piece that arrives only at the end is older than the finish reason and the usage.
            if !matches!(self.stage, Stage::Ended(_)) {
                if !chunk.tool_calls.is_empty() {
                    // An earlier finish reason does not show that this tool call is whole. A later
                    // one has to.
                    self.early_stop = None;
                }
                self.has_final_usage = false;
            }
        } else {
            self.has_final_usage |= chunk.usage.is_some();
        }
        response.fold(chunk);
    }

    /// Returns whether the model has stopped for good, as far as a finish reason alone can show.
    ///
    /// `Stop` and `ToolCalls` do not count before any content: Gemini sends `STOP` and goes on, and
    /// Baseten, a host of models, ends the reasoning with `stop`. They do not count either while a
    /// tool of the provider is at work. After a tool call they always count, because the model
    /// waits for the result of the call.
    fn is_settled(&self, reason: Option<FinishReason>) -> bool {
        let builder = &self.events.builder;
        match reason {
            None => false,
            Some(FinishReason::Stop | FinishReason::ToolCalls) => {
                builder.calls() > 0 || (builder.seen.anything && !builder.seen.provider_tool_runs)
            }
            Some(_) => true,
        }
    }

    /// Returns whether nothing has arrived: no content, no reasoning and no early finish reason.
    fn is_empty(&self) -> bool {
        let seen = self.events.builder.seen;
        !(seen.anything || seen.reasoning || self.early_stop.is_some())
    }

    /// Returns whether the answer is over, and shortens the wait for more data if it is.
    ///
    /// An answer is not over while it has no content, or if it used a tool of the provider: after
    /// that tool, more content may follow a finish reason.
    fn watch_tail(&mut self, response: &GenerationResponse) -> bool {
        let builder = &self.events.builder;
        let was_said = builder.calls() > 0 || builder.seen.anything;
        let is_over =
            self.is_settled(response.finish_reason) && was_said && !builder.seen.provider_tools;
        match (&self.stage, is_over) {
            (Stage::Open, true) => self.stage = Stage::Tail,
            (Stage::Tail, false) => self.stage = Stage::Open,
            _ => return is_over,
        }
        self.clock = Clock::default();
        is_over
    }

    /// Returns an error if the answer that ends here is not whole.
    fn check_whole(&mut self, end: End, response: &GenerationResponse) -> Result<(), Error> {
        let builder = &mut self.events.builder;
        let reason = response.finish_reason.or(builder.chunk.finish_reason);
        let problem = if builder.seen.gap {
            "the response is inconsistent: later events do not match earlier ones"
        } else if builder.has_nameless_call() {
            "the response has a tool call without a name"
        } else if reason == Some(FinishReason::ToolCalls) && builder.calls() == 0 {
            "the finish reason is a tool call, but the response has no tool call"
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
            "the response was interrupted: no finish reason and no usage came before the end marker"
        };
        Err(self.error(ErrorKind::Incomplete, problem))
    }

    /// Returns the error for a stream that ended properly but had no answer in it.
    fn nothing_said(&self) -> Error {
        let EventDecoder { protocol, count, beginning, builder, .. } = &self.events;
        if *count == 0 {
            let problem = "the stream is empty: it has nothing but an end marker";
            return self.error(ErrorKind::Incomplete, problem);
        }
        let begins = self.events.excerpt(beginning.as_deref().unwrap_or_default());
        if builder.seen.understood {
            let problem = "the stream is empty: it has no text and no tool call";
            return self.error(ErrorKind::Incomplete, format!("{problem}. It begins: {begins}"));
        }
        let problem = format!("no event could be decoded (events: {count})");
        let advice = format!("is `protocol` {protocol} right? The stream begins: {begins}");
        self.error(ErrorKind::Decode, format!("{problem}; {advice}"))
    }

    /// Returns the provider's error. Before that, it reads what arrives at once after the error:
    /// usage and a finish reason may follow.
    fn failure(&mut self, response: &GenerationResponse, cancel: &CancelHandle) -> Error {
        let stage = mem::replace(&mut self.stage, Stage::Open);
        let Stage::Failed { mut error, is_last } = stage else {
            return panic_error(self.events.provider.into());
        };
        if let Some(report) = error.report_mut() {
            // The request ID is in the response headers. The provider's support asks for it.
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
            // The caller's reader ignores the deadline, so it is also checked before each read.
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
        // The deadline of a read does not stop bytes that have already arrived, nor the caller's
        // reader. So the limit is also checked here.
        if self.clock.has_waited(limit) {
            let message = http::stalled(self.events.config.stall_timeout);
            return Err(self.error(ErrorKind::Timeout, message));
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

    /// Reads what is left at the end of the body. An event without its final line end counts if its
    /// data is JSON or the end marker.
    fn read_last_lines(&mut self) -> Result<(), Error> {
        let data = match self.parser.finish() {
            Ok(Some(Frame::Event(event))) => event.data.to_owned(),
            Ok(Some(error @ Frame::Error(_))) => return self.events.read(error, &mut self.stage),
            Ok(None) => String::new(),
            Err(TooLarge) => return Err(self.too_large()),
        };
        let is_marker = is_end_marker(&data);
        // Plain JSON may precede the end marker: see `advance`.
        let after_marker = is_marker && self.events.count == 0;
        self.stage = Stage::Leftover { after_marker };
        self.read_stray_lines();
        if after_marker || !(is_marker || is_json(&data)) {
            return Ok(());
        }
        self.events.read(Frame::Event(Event { name: "", data: &data }), &mut self.stage)
    }

    /// Looks for JSON in the lines that are not part of any event. It may be an error, or a whole
    /// answer that was not streamed.
    fn read_stray_lines(&mut self) {
        let mut stray = self.parser.take_stray();
        stray.truncate(stray.trim_end().len());
        stray.drain(..stray.len() - stray.trim_start().len());
        // A stream that was cut off in its first line may end inside a field name.
        let is_field =
            ["data", "event", "id", "retry"].iter().any(|name| name.starts_with(&*stray));
        if self.events.count == 0 && !is_field {
            // In UTF-16, every second byte of ASCII text is zero. The two bytes before are a mark.
            let beginning = stray.chars().skip_while(|c| *c == char::REPLACEMENT_CHARACTER);
            let beginning: Vec<_> = beginning.take(4).map(|c| c == '\0').collect();
            let is_utf16 = matches!(*beginning, [one, other, third, fourth]
                if one != other && one == third && other == fourth);
            self.not_a_stream = Some(match is_utf16 {
                true => "It is UTF-16, as PowerShell's `>` writes; save it with `curl.exe -o FILE`"
                    .to_owned(),
                false => format!("It begins: {}", self.events.excerpt(&stray)),
            });
        }
        if stray.starts_with(['{', '[']) && is_json(&stray) {
            self.document.json = stray;
        }
    }

    /// Ends the answer at the end of the body, or returns an error if the body ended too early.
    fn end_body(&mut self, after_marker: bool, response: &GenerationResponse) -> Result<(), Error> {
        let seen = self.events.builder.seen;
        let is_document = self.not_a_stream.is_some() && seen.document;
        if self.is_settled(response.finish_reason) || (is_document && !self.is_empty()) {
            self.stage = Stage::Ended(End::Settled);
        } else if after_marker {
            self.stage = Stage::Ended(End::MarkerAlone);
        } else if let Some(what) = self.not_a_stream.as_ref().filter(|_| self.is_empty()) {
            let advice = if self.events.request.is_some() { "; check the base URL" } else { "" };
            let message = format!("the response is not an event stream{advice}. {what}");
            return Err(self.error(ErrorKind::Decode, message));
        } else if self.events.count > 0 && !seen.understood {
            return Err(self.nothing_said());
        } else {
            let progress = self.progress_made(response);
            let message = format!("the stream ended {progress}; the response is incomplete");
            return Err(self.error(ErrorKind::Incomplete, message));
        }
        Ok(())
    }

    /// Describes how far the answer had come. The duration helps the user to recognise a proxy's
    /// time limit.
    fn progress_made(&self, response: &GenerationResponse) -> String {
        let seconds = self.opened.elapsed().as_secs_f64();
        let count = self.events.count;
        if count == 0 {
            return format!("after {seconds:.1} s, before the first event");
        }
        let chunks = response.chunk_count;
        let has_stopped = response.finish_reason.is_some() || self.early_stop.is_some();
        let lacks = match has_stopped {
            false => "without a finish reason or an end marker",
            true => "with a finish reason before the text and no end marker",
        };
        format!("after {seconds:.1} s (events: {count}, chunks: {chunks}), {lacks}")
    }

    fn too_large(&self) -> Error {
        let limit = self.events.config.max_event_bytes;
        let message =
            format!("a line or an event is larger than {limit} bytes; raise `max_event_bytes`");
        self.error(ErrorKind::Limit, message)
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        self.events.error(kind, message)
    }
}

/// Returns the error for a stream that a panic interrupted.
pub(crate) fn panic_error(provider: Option<LlmProvider>) -> Error {
    let message = "a panic interrupted the stream; the response may be incomplete";
    Error::new(ErrorKind::Incomplete, provider, message)
}

/// JSON in place of an event stream: an object or a list of objects. Gemini sends an event stream
/// only if the URL has the query `alt=sse`. If a proxy has dropped that, Gemini sends a list.
#[derive(Default)]
struct Document {
    json: String,
    /// The number of bytes of `json` that were already read. Used only for a list.
    read: usize,
}

impl Document {
    /// Returns the next object. A list is split one element at a time, because it may be long.
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

/// Measures how long a stream has waited for the next piece of the answer. The time that the caller
/// spends between two calls of `next` does not count.
#[derive(Default)]
struct Clock {
    /// The time spent in earlier calls of `next`, which returned chunks without such a piece.
    waited: Duration,
    /// The start of the current wait, or `None` if the clock does not run.
    since: Option<Instant>,
}

impl Clock {
    /// Resumes a wait when the caller asks for the next chunk.
    fn go_on(&mut self) {
        // A wait goes on over several calls if their chunks have no such piece. The clock has to
        // run before the first read of this call, because the limit is checked there: if such
        // chunks arrive faster than the caller takes them, no read ever waits. A new wait starts
        // with a read.
        if !self.waited.is_zero() {
            self.since = Some(Instant::now());
        }
    }

    /// Stops the clock while the caller has a chunk.
    fn pause(&mut self) {
        self.waited += self.since.take().map(|since| since.elapsed()).unwrap_or_default();
    }

    fn has_waited(&self, limit: Duration) -> bool {
        self.since.is_some_and(|since| self.waited + since.elapsed() >= limit)
    }

    /// Returns the end of the wait, or `None` if an [`Instant`] cannot represent it.
    fn deadline(&mut self, limit: Duration) -> Option<Instant> {
        let since = *self.since.get_or_insert_with(Instant::now);
        since.checked_add(limit.saturating_sub(self.waited))
    }
}

/// Decodes events of any protocol into the chunk in `builder`.
struct EventDecoder {
    provider: LlmProvider,
    /// The vendor whose dialect the server uses. It may differ from `provider`.
    vendor: &'static Vendor,
    protocol: Protocol,
    decoder: Box<dyn Decoder>,
    builder: ChunkBuilder,
    config: Arc<GenerationConfig>,
    /// The request, for error messages: they name its server, and its keys are redacted in them. It is
    /// `None` if the caller supplied the response.
    request: Option<Arc<PreparedRequest>>,
    /// The number of events decoded so far.
    count: usize,
    /// The beginning of the stream, for an error message. It is kept only if the first event has no
    /// piece of the answer.
    beginning: Option<String>,
}

impl EventDecoder {
    /// Adds what is complete only at the end of the response to the chunk.
    fn end(&mut self) {
        self.decoder.end(&mut self.builder);
        self.builder.flush();
    }

    /// Decodes an event into the chunk, and changes `stage` if the event ends or fails the answer.
    fn read(&mut self, frame: Frame<'_>, stage: &mut Stage) -> Result<(), Error> {
        if self.config.raw {
            let (name, data) = match frame {
                Frame::Event(event) => (event.name, event.data),
                Frame::Error(error) => ("error", error),
            };
            self.builder.chunk.raw = Some(data.to_owned());
            self.builder.chunk.raw_event = (!name.is_empty()).then(|| name.to_owned());
        }
        let event = match frame {
            // Nearly all events are JSON objects, and need none of the checks below.
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
            // The name alone makes it a failure, even if its data cannot be decoded.
            builder.fail(event.data);
        } else if let Err(cause) = decoded {
            let message =
                format!("event {} cannot be read: {}", self.count, self.excerpt(event.data));
            return Err(self.error(ErrorKind::Decode, message).caused_by(cause));
        }
        if self.count == 1 && !builder.chunk.has_piece() {
            self.beginning = Some(truncated(event.data, EXCERPT).to_owned());
        }
        if builder.too_many_calls {
            let message = "the response has too many tool calls; raise `max_tool_calls`";
            return Err(self.error(ErrorKind::Limit, message));
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
        if let Some(request) = &self.request {
            error.map_texts(|text| request.secrets.redact(text));
            request.peer.introduce(&mut error);
        }
        Stage::Failed { error, is_last }
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        let mut error = Error::new(kind, self.provider, message);
        if let Some(request) = &self.request {
            request.peer.introduce(&mut error);
        }
        error
    }

    /// Quotes the beginning of unreadable data for an error message.
    fn excerpt(&self, data: &str) -> String {
        let beginning = one_line(truncated(data, EXCERPT));
        let clean = self.request.as_ref().map(|request| request.secrets.redact(&beginning));
        format!("{:?}", clean.unwrap_or(beginning))
    }
}

fn is_end_marker(data: &str) -> bool {
    data.trim() == "[DONE]"
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
