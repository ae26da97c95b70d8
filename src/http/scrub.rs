//! Taking the caller's keys out of what a server sends back.

use std::collections::HashSet;

/// How much of a key gives it away. Servers show its beginning or its end.
const PART: usize = 8;

/// Replaces the secrets, and parts of them of 8 characters or more, by `[redacted]`.
///
/// A secret that is shorter is a stand-in such as `none`; it is replaced where it stands as a word of
/// its own.
pub(crate) fn scrub(text: &str, secrets: &[String]) -> String {
    let bytes = text.as_bytes();
    let mut hidden = vec![false; bytes.len()];
    let mut hide = |at: usize, length: usize| {
        for hidden in hidden.iter_mut().skip(at).take(length) {
            *hidden = true;
        }
    };
    let (long, short): (Vec<_>, Vec<_>) = secrets.iter().partition(|secret| secret.len() >= PART);
    let parts: HashSet<&[u8]> = long
        .iter()
        .flat_map(|secret| secret.as_bytes().windows(PART))
        .collect();
    if !parts.is_empty() {
        for (at, window) in bytes.windows(PART).enumerate() {
            if parts.contains(window) {
                hide(at, PART);
            }
        }
    }
    for secret in short.into_iter().filter(|secret| !secret.is_empty()) {
        for (at, found) in text.match_indices(secret.as_str()) {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let behind = text
                .get(at + found.len()..)
                .and_then(|behind| behind.chars().next());
            if ![before, behind]
                .into_iter()
                .flatten()
                .any(char::is_alphanumeric)
            {
                hide(at, found.len());
            }
        }
    }

    let mut clean = String::with_capacity(text.len());
    let mut hiding = false;
    for (at, c) in text.char_indices() {
        // A secret that is not ASCII may match from within a character on.
        let is_hidden = hidden
            .iter()
            .skip(at)
            .take(c.len_utf8())
            .any(|&hidden| hidden);
        if is_hidden && !hiding {
            clean.push_str("[redacted]");
        } else if !is_hidden {
            clean.push(c);
        }
        hiding = is_hidden;
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_telling_parts_of_them_are_replaced() {
        let secrets = [
            "sk-proj-0123456789abcdef".to_owned(),
            "none".to_owned(),
            "schlüssel".to_owned(),
        ];
        for (text, clean) in [
            ("nothing to see", "nothing to see"),
            ("key sk-proj-0123456789abcdef!", "key [redacted]!"),
            (
                "sk-proj-0123456789abcdefsk-proj-0123456789abcdef",
                "[redacted]",
            ),
            ("sk-proj-****cdef", "[redacted]****cdef"),
            ("**** 456789abcdef", "**** [redacted]"),
            ("none, nonesuch", "[redacted], nonesuch"),
            ("ein schlüssel", "ein [redacted]"),
            ("", ""),
        ] {
            assert_eq!(scrub(text, &secrets), clean);
        }
        assert_eq!(scrub("as it is", &[]), "as it is");
    }
}
