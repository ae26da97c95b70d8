//! Sends one request over HTTP and returns its response.
//!
//! Only this folder uses ureq. It needs ureq's `unversioned` interface, which may change in a minor
//! release.
//!
//! [`send`] makes one attempt. It does not follow redirects, and it returns every failure as an
//! error with a message of one line. A response has a [`Body`] to read. If the body is read to its
//! end, the connection can serve the next request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{HeaderMap, HeaderValue};
use ::http::{Request, Response, response};

use crate::cancel::CancelHandle;
use crate::endpoint::{self, Endpoint};
use crate::error::Error;
use crate::protocol::api_error;
use crate::provider::Protocol;
use crate::redact::{Secrets, one_line, truncated};

mod body;
mod connector;
mod control;
mod dial;
mod error;
mod fault;
mod pool;
mod proxy;
mod retry_after;
mod socks;
mod tcp;
#[cfg_attr(not(feature = "rustls"), path = "no_tls.rs")]
mod tls;
mod transport;

pub(crate) use body::Body;
use body::HttpBody;
pub(crate) use control::Limits;
use control::deadline_in;
pub(crate) use error::{Peer, stalled};
use pool::Connection;
pub(crate) use pool::{ConnectionSettings, MAX_LINE};
use retry_after::retry_after;

/// The maximum time for reading the body of an error response.
const ERROR_TIME: Duration = Duration::from_secs(5);
/// The maximum length in bytes of a header value that is kept for the caller.
const MAX_HEADER: usize = 256;

/// The headers in which providers send the request id that their support asks for. The first one
/// that is present is used.
const REQUEST_IDS: &str = "x-request-id request-id mistral-correlation-id apim-request-id \
    x-amzn-requestid x-goog-request-id x-ms-request-id x-debug-trace-id x-generation-id x-trace-id \
    cf-ray";

/// A validated request. It can be sent any number of times, and nothing in it is parsed again.
pub(crate) struct PreparedRequest {
    pub(crate) protocol: Protocol,
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The API keys and other secrets. They are redacted in errors and headers from the server, not in
    /// the answer itself.
    pub(crate) secrets: Secrets,
    pub(crate) connection: ConnectionSettings,
    pub(crate) peer: Arc<Peer>,
}

/// A response with status 200.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) request_id: Option<String>,
    /// The rate-limit headers by name, in lower case.
    pub(crate) rate_limit: BTreeMap<String, String>,
    pub(crate) body: Body,
}

/// Sends a request and waits for the response headers.
///
/// This is one attempt. If a pooled connection turns out to be stale, the request is sent once more
/// over a new connection. That does not count as a retry, because the server had most likely closed
/// the idle connection before it read the request.
pub(crate) fn send(
    request: &PreparedRequest,
    cancel: &CancelHandle,
) -> Result<HttpResponse, Error> {
    let PreparedRequest { connection: settings, peer, .. } = request;
    if cancel.is_cancelled() {
        return Err(Error::cancelled(peer.provider));
    }
    let mut connection = pool::checkout(settings).unwrap_or_else(|| Connection::new(settings));
    let mut is_second = false;
    loop {
        connection.control.begin_request(peer.limits);
        let control = Arc::downgrade(&connection.control);
        cancel.attach(control);
        log::debug!("POST to {}", peer.address);
        match connection.agent.run(wire_form(request)) {
            Ok(response) => return receive(response, connection, request, cancel),
            Err(_) if cancel.is_cancelled() => return Err(Error::cancelled(peer.provider)),
            Err(error) if !is_second && connection.is_stale(&error) => {
                log::debug!("the connection to {} is stale; opening a new one", peer.address);
                connection = Connection::new(settings);
                is_second = true;
            }
            Err(error) => return Err(peer.no_response(error, &connection)),
        }
    }
}

/// Converts the request to the type that ureq sends.
fn wire_form(request: &PreparedRequest) -> Request<&[u8]> {
    let mut form = Request::new(request.body.as_slice());
    *form.method_mut() = ::http::Method::POST;
    *form.uri_mut() = request.endpoint.uri.clone();
    *form.headers_mut() = request.headers.clone();
    form
}

/// Returns the response if it can be read as a stream, and otherwise its error. The status and the
/// headers decide.
fn receive(
    response: Response<ureq::Body>,
    connection: Connection,
    request: &PreparedRequest,
    cancel: &CancelHandle,
) -> Result<HttpResponse, Error> {
    let PreparedRequest { secrets, peer, .. } = request;
    let (parts, body) = response.into_parts();
    let mut body = Body::of_connection(HttpBody {
        reader: body.into_reader(),
        connection: Some(connection),
        cancel: cancel.clone(),
        peer: Arc::clone(peer),
    });
    let clean = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        truncated(&one_line(&secrets.redact(&text)), MAX_HEADER).to_owned()
    };
    let headers = &parts.headers;
    let request_id = REQUEST_IDS.split_whitespace().find_map(|name| headers.get(name)).map(clean);
    // A server may repeat the API key in a header name, too.
    let is_limit = |name: &str| name.contains("ratelimit") && secrets.redact(name) == name;
    let limits = headers.iter().filter(|(name, _)| is_limit(name.as_str()));
    let rate_limit = limits.map(|(name, value)| (name.to_string(), clean(value))).collect();
    let encoding = encoding(headers).map(clean);
    let mut error = match (parts.status.as_u16(), encoding) {
        (200, None) => return Ok(HttpResponse { request_id, rate_limit, body }),
        (200, Some(encoding)) => {
            let problem = format!("is compressed ({encoding}), which was not requested");
            return Err(peer.undecodable("response", &problem));
        }
        (_, encoding) => refusal(&parts, &mut body, encoding, request)?,
    };
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(report) = error.report_mut() {
        report.retry_after = retry_after(text).or(report.retry_after);
        report.request_id = request_id.or(report.request_id.take());
        report.rate_limit = rate_limit;
    }
    peer.introduce(&mut error);
    // `x-should-retry: false` forbids a retry. `true` does not make an error retryable.
    let is_hopeless = text("x-should-retry").is_some_and(|text| text.trim() == "false");
    Err(if is_hopeless { error.permanent() } else { error })
}

/// Returns the error for a response whose status is not 200.
fn refusal(
    parts: &response::Parts,
    body: &mut Body,
    encoding: Option<String>,
    request: &PreparedRequest,
) -> Result<Error, Error> {
    let PreparedRequest { secrets, peer, .. } = request;
    let status = parts.status.as_u16();
    let text = match (status, &encoding) {
        // These responses have no body, or a useless one: that of a redirect, or an encoded one.
        (101 | 204 | 205 | 300..400, _) | (_, Some(_)) => String::new(),
        _ => body.error_text(deadline_in(ERROR_TIME.min(peer.limits.stall)))?,
    };
    let mut error = api_error(peer.provider, Some(status), &text);
    // Redacts after parsing: JSON can write the characters of a key in several ways, but the parsed
    // text has only one.
    error.map_texts(|text| secrets.redact(text));
    let message = match (status, encoding) {
        (300..400, _) => redirect(&parts.headers, request),
        (100..300, _) => "this is not an event stream; check the base URL".to_owned(),
        (_, Some(encoding)) => format!("the error is compressed ({encoding})"),
        (_, None) => return Ok(error),
    };
    Ok(error.with_message(message))
}

/// Returns the message about a redirect: its target and what to do.
fn redirect(headers: &HeaderMap, request: &PreparedRequest) -> String {
    let location = headers.get("location").and_then(|value| value.to_str().ok());
    let Some(target) = location.and_then(|location| request.endpoint.redirected(location)) else {
        return "a redirect without a valid location; check the base URL".to_owned();
    };
    let target = target.to_string();
    let clean = |url: &str| request.secrets.redact(&one_line(url));
    let advice = match endpoint::without_path(&target, &request.peer.added_path) {
        Some(base) => format!("if that is right, set the base URL to {}", clean(&base)),
        None => "check the base URL".to_owned(),
    };
    format!("a redirect to {}, which was not followed; {advice}", clean(&target))
}

/// Returns the first content encoding that is not `identity`.
fn encoding(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get_all("content-encoding").iter().find(|value| {
        let text = value.as_bytes().trim_ascii();
        !(text.is_empty() || text.eq_ignore_ascii_case(b"identity"))
    })
}

#[cfg(test)]
mod tests;
