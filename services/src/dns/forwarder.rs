//! The queries to upstream servers.
//!
//! An *exchange* resolves one question, for any number of clients; an *attempt* is one query to one server, with an
//! identifier and a socket of its own (RFC 5452, section 9.2).
//!
//! ```text
//!  ask ──▶ attempt ──┬─ an answer ───────────────────────────▶ done
//!             ▲      ├─ truncated: the same server over TCP
//!             │      ├─ FORMERR, NOTIMP, BADVERS: the same server without EDNS
//!             └──────┴─ silence, an error, a referral: the next server ──▶ after the last: failed
//! ```
//!
//! A server that has answered all queries with another error and without OPT, or was silent, may reject EDNS as well
//! (RFC 6891, section 6.2.6; RFC 8906, section 3.2.2): after all other servers it is queried without. A server that has
//! ever answered with EDNS is suspected of silence only in the last attempt, so that lost packets do not cost
//! signatures. After [`FAILURES_MIN`] exchanges that only a query without EDNS could resolve, a server is queried
//! without for [`PAUSE`].
//!
//! Questions over UDP have letters in random case ([`mixed_case`]) if the settings say so. A server that does not keep
//! it is asked again without, with another identifier and port, so that a forger would have to guess both again. After
//! [`FAILURES_MIN`] times in a row a server is asked without for [`PAUSE`].
//!
//! If a server does not answer within [`ATTEMPT_TIMEOUT`], the next one is queried, and the earlier attempts stay open:
//! the first answer is used. There are at most [`ATTEMPTS_MAX`] attempts. Servers are queried in the configured order;
//! those that have timed out within [`DOWN`] come last. A [forwarded zone](super::config::ForwardZone) has servers of
//! its own, a [`Group`]; an exchange queries those of one group only.
//!
//! A response that does not match its query is ignored. There are at most [`EXCHANGES_MAX`] exchanges at a time;
//! further questions are rejected.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use rand::RngExt;
use rand::rngs::StdRng;

use super::inspection::{Edns, ServerState};
use super::message::{QueryFlags, Question, Transport, is_answer};
use super::mixed_case;
use super::wire::ReadMessage;

/// The most upstream servers that are used.
pub const UPSTREAMS_MAX: usize = 8;

/// The most exchanges at a time.
pub const EXCHANGES_MAX: usize = 256;

/// The most attempts of an exchange. With [`ATTEMPT_TIMEOUT`] they take 6 s: stub resolvers time out after 5 s to 10 s
/// and have to learn of the failure before.
pub const ATTEMPTS_MAX: usize = 4;

/// The timeout of an attempt, after which the next server is queried.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long a server that has timed out is queried last.
pub const DOWN: Duration = Duration::from_secs(30);

/// The exchanges in a row that a server answered only without EDNS, or without the case of the question, after which it
/// is held not to support this.
pub const FAILURES_MIN: u32 = 3;

/// How long a server that does not support EDNS, or the case of questions, is queried without.
pub const PAUSE: Duration = Duration::from_secs(600);

/// An attempt's handle, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId(pub(super) u64);

/// A query to send: over UDP from a fresh socket on a random port.
#[derive(Debug, PartialEq, Eq)]
pub struct UpstreamQuery {
    /// The attempt, for the report of the response.
    pub attempt: AttemptId,
    /// The server; responses from other addresses must be dropped.
    pub server: SocketAddr,
    /// The transport.
    pub transport: Transport,
    /// The message.
    pub message: Vec<u8>,
}

/// An action for the caller.
#[derive(Debug)]
pub enum Output {
    /// Send a query, and report its response.
    Attempt(UpstreamQuery),
    /// Close the attempt's socket; over TCP no response to it is expected any more.
    Close(AttemptId),
    /// The exchange has ended.
    Done {
        /// Its question.
        question: Question,
        /// Its outcome.
        outcome: Outcome,
    },
}

/// The outcome of an exchange.
#[derive(Debug)]
pub enum Outcome {
    /// A response with NOERROR or NXDOMAIN.
    Answered {
        /// The response.
        message: Box<Message>,
        /// Its length.
        octets: usize,
        /// Whether the query had EDNS, and so the DO bit of the question.
        with_edns: bool,
        /// The server.
        server: SocketAddr,
    },
    /// There was no answer, and the upstream servers as a whole may have failed.
    Failed,
    /// There was no answer, although the upstream servers answered another question meanwhile.
    FailedAlone,
}

/// Why a question cannot be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// There is no upstream server.
    NoUpstream,
    /// There are [`EXCHANGES_MAX`] exchanges.
    Full,
}

/// A set of servers: the upstream servers, or those of a forwarded zone by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The upstream servers.
    Upstream,
    /// The servers of a forwarded zone.
    Zone(usize),
}

/// Properties of all queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuerySettings {
    /// Whether queries have the AD bit, so that responses tell whether they were validated.
    pub asks_ad: bool,
    /// Whether letters of questions have a random case.
    pub mixes_case: bool,
}

/// The exchanges with upstream servers.
pub struct Forwarder {
    upstreams: Servers,
    zones: Vec<Servers>,
    exchanges: BTreeMap<Question, Exchange>,
    attempts: BTreeMap<AttemptId, Question>,
    attempts_made: u64,
    settings: QuerySettings,
    outputs: VecDeque<Output>,
    rng: StdRng,
}

/// The servers of a group.
#[derive(Default)]
struct Servers {
    list: Vec<Upstream>,
    /// When one last answered.
    answered: Option<Instant>,
}

impl FromIterator<SocketAddr> for Servers {
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(addresses: I) -> Self {
        let upstream = |address| Upstream {
            address,
            down_until: Instant::ZERO,
            edns: EdnsState::default(),
            case: Backoff::default(),
        };
        Self { list: addresses.into_iter().take(UPSTREAMS_MAX).map(upstream).collect(), answered: None }
    }
}

struct Upstream {
    address: SocketAddr,
    down_until: Instant,
    edns: EdnsState,
    /// Its failures to keep the case of questions.
    case: Backoff,
}

/// The failures of a server with a feature of queries.
#[derive(Default)]
struct Backoff {
    in_a_row: u32,
    /// Until then the server is queried without the feature.
    paused_until: Instant,
}

impl Backoff {
    /// Records a failure; returns whether the feature is paused.
    fn note_failure(&mut self, now: Instant) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let is_paused = self.in_a_row >= FAILURES_MIN;
        if is_paused {
            *self = Self { in_a_row: 0, paused_until: now + PAUSE };
        }
        is_paused
    }

    fn is_paused(&self, now: Instant) -> bool {
        now < self.paused_until
    }
}

/// What is known of a server's support of EDNS.
#[derive(Default)]
struct EdnsState {
    /// It has answered a query with EDNS.
    is_seen: bool,
    /// The exchanges since then that it answered only without.
    backoff: Backoff,
}

impl EdnsState {
    fn state(&self, now: Instant) -> Edns {
        match self {
            _ if self.backoff.is_paused(now) => Edns::Avoided,
            Self { is_seen: true, .. } => Edns::Supported,
            Self { is_seen: false, .. } => Edns::Unknown,
        }
    }
}

struct Exchange {
    group: Group,
    began: Instant,
    attempts: Vec<Attempt>,
    /// When the last attempt times out.
    deadline: Instant,
}

#[derive(Clone)]
struct Attempt {
    id: AttemptId,
    server: SocketAddr,
    transport: Transport,
    message_id: u16,
    with_edns: bool,
    /// The name in random case, if the response has to keep it.
    mixed: Option<Name>,
    /// The server answered with an error and without OPT.
    is_rejected: bool,
    /// The server answered without the case of the question.
    has_lost_case: bool,
    /// It has failed or was replaced, so no response is expected.
    is_over: bool,
}

impl Forwarder {
    /// A forwarder without servers. `rng` provides identifiers and must be unpredictable.
    pub fn new(rng: StdRng, settings: QuerySettings) -> Self {
        Self {
            settings,
            upstreams: Servers::default(),
            zones: Vec::new(),
            exchanges: BTreeMap::new(),
            attempts: BTreeMap::new(),
            attempts_made: 0,
            outputs: VecDeque::new(),
            rng,
        }
    }

    /// Replaces the servers; the first [`UPSTREAMS_MAX`] are used. Running exchanges continue with the new ones.
    pub fn set_upstreams(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.upstreams = addresses.into_iter().collect();
    }

    /// Replaces the servers of all forwarded zones, in the same way.
    pub fn set_zones<I: IntoIterator<Item = SocketAddr>>(&mut self, zones: impl IntoIterator<Item = I>) {
        self.zones = zones.into_iter().map(|addresses| addresses.into_iter().collect()).collect();
    }

    /// Forwards `question` to a server of `group`, or joins the exchange for it.
    ///
    /// # Errors
    ///
    /// There is no server or no room; nothing has changed.
    pub fn ask(&mut self, now: Instant, question: &Question, group: Group) -> Result<(), QueryError> {
        if self.exchanges.contains_key(question) {
            return Ok(());
        }
        if self.exchanges.len() == EXCHANGES_MAX {
            return Err(QueryError::Full);
        }
        let exchange = Exchange { group, began: now, attempts: Vec::new(), deadline: now };
        let next = self.next_query(now, &exchange, Next::Any).ok_or(QueryError::NoUpstream)?;
        self.exchanges.insert(question.clone(), exchange);
        self.attempt(now, question, next);
        Ok(())
    }

    /// The questions of the exchanges in progress.
    pub fn questions(&self) -> impl ExactSizeIterator<Item = &Question> {
        self.exchanges.keys()
    }

    /// Cancels the exchange for `question`, if there is one, without an [`Output::Done`].
    pub fn give_up(&mut self, question: &Question) {
        let exchange = self.exchanges.remove(question);
        for attempt in exchange.into_iter().flat_map(|exchange| exchange.attempts) {
            if self.attempts.remove(&attempt.id).is_some() {
                self.outputs.push_back(Output::Close(attempt.id));
            }
        }
    }

    /// Handles a message for an attempt, from the attempt's server. Returns whether it is a response to the attempt's
    /// query, whatever it says.
    pub fn handle_response(&mut self, now: Instant, id: AttemptId, bytes: &[u8]) -> bool {
        let Some((question, attempt)) = self.open_attempt(id) else { return false };
        let restored = match &attempt.mixed {
            Some(mixed) => mixed_case::restore(bytes, mixed, &question.name),
            None => Cow::Borrowed(bytes),
        };
        let Some(read) = question.read_response(attempt.message_id, &restored) else { return false };
        let is_case_kept = attempt.mixed.as_ref().map(|mixed| mixed_case::is_kept(bytes, mixed));
        if let Some(is_kept) = is_case_kept {
            self.note_case(now, attempt.server, is_kept);
        }
        if is_case_kept == Some(false) {
            self.update(&question, id, |attempt| attempt.has_lost_case = true);
            let again = NextQuery { mixes_case: false, ..NextQuery::from(&attempt) };
            self.replace(now, &question, id, again);
        } else {
            self.evaluate(now, &question, &attempt, read, bytes.len());
        }
        true
    }

    /// Evaluates a response of `octets` to an attempt.
    fn evaluate(
        &mut self,
        now: Instant,
        question: &Question,
        attempt: &Attempt,
        response: ReadMessage,
        octets: usize,
    ) {
        let (id, ReadMessage { message, has_all_answers, .. }) = (attempt.id, response);
        for upstream in self.upstream(attempt.server) {
            upstream.down_until = Instant::ZERO;
        }
        let again = NextQuery::from(attempt);
        if attempt.transport == Transport::Udp && (message.metadata.truncation || !has_all_answers) {
            let again = NextQuery { transport: Transport::Tcp, mixes_case: false, ..again };
            return self.replace(now, question, id, again);
        }
        let code = message.metadata.response_code;
        if is_answer(code) && has_all_answers && !is_referral(&message) {
            if let Some(servers) = self.servers_of(question) {
                servers.answered = Some(now);
            }
            let Attempt { with_edns, server, .. } = *attempt;
            self.note_edns(now, question, attempt);
            let message = Box::new(message);
            self.finish(question, Outcome::Answered { message, octets, with_edns, server });
        } else if attempt.with_edns && rejects_edns(code) {
            self.replace(now, question, id, NextQuery { with_edns: false, ..again });
        } else {
            let is_rejected = attempt.with_edns && !is_answer(code) && message.edns.is_none();
            self.update(question, id, |attempt| attempt.is_rejected = is_rejected);
            self.fail(now, question, id);
        }
    }

    /// Handles the failure of an attempt, such as a refused or reset connection.
    pub fn handle_failure(&mut self, now: Instant, id: AttemptId) {
        if let Some((question, attempt)) = self.open_attempt(id) {
            self.mark_down(now, attempt.server);
            self.fail(now, &question, id);
        }
    }

    /// Handles that there was no room for an attempt, which says nothing of its server.
    pub fn handle_no_room(&mut self, now: Instant, id: AttemptId) {
        if let Some((question, _)) = self.open_attempt(id) {
            self.fail(now, &question, id);
        }
    }

    /// Handles the timers that are due at `now`; see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |(question, exchange): (&Question, &Exchange)| {
            (exchange.deadline <= now).then(|| question.clone())
        };
        let questions: Vec<_> = self.exchanges.iter().filter_map(due).collect();
        for question in questions {
            let attempts = self.exchanges.get(&question).into_iter().flat_map(|exchange| &exchange.attempts);
            let is_open = |attempt: &&Attempt| !attempt.is_over;
            let silent: Vec<_> = attempts.filter(is_open).map(|attempt| attempt.server).collect();
            for server in silent {
                self.mark_down(now, server);
            }
            self.go_on(now, &question, Next::Any);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.exchanges.values().map(|exchange| exchange.deadline).min()
    }

    /// The next action.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The states of the upstream servers, and of the servers of the forwarded zones, which are called by `zones`.
    pub fn server_states(&self, now: Instant, zones: &[String]) -> Vec<ServerState> {
        let of = |servers: &Servers, zone: Option<&String>| -> Vec<_> {
            let state = |upstream: &Upstream| ServerState {
                address: upstream.address,
                zone: zone.cloned(),
                down_for: upstream.down_until.since(now),
                edns: upstream.edns.state(now),
            };
            servers.list.iter().map(state).collect()
        };
        let forwarded = self.zones.iter().zip(zones).flat_map(|(servers, zone)| of(servers, Some(zone)));
        of(&self.upstreams, None).into_iter().chain(forwarded).collect()
    }

    fn open_attempt(&self, id: AttemptId) -> Option<(Question, Attempt)> {
        let question = self.attempts.get(&id)?;
        let attempts = &self.exchanges.get(question)?.attempts;
        let attempt = attempts.iter().find(|attempt| attempt.id == id && !attempt.is_over)?;
        Some((question.clone(), attempt.clone()))
    }

    fn mark_down(&mut self, now: Instant, server: SocketAddr) {
        for upstream in self.upstream(server) {
            upstream.down_until = now + DOWN;
        }
    }

    /// The server at `address`, if it is still one.
    fn upstream(&mut self, address: SocketAddr) -> impl Iterator<Item = &mut Upstream> {
        let all = std::iter::once(&mut self.upstreams).chain(&mut self.zones);
        all.flat_map(|servers| &mut servers.list).filter(move |upstream| upstream.address == address)
    }

    fn servers(&self, group: Group) -> Option<&Servers> {
        match group {
            Group::Upstream => Some(&self.upstreams),
            Group::Zone(zone) => self.zones.get(zone),
        }
    }

    /// The servers that the exchange for `question` queries.
    fn servers_of(&mut self, question: &Question) -> Option<&mut Servers> {
        match self.exchanges.get(question)?.group {
            Group::Upstream => Some(&mut self.upstreams),
            Group::Zone(zone) => self.zones.get_mut(zone),
        }
    }

    /// Learns of the server's support of EDNS from its answer to `attempt`.
    fn note_edns(&mut self, now: Instant, question: &Question, attempt: &Attempt) {
        let had_failed =
            self.exchanges.get(question).is_some_and(|exchange| exchange.asked_with_edns(attempt.server));
        for upstream in self.upstream(attempt.server) {
            if attempt.with_edns {
                upstream.edns = EdnsState { is_seen: true, ..EdnsState::default() };
            } else if had_failed {
                upstream.edns.is_seen &= !upstream.edns.backoff.note_failure(now);
            }
        }
    }

    /// Learns whether the server keeps the case of questions.
    fn note_case(&mut self, now: Instant, server: SocketAddr, is_kept: bool) {
        for upstream in self.upstream(server) {
            if is_kept {
                upstream.case = Backoff::default();
            } else {
                upstream.case.note_failure(now);
            }
        }
    }

    /// Repeats a query to the same server with other parameters.
    fn replace(&mut self, now: Instant, question: &Question, id: AttemptId, next: NextQuery) {
        self.close(question, id);
        self.attempt(now, question, next);
    }

    /// Handles a failed attempt. Other open attempts continue; without any, the next server is queried, unless each has
    /// been.
    fn fail(&mut self, now: Instant, question: &Question, id: AttemptId) {
        self.close(question, id);
        let is_open = |exchange: &Exchange| exchange.attempts.iter().any(|attempt| !attempt.is_over);
        if !self.exchanges.get(question).is_some_and(is_open) {
            self.go_on(now, question, Next::Unasked);
        }
    }

    fn go_on(&mut self, now: Instant, question: &Question, next: Next) {
        let Some(exchange) = self.exchanges.get(question) else { return };
        match self.next_query(now, exchange, next) {
            Some(next) => self.attempt(now, question, next),
            None => {
                let (group, began) = (exchange.group, Some(exchange.began));
                let answered = self.servers(group).and_then(|servers| servers.answered);
                let others_answered = answered.is_some() && answered >= began;
                let outcome = if others_answered { Outcome::FailedAlone } else { Outcome::Failed };
                self.finish(question, outcome);
            }
        }
    }

    /// The query to the server with the fewest queries in this exchange, and among those the first that is not down.
    fn next_query(&self, now: Instant, exchange: &Exchange, next: Next) -> Option<NextQuery> {
        if exchange.attempts.len() >= ATTEMPTS_MAX {
            return None;
        }
        let asked = |upstream: &Upstream| exchange.queries_to(upstream.address).count();
        let rejects_edns = |upstream: &Upstream| {
            let mut queries = exchange.queries_to(upstream.address);
            queries.any(|query| query.is_rejected) && queries.all(|query| query.with_edns)
        };
        let servers = &self.servers(exchange.group)?.list;
        let best = servers.iter().min_by_key(|upstream| (asked(upstream), now < upstream.down_until))?;
        let server = match next {
            _ if asked(best) == 0 => best,
            Next::Any => best,
            Next::Unasked => servers.iter().find(|upstream| rejects_edns(upstream))?,
        };
        let is_last = exchange.attempts.len() + 1 == ATTEMPTS_MAX;
        let may_drop_edns = exchange.asked_with_edns(server.address) && (!server.edns.is_seen || is_last);
        let with_edns = !server.edns.backoff.is_paused(now) && !may_drop_edns && !rejects_edns(server);
        let mut queries = exchange.queries_to(server.address);
        let has_lost_case = queries.any(|query| query.has_lost_case) || server.case.is_paused(now);
        let mixes_case = self.settings.mixes_case && !has_lost_case;
        Some(NextQuery { server: server.address, transport: Transport::Udp, with_edns, mixes_case })
    }

    fn attempt(&mut self, now: Instant, question: &Question, next: NextQuery) {
        let Some(exchange) = self.exchanges.get_mut(question) else { return };
        let NextQuery { server, transport, with_edns, mixes_case } = next;
        self.attempts_made += 1;
        let id = AttemptId(self.attempts_made);
        let message_id = self.rng.random();
        let mixed = mixes_case.then(|| mixed_case::mix(&question.name, &mut self.rng));
        let asked = Question { name: mixed.as_ref().unwrap_or(&question.name).clone(), ..*question };
        exchange.attempts.push(Attempt {
            id,
            server,
            transport,
            message_id,
            with_edns,
            mixed,
            is_rejected: false,
            has_lost_case: false,
            is_over: false,
        });
        exchange.deadline = now + ATTEMPT_TIMEOUT;
        self.attempts.insert(id, question.clone());
        let message =
            asked.query(message_id, QueryFlags { with_edns, authentic_data: self.settings.asks_ad });
        self.outputs.push_back(Output::Attempt(UpstreamQuery { attempt: id, server, transport, message }));
    }

    fn update(&mut self, question: &Question, id: AttemptId, change: impl Fn(&mut Attempt)) {
        let attempts = self.exchanges.get_mut(question).map(|exchange| &mut exchange.attempts);
        attempts.into_iter().flatten().filter(|attempt| attempt.id == id).for_each(change);
    }

    fn close(&mut self, question: &Question, id: AttemptId) {
        self.update(question, id, |attempt| attempt.is_over = true);
        if self.attempts.remove(&id).is_some() {
            self.outputs.push_back(Output::Close(id));
        }
    }

    fn finish(&mut self, question: &Question, outcome: Outcome) {
        if self.exchanges.contains_key(question) {
            self.give_up(question);
            self.outputs.push_back(Output::Done { question: question.clone(), outcome });
        }
    }
}

impl Exchange {
    fn queries_to(&self, server: SocketAddr) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.server == server)
    }

    fn asked_with_edns(&self, server: SocketAddr) -> bool {
        self.queries_to(server).any(|attempt| attempt.with_edns)
    }
}

/// RFC 6891, section 9; the codec takes it for the code of TSIG with the same number.
const BADVERS: u16 = 16;

/// The codes that tell that a server cannot read a query, or not its version of EDNS. (RFC 6891, sections 6.1.3 and 7)
fn rejects_edns(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) || u16::from(code) == BADVERS
}

/// Whether the response is a referral instead of an answer. (RFC 2308, section 2.2)
fn is_referral(response: &Message) -> bool {
    let has = |kind| response.authorities.iter().any(|record| record.record_type() == kind);
    response.answers.is_empty() && has(RecordType::NS) && !has(RecordType::SOA)
}

/// A query that is sent next.
#[derive(Clone, Copy)]
struct NextQuery {
    server: SocketAddr,
    transport: Transport,
    with_edns: bool,
    mixes_case: bool,
}

impl From<&Attempt> for NextQuery {
    fn from(attempt: &Attempt) -> Self {
        let Attempt { server, transport, with_edns, ref mixed, .. } = *attempt;
        Self { server, transport, with_edns, mixes_case: mixed.is_some() }
    }
}

/// The servers that may be queried next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Servers that have timed out too, as the query may have been lost.
    Any,
    /// Only those that have not been queried, and then without EDNS those that may reject it.
    Unasked,
}

#[cfg(test)]
mod tests;
