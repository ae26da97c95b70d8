//! Whom to trust, and who we are: TLS settings, shared between agents.
//!
//! Building one takes about a millisecond and lets sessions be resumed, so each is kept.

use std::any::Any;
use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ureq::tls::{ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{ConnectionDetails, Connector, RustlsConnector, Transport};

use super::fault::MISMATCH;
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};
use crate::provider::LlmProvider;

/// How many settings are kept. A program has one or two.
const MAX_CACHED: usize = 8;

/// The largest file that is read. All authorities that browsers trust take a quarter of a megabyte.
const MAX_FILE: u64 = 16 << 20;

/// Where the names of the files come from.
const CA_FILE: &str = "ca_file or SSL_CERT_FILE";
const CLIENT_CERTIFICATE: &str = "client_certificate";

/// ConnectionSettings, and the connector that has seen no others: it keeps what it makes of the first.
#[derive(Clone)]
pub(super) struct Tls {
    source: TlsFiles,
    pub(super) config: TlsConfig,
    pub(super) connector: SharedConnector,
}

#[derive(Clone, PartialEq)]
struct TlsFiles {
    ca_file: Option<Stamped>,
    client_certificate: Option<Stamped>,
}

/// A file as it was: certificates are renewed while programs run.
#[derive(Clone, PartialEq)]
struct Stamped {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

static CACHED: Mutex<Vec<Tls>> = Mutex::new(Vec::new());

/// The settings for a request over TLS.
pub(super) fn load(config: &GenerationConfig, provider: LlmProvider) -> Result<Tls, Error> {
    let variable = || config.environment.get("SSL_CERT_FILE").map(PathBuf::from);
    let ca_file = config.ca_file.clone().or_else(variable);
    load_files(ca_file.as_deref(), config.client_certificate.as_deref(), provider)
}

/// The settings for one that does without.
pub(super) fn load_default(provider: LlmProvider) -> Result<Tls, Error> {
    load_files(None, None, provider)
}

fn load_files(
    ca_file: Option<&Path>,
    client_certificate: Option<&Path>,
    provider: LlmProvider,
) -> Result<Tls, Error> {
    let stamp =
        |path: Option<&Path>, option| path.map(|path| stamped(path, option, provider)).transpose();
    let source = TlsFiles {
        ca_file: stamp(ca_file, CA_FILE)?,
        client_certificate: stamp(client_certificate, CLIENT_CERTIFICATE)?,
    };
    let cached = || CACHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tls) = cached().iter().find(|tls| tls.source == source) {
        return Ok(tls.clone());
    }
    let roots = match ca_file {
        Some(path) => roots(path, provider)?,
        None if cfg!(feature = "platform-verifier") => RootCerts::PlatformVerifier,
        None => RootCerts::WebPki,
    };
    let client = client_certificate.map(|path| read_client_certificate(path, provider));
    let tls = Tls {
        source,
        config: TlsConfig::builder().root_certs(roots).client_cert(client.transpose()?).build(),
        connector: SharedConnector(Arc::default()),
    };
    let mut cached = cached();
    if cached.len() >= MAX_CACHED {
        cached.remove(0);
    }
    cached.push(tls.clone());
    Ok(tls)
}

/// Refuses what is no regular file before it is opened: opening a pipe waits for a writer, reading
/// one for its end, and neither can be cancelled. It could not be read again for the next connection
/// either.
fn stamped(path: &Path, option: &str, provider: LlmProvider) -> Result<Stamped, Error> {
    let about = path.metadata().map_err(|e| unreadable(path, option, provider, e))?;
    if !about.is_file() {
        let message = format!(
            "{} is a directory, a pipe or a device; name a regular file of PEM certificates \
             ({option})",
            path.display()
        );
        return Err(Error::new(ErrorKind::Config, provider, message));
    }
    Ok(Stamped { path: path.to_owned(), size: about.len(), modified: about.modified().ok() })
}

fn roots(path: &Path, provider: LlmProvider) -> Result<RootCerts, Error> {
    let pem = contents(path, CA_FILE, provider)?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        let message = format!("{} holds no PEM certificate ({CA_FILE})", path.display());
        return Err(Error::new(ErrorKind::Config, provider, message));
    }
    Ok(RootCerts::from(certificates))
}

fn read_client_certificate(path: &Path, provider: LlmProvider) -> Result<ClientCert, Error> {
    let pem = contents(path, CLIENT_CERTIFICATE, provider)?;
    let mut chain = Vec::new();
    let mut key = None;
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => chain.push(certificate),
            Ok(PemItem::PrivateKey(private)) if key.is_none() => key = Some(private),
            _ => {}
        }
    }
    match key {
        Some(key) if !chain.is_empty() => Ok(ClientCert::new_with_certs(&chain, key)),
        _ => {
            let message = format!(
                "{} must hold a PEM certificate and its private key, not encrypted \
                 ({CLIENT_CERTIFICATE})",
                path.display()
            );
            Err(Error::new(ErrorKind::Config, provider, message))
        }
    }
}

/// What is in a file, unless that is more than any file of certificates holds: some that the system
/// makes up have no end.
fn contents(path: &Path, option: &str, provider: LlmProvider) -> Result<Vec<u8>, Error> {
    let mut contents = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut contents))
        .map_err(|error| unreadable(path, option, provider, error))?;
    if read as u64 > MAX_FILE {
        let message = format!(
            "{} is larger than {} MiB, so it is no file of certificates; name another one \
             ({option})",
            path.display(),
            MAX_FILE >> 20
        );
        return Err(Error::new(ErrorKind::Config, provider, message));
    }
    Ok(contents)
}

fn unreadable(path: &Path, option: &str, provider: LlmProvider, error: io::Error) -> Error {
    let message = format!("cannot read {} ({option})", path.display());
    Error::new(ErrorKind::Config, provider, message).caused_by(error)
}

/// One connector for many agents.
#[derive(Clone, Debug)]
pub(super) struct SharedConnector(Arc<RustlsConnector>);

impl Connector<Box<dyn Transport>> for SharedConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<Box<dyn Transport>>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let connected = catch_unwind(AssertUnwindSafe(|| self.0.connect(details, chained)));
        match connected {
            Ok(connected) => Ok(connected?.map(|transport| Box::new(transport) as _)),
            Err(panic) if is_mismatch(&*panic) => Err(ureq::Error::Tls(MISMATCH)),
            // Another one, such as that of a logger, is the caller's to see.
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Whether this is ureq's panic over a client certificate that does not belong to its key. ureq finds
/// that out when it first connects, and only rustls, which has no name here, could before.
fn is_mismatch(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>();
    text.is_some_and(|text| text.starts_with("valid client auth certificate: "))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_before_it_is_opened() {
        // A shell's `<(…)` is such a path, too. It has a writer, which writes nothing.
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        for path in [pipe, PathBuf::from("/dev/zero"), std::env::temp_dir()] {
            for option in [CA_FILE, CLIENT_CERTIFICATE] {
                let error = stamped(&path, option, LlmProvider::Local).err().unwrap().to_string();
                let shown = format!("local: {} is a directory, a pipe", path.display());
                assert!(error.starts_with(&shown) && error.contains(option), "{error}");
            }
        }
    }
}
