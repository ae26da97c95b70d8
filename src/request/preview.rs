//! A request to look at: [`RequestPreview`].

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::protocol::Adaptation;
use crate::provider::{LlmProvider, Protocol};

/// A request as it would be sent: see
/// [`GenerationStream::request`](crate::GenerationStream::request).
///
/// `Debug` and `Display` print it, and it serialises for a `--dry-run`: keys and the caller's own
/// header values are hidden, the prompt and the fields of `extra_body` are not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RequestPreview {
    /// The provider that would be asked.
    pub provider: LlmProvider,
    /// The protocol that it would be asked in.
    pub protocol: Protocol,
    /// The URL; the values of a query that came with the base URL or the path are hidden.
    pub url: String,
    /// The headers, with the values of those that the caller gave and of the key hidden.
    #[serde(serialize_with = "as_object")]
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
    /// What was changed to fit the provider.
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
