//! The tools that a model may call: [`Tool`] and [`ToolChoice`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A tool that a model may call. The program runs it and sends back the result with
/// [`Message::tool`](crate::Message::tool).
///
/// It implements `Serialize` and `Deserialize`, so tools can be read from a configuration file. The
/// serialised fields are `name`, `description` and `parameters`. `parameters` is the JSON Schema of
/// the arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) parameters: Value,
}

impl Tool {
    /// Creates a tool for a function of your program.
    ///
    /// `name` should consist of ASCII letters, digits, `_` and `-`: providers reject other names.
    /// `description` tells the model what the tool does and when to call it. `parameters` is the
    /// [JSON Schema](https://json-schema.org) of the arguments. Its type must be `object`, because
    /// the arguments are a JSON object. The provider checks both.
    ///
    /// ```
    /// use kerb_stream::Tool;
    /// use serde_json::json;
    ///
    /// let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    /// let weather = Tool::function("weather", "Today's weather in a city.", schema);
    /// assert_eq!(weather.name(), Some("weather"));
    /// ```
    pub fn function(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: impl Into<Value>,
    ) -> Self {
        Self { name: name.into(), description: description.into(), parameters: parameters.into() }
    }

    /// Returns the name of the tool. At present it is always `Some`. A later version may support
    /// tools that the provider itself runs. Those have no name.
    pub fn name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

/// The constraint on the model's tool calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// The model may call tools.
    Auto,
    /// The model must not call tools.
    None,
    /// The model must call at least one tool.
    Required,
    /// The model must call the tool with this name.
    Tool(String),
}
