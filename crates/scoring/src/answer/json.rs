//! JSON text that is checked once, byte after byte, by whoever reads it. No depth of nesting can exhaust the stack. The
//! words `NaN`, `Infinity` and `-Infinity`, which Python writes, are read as numbers so that whoever asks for the
//! number can say which one is not finite.

use std::borrow::Cow;

use super::number;
use super::tape::Tape;

/// Containers within containers; one bit each.
const MAX_DEPTH: u32 = u128::BITS;

const NUMBER_WORDS: [(&str, f64); 3] =
    [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
    String,
    Number,
    Literal,
}

impl Kind {
    /// That of the value which starts with this byte, if one does.
    pub fn starting_with(byte: u8) -> Self {
        match byte {
            b'{' => Kind::Object,
            b'[' => Kind::List,
            b'"' => Kind::String,
            b't' | b'f' | b'n' => Kind::Literal,
            _ => Kind::Number,
        }
    }
}

/// What is wrong at which byte of a text that is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed(pub String);

/// A number: its value and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Correctly rounded; infinite when it is too large, or one of Python's words.
    pub value: f64,
    pub start: u32,
    pub end: u32,
}

/// A place in a text: all before it is well formed. The text is shorter than 4 GiB.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Which of the open containers are objects; the innermost is the lowest bit.
    objects: u128,
    /// Where the first word stands that is a number in Python only.
    first_number_word: Option<usize>,
}

impl<'a> Cursor<'a> {
    /// At the start of a text.
    pub fn new(text: &'a str) -> Self {
        Cursor { text, at: 0, depth: 0, objects: 0, first_number_word: None }
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The byte at which it stands.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Goes back to a place within the container that it stands in.
    pub fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Where the first word stood that is a number in Python only.
    pub fn first_number_word(&self) -> Option<usize> {
        self.first_number_word
    }

    /// True when a value of this type comes next.
    pub fn is_at(&mut self, kind: Kind) -> bool {
        self.skip_whitespace();
        self.peek().map(Kind::starting_with) == Some(kind)
    }

    /// Passes one value and notes what it consists of.
    pub fn value(&mut self, tape: &mut Tape) -> Result<(), Malformed> {
        tape.clear();
        let around = self.depth;
        loop {
            if self.scalar_or_first_value(tape)? {
                continue;
            }
            while self.depth > around && !self.next_value(tape)? {
                tape.close(self.at);
            }
            if self.depth == around {
                return Ok(());
            }
        }
    }

    /// Passes a scalar or an empty container; or enters another one up to its first value, and says so.
    fn scalar_or_first_value(&mut self, tape: &mut Tape) -> Result<bool, Malformed> {
        self.skip_whitespace();
        let start = self.at;
        match self.peek() {
            Some(b'{' | b'[') => {
                tape.open(start);
                let entered = self.enter()?;
                if !entered {
                    tape.close(self.at);
                } else if self.is_in_object() {
                    self.pass_key(tape)?;
                }
                return Ok(entered);
            }
            Some(b'"') => {
                self.pass_string()?;
                tape.scalar(start, self.at);
            }
            Some(b't' | b'f' | b'n') => {
                self.literal()?;
                tape.scalar(start, self.at);
            }
            _ => {
                let number = self.number().ok_or_else(|| self.unexpected("a value"))?;
                tape.number(number);
            }
        }
        Ok(false)
    }

    /// After a value in a container: true when another one follows, false when the container has ended.
    fn next_value(&mut self, tape: &mut Tape) -> Result<bool, Malformed> {
        let follows = self.next()?;
        if follows && self.is_in_object() {
            self.pass_key(tape)?;
        }
        Ok(follows)
    }

    fn pass_key(&mut self, tape: &mut Tape) -> Result<(), Malformed> {
        self.skip_whitespace();
        let start = self.at;
        let key = self.quoted_key()?;
        tape.scalar(start, start + key.len());
        Ok(())
    }

    /// Enters the list or object that starts here; false when it is empty, and then it is passed.
    pub fn enter(&mut self) -> Result<bool, Malformed> {
        let is_object = self.peek() == Some(b'{');
        self.at += 1;
        self.skip_whitespace();
        if self.eat(if is_object { b'}' } else { b']' }) {
            return Ok(false);
        }
        if self.depth == MAX_DEPTH {
            return Err(Malformed(format!("nested deeper than {MAX_DEPTH} levels at byte {}", self.at)));
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        Ok(true)
    }

    /// After a value in a container: true when a comma follows, false when the container ends, and then it is left.
    pub fn next(&mut self) -> Result<bool, Malformed> {
        self.skip_whitespace();
        if self.eat(b',') {
            return Ok(true);
        }
        let (close, expected) = if self.is_in_object() { (b'}', "`,` or `}`") } else { (b']', "`,` or `]`") };
        if !self.eat(close) {
            return Err(self.unexpected(expected));
        }
        self.depth -= 1;
        self.objects >>= 1;
        Ok(false)
    }

    /// Passes a key and its colon.
    pub fn key(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.quoted_key().map(unescape)
    }

    /// Passes a key and its colon; the key as it stands, with its quotes.
    fn quoted_key(&mut self) -> Result<&'a str, Malformed> {
        self.skip_whitespace();
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let start = self.at;
        self.pass_string()?;
        let key = &self.text[start..self.at];
        self.skip_whitespace();
        if self.eat(b':') { Ok(key) } else { Err(self.unexpected("`:`")) }
    }

    /// Passes the end of the text.
    pub fn end(&mut self) -> Result<(), Malformed> {
        self.skip_whitespace();
        if self.at == self.text.len() { Ok(()) } else { Err(self.unexpected("the end of the text")) }
    }

    /// Passes exactly these bytes, if they come next.
    #[inline]
    pub fn eat_text(&mut self, text: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(text.as_bytes());
        if found {
            self.at += text.len();
        }
        found
    }

    /// Passes a number, if one comes next.
    #[inline]
    pub fn number(&mut self) -> Option<Number> {
        let rest = &self.text.as_bytes()[self.at..];
        let (value, length) = number::leading(rest).or_else(|| self.number_word())?;
        if rest.get(length).is_some_and(|&byte| is_in_word(byte)) {
            return None;
        }
        if !value.is_finite() && !rest[length - 1].is_ascii_digit() {
            self.first_number_word.get_or_insert(self.at);
        }
        let start = self.at as u32;
        self.at += length;
        Some(Number { value, start, end: self.at as u32 })
    }

    fn number_word(&self) -> Option<(f64, usize)> {
        let rest = &self.text.as_bytes()[self.at..];
        let (word, value) = NUMBER_WORDS.iter().find(|(word, _)| rest.starts_with(word.as_bytes()))?;
        Some((*value, word.len()))
    }

    fn literal(&mut self) -> Result<(), Malformed> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().take_while(|&&byte| is_in_word(byte)).count();
        if !matches!(&rest[..length], b"true" | b"false" | b"null") {
            return Err(self.unexpected("a value"));
        }
        self.at += length;
        Ok(())
    }

    fn pass_string(&mut self) -> Result<(), Malformed> {
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

    fn escape(&mut self) -> Result<(), Malformed> {
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

    fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Passes what stands between values.
    pub fn skip_whitespace(&mut self) {
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

    fn unexpected(&self, expected: &str) -> Malformed {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word_end = rest.find(|c: char| !(c.is_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len());
        let found = match rest.chars().next() {
            None => "the text ends".into(),
            Some(first) if word_end == 0 => format!("found {first:?}"),
            Some(_) => format!("found `{}`", excerpt(&rest[..word_end])),
        };
        Malformed(format!("not valid JSON at byte {}: expected {expected}, {found}", self.at))
    }
}

/// What numbers and literals consist of, and what cannot follow one.
fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
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

/// The text of a well-formed string.
pub(super) fn unescape(quoted: &str) -> Cow<'_, str> {
    let inside = &quoted[1..quoted.len() - 1];
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    // Half a surrogate pair is well formed but no text: such a string equals nothing that we look for.
    serde_json::from_str(quoted).map_or(Cow::Borrowed(inside), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<Tape, Malformed> {
        let (mut cursor, mut tape) = (Cursor::new(text), Tape::default());
        cursor.value(&mut tape)?;
        cursor.end()?;
        Ok(tape)
    }

    #[test]
    fn a_document_is_walked_without_its_whitespace() {
        let text = " { \"a\" : [ 1 , \"x]}\\\"\" , { } , [ ] , null ] ,\n\"\\u0062\":-0.5e+3 } ";
        let tape = check(text).unwrap();
        let members: Vec<_> = tape.root(text).members().collect();
        assert_eq!(members.len(), 2);
        assert_eq!((members[1].0.as_ref(), members[1].1.slot()), ("b", Some(1)));
        assert_eq!(tape.numbers(), [1.0, -500.0]);
        let kinds: Vec<Kind> = members[0].1.elements().map(|value| value.kind()).collect();
        assert_eq!(kinds, [Kind::Number, Kind::String, Kind::Object, Kind::List, Kind::Literal]);
        assert_eq!(members[0].1.elements().nth(1).unwrap().string().unwrap(), "x]}\"");
    }

    #[test]
    fn what_python_prints_is_named_in_the_reason() {
        let reason = |text: &str| check(text).unwrap_err().0;
        assert_eq!(reason("[None]"), "not valid JSON at byte 1: expected a value, found `None`");
        assert_eq!(
            reason("{'a': 1}"),
            "not valid JSON at byte 1: expected a key in double quotes, found '\\''"
        );
        assert_eq!(reason("[1"), "not valid JSON at byte 2: expected `,` or `]`, the text ends");
        assert_eq!(reason("[01]"), "not valid JSON at byte 1: expected a value, found `01`");
        assert_eq!(reason("[1.5x]"), "not valid JSON at byte 1: expected a value, found `1.5x`");
        assert_eq!(reason("é"), "not valid JSON at byte 0: expected a value, found `é`");
    }

    #[test]
    fn the_words_of_python_are_numbers_whose_first_place_is_noted() {
        let mut cursor = Cursor::new("[1e999, -Infinity, NaN]");
        let mut tape = Tape::default();
        cursor.value(&mut tape).unwrap();
        let values = tape.numbers();
        assert_eq!(values[..2], [f64::INFINITY, f64::NEG_INFINITY]);
        assert!(values[2].is_nan());
        assert_eq!(cursor.first_number_word(), Some(8));
        assert!(check("[NaN1]").is_err());
    }

    #[test]
    fn no_depth_exhausts_the_stack() {
        let reason = check(&"[".repeat(100_000)).unwrap_err().0;
        assert!(reason.starts_with("nested deeper than 128 levels"), "{reason}");
        let deepest = format!("{}1{}", "[".repeat(128), "]".repeat(128));
        assert!(check(&deepest).is_ok());
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    proptest! {
        #[test]
        fn well_formed_means_what_serde_json_says(text in r#"([\[\]{},:" ]|"a"|"\\u00e9"|"\\x"|-?[0-9]{1,2}|[.eE+-]|null|true|fals|1e9){0,12}"#) {
            prop_assert_eq!(check(&text).is_ok(), is_json(&text), "{}", text);
        }

        #[test]
        fn a_damaged_document_is_judged_as_serde_json_does(at in 0usize..60, by in "[\\[\\]{},:\"0-9a-z.\\\\-]?") {
            let mut text = r#"[{"type": "x", "p": {"a": -1.5e-3, "b": [0, 10]}}, [], {}, ""]"#.to_owned();
            text.replace_range(at..at + 1, &by);
            prop_assert_eq!(check(&text).is_ok(), is_json(&text), "{}", text);
        }
    }
}
