//! The pages of DHCP, names, time and system, and the look of all pages.

use std::fs;

use serde_json::Value;

use crate::admin::{Browser, PASSWORD, SETTINGS, SITE, status_of};
use crate::dhcp::{Client, lease_of};
use crate::harness::{Gateway, Office, eventually, gatepost, run};

const PASSPHRASE: &str = "seven tall birches";

/// `gatepost COMMAND` for the gateway's configuration.
fn command(gateway: &Gateway, arguments: &[&str]) -> String {
    run(gatepost(arguments).arg("--config").arg(gateway.setup().config()))
}

/// Waits until the gateway has restarted, in the same process.
fn restarted(gateway: &Gateway, before: &Value) {
    let starts = || gateway.log().matches("is a gateway in mode").count();
    eventually("the gateway is ready again", || (starts() == 2).then_some(()));
    assert!(gateway.show("status")["uptime_secs"].as_u64() < before["uptime_secs"].as_u64());
    assert!(fs::exists(format!("/proc/{}", gateway.id())).expect("it can be looked for"));
}

/// Applies what waits, having looked at it.
fn apply(gateway: &Gateway) {
    command(gateway, &["diff"]);
    command(gateway, &["apply"]);
}

/// The status once the gateway runs for a whole second.
fn status_of_running(gateway: &Gateway) -> Value {
    eventually("a second has passed", || {
        let status = gateway.show("status");
        (status["uptime_secs"].as_u64()? > 0).then_some(status)
    })
}

#[test]
fn a_lease_becomes_a_reservation_by_one_click() {
    let office = Office::bare(1, SETTINGS);
    let _client = Client::udhcpc(office.pc(1), "desk");
    let lease = eventually("a lease", || lease_of(office.gateway(), "desk"));
    let (address, mac) = (lease["address"].as_str().expect("text"), lease["mac"].as_str().expect("text"));
    let (address, mac) = (address.to_owned(), mac.to_owned());
    let browser = Browser::owned(office);
    browser.sign_in("olga");
    let page = browser.ask(&format!("{SITE}/dhcp"));
    assert!(page.contains(&format!("aria-label=\"Reserve {address}\"")), "{page}");
    let token = browser.token();
    let gone = browser
        .submit("/dhcp?reserve", &[("token", &token), ("address", &address), ("mac", "02:00:00:00:00:99")]);
    assert!(status_of(&gone) == "409" && gone.contains("has no device of that hardware address"), "{gone}");
    let click = [("token", token.as_str()), ("address", &address), ("mac", &mac)];
    let noted = browser.submit("/dhcp?reserve", &click);
    assert!(status_of(&noted) == "303" && noted.contains("location: /changes\r\n"), "{noted}");
    let page = browser.ask(&format!("{SITE}/dhcp"));
    assert!(page.contains("reserved") && !page.contains(&format!("Reserve {address}")), "{page}");
    let gateway = browser.office.gateway();
    apply(gateway);
    let file = fs::read_to_string(gateway.setup().config()).expect("it is there");
    assert!(file.contains("[[dhcp.reservations]]") && file.contains(&format!("mac = \"{mac}\"")), "{file}");
    let again = browser.submit("/dhcp?reserve", &click);
    assert_eq!(status_of(&again), "303", "a second click changes nothing: {again}");
    let diff: Value = serde_json::from_str(&command(gateway, &["diff", "--json"])).expect("JSON");
    assert_eq!(diff["pending"], serde_json::json!([]));
}

#[test]
fn names_zones_and_time_are_shown_and_changed() {
    let browser = Browser::new();
    browser.sign_in("olga");
    let token = browser.token();
    let record = [("token", token.as_str()), ("name", "nas"), ("type", "A"), ("value", "192.168.1.40")];
    let noted = browser.submit("/names?new", &record);
    assert!(status_of(&noted) == "303" && noted.contains("location: /changes\r\n"), "{noted}");
    let wrong =
        browser.submit("/names?new", &[("token", &token), ("name", "tv"), ("type", "A"), ("value", "x")]);
    assert!(status_of(&wrong) == "422" && wrong.contains("value=\"x\""), "what was entered is kept: {wrong}");
    let gateway = browser.office.gateway();
    apply(gateway);
    let page = browser.ask(&format!("{SITE}/names"));
    for part in ["nas.office.example", "192.168.1.40", "Answers that are remembered"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let flushed = browser.submit("/names?flush", &[("token", &token), ("name", "example.com")]);
    assert!(status_of(&flushed) == "303" && flushed.contains("location: /names\r\n"), "{flushed}");
    let wrong = browser.submit("/names?flush", &[("token", &token), ("name", "a..b")]);
    assert!(status_of(&wrong) == "409" && wrong.contains("role=\"alert\""), "{wrong}");

    let zone = [("token", token.as_str()), ("zone", "corp.local"), ("servers", "192.168.1.51")];
    assert_eq!(status_of(&browser.submit("/zones?new", &zone)), "303");
    let page = browser.ask(&format!("{SITE}/zones"));
    assert!(page.contains("corp.local") && page.contains("192.168.1.51"), "{page}");

    let page = browser.ask(&format!("{SITE}/time"));
    let services = gateway.show("services");
    let ntp =
        services["services"].as_array().expect("a list").iter().find(|service| service["name"] == "ntp");
    let is_synchronised = ntp.is_some_and(|ntp| ntp["note"].is_null());
    assert!(page.contains(if is_synchronised { "follows a source" } else { "follows no source" }), "{page}");
}

#[test]
fn an_office_is_backed_up_and_restored_by_page() {
    let browser = Browser::new();
    browser.sign_in("olga");
    let gateway = browser.office.gateway();
    let page = browser.ask(&format!("{SITE}/system"));
    for part in
        ["is a gateway in mode", "the office's own authority", "Download a backup", "Restart the gateway"]
    {
        assert!(page.contains(&part.replace('\'', "&#39;")) || page.contains(part), "{part}: {page}");
    }
    let token = browser.token();
    let fields = |again: &str| {
        format!(
            "-H 'Origin: {SITE}' -d token={token} -d do=backup --data-urlencode 'passphrase={PASSPHRASE}' \
             --data-urlencode 'again={again}' {SITE}/system"
        )
    };
    let differ = browser.ask(&fields("another"));
    assert!(status_of(&differ) == "422" && differ.contains("The two passphrases differ"), "{differ}");
    let file = gateway.setup().directory().join("page.backup").display().to_string();
    browser.fetch(&format!("-o {file} {}", fields(PASSPHRASE)));
    let backup = fs::read(&file).expect("it was downloaded");
    assert!(backup.starts_with(b"gatepost backup 1\n"), "{}", String::from_utf8_lossy(&backup));

    let password = gateway.setup().directory().join("state/passwords/olga.json");
    let former = fs::read(&password).expect("it is there");
    gateway.setup().set_password("ute", "red harbour 48");
    let of_ute = fs::read(gateway.setup().directory().join("state/passwords/ute.json")).expect("it is there");
    let restore = |passphrase: &str| {
        browser.ask(&format!(
            "-H 'Origin: {SITE}' -F token={token} -F do=restore -F 'passphrase={passphrase}' -F file=@{file} {SITE}/system"
        ))
    };
    let wrong = restore("seven tall birch");
    assert!(status_of(&wrong) == "422" && wrong.contains("the passphrase is wrong"), "{wrong}");
    let before = status_of_running(gateway);
    let restored = restore(PASSPHRASE);
    assert!(status_of(&restored) == "200" && restored.contains("The backup is being restored"), "{restored}");
    restarted(gateway, &before);
    let log = gateway.log();
    assert!(log.contains("the office is restored as it was backed up"), "{log}");
    assert!(!log.contains(PASSPHRASE) && !log.contains(PASSWORD), "{log}");
    assert_eq!(fs::read(&password).expect("it is there"), former);
    let restored =
        fs::read(gateway.setup().directory().join("state/passwords/ute.json")).expect("it is there");
    assert_ne!(restored, of_ute, "the password is that of the backup");
    let shown = gateway.show_text("log");
    assert!(shown.contains("the office is restored as it was backed up"), "{shown}");
}

#[test]
fn a_gateway_restarts_in_its_process() {
    let office = Office::new(1, SETTINGS);
    let before = status_of_running(office.gateway());
    assert_eq!(command(office.gateway(), &["restart"]), "the gateway restarts\n");
    restarted(office.gateway(), &before);
    assert!(office.gateway().log().contains("a restart was asked for by "), "{}", office.gateway().log());
}

#[test]
fn an_office_has_its_own_look_and_its_visitors_their_language() {
    let office = Office::new(1, &format!("{SETTINGS}\nadmin.theme = 'theme'"));
    let folder = office.gateway().setup().directory().join("theme");
    let problems = office.gateway().show("status")["problems"].to_string();
    assert!(
        problems.contains("has neither logo.svg, logo.png nor theme.toml; put one of them there"),
        "{problems}"
    );
    fs::create_dir(&folder).expect("a directory");
    fs::write(folder.join("logo.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>").expect("a file");
    fs::write(folder.join("theme.toml"), "[light]\naccent = '#7a1f3d'\n").expect("a file");
    assert!(office.gateway().reload().status.success());
    assert_eq!(office.gateway().show("status")["problems"], serde_json::json!([]));
    let browser = Browser::owned(office);
    let page = browser.ask(&format!("{SITE}/sign-in"));
    let path = |name: &str| {
        let (_, rest) = page.split_once(&format!("\"/{name}-")).unwrap_or_else(|| panic!("{page}"));
        format!("/{name}-{}", rest.split('"').next().expect("its end"))
    };
    let logo = browser.ask(&format!("{SITE}{}", path("logo")));
    assert!(logo.contains("content-type: image/svg+xml") && logo.contains("sandbox"), "{logo}");
    assert!(browser.fetch(&format!("{SITE}{}", path("theme"))).contains("--accent: #7a1f3d"));

    assert!(page.contains("<html lang=\"en\">") && page.contains("href=\"?language=de\""), "{page}");
    let german = browser.ask(&format!("'{SITE}/sign-in?language=de'"));
    assert!(german.contains("<html lang=\"de\">") && german.contains("__Host-language=de;"), "{german}");
    let kept = browser.ask(&format!("-H 'Accept-Language: en' {SITE}/sign-in"));
    assert!(kept.contains("<html lang=\"de\">"), "the browser's own language counts less: {kept}");
}
