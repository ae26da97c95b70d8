//! Prompt and configuration → the request: who is asked, where, with which key, and what is said.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::{GenerationConfig, without_secrets};
use crate::endpoint;
use crate::error::{Error, ErrorKind};
use crate::http;
use crate::message::{Message, MessageRole, Prompt};
use crate::protocol::{self, Ask};
use crate::provider::{LlmProvider, Protocol};
use crate::redact::Secrets;

/// A request as it would be sent: see
/// [`GenerationStream::request`](crate::GenerationStream::request).
///
/// `Debug` and `Display` print it, and it serialises for a `--dry-run`: keys and the caller's own
/// header values are hidden, the prompt and the fields of `extra_body` are not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RequestPreview {
    /// Who is asked.
    pub provider: LlmProvider,
    /// How.
    pub protocol: Protocol,
    /// Where; the values of a query that came with the base URL or the path are hidden.
    pub url: String,
    /// The headers, with the values of those that the caller gave and of the key hidden.
    #[serde(serialize_with = "as_object")]
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

fn as_object<S: Serializer>(
    headers: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

impl fmt::Display for RequestPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "POST {}", self.url)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{:#}", self.body)
    }
}

/// Who is asked and how to read the answer, and what is sent.
pub(crate) struct Route {
    pub(crate) provider: LlmProvider,
    pub(crate) protocol: Protocol,
    pub(crate) request: http::Request,
}

const HIDDEN: &str = "(hidden)";

/// Headers with which a caller proves to a provider who is asking.
const CREDENTIALS: [&str; 6] =
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];

/// Words that name a key in the names of headers and of a query's fields. They may also end a word,
/// as in `accesskey`.
const KEYS: [&str; 14] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "credentials",
    "signature",
    "auth",
    "authorization",
    "authentication",
    "cookie",
    "jwt",
];
/// The same for words that end many others, such as `bypass`.
const WHOLE_KEYS: [&str; 3] = ["pass", "pwd", "sig"];

/// Whether a header or a field of a query carries a key, as far as its name tells: gateways have
/// names of their own, such as `cf-aig-authorization` and `Ocp-Apim-Subscription-Key`.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_key =
        |word: &str| WHOLE_KEYS.contains(&word) || KEYS.iter().any(|key| word.ends_with(key));
    // This one is made up for each request.
    name != "idempotency-key" && name.split(['-', '_', '.']).any(is_key)
}

/// The values in a URL's query that are keys, as far as their names tell. Azure Functions calls
/// theirs `code`.
fn query_secrets(url: &str) -> Vec<String> {
    let (_, query) = url.split_once('?').unwrap_or_default();
    let secret = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let is_key = sounds_secret(name) || name.eq_ignore_ascii_case("code");
        (is_key && !value.is_empty()).then(|| value.to_owned())
    };
    query.split('&').filter_map(secret).collect()
}

/// Finds out whom a configuration means.
pub(crate) fn provider_of(config: &GenerationConfig) -> Result<(LlmProvider, &str), Error> {
    let model = config.model.trim();
    let (named, model) = match model.split_once("::") {
        Some((provider, model)) => {
            let provider = provider.parse::<LlmProvider>();
            let provider =
                provider.map_err(|error| Error::new(ErrorKind::Config, None, error.to_string()))?;
            (Some(provider), model.trim())
        }
        None => (None, model),
    };
    let chosen = match (config.provider, named) {
        (Some(one), Some(other)) if one != other => {
            let message = format!("the model's name says {other}, but the option `provider` {one}");
            return Err(Error::new(ErrorKind::Config, one, message));
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
        return Err(Error::new(ErrorKind::Config, None, message));
    };
    if model.is_empty() {
        let message = "no model is named; set the option `model`";
        return Err(Error::new(ErrorKind::Config, provider, message));
    }
    Ok((provider, model))
}

/// The provider whose models' names begin like this one; the longest beginning decides.
fn by_prefix(model: &str) -> Option<LlmProvider> {
    let fits = |prefix: &&&str| model.starts_with(**prefix);
    LlmProvider::ALL
        .iter()
        .filter_map(|&provider| {
            let longest =
                provider.vendor().model_prefixes.iter().filter(fits).map(|p| p.len()).max();
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
        let ask =
            Ask { provider, model, messages: &own_words(prompt.messages(), provider), config };
        let body = body(ask, protocol)?;
        let base = base_url(ask)?;
        let url = base.join(&path(ask, protocol)?, ask)?;

        let wire = protocol::wire(protocol);
        let key = key(ask, protocol)?;
        let mut headers: Vec<(String, String)> = vec![
            ("content-type".into(), "application/json".into()),
            ("accept".into(), "text/event-stream".into()),
        ];
        headers.extend(wire.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let mut secrets = query_secrets(&url);
        if let Some(Key { secret, header: (name, prefix) }) = key {
            headers.push((name.into(), format!("{prefix}{secret}")));
            secrets.push(secret);
        }
        for (name, value) in &config.headers {
            let name = name.trim().to_ascii_lowercase();
            headers.retain(|(known, _)| *known != name);
            if sounds_secret(&name) {
                secrets.extend(value.split_whitespace().map(str::to_owned));
            }
            headers.push((name, value.trim().to_owned()));
        }
        let in_the_clear = if secrets.is_empty() || base.https || config.allow_plain_http {
            None
        } else if !http::is_loopback(&base.host) {
            Some("neither https nor on this machine".to_owned())
        } else {
            http::remote_proxy(config)
                .map(|proxy| format!("not https, and the proxy {proxy:?} is not on this machine"))
        };
        if let Some(why) = in_the_clear {
            let url = without_secrets(&url);
            return Err(ask.refuse(format!(
                "the key would travel in the clear: {url:?} is {why}; use https, or set \
                 `allow_plain_http`"
            )));
        }
        let body = serde_json::to_vec(&body).map_err(|error| {
            Error::new(ErrorKind::Config, provider, "the request is no JSON").caused_by(error)
        })?;
        let secrets = Secrets::new(secrets);
        Ok(Self { provider, protocol, request: http::Request { url, headers, body, secrets } })
    }

    /// The request with everything secret hidden.
    pub(crate) fn preview(self, config: &GenerationConfig) -> RequestPreview {
        let given =
            |name: &str| config.headers.iter().any(|(n, _)| n.trim().eq_ignore_ascii_case(name));
        let http::Request { url, headers, body, .. } = self.request;
        let headers = headers.into_iter().map(|(name, value)| {
            let secret = given(&name) || sounds_secret(&name);
            (name, if secret { HIDDEN.to_owned() } else { value })
        });
        let own_query =
            protocol::wire(self.protocol).path.split_once('?').map_or("", |(_, query)| query);
        let query = url.split_once('?').map_or("", |(_, query)| query).split('&').map(|pair| {
            match pair.split_once('=') {
                Some((name, _)) if !own_query.split('&').any(|own| own == pair) => {
                    format!("{name}={HIDDEN}")
                }
                _ => pair.to_owned(),
            }
        });
        let query = query.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        RequestPreview {
            provider: self.provider,
            protocol: self.protocol,
            url: format!("{}{mark}{query}", without_secrets(&url)),
            headers: headers.collect(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }
}

/// The messages without what another provider has attached to its answers.
fn own_words(messages: &[Message], provider: LlmProvider) -> Cow<'_, [Message]> {
    let foreign = |m: &Message| m.replay.as_ref().is_some_and(|replay| replay.provider != provider);
    if !messages.iter().any(foreign) {
        return messages.into();
    }
    let own =
        |m: &Message| Message { replay: m.replay.clone().filter(|_| !foreign(m)), ..m.clone() };
    messages.iter().map(own).collect()
}

fn body(ask: Ask<'_>, protocol: Protocol) -> Result<Map<String, Value>, Error> {
    let config = ask.config;
    let said = |m: &Message| {
        !(m.content.trim().is_empty() && m.attachments.is_empty() && m.tool_calls.is_empty())
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
    let mut body = (protocol::wire(protocol).body)(ask)?;
    merge(&mut body, &config.extra_body);
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

fn path(ask: Ask<'_>, protocol: Protocol) -> Result<String, Error> {
    let template = ask.config.path.as_deref().unwrap_or(protocol::wire(protocol).path);
    let path = template.replace("{model}", &percent_encoded(ask.model));
    if climbs(&path) {
        let whose =
            if climbs(template) { "the option `path`" } else { "the model's name in the URL" };
        return Err(ask.refuse(format!(
            "{whose} has a segment `.` or `..`, which leads elsewhere on the server; leave it out"
        )));
    }
    Ok(path)
}

/// Whether a path has segments that a server, or a proxy before it, takes for other folders. Some
/// decode the path before they take it apart, some take a backslash for a slash, and some cut off
/// what a semicolon begins.
fn climbs(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default().to_ascii_lowercase();
    let path = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    path.replace("%3b", ";").split(['/', '\\']).any(|segment| {
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name, "." | "..")
    })
}

/// A model's name as part of a path. The slashes of `publishers/google/models/…` stay.
fn percent_encoded(model: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~/:@".contains(b);
    let encode = |b: u8| {
        if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }
    };
    model.bytes().map(encode).collect()
}

/// A key, the header that carries it, and what stands before it there.
struct Key {
    secret: String,
    header: (&'static str, &'static str),
}

/// The key, from the configuration or the provider's variables.
fn key(ask: Ask<'_>, protocol: Protocol) -> Result<Option<Key>, Error> {
    let Ask { provider, config, .. } = ask;
    let vendor = provider.vendor();
    let header = protocol::wire(protocol).auth;
    let from_environment = || {
        vendor.key_variables.iter().find_map(|name| {
            let bearer = vendor.bearer_variables.contains(name);
            let header = if bearer { ("authorization", "Bearer ") } else { header };
            Some(Key { secret: config.environment.get(name)?, header })
        })
    };
    let given = config.api_key.as_deref().map(|key| Key { secret: key.trim().to_owned(), header });
    let key = given.or_else(from_environment).filter(|key| !key.secret.is_empty());
    let missing = |message| Error::new(ErrorKind::Auth, provider, message);
    match key {
        Some(key) if !key.secret.bytes().all(|b| b.is_ascii_graphic()) => Err(missing(
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
    let auth = protocol::wire(protocol).auth.0;
    config.headers.iter().any(|(name, _)| {
        let name = name.trim().to_ascii_lowercase();
        name == auth || CREDENTIALS.contains(&name.as_str())
    })
}

fn base_url(ask: Ask<'_>) -> Result<BaseUrl, Error> {
    let vendor = ask.provider.vendor();
    let from_environment = || {
        let (name, form) = vendor.base_url_variable?;
        Some((endpoint::from_variable(&ask.config.environment.get(name)?, form), name))
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
            Err(ask
                .refuse(format!("{origin} {what}; it should look like http://localhost:8080/v1")))
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
        let is_address = http::bare_host(host) != host;
        if host.is_empty() || (host.contains(['[', ']', ':', '\\']) && !is_address) {
            return wrong("has no host, or one that is neither a name nor an address");
        }
        if port.is_some_and(|port| http::port(port).is_none_or(|port| port == 0)) {
            return wrong("has a port that is not between 1 and 65535");
        }
        if climbs(path) {
            return wrong("has a segment `.` or `..`, which leads elsewhere on the server");
        }
        let scheme = if https { "https" } else { "http" };
        let front = format!("{scheme}://{authority}/{path}");
        Ok(Self {
            https,
            front: front.trim_end_matches('/').to_owned(),
            host: http::bare_host(host).to_ascii_lowercase(),
            query: query.to_owned(),
        })
    }

    fn join(&self, path: &str, ask: Ask<'_>) -> Result<String, Error> {
        let (path, own) = path.split_once('?').unwrap_or((path, ""));
        let path = path.trim_start_matches('/');
        if !path.bytes().chain(own.bytes()).all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(ask.refuse("the option `path` has characters that no URL has"));
        }
        let query: Vec<_> =
            [self.query.as_str(), own].into_iter().filter(|q| !q.is_empty()).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("{}/{path}{mark}{}", self.front, query.join("&")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Proxy;
    use crate::environment::Environment;
    use crate::message::{Part, Replay};
    use crate::model::ModelName;

    /// Keys for everybody.
    fn keys() -> Environment {
        LlmProvider::ALL
            .iter()
            .flat_map(|provider| provider.key_variables())
            .map(|name| (*name, "environment-key"))
            .collect()
    }

    fn config(model: &str) -> GenerationConfig {
        GenerationConfig::new(model).environment(keys())
    }

    fn route(config: &GenerationConfig) -> Result<Route, Error> {
        Route::new(&"Hi".into(), config)
    }

    fn refusal(config: &GenerationConfig) -> String {
        let error = route(config).err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config), "{error:?}");
        error.to_string()
    }

    fn header<'a>(route: &'a Route, name: &str) -> Option<&'a str> {
        let header = route.request.headers.iter().find(|(known, _)| known == name)?;
        Some(&header.1)
    }

    #[test]
    fn a_model_finds_its_provider() {
        let provider = |config: &GenerationConfig| route(config).unwrap().provider;
        assert_eq!(provider(&config("gpt-4o-mini")), LlmProvider::OpenAi);
        assert_eq!(provider(&config("o3")), LlmProvider::OpenAi);
        assert_eq!(provider(&config("ollama::llama3.2")), LlmProvider::Ollama);
        assert_eq!(provider(&config(" mistral :: gpt-like ")), LlmProvider::Mistral);
        assert_eq!(provider(&config("any").provider(LlmProvider::OpenAi)), LlmProvider::OpenAi);
        assert_eq!(provider(&config("gpt-4o").base_url("http://localhost/v1")), LlmProvider::Local);
        for &model in ModelName::ALL {
            let config = GenerationConfig::from(model).environment(keys());
            assert_eq!(provider(&config), model.provider(), "{model}");
        }
        let body = |config| {
            serde_json::from_slice::<Value>(&route(&config).unwrap().request.body).unwrap()
        };
        assert_eq!(body(config("ollama::llama3.2"))["model"], "llama3.2");

        assert!(refusal(&config("llama3.2")).contains("\"ollama::llama3.2\""));
        assert!(refusal(&config("")).contains("no model"));
        assert!(refusal(&config("nobody::x")).contains("there is no provider \"nobody\""));
        assert!(refusal(&config("mistral::x").provider(LlmProvider::OpenAi)).contains("mistral"));
    }

    #[test]
    fn the_base_url_and_who_may_set_it() {
        let url = |config: &GenerationConfig| route(config).unwrap().request.url;
        let with = |name: &str, value: &str| {
            Environment::from_iter([
                (name, value),
                ("OPENAI_API_KEY", "k"),
                ("MISTRAL_API_KEY", "k"),
            ])
        };
        let on = |base: &str| url(&config("m").base_url(base));
        assert_eq!(url(&config("gpt-4o")), "https://api.openai.com/v1/chat/completions");
        let elsewhere =
            config("gpt-4o").environment(with("OPENAI_BASE_URL", " https://proxy/v1/ "));
        assert_eq!(url(&elsewhere), "https://proxy/v1/chat/completions");
        let ollama = config("ollama::m").environment(with("OLLAMA_HOST", "0.0.0.0:9"));
        assert_eq!(url(&ollama), "http://127.0.0.1:9/v1/chat/completions");
        assert_eq!(on("HTTP://localhost:1/v1//"), "http://localhost:1/v1/chat/completions");
        assert_eq!(on("http://[::1]:8080"), "http://[::1]:8080/chat/completions");
        assert_eq!(
            on("https://x.example/openai?api-version=1"),
            "https://x.example/openai/chat/completions?api-version=1"
        );
        for (model, path, says) in [
            ("../../../evil", "/models/{model}:go", "the model's name"),
            ("a/./b", "/{model}", "the model's name"),
            ("..", "/{model}/go", "the model's name"),
            ("m", "/v1/../{model}", "the option `path`"),
            ("m", "%2E%2e/x", "the option `path`"),
            ("m", "/.%2e?x", "the option `path`"),
            ("m", "..\\..\\x", "the option `path`"),
            ("m", "..%2f..%2Fx", "the option `path`"),
            ("m", "a/..%5cx", "the option `path`"),
            ("m", "a/..;/b", "the option `path`"),
            ("m", "a/%2e%3bx=1/b", "the option `path`"),
            ("..;/x", "/{model}", "the model's name"),
            ("a\\..\\x", "/{model}", "the model's name"),
        ] {
            let config = config(model).base_url("https://x.example").path(path);
            let error = refusal(&config);
            assert!(error.contains(says) && error.contains("`..`"), "{model} {path}: {error}");
        }
        assert!(refusal(&config("google::../../evil")).contains("the model's name"));
        for (model, path) in [
            ("..a/.b/c..", "/{model}"),
            ("../m", "/v1?x=/../"),
            ("%2e%2e", "/{model}"),
            ("a;../b", "/{model}"),
        ] {
            assert!(
                route(&config(model).base_url("https://x.example").path(path)).is_ok(),
                "{model}"
            );
        }

        let gateway = config("a b/c").base_url("https://x.example").path("/run/{model}?stream=1");
        assert_eq!(url(&gateway), "https://x.example/run/a%20b/c?stream=1");

        for (wrong, says) in [
            ("", "is empty"),
            ("localhost:8080/v1", "http://"),
            ("ftp://x/", "http://"),
            ("http://", "no host"),
            ("http://a b/", "blank"),
            ("http://x/\u{e9}", "blank"),
            ("http://x:99999/", "port"),
            ("http://x:0", "port"),
            ("http://localhost:+80", "port"),
            ("http://[::1]:+80", "port"),
            ("http://x:", "port"),
            ("http://[localhost]:1", "no host"),
            ("http://[127.0.0.1]:1", "no host"),
            ("http://[[::1]]:1", "no host"),
            ("http://[::1]x:1", "no host"),
            ("http://[::1", "no host"),
            ("http://::1/", "no host"),
            ("http://x\\..\\y/", "no host"),
            ("http://x/../y", "segment"),
            ("http://x/v1/%2e%2e", "segment"),
            ("http://x/v1/..;/y?z", "segment"),
            ("http://x/..\\y", "segment"),
            ("http://user:hunter2@x/", "user name"),
            ("http://x/#top", "fragment"),
        ] {
            let error = refusal(&config("m").base_url(wrong));
            assert!(error.contains(says) && error.contains("`base_url`"), "{wrong}: {error}");
            assert!(!error.contains("hunter2"));
        }
        assert!(refusal(&config("local::m")).contains("base_url"));
    }

    #[test]
    fn a_key_goes_to_its_own_provider_only() {
        let key = |config: &GenerationConfig| {
            header(&route(config).unwrap(), "authorization").map(str::to_owned)
        };
        assert_eq!(key(&config("gpt-4o")).unwrap(), "Bearer environment-key");
        assert_eq!(key(&config("gpt-4o").api_key(" own-key\n")).unwrap(), "Bearer own-key");
        assert_eq!(key(&config("gpt-4o").base_url("https://elsewhere.example/v1")), None);
        let together =
            config("gpt-4o").provider(LlmProvider::OpenAi).base_url("https://gateway.example/v1");
        assert_eq!(key(&together).unwrap(), "Bearer environment-key");
        assert_eq!(key(&config("ollama::m")), None);
        let token = Environment::from_iter([("ANTHROPIC_AUTH_TOKEN", "token")]);
        assert_eq!(key(&config("claude-x").environment(token)).unwrap(), "Bearer token");
        assert_eq!(
            header(&route(&config("claude-x")).unwrap(), "x-api-key"),
            Some("environment-key")
        );

        let none = |model: &str| GenerationConfig::new(model).environment(Environment::empty());
        let error = route(&none("gpt-4o")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert_eq!(
            error.to_string(),
            "openai: there is no API key; set OPENAI_API_KEY, or the option `api_key`"
        );
        assert!(refusal(&none("gpt-4o").api_key("  ")).contains("OPENAI_API_KEY"));
        assert_eq!(key(&none("gpt-4o").header("API-Key", "azure-key")), None);
        for bad in ["sk-\nsecret", "sk-s\u{e9}cret", "sk secret"] {
            let error = refusal(&none("gpt-4o").api_key(bad));
            assert!(error.contains("API key has characters") && !error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn a_key_does_not_travel_in_the_clear() {
        let plain = |url: &str| config("m").api_key("secret-key").base_url(url);
        for here in ["http://localhost:1", "http://127.8.8.8/v1", "http://[::1]/"] {
            assert!(route(&plain(here)).is_ok(), "{here}");
            for proxy in ["http://127.0.0.1:1", "socks5://LOCALHOST", "https://u:p@[::1]:1"] {
                let config = plain(here).proxy(Proxy::Url(proxy.into()));
                assert!(route(&config).is_ok(), "{here} by {proxy}");
            }
            for proxy in ["http://u:hunter2@10.0.0.9:3128", "socks5h://box", "http://localhost.:1"]
            {
                let config = plain(here).proxy(Proxy::Url(proxy.into()));
                let error = refusal(&config);
                assert!(
                    error.contains("allow_plain_http") && error.contains("the proxy"),
                    "{error}"
                );
                assert!(!error.contains("secret") && !error.contains("hunter2"), "{error}");
                assert!(route(&config.clone().allow_plain_http(true)).is_ok());
                assert!(route(&config.base_url("https://x.example")).is_ok());
            }
        }
        // A name server says where these lead.
        for elsewhere in ["http://localhost.:1", "http://127.0.0.1./v1", "http://a.localhost"] {
            assert!(refusal(&plain(elsewhere)).contains("allow_plain_http"), "{elsewhere}");
        }
        let error = refusal(&plain("http://192.168.1.5:8080/v1"));
        assert!(error.contains("allow_plain_http") && error.contains("192.168.1.5"), "{error}");
        assert!(!error.contains("secret"));
        assert!(route(&plain("http://192.168.1.5/v1").allow_plain_http(true)).is_ok());
        assert!(route(&config("m").base_url("http://192.168.1.5/v1")).is_ok());
        let header = |name| config("m").base_url("http://box/v1").header(name, "Bearer x");
        for name in [
            "Authorization",
            "cf-aig-authorization",
            "X-Portkey-API-Key",
            "Ocp-Apim-Subscription-Key",
            "x-functions-key",
            "x-access-key",
            "x_api_key",
            "access_key",
            "XApiKey",
            "x-accesstoken",
            "x-jwt",
            "passwd",
            "credentials",
            "X-Amz-Signature",
            "cookie",
        ] {
            assert!(refusal(&header(name)).contains("allow_plain_http"), "{name}");
        }
        for name in ["idempotency-key", "max-tokens", "x-author", "code", "x-signal", "x-title"] {
            assert!(route(&header(name)).is_ok(), "{name}");
        }
        let secret = |query: &str| {
            let at_base = config("m").base_url(format!("http://box/v1?v=1&{query}=hunter2"));
            let in_path =
                config("m").base_url("http://box").path(format!("/chat?v=1&{query}=hunter2"));
            let [first, second] = [at_base, in_path].map(|config| {
                let error = route(&config).err().map(|error| error.to_string());
                assert!(
                    !error.as_ref().is_some_and(|error| error.contains("hunter2")),
                    "{error:?}"
                );
                assert!(!format!("{config:?}").contains("hunter2"));
                let config = config.allow_plain_http(true);
                let secrets = route(&config).unwrap().request.secrets;
                assert_eq!(secrets.texts(), error.iter().map(|_| "hunter2").collect::<Vec<_>>());
                error.is_some()
            });
            assert_eq!(first, second, "{query}");
            first
        };
        for name in [
            "api_key",
            "apiKey",
            "key",
            "code",
            "auth",
            "pass",
            "pwd",
            "jwt",
            "credential",
            "sig",
            "access_token",
            "X-Amz-Signature",
        ] {
            assert!(secret(name), "{name}");
        }
        for name in ["max_tokens", "api-version", "model", "encode"] {
            assert!(!secret(name), "{name}");
        }
    }

    #[test]
    fn headers_and_extra_fields_reach_the_request() {
        let config = config("gpt-4o")
            .header("X-Title", "me")
            .header("Accept", "*/*")
            .extra("stream_options", json!({"include_usage": false}))
            .extra("service_tier", "flex");
        let route = route(&config).unwrap();
        assert_eq!(header(&route, "x-title"), Some("me"));
        assert_eq!(header(&route, "accept"), Some("*/*"));
        let body: Value = serde_json::from_slice(&route.request.body).unwrap();
        assert_eq!(body["service_tier"], "flex");
        assert_eq!(
            body["stream_options"],
            json!({"include_usage": false, "include_obfuscation": false})
        );
    }

    #[test]
    fn a_prompt_must_say_something_and_numbers_must_be_numbers() {
        let refused =
            |prompt: Prompt| Route::new(&prompt, &config("gpt-4o")).err().unwrap().to_string();
        assert_eq!(refused("".into()), "openai: the prompt is empty");
        assert_eq!(refused(" \n".into()), "openai: the prompt is empty");
        assert_eq!(refused(Vec::new().into()), "openai: the prompt is empty");
        assert!(refusal(&config("gpt-4o").top_p(f64::NAN)).contains("`top_p`"));
    }

    #[test]
    fn what_one_provider_attached_is_not_sent_to_another() {
        let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
        let mut answer = Message::assistant("Hello.");
        answer.replay = Some(Replay {
            provider: LlmProvider::Anthropic,
            protocol: Protocol::Messages,
            parts: vec![Part::Opaque(thought), Part::Text { bytes: 6, extra: None }],
        });
        let prompt = Prompt::from([Message::user("Hi"), answer, Message::user("And?")]);
        let sent = |config: GenerationConfig| {
            let body = Route::new(&prompt, &config).ok().unwrap().request.body;
            String::from_utf8(body).unwrap()
        };
        assert!(sent(config("claude-x")).contains("signature"));
        let relay = config("openrouter::claude-x").protocol(Protocol::Messages);
        assert!(!sent(relay).contains("signature"));
    }

    #[test]
    fn a_preview_hides_what_is_secret() {
        let config = config("m")
            .base_url("https://x.example/v1?key=planted-key&v=1")
            .api_key("planted-key")
            .header("X-Custom", "planted-key");
        let shown = route(&config).unwrap().preview(&config).to_string();
        assert!(!shown.contains("planted"), "{shown}");
        assert!(
            shown.starts_with(
                "POST https://x.example/v1/chat/completions?key=(hidden)&v=(hidden)\n"
            )
        );
        assert!(shown.contains("authorization: (hidden)\nx-custom: (hidden)\n"), "{shown}");
        assert!(shown.contains("\"content\": \"Hi\""));
    }
}
