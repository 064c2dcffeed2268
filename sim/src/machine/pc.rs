//! An office PC: gets its address by DHCP, looks up names, fetches pages, keeps a chat open.
//!
//! It keeps a [`Diary`] of what worked; scenarios state their expectations about that. A page is a
//! number of octets with a known pattern, asked for by that number; every octet is compared. A chat is
//! one connection on which a counter goes out every second and has to come back.

mod diary;

use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::wire::{DhcpOption, Ipv4Cidr};

pub use self::diary::{Diary, when};
use super::asker::Asker;
use super::fetch::{Closing, Fetch, Fetched, Visits, connect};
use super::internet::{CHAT_ADDRESS, CHAT_PORT, DNS_PORT, SITES, WEB_ADDRESSES, WEB_PORT, reverse};
use super::page_server::PageServer;
use super::stack::{Stack, turn};
use super::tcp_names::TcpNames;
use super::time_client::TimeClient;
use super::{Machine, Record};

/// The most PCs of an office.
pub const PCS_MAX: usize = 250;
/// Where every office of the simulation is.
pub const DOMAIN: &str = "office.example";

/// How long an answer to a question is waited for, and how often it is asked.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
const RESOLVE_TRIES: u8 = 3;
const CHAT_LINE_LEN: usize = 8;
const CHAT_RETRY: Duration = Duration::from_secs(5);
/// The most errands for pages before one for something else, which is never followed by another such.
const PAGES_IN_A_ROW_MAX: u8 = 3;
const HAIRPIN_INTERVAL: Duration = Duration::from_secs(15);
const RESOLVER_PORT: u16 = 5_353;
/// RFC 2132, section 3.14
const OPTION_HOSTNAME: u8 = 12;
/// The parameter request list of a PC with NTP: mask, router, name servers, domain, time servers. (RFC 2132)
const PARAMETERS: &[u8] = &[1, 3, 6, 15, 42];
/// Distinguishes the seed of a PC's time client from that of the PC, whose draws are the same as without one.
const TIME_SEED: u64 = 0x71e0;
/// Impatient as people are at nine; smoltcp waits 10 s by default.
const DISCOVER_TIMEOUT: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(4);

/// The activities of a PC's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// The mean time between two pages or look-ups; `None`: only has an address.
    pub visit_every: Option<Duration>,
    /// The length of every page; `None`: up to 20,000 octets.
    pub page_octets: Option<u32>,
    /// Keeps a chat open, and says something so often.
    pub chats_every: Option<Duration>,
    /// Whether there is an internet with pages. Without, it looks up machines of the office only.
    pub has_internet: bool,
    /// Looks up the printer, too.
    pub knows_printer: bool,
    /// Serves pages.
    pub serves: bool,
    /// Visits a server of the office's by the address and port that the internet knows.
    pub visits_own: Option<(Ipv4Addr, u16)>,
    /// Pings, and asks the server that answers late.
    pub asks: bool,
    /// Asks the gateway over TCP for its own name, every second.
    pub asks_by_tcp: bool,
    /// Asks the name server of its lease for the time so often, which is the gateway.
    pub asks_time_every: Option<Duration>,
}

/// A PC.
pub struct Pc {
    number: usize,
    colleagues: usize,
    habits: Habits,
    stack: Stack,
    rng: StdRng,
    dhcp: SocketHandle,
    resolver: SocketHandle,
    dns_server: Option<Ipv4Addr>,
    errand: Errand,
    /// Errands for pages since the last one for something else.
    pages_in_a_row: u8,
    chat: Chat,
    asker: Option<Asker>,
    tcp_names: Option<TcpNames>,
    time_client: Option<TimeClient>,
    closing: Closing,
    server: Option<PageServer>,
    hairpin: Option<Visits>,
    due: Option<Instant>,
    diary: Diary,
}

/// The activity of a PC besides chatting.
enum Errand {
    Pausing { until: Instant },
    Resolving { name: String, id: u16, tries: u8, until: Instant },
    Fetching(Fetch),
}

enum Chat {
    Never,
    Offline { until: Instant },
    Online { handle: SocketHandle, next_at: Instant, sent: u64, received: u64 },
}

impl Pc {
    /// The PC with this number, below [`PCS_MAX`], in an office of `colleagues`.
    pub fn new(number: usize, colleagues: usize, habits: Habits, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stack = Stack::new(mac_of(number), rng.random());
        let mut client = dhcpv4::Socket::new();
        client.set_outgoing_options(&HOSTNAME_OPTIONS[number]);
        let mut retries = dhcpv4::RetryConfig::default();
        retries.discover_timeout = DISCOVER_TIMEOUT;
        client.set_retry_config(retries);
        if habits.asks_time_every.is_some() {
            client.set_parameter_request_list(PARAMETERS);
        }
        let dhcp = stack.sockets.add(client);
        let resolver = stack.bind_udp(RESOLVER_PORT);
        let server = habits.serves.then(|| PageServer::new(&mut stack));
        let asker = habits.asks.then(|| Asker::new(&mut stack, rng.random()));
        let own_name = || question(0, &format!("{}.{DOMAIN}.", HOSTNAMES[number]));
        let tcp_names = habits.asks_by_tcp.then(|| TcpNames::new(own_name(), rng.random()));
        let time_client =
            habits.asks_time_every.map(|every| TimeClient::new(&mut stack, every, seed ^ TIME_SEED));
        Self {
            number,
            colleagues,
            habits,
            stack,
            rng,
            dhcp,
            resolver,
            dns_server: None,
            errand: Errand::Pausing { until: Instant::ZERO },
            pages_in_a_row: 0,
            chat: match habits.chats_every {
                Some(_) => Chat::Offline { until: Instant::ZERO },
                None => Chat::Never,
            },
            asker,
            tcp_names,
            time_client,
            closing: Closing::default(),
            server,
            hairpin: habits.visits_own.map(|server| Visits::new(server, HAIRPIN_INTERVAL)),
            due: Some(Instant::ZERO),
            diary: Diary::default(),
        }
    }

    /// Its host name, and its name in the world.
    pub fn name(&self) -> &'static str {
        &HOSTNAMES[self.number]
    }

    fn follow_dhcp(&mut self, now: Instant) {
        let event = self.stack.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll();
        let Some(event) = event else { return };
        let configured = match event {
            dhcpv4::Event::Configured(config) => {
                Some((config.address, config.router, config.dns_servers.first().copied()))
            }
            dhcpv4::Event::Deconfigured => None,
        };
        let address = configured.map(|(address, ..)| net(address));
        // A renewal may bring another router and name server.
        let (router, dns_server) = configured.map_or((None, None), |(_, router, dns)| (router, dns));
        self.stack.set_router(router);
        if std::mem::replace(&mut self.dns_server, dns_server) != dns_server {
            self.stack.drop_queued_udp(self.resolver);
        }
        if address == self.diary.address {
            return;
        }
        if self.diary.address.is_some() {
            self.diary.addresses_lost += 1;
            self.hang_up(now);
        }
        self.diary.address = address;
        self.diary.first_address = self.diary.first_address.or(address);
        self.diary.address_since = address.map(|_| now);
        self.stack.set_address(address.map(|net| (net.addr(), net.prefix_len())));
        self.errand = Errand::Pausing { until: now + self.pause() };
    }

    /// Gives every connection up: they belong to an address that is gone.
    fn hang_up(&mut self, now: Instant) {
        if let Errand::Fetching(fetch) = &self.errand {
            fetch.abort(&mut self.stack, &mut self.closing, now);
        }
        if let Chat::Online { handle, .. } = self.chat {
            self.closing.abort(&mut self.stack, handle, now);
            self.chat = Chat::Offline { until: now };
        }
        if let Some(names) = &mut self.tcp_names {
            names.hang_up(&mut self.stack, &mut self.closing, now);
        }
    }

    fn pause(&mut self) -> Duration {
        let Some(mean) = self.habits.visit_every else { return Duration::from_secs(3_600) };
        let millis = u64::try_from(mean.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(self.rng.random_range(millis / 2..=millis + millis / 2))
    }

    fn run_errand(&mut self, now: Instant) {
        match &self.errand {
            Errand::Pausing { until } if *until <= now => self.begin_errand(now),
            Errand::Pausing { .. } => {}
            Errand::Resolving { .. } => self.resolve(now),
            Errand::Fetching(_) => self.fetch(now),
        }
    }

    fn begin_errand(&mut self, now: Instant) {
        if self.habits.visit_every.is_none() || self.diary.address.is_none() || self.dns_server.is_none() {
            self.errand = Errand::Pausing { until: now + self.pause() };
            return;
        }
        let has_time = !self.habits.has_internet || (self.diary.pages > 0 && self.is_curious());
        let name = if has_time {
            self.pages_in_a_row = 0;
            self.curiosity()
        } else {
            self.pages_in_a_row = self.pages_in_a_row.saturating_add(1);
            format!("site-{}.example.", self.rng.random_range(0..SITES))
        };
        let id = self.rng.random();
        self.errand = Errand::Resolving { name, id, tries: 0, until: now };
        self.resolve(now);
    }

    /// Whether the next errand is for no page. That is random, but both kinds come in each few errands, so that a
    /// scenario can expect either within some time.
    fn is_curious(&mut self) -> bool {
        let likes_to = self.rng.random_ratio(1, 3);
        self.pages_in_a_row > 0 && (likes_to || self.pages_in_a_row >= PAGES_IN_A_ROW_MAX)
    }

    /// A name without a page: another PC's, the printer's, an address's, or an unknown one.
    fn curiosity(&mut self) -> String {
        let host = match self.rng.random_range(0..6) {
            0 if self.habits.has_internet => {
                return format!("nobody-{}.example.", self.rng.random_range(0..3));
            }
            1 if self.habits.has_internet => WEB_ADDRESSES.choose(&mut self.rng).copied(),
            2 => self.diary.address.map(|own| own.addr()),
            _ => None,
        };
        if let Some(address) = host {
            return reverse(address);
        }
        let machine = self.rng.random_range(0..self.colleagues + usize::from(self.habits.knows_printer));
        let name = if machine < self.colleagues { &HOSTNAMES[machine] } else { "printer" };
        format!("{name}.{DOMAIN}.")
    }

    fn resolve(&mut self, now: Instant) {
        let Errand::Resolving { name, id, tries, until } = &mut self.errand else { return };
        let wants_page = name.starts_with("site-");
        let socket = self.stack.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(self.resolver);
        while let Ok((payload, _)) = socket.recv() {
            let Some(answer) = Message::from_vec(payload).ok().filter(|m| m.metadata.id == *id) else {
                continue;
            };
            let address = answer.answers.iter().find_map(|record| match &record.data {
                RData::A(a) => Some(a.0),
                _ => None,
            });
            match (address, answer.metadata.response_code) {
                (Some(address), _) if wants_page => {
                    self.diary.lookups += 1;
                    return self.begin_fetch(address, now);
                }
                // NXDOMAIN is an answer too.
                (Some(_), _) | (None, ResponseCode::NXDomain | ResponseCode::NoError) if !wants_page => {
                    self.diary.lookups += 1;
                    self.diary.last_colleague_at = Some(now);
                }
                _ => self.diary.lookups_failed += 1,
            }
            self.errand = Errand::Pausing { until: now + self.pause() };
            return;
        }
        if *until > now {
            return;
        }
        let Some(server) = self.dns_server.filter(|_| *tries < RESOLVE_TRIES) else {
            self.diary.lookups_failed += 1;
            self.errand = Errand::Pausing { until: now + self.pause() };
            return;
        };
        *tries += 1;
        *until = now + RESOLVE_TIMEOUT;
        // A full queue is a lost question: it is asked again.
        _ = socket.send_slice(&question(*id, name), (server, DNS_PORT));
    }

    fn begin_fetch(&mut self, address: Ipv4Addr, now: Instant) {
        let (server, octets) = ((address, WEB_PORT), self.habits.page_octets);
        self.errand = match Fetch::begin(&mut self.stack, &mut self.rng, server, octets, now) {
            Some(fetch) => Errand::Fetching(fetch),
            None => {
                self.diary.pages_failed += 1;
                Errand::Pausing { until: now + self.pause() }
            }
        };
    }

    fn fetch(&mut self, now: Instant) {
        let Errand::Fetching(fetch) = &mut self.errand else { return };
        let Some(fetched) = fetch.work(&mut self.stack, &mut self.closing, now) else { return };
        match fetched {
            Fetched::Whole => {
                self.diary.pages += 1;
                self.diary.last_page_at = Some(now);
            }
            Fetched::Wrong => self.diary.pages_wrong += 1,
            Fetched::Failed => self.diary.pages_failed += 1,
        }
        self.errand = Errand::Pausing { until: now + self.pause() };
    }

    fn talk(&mut self, now: Instant) {
        let pause = self.habits.chats_every.unwrap_or_default();
        match &mut self.chat {
            Chat::Never => {}
            Chat::Offline { until } => {
                if *until <= now && self.diary.address.is_some() {
                    self.chat = match connect(&mut self.stack, &mut self.rng, (CHAT_ADDRESS, CHAT_PORT)) {
                        Some(handle) => Chat::Online { handle, next_at: now, sent: 0, received: 0 },
                        None => Chat::Offline { until: now + CHAT_RETRY },
                    };
                }
            }
            Chat::Online { handle, next_at, sent, received } => {
                let handle = *handle;
                let socket = self.stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
                let mut line = [0; CHAT_LINE_LEN];
                while socket.recv_queue() >= CHAT_LINE_LEN && socket.recv_slice(&mut line).is_ok() {
                    if u64::from_be_bytes(line) == *received {
                        self.diary.chat_lines += 1;
                        self.diary.last_chat_at = Some(now);
                    }
                    *received += 1;
                }
                if *next_at <= now && socket.can_send() {
                    *next_at = now + pause;
                    *sent += u64::from(socket.send_slice(&sent.to_be_bytes()) == Ok(CHAT_LINE_LEN));
                } else if *next_at <= now {
                    *next_at = now + pause.min(CHAT_RETRY);
                }
                if !socket.is_open() || socket.state() == tcp::State::CloseWait {
                    self.diary.chats_broken += 1;
                    self.chat = Chat::Offline { until: now + CHAT_RETRY };
                    self.closing.abort(&mut self.stack, handle, now);
                }
            }
        }
    }

    fn ask(&mut self, now: Instant) {
        let Some(asker) = &mut self.asker else { return };
        asker.work(&mut self.stack, self.diary.address.is_some(), now);
        self.diary.late_answers = asker.answers();
        self.diary.echoes = asker.echoes();
    }

    fn ask_by_tcp(&mut self, now: Instant) {
        let server = self.dns_server.filter(|_| self.diary.address.is_some());
        let (Some(names), Some(server)) = (&mut self.tcp_names, server) else { return };
        names.work(&mut self.stack, &mut self.closing, server, now);
        self.diary.tcp_lookups = names.answered;
        self.diary.tcp_lookups_failed = names.failed;
    }

    fn ask_time(&mut self, now: Instant) {
        let server = self.dns_server.filter(|_| self.diary.address.is_some());
        let (Some(client), Some(server)) = (&mut self.time_client, server) else { return };
        client.work(&mut self.stack, server, now);
        let TimeClient { told, refused, last_told_at, quality, .. } = *client;
        self.diary.time_quality = quality;
        (self.diary.times_told, self.diary.times_refused) = (told, refused);
        self.diary.last_time_at = last_told_at;
    }

    fn serve_and_visit(&mut self, now: Instant) {
        if let Some(server) = &mut self.server {
            server.work(&mut self.stack);
        }
        if let Some(visits) = self.hairpin.as_mut().filter(|_| self.diary.address.is_some()) {
            visits.work(&mut self.stack, &mut self.rng, &mut self.closing, now);
            self.diary.hairpin_pages = visits.pages;
        }
    }

    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let errand = match &self.errand {
            Errand::Pausing { until } | Errand::Resolving { until, .. } => *until,
            Errand::Fetching(fetch) => fetch.poll_timeout(),
        };
        let chat = match self.chat {
            Chat::Never => None,
            Chat::Offline { until } => self.diary.address.map(|_| until),
            Chat::Online { next_at, .. } => Some(next_at),
        };
        let closing = self.closing.poll_timeout().into_iter();
        let asker = self.asker.as_ref().and_then(Asker::poll_timeout);
        let hairpin =
            self.hairpin.as_ref().filter(|_| self.diary.address.is_some()).map(Visits::poll_timeout);
        let tcp_names =
            self.tcp_names.as_ref().filter(|_| self.dns_server.is_some()).map(TcpNames::poll_timeout);
        let time_client =
            self.time_client.as_ref().filter(|_| self.dns_server.is_some()).map(TimeClient::poll_timeout);
        closing
            .chain([errand])
            .chain(chat)
            .chain(asker)
            .chain(hairpin)
            .chain(tcp_names)
            .chain(time_client)
            .chain(self.stack.poll_timeout(now))
            .min()
    }

    fn work(&mut self, now: Instant) {
        self.follow_dhcp(now);
        self.run_errand(now);
        self.talk(now);
        self.ask(now);
        self.ask_by_tcp(now);
        self.ask_time(now);
        self.serve_and_visit(now);
    }
}

impl Machine for Pc {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.closing.forget(&mut self.stack, now);
        self.due = self.next_due(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Its [`Diary`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.diary.clone())
    }
}

/// The hardware address of the PC with this number.
pub fn mac_of(number: usize) -> MacAddr {
    let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    MacAddr([0x02, 0x00, 0x5e, 0x10, high, low])
}

/// The host names of all PCs there can be. smoltcp borrows its options for as long as its sockets live.
static HOSTNAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..PCS_MAX).map(|number| format!("pc-{number}")).collect());
static HOSTNAME_OPTIONS: LazyLock<Vec<[DhcpOption<'static>; 1]>> = LazyLock::new(|| {
    HOSTNAMES.iter().map(|name| [DhcpOption { kind: OPTION_HOSTNAME, data: name.as_bytes() }]).collect()
});

fn net(cidr: Ipv4Cidr) -> Ipv4Net {
    Ipv4Net::new(cidr.address(), cidr.prefix_len()).expect("smoltcp has checked the mask")
}

/// A question for the address of `name`, or for the name of an address.
pub(super) fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let wanted = if name.ends_with("in-addr.arpa.") { RecordType::PTR } else { RecordType::A };
    let name = Name::from_ascii(name).expect("PCs ask for valid names");
    message.add_query(Query::query(name, wanted));
    message.to_vec().expect("a question can be encoded")
}
