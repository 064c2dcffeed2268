//! A recursive resolver: it walks the tree from the root. (RFC 1034, section 5.3.3)
//!
//! # Theory of operation
//!
//! The cache is its only knowledge: each step looks up the wanted name in it, and if it is not there queries the name
//! servers of the deepest known zone above the name. The answer goes into the cache, and the step is repeated. The
//! address of a name server without glue is looked up in turn, on a stack of wanted names.
//!
//! From an answer it uses what the servers of that zone are authoritative for: records of the queried name, delegations
//! towards it, and addresses below the zone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Caller;
use super::{Transport, response_to};

/// The most questions in progress; further ones fail.
pub const TASKS_MAX: usize = 512;
/// The most cached answers; when there is no room, the one that expires first is removed.
pub const CACHE_ENTRIES_MAX: usize = 4_096;
/// How long a name server may be silent.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(600);
/// How often one is asked for the same thing.
const ATTEMPTS_PER_SERVER_MAX: usize = 2;
/// How long one that was silent is asked last.
const DOWN: Duration = Duration::from_secs(30);
/// The most nested questions.
const WANTS_MAX: usize = 4;
const ALIASES_MAX: usize = 8;
/// Steps of one question, for all that it leads to.
const ATTEMPTS_MAX: usize = 40;
const UDP_OCTETS_MAX: u16 = 1_232;

/// An action for the caller.
pub enum Output {
    /// Query a name server, and pass the answer to [`Resolver::handle_answer`].
    Ask {
        /// The server.
        server: Ipv4Addr,
        /// The attempt, for the answer.
        attempt: u64,
        /// How.
        transport: Transport,
        /// The message.
        message: Vec<u8>,
    },
    /// Answer a question, with the truth as far as it could be found.
    Answer {
        /// The caller of the question.
        caller: Caller,
        /// Its transport.
        transport: Transport,
        /// The question.
        question: Box<Message>,
        /// The answer, which has not been truncated yet.
        answer: Box<Message>,
    },
}

/// The resolver.
pub struct Resolver {
    root_servers: Vec<Ipv4Addr>,
    cache: BTreeMap<(Name, RecordType), Cached>,
    down_until: BTreeMap<Ipv4Addr, Instant>,
    tasks: Vec<Task>,
    attempts_made: u64,
    outputs: Vec<Output>,
    rng: StdRng,
}

/// The cached knowledge of a name and type.
#[derive(Clone)]
struct Cached {
    expires: Instant,
    known: Known,
}

#[derive(Clone)]
enum Known {
    Records(Vec<Record>),
    /// There is none, and the SOA that says so.
    Denied(ResponseCode, Box<Record>),
}

/// A question under way.
struct Task {
    caller: Caller,
    transport: Transport,
    question: Message,
    /// The aliases so far.
    aliases: Vec<Record>,
    /// The wanted names; each is needed for the one before it.
    wants: Vec<Want>,
    attempts: usize,
}

struct Want {
    name: Name,
    record_type: RecordType,
    /// The queried zone and its servers.
    zone: Name,
    asked: Vec<Ipv4Addr>,
    /// Name servers without a known address.
    lost: Vec<Name>,
    attempt: Option<Attempt>,
}

#[derive(Clone, Copy)]
struct Attempt {
    number: u64,
    message_id: u16,
    server: Ipv4Addr,
    transport: Transport,
    until: Instant,
}

/// The next step for a question.
enum Step {
    Wait,
    Ask(Ipv4Addr),
    Want(Name),
    Done(Result<Known, ()>),
}

impl Resolver {
    /// A resolver that knows where the root is.
    pub fn new(root_servers: Vec<Ipv4Addr>, rng: StdRng) -> Self {
        Self {
            root_servers,
            cache: BTreeMap::new(),
            down_until: BTreeMap::new(),
            tasks: Vec::new(),
            attempts_made: 0,
            outputs: Vec::new(),
            rng,
        }
    }

    /// Takes a question in.
    pub fn handle_question(&mut self, now: Instant, caller: Caller, transport: Transport, question: Message) {
        let want = match &question.queries[..] {
            [query] if query.query_class == DNSClass::IN => Want::new(query.name.clone(), query.query_type),
            _ => return self.answer(caller, transport, question, Vec::new(), Err(ResponseCode::FormErr)),
        };
        if self.tasks.len() >= TASKS_MAX {
            return self.answer(caller, transport, question, Vec::new(), Err(ResponseCode::ServFail));
        }
        let wants = vec![want];
        self.go_on(now, Task { caller, transport, question, aliases: Vec::new(), wants, attempts: 0 });
    }

    /// Handles the answer to an attempt.
    pub fn handle_answer(&mut self, now: Instant, number: u64, message: &[u8]) {
        let is_its = |task: &Task| task.attempt().is_some_and(|attempt| attempt.number == number);
        let Some(place) = self.tasks.iter().position(is_its) else { return };
        let Some(want) = self.tasks[place].wants.last_mut() else { return };
        let Some((attempt, answer)) = want.attempt.and_then(|attempt| {
            let answer = Message::from_vec(message).ok()?;
            want.is_answered_by(&answer, attempt).then_some((attempt, answer))
        }) else {
            return;
        };
        let mut task = self.tasks.remove(place);
        self.down_until.remove(&attempt.server);
        if let Some(want) = task.wants.last_mut() {
            want.attempt = None;
            if answer.metadata.truncation && attempt.transport == Transport::Udp {
                return self.attempt(now, task, attempt.server, Transport::Tcp);
            }
            if !self.learn(now, want, &answer) {
                want.asked.extend([attempt.server; ATTEMPTS_PER_SERVER_MAX]);
            }
        }
        self.go_on(now, task);
    }

    /// To be called at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_late = |task: &mut Task| task.attempt().is_none_or(|attempt| attempt.until <= now);
        let late: Vec<_> = self.tasks.extract_if(.., is_late).collect();
        for mut task in late {
            if let Some(attempt) = task.wants.last_mut().and_then(|want| want.attempt.take()) {
                self.down_until.insert(attempt.server, now + DOWN);
            }
            self.go_on(now, task);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.tasks.iter().filter_map(|task| Some(task.attempt()?.until)).min()
    }

    /// The actions.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Takes steps until the question is answered or waits.
    fn go_on(&mut self, now: Instant, mut task: Task) {
        loop {
            let depth = task.wants.len();
            let Some(want) = task.wants.last_mut() else { return };
            match self.step(now, want) {
                Step::Wait => return self.tasks.push(task),
                Step::Ask(server) if task.attempts < ATTEMPTS_MAX => {
                    return self.attempt(now, task, server, Transport::Udp);
                }
                Step::Want(server) if depth < WANTS_MAX => {
                    task.wants.push(Want::new(server, RecordType::A));
                }
                Step::Want(server) => want.lost.push(server),
                Step::Ask(_) => return self.finish(task, Err(())),
                Step::Done(found) if depth == 1 => match task.follow(&found) {
                    Some(next) => task.wants = vec![next],
                    None => return self.finish(task, found),
                },
                Step::Done(found) => {
                    let server = task.wants.pop().map(|want| want.name);
                    // The result is in the cache now.
                    if !matches!(found, Ok(Known::Records(records)) if records.iter().any(is_address))
                        && let Some(want) = task.wants.last_mut()
                    {
                        want.lost.extend(server);
                    }
                }
            }
        }
    }

    fn step(&mut self, now: Instant, want: &mut Want) -> Step {
        if want.attempt.is_some() {
            return Step::Wait;
        }
        let wanted = [want.record_type, RecordType::CNAME].into_iter();
        if let Some(known) = wanted.filter_map(|kind| self.get(now, &want.name, kind)).next() {
            return Step::Done(Ok(known));
        }
        let (zone, servers) = self.deepest_zone(now, &want.name);
        if zone != want.zone {
            want.zone = zone;
            want.asked.clear();
            want.lost.clear();
        }
        let mut addresses = if want.zone.is_root() { self.root_servers.clone() } else { Vec::new() };
        let mut unknown = Vec::new();
        for server in servers {
            match self.get(now, &server, RecordType::A) {
                Some(Known::Records(records)) => addresses.extend(records.iter().filter_map(address)),
                _ if want.lost.contains(&server) || want.name == server => {}
                _ => unknown.push(server),
            }
        }
        let times = |server: &Ipv4Addr| want.asked.iter().filter(|asked| *asked == server).count();
        addresses.retain(|server| times(server) < ATTEMPTS_PER_SERVER_MAX);
        let is_down = |server: &Ipv4Addr| self.down_until.get(server).is_some_and(|until| now < *until);
        let rank = |server: &Ipv4Addr| (is_down(server), times(server));
        // Those that are as good as each other have the same share.
        let start = self.rng.random_range(0..addresses.len().max(1));
        addresses.rotate_left(start);
        match (addresses.iter().min_by_key(|server| rank(server)), unknown.into_iter().next()) {
            (Some(server), Some(_)) if rank(server) == (false, 0) => Step::Ask(*server),
            (_, Some(unknown)) => Step::Want(unknown),
            (Some(server), None) => Step::Ask(*server),
            (None, None) => Step::Done(Err(())),
        }
    }

    fn attempt(&mut self, now: Instant, mut task: Task, server: Ipv4Addr, transport: Transport) {
        let Some(want) = task.wants.last_mut() else { return };
        self.attempts_made += 1;
        task.attempts += 1;
        let (number, message_id) = (self.attempts_made, self.rng.random());
        want.attempt = Some(Attempt { number, message_id, server, transport, until: now + ATTEMPT_TIMEOUT });
        want.asked.push(server);
        let message = want.query(message_id);
        self.outputs.push(Output::Ask { server, attempt: number, transport, message });
        self.tasks.push(task);
    }

    /// Caches what the servers of the zone are authoritative for in an answer; returns whether there was anything.
    fn learn(&mut self, now: Instant, want: &Want, answer: &Message) -> bool {
        let code = answer.metadata.response_code;
        if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return false;
        }
        if answer.metadata.authoritative {
            for kind in [want.record_type, RecordType::CNAME] {
                let is_wanted = |record: &&Record| record.name == want.name && record.record_type() == kind;
                let records: Vec<_> = answer.answers.iter().filter(is_wanted).cloned().collect();
                if !records.is_empty() {
                    self.put(now, &want.name, kind, Known::Records(records));
                    return true;
                }
            }
            let denies = |record: &&Record| {
                record.record_type() == RecordType::SOA
                    && want.zone.zone_of(&record.name)
                    && record.name.zone_of(&want.name)
            };
            let soa = answer.authorities.iter().find(denies);
            if let Some(soa) = soa {
                self.put(now, &want.name, want.record_type, Known::Denied(code, Box::new(soa.clone())));
            }
            return soa.is_some();
        }
        let delegates = |record: &&Record| {
            record.record_type() == RecordType::NS
                && record.name != want.zone
                && want.zone.zone_of(&record.name)
                && record.name.zone_of(&want.name)
        };
        let servers: Vec<_> = answer.authorities.iter().filter(delegates).cloned().collect();
        let Some(cut) = servers.first().map(|record| record.name.clone()) else { return false };
        for server in servers.iter().filter_map(name_server) {
            let is_glue = |record: &&Record| record.name == *server && is_address(record);
            let glue: Vec<_> = answer.additionals.iter().filter(is_glue).cloned().collect();
            if want.zone.zone_of(server) && !glue.is_empty() {
                self.put(now, server, RecordType::A, Known::Records(glue));
            }
        }
        let servers = servers.into_iter().filter(|record| record.name == cut).collect();
        self.put(now, &cut, RecordType::NS, Known::Records(servers));
        true
    }

    fn deepest_zone(&self, now: Instant, name: &Name) -> (Name, Vec<Name>) {
        for labels in (1..=usize::from(name.num_labels())).rev() {
            let zone = name.trim_to(labels);
            if let Some(Known::Records(records)) = self.get(now, &zone, RecordType::NS) {
                return (zone, records.iter().filter_map(name_server).cloned().collect());
            }
        }
        (Name::root(), Vec::new())
    }

    /// The cached knowledge of a name and type, with the remaining TTLs.
    fn get(&self, now: Instant, name: &Name, record_type: RecordType) -> Option<Known> {
        let cached = self.cache.get(&(name.clone(), record_type)).filter(|cached| now < cached.expires)?;
        let left = u32::try_from(cached.expires.since(now).as_secs()).unwrap_or(u32::MAX);
        let mut known = cached.known.clone();
        match &mut known {
            Known::Records(records) => records.iter_mut().for_each(|record| record.ttl = left),
            Known::Denied(_, soa) => soa.ttl = left,
        }
        Some(known)
    }

    fn put(&mut self, now: Instant, name: &Name, record_type: RecordType, known: Known) {
        let ttl = match &known {
            Known::Records(records) => records.iter().map(|record| record.ttl).min(),
            Known::Denied(_, soa) => Some(soa.ttl),
        };
        let expires = now + Duration::from_secs(ttl.unwrap_or(0).into());
        let key = (name.clone(), record_type);
        if self.cache.len() >= CACHE_ENTRIES_MAX && !self.cache.contains_key(&key) {
            let soonest = self.cache.iter().min_by_key(|(_, cached)| cached.expires);
            if let Some(soonest) = soonest.map(|(key, _)| key.clone()) {
                self.cache.remove(&soonest);
            }
        }
        self.cache.insert(key, Cached { expires, known });
    }

    fn finish(&mut self, task: Task, found: Result<Known, ()>) {
        let Task { caller, transport, question, aliases, .. } = task;
        self.answer(caller, transport, question, aliases, found.map_err(|()| ResponseCode::ServFail));
    }

    fn answer(
        &mut self,
        caller: Caller,
        transport: Transport,
        question: Message,
        aliases: Vec<Record>,
        found: Result<Known, ResponseCode>,
    ) {
        let mut answer = response_to(&question);
        answer.metadata.recursion_available = true;
        match found {
            Ok(Known::Records(records)) => _ = answer.add_answers(aliases).add_answers(records),
            Ok(Known::Denied(code, soa)) => {
                answer.metadata.response_code = code;
                answer.add_answers(aliases).add_authority(*soa);
            }
            Err(code) => answer.metadata.response_code = code,
        }
        let (question, answer) = (Box::new(question), Box::new(answer));
        self.outputs.push(Output::Answer { caller, transport, question, answer });
    }
}

impl Task {
    fn attempt(&self) -> Option<Attempt> {
        self.wants.last()?.attempt
    }

    /// The next wanted name, if the result is an alias.
    fn follow(&mut self, found: &Result<Known, ()>) -> Option<Want> {
        let Ok(Known::Records(records)) = found else { return None };
        let wanted = self.wants.first()?.record_type;
        let alias = records.first().filter(|record| record.record_type() != wanted)?;
        let RData::CNAME(target) = &alias.data else { return None };
        if self.aliases.len() >= ALIASES_MAX {
            return None;
        }
        self.aliases.push(alias.clone());
        Some(Want::new(target.0.clone(), wanted))
    }
}

impl Want {
    fn new(name: Name, record_type: RecordType) -> Self {
        let (zone, asked, lost) = (Name::root(), Vec::new(), Vec::new());
        Self { name, record_type, zone, asked, lost, attempt: None }
    }

    fn query(&self, id: u16) -> Vec<u8> {
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(self.name.clone(), self.record_type));
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_OCTETS_MAX);
        query.set_edns(edns);
        query.to_vec().expect("a question can be encoded")
    }

    fn is_answered_by(&self, answer: &Message, attempt: Attempt) -> bool {
        let is_same = |query: &Query| {
            query.name == self.name
                && query.query_type == self.record_type
                && query.query_class == DNSClass::IN
        };
        answer.metadata.message_type == MessageType::Response
            && answer.metadata.id == attempt.message_id
            && matches!(&answer.queries[..], [query] if is_same(query))
    }
}

fn name_server(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::NS(server) => Some(&server.0),
        _ => None,
    }
}

fn address(record: &Record) -> Option<Ipv4Addr> {
    match record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    }
}

fn is_address(record: &Record) -> bool {
    address(record).is_some()
}
