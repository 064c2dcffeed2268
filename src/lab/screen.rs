//! What the lab shows: marks while it tries things out, then a view of the running gateway.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::checks::Outcome;

/// Writes to standard output; on a terminal with colours, and counters that refresh in place.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    /// How many lines the last view of the counters took.
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

    /// The gateway's counters, in place of the ones before; nothing if this is no terminal.
    pub fn counters(&mut self, counters: &Value) {
        if !self.terminal {
            return;
        }
        let lines = counter_lines(counters);
        let mut stdout = io::stdout().lock();
        if self.view_lines > 0 {
            _ = write!(stdout, "\x1b[{}A", self.view_lines);
        }
        for line in &lines {
            _ = writeln!(stdout, "\x1b[2K{line}");
        }
        _ = stdout.flush();
        self.view_lines = lines.len();
    }
}

/// One line for each number, its path in front.
fn counter_lines(counters: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    collect("", counters, &mut lines);
    lines
}

fn collect(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(&path, field, lines);
            }
        }
        Value::Number(number) => lines.push(format!("  {path:<28} {number:>14}")),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_number_has_a_line() {
        let lines = counter_lines(&json!({"received": 3, "drops": {"martian": 1}, "mode": "nat"}));
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().any(|line| line.contains("drops.martian") && line.ends_with('1')));
    }
}
