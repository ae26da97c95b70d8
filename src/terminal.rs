//! Makes text safe to print on a terminal: [`terminal_safe`].

use std::fmt::{self, Write as _};

/// Returns `text` in a form that cannot control a terminal: control characters become visible
/// symbols.
///
/// The text of a model is untrusted. Escape sequences can move the cursor, rename windows or fill
/// the clipboard, and characters that change the direction of writing can make text read as
/// something else. Line feeds and tabs are kept. Each character is handled alone, so the chunks of
/// a stream can be passed to this function one at a time.
///
/// ```
/// use kerb_stream::terminal_safe;
///
/// assert_eq!(terminal_safe("two\nlines").to_string(), "two\nlines");
/// assert_eq!(terminal_safe("\u{1b}[2J\u{7}").to_string(), "␛[2J␇");
/// assert_eq!(terminal_safe("a\u{61c}b\u{202e}c").to_string(), "a\u{fffd}b\u{fffd}c");
/// ```
pub fn terminal_safe(text: &str) -> TerminalSafe<'_> {
    TerminalSafe(text)
}

/// Text that is safe to print on a terminal, returned by [`terminal_safe`].
#[derive(Debug, Clone, Copy)]
pub struct TerminalSafe<'a>(&'a str);

impl fmt::Display for TerminalSafe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_unsafe) {
            let (safe, from) = rest.split_at(at);
            f.write_str(safe)?;
            let mut chars = from.chars();
            f.write_char(chars.next().map_or(' ', visible))?;
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the [control picture](https://www.unicode.org/charts/PDF/U2400.pdf) of a character, or
/// the replacement character if there is none.
fn visible(c: char) -> char {
    match c {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(c),
        '\u{7f}' => '␡',
        _ => char::REPLACEMENT_CHARACTER,
    }
}
