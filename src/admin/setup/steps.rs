//! What the steps of the wizard show.

use ipnet::IpNet;
use maud::{Markup, html};

use super::draft::{Draft, Fault, Faults, Step, Wan};
use crate::admin::layout::facts;
use crate::admin::texts::{Texts, fill};
use crate::admin::words::list;
use crate::control::report::Status;

/// The content of `step`.
pub fn content(texts: &Texts, step: Step, draft: &Draft, status: &Status, faults: &Faults) -> Markup {
    match step {
        Step::Owner => owner(texts, draft, faults),
        Step::Internet => internet(texts, draft, status, faults),
        Step::Network => network(texts, draft, faults),
        Step::Names => names(texts, draft, faults),
        Step::Mail => mail(texts, draft),
        Step::Summary => summary(texts, draft),
    }
}

/// A field in which something is entered.
pub struct Entry<'a> {
    /// Its name in the form.
    pub name: &'static str,
    /// What it is.
    pub label: &'a str,
    /// What belongs there; it can be empty.
    pub hint: &'a str,
    /// What is in it; nothing for a password.
    pub value: &'a str,
    /// What browsers may fill in; a word of HTML. A password has no value.
    pub autocomplete: &'static str,
    /// Whether it may be empty.
    pub is_optional: bool,
}

/// The field, with what is wrong with it.
pub fn entry<'a>(entry: &Entry<'_>, mut faults: impl Iterator<Item = &'a Fault>) -> Markup {
    let Entry { name, label, hint, value, autocomplete, is_optional } = entry;
    let fault = faults.next();
    let (hint_id, fault_id) = (format!("{name}-hint"), format!("{name}-fault"));
    let described = [(!hint.is_empty()).then_some(&hint_id), fault.map(|_| &fault_id)];
    let described: Vec<_> = described.into_iter().flatten().map(String::as_str).collect();
    let described = (!described.is_empty()).then(|| described.join(" "));
    let is_password = autocomplete.ends_with("password");
    html! {
        label for=(name) { (label) }
        @if !hint.is_empty() { p .hint id=(hint_id) { (hint) } }
        @if let Some(fault) = fault { p .refusal id=(fault_id) role="alert" lang=[fault.language()] { (fault.text) } }
        input id=(name) name=(name) type=(if is_password { "password" } else { "text" }) autocomplete=(autocomplete)
            autocapitalize="none" spellcheck="false" maxlength="1024" value=[(!is_password).then_some(value)]
            aria-describedby=[described] aria-invalid=[fault.map(|_| "true")] required[!is_optional];
    }
}

/// One of several ways, of which one is taken.
fn way(name: &str, value: &str, label: &str, about: &str, is_taken: bool) -> Markup {
    let id = format!("{name}-{value}");
    let about_id = format!("{id}-about");
    html! {
        div .way {
            input id=(id) type="radio" name=(name) value=(value) checked[is_taken] aria-describedby=(about_id);
            label for=(id) { (label) }
            p .hint id=(about_id) { (about) }
        }
    }
}

fn owner(texts: &Texts, draft: &Draft, faults: &Faults) -> Markup {
    let (words, passwords) = (&texts.setup, &texts.passwords);
    let keep = if draft.has_owner() { &words.password_kept } else { &passwords.hint };
    let is_optional = draft.has_owner();
    let field = |name, label, hint, value, autocomplete, is_optional| {
        entry(&Entry { name, label, hint, value, autocomplete, is_optional }, faults.of(name))
    };
    html! {
        h2 { (words.owner) }
        p { (words.owner_about) }
        (field("full_name", &words.full_name, "", &draft.full_name, "name", true))
        (field("name", &words.name, &words.name_hint, &draft.name, "username", false))
        (field("password", &passwords.new, keep, "", "new-password", is_optional))
        (field("again", &passwords.again, "", "", "new-password", is_optional))
    }
}

/// What was found on the WAN.
fn found(texts: &Texts, status: &Status) -> Markup {
    let (words, of_status) = (&texts.setup, &texts.status);
    let Some(wan) = &status.wan else { return html! { p { (words.wan_absent) } } };
    let lease = wan.lease.as_ref().zip(wan.address);
    let trouble = status.service_problems.iter().filter_map(|problem| problem.strip_prefix("wan: "));
    html! {
        @match lease {
            Some((lease, address)) => {
                p { (words.wan_found) }
                (facts(&[
                    (&of_status.address, address.to_string()),
                    (&of_status.gateway, wan.gateway.map_or_else(|| texts.common.none.clone(), |to| to.to_string())),
                    (&of_status.name_servers, list(texts, &lease.name_servers)),
                ]))
            }
            None if wan.configured_by == "dhcp" => {
                p { (words.wan_not_found) }
                @for problem in trouble { p lang="en" { (problem) } }
                p { a href=(Step::Internet.path()) { (words.look_again) } }
            }
            None => p { (fill(&words.wan_static, &[("address", &address(wan.address))])) }
        }
    }
}

fn address(address: Option<IpNet>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

fn internet(texts: &Texts, draft: &Draft, status: &Status, faults: &Faults) -> Markup {
    let words = &texts.setup;
    let field = |name, label, hint, value| {
        entry(&Entry { name, label, hint, value, autocomplete: "off", is_optional: true }, faults.of(name))
    };
    html! {
        h2 { (words.internet) }
        (found(texts, status))
        @if draft.wan != Wan::Absent {
            fieldset {
                legend { (words.ways) }
                @for fault in faults.of("wan") { p .refusal role="alert" lang=[fault.language()] { (fault.text) } }
                (way("wan", "dhcp", &words.leased, &words.leased_about, draft.wan == Wan::Leased))
                (way("wan", "static", &words.fixed, &words.fixed_about, draft.wan == Wan::Static))
                (way("wan", "pppoe", &words.pppoe, &words.pppoe_about, false))
            }
            fieldset {
                legend { (words.fixed_values) }
                (field("wan_address", &words.wan_address, &words.wan_address_hint, &draft.wan_address))
                (field("wan_gateway", &words.wan_gateway, &words.wan_gateway_hint, &draft.wan_gateway))
                (field("name_server_1", &words.name_server_1, "", &draft.name_servers[0]))
                (field("name_server_2", &words.name_server_2, "", &draft.name_servers[1]))
            }
        }
    }
}

fn network(texts: &Texts, draft: &Draft, faults: &Faults) -> Markup {
    let words = &texts.setup;
    let (name, value) = ("lan", draft.lan.as_str());
    let lan = Entry {
        name,
        label: &words.lan,
        hint: &words.lan_hint,
        value,
        autocomplete: "off",
        is_optional: false,
    };
    html! {
        h2 { (words.network) }
        p { (words.network_about) }
        (entry(&lan, faults.of(name)))
    }
}

fn names(texts: &Texts, draft: &Draft, faults: &Faults) -> Markup {
    let words = &texts.setup;
    let field = |name, label, hint, value| {
        entry(&Entry { name, label, hint, value, autocomplete: "off", is_optional: false }, faults.of(name))
    };
    html! {
        h2 { (words.names) }
        p { (words.names_about) }
        (field("hostname", &words.hostname, &words.hostname_hint, &draft.hostname))
        (field("domain", &words.domain, &words.domain_hint, &draft.domain))
    }
}

fn mail(texts: &Texts, draft: &Draft) -> Markup {
    let words = &texts.setup;
    html! {
        h2 { (words.mail) }
        fieldset {
            legend { (words.mail_question) }
            (way("mail", "yes", &words.mail_yes, &words.mail_yes_about, draft.has_mail))
            (way("mail", "no", &words.mail_no, &words.mail_no_about, !draft.has_mail))
        }
    }
}

fn summary(texts: &Texts, draft: &Draft) -> Markup {
    let words = &texts.setup;
    let owner = match draft.full_name.as_str() {
        "" => draft.name.clone(),
        full_name => format!("{full_name} ({})", draft.name),
    };
    let wan = match draft.wan {
        Wan::Leased => words.leased.clone(),
        Wan::Static => format!("{}: {}", words.fixed, draft.wan_address),
        Wan::Absent => texts.common.none.clone(),
    };
    let mail = if draft.has_mail { &words.mail_yes } else { &words.mail_no };
    html! {
        h2 { (words.summary) }
        (facts(&[
            (&words.owner, owner),
            (&words.internet, wan),
            (&words.lan, draft.lan.clone()),
            (&words.names, format!("{}.{}", draft.hostname, draft.domain)),
            (&words.mail, mail.clone()),
        ]))
        p { (words.summary_about) }
    }
}
