//! A reload is applied as a whole or not at all, and loses no answer.

use std::collections::BTreeSet;

use gatepost_ground::wire::arp;
use gatepost_services::net::stack::Stack;
use gatepost_services::own_time::OwnTime;
use gatepost_services::service::{Host, Instance, Kind, Listening, LocalFuture, OnWan, State, Unprepared};

use super::*;
use crate::admin::AdminPages;
use crate::gateway::reload::{ReloadError, Reloader};
use crate::gateway::services::list::{Entry, List};

const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const UPSTREAM: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
const STATIC_WAN: &str =
    "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.1'\ndns.upstream = ['203.0.113.53']\n";

/// A service that does nothing, and refuses a configuration whose leases last 77 s.
struct Picky;

impl Picky {
    const KIND: Kind = Kind {
        name: "picky",
        ports: &[],
        on_wan: OnWan::Never,
        is_limited_by_network: false,
        has_logins: false,
        about: "Nothing",
        counters: &[],
    };
}

impl Entry for Picky {
    fn kind(&self) -> &'static Kind {
        &Self::KIND
    }

    fn prepare<'a>(
        &'a self,
        config: &Config,
        _: &'a Host<Stack>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>> {
        let is_refused = config.services.dhcp.lease_secs == 77;
        Box::pin(async move {
            // Others have their turn while a service is prepared.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let why = || "77 is not to its taste".to_owned();
            let unprepared = || Unprepared { service: "picky", why: why(), remedy: "write 78".to_owned() };
            if is_refused { Err(unprepared()) } else { Ok(Rc::new(Picky) as Rc<dyn Instance>) }
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

impl Instance for Picky {
    fn activate(&self) {}

    fn run(&self) -> LocalFuture<'static, ()> {
        Box::pin(pending())
    }

    fn state(&self) -> State {
        State::Running
    }

    fn listens(&self) -> Vec<Listening> {
        Vec::new()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A query for the addresses of `name` with this identifier.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// What an authoritative server says to `query`.
fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("the root") + 5;
    let mut message = query[..end].to_vec();
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
    message
}

/// An office in which a host asks for names by hand.
struct Asked {
    office: Office,
    reloader: Reloader,
    /// The identifiers of the questions that were answered with an address.
    answered: BTreeSet<u16>,
}

impl Asked {
    async fn new(settings: &str) -> Self {
        let (office, mut services) = Office::new(settings);
        let own_time = Rc::new(OwnTime::new(Rc::clone(&services.resources.clock)));
        let mut list = List::new(
            services.resources.identity,
            &services.resources.link,
            own_time,
            Rc::<AdminPages>::default(),
        );
        list.push(Box::new(Picky));
        services.resources.list = Rc::new(list);
        Rc::make_mut(&mut services.inspector).list = Rc::clone(&services.resources.list);
        let (reloader, inspector) = (services.reloader(), services.inspector());
        spawn_local(services.run(|| (), pending()));
        let mut asked = Self { office: Office { inspector, ..office }, reloader, answered: BTreeSet::new() };
        let hello = arp::Packet::request(HOST_MAC, HOST, GATEWAY).to_frame(MacAddr::BROADCAST);
        asked.office.lan.send(&hello);
        asked.pass(20).await;
        asked
    }

    fn ask(&self, id: u16, name: &str) {
        let datagram = Datagram {
            source_mac: HOST_MAC,
            destination_mac: self.office.inspector.plan.load().interface(Config::LAN).mac(),
            source: SocketAddrV4::new(HOST, 5000 + id % 1000),
            destination: SocketAddrV4::new(GATEWAY, 53),
            payload: &query(id, name),
        };
        self.office.lan.send(&datagram.to_frame().expect("it is short"));
    }

    /// Lets some milliseconds pass, and reads the answers.
    async fn pass(&mut self, millis: u64) {
        self.office.pass(Duration::from_millis(millis)).await;
        for frame in self.office.lan.from_gateway.borrow_mut().drain(..) {
            let Some(Datagram { payload: [first, second, 0x81 | 0x85, code, _, _, _, 1, ..], .. }) =
                Datagram::parse(&frame)
            else {
                continue;
            };
            assert_eq!(code & 0xf, 0, "no error");
            self.answered.insert(u16::from_be_bytes([*first, *second]));
        }
    }

    /// The queries that arrived at the provider's name server, whose machine answers ARP.
    fn at_upstream(&self) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let mut queries = Vec::new();
        for frame in self.office.wan.from_gateway.borrow_mut().drain(..) {
            if let Ok(asked) = arp::Packet::parse(frame.get(14..).unwrap_or_default())
                && asked.operation == arp::Operation::Request
                && asked.target_ip == UPSTREAM
            {
                self.office.wan.send(&asked.reply(PROVIDER_MAC).to_frame(asked.sender_mac));
            }
            if let Some(datagram) = Datagram::parse(&frame) {
                queries.push((datagram.source, datagram.payload.to_vec()));
            }
        }
        queries
    }

    fn answer_from_upstream(&self, (client, query): &(SocketAddrV4, Vec<u8>)) {
        let datagram = Datagram {
            source_mac: PROVIDER_MAC,
            destination_mac: self.office.inspector.plan.load().interface(Config::WAN).mac(),
            source: SocketAddrV4::new(UPSTREAM, 53),
            destination: *client,
            payload: &answer(query),
        };
        self.office.wan.send(&datagram.to_frame().expect("it is short"));
    }

    fn reload(&self, settings: &str) -> tokio::task::JoinHandle<Result<(), ReloadError>> {
        let (reloader, config) = (self.reloader.clone(), Config::parse("test", settings));
        let config = config.expect("a valid configuration");
        spawn_local(async move { reloader.reload(config).await })
    }
}

#[test]
fn a_reload_that_fails_changes_nothing_and_says_which_service_and_why() {
    simulate(async {
        let mut asked = Asked::new(STATIC_WAN).await;
        asked.ask(1, "gatepost.office.example");
        asked.pass(5).await;
        let plan = asked.office.inspector.plan.load_full();
        let services = asked.office.report(What::Services).await;
        let leases = asked.office.report(What::Leases).await;

        let other = "dhcp.lease_secs = 77\nlan.address = '10.0.0.1/24'\nsystem.domain = 'other.example'\n\
                     [firewall]\nwan_services = ['dns']";
        let reload =
            asked.reload(&format!("{other}\n[wan]\naddress = '198.51.100.10/24'\ngateway = '198.51.100.1'"));
        for id in 2..20 {
            asked.ask(id, "gatepost.office.example");
            asked.pass(1).await;
        }
        let error = reload.await.expect("no panic").expect_err("it is refused");
        let ReloadError::Unprepared(unprepared) = &error else { panic!("{error:?}") };
        assert_eq!(unprepared.service, "picky");
        let told = crate::error::Error::from(error).to_string();
        assert!(told.contains("\"picky\"") && told.contains("77 is not to its taste"), "{told}");

        asked.pass(5).await;
        assert_eq!(asked.answered, (1..20).collect());
        assert!(
            Arc::ptr_eq(&plan, &asked.office.inspector.plan.load_full()),
            "the dataplane's rules are the same"
        );
        assert_eq!(asked.office.report(What::Leases).await, leases);
        let mut after = asked.office.report(What::Services).await;
        let queries = &mut after["services"][1]["counters"];
        assert_eq!((&queries["queries"], &queries["local"]), (&19.into(), &19.into()), "it counts on");
        *queries = services["services"][1]["counters"].clone();
        assert_eq!(after, services);
    });
}

#[test]
fn a_reload_costs_a_host_that_asks_without_pause_no_answer() {
    simulate(async {
        let mut asked = Asked::new(STATIC_WAN).await;
        let mut reload = None;
        for id in 1..=300 {
            // Two in the same millisecond: one of them is on its way when the services change.
            asked.ask(id, "gatepost.office.example");
            asked.ask(1000 + id, "gatepost.office.example");
            if id % 50 == 0 {
                let change = format!("{STATIC_WAN}dhcp.lease_secs = {}", 600 + u32::from(id));
                reload = Some(asked.reload(&change));
            }
            asked.pass(1).await;
        }
        asked.pass(20).await;
        reload.expect("there were some").await.expect("no panic").expect("it is taken");
        let all: BTreeSet<u16> = (1..=300).chain(1001..=1300).collect();
        assert_eq!(all.difference(&asked.answered).collect::<Vec<_>>(), Vec::<&u16>::new());
        let counters = asked.office.report(What::Counters).await;
        assert_eq!(counters["dns"]["queries"], 600, "each was counted once");
    });
}

#[test]
fn what_waits_for_the_provider_when_services_change_is_answered_all_the_same() {
    simulate(async {
        let mut asked = Asked::new(STATIC_WAN).await;
        asked.ask(1, "www.shop.example");
        let mut queries = Vec::new();
        for _ in 0..20 {
            asked.pass(2).await;
            queries.extend(asked.at_upstream());
        }
        let [query] = &queries[..] else { panic!("one question, one query: {queries:?}") };
        asked.reload(&format!("{STATIC_WAN}dhcp.lease_secs = 600"));
        asked.pass(20).await;
        assert_eq!(asked.answered, BTreeSet::new());
        asked.answer_from_upstream(query);
        asked.pass(5).await;
        assert_eq!(asked.answered, BTreeSet::from([1]), "by the service that was asked");
    });
}

#[test]
fn a_host_that_may_not_use_a_service_finds_nobody_there() {
    simulate(async {
        let from = |from: &str| format!("{STATIC_WAN}access.dns.from = ['{from}']");
        let mut asked = Asked::new(&from("192.168.1.11/32")).await;
        asked.ask(1, "gatepost.office.example");
        asked.pass(5).await;
        assert_eq!(asked.answered, BTreeSet::new());
        let counters = asked.office.report(What::Counters).await;
        assert_eq!(
            (&counters["host_stack"]["sources_refused"], &counters["dns"]["queries"]),
            (&1.into(), &0.into())
        );

        asked.reload(&from("lan"));
        asked.pass(20).await;
        asked.ask(2, "gatepost.office.example");
        asked.pass(5).await;
        assert_eq!(asked.answered, BTreeSet::from([2]));
    });
}

#[test]
fn services_tell_where_they_listen_and_those_that_are_off_are_told_too() {
    simulate(async {
        let mut asked = Asked::new(&format!("{STATIC_WAN}firewall.wan_services = ['dns']")).await;
        let states = |report: &Value| {
            let services = report["services"].as_array().expect("a list").clone();
            let places = |service: &Value| {
                let places = service["listens"].as_array().expect("a list").iter();
                let place =
                    |place: &Value| format!("{} {}:{}", place["protocol"], place["address"], place["port"]);
                places.map(place).collect::<Vec<_>>().join(" ").replace('"', "")
            };
            let told =
                |service: &Value| format!("{} {} {}", service["name"], service["state"], places(service));
            services.iter().map(told).collect::<Vec<_>>().join("; ").replace('"', "")
        };
        let report = asked.office.report(What::Services).await;
        let note = report["services"][2]["note"].as_str().expect("nobody keeps the clock");
        assert_eq!(
            note,
            "unsynchronised: no daemon disciplines this machine's clock, and answers have stratum 10"
        );
        let told = states(&report);
        assert_eq!(
            told,
            "dhcp running udp 192.168.1.1:67; dns running udp 192.168.1.1:53 tcp 192.168.1.1:53 \
             udp 203.0.113.10:53 tcp 203.0.113.10:53; ntp running udp 192.168.1.1:123; \
             smtp off ; submission off ; lmtp off ; delivery off ; polling off ; pop3 off ; pop3s off ; \
             admin running tcp 192.168.1.1:8080; picky running "
        );
        asked.reload(&format!(
            "{STATIC_WAN}dhcp.enabled = false\ndns.enabled = false\nntp.enabled = false\nadmin.enabled = false"
        ));
        asked.pass(20).await;
        let told = states(&asked.office.report(What::Services).await);
        assert_eq!(
            told,
            "dhcp off ; dns off ; ntp off ; smtp off ; submission off ; lmtp off ; delivery off ; polling off ; \
             pop3 off ; pop3s off ; admin off ; picky running "
        );
    });
}
