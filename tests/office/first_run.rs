//! The first run: from a file without users to an owner who is signed in, by a browser on the LAN.

use std::fs;

use nix::sys::signal::Signal;

use crate::admin::{Browser, status_of};
use crate::harness::{Gateway, LAN, Office, gatepost, run};

const PASSWORD: &str = "blue harbour 47";

/// The site by its address: the wizard changes its names.
fn site() -> String {
    format!("https://{LAN}:8080")
}

/// The code in the text that tells it.
fn code_in(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.split_once("enter the code ").map(|(_, code)| code.trim().to_owned()))
}

/// What `gatepost code` prints.
fn asked_code(gateway: &Gateway) -> String {
    run(gatepost(&["code", "--config"]).arg(gateway.setup().config()))
}

fn file(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.setup().config()).expect("it is there")
}

/// A browser that has entered the code.
fn with_code(settings: &str) -> (Browser, String) {
    let browser = Browser::of(Office::new(1, settings), &site());
    let code = code_in(&browser.office.gateway().log()).expect("a code in the log");
    let entered = browser.submit("/setup", &[("code", &code.to_lowercase())]);
    assert!(status_of(&entered) == "303" && entered.contains("location: /setup\r\n"), "{entered}");
    (browser, code)
}

impl Browser {
    /// The answer to a step's form.
    fn step(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let token = self.token_of(path);
        let fields: Vec<_> = fields.iter().copied().chain([("token", token.as_str())]).collect();
        self.submit(path, &fields)
    }

    /// The same, which leads to `next`.
    fn goes_on(&self, path: &str, fields: &[(&str, &str)], next: &str) {
        let answer = self.step(path, fields);
        assert!(status_of(&answer) == "303" && answer.contains(&format!("location: {next}\r\n")), "{answer}");
    }

    fn owner(&self) {
        let fields =
            [("name", "anna"), ("full_name", "Anna Berg"), ("password", PASSWORD), ("again", PASSWORD)];
        self.goes_on("/setup", &fields, "/setup/internet");
    }
}

#[test]
fn the_wizard_makes_an_owner_of_whoever_has_the_code() {
    let browser =
        Browser::of(Office::new(1, "# Our own lines.\ndhcp.lease_secs = 3600   # an hour"), &site());
    let gateway = browser.office.gateway();
    let before = file(gateway);
    let lead = browser.ask(&format!("{}/", site()));
    assert!(status_of(&lead) == "303" && lead.contains("location: /setup\r\n"), "{lead}");
    let form = browser.ask(&format!("{}/setup", site()));
    assert!(form.contains("name=\"code\"") && form.contains("gatepost code"), "{form}");
    assert_eq!(status_of(&browser.submit("/setup", &[("code", "0000-0000-0000")])), "403");
    assert!(
        browser.submit("/setup/summary", &[("mail", "no")]).contains("name=\"code\""),
        "nothing without the code"
    );

    let code = code_in(&gateway.log()).expect("a code in the log");
    assert!(asked_code(gateway).starts_with(&code), "it can be seen again");
    assert!(!gateway.show("status").to_string().contains(&code), "show keeps it");
    browser.submit("/setup", &[("code", &code)]);
    let weak = browser.step("/setup", &[("name", "anna"), ("password", "anna"), ("again", "anna")]);
    assert!(status_of(&weak) == "422" && weak.contains("It has less than 10 characters"), "{weak}");
    let fields = [("name", "Anna B"), ("password", PASSWORD), ("again", "other")];
    let wrong = browser.step("/setup", &fields);
    assert!(wrong.contains("is no name of a user") && wrong.contains("value=\"Anna B\""), "{wrong}");
    assert!(wrong.contains("The two differ") && !wrong.contains(PASSWORD), "{wrong}");
    let early = browser.ask(&format!("{}/setup/summary", site()));
    assert!(early.contains("location: /setup\r\n"), "there is no owner yet: {early}");
    browser.owner();

    let pppoe = browser.step("/setup/internet", &[("wan", "pppoe")]);
    assert!(status_of(&pppoe) == "422" && pppoe.contains("PPPoE is not available yet"), "{pppoe}");
    let way = [
        ("wan", "static"),
        ("wan_address", "203.0.113.10/24"),
        ("wan_gateway", "203.0.113.1"),
        ("name_server_1", "203.0.113.1"),
    ];
    browser.goes_on("/setup/internet", &way, "/setup/network");
    let overlap = browser.step("/setup/network", &[("lan", "203.0.113.200/24")]);
    assert!(overlap.contains("uses 203.0.113.0/24 itself"), "{overlap}");
    browser.goes_on("/setup/network", &[("lan", "192.168.1.1/24")], "/setup/names");
    browser.goes_on("/setup/names", &[("hostname", "gatepost"), ("domain", "office.example")], "/setup/mail");
    browser.goes_on("/setup/mail", &[("mail", "no")], "/setup/summary");
    let summary = browser.ask(&format!("{}/setup/summary", site()));
    assert!(summary.contains("Anna Berg (anna)") && summary.contains("gatepost.office.example"), "{summary}");
    assert_eq!(file(gateway), before, "nothing has changed yet");
    assert!(!gateway.setup().directory().join("state/passwords/anna.json").exists());

    let done = browser.step("/setup/summary", &[]);
    assert!(done.contains("location: /check\r\n") && done.contains("__Host-session="), "{done}");
    let check = browser.ask(&format!("{}/check", site()));
    assert!(check.contains("Anna Berg, owner") && check.contains("The gateway has the address"), "{check}");
    let after = file(gateway);
    for line in ["# Our own lines.", "dhcp.lease_secs = 3600   # an hour"] {
        assert!(after.contains(line), "{after}");
    }
    assert!(
        after.contains("[[users]]\nname = \"anna\"\nfull_name = \"Anna Berg\"\nrole = \"owner\"\n"),
        "{after}"
    );
    let history = run(gatepost(&["history", "--config"]).arg(gateway.setup().config()));
    assert!(history.contains("anna: applied: first run"), "{history}");

    // The code is gone, and another one is for passwords alone.
    assert!(browser.submit("/setup", &[("code", &code)]).contains("location: /sign-in\r\n"));
    let asked = asked_code(gateway);
    assert!(asked.contains("sets the password of an owner") && !asked.contains(&code), "{asked}");
    let reset = |code: &str, password: &str| {
        let fields = [("code", code), ("name", "anna"), ("password", password), ("again", password)];
        browser.submit("/forgotten", &fields)
    };
    assert_eq!(status_of(&reset(&code, "red harbour 48")), "403");
    let new_code = asked.lines().next().expect("a line");
    assert!(reset(new_code, "anna2026berg").contains("a name of yours"), "the code is kept");
    assert!(reset(new_code, "red harbour 48").contains("location: /sign-in\r\n"));
    assert_eq!(status_of(&reset(new_code, "red harbour 49")), "403");
    let login = |password: &str| browser.submit("/sign-in", &[("name", "anna"), ("password", password)]);
    assert_eq!((status_of(&login(PASSWORD)), status_of(&login("red harbour 48"))), ("403", "303"));
    let log = gateway.log();
    assert!(!log.contains("harbour") && !log.contains(new_code), "{log}");
}

#[test]
fn a_new_address_of_the_lan_waits_for_its_confirmation_and_the_owner_does_not() {
    let (browser, _) = with_code("");
    browser.owner();
    let dhcp = [("wan", "static"), ("wan_address", "203.0.113.10/24"), ("wan_gateway", "203.0.113.1")];
    browser.goes_on("/setup/internet", &dhcp, "/setup/network");
    browser.goes_on("/setup/network", &[("lan", "192.168.77.1/24")], "/setup/names");
    let names = [("hostname", "gatepost"), ("domain", "office.example")];
    browser.goes_on("/setup/names", &names, "/setup/mail");
    browser.goes_on("/setup/mail", &[("mail", "yes")], "/setup/summary");
    let done = browser.step("/setup/summary", &[]);
    assert!(done.contains("location: /check\r\n"), "{done}");
    let gateway = browser.office.gateway();
    let status = gateway.show("status");
    assert_eq!(status["lan"]["address"], "192.168.77.1/24", "{status}");
    assert!(status["unconfirmed"].is_object() && file(gateway).contains("name = \"anna\""), "{status}");
    assert!(!file(gateway).contains("192.168.77.1"), "it waits");
    // The browser is still reached at the former address, and also at the new one.
    assert_eq!(status_of(&browser.ask(&format!("{}/check", site()))), "200");
    browser.office.pc(1).sh("ip address add 192.168.77.101/24 dev eth0");
    let there = browser.ask("-k https://192.168.77.1:8080/sign-in");
    assert_eq!(status_of(&there), "200", "{there}");
    run(gatepost(&["confirm", "--config"]).arg(gateway.setup().config()));
    assert!(file(gateway).contains("192.168.77.1/24"));
}

#[test]
fn each_start_without_an_owner_has_a_code_of_its_own_and_with_one_none() {
    let mut office = Office::new(1, "");
    let first = code_in(&office.gateway().log()).expect("a code");
    let (_, setup) = office.stop(Signal::SIGTERM);
    fs::write(setup.directory().join("log"), "").expect("it can be emptied");
    setup.edit(
        "system.workers",
        "mail.enabled = false\nusers = [{ name = 'olga', role = 'owner' }]\nsystem.workers",
    );
    office.start(setup);
    let second = code_in(&office.gateway().log()).expect("she has no password");
    assert_ne!(first, second);
    let (_, setup) = office.stop(Signal::SIGTERM);
    fs::write(setup.directory().join("log"), "").expect("it can be emptied");
    setup.set_password("olga", PASSWORD);
    office.start(setup);
    assert_eq!(code_in(&office.gateway().log()), None);
    office.give_static_addresses();
    let ask = |path: &str| office.pc(1).sh(&format!("curl -sSki --max-time 20 {}{path}", site()));
    for path in ["/", "/setup", "/setup/summary"] {
        assert!(ask(path).contains("location: /sign-in\r\n"), "{path}");
    }
}
