//! `[admin]`: the administration's pages.

use gatepost_services::admin::PORT;

use crate::config::section::{Section, Setting};
use crate::config::value::{boolean, integer};

/// `[admin]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Whether the pages are served.
    pub enabled: bool,
    /// Their port, for TLS and for the redirect to it.
    pub port: u16,
}

impl Admin {
    /// The settings in a line for people, with the office's `domain`.
    pub(super) fn summary(&self, domain: &str) -> String {
        let Self { enabled, port } = self;
        if *enabled { format!("https://admin.{domain}:{port}") } else { "off".to_owned() }
    }
}

/// The section, and the port that no other service may have; 0 if there is none.
pub(super) fn read(mut admin: Section<'_>) -> (Admin, Setting<u32>) {
    let enabled = admin.setting("enabled", true, boolean).value;
    let port = admin.setting("port", u32::from(PORT), integer(1..=u32::from(u16::MAX)));
    admin.finish();
    let read = Admin { enabled, port: u16::try_from(port.value).unwrap_or(PORT) };
    (read, Setting { value: if enabled { port.value } else { 0 }, ..port })
}
