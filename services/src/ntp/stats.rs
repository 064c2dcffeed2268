//! What the time server counts.

gatepost_ground::counters! {
/// What has happened since the start.
pub struct Stats {
    /// Datagrams that came.
    pub requests: u64,
    /// Of those, the ones that are no NTP packet of versions 1 to 4: not answered.
    pub malformed: u64,
    /// Of those, packets of modes that ask for no time (answers, broadcast, control, private): not answered.
    pub other_modes: u64,
    /// Requests that were answered with the time.
    pub answered: u64,
    /// Of those, the ones that were answered while nothing kept the machine's clock.
    pub answered_unsynchronised: u64,
    /// Requests beyond what one source, or all together, get answered.
    pub rate_limited: u64,
    /// Of those, the ones that were answered with the kiss code RATE.
    pub kisses_sent: u64,
    /// Answers that could not be sent.
    pub replies_lost: u64,
}
}
