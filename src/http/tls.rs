//! TLS settings: trusted CAs and the client certificate, shared between agents.
//!
//! Building settings takes about a millisecond, and TLS sessions can be resumed only with the same
//! settings, so settings are cached.

use std::any::Any;
use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ureq::Error;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{ConnectionDetails, Connector, RustlsConnector, Transport};

use super::fault::MISMATCH;
use crate::config::GenerationConfig;

/// The maximum number of cached settings. A program has one or two.
const MAX_CACHED: usize = 8;

/// The maximum size in bytes of a certificate file. All CAs that browsers trust take a quarter of a
/// megabyte.
const MAX_FILE: u64 = 16 << 20;

/// TLS settings and their own connector. A connector must not be shared between settings: it builds
/// its rustls configuration from the first settings that it sees, and keeps it.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    files: [Option<PemFile>; 2],
    pub(super) config: TlsConfig,
    connector: Arc<RustlsConnector>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

static CACHED: Mutex<Vec<Tls>> = Mutex::new(Vec::new());

/// Returns the settings for a request. A request that does not use TLS needs no files.
pub(super) fn load(config: &GenerationConfig, uses_tls: bool) -> Result<Tls, String> {
    let ca_file = match &config.ca_file {
        Some(path) => Some((path.clone(), "ca_file")),
        None => config.environment.get("SSL_CERT_FILE").map(|it| (it.into(), "SSL_CERT_FILE")),
    };
    let client = config.client_certificate.clone().map(|path| (path, "client_certificate"));
    let find = |file: Option<(PathBuf, _)>| {
        let needed = file.filter(|_| uses_tls);
        needed.map(|(path, option)| PemFile::find(path, option)).transpose()
    };
    let files = [find(ca_file)?, find(client)?];
    let cached = || CACHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tls) = cached().iter().find(|tls| tls.files == files) {
        return Ok(tls.clone());
    }
    let [ca_file, client] = &files;
    let roots = match ca_file {
        Some(file) => file.roots()?,
        None if cfg!(feature = "platform-verifier") => RootCerts::PlatformVerifier,
        None => RootCerts::WebPki,
    };
    let client = client.as_ref().map(PemFile::client_certificate).transpose()?;
    let config = TlsConfig::builder().root_certs(roots).client_cert(client).build();
    let tls = Tls { files, config, connector: Arc::default() };
    let mut cached = cached();
    if cached.len() >= MAX_CACHED {
        cached.remove(0);
    }
    cached.push(tls.clone());
    Ok(tls)
}

impl Tls {
    /// Returns the option or variable that named the CA file.
    pub(super) fn ca_option(&self) -> Option<&'static str> {
        let [ca_file, _] = &self.files;
        Some(ca_file.as_ref()?.option)
    }

    /// Makes a TLS session over a connection, if the URL asks for one.
    pub(super) fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        socket: Box<dyn Transport>,
    ) -> Result<Box<dyn Transport>, Error> {
        let connect = AssertUnwindSafe(|| self.connector.connect(details, Some(socket)));
        match catch_unwind(connect) {
            Ok(connected) => Ok(Box::new(connected?.ok_or(Error::ConnectionFailed)?)),
            Err(panic) if is_mismatch(&*panic) => Err(Error::Tls(MISMATCH)),
            // Any other panic, such as one in a logger, is passed on to the caller.
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// A file and its state when it was found: certificates are renewed while programs run.
#[derive(Clone, Debug, PartialEq)]
struct PemFile {
    path: PathBuf,
    /// The option or variable that named the file.
    option: &'static str,
    size: u64,
    modified: Option<SystemTime>,
}

impl PemFile {
    /// Rejects anything but a regular file before it is opened. Opening a pipe waits for a writer,
    /// and reading it waits for its end. Neither wait can be cancelled. Also, a pipe could not be
    /// read again for the next connection.
    fn find(path: PathBuf, option: &'static str) -> Result<Self, String> {
        let mut file = Self { path, option, size: 0, modified: None };
        let about = file.path.metadata().map_err(|error| file.unreadable(&error))?;
        if !about.is_file() {
            return Err(file.problem(
                "is a directory, a pipe or a device; name a regular file of PEM certificates",
            ));
        }
        (file.size, file.modified) = (about.len(), about.modified().ok());
        Ok(file)
    }

    fn roots(&self) -> Result<RootCerts, String> {
        let (certificates, _) = self.items()?;
        if certificates.is_empty() {
            return Err(self.problem("contains no PEM certificate"));
        }
        Ok(RootCerts::from(certificates))
    }

    fn client_certificate(&self) -> Result<ClientCert, String> {
        match self.items()? {
            (chain, Some(key)) if !chain.is_empty() => Ok(ClientCert::new_with_certs(&chain, key)),
            _ => {
                Err(self.problem("must hold a PEM certificate and its private key, not encrypted"))
            }
        }
    }

    /// Returns the certificates in the file, and its first private key. Rejects a file that is too
    /// large for certificates: some files that the system generates have no end.
    fn items(&self) -> Result<(Vec<Certificate<'static>>, Option<PrivateKey<'static>>), String> {
        let mut contents = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut contents))
            .map_err(|error| self.unreadable(&error))?;
        if contents.len() as u64 > MAX_FILE {
            return Err(self.problem(
                "is larger than 16 MiB, so it is not a file of certificates; name another one",
            ));
        }
        let (mut certificates, mut key) = (Vec::new(), None);
        for item in parse_pem(&contents) {
            match item {
                Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                Ok(PemItem::PrivateKey(private)) if key.is_none() => key = Some(private),
                _ => {}
            }
        }
        Ok((certificates, key))
    }

    fn problem(&self, problem: &str) -> String {
        format!("{} {problem} ({})", self.path.display(), self.option)
    }

    fn unreadable(&self, error: &io::Error) -> String {
        format!("cannot read {} ({}): {error}", self.path.display(), self.option)
    }
}

/// Returns whether this is ureq's panic over a client certificate that does not match its key. ureq
/// detects the mismatch only when it first connects. An earlier check would need rustls, which is
/// not a direct dependency.
fn is_mismatch(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>();
    text.is_some_and(|text| text.starts_with("valid client auth certificate: "))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_before_it_is_opened() {
        // A shell's `<(…)` is also such a path. This pipe has a writer that writes nothing.
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        for path in [pipe, PathBuf::from("/dev/zero"), std::env::temp_dir()] {
            let error = PemFile::find(path.clone(), "an_option").err().unwrap();
            let shown = format!("{} is a directory, a pipe", path.display());
            assert!(error.starts_with(&shown) && error.ends_with("(an_option)"), "{error}");
        }
    }
}
