//! The counters of the time server and the time client.

gatepost_ground::counters! {
/// The counters since the start.
pub struct Stats {
    /// Datagrams received by the server.
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
    /// Requests to time servers elsewhere.
    pub source_requests: u64,
    /// Their answers that were measured.
    pub source_answers: u64,
    /// Datagrams from them that are no answer to the latest request: forged, late or sent twice.
    pub source_bogus: u64,
    /// Answers of theirs without a time, or with one that cannot be.
    pub source_unusable: u64,
    /// Kiss codes of theirs that ask for fewer requests (RATE) or none (DENY, RSTR).
    pub source_kisses: u64,
    /// Answers after which no majority of the time servers elsewhere agreed.
    pub source_disagreements: u64,
    /// Jumps of the time that is told, at the start or after 300 s of a large difference.
    pub time_steps: u64,
}
}
