//! Formatting of numbers for people, and case folding for searches.

use std::fmt::Display;

/// `count` octets in the units of the configuration: exact if that takes no fraction, else with two or three digits.
pub fn octets(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let shifts = UNITS.into_iter().zip((10..).step_by(10));
    let Some((unit, shift)) = shifts.take_while(|(_, shift)| count >> shift > 0).last() else {
        return format!("{count} B");
    };
    let (whole, rest) = (count >> shift, count & ((1_u64 << shift) - 1));
    if whole >= 10 || rest == 0 {
        return format!("{whole} {unit}");
    }
    format!("{whole}.{} {unit}", (u128::from(rest) * 10) >> shift)
}

/// `1 message`, `2 messages`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let noun = if count == N::from(1) { one } else { many };
    format!("{count} {noun}")
}

/// `text`, which others may have written, on a line of a terminal.
pub fn on_one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// `text` case-folded: `Straße`, `STRAẞE` and `STRASSE` fold to the same text. Each character is folded by itself, so a
/// substring's folded form is a substring of the folded text. (Unicode, full case folding)
pub fn folded(text: &str) -> String {
    let upper = text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_have_a_unit_of_the_file_and_few_digits() {
        let shown =
            [0, 1000, 1023, 1024, 2500, 10_900, 1 << 20, (1 << 20) + 1, 25 << 20, u64::MAX].map(octets);
        let expected =
            ["0 B", "1000 B", "1023 B", "1 KiB", "2.4 KiB", "10 KiB", "1 MiB", "1.0 MiB", "25 MiB", "15 EiB"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn texts_that_differ_in_case_fold_into_one() {
        for (one, other) in
            [("Straße", "STRAẞE"), ("straße", "STRASSE"), ("Über", "üBER"), ("ΣΑΣ", "σας"), ("ŐŰ", "őű")]
        {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("u"), folded("ü"));
    }

    #[test]
    fn one_is_no_plural() {
        let shown = [0_u32, 1, 2].map(|count| counted(count, "try", "tries"));
        assert_eq!(shown, ["0 tries", "1 try", "2 tries"]);
    }
}
