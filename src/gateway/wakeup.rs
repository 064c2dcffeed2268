//! A wake-up flag, which coalesces wake-ups.
//!
//! A thread that wakes another one leaves the work first and then calls [`Wakeup::raise`]; the woken thread calls
//! [`Wakeup::take`] first and then looks for work. So the thread either finds the work or is woken once more. A
//! worker's event loop, the simulation's driver and the host stack's output use it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a thread was woken and has not looked for work since.
#[derive(Debug, Default)]
pub struct Wakeup(AtomicBool);

impl Wakeup {
    /// Records a wake-up. Returns whether the thread has to be woken: it was not since it last looked.
    pub fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Notes a wake-up, and wakes the thread by `wake` unless that was done since it last looked. A wake-up that fails
    /// is not noted, so that the next one is tried.
    ///
    /// # Errors
    ///
    /// Those of `wake`.
    pub fn wake<E>(&self, wake: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        if !self.raise() {
            return Ok(());
        }
        wake().inspect_err(|_| _ = self.take())
    }

    /// Whether the thread was woken and has not looked yet.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Begins to look for work. Returns whether the thread was woken since it last did.
    pub fn take(&self) -> bool {
        // A swap and no store: what is read next must not be read before this is seen.
        self.0.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_woken_once_until_it_looks() {
        let wakeup = Wakeup::default();
        assert!(!wakeup.take());
        assert_eq!([(); 3].map(|()| wakeup.raise()), [true, false, false]);
        assert!(wakeup.is_raised() && wakeup.take() && !wakeup.is_raised() && !wakeup.take());
        assert!(wakeup.raise());
    }

    #[test]
    fn a_wake_up_that_fails_does_not_stand_in_the_way_of_the_next() {
        let wakeup = Wakeup::default();
        assert!(wakeup.wake(|| Err(())).is_err() && !wakeup.is_raised());
        let mut woken = 0;
        for _ in 0..2 {
            let wake = || {
                woken += 1;
                Ok::<(), ()>(())
            };
            assert_eq!(wakeup.wake(wake), Ok(()));
        }
        assert!(woken == 1 && wakeup.take());
    }
}
