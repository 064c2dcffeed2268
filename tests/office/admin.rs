//! The administration's pages, as a browser on the LAN gets them.

use std::fs;

use crate::harness::programs::{curl as reach, echo_client, echo_server};
use crate::harness::{LAN, Office, SERVER, WAN, eventually, gatepost, run};

pub const SETTINGS: &str =
    "users = [{ name = 'olga', role = 'owner' }, { name = 'ute' }]\nmail.enabled = false";
pub const PASSWORD: &str = "blue harbour 47";
pub const SITE: &str = "https://admin.office.example:8080";

/// An office with a person who may see the pages, and her PC's browser.
pub struct Browser {
    /// The office.
    pub office: Office,
    /// The options that every request has.
    options: String,
    jar: String,
    /// The site whose pages it shows.
    site: String,
}

impl Browser {
    /// Of an office with people alone in its settings.
    pub fn new() -> Self {
        Self::owned(Office::new(1, SETTINGS))
    }

    /// The browser on the first PC of `office`, whose owner is olga.
    pub fn owned(office: Office) -> Self {
        office.gateway().setup().set_password("olga", PASSWORD);
        office.gateway().setup().set_password("ute", PASSWORD);
        Self::of(office, SITE)
    }

    /// The browser on the first PC of `office`, for the pages at `site`.
    pub fn of(office: Office, site: &str) -> Self {
        let setup = office.gateway().setup();
        let authority = setup.directory().join("authority.pem");
        let shown = run(gatepost(&["tls", "ca", "--config"]).arg(setup.config()));
        fs::write(&authority, shown).expect("a file");
        let jar = setup.directory().join("jar").display().to_string();
        let names =
            ["admin", "gatepost", "evil"].map(|name| format!("--resolve {name}.office.example:8080:{LAN}"));
        let options = format!("-sS --max-time 20 {} --cacert {}", names.join(" "), authority.display());
        Self { office, options, jar, site: site.to_owned() }
    }

    /// What curl prints of a request with these options: the head and the body of the answer.
    pub fn ask(&self, options: &str) -> String {
        self.office.pc(1).sh(&format!("curl {} -i -b {1} -c {1} {options}", self.options, self.jar))
    }

    /// What curl prints of a request with these options: the body of the answer alone.
    pub fn fetch(&self, options: &str) -> String {
        self.office.pc(1).sh(&format!("curl {} -b {1} -c {1} {options}", self.options, self.jar))
    }

    /// The answer to a form with these fields from a page of the site's own.
    pub fn submit(&self, path: &str, fields: &[(&str, &str)]) -> String {
        self.submit_at(&self.site, path, fields)
    }

    /// The same of the pages at `site`.
    fn submit_at(&self, site: &str, path: &str, fields: &[(&str, &str)]) -> String {
        let fields = fields.iter().map(|(name, value)| format!("--data-urlencode '{name}={value}'"));
        let fields: Vec<_> = fields.collect();
        self.ask(&format!("-H 'Origin: {site}' -X POST {} '{site}{path}'", fields.join(" ")))
    }

    /// Applies what waits, by the page.
    fn apply(&self) {
        let applied = self.submit("/changes", &[("token", &self.token()), ("do", "apply")]);
        assert!(applied.contains("location: /changes\r\n"), "{applied}");
    }

    pub fn sign_in(&self, name: &str) -> String {
        self.submit("/sign-in", &[("name", name), ("password", PASSWORD)])
    }

    /// The token of a page's forms.
    pub fn token(&self) -> String {
        self.token_of("/")
    }

    /// The token of the forms of the page at `path`.
    pub fn token_of(&self, path: &str) -> String {
        hidden(&self.ask(&format!("'{}{path}'", self.site)), "token")
    }

    fn token_at(&self, site: &str) -> String {
        hidden(&self.ask(&format!("{site}/")), "token")
    }
}

/// The value of the first hidden field `name`.
fn hidden(page: &str, name: &str) -> String {
    let field = format!("name=\"{name}\" value=\"");
    let (_, value) = page.split_once(&field).unwrap_or_else(|| panic!("no {name}: {page}"));
    value.split('"').next().expect("its end").to_owned()
}

/// The status of an answer.
pub fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn an_owner_signs_in_and_sees_what_show_shows() {
    let browser = Browser::new();
    let plain = browser.ask("http://admin.office.example:8080/clients");
    assert_eq!(status_of(&plain), "307", "{plain}");
    assert!(plain.contains(&format!("location: {SITE}/clients\r\n")), "{plain}");
    for path in ["/", "/clients", "/services", "/sessions"] {
        let answer = browser.ask(&format!("{SITE}{path}"));
        assert!(status_of(&answer) == "303" && answer.contains("location: /sign-in\r\n"), "{answer}");
    }
    let form = browser.ask(&format!("{SITE}/sign-in"));
    assert!(form.contains("<h1>Sign in</h1>") && form.contains("type=\"password\""), "{form}");
    assert!(
        form.contains("content-security-policy: default-src 'none'") && !form.contains("<script"),
        "{form}"
    );

    let signed_in = browser.sign_in("olga");
    assert!(status_of(&signed_in) == "303" && signed_in.contains("SameSite=Strict"), "{signed_in}");
    let gateway = browser.office.gateway();
    let page = browser.ask(&format!("{SITE}/"));
    let status = gateway.show("status");
    assert_eq!(status_of(&page), "200", "{page}");
    assert!(page.contains(&format!("<dd>{WAN}/24 (fixed)</dd>")) && page.contains("olga, owner"), "{page}");
    assert!(
        page.contains(&format!("<dd>{}</dd>", status["lan"]["address"].as_str().expect("text"))),
        "{page}"
    );
    assert!(page.len() < 100_000 && page.contains("No known problem"), "{page}");
    let clients = browser.ask(&format!("{SITE}/clients"));
    assert!(clients.contains(&Office::address(1).to_string()), "a PC without a lease: {clients}");
    let services = browser.ask(&format!("{SITE}/services"));
    for service in gateway.show("services")["services"].as_array().expect("a list") {
        let name = service["name"].as_str().expect("text");
        assert!(services.contains(&format!("<small>{name}</small>")), "{name}: {services}");
    }
    let shown = gateway.show_text("services");
    assert!(shown.lines().any(|line| line.starts_with("admin") && line.contains("8080")), "{shown}");
    let german = browser.ask(&format!("-H 'Accept-Language: de-DE,de;q=0.9,en;q=0.5' {SITE}/"));
    assert!(german.contains("<html lang=\"de\">") && german.contains("Kein Problem bekannt"), "{german}");

    let sessions = browser.ask(&format!("{SITE}/sessions"));
    assert!(
        sessions.contains("this browser") && sessions.contains(&Office::address(1).to_string()),
        "{sessions}"
    );
    assert_eq!(status_of(&browser.ask(&format!("{SITE}/none"))), "404");
    let token = browser.token();
    let gone = browser.submit("/sign-out", &[("token", &token)]);
    assert!(gone.contains("location: /sign-in\r\n"), "{gone}");
    assert_eq!(status_of(&browser.ask(&format!("{SITE}/"))), "303");
    let log = gateway.log();
    assert!(!log.contains(PASSWORD) && !log.contains(&token), "{log}");
}

#[test]
fn traffic_is_live_and_a_flow_is_ended_by_page_and_by_command() {
    let browser = Browser::new();
    browser.sign_in("olga");
    let page = browser.ask(&format!("{SITE}/"));
    assert!(page.contains("data-live=\"wan-received\"") && page.matches("<svg").count() == 3, "{page}");
    let (_, script) = page.split_once("<script src=\"").expect("a script");
    let script = script.split('"').next().expect("its path");
    assert!(browser.ask(&format!("{SITE}{script}")).contains("EventSource(\"/live\")"));
    // The stream has no end: curl gives up.
    let events = browser.ask(&format!("-N --max-time 5 {SITE}/live || true"));
    assert!(events.contains("content-type: text/event-stream\r\n"), "{events}");
    let sent = events.matches("event: wan-sent\ndata: ").count();
    assert!(sent > 0 && events.contains("bit/s\n\n"), "{events}");

    let (office, pc) = (&browser.office, browser.office.pc(1));
    let server = echo_server(&office.internet, 7);
    let (client, _) = echo_client(pc, "", (SERVER, 7));
    let gateway = office.gateway();
    let flow = || {
        let flows = gateway.show("flows");
        let flows = flows["flows"].as_array().expect("a list");
        let to_server = format!("{SERVER}:7");
        let flow = flows.iter().find(|flow| flow["destination"] == to_server.as_str())?;
        Some(format!("tcp {} {to_server}", flow["client"].as_str().expect("text")))
    };
    let name = flow().expect("a flow");
    let page = browser.ask(&format!("{SITE}/flows"));
    assert!(page.contains(&format!("value=\"{name}\"")), "{name}: {page}");
    let token = browser.token();
    let ended = browser.submit("/flows", &[("token", &token), ("flow", &name)]);
    assert!(ended.contains("location: /flows\r\n"), "{ended}");
    assert_eq!(flow(), None);
    let broken = browser.submit("/flows", &[("token", &token), ("flow", "everything")]);
    assert_eq!(status_of(&broken), "400", "{broken}");
    drop(client);

    let (client, _) = echo_client(pc, "", (SERVER, 7));
    let name = flow().expect("a flow");
    let end = || {
        let arguments: Vec<_> =
            ["flows", "end"].into_iter().chain(name.split(' ')).chain(["--config"]).collect();
        gatepost(&arguments).arg(gateway.setup().config()).output().expect("it runs")
    };
    let ended = end();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), format!("ended: {name}\n"));
    assert_eq!(flow(), None);
    let again = String::from_utf8_lossy(&end().stderr).into_owned();
    assert!(again.contains(&format!("cannot end the flow {name}: there is none")), "{again}");
    drop((client, server));
}

#[test]
fn what_a_page_must_not_accept_is_refused() {
    let browser = Browser::new();
    let wrong = browser.submit("/sign-in", &[("name", "olga"), ("password", "wrong")]);
    assert!(status_of(&wrong) == "403" && wrong.contains("Name or password are wrong"), "{wrong}");
    browser.sign_in("olga");
    let token = browser.token();
    let foreign = browser.ask(&format!("-H 'Origin: https://evil.example' -d token={token} {SITE}/sign-out"));
    assert!(status_of(&foreign) == "403" && foreign.contains("another page"), "{foreign}");
    let stale = browser.submit("/sign-out", &[("token", "x")]);
    assert!(status_of(&stale) == "403" && stale.contains("This form was not accepted"), "{stale}");
    let rebound = browser.ask("https://evil.office.example:8080/");
    assert!(status_of(&rebound) == "421" && !rebound.contains("olga"), "{rebound}");
    assert_eq!(status_of(&browser.ask(&format!("{SITE}/"))), "200", "nobody was signed out");
    assert_eq!(status_of(&browser.ask("https://gatepost.office.example:8080/")), "303", "no session there");
    let address = browser.ask(&format!("https://{LAN}:8080/sign-in"));
    assert_eq!(status_of(&address), "200", "the certificate names the address: {address}");

    for number in 0..12 {
        browser.submit("/sign-in", &[("name", "olga"), ("password", &format!("wrong {number}"))]);
    }
    let limited = browser.sign_in("olga");
    assert!(status_of(&limited) == "429" && limited.contains("retry-after: "), "{limited}");
    let counters = browser.office.gateway().show("counters")["admin"].clone();
    assert!(counters["forms_refused"] == 2 && counters["wrong_host"] == 1, "{counters}");
}

#[test]
fn a_user_sees_the_own_page_alone_and_sets_another_password() {
    let browser = Browser::new();
    let signed_in = browser.sign_in("ute");
    assert!(status_of(&signed_in) == "303" && signed_in.contains("set-cookie"), "{signed_in}");
    for path in ["/", "/clients", "/users", "/changes"] {
        let lead = browser.ask(&format!("{SITE}{path}"));
        assert!(lead.contains("location: /me\r\n"), "{path}: {lead}");
    }
    let page = browser.ask(&format!("{SITE}/me"));
    assert!(
        page.contains("<h1>Your own page</h1>")
            && !page.contains("olga")
            && !page.contains("aria-label=\"Pages\""),
        "{page}"
    );
    let set = |former: &str, new: &str| {
        let token = browser.token_of("/me");
        browser.submit("/me", &[("token", &token), ("former", former), ("password", new), ("again", new)])
    };
    let wrong = set("wrong", "red harbour 48");
    assert!(status_of(&wrong) == "403" && wrong.contains("The present password is wrong"), "{wrong}");
    let weak = set(PASSWORD, "ute2026ute");
    assert!(status_of(&weak) == "422" && !weak.contains("ute2026ute"), "{weak}");
    let done = set(PASSWORD, "red harbour 48");
    assert!(status_of(&done) == "303" && done.contains("location: /me\r\n"), "{done}");
    assert_eq!(status_of(&browser.ask(&format!("{SITE}/me"))), "200", "the session goes on");
    let login = |password: &str| browser.submit("/sign-in", &[("name", "ute"), ("password", password)]);
    assert_eq!((status_of(&login(PASSWORD)), status_of(&login("red harbour 48"))), ("403", "303"));
    let log = browser.office.gateway().log();
    assert!(log.contains("ute has set another password") && !log.contains("harbour"), "{log}");
}

#[test]
fn an_owner_adds_a_user_whose_password_is_in_force_at_once() {
    let browser = Browser::new();
    browser.sign_in("olga");
    let submit = |page: &str, fields: &[(&str, &str)]| {
        let token = browser.token_of(page);
        let fields: Vec<_> = fields.iter().copied().chain([("token", token.as_str())]).collect();
        browser.submit(page, &fields)
    };
    let new = [
        ("name", "vera"),
        ("full_name", "Vera Example"),
        ("role", "viewer"),
        ("quota", ""),
        ("vacation", ""),
    ];
    let saved = submit("/users?new", &new);
    assert!(saved.contains("location: /changes\r\n"), "{saved}");
    for what in ["apply", "keep"] {
        let done = submit("/changes", &[("do", what)]);
        assert_eq!(status_of(&done), "303", "{done}");
    }
    let set = submit("/users?password=vera", &[("password", "red harbour 48"), ("again", "red harbour 48")]);
    assert!(set.contains("location: /users?set=vera\r\n"), "{set}");
    let own = submit("/users", &[("remove", "olga"), ("shown", "x")]);
    assert!(own.contains("your own role"), "{own}");
    let login = browser.submit("/sign-in", &[("name", "vera"), ("password", "red harbour 48")]);
    assert!(status_of(&login) == "303", "{login}");
    let users = browser.ask(&format!("{SITE}/users"));
    assert!(users.contains("Only an owner") && !users.contains("olga"), "{users}");
    assert!(browser.ask(&format!("{SITE}/mail")).contains("Mail is off"));
}

#[test]
fn every_page_offers_the_certificate_and_the_form_tells_how_to_begin() {
    let office = Office::new(1, "");
    let ask = |path: &str| office.pc(1).sh(&format!("curl -sSk --max-time 20 https://{LAN}:8080{path}"));
    let offered = ask("/authority.crt");
    assert_eq!(offered, run(gatepost(&["tls", "ca", "--config"]).arg(office.gateway().setup().config())));
    let form = ask("/setup");
    assert!(form.contains("href=\"/authority.crt\"") && form.contains("gatepost code"), "{form}");
}

#[test]
fn the_wan_does_not_reach_the_pages_and_a_moved_port_is_served() {
    for mode in ["nat-dmz", "nat", "router"] {
        let office = Office::new(1, &format!("network.mode = '{mode}'\nadmin.port = 8443"));
        let open = |at: &str| {
            office.internet.succeeds(&format!("curl -sk --max-time 2 -o /dev/null https://{at}:8443/sign-in"))
        };
        office.internet.sh(&format!("ip route replace {LAN}/32 via {WAN}"));
        assert!(!open(&WAN.to_string()) && !open(&LAN.to_string()), "{mode}");
        let page = office.pc(1).sh(&format!("curl -sSk --max-time 20 https://{LAN}:8443/sign-in"));
        assert!(page.contains("</html>"), "{page}");
        assert!(reach(office.pc(1), "", (LAN, 8080)).is_err());
    }
}

#[test]
fn a_client_that_says_nothing_is_let_go_while_others_are_served() {
    let office = Office::new(1, SETTINGS);
    let closed = "exec 3<>/dev/tcp/192.168.1.1/8080; printf 'GET / HTTP/1.1\\r\\n' >&3; cat <&3; echo closed";
    let mut silent = office.pc(1).spawn(&format!("bash -c \"{closed}\""));
    let form = office.pc(1).sh(&format!("curl -sSk --max-time 20 https://{LAN}:8080/sign-in"));
    assert!(form.contains("</html>"), "{form}");
    assert_eq!(silent.hear(), "closed");
}

#[test]
fn the_lan_s_address_changes_by_page_and_nobody_is_lost() {
    const THERE: &str = "https://10.9.0.1:8080";
    let browser = Browser::new();
    let gateway = browser.office.gateway();
    browser.sign_in("olga");
    let shown = hidden(&browser.ask(&format!("{SITE}/network")), "shown");
    let fields = |address| [("token", browser.token()), ("shown", shown.clone()), ("lan.address", address)];
    let save = |address: &str| {
        let fields = fields(address.to_owned());
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.submit("/network", &fields)
    };
    let wrong = save("10.9.0.1");
    assert!(status_of(&wrong) == "422" && wrong.contains("id=\"lan.address-fault\""), "{wrong}");
    let saved = save("10.9.0.1/24");
    assert!(saved.contains("location: /changes\r\n"), "{saved}");
    browser.apply();

    let banner = browser.ask(&format!("{SITE}/"));
    assert!(
        banner.contains("Go on at https://10.9.0.1:8080") && banner.contains("Keep the change"),
        "{banner}"
    );
    let way = browser.ask(&format!("{SITE}/move"));
    let (_, place) = way.split_once("location: ").expect("a way");
    let place = place.split('\r').next().expect("its end");
    assert!(place.starts_with(&format!("{THERE}/enter?ticket=")), "{way}");
    let form = browser.ask(&format!("'{place}'"));
    let entered = browser.submit_at(THERE, "/enter", &[("ticket", &hidden(&form, "ticket"))]);
    assert!(status_of(&entered) == "303" && entered.contains("location: /\r\n"), "{entered}");
    let again = browser.submit_at(THERE, "/enter", &[("ticket", &hidden(&form, "ticket"))]);
    assert!(again.contains("location: /sign-in\r\n"), "it counts once: {again}");
    let there = browser.ask(&format!("{THERE}/"));
    assert!(status_of(&there) == "200" && there.contains("Keep the change"), "{there}");
    assert!(!there.contains("href=\"/move\""), "it is there already: {there}");
    assert_eq!(status_of(&browser.ask(&format!("{SITE}/"))), "200", "the former address goes on");

    // Its PC has an address of the former network, and gets the answer all the same.
    let kept = browser.submit_at(THERE, "/changes", &[("token", &browser.token_at(THERE)), ("do", "keep")]);
    assert!(kept.contains("location: /changes\r\n"), "{kept}");
    let text = fs::read_to_string(gateway.setup().config()).expect("a file");
    assert!(text.contains("10.9.0.1/24"), "{text}");
    let history = run(gatepost(&["history", "--config"]).arg(gateway.setup().config()));
    assert!(history.contains("olga: applied") && history.contains("to 10.9.0.1/24"), "{history}");
    let pc = browser.office.pc(1);
    eventually("the former address goes", || {
        reach(pc, "--insecure --max-time 2", (LAN, 8080)).is_err().then_some(())
    });
    pc.sh("ip address replace 10.9.0.7/24 dev eth0");
    let page = browser.ask(&format!("{THERE}/"));
    assert!(status_of(&page) == "200" && !page.contains("Keep the change"), "{page}");
}

#[test]
fn the_pages_move_to_another_port_and_are_at_both_until_it_is_kept() {
    const THERE: &str = "https://192.168.1.1:8443";
    let browser = Browser::new();
    let gateway = browser.office.gateway();
    browser.sign_in("olga");
    run(gatepost(&["set", "admin.port", "8443", "--config"]).arg(gateway.setup().config()));
    // The page of changes has told what the command line has changed.
    let waiting = browser.ask(&format!("{SITE}/changes"));
    assert!(waiting.contains("admin.port: 8080 -&gt; 8443"), "{waiting}");
    browser.apply();
    assert!(browser.ask(&format!("{SITE}/")).contains("Go on at https://192.168.1.1:8443"));
    assert_eq!(status_of(&browser.ask(&format!("{THERE}/sign-in"))), "200");
    let undone = browser.submit("/changes", &[("token", &browser.token()), ("do", "undo")]);
    assert!(undone.contains("location: /changes\r\n"), "{undone}");
    assert!(reach(browser.office.pc(1), "--insecure --max-time 2", (LAN, 8443)).is_err(), "it is undone");
    assert_eq!(status_of(&browser.ask(&format!("{SITE}/"))), "200");
}
