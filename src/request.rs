//! Prompt and configuration → the request: who is asked, where, with which key, and what is said.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::config::{GenerationConfig, without_secrets};
use crate::error::{Error, ErrorKind, Failure};
use crate::http;
use crate::message::{MessageRole, Prompt};
use crate::provider::{Ask, LlmProvider, Protocol};

/// A request as it would be sent: see [`GenerationStream::request`](crate::GenerationStream::request).
///
/// `Debug` and `Display` print it; nothing in it is secret.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Who is asked.
    pub provider: LlmProvider,
    /// How.
    pub protocol: Protocol,
    /// Where; the values of a query that came with the base URL are hidden.
    pub url: String,
    /// The headers, with the values of those that the caller gave and of the key hidden.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "POST {}", self.url)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{:#}", self.body)
    }
}

/// Who is asked and how to read the answer, and what is sent.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) provider: LlmProvider,
    pub(crate) protocol: Protocol,
    pub(crate) request: http::Request,
}

const HIDDEN: &str = "(hidden)";

/// Headers that carry keys.
const CREDENTIALS: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
];

/// Finds out whom a configuration means.
pub(crate) fn provider_of(config: &GenerationConfig) -> Result<(LlmProvider, &str), Error> {
    let model = config.model.trim();
    let (named, model) = match model.split_once("::") {
        Some((provider, model)) => (Some(provider.parse::<LlmProvider>()?), model.trim()),
        None => (None, model),
    };
    let chosen = match (config.provider, named) {
        (Some(one), Some(other)) if one != other => {
            let message = format!("the model's name says {other}, but the option `provider` {one}");
            return Err(Error::Config(Failure::new(one, message)));
        }
        (one, other) => one.or(other),
    };
    let implied = || config.base_url.as_ref().map(|_| LlmProvider::Local);
    let Some(provider) = chosen.or_else(implied).or_else(|| by_prefix(model)) else {
        let message = if model.is_empty() {
            "no model is named; name one, such as \"gpt-4o-mini\" or \"ollama::llama3.2\""
                .to_owned()
        } else {
            format!(
                "nobody is known to serve the model {model:?}; say who does, as in \"ollama::{model}\", \
                 or set `base_url`"
            )
        };
        return Err(Error::Config(Failure::new(None, message)));
    };
    if model.is_empty() {
        let message = "no model is named; set the option `model`";
        return Err(Error::Config(Failure::new(provider, message)));
    }
    Ok((provider, model))
}

/// The provider whose models' names begin like this one; the longest beginning decides.
fn by_prefix(model: &str) -> Option<LlmProvider> {
    let fits = |prefix: &&&str| model.starts_with(**prefix);
    LlmProvider::ALL
        .iter()
        .filter_map(|&provider| {
            let longest = provider
                .vendor()
                .model_prefixes
                .iter()
                .filter(fits)
                .map(|p| p.len())
                .max();
            Some((longest?, provider))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, provider)| provider)
}

/// The protocol that a provider is spoken to in.
pub(crate) fn protocol_of(config: &GenerationConfig, provider: LlmProvider) -> Protocol {
    config.protocol.unwrap_or(provider.vendor().protocol)
}

impl Route {
    /// Settles everything about a request before anything is sent.
    pub(crate) fn new(prompt: &Prompt, config: &GenerationConfig) -> Result<Self, Error> {
        let (provider, model) = provider_of(config)?;
        let protocol = protocol_of(config, provider);
        let ask = Ask {
            provider,
            model,
            messages: prompt.messages(),
            config,
        };
        let body = body(ask, protocol)?;
        let base = base_url(ask)?;
        let url = base.join(&path(ask, protocol), ask)?;

        let wire = protocol.wire();
        let key = key(ask, protocol)?;
        let mut headers: Vec<(String, String)> = vec![
            ("content-type".into(), "application/json".into()),
            ("accept".into(), "text/event-stream".into()),
        ];
        headers.extend(
            wire.headers
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
        );
        let mut secrets = base.query_values();
        if let Some(key) = key {
            headers.push((wire.auth.0.into(), format!("{}{key}", wire.auth.1)));
            secrets.push(key);
        }
        for (name, value) in &config.headers {
            let name = name.trim().to_ascii_lowercase();
            headers.retain(|(known, _)| *known != name);
            if CREDENTIALS.contains(&name.as_str()) {
                secrets.extend(value.split_whitespace().map(str::to_owned));
            }
            headers.push((name, value.trim().to_owned()));
        }
        if !(secrets.is_empty() || base.https || base.is_loopback() || config.allow_plain_http) {
            return Err(ask.refuse(format!(
                "the key would travel in the clear: {:?} is neither https nor on this machine; \
                 use https, or set `allow_plain_http`",
                without_secrets(&url)
            )));
        }
        // A short value, such as an API version, may stand anywhere by chance.
        secrets.retain(|secret| secret.len() >= 8);
        let body = serde_json::to_vec(&body).map_err(|error| {
            Error::Config(Failure::new(provider, "the request is no JSON").caused_by(error))
        })?;
        Ok(Self {
            provider,
            protocol,
            request: http::Request {
                url,
                headers,
                body,
                secrets,
            },
        })
    }

    /// The request with everything secret hidden.
    pub(crate) fn preview(self, config: &GenerationConfig) -> Request {
        let given = |name: &str| {
            config
                .headers
                .iter()
                .any(|(n, _)| n.trim().eq_ignore_ascii_case(name))
        };
        let http::Request {
            url, headers, body, ..
        } = self.request;
        let headers = headers.into_iter().map(|(name, value)| {
            let secret = given(&name) || CREDENTIALS.contains(&name.as_str());
            (name, if secret { HIDDEN.to_owned() } else { value })
        });
        let own_query = self
            .protocol
            .wire()
            .path
            .split_once('?')
            .map_or("", |(_, query)| query);
        let query = url
            .split_once('?')
            .map_or("", |(_, query)| query)
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if !own_query.split('&').any(|own| own == pair) => {
                    format!("{name}={HIDDEN}")
                }
                _ => pair.to_owned(),
            });
        let query = query.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        Request {
            provider: self.provider,
            protocol: self.protocol,
            url: format!("{}{mark}{query}", without_secrets(&url)),
            headers: headers.collect(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }
}

fn body(ask: Ask<'_>, protocol: Protocol) -> Result<Map<String, Value>, Error> {
    let config = ask.config;
    let said = |m: &crate::Message| {
        !(m.content.trim().is_empty() && m.images.is_empty() && m.tool_calls.is_empty())
            || m.role == MessageRole::Tool
    };
    if !ask.messages.iter().any(said) {
        return Err(ask.refuse("the prompt is empty"));
    }
    for (option, value) in [
        ("temperature", config.temperature),
        ("top_p", config.top_p),
        ("frequency_penalty", config.frequency_penalty),
        ("presence_penalty", config.presence_penalty),
    ] {
        if value.is_some_and(|value| !value.is_finite()) {
            return Err(ask.refuse(format!("the option `{option}` is not a number")));
        }
    }
    let mut body = (protocol.wire().body)(ask)?;
    merge(&mut body, &config.extra);
    Ok(body)
}

/// Objects are merged field by field; anything else is replaced.
fn merge(body: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (name, value) in extra {
        match (body.get_mut(name), value) {
            (Some(Value::Object(body)), Value::Object(extra)) => merge(body, extra),
            _ => {
                body.insert(name.clone(), value.clone());
            }
        }
    }
}

fn path(ask: Ask<'_>, protocol: Protocol) -> String {
    let path = ask.config.path.as_deref().unwrap_or(protocol.wire().path);
    path.replace("{model}", &percent_encoded(ask.model))
}

/// A model's name as part of a path. The slashes of `publishers/google/models/…` stay.
fn percent_encoded(model: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~/:@".contains(b);
    let encode = |b: u8| {
        if plain(&b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    model.bytes().map(encode).collect()
}

/// The key, from the configuration or the provider's variables.
fn key(ask: Ask<'_>, protocol: Protocol) -> Result<Option<String>, Error> {
    let Ask {
        provider, config, ..
    } = ask;
    let vendor = provider.vendor();
    let given = config.api_key.as_deref().map(|key| key.trim().to_owned());
    let from_environment = || {
        vendor
            .key_variables
            .iter()
            .find_map(|name| config.environment.get(name))
    };
    let key = given
        .or_else(from_environment)
        .filter(|key| !key.is_empty());
    let missing = |message| Error::Config(Failure::new(provider, message).of_kind(ErrorKind::Auth));
    match key {
        Some(key) if !key.bytes().all(|b| b.is_ascii_graphic()) => Err(missing(
            "the API key has characters that no key has (a line break, a blank or a letter beyond ASCII); \
             copy it again"
                .to_owned(),
        )),
        Some(key) => Ok(Some(key)),
        None if !vendor.key_required || brings_credentials(config, protocol) => Ok(None),
        None => {
            let names = vendor.key_variables.join(" or ");
            Err(missing(format!("there is no API key; set {names}, or the option `api_key`")))
        }
    }
}

/// Whether the caller's own headers prove who is asking.
fn brings_credentials(config: &GenerationConfig, protocol: Protocol) -> bool {
    let auth = protocol.wire().auth.0;
    config.headers.iter().any(|(name, _)| {
        let name = name.trim().to_ascii_lowercase();
        name == auth || CREDENTIALS.contains(&name.as_str())
    })
}

fn base_url(ask: Ask<'_>) -> Result<BaseUrl, Error> {
    let vendor = ask.provider.vendor();
    let from_environment = || {
        let (name, read) = vendor.base_url_variable?;
        Some((read(&ask.config.environment.get(name)?), name))
    };
    if let Some(url) = &ask.config.base_url {
        BaseUrl::parse(url.trim(), "the option `base_url`", ask)
    } else if let Some((url, name)) = from_environment() {
        BaseUrl::parse(&url, name, ask)
    } else if vendor.base_url.is_empty() {
        Err(ask.refuse(
            "there is no base URL; set the option `base_url`, as in http://localhost:8080/v1",
        ))
    } else {
        BaseUrl::parse(vendor.base_url, "the provider's base URL", ask)
    }
}

/// A base URL that is known to be one.
#[derive(Debug, PartialEq)]
struct BaseUrl {
    https: bool,
    /// Scheme, host, port and path, without a slash at the end.
    front: String,
    host: String,
    /// Without its question mark.
    query: String,
}

impl BaseUrl {
    fn parse(url: &str, origin: &str, ask: Ask<'_>) -> Result<Self, Error> {
        let wrong = |what: &str| {
            Err(ask.refuse(format!(
                "{origin} {what}; it should look like http://localhost:8080/v1"
            )))
        };
        if url.is_empty() {
            return wrong("is empty");
        }
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("has a blank, a control character or a letter beyond ASCII in it");
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return wrong("does not begin with http:// or https://");
        };
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return wrong("does not begin with http:// or https://");
        }
        if rest.contains('#') {
            return wrong("has a fragment (#…)");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return wrong(
                "has a user name or a password in it; use the option `api_key` or `headers`",
            );
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
            return wrong("has no host");
        }
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return wrong("has a port that is not between 1 and 65535");
        }
        let scheme = if https { "https" } else { "http" };
        let front = format!("{scheme}://{authority}/{path}");
        Ok(Self {
            https,
            front: front.trim_end_matches('/').to_owned(),
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            query: query.to_owned(),
        })
    }

    fn join(&self, path: &str, ask: Ask<'_>) -> Result<String, Error> {
        let (path, own) = path.split_once('?').unwrap_or((path, ""));
        let path = path.trim_start_matches('/');
        if !path
            .bytes()
            .chain(own.bytes())
            .all(|b| b.is_ascii_graphic() && b != b'#')
        {
            return Err(ask.refuse("the option `path` has characters that no URL has"));
        }
        let query: Vec<_> = [self.query.as_str(), own]
            .into_iter()
            .filter(|q| !q.is_empty())
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("{}/{path}{mark}{}", self.front, query.join("&")))
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    fn query_values(&self) -> Vec<String> {
        let value = |pair: &str| Some(pair.split_once('=')?.1.to_owned());
        self.query
            .split('&')
            .filter_map(value)
            .filter(|value| value.len() >= 8)
            .collect()
    }
}
