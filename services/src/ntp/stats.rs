//! The counters of the time server and the time client.

gatepost_ground::counters! {
/// The counters since the start.
pub struct Stats {
    /// Datagrams received by the server.
    pub requests: u64,
    /// Of those, the ones that are no NTP packet of versions 1 to 4: not answered.
    pub malformed: u64,
    /// Of those, packets of other modes than client and symmetric active: not answered.
    pub other_modes: u64,
    /// Requests that were answered with the time.
    pub answered: u64,
    /// Of those, the ones that were answered while no daemon disciplined the machine's clock and the client had no
    /// time.
    pub answered_unsynchronised: u64,
    /// Requests over the limit of one source, or of all together.
    pub rate_limited: u64,
    /// Of those, the ones that were answered with the kiss code RATE.
    pub kisses_sent: u64,
    /// Answers that could not be sent.
    pub replies_lost: u64,
    /// Requests of the time client.
    pub source_requests: u64,
    /// Answers of its time servers that became samples.
    pub source_answers: u64,
    /// Datagrams from its time servers that do not answer the latest request: forged, late or duplicated.
    pub source_bogus: u64,
    /// Answers of its time servers that are unsynchronised, too far from the root, or have impossible timestamps.
    pub source_unusable: u64,
    /// Kisses-o'-death of its time servers: fewer requests (RATE) or none (DENY, RSTR).
    pub source_kisses: u64,
    /// Answers after which no majority of its time servers agreed.
    pub source_disagreements: u64,
    /// Steps of the served time: at the start, or after 300 s of an offset of more than 128 ms.
    pub time_steps: u64,
}
}
