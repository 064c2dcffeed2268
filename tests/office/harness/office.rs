//! A gateway with PCs on its LAN and an internet on its WAN.

use std::net::Ipv4Addr;
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;

use super::{Gateway, Namespace, Setup};

/// The gateway on the LAN.
pub const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The gateway on the WAN.
pub const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The provider's router, the gateway's next hop.
pub const ISP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// A server in the internet, behind the provider's router.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);
/// The office's domain.
pub const DOMAIN: &str = "office.example";

/// An office. Every PC and the internet is a namespace whose `eth0` is a port of the gateway.
#[derive(Debug)]
pub struct Office {
    // First, so that the gateway stops before its ports go.
    gateway: Option<Gateway>,
    /// The PCs on the LAN, each on a port of its own.
    pub pcs: Vec<Namespace>,
    /// The provider and all behind it.
    pub internet: Namespace,
}

impl Office {
    /// Starts an office whose gateway has the static WAN address [`WAN`] and these settings on top. The PCs
    /// have no addresses yet.
    pub fn bare(pcs: usize, settings: &str) -> Self {
        Self::with_drivers(&[crate::profile().driver], pcs, settings)
    }

    /// The same, whose ports have these drivers in turn; that of the WAN has the first.
    pub fn with_drivers(drivers: &[&str], pcs: usize, settings: &str) -> Self {
        let internet = Namespace::new("isp");
        let pcs: Vec<_> = (1..=pcs).map(|number| Namespace::new(&format!("pc{number}"))).collect();
        let port = |namespace: &Namespace, driver: &str| {
            format!("{{ tap = 'eth0', netns = '{}', driver = '{driver}' }}", namespace.name())
        };
        let lan_ports: Vec<_> =
            pcs.iter().zip(drivers.iter().cycle()).map(|(pc, driver)| port(pc, driver)).collect();
        let mut config = format!("lan.ports = [{}]\n", lan_ports.join(", "));
        if !settings.contains("lan-only") {
            config += &format!("wan.ports = [{}]\n", port(&internet, drivers[0]));
            if !settings.contains("wan.address") {
                config += &format!("wan.address = '{WAN}/24'\nwan.gateway = '{ISP}'\n");
            }
        }
        let mut office = Self { gateway: None, pcs, internet };
        office.start(Setup::new(&format!("{config}{settings}\n")));
        office
    }

    /// The same with PCs that have static addresses.
    pub fn new(pcs: usize, settings: &str) -> Self {
        let office = Self::bare(pcs, settings);
        office.give_static_addresses();
        office
    }

    /// The static address of PC `number`, counted from 1; it is outside of the default DHCP pool.
    pub fn address(number: usize) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1, 100 + u8::try_from(number).expect("few PCs"))
    }

    /// PC `number`, counted from 1.
    pub fn pc(&self, number: usize) -> &Namespace {
        &self.pcs[number - 1]
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it is taken out only while it does not run")
    }

    /// Ends the gateway with `signal`; returns how it ended, and what to start it with again.
    pub fn stop(&mut self, signal: Signal) -> (ExitStatus, Setup) {
        self.gateway.take().expect("the gateway runs").end(signal)
    }

    /// Starts the gateway, and plugs in what it makes anew each time: the hosts' `eth0`.
    pub fn start(&mut self, setup: Setup) {
        let command = setup.command();
        self.start_by(command, setup);
    }

    /// The same by a command of one's own.
    pub fn start_by(&mut self, command: Command, setup: Setup) {
        self.gateway = Some(Gateway::start_by(command, setup));
        for (number, pc) in (1..).zip(&self.pcs) {
            pc.sh(&format!("ip link set eth0 address 02:00:00:00:01:{number:02x} up"));
        }
        if self.internet.succeeds("ip link show eth0") {
            self.internet.sh(&format!(
                "ip link set eth0 address 02:00:00:00:02:01 up
                 ip address add {ISP}/24 dev eth0
                 ip address replace {SERVER}/32 dev lo"
            ));
        }
    }

    /// Gives every PC its static address, and the gateway as its router.
    pub fn give_static_addresses(&self) {
        for number in 1..=self.pcs.len() {
            self.give_static_address(number);
        }
    }

    /// The same for PC `number`.
    pub fn give_static_address(&self, number: usize) {
        let address = Self::address(number);
        self.pc(number).sh(&format!("ip address add {address}/24 dev eth0; ip route add default via {LAN}"));
    }
}
