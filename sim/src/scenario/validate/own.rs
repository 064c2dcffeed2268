//! The validation of a scenario's own machines and servers.

use crate::machine::internet::INTERNET;
use crate::mistake::{Line, Mistake};
use crate::scenario::members::{PCS, Role};
use crate::scenario::office::Office;
use crate::scenario::own::{OWN_MAX, OwnMachine, OwnServer};

use super::wrong;

/// The most octets of a label of a host name. (RFC 1035, section 2.3.4)
const NAME_LEN_MAX: usize = 63;
/// What is no machine's name.
const GROUPS: [&str; 6] = ["lan", PCS, "wan", "apart", "gateway", "printer"];

impl Office {
    pub(super) fn validate_own(&self) -> Result<(), Mistake> {
        let machines = self.own_machines.iter().map(|own| (&own.name, own.line));
        let servers = self.own_servers.iter().map(|own| (&own.name, own.line));
        for names in [machines.clone().collect::<Vec<_>>(), servers.clone().collect()] {
            if let Some((_, line)) = names.get(OWN_MAX) {
                return wrong(line, format!("more than {OWN_MAX} are not possible; leave this one out"));
            }
        }
        let all: Vec<_> = machines.chain(servers).collect();
        for (at, (name, line)) in all.iter().enumerate() {
            self.validate_own_name(name, all[..at].iter().any(|(other, _)| other == name), line)?;
        }
        for OwnMachine { name, port, line, .. } in &self.own_machines {
            match self.lan_port(port) {
                Some(_) => {}
                None if port == "wan" => self.validate_wan(name, line)?,
                None => {
                    let ports = self.port_names();
                    return wrong(line, format!("there is no port {port:?}; name one of {ports}, wan"));
                }
            }
        }
        self.own_servers.iter().try_for_each(|own| self.validate_own_server(own))
    }

    fn validate_own_name(&self, name: &str, is_taken: bool, line: &Line) -> Result<(), Mistake> {
        let is_letter = |octet: u8| octet.is_ascii_lowercase();
        let is_name = name.len() <= NAME_LEN_MAX
            && name.bytes().next().is_some_and(is_letter)
            && name.bytes().all(|octet| is_letter(octet) || octet.is_ascii_digit() || octet == b'-')
            && !name.ends_with('-');
        let is_like_a_pc = name.starts_with("pc-");
        let mut others = self.others().filter(|member| !matches!(member.role, Role::Own(_)));
        let is_known = others.any(|member| member.name == name)
            || GROUPS.contains(&name)
            || self.lan_port(name).is_some();
        match () {
            () if !is_name => wrong(
                line,
                format!("{name:?} is no host name; write letters, digits and hyphens: \"beacon\""),
            ),
            () if is_taken || is_known || is_like_a_pc => {
                wrong(line, format!("the name {name:?} is taken; write another"))
            }
            () => Ok(()),
        }
    }

    fn validate_own_server(&self, own: &OwnServer) -> Result<(), Mistake> {
        let OwnServer { name, site, line, .. } = own;
        self.validate_wan(name, line)?;
        if site.udp.is_empty() && site.tcp.is_empty() {
            return wrong(line, format!("{name} takes nothing; write udp(4000) or tcp(4000)"));
        }
        match site.hosts.iter().find(|(_, address)| !INTERNET.contains(address)) {
            Some((_, address)) => wrong(line, format!("{address} is not on the internet, {INTERNET}")),
            None if site.hosts.is_empty() => wrong(line, format!("{name} has no address; write Site::at()")),
            None => Ok(()),
        }
    }
}
