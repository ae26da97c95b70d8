//! Follows JSON while it is written: [`JsonReader`].

use std::collections::VecDeque;
use std::mem;

use serde::de::IgnoredAny;

/// The most levels that serde_json reads.
const DEEPEST: usize = 127;

/// Reads JSON that arrives in pieces, each character once. It knows its place in the JSON, and cuts
/// one list into its elements.
///
/// It skips text around the JSON, such as a code fence. Brackets that begin no JSON, such as those of
/// `[see below]`, are text, too, as long as no list inside them is the one to cut.
#[derive(Debug, Default)]
pub(crate) struct JsonReader {
    /// The names and positions on the way to the list, if there is one to cut.
    path: Option<Vec<String>>,
    /// The objects and lists that are open.
    open: Vec<Level>,
    /// The number of open levels, from the outermost, in which the latest member or element is on
    /// the way to the list.
    on_way: usize,
    token: Token,
    next: Next,
    /// The number of levels that are open inside the list, once it has begun.
    inside: Option<usize>,
    /// The JSON of the element that has begun.
    element: String,
    /// The list has had an element.
    has_cut: bool,
    /// A list was empty, which may have been text.
    was_empty: bool,
    /// The elements that are whole.
    pub(crate) whole: VecDeque<String>,
    /// Set after the list: whether its end was right.
    pub(crate) ended_well: Option<bool>,
}

/// An object or a list that is open.
#[derive(Debug)]
struct Level {
    is_list: bool,
    /// The number of elements or members that have begun.
    count: usize,
    /// The name of the latest member, as JSON without its first quote.
    name: String,
}

/// A value that has no brackets, and has begun.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Token {
    #[default]
    None,
    Text {
        /// The character before is a backslash that begins an escape.
        is_escaped: bool,
    },
    /// A number, `true`, `false` or `null`, and white space. Only the next character shows its end.
    Word,
}

/// The kind of character that may come next in the innermost level.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Next {
    #[default]
    Value,
    Name,
    Colon,
    Comma,
}

impl JsonReader {
    /// Creates a reader that cuts the list at a JSON pointer (RFC 6901).
    pub(crate) fn of_list(pointer: &str) -> Self {
        let steps = pointer.split('/').skip(1);
        let path = steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        Self { path: Some(path), ..Self::default() }
    }

    pub(crate) fn read(&mut self, text: &str) {
        let mut chars = text.chars();
        while let (None, Some(c)) = (self.ended_well, chars.next()) {
            self.step(c);
        }
    }

    /// Returns whether the list has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.inside.is_some()
    }

    /// Returns whether the list has ended, and its end was right.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended_well == Some(true) || self.was_empty && !self.has_begun()
    }

    /// Returns the place as a JSON pointer.
    pub(crate) fn pointer(&self) -> String {
        let escaped = |level: &Level| level.step().replace('~', "~0").replace('/', "~1");
        self.open.iter().map(|level| format!("/{}", escaped(level))).collect()
    }

    fn step(&mut self, c: char) {
        match self.token {
            Token::Text { is_escaped } => return self.in_text(c, is_escaped),
            Token::Word if c.is_ascii_alphanumeric() || "+-. \t\r\n".contains(c) => {
                return self.keep(c);
            }
            Token::Word if self.is_no_element() => return self.fail(c),
            Token::Word => self.end_value(),
            Token::None => {}
        }
        if !c.is_ascii_whitespace() {
            self.structure(c);
        }
    }

    fn in_text(&mut self, c: char, is_escaped: bool) {
        self.keep(c);
        let is_name = self.next == Next::Name;
        if let Some(level) = self.open.last_mut().filter(|_| is_name && self.inside.is_none()) {
            level.name.push(c);
        }
        match (c, is_escaped) {
            ('"', false) if is_name => {
                (self.token, self.next) = (Token::None, Next::Colon);
                self.follow();
            }
            ('"', false) => self.end_value(),
            _ => self.token = Token::Text { is_escaped: c == '\\' && !is_escaped },
        }
    }

    /// Reads a character outside of strings and words.
    fn structure(&mut self, c: char) {
        let Some(Level { is_list, count, name }) = self.open.last_mut() else {
            if matches!(c, '{' | '[') {
                self.begin(c);
            }
            return;
        };
        let may_end = self.next == Next::Comma || *count == 0;
        match (self.next, c) {
            (Next::Value, '{' | '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n') => self.begin(c),
            (Next::Name, '"') => {
                *count += 1;
                name.clear();
                self.token = Token::Text { is_escaped: false };
                self.keep(c);
            }
            (Next::Colon, ':') => {
                self.next = Next::Value;
                self.keep(c);
            }
            (Next::Comma, ',') => {
                self.next = if *is_list { Next::Value } else { Next::Name };
                self.keep(c);
            }
            (Next::Comma | Next::Value, ']') if *is_list && may_end => self.close(c),
            (Next::Comma | Next::Name, '}') if !*is_list && may_end => self.close(c),
            _ => self.fail(c),
        }
    }

    /// Begins a value.
    fn begin(&mut self, c: char) {
        if let Some(level) = self.open.last_mut().filter(|level| level.is_list) {
            level.count += 1;
            self.follow();
        }
        match c {
            '{' | '[' => {
                let is_list = c == '[';
                let goal = self.path.as_ref().map(Vec::len).filter(|goal| *goal == self.on_way);
                let is_ours = is_list && self.inside.is_none() && goal == Some(self.open.len());
                if self.open.len() == DEEPEST {
                    return self.fail(' ');
                }
                self.open.push(Level { is_list, count: 0, name: String::new() });
                self.next = if is_list { Next::Value } else { Next::Name };
                if is_ours {
                    self.inside = Some(self.open.len());
                    return;
                }
            }
            '"' => self.token = Token::Text { is_escaped: false },
            _ => self.token = Token::Word,
        }
        self.keep(c);
    }

    fn close(&mut self, c: char) {
        if self.inside == Some(self.open.len()) {
            self.was_empty = !self.has_cut && self.open.len() == 1;
            match self.was_empty {
                true => self.restart(), // it may have been text
                false => self.ended_well = Some(true),
            }
            return;
        }
        self.keep(c);
        self.open.pop();
        self.on_way = self.on_way.min(self.open.len());
        self.end_value();
    }

    /// Notes whether the member or element that has begun is on the way to the list.
    fn follow(&mut self) {
        let depth = self.open.len().saturating_sub(1);
        let step = self.path.as_ref().and_then(|path| path.get(depth));
        if self.on_way >= depth {
            let is_on_way = |level: &Level| step.is_some_and(|step| level.step() == *step);
            self.on_way = depth + usize::from(self.open.last().is_some_and(is_on_way));
        }
    }

    fn end_value(&mut self) {
        self.token = Token::None;
        self.next = if self.open.is_empty() { Next::Value } else { Next::Comma };
        if self.inside == Some(self.open.len()) {
            self.has_cut = true;
            self.whole.push_back(mem::take(&mut self.element));
        }
    }

    /// Returns whether the word that ends now would be an element of the list, and is not JSON.
    fn is_no_element(&self) -> bool {
        self.inside == Some(self.open.len())
            && serde_json::from_str::<IgnoredAny>(&self.element).is_err()
    }

    /// Notes that the JSON is none: it was only text, unless the list has begun.
    fn fail(&mut self, c: char) {
        if self.inside.is_some_and(|inside| self.has_cut || self.open.len() > inside) {
            self.ended_well = Some(false);
        } else {
            self.restart();
            self.structure(c);
        }
    }

    /// Looks for the list again: what came before was only text.
    fn restart(&mut self) {
        let (path, was_empty) = (self.path.take(), self.was_empty);
        *self = Self { path, was_empty, ..Self::default() };
    }

    /// Adds a character to the element, if one has begun.
    fn keep(&mut self, c: char) {
        let is_simple = self.token != Token::None;
        if self.inside.is_some_and(|inside| self.open.len() > inside || is_simple) {
            self.element.push(c);
        }
    }
}

impl Level {
    /// Returns the name of the member, or the position of the element.
    fn step(&self) -> String {
        match self.is_list {
            true => self.count.saturating_sub(1).to_string(),
            false => serde_json::from_str(&format!("\"{}", self.name)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Returns the elements and how the list ended. The text comes in pieces of `size` characters.
    fn elements(text: &str, pointer: &str, size: usize) -> (Vec<Value>, Option<bool>) {
        let mut reader = JsonReader::of_list(pointer);
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(size) {
            reader.read(&piece.iter().collect::<String>());
        }
        let whole = reader.whole.iter().map(|element| serde_json::from_str(element).unwrap());
        (whole.collect(), reader.ended_well.or(reader.is_whole().then_some(true)))
    }

    #[test]
    fn a_list_is_found_and_cut() {
        for (text, pointer, expected) in [
            ("[1, -2.5e3, \"a\", true, null]", "", r#"[1,-2500.0,"a",true,null]"#),
            ("[]", "", "[]"),
            (r#"{"a": {"b": [[1, 2], {"c": "]"}]}, "d": 1}"#, "/a/b", r#"[[1,2],{"c":"]"}]"#),
            (
                r#"{"a": [1], "b": [{"s": "x\"]\\"}, "\ud83c\udf88"]}"#,
                "/b",
                r#"[{"s":"x\"]\\"},"🎈"]"#,
            ),
            (r#"[{"x": [1]}, {"x": [2, 3]}]"#, "/1/x", "[2,3]"),
            (r#"{"a/b": {"~": [7]}}"#, "/a~1b/~0", "[7]"),
            (r#"{"\u0061": [8]}"#, "/a", "[8]"),
            // Text around the JSON.
            ("Sure, see [below] {or not}:\n```json\n{\"a\": [1]}\n```\nDone [2].", "/a", "[1]"),
            ("[1] says: {\"a\": [2]}", "/a", "[2]"),
            ("[see below] [the list] [1 of 2] [, ] [1]", "", "[1]"),
            ("[ 1 , 2\t,\n3\n]", "", "[1,2,3]"),
            ("- [ ] a\n[] [1, 2]", "", "[1,2]"),
            (r#"{"a": [], "b": {"a": [1]}}"#, "/a", "[]"),
            (r#"{"x": {"a": [1]}, "a": [[0], [2]]}"#, "/a/1", "[2]"),
            // Only the first one counts.
            (r#"{"a": [1], "a": [2]}"#, "/a", "[1]"),
        ] {
            let expected: Value = serde_json::from_str(expected).unwrap();
            for size in [1, 2, 3, 1000] {
                let (whole, end) = elements(text, pointer, size);
                assert_eq!((Value::from(whole), end), (expected.clone(), Some(true)), "{text}");
            }
        }
    }

    #[test]
    fn what_is_missing_or_broken_is_no_list() {
        for (text, pointer, count, end) in [
            ("no JSON", "", 0, None),
            (r#"{"a": {"b": 1}}"#, "/a", 0, None),
            (r#"{"a": [1]}"#, "/b", 0, None),
            ("[1, 2", "", 1, None),
            ("[1, 2 ", "", 1, None),
            ("[1, 2 3]", "", 1, Some(false)),
            ("[1, [see]]", "", 1, Some(false)),
            ("[1, 2}", "", 2, Some(false)),
            ("[1,,2]", "", 1, Some(false)),
            ("[1,]", "", 1, Some(false)),
            ("[{\"a\" 1}]", "", 0, Some(false)),
            (&"[".repeat(500), "/0", 0, Some(false)),
        ] {
            let (whole, ended) = elements(text, pointer, 1);
            assert_eq!((whole.len(), ended), (count, end), "{text}");
        }
    }

    #[test]
    fn only_the_open_element_is_kept() {
        let element = r#"{"name": "x", "of": [1, 2, [3]]}"#;
        let mut reader = JsonReader::of_list("/list");
        reader.read("{\"before\": {\"a\": 1}, \"list\": [");
        for _ in 0..1000 {
            for c in format!("{element}, ").chars() {
                reader.read(&c.to_string());
                assert!(reader.element.capacity() <= 2 * element.len());
                assert!(reader.open.len() <= 5 && reader.open.capacity() <= 8);
            }
            assert_eq!(reader.whole.drain(..).count(), 1);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\],:é🎈\n ]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\/~é]{0,4}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever the JSON and the pieces, the elements are those that serde_json reads. Before
        /// the end, no element comes that is not whole.
        #[test]
        fn the_elements_are_those_of_serde_json(
            list in prop::collection::vec(json(), 0..6), pretty in any::<bool>(), size in 1_usize..9,
        ) {
            let document = serde_json::json!({"before": {"list": 1}, "list": list, "z": [1]});
            let text = match pretty {
                true => serde_json::to_string_pretty(&document).unwrap(),
                false => document.to_string(),
            };
            prop_assert_eq!(elements(&text, "/list", size), (list.clone(), Some(true)));
            for (cut, _) in text.char_indices() {
                let (whole, _) = elements(text.get(..cut).unwrap(), "/list", 1000);
                prop_assert_eq!(Some(&*whole), list.get(..whole.len()));
            }
        }
    }
}
