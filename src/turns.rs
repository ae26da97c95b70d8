//! Runs the caller's tools between two responses of one stream, and keeps the conversation.

use std::collections::VecDeque;

use serde::de::IgnoredAny;

use crate::activity::Activity;
use crate::cancel::CancelHandle;
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::message::{self, Message, MessageRole, Prompt, ToolCall};
use crate::response::GenerationResponse;
use crate::typed;

/// Runs a call of the model, and returns the result for the model to read.
pub(crate) type RunTool<'a> = &'a mut dyn FnMut(&ToolCall) -> anyhow::Result<String>;

/// A conversation, and the calls in it that have not run.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The prompt, and everything since.
    pub(crate) conversation: Prompt,
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

    /// Returns everything that the stream has added to the prompt. Of a response that was cut, this is
    /// its text. `open` is the response that has not ended.
    pub(crate) fn new_messages(&self, open: Option<&GenerationResponse>) -> Vec<Message> {
        let added = self.conversation.messages().get(self.asked..).unwrap_or_default();
        let last = self.responses.last().zip(self.last_is_whole);
        let last = last.or(open.map(|open| (open, false)));
        // A picture, and a search that has paused, are in the replay data.
        let is_opaque = |it: &GenerationResponse| !it.attachments.is_empty() || it.has_paused();
        let says_something = |it: &Message| !it.content.is_empty() || !it.tool_calls.is_empty();
        let last = last.and_then(|(response, is_whole)| match is_whole {
            true if is_opaque(response) => Some(Message::from(response)),
            true => Some(Message::from(response)).filter(says_something),
            false => Some(Message::assistant(&response.content)).filter(says_something),
        });
        added.iter().cloned().chain(last).collect()
    }

    /// Returns whether calls at the end of the conversation have no result.
    pub(crate) fn has_open_calls(&self) -> bool {
        open_calls(self.conversation.messages()).next().is_some()
    }

    /// Queues the calls at the end of the prompt that have no result. Returns whether there are any.
    pub(crate) fn resume(&mut self) -> bool {
        self.calls = open_calls(self.conversation.messages()).cloned().collect();
        self.result_bytes = 0;
        !self.calls.is_empty()
    }

    /// Adds a response that has ended. `is_waiting` means that it is whole and not the end: calls in
    /// it have to run, or the provider has only paused. Returns whether the conversation goes on.
    pub(crate) fn add(
        &mut self,
        response: GenerationResponse,
        is_whole: bool,
        is_waiting: bool,
        config: &GenerationConfig,
    ) -> Result<bool, Error> {
        let (turns, provider) = (config.max_turns, response.provider);
        let is_last = self.responses.len() as u64 + 1 >= u64::from(turns);
        // Calls of a response that a limit or a filter has cut must not run later, either.
        let is_cut = !response.tool_calls.is_empty() && typed::stopped(&response).is_some();
        self.last_is_whole = Some(is_whole && !is_cut);
        if is_waiting && !is_last {
            self.conversation.push(Message::from(&response));
            self.last_is_whole = None;
            self.resume();
        }
        self.responses.reserve_exact(1); // a response is large, and usually the only one
        self.responses.push(response);
        if is_waiting && is_last {
            let why = format!("the model has not finished, and `max_turns` is {turns}; raise it");
            return Err(Error::new(ErrorKind::Limit, provider, why));
        }
        Ok(is_waiting)
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
        let result = check(&call, config).and_then(|()| run(&call));
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

/// Returns an error if a call cannot run.
fn check(call: &ToolCall, config: &GenerationConfig) -> anyhow::Result<()> {
    let is_declared = config.tools.iter().any(|tool| tool.called() == Some(&*call.name));
    anyhow::ensure!(is_declared, "there is no tool {:?}", call.name);
    call.parse::<IgnoredAny>().map(drop)
}

/// Returns the calls at the end of a conversation that have no result.
fn open_calls(messages: &[Message]) -> impl Iterator<Item = &ToolCall> {
    let at = messages.iter().rposition(|message| message.role != MessageRole::Tool);
    message::open_calls(messages.get(at.unwrap_or_default()..).unwrap_or_default())
}
