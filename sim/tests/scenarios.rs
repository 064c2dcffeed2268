//! The scenarios with a name, each kept by the product.

use gatepost_sim::scenario::catalog;

#[track_caller]
fn passes(name: &str) {
    let office = catalog::find(name).expect("a scenario").office(1, None).expect("it is long enough");
    let outcome = office.run(name, 1, None).expect("it can be built");
    assert!(outcome.passed(), "{outcome}");
}

#[test]
fn laptop_moves_and_keeps_its_connection() {
    passes("laptop-moves");
}

#[test]
fn names_and_pages_come_through_nat() {
    passes("through-nat");
}

#[test]
fn provider_renumbers() {
    passes("renumbering");
}

#[test]
fn power_cut_loses_no_lease() {
    passes("power-cut");
}

#[test]
fn port_scan_sees_nothing() {
    passes("port-scan");
}

#[test]
fn blind_attack_breaks_no_chat() {
    passes("blind-attack");
}

#[test]
fn bad_names_do_not_get_in() {
    passes("bad-names");
}
