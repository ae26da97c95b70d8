//! Taking the caller's keys out of what a server sends back.

use std::collections::HashSet;

/// How much of a key gives it away. Servers show its beginning or its end.
const PART: usize = 8;

/// Replaces the secrets, and parts of them of 8 characters or more, by `[redacted]`.
///
/// A secret that is shorter is a stand-in such as `none`; it is replaced where it stands as a word
/// of its own.
pub(crate) fn scrub(text: &str, secrets: &[String]) -> String {
    let bytes = text.as_bytes();
    let mut hidden = vec![false; bytes.len()];
    let mut hide = |at: usize, length: usize| {
        for hidden in hidden.iter_mut().skip(at).take(length) {
            *hidden = true;
        }
    };
    let (long, short): (Vec<_>, Vec<_>) = secrets.iter().partition(|secret| secret.len() >= PART);
    let forms: Vec<_> = long.into_iter().flat_map(|secret| forms(secret)).collect();
    let parts: HashSet<&[u8]> = forms.iter().flat_map(|form| form.windows(PART)).collect();
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
            let behind = text.get(at + found.len()..).and_then(|behind| behind.chars().next());
            if ![before, behind].into_iter().flatten().any(char::is_alphanumeric) {
                hide(at, found.len());
            }
        }
    }

    let mut clean = String::with_capacity(text.len());
    let mut hiding = false;
    for (at, c) in text.char_indices() {
        // A secret that is not ASCII may match from within a character on.
        let is_hidden = hidden.iter().skip(at).take(c.len_utf8()).any(|&hidden| hidden);
        if is_hidden && !hiding {
            clean.push_str("[redacted]");
        } else if !is_hidden {
            clean.push(c);
        }
        hiding = is_hidden;
    }
    clean
}

/// A secret as it may be sent back: as it is, in a URL, in JSON that escapes slashes, in base64.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    for in_hex in [|byte| format!("%{byte:02X}"), |byte: u8| format!("%{byte:02x}")] {
        let encoded = secret.bytes().map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => in_hex(byte),
        });
        forms.push(encoded.collect::<String>().into_bytes());
    }
    forms.push(secret.replace('/', "\\/").into_bytes());
    for tail in [b"+/", b"-_"] {
        // What stands before it decides where its bits fall; only the digits that are all its own
        // count.
        for (before, foreign) in [(0, 0), (1, 2), (2, 3)] {
            let digits = base64(before, secret.as_bytes(), tail);
            forms.push(digits.into_iter().skip(foreign).collect());
        }
    }
    forms
}

fn base64(before: usize, secret: &[u8], tail: &[u8; 2]) -> Vec<u8> {
    let digit = |value: u32| match value as u8 & 63 {
        value @ 0..26 => b'A' + value,
        value @ 26..52 => b'a' + value - 26,
        value @ 52..62 => b'0' + value - 52,
        62 => tail[0],
        _ => tail[1],
    };
    let mut bytes = vec![0; before];
    bytes.extend(secret);
    let triples = bytes.chunks_exact(3);
    let bits =
        triples.map(|triple| triple.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)));
    bits.flat_map(|bits| [18, 12, 6, 0].map(|shift| digit(bits >> shift))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_telling_parts_of_them_are_replaced() {
        let secrets =
            ["sk-proj-0123456789abcdef".to_owned(), "none".to_owned(), "schlüssel".to_owned()];
        for (text, clean) in [
            ("nothing to see", "nothing to see"),
            ("key sk-proj-0123456789abcdef!", "key [redacted]!"),
            ("sk-proj-0123456789abcdefsk-proj-0123456789abcdef", "[redacted]"),
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

    #[test]
    fn no_usual_encoding_hides_a_key() {
        let key = "K/Y+01234567?>>89ab";
        for (text, clean) in [
            ("K/Y+01234567?>>89ab", "[redacted]"),
            ("K%2FY%2B01234567%3F%3E%3E89ab", "[redacted]"),
            ("K%2fY%2b01234567%3f%3e%3e89ab", "[redacted]"),
            (r"K\/Y+01234567?>>89ab", "[redacted]"),
            // Base64 of the key, `:key`, `u:key` and, for URLs, of the key; the last digits are not
            // the key's alone.
            ("Sy9ZKzAxMjM0NTY3Pz4+ODlhYg==", "[redacted]Yg=="),
            ("OksvWSswMTIzNDU2Nz8+Pjg5YWI=", "Ok[redacted]YWI="),
            ("dTpLL1krMDEyMzQ1Njc/Pj44OWFi", "dTp[redacted]"),
            ("Sy9ZKzAxMjM0NTY3Pz4-ODlhYg", "[redacted]Yg"),
        ] {
            assert_eq!(scrub(text, &[key.to_owned()]), clean, "{text}");
        }
    }
}
