//! Parses the errors of providers: reads the message, type and code in every known shape, and
//! determines the kind of the error.

use std::io::Read;
use std::time::Duration;

use super::json;
use super::wire::{Raw, unescaped, wire};
use crate::error::{Error, ErrorKind, Report};
use crate::provider::LlmProvider;
use crate::redact::{one_line, truncated};
use crate::sse::{Event, Frame, Parser};

/// The maximum number of bytes of a body that an error keeps. Groq sends the model's failed output
/// there (`failed_generation`), which is useful only if it is complete.
const MAX_BODY: usize = 64 << 10;
/// The maximum number of bytes of a body that are searched for events.
const MAX_SEARCHED: usize = 1 << 20;
/// The maximum number of bytes of a type, a code or an id.
const MAX_WORD: usize = 256;

wire! {
    /// The fields that errors have, at any level. Each is parsed only when it is needed, so a large
    /// error costs little beside its text.
    struct ErrorFields {
        // These fields may contain the error itself.
        error,
        errors, response, choices, x_groq, base_resp,
        // These fields describe the error in a sentence.
        message,
        msg, status_msg, detail, error_description, title, param,
        // These fields describe the error in a word or a number.
        kind = "type",
        error_type, code, status, status_code, http_code, request_id, details,
        metadata: OpenRouterMetadata<'a>,
    }
    /// The `metadata` of an error from OpenRouter.
    struct OpenRouterMetadata { raw, reasons, flagged_input }
    /// One of the `details` of an error from Google.
    struct GoogleDetail { reason, retry_delay = "retryDelay", violations }
    struct GoogleViolation { quota_id = "quotaId" }
}

/// Parses an error from a response body, or from an event of a stream. For an event, `status` is
/// `None`.
pub(crate) fn api_error(provider: LlmProvider, status: Option<u16>, body: &str) -> Error {
    let json = |text| json::read::<Raw<'_>>(text).ok();
    let in_events = if json(body.trim()).is_none() { in_events(body) } else { None };
    let json = json(in_events.as_deref().unwrap_or(body.trim())).unwrap_or_default();
    let told = ToldError::new(json);
    let (message, said) = told.message(body);
    let error_type = told.error_type();
    // MiniMax also reports errors with the status 200.
    let is_minimax = told.inner.status_msg.is_some();
    let minimax = if is_minimax { told.word(|fields| fields.status_code) } else { None };
    // The same number has different meanings at different vendors. Z.ai sends its numbers in an
    // object `error`, and Mistral sends its numbers without one.
    let vendor = match minimax {
        Some(_) => Some("MiniMax"),
        None => provider.vendor().dialect.error_numbers.filter(|_| told.is_within),
    };
    let code = minimax.or_else(|| told.word(|fields| fields.code));
    let numbered = vendor.zip(code.as_ref()).map(|(vendor, code)| format!("{vendor}:{code}"));
    let details = || told.inner.details.elements::<GoogleDetail<'_>>();
    let reason = details().find_map(|detail| text(detail.reason));
    let delay = details().find_map(|detail| text(detail.retry_delay));
    let delay = delay.and_then(|delay| delay.trim_end_matches('s').parse().ok());
    let quotas = details().flat_map(|detail| detail.violations.elements::<GoogleViolation<'_>>());
    let mut quotas = quotas.filter_map(|broken| text(broken.quota_id));
    let is_of_a_day = quotas.any(|quota| quota.contains("PerDay") || quota.contains("Daily"));
    let OpenRouterMetadata { reasons, flagged_input, .. } = told.inner.metadata;
    let words = [
        error_type.as_deref(),
        code.as_deref(),
        reason.as_deref(),
        numbered.as_deref(),
        is_of_a_day.then_some("Google:day"),
        reasons.or(flagged_input).is_some().then_some("OpenRouter:moderation"),
    ];
    let judged = status.filter(|&status| status != 200).or_else(|| told.status());
    let report = Report {
        status,
        code: code.as_deref().map(word),
        error_type: error_type.as_deref().map(word),
        request_id: told.word(|fields| fields.request_id).as_deref().map(word),
        retry_after: delay.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        body: truncated(body, MAX_BODY).to_owned(),
        ..Report::default()
    };
    Error::new(kind(judged, &words, &said), provider, one_line(&message)).reported(report)
}

/// The error in a body: the error object and the object around it.
struct ToldError<'a> {
    json: Raw<'a>,
    inner: ErrorFields<'a>,
    outer: ErrorFields<'a>,
    /// Set if `inner` is an object inside `outer`, not the same object.
    is_within: bool,
}

impl<'a> ToldError<'a> {
    fn new(json: Raw<'a>) -> Self {
        let outer_json = json.elements().next().unwrap_or(json);
        let outer: ErrorFields<'_> = outer_json.parse();
        let places = [
            outer.response.parse::<ErrorFields<'_>>().error,
            outer.error,
            first(outer.choices).parse::<ErrorFields<'_>>().error,
            outer.x_groq.parse::<ErrorFields<'_>>().error,
            first(outer.errors),
            outer.base_resp,
            first(outer.message.parse::<ErrorFields<'_>>().detail),
            first(outer.detail),
        ];
        let json = places.into_iter().find(|error| is_told(*error)).unwrap_or(outer_json);
        Self { json, inner: json.parse(), outer, is_within: json != outer_json }
    }

    /// Returns a field of the error object, or else of the object around it.
    fn word(&self, field: impl Fn(&ErrorFields<'a>) -> Raw<'a>) -> Option<String> {
        text_or_number(field(&self.inner)).or_else(|| text_or_number(field(&self.outer)))
    }

    /// Returns the message for people, and the part of it that consists of the server's own words,
    /// in lower case.
    fn message(&self, body: &str) -> (String, String) {
        let message = message_of(&self.inner)
            .or_else(|| message_of(&self.outer))
            .or_else(|| text(self.json))
            .unwrap_or_else(|| plain(truncated(body, MAX_BODY)));
        // OpenRouter quotes the error of the upstream provider in `metadata.raw`. Xiaomi describes
        // the problem in `param`, in which other vendors name a parameter.
        let more = text(self.inner.metadata.raw)
            .or_else(|| text(self.inner.param).filter(|param| param.contains(' ')))
            .unwrap_or_default();
        let said = without_quotations(&message) + " " + &without_quotations(&message_in(&more));
        (if message.contains(&more) { message } else { format!("{message}: {more}") }, said)
    }

    fn error_type(&self) -> Option<String> {
        let type_of = |told: &ErrorFields<'_>| text(told.kind).filter(|kind| kind != "error");
        let status = text(self.inner.status).or_else(|| text(self.outer.status));
        type_of(&self.inner)
            .or_else(|| self.word(|fields| fields.error_type))
            .or_else(|| status.filter(|status| status.parse::<u64>().is_err()))
            .or_else(|| type_of(&self.outer))
    }

    /// Returns the HTTP status that an error in a stream contains. The status of the response
    /// itself is 200.
    fn status(&self) -> Option<u16> {
        let fields: [fn(&ErrorFields<'a>) -> Raw<'a>; 4] =
            [|told| told.code, |told| told.status_code, |told| told.http_code, |told| told.status];
        let mut told = fields.into_iter().filter_map(|field| self.word(field)?.parse().ok());
        told.find(|status| (300..600).contains(status))
    }
}

/// Returns the error in a body that is an event stream although the status reports an error.
fn in_events(body: &str) -> Option<String> {
    let body = truncated(body, MAX_SEARCHED);
    let mut parser = Parser::new(body.len());
    // The last event may lack its line endings.
    let mut rest = body.as_bytes().chain(&b"\n\n"[..]);
    while let Ok(1..) = parser.fill(|buffer| rest.read(buffer)) {
        while let Ok(Some(Frame::Event(Event { data, .. }) | Frame::Error(data))) = parser.next() {
            if data.trim_start().starts_with('{') && json::read::<Raw<'_>>(data).is_ok() {
                return Some(data.to_owned());
            }
        }
    }
    None
}

/// Returns the message in an error object.
fn message_of(told: &ErrorFields<'_>) -> Option<String> {
    let fields =
        [told.message, told.msg, told.status_msg, told.detail, told.error_description, told.title];
    fields.into_iter().find_map(text)
}

/// Returns the message that is quoted from another server: its message field if it is JSON, or else
/// the whole text.
fn message_in(quoted: &str) -> String {
    let told: ErrorFields<'_> = json::read(quoted).unwrap_or_default();
    let within = message_of(&told.error.parse()).or_else(|| message_of(&told));
    within.unwrap_or_else(|| quoted.to_owned())
}

/// Returns a message in lower case and without its quotations. A quotation, such as the prompt or a
/// name, may contain any words, which must not determine the kind of the error. An apostrophe
/// inside a word is not a quotation mark.
fn without_quotations(message: &str) -> String {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut marks = vec![('\'', '\''), ('"', '"'), ('`', '`'), ('\u{201c}', '\u{201d}')];
    let mut own = String::new();
    let mut rest = message.chars();
    while let Some(c) = rest.next() {
        let is_apostrophe = c == '\'' && is_letter(own.chars().next_back());
        let mark = marks.iter().copied().find(|(open, _)| *open == c && !is_apostrophe);
        let behind = mark.and_then(|(_, close)| {
            let ends = rest.as_str().match_indices(close);
            let mut behind = ends.filter_map(|(end, mark)| rest.as_str().get(end + mark.len()..));
            behind.find(|behind| close != '\'' || !is_letter(behind.chars().next()))
        });
        if let Some(behind) = behind {
            own.push(' ');
            rest = behind.chars();
        } else {
            // This mark is never closed, so no later mark of the same kind is closed either.
            marks.retain(|known| Some(*known) != mark);
            own.push(c);
        }
    }
    own.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn first(list: Raw<'_>) -> Raw<'_> {
    list.elements().next().unwrap_or_default()
}

/// Returns a non-empty string, truncated to `MAX_BODY` bytes. An escape that is cut at the end does
/// no harm, because messages show much less.
fn text(raw: Raw<'_>) -> Option<String> {
    let text = unescaped(truncated(raw.literal()?, MAX_BODY));
    Some(text).filter(|text| !text.is_empty())
}

/// Returns a non-empty string, or the digits of a number.
fn text_or_number(raw: Raw<'_>) -> Option<String> {
    let is_number = raw.json().starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if is_number { Some(truncated(raw.json(), MAX_WORD).to_owned()) } else { text(raw) }
}

/// Returns a type, a code or an id in a form that is safe in a message: truncated and on one line.
fn word(text: &str) -> String {
    one_line(truncated(text, MAX_WORD))
}

/// Returns whether a field contains an error. A `status_code` of 0 from MiniMax means that there is
/// no error.
fn is_told(error: Raw<'_>) -> bool {
    let is_one = error.is_error() && error.json().starts_with(['"', '{']);
    is_one && error.parse::<ErrorFields<'_>>().status_code.json() != "0"
}

/// A row of the table below. It matches an error if its status matches, and if the error has one of
/// its words and one of its phrases. An empty list of words or phrases always matches.
struct KindRow {
    kind: ErrorKind,
    /// An error in a stream may have no status.
    status: fn(Option<u16>) -> bool,
    /// Types and codes, separated by spaces. A `*` matches any text. Error numbers have their
    /// vendor's name in front, as in `Z.ai:1113`. So do conditions that `api_error` finds in other
    /// fields, as in `Google:day`.
    words: &'static str,
    /// Parts of messages in lower case, separated by `; `, for errors that the vendor does not
    /// identify in a better way.
    phrases: &'static str,
}

macro_rules! kinds {
    ($($status:pat => $kind:ident $(words $words:literal)? $(phrases $phrases:expr)?;)+) => {
        #[allow(clippy::redundant_pattern_matching)] // One row matches only `None`.
        const KINDS: &[KindRow] = &[$(KindRow {
            kind: ErrorKind::$kind,
            status: |status| matches!(status, $status),
            words: [$($words,)? ""][0],
            phrases: [$($phrases,)? ""][0],
        }),+];
    };
}

// The colon in `too many tokens:` matters: without it, Cerebras reports the limit of tokens per
// minute.
const TOO_LONG: &str = "prompt is too long; input token count; input tokens exceed; context window; \
    context size; context length; too many tokens:; range of input length";

// The first matching row decides. An error that matches no row is a server error. A word is more
// precise than a status: gateways change the status, and vendors use one status for several kinds.
// A phrase may have any meaning, so it counts only if the status says almost nothing. Words that
// vendors use for all kinds of errors are checked last.
//
// The numbers are from <https://docs.z.ai/api-reference/api-code> and
// <https://platform.minimax.io/docs/api-reference/errorcode>.
kinds! {
    // No API reports errors with these statuses, so the address is wrong, whatever the body says.
    Some(100..300) => Decode;
    Some(300..400 | 600..) => InvalidRequest;
    _ => ContextLength
        words "context_length_exceeded exceed_context_size_error TOO_MANY_TOKENS Z.ai:1261";
    Some(413) => ContextLength phrases TOO_LONG;
    // The request is too large for this account or this server. Sending it again does not help,
    // even if Groq or Gemini calls the error a rate limit.
    Some(413) => InvalidRequest;
    // OpenRouter's moderation and an unsupported country have the status 403, but another API key
    // does not help.
    _ => InvalidRequest
        words "request_too_large invalid_prompt bio_policy data_residency_mismatch \
        DataInspectionFailed MiniMax:1026 MiniMax:1027 MiniMax:1042 OpenRouter:moderation \
        unsupported_country_region_territory";
    // DashScope uses the same code for the free quota and for a rate limit.
    _ => Quota words "Throttling*" phrases "free allocated quota exceeded";
    // Google's error for a daily quota has the same words as its error for a limit per minute,
    // except for the quota id. MiniMax's 2056 and Z.ai's last four numbers are limits of a plan,
    // which last for hours.
    _ => Quota
        words "insufficient_quota exceeded_current_quota_error insufficient_balance_error \
        credit_balance_exhausted billing_error billing_hard_limit_reached Arrearage \
        AllocationQuota* Google:day MiniMax:1008 MiniMax:2056 Z.ai:1113 Z.ai:1304 Z.ai:1308 \
        Z.ai:1309 Z.ai:1310";
    _ => Auth
        words "authentication_error permission_error invalid_api_key API_KEY_INVALID \
        PERMISSION_DENIED UNAUTHENTICATED InvalidApiKey MiniMax:1004 MiniMax:2049 Z.ai:1000 \
        Z.ai:1001 Z.ai:1002 Z.ai:1003 Z.ai:1004 Z.ai:1110 Z.ai:1111 Z.ai:1112 Z.ai:1121 \
        Z.ai:1220 Z.ai:1311";
    _ => RateLimited
        words "rate_limit_error rate_limit_exceeded rate_limited RESOURCE_EXHAUSTED \
        too_many_requests limit_requests Throttling* MiniMax:1002 MiniMax:1039 MiniMax:1041 \
        MiniMax:2045 Z.ai:1302 Z.ai:1303 Z.ai:1305";
    _ => Overloaded
        words "overloaded_error overloaded UNAVAILABLE server_is_overloaded slow_down Z.ai:1312";
    _ => NotFound
        words "not_found_error resource_not_found_error NOT_FOUND model_not_found \
        model_not_available invalid_model ModelNotFound Z.ai:1211 Z.ai:1221 Z.ai:1222";
    // The last two phrases are from Kimi's coding plan and from gateways of Azure.
    None | Some(400 | 403 | 422 | 429) => Quota
        phrases "credit balance is too low; exceeded your current quota; \
        free allocated quota exceeded; insufficient balance; 余额不足; used all available credits; \
        any credits or licenses; run out of credits; reached your usage limit; \
        out of call volume quota";
    // MiniMax puts its error number into the message if the request uses another vendor's protocol.
    _ => Quota phrases "insufficient balance (1008)";
    // xAI uses the same code for an API key without permission.
    None | Some(403) => InvalidRequest phrases "content violates usage guidelines";
    Some(402) => Quota;
    Some(401 | 403) => Auth;
    Some(404) => NotFound;
    // A lock or a queue at the provider timed out, so a retry may succeed.
    Some(408 | 409) => Server;
    Some(429) => RateLimited;
    Some(503 | 529) => Overloaded;
    // From here on, the status says only that the request failed.
    None | Some(400 | 422) => Auth phrases "incorrect api key";
    None | Some(400 | 422) => ContextLength phrases TOO_LONG;
    // OpenRouter, DeepSeek, xAI, Z.ai and Xiaomi send the status 400 for an unknown model.
    None | Some(400 | 422) => NotFound
        phrases "is not a valid model id; model not exist; not supported model; \
        supported api model names are; model not found:; modelcode: does not exist";
    _ => InvalidRequest
        words "invalid_request_error invalid_parameter_error bad_request_error INVALID_ARGUMENT \
        FAILED_PRECONDITION InvalidParameter* MiniMax:2013 Z.ai:121* Z.ai:130*";
    // OpenAI has a dozen codes for an unusable image, such as `invalid_base64_image`. This row is
    // for streams only: with a status, the code may also mean that an image service failed.
    None => InvalidRequest words "*image*";
    Some(400..500) => InvalidRequest;
}

/// Returns the kind of an error. `said` is the part of the message that consists of the server's
/// own words.
fn kind(status: Option<u16>, words: &[Option<&str>], said: &str) -> ErrorKind {
    let row = KINDS.iter().find(|row| {
        let mut known = row.words.split_whitespace();
        let mut phrases = row.phrases.split("; ");
        (row.status)(status)
            && (row.words.is_empty()
                || known.any(|known| words.iter().flatten().any(|word| is_word(known, word))))
            && (row.phrases.is_empty() || phrases.any(|phrase| said.contains(phrase)))
    });
    row.map_or(ErrorKind::Server, |row| row.kind)
}

/// Returns whether a word matches an entry of the table.
fn is_word(known: &str, word: &str) -> bool {
    match (known.strip_prefix('*'), known.strip_suffix('*')) {
        (Some(_), _) => word.contains(known.trim_matches('*')),
        (None, Some(beginning)) => word.starts_with(beginning),
        (None, None) => word == known,
    }
}

/// Returns a message for a body that is not JSON: the title of a web page, or else the beginning of
/// the body.
fn plain(body: &str) -> String {
    let lower = body.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        let length = lower.get(start..)?.find("</title>")?;
        body.get(start..start + length)
    });
    title.unwrap_or_else(|| truncated(body, 200)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: impl Into<Option<u16>>, body: &str) -> Error {
        api_error(LlmProvider::Local, status.into(), body)
    }

    const GEMINI_MINUTE: &str = r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier","quotaValue":"10"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"}]}}"#;
    const GEMINI_DAY: &str = r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier"},{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36s"}]}}"#;

    /// The bodies use the words of the vendors' documentation and of public reports.
    #[test]
    fn every_vendors_words_have_their_kind() {
        use ErrorKind::*;
        for (vendor, status, body, kind) in [
            ("OpenAI", 429, r#"{"error":{"code":"insufficient_quota","message":"x"}}"#, Quota),
            (
                "OpenAI",
                429,
                r#"{"error":{"type":"tokens","code":"rate_limit_exceeded"}}"#,
                RateLimited,
            ),
            ("OpenAI", 400, r#"{"error":{"code":"model_not_found"}}"#, NotFound),
            ("OpenAI", 400, r#"{"error":{"code":"invalid_image_url"}}"#, InvalidRequest),
            ("OpenAI", 200, r#"{"error":{"code":"invalid_image_url"}}"#, InvalidRequest),
            ("OpenAI", 503, r#"{"error":{"code":"slow_down"}}"#, Overloaded),
            ("Anthropic", 413, r#"{"error":{"type":"request_too_large"}}"#, InvalidRequest),
            ("Anthropic", 200, r#"{"error":{"type":"request_too_large"}}"#, InvalidRequest),
            ("Anthropic", 200, r#"{"error":{"type":"overloaded_error"}}"#, Overloaded),
            ("Anthropic", 400, r#"{"error":{"message":"Your credit balance is too low"}}"#, Quota),
            (
                "Gemini",
                413,
                r#"{"error":{"code":413,"status":"RESOURCE_EXHAUSTED"}}"#,
                InvalidRequest,
            ),
            (
                "Gemini",
                200,
                r#"{"error":{"code":413,"status":"RESOURCE_EXHAUSTED"}}"#,
                InvalidRequest,
            ),
            ("Gemini", 429, r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#, RateLimited),
            ("Gemini", 400, r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#, Auth),
            (
                "Groq",
                413,
                r#"{"error":{"type":"tokens","code":"rate_limit_exceeded"}}"#,
                InvalidRequest,
            ),
            (
                "Cerebras",
                429,
                r#"{"message":"Tokens per minute limit exceeded - too many tokens processed."}"#,
                RateLimited,
            ),
            ("Cerebras", 200, r#"{"error":{"message":"x"},"status_code":429}"#, RateLimited),
            (
                "Cohere",
                400,
                r#"{"message":"too many tokens: size limit exceeded by 25836 tokens."}"#,
                ContextLength,
            ),
            (
                "Mistral",
                429,
                r#"{"object":"error","type":"rate_limited","code":"1300"}"#,
                RateLimited,
            ),
            (
                "Mistral",
                200,
                r#"{"object":"error","type":"rate_limited","code":"1300"}"#,
                RateLimited,
            ),
            (
                "Mistral",
                400,
                r#"{"object":"error","type":"invalid_model","code":"1500"}"#,
                NotFound,
            ),
            ("Mistral", 500, r#"{"object":"error","type":"x","code":"1113"}"#, Server),
            ("Moonshot", 200, r#"{"error":{"type":"resource_not_found_error"}}"#, NotFound),
            ("Together", 400, r#"{"error":{"code":"model_not_available"}}"#, NotFound),
            (
                "OpenRouter",
                400,
                r#"{"error":{"message":"x/y is not a valid model ID","code":400}}"#,
                NotFound,
            ),
            (
                "OpenRouter",
                200,
                r#"{"error":{"message":"x/y is not a valid model ID","code":400}}"#,
                NotFound,
            ),
            ("OpenRouter", 200, r#"{"error":{"message":"x","code":502}}"#, Server),
            (
                "OpenRouter",
                200,
                r#"{"choices":[{"error":{"message":"x","code":429}}]}"#,
                RateLimited,
            ),
            (
                "DeepSeek",
                400,
                r#"{"error":{"message":"Model Not Exist","code":"invalid_request_error"}}"#,
                NotFound,
            ),
            (
                "DeepSeek",
                400,
                r#"{"error":{"message":"The supported API model names are a or b, but you passed c."}}"#,
                NotFound,
            ),
            (
                "xAI",
                400,
                r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: na***ys."}"#,
                Auth,
            ),
            (
                "xAI",
                400,
                r#"{"code":"Client specified an invalid argument","error":"Model not found: grok-0"}"#,
                NotFound,
            ),
            (
                "xAI",
                400,
                r#"{"code":"Client specified an invalid argument","error":"Argument not supported"}"#,
                InvalidRequest,
            ),
            (
                "xAI",
                403,
                r#"{"code":"permission-denied","error":"Your team x has either used all available credits or reached its monthly spending limit."}"#,
                Quota,
            ),
            (
                "xAI",
                403,
                r#"{"error":"Your newly created team doesn't have any credits or licenses yet."}"#,
                Quota,
            ),
            ("Z.ai", 401, r#"{"error":{"code":"1002","message":"x"}}"#, Auth),
            ("Z.ai", 200, r#"{"error":{"code":"1002","message":"x"}}"#, Auth),
            ("Z.ai", 429, r#"{"error":{"code":"1112","message":"x"}}"#, Auth),
            ("Z.ai", 429, r#"{"error":{"code":"1113","message":"x"}}"#, Quota),
            ("Z.ai", 200, r#"{"error":{"code":"1113","message":"x"}}"#, Quota),
            (
                "Z.ai",
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","code":"1113"}}"#,
                Quota,
            ),
            (
                "Z.ai",
                429,
                r#"{"error":{"message":"Insufficient balance or no resource package."}}"#,
                Quota,
            ),
            ("Z.ai", 400, r#"{"error":{"code":"1211","message":"Unknown Model."}}"#, NotFound),
            (
                "Z.ai",
                400,
                r#"{"error":{"code":"1214","message":"modelCode: does not exist"}}"#,
                NotFound,
            ),
            ("Z.ai", 400, r#"{"error":{"code":"1214","message":"x"}}"#, InvalidRequest),
            ("Z.ai", 200, r#"{"error":{"code":"1214","message":"x"}}"#, InvalidRequest),
            ("Z.ai", 200, r#"{"error":{"code":"1234","message":"Network error."}}"#, Server),
            ("Z.ai", 400, r#"{"error":{"code":"1261","message":"x"}}"#, ContextLength),
            ("Z.ai", 200, r#"{"error":{"code":"1301","message":"x"}}"#, InvalidRequest),
            ("Z.ai", 429, r#"{"error":{"code":"1302","message":"x"}}"#, RateLimited),
            ("Z.ai", 200, r#"{"error":{"code":"1302","message":"x"}}"#, RateLimited),
            ("Z.ai", 200, r#"{"error":{"code":"1303","message":"x"}}"#, RateLimited),
            ("Z.ai", 200, r#"{"error":{"code":"1305","message":"x"}}"#, RateLimited),
            ("Z.ai", 429, r#"{"error":{"code":"1308","message":"x"}}"#, Quota),
            ("Z.ai", 200, r#"{"error":{"code":"1312","message":"x"}}"#, Overloaded),
            (
                "DashScope",
                200,
                r#"{"request_id":"r","code":"Throttling.AllocationQuota","message":"Allocated quota exceeded, raise it."}"#,
                RateLimited,
            ),
            (
                "DashScope",
                200,
                r#"{"request_id":"r","code":"Throttling","message":"x"}"#,
                RateLimited,
            ),
            (
                "DashScope",
                429,
                r#"{"code":"Throttling.AllocationQuota","message":"Free allocated quota exceeded."}"#,
                Quota,
            ),
            ("DashScope", 403, r#"{"error":{"type":"AllocationQuota.FreeTierOnly"}}"#, Quota),
            ("DashScope", 400, r#"{"code":"Arrearage","message":"x"}"#, Quota),
            ("DashScope", 200, r#"{"code":"InvalidApiKey","message":"x"}"#, Auth),
            ("DashScope", 200, r#"{"code":"ModelNotFound","message":"x"}"#, NotFound),
            ("DashScope", 200, r#"{"code":"DataInspectionFailed","message":"x"}"#, InvalidRequest),
            (
                "DashScope",
                400,
                r#"{"code":"InvalidParameter","message":"Range of input length should be [1, 9]"}"#,
                ContextLength,
            ),
            ("MiniMax", 200, r#"{"base_resp":{"status_code":1000,"status_msg":"x"}}"#, Server),
            ("MiniMax", 200, r#"{"base_resp":{"status_code":1002,"status_msg":"x"}}"#, RateLimited),
            ("MiniMax", 200, r#"{"base_resp":{"status_code":1004,"status_msg":"x"}}"#, Auth),
            ("MiniMax", 200, r#"{"base_resp":{"status_code":1008,"status_msg":"x"}}"#, Quota),
            (
                "MiniMax",
                200,
                r#"{"base_resp":{"status_code":1027,"status_msg":"x"}}"#,
                InvalidRequest,
            ),
            ("MiniMax", 200, r#"{"base_resp":{"status_code":1039,"status_msg":"x"}}"#, RateLimited),
            (
                "MiniMax",
                200,
                r#"{"base_resp":{"status_code":2013,"status_msg":"x"}}"#,
                InvalidRequest,
            ),
            ("MiniMax", 200, r#"{"base_resp":{"status_code":2049,"status_msg":"x"}}"#, Auth),
            ("MiniMax", 200, r#"{"base_resp":{"status_code":2056,"status_msg":"x"}}"#, Quota),
            (
                "MiniMax",
                500,
                r#"{"error":{"type":"api_error","message":"insufficient balance (1008)"}}"#,
                Quota,
            ),
            (
                "MiniMax",
                429,
                r#"{"error":{"type":"insufficient_balance_error","http_code":"429"}}"#,
                Quota,
            ),
            ("a code that is no status", 200, r#"{"error":{"code":700,"message":"x"}}"#, Server),
            ("a code that is no status", 200, r#"{"error":{"code":5007,"message":"x"}}"#, Server),
            ("a code that is no status", 200, r#"{"error":{"code":5,"message":"x"}}"#, Server),
            (
                "Xiaomi",
                400,
                r#"{"error":{"message":"Param Incorrect","param":"Not supported model x"}}"#,
                NotFound,
            ),
            (
                "Moonshot",
                429,
                r#"{"error":{"message":"Your account x is suspended","type":"exceeded_current_quota_error"}}"#,
                Quota,
            ),
            (
                "Moonshot",
                403,
                r#"{"error":{"message":"Not active","type":"exceeded_current_quota_error"}}"#,
                Quota,
            ),
            (
                "Kimi Code",
                403,
                r#"{"error":{"message":"You've reached your usage limit for this billing cycle."}}"#,
                Quota,
            ),
            ("Gemini", 429, GEMINI_MINUTE, RateLimited),
            ("Gemini", 200, GEMINI_MINUTE, RateLimited),
            ("Gemini", 429, GEMINI_DAY, Quota),
            ("Gemini", 200, GEMINI_DAY, Quota),
            (
                "Gemini",
                429,
                r#"[{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED"}}]"#,
                RateLimited,
            ),
            (
                "OpenRouter",
                403,
                r#"{"error":{"message":"Your input was flagged","code":403,"metadata":{"reasons":["violence"],"flagged_input":"x"}}}"#,
                InvalidRequest,
            ),
            (
                "OpenRouter",
                200,
                r#"{"error":{"message":"x","code":403,"metadata":{"flagged_input":"x"}}}"#,
                InvalidRequest,
            ),
            (
                "OpenRouter",
                400,
                r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}}"}}}"#,
                ContextLength,
            ),
            (
                "xAI",
                403,
                r#"{"code":"The caller does not have permission to execute the specified operation","error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}"#,
                InvalidRequest,
            ),
            ("xAI", 403, r#"{"code":"permission-denied","error":"Access denied"}"#, Auth),
            (
                "OpenAI",
                403,
                r#"{"error":{"code":"unsupported_country_region_territory","type":"request_forbidden"}}"#,
                InvalidRequest,
            ),
            // A quotation in a message and an ambiguous word count less than a type or a status.
            (
                "OpenAI",
                400,
                r#"{"error":{"message":"'What is the model's context window?' was flagged","type":"invalid_request_error","code":"invalid_prompt"}}"#,
                InvalidRequest,
            ),
            (
                "OpenAI",
                400,
                r#"{"error":{"message":"Invalid value: \"my credit balance is too low\".","type":"invalid_request_error"}}"#,
                InvalidRequest,
            ),
            (
                "OpenAI",
                400,
                r#"{"error":{"message":"'max_tokens' is too large. This model's maximum context length is 9"}}"#,
                ContextLength,
            ),
            ("Ollama", 404, r#"{"error":"model 'context length tester' not found"}"#, NotFound),
            (
                "Ollama",
                500,
                r#"{"error":"failed to allocate KV cache for context size 131072"}"#,
                Server,
            ),
            (
                "Anthropic",
                429,
                r#"{"error":{"type":"rate_limit_error","message":"Too many long context window requests"}}"#,
                RateLimited,
            ),
            (
                "Anthropic",
                200,
                r#"{"error":{"type":"rate_limit_error","message":"Too many long context window requests"}}"#,
                RateLimited,
            ),
            (
                "a gateway",
                503,
                r#"{"error":{"message":"insufficient balance between replicas","type":"server_error"}}"#,
                Overloaded,
            ),
            ("OpenAI", 500, r#"{"error":{"code":"image_service_unavailable"}}"#, Server),
            ("OpenAI", 500, r#"{"error":{"type":"invalid_request_error"}}"#, InvalidRequest),
            ("nobody", 204, "", Decode),
            ("nobody", 600, "", InvalidRequest),
        ] {
            let status = (status != 200).then_some(status);
            assert_eq!(told(status, body).kind(), kind, "{vendor}, {status:?}: {body}");
        }
    }

    #[test]
    fn every_form_gives_its_message_code_type_and_id() {
        for (body, message, code, kind, id) in [
            (
                r#"{"id":"","choices":null,"usage":{"total_tokens":0},"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
                "insufficient balance",
                "1008",
                "",
                "",
            ),
            (
                r#"{"message":"told beside","base_resp":{"status_code":0,"status_msg":""}}"#,
                "told beside",
                "",
                "",
                "",
            ),
            (
                r#"{"request_id":"r-1","code":"Throttling.AllocationQuota","message":"Raise it."}"#,
                "Raise it.",
                "Throttling.AllocationQuota",
                "",
                "r-1",
            ),
            (
                r#"{"id":"gen","choices":[{"index":0,"finish_reason":"error","error":{"code":502,"message":"Gone"}}]}"#,
                "Gone",
                "502",
                "",
                "",
            ),
            (r#"{"choices":[],"x_groq":{"error":"over capacity"}}"#, "over capacity", "", "", ""),
            (r#"{"error":{"message":"bad \ud83d","code":"c"}}"#, "bad \u{fffd}", "c", "", ""),
            (r#"{"code":"permission-denied","error":"No."}"#, "No.", "permission-denied", "", ""),
            (
                "event: error\r\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\r\ndata: \"message\":\"Busy\"},\"request_id\":\"r\"}\r\n\r\n",
                "Busy",
                "",
                "overloaded_error",
                "r",
            ),
            (
                "id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"request_id\":\"r-1\",\"code\":\"Throttling.AllocationQuota\",\"message\":\"Raise it.\"}\n",
                "Raise it.",
                "Throttling.AllocationQuota",
                "",
                "r-1",
            ),
            (": ping\n\ndata: {\"error\":{\"message\":\"cut\"}}", "cut", "", "", ""),
            (
                "error: {\"code\":500,\"message\":\"old llama.cpp\"}\n",
                "old llama.cpp",
                "500",
                "",
                "",
            ),
            ("event: error\ndata: no JSON\n\n", "event: error data: no JSON", "", "", ""),
        ] {
            let error = told(500, body);
            let report = error.report().unwrap();
            let seen = [&report.code, &report.error_type, &report.request_id];
            let seen = seen.map(|field| field.as_deref().unwrap_or_default());
            assert_eq!((error.message(), seen), (message, [code, kind, id]), "{body}");
            assert_eq!(error.body(), Some(body));
        }
    }

    #[test]
    fn geminis_delay_is_kept() {
        assert_eq!(told(429, GEMINI_MINUTE).retry_after(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn what_a_message_quotes_is_not_its_own() {
        for (message, own) in [
            ("Model's 'a b' isn't here", "model's isn't here"),
            ("'What's the model's window?' was flagged", "was flagged"),
            ("Got \"x\", `y` and \u{201c}z\u{201d}.", "got , and ."),
            ("5\" is not 'closed", "5\" is not 'closed"),
            ("\u{e9}'a' 'b", "\u{e9}'a' 'b"),
            ("", ""),
        ] {
            assert_eq!(without_quotations(message), own, "{message}");
        }
        let many = " 'a".repeat(20_000);
        assert_eq!(without_quotations(&many), many.trim());
    }

    /// An error number has the meaning that its own vendor gives it. Other vendors use the same
    /// number for other errors.
    #[test]
    fn numbers_have_their_vendor() {
        let body = r#"{"error":{"code":"1113","message":"x"}}"#;
        for &provider in LlmProvider::ALL {
            let error = api_error(provider, Some(400), body);
            use LlmProvider::{LlamaCpp, LmStudio, Local, Zai, Zhipu};
            let may_be_zai = matches!(provider, Local | LlamaCpp | LmStudio | Zai | Zhipu);
            let kind = if may_be_zai { ErrorKind::Quota } else { ErrorKind::InvalidRequest };
            assert_eq!(error.kind(), kind, "{provider}");
        }
        let mistral = r#"{"message":"x","type":"invalid_request","code":"1113"}"#;
        assert_eq!(told(400, mistral).kind(), ErrorKind::InvalidRequest);
    }

    /// Servers repeat a long prompt in the error about it.
    #[test]
    fn a_long_error_is_read_to_its_end() {
        let prompt = "word \\n".repeat(20_000);
        let body = format!(
            r#"{{"input":"{prompt}","error":{{"message":"no money: {prompt}","code":"insufficient_quota"}},"request_id":"r"}}"#
        );
        let events = std::io::Cursor::new(format!("data: {body}\n\n"));
        let config = crate::GenerationConfig::new("local::m");
        let mut stream = crate::GenerationStream::from_reader(events, config);
        let within = stream.next().unwrap().unwrap_err();
        for error in [&told(429, &body), Error::of(&within).unwrap()] {
            assert_eq!(error.kind(), ErrorKind::Quota);
            assert_eq!(error.code(), Some("insufficient_quota"));
            assert_eq!(error.request_id(), Some("r"));
            assert!(error.message().starts_with("no money: word"));
            assert!(error.message().len() <= 1000);
            let kept = error.body().unwrap();
            assert!(body.starts_with(kept) && kept.len() == MAX_BODY);
        }
    }

    /// A program that repairs or shows the model's failed output needs all of it.
    #[test]
    fn groqs_failed_generation_is_in_the_body() {
        let written = "[\n  {\"name\": \"add\"}\n]".repeat(500);
        let body = serde_json::json!({"error": {
            "message": "Failed to call a function.", "type": "invalid_request_error",
            "code": "tool_use_failed", "failed_generation": written,
        }});
        let error = told(400, &body.to_string());
        let kept: serde_json::Value = serde_json::from_str(error.body().unwrap()).unwrap();
        assert_eq!(kept["error"]["failed_generation"], *written);
        assert_eq!(error.message(), "Failed to call a function.");
    }
}
