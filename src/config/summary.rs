//! A configuration for people: in one line, and in detail.

use std::fmt;

use gatepost_dataplane::config::Mode;
use gatepost_ground::InterfaceId;

use super::{Config, Forward, System, WanAddress};

/// The configuration in one line.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |id: InterfaceId| {
            let names =
                self.ports().filter(|(interface, _)| *interface == id).map(|(_, port)| port.to_string());
            names.collect::<Vec<_>>().join(", ")
        };
        write!(f, "{}, LAN {} on {}", self.mode.name(), self.lan.address, ports(Config::LAN))?;
        match self.wan.address {
            _ if self.mode == Mode::LanOnly => Ok(()),
            WanAddress::Leased => write!(f, ", WAN by DHCP on {}", ports(Config::WAN)),
            WanAddress::Static { address, .. } => write!(f, ", WAN {address} on {}", ports(Config::WAN)),
        }
    }
}

/// One thing that a configuration sets up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The topic.
    pub topic: &'static str,
    /// The thing.
    pub text: String,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<TOPIC_WIDTH$}  {}", self.topic, self.text)
    }
}

/// The width of the topics' column, with room for the longest topic.
const TOPIC_WIDTH: usize = 15;

impl Config {
    /// The details that the one line leaves out: pool, mail, reservations, matches, forwards, users, names.
    pub fn details(&self) -> Vec<Detail> {
        let mut details = Vec::new();
        let mut tell = |topic, text| details.push(Detail { topic, text });
        if let (WanAddress::Static { gateway: Some(gateway), .. }, true) =
            (&self.wan.address, self.mode != Mode::LanOnly)
        {
            tell("WAN router", gateway.to_string());
        }
        self.summaries().for_each(|(topic, text)| tell(topic, text));
        self.services.details(&self.users).for_each(|(topic, text)| tell(topic, text));
        if self.mode.translates() {
            self.firewall.forwards.iter().for_each(|forward| tell("forward", forward.to_string()));
            self.firewall.dmz_host.iter().for_each(|host| tell("default host", host.to_string()));
        }
        self.wan_services().for_each(|kind| tell("WAN service", kind.name.to_owned()));
        for user in &self.users {
            tell("user", format!("{} ({})", user.name, user.role.name()));
        }
        for (kind, from) in self.limited_services() {
            let from: Vec<_> = from.iter().map(ToString::to_string).collect();
            tell("access", format!("{} from {}", kind.name, from.join(", ")));
        }
        let System { hostname, domain, .. } = &self.system;
        let names = self.services.names(hostname, domain, self.lan.address.addr());
        names.for_each(|name| tell("name", name));
        details
    }

    fn summaries(&self) -> impl Iterator<Item = (&'static str, String)> {
        let has_provider = self.mode != Mode::LanOnly && self.wan.address == WanAddress::Leased;
        self.services.summaries(&self.system.domain, has_provider)
    }
}

/// `camera: tcp 8443 to 192.168.1.20:443`
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        let Some(rule) = self.rules.first() else { return f.write_str("nothing") };
        let protocols: Vec<_> =
            self.rules.iter().map(|rule| rule.protocol.to_string().to_lowercase()).collect();
        let (first, last) = rule.wan_ports.clone().into_inner();
        let count = last - first;
        let range =
            |first: u16| if count == 0 { first.to_string() } else { format!("{first}-{}", first + count) };
        write!(f, "{} {} to {}:{}", protocols.join("+"), range(first), rule.to, range(rule.to_port))?;
        let sources: Vec<_> = rule.from.iter().map(ToString::to_string).collect();
        let is_for_all = rule.from.iter().any(|from| from.prefix_len() == 0);
        if is_for_all { Ok(()) } else { write!(f, " from {}", sources.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("test", text).expect("a valid configuration")
    }

    fn summary(text: &str) -> String {
        config(text).to_string()
    }

    fn details(text: &str) -> Vec<String> {
        config(text).details().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn details_name_what_hosts_and_the_outside_get() {
        assert_eq!(
            details(
                "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.1'\nfirewall.wan_services = ['dns']\n\
                 firewall.dmz_host = '192.168.1.30'\ndns.upstream = ['203.0.113.53']\n\
                 [[dhcp.reservations]]\nhostname = 'camera'\nmac = '02:00:00:00:00:20'\naddress = '192.168.1.20'\n\
                 [[dhcp.reservations]]\nclient_id = '01:ab'\naddress = '192.168.1.21'\n\
                 [[dhcp.match]]\nvendor_class = 'PXEClient*'\narchitecture = 7\nboot_file = 'a'\nnext_server = '192.168.1.9'\n\
                 [[dhcp.match]]\nuser_class = 'iPXE'\nmac_prefix = '00:04'\nntp_servers = []\n\
                 [[firewall.forwards]]\nname = 'camera'\nwan_port = '8443'\nto = '192.168.1.20:443'\n\
                 [[firewall.forwards]]\nprotocol = 'tcp+udp'\nwan_port = '8000-8010'\nto = '192.168.1.21:9000'\n\
                 from = ['198.51.100.0/24']\n\
                 [[dns.records]]\nname = 'nas'\ntype = 'A'\nvalue = '192.168.1.40'\n\
                 [[dns.records]]\nname = 'shop.example.'\ntype = 'MX'\nvalue = '10 smtp'"
            ),
            [
                "WAN router       203.0.113.1",
                "DHCP             192.168.1.1 to 192.168.1.100, for 86400 s",
                "DNS              office.example; asks 203.0.113.53",
                "NTP              the machine\'s time; at stratum 10 while its clock is unsynchronised",
                "pages            https://admin.office.example:8080",
                "mail             off, as there is nobody to have any",
                "reservation      192.168.1.20 camera (02:00:00:00:00:20)",
                "reservation      192.168.1.21 (client 01:ab)",
                "DHCP match       vendor class PXEClient*, architecture 7: next server 192.168.1.9, options 67",
                "DHCP match       user class iPXE, MAC 00:04*: options 42",
                "forward          camera: tcp 8443 to 192.168.1.20:443",
                "forward          8000-8010: tcp+udp 8000-8010 to 192.168.1.21:9000-9010 from 198.51.100.0/24",
                "default host     192.168.1.30",
                "WAN service      dns",
                "access           admin from 192.168.1.0/24",
                "name             gatepost.office.example 192.168.1.1",
                "name             camera.office.example 192.168.1.20",
                "name             nas.office.example 192.168.1.40",
                "name             shop.example MX 10 smtp",
            ]
        );
        assert_eq!(
            details("network.mode = 'lan-only'\ndhcp.enabled = false\ndns.enabled = false"),
            [
                "DHCP             off",
                "DNS              off",
                "NTP              the machine\'s time; at stratum 10 while its clock is unsynchronised",
                "pages            https://admin.office.example:8080",
                "mail             off, as there is nobody to have any",
                "access           admin from 192.168.1.0/24"
            ]
        );
    }

    #[test]
    fn details_count_what_mail_has() {
        let mail = |text: &str| {
            let details = details(&format!("users = [{{ name = 'anna' }}]\n{text}"));
            let mail =
                details.into_iter().filter_map(|line| Some(line.strip_prefix("mail")?.trim().to_owned()));
            mail.collect::<Vec<_>>()
        };
        assert_eq!(
            mail(
                "mail.smarthost = 'smtp.isp.example'\nmail.domains = [{ name = 'shop.example' }]\n\
                 mail.aliases = [{ name = 'sales', members = ['anna'] }]\nmail.ports = { submissions = 0, lmtp = 24 }"
            ),
            [
                "office.example, shop.example; mail for others to smtp.isp.example:587",
                "2 domains, 1 user, 1 alias, 0 rules, 0 polled mailboxes; \
                 ports: smtp 25, submission 587, lmtp 24, pop3 110, pop3s 995",
            ]
        );
        assert_eq!(mail("mail.enabled = false"), ["off, as mail.enabled is false"]);
        let ports = "mail.ports = { smtp = 0, submission = 0, submissions = 0, pop3 = 0, pop3s = 0 }";
        assert!(mail(ports)[1].ends_with("; ports: none"), "{:?}", mail(ports));
    }

    #[test]
    fn details_leave_out_what_the_mode_ignores() {
        let told = |mode: &str| {
            let text = "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.1'\n\
                        firewall.wan_services = ['dns']\nfirewall.dmz_host = '192.168.1.30'\n\
                        [[firewall.forwards]]\nwan_port = '8443'\nto = '192.168.1.20:443'";
            let details = config(&format!("network.mode = '{mode}'\n{text}")).details();
            details.iter().map(|detail| detail.topic).collect::<Vec<_>>()
        };
        assert_eq!(
            told("router"),
            ["WAN router", "DHCP", "DNS", "NTP", "pages", "mail", "WAN service", "access", "name"]
        );
        assert_eq!(told("lan-only"), ["DHCP", "DNS", "NTP", "pages", "mail", "access", "name"]);
    }

    #[test]
    fn details_name_whom_the_gateway_asks_for_names() {
        let asked = |text: &str| {
            let config = config(text);
            let (_, dns) = config.summaries().find(|(topic, _)| *topic == "DNS").expect("it is told");
            dns.strip_prefix("office.example; asks ").expect("whom it asks").to_owned()
        };
        assert_eq!(asked(""), "the provider's servers");
        assert_eq!(asked("dns.upstream = ['203.0.113.53', '203.0.113.54']"), "203.0.113.53, 203.0.113.54");
        assert_eq!(asked("dns.upstream = ['203.0.113.53']\ndns.use_upstream = false"), "nobody");
        assert_eq!(asked("network.mode = 'lan-only'"), "nobody, as dns.upstream is empty");
    }

    #[test]
    fn summary_names_mode_addresses_and_ports() {
        assert_eq!(summary(""), "nat-dmz, LAN 192.168.1.1/24 on gp-lan0, WAN by DHCP on gp-wan0");
        assert_eq!(
            summary(
                "lan.ports = [{ tap = 'eth0', netns = 'pc1' }, { tap = 'eth0', netns = 'pc2' }]\n\
                 network.mode = 'router'\nwan.address = '203.0.113.10/24'"
            ),
            "router, LAN 192.168.1.1/24 on eth0 in netns pc1, eth0 in netns pc2, WAN 203.0.113.10/24 on gp-wan0"
        );
        assert_eq!(summary("network.mode = 'lan-only'"), "lan-only, LAN 192.168.1.1/24 on gp-lan0");
    }
}
