//! Reading JSON from people who change it: no field is required, and none has to have its type.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A field whose type nobody can rely on: the JSON text of its value, read when it is asked for.
/// Absent and `null` are the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The value's JSON text; empty where there is none.
    pub(crate) fn json(self) -> &'a str {
        self.0
    }

    pub(crate) fn is_some(self) -> bool {
        !self.0.is_empty()
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
            let (value, behind) = Self::split(rest.trim_start())?;
            rest = behind.trim_start().strip_prefix(',').unwrap_or_default();
            Some(value)
        })
    }

    /// What stands between the quotes of a string, escapes and all.
    pub(crate) fn literal(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// A string that is not empty.
    pub(crate) fn str(self) -> Option<Cow<'a, str>> {
        let literal = self.literal().filter(|literal| !literal.is_empty())?;
        if memchr::memchr(b'\\', literal.as_bytes()).is_none() {
            return Some(Cow::Borrowed(literal));
        }
        serde_json::from_str(self.0).ok().map(Cow::Owned)
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
                                $(if key == $crate::provider::wire::key!($field $($key)?) {
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

                    $crate::provider::wire::nothing_else!();
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
pub(crate) struct First<T>(pub(crate) T);

impl<'de, T: Deserialize<'de> + Default + Indexed> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Alternatives<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default + Indexed> Visitor<'de> for Alternatives<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
                let mut first = None;
                while let Some(one) = list.next_element::<T>()? {
                    if first.is_none() && one.index().u64().unwrap_or(0) == 0 {
                        first = Some(one);
                    }
                }
                Ok(first.unwrap_or_default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<T, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(T::default())
            }

            nothing_else!();
        }
        deserializer.deserialize_any(Alternatives(PhantomData)).map(Self)
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
            assert!(!read.inner.text.is_some() && !read.items.0.word.is_some());
            assert_eq!(read.kind.json(), "1");
        }
        assert!(serde_json::from_str::<Outer<'_>>("{} {}").is_err());
        assert!(serde_json::from_str::<Outer<'_>>("{\"type\": \"a").is_err());
    }

    #[test]
    fn the_first_alternative_is_number_zero() {
        let json =
            r#"{"items": [{"index": 1, "word": "b"}, {"index": "0", "word": "a"}, {"word": "c"}]}"#;
        assert_eq!(read(json).items.0.word.str().unwrap(), "a");
        assert_eq!(read(r#"{"items": {"word": "x"}}"#).items.0.word, Raw::default());
        assert_eq!(read(r#"{"items": [{"word": "x"}]}"#).items.0.word.str().unwrap(), "x");
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
    fn depth_in_unknown_fields_does_not_matter() {
        let deep =
            format!(r#"{{"new": {}{}, "type": "x"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).kind.str().unwrap(), "x");
    }
}
