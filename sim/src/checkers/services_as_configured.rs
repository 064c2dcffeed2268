//! Services as configured: the gateway's report of its services agrees with its file: before a reload, during it, after
//! it, and after a rejected one. A boot takes as long as the disk does, so the promise holds once the services have
//! started.

use gatepost::config::Config;
use gatepost::control::report::Service;

use super::{Checker, Snapshot};

/// Compares the report of the services with the file.
#[derive(Default)]
pub struct ServicesAsConfigured {
    /// The configuration in force, and the one to which the gateway may be changing.
    wanted: Vec<Wanted>,
    /// Whether the services have agreed with the file since the gateway booted.
    has_come_up: bool,
}

/// The services by a configuration file.
#[derive(Clone, Copy)]
struct Wanted {
    dhcp: bool,
    dns: bool,
    ntp: bool,
}

impl Wanted {
    fn of(config: &Config) -> Self {
        let services = &config.services;
        Self { dhcp: services.dhcp.enabled, dns: services.dns.enabled, ntp: services.ntp.enabled }
    }
}

/// The listening services, by protocol and port.
const DHCP: &[(&str, u16)] = &[("udp", 67)];
const DNS: &[(&str, u16)] = &[("udp", 53), ("tcp", 53)];
const NTP: &[(&str, u16)] = &[("udp", 123)];

impl Checker for ServicesAsConfigured {
    fn name(&self) -> &'static str {
        "services-as-configured"
    }

    fn promise(&self) -> &'static str {
        "a service that the configuration enables always serves the LAN at its ports, and no other does"
    }

    fn on_boot(&mut self) {
        self.has_come_up = false;
    }

    fn on_reload(&mut self, config: &Config) {
        self.wanted.push(Wanted::of(config));
    }

    fn on_configure(&mut self, config: &Config) {
        self.wanted = vec![Wanted::of(config)];
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let compared = self.compare(snapshot);
        self.has_come_up |= compared.is_ok();
        if self.has_come_up { compared } else { Ok(()) }
    }
}

impl ServicesAsConfigured {
    fn compare(&self, snapshot: &Snapshot) -> Result<(), String> {
        let services = [
            ("dhcp", DHCP, self.all(|wanted| wanted.dhcp)),
            ("dns", DNS, self.all(|wanted| wanted.dns)),
            ("ntp", NTP, self.all(|wanted| wanted.ntp)),
        ];
        for (name, ports, is_wanted) in services {
            let service = snapshot.services.services.iter().find(|service| service.name == name);
            let service = service.ok_or_else(|| format!("{name} is not in the list"))?;
            let missing = ports.iter().find(|(protocol, port)| !listens(service, snapshot, protocol, *port));
            match (is_wanted, missing) {
                (Some(true), Some((protocol, port))) => {
                    return Err(format!("{name} does not listen at {protocol} {port} of the LAN's address"));
                }
                (Some(true), None) if service.state == "off" => return Err(format!("{name} is off")),
                (Some(false), _) if service.state != "off" => {
                    return Err(format!("{name} is {}", service.state));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The value in all files that may be in force; `None` if they differ.
    fn all(&self, of: impl Fn(&Wanted) -> bool) -> Option<bool> {
        let first = self.wanted.first().map(&of)?;
        self.wanted.iter().all(|wanted| of(wanted) == first).then_some(first)
    }
}

fn listens(service: &Service, snapshot: &Snapshot, protocol: &str, port: u16) -> bool {
    let own = snapshot.status.lan.address.map(|net| net.addr());
    service.listens.iter().any(|place| {
        place.protocol == protocol && place.port == port && own.is_none_or(|own| place.address == own)
    })
}

#[cfg(test)]
mod tests {
    use gatepost::control::report::{Listening, Services};

    use super::*;
    use crate::checkers::testing::{config, snapshot};

    fn service(name: &str, state: &str, listens: &[(&str, u16)]) -> Service {
        let place = |(protocol, port): &(&str, u16)| Listening {
            protocol: (*protocol).to_owned(),
            address: [192, 168, 1, 1].into(),
            port: *port,
        };
        Service {
            name: name.to_owned(),
            state: state.to_owned(),
            problem: None,
            note: None,
            listens: listens.iter().map(place).collect(),
            counters: serde_json::from_str("{}").expect("no counters"),
        }
    }

    /// `services` beside the time server.
    fn reported(checker: &mut ServicesAsConfigured, mut services: Vec<Service>) -> bool {
        services.push(service("ntp", "running", NTP));
        let snapshot = Snapshot { services: Services { services }, ..snapshot(1) };
        checker.on_snapshot(&snapshot).is_err()
    }

    #[test]
    fn a_service_that_does_not_serve_or_serves_unasked_is_told() {
        let mut checker = ServicesAsConfigured::default();
        checker.on_boot();
        checker.on_configure(&config());
        assert!(!reported(&mut checker, Vec::new()), "it boots");
        let (dhcp, dns) = (service("dhcp", "running", DHCP), service("dns", "running", DNS));
        assert!(!reported(&mut checker, vec![dhcp.clone(), dns.clone()]));
        assert!(reported(&mut checker, vec![dhcp.clone()]), "not in the list");
        assert!(
            reported(&mut checker, vec![dhcp.clone(), service("dns", "running", &DNS[..1])]),
            "not at all ports"
        );
        assert!(reported(&mut checker, vec![service("dhcp", "off", &[]), dns.clone()]), "off");
        let without = Config::parse("test", "dhcp.enabled = false").expect("a configuration");
        checker.on_reload(&without);
        for either in [dhcp.clone(), service("dhcp", "off", &[])] {
            assert!(!reported(&mut checker, vec![either, dns.clone()]), "either may be in force");
        }
        checker.on_configure(&without);
        assert!(reported(&mut checker, vec![dhcp, dns]), "running, and switched off");
    }
}
