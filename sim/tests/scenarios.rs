//! The scenarios with a name, each kept by the product.

use std::ops::RangeInclusive;
use std::time::Duration;

use gatepost_sim::scenario::{catalog, office, sleep, wake};

/// The seeds of a scenario that takes about a second each. What is expected holds for any.
const SEEDS: RangeInclusive<u64> = 1..=5;

#[track_caller]
fn passes(name: &str) {
    passes_with(name, SEEDS);
}

/// For a scenario that takes several seconds.
#[track_caller]
fn passes_once(name: &str) {
    passes_with(name, 1..=1);
}

#[track_caller]
fn passes_with(name: &str, seeds: RangeInclusive<u64>) {
    let scenario = catalog::CATALOG.find(name).expect("a scenario");
    for seed in seeds {
        let office = scenario.office(seed, None).expect("it is long enough");
        let outcome = office.run(name, seed, None).expect("it can be built");
        assert!(outcome.passed(), "{outcome}");
    }
}

#[test]
fn laptop_moves_and_keeps_its_connection() {
    passes("laptop-moves");
}

#[test]
fn everybody_arrives_at_nine() {
    passes_once("nine-o-clock");
}

#[test]
fn names_and_pages_come_through_nat() {
    passes("through-nat");
}

#[test]
fn errors_and_fragments_come_through_nat() {
    passes("path");
}

#[test]
fn frames_with_a_priority_come_through_nat() {
    passes("priority-tags");
}

#[test]
fn provider_renumbers() {
    passes("renumbering");
}

#[test]
fn a_neighbour_that_is_away_is_given_up_in_silence() {
    passes("nobody-in");
}

#[test]
fn provider_keeps_an_address_back_and_gives_another() {
    passes("lease-runs-out");
}

#[test]
fn leases_of_every_form_are_used() {
    passes("lease-forms");
}

#[test]
fn gateway_becomes_another_client_of_the_provider() {
    passes("other-client");
}

#[test]
fn provider_names_another_resolver() {
    passes("resolver-changes");
}

#[test]
fn guests_come_and_go() {
    passes("guests");
}

#[test]
fn power_cuts_within_replacements_damage_nothing() {
    passes("cut-replacements");
}

#[test]
fn slow_disk_holds_up_nobody_but_who_waits_for_it() {
    passes_once("slow-disk");
}

#[test]
fn power_cut_loses_no_lease() {
    passes("power-cut");
}

#[test]
fn chats_are_back_within_seconds_of_a_restart() {
    passes("restart");
}

#[test]
fn port_scan_sees_nothing() {
    passes_once("port-scan");
}

#[test]
fn pinholes_are_open_as_long_as_they_were_asked_for() {
    passes("pinholes");
}

#[test]
fn blind_attack_breaks_no_chat() {
    passes_once("blind-attack");
}

#[test]
fn printer_keeps_its_address_and_its_name() {
    passes("printer");
}

#[test]
fn spoofer_gets_nothing_out_and_stops_nobody_for_long() {
    passes_once("spoofer");
}

#[test]
fn name_flood_takes_no_name_and_no_page_from_others() {
    passes_once("name-flood");
}

#[test]
fn half_open_connections_keep_nobody_from_the_name_service() {
    passes_once("syn-flood-at-the-gateway");
}

#[test]
fn idle_connections_keep_nobody_from_the_name_service() {
    passes_once("idle-dns-connections");
}

#[test]
fn ports_that_one_machine_takes_are_had_by_others() {
    passes_once("port-exhaustion");
}

#[test]
fn dhcp_flood_takes_no_lease_from_others() {
    passes_once("dhcp-flood");
}

#[test]
fn servers_are_seen_from_the_internet_and_from_the_office() {
    passes("forwarded-server");
}

#[test]
fn rules_change_and_nobody_is_cut_off() {
    passes("reload");
}

#[test]
fn bad_names_do_not_get_in() {
    passes_once("bad-names");
}

#[test]
fn long_texts_come_whole() {
    passes("long-texts");
}

#[test]
fn bad_authorities_are_got_round() {
    passes_once("bad-authorities");
}

#[test]
fn one_resolver_of_two_is_enough() {
    passes("resolver-vanishes");
}

/// RFC 6891, section 7; RFC 8906, section 3.2.2.
#[test]
fn names_of_every_zone_are_answered_over_shared_connections() {
    passes("zones");
}

#[test]
fn however_resolvers_reject_edns_no_name_fails() {
    passes("edns-rejected");
}

#[test]
fn an_authority_answers_the_gateways_own_packets() {
    let asks_it = office()
        .visiting_every(Some(Duration::from_secs(4)))
        .config("[dns]\nupstream = ['198.18.2.1'] # a.nic.example\n")
        .expect("sites of its zone are found", |account| account.every_pc(|diary| diary.pages > 0));
    let outcome = asks_it.run("asks-an-authority", 1, None).expect("it can be built");
    assert!(outcome.passed(), "{outcome}");
}

#[test]
fn mail_that_is_taken_is_kept() {
    passes_once("mail");
}

#[test]
fn mail_that_leaves_is_kept_until_it_is_elsewhere() {
    passes_once("mail-out");
}

#[test]
fn mail_goes_under_tls_and_without_where_that_fails() {
    passes_once("mail-tls");
}

#[test]
fn mail_that_is_fetched_elsewhere_comes_once() {
    passes_once("mail-poll");
}

#[test]
fn octets_of_mail_that_flip_cost_what_they_said() {
    passes_once("mail-rot");
}

#[test]
fn bad_disk_loses_no_lease() {
    passes_once("bad-disk");
}

#[test]
fn provider_vanishes_and_returns() {
    passes("provider-vanishes");
}

#[test]
fn lan_only_has_addresses_and_names() {
    passes("lan-only");
}

#[test]
fn what_an_administrator_does_not_confirm_is_undone() {
    passes_once("administrator");
}

#[test]
fn a_host_with_hardly_any_flows_can_in_two_hours_as_at_first() {
    passes_once("quiet-hours");
}

#[test]
fn half_the_office_sleeps_over_lunch_and_nothing_breaks() {
    passes_once("lunch");
}

#[test]
fn mappings_live_as_long_as_their_rfcs_say() {
    passes_once("mapping-lives");
}

#[test]
fn ticks_of_ten_milliseconds_do_for_a_long_day() {
    let office = office()
        .pcs(10)
        .tick_ms(10)
        .chatting(2)
        .lasting(Duration::from_secs(600))
        .expect("every PC fetches pages", |account| account.every_pc(|diary| diary.pages > 20))
        .expect("nothing fails", |account| {
            account.every_pc(|diary| diary.pages_failed + diary.lookups_failed == 0)
        })
        .expect("chats go on", |account| account.chats_went_on(2, 500));
    let outcome = office.run("long-ticks", 1, None).expect("it can be built");
    assert!(outcome.passed(), "{outcome}");
}

#[test]
fn an_office_is_on_the_network_and_the_pool_that_its_scenario_says() {
    let lan = office()
        .lan("10.20.0.0/16")
        .printer("pc-1")
        .config("[dhcp]\npool = '10.20.7.1-10.20.7.9'\n")
        .expect("pc-0 has an address of the pool", |account| {
            let address = account.pc("pc-0").address.map(|net| net.to_string()).unwrap_or_default();
            if address.starts_with("10.20.7.") && address.ends_with("/16") { Ok(()) } else { Err(address) }
        })
        .expect("the printer has its own", |account| {
            let address = account.pc("pc-1").address.map(|net| net.to_string());
            if address.as_deref() == Some("10.20.0.200/16") { Ok(()) } else { Err(format!("{address:?}")) }
        })
        .expect("pages come", |account| account.every_pc(|diary| diary.pages > 0));
    let outcome = lan.run("lan", 1, None).expect("it can be built");
    assert!(outcome.passed(), "{outcome}");
    assert!(outcome.options.contains("the LAN is 10.20.0.0/16"), "{outcome}");
}

#[test]
fn what_happens_is_told_in_the_order_of_time() {
    let office = office()
        .pcs(1)
        .at(Duration::from_secs(9), wake("pc-0"))
        .at(Duration::from_millis(1_500), sleep("pc-0"))
        .lasting(Duration::from_secs(10));
    let options = office.run("order", 1, None).expect("it can be built").options;
    let told: Vec<_> = options.lines().filter(|line| line.contains("pc-0")).collect();
    assert_eq!(told, ["     1.500 s: pc-0 goes to sleep", "     9.000 s: pc-0 wakes up"]);
}
