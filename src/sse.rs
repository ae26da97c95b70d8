//! Parses bytes into server-sent events, by the WHATWG algorithm. It knows neither HTTP nor JSON.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>
//!
//! The fields `id` and `retry` are ignored: they are for clients that reconnect. A client that
//! reconnects would send the prompt again and pay for it again.

use memchr::memchr2;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// The value of the `event` field; empty if the event has none.
    pub(crate) name: &'a str,
    /// The values of the `data` fields, one per line.
    pub(crate) data: &'a str,
}

/// A unit of an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Event(Event<'a>),
    /// The value of an `error` field, which the algorithm would ignore. Old llama.cpp and GPUStack
    /// report a failure this way, and then send nothing more.
    Error(&'a str),
}

/// The error for a line or an event that is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Parses events from bytes that arrive in pieces of any size.
///
/// All bytes are in one buffer, and an event borrows its data from there. The data of the first
/// `data` line stays in place. The data of further lines is moved so that it directly follows.
///
/// ```text
///        data.start   data.end    line      scan        filled
/// ───────────┬───────────┬──────────┬─────────┬────────────┬───────────
///  handed    │ data of   │ lines    │ current line:        │ free
///  out       │ the event │ parsed   │ searched│ not yet    │
/// ```
#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    /// The end of the bytes that were read.
    filled: usize,
    /// The start of the current line, whose end has not arrived yet.
    line: usize,
    /// The position up to which the current line was searched for its end.
    scan: usize,
    /// The position of the event's data.
    data: std::ops::Range<usize>,
    has_data: bool,
    name: String,
    /// The data of an event that was invalid UTF-8, after its repair; or the value of an `error`
    /// field.
    repaired: String,
    /// Lines that belong to no event. A body that is not an event stream consists of them.
    stray: Vec<u8>,
    limit: usize,
    state: LineState,
    any_event: bool,
}

/// The meaning of the next byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LineState {
    /// The first byte of the stream, which may begin a byte order mark.
    #[default]
    Start,
    /// Part of a line.
    Line,
    /// Part of a comment, which is discarded.
    Comment,
    /// The byte after a CR. An LF belongs to the same line end.
    AfterCr,
    /// The byte after an event that was handed out. `cr` means that the event ended with a CR.
    AfterEvent { cr: bool },
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const FIRST_SIZE: usize = 8 << 10;
/// The smallest free space that is enough for a read.
const LEAST_ROOM: usize = 4 << 10;
/// The most bytes of stray lines to keep once the stream had an event.
const STRAY_AMONG_EVENTS: usize = 4 << 10;

impl Parser {
    /// Creates a parser that rejects lines and events of more than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Lets `read` write more bytes into the buffer. Both return the number of bytes.
    pub(crate) fn fill<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.make_room();
        let count = read(self.buffer.get_mut(self.filled..).unwrap_or_default())?;
        self.filled = self.buffer.len().min(self.filled + count);
        Ok(count)
    }

    /// Returns the next complete frame, or `None` if that takes more bytes.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, TooLarge> {
        if let LineState::AfterEvent { cr } = self.state {
            self.has_data = false;
            self.name.clear();
            self.state = if cr { LineState::AfterCr } else { LineState::Line };
        }
        loop {
            let rest = self.bytes(self.line..self.filled);
            match self.state {
                LineState::Start if rest.len() < 3 && BYTE_ORDER_MARK.starts_with(rest) => {
                    return Ok(None);
                }
                LineState::Start => {
                    self.skip(if rest.starts_with(BYTE_ORDER_MARK) { 3 } else { 0 });
                }
                LineState::AfterCr if rest.is_empty() => return Ok(None),
                LineState::AfterCr => self.skip(usize::from(rest.first() == Some(&b'\n'))),
                LineState::Line | LineState::Comment | LineState::AfterEvent { .. } => {}
            }
            let Some(found) = memchr2(b'\n', b'\r', self.bytes(self.scan..self.filled)) else {
                return self.wait_for_line_end();
            };
            let line = self.line..self.scan + found;
            let cr = self.bytes(line.end..line.end + 1) == b"\r";
            (self.line, self.scan) = (line.end + 1, line.end + 1);
            let comment = self.state == LineState::Comment;
            self.state = if cr { LineState::AfterCr } else { LineState::Line };
            if comment {
                continue;
            }
            match self.read_line(line)? {
                LineKind::Field => {}
                LineKind::Event => {
                    self.state = LineState::AfterEvent { cr };
                    return Ok(Some(Frame::Event(self.event())));
                }
                LineKind::Error => return Ok(Some(Frame::Error(&self.repaired))),
            }
        }
    }

    /// Returns the last event at the end of the stream, even if its line ends are missing. The
    /// parser cannot know whether that event is whole. The algorithm would discard it.
    pub(crate) fn finish(&mut self) -> Result<Option<Frame<'_>>, TooLarge> {
        if self.line < self.filled && self.state != LineState::Comment {
            let line = self.line..self.filled;
            self.line = self.filled;
            if let LineKind::Error = self.read_line(line)? {
                return Ok(Some(Frame::Error(&self.repaired)));
            }
        }
        self.state = LineState::AfterEvent { cr: false };
        Ok(self.has_data.then(|| Frame::Event(self.event())))
    }

    /// Takes the lines that belonged to no event, in their order. Call it last, because it resets
    /// the parser: a JSON document may be large, and must not be in memory twice.
    pub(crate) fn take_stray(&mut self) -> String {
        let stray = std::mem::take(&mut self.stray);
        *self = Self::new(self.limit);
        String::from_utf8(stray)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    fn read_line(&mut self, line: std::ops::Range<usize>) -> Result<LineKind, TooLarge> {
        let bytes = self.bytes(line.clone());
        // A comment may be longer, because nothing of it is kept.
        if bytes.len() > self.limit && bytes.first() != Some(&b':') {
            return Err(TooLarge);
        }
        if bytes.is_empty() && self.has_data {
            return Ok(LineKind::Event);
        }
        // No field name that matters is longer than `event`.
        let colon = bytes.iter().take(6).position(|byte| *byte == b':').unwrap_or(bytes.len());
        let value = bytes.get(colon + 1..).unwrap_or_default();
        let start = line.end - value.strip_prefix(b" ").unwrap_or(value).len();
        let value = start..line.end;
        match bytes.get(..colon).unwrap_or_default() {
            b"data" => self.add_data(value)?,
            b"event" => {
                let bytes = self.buffer.get(value).unwrap_or_default();
                match std::str::from_utf8(bytes) {
                    Ok(name) => name.clone_into(&mut self.name),
                    Err(_) => self.name = String::from_utf8_lossy(bytes).into_owned(),
                }
            }
            b"error" => {
                self.repaired = String::from_utf8_lossy(self.bytes(value)).into_owned();
                return Ok(LineKind::Error);
            }
            b"" if line.is_empty() => self.name.clear(),
            b"" | b"id" | b"retry" => {}
            _ => self.add_stray(line),
        }
        Ok(LineKind::Field)
    }

    fn add_data(&mut self, value: std::ops::Range<usize>) -> Result<(), TooLarge> {
        if self.has_data {
            // There is room for the LF: at least one line end is between the data and this value.
            if let Some(end) = self.buffer.get_mut(self.data.end) {
                *end = b'\n';
            }
            let to = self.data.end + 1;
            self.data.end = to + value.len();
            self.buffer.copy_within(value, to);
        } else {
            self.has_data = true;
            self.data = value;
        }
        if self.data.len() > self.limit { Err(TooLarge) } else { Ok(()) }
    }

    fn add_stray(&mut self, line: std::ops::Range<usize>) {
        let limit = if self.any_event { STRAY_AMONG_EVENTS } else { self.limit };
        let room = limit.saturating_sub(self.stray.len() + 1);
        let line = self.buffer.get(line).unwrap_or_default();
        if room > 0 {
            self.stray.extend_from_slice(line.get(..room).unwrap_or(line));
            self.stray.push(b'\n');
        }
    }

    /// Returns the event whose data is in the buffer.
    fn event(&mut self) -> Event<'_> {
        self.any_event = true;
        let bytes = self.buffer.get(self.data.clone()).unwrap_or_default();
        let data = std::str::from_utf8(bytes).ok();
        if data.is_none() {
            self.repaired = String::from_utf8_lossy(bytes).into_owned();
        }
        Event { name: &self.name, data: data.unwrap_or(&self.repaired) }
    }

    /// Skips `bytes` bytes, and begins a line after them.
    fn skip(&mut self, bytes: usize) {
        self.line += bytes;
        self.scan = self.line;
        self.state = LineState::Line;
    }

    fn wait_for_line_end(&mut self) -> Result<Option<Frame<'_>>, TooLarge> {
        let begins_comment = self.bytes(self.line..self.filled).first() == Some(&b':');
        if begins_comment || self.state == LineState::Comment {
            self.state = LineState::Comment;
            self.line = self.filled;
        }
        self.scan = self.filled;
        if self.filled - self.line > self.limit { Err(TooLarge) } else { Ok(None) }
    }

    /// Makes room for the next read.
    ///
    /// When the free space is used up, the bytes that are still needed are moved to the front. If
    /// they fill about half of the buffer, the buffer is doubled. So each byte is moved a bounded
    /// number of times, however small the reads are.
    fn make_room(&mut self) {
        if !self.has_data {
            self.data = self.line..self.line;
        }
        let kept = self.data.len() + (self.filled - self.line);
        if kept > 0 && self.buffer.len() - self.filled >= LEAST_ROOM {
            return;
        }
        let gap = self.line - self.data.end;
        self.buffer.copy_within(self.data.clone(), 0);
        // The byte after the data is kept free for the LF that joins it with further data.
        let line = if self.has_data { self.data.len() + 1.min(gap) } else { 0 };
        self.buffer.copy_within(self.line..self.filled, line);
        self.data = 0..self.data.len();
        self.filled = line + (self.filled - self.line);
        self.scan = line + (self.scan - self.line);
        self.line = line;
        if self.buffer.len() < 2 * self.filled + LEAST_ROOM {
            self.buffer.resize((2 * self.buffer.len()).max(FIRST_SIZE), 0);
        }
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }
}

/// The result of reading a line.
enum LineKind {
    Field,
    Event,
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `input` in reads of the given sizes, which are repeated. Returns each frame with the
    /// number of bytes that were read before it came out, and what is left at the end.
    fn read(input: &[u8], sizes: &[usize], limit: usize) -> Result<Reading, TooLarge> {
        let mut parser = Parser::new(limit);
        let mut reading = Reading::default();
        let (mut rest, mut sizes) = (input, sizes.iter().cycle());
        loop {
            while let Some(frame) = parser.next()? {
                reading.frames.push((owned(frame), input.len() - rest.len()));
            }
            let size = *sizes.next().unwrap();
            let count = parser
                .fill(|buffer| {
                    let count = size.min(buffer.len()).min(rest.len());
                    buffer[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    Ok::<_, TooLarge>(count)
                })
                .unwrap();
            if count == 0 {
                break;
            }
        }
        reading.last = parser.finish()?.map(owned);
        reading.capacity = parser.buffer.len();
        reading.stray = parser.take_stray();
        Ok(reading)
    }

    #[derive(Debug, Default)]
    struct Reading {
        frames: Vec<((String, String), usize)>,
        last: Option<(String, String)>,
        stray: String,
        capacity: usize,
    }

    fn owned(frame: Frame<'_>) -> (String, String) {
        match frame {
            Frame::Event(event) => (event.name.to_owned(), event.data.to_owned()),
            Frame::Error(error) => ("<error>".to_owned(), error.to_owned()),
        }
    }

    fn events(input: &[u8], sizes: &[usize]) -> Vec<(String, String)> {
        let reading = read(input, sizes, 1 << 20).unwrap();
        reading.frames.into_iter().map(|(frame, _)| frame).chain(reading.last).collect()
    }

    const CUTS: [&[usize]; 6] = [&[usize::MAX], &[1], &[2], &[3], &[7], &[1, 5, 2, 16]];

    const LARGE_CUTS: [&[usize]; 2] = [&[16384], &[1460]];

    #[test]
    fn framing() {
        type Named = (&'static str, &'static str);
        let table: &[(&[u8], &[Named])] = &[
            (b"data: a\n\ndata: b\r\n\r\ndata: c\r\r", &[("", "a"), ("", "b"), ("", "c")]),
            (b"\xef\xbb\xbfdata:a\n\n\xef\xbb\xbfdata:b\n\n", &[("", "a")]),
            (b"data: one\ndata:  two\ndata\n\n", &[("", "one\n two\n")]),
            (b"data: x\nevent: ping\n\ndata: y\n\n", &[("ping", "x"), ("", "y")]),
            (b"event: lost\n\ndata: y\n\n", &[("", "y")]),
            (b":comment\n: another\r\n\nretry: 3\nid: 7\n\n\n\n", &[]),
            (b"data\n\ndata:\n\n", &[("", ""), ("", "")]),
            (b"data: caf\xe9 \xf0\x9f\x98\n\n", &[("", "caf\u{fffd} \u{fffd}")]),
            ("data: 日本語 👩‍👩‍👧‍👦\n\n".as_bytes(), &[("", "日本語 👩‍👩‍👧‍👦")]),
            (b"data: a\0b\n\n", &[("", "a\0b")]),
            (b"data: tail\nevent: e", &[("e", "tail")]),
            (b"error: {\"code\": 500}\ndata: a\n\n", &[("<error>", "{\"code\": 500}"), ("", "a")]),
            (b"data: a\n: cut", &[("", "a")]),
            (b"", &[]),
            (b"\xef\xbb", &[]),
        ];
        for (input, expected) in table {
            for cut in CUTS {
                let events = events(input, cut);
                let events: Vec<_> = events.iter().map(|(n, d)| (n.as_str(), d.as_str())).collect();
                assert_eq!(&events, expected, "{:?} cut {cut:?}", String::from_utf8_lossy(input));
            }
        }
    }

    #[test]
    fn an_event_comes_out_with_its_last_byte() {
        let input = b"data: a\n\ndata: b\r\rdata: c\r\n\r\n";
        let reading = read(input, &[1], 1 << 20).unwrap();
        let at: Vec<_> = reading.frames.iter().map(|(_, at)| *at).collect();
        assert_eq!(at, [9, 18, 28], "a CR is enough, without a look at what follows");
    }

    #[test]
    fn what_is_no_event_is_kept_to_be_looked_at() {
        let reading = read(b"{\n  \"error\": \"no\"\n}", &[3], 1 << 20).unwrap();
        assert_eq!((reading.stray.as_str(), reading.last), ("{\n  \"error\": \"no\"\n}\n", None));

        let noise = format!("data: a\n\n{}", "stray line\n".repeat(1000));
        let reading = read(noise.as_bytes(), &[100], 1 << 20).unwrap();
        assert!(reading.stray.len() <= STRAY_AMONG_EVENTS, "a long stream does not grow");
    }

    #[test]
    fn lines_and_events_are_limited_and_comments_are_free() {
        let line = |length: usize| format!("data:{}\n\n", "x".repeat(length)).into_bytes();
        for cut in CUTS {
            assert!(read(&line(95), cut, 100).is_ok());
            assert_eq!(read(&line(96), cut, 100).unwrap_err(), TooLarge);
            assert_eq!(read(&b"data: x\n".repeat(60), cut, 100).unwrap_err(), TooLarge);
            assert_eq!(read(&[b'x'; 101], cut, 100).unwrap_err(), TooLarge);
        }
        let long = [&b":"[..], &[b'.'; 200], b"\ndata: a\n\n"].concat();
        for cut in CUTS {
            assert_eq!(read(&long, cut, 100).unwrap().frames.len(), 1, "{cut:?}");
        }
        let endless = [&b":"[..], &[b'.'; 1 << 20], b"\ndata: a\n\n"].concat();
        let reading = read(&endless, &[1000], 100).unwrap();
        assert_eq!((reading.frames.len(), reading.capacity), (1, FIRST_SIZE));
    }

    #[test]
    fn a_large_event_of_many_lines_survives_every_move() {
        let text: String = (0..4000).map(|n| format!("line {n} ")).collect();
        let lines: String = text
            .as_bytes()
            .chunks(50)
            .map(|line| format!("data: {}\n", std::str::from_utf8(line).unwrap()))
            .collect();
        let expected = text.as_bytes().chunks(50).collect::<Vec<_>>().join(&b'\n');
        for cut in [&[1_usize][..], &[1000], &[usize::MAX]] {
            let events = events(format!("data: first\n\n{lines}\n").as_bytes(), cut);
            assert_eq!(events[1].1.as_bytes(), expected);
        }
    }

    /// Parses each test vector in `$KERB_STREAM_SHARED/sse` in reads of many sizes. The vectors are
    /// not in this repository: `KERB_STREAM_SHARED=…/shared`.
    #[test]
    #[ignore = "reads the vectors in $KERB_STREAM_SHARED/sse"]
    fn shared_vectors() {
        use base64::Engine as _;
        use serde_json::Value;

        let decode = |text: &Value| {
            base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
        };
        let repeated = |list: &Value, piece: &dyn Fn(&Value) -> Vec<u8>| -> Vec<u8> {
            let list = list.as_array().unwrap().iter();
            list.flat_map(|item| piece(item).repeat(item["repeat"].as_u64().unwrap() as usize))
                .collect()
        };
        let expand = |event: &Value| {
            let data = match &event["data"] {
                Value::String(data) => data.clone(),
                list => {
                    let text = |item: &Value| item["text"].as_str().unwrap().into();
                    String::from_utf8(repeated(list, &text)).unwrap()
                }
            };
            let name = event["event"].as_str().unwrap();
            (if name == "message" { "" } else { name }.to_owned(), data)
        };
        let shared = std::env::var("KERB_STREAM_SHARED").expect("KERB_STREAM_SHARED is set");
        let vectors = std::fs::read_to_string(format!("{shared}/sse/vectors.jsonl")).unwrap();
        let mut count = 0;
        for line in vectors.lines() {
            let vector: Value = serde_json::from_str(line).unwrap();
            let input = match vector.get("input_b64") {
                Some(input) => decode(input),
                None => repeated(&vector["input_gen"], &|item| decode(&item["b64"])),
            };
            let expected: Vec<_> = match vector.get("expected") {
                Some(Value::Array(list)) => list.iter().map(expand).collect(),
                _ => {
                    let list = vector["expected_gen"].as_array().unwrap().iter();
                    list.flat_map(|item| {
                        let times = item["repeat"].as_u64().unwrap() as usize;
                        vec![expand(item); times]
                    })
                    .collect()
                }
            };
            let at = vector["dispatch_at"].as_array();
            let at: Option<Vec<usize>> =
                at.map(|at| at.iter().map(|at| at.as_u64().unwrap() as usize).collect());
            let small = input.len() < 100_000;
            for cut in if small { &CUTS[..] } else { &LARGE_CUTS[..] } {
                let reading = read(&input, cut, 1 << 30).unwrap();
                let frames = reading.frames.into_iter().filter(|((name, _), _)| name != "<error>");
                let (events, came): (Vec<_>, Vec<_>) = frames.unzip();
                // The event names "" and "message" are the same to the algorithm.
                let events: Vec<_> = events
                    .into_iter()
                    .map(|(name, data)| {
                        (name.replacen("message", "", usize::from(name == "message")), data)
                    })
                    .collect();
                assert!(events == expected, "{} cut {cut:?}", vector["id"]);
                if *cut == [1]
                    && let Some(at) = &at
                {
                    assert_eq!(&came, at, "{}", vector["id"]);
                }
            }
            count += 1;
        }
        assert!(count >= 461, "only {count} vectors");
    }
}
