//! `gatepost show WHAT --watch`: the report is repeated every second, until Ctrl-C.
//!
//! On a terminal it is redrawn in place and cut to the terminal's size; elsewhere reports follow each other.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{What, ask, render};
use crate::error::Error;
use crate::lab::terminal::{self, Size};

/// The interval of requests, in milliseconds.
const INTERVAL_MS: u16 = 1000;

/// Hides the cursor and clears the screen.
const BEGIN: &str = "\x1b[?25l\x1b[2J";
/// Shows the cursor again, below.
const END: &str = "\x1b[?25h\n";

/// Asks the gateway behind `socket` every second and prints what it says on stdout, until SIGINT or SIGTERM, or until
/// stdout is closed. As JSON, each report is a line.
///
/// # Errors
///
/// As [`Question::ask`](super::Question::ask), at once or later.
pub fn watch(socket: &Path, what: What, json: bool) -> Result<(), Error> {
    let stop = stop_signals("do without --watch")?;
    let is_in_place = !json && terminal::is_there();
    let _cursor = is_in_place.then(HiddenCursor::hide);
    loop {
        let report = ask(socket, what)?;
        let text = match json {
            true => format!("{report}\n"),
            false if is_in_place => page(&render(what, report)?, terminal::size()),
            false => format!("{}\n", render(what, report)?),
        };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(super::unprintable(error)),
            Ok(()) => {}
        }
        drop(stdout);
        if is_stopped(&stop) {
            return Ok(());
        }
    }
}

/// Waits until the next report is due. Returns whether a signal came before that.
fn is_stopped(stop: &SignalFd) -> bool {
    let mut watched = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, PollTimeout::from(INTERVAL_MS)) {
        Ok(0) | Err(Errno::EINTR) => false,
        Ok(_) | Err(_) => true,
    }
}

/// A descriptor that is readable once SIGINT or SIGTERM has come; `remedy` is for a machine without.
pub(super) fn stop_signals(remedy: &str) -> Result<SignalFd, Error> {
    let unwatchable = |error: Errno| Error::failed("cannot watch for signals", error, remedy);
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().map_err(unwatchable)?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(unwatchable)
}

/// The text that redraws a terminal of this size: as many lines as it has, cut to its width.
fn page(text: &str, size: Size) -> String {
    // The last line stays free, so that nothing is scrolled out.
    let rows = size.rows.saturating_sub(1).max(1);
    let lines: Vec<_> = text.lines().collect();
    let shown = if lines.len() > rows { rows - 1 } else { lines.len() };
    let mut page = String::from("\x1b[H");
    for line in &lines[..shown] {
        page.extend(line.chars().take(size.columns));
        page.push_str("\x1b[K\n");
    }
    if shown < lines.len() {
        page.push_str(&format!("and {} more lines\x1b[K\n", lines.len() - shown));
    }
    page.push_str("\x1b[J");
    page
}

/// A terminal without a cursor, which is back when this is dropped.
struct HiddenCursor;

impl HiddenCursor {
    fn hide() -> Self {
        // If stdout is closed, the exit code still reports the outcome.
        _ = io::stdout().write_all(BEGIN.as_bytes());
        Self
    }
}

impl Drop for HiddenCursor {
    fn drop(&mut self) {
        _ = io::stdout().write_all(END.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_to_the_terminal_and_says_so() {
        let page = |text, rows, columns| page(text, Size { rows, columns });
        assert_eq!(page("one\ntwo\n", 24, 80), "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
        assert_eq!(page("one\ntwo\n", 3, 2), "\x1b[Hon\x1b[K\ntw\x1b[K\n\x1b[J");
        assert_eq!(page("1\n2\n3\n4\n", 4, 80), "\x1b[H1\x1b[K\n2\x1b[K\nand 2 more lines\x1b[K\n\x1b[J");
        assert_eq!(page("1\n2\n", 1, 80), "\x1b[Hand 2 more lines\x1b[K\n\x1b[J");
        assert_eq!(page("", 24, 80), "\x1b[H\x1b[J");
    }
}
