//! Replaces tool-call ids that the provider would refuse. The ids of another provider may be too
//! long or contain characters that are not allowed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::message::{Message, fingerprint};
use crate::protocol::ChatRequest;
use crate::provider::{CallIds, Protocol};

/// Returns the messages with tool-call ids that the provider accepts. A call gets the same id in
/// every request, because providers cache the unchanged beginning of a conversation.
pub(super) fn fitted<'a>(
    mut messages: Cow<'a, [Message]>,
    request: ChatRequest<'_>,
) -> Cow<'a, [Message]> {
    let rule = match request.protocol {
        Protocol::ChatCompletions => request.vendor().dialect.call_ids,
        Protocol::Responses => CallIds::AtMost(64),
        // https://platform.claude.com/docs/en/api/messages
        Protocol::Messages => CallIds::Word,
        Protocol::GenerateContent | Protocol::CohereChat => CallIds::Any,
    };
    // Some servers number the calls of each response from 0, so their ids repeat in a conversation.
    // Other servers refuse repeated ids, or confuse the calls. To Gemini, the ids that the crate
    // itself counted are not sent, so none is changed here.
    let must_differ = request.protocol != Protocol::GenerateContent;
    let fit = |id: &str| if fits(id, rule) { id.to_owned() } else { nine_alphanumerics(id) };
    let (mut used, mut latest, mut fitted) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    for message in messages.iter() {
        for call in &message.tool_calls {
            let mut id = fit(&call.id);
            if must_differ && used.contains(&id) {
                id = nine_alphanumerics(&format!("{id} {}", used.len()));
            }
            used.insert(id.clone());
            latest.insert(call.id.clone(), id.clone());
            fitted.push((call.id.clone(), id));
        }
        let result = message.tool_call_id.as_ref();
        let known = |id: &String| latest.get(id).cloned().unwrap_or_else(|| fit(id));
        fitted.extend(result.map(|id| (id.clone(), known(id))));
    }
    let changed: BTreeSet<_> = fitted.iter().filter(|(asked, sent)| asked != sent).collect();
    if changed.is_empty() {
        return messages;
    }
    for (asked, sent) in changed {
        let why = match fits(asked, rule) {
            true => "the ids of tool calls must differ".to_owned(),
            false => format!("{} refuses ids of this form", request.provider),
        };
        request.adapt("the id of a tool call", asked, sent, &why);
    }
    let ids = messages.to_mut().iter_mut().flat_map(|message| {
        message.tool_calls.iter_mut().map(|call| &mut call.id).chain(&mut message.tool_call_id)
    });
    ids.zip(fitted).for_each(|(id, (_, sent))| *id = sent);
    messages
}

fn fits(id: &str, rule: CallIds) -> bool {
    let alphanumeric =
        |and: &[u8]| id.bytes().all(|b| b.is_ascii_alphanumeric() || and.contains(&b));
    match rule {
        CallIds::Any => true,
        CallIds::AtMost(length) => id.len() <= length,
        CallIds::NineAlphanumerics => id.len() == 9 && alphanumeric(b""),
        CallIds::Word => !id.is_empty() && alphanumeric(b"_-"),
    }
}

/// Derives a new id from `id`. Every provider accepts the new id. There are 36⁹ such ids, so a
/// collision within a conversation is practically impossible.
fn nine_alphanumerics(id: &str) -> String {
    let hash = fingerprint([id]);
    (0..9).filter_map(|at| char::from_digit((hash >> (7 * at)) as u32 % 36, 36)).collect()
}
