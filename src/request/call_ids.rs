//! Ids of tool calls that fit the provider: those of another one may be too long for it, or have
//! characters that it refuses.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::message::Message;
use crate::protocol::Adaptation;
use crate::provider::{CallIds, LlmProvider, Protocol};

/// Gives calls and their results ids that the provider takes: the same for the same id in every
/// request, so that a conversation goes on as it began, and another one for another id.
pub(super) fn fit(
    messages: &mut Cow<'_, [Message]>,
    provider: LlmProvider,
    protocol: Protocol,
    adaptations: &RefCell<Vec<Adaptation>>,
) {
    let ids = messages.iter().flat_map(|message| {
        let calls = message.tool_calls.iter().map(|call| &call.id);
        calls.chain(&message.tool_call_id).cloned()
    });
    let (mut taken, wrong): (BTreeSet<_>, BTreeSet<_>) =
        ids.partition(|id| fits(id, provider, protocol));
    let mut replacements = BTreeMap::new();
    for asked in wrong {
        let new = (0..).map(|nth| nine_alphanumerics(&asked, nth)).find(|new| !taken.contains(new));
        let sent = new.unwrap_or_default();
        taken.insert(sent.clone());
        adaptations.borrow_mut().push(Adaptation {
            what: "the id of a tool call".to_owned(),
            asked: asked.clone(),
            sent: sent.clone(),
            why: format!("{provider} takes no such id"),
        });
        replacements.insert(asked, sent);
    }
    if replacements.is_empty() {
        return;
    }
    for message in messages.to_mut() {
        let calls = message.tool_calls.iter_mut().map(|call| &mut call.id);
        for id in calls.chain(&mut message.tool_call_id) {
            if let Some(new) = replacements.get(id) {
                id.clone_from(new);
            }
        }
    }
}

fn fits(id: &str, provider: LlmProvider, protocol: Protocol) -> bool {
    let rule = match protocol {
        Protocol::ChatCompletions => provider.vendor().dialect.call_ids,
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

/// An id that every provider takes, made of another one (FNV-1a).
fn nine_alphanumerics(id: &str, nth: u8) -> String {
    let hash = id.bytes().chain([nth]).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (0..9).filter_map(|at| char::from_digit((hash >> (7 * at)) as u32 % 36, 36)).collect()
}
