//! The counters of the administration.

gatepost_ground::counters! {
/// Counters since the gateway started.
pub struct Stats {
    /// Connections that were served.
    pub connections: u64,
    /// Connections that were rejected: their source had reached its share, or there were too many.
    pub connections_refused: u64,
    /// Connections that were closed to make room for new ones, when there were too many.
    pub connections_displaced: u64,
    /// Connections that were closed because their client was too slow.
    pub connections_timed_out: u64,
    /// Connections that were broken off, or on which came neither TLS nor HTTP.
    pub connections_lost: u64,
    /// Requests under TLS that were answered by pages or files.
    pub requests: u64,
    /// Answers that grew while they were sent: events, and large downloads.
    pub streams: u64,
    /// Such answers that were refused, as their session had as many as it may.
    pub streams_refused: u64,
    /// Requests in clear that were redirected to https.
    pub redirected: u64,
    /// Requests that named no host of the gateway's.
    pub wrong_host: u64,
    /// Requests that were refused for another reason, such as their method or length.
    pub requests_refused: u64,
    /// Forms that were refused: they came from another site, had no valid token, or were broken.
    pub forms_refused: u64,
    /// Logins that were right.
    pub logins: u64,
    /// Logins and codes that were wrong, or could not be checked.
    pub logins_failed: u64,
    /// Logins and codes that were not checked, as there were too many failures.
    pub logins_limited: u64,
    /// Logins by a ticket, of browsers that have come from the gateway's former address.
    pub logins_by_ticket: u64,
    /// Sessions that were ended to make room for new ones.
    pub sessions_displaced: u64,
}
}
