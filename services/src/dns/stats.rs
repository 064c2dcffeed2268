//! The counters of the DNS service.

gatepost_ground::counters! {
/// Counters since the start, except `cached_records`.
pub struct Stats {
    /// Messages from clients.
    pub queries: u64,
    /// Malformed messages, ignored or rejected.
    pub malformed: u64,
    /// Queries refused to clients without recursion.
    pub refused: u64,
    /// Queries answered from the zone alone.
    pub local: u64,
    /// Queries answered from the cache at least partly, without waiting.
    pub cached: u64,
    /// Queries that waited for upstream servers.
    pub forwarded: u64,
    /// Exchanges with upstream servers for popular answers that would expire soon.
    pub prefetched: u64,
    /// Questions to which expired answers were given, as upstream servers had not answered in time, or could not be
    /// queried.
    pub stale: u64,
    /// Exchanges with upstream servers that failed.
    pub upstream_failures: u64,
    /// Answers for public names from which the rebinding filter has removed private addresses.
    pub rebinding_filtered: u64,
    /// Queries answered with SERVFAIL because a table or a share was full, or there is no upstream server.
    pub unanswerable: u64,
    /// Queries answered with SERVFAIL or an expired answer because their client had its share of waiting queries.
    pub client_share_full: u64,
    /// Queries answered with SERVFAIL or an expired answer because their zone had its share of exchanges.
    pub zone_share_full: u64,
    /// Exchanges with upstream servers that were cancelled for the query of a less busy client.
    pub exchanges_recycled: u64,
    /// Answers to clients on the WAN that were dropped by the rate limit of their network.
    pub rate_limited: u64,
    /// Answers beyond the rate limit that were sent without records and with TC.
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
