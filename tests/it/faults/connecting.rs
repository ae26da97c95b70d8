//! Faults on the way to the server.

use std::io::Read as _;

use kerb_stream::ErrorKind::{Incomplete, Network, Timeout};

use super::server::{Stage, new_socket, two};
use super::{
    Fault, OPENAI, TWO, fault, once, short_connect, short_head, short_idle, staged, twice,
};
use crate::support::tls::{self, Shows};
use crate::support::{Connection, Server};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        // The socket is bound but does not listen, so that no other process gets the port.
        staged("F01", "No server listens on the port", |_| Stage::socket(|_| ()))
            .on(OPENAI)
            .fails(Network, "refused the connection; is the server running?")
            .requests(0),
        staged("F02", "The host name has no address", |_| {
            Stage::at("http://no-such-host.invalid/v1")
                .changing(|config| config.allow_plain_http(true))
        })
        .on(OPENAI)
        .set(once)
        .fails(Network, "no address found for no-such-host.invalid")
        .requests(0)
        .takes(0, 12_000),
        staged("F03", "The connection is never accepted", |_| full_queue())
            .on(OPENAI)
            .set(short_connect)
            .fails(Timeout, "connect_timeout")
            .requests(0)
            .takes(250, 9_000),
        fault("F04", "The server reads the request, then closes the connection", |s| s.close())
            .fails(Network, "closed the connection without a response")
            .requests(3),
        fault("F05", "The server reads the request, then resets the connection", |s| s.reset())
            .fails(Network, "closed the connection without a response")
            .requests(3),
        staged(
            "F06",
            "The server accepts the connection but reads nothing; the prompt is large",
            |_| Stage::unaccepted("http"),
        )
        .on(OPENAI)
        .prompt(30 << 20)
        .set(short_idle)
        .fails(Timeout, "did not read the request")
        .requests(0),
        fault("F07", "The server reads the request and sends no response", |s| s.hang())
            .set(short_head)
            .fails(Timeout, "first_byte_timeout"),
        staged("F08", "The certificate is not signed by a trusted CA", |_| {
            Stage::tls(Shows::SelfSigned, |_| Ok(()))
        })
        .needs_tls()
        .on(OPENAI)
        .fails(Network, "is not signed by a trusted CA"),
        staged("F09", "The certificate has expired", |_| Stage::tls(Shows::Expired, |_| Ok(())))
            .needs_tls()
            .on(OPENAI)
            .fails(Network, "has expired"),
        staged("F10", "The certificate is for another host", |_| {
            Stage::tls(Shows::OtherHost, |_| Ok(()))
        })
        .needs_tls()
        .on(OPENAI)
        .fails(Network, "is for another host"),
        staged("F11", "The server speaks plain HTTP on the TLS port", |_| {
            let server = Server::start(|connection| {
                connection
                    .write("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\nplain HTTP")?;
                connection.wait_until_closed();
                Ok(())
            });
            let server = server.unwrap();
            Stage::at(server.url().replace("http:", "https:"))
                .counting(move || server.connections())
        })
        .needs_tls()
        .on(OPENAI)
        .fails(Network, "does not speak TLS"),
        staged("F12", "The server does not answer the TLS handshake", |_| {
            Stage::unaccepted("https")
        })
        .needs_tls()
        .on(OPENAI)
        .set(short_connect)
        .fails(Timeout, "connect_timeout")
        .requests(0)
        .takes(250, 9_000),
        staged("F13", "The TLS connection ends without `close_notify`", |shape| {
            Stage::tls(Shows::Good, move |stream| {
                tls::read_request(stream)?;
                tls::answer(stream, &two(shape))
            })
        })
        .needs_tls()
        .on(OPENAI)
        .gives(TWO)
        .fails(Incomplete, "the stream was cut"),
        staged("F15", "The proxy rejects the password (407)", |_| {
            Stage::proxy("http", |connection| refuse(connection, 407))
        })
        .variant("status=407")
        .needs_tls()
        .on(OPENAI)
        .fails(Network, "requires a valid user name and password"),
        staged("F15", "The proxy refuses the target (403)", |_| {
            Stage::proxy("http", |connection| refuse(connection, 403))
        })
        .variant("status=403")
        .needs_tls()
        .on(OPENAI)
        .fails(Network, "refuses to connect to"),
        staged("F15", "The rules of a SOCKS proxy forbid the target", |_| {
            Stage::proxy("socks5", |connection| {
                for reply in [[5, 0], [5, 2]] {
                    let _ = connection.tcp().read(&mut [0; 512])?;
                    connection.write(reply)?;
                }
                Ok(())
            })
        })
        .variant("v=socks")
        .needs_tls()
        .on(OPENAI)
        .fails(Network, "refuses to connect to"),
        staged("F16", "The proxy sends no response", |_| {
            Stage::proxy("http", |connection| {
                connection.request()?;
                connection.wait_until_closed();
                Ok(())
            })
        })
        .variant("v=hang")
        .needs_tls()
        .on(OPENAI)
        .set(short_connect)
        .fails(Timeout, "connect_timeout")
        .takes(250, 9_000),
        staged("F16", "The proxy closes the connection", |_| {
            Stage::proxy("http", |connection| connection.request().map(drop))
        })
        .variant("v=close")
        .needs_tls()
        .on(OPENAI)
        .set(twice)
        .fails(Network, "did not connect to")
        .requests(2),
    ]
}

/// Returns a server whose queue of connections is full, and which accepts none of them.
fn full_queue() -> Stage {
    let mut others = Vec::new();
    let stage = Stage::socket(|socket| {
        socket.listen(0).unwrap();
        for _ in 0..4 {
            let other = new_socket();
            other.set_nonblocking(true).unwrap();
            let _ = other.connect(&socket.local_addr().unwrap());
            others.push(other);
        }
    });
    stage.with(others)
}

fn refuse(connection: &mut Connection, status: u16) -> std::io::Result<()> {
    connection.request()?;
    connection.write(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n"))
}
