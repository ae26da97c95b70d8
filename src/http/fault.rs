//! Carries the transport's own errors through ureq, so that messages can be built from them.

use std::fmt;
use std::io;

use ureq::Error;

/// An error that the transport adds to those of ureq. It travels inside [`Error::Other`].
#[derive(Debug)]
pub(crate) enum Fault {
    /// The connection ended in the middle of a body. In some cases, ureq would take this for the
    /// end of the body.
    Broken(io::Error),
    /// No connection was established. `via_proxy` is `true` if a proxy was on the way.
    Connect { via_proxy: bool, source: Error },
    /// The stream was cancelled.
    Interrupted,
    /// The response headers, or the trailers, do not end.
    Endless,
    /// The DNS lookup failed for the target's name, or for the proxy's if `of_proxy` is `true`.
    Name { of_proxy: bool, source: Error },
    /// A SOCKS proxy did not connect to the target.
    Socks(Refusal),
    /// No TLS session was established with the target, or with the proxy if `with_proxy` is `true`.
    Tls { with_proxy: bool, source: Error },
}

/// This text is never shown: messages are built from the variants.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Other(Box::new(fault))
    }
}

/// The reason why a SOCKS proxy did not connect to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The user name or the password is missing or wrong.
    Login,
    /// The proxy's rules forbid the target.
    Forbidden,
    /// The other side does not speak this version of SOCKS, or not for such a target.
    Unsuitable,
    /// The proxy tried to connect, and failed.
    Failed(&'static str),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Fault::Socks(refusal).into()
    }
}

/// The message that replaces ureq's panic over a client certificate that does not match its key.
pub(super) const MISMATCH: &str =
    "the client's certificate cannot be used with the private key beside it (client_certificate)";

/// Wraps an error in a fault. A fault stays as it is, and so does a timeout, which is described by
/// its phase.
pub(super) fn named(error: Error, name: impl FnOnce(Error) -> Fault) -> Error {
    match error {
        Error::Timeout(reason) => Error::Timeout(reason),
        Error::Other(fault) if fault.is::<Fault>() => Error::Other(fault),
        error => name(error).into(),
    }
}

/// Returns whether the other side closed the connection.
pub(crate) fn is_disconnect(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}
