//! The names of an enum's variants: one way to write them everywhere.

use anyhow::Context;

/// Gives an enum `as_str` and `Display`, by a name for each variant.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            $(#[$doc])*
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

/// The one with a name; an error lists those that there are.
pub(crate) fn by_name<T: Copy>(
    what: &str,
    name: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> anyhow::Result<T> {
    let wanted = name.trim().to_ascii_lowercase();
    all.iter().copied().find(|&one| as_str(one) == wanted).with_context(|| {
        let known: Vec<_> = all.iter().copied().map(as_str).collect();
        format!("there is no {what} {name:?}; there are {}", known.join(", "))
    })
}
