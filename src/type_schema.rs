//! Schemas that follow from types. This file needs the feature `schemars`.

use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, SchemaGenerator, schema_for};
use serde_json::{Map, Value, json};

use crate::config::ResponseFormat;
use crate::error::{Error, ErrorKind};
use crate::tool::Tool;

impl ResponseFormat {
    /// Asks for JSON that [`GenerationResponse::parse`](crate::GenerationResponse::parse) can read as
    /// a `T`. The schema has the name of the type, and doc comments are its descriptions. `T` should be
    /// a struct: many providers enforce only the schemas of objects.
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
        let is_refused = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let mut name = T::schema_name().replace(is_refused, "_");
        name.truncate(64);
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
    /// variant has a content that is no object.
    pub fn variants_of<T: JsonSchema>() -> anyhow::Result<Vec<Self>> {
        let mut generator = SchemaGenerator::default();
        let schema = generator.subschema_for::<T>().to_value();
        let defs = generator.take_definitions(true);
        let schema = defined(&schema, &defs);
        let tools: Option<Vec<_>> = match schema.get("oneOf").and_then(Value::as_array) {
            None => units(schema, "").map(|tools| vec![tools]),
            Some(variants) => variants.iter().map(|variant| tools_of(variant, &defs)).collect(),
        };
        let tools = tools.ok_or_else(|| {
            let name = T::schema_name();
            let problem = format!(
                "`{name}` is no enum of tools: serde must tell its variants apart by their names, and \
                 their fields must have names"
            );
            Error::new(ErrorKind::Config, None, problem)
        });
        Ok(tools?.concat())
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = schema_for!(T);
    schema.remove("$schema");
    schema.to_value()
}

/// Returns the tools of one alternative of an enum's schema: several if it is a list of names.
fn tools_of(variant: &Value, defs: &Map<String, Value>) -> Option<Vec<Tool>> {
    let about = |of: &Value| Some(of.get("description")?.as_str()?.to_owned());
    if let Some(tools) = units(variant, &about(variant).unwrap_or_default()) {
        return Some(tools);
    }
    let properties = variant.get("properties")?.as_object()?;
    // Other kinds of enums have a tag beside the fields, and are open.
    let is_closed = variant.get("additionalProperties").is_some_and(|it| *it == false);
    let (name, fields) = properties.iter().next().filter(|_| is_closed && properties.len() == 1)?;
    let mut fields = defined(fields, defs).clone();
    let about = about(variant).or_else(|| about(&fields)).unwrap_or_default();
    let used = used(&fields, defs);
    let object = fields.as_object_mut().filter(|it| it.get("type") == Some(&"object".into()))?;
    object.entry("properties").or_insert_with(|| json!({}));
    object.extend((!used.is_empty()).then(|| ("$defs".to_owned(), used.into())));
    Some(vec![Tool::function(name, about, fields)])
}

/// Returns a tool without arguments for each name, if a schema is one of names.
fn units(schema: &Value, about: &str) -> Option<Vec<Tool>> {
    let names = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
    let names = names.or(schema.get("const").map(std::slice::from_ref))?.iter();
    let nothing = json!({"type": "object", "properties": {}});
    names.map(|name| Some(Tool::function(name.as_str()?, about, nothing.clone()))).collect()
}

/// Returns what a schema refers to, or the schema itself.
fn defined<'a>(schema: &'a Value, defs: &'a Map<String, Value>) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    reference.and_then(|it| target(it, defs)).map_or(schema, |(_, target)| target)
}

/// Returns the definitions that a schema uses, directly or through another one.
fn used(schema: &Value, defs: &Map<String, Value>) -> Map<String, Value> {
    let (mut used, mut texts) = (Map::new(), vec![schema.to_string()]);
    while let Some(text) = texts.pop() {
        let refs = text.split("\"$ref\":\"").skip(1).filter_map(|it| it.split('"').next());
        for (name, schema) in refs.filter_map(|it| target(it, defs)) {
            if !used.contains_key(name) {
                used.insert(name.clone(), schema.clone());
                texts.push(schema.to_string());
            }
        }
    }
    used
}

/// Returns a definition and its name. The reference is the fragment of a URL, and a JSON pointer.
fn target<'a>(reference: &str, defs: &'a Map<String, Value>) -> Option<(&'a String, &'a Value)> {
    let name = percent_decode_str(reference.strip_prefix("#/$defs/")?).decode_utf8_lossy();
    defs.get_key_value(&name.replace("~1", "/").replace("~0", "~"))
}
