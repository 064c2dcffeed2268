//! The validation of an office, with the line of the scenario to change.

mod own;

use std::time::Duration;

use gatepost_dataplane::Shard;
use gatepost_dataplane::config::Mode;
use ipnet::Ipv4Net;

use super::action::Action;
use super::gateway_config::is_lan_network;
use super::members::{Member, PCS, Role};
use super::office::{Office, Server};
use crate::machine::internet::{Tree, authorities, servers_called};
use crate::machine::pc::PCS_MAX;
use crate::mistake::{Line, Mistake};
use crate::world::link::Link;
use crate::world::segment::{FRAME_LEN_MAX, TICK};

/// The most ports that the office's switch has.
pub const LAN_PORTS_MAX: usize = 8;

/// The longest tick: a longer one would exceed timeouts for answers on the LAN.
const TICK_MAX: Duration = Duration::from_millis(20);
/// Octets of an Ethernet header, the least that a frame has.
const ETHERNET_HEADER_LEN: usize = 14;
/// The shortest interval of a machine's periodic action.
const OFTEN_MIN: Duration = Duration::from_millis(1);

impl Office {
    /// Finds the first mistake.
    ///
    /// # Errors
    ///
    /// The mistake, with its line.
    pub(super) fn validate(&self) -> Result<(), Mistake> {
        self.validate_numbers()?;
        self.validate_servers()?;
        self.validate_own()?;
        for (name, link, line) in &self.links {
            self.validate_link(name, link, line)?;
        }
        for (time, action, line) in &self.actions {
            if *time > self.lasting {
                let (time, lasting) = (time.as_secs_f64(), self.lasting.as_secs());
                return wrong(line, format!("{time} s are after the end, at {lasting} s; see lasting()"));
            }
            self.validate_action(action, line)?;
        }
        self.validate_power()
    }

    fn validate_numbers(&self) -> Result<(), Mistake> {
        let Self {
            pcs,
            chatting,
            asking,
            asking_by_tcp,
            asking_time,
            in_a_hurry,
            hairpinning,
            lan_ports,
            workers,
            mode,
            ..
        } = self;
        let modes = Mode::ALL.map(Mode::name);
        let is_often = self.visit_every.is_some_and(|mean| mean < OFTEN_MIN);
        for (method, is_wrong, what) in [
            (
                "pcs",
                !(1..=PCS_MAX).contains(pcs),
                format!("{pcs} PCs are not possible; write pcs(1) to pcs({PCS_MAX})"),
            ),
            (
                "workers",
                Shard::new(0, *workers).is_none(),
                format!(
                    "{workers} workers are not possible; write workers(1) to workers({})",
                    Shard::COUNT_MAX
                ),
            ),
            (
                "lan_ports",
                !(1..=LAN_PORTS_MAX).contains(lan_ports),
                format!(
                    "{lan_ports} LAN ports are not possible; write lan_ports(1) to lan_ports({LAN_PORTS_MAX})"
                ),
            ),
            (
                "mode",
                !modes.contains(&mode.as_str()),
                format!("there is no mode {mode:?}; write one of {}", modes.join(", ")),
            ),
            (
                "lan",
                !is_lan_network(&self.lan),
                format!("{:?} is no network with room for the office; write lan(\"10.20.0.0/16\")", self.lan),
            ),
            (
                "chatting",
                chatting > pcs,
                format!("{chatting} of {pcs} PCs cannot chat; write chatting({pcs})"),
            ),
            (
                "chatting",
                *chatting > 0 && !self.has_wan(),
                "nobody to chat with in lan-only mode; write chatting(0)".to_owned(),
            ),
            (
                "chatting_every",
                self.chatting_every < OFTEN_MIN,
                "nobody chats so often; write a second or more".to_owned(),
            ),
            ("asking", asking > pcs, format!("{asking} of {pcs} PCs cannot ask; write asking({pcs})")),
            (
                "asking",
                *asking > 0 && !self.has_wan(),
                "nobody to ask in lan-only mode; write asking(0)".to_owned(),
            ),
            (
                "asking_time",
                asking_time > pcs,
                format!("{asking_time} of {pcs} PCs cannot ask; write asking_time({pcs})"),
            ),
            (
                "in_a_hurry",
                in_a_hurry > asking_time,
                format!("{in_a_hurry} of {asking_time} PCs cannot hurry; write in_a_hurry({asking_time})"),
            ),
            (
                "asking_by_tcp",
                asking_by_tcp > pcs,
                format!("{asking_by_tcp} of {pcs} PCs cannot ask; write asking_by_tcp({pcs})"),
            ),
            (
                "hairpinning",
                hairpinning > pcs,
                format!("{hairpinning} of {pcs} PCs cannot visit; write hairpinning({pcs})"),
            ),
            (
                "hairpinning",
                *hairpinning > 0 && !self.has_wan(),
                "there is no address outside in lan-only mode; write hairpinning(0)".to_owned(),
            ),
            (
                "isp_lease_secs",
                self.isp_lease_secs == 0,
                "no lease lasts 0 s; write isp_lease_secs(60)".to_owned(),
            ),
            (
                "isp_times_secs",
                self.isp_times_secs.is_some_and(|(renew, rebind)| {
                    !(0 < renew && renew < rebind && rebind < self.isp_lease_secs)
                }),
                "T1 comes before T2, and T2 before the end; write isp_times_secs(20, 40)".to_owned(),
            ),
            (
                "tick_ms",
                !(TICK..=TICK_MAX).contains(&self.tick),
                format!(
                    "ticks of {} ms are not possible; write tick_ms(1) to tick_ms({})",
                    self.tick.as_millis(),
                    TICK_MAX.as_millis()
                ),
            ),
            ("visiting_every", is_often, "nobody visits so often; write a second or more".to_owned()),
        ] {
            if is_wrong {
                return wrong(&self.line_of(method), what);
            }
        }
        Ok(())
    }

    fn validate_servers(&self) -> Result<(), Mistake> {
        for Server { pc, line, .. } in &self.servers {
            if !self.has_wan() {
                return wrong(line, format!("nobody outside visits {pc} in lan-only mode"));
            }
            self.validate_pc(pc, line)?;
        }
        self.printer.iter().try_for_each(|pc| self.validate_pc(pc, &self.line_of("printer")))
    }

    fn validate_link(&self, name: &str, link: &Link, line: &Line) -> Result<(), Mistake> {
        if let Some(mistake) = link.mistake() {
            return Err(mistake.clone());
        }
        let member = self.member(name);
        let is_group = matches!(name, "lan" | PCS) || self.lan_port(name).is_some();
        match member {
            _ if name == "wan" => self.validate_wan(name, line),
            Some(member) if !member.is_on_lan() => self.validate_wan(name, line),
            Some(_) => Ok(()),
            None if is_group => Ok(()),
            None if name.starts_with("pc-") => self.validate_on_lan(name, line),
            None => {
                let ports = self.port_names();
                let others: Vec<_> = self.others().map(|member| member.name).collect();
                let names = format!("lan, {ports}, pcs, pc-0, wan, {}", others.join(", "));
                wrong(line, format!("there is no cable {name:?}; name one of {names}"))
            }
        }
    }

    fn validate_wan(&self, name: &str, line: &Line) -> Result<(), Mistake> {
        if self.has_wan() { Ok(()) } else { wrong(line, format!("there is no {name} in lan-only mode")) }
    }

    fn validate_action(&self, action: &Action, line: &Line) -> Result<(), Mistake> {
        let is_about_wan = matches!(
            action,
            Action::Renumber(_)
                | Action::DhcpOfProvider(_)
                | Action::LeaseForm(_)
                | Action::NameServersTold(_)
                | Action::Provider(_)
                | Action::Dns { .. }
                | Action::NameMoves(_)
                | Action::Attack(_)
                | Action::OpenPinhole { .. }
        );
        if is_about_wan && !self.has_wan() {
            return wrong(line, format!("there is no WAN in lan-only mode, and so not: {action}"));
        }
        match action {
            Action::Link { name, link } => self.validate_link(name, link, line),
            Action::Dns { servers, .. } if servers_called(servers).next().is_none() => {
                let known: Vec<_> = authorities().collect();
                let known = known.join(", ");
                let names = format!("resolver-0, resolver-1, resolvers, authorities or one of {known}");
                wrong(line, format!("there is no name server {servers:?}; write {names}"))
            }
            Action::NameMoves(name) if !Tree::new().can_move(name) => {
                wrong(line, format!("{name:?} has no address of its own; write \"site-3.example\""))
            }
            Action::Replug { machine, port } => {
                self.validate_on_lan(machine, line)?;
                match self.lan_port(port) {
                    Some(_) => Ok(()),
                    None => {
                        wrong(line, format!("there is no port {port:?}; name one of {}", self.port_names()))
                    }
                }
            }
            Action::Act(act) => match self.member(&act.name) {
                Some(member) if member.is_on_lan() => Ok(()),
                // A server, if the world has one with this name.
                _ => self.validate_wan(&act.name, line),
            },
            Action::Frame { machine, frame } => self.validate_frame(machine, frame, line),
            Action::Sleep(machine) | Action::Wake(machine) => self.validate_on_lan(machine, line),
            Action::Partition(names) => names.iter().try_for_each(|name| self.validate_on_lan(name, line)),
            Action::Renumber(network) if network.parse::<Ipv4Net>().is_err() => {
                wrong(line, format!("{network:?} is no network; write \"192.0.2.0/24\""))
            }
            Action::Reload(rules) => match self.config_with(rules) {
                Ok(_) => Ok(()),
                Err(mistakes) => wrong(line, mistakes),
            },
            Action::PowerCutWhileWriting(0) => {
                wrong(line, "the next write is 1; write power_cut_while_writing(1)".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn validate_frame(&self, machine: &str, frame: &[u8], line: &Line) -> Result<(), Mistake> {
        match self.member(machine) {
            Some(member) if !member.is_on_lan() => self.validate_wan(machine, line)?,
            _ => self.validate_on_lan(machine, line)?,
        }
        match frame.len() {
            ETHERNET_HEADER_LEN..=FRAME_LEN_MAX => Ok(()),
            len => wrong(
                line,
                format!("{len} octets are no frame; send {ETHERNET_HEADER_LEN} to {FRAME_LEN_MAX}"),
            ),
        }
    }

    /// Power cuts and boots alternate.
    fn validate_power(&self) -> Result<(), Mistake> {
        let mut has_power = true;
        for (_, action, line) in self.actions_in_order() {
            match action {
                Action::PowerCut | Action::PowerCutWhileWriting(_) | Action::PowerCutWhileReplacing(_)
                    if !has_power =>
                {
                    return wrong(line, "the power is cut already; write power_back() before".to_owned());
                }
                Action::PowerBack if has_power => {
                    return wrong(line, "the power is there; write power_cut() before".to_owned());
                }
                Action::PowerCut | Action::PowerCutWhileWriting(_) | Action::PowerCutWhileReplacing(_) => {
                    has_power = false;
                }
                Action::PowerBack => has_power = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn validate_pc(&self, name: &str, line: &Line) -> Result<(), Mistake> {
        match self.member(name) {
            Some(Member { role: Role::Pc(_), .. }) => Ok(()),
            _ => self.no_machine(name, line),
        }
    }

    fn validate_on_lan(&self, name: &str, line: &Line) -> Result<(), Mistake> {
        match self.member(name) {
            Some(member) if member.is_on_lan() => Ok(()),
            _ => self.no_machine(name, line),
        }
    }

    fn no_machine(&self, name: &str, line: &Line) -> Result<(), Mistake> {
        let last = self.pcs - 1;
        let what = format!("there is no machine {name:?} in an office of {} PCs", self.pcs);
        wrong(line, format!("{what}; name one of pc-0 to pc-{last}"))
    }

    /// All machines but the PCs.
    fn others(&self) -> impl Iterator<Item = Member> {
        self.members().into_iter().filter(|member| !matches!(member.role, Role::Pc(_)))
    }

    /// The number of a port of the office's switch.
    pub(super) fn lan_port(&self, name: &str) -> Option<usize> {
        (0..self.lan_ports).find(|port| name == format!("lan{port}"))
    }

    fn port_names(&self) -> String {
        (0..self.lan_ports).map(|port| format!("lan{port}")).collect::<Vec<_>>().join(", ")
    }
}

fn wrong(line: &Line, what: String) -> Result<(), Mistake> {
    Err(Mistake::at(line, what))
}

#[cfg(test)]
mod tests;
