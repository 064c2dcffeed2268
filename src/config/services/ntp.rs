//! `[ntp]`

use crate::config::section::Section;
use crate::config::value::{boolean, integer};

/// `[ntp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntp {
    /// Whether the LAN is served.
    pub enabled: bool,
    /// The stratum while the machine's clock is not disciplined; 0: clients are told that it is unsynchronised.
    pub local_stratum: u8,
}

impl Ntp {
    /// The settings in a line for people.
    pub(super) fn summary(&self) -> String {
        match self.local_stratum {
            _ if !self.enabled => "off".to_owned(),
            0 => "the machine's time, once its clock is synchronised".to_owned(),
            stratum => format!("the machine's time; at stratum {stratum} while its clock is unsynchronised"),
        }
    }
}

/// Far from any source, so that clients prefer every other server.
const LOCAL_STRATUM: u32 = 10;
/// 16 stands for an unsynchronised clock. (RFC 5905, section 7.3)
const LOCAL_STRATUM_MAX: u32 = 15;

pub(super) fn read(mut ntp: Section<'_>) -> Ntp {
    let enabled = ntp.setting("enabled", true, boolean);
    let local_stratum = ntp.setting("local_stratum", LOCAL_STRATUM, integer(0..=LOCAL_STRATUM_MAX));
    ntp.finish();
    let local_stratum = u8::try_from(local_stratum.value).unwrap_or(u8::MAX);
    Ntp { enabled: enabled.value, local_stratum }
}
