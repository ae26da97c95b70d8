//! Tests that the scanner and `serde_json` accept the same texts and read the same values from
//! them.

use std::fmt::Debug;

use super::*;
use crate::protocol::api_error::ErrorFields;
use crate::protocol::wire::{First, Raw, wire};
use crate::protocol::{chat_completions, cohere_chat, generate_content, messages, responses};

wire! {
    struct Outer { name = "a", inner: Option<Inner<'a>>, items: First<Inner<'a>> }
    struct Inner by index { index, name = "a", inner: Innermost<'a> }
    struct Innermost { name = "a" }
}

/// Returns whether a text is valid JSON, and checks that the scanner and `serde_json` agree.
fn is_read<'a, T: Field<'a> + Deserialize<'a> + Debug + PartialEq>(json: &'a str) -> bool {
    match (read::<T>(json), serde_json::from_str::<T>(json)) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs, "{json}");
            true
        }
        (Err(error), Err(_)) => {
            assert!(!error.is_data(), "{json}: {error}");
            false
        }
        (ours, theirs) => panic!("{json}: {ours:?}, but {theirs:?}"),
    }
}

/// Valid JSON values and invalid texts that resemble them. The flag says which is valid.
const VALUES: &[(&str, bool)] = &[
    ("null", true),
    ("nul", false),
    ("nulll", false),
    ("NULL", false),
    ("true", true),
    ("false", true),
    ("fals", false),
    ("0", true),
    ("-0", true),
    ("01", false),
    ("-01", false),
    ("00", false),
    ("10", true),
    ("-", false),
    ("+1", false),
    ("--1", false),
    ("1.", false),
    (".1", false),
    ("1.0", true),
    ("0.0", true),
    ("1.e1", false),
    ("1e", false),
    ("1e+", false),
    ("1e5", true),
    ("1E-05", true),
    ("1e1.0", false),
    ("1 2", false),
    ("0x1", false),
    ("1e-999", true),
    ("Infinity", false),
    ("NaN", false),
    ("\"\"", true),
    ("\"a", false),
    ("a\"", false),
    ("'a'", false),
    ("\"a\u{7f}é日👩\u{2028}\"", true),
    ("\"a\0\"", false),
    ("\"a\u{1f}\"", false),
    ("\"a\n\"", false),
    ("\"12345678901234567890\t\"", false),
    (r#""\"\\\/\b\f\n\r\t""#, true),
    (r#""\u00e9\uD83D\uDE00""#, true),
    (r#""\u00e""#, false),
    (r#""\u00eg""#, false),
    (r#""\u00é""#, false),
    (r#""\x41""#, false),
    (r#""\'""#, false),
    (r#""\U00e9""#, false),
    (r#""\""#, false),
    (r#""1234567\""#, false),
    (r#""1234567\\""#, true),
    ("\"\\\n\"", false),
    ("[]", true),
    ("[ ]", true),
    ("[1, [2], {}]", true),
    ("[1,]", false),
    ("[,1]", false),
    ("[1 2]", false),
    ("[1", false),
    ("[", false),
    ("]", false),
    ("[}", false),
    ("[1}", false),
    ("{}", true),
    ("{\t\r\n }", true),
    ("{\u{c}}", false),
    ("\u{a0}1", false),
    (r#"{"a": 1, "a": [2]}"#, true),
    (r#"{"a": 1,}"#, false),
    (r#"{"a" 1}"#, false),
    (r#"{"a":: 1}"#, false),
    (r#"{"a": }"#, false),
    (r#"{"a"}"#, false),
    (r#"{"a": 1"#, false),
    (r#"{"a": 1]"#, false),
    (r"{a: 1}", false),
    (r"{1: 1}", false),
    (r#"{,"a": 1}"#, false),
    (r#"{"a": 1 "b": 2}"#, false),
    (r#"{"\u0061": 1, "\u0062": 2}"#, true),
    (r#"{"\u006": 1}"#, false),
    (r#"{"a": 1} // no"#, false),
    ("", false),
];

/// Values that are invalid only where they are parsed: `serde_json` does not check skipped values.
const UNREAD: &[&str] =
    &["1e999", "-1e999", r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83dx""#];

#[test]
fn what_is_json_is_what_serde_json_says() {
    let unread = UNREAD.iter().map(|value| (*value, true));
    for (value, is_json) in VALUES.iter().copied().chain(unread) {
        for (before, behind, typed) in [
            ("", "", true),
            (" \t\r\n", " \t\r\n", true),
            ("{\"a\":", "}", false),
            ("{\"a\": ", " , \"b\": 1}", false),
            ("{\"new\": ", "}", false),
            ("{\"new\": [", "]}", false),
            ("{\"new\": {\"a\": [{\"b\":", "}]}}", false),
            ("{\"inner\":", "}", true),
            ("{\"inner\": {\"inner\": ", "}}", true),
            ("{\"items\":", "}", true),
            ("{\"items\": [", "]}", true),
            ("{\"items\": [{\"a\":", "}]}", false),
            ("[", "]", false),
        ] {
            let json = format!("{before}{value}{behind}");
            let is_json = is_json || (value.is_empty() && before.ends_with('['));
            assert_eq!(is_read::<Raw<'_>>(&json), is_json, "{json}");
            let is_refused = typed && UNREAD.contains(&value);
            assert_eq!(is_read::<Outer<'_>>(&json), is_json && !is_refused, "{json}");
        }
    }
    for name in ["\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83dx\""] {
        for (json, is_json) in [
            (format!("{{{name}: 1}}"), false),
            (format!("{{\"a\": {{{name}: 1}}}}"), true),
            (format!("{{\"new\": {{{name}: 1}}}}"), true),
            (format!("{{\"inner\": {{{name}: 1}}}}"), false),
            (format!("{{\"items\": {{{name}: 1}}}}"), false),
        ] {
            assert_eq!(is_read::<Outer<'_>>(&json), is_json, "{json}");
        }
    }
}

#[test]
fn what_is_wrong_serde_json_says() {
    for (json, error) in [
        ("{\"a\": 01}", "invalid number at line 1 column 8"),
        ("{\"a\": \"\0\"}", "control character"),
        ("{\"a\": 1", "EOF while parsing an object at line 1 column 7"),
        ("{} {}", "trailing characters at line 1 column 4"),
        ("{\"inner\": \"\\ud83d\"}", "unexpected end of hex escape"),
        ("{\"inner\": 1e999}", "number out of range"),
        ("{\"\\ude00\": 1}", "lone leading surrogate in hex escape"),
    ] {
        let told = read::<Outer<'_>>(json).unwrap_err().to_string();
        assert!(told.starts_with(error), "{json}: {told}");
    }
}

#[test]
fn any_depth_is_passed_over() {
    for depth in [1, LEVELS - 1, LEVELS, LEVELS + 1, 127, 128, 129, 10_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[1,{\"b\":", "}]")] {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            for (json, is_json) in [
                (format!("{open}1{close}"), true),
                (format!("{open}01{close}"), false),
                (format!("{open}1{close}]"), false),
                (format!("{open}1"), false),
                (format!("{open}1,{close}"), false),
            ] {
                for (before, behind) in [("{\"new\":", "}"), ("{\"inner\":", "}"), ("", "")] {
                    let json = format!("{before}{json}{behind}");
                    assert_eq!(is_read::<Outer<'_>>(&json), is_json);
                    assert_eq!(is_read::<Raw<'_>>(&json), is_json);
                }
            }
        }
    }
}

/// A random number generator that produces the same numbers in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit.max(1)
    }

    /// Returns a random offset at which a text can be split.
    fn place(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn spoil(&mut self, text: &mut String) {
        const PIECES: &[&str] = &[
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "\0",
            "\u{1f}",
            "\u{7f}",
            "é",
            "0",
            "1",
            "-",
            ".",
            "e",
            "E",
            "+",
            "01",
            "1.",
            "1e",
            "1e999",
            "-1e999",
            "0.5",
            "null",
            "nul",
            "true",
            "fals",
            "\\u",
            "\\u006",
            "\\ud83d",
            "\\ude00",
            "\\ud83d\\ude00",
            "\\x",
            "\\\"",
            "\"\"",
            "{}",
            "[]",
            "\"a\":1,",
            ",\"a\":1",
            "\"choices\":",
            "\"\\u0063hoices\":[{}],",
            "\"d\\u0065lta\":5,",
            "\"\\ud83d\":1,",
            "[[[[",
            "]]]]",
        ];
        let (one, other) = (self.place(text), self.place(text));
        let (from, to) = (one.min(other), one.max(other));
        let to_next =
            (from + 1..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
        match self.below(8) {
            0 => drop(text.drain(from..to_next)),
            1 => text.truncate(from),
            2 if to - from < 100 => drop(text.drain(from..to)),
            3 => {
                let piece = text.get(from..to).unwrap().to_owned();
                text.insert_str(one, &piece);
            }
            4 if to_next == from + 1 => {
                let byte = text.as_bytes()[from] ^ (1 << self.below(7));
                text.replace_range(from..to_next, &char::from(byte & 0x7f).to_string());
            }
            5 => {
                let deep = self.below(300);
                text.insert_str(from, &"[".repeat(deep));
                text.insert_str(from + deep, &"]".repeat(deep));
            }
            6 => text.replace_range(from..to_next, PIECES[self.below(PIECES.len())]),
            _ => text.insert_str(from, PIECES[self.below(PIECES.len())]),
        }
    }
}

fn is_same_everywhere(folder: &str, json: &str) {
    is_read::<Raw<'_>>(json);
    is_read::<ErrorFields<'_>>(json);
    match folder {
        "anthropic-messages" => {
            is_read::<messages::MessagesEvent<'_>>(json);
            is_read::<messages::WholeMessage<'_>>(json);
        }
        "cohere-v2" => _ = is_read::<cohere_chat::CohereEvent<'_>>(json),
        "google-gemini" => _ = is_read::<generate_content::GeminiEvent<'_>>(json),
        "openai-responses" => {
            is_read::<responses::ResponsesEvent<'_>>(json);
            is_read::<responses::ResponseObject<'_>>(json);
        }
        _ => {
            is_read::<chat_completions::ChatEvent<'_>>(json);
            is_read::<chat_completions::FlatError<'_>>(json);
        }
    }
}

#[test]
#[ignore = "reads the recordings in $KERB_STREAM_SHARED"]
fn recorded_events_and_what_is_made_of_them() {
    let shared = std::env::var("KERB_STREAM_SHARED").expect("KERB_STREAM_SHARED is set");
    let (mut dice, mut events, mut spoiled) = (Dice(0x9e37_79b9_7f4a_7c15), 0, 0);
    for set in ["streams", "streams-2"] {
        for folder in std::fs::read_dir(format!("{shared}/{set}")).unwrap() {
            let folder = folder.unwrap().path();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            let Ok(files) = std::fs::read_dir(&folder) else { continue };
            let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "sse"));
            files.sort();
            for file in files {
                let stream = std::fs::read(file).unwrap();
                let stream = String::from_utf8_lossy(&stream);
                for data in stream.lines().filter_map(|line| line.strip_prefix("data:")) {
                    is_same_everywhere(&name, data);
                    events += 1;
                    // Large events get fewer variants, because they would take most of the time.
                    for _ in 0..(20_000 / data.len().max(1)).clamp(1, 12) {
                        let mut data = data.to_owned();
                        for _ in 0..=dice.below(3) {
                            dice.spoil(&mut data);
                        }
                        is_same_everywhere(&name, &data);
                        spoiled += 1;
                    }
                }
            }
        }
    }
    assert!(events > 50_000 && spoiled > 500_000, "{events} events, {spoiled} spoiled");
}
