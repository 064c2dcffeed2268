//! The kernel's clock discipline, by adjtimex(2).

#![expect(unsafe_code, reason = "neither nix nor std knows adjtimex(2)")]

use std::mem;
use std::time::Duration;

use gatepost_services::clock::{Discipline, LeapSecond};
use nix::libc::{self, c_int, c_long, timex};

/// The kernel's present state. If the call is forbidden, as by a filter of system calls, the state is unknown.
pub(super) fn discipline() -> Discipline {
    // SAFETY: all fields are integers, for which zero is a value. No mode is set, so nothing is changed.
    let mut timex: timex = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes no further than the structure, which outlives the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    read(state, &timex)
}

/// The precision of the kernel's clock, which is the same at all times and on all machines.
const PRECISION: Duration = Duration::from_micros(1);

/// `state` is the clock's, as adjtimex(2) returns it; negative if the call has failed.
fn read(state: c_int, timex: &timex) -> Discipline {
    if state < 0 {
        return Discipline { precision: PRECISION, ..Discipline::default() };
    }
    let micros = |count: c_long| Duration::from_micros(u64::try_from(count).unwrap_or(0));
    Discipline {
        is_synchronised: timex.status & (libc::STA_UNSYNC | libc::STA_CLOCKERR) == 0
            && state != libc::TIME_ERROR,
        error_max: micros(timex.maxerror),
        error_estimate: micros(timex.esterror),
        leap: match state {
            // While the second that is inserted passes, the day has not ended.
            libc::TIME_INS | libc::TIME_OOP => Some(LeapSecond::Inserted),
            libc::TIME_DEL => Some(LeapSecond::Deleted),
            _ => None,
        },
        precision: micros(timex.precision),
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: c_int) -> timex {
        // SAFETY: all fields are integers.
        let mut timex: timex = unsafe { mem::zeroed() };
        (timex.status, timex.maxerror, timex.esterror, timex.precision) = (status, 31_000, 200, 1);
        timex
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        let kept = read(libc::TIME_OK, &told(libc::STA_PLL | libc::STA_NANO));
        assert!(kept.is_synchronised);
        assert_eq!(
            [kept.error_max, kept.error_estimate, kept.precision],
            [31_000, 200, 1].map(Duration::from_micros)
        );
        for (state, leap) in [
            (libc::TIME_OK, None),
            (libc::TIME_INS, Some(LeapSecond::Inserted)),
            (libc::TIME_OOP, Some(LeapSecond::Inserted)),
            (libc::TIME_WAIT, None),
            (libc::TIME_DEL, Some(LeapSecond::Deleted)),
        ] {
            assert_eq!(read(state, &told(libc::STA_PLL)).leap, leap, "{state}");
        }
        assert!(!read(libc::TIME_ERROR, &told(libc::STA_UNSYNC)).is_synchronised);
        assert!(!read(libc::TIME_OK, &told(libc::STA_CLOCKERR)).is_synchronised);
    }

    #[test]
    fn a_kernel_that_may_not_be_asked_has_a_clock_that_is_read_in_microseconds() {
        let unknown = read(-1, &told(0));
        assert_eq!((unknown.is_synchronised, unknown.precision), (false, Duration::from_micros(1)));
    }

    #[test]
    fn this_machines_kernel_can_be_asked() {
        let precision = discipline().precision;
        assert!(precision > Duration::ZERO && precision <= Duration::from_secs(1));
    }
}
