//! The interface between the protocols and the rest of the crate: [`Codec`] and [`Decoder`].

use serde_json::{Map, Value};

use super::builder::ChunkBuilder;
use super::chat_request::ChatRequest;
use crate::error::Error;
use crate::sse::Event;

/// A wire protocol: how to encode a request and how to decode its response.
#[derive(Debug)]
pub(crate) struct Codec {
    /// The path, relative to the base URL. `{model}` is replaced by the model name.
    pub(crate) path: &'static str,
    /// The query string of every request; empty means none.
    pub(crate) query: &'static str,
    /// The header that carries the API key, and the prefix of its value.
    pub(crate) auth: (&'static str, &'static str),
    /// Headers that are sent with every request.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Encodes the request body.
    pub(crate) body: fn(ChatRequest<'_>) -> Result<Map<String, Value>, Error>,
    /// Creates the decoder for one response.
    pub(crate) decoder: fn() -> Box<dyn Decoder>,
}

impl Codec {
    /// Creates a codec with the common settings: the API key is a bearer token, and there is no
    /// query and no extra header.
    pub(super) const fn new<D: Decoder + Default + 'static>(
        path: &'static str,
        body: fn(ChatRequest<'_>) -> Result<Map<String, Value>, Error>,
    ) -> Self {
        let auth = ("authorization", "Bearer ");
        Self { path, query: "", auth, headers: &[], body, decoder: || Box::<D>::default() }
    }
}

/// Decodes the events of one response.
pub(crate) trait Decoder: Send {
    /// Decodes one event into `out`. Unknown events and fields are skipped. The only error is
    /// invalid JSON.
    fn decode(&mut self, event: &Event<'_>, out: &mut ChunkBuilder) -> serde_json::Result<()>;

    /// Adds what is complete only at the end, although nothing may have announced the end.
    fn end(&mut self, _out: &mut ChunkBuilder) {}
}
