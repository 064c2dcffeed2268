//! An office, its provider, and what is to happen to them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use gatepost::config::Config;
use ipnet::Ipv4Net;

use super::action::Action;
use super::outcome::{Account, Outcome};
use super::world::World;
use crate::machine::internet::DNS_ADDRESS;
use crate::machine::internet::WEB_PORT;
use crate::machine::pc::{PCS_MAX, mac_of};
use crate::world::link::{Link, perfect};

/// The most ports that the office's switch has.
pub const LAN_PORTS_MAX: usize = 8;

/// The host number on the LAN of the first reserved address.
const RESERVED_FIRST: u8 = 200;
/// The host number that the provider's DHCP server gives its first customer.
pub(super) const LEASED_HOST: u32 = 100;

/// What is expected in the end.
pub type Expectation = (String, Box<dyn Fn(&Account) -> Result<(), String>>);

/// An office in the making: 5 PCs with one page every 10 s or so, in `nat-dmz` mode, one LAN port, WAN by
/// DHCP, perfect cables, one minute. Each method changes one thing.
pub struct Office {
    pub(super) pcs: usize,
    pub(super) chatting: usize,
    pub(super) chatting_every: Duration,
    pub(super) asking: usize,
    servers: Vec<Server>,
    printer: Option<String>,
    hairpinning: usize,
    pub(super) lan_ports: usize,
    pub(super) mode: String,
    pub(super) lease_secs: u32,
    pub(super) wan: WanBy,
    pub(super) isp_network: Ipv4Net,
    pub(super) isp_lease_secs: u32,
    pub(super) arriving_within: Duration,
    pub(super) visit_every: Option<Duration>,
    pub(super) links: Vec<(String, Link)>,
    pub(super) actions: Vec<(Duration, Action)>,
    pub(super) lasting: Duration,
    pub(super) expectations: Vec<Expectation>,
    extra_config: String,
}

/// A PC that serves pages to the internet.
struct Server {
    pc: String,
    /// The port of the WAN's address that leads to it; `None`: all that nothing else claims.
    port: Option<u16>,
}

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
pub fn office() -> Office {
    Office {
        pcs: 5,
        chatting: 0,
        chatting_every: Duration::from_secs(1),
        asking: 0,
        servers: Vec::new(),
        printer: None,
        hairpinning: 0,
        lan_ports: 1,
        mode: "nat-dmz".to_owned(),
        lease_secs: 3_600,
        wan: WanBy::Dhcp,
        isp_network: "203.0.113.0/24".parse().expect("a network"),
        isp_lease_secs: 3_600,
        arriving_within: Duration::from_secs(1),
        visit_every: Some(Duration::from_secs(10)),
        links: Vec::new(),
        actions: Vec::new(),
        lasting: Duration::from_secs(60),
        expectations: Vec::new(),
        extra_config: String::new(),
    }
}

impl Office {
    /// So many PCs, `pc-0` and on.
    pub fn pcs(self, count: usize) -> Self {
        Self { pcs: count, ..self }
    }

    /// The first `count` PCs keep a chat open.
    pub fn chatting(self, count: usize) -> Self {
        Self { chatting: count, ..self }
    }

    /// They say something so often.
    pub fn chatting_every(self, pause: Duration) -> Self {
        Self { chatting_every: pause, ..self }
    }

    /// The first `count` PCs ping, and ask a server on the internet that answers late or over and over.
    pub fn asking(self, count: usize) -> Self {
        Self { asking: count, ..self }
    }

    /// `pc` serves pages, and a forward leads to it from `port` of the WAN's address. Somebody on the WAN
    /// fetches pages there.
    pub fn forwarded(self, pc: &str, port: u16) -> Self {
        self.serving(pc, Some(port))
    }

    /// `pc` serves pages, and is the default machine. Somebody on the WAN fetches pages there.
    pub fn dmz_host(self, pc: &str) -> Self {
        self.serving(pc, None)
    }

    /// The last `count` PCs fetch pages from the first forwarded server by the address that the WAN knows.
    pub fn hairpinning(self, count: usize) -> Self {
        Self { hairpinning: count, ..self }
    }

    /// `pc` is called `printer` and always has the same address, by a reservation.
    pub fn printer(self, pc: &str) -> Self {
        Self { printer: Some(pc.to_owned()), ..self }
    }

    /// The gateway's switch has so many ports, `lan0` and on; PCs are plugged in in turn.
    pub fn lan_ports(self, count: usize) -> Self {
        Self { lan_ports: count, ..self }
    }

    /// `router`, `nat` or `nat-dmz`.
    pub fn mode(self, mode: &str) -> Self {
        Self { mode: mode.to_owned(), ..self }
    }

    /// How long the gateway's leases last.
    pub fn lease_secs(self, secs: u32) -> Self {
        Self { lease_secs: secs, ..self }
    }

    /// How the gateway gets its WAN address.
    pub fn wan(self, wan: WanBy) -> Self {
        Self { wan, ..self }
    }

    /// How long the provider's leases last.
    pub fn isp_lease_secs(self, secs: u32) -> Self {
        Self { isp_lease_secs: secs, ..self }
    }

    /// PCs are switched on at random within this time.
    pub fn arriving_within(self, span: Duration) -> Self {
        Self { arriving_within: span, ..self }
    }

    /// Each PC looks up a name, and mostly fetches a page, so often on average; `None`: never.
    pub fn visiting_every(self, mean: Option<Duration>) -> Self {
        Self { visit_every: mean, ..self }
    }

    /// The cable of a machine, port or group, from the beginning on.
    pub fn link(mut self, name: &str, link: Link) -> Self {
        self.links.push((name.to_owned(), link));
        self
    }

    /// More of the gateway's configuration, as in its file.
    pub fn config(mut self, toml: &str) -> Self {
        self.extra_config.push_str(toml);
        self
    }

    /// `action` happens at `time` after the beginning.
    pub fn at(mut self, time: Duration, action: Action) -> Self {
        self.actions.push((time, action));
        self
    }

    /// It all takes so long.
    pub fn lasting(self, span: Duration) -> Self {
        Self { lasting: span, ..self }
    }

    /// What has to be true in the end. `check` says what is wrong.
    pub fn expect(mut self, what: &str, check: impl Fn(&Account) -> Result<(), String> + 'static) -> Self {
        self.expectations.push((what.to_owned(), Box::new(check)));
        self
    }

    fn serving(mut self, pc: &str, port: Option<u16>) -> Self {
        self.servers.push(Server { pc: pc.to_owned(), port });
        self
    }

    /// Builds the world from `seed` and lets its time pass; a capture goes to `pcap`.
    ///
    /// # Errors
    ///
    /// The office cannot be built: a sentence that says which line of the scenario to change. Or the
    /// capture cannot be written.
    pub fn run(self, name: &str, seed: u64, pcap: Option<&Path>) -> Result<Outcome, String> {
        World::build(self, name, seed, pcap)?.run()
    }

    /// Everything that was chosen, for people.
    pub(super) fn describe(&self) -> String {
        let mut text = format!(
            "{} PCs ({} chatting, {} asking) on {} ports, mode {}, WAN {:?}, leases {} s, the provider's {} s, {} s",
            self.pcs,
            self.chatting,
            self.asking,
            self.lan_ports,
            self.mode,
            self.wan,
            self.lease_secs,
            self.isp_lease_secs,
            self.lasting.as_secs(),
        );
        for Server { pc, port } in &self.servers {
            let _ = match port {
                Some(port) => write!(text, "\n  port {port} leads to {pc}"),
                None => write!(text, "\n  {pc} is the default machine"),
            };
        }
        if let Some(printer) = &self.printer {
            let _ = write!(text, "\n  {printer} is the printer");
        }
        for line in self.extra_config.lines() {
            let _ = write!(text, "\n  {line}");
        }
        for (name, link) in &self.links {
            let _ = write!(text, "\n  cable of {name}: {link:?}");
        }
        for (time, action) in &self.actions {
            let _ = write!(text, "\n  {:>4} s: {action}", time.as_secs());
        }
        text
    }

    /// The gateway's configuration.
    pub(super) fn gateway_config(&self) -> Result<Config, String> {
        let ports: Vec<_> = (0..self.lan_ports).map(|port| format!("{{ tap = 'lan{port}' }}")).collect();
        let wan = match self.wan {
            WanBy::Dhcp => "address = 'dhcp'".to_owned(),
            WanBy::Fixed => format!(
                "address = '{}/{}'\ngateway = '{}'\n[dns]\nupstream = ['{DNS_ADDRESS}']",
                self.fixed_address(),
                self.isp_network.prefix_len(),
                self.isp_router(),
            ),
        };
        let text = format!(
            "network.mode = '{}'\n[dhcp]\npool = '192.168.1.2-192.168.1.254'\nlease_secs = {}\n\
             [lan]\nports = [{}]\n[wan]\nports = [{{ tap = 'wan' }}]\n{wan}\n{}{}",
            self.mode,
            self.lease_secs,
            ports.join(", "),
            self.rules(),
            self.extra_config,
        );
        Config::parse("the gateway's configuration", &text).map_err(|mistakes| {
            let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            format!("{}; see mode(), lease_secs() and config()\n{text}", mistakes.join("\n"))
        })
    }

    /// The reservations and the firewall's rules, as in the file.
    fn rules(&self) -> String {
        let mut text = String::new();
        for (pc, address) in self.reserved() {
            let mac = mac_of(pc);
            let _ = writeln!(text, "[[dhcp.reservations]]\nmac = '{mac}'\naddress = '{address}'");
            if self.printer.as_deref().and_then(pc_number) == Some(pc) {
                text.push_str("hostname = 'printer'\n");
            }
        }
        let address_of = |pc: &str| self.reserved().find(|(number, _)| pc_number(pc) == Some(*number));
        for Server { pc, port } in &self.servers {
            let Some((_, address)) = address_of(pc) else { continue };
            let _ = match port {
                None => writeln!(text, "[firewall]\ndmz_host = '{address}'"),
                Some(port) => {
                    writeln!(text, "[[firewall.forwards]]\nwan_port = '{port}'\nto = '{address}:{WEB_PORT}'")
                }
            };
        }
        text
    }

    /// Who has a reservation, and of which address.
    fn reserved(&self) -> impl Iterator<Item = (usize, std::net::Ipv4Addr)> {
        let mut pcs: Vec<_> = self.servers.iter().map(|server| &server.pc).chain(&self.printer).collect();
        pcs.dedup();
        let addresses = (RESERVED_FIRST..).map(|host| std::net::Ipv4Addr::new(192, 168, 1, host));
        pcs.into_iter().filter_map(|pc| pc_number(pc)).zip(addresses).collect::<Vec<_>>().into_iter()
    }

    /// Whether there is a printer.
    pub(super) fn has_printer(&self) -> bool {
        self.printer.is_some()
    }

    /// Whether the PC with this number serves pages.
    pub(super) fn is_server(&self, pc: usize) -> bool {
        self.servers.iter().any(|server| pc_number(&server.pc) == Some(pc))
    }

    /// The server that the PC with this number visits by its address outside, if it does.
    pub(super) fn own_server_for(&self, pc: usize) -> Option<(std::net::Ipv4Addr, u16)> {
        let is_visitor = pc + self.hairpinning >= self.pcs && !self.is_server(pc);
        let port = self.servers.iter().find_map(|server| server.port).filter(|_| is_visitor)?;
        Some((self.wan_address(), port))
    }

    /// The ports of the WAN's address that lead to servers.
    pub(super) fn server_ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port.unwrap_or(WEB_PORT)).collect()
    }

    /// The gateway's address on the WAN, until the provider renumbers.
    pub(super) fn wan_address(&self) -> std::net::Ipv4Addr {
        match self.wan {
            WanBy::Dhcp => self.isp_host(LEASED_HOST),
            WanBy::Fixed => self.fixed_address(),
        }
    }

    /// The gateway's address if it is configured.
    pub(super) fn fixed_address(&self) -> std::net::Ipv4Addr {
        self.isp_host(10)
    }

    fn isp_router(&self) -> std::net::Ipv4Addr {
        self.isp_host(1)
    }

    /// A host of the provider's network.
    pub(super) fn isp_host(&self, number: u32) -> std::net::Ipv4Addr {
        std::net::Ipv4Addr::from_bits(self.isp_network.network().to_bits() + number)
    }

    /// Whether any cable can invert bits, now or later.
    pub(super) fn bits_flip(&self) -> bool {
        let later = self.actions.iter().filter_map(|(_, action)| match action {
            Action::Link { link, .. } => Some(link),
            _ => None,
        });
        self.links.iter().map(|(_, link)| link).chain(later).any(Link::corrupts)
    }

    /// What is wrong with the numbers and names.
    pub(super) fn validate(&self) -> Result<(), String> {
        if !(1..=PCS_MAX).contains(&self.pcs) {
            return Err(format!("{} PCs are not possible; write pcs(1) to pcs({PCS_MAX})", self.pcs));
        }
        if self.chatting > self.pcs {
            return Err(format!(
                "{} of {} PCs cannot chat; change chatting() or pcs()",
                self.chatting, self.pcs
            ));
        }
        if !(1..=LAN_PORTS_MAX).contains(&self.lan_ports) {
            let ports = self.lan_ports;
            return Err(format!(
                "{ports} LAN ports are not possible; write lan_ports(1) to lan_ports({LAN_PORTS_MAX})"
            ));
        }
        if !matches!(self.mode.as_str(), "router" | "nat" | "nat-dmz") {
            return Err(format!("no mode {:?} in the simulation; write mode(\"nat\")", self.mode));
        }
        for pc in self.servers.iter().map(|server| &server.pc).chain(&self.printer) {
            if !self.is_pc(pc) {
                return Err(format!(
                    "{pc:?} is no PC; write forwarded(\"pc-0\", ..), dmz_host(\"pc-0\") or printer(\"pc-0\")"
                ));
            }
        }
        for (name, _) in &self.links {
            self.validate_name(name, "link()")?;
        }
        for (time, action) in &self.actions {
            let line = format!("at({} s)", time.as_secs());
            if *time > self.lasting {
                return Err(format!("{line} is after the end; change it or lasting()"));
            }
            match action {
                Action::Link { name, .. } => self.validate_name(name, &line)?,
                Action::Sleep(machine) | Action::Wake(machine) if !self.is_pc(machine) => {
                    return Err(format!("{line} names {machine:?}, which is no PC; write \"pc-0\""));
                }
                Action::Replug { machine, port } => {
                    if !self.is_pc(machine) {
                        return Err(format!("{line} moves {machine:?}, which is no PC; write \"pc-0\""));
                    }
                    if self.lan_port(port).is_none() {
                        return Err(format!(
                            "{line} uses port {port:?}, which does not exist; see lan_ports()"
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The number of a port of the office's switch.
    pub(super) fn lan_port(&self, name: &str) -> Option<usize> {
        (0..self.lan_ports).find(|port| name == format!("lan{port}"))
    }

    fn is_pc(&self, name: &str) -> bool {
        (0..self.pcs).any(|pc| name == format!("pc-{pc}"))
    }

    fn validate_name(&self, name: &str, line: &str) -> Result<(), String> {
        let is_known = matches!(name, "lan" | "wan" | "pcs" | "internet" | "attacker" | "spoofer")
            || self.is_pc(name)
            || self.lan_port(name).is_some();
        if is_known {
            return Ok(());
        }
        Err(format!(
            "{line} names {name:?}, which does not exist; write lan, lan0, wan, pcs, pc-0, internet, attacker or spoofer"
        ))
    }

    /// The cable that `name` has in the beginning; the last line about it or its group counts.
    pub(super) fn link_of(&self, name: &str, group: &str) -> Link {
        let mut matching = self.links.iter().rev().filter(|(of, _)| of == name || of == group);
        matching.next().map_or_else(perfect, |(_, link)| link.clone())
    }
}

/// The number of the PC called `name`, if one can be.
fn pc_number(name: &str) -> Option<usize> {
    name.strip_prefix("pc-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::action::{link, replug};

    #[test]
    fn what_cannot_be_built_is_told_with_the_line_to_change() {
        let told = |office: Office| office.validate().expect_err("a mistake");
        assert!(told(office().pcs(251)).contains("pcs(250)"));
        assert!(told(office().lan_ports(0)).contains("lan_ports(1)"));
        assert!(told(office().mode("lan-only")).contains("mode(\"nat\")"));
        assert!(told(office().link("printer", perfect())).contains("\"printer\""));
        let at = |action| office().at(Duration::from_secs(7), action);
        assert!(told(at(replug("pc-9", "lan0"))).contains("at(7 s)"));
        assert!(told(at(replug("pc-0", "lan1"))).contains("lan_ports()"));
        assert!(told(at(link("nobody", perfect()))).contains("at(7 s)"));
        assert!(told(office().at(Duration::from_secs(61), Action::Calm)).contains("lasting()"));
        assert!(office().config("[dhcp]\n").gateway_config().unwrap_err().contains("config()"));
    }
}
