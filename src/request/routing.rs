//! Finds the provider, the base URL and the protocol for a configuration.

use crate::config::GenerationConfig;
use crate::endpoint::{self, Endpoint, is_within};
use crate::error::{Error, ErrorKind};
use crate::model;
use crate::protocol;
use crate::provider::{LlmProvider, Protocol, UrlForm, Vendor};

/// The destination of a request.
pub(crate) struct Route<'a> {
    pub(crate) provider: LlmProvider,
    /// The model name without `provider::`.
    pub(crate) model: &'a str,
    pub(crate) base_url: Endpoint,
    /// The text that follows the base URL in a message, such as ` (from OPENAI_BASE_URL)`. Empty if
    /// the URL came from no variable.
    pub(super) from: String,
    /// The provider that owns the host of the base URL.
    pub(super) owner: Option<LlmProvider>,
    pub(crate) protocol: Protocol,
}

pub(crate) fn route(config: &GenerationConfig) -> Result<Route<'_>, Error> {
    let (provider, model) = provider_of(config)?;
    let refuse = |problem: String| Error::new(ErrorKind::Config, provider, problem);
    let (given, form, variable) = given_base_url(config, provider).map_err(refuse)?;
    let whose = match variable {
        Some(name) => name,
        None if config.base_url.is_some() => "the option `base_url`",
        None => "the provider's base URL",
    };
    let base_url = Endpoint::parse(&endpoint::from_variable(&given, form)).map_err(|problem| {
        refuse(format!("{whose} {problem}; a base URL looks like http://localhost:8080/v1"))
    })?;
    // A name in braces in a row's base URL matches any value. The rows of local servers match no
    // host, because `own` includes their port.
    let is_own = |one: &LlmProvider| {
        let host = &base_url.origin.host;
        let own = one.vendor().base_url.split('/').nth(2).unwrap_or_default();
        match own.split_once('{').and_then(|(it, _)| Some((it, own.rsplit_once('}')?.1))) {
            Some((before, after)) => host.starts_with(before) && host.ends_with(after),
            None => is_within(host, own),
        }
    };
    let owner = LlmProvider::ALL.iter().copied().find(is_own);
    let protocol = config.protocol.unwrap_or_else(|| protocol_at(owner, provider, model));
    if config.path.is_none()
        && let Some(problem) = path_at_end(&given, protocol)
    {
        return Err(refuse(format!("{whose} {problem}")));
    }
    let from = variable.map(|name| format!(" (from {name})")).unwrap_or_default();
    Ok(Route { provider, model, base_url, from, owner, protocol })
}

/// Returns the provider, the row of the server's vendor, and the protocol for reading a response
/// that was requested elsewhere. A protocol alone is enough to read it.
pub(crate) fn route_of_reader(
    config: &GenerationConfig,
) -> Result<(LlmProvider, &'static Vendor, Protocol), Error> {
    let provider = match (config.provider, provider_of(config)) {
        (Some(provider), _) | (None, Ok((provider, _))) => provider,
        (None, Err(_)) if config.protocol.is_some() => LlmProvider::Local,
        (None, Err(error)) => return Err(error),
    };
    let tells_more = config.protocol.is_none() || config.base_url.is_some();
    let route = tells_more.then(|| route(config).ok()).flatten();
    let vendor = route.as_ref().and_then(|route| route.owner).unwrap_or(provider).vendor();
    let by_model = route.map_or(vendor.protocol, |route| route.protocol);
    Ok((provider, vendor, config.protocol.unwrap_or(by_model)))
}

/// Returns the provider and the model name without `provider::`.
fn provider_of(config: &GenerationConfig) -> Result<(LlmProvider, &str), Error> {
    let refuse = |provider, message: String| Error::new(ErrorKind::Config, provider, message);
    let model = config.model.trim();
    // The names of OpenAI's fine-tuned models contain `::` after a colon: `ft:gpt-4o:org::id`.
    let parts = model.split_once("::").filter(|(name, _)| !name.contains(':'));
    let (name, model) = parts.map_or((None, model), |(name, model)| (Some(name), model.trim()));
    let named = name.map(str::parse::<LlmProvider>).transpose();
    let named = named.map_err(|error| refuse(None, error.to_string()))?;
    if let (Some(one), Some(other)) = (config.provider, named)
        && one != other
    {
        let problem = format!("the model name says {other}, but `provider` says {one}; remove one");
        return Err(refuse(Some(one), problem));
    }
    let implied = config.base_url.as_ref().map(|_| LlmProvider::Local);
    let named = config.provider.or(named).or(implied);
    let problem = match (named, &*named.map_or_else(|| model::providers_of(model), |_| vec![])) {
        _ if model.is_empty() => {
            "no model is named; name one, such as \"gemini-flash-latest\" or \"ollama::llama3.2\""
                .to_owned()
        }
        (Some(provider), _) => return Ok((provider, model)),
        (_, &[provider]) if model::respelt(model, provider) == model => {
            return Ok((provider, model));
        }
        (_, found) => match (found, model::suggestions(model)) {
            ([], meant) if meant.is_empty() => format!(
                "no provider found for model {model:?}; name its provider, as in \
                 \"ollama::{model}\", or set `base_url`"
            ),
            ([], meant) => {
                format!("no provider found for model {model:?}; did you mean {meant}?")
            }
            ([provider], meant) => format!(
                "the model {model:?} looks misspelt; did you mean {meant}? To send it as it is, \
                 write \"{provider}::{model}\""
            ),
            (_, meant) => {
                format!("several providers serve the model {model:?}; choose one: {meant}")
            }
        },
    };
    Err(refuse(named, problem))
}

/// Returns the base URL, its form, and the variable that it came from, if any.
fn given_base_url(
    config: &GenerationConfig,
    provider: LlmProvider,
) -> Result<(String, UrlForm, Option<&'static str>), String> {
    let vendor = provider.vendor();
    if let Some(url) = &config.base_url {
        return Ok((url.trim().to_owned(), UrlForm::Whole, None));
    }
    if let Some((name, form)) = vendor.base_url_variable
        && let Some(url) = config.environment.get(name)
    {
        return Ok((url, form, Some(name)));
    }
    if vendor.base_url.is_empty() {
        return Err("no base URL is set; set `base_url`, as in http://localhost:8080/v1".to_owned());
    }
    Ok((filled(provider, config)?, UrlForm::Whole, None))
}

/// Returns a vendor's base URL with each `{NAME}` or `{NAME|OTHER}` replaced by the variable's
/// value. The error says which variable to set.
fn filled(provider: LlmProvider, config: &GenerationConfig) -> Result<String, String> {
    let vendor = provider.vendor();
    let mut url = vendor.base_url.to_owned();
    while let Some((before, after)) = url.split_once('{') {
        let (names, after) = after.split_once('}').unwrap_or((after, ""));
        let found = names.split('|').find_map(|name| Some((name, config.environment.get(name)?)));
        let Some((name, value)) = found else {
            let whole = vendor.base_url_variable.map(|(name, _)| name);
            let names = names.split('|').chain(whole).collect::<Vec<_>>().join(" or ");
            return Err(format!("no base URL is set; set {names}, or the option `base_url`"));
        };
        // Any other character could send the key to another host.
        if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(format!(
                "{name} has a character that is neither a letter, a digit, `-` nor `_`"
            ));
        }
        url = format!("{before}{value}{after}");
    }
    Ok(url)
}

/// Returns the protocol for a request: the provider's own. If that is Chat Completions, the model
/// decides at the address of a vendor that speaks several protocols.
fn protocol_at(owner: Option<LlmProvider>, provider: LlmProvider, model: &str) -> Protocol {
    let usual = provider.vendor().protocol;
    let owner = owner.filter(|_| usual == Protocol::ChatCompletions);
    let mut rules = owner.into_iter().flat_map(|owner| owner.vendor().protocols);
    let rule = rules.find(|(names, _)| model::begins_like(model::base_model(model), names));
    rule.map_or(usual, |(_, protocol)| *protocol)
}

/// Returns an error message if the base URL ends in the path of a protocol, because the path is
/// added to it.
fn path_at_end(given: &str, protocol: Protocol) -> Option<String> {
    let shown = endpoint::redacted(given);
    Protocol::ALL.iter().find_map(|&other| {
        let path = protocol::codec(other).path;
        // A gateway's base URL may end in `chat`, which is also the path of Cohere's protocol.
        let is_meant = other == protocol || path != "chat";
        let right = endpoint::without_path(&shown, path).filter(|_| is_meant)?;
        let path = shown.trim_end_matches('/').strip_prefix(&right).unwrap_or(path);
        Some(format!("ends in {path}, which is added automatically; use {right}"))
    })
}
