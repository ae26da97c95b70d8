//! What several protocols write alike.

use serde_json::{Map, Value, json};

use super::chat_request::ChatRequest;
use super::options::Options;
use crate::attachment::Attachment;
use crate::error::Error;
use crate::message::{Message, MessageRole, ToolCall};
use crate::model::begins_like;
use crate::provider::{Protocol, ReasoningForm};
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

/// Whether a name is one of several, with blanks between them.
pub(super) fn is_in(names: &str, name: &str) -> bool {
    names.split(' ').any(|one| one == name)
}

/// A tool; what its schema is called differs.
pub(super) fn tool(tool: &Tool, schema: &str) -> Value {
    object([
        ("name", Some(json!(tool.name))),
        ("description", (!tool.description.is_empty()).then(|| json!(tool.description))),
        (schema, Some(tool.parameters.clone())),
    ])
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

/// The fields that switch reasoning as it is asked for, in the first of some forms that fits the
/// model's name; none where nothing is asked.
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
    // No tokens at all are no reasoning.
    let is_off = tokens == 0;
    let level = if is_off { Some("none") } else { told.as_str() };
    let form = forms.iter().find(|(names, _)| begins_like(model, names));
    let form = form.map_or(&ReasoningForm::NONE, |(_, form)| form);
    let (template, missing) = match level {
        _ if is_off => (form.off, "cannot be off for this model; leave it unset, or lower it"),
        None if !form.level.is_empty() => (form.budget, "takes a level here, not a budget"),
        _ => (form.level, "has no form for this model; leave it unset"),
    };
    if template.is_empty() {
        return Err(request.refuse(format!("the option `reasoning` {missing}")));
    }
    let (is_level, level) = (level.is_some() && !is_off, level.unwrap_or("none"));
    let mut words = form.words.split_whitespace().filter_map(|pair| pair.split_once('='));
    let word = words.find(|(from, _)| *from == level).map_or(level, |(_, to)| to);
    let adapt = |sent: &str, why| request.adapt("reasoning", level, sent, why);
    if let Some((sent, why)) = form.off_means.filter(|_| is_off) {
        adapt(sent, why);
    } else if is_level && template.contains("$budget") {
        if request.protocol == Protocol::Messages {
            // It has to be smaller than the limit, half of which is left for the answer.
            let most = request.config.max_tokens.map_or(u32::MAX, |limit| limit / 2);
            tokens = tokens.min(most).max(1024);
        }
        adapt(&format!("a budget of {tokens} tokens"), "this model counts tokens");
    } else if is_level && !template.contains("$level") {
        adapt("that it reasons", "this model has no levels");
    } else if word != level {
        adapt(word, "this model has other levels");
    }
    let json = template.replace("$level", word).replace("$budget", &tokens.to_string());
    Ok(serde_json::from_str(&json).unwrap_or_default())
}

/// The most parts of an answer that are written at the same time, which is more than any answer has.
pub(super) const MAX_OPEN: usize = 1024;

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
/// changed: behind a turn of the user's, if need be the next one.
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
        // Instructions that the user's turn follows go behind it.
        let is_last = |(other, _): &Turn| role != "user" || *other != "system";
        let later = turns.split_off(turns.iter().rposition(is_last).map_or(0, |at| at + 1));
        turns.push((role, parts));
        if !later.is_empty() {
            let (what, why) = (format!("messages[{at}]"), "a system message follows a user's turn");
            request.adapt(&what, "it behind a system message", "it before that", why);
        }
        turns.extend(later);
    }
    let mut before = "";
    turns.retain(|(role, parts)| {
        let stays = *role != "system" || before == "user";
        if !stays {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            system.extend(texts.map(str::to_owned));
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
            true => "instructions are taken beside the conversation, or behind a user's turn",
            false => "this protocol takes instructions beside the conversation",
        };
        let asked = format!("{} system messages in their places", system.len());
        request.adapt("messages", asked, beside, why);
    }
    Ok((system, turns))
}
