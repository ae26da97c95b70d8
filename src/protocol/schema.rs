//! Rewrites JSON Schemas into the form that a provider requires. The caller's schema is not
//! modified: an equivalent one is sent, and reported as an adaptation.
//!
//! OpenAI enforces a schema exactly only if it is strict, and strict schemas use a subset of JSON
//! Schema: <https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas>. If
//! this subset cannot express the schema, it is sent as not strict.

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use super::chat_request::ChatRequest;
use super::common::{is_in, list};

/// The keywords of strict schemas, apart from those that `rewrite` checks separately.
const KNOWN: &str = "type enum const title description format minimum maximum exclusiveMinimum \
                     exclusiveMaximum multipleOf minItems maxItems required items";
const FORMATS: &str = "date-time time date duration email hostname ipv4 ipv6 uuid";
/// Keywords that do not restrict the values. Strict schemas allow those in `TAKEN`. Those in
/// `REFUSED` are removed, except for a `format` that is in `FORMATS`.
const REFUSED: &str = "$schema $id $comment default examples deprecated readOnly writeOnly format";
const TAKEN: &str = "title description $defs definitions";

/// Keywords that Anthropic refuses, and `minItems` above 1:
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>.
const LIMITS: &str = "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength \
                      maxLength maxItems uniqueItems minProperties maxProperties";

/// Keywords that combine an object with other schemas, which can add properties.
const JOINING: &str = "$ref anyOf oneOf allOf if then else dependentSchemas patternProperties \
                       unevaluatedProperties";

/// Returns the schema as OpenAI accepts it, and whether it is strict.
pub(super) fn strict(request: ChatRequest<'_>, what: &str, schema: &Value) -> (Value, bool) {
    let mut strict = schema.clone();
    if let Err(why) = rewrite(schema, &mut strict, 0, 0) {
        request.adapt(what, "a strict schema", "it with `strict: false`", &why.to_string());
        return (schema.clone(), false);
    }
    if strict != *schema {
        let sent = "an equivalent strict schema";
        request.adapt(what, "the schema", sent, "only strict schemas are enforced");
    }
    (strict, true)
}

/// Returns the schema as Anthropic accepts it: each object with `properties` forbids other
/// properties, and limits such as `minimum` stand in descriptions, where the model reads them. An
/// object that combines several schemas is not closed, because its meaning would change.
pub(super) fn closed(request: ChatRequest<'_>, schema: &Value) -> Value {
    let mut closed = schema.clone();
    close(schema, &mut closed);
    if closed != *schema {
        let sent = "one in Anthropic's subset of JSON Schema";
        let why = "others are refused; limits such as `minimum` stand in its descriptions";
        request.adapt("response_format", "the schema", sent, why);
    }
    closed
}

fn close(root: &Value, schema: &mut Value) {
    let Value::Object(node) = schema else { return };
    if node.contains_key("properties") && !node.keys().any(|key| is_in(JOINING, key)) {
        node.entry("additionalProperties").or_insert(false.into());
    }
    let mut limits = Map::new();
    node.retain(|key, value| {
        let is_limit = is_in(LIMITS, key) || key == "minItems" && value.as_u64() > Some(1);
        if is_limit {
            limits.insert(key.clone(), value.take());
        }
        let is_format = value.as_str().is_some_and(|it| is_in(FORMATS, it) || it == "uri");
        !is_limit && key != "$schema" && (key != "format" || is_format)
    });
    if !limits.is_empty() {
        let about = node.get("description").and_then(Value::as_str).unwrap_or_default();
        let about = format!("{about} {}", Value::Object(limits));
        node.insert("description".to_owned(), about.trim().into());
    }
    if !node.contains_key("anyOf")
        && are_apart(root, list(node.get("oneOf")))
        && let Some(choices) = node.remove("oneOf")
    {
        node.insert("anyOf".to_owned(), choices);
    }
    // The parts do not include those of `allOf`: if one of these forbade other properties, the
    // properties of the others would be forbidden too.
    parts(node).for_each(|part| close(root, part));
}

/// Rewrites a schema, which is a part of `root`, as a strict one. The error says why a strict
/// schema cannot express it.
fn rewrite(root: &Value, schema: &mut Value, depth: usize, objects: usize) -> anyhow::Result<()> {
    let node = schema.as_object_mut().context("strict mode allows no `true` and `false`")?;
    node.retain(|key, value| {
        let is_format = key == "format" && value.as_str().is_some_and(|it| is_in(FORMATS, it));
        is_format || !is_in(REFUSED, key)
    });
    // A keyword that is a whole schema, such as `$ref` or `anyOf`, must be the only keyword that
    // restricts the values.
    let mut telling = node.keys().filter(|key| !is_in(TAKEN, key));
    let alone = telling.next().cloned().filter(|_| telling.next().is_none());
    if (depth < 64 && objects == 0 && alone.is_some())
        && let Some(Value::Object(target)) = target(root, node.get("$ref"))
    {
        // The root must be an object, not a reference to one, so the target replaces the reference.
        node.remove("$ref");
        target.clone().into_iter().for_each(|(key, value)| _ = node.entry(key).or_insert(value));
        return rewrite(root, schema, depth + 1, objects);
    }
    // If no value fits two choices, `oneOf` means the same as `anyOf`. So does an `allOf` with only
    // one schema.
    let choices = match alone.as_deref() {
        Some("allOf") if list(node.get("allOf")).len() == 1 => node.remove("allOf"),
        Some("oneOf") if are_apart(root, list(node.get("oneOf"))) => node.remove("oneOf"),
        // Strict schemas allow no keyword beside `$ref`, but they allow some beside `anyOf`.
        Some("$ref") if node.len() > 1 => Some(json!([{ "$ref": node.remove("$ref") }])),
        _ => None,
    };
    if let Some(choices) = choices {
        node.insert("anyOf".to_owned(), choices);
    }
    let is = |kind: &str| list(node.get("type")).iter().any(|it| it == kind);
    for (key, value) in &*node {
        let is_known = match key.as_str() {
            "$defs" | "definitions" => objects == 0,
            "properties" => is("object"),
            "additionalProperties" => *value == false,
            "$ref" => alone.is_some() && target(root, Some(value)).is_some(),
            "anyOf" => alone.is_some(),
            // Strict schemas allow no lookaround in a pattern.
            "pattern" => !["(?=", "(?!", "(?<"].iter().any(|it| value.to_string().contains(it)),
            key => is_in(KNOWN, key),
        };
        ensure!(is_known, "strict mode does not allow this `{key}`");
    }
    let needs = if is("array") { "items" } else { "type enum const anyOf $ref" };
    let needs = if is("object") || objects == 0 { "properties" } else { needs };
    let has_it = node.keys().any(|key| is_in(needs, key));
    ensure!(has_it, "strict mode requires one of these in each part: {needs}");
    ensure!(objects > 0 || !is("null"), "strict mode requires an object at the root");
    ensure!(depth <= 64 && objects <= 10, "strict mode allows 10 levels at most");
    if let Some(Value::Object(properties)) = node.get("properties") {
        let null = json!({ "type": "null", "const": null });
        let required = list(node.get("required"));
        let others = properties.keys().map(|name| json!(name)).filter(|it| !required.contains(it));
        let names: Vec<_> = required.iter().cloned().chain(others).collect();
        for name in &names {
            let property = name.as_str().and_then(|name| properties.get(name));
            // Strict schemas require all properties. The model writes `null` instead of omitting
            // one, so an optional property must allow `null`.
            let is_said = property
                .is_some_and(|it| required.contains(name) || !is_apart(root, [it, &null], 8));
            ensure!(is_said, "the property {name} is not required or nullable, or has no schema");
        }
        node.insert("required".to_owned(), names.into());
        node.insert("additionalProperties".to_owned(), false.into());
    }
    let objects = objects + usize::from(node.contains_key("properties"));
    parts(node).try_for_each(|part| rewrite(root, part, depth + 1, objects))
}

/// Returns the schemas that are directly inside a schema, except those of `allOf`.
fn parts(node: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    node.iter_mut().flat_map(|(key, value)| match (key.as_str(), value) {
        ("properties" | "$defs" | "definitions", Value::Object(it)) => it.values_mut().collect(),
        ("anyOf" | "oneOf", Value::Array(choices)) => choices.iter_mut().collect(),
        ("items", items) => vec![items],
        _ => Vec::new(),
    })
}

/// Returns the target of a reference, if it is the root or one of its definitions.
fn target<'a>(root: &'a Value, reference: Option<&Value>) -> Option<&'a Value> {
    let path = reference?.as_str()?.strip_prefix('#')?;
    let mut steps = path.split('/').skip(1);
    let is_known = path.is_empty() || is_in("$defs definitions", steps.next()?);
    root.pointer(path).filter(|_| is_known && steps.count() < 2)
}

fn are_apart(root: &Value, schemas: &[Value]) -> bool {
    (1..)
        .zip(schemas)
        .all(|(next, one)| schemas.iter().skip(next).all(|other| is_apart(root, [one, other], 8)))
}

/// Returns whether no value fits both schemas, which are parts of `root`. This is so if they have
/// different types or values. Two objects also exclude each other if one requires a property that
/// the other does not name or gives different values. Keywords that strict schemas refuse are not
/// considered.
fn is_apart(root: &Value, schemas: [&Value; 2], depth: usize) -> bool {
    let [one, other] = schemas.map(|it| target(root, it.get("$ref")).unwrap_or(it));
    for (chosen, fixed) in [(one, other), (other, one)] {
        let choices = chosen.get("anyOf").or(chosen.get("oneOf")).or(chosen.get("allOf"));
        if depth > 0 && !list(choices).is_empty() {
            return list(choices).iter().all(|it| is_apart(root, [it, fixed], depth - 1));
        }
    }
    let differ = |one: Option<&Value>, other: Option<&Value>| {
        // Every integer is also a number.
        let text = |it: &Value| it.to_string().replace("integer", "number");
        let has_it = |it| list(other).iter().any(|other| text(it) == text(other));
        one.is_some() && other.is_some() && !list(one).iter().any(has_it)
    };
    let requires_another = |[one, other]: [&Value; 2]| {
        let mut names = list(one.get("required")).iter().filter_map(Value::as_str);
        one.get("type").is_some_and(|kind| kind == "object")
            && names.any(|name| match [one, other].map(|it| it.get("properties")?.get(name)) {
                [Some(one), Some(other)] => is_apart(root, [one, other], 1),
                [_, other] => other.is_none(),
            })
    };
    let [values, other_values] = [one, other].map(|it| it.get("enum").or(it.get("const")));
    differ(one.get("type"), other.get("type"))
        || differ(values, other_values)
        || (depth > 1 && [[one, other], [other, one]].into_iter().any(requires_another))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use schemars::{JsonSchema, schema_for};
    use serde::Serialize;

    use super::super::chat_request::Adaptation;
    use super::*;
    use crate::config::GenerationConfig;
    use crate::provider::LlmProvider;

    /// Calls `encode` with a request. Returns its result and the reported adaptations.
    fn told<T>(encode: impl FnOnce(ChatRequest<'_>) -> T) -> (T, Vec<Adaptation>) {
        let (config, adaptations) = (GenerationConfig::new("m"), RefCell::default());
        let provider = LlmProvider::OpenAi;
        let (model, messages, config) = ("m", &[], &config);
        let sent = encode(ChatRequest {
            provider,
            protocol: crate::Protocol::Responses,
            model,
            messages,
            config,
            owner: None,
            adaptations: &adaptations,
        });
        (sent, adaptations.into_inner())
    }

    /// Returns the strict form of a schema, or the reason why there is none.
    fn strictly(schema: &Value) -> Result<Value, String> {
        let ((sent, is_strict), told) = told(|request| strict(request, "response_format", schema));
        let is_told = is_strict && sent == *schema || told.len() == 1;
        assert!(is_told && told.iter().all(|it| it.what == "response_format"), "{told:?}");
        match told.into_iter().next() {
            _ if is_strict => Ok(sent),
            told => {
                assert_eq!(sent, *schema);
                Err(told.unwrap().why)
            }
        }
    }

    fn schema_of<T: JsonSchema>() -> Value {
        serde_json::to_value(schema_for!(T)).unwrap()
    }

    /// Checks the rules of OpenAI's page without using the code under test.
    fn check_strict(root: &Value, schema: &Value) {
        let node = schema.as_object().unwrap_or_else(|| panic!("{schema}"));
        for keyword in node.keys() {
            let refused = "default $schema oneOf allOf not if then else patternProperties examples \\
                           propertyNames minProperties maxProperties uniqueItems contains \\
                           minContains maxContains prefixItems unevaluatedItems minLength maxLength \\
                           unevaluatedProperties dependentRequired dependentSchemas";
            assert!(!is_in(refused, keyword), "{keyword} in {schema}");
        }
        if let Some(path) = node.get("$ref") {
            assert_eq!(node.len(), 1, "{schema}");
            assert!(led_to(root, path).is_some(), "{schema}");
        }
        let kinds = list(node.get("type"));
        if kinds.contains(&json!("object")) || std::ptr::eq(root, schema) {
            let names: BTreeSet<_> = node["properties"].as_object().unwrap().keys().collect();
            let required = node["required"].as_array().unwrap();
            let required: BTreeSet<_> = required.iter().map(|it| it.as_str().unwrap()).collect();
            assert!(names.iter().copied().eq(&required), "{schema}");
            assert_eq!(node["additionalProperties"], false);
        }
        assert!(!kinds.contains(&json!("array")) || node.contains_key("items"), "{schema}");
        let mut parts: Vec<_> = node.get("items").into_iter().collect();
        for keyword in ["properties", "$defs", "definitions"] {
            parts.extend(
                node.get(keyword).into_iter().flat_map(|it| it.as_object().unwrap().values()),
            );
        }
        parts.extend(list(node.get("anyOf")));
        parts.into_iter().for_each(|part| check_strict(root, part));
    }

    fn led_to<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
        root.pointer(reference.as_str()?.trim_start_matches('#'))
    }

    /// Returns whether a value fits a schema. It knows only the keywords that these tests use.
    fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
        let Value::Object(node) = schema else { return *schema == true };
        let count = |choices: &Value| {
            list(Some(choices)).iter().filter(|choice| fits(root, choice, value)).count()
        };
        node.iter().all(|(key, told)| match key.as_str() {
            "type" => list(Some(told)).iter().any(|kind| match kind.as_str().unwrap() {
                "null" => value.is_null(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64() || value.is_i64(),
                "number" => value.is_number(),
                "array" => value.is_array(),
                _ => value.is_object(),
            }),
            "enum" => told.as_array().unwrap().contains(value),
            "const" => told == value,
            "anyOf" => count(told) > 0,
            "oneOf" => count(told) == 1,
            "allOf" => count(told) == told.as_array().unwrap().len(),
            "$ref" => fits(root, led_to(root, told).unwrap(), value),
            "properties" => value.as_object().is_none_or(|object| {
                let all = told.as_object().unwrap().iter();
                all.filter_map(|(name, it)| Some((it, object.get(name)?)))
                    .all(|(schema, value)| fits(root, schema, value))
            }),
            "required" => value.as_object().is_none_or(|object| {
                list(Some(told)).iter().all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "additionalProperties" if *told == false => value.as_object().is_none_or(|object| {
                object.keys().all(|name| node["properties"].get(name).is_some())
            }),
            "items" => {
                value.as_array().is_none_or(|list| list.iter().all(|it| fits(root, told, it)))
            }
            _ => true,
        })
    }

    #[derive(Serialize, JsonSchema)]
    struct Invoice {
        number: String,
        count: u32,
        rate: f64,
        vat_id: Option<String>,
        lines: Vec<Line>,
        currency: Currency,
        /// The state of the invoice.
        state: Option<State>,
        /// The line that matters.
        first: Line,
        next: Option<Box<Self>>,
        bytes: [u8; 2],
    }

    #[derive(Serialize, JsonSchema)]
    struct Line {
        text: String,
        cents: i64,
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "UPPERCASE")]
    enum Currency {
        Eur,
    }

    #[derive(Serialize, JsonSchema)]
    enum State {
        Open,
        /// It was paid.
        Paid,
    }

    #[derive(Serialize, JsonSchema)]
    struct Events {
        tagged: Vec<Tagged>,
        external: External,
        maybe: Option<Adjacent>,
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(tag = "kind")]
    enum Tagged {
        /// A person arrived.
        Came {
            who: String,
        },
        Went {
            who: String,
            when: Option<u32>,
        },
        Stopped,
    }

    #[derive(Serialize, JsonSchema)]
    enum External {
        Nothing,
        Text(String),
        Pair { left: i32, right: i32 },
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        One { x: i32 },
        Two,
    }

    #[test]
    fn variants_that_exclude_each_other_become_a_choice() {
        let schema = schema_of::<Events>();
        let strict = strictly(&schema).unwrap();
        check_strict(&strict, &strict);
        for name in ["Tagged", "External", "Adjacent"] {
            assert!(schema["$defs"][name]["oneOf"].is_array(), "{schema}");
        }
        for (external, maybe) in [
            (External::Nothing, None),
            (External::Text("x".into()), Some(Adjacent::Two)),
            (External::Pair { left: 1, right: 2 }, Some(Adjacent::One { x: 1 })),
        ] {
            let tagged = vec![
                Tagged::Came { who: "a".into() },
                Tagged::Went { who: "b".into(), when: None },
                Tagged::Stopped,
            ];
            let value = serde_json::to_value(Events { tagged, external, maybe }).unwrap();
            assert!(fits(&schema, &schema, &value) && fits(&strict, &strict, &value), "{value}");
        }
        let a = |kind: &str| object(json!({"kind": {"const": kind}, "a": {"type": "string"}}));
        let mut optional = a("b");
        optional["required"] = json!(["a"]);
        for (one, other, are_apart) in [
            (a("a"), a("b"), true),
            (a("a"), optional, true),
            (a("a"), a("a"), false),
            (object(json!({})), object(json!({"a": {"type": "string"}})), true),
            (object(json!({})), object(json!({})), false),
            (json!({"anyOf": [a("a")]}), json!({"anyOf": [a("a")]}), false),
            (a("a"), json!({"anyOf": [a("b"), a("c")]}), true),
        ] {
            let schema = object(json!({"x": {"oneOf": [one, other]}}));
            let refused = strictly(&schema).err().unwrap_or_default();
            assert_eq!(refused.contains("`oneOf`"), !are_apart, "{refused}: {schema}");
        }
        // The value `null` fits both choices.
        let maybe = |kind: &str| {
            let mut maybe = a(kind);
            maybe["type"] = json!(["object", "null"]);
            maybe
        };
        let schema = object(json!({"x": {"oneOf": [maybe("a"), maybe("b")]}}));
        assert!(strictly(&schema).unwrap_err().contains("`oneOf`"));
    }

    #[derive(Serialize, JsonSchema)]
    struct Lenient {
        a: String,
        #[serde(default)]
        b: u32,
    }

    #[derive(Serialize, JsonSchema)]
    struct Counts {
        counts: BTreeMap<String, u32>,
    }

    #[test]
    fn what_a_struct_says_becomes_strict() {
        let schema = schema_of::<Invoice>();
        let strict = strictly(&schema).unwrap();
        check_strict(&strict, &strict);
        let line = || Line { text: "x".into(), cents: -1 };
        let invoice = |next| Invoice {
            number: "1".into(),
            count: 1,
            rate: 0.5,
            vat_id: None,
            lines: vec![line()],
            currency: Currency::Eur,
            state: Some(State::Paid),
            first: line(),
            next,
            bytes: [1, 2],
        };
        let mut other = invoice(None);
        (other.state, other.vat_id) = (Some(State::Open), Some("x".into()));
        for invoice in [invoice(Some(Box::new(invoice(None)))), other] {
            let value = serde_json::to_value(invoice).unwrap();
            assert!(fits(&schema, &schema, &value) && fits(&strict, &strict, &value), "{value}");
        }
        let properties = &strict["properties"];
        assert_eq!(properties["count"], json!({"type": "integer", "minimum": 0}));
        assert_eq!(
            properties["first"],
            json!({"anyOf": [{"$ref": "#/$defs/Line"}], "description": "The line that matters."})
        );
        assert_eq!(strict["$defs"]["State"]["anyOf"][1]["const"], "Paid");
        // A strict schema is not changed again.
        assert_eq!(strictly(&strict).unwrap(), strict);
    }

    #[test]
    fn what_would_say_something_else_stays_as_it_is() {
        for (schema, why) in [
            (schema_of::<Lenient>(), "the property \"b\" is not required or nullable"),
            (schema_of::<Counts>(), "`additionalProperties`"),
            (schema_of::<BTreeSet<u8>>(), "`uniqueItems`"),
            (schema_of::<Vec<u8>>(), ": properties"),
            (schema_of::<Option<Line>>(), ": properties"),
            (schema_of::<Option<u8>>(), ": properties"),
        ] {
            let told = strictly(&schema).unwrap_err();
            assert!(told.contains(why), "{told}: {schema}");
        }
        let text = json!({"type": "string"});
        for (keyword, value) in [
            ("patternProperties", json!({"^x": {"type": "string"}})),
            ("propertyNames", text.clone()),
            ("minProperties", json!(1)),
            ("maxProperties", json!(1)),
            ("uniqueItems", json!(true)),
            ("contains", text.clone()),
            ("prefixItems", json!([text])),
            ("minLength", json!(1)),
            ("maxLength", json!(1)),
            ("not", text.clone()),
            ("if", text.clone()),
            ("then", text.clone()),
            ("else", text.clone()),
            ("dependentRequired", json!({})),
            ("dependentSchemas", json!({})),
            ("unevaluatedProperties", json!(false)),
            ("nullable", json!(true)),
            ("additionalProperties", json!(true)),
            ("additionalProperties", text.clone()),
            ("pattern", json!("^(?!x)")),
            ("$ref", json!("#/properties/b")),
            ("$ref", json!("#/$defs/none")),
            ("$ref", json!("https://example.com/schema")),
            ("$ref", json!("#")),
            ("$defs", json!({})),
            ("anyOf", json!([text, {"type": "null"}])),
            ("oneOf", json!([text, {"type": "null"}])),
            ("oneOf", json!([text, {"const": "a"}])),
            ("allOf", json!([text])),
            ("allOf", json!([text, text])),
            ("of-the-future", json!(true)),
            ("properties", json!({})),
        ] {
            let mut property = text.clone();
            property[keyword] = value;
            let schema = object(json!({"a": property, "b": {"type": "string"}}));
            let told = strictly(&schema).unwrap_err();
            assert!(told.contains(&format!("`{keyword}`")), "{told}: {schema}");
        }
        for (property, why) in [
            (json!({}), ": type enum const anyOf $ref"),
            (json!({"description": "Anything."}), ": type enum const anyOf $ref"),
            (json!(true), "`true`"),
            (json!({"type": "object"}), ": properties"),
            (json!({"properties": {}}), "`properties`"),
            (json!({"type": "array"}), ": items"),
            (json!({"type": ["array", "null"]}), ": items"),
            (json!({"type": "array", "items": {}}), ": type enum const anyOf $ref"),
            (json!({"type": "array", "items": [text]}), "`true`"),
            (json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}), "`oneOf`"),
            (json!({"oneOf": [{"enum": ["a", "b"]}, {"enum": ["b"]}]}), "`oneOf`"),
            (json!({"$ref": "#/properties/a"}), "`$ref`"),
        ] {
            let schema = object(json!({ "a": property }));
            let told = strictly(&schema).unwrap_err();
            assert!(told.contains(why), "{told}: {schema}");
        }
        for optional in [
            json!({"type": "string"}),
            json!({"type": ["string", "null"], "enum": ["a"]}),
            json!({"enum": ["null"]}),
            json!({"const": "null"}),
            json!({"anyOf": [text, {"type": "integer"}]}),
            json!({"allOf": [text], "default": "a"}),
            json!({"$ref": "#/$defs/text"}),
        ] {
            let mut schema = object(json!({ "a": optional }));
            schema["required"] = json!([]);
            schema["$defs"] = json!({ "text": text });
            let told = strictly(&schema).unwrap_err();
            assert!(
                told.contains("the property \"a\" is not required or nullable"),
                "{told}: {schema}"
            );
        }
        let deep =
            |levels| (0..levels).fold(text.clone(), |inner, _| object(json!({ "a": inner })));
        check_strict(&deep(0), &strictly(&deep(10)).unwrap()["properties"]["a"]);
        assert!(strictly(&deep(11)).unwrap_err().contains("10 levels"));
        let lists = (0..99).fold(text, |inner, _| json!({"type": "array", "items": inner}));
        assert!(strictly(&object(json!({ "a": lists }))).unwrap_err().contains("levels"));
        let two = json!({"$ref": "#/$defs/o", "type": "object", "$defs": {"o": object(json!({}))}});
        let choice = json!({"anyOf": [object(json!({}))]});
        let mut or_null = object(json!({}));
        or_null["type"] = json!(["object", "null"]);
        assert!(strictly(&or_null).unwrap_err().contains("an object at the root"));
        for root in [json!(true), json!({"$ref": "#"}), choice, two] {
            strictly(&root).unwrap_err();
        }
        let mut nested = object(json!({"a": {"$ref": "#/$defs/o/properties/b"}}));
        nested["$defs"] = json!({"o": object(json!({"b": {"type": "string"}}))});
        assert!(strictly(&nested).unwrap_err().contains("`$ref`"));
    }

    /// Returns the schema of an object that requires all of its properties.
    fn object(properties: Value) -> Value {
        let names: Vec<_> = properties.as_object().unwrap().keys().cloned().collect();
        json!({"type": "object", "properties": properties, "required": names})
    }

    #[test]
    fn every_object_is_closed_for_anthropic() {
        let open = |more: Value| {
            let mut schema = object(json!({"a": {"type": "string", "pattern": "a"}}));
            schema["additionalProperties"] = more;
            schema.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            schema
        };
        let lists = |more: &Value| {
            let choice = json!({"anyOf": [open(more.clone()), {"$ref": "#/$defs/d"}]});
            let node = json!({"type": "array", "items": choice, "default": [{"properties": {}}]});
            json!({"type": "object", "properties": {"properties": node}, "$defs": {"d": open(more.clone())}})
        };
        let mut expected = lists(&json!(false));
        expected["additionalProperties"] = json!(false);
        let (sent, changes) = told(|request| closed(request, &lists(&Value::Null)));
        assert_eq!(sent, expected);
        assert_eq!(changes[0].what, "response_format");
        for schema in [
            json!(true),
            expected,
            open(json!({"type": "string"})),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {}, "oneOf": [true, {"$ref": "#/$defs/d"}]}),
            json!({"type": "object", "properties": {}, "$ref": "#/$defs/d"}),
            json!({"allOf": [open(Value::Null), {"type": "object"}]}),
        ] {
            let (sent, changes) = told(|request| closed(request, &schema));
            assert!(sent == schema && changes.is_empty(), "{sent}");
        }
    }

    #[test]
    fn limits_that_anthropic_refuses_are_told_in_words() {
        for (asked, sent) in [
            (
                json!({"type": "integer", "format": "uint32", "minimum": 0}),
                json!({"type": "integer", "description": "{\"minimum\":0}"}),
            ),
            (
                json!({"type": "string", "format": "date", "description": "A day."}),
                json!({"type": "string", "format": "date", "description": "A day."}),
            ),
            (
                json!({"type": "string", "maxLength": 3, "description": "A code."}),
                json!({"type": "string", "description": "A code. {\"maxLength\":3}"}),
            ),
            (
                json!({"type": "array", "minItems": 1, "items": {"type": "number", "format": "double"}}),
                json!({"type": "array", "minItems": 1, "items": {"type": "number"}}),
            ),
            (
                json!({"type": "array", "minItems": 2}),
                json!({"type": "array", "description": "{\"minItems\":2}"}),
            ),
            (
                json!({"oneOf": [{"const": "a", "description": "A."}, {"const": "b"}]}),
                json!({"anyOf": [{"const": "a", "description": "A."}, {"const": "b"}]}),
            ),
            (
                json!({"oneOf": [{"type": "string"}, {"type": "string"}]}),
                json!({"oneOf": [{"type": "string"}, {"type": "string"}]}),
            ),
        ] {
            let (object, expected) = (object(json!({ "x": asked })), object(json!({ "x": sent })));
            let (closed, changes) = told(|request| closed(request, &object));
            assert_eq!(
                (&closed["properties"], changes.len()),
                (&expected["properties"], 1),
                "{asked}"
            );
        }
    }

    #[test]
    fn what_says_the_same_is_rewritten() {
        let reference = json!({"$ref": "#/$defs/n"});
        for (property, strict) in [
            (json!({"type": ["string", "null"]}), json!({"type": ["string", "null"]})),
            (json!({"enum": ["a", null]}), json!({"enum": ["a", null]})),
            (json!({"const": null}), json!({"const": null})),
            (reference.clone(), reference.clone()),
            (json!({"allOf": [reference], "default": 5}), json!({"anyOf": [reference]})),
            (
                json!({"oneOf": [{"type": "string", "format": "uri"}, {"type": "null"}]}),
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            ),
            (
                json!({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}),
                json!({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}),
            ),
            (
                json!({"$ref": "#/$defs/n", "description": "N.", "default": null}),
                json!({"anyOf": [reference], "description": "N."}),
            ),
            (
                json!({"type": ["null", "array"], "items": object(json!({})), "maxItems": 1, "examples": [[]]}),
                json!({"type": ["null", "array"], "maxItems": 1, "items":
                    {"type": "object", "properties": {}, "required": [], "additionalProperties": false}}),
            ),
        ] {
            let defs = json!({"n": {"type": ["integer", "null"], "format": "uint8"}});
            // Each property allows `null`, and so becomes required.
            let root = json!({"type": "object", "properties": {"a": property}, "$defs": defs});
            let sent = strictly(&root).unwrap();
            assert_eq!(
                sent,
                json!({
                    "type": "object", "properties": {"a": strict}, "required": ["a"],
                    "additionalProperties": false, "$defs": {"n": {"type": ["integer", "null"]}},
                })
            );
            check_strict(&sent, &sent);
        }
        let node =
            object(json!({"next": {"anyOf": [{"$ref": "#/definitions/node"}, {"type": "null"}]}}));
        let root =
            json!({"$ref": "#/definitions/node", "definitions": {"node": node}, "$schema": "x"});
        let sent = strictly(&root).unwrap();
        check_strict(&sent, &sent);
        assert_eq!(sent["properties"], sent["definitions"]["node"]["properties"]);
    }

    fn any_schema(reference: Value) -> impl Strategy<Value = Value> {
        let any_value = || {
            prop::sample::select(vec![json!("a"), json!("b"), json!(1), json!(1.5), Value::Null])
        };
        let kinds = ["string", "integer", "number", "null", "object", "array"];
        let leaf = prop_oneof![
            prop::sample::subsequence(kinds.to_vec(), 1..3)
                .prop_map(|kinds| json!({ "type": kinds })),
            prop::collection::vec(any_value(), 1..3).prop_map(|values| json!({ "enum": values })),
            any_value().prop_map(|value| json!({ "const": value })),
            Just(reference),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            let named = prop::collection::btree_map("[ab]", inner.clone(), 0..3);
            prop_oneof![
                (
                    prop::collection::vec(inner.clone(), 1..4),
                    prop::sample::select(vec!["anyOf", "oneOf", "allOf"])
                )
                    .prop_map(|(choices, keyword)| json!({ keyword: choices, "title": "T" })),
                (named, any::<bool>()).prop_map(|(properties, is_whole)| {
                    let mut schema = object(json!(properties));
                    if !is_whole {
                        schema["required"] = json!([]);
                    }
                    schema
                }),
                inner.prop_map(|items| json!({"type": "array", "items": items, "default": []})),
            ]
        })
    }

    /// Returns objects in which each of two properties is missing or has one of several values.
    fn objects() -> Vec<Value> {
        let texts = r#""a" "b" 1 1.5 null [] ["a"] [1,null] {} {"a":"a"} {"a":null,"b":1}"#;
        let values: Vec<Value> =
            texts.split(' ').map(|text| serde_json::from_str(text).unwrap()).collect();
        ["a", "b"].iter().fold(vec![json!({})], |objects, name| {
            let with = |(object, value): (&Value, &Value)| {
                let mut object = object.clone();
                object[*name] = value.clone();
                object
            };
            let pairs = objects.iter().flat_map(|object| values.iter().map(move |it| (object, it)));
            objects.iter().cloned().chain(pairs.map(with)).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_strict_schema_keeps_the_rules_and_takes_nothing_new(
            a in any_schema(json!({"$ref": "#/$defs/d"})),
            b in any_schema(json!({"$ref": "#/$defs/d"})),
            definition in any_schema(json!({"type": "string"})),
            required in prop::sample::subsequence(vec!["a", "b"], 1..3),
        ) {
            let root = json!({
                "type": "object", "properties": {"a": a, "b": b}, "required": required,
                "$defs": {"d": definition},
            });
            if let Ok(strict) = strictly(&root) {
                // A caller means that an object has no other properties.
                let mut root = root;
                close(&root.clone(), &mut root);
                check_strict(&strict, &strict);
                prop_assert_eq!(&strictly(&strict).unwrap(), &strict);
                for name in ["a", "b"].iter().filter(|name| !required.contains(name)) {
                    prop_assert!(fits(&root, &root["properties"][name], &Value::Null), "{}", root);
                }
                for value in objects() {
                    prop_assert!(!fits(&strict, &strict, &value) || fits(&root, &root, &value), "{} in {}", value, root);
                }
            }
        }
    }
}
