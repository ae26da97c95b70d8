//! Parses URLs: an [`Endpoint`] is the URL that a request goes to. No other file parses the scheme or
//! the query of a URL.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ::http::Uri;

use crate::provider::UrlForm;

/// A URL that a request can be sent to. `Display` shows it without its query, which may contain a
/// key.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) uri: Uri,
    pub(crate) origin: Origin,
}

/// The server that a URL points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) is_secure: bool,
    /// The host in lower case. An IPv6 address keeps its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Parses a URL. The error is the end of a sentence that the caller begins with the URL's name.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        if url.is_empty() {
            return Err("is empty");
        }
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("contains a space, a control character or a non-ASCII character");
        }
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            return Err("does not begin with http:// or https://");
        }
        if rest.contains('#') {
            return Err("has a fragment (#…)");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(
                "contains a user name or a password; remove them, and set `api_key` or `headers`",
            );
        }
        let (host, port) = host_and_port(authority)?;
        let port = port.unwrap_or(if is_secure { 443 } else { 80 });
        let is_address = bare_host(host) != host;
        if host.is_empty() || (host.contains(['[', ']', ':', '\\']) && !is_address) {
            return Err("has no host, or its host is neither a name nor an IP address");
        }
        let uri: Uri = url.parse().map_err(|_| "is an invalid URL")?;
        if leads_elsewhere(uri.path()) {
            return Err("has a segment `.` or `..`, which the server may resolve to another path");
        }
        Ok(Self { uri, origin: Origin { is_secure, host: host.to_ascii_lowercase(), port } })
    }

    /// Returns this URL with `path` appended to its own path. The queries of both are kept.
    pub(crate) fn join(&self, path: &str) -> Result<Self, &'static str> {
        let invalid = "has characters that a URL cannot have";
        if !path.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(invalid);
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let base = self.to_string();
        let url = format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'));
        let queries = self.uri.query().into_iter().chain([query]).filter(|query| !query.is_empty());
        let uri = with_query(url, queries).parse().map_err(|_| invalid)?;
        Ok(Self { uri, origin: self.origin.clone() })
    }

    /// Returns the names and values of the query. A field without a value gets an empty one.
    pub(crate) fn query_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query_pairs().map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Returns the URL with the values of its query replaced by `(hidden)`. A field that is also in
    /// `own`, the protocol's own query, stays visible.
    pub(crate) fn with_hidden_query(&self, own: &str) -> String {
        let shown = self.query_pairs().map(|pair| match pair.split_once('=') {
            Some((name, _)) if !own.split('&').any(|own| own == pair) => format!("{name}=(hidden)"),
            _ => pair.to_owned(),
        });
        with_query(self.to_string(), shown)
    }

    /// Returns the target of a redirect to `location`, without its query, or `None` if the target
    /// is not a valid URL.
    pub(crate) fn redirected(&self, location: &str) -> Option<Self> {
        let base = self.to_string();
        let (scheme, _) = base.split_once("://")?;
        let (folder, _) = base.rsplit_once('/')?;
        let is_whole =
            location.split(['/', '?', '#']).next().is_some_and(|start| start.ends_with(':'));
        let target = match location {
            _ if is_whole => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => format!("{scheme}://{}{location}", authority(&base)),
            _ => format!("{folder}/{location}"),
        };
        Self::parse(&redacted(&target)).ok()
    }

    fn query_pairs(&self) -> impl Iterator<Item = &str> {
        self.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.to_string().split('?').next().unwrap_or_default())
    }
}

/// Appends the pieces of a query to a URL that has none.
fn with_query<T: Borrow<str>>(url: String, pieces: impl Iterator<Item = T>) -> String {
    let query = pieces.collect::<Vec<_>>().join("&");
    if query.is_empty() { url } else { format!("{url}?{query}") }
}

/// Returns the part of a URL between its scheme and its path.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Splits an authority into its host and port. The port is checked here, because Rust would also
/// parse `+80`, and ureq ignores a port that is too large.
pub(crate) fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let pair = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let Some((host, port)) = pair else { return Ok((authority, None)) };
    let is_number = port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|&port| is_number && port > 0);
    Ok((host, Some(port.ok_or("has a port that is not between 1 and 65535")?)))
}

/// Returns a URL's host without the brackets of an IPv6 address. Other brackets are a part of the
/// name that is looked up, so `[localhost]` is not `localhost`.
pub(crate) fn bare_host(host: &str) -> &str {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.filter(|inside| inside.parse::<Ipv6Addr>().is_ok()).unwrap_or(host)
}

/// Returns whether the host is this machine. Names below `localhost`, and names that end in a dot,
/// are not: a DNS server may resolve them to another machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    match bare_host(host).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Returns whether the host is this domain or a subdomain of it.
pub(crate) fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Returns the URL without `path` at its end, or `None` if it does not end so. `{model}` in `path`
/// matches any text.
pub(crate) fn without_path(url: &str, path: &str) -> Option<String> {
    let url = url.trim_end_matches('/');
    let base = match path.split_once("{model}") {
        None => url.strip_suffix(path)?,
        Some((before, after)) => {
            let url = url.strip_suffix(after)?;
            url.get(..url.rfind(before)?)?
        }
    };
    Some(base.strip_suffix('/')?.trim_end_matches('/').to_owned())
}

/// Returns the URL of a page without the mark that OpenAI adds if it cites the page.
pub(crate) fn unmarked(url: &str) -> &str {
    url.strip_suffix("utm_source=openai")
        .and_then(|url| url.strip_suffix(['?', '&']))
        .unwrap_or(url)
}

/// Returns a URL in a form that may be shown: without user, password, query and fragment. The URL
/// may be invalid.
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#', '=']) => (scheme, rest),
        _ => ("", url),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An unencoded password may contain characters that seem to end the authority.
    let (_, port) = authority.rsplit_once(':').unwrap_or_default();
    let is_port = port.ends_with(']') || port.bytes().all(|b| b.is_ascii_digit());
    let rest = match rest.rsplit_once('@') {
        Some((_, behind)) if authority.contains('@') || !is_port => behind,
        _ => rest,
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let colon = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{colon}{rest}")
}

/// Returns whether a path has segments that a server, or a proxy before it, may read as `.` or
/// `..`. Some decode the path before they split it, some treat a backslash as a slash, and some
/// remove what begins with a semicolon.
pub(crate) fn leads_elsewhere(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default().to_ascii_lowercase();
    let path = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    path.replace("%3b", ";").split(['/', '\\']).any(|segment| {
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name, "." | "..")
    })
}

/// Returns the base URL for the value of a variable.
pub(crate) fn from_variable(value: &str, form: UrlForm) -> String {
    match form {
        UrlForm::Whole => value.to_owned(),
        UrlForm::WithoutVersion(version) => with_version(value, version),
        UrlForm::OllamaHost => ollama_host(value),
    }
}

/// Appends the version to a URL that does not end in it. The tools of some vendors add the version
/// themselves, so their variables do not contain it.
fn with_version(url: &str, version: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.strip_suffix(version) {
        Some(before) if before.ends_with('/') => url.to_owned(),
        _ => format!("{url}/{version}"),
    }
}

/// Returns the base URL for the value of `OLLAMA_HOST`: a host, a port after a colon, both, or a
/// URL. A server that listens on every address is reached through the loopback address.
/// (<https://github.com/ollama/ollama/blob/main/envconfig/config.go>)
fn ollama_host(host: &str) -> String {
    let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let bare_ipv6 = !authority.contains(']') && authority.matches(':').count() > 1;
    let pair = authority.rsplit_once(':').filter(|(_, port)| !bare_ipv6 && !port.contains(']'));
    let (name, port) = match pair {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name, port),
        Some((name, _)) => (name, "11434"),
        None if scheme == "https" => (authority, "443"),
        None if host.contains("://") => (authority, "80"),
        None => (authority, "11434"),
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
    fn a_redirect_leads_to_a_whole_url() {
        let base = Endpoint::parse("https://host/v1/chat").unwrap();
        for (location, target) in [
            ("http://other:8080/v2", "http://other:8080/v2"),
            ("//other/v2", "https://other/v2"),
            ("/v2/chat?key=secret", "https://host/v2/chat"),
            ("/login?next=https://other/", "https://host/login"),
            ("completions", "https://host/v1/completions"),
        ] {
            assert_eq!(base.redirected(location).unwrap().to_string(), target);
        }
        let base = Endpoint::parse("https://host/chat").unwrap();
        assert_eq!(base.redirected("x").unwrap().to_string(), "https://host/x");
    }

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
