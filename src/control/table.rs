//! Columns of text.

use std::fmt;

pub use gatepost_services::words::{counted, octets, on_one_line};

/// A table of text, printed with its columns aligned.
#[derive(Debug)]
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table without rows.
    pub fn new(header: [&str; COLUMNS]) -> Self {
        Self { rows: vec![header.map(str::to_owned)] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Writes the last line of a list that shows only so many of its elements.
///
/// # Errors
///
/// The writer's.
pub fn more(f: &mut fmt::Formatter<'_>, total: usize, shown: usize) -> fmt::Result {
    match total.saturating_sub(shown) {
        0 => Ok(()),
        left => writeln!(f, "and {left} more"),
    }
}

/// A value's text, or a dash.
pub fn or_dash<T: fmt::Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), T::to_string)
}

/// A time span for people: its two largest units.
pub fn span(secs: u64) -> String {
    match (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60, secs % 60) {
        (0, 0, 0, secs) => format!("{secs}s"),
        (0, 0, minutes, secs) => format!("{minutes}m{secs:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["name", "n"]);
        table.row(["a-long-name".to_owned(), "1".to_owned()]);
        table.row(["b".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "name         n\na-long-name  1\nb\n");
    }

    #[test]
    fn spans_show_two_units() {
        assert_eq!([0, 59, 61, 3_600, 90_000].map(span), ["0s", "59s", "1m01s", "1h00m", "1d01h"]);
    }
}
