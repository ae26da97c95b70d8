//! Faults in HTTP's framing of the response body.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kerb_stream::ErrorKind::{Decode, Incomplete, InvalidRequest, Timeout};

use super::server::{EVENTS, Scripted, Stage, Then, good, hello};
use super::{Fault, HELLO, OPENAI, TWO, fault, once, short_stall, staged};
use crate::support::shapes::Shape;
use crate::support::tls::{self, Shows};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault("F45", "The body is shorter than Content-Length", |s| {
            let body = s.shape.start() + &s.shape.text("Hello ") + &s.shape.text("world");
            s.with_length(body.len() + 1000, &body)
        })
        .gives("Hello world")
        .fails(Incomplete, "the stream was cut"),
        fault("F46", "The body is longer than Content-Length, so an event is cut", |s| {
            let begun = s.shape.start() + &s.shape.text("Hello ");
            s.with_length(begun.len() + 10, &(begun + &s.shape.ending()))
        })
        .gives("Hello ")
        .fails(Incomplete, "the response is incomplete"),
        fault("F47", "The size of an HTTP chunk is not a hexadecimal number", |s| {
            chunk_of_size(s, "zz")
        })
        .gives(TWO)
        .fails(Incomplete, "not well-formed HTTP"),
        fault("F48", "The size of an HTTP chunk exceeds 64 bits", |s| {
            chunk_of_size(s, "FFFFFFFFFFFFFFFFF")
        })
        .gives(TWO)
        .fails(Incomplete, "not well-formed HTTP"),
        fault("F48", "The size of an HTTP chunk is negative", |s| chunk_of_size(s, "-5"))
            .variant("v=neg")
            .gives(TWO)
            .fails(Incomplete, "not well-formed HTTP"),
        fault("F49", "The body has trailers", |s| {
            s.head("trailer: x-checksum\r\n")?;
            s.chunk(hello(s.shape))?;
            s.write("0\r\nX-Checksum: abc\r\nX-Other: def\r\n\r\n")?;
            s.keep()
        })
        .gives("Hello"),
        fault("F49", "Trailers come slowly and never end", |s| {
            s.begin()?;
            s.write("0\r\n")?;
            s.drip("X-Other: def\r\n")
        })
        .variant("v=drip,every=0.02")
        .set(short_stall)
        .gives(TWO)
        .fails(Timeout, "stall_timeout"),
        fault("F49", "Trailers come fast and never end", |s| {
            s.begin()?;
            s.endless("0\r\n", "X-Other: def\r\n")
        })
        .variant("v=endless")
        .gives(TWO)
        .fails(Incomplete, "the trailers of the response"),
        fault("F50", "HTTP chunks have extensions and zero-padded sizes", |s| {
            let body = hello(s.shape);
            s.head("")?;
            s.write(format!("{:08X};n=\"v\"\r\n{body}\r\n0000;last\r\n\r\n", body.len()))?;
            s.keep()
        })
        .variant("v=short")
        .gives("Hello"),
        fault(
            "F50",
            "An extension makes the size line of an HTTP chunk longer than 20 bytes, \
             which ureq rejects",
            |s| {
                let body = hello(s.shape);
                s.head("")?;
                s.write(format!(
                    "{:08X};n=\"v\";name=value;q=\"a\\\"b\"\r\n{body}\r\n",
                    body.len()
                ))?;
                s.write_and_close("0000;last\r\n\r\n")
            },
        )
        .set(once)
        .fails(Incomplete, "not well-formed HTTP"),
        fault(
            "F50",
            "The extension of an HTTP chunk comes one byte at a time and never ends",
            |s| {
                s.begin()?;
                s.write("5;")?;
                s.drip("x")
            },
        )
        .variant("v=drip,every=0.02")
        .set(short_stall)
        .gives(TWO)
        .fails(Timeout, "stall_timeout"),
        fault("F51", "The connection ends inside an HTTP chunk", |s| {
            let piece = s.shape.text("never complete");
            let half = piece.split_at(piece.len() / 2).0;
            s.begin()?;
            s.write_and_close(format!("{:x}\r\n{half}", piece.len()))
        })
        .gives(TWO)
        .fails(Incomplete, "the stream was cut"),
        fault("F52", "The connection ends between HTTP chunks", |s| {
            s.begin()?;
            s.close()
        })
        .gives(TWO)
        .fails(Incomplete, "the stream was cut"),
        fault("F53", "An HTTP chunk is not followed by a line end", |s| {
            let piece = s.shape.start() + &s.shape.text("Hello");
            let length = piece.len();
            s.head("")?;
            s.write(format!("{length:x}\r\n{piece}"))?;
            s.wait_for_chunks(1)?;
            s.write_and_close(format!("{length:x}\r\n{piece}\r\n0\r\n\r\n"))
        })
        .gives("Hello")
        .fails(Incomplete, "not well-formed HTTP"),
        fault("F54", "Each HTTP chunk is one byte", |s| {
            let mut chunks = Vec::new();
            for byte in s.shape.whole(&["Hello 😀 wörld"]).bytes() {
                chunks.extend([b'1', b'\r', b'\n', byte, b'\r', b'\n']);
            }
            s.head("")?;
            s.write(chunks)?;
            s.end()
        })
        .gives("Hello 😀 wörld"),
        fault("F55", "The response has both chunked encoding and Content-Length", |s| {
            s.good_with(&format!("{EVENTS}content-length: 5\r\n"))
        })
        .gives(HELLO),
        fault("F56", "The body is compressed with gzip, which was not requested", |s| {
            s.good_with(&format!("{EVENTS}content-encoding: gzip\r\n"))
        })
        .fails(Decode, "is compressed (gzip)"),
        fault("F57", "The body is plain, but the header says gzip", |s| {
            s.good_with(&format!("{EVENTS}content-encoding: gzip\r\n"))
        })
        .fails(Decode, "is compressed (gzip)"),
        fault("F58", "The body is a gzip bomb", |s| {
            s.good_with(&format!("{EVENTS}content-encoding: gzip\r\n"))
        })
        .fails(Decode, "is compressed (gzip)"),
        fault("F59", "The content encoding is unknown", |s| {
            s.good_with(&format!("{EVENTS}content-encoding: br\r\n"))
        })
        .fails(Decode, "is compressed (br)"),
        fault(
            "F60",
            "The caller's second request uses the pooled connection, which is reset; the request \
             is sent again on a new connection",
            |s| match (s.connection.number, s.number) {
                (0, 2..) => s.reset(),
                _ => s.good(),
            },
        )
        .turns(2)
        .gives(HELLO)
        .requests(3),
        fault(
            "F61",
            "After the first response, the server sends another one without a request; the \
             caller's second request uses a new connection",
            |s| {
                if s.connection.number == 0 && s.number > 1 {
                    // The client used the connection again despite the stray bytes. It now has to
                    // retry, and the test sees a third request.
                    return s.close();
                }
                s.head("")?;
                s.chunk(good(s.shape))?;
                // The stray bytes go out in one packet with the end. If they came after the next
                // request was written, they would look like its response.
                s.write(format!("0\r\n\r\nHTTP/1.1 200 OK\r\n{EVIL}"))?;
                s.keep()
            },
        )
        .turns(2)
        .gives(HELLO)
        .requests(2),
        staged(
            "F61",
            "The same over TLS, in a TLS record that is only partly read",
            unasked_in_a_record,
        )
        .variant("v=tls")
        .needs_tls()
        .on(OPENAI)
        .turns(2)
        .gives(HELLO)
        .requests(2),
        staged(
            "F62",
            "413 while a 30 MB request is still being sent, then a reset",
            refused_while_sending,
        )
        .on(OPENAI)
        .prompt(30 << 20)
        .fails(InvalidRequest, "413: too large"),
    ]
}

/// The rest of a stray response, for which there was no request.
const EVIL: &str =
    "content-type: application/json\r\ncontent-length: 16\r\n\r\n{\"evil\":\"reply\"}";

/// Sends two good chunks, and then one that declares this size.
fn chunk_of_size(s: &mut Scripted<'_>, size: &str) -> Then {
    s.begin()?;
    // Chunks in the same packet as a framing error are lost.
    s.wait_for_chunks(2)?;
    s.write(format!("{size}\r\nhello\r\n"))?;
    s.hang()
}

fn unasked_in_a_record(shape: Shape) -> Stage {
    let first = AtomicUsize::new(0);
    Stage::tls(Shows::Good, move |stream| {
        loop {
            tls::read_request(stream)?;
            let body = good(shape);
            let head = format!("HTTP/1.1 200 OK\r\nx-pad: {}\r\n", "p".repeat(6_000));
            let response = format!("{head}{EVENTS}content-length: {}\r\n\r\n{body}", body.len());
            let evil = head + EVIL;
            let both = [response.as_bytes(), evil.as_bytes()];
            let count = if first.fetch_add(1, Ordering::SeqCst) == 0 { 2 } else { 1 };
            let records = tls::records(stream, both.into_iter().take(count))?;
            stream.sock.write_all(&records)?;
        }
    })
}

fn refused_while_sending(shape: Shape) -> Stage {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let body = shape.error("too large", "request_too_large").to_string();
            let head = "HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\n";
            let length = format!("content-length: {}\r\n\r\n", body.len());
            // Everything is sent in one packet, because closing also discards bytes that were not
            // sent yet.
            let _ = stream.write_all(format!("{head}{length}{body}").as_bytes());
            // The request is unread, so closing the socket resets the connection.
        }
    });
    Stage::at(url).counting(move || count.load(Ordering::SeqCst))
}
