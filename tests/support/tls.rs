//! Certificates that are generated in the test, and TLS servers that use them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ALL_VERSIONS, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

/// The certificate that a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Good,
    Expired,
    /// A certificate for another name than 127.0.0.1.
    OtherHost,
    /// A certificate that is signed by itself, not by the CA.
    SelfSigned,
}

pub(crate) type Session = StreamOwned<ServerConnection, TcpStream>;

/// A server on 127.0.0.1, and the file of the CA that signed its certificate.
#[derive(Debug)]
pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    pub(crate) ca_file: PathBuf,
}

impl TlsServer {
    /// Calls `serve` with each session, in its own thread. A session that `serve` does not close
    /// properly ends without `close_notify`.
    pub(crate) fn start(
        shows: Shows,
        serve: impl Fn(&mut Session) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::speaking(ALL_VERSIONS, shows, serve)
    }

    /// Starts a server that supports only these versions of TLS.
    pub(crate) fn speaking(
        versions: &[&'static SupportedProtocolVersion],
        shows: Shows,
        serve: impl Fn(&mut Session) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (config, authority) = config(versions, shows);
        let name = format!("kerb-stream-test-{}-{}.pem", std::process::id(), address.port());
        let ca_file = std::env::temp_dir().join(name);
        std::fs::write(&ca_file, authority).unwrap();
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serve, config) = (Arc::clone(&serve), Arc::clone(&config));
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    serve(&mut StreamOwned::new(connection, stream))
                });
            }
        });
        Self { address, ca_file }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/v1", self.address)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        // A leftover file does no harm.
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

fn config(
    versions: &[&'static SupportedProtocolVersion],
    shows: Shows,
) -> (Arc<ServerConfig>, String) {
    let (certificate, key, authority) = certificate(shows);
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (Arc::new(config), authority)
}

/// Returns a certificate, its key, and the CA that signed it, in PEM.
fn certificate(shows: Shows) -> (Certificate, KeyPair, String) {
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    // Without this, the CA would have rcgen's default name, like every other certificate here.
    issuer.distinguished_name.push(DnType::CommonName, "The authority of the tests");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();

    let name = if shows == Shows::OtherHost { "other.test" } else { "127.0.0.1" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if shows == Shows::Expired {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = match shows {
        Shows::SelfSigned => params.self_signed(&key).unwrap(),
        _ => params.signed_by(&key, &issuer).unwrap(),
    };
    (certificate, key, issuer.pem())
}

/// Writes the files for a server that is not part of these tests: `s.pem` and `s.key`, and `ca.pem`
/// for its clients.
pub(crate) fn write_pem(folder: &Path) -> io::Result<()> {
    let (certificate, key, authority) = certificate(Shows::Good);
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("s.pem"), certificate.pem())?;
    std::fs::write(folder.join("s.key"), key.serialize_pem())?;
    std::fs::write(folder.join("ca.pem"), authority)
}

/// Returns the TLS records of these pieces, one or more for each. They are not sent yet.
pub(crate) fn records<'a>(
    session: &mut Session,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> io::Result<Vec<u8>> {
    for piece in pieces {
        session.conn.writer().write_all(piece)?;
    }
    let mut records = Vec::new();
    while session.conn.wants_write() {
        session.conn.write_tls(&mut records)?;
    }
    Ok(records)
}

/// Reads a whole request, so that closing the connection does not reset it.
pub(crate) fn read_request(stream: &mut impl Read) -> io::Result<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            if body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
                return Ok(String::from_utf8_lossy(&request).into_owned());
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Writes a response whose body ends when the connection closes.
pub(crate) fn answer(stream: &mut impl Write, body: &str) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{head}{body}").as_bytes())?;
    stream.flush()
}
