//! Changes of leases that wait until they are on disk.
//!
//! Readers of the lease table do not see pending changes. A change that contradicts a pending one is rejected, so that
//! each can take effect in its turn: an address is in one change at a time, a client gets one address at a time, and a
//! name goes to one client. A client without an answer for that reason retransmits.
//!
//! All changes that are pending when the disk is free are written together, with one sync; renewals of known clients
//! apart from others, as on a full disk those have a reserve of their own. At most [`WAITING_MAX`] changes wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::Ipv4Addr;

use super::journal::Priority;
use super::leases::{ClientKey, Lease, State};

/// The most pending changes, including those that are being written. Further ones are rejected.
pub const WAITING_MAX: usize = 1024;

/// The new states of addresses that change together. The first one determines the priority.
#[derive(Debug)]
pub(super) struct Change {
    pub whose: Priority,
    pub leases: Vec<Lease>,
}

impl Change {
    /// The lease that this grants, if it grants one.
    pub fn given(&self) -> Option<&Lease> {
        self.leases.first().filter(|lease| lease.state == State::Bound)
    }
}

/// The changes, in order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: VecDeque<Change>,
    /// The changes that are being written.
    writing: Vec<Change>,
    addresses: BTreeSet<Ipv4Addr>,
    clients: BTreeSet<ClientKey>,
    /// The clients of pending names.
    names: BTreeMap<String, ClientKey>,
}

impl Waiting {
    /// The number of changes.
    pub fn len(&self) -> usize {
        self.queue.len() + self.writing.len()
    }

    /// All changes.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.queue.iter().chain(&self.writing)
    }

    /// Whether a change of `address` is pending.
    pub fn concerns(&self, address: Ipv4Addr) -> bool {
        self.addresses.contains(&address)
    }

    /// The client with the pending name `name`.
    pub fn named(&self, name: &str) -> Option<&ClientKey> {
        self.names.get(name)
    }

    /// Whether `change` may be queued.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`]
    pub fn check(&self, change: &Change) -> io::Result<()> {
        let given = change.given();
        let contradicts = change.leases.iter().any(|lease| self.concerns(lease.address))
            || given.is_some_and(|lease| self.clients.contains(&lease.client))
            || given
                .and_then(|lease| lease.hostname.as_ref())
                .is_some_and(|name| self.names.contains_key(name));
        if contradicts || self.len() >= WAITING_MAX {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "too much waits for the disk"));
        }
        Ok(())
    }

    /// Queues `change`, which [may](Self::check) be queued.
    pub fn push(&mut self, change: Change) {
        self.addresses.extend(change.leases.iter().map(|lease| lease.address));
        if let Some(lease) = change.given() {
            self.clients.insert(lease.client.clone());
            if let Some(name) = &lease.hostname {
                self.names.insert(name.clone(), lease.client.clone());
            }
        }
        self.queue.push_back(change);
    }

    /// Begins a write unless one is in progress: of all pending changes with the priority of the first.
    pub fn begin(&mut self) {
        if self.writing.is_empty()
            && let Some(whose) = self.queue.front().map(|change| change.whose)
        {
            let queue = std::mem::take(&mut self.queue);
            let (writing, others): (Vec<_>, Vec<_>) =
                queue.into_iter().partition(|change| change.whose == whose);
            (self.writing, self.queue) = (writing, others.into());
        }
    }

    /// The changes that are being written.
    pub fn writing(&self) -> &[Change] {
        &self.writing
    }

    /// Ends the write, and returns its changes.
    pub fn finish(&mut self) -> Vec<Change> {
        let finished = std::mem::take(&mut self.writing);
        for change in &finished {
            for lease in &change.leases {
                self.addresses.remove(&lease.address);
            }
            if let Some(lease) = change.given() {
                self.clients.remove(&lease.client);
                if let Some(name) = &lease.hostname {
                    self.names.remove(name);
                }
            }
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::{Instant, MacAddr};

    use super::*;
    use crate::clock::UnixTime;

    /// A lease of the address `last` to the client `number` with the name `name`.
    fn lease(last: u8, number: u8, name: Option<&str>) -> Lease {
        let mac = MacAddr([2, 0, 0, 0, 0, number]);
        Lease {
            address: Ipv4Addr::new(192, 168, 1, last),
            client: ClientKey::Mac(mac),
            mac,
            source: mac,
            hostname: name.map(str::to_owned),
            state: State::Bound,
            since: UnixTime(0),
            until: UnixTime(60),
            expires: Instant::from_secs(60),
            surely_ended: Instant::from_secs(60),
        }
    }

    fn change(whose: Priority, leases: &[Lease]) -> Change {
        Change { whose, leases: leases.to_vec() }
    }

    fn join(waiting: &mut Waiting, change: Change) -> bool {
        let may_join = waiting.check(&change).is_ok();
        if may_join {
            waiting.push(change);
        }
        may_join
    }

    #[test]
    fn what_contradicts_a_change_that_waits_joins_once_that_has_ended() {
        let mut waiting = Waiting::default();
        assert!(join(&mut waiting, change(Priority::Others, &[lease(2, 1, Some("pc")), lease(3, 9, None)])));
        waiting.begin();
        let contradictions = [
            lease(2, 2, None), // the address
            lease(3, 2, None), // that which changes along with it
            lease(4, 1, None), // the client
            lease(4, 2, Some("pc")),
        ];
        let contradictions = contradictions.map(|lease| change(Priority::Others, &[lease]));
        for contradiction in &contradictions {
            let refused = waiting.check(contradiction).map_err(|error| error.kind());
            assert_eq!(refused, Err(io::ErrorKind::WouldBlock), "{contradiction:?}");
        }
        assert!(waiting.check(&change(Priority::Others, &[lease(4, 2, Some("mac"))])).is_ok());
        assert_eq!((waiting.finish().len(), waiting.len()), (1, 0));
        assert!(contradictions.iter().all(|change| waiting.check(change).is_ok()));
    }

    /// A client gets only one address at a time, but may release another meanwhile.
    #[test]
    fn who_gives_an_address_back_is_given_another_meanwhile() {
        let mut waiting = Waiting::default();
        let released = Lease { state: State::Released, ..lease(2, 1, Some("pc")) };
        assert!(join(&mut waiting, change(Priority::Others, &[released])));
        assert_eq!(waiting.named("pc"), None);
        assert!(join(&mut waiting, change(Priority::Others, &[lease(3, 1, Some("pc"))])));
        assert_eq!(waiting.named("pc"), Some(&lease(3, 1, None).client));
    }

    #[test]
    fn known_clients_and_others_are_written_apart_and_one_after_the_other() {
        let mut waiting = Waiting::default();
        for (last, whose) in [(2, Priority::Known), (3, Priority::Others), (4, Priority::Known)] {
            assert!(join(&mut waiting, change(whose, &[lease(last, last, None)])));
        }
        let written = |waiting: &Waiting| {
            waiting.writing().iter().map(|change| change.leases[0].address.octets()[3]).collect::<Vec<_>>()
        };
        waiting.begin();
        assert_eq!(written(&waiting), [2, 4]);
        waiting.begin();
        assert_eq!((written(&waiting), waiting.len()), (vec![2, 4], 3), "what is begun stays");
        waiting.finish();
        waiting.begin();
        assert_eq!(written(&waiting), [3]);
    }

    #[test]
    fn what_is_being_written_counts() {
        let mut waiting = Waiting::default();
        let distinct = |number: usize| {
            let mac = MacAddr([2, 0, 0, 0, (number >> 8) as u8, number as u8]);
            let address = Ipv4Addr::from_bits(0x0a00_0000 + number as u32);
            change(Priority::Others, &[Lease { address, client: ClientKey::Mac(mac), ..lease(2, 1, None) }])
        };
        assert!((0..WAITING_MAX - 1).all(|number| join(&mut waiting, distinct(number))));
        waiting.begin();
        assert!(join(&mut waiting, distinct(WAITING_MAX)));
        assert!(!join(&mut waiting, distinct(WAITING_MAX + 1)));
    }
}
