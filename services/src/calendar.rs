//! The Gregorian calendar in UTC, by which messages and mailbox files are dated.

/// Seconds of a day; leap seconds are not counted.
pub(crate) const DAY: u64 = 86_400;
/// The names of the months.
pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The names of the days of a week, from that of 1970-01-01 on.
pub(crate) const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A second of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub year: u64,
    /// The month's name.
    pub month: &'static str,
    /// The day of the month, from 1 on.
    pub day: u64,
    /// The name of the day of the week.
    pub weekday: &'static str,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
}

impl Date {
    /// The date `secs` seconds after the beginning of 1970.
    pub fn after_1970(secs: u64) -> Self {
        let (days, of_day) = (secs / DAY, secs % DAY);
        // The calendar repeats after 400 years: whole periods are subtracted, and the rest is searched.
        let (mut year, mut left) = (1970 + days / 146_097 * 400, days % 146_097);
        while left >= days_of_year(year) {
            left -= days_of_year(year);
            year += 1;
        }
        let mut month = 0;
        while left >= days_of_month(year, month) {
            left -= days_of_month(year, month);
            month += 1;
        }
        Self {
            year,
            month: MONTHS[month],
            day: left + 1,
            weekday: WEEKDAYS[(days % 7) as usize],
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }
}

/// How many days `year` has.
pub(crate) fn days_of_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

/// How many days a month of `year` has; January is 0.
pub(crate) fn days_of_month(year: u64, month: usize) -> u64 {
    match month {
        1 => 28 + u64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}
