//! The dependencies follow `deny.toml`: their licences and sources, one version of each.
//!
//! cargo-deny checks the same, and advisories (`./dev deny`); this needs neither tools nor a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn deny() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    fs::read_to_string(path).expect("it is there").parse().expect("it is TOML")
}

/// An external package that is built for Linux.
struct Package {
    name: String,
    version: String,
    licence: String,
    /// Its source; `None` for the registry.
    elsewhere: Option<String>,
}

/// Every one, once.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--target", "x86_64-unknown-linux-gnu"])
        .args(["--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // A package that was listed before ends with a star.
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty());
    let lines: BTreeSet<_> = lines.collect();
    let package = |line: &str| {
        // `name v1.2.3`, then `(proc-macro)` or a source other than the registry.
        let (package, licence) = line.split_once('|').expect("a licence, which may be empty");
        let mut words = package.split(' ');
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        let elsewhere = words.find(|word| *word != "(proc-macro)").map(str::to_owned);
        let version = version.trim_start_matches('v').to_owned();
        Package { name: name.to_owned(), version, licence: licence.to_owned(), elsewhere }
    };
    lines.into_iter().map(package).filter(|package| !package.name.starts_with("gatepost")).collect()
}

/// Whether the licence expression can be met with the licences that are allowed (SPDX: AND binds closer than OR).
fn is_met(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    // Old manifests write `MIT/Apache-2.0`.
    let expression = expression.replace('/', " OR ");
    let outside = |separator: &str| -> Vec<String> {
        let mut depth = 0_i32;
        let mut parts = vec![String::new()];
        for word in expression.split(' ') {
            if depth == 0 && word == separator {
                parts.push(String::new());
                continue;
            }
            depth += word.matches('(').count() as i32 - word.matches(')').count() as i32;
            let part = parts.last_mut().expect("one at least");
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(word);
        }
        parts
    };
    let (either, all) = (outside("OR"), outside("AND"));
    match (either.len(), all.len()) {
        (1, 1) => match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => is_met(inner, allowed),
            None => allowed.contains(expression.as_str()),
        },
        (1, _) => all.iter().all(|part| is_met(part, allowed)),
        _ => either.iter().any(|part| is_met(part, allowed)),
    }
}

#[test]
fn every_licence_is_allowed_and_every_source_is_the_registry() {
    let deny = deny();
    let allowed = deny["licenses"]["allow"].as_array().expect("a list");
    let allowed: BTreeSet<_> = allowed.iter().map(|licence| licence.as_str().expect("a name")).collect();
    let packages = packages();
    assert!(packages.iter().any(|package| package.name == "etherparse"), "what is built is not listed");
    for Package { name, licence, elsewhere, .. } in packages {
        assert!(is_met(&licence, &allowed), "{name}: {licence:?} is not among those that deny.toml allows");
        assert_eq!(elsewhere, None, "{name}");
    }
}

#[test]
fn no_crate_is_there_in_two_versions_but_those_that_wait() {
    let deny = deny();
    let skipped = deny["bans"]["skip"].as_array().expect("a list");
    let mut skipped: BTreeSet<_> =
        skipped.iter().map(|skip| skip["crate"].as_str().expect("name@version")).collect();
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for Package { name, version, .. } in packages() {
        versions.entry(name).or_default().push(version);
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        // The one that is not skipped is the one to keep.
        let kept = versions.iter().filter(|version| {
            let full = format!("{name}@{version}");
            let skip = skipped.iter().copied().find(|skip| full.starts_with(&format!("{skip}.")));
            skip.is_none_or(|skip| !skipped.remove(skip))
        });
        assert!(kept.count() == 1, "{name} {versions:?}: build one, or say in deny.toml what holds it back");
    }
    assert!(skipped.is_empty(), "deny.toml skips what is not there twice: {skipped:?}");
}

#[test]
fn an_expression_is_met_by_one_side_of_or_and_both_of_and() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0", "ISC"]);
    for met in
        ["MIT", "MIT/GPL-3.0", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND Unicode-3.0", "Apache-2.0 AND ISC"]
    {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR AGPL-3.0) AND MIT", "GPL-3.0/AGPL-3.0"] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}
