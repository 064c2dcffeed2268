use std::cell::RefCell;
use std::rc::Rc;

use dhcproto::v4::MessageType;

use super::*;
use crate::checkers::testing::{acknowledgement, dhcp, packet, passage, segment, udp};

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
const HOST: &str = "192.168.1.9";
const GATEWAY: &str = "192.168.1.1";
const SERVER: &str = "198.18.7.7";

/// A disk whose writes become durable at the test's command.
#[derive(Default)]
struct Disk {
    begun: u64,
    durable: BTreeMap<String, u64>,
}

struct Lab {
    disk: Rc<RefCell<Disk>>,
    checker: SyncsBeforePromises,
    now: u64,
    /// The next sequence numbers of client and server.
    next: [u32; 2],
}

impl Lab {
    fn new() -> Self {
        let disk = Rc::new(RefCell::new(Disk::default()));
        let [begun, durable] = [Rc::clone(&disk), Rc::clone(&disk)];
        let writes = Writes {
            begun: Box::new(move || begun.borrow().begun),
            durable: Box::new(move |files| durable.borrow().durable.get(files).copied().unwrap_or(0)),
        };
        Self { disk, checker: SyncsBeforePromises::new(writes, "leases", "mail"), now: 0, next: [0; 2] }
    }

    fn write(&self) {
        self.disk.borrow_mut().begun += 1;
    }

    /// All writes to these files become durable.
    fn sync(&self, files: &str) {
        let mut disk = self.disk.borrow_mut();
        let begun = disk.begun;
        disk.durable.insert(files.to_owned(), begun);
    }

    fn ask_for_lease(&mut self, transaction: u32) {
        let message = dhcp(&CLIENT, MessageType::Request, |message| _ = message.set_xid(transaction));
        let request = packet("0.0.0.0", "255.255.255.255", udp(68, 67, message));
        assert!(self.checker.on_passage(&passage(self.now, Way::In, Side::Lan, &request)).is_ok());
    }

    fn lease(&mut self, secs: u32) -> bool {
        let mut answer = acknowledgement(&CLIENT, HOST, secs);
        if let crate::packet::Content::Ipv4(ip) = &mut answer.content
            && let Transport::Udp { payload, .. } = &mut ip.transport
        {
            // The transaction. // RFC 2131, section 2
            payload[4..8].copy_from_slice(&1_u32.to_be_bytes());
        }
        self.checker.on_passage(&passage(self.now, Way::Out, Side::Lan, &answer)).is_ok()
    }

    /// Opens a connection to `port`, of the host to the gateway or of the gateway to the server.
    fn connect(&mut self, port: u16, is_out: bool) {
        self.next = [1; 2];
        for (flags, is_clients) in [("S", true), ("SA", false)] {
            assert!(self.pass(port, is_out, is_clients, flags, 0, b""));
        }
    }

    fn pass(
        &mut self,
        port: u16,
        is_out: bool,
        is_clients: bool,
        flags: &str,
        sequence: u32,
        octets: &[u8],
    ) -> bool {
        let (ends, ports) =
            if is_out { ([GATEWAY, SERVER], [999, port]) } else { ([HOST, GATEWAY], [999, port]) };
        let [from, to] = if is_clients { [0, 1] } else { [1, 0] };
        let mut transport = segment(ports[from], ports[to], flags);
        if let Transport::Tcp { sequence: number, payload, .. } = &mut transport {
            (*number, *payload) = (sequence, octets.to_vec());
        }
        let packet = packet(ends[from], ends[to], transport);
        let (way, side) = match (is_out, is_clients) {
            (false, true) => (Way::In, Side::Lan),
            (false, false) => (Way::Out, Side::Lan),
            (true, true) => (Way::Out, Side::Wan),
            (true, false) => (Way::In, Side::Wan),
        };
        self.checker.on_passage(&passage(self.now, way, side, &packet)).is_ok()
    }

    /// One end sends a line; whether the checker accepts it.
    fn say(&mut self, port: u16, is_out: bool, is_clients: bool, line: &str) -> bool {
        let octets = format!("{line}\r\n").into_bytes();
        let next = &mut self.next[usize::from(!is_clients)];
        let sequence = *next;
        *next += u32::try_from(octets.len()).unwrap();
        self.pass(port, is_out, is_clients, "A", sequence, &octets)
    }
}

#[test]
fn a_lease_is_durable_since_it_was_asked_for_unless_no_more_is_promised_than_was() {
    let mut lab = Lab::new();
    lab.write();
    lab.sync("leases");
    lab.ask_for_lease(1);
    lab.write();
    assert!(!lab.lease(600), "its write is not synced");
    let mut lab = Lab::new();
    lab.ask_for_lease(1);
    lab.write();
    lab.sync("mail");
    assert!(!lab.lease(600), "another file was");
    let mut lab = Lab::new();
    lab.ask_for_lease(1);
    lab.write();
    lab.sync("leases");
    assert!(lab.lease(600));
    lab.checker.on_boot();
    lab.now = 300;
    lab.ask_for_lease(1);
    assert!(lab.lease(300), "the rest of it");
    assert!(!lab.lease(600));
}

#[test]
fn while_the_disk_is_bad_and_of_reserved_addresses_leases_are_not_looked_at() {
    let mut lab = Lab::new();
    lab.checker.on_disk(DiskMood::Full);
    lab.ask_for_lease(1);
    assert!(lab.lease(600));
    lab.checker.on_disk(DiskMood::Sound);
    lab.now = 10;
    assert!(lab.lease(700));
    lab.now = 100;
    assert!(!lab.lease(900));
    let text = "dhcp.reservations = [{ mac = '02:00:00:00:00:01', address = '192.168.1.9' }]";
    lab.checker.on_configure(&Config::parse("test", text).expect("a valid configuration"));
    assert!(lab.lease(1_900));
}

#[test]
fn a_message_that_is_taken_is_durable_since_its_end() {
    for port in [SMTP_PORT, SUBMISSION_PORT] {
        let mut lab = Lab::new();
        lab.connect(port, false);
        assert!(lab.say(port, false, true, "DATA") && lab.say(port, false, false, "354 go on"));
        lab.write();
        lab.sync("mail");
        assert!(lab.say(port, false, true, "text") && lab.say(port, false, true, "."));
        lab.write();
        assert!(lab.say(port, false, false, "451 4.3.0 not now"));
        assert!(!lab.say(port, false, false, "250 2.6.0 taken as 1"));
        lab.sync("mail");
        assert!(lab.say(port, false, false, "250 2.6.0 taken as 1"));
    }
}

#[test]
fn deletions_are_durable_since_quit_and_a_session_without_any_needs_nothing() {
    let reported = |deletes: bool, resets: bool, syncs: bool| {
        let mut lab = Lab::new();
        lab.connect(POP3_PORT, false);
        if deletes {
            assert!(lab.say(POP3_PORT, false, true, "DELE 1"));
            assert!(lab.say(POP3_PORT, false, false, "+OK message 1 is deleted by QUIT"));
        }
        if resets {
            assert!(lab.say(POP3_PORT, false, true, "RSET"));
        }
        assert!(lab.say(POP3_PORT, false, true, "QUIT"));
        lab.write();
        if syncs {
            lab.sync("mail");
        }
        !lab.say(POP3_PORT, false, false, "+OK bye")
    };
    assert!(reported(true, false, false));
    assert!(!reported(true, false, true) && !reported(false, false, false) && !reported(true, true, false));
}

#[test]
fn a_message_elsewhere_is_deleted_once_it_is_durable_here() {
    let reported = |syncs: bool, number: &str| {
        let mut lab = Lab::new();
        lab.connect(POP3_PORT, true);
        assert!(lab.say(POP3_PORT, true, true, "RETR 1"));
        for line in ["+OK", "Subject: one", "", "text", "."] {
            assert!(lab.say(POP3_PORT, true, false, line));
        }
        lab.write();
        if syncs {
            lab.sync("mail");
        }
        !lab.say(POP3_PORT, true, true, &format!("DELE {number}"))
    };
    assert!(reported(false, "1"));
    assert!(!reported(true, "1"));
    assert!(!reported(false, "2"), "it was fetched before");
}

#[test]
fn a_server_is_left_once_what_came_of_the_message_is_durable() {
    let reported = |reply: &str, syncs: bool| {
        let mut lab = Lab::new();
        lab.connect(SMTP_PORT, true);
        assert!(lab.say(SMTP_PORT, true, false, "250 2.0.0 OK"));
        assert!(lab.say(SMTP_PORT, true, true, "text") && lab.say(SMTP_PORT, true, true, "."));
        assert!(lab.say(SMTP_PORT, true, false, reply));
        lab.write();
        if syncs {
            lab.sync("mail");
        }
        !lab.say(SMTP_PORT, true, true, "QUIT")
    };
    assert!(reported("250 2.0.0 taken", false));
    assert!(!reported("250 2.0.0 taken", true) && !reported("451 not now", false));
}
