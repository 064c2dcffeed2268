//! Changes of leases that wait until they are on disk.
//!
//! What waits has not happened yet for those who read the lease table. So that it can still happen when its turn comes,
//! nothing that contradicts it joins: an address is in one change at a time, a client is given one address at a time,
//! and a name goes to one client. A client that is not answered for that reason asks again.
//!
//! All that waits when the disk is free is written together, and shares one sync; known clients that renew apart from
//! others, as on a full disk those have a reserve of their own. At most [`WAITING_MAX`] changes wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::Ipv4Addr;

use super::journal::For;
use super::leases::{ClientKey, Lease, State};

/// The most changes that wait for the disk, with those that are being written. Beyond it none is taken.
pub const WAITING_MAX: usize = 1024;

/// The new states of addresses that change together. The first says whose change it is.
#[derive(Debug)]
pub(super) struct Change {
    pub whose: For,
    pub leases: Vec<Lease>,
}

impl Change {
    /// The lease that a client is to be given, if this gives one.
    pub fn given(&self) -> Option<&Lease> {
        self.leases.first().filter(|lease| lease.state == State::Bound)
    }
}

/// The changes, in order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: VecDeque<Change>,
    /// Those of the queue's changes that are being written.
    writing: Vec<Change>,
    addresses: BTreeSet<Ipv4Addr>,
    clients: BTreeSet<ClientKey>,
    /// Who is to be called so.
    names: BTreeMap<String, ClientKey>,
}

impl Waiting {
    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.queue.len() + self.writing.len()
    }

    /// Whether a change of `address` waits.
    pub fn concerns(&self, address: Ipv4Addr) -> bool {
        self.addresses.contains(&address)
    }

    /// The client that is to be called `name`.
    pub fn named(&self, name: &str) -> Option<&ClientKey> {
        self.names.get(name)
    }

    /// Whether `change` may join.
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

    /// Has `change`, which [may](Self::check), join.
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

    /// Begins to write, unless something is being written: all that waits and is as known as the first.
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

    /// What is to be written now.
    pub fn writing(&self) -> &[Change] {
        &self.writing
    }

    /// Ends what was begun, and returns it.
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

    /// A lease of the address `last` to the client `number`, who is to be called `name`.
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

    fn change(whose: For, leases: &[Lease]) -> Change {
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
        assert!(join(&mut waiting, change(For::Others, &[lease(2, 1, Some("pc")), lease(3, 9, None)])));
        waiting.begin();
        let contradictions = [
            lease(2, 2, None), // the address
            lease(3, 2, None), // that which changes along with it
            lease(4, 1, None), // the client
            lease(4, 2, Some("pc")),
        ];
        let contradictions = contradictions.map(|lease| change(For::Others, &[lease]));
        for contradiction in &contradictions {
            let refused = waiting.check(contradiction).map_err(|error| error.kind());
            assert_eq!(refused, Err(io::ErrorKind::WouldBlock), "{contradiction:?}");
        }
        assert!(waiting.check(&change(For::Others, &[lease(4, 2, Some("mac"))])).is_ok());
        assert_eq!((waiting.finish().len(), waiting.len()), (1, 0));
        assert!(contradictions.iter().all(|change| waiting.check(change).is_ok()));
    }

    /// Only who is given an address is given one at a time: the same client may release another meanwhile.
    #[test]
    fn who_gives_an_address_back_is_given_another_meanwhile() {
        let mut waiting = Waiting::default();
        let released = Lease { state: State::Released, ..lease(2, 1, Some("pc")) };
        assert!(join(&mut waiting, change(For::Others, &[released])));
        assert_eq!(waiting.named("pc"), None);
        assert!(join(&mut waiting, change(For::Others, &[lease(3, 1, Some("pc"))])));
        assert_eq!(waiting.named("pc"), Some(&lease(3, 1, None).client));
    }

    #[test]
    fn known_clients_and_others_are_written_apart_and_one_after_the_other() {
        let mut waiting = Waiting::default();
        for (last, whose) in [(2, For::Known), (3, For::Others), (4, For::Known)] {
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
            change(For::Others, &[Lease { address, client: ClientKey::Mac(mac), ..lease(2, 1, None) }])
        };
        assert!((0..WAITING_MAX - 1).all(|number| join(&mut waiting, distinct(number))));
        waiting.begin();
        assert!(join(&mut waiting, distinct(WAITING_MAX)));
        assert!(!join(&mut waiting, distinct(WAITING_MAX + 1)));
    }
}
