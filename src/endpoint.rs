//! Where a request goes: URLs are taken apart here.

use crate::provider::UrlForm;

/// The base URL that a variable names.
pub(crate) fn from_variable(value: &str, form: UrlForm) -> String {
    match form {
        UrlForm::Whole => value.to_owned(),
        UrlForm::WithoutVersion(version) => with_version(value, version),
        UrlForm::OllamaHost => ollama_host(value),
    }
}

/// For vendors whose own tools add the version to the address.
fn with_version(url: &str, version: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.strip_suffix(version) {
        Some(before) if before.ends_with('/') => url.to_owned(),
        _ => format!("{url}/{version}"),
    }
}

/// `OLLAMA_HOST` may be a bare host, a bare port with its colon, a pair of both, or a URL; a server
/// that listens on every address is reached on this machine.
/// (<https://github.com/ollama/ollama/blob/main/envconfig/config.go>)
fn ollama_host(host: &str) -> String {
    let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let has_port = authority.get(bracket..).is_some_and(|after| after.contains(':'));
    let bare_ipv6 = bracket == 0 && authority.matches(':').count() > 1;
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if has_port && !bare_ipv6 && port.parse::<u16>().is_ok() => (name, port),
        Some((name, _)) if has_port && !bare_ipv6 => (name, "11434"),
        _ if scheme == "https" => (authority, "443"),
        _ if host.contains("://") => (authority, "80"),
        _ => (authority, "11434"),
    };
    let name = match name {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        name if bare_ipv6 => format!("[{name}]"),
        name => name.to_owned(),
    };
    let path = path.trim_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{name}:{port}{slash}{path}/v1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_added_once() {
        for url in ["https://host/a", "https://host/a/", "https://host/a/v2", "https://host/a/v2/"]
        {
            assert_eq!(with_version(url, "v2"), "https://host/a/v2");
        }
        assert_eq!(with_version("http://host/v1", "v1beta"), "http://host/v1/v1beta");
    }

    #[test]
    fn ollama_host_as_ollama_reads_it() {
        for (host, url) in [
            ("1.2.3.4", "http://1.2.3.4:11434/v1"),
            ("1.2.3.4:8080", "http://1.2.3.4:8080/v1"),
            (":8080", "http://127.0.0.1:8080/v1"),
            ("0.0.0.0", "http://127.0.0.1:11434/v1"),
            ("[::1]", "http://[::1]:11434/v1"),
            ("::1", "http://[::1]:11434/v1"),
            ("[::]:9", "http://[::1]:9/v1"),
            ("host:99999", "http://host:11434/v1"),
            ("http://host", "http://host:80/v1"),
            ("https://host", "https://host:443/v1"),
            ("https://host:1/some/path/", "https://host:1/some/path/v1"),
        ] {
            assert_eq!(ollama_host(host), url, "{host}");
        }
    }
}
