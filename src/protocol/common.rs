//! What several protocols write alike.

use serde_json::{Map, Value, json};

use super::chat_request::ChatRequest;
use crate::attachment::Attachment;
use crate::config::Reasoning;
use crate::error::Error;
use crate::message::{Message, MessageRole, ToolCall};
use crate::tool::{Tool, ToolChoice};

/// An object of those fields that there are.
pub(super) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    }
    object.into()
}

/// An object with these fields as well.
pub(super) fn with(mut object: Value, fields: Option<&Value>) -> Value {
    if let (Value::Object(object), Some(Value::Object(fields))) = (&mut object, fields) {
        object.extend(fields.clone());
    }
    object
}

/// A tool; what its schema is called differs.
pub(super) fn tool(tool: &Tool, schema: &str) -> Value {
    object([
        ("name", Some(json!(tool.name))),
        ("description", (!tool.description.is_empty()).then(|| json!(tool.description))),
        (schema, Some(tool.parameters.clone())),
    ])
}

/// A tool as OpenAI and those who follow it want it.
pub(super) fn function(function: &Tool) -> Value {
    json!({"type": "function", "function": tool(function, "parameters")})
}

/// Which tools may or must be called, in OpenAI's words; how one is named differs.
pub(super) fn tool_choice(
    choice: &ToolChoice,
    required: &str,
    named: impl Fn(&str) -> Value,
) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => required.into(),
        ToolChoice::Tool(name) => named(name),
    }
}

/// A call, as OpenAI and those who follow it want it.
pub(super) fn function_call(call: &ToolCall, arguments: &str) -> Value {
    let function = json!({"name": call.name, "arguments": arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

/// What a message says: its text, or a list of parts if there are pictures.
pub(super) fn content(
    message: &Message,
    text: fn(&str) -> Value,
    image: fn(&Attachment) -> Value,
) -> Value {
    if message.attachments.is_empty() {
        return json!(message.content);
    }
    let text = (!message.content.is_empty()).then(|| text(&message.content));
    text.into_iter().chain(message.attachments.iter().map(image)).collect()
}

/// A part that is a picture.
pub(super) fn image(image: &Attachment) -> Value {
    json!({"type": "image_url", "image_url": {"url": image.to_url()}})
}

/// A part that is text.
pub(super) fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// How hard to think, for protocols of OpenAI's that have a word for it.
pub(super) fn effort(
    request: ChatRequest<'_>,
    reasoning: Reasoning,
) -> Result<&'static str, Error> {
    let why = "the option `reasoning` takes a level here, not a budget";
    level(reasoning).ok_or_else(|| request.refuse(why))
}

/// The level at which to think, if it is one.
pub(super) fn level(reasoning: Reasoning) -> Option<&'static str> {
    Some(match reasoning {
        Reasoning::Off => "none",
        Reasoning::Minimal => "minimal",
        Reasoning::Low => "low",
        Reasoning::Medium => "medium",
        Reasoning::High => "high",
        Reasoning::XHigh => "xhigh",
        Reasoning::Max => "max",
        Reasoning::Budget(_) => return None,
    })
}

/// How many tokens to think, for those who count them; a level is told to be changed into these.
pub(super) fn budget(request: ChatRequest<'_>, reasoning: Reasoning, why: &str) -> u32 {
    let tokens = reasoning.budget();
    if let Some(level) = level(reasoning) {
        request.adapt("reasoning", level, format!("a budget of {tokens} tokens"), why);
    }
    tokens
}

/// The most parts of an answer that are written at the same time, which is more than any answer has.
pub(super) const MAX_OPEN: usize = 1024;

/// Makes room among the parts that have begun and are not done: the oldest is forgotten.
pub(super) fn make_room<T>(open: &mut Vec<T>) {
    if open.len() >= MAX_OPEN {
        open.remove(0);
    }
}

/// Tells that the message at an index is joined with the one before it, or left out, where it is.
pub(super) fn note_changed_turn(request: ChatRequest<'_>, at: usize, is_empty: bool) {
    let Some(message) = request.messages.get(at) else { return };
    let (what, role) = (format!("messages[{at}]"), message.role);
    let before = request.messages.iter().take(at).rfind(|other| other.role != MessageRole::System);
    if is_empty {
        let why = "this protocol refuses a turn without content";
        request.adapt(&what, format!("an empty {role} message"), "nothing", why);
    } else if role != MessageRole::Tool && before.is_some_and(|before| before.role == role) {
        let why = "the roles must alternate in this protocol";
        request.adapt(&what, format!("a second {role} message"), "one turn of both", why);
    }
}

/// A role and the parts of what is said in it.
pub(super) type Turn = (&'static str, Vec<Value>);

/// The instructions, which `beside` names, and the conversation, where the roles have to take turns:
/// what the model said has a role, and all else is the user's. Parts of the same role are joined, and
/// a turn without parts is left out: Anthropic and Gemini refuse it, and want the results of parallel
/// calls in one turn.
///
/// Later instructions can stay `inside` the conversation, so that what came before them is not
/// changed: between a turn of the user's and one of the model's, and at the end.
pub(super) fn turns<'a>(
    request: ChatRequest<'a>,
    model: &'static str,
    beside: &str,
    inside: bool,
    parts: impl Fn(usize, &Message) -> Result<Vec<Value>, Error>,
) -> Result<(Vec<&'a str>, Vec<Turn>), Error> {
    let mut turns: Vec<Turn> = Vec::new();
    let (mut system, mut waiting, mut moved) = (Vec::new(), Vec::new(), false);
    for (at, message) in request.messages()?.iter().enumerate() {
        let role = if message.role == MessageRole::Assistant { model } else { "user" };
        let parts = parts(at, message)?;
        if message.role == MessageRole::System {
            let after_user = turns.last().is_some_and(|(last, _)| *last == "user");
            if !parts.is_empty() && inside && after_user {
                waiting.push((&*message.content, parts));
            } else if !parts.is_empty() {
                moved |= !(turns.is_empty() && system.is_empty());
                system.push(&*message.content);
            }
            continue;
        }
        note_changed_turn(request, at, parts.is_empty());
        if parts.is_empty() {
            continue;
        }
        if role == model {
            turns.extend(waiting.drain(..).map(|(_, parts)| ("system", parts)));
        } else {
            moved |= !waiting.is_empty();
            system.extend(waiting.drain(..).map(|(said, _)| said));
        }
        match turns.last_mut() {
            Some((last, said)) if *last == role => said.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    turns.extend(waiting.into_iter().map(|(_, parts)| ("system", parts)));
    if moved {
        let why = "this protocol takes instructions beside the conversation";
        let asked = format!("{} system messages in their places", system.len());
        request.adapt("messages", asked, beside, why);
    }
    Ok((system, turns))
}
