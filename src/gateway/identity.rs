//! The gateway's hardware addresses: made once, kept on disk, so that a restart changes nothing for its
//! neighbours and for the provider's DHCP server.

use std::io;

use gatepost_dataplane::MacAddr;
use gatepost_services::store::Disk;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The file that holds them.
const FILE: &str = "identity.json";

/// The gateway's hardware addresses; they differ.
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

impl Identity {
    /// The addresses on `disk`, else new ones, which are then kept there.
    ///
    /// # Errors
    ///
    /// What the disk refuses.
    pub fn load_or_make(disk: &dyn Disk, rng: &mut impl Rng) -> io::Result<Self> {
        if let Some(content) = disk.read(FILE)? {
            match Self::parse(&content) {
                Some(identity) => return Ok(identity),
                None => warn!("{FILE} holds no two hardware addresses; new ones are made"),
            }
        }
        let identity = Self::make(rng);
        disk.replace(FILE, &serde_json::to_vec(&identity.stored())?)?;
        Ok(identity)
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

    fn parse(content: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(content).ok()?;
        let identity = Self { lan: stored.lan_mac.parse().ok()?, wan: stored.wan_mac.parse().ok()? };
        let usable = |mac: MacAddr| !mac.is_multicast() && mac != MacAddr::ZERO;
        (usable(identity.lan) && usable(identity.wan) && identity.lan != identity.wan).then_some(identity)
    }

    fn stored(self) -> Stored {
        Stored { lan_mac: self.lan.to_string(), wan_mac: self.wan.to_string() }
    }
}

/// A random address, locally administered and of one station. // IEEE 802, section 8.4
fn random_mac(rng: &mut impl Rng) -> MacAddr {
    let mut octets: [u8; 6] = rng.random();
    octets[0] = 0x02;
    MacAddr(octets)
}

#[cfg(test)]
mod tests {
    use gatepost_services::store::Memory;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn load(disk: &Memory, seed: u64) -> Identity {
        Identity::load_or_make(disk, &mut StdRng::seed_from_u64(seed)).expect("memory does not fail")
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
    fn a_damaged_file_is_replaced() {
        for content in ["", "{}", r#"{"lan_mac":"02:00:00:00:00:01","wan_mac":"02:00:00:00:00:01"}"#] {
            let disk = Memory::default();
            disk.replace(FILE, content.as_bytes()).expect("memory does not fail");
            let made = load(&disk, 1);
            assert_eq!(load(&disk, 2), made);
        }
    }
}
