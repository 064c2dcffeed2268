//! `[admin]`: the administration's pages.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use gatepost_services::admin::PORT;

use crate::config::diagnostic::Problem;
use crate::config::section::{Section, Setting};
use crate::config::value::{boolean, integer, parsed, quoted};

/// How long an apply by page waits for its confirmation: at least what a person needs.
const CONFIRM_SECS: RangeInclusive<u32> = 10..=86_400;
const CONFIRM_SECS_DEFAULT: u32 = 90;

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Whether the pages are served.
    pub enabled: bool,
    /// Their port, for TLS and for the redirect to it.
    pub port: u16,
    /// How long what is applied by page waits for its confirmation, in seconds.
    pub confirm_secs: u64,
    /// The folder of the office's own logo and colours, if it has one.
    pub theme: Option<PathBuf>,
    /// How they were reached before a change that waits for its confirmation. Never in the file; empty if none waits.
    pub former: FormerReach,
}

impl Admin {
    /// The settings in a line for people, with the office's `domain`.
    pub(super) fn summary(&self, domain: &str) -> String {
        let Self { enabled, port, .. } = self;
        if *enabled { format!("https://admin.{domain}:{port}") } else { "off".to_owned() }
    }
}

/// How the administration was reached before a change that waits for its confirmation, where that is another way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormerReach {
    /// The port, unless another service has it now.
    pub port: Option<u16>,
    /// The names.
    pub names: Vec<String>,
}

/// The section, whose relative paths start at `folder`, and the port that no other service may have; 0 if there is none.
pub(super) fn read(mut admin: Section<'_>, folder: &Path) -> (Admin, Setting<u32>) {
    let enabled = admin.setting("enabled", true, boolean).value;
    let port = admin.setting("port", u32::from(PORT), integer(1..=u32::from(u16::MAX)));
    let confirm_secs = admin.setting("confirm_secs", CONFIRM_SECS_DEFAULT, integer(CONFIRM_SECS)).value;
    let theme = admin.setting("theme", None, parsed(path)).value.map(|theme| folder.join(theme));
    admin.finish();
    let read = Admin {
        enabled,
        port: u16::try_from(port.value).unwrap_or(PORT),
        confirm_secs: confirm_secs.into(),
        former: FormerReach::default(),
        theme,
    };
    (read, Setting { value: if enabled { port.value } else { 0 }, ..port })
}

/// The path of a folder; empty for none.
fn path(text: &str) -> Result<Option<PathBuf>, Problem> {
    if text.contains('\0') {
        let what = format!("{} is no path", quoted(text));
        return Err(Problem::new(what, "write that of a folder, such as \"theme\""));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}
