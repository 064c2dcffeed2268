//! What polling counts.

gatepost_ground::counters! {
/// What has happened since the gateway began.
pub struct Stats {
    /// Connections to servers of accounts that came about.
    pub connections: u64,
    /// Looks at accounts that did not fetch them to their end.
    pub failures: u64,
    /// Messages that were fetched, and are in mailboxes here.
    pub fetched: u64,
    /// Messages that were deleted on their servers.
    pub deleted: u64,
    /// Messages that could not be taken, and are tried again.
    pub set_back: u64,
    /// Messages that were shown to judges outside.
    pub judged: u64,
    /// Messages that a judge refused, and that went to the folder for junk.
    pub judged_away: u64,
    /// Times that a judge had no opinion in time, and the message was taken all the same.
    pub judges_silent: u64,
}
}
