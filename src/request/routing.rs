//! Which provider a configuration means, and which protocol that is spoken to in.

use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::provider::{LlmProvider, Protocol};

/// The provider, and the model's name without it.
pub(crate) fn provider_of(config: &GenerationConfig) -> Result<(LlmProvider, &str), Error> {
    let config_error = |provider, message| Err(Error::new(ErrorKind::Config, provider, message));
    let model = config.model.trim();
    let (named, model) = match model.split_once("::") {
        Some((provider, model)) => match provider.parse::<LlmProvider>() {
            Ok(provider) => (Some(provider), model.trim()),
            Err(error) => return config_error(None, error.to_string()),
        },
        None => (None, model),
    };
    if let (Some(one), Some(other)) = (config.provider, named)
        && one != other
    {
        let message = format!("the model's name says {other}, but the option `provider` {one}");
        return config_error(Some(one), message);
    }
    let implied = config.base_url.as_ref().map(|_| LlmProvider::Local);
    let provider = config.provider.or(named).or(implied).or_else(|| by_prefix(model));
    let problem = match provider {
        Some(provider) if !model.is_empty() => return Ok((provider, model)),
        Some(_) => "no model is named; set the option `model`".to_owned(),
        None if model.is_empty() => {
            "no model is named; name one, such as \"gpt-4o-mini\" or \"ollama::llama3.2\""
                .to_owned()
        }
        None => format!(
            "no provider found for model {model:?}; say who serves it, as in \
             \"ollama::{model}\", or set `base_url`"
        ),
    };
    config_error(provider, problem)
}

/// The provider whose models' names begin like this one; the longest beginning decides.
fn by_prefix(model: &str) -> Option<LlmProvider> {
    let mut longest = (0, None);
    for &provider in LlmProvider::ALL {
        for prefix in provider.vendor().model_prefixes {
            if model.starts_with(prefix) && prefix.len() > longest.0 {
                longest = (prefix.len(), Some(provider));
            }
        }
    }
    longest.1
}

pub(crate) fn protocol_of(config: &GenerationConfig, provider: LlmProvider) -> Protocol {
    config.protocol.unwrap_or(provider.vendor().protocol)
}
