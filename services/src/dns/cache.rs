//! What upstream servers said, for as long as it holds.
//!
//! An entry is known by its question, or, if the answer is that the name does not exist, by the name
//! alone: it then answers for every type and for all names below it (RFC 8020). Failures are entries
//! too (RFC 9520). Answers whose time is over stay for a while: if upstream servers fail, they are
//! better than nothing (RFC 8767).
//!
//! The cache holds at most [`RECORDS_MAX`] records; what expires soonest makes room, which is what has
//! expired longest, if anything has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatepost_dataplane::Instant;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::message::{Answer, Question};
use super::name::NameKey;

/// Records that are held; an entry without any counts as one.
pub const RECORDS_MAX: usize = 16_384;

/// An answer that was longer on the wire, in octets, is not kept.
pub const ANSWER_OCTETS_MAX: usize = 4_096;

/// The longest that an answer is believed.
pub const TTL_MAX_SECS: u32 = 86_400;

/// The longest that it is believed that something does not exist, RFC 2308 section 5.
pub const NEGATIVE_TTL_MAX_SECS: u32 = 3_600;

/// How long a failure is remembered: RFC 9520 section 3.2 wants 1 s to 5 min.
pub const FAILURE_SECS: u32 = 5;

/// How long after its time an answer may still be given, RFC 8767 section 5.
pub const STALE_MAX: Duration = Duration::from_secs(86_400);

/// The TTL of such an answer, and how long upstream servers are then left in peace, RFC 8767 section 5.
pub const STALE_TTL_SECS: u32 = 30;

/// The table of answers.
#[derive(Default)]
pub struct Cache {
    entries: BTreeMap<Key, Entry>,
    by_expiry: BTreeSet<(Instant, Key)>,
    records: usize,
}

/// See [`key`].
type Key = Vec<u8>;

struct Entry {
    answer: Answer,
    stored: Instant,
    expires: Instant,
    /// A stale answer is given until then without asking again.
    stale_until: Instant,
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records are held.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known about `question`, with the TTLs that are left.
    pub fn get(&self, now: Instant, question: &Question) -> Option<Answer> {
        let name = NameKey::new(&question.name);
        let exact = key(name.as_bytes(), question, Some(question.record_type));
        if let Some(answer) = self.get_key(now, &exact) {
            return Some(answer);
        }
        // Who validates wants the proof for this very name, and not the one for a name above it.
        let skipped = if question.dnssec_ok { name.zones().count() - 1 } else { 0 };
        let mut zones = name.zones().skip(skipped);
        zones.find_map(|zone| self.get_key(now, &key(zone, question, None)))
    }

    fn get_key(&self, now: Instant, key: &Key) -> Option<Answer> {
        let entry = self.entries.get(key)?;
        let mut answer = entry.answer.clone();
        if now < entry.expires {
            let age = u32::try_from(now.since(entry.stored).as_secs()).unwrap_or(u32::MAX);
            for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
                record.decrement_ttl(age);
            }
            return Some(answer);
        }
        if now < entry.stale_until {
            for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
                record.ttl = STALE_TTL_SECS;
            }
            return Some(answer);
        }
        None
    }

    /// Keeps `answer`, which came in a message of `octets`, for as long as it says itself.
    pub fn insert(&mut self, now: Instant, question: &Question, answer: &Answer, octets: usize) {
        let name = NameKey::new(&question.name);
        let denies_name = answer.code == ResponseCode::NXDomain && answer.answers.is_empty();
        let covered = if denies_name { None } else { Some(question.record_type) };
        let key = key(name.as_bytes(), question, covered);
        match time_to_live(answer) {
            Some(ttl) if octets <= ANSWER_OCTETS_MAX && weight(answer) <= RECORDS_MAX => {
                let mut answer = answer.clone();
                for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
                    record.ttl = believed(record.ttl).min(TTL_MAX_SECS);
                }
                self.put(now, key, answer, ttl);
            }
            // What was there before is outdated all the same.
            _ => self.remove(&key),
        }
    }

    /// Notes that upstream servers failed to answer `question`. Gives the answer to make do with: a
    /// stale one if there is any, else SERVFAIL, which is remembered.
    pub fn insert_failure(&mut self, now: Instant, question: &Question) -> Answer {
        let name = NameKey::new(&question.name);
        let exact = key(name.as_bytes(), question, Some(question.record_type));
        let name_only = key(name.as_bytes(), question, None);
        for key in [&exact, &name_only] {
            if let Some(entry) = self.entries.get_mut(key)
                && entry.answer.code != ResponseCode::ServFail
                && now < entry.expires + STALE_MAX
            {
                entry.stale_until = now + Duration::from_secs(STALE_TTL_SECS.into());
                return self.get_key(now, key).unwrap_or_default();
            }
        }
        let failure = Answer::code(ResponseCode::ServFail);
        self.put(now, exact, failure.clone(), FAILURE_SECS);
        failure
    }

    /// Forgets the failures, since there are other servers to ask now.
    pub fn forget_failures(&mut self) {
        let failed = |entry: &Entry| entry.answer.code == ResponseCode::ServFail;
        let keys: Vec<_> =
            self.entries.iter().filter(|(_, entry)| failed(entry)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(&key);
        }
        for entry in self.entries.values_mut() {
            entry.stale_until = entry.expires;
        }
    }

    fn put(&mut self, now: Instant, key: Key, answer: Answer, ttl: u32) {
        self.remove(&key);
        let expires = now + Duration::from_secs(ttl.into());
        self.records += weight(&answer);
        self.by_expiry.insert((expires, key.clone()));
        self.entries.insert(key, Entry { answer, stored: now, expires, stale_until: expires });
        while let Some((soonest, key)) = self.by_expiry.first() {
            if self.records <= RECORDS_MAX && now < *soonest + STALE_MAX {
                break;
            }
            let key = key.clone();
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.records -= weight(&entry.answer);
            let was_there = self.by_expiry.remove(&(entry.expires, key.clone()));
            debug_assert!(was_there, "every entry has its place in the order of expiry");
        }
    }
}

/// The name, an empty label, what else makes the answer a different one, and the type; no type stands
/// for all of them.
fn key(name: &[u8], question: &Question, record_type: Option<RecordType>) -> Key {
    let mut key = Vec::with_capacity(name.len() + 4);
    key.extend_from_slice(name);
    key.extend([0, u8::from(question.dnssec_ok) << 1 | u8::from(question.checking_disabled)]);
    if let Some(record_type) = record_type {
        key.extend(u16::from(record_type).to_be_bytes());
    }
    key
}

fn weight(answer: &Answer) -> usize {
    (answer.answers.len() + answer.authorities.len()).max(1)
}

/// How long an answer may be kept, in seconds; `None` if not at all. RFC 2308 section 5: what is denied
/// without an SOA is not kept.
fn time_to_live(answer: &Answer) -> Option<u32> {
    let is_negative = !answer.authorities.is_empty();
    if answer.code == ResponseCode::NXDomain && !is_negative {
        return None;
    }
    let records = answer.answers.iter().chain(&answer.authorities);
    let shortest = records.map(|record| believed(record.ttl)).min();
    let max = if is_negative { NEGATIVE_TTL_MAX_SECS } else { TTL_MAX_SECS };
    shortest.map(|ttl| ttl.min(max)).filter(|&ttl| ttl > 0)
}

/// RFC 2181 section 8: a TTL with its highest bit set is zero.
fn believed(ttl: u32) -> u32 {
    if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl }
}
