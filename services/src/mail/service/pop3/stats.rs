//! What POP3 counts.

gatepost_ground::counters! {
/// What has happened since the gateway began.
pub struct Stats {
    /// Connections that were served.
    pub connections: u64,
    /// Connections that were refused or sent away: their source had its share, or there were too many.
    pub connections_refused: u64,
    /// Connections that were lost before their client had said QUIT.
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
