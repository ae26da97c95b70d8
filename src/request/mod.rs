//! Prompt and configuration → a request that is ready to be sent.
//!
//! Everything that can be wrong with a request is found here, once: [`prepare`] gives every error
//! that sending would give before it sends anything. A retry sends the same [`PreparedRequest`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::GenerationConfig;
use crate::endpoint::{self, Endpoint};
use crate::error::Error;
use crate::http::{ConnectionSettings, Limits, MAX_LINE, Peer, PreparedRequest};
use crate::message::{Message, MessageRole, Prompt};
use crate::protocol::{self, Adaptation, ChatRequest, Codec};
use crate::provider::LlmProvider;
use crate::redact::Secrets;
use crate::tool::ToolChoice;

mod auth;
mod call_ids;
mod extra;
mod preview;
mod routing;

pub use preview::RequestPreview;
use routing::{NamedBy, Route};
pub(crate) use routing::{route, route_of_reader};

/// Prepares a request, and lists what had to be changed to fit the provider.
pub(crate) fn prepare(
    prompt: &Prompt,
    config: &GenerationConfig,
) -> Result<(PreparedRequest, Vec<Adaptation>), Error> {
    let Route { provider, model, base_url, named_by, protocol } = route(config)?;
    let adaptations = RefCell::default();
    let mut messages = without_foreign_replay(prompt.messages(), provider, &adaptations);
    call_ids::fit(&mut messages, provider, protocol, &adaptations);
    let request = ChatRequest {
        provider,
        protocol,
        model,
        messages: &messages,
        config,
        goes_to_vendor: named_by == NamedBy::Vendor,
        adaptations: &adaptations,
    };
    let body = body(request)?;

    let endpoint = base_url
        .join(&path(request)?)
        .map_err(|problem| request.refuse(format!("the option `path` {problem}")))?;
    if endpoint.uri().to_string().len() + "POST  HTTP/1.1\r\n".len() > MAX_LINE {
        return Err(request.refuse("the URL is too long, with the option `path`"));
    }
    let (full, base) = (endpoint.to_string(), base_url.to_string());
    let added_path = full.strip_prefix(base.trim_end_matches('/')).unwrap_or_default();
    let auth::Credentials { headers, secrets, key_source } = auth::credentials(request, &endpoint)?;
    let connection = ConnectionSettings::new(&endpoint, provider, config)?;
    if !secrets.is_empty() {
        refuse_plain_text(request, &endpoint, named_by, &connection)?;
    }

    let origin = endpoint.origin();
    let peer = Peer {
        provider,
        address: format!("{origin}{}", named_by.suffix()),
        is_public: request.goes_to_vendor,
        added_path: added_path.to_owned(),
        proxy: connection.proxy_name().map(str::to_owned),
        ca_option: connection.ca_option(),
        model: model.to_owned(),
        key_source,
        limits: Limits {
            connect: config.connect_timeout,
            first_byte: config.first_byte_timeout,
            idle: config.idle_timeout,
            stall: config.stall_timeout,
        },
    };
    let request = PreparedRequest {
        protocol,
        endpoint,
        headers,
        body,
        secrets: Secrets::new(secrets),
        connection,
        peer: Arc::new(peer),
    };
    let adaptations = adaptations.into_inner();
    for adaptation in &adaptations {
        log::debug!("{adaptation}");
    }
    Ok((request, adaptations))
}

/// Prepares a request to be looked at.
pub(crate) fn preview(prompt: &Prompt, config: &GenerationConfig) -> Result<RequestPreview, Error> {
    let (request, adaptations) = prepare(prompt, config)?;
    Ok(RequestPreview::new(&request, adaptations))
}

/// The messages without what another provider has attached to its answers: signatures and encrypted
/// thoughts are of use only to the provider that wrote them.
fn without_foreign_replay<'a>(
    messages: &'a [Message],
    provider: LlmProvider,
    adaptations: &RefCell<Vec<Adaptation>>,
) -> Cow<'a, [Message]> {
    let mut messages = Cow::Borrowed(messages);
    for at in 0..messages.len() {
        let Some(replay) = messages.get(at).and_then(|message| message.replay.as_ref()) else {
            continue;
        };
        if replay.provider == provider {
            continue;
        }
        adaptations.borrow_mut().push(Adaptation {
            what: format!("messages[{at}]"),
            asked: format!("an answer in the form of {}", replay.provider),
            sent: "its text and its calls".to_owned(),
            why: format!("{provider} cannot read what another provider signed or encrypted"),
        });
        if let Some(message) = messages.to_mut().get_mut(at) {
            message.replay = None;
        }
    }
    messages
}

fn body(request: ChatRequest<'_>) -> Result<Vec<u8>, Error> {
    let config = request.config;
    if !request.messages.iter().any(says_something) {
        return Err(request.refuse("the prompt is empty"));
    }
    for (option, value) in [
        ("temperature", config.temperature),
        ("top_p", config.top_p),
        ("frequency_penalty", config.frequency_penalty),
        ("presence_penalty", config.presence_penalty),
    ] {
        if value.is_some_and(|value| !value.is_finite()) {
            return Err(request.refuse(format!("the option `{option}` is not a number")));
        }
    }
    refuse_ignored_tool_choice(request)?;
    let mut body = protocol::encode(request)?;
    extra::merge(&mut body, request)?;
    serde_json::to_vec(&body)
        .map_err(|error| request.refuse("the request cannot be written as JSON").caused_by(error))
}

/// A server that ignores which tools may be called would do something else than what is asked.
fn refuse_ignored_tool_choice(request: ChatRequest<'_>) -> Result<(), Error> {
    let kind = match &request.config.tool_choice {
        None | Some(ToolChoice::Auto) => return Ok(()),
        Some(ToolChoice::None) => "none",
        Some(ToolChoice::Required) => "required",
        Some(ToolChoice::Tool(_)) => "tool",
    };
    let ignored = request.provider.vendor().ignored_tool_choices;
    match ignored.iter().find(|(ignored, _)| *ignored == kind) {
        None => Ok(()),
        Some((_, advice)) => Err(request.refuse(format!(
            "{} ignores the option `tool_choice: {kind}`; {advice}",
            request.provider
        ))),
    }
}

/// A result of a tool may be empty.
fn says_something(message: &Message) -> bool {
    let is_empty = message.content.trim().is_empty()
        && message.attachments.is_empty()
        && message.tool_calls.is_empty();
    !is_empty || message.role == MessageRole::Tool
}

/// What is added to the base URL.
fn path(request: ChatRequest<'_>) -> Result<String, Error> {
    /// The slashes of `publishers/google/models/…` stay.
    const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'/')
        .remove(b':')
        .remove(b'@');
    let Codec { path, query, .. } = protocol::codec(request.protocol);
    let template = match &request.config.path {
        Some(path) => path.clone(),
        None if query.is_empty() => (*path).to_owned(),
        None => format!("{path}?{query}"),
    };
    let model = utf8_percent_encode(request.model, IN_PATH).to_string();
    let path = template.replace("{model}", &model);
    if endpoint::leads_elsewhere(&path) {
        let whose = if endpoint::leads_elsewhere(&template) {
            "the option `path`"
        } else {
            "the model's name in the URL"
        };
        return Err(request.refuse(format!(
            "{whose} has a segment `.` or `..`, which leads elsewhere on the server; leave it out"
        )));
    }
    Ok(path)
}

/// Refuses to send a key without TLS, unless it stays on this machine.
fn refuse_plain_text(
    request: ChatRequest<'_>,
    endpoint: &Endpoint,
    named_by: NamedBy,
    connection: &ConnectionSettings,
) -> Result<(), Error> {
    let origin = endpoint.origin();
    if origin.is_secure || request.config.allow_plain_http {
        return Ok(());
    }
    let problem = match connection.remote_proxy() {
        _ if !origin.is_loopback() => "neither https nor on this machine".to_owned(),
        Some(proxy) => format!("not https, and the proxy {proxy} is not on this machine"),
        None => return Ok(()),
    };
    let suffix = named_by.suffix();
    Err(request.refuse(format!(
        "the key would travel in the clear: {endpoint}{suffix} is {problem}; use https, or set \
         `allow_plain_http`"
    )))
}

#[cfg(test)]
mod tests;
