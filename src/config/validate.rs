//! The file as a whole: its sections in the order in which they depend on each other.

use gatepost_dataplane::config::Mode;
use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Problem, Report, syntax_problem};
use super::section::Section;
use super::value::{boolean, choice};
use super::{Config, dhcp, dns, firewall, interfaces, nat, system};

/// Reads `text`, the content of the file called `name`.
pub(super) fn parse(name: &str, text: &str) -> Result<Config, Vec<Diagnostic>> {
    let report = Report::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in &errors {
            let (span, problem) = syntax_problem(error, text);
            report.add(span, problem);
        }
        return Err(report.into_diagnostics(name, text));
    }
    let config = read(Section::file(document.get_ref(), &report), &report);
    let diagnostics = report.into_diagnostics(name, text);
    if diagnostics.is_empty() { Ok(config) } else { Err(diagnostics) }
}

fn read(mut file: Section<'_>, report: &Report) -> Config {
    let system = system::read(file.section("system"));
    let mode = read_mode(file.section("network"));
    let (lan, wan) = interfaces::read(file.section("lan"), file.section("wan"), mode, report);
    let firewall = firewall::read(file.section("firewall"), lan.known_address, report);
    let nat = nat::read(file.section("nat"));
    let dhcp = dhcp::read(file.section("dhcp"), lan.known_address, report);
    let dns = dns::read(file.section("dns"), &system.domain, lan.known_address, report);
    reject_until_available(file.section("ntp"), "time service");
    reject_until_available(file.section("mail"), "mail");
    file.finish();
    Config { system, mode, lan: lan.lan, wan, firewall, nat, dhcp, dns }
}

fn read_mode(mut network: Section<'_>) -> Mode {
    let mode = network.setting("mode", Mode::NatDmz, choice(&Mode::ALL.map(|mode| (mode.name(), mode))));
    network.finish();
    mode.value
}

/// Reads a section of a feature that this version does not have: only that it is off can be said.
fn reject_until_available(mut section: Section<'_>, feature: &str) {
    let what = format!("this version has no {feature} yet");
    let enabled = section.setting("enabled", section.is_present(), boolean);
    if enabled.known() == Some(&true) {
        section
            .report(section.span(), Problem::new(what, "remove the section, or write only enabled = false"));
        return;
    }
    for (_, span) in section.unknown() {
        section.report(span, Problem::new(what.clone(), "remove the key"));
    }
}
