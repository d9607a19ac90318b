//! Logs go to standard error, one line each; `RUST_LOG` sets what is shown.

mod short;

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging at `info`, or as `RUST_LOG` says. With a name the lines are short and begin with it, for several processes
/// that write on one terminal; otherwise they have everything, for files and machines.
pub fn start(default_filter: &str, name: Option<&str>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let has_colours = io::stderr().is_terminal();
    match name {
        Some(name) => short::subscriber(name, filter, has_colours, io::stderr).init(),
        None => subscriber(filter, has_colours, io::stderr).init(),
    }
}

fn subscriber<W: Write + 'static>(
    filter: EnvFilter,
    has_colours: bool,
    output: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || OneLine(output()))
        .with_ansi(has_colours)
        .with_target(false)
        .finish()
}

/// Writes each event as one line. Messages tell what models and orchestrators said, who must not write lines of their own
/// into the log.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// Takes a whole event, with the end of its line.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(&one_line(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let line = event.strip_suffix(b"\n").unwrap_or(event);
    let ends_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !line.iter().any(ends_line) {
        return Cow::Borrowed(event);
    }
    let escape = |byte: &u8| match byte {
        b'\n' => b"\\n".to_vec(),
        b'\r' => b"\\r".to_vec(),
        byte => vec![*byte],
    };
    let end = &event[line.len()..];
    line.iter().flat_map(escape).chain(end.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    pub struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_model_says_forges_no_line_of_the_log() {
        let forged = "bad\n2026-01-01T00:00:00.000000Z  INFO leaderboard written\r\nand more";
        let (log, model) = (Log::default(), "m");
        let output = log.clone();
        let subscriber = subscriber(EnvFilter::new("info"), false, move || output.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(%model, reason = forged, shown = %forged, "model {model} is past its limits: {forged}");
            tracing::info!("the next line");
        });
        let text = log.text();
        let lines: Vec<&str> = text.split(['\n', '\r']).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("is past its limits: bad\\n2026"), "{text}");
        assert!(lines[1].ends_with("the next line") && lines[2].is_empty(), "{text}");
    }
}
