//! `[ntp]`

use std::net::Ipv4Addr;

use gatepost_services::ntp::asking::Source;

use crate::config::address::address;
use crate::config::diagnostic::Problem;
use crate::config::name::domain;
use crate::config::section::Section;
use crate::config::value::{boolean, integer, list, parsed, quoted};

/// `[ntp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntp {
    /// Whether the LAN is served.
    pub enabled: bool,
    /// The stratum while the machine's clock is not disciplined; 0: answers say that it is unsynchronised.
    pub local_stratum: u8,
    /// The time servers that the client asks while no daemon disciplines the machine's clock.
    pub servers: Vec<Source>,
}

impl Ntp {
    /// The settings in a line for people.
    pub(super) fn summary(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        match self.local_stratum {
            _ if !self.enabled => "off".to_owned(),
            _ if !servers.is_empty() => {
                format!(
                    "the machine's time, or that of {} while its clock is unsynchronised",
                    servers.join(", ")
                )
            }
            0 => "the machine's time, once its clock is synchronised".to_owned(),
            stratum => format!("the machine's time; at stratum {stratum} while its clock is unsynchronised"),
        }
    }
}

/// Far from any source, so that clients prefer every other server.
const LOCAL_STRATUM: u32 = 10;
/// 16 stands for an unsynchronised clock. (RFC 5905, section 7.3)
const LOCAL_STRATUM_MAX: u32 = 15;

/// Of more than four addresses the first four are asked.
const SERVERS_MAX: usize = 8;

/// `own` is the gateway's address on the LAN.
pub(super) fn read(mut ntp: Section<'_>, own: Option<Ipv4Addr>) -> Ntp {
    let enabled = ntp.setting("enabled", true, boolean);
    let local_stratum = ntp.setting("local_stratum", LOCAL_STRATUM, integer(0..=LOCAL_STRATUM_MAX));
    let servers = ntp.setting("servers", Vec::new(), list(SERVERS_MAX, parsed(|text| server(text, own))));
    if let (Some((servers, span)), Some(false)) = (servers.written(), enabled.known())
        && !servers.is_empty()
    {
        let what = "nobody asks these servers: ntp.enabled is false";
        ntp.warn(span, Problem::new(what, "write enabled = true, or remove them"));
    }
    ntp.finish();
    let local_stratum = u8::try_from(local_stratum.value).unwrap_or(u8::MAX);
    Ntp { enabled: enabled.value, local_stratum, servers: servers.value }
}

/// A time server, or a name for several.
fn server(text: &str, own: Option<Ipv4Addr>) -> Result<Source, Problem> {
    let remedy = "write an IPv4 address or a name such as \"pool.ntp.org\"";
    // A name's last label is not all of digits. // RFC 3696, section 2
    let is_name =
        text.rsplit('.').next().is_some_and(|label| label.bytes().any(|octet| !octet.is_ascii_digit()));
    if is_name {
        let name =
            domain(text).map_err(|_| Problem::new(format!("{} is no time server", quoted(text)), remedy))?;
        return Ok(Source::Name(name));
    }
    let server = address(text)?;
    if Some(server) == own {
        let what = format!("{server} is the gateway itself, which would ask itself");
        return Err(Problem::new(what, "write the address of another time server"));
    }
    Ok(Source::Address(server))
}
