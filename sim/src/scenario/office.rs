//! An office, its provider, and its events.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use gatepost::config::Config;
use ipnet::Ipv4Net;

use super::action::Action;
use super::browsing::Browsing;
use super::mail::Mail;
use super::names::OfficeNames;
use super::outcome::Account;
use super::own::{OwnChecker, OwnMachine, OwnServer};
use crate::checkers::Checker;
use crate::machine::Machine;
use crate::machine::administrator::Administrator;
use crate::machine::identity::Identity;
use crate::machine::internet::Site;
use crate::machine::internet::server::Server as InternetServer;
use crate::machine::prober::Prober;
use crate::mistake::Line;
use crate::world::administration::Desk;
use crate::world::link::Link;
use crate::world::segment::TICK;

/// The host number that the provider's DHCP server gives its first customer.
pub(super) const LEASED_HOST: u32 = 100;
/// The provider's router's.
pub(super) const PROVIDER_HOST: u32 = 1;
/// The gateway's, where it is configured.
pub(super) const FIXED_HOST: u32 = 10;
/// The attacker's.
pub(super) const ATTACKER_HOST: u32 = 66;
/// The visitor's.
pub(super) const VISITOR_HOST: u32 = 77;
/// The first of the scenario's own machines.
pub(super) const OWN_HOST_FIRST: u32 = 180;

/// An expectation of the end of a run.
pub type Expectation = (String, Box<dyn Fn(&Account) -> Result<(), String>>);

/// An office in the making: 5 PCs with one page every 10 s or so, in `nat-dmz` mode, one LAN port, WAN by
/// DHCP, perfect cables, one minute. Each method changes one thing.
pub struct Office {
    pub(super) pcs: usize,
    pub(super) chatting: usize,
    pub(super) chatting_every: Duration,
    pub(super) asking: usize,
    pub(super) asking_by_tcp: usize,
    pub(super) asking_time: usize,
    pub(super) in_a_hurry: usize,
    pub(super) servers: Vec<Server>,
    pub(super) printer: Option<String>,
    pub(super) hairpinning: usize,
    pub(super) lan_ports: usize,
    pub(super) workers: u8,
    pub(super) mode: String,
    pub(super) lan: String,
    pub(super) lease_secs: u32,
    pub(super) wan: WanBy,
    pub(super) isp_network: Ipv4Net,
    pub(super) isp_lease_secs: u32,
    pub(super) isp_times_secs: Option<(u32, u32)>,
    pub(super) arriving_within: Duration,
    pub(super) visit_every: Option<Duration>,
    pub(super) wan_mtu: u16,
    pub(super) page_octets: Option<u32>,
    pub(super) tick: Duration,
    pub(super) super_frames: bool,
    pub(super) links: Vec<(String, Link, Line)>,
    pub(super) actions: Vec<(Duration, Action, Line)>,
    pub(super) lasting: Duration,
    pub(super) expectations: Vec<Expectation>,
    pub(super) extra_config: String,
    pub(super) mail: Option<Mail>,
    pub(super) browsing: Option<Browsing>,
    /// The administrator's desk, if there is one.
    pub(super) desk: Option<Rc<Desk>>,
    pub(super) names: OfficeNames,
    pub(super) own_machines: Vec<OwnMachine>,
    pub(super) own_servers: Vec<OwnServer>,
    pub(super) own_checkers: Vec<OwnChecker>,
    /// The line that calls [`office`].
    line: Line,
    /// The line of the last call of each method.
    lines: BTreeMap<&'static str, Line>,
}

/// A PC that serves pages to the internet.
pub(super) struct Server {
    pub(super) pc: String,
    /// The port of the WAN's address that leads to it; `None`: all ports without another forward.
    pub(super) port: Option<u16>,
    /// The line that asks for it.
    pub(super) line: Line,
}

/// The LAN's network by default.
pub(super) const DEFAULT_LAN: &str = "192.168.1.0/24";
/// The usual MTU of a WAN.
const WAN_MTU: u16 = 1_500;

/// How the gateway gets its WAN address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WanBy {
    /// From the provider's DHCP server.
    Dhcp,
    /// Configured.
    Fixed,
}

/// The WAN address comes from the provider's DHCP server.
pub fn dhcp() -> WanBy {
    WanBy::Dhcp
}

/// The WAN address is configured: the tenth of the provider's network.
pub fn fixed() -> WanBy {
    WanBy::Fixed
}

/// An office with the defaults of [`Office`].
#[track_caller]
pub fn office() -> Office {
    Office {
        pcs: 5,
        chatting: 0,
        chatting_every: Duration::from_secs(1),
        asking: 0,
        asking_by_tcp: 0,
        asking_time: 0,
        in_a_hurry: 0,
        servers: Vec::new(),
        printer: None,
        hairpinning: 0,
        lan_ports: 1,
        workers: 1,
        mode: "nat-dmz".to_owned(),
        lan: DEFAULT_LAN.to_owned(),
        lease_secs: 3_600,
        wan: WanBy::Dhcp,
        isp_network: "203.0.113.0/24".parse().expect("a network"),
        isp_lease_secs: 3_600,
        isp_times_secs: None,
        arriving_within: Duration::from_secs(1),
        visit_every: Some(Duration::from_secs(10)),
        wan_mtu: WAN_MTU,
        page_octets: None,
        tick: TICK,
        super_frames: false,
        links: Vec::new(),
        actions: Vec::new(),
        lasting: Duration::from_secs(60),
        expectations: Vec::new(),
        extra_config: String::new(),
        mail: None,
        browsing: None,
        desk: None,
        names: OfficeNames::default(),
        own_machines: Vec::new(),
        own_servers: Vec::new(),
        own_checkers: Vec::new(),
        line: Location::caller(),
        lines: BTreeMap::new(),
    }
}

impl Office {
    /// So many PCs, `pc-0` and on.
    #[track_caller]
    pub fn pcs(self, count: usize) -> Self {
        Self { pcs: count, ..self.noting("pcs") }
    }

    /// The first `count` PCs keep a chat open.
    #[track_caller]
    pub fn chatting(self, count: usize) -> Self {
        Self { chatting: count, ..self.noting("chatting") }
    }

    /// The interval between two lines of a chat.
    #[track_caller]
    pub fn chatting_every(self, pause: Duration) -> Self {
        Self { chatting_every: pause, ..self.noting("chatting_every") }
    }

    /// The first `count` PCs ping, and send requests to a server on the internet that answers late or repeatedly.
    #[track_caller]
    pub fn asking(self, count: usize) -> Self {
        Self { asking: count, ..self.noting("asking") }
    }

    /// The first `count` PCs query the gateway for their own name every second, over TCP.
    #[track_caller]
    pub fn asking_by_tcp(self, count: usize) -> Self {
        Self { asking_by_tcp: count, ..self.noting("asking_by_tcp") }
    }

    /// The first `count` PCs ask the gateway for the time, every ten seconds or so.
    #[track_caller]
    pub fn asking_time(self, count: usize) -> Self {
        Self { asking_time: count, ..self.noting("asking_time") }
    }

    /// The first `count` of those that ask for the time do it twenty times a second.
    #[track_caller]
    pub fn in_a_hurry(self, count: usize) -> Self {
        Self { in_a_hurry: count, ..self.noting("in_a_hurry") }
    }

    /// `pc` serves pages, and a forward leads to it from `port` of the WAN's address. The visitor on the WAN fetches
    /// pages there.
    #[track_caller]
    pub fn forwarded(self, pc: &str, port: u16) -> Self {
        self.serving(pc, Some(port), Location::caller())
    }

    /// `pc` serves pages, and is the default host. The visitor on the WAN fetches pages there.
    #[track_caller]
    pub fn dmz_host(self, pc: &str) -> Self {
        self.serving(pc, None, Location::caller())
    }

    /// The last `count` PCs fetch pages from the first forwarded server through the WAN address.
    #[track_caller]
    pub fn hairpinning(self, count: usize) -> Self {
        Self { hairpinning: count, ..self.noting("hairpinning") }
    }

    /// `pc` is called `printer` and always has the same address, by a reservation.
    #[track_caller]
    pub fn printer(self, pc: &str) -> Self {
        Self { printer: Some(pc.to_owned()), ..self.noting("printer") }
    }

    /// The gateway's switch has so many ports, from `lan0` on; PCs are plugged into them in turn.
    #[track_caller]
    pub fn lan_ports(self, count: usize) -> Self {
        Self { lan_ports: count, ..self.noting("lan_ports") }
    }

    /// The gateway has so many workers, whose ports have a queue for each.
    #[track_caller]
    pub fn workers(self, count: u8) -> Self {
        Self { workers: count, ..self.noting("workers") }
    }

    /// The gateway's mode: `lan-only`, which has no provider and no internet, `router`, `nat` or `nat-dmz`.
    #[track_caller]
    pub fn mode(self, mode: &str) -> Self {
        Self { mode: mode.to_owned(), ..self.noting("mode") }
    }

    /// The LAN's network, such as `10.20.0.0/16`: the gateway has its first address, PCs those from the second on.
    #[track_caller]
    pub fn lan(self, network: &str) -> Self {
        Self { lan: network.to_owned(), ..self.noting("lan") }
    }

    /// The lease time of the gateway's leases.
    #[track_caller]
    pub fn lease_secs(self, secs: u32) -> Self {
        Self { lease_secs: secs, ..self.noting("lease_secs") }
    }

    /// How the gateway gets its WAN address.
    pub fn wan(self, wan: WanBy) -> Self {
        Self { wan, ..self }
    }

    /// The lease time of the provider's leases.
    #[track_caller]
    pub fn isp_lease_secs(self, secs: u32) -> Self {
        Self { isp_lease_secs: secs, ..self.noting("isp_lease_secs") }
    }

    /// The provider's ACKs have T1 and T2, in seconds.
    #[track_caller]
    pub fn isp_times_secs(self, renew: u32, rebind: u32) -> Self {
        Self { isp_times_secs: Some((renew, rebind)), ..self.noting("isp_times_secs") }
    }

    /// The MTU of the WAN, in octets, in the gateway's file and of the cables there.
    #[track_caller]
    pub fn wan_mtu(self, octets: u16) -> Self {
        Self { wan_mtu: octets, ..self.noting("wan_mtu") }
    }

    /// PCs are switched on at random within this time.
    pub fn arriving_within(self, span: Duration) -> Self {
        Self { arriving_within: span, ..self }
    }

    /// The average interval at which each PC looks up a name, and mostly fetches a page; `None`: never.
    #[track_caller]
    pub fn visiting_every(self, mean: Option<Duration>) -> Self {
        Self { visit_every: mean, ..self.noting("visiting_every") }
    }

    /// Every page has so many octets, rather than up to 20,000.
    pub fn page_octets(self, octets: u32) -> Self {
        Self { page_octets: Some(octets), ..self }
    }

    /// The tick of the simulated time, in milliseconds: 1 by default, 10 for runs of hours, in which a frame then takes
    /// 10 ms on each segment. An idle office costs by the tick.
    #[track_caller]
    pub fn tick_ms(self, millis: u64) -> Self {
        Self { tick: Duration::from_millis(millis), ..self.noting("tick_ms") }
    }

    /// The gateway's ports accept and pass on super-frames and partial checksums.
    pub fn super_frames(self) -> Self {
        Self { super_frames: true, ..self }
    }

    /// The cable of a machine, port or group from the beginning on.
    #[track_caller]
    pub fn link(mut self, name: &str, link: Link) -> Self {
        self.links.push((name.to_owned(), link, Location::caller()));
        self
    }

    /// More of the gateway's configuration, as in its file. These keys take precedence over the office's own methods.
    #[track_caller]
    pub fn config(mut self, toml: &str) -> Self {
        self.extra_config.push_str(toml);
        self.noting("config")
    }

    /// One more machine, plugged into a port of the gateway's switch (`lan0` and on), or on the `wan` beside the
    /// provider's router. `make` makes it when the world is built. Its name is a host name, and that of its cable.
    #[track_caller]
    pub fn machine<M: Machine>(
        mut self,
        name: &str,
        port: &str,
        make: impl Fn(&Identity) -> M + 'static,
    ) -> Self {
        self.own_machines.push(OwnMachine {
            name: name.to_owned(),
            port: port.to_owned(),
            make: Box::new(move |identity| Rc::new(RefCell::new(make(identity)))),
            line: Location::caller(),
        });
        self
    }

    /// A machine called `administrator` at `lan0`, which changes the gateway's configuration by the product's own
    /// transaction: [`act`](super::action::act) on an [`Administrator`]. The office has no mail, and no other reloads.
    #[track_caller]
    pub fn administered(mut self) -> Self {
        let desk = Rc::new(Desk::default());
        self.desk = Some(Rc::clone(&desk));
        self.machine("administrator", "lan0", move |identity| Administrator::new(identity, Rc::clone(&desk)))
    }

    /// So many more hosts at `lan0`, from `prober-0` on, which trace the route to the internet, discover the path MTU,
    /// and send packets in fragments.
    #[track_caller]
    pub fn probing(mut self, count: usize) -> Self {
        for number in 0..count {
            self = self.machine(&format!("prober-{number}"), "lan0", Prober::new);
        }
        self
    }

    /// One more server of the internet, with addresses of
    /// [`INTERNET`](crate::machine::internet::INTERNET) and ports of its own. `make` makes it of a seed.
    #[track_caller]
    pub fn server<S: InternetServer>(
        mut self,
        name: &str,
        site: Site,
        make: impl Fn(u64) -> S + 'static,
    ) -> Self {
        self.own_servers.push(OwnServer {
            name: name.to_owned(),
            site,
            make: Box::new(move |seed| Box::new(make(seed))),
            line: Location::caller(),
        });
        self
    }

    /// One more checker. `make` makes it for a gateway with that configuration.
    #[track_caller]
    pub fn checker<C: Checker + 'static>(mut self, make: impl Fn(&Config) -> C + 'static) -> Self {
        self.own_checkers.push(OwnChecker {
            make: Box::new(move |config| Box::new(make(config))),
            line: Location::caller(),
        });
        self
    }

    /// `action` happens at `time` after the beginning.
    #[track_caller]
    pub fn at(mut self, time: Duration, action: Action) -> Self {
        self.actions.push((time, action, Location::caller()));
        self
    }

    /// The duration of the run.
    #[track_caller]
    pub fn lasting(self, span: Duration) -> Self {
        Self { lasting: span, ..self.noting("lasting") }
    }

    /// An expectation of the end. `check` returns what is wrong.
    pub fn expect(mut self, what: &str, check: impl Fn(&Account) -> Result<(), String> + 'static) -> Self {
        self.expectations.push((what.to_owned(), Box::new(check)));
        self
    }

    /// Whether the gateway's rules change by a reload.
    pub(super) fn has_reloads(&self) -> bool {
        self.actions.iter().any(|(_, action, _)| matches!(action, Action::Reload(_) | Action::ReloadRefused))
    }

    /// Whether a PC serves the world by a forward.
    pub(super) fn has_forward(&self) -> bool {
        self.servers.iter().any(|server| server.port.is_some())
    }

    /// Whether the scenario has a machine of its own with this name.
    pub(super) fn has_own_machine(&self, name: &str) -> bool {
        self.own_machines.iter().any(|own| own.name == name)
    }

    fn serving(mut self, pc: &str, port: Option<u16>, line: Line) -> Self {
        self.servers.push(Server { pc: pc.to_owned(), port, line });
        self
    }

    #[track_caller]
    fn noting(mut self, method: &'static str) -> Self {
        self.lines.insert(method, Location::caller());
        self
    }

    /// The line that calls `method`, or else makes the office.
    pub(super) fn line_of(&self, method: &str) -> Line {
        self.lines.get(method).copied().unwrap_or(self.line)
    }
}

/// The number of the PC called `name`, if one can be.
pub(super) fn pc_number(name: &str) -> Option<usize> {
    name.strip_prefix("pc-")?.parse().ok()
}

pub(super) const LAN_ONLY: &str = "lan-only";
