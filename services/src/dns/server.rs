//! The DNS server as one state machine: inputs are queries and upstream responses, outputs are answers and upstream
//! queries.
//!
//! A query is resolved in steps: each looks the current name up, in the zone, then in the cache, and either ends the
//! resolution or follows a CNAME to the next name. If neither has the name, the query waits for an exchange of the
//! [`Forwarder`](super::forwarder) and continues with its outcome. The server owns the zone, the cache, the forwarder
//! and the waiting queries ([`WaitingTable`]). A query without room is answered at once, with a stale answer or with
//! SERVFAIL, and so are evicted ones.
//!
//! Clients in [`Config::recursion_for`] get every name; others get the names of the domain, and never cause upstream
//! queries.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use gatepost_ground::Instant;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rand::rngs::StdRng;

use super::cache::{Cache, STALE_WAIT};
use super::config::{Config, ConfigError, at_port};
use super::events::{DnsEvent, Story};
use super::forwarder::{
    self, AttemptId, EXCHANGES_MAX, Forwarder, Group, Outcome, QueryError, QuerySettings, UpstreamQuery,
};
use super::inspection::{CacheContent, LocalZones, ServerState};
use super::message::{Answer, Flags, Parsed, Question, Request, Transport};
use super::name::{NameKey, text};
use super::rate_limit::{Kind, RateLimiter, Verdict};
use super::rebinding::RebindingFilter;
use super::reply::read_answer;
use super::special;
use super::stats::Stats;
use super::upstream_zone::{FailingZones, UpstreamZone};
use super::waiting::{Asker, LimitReached, WaitingTable};
use super::zone::{Zone, any_answer};
use crate::events::Events;
use crate::lan_hosts::LocalNames;

/// The most CNAMEs that are followed for one query, besides those within one upstream answer.
pub const ALIASES_MAX: usize = 8;

/// Answers are prefetched while fewer exchanges are in progress than the maximum divided by this.
const PREFETCH_SHARE: usize = 4;

/// The sender of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address and port.
    pub address: SocketAddr,
    /// The query's transport.
    pub transport: Transport,
    /// The socket or connection; its meaning is the caller's.
    pub socket: u64,
}

/// The sources of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The zone, the cache, and the upstream servers.
    All,
    /// All but the zone: the public view of the office's names.
    World,
}

/// An action for the caller.
#[derive(Debug)]
pub enum Output {
    /// Send a response to a client.
    Reply {
        /// The receiver.
        client: Client,
        /// The message.
        message: Vec<u8>,
    },
    /// Send a query, and report its response.
    Attempt(UpstreamQuery),
    /// Close the attempt's socket.
    Close(AttemptId),
}

/// The DNS server.
pub struct Server {
    config: Config,
    leases: Rc<dyn LocalNames>,
    zone: Zone,
    cache: Cache,
    forwarder: Forwarder,
    waiting: WaitingTable<Waiting>,
    failing_zones: FailingZones,
    rate_limiter: RateLimiter,
    rebinding: RebindingFilter,
    /// The questions with a stale answer that wait for upstream servers, and when they wait no longer.
    stale_due: BTreeMap<Question, Instant>,
    outputs: VecDeque<Output>,
    stats: Stats,
    events: Events<DnsEvent>,
}

/// A query being resolved.
struct Waiting {
    client: Client,
    request: Request,
    /// The name that is looked up now.
    name: Name,
    scope: Scope,
    /// The answer so far.
    so_far: Answer,
    aliases: usize,
    authoritative: bool,
    source: Source,
    /// A public name is among those so far: private addresses are not meant.
    is_public: bool,
    story: Story,
}

/// The farthest source of an answer, for the counters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Zone,
    Cache,
    Upstream,
}

impl Source {
    /// Its name in events.
    fn name(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Cache => "cache",
            Self::Upstream => "upstream",
        }
    }
}

impl Server {
    /// A server with an empty cache. `rng` must be unpredictable.
    ///
    /// # Errors
    ///
    /// A name or a record in `config` that DNS does not allow.
    pub fn new(config: Config, leases: Rc<dyn LocalNames>, rng: StdRng) -> Result<Self, ConfigError> {
        let settings = QuerySettings { asks_ad: config.trust_ad, mixes_case: config.mixed_case };
        let forwarder = Forwarder::new(rng, settings);
        let rebinding = RebindingFilter::new(config.rebinding_filter, &config.private_answers_from)?;
        let mut server = Self {
            zone: Zone::new(&config, Rc::clone(&leases))?,
            config,
            leases,
            cache: Cache::new(),
            forwarder,
            waiting: WaitingTable::default(),
            failing_zones: FailingZones::default(),
            rate_limiter: RateLimiter::default(),
            rebinding,
            stale_due: BTreeMap::new(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
            events: Events::default(),
        };
        server.apply_upstreams();
        Ok(server)
    }

    /// Notes events among `events` from now on.
    pub fn set_events(&mut self, events: Events<DnsEvent>) {
        self.events = events;
    }

    /// Replaces the upstream servers.
    pub fn set_upstreams(&mut self, upstreams: Vec<SocketAddr>) {
        self.config.upstreams = upstreams;
        self.apply_upstreams();
    }

    /// Sets the gateway's addresses on the WAN.
    pub fn set_wan_addresses(&mut self, wan: Vec<IpAddr>) {
        self.config.wan = wan;
        // The names of the configuration were read before, and none of them depends on these addresses.
        match Zone::new(&self.config, Rc::clone(&self.leases)) {
            Ok(zone) => self.zone = zone,
            Err(error) => tracing::error!(%error, "the names of the WAN's former addresses are still served"),
        }
        self.apply_upstreams();
    }

    /// Handles a client's message.
    pub fn handle_query(&mut self, now: Instant, client: Client, bytes: &[u8]) {
        self.handle_query_in(Scope::All, now, client, bytes);
    }

    /// The same with the sources of answers.
    pub fn handle_query_in(&mut self, scope: Scope, now: Instant, client: Client, bytes: &[u8]) {
        self.stats.queries += 1;
        match Request::parse(bytes, client.transport) {
            Parsed::Ignore => self.stats.malformed += 1,
            Parsed::Reject(message) => {
                self.stats.malformed += 1;
                // It has no records to truncate.
                if self.rate_limit(now, &client, Kind::Error) != Verdict::Drop {
                    self.outputs.push_back(Output::Reply { client, message });
                }
            }
            Parsed::Request(request) => {
                let name = request.name.clone();
                let authoritative = false;
                let (so_far, source) = (Answer::default(), Source::Zone);
                let (aliases, is_public) = (0, false);
                let waiting = Waiting {
                    client,
                    request,
                    name,
                    scope,
                    so_far,
                    aliases,
                    authoritative,
                    source,
                    is_public,
                    story: Story::new(now),
                };
                self.resolve(now, waiting);
            }
        }
        self.drain_forwarder(now);
    }

    /// Handles a message for an attempt, from the attempt's server. Returns whether it is a response to the attempt's
    /// query.
    pub fn handle_response(&mut self, now: Instant, attempt: AttemptId, bytes: &[u8]) -> bool {
        let is_response = self.forwarder.handle_response(now, attempt, bytes);
        self.drain_forwarder(now);
        is_response
    }

    /// Handles the failure of an attempt, such as a refused or reset connection.
    pub fn handle_failure(&mut self, now: Instant, attempt: AttemptId) {
        self.forwarder.handle_failure(now, attempt);
        self.drain_forwarder(now);
    }

    /// Handles that there was no room for an attempt, which says nothing of its server.
    pub fn handle_no_room(&mut self, now: Instant, attempt: AttemptId) {
        self.forwarder.handle_no_room(now, attempt);
        self.drain_forwarder(now);
    }

    /// Handles the timers that are due at `now`; see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.forwarder.handle_timeout(now);
        self.drain_forwarder(now);
        let is_due = |due: &Instant| *due <= now;
        let due: Vec<_> = self.stale_due.extract_if(.., |_, due| is_due(due)).collect();
        for (question, _) in due {
            if self.waiting.of(&question).next().is_some()
                && let Some(answer) = self.cache.serve_stale(now, &question)
            {
                self.stats.stale += 1;
                self.resume(now, &question, &answer, |story| story.is_stale = true);
            }
        }
        self.drain_forwarder(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.forwarder.poll_timeout().into_iter().chain(self.stale_due.values().copied()).min()
    }

    /// Whether no query waits for upstream servers.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next action.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        Stats {
            cached_records: u64::try_from(self.cache.len()).unwrap_or(u64::MAX),
            rebinding_filtered: self.rebinding.filtered(),
            ..self.stats.clone()
        }
    }

    /// The local zones.
    pub fn zones(&self) -> LocalZones {
        self.zone.content()
    }

    /// The content of the cache, with `max` answers at most.
    pub fn cache(&self, now: Instant, max: usize) -> CacheContent {
        self.cache.content(now, max)
    }

    /// The name under which `address` was last found by upstream servers.
    pub fn name_of(&self, address: Ipv4Addr) -> Option<Name> {
        self.cache.names().get(address).cloned()
    }

    /// The servers that are queried.
    pub fn server_states(&self, now: Instant) -> Vec<ServerState> {
        let forwarded = self.config.forwards.iter().map(|forward| forward.zone.clone());
        let delegated = self.zone.delegations().map(|(zone, _)| text(zone));
        let zones: Vec<_> = forwarded.chain(delegated).collect();
        self.forwarder.server_states(now, &zones)
    }

    /// Removes the cached answers for `zone` and the names below it; of all names, and what is known of failing zones,
    /// for `None`. Returns the number of answers.
    pub fn flush(&mut self, zone: Option<&Name>) -> usize {
        if zone.is_none() {
            self.failing_zones.clear();
        }
        self.cache.flush(zone)
    }

    fn apply_upstreams(&mut self) {
        // A query to the gateway itself would loop.
        let is_self = |ip: IpAddr| self.config.is_own_on_lan(ip) || self.config.wan.contains(&ip);
        let usable = |server: &SocketAddr| !is_self(server.ip()) && !server.ip().is_unspecified();
        let upstreams = self.config.upstreams.iter().copied();
        self.forwarder.set_upstreams(upstreams.filter(|server| self.config.use_upstream && usable(server)));
        let forwarded = self.config.forwards.iter().map(|zone| zone.servers.clone());
        let delegations = self.zone.delegations();
        let delegated = delegations.map(|(_, servers)| servers.into_iter().map(at_port).collect());
        let zones: Vec<Vec<_>> = forwarded.chain(delegated).collect();
        self.forwarder.set_zones(zones.into_iter().map(|servers| servers.into_iter().filter(usable)));
        self.cache.forget_failures();
        self.failing_zones.clear();
    }

    /// Resolves the query until it is answered or has to wait.
    fn resolve(&mut self, now: Instant, mut question: Waiting) {
        loop {
            let may_recurse = self.may_recurse(&question.client);
            let Waiting { request, name, .. } = &question;
            let is_served = may_recurse || self.zone.is_own(name);
            let local = match question.scope {
                _ if !is_served => None,
                Scope::All => self.zone.lookup(name, request.record_type),
                Scope::World => self.zone.lookup_special(name, request.record_type),
            };
            if let Some(answer) = local {
                question.authoritative |= question.aliases == 0 && answer.code != ResponseCode::ServFail;
                question = match self.absorb(question, answer) {
                    Progress::Finished(question) => return self.reply(now, question),
                    Progress::Continues(question) => question,
                };
                continue;
            }
            if !may_recurse || !request.recursion_desired {
                return self.stop_short(now, question);
            }
            if request.record_type == RecordType::ANY {
                let answer = any_answer(name);
                if let Progress::Finished(question) = question.absorb(answer) {
                    self.reply(now, question);
                }
                return;
            }
            let upstream_question = question.upstream_question();
            let Some((answer, is_due)) = self.cache.hit(now, &upstream_question) else {
                return self.wait(now, upstream_question, question);
            };
            if is_due {
                self.prefetch(now, &upstream_question);
            }
            question.source = question.source.max(Source::Cache);
            question.is_public |= self.is_public(&question.name);
            question = match self.absorb(question, answer) {
                Progress::Finished(question) => return self.reply(now, question),
                Progress::Continues(question) => question,
            };
        }
    }

    fn may_recurse(&self, client: &Client) -> bool {
        self.config.recursion_for.iter().any(|net| net.contains(&client.address.ip()))
    }

    /// Answers with the records so far, and with a referral to a delegated zone, since the client has no recursion for
    /// the rest.
    fn stop_short(&mut self, now: Instant, mut question: Waiting) {
        if let Some(Answer { authorities, additionals, .. }) = self.zone.referral(&question.name) {
            question.so_far.authorities.extend(authorities);
            question.so_far.additionals = additionals;
        } else if question.aliases == 0 {
            self.stats.refused += 1;
            question.so_far.code = ResponseCode::Refused;
        }
        self.reply(now, question);
    }

    fn wait(&mut self, now: Instant, upstream_question: Question, mut question: Waiting) {
        // The client retransmits: one answer is enough.
        if self.waiting.of(&upstream_question).any(|other| other.is_repeated_by(&question)) {
            return;
        }
        let zone = UpstreamZone::of(&NameKey::new(&upstream_question.name));
        let zone_fails = self.failing_zones.contains(now, &zone);
        let asker = self.asker(&question.client);
        match self.waiting.make_room(&upstream_question, &zone, zone_fails, asker) {
            Ok(None) => {}
            Ok(Some(recycled)) => {
                self.stats.exchanges_recycled += 1;
                self.forwarder.give_up(&recycled);
                self.stale_due.remove(&recycled);
                for question in self.waiting.take(&recycled) {
                    self.fail(now, question, LimitReached::Table);
                }
            }
            Err(limit) => return self.fail(now, question, limit),
        }
        let group = self.group_of(&upstream_question);
        let mut asked = self.forwarder.ask(now, &upstream_question, group);
        if asked == Err(QueryError::Full) && self.give_up_unawaited() {
            asked = self.forwarder.ask(now, &upstream_question, group);
        }
        if asked.is_err() {
            return self.fail(now, question, LimitReached::Table);
        }
        if self.cache.has_stale(now, &upstream_question) {
            self.stale_due.entry(upstream_question.clone()).or_insert(now + STALE_WAIT);
        }
        question.source = Source::Upstream;
        question.is_public |= self.is_public(&question.name);
        self.waiting.insert(upstream_question, zone, asker, question);
    }

    /// Ends an exchange that no client waits for, as it got a stale answer, or a popular one is prefetched; `false` if
    /// there is none.
    fn give_up_unawaited(&mut self) -> bool {
        let is_unawaited = |question: &&Question| self.waiting.of(question).next().is_none();
        let unawaited = self.forwarder.questions().find(is_unawaited).cloned();
        unawaited.iter().for_each(|question| self.forwarder.give_up(question));
        unawaited.is_some()
    }

    /// Queries the upstream servers without a client that waits, while they are not busy.
    fn prefetch(&mut self, now: Instant, question: &Question) {
        let is_quiet = self.forwarder.questions().len() < EXCHANGES_MAX / PREFETCH_SHARE;
        if is_quiet && self.forwarder.ask(now, question, self.group_of(question)).is_ok() {
            self.stats.prefetched += 1;
        }
    }

    /// The servers that have the name of `question`.
    fn group_of(&self, question: &Question) -> Group {
        self.zone.forward_of(&NameKey::new(&question.name)).map_or(Group::Upstream, Group::Zone)
    }

    fn asker(&self, client: &Client) -> Asker {
        let address = client.address.ip();
        let is_known = self.config.is_own_on_lan(address) || self.leases.is_known(address);
        Asker { address, is_stranger: !is_known }
    }

    /// Answers a query without room or without an upstream server: with a stale answer if there is one (RFC 8767,
    /// section 4), else with SERVFAIL.
    fn fail(&mut self, now: Instant, mut question: Waiting, limit: LimitReached) {
        match limit {
            LimitReached::Client => self.stats.client_share_full += 1,
            LimitReached::Zone => self.stats.zone_share_full += 1,
            LimitReached::Table => {}
        }
        question.story.why = Some(match limit {
            LimitReached::Client => "the client waits for too many other names",
            LimitReached::Zone => "too many names of this domain are waited for",
            LimitReached::Table => "no DNS server can be asked, or too many names are waited for",
        });
        // Nothing was tried, so the next query for the name may go out. (RFC 8767, section 5)
        let stale = self.cache.stale(now, &question.upstream_question());
        // An alias that continues elsewhere could evict a further query.
        if let Some(stale) = stale.filter(|stale| stale.continues_at.is_none()) {
            self.stats.stale += 1;
            question.story.is_stale = true;
            question.source = question.source.max(Source::Cache);
            question.is_public |= self.is_public(&question.name);
            let (Progress::Finished(question) | Progress::Continues(question)) = self.absorb(question, stale);
            return self.reply(now, question);
        }
        self.stats.unanswerable += 1;
        question.so_far = Answer::code(ResponseCode::ServFail);
        self.reply(now, question);
    }

    fn drain_forwarder(&mut self, now: Instant) {
        while let Some(output) = self.forwarder.poll_output() {
            match output {
                forwarder::Output::Attempt(query) => self.outputs.push_back(Output::Attempt(query)),
                forwarder::Output::Close(attempt) => self.outputs.push_back(Output::Close(attempt)),
                forwarder::Output::Done { question, outcome } => self.go_on(now, &question, outcome),
            }
        }
    }

    /// Resumes all queries that waited for an exchange.
    fn go_on(&mut self, now: Instant, question: &Question, outcome: Outcome) {
        let zone = UpstreamZone::of(&NameKey::new(&question.name));
        let mut by = None;
        let filtered = self.rebinding.filtered();
        let answer = match outcome {
            Outcome::Answered { message, octets, with_edns, server } => {
                by = Some(server);
                self.failing_zones.note_answer(&zone);
                let answer = self.read_answer(question, *message);
                // Without EDNS it lacks the signatures that were requested.
                if with_edns || !question.dnssec_ok {
                    self.cache.insert(now, question, &answer, octets);
                }
                answer
            }
            Outcome::Failed => {
                self.stats.upstream_failures += 1;
                self.cache.insert_failure(now, question, false)
            }
            Outcome::FailedAlone => {
                self.stats.upstream_failures += 1;
                self.failing_zones.note_failure(now, &zone);
                self.cache.insert_failure(now, question, true)
            }
        };
        self.stale_due.remove(question);
        let is_filtered = self.rebinding.filtered() > filtered;
        let why = is_filtered.then_some("private addresses were removed: see dns.rebinding_filter");
        self.resume(now, question, &answer, |story| *story = Story { server: by, why, ..*story });
    }

    /// Answers all queries that wait for the answer to `question`, or resolves them further.
    fn resume(&mut self, now: Instant, question: &Question, answer: &Answer, tell: impl Fn(&mut Story)) {
        for mut waiting in self.waiting.take(question) {
            tell(&mut waiting.story);
            match self.absorb(waiting, answer.clone()) {
                Progress::Finished(question) => self.reply(now, question),
                Progress::Continues(question) => self.resolve(now, question),
            }
        }
    }

    fn read_answer(&mut self, question: &Question, message: Message) -> Answer {
        let forward = self.zone.forward_of(&NameKey::new(&question.name));
        let is_elsewhere = |name: &Name| {
            let other = self.zone.forward_of(&NameKey::new(name));
            other.is_some() && other != forward || self.zone.lookup(name, question.record_type).is_some()
        };
        let is_authenticated = self.config.trust_ad && forward.is_none() && message.metadata.authentic_data;
        let mut answer = read_answer(question, message, is_elsewhere);
        answer.authenticated = is_authenticated;
        if self.is_public(&question.name) {
            self.filter(&question.name, &mut answer);
        }
        answer
    }

    /// Whether private addresses of a name that is not local are not meant.
    fn is_public(&self, name: &Name) -> bool {
        let key = NameKey::new(name);
        self.zone.forward_of(&key).is_none() && !self.rebinding.exempts(&key)
    }

    /// Removes addresses that a public name cannot have.
    fn filter(&mut self, name: &Name, answer: &mut Answer) {
        let is_private =
            |ip| self.zone.is_on_lan(ip) || special::is_private(ip) && !special::is_blocklist_answer(ip);
        self.rebinding.filter(name, answer, is_private);
    }

    /// Adds the answer for the current name of a query. An alias of a public name does not bypass the filter.
    fn absorb(&mut self, question: Waiting, mut answer: Answer) -> Progress {
        if question.is_public {
            self.filter(&question.request.name, &mut answer);
        }
        question.absorb(answer)
    }

    fn reply(&mut self, now: Instant, question: Waiting) {
        let Waiting { client, request, mut so_far, authoritative, source, story, .. } = question;
        match source {
            _ if so_far.code == ResponseCode::Refused => {}
            Source::Zone => self.stats.local += 1,
            Source::Cache => self.stats.cached += 1,
            Source::Upstream => self.stats.forwarded += 1,
        }
        let recursion_available = self.may_recurse(&client);
        // A name may have addresses on both sides: the one on the client's side comes first.
        let is_far = |data: &RData| match data {
            RData::A(address) => self.zone.is_on_lan(address.0.into()) != recursion_available,
            _ => false,
        };
        if authoritative {
            so_far.answers.sort_by_key(|record| is_far(&record.data));
        }
        let flags = Flags { authoritative, recursion_available };
        let verdict = self.rate_limit(now, &client, Kind::of(&NameKey::new(&request.name), &so_far));
        self.events.note(now, || {
            let source = if verdict == Verdict::Drop { "limited" } else { source.name() };
            story.event(now, client.address.ip(), &request, &so_far, source)
        });
        let message = match verdict {
            Verdict::Send => request.respond(&so_far, flags),
            Verdict::Truncate => request.respond_truncated(flags),
            Verdict::Drop => return,
        };
        self.outputs.push_back(Output::Reply { client, message });
    }

    /// The rate limiter's decision about an answer of `kind` to `client`.
    fn rate_limit(&mut self, now: Instant, client: &Client, kind: Kind) -> Verdict {
        // Clients with recursion are on the LAN, and TCP addresses are not forged.
        if client.transport == Transport::Tcp || self.may_recurse(client) {
            return Verdict::Send;
        }
        let verdict = self.rate_limiter.check(now, client.address.ip(), kind);
        match verdict {
            Verdict::Send => {}
            Verdict::Truncate => self.stats.rate_limited_truncated += 1,
            Verdict::Drop => self.stats.rate_limited += 1,
        }
        verdict
    }
}

/// The state of a query after a step.
enum Progress {
    Finished(Waiting),
    Continues(Waiting),
}

impl Waiting {
    /// Adds the answer for the current name.
    fn absorb(mut self, answer: Answer) -> Progress {
        let is_authenticated = answer.authenticated && (self.aliases == 0 || self.so_far.authenticated);
        self.so_far.authenticated = is_authenticated;
        self.so_far.answers.extend(answer.answers);
        self.so_far.authorities.extend(answer.authorities);
        self.so_far.code = answer.code;
        let Some(target) = answer.continues_at else { return Progress::Finished(self) };
        self.name = target;
        self.aliases += 1;
        if self.aliases > ALIASES_MAX {
            self.so_far = Answer::code(ResponseCode::ServFail);
            return Progress::Finished(self);
        }
        Progress::Continues(self)
    }

    fn upstream_question(&self) -> Question {
        Question {
            name: self.name.clone(),
            record_type: self.request.record_type,
            dnssec_ok: self.request.dnssec_ok,
            checking_disabled: self.request.checking_disabled,
        }
    }

    fn is_repeated_by(&self, other: &Self) -> bool {
        self.client.transport == Transport::Udp
            && self.client == other.client
            && self.request == other.request
    }
}

#[cfg(test)]
mod tests;
