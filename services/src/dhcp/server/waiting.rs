//! Changes of leases that wait until they are on disk.
//!
//! What waits has not happened yet for those who read the lease table. So that it can still happen when its turn comes,
//! nothing that contradicts it joins: an address is in one change at a time, a client is given one address at a time, and
//! a name goes to one client. A client that is not answered for that reason asks again.
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
