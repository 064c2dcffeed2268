//! Those who watch a whole gateway.

use gatepost_ground::wire::{Protocol, arp, ethernet};

use super::super::events::Watching;
use super::super::probe;
use super::*;
use crate::control::follow::{Event, Watched};

const WAN: &str = "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.254'\n";

async fn watch(office: &mut Office, what: Watched) -> Watching {
    let inspector = office.inspector.clone();
    let begun = spawn_local(async move { inspector.watch(what).await });
    office.pass(Duration::from_millis(2)).await;
    begun.await.expect("no panic").expect("they answer")
}

/// The new events, and the place after them.
async fn told(office: &mut Office, mut watching: Watching) -> (Vec<Event>, Watching) {
    let inspector = office.inspector.clone();
    let asked = spawn_local(async move { (inspector.new_events(&mut watching).await, watching) });
    office.pass(Duration::from_millis(2)).await;
    let (events, watching) = asked.await.expect("no panic");
    (events.expect("they answer"), watching)
}

#[test]
fn flows_are_told_with_both_ends_and_once() {
    simulate(async {
        let (mut office, _services) = Office::new(&format!("{WAN}system.workers = 3"));
        let (router, own) = (Ipv4Addr::new(203, 0, 113, 254), Ipv4Addr::new(203, 0, 113, 10));
        office.wan.send(&arp::Packet::request(PROVIDER_MAC, router, own).to_frame(MacAddr::BROADCAST));
        office.pass(Duration::from_millis(2)).await;
        let watching = watch(&mut office, Watched::Flows).await;
        let destination = office.inspector.plan.load().interface(Config::LAN).mac();
        let send = |office: &Office, port| {
            let ether_type = ethernet::EtherType::IPV4;
            let link = ethernet::Header { destination, source: HOST_MAC, ether_type };
            let ends = [
                SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 20), port),
                SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 53),
            ];
            office.lan.send(&probe::frame(link, Protocol::UDP, ends).expect("a packet"));
        };
        send(&office, 5000);
        office.pass(Duration::from_millis(2)).await;
        let (events, watching) = told(&mut office, watching).await;
        let [Event::Flow(opened)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&opened.event.event[..], &opened.event.client[..]), ("opened", "192.168.1.20:5000"));
        assert_eq!(opened.event.client_seen_as, "203.0.113.10:5000");
        // The clock here tells whole seconds.
        assert!(opened.at_ms.abs_diff(1_700_000_000_000) < 1_000, "{opened:?}");
        let (events, _) = told(&mut office, watching).await;
        assert!(events.is_empty(), "{events:?}");
    });
}

#[test]
fn dhcp_is_told_from_the_discover_to_the_ack() {
    simulate(async {
        let mut office = Office::running("");
        let watching = watch(&mut office, Watched::DhcpMessages).await;
        office.plug_in_host("alice");
        office.pass(Duration::from_secs(20)).await;
        let (events, _) = told(&mut office, watching).await;
        let names: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::DhcpMessage(event) => (&event.event.event[..], event.event.hostname.as_deref()),
                _ => panic!("{event:?}"),
            })
            .collect();
        // The client asks for no name, so that the answers have none.
        let alice = Some("alice");
        let expected =
            [("DISCOVER", alice), ("probe", alice), ("OFFER", None), ("REQUEST", alice), ("ACK", None)];
        assert_eq!(names, expected);
    });
}
