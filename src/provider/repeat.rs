//! Events that differ from the one before them only in their text, as nearly all of an answer's do.
//!
//! Reading the JSON is most of what an event costs. Here an event is compared with the latest one
//! instead, and only the text is read as JSON. It knows no protocol: it asks the [`Output`] what
//! the decoder made of the latest event, and leaves everything that is not plain to the decoder.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::wire::Raw;
use super::{Decoder, Output};
use crate::sse::Event;

/// Fields that change from event to event and that no decoder reads, so that their values may
/// differ too: OpenAI's, in both of its protocols. The quotes make them keys: in a string they
/// would be escaped.
static PASSED_OVER: LazyLock<[Finder<'_>; 2]> =
    LazyLock::new(|| ["\"sequence_number\":", "\"obfuscation\":"].map(Finder::new));

/// The latest event, if it brought one text and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Repeat {
    name: String,
    data: String,
    /// Where in it the values stand that may differ, in order. There are none if the event does not
    /// count.
    holes: Vec<Hole>,
}

#[derive(Debug)]
struct Hole {
    place: Range<usize>,
    is_text: bool,
}

impl Repeat {
    /// What [`Decoder::decode`] does, in less time if the event repeats the latest one.
    pub(crate) fn decode(
        &mut self,
        decoder: &mut dyn Decoder,
        event: &Event<'_>,
        out: &mut Output,
    ) -> serde_json::Result<()> {
        if let Some(text) = self.text(event) {
            out.text(text);
            return Ok(());
        }
        self.holes.clear();
        out.begin();
        decoder.decode(event, out)?;
        if let Some(text) = out.only_text() {
            self.remember(event, text);
        }
        Ok(())
    }

    /// The event's text, if nothing else in it is new. What stands in a hole is one JSON value, so
    /// the event is well-formed because the latest one was.
    fn text<'a>(&self, event: &Event<'a>) -> Option<Raw<'a>> {
        let (mut rest, mut known, mut text) = (event.data, 0, None);
        for hole in &self.holes {
            rest = rest.strip_prefix(self.data.get(known..hole.place.start)?)?;
            let (value, behind) = Raw::split(rest)?;
            if hole.is_text {
                text =
                    Some(value).filter(|text| text.literal().is_some_and(|text| !text.is_empty()));
            }
            (rest, known) = (behind, hole.place.end);
        }
        // Byte by byte, since glibc's `memcmp` takes 0.15 µs for two empty strings on processors
        // with AVX-512: it loads nothing from the address 1, and that faults. Most names are empty.
        let same_name = event.name.bytes().eq(self.name.bytes());
        text.filter(|_| same_name && rest == self.data.get(known..).unwrap_or_default())
    }

    /// `text` is where the string stands in memory, which tells where in the event it stands.
    fn remember(&mut self, event: &Event<'_>, text: Range<usize>) {
        let start = event.data.as_ptr() as usize;
        let (Some(from), Some(to)) = (text.start.checked_sub(start), text.end.checked_sub(start))
        else {
            return;
        };
        if to > event.data.len() {
            return;
        }
        self.holes.push(Hole { place: from..to, is_text: true });
        for key in &*PASSED_OVER {
            if let Some(at) = key.find(event.data.as_bytes())
                && let Some(rest) = event.data.get(at + key.needle().len()..)
                && let Some((_, behind)) = Raw::split(rest)
            {
                self.holes.push(Hole {
                    place: event.data.len() - rest.len()..event.data.len() - behind.len(),
                    is_text: false,
                });
            }
        }
        self.holes.sort_by_key(|hole| hole.place.start);
        self.name.clear();
        self.name.push_str(event.name);
        self.data.clear();
        self.data.push_str(event.data);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::provider::Protocol;
    use crate::sse::{Frame, Parser};

    /// Text events of each protocol as they are sent; `TEXT` stands for the text, `N` for what
    /// changes with each event.
    const TEXTS: &[(Protocol, &str, &str)] = &[
        (
            Protocol::ChatCompletions,
            "",
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":null}],"obfuscation":"N"}"#,
        ),
        (
            Protocol::ChatCompletions,
            "",
            r#"{"choices": [{"delta": {"content": [{"type": "text", "text": "TEXT"}]}}]}"#,
        ),
        (
            Protocol::Messages,
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"}}"#,
        ),
        (
            Protocol::Responses,
            "response.output_text.delta",
            r#"{"type":"response.output_text.delta","sequence_number":N,"item_id":"m","output_index":0,"delta":"TEXT","logprobs":[],"obfuscation":"N"}"#,
        ),
        (
            Protocol::CohereChat,
            "content-delta",
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"TEXT"}}}}"#,
        ),
        (
            Protocol::GenerateContent,
            "",
            r#"{"candidates":[{"content":{"parts":[{"text":"TEXT"}],"role":"model"},"index":0}],"modelVersion":"g"}"#,
        ),
    ];

    /// Events with something besides.
    const OTHERS: &[(Protocol, &str)] = &[
        (
            Protocol::ChatCompletions,
            r#"{"choices":[{"delta":{"content":"TEXT","reasoning":"TEXT"}}]}"#,
        ),
        (
            Protocol::ChatCompletions,
            r#"{"choices":[{"delta":{"content":"TEXT","refusal":"TEXT"}}]}"#,
        ),
        (
            Protocol::ChatCompletions,
            r#"{"choices":[{"delta":{"content":"TEXT"},"finish_reason":"stop"}]}"#,
        ),
        (
            Protocol::ChatCompletions,
            r#"{"choices":[{"delta":{"content":"TEXT","tool_calls":[{"function":{"arguments":"TEXT"}}]}}]}"#,
        ),
        (Protocol::ChatCompletions, r#"{"choices":[{"delta":{"content":"TEXT"}}],"error":"TEXT"}"#),
        (
            Protocol::ChatCompletions,
            r#"{"choices":[{"delta":{"content":"TEXT"}}],"usage":{"total_tokens":N}}"#,
        ),
        (
            Protocol::Messages,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"TEXT"}}"#,
        ),
        (
            Protocol::Messages,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"TEXT"}}"#,
        ),
        (Protocol::Messages, r#"{"type":"content_block_stop","index":0}"#),
        (
            Protocol::Responses,
            r#"{"type":"response.output_item.added","output_index":N,"item":{"id":"m","type":"reasoning"}}"#,
        ),
        (
            Protocol::Responses,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"m","type":"message","content":[{"text":"TEXT"}]}}"#,
        ),
        (Protocol::Responses, r#"{"type":"response.output_text.delta","delta":"TEXT"}"#),
        (
            Protocol::CohereChat,
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"TEXT","thinking":"TEXT"}}}}"#,
        ),
        (Protocol::CohereChat, r#"{"type":"content-end","index":0}"#),
        (
            Protocol::GenerateContent,
            r#"{"candidates":[{"content":{"parts":[{"text":"TEXT","thought":true}]}}]}"#,
        ),
        (
            Protocol::GenerateContent,
            r#"{"candidates":[{"content":{"parts":[{"text":"TEXT","thoughtSignature":"TEXT"}]}}]}"#,
        ),
        (
            Protocol::GenerateContent,
            r#"{"candidates":[{"content":{"parts":[{"text":"TEXT"},{"text":"TEXT"}]}}]}"#,
        ),
    ];

    /// What may stand where a text does, and what tries to look like one.
    const PIECES: &[&str] = &[
        " the",
        "a",
        "é",
        "日本",
        "",
        "\\n",
        "\\\"",
        "\\\\",
        "\\u00e9",
        "\\ud83d",
        "\\ude00",
        "\\ud83d\\ude00",
        "\"",
        "\\",
        "\\x",
        "\\u12",
        "\n",
        "\u{1}",
        "x\",\"content\":\"y",
        "\"}",
        "0",
        "01",
        "{",
        "\\\"obfuscation\\\":1",
    ];

    /// A decoder with the shortcut beside one without.
    struct Pair {
        decoders: [Box<dyn Decoder>; 2],
        outs: [Output; 2],
        repeat: Repeat,
        repeated: usize,
        protocol: Protocol,
    }

    impl Pair {
        fn new(protocol: Protocol) -> Self {
            Self {
                decoders: [(); 2].map(|()| (protocol.wire().decoder)()),
                outs: [(); 2].map(|()| Output::new(9)),
                repeat: Repeat::default(),
                repeated: 0,
                protocol,
            }
        }

        fn decode(&mut self, event: &Event<'_>) {
            self.repeated += usize::from(self.repeat.text(event).is_some());
            let [ours, theirs] = &mut self.outs;
            let [one, other] = &mut self.decoders;
            let results =
                [self.repeat.decode(&mut **one, event, ours), other.decode(event, theirs)];
            let [ours, theirs] = results.map(|result| result.map_err(|error| error.to_string()));
            assert_eq!(ours, theirs, "{event:?}");
            let [ours, theirs] = self.outs.each_mut().map(|out| {
                out.begin();
                let told = format!("{out:?}");
                (told, out.take(), out.failure.take())
            });
            assert_eq!(ours, theirs, "{event:?}");
        }

        fn end(&mut self) {
            let protocol = self.protocol;
            let [ours, theirs] = self.outs.each_mut().map(|out| {
                out.flush();
                format!("{:?} {:?}", out.take(), out.replay(crate::LlmProvider::Local, protocol))
            });
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn an_event_that_differs_only_in_its_text_is_not_decoded_again() {
        for (protocol, name, event) in TEXTS {
            let mut pair = Pair::new(*protocol);
            for (number, text) in
                ["Hel", "lo", "\\n", "", "wor", "ld", "\\ud83d", "\\ude00"].iter().enumerate()
            {
                let data = event.replace("TEXT", text).replace('N', &number.to_string());
                pair.decode(&Event { name, data: &data });
            }
            // All but the first, the empty one, and the one after that.
            assert_eq!(pair.repeated, 5, "{event}");
            let data = event.replace("TEXT", "x").replace('N', "9");
            pair.decode(&Event { name: "another", data: &data });
            assert_eq!(pair.repeated, 5, "{event}");
        }
    }

    #[test]
    fn what_comes_out_is_what_the_decoder_makes() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % bound
        };
        let mut repeated = 0;
        for round in 0..2_000 {
            let protocol = TEXTS[round % TEXTS.len()].0;
            let texts: Vec<_> = TEXTS.iter().filter(|(of, ..)| *of == protocol).collect();
            let others: Vec<_> = OTHERS.iter().filter(|(of, _)| *of == protocol).collect();
            let mut pair = Pair::new(protocol);
            let (_, mut name, mut form) = *texts[0];
            for _ in 0..20 {
                match below(6) {
                    0 => (_, name, form) = *texts[below(texts.len())],
                    1 => (_, form) = *others[below(others.len())],
                    _ => {}
                }
                let mut event = form.to_owned();
                while let Some(at) = event.find("TEXT") {
                    event.replace_range(at..at + 4, PIECES[below(PIECES.len())]);
                }
                event = event.replace('N', ["0", "7", PIECES[below(PIECES.len())]][below(3)]);
                let name = if below(10) == 0 { "other" } else { name };
                if below(10) == 0 {
                    let at = below(event.len());
                    if event.is_char_boundary(at) && event.is_char_boundary(at + 1) {
                        let byte = ["", "\"", "0", " ", ",", "}"][below(6)];
                        event.replace_range(at..at + 1, byte);
                    }
                }
                pair.decode(&Event { name, data: &event });
            }
            pair.end();
            repeated += pair.repeated;
        }
        assert!(repeated > 2_000, "{repeated}");
    }

    #[test]
    #[ignore = "reads the recordings in $KERB_STREAM_SHARED/streams"]
    fn recordings_decode_as_without() {
        let shared = std::env::var("KERB_STREAM_SHARED").unwrap();
        let mut files = 0;
        for folder in std::fs::read_dir(Path::new(&shared).join("streams")).unwrap() {
            let folder = folder.unwrap().path();
            for file in folder.read_dir().into_iter().flatten() {
                let file = file.unwrap().path();
                if file.extension().is_none_or(|extension| extension != "sse") {
                    continue;
                }
                files += 1;
                let mut bytes = &*std::fs::read(&file).unwrap();
                let mut pairs: Vec<_> = Protocol::ALL.iter().copied().map(Pair::new).collect();
                let mut parser = Parser::new(1 << 30);
                while parser.fill(|buffer| std::io::Read::read(&mut bytes, buffer)).unwrap() > 0 {
                    while let Some(frame) = parser.next().unwrap() {
                        if let Frame::Event(event) = frame {
                            pairs.iter_mut().for_each(|pair| pair.decode(&event));
                        }
                    }
                }
                pairs.iter_mut().for_each(Pair::end);
            }
        }
        assert!(files > 300, "{files}");
    }
}
