//! The counters of delivery.

gatepost_ground::counters! {
/// Counters since the gateway started.
pub struct Stats {
    /// Remote recipients that wait now.
    pub queued: u64,
    /// Established connections to other servers.
    pub connections: u64,
    /// Connections to other servers that failed.
    pub connections_failed: u64,
    /// Recipients accepted by another server.
    pub delivered: u64,
    /// Recipients that are to be tried again.
    pub deferred: u64,
    /// Recipients that were given up.
    pub failed: u64,
    /// Recipients that may have a message twice: the reply to its end was lost.
    pub perhaps_delivered: u64,
    /// Times that a message of the office was signed by DKIM to be sent.
    pub signed: u64,
    /// Times that a message of the office was sent without a signature, as there were no keys or it is too odd.
    pub not_signed: u64,
    /// Notices to senders: of failure, of delay, and requested ones.
    pub notices: u64,
    /// Notices that could not be sent to a sender, and went to the postmaster.
    pub notices_to_postmaster: u64,
    /// Outcomes that the store did not take at once.
    pub kept_late: u64,
}
}
