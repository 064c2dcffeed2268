//! What the lab shows: marks while it tries things out, then a view of the running gateway.

use std::io::{self, IsTerminal, Write};

use super::checks::Outcome;

/// Lines that every usual terminal shows at once.
const VIEW_LINES_MAX: usize = 22;

/// Writes to standard output; on a terminal with colours, and a view that refreshes in place.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    /// How many lines the last view took.
    view_lines: usize,
}

impl Screen {
    /// A screen on standard output.
    pub fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), view_lines: 0 }
    }

    /// A line of text.
    pub fn line(&self, text: &str) {
        // A closed standard output is no reason to end the office.
        _ = writeln!(io::stdout(), "{text}");
    }

    /// A mark for a check and what was seen.
    pub fn outcome(&self, outcome: &Outcome) {
        let title = outcome.title;
        self.line(&match (&outcome.result, self.terminal) {
            (Ok(seen), true) => format!("  \x1b[32m✓\x1b[0m {title:<9} {seen}"),
            (Ok(seen), false) => format!("  ✓ {title:<9} {seen}"),
            (Err(wrong), true) => format!("  \x1b[31m✗\x1b[0m {title:<9} {wrong}"),
            (Err(wrong), false) => format!("  ✗ {title:<9} {wrong}"),
        });
    }

    /// Shows `view`, or what of it fits, in place of the one before; nothing if this is no terminal.
    pub fn refresh(&mut self, view: &str) {
        if !self.terminal {
            return;
        }
        let mut stdout = io::stdout().lock();
        if self.view_lines > 0 {
            _ = write!(stdout, "\x1b[{}A", self.view_lines);
        }
        self.view_lines = 0;
        // A line that wraps would count as two: meanwhile lines end at the terminal's edge.
        _ = write!(stdout, "\x1b[?7l");
        for line in view.lines().take(VIEW_LINES_MAX) {
            _ = writeln!(stdout, "\x1b[2K  {line}");
            self.view_lines += 1;
        }
        _ = write!(stdout, "\x1b[?7h");
        _ = stdout.flush();
    }
}
