//! The counters of a mail service.

gatepost_ground::counters! {
/// Counters since the gateway started.
pub struct Stats {
    /// Connections that were served.
    pub connections: u64,
    /// Rejected or closed connections: their source had reached its share, or there were too many.
    pub connections_refused: u64,
    /// Connections lost before QUIT.
    pub connections_lost: u64,
    /// Accepted messages, which are durable.
    pub messages: u64,
    /// The octets of those.
    pub octets: u64,
    /// Messages partly received when they were rejected, or their client disconnected.
    pub messages_refused: u64,
    /// Messages passed to judges.
    pub judged: u64,
    /// Messages rejected by a judge.
    pub judged_away: u64,
    /// Messages accepted without a judge's verdict, as it did not answer in time.
    pub judges_silent: u64,
    /// Messages rejected at MAIL by the rate limit of their network.
    pub rate_limited: u64,
    /// Accepted recipients.
    pub recipients: u64,
    /// Rejected recipients: there is no such mailbox, or it is full.
    pub recipients_refused: u64,
    /// Recipients at other domains rejected from clients that may not relay.
    pub relaying_refused: u64,
    /// Messages from outside with the SPF result pass.
    pub spf_pass: u64,
    /// Messages from outside with the SPF result fail or softfail.
    pub spf_fail: u64,
    /// Messages from outside with the SPF result none or neutral.
    pub spf_none: u64,
    /// Messages from outside with an SPF error.
    pub spf_errors: u64,
    /// Signatures of messages from outside that are right (DKIM).
    pub dkim_pass: u64,
    /// Signatures of messages from outside that are of other messages.
    pub dkim_fail: u64,
    /// Signatures of messages from outside that cannot be read, have expired or prove nothing.
    pub dkim_not_taken: u64,
    /// Signatures of messages from outside with an unusable or unavailable key.
    pub dkim_errors: u64,
    /// Messages from outside that are from the domain that they name as their author's (DMARC).
    pub dmarc_pass: u64,
    /// Messages from outside that are not.
    pub dmarc_fail: u64,
    /// Messages from outside whose domain has no DMARC record.
    pub dmarc_none: u64,
    /// Messages from outside with a DMARC error.
    pub dmarc_errors: u64,
    /// Messages filed as junk.
    pub messages_junk: u64,
    /// Messages that a rule has discarded, each for one user.
    pub messages_discarded: u64,
    /// Addresses that rules have sent messages on to.
    pub messages_forwarded: u64,
    /// Vacation answers.
    pub vacation_answers: u64,
    /// Logins that were right.
    pub logins: u64,
    /// Logins that were wrong, or could not be checked.
    pub logins_failed: u64,
}
}
