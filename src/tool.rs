//! The tools that a model may ask for: [`Tool`] and [`ToolChoice`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A tool that a model may ask for; the program runs it and sends back the result
/// ([`Message::tool`](crate::Message::tool)).
///
/// It serialises, so that tools can be read from a configuration file: `name`, `description` and
/// `parameters`, the JSON Schema of its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) parameters: Value,
}

impl Tool {
    /// A tool of yours.
    ///
    /// The model calls it by `name` (letters, digits, `_` and `-`) and reads in `description` what it
    /// does and when to use it. `parameters` is the [JSON Schema](https://json-schema.org) of the
    /// object that its arguments form.
    pub fn function(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: impl Into<Value>,
    ) -> Self {
        Self { name: name.into(), description: description.into(), parameters: parameters.into() }
    }

    /// The name of a tool of yours. Always there today; a tool of the provider's own will have none.
    pub fn name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

/// Whether the model must use the tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// It may use them.
    Auto,
    /// It must not.
    None,
    /// It must use one of them.
    Required,
    /// It must use this one.
    Tool(String),
}
