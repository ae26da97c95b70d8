//! What goes wrong below a request, on the way through ureq to the message.

use std::fmt;
use std::io;

use ureq::Error;

/// What the transport adds to ureq's errors, inside [`Error::Other`].
#[derive(Debug)]
pub(crate) enum Fault {
    /// The connection ended in the middle of a body. ureq would take some of these for the body's
    /// end.
    Broken(io::Error),
    /// No connection; `via_proxy` says that a proxy was on the way.
    Connect { via_proxy: bool, source: Error },
    /// The stream was cancelled.
    Interrupted,
    /// The headers of the response do not end, or its trailers do not.
    Endless,
    /// There is no address for the target's name or, as `of_proxy` says, the proxy's.
    Name { of_proxy: bool, source: Error },
    /// No TLS session, with the target or, as `with_proxy` says, with the proxy.
    Tls { with_proxy: bool, source: Error },
}

/// Nobody reads it: messages are made of the fault itself.
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

/// What stands for ureq's panic over a client certificate that does not match its key.
pub(super) const MISMATCH: &str =
    "the client's certificate cannot be used with the private key beside it (client_certificate)";

/// Names an error, unless it was named on its way or is a time limit, which the phase names.
pub(super) fn named(error: Error, name: impl FnOnce(Error) -> Fault) -> Error {
    match error {
        Error::Timeout(reason) => Error::Timeout(reason),
        Error::Other(fault) if fault.is::<Fault>() => Error::Other(fault),
        error => name(error).into(),
    }
}

/// Whether the other side is gone.
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
