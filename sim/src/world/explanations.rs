//! Asks the gateway to explain packets that machines have just sent, as `gatepost explain` would.
//!
//! A checker picks the packet when it comes to the gateway. The gateway explains it at the same instant, and once more
//! when it has dealt with the packet: if the explanations differ, the gateway has changed in between, and the packet
//! proves nothing.

use std::time::Duration;

use gatepost::control::drops::NewDrops;
use gatepost::error::Error;
use gatepost::gateway::inspector::Inspector;
use tokio::time::{sleep, timeout};

use super::clock::now;
use super::observer::Shared;
use super::power::Power;

/// How often a packet is asked about.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a checker may wait for a packet.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the gateway may deal with a packet.
const DEALT_WITHIN: Duration = Duration::from_millis(10);

/// Has `inspector` explain packets, for ever, and informs the checkers.
pub(crate) async fn explain(inspector: Inspector, power: Power, observer: Shared) -> Result<(), Error> {
    let picked = observer.borrow().picked();
    loop {
        sleep(INTERVAL).await;
        let Ok(mut cursor) = inspector.drops_end().await else { continue };
        observer.borrow_mut().on_asking();
        if timeout(PATIENCE, picked.notified()).await.is_err() {
            continue;
        }
        let Some(asked) = observer.borrow().question() else { continue };
        let first = inspector.explain(&asked).await;
        sleep(DEALT_WITHIN).await;
        let second = inspector.explain(&asked).await;
        let drops = inspector.new_drops(&mut cursor).await;
        let (Ok(first), Ok(second), Ok(NewDrops { drops, missed: 0 })) = (first, second, drops) else {
            continue;
        };
        if power.is_on() && (&first.verdict, &first.reason) == (&second.verdict, &second.reason) {
            observer.borrow_mut().on_explained(now(), &first, &drops);
        }
    }
}
