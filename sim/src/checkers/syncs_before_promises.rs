//! Syncs before promises: a promise of the gateway is durable before it is sent.
//!
//! A promise is a reply: the ACK to a REQUEST, the 250 to the end of a message, the `+OK` to QUIT after deletions. Its
//! data are written after the request has come in. So when a promise passes the gateway's port, some write to the files
//! that it depends on is durable that began after the request passed the port; otherwise a power cut at this instant
//! would break the promise. The check needs no power cut, and reads no written data.
//!
//! As a client the gateway makes promises, too: it deletes a fetched message at the server once that is durable here,
//! and sends QUIT once the outcome of a delivered message is durable.
//!
//! Promises under TLS are not checked.

mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType};
use gatepost::config::Config;
use gatepost_ground::Instant;

use self::stream::Stream;
use super::{Checker, Passage, Side, Way};
use crate::packet::{DHCP_SERVER_PORT, Ipv4, Transport, dhcp_message};
use crate::world::disk::DiskMood;

const SMTP_PORT: u16 = 25;
const SUBMISSION_PORT: u16 = 587;
const POP3_PORT: u16 = 110;
/// The most connections, and the most DHCP clients, that the checker follows.
const FOLLOWED_MAX: usize = 1_024;
/// The lease time is in whole seconds, perhaps rounded up.
const ROUNDED: Duration = Duration::from_secs(2);
/// The time after a disk failure in which the checker judges nothing.
const DOUBTED: Duration = Duration::from_secs(60);

/// The disk's report of its writes, which it numbers in their order.
pub struct Writes {
    /// The number of the last that has begun.
    pub begun: Box<dyn Fn() -> u64>,
    /// The number of the last that is durable, of the files whose names begin so.
    pub durable: Box<dyn Fn(&str) -> u64>,
}

/// Compares the promises that pass the ports with the disk's synced writes.
pub struct SyncsBeforePromises {
    writes: Writes,
    /// The journal of leases, and the log of mail.
    leases: &'static str,
    mail: &'static str,
    reserved: BTreeSet<Ipv4Addr>,
    is_disk_bad: bool,
    /// The last time at which a frame passed while the disk failed.
    doubted_at: Option<Instant>,
    /// The last write that had begun at a client's request, by hardware address and transaction.
    asked: BTreeMap<(Vec<u8>, u32), u64>,
    /// The ends of the leases that clients were promised.
    told: BTreeMap<(Vec<u8>, Ipv4Addr), Instant>,
    connections: BTreeMap<Ends, Connection>,
}

/// The client's end of a connection, and the server's.
type Ends = (SocketAddrV4, SocketAddrV4);

/// A connection of SMTP or POP3.
struct Connection {
    /// Whether the gateway is the client.
    is_out: bool,
    client: Stream,
    server: Option<Stream>,
    /// The last write that had begun when the request passed that has no answer yet.
    since: Option<u64>,
    /// Whether the gateway has sent a server a message without an answer so far.
    has_sent_message: bool,
    /// The number of the message that is fetched.
    fetching: Option<String>,
    /// The last write that had begun when these messages were fetched, by their numbers.
    fetched: BTreeMap<String, u64>,
    /// Messages that the server is to delete at the end.
    deletes: u32,
}

impl SyncsBeforePromises {
    /// `leases`, `mail`: the prefixes of the names of the files on which leases and mail depend.
    pub fn new(writes: Writes, leases: &'static str, mail: &'static str) -> Self {
        Self {
            writes,
            leases,
            mail,
            reserved: BTreeSet::new(),
            is_disk_bad: false,
            doubted_at: None,
            asked: BTreeMap::new(),
            told: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }

    fn check(&self, since: u64, files: &str, promise: &str) -> Result<(), String> {
        let durable = (self.writes.durable)(files);
        if durable > since {
            return Ok(());
        }
        Err(format!(
            "{promise}, and of {files} nothing is durable that was written since that was asked for: writes up to {durable} \
             are, {since} had begun"
        ))
    }

    fn on_dhcp(&mut self, passage: &Passage<'_>, message: &Message) -> Result<(), String> {
        let client = message.chaddr().to_vec();
        let transaction = (client.clone(), message.xid());
        match (passage.way, message.opts().msg_type()) {
            (Way::In, Some(MessageType::Request)) => {
                // The server may answer a retransmitted request as before.
                let begun = (self.writes.begun)();
                make_room(&mut self.asked);
                self.asked.entry(transaction).or_insert(begun);
            }
            (Way::Out, Some(MessageType::Ack)) => {
                let address = message.yiaddr();
                let secs = message.opts().iter().find_map(|(_, option)| match option {
                    DhcpOption::AddressLeaseTime(secs) => Some(*secs),
                    _ => None,
                });
                let (Some(since), Some(secs)) = (self.asked.get(&transaction).copied(), secs) else {
                    return Ok(());
                };
                let until = passage.now + Duration::from_secs(secs.into());
                make_room(&mut self.told);
                let told = self.told.insert((client, address), until);
                // The ACK promises no more than the one before.
                let is_said_again = told.is_some_and(|told| until <= told + ROUNDED);
                let is_doubted = self.doubted_at.is_some_and(|at| passage.now.since(at) < DOUBTED);
                if is_said_again || is_doubted || self.reserved.contains(&address) {
                    return Ok(());
                }
                return self.check(since, self.leases, &format!("{address} is leased for {secs} s"));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_segment(&mut self, passage: &Passage<'_>, ip: &Ipv4) -> Result<(), String> {
        let Transport::Tcp {
            source_port,
            destination_port,
            is_opening,
            is_accepting,
            is_closing,
            is_reset,
            sequence,
            ref payload,
            checksum_ok: true,
            acknowledgment: _,
        } = ip.transport
        else {
            return Ok(());
        };
        let is_server = |port| matches!(port, SMTP_PORT | SUBMISSION_PORT | POP3_PORT);
        let (from, to) =
            (SocketAddrV4::new(ip.source, source_port), SocketAddrV4::new(ip.destination, destination_port));
        let is_clients = is_server(destination_port);
        if !is_clients && !is_server(source_port) {
            return Ok(());
        }
        let ends = if is_clients { (from, to) } else { (to, from) };
        if is_opening {
            make_room(&mut self.connections);
            self.connections.insert(ends, Connection::new(passage.way == Way::Out, sequence.wrapping_add(1)));
            return Ok(());
        }
        let Some(connection) = self.connections.get_mut(&ends) else { return Ok(()) };
        // A forwarded segment passes two ports.
        if connection.is_out != (is_clients == (passage.way == Way::Out)) {
            return Ok(());
        }
        let stream = match (is_clients, &mut connection.server) {
            (true, _) => &mut connection.client,
            (false, server) if is_accepting => {
                server.get_or_insert_with(|| Stream::new(sequence.wrapping_add(1)));
                return Ok(());
            }
            (false, Some(server)) => server,
            (false, None) => return Ok(()),
        };
        let lines = stream.take(sequence, payload);
        let begun = (self.writes.begun)();
        let promises: Vec<_> = lines
            .iter()
            .filter_map(|line| match (is_clients, connection.is_out) {
                (true, false) => connection.client_asks(line, begun),
                (false, false) => connection.gateway_answers(line),
                (true, true) => connection.gateway_asks(line),
                (false, true) => connection.server_answers(line, begun),
            })
            .collect();
        if is_reset || (is_closing && passage.way == Way::Out) {
            self.connections.remove(&ends);
        }
        promises.into_iter().try_for_each(|(since, promise)| self.check(since, self.mail, &promise))
    }
}

/// A promise, and the last write that had begun before its request.
type Promise = (u64, String);

impl Connection {
    fn new(is_out: bool, first: u32) -> Self {
        Self {
            is_out,
            client: Stream::new(first),
            server: None,
            since: None,
            has_sent_message: false,
            fetching: None,
            fetched: BTreeMap::new(),
            deletes: 0,
        }
    }

    fn client_asks(&mut self, line: &str, begun: u64) -> Option<Promise> {
        match line {
            // The end of a message, and of a session. // RFC 5321, section 4.1.1.4; RFC 1939, section 6
            "." | "QUIT" => self.since = Some(begun),
            "RSET" => self.deletes = 0,
            _ => {}
        }
        None
    }

    fn gateway_answers(&mut self, line: &str) -> Option<Promise> {
        if line.starts_with("+OK message ") && line.ends_with(" is deleted by QUIT") {
            self.deletes += 1;
        }
        let is_promise = line.starts_with("250 2.6.0 taken as ") || (line == "+OK bye" && self.deletes > 0);
        let since = self.since.filter(|_| is_promise)?;
        Some((since, format!("a client is told {line:?}")))
    }

    fn server_answers(&mut self, line: &str, begun: u64) -> Option<Promise> {
        if line == "." {
            let number = self.fetching.take()?;
            make_room(&mut self.fetched);
            self.fetched.insert(number, begun);
        } else if line.starts_with("250 ") && self.has_sent_message {
            (self.since, self.has_sent_message) = (Some(begun), false);
        }
        None
    }

    fn gateway_asks(&mut self, line: &str) -> Option<Promise> {
        match line.split_once(' ') {
            Some(("RETR", number)) => self.fetching = Some(number.to_owned()),
            Some(("DELE", number)) => {
                let since = self.fetched.remove(number)?;
                return Some((since, format!("message {number} elsewhere is to be deleted")));
            }
            None if line == "." => self.has_sent_message = true,
            None if line == "QUIT" => {
                let since = self.since.take()?;
                return Some((since, "a server that has taken a message is left".to_owned()));
            }
            _ => {}
        }
        None
    }
}

/// Keeps a table bounded.
fn make_room<K: Ord + Clone, V>(table: &mut BTreeMap<K, V>) {
    if table.len() >= FOLLOWED_MAX {
        table.pop_first();
    }
}

impl Checker for SyncsBeforePromises {
    fn name(&self) -> &'static str {
        "syncs-before-promises"
    }

    fn promise(&self) -> &'static str {
        "the data of a promise is synced to the disk before the promise leaves the gateway"
    }

    fn on_boot(&mut self) {
        self.connections.clear();
        self.asked.clear();
    }

    fn on_reload(&mut self, config: &Config) {
        self.reserved.extend(config.services.dhcp.reservations.iter().map(|reservation| reservation.address));
    }

    fn on_configure(&mut self, config: &Config) {
        self.reserved =
            config.services.dhcp.reservations.iter().map(|reservation| reservation.address).collect();
    }

    fn on_disk(&mut self, mood: DiskMood) {
        self.is_disk_bad = !matches!(mood, DiskMood::Sound | DiskMood::Slow);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if self.is_disk_bad {
            self.doubted_at = Some(passage.now);
        }
        match passage.packet.udp() {
            Some((_, from, to, payload))
                if passage.side == Side::Lan && [from, to].contains(&DHCP_SERVER_PORT) =>
            {
                dhcp_message(payload).map_or(Ok(()), |message| self.on_dhcp(passage, &message))
            }
            _ => passage.packet.ipv4().map_or(Ok(()), |ip| self.on_segment(passage, ip)),
        }
    }
}

#[cfg(test)]
mod tests;
