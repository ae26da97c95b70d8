//! Enums whose variants have names: one way to write them everywhere.

use anyhow::Context;

/// Declares an enum whose variants are shown and serialised by name: `as_str` gives it, too.
macro_rules! names {
    (
        $(#[$doc:meta])*
        pub enum $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }

        $(#[$as_str_doc:meta])*
        pub fn as_str;
    ) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $(#[$doc])*
        pub enum $type { $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)+ }

        impl $type {
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
        let meant = nearest(&wanted, known.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
        format!("there is no {what} {name:?}{meant} (there are {})", known.join(", "))
    })
}

/// The one of some names that somebody who mistyped it may have meant.
pub(crate) fn nearest<'a>(
    typed: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A name that is longer than any would take long to compare.
    let names = names.into_iter().filter(|_| typed.len() < 100);
    let names = names.map(|name| (distance(typed, name), name));
    let near = names.filter(|(distance, _)| *distance <= typed.len() / 3);
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The number of letters that have to be added, removed or changed to make one name of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut left = at + 1;
        let mut next = vec![left];
        for (wanted, above) in other.bytes().zip(row.windows(2)) {
            let &[before, above] = above else { continue };
            left = (before + usize::from(letter != wanted)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
