//! OpenAI Chat Completions, and its many relatives.

use serde_json::{Map, Value};

use super::{Ask, Decoder, Output, Wire};
use crate::error::Error;
use crate::sse::Event;

pub(super) const WIRE: Wire = Wire {
    path: "chat/completions",
    auth: ("authorization", "Bearer "),
    headers: &[],
    body,
    decoder: || Box::new(ChatCompletions),
};

/// How a vendor's Chat Completions differ from the common form.
#[derive(Debug)]
pub(crate) struct Dialect {}

impl Dialect {
    pub(super) const COMMON: Self = Self {};
    pub(super) const OPENAI: Self = Self {};
    pub(super) const MISTRAL: Self = Self {};
}

fn body(_ask: Ask<'_>) -> Result<Map<String, Value>, Error> {
    Ok(Map::new())
}

struct ChatCompletions;

impl Decoder for ChatCompletions {
    fn decode(&mut self, _event: &Event<'_>, _out: &mut Output) -> serde_json::Result<()> {
        Ok(())
    }
}
