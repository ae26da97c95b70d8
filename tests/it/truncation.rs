//! Wherever a response is cut, a caller gets what arrived and then `Error::Incomplete`. The
//! response is whole only after a finish reason.

use std::io::{self, Cursor};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kerb_stream::{
    Environment, ErrorKind, GenerationConfig, GenerationStream, Protocol, StreamChunk,
    generate_stream,
};
use socket2::SockRef;

use crate::support::shapes::Shape;
use crate::support::{Outcome, Server, all_at_once, chunk, watchdog};

const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn at_every_byte_of_a_reader() {
    for &protocol in Protocol::ALL {
        let answer = Answer::new(protocol);
        for cut in 0..=answer.body.len() {
            let body = Cursor::new(answer.body.as_bytes()[..cut].to_vec());
            let seen = Seen::of(GenerationStream::from_reader(body, config(protocol)));
            assert_eq!(seen, answer.expected(cut), "{protocol}, cut at {cut}");
        }
    }
}

#[test]
fn at_a_byte_of_a_body_that_ends_with_its_connection() {
    everywhere(|answer, cut, server, ways| {
        let seen = ways.ask(server, answer.protocol, cut, End::Fin);
        assert_eq!(seen, answer.expected(cut), "{}, cut at {cut}", answer.protocol);
    });
}

#[test]
fn at_a_byte_of_a_body_in_chunks_that_end_well() {
    everywhere(|answer, cut, server, ways| {
        let seen = ways.ask(server, answer.protocol, cut, End::LastChunk);
        assert_eq!(seen, answer.expected(cut), "{}, cut at {cut}", answer.protocol);
    });
}

/// A reset may also discard bytes that arrived but were not read yet.
#[test]
fn at_a_byte_by_a_reset() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&arrived);
    everywhere(move |answer, cut, server, ways| {
        let seen = ways.ask(server, answer.protocol, cut, End::Reset);
        count.fetch_add(seen.chunks.len(), Ordering::SeqCst);
        let most = answer.expected(cut);
        let expected = match most.chunks.get(..seen.chunks.len()) {
            Some(chunks) if chunks.len() < most.chunks.len() && !has_finish(chunks) => {
                Seen { chunks: chunks.to_vec(), error: Some(ErrorKind::Incomplete) }
            }
            Some(chunks) => Seen { chunks: chunks.to_vec(), ..most },
            None => most,
        };
        assert_eq!(seen, expected, "{}, cut at {cut}", answer.protocol);
    });
    assert!(arrived.load(Ordering::SeqCst) > 0, "whatever is reset, nothing arrives");
}

fn has_finish(chunks: &[StreamChunk]) -> bool {
    chunks.iter().any(|chunk| chunk.finish_reason.is_some())
}

/// Calls `check` with positions in the response of each protocol: those near the end of an event,
/// and every seventh of the others. `KERB_STREAM_THOROUGH` checks every position.
fn everywhere(check: impl Fn(&Answer, usize, &Server, &Ways) + Send + Sync + 'static) {
    let step = if std::env::var_os("KERB_STREAM_THOROUGH").is_some() { 1 } else { 7 };
    watchdog(WATCHDOG, move || {
        all_at_once(Protocol::ALL, |&protocol| {
            let answer = Answer::new(protocol);
            let ways = Ways::default();
            let server = ways.serve(answer.body.clone());
            for cut in 0..=answer.body.len() {
                let near = |end: &usize| cut.abs_diff(*end) <= 3;
                if cut % step == 0 || answer.events.iter().any(near) {
                    check(&answer, cut, &server, &ways);
                }
            }
        });
    });
}

fn config(protocol: Protocol) -> GenerationConfig {
    GenerationConfig::new("m")
        .protocol(protocol)
        .base_url("http://127.0.0.1:1/v1")
        .environment(Environment::empty())
        .max_retries(0)
}

/// The chunks and the error that a caller gets.
#[derive(Debug, PartialEq)]
struct Seen {
    chunks: Vec<StreamChunk>,
    error: Option<ErrorKind>,
}

impl Seen {
    fn of(stream: GenerationStream) -> Self {
        let outcome = Outcome::of(stream);
        Self { error: outcome.kind(), chunks: outcome.chunks }
    }
}

/// A response with text, reasoning, a tool call and usage.
struct Answer {
    protocol: Protocol,
    body: String,
    /// The end of each event, including its line ends. `chunks` holds the chunks up to there.
    events: Vec<usize>,
    chunks: Vec<Vec<StreamChunk>>,
}

impl Answer {
    fn new(protocol: Protocol) -> Self {
        let body = Shape(protocol).everything();
        let mut events = vec![0];
        events.extend(body.match_indices("\n\n").map(|(at, _)| at + 2));
        let upto = |&end: &usize| {
            let body = Cursor::new(body.as_bytes()[..end].to_vec());
            Seen::of(GenerationStream::from_reader(body, config(protocol))).chunks
        };
        let chunks: Vec<_> = events.iter().map(upto).collect();

        let all = chunks.last().unwrap();
        let join = |part: fn(&StreamChunk) -> &str| all.iter().map(part).collect::<String>();
        assert_eq!(join(|chunk| &chunk.content), "Hé😀 !", "{protocol}");
        assert_eq!(join(|chunk| &chunk.reasoning), "hm…", "{protocol}");
        let calls = all.iter().flat_map(|chunk| &chunk.tool_calls);
        let arguments: String = calls.map(|call| call.arguments.as_str()).collect();
        assert_eq!(arguments, "{\"city\":\"Köln\"}", "{protocol}");
        assert!(all.iter().any(|chunk| chunk.usage.is_some()) && has_finish(all), "{protocol}");
        Self { protocol, body, events, chunks }
    }

    /// Returns what a caller must get from the first `cut` bytes: the whole events, even without
    /// their line ends.
    fn expected(&self, cut: usize) -> Seen {
        let whole = self.events.iter().rposition(|&end| end == 0 || end - 2 <= cut).unwrap();
        let chunks = self.chunks[whole].clone();
        let error = (!has_finish(&chunks)).then_some(ErrorKind::Incomplete);
        Seen { chunks, error }
    }
}

/// The way in which a server cuts a response.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum End {
    #[default]
    Fin,
    LastChunk,
    Reset,
}

/// The position and the way of the next cut.
#[derive(Default)]
struct Ways {
    cut: Arc<AtomicUsize>,
    end: Arc<Mutex<End>>,
}

impl Ways {
    fn serve(&self, body: String) -> Server {
        let (cut, end) = (Arc::clone(&self.cut), Arc::clone(&self.end));
        let server = Server::start(move |connection| {
            while connection.request()?.is_some() {
                let body = &body.as_bytes()[..cut.load(Ordering::SeqCst)];
                let end = *end.lock().unwrap();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
                if end == End::Fin {
                    let head = format!("{head}connection: close\r\n\r\n");
                    return connection.write([head.as_bytes(), body].concat());
                }
                let head = format!("{head}transfer-encoding: chunked\r\n\r\n");
                // An empty chunk would end the body.
                let chunk = if body.is_empty() { Vec::new() } else { chunk(body) };
                connection.write([head.as_bytes(), &chunk].concat())?;
                if end == End::Reset {
                    return SockRef::from(connection.tcp()).set_linger(Some(Duration::ZERO));
                }
                connection.end()?;
            }
            Ok::<(), io::Error>(())
        });
        server.unwrap()
    }

    fn ask(&self, server: &Server, protocol: Protocol, cut: usize, end: End) -> Seen {
        self.cut.store(cut, Ordering::SeqCst);
        *self.end.lock().unwrap() = end;
        Seen::of(generate_stream("Hello?", config(protocol).base_url(server.url())))
    }
}
