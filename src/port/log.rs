//! The process's log: on stderr, for people or for the journal; and its last lines in memory.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal};

use nix::sys::stat::fstat;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt as text};

use crate::recent_log::RECENT;

/// The log level: messages of this level and of more severe ones are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Faults that end the gateway or make a request fail.
    Error,
    /// Events that the administrator should look at.
    Warn,
    /// The gateway's regular activity.
    Info,
    /// The handling of single messages.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Logs to stderr at `level`, else by the environment's `RUST_LOG`, else at [`LogLevel::Info`].
pub fn to_stderr(level: Option<LogLevel>) {
    let from_environment = env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let (filter, mistake) = choose(level, from_environment.as_deref());
    let layer = text::layer().with_writer(io::stderr);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = if is_journal() {
        layer.event_format(Journal).boxed()
    } else {
        layer.with_target(false).with_ansi(io::stderr().is_terminal()).boxed()
    };
    let kept = text::layer().with_target(false).with_ansi(false).with_writer(|| KeptLine);
    // A program that embeds the gateway may have set up a log already.
    _ = tracing_subscriber::registry().with(layer).with(kept).with(filter).try_init();
    if let Some(mistake) = mistake {
        warn!("{mistake}");
    }
}

/// The filter, and an error in the environment's `RUST_LOG`, if any.
fn choose(level: Option<LogLevel>, from_environment: Option<&str>) -> (Targets, Option<String>) {
    let at = |level: LogLevel| Targets::new().with_default(LevelFilter::from(level));
    let Some(text) = from_environment.filter(|_| level.is_none()) else {
        return (at(level.unwrap_or(LogLevel::Info)), None);
    };
    match text.parse() {
        Ok(filter) => (filter, None),
        Err(error) => {
            let mistake =
                format!("RUST_LOG={text:?} is not understood: {error}; write a level such as debug");
            (at(LogLevel::Info), Some(mistake))
        }
    }
}

/// Keeps each line for `gatepost show log`. The layer writes an event at once.
struct KeptLine;

impl io::Write for KeptLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        RECENT.push(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether stderr is the stream that systemd has connected to its journal. (systemd.exec(5), $JOURNAL_STREAM)
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// A line with its priority before it; the journal has the time and the program's name. (sd-daemon(3))
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The syslog(3) priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(level: Option<LogLevel>, from_environment: Option<&str>) -> [bool; 3] {
        let (filter, _) = choose(level, from_environment);
        [Level::WARN, Level::INFO, Level::DEBUG].map(|level| filter.would_enable("gatepost::port", &level))
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        assert_eq!(logs(None, None), [true, true, false]);
        assert_eq!(logs(None, Some("debug")), [true, true, true]);
        assert_eq!(logs(None, Some("error,gatepost=warn")), [true, false, false]);
        assert_eq!(logs(Some(LogLevel::Info), Some("debug")), [true, true, false]);
        assert_eq!(logs(Some(LogLevel::Off), None), [false, false, false]);
    }

    #[test]
    fn an_environment_that_is_not_understood_is_told() {
        let (filter, mistake) = choose(None, Some("gatepost=loud"));
        assert!(filter.would_enable("gatepost", &Level::INFO));
        assert!(mistake.expect("it is wrong").starts_with("RUST_LOG=\"gatepost=loud\" is not understood"));
        assert_eq!(choose(Some(LogLevel::Warn), Some("gatepost=loud")).1, None);
    }

    #[test]
    fn priorities_are_syslog_s() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(priority), [3, 4, 6, 7, 7]);
    }
}
