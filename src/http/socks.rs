//! Asks a SOCKS proxy to connect to the target.
//!
//! SOCKS5 is described in RFC 1928, and its password in RFC 1929. SOCKS4 has no RFC; SOCKS4a adds host
//! names to it.

use std::io::{Read, Write};
use std::net::SocketAddr;

use ureq::{Error, Proxy, ProxyProtocol};

use super::fault::Refusal;

/// The target of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    Address(SocketAddr),
    /// A host and a port. The proxy looks up the host.
    Name(&'a str, u16),
}

/// Returns whether this is a protocol of SOCKS proxies.
pub(super) fn is_socks(protocol: ProxyProtocol) -> bool {
    use ProxyProtocol::{Socks4, Socks4A, Socks5, Socks5h};
    matches!(protocol, Socks4 | Socks4A | Socks5 | Socks5h)
}

/// Asks the proxy at the other end of `stream` to connect to `target`. After it has agreed, the
/// connection to the proxy carries that to the target.
pub(super) fn handshake(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    target: Target<'_>,
) -> Result<(), Error> {
    let login = proxy.username().map(|user| (user, proxy.password().unwrap_or_default()));
    match proxy.protocol() {
        ProxyProtocol::Socks4 | ProxyProtocol::Socks4A => socks4(stream, target),
        _ => socks5(stream, login, target),
    }
}

fn socks4(stream: &mut (impl Read + Write), target: Target<'_>) -> Result<(), Error> {
    let (address, name, port) = match target {
        Target::Address(SocketAddr::V4(address)) => (address.ip().octets(), None, address.port()),
        Target::Address(SocketAddr::V6(_)) => return Err(Refusal::Unsuitable.into()),
        // This address means that a name follows.
        Target::Name(name, port) => ([0, 0, 0, 1], Some(name), port),
    };
    // The version, the command to connect, and the target. The user is empty, and ends in a zero,
    // as the name does.
    let mut request = vec![4, 1];
    request.extend(port.to_be_bytes());
    request.extend(address);
    request.push(0);
    request.extend(name.into_iter().flat_map(|name| name.bytes().chain([0])));
    stream.write_all(&request)?;
    // The rest of the reply is an address that means nothing here.
    match read::<8>(stream)? {
        [0, 90, ..] => Ok(()),
        [0, 91, ..] => Err(Refusal::Failed("the proxy gives no reason").into()),
        [0, 92 | 93, ..] => Err(Refusal::Login.into()),
        _ => Err(Refusal::Unsuitable.into()),
    }
}

fn socks5(
    stream: &mut (impl Read + Write),
    login: Option<(&str, &str)>,
    target: Target<'_>,
) -> Result<(), Error> {
    // The version, and the number of the ways to log in, and these: 0 is without a password, and 2
    // with one.
    stream.write_all(if login.is_some() { &[5, 2, 2, 0] } else { &[5, 1, 0] })?;
    match (read(stream)?, login) {
        ([5, 0], _) => {}
        ([5, 2], Some((user, password))) => {
            let mut request = vec![1];
            push_text(&mut request, user)?;
            push_text(&mut request, password)?;
            stream.write_all(&request)?;
            match read(stream)? {
                [1, 0] => {}
                [1, _] => return Err(Refusal::Login.into()),
                _ => return Err(Refusal::Unsuitable.into()),
            }
        }
        ([5, 0xff], _) => return Err(Refusal::Login.into()),
        _ => return Err(Refusal::Unsuitable.into()),
    }
    // The version, the command to connect, a zero, and the target with its kind.
    let mut request = vec![5, 1, 0];
    let port = match target {
        Target::Address(SocketAddr::V4(address)) => {
            request.push(1);
            request.extend(address.ip().octets());
            address.port()
        }
        Target::Address(SocketAddr::V6(address)) => {
            request.push(4);
            request.extend(address.ip().octets());
            address.port()
        }
        Target::Name(name, port) => {
            request.push(3);
            push_text(&mut request, name)?;
            port
        }
    };
    request.extend(port.to_be_bytes());
    stream.write_all(&request)?;
    match read(stream)? {
        [5, 0] => {}
        [5, 2] => return Err(Refusal::Forbidden.into()),
        [5, 7 | 8] => return Err(Refusal::Unsuitable.into()),
        [5, reply] => return Err(Refusal::Failed(failure(reply)).into()),
        _ => return Err(Refusal::Unsuitable.into()),
    }
    // The reply ends in an address and a port that mean nothing here.
    let length = match read(stream)? {
        [_, 1] => 4,
        [_, 4] => 16,
        [_, 3] => u8::from_be_bytes(read(stream)?).into(),
        _ => return Err(Refusal::Unsuitable.into()),
    };
    stream.read_exact(&mut vec![0; length + 2])?;
    Ok(())
}

fn failure(reply: u8) -> &'static str {
    match reply {
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the time to live expired",
        _ => "the proxy failed",
    }
}

/// Appends a text after its length, which is one byte.
fn push_text(request: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length > 0);
    request.push(length.ok_or(Refusal::Unsuitable)?);
    request.extend(text.bytes());
    Ok(())
}

fn read<const N: usize>(stream: &mut impl Read) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor};

    use super::*;
    use crate::http::fault::Fault;

    /// A proxy that sends these bytes, whatever it receives.
    struct Script {
        replies: Cursor<Vec<u8>>,
        received: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.replies.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.received.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn asked(proxy: &str, target: Target<'_>, replies: &[u8]) -> (Result<(), Error>, Script) {
        let mut script = Script { replies: Cursor::new(replies.to_vec()), received: Vec::new() };
        let proxy = Proxy::new(proxy).unwrap();
        (handshake(&mut script, &proxy, target), script)
    }

    #[test]
    fn the_target_is_asked_for_and_no_byte_of_its_response_is_taken() {
        let ipv4 = || Target::Address("192.0.2.1:80".parse().unwrap());
        let ipv6 = || Target::Address("[2001:db8::1]:443".parse().unwrap());
        let name = || Target::Name("a.example", 443);
        let address6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1]].concat();
        let granted5 = [5, 0, 5, 0, 0, 1, 9, 9, 9, 9, 9, 9];
        for (proxy, target, sent, replies) in [
            (
                "socks4://p",
                ipv4(),
                [4, 1, 0, 80, 192, 0, 2, 1, 0].to_vec(),
                [0, 90, 9, 9, 9, 9, 9, 9].to_vec(),
            ),
            (
                "socks4a://p",
                name(),
                [&[4, 1, 1, 187, 0, 0, 0, 1, 0][..], b"a.example\0"].concat(),
                [0, 90, 9, 9, 9, 9, 9, 9].to_vec(),
            ),
            (
                "socks5://p",
                ipv4(),
                [5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 1, 0, 80].to_vec(),
                granted5.to_vec(),
            ),
            (
                "socks5h://p",
                name(),
                [&[5, 1, 0, 5, 1, 0, 3, 9][..], b"a.example", &[1, 187]].concat(),
                [&[5, 0, 5, 0, 0, 3, 2][..], b"ab", &[9, 9]].concat(),
            ),
            (
                "socks5://u:pw@p",
                ipv6(),
                [&[5, 2, 2, 0, 1, 1][..], b"u", &[2], b"pw", &[5, 1, 0, 4], &address6, &[1, 187]]
                    .concat(),
                [&[5, 2, 1, 0, 5, 0, 0, 4][..], &[9; 18]].concat(),
            ),
            // A proxy may need no password, although there is one.
            (
                "socks5://u:pw@p",
                ipv4(),
                [5, 2, 2, 0, 5, 1, 0, 1, 192, 0, 2, 1, 0, 80].to_vec(),
                granted5.to_vec(),
            ),
        ] {
            let (result, script) = asked(proxy, target, &[&replies[..], b"HTTP"].concat());
            result.unwrap();
            assert_eq!(script.received, sent, "{proxy}");
            assert_eq!(script.replies.position(), replies.len() as u64, "{proxy}");
            for length in 0..replies.len() {
                let (result, _) = asked(proxy, target, &replies[..length]);
                let Error::Io(error) = result.unwrap_err() else { panic!("{proxy}: {length}") };
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{proxy}: {length}");
            }
        }
    }

    #[test]
    fn a_refusal_has_its_reason() {
        use Refusal::{Failed, Forbidden, Login, Unsuitable};
        let ipv6 = Target::Address("[2001:db8::1]:443".parse().unwrap());
        let name = Target::Name("a.example", 443);
        let long = "x".repeat(256);
        let reason = |result: Result<(), Error>| match result {
            Err(Error::Other(fault)) => match *fault.downcast().unwrap() {
                Fault::Socks(refusal) => refusal,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        for (proxy, target, replies, expected) in [
            ("socks4://p", ipv6, &[][..], Unsuitable),
            ("socks4://p", name, &[0, 91, 0, 0, 0, 0, 0, 0], Failed("the proxy gives no reason")),
            ("socks4://p", name, &[0, 93, 0, 0, 0, 0, 0, 0], Login),
            ("socks4://p", name, b"HTTP/1.1", Unsuitable),
            ("socks5://p", name, b"HTTP/1.1", Unsuitable),
            ("socks5://p", name, &[5, 0xff], Login),
            // The proxy asks for a password that was not offered, or for something else.
            ("socks5://p", name, &[5, 2], Unsuitable),
            ("socks5://u:pw@p", name, &[5, 1], Unsuitable),
            ("socks5://u:pw@p", name, &[5, 2, 1, 1], Login),
            ("socks5://u:pw@p", name, &[5, 2, 5, 0], Unsuitable),
            ("socks5://u@p", name, &[5, 2], Unsuitable),
            ("socks5://p", Target::Name(&long, 1), &[5, 0], Unsuitable),
            ("socks5://p", name, &[5, 0, 5, 1], Failed("the proxy failed")),
            ("socks5://p", name, &[5, 0, 5, 2], Forbidden),
            ("socks5://p", name, &[5, 0, 5, 3], Failed("the network is unreachable")),
            ("socks5://p", name, &[5, 0, 5, 7], Unsuitable),
            ("socks5://p", name, &[5, 0, 4, 0], Unsuitable),
            ("socks5://p", name, &[5, 0, 5, 0, 0, 2], Unsuitable),
        ] {
            assert_eq!(reason(asked(proxy, target, replies).0), expected, "{proxy} {replies:?}");
        }
    }
}
