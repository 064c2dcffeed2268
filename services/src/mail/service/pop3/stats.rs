//! The counters of POP3.

gatepost_ground::counters! {
/// Counters since the gateway started.
pub struct Stats {
    /// Connections that were served.
    pub connections: u64,
    /// Rejected or closed connections: their source had reached its share, or there were too many.
    pub connections_refused: u64,
    /// Connections lost before QUIT.
    pub connections_lost: u64,
    /// Logins that were right.
    pub logins: u64,
    /// Logins that were wrong, or could not be checked.
    pub logins_failed: u64,
    /// Logins that were right while another session had the mailbox.
    pub mailbox_in_use: u64,
    /// Messages that were fetched, whole or in part.
    pub messages: u64,
    /// Octets of messages that were sent.
    pub octets: u64,
    /// Messages that could not be read.
    pub messages_unreadable: u64,
    /// Messages that were deleted.
    pub messages_deleted: u64,
}
}
