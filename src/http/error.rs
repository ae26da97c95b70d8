//! Errors of the connection, in one line each: what went wrong, with whom, and what to do.

use std::io;
use std::time::Duration;

use ureq::{Error as UreqError, Timeout};

use super::control::{Limits, Phase};
use super::fault::{Fault, MISMATCH, is_disconnect};
use super::pool::Connection;
use crate::error::{Error, ErrorKind, Report};
use crate::provider::LlmProvider;

/// Whom a request goes to, and by which way: what every message about it needs.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) provider: LlmProvider,
    /// The host and port, and the variable that named them.
    pub(crate) address: String,
    /// Whether that is the provider's own address, and not the caller's choice.
    pub(crate) is_public: bool,
    /// The path that was added to the base URL, with its slash.
    pub(crate) added_path: String,
    /// The proxy's host and port, and the variable that named them.
    pub(crate) proxy: Option<String>,
    pub(crate) model: String,
    /// Where the key comes from; `None` if there is none.
    pub(crate) key_source: Option<String>,
    pub(crate) limits: Limits,
}

impl Peer {
    /// Tells a report what it does not know by itself.
    pub(super) fn introduce(&self, report: &mut Report) {
        report.address = (!self.is_public).then(|| self.address.clone());
        report.model = Some(self.model.clone());
        report.key_source = Some(self.key_source.clone().unwrap_or_default());
    }

    pub(super) fn cancelled(&self) -> Error {
        Error::new(ErrorKind::Cancelled, self.provider, "cancelled")
    }

    /// Why there is no response.
    pub(super) fn no_response(&self, error: UreqError, connection: &Connection) -> Error {
        let address = &self.address;
        let whom = |by_proxy: bool| match &self.proxy {
            Some(proxy) if by_proxy => format!("the proxy {proxy}"),
            _ => address.clone(),
        };
        let phase = connection.control.phase();
        match error {
            UreqError::Timeout(reason) => self.timeout(reason, phase),
            UreqError::Other(fault) => match fault.downcast::<Fault>() {
                Ok(fault) => match *fault {
                    Fault::Name { host, source } => {
                        let advice = match &self.proxy {
                            Some(proxy) if proxy.starts_with(&host) => "check the proxy's URL",
                            _ if self.is_public => "are you online, or behind a proxy?",
                            _ => "check the URL",
                        };
                        self.network(format!("no address found for {host}; {advice}"), source)
                    }
                    Fault::Connect { proxy: by, source } => {
                        self.no_connection(by, &whom(by), source)
                    }
                    Fault::Tls { proxy: by, source } => self.no_session(&whom(by), source),
                    Fault::Endless => self.undecodable("does not end", None),
                    Fault::Broken(error) => self.network(self.broken(), error.into()),
                    Fault::Interrupted => self.cancelled(),
                },
                Err(_) => self.failed("the request failed"),
            },
            UreqError::Io(error) if is_disconnect(&error) => {
                let message = format!("{address} closed the connection before it answered");
                self.network(message, error.into())
            }
            // TLS 1.3 asks for the client's certificate, and misses it, after the handshake.
            UreqError::Io(error) if is_alert(&error) && connection.control.is_fresh() => {
                self.no_session(&whom(false), error.into())
            }
            // There was a session, so the server does speak TLS.
            UreqError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = format!("lost the connection to {address} before the response came");
                self.network(message, error.into())
            }
            error @ UreqError::Protocol(_) => {
                // The type of what is inside has no name here.
                let text = error.to_string();
                if text.contains("output too small") {
                    return self.refused_by_us("the URL or a header is too long");
                }
                let why = match text.contains("http parse fail") {
                    true => "is not HTTP; check the URL's scheme and port",
                    false => "is not well-formed HTTP",
                };
                self.undecodable(why, Some(error))
            }
            UreqError::LargeResponseHeader(..) => self.undecodable("is too large", None),
            // Looked for before; their texts would show the URL.
            UreqError::BadUri(_) | UreqError::RequireHttpsOnly(_) | UreqError::Http(_) => {
                self.refused_by_us("the URL or a header has a character that it may not have")
            }
            error => self.network(format!("the request to {address} failed"), error),
        }
    }

    /// Why a body ends where it does.
    pub(super) fn cut(&self, error: UreqError) -> Error {
        match error {
            UreqError::Timeout(reason) => self.timeout(reason, Phase::Body),
            UreqError::Other(fault) => match fault.downcast::<Fault>() {
                Ok(fault) => match *fault {
                    Fault::Broken(error) => self.network(self.broken(), error.into()),
                    Fault::Endless => {
                        let address = &self.address;
                        self.failed(&format!(
                            "the trailers of the response of {address} do not end"
                        ))
                    }
                    _ => self.failed(&self.broken()),
                },
                Err(_) => self.failed(&self.broken()),
            },
            UreqError::Io(error) => self.network(self.broken(), error.into()),
            UreqError::BodyStalled => self.failed(&self.broken()),
            error => {
                let message = format!("the response of {} is not well-formed HTTP", self.address);
                self.network(message, error)
            }
        }
    }

    fn broken(&self) -> String {
        format!("lost the connection to {}", self.address)
    }

    fn timeout(&self, reason: Timeout, phase: Phase) -> Error {
        let address = &self.address;
        let shown = |time: Duration| format!("{time:?}");
        let message = match (phase, reason) {
            (Phase::Connect, _) => {
                let time = shown(self.limits.connect);
                let by = match &self.proxy {
                    Some(proxy) => format!(" by the proxy {proxy}"),
                    None => String::new(),
                };
                format!("no connection to {address}{by} within {time} (connect_timeout)")
            }
            (Phase::Head, Timeout::PerWrite) => {
                let time = shown(self.limits.idle);
                format!("{address} read nothing of the request for {time} (idle_timeout)")
            }
            (Phase::Head, _) => {
                let time = shown(self.limits.first_byte);
                format!("no response from {address} within {time} (first_byte_timeout)")
            }
            (Phase::Body, Timeout::PerRead | Timeout::PerWrite) => {
                let time = shown(self.limits.idle);
                format!("nothing came from {address} for {time} (idle_timeout)")
            }
            (Phase::Body, _) => return stalled(self.provider, self.limits.stall),
        };
        Error::new(ErrorKind::Timeout, self.provider, message)
    }

    fn no_connection(&self, by_proxy: bool, whom: &str, source: UreqError) -> Error {
        let address = &self.address;
        match source {
            UreqError::ConnectProxyFailed(reason) => {
                // ureq writes the status as `407/407`.
                let status: Option<u16> =
                    reason.rsplit(['/', ' ']).next().and_then(|status| status.parse().ok());
                match status {
                    // tinyproxy says 401 where it is given no password at all.
                    Some(status @ (401 | 407)) => self
                        .permanent(format!("{whom} asks for a valid user and password ({status})")),
                    // It has no time, or the target had none.
                    Some(status @ (408 | 429 | 500 | 502..)) => {
                        self.failed(&format!("{whom} could not connect to {address} ({status})"))
                    }
                    Some(status) => {
                        self.permanent(format!("{whom} refuses to connect to {address} ({status})"))
                    }
                    None => self.failed(&format!("{whom} did not connect to {address}")),
                }
            }
            UreqError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let message = match by_proxy {
                    true => format!("{whom} refused the connection; is it running?"),
                    false => format!("{whom} refused the connection; is the server running?"),
                };
                self.network(message, error.into())
            }
            UreqError::Io(error) if by_proxy && error.raw_os_error().is_none() => {
                self.refused_by_socks(whom, error)
            }
            source if by_proxy => {
                self.network(format!("{whom} did not connect to {address}"), source)
            }
            source => self.network(format!("cannot connect to {whom}"), source),
        }
    }

    /// What a SOCKS proxy replies, which ureq says in words of its own only.
    fn refused_by_socks(&self, whom: &str, error: io::Error) -> Error {
        let address = &self.address;
        let text = error.to_string();
        match (error.kind(), text.as_str()) {
            (io::ErrorKind::PermissionDenied, _) | (_, "no acceptable auth methods") => {
                self.permanent(format!("{whom} asks for a valid user and password"))
            }
            (_, "connection not allowed by ruleset") => {
                self.permanent(format!("{whom} refuses to connect to {address}"))
            }
            (io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput, _)
            | (_, "command not supported" | "address kind not supported" | "unknown auth method") =>
            {
                let message = format!("{whom} cannot be used for {address}; check the proxy's URL");
                self.permanent(message).caused_by(error)
            }
            _ => self.network(format!("{whom} did not connect to {address}"), error.into()),
        }
    }

    fn no_session(&self, whom: &str, source: UreqError) -> Error {
        if let UreqError::Tls(MISMATCH) = source {
            return self.refused_by_us(MISMATCH);
        }
        let text = source.to_string();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        // An alert is the server's own word, and a certificate in it is the client's.
        let is_alert = matches!(&source, UreqError::Io(error) if is_alert(error));
        let message = if is_alert && says(&["Certificate", "UnknownCA"]) {
            format!("{whom} wants a client's certificate that it trusts (client_certificate)")
        } else if is_alert {
            format!("no TLS session with {whom}")
        } else if says(&["UnknownIssuer", "CaUsedAsEndEntity"]) {
            let or_system = match cfg!(feature = "platform-verifier") {
                true => "",
                false => ", or build with the feature `platform-verifier`",
            };
            format!(
                "the certificate of {whom} is not signed by a trusted CA; if it should be trusted, name \
                 the CA's file in `ca_file` or SSL_CERT_FILE{or_system}"
            )
        } else if says(&["NotValidForName", "not valid for name", "valid for"]) {
            format!("the certificate of {whom} is for another host; check the URL")
        } else if says(&["Expired", "expired"]) {
            format!("the certificate of {whom} has expired; check this machine's clock, too")
        } else if says(&["NotValidYet", "not valid yet"]) {
            format!("the certificate of {whom} is not valid yet; check this machine's clock")
        } else if says(&["invalid peer certificate"]) {
            format!("the certificate of {whom} is not valid")
        } else if says(&["corrupt message"]) {
            format!("{whom} does not speak TLS; check the URL's port, or use http://")
        } else {
            match &source {
                UreqError::Io(error) if is_disconnect(error) => {
                    let message = format!("{whom} closed the connection during the TLS handshake");
                    return self.network(message, source);
                }
                _ => format!("no TLS session with {whom}"),
            }
        };
        caused(self.permanent(message), source)
    }

    fn undecodable(&self, why: &str, source: Option<UreqError>) -> Error {
        let message = format!("the head of the response of {} {why}", self.address);
        let error = Error::new(ErrorKind::Decode, self.provider, message);
        match source {
            Some(source) => caused(error, source),
            None => error,
        }
    }

    fn network(&self, message: String, source: UreqError) -> Error {
        caused(Error::new(ErrorKind::Network, self.provider, message), source)
    }

    fn failed(&self, message: &str) -> Error {
        Error::new(ErrorKind::Network, self.provider, message)
    }

    fn permanent(&self, message: String) -> Error {
        Error::new(ErrorKind::Network, self.provider, message).permanent()
    }

    fn refused_by_us(&self, message: &str) -> Error {
        Error::new(ErrorKind::Config, self.provider, message)
    }
}

/// Whether the other side has ended the TLS session with a reason.
fn is_alert(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("received fatal alert")
}

/// Why a response that does not end is read no longer, after `limit`: nothing came, or signs of life
/// only, or a part of an event.
pub(crate) fn stalled(provider: LlmProvider, limit: Duration) -> Error {
    let message = format!("no piece of the answer was completed for {limit:?} (stall_timeout)");
    Error::new(ErrorKind::Timeout, provider, message)
}

/// What another client's reader, a pipe or a file says.
pub(super) fn of_reader(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Error::new(ErrorKind::Timeout, None, "the reader gave up waiting").caused_by(error)
        }
        _ => Error::new(ErrorKind::Network, None, "the reader failed").caused_by(error),
    }
}

/// Adds the cause: the system's own error where there is one.
fn caused(error: Error, source: UreqError) -> Error {
    match source {
        UreqError::Io(source) => error.caused_by(source),
        source => error.caused_by(source),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, InvalidMessage};

    use super::*;

    #[test]
    fn an_alert_is_the_server_s_word_and_the_rest_is_ours() {
        let peer = Peer {
            provider: LlmProvider::Local,
            address: "host:443".to_owned(),
            is_public: false,
            added_path: String::new(),
            proxy: None,
            model: "m".to_owned(),
            key_source: None,
            limits: Limits::default(),
        };
        let alert = rustls::Error::AlertReceived;
        let invalid = rustls::Error::InvalidCertificate;
        for (error, says) in [
            (alert(AlertDescription::CertificateRequired), "wants a client's certificate"),
            (alert(AlertDescription::BadCertificate), "wants a client's certificate"),
            (alert(AlertDescription::CertificateExpired), "wants a client's certificate"),
            (alert(AlertDescription::UnknownCA), "wants a client's certificate"),
            (alert(AlertDescription::HandshakeFailure), "no TLS session with host"),
            (invalid(CertificateError::Expired), "has expired"),
            (invalid(CertificateError::BadEncoding), "is not valid"),
            (invalid(CertificateError::UnknownIssuer), "not signed by a trusted CA"),
            (InvalidMessage::InvalidContentType.into(), "does not speak TLS"),
        ] {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            let error = peer.no_session("host", source.into());
            assert!(error.to_string().contains(says), "{error:?}");
        }
    }
}
