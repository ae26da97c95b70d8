//! Turns a prompt and a configuration into a request that is ready to be sent.
//!
//! A request is validated once, by [`prepare`], which also calls the checks of `protocol` and
//! `http`. It returns the first error of the prompt or the configuration. A retry sends the same
//! [`PreparedRequest`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::GenerationConfig;
use crate::endpoint::{self, Endpoint};
use crate::error::Error;
use crate::http::{ConnectionSettings, Limits, MAX_LINE, Peer, PreparedRequest};
use crate::message::{self, Message, MessageRole, Prompt};
use crate::model::begins_like;
use crate::protocol::{self, Adaptation, ChatRequest, Codec};
use crate::redact::Secrets;
use crate::tool::ToolChoice;

mod auth;
mod call_ids;
mod extra;
mod preview;
mod routing;

pub use preview::RequestPreview;
use routing::Route;
pub(crate) use routing::{route, route_of_reader};

/// Prepares a request. Also returns the changes that were needed to fit it to the provider.
pub(crate) fn prepare(
    prompt: &Prompt,
    config: &GenerationConfig,
) -> Result<(PreparedRequest, Vec<Adaptation>), Error> {
    let Route { provider, model, base_url, from, owner, protocol } = route(config)?;
    let adaptations = RefCell::default();
    let request = ChatRequest {
        provider,
        protocol,
        model,
        messages: prompt.messages(),
        config,
        owner,
        adaptations: &adaptations,
    };
    let messages = with_results(without_foreign_replay(request), request);
    let messages = call_ids::fitted(messages, request);
    let request = ChatRequest { messages: &messages, ..request };
    let body = body(request)?;

    let endpoint = base_url
        .join(&path(request)?)
        .map_err(|problem| request.refuse(format!("the option `path` {problem}")))?;
    let room = MAX_LINE - "POST  HTTP/1.1\r\n".len();
    if endpoint.uri.to_string().len() > room {
        return Err(request.refuse(format!(
            "the URL is too long: the base URL, the path and the model's name in it may have {room} bytes \
             together"
        )));
    }
    let (full, base) = (endpoint.to_string(), base_url.to_string());
    let added_path = full.strip_prefix(base.trim_end_matches('/')).unwrap_or_default();
    let auth::Credentials { headers, secrets, key_source } = auth::credentials(request, &endpoint)?;
    let connection =
        ConnectionSettings::new(&endpoint, config).map_err(|problem| request.refuse(problem))?;
    if !secrets.is_empty() {
        refuse_plain_text(request, &endpoint, &from, &connection)?;
    }

    let peer = Peer {
        provider,
        vendor: request.vendor(),
        address: format!("{}:{}{from}", endpoint.origin.host, endpoint.origin.port),
        is_public: config.base_url.is_none() && from.is_empty(),
        added_path: added_path.trim_start_matches('/').to_owned(),
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

/// Prepares a request and returns a printable form of it, without secrets.
pub(crate) fn preview(prompt: &Prompt, config: &GenerationConfig) -> Result<RequestPreview, Error> {
    let (request, adaptations) = prepare(prompt, config)?;
    let headers = request.headers.iter().map(|(name, value)| {
        let shown = value.to_str().ok().filter(|_| !value.is_sensitive());
        (name.to_string(), shown.unwrap_or("(hidden)").to_owned())
    });
    Ok(RequestPreview {
        provider: request.peer.provider,
        protocol: request.protocol,
        url: request.endpoint.with_hidden_query(protocol::codec(request.protocol).query),
        headers: headers.collect(),
        body: serde_json::from_slice(&request.body).unwrap_or_default(),
        adaptations,
    })
}

/// Returns the messages without the replay data of other providers: signatures and encrypted
/// reasoning can be read only by the provider that wrote them.
fn without_foreign_replay(request: ChatRequest<'_>) -> Cow<'_, [Message]> {
    let ChatRequest { provider, messages: all, .. } = request;
    let mut messages = Cow::Borrowed(all);
    for (at, message) in all.iter().enumerate() {
        if let Some(replay) = message.replay.as_ref().filter(|replay| replay.provider != provider)
            && let Some(message) = messages.to_mut().get_mut(at)
        {
            message.replay = None;
            let asked = format!("the whole message of {}", replay.provider);
            let why = format!("{provider} cannot read another provider's reasoning and signatures");
            request.adapt(&format!("messages[{at}]"), asked, "only text and tool calls", &why);
        }
    }
    messages
}

/// Adds the result "not run" to each call that has none, if other messages follow. Providers refuse
/// such a conversation, which a chat has after a cancelled tool.
fn with_results<'a>(
    mut messages: Cow<'a, [Message]>,
    request: ChatRequest<'_>,
) -> Cow<'a, [Message]> {
    let mut missing = Vec::new();
    let with_calls = messages.iter().enumerate().filter(|(_, it)| !it.tool_calls.is_empty());
    for (at, _) in with_calls {
        let turn = messages.get(at..).unwrap_or_default();
        let is_result = |message: &&Message| message.role == MessageRole::Tool;
        let after = at + 1 + turn.iter().skip(1).take_while(is_result).count();
        if after < messages.len() {
            missing.extend(message::open_calls(turn).map(|call| (after, call.id.clone())));
        }
    }
    for (at, id) in missing.into_iter().rev() {
        let what = format!("messages[{at}]");
        let (asked, why) = ("a call without a result", "only the last calls may have none");
        request.adapt(&what, asked, "it with the error \"not run\"", why);
        messages.to_mut().insert(at, Message::tool_error(id, "not run"));
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
            return Err(request.refuse(format!("the option `{option}` is not a finite number")));
        }
    }
    refuse_ignored_tool_choice(request)?;
    let mut body = protocol::encode(request)?;
    extra::merge(&mut body, request)?;
    // A field that the caller replaces in `extra_body` is not an adaptation.
    let is_ours = |told: &Adaptation| !request.config.extra_body.contains_key(&told.what);
    request.adaptations.borrow_mut().retain(is_ours);
    serde_json::to_vec(&body)
        .map_err(|error| request.refuse("the request cannot be written as JSON").caused_by(error))
}

/// Refuses a `tool_choice` that the server is known to ignore: the model would not do what the
/// caller requested.
fn refuse_ignored_tool_choice(request: ChatRequest<'_>) -> Result<(), Error> {
    let kind = match &request.config.tool_choice {
        None | Some(ToolChoice::Auto) => return Ok(()),
        Some(ToolChoice::None) => "none",
        Some(ToolChoice::Required) => "required",
        Some(ToolChoice::Tool(_)) => "a tool",
    };
    let ignored = request.vendor().ignored_tool_choices.iter();
    let mut ignored = ignored.filter(|(_, models, _)| begins_like(request.model, models));
    let Some((.., advice)) = ignored.find(|(it, ..)| *it == kind) else { return Ok(()) };
    let problem = format!("this server ignores the option `tool_choice` ({kind}); {advice}");
    Err(request.refuse(problem))
}

/// Returns whether a message has content. A tool result counts even if it is empty, since a tool
/// may return nothing.
fn says_something(message: &Message) -> bool {
    let is_empty = message.content.trim().is_empty()
        && message.attachments.is_empty()
        && message.tool_calls.is_empty();
    !is_empty || message.role == MessageRole::Tool
}

/// Returns the path and the query that are added to the base URL.
fn path(request: ChatRequest<'_>) -> Result<String, Error> {
    /// The characters to encode. Slashes are kept, as in `publishers/google/models/…`.
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
        None => format!("{path}?{query}"),
    };
    let model = utf8_percent_encode(request.model, IN_PATH).to_string();
    let path = template.replace("{model}", &model);
    if endpoint::leads_elsewhere(&path) {
        let is_option = endpoint::leads_elsewhere(&template);
        let whose = if is_option { "the option `path`" } else { "the model's name in the URL" };
        return Err(request.refuse(format!(
            "{whose} has a segment `.` or `..`, which the server may resolve to another path; remove it"
        )));
    }
    Ok(path)
}

/// Refuses to send a secret without TLS to another machine, unless `allow_plain_http` is set.
fn refuse_plain_text(
    request: ChatRequest<'_>,
    endpoint: &Endpoint,
    from: &str,
    connection: &ConnectionSettings,
) -> Result<(), Error> {
    let origin = &endpoint.origin;
    if origin.is_secure || request.config.allow_plain_http {
        return Ok(());
    }
    let problem = match connection.remote_proxy() {
        _ if !endpoint::is_loopback(&origin.host) => "neither https nor on this machine".to_owned(),
        Some(proxy) => format!("not https, and the proxy {proxy} is not on this machine"),
        None => return Ok(()),
    };
    Err(request.refuse(format!(
        "an API key or another credential would be sent unencrypted: {endpoint}{from} is {problem}; use \
         https, or set `allow_plain_http`"
    )))
}

#[cfg(test)]
mod tests;
