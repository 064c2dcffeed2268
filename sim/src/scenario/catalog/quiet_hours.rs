//! Two hours in which hosts with a low limit of flows use them in every way.
//!
//! A count that the gateway does not decrement when a flow ends is visible only once the host can open no more flows.
//! So the limit is low and the time long: each way in which a flow can end happens more often than a host may have flows.

use std::time::Duration;

use gatepost_ground::Instant;

use super::secs;
use crate::machine::internet::ProviderMood;
use crate::scenario::action::{provider, reload, renumber, sleep, wake};
use crate::scenario::office::{Office, office};
use crate::scenario::outcome::in_lines;

/// The duration of the run.
pub const LASTING_SECS: u64 = 7_200;
/// After this time every request has to succeed.
const LATE_SECS: u64 = 7_000;
const PCS: usize = 4;
/// The pages of a PC, of one every five seconds with the time that it takes, the provider's outages and a night.
const PAGES_MIN: u64 = 550;
/// Enough for a PC's flows at a time, but not for all closed connections of the last four minutes.
const RULES: &str = "[nat]\nmax_flows_per_host = 20\n";

/// The office of `seed`.
pub fn quiet_hours(seed: u64) -> Office {
    let lax = format!("{RULES}filtering = 'endpoint-independent'\n");
    let office = office()
        .tick_ms(10)
        .workers([1, 2, 4][(seed % 3) as usize])
        .pcs(PCS)
        .asking(2)
        .probing(1)
        .forwarded("pc-0", 8_080)
        .hairpinning(1)
        .isp_lease_secs(60)
        .visiting_every(Some(secs(5)))
        .config(RULES);
    // The provider forwards nothing for a while: PCs that wait in vain reset their connections.
    let office = every(600, 300).fold(office, |office, at| {
        let [lost, back] = [ProviderMood::NotForwarding, ProviderMood::Up].map(provider);
        office.at(at, lost).at(at + secs(45), back)
    });
    let office = every(900, 1_200)
        .fold(office, |office, at| office.at(at, reload(&lax, false)).at(at + secs(60), reload(RULES, true)));
    let networks = ["192.0.2.0/24", "203.0.113.0/24"].into_iter().cycle();
    let office = every(1_350, 900)
        .zip(networks)
        .fold(office, |office, (at, network)| office.at(at, renumber(network)));
    // A night, in which all closed flows expire.
    let office = (0..PCS).fold(office, |office, pc| {
        let pc = format!("pc-{pc}");
        office.at(secs(3_700), sleep(&pc)).at(secs(4_300), wake(&pc))
    });
    let is_late = |at: Option<Instant>| at.is_some_and(|at| at.as_secs() > LATE_SECS);
    office
        .expect("every PC can still open connections", move |account| {
            account.every_pc(|diary| is_late(diary.last_page_at))
        })
        .expect("every PC fetches pages all the time", |account| {
            account.every_pc(|diary| diary.pages >= PAGES_MIN)
        })
        .expect("every prober can still use UDP and ICMP", |account| {
            account.every_prober(|record| record.has_succeeded_since(Instant::ZERO + secs(6_900)))
        })
        .expect("the server can still be visited", move |account| {
            let visits = account.visits();
            if visits.iter().all(|visits| is_late(visits.last_page_at)) {
                Ok(())
            } else {
                Err(in_lines(visits))
            }
        })
}

/// From `first_secs` on, each so many seconds, until the last quarter of an hour.
fn every(first_secs: u64, step_secs: usize) -> impl Iterator<Item = Duration> {
    (first_secs..LASTING_SECS - 900).step_by(step_secs).map(secs)
}
