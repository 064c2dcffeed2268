//! The queries to upstream servers.
//!
//! An *exchange* resolves one question, for any number of clients; an *attempt* is one query to one server, with an
//! identifier and a socket of its own (RFC 5452, section 9.2).
//!
//! ```text
//!  ask ──▶ attempt ──┬─ an answer ───────────────────────────▶ done
//!             ▲      ├─ truncated: the same server over TCP
//!             │      ├─ FORMERR: the same server without EDNS
//!             └──────┴─ silence, an error, a referral: the next server ──▶ after the last: failed
//! ```
//!
//! If a server does not answer within [`ATTEMPT_TIMEOUT`], the next one is queried, and the earlier attempts stay open:
//! the first answer is used. There are at most [`ATTEMPTS_MAX`] attempts. Servers are queried in the configured order;
//! those that have timed out within [`DOWN`] come last.
//!
//! A response that does not match its query is ignored. There are at most [`EXCHANGES_MAX`] exchanges at a time;
//! further questions are rejected.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rand::RngExt;
use rand::rngs::StdRng;

use super::message::{Question, Transport};

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

/// An attempt's handle, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId(u64);

/// A query to send from a fresh socket on a random port.
#[derive(Debug)]
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
    /// Close the attempt's socket.
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
    /// A response with NOERROR or NXDOMAIN, and its length in octets.
    Answered(Message, usize),
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

/// The exchanges with upstream servers.
pub struct Forwarder {
    upstreams: Vec<Upstream>,
    exchanges: BTreeMap<Question, Exchange>,
    attempts: BTreeMap<AttemptId, Question>,
    attempts_made: u64,
    /// When an exchange was last answered.
    answered: Option<Instant>,
    outputs: VecDeque<Output>,
    rng: StdRng,
}

struct Upstream {
    address: SocketAddr,
    down_until: Instant,
}

struct Exchange {
    began: Instant,
    attempts: Vec<Attempt>,
    with_edns: bool,
    /// When the last attempt times out.
    deadline: Instant,
}

#[derive(Clone, Copy)]
struct Attempt {
    id: AttemptId,
    server: SocketAddr,
    transport: Transport,
    message_id: u16,
    /// It has failed or was replaced, so no response is expected.
    is_over: bool,
}

impl Forwarder {
    /// A forwarder without servers. `rng` provides identifiers and must be unpredictable.
    pub fn new(rng: StdRng) -> Self {
        Self {
            upstreams: Vec::new(),
            exchanges: BTreeMap::new(),
            attempts: BTreeMap::new(),
            attempts_made: 0,
            answered: None,
            outputs: VecDeque::new(),
            rng,
        }
    }

    /// Replaces the servers; the first [`UPSTREAMS_MAX`] are used. Running exchanges continue with the new ones.
    pub fn set_upstreams(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let upstream = |address| Upstream { address, down_until: Instant::ZERO };
        self.upstreams = addresses.into_iter().take(UPSTREAMS_MAX).map(upstream).collect();
    }

    /// Forwards `question`, or joins the exchange for it.
    ///
    /// # Errors
    ///
    /// There is no server or no room; nothing has changed.
    pub fn ask(&mut self, now: Instant, question: &Question) -> Result<(), QueryError> {
        if self.exchanges.contains_key(question) {
            return Ok(());
        }
        if self.exchanges.len() == EXCHANGES_MAX {
            return Err(QueryError::Full);
        }
        let exchange = Exchange { began: now, attempts: Vec::new(), with_edns: true, deadline: now };
        let server = self.next_server(now, &exchange, Next::Any).ok_or(QueryError::NoUpstream)?;
        self.exchanges.insert(question.clone(), exchange);
        self.attempt(now, question, server, Transport::Udp);
        Ok(())
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

    /// Handles a message for an attempt, from the attempt's server.
    pub fn handle_response(&mut self, now: Instant, id: AttemptId, bytes: &[u8]) {
        let Some((question, attempt)) = self.open_attempt(id) else { return };
        let Some(response) = question.read_response(attempt.message_id, bytes) else { return };
        for upstream in &mut self.upstreams {
            if upstream.address == attempt.server {
                upstream.down_until = Instant::ZERO;
            }
        }
        if response.metadata.truncation && attempt.transport == Transport::Udp {
            return self.replace(now, &question, attempt, Transport::Tcp);
        }
        match response.metadata.response_code {
            ResponseCode::NoError if is_referral(&response) => self.fail(now, &question, id),
            ResponseCode::NoError | ResponseCode::NXDomain => {
                self.answered = Some(now);
                self.finish(&question, Outcome::Answered(response, bytes.len()));
            }
            // RFC 6891, section 7: the server does not support EDNS.
            ResponseCode::FormErr | ResponseCode::NotImp
                if response.edns.is_none() && self.drop_edns(&question) =>
            {
                self.replace(now, &question, attempt, attempt.transport);
            }
            _ => self.fail(now, &question, id),
        }
    }

    /// Handles the failure of an attempt, such as a refused or reset connection.
    pub fn handle_failure(&mut self, now: Instant, id: AttemptId) {
        if let Some((question, attempt)) = self.open_attempt(id) {
            self.mark_down(now, attempt.server);
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
            let attempts = self.exchanges.get(&question).map(|exchange| exchange.attempts.clone());
            for silent in attempts.iter().flatten().filter(|attempt| !attempt.is_over) {
                self.mark_down(now, silent.server);
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

    fn open_attempt(&self, id: AttemptId) -> Option<(Question, Attempt)> {
        let question = self.attempts.get(&id)?;
        let attempts = &self.exchanges.get(question)?.attempts;
        let attempt = attempts.iter().find(|attempt| attempt.id == id && !attempt.is_over)?;
        Some((question.clone(), *attempt))
    }

    fn mark_down(&mut self, now: Instant, server: SocketAddr) {
        for upstream in &mut self.upstreams {
            if upstream.address == server {
                upstream.down_until = now + DOWN;
            }
        }
    }

    /// Disables EDNS for the exchange; `false` if it was disabled already.
    fn drop_edns(&mut self, question: &Question) -> bool {
        self.exchanges.get_mut(question).is_some_and(|exchange| std::mem::take(&mut exchange.with_edns))
    }

    /// Repeats the query to the same server with other parameters.
    fn replace(&mut self, now: Instant, question: &Question, attempt: Attempt, transport: Transport) {
        self.close(question, attempt.id);
        self.attempt(now, question, attempt.server, transport);
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
        match self.next_server(now, exchange, next) {
            Some(server) => self.attempt(now, question, server, Transport::Udp),
            None => {
                let began = self.exchanges.get(question).map(|exchange| exchange.began);
                let others_answered = self.answered.is_some() && self.answered >= began;
                let outcome = if others_answered { Outcome::FailedAlone } else { Outcome::Failed };
                self.finish(question, outcome);
            }
        }
    }

    /// The server with the fewest queries in this exchange, and among those the first that is not down.
    fn next_server(&self, now: Instant, exchange: &Exchange, next: Next) -> Option<SocketAddr> {
        if exchange.attempts.len() >= ATTEMPTS_MAX {
            return None;
        }
        let asked = |upstream: &Upstream| {
            exchange.attempts.iter().filter(|attempt| attempt.server == upstream.address).count()
        };
        let best =
            self.upstreams.iter().min_by_key(|upstream| (asked(upstream), now < upstream.down_until))?;
        (next == Next::Any || asked(best) == 0).then_some(best.address)
    }

    fn attempt(&mut self, now: Instant, question: &Question, server: SocketAddr, transport: Transport) {
        let Some(exchange) = self.exchanges.get_mut(question) else { return };
        self.attempts_made += 1;
        let id = AttemptId(self.attempts_made);
        let message_id = self.rng.random();
        exchange.attempts.push(Attempt { id, server, transport, message_id, is_over: false });
        exchange.deadline = now + ATTEMPT_TIMEOUT;
        self.attempts.insert(id, question.clone());
        let message = question.query(message_id, exchange.with_edns);
        self.outputs.push_back(Output::Attempt(UpstreamQuery { attempt: id, server, transport, message }));
    }

    fn close(&mut self, question: &Question, id: AttemptId) {
        let attempts = self.exchanges.get_mut(question).map(|exchange| &mut exchange.attempts);
        for attempt in attempts.into_iter().flatten().filter(|attempt| attempt.id == id) {
            attempt.is_over = true;
        }
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

/// Whether the response is a referral instead of an answer. (RFC 2308, section 2.2)
fn is_referral(response: &Message) -> bool {
    let has = |kind| response.authorities.iter().any(|record| record.record_type() == kind);
    response.answers.is_empty() && has(RecordType::NS) && !has(RecordType::SOA)
}

/// The servers that may be queried next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Servers that have timed out too, as the query may have been lost.
    Any,
    /// Only those that have not been queried.
    Unasked,
}

#[cfg(test)]
mod tests;
