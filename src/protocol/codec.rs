//! The seam between the protocols and the rest: [`Codec`] and [`Decoder`].

use serde_json::{Map, Value};

use super::builder::ChunkBuilder;
use super::chat_request::ChatRequest;
use crate::error::Error;
use crate::sse::Event;

/// A wire protocol: how to ask, and how to read the answer.
#[derive(Debug)]
pub(crate) struct Codec {
    /// Below the base URL; `{model}` stands for the model.
    pub(crate) path: &'static str,
    /// The query of every request; empty if there is none.
    pub(crate) query: &'static str,
    /// The header that carries the key, and what stands before the key in it.
    pub(crate) auth: (&'static str, &'static str),
    /// Headers that every request has.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The request's body.
    pub(crate) body: fn(ChatRequest<'_>) -> Result<Map<String, Value>, Error>,
    /// A decoder for one answer.
    pub(crate) decoder: fn() -> Box<dyn Decoder>,
}

impl Codec {
    /// One in which the key is a bearer token, as in most, and nothing else is peculiar.
    pub(super) const fn new<D: Decoder + Default + 'static>(
        path: &'static str,
        body: fn(ChatRequest<'_>) -> Result<Map<String, Value>, Error>,
    ) -> Self {
        let auth = ("authorization", "Bearer ");
        Self { path, query: "", auth, headers: &[], body, decoder: || Box::<D>::default() }
    }
}

/// Reads the events of one answer.
pub(crate) trait Decoder: Send {
    /// Reads one event into `out`. What it does not know it passes over; an error is JSON that
    /// cannot be read at all.
    fn decode(&mut self, event: &Event<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()>;
}
