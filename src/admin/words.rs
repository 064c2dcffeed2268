//! Values in the words of a language.

use gatepost_services::users::password::{Malformed, Weakness};

use super::texts::{Texts, fill};
use crate::password::Unfit;

/// A time span: its two largest units.
pub fn span(texts: &Texts, secs: u64) -> String {
    let common = &texts.common;
    let units = [
        (secs / 86_400, &common.days),
        (secs / 3_600 % 24, &common.hours),
        (secs / 60 % 60, &common.minutes),
        (secs % 60, &common.seconds),
    ];
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(units.len() - 1);
    let shown = units.iter().skip(first).take(2).filter(|(count, _)| *count > 0 || secs == 0);
    let shown: Vec<_> = shown.map(|(count, unit)| fill(unit, &[("n", &count.to_string())])).collect();
    shown.join(" ")
}

/// A time in the past.
pub fn ago(texts: &Texts, secs: u64) -> String {
    fill(&texts.common.ago, &[("time", &span(texts, secs))])
}

/// The texts of values, or the word for none.
pub fn list(texts: &Texts, values: &[impl ToString]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    if values.is_empty() { texts.common.none.clone() } else { values.join(", ") }
}

/// Why a text is not fit to be a password, and what to do.
pub fn unfit(texts: &Texts, why: Unfit) -> String {
    let words = &texts.passwords;
    let why = match why {
        Unfit::Malformed(Malformed::Empty) => &words.empty,
        Unfit::Malformed(Malformed::TooLong) => &words.too_long,
        Unfit::Malformed(Malformed::Character) => &words.character,
        Unfit::Weak(Weakness::Short) => &words.short,
        Unfit::Weak(Weakness::FewCharacters) => &words.few_characters,
        Unfit::Weak(Weakness::Name) => &words.of_name,
        Unfit::Weak(Weakness::Common) => &words.common,
        Unfit::Weak(Weakness::Row) => &words.row,
    };
    why.clone()
}

/// An amount of octets.
pub fn octets(texts: &Texts, octets: u64) -> String {
    amount(texts, octets, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Octets a second as bits a second.
pub fn rate(texts: &Texts, octets: u64) -> String {
    amount(
        texts,
        octets.saturating_mul(8),
        &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s"],
    )
}

/// A number with the largest of the units, each of which is a thousand of the one before, that leaves a whole part;
/// with one decimal if that part has one digit.
fn amount(texts: &Texts, number: u64, units: &[&str]) -> String {
    let (mut whole, mut rest, mut at) = (number, 0, 0);
    while whole >= 1000 && at + 1 < units.len() {
        (whole, rest, at) = (whole / 1000, whole % 1000, at + 1);
    }
    let unit = units.get(at).copied().unwrap_or_default();
    if whole < 10 && at > 0 {
        format!("{whole}{}{} {unit}", texts.common.decimal_mark, rest / 100)
    } else {
        format!("{whole} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::request;

    #[test]
    fn spans_have_their_two_largest_units() {
        let texts = Texts::of(&request("/"));
        for (secs, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3_600, "1 h"),
            (90_061, "1 d 1 h"),
            (86_400 + 59, "1 d"),
        ] {
            assert_eq!(span(texts, secs), expected);
        }
        for (number, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_999, "9.9 kB"),
            (10_500, "10 kB"),
            (3_456_000_000, "3.4 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(octets(texts, number), expected);
        }
        assert_eq!((rate(texts, 1_250_000), rate(texts, 5)), ("10 Mbit/s".to_owned(), "40 bit/s".to_owned()));
        assert_eq!(ago(texts, 5), "5 s ago");
        assert_eq!((list(texts, &[1, 2]), list(texts, &[0; 0])), ("1, 2".to_owned(), "none".to_owned()));
    }
}
