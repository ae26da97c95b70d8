//! Makes text from elsewhere safe to show: it redacts keys, makes control characters visible and
//! limits the length.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::terminal::terminal_safe;

/// The length in bytes of the shortest part of a key that is redacted. Servers show the beginning
/// or the end of a key.
const PART: usize = 8;
/// The number of times that a text is unescaped to find a key: once for JSON or a URL, and once
/// more for JSON in a JSON string, which is how gateways quote other servers.
const DEPTH: usize = 2;
/// The maximum length in bytes of a message that an error shows.
const MAX_MESSAGE: usize = 1000;

/// The caller's keys. Their forms are computed once for a request, because that takes longer than
/// all other work on a short response.
pub(crate) struct Secrets {
    texts: Vec<String>,
    forms: OnceLock<Forms>,
}

/// The forms in which a server may send a key back, in lower case.
struct Forms {
    long: Vec<Vec<u8>>,
    /// The forms that are shorter than a [`PART`].
    short: Vec<Vec<u8>>,
    /// A Bloom filter of all parts of the `long` forms: each part sets one bit. Nearly all texts
    /// match no bit, and need no further search.
    filter: [u64; 128],
}

impl Secrets {
    pub(crate) fn new(texts: Vec<String>) -> Self {
        let texts = texts.into_iter().filter(|text| !text.is_empty()).collect();
        Self { texts, forms: OnceLock::new() }
    }

    /// Replaces the secrets, and parts of them of 8 bytes or more, by `[redacted]`. The case of
    /// ASCII letters is ignored.
    ///
    /// A shorter secret is a placeholder such as `none`. It is replaced only where it is a whole
    /// word.
    pub(crate) fn redact(&self, text: &str) -> String {
        let Self { texts, forms } = self;
        let shortest = texts.iter().map(|secret| secret.len().min(PART)).min();
        if shortest.is_none_or(|shortest| text.len() < shortest) {
            return text.to_owned();
        }
        let forms = forms.get_or_init(|| Forms::of(texts));
        let mut hidden = vec![false; text.len()];
        let mut written = Some(Written::of(text));
        for _ in 0..=DEPTH {
            let Some(now) = written else { break };
            for (at, part) in now.bytes.windows(PART).enumerate() {
                if forms.has(part) {
                    now.redact(at, PART, &mut hidden);
                }
            }
            for secret in &forms.short {
                let is_letter = |at: Option<usize>| {
                    at.and_then(|at| now.bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric)
                };
                for (at, found) in now.bytes.windows(secret.len()).enumerate() {
                    let is_word =
                        !is_letter(at.checked_sub(1)) && !is_letter(Some(at + found.len()));
                    if found == secret && is_word {
                        now.redact(at, found.len(), &mut hidden);
                    }
                }
            }
            written = now.unescaped();
        }
        if !hidden.contains(&true) {
            return text.to_owned();
        }
        let mut clean = String::with_capacity(text.len());
        let mut hiding = false;
        for (at, c) in text.char_indices() {
            // The match of a non-ASCII secret can begin inside a character.
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
}

impl Forms {
    fn of(secrets: &[String]) -> Self {
        let mut forms = Self { long: Vec::new(), short: Vec::new(), filter: [0; 128] };
        for form in secrets.iter().flat_map(|secret| forms_of(secret)) {
            for (word, bit) in form.windows(PART).map(place) {
                if let Some(word) = forms.filter.get_mut(word) {
                    *word |= bit;
                }
            }
            let list = if form.len() < PART { &mut forms.short } else { &mut forms.long };
            list.push(form);
        }
        forms
    }

    /// Returns whether this is a part of a secret.
    fn has(&self, part: &[u8]) -> bool {
        let (word, bit) = place(part);
        self.filter.get(word).is_some_and(|word| word & bit != 0)
            && self.long.iter().any(|form| memchr::memmem::find(form, part).is_some())
    }
}

/// Returns the index of a word in the filter, and the part's bit in that word.
fn place(part: &[u8]) -> (usize, u64) {
    let number = u64::from_le_bytes(part.try_into().unwrap_or_default());
    // This is the multiplier of Fibonacci hashing: the highest bits of the product depend on all
    // bytes.
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51;
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// A text in lower case, with or without its escapes.
struct Written {
    bytes: Vec<u8>,
    /// The position in the original text where each byte begins, and the position where the last
    /// one ends.
    starts: Vec<usize>,
}

impl Written {
    fn of(text: &str) -> Self {
        Self { bytes: text.to_ascii_lowercase().into_bytes(), starts: (0..=text.len()).collect() }
    }

    /// Returns the text without the escapes of JSON and URLs, or `None` if it has none.
    fn unescaped(&self) -> Option<Self> {
        memchr::memchr2(b'\\', b'%', &self.bytes)?;
        let mut next = Self { bytes: Vec::new(), starts: Vec::new() };
        let mut at = 0;
        while let (Some(rest @ &[first, ..]), Some(&start)) =
            (self.bytes.get(at..), self.starts.get(at))
        {
            let (byte, length) = escape(rest).unwrap_or((first, 1));
            next.bytes.push(byte.to_ascii_lowercase());
            next.starts.push(start);
            at += length;
        }
        next.starts.extend(self.starts.last());
        (next.bytes.len() < self.bytes.len()).then_some(next)
    }

    /// Marks the positions in the original text that `length` bytes from `at` came from.
    fn redact(&self, at: usize, length: usize, hidden: &mut [bool]) {
        if let (Some(&start), Some(&end)) = (self.starts.get(at), self.starts.get(at + length)) {
            hidden.iter_mut().take(end).skip(start).for_each(|hidden| *hidden = true);
        }
    }
}

/// Returns the ASCII character of an escape, and the length of the escape.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let hex = |digits: &[u8]| {
        let digit = |number: u32, &digit: &u8| Some(number * 16 + char::from(digit).to_digit(16)?);
        u8::try_from(digits.iter().try_fold(0, digit)?).ok().filter(u8::is_ascii)
    };
    match text {
        [b'%', digits @ ..] => Some((hex(digits.get(..2)?)?, 3)),
        [b'\\', b'u', digits @ ..] => Some((hex(digits.get(..4)?)?, 6)),
        [b'\\', itself, ..] => Some((*itself, 2)),
        _ => None,
    }
}

/// Returns the forms in which a secret may be sent back, in lower case: unchanged, without the
/// escapes of the URL that contained it, and in base64. Escaped forms are not needed, because texts
/// are unescaped before they are searched.
fn forms_of(secret: &str) -> Vec<Vec<u8>> {
    let plain = Written::of(secret);
    let mut forms: Vec<_> = plain.unescaped().map(|written| written.bytes).into_iter().collect();
    forms.push(plain.bytes);
    if secret.len() < PART {
        return forms;
    }
    for base64 in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        // The bytes before the secret decide how its bits are split into digits. Only digits that
        // depend on nothing but the secret are kept.
        for (before, foreign) in [(0, 0), (1, 2), (2, 3)] {
            let mut bytes = vec![0; before];
            bytes.extend(secret.as_bytes());
            bytes.truncate(bytes.len() / 3 * 3);
            let digits = base64.encode(bytes).to_ascii_lowercase().into_bytes();
            forms.push(digits.into_iter().skip(foreign).collect());
        }
    }
    forms
}

/// Returns text from elsewhere in a form for messages: truncated, on one line, with control
/// characters made visible.
pub(crate) fn one_line(text: &str) -> String {
    let words = truncated(text, MAX_MESSAGE).split_whitespace().collect::<Vec<_>>().join(" ");
    terminal_safe(&words).to_string()
}

/// Returns at most `bytes` bytes of a text, cut between characters.
pub(crate) fn truncated(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or_default()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str, secrets: &[String]) -> String {
        Secrets::new(secrets.to_vec()).redact(text)
    }

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
            assert_eq!(redacted(text, &secrets), clean);
        }
        assert_eq!(redacted("as it is", &[]), "as it is");
        // The server decodes a secret from a URL.
        assert_eq!(redacted("key 0123\"4567", &["0123%224567".to_owned()]), "key [redacted]");
        assert_eq!(redacted(r"pass \u0061bc", &["abc".to_owned()]), "pass [redacted]");
    }

    #[test]
    fn no_usual_encoding_hides_a_key() {
        let key = "K/Y+01234567?>>89ab";
        for (text, clean) in [
            ("K/Y+01234567?>>89ab", "[redacted]"),
            ("K%2FY%2B01234567%3F%3E%3E89ab", "[redacted]"),
            ("K%2fY%2b01234567%3f%3e%3e89ab", "[redacted]"),
            (r"K\/Y+01234567?>>89ab", "[redacted]"),
            (r"=\u004b\u002FY+0123\u0034567?>>89ab\u003d", r"=[redacted]\u003d"),
            (r"\\u004b\\u002FY+0123\\u0034567?>>89ab", "[redacted]"),
            ("%4B%2FY%2B%30%31%32%33%34%35%36%37%3F%3E%3E89ab", "[redacted]"),
            ("K/Y+01234567?>>89AB", "[redacted]"),
            (r"\u00", r"\u00"),
            // These are the base64 forms of the key, `:key`, `u:key` and, for URLs, of the key. The
            // last digits do not depend on the key alone.
            ("Sy9ZKzAxMjM0NTY3Pz4+ODlhYg==", "[redacted]Yg=="),
            ("OksvWSswMTIzNDU2Nz8+Pjg5YWI=", "Ok[redacted]YWI="),
            ("dTpLL1krMDEyMzQ1Njc/Pj44OWFi", "dTp[redacted]"),
            ("Sy9ZKzAxMjM0NTY3Pz4-ODlhYg", "[redacted]Yg"),
        ] {
            assert_eq!(redacted(text, &[key.to_owned()]), clean, "{text}");
        }
    }
}
