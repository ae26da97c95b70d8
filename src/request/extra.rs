//! Merges the caller's own fields into the request body, as the last step.

use std::cell::RefCell;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::protocol::{self, ChatRequest, OPTIONS, only_options};

/// JSON pointers of fields that the crate sets so that an option has an effect. The caller may
/// replace them.
const ADDED: &str = "/generationConfig/thinkingConfig/includeThoughts /reasoning/summary \
    /response_format/json_schema/strict /text/format/strict /thinking/display /tool_stream";

/// Fields of the body that carry the prompt.
const FROM_PROMPT: [&str; 5] = ["contents", "input", "messages", "system", "systemInstruction"];

/// The JSON pointer of the list to which the caller's elements are appended.
const LIST: &str = "/include";

/// Merges [`extra_body`](crate::GenerationConfig::extra_body) into the body.
///
/// Objects are merged field by field, and elements of `include` are appended. A field
/// that the crate sets by itself is replaced. A field that one of the caller's options has set is
/// an error, since one of the two values would be lost silently.
pub(super) fn merge(body: &mut Map<String, Value>, request: ChatRequest<'_>) -> Result<(), Error> {
    let extra = &request.config.extra_body;
    if extra.is_empty() {
        return Ok(());
    }
    let sets = |name: &str| extra.contains_key(name);
    let refused = |what: &str| Err(request.refuse(format!("`extra_body` cannot set {what}")));
    if sets("model") {
        return refused("`model`; set the option `model`");
    }
    if sets("stream") {
        return refused("`stream`: every request streams");
    }
    if sets("tools") && !request.config.tools.is_empty() {
        return refused(
            "`tools` beside the option `tools`; add the tool to the option with `Tool::hosted`",
        );
    }
    if let Some(field) = FROM_PROMPT.iter().find(|&&name| sets(name) && body.contains_key(name)) {
        return refused(&format!("`{field}`: the prompt sets it"));
    }
    // The fields that the crate sets by itself, or because of another option.
    let mut added: Vec<_> = ADDED.split(' ').collect();
    let without_options = encode_with_options(request, |_| false);
    let mut defaults = without_options.clone();
    match request.config.max_tokens {
        None => added.push("/max_tokens"),
        Some(_) => _ = defaults.remove("max_tokens"),
    }
    if request.config.tool_choice.is_none() {
        added.push("/tool_choice/type");
    }
    let Err(field) = merge_fields(body, extra, &defaults, &added, "") else { return Ok(()) };
    let defaults = Value::Object(without_options);
    let option = OPTIONS.iter().find(|&option| {
        let encoded = Value::Object(encode_with_options(request, |other| other == *option));
        encoded.pointer(&field).is_some_and(|set| Some(set) != defaults.pointer(&field))
    });
    // If no option changes the field, the caller has set `max_tokens` to just the crate's default.
    let option = option.unwrap_or(&"max_tokens");
    let field = field.trim_start_matches('/').replace('/', ".");
    Err(request.refuse(format!(
        "`extra_body` sets `{field}`, and so does the option `{option}`; leave one of them out"
    )))
}

/// Merges `extra` into `body`. The error is the JSON pointer of a field that an option has set.
fn merge_fields(
    body: &mut Map<String, Value>,
    extra: &Map<String, Value>,
    defaults: &Map<String, Value>,
    added: &[&str],
    path: &str,
) -> Result<(), String> {
    for (name, value) in extra {
        let path = format!("{path}/{name}");
        let default = defaults.get(name);
        match (body.get_mut(name), value) {
            (Some(Value::Object(body)), Value::Object(extra)) => {
                let none = Map::new();
                let defaults = default.and_then(Value::as_object).unwrap_or(&none);
                merge_fields(body, extra, defaults, added, &path)?;
            }
            (Some(Value::Array(list)), Value::Array(more)) if path == LIST => {
                list.extend(more.iter().cloned());
            }
            (Some(set), _) if Some(&*set) != default && !added.contains(&&*path) => {
                return Err(path);
            }
            _ => _ = body.insert(name.clone(), value.clone()),
        }
    }
    Ok(())
}

/// Returns the body that only some of the caller's options would give.
fn encode_with_options(
    request: ChatRequest<'_>,
    keep: impl Fn(&str) -> bool,
) -> Map<String, Value> {
    let config = only_options(request.config, keep);
    let adaptations = RefCell::default();
    let request = ChatRequest { config: &config, adaptations: &adaptations, ..request };
    protocol::encode(request).unwrap_or_default()
}

#[cfg(test)]
#[cfg(feature = "rustls")] // Hosted providers are reached over TLS.
mod tests {
    use serde_json::json;

    use crate::{GenerationConfig, Message, Protocol, Reasoning, Tool, generate_stream};

    fn body(config: GenerationConfig) -> Result<serde_json::Value, String> {
        let config = config.api_key("key");
        let request = generate_stream("Hi", config).request();
        request.map(|request| request.body).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_crate_sets_by_itself_is_replaced_and_the_rest_is_added() {
        let config = GenerationConfig::new("gpt-4o").extra("service_tier", "flex");
        let sent = body(config.extra("stream_options", json!({"include_usage": false}))).unwrap();
        assert_eq!(sent["service_tier"], "flex");
        let expected = json!({"include_usage": false, "include_obfuscation": false});
        assert_eq!(sent["stream_options"], expected);
        let sent = body(GenerationConfig::new("claude-x").extra("max_tokens", 9)).unwrap();
        assert_eq!(sent["max_tokens"], 9);
    }

    #[test]
    fn tools_beside_the_option_are_refused_with_advice() {
        let mine = Tool::function("mine", "", json!({"type": "object"}));
        let other = json!({"type": "other"});
        for model in ["gpt-4o", "claude-x", "gemini-x"] {
            let config = || GenerationConfig::new(model);
            let error =
                body(config().tools([mine.clone()]).extra("tools", json!([other]))).unwrap_err();
            assert!(error.contains("`Tool::hosted`"), "{model}: {error}");
            let alone = body(config().extra("tools", json!([other]))).unwrap();
            assert_eq!(alone["tools"], json!([other]), "{model}");
            let sent = body(config().tools([mine.clone(), Tool::hosted(other.clone())])).unwrap();
            assert!(sent["tools"][0].to_string().contains("mine"), "{model}: {sent}");
            assert_eq!(sent["tools"][1], other, "{model}");
        }
    }

    #[test]
    fn a_clash_names_the_field_and_the_option() {
        let config = || GenerationConfig::new("gpt-4o");
        let gemini = || GenerationConfig::new("gemini-x");
        let claude = || GenerationConfig::new("claude-x");
        for (config, field, option) in [
            (config().temperature(0.5).extra("temperature", 1), "`temperature`", "`temperature`"),
            (config().max_tokens(5).extra("max_completion_tokens", 6), "`max_c", "`max_tokens`"),
            (
                gemini().top_k(5).extra("generationConfig", json!({"topK": 6})),
                "`generationConfig.topK`",
                "`top_k`",
            ),
            (
                claude().reasoning(Reasoning::Low).extra("output_config", json!({"effort": "max"})),
                "`output_config.effort`",
                "`reasoning`",
            ),
            (claude().max_tokens(5).extra("max_tokens", 6), "`max_tokens`", "`max_tokens`"),
            (config().stop(["a"]).extra("stop", json!(["b"])), "`stop`", "`stop`"),
        ] {
            let error = body(config).unwrap_err();
            assert!(error.contains(field) && error.contains(option), "{error}");
        }
        for (config, field) in [
            (config(), "messages"),
            (config().protocol(Protocol::Responses), "input"),
            (claude(), "messages"),
            (gemini(), "contents"),
        ] {
            let error = body(config.extra(field, json!([]))).unwrap_err();
            assert!(
                error.contains(&format!("`{field}`")) && error.contains("the prompt"),
                "{error}"
            );
        }
        for (config, field) in [(claude(), "system"), (gemini(), "systemInstruction")] {
            let prompt = [Message::system("Mine"), Message::user("Hi")];
            let config = config.api_key("key").extra(field, json!({"parts": []}));
            let error = generate_stream(prompt, config.clone()).request().unwrap_err().to_string();
            assert!(
                error.contains(&format!("`{field}`")) && error.contains("the prompt"),
                "{error}"
            );
            // If the prompt has no system message, the caller may set the field.
            assert!(generate_stream("Hi", config).request().is_ok(), "{field}");
        }
        // The caller sets the option to its default.
        let default = body(claude()).unwrap()["max_tokens"].as_u64().unwrap();
        let error = body(claude().max_tokens(default as u32).extra("max_tokens", 9)).unwrap_err();
        assert!(error.contains("the option `max_tokens`"), "{error}");
        let sent = body(claude().reasoning(Reasoning::Low).extra("max_tokens", 9)).unwrap();
        assert_eq!(sent["max_tokens"], 9);
        let tool = Tool::function("go", "", json!({"type": "object"}));
        let sent = claude().tools([tool]).parallel_tool_calls(true);
        let sent = body(sent.extra("tool_choice", json!({"type": "any"}))).unwrap();
        assert_eq!(sent["tool_choice"]["type"], "any");
        for name in ["stream", "model"] {
            assert!(body(config().extra(name, false)).unwrap_err().contains(name));
        }
        let summary = config().protocol(Protocol::Responses).reasoning(Reasoning::Low);
        let sent = body(summary.extra("reasoning", json!({"summary": "detailed"}))).unwrap();
        assert_eq!(sent["reasoning"], json!({"effort": "low", "summary": "detailed"}));
        // Other fields of the same object do not clash.
        let sent = body(gemini().top_k(5).extra("generationConfig", json!({"topP": 0.5}))).unwrap();
        assert_eq!(sent["generationConfig"], json!({"topK": 5, "topP": 0.5}));
    }
}
