//! Transcripts of a server: messages, answers and their times.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ipnet::Ipv4Net;

use super::leases::State;
use super::*;
use crate::dhcp::frame::{CLIENT_PORT, SERVER_PORT};
use crate::dhcp::message::{DhcpOption, Flags};
use crate::dhcp::server::journal::JOURNAL_FILE;
use crate::dhcp::testing;
use crate::store::{Memory, Storage};

mod attacks;
mod bootp;
mod disks;
mod events;
mod former;
mod parameters;
mod rfc2131;
mod scarcity;
mod sharing;
mod unoffered;
mod waiting;
mod writes;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 250);
const RELAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
const LEASE_SECS: u32 = 3600;

fn config() -> Config {
    Config {
        lease_secs: LEASE_SECS,
        domain: "office.example".to_owned(),
        ntp_servers: vec![SERVER],
        ..Config::new(Ipv4Net::new_assert(SERVER, 24), host(1)..=host(5))
    }
}

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, number)
}

fn pc(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

fn reservation(client: ReservedFor, address: Ipv4Addr) -> Reservation {
    let clients = vec![client];
    Reservation { hostname: Some("Printer".to_owned()), clients, address, parameters: Parameters::default() }
}

/// A client's message.
fn ask(kind: MessageType, mac: MacAddr) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(0x1234_5678, none, none, none, none, &mac.0);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message
}

fn with(mut message: Message, option: DhcpOption) -> Message {
    message.opts_mut().insert(option);
    message
}

fn discover(mac: MacAddr) -> Message {
    ask(MessageType::Discover, mac)
}

/// A REQUEST that accepts an offer.
fn select(mac: MacAddr, address: Ipv4Addr) -> Message {
    let message = with(ask(MessageType::Request, mac), DhcpOption::RequestedIpAddress(address));
    with(message, DhcpOption::ServerIdentifier(SERVER))
}

fn reboot(mac: MacAddr, address: Ipv4Addr) -> Message {
    with(ask(MessageType::Request, mac), DhcpOption::RequestedIpAddress(address))
}

/// A REQUEST that renews or rebinds: the server handles both alike.
fn renew(mac: MacAddr, address: Ipv4Addr) -> Message {
    let mut message = ask(MessageType::Request, mac);
    message.set_ciaddr(address);
    message
}

fn release(mac: MacAddr, address: Ipv4Addr) -> Message {
    let mut message = ask(MessageType::Release, mac);
    message.set_ciaddr(address);
    with(message, DhcpOption::ServerIdentifier(SERVER))
}

fn decline(mac: MacAddr, address: Ipv4Addr) -> Message {
    let message = with(ask(MessageType::Decline, mac), DhcpOption::RequestedIpAddress(address));
    with(message, DhcpOption::ServerIdentifier(SERVER))
}

/// A disk with switches for being full, unreadable or unable to sync. Unsynced data can still be read, as from the page
/// cache, and is zeros after a power cut.
#[derive(Default)]
struct FaultyDisk {
    cache: Memory,
    platter: Memory,
    /// The octets of a file that a sync has lost.
    lost: Mutex<BTreeMap<String, Range<usize>>>,
    is_full: AtomicBool,
    is_unreadable: AtomicBool,
    fails_to_sync: AtomicBool,
    syncs: AtomicUsize,
}

impl FaultyDisk {
    fn len_on(disk: &Memory, name: &str) -> usize {
        disk.read(name).unwrap().map_or(0, |content| content.len())
    }

    fn syncs(&self) -> usize {
        self.syncs.load(Ordering::Relaxed)
    }

    fn cut_power(&self) {
        self.cache.write(JOURNAL_FILE, &self.platter.read(JOURNAL_FILE).unwrap().unwrap()).unwrap();
    }
}

impl Storage for FaultyDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if self.is_unreadable.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        self.cache.read(name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.cache.read_at(name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.cache.len(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.cache.list(name)
    }

    fn space(&self) -> io::Result<u64> {
        self.cache.space()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.cache.remove(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.lost.lock().unwrap().remove(name);
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.cache.write(name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) {
            self.cache.append(name, &record[..record.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.cache.append(name, record)
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.lost.lock().unwrap().remove(to);
        self.cache.rename(name, to)?;
        self.platter.rename(name, to)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.fails_to_sync.load(Ordering::Relaxed) {
            let lost = Self::len_on(&self.platter, name)..Self::len_on(&self.cache, name);
            self.lost.lock().unwrap().insert(name.to_owned(), lost);
            return Err(io::ErrorKind::Other.into());
        }
        let mut content = self.cache.read(name)?.unwrap_or_default();
        if let Some(lost) = self.lost.lock().unwrap().get(name) {
            content[lost.clone()].fill(0);
        }
        self.platter.write(name, &content)
    }
}

struct Office {
    server: Server,
    leases: Rc<RefCell<Leases>>,
    disk: Arc<FaultyDisk>,
    now: Instant,
    /// The time of day at [`Instant::ZERO`].
    unix_origin: u64,
}

impl Office {
    fn new(config: Config) -> Self {
        Self::on_disk(config, Arc::new(FaultyDisk::default()), Instant::from_secs(1000), 1_700_000_000)
    }

    fn on_disk(config: Config, disk: Arc<FaultyDisk>, now: Instant, unix_origin: u64) -> Self {
        let unix_now = UnixTime(unix_origin + now.as_secs());
        let leases = Rc::new(RefCell::new(Leases::open(disk.clone(), now, unix_now)));
        Self { server: Server::new(config, Rc::clone(&leases)), leases, disk, now, unix_origin }
    }

    fn restart(self) -> Self {
        Self::on_disk(self.server.config.clone(), self.disk, self.now, self.unix_origin)
    }

    fn wait(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }

    fn unix_now(&self) -> UnixTime {
        UnixTime(self.unix_origin + self.now.as_secs())
    }

    fn hear(&mut self, message: &Message) -> Option<Reply> {
        let source = if message.giaddr().is_unspecified() { message::mac(message) } else { RELAY_MAC };
        let unix_now = self.unix_now();
        let answer = self.server.handle_message(self.now, unix_now, source, message);
        self.write();
        answer.or_else(|| self.server.poll_reply()).or_else(|| self.pass_probes_of_offers())
    }

    /// Has the probes before offers time out without an answer, as if that took no time. Returns the first offer.
    fn pass_probes_of_offers(&mut self) -> Option<Reply> {
        let unix_now = self.unix_now();
        while let Some(due) = self.server.unoffered.poll_timeout() {
            self.server.handle_timeout(self.now.max(due), unix_now);
            while self.server.poll_probe().is_some() {}
        }
        self.server.poll_reply()
    }

    /// Performs the requests to the disk.
    fn write(&mut self) {
        while let Some(request) = self.server.poll_request(self.now) {
            let unix_now = self.unix_now();
            self.server.handle_done(self.now, unix_now, Ok(request.perform()));
        }
    }

    /// Waits until the probes of declined addresses time out without an answer.
    fn pass_probes(&mut self) {
        while let Some(due) = self.server.poll_timeout() {
            self.now = self.now.max(due);
            let unix_now = self.unix_now();
            self.server.handle_timeout(self.now, unix_now);
            self.write();
            while self.server.poll_probe().is_some() {}
        }
    }

    fn offer(&mut self, message: &Message) -> Option<Ipv4Addr> {
        let reply = self.hear(message)?;
        assert_eq!(reply.message.opts().msg_type(), Some(MessageType::Offer));
        Some(reply.message.yiaddr())
    }

    #[track_caller]
    fn ack(&mut self, message: &Message) -> Reply {
        let reply = self.hear(message).expect("an answer");
        assert_eq!(reply.message.opts().msg_type(), Some(MessageType::Ack));
        reply
    }

    #[track_caller]
    fn nak(&mut self, message: &Message) -> Reply {
        let reply = self.hear(message).expect("an answer");
        assert_eq!(reply.message.opts().msg_type(), Some(MessageType::Nak));
        assert!(reply.message.yiaddr().is_unspecified());
        assert_eq!(message::secs_option(&reply.message, OptionCode::AddressLeaseTime), None);
        reply
    }

    /// DISCOVER to ACK.
    #[track_caller]
    fn lease(&mut self, mac: MacAddr) -> Ipv4Addr {
        let address = self.offer(&discover(mac)).expect("an offer");
        self.ack(&select(mac, address));
        address
    }
}

/// RFC 2131, section 4.3.1: An offer and its ACK say what a host needs.
#[test]
fn rfc2131_4_3_1_an_offer_and_its_ack_say_what_a_host_needs() {
    let mut office = Office::new(config());
    let offer = office.hear(&discover(pc(1))).unwrap();
    let ack = office.ack(&select(pc(1), offer.message.yiaddr()));
    for reply in [&offer.message, &ack.message] {
        assert_eq!((reply.opcode(), reply.xid()), (Opcode::BootReply, 0x1234_5678));
        assert_eq!(reply.yiaddr(), host(2), "the server's own address is skipped");
        assert_eq!(message::address_option(reply, OptionCode::ServerIdentifier), Some(SERVER));
        assert_eq!(message::secs_option(reply, OptionCode::AddressLeaseTime), Some(3600));
        assert_eq!(message::secs_option(reply, OptionCode::Renewal), Some(1800));
        assert_eq!(message::secs_option(reply, OptionCode::Rebinding), Some(3150));
        assert_eq!(
            message::address_option(reply, OptionCode::SubnetMask),
            Some(Ipv4Addr::new(255, 255, 255, 0))
        );
        assert_eq!(message::addresses_option(reply, OptionCode::Router), [SERVER]);
        assert_eq!(message::addresses_option(reply, OptionCode::DomainNameServer), [SERVER]);
        assert_eq!(message::text_option(reply, OptionCode::DomainName), Some("office.example"));
    }
}

#[test]
fn real_clients_get_their_leases() {
    for (discover, request) in [
        (testing::UDHCPC_DISCOVER, testing::UDHCPC_REQUEST),
        (testing::DHCLIENT_DISCOVER, testing::DHCLIENT_REQUEST),
    ] {
        // They were captured with a server that leased 192.168.1.51.
        let mut office = Office::new(Config { pool: host(51)..=host(60), ..config() });
        let [discover, request] = [discover, request].map(|hex| testing::message_in(&testing::frame(hex)));
        assert_eq!(office.offer(&discover), Some(host(51)));
        let ack = office.ack(&request);
        assert_eq!((ack.message.yiaddr(), ack.message.xid()), (host(51), request.xid()));
        assert_eq!(ack.destination.mac, MacAddr([2, 0, 0, 0, 0, 0xa]));
        let leases = office.leases.borrow();
        assert!(
            leases.address_of("pc1", office.now).or(leases.address_of("pc2", office.now)) == Some(host(51))
        );
    }
}

/// RFC 2131, section 4.1: Answers go where their client can hear them.
#[test]
fn rfc2131_4_1_answers_go_where_their_client_can_hear_them() {
    let mut office = Office::new(config());
    let unicast = office.hear(&discover(pc(1))).unwrap();
    let expected = Destination { mac: pc(1), address: SocketAddrV4::new(host(2), CLIENT_PORT) };
    assert_eq!(unicast.destination, expected);

    let everybody =
        Destination { mac: MacAddr::BROADCAST, address: SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT) };
    let mut message = discover(pc(1));
    message.set_flags(Flags::default().set_broadcast());
    let broadcast = office.hear(&message).unwrap();
    assert_eq!(broadcast.destination, everybody);
    assert!(broadcast.message.flags().broadcast());

    office.ack(&select(pc(1), host(2)));
    assert_eq!(office.ack(&renew(pc(1), host(2))).destination, expected);
    assert_eq!(office.nak(&renew(pc(1), host(3))).destination, everybody);
}

/// RFC 2131, section 4.1: A relayed answer goes to the relay agent.
#[test]
fn rfc2131_4_1_a_relayed_answer_goes_to_the_relay_agent() {
    let mut office = Office::new(config());
    let mut message = discover(pc(1));
    message.set_giaddr(RELAY).set_hops(1);
    let offer = office.hear(&message).unwrap();
    let relay = Destination { mac: RELAY_MAC, address: SocketAddrV4::new(RELAY, SERVER_PORT) };
    assert_eq!((offer.destination, offer.message.giaddr()), (relay, RELAY));

    let mut message = reboot(pc(1), Ipv4Addr::new(10, 0, 0, 1));
    message.set_giaddr(RELAY);
    let nak = office.nak(&message);
    assert_eq!(nak.destination, relay);
    assert!(nak.message.flags().broadcast(), "RFC 2131, section 4.3.2");

    message.set_giaddr(Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(office.hear(&message), None, "not our network");
}

/// RFC 2131, section 4.3.2 (RENEWING): A renewal prolongs the lease.
#[test]
fn rfc2131_4_3_2_a_renewal_prolongs_the_lease() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    for _ in 0..10 {
        office.wait(3000);
        office.ack(&renew(pc(1), address));
    }
    let unix_now = office.unix_now();
    let leases = office.leases.borrow();
    let lease = leases.at(address).unwrap();
    assert!(lease.is_active(office.now + Duration::from_secs(3599)));
    assert!(!lease.is_active(office.now + Duration::from_secs(3600)));
    assert_eq!(lease.until, UnixTime(unix_now.0 + 3600));
}

/// RFC 2131, section 4.3.2 (INIT-REBOOT): A remembered address is confirmed, refused if it is wrong, or not answered.
/// RFC 2131, section 4.3.2 (REBINDING): A client of another server gets no answer, or a NAK of an authoritative server.
#[test]
fn rfc2131_4_3_2_init_reboot_is_confirmed_refused_or_not_answered() {
    let mut office = Office::new(Config { authoritative: false, ..config() });
    let address = office.lease(pc(1));
    assert_eq!(office.ack(&reboot(pc(1), address)).message.yiaddr(), address);
    office.nak(&reboot(pc(1), host(3)));
    office.nak(&reboot(pc(2), Ipv4Addr::new(10, 0, 0, 7)));
    assert_eq!(office.hear(&reboot(pc(2), host(3))), None, "unknown, and not ours to judge");
    assert_eq!(office.hear(&renew(pc(2), host(3))), None);

    office.server.set_config(config());
    office.nak(&reboot(pc(2), host(3)));
    office.nak(&renew(pc(2), host(3)));
}

/// RFC 2131, section 4.3.2 (SELECTING): A client that chooses another server frees its offer.
#[test]
fn rfc2131_4_3_2_a_client_that_chooses_another_server_frees_its_offer() {
    let mut office = Office::new(Config { pool: host(2)..=host(2), ..config() });
    assert_eq!(office.offer(&discover(pc(1))), Some(host(2)));
    assert_eq!(office.offer(&discover(pc(2))), None, "offered to another");
    let elsewhere = with(reboot(pc(1), host(2)), DhcpOption::ServerIdentifier(host(9)));
    assert_eq!(office.hear(&elsewhere), None);
    assert_eq!(office.offer(&discover(pc(2))), Some(host(2)));
}

#[test]
fn another_server_is_named_by_its_answers_and_by_requests_to_it() {
    let mut office = Office::new(config());
    let named = |office: &Office| office.server.foreign_servers(office.now);
    let mut offer = with(ask(MessageType::Offer, pc(1)), DhcpOption::ServerIdentifier(host(9)));
    offer.set_opcode(Opcode::BootReply);
    let unix_now = office.unix_now();
    assert_eq!(office.server.handle_message(office.now, unix_now, pc(9), &offer), None);
    assert_eq!(named(&office), None, "a PXE server offers no address");
    let mut relayed = with(ask(MessageType::Offer, pc(1)), DhcpOption::ServerIdentifier(SERVER));
    relayed.set_opcode(Opcode::BootReply).set_yiaddr(host(50)).set_giaddr(RELAY);
    assert_eq!(office.server.handle_message(office.now, unix_now, RELAY_MAC, &relayed), None);
    assert_eq!(named(&office), None, "a relay agent broadcasts the server's own answer");
    offer.set_yiaddr(host(50));
    assert_eq!(office.server.handle_message(office.now, unix_now, pc(9), &offer), None);
    office.hear(&with(reboot(pc(1), host(2)), DhcpOption::ServerIdentifier(host(8))));
    let servers = "another DHCP server is on the LAN: 192.168.1.8, 192.168.1.9 (02:00:00:00:00:09)";
    assert_eq!(named(&office).as_deref(), Some(servers));
    assert_eq!(office.server.counters().from_other_servers, 2);
    office.server.set_config(Config { authoritative: false, ..config() });
    assert_eq!(named(&office), None, "others are expected");
}

/// RFC 2131, section 3.1 (2): An offer reserves its address, but only briefly.
#[test]
fn an_offer_reserves_only_briefly() {
    let mut office = Office::new(Config { pool: host(2)..=host(2), ..config() });
    assert_eq!(office.offer(&discover(pc(1))), Some(host(2)));
    office.wait(28);
    assert_eq!(office.offer(&discover(pc(2))), None, "since the probes");
    office.wait(1);
    assert_eq!(office.offer(&discover(pc(2))), Some(host(2)));
    office.nak(&select(pc(1), host(2)));
    office.ack(&select(pc(2), host(2)));
}

/// RFC 2131, section 4.3.1: A client gets its former address again, and the address unused for longest goes first.
#[test]
fn a_client_gets_its_address_again_and_the_longest_unused_goes_first() {
    let mut office = Office::new(config());
    let addresses = [1, 2, 3, 4].map(|number| {
        office.wait(10);
        office.lease(pc(number))
    });
    assert_eq!(addresses, [host(2), host(3), host(4), host(5)]);
    assert_eq!(office.offer(&discover(pc(5))), None, "all in use");
    office.ack(&renew(pc(1), host(2)));
    office.wait(3700);
    assert_eq!(office.offer(&discover(pc(3))), Some(host(4)), "its old one");
    assert_eq!(office.lease(pc(5)), host(3), "the first to expire");
    assert_eq!(office.lease(pc(1)), host(2));
}

/// RFC 2131, section 4.3.1: A wish is granted if it can be.
#[test]
fn rfc2131_4_3_1_a_wish_is_granted_if_it_can_be() {
    let mut office = Office::new(config());
    let wish = |mac, address| with(discover(mac), DhcpOption::RequestedIpAddress(address));
    assert_eq!(office.offer(&wish(pc(1), host(4))), Some(host(4)));
    assert_eq!(office.offer(&wish(pc(2), host(4))), Some(host(2)), "offered to another");
    for unfit in [SERVER, host(0), host(255), host(6), Ipv4Addr::new(10, 0, 0, 2)] {
        assert_eq!(office.offer(&wish(pc(3), unfit)), Some(host(3)), "{unfit}");
    }
}

/// RFC 2131, section 4.3.4: A released address is free and remembered.
#[test]
fn rfc2131_4_3_4_a_released_address_is_free_and_remembered() {
    let mut office = Office::new(Config { pool: host(2)..=host(3), ..config() });
    assert_eq!([office.lease(pc(1)), office.lease(pc(2))], [host(2), host(3)]);
    assert_eq!(office.hear(&release(pc(2), host(2))), None, "not its own");
    assert_eq!(office.offer(&discover(pc(3))), None);
    assert_eq!(office.hear(&release(pc(1), host(2))), None);
    assert_eq!(office.offer(&discover(pc(1))), Some(host(2)));
    office.wait(60);
    assert_eq!(office.lease(pc(3)), host(2));
    office.nak(&renew(pc(1), host(2)));
}

/// RFC 2131, section 4.3.3: A declined address is in quarantine.
#[test]
fn rfc2131_4_3_3_a_declined_address_is_in_quarantine() {
    let mut office = Office::new(config());
    office.lease(pc(1));
    assert_eq!(office.hear(&decline(pc(2), host(2))), None, "not its own");
    office.ack(&renew(pc(1), host(2)));
    assert_eq!(office.hear(&decline(pc(1), host(2))), None);
    assert_eq!(office.lease(pc(1)), host(3), "while it is probed");
    let unix_now = office.unix_now();
    office.server.handle_arp(office.now, unix_now, host(2), pc(9));
    office.write();
    let mut office = office.restart();
    let wish = |number| with(discover(pc(number)), DhcpOption::RequestedIpAddress(host(2)));
    office.wait(u64::from(QUARANTINE_SECS) - 1);
    assert_eq!(office.offer(&wish(2)), Some(host(4)));
    office.wait(1);
    assert_eq!(office.offer(&wish(3)), Some(host(2)));
}

/// RFC 2131, section 4.3.5: Inform is answered without a lease.
#[test]
fn rfc2131_4_3_5_inform_is_answered_without_a_lease() {
    let mut office = Office::new(config());
    let mut message = ask(MessageType::Inform, pc(1));
    message.set_ciaddr(host(77));
    let ack = office.ack(&message);
    assert_eq!((ack.message.yiaddr(), ack.message.ciaddr()), (Ipv4Addr::UNSPECIFIED, host(77)));
    for code in [OptionCode::AddressLeaseTime, OptionCode::Renewal, OptionCode::Rebinding] {
        assert_eq!(message::secs_option(&ack.message, code), None);
    }
    assert_eq!(message::addresses_option(&ack.message, OptionCode::Router), [SERVER]);
    assert_eq!(
        ack.destination,
        Destination { mac: pc(1), address: SocketAddrV4::new(host(77), CLIENT_PORT) }
    );
    assert_eq!(office.leases.borrow().iter().count(), 0);
    message.set_ciaddr(Ipv4Addr::UNSPECIFIED);
    assert_eq!(office.hear(&message), None);
}

/// RFC 6842, section 3: The client identifier is returned.
#[test]
fn rfc6842_the_client_identifier_is_returned() {
    let mut office = Office::new(config());
    let id = DhcpOption::ClientIdentifier(vec![0, 1, 2, 3]);
    let offer = office.hear(&with(discover(pc(1)), id.clone())).unwrap();
    assert_eq!(message::client_id(&offer.message), Some(&[0, 1, 2, 3][..]));
    let nak = office.nak(&with(reboot(pc(1), Ipv4Addr::new(10, 0, 0, 1)), id));
    assert_eq!(message::client_id(&nak.message), Some(&[0, 1, 2, 3][..]));
    let offer = office.hear(&discover(pc(1))).unwrap();
    assert_eq!(message::client_id(&offer.message), None);
}

/// RFC 2131, section 4.2: The client identifier comes before the hardware address.
#[test]
fn rfc2131_4_2_the_client_identifier_comes_before_the_hardware_address() {
    let mut office = Office::new(config());
    let id = |id: &[u8]| DhcpOption::ClientIdentifier(id.to_vec());
    assert_eq!(office.offer(&with(discover(pc(1)), id(&[0, 1]))), Some(host(2)));
    assert_eq!(office.offer(&with(discover(pc(1)), id(&[0, 2]))), Some(host(3)), "another client");
    assert_eq!(office.offer(&with(discover(pc(9)), id(&[0, 1]))), Some(host(2)), "on another interface");
    assert_eq!(office.offer(&discover(pc(1))), Some(host(4)));
    assert_eq!(
        office.offer(&with(discover(pc(1)), id(&[1, 2, 0, 0, 0, 0, 1]))),
        Some(host(4)),
        "says the same"
    );
}

/// RFC 3046, section 2.2: Option 82 is returned as it came.
#[test]
fn rfc3046_option_82_is_returned_as_it_came() {
    let mut office = Office::new(config());
    let relay = message::raw(OptionCode::RelayAgentInformation, vec![1, 2, 9, 9, 1, 1, 3]);
    let mut message = with(discover(pc(1)), relay.clone());
    message.set_giaddr(RELAY);
    let offer = office.hear(&message).unwrap();
    assert_eq!(offer.message.opts().get(OptionCode::RelayAgentInformation), Some(&relay));
}

/// RFC 2132, section 9.8: What is asked for is told and nothing else.
#[test]
fn rfc2132_9_8_what_is_asked_for_is_told_and_nothing_else() {
    let mut office = Office::new(Config { mtu: Some(1400), ..config() });
    let wanted = vec![OptionCode::NtpServers, OptionCode::InterfaceMtu, OptionCode::LogServer];
    let offer = office.hear(&with(discover(pc(1)), DhcpOption::ParameterRequestList(wanted))).unwrap();
    let codes: Vec<u8> = offer.message.opts().iter().map(|(code, _)| u8::from(*code)).collect();
    assert_eq!(codes, [1, 26, 42, 51, 53, 54, 58, 59]);
}

/// RFC 2132, section 9.10: An answer is no longer than its client takes.
#[test]
fn rfc2132_9_10_an_answer_is_no_longer_than_its_client_takes() {
    let domain = ["x".repeat(63), "y".repeat(63), "z".repeat(63)].join(".");
    let mut office = Office::new(Config { domain, ..config() });
    let id = DhcpOption::ClientIdentifier(vec![7; 255]);
    let short = office.hear(&with(discover(pc(1)), id.clone())).unwrap();
    assert!(message::encode(&short.message).len() <= 548);
    assert_eq!(message::addresses_option(&short.message, OptionCode::Router), [SERVER]);
    let long = office.hear(&with(with(discover(pc(1)), id), DhcpOption::MaxMessageSize(1500))).unwrap();
    assert!(message::text_option(&long.message, OptionCode::DomainName).is_some());
}

/// RFC 2131, section 4.3.1: A reserved address takes precedence over a former one and over the pool.
#[test]
fn a_reservation_beats_the_pool_and_an_old_lease() {
    for client in [ReservedFor::Mac(pc(1)), ReservedFor::ClientId(vec![0, 5])] {
        let id = DhcpOption::ClientIdentifier(vec![0, 5]);
        let mut office = Office::new(config());
        let old = office.offer(&with(discover(pc(1)), id.clone())).unwrap();
        office.ack(&with(select(pc(1), old), id.clone()));

        let reservations = vec![reservation(client, host(20))];
        office.server.set_config(Config { reservations, ..config() });
        office.nak(&with(renew(pc(1), old), id.clone()));
        assert_eq!(office.offer(&with(discover(pc(1)), id.clone())), Some(host(20)));
        office.ack(&with(select(pc(1), host(20)), id.clone()));
        assert_eq!(office.lease(pc(2)), host(3), "the other's former lease has ended and is remembered");
        office.nak(&select(pc(2), host(20)));
    }
}

#[test]
fn leases_of_another_network_are_not_served_named_or_shown_and_come_back_with_it() {
    let mut office = Office::new(config());
    let name = |message| with(message, DhcpOption::Hostname("anna".to_owned()));
    let shown = |office: &Office| office.leases.borrow().active(office.now).count();
    office.ack(&name(select(pc(1), host(2))));
    let prefix = "192.168.7.0/24".parse().unwrap();
    let moved = |number| Ipv4Addr::new(192, 168, 7, number);
    let pool = moved(2)..=moved(5);
    office.server.set_config(Config { prefix, pool, server_address: moved(1), router: None, ..config() });
    for restarts in [false, true] {
        office = if restarts { office.restart() } else { office };
        assert_eq!(shown(&office), 0);
        assert_eq!(office.leases.borrow().address_of("anna", office.now), None);
        assert_eq!(office.leases.borrow().name_of(host(2), office.now), None);
        office.nak(&renew(pc(1), host(2)));
    }
    // Its name is free for somebody in the network of today.
    let request = with(name(reboot(pc(2), moved(2))), DhcpOption::ServerIdentifier(moved(1)));
    office.ack(&request);
    assert_eq!(office.leases.borrow().address_of("anna", office.now), Some(moved(2)));
    office.server.set_config(config());
    assert_eq!(shown(&office), 1);
    office.ack(&renew(pc(1), host(2)));
}

/// RFC 2131, section 4.2: Of two reservations for one client that by its identifier counts.
#[test]
fn rfc2131_4_2_of_two_reservations_that_by_the_identifier_counts() {
    let by_id = reservation(ReservedFor::ClientId(vec![0, 5]), host(20));
    let by_mac = reservation(ReservedFor::Mac(pc(1)), host(21));
    for reservations in [[by_id.clone(), by_mac.clone()], [by_mac, by_id]] {
        let mut office = Office::new(Config { reservations: reservations.to_vec(), ..config() });
        let both = with(discover(pc(1)), DhcpOption::ClientIdentifier(vec![0, 5]));
        assert_eq!(office.offer(&both), Some(host(20)));
        assert_eq!(office.offer(&discover(pc(1))), Some(host(21)));
    }
}

/// RFC 2131, section 4.2: The hardware address alone identifies the client if the configuration ignores identifiers.
#[test]
fn systems_of_one_machine_have_one_address_if_identifiers_are_ignored() {
    let mut office = Office::new(Config { ignore_client_id: true, ..config() });
    let by = |message, id: &[u8]| with(message, DhcpOption::ClientIdentifier(id.to_vec()));
    assert_eq!(office.lease(pc(1)), host(2));
    for id in [&[0, 1][..], &[0xff, 7, 7]] {
        assert_eq!(office.offer(&by(discover(pc(1)), id)), Some(host(2)));
        let ack = office.ack(&by(select(pc(1), host(2)), id));
        assert_eq!(message::client_id(&ack.message), Some(id), "it is returned all the same");
        office.ack(&by(reboot(pc(1), host(2)), id));
    }
    assert_eq!(office.offer(&by(discover(pc(2)), &[0, 1])), Some(host(3)), "another machine");
}

#[test]
fn a_reserved_address_that_another_has_is_waited_for() {
    let mut office = Office::new(config());
    assert_eq!(office.lease(pc(2)), host(2));
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(2))];
    office.server.set_config(Config { reservations, ..config() });
    assert_eq!(office.lease(pc(1)), host(3));
    office.nak(&renew(pc(2), host(2)));
    assert_eq!(office.hear(&release(pc(2), host(2))), None);
    office.nak(&renew(pc(1), host(3)));
    assert_eq!(office.lease(pc(1)), host(2));
}

#[test]
fn a_machine_keeps_its_reservation_whatever_it_calls_itself() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(20))];
    let mut office = Office::new(Config { reservations, ..config() });
    assert_eq!(office.lease(pc(1)), host(20));
    let id = DhcpOption::ClientIdentifier(vec![0xff, 1, 2]);
    assert_eq!(office.offer(&with(discover(pc(1)), id.clone())), Some(host(20)));
    office.ack(&with(select(pc(1), host(20)), id));
}

#[test]
fn names_are_the_reservations_or_the_first_comers() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(20))];
    let mut office = Office::new(Config { reservations, ..config() });
    let name = |message, name: &str| with(message, DhcpOption::Hostname(name.to_owned()));
    let asked = vec![OptionCode::Hostname];
    let ack = office.ack(&name(select(pc(2), host(2)), "Alice's PC"));
    assert_eq!(message::text_option(&ack.message, OptionCode::Hostname), None, "not asked for");
    office.ack(&name(select(pc(3), host(3)), "alices-pc"));
    office.ack(&name(select(pc(4), host(4)), "printer"));
    let ack =
        office.ack(&with(name(select(pc(1), host(20)), "whatever"), DhcpOption::ParameterRequestList(asked)));
    assert_eq!(message::text_option(&ack.message, OptionCode::Hostname), Some("printer"));
    {
        let leases = office.leases.borrow();
        assert_eq!(leases.address_of("Alices-PC", office.now), Some(host(2)));
        assert_eq!(leases.name_of(host(2), office.now), Some("alices-pc"));
        assert_eq!(leases.name_of(host(3), office.now), None, "the name was taken");
        assert_eq!(leases.name_of(host(4), office.now), None, "the name is reserved");
        assert_eq!(leases.address_of("printer", office.now), Some(host(20)));
    }
    office.wait(60);
    office.ack(&renew(pc(2), host(2)));
    assert_eq!(office.leases.borrow().name_of(host(2), office.now), Some("alices-pc"), "kept in silence");
    office.hear(&release(pc(2), host(2)));
    assert_eq!(office.leases.borrow().address_of("alices-pc", office.now), None);
    office.ack(&name(renew(pc(3), host(3)), "alices-pc"));
    assert_eq!(office.leases.borrow().address_of("alices-pc", office.now), Some(host(3)));
    office.wait(3600);
    assert_eq!(office.leases.borrow().address_of("alices-pc", office.now), None, "expired");
    assert_eq!(office.leases.borrow().name_of(host(3), office.now), None);
}

/// RFC 4702, section 4: The FQDN option is answered.
#[test]
fn rfc4702_the_fqdn_option_is_answered() {
    let mut office = Office::new(config());
    let fqdn = message::raw(OptionCode::ClientFQDN, b"\x01\0\0PC7.elsewhere".to_vec());
    let ack = office.ack(&with(select(pc(1), host(2)), fqdn));
    let answer = message::raw_option(&ack.message, OptionCode::ClientFQDN);
    assert_eq!(answer, Some(&b"\x01\xff\xffpc7.office.example"[..]));
    assert_eq!(office.leases.borrow().address_of("pc7", office.now), Some(host(2)));
    let asked = with(discover(pc(3)), DhcpOption::ParameterRequestList(vec![OptionCode::ClientFQDN]));
    let unsent = office.hear(&asked).unwrap();
    assert_eq!(
        message::raw_option(&unsent.message, OptionCode::ClientFQDN),
        None,
        "only who sends it gets it"
    );
}

#[test]
fn without_a_disk_there_is_no_ack_and_afterwards_all_is_as_before() {
    let mut office = Office::new(config());
    office.lease(pc(1));
    office.disk.is_full.store(true, Ordering::Relaxed);
    assert_eq!(office.hear(&select(pc(2), host(3))), None);
    assert_eq!(office.hear(&select(pc(2), host(3))), None);
    office.disk.is_full.store(false, Ordering::Relaxed);
    office.wait(10);
    assert_eq!(office.lease(pc(3)), host(3), "never leased to the second");
    let mut office = office.restart();
    office.ack(&reboot(pc(1), host(2)));
    office.ack(&reboot(pc(3), host(3)));
    office.nak(&reboot(pc(2), host(3)));
}

#[test]
fn what_is_not_synced_is_not_acknowledged_and_what_a_failed_sync_lost_is_written_again() {
    let mut office = Office::new(config());
    office.lease(pc(1));
    office.lease(pc(2));
    office.disk.fails_to_sync.store(true, Ordering::Relaxed);
    assert_eq!(office.hear(&select(pc(3), host(4))), None);
    office.disk.fails_to_sync.store(false, Ordering::Relaxed);
    // The next process reads the page cache.
    let mut office = office.restart();
    office.lease(pc(4));
    office.ack(&renew(pc(1), host(2)));
    office.disk.cut_power();
    let mut office = office.restart();
    for (number, address) in [(1, 2), (2, 3), (4, 5)] {
        office.ack(&reboot(pc(number), host(address)));
    }
}

#[test]
fn leases_survive_a_restart_and_a_time_of_day_that_jumps() {
    let mut office = Office::new(config());
    office.lease(pc(1));
    for jump in [-1_600_000_000, 0, 3599] {
        let now = Instant::from_secs(5);
        let unix_now = UnixTime(office.unix_now().0.checked_add_signed(jump).unwrap());
        let leases = Leases::open(office.disk.clone(), now, unix_now);
        let left_secs = if jump == 3599 { 1 } else { 3600 };
        let lease = leases.at(host(2)).unwrap();
        assert!(lease.is_active(now + Duration::from_millis(left_secs * 1000 - 1)), "{jump}");
        assert!(!lease.is_active(now + Duration::from_secs(left_secs)), "{jump}");
    }
    office.unix_origin += 1_000_000_000;
    assert_eq!(office.lease(pc(2)), host(3), "a jump ahead expires nothing at run time");
}

#[test]
fn a_time_of_day_that_jumps_ahead_over_a_restart_leases_no_address_twice() {
    // It seems to have expired long ago, or to have a minute left.
    for jump in [1_000_000, u64::from(LEASE_SECS) - 60] {
        let mut office = Office::new(config());
        office.lease(pc(1));
        office.lease(pc(2));
        office.unix_origin += jump;
        let mut office = office.restart();
        office.wait(70);
        office.nak(&select(pc(3), host(2)));
        let wish = with(discover(pc(3)), DhcpOption::RequestedIpAddress(host(2)));
        assert_eq!(office.offer(&wish), Some(host(4)), "{jump}");
        office.ack(&reboot(pc(1), host(2)));
        assert_eq!((office.lease(pc(3)), office.lease(pc(4))), (host(4), host(5)), "{jump}");
        assert_eq!(office.lease(pc(5)), host(3), "there is no other, {jump}");
    }
}

#[test]
fn messages_that_make_no_sense_are_not_answered() {
    let mut office = Office::new(config());
    let mut reply = discover(pc(1));
    reply.set_opcode(Opcode::BootReply);
    assert_eq!(office.hear(&reply), None);
    assert_eq!(office.hear(&discover(MacAddr::BROADCAST)), None);
    assert_eq!(office.hear(&discover(MacAddr::ZERO)), None);
    assert_eq!(office.hear(&ask(MessageType::Request, pc(1))), None, "for no address");
    assert_eq!(office.hear(&ask(MessageType::Unknown(99), pc(1))), None);
    assert_eq!(office.hear(&ask(MessageType::Ack, pc(1))), None);
    assert_eq!(office.leases.borrow().iter().count(), 0);
}
