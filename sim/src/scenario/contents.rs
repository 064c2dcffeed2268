//! The contents of an office by short names, which a run over many seeds counts.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::action::Action;
use super::office::{Office, Server};
use crate::machine::attacker::Shot;

impl Office {
    /// The machines, the properties of the gateway, and the events, each once.
    pub(crate) fn contents(&self) -> BTreeSet<String> {
        let mut contents = BTreeSet::from([
            format!("gateway: mode {}", self.mode),
            format!("gateway: workers {}", self.workers),
            format!("wan: {:?}", self.wan),
        ]);
        let is_limited = self.extra_config.contains("max_flows_per_host");
        let has = |is_it: &dyn Fn(&Server) -> bool| self.servers.iter().any(is_it);
        let mail = self.mail.as_ref();
        for (is_there, name) in [
            (self.chatting > 0, "pcs: chat"),
            (self.asking > 0, "pcs: ask over UDP"),
            (self.asking_by_tcp > 0, "pcs: ask for names over TCP"),
            (self.asking_time > 0, "pcs: ask for the time"),
            (self.in_a_hurry > 0, "pcs: ask for the time in a hurry"),
            (self.hairpinning > 0, "pcs: visit colleagues at the WAN address"),
            (has(&|server| server.port.is_some()), "pcs: a server behind a forward"),
            (has(&|server| server.port.is_none()), "pcs: a default host"),
            (self.printer.is_some(), "pcs: a printer"),
            (mail.is_some(), "mail"),
            (mail.is_some_and(|mail| mail.habits.has_tls), "mail: TLS"),
            (self.browsing.is_some(), "administration"),
            (self.names.mixed_case, "gateway: mixed case"),
            (self.super_frames, "gateway: super-frames"),
            (is_limited, "gateway: few flows per host"),
            (self.isp_times_secs.is_some(), "wan: T1 and T2"),
            (self.wan_mtu < 1_500, "wan: a short MTU"),
        ] {
            if is_there {
                contents.insert(name.to_owned());
            }
        }
        contents.extend(self.own_machines.iter().map(|machine| format!("machine: {}", stem(&machine.name))));
        contents.extend(self.own_servers.iter().map(|server| format!("server: {}", stem(&server.name))));
        contents.extend(self.links.iter().map(|(name, ..)| format!("cable: {}", stem(name))));
        contents.extend(self.actions.iter().flat_map(|(_, action, _)| kinds(action)));
        contents
    }
}

/// The kinds of what an action does.
fn kinds(action: &Action) -> BTreeSet<String> {
    let named = |of: &str, name: String| format!("happens: {of} {name}");
    match action {
        Action::Attack(shots) => shots.iter().map(|shot| named("Attack", shot_word(shot))).collect(),
        Action::Spoof(tricks) => tricks.iter().map(|trick| named("Spoof", word(trick))).collect(),
        Action::Link { name, .. } => BTreeSet::from([named("Link", stem(name).to_owned())]),
        Action::Dns { mood, .. } => BTreeSet::from([named("Dns", word(mood))]),
        Action::DhcpOfProvider(mood) => BTreeSet::from([named("DhcpOfProvider", word(mood))]),
        Action::LeaseForm(form) => BTreeSet::from([named("LeaseForm", word(form))]),
        Action::Provider(mood) => BTreeSet::from([named("Provider", word(mood))]),
        Action::Disk(mood) => BTreeSet::from([named("Disk", word(mood))]),
        Action::PowerCutWhileReplacing(step) => BTreeSet::from([named("PowerCutWhileReplacing", word(step))]),
        Action::Rot(place) => BTreeSet::from([named("Rot", word(place))]),
        other => BTreeSet::from([format!("happens: {}", word(other))]),
    }
}

fn shot_word(shot: &Shot) -> String {
    match shot {
        Shot::Forged { forgery, .. } => format!("Forged {forgery:?}"),
        other => word(other),
    }
}

/// The name of a variant.
fn word(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// A name without its number.
fn stem(name: &str) -> &str {
    name.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches('-')
}

#[cfg(test)]
mod tests {
    use crate::machine::spoofer::Trick;
    use crate::scenario::action::{disk, power_cut, spoof};
    use crate::scenario::office::office;
    use crate::world::disk::DiskMood;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    #[test]
    fn each_kind_is_named_once() {
        let address = Ipv4Addr::new(192, 168, 1, 7);
        let tricks = [Trick::Claim(address), Trick::Claim(address), Trick::Poison(address)];
        let office = office()
            .chatting(2)
            .probing(2)
            .at(Duration::from_secs(1), disk(DiskMood::Slow))
            .at(Duration::from_secs(2), power_cut())
            .at(Duration::from_secs(3), spoof(tricks));
        let expected = [
            "gateway: mode nat-dmz",
            "gateway: workers 1",
            "happens: Disk Slow",
            "happens: PowerCut",
            "happens: Spoof Claim",
            "happens: Spoof Poison",
            "machine: prober",
            "pcs: chat",
            "wan: Dhcp",
        ];
        assert_eq!(office.contents().into_iter().collect::<Vec<_>>(), expected);
    }
}
