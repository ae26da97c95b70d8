//! Schemas that follow from types. This file needs the feature `schemars`.

use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

use crate::config::ResponseFormat;
use crate::error::{Error, ErrorKind};
use crate::tool::Tool;

impl ResponseFormat {
    /// Asks for JSON that [`GenerationResponse::parse`](crate::GenerationResponse::parse) can read as
    /// a `T`. The schema has the name of the type, and doc comments are its descriptions.
    ///
    /// This needs the feature `schemars`.
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, ResponseFormat};
    /// use schemars::JsonSchema;
    ///
    /// #[derive(serde::Deserialize, JsonSchema)]
    /// struct Invoice {
    ///     number: String,
    ///     /// When it was issued, as YYYY-MM-DD.
    ///     issued: String,
    ///     cents: i64,
    /// }
    ///
    /// let config = GenerationConfig::new("mistral-small-latest")
    ///     .response_format(ResponseFormat::of::<Invoice>());
    /// ```
    pub fn of<T: JsonSchema>() -> Self {
        // Providers accept no other characters, and at most 64.
        let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let name = T::schema_name();
        let name: String =
            name.chars().map(|c| if is_safe(c) { c } else { '_' }).take(64).collect();
        Self::json_schema(name, schema_of::<T>())
    }
}

impl Tool {
    /// Creates a tool for a function of your program whose arguments are a `T`. Doc comments in `T`
    /// are the descriptions of the arguments.
    ///
    /// This needs the feature `schemars`.
    pub fn of<T: JsonSchema>(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self::function(name, description, schema_of::<T>())
    }

    /// Creates a tool for each variant of an enum. The name of the variant, as serde writes it, is
    /// the tool's name, its doc comment the description, and its fields are the arguments.
    /// [`ToolCall::parse_variant`](crate::ToolCall::parse_variant) reads a call.
    ///
    /// This needs the feature `schemars`.
    ///
    /// ```
    /// use kerb_stream::{GenerationConfig, Tool};
    /// use schemars::JsonSchema;
    ///
    /// #[derive(serde::Deserialize, JsonSchema)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Call {
    ///     /// Today's weather in a city.
    ///     Weather { city: String },
    ///     /// The time.
    ///     Now,
    /// }
    ///
    /// let config = GenerationConfig::new("mistral-small-latest").tools(Tool::variants_of::<Call>()?);
    /// assert_eq!(config.tools[0].name(), Some("weather"));
    /// # anyhow::Ok(())
    /// ```
    ///
    /// # Errors
    /// Returns [`ErrorKind::Config`] if the type is no enum, if serde does not tell its variants
    /// apart by their names (internally tagged, adjacently tagged and untagged enums), or if a
    /// variant has fields without names.
    pub fn variants_of<T: JsonSchema>() -> anyhow::Result<Vec<Self>> {
        let schema = schema_of::<T>();
        let variants = schema.get("oneOf").and_then(Value::as_array);
        let variants = variants.map_or(std::slice::from_ref(&schema), Vec::as_slice);
        let tools = variants.iter().map(|variant| tools_of(variant, schema.get("$defs")));
        let tools: Option<Vec<_>> = tools.collect();
        let Some(tools) = tools else {
            let problem = format!(
                "the variants of `{}` are no tools: serde must tell them apart by their names, and \
                 their fields must have names",
                T::schema_name()
            );
            return Err(Error::new(ErrorKind::Config, None, problem).into());
        };
        Ok(tools.concat())
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = schema_for!(T);
    schema.remove("$schema");
    schema.to_value()
}

/// Returns the tools of one alternative of an enum's schema: several if it is a list of names.
fn tools_of(variant: &Value, defs: Option<&Value>) -> Option<Vec<Tool>> {
    let description = |of: &Value| Some(of.get("description")?.as_str()?.to_owned());
    let about = description(variant);
    let names = variant.get("enum").and_then(Value::as_array).map(Vec::as_slice);
    let names = names.or(variant.get("const").map(std::slice::from_ref));
    if let Some(names) = names {
        let nothing = json!({"type": "object", "properties": {}});
        let about = about.unwrap_or_default();
        let tool = |name: &Value| Some(Tool::function(name.as_str()?, &about, nothing.clone()));
        return names.iter().map(tool).collect();
    }
    let properties = variant.get("properties")?.as_object()?;
    // Other kinds of enums have a tag beside the fields, and are open.
    let is_closed = variant.get("additionalProperties").is_some_and(|it| *it == false);
    let (name, fields) = properties.iter().next().filter(|_| is_closed && properties.len() == 1)?;
    let defined = fields.get("$ref").and_then(Value::as_str);
    let defined = defined.and_then(|at| defs?.get(at.strip_prefix("#/$defs/")?));
    let mut fields = defined.unwrap_or(fields).clone();
    let about = about.or_else(|| description(&fields)).unwrap_or_default();
    let object =
        fields.as_object_mut().filter(|it| it.get("type").is_some_and(|it| it == "object"))?;
    object.extend(defs.map(|defs| ("$defs".to_owned(), defs.clone())));
    Some(vec![Tool::function(name, about, fields)])
}
