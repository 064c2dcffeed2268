//! Limits the log messages of panics.
//!
//! The dataplane continues after a panic, and a peer could cause the same panic with every frame. So of the panics of
//! one source line the first is logged, and then each one at which their number has doubled.

use std::collections::BTreeMap;
use std::panic;
use std::sync::Mutex;

/// The number of panics of each source line, by file and line number. The program's lines bound the table.
#[derive(Debug, Default)]
struct Panics {
    by_line: BTreeMap<(String, u32), u64>,
}

impl Panics {
    /// Counts a panic. Returns whether it is to be logged.
    fn count(&mut self, file: &str, line: u32) -> bool {
        let count = self.by_line.entry((file.to_owned(), line)).or_default();
        *count = count.saturating_add(1);
        count.is_power_of_two()
    }
}

/// Limits the messages of this process's panics from now on. The effects of panics do not change.
pub fn limit_messages() {
    let tell = panic::take_hook();
    let panics = Mutex::new(Panics::default());
    panic::set_hook(Box::new(move |info| {
        let count = |(file, line)| panics.lock().map_or(true, |mut panics| panics.count(file, line));
        let is_told = info.location().map(|place| (place.file(), place.line())).is_none_or(count);
        if is_told {
            tell(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_panics_of_a_line_those_with_which_their_number_doubles_are_told() {
        let mut panics = Panics::default();
        let told = |panics: &mut Panics, line| (1..=1000).filter(|_| panics.count("nat.rs", line)).count();
        assert_eq!([told(&mut panics, 7), told(&mut panics, 7), told(&mut panics, 8)], [10, 1, 10]);
        assert!(panics.count("dns.rs", 7));
        assert_eq!(panics.by_line.len(), 3);
    }
}
