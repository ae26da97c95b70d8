//! A scanner of JSON: it goes over an event once, fills the fields that are wanted, and passes over
//! the rest.
//!
//! What is JSON it decides as strictly as `serde_json` does, with which its tests compare it: an
//! event that is torn must not be taken for another one. What the fields hold is their own affair,
//! and they refuse almost nothing. It goes from place to place in the text, since a number is
//! cheaper to hand on than a reader, and makes no list of what it finds, since a server can make
//! that long.

use serde::de::{Deserialize, Error as _, IgnoredAny};
use serde_json::{Deserializer, Value};

/// What a value of an event is read into.
pub(crate) trait Field<'a>: Default {
    /// Takes over the value that begins at `at`, in place of what was there; returns where it ends.
    fn fill(&mut self, json: &'a str, at: usize) -> ValueEnd;

    /// Which of several alternatives it is, if it says so.
    fn index(&self) -> Option<u64> {
        None
    }
}

/// Where a value ends.
pub(crate) type ValueEnd = Result<usize, Malformed>;

/// Something at this place is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(usize);

/// Levels of objects and lists that nobody wants, which are passed over by recursion; what is
/// deeper is left to `serde_json`, which keeps a list of them.
const LEVELS: usize = 64;

/// Reads a JSON text.
pub(crate) fn read<'a, T: Field<'a>>(json: &'a str) -> serde_json::Result<T> {
    let mut value = T::default();
    match value.fill(json, blank(json, 0)).map(|end| blank(json, end)) {
        Ok(end) if end == json.len() => Ok(value),
        Ok(at) | Err(Malformed(at)) => Err(error(json, at)),
    }
}

/// What `serde_json` says is wrong. Of what it would have passed over, what is wrong at this place.
#[cold]
fn error(json: &str, at: usize) -> serde_json::Error {
    let whole = serde_json::from_str::<IgnoredAny>(json).err();
    let error =
        whole.or_else(|| Value::deserialize(&mut Deserializer::from_str(json.get(at..)?)).err());
    error.unwrap_or_else(|| serde_json::Error::custom("this is not JSON"))
}

/// Goes over the fields of an object: `field` is told the name of each and where its value begins,
/// and says where that ends. Another value has no fields.
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

/// Goes over the elements of a list: `element` is told where each begins, and says where it ends.
/// Another value has no elements.
#[inline]
pub(crate) fn elements(json: &str, at: usize, element: impl FnMut(usize) -> ValueEnd) -> ValueEnd {
    match byte(json, at) {
        b'[' => items(json, at, b']', element),
        _ => fields(json, at, |_, at| skip(json, at)),
    }
}

/// Passes over a value, whatever it is.
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

/// Passes over a value where an object is expected. A text or a number has to be one there, as
/// `serde_json` would have it: no half of a character, nothing infinite.
#[cold]
fn skip_other(json: &str, at: usize) -> ValueEnd {
    let end = skip(json, at)?;
    let value = json.get(at..end).unwrap_or_default();
    let is_read = value.starts_with('[') || serde_json::from_str::<Value>(value).is_ok();
    if is_read { Ok(end) } else { Err(Malformed(at)) }
}

/// Goes over what stands between two brackets with commas between.
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

/// Passes over a string. Halves of characters are none of its affair.
#[inline]
pub(crate) fn string(json: &str, at: usize) -> ValueEnd {
    let end = plain(json, at + 1);
    if byte(json, end) == b'"' { Ok(end + 1) } else { escaped(json, end) }
}

/// Passes over the rest of a string from where it is not plain.
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

/// Where the plain text of a string ends: at a quote, a backslash or a control character, or with
/// the JSON. It goes eight bytes a step.
#[inline]
fn plain(json: &str, at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut rest = json.as_bytes().get(at..).unwrap_or_default();
    while let Some((eight, behind)) = rest.split_first_chunk() {
        // What is larger than a byte that it is taken off sets its highest bit, and may set those of
        // bytes behind it: the first counts. (Mycroft's way to find a zero.)
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
    // A digit behind a leading 0 is refused as something that cannot follow a value.
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

/// Passes over white space.
#[inline]
pub(crate) fn blank(json: &str, mut at: usize) -> usize {
    while let b' ' | b'\n' | b'\r' | b'\t' = byte(json, at) {
        at += 1;
    }
    at
}

/// The byte at a place; behind the end a NUL, which JSON allows nowhere.
#[inline]
pub(crate) fn byte(json: &str, at: usize) -> u8 {
    json.as_bytes().get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
