//! The named scenarios.

pub(super) mod administrator;
mod attacks;
mod browsers;
mod floods;
mod leases;
mod mail;
mod names;
mod quiet_hours;
pub(super) mod time;

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

use super::action::{
    Action, attack, calm, clock_jumps, disk, partition, power_back, power_cut, power_cut_while_replacing,
    power_cut_while_writing, provider, reload, reload_refused, renumber, replug, reunite, sleep, spoof, wake,
};
use super::named::{Catalog, Scenario};
use super::office::{Office, office};
use super::outcome::in_lines;
use super::swarm;
use crate::machine::attacker::{Forgery, Shot};
use crate::machine::internet::{CHAT_ADDRESS, CHAT_PORT, ProviderMood, SHORT_LINK_MTU};
use crate::machine::pc::Diary;
use crate::machine::spoofer::Trick;
use crate::machine::visitor::VisitAccount;
use crate::world::disk::{DiskMood, ReplaceStep};
use crate::world::link::{loss, perfect};

/// All named scenarios; the first, the swarm, is the default.
pub const CATALOG: Catalog = Catalog { package: env!("CARGO_PKG_NAME"), scenarios: SCENARIOS };

const SCENARIOS: &[Scenario] = &[
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
        name: "priority-tags",
        about: "the switches of the office and of the provider tag the gateway's frames with VLAN 0, without an effect",
        lasting_secs: 60,
        lasting_secs_min: 60,
        build: |_, _| priority_tags(),
    },
    Scenario {
        name: "path",
        about: "hosts of the office trace the path to the internet, find its MTU, and send fragments",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |_, _| path(),
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
        about: "the provider renumbers the WAN",
        lasting_secs: 240,
        lasting_secs_min: 240,
        build: |_, _| renumbering(),
    },
    Scenario {
        name: "nobody-in",
        about: "all hosts of the office are off, and a host outside connects to one of its servers",
        lasting_secs: 200,
        lasting_secs_min: 200,
        build: |_, _| nobody_in(),
    },
    Scenario {
        name: "lease-runs-out",
        about: "the provider's DHCP server is silent for longer than a lease, refuses to prolong one, and gives another address",
        lasting_secs: 420,
        lasting_secs_min: 420,
        build: |_, _| leases::runs_out(),
    },
    Scenario {
        name: "lease-forms",
        about: "the provider leases single addresses, with and without a router option, and leases without a time",
        lasting_secs: 300,
        lasting_secs_min: 300,
        build: |_, _| leases::forms(),
    },
    Scenario {
        name: "other-client",
        about: "the WAN gets another hardware address while the gateway runs",
        lasting_secs: 150,
        lasting_secs_min: 150,
        build: |_, _| leases::other_client(),
    },
    Scenario {
        name: "resolver-changes",
        about: "the provider names another resolver when the lease is renewed, and the former one dies",
        lasting_secs: 200,
        lasting_secs_min: 200,
        build: |_, _| leases::resolver_changes(),
    },
    Scenario {
        name: "guests",
        about: "phones come and go, release and decline addresses, request those of others, and change hardware addresses and names",
        lasting_secs: 280,
        lasting_secs_min: 280,
        build: |_, _| leases::guests(),
    },
    Scenario {
        name: "power-cut",
        about: "the gateway crashes at nine and restarts with the data that was durable on its disk",
        lasting_secs: 180,
        lasting_secs_min: 180,
        build: |_, _| power_cut_at_nine(),
    },
    Scenario {
        name: "restart",
        about: "the gateway restarts twice while all PCs chat, and they reconnect within seconds",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |_, _| restarted(),
    },
    Scenario {
        name: "mail",
        about: "mail comes from the office and from outside while the power fails and the disk is slow, torn and full",
        lasting_secs: 180,
        lasting_secs_min: 180,
        build: |_, _| mail::kept(),
    },
    Scenario {
        name: "mail-out",
        about: "mail goes to servers that are slow, busy, silent or lose replies, while the provider vanishes and the power fails",
        lasting_secs: 480,
        lasting_secs_min: 480,
        build: |_, _| mail::sent_on(),
    },
    Scenario {
        name: "mail-tls",
        about: "mail goes under TLS, to servers that complete the handshake, garble it, stop responding in it or inject clear text after STARTTLS",
        lasting_secs: 480,
        lasting_secs_min: 480,
        build: |_, _| mail::encrypted(),
    },
    Scenario {
        name: "mail-poll",
        about: "mail is polled from a remote mailbox, whose server disconnects, while the power fails again and again",
        lasting_secs: 480,
        lasting_secs_min: 480,
        build: |_, _| mail::fetched_elsewhere(),
    },
    Scenario {
        name: "mail-rot",
        about: "octets of the mail store flip on the disk, while it is used and between power cuts",
        lasting_secs: 210,
        lasting_secs_min: 210,
        build: |_, _| mail::rotten(),
    },
    Scenario {
        name: "time",
        about: "PCs ask for the time, one too often, while the gateway's clock drifts, is stepped, and is disciplined for a while",
        lasting_secs: 220,
        lasting_secs_min: 220,
        build: |_, _| time::asked(),
    },
    Scenario {
        name: "clock-undisciplined",
        about: "no daemon disciplines the gateway's clock, and it asks time servers: one is wrong, one dies, one is slow, some answers are forged",
        lasting_secs: 420,
        lasting_secs_min: 420,
        build: |_, _| time::undisciplined(),
    },
    Scenario {
        name: "port-scan",
        about: "a host on the WAN scans the gateway's ports and tries to get past it",
        lasting_secs: 90,
        lasting_secs_min: 90,
        build: |_, _| attacks::scanned(),
    },
    Scenario {
        name: "pinholes",
        about: "a host on the WAN sends to pinholes before they open, while they are open, and after",
        lasting_secs: 90,
        lasting_secs_min: 90,
        build: |_, _| attacks::through_pinholes(),
    },
    Scenario {
        name: "blind-attack",
        about: "an off-path attacker tries to reset the office's chats, and to inject data",
        lasting_secs: 240,
        lasting_secs_min: 240,
        build: |_, _| attacks::attacked_blindly(),
    },
    Scenario {
        name: "lunch",
        about: "half of the PCs sleep for an hour, and continue their connections",
        lasting_secs: 5_400,
        lasting_secs_min: 5_400,
        build: |_, _| lunch(),
    },
    Scenario {
        name: "printer",
        about: "a printer has its reserved address whatever happens, and its name leads there",
        lasting_secs: 180,
        lasting_secs_min: 180,
        build: |_, _| printer(),
    },
    Scenario {
        name: "spoofer",
        about: "a host of the office uses addresses without a lease, and sends from those of others",
        lasting_secs: 240,
        lasting_secs_min: 240,
        build: |_, _| attacks::spoofed(),
    },
    Scenario {
        name: "name-flood",
        about: "a host of the office queries names of a silent zone, 100 a second, also from forged addresses",
        lasting_secs: 125,
        lasting_secs_min: 125,
        build: |_, _| floods::name_flood(),
    },
    Scenario {
        name: "syn-flood-at-the-gateway",
        about: "a host of the office sends 200 SYNs a second to the gateway, from forged addresses",
        lasting_secs: 90,
        lasting_secs_min: 90,
        build: |_, _| floods::syn_flood_at_the_gateway(),
    },
    Scenario {
        name: "idle-dns-connections",
        about: "a host of the office opens 100 connections a second to the DNS server and sends nothing",
        lasting_secs: 90,
        lasting_secs_min: 90,
        build: |_, _| floods::idle_dns_connections(),
    },
    Scenario {
        name: "port-exhaustion",
        about: "a host of the office opens more unanswered flows than there are ports, from six addresses",
        lasting_secs: 70,
        lasting_secs_min: 70,
        build: |_, _| floods::port_exhaustion(),
    },
    Scenario {
        name: "dhcp-flood",
        about: "a host of the office leases addresses for hosts that do not exist, and releases those of others",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |_, _| floods::dhcp_flood(),
    },
    Scenario {
        name: "poisoner",
        about: "a host of the office and one outside claim the addresses of others by ARP, all the time",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |_, _| attacks::poisoned(),
    },
    Scenario {
        name: "forwarded-server",
        about: "two PCs serve pages to the internet, one by a forward and one as the default host",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |_, _| forwarded_server(),
    },
    Scenario {
        name: "reload",
        about: "reloads change the gateway's forwards, filtering and limits while all PCs work",
        lasting_secs: 180,
        lasting_secs_min: 180,
        build: |_, _| reloaded(),
    },
    Scenario {
        name: "quiet-hours",
        about: "hosts with a limit of a few flows use them in every way for two hours, and have all of them in the end",
        lasting_secs: quiet_hours::LASTING_SECS,
        lasting_secs_min: quiet_hours::LASTING_SECS,
        build: |seed, _| quiet_hours::quiet_hours(seed),
    },
    Scenario {
        name: "administrator",
        about: "an administrator changes the configuration, confirms or does not, while power and disk fail",
        lasting_secs: administrator::LASTING_SECS,
        lasting_secs_min: administrator::LASTING_SECS,
        build: |seed, _| administrator::administrator(seed),
    },
    Scenario {
        name: "browsers",
        about: "browsers use the administration, and move the gateway to other addresses by its pages",
        lasting_secs: browsers::LASTING_SECS,
        lasting_secs_min: browsers::LASTING_SECS,
        build: |seed, _| browsers::browsers(seed),
    },
    Scenario {
        name: "mapping-lives",
        about: "mappings are idle for as long as their RFCs allow, and longer",
        lasting_secs: 9_000,
        lasting_secs_min: 9_000,
        build: |_, _| mapping_lives(),
    },
    Scenario {
        name: "bad-names",
        about: "the provider's resolvers fail in every way, one after the other, and names move meanwhile",
        lasting_secs: 400,
        lasting_secs_min: 400,
        build: |_, _| names::bad_names(),
    },
    Scenario {
        name: "long-texts",
        about: "a PC queries TXT records of up to 20,000 octets, over cables that lose frames",
        lasting_secs: 180,
        lasting_secs_min: 180,
        build: |_, _| names::long_texts(),
    },
    Scenario {
        name: "bad-authorities",
        about: "one name server of every zone fails in every way, one after the other",
        lasting_secs: 400,
        lasting_secs_min: 400,
        build: |_, _| names::bad_authorities(),
    },
    Scenario {
        name: "resolver-vanishes",
        about: "one of the provider's two resolvers dies, comes back, and the other dies",
        lasting_secs: 200,
        lasting_secs_min: 200,
        build: |_, _| names::resolver_vanishes(),
    },
    Scenario {
        name: "zones",
        about: "a delegated and a conditional zone, in mixed case, whose servers close connections or answer out of order",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |seed, _| names::zones(seed),
    },
    Scenario {
        name: "edns-rejected",
        about: "the provider's resolvers begin to reject EDNS, by FORMERR, by BADVERS or by silence",
        lasting_secs: 120,
        lasting_secs_min: 120,
        build: |seed, _| names::edns_rejected(seed),
    },
    Scenario {
        name: "bad-disk",
        about: "the gateway's disk fills up, fails, and loses its power while it writes",
        lasting_secs: 360,
        lasting_secs_min: 360,
        build: |_, _| bad_disk(),
    },
    Scenario {
        name: "cut-replacements",
        about: "the gateway's power fails at each step of a file's replacement, twice",
        lasting_secs: 300,
        lasting_secs_min: 300,
        build: |_, _| cut_replacements(),
    },
    Scenario {
        name: "slow-disk",
        about: "all PCs are switched on while a sync of the gateway's disk takes up to two seconds, and its power fails in between",
        lasting_secs: 240,
        lasting_secs_min: 240,
        build: |_, _| slow_disk(),
    },
    Scenario {
        name: "provider-vanishes",
        about: "the provider forwards nothing for a while, then vanishes altogether and returns",
        lasting_secs: 300,
        lasting_secs_min: 300,
        build: |_, _| provider_vanishes(),
    },
    Scenario {
        name: "lan-only",
        about: "an office without a provider: addresses and names, over a switch whose segments are cut off",
        lasting_secs: 180,
        lasting_secs_min: 180,
        build: |_, _| lan_only(),
    },
    Scenario {
        name: "idle-50",
        about: "50 PCs are on and nearly idle: to measure speed",
        lasting_secs: 600,
        lasting_secs_min: 300,
        build: |_, _| idle(50),
    },
    Scenario {
        name: "idle-250",
        about: "250 PCs are on and nearly idle: to measure speed",
        lasting_secs: 600,
        lasting_secs_min: 300,
        build: |_, _| idle(250),
    },
    Scenario {
        name: "bulk",
        about: "10 PCs download 2 MB again and again: to measure speed",
        lasting_secs: 30,
        lasting_secs_min: 30,
        build: |_, _| bulk(),
    },
];

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

fn priority_tags() -> Office {
    office()
        .pcs(6)
        .lan_ports(2)
        .mode("nat")
        .visiting_every(Some(secs(4)))
        .link("lan0", perfect().priority_tagged())
        .link("wan", perfect().priority_tagged())
        .expect("every PC fetched pages", |account| account.every_pc(|diary| diary.pages >= 5))
        .expect("every octet was right", |account| account.every_pc(|diary| diary.pages_wrong == 0))
}

fn path() -> Office {
    office()
        .pcs(5)
        .lan_ports(2)
        .workers(2)
        .asking(3)
        .forwarded("pc-0", 8_080)
        .hairpinning(2)
        .probing(3)
        .wan_mtu(1_400)
        .link("wan", perfect().delay_ms(10).jitter_ms(5))
        .expect("every prober found the way, and was answered in full", |account| {
            account.every_prober(|it| it.traces >= 4 && it.sizes >= 8 && it.fragmented >= 8)
        })
        .expect("every prober found what passes the link behind the routers", |account| {
            account.every_prober(|it| it.mtu == SHORT_LINK_MTU)
        })
}

fn laptop_moves() -> Office {
    office()
        .pcs(4)
        .lan_ports(3)
        .chatting(2)
        .at(secs(20), replug("pc-0", "lan1"))
        .at(secs(40), replug("pc-0", "lan2"))
        .expect("both chats went on", |account| account.chats_went_on(2, 60))
}

fn renumbering() -> Office {
    let settled = secs(180);
    let chatting = 3;
    office()
        .pcs(6)
        .chatting(chatting)
        .isp_lease_secs(60)
        // A rejected reload changes nothing: the gateway still follows the provider's addresses.
        .at(secs(20), reload_refused())
        .at(secs(40), renumber("192.0.2.0/24"))
        .expect("the gateway has an address of the new network", |account| {
            let is_new = account.customer().is_some_and(|address| address.octets().starts_with(&[192, 0, 2]));
            if is_new { Ok(()) } else { Err(format!("{:?}", account.customer())) }
        })
        .expect("every PC fetches pages again", move |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > settled.as_secs()))
        })
        .expect("every chat broke once, and is back", move |account| {
            let is_back = |diary: &Diary| {
                diary.chats_broken == 1 && diary.last_chat_at.is_some_and(|at| at > Instant::ZERO + settled)
            };
            let broken: Vec<_> = account.pcs().take(chatting).filter(|(_, it)| !is_back(it)).collect();
            if broken.is_empty() { Ok(()) } else { Err(in_lines(broken.iter().map(|(_, diary)| diary))) }
        })
}

/// The only frames are those of a caller without an answer: no other frame wakes the gateway when a timer is due.
fn nobody_in() -> Office {
    let office = office().pcs(2).forwarded("pc-0", 8_080);
    let office = (0..2).fold(office, |office, pc| office.at(secs(20), sleep(&format!("pc-{pc}"))));
    (40..190).step_by(30).fold(office, |office, at| office.at(secs(at), attack([Shot::Syn(8_080)]))).expect(
        "the caller was told nothing",
        |account| match account.attack().answers {
            0 => Ok(()),
            answers => Err(format!("{answers} answers")),
        },
    )
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

/// A PC that sends in a chat from before the gateway's last start gets a reset, and opens another chat. A host on the
/// WAN that sends to a forward in a connection that never existed gets no answer.
fn restarted() -> Office {
    let chatting = 6;
    let server = (CHAT_ADDRESS, CHAT_PORT);
    let stray = Shot::Forged { server, port: 8_080, guess: 7, forgery: Forgery::Data };
    office()
        .pcs(8)
        .chatting(chatting)
        .forwarded("pc-7", 8_080)
        .at(secs(50), attack([stray]))
        .at(secs(30), power_cut())
        .at(secs(32), power_back())
        .at(secs(70), power_cut())
        .at(secs(72), power_back())
        .expect("every chat broke once at each restart, and is back within seconds", move |account| {
            // One line a second. A chat without a reset has 30 before the first restart, and none later.
            let is_back = |diary: &Diary| {
                let goes_on = diary.last_chat_at.is_some_and(|at| at.as_secs() > 115);
                diary.chats_broken == 2 && diary.chat_lines >= 70 && goes_on
            };
            let broken: Vec<_> = account.pcs().take(chatting).filter(|(_, it)| !is_back(it)).collect();
            if broken.is_empty() { Ok(()) } else { Err(in_lines(broken.iter().map(|(_, diary)| diary))) }
        })
}

fn lunch() -> Office {
    let half = |office: Office, action: fn(&str) -> Action, at| {
        (0_u64..10).fold(office, |office, pc| office.at(secs(at + pc), action(&format!("pc-{pc}"))))
    };
    let office = office().tick_ms(10).pcs(20).lease_secs(5_400).visiting_every(Some(secs(120)));
    let office = office.chatting(12).chatting_every(secs(900));
    half(half(office, sleep, 600), wake, 4_200)
        .expect("every PC kept its address", |account| {
            account.every_pc(|diary| diary.addresses_lost == 0 && diary.address.is_some())
        })
        // Every quarter of an hour, but for an hour of sleep.
        .expect("every chat went on", |account| account.chats_went_on(12, 3))
        .expect("everybody works again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 4_800))
        })
}

fn printer() -> Office {
    let reserved = Ipv4Addr::new(192, 168, 1, 200);
    office()
        .pcs(4)
        .printer("pc-3")
        .lease_secs(60)
        .visiting_every(Some(secs(3)))
        .at(secs(30), power_cut())
        .at(secs(40), power_back())
        .at(secs(70), spoof([Trick::Take(reserved), Trick::Claim(reserved)]))
        .at(secs(100), calm())
        .expect("the printer has its address", move |account| {
            let diary = account.pc("pc-3");
            let has = |address: Option<ipnet::Ipv4Net>| address.is_some_and(|net| net.addr() == reserved);
            if has(diary.address) && has(diary.first_address) { Ok(()) } else { Err(diary.to_string()) }
        })
        .expect("names were answered to the end", |account| {
            account.every_pc(|diary| diary.lookups > 20 && diary.last_page_at.is_some())
        })
}

fn forwarded_server() -> Office {
    office()
        .pcs(5)
        .forwarded("pc-0", 8_080)
        .dmz_host("pc-1")
        .hairpinning(2)
        .expect("the internet sees both servers", |account| {
            let is_seen = |visits: &VisitAccount| visits.pages >= 12 && visits.failed <= 2;
            if account.visits().iter().all(is_seen) { Ok(()) } else { Err(in_lines(account.visits())) }
        })
        .expect("colleagues see the first by its outside address", |account| {
            let pages = ["pc-3", "pc-4"].map(|pc| account.pc(pc).hairpin_pages);
            if pages.iter().all(|pages| *pages >= 6) { Ok(()) } else { Err(format!("{pages:?}")) }
        })
}

fn reloaded() -> Office {
    office()
        .pcs(6)
        .chatting(3)
        .forwarded("pc-0", 8_080)
        .hairpinning(1)
        // A page takes the visitor some seconds, so a fetch may be in progress when the forward is removed.
        .link("visitor", perfect().rate(12, 100))
        .at(secs(20), reload("[nat]\nfiltering = 'endpoint-independent'", true))
        .at(secs(30), reload_refused())
        .at(secs(40), reload("[nat]\nfiltering = 'address-dependent'\nmax_flows_per_host = 30", false))
        .at(secs(70), reload("", true))
        .expect("chats go on through all of it", |account| account.chats_went_on(3, 100))
        .expect("the server is seen again when its forward is back", |account| {
            let visits = &account.visits()[0];
            let is_back = visits.last_page_at.is_some_and(|at| at.as_secs() > 100);
            if is_back { Ok(()) } else { Err(visits.to_string()) }
        })
        .expect("every PC fetches pages in the end", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 80))
        })
}

fn mapping_lives() -> Office {
    office()
        .tick_ms(10)
        .pcs(4)
        .asking(4)
        .chatting(2)
        // RFC 5382, REQ-5: 2 h 4 min. The server answers at once.
        .chatting_every(secs(7_430))
        .visiting_every(Some(secs(600)))
        .expect("chats outlast two hours of silence", |account| account.chats_went_on(2, 2))
        .expect("late answers came, and pings came back", |account| {
            account.every_pc(|diary| diary.late_answers > 50 && diary.echoes > 100)
        })
}

fn bad_disk() -> Office {
    office()
        .pcs(20)
        .arriving_within(secs(20))
        .lease_secs(60)
        .at(secs(5), power_cut_while_writing(8))
        .at(secs(12), power_back())
        .at(secs(14), power_cut_while_writing(13))
        .at(secs(30), power_back())
        .at(secs(50), disk(DiskMood::LosesWrites))
        .at(secs(80), power_cut())
        .at(secs(81), clock_jumps(-7_200))
        .at(secs(82), power_back())
        .at(secs(100), disk(DiskMood::Full))
        .at(secs(130), disk(DiskMood::Unreadable))
        .at(secs(131), power_cut())
        .at(secs(132), power_back())
        .at(secs(150), disk(DiskMood::WriteProtected))
        .at(secs(180), disk(DiskMood::Sound))
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 240))
        })
}

fn cut_replacements() -> Office {
    // The lease of the WAN is renewed, and its file replaced, every fifteen seconds.
    let mut office = office().pcs(5).lease_secs(60).isp_lease_secs(30);
    for (number, step) in (0..).zip(ReplaceStep::ALL.iter().chain(&ReplaceStep::ALL)) {
        let begins = secs(10 + 25 * number);
        office = office.at(begins, power_cut_while_replacing(*step)).at(begins + secs(20), power_back());
    }
    office
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("every PC fetches pages again", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 220))
        })
}

fn slow_disk() -> Office {
    office()
        .pcs(20)
        .arriving_within(secs(20))
        .lease_secs(60)
        .at(secs(1), disk(DiskMood::Slow))
        .at(secs(15), power_cut())
        .at(secs(16), power_back())
        .at(secs(60), power_cut())
        .at(secs(62), power_back())
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("no PC lost its address", |account| account.every_pc(|diary| diary.addresses_lost == 0))
        .expect("every PC looks up its colleagues and fetches pages again", |account| {
            let is_late = |at: Option<Instant>| at.is_some_and(|at| at.as_secs() > 90);
            account.every_pc(|diary| is_late(diary.last_colleague_at) && is_late(diary.last_page_at))
        })
}

fn provider_vanishes() -> Office {
    office()
        .pcs(10)
        .chatting(2)
        .at(secs(30), provider(ProviderMood::NotForwarding))
        .at(secs(60), provider(ProviderMood::Up))
        .at(secs(90), provider(ProviderMood::Gone))
        .at(secs(150), provider(ProviderMood::Up))
        .expect("the chats outlived the first time and not the second", |account| {
            let broken = [account.pc("pc-0").chats_broken, account.pc("pc-1").chats_broken];
            if broken == [1, 1] { Ok(()) } else { Err(format!("{broken:?} times broken")) }
        })
        .expect("every PC fetches pages and chats again", |account| {
            let is_late = |at: Option<Instant>| at.is_some_and(|at| at.as_secs() > 240);
            account.every_pc(|diary| is_late(diary.last_page_at))?;
            let chats = [account.pc("pc-0"), account.pc("pc-1")];
            if chats.iter().all(|diary| is_late(diary.last_chat_at)) { Ok(()) } else { Err(in_lines(chats)) }
        })
}

fn lan_only() -> Office {
    office()
        .pcs(10)
        .lan_ports(2)
        .mode("lan-only")
        .lease_secs(60)
        .at(secs(30), partition(["pc-0", "pc-1", "pc-2"]))
        .at(secs(110), reunite())
        .expect("who was cut off lost its address, and nobody else did", |account| {
            let lost: Vec<_> = account.pcs().map(|(_, diary)| diary.addresses_lost).collect();
            if lost == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0] { Ok(()) } else { Err(format!("{lost:?}")) }
        })
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("every PC looks up its colleagues again", |account| {
            account.every_pc(|diary| diary.last_colleague_at.is_some_and(|at| at.as_secs() > 150))
        })
}

/// Every PC keeps its lease, and sends a request to the internet from time to time.
fn idle(pcs: usize) -> Office {
    office()
        .pcs(pcs)
        .arriving_within(secs(30))
        .lease_secs(300)
        .visiting_every(Some(secs(120)))
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("no PC ever lost its address", |account| account.every_pc(|diary| diary.addresses_lost == 0))
        .expect("every PC has fetched a page", |account| account.every_pc(|diary| diary.pages > 0))
}

fn bulk() -> Office {
    office()
        .pcs(10)
        .page_octets(2_000_000)
        .visiting_every(Some(Duration::from_millis(200)))
        .expect("every PC has downloaded 10 MB", |account| account.every_pc(|diary| diary.pages >= 5))
        .expect("every octet was right", |account| account.every_pc(|diary| diary.pages_wrong == 0))
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
