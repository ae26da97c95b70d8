//! Ids of tool calls that fit the provider: those of another one may be too long for it, or have
//! characters that it refuses.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::message::Message;
use crate::protocol::ChatRequest;
use crate::provider::{CallIds, Protocol};

/// Gives calls and their results ids that the provider takes: the same for the same id in every
/// request, so that a conversation goes on as it began.
pub(super) fn fitted<'a>(
    mut messages: Cow<'a, [Message]>,
    request: ChatRequest<'_>,
) -> Cow<'a, [Message]> {
    let ids = messages.iter().flat_map(|message| {
        message.tool_calls.iter().map(|call| &call.id).chain(&message.tool_call_id)
    });
    let wrong: BTreeSet<_> = ids.filter(|id| !fits(id, request)).cloned().collect();
    if wrong.is_empty() {
        return messages;
    }
    for message in messages.to_mut() {
        let calls = message.tool_calls.iter_mut().map(|call| &mut call.id);
        for id in calls.chain(&mut message.tool_call_id).filter(|id| wrong.contains(*id)) {
            *id = nine_alphanumerics(id);
        }
    }
    let why = format!("{} takes no such id", request.provider);
    for id in &wrong {
        request.adapt("the id of a tool call", id, nine_alphanumerics(id), &why);
    }
    messages
}

fn fits(id: &str, request: ChatRequest<'_>) -> bool {
    let rule = match request.protocol {
        Protocol::ChatCompletions => request.provider.vendor().dialect.call_ids,
        Protocol::Responses => CallIds::AtMost(64),
        // https://platform.claude.com/docs/en/api/messages
        Protocol::Messages => CallIds::Word,
        Protocol::GenerateContent | Protocol::CohereChat => CallIds::Any,
    };
    let alphanumeric =
        |and: &[u8]| id.bytes().all(|b| b.is_ascii_alphanumeric() || and.contains(&b));
    match rule {
        CallIds::Any => true,
        CallIds::AtMost(length) => id.len() <= length,
        CallIds::NineAlphanumerics => id.len() == 9 && alphanumeric(b""),
        CallIds::Word => !id.is_empty() && alphanumeric(b"_-"),
    }
}

/// An id that every provider takes, made of another one (FNV-1a). There are 36⁹ of them, so that no
/// two of a conversation meet.
fn nine_alphanumerics(id: &str) -> String {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (0..9).filter_map(|at| char::from_digit((hash >> (7 * at)) as u32 % 36, 36)).collect()
}
