//! The records of mail for other domains: the messages that remote servers have, and the replies to their senders.
//!
//! Remote servers record the messages that they accept. The gateway may send a message once more if it cannot know that
//! it was accepted: the reply was lost, or the power failed between the reply and the disk. It sends QUIT only once the
//! outcome is durable, so a message accepted before a QUIT is [confirmed](Arrived::confirmed), and never comes again.
//! (RFC 5321, section 6.1)

use std::collections::BTreeSet;

use gatepost_ground::Instant;

use super::{MARK, Post, mark_of};

/// A message that a remote server has accepted for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    mark: String,
    recipient: String,
}

/// How often remote servers have accepted a message for one recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// The gateway has sent QUIT after the reply.
    pub confirmed: u32,
    /// It has not, so it may not know that the message was accepted.
    pub unconfirmed: u32,
}

/// The content of a DSN: delivery of a message to these has failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failures {
    /// The message's mark.
    pub mark: String,
    /// Its recipients.
    pub recipients: BTreeSet<String>,
}

/// Whether a copy of this name is a remote address and not a mailbox of the office.
pub fn is_elsewhere(copy: &str) -> bool {
    copy.contains('@')
}

/// The domain of an address.
pub fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

impl Post {
    /// `server` accepts a message for an address. `None` if it was not sent there, or is altered: a fault.
    pub fn arrive(&mut self, server: &str, recipient: &str, octets: &[u8]) -> Option<Arrival> {
        let mark = mark_of(octets);
        let letter = mark.as_ref().and_then(|mark| self.letters.get(mark));
        let Some((mark, letter)) = mark.as_ref().zip(letter) else {
            self.fault(format!(
                "{server} is sent a message for {recipient} that is from nobody who sends mail"
            ));
            return None;
        };
        let (sender, is_sent) = (letter.sender.clone(), letter.copies.contains_key(recipient));
        if !is_sent || !letter.is_as_sent(octets) {
            let what = if is_sent { "not as it was sent" } else { "not for that address" };
            self.fault(format!("{server} is sent {mark} of {sender} for {recipient}, and it is {what}"));
            return None;
        }
        self.tally.left += 1;
        let arrival = Arrival { mark: mark.clone(), recipient: recipient.to_owned() };
        self.arrived.entry((mark.clone(), recipient.to_owned())).or_default().unconfirmed += 1;
        Some(arrival)
    }

    /// Notes that the gateway has stored the outcome of `arrival`.
    pub fn confirm(&mut self, arrival: &Arrival) {
        let key = (arrival.mark.clone(), arrival.recipient.clone());
        if let Some(arrived) = self.arrived.get_mut(&key) {
            arrived.unconfirmed -= 1;
            arrived.confirmed += 1;
        }
    }

    /// How often remote servers have accepted the message with this mark for `recipient`.
    pub fn arrived(&self, mark: &str, recipient: &str) -> Arrived {
        self.arrived.get(&(mark.to_owned(), recipient.to_owned())).copied().unwrap_or_default()
    }

    /// A connection to a server of `domain` has ended, and the gateway may wait on it for a reply; for its greeting,
    /// unless it `was_greeted`.
    pub fn hang(&mut self, domain: &str, now: Instant, was_greeted: bool) {
        self.hung.entry(domain.to_owned()).or_default().push(now);
        if !was_greeted {
            self.ungreeted.insert(domain.to_owned(), now);
        }
    }

    /// When the gateway was last left waiting for a greeting of `domain` since it booted.
    pub fn ungreeted_at(&self, domain: &str) -> Option<Instant> {
        self.ungreeted.get(domain).copied()
    }

    /// When that was so since the gateway booted.
    pub fn hung_at(&self, domain: &str) -> &[Instant] {
        self.hung.get(domain).map_or(&[], Vec::as_slice)
    }
}

/// The failed recipients in a DSN; `None` if it is no such message.
pub fn failures_in(notice: &[u8]) -> Option<Failures> {
    let text = String::from_utf8_lossy(notice);
    let mut lines = text.lines().skip_while(|line| *line != "Content-Type: message/delivery-status");
    let (mut recipients, mut named) = (BTreeSet::new(), None);
    for line in lines.by_ref() {
        if let Some(recipient) = line.strip_prefix("Final-Recipient: rfc822; ") {
            named = Some(recipient.to_owned());
        } else if line == "Action: failed" {
            recipients.extend(named.take());
        } else if let Some(mark) = line.strip_prefix("Subject: ").filter(|subject| subject.starts_with(MARK))
        {
            return (!recipients.is_empty()).then(|| Failures { mark: mark.to_owned(), recipients });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::post::Letter;

    const RITA: &str = "rita@post-0.example";

    #[test]
    fn what_a_server_takes_is_counted_and_what_was_not_sent_there_is_a_fault() {
        let mut post = Post::default();
        let letter = Letter { header: "Subject: mark-1\r\n".to_owned(), ..Letter::default() };
        post.write("mark-1", letter);
        let octets = b"Received: by us\r\nSubject: mark-1\r\n\r\n";
        assert_eq!(post.arrive("mx", RITA, octets), None);
        assert!(post.faults()[0].ends_with("not for that address"), "{:?}", post.faults());
        _ = post.begin("mark-1", BTreeSet::from([RITA.to_owned()]), Instant::ZERO);
        let arrival = post.arrive("mx", RITA, octets).expect("it is for her");
        assert_eq!(post.arrived("mark-1", RITA), Arrived { confirmed: 0, unconfirmed: 1 });
        post.confirm(&arrival);
        assert_eq!(post.arrived("mark-1", RITA), Arrived { confirmed: 1, unconfirmed: 0 });
        assert_eq!((post.tally().left, post.faults().len()), (1, 1));
        assert_eq!(post.arrive("mx", RITA, b"Subject: mark-1\r\n\r\nmore"), None);
        assert_eq!(post.arrive("mx", RITA, b"Subject: hello\r\n\r\n"), None);
        assert_eq!(post.faults().len(), 3);
    }

    #[test]
    fn a_notice_names_who_has_failed_and_no_one_else() {
        let status = |action: &str| format!("Final-Recipient: rfc822; {RITA}\r\nAction: {action}\r\n");
        let notice = |status: &str| {
            let head = "Return-Path: <>\r\nSubject: Your message could not be delivered\r\n\r\n--1\r\n";
            let kind = "Content-Type: message/delivery-status\r\n\r\n";
            let original = "\r\n--1\r\nReceived: by us\r\nSubject: mark-1\r\n";
            failures_in(format!("{head}{kind}{status}{original}").as_bytes())
        };
        let failed = Failures { mark: "mark-1".to_owned(), recipients: BTreeSet::from([RITA.to_owned()]) };
        assert_eq!(notice(&status("failed")), Some(failed));
        assert_eq!(notice(&status("delayed")), None);
        assert_eq!(failures_in(b"Return-Path: <>\r\nSubject: the mailbox is nearly full\r\n\r\n"), None);
    }
}
