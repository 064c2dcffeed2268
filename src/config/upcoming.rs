//! Keys of later versions, so that they are not reported as typing errors.
//!
//! A key leaves this list with the version that implements it. A file may disable an upcoming feature before.

use toml::de::DeValue;

use super::diagnostic::Problem;
use super::section::Section;

/// Upcoming sections, the feature that each belongs to, and the setting that turns it off, if there is one.
const SECTIONS: [(&str, &str, Option<Off>); 5] = [
    (
        "ipv6",
        "IPv6",
        Some(Off { key: "mode", is: |value| value.as_str() == Some("off"), written: "mode = \"off\"" }),
    ),
    ("networks", "further networks", None),
    ("routes", "static routes", None),
    ("uplinks", "several uplinks", None),
    ("web", "the web server", None),
];

/// Upcoming keys of existing sections, and the feature that each belongs to.
const KEYS: &[(&str, &[&str], &str)] = &[
    ("[wan]", &["vlan"], "VLANs"),
    ("the port", &["nic", "take", "busy_poll"], "network cards"),
    ("the port", &["bridge"], "bridges of the kernel's"),
    ("the port", &["vhost_user"], "virtual machines"),
    ("[firewall]", &["rules"], "firewall rules"),
    ("[dns]", &["validate", "trust_anchors", "negative_anchors"], "DNSSEC"),
    ("[dns]", &["query_log", "blocklists"], "DNS by policy"),
    ("[dns]", &["secondaries", "keys"], "zones of other servers"),
    ("[ntp]", &["set_clock"], "keeping the kernel's clock"),
    ("[mail.ports]", &["imap", "imaps"], "IMAP"),
];

/// How a section disables its feature.
struct Off {
    key: &'static str,
    is: fn(&DeValue<'_>) -> bool,
    written: &'static str,
}

/// Rejects the upcoming sections of `file`, unless they disable their features.
pub(super) fn refuse_sections(file: &mut Section<'_>) {
    for (name, feature, off) in SECTIONS {
        let Some(node) = file.unoffered(name) else { continue };
        let (span, keys) = match node.get_ref() {
            DeValue::Table(table) => (node.span(), Some(table)),
            DeValue::Array(tables) => (tables.first().map_or(node.span(), toml::Spanned::span), None),
            _ => (node.span(), None),
        };
        let comes_with = |what: &str| comes_with(what, feature);
        let is_off = |off: &Off| {
            keys.and_then(|keys| keys.get(off.key)).is_some_and(|value| (off.is)(value.get_ref()))
        };
        match &off {
            Some(off) if is_off(off) => {
                let others =
                    keys.into_iter().flat_map(|keys| keys.keys()).filter(|key| key.get_ref() != off.key);
                for key in others {
                    file.report(key.span(), Problem::new(comes_with(key.get_ref()), "remove the key"));
                }
            }
            Some(off) => {
                let remedy = format!("remove the section, or write only {}", off.written);
                file.report(span, Problem::new(comes_with(&format!("[{name}]")), remedy));
            }
            None => {
                let heading = if keys.is_some() { format!("[{name}]") } else { format!("[[{name}]]") };
                file.report(span, Problem::new(comes_with(&heading), "remove it"));
            }
        }
    }
}

/// What is said of `what`, which is for `feature`.
fn comes_with(what: &str, feature: &str) -> String {
    format!("{what} comes with {feature}, which this version does not have yet")
}

/// The problem of `key` in the section `heading`, if it is an upcoming one.
pub(super) fn key_problem(heading: &str, key: &str) -> Option<Problem> {
    let (_, _, feature) = keys().find(|(section, keys, _)| *section == heading && keys.contains(&key))?;
    let what = comes_with(&format!("{key:?} in {heading}"), feature);
    Some(Problem::new(what, "remove it"))
}

/// All upcoming keys of existing sections.
fn keys() -> impl Iterator<Item = &'static (&'static str, &'static [&'static str], &'static str)> {
    KEYS.iter()
}

/// Upcoming services, and the feature that each belongs to.
pub(super) const SERVICES: [(&str, &str); 2] = [("imaps", "IMAP"), ("http", "the web server")];

/// The problem of naming the upcoming service `name`, of `feature`; `others` are the valid names.
pub(super) fn service_problem(name: &str, feature: &str, others: &str) -> Problem {
    let what = comes_with(&format!("{name:?}"), feature);
    Problem::new(what, format!("remove it, or write {others}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn told(text: &str) -> Vec<String> {
        let mistakes = Config::parse("t.toml", text).expect_err(text);
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_listed_is_really_yet_to_come() {
        for (name, feature, _) in SECTIONS {
            let [mistake] = &told(&format!("{name} = {{}}"))[..] else { panic!("{name}") };
            assert!(mistake.contains(&format!("[{name}] comes with {feature}")), "{mistake}");
            let [mistake] = &told(&format!("[[{name}]]\n"))[..] else { panic!("{name}") };
            assert!(mistake.starts_with("t.toml:1:1: ["), "{mistake}");
        }
        for (heading, keys, feature) in keys() {
            for key in *keys {
                let text = match *heading {
                    "the port" => format!("lan.ports = [{{ tap = 'a', {key} = 1 }}]"),
                    "the user" => format!("[[users]]\n{key} = 1"),
                    _ => format!("{heading}\n{key} = 1"),
                };
                let expected = format!("{key:?} in {heading} comes with {feature}");
                assert!(told(&text).iter().any(|mistake| mistake.contains(&expected)), "{text}");
            }
        }
    }
}
