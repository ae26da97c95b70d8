//! Describes what the provider's own tools do: their inputs and outputs as text.

use serde_json::{Value, json};

use super::common::{is_in, some_text_in, text_in};

/// The fields that only the provider can read. They may be long.
const SEALED: [&str; 2] = ["encrypted_content", "encrypted_index"];

/// Returns an input or an output as text: a text as it is, the texts of a list, the output of a
/// program, or the only text of an object. Everything else is returned as JSON.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) if !parts.is_empty() && parts.iter().all(is_text) => {
            parts.iter().map(|part| text_in(part, "text")).collect::<Vec<_>>().join("\n")
        }
        Value::Object(fields) => {
            let void = [json!(null), json!(""), json!([]), json!({})];
            // OpenAI sends a list of queries beside the first of them, and the pages that it found,
            // which are reported as sources.
            let is_query = fields.contains_key("query");
            let other = if is_query { "type queries sources" } else { "type" };
            let told = fields.iter().filter(|(name, _)| !is_in(other, name));
            let mut told = told.filter(|(_, value)| !void.contains(value));
            match (told.next(), told.next()) {
                (None, _) => String::new(),
                (Some((_, only @ (Value::String(_) | Value::Object(_)))), None) => text_of(only),
                _ if fields.contains_key("stdout") => printed(value),
                _ => readable(value).to_string(),
            }
        }
        value => readable(value).to_string(),
    }
}

fn is_text(part: &Value) -> bool {
    text_in(part, "type") == "text" && part.get("text").is_some_and(Value::is_string)
}

/// Returns what a program has printed.
fn printed(output: &Value) -> String {
    let texts = ["stdout", "stderr"].into_iter().filter_map(|name| some_text_in(output, name));
    texts.collect::<Vec<_>>().join("\n")
}

/// Returns whether a part of an output is a picture. It is an attachment, and no text.
pub(super) fn is_picture(part: &Value) -> bool {
    text_in(part, "type") == "image" && text_in(part, "url").starts_with("data:")
}

/// Returns a value without pictures, and without the fields that only the provider can read.
pub(super) fn readable(value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            values.iter().filter(|value| !is_picture(value)).map(readable).collect()
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| !SEALED.contains(&name.as_str()));
            fields.map(|(name, value)| (name.clone(), readable(value))).collect()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_outputs_are_text_where_they_can_be() {
        for (value, text) in [
            (json!(null), ""),
            (json!({}), ""),
            (json!("a"), "a"),
            (json!({"query": "weather"}), "weather"),
            (json!({"type": "x", "code": "1+1", "more": null, "list": []}), "1+1"),
            (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "a\nb"),
            (json!({"type": "r", "stdout": "out", "stderr": "bad", "return_code": 1}), "out\nbad"),
            (json!({"stdout": "", "stderr": "", "return_code": 0}), ""),
            (json!({"b": "2", "a": "1"}), r#"{"b":"2","a":"1"}"#),
            (json!([{"url": "u", "encrypted_content": "x"}]), r#"[{"url":"u"}]"#),
            (json!({"n": 1}), r#"{"n":1}"#),
            (json!({"action": {"type": "search", "query": "a", "queries": ["a"]}}), "a"),
        ] {
            let value = text_of(&value);
            let same = |text: &str| serde_json::from_str::<Value>(text).ok();
            assert!(
                value == text || same(&value).is_some_and(|it| Some(it) == same(text)),
                "{value}"
            );
        }
    }
}
