//! The lab's output: marks during the checks; then, on a terminal, one page that refreshes in place.
//!
//! The page has the marks, suggested commands, the traffic, and the keys. It never exceeds the terminal, so that
//! nothing scrolls. Without a terminal the same lines are written once, without colours.

use std::io::{self, Write};

use super::checks::Outcome;
use super::terminal::{self, Size};

/// How a piece of a line looks on a terminal with colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As the terminal has it.
    Plain,
    /// What went well.
    Good,
    /// What did not.
    Bad,
    /// A heading.
    Title,
    /// An explanation.
    Faint,
}

impl Style {
    /// The escape sequence that begins it. (ECMA-48, section 8.3.117 (SGR))
    fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Title => "\x1b[1m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// A line of text in pieces that look different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    /// A line in the terminal's own style.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::of(Style::Plain, text)
    }

    /// A line in one style.
    pub fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// Adds a piece.
    pub fn push(&mut self, style: Style, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    /// The line as it is written, in at most `columns` characters.
    pub fn render(&self, columns: usize, has_colours: bool) -> String {
        let len: usize = self.0.iter().map(|(_, text)| text.chars().count()).sum();
        let mut room = if len > columns { columns.saturating_sub(1) } else { columns };
        let mut rendered = String::new();
        for (style, text) in &self.0 {
            let piece: String = text.chars().take(room).collect();
            room -= piece.chars().count();
            if has_colours && *style != Style::Plain && !piece.is_empty() {
                rendered += &format!("{}{piece}\x1b[0m", style.sequence());
            } else {
                rendered += &piece;
            }
        }
        if len > columns && columns > 0 {
            rendered.push('…');
        }
        rendered
    }
}

/// The page that a lab shows while it stays up.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What to try, with a title.
    pub hints: Vec<Line>,
    /// What goes on: a word about the last thing that was asked for.
    pub status: Line,
    /// The keys.
    pub keys: Line,
}

/// Standard output.
#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    has_colours: bool,
    /// The title and the marks so far.
    marks: Vec<Line>,
    /// Whether the page has been drawn.
    is_drawn: bool,
}

impl Screen {
    /// A screen on standard output.
    pub fn new() -> Self {
        let (is_terminal, has_colours) = (terminal::is_there(), terminal::has_colours());
        Self { is_terminal, has_colours, marks: Vec::new(), is_drawn: false }
    }

    /// Whether pages can be drawn.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// A line of text that stays.
    pub fn line(&self, line: &Line) {
        // A closed standard output is no reason to end the office.
        _ = writeln!(io::stdout(), "{}", line.render(usize::MAX, self.has_colours));
    }

    /// The first line, which the page begins with, too.
    pub fn title(&mut self, text: &str) {
        self.mark(Line::of(Style::Title, text));
    }

    /// A mark for a check and what was seen.
    pub fn outcome(&mut self, outcome: &Outcome) {
        let (style, mark, text) = match &outcome.result {
            Ok(seen) => (Style::Good, "✓", seen.clone()),
            Err(failure) => (Style::Bad, "✗", failure.to_string()),
        };
        let mut line = Line::plain("  ");
        line.push(style, mark);
        line.push(Style::Plain, format!(" {:<9} {text}", outcome.title));
        self.mark(line);
    }

    fn mark(&mut self, line: Line) {
        self.line(&line);
        self.marks.push(line);
    }

    /// How many lines a page on this terminal has for what passes.
    pub fn view_rows(&self, page: &Page) -> usize {
        view_rows(terminal::size(), &self.marks, page)
    }

    /// Draws the page with what passes in place of the one before; nothing if this is no terminal.
    pub fn draw(&mut self, page: &Page, view: &[Line]) {
        if !self.is_terminal {
            return;
        }
        let size = terminal::size();
        let mut text = String::new();
        if !self.is_drawn {
            // What was on the terminal before goes up and is not lost.
            text += &"\n".repeat(size.rows);
            self.is_drawn = true;
        }
        text += "\x1b[H";
        let lines = compose(size, &self.marks, page, view);
        for (number, line) in lines.iter().enumerate() {
            let end = if number + 1 < lines.len() { "\n" } else { "" };
            text += &format!("{}\x1b[K{end}", line.render(size.columns, self.has_colours));
        }
        text += "\x1b[J";
        let mut stdout = io::stdout().lock();
        _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Leaves the page, so that further output is below it.
    pub fn leave(&mut self) {
        if self.is_drawn {
            self.is_drawn = false;
            _ = writeln!(io::stdout());
        }
    }
}

fn view_rows(size: Size, marks: &[Line], page: &Page) -> usize {
    // Blank lines before the hints and the view; the keys.
    size.rows.saturating_sub(marks.len() + 1 + page.hints.len() + 1 + 1)
}

/// The lines of a page, no more than the terminal has. Where there is not room for all, what passes goes first, then
/// the hints; the keys stay.
fn compose(size: Size, marks: &[Line], page: &Page, view: &[Line]) -> Vec<Line> {
    let mut lines = marks.to_vec();
    lines.push(Line::default());
    lines.extend_from_slice(&page.hints);
    lines.push(page.status.clone());
    lines.extend(view.iter().take(view_rows(size, marks, page)).cloned());
    lines.truncate(size.rows.saturating_sub(1));
    lines.push(page.keys.clone());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(hints: usize) -> Page {
        Page {
            hints: vec![Line::plain("hint"); hints],
            status: Line::plain("status"),
            keys: Line::plain("q quits"),
        }
    }

    #[test]
    fn a_line_that_is_too_long_ends_in_an_ellipsis() {
        let mut line = Line::plain("ab");
        line.push(Style::Good, "cdé");
        assert_eq!(line.render(5, false), "abcdé");
        assert_eq!(line.render(4, false), "abc…");
        assert_eq!(line.render(4, true), "ab\x1b[32mc\x1b[0m…");
        assert_eq!(line.render(1, true), "…");
        assert_eq!(line.render(0, true), "");
    }

    #[test]
    fn a_page_fits_the_terminal_whatever_there_is_to_say() {
        let size = Size { rows: 24, columns: 80 };
        for (marks, hints, view) in [(9, 6, 3), (9, 6, 100), (30, 6, 5), (1, 0, 0), (9, 40, 9)] {
            let lines =
                compose(size, &vec![Line::plain("mark"); marks], &page(hints), &vec![Line::default(); view]);
            assert!(lines.len() <= 24, "{marks} {hints} {view}: {}", lines.len());
            assert_eq!(lines.last(), Some(&Line::plain("q quits")));
        }
    }

    #[test]
    fn everything_is_on_a_page_that_is_high_enough() {
        let size = Size { rows: 24, columns: 80 };
        let (marks, page) = (vec![Line::plain("mark"); 9], page(6));
        let rows = view_rows(size, &marks, &page);
        assert_eq!(rows, 6);
        let lines = compose(size, &marks, &page, &vec![Line::plain("view"); rows]);
        let count = |text| lines.iter().filter(|line| **line == Line::plain(text)).count();
        assert_eq!([count("mark"), count("hint"), count("view"), count("status")], [9, 6, 6, 1]);
    }
}
