//! Logins: one state for all services.
//!
//! A [job](crate::work) checks a password; few run at a time, as a check takes long and much memory. A correct password
//! is cached for [`CORRECT_CACHED_FOR`], since mail clients log in each minute: as an HMAC, under a key of this
//! process, of the user, the verifiers and the password, so that a new password invalidates it. For an unknown user, or
//! one without a password, the work is the same: a file is read, and a check takes as long.
//!
//! A wrong password is cached in the same way for [`WRONG_CACHED_FOR`], and repetitions are not counted as failures: a
//! phone that repeats an old password guesses nothing, and does not lock its owner out.

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
use crate::log_limit::LogLimit;
use crate::store::Storage;
use crate::work::{self, Work};

/// How long a correct password is cached.
pub const CORRECT_CACHED_FOR: Duration = Duration::from_secs(600);
/// The most cached passwords, of correct and of wrong ones each; with one more, the one that expires first is dropped.
pub const CACHED_MAX: usize = 4096;
/// How long a wrong password is cached.
pub const WRONG_CACHED_FOR: Duration = Duration::from_secs(3600);
/// The most concurrent checks: each takes 19 MiB and a processor.
pub const CHECKS: usize = 2;
/// The most logins in progress, including those that wait for a check. Further ones are rejected as unavailable.
pub const LOGINS_MAX: usize = 128;
/// The name under which tries of a code are counted. No user can have it.
const OF_CODES: &str = "#code";
/// The most characters of a login name in a log line.
const LOGGED_NAME_CHARS_MAX: usize = 64;
/// The most log lines about passwords that cannot be checked, in each [`LOG_INTERVAL`](crate::log_limit::LOG_INTERVAL).
const WARNINGS_MAX: u32 = 10;

/// The result of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The login is this user's.
    Accepted {
        /// The name in the configuration.
        user: String,
    },
    /// User or password are wrong, or the user has no password.
    Refused,
    /// There were too many failures from there. The password was not checked.
    TooMany(TooMany),
    /// The result is unknown, as of an unreadable file or too many logins.
    Unavailable,
}

/// The verifier for SCRAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scram {
    /// The verifier to use.
    Verifier {
        /// The user's verifier, or a decoy.
        verifier: ScramVerifier,
        /// Whether it is a decoy, for which no proof is accepted.
        is_decoy: bool,
    },
    /// There were too many failures from there.
    TooMany(TooMany),
    /// The verifier cannot be read, or there are too many logins.
    Unavailable,
}

/// The users and their logins.
pub struct Logins {
    users: RefCell<BTreeMap<String, User>>,
    /// In lower case.
    domains: RefCell<Vec<String>>,
    failures: RefCell<Failures>,
    remembered: RefCell<PasswordCache>,
    refused: RefCell<PasswordCache>,
    checks: Arc<Semaphore>,
    login_permits: Arc<Semaphore>,
    log_limit: RefCell<LogLimit>,
    /// The key and the cost of decoys.
    decoys: (Sha256Digest, Cost),
    storage: Arc<dyn Storage>,
    work: Rc<dyn Work>,
    clock: Rc<dyn Clock>,
}

impl Logins {
    /// Creates the state without users. `work` reads the verifiers from `storage`; the check for an unknown user takes
    /// `cost`, and its SCRAM verifier is derived from `decoy_key` (see [`passwords::decoy_key`]). All randomness comes
    /// from `rng`.
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
            remembered: RefCell::new(PasswordCache { key: rng.random(), until: BTreeMap::new() }),
            refused: RefCell::new(PasswordCache { key: rng.random(), until: BTreeMap::new() }),
            checks: Arc::new(Semaphore::new(CHECKS)),
            login_permits: Arc::new(Semaphore::new(LOGINS_MAX)),
            log_limit: RefCell::default(),
            decoys: (decoy_key, cost),
            storage,
            work,
            clock,
        }
    }

    /// Replaces the users: a removed user can no longer log in. A user's login name may have one of `domains` after it,
    /// as mail programs fill in addresses.
    pub fn set_users(&self, users: &[User], domains: &[&str]) {
        let users = users.iter().map(|user| (user.name.clone(), user.clone()));
        *self.users.borrow_mut() = users.collect();
        *self.domains.borrow_mut() = domains.iter().map(|domain| domain.to_lowercase()).collect();
    }

    /// The user with the login name `name`, in any case.
    pub fn user(&self, name: &str) -> Option<User> {
        self.users.borrow().get(&self.known_as(name)).cloned()
    }

    /// The canonical form of a login name, by which failures are counted, too: in lower case, without one of the
    /// office's domains.
    fn known_as(&self, name: &str) -> String {
        let name = name.to_lowercase();
        // Only the first `@` counts: otherwise the result could have a canonical form of its own.
        match name.split_once('@') {
            Some((local, domain)) if self.domains.borrow().iter().any(|own| own == domain) => {
                local.to_owned()
            }
            _ => name,
        }
    }

    /// Checks `password` for the login name `name` from `source`.
    ///
    /// If the future is dropped, the login counts as failed, and its job goes on. So a service keeps the future
    /// although the client has disconnected.
    pub async fn password(&self, source: IpAddr, name: &str, password: &str) -> Outcome {
        self.marked_password(source, name, password).await.0
    }

    /// As [`Self::password`], with the mark of the verifiers by which the password was checked
    /// ([`Verifiers::mark`]), for what shall end with that password; `None` unless the login is accepted.
    pub async fn marked_password(
        &self,
        source: IpAddr,
        name: &str,
        password: &str,
    ) -> (Outcome, Option<Sha256Digest>) {
        let user = self.known_as(name);
        if let Err(too_many) = self.failures.borrow_mut().begin(self.clock.now(), source, &user) {
            return (Outcome::TooMany(too_many), None);
        }
        let Ok(login) = Arc::clone(&self.login_permits).try_acquire_owned() else {
            self.credit(source, &user);
            return (Outcome::Unavailable, None);
        };
        let mut mark = None;
        let (outcome, is_guess) = match Prepared::new(password) {
            Ok(password) => self.check(&user, password, &Arc::new(login), &mut mark).await,
            Err(_) => (Outcome::Refused, true),
        };
        if outcome != Outcome::Refused || !is_guess {
            self.credit(source, &user);
        }
        (outcome, mark)
    }

    /// The verifier for a client at `source` with the login name `name`. The login counts as failed until
    /// [`Logins::scram_proved`].
    pub async fn scram_verifier(&self, source: IpAddr, name: &str) -> Scram {
        let user = self.known_as(name);
        if let Err(too_many) = self.failures.borrow_mut().begin(self.clock.now(), source, &user) {
            return Scram::TooMany(too_many);
        }
        let verifiers = match Arc::clone(&self.login_permits).try_acquire_owned() {
            Ok(login) => self.verifiers(&user, &Arc::new(login)).await,
            Err(_) => None,
        };
        let Some((verifiers, is_decoy)) = verifiers else {
            self.credit(source, &user);
            return Scram::Unavailable;
        };
        Scram::Verifier { verifier: verifiers.scram().clone(), is_decoy }
    }

    /// Records that a client at `source` has proved to be `name` by [`Logins::scram_verifier`], and returns the user.
    /// Call it once for each proof.
    pub fn scram_proved(&self, source: IpAddr, name: &str) -> Outcome {
        self.credit(source, &self.known_as(name));
        // The user may have been removed meanwhile.
        self.user(name).map_or(Outcome::Refused, |user| Outcome::Accepted { user: user.name })
    }

    /// Counts a try of a code from `source` as a failed login of a user of its own, until [`Logins::code_was_right`].
    ///
    /// # Errors
    ///
    /// There were too many failures from there. The code must not be looked at.
    pub fn begin_code(&self, source: IpAddr) -> Result<(), TooMany> {
        self.failures.borrow_mut().begin(self.clock.now(), source, OF_CODES)
    }

    /// Records that the code of a try from `source` was right.
    pub fn code_was_right(&self, source: IpAddr) {
        self.credit(source, OF_CODES);
    }

    /// The result of a login, and whether the password was not in the cache of wrong ones. If the login is accepted,
    /// `mark` becomes that of its verifiers.
    async fn check(
        &self,
        name: &str,
        password: Prepared,
        login: &LoginPermit,
        mark: &mut Option<Sha256Digest>,
    ) -> (Outcome, bool) {
        let Some((verifiers, is_decoy)) = self.verifiers(name, login).await else {
            return (Outcome::Unavailable, true);
        };
        let mark_of_file = verifiers.mark();
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
            let held = (permit, Arc::clone(login));
            let job = move || {
                let is_right = verifiers.check(&password);
                drop(held);
                is_right
            };
            match work::run(&*self.work, job).await {
                Ok(is_right) if is_right && !is_decoy => {}
                Ok(_) => {
                    self.refused.borrow_mut().add(self.clock.now() + WRONG_CACHED_FOR, wrong_tag);
                    return (Outcome::Refused, true);
                }
                Err(_) => return (Outcome::Unavailable, true),
            }
        }
        // The user may have been removed during the check.
        let Some(user) = self.user(name) else { return (Outcome::Refused, true) };
        if !is_remembered {
            self.remembered.borrow_mut().add(self.clock.now() + CORRECT_CACHED_FOR, tag);
        }
        *mark = Some(mark_of_file);
        (Outcome::Accepted { user: user.name }, true)
    }

    /// The verifiers of the login name `name`, or a decoy, and whether it is a decoy; `None` if they cannot be read. An
    /// unknown name takes as long.
    async fn verifiers(&self, name: &str, login: &LoginPermit) -> Option<(Verifiers, bool)> {
        let user = self.user(name).map_or_else(|| passwords::NOBODY.to_owned(), |user| user.name);
        let read = self.read(&user, login).await;
        let read = read.inspect_err(|why| self.warn(name, why)).ok()?;
        let (key, cost) = &self.decoys;
        let decoy = Verifiers::decoy(*cost, key, name);
        let is_decoy = read.is_none();
        Some((read.unwrap_or(decoy), is_decoy))
    }

    async fn read(&self, user: &str, login: &LoginPermit) -> Result<Option<Verifiers>, String> {
        let (storage, user, held) = (Arc::clone(&self.storage), user.to_owned(), Arc::clone(login));
        let job = move || {
            let read = passwords::read(&*storage, &user);
            drop(held);
            read
        };
        let read = work::run(&*self.work, job).await;
        let read = read.map_err(|error| error.to_string())?;
        read.map_err(|error: ReadError| error.to_string())
    }

    /// Says that the password of the login name `name` cannot be checked: what anybody enters as a name is cut, and all
    /// names share the limit.
    fn warn(&self, name: &str, why: &str) {
        if self.log_limit.borrow_mut().allows(self.clock.now(), WARNINGS_MAX) {
            let name: String = name.chars().take(LOGGED_NAME_CHARS_MAX).collect();
            tracing::warn!("the password of {name:?} cannot be checked: {why}");
        }
    }

    fn credit(&self, source: IpAddr, user: &str) {
        self.failures.borrow_mut().credit(self.clock.now(), source, user);
    }
}

/// The permit of a login in progress. The login and its jobs share it: a started job runs although the login is
/// dropped.
type LoginPermit = Arc<OwnedSemaphorePermit>;

/// A cache of recent passwords: the correct or the wrong ones.
struct PasswordCache {
    /// The key of this process.
    key: Sha256Digest,
    /// When each entry expires.
    until: BTreeMap<Sha256Digest, Instant>,
}

impl PasswordCache {
    /// The cache's key for the password of a user with these verifiers.
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
        if self.until.len() >= CACHED_MAX {
            let first = self.until.iter().min_by_key(|(_, until)| **until).map(|(tag, _)| *tag);
            first.and_then(|tag| self.until.remove(&tag));
        }
        self.until.insert(tag, until);
    }
}

#[cfg(test)]
mod tests;
