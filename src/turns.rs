//! Runs the caller's tools between two responses of one stream, and keeps the conversation.

use std::collections::VecDeque;

use serde::de::IgnoredAny;

use crate::activity::Activity;
use crate::cancel::CancelHandle;
use crate::chunk::FinishReason;
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageRole, Prompt, ToolCall};
use crate::response::GenerationResponse;

/// Runs a call of the model, and returns the result for the model to read.
pub(crate) type RunTool<'a> = &'a mut dyn FnMut(&ToolCall) -> anyhow::Result<String>;

/// A conversation, and the calls in it that have not run.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The prompt, and everything since.
    conversation: Prompt,
    /// The number of messages of the caller's prompt.
    asked: usize,
    /// The responses that have ended.
    pub(crate) responses: Vec<GenerationResponse>,
    /// The last response, if it is not in the conversation: whether it is whole.
    last_is_whole: Option<bool>,
    /// The calls that have no result yet. The first one is announced, and then runs.
    calls: VecDeque<ToolCall>,
    is_announced: bool,
    /// The size of the results since the last response, in bytes.
    result_bytes: usize,
}

impl Turns {
    pub(crate) fn new(prompt: Prompt) -> Self {
        Self { asked: prompt.messages().len(), conversation: prompt, ..Self::default() }
    }

    pub(crate) fn conversation(&self) -> &Prompt {
        &self.conversation
    }

    /// Returns everything that the stream has added to the prompt. Of a response that was cut, this is
    /// its text. `open` is the response that has not ended.
    pub(crate) fn new_messages(&self, open: Option<&GenerationResponse>) -> Vec<Message> {
        let added = self.conversation.messages().get(self.asked..).unwrap_or_default();
        let last = self.responses.last().zip(self.last_is_whole);
        let last = last.or(open.map(|open| (open, false)));
        let last = last.map(|(response, is_whole)| match is_whole {
            true => Message::from(response),
            false => Message::assistant(&response.content),
        });
        let last = last.filter(|it| !it.content.is_empty() || !it.tool_calls.is_empty());
        added.iter().cloned().chain(last).collect()
    }

    /// Returns whether calls at the end of the conversation have no result.
    pub(crate) fn has_open_calls(&self) -> bool {
        open_calls(self.conversation.messages()).next().is_some()
    }

    /// Queues the calls at the end of the prompt that have no result. Returns whether there are any.
    pub(crate) fn resume(&mut self) -> bool {
        self.calls = open_calls(self.conversation.messages()).collect();
        self.result_bytes = 0;
        !self.calls.is_empty()
    }

    /// Adds a response that has ended. Returns whether the conversation goes on: the calls in it have
    /// to run, or the provider has only paused.
    pub(crate) fn add(
        &mut self,
        response: GenerationResponse,
        is_whole: bool,
        runs_tools: bool,
        config: &GenerationConfig,
    ) -> Result<bool, Error> {
        let is_waiting = runs_tools && response.finish_reason == Some(FinishReason::ToolCalls);
        // Anthropic pauses a long turn, and goes on if it gets the turn back.
        let is_paused = response.raw_finish_reason.as_deref() == Some("pause_turn");
        // Without a prompt, the response came from a reader.
        let may_go_on = is_whole && self.asked > 0 && (is_waiting || is_paused);
        let is_last =
            self.responses.len() + 1 >= usize::try_from(config.max_turns).unwrap_or(usize::MAX);
        let provider = response.provider;
        self.last_is_whole = Some(is_whole);
        if may_go_on && !is_last {
            self.conversation.push(Message::from(&response));
            self.last_is_whole = None;
            self.resume();
        }
        self.responses.reserve_exact(1); // a response is large, and usually the only one
        self.responses.push(response);
        if may_go_on && is_last && is_waiting {
            let turns = config.max_turns;
            let problem =
                format!("the model still calls tools; raise `max_turns`, which is {turns}");
            return Err(Error::new(ErrorKind::Limit, provider, problem));
        }
        Ok(may_go_on && !is_last)
    }

    /// Returns whether calls have to run.
    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Takes the next step with the first call: announces it, or runs it. After an error, the call
    /// has no result.
    pub(crate) fn step(
        &mut self,
        run: RunTool<'_>,
        config: &GenerationConfig,
        cancel: &CancelHandle,
    ) -> Result<Activity, Error> {
        let provider = self.responses.last().and_then(|response| response.provider);
        let call = self.calls.front().filter(|_| !cancel.is_cancelled()).cloned();
        let call = call.ok_or_else(|| Error::cancelled(provider))?;
        let (id, name) = (call.id.clone(), call.name.clone());
        self.is_announced = !self.is_announced;
        if self.is_announced {
            let input = call.arguments;
            return Ok(Activity::ToolStarted { id, name, input, hosted: false });
        }
        let result = match refused(&call, config) {
            Some(why) => Err(anyhow::Error::msg(why)),
            None => run(&call),
        };
        if cancel.is_cancelled() {
            return Err(Error::cancelled(provider));
        }
        let is_error = result.is_err();
        let output = result.unwrap_or_else(|error| format!("{error:#}"));
        let limit = config.max_response_bytes;
        self.result_bytes = self.result_bytes.saturating_add(output.len());
        if self.result_bytes > limit {
            let problem = format!(
                "with the result of {name:?}, the results of tools are larger than {limit} bytes; \
                 raise `max_response_bytes`"
            );
            return Err(Error::new(ErrorKind::Limit, provider, problem));
        }
        self.calls.pop_front();
        let message = if is_error { Message::tool_error } else { Message::tool };
        self.conversation.push(message(id.clone(), output.clone()));
        Ok(Activity::ToolFinished { id, name, output, is_error, hosted: false })
    }
}

/// Returns why a call cannot run. The model is told.
fn refused(call: &ToolCall, config: &GenerationConfig) -> Option<String> {
    let mut names = config.tools.iter().filter_map(|tool| tool.name());
    if !names.any(|name| name == call.name) {
        return Some(format!("there is no tool {:?}", call.name));
    }
    call.parse::<IgnoredAny>().err().map(|error| format!("{error:#}"))
}

/// Returns the calls at the end of a conversation that have no result.
fn open_calls(messages: &[Message]) -> impl Iterator<Item = ToolCall> {
    let is_result = |message: &&Message| message.role == MessageRole::Tool;
    let results = messages.iter().rev().take_while(is_result).count();
    let (before, results) = messages.split_at(messages.len() - results);
    let calls = before.last().into_iter().flat_map(|message| &message.tool_calls);
    let is_open = move |call: &&ToolCall| {
        !results.iter().any(|result| result.tool_call_id.as_deref() == Some(&*call.id))
    };
    calls.filter(is_open).cloned()
}
