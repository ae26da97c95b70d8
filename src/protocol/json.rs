//! A JSON scanner: it reads an event once, fills the requested fields and skips the others.
//!
//! It accepts exactly the JSON that `serde_json` accepts, and its tests compare the two: a damaged
//! event must not be read as another one. What a field accepts is decided by its type, and most
//! types accept every value. The functions pass byte offsets into the text, because a number is
//! cheaper to pass than a reader. The scanner collects nothing in a list, because a server could
//! make such a list long.

use serde::de::{Deserialize, Error as _, IgnoredAny};
use serde_json::{Deserializer, Value};

/// A type that a value of an event is read into.
pub(crate) trait Field<'a>: Default {
    /// Reads the value that starts at the byte offset `at`, and replaces the previous value.
    /// Returns the offset of its end.
    fn fill(&mut self, json: &'a str, at: usize) -> ValueEnd;

    /// Returns the index among several alternatives, if the value contains one.
    fn index(&self) -> Option<u64> {
        None
    }
}

/// The byte offset of the end of a value.
pub(crate) type ValueEnd = Result<usize, Malformed>;

/// The JSON is invalid at this byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(usize);

/// The number of nested levels that are skipped by recursion. Deeper levels are skipped by
/// `serde_json`, which keeps a list of open levels instead of recursing.
const LEVELS: usize = 64;

/// Parses a JSON text.
pub(crate) fn read<'a, T: Field<'a>>(json: &'a str) -> serde_json::Result<T> {
    let mut value = T::default();
    match value.fill(json, blank(json, 0)).map(|end| blank(json, end)) {
        Ok(end) if end == json.len() => Ok(value),
        Ok(at) | Err(Malformed(at)) => Err(error(json, at)),
    }
}

/// Returns the error that `serde_json` reports for this text. If it reports none, because it does
/// not fully check values that it skips, returns its error for the value at this offset.
#[cold]
fn error(json: &str, at: usize) -> serde_json::Error {
    let whole = serde_json::from_str::<IgnoredAny>(json).err();
    let error =
        whole.or_else(|| Value::deserialize(&mut Deserializer::from_str(json.get(at..)?)).err());
    error.unwrap_or_else(|| serde_json::Error::custom("this is not JSON"))
}

/// Scans the fields of an object. `field` gets the name of a field and the offset of its value, and
/// returns the end of the value. A value that is not an object has no fields.
#[inline]
pub(crate) fn fields(
    json: &str,
    at: usize,
    mut field: impl FnMut(&[u8], usize) -> ValueEnd,
) -> ValueEnd {
    if byte(json, at) != b'{' {
        return skip_other(json, at);
    }
    items(json, at, b'}', |at| {
        let mut end = plain(json, at + 1) + 1;
        let unescaped: String;
        let name = if byte(json, at) == b'"' && byte(json, end - 1) == b'"' {
            json.as_bytes().get(at + 1..end - 1).unwrap_or_default()
        } else {
            end = name_end(json, at)?;
            let name = serde_json::from_str(json.get(at..end).unwrap_or_default());
            unescaped = name.map_err(|_| Malformed(at))?;
            unescaped.as_bytes()
        };
        field(name, behind_colon(json, end)?)
    })
}

/// Scans the elements of an array. `element` gets the offset of an element, and returns its end. A
/// value that is not an array has no elements.
#[inline]
pub(crate) fn elements(json: &str, at: usize, element: impl FnMut(usize) -> ValueEnd) -> ValueEnd {
    match byte(json, at) {
        b'[' => items(json, at, b']', element),
        _ => fields(json, at, |_, at| skip(json, at)),
    }
}

/// Skips a value of any type.
#[inline]
pub(crate) fn skip(json: &str, at: usize) -> ValueEnd {
    match byte(json, at) {
        b'"' => string(json, at),
        _ => skip_levels(json, at, LEVELS),
    }
}

fn skip_levels(json: &str, at: usize, levels: usize) -> ValueEnd {
    match byte(json, at) {
        b'"' => string(json, at),
        b'{' | b'[' if levels == 0 => {
            let rest = json.get(at..).unwrap_or_default();
            let mut values = Deserializer::from_str(rest).into_iter();
            let is_value = matches!(values.next(), Some(Ok(IgnoredAny)));
            if is_value { Ok(at + values.byte_offset()) } else { Err(Malformed(at)) }
        }
        b'{' => items(json, at, b'}', |at| {
            skip_levels(json, behind_colon(json, name_end(json, at)?)?, levels - 1)
        }),
        b'[' => items(json, at, b']', |at| skip_levels(json, at, levels - 1)),
        b't' => word(json, at, "true"),
        b'f' => word(json, at, "false"),
        b'n' => word(json, at, "null"),
        _ => number(json, at),
    }
}

/// Skips a value where an object is expected. As in `serde_json`, a string there must not contain a
/// lone surrogate, and a number must be finite.
#[cold]
fn skip_other(json: &str, at: usize) -> ValueEnd {
    let end = skip(json, at)?;
    let value = json.get(at..end).unwrap_or_default();
    let is_read = value.starts_with('[') || serde_json::from_str::<Value>(value).is_ok();
    if is_read { Ok(end) } else { Err(Malformed(at)) }
}

/// Scans the comma-separated items between two brackets.
#[inline]
fn items(json: &str, at: usize, close: u8, mut item: impl FnMut(usize) -> ValueEnd) -> ValueEnd {
    let mut at = blank(json, at + 1);
    if byte(json, at) == close {
        return Ok(at + 1);
    }
    loop {
        at = blank(json, item(at)?);
        match byte(json, at) {
            b',' => at = blank(json, at + 1),
            end if end == close => return Ok(at + 1),
            _ => return Err(Malformed(at)),
        }
    }
}

fn name_end(json: &str, at: usize) -> ValueEnd {
    if byte(json, at) == b'"' { string(json, at) } else { Err(Malformed(at)) }
}

#[inline]
fn behind_colon(json: &str, at: usize) -> ValueEnd {
    let at = blank(json, at);
    if byte(json, at) == b':' { Ok(blank(json, at + 1)) } else { Err(Malformed(at)) }
}

/// Skips a string. Lone surrogates are accepted.
#[inline]
pub(crate) fn string(json: &str, at: usize) -> ValueEnd {
    let end = plain(json, at + 1);
    if byte(json, end) == b'"' { Ok(end + 1) } else { escaped(json, end) }
}

/// Skips the rest of a string, from its first escape or invalid character.
fn escaped(json: &str, mut at: usize) -> ValueEnd {
    loop {
        match (byte(json, at), byte(json, at + 1)) {
            (b'"', _) => return Ok(at + 1),
            (b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
            (b'\\', b'u') if (2..6).all(|digit| byte(json, at + digit).is_ascii_hexdigit()) => {
                at += 6;
            }
            _ => return Err(Malformed(at)),
        }
        at = plain(json, at);
    }
}

/// Returns the offset at which the plain text of a string ends: at a quote, a backslash, a control
/// character or the end of the JSON. It checks eight bytes per step.
#[inline]
fn plain(json: &str, at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut rest = json.as_bytes().get(at..).unwrap_or_default();
    while let Some((eight, behind)) = rest.split_first_chunk() {
        // A byte that is smaller than the number subtracted from it borrows, which sets its highest
        // bit. The borrow may also set the highest bit of the following bytes, so only the first
        // one counts. (This is Mycroft's way to find a zero byte.)
        let eight = u64::from_le_bytes(*eight);
        let quote = (eight ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (eight ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let control = eight.wrapping_sub(ONES * 0x20);
        let found = (quote | backslash | control) & !eight & (ONES << 7);
        if found != 0 {
            return json.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
    json.len() - rest.len() + end.unwrap_or(rest.len())
}

fn word(json: &str, at: usize, word: &str) -> ValueEnd {
    let is_word = json.get(at..).is_some_and(|rest| rest.starts_with(word));
    if is_word { Ok(at + word.len()) } else { Err(Malformed(at)) }
}

fn number(json: &str, mut at: usize) -> ValueEnd {
    let digits = |at: usize| match (at..).find(|at| !byte(json, *at).is_ascii_digit()) {
        Some(end) if end > at => Ok(end),
        _ => Err(Malformed(at)),
    };
    at += usize::from(byte(json, at) == b'-');
    // A digit after a leading 0 is rejected later, because it cannot follow a value.
    at = if byte(json, at) == b'0' { at + 1 } else { digits(at)? };
    if byte(json, at) == b'.' {
        at = digits(at + 1)?;
    }
    if let b'e' | b'E' = byte(json, at) {
        at += 1 + usize::from(matches!(byte(json, at + 1), b'+' | b'-'));
        at = digits(at)?;
    }
    Ok(at)
}

/// Skips white space.
#[inline]
pub(crate) fn blank(json: &str, mut at: usize) -> usize {
    while let b' ' | b'\n' | b'\r' | b'\t' = byte(json, at) {
        at += 1;
    }
    at
}

/// Returns the byte at an offset. After the end it is NUL, which JSON allows nowhere.
#[inline]
pub(crate) fn byte(json: &str, at: usize) -> u8 {
    json.as_bytes().get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
