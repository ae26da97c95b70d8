//! One request and its answer: the only room, with `transport`, that names ureq.
//!
//! [`send`] makes one attempt. Statuses are data, redirects are not followed, and every failure
//! becomes one clear line. What comes back is a [`Body`] to read, whose connection serves the next
//! request if it is read to its end.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ureq::http::header::{HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Response, Uri};

use crate::cancel::CancelHandle;
use crate::config::{GenerationConfig, without_secrets};
use crate::error::{Error, ErrorKind};
use crate::protocol::{api_error, one_line, truncated};
use crate::provider::LlmProvider;
use crate::redact::Secrets;
use crate::retry;
use control::{Limits, after};
pub(crate) use resolver::bare_host;

mod body;
mod connector;
mod control;
mod error;
mod fault;
mod pool;
mod proxy;
mod resolver;
#[cfg(feature = "rustls")]
mod tls;
mod transport;

pub(crate) use body::Body;
use error::Context;
pub(crate) use error::stalled;
use pool::{Connection, ConnectionSettings};
pub(crate) use proxy::remote_proxy;

/// How long the body of an error is read at most.
const ERROR_TIME: Duration = Duration::from_secs(5);
/// The most that is kept of a header that says something about the answer.
const MAX_HEADER: usize = 256;

/// Where providers say what their support asks for.
const REQUEST_IDS: &[&str] = &[
    "x-request-id",
    "request-id",
    "mistral-correlation-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-goog-request-id",
    "x-ms-request-id",
    "x-debug-trace-id",
    "x-generation-id",
    "x-trace-id",
    "cf-ray",
];

/// A request, ready to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What must not be shown, even if the server sends it back: the keys.
    pub(crate) secrets: Secrets,
}

/// Shows names only: the values are keys and prompts.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.headers.iter().map(|(name, _)| name);
        f.debug_struct("Request")
            .field("url", &without_secrets(&self.url))
            .field("headers", &names.collect::<Vec<_>>())
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An answer whose status is 200.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request_id: Option<String>,
    /// The headers about rate limits, by their names in lower case.
    pub(crate) rate_limit: BTreeMap<String, String>,
    pub(crate) body: Body,
}

/// Sends a request and waits for the head of the answer.
///
/// It is one attempt. Only a connection of an earlier request that turns out to have been closed by
/// the server is replaced by a new one, which is not a retry: nothing was received, so nothing was
/// handed out.
pub(crate) fn send(
    request: &Request,
    provider: LlmProvider,
    config: &GenerationConfig,
    cancel: &CancelHandle,
) -> Result<Answer, Error> {
    let origin = Origin::of(&request.url, provider)?;
    if origin.secure && cfg!(not(feature = "rustls")) {
        let message = "https needs the crate's feature `rustls`";
        return Err(Error::new(ErrorKind::Config, provider, message));
    }
    let headers = headers(request, provider)?;
    let settings = ConnectionSettings::new(&origin, provider, config)?;
    let limits = Limits {
        connect: config.connect_timeout,
        first_byte: config.first_byte_timeout,
        idle: config.idle_timeout,
        stall: config.stall_timeout,
    };
    let proxy = settings.proxy.as_ref();
    let context = Context {
        origin,
        proxy: proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())),
        provider,
        limits,
    };
    if cancel.is_cancelled() {
        return Err(context.cancelled());
    }

    let mut connection = match pool::checkout(&settings) {
        Some(connection) => connection,
        None => Connection::new(settings.clone(), provider)?,
    };
    let mut is_retry = false;
    let response = loop {
        connection.begin(limits, cancel);
        log::debug!("POST to {}", context.origin);
        let mut call = connection.agent.post(&request.url);
        for (name, value) in &headers {
            call = call.header(name, value);
        }
        match call.send(&request.body[..]) {
            Ok(response) => break response,
            Err(_) if cancel.is_cancelled() => return Err(context.cancelled()),
            Err(error) if !is_retry && connection.is_stale(&error) => {
                log::debug!(
                    "the connection to {} is of no more use; opening a new one",
                    context.origin
                );
                connection = Connection::new(settings.clone(), provider)?;
                is_retry = true;
            }
            Err(error) => return Err(context.no_answer(error, &connection)),
        }
    };
    context.answer(response, connection, request, cancel)
}

/// The headers as ureq takes them. A value is never shown: it may be a key.
fn headers(
    request: &Request,
    provider: LlmProvider,
) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let refuse = |message: String| Error::new(ErrorKind::Config, provider, message);
    let mut headers = Vec::with_capacity(request.headers.len() + 1);
    for (name, value) in &request.headers {
        let known = HeaderName::from_bytes(name.as_bytes());
        let name = known.map_err(|_| refuse(format!("{name:?} cannot be the name of a header")))?;
        // How the message is framed is not the caller's to say.
        if ["content-length", "transfer-encoding", "expect"].contains(&name.as_str()) {
            return Err(refuse(format!("the header {name} cannot be set")));
        }
        let ascii = HeaderValue::from_str(value).ok().filter(|_| value.is_ascii());
        let value = ascii.ok_or_else(|| {
            refuse(format!(
                "the value of the header {name} has a character that no header may have, such as a \
                 line break or a letter beyond ASCII; if it is a key, copy it again"
            ))
        })?;
        headers.push((name, value));
    }
    if !headers.iter().any(|(name, _)| name == "content-type") {
        let json = HeaderValue::from_static("application/json");
        headers.push((HeaderName::from_static("content-type"), json));
    }
    Ok(headers)
}

/// Whom a request goes to. `Display` is all that messages show of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    secure: bool,
    /// As the URL has it, an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Origin {
    fn of(url: &str, provider: LlmProvider) -> Result<Self, Error> {
        url.parse::<Uri>().ok().as_ref().and_then(Self::of_uri).ok_or_else(|| {
            let message = "this is no URL; it must look like https://host/path";
            Error::new(ErrorKind::Config, provider, message)
        })
    }

    fn of_uri(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let standard = if secure { 443 } else { 80 };
        // ureq takes a port that is too large for none.
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, text)) if !text.contains(']') => port(text)?,
            _ => standard,
        };
        let host = authority.host().to_ascii_lowercase();
        (!host.is_empty()).then_some(Self { secure, host, port })
    }

    fn bare_host(&self) -> &str {
        bare_host(&self.host)
    }

    fn is_loopback(&self) -> bool {
        is_loopback(self.bare_host())
    }
}

/// A URL's port. Rust reads `+80`, too, which others do not.
pub(crate) fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a host, without brackets, is this machine. TimedResolver below `localhost` are not, nor is what
/// ends in a dot: whose they are may be up to a name server.
pub(crate) fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost",
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Context {
    /// What to make of an answer, by its status and its headers.
    fn answer(
        self,
        response: Response<ureq::Body>,
        connection: Connection,
        request: &Request,
        cancel: &CancelHandle,
    ) -> Result<Answer, Error> {
        let (head, body) = response.into_parts();
        let clean = |value: &HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes());
            truncated(&one_line(&request.secrets.scrub(&text)), MAX_HEADER).to_owned()
        };
        let request_id = REQUEST_IDS.iter().find_map(|name| head.headers.get(*name)).map(clean);
        // A server may put the key into a name, too.
        let is_limit =
            |name: &str| name.contains("ratelimit") && request.secrets.scrub(name) == name;
        let rate_limit = head
            .headers
            .iter()
            .filter(|(name, _)| is_limit(name.as_str()))
            .map(|(name, value)| (name.as_str().to_owned(), clean(value)))
            .collect();
        let encoding = encoding(&head.headers).map(|value| clean(&value));
        let status = head.status.as_u16();
        let mut body =
            Body::of_connection(body.into_reader(), connection, cancel.clone(), self.clone());
        if status == 200 {
            if let Some(encoding) = encoding {
                let message = format!(
                    "the answer of {} is encoded ({encoding}), though that was not asked for",
                    self.origin
                );
                return Err(Error::new(ErrorKind::Decode, self.provider, message));
            }
            return Ok(Answer { request_id, rate_limit, body });
        }

        let text = match status {
            // There is none, or it is of no use.
            101 | 204 | 205 | 300..400 => String::new(),
            _ if encoding.is_some() => String::new(),
            _ => {
                let time = ERROR_TIME.min(self.limits.stall);
                body.error_text(after(time))?
            }
        };
        let mut error = api_error(self.provider, Some(status), &text);
        request.secrets.scrub_error(&mut error);
        let message = match status {
            300..400 => Some(match head.headers.get("location") {
                None => "a redirect that does not say where to".to_owned(),
                Some(location) => match redirect_target(location, &request.secrets) {
                    Some(target) => format!(
                        "a redirect to {target}, which was not followed; if that is right, make \
                             it the base URL"
                    ),
                    None => "a redirect on the same server, which was not followed; check the \
                                 base URL's path"
                        .to_owned(),
                },
            }),
            100..300 => Some("this is no stream; check the base URL".to_owned()),
            _ if text.is_empty() => {
                encoding.map(|encoding| format!("the error is encoded ({encoding})"))
            }
            _ => None,
        };
        if let Some(message) = message {
            error = error.with_message(message);
        }
        let text = |name: &str| head.headers.get(name)?.to_str().ok();
        if let Some(report) = error.report_mut() {
            report.retry_after = retry::asked(text).or(report.retry_after);
            report.request_id = request_id.or(report.request_id.take());
            report.rate_limit = rate_limit;
        }
        // It can forbid another try, but not make one of use.
        let is_hopeless = text("x-should-retry").is_some_and(|text| text.trim() == "false");
        Err(if is_hopeless { error.permanent() } else { error })
    }
}

/// The encodings of the body, where there are any.
fn encoding(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all("content-encoding").iter();
    let is_plain = |value: &&HeaderValue| {
        let text = value.to_str().unwrap_or("?").trim();
        !(text.is_empty() || text.eq_ignore_ascii_case("identity"))
    };
    values.find(is_plain).cloned()
}

/// The origin of a redirect's target; `None` if that is on the same server. The rest of the URL is
/// not shown: it may hold what the request held.
fn redirect_target(location: &HeaderValue, secrets: &Secrets) -> Option<String> {
    let location = location.to_str().ok()?;
    let uri = location.strip_prefix("//").map(|rest| format!("https://{rest}"));
    let uri: Uri = uri.as_deref().unwrap_or(location).parse().ok()?;
    let target = Origin::of_uri(&uri)?;
    let scheme = if target.secure { "https" } else { "http" };
    Some(secrets.scrub(&one_line(&format!("{scheme}://{target}"))))
}

#[cfg(test)]
mod tests;
