//! Reading JSON from people who change it: no field is required, and none has to have its type.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// A field whose type nobody can rely on: the JSON text of its value, read when it is asked for.
/// Absent and `null` are the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The number 0, for an index that a server leaves out.
    pub(crate) const ZERO: Self = Self("0");

    /// The value's JSON text; empty where there is none.
    pub(crate) fn json(self) -> &'a str {
        self.0
    }

    pub(crate) fn is_some(self) -> bool {
        !self.0.is_empty()
    }

    /// This value, or another one where there is none.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.is_some() { self } else { other }
    }

    /// Splits text behind the JSON value that it begins with.
    pub(crate) fn split(json: &'a str) -> Option<(Self, &'a str)> {
        let mut values = serde_json::Deserializer::from_str(json).into_iter();
        let IgnoredAny = values.next()?.ok()?;
        let (value, rest) = json.split_at_checked(values.byte_offset())?;
        Some((Self(if value == "null" { "" } else { value }), rest))
    }

    /// The elements of a list, without a list of them in memory; nothing has none.
    pub(crate) fn elements(self) -> impl Iterator<Item = Self> {
        let mut rest = self.0.strip_prefix('[').unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None; // the most frequent case by far
            }
            let (value, behind) = Self::split(rest.trim_start())?;
            rest = behind.trim_start().strip_prefix(',').unwrap_or_default();
            Some(value)
        })
    }

    /// What stands between the quotes of a string, escapes and all.
    pub(crate) fn literal(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// Whether it is a string with something in it. It need not be valid Unicode: half of a
    /// character is text, too.
    pub(crate) fn is_text(self) -> bool {
        self.0.len() > 2 && self.0.starts_with('"')
    }

    /// Whether it is this string.
    pub(crate) fn is(self, text: &str) -> bool {
        self.str().is_some_and(|told| told == text)
    }

    /// Whether a field that is called `error` holds one: servers also say so that there is none.
    pub(crate) fn is_error(self) -> bool {
        !matches!(self.0, "" | "{}" | "[]" | "\"\"" | "false" | "0")
    }

    /// A string that is not empty. For text that comes in pieces there is
    /// [`ChunkBuilder`](super::ChunkBuilder), which joins halves of characters; here they become U+FFFD.
    pub(crate) fn str(self) -> Option<Cow<'a, str>> {
        let literal = self.literal().filter(|literal| !literal.is_empty())?;
        if memchr::memchr(b'\\', literal.as_bytes()).is_none() {
            return Some(Cow::Borrowed(literal));
        }
        Some(Cow::Owned(unescaped(literal)))
    }

    /// A number that counts something: as it is, as a string, rounded, or held within its bounds.
    pub(crate) fn u64(self) -> Option<u64> {
        let digits = self.literal().unwrap_or(self.0);
        if digits.is_empty() {
            return None;
        }
        let rounded = |_| digits.parse().ok().map(|number: f64| number as u64);
        digits.parse().map_or_else(rounded, Some)
    }

    /// The value in a form of its own; that of `Default` where it is absent or has another form.
    pub(crate) fn parse<T: Deserialize<'a> + Default>(self) -> T {
        if self.0.is_empty() {
            return T::default();
        }
        serde_json::from_str(self.0).unwrap_or_default()
    }

    /// The value as it is kept. serde_json refuses strings with half of a character in them; they
    /// are kept with U+FFFD in its place.
    pub(crate) fn value<T: DeserializeOwned + Default>(self) -> T {
        if self.0.is_empty() {
            return T::default();
        }
        let whole = serde_json::from_str(self.0);
        whole.or_else(|_| serde_json::from_str(&without_halves(self.0))).unwrap_or_default()
    }

    /// About how much memory [`value`](Self::value) takes, without taking it, and rather too much:
    /// an element of a list takes 32 bytes and up to as much room to grow, a field of an object some
    /// 110, and the smallest object that is not empty 640.
    pub(crate) fn cost(self) -> usize {
        let (mut cost, mut in_string, mut escaped) = (self.0.len(), false, false);
        for byte in self.0.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_string,
                b'"' => in_string = !in_string,
                b',' if !in_string => cost += 128,
                b'[' if !in_string => cost += 128,
                b'{' if !in_string => cost += 640,
                _ => {}
            }
        }
        cost
    }
}

/// Appends the characters of a JSON string literal that is known to be well-formed.
///
/// JSON may escape a character beyond the basic plane as two halves, and some servers put them into
/// two events: `half` is the first one, from the event before, and what is returned waits for the
/// next. Halves that find no other become U+FFFD.
pub(crate) fn unescape(literal: &str, mut half: Option<u16>, text: &mut String) -> Option<u16> {
    let mut rest = literal;
    while !rest.is_empty() {
        let (plain, escape) = rest.split_once('\\').unwrap_or((rest, ""));
        if !plain.is_empty() && half.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text.push_str(plain);
        let mut chars = escape.chars();
        let unit = match chars.next() {
            None => return half,
            Some('u') => {
                let digits = chars.as_str().get(..4).unwrap_or_default();
                chars = chars.as_str().get(4..).unwrap_or_default().chars();
                u16::from_str_radix(digits, 16).unwrap_or(0xfffd)
            }
            Some('b') => 0x8,
            Some('f') => 0xc,
            Some('n') => 0xa,
            Some('r') => 0xd,
            Some('t') => 0x9,
            Some(itself) => itself as u16, // a quote, a slash or a backslash
        };
        rest = chars.as_str();
        match (half.take(), unit) {
            (Some(first), 0xdc00..0xe000) => {
                text.extend(char::decode_utf16([first, unit]).flatten());
            }
            (waiting, _) => {
                text.extend(waiting.map(|_| char::REPLACEMENT_CHARACTER));
                match unit {
                    0xd800..0xdc00 => half = Some(unit),
                    _ => text.push(char::from_u32(unit.into()).unwrap_or('\u{fffd}')),
                }
            }
        }
    }
    half
}

/// A JSON string literal as text, in which nothing is to follow.
pub(crate) fn unescaped(literal: &str) -> String {
    let mut text = String::with_capacity(literal.len());
    if unescape(literal, None, &mut text).is_some() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

/// JSON whose strings have U+FFFD in place of halves of characters.
pub(crate) fn without_halves(json: &str) -> String {
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.split_once("\\") {
        whole.push_str(before);
        let unit = |text: &str| u16::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok();
        let length = match unit(escape) {
            Some(0xd800..0xdc00)
                if let Some(second) = escape.get(5..).and_then(|text| text.strip_prefix('\\'))
                    && matches!(unit(second), Some(0xdc00..0xe000)) =>
            {
                11
            }
            Some(0xd800..0xe000) => {
                whole.push_str("\\ufffd");
                rest = escape.get(5..).unwrap_or_default();
                continue;
            }
            _ => escape.chars().next().map_or(0, char::len_utf8),
        };
        let (escaped, behind) = escape.split_at_checked(length).unwrap_or((escape, ""));
        whole.push('\\');
        whole.push_str(escaped);
        rest = behind;
    }
    whole + rest
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self(if json == "null" { "" } else { json }))
    }
}

/// The rest of a visitor, which takes whatever else comes as if nothing were there.
macro_rules! nothing_else {
    () => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}
pub(crate) use nothing_else;

/// Declares the objects of a protocol, each with the fields that matter (and the JSON name where
/// Rust has another). Unknown fields are passed over, of a repeated one the last counts, and
/// something that is no object has no fields.
macro_rules! wire {
    ($(
        $(#[$doc:meta])*
        struct $name:ident {
            $($(#[$field_doc:meta])* $field:ident $(= $key:literal)?: $type:ty),* $(,)?
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Default)]
        struct $name<'a> { $($(#[$field_doc])* $field: $type,)* }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[allow(non_camel_case_types)]
                enum Field { $($field,)* unknown }

                impl<'de> serde::Deserialize<'de> for Field {
                    fn deserialize<D: serde::Deserializer<'de>>(key: D) -> Result<Self, D::Error> {
                        struct Key;
                        impl serde::de::Visitor<'_> for Key {
                            type Value = Field;
                            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                                f.write_str("a field's name")
                            }
                            fn visit_str<E>(self, key: &str) -> Result<Field, E> {
                                $(if key == $crate::protocol::wire::key!($field $($key)?) {
                                    return Ok(Field::$field);
                                })*
                                Ok(Field::unknown)
                            }
                        }
                        key.deserialize_identifier(Key)
                    }
                }

                struct Object<'a>(std::marker::PhantomData<&'a ()>);

                impl<'de: 'a, 'a> serde::de::Visitor<'de> for Object<'a> {
                    type Value = $name<'a>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("JSON")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut object: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut value = $name::default();
                        while let Some(field) = object.next_key()? {
                            match field {
                                $(Field::$field => value.$field = object.next_value()?,)*
                                Field::unknown => {
                                    object.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(value)
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut list: A,
                    ) -> Result<Self::Value, A::Error> {
                        while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                        Ok($name::default())
                    }

                    $crate::protocol::wire::nothing_else!();
                }

                deserializer.deserialize_any(Object(std::marker::PhantomData))
            }
        }
    )+};
}
pub(crate) use wire;

macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use key;

/// One of several alternatives, of which only the first is ours.
pub(crate) trait Indexed {
    fn index(&self) -> Raw<'_>;
}

/// From a list of alternatives the one with index 0, or without an index.
#[derive(Debug, Default)]
pub(crate) struct First<T> {
    pub(crate) one: T,
    /// Whether there was a list, be it an empty one.
    pub(crate) is_list: bool,
}

impl<'de, T: Deserialize<'de> + Default + Indexed> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Alternatives<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default + Indexed> Visitor<'de> for Alternatives<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
                let mut first = None;
                while let Some(one) = list.next_element::<T>()? {
                    if first.is_none() && one.index().u64().unwrap_or(0) == 0 {
                        first = Some(one);
                    }
                }
                Ok(First { one: first.unwrap_or_default(), is_list: true })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<First<T>, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(First::default())
            }

            nothing_else!();
        }
        deserializer.deserialize_any(Alternatives(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    wire! {
        /// What the tests read.
        struct Outer { kind = "type": Raw<'a>, inner: Inner<'a>, items: First<Item<'a>> }
        struct Inner { text: Raw<'a> }
        struct Item { index: Raw<'a>, word: Raw<'a> }
    }

    impl Indexed for Item<'_> {
        fn index(&self) -> Raw<'_> {
            self.index
        }
    }

    fn read(json: &str) -> Outer<'_> {
        serde_json::from_str(json).unwrap()
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
        assert!(serde_json::from_str::<Outer<'_>>("{} {}").is_err());
        assert!(serde_json::from_str::<Outer<'_>>("{\"type\": \"a").is_err());
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
            let kept: serde_json::Value = Raw(json).value();
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
