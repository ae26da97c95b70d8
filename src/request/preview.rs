//! A request in a printable form: [`RequestPreview`].

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::protocol::Adaptation;
use crate::provider::{LlmProvider, Protocol};

/// A request as it would be sent, from
/// [`GenerationStream::request`](crate::GenerationStream::request).
///
/// It can be printed with `Debug` or `Display`, or serialised, for example for a `--dry-run`. Keys
/// and the values of the caller's own headers are hidden. The prompt and the fields of `extra_body`
/// are shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RequestPreview {
    /// The provider that the request is for.
    pub provider: LlmProvider,
    /// The wire protocol of the request.
    pub protocol: Protocol,
    /// The URL. Query values from the base URL or the option `path` are hidden.
    pub url: String,
    /// The headers. The values of the credential header and of the caller's own headers are hidden.
    #[serde(serialize_with = "as_object")]
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Value,
    /// The changes that were made to fit the request to the provider.
    pub adaptations: Vec<Adaptation>,
}

fn as_object<S: Serializer>(
    headers: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

impl fmt::Display for RequestPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "POST {}", self.url)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        for adaptation in &self.adaptations {
            writeln!(f, "# {adaptation}")?;
        }
        write!(f, "\n{:#}", self.body)
    }
}
