//! What is told of panics.
//!
//! The dataplane goes on after a panic, and a peer could bring the same one about with every frame. So of the panics
//! of one line of the sources the first is told, and then each one with which their number has doubled.

use std::collections::BTreeMap;
use std::panic;
use std::sync::Mutex;

/// How often each line, by its file and number, has panicked: no more lines than the program has.
#[derive(Debug, Default)]
struct Panics {
    by_line: BTreeMap<(String, u32), u64>,
}

impl Panics {
    /// Counts a panic. Whether it is to be told.
    fn count(&mut self, file: &str, line: u32) -> bool {
        let count = self.by_line.entry((file.to_owned(), line)).or_default();
        *count = count.saturating_add(1);
        count.is_power_of_two()
    }
}

/// Has panics of this process told by their number from now on. Which of them end something does not change.
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
