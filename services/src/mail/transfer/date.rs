//! The date of a `From ` line, as asctime writes it. (RFC 4155, appendix A)

use crate::calendar::{DAY, Date, MONTHS, WEEKDAYS, days_of_month, days_of_year};

/// The date of `secs` seconds since 1970, in UTC: `Thu Jan  1 00:00:00 1970`.
pub fn write(secs: u64) -> String {
    let Date { year, month, day, weekday, hour, minute, second } = Date::after_1970(secs);
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
}

/// Parses the date that begins with the first of `words`, in seconds since 1970; seconds and a zone, before or after
/// the year, are optional, as is `remote from` with a name after it. `None` if it is no date.
pub fn read(words: &[&str]) -> Option<u64> {
    let (weekday, rest) = words.split_first()?;
    WEEKDAYS.contains(weekday).then_some(())?;
    let [month, day, time, rest @ ..] = rest else { return None };
    let month = MONTHS.iter().position(|name| name == month)?;
    let mut fields = time.split(':').map(|field| field.parse::<u64>().ok());
    let (hour, minute) = (fields.next()??, fields.next()??);
    let second = fields.next().unwrap_or(Some(0))?;
    let is_year = |word: &&str| word.len() == 4 && word.bytes().all(|octet| octet.is_ascii_digit());
    let at = rest.iter().take(3).position(is_year)?;
    // A sentence continues after its date.
    let is_end = matches!(&rest[at + 1..], [] | [_] | ["remote", "from", ..] | [_, "remote", "from", ..]);
    is_end.then_some(())?;
    let (year, day): (u64, u64) = (rest[at].parse().ok()?, day.parse().ok()?);
    let is_real = (1970..=9999).contains(&year)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    is_real.then_some(())?;
    let days = (1970..year).map(days_of_year).sum::<u64>()
        + (0..month).map(|month| days_of_month(year, month)).sum::<u64>()
        + day
        - 1;
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    let zone = rest.iter().take(4).find_map(|word| zone(word)).unwrap_or(0);
    Some(local.saturating_add_signed(-zone))
}

/// The seconds by which a zone such as `+0100` is ahead of UTC.
fn zone(word: &str) -> Option<i64> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let is_zone = digits.len() == 4 && digits.bytes().all(|octet| octet.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|_| is_zone)?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &str) -> Option<u64> {
        read(&text.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn dates_are_those_of_asctime_and_its_relatives() {
        assert_eq!(write(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(write(951_782_400), "Tue Feb 29 00:00:00 2000");
        assert_eq!(write(1_331_814_612), "Thu Mar 15 12:30:12 2012");
        for text in [
            "Thu Mar 15 12:30:12 2012",
            "Thu Mar 15 12:30:12 UTC 2012",
            "Thu Mar 15 12:30:12 2012 +0000",
            "Thu Mar 15 13:30:12 +0100 2012",
            "Thu Mar 15 06:30:12 2012 -0600 remote from host",
        ] {
            assert_eq!(read_text(text), Some(1_331_814_612), "{text}");
        }
        assert_eq!(read_text("Thu Mar 15 12:30 2012"), Some(1_331_814_600));
        for text in [
            "",
            "Thu",
            "Thu Mar 15 2012",
            "Thu Mar 32 12:30:12 2012",
            "Thu Mar 15 12:30:12 12",
            "Xyz Mar 15 12:30 2012",
        ] {
            assert_eq!(read_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(secs in 0_u64..253_402_300_800) {
            prop_assert_eq!(read_text(&write(secs)), Some(secs));
        }
    }
}
