//! Who logs in: one state for all services.
//!
//! A password is checked on a [job](crate::work), few at a time, as a check takes long and much memory. A password that
//! was right is remembered for [`REMEMBERED_FOR`], since clients log in each minute: as an HMAC, under a key of this
//! start, of the user, the verifiers and the password, so that it counts no more once another password is set. For a
//! user who is not there, or has no password, the same is done: a file is read, and a check takes as long.
//!
//! A password that was wrong is remembered in the same way for [`REFUSED_FOR`], and is no further failure meanwhile: a
//! phone that tries a former password again and again guesses nothing, and keeps its owner out nowhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::{Rng, RngExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::User;
use super::limit::{Failures, Limits, TooMany};
use super::password::Prepared;
use super::passwords::{self, ReadError};
use super::verifier::{Cost, ScramVerifier, Verifiers};
use crate::clock::Clock;
use crate::crypto::{self, Sha256Digest};
use crate::store::Storage;
use crate::work::{self, Work};

/// How long a password that was right is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// The most passwords that are remembered, of the right ones and of the wrong ones each; with one more, the one that
/// would be forgotten first is.
pub const REMEMBERED_MAX: usize = 4096;
/// How long a password that was wrong is remembered.
pub const REFUSED_FOR: Duration = Duration::from_secs(3600);
/// How many passwords are checked at a time: each takes 19 MiB and a processor.
pub const CHECKS: usize = 2;
/// How many logins may be in hand, those that wait for a check included. With one more there is no answer now.
pub const IN_HAND_MAX: usize = 128;

/// What came of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is this user.
    Accepted {
        /// As the configuration has it.
        user: String,
    },
    /// User or password are wrong, or the user has none.
    Refused,
    /// There were too many failures from there. The password was not looked at.
    TooMany(TooMany),
    /// It cannot be told now.
    Unavailable,
}

/// The verifier for the proof of a client that does not send its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scram {
    /// By this verifier.
    Verifier {
        /// The user's, or one that is made up.
        verifier: ScramVerifier,
        /// Whether it is made up, so that no proof is right.
        is_decoy: bool,
    },
    /// There were too many failures from there.
    TooMany(TooMany),
    /// It cannot be told now.
    Unavailable,
}

/// The users, and those who say that they are one of them.
pub struct Logins {
    users: RefCell<BTreeMap<String, User>>,
    /// In lower case.
    domains: RefCell<Vec<String>>,
    failures: RefCell<Failures>,
    remembered: RefCell<Remembered>,
    refused: RefCell<Remembered>,
    checks: Arc<Semaphore>,
    hands: Arc<Semaphore>,
    /// By which decoys are made up, and what they cost.
    decoys: (Sha256Digest, Cost),
    storage: Arc<dyn Storage>,
    work: Rc<dyn Work>,
    clock: Rc<dyn Clock>,
}

impl Logins {
    /// Nobody can log in yet. Passwords are read from `storage` by `work`; for an unknown user a check takes `cost`, and
    /// SCRAM-SHA-256 has what comes of `decoy_key` (see [`passwords::decoy_key`]). All randomness comes from `rng`.
    pub fn new(
        storage: Arc<dyn Storage>,
        work: Rc<dyn Work>,
        clock: Rc<dyn Clock>,
        (limits, cost): (Limits, Cost),
        decoy_key: Sha256Digest,
        rng: &mut impl Rng,
    ) -> Self {
        Self {
            users: RefCell::default(),
            domains: RefCell::default(),
            failures: RefCell::new(Failures::new(limits)),
            remembered: RefCell::new(Remembered { key: rng.random(), until: BTreeMap::new() }),
            refused: RefCell::new(Remembered { key: rng.random(), until: BTreeMap::new() }),
            checks: Arc::new(Semaphore::new(CHECKS)),
            hands: Arc::new(Semaphore::new(IN_HAND_MAX)),
            decoys: (decoy_key, cost),
            storage,
            work,
            clock,
        }
    }

    /// Has `users` be all that there are from now on: who is not among them cannot log in any more. A user is also
    /// called by the address in each of `domains`, as mail programs fill it in.
    pub fn set_users(&self, users: &[User], domains: &[&str]) {
        let users = users.iter().map(|user| (user.name.clone(), user.clone()));
        *self.users.borrow_mut() = users.collect();
        *self.domains.borrow_mut() = domains.iter().map(|domain| domain.to_lowercase()).collect();
    }

    /// The user that is called `name`, in any case.
    pub fn user(&self, name: &str) -> Option<User> {
        self.users.borrow().get(&self.known_as(name)).cloned()
    }

    /// The one form of the names of a user, by which failures are counted too: in lower case, without a domain of ours.
    fn known_as(&self, name: &str) -> String {
        let name = name.to_lowercase();
        // At the first one: what is left has none, and has no other form in turn.
        match name.split_once('@') {
            Some((local, domain)) if self.domains.borrow().iter().any(|own| own == domain) => {
                local.to_owned()
            }
            _ => name,
        }
    }

    /// Whether `password` is that of the user who is called `name`, says somebody at `source`.
    ///
    /// If the future is dropped the login counts as one that failed, and what was begun for it goes on. So a service
    /// does not drop it because its client has gone.
    pub async fn password(&self, source: IpAddr, name: &str, password: &str) -> Outcome {
        let user = self.known_as(name);
        if let Err(too_many) = self.failures.borrow_mut().begin(self.clock.now(), source, &user) {
            return Outcome::TooMany(too_many);
        }
        let Ok(hand) = Arc::clone(&self.hands).try_acquire_owned() else {
            self.credit(source, &user);
            return Outcome::Unavailable;
        };
        let (outcome, is_guess) = match Prepared::new(password) {
            Ok(password) => self.check(&user, password, &Arc::new(hand)).await,
            Err(_) => (Outcome::Refused, true),
        };
        if outcome != Outcome::Refused || !is_guess {
            self.credit(source, &user);
        }
        outcome
    }

    /// The verifier for a client at `source` that claims to be the user `name`. The login counts as a failure until
    /// [`Logins::scram_proved`].
    pub async fn scram_verifier(&self, source: IpAddr, name: &str) -> Scram {
        let user = self.known_as(name);
        if let Err(too_many) = self.failures.borrow_mut().begin(self.clock.now(), source, &user) {
            return Scram::TooMany(too_many);
        }
        let verifiers = match Arc::clone(&self.hands).try_acquire_owned() {
            Ok(hand) => self.verifiers(&user, &Arc::new(hand)).await,
            Err(_) => None,
        };
        let Some((verifiers, is_decoy)) = verifiers else {
            self.credit(source, &user);
            return Scram::Unavailable;
        };
        Scram::Verifier { verifier: verifiers.scram().clone(), is_decoy }
    }

    /// Somebody at `source` has proved by [`Logins::scram_verifier`] to be the user who is called `name`: who that is now.
    /// To be called once for each such proof.
    pub fn scram_proved(&self, source: IpAddr, name: &str) -> Outcome {
        self.credit(source, &self.known_as(name));
        // The user may have gone meanwhile.
        self.user(name).map_or(Outcome::Refused, |user| Outcome::Accepted { user: user.name })
    }

    /// What comes of a login, and whether the password was not known to be wrong.
    async fn check(&self, name: &str, password: Prepared, hand: &Hand) -> (Outcome, bool) {
        let Some((verifiers, is_decoy)) = self.verifiers(name, hand).await else {
            return (Outcome::Unavailable, true);
        };
        let tag = self.remembered.borrow().tag(name, &verifiers, &password);
        let wrong_tag = self.refused.borrow().tag(name, &verifiers, &password);
        let is_remembered = self.remembered.borrow_mut().has(self.clock.now(), &tag);
        if !is_remembered {
            if self.refused.borrow_mut().has(self.clock.now(), &wrong_tag) {
                return (Outcome::Refused, false);
            }
            let Ok(permit) = Arc::clone(&self.checks).acquire_owned().await else {
                return (Outcome::Unavailable, true);
            };
            let held = (permit, Arc::clone(hand));
            let job = move || {
                let is_right = verifiers.check(&password);
                drop(held);
                is_right
            };
            match work::run(&*self.work, job).await {
                Ok(is_right) if is_right && !is_decoy => {}
                Ok(_) => {
                    self.refused.borrow_mut().add(self.clock.now() + REFUSED_FOR, wrong_tag);
                    return (Outcome::Refused, true);
                }
                Err(_) => return (Outcome::Unavailable, true),
            }
        }
        // The user may have gone while the password was checked.
        let Some(user) = self.user(name) else { return (Outcome::Refused, true) };
        if !is_remembered {
            self.remembered.borrow_mut().add(self.clock.now() + REMEMBERED_FOR, tag);
        }
        (Outcome::Accepted { user: user.name }, true)
    }

    /// What is kept of the password of the user who is called `name`, or a decoy, and whether it is one; `None` if it
    /// cannot be read. It takes as long for a name that is no user's.
    async fn verifiers(&self, name: &str, hand: &Hand) -> Option<(Verifiers, bool)> {
        let user = self.user(name).map_or_else(|| passwords::NOBODY.to_owned(), |user| user.name);
        let read = self.read(&user, hand).await;
        let read =
            read.inspect_err(|why| tracing::warn!("the password of {name} cannot be checked: {why}")).ok()?;
        let (key, cost) = &self.decoys;
        let decoy = Verifiers::decoy(*cost, key, name);
        let is_decoy = read.is_none();
        Some((read.unwrap_or(decoy), is_decoy))
    }

    async fn read(&self, user: &str, hand: &Hand) -> Result<Option<Verifiers>, String> {
        let (storage, user, held) = (Arc::clone(&self.storage), user.to_owned(), Arc::clone(hand));
        let job = move || {
            let read = passwords::read(&*storage, &user);
            drop(held);
            read
        };
        let read = work::run(&*self.work, job).await;
        let read = read.map_err(|error| error.to_string())?;
        read.map_err(|error: ReadError| error.to_string())
    }

    fn credit(&self, source: IpAddr, user: &str) {
        self.failures.borrow_mut().credit(self.clock.now(), source, user);
    }
}

/// The place of a login among those in hand. The login holds it, and each job that runs for it: a job that was taken runs
/// although the login is dropped.
type Hand = Arc<OwnedSemaphorePermit>;

/// The passwords that were right of late, or those that were wrong.
struct Remembered {
    /// Of this start.
    key: Sha256Digest,
    /// Until when each is remembered.
    until: BTreeMap<Sha256Digest, Instant>,
}

impl Remembered {
    /// What stands for the password of a user with these verifiers.
    fn tag(&self, user: &str, verifiers: &Verifiers, password: &Prepared) -> Sha256Digest {
        // A name has no NUL, and the verifiers' keys have one length.
        let scram = verifiers.scram();
        let parts = [user.as_bytes(), b"\0", &scram.stored_key, &scram.server_key, password.octets()];
        crypto::hmac_sha256(&self.key, &parts.concat())
    }

    fn has(&mut self, now: Instant, tag: &Sha256Digest) -> bool {
        self.until.retain(|_, until| *until > now);
        self.until.contains_key(tag)
    }

    fn add(&mut self, until: Instant, tag: Sha256Digest) {
        if self.until.len() >= REMEMBERED_MAX {
            let first = self.until.iter().min_by_key(|(_, until)| **until).map(|(tag, _)| *tag);
            first.and_then(|tag| self.until.remove(&tag));
        }
        self.until.insert(tag, until);
    }
}

#[cfg(test)]
mod tests;
