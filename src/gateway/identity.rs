//! The gateway's hardware addresses: generated once and stored, so that they survive a restart, for its neighbours and
//! for the provider's DHCP server.

use std::fmt;
use std::io;

use gatepost_ground::{MacAddr, ParseMacAddrError};
use gatepost_services::store::{Storage, Topic, sealed};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The file with the addresses.
pub const FILE: &str = "identity.json";

/// The gateway's hardware addresses, which differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// On the LAN.
    pub lan: MacAddr,
    /// On the WAN.
    pub wan: MacAddr,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    lan_mac: String,
    wan_mac: String,
}

/// The damage of the stored hardware addresses.
#[derive(Debug)]
pub enum IdentityDamage {
    /// The file was changed since it was written.
    Seal(sealed::Damage),
    /// The file does not have the form of stored addresses.
    Json(serde_json::Error),
    /// This text is no hardware address.
    Mac(String, ParseMacAddrError),
    /// The addresses are equal, or not individual addresses.
    NotTwoStations,
}

impl fmt::Display for IdentityDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal(damage) => damage.fmt(f),
            Self::Json(error) => error.fmt(f),
            Self::Mac(text, error) => write!(f, "{text:?}: {error}"),
            Self::NotTwoStations => f.write_str("these are no two hardware addresses of stations"),
        }
    }
}

impl std::error::Error for IdentityDamage {}

impl Identity {
    /// The addresses on `disk`, else new ones, which are then stored there. A damaged file is set aside first. If
    /// that or the storing fails, the new addresses are for this run only, and the failure is reported.
    pub fn load_or_make(disk: &dyn Storage, rng: &mut impl Rng) -> Self {
        let (identity, problem) = match disk.read(FILE) {
            Ok(None) => {
                let identity = Self::make(rng);
                (identity, identity.keep(disk))
            }
            Ok(Some(content)) => match Self::parse(&content) {
                Ok(identity) => return identity,
                Err(why) => {
                    let identity = Self::make(rng);
                    let fate = disk.set_aside(FILE, &content).map(|copy| (copy, identity.keep(disk)));
                    let fate = match fate {
                        Ok((copy, unkept)) => [Some(format!("a copy is kept as {copy}")), unkept],
                        Err(error) => [Some(format!("it is left as it is: {error}")), None],
                    };
                    let fate: Vec<_> = fate.into_iter().flatten().collect();
                    let problem =
                        format!("{FILE} is damaged: {why}; {}; new ones were made", fate.join("; "));
                    (identity, Some(problem))
                }
            },
            Err(error) => (
                Self::make(rng),
                Some(format!("{FILE} cannot be read: {error}; new ones were made for this run")),
            ),
        };
        disk.report(Topic::Identity, problem.map(|problem| format!("hardware addresses: {problem}")));
        identity
    }

    /// The hardware address on the WAN: that of `config`, else its own.
    pub fn wan_of(self, config: &Config) -> MacAddr {
        config.wan.mac.unwrap_or(self.wan)
    }

    /// Writes the addresses. Returns the problem if that fails.
    fn keep(self, disk: &dyn Storage) -> Option<String> {
        let content = serde_json::to_vec(&self.stored()).map_err(io::Error::from);
        let kept = content.and_then(|content| disk.replace(FILE, &sealed::seal(&content)));
        kept.err().map(|error| format!("{FILE} cannot be written: {error}; a restart makes others"))
    }

    /// The damage in the file's content, if there is any.
    pub fn damage(content: &[u8]) -> Option<IdentityDamage> {
        Self::parse(content).err()
    }

    fn make(rng: &mut impl Rng) -> Self {
        let lan = random_mac(rng);
        loop {
            let wan = random_mac(rng);
            if wan != lan {
                return Self { lan, wan };
            }
        }
    }

    fn parse(content: &[u8]) -> Result<Self, IdentityDamage> {
        let payload = sealed::unseal(content).map_err(IdentityDamage::Seal)?;
        let stored: Stored = serde_json::from_slice(payload).map_err(IdentityDamage::Json)?;
        let mac = |text: String| text.parse().map_err(|error| IdentityDamage::Mac(text, error));
        let identity = Self { lan: mac(stored.lan_mac)?, wan: mac(stored.wan_mac)? };
        let usable = |mac: MacAddr| !mac.is_multicast() && mac != MacAddr::ZERO;
        let is_usable = usable(identity.lan) && usable(identity.wan) && identity.lan != identity.wan;
        if is_usable { Ok(identity) } else { Err(IdentityDamage::NotTwoStations) }
    }

    fn stored(self) -> Stored {
        Stored { lan_mac: self.lan.to_string(), wan_mac: self.wan.to_string() }
    }
}

/// A random address: locally administered and individual. (IEEE 802, section 8.4)
fn random_mac(rng: &mut impl Rng) -> MacAddr {
    let mut octets: [u8; 6] = rng.random();
    octets[0] = 0x02;
    MacAddr(octets)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use gatepost_services::store::{DeferredFiles, Memory, Monitored};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn load(disk: &Memory, seed: u64) -> Identity {
        Identity::load_or_make(disk, &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_restart_keeps_the_addresses() {
        let disk = Memory::default();
        let first = load(&disk, 1);
        assert_eq!(load(&disk, 2), first);
        assert_ne!(load(&Memory::default(), 2), first);
    }

    #[test]
    fn addresses_are_locally_administered_and_differ() {
        let Identity { lan, wan } = load(&Memory::default(), 1);
        assert_eq!((lan.0[0], wan.0[0]), (2, 2));
        assert_ne!(lan, wan);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_replaced() {
        let sound = serde_json::to_vec(&load(&Memory::default(), 3).stored()).expect("plain data");
        let mut flipped = sealed::seal(&sound);
        let digit = flipped.iter().rposition(u8::is_ascii_digit).expect("a digit");
        flipped[digit] ^= 1;
        let same = br#"{"lan_mac":"02:00:00:00:00:01","wan_mac":"02:00:00:00:00:01"}"#;
        for content in [&b""[..], b"{}", same, &flipped] {
            let disk = Memory::default();
            disk.replace(FILE, content).expect("memory does not fail");
            assert!(Identity::damage(content).is_some());
            let made = load(&disk, 1);
            assert_eq!(load(&disk, 2), made);
            assert_eq!(
                disk.read("identity.json.damaged").expect("memory does not fail").as_deref(),
                Some(content)
            );
        }
    }

    #[test]
    fn a_file_without_a_checksum_is_read() {
        let disk = Memory::default();
        let former = br#"{"lan_mac":"02:00:00:00:00:01","wan_mac":"02:00:00:00:00:02"}"#;
        disk.replace(FILE, former).expect("memory does not fail");
        assert_eq!(load(&disk, 1).lan, MacAddr([2, 0, 0, 0, 0, 1]));
    }

    #[test]
    fn without_a_disk_they_are_made_for_this_run() {
        let disk = Monitored::new(Arc::new(DeferredFiles::new(Path::new("/dev/null/state"))));
        let Identity { lan, wan } = Identity::load_or_make(&disk, &mut StdRng::seed_from_u64(1));
        assert_ne!(lan, wan);
        let problems = disk.problems();
        assert!(problems.len() == 1 && problems[0].contains("identity.json cannot be read"), "{problems:?}");
    }
}
