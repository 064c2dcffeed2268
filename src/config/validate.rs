//! The file as a whole: its sections in the order in which they depend on each other.

use std::path::Path;

use gatepost_dataplane::config::Mode;
use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Report, Severity, note_syntax_error};
use super::section::Section;
use super::services::{self, Surroundings};
use super::value::choice;
use super::{Config, Decisive, Places, access, firewall, interfaces, nat, system, tls, upcoming, users};

/// Reads `text`, the content of the file called `name`; warnings come with the configuration.
pub(super) fn parse(name: &str, text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let report = Report::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in &errors {
            note_syntax_error(&report, error, text, document.get_ref());
        }
        return Err(report.into_diagnostics(name, text));
    }
    let folder = Path::new(name).parent().unwrap_or_else(|| Path::new(""));
    let mut config = read(Section::file(document.get_ref(), &report), folder, &report);
    config.places = Places::new(name, text, report.take_places());
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    let (errors, warnings): (Vec<_>, Vec<_>) =
        report.into_diagnostics(name, text).into_iter().partition(is_error);
    if errors.is_empty() { Ok((config, warnings)) } else { Err(errors) }
}

/// Relative paths start at `folder`.
fn read<'a>(mut file: Section<'a>, folder: &Path, report: &'a Report) -> Config {
    let system = system::read(file.section("system"));
    let mode = read_mode(file.section("network"), report);
    let (lan, wan) = interfaces::read(file.section("lan"), file.section("wan"), mode, report);
    let of_firewall = file.section("firewall");
    let nat = nat::read(file.section("nat"));
    let users::Written { users, polled, vacations } = users::read(&mut file, report);
    let around = Surroundings {
        hostname: &system.hostname,
        domain: &system.domain,
        lan: lan.known_address,
        router: lan.lan.gateway.filter(|_| mode == Mode::LanOnly),
        snooping: lan.snooping,
        users: &users,
        polled: &polled,
        vacations: &vacations,
        folder,
    };
    let services = services::read(&mut file, around, report);
    let firewall = firewall::read(of_firewall, mode, lan.known_address, &services, report);
    let tls = tls::read(file.section("tls"), folder);
    let access = access::read(file.section("access"), mode, lan.known_address, report);
    upcoming::refuse_sections(&mut file);
    file.finish();
    Config {
        system,
        mode,
        lan: lan.lan,
        wan,
        firewall,
        nat,
        services,
        access,
        tls,
        users,
        is_unconfirmed: false,
        places: Places::default(),
    }
}

fn read_mode(mut network: Section<'_>, report: &Report) -> Mode {
    let mode = network.setting("mode", Mode::NatDmz, choice(&Mode::ALL.map(|mode| (mode.name(), mode))));
    network.finish();
    mode.written().into_iter().for_each(|(_, span)| report.note_place(Decisive::Mode, span));
    mode.value
}
