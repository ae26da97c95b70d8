//! Sends a request and reads the response, retries where that may help, and goes on with the next
//! request after tools have run.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::activity::Activity;
use crate::cancel::CancelHandle;
use crate::chunk::{FinishReason, StreamChunk};
use crate::config::GenerationConfig;
use crate::decode::{self, ResponseDecoder};
use crate::error::{Error, ErrorKind};
use crate::http::{self, Body, PreparedRequest};
use crate::message::Prompt;
use crate::provider::Protocol;
use crate::request;
use crate::response::GenerationResponse;
use crate::retry;
use crate::turns::{RunTool, Turns};

/// A stream without the caller's closures, and therefore without type parameters.
pub(crate) struct Exchange {
    pub(crate) config: Arc<GenerationConfig>,
    pub(crate) cancel: CancelHandle,
    /// The response that has not ended.
    pub(crate) response: GenerationResponse,
    /// The conversation before that response.
    pub(crate) turns: Turns,
    started: Option<Instant>,
    /// The request, kept for retries. It is `None` before it is prepared, or if the caller supplied
    /// the response.
    request: Option<Arc<PreparedRequest>>,
    pub(crate) state: State,
    /// The chunk that announces a retry, until it is handed out.
    notice: StreamChunk,
    /// Set while `next` runs. If it is already set when `next` begins, the previous call panicked.
    /// The iterator clears it, because the callback can panic, too.
    pub(crate) in_next: bool,
}

pub(crate) enum State {
    /// The request has not been prepared.
    New,
    /// The tools run that the model has called.
    Tools,
    /// The caller supplied the response.
    Supplied(Body),
    /// The request is prepared, and has no response yet.
    Sending,
    /// The request failed. It is sent again after this wait.
    Waiting(Duration),
    Reading(Box<ResponseDecoder>),
    Ended(Option<Error>),
}

impl Exchange {
    pub(crate) fn new(state: State, prompt: Prompt, config: GenerationConfig) -> Self {
        Self {
            turns: Turns::new(prompt),
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

    pub(crate) fn response(&self) -> &GenerationResponse {
        match self.state {
            State::Tools | State::Ended(_) => self.turns.responses.last(),
            _ => None,
        }
        .unwrap_or(&self.response)
    }

    /// Prepares the next chunk, which [`take`](Self::take) then returns. Returns `false` if there is
    /// none, because the stream has ended.
    #[inline]
    pub(crate) fn next(&mut self, mut run: Option<RunTool<'_>>) -> Result<bool, Error> {
        if mem::replace(&mut self.in_next, true) {
            // A logger, a callback or a reader has panicked, and the caller has caught the panic.
            // A piece of the answer may be lost, and `None` would mean that the answer is whole.
            let error = decode::panic_error(self.response().provider);
            return self.end(Err(error), false);
        }
        if let (Some(_), State::New | State::Supplied(_)) = (&run, &self.state)
            && let Err(error) = self.begin_tools()
        {
            return self.end(Err(error), false);
        }
        loop {
            let item = match (&self.state, &mut run) {
                (State::Ended(_), _) => return Ok(false),
                (State::Tools, Some(run)) if self.turns.has_calls() => return self.step(*run),
                (State::Tools, _) => {
                    self.state = State::New;
                    continue;
                }
                _ => self.advance(),
            };
            if let Ok(true) = item {
                if self.response.time_to_first_text.is_none() && !self.chunk().content.is_empty() {
                    self.response.time_to_first_text = self.started.map(|at| at.elapsed());
                }
                return item;
            }
            if !self.end(item, run.is_some())? {
                return Ok(false);
            }
        }
    }

    /// Returns why tools cannot run, if they cannot.
    pub(crate) fn tools_problem(&self) -> Option<&'static str> {
        if matches!(self.state, State::Supplied(_)) {
            return Some("`run_tools` needs a prompt; the response comes from a reader");
        }
        let has_tools = self.config.tools.iter().any(|tool| tool.called().is_some());
        (!has_tools).then_some("`run_tools` needs the functions in the option `tools`")
    }

    /// Queues the calls at the end of the prompt. They run only if the request can be sent.
    fn begin_tools(&mut self) -> Result<(), Error> {
        if let Some(problem) = self.tools_problem() {
            return Err(Error::new(ErrorKind::Config, None, problem));
        }
        if self.turns.resume() {
            request::prepare(&self.turns.conversation, &self.config)?;
            self.state = State::Tools;
        }
        Ok(())
    }

    /// Announces the next tool, or runs it.
    fn step(&mut self, run: RunTool<'_>) -> Result<bool, Error> {
        // If the tool panics, the stream has ended for good.
        self.state = State::Ended(Some(decode::panic_error(self.response().provider)));
        self.in_next = false;
        let activity = self.turns.step(run, &self.config, &self.cancel);
        self.in_next = true;
        let item = activity.map(|activity| self.notice.activity.push(activity));
        self.state = match &item {
            Ok(()) => State::Tools,
            Err(error) => State::Ended(Some(error.clone())),
        };
        item.map(|()| true)
    }

    /// Returns the chunk that [`next`](Self::next) has prepared.
    pub(crate) fn chunk(&self) -> &StreamChunk {
        match &self.state {
            State::Reading(decoder) => decoder.chunk(),
            _ => &self.notice,
        }
    }

    /// Takes the chunk that [`next`](Self::next) has prepared.
    #[inline]
    pub(crate) fn take(&mut self) -> StreamChunk {
        match &mut self.state {
            State::Reading(decoder) => decoder.take(),
            _ => mem::take(&mut self.notice),
        }
    }

    /// Ends a response. Returns whether the conversation goes on. If it does not, the stream has
    /// ended. Dropping the old state closes the connection, unless the response was read to its end.
    fn end(&mut self, item: Result<bool, Error>, runs_tools: bool) -> Result<bool, Error> {
        if let State::New | State::Supplied(_) | State::Tools = self.state {
            // No response is open.
            self.state = State::Ended(item.as_ref().err().cloned());
            return item;
        }
        let mut response = mem::take(&mut self.response);
        self.response.provider = response.provider;
        response.latency = self.started.take().map(|at| at.elapsed()).unwrap_or_default();
        let state = mem::replace(&mut self.state, State::Ended(None));
        match state {
            State::Reading(decoder) if item.is_ok() => {
                response.replay = decoder.finish(&response);
            }
            _ => response.mark_truncated(),
        }
        let has_calls = runs_tools && response.finish_reason == Some(FinishReason::ToolCalls);
        let is_paused = self.config.max_turns > 1
            && response.has_paused()
            && self.request.as_ref().is_some_and(|it| it.protocol == Protocol::Messages);
        let is_waiting = item.is_ok() && (has_calls || is_paused);
        let goes_on = self.turns.add(response, item.is_ok(), is_waiting, &self.config);
        let goes_on = item.and(goes_on);
        self.state = match &goes_on {
            Ok(true) => State::Tools,
            Ok(false) => State::Ended(None),
            Err(error) => State::Ended(Some(error.clone())),
        };
        goes_on
    }

    #[inline]
    fn advance(&mut self) -> Result<bool, Error> {
        self.started.get_or_insert_with(Instant::now);
        match self.attempt() {
            Err(_) if self.cancel.is_cancelled() => Err(Error::cancelled(self.response.provider)),
            Err(error) => self.try_again(error).map(|()| true),
            item => item,
        }
    }

    /// Prepares the next chunk without a retry.
    #[inline]
    fn attempt(&mut self) -> Result<bool, Error> {
        while !self.cancel.is_cancelled() {
            if let State::Reading(decoder) = &mut self.state {
                return decoder.next(&mut self.response, &self.cancel);
            }
            self.open()?;
        }
        Err(Error::cancelled(self.response.provider))
    }

    /// Takes one step towards a response that can be read: prepares the request, sends it, or waits
    /// before it is sent again.
    fn open(&mut self) -> Result<(), Error> {
        let config = &self.config;
        let state = mem::replace(&mut self.state, State::Sending);
        let (body, whom) = match (state, &self.request) {
            (State::New, _) => {
                let prepared = request::prepare(&self.turns.conversation, config);
                let (request, _) = prepared.inspect_err(|_| self.state = State::New)?;
                self.response.provider = Some(request.peer.provider);
                self.request = Some(Arc::new(request));
                return Ok(());
            }
            (State::Waiting(wait), _) => {
                if self.cancel.wait(wait) {
                    return Err(Error::cancelled(self.response.provider));
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
            (State::Supplied(body), _) => (body, request::route_of_reader(config)?),
            (State::Sending, Some(request)) => {
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
        self.state = State::Reading(Box::new(decoder));
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
        self.state = State::Waiting(wait);
        let notice = Activity::Retry { kind: error.kind(), message: error.to_string(), wait };
        self.notice.activity.push(notice);
        Ok(())
    }
}
