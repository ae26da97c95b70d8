//! Chooses the proxy: from the configuration, or from the environment as curl does.

use std::net::IpAddr;

use ureq::Proxy as UreqProxy;

use crate::config::{GenerationConfig, Proxy};
use crate::endpoint::{self, Origin, bare_host, is_loopback, is_within};
use crate::environment::Environment;

/// A proxy, and its name for messages: without the password, with the variable that named it.
#[derive(Clone, PartialEq)]
pub(super) struct ChosenProxy {
    pub(super) proxy: UreqProxy,
    pub(super) name: String,
}

/// Returns the proxy for a request to `origin`, or `None` for a direct connection.
///
/// A proxy from the configuration is used for every request. A proxy from the environment is not
/// used for this machine itself, because a proxy elsewhere cannot reach a local model.
pub(super) fn choose(
    origin: &Origin,
    config: &GenerationConfig,
) -> Result<Option<ChosenProxy>, String> {
    let (url, variable) = match &config.proxy {
        Proxy::Direct => return Ok(None),
        Proxy::Url(url) => (url.clone(), None),
        Proxy::Environment => match from_environment(origin, &config.environment) {
            Some((url, name)) => (url, Some(name)),
            None => return Ok(None),
        },
    };
    let shown = endpoint::redacted(url.trim());
    let port = endpoint::host_and_port(endpoint::authority(&shown));
    let problem = match (UreqProxy::new(url.trim()), port) {
        _ if url.starts_with("https:") && cfg!(not(feature = "rustls")) => {
            "speaks TLS, which needs the crate's feature `rustls`"
        }
        (_, Err(problem)) => problem,
        (Ok(proxy), _) if !proxy.host().is_empty() => {
            let from = variable.map(|name| format!(" (from {name})")).unwrap_or_default();
            let name = format!("{}:{}{from}", proxy.host(), proxy.port());
            return Ok(Some(ChosenProxy { proxy, name }));
        }
        _ => "is not supported; it should look like http://host:3128 or socks5://host:1080",
    };
    let from = variable.unwrap_or("the option `proxy`");
    Err(format!("the proxy {shown:?} (from {from}) {problem}"))
}

/// Returns the proxy from the environment for `origin`, and the variable that named it.
fn from_environment(origin: &Origin, environment: &Environment) -> Option<(String, &'static str)> {
    // `HTTP_PROXY` is not read: in a CGI program, it contains the client's `Proxy` header. On
    // Windows, it is the same variable as `http_proxy`.
    let names: &[&'static str] = if origin.is_secure {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    };
    let found = names.iter().find_map(|&name| Some((environment.get(name)?, name)))?;
    let exceptions = ["no_proxy", "NO_PROXY"].iter().find_map(|name| environment.get(name));
    let direct = is_loopback(&origin.host) || is_exception(origin, &exceptions.unwrap_or_default());
    (!direct).then_some(found)
}

/// Returns whether `NO_PROXY` contains the origin. An entry is `*`, an IP address, a network, a
/// host name or a parent domain, each with or without a port.
fn is_exception(origin: &Origin, exceptions: &str) -> bool {
    let host = bare_host(&origin.host).trim_end_matches('.');
    let address: Option<IpAddr> = host.parse().ok();
    exceptions
        .split(|c: char| c == ',' || c.is_ascii_whitespace())
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let (name, port) = split_port(entry);
            match address {
                _ if port.is_some_and(|port| port != origin.port) => false,
                _ if name == "*" => true,
                Some(address) => holds(name, address),
                None => {
                    let name = name.trim_start_matches('*').trim_start_matches('.');
                    let name = name.trim_end_matches('.').to_ascii_lowercase();
                    !name.is_empty() && is_within(host, &name)
                }
            }
        })
}

/// Splits an entry into its host and port. An IPv6 address has a port only after brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host, Some(port)),
        _ => (entry, None),
    }
}

/// Returns whether `network` contains `address`. A network is an address with or without a prefix
/// length.
fn holds(network: &str, address: IpAddr) -> bool {
    let (start, length) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(start), Ok(length)) = (start.parse(), length.parse::<u32>()) else { return false };
    let (differing, bits) = match (start, address) {
        (IpAddr::V4(start), IpAddr::V4(address)) => {
            (u128::from(start.to_bits() ^ address.to_bits()), 32_u32)
        }
        (IpAddr::V6(start), IpAddr::V6(address)) => (start.to_bits() ^ address.to_bits(), 128),
        _ => return false,
    };
    differing.checked_shr(bits.saturating_sub(length)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    fn chosen(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let origin = Endpoint::parse(url).unwrap().origin;
        let environment = Environment::from_iter(variables.iter().copied());
        from_environment(&origin, &environment).map(|(url, _)| url)
    }

    #[test]
    fn the_environment_is_read_as_curl_reads_it() {
        for (url, variables, expected) in [
            ("https://a.com", &[][..], None),
            ("https://a.com", &[("ALL_PROXY", "p")], Some("p")),
            ("https://a.com", &[("HTTPS_PROXY", "p")], Some("p")),
            ("https://a.com", &[("HTTPS_PROXY", "P"), ("https_proxy", "p")], Some("p")),
            ("https://a.com", &[("all_proxy", "x"), ("https_proxy", "p")], Some("p")),
            ("https://a.com", &[("http_proxy", "p")], None),
            ("http://a.com", &[("http_proxy", "p")], Some("p")),
            ("http://a.com", &[("HTTP_PROXY", "p")], None),
            ("http://a.com", &[("https_proxy", "p")], None),
            ("http://localhost:1", &[("ALL_PROXY", "p")], None),
            ("http://a.localhost", &[("ALL_PROXY", "p")], Some("p")),
            ("http://127.9.9.9", &[("ALL_PROXY", "p")], None),
            ("http://[::1]:1", &[("ALL_PROXY", "p")], None),
            ("http://10.0.0.1", &[("ALL_PROXY", "p")], Some("p")),
            ("https://a.com", &[("ALL_PROXY", "p"), ("NO_PROXY", "a.com")], None),
            (
                "https://a.com",
                &[("ALL_PROXY", "p"), ("NO_PROXY", "a.com"), ("no_proxy", "b")],
                Some("p"),
            ),
        ] {
            assert_eq!(chosen(url, variables).as_deref(), expected, "{url} {variables:?}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_suffixes_networks_and_ports() {
        for (host, exceptions, direct) in [
            ("a.com", "*", true),
            ("a.com", "b.com, a.com", true),
            ("a.com", "b.com\ta.com", true),
            ("A.com", "a.COM", true),
            ("x.a.com", "a.com", true),
            ("x.a.com", ".a.com", true),
            ("x.a.com", "*.a.com", true),
            ("a.com", ".a.com", true),
            ("a.com.", "a.com", true),
            ("a.com", "a.com.", true),
            ("ba.com", "a.com", false),
            ("a.com", "x.a.com", false),
            ("a.com", " , .,", false),
            ("a.com:8080", "a.com:8080", true),
            ("a.com:8081", "a.com:8080", false),
            ("a.com", "a.com:443", true),
            ("a.com", "a.com:x", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("10.1.2.3", "10.1.0.0/16,x", true),
            ("10.1.2.3", "10.2.0.0/16", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "2.3", false),
            ("10.1.2.3:90", "10.1.2.3:90", true),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("[2001:db8::1]", "2001:db8::/32", true),
            ("[2001:db8::1]", "[2001:db8::1]:443", true),
            ("[2001:db8::1]", "2001:db9::/32", false),
        ] {
            let origin = Endpoint::parse(&format!("https://{host}/v1")).unwrap().origin;
            assert_eq!(is_exception(&origin, exceptions), direct, "{host} {exceptions}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_without_its_password() {
        let origin = Endpoint::parse("https://a.com").unwrap().origin;
        for url in
            ["ftp://user:hunter2@host:1", "http://user:hunter2@", "http://user:hunter2@ho st"]
        {
            let config = GenerationConfig::new("m").proxy(Proxy::Url(url.to_owned()));
            let error = choose(&origin, &config).err().unwrap();
            assert!(error.contains("socks5://"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
