//! A watched value: receivers read the latest value and wait for changes.
//!
//! Waiting receivers are woken in the order in which they began to wait. `tokio::sync::watch`, whose names these are,
//! wakes them in random order, which would make the simulation irreproducible. All parts stay on one thread.

use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::rc::Rc;

use tokio::sync::Notify;

/// The sender is gone, so the value does not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody changes it any more")
    }
}

impl std::error::Error for Closed {}

struct Shared<T> {
    value: RefCell<T>,
    /// The number of changes.
    version: Cell<u64>,
    is_closed: Cell<bool>,
    changed: Notify,
}

/// Changes the value. Dropping it closes the channel.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

/// Reads the value. A clone has seen what the original has seen.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

impl<T> Sender<T> {
    /// A sender with the value `first`.
    pub fn new(first: T) -> Self {
        let shared = Shared {
            value: RefCell::new(first),
            version: Cell::new(0),
            is_closed: Cell::new(false),
            changed: Notify::new(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// A receiver that has seen the current value.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: Rc::clone(&self.shared), seen: self.shared.version.get() }
    }

    /// The current value. The guard must not be held across an `await`.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.value.borrow()
    }

    /// Replaces the value with `new`, and returns the former one.
    pub fn send_replace(&self, new: T) -> T {
        let before = self.shared.value.replace(new);
        self.tell();
        before
    }

    /// Changes the value, and notifies receivers.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        modify(&mut self.shared.value.borrow_mut());
        self.tell();
    }

    /// Changes the value, and notifies receivers if `modify` returns `true`. Returns the result of `modify`.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let is_modified = modify(&mut self.shared.value.borrow_mut());
        if is_modified {
            self.tell();
        }
        is_modified
    }

    fn tell(&self) {
        self.shared.version.set(self.shared.version.get().wrapping_add(1));
        self.shared.changed.notify_waiters();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.is_closed.set(true);
        self.shared.changed.notify_waiters();
    }
}

impl<T> Receiver<T> {
    /// The current value. The guard must not be held across an `await`.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.value.borrow()
    }

    /// The current value, marked as seen. The guard must not be held across an `await`.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.mark_unchanged();
        self.shared.value.borrow()
    }

    /// Marks the current value as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version.get();
    }

    fn is_news(&self) -> bool {
        self.seen != self.shared.version.get()
    }

    /// Waits for a value that was not seen, and marks it as seen. The future may be dropped at any time.
    ///
    /// # Errors
    ///
    /// The sender is gone, and its last value was seen.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            if self.is_news() {
                self.mark_unchanged();
                return Ok(());
            }
            if self.shared.is_closed.get() {
                return Err(Closed);
            }
            self.shared.changed.notified().await;
        }
    }

    /// Waits until the value satisfies `is_wanted`, and marks it as seen. The guard must not be held while the value is
    /// changed.
    ///
    /// # Errors
    ///
    /// The sender is gone, and its last value does not satisfy `is_wanted`.
    pub async fn wait_for(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        while !is_wanted(&self.borrow_and_update()) {
            self.changed().await?;
        }
        Ok(self.borrow())
    }
}

impl Receiver<bool> {
    /// Waits until the value is true, or the sender is gone.
    pub async fn raised(&mut self) {
        _ = self.wait_for(|is_raised| *is_raised).await;
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared), seen: self.seen }
    }
}

/// A channel with the value `first`.
pub fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(first);
    let receiver = sender.subscribe();
    (sender, receiver)
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;
    use crate::wait::first_of;

    /// Whether the value has changed since it was seen; marks it as seen.
    async fn has_changed<T>(receiver: &mut Receiver<T>) -> bool {
        first_of(async { receiver.changed().await.is_ok() }, std::future::ready(false)).await
    }

    #[tokio::test]
    async fn who_waits_is_woken_in_the_order_of_waiting() {
        let (sender, first) = channel(0);
        let woken = Rc::new(RefCell::new(Vec::new()));
        LocalSet::new()
            .run_until(async {
                for number in 0..40 {
                    let (mut receiver, woken) = (first.clone(), Rc::clone(&woken));
                    tokio::task::spawn_local(async move {
                        while receiver.changed().await.is_ok() {
                            let value = *receiver.borrow();
                            woken.borrow_mut().push((value, number));
                        }
                    });
                }
                for value in 1..=3 {
                    yield_now().await;
                    assert_eq!(sender.send_replace(value), value - 1);
                }
                yield_now().await;
            })
            .await;
        let expected: Vec<_> = (1..=3).flat_map(|value| (0..40).map(move |number| (value, number))).collect();
        assert_eq!(*woken.borrow(), expected);
    }

    #[tokio::test]
    async fn the_latest_value_is_seen_once() {
        let (sender, mut receiver) = channel(1);
        assert!(!has_changed(&mut receiver).await);
        sender.send_modify(|value| *value += 1);
        sender.send_replace(3);
        assert!(has_changed(&mut receiver).await);
        assert!(!has_changed(&mut receiver).await);
        assert_eq!(*receiver.borrow(), 3);
        assert!(!sender.send_if_modified(|_| false));
        assert!(!has_changed(&mut receiver).await);
        assert!(sender.send_if_modified(|value| std::mem::replace(value, 4) == 3));
        receiver.mark_unchanged();
        assert!(!has_changed(&mut receiver).await);
        assert_eq!((*sender.borrow(), *receiver.borrow()), (4, 4));
        sender.send_replace(5);
        assert_eq!(*receiver.borrow_and_update(), 5);
        assert!(!has_changed(&mut receiver).await);
    }

    #[tokio::test]
    async fn a_value_that_is_wanted_may_be_there_already() {
        let (sender, mut receiver) = channel(1);
        assert_eq!(receiver.wait_for(|value| *value == 1).await.as_deref(), Ok(&1));
        let changing = async {
            for value in 2..=4 {
                sender.send_replace(value);
                yield_now().await;
            }
        };
        let waiting = async { receiver.wait_for(|value| *value == 3).await.map(|value| *value) };
        let (waited, ()) = tokio::join!(waiting, changing);
        assert_eq!(waited, Ok(3));
    }

    #[tokio::test]
    async fn the_last_value_is_told_before_the_end() {
        let (sender, mut receiver) = channel(1);
        sender.send_replace(2);
        drop(sender);
        assert_eq!((receiver.changed().await, *receiver.borrow()), (Ok(()), 2));
        assert_eq!(receiver.changed().await, Err(Closed));
        assert!(matches!(receiver.wait_for(|value| *value == 3).await, Err(Closed)));
    }
}
