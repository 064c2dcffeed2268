//! The counters of polling.

gatepost_ground::counters! {
/// Counters since the gateway started.
pub struct Stats {
    /// Established connections to servers of accounts.
    pub connections: u64,
    /// Polls that failed.
    pub failures: u64,
    /// Messages that were fetched, and are in mailboxes here.
    pub fetched: u64,
    /// Messages that were deleted on their servers.
    pub deleted: u64,
    /// Failed messages that are tried again.
    pub set_back: u64,
    /// Messages passed to judges.
    pub judged: u64,
    /// Messages that a judge rejected, and that were filed as junk.
    pub judged_away: u64,
    /// Messages accepted without a judge's verdict, as it did not answer in time.
    pub judges_silent: u64,
}
}
