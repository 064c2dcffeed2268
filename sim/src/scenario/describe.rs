//! The description of a random office, for people.

use std::fmt::Write as _;

use super::office::{DEFAULT_LAN, Office, Server};
use super::own::{OwnMachine, OwnServer};

impl Office {
    /// All random choices, as text for people.
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
        if let Some((renew, rebind)) = self.isp_times_secs {
            let _ = write!(
                text,
                "\n  the provider's leases are renewed after {renew} s and rebound after {rebind} s"
            );
        }
        if self.asking_time > 0 {
            let (all, hurried) = (self.asking_time, self.in_a_hurry);
            let _ = write!(text, "\n  {all} PCs ask for the time, {hurried} in a hurry");
        }
        if self.asking_by_tcp > 0 {
            let _ = write!(text, "\n  {} PCs ask for names over TCP", self.asking_by_tcp);
        }
        if self.workers > 1 {
            let _ = write!(text, "\n  {} workers", self.workers);
        }
        if self.lan != DEFAULT_LAN {
            let _ = write!(text, "\n  the LAN is {}", self.lan);
        }
        for Server { pc, port, .. } in &self.servers {
            let _ = match port {
                Some(port) => write!(text, "\n  port {port} leads to {pc}"),
                None => write!(text, "\n  {pc} is the default host"),
            };
        }
        if let Some(printer) = &self.printer {
            let _ = write!(text, "\n  {printer} is the printer");
        }
        for OwnMachine { name, port, .. } in &self.own_machines {
            let _ = write!(text, "\n  {name} is plugged into {port}");
        }
        for OwnServer { name, site, .. } in &self.own_servers {
            let _ = write!(text, "\n  server {name} {site}");
        }
        if let Some(mail) = &self.mail {
            let _ = write!(text, "\n  {}", mail.habits);
        }
        if self.super_frames {
            text.push_str("\n  super-frames cross the gateway's ports");
        }
        for line in self.extra_config.lines() {
            let _ = write!(text, "\n  {line}");
        }
        for (name, link, _) in &self.links {
            let _ = write!(text, "\n  cable of {name}: {link:?}");
        }
        for (time, action, _) in self.actions_in_order() {
            let _ = write!(text, "\n  {:>8.3} s: {action}", time.as_secs_f64());
        }
        text
    }
}
