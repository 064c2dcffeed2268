//! The scenarios that have a name.

use std::time::Duration;

use super::action::{attack, dhcp_silent, dns, port_scan, power_back, power_cut, renumber, replug};
use super::office::{Office, office};
use super::swarm;
use crate::machine::attacker::Shot;
use crate::machine::internet::{CHAT_ADDRESS, CHAT_PORT, DnsMood};
use crate::machine::pc::Diary;
use crate::world::link::loss;

/// A scenario with a name.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// How long it takes, in seconds, unless asked otherwise.
    pub lasting_secs: u64,
    /// The least time that it makes sense for, in seconds.
    pub lasting_secs_min: u64,
    /// Makes the office; only the swarm's depends on the seed and on how long it lasts.
    build: fn(seed: u64, lasting: Duration) -> Office,
}

impl Scenario {
    /// The office for `seed`.
    ///
    /// # Errors
    ///
    /// It cannot be as short as that.
    pub fn office(&self, seed: u64, lasting: Option<Duration>) -> Result<Office, String> {
        let lasting = lasting.unwrap_or(secs(self.lasting_secs));
        let Self { name, lasting_secs_min, .. } = self;
        if lasting < secs(*lasting_secs_min) {
            let minutes = lasting_secs_min.div_ceil(60);
            return Err(format!(
                "the scenario {name} takes {minutes} minutes or more; write --minutes {minutes}"
            ));
        }
        Ok((self.build)(seed, lasting).lasting(lasting))
    }
}

/// All of them; the first is what runs unless another is asked for.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "swarm",
        about: "hosts, cables, faults, mode and load picked by the seed; then calm, and all must work again",
        lasting_secs: swarm::LASTING_SECS,
        lasting_secs_min: swarm::LASTING_SECS_MIN,
        build: swarm::office_of,
    },
    Scenario {
        name: "nine-o-clock",
        about: "250 PCs are switched on within a minute",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |_, _| nine_o_clock(250),
    },
    Scenario {
        name: "through-nat",
        about: "PCs look up names and fetch pages through NAT over a cable that loses frames",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |_, _| through_nat(),
    },
    Scenario {
        name: "laptop-moves",
        about: "a laptop moves to another port and keeps its connection",
        lasting_secs: 80,
        lasting_secs_min: 80,
        build: |_, _| laptop_moves(),
    },
    Scenario {
        name: "renumbering",
        about: "the provider goes over to another network",
        lasting_secs: 240,
        lasting_secs_min: 240,
        build: |_, _| renumbering(),
    },
    Scenario {
        name: "power-cut",
        about: "the gateway crashes at nine and restarts on what its disk kept",
        lasting_secs: 180,
        lasting_secs_min: 180,
        build: |_, _| power_cut_at_nine(),
    },
    Scenario {
        name: "port-scan",
        about: "somebody on the WAN scans the gateway and tries to get past it",
        lasting_secs: 90,
        lasting_secs_min: 90,
        build: |_, _| scanned(),
    },
    Scenario {
        name: "blind-attack",
        about: "somebody who does not see the office's chats tries to reset them and to speak in them",
        lasting_secs: 110,
        lasting_secs_min: 110,
        build: |_, _| attacked_blindly(),
    },
    Scenario {
        name: "bad-names",
        about: "the internet's name server is silent, slow, garbled and forged in turn",
        lasting_secs: 220,
        lasting_secs_min: 220,
        build: |_, _| bad_names(),
    },
];

/// The scenario called `name`.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// `pcs` PCs are switched on within a minute, and all have an address and a page soon after.
fn nine_o_clock(pcs: usize) -> Office {
    office()
        .pcs(pcs)
        .arriving_within(secs(60))
        .visiting_every(Some(secs(20)))
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("every PC has fetched a page", |account| account.every_pc(|diary| diary.pages > 0))
        .expect("no PC ever lost its address", |account| account.every_pc(|diary| diary.addresses_lost == 0))
}

fn through_nat() -> Office {
    office()
        .pcs(20)
        .mode("nat")
        .visiting_every(Some(secs(4)))
        .link("wan", loss(0.02).delay_ms(10).jitter_ms(5))
        .expect("every PC fetched pages", |account| account.every_pc(|diary| diary.pages >= 5))
        .expect("every octet was right", |account| account.every_pc(|diary| diary.pages_wrong == 0))
}

fn laptop_moves() -> Office {
    office()
        .pcs(4)
        .lan_ports(3)
        .chatting(2)
        .at(secs(20), replug("pc-0", "lan1"))
        .at(secs(40), replug("pc-0", "lan2"))
        .expect("pc-0's chat went on", |account| {
            let diary = &account.pc("pc-0").diary;
            if chatted(diary, 60) { Ok(()) } else { Err(format!("{diary:?}")) }
        })
}

fn renumbering() -> Office {
    let settled = secs(180);
    office()
        .pcs(6)
        .isp_lease_secs(60)
        .at(secs(40), renumber("192.0.2.0/24"))
        .expect("the gateway has an address of the new network", |account| {
            let is_new = account.customer.is_some_and(|address| address.octets().starts_with(&[192, 0, 2]));
            if is_new { Ok(()) } else { Err(format!("{:?}", account.customer)) }
        })
        .expect("every PC fetches pages again", move |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > settled.as_secs()))
        })
}

fn power_cut_at_nine() -> Office {
    office()
        .pcs(30)
        .arriving_within(secs(20))
        .lease_secs(120)
        .at(Duration::from_millis(10_377), power_cut())
        .at(secs(15), power_back())
        .at(secs(60), power_cut())
        .at(secs(70), power_back())
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 120))
        })
}

fn scanned() -> Office {
    office()
        .pcs(10)
        .visiting_every(Some(secs(4)))
        .at(secs(20), port_scan(1_024))
        // The ports that connections of PCs are seen with.
        .at(secs(30), attack((49_152..=u16::MAX).map(Shot::Syn)))
        .expect("everything was fired", |account| {
            if account.fired > 18_000 { Ok(()) } else { Err(format!("{} shots", account.fired)) }
        })
        .expect("nothing came back", |account| match account.attack_answers {
            0 => Ok(()),
            answers => Err(format!("{answers} answers, open ports {:?}", account.open_ports)),
        })
}

fn attacked_blindly() -> Office {
    let shots = |is_reset| {
        // Every port that a chat may be seen with, and some number for each.
        (49_152..=u16::MAX).map(move |port| Shot::Forged {
            server: (CHAT_ADDRESS, CHAT_PORT),
            port,
            sequence: u32::from(port).wrapping_mul(0x9e37_79b1),
            is_reset,
        })
    };
    office()
        .pcs(8)
        .chatting(8)
        .at(secs(30), attack(shots(true).chain(shots(false))))
        .expect("everything was fired", |account| {
            if account.fired == 2 * 16_384 { Ok(()) } else { Err(format!("{} shots", account.fired)) }
        })
        .expect("every chat went on", |account| account.every_pc(|diary| chatted(diary, 80)))
}

fn bad_names() -> Office {
    office()
        .pcs(8)
        .visiting_every(Some(secs(5)))
        .at(secs(20), dns(DnsMood::Silent))
        .at(secs(50), dns(DnsMood::Forged))
        .at(secs(80), dns(DnsMood::Garbage))
        .at(secs(110), dns(DnsMood::Slow(Duration::from_millis(1_500))))
        .at(secs(140), dns(DnsMood::Truthful))
        .at(secs(140), dhcp_silent(true))
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 180))
        })
}

fn chatted(diary: &Diary, lines: u64) -> bool {
    diary.chats_broken == 0 && diary.chat_lines >= lines
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_office_is_valid() {
        let names: BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        for scenario in SCENARIOS {
            for seed in 0..50 {
                let office = scenario.office(seed, None).expect("it is long enough");
                assert_eq!(office.validate(), Ok(()), "{} {seed}", scenario.name);
                office.gateway_config().expect("the gateway accepts it");
            }
        }
    }
}
