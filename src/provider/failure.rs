//! Errors as providers tell them: the message, type and code in every shape that was seen, and what
//! kind of error that makes.

use std::time::Duration;

use serde_json::Value;

use super::LlmProvider;
use crate::error::{ApiError, ErrorKind};

/// The most of an answer's body that an error keeps.
const KEPT: usize = 4096;
/// The most of a type, a code or an id.
const WORD: usize = 256;
/// The most of a message that an error shows.
const SHOWN: usize = 1000;

/// Reads an error from the body of an answer with a `status`, or from an event of a stream without
/// one.
pub(crate) fn api_error(provider: LlmProvider, status: Option<u16>, body: &str) -> ApiError {
    let json: Value = serde_json::from_str(body.trim()).unwrap_or_default();
    let first = if let Value::Array(list) = &json { list.first() } else { Some(&json) };
    let outer = first.unwrap_or(&Value::Null);
    let inner = ["/response/error", "/error", "/errors/0", "/message/detail/0", "/detail/0"]
        .iter()
        .find_map(|path| outer.pointer(path).filter(|error| is_told(error)))
        .unwrap_or(outer);

    let message =
        ["/message", "/msg", "/detail", "/message/detail/0/msg", "/error_description", "/title"]
            .iter()
            .find_map(|path| [inner, outer].iter().find_map(|at| at.pointer(path)?.as_str()))
            .or(inner.as_str())
            .map_or_else(|| plain(body), str::to_owned);
    let upstream = inner.pointer("/metadata/raw").and_then(Value::as_str);
    let message = match upstream {
        Some(upstream) if !message.contains(upstream) => format!("{message}: {upstream}"),
        _ => message,
    };
    let field = |name: &str| {
        [inner, outer].iter().find_map(|at| match at.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let type_of = |at: &Value| Some(at.get("type")?.as_str()?.to_owned()).filter(|t| t != "error");
    let error_type = type_of(inner)
        .or_else(|| field("error_type"))
        .or_else(|| field("status").filter(|s| s.parse::<u64>().is_err()))
        .or_else(|| type_of(outer));
    let code = field("code");
    let reason = inner
        .pointer("/details")
        .and_then(Value::as_array)
        .and_then(|details| details.iter().find_map(|detail| detail.get("reason")?.as_str()));
    let delay = inner
        .pointer("/details")
        .and_then(Value::as_array)
        .and_then(|details| details.iter().find_map(|detail| detail.get("retryDelay")?.as_str()));
    let retry_after = delay
        .and_then(|delay| delay.trim_end_matches('s').parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());

    let message = one_line(&message);
    let words = [error_type.as_deref(), code.as_deref(), reason];
    ApiError {
        provider,
        kind: kind(status, &words, &message),
        status,
        message,
        code: code.as_deref().map(word),
        error_type: error_type.as_deref().map(word),
        request_id: field("request_id").as_deref().map(word),
        retry_after,
        body: truncated(body, KEPT).to_owned(),
        should_retry: None,
        partial: None,
    }
}

/// A type, a code or an id as it may stand in a message, whatever the server puts there.
fn word(text: &str) -> String {
    one_line(truncated(text, WORD))
}

/// Whether a field that is called `error` holds one.
fn is_told(error: &Value) -> bool {
    match error {
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

/// What kind of error a provider means. Types and codes say more than a status, which gateways
/// change.
fn kind(status: Option<u16>, words: &[Option<&str>], message: &str) -> ErrorKind {
    // A number as the code of an error inside a stream is the status it would have had.
    let number = words.iter().flatten().find_map(|word| word.parse().ok());
    let status = status.filter(|&status| status != 200).or(number);
    let told = |known: &[&str]| words.iter().flatten().any(|word| known.contains(word));
    let message = message.to_ascii_lowercase();
    let says = |known: &[&str]| known.iter().any(|phrase| message.contains(phrase));

    if status == Some(402)
        || told(&[
            "insufficient_quota",
            "credit_balance_exhausted",
            "billing_error",
            "billing_hard_limit_reached",
        ])
        || says(&["credit balance is too low", "exceeded your current quota"])
    {
        ErrorKind::Quota
    } else if matches!(status, Some(401 | 403))
        || told(&["authentication_error", "permission_error", "invalid_api_key", "API_KEY_INVALID"])
        || told(&["PERMISSION_DENIED", "UNAUTHENTICATED"])
    {
        ErrorKind::Auth
    } else if told(&["context_length_exceeded", "exceed_context_size_error"])
        || says(&["prompt is too long", "input token count", "input tokens exceed"])
        || says(&["context window", "context size", "context length", "too many tokens"])
    {
        ErrorKind::ContextLength
    } else if status == Some(429)
        || told(&[
            "rate_limit_error",
            "rate_limit_exceeded",
            "RESOURCE_EXHAUSTED",
            "too_many_requests",
        ])
    {
        ErrorKind::RateLimited
    } else if matches!(status, Some(503 | 529))
        || told(&[
            "overloaded_error",
            "UNAVAILABLE",
            "server_is_overloaded",
            "slow_down",
            "overloaded",
        ])
    {
        ErrorKind::Overloaded
    } else if status == Some(404)
        || told(&["not_found_error", "NOT_FOUND", "model_not_found", "invalid_model"])
    {
        ErrorKind::NotFound
    } else if matches!(status, Some(408 | 409)) {
        // A lock or a queue at the provider ran out of time: later may work.
        ErrorKind::Server
    } else if matches!(status, Some(300..500 | 600..))
        || told(&[
            "invalid_request_error",
            "INVALID_ARGUMENT",
            "FAILED_PRECONDITION",
            "invalid_prompt",
            "bio_policy",
            "data_residency_mismatch",
        ])
        // OpenAI's dozen reasons not to look at a picture, such as `invalid_base64_image`.
        || words.iter().flatten().any(|word| word.contains("image"))
    {
        ErrorKind::InvalidRequest
    } else {
        ErrorKind::Server
    }
}

/// A body that is no JSON as a message: of a web page its title, else its beginning.
fn plain(body: &str) -> String {
    let lower = body.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        let length = lower.get(start..)?.find("</title>")?;
        body.get(start..start + length)
    });
    title.unwrap_or_else(|| truncated(body, 200)).to_owned()
}

/// Text from elsewhere as it may stand in a message: on one line, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    let words = truncated(text, SHOWN).split_whitespace().collect::<Vec<_>>().join(" ");
    crate::terminal_safe(&words).to_string()
}

/// At most so many bytes of a text, cut between characters.
pub(crate) fn truncated(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or_default()).unwrap_or(text)
}
