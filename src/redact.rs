//! Text from elsewhere as it may be shown: without keys, without control characters, and not too
//! long.

use std::sync::{Arc, OnceLock};

use crate::terminal::terminal_safe;

/// How much of a key gives it away. Servers show its beginning or its end.
const PART: usize = 8;
/// How often a text is unescaped to find a key: once for JSON or a URL, and once more for the JSON
/// that stands in a string of JSON, as gateways quote other servers.
const DEPTH: usize = 2;
/// The most of a message that an error shows.
const MAX_MESSAGE: usize = 1000;

/// The caller's keys. How they are recognised is worked out once for a request, since it takes
/// longer than all the rest of a short response.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Keys>);

#[derive(Default)]
struct Keys {
    texts: Vec<String>,
    forms: OnceLock<Forms>,
}

/// What a key looks like in what a server sends back, in lower case.
struct Forms {
    /// Each piece of eight bytes of a long one, in order.
    parts: Vec<u64>,
    /// Those that are shorter than such a piece.
    short: Vec<Vec<u8>>,
}

impl Secrets {
    pub(crate) fn new(texts: Vec<String>) -> Self {
        let texts = texts.into_iter().filter(|text| !text.is_empty()).collect();
        Self(Arc::new(Keys { texts, forms: OnceLock::new() }))
    }

    /// Replaces the secrets, and parts of them of 8 characters or more, by `[redacted]`, in capitals
    /// or not.
    ///
    /// A secret that is shorter is a stand-in such as `none`; it is replaced where it stands as a
    /// word of its own.
    pub(crate) fn redact(&self, text: &str) -> String {
        let Keys { texts, forms } = &*self.0;
        let shortest = texts.iter().map(|secret| secret.len().min(PART)).min();
        if shortest.is_none_or(|shortest| text.len() < shortest) {
            return text.to_owned();
        }
        let forms = forms.get_or_init(|| Forms::of(texts));
        let mut hidden = vec![false; text.len()];
        let mut written = Some(Written::of(text));
        for _ in 0..=DEPTH {
            let Some(now) = written else { break };
            for (at, window) in now.bytes.windows(PART).enumerate() {
                if forms.parts.binary_search(&number(window)).is_ok() {
                    now.hide(at, PART, &mut hidden);
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
                        now.hide(at, found.len(), &mut hidden);
                    }
                }
            }
            written = now.unescaped();
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

    #[cfg(test)]
    pub(crate) fn texts(&self) -> &[String] {
        &self.0.texts
    }
}

impl Forms {
    fn of(secrets: &[String]) -> Self {
        let forms = secrets.iter().flat_map(|secret| forms(secret));
        let (long, short): (Vec<_>, Vec<_>) = forms.partition(|form| form.len() >= PART);
        let mut parts: Vec<_> =
            long.iter().flat_map(|form| form.windows(PART)).map(number).collect();
        parts.sort_unstable();
        Self { parts, short }
    }
}

/// Eight bytes as one number.
fn number(window: &[u8]) -> u64 {
    window.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A text in lower case, as it is or without its escapes.
struct Written {
    bytes: Vec<u8>,
    /// Where each of the bytes begins in the text, and where the last one ends.
    starts: Vec<usize>,
}

impl Written {
    fn of(text: &str) -> Self {
        Self { bytes: text.to_ascii_lowercase().into_bytes(), starts: (0..=text.len()).collect() }
    }

    /// The same without the escapes of JSON and of URLs, if it has any.
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

    /// Marks what stands in the text for so many bytes.
    fn hide(&self, at: usize, length: usize, hidden: &mut [bool]) {
        if let (Some(&start), Some(&end)) = (self.starts.get(at), self.starts.get(at + length)) {
            hidden.iter_mut().take(end).skip(start).for_each(|hidden| *hidden = true);
        }
    }
}

/// The character of an escape, if it is one of ASCII, and how long that is.
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

/// A secret as it may be sent back, in lower case: as it is, without the escapes of the URL that it
/// came from, in base64. How it is escaped does not matter: that is undone.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let plain = Written::of(secret);
    let mut forms: Vec<_> = plain.unescaped().map(|written| written.bytes).into_iter().collect();
    forms.push(plain.bytes);
    if secret.len() < PART {
        return forms;
    }
    for tail in [b"+/", b"-_"] {
        // What stands before it decides where its bits fall; only the digits that are all its own
        // count.
        for (before, foreign) in [(0, 0), (1, 2), (2, 3)] {
            let digits = base64(before, secret.as_bytes(), tail);
            forms.push(digits.into_iter().skip(foreign).map(|d| d.to_ascii_lowercase()).collect());
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

/// Text from elsewhere as it may stand in a message: on one line, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    let words = truncated(text, MAX_MESSAGE).split_whitespace().collect::<Vec<_>>().join(" ");
    terminal_safe(&words).to_string()
}

/// At most so many bytes of a text, cut between characters.
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
        // A secret from a URL, where the server decodes it.
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
            // Base64 of the key, `:key`, `u:key` and, for URLs, of the key; the last digits are not
            // the key's alone.
            ("Sy9ZKzAxMjM0NTY3Pz4+ODlhYg==", "[redacted]Yg=="),
            ("OksvWSswMTIzNDU2Nz8+Pjg5YWI=", "Ok[redacted]YWI="),
            ("dTpLL1krMDEyMzQ1Njc/Pj44OWFi", "dTp[redacted]"),
            ("Sy9ZKzAxMjM0NTY3Pz4-ODlhYg", "[redacted]Yg"),
        ] {
            assert_eq!(redacted(text, &[key.to_owned()]), clean, "{text}");
        }
    }
}
