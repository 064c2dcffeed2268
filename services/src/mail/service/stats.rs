//! What a mail service counts.

gatepost_ground::counters! {
/// What has happened since the gateway began.
pub struct Stats {
    /// Connections that were served.
    pub connections: u64,
    /// Connections that were refused or sent away: their source had its share, or there were too many.
    pub connections_refused: u64,
    /// Connections that were lost before their client had said QUIT.
    pub connections_lost: u64,
    /// Messages that were taken, and are safe.
    pub messages: u64,
    /// The octets of those.
    pub octets: u64,
    /// Messages of which a part had been kept when they were refused, or their client had gone.
    pub messages_refused: u64,
    /// Messages that were refused before they came, as their network had sent as many as it may.
    pub rate_limited: u64,
    /// Recipients that were taken.
    pub recipients: u64,
    /// Recipients that were refused: there is no such mailbox, or it is full.
    pub recipients_refused: u64,
    /// Recipients at other domains that were refused to clients that may not send there.
    pub relaying_refused: u64,
    /// Logins that were right.
    pub logins: u64,
    /// Logins that were wrong, or could not be checked.
    pub logins_failed: u64,
}
}
