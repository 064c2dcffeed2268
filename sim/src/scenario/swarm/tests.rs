//! The coverage of seeds: no kind of fault is missing in hundreds of them.

use std::collections::BTreeMap;

use super::*;
use crate::scenario::action::Action;

/// The description of an action, without names and numbers.
fn kind(action: &Action) -> String {
    let told = format!("{action:?}");
    told.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

#[test]
fn every_kind_of_fault_occurs_in_some_of_two_hundred_seeds() {
    let mut seeds = BTreeMap::<String, u64>::new();
    for seed in 1..=200 {
        let office = office_of(seed, Duration::from_secs(LASTING_SECS_MIN));
        let mut kinds: Vec<_> = office.actions.iter().map(|(_, action, _)| kind(action)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.into_iter().for_each(|kind| *seeds.entry(kind).or_default() += 1);
    }
    let faults = [
        "Attack",
        "ClockJumps",
        "DhcpOfProvider",
        "Disk",
        "LeaseForm",
        "Dns",
        "Link",
        "NameMoves",
        "Partition",
        "PowerCut",
        "PowerCutWhileReplacing",
        "PowerCutWhileWriting",
        "Provider",
        "Reload",
        "ReloadRefused",
        "Renumber",
        "Replug",
        "Rot",
        "Sleep",
        "Spoof",
    ];
    for fault in faults {
        assert!(seeds.get(fault).is_some_and(|seeds| *seeds >= 10), "{fault} in {seeds:?}");
    }
}

#[test]
fn most_of_a_short_run_has_faults() {
    let latest = |seed| {
        let office = office_of(seed, Duration::from_secs(LASTING_SECS_MIN));
        office.actions.iter().map(|(at, ..)| at.as_secs()).max().unwrap_or_default()
    };
    let calm_at = LASTING_SECS_MIN - SETTLING.as_secs();
    assert!((1..=200).any(|seed| latest(seed) > calm_at), "attacks go on while everybody recovers");
    assert!((1..=200).all(|seed| latest(seed) <= LASTING_SECS_MIN - 60));
    assert!(calm_at > LASTING_SECS_MIN / 2);
}
