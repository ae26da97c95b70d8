//! Builds the headers of a request: the protocol's and the vendor's, the API key, and the caller's
//! own.

use ::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, KeySource};
use crate::http::MAX_LINE;
use crate::protocol::{self, ChatRequest};

/// The headers of a request, and the secrets in the request.
pub(super) struct Credentials {
    /// Secret values are marked as sensitive.
    pub(super) headers: HeaderMap,
    /// Texts that have to be redacted in messages.
    pub(super) secrets: Vec<String>,
    pub(super) key_source: KeySource,
}

/// Headers that authenticate a request. If the caller sets one of them, no API key is needed.
const CREDENTIAL_HEADERS: &str =
    "authorization proxy-authorization x-api-key api-key x-goog-api-key cookie";

/// Word endings that mark the name of a header or a query field as a credential, as in `accesskey`.
const CREDENTIAL_ENDINGS: &str = "key token secret password passwd passphrase credential \
    credentials signature auth authorization authentication cookie jwt";
/// Whole words that mark a credential. As endings they would also match words such as `bypass`.
const CREDENTIAL_WORDS: [&str; 3] = ["pass", "pwd", "sig"];

/// Headers that control how the request is sent. The caller must not set them.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "expect"];

pub(super) fn credentials(
    request: ChatRequest<'_>,
    endpoint: &Endpoint,
) -> Result<Credentials, Error> {
    let codec = protocol::codec(request.protocol);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    for (name, value) in codec.headers {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    for (name, variable) in request.provider.vendor().header_variables {
        if let Some(value) = request.config.environment.get(variable) {
            headers.insert(*name, header_value(request, name, &value)?);
        }
    }
    let mut secrets: Vec<_> = endpoint
        .query_fields()
        // Azure Functions has its key in the query field `code`.
        .filter(|(name, _)| is_credential_name(name) || name.eq_ignore_ascii_case("code"))
        .map(|(_, value)| value.to_owned())
        .collect();
    let mut key_source = KeySource::NoKey;
    if let Some((key, source)) = key(request)? {
        let vendor = request.provider.vendor();
        let tokens = vendor.bearer_variables;
        let is_bearer =
            tokens.contains(&source) || (!tokens.is_empty() && tokens == vendor.key_variables);
        let (name, prefix) = if is_bearer { ("authorization", "Bearer ") } else { codec.auth };
        headers.insert(name, header_value(request, name, &format!("{prefix}{key}"))?);
        secrets.push(key);
        key_source = KeySource::From(source.to_owned());
    }
    let mut given = Vec::new();
    for (name, value) in &request.config.headers {
        let name = header_name(request, name)?;
        let value = header_value(request, name.as_str(), value.trim())?;
        if given.contains(&name) {
            return Err(request.refuse(format!("the header {name} is set twice; set it once")));
        }
        if is_credential_name(name.as_str()) {
            let text = value.to_str().unwrap_or_default();
            secrets.extend(text.split_whitespace().map(str::to_owned));
            key_source = KeySource::From(format!("the header {name}"));
        }
        given.push(name.clone());
        headers
            .try_insert(name, value)
            .map_err(|_| request.refuse("there are too many headers"))?;
    }
    secrets.retain(|secret| !secret.is_empty());
    Ok(Credentials { headers, secrets, key_source })
}

fn header_name(request: ChatRequest<'_>, name: &str) -> Result<HeaderName, Error> {
    let parsed = HeaderName::from_bytes(name.trim().as_bytes());
    let name =
        parsed.map_err(|_| request.refuse(format!("{name:?} is not a valid header name")))?;
    if FRAMING.contains(&name.as_str()) {
        return Err(request.refuse(format!("the header {name} cannot be set")));
    }
    Ok(name)
}

/// Parses a header value and marks it as sensitive, since it may be a key.
fn header_value(request: ChatRequest<'_>, name: &str, value: &str) -> Result<HeaderValue, Error> {
    let parsed = HeaderValue::from_str(value).ok().filter(|_| value.is_ascii());
    let mut value = parsed.ok_or_else(|| {
        request.refuse(format!(
            "the value of the header {name} has a character that a header cannot have, such as a line \
             break or a non-ASCII character; if it is a key, copy it again"
        ))
    })?;
    // The last header is written together with the blank line that follows it.
    let room = MAX_LINE - ": \r\n\r\n".len();
    if name.len() + value.len() > room {
        let problem = format!("is too long: name and value may have {room} bytes together");
        return Err(request.refuse(format!("the header {name} {problem}")));
    }
    value.set_sensitive(true);
    Ok(value)
}

/// Returns whether the name of a header or a query field suggests a credential. A fixed list is not
/// enough: gateways use their own names, such as `cf-aig-authorization` and
/// `Ocp-Apim-Subscription-Key`.
fn is_credential_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // An idempotency key identifies one request and is no secret.
    name != "idempotency-key"
        && name.split(['-', '_', '.']).any(|word| {
            CREDENTIAL_WORDS.contains(&word)
                || CREDENTIAL_ENDINGS.split_whitespace().any(|ending| word.ends_with(ending))
        })
}

/// Returns the API key and its source: the option `api_key`, or else the first of the provider's
/// variables that is set. An empty option means no key, and the variables are not read.
fn key(request: ChatRequest<'_>) -> Result<Option<(String, &'static str)>, Error> {
    let ChatRequest { provider, config, .. } = request;
    let vendor = provider.vendor();
    let given = config.api_key.as_ref().map(|key| (key.trim().to_owned(), "the option `api_key`"));
    let is_empty = given.as_ref().is_some_and(|(key, _)| key.is_empty());
    let mut variables = vendor.key_variables.iter();
    let found =
        given.or_else(|| variables.find_map(|name| Some((config.environment.get(name)?, *name))));
    let problem = match found.filter(|(key, _)| !key.is_empty()) {
        Some((key, source)) if !key.bytes().all(|b| b.is_ascii_graphic()) => format!(
            "the API key (from {source}) has characters that an API key cannot have (a line break, a space or \
             a non-ASCII character); copy it again"
        ),
        Some(found) => return Ok(Some(found)),
        None if !vendor.key_required || brings_credentials(request) => return Ok(None),
        None => {
            let names = vendor.key_variables.join(" or ");
            match (names.as_str(), is_empty) {
                ("", _) => "there is no API key; set the option `api_key`".to_owned(),
                (_, false) => {
                    format!("there is no API key; set {names}, or the option `api_key`")
                }
                (_, true) => format!(
                    "there is no API key: the option `api_key` is empty; set it, or leave it out and \
                     set {names}"
                ),
            }
        }
    };
    Err(Error::new(ErrorKind::Auth, provider, problem))
}

/// Returns whether the caller's own headers authenticate the request.
fn brings_credentials(request: ChatRequest<'_>) -> bool {
    let mut names = request.config.headers.iter().map(|(name, _)| name.trim().to_ascii_lowercase());
    names.any(|name| CREDENTIAL_HEADERS.split_whitespace().any(|known| known == name))
}
