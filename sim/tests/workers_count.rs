//! However many workers a gateway has, its hosts notice nothing of it.
//!
//! With several workers most frames come to one that does not own them, and flows change their queue at random
//! instants (`world/queues.rs`). The same office with 1, 2 and 4 workers must keep every promise and come to the same
//! for every host. Which frames there are, and when, may differ: ports of mappings that are not free, for one.

use std::time::Duration;

use gatepost_sim::scenario::{Account, Office, Outcome, catalog, office};

/// With so many workers each.
const WORKERS: [u8; 3] = [1, 2, 4];

#[track_caller]
fn run(office: Office, name: &str, workers: u8) -> Outcome {
    let outcome = office.workers(workers).run(name, 1, None).expect("it can be built");
    assert!(outcome.passed(), "with {workers} workers: {outcome}");
    outcome
}

/// Runs an office with each number of workers, and compares what each host has to tell, as `told` has it.
#[track_caller]
fn compare<T: PartialEq + std::fmt::Debug>(build: impl Fn() -> Office, told: impl Fn(&Account) -> T) {
    let outcomes = WORKERS.map(|workers| run(build(), "workers", workers));
    let told = outcomes.each_ref().map(|outcome| told(&outcome.account));
    for (others, workers) in told.iter().zip(WORKERS) {
        assert_eq!(*others, told[0], "with {workers} workers and with one");
    }
}

/// What a host has to tell, but for how often and when.
fn host(account: &Account, name: &str) -> impl PartialEq + std::fmt::Debug + use<> {
    let diary = account.pc(name);
    let failures = [
        diary.addresses_lost,
        diary.lookups_failed,
        diary.pages_failed,
        diary.pages_wrong,
        diary.chats_broken,
    ];
    let successes =
        [diary.lookups, diary.pages, diary.chat_lines, diary.hairpin_pages, diary.late_answers, diary.echoes];
    (diary.address, failures, successes.map(|count| count > 0))
}

/// A scenario of the catalog, whose faults are another's luck with other frames: its expectations are what is the same.
#[track_caller]
fn passes(name: &str) {
    passes_with(name, 2);
    passes_with(name, 4);
}

#[track_caller]
fn passes_with(name: &str, workers: u8) {
    let office = catalog::CATALOG.find(name).expect("a scenario").office(1, None).expect("it is long enough");
    run(office, name, workers);
}

#[test]
fn every_host_fares_the_same_behind_nat() {
    let build = || {
        office()
            .pcs(6)
            .lan_ports(3)
            .chatting(3)
            .asking(2)
            .printer("pc-5")
            .forwarded("pc-4", 8080)
            .hairpinning(2)
            .visiting_every(Some(Duration::from_secs(3)))
            .lasting(Duration::from_secs(90))
    };
    compare(build, |account| {
        let hosts = (0..6).map(|pc| host(account, &format!("pc-{pc}"))).collect::<Vec<_>>();
        let visits = account.visits().iter().map(|visit| (visit.pages > 0, visit.failed)).collect::<Vec<_>>();
        (hosts, visits)
    });
}

#[test]
fn every_host_fares_the_same_behind_a_router_and_in_a_lan_alone() {
    for mode in ["router", "lan-only"] {
        let build = || office().pcs(5).lan_ports(2).mode(mode).visiting_every(Some(Duration::from_secs(3)));
        compare(build, |account| (0..5).map(|pc| host(account, &format!("pc-{pc}"))).collect::<Vec<_>>());
    }
}

/// Fragments, which come to the queue of their addresses, and long ICMP errors: a WAN that carries little at a time.
#[test]
fn every_host_fares_the_same_over_a_narrow_wan() {
    let build = || office().pcs(4).wan_mtu(576).chatting(2).visiting_every(Some(Duration::from_secs(3)));
    compare(build, |account| (0..4).map(|pc| host(account, &format!("pc-{pc}"))).collect::<Vec<_>>());
}

#[test]
fn somebody_who_scans_sees_the_same() {
    let build = || {
        catalog::CATALOG.find("port-scan").expect("a scenario").office(1, None).expect("it is long enough")
    };
    compare(build, |account| (account.attack().open_ports.clone(), account.attack().answers));
}

#[test]
fn nine_o_clock_passes() {
    passes("nine-o-clock");
}

#[test]
fn through_nat_passes() {
    passes("through-nat");
}

#[test]
fn laptop_moves_passes() {
    passes("laptop-moves");
}

#[test]
fn renumbering_passes() {
    passes("renumbering");
}

#[test]
fn power_cut_passes() {
    passes("power-cut");
}

#[test]
fn blind_attack_passes() {
    passes("blind-attack");
}

#[test]
fn printer_passes() {
    passes("printer");
}

#[test]
fn spoofer_passes() {
    passes("spoofer");
}

#[test]
fn forwarded_server_passes() {
    passes("forwarded-server");
}

#[test]
fn mapping_lives_passes() {
    // Hours, so that one number has to do.
    passes_with("mapping-lives", 4);
}

#[test]
fn bad_names_passes() {
    passes("bad-names");
}

#[test]
fn bad_authorities_passes() {
    passes("bad-authorities");
}

#[test]
fn resolver_vanishes_passes() {
    passes("resolver-vanishes");
}

#[test]
fn edns_rejected_passes() {
    passes("edns-rejected");
}

#[test]
fn bad_disk_passes() {
    passes("bad-disk");
}

#[test]
fn provider_vanishes_passes() {
    passes("provider-vanishes");
}

#[test]
fn lan_only_passes() {
    passes("lan-only");
}

#[test]
fn lunch_passes() {
    // Hours, so that one number has to do.
    passes_with("lunch", 2);
}
