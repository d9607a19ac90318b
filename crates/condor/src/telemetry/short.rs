//! Short lines, for somebody who follows several processes on one terminal: `14:03:27 predict      asking 5 models`.

use std::fmt::{self, Debug, Write as _};
use std::io::Write;

use domain::{Clock, SystemClock};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::OneLine;

/// As wide as the longest name of a part.
const NAME_WIDTH: usize = 12;

pub fn subscriber<W: Write + 'static>(
    name: &str,
    filter: EnvFilter,
    has_colours: bool,
    output: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || OneLine(output()))
        .with_ansi(has_colours)
        .event_format(Short { name: name.to_owned() })
        .finish()
}

/// The time of day in UTC, the process, and what it says.
struct Short {
    name: String,
}

impl<S, N> FormatEvent<S, N> for Short
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let time = SystemClock.now().format("%H:%M:%S");
        write!(writer, "{time} {:<NAME_WIDTH$} ", self.name)?;
        write_level(&mut writer, *event.metadata().level())?;
        writeln!(writer, "{said}")
    }
}

/// What is usual is not said.
fn write_level(writer: &mut Writer<'_>, level: Level) -> fmt::Result {
    const RED: u8 = 31;
    const YELLOW: u8 = 33;
    let colour = match level {
        Level::INFO => return Ok(()),
        Level::ERROR => RED,
        _ => YELLOW,
    };
    if writer.has_ansi_escapes() {
        write!(writer, "\u{1b}[{colour}m{level}\u{1b}[0m ")
    } else {
        write!(writer, "{level} ")
    }
}

/// An event's message and fields. What the message tells already is not told again, and identifiers are for files.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing into a String cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut separator = ": ";
        let is_news = |value: &str| !is_identifier(value) && !tells(&self.message, value);
        for (name, value) in self.fields.iter().filter(|(_, value)| is_news(value)) {
            write!(f, "{separator}{} {value}", name.replace('_', " "))?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Whether it is one that was made up by a machine: a UUID, a token.
fn is_identifier(value: &str) -> bool {
    value.len() >= 32 && value.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// Whether the value stands in the message by itself, and not within a word or a number.
fn tells(message: &str, value: &str) -> bool {
    let begins_word = |c: char| c.is_whitespace() || matches!(c, '(' | '`' | '/');
    let ends_word = |c: char| c.is_whitespace() || matches!(c, ')' | '`' | ',' | ':' | ';');
    message.match_indices(value).any(|(at, _)| {
        message[..at].chars().next_back().is_none_or(begins_word)
            && message[at + value.len()..].chars().next().is_none_or(ends_word)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Log;
    use super::*;

    #[test]
    fn a_line_has_the_process_the_message_and_what_the_message_does_not_tell() {
        let log = Log::default();
        let output = log.clone();
        let subscriber = subscriber("predict", EnvFilter::new("info"), false, move || output.clone());
        tracing::subscriber::with_default(subscriber, || {
            let address = "127.0.0.1:1";
            tracing::info!(
                address,
                first_slot = 7,
                by = "a b",
                id = "529f0671-68de-4e27-b7cf-4bd8c9c51fdd",
                "it listens on {address}"
            );
            tracing::warn!(error = %"no\nroute", "the line is cut");
            tracing::info!(scored = 2, waiting = 6, round = "b7", "closed b7, 2 of 2026");
        });
        let text = log.text();
        let lines: Vec<&str> = text.lines().map(|line| &line["00:00:00 ".len()..]).collect();
        assert_eq!(
            lines,
            [
                "predict      it listens on 127.0.0.1:1: first slot 7, by a b",
                "predict      WARN the line is cut: error no\\nroute",
                "predict      closed b7, 2 of 2026: waiting 6",
            ]
        );
    }
}
