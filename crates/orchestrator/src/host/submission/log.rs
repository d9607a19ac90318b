//! What a submission prints, line by line into the host's log. A submission may print without end: lines are cut, and
//! beyond a rate they are counted instead of kept.

use std::time::Duration;

use domain::Stopwatch;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longer lines are cut, in bytes.
const LONGEST_LINE: usize = 4096;
/// So many bytes are logged in each interval, at most.
const MOST_PER_INTERVAL: usize = 256 * 1024;
const INTERVAL: Duration = Duration::from_secs(10);

/// Reads `output` to its end and hands each line that is kept to `log`.
pub(super) async fn follow(mut output: impl AsyncRead + Unpin, mut log: impl FnMut(&str)) {
    let mut lines = Lines::default();
    let mut quota = Quota::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        lines.feed(&buffer[..count], |line| quota.spend(line, &mut log));
    }
    lines.finish(|line| quota.spend(line, &mut log));
    quota.tell_dropped(&mut log);
}

/// Cuts a stream of bytes into lines.
#[derive(Default)]
struct Lines {
    /// The line that has not ended yet, up to the longest.
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LONGEST_LINE - self.begun.len();
            self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                each(&self.begun);
                self.begun.clear();
            }
        }
    }

    fn finish(self, mut each: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            each(&self.begun);
        }
    }
}

/// How much may still be logged.
struct Quota {
    interval: Stopwatch,
    left: usize,
    dropped_lines: u64,
}

impl Quota {
    fn new() -> Self {
        Quota { interval: Stopwatch::start(), left: MOST_PER_INTERVAL, dropped_lines: 0 }
    }

    fn spend(&mut self, line: &[u8], log: &mut impl FnMut(&str)) {
        if self.interval.elapsed() >= INTERVAL {
            self.tell_dropped(log);
            *self = Quota::new();
        }
        // an empty line costs something too
        match self.left.checked_sub(line.len() + 1) {
            Some(left) => {
                self.left = left;
                log(&readable(line));
            }
            None => self.dropped_lines += 1,
        }
    }

    fn tell_dropped(&self, log: &mut impl FnMut(&str)) {
        if self.dropped_lines > 0 {
            log(&format!("({} more lines were printed and are not kept)", self.dropped_lines));
        }
    }
}

/// Without what could make a terminal do things.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().replace(|c: char| c.is_control() && c != '\t', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn logged(output: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        follow(output, |line| lines.push(line.to_owned())).await;
        lines
    }

    #[tokio::test]
    async fn each_line_is_logged_and_nothing_reaches_the_terminal() {
        let lines = logged(b"one\r\n\n\x1b[2Jtwo\xff\nlast").await;
        assert_eq!(lines, ["one", "", "\u{fffd}[2Jtwo\u{fffd}", "last"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let lines = logged(&[b"x".repeat(1_000_000), b"\nnext".to_vec()].concat()).await;
        assert_eq!((lines[0].len(), lines[1].as_str()), (LONGEST_LINE, "next"));
    }

    #[tokio::test]
    async fn a_flood_is_counted_instead_of_kept() {
        let lines = logged(&b"spam and eggs\n".repeat(100_000)).await;
        let kept = MOST_PER_INTERVAL / 14;
        assert_eq!(lines.len(), kept + 1);
        assert_eq!(lines[kept], format!("({} more lines were printed and are not kept)", 100_000 - kept));
    }
}
