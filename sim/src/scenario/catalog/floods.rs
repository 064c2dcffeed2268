//! Scenarios in which one machine requests more than its share.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::secs;
use crate::machine::spoofer::Trick;
use crate::scenario::action::{replug, sleep, spoof, wake};
use crate::scenario::office::{Office, fixed, office};

/// The number of bursts of queries for ten silent names, ten a second.
const FLOOD: usize = 900;

/// The spoofer queries names of a zone with silent servers, first from one address and then from many.
pub fn name_flood() -> Office {
    let own = lan(250);
    let forged = (2..=250).map(lan).cycle();
    let flood = std::iter::repeat_n(own, FLOOD / 2).chain(forged.take(FLOOD / 2)).map(Trick::AskSilent);
    let office = office().pcs(8).visiting_every(Some(secs(3)));
    flooded(office, [Trick::Take(own)].into_iter().chain(flood))
        .expect("no name and no page failed", |account| {
            account.every_pc(|diary| diary.lookups_failed == 0 && diary.pages_failed == 0)
        })
        .expect("every PC fetches pages all the time", |account| {
            account
                .every_pc(|diary| diary.pages > 15 && diary.last_page_at.is_some_and(|at| at.as_secs() > 110))
        })
}

/// The number of bursts of twenty SYNs, ten a second.
const SYN_FLOOD: usize = 600;

/// The spoofer sends SYNs to the gateway's name service, first from one address and then from many, other hosts'
/// among them.
pub fn syn_flood_at_the_gateway() -> Office {
    let own = lan(250);
    let forged = (2..=249).map(lan).cycle();
    let flood =
        std::iter::repeat_n(own, SYN_FLOOD / 2).chain(forged.take(SYN_FLOOD / 2)).map(Trick::OpenHalf);
    answered_over_tcp(flooded(office_on_two_ports(), [Trick::Take(own)].into_iter().chain(flood)))
}

/// The number of bursts of ten connections, ten a second.
const IDLE_FLOOD: usize = 600;

/// The spoofer opens connections to the gateway's name service and leaves them idle, first from one address and then
/// from enough addresses to fill the table of connections.
pub fn idle_dns_connections() -> Office {
    let own = (240..=249).map(lan);
    let takes = own.clone().map(Trick::Take);
    let first = std::iter::repeat_n(lan(240), IDLE_FLOOD / 3);
    let flood = first.chain(own.cycle().take(IDLE_FLOOD * 2 / 3)).map(Trick::HoldOpen);
    answered_over_tcp(flooded(office_on_two_ports(), takes.chain(flood)))
}

/// Workers have equal parts of the ports. The flood is of ports that one of them owns, so that an eighth of it does.
const WORKERS: u8 = 8;
/// From a port of the first worker to the next of the same parity.
const PORT_STEP: u16 = 2 * WORKERS as u16;
/// The distance from the first port of a trick to that of the next: a hundred steps.
const PORTS_SPAN: u16 = 100 * PORT_STEP;
const FIRST_PORT: u16 = 1_024;
/// How often each of six addresses sends a hundred SYNs and datagrams: 8,400 each, and the first worker has 8,064
/// ports.
const PORT_ROUNDS: u16 = 14;

/// The spoofer uses every port of a worker, and the PCs have more flows than their floor.
pub fn port_exhaustion() -> Office {
    let flood = (0..PORT_ROUNDS).flat_map(|round| {
        let port = FIRST_PORT + round / 2 * PORTS_SPAN + round % 2;
        (241..=246).map(move |host| Trick::OpenFlows { address: lan(host), port, step: PORT_STEP })
    });
    // The unverified senders behind a bridge port share a quarter of a host's limit: here more flows than ports.
    let office = office()
        .pcs(2)
        .lan_ports(2)
        .mode("nat")
        .wan(fixed())
        .workers(WORKERS)
        .config("[nat]\nmax_flows_per_host = 65536\n")
        .page_octets(100)
        .visiting_every(Some(Duration::from_millis(40)));
    flooded(office, flood)
        .expect("no name and no page failed", |account| {
            account.every_pc(|diary| diary.lookups_failed == 0 && diary.pages_failed == 0)
        })
        .expect("every PC fetches pages all the time", |account| {
            account
                .every_pc(|diary| diary.pages > 300 && diary.last_page_at.is_some_and(|at| at.as_secs() > 68))
        })
}

/// How many PCs there are, of which those of one port are plugged into another.
const DHCP_PCS: usize = 16;
/// Of two seconds each.
const DHCP_ROUNDS: usize = 30;
/// The time from which the attacker releases leases with others' hardware addresses, which only the bridge port
/// distinguishes apart.
const BORROWING_FROM_ROUND: usize = 24;

/// The spoofer at a port of its own takes all the addresses that it can get, declines others, and releases those of
/// other hosts. PCs arrive, renew, and one of them sleeps meanwhile.
pub fn dhcp_flood() -> Office {
    let round = |round| {
        let asks = std::iter::repeat_n(Trick::AskForAddresses, 20);
        asks.chain([Trick::GiveUpOthers { borrows: round >= BORROWING_FROM_ROUND }])
    };
    let office = office()
        .pcs(DHCP_PCS)
        .lan_ports(3)
        .lease_secs(60)
        .arriving_within(secs(40))
        .at(Duration::ZERO, replug("spoofer", "lan2"))
        .at(secs(50), sleep("pc-0"))
        .at(secs(65), wake("pc-0"));
    let elsewhere = (2..DHCP_PCS).step_by(3).map(|pc| replug(&format!("pc-{pc}"), "lan0"));
    let office = elsewhere.fold(office, |office, moves| office.at(Duration::ZERO, moves));
    flooded(office, (0..DHCP_ROUNDS).flat_map(round))
        .expect("every PC has an address", |account| account.every_pc(|diary| diary.address.is_some()))
        .expect("no PC ever lost its address", |account| account.every_pc(|diary| diary.addresses_lost == 0))
        .expect("every PC fetches pages to the end", |account| {
            account.every_pc(|diary| diary.last_page_at.is_some_and(|at| at.as_secs() > 90))
        })
}

/// When floods begin.
const BEGINS_SECS: u64 = 20;

/// `office` with a spoofer that plays `tricks` from [`BEGINS_SECS`] on.
fn flooded(office: Office, tricks: impl Iterator<Item = Trick>) -> Office {
    let tricks: Vec<_> = tricks.collect();
    let count = u64::try_from(tricks.len()).unwrap_or(u64::MAX);
    office.at(secs(BEGINS_SECS), spoof(tricks)).expect("every trick was played", move |account| {
        if account.tricks() == count { Ok(()) } else { Err(format!("{} tricks", account.tricks())) }
    })
}

/// PCs that query the gateway over TCP, some of them at the port of the attacker.
fn office_on_two_ports() -> Office {
    office().pcs(8).lan_ports(2).visiting_every(Some(secs(3))).asking_by_tcp(8)
}

fn answered_over_tcp(office: Office) -> Office {
    office
        .expect("every name was answered over TCP", |account| {
            account.every_pc(|diary| diary.tcp_lookups_failed == 0 && diary.tcp_lookups > 70)
        })
        .expect("no name and no page failed", |account| {
            account.every_pc(|diary| diary.lookups_failed == 0 && diary.pages_failed == 0)
        })
}

/// A host of the default LAN.
const fn lan(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, host)
}
