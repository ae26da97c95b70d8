//! The headers of a request: who asks, with which key, and what the caller adds.

use ::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, KeySource};
use crate::http::MAX_LINE;
use crate::protocol::{self, ChatRequest};

/// All headers of a request, and which of its texts nobody may see.
pub(super) struct Credentials {
    /// Values that must not be shown are marked as sensitive.
    pub(super) headers: HeaderMap,
    pub(super) secrets: Vec<String>,
    pub(super) key_source: KeySource,
}

/// Headers with which a caller proves to a provider who is asking: those of all protocols, and more.
const CREDENTIAL_HEADERS: &str =
    "authorization proxy-authorization x-api-key api-key x-goog-api-key cookie";

/// Words that name a key in the names of headers and of a query's fields. They may also end a word,
/// as in `accesskey`.
const CREDENTIAL_ENDINGS: &str = "key token secret password passwd passphrase credential \
    credentials signature auth authorization authentication cookie jwt";
/// The same for words that end many others, such as `bypass`.
const CREDENTIAL_WORDS: [&str; 3] = ["pass", "pwd", "sig"];

/// Headers that say how the message is framed, which is not the caller's to say.
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
        // Azure Functions calls its key `code`.
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
        parsed.map_err(|_| request.refuse(format!("{name:?} cannot be the name of a header")))?;
    if FRAMING.contains(&name.as_str()) {
        return Err(request.refuse(format!("the header {name} cannot be set")));
    }
    Ok(name)
}

/// A value as it is sent. It is never shown, since it may be a key.
fn header_value(request: ChatRequest<'_>, name: &str, value: &str) -> Result<HeaderValue, Error> {
    let parsed = HeaderValue::from_str(value).ok().filter(|_| value.is_ascii());
    let mut value = parsed.ok_or_else(|| {
        request.refuse(format!(
            "the value of the header {name} has a character that no header may have, such as a line \
             break or a non-ASCII character; if it is a key, copy it again"
        ))
    })?;
    // The blank line behind the last one goes with it.
    let room = MAX_LINE - ": \r\n\r\n".len();
    if name.len() + value.len() > room {
        let problem = format!("is too long: with its name it may have {room} bytes");
        return Err(request.refuse(format!("the header {name} {problem}")));
    }
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a header or a field of a query carries a key, as far as its name tells: gateways have
/// names of their own, such as `cf-aig-authorization` and `Ocp-Apim-Subscription-Key`.
fn is_credential_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // This one is made up for each request.
    name != "idempotency-key"
        && name.split(['-', '_', '.']).any(|word| {
            CREDENTIAL_WORDS.contains(&word)
                || CREDENTIAL_ENDINGS.split_whitespace().any(|ending| word.ends_with(ending))
        })
}

/// The key and where it is from: the configuration, or else the provider's variables.
fn key(request: ChatRequest<'_>) -> Result<Option<(String, &'static str)>, Error> {
    let ChatRequest { provider, config, .. } = request;
    let vendor = provider.vendor();
    let given = config.api_key.as_ref().map(|key| (key.trim().to_owned(), "the option `api_key`"));
    let mut variables = vendor.key_variables.iter();
    let found =
        given.or_else(|| variables.find_map(|name| Some((config.environment.get(name)?, *name))));
    let problem = match found.filter(|(key, _)| !key.is_empty()) {
        Some((key, source)) if !key.bytes().all(|b| b.is_ascii_graphic()) => format!(
            "the API key (from {source}) has characters that no key has (a line break, a blank or \
             a non-ASCII character); copy it again"
        ),
        Some(found) => return Ok(Some(found)),
        None if !vendor.key_required || brings_credentials(request) => return Ok(None),
        None => {
            let names = vendor.key_variables.join(" or ");
            let names = if names.is_empty() { names } else { names + ", or " };
            format!("there is no API key; set {names}the option `api_key`")
        }
    };
    Err(Error::new(ErrorKind::Auth, provider, problem))
}

/// Whether the caller's own headers prove who is asking.
fn brings_credentials(request: ChatRequest<'_>) -> bool {
    let mut names = request.config.headers.iter().map(|(name, _)| name.trim().to_ascii_lowercase());
    names.any(|name| CREDENTIAL_HEADERS.split_whitespace().any(|known| known == name))
}
