//! Declares enums whose variants have names, and finds a variant by its name. Declares conversions
//! from several types into one.

use anyhow::Context;

/// Declares an enum whose variants are displayed and serialised by name. `as_str` returns the name.
/// `read as` adds `FromStr`, which finds a variant by its name.
macro_rules! names {
    (
        $(#[$doc:meta])*
        pub enum $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }

        $(#[$as_str_doc:meta])*
        pub fn as_str;
        $(read as $what:literal;)?
    ) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $(#[$doc])*
        pub enum $type { $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)+ }

        impl $type {
            /// All variants.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            $(#[$as_str_doc])*
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        $(
            /// An error suggests a similar name, or lists the known ones.
            impl std::str::FromStr for $type {
                type Err = anyhow::Error;

                fn from_str(name: &str) -> anyhow::Result<Self> {
                    crate::names::by_name($what, name, Self::ALL, Self::as_str)
                }
            }
        )?
    };
}
pub(crate) use names;

/// Implements `From` for a type: each row has the other type, a name for its value, and the result.
/// `N` after the other type makes the implementation generic over its length.
macro_rules! conversions {
    ($into:ty; $($type:ty $(, $length:ident)?: $from:ident => $result:expr;)*) => {$(
        impl $(<const $length: usize>)? From<$type> for $into {
            fn from($from: $type) -> Self {
                $result
            }
        }
    )*};
}
pub(crate) use conversions;

/// Returns the value with this name. An error suggests a similar name, or lists the known ones.
pub(crate) fn by_name<T: Copy>(
    what: &str,
    name: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> anyhow::Result<T> {
    let wanted = name.trim().to_ascii_lowercase();
    all.iter().copied().find(|&one| as_str(one) == wanted).with_context(|| {
        let known: Vec<_> = all.iter().copied().map(as_str).collect();
        match nearest(&wanted, known.iter().copied()) {
            Some(meant) => format!("unknown {what} {name:?}; did you mean {meant:?}?"),
            None => format!("unknown {what} {name:?}; the known names are {}", known.join(", ")),
        }
    })
}

/// Returns the name that is most like the mistyped name `typed`, if one is near enough.
pub(crate) fn nearest<'a>(
    typed: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (typed.len() / 3).min(3);
    let mistakes = |name: &&str| mistakes(typed.as_bytes(), name.as_bytes(), most);
    names.into_iter().filter(|name| mistakes(name).is_some()).min_by_key(mistakes)
}

/// Returns the number of typing mistakes between two names, or `None` if it is more than `most`.
/// A mistake is a letter that is added, removed or changed. Two letters that change places are one
/// mistake if the rest of both names is the same.
fn mistakes(one: &[u8], other: &[u8], most: usize) -> Option<usize> {
    let more = |one: &[u8], other: &[u8]| Some(1 + mistakes(one, other, most.checked_sub(1)?)?);
    match (one, other) {
        ([], rest) | (rest, []) => Some(rest.len()).filter(|length| *length <= most),
        ([a, one @ ..], [b, other @ ..]) if a == b => mistakes(one, other, most),
        ([a, b, one @ ..], [c, d, other @ ..]) if (a, b, one) == (d, c, other) => more(one, other),
        ([_, after @ ..], [_, other_after @ ..]) => {
            let ways = [(after, other_after), (after, other), (one, other_after)];
            ways.into_iter().filter_map(|(one, other)| more(one, other)).min()
        }
    }
}
