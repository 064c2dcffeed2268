//! Scenarios with misbehaving name servers.

use std::time::Duration;

use super::secs;
use crate::machine::internet::{DnsMood, EdnsRejection, OfficeZone, TcpManner, ZoneManner};
use crate::machine::text_reader::{TextReader, TextRecord};
use crate::scenario::action::{dhcp_silent, dns_of, name_moves};
use crate::scenario::names::{Home, every_zone};
use crate::scenario::office::{Office, office};
use crate::world::link::loss;

/// The duration of each bad mood, and the end of the last one.
const MOOD_SECS: u64 = 30;
const MOODS_END_SECS: u64 = 20 + 10 * MOOD_SECS;

/// `office` with the name servers called `servers` in every bad mood in turn, from its 20th second on.
fn in_bad_moods(mut office: Office, servers: &[&str]) -> Office {
    let moods = DnsMood::bad(Duration::from_millis(1_500)).into_iter().chain([DnsMood::Truthful]);
    for (number, mood) in (0..).zip(moods) {
        for server in servers {
            office = office.at(secs(20 + number * MOOD_SECS), dns_of(server, mood));
        }
    }
    office
}

/// The provider's resolvers have every bad mood in turn, and names get other addresses meanwhile.
pub fn bad_names() -> Office {
    let office = office().pcs(8).visiting_every(Some(secs(5)));
    in_bad_moods(office, &["resolvers"])
        .at(secs(25), name_moves("site-3.example"))
        .at(secs(60), name_moves("web-1.example.com"))
        .at(secs(200), name_moves("site-3.example"))
        .at(secs(MOODS_END_SECS), dhcp_silent(true))
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > MOODS_END_SECS + 40))
        })
}

/// Authorities have every bad mood in turn.
pub fn bad_authorities() -> Office {
    let office = office().pcs(8).visiting_every(Some(secs(5)));
    in_bad_moods(office, &["b.root", "a.gtld.net", "b.nic.example", "ns-1.example.net"])
        .at(secs(60), name_moves("site-3.example"))
        .at(secs(90), name_moves("web-1.example.com"))
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > MOODS_END_SECS + 40))
        })
}

/// One of the two resolvers is silent, and then the other.
pub fn resolver_vanishes() -> Office {
    office()
        .pcs(8)
        .visiting_every(Some(secs(4)))
        .at(secs(20), dns_of("resolver-0", DnsMood::Silent))
        .at(secs(100), dns_of("resolver-0", DnsMood::Truthful))
        .at(secs(100), dns_of("resolver-1", DnsMood::Silent))
        .expect("no name and no page failed", |account| {
            account.every_pc(|diary| diary.lookups_failed == 0 && diary.pages_failed == 0)
        })
        .expect("every PC fetches pages all the time", |account| {
            account
                .every_pc(|diary| diary.pages > 15 && diary.last_page_at.is_some_and(|at| at.as_secs() > 180))
        })
}

/// The resolvers begin to reject EDNS, in a way that the seed picks.
pub fn edns_rejected(seed: u64) -> Office {
    let rejection = EdnsRejection::ALL[(seed % 3) as usize];
    office()
        .pcs(8)
        .visiting_every(Some(secs(4)))
        .at(secs(30), dns_of("resolvers", DnsMood::RejectingEdns(rejection)))
        .expect("no name and no page failed", |account| {
            account.every_pc(|diary| diary.lookups_failed == 0 && diary.pages_failed == 0)
        })
}

/// The least answers of each zone: there are bursts of some names every second or so.
const ANSWERS_MIN: u64 = 50;

/// One zone has servers on the internet and the other one on the LAN; both truncate, and the seed picks how they answer
/// over TCP. One resolver loses the case of questions, and an attacker who cannot see it forges answers of the other.
pub fn zones(seed: u64) -> Office {
    let manners = [TcpManner::ClosesAfterAnswer, TcpManner::OutOfOrder, TcpManner::Silent];
    let of = |number: u64| ZoneManner {
        keeps_case: !(seed + number).is_multiple_of(2),
        truncates: true,
        over_tcp: manners[((seed + number) % 3) as usize],
    };
    let homes = [Home::Internet, Home::Lan("lan0".to_owned())];
    let [delegated, conditional] = [0, 1].map(|number| homes[((seed + number) % 2) as usize].clone());
    office()
        .pcs(3)
        .mixed_case()
        .zone(OfficeZone::Delegated, delegated, of(0))
        .zone(OfficeZone::Conditional, conditional, of(1))
        .looking_up("lan0")
        .at(Duration::ZERO, dns_of("resolver-0", DnsMood::ForgedInLowerCase))
        .at(Duration::ZERO, dns_of("resolver-1", DnsMood::LosingCase))
        .expect("names of every zone are answered, and none failed", |account| {
            every_zone(account, |asked| asked.answered > ANSWERS_MIN && asked.failed == 0)
        })
}

/// TXT records that are too large for a datagram come whole.
pub fn long_texts() -> Office {
    office()
        .pcs(2)
        .machine("reader", "lan0", TextReader::new)
        .link("wan", loss(0.01).delay_ms(10).jitter_ms(5))
        .link("reader", loss(0.01).reorder(0.02))
        .expect("texts came, and every octet was right", |account| {
            let texts = account.record::<TextRecord>("reader");
            if texts.whole > 15 && texts.wrong == 0 && texts.failed < 10 {
                Ok(())
            } else {
                Err(texts.to_string())
            }
        })
}
