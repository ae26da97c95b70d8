//! Faults in the headers of the response.

use std::io::Write as _;

use kerb_stream::ErrorKind::{Decode, Incomplete, InvalidRequest, Network, Server, Timeout};
use kerb_stream::Protocol::CohereChat;

use super::server::{EVENTS, Stage, hello};
use super::{Fault, HELLO, OPENAI, TYPED, fault, ms, short_head, short_idle, staged, twice};
use crate::support::tls::{self, Shows};

pub(super) const SIGN_IN: &str = "<!doctype html><html><head><title>Sign in to WiFi</title></head>\
                                  <body><h1>Please sign in</h1></body></html>";

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault("F00", "No fault", |s| s.good()).gives(HELLO),
        fault("F17", "The headers come, then nothing", |s| {
            s.head("")?;
            s.hang()
        })
        .set(short_idle)
        .fails(Timeout, "idle_timeout"),
        fault("F18", "The headers come one byte at a time, slowly", |s| {
            let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}connection: close\r\n\r\n");
            s.drip_bytes(&head, ms(30))?;
            s.write_and_close(hello(s.shape))
        })
        .variant("drip=0.03")
        .set(short_head)
        .fails(Timeout, "first_byte_timeout"),
        fault("F19", "The connection ends after the status line", |s| s.write_and_close("HTTP/1.1 200 OK\r\n"))
            .set(twice)
            .fails(Network, "closed the connection without a response")
            .requests(2),
        fault("F20", "The connection ends in the middle of a header line", |s| {
            s.write_and_close("HTTP/1.1 200 OK\r\nContent-Type: text/event-str")
        })
        .set(twice)
        .fails(Network, "closed the connection without a response")
        .requests(2),
        fault("F21", "The response is not HTTP", |s| {
            s.write_and_close(b"SSH-2.0-OpenSSH_9.6\r\n\x00\x01\x02\xff\xfe")
        })
        .fails(Decode, "is not HTTP"),
        fault("F22", "The header lines never end", |s| {
            s.endless("HTTP/1.1 200 OK\r\n", &format!("X-Pad: {}\r\n", "y".repeat(60)))
        })
        .variant("max=99999999")
        .fails(Decode, "is not well-formed HTTP"),
        fault("F23", "One header line never ends", |s| {
            s.endless("HTTP/1.1 200 OK\r\nX-Pad: ", "yyyyyyyy")
        })
        .variant("max=99999999")
        .fails(Decode, "the response headers of"),
        fault("F24", "Two Content-Length headers differ", |s| {
            let body = hello(s.shape);
            let lengths = format!("content-length: {}\r\ncontent-length: 7\r\n", body.len());
            s.write_and_close(format!("HTTP/1.1 200 OK\r\n{EVENTS}{lengths}\r\n{body}"))
        })
        .fails(Decode, "is not well-formed HTTP"),
        fault("F25", "Interim responses (100, 103) come before the response", |s| {
            s.write("HTTP/1.1 100 Continue\r\n\r\n")?;
            s.write("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")?;
            s.good()
        })
        .gives(HELLO),
        fault("F26", "Interim responses never end", |s| {
            s.endless("", "HTTP/1.1 100 Continue\r\n\r\n")
        })
        .variant("max=99999999")
        .fails(Decode, "the response headers of"),
        fault("F27", "204 No Content", |s| {
            s.write("HTTP/1.1 204 No Content\r\n\r\n")?;
            s.keep()
        })
        .fails(Decode, "204: this is not an event stream"),
        fault("F28", "200 with an empty body", |s| s.answer(200, "", ""))
            .fails(Incomplete, "before the first event")
            .requests(3),
        fault("F29", "101 Switching Protocols", |s| {
            s.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n")?;
            s.write_and_close(b"connection: upgrade\r\n\r\n\x81\x02hi")
        })
        .fails(Decode, "101: this is not an event stream"),
        fault("F30", "HTTP/1.0; the body ends when the connection closes", |s| {
            s.write_and_close(format!("HTTP/1.0 200 OK\r\n{EVENTS}\r\n{}", hello(s.shape)))
        })
        .gives("Hello"),
        fault("F31", "The response is one JSON document instead of a stream", |s| {
            s.json(200, "", &s.shape.unstreamed())
        })
        .gives("Hello world"),
        fault("F32", "A JSON error with status 200", |s| {
            s.json(200, "", &s.shape.error("model is not available", "invalid_request_error"))
        })
        .on(TYPED)
        .fails(InvalidRequest, "model is not available"),
        fault("F32", "The same in Cohere's format, which does not say whether the client or the server is at fault", |s| {
            s.json(200, "", &s.shape.error("model is not available", ""))
        })
        .on(&[CohereChat])
        .set(twice)
        .fails(Server, "model is not available")
        .requests(2),
        fault("F33", "A web page with status 200, such as a hotel's login page", |s| s.html(200, SIGN_IN))
            .fails(Decode, "not an event stream; check the base URL. It begins: \"<!doctype html>"),
        fault("F34", "The content type has parameters and unusual upper and lower case", |s| {
            s.good_with("Content-Type: Text/Event-Stream ; Charset=\"UTF-8\"\r\n")
        })
        .gives(HELLO),
        fault("F35", "The response has no content type", |s| s.good_with("")).gives(HELLO),
        fault("F36", "The content type is text/plain", |s| {
            s.good_with("content-type: text/plain\r\n")
        })
        .gives(HELLO),
        fault("F37", "The content type says ISO 8859-1", |s| {
            s.good_with("content-type: text/event-stream; charset=iso-8859-1\r\n")
        })
        .gives(HELLO),
        fault("F38", "302 to another host", |s| {
            s.redirect(302, "http://localhost:1/v1/chat?key=secret")
        })
        .fails(InvalidRequest, "a redirect to http://localhost:1/v1/chat, which was not followed"),
        fault("F39", "307 to another host", |s| {
            s.redirect(307, "http://localhost:1/v1/chat?key=secret")
        })
        .fails(InvalidRequest, "a redirect to http://localhost:1/v1/chat, which was not followed"),
        fault("F40", "301 on the same host", |s| s.redirect(301, "/v2/chat"))
            .fails(InvalidRequest, "which was not followed"),
        fault("F41", "A redirect to the same URL", |s| s.redirect(307, &s.request.path.clone()))
            .fails(InvalidRequest, "which was not followed"),
        fault("F42", "307 without a Location header", |s| s.answer(307, "", ""))
            .fails(InvalidRequest, "a redirect without a valid location"),
        staged("F43", "A redirect from HTTPS to HTTP", |_| {
            Stage::tls(Shows::Good, |stream| {
                tls::read_request(stream)?;
                let location = "http://127.0.0.1:1/v1/chat/completions";
                let head = format!("HTTP/1.1 307 X\r\nlocation: {location}\r\n");
                write!(stream, "{head}content-length: 0\r\n\r\n")?;
                stream.flush()
            })
        })
        .needs_tls()
        .on(OPENAI)
        .fails(
            InvalidRequest,
            "a redirect to http://127.0.0.1:1/v1/chat/completions, which was not followed",
        ),
        fault("F44", "308 on the same host", |s| s.redirect(308, &s.request.path.clone())).fails(
            InvalidRequest,
            "which was not followed; if that is right, set the base URL to http://127.0.0.1:",
        ),
    ]
}
