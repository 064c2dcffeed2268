//! A change of the LAN's address that waits for confirmation: the gateway answers at both addresses.

use gatepost_ground::wire::arp;
use ipnet::Ipv4Net;

use super::*;
use crate::gateway::reload::Reloader;

const FORMER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The LAN's new addresses: in another network, in the same one, and in a larger one.
const NEW: [&str; 3] = ["10.0.0.1/24", "192.168.1.254/24", "192.168.0.1/16"];

struct Renumbered {
    office: Office,
    reloader: Reloader,
}

impl Renumbered {
    /// An office with a host that has a lease.
    async fn new() -> (Self, client::Lease) {
        let (mut office, services) = Office::new("access.dns.from = ['lan']");
        let reloader = services.reloader();
        spawn_local(services.run(|| (), pending()));
        office.plug_in_provider([203, 0, 113]);
        let lease = office.plug_in_host("alice");
        office.pass(Duration::from_secs(20)).await;
        office.peers.retain(|(cable, _)| !Rc::ptr_eq(&cable.from_gateway, &office.lan.from_gateway));
        let lease = lease.borrow_mut().take().expect("a lease");
        (Self { office, reloader }, lease)
    }

    fn config(lan: &str) -> Config {
        let text = format!("access.dns.from = ['lan']\nlan.address = '{lan}'");
        Config::parse("test", &text).expect("a valid configuration")
    }

    async fn take(&mut self, config: Config) {
        let reloader = self.reloader.clone();
        let reload = spawn_local(async move { reloader.reload(config).await });
        self.office.pass(Duration::from_millis(10)).await;
        reload.await.expect("no panic").expect("it is taken");
    }

    /// Sends a datagram of the host, and returns what the host gets within some milliseconds: whence, and the payload.
    async fn send(
        &mut self,
        (source, destination): (SocketAddrV4, SocketAddrV4),
        payload: &[u8],
    ) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let destination_mac = self.office.inspector.plan.load().interface(Config::LAN).mac();
        let datagram = Datagram { source_mac: HOST_MAC, destination_mac, source, destination, payload };
        self.office.lan.send(&datagram.to_frame().expect("it is short"));
        self.office.pass(Duration::from_millis(10)).await;
        let frames: Vec<_> = self.office.lan.from_gateway.borrow_mut().drain(..).collect();
        for frame in &frames {
            if let Ok(asked) = arp::Packet::parse(&frame[14..])
                && asked.operation == arp::Operation::Request
                && asked.target_ip == *source.ip()
            {
                self.office.lan.send(&asked.reply(HOST_MAC).to_frame(asked.sender_mac));
            }
        }
        self.office.pass(Duration::from_millis(10)).await;
        let more: Vec<_> = self.office.lan.from_gateway.borrow_mut().drain(..).collect();
        let datagrams = frames.iter().chain(&more).filter_map(|frame| Datagram::parse(frame));
        let to_host = datagrams.filter(|datagram| datagram.destination == source);
        to_host.map(|datagram| (datagram.source, datagram.payload.to_vec())).collect()
    }

    /// The address from which DNS answers a query to `own` for the gateway's name, and the address in the answer.
    async fn resolve(&mut self, host: Ipv4Addr, own: Ipv4Addr) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x08gatepost\x06office\x07example\0\0\x01\0\x01";
        let ends = (SocketAddrV4::new(host, 5000), SocketAddrV4::new(own, 53));
        let answers = self.send(ends, query).await;
        let (from, answer) = answers.first()?;
        let address = answer.get(query.len() + 12..query.len() + 16)?.first_chunk()?;
        Some((*from.ip(), Ipv4Addr::from_octets(*address)))
    }

    /// Sends a packet of the host's flow to a server. Returns the endpoint as which the server sees the host, and how many
    /// packets the flow has had.
    async fn send_outside(&mut self, host: Ipv4Addr) -> (Value, u64) {
        let ends = (SocketAddrV4::new(host, 6000), SocketAddrV4::new(SERVER, 9));
        self.send(ends, b"data").await;
        let flows = self.office.report(What::Flows).await;
        let is_it = |flow: &&Value| flow["server"] == "198.51.100.7:9";
        let flow = flows["flows"].as_array().expect("a list").iter().find(is_it).expect("the flow");
        (flow["client_seen_as"].clone(), flow["packets_sent"].as_u64().expect("a number"))
    }
}

#[test]
fn services_answer_at_both_addresses_until_the_change_is_confirmed_or_undone() {
    for new in NEW.map(|new| new.parse::<Ipv4Net>().expect("a network")) {
        simulate(async move {
            let (mut it, lease) = Renumbered::new().await;
            let (host, before) = (lease.address.addr(), Renumbered::config("192.168.1.1/24"));
            assert_eq!(it.resolve(host, FORMER).await, Some((FORMER, FORMER)));
            it.take(Renumbered::config(&new.to_string()).until_confirmed(before.lan.address)).await;
            for own in [FORMER, new.addr()] {
                assert_eq!(it.resolve(host, own).await, Some((own, new.addr())), "{new}");
            }
            let services = it.office.report(What::Services).await.to_string();
            assert!(
                services.contains(&format!("\"{}\"", new.addr())) && services.contains("\"192.168.1.1\"")
            );
            it.take(before).await;
            assert_eq!(it.resolve(host, FORMER).await, Some((FORMER, FORMER)), "{new}");
            assert_eq!(it.resolve(host, new.addr()).await, None, "{new}");
            it.take(Renumbered::config(&new.to_string()).until_confirmed(lease.address)).await;
            it.take(Renumbered::config(&new.to_string())).await;
            assert_eq!(it.resolve(host, FORMER).await, None, "{new}");
        });
    }
}

#[test]
fn a_change_of_the_lan_and_back_costs_neither_the_wans_lease_nor_a_flow() {
    simulate(async {
        let (mut it, lease) = Renumbered::new().await;
        let host = lease.address.addr();
        let wan = it.office.report(What::Status).await["wan"].clone();
        let (seen_as, mut packets) = it.send_outside(host).await;
        let before = Renumbered::config("192.168.1.1/24");
        for new in NEW {
            let changed = Renumbered::config(new).until_confirmed(before.lan.address);
            for config in [changed, before.clone()] {
                it.take(config).await;
                packets += 1;
                assert_eq!(it.send_outside(host).await, (seen_as.clone(), packets), "{new}");
                assert_eq!(it.office.report(What::Status).await["wan"], wan, "{new}");
            }
        }
    });
}

/// RFC 4787, REQ-7: A lease that overlaps the LAN's new network is given up.
#[test]
fn rfc4787_req7_a_lease_that_overlaps_the_new_network_is_given_up() {
    simulate(async {
        let (mut it, lease) = Renumbered::new().await;
        let overlapping = Renumbered::config("203.0.113.1/24").until_confirmed(lease.address);
        it.take(overlapping).await;
        assert!(it.office.report(What::Status).await["wan"]["address"].is_null());
    });
}

#[test]
fn leases_are_short_in_every_window_until_its_end() {
    simulate(async {
        let settings = |text: &str| Config::parse("test", text).expect("a valid configuration");
        let before = settings("dhcp.lease_secs = 600");
        let after = settings("dhcp.lease_secs = 600\nsystem.domain = 'other.example'");
        for end in [&before, &after] {
            let (mut office, services) = Office::new("dhcp.lease_secs = 600");
            let reloader = services.reloader();
            spawn_local(services.run(|| (), pending()));
            office.pass(Duration::from_millis(20)).await;
            reloader.reload(after.clone().until_confirmed(before.lan.address)).await.expect("it is taken");
            let lease = office.plug_in_host("alice");
            office.pass(Duration::from_secs(20)).await;
            let secs = |lease: &Option<client::Lease>| lease.as_ref().map(|lease| lease.lease_secs);
            assert_eq!(secs(&lease.borrow()), Some(60));
            reloader.reload(end.clone()).await.expect("it is taken");
            office.pass(Duration::from_secs(60)).await;
            assert_eq!(secs(&lease.borrow()), Some(600));
        }
    });
}

#[test]
fn the_providers_lease_is_not_released_before_the_change_is_confirmed() {
    simulate(async {
        let (mut it, _) = Renumbered::new().await;
        let address = it.office.report(What::Status).await["wan"]["address"].clone();
        let before = Renumbered::config("192.168.1.1/24");
        let fixed = "wan.address = '198.51.100.10/24'\nwan.gateway = '198.51.100.1'";
        let fixed = Config::parse("test", fixed).expect("a valid configuration");
        let mut shown = Vec::new();
        for (config, releases) in
            [(fixed.clone().until_confirmed(before.lan.address), false), (before, false), (fixed, true)]
        {
            let provider = it.office.peers.clone();
            it.office.peers.clear();
            it.take(config).await;
            let frames: Vec<_> = it.office.wan.from_gateway.borrow_mut().drain(..).collect();
            let is_release = |datagram: Datagram<'_>| {
                datagram.destination.port() == 67
                    && datagram.payload.windows(3).any(|octets| octets == [53, 1, 7])
            };
            let released = frames.iter().filter_map(|frame| Datagram::parse(frame)).any(is_release);
            assert_eq!(released, releases);
            it.office.peers = provider;
            it.office.pass(Duration::from_secs(30)).await;
            shown.push(it.office.report(What::Status).await["wan"]["address"].clone());
        }
        assert_eq!(shown[1], address, "it is the client's again after the roll back");
    });
}
