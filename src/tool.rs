//! The tools that a model may call: [`Tool`] and [`ToolChoice`].

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A tool that a model may use: a function of your program, or a hosted tool, which the provider
/// itself runs.
///
/// If the model calls a [`function`](Self::function), your program runs it:
/// [`run_tools`](crate::GenerationStream::run_tools) does that in the loop, or you send back the
/// result with [`Message::tool`](crate::Message::tool). What a tool does arrives in
/// [`StreamChunk::activity`](crate::ChunkExtras::activity), and the pages that a hosted one has found
/// in [`sources`](crate::ChunkExtras::sources).
///
/// It implements `Serialize` and `Deserialize`, so tools can be read from a configuration file. A
/// function has the fields `name`, `description` and `parameters`, the JSON Schema of the
/// arguments. The web search is the text `"web_search"`. Any other hosted tool is
/// `{"hosted": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tool(pub(crate) ToolKind);

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolKind {
    WebSearch,
    Hosted(Value),
    #[serde(untagged)]
    Function(Function),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Function {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) parameters: Value,
}

impl<'de> Deserialize<'de> for Tool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A derived implementation would not name the field that a function lacks.
        let tool = Value::deserialize(deserializer)?;
        if tool == "web_search" {
            return Ok(Self::web_search());
        }
        if let Some(hosted) = tool.get("hosted") {
            return Ok(Self::hosted(hosted.clone()));
        }
        if !tool.is_object() {
            let forms = r#""web_search", {"hosted": {…}} or a function"#;
            return Err(D::Error::custom(format!("unknown tool {tool}; write {forms}")));
        }
        let function = Function::deserialize(tool).map_err(D::Error::custom)?;
        Ok(Self(ToolKind::Function(function)))
    }
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
        let (name, description) = (name.into(), description.into());
        Self(ToolKind::Function(Function { name, description, parameters: parameters.into() }))
    }

    /// Creates the provider's own web search, with the provider's defaults.
    ///
    /// Providers that have one: OpenAI, Azure, xAI and Volcengine over
    /// [`Responses`](crate::Protocol::Responses), Alibaba over Responses and Chat Completions,
    /// Anthropic, Google, Groq (gpt-oss), OpenRouter, Qianfan, StepFun, Xiaomi, Z.ai and Zhipu.
    /// Perplexity's models, Groq's `compound` and OpenAI's search models search without being asked,
    /// so nothing is sent to them. At another provider the request is rejected with an error, before
    /// it is sent.
    ///
    /// Many providers bill each search. For other settings than the defaults, such as a list of
    /// domains, use [`hosted`](Self::hosted).
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, Tool, generate_stream};
    ///
    /// let config = GenerationConfig::new("claude-sonnet-5").api_key("key").tools([Tool::web_search()]);
    /// let request = generate_stream("What happened today?", config).request()?;
    /// assert_eq!(request.body["tools"][0]["name"], "web_search");
    /// # anyhow::Ok(())
    /// ```
    pub fn web_search() -> Self {
        Self(ToolKind::WebSearch)
    }

    /// Creates any other tool that the provider knows. `tool` is the JSON object of the tool in the
    /// provider's own form. It is sent unchanged. Most of these tools run at the provider. A few run
    /// in your program, such as Anthropic's `bash`: if the object has a `name`,
    /// [`run_tools`](crate::GenerationStream::run_tools) gets the calls of that name, too.
    ///
    /// ```
    /// use kerb_stream::Tool;
    /// use serde_json::json;
    ///
    /// // Google's form of a tool that runs Python.
    /// let python = Tool::hosted(json!({"codeExecution": {}}));
    /// assert_eq!(python.name(), None);
    /// ```
    pub fn hosted(tool: impl Into<Value>) -> Self {
        Self(ToolKind::Hosted(tool.into()))
    }

    /// Returns the name of a function of your program, or `None` for a hosted tool.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            ToolKind::Function(function) => Some(&function.name),
            ToolKind::WebSearch | ToolKind::Hosted(_) => None,
        }
    }

    /// Returns the name in the calls of the tool. Some of a provider's own tools, such as
    /// Anthropic's `bash`, run in the caller's program.
    pub(crate) fn called(&self) -> Option<&str> {
        match &self.0 {
            ToolKind::Hosted(tool) => tool.get("name")?.as_str(),
            _ => self.name(),
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tool_survives_a_configuration_file() {
        let schema = json!({"type": "object"});
        for (tool, text) in [
            (Tool::web_search(), json!("web_search")),
            (Tool::hosted(json!({"type": "x"})), json!({"hosted": {"type": "x"}})),
            (
                Tool::function("f", "F.", schema.clone()),
                json!({"name": "f", "description": "F.", "parameters": schema}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&tool).unwrap(), text);
            assert_eq!(serde_json::from_value::<Tool>(text).unwrap(), tool);
        }
        for (text, says) in [
            (json!({"name": "f"}), "missing field `parameters`"),
            (json!("search"), "unknown tool \"search\"; write \"web_search\", "),
            (json!({"type": "web_search"}), "unknown field `type`"),
            (json!({"name": "f", "strict": true}), "unknown field `strict`"),
        ] {
            let error = serde_json::from_value::<Tool>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
