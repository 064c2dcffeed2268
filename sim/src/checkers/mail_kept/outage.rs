//! The times in which the gateway has no address outside: queued messages are not tried then.

use std::collections::BTreeMap;
use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::mail::store::QueueId;

use crate::world::disk::DiskMood;
use crate::world::mail_store::StoredEntry;

/// The store has the outcome of an earlier try within this time, on a disk that works.
const STORED_WITHIN: Duration = Duration::from_secs(15);
/// The interval at which the checker reads the queue during an outage.
const LOOKS_EVERY: Duration = Duration::from_secs(10);

/// Watches for tries in outages.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The time of the latest report, and whether the gateway had an address outside.
    heard: Option<(Instant, bool)>,
    /// Since when it has one, or has none.
    since: Instant,
    look_at: Instant,
    has_bad_disk: bool,
    /// The number of tries of each entry when the outage began; `None` if not known yet.
    tries: Option<BTreeMap<QueueId, u32>>,
}

impl Outage {
    /// The gateway boots: nothing is known of it.
    pub fn on_boot(&mut self) {
        (self.heard, self.tries) = (None, None);
    }

    /// The disk fails, so outcomes of tries are stored late.
    pub fn on_disk(&mut self, mood: DiskMood) {
        self.has_bad_disk = mood != DiskMood::Sound;
        self.restart();
    }

    fn restart(&mut self) {
        self.tries = None;
        if let Some((now, _)) = self.heard {
            self.look_at = now + STORED_WITHIN;
        }
    }

    /// Observes whether the gateway has an address outside at `now`. Returns whether the checker has to read the queue.
    pub fn is_due(&mut self, now: Instant, has_address: bool) -> bool {
        let before = self.heard.replace((now, has_address));
        if before.is_none_or(|(_, had_address)| had_address != has_address) {
            self.since = now;
            self.restart();
        }
        if has_address || self.has_bad_disk || now < self.look_at {
            return false;
        }
        self.look_at = now + LOOKS_EVERY;
        true
    }

    /// Compares the queue with its state when the outage began.
    ///
    /// # Errors
    ///
    /// Something was tried since.
    pub fn look(&mut self, queue: BTreeMap<QueueId, StoredEntry>) -> Result<(), String> {
        let Some(before) = &self.tries else {
            self.tries = Some(queue.into_iter().map(|(id, entry)| (id, entry.tries)).collect());
            return Ok(());
        };
        for (id, StoredEntry { recipient, tries, reply, .. }) in queue {
            let tried = before.get(&id).copied().unwrap_or(0);
            if tries > tried {
                return Err(format!(
                    "message {id} for {recipient} had {tried} tries when the way out was lost, and has {tries} ({reply})"
                ));
            }
        }
        Ok(())
    }

    /// The time of the latest report, and since when the gateway has an address outside, if it has one.
    pub fn way_out_since(&self) -> Option<(Instant, Instant)> {
        let (now, has_address) = self.heard?;
        has_address.then_some((now, self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: QueueId = QueueId { message: 7, recipient: 0 };

    fn queue(tries: u32) -> BTreeMap<QueueId, StoredEntry> {
        BTreeMap::from([(ID, StoredEntry { tries, ..StoredEntry::default() })])
    }

    /// The result for an entry's tries at these seconds, whenever the checker reads the queue.
    fn reported(outage: &mut Outage, has_address: bool, tries: &[(u64, u32)]) -> Vec<bool> {
        let look = |&(secs, tries): &(u64, u32)| {
            let is_due = outage.is_due(Instant::from_secs(secs), has_address);
            is_due.then(|| outage.look(queue(tries)).is_ok())
        };
        tries.iter().filter_map(look).collect()
    }

    #[test]
    fn what_is_tried_in_an_outage_is_told() {
        let mut outage = Outage::default();
        assert_eq!(reported(&mut outage, true, &[(1, 0), (20, 1)]), [false; 0], "there is a way out");
        assert_eq!(
            reported(&mut outage, false, &[(21, 1), (30, 2), (36, 2), (40, 2), (46, 2)]),
            [true, true]
        );
        assert_eq!(reported(&mut outage, false, &[(56, 3)]), [false]);
        outage.on_disk(DiskMood::Slow);
        assert_eq!(reported(&mut outage, false, &[(90, 3), (110, 4)]), [false; 0]);
        outage.on_disk(DiskMood::Sound);
        assert_eq!(
            reported(&mut outage, false, &[(111, 4), (130, 5), (140, 5), (150, 6)]),
            [true, true, false]
        );
        assert_eq!(reported(&mut outage, true, &[(151, 9)]), [false; 0]);
        assert_eq!(outage.way_out_since(), Some((Instant::from_secs(151), Instant::from_secs(151))));
    }
}
