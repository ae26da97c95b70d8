//! Encodes the parts of a request body that are alike in several protocols.

use serde_json::{Map, Value, json};

use super::chat_request::ChatRequest;
use super::options::Options;
use crate::attachment::Attachment;
use crate::error::Error;
use crate::message::{Message, MessageRole, ToolCall};
use crate::model::begins_like;
use crate::provider::{Protocol, ReasoningForm};
use crate::tool::{Function, ToolChoice};

/// Returns an object with the fields that have a value.
pub(super) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Adds fields to an object.
pub(super) fn with(mut object: Value, fields: Option<&Value>) -> Value {
    if let (Value::Object(object), Some(Value::Object(fields))) = (&mut object, fields) {
        object.extend(fields.clone());
    }
    object
}

/// Returns whether a name is in a list that is separated by spaces.
pub(super) fn is_in(names: &str, name: &str) -> bool {
    names.split(' ').any(|one| one == name)
}

/// Encodes a tool. `schema` is the protocol's name for the field of the parameters.
pub(super) fn function(tool: &Function, schema: &str) -> Value {
    object([
        ("name", Some(json!(tool.name))),
        ("description", (!tool.description.is_empty()).then(|| json!(tool.description))),
        (schema, Some(tool.parameters.clone())),
    ])
}

/// Returns the text in a field, if it is not empty.
pub(super) fn some_text_in<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// Returns the text in a field, or an empty text.
pub(super) fn text_in<'a>(value: &'a Value, name: &str) -> &'a str {
    some_text_in(value, name).unwrap_or_default()
}

/// Returns the list in a field, or an empty list.
pub(super) fn list_in<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Returns the elements of an array, or any other value as the only element.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.map_or(&[], |it| it.as_array().map_or(std::slice::from_ref(it), Vec::as_slice))
}

/// Encodes the tool choice in OpenAI's words. `required` is the protocol's word for a required
/// call, and `named` encodes the choice of one tool.
pub(super) fn tool_choice(
    options: &mut Options<'_>,
    required: &str,
    named: impl Fn(&str) -> Value,
) -> Option<Value> {
    Some(match options.typed("tool_choice", &options.request.config.tool_choice)? {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => required.into(),
        ToolChoice::Tool(name) => named(name),
    })
}

/// Encodes a tool call in the form of OpenAI and compatible servers.
pub(super) fn function_call(call: &ToolCall, arguments: &str) -> Value {
    let function = json!({"name": call.name, "arguments": arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

/// Encodes the content of a message: its text, or a list of parts if it has images.
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

/// Encodes an image as a content part.
pub(super) fn image(image: &Attachment) -> Value {
    json!({"type": "image_url", "image_url": {"url": image.to_url()}})
}

/// Encodes text as a content part.
pub(super) fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Returns the fields for the requested reasoning, in the first form whose prefixes match the model
/// name. There are no fields if `reasoning` is unset. It is an error if the form cannot express the
/// requested value.
pub(super) fn reasoning(
    options: &mut Options<'_>,
    model: &str,
    forms: &[(&str, ReasoningForm)],
) -> Result<Map<String, Value>, Error> {
    let request = options.request;
    let (Some(told), Some(asked)) = (options.take("reasoning"), request.config.reasoning) else {
        return Ok(Map::new());
    };
    let mut tokens = asked.budget();
    // A budget of zero tokens means that reasoning is off.
    let is_off = tokens == 0;
    let level = told.as_str().filter(|_| !is_off);
    let form = forms.iter().find(|(names, _)| begins_like(model, names));
    let form = form.map_or(&ReasoningForm::NONE, |(_, form)| form);
    let (template, missing) = match level {
        _ if is_off => (form.off, "cannot be off for this model; unset it, or use a low level"),
        None if !form.level.is_empty() => (form.budget, "takes a level here, not a budget"),
        _ => (form.level, "is not supported for this model; leave it unset"),
    };
    if template.is_empty() {
        return Err(request.refuse(format!("the option `reasoning` {missing}")));
    }
    let (is_level, level) = (level.is_some(), level.unwrap_or("off"));
    let mut words = form.words.split_whitespace().filter_map(|pair| pair.split_once('='));
    let word = words.find(|(from, _)| *from == level).map_or(level, |(_, to)| to);
    let adapt = |sent: &str, why| request.adapt("reasoning", level, sent, why);
    if let Some((sent, why)) = form.off_means.filter(|_| is_off) {
        adapt(sent, why);
    } else if is_level && template.contains("$budget") {
        if request.protocol == Protocol::Messages {
            // The budget must be smaller than `max_tokens`, half of which is left for the answer.
            let most = request.config.max_tokens.map_or(u32::MAX, |limit| limit / 2);
            tokens = tokens.min(most).max(1024);
        }
        adapt(&format!("a budget of {tokens} tokens"), "this model takes a token budget");
    } else if is_level && !template.contains("$level") {
        adapt("reasoning on", "this model has no reasoning levels");
    } else if word != level {
        adapt(word, "this model has other reasoning levels");
    }
    let json = template.replace("$level", word).replace("$budget", &tokens.to_string());
    Ok(serde_json::from_str(&json).unwrap_or_default())
}

/// The maximum number of parts of a response that are open at the same time. Real responses have
/// fewer.
pub(super) const MAX_OPEN: usize = 1024;

/// Records an adaptation if the message at an index is empty and left out, or is joined with the
/// message before it.
pub(super) fn note_changed_turn(request: ChatRequest<'_>, at: usize, is_empty: bool) {
    let Some(message) = request.messages.get(at) else { return };
    let (what, role) = (format!("messages[{at}]"), message.role);
    let before = request.messages.iter().take(at).rfind(|other| other.role != MessageRole::System);
    if is_empty {
        let why = "this protocol refuses a turn without content";
        request.adapt(&what, format!("an empty {role} message"), "nothing", why);
    } else if role != MessageRole::Tool && before.is_some_and(|before| before.role == role) {
        let why = "the roles must alternate in this protocol";
        request.adapt(&what, format!("a second {role} message"), "it in the same turn", why);
    }
}

/// A role and its content parts.
pub(super) type Turn = (&'static str, Vec<Value>);

/// Splits the messages into system messages and the turns of the conversation, for protocols in
/// which the roles must alternate. `model` is the role of assistant messages; user messages and
/// tool results have the role `user`. `beside` describes where the system messages are sent. Turns
/// of the same role are joined, and empty turns are left out: Anthropic and Gemini refuse empty
/// turns, and require the results of parallel calls in one turn.
///
/// If `inside` is true, later system messages stay in the conversation, so that the turns before
/// them do not change. Each must follow a user turn: it is moved behind the next one, or out of the
/// conversation if none follows.
pub(super) fn turns(
    request: ChatRequest<'_>,
    model: &'static str,
    beside: &str,
    inside: bool,
    parts: impl Fn(usize, &Message) -> Result<Vec<Value>, Error>,
) -> Result<(Vec<String>, Vec<Turn>), Error> {
    let (mut turns, mut system, mut moved) = (Vec::<Turn>::new(), Vec::new(), false);
    for (at, message) in request.messages()?.iter().enumerate() {
        let role = match message.role {
            MessageRole::System => "system",
            MessageRole::Assistant => model,
            MessageRole::User | MessageRole::Tool => "user",
        };
        let parts = parts(at, message)?;
        if role != "system" {
            note_changed_turn(request, at, parts.is_empty());
        }
        if parts.is_empty() {
            continue;
        }
        if role == "system" && (turns.is_empty() || !inside) {
            moved |= !(turns.is_empty() && system.is_empty());
            system.push(message.content.clone());
            continue;
        }
        // System messages directly before a user turn are moved behind it.
        let is_last = |(other, _): &Turn| role != "user" || *other != "system";
        let later = turns.split_off(turns.iter().rposition(is_last).map_or(0, |at| at + 1));
        turns.push((role, parts));
        if !later.is_empty() {
            let (what, why) = (format!("messages[{at}]"), "system messages follow user messages");
            request.adapt(&what, "after it", "it before the system message", why);
        }
        turns.extend(later);
    }
    let mut before = "";
    turns.retain(|(role, parts)| {
        let stays = *role != "system" || before == "user";
        if !stays {
            system.extend(parts.iter().map(|part| text_in(part, "text").to_owned()));
        }
        moved |= !stays;
        before = if *role == "system" { before } else { role };
        stays
    });
    turns.dedup_by(|(role, parts), (before, said)| {
        (role == before).then(|| said.append(parts)).is_some()
    });
    if moved {
        let why = match inside {
            true => "this model takes system messages at the top, or after a user message",
            false => "this protocol takes system messages only at the top",
        };
        let asked = "system messages in their places";
        request.adapt("messages", asked, beside, why);
    }
    Ok((system, turns))
}
