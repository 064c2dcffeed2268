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
    /// Messages that were shown to judges outside.
    pub judged: u64,
    /// Messages that a judge refused.
    pub judged_away: u64,
    /// Times that a judge had no opinion in time, and the message was taken all the same.
    pub judges_silent: u64,
    /// Messages that were refused before they came, as their network had sent as many as it may.
    pub rate_limited: u64,
    /// Recipients that were taken.
    pub recipients: u64,
    /// Recipients that were refused: there is no such mailbox, or it is full.
    pub recipients_refused: u64,
    /// Recipients at other domains that were refused to clients that may not send there.
    pub relaying_refused: u64,
    /// Messages from outside whose client may send for the domain of the return path (SPF).
    pub spf_pass: u64,
    /// Messages from outside whose client may not, or should not.
    pub spf_fail: u64,
    /// Messages from outside of whose client that domain says nothing.
    pub spf_none: u64,
    /// Messages from outside of which SPF is not known, as its records are wrong or cannot be had.
    pub spf_errors: u64,
    /// Signatures of messages from outside that are right (DKIM).
    pub dkim_pass: u64,
    /// Signatures of messages from outside that are of other messages.
    pub dkim_fail: u64,
    /// Signatures of messages from outside that cannot be read, have expired or prove nothing.
    pub dkim_not_taken: u64,
    /// Signatures of messages from outside whose keys cannot be used, or cannot be had.
    pub dkim_errors: u64,
    /// Messages from outside that are from the domain that they name as their author's (DMARC).
    pub dmarc_pass: u64,
    /// Messages from outside that are not.
    pub dmarc_fail: u64,
    /// Messages from outside of which that domain says nothing.
    pub dmarc_none: u64,
    /// Messages from outside that name no such domain, or of which DMARC cannot be known.
    pub dmarc_errors: u64,
    /// Messages that went to the folder for junk.
    pub messages_junk: u64,
    /// Messages that a rule has discarded, each for one user.
    pub messages_discarded: u64,
    /// Addresses that rules have sent messages on to.
    pub messages_forwarded: u64,
    /// Answers of those who are away.
    pub vacation_answers: u64,
    /// Logins that were right.
    pub logins: u64,
    /// Logins that were wrong, or could not be checked.
    pub logins_failed: u64,
}
}
