//! Turns errors of the connection into messages of one line: what failed, with which server or
//! proxy, and what to do.

use std::io;
use std::time::Duration;

use ureq::{Error as UreqError, Timeout};

use super::control::{Limits, Phase};
use super::fault::{Fault, MISMATCH, Refusal, is_disconnect};
use super::pool::Connection;
use crate::error::{Error, ErrorKind, KeySource};
use crate::provider::{LlmProvider, Vendor};

/// The server that a request goes to, and the way to it. Every message about the request needs
/// them.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) provider: LlmProvider,
    /// The vendor whose dialect the server speaks. It can differ from `provider`.
    pub(crate) vendor: &'static Vendor,
    /// The host and port, with the variable that named them.
    pub(crate) address: String,
    /// `true` if `address` is the provider's own, and not chosen by the caller.
    pub(crate) is_public: bool,
    /// The path that was appended to the base URL.
    pub(crate) added_path: String,
    /// The proxy's host and port, with the variable that named them.
    pub(crate) proxy: Option<String>,
    /// The option or variable that named the CA file.
    pub(crate) ca_option: Option<&'static str>,
    pub(crate) model: String,
    pub(crate) key_source: KeySource,
    pub(crate) limits: Limits,
}

impl Peer {
    /// Adds the address to an error, and the model and the source of the key to its report.
    pub(crate) fn introduce(&self, error: &mut Error) {
        error.set_address((!self.is_public).then(|| self.address.clone()));
        if let Some(report) = error.report_mut() {
            report.model = Some(self.model.clone());
            report.key_source = self.key_source.clone();
        }
    }

    /// Returns the error for a request that got no response.
    pub(super) fn no_response(&self, error: UreqError, connection: &Connection) -> Error {
        let address = &self.address;
        match error {
            UreqError::Timeout(reason) => self.timeout(reason, connection.control.state().phase),
            UreqError::Other(fault) => match fault.downcast().map(|fault| *fault) {
                Ok(Fault::Name { of_proxy, source }) => {
                    let advice = match (of_proxy, &self.proxy) {
                        // These proxies look up names themselves if the scheme says so.
                        (false, Some(_)) => {
                            "to let the proxy look it up, use socks5h:// or socks4a://"
                        }
                        (false, None) if self.is_public => "are you online, or behind a proxy?",
                        _ => "check the URL",
                    };
                    let whom = self.other_side(of_proxy);
                    self.failed(format!("no address found for {whom}; {advice}"), source)
                }
                Ok(Fault::Socks(refusal)) => self.refused_by_socks(refusal),
                Ok(Fault::Connect { via_proxy, source }) => self.no_connection(via_proxy, source),
                Ok(Fault::Tls { with_proxy, source }) => self.no_session(with_proxy, source),
                Ok(Fault::Endless) => self.undecodable("response headers", "do not end"),
                Ok(Fault::Broken(error)) => self.lost().caused_by(error),
                Ok(Fault::Interrupted) => Error::cancelled(self.provider),
                Err(_) => self.network("the request failed"),
            },
            UreqError::Io(error) if is_disconnect(&error) => {
                self.failed(format!("{address} closed the connection without a response"), error)
            }
            // With TLS 1.3, the server rejects a missing client certificate only after the
            // handshake.
            UreqError::Io(error) if is_alert(&error) && connection.control.state().fresh => {
                self.no_session(false, error.into())
            }
            // The handshake succeeded, so the server does speak TLS.
            UreqError::Io(error) if error.kind() == io::ErrorKind::InvalidData => self.failed(
                format!("lost the connection to {address} before the response arrived"),
                error,
            ),
            // The type of the inner error belongs to another crate, so its text is compared.
            UreqError::Protocol(_) if error.to_string().contains("output too small") => {
                self.config("the URL or a header is too long")
            }
            UreqError::Protocol(_) if error.to_string().contains("http parse fail") => self
                .undecodable("response", "is not HTTP; check the URL's scheme and port")
                .caused_by(error),
            UreqError::Protocol(_) => {
                self.undecodable("response", "is not well-formed HTTP").caused_by(error)
            }
            UreqError::LargeResponseHeader(..) => {
                self.undecodable("response headers", "are too large")
            }
            // The URL and the headers were checked before. The text of these errors would show the
            // URL.
            UreqError::BadUri(_) | UreqError::RequireHttpsOnly(_) | UreqError::Http(_) => {
                self.config("the URL or a header has an invalid character")
            }
            error => self.failed(format!("the request to {address} failed"), error),
        }
    }

    /// Returns the error for a body that could not be read to its end.
    pub(super) fn cut(&self, error: UreqError) -> Error {
        let address = &self.address;
        match error {
            UreqError::Timeout(reason) => self.timeout(reason, Phase::Body),
            UreqError::Other(fault) => match fault.downcast().map(|fault| *fault) {
                Ok(Fault::Broken(error)) => self.lost().caused_by(error),
                Ok(Fault::Endless) => {
                    self.network(format!("the trailers of the response of {address} do not end"))
                }
                _ => self.lost(),
            },
            UreqError::Io(error) => self.lost().caused_by(error),
            UreqError::BodyStalled => self.lost(),
            error => {
                self.failed(format!("the response of {address} is not well-formed HTTP"), error)
            }
        }
    }

    fn timeout(&self, reason: Timeout, phase: Phase) -> Error {
        let address = &self.address;
        let Limits { connect, first_byte, idle, stall } = self.limits;
        let message = match (phase, reason) {
            (Phase::Connect, _) => {
                let by = self.proxy.as_ref().map(|proxy| format!(" by the proxy {proxy}"));
                let by = by.unwrap_or_default();
                format!("no connection to {address}{by} within {connect:?} (connect_timeout)")
            }
            (Phase::Headers, Timeout::PerWrite) => {
                format!("{address} did not read the request for {idle:?} (idle_timeout)")
            }
            (Phase::Headers, _) => {
                format!("no response from {address} within {first_byte:?} (first_byte_timeout)")
            }
            (Phase::Body, Timeout::PerRead | Timeout::PerWrite) => {
                format!("no data from {address} for {idle:?} (idle_timeout)")
            }
            (Phase::Body, _) => {
                let mut error = Error::new(ErrorKind::Timeout, self.provider, stalled(stall));
                self.introduce(&mut error);
                return error;
            }
        };
        Error::new(ErrorKind::Timeout, self.provider, message)
    }

    /// Returns the name of the proxy (if `is_proxy` is `true` and there is one) or of the server.
    fn other_side(&self, is_proxy: bool) -> String {
        match &self.proxy {
            Some(proxy) if is_proxy => format!("the proxy {proxy}"),
            _ => self.address.clone(),
        }
    }

    fn no_connection(&self, via_proxy: bool, source: UreqError) -> Error {
        let (whom, address) = (self.other_side(via_proxy), &self.address);
        match source {
            UreqError::ConnectProxyFailed(reason) => {
                // ureq writes the status as `407/407`.
                let status =
                    reason.rsplit(['/', ' ']).next().and_then(|status| status.parse().ok());
                self.refused_by_proxy(&whom, status)
            }
            UreqError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let it = if via_proxy { "it" } else { "the server" };
                self.failed(format!("{whom} refused the connection; is {it} running?"), error)
            }
            source if via_proxy => {
                self.failed(format!("{whom} did not connect to {address}"), source)
            }
            source => self.failed(format!("cannot connect to {whom}"), source),
        }
    }

    fn refused_by_proxy(&self, whom: &str, status: Option<u16>) -> Error {
        let address = &self.address;
        let Some(status) = status else {
            return self.network(format!("{whom} did not connect to {address}"));
        };
        let message = match status {
            // The failure may pass: the proxy or the target is overloaded or out of reach.
            408 | 429 | 500 | 502.. => {
                return self.network(format!("{whom} could not connect to {address} ({status})"));
            }
            // tinyproxy sends 401 if it gets no password at all.
            401 | 407 => format!("{whom} requires a valid user name and password ({status})"),
            _ => format!("{whom} refuses to connect to {address} ({status})"),
        };
        self.network(message).permanent()
    }

    fn refused_by_socks(&self, refusal: Refusal) -> Error {
        let (whom, address) = (self.other_side(true), &self.address);
        let message = match refusal {
            Refusal::Login => format!("{whom} requires a valid user name and password"),
            Refusal::Forbidden => format!("{whom} refuses to connect to {address}"),
            Refusal::Unsuitable => {
                format!("{whom} cannot be used for {address}; check the proxy's URL")
            }
            Refusal::Failed(reason) => {
                let message = format!("{whom} did not connect to {address}");
                return self.failed(message, io::Error::other(reason));
            }
        };
        self.network(message).permanent()
    }

    fn no_session(&self, with_proxy: bool, source: UreqError) -> Error {
        let whom = self.other_side(with_proxy);
        let text = source.to_string();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let certificate = |problem: &str| format!("the certificate of {whom} {problem}");
        let message = match &source {
            UreqError::Tls(MISMATCH) => return self.config(MISMATCH),
            UreqError::Io(error) if is_disconnect(error) => {
                let message = format!("{whom} closed the connection during the TLS handshake");
                return self.failed(message, source);
            }
            // The server sent the alert, so a certificate that it names is the client's.
            UreqError::Io(error) if is_alert(error) && says(&["Certificate", "UnknownCA"]) => {
                format!("{whom} requires a client certificate that it trusts (client_certificate)")
            }
            UreqError::Io(error) if is_alert(error) => format!("no TLS session with {whom}"),
            _ if says(&["CaUsedAsEndEntity"]) => certificate(
                "is a CA certificate, which a server cannot use; let the CA sign a server certificate, or \
                 make one with basicConstraints=CA:FALSE",
            ),
            _ if says(&["UnknownIssuer"]) => {
                certificate("is not signed by a trusted CA; ") + &self.advice_on_trust()
            }
            _ if says(&["NotValidForName", "valid for"]) => {
                certificate("is for another host; check the URL")
            }
            _ if says(&["Expired", "expired"]) => {
                certificate("has expired; check this machine's clock, too")
            }
            _ if says(&["NotValidYet", "not valid yet"]) => {
                certificate("is not valid yet; check this machine's clock")
            }
            _ if says(&["invalid peer certificate"]) => certificate("is not valid"),
            _ if says(&["corrupt message"]) => {
                format!("{whom} does not speak TLS; check the URL's port, or use http://")
            }
            _ => format!("no TLS session with {whom}"),
        };
        self.failed(message, source).permanent()
    }

    /// Returns the advice for a certificate that is not signed by a trusted CA.
    fn advice_on_trust(&self) -> String {
        let advice = "to trust it, set `ca_file` or SSL_CERT_FILE to a file with its CA";
        match self.ca_option {
            Some(option) => format!("the file in {option} does not contain its CA"),
            None if cfg!(feature = "platform-verifier") => advice.to_owned(),
            None => format!("{advice}, or build with the feature `platform-verifier`"),
        }
    }

    /// Returns the error for a response that is not what was asked for.
    pub(super) fn undecodable(&self, what: &str, problem: &str) -> Error {
        let message = format!("the {what} of {} {problem}", self.address);
        Error::new(ErrorKind::Decode, self.provider, message)
    }

    fn lost(&self) -> Error {
        self.network(format!("lost the connection to {}", self.address))
    }

    /// Returns a network error with its cause: the system's own error if there is one.
    fn failed(&self, message: String, source: impl Into<UreqError>) -> Error {
        match source.into() {
            UreqError::Io(source) => self.network(message).caused_by(source),
            source => self.network(message).caused_by(source),
        }
    }

    fn network(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Network, self.provider, message)
    }

    fn config(&self, message: &str) -> Error {
        Error::new(ErrorKind::Config, self.provider, message)
    }
}

/// Returns whether the other side ended the TLS session with an alert.
fn is_alert(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("received fatal alert")
}

/// Returns the message about a stream that brought no text, reasoning or tool call within `limit`.
pub(crate) fn stalled(limit: Duration) -> String {
    format!("no part of the response was completed for {limit:?} (stall_timeout)")
}

/// Returns the error for a failed read from a recording, a pipe or another client's response.
pub(super) fn of_reader(error: io::Error) -> Error {
    let (kind, message) = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            (ErrorKind::Timeout, "the reader timed out")
        }
        _ => (ErrorKind::Network, "the reader failed"),
    };
    Error::new(kind, None, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{AlertDescription, CertificateError, InvalidMessage, OtherError};

    use super::*;
    use crate::config::GenerationConfig;
    use crate::endpoint::Endpoint;
    use crate::environment::Environment;
    use crate::http::ConnectionSettings;

    fn peer(proxy: Option<&str>) -> Peer {
        Peer {
            vendor: LlmProvider::Local.vendor(),
            provider: LlmProvider::Local,
            address: "host:443".to_owned(),
            is_public: false,
            added_path: String::new(),
            proxy: proxy.map(str::to_owned),
            ca_option: None,
            model: "m".to_owned(),
            key_source: KeySource::NoKey,
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_name_without_an_address_may_mean_that_one_is_offline() {
        let config = GenerationConfig::new("m").environment(Environment::empty());
        let endpoint = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let settings = ConnectionSettings::new(&endpoint, &config).unwrap();
        let connection = Connection::new(&settings);
        for (is_public, proxy, says) in [
            (true, None, "host:443; are you online, or behind a proxy?"),
            (false, None, "host:443; check the URL"),
            (
                true,
                Some("host:3128 (from https_proxy)"),
                "the proxy host:3128 (from https_proxy); check the URL",
            ),
        ] {
            let peer = Peer { is_public, ..peer(proxy) };
            let of_proxy = proxy.is_some();
            let fault = Fault::Name { of_proxy, source: UreqError::HostNotFound };
            let error = peer.no_response(fault.into(), &connection);
            assert_eq!(error.to_string(), format!("no address found for {says}"));
        }
    }

    #[test]
    fn an_alert_is_the_server_s_word_and_the_rest_is_ours() {
        let peer = peer(None);
        let alert = rustls::Error::AlertReceived;
        let invalid = rustls::Error::InvalidCertificate;
        for (error, says) in [
            (alert(AlertDescription::CertificateRequired), "requires a client certificate"),
            (alert(AlertDescription::BadCertificate), "requires a client certificate"),
            (alert(AlertDescription::CertificateExpired), "requires a client certificate"),
            (alert(AlertDescription::UnknownCA), "requires a client certificate"),
            (alert(AlertDescription::HandshakeFailure), "no TLS session with host:443"),
            (invalid(CertificateError::Expired), "has expired"),
            (invalid(CertificateError::BadEncoding), "is not valid"),
            (invalid(CertificateError::UnknownIssuer), "trusted CA; to trust it, set"),
            (
                invalid(CertificateError::Other(OtherError(Arc::new(Error::new(
                    ErrorKind::Config,
                    None,
                    "CaUsedAsEndEntity",
                ))))),
                "is a CA certificate",
            ),
            (InvalidMessage::InvalidContentType.into(), "does not speak TLS"),
        ] {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            let error = peer.no_session(false, source.into());
            assert!(error.to_string().contains(says), "{error:?}");
        }
        let named = Peer { ca_option: Some("ca_file"), ..peer };
        let source =
            io::Error::new(io::ErrorKind::InvalidData, invalid(CertificateError::UnknownIssuer));
        let error = named.no_session(false, source.into()).to_string();
        assert!(error.ends_with("the file in ca_file does not contain its CA"), "{error}");
    }
}
