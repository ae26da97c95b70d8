//! Numbers the sources of an answer, and finds the places that cite them in its text.
//!
//! Providers count places in bytes, characters or UTF-16 units, of a part of the text or of all of it.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value;

use super::wire::{Raw, wire};
use super::{hosted, json};
use crate::endpoint;
use crate::response::GenerationResponse;
use crate::source::Source;

/// A place of the text, as the provider tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// The byte of the whole text at which the counting starts.
    pub(crate) from: usize,
    /// The start and the end, in `unit`.
    pub(crate) told: Range<u64>,
    pub(crate) unit: Unit,
    /// The words at this place, if the provider repeats them.
    pub(crate) words: String,
}

/// A unit in which places are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    Bytes,
    /// Unicode scalar values.
    Chars,
    Utf16,
}

wire! {
    /// A source, and the place that cites it, with the names of all protocols.
    struct Cited {
        url, uri, title, document_title, filename, file_id,
        /// The URL or the name of a search result that the caller gave.
        source,
        document_index, search_result_index, name, link, store = "fileSearchStore",
        /// Words of the source, at OpenRouter.
        content,
        start, start_index, start_at = "startIndex", end, end_index, end_at = "endIndex", text,
    }
}

impl<'a> Cited<'a> {
    pub(super) fn page(url: Raw<'a>) -> Self {
        Self { url, ..Self::default() }
    }

    /// Returns the source. Without a URL or an ID, the title identifies it.
    pub(super) fn source(&self) -> Source {
        let text = |raw: Raw<'_>| raw.str().map(String::from);
        let title = text(self.title.or(self.document_title).or(self.filename).or(self.name));
        // At xAI, the title of a cited page is the number of the citation.
        let title = title.filter(|title| title.parse::<u16>().is_err());
        let url = text(self.url.or(self.uri).or(self.link));
        let given = text(self.source).filter(|_| url.is_none());
        let is_url = given.as_ref().is_some_and(|given| given.starts_with("http"));
        let (url, given) = if is_url { (given, None) } else { (url, given) };
        let number = self.document_index.or(self.search_result_index);
        let id =
            text(self.file_id.or(self.store)).or(given).or_else(|| Some(number.u64()?.to_string()));
        let id = id.or_else(|| title.clone().filter(|_| url.is_none()));
        Source { url, id, title, ..Source::default() }
    }

    pub(super) fn quote(&self) -> String {
        self.content.or(self.text).str().unwrap_or_default().into_owned()
    }

    /// Returns the place, or `None` if its end is not told.
    pub(super) fn place(&self, from: usize, unit: Unit) -> Option<Place> {
        let start = self.start.or(self.start_index).or(self.start_at).u64().unwrap_or_default();
        let told = start..self.end.or(self.end_index).or(self.end_at).u64()?;
        Some(Place { from, told, unit, words: self.text.str().unwrap_or_default().into_owned() })
    }
}

/// Returns the source that an object names which was read already.
pub(super) fn source_in(told: &Value) -> Source {
    let told = hosted::readable(told).to_string();
    json::read::<Cited<'_>>(&told).unwrap_or_default().source()
}

/// The known sources of one answer.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The number of each source, and of its citations, by its URL or else by its id.
    known: HashMap<String, (usize, usize)>,
    /// The places in text that has not arrived yet: the number of the source, the position of the
    /// citation, and the place.
    early: Vec<(usize, usize, Place)>,
    index: TextIndex,
}

impl Sources {
    /// Numbers new sources, gives each citation its place in `content`, and joins the citations of
    /// the same source. A source has at most one citation here, and `places` has one element for
    /// each source.
    pub(crate) fn number(
        &mut self,
        found: Vec<Source>,
        places: Vec<Option<Place>>,
        content: &str,
    ) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        let mut at = HashMap::new();
        for (mut source, place) in found.into_iter().zip(places) {
            let page = source.url.as_deref().map(endpoint::unmarked);
            let key = page.or(source.id.as_deref()).unwrap_or_default().to_owned();
            let next = self.known.len() + 1;
            let (number, cited) = self.known.entry(key).or_insert((next, 0));
            source.number = *number;
            if let (Some(citation), Some(place)) = (source.citations.first_mut(), place) {
                let url = source.url.as_deref().unwrap_or_default();
                citation.span = self.index.span(content, &place, url);
                if citation.span.is_none() {
                    self.early.push((*number, *cited, place));
                }
            }
            *cited += source.citations.len();
            let known = *at.entry(source.number).or_insert(sources.len());
            match sources.get_mut(known) {
                Some(known) => {
                    known.citations.append(&mut source.citations);
                    known.title = known.title.take().or(source.title);
                }
                None => sources.push(source),
            }
        }
        sources
    }

    /// Finds the places that were told before their text, once all of it has arrived.
    pub(crate) fn settle(&mut self, response: &mut GenerationResponse) {
        for (number, at, place) in self.early.drain(..) {
            let Some(source) = response.sources.get_mut(number - 1) else { continue };
            let url = source.url.as_deref().unwrap_or_default();
            let span = self.index.span(&response.content, &place, url);
            if let Some(citation) = source.citations.get_mut(at) {
                citation.span = span;
            }
        }
    }
}

/// The positions in each unit at some places of a text, so that a place is found without counting
/// from the beginning.
#[derive(Debug, Default)]
struct TextIndex(Vec<Position>);

#[derive(Debug, Default, Clone, Copy)]
struct Position {
    bytes: usize,
    chars: u64,
    utf16: u64,
}

impl Position {
    fn in_unit(self, unit: Unit) -> u64 {
        match unit {
            Unit::Bytes => self.bytes as u64,
            Unit::Chars => self.chars,
            Unit::Utf16 => self.utf16,
        }
    }

    fn after(self, c: char) -> Self {
        let (chars, utf16) = (self.chars + 1, self.utf16 + c.len_utf16() as u64);
        Self { bytes: self.bytes + c.len_utf8(), chars, utf16 }
    }
}

/// The distance between two entries of the index, in bytes.
const STEP: usize = 1024;

impl TextIndex {
    /// Returns the place in bytes of the whole text, or `None` if it is not a place of the text.
    ///
    /// If the provider repeats the words of the place, they have to be there: another unit is tried
    /// if they are not. Without words, another unit is tried if its place is a link to the page.
    fn span(&mut self, content: &str, place: &Place, url: &str) -> Option<Range<usize>> {
        if place.unit != Unit::Bytes || !place.words.is_empty() {
            self.extend(content);
        }
        let span = |unit| {
            let start = self.find(content, place.from, place.told.start, unit)?;
            let end = self.find(content, place.from, place.told.end, unit)?;
            (start < end).then_some(start..end)
        };
        let units = [place.unit, Unit::Chars, Unit::Utf16, Unit::Bytes];
        let mut spans = units.into_iter().filter_map(span);
        let text = |span: &Range<usize>| content.get(span.clone()).unwrap_or_default();
        if !place.words.is_empty() {
            return spans.find(|span| text(span) == place.words);
        }
        let told = span(place.unit)?;
        let page = endpoint::redacted(url);
        let is_link = |span: &Range<usize>| {
            let text = text(span);
            // A longer text is no link.
            text.len() < 4096 && text.starts_with(['[', '(']) && text.contains(&page)
        };
        if place.unit == Unit::Bytes || page.is_empty() || text(&told).contains(&page) {
            return Some(told);
        }
        spans.find(is_link).or(Some(told))
    }

    /// Adds the entries for the text that is new.
    fn extend(&mut self, content: &str) {
        let mut at = self.0.last().copied().unwrap_or_default();
        if self.0.is_empty() {
            self.0.push(at);
        }
        let mut next = at.bytes + STEP;
        for c in content.get(at.bytes..).unwrap_or_default().chars() {
            at = at.after(c);
            if at.bytes >= next {
                self.0.push(at);
                next = at.bytes + STEP;
            }
        }
    }

    /// Returns the byte that is `count` units after the byte `from`.
    fn find(&self, content: &str, from: usize, count: u64, unit: Unit) -> Option<usize> {
        if unit == Unit::Bytes {
            let at = from.checked_add(usize::try_from(count).ok()?)?;
            return content.is_char_boundary(at).then_some(at);
        }
        let start = self.position(content, from as u64, Unit::Bytes)?.in_unit(unit);
        self.position(content, start.checked_add(count)?, unit).map(|it| it.bytes)
    }

    /// Returns the position where the count in `unit` is `target`.
    fn position(&self, content: &str, target: u64, unit: Unit) -> Option<Position> {
        let after = self.0.partition_point(|it| it.in_unit(unit) <= target);
        let mut at = *self.0.get(after.checked_sub(1)?)?;
        let mut rest = content.get(at.bytes..)?.chars();
        while at.in_unit(unit) < target {
            at = at.after(rest.next()?);
        }
        (at.in_unit(unit) == target).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::Citation;

    fn place(from: usize, told: Range<u64>, unit: Unit, words: &str) -> Place {
        Place { from, told, unit, words: words.to_owned() }
    }

    #[test]
    fn places_are_found_whatever_the_provider_counts() {
        // An emoji is two UTF-16 units, and `é` is a letter and a combining accent here.
        let content = "日本 🎈 cafe\u{301} is here: [a](https://a.example/x?y=1) 🎈 end";
        let mut index = TextIndex::default();
        let mut words = |place: &Place, url: &str| {
            index.span(content, place, url).map(|span| content.get(span).unwrap().to_owned())
        };
        let cafe = "cafe\u{301}";
        for (unit, told) in [(Unit::Chars, 5..10), (Unit::Utf16, 6..11), (Unit::Bytes, 12..18)] {
            assert_eq!(words(&place(0, told.clone(), unit, ""), "").as_deref(), Some(cafe));
            // The words correct a wrong unit.
            for wrong in [Unit::Chars, Unit::Utf16, Unit::Bytes] {
                let place = place(0, told.clone(), wrong, cafe);
                assert_eq!(words(&place, "").as_deref(), Some(cafe), "{unit:?} {wrong:?}");
            }
        }
        // Counted from the middle.
        assert_eq!(words(&place(12, 0..4, Unit::Chars, ""), "").as_deref(), Some("cafe"));
        // The URL of a link corrects a wrong unit, too.
        let url = "https://a.example/x?utm=2";
        let told = 22..24 + url.len() as u64 - 4;
        assert!(words(&place(0, told, Unit::Chars, ""), url).unwrap().contains("a.example/x"));
        // A claim in wide characters is not mistaken for the link beside it.
        let wide = "日".repeat(10) + " (https://a.example/) " + &"C".repeat(30);
        let claim = place(0, 32..62, Unit::Chars, "");
        let span = TextIndex::default().span(&wide, &claim, "https://a.example/");
        assert_eq!(wide.get(span.unwrap()), Some(&*"C".repeat(30)));
        // A place that has not arrived is no place in another unit.
        let early = place(0, 12..21, Unit::Chars, "");
        assert_eq!(TextIndex::default().span("日本語日本語日", &early, ""), None);
        for nowhere in [
            place(0, 5..5, Unit::Chars, ""),
            place(0, 5..999, Unit::Chars, ""),
            place(1, 0..1, Unit::Bytes, ""),
            place(999, 0..1, Unit::Chars, ""),
            place(0, 0..u64::MAX, Unit::Chars, ""),
            place(0, 5..10, Unit::Chars, "other"),
        ] {
            assert_eq!(words(&nowhere, ""), None, "{nowhere:?}");
        }
    }

    #[test]
    fn citations_of_one_source_share_its_number() {
        let source = |url: &str, quote: &str| Source {
            url: Some(url.to_owned()),
            citations: vec![Citation { span: None, quote: quote.to_owned() }],
            ..Source::default()
        };
        let mut sources = Sources::default();
        let found = vec![source("a", "1"), source("b", "2"), source("a", "3")];
        let places = vec![Some(place(0, 0..2, Unit::Chars, "")), None, None];
        let numbered = sources.number(found, places, "Hi you");
        let numbers: Vec<_> =
            numbered.iter().map(|source| (source.number, source.citations.len())).collect();
        assert_eq!(numbers, [(1, 2), (2, 1)]);
        assert_eq!(numbered[0].citations[0].span, Some(0..2));
        let later = sources.number(vec![source("c", ""), source("b", "")], vec![None, None], "");
        assert_eq!([later[0].number, later[1].number], [3, 2]);
    }

    proptest! {
        #[test]
        fn an_index_finds_every_character(
            text in "[a-z日🎈\u{301} ]{0,3000}", cuts in prop::collection::vec(0_usize..4000, 0..5),
        ) {
            let mut index = TextIndex::default();
            for cut in cuts {
                index.extend(text.get(..cut).unwrap_or_default());
            }
            index.extend(&text);
            let mut position = Position::default();
            for (at, c) in text.char_indices() {
                prop_assert_eq!(position.bytes, at);
                for unit in [Unit::Bytes, Unit::Chars, Unit::Utf16] {
                    let found = index.position(&text, position.in_unit(unit), unit);
                    prop_assert_eq!(found.map(|found| found.bytes), Some(at));
                }
                position = position.after(c);
            }
            prop_assert!(index.position(&text, position.chars + 1, Unit::Chars).is_none());
        }
    }
}
