//! `[system]`

use gatepost_dataplane::Shard;

use super::System;
use super::diagnostic::Problem;
use super::name::{DOMAIN_OCTETS_MAX, directory, domain, host_name, socket};
use super::section::Section;
use super::value::{integer, parsed};

pub(super) fn read(mut system: Section<'_>) -> System {
    let hostname = system.setting("hostname", "gatepost".to_owned(), parsed(host_name));
    let domain = system.setting("domain", "office.example".to_owned(), parsed(domain));
    let state_dir = system.setting("state_dir", "/var/lib/gatepost".into(), parsed(directory));
    let control_socket = system.setting("control_socket", "/run/gatepost.sock".into(), parsed(socket));
    let workers = system.setting("workers", 1, integer(1..=u32::from(Shard::COUNT_MAX)));

    if let (Some(hostname), Some((domain, span))) = (hostname.known(), domain.written())
        && hostname.len() + 1 + domain.len() > DOMAIN_OCTETS_MAX
    {
        let what = format!("the gateway's name {hostname}.{domain} has more than {DOMAIN_OCTETS_MAX} octets");
        system.report(span, Problem::new(what, "write a shorter domain or hostname"));
    }
    system.finish();
    System {
        hostname: hostname.value,
        domain: domain.value,
        state_dir: state_dir.value,
        control_socket: control_socket.value,
        workers: u8::try_from(workers.value).unwrap_or(1),
    }
}
