//! Answers in the forms in which they are kept until they are scored.

use domain::AnswerBytes;

use super::{Answer, Expected, Limits, PackedAnswer, UnreadableAnswer, parse_answer};

/// Something that was accepted as an answer, by whatever limits, and is now to be scored.
pub trait StoredAnswer: Sync {
    /// Its densities.
    fn answer(&self, expected: &Expected) -> Result<Answer, UnreadableAnswer>;
}

impl StoredAnswer for str {
    fn answer(&self, expected: &Expected) -> Result<Answer, UnreadableAnswer> {
        parse_answer(self.as_bytes(), expected, &Limits::NONE).map_err(UnreadableAnswer::Refused)
    }
}

impl StoredAnswer for String {
    fn answer(&self, expected: &Expected) -> Result<Answer, UnreadableAnswer> {
        self.as_str().answer(expected)
    }
}

impl<B: AsRef<[u8]> + Sync> StoredAnswer for PackedAnswer<B> {
    fn answer(&self, expected: &Expected) -> Result<Answer, UnreadableAnswer> {
        self.unpack(expected)
    }
}

impl StoredAnswer for AnswerBytes {
    fn answer(&self, expected: &Expected) -> Result<Answer, UnreadableAnswer> {
        PackedAnswer::new(self).unpack(expected)
    }
}

impl<T: StoredAnswer + ?Sized> StoredAnswer for &T {
    fn answer(&self, expected: &Expected) -> Result<Answer, UnreadableAnswer> {
        (**self).answer(expected)
    }
}
