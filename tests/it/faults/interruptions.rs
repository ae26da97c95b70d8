//! Faults that interrupt a response after it has begun.

use std::thread;
use std::time::Duration;

use kerb_stream::ErrorKind::{Incomplete, InvalidRequest, Server, Timeout};
use kerb_stream::Protocol::{self, CohereChat};

use super::server::{EVENTS, hello, two};
use super::{Fault, HELLO, OPENAI, TWO, TYPED, fault, ms, short_idle, short_stall};
use crate::support::shapes::Shape;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault("F63", "The body comes one byte at a time", |s| {
            s.write(format!("HTTP/1.1 200 OK\r\n{EVENTS}connection: close\r\n\r\n"))?;
            s.drip_bytes(&hello(s.shape), Duration::from_micros(500))?;
            s.close()
        })
        .variant("drip=0.0005")
        .gives("Hello"),
        fault("F64", "The stream pauses in the middle and does not continue", |s| {
            s.begin()?;
            s.hang()
        })
        .set(short_idle)
        .gives(TWO)
        .fails(Timeout, "idle_timeout"),
        fault("F65", "The connection is reset in the middle of an event", |s| {
            s.head("")?;
            s.chunk(two(s.shape) + &torn(s.shape))?;
            s.wait_for_chunks(2)?;
            s.reset()
        })
        .gives(TWO)
        .fails(Incomplete, "the stream was cut"),
        fault("F66", "The connection is reset between events", |s| {
            s.begin()?;
            s.wait_for_chunks(2)?;
            s.reset()
        })
        .gives(TWO)
        .fails(Incomplete, "the stream was cut"),
        fault("F67", "The connection closes inside a line; the body has no length", |s| {
            let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}connection: close\r\n\r\n");
            s.write_and_close(head + &two(s.shape) + &torn(s.shape))
        })
        .gives(TWO)
        .fails(Incomplete, "the response is incomplete"),
        fault("F68", "The connection closes between events; the body has no length", |s| {
            let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}connection: close\r\n\r\n");
            s.write_and_close(head + &two(s.shape))
        })
        .gives(TWO)
        .fails(Incomplete, "the response is incomplete"),
        fault("F69", "The body ends cleanly, without a finish reason or an end marker", |s| {
            s.begin()?;
            s.end()
        })
        .gives(TWO)
        .fails(Incomplete, "the response is incomplete"),
        fault("F70", "The last event has no line end after it", |s| {
            s.stream((two(s.shape) + &s.shape.ending()).trim_end())
        })
        .gives(TWO),
        fault("F70", "The last event has only one line end after it", |s| {
            s.stream((two(s.shape) + &s.shape.ending()).trim_end().to_owned() + "\n")
        })
        .variant("lf=1")
        .gives(TWO),
        fault("F71", "After some chunks, only comments come", |s| {
            s.begin()?;
            s.drip_chunks(": keep-alive\n\n")
        })
        .variant("every=0.02")
        .set(short_stall)
        .gives(TWO)
        .fails(Timeout, "stall_timeout"),
        fault("F71", "After some chunks, only token counts come", |s| {
            s.begin()?;
            s.drip_chunks("data: {\"choices\":[],\"usage\":{\"total_tokens\":1}}\n\n")
        })
        .variant("v=usage,every=0.02")
        .on(OPENAI)
        .set(short_stall)
        .gives(TWO)
        .fails(Timeout, "stall_timeout"),
        fault("F71", "After some chunks, only the name of a tool call comes, again and again", |s| {
            let call = r#"{"function":{"name":"f"},"index":0}"#;
            s.begin()?;
            s.drip_chunks(&format!(
                "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n"
            ))
        })
        .variant("v=name,every=0.02")
        .on(OPENAI)
        .set(short_stall)
        .gives(TWO)
        .fails(Timeout, "stall_timeout"),
        fault("F72", "Only pings come, from the start", |s| {
            s.head("")?;
            s.drip_chunks(match s.shape.0 {
                Protocol::Messages => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
                _ => ": PROCESSING\n\n",
            })
        })
        .variant("every=0.02")
        .set(short_stall)
        .fails(Timeout, "stall_timeout"),
        fault("F73", "The stream contains an error event", |s| {
            s.stream(two(s.shape) + &failure(s.shape))
        })
        .on(TYPED)
        .gives(TWO)
        .fails(InvalidRequest, "inside the stream: it went wrong")
        .also("the error has no status", |seen| seen.failure().status().is_none()),
        fault("F73", "The same in Cohere's format", |s| s.stream(two(s.shape) + &failure(s.shape)))
            .on(&[CohereChat])
            .gives(TWO)
            .fails(Server, "inside the stream: it went wrong"),
        fault("F74", "The end marker comes, and the connection stays open", |s| {
            s.head("")?;
            s.chunk(two(s.shape) + &s.shape.ending())?;
            // Gemini has no end marker, so only the end of the body ends the response.
            match s.shape.0 {
                Protocol::GenerateContent => s.end(),
                _ => s.hang(),
            }
        })
        .gives(TWO)
        .takes(0, 9_000),
        fault("F75", "The response starts late", |s| {
            thread::sleep(ms(200));
            s.good()
        })
        .variant("pause=0.2")
        .gives(HELLO)
        .takes(200, 9_000),
        fault("F76", "The whole response comes in one write", |s| s.answer(200, EVENTS, hello(s.shape)))
            .gives("Hello"),
        fault("F77", "There is a pause between CR and LF", |s| {
            let body = s.shape.whole(&["Hel", "lo"]).replace('\n', "\r\n");
            s.head("")?;
            for piece in body.split_inclusive('\r') {
                s.chunk(piece)?;
                thread::sleep(ms(5));
            }
            s.end()
        })
        .gives("Hello"),
        fault("F78", "Lines end in CR, with a pause after each event; each chunk is returned before the pause ends", |s| {
            let cr = |text: String| text.replace('\n', "\r");
            s.head("")?;
            s.chunk(cr(s.shape.start() + &s.shape.text("Hel")))?;
            s.wait_for_chunks(1)?;
            s.chunk(cr(s.shape.text("lo")))?;
            s.wait_for_chunks(2)?;
            s.chunk(cr(s.shape.ending()))?;
            s.end()
        })
        .gives("Hello"),
    ]
}

/// Returns an event without its last 20 bytes.
fn torn(shape: Shape) -> String {
    let event = shape.text("half");
    event.split_at(event.len() - 20).0.to_owned()
}

fn failure(shape: Shape) -> String {
    let error = shape.error("it went wrong", "invalid_request_error").to_string();
    shape.event(if shape.0 == Protocol::Messages { "error" } else { "" }, &error)
}
