//! The tickets by which a browser goes on with its session at another address of the gateway's.
//!
//! A change of the gateway's address, port or name moves the pages. A session's cookie is for one host, so at the new
//! place the browser would have to sign in again, within the time for the confirmation. A ticket signs it in there:
//! once, within [`TICKET_TIME_MAX`], as the user of the session that has asked for it, and only while that session
//! lasts. It comes by a link, and counts in a form of the new place's own page, so that a link alone signs nobody in.

use std::collections::BTreeMap;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::Rng;

use super::sessions::{Session, token};
use crate::crypto::{self, Sha256Digest};

/// The most tickets; with one more, the oldest is void.
pub const TICKETS_MAX: usize = 16;

/// How long a ticket is valid.
pub const TICKET_TIME_MAX: Duration = Duration::from_secs(60);

/// A ticket.
#[derive(Clone, Debug)]
struct Ticket {
    session: u64,
    made: Instant,
}

/// The valid tickets, of which only digests are kept.
#[derive(Debug, Default)]
pub(super) struct Tickets(BTreeMap<Sha256Digest, Ticket>);

impl Tickets {
    /// A ticket for the user of `session`, in place of the one that this session had.
    pub fn issue(&mut self, now: Instant, session: &Session, rng: &mut impl Rng) -> String {
        self.forget_expired(now);
        self.0.retain(|_, ticket| ticket.session != session.number);
        while self.0.len() >= TICKETS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, ticket)| (ticket.made, ticket.session));
            let Some(digest) = oldest.map(|(digest, _)| *digest) else { break };
            self.0.remove(&digest);
        }
        let text = token(rng);
        self.0.insert(crypto::sha256(text.as_bytes()), Ticket { session: session.number, made: now });
        text
    }

    /// The number of the session that has asked for the ticket `text`, which is void from now on.
    pub fn redeem(&mut self, now: Instant, text: &str) -> Option<u64> {
        self.forget_expired(now);
        self.0.remove(&crypto::sha256(text.as_bytes())).map(|ticket| ticket.session)
    }

    fn forget_expired(&mut self, now: Instant) {
        self.0.retain(|_, ticket| now.since(ticket.made) < TICKET_TIME_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    fn session(number: u64) -> Session {
        Session {
            number,
            user: "anna".to_owned(),
            mark: [1; 32],
            checked: at(0),
            form_token: String::new(),
            source: IpAddr::from([192, 168, 1, 10]),
            began: at(0),
            used: at(0),
        }
    }

    #[test]
    fn a_ticket_counts_once_and_in_time() {
        let (mut tickets, mut rng) = (Tickets::default(), StdRng::seed_from_u64(1));
        let ticket = tickets.issue(at(0), &session(7), &mut rng);
        assert!(!format!("{tickets:?}").contains(&ticket), "no ticket is kept");
        assert_eq!(tickets.redeem(at(1), ""), None);
        assert_eq!(tickets.redeem(at(59), &ticket), Some(7));
        assert_eq!(tickets.redeem(at(59), &ticket), None, "it has counted");
        let late = tickets.issue(at(100), &session(7), &mut rng);
        assert_eq!(tickets.redeem(at(160), &late), None);
        let first = tickets.issue(at(200), &session(7), &mut rng);
        let second = tickets.issue(at(201), &session(7), &mut rng);
        assert_eq!((tickets.redeem(at(202), &first), tickets.redeem(at(202), &second)), (None, Some(7)));
    }

    #[test]
    fn tickets_are_bounded_and_the_oldest_is_void() {
        let (mut tickets, mut rng) = (Tickets::default(), StdRng::seed_from_u64(1));
        let all: Vec<_> = (0..=TICKETS_MAX as u64)
            .map(|number| tickets.issue(at(number), &session(number), &mut rng))
            .collect();
        assert_eq!(tickets.0.len(), TICKETS_MAX);
        assert_eq!(tickets.redeem(at(20), &all[0]), None);
        assert_eq!(tickets.redeem(at(20), &all[1]), Some(1));
    }
}
