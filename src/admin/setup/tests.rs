//! The wizard's steps as text, and the file that it leaves.

use super::apply::{edits, is_reached_by, lan_edit};
use super::draft::{Draft, Faults, Step, Wan};
use super::steps::content;
use crate::admin::tests::{english, status};
use crate::config::Config;
use crate::control::report::{Interface, Status, WanLease};

fn config(text: &str) -> Config {
    Config::parse("test", text).expect("a valid configuration")
}

/// The draft of a new office, with Anna as its owner.
fn anna(config: &Config) -> Draft {
    Draft { name: "anna".to_owned(), full_name: "Anna \"A.\" Berg".to_owned(), ..Draft::of(1, config) }
}

/// The file `text` after the wizard.
fn after(text: &str, change: impl FnOnce(&mut Draft)) -> String {
    let before = config(text);
    let mut draft = anna(&before);
    change(&mut draft);
    let lan = lan_edit(&draft, &before).expect("a key");
    let edits = edits(&draft, &before).expect("keys").into_iter().chain(lan);
    edits.fold(text.to_owned(), |text, edit| {
        edit.apply(&text).unwrap_or_else(|error| panic!("{}: {error}", edit.key))
    })
}

#[test]
fn the_file_is_as_if_it_was_written_by_hand() {
    let owner = "[[users]]\nname = \"anna\"\nfull_name = \"Anna \\\"A.\\\" Berg\"\nrole = \"owner\"\n";
    let owner = owner.replace("\"Anna \\\"A.\\\" Berg\"", "'Anna \"A.\" Berg'");
    assert_eq!(after("", |_| {}), format!("{owner}\n[mail]\nenabled = false\n"));
    let text = "# Ours.\n[system]\ndomain = \"berg.example\"   # since 1998\n\n[lan]   # the office\naddress = \"192.168.1.1/24\"\n";
    let written = after(text, |draft| {
        "gate".clone_into(&mut draft.hostname);
        draft.has_mail = true;
        draft.wan = Wan::Static;
        "203.0.113.10/24".clone_into(&mut draft.wan_address);
        "203.0.113.1".clone_into(&mut draft.wan_gateway);
        draft.name_servers = ["203.0.113.53".to_owned(), String::new()];
        "192.168.77.1/24".clone_into(&mut draft.lan);
    });
    let rest = "[mail]\nenabled = true\n\n[wan]\naddress = \"203.0.113.10/24\"\ngateway = \"203.0.113.1\"\n\n[dns]\n\
                upstream = [\"203.0.113.53\"]\n";
    let lead = "# Ours.\n[system]\ndomain = \"berg.example\"   # since 1998\nhostname = \"gate\"\n\n[lan]   # the office\n\
                address = \"192.168.77.1/24\"\n\n";
    let normal = |text: &str| text.replace("\n\n", "\n");
    assert_eq!(normal(&written), normal(&format!("{lead}{owner}\n{rest}")));
    let made = config(&written);
    assert!(
        made.users.len() == 1
            && made.services.mail.enabled
            && made.lan.address.to_string() == "192.168.77.1/24"
    );
}

#[test]
fn who_is_in_the_file_becomes_the_owner_there_and_a_static_wan_becomes_a_leased_one() {
    let text = "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.1'\n\n# Anna.\n[[users]]\nname = 'anna'\n\
                quota = '2 GiB'   # many pictures\n";
    let written = after(text, |draft| {
        draft.wan = Wan::Leased;
        draft.full_name.clear();
    });
    assert!(written.contains(
        "# Anna.\n[[users]]\nname = 'anna'\nquota = '2 GiB'   # many pictures\nrole = \"owner\"\n"
    ));
    let made = config(&written);
    assert_eq!(made.users.len(), 1);
    assert_eq!(Draft::of(2, &made).wan, Wan::Leased);
    assert_eq!(Draft::of(2, &made).name, "anna", "the owner comes first when it is asked for again");
}

#[test]
fn a_browser_that_came_by_a_name_that_is_gone_is_sent_to_the_new_one() {
    let draft = anna(&config("system.domain = 'berg.example'"));
    for (host, is_reached) in [
        ("192.168.1.1", true),
        ("admin.berg.example", true),
        ("gatepost.berg.example", true),
        ("gatepost", true),
        ("admin.office.example", false),
    ] {
        assert_eq!(is_reached_by(host, &draft), is_reached, "{host}");
    }
}

fn shown(step: Step, draft: &Draft, status: &Status) -> String {
    content(english(), step, draft, status, &Faults::default()).into_string()
}

#[test]
fn the_wan_is_told_as_it_was_found_and_pppoe_as_what_it_is() {
    let draft = anna(&config(""));
    let lease = WanLease {
        server: [203, 0, 113, 1].into(),
        lease_secs: 3600,
        name_servers: vec![[203, 0, 113, 53].into()],
        domain: None,
    };
    let wan = |address: Option<&str>, lease| {
        let address = address.map(|address| address.parse().expect("a network"));
        let wan = status().wan.map(|wan| Interface { address, lease, ..wan });
        Status {
            wan,
            service_problems: vec!["wan: nobody answers".to_owned(), "dns: down".to_owned()],
            ..status()
        }
    };
    let found = shown(Step::Internet, &draft, &wan(Some("203.0.113.77/24"), Some(lease)));
    assert!(found.contains("203.0.113.77/24") && found.contains("203.0.113.53"), "{found}");
    assert!(found.contains("cannot do this yet") && found.contains("value=\"dhcp\" checked"), "{found}");
    let nothing = shown(Step::Internet, &draft, &wan(None, None));
    assert!(
        nothing.contains("Nobody has given") && nothing.contains("<p lang=\"en\">nobody answers</p>"),
        "{nothing}"
    );
    assert!(!nothing.contains("dns: down"), "{nothing}");
    let absent = anna(&config("network.mode = 'lan-only'"));
    let absent = shown(Step::Internet, &absent, &Status { wan: None, ..status() });
    assert!(absent.contains("no line to the internet") && !absent.contains("type=\"radio\""), "{absent}");
}

#[test]
fn a_page_has_what_was_entered_and_never_the_password() {
    let mut draft = anna(&config(""));
    let mut faults = Faults::default();
    faults.add("password", "It is weak.");
    let page = content(english(), Step::Owner, &draft, &status(), &faults).into_string();
    assert!(page.contains("value=\"Anna &quot;A.&quot; Berg\"") && page.contains("value=\"anna\""), "{page}");
    assert!(page.contains("id=\"password-fault\" role=\"alert\">It is weak.</p>"), "{page}");
    assert!(
        page.contains("aria-describedby=\"password-hint password-fault\" aria-invalid=\"true\""),
        "{page}"
    );
    assert_eq!(page.matches("type=\"password\" autocomplete=\"new-password\"").count(), 2, "{page}");
    assert_eq!(page.matches("value=").count(), 2, "{page}");
    draft.has_mail = true;
    let summary = shown(Step::Summary, &draft, &status());
    assert!(summary.contains("(anna)") && summary.contains("Yes, mail is here"), "{summary}");
}

#[test]
fn steps_lead_to_each_other_and_back() {
    for (step, next) in Step::ALL.iter().zip(&Step::ALL[1..]) {
        assert_eq!((step.next(), next.before()), (*next, Some(*step)));
        assert_eq!(Step::at(step.path()), Some(*step));
    }
    assert_eq!((Step::Owner.before(), Step::Summary.next()), (None, Step::Summary));
    assert_eq!(Step::at("/setup/none"), None);
}
