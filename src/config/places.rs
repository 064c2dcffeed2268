//! Where the settings that decide about packets are written, for `gatepost explain`.

use super::diagnostic::{Span, line_and_column};

/// A setting that decides about packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decisive {
    /// `network.mode`
    Mode,
    /// `firewall.stealth`
    Stealth,
    /// `firewall.wan_services`
    WanServices,
    /// `firewall.dmz_host`
    DmzHost,
    /// The forward with this place in the file's list.
    Forward(usize),
    /// `access`, of the service with this name.
    Access(&'static str),
}

/// The lines of the settings that decide about packets. All values are equal: a setting that is written elsewhere is
/// no other setting.
#[derive(Clone, Debug, Default)]
pub struct Places {
    file: String,
    lines: Vec<(Decisive, usize)>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

impl Places {
    /// The places of what was written in `text`, the content of the file called `file`.
    pub(super) fn new(file: &str, text: &str, spans: Vec<(Decisive, Span)>) -> Self {
        let line = |(setting, span): (Decisive, Span)| (setting, line_and_column(text, span.start).0);
        Self { file: file.to_owned(), lines: spans.into_iter().map(line).collect() }
    }

    /// The place of a setting as `FILE:LINE`; `None` if the setting is not written.
    pub fn of(&self, setting: Decisive) -> Option<String> {
        let (_, line) = self.lines.iter().find(|(written, _)| *written == setting)?;
        Some(format!("{}:{line}", self.file))
    }
}
