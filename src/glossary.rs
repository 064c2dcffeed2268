//! The glossary of drop reasons and counters: `gatepost explain drop`, and `docs/glossary.md`. Names and meanings
//! come from the definitions of the reasons and counters.

use std::fmt::Write;

use gatepost_dataplane::{Counters, DropReason};
use gatepost_services::net::stack::StackCounters;

use crate::config::services::{KINDS, OUTWARD_KINDS};
use crate::control::table::Table;
use crate::error::Error;

/// A group of counters that are reported together.
pub struct CounterGroup {
    /// The group's key in `gatepost show counters --json`; `None` for the top level.
    pub key: Option<&'static str>,
    /// The subject of the counters, in a few words.
    pub about: &'static str,
    /// The names of the counters, with their meanings.
    pub counters: Vec<(&'static str, &'static str)>,
}

/// All counters but those of the ports.
pub fn counter_groups() -> Vec<CounterGroup> {
    let group = |key, about, counters: &[_]| CounterGroup { key, about, counters: counters.to_vec() };
    let mut frames = group(None, "Frames and flows", Counters::GLOSSARY);
    frames.counters.push(("dropped", "Frames that went no further; the drop reasons tell why."));
    let stack = group(Some("host_stack"), "The gateway's own TCP and UDP", StackCounters::GLOSSARY);
    let services =
        KINDS.iter().chain(&OUTWARD_KINDS).map(|kind| group(Some(kind.name), kind.about, kind.counters));
    [frames, stack].into_iter().chain(services).collect()
}

/// The meaning of the drop reason `name`; without a name, of all reasons.
///
/// # Errors
///
/// There is no such reason.
pub fn explain_drop(name: Option<&str>) -> Result<String, Error> {
    let Some(name) = name else {
        let mut table = Table::new(["reason", "meaning"]);
        for reason in DropReason::ALL {
            table.row([reason.name().to_owned(), reason.meaning().to_owned()]);
        }
        return Ok(table.to_string());
    };
    if let Some(reason) = DropReason::ALL.iter().find(|reason| reason.name() == name) {
        return Ok(format!("{reason}: {}\n", reason.meaning()));
    }
    let near: Vec<_> = near(name).iter().map(|reason| reason.name()).collect();
    let remedy = match &near[..] {
        [] => "`gatepost explain drop` lists all".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Err(Error::usage(format!("there is no drop reason \"{name}\"; {remedy}")))
}

/// The reasons with names similar to `name`, the nearest first.
fn near(name: &str) -> Vec<DropReason> {
    /// The most similar names.
    const NEAR_MAX: usize = 3;
    let name = name.to_lowercase().replace('_', "-");
    let mut near: Vec<_> = DropReason::ALL
        .iter()
        .filter_map(|reason| {
            let distance = if reason.name().contains(&name) || name.contains(reason.name()) {
                0
            } else {
                strsim::damerau_levenshtein(reason.name(), &name)
            };
            // Up to a third of the letters may differ.
            (distance * 3 <= reason.name().len()).then_some((distance, *reason))
        })
        .collect();
    near.sort();
    near.into_iter().take(NEAR_MAX).map(|(_, reason)| reason).collect()
}

/// The text of `docs/glossary.md`.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    let mut section = |title: &str, head: &str, rows: &mut dyn Iterator<Item = (&str, &str)>| {
        // Writing to a string cannot fail.
        _ = write!(text, "\n## {title}\n\n| {head} | meaning |\n| --- | --- |\n");
        for (name, meaning) in rows {
            _ = writeln!(text, "| `{name}` | {meaning} |");
        }
    };
    let mut reasons = DropReason::ALL.iter().map(|reason| (reason.name(), reason.meaning()));
    section("Drop reasons", "reason", &mut reasons);
    for CounterGroup { key, about, counters } in counter_groups() {
        let title = key.map_or_else(|| about.to_owned(), |key| format!("{about} (`{key}`)"));
        section(&title, "counter", &mut counters.into_iter());
    }
    text
}

const INTRODUCTION: &str = "\
# Glossary

What `gatepost show drops` and `gatepost show counters` tell. `gatepost explain drop REASON` says the same on the command
line. The text form of the counters has dashes where the keys here, those of `--json`, have underscores.

This file is made from the sources: `UPDATE_GLOSSARY=1 cargo test --lib glossary` writes it anew. The words that this
project uses in a sense of its own are in [words](words.md).
";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_document_is_what_the_sources_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/glossary.md");
        if std::env::var_os("UPDATE_GLOSSARY").is_some() {
            fs::write(&path, markdown()).expect("it can be written");
        }
        let written = fs::read_to_string(&path).expect("it is there");
        assert!(written == markdown(), "run `UPDATE_GLOSSARY=1 cargo test --lib glossary`");
    }

    #[test]
    fn every_reason_and_counter_is_explained_in_a_sentence() {
        for reason in DropReason::ALL {
            let told = explain_drop(Some(reason.name())).expect("it is one");
            assert_eq!(told, format!("{}: {}\n", reason.name(), reason.meaning()));
        }
        let all = explain_drop(None).expect("a list");
        assert!(DropReason::ALL.iter().all(|reason| all.contains(reason.meaning())), "{all}");
        for (name, meaning) in counter_groups().into_iter().flat_map(|group| group.counters) {
            assert!(meaning.ends_with('.') && !meaning.contains("[`"), "{name}: {meaning}");
        }
    }

    #[test]
    fn a_reason_that_is_none_is_told_with_those_that_are_near() {
        for (asked, expected) in [
            ("martin", "did you mean martian?"),
            ("Flow_Table_Full", "did you mean flow-table-full"),
            ("checksum", "did you mean ipv4-checksum or tcp-checksum or udp-checksum?"),
            ("Host_Ring", "did you mean host-ring-full?"),
            ("udp-checksun", "did you mean udp-checksum or tcp-checksum or icmp-checksum?"),
            ("nonsense-of-all-kinds", "`gatepost explain drop` lists all"),
        ] {
            let told = explain_drop(Some(asked)).expect_err("it is none").to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
}
