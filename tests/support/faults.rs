//! The catalogue of faults: what a server or a network does, and what a caller of this crate sees. The
//! numbers are those of `faults/FAULTS.md` in the folder that `KERB_STREAM_SHARED` names.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kerb_stream::{
    Environment, Error, ErrorKind, FinishReason, GenerationConfig, GenerationResponse,
    GenerationStream, Protocol, Proxy, generate_stream, terminal_safe,
};

use Protocol::{ChatCompletions, CohereChat, GenerateContent, Messages, Responses};

/// What stands in for a key. It must never come back out.
pub(crate) const KEY: &str = "sk-test-7c0ffee7c0ffee";

/// One fault, and what a caller sees of it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    /// How the server varies it, as the fault server takes it: `v=neg,n=2`.
    pub(crate) options: &'static str,
    pub(crate) fault: &'static str,
    /// The text of all chunks.
    pub(crate) text: &'static str,
    /// How it ends otherwise than well: the kind, and a part of the message.
    pub(crate) error: Option<(ErrorKind, &'static str)>,
    /// How many requests the server sees.
    pub(crate) requests: usize,
    pub(crate) protocols: &'static [Protocol],
    pub(crate) config: fn(GenerationConfig) -> GenerationConfig,
    /// Something else that holds, in words and as a check.
    pub(crate) also: Option<Also>,
    pub(crate) at_least: Duration,
    pub(crate) at_most: Duration,
}

type Also = (&'static str, fn(&Seen) -> bool);

/// What a caller has seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) error: Option<anyhow::Error>,
    pub(crate) response: GenerationResponse,
    pub(crate) time: Duration,
}

impl Seen {
    pub(crate) fn error(&self) -> Option<&Error> {
        Error::of(self.error.as_ref()?)
    }
}

const HELLO: &str = "Hello wörld 😀";
const TWO: &str = "tok0 tok1 ";
const OPENAI: &[Protocol] = &[ChatCompletions];
/// Those whose errors have a type.
const TYPED: &[Protocol] = &[ChatCompletions, Messages, Responses, GenerateContent];
/// Those whose end marker is an event of its own.
const MARKED: &[Protocol] = &[ChatCompletions, Messages];

fn whole(id: &'static str, fault: &'static str, text: &'static str) -> Case {
    Case {
        id,
        options: "",
        fault,
        text,
        error: None,
        requests: 1,
        protocols: Protocol::ALL,
        config: |config| config,
        also: None,
        at_least: Duration::ZERO,
        at_most: Duration::from_secs(20), // a bound against hanging, on a machine that is busy
    }
}

fn fails(id: &'static str, fault: &'static str, kind: ErrorKind, says: &'static str) -> Case {
    Case { error: Some((kind, says)), ..whole(id, fault, "") }
}

impl Case {
    fn after(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    fn requests(self, requests: usize) -> Self {
        Self { requests, ..self }
    }

    fn on(self, protocols: &'static [Protocol]) -> Self {
        Self { protocols, ..self }
    }

    fn set(self, config: fn(GenerationConfig) -> GenerationConfig) -> Self {
        Self { config, ..self }
    }

    fn also(self, what: &'static str, check: fn(&Seen) -> bool) -> Self {
        Self { also: Some((what, check)), ..self }
    }

    fn takes(self, at_least: u64, at_most: u64) -> Self {
        Self {
            at_least: Duration::from_millis(at_least),
            at_most: Duration::from_millis(at_most),
            ..self
        }
    }

    /// The value of one of the [options](Self::options).
    pub(crate) fn option(&self, name: &str) -> Option<&'static str> {
        let pairs = self.options.split(',').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
    }

    /// The path before that of the protocol, as the fault server takes it.
    pub(crate) fn path(&self) -> String {
        match self.options {
            "" => format!("/f/{}", self.id),
            options => format!("/f/{},{options}", self.id),
        }
    }

    pub(crate) fn config(&self, protocol: Protocol, base_url: String) -> GenerationConfig {
        let limit = Duration::from_secs(10);
        let config = GenerationConfig::new("m")
            .protocol(protocol)
            .base_url(base_url)
            .api_key(KEY)
            .environment(Environment::empty())
            .connect_timeout(limit)
            .first_byte_timeout(limit)
            .idle_timeout(limit)
            .stall_timeout(limit);
        (self.config)(config)
    }

    /// What is not as it should be, if anything is. `requests` is how many the server saw.
    pub(crate) fn differences(&self, seen: &Seen, requests: usize) -> Vec<String> {
        let mut differences = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                differences.push(what);
            }
        };
        check(seen.text == self.text, format!("text {:?}, not {:?}", seen.text, self.text));
        let folded = &seen.response.content;
        check(*folded == seen.text, format!("the response has the text {folded:?}"));
        let told = seen.error.as_ref().map(|error| format!("{error:#}")).unwrap_or_default();
        let kind = seen.error().map(Error::kind);
        match self.error {
            None => check(seen.error.is_none(), format!("it fails: {kind:?} {told}")),
            Some((expected, says)) => check(
                kind == Some(expected) && told.contains(says),
                format!("{kind:?} {told:?}, not {expected:?} with {says:?}"),
            ),
        }
        let debug = format!("{:?} {:?}", seen.error, seen.response);
        check(!told.contains(KEY) && !debug.contains(KEY), format!("the key is shown: {told}"));
        check(!told.chars().any(char::is_control), format!("control characters: {told:?}"));
        check(told.len() < 2000, format!("a message of {} bytes", told.len()));
        check(requests == self.requests, format!("{requests} requests, not {}", self.requests));
        check(
            seen.time >= self.at_least && seen.time <= self.at_most,
            format!("it took {:?}, not {:?} to {:?}", seen.time, self.at_least, self.at_most),
        );
        if let Some((what, holds)) = self.also {
            check(holds(seen), format!("not so: {what}"));
        }
        differences
    }

    /// The row of the table in the documentation.
    fn row(&self) -> String {
        // What stands in brackets is no link.
        let fault = self.fault.replace('[', "\\[").replace(']', "\\]");
        let mut row = format!("| {} | {fault} | ", self.id);
        let text = !self.text.is_empty();
        row += match (&self.error, text) {
            (None, true) => "the whole answer",
            (None, false) => "a whole answer without text",
            (Some(_), true) => "the chunks that arrived, then ",
            (Some(_), false) => "",
        };
        if let Some((kind, says)) = self.error {
            write!(row, "`{kind:?}`, `…{says}…`").unwrap();
        }
        let few = 1 < self.protocols.len() && self.protocols.len() < Protocol::ALL.len();
        let alone = self.protocols.len() == 1 && self.protocols != OPENAI;
        if few || alone {
            let names: Vec<_> = self.protocols.iter().map(|protocol| protocol.as_str()).collect();
            write!(row, " ({})", names.join(", ")).unwrap();
        }
        if self.requests > 1 {
            write!(row, " ({} requests)", self.requests).unwrap();
        }
        if let Some((what, _)) = self.also {
            write!(row, "; {what}").unwrap();
        }
        row + " |\n"
    }
}

/// Reads a stream to its end. `shown` is called after each chunk.
pub(crate) fn see(config: GenerationConfig, prompt: &str, mut shown: impl FnMut()) -> Seen {
    let started = Instant::now();
    let mut stream: GenerationStream = generate_stream(prompt, config);
    let mut text = String::new();
    let mut error = None;
    for item in &mut stream {
        assert!(error.is_none(), "an item after an error");
        match item {
            Ok(chunk) => {
                text += &chunk.content;
                shown();
            }
            Err(failure) => error = Some(failure),
        }
    }
    assert!(stream.next().is_none());
    Seen { text, error, response: stream.response().clone(), time: started.elapsed() }
}

/// The table as it stands in the documentation.
pub(crate) fn table() -> String {
    let mut table = String::from(
        "# What can go wrong, and what a caller sees\n\n\
         Every row is a test: a server in the test process does it to this crate, in every protocol in which\n\
         it makes a difference. Errors are given by their kind and a part of their message (`{:#}`). Unless\n\
         it says otherwise, the server sees one request.\n",
    );
    for (part, cases) in parts() {
        write!(table, "\n## {part}\n\n| | What happens | What a caller sees |\n|---|---|---|\n")
            .unwrap();
        for case in cases {
            table += &case.row();
        }
    }
    table
}

pub(crate) fn cases() -> Vec<Case> {
    parts().into_iter().flat_map(|(_, cases)| cases).collect()
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn short_idle(config: GenerationConfig) -> GenerationConfig {
    config.idle_timeout(ms(150))
}

fn short_head(config: GenerationConfig) -> GenerationConfig {
    config.first_byte_timeout(ms(200))
}

fn short_connect(config: GenerationConfig) -> GenerationConfig {
    config.connect_timeout(ms(300))
}

fn short_stall(config: GenerationConfig) -> GenerationConfig {
    config.stall_timeout(ms(300))
}

fn once(config: GenerationConfig) -> GenerationConfig {
    config.max_retries(0)
}

fn twice(config: GenerationConfig) -> GenerationConfig {
    config.max_retries(1)
}

fn small_events(config: GenerationConfig) -> GenerationConfig {
    config.max_event_bytes(1 << 20)
}

fn parts() -> Vec<(&'static str, Vec<Case>)> {
    use ErrorKind::*;
    vec![
        (
            "Connecting, TLS, proxies",
            vec![
                fails("F01", "Nobody listens", Network, "refused the connection; is the server running?").on(OPENAI).requests(0),
                fails("F02", "The name has no address", Network, "no address found for no-such-host.invalid").on(OPENAI).set(once).requests(0).takes(0, 12_000),
                fails("F03", "The connection is never accepted", Timeout, "connect_timeout").on(OPENAI).set(short_connect).requests(0).takes(250, 2_000),
                fails("F04", "The server reads the request and closes", Network, "closed the connection before it answered").requests(3),
                fails("F05", "The server reads the request and resets the connection", Network, "closed the connection before it answered").requests(3),
                fails("F06", "The server accepts and reads nothing, not even a large prompt", Timeout, "read nothing of the request").on(OPENAI).set(short_idle).requests(0),
                fails("F07", "The server reads the request and says nothing", Timeout, "first_byte_timeout").set(short_head),
                fails("F08", "A certificate that nobody trusted has issued", Network, "is not signed by a trusted CA").on(OPENAI),
                fails("F09", "A certificate that has expired", Network, "has expired").on(OPENAI),
                fails("F10", "The certificate of another host", Network, "is for another host").on(OPENAI),
                fails("F11", "Plain HTTP on the port for TLS", Network, "does not speak TLS").on(OPENAI),
                fails("F12", "The TLS handshake is never answered", Timeout, "connect_timeout").on(OPENAI).set(short_connect).takes(250, 2_000),
                fails("F13", "TLS: the connection is cut without a goodbye", Incomplete, "the stream was cut").after(TWO).on(OPENAI),
                fails("F15", "The proxy wants another password", Network, "asks for a valid user and password").with("status=407").on(OPENAI),
                fails("F15", "The proxy refuses the target", Network, "refuses to connect to").with("status=403").on(OPENAI),
                fails("F15", "The rules of a SOCKS proxy do not allow the target", Network, "refuses to connect to").with("v=socks").on(OPENAI),
                fails("F16", "The proxy says nothing", Timeout, "connect_timeout").with("v=hang").on(OPENAI).set(short_connect).takes(250, 2_000),
                fails("F16", "The proxy closes", Network, "did not connect to").with("v=close").on(OPENAI).set(twice).requests(2),
            ],
        ),
        (
            "The head of the answer",
            vec![
                whole("F00", "Nothing", HELLO),
                fails("F17", "The head, then silence", Timeout, "idle_timeout").set(short_idle),
                fails("F18", "The head comes at one byte now and then", Timeout, "first_byte_timeout").with("drip=0.03").set(short_head),
                fails("F19", "The status line, then the end", Network, "closed the connection before it answered").set(twice).requests(2),
                fails("F20", "The head ends in the middle of a line", Network, "closed the connection before it answered").set(twice).requests(2),
                fails("F21", "Something else than HTTP", Decode, "is not HTTP"),
                fails("F22", "Header lines without end", Decode, "the head of the response").with("max=99999999"),
                fails("F23", "A header line without end", Decode, "the head of the response").with("max=99999999"),
                fails("F24", "Two lengths that differ", Decode, "the head of the response"),
                whole("F25", "Interim answers (100, 103) before the answer", HELLO),
                fails("F26", "Interim answers without end", Decode, "the head of the response").with("max=99999999"),
                fails("F27", "204 No Content", Decode, "204: this is not a stream"),
                fails("F28", "200 and an empty body", Incomplete, "without a single event").requests(3),
                fails("F29", "101 Switching Protocols", Decode, "101: this is not a stream"),
                whole("F30", "HTTP/1.0, whose body ends with the connection", "Hello"),
                whole("F31", "The whole answer at once, as JSON", "Hello world"),
                fails("F32", "An error as JSON with status 200", InvalidRequest, "model is not available").on(TYPED),
                fails("F32", "The same in Cohere's words, which do not say whose fault it is", Server, "model is not available").on(&[CohereChat]).set(twice).requests(2),
                fails("F33", "A web page with status 200, such as a hotel's", Decode, "not an event stream; check the base URL. It begins: \"<!doctype html>"),
                whole("F34", "A content type with parameters, in odd case", HELLO),
                whole("F35", "No content type", HELLO),
                whole("F36", "The content type text/plain", HELLO),
                whole("F37", "The content type claims ISO 8859-1", HELLO),
                fails("F38", "302 to another host", InvalidRequest, "a redirect to http://localhost:1/v1/chat, which was not followed"),
                fails("F39", "307 to another host", InvalidRequest, "a redirect to http://localhost:1/v1/chat, which was not followed"),
                fails("F40", "301 on the same host", InvalidRequest, "which was not followed"),
                fails("F41", "A redirect to itself", InvalidRequest, "which was not followed"),
                fails("F42", "307 that does not say where to", InvalidRequest, "does not say where to"),
                fails("F43", "A redirect from HTTPS to HTTP", InvalidRequest, "a redirect to http://127.0.0.1:1/v1/chat/completions, which was not followed").on(OPENAI),
                fails("F44", "308 on the same host", InvalidRequest, "which was not followed; if that is right, set the base URL to http://127.0.0.1:"),
            ],
        ),
        (
            "HTTP's framing",
            vec![
                fails("F45", "The body is shorter than its length", Incomplete, "the stream was cut").after("Hello world"),
                fails("F46", "The body is longer than its length, which cuts an event", Incomplete, "ended before the answer did").after("Hello "),
                fails("F47", "A chunk size that is no number", Incomplete, "not well-formed HTTP").after(TWO),
                fails("F48", "A chunk size beyond 64 bits", Incomplete, "not well-formed HTTP").after(TWO),
                fails("F48", "A negative chunk size", Incomplete, "not well-formed HTTP").with("v=neg").after(TWO),
                whole("F49", "Trailers", "Hello"),
                fails("F49", "Trailers that come now and then, for ever", Timeout, "stall_timeout").with("v=drip,every=0.02").after(TWO).set(short_stall),
                fails("F49", "Trailers without end", Incomplete, "the trailers of the response").with("v=endless").after(TWO),
                whole("F50", "Chunk extensions and padded sizes", "Hello").with("v=short"),
                fails("F50", "A chunk extension that makes the line of the size longer than 20 bytes, which ureq takes for a fault", Incomplete, "not well-formed HTTP").set(once),
                fails("F50", "A chunk extension that comes at one byte now and then, for ever", Timeout, "stall_timeout").with("v=drip,every=0.02").after(TWO).set(short_stall),
                fails("F51", "The connection ends inside a chunk", Incomplete, "the stream was cut").after(TWO),
                fails("F52", "The connection ends between chunks", Incomplete, "the stream was cut").after(TWO),
                fails("F53", "No line end behind a chunk", Incomplete, "not well-formed HTTP").after("Hello"),
                whole("F54", "One byte a chunk", "Hello 😀 wörld"),
                whole("F55", "Chunks and a length", HELLO),
                fails("F56", "A body in gzip, which was not asked for", Decode, "is encoded (gzip)"),
                fails("F57", "A plain body that is called gzip", Decode, "is encoded (gzip)"),
                fails("F58", "A gzip bomb", Decode, "is encoded (gzip)"),
                fails("F59", "An unknown encoding", Decode, "is encoded (br)"),
                whole("F60", "A kept connection is reset when the second request comes, which then goes over a new one", HELLO).requests(3),
                whole("F61", "A second answer that nobody asked for, on a kept connection", HELLO).requests(2),
                whole("F61", "The same over TLS, in a record that the session has not read to its end", HELLO).with("v=tls").on(OPENAI).requests(2),
                fails("F62", "413 while 30 MB are still being sent, then a reset", InvalidRequest, "413: too large").on(OPENAI),
            ],
        ),
        (
            "Interruptions",
            vec![
                whole("F63", "One byte now and then", "Hello").with("drip=0.0005"),
                fails("F64", "Silence in the middle", Timeout, "idle_timeout").after(TWO).set(short_idle),
                fails("F65", "A reset in the middle of an event", Incomplete, "the stream was cut").after(TWO),
                fails("F66", "A reset between events", Incomplete, "the stream was cut").after(TWO),
                fails("F67", "The end inside a line, with the connection's end as the body's", Incomplete, "the stream ended before the answer did").after(TWO),
                fails("F68", "The end between events, with the connection's end as the body's", Incomplete, "the stream ended before the answer did").after(TWO),
                fails("F69", "A clean end of the body, without a finish reason or an end marker", Incomplete, "the stream ended before the answer did").after(TWO),
                whole("F70", "The last event lacks its blank line", TWO),
                whole("F70", "The last event lacks its second line end", TWO).with("lf=1"),
                fails("F71", "Only comments, for ever", Timeout, "stall_timeout").with("every=0.02").after(TWO).set(short_stall),
                fails("F71", "Only counts of tokens, for ever", Timeout, "stall_timeout").with("v=usage,every=0.02").after(TWO).on(OPENAI).set(short_stall),
                fails("F71", "Only the name of a tool call, for ever", Timeout, "stall_timeout").with("v=name,every=0.02").after(TWO).on(OPENAI).set(short_stall),
                fails("F72", "Only pings, for ever", Timeout, "stall_timeout").with("every=0.02").set(short_stall),
                fails("F73", "An error event in the stream", InvalidRequest, "inside the stream: it went wrong").after(TWO).on(TYPED)
                    .also("it has no status", |seen| seen.error().is_some_and(|e| e.status().is_none())),
                fails("F73", "The same in Cohere's words", Server, "inside the stream: it went wrong").after(TWO).on(&[CohereChat]),
                whole("F74", "The end marker, and the connection stays open", TWO).takes(0, 1_500),
                whole("F75", "A while of silence first", HELLO).with("pause=0.2").takes(200, 4_000),
                whole("F76", "Everything in one write", "Hello"),
                whole("F77", "A pause between CR and LF", "Hello"),
                whole("F78", "A pause behind each event that ends in CR: it is handed out before", "Hello"),
            ],
        ),
        (
            "Statuses and the bodies of errors",
            vec![
                fails("F80", "400", InvalidRequest, "answered 400: synthetic 400")
                    .also("with the request's id", |seen| seen.error().is_some_and(|e| e.to_string().contains("req_fault"))),
                fails("F81", "401", Auth, "answered 401: synthetic 401"),
                fails("F82", "403", Auth, "answered 403: synthetic 403"),
                fails("F83", "404", NotFound, "check the model's name, whether the model can do what is asked, and the base URL"),
                fails("F84", "408", Server, "answered 408").set(twice).requests(2),
                fails("F85", "409", Server, "answered 409").set(twice).requests(2),
                fails("F86", "413", InvalidRequest, "answered 413"),
                fails("F87", "422 in the words of FastAPI", InvalidRequest, "field required"),
                fails("F88", "429", RateLimited, "answered 429").requests(3).takes(700, 4_000),
                fails("F89", "429, Retry-After in seconds", RateLimited, "try again in 1 s").with("ra=1").set(twice).requests(2).takes(1_000, 4_000),
                fails("F90", "429, Retry-After as a date, read against the answer's own", RateLimited, "try again in").with("in=2").set(twice).requests(2).takes(900, 5_000),
                fails("F91", "429, retry-after-ms and a Retry-After of 30 s", RateLimited, "try again in 2 s").set(twice).requests(2).takes(1_500, 4_000),
                fails("F92", "429, Retry-After of a day", RateLimited, "try again in 86400 s").with("ra=86400"),
                fails("F92", "429, Retry-After of three million million years", RateLimited, "try again in").with("ra=99999999999999999999"),
                fails("F92", "429, a negative Retry-After", RateLimited, "answered 429").with("ra=-5").requests(3),
                fails("F92", "429, Retry-After: NaN", RateLimited, "answered 429").with("ra=NaN").requests(3),
                fails("F92", "429, Retry-After: inf", RateLimited, "answered 429").with("ra=inf").requests(3),
                fails("F92", "429, Retry-After: 1e400", RateLimited, "answered 429").with("ra=1e400").requests(3),
                fails("F92", "429, Retry-After: soon", RateLimited, "answered 429").with("ra=soon").requests(3),
                fails("F93", "429, the money is used up", Quota, "credit or quota is used up").on(&[ChatCompletions, Responses, Messages]),
                fails("F94", "500", Server, "answered 500").requests(3),
                fails("F95", "502 with a web page", Server, "answered 502: 502 Bad Gateway").set(twice).requests(2),
                fails("F96", "503, Retry-After: 1", Overloaded, "answered 503").set(twice).requests(2).takes(1_000, 4_000),
                fails("F97", "504 as plain text", Server, "upstream request timeout").set(twice).requests(2),
                fails("F98", "529", Overloaded, "answered 529").set(twice).requests(2),
                fails("F99", "500, x-should-retry: false", Server, "answered 500"),
                fails("F100", "400, x-should-retry: true", InvalidRequest, "answered 400"),
                whole("F101", "503 twice, then the answer", HELLO).with("n=2,status=503").requests(3)
                    .also("the response counts the retries", |seen| seen.response.retries == 2),
                whole("F101", "Two resets, then the answer", HELLO).with("n=2,status=rst").requests(3),
                whole("F101", "429 with Retry-After: 1, then the answer", HELLO).with("n=1,status=429,ra=1").requests(2).takes(1_000, 4_000),
                fails("F102", "299", Decode, "299: this is not a stream").with("status=299"),
                fails("F102", "600", InvalidRequest, "answered 600").with("status=600"),
                fails("F102", "999", InvalidRequest, "answered 999").with("status=999"),
                whole("F103", "No reason phrase", "Hello"),
                fails("F104", "402", Quota, "credit or quota is used up").with("status=402"),
                fails("F104", "418", InvalidRequest, "answered 418").with("status=418"),
                fails("F105", "The error's body has a gigabyte", InvalidRequest, "answered 400"),
                fails("F106", "The error's body is no UTF-8", InvalidRequest, "answered 400: Erreur \u{fffd} la cl\u{fffd}"),
                fails("F107", "The error's body is empty", Server, "answered 500").set(twice).requests(2),
                fails("F108", "The error's body is a web page", InvalidRequest, "answered 400: Sign in to WiFi"),
                fails("F109", "The error is a string", InvalidRequest, "just a string").with("i=0"),
                fails("F109", "The error is null", InvalidRequest, "answered 400").with("i=1"),
                fails("F109", "The message is null", InvalidRequest, "answered 400").with("i=2"),
                fails("F109", "The message is an object", InvalidRequest, "answered 400").with("i=3"),
                fails("F109", "The message stands alone", InvalidRequest, "top level").with("i=4"),
                fails("F109", "The message is called detail", InvalidRequest, "not found").with("i=5"),
                fails("F109", "Errors in a list", InvalidRequest, "answered 400: a").with("i=6"),
                fails("F109", "A list of answers (Gemini)", InvalidRequest, "array (Gemini)").with("i=7"),
                fails("F109", "The body is a string", InvalidRequest, "a bare string").with("i=8"),
                fails("F109", "The body is null", InvalidRequest, "answered 400").with("i=9"),
                fails("F109", "The body is a number", InvalidRequest, "answered 400").with("i=10"),
                fails("F109", "The body is torn", InvalidRequest, "answered 400").with("i=11"),
                fails("F109", "The message comes twice", InvalidRequest, "answered 400: b").with("i=12"),
                fails("F109", "Anthropic's form", InvalidRequest, "answered 400: y").with("i=13"),
                fails("F109", "Half a character in the message, and a code that is no number", InvalidRequest, "answered 400").with("i=14"),
                fails("F109", "vLLM's form", InvalidRequest, "vLLM").with("i=15"),
                fails("F109", "Baidu's form", InvalidRequest, "old style").with("i=16"),
                fails("F109", "Cloudflare's form", InvalidRequest, "Cloudflare").with("i=17"),
                fails("F110", "The error's body never ends", InvalidRequest, "answered 400: {\"error\":{\"message\":\"wait").takes(0, 8_000),
                fails("F111", "The error shows the key", Auth, "[redacted]"),
                fails("F112", "The error's body is in gzip", InvalidRequest, "the error is encoded (gzip)"),
            ],
        ),
        (
            "What is in the stream",
            vec![
                fails("F113", "A data line without end", Limit, "max_event_bytes").set(small_events),
                fails("F114", "A comment without end", Timeout, "stall_timeout").set(short_stall),
                whole("F116", "A hundred thousand tiny events", "").with("n=100000")
                    .on(OPENAI).takes(0, 15_000),
                fails("F117", "Data lines without end", Limit, "max_event_bytes").set(small_events),
                whole("F118", "A character whose halves come in two events", "ok 😀 after"),
                whole("F119", "JSON nested 100,000 deep, in a field that nobody needs", "abc").with("n=100000").on(OPENAI),
                whole("F120", "A key that comes twice", "second").on(&[ChatCompletions, Messages]),
                fails("F121", "An event that is torn", Decode, "cannot be read: \"{\\\"choices\\\"").after("before "),
                whole("F122", "null, a list, a number, a string, true and {} as events", "ab"),
                whole("F123", "Fields are missing, others are new", "ab").on(&[ChatCompletions, Messages]),
                whole("F124", "Values of wrong types", " end").on(OPENAI).with("i=0"),
                whole("F124", "Values of wrong types", " end").on(OPENAI).with("i=1"),
                whole("F124", "Values of wrong types", " end").on(OPENAI).with("i=5"),
                whole("F124", "Values of wrong types", " end").on(OPENAI).with("i=6"),
                whole("F125", "The end marker comes twice", TWO).on(MARKED),
                whole("F126", "Data behind the end marker", TWO).on(MARKED),
                whole("F127", "[DONE] with blanks around it", TWO).on(OPENAI),
                whole("F127", "[DONE] without a blank", TWO).with("v=tight").on(OPENAI),
                whole("F127", "[DONE] and an empty data line", TWO).with("v=nl").on(OPENAI),
                whole("F127", "\"[DONE]\" in quotes, after the finish reason", TWO).with("v=quote").on(OPENAI),
                whole("F127", "[done], after the finish reason", TWO).with("v=case").on(OPENAI),
                whole("F127", "[DONE] and more, after the finish reason", TWO).with("v=tail").on(OPENAI),
                whole("F128", "A finish reason and no end marker", TWO)
                    .also("its finish reason is `Stop`", |seen| seen.response.finish_reason == Some(FinishReason::Stop)),
                fails("F128", "A plain stop before anything is said, and no end marker", Incomplete, "a finish reason before the answer and no end marker").with("v=nothing").requests(3)
                    .on(&[ChatCompletions, Messages, GenerateContent]),
                fails("F129", "An end marker, no finish reason and no usage: interrupted", Incomplete, "without a finish reason and usage").after(TWO).on(OPENAI),
                whole("F129", "An end event without a finish reason", TWO).on(&[Messages])
                    .also("its finish reason is `None`", |seen| seen.response.finish_reason.is_none()),
                whole("F130", "NUL, escaped", "a\0b end"),
                fails("F130", "NUL, raw, which JSON forbids", Decode, "cannot be read").with("v=raw"),
                whole("F131", "Control characters in the text", "\u{1b}[31mred\u{1b}]0;pwned\u{7}\u{202e}\u{8}\u{8} end")
                    .also("as they came, and `terminal_safe` makes them visible", |seen| {
                        let safe = terminal_safe(&seen.text).to_string();
                        !safe.contains(|c: char| c.is_control() || c == '\u{202e}')
                            && safe.contains('␛') && safe.ends_with(" end")
                    }),
                whole("F132", "Every byte in a packet of its own", "é€😀👨\u{200d}👩\u{200d}👧\u{200d}👦 e\u{301}"),
                whole("F133", "Bytes that are no UTF-8", "acaf\u{fffd} \u{fffd}\u{fffd} end"),
                whole("F134", "A byte order mark first", "Hello"),
                whole("F135", "CRLF, cut in two", "Hello"),
                whole("F136", "CR alone", "Hello"),
                whole("F137", "A tool call with the index 4,000,000,000", "").on(&[ChatCompletions, Messages, Responses, CohereChat])
                    .also("it is the first call", |seen| seen.response.tool_calls.len() == 1),
                whole("F138", "Usage beyond all numbers", "a").on(OPENAI),
                whole("F139", "A finish reason that nobody knows", TWO).on(&[ChatCompletions, Messages, GenerateContent, CohereChat])
                    .also("it is `Other`, with the word kept", |seen| {
                        seen.response.finish_reason == Some(FinishReason::Other)
                            && seen.response.raw_finish_reason.as_deref() == Some("quantum_collapse")
                    }),
                whole("F140", "Several choices", "A1A2").on(OPENAI),
                whole("F141", "Ids and blank lines between events", "Hello"),
                whole("F142", "Events without data", "Hello"),
                whole("F143", "A retry field first", "Hello"),
                whole("F144", "Arguments of a tool call that are torn", "").on(&[ChatCompletions, Messages])
                    .also("they are given as they came", |seen| seen.response.tool_calls[0].arguments == "{\"city\":\"Paris"),
                fails("F145", "Two JSON values in one event", Decode, "event"),
                fails("F146", "JSON lines in place of events", Decode, "is not an event stream").on(OPENAI),
                whole("F147", "Data over several lines, without blanks", "Hello"),
                fails("F148", "[DONE] is all there is", Incomplete, "its end marker is all there is").on(OPENAI).requests(3),
                fails("F148", "A role, then [DONE]", Incomplete, "the stream is empty").with("v=role").on(OPENAI).requests(3),
            ],
        ),
        (
            "The caller's own side",
            vec![
                fails("F150", "A key with a line break", Auth, "has characters that no key has").on(OPENAI).requests(0).set(|c| c.api_key("sk-se\r\nx: cret")),
                whole("F150", "A key with a line end behind it, as from a file", HELLO).on(OPENAI).set(|c| c.api_key("sk-secret\n")),
                fails("F151", "A key with letters beyond ASCII", Auth, "has characters that no key has").on(OPENAI).requests(0).set(|c| c.api_key("sk-äöü")),
                fails("F152", "No key", Auth, "there is no API key; set OPENAI_API_KEY").on(OPENAI).requests(0).set(|c| c.provider(kerb_stream::LlmProvider::OpenAi).api_key("")),
                whole("F153", "A base URL with slashes behind it", HELLO).on(OPENAI).set(|c| { let url = c.base_url.clone().unwrap_or_default() + "//"; c.base_url(url) }),
                whole("F155", "A base URL with a query", HELLO).on(OPENAI).set(|c| { let url = c.base_url.clone().unwrap_or_default() + "?api-version=1"; c.base_url(url) }),
                fails("F155", "A base URL with a fragment", Config, "has a fragment").on(OPENAI).requests(0).set(|c| { let url = c.base_url.clone().unwrap_or_default() + "#x"; c.base_url(url) }),
                fails("F156", "A base URL with a password", Config, "has a user name or a password in it").on(OPENAI).requests(0).set(|c| c.base_url("http://u:hunter2@127.0.0.1/v1")),
                fails("F158", "A base URL that is empty", Config, "is empty").on(OPENAI).requests(0).set(|c| c.base_url("")),
                fails("F158", "A base URL without a scheme", Config, "does not begin with http").on(OPENAI).requests(0).set(|c| c.base_url("localhost:8080/v1")),
                fails("F158", "A base URL for a file", Config, "does not begin with http").on(OPENAI).requests(0).set(|c| c.base_url("file:///etc/passwd")),
                fails("F158", "A base URL with a port beyond 65535", Config, "a port that is not between 1 and 65535").on(OPENAI).requests(0).set(|c| c.base_url("http://localhost:99999/v1")),
                fails("F158", "A base URL with blanks", Config, "has a blank").on(OPENAI).requests(0).set(|c| c.base_url("http://local host/v1")),
                fails("F158", "A proxy that is none", Config, "is an invalid URL").on(OPENAI).requests(0).set(|c| c.proxy(Proxy::Url("gopher://x".into()))),
                fails("F158", "A key over plain HTTP to another machine", Config, "the key would travel in the clear").on(OPENAI).requests(0).set(|c| c.base_url("http://192.0.2.1/v1")),
                fails("F158", "The same to this machine, through a proxy on another", Config, "is not on this machine").on(OPENAI).requests(0).set(|c| c.proxy(Proxy::Url("http://192.0.2.1:3128".into()))),
                fails("F158", "A model that leads out of the URL's path", Config, "the model's name in the URL has a segment").on(&[GenerateContent]).requests(0).set(|mut c| { c.model = "../../../evil".into(); c }),
            ],
        ),
    ]
}
