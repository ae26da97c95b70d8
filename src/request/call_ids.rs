//! Ids of tool calls that fit the provider: those of another one may be too long for it, or have
//! characters that it refuses.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::message::{Message, fingerprint};
use crate::protocol::ChatRequest;
use crate::provider::{CallIds, Protocol};

/// Gives calls and their results ids that the provider takes: the same for the same call in every
/// request, so that a conversation goes on as it began.
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
    // Some servers count the calls of each answer from 0, which others refuse, or mix up. Gemini gets
    // no such id.
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
    let why = format!("{} takes no such id, or none twice", request.provider);
    for (asked, sent) in changed {
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

/// An id that every provider takes, made of another one. There are 36⁹ of them, so that no two of a
/// conversation meet.
fn nine_alphanumerics(id: &str) -> String {
    let hash = fingerprint([id]);
    (0..9).filter_map(|at| char::from_digit((hash >> (7 * at)) as u32 % 36, 36)).collect()
}
