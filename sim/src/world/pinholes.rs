//! Requests pinholes from the gateway, as a service would.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use gatepost::error::Error;
use gatepost::gateway::command::Commander;
use gatepost_dataplane::flow::Pinhole;
use tokio::sync::Notify;

use super::clock::now;
use super::observer::Shared;

/// The most that a pinhole outlives the lifetime that was asked for: the command's way, and whole seconds.
const SLACK: Duration = Duration::from_secs(2);

/// The requested pinholes, and their lifetimes.
#[derive(Default)]
pub struct PinholeWishes {
    wishes: RefCell<VecDeque<(Pinhole, Duration)>>,
    is_changed: Notify,
}

impl PinholeWishes {
    /// `pinhole` is to be open for `lifetime` from now on.
    pub fn wish(&self, pinhole: Pinhole, lifetime: Duration) {
        self.wishes.borrow_mut().push_back((pinhole, lifetime));
        self.is_changed.notify_one();
    }

    /// Drops all requests at a boot.
    pub fn clear(&self) {
        self.wishes.borrow_mut().clear();
    }

    async fn next(&self) -> (Pinhole, Duration) {
        loop {
            if let Some(wish) = self.wishes.borrow_mut().pop_front() {
                return wish;
            }
            self.is_changed.notified().await;
        }
    }
}

/// Has a running gateway open each without end, and informs the checkers before.
///
/// # Errors
///
/// The gateway refuses one.
pub async fn open(commander: Commander, wishes: Rc<PinholeWishes>, observer: Shared) -> Result<(), Error> {
    loop {
        let (pinhole, lifetime) = wishes.next().await;
        observer.borrow_mut().on_pinhole(&pinhole, now() + lifetime + SLACK);
        if let Err(error) = commander.open_pinhole(pinhole, lifetime).await {
            let why = error.to_string();
            return Err(Error::failed(
                "the gateway opens no pinhole",
                why,
                "see dataplane/src/pipeline/pinholes.rs",
            ));
        }
    }
}
