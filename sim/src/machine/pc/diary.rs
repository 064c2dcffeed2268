//! A PC's record of its activities.

use std::fmt;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;

/// Successes and failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diary {
    /// The address, with its prefix.
    pub address: Option<Ipv4Net>,
    /// The first address that it ever had.
    pub first_address: Option<Ipv4Net>,
    /// When the latest address was got.
    pub address_since: Option<Instant>,
    /// How often an address was lost.
    pub addresses_lost: u64,
    /// Names that were answered.
    pub lookups: u64,
    /// When a colleague's name was last answered.
    pub last_colleague_at: Option<Instant>,
    /// Look-ups without an answer.
    pub lookups_failed: u64,
    /// Pages that came whole.
    pub pages: u64,
    /// Pages that did not come.
    pub pages_failed: u64,
    /// Pages with wrong octets: this never may happen where no link corrupts.
    pub pages_wrong: u64,
    /// When the latest page came.
    pub last_page_at: Option<Instant>,
    /// Lines of chat that came back.
    pub chat_lines: u64,
    /// When the latest of them did.
    pub last_chat_at: Option<Instant>,
    /// Chats that ended without being asked to.
    pub chats_broken: u64,
    /// Pages from a server of the office's, by the address that the internet knows.
    pub hairpin_pages: u64,
    /// Answers from the server that answers late.
    pub late_answers: u64,
    /// Pings that came back.
    pub echoes: u64,
    /// Names that were answered over TCP.
    pub tcp_lookups: u64,
    /// Look-ups over TCP without an answer.
    pub tcp_lookups_failed: u64,
    /// The number of NTP answers.
    pub times_told: u64,
    /// How often the gateway wanted to be asked less often.
    pub times_refused: u64,
    /// The time of the last NTP answer.
    pub last_time_at: Option<Instant>,
    /// The stratum and the error of that answer, the error in units of 2^-16 s.
    pub time_quality: (u8, u32),
}

/// When something was last seen, for people.
pub fn when(at: Option<Instant>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| format!("at {at}"))
}

impl fmt::Display for Diary {
    /// Some lines, each about one thing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address =
            |address: Option<Ipv4Net>| address.map_or_else(|| "none".to_owned(), |net| net.to_string());
        match self.address {
            Some(now) => write!(f, "address {now}, got {}", when(self.address_since))?,
            None => f.write_str("no address")?,
        }
        writeln!(
            f,
            "; the first was {}, and {} were lost",
            address(self.first_address),
            self.addresses_lost
        )?;
        let Self { lookups, lookups_failed, pages, pages_failed, pages_wrong, .. } = self;
        let colleague = when(self.last_colleague_at);
        writeln!(f, "{lookups} names, {lookups_failed} failed; a colleague's was last answered {colleague}")?;
        let last_page = when(self.last_page_at);
        writeln!(f, "{pages} pages, {pages_failed} failed, {pages_wrong} wrong; the last {last_page}")?;
        let Self { chat_lines, chats_broken, hairpin_pages, late_answers, echoes, .. } = self;
        let last_chat = when(self.last_chat_at);
        writeln!(f, "{chat_lines} lines of chat, the last {last_chat}; {chats_broken} chats broken")?;
        writeln!(f, "{hairpin_pages} hairpinned pages, {late_answers} late answers, {echoes} pings")?;
        let Self { tcp_lookups, tcp_lookups_failed, .. } = self;
        writeln!(f, "{tcp_lookups} names over TCP, {tcp_lookups_failed} failed")?;
        let (told, refused, last) = (self.times_told, self.times_refused, when(self.last_time_at));
        write!(f, "the time {told} times, the last {last}; {refused} times it asked too often")
    }
}
