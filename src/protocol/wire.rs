//! Reads JSON that providers change over time: no field is required, and no field must have a
//! certain type.

use std::borrow::Cow;

use serde_json::Value;

use super::json::{self, Field, ValueEnd, blank, byte, elements, skip, string};

/// A field of any type: the JSON text of its value, which is parsed on demand. Missing and `null`
/// are the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a>(pub(super) &'a str);

impl<'a> Raw<'a> {
    /// The number 0, for an index that a server omits.
    pub(crate) const ZERO: Self = Self("0");

    /// Returns the value between two byte offsets of a text; it is empty for `null`.
    #[inline]
    fn between(json: &'a str, at: usize, end: usize) -> Self {
        let value = json.get(at..end).unwrap_or_default();
        Self(if value.starts_with('n') { "" } else { value })
    }

    /// Returns the JSON text of the value; it is empty if there is no value.
    pub(crate) fn json(self) -> &'a str {
        self.0
    }

    pub(crate) fn is_some(self) -> bool {
        !self.0.is_empty()
    }

    /// Returns this value, or `other` if there is no value.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.is_some() { self } else { other }
    }

    /// Iterates over the elements of an array without collecting them. Any other value has no
    /// elements. An element that `T` rejects becomes `T::default()`.
    pub(crate) fn elements<T: Field<'a>>(self) -> impl Iterator<Item = T> {
        let mut at = 1;
        std::iter::from_fn(move || {
            if !self.0.starts_with('[') {
                return None; // This is the most frequent case by far.
            }
            let start = blank(self.0, at);
            let mut value = T::default();
            let end = value.fill(self.0, start).or_else(|_| {
                value = T::default();
                skip(self.0, start) // It fails at the end of the array.
            });
            at = blank(self.0, end.ok()?) + 1;
            Some(value)
        })
    }

    /// Returns whether this is a non-empty array.
    pub(crate) fn has_elements(self) -> bool {
        self.elements::<Self>().next().is_some()
    }

    /// Calls `tell` for the fields of an object that have a value, except for the fields in `but`,
    /// whose values are known.
    pub(crate) fn others(self, but: &[(&str, Self)], mut tell: impl FnMut(&str, Self)) {
        // Usually the known fields leave no room for another field, not even for `,"":0`. Then the
        // object is not scanned.
        let known = but.iter().filter(|(_, value)| value.is_some());
        let lengths = known.map(|(name, value)| name.len() + value.0.len() + r#""":,"#.len());
        if self.0.len() <= lengths.sum::<usize>() + r#"{"":0"#.len() {
            return;
        }
        // A value that is not an object has no fields.
        _ = json::fields(self.0, 0, |name, at| {
            let end = skip(self.0, at)?;
            let value = Self::between(self.0, at, end);
            if value.is_some() && !but.iter().any(|(known, _)| known.as_bytes() == name) {
                tell(std::str::from_utf8(name).unwrap_or_default(), value);
            }
            Ok(end)
        });
    }

    /// Returns the text between the quotes of a string, with its escapes.
    pub(crate) fn literal(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// Returns whether this is a non-empty string. It need not be valid Unicode: a lone surrogate
    /// counts as text, too.
    pub(crate) fn is_text(self) -> bool {
        self.0.len() > 2 && self.0.starts_with('"')
    }

    /// Returns whether this is a string with this text.
    pub(crate) fn is(self, text: &str) -> bool {
        self.str().is_some_and(|told| told == text)
    }

    /// Returns whether a field named `error` contains an error. Servers also send such a field if
    /// there is no error.
    pub(crate) fn is_error(self) -> bool {
        !matches!(self.0, "" | "{}" | "[]" | "\"\"" | "false" | "0")
    }

    /// Returns a non-empty string. A lone surrogate becomes U+FFFD; for text that arrives in
    /// pieces, [`ChunkBuilder`](super::ChunkBuilder) joins surrogates instead.
    pub(crate) fn str(self) -> Option<Cow<'a, str>> {
        let literal = self.literal().filter(|literal| !literal.is_empty())?;
        if memchr::memchr(b'\\', literal.as_bytes()).is_none() {
            return Some(Cow::Borrowed(literal));
        }
        Some(Cow::Owned(unescaped(literal)))
    }

    /// Returns a non-negative integer. A string is parsed, a fraction is dropped, and a number that
    /// is out of range is clamped.
    pub(crate) fn u64(self) -> Option<u64> {
        let digits = self.literal().unwrap_or(self.0);
        if digits.is_empty() {
            return None;
        }
        digits.parse().ok().or_else(|| Some(digits.parse::<f64>().ok()? as u64))
    }

    /// Returns a finite number.
    pub(crate) fn f64(self) -> Option<f64> {
        self.literal().unwrap_or(self.0).parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// Parses the value. Returns `T::default()` if the value is missing or has another form.
    #[inline]
    pub(crate) fn parse<T: Field<'a>>(self) -> T {
        if self.is_some() { json::read(self.0).unwrap_or_default() } else { T::default() }
    }

    /// Returns the value as a `serde_json` value. `serde_json` rejects strings with lone
    /// surrogates, so each of these becomes U+FFFD.
    pub(crate) fn value(self) -> Value {
        let whole = serde_json::from_str(self.0);
        whole.or_else(|_| serde_json::from_str(&without_halves(self.0))).unwrap_or_default()
    }

    /// Estimates how much memory [`value`](Self::value) takes, without calling it. The estimate is
    /// rather too high: an array element takes 32 bytes and up to as much unused capacity, an
    /// object field about 110, and the smallest non-empty object 640.
    pub(crate) fn cost(self) -> usize {
        let (mut cost, mut at) = (self.0.len(), 0);
        while at < self.0.len() {
            match byte(self.0, at) {
                b'"' => at = string(self.0, at).unwrap_or(self.0.len()) - 1,
                b',' | b'[' => cost += 128,
                b'{' => cost += 640,
                _ => {}
            }
            at += 1;
        }
        cost
    }
}

/// Unescapes a well-formed JSON string literal and appends it to `text`.
///
/// JSON may escape a character beyond the Basic Multilingual Plane as a surrogate pair, and some
/// servers split the pair over two events. `half` is a high surrogate from the previous event. The
/// returned value is a high surrogate for the next event. Lone surrogates become U+FFFD.
pub(crate) fn unescape(literal: &str, mut half: Option<u16>, text: &mut String) -> Option<u16> {
    let mut rest = literal;
    loop {
        let (plain, escape) = rest.split_once('\\').unwrap_or((rest, ""));
        if !plain.is_empty() && half.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text.push_str(plain);
        let (unit, length) = match byte(escape, 0) {
            0 => return half, // the end
            b'u' => {
                let digits = escape.get(1..5).unwrap_or_default();
                (u16::from_str_radix(digits, 16).unwrap_or(0xfffd), 5)
            }
            b'b' => (0x8, 1),
            b'f' => (0xc, 1),
            b'n' => (0xa, 1),
            b'r' => (0xd, 1),
            b't' => (0x9, 1),
            itself => (itself.into(), 1), // a quote, a slash or a backslash
        };
        rest = escape.get(length..).unwrap_or_default();
        let waiting = half.take();
        if let 0xd800..0xdc00 = unit {
            text.extend(waiting.map(|_| char::REPLACEMENT_CHARACTER));
            half = Some(unit);
        } else {
            let decoded = char::decode_utf16(waiting.into_iter().chain([unit]));
            text.extend(decoded.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
    }
}

/// Unescapes a complete JSON string literal. Lone surrogates become U+FFFD.
pub(crate) fn unescaped(literal: &str) -> String {
    let mut text = String::with_capacity(literal.len());
    if unescape(literal, None, &mut text).is_some() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

/// Returns the JSON with U+FFFD in place of each lone surrogate.
fn without_halves(json: &str) -> String {
    let (mut whole, mut rest) = (String::with_capacity(json.len()), json);
    while let Some((before, _)) = rest.split_once('"') {
        let end = string(rest, before.len()).unwrap_or(rest.len());
        let literal = rest.get(before.len() + 1..end - 1).unwrap_or_default();
        whole += before;
        whole += &Value::from(unescaped(literal)).to_string();
        rest = rest.get(end..).unwrap_or_default();
    }
    whole + rest
}

impl<'a> Field<'a> for Raw<'a> {
    fn fill(&mut self, json: &'a str, at: usize) -> ValueEnd {
        let end = skip(json, at)?;
        *self = Self::between(json, at, end);
        Ok(end)
    }
}

/// Reads a value together with its JSON text.
impl<'a, T: Field<'a>> Field<'a> for (T, Raw<'a>) {
    fn fill(&mut self, json: &'a str, at: usize) -> ValueEnd {
        let end = self.0.fill(json, at)?;
        self.1 = Raw::between(json, at, end);
        Ok(end)
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn fill(&mut self, json: &'a str, at: usize) -> ValueEnd {
        *self = None;
        if byte(json, at) == b'n' {
            skip(json, at)
        } else {
            self.insert(T::default()).fill(json, at)
        }
    }
}

/// Declares the JSON objects of a protocol, each with the fields that are read. A string after `=`
/// is the JSON name of a field, if it differs. A field without a type is a [`Raw`]. Unknown fields
/// are skipped, the last of repeated fields counts, and a value that is not an object has no
/// fields. `by` names the field that contains the index of alternatives, for [`First`].
macro_rules! wire {
    ($(
        $(#[$doc:meta])*
        struct $name:ident $(by $index:ident)? {
            $($(#[$field_doc:meta])* $field:ident $(= $key:literal)? $(: $type:ty)?),* $(,)?
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, PartialEq)]
        // Rust 1.88 does not see that `Default` constructs it.
        #[allow(dead_code)]
        pub(crate) struct $name<'a> {
            $($(#[$field_doc])* $field: $crate::protocol::wire::type_of!($($type)?),)*
        }

        impl<'a> $crate::protocol::json::Field<'a> for $name<'a> {
            fn fill(&mut self, json: &'a str, at: usize) -> $crate::protocol::json::ValueEnd {
                *self = Self::default();
                $crate::protocol::json::fields(json, at, |name, at| {
                    $(if name == [$($key,)? stringify!($field)][0].as_bytes() {
                        return self.$field.fill(json, at);
                    })*
                    $crate::protocol::json::skip(json, at)
                })
            }
            $(fn index(&self) -> Option<u64> {
                self.$index.u64()
            })?
        }

        #[cfg(test)]
        $crate::protocol::visitors::visitors! {
            $name: $($field = [$($key,)? stringify!($field)][0];)*
        }
    )+};
}
pub(crate) use wire;

macro_rules! type_of {
    () => { $crate::protocol::wire::Raw<'a> };
    ($type:ty) => { $type };
}
pub(crate) use type_of;

/// The first element of an array of alternatives that has the index 0 or no index.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct First<T> {
    pub(crate) one: T,
    /// Set if the value was an array, even an empty one.
    pub(crate) is_list: bool,
}

impl<'a, T: Field<'a>> Field<'a> for First<T> {
    fn fill(&mut self, json: &'a str, at: usize) -> ValueEnd {
        *self = Self::default();
        self.is_list = byte(json, at) == b'[';
        let mut found = false;
        elements(json, at, |at| {
            if found {
                return T::default().fill(json, at);
            }
            let end = self.one.fill(json, at)?;
            found = self.one.index().unwrap_or(0) == 0;
            if !found {
                self.one = T::default();
            }
            Ok(end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    wire! {
        /// The object that the tests read.
        struct Outer { kind = "type", inner: Inner<'a>, items: First<Item<'a>> }
        struct Inner { text }
        struct Item by index { index, word }
    }

    fn read(json: &str) -> Outer<'_> {
        read_as(json)
    }

    fn read_as<'a, T: Field<'a>>(json: &'a str) -> T {
        json::read(json).unwrap()
    }

    #[test]
    fn nothing_is_required_and_unknown_fields_are_passed_over() {
        assert_eq!(read("{}").kind.json(), "");
        assert_eq!(read(r#"{"new": [{"a": 1}], "type": "x"}"#).kind.str().unwrap(), "x");
        assert_eq!(read(r#"{"type": null}"#).kind, Raw::default());
        assert_eq!(read(r#"{"type": "a", "type": "b"}"#).kind.str().unwrap(), "b");
        assert_eq!(read(r#"{"\u0074ype": "a"}"#).kind.str().unwrap(), "a");
        for other in ["null", "1", "-1", "1.5", "true", "\"text\"", "[]", "[1, {}]"] {
            assert!(!read(other).kind.is_some());
            let json = format!(r#"{{"inner": {other}, "items": {other}, "type": 1}}"#);
            let read = read(&json);
            assert!(!read.inner.text.is_some() && !read.items.one.word.is_some());
            assert_eq!(read.kind.json(), "1");
        }
        assert!(json::read::<Outer<'_>>("{} {}").is_err());
        assert!(json::read::<Outer<'_>>("{\"type\": \"a").is_err());
    }

    #[test]
    fn the_fields_of_an_object_beside_those_that_are_known() {
        let others = |json: &str| {
            let (object, Inner { text }): (Raw<'_>, _) = (read_as(json), read_as(json));
            let mut others = Vec::new();
            object.others(&[("text", text)], |name, value| {
                others.push(format!("{name}={}", value.json()));
            });
            others
        };
        let json = r#" {"text": "x", "b": null, "\u0063": [2], "é": {"text": "}"}} "#;
        assert_eq!(others(json), ["c=[2]", "é={\"text\": \"}\"}"]);
        // The shortest possible field, after the known field, before it, and alone.
        for one in [r#"{"text":"x","":0}"#, r#"{"":0,"text":"x"}"#, r#"{"":0}"#] {
            assert_eq!(others(one), ["=0"], "{one}");
        }
        for none in [
            "{}",
            r#"{"text":"x"}"#,
            "{ \"text\" :\n\"x\" }",
            r#"{"text":"x","text":"y"}"#,
            r#"{"text":null}"#,
            "[{\"b\":1}]",
            "\"b\"",
            "7",
            "null",
        ] {
            assert_eq!(others(none), [""; 0], "{none}");
        }
    }

    #[test]
    fn the_first_alternative_is_number_zero() {
        let json =
            r#"{"items": [{"index": 1, "word": "b"}, {"index": "0", "word": "a"}, {"word": "c"}]}"#;
        assert_eq!(read(json).items.one.word.str().unwrap(), "a");
        assert_eq!(read(r#"{"items": {"word": "x"}}"#).items.one.word, Raw::default());
        assert_eq!(read(r#"{"items": [{"word": "x"}]}"#).items.one.word.str().unwrap(), "x");
    }

    #[test]
    fn a_list_has_elements_and_nothing_else_has() {
        for (json, elements) in [
            ("[]", &[][..]),
            ("[ ]", &[]),
            ("[1,null]", &["1", ""]),
            (" [1]", &[]),
            ("[ \"a,]\" , [2, {}] , {\"b\": [3]}\n]", &["\"a,]\"", "[2, {}]", "{\"b\": [3]}"]),
            ("{\"a\": 1}", &[]),
            ("\"[1]\"", &[]),
            ("", &[]),
        ] {
            let found: Vec<_> = Raw(json).elements().map(Raw::json).collect();
            assert_eq!(found, elements, "{json}");
        }
    }

    #[test]
    fn numbers_are_held_within_bounds() {
        for (json, number) in [
            ("0", Some(0)),
            ("7.9", Some(7)),
            ("-1", Some(0)),
            ("\"12\"", Some(12)),
            ("1e3", Some(1000)),
            ("1e999", Some(u64::MAX)),
            ("\"x\"", None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(Raw(json).u64(), number, "{json}");
        }
    }

    #[test]
    fn halves_of_characters_lose_nothing_else() {
        for (literal, text, waits) in [
            (r"plain", "plain", false),
            (r#"\"\\\/\b\f\n\r\t\u00e9"#, "\"\\/\u{8}\u{c}\n\r\té", false),
            (r"a\ud83d\ude00b", "a😀b", false),
            (r"a\ud83d", "a", true),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀", false),
            (r"\ud83dx", "\u{fffd}x", false),
            (r"\ude00x", "\u{fffd}x", false),
            (r"\ud83d\n", "\u{fffd}\n", false),
        ] {
            let mut unescaped = String::new();
            let half = unescape(literal, None, &mut unescaped);
            assert_eq!((unescaped.as_str(), half.is_some()), (text, waits), "{literal}");
        }
        for (json, value) in [
            (r#"{"a":"I \ud83d"}"#, "I \u{fffd}"),
            (r#"{"a":"\ud83d\ude00 \\ud83d \ude00"}"#, "😀 \\ud83d \u{fffd}"),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
        ] {
            let kept: Value = Raw(json).value();
            assert_eq!(kept["a"], value, "{json}");
        }
        assert_eq!(Raw(r#""a\ud83d""#).str().unwrap(), "a\u{fffd}");
        assert_eq!(Raw(r#""\ud83d""#).str().unwrap(), "\u{fffd}");
    }

    #[test]
    fn the_cost_of_a_value_is_more_than_its_text() {
        assert_eq!(Raw(r#""[[,,{{\"[""#).cost(), 11);
        assert!(Raw("[0,0,0,0]").cost() > 9 + 3 * 64);
        assert!(Raw(r#"{"a":{"b":1}}"#).cost() > 2 * 600);
    }

    #[test]
    fn depth_in_unknown_fields_does_not_matter() {
        let deep =
            format!(r#"{{"new": {}{}, "type": "x"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).kind.str().unwrap(), "x");
    }
}
