//! An answer that was refused, with the place marked that the reason is about.
//!
//! A reason begins with a path into the answer, such as `[17].components[1].density.params.scale: must be > 0`, or says
//! `at byte 17`. What is kept of the answer may be cut off anywhere, and is hostile: it is walked through once, without
//! building anything.

/// A refused answer in three parts: together they are what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marked<'a> {
    /// Up to the place.
    pub(crate) before: &'a str,
    /// What the reason is about; empty where it is about a point, or where no place can be found.
    pub(crate) place: &'a str,
    /// What follows; all of it where no place can be found.
    pub(crate) after: &'a str,
}

/// Marks the place in `text` that `reason` is about. For something that is missing that is what it is missing from.
pub(crate) fn mark<'a>(text: &'a str, reason: &str) -> Marked<'a> {
    let (from, to) = byte_in(reason)
        .map(|at| (at, at + 1))
        .or_else(|| Some(Scanner { bytes: text.as_bytes() }.find(&path_of(reason)?)))
        .unwrap_or((0, 0));
    let from = text.floor_char_boundary(from.min(text.len()));
    let to = text.ceil_char_boundary(to.clamp(from, text.len()));
    Marked { before: &text[..from], place: &text[from..to], after: &text[to..] }
}

/// The place that a reason names as a number of bytes.
fn byte_in(reason: &str) -> Option<usize> {
    let (_, rest) = reason.split_once(" at byte ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Index(usize),
    Key(String),
}

/// The path at the start of a reason; `None` when it begins with none.
fn path_of(reason: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = reason;
    loop {
        let (step, after) = match rest.strip_prefix('[') {
            Some(inner) if inner.starts_with('"') => {
                let end = inner.find("\"]")?;
                (Step::Key(unescaped(&inner[1..end])), &inner[end + 2..])
            }
            Some(inner) => {
                let (digits, after) = inner.split_once(']')?;
                (Step::Index(digits.parse().ok()?), after)
            }
            None => {
                let word = rest.strip_prefix('.').unwrap_or(rest);
                let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
                if end == 0 {
                    return None;
                }
                (Step::Key(word[..end].to_owned()), &word[end..])
            }
        };
        steps.push(step);
        if after.starts_with(": ") {
            return Some(steps);
        }
        rest = after;
    }
}

/// A key as it was before it was quoted; what cannot be read is taken as it is.
fn unescaped(quoted: &str) -> String {
    serde_json::from_str(&format!("\"{quoted}\"")).unwrap_or_else(|_| quoted.to_owned())
}

/// Walks through JSON that may end anywhere.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    bytes: &'a [u8],
}

impl Scanner<'_> {
    /// From where to where the value at the end of `path` lies, or the last one on the way that is there.
    fn find(self, path: &[Step]) -> (usize, usize) {
        let mut start = self.skip_space(0);
        for step in path {
            let inner = match step {
                Step::Index(index) => self.element(start, *index),
                Step::Key(key) => self.member(start, key),
            };
            match inner {
                Some(inner) => start = inner,
                None => break,
            }
        }
        (start, self.end_of_value(start))
    }

    fn element(self, list: usize, index: usize) -> Option<usize> {
        let mut at = self.enter(list, b'[')?;
        for _ in 0..index {
            at = self.next(at)?;
        }
        self.is_value(at).then_some(at)
    }

    fn member(self, object: usize, wanted: &str) -> Option<usize> {
        let mut at = self.enter(object, b'{')?;
        loop {
            let end = self.end_of_value(at);
            let key: Option<String> = serde_json::from_slice(self.bytes.get(at..end)?).ok();
            let colon = self.skip_space(end);
            if self.bytes.get(colon) != Some(&b':') {
                return None;
            }
            let value = self.skip_space(colon + 1);
            if key.as_deref() == Some(wanted) {
                return self.is_value(value).then_some(value);
            }
            at = self.next(value)?;
        }
    }

    fn enter(self, at: usize, opening: u8) -> Option<usize> {
        (self.bytes.get(at) == Some(&opening)).then(|| self.skip_space(at + 1))
    }

    /// The start of what follows the value at `at` in its list or object.
    fn next(self, at: usize) -> Option<usize> {
        let comma = self.skip_space(self.end_of_value(at));
        (self.bytes.get(comma) == Some(&b',')).then(|| self.skip_space(comma + 1))
    }

    fn is_value(self, at: usize) -> bool {
        !matches!(self.bytes.get(at), None | Some(b']' | b'}' | b',' | b':'))
    }

    fn skip_space(self, at: usize) -> usize {
        self.skip_while(at, |byte| byte.is_ascii_whitespace())
    }

    fn skip_while(self, at: usize, is_skipped: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().position(|&byte| !is_skipped(byte)).unwrap_or(rest.len())
    }

    /// Where the value at `at` ends: with the text when it is cut off.
    fn end_of_value(self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(b'"') => self.end_of_string(at),
            Some(b'[' | b'{') => self.end_of_group(at),
            _ => self.skip_while(at, |byte| {
                !matches!(byte, b',' | b']' | b'}' | b':') && !byte.is_ascii_whitespace()
            }),
        }
    }

    fn end_of_string(self, at: usize) -> usize {
        let mut at = at + 1;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'"' => return at + 1,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.bytes.len()
    }

    fn end_of_group(self, at: usize) -> usize {
        let (mut at, mut depth) = (at, 0_usize);
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'"' => {
                    at = self.end_of_string(at);
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
            if depth == 0 {
                return at;
            }
        }
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(text: &'a str, reason: &str) -> &'a str {
        let marked = mark(text, reason);
        assert_eq!(format!("{}{}{}", marked.before, marked.place, marked.after), text);
        marked.place
    }

    const TEXT: &str =
        r#" [ {"a]": "}\"", "params": {"scale": -1.5e3 , "loc":0}}, [1, [2, 3]], {"odd key é": "東"} ] "#;

    #[test]
    fn the_place_that_a_path_leads_to_is_marked() {
        assert_eq!(place(TEXT, "[0].params.scale: must be > 0, got -1500"), "-1.5e3");
        assert_eq!(place(TEXT, "[0].params: is odd"), r#"{"scale": -1.5e3 , "loc":0}"#);
        assert_eq!(place(TEXT, r#"[0]["a]"]: is odd"#), r#""}\"""#);
        assert_eq!(place(TEXT, "[1][1][0]: expected a density, got a number"), "2");
        assert_eq!(place(TEXT, r#"[2]["odd key é"]: unknown"#), r#""東""#);
        assert_eq!(place(r#"{"60": [1], "300": []}"#, r#"["300"]: expected a list"#), "[]");
        assert_eq!(place(r#"{"type": 1}"#, "type: expected a string"), "1");
    }

    #[test]
    fn of_what_is_missing_or_cut_off_the_last_that_is_there_is_marked() {
        assert_eq!(place(TEXT, "[1][7].params: is missing"), "[1, [2, 3]]");
        assert_eq!(place(TEXT, "[0].params.df: is missing"), r#"{"scale": -1.5e3 , "loc":0}"#);
        assert_eq!(place(TEXT, "[9]: is odd"), TEXT.trim());
        assert_eq!(place(r#"[{"a": 1}, {"b": "#, "[1].b.c: is odd"), r#"{"b": "#);
        assert_eq!(place(r#"[{"a": "never ends"#, "[0].a: is odd"), r#""never ends"#);
        assert_eq!(place("[1, \"\\", "[1]: is odd"), "\"\\");
    }

    #[test]
    fn a_byte_is_marked_as_a_whole_character() {
        assert_eq!(place("[1, NaN]", "not valid JSON at byte 4: NaN and Infinity are no numbers there"), "N");
        assert_eq!(place("[é]", "not valid JSON at byte 2"), "é");
        assert_eq!(place("[", "not valid JSON at byte 1: the text ends"), "");
        assert_eq!(place("[", "not valid JSON at byte 99999999999"), "");
    }

    #[test]
    fn without_a_place_nothing_is_marked() {
        for reason in
            ["", "it raised an error", "expected 60 densities, got 59", "[x]: odd", "[\"a", "answer: odd"]
        {
            let marked = mark("[1]", reason);
            if reason.starts_with("answer") {
                assert_eq!(marked.place, "[1]", "a word with a colon is a path to something that is missing");
            } else {
                assert_eq!(marked, Marked { before: "", place: "", after: "[1]" }, "{reason}");
            }
        }
    }

    #[test]
    fn hostile_texts_and_reasons_end() {
        let texts = [
            "", "[", "{", "{\"", "{\"a\"", "{\"a\":", "[[[[", "]]]]", "{,}", "\\", "\u{0}", "{\"a\":}", "[,",
        ];
        for text in texts {
            for reason in ["[0]: x", "a: x", "[0].a[1]: x", "[\"a\"]: x", "at byte 3"] {
                place(text, reason);
            }
        }
        let deep = "[".repeat(16_384);
        assert_eq!(place(&deep, "[0][0]: x").len(), deep.len() - 2);
    }
}
