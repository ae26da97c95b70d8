//! Compares text that arrived in pieces with a complete copy that arrives later. The text itself is
//! not kept twice: its length and a hash represent it.

/// The length and the FNV-1a hash of bytes that arrived in pieces. The hash does not depend on how
/// the bytes are split. (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    bytes: usize,
    hash: u64,
}

impl Default for Print {
    fn default() -> Self {
        Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Print {
    fn of(text: &str) -> Self {
        text.bytes().fold(Self::default(), Self::and)
    }

    fn and(self, byte: u8) -> Self {
        let hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self { bytes: self.bytes + 1, hash }
    }
}

/// The text that has arrived so far. White space around it is ignored, because servers trim the
/// complete copy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToldText {
    /// The text from its first character that is not white space.
    all: Print,
    /// This text up to its last character that is not white space.
    trimmed: Print,
}

impl ToldText {
    pub(super) fn add(&mut self, piece: &str) {
        let piece = if self.all.bytes == 0 { piece.trim_start() } else { piece };
        let solid = piece.trim_end().len();
        for (at, byte) in piece.bytes().enumerate() {
            self.all = self.all.and(byte);
            if at + 1 == solid {
                self.trimmed = self.all;
            }
        }
    }

    /// Returns the part of `whole` that has not arrived yet. Returns `None` if what has arrived
    /// differs from `whole`, so that a piece is missing. An empty `whole` counts as no copy.
    pub(super) fn rest(self, whole: &str) -> Option<&str> {
        if self.all.bytes == 0 {
            return Some(whole);
        }
        let whole = whole.trim_start();
        match whole.split_at_checked(self.all.bytes) {
            Some((start, rest)) if Print::of(start) == self.all => Some(rest),
            _ if whole.is_empty() || Print::of(whole.trim_end()) == self.trimmed => Some(""),
            _ => None,
        }
    }
}

/// The arguments of a tool call that have arrived so far. White space between tokens is ignored,
/// because servers format the JSON of the complete copy in their own way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToldJson {
    told: Print,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl ToldJson {
    pub(super) fn of(json: &str) -> Self {
        let mut told = Self::default();
        told.add(json);
        told
    }

    pub(super) fn add(&mut self, piece: &str) {
        piece.bytes().for_each(|byte| self.add_byte(byte));
    }

    fn add_byte(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() && !self.in_string {
            return;
        }
        self.told = self.told.and(byte);
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' if !self.in_string => self.depth += 1,
            b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.told.bytes == 0
    }

    /// Returns whether this is a complete object or array, which nothing can continue.
    pub(super) fn is_whole(self) -> bool {
        self.told.bytes > 1 && self.depth == 0 && !self.in_string
    }

    pub(super) fn is_same(self, other: Self) -> bool {
        self.told == other.told
    }

    /// Returns the part of `whole` that has not arrived yet. Returns `None` if what has arrived
    /// differs from `whole`, so that a piece is missing. An empty `whole` counts as no copy.
    pub(super) fn rest(self, whole: &str) -> Option<&str> {
        let mut told = Self::default();
        for (at, byte) in whole.bytes().enumerate() {
            if told.told.bytes == self.told.bytes {
                return if told.is_same(self) { whole.get(at..) } else { None };
            }
            told.add_byte(byte);
        }
        (told.is_empty() || told.is_same(self)).then_some("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compared_with_its_pieces() {
        for (pieces, whole, rest) in [
            (&[][..], "all of it", Some("all of it")),
            (&["Hé", "llo"], "Héllo", Some("")),
            (&["Hé", "llo"], "Héllo there", Some(" there")),
            (&["Hé", "llo"], "", Some("")),
            (&["Hé", "llo"], "Héll", None),
            (&["Hé", "llo"], "Héxxllo", None),
            (&["Hé", "llo"], "Hello", None),
            (&["Hé", "llo"], "日本語", None),
            // Some servers trim the complete copy, others trim the pieces.
            (&["\n", "\n Hi", " ", "\n"], "Hi", Some("")),
            (&["Hi"], "\n\nHi\n", Some("\n")),
            (&["Hi", " "], "Hi there", Some("there")),
            (&["Hi", "  "], "Hi there", None),
            (&[" "], "Hi", Some("Hi")),
        ] {
            let mut told = ToldText::default();
            pieces.iter().for_each(|piece| told.add(piece));
            assert_eq!(told.rest(whole), rest, "{pieces:?} {whole:?}");
        }
    }

    #[test]
    fn arguments_are_compared_without_white_space_between_tokens() {
        for (pieces, whole, rest) in [
            (&[][..], r#"{"x": 1}"#, Some(r#"{"x": 1}"#)),
            (&[r#"{"x":"#, "1}"], r#"{"x": 1}"#, Some("")),
            (&[r#"{"x": "#, "1}"], r#"{"x":1}"#, Some("")),
            (&[r#"{"x":"#], r#"{"x": 1}"#, Some(" 1}")),
            (&[r#"{"x":2}"#], r#"{"x":1}"#, None),
            (&[r#"{"x":1}"#], r#"{"x":"#, None),
            (&[r#"{"x":1}"#], "", Some("")),
            (&["{", "1}"], r#"{"x":1}"#, None),
            (&[r#"{"x":"a "#], r#"{"x":"a b"}"#, Some(r#"b"}"#)),
            (&[r#"{"x":"ab"}"#], r#"{"x":"a b"}"#, None),
        ] {
            let mut told = ToldJson::default();
            pieces.iter().for_each(|piece| told.add(piece));
            assert_eq!(told.rest(whole), rest, "{pieces:?} {whole:?}");
        }
        for (json, is_whole) in [
            ("", false),
            ("{", false),
            ("{}", true),
            (" {\n} ", true),
            (r#"{"a":"}"#, false),
            (r#"{"a":"\"}"#, false),
            (r#"{"a":"\"}"}"#, true),
            ("[{}]", true),
        ] {
            assert_eq!(ToldJson::of(json).is_whole(), is_whole, "{json}");
        }
    }
}
