//! The sessions of browsers.
//!
//! A session is known by its token, of which only a digest is kept. It lasts [`SESSION_TIME_MAX`] from its login,
//! whatever is done in it. All sessions end with the process.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use gatepost_ground::Instant;
use rand::{Rng, RngExt};
use tokio::sync::Notify;

use crate::crypto::{self, Sha256Digest};

/// The most sessions; with one more, the one that was unused for longest ends.
pub const SESSIONS_MAX: usize = 256;

/// The most sessions of one user; with one more, the one that was unused for longest ends.
pub const SESSIONS_OF_USER_MAX: usize = 16;

/// The most sessions of all users who have only their own page, so that they end nobody else's; with one more, the one
/// of these that was unused for longest ends.
pub const SESSIONS_OF_USERS_MAX: usize = 128;

/// How long a session lasts.
pub const SESSION_TIME_MAX: Duration = Duration::from_secs(12 * 3600);

/// The random octets of a token.
const TOKEN_OCTETS: usize = 32;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Its number since the gateway started, by which it is listed.
    pub number: u64,
    /// The user's name.
    pub user: String,
    /// The mark of the password by which the user has logged in (`Verifiers::mark`).
    pub mark: Sha256Digest,
    /// When the user's password was last known to have this mark.
    pub checked: Instant,
    /// The token that forms have.
    pub form_token: String,
    /// The client that has logged in.
    pub source: IpAddr,
    /// When it began.
    pub began: Instant,
    /// When its last request came.
    pub used: Instant,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_token: BTreeMap<Sha256Digest, Session>,
    last: u64,
    /// Told when a session ends before its time.
    ended: Rc<Notify>,
}

impl Sessions {
    /// Begins a session of `user`, whose password has this mark, and returns the browser's token for it and the number
    /// of sessions that had to end for it.
    pub fn begin(
        &mut self,
        now: Instant,
        (user, mark): (&str, Sha256Digest),
        source: IpAddr,
        rng: &mut impl Rng,
    ) -> (String, u64) {
        self.forget_ended(now);
        let mut displaced = 0;
        while self.of(user) >= SESSIONS_OF_USER_MAX {
            displaced += u64::from(self.end_unused(|session| session.user == user));
        }
        while self.by_token.len() >= SESSIONS_MAX {
            displaced += u64::from(self.end_unused(|_| true));
        }
        self.last += 1;
        let token = token(rng);
        let session = Session {
            number: self.last,
            user: user.to_owned(),
            mark,
            checked: now,
            form_token: self::token(rng),
            source,
            began: now,
            used: now,
        };
        self.by_token.insert(crypto::sha256(token.as_bytes()), session);
        (token, displaced)
    }

    /// Makes room for another session of those users whom `is_meant` admits. Returns the number of sessions that had to
    /// end for it.
    pub fn make_room_of_users(&mut self, now: Instant, is_meant: impl Fn(&str) -> bool) -> u64 {
        self.forget_ended(now);
        let mut displaced = 0;
        while self.by_token.values().filter(|session| is_meant(&session.user)).count()
            >= SESSIONS_OF_USERS_MAX
        {
            displaced += u64::from(self.end_unused(|session| is_meant(&session.user)));
        }
        displaced
    }

    /// The session of `token`, which is used now.
    pub fn find(&mut self, now: Instant, token: &str) -> Option<Session> {
        self.forget_ended(now);
        let session = self.by_token.get_mut(&crypto::sha256(token.as_bytes()))?;
        session.used = now;
        Some(session.clone())
    }

    /// What tells that a session has ended before its time.
    pub fn ended(&self) -> Rc<Notify> {
        Rc::clone(&self.ended)
    }

    /// The session `number`, which is not used by that.
    pub fn get(&mut self, now: Instant, number: u64) -> Option<&Session> {
        self.forget_ended(now);
        self.by_token.values().find(|session| session.number == number)
    }

    /// Ends the session `number` if `may_end` admits it; `false` if there is none that it admits.
    pub fn end(&mut self, number: u64, may_end: impl Fn(&Session) -> bool) -> bool {
        self.retain(|session| session.number != number || !may_end(session))
    }

    /// Ends all sessions but those of users that `stays` admits.
    pub fn end_of_users(&mut self, stays: impl Fn(&str) -> bool) {
        self.retain(|session| stays(&session.user));
    }

    /// The password of `user` had the mark `current` at the time `read`, or there was none: ends the sessions of other
    /// marks, unless they are known to be right since.
    pub fn password_was(&mut self, read: Instant, user: &str, current: Option<Sha256Digest>) {
        let is_due = |session: &Session| session.user == user && session.checked < read;
        self.retain(|session| !is_due(session) || Some(session.mark) == current);
        for session in self.by_token.values_mut().filter(|session| is_due(session)) {
            session.checked = read;
        }
    }

    /// The sessions that `is_shown` admits, the latest first.
    pub fn list(&mut self, now: Instant, is_shown: impl Fn(&Session) -> bool) -> Vec<Session> {
        self.forget_ended(now);
        let mut shown: Vec<_> = self.by_token.values().filter(|session| is_shown(session)).cloned().collect();
        shown.sort_by_key(|session| std::cmp::Reverse(session.number));
        shown
    }

    /// Ends the sessions that do not stay; whether there were any.
    fn retain(&mut self, stays: impl Fn(&Session) -> bool) -> bool {
        let before = self.by_token.len();
        self.by_token.retain(|_, session| stays(session));
        let has_ended = self.by_token.len() < before;
        if has_ended {
            self.ended.notify_waiters();
        }
        has_ended
    }

    fn of(&self, user: &str) -> usize {
        self.by_token.values().filter(|session| session.user == user).count()
    }

    fn forget_ended(&mut self, now: Instant) {
        self.retain(|session| now.since(session.began) < SESSION_TIME_MAX);
    }

    /// Ends the session that was unused for longest among those that `may_end` admits.
    fn end_unused(&mut self, may_end: impl Fn(&Session) -> bool) -> bool {
        let admitted = self.by_token.iter().filter(|(_, session)| may_end(session));
        let first = admitted
            .min_by_key(|(_, session)| (session.used, session.number))
            .map(|(_, session)| session.number);
        first.is_some_and(|number| self.end(number, |_| true))
    }
}

/// A random text that nobody can guess.
pub(super) fn token(rng: &mut impl Rng) -> String {
    BASE64URL_NOPAD.encode(&rng.random::<[u8; TOKEN_OCTETS]>())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const MARK: Sha256Digest = [1; 32];
    const DESK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 10));

    fn at(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    #[test]
    fn a_session_is_found_by_its_token_alone_until_it_ends() {
        let (mut sessions, mut rng) = (Sessions::default(), StdRng::seed_from_u64(1));
        let (anna, _) = sessions.begin(at(0), ("anna", MARK), DESK, &mut rng);
        let (berta, _) = sessions.begin(at(1), ("berta", MARK), DESK, &mut rng);
        let found = sessions.find(at(2), &anna).expect("a session");
        assert_eq!((found.user.as_str(), found.used), ("anna", at(2)));
        assert!(anna != berta && found.form_token != anna && anna.len() == 43);
        for wrong in ["", "x", &anna[1..], &found.form_token] {
            assert_eq!(sessions.find(at(2), wrong), None);
        }
        let kept = format!("{sessions:?}");
        assert!(!kept.contains(&anna) && !kept.contains(&berta), "no token is kept");
        assert!(!sessions.end(found.number, |session| session.user == "berta"));
        assert!(sessions.end(found.number, |_| true) && sessions.find(at(3), &anna).is_none());
        let end = SESSION_TIME_MAX.as_secs();
        assert!(sessions.find(at(end), &berta).is_some());
        assert_eq!(sessions.find(at(end + 1), &berta), None, "it ends although it is used");
        assert!(sessions.by_token.is_empty());
    }

    #[test]
    fn sessions_end_with_their_password_and_their_user() {
        let (mut sessions, mut rng) = (Sessions::default(), StdRng::seed_from_u64(1));
        let (anna, _) = sessions.begin(at(0), ("anna", MARK), DESK, &mut rng);
        let (berta, _) = sessions.begin(at(0), ("berta", MARK), DESK, &mut rng);
        sessions.password_was(at(5), "anna", Some(MARK));
        assert_eq!(sessions.find(at(5), &anna).expect("a session").checked, at(5));
        let (later, _) = sessions.begin(at(6), ("anna", [2; 32]), DESK, &mut rng);
        sessions.password_was(at(6), "anna", Some([3; 32]));
        assert!(sessions.find(at(6), &anna).is_none() && sessions.find(at(6), &berta).is_some());
        assert!(sessions.find(at(6), &later).is_some(), "it began after the file was read");
        sessions.password_was(at(7), "anna", None);
        assert!(sessions.find(at(7), &later).is_none(), "there is no password");
        sessions.end_of_users(|user| user != "berta");
        assert!(sessions.by_token.is_empty());
    }

    #[test]
    fn sessions_are_bounded_and_the_one_unused_for_longest_ends() {
        let (mut sessions, mut rng) = (Sessions::default(), StdRng::seed_from_u64(1));
        let (first, _) = sessions.begin(at(0), ("anna", MARK), DESK, &mut rng);
        let (second, _) = sessions.begin(at(0), ("anna", MARK), DESK, &mut rng);
        for _ in 2..SESSIONS_OF_USER_MAX {
            assert_eq!(sessions.begin(at(1), ("anna", MARK), DESK, &mut rng).1, 0);
        }
        assert!(sessions.find(at(2), &first).is_some());
        assert_eq!(sessions.begin(at(3), ("anna", MARK), DESK, &mut rng).1, 1);
        assert!(sessions.find(at(3), &first).is_some() && sessions.find(at(3), &second).is_none());
        let displaced: u64 = (0..SESSIONS_MAX)
            .map(|number| sessions.begin(at(4), (&format!("user{number}"), MARK), DESK, &mut rng).1)
            .sum();
        assert_eq!(displaced, u64::try_from(SESSIONS_OF_USER_MAX).expect("few"));
        assert_eq!(sessions.list(at(5), |_| true).len(), SESSIONS_MAX);
        assert!(sessions.find(at(5), &first).is_none());
    }

    #[test]
    fn users_with_one_page_end_nobody_else_s_session() {
        let (mut sessions, mut rng) = (Sessions::default(), StdRng::seed_from_u64(1));
        let (olga, _) = sessions.begin(at(0), ("olga", MARK), DESK, &mut rng);
        let is_meant = |user: &str| user.starts_with("user");
        let mut displaced = 0;
        for number in 0..2 * SESSIONS_MAX {
            displaced += sessions.make_room_of_users(at(1), is_meant);
            displaced += sessions.begin(at(1), (&format!("user{number}"), MARK), DESK, &mut rng).1;
        }
        assert_eq!(displaced, u64::try_from(2 * SESSIONS_MAX - SESSIONS_OF_USERS_MAX).expect("few"));
        assert!(sessions.find(at(2), &olga).is_some(), "it was unused for longest");
    }
}
