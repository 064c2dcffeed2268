//! What the name service counts.

gatepost_ground::counters! {
/// What has happened since the start. Everything but `cached_records` only grows.
pub struct Stats {
    /// Messages from clients.
    pub queries: u64,
    /// Of those, the ones that were no question: ignored or rejected.
    pub malformed: u64,
    /// Questions refused to clients that may not ask them.
    pub refused: u64,
    /// Questions answered from the zone alone.
    pub local: u64,
    /// Questions answered from the cache, partly at least, and without waiting.
    pub cached: u64,
    /// Questions that waited for upstream servers.
    pub forwarded: u64,
    /// Exchanges with upstream servers that failed.
    pub upstream_failures: u64,
    /// Questions answered with SERVFAIL because a table was full or no upstream server is known; those that
    /// `client_share_full` and `zone_share_full` count are among them.
    pub unanswerable: u64,
    /// Questions answered with SERVFAIL because their client had its share of waiting questions.
    pub client_share_full: u64,
    /// Questions answered with SERVFAIL because their zone had its share of exchanges.
    pub zone_share_full: u64,
    /// Exchanges with upstream servers that were given up for the question of a less busy client.
    pub exchanges_recycled: u64,
    /// Answers to clients on the WAN that were not sent: their network had got its number already.
    pub rate_limited: u64,
    /// Of the answers beyond that number, those sent without records and with TC.
    pub rate_limited_truncated: u64,
    /// Answers lost because the queue of their socket or connection was full.
    pub replies_lost: u64,
    /// TCP connections that were closed for a new one of a source with fewer, or of the same source.
    pub connections_recycled: u64,
    /// TCP connections that were closed at once: their source had its share, or the table was full, and no
    /// connection was idle.
    pub connections_refused: u64,
    /// Records in the cache now.
    pub cached_records: u64,
}
}
