//! How mail stands, in a few numbers.

use super::ground::Ground;

/// How mail stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Recipients elsewhere who do not have their message yet.
    pub queued: usize,
    /// Those of them that are held.
    pub held: usize,
    /// Mailboxes.
    pub mailboxes: usize,
    /// Messages in all of them.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
    /// Connections of all mail services.
    pub connections: usize,
    /// Those from outside of the LAN.
    pub connections_outside: usize,
}

impl Ground {
    /// How mail stands now. While the store is not open nothing is known of what is in it.
    pub fn overview(&self) -> Overview {
        let (connections, connections_outside) = self.connections.count();
        let mut overview = Overview { connections, connections_outside, ..Overview::default() };
        if let Some(opened) = self.opened() {
            opened.store.look(|state| {
                for (_, entry) in state.queue() {
                    overview.queued += 1;
                    overview.held += usize::from(entry.progress.is_held);
                }
                for mailbox in state.mailboxes() {
                    overview.mailboxes += 1;
                    overview.messages += mailbox.entries().len();
                    overview.octets += mailbox.used();
                }
            });
        }
        overview
    }
}
