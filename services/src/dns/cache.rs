//! The cache of upstream servers' answers.
//!
//! The key of an entry is its question, or, if the answer is that the name does not exist, the name alone: it then
//! answers for every type. It says nothing of the names below: some servers deny a name that has only names below it,
//! and without validation nothing else proves a denial (RFC 8020, section 4). Failures are entries too (RFC 9520).
//! Expired answers stay for a while and are served if upstream servers fail (RFC 8767).
//!
//! The cache holds at most [`OCTETS_MAX`] octets; the entry with the earliest expiry is evicted first, expired or not.
//! A popular answer that will expire soon is [prefetched](Cache::hit).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::address_names::AddressNames;
use super::inspection::{CacheContent, CachedAnswer};
use super::message::{Answer, Question};
use super::name::NameKey;

/// The size of the cache in memory, as estimated: for each entry its message, twice its key, a structure and two names
/// for each record, and the entry itself.
pub const OCTETS_MAX: usize = 16 << 20;

/// The least number of clients' queries that an answer has served when it is prefetched.
pub const PREFETCH_HITS_MIN: u32 = 3;

/// The part of an answer's TTL, at its end, in which it is prefetched: a tenth.
const PREFETCH_PART: u32 = 10;

/// The longest answer on the wire, in octets, that is cached.
pub const ANSWER_OCTETS_MAX: usize = 4_096;

/// The longest TTL of an answer.
pub const TTL_MAX_SECS: u32 = 86_400;

/// The longest TTL of a negative answer. (RFC 2308, section 5)
pub const NEGATIVE_TTL_MAX_SECS: u32 = 3_600;

/// How long the first failure is cached: 1 s to 5 min. (RFC 9520, section 3.2)
pub const FAILURE_SECS: u32 = 5;

/// The longest time for which a failure is cached. (RFC 9520, section 3.2)
pub const FAILURE_SECS_MAX: u32 = 300;

/// How long after its expiry an answer may still be served. (RFC 8767, section 5)
pub const STALE_MAX: Duration = Duration::from_secs(86_400);

/// How long a client waits for upstream servers while there is a stale answer. (RFC 8767, section 5: the client
/// response timer)
pub const STALE_WAIT: Duration = Duration::from_millis(1_800);

/// The TTL of a stale answer, and the time until upstream servers are queried again. (RFC 8767, section 5)
pub const STALE_TTL_SECS: u32 = 30;

/// The cache.
#[derive(Default)]
pub struct Cache {
    names: AddressNames,
    entries: BTreeMap<Key, Entry>,
    by_expiry: BTreeSet<(Instant, Key)>,
    records: usize,
    octets: usize,
}

/// See [`key`].
type Key = Vec<u8>;

struct Entry {
    answer: Answer,
    stored: Instant,
    expires: Instant,
    /// Until then the stale answer is served without a query.
    stale_until: Instant,
    /// The octets that it counts for.
    octets: usize,
    /// The queries that it has served.
    hits: u32,
    /// Whether it was prefetched, whatever became of that.
    is_prefetched: bool,
}

impl Entry {
    /// The answer with the remaining TTLs or, if it has expired, as a stale one.
    fn answer_at(&self, now: Instant) -> Answer {
        let mut answer = self.answer.clone();
        let is_stale = now >= self.expires;
        let age = u32::try_from(now.since(self.stored).as_secs()).unwrap_or(u32::MAX);
        for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
            record.ttl = if is_stale { STALE_TTL_SECS } else { record.ttl.saturating_sub(age) };
        }
        // Its signatures may have expired since.
        answer.authenticated &= !is_stale;
        answer
    }
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The cached answer to a client's `question`, with the remaining TTLs, and whether to fetch it again before it
    /// expires, as clients often query it: once for each answer.
    pub fn hit(&mut self, now: Instant, question: &Question) -> Option<(Answer, bool)> {
        let keys = keys(question);
        let answer = keys.iter().find_map(|key| self.get_key(now, key))?;
        let [exact, _] = &keys;
        Some((answer, self.take_prefetch(now, exact)))
    }

    fn get_key(&self, now: Instant, key: &Key) -> Option<Answer> {
        let entry = self.entries.get(key)?;
        (now < entry.expires || now < entry.stale_until).then(|| entry.answer_at(now))
    }

    /// Caches `answer`, from a message of `octets`, for its TTL.
    pub fn insert(&mut self, now: Instant, question: &Question, answer: &Answer, octets: usize) {
        let denies_name = answer.code == ResponseCode::NXDomain && answer.answers.is_empty();
        let [exact, name_only] = keys(question);
        let (key, other) = if denies_name { (name_only, exact) } else { (exact, name_only) };
        for record in &answer.answers {
            if let RData::A(address) = &record.data {
                self.names.put(address.0, &question.name);
            }
        }
        // What denied the name, or was an answer for it, is outdated.
        self.remove(&other);
        match time_to_live(answer) {
            Some(ttl) if octets <= ANSWER_OCTETS_MAX => {
                let mut answer = answer.clone();
                for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
                    record.ttl = believed(record.ttl).min(TTL_MAX_SECS);
                }
                self.put(now, key, answer, ttl, octets);
            }
            // The former answer is outdated all the same.
            _ => self.remove(&key),
        }
    }

    /// The names under which addresses were found lately.
    pub fn names(&self) -> &AddressNames {
        &self.names
    }

    /// The stale answer to `question`, if there is one.
    pub fn stale(&self, now: Instant, question: &Question) -> Option<Answer> {
        let key = self.stale_key(now, question)?;
        self.entries.get(&key).map(|entry| entry.answer_at(now))
    }

    /// The stale answer to `question`, if there is one, which is served without a query for [`STALE_TTL_SECS`] from now
    /// on.
    pub fn serve_stale(&mut self, now: Instant, question: &Question) -> Option<Answer> {
        let key = self.stale_key(now, question)?;
        let entry = self.entries.get_mut(&key)?;
        let pause = Duration::from_secs(STALE_TTL_SECS.into());
        entry.stale_until = (now + pause).min(entry.expires + STALE_MAX);
        Some(entry.answer_at(now))
    }

    /// Whether there is a stale answer to `question`.
    pub fn has_stale(&self, now: Instant, question: &Question) -> bool {
        self.stale_key(now, question).is_some()
    }

    fn stale_key(&self, now: Instant, question: &Question) -> Option<Key> {
        let is_usable =
            |entry: &Entry| entry.answer.code != ResponseCode::ServFail && now < entry.expires + STALE_MAX;
        keys(question).into_iter().find(|key| self.entries.get(key).is_some_and(is_usable))
    }

    /// Caches the failure of `question`, and returns the answer to send: a stale one if there is one, else SERVFAIL.
    /// The failure is cached for [`FAILURE_SECS`], and if the question fails `alone`, while others are answered, for
    /// twice as long as the last time, up to [`FAILURE_SECS_MAX`].
    pub fn insert_failure(&mut self, now: Instant, question: &Question, alone: bool) -> Answer {
        if let Some(stale) = self.serve_stale(now, question) {
            return stale;
        }
        let [exact, _] = keys(question);
        let failure = Answer::code(ResponseCode::ServFail);
        let earlier = self.entries.get(&exact).filter(|_| alone);
        let secs = earlier.map_or(FAILURE_SECS, |entry| entry.next_failure_secs(now));
        self.put(now, exact, failure.clone(), secs, 0);
        failure
    }

    /// The content, with `max` answers at most.
    pub fn content(&self, now: Instant, max: usize) -> CacheContent {
        let answer = |(key, entry): (&Key, &Entry)| {
            let (name, record_type) = parts(key)?;
            let (code, answers) = (entry.answer.code, entry.answer.answers.len());
            Some(CachedAnswer { name, record_type, code, answers, remaining: entry.expires.since(now) })
        };
        let answers = self.entries.iter().filter_map(answer).take(max).collect();
        CacheContent { total: self.entries.len(), records: self.records, answers }
    }

    /// Removes the answers for `zone` and the names below it; of all names for `None`. Returns their number.
    pub fn flush(&mut self, zone: Option<&Name>) -> usize {
        let zone = zone.map(|name| NameKey::new(name).as_bytes().to_vec()).unwrap_or_default();
        let within = self.entries.range(zone.clone()..).take_while(|(key, _)| key.starts_with(&zone));
        let keys: Vec<_> = within.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.remove(key));
        keys.len()
    }

    /// Removes the failures, as the upstream servers have changed.
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

    /// Counts a query that was answered, and returns whether the answer is to be prefetched now.
    fn take_prefetch(&mut self, now: Instant, exact: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(exact).filter(|entry| now < entry.expires) else {
            return false;
        };
        entry.hits = entry.hits.saturating_add(1);
        let (left, all) = (entry.expires.since(now), entry.expires.since(entry.stored));
        let is_due = entry.hits >= PREFETCH_HITS_MIN
            && left <= all / PREFETCH_PART
            && entry.answer.code != ResponseCode::ServFail;
        is_due && !std::mem::replace(&mut entry.is_prefetched, true)
    }

    /// `wire_octets` is the length of the message.
    fn put(&mut self, now: Instant, key: Key, answer: Answer, ttl: u32, wire_octets: usize) {
        self.remove(&key);
        let octets = cost(&key, &answer, wire_octets);
        self.octets += octets;
        let expires = now + Duration::from_secs(ttl.into());
        self.records += weight(&answer);
        self.by_expiry.insert((expires, key.clone()));
        let (stored, stale_until, hits, is_prefetched) = (now, expires, 0, false);
        let entry = Entry { answer, stored, expires, stale_until, octets, hits, is_prefetched };
        self.entries.insert(key, entry);
        while let Some((soonest, key)) = self.by_expiry.first() {
            if self.octets <= OCTETS_MAX && now < *soonest + STALE_MAX {
                break;
            }
            let key = key.clone();
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.records -= weight(&entry.answer);
            self.octets -= entry.octets;
            let was_there = self.by_expiry.remove(&(entry.expires, key.clone()));
            debug_assert!(was_there, "every entry has its place in the order of expiry");
        }
    }
}

impl Entry {
    /// How long the next failure after this one is cached.
    fn next_failure_secs(&self, now: Instant) -> u32 {
        let is_recent = now < self.expires + Duration::from_secs(FAILURE_SECS_MAX.into());
        if self.answer.code != ResponseCode::ServFail || !is_recent {
            return FAILURE_SECS;
        }
        let secs = u32::try_from(self.expires.since(self.stored).as_secs()).unwrap_or(FAILURE_SECS_MAX);
        secs.saturating_mul(2).min(FAILURE_SECS_MAX)
    }
}

/// The keys of the entries that answer `question`: that of its own answer, and that of a denial of its name.
fn keys(question: &Question) -> [Key; 2] {
    let name = NameKey::new(&question.name);
    [Some(question.record_type), None].map(|record_type| key(&name, question, record_type))
}

/// A key: the name, an empty label, the flags that change the answer, and the type; no type: all of them.
fn key(name: &NameKey, question: &Question, record_type: Option<RecordType>) -> Key {
    let mut key = Vec::with_capacity(name.as_bytes().len() + 4);
    key.extend_from_slice(name.as_bytes());
    key.extend([0, u8::from(question.dnssec_ok) << 1 | u8::from(question.checking_disabled)]);
    if let Some(record_type) = record_type {
        key.extend(u16::from(record_type).to_be_bytes());
    }
    key
}

/// The name and the type of a key.
fn parts(key: &Key) -> Option<(Name, Option<RecordType>)> {
    let (name, rest) = NameKey::split(key)?;
    let record_type = rest.get(2..4).and_then(|octets| octets.try_into().ok());
    Some((name.to_name()?, record_type.map(|octets| u16::from_be_bytes(octets).into())))
}

/// The estimate of an entry's octets in memory.
fn cost(key: &Key, answer: &Answer, wire_octets: usize) -> usize {
    // On the wire names are compressed; in memory each is there as a whole.
    let names = answer.answers.iter().chain(&answer.authorities).map(|record| 2 * record.name.len());
    let records = weight(answer) * size_of::<Record>() + names.sum::<usize>() + wire_octets;
    size_of::<Entry>() + 2 * (size_of::<Key>() + key.len()) + records
}

fn weight(answer: &Answer) -> usize {
    (answer.answers.len() + answer.authorities.len()).max(1)
}

/// How long an answer may be cached, in seconds; `None` if not at all. RFC 2308, section 5: a negative answer without
/// an SOA is not cached.
fn time_to_live(answer: &Answer) -> Option<u32> {
    let is_negative = answer.is_denial();
    if !is_negative && (answer.code == ResponseCode::NXDomain || answer.answers.is_empty()) {
        return None;
    }
    let records = answer.answers.iter().chain(&answer.authorities);
    let shortest = records.map(|record| believed(record.ttl)).min();
    let max = if is_negative { NEGATIVE_TTL_MAX_SECS } else { TTL_MAX_SECS };
    shortest.map(|ttl| ttl.min(max)).filter(|&ttl| ttl > 0)
}

/// RFC 2181, section 8: a TTL whose highest bit is set is zero.
fn believed(ttl: u32) -> u32 {
    if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{a, cname, question, soa};
    use super::*;

    const OCTETS: usize = 100;

    impl Cache {
        /// The answer, without a client.
        fn get(&self, now: Instant, question: &Question) -> Option<Answer> {
            keys(question).iter().find_map(|key| self.get_key(now, key))
        }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn nxdomain(zone: &str, ttl: u32) -> Answer {
        Answer::negative(ResponseCode::NXDomain, soa(zone, ttl, ttl))
    }

    fn ttls(answer: Option<Answer>) -> Vec<u32> {
        let answer = answer.unwrap_or_default();
        answer.answers.iter().chain(&answer.authorities).map(|record| record.ttl).collect()
    }

    #[test]
    fn an_answer_holds_as_long_as_its_shortest_ttl_and_counts_down() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        let answer = Answer::records(vec![
            cname("www.example.", 30, "w.example."),
            a("w.example.", 300, "203.0.113.1"),
        ]);
        cache.insert(at(100), &www, &answer, OCTETS);
        assert_eq!(ttls(cache.get(at(100), &www)), [30, 300]);
        assert_eq!(ttls(cache.get(at(129), &www)), [1, 271]);
        assert_eq!(cache.get(at(130), &www), None);
        assert_eq!(cache.get(at(100), &question("www.example.", RecordType::AAAA)), None);
        assert!(cache.get(at(100), &question("WWW.example.", RecordType::A)).is_some(), "RFC 4343");
    }

    #[test]
    fn a_flush_removes_a_name_and_all_below_it_and_the_content_is_what_is_left() {
        let mut cache = Cache::new();
        for name in ["example.", "www.example.", "example2.", "gone.example."] {
            let answer = Answer::records(vec![a(name, 60, "203.0.113.1")]);
            let answer = if name == "gone.example." { nxdomain("example.", 60) } else { answer };
            cache.insert(at(0), &question(name, RecordType::A), &answer, OCTETS);
        }
        let told = |cache: &Cache, max| {
            let content = cache.content(at(20), max);
            let answers = content.answers.into_iter();
            let answers: Vec<_> = answers
                .map(|it| (it.name.to_ascii(), it.record_type, it.answers, it.remaining.as_secs()))
                .collect();
            (content.total, content.records, answers)
        };
        let of = |name: &str, answers| (name.to_owned(), (answers > 0).then_some(RecordType::A), answers, 40);
        let all = vec![of("example.", 1), of("www.example.", 1), of("gone.example.", 0), of("example2.", 1)];
        assert_eq!(told(&cache, 9), (4, 4, all.clone()));
        assert_eq!(told(&cache, 1), (4, 4, all[..1].to_vec()));
        let zone = Name::from_ascii("EXAMPLE.").unwrap();
        assert_eq!((cache.flush(Some(&zone)), cache.flush(Some(&zone))), (3, 0));
        assert_eq!(told(&cache, 9), (1, 1, all[3..].to_vec()));
        assert_eq!((cache.flush(None), cache.is_empty(), cache.len()), (1, true, 0));
    }

    /// RFC 2181, section 8: TTLs are bounded.
    #[test]
    fn rfc2181_ttls_are_bounded() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        let with_ttl = |ttl| Answer::records(vec![a("www.example.", ttl, "203.0.113.1")]);
        for unusable in [0, 1 << 31, u32::MAX] {
            cache.insert(at(0), &www, &with_ttl(unusable), OCTETS);
            assert_eq!(cache.get(at(0), &www), None, "{unusable}");
        }
        cache.insert(at(0), &www, &with_ttl(i32::MAX.unsigned_abs()), OCTETS);
        assert_eq!(ttls(cache.get(at(0), &www)), [TTL_MAX_SECS]);
        assert_eq!(cache.get(at(TTL_MAX_SECS.into()), &www), None);
    }

    /// RFC 2308, section 5: A negative answer without SOA is not cached.
    #[test]
    fn rfc2308_a_denial_without_soa_is_not_kept() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        cache.insert(at(0), &www, &Answer::code(ResponseCode::NXDomain), OCTETS);
        assert_eq!(cache.get(at(0), &www), None);
        cache.insert(at(0), &www, &Answer::default(), OCTETS);
        assert_eq!(cache.get(at(0), &www), None);
    }

    /// RFC 2308, section 5: A negative answer is cached for an hour at most.
    #[test]
    fn rfc2308_a_denial_is_believed_for_an_hour_at_most() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        cache.insert(at(0), &www, &nxdomain("example.", 100_000), OCTETS);
        assert!(cache.get(at(3_599), &www).is_some());
        assert_eq!(cache.get(at(3_600), &www), None);
    }

    /// RFC 8020, section 4: A denied name denies every type and nothing below it as it is not validated.
    #[test]
    fn rfc8020_4_a_denied_name_denies_every_type_and_nothing_below_it_as_it_is_not_validated() {
        let mut cache = Cache::new();
        for dnssec_ok in [false, true] {
            let asked = |owner, record_type| Question { dnssec_ok, ..question(owner, record_type) };
            let gone = asked("gone.example.", RecordType::A);
            cache.insert(at(0), &gone, &nxdomain("example.", 60), OCTETS);
            let denied = cache.get(at(1), &asked("gone.example.", RecordType::MX)).unwrap();
            assert_eq!(denied.code, ResponseCode::NXDomain);
            assert_eq!(cache.get(at(1), &asked("a.gone.example.", RecordType::A)), None);
            assert_eq!(cache.get(at(1), &asked("begone.example.", RecordType::A)), None);
        }
    }

    /// RFC 9520, section 3.2: A failure is cached for some seconds.
    #[test]
    fn rfc9520_a_failure_is_remembered_for_some_seconds() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        let failure = cache.insert_failure(at(10), &www, false);
        assert_eq!(failure.code, ResponseCode::ServFail);
        assert_eq!(cache.get(at(14), &www), Some(failure));
        assert_eq!(cache.get(at(15), &www), None);
        _ = cache.insert_failure(at(20), &www, false);
        cache.forget_failures();
        assert_eq!(cache.get(at(20), &www), None);
    }

    /// RFC 9520, section 3.2: A question that fails while its zone answers is retried after growing pauses.
    #[test]
    fn rfc9520_a_question_that_fails_alone_is_left_in_peace_for_longer_each_time() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        let mut now = at(0);
        for secs in [5, 10, 20, 40, 80, 160, 300, 300] {
            _ = cache.insert_failure(now, &www, true);
            now = now + Duration::from_secs(secs - 1);
            assert!(cache.get(now, &www).is_some(), "{secs}");
            now = now + Duration::from_secs(1);
            assert_eq!(cache.get(now, &www), None, "{secs}");
        }
        let mut remembered = |now: Instant, alone| {
            _ = cache.insert_failure(now, &www, alone);
            let secs = (1..=FAILURE_SECS_MAX)
                .find(|secs| cache.get(now + Duration::from_secs((*secs).into()), &www).is_none());
            secs.unwrap()
        };
        assert_eq!(remembered(now, false), FAILURE_SECS, "all fail");
        assert_eq!(remembered(now + Duration::from_secs(5), true), 2 * FAILURE_SECS);
        let much_later = now + Duration::from_secs(15 + u64::from(FAILURE_SECS_MAX));
        assert_eq!(remembered(much_later, true), FAILURE_SECS, "it is forgotten");
    }

    /// RFC 8767, section 4: A stale answer is better than a failure.
    #[test]
    fn rfc8767_a_stale_answer_is_better_than_a_failure() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        cache.insert(at(0), &www, &Answer::records(vec![a("www.example.", 60, "203.0.113.1")]), OCTETS);
        assert_eq!(cache.get(at(100), &www), None, "upstream servers are asked first");
        assert_eq!(ttls(Some(cache.insert_failure(at(106), &www, false))), [STALE_TTL_SECS]);
        assert_eq!(ttls(cache.get(at(135), &www)), [STALE_TTL_SECS], "and then left in peace");
        assert_eq!(cache.get(at(136), &www), None);
        let (late, too_late) = (at(60 + 86_390), at(60 + 86_400));
        assert_eq!(ttls(Some(cache.insert_failure(late, &www, false))), [STALE_TTL_SECS]);
        assert_eq!(cache.get(too_late, &www), None, "a day is the longest, whoever asked when");
        assert_eq!(cache.insert_failure(too_late, &www, false).code, ResponseCode::ServFail);
    }

    #[test]
    fn what_validators_see_is_kept_apart() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        cache.insert(at(0), &www, &Answer::records(vec![a("www.example.", 60, "203.0.113.1")]), OCTETS);
        assert_eq!(cache.get(at(0), &Question { dnssec_ok: true, ..www.clone() }), None);
        assert_eq!(cache.get(at(0), &Question { checking_disabled: true, ..www }), None);
    }

    #[test]
    fn a_full_cache_forgets_what_expires_soonest() {
        let mut cache = Cache::new();
        let ask = |i: usize| question(&format!("n{i}.example."), RecordType::A);
        let put = |cache: &mut Cache, i: usize, ttl: u32| {
            let owner = format!("n{i}.example.");
            cache.insert(at(0), &ask(i), &Answer::records(vec![a(&owner, ttl, "203.0.113.1")]), OCTETS);
        };
        // Names of one length, so that one entry makes room for another.
        let put_next = |cache: &mut Cache, i: usize| put(cache, 10_000 + i, if i == 77 { 10 } else { 1_000 });
        put_next(&mut cache, 0);
        let entries_max = OCTETS_MAX / cache.octets;
        (1..entries_max).for_each(|i| put_next(&mut cache, i));
        assert_eq!(cache.len(), entries_max);
        put(&mut cache, 10_000 + entries_max, 500);
        assert_eq!(cache.len(), entries_max);
        assert!(cache.octets <= OCTETS_MAX);
        assert_eq!(cache.get(at(0), &ask(10_077)), None);
        assert!(cache.get(at(0), &ask(10_000 + entries_max)).is_some());
    }

    #[test]
    fn a_popular_answer_is_prefetched_once_in_the_last_tenth_of_its_ttl() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        let answer = Answer::records(vec![a("www.example.", 100, "203.0.113.1")]);
        cache.insert(at(0), &www, &answer, OCTETS);
        let mut hits = |secs: &[u64]| -> Vec<bool> {
            secs.iter().map(|&secs| cache.hit(at(secs), &www).is_some_and(|(_, is_due)| is_due)).collect()
        };
        assert_eq!(hits(&[91, 92]), [false, false], "not popular");
        assert_eq!(hits(&[93, 94]), [true, false]);
        cache.insert(at(95), &www, &answer, OCTETS);
        let mut hits = |secs: &[u64]| -> Vec<bool> {
            secs.iter().map(|&secs| cache.hit(at(secs), &www).is_some_and(|(_, is_due)| is_due)).collect()
        };
        assert_eq!(hits(&[96, 97, 98, 184, 185, 195]), [false, false, false, false, true, false]);
        let failing = question("failing.example.", RecordType::A);
        _ = cache.insert_failure(at(0), &failing, false);
        assert_eq!(
            [4, 4, 4].map(|secs| cache.hit(at(secs), &failing).map(|(_, is_due)| is_due)),
            [Some(false); 3]
        );
    }

    #[test]
    fn of_an_answer_and_a_denial_the_later_one_is_stale_and_not_the_other() {
        let www = question("www.example.", RecordType::A);
        let answer = Answer::records(vec![a("www.example.", 60, "203.0.113.1")]);
        for (first, second) in
            [(answer.clone(), nxdomain("example.", 60)), (nxdomain("example.", 60), answer)]
        {
            let mut cache = Cache::new();
            cache.insert(at(0), &www, &first, OCTETS);
            cache.insert(at(100), &www, &second, OCTETS);
            let stale = cache.insert_failure(at(1_000), &www, false);
            assert_eq!(stale.code, second.code);
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_kept() {
        let (mut cache, www) = (Cache::new(), question("www.example.", RecordType::A));
        let answer = Answer::records(vec![a("www.example.", 60, "203.0.113.1")]);
        cache.insert(at(0), &www, &answer, OCTETS);
        cache.insert(at(0), &www, &answer, ANSWER_OCTETS_MAX + 1);
        assert!(cache.is_empty(), "not even the answer before");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert {
            asked: Asked,
            ttl: u32,
        },
        Deny {
            asked: Asked,
            ttl: u32,
        },
        /// NODATA, or a negative answer that must not be cached.
        SayNothing {
            asked: Asked,
            ttl: Option<u32>,
        },
        Fail {
            asked: Asked,
        },
        ForgetFailures,
        Wait(u64),
    }

    /// A question: a name, of which some are below others, its type, and the DO bit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Asked {
        name: usize,
        record_type: RecordType,
        dnssec_ok: bool,
    }

    const NAMES: [&str; 5] = ["a.example.", "b.a.example.", "c.b.a.example.", "d.example.", "example."];

    impl Asked {
        fn question(self) -> Question {
            Question { dnssec_ok: self.dnssec_ok, ..question(NAMES[self.name], self.record_type) }
        }
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let record_type = prop::sample::select(vec![RecordType::A, RecordType::A, RecordType::MX]);
        (0..NAMES.len(), record_type, prop::bool::weighted(0.2))
            .prop_map(|(name, record_type, dnssec_ok)| Asked { name, record_type, dnssec_ok })
    }

    fn all_asked() -> impl Iterator<Item = Asked> {
        let types = [RecordType::A, RecordType::MX];
        let each = move |name| {
            types.map(|record_type| [true, false].map(|dnssec_ok| Asked { name, record_type, dnssec_ok }))
        };
        (0..NAMES.len()).flat_map(each).flatten()
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Whole seconds, and days, after which an answer is too old to be served stale.
        let wait = prop_oneof![4 => 0..40_000_000_u64, 1 => Just(86_380_000_000)];
        let ttl = || prop_oneof![6 => 0..100_u32, 1 => Just(100_000), 1 => Just(u32::MAX)];
        let step = prop_oneof![
            4 => (asked(), ttl()).prop_map(|(asked, ttl)| Step::Insert { asked, ttl }),
            3 => (asked(), ttl()).prop_map(|(asked, ttl)| Step::Deny { asked, ttl }),
            1 => (asked(), prop::option::of(ttl())).prop_map(|(asked, ttl)| Step::SayNothing { asked, ttl }),
            3 => asked().prop_map(|asked| Step::Fail { asked }),
            1 => Just(Step::ForgetFailures),
            5 => wait.prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..60)
    }

    /// An answer of the model, for one type or the whole name, with its expiry.
    struct Said {
        asked: Asked,
        is_denial: bool,
        answer: Answer,
        when: Instant,
        until: Instant,
        given_until: Instant,
    }

    impl Said {
        fn left(&self, now: Instant) -> Option<Answer> {
            let mut answer = self.answer.clone();
            let age = u32::try_from(now.since(self.when).as_secs()).unwrap();
            for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
                record.ttl = if now < self.until { record.ttl - age } else { STALE_TTL_SECS };
            }
            (now < self.until.max(self.given_until)).then_some(answer)
        }
    }

    /// The model: the last answer to each question, in a list.
    #[derive(Default)]
    struct Model(Vec<Said>);

    impl Model {
        fn forget(&mut self, asked: Asked, is_denial: bool) {
            let is_same = |said: &Said| {
                let is_of_type = is_denial || said.asked.record_type == asked.record_type;
                let is_alike = said.asked.name == asked.name && said.asked.dnssec_ok == asked.dnssec_ok;
                said.is_denial == is_denial && is_alike && is_of_type
            };
            self.0.retain(|said| !is_same(said));
        }

        /// Stores an answer for `ttl` seconds.
        fn say(&mut self, now: Instant, asked: Asked, answer: Answer, ttl: u32) {
            let is_denial = answer.code == ResponseCode::NXDomain;
            self.forget(asked, is_denial);
            if is_denial {
                self.0.retain(|said| said.is_denial || said.asked != asked);
            } else if answer.code != ResponseCode::ServFail {
                self.forget(asked, true);
            }
            let until = now + Duration::from_secs(ttl.into());
            if ttl > 0 {
                self.0.push(Said { asked, is_denial, answer, when: now, until, given_until: until });
            }
        }

        /// The answers that fit the question, the best first: its own answer, then the denial of its name.
        fn fitting(&mut self, asked: Asked) -> Vec<&mut Said> {
            let rank = |said: &Said| match said.is_denial {
                _ if said.asked.dnssec_ok != asked.dnssec_ok => None,
                false => (said.asked == asked).then_some(0),
                true => (said.asked.name == asked.name).then_some(1),
            };
            let mut fitting: Vec<_> = self.0.iter_mut().filter(|said| rank(said).is_some()).collect();
            fitting.sort_by_key(|said| rank(said));
            fitting
        }

        fn get(&mut self, now: Instant, asked: Asked) -> Option<Answer> {
            self.fitting(asked).into_iter().find_map(|said| said.left(now))
        }

        /// A failure, answered with a stale answer for this very name, unless that was a failure.
        fn fail(&mut self, now: Instant, asked: Asked) -> Answer {
            let mut usable = self
                .fitting(asked)
                .into_iter()
                .filter(|said| said.answer.code != ResponseCode::ServFail && now < said.until + STALE_MAX);
            if let Some(said) = usable.next() {
                let pause = Duration::from_secs(STALE_TTL_SECS.into());
                said.given_until = (now + pause).min(said.until + STALE_MAX);
                return said.left(now).expect("it was just made to be given");
            }
            let failure = Answer::code(ResponseCode::ServFail);
            self.say(now, asked, failure.clone(), FAILURE_SECS);
            failure
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_what_was_said(steps in steps()) {
            let (mut cache, mut now, mut model) = (Cache::new(), Instant::ZERO, Model::default());
            // The answer as cached: TTLs are at most a day, and those of decades are zero.
            let kept = |mut answer: Answer| {
                for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
                    record.ttl = if record.ttl == u32::MAX { 0 } else { record.ttl.min(TTL_MAX_SECS) };
                }
                let ttl = ttls(Some(answer.clone()))[0];
                (answer, ttl)
            };
            for step in steps {
                match step {
                    Step::Wait(micros) => now = now + Duration::from_micros(micros),
                    Step::Insert { asked, ttl } => {
                        let answer = Answer::records(vec![a(NAMES[asked.name], ttl, "203.0.113.1")]);
                        cache.insert(now, &asked.question(), &answer, OCTETS);
                        let (answer, ttl) = kept(answer);
                        model.say(now, asked, answer, ttl);
                    }
                    Step::Deny { asked, ttl } => {
                        let answer = nxdomain("example.", ttl);
                        cache.insert(now, &asked.question(), &answer, OCTETS);
                        let (answer, ttl) = kept(answer);
                        model.say(now, asked, answer, ttl.min(NEGATIVE_TTL_MAX_SECS));
                    }
                    Step::SayNothing { asked, ttl: Some(ttl) } => {
                        let answer = Answer::negative(ResponseCode::NoError, soa("example.", ttl, ttl));
                        cache.insert(now, &asked.question(), &answer, OCTETS);
                        let (answer, ttl) = kept(answer);
                        model.say(now, asked, answer, ttl.min(NEGATIVE_TTL_MAX_SECS));
                    }
                    Step::SayNothing { asked, ttl: None } => {
                        cache.insert(now, &asked.question(), &Answer::default(), OCTETS);
                        model.forget(asked, false);
                        model.forget(asked, true);
                    }
                    Step::Fail { asked } => {
                        let answer = cache.insert_failure(now, &asked.question(), false);
                        prop_assert_eq!(answer, model.fail(now, asked));
                    }
                    Step::ForgetFailures => {
                        cache.forget_failures();
                        model.0.retain(|said| said.answer.code != ResponseCode::ServFail);
                        model.0.iter_mut().for_each(|said| said.given_until = said.until);
                    }
                }
                for asked in all_asked() {
                    prop_assert_eq!(cache.get(now, &asked.question()), model.get(now, asked), "{:?}", asked);
                }
                prop_assert_eq!(cache.by_expiry.len(), cache.entries.len());
                prop_assert_eq!(cache.octets, cache.entries.values().map(|entry| entry.octets).sum::<usize>());
                prop_assert_eq!(cache.len(), cache.entries.values().map(|entry| weight(&entry.answer)).sum::<usize>());
            }
        }
    }

    #[test]
    fn names_with_odd_octets_have_keys_of_their_own() {
        let odd_name = Name::from_labels([&b"a\0"[..], b"example"]).unwrap();
        let odd = Question { name: odd_name, ..question("x.example.", RecordType::A) };
        let mut cache = Cache::new();
        cache.insert(at(0), &odd, &Answer::records(vec![a("x.example.", 60, "203.0.113.1")]), OCTETS);
        assert!(cache.get(at(0), &odd).is_some());
        assert_eq!(cache.get(at(0), &question("a.example.", RecordType::A)), None);
    }
}
