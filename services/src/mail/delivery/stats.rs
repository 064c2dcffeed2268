//! What the way out counts.

gatepost_ground::counters! {
/// What has happened since the gateway began.
pub struct Stats {
    /// Recipients elsewhere that wait now.
    pub queued: u64,
    /// Connections to other servers that came about.
    pub connections: u64,
    /// Connections to other servers that did not come about.
    pub connections_failed: u64,
    /// Recipients that another server has taken.
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
    /// Notices to senders: of failure, of delay, and those that were asked for.
    pub notices: u64,
    /// Notices that nobody could be sent, and that the postmaster has.
    pub notices_to_postmaster: u64,
    /// Outcomes that the store did not take at once.
    pub kept_late: u64,
}
}
