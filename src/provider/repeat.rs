//! Events that differ from the one before them only in their text, as nearly all of an answer's do.
//!
//! Reading the JSON is most of what an event costs. Here an event is compared with the latest one
//! instead, and only the text is read as JSON. It knows no protocol: it asks the [`Output`] what the
//! decoder made of the latest event, and leaves everything that is not plain to the decoder.

use std::ops::Range;

use memchr::memmem;

use super::wire::Raw;
use super::{Decoder, Output};
use crate::sse::Event;

/// Fields that change from event to event and that no decoder reads, so that their values may differ
/// too: OpenAI's, in both of its protocols.
const PASSED_OVER: [&str; 2] = ["\"sequence_number\":", "\"obfuscation\":"];

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

    /// The event's text, if nothing else in it is new. What stands in a hole is one JSON value, so the
    /// event is well-formed because the latest one was.
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
        text.filter(|_| {
            rest == self.data.get(known..).unwrap_or_default() && event.name == self.name
        })
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
        self.holes.push(Hole {
            place: from..to,
            is_text: true,
        });
        // The quotes make them keys: in a string they would be escaped.
        for key in PASSED_OVER {
            if let Some(at) = memmem::find(event.data.as_bytes(), key.as_bytes())
                && let Some(rest) = event.data.get(at + key.len()..)
                && let Some((_, behind)) = Raw::split(rest)
            {
                let place = at + key.len()..event.data.len() - behind.len();
                self.holes.push(Hole {
                    place,
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
