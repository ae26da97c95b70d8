//! Reads the types of the scanner with serde's visitors. The scanner's tests and the fuzzer compare
//! the results.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::json::Field;
use crate::protocol::wire::{First, Raw};

/// An object that reads its known fields.
pub(crate) trait Object<'de>: Default {
    fn field<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error>;
}

/// Implements `Deserialize` for a struct that `wire!` declares.
macro_rules! visitors {
    ($name:ident: $($field:ident = $key:expr;)*) => {
        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::protocol::visitors::Fields::default())
            }
        }

        impl<'de: 'a, 'a> $crate::protocol::visitors::Object<'de> for $name<'a> {
            fn field<A: serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                object: &mut A,
            ) -> Result<(), A::Error> {
                $(if name == $key {
                    self.$field = object.next_value()?;
                    return Ok(());
                })*
                object.next_value::<serde::de::IgnoredAny>().map(drop)
            }
        }
    };
}
pub(crate) use visitors;

/// Implements the rest of a visitor, which reads any other value as the default.
macro_rules! nothing_else {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }
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

#[derive(Default)]
pub(crate) struct Fields<T>(PhantomData<T>);

impl<'de, T: Object<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<T, A::Error> {
        let mut value = T::default();
        while let Some(name) = object.next_key::<String>()? {
            value.field(&name, &mut object)?;
        }
        Ok(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    nothing_else!();
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self(if json == "null" { "" } else { json }))
    }
}

impl<'de, T: Deserialize<'de> + Field<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Alternatives(PhantomData))
    }
}

struct Alternatives<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Field<'de>> Visitor<'de> for Alternatives<T> {
    type Value = First<T>;

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
        let mut first = None;
        while let Some(one) = list.next_element::<T>()? {
            if first.is_none() && one.index().unwrap_or(0) == 0 {
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
