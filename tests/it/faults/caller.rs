//! Faults on the caller's own side. Where a request is sent, the server's response is good.

use kerb_stream::ErrorKind::{Auth, Config};
use kerb_stream::Protocol::GenerateContent;
use kerb_stream::{GenerationConfig, LlmProvider, Proxy};

use super::{Fault, HELLO, OPENAI, fault};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        refused("F150", "The key contains a line break")
            .set(|config| config.api_key("sk-se\r\nx: cret"))
            .fails(Auth, "has characters that an API key cannot have"),
        fault("F150", "The key ends with a line end, as in a file", |s| s.good())
            .on(OPENAI)
            .set(|config| config.api_key("sk-secret\n"))
            .gives(HELLO),
        refused("F151", "The key has non-ASCII characters")
            .set(|config| config.api_key("sk-äöü"))
            .fails(Auth, "has characters that an API key cannot have"),
        refused("F152", "The key is empty")
            .set(|config| config.provider(LlmProvider::OpenAi).api_key(""))
            .fails(Auth, "there is no API key: the option `api_key` is empty"),
        fault("F153", "The base URL ends with slashes", |s| s.good())
            .on(OPENAI)
            .set(|config| longer_url(config, "//"))
            .gives(HELLO),
        fault("F155", "The base URL has a query", |s| s.good())
            .on(OPENAI)
            .set(|config| longer_url(config, "?api-version=1"))
            .gives(HELLO),
        refused("F155", "The base URL has a fragment")
            .set(|config| longer_url(config, "#x"))
            .fails(Config, "has a fragment"),
        refused("F156", "The base URL has a password")
            .set(|config| config.base_url("http://u:hunter2@127.0.0.1/v1"))
            .fails(Config, "contains a user name or a password"),
        refused("F158", "The base URL is empty")
            .set(|config| config.base_url(""))
            .fails(Config, "is empty"),
        refused("F158", "The base URL has no scheme")
            .set(|config| config.base_url("localhost:8080/v1"))
            .fails(Config, "does not begin with http"),
        refused("F158", "The base URL is a file URL")
            .set(|config| config.base_url("file:///etc/passwd"))
            .fails(Config, "does not begin with http"),
        refused("F158", "The base URL has a port above 65535")
            .set(|config| config.base_url("http://localhost:99999/v1"))
            .fails(Config, "a port that is not between 1 and 65535"),
        refused("F158", "The base URL contains a space")
            .set(|config| config.base_url("http://local host/v1"))
            .fails(Config, "contains a space"),
        refused("F158", "The proxy URL is invalid")
            .set(|config| config.proxy(Proxy::Url("gopher://x".into())))
            .fails(Config, "is not supported"),
        refused("F158", "A key would be sent over plain HTTP to another machine")
            .set(|config| config.base_url("http://192.0.2.1/v1"))
            .fails(Config, "would be sent unencrypted"),
        refused("F158", "The same to this machine, through a proxy on another machine")
            .set(|config| config.proxy(Proxy::Url("http://192.0.2.1:3128".into())))
            .fails(Config, "is not on this machine"),
        refused("F158", "The model name has `..` segments that leave the URL path")
            .on(&[GenerateContent])
            .set(|mut config| {
                config.model = "../../../evil".into();
                config
            })
            .fails(Config, "the model's name in the URL has a segment"),
    ]
}

/// A fault that is found before anything is sent.
fn refused(id: &'static str, sentence: &'static str) -> Fault {
    fault(id, sentence, |s| s.good()).on(OPENAI).requests(0)
}

fn longer_url(config: GenerationConfig, more: &str) -> GenerationConfig {
    let url = config.base_url.clone().unwrap_or_default() + more;
    config.base_url(url)
}
