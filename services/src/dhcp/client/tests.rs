//! Transcripts of a client: frames, events and their times.

use std::net::SocketAddrV4;

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;
use crate::dhcp::frame::{CLIENT_PORT, SERVER_PORT};
use crate::dhcp::message::DhcpOption;
use crate::dhcp::testing::{self, message_in};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 51);

fn config() -> Config {
    Config { hostname: Some("pc1".to_owned()), ..Config::new(MAC) }
}

/// A client on a segment, with its clock.
struct Host {
    client: Client,
    now: Instant,
    /// What it has logged so far.
    remarks: Vec<Reason>,
    /// Why it shows that it has no lease.
    refusal: Option<Reason>,
}

impl Host {
    fn new(remembered: Option<Ipv4Addr>) -> Self {
        Self::with(config(), remembered)
    }

    fn with(config: Config, remembered: Option<Ipv4Addr>) -> Self {
        let client = Client::new(config, StdRng::seed_from_u64(7), remembered);
        Self { client, now: Instant::from_secs(1000), remarks: Vec::new(), refusal: None }
    }

    /// The next output that is no remark and no refusal.
    fn poll_output(&mut self) -> Option<Output> {
        loop {
            match self.client.poll_output() {
                Some(Output::Event(Event::Remarked(remark))) => {
                    self.remarks.push(remark.reason);
                }
                Some(Output::Event(Event::Refused(refusal))) => {
                    self.refusal = refusal.map(|refusal| refusal.reason);
                }
                output => return output,
            }
        }
    }

    /// Advances time until the client sends a frame; returns the frame and the seconds that passed.
    fn next_frame(&mut self) -> (Vec<u8>, f64) {
        let start = self.now;
        loop {
            match self.poll_output() {
                Some(Output::Transmit(frame)) => return (frame, self.now.since(start).as_secs_f64()),
                Some(Output::Event(event)) => panic!("{event:?} before the next frame"),
                None => self.wait(),
            }
        }
    }

    fn wait(&mut self) {
        self.now = self.now.max(self.client.poll_timeout().expect("a running client"));
        self.client.handle_timeout(self.now);
    }

    fn next_message(&mut self, expected: MessageType) -> Message {
        let message = message_in(&self.next_frame().0);
        assert_eq!(message.opts().msg_type(), Some(expected));
        message
    }

    /// Advances time until the client reports an event.
    fn next_event(&mut self) -> Event {
        loop {
            match self.poll_output() {
                Some(Output::Event(event)) => return event,
                Some(Output::Transmit(_)) => {}
                None => self.wait(),
            }
        }
    }

    fn hear(&mut self, message: &Message) {
        self.client.handle_frame(self.now, &frame(message));
    }

    /// From INIT to the ACK of a lease of `secs`.
    fn acknowledge(&mut self, secs: u32) {
        let discover = self.next_message(MessageType::Discover);
        self.hear(&answer(&discover, MessageType::Offer, secs));
        let request = self.next_message(MessageType::Request);
        self.hear(&answer(&request, MessageType::Ack, secs));
    }

    /// From INIT to BOUND, with a lease of `secs`.
    fn bind(&mut self, secs: u32) -> Lease {
        self.acknowledge(secs);
        match self.next_event() {
            Event::Configured(lease) => lease,
            other => panic!("{other:?}"),
        }
    }
}

fn answer(question: &Message, kind: MessageType, secs: u32) -> Message {
    let mut message = question.clone();
    message.set_opcode(Opcode::BootReply).set_yiaddr(ADDRESS);
    message.set_opts(
        [
            DhcpOption::MessageType(kind),
            DhcpOption::ServerIdentifier(SERVER),
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::Router(vec![SERVER]),
            DhcpOption::AddressLeaseTime(secs),
        ]
        .into_iter()
        .collect(),
    );
    message
}

fn with(mut message: Message, option: DhcpOption) -> Message {
    message.opts_mut().insert(option);
    message
}

fn frame(message: &Message) -> Vec<u8> {
    frame_to(message.yiaddr(), &message::encode(message))
}

/// A datagram from the server to the client at `address`.
fn frame_to(address: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let datagram = Datagram {
        source_mac: SERVER_MAC,
        destination_mac: MAC,
        source: SocketAddrV4::new(SERVER, SERVER_PORT),
        destination: SocketAddrV4::new(address, CLIENT_PORT),
        payload,
    };
    datagram.to_frame().unwrap()
}

/// RFC 2131, section 3.1: From discover to bound.
#[test]
fn rfc2131_3_1_from_discover_to_bound() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    assert_eq!((discover.ciaddr(), message::mac(&discover)), (Ipv4Addr::UNSPECIFIED, MAC));
    assert_eq!(message::text_option(&discover, OptionCode::Hostname), Some("pc1"));

    host.now = host.now + Duration::from_secs(3);
    host.hear(&answer(&discover, MessageType::Offer, 600));
    let (sent, _) = host.next_frame();
    assert_eq!(Datagram::parse(&sent).unwrap().destination_mac, MacAddr::BROADCAST);
    let request = message_in(&sent);
    assert_eq!((request.xid(), request.secs()), (discover.xid(), discover.secs()), "section 4.4.1");
    assert!(request.ciaddr().is_unspecified());
    assert_eq!(message::address_option(&request, OptionCode::RequestedIpAddress), Some(ADDRESS));
    assert_eq!(message::address_option(&request, OptionCode::ServerIdentifier), Some(SERVER));

    host.hear(&answer(&request, MessageType::Ack, 600));
    let Event::Configured(lease) = host.next_event() else { panic!("no lease") };
    assert_eq!(lease.address, "192.168.1.51/24".parse().unwrap());
    assert_eq!((lease.router, lease.server, lease.lease_secs), (Some(SERVER), SERVER, 600));
    assert_eq!(host.client.lease(), Some(&lease));
}

#[test]
fn a_real_servers_answers_are_understood() {
    let mut host = Host::new(None);
    host.wait();
    host.client.transaction.xid = testing::message_in(&testing::frame(testing::UDHCPD_OFFER)).xid();
    host.client.handle_frame(host.now, &testing::frame(testing::UDHCPD_OFFER));
    host.client.handle_frame(host.now, &testing::frame(testing::UDHCPD_ACK));
    let Event::Configured(lease) = host.next_event() else { panic!("no lease") };
    assert_eq!(lease.address, "192.168.1.51/24".parse().unwrap());
    assert_eq!((lease.router, lease.dns_servers), (Some(SERVER), vec![SERVER]));
    assert_eq!((lease.domain.as_deref(), lease.lease_secs), (Some("office.example"), 600));
}

/// RFC 2131, section 4.1: Discover backs off with jitter.
#[test]
fn rfc2131_4_1_discover_backs_off_with_jitter() {
    let mut host = Host::new(None);
    let first = host.next_message(MessageType::Discover);
    let mut pauses = Vec::new();
    for expected in [4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0] {
        let (frame, pause) = host.next_frame();
        assert!((expected - 1.0..=expected + 1.0).contains(&pause), "{pause} instead of {expected}");
        let message = message_in(&frame);
        assert_eq!(message.xid(), first.xid());
        assert_eq!(u64::from(message.secs()), host.now.since(Instant::from_secs(1000)).as_secs());
        pauses.push(pause);
    }
    assert!(pauses[4..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter");
}

/// RFC 2131, section 3.1: An unanswered request is given up.
#[test]
fn rfc2131_3_1_an_unanswered_request_is_given_up() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    host.hear(&answer(&discover, MessageType::Offer, 600));
    for _ in 0..REQUESTS_MAX {
        assert_eq!(host.next_message(MessageType::Request).xid(), discover.xid());
    }
    assert_ne!(host.next_message(MessageType::Discover).xid(), discover.xid());
}

/// RFC 2131, section 4.4.5: Renews by unicast at T1 and by broadcast at T2.
#[test]
fn rfc2131_4_4_5_renews_by_unicast_at_t1_and_by_broadcast_at_t2() {
    let mut host = Host::new(None);
    host.bind(1000);
    let (sent, secs) = host.next_frame();
    assert!((484.0..=500.0).contains(&secs), "T1 is half of the lease, or a little earlier: {secs}");
    let datagram = Datagram::parse(&sent).unwrap();
    assert_eq!(datagram.destination_mac, SERVER_MAC);
    assert_eq!((*datagram.source.ip(), *datagram.destination.ip()), (ADDRESS, SERVER));
    let renewal = message_in(&sent);
    assert_eq!(renewal.ciaddr(), ADDRESS);
    for code in [OptionCode::RequestedIpAddress, OptionCode::ServerIdentifier] {
        assert_eq!(message::address_option(&renewal, code), None);
    }

    let retries: Vec<f64> = (0..3).map(|_| host.next_frame().1).collect();
    assert!(retries.windows(2).all(|pair| pair[1] <= pair[0]) && retries[2] >= 60.0, "{retries:?}");
    let (sent, _) = host.next_frame();
    let datagram = Datagram::parse(&sent).unwrap();
    assert_eq!(datagram.destination_mac, MacAddr::BROADCAST);
    let rebinding = message_in(&sent);
    assert_eq!(rebinding.ciaddr(), ADDRESS);

    let mut another = answer(&rebinding, MessageType::Ack, 1000);
    another.set_yiaddr(Ipv4Addr::new(192, 168, 1, 52));
    host.hear(&another);
    assert_eq!(host.poll_output(), None, "not the address that is in use");
    assert_eq!(host.remarks, [Reason::OtherAddress(Ipv4Addr::new(192, 168, 1, 52), ADDRESS)]);
    let mut ack = answer(&rebinding, MessageType::Ack, 1000);
    ack.opts_mut().insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(192, 168, 1, 2)));
    host.hear(&ack);
    let Event::Configured(lease) = host.next_event() else { panic!("lost") };
    assert_eq!(lease.server, Ipv4Addr::new(192, 168, 1, 2), "another server may answer");
    assert!((484.0..=500.0).contains(&host.next_frame().1), "without a probe");
}

/// RFC 2131, section 4.4.5: The client uses the server's T1 and T2 if they are consistent with the lease.
#[test]
fn rfc2131_4_4_5_the_servers_times_are_kept_if_they_make_sense() {
    for (renew, rebind, expected) in
        [(100, 200, 100.0), (200, 100, 500.0), (0, 10, 500.0), (900, 1000, 500.0)]
    {
        let mut host = Host::new(None);
        let discover = host.next_message(MessageType::Discover);
        host.hear(&answer(&discover, MessageType::Offer, 1000));
        let ack = answer(&host.next_message(MessageType::Request), MessageType::Ack, 1000);
        host.hear(&with(with(ack, DhcpOption::Renewal(renew)), DhcpOption::Rebinding(rebind)));
        assert!(matches!(host.next_event(), Event::Configured(_)));
        let (_, secs) = host.next_frame();
        assert!((expected * 0.96..=expected).contains(&secs), "{secs} for {renew} and {rebind}");
    }
}

#[test]
fn a_renewal_without_a_mask_keeps_the_prefix() {
    let mut host = Host::new(None);
    let lease = host.bind(600);
    let request = host.next_message(MessageType::Request);
    let mut renewal = answer(&request, MessageType::Ack, 600);
    renewal.opts_mut().remove(OptionCode::SubnetMask);
    host.hear(&renewal);
    assert_eq!(host.next_event(), Event::Configured(lease.clone()));
    let State::Bound { bound } = &host.client.state else { panic!("{:?}", host.client.state) };
    assert_eq!(bound.lease.address, lease.address);
    // It is still told if the address is another one.
    let request = host.next_message(MessageType::Request);
    let mut other = answer(&request, MessageType::Ack, 600);
    other.set_yiaddr(SERVER).opts_mut().remove(OptionCode::SubnetMask);
    host.hear(&other);
    assert!(matches!(host.client.state, State::Renewing { .. }), "{:?}", host.client.state);
}

/// RFC 2131, section 4.4.5: A server may tell one of the times alone.
#[test]
fn rfc2131_4_4_5_a_server_may_tell_one_of_the_times_alone() {
    for (told, renew, rebind) in [
        (DhcpOption::Renewal(300), 300.0, 875.0),
        (DhcpOption::Rebinding(600), 500.0, 600.0),
        (DhcpOption::Renewal(900), 500.0, 875.0),
        (DhcpOption::Rebinding(400), 500.0, 875.0),
    ] {
        let (_, _, host) = leased(&|message| {
            message.opts_mut().insert(DhcpOption::AddressLeaseTime(1000));
            message.opts_mut().insert(told.clone());
        });
        let State::Bound { bound } = &host.client.state else { panic!("{:?}", host.client.state) };
        let secs = |at: Instant| at.since(Instant::from_secs(1000)).as_secs_f64();
        assert!((renew * 0.96..=renew).contains(&secs(bound.timers.renew)), "{told:?}");
        assert_eq!((secs(bound.timers.rebind), secs(bound.timers.expire)), (rebind, 1000.0), "{told:?}");
    }
}

/// RFC 2131, section 4.1: A server that refuses what it offers is asked less and less often.
#[test]
fn rfc2131_4_1_a_server_that_refuses_what_it_offers_is_asked_less_and_less_often() {
    let mut host = Host::new(None);
    for expected in [1.0_f64, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0] {
        let discover = host.next_message(MessageType::Discover);
        host.hear(&answer(&discover, MessageType::Offer, 600));
        let request = host.next_message(MessageType::Request);
        host.hear(&answer(&request, MessageType::Nak, 0));
        assert_eq!(host.poll_output(), None);
        let pause = host.client.poll_timeout().unwrap().since(host.now).as_secs_f64();
        assert!((expected - 1.0..=expected + 1.0).contains(&pause) && pause >= 1.0, "{pause}");
    }
    host.bind(600);
    let renewal = host.next_message(MessageType::Request);
    host.hear(&answer(&renewal, MessageType::Nak, 0));
    assert_eq!(host.next_event(), Event::Lost);
    assert_eq!(host.next_frame().1, NAK_DELAY.as_secs_f64(), "a lease ends the row");
}

/// RFC 2131, section 4.4: A NAK counts in each state in which there is a request, and in no other.
#[test]
fn rfc2131_4_4_a_nak_counts_in_each_state_with_a_request_and_in_no_other() {
    let nak = |host: &mut Host, edit: &dyn Fn(&mut Message)| {
        let none = Ipv4Addr::UNSPECIFIED;
        let question = Message::new_with_id(host.client.transaction.xid, none, none, none, none, &MAC.0);
        let mut nak = answer(&question, MessageType::Nak, 0);
        edit(&mut nak);
        host.hear(&nak);
        while host.poll_output().is_some() {}
        matches!(host.client.state, State::Init { .. })
    };
    let sound: &dyn Fn(&mut Message) = &|_| {};
    let elsewhere: &dyn Fn(&mut Message) =
        &|nak| _ = nak.opts_mut().insert(DhcpOption::ServerIdentifier(ADDRESS));
    let unnamed: &dyn Fn(&mut Message) = &|nak| _ = nak.opts_mut().remove(OptionCode::ServerIdentifier);

    let mut selecting = Host::new(None);
    let discover = selecting.next_message(MessageType::Discover);
    assert!(!nak(&mut selecting, sound), "there is no request");
    let requesting = || {
        let mut host = Host::new(None);
        let discover = host.next_message(MessageType::Discover);
        host.hear(&answer(&discover, MessageType::Offer, 600));
        host.next_message(MessageType::Request);
        host
    };
    selecting.hear(&answer(&discover, MessageType::Offer, 600));
    assert!(!nak(&mut requesting(), elsewhere), "another server was not asked");
    assert!(nak(&mut requesting(), sound) && nak(&mut requesting(), unnamed));
    let mut rebooting = Host::new(Some(ADDRESS));
    rebooting.next_message(MessageType::Request);
    assert!(nak(&mut rebooting, elsewhere), "all servers were asked");
    let mut bound = Host::new(None);
    bound.bind(600);
    assert!(!nak(&mut bound, sound), "it is answered");
    let renewing = || {
        let mut host = Host::new(None);
        host.bind(600);
        host.next_message(MessageType::Request);
        host
    };
    assert!(nak(&mut renewing(), sound));
    let mut rebinding = renewing();
    while !matches!(rebinding.client.state, State::Rebinding { .. }) {
        rebinding.next_message(MessageType::Request);
    }
    assert!(nak(&mut rebinding, elsewhere));
}

/// RFC 2131, section 4.4.5: An expired lease is given up, and the client starts anew.
#[test]
fn rfc2131_4_4_5_an_expired_lease_is_lost_and_asked_for_again() {
    let mut host = Host::new(None);
    host.bind(600);
    let bound = host.now;
    assert_eq!(host.next_event(), Event::Lost);
    assert!((599.0..=600.0).contains(&host.now.since(bound).as_secs_f64()));
    assert_eq!(host.client.lease(), None);
    let discover = host.next_message(MessageType::Discover);
    assert_eq!(message::address_option(&discover, OptionCode::RequestedIpAddress), Some(ADDRESS));
}

#[test]
fn a_client_that_slept_past_the_end_does_not_use_the_lease() {
    let mut host = Host::new(None);
    host.bind(600);
    host.now = host.now + Duration::from_secs(10_000);
    host.client.handle_timeout(host.now);
    assert_eq!(host.client.poll_output(), Some(Output::Event(Event::Lost)));
    host.next_message(MessageType::Discover);
}

/// RFC 2131, section 3.3: An infinite lease is never renewed.
#[test]
fn rfc2131_3_3_an_infinite_lease_is_never_renewed() {
    let mut host = Host::new(None);
    host.bind(u32::MAX);
    assert_eq!(host.client.poll_timeout(), Some(Instant::FAR_FUTURE));
}

/// RFC 2131, section 4.4: A refused renewal starts over.
#[test]
fn rfc2131_4_4_a_refused_renewal_starts_over() {
    let mut host = Host::new(None);
    host.bind(600);
    let renewal = host.next_message(MessageType::Request);
    let nak = answer(&renewal, MessageType::Nak, 0);
    host.hear(&with(nak, DhcpOption::Message("moved".to_owned())));
    assert_eq!(host.next_event(), Event::Lost);
    let (frame, pause) = host.next_frame();
    assert_eq!(host.remarks, [Reason::Nak(Some("moved".to_owned()))]);
    assert_eq!(pause, NAK_DELAY.as_secs_f64());
    assert_eq!(message::address_option(&message_in(&frame), OptionCode::RequestedIpAddress), None);
}

/// RFC 2131, section 4.3.2: A remembered address is verified.
#[test]
fn rfc2131_4_3_2_a_remembered_address_is_verified() {
    let mut host = Host::new(Some(ADDRESS));
    let request = host.next_message(MessageType::Request);
    assert_eq!(message::address_option(&request, OptionCode::RequestedIpAddress), Some(ADDRESS));
    assert_eq!(message::address_option(&request, OptionCode::ServerIdentifier), None);
    assert!(request.ciaddr().is_unspecified());
    host.hear(&answer(&request, MessageType::Ack, 600));
    assert!(matches!(host.next_event(), Event::Configured(_)));

    let mut refused = Host::new(Some(ADDRESS));
    let request = refused.next_message(MessageType::Request);
    refused.hear(&answer(&request, MessageType::Nak, 0));
    refused.next_message(MessageType::Discover);

    let mut unanswered = Host::new(Some(ADDRESS));
    let secs: Vec<_> =
        (0..REBOOT_REQUESTS_MAX).map(|_| unanswered.next_message(MessageType::Request).secs()).collect();
    let discover = unanswered.next_message(MessageType::Discover);
    assert!(secs[0] == 0 && secs[0] < secs[1] && secs[1] < discover.secs(), "{secs:?}");
    assert_eq!(message::address_option(&discover, OptionCode::RequestedIpAddress), Some(ADDRESS));
}

/// RFC 5227, section 2.1: An address that is in use is declined.
#[test]
fn rfc5227_2_1_an_address_that_is_in_use_is_declined() {
    let stranger = MacAddr([2, 0, 0, 0, 0, 0xcc]);
    let claim = |host: &mut Host| {
        let discover = host.next_message(MessageType::Discover);
        host.hear(&answer(&discover, MessageType::Offer, 600));
        let request = host.next_message(MessageType::Request);
        host.hear(&answer(&request, MessageType::Ack, 600));
        let probe = Arp::parse(&host.next_frame().0).expect("an ARP probe");
        assert_eq!((probe.sender, probe.target), (Ipv4Addr::UNSPECIFIED, ADDRESS));
    };
    let mut host = Host::new(None);
    claim(&mut host);
    host.client.handle_frame(host.now, &Arp::probe_frame(MAC, ADDRESS));
    host.client.handle_frame(host.now, &Arp::probe_frame(stranger, SERVER));
    let (second, pause) = host.next_frame();
    assert!(Arp::parse(&second).is_some() && pause == PROBE_INTERVAL.as_secs_f64());

    host.client.handle_frame(host.now, &Arp::probe_frame(stranger, ADDRESS));
    let decline = host.next_message(MessageType::Decline);
    assert_eq!(host.remarks, [Reason::InUse(ADDRESS, stranger)]);
    assert_eq!(message::address_option(&decline, OptionCode::RequestedIpAddress), Some(ADDRESS));
    assert_eq!(message::address_option(&decline, OptionCode::ServerIdentifier), Some(SERVER));
    let (frame, pause) = host.next_frame();
    assert_eq!(message_in(&frame).opts().msg_type(), Some(MessageType::Discover));
    assert_eq!(pause, DECLINE_DELAY.as_secs_f64());

    let mut reply = Arp::probe_frame(stranger, SERVER);
    reply[21] = 2;
    reply[28..32].copy_from_slice(&ADDRESS.octets());
    let mut host = Host::new(None);
    claim(&mut host);
    host.client.handle_frame(host.now, &reply);
    host.next_message(MessageType::Decline);
}

/// RFC 2131, section 4.4.6: A lease is given back by unicast.
#[test]
fn rfc2131_4_4_6_a_lease_is_given_back_by_unicast() {
    let mut host = Host::new(None);
    host.bind(600);
    host.client.release();
    let Some(Output::Transmit(frame)) = host.client.poll_output() else { panic!("no RELEASE") };
    assert_eq!(Datagram::parse(&frame).unwrap().destination_mac, SERVER_MAC);
    let release = message_in(&frame);
    assert_eq!(release.opts().msg_type(), Some(MessageType::Release));
    assert_eq!(release.ciaddr(), ADDRESS);
    assert_eq!(host.client.poll_output(), Some(Output::Event(Event::Lost)));
    assert_eq!((host.client.poll_timeout(), host.client.poll_output()), (None, None));

    // Also while the client still probes the address that the server has acknowledged.
    let mut host = Host::new(None);
    host.acknowledge(600);
    host.client.release();
    let released = std::iter::from_fn(|| host.client.poll_output()).find_map(|output| match output {
        Output::Transmit(frame) => Datagram::parse(&frame).map(|_| message_in(&frame)),
        Output::Event(event) => panic!("it was not in use: {event:?}"),
    });
    assert_eq!(released.expect("a RELEASE").opts().msg_type(), Some(MessageType::Release));
}

#[test]
fn answers_to_others_are_ignored() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    let offer = answer(&discover, MessageType::Offer, 600);
    let edit = |edit: &dyn Fn(&mut Message)| {
        let mut message = offer.clone();
        edit(&mut message);
        message
    };
    for ignored in [
        edit(&|m| _ = m.set_xid(m.xid().wrapping_add(1))),
        edit(&|m| _ = m.set_chaddr(&SERVER_MAC.0)),
        edit(&|m| _ = m.set_opcode(Opcode::BootRequest)),
    ] {
        host.hear(&ignored);
        assert_eq!(host.client.poll_output(), None, "{ignored:?}");
    }
}

#[test]
fn an_offer_that_cannot_be_is_refused_with_the_reason() {
    let mut host =
        Host::with(Config { taken: Taken::new(vec!["10.0.0.0/24".parse().unwrap()]), ..config() }, None);
    let discover = host.next_message(MessageType::Discover);
    let offer = answer(&discover, MessageType::Offer, 600);
    let of = |address: [u8; 4], prefix_len| {
        let mut message = offer.clone();
        let net = Ipv4Net::new_assert(address.into(), prefix_len);
        message.set_yiaddr(net.addr()).opts_mut().insert(DhcpOption::SubnetMask(net.netmask()));
        (message, net)
    };
    let mut unnamed = offer.clone();
    unnamed.opts_mut().remove(OptionCode::ServerIdentifier);
    let holes = Ipv4Addr::new(255, 0, 255, 0);
    let lan: Ipv4Net = "10.0.0.0/24".parse().unwrap();
    let mut refusals = vec![
        (unnamed, Reason::NoServer),
        (with(offer.clone(), DhcpOption::ServerIdentifier(Ipv4Addr::BROADCAST)), Reason::NoServer),
        (with(offer.clone(), DhcpOption::SubnetMask(holes)), Reason::BadMask(holes)),
        (with(offer.clone(), DhcpOption::AddressLeaseTime(0)), Reason::NoTime),
    ];
    for (address, prefix_len) in [
        ([0; 4], 24),
        ([192, 168, 1, 255], 24),
        ([192, 168, 1, 0], 24),
        ([127, 0, 0, 1], 8),
        ([224, 0, 0, 9], 24),
    ] {
        let (message, net) = of(address, prefix_len);
        refusals.push((message, Reason::NoHost(net)));
    }
    for (address, prefix_len) in [([10, 0, 0, 77], 24), ([10, 0, 7, 1], 8)] {
        let (message, net) = of(address, prefix_len);
        refusals.push((message, Reason::Overlaps(net, lan)));
    }
    let router = Ipv4Addr::new(10, 0, 0, 254);
    let inside = Reason::Overlaps(Ipv4Net::new_assert(router, 32), lan);
    refusals.push((with(of([203, 0, 113, 9], 32).0, DhcpOption::Router(vec![router])), inside));
    for (refused, reason) in refusals {
        (host.client.log, host.client.refusal) = (ReasonLimits::default(), None);
        host.hear(&refused);
        let shown = host.client.poll_output();
        let Some(Output::Event(Event::Remarked(remark))) = host.client.poll_output() else {
            panic!("{reason:?} is not logged")
        };
        assert!(remark.reason == reason && reason.is_refusal(), "{remark:?} instead of {reason:?}");
        assert_eq!(shown, Some(Output::Event(Event::Refused(Some(remark.clone())))));
        assert!(remark.server == SERVER || reason == Reason::NoServer, "{remark:?}");
        assert_eq!(host.client.poll_output(), None);
    }
    host.hear(&offer);
    host.next_message(MessageType::Request);
}

#[test]
fn an_acknowledgement_of_another_server_or_address_is_refused() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    host.hear(&answer(&discover, MessageType::Offer, 600));
    let request = host.next_message(MessageType::Request);
    let other_server = with(answer(&request, MessageType::Ack, 600), DhcpOption::ServerIdentifier(ADDRESS));
    host.hear(&other_server);
    assert_eq!(host.client.poll_output(), None);
    let other = Ipv4Addr::new(192, 168, 1, 52);
    let mut other_address = answer(&request, MessageType::Ack, 600);
    other_address.set_yiaddr(other);
    host.hear(&other_address);
    assert_eq!((host.poll_output(), &host.remarks[..]), (None, &[Reason::OtherAddress(other, ADDRESS)][..]));
}

#[test]
fn a_refusal_is_shown_while_it_is_true_whatever_is_logged() {
    let mut host = Host::new(None);
    let holes = Ipv4Addr::new(255, 0, 255, 0);
    let show = |host: &mut Host, message: &Message| {
        host.hear(message);
        assert_eq!(host.poll_output(), None);
        host.refusal.clone()
    };
    let discover = host.next_message(MessageType::Discover);
    let untimed = answer(&discover, MessageType::Offer, 0);
    let masked = with(untimed.clone(), DhcpOption::SubnetMask(holes));
    assert_eq!(show(&mut host, &untimed), Some(Reason::NoTime));
    assert_eq!(show(&mut host, &masked), Some(Reason::BadMask(holes)));
    assert_eq!(show(&mut host, &untimed), Some(Reason::NoTime), "the log had it before");
    assert_eq!(host.remarks, [Reason::NoTime, Reason::BadMask(holes)]);
    // The next DISCOVER may be answered otherwise, and is not answered at all.
    host.next_message(MessageType::Discover);
    assert_eq!(host.refusal, Some(Reason::NoTime));
    host.next_message(MessageType::Discover);
    assert_eq!(host.refusal, None, "nobody refuses any more");

    assert_eq!(show(&mut host, &untimed), Some(Reason::NoTime));
    host.hear(&answer(&discover, MessageType::Offer, 600));
    let request = host.next_message(MessageType::Request);
    host.hear(&answer(&request, MessageType::Ack, 600));
    assert!(matches!(host.next_event(), Event::Configured(_)));
    assert_eq!(host.refusal, None, "there is a lease");
    for logged in [1, 0] {
        let renewal = host.next_message(MessageType::Request);
        assert_eq!(show(&mut host, &answer(&renewal, MessageType::Ack, 0)), None, "the lease lasts");
        let known = host.remarks.len();
        host.hear(&answer(&renewal, MessageType::Nak, 0));
        assert_eq!((host.next_event(), host.poll_output()), (Event::Lost, None));
        assert_eq!(host.refusal, Some(Reason::Nak(None)), "of the lease that is lost");
        assert_eq!(host.remarks.len() - known, logged);
        host.bind(600);
        assert_eq!(host.refusal, None);
    }
}

#[test]
fn a_reason_is_logged_once_in_an_interval() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    let refused = |secs| answer(&discover, MessageType::Offer, secs);
    let holes = DhcpOption::SubnetMask(Ipv4Addr::new(255, 0, 255, 0));
    for message in [refused(0), refused(0), with(refused(0), holes), refused(0)] {
        host.hear(&message);
    }
    assert_eq!(host.poll_output(), None);
    let holes = Reason::BadMask(Ipv4Addr::new(255, 0, 255, 0));
    assert_eq!(host.remarks, [Reason::NoTime, holes]);
    host.now = host.now + remark::REMARK_INTERVAL;
    host.hear(&refused(0));
    assert_eq!((host.poll_output(), host.remarks.len()), (None, 3));
}

#[test]
fn an_answer_that_cannot_be_read_is_told_if_it_is_to_this_client() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    let hear = |host: &mut Host, xid: u32| {
        let mut payload = message::encode(&answer(&discover, MessageType::Offer, 600));
        payload[236..240].fill(0);
        payload[4..8].copy_from_slice(&xid.to_be_bytes());
        host.client.handle_frame(host.now, &frame_to(ADDRESS, &payload));
        assert_eq!(host.poll_output(), None);
    };
    hear(&mut host, discover.xid().wrapping_add(1));
    assert_eq!(host.remarks, []);
    hear(&mut host, discover.xid());
    assert_eq!(host.remarks, [Reason::Malformed(message::Malformed::NoCookie)]);
}

/// The lease that a client takes from a server whose messages `edit` has changed, and the client's remarks.
fn leased(edit: &dyn Fn(&mut Message)) -> (Lease, Vec<Reason>, Host) {
    let mut host = Host::new(None);
    let edited = |question: &Message, kind| {
        let mut message = answer(question, kind, 600);
        edit(&mut message);
        message
    };
    let discover = host.next_message(MessageType::Discover);
    host.hear(&edited(&discover, MessageType::Offer));
    let request = host.next_message(MessageType::Request);
    host.hear(&edited(&request, MessageType::Ack));
    let Event::Configured(lease) = host.next_event() else { panic!("no lease") };
    let remarks = std::mem::take(&mut host.remarks);
    (lease, remarks, host)
}

#[test]
fn a_lease_without_a_time_lasts_an_hour() {
    let (lease, remarks, mut host) = leased(&|m| _ = m.opts_mut().remove(OptionCode::AddressLeaseTime));
    assert_eq!((lease.lease_secs, remarks), (3600, vec![Reason::TimeAssumed(3600)]));
    let (sent, secs) = host.next_frame();
    assert!((1740.0..=1800.0).contains(&secs), "T1 is half of it: {secs}");
    let mut renewed = answer(&message_in(&sent), MessageType::Ack, 600);
    renewed.opts_mut().remove(OptionCode::AddressLeaseTime);
    host.hear(&renewed);
    assert_eq!(host.poll_output(), Some(Output::Event(Event::Configured(lease))));
    assert_eq!(host.remarks, [], "a renewal tells nothing again");
}

#[test]
fn without_a_mask_all_goes_by_the_router_or_else_the_class_counts() {
    let (lease, remarks, _) = leased(&|m| _ = m.opts_mut().remove(OptionCode::SubnetMask));
    let alone: Ipv4Net = "192.168.1.51/32".parse().unwrap();
    assert_eq!(
        (lease.address, lease.router, remarks),
        (alone, Some(SERVER), vec![Reason::MaskAssumed(alone)])
    );
    for (address, prefix_len) in [([10, 1, 2, 3], 8), ([172, 16, 1, 2], 16), ([203, 0, 113, 9], 24)] {
        let (lease, remarks, _) = leased(&|message| {
            message.set_yiaddr(Ipv4Addr::from(address));
            message.opts_mut().remove(OptionCode::SubnetMask);
            message.opts_mut().remove(OptionCode::Router);
        });
        let expected = Ipv4Net::new_assert(address.into(), prefix_len);
        assert_eq!((lease.address, lease.router), (expected, None));
        assert_eq!(remarks, [Reason::MaskAssumed(expected)]);
    }
}

#[test]
fn a_router_outside_of_the_prefix_is_taken() {
    let router = Ipv4Addr::new(100, 64, 0, 1);
    for mask in [Ipv4Addr::BROADCAST, Ipv4Addr::new(255, 255, 255, 248)] {
        let (lease, remarks, _) = leased(&|message| {
            message.opts_mut().insert(DhcpOption::SubnetMask(mask));
            message.opts_mut().insert(DhcpOption::Router(vec![router]));
        });
        assert_eq!((lease.address.addr(), lease.address.netmask()), (ADDRESS, mask));
        assert_eq!((lease.router, remarks), (Some(router), vec![]));
    }
}

#[test]
fn a_provider_is_told_what_it_knows_the_customer_by() {
    let config = Config {
        client_id: Some(b"customer@isp|secret".to_vec()),
        vendor_class: Some("sagem".to_owned()),
        request_options: vec![125, 3, 90],
        ..config()
    };
    let mut host = Host::with(config, None);
    let discover = host.next_message(MessageType::Discover);
    host.hear(&answer(&discover, MessageType::Offer, 600));
    let request = host.next_message(MessageType::Request);
    for message in [&discover, &request] {
        assert_eq!(message::client_id(message), Some(&b"customer@isp|secret"[..]));
        assert_eq!(message::raw_option(message, OptionCode::ClassIdentifier), Some(&b"sagem"[..]));
        let Some(DhcpOption::ParameterRequestList(list)) =
            message.opts().get(OptionCode::ParameterRequestList)
        else {
            panic!("no parameter request list")
        };
        let codes: Vec<u8> = list.iter().map(|code| u8::from(*code)).collect();
        assert_eq!(codes, [1, 121, 3, 6, 15, 26, 249, 125, 90]);
    }
}

/// RFC 3442: Classless routes are requested before the router, and used.
#[test]
fn rfc3442_classless_routes_are_requested_before_the_router_and_used() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    let Some(DhcpOption::ParameterRequestList(list)) = discover.opts().get(OptionCode::ParameterRequestList)
    else {
        panic!("no parameter request list")
    };
    let place = |code| list.iter().position(|listed| *listed == code).unwrap();
    assert!(place(OptionCode::ClasslessStaticRoute) < place(OptionCode::Router));
    let (lease, remarks, _) = leased(&|message| {
        let routes = vec![0, 192, 168, 1, 9, 8, 10, 192, 168, 1, 8];
        message.opts_mut().insert(message::raw(OptionCode::ClasslessStaticRoute, routes));
    });
    let route = Route { to: "10.0.0.0/8".parse().unwrap(), router: Some(Ipv4Addr::new(192, 168, 1, 8)) };
    assert_eq!((lease.router, lease.routes), (Some(Ipv4Addr::new(192, 168, 1, 9)), vec![route]));
    assert_eq!(remarks, []);
}

#[test]
fn parameters_that_cannot_be_are_left_out() {
    let mut host = Host::new(None);
    let discover = host.next_message(MessageType::Discover);
    host.hear(&answer(&discover, MessageType::Offer, 600));
    let request = host.next_message(MessageType::Request);
    let mut ack = answer(&request, MessageType::Ack, 600);
    let elsewhere = Ipv4Addr::new(10, 0, 0, 1);
    let five: Vec<_> = (50..55).map(|number| Ipv4Addr::new(192, 0, 2, number)).collect();
    let servers = [&[Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST][..], &five].concat();
    for option in [
        DhcpOption::Router(vec![elsewhere, ADDRESS, SERVER]),
        DhcpOption::DomainNameServer(servers),
        DhcpOption::DomainName("bad name\n.example".to_owned()),
        DhcpOption::InterfaceMtu(575),
    ] {
        ack.opts_mut().insert(option);
    }
    host.hear(&ack);
    let Event::Configured(lease) = host.next_event() else { panic!("no lease") };
    assert_eq!((lease.router, lease.domain, lease.mtu), (Some(SERVER), None, None));
    assert_eq!(lease.dns_servers, five[..DNS_SERVERS_MAX]);
}

proptest! {
    #[test]
    fn no_answer_breaks_a_client(
        kind in 1u8..9,
        options in prop::collection::vec(any::<u8>(), 0..300),
        yiaddr in any::<[u8; 4]>(),
        steps in 0usize..6,
    ) {
        let mut host = Host::new(None);
        if steps > 1 {
            host.bind(600);
        }
        for _ in 0..steps {
            host.wait();
            while host.client.poll_output().is_some() {}
        }
        let none = Ipv4Addr::UNSPECIFIED;
        let xid = host.client.transaction.xid;
        let mut message = Message::new_with_id(xid, none, yiaddr.into(), none, none, &MAC.0);
        message.set_opcode(Opcode::BootReply).opts_mut().insert(DhcpOption::MessageType(kind.into()));
        let mut payload = message::encode(&message);
        let end = payload.iter().rposition(|byte| *byte == 255).unwrap();
        payload.splice(end..=end, options);
        host.client.handle_frame(host.now, &frame_to(ADDRESS, &payload));
        for _ in 0..20 {
            host.wait();
            while host.client.poll_output().is_some() {}
        }
    }
}
