//! The log on stderr. A line that cannot be written is lost, and nothing else: a full disk, or a reader that has ended,
//! stops no request.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write},
};

use headcount_server::Config;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// Starts the log of the server as the settings say.
///
/// # Errors
/// The filter is none. The text names the part of it.
pub(crate) fn start(config: &Config) -> Result<(), Refusal> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.log)?)
        .with_ansi(is_coloured())
        .log_internal_errors(false)
        .with_writer(|| Lines);
    if config.log_json {
        log.json().try_init()
    } else {
        log.try_init()
    }
}

/// Starts the log of a run of load: warnings and errors.
pub(crate) fn start_for_load() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(is_coloured())
        .log_internal_errors(false)
        .with_writer(|| Lines)
        .init();
}

/// Prints a line on stderr, if it can be written.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn is_coloured() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_unwanted
}

/// Parses a filter. A word alone would be a target, so that a misspelt level would silence the log.
fn filter(text: &str) -> Result<EnvFilter, Refusal> {
    for part in text.split(',').map(str::trim) {
        let is_word = !part.is_empty() && !part.contains(['=', '[', ']', '{', '}']);
        if is_word && part.parse::<LevelFilter>().is_err() {
            let text = format!(
                "{part:?} is none of off, error, warn, info, debug and trace; \
                 a target has a level too: {part}=debug"
            );
            return Err(text.into());
        }
    }
    Ok(EnvFilter::try_new(text)?)
}

/// Writes one event at a time.
struct Lines;

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let _ = io::stderr().write_all(on_one_line(&text, is_coloured()).as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes what would begin another line, or order a terminal about: values in the log come from others. Colours stay
/// if there are any; the values in between have theirs escaped already.
fn on_one_line(event: &str, is_coloured: bool) -> Cow<'_, str> {
    let line = event.strip_suffix('\n').unwrap_or(event);
    let is_bad = |c: char| c.is_control() && !(is_coloured && c == '\u{1b}');
    if !line.contains(is_bad) {
        return event.into();
    }
    let mut escaped = String::with_capacity(event.len());
    for c in line.chars() {
        if is_bad(c) {
            // As in JSON too.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_write_another_line_or_escape_codes() {
        let event = "failed: a\n2026 INFO forged\r\u{1b}[2J\u{9b}2J\u{e4}\n";
        let plain = "failed: a\\u000a2026 INFO forged\\u000d\\u001b[2J\\u009b2J\u{e4}\n";
        assert_eq!(on_one_line(event, false), plain);
        let coloured = plain.replace("\\u001b", "\u{1b}");
        assert_eq!(on_one_line(event, true), coloured);
        assert_eq!(on_one_line("fine\n", false), "fine\n");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in [
            "",
            "warn",
            "OFF",
            "warn,headcount_server=debug",
            "error,[push]=debug",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["wran", "info,headcount_server", "a=b=c", "a=wran"] {
            let text = filter(bad).unwrap_err().to_string();
            assert!(!text.is_empty(), "{bad}");
        }
    }
}
