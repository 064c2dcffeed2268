//! The internet's names: a tree of zones on authoritative name servers, and the provider's two recursive
//! resolvers, which walk it for the customer.
//!
//! ```text
//!   customer ──frames──▶ resolver-0, resolver-1 ──letters──▶ a.root, a.gtld.net, ns-0.example.com ...
//!            ──frames────────────────────────────────────▶
//! ```
//!
//! Every server has an address of its own and answers packets over UDP and TCP. The resolvers send the authorities the
//! same queries in the same octets, but as messages that take [`HOP`] each way instead of frames: that costs nothing to
//! simulate, and an authority's [`DnsMood`] affects both.

mod authority;
mod frontend;
mod mood;
mod office_zones;
mod resolver;
mod tree;
mod zone_server;
mod zone_service;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::{Edns, Message, MessageType, OpCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::resolver::{Output, Resolver};
use super::RESOLVER_ADDRESSES;
use super::connections::ConnectionId;
pub use frontend::{NameService, take_message};
pub use mood::{DnsMood, EdnsRejection};
pub use office_zones::OfficeZone;
pub use tree::{LONG_TEXTS, SILENT_ZONE, Tree, long_text, reverse};
pub use zone_server::ZoneServer;
pub use zone_service::{TcpManner, ZoneManner, ZoneService};

/// The transit time of a message between a resolver and an authority.
pub const HOP: Duration = Duration::from_millis(5);
/// Letters on their way at a time; more are lost.
pub const LETTERS_MAX: usize = 8_192;

/// RFC 1035, section 4.2.1
const UDP_OCTETS_DEFAULT: u16 = 512;
/// dnsflagday.net/2020
const UDP_OCTETS_MAX: u16 = 1_232;

/// The tree, which the checkers know as well.
pub type SharedTree = Rc<RefCell<Tree>>;

/// Where the answer to a customer's question goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Back over UDP.
    Datagram {
        /// The client.
        customer: SocketAddrV4,
        /// Where.
        server: SocketAddrV4,
    },
    /// Over the connection that it came over.
    Connection(ConnectionId),
}

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One message per datagram.
    Udp,
    /// Each message after its length in two octets.
    Tcp,
}

/// All name servers.
pub struct NameServers {
    tree: SharedTree,
    resolvers: BTreeMap<Ipv4Addr, Resolver>,
    /// Those that are not truthful.
    moods: BTreeMap<Ipv4Addr, DnsMood>,
    /// In the order they are due, and in which they were sent.
    letters: BTreeMap<(Instant, u64), Letter>,
    sent: u64,
    rng: StdRng,
}

/// A message on its way.
enum Letter {
    Question { server: Ipv4Addr, from: Asker, transport: Transport, message: Vec<u8> },
    Answer { to: Asker, message: Vec<u8> },
}

/// The sender of a question.
#[derive(Clone, Copy)]
enum Asker {
    Customer(Caller),
    Resolver { address: Ipv4Addr, attempt: u64 },
}

impl NameServers {
    /// The name servers of `tree` and the resolvers, with empty caches.
    pub fn new(tree: SharedTree, rng: &mut StdRng) -> Self {
        let roots = tree.borrow().root_servers();
        let resolver = |address| (address, Resolver::new(roots.clone(), StdRng::seed_from_u64(rng.random())));
        let resolvers = RESOLVER_ADDRESSES.map(resolver).into();
        let rng = StdRng::seed_from_u64(rng.random());
        Self { tree, resolvers, moods: BTreeMap::new(), letters: BTreeMap::new(), sent: 0, rng }
    }

    /// How the servers called `name` answer from now on.
    pub fn set_mood(&mut self, name: &str, mood: DnsMood) {
        self.moods.extend(servers_called(name).map(|server| (server, mood)));
    }

    /// Makes all servers truthful.
    pub fn calm(&mut self) {
        self.moods.clear();
    }

    /// Loses all messages that are under way.
    pub fn lose_letters(&mut self) {
        self.letters.clear();
    }

    /// Handles a customer's query to the server at an address.
    pub fn ask(
        &mut self,
        now: Instant,
        caller: Caller,
        server: Ipv4Addr,
        transport: Transport,
        message: Vec<u8>,
    ) {
        self.send(now, Letter::Question { server, from: Asker::Customer(caller), transport, message });
    }

    /// Does what is due, and passes answers for customers to `reply`.
    pub fn poll(&mut self, now: Instant, mut reply: impl FnMut(Caller, Vec<u8>)) {
        let late = self.resolvers.iter_mut().filter(|(_, resolver)| is_due(resolver.poll_timeout(), now));
        let late: Vec<_> = late.map(|(address, _)| *address).collect();
        for address in late {
            self.tell(now, address, |resolver| resolver.handle_timeout(now));
        }
        while let Some(entry) = self.letters.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Letter::Question { server, from, transport, message } => {
                    self.deliver_question(now, server, from, transport, &message);
                }
                Letter::Answer { to: Asker::Customer(caller), message } => reply(caller, message),
                Letter::Answer { to: Asker::Resolver { address, attempt }, message } => {
                    self.tell(now, address, |resolver| resolver.handle_answer(now, attempt, &message));
                }
            }
        }
    }

    /// When to poll next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let letters = self.letters.first_key_value().map(|((due, _), _)| *due);
        self.resolvers.values().filter_map(Resolver::poll_timeout).chain(letters).min()
    }

    fn deliver_question(
        &mut self,
        now: Instant,
        server: Ipv4Addr,
        from: Asker,
        transport: Transport,
        message: &[u8],
    ) {
        let question = Message::from_vec(message).ok();
        let Some(question) = question.filter(|question| question.metadata.message_type == MessageType::Query)
        else {
            return;
        };
        if self.resolvers.contains_key(&server) {
            let Asker::Customer(caller) = from else { return };
            if self.mood(server) != DnsMood::Silent {
                self.tell(now, server, |resolver| resolver.handle_question(now, caller, transport, question));
            }
        } else if tree::name_servers().any(|(_, address)| address == server) {
            let truth = authority::answer(&self.tree.borrow(), server, &question, now);
            self.answer(now, server, from, transport, &question, truth);
        }
    }

    /// Passes a resolver an input, and performs its outputs.
    fn tell(&mut self, now: Instant, address: Ipv4Addr, tell: impl FnOnce(&mut Resolver)) {
        let Some(resolver) = self.resolvers.get_mut(&address) else { return };
        tell(resolver);
        for output in resolver.take_outputs() {
            match output {
                Output::Ask { server, attempt, transport, message } => {
                    let from = Asker::Resolver { address, attempt };
                    self.send(now + HOP, Letter::Question { server, from, transport, message });
                }
                Output::Answer { caller, transport, question, answer } => {
                    self.answer(now, address, Asker::Customer(caller), transport, &question, *answer);
                }
            }
        }
    }

    /// Answers as the server is disposed to.
    fn answer(
        &mut self,
        now: Instant,
        server: Ipv4Addr,
        to: Asker,
        transport: Transport,
        question: &Message,
        truth: Message,
    ) {
        let hop = if matches!(to, Asker::Resolver { .. }) { HOP } else { Duration::ZERO };
        for (delay, message) in self.mood(server).replies(question, truth, transport, &mut self.rng) {
            self.send(now + hop + delay, Letter::Answer { to, message });
        }
    }

    fn mood(&self, server: Ipv4Addr) -> DnsMood {
        self.moods.get(&server).copied().unwrap_or_default()
    }

    fn send(&mut self, due: Instant, letter: Letter) {
        if self.letters.len() < LETTERS_MAX {
            self.sent += 1;
            self.letters.insert((due, self.sent), letter);
        }
    }
}

/// The addresses of the name servers that scenarios call `name`: one of them, `resolvers` or `authorities`.
pub fn servers_called(name: &str) -> impl Iterator<Item = Ipv4Addr> {
    let is_called = move |called: &str| match name {
        "resolvers" => called.starts_with("resolver-"),
        "authorities" => !called.starts_with("resolver-"),
        name => name == called,
    };
    hosts().filter(move |(called, _)| is_called(called)).map(|(_, address)| address)
}

/// The name servers, each with its name in scenarios.
pub(super) fn hosts() -> impl Iterator<Item = (String, Ipv4Addr)> {
    let resolvers = (0..).zip(RESOLVER_ADDRESSES);
    let resolvers = resolvers.map(|(number, address): (usize, _)| (format!("resolver-{number}"), address));
    resolvers.chain(tree::name_servers().map(|(name, address)| (name.to_owned(), address)))
}

/// All names that [`servers_called`] knows of authorities.
pub fn authorities() -> impl Iterator<Item = &'static str> {
    tree::name_servers().map(|(name, _)| name)
}

fn is_due(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| due <= now)
}

/// An empty answer.
fn response_to(question: &Message) -> Message {
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.add_queries(question.queries.iter().cloned());
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_OCTETS_MAX);
        answer.set_edns(edns);
    }
    answer
}

/// The octets of an answer; over UDP none that is longer than its client accepts.
fn encode(question: &Message, answer: Message, transport: Transport) -> Vec<u8> {
    let encoded = |answer: &Message| answer.to_vec().expect("an answer can be encoded");
    let octets = encoded(&answer);
    let asked_for = question.edns.as_ref().map_or(UDP_OCTETS_DEFAULT, Edns::max_payload);
    let octets_max = asked_for.clamp(UDP_OCTETS_DEFAULT, UDP_OCTETS_MAX);
    if transport == Transport::Udp && octets.len() > usize::from(octets_max) {
        return encoded(&answer.truncate());
    }
    octets
}

#[cfg(test)]
mod tests;
