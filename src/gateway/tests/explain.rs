//! Explanations by whole gateways: random packets are explained, then sent, and do what was explained.

use gatepost_ground::wire::{Protocol, arp, ethernet};
use rand::RngExt;

use super::super::explain::HANDOFF_STAGES_MAX;
use super::super::probe;
use super::*;
use crate::control::explain::{Asked, Explained, Transport, Unexplained};
use crate::control::mail::Undone;

const WAN: &str = "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.254'\n";
const FORWARDS: &str = "
[[firewall.forwards]]
wan_port = '8000-8003'
to = '192.168.1.20:80'
from = ['198.51.100.0/25']

[[firewall.forwards]]
protocol = 'udp'
wan_port = '8002'
to = '192.168.1.21:53'
";

/// The explanation, while the workers turn.
async fn explain(office: &mut Office, asked: Asked) -> Result<Explained, Unexplained> {
    explain_within(office, asked, HANDOFF_STAGES_MAX).await
}

/// The explanation of a packet that is decided on after at most `stages_max` stages of its handoff.
async fn explain_within(
    office: &mut Office,
    asked: Asked,
    stages_max: usize,
) -> Result<Explained, Unexplained> {
    let inspector = office.inspector.clone();
    let explained = spawn_local(async move { inspector.explain_within(&asked, stages_max).await });
    // Each worker that the packet goes through is asked after the one before it.
    while !explained.is_finished() {
        office.pass(Duration::from_millis(1)).await;
    }
    explained.await.expect("no panic")
}

fn asked(protocol: Transport, from: SocketAddrV4, to: SocketAddrV4) -> Asked {
    let is_ping = protocol == Transport::Icmp;
    Asked {
        from: *from.ip(),
        from_port: Some(from.port()),
        to: to.ip().to_string(),
        to_port: Some(to.port()).filter(|_| !is_ping),
        protocol,
    }
}

/// A random packet: from the LAN, the internet or a neighbour on the WAN to whatever there is.
fn draw(rng: &mut StdRng) -> (Transport, SocketAddrV4, SocketAddrV4) {
    let hosts = [
        Ipv4Addr::new(192, 168, 1, 10),
        Ipv4Addr::new(192, 168, 1, 20),
        Ipv4Addr::new(198, 51, 100, 7),
        Ipv4Addr::new(198, 51, 100, 200),
        Ipv4Addr::new(203, 0, 113, 99),
    ];
    let gateways = [Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(203, 0, 113, 10)];
    let special = [Ipv4Addr::new(192, 168, 1, 255), Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::new(0, 1, 2, 3)];
    let from = hosts[rng.random_range(0..hosts.len())];
    let all = [&hosts[..], &gateways, &gateways, &special].concat();
    let to = all[rng.random_range(0..all.len())];
    let ports = [22, 53, 80, 5060, 8000, 8001, 8002, 8003, 8004];
    let protocol = [Transport::Tcp, Transport::Udp, Transport::Icmp][rng.random_range(0..3)];
    let mut port = || ports[rng.random_range(0..ports.len())];
    let from_port = 50_000 + port();
    (protocol, SocketAddrV4::new(from, from_port), SocketAddrV4::new(to, port()))
}

/// The counters of one verdict and of one drop reason.
async fn counted(office: &mut Office, verdict: &str, reason: Option<&str>) -> (u64, u64) {
    let counters = office.report(What::Counters).await;
    let drops = office.report(What::Drops).await;
    let of = |reason: &str| {
        let mut drops = drops["drops"].as_array().expect("a list").iter();
        drops
            .find(|drop| drop["reason"] == reason)
            .map_or(0, |drop| drop["count"].as_u64().expect("a number"))
    };
    // A frame that is no longer held, as the neighbour has not answered, was held.
    let expired = if verdict == "held" { of("neighbor-unreachable") } else { 0 };
    (counters[verdict].as_u64().expect("a number") + expired, reason.map_or(0, of))
}

#[test]
fn random_packets_do_what_was_explained() {
    for (seed, mode) in [(1, "nat-dmz"), (2, "nat"), (3, "router")] {
        for workers in [1, 3] {
            let settings = format!("{WAN}system.workers = {workers}\nnetwork.mode = '{mode}'\n{FORWARDS}");
            simulate(async move { agree(seed, &settings).await });
        }
    }
}

async fn agree(seed: u64, settings: &str) {
    let (mut office, _services) = Office::new(settings);
    let mut rng = StdRng::seed_from_u64(seed);
    let (lan, wan) = {
        let plan = office.inspector.plan.load();
        (plan.interface(Config::LAN).mac(), plan.interface(Config::WAN).mac())
    };
    let router = Ipv4Addr::new(203, 0, 113, 254);
    let greeting = arp::Packet::request(PROVIDER_MAC, router, Ipv4Addr::new(203, 0, 113, 10));
    office.wan.send(&greeting.to_frame(MacAddr::BROADCAST));
    office.pass(Duration::from_millis(2)).await;
    let mut verdicts = std::collections::BTreeSet::new();
    for _ in 0..80 {
        let (protocol, from, to) = draw(&mut rng);
        let explained = explain(&mut office, asked(protocol, from, to)).await.expect("it is explained");
        let flows = office.report(What::Flows).await["total"].clone();
        let reason = explained.reason.as_deref();
        let verdict = if explained.passes { &explained.verdict[..] } else { "dropped" };
        let before = counted(&mut office, verdict, reason).await;

        let is_inside = from.ip().octets()[0] == 192;
        let (cable, receiver, sender) =
            if is_inside { (&office.lan, lan, HOST_MAC) } else { (&office.wan, wan, PROVIDER_MAC) };
        let ether_type = ethernet::EtherType::IPV4;
        let link = ethernet::Header { destination: receiver, source: sender, ether_type };
        let number = match protocol {
            Transport::Tcp => Protocol::TCP,
            Transport::Udp => Protocol::UDP,
            Transport::Icmp => Protocol::ICMP,
        };
        let to = if protocol == Transport::Icmp { SocketAddrV4::new(*to.ip(), 0) } else { to };
        cable.send(&probe::frame(link, number, [from, to]).expect("a packet"));
        office.pass(Duration::from_millis(2)).await;

        let after = counted(&mut office, verdict, reason).await;
        assert!(after.0 > before.0, "{explained} was not {verdict}");
        assert!(after.1 > before.1 || reason.is_none(), "{explained}");
        let opens = explained.stages.iter().filter(|stage| stage.details.get("state") == Some(&"new".into()));
        let flows_now = office.report(What::Flows).await["total"].as_u64();
        let expected = flows.as_u64().map(|flows| flows + opens.count() as u64);
        assert_eq!(flows_now, expected, "{explained}");
        verdicts.insert(explained.verdict);
    }
    assert!(verdicts.len() >= 3, "{verdicts:?}");
}

#[test]
fn the_way_between_workers_is_told_and_a_rule_has_its_line() {
    simulate(async {
        let (mut office, _services) = Office::new(&format!("{WAN}system.workers = 3\n{FORWARDS}"));
        let to = |port| SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port);
        let from = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 50_000);
        let mut handed_over = 0;
        for port in 8000..8004 {
            let explained = explain(&mut office, asked(Transport::Tcp, from, to(port))).await.expect("it is");
            let stages = explained.stages.iter();
            handed_over += stages.clone().filter(|stage| stage.stage == "worker").count();
            let rule = stages.clone().find(|stage| stage.stage == "rule").expect("a forward");
            assert_eq!(rule.details["place"], "test:6", "{explained}");
        }
        assert!(handed_over > 0, "no port is another worker's");
        let stranger = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 200), 50_000);
        let denied = explain(&mut office, asked(Transport::Tcp, stranger, to(8000))).await.expect("it is");
        assert_eq!(denied.reason.as_deref(), Some("forward-source-denied"));
    });
}

#[test]
fn what_the_workers_do_not_agree_on_is_not_reported_as_dropped() {
    simulate(async {
        let (mut office, _services) = Office::new(&format!("{WAN}system.workers = 3\n{FORWARDS}"));
        let from = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 50_000);
        let mut undecided = 0;
        for port in 8000..8004 {
            let to = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port);
            let within = explain_within(&mut office, asked(Transport::Tcp, from, to), 1).await;
            let whole = explain(&mut office, asked(Transport::Tcp, from, to)).await.expect("it is decided");
            if whole.stages.iter().any(|stage| stage.stage == "worker") {
                let (why, remedy) = ("the workers disagree".to_owned(), "ask again".to_owned());
                assert_eq!(within, Err(Unexplained::Unanswered(Undone { why, remedy })));
                undecided += 1;
            } else {
                assert_eq!(within, Ok(whole));
            }
        }
        assert!(undecided > 0, "no port is another worker's");
    });
}

#[test]
fn the_gateway_routes_between_the_former_network_and_the_new_one() {
    simulate(async {
        let former: ipnet::Ipv4Net = "192.168.1.1/24".parse().expect("a network");
        let (mut office, services) = Office::new(&format!("{WAN}lan.address = '10.0.0.1/24'"));
        let config = office.inspector.config().as_ref().clone().until_confirmed(former);
        let reloader = services.reloader();
        spawn_local(services.run(|| (), std::future::pending()));
        let reload = spawn_local(async move { reloader.reload(config).await });
        office.pass(Duration::from_millis(10)).await;
        reload.await.expect("no panic").expect("it is taken");
        let (old, new, mate) =
            (Ipv4Addr::new(192, 168, 1, 20), Ipv4Addr::new(10, 0, 0, 20), Ipv4Addr::new(10, 0, 0, 21));
        for (address, own) in
            [(old, former.addr()), (new, Ipv4Addr::new(10, 0, 0, 1)), (mate, Ipv4Addr::new(10, 0, 0, 1))]
        {
            let mac = MacAddr([2, 0, 0, 0, 1, address.octets()[3] ^ address.octets()[0]]);
            office.lan.send(&arp::Packet::request(mac, address, own).to_frame(MacAddr::BROADCAST));
        }
        office.pass(Duration::from_millis(2)).await;
        for (from, is_routed) in [(old, true), (mate, false)] {
            let ends = [from, new].map(|address| SocketAddrV4::new(address, 80));
            let explained =
                explain(&mut office, asked(Transport::Udp, ends[0], ends[1])).await.expect("it is");
            let routes = explained.stages.iter().filter(|stage| stage.stage == "route").count();
            assert_eq!(routes > 0, is_routed, "{explained}");
        }
    });
}

#[test]
fn drops_are_told_once_and_in_the_order_of_time() {
    simulate(async {
        let (mut office, _services) = Office::new(&format!("{WAN}system.workers = 3\n{FORWARDS}"));
        let wan = office.inspector.plan.load().interface(Config::WAN).mac();
        let inspector = office.inspector.clone();
        let begin = spawn_local(async move { inspector.drops_end().await });
        office.pass(Duration::from_millis(2)).await;
        let mut cursor = begin.await.expect("no panic").expect("they answer");
        let to = Ipv4Addr::new(203, 0, 113, 10);
        for port in [30, 32, 34, 36] {
            let link = ethernet::Header {
                destination: wan,
                source: PROVIDER_MAC,
                ether_type: ethernet::EtherType::IPV4,
            };
            let ends = [SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 7), SocketAddrV4::new(to, port)];
            office.wan.send(&probe::frame(link, Protocol::TCP, ends).expect("a packet"));
            office.pass(Duration::from_millis(2)).await;
        }
        for expected in [vec!["30", "32", "34", "36"], vec![]] {
            let inspector = office.inspector.clone();
            let asked = spawn_local(async move {
                let new = inspector.new_drops(&mut cursor).await;
                (new.expect("they answer"), cursor)
            });
            office.pass(Duration::from_millis(2)).await;
            let (new, next) = asked.await.expect("no panic");
            cursor = next;
            let ports = new.drops.iter().filter_map(|drop| drop.destination.as_deref()?.rsplit(':').next());
            assert_eq!((ports.collect::<Vec<_>>(), new.missed), (expected, 0));
        }
    });
}
