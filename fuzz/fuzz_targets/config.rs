//! Any text as a configuration: it is accepted, or every mistake has a place in it and a remedy.

#![no_main]

use gatepost::config::{Config, Diagnostic};
use libfuzzer_sys::fuzz_target;
use gatepost_ground::MacAddr;

const LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
const WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 1]);

fuzz_target!(|text: &str| {
    match Config::parse("fuzz.toml", text) {
        Ok(config) => check_accepted(&config),
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused for no reason");
            mistakes.iter().for_each(|mistake| check_mistake(text, mistake));
        }
    }
});

fn check_accepted(config: &Config) {
    let told = config.dataplane(LAN_MAC, WAN_MAC, None, None);
    assert_eq!(told.ports.len(), config.ports().count());
    let lan = told.interface(Config::LAN).nets::<std::net::Ipv4Addr>().next().expect("the LAN has an address");
    let (first, last) = config.services.dhcp.pool;
    assert!(!config.services.dhcp.enabled || lan.contains(&first) && lan.contains(&last) && first <= last);
}

fn check_mistake(text: &str, mistake: &Diagnostic) {
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&mistake.line), "line {} of {lines}", mistake.line);
    let line = text.split('\n').nth(mistake.line - 1).unwrap_or_default();
    let columns = line.chars().count() + 1;
    assert!((1..=columns).contains(&mistake.column), "column {} of {columns}", mistake.column);
    assert!(!mistake.problem.what.is_empty() && !mistake.problem.remedy.is_empty(), "{mistake}");
    assert_eq!(mistake.to_string().lines().count(), 1, "a mistake is one line: {mistake}");
}
