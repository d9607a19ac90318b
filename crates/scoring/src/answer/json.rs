//! JSON text that is checked once, iteratively, and then walked without copying. No depth of nesting can exhaust the
//! stack. The words `NaN`, `Infinity` and `-Infinity`, which Python writes, are read as numbers so that whoever asks
//! for the number can say which one is not finite.

use std::borrow::Cow;

/// Containers within containers; one bit each.
const MAX_DEPTH: u32 = u128::BITS;

const NUMBER_WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// One value: exactly its text, known to be well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    text: &'a str,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
    String,
    Number,
    Literal,
}

/// A document of one value.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub root: Value<'a>,
    /// Where the first word stands that is a number in Python only.
    pub first_number_word: Option<usize>,
}

impl<'a> Document<'a> {
    /// Checks a text; the error says what is wrong at which byte.
    pub fn read(text: &'a str) -> Result<Self, String> {
        let mut checker = Checker { text, at: 0, depth: 0, objects: 0, first_number_word: None };
        checker.document()?;
        let root = Value { text: text.trim_matches(is_whitespace) };
        Ok(Document { root, first_number_word: checker.first_number_word })
    }
}

fn is_whitespace(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

impl<'a> Value<'a> {
    /// Its type.
    pub fn kind(self) -> Kind {
        match self.text.as_bytes()[0] {
            b'{' => Kind::Object,
            b'[' => Kind::List,
            b'"' => Kind::String,
            b't' | b'f' | b'n' => Kind::Literal,
            _ => Kind::Number,
        }
    }

    /// The number, correctly rounded; infinite when it is too large. `None` when this is no number.
    pub fn number(self) -> Option<f64> {
        match self.text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text if self.kind() == Kind::Number => text.parse().ok(),
            _ => None,
        }
    }

    /// The string; `None` when this is none.
    pub fn string(self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| unescape(self.text))
    }

    /// The elements of a list; none when this is no list.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let mut items = Items::of(self, Kind::List);
        std::iter::from_fn(move || items.next())
    }

    /// The keys and values of an object; none when this is no object.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        let mut items = Items::of(self, Kind::Object);
        std::iter::from_fn(move || Some((unescape(items.next()?.text), items.next()?)))
    }

    /// What it is, for a reason that is shown to its author.
    pub fn describe(self) -> String {
        match self.kind() {
            Kind::Object => "an object".into(),
            Kind::List => "a list".into(),
            Kind::String => format!("the string {}", excerpt(self.text)),
            Kind::Number | Kind::Literal => excerpt(self.text),
        }
    }
}

/// The start of a text.
pub(super) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 40;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The start of a text between backticks, safe to print: nothing in it moves the cursor.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", excerpt(text).escape_debug())
}

fn unescape(quoted: &str) -> Cow<'_, str> {
    let inside = &quoted[1..quoted.len() - 1];
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    // Half a surrogate pair is well formed but no text: such a string equals nothing that we look for.
    serde_json::from_str(quoted).map_or(Cow::Borrowed(inside), Cow::Owned)
}

/// Walks what stands in a container, one value (or key) after the other.
#[derive(Debug)]
struct Items<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Items<'a> {
    fn of(value: Value<'a>, kind: Kind) -> Self {
        if value.kind() == kind {
            Items { text: &value.text[..value.text.len() - 1], at: 1 }
        } else {
            Items { text: "", at: 0 }
        }
    }

    fn next(&mut self) -> Option<Value<'a>> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
        if self.at == bytes.len() {
            return None;
        }
        let start = self.at;
        self.at = end_of_value(bytes, start);
        Some(Value { text: &self.text[start..self.at] })
    }
}

/// The end of the well-formed value that starts at `start`.
fn end_of_value(bytes: &[u8], start: usize) -> usize {
    match bytes[start] {
        b'"' => end_of_string(bytes, start),
        b'{' | b'[' => end_of_container(bytes, start),
        _ => bytes[start..]
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
            .map_or(bytes.len(), |length| start + length),
    }
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn end_of_container(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_u32;
    let mut at = start;
    loop {
        match bytes[at] {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
}

/// One pass over the whole text.
#[derive(Debug)]
struct Checker<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Which of the open containers are objects; the innermost is the lowest bit.
    objects: u128,
    first_number_word: Option<usize>,
}

impl Checker<'_> {
    fn document(&mut self) -> Result<(), String> {
        loop {
            let entered = self.value()?;
            if !entered && !self.after_value()? {
                break;
            }
        }
        self.skip_whitespace();
        if self.at == self.text.len() { Ok(()) } else { Err(self.unexpected("the end of the text")) }
    }

    /// Passes a scalar or an empty container; or enters another one up to its first value, and says so.
    fn value(&mut self) -> Result<bool, String> {
        self.skip_whitespace();
        match self.peek() {
            Some(b'{') => self.enter(1, b'}'),
            Some(b'[') => self.enter(0, b']'),
            Some(b'"') => self.string().map(|()| false),
            _ => self.scalar().map(|()| false),
        }
    }

    fn enter(&mut self, object: u128, close: u8) -> Result<bool, String> {
        self.at += 1;
        self.skip_whitespace();
        if self.eat(close) {
            return Ok(false);
        }
        if self.depth == MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels at byte {}", self.at));
        }
        self.depth += 1;
        self.objects = self.objects << 1 | object;
        if object == 1 {
            self.key()?;
        }
        Ok(true)
    }

    /// Closes what ends here; true when another value follows.
    fn after_value(&mut self) -> Result<bool, String> {
        while self.depth > 0 {
            self.skip_whitespace();
            let in_object = self.objects & 1 == 1;
            if self.eat(b',') {
                if in_object {
                    self.key()?;
                }
                return Ok(true);
            }
            let (close, expected) = if in_object { (b'}', "`,` or `}`") } else { (b']', "`,` or `]`") };
            if !self.eat(close) {
                return Err(self.unexpected(expected));
            }
            self.depth -= 1;
            self.objects >>= 1;
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<(), String> {
        self.skip_whitespace();
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        self.string()?;
        self.skip_whitespace();
        if self.eat(b':') { Ok(()) } else { Err(self.unexpected("`:`")) }
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(byte) if byte >= 0x20 => self.at += 1,
                Some(_) => return Err(self.unexpected("no control character within a string")),
                None => return Err(self.unexpected("the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        self.at += 1;
        let length = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
            Some(b'u') if self.has_four_hex_digits() => 5,
            _ => return Err(self.unexpected("an escape such as \\n or \\u00e9")),
        };
        self.at += length;
        Ok(())
    }

    fn has_four_hex_digits(&self) -> bool {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    }

    fn scalar(&mut self) -> Result<(), String> {
        let rest = &self.text.as_bytes()[self.at..];
        let length =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
        let word = &self.text[self.at..self.at + length];
        if NUMBER_WORDS.contains(&word) {
            self.first_number_word.get_or_insert(self.at);
        } else if !matches!(word, "true" | "false" | "null") && !is_number(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += length;
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> String {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || "+-.".contains(*c)).collect();
        let found = match rest.chars().next() {
            None => "the text ends".into(),
            Some(first) if word.is_empty() => format!("found {first:?}"),
            Some(_) => format!("found `{}`", excerpt(&word)),
        };
        format!("not valid JSON at byte {}: expected {expected}, {found}", self.at)
    }
}

/// -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
fn is_number(word: &[u8]) -> bool {
    fn digits(word: &[u8]) -> Option<&[u8]> {
        let count = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then(|| &word[count..])
    }
    fn rest_after_number(word: &[u8]) -> Option<&[u8]> {
        let word = word.strip_prefix(b"-").unwrap_or(word);
        let mut rest = match word.strip_prefix(b"0") {
            Some(rest) => rest,
            None => digits(word)?,
        };
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = digits(fraction)?;
        }
        if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
            let unsigned = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-"));
            rest = digits(unsigned.unwrap_or(exponent))?;
        }
        Some(rest)
    }
    rest_after_number(word).is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_is_walked_without_its_whitespace() {
        let text = " { \"a\" : [ 1 , \"x]}\\\"\" , { } , [ ] , null ] ,\n\"\\u0062\":-0.5e+3 } ";
        let document = Document::read(text).unwrap();
        let members: Vec<_> = document.root.members().collect();
        assert_eq!(members.len(), 2);
        assert_eq!((members[1].0.as_ref(), members[1].1.number()), ("b", Some(-500.0)));
        let kinds: Vec<Kind> = members[0].1.elements().map(Value::kind).collect();
        assert_eq!(kinds, [Kind::Number, Kind::String, Kind::Object, Kind::List, Kind::Literal]);
        assert_eq!(members[0].1.elements().nth(1).unwrap().string().unwrap(), "x]}\"");
    }

    #[test]
    fn what_python_prints_is_named_in_the_reason() {
        let reason = |text: &str| Document::read(text).unwrap_err();
        assert_eq!(reason("[None]"), "not valid JSON at byte 1: expected a value, found `None`");
        assert_eq!(
            reason("{'a': 1}"),
            "not valid JSON at byte 1: expected a key in double quotes, found '\\''"
        );
        assert_eq!(reason("[1"), "not valid JSON at byte 2: expected `,` or `]`, the text ends");
        assert_eq!(reason("é"), "not valid JSON at byte 0: expected a value, found `é`");
    }

    #[test]
    fn no_depth_exhausts_the_stack() {
        let reason = Document::read(&"[".repeat(100_000)).unwrap_err();
        assert!(reason.starts_with("nested deeper than 128 levels"), "{reason}");
        let deepest = format!("{}1{}", "[".repeat(128), "]".repeat(128));
        assert!(Document::read(&deepest).is_ok());
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    proptest! {
        #[test]
        fn well_formed_means_what_serde_json_says(text in r#"([\[\]{},:" ]|"a"|"\\u00e9"|"\\x"|-?[0-9]{1,2}|[.eE+-]|null|true|fals|1e9){0,12}"#) {
            prop_assert_eq!(Document::read(&text).is_ok(), is_json(&text), "{}", text);
        }

        #[test]
        fn a_damaged_document_is_judged_as_serde_json_does(at in 0usize..60, by in "[\\[\\]{},:\"0-9a-z.\\\\-]?") {
            let mut text = r#"[{"type": "x", "p": {"a": -1.5e-3, "b": [0, 10]}}, [], {}, ""]"#.to_owned();
            text.replace_range(at..at + 1, &by);
            prop_assert_eq!(Document::read(&text).is_ok(), is_json(&text), "{}", text);
        }

        #[test]
        fn numbers_are_read_to_the_last_bit(number in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let text = format!("{number:e}");
            let read = Document::read(&text).unwrap().root.number().unwrap();
            prop_assert_eq!(read.to_bits(), number.to_bits());
        }
    }
}
