//! The pages as text.

use std::net::Ipv4Addr;

use gatepost_services::admin::{
    Failure, Forgotten, ForgottenFault, Refusal, SessionInfo, SignIn, Visit, Visitor,
};
use gatepost_services::http::{HeaderMap, Host, Method, Request};
use gatepost_services::users::{Role, User};

use maud::Markup;

use super::banner::Banner;
use super::layout::{Frame, Menu};
use super::texts::Texts;
use super::{clients, codes, failure, flows, services, sign_in, status, style, traffic};
use crate::control::report::{
    Flow, Flows, Interface, Lease, Leases, Listening, Neighbor, Neighbors, Port, Service, Services, Station,
    Status,
};
use crate::gateway::traffic::Rate;
use crate::traffic::history::{Amount, Span};
use crate::traffic::report::{HostTraffic, Octets, SpanTraffic, Traffic};
use crate::transaction::Window;

/// A browser's request that prefers no language.
pub fn request(path: &str) -> Request {
    Request {
        method: Method::GET,
        path: path.to_owned(),
        query: None,
        host: Host { name: "admin.office.example".to_owned(), port: Some(8080) },
        fields: HeaderMap::new(),
        body: Vec::new(),
        peer: [192, 168, 1, 10].into(),
    }
}

pub fn english() -> &'static Texts {
    Texts::of(&request("/"))
}

fn interface(address: Option<&str>) -> Interface {
    Interface {
        mac: "02:00:00:00:00:01".to_owned(),
        address: address.map(|address| address.parse().expect("a network")),
        gateway: None,
        configured_by: "dhcp".to_owned(),
        since_secs: address.map(|_| 90_000),
        lease: None,
    }
}

fn port(name: &str, state: &str) -> Port {
    Port {
        name: name.to_owned(),
        segment: "lan".to_owned(),
        up: state != "down",
        state: state.to_owned(),
        received: 1,
        transmitted: 2,
        backpressure: 0,
        down: 0,
        refused: 0,
    }
}

pub fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        hostname: "gatepost".to_owned(),
        domain: "office.example".to_owned(),
        mode: "nat-dmz".to_owned(),
        uptime_secs: 60,
        lan: interface(Some("192.168.1.1/24")),
        wan: Some(interface(Some("203.0.113.77/24"))),
        dns_upstream: Vec::new(),
        flows: 3,
        leases: 1,
        ports: vec![port("gp-lan0", "up")],
        problems: Vec::new(),
        service_problems: Vec::new(),
        unconfirmed: None,
    }
}

fn lease(number: u8, hostname: &str) -> Lease {
    Lease {
        address: Ipv4Addr::new(192, 168, 1, number),
        mac: format!("02:00:00:00:00:{number:02x}"),
        maker: None,
        locally_administered: true,
        hostname: Some(hostname.to_owned()),
        client_id: None,
        state: "bound".to_owned(),
        age_secs: 100,
        expires_in_secs: 3600,
        last_seen_secs: 300,
    }
}

fn flow(client: &str, server: &str) -> Flow {
    Flow {
        protocol: "tcp".to_owned(),
        client: client.to_owned(),
        destination: server.to_owned(),
        server: server.to_owned(),
        client_seen_as: client.to_owned(),
        state: "established".to_owned(),
        packets_sent: 0,
        packets_received: 0,
        octets_sent: 0,
        octets_received: 0,
        expires_in_secs: 1,
    }
}

/// The text of each row of the first table, cells separated by bars.
fn rows(page: &str) -> Vec<String> {
    let body = page.split("<tbody").nth(1).and_then(|rest| rest.split("</tbody>").next()).unwrap_or_default();
    let text = |cell: &str| {
        let inside = cell.split_once('>').map_or("", |(_, inside)| inside);
        inside.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect::<String>()
    };
    let rows = body.split("<tr").skip(1);
    rows.map(|row| row.split("<td").skip(1).map(text).collect::<Vec<_>>().join("|")).collect()
}

/// These flows, without traffic.
fn uses(flows: &Flows) -> clients::Uses {
    clients::Uses::of(flows, &Traffic::default())
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let fine = status::of(english(), &status(), None).into_string();
    assert!(
        fine.contains("No known problem") && fine.contains("<dd>203.0.113.77/24 (from the provider)</dd>")
    );
    assert!(fine.contains("<dt>Address held for</dt><dd>1 d 1 h</dd>"), "{fine}");
    let wrong = Status {
        wan: Some(interface(None)),
        ports: vec![port("gp-lan0", "unattached"), port("gp-wan0", "down")],
        problems: vec!["the disk is full: delete something".to_owned()],
        service_problems: vec!["dns: no server answers".to_owned()],
        ..status()
    };
    let wrong = status::of(english(), &wrong, None).into_string();
    for told in [
        "Needs attention",
        "Check the cable to the provider",
        "ip link set gp-lan0 master BRIDGE",
        "gp-wan0 is down: check its cable",
        "<li lang=\"en\">the disk is full: delete something</li>",
        "<li lang=\"en\">dns: no server answers</li>",
    ] {
        assert!(wrong.contains(told), "no {told}: {wrong}");
    }
    assert!(!wrong.contains("No known problem"));
    let lan_only = status::of(english(), &Status { wan: None, ..status() }, None).into_string();
    assert!(lan_only.contains("no line to the internet") && lan_only.contains("No known problem"));
}

#[test]
fn devices_have_their_connections_and_those_without_a_lease_are_listed_too() {
    let leases =
        Leases { leases: vec![lease(20, "printer"), lease(21, "laptop")], former: vec![lease(22, "gone")] };
    let neighbor = |address: &str, segment: &str, state: &str| Neighbor {
        segment: segment.to_owned(),
        address: address.parse().expect("an address"),
        mac: Some("02:00:00:00:00:99".to_owned()),
        state: state.to_owned(),
        held: 0,
    };
    let neighbors = Neighbors {
        neighbors: vec![
            neighbor("192.168.1.20", "lan", "reachable"),
            neighbor("192.168.1.99", "lan", "stale"),
            neighbor("192.168.1.98", "lan", "unreachable"),
            neighbor("203.0.113.1", "wan", "reachable"),
        ],
        stations: vec![Station { mac: "02:00:00:00:00:99".to_owned(), port: String::new(), age_secs: 5 }],
    };
    let flows = vec![
        flow("192.168.1.20:40000", "198.51.100.80:80"),
        flow("192.168.1.20:40001", "192.168.1.21:80"),
        flow("192.168.1.21:1", "192.168.1.21:2"),
    ];
    let told = |total: usize| {
        let flows = Flows { total, flows: flows.clone() };
        clients::of(english(), &leases, &neighbors, &uses(&flows)).into_string()
    };
    let hidden = "hidden (random address)";
    assert_eq!(
        rows(&told(3)),
        [
            format!("printer|192.168.1.20|2|\u{2013}no value|5 min ago|1 h|{hidden}|02:00:00:00:00:14"),
            format!("laptop|192.168.1.21|2|\u{2013}no value|5 min ago|1 h|{hidden}|02:00:00:00:00:15"),
            "unnamed|192.168.1.99|0|\u{2013}no value|now|not from the gateway|\u{2013}no value|02:00:00:00:00:99".to_owned(),
        ]
    );
    assert!(rows(&told(4))[0].contains("|at least 2|"), "the report has not all flows");
    assert!(told(3).contains("Earlier devices") && told(3).contains("gone"));
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let many = vec![lease(20, "printer"); clients::SHOWN_MAX + 7];
    let leases = Leases { leases: many, former: vec![lease(22, "gone"); clients::FORMER_SHOWN_MAX + 3] };
    let neighbors = Neighbors { neighbors: Vec::new(), stations: Vec::new() };
    let flows = Flows { total: 0, flows: Vec::new() };
    let page = clients::of(english(), &leases, &neighbors, &uses(&flows)).into_string();
    assert_eq!(rows(&page).len(), clients::SHOWN_MAX);
    assert!(page.contains("and 7 more") && page.contains("and 3 more"));
}

#[test]
fn a_long_list_of_leases_leaves_no_room_for_others() {
    let leases = Leases { leases: vec![lease(20, "printer"); clients::SHOWN_MAX - 1], former: Vec::new() };
    let neighbor = |number: u8| Neighbor {
        segment: "lan".to_owned(),
        address: [192, 168, 1, number].into(),
        mac: Some(format!("02:00:00:00:00:{number:02x}")),
        state: "reachable".to_owned(),
        held: 0,
    };
    let neighbors = Neighbors { neighbors: vec![neighbor(30), neighbor(31)], stations: Vec::new() };
    let flows = Flows { total: 0, flows: Vec::new() };
    let page = clients::of(english(), &leases, &neighbors, &uses(&flows)).into_string();
    assert_eq!(rows(&page).len(), clients::SHOWN_MAX);
    assert!(page.contains("192.168.1.30") && !page.contains("192.168.1.31") && page.contains("and 1 more"));
}

#[test]
fn what_others_have_written_is_text() {
    let name = "<script>alert(1)</script>\"'&";
    let leases = Leases { leases: vec![lease(20, name)], former: Vec::new() };
    let neighbors = Neighbors { neighbors: Vec::new(), stations: Vec::new() };
    let page = clients::of(english(), &leases, &neighbors, &uses(&Flows { total: 0, flows: Vec::new() }))
        .into_string();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    let state = SignIn { name: name.to_owned(), refusal: Some(Refusal::Wrong), ..SignIn::default() };
    let form = sign_in::content(english(), &state).into_string();
    assert!(form.contains("value=\"&lt;script&gt;alert(1)&lt;/script&gt;&quot;'&amp;\""), "{form}");
}

#[test]
fn services_are_told_with_their_state_and_place() {
    let service = |name: &str, state: &str, problem: Option<&str>| Service {
        name: name.to_owned(),
        state: state.to_owned(),
        problem: problem.map(str::to_owned),
        note: None,
        listens: vec![Listening { protocol: "udp".to_owned(), address: [192, 168, 1, 1].into(), port: 53 }],
        counters: serde_json::from_str("{}").expect("no counters"),
    };
    let services = vec![service("dns", "running", None), service("smtp", "impaired", Some("no disk"))];
    let page = services::of(english(), &Services { services }).into_string();
    assert_eq!(
        rows(&page),
        [
            "Names dns|works|192.168.1.1:53 UDP|\u{2013}no value",
            "Mail from other servers smtp|needs attention|192.168.1.1:53 UDP|no disk"
        ]
    );
}

#[test]
fn the_form_says_why_a_login_was_refused_and_what_else_there_is() {
    let page = |state: SignIn| sign_in::content(english(), &state).into_string();
    let form = page(SignIn::default());
    assert!(form.contains("action=\"/sign-in\"") && !form.contains("role=\"alert\""), "{form}");
    assert!(form.contains("href=\"/forgotten\"") && !form.contains("href=\"/setup\""), "{form}");
    let wait = std::time::Duration::from_secs(90);
    let limited = page(SignIn { refusal: Some(Refusal::TooMany(wait)), ..SignIn::default() });
    assert!(limited.contains("Wait 1 min 31 s"), "{limited}");
    assert!(!limited.contains("aria-invalid"), "the name and the password may be right: {limited}");
    let wrong = page(SignIn { refusal: Some(Refusal::Wrong), ..SignIn::default() });
    assert_eq!(wrong.matches("aria-describedby=\"refusal\" aria-invalid=\"true\"").count(), 2, "{wrong}");
    assert!(wrong.contains("id=\"refusal\"") && !form.contains("refusal"), "{wrong}");
    let first = page(SignIn { is_first_run: true, ..SignIn::default() });
    assert!(first.contains("href=\"/setup\"") && !first.contains("href=\"/forgotten\""), "{first}");
}

#[test]
fn the_pages_for_codes_say_where_to_find_one_and_keep_no_password() {
    let first = codes::first_run(english(), Some(Refusal::Wrong)).into_string();
    assert!(first.contains("gatepost code") && first.contains("This is not the code"), "{first}");
    let fault = ForgottenFault::Password("It is weak.".to_owned());
    let state = Forgotten { name: "olga".to_owned(), fault: Some(fault) };
    let forgotten = codes::forgotten(english(), &state).into_string();
    assert!(forgotten.contains("It is weak.") && forgotten.contains("value=\"olga\""), "{forgotten}");
    assert!(forgotten.contains("gatepost passwd NAME") && forgotten.contains("gatepost code"), "{forgotten}");
    for field in ["password", "again"] {
        assert!(forgotten.contains(&format!("name=\"{field}\" type=\"password\"")), "{forgotten}");
    }
}

/// A line that is busy all the time.
fn busy_traffic() -> Markup {
    let amount = Amount { octets_received: u64::MAX / 1000, octets_sent: 1 << 40, ..Amount::default() };
    let spans = Span::ALL.map(|span| SpanTraffic::new(span, vec![amount; span.periods().1]));
    let now = Rate { received: 1_250_000, sent: 125 };
    traffic::of(english(), now, &Traffic { wan: spans.into(), ..Traffic::default() })
}

#[test]
fn traffic_is_told_in_words_and_kept_live_by_the_script() {
    let page = busy_traffic().into_string();
    assert!(page.contains("<dd data-live=\"wan-received\">10 Mbit/s</dd>"), "{page}");
    assert!(page.contains("<dd data-live=\"wan-sent\">1.0 kbit/s</dd>"), "{page}");
    assert_eq!(page.matches("<svg").count(), 3);
    let script = style::file(&style::SCRIPT.path).expect("the script");
    let script = String::from_utf8_lossy(script.body.octets()).into_owned();
    assert!(script.contains(traffic::LIVE) && script.contains("[data-live]"));
    let leases = Leases { leases: vec![lease(10, "desk")], former: Vec::new() };
    let neighbors = Neighbors { neighbors: Vec::new(), stations: Vec::new() };
    let day = Octets { received: 5_000_000, sent: 700, ..Octets::default() };
    let host =
        HostTraffic { address: [192, 168, 1, 10].into(), name: None, mac: None, hour: day, day, month: day };
    let traffic = Traffic { hosts: vec![host], ..Traffic::default() };
    let uses = clients::Uses::of(&Flows { total: 0, flows: Vec::new() }, &traffic);
    let page = clients::of(english(), &leases, &neighbors, &uses).into_string();
    assert!(page.contains("5.0 MB received, 700 B sent"), "{page}");
}

#[test]
fn flows_are_told_by_host_and_destination_and_ended_by_who_may() {
    let with = |flow: Flow, sent, received| Flow { octets_sent: sent, octets_received: received, ..flow };
    let all = vec![
        with(flow("192.168.1.20:40000", "198.51.100.80:443"), 10, 5_000_000),
        with(flow("192.168.1.20:40001", "198.51.100.80:443"), 10, 2_000_000),
        with(flow("198.51.100.90:7000", "192.168.1.21:80"), 900, 30),
        flow("203.0.113.77:123", "198.51.100.90:123"),
    ];
    let report = Flows { total: 4, flows: all };
    let is_host = |address: std::net::IpAddr| address.to_string().starts_with("192.168.1.");
    let name_of = |address: std::net::IpAddr| match address.to_string().as_str() {
        "192.168.1.20" => Some("printer".to_owned()),
        "198.51.100.80" => Some("www.<b>example".to_owned()),
        _ => None,
    };
    let token = maud::html! { input type="hidden" name="token" value="t"; };
    let page = flows::of(english(), &report, is_host, name_of, Some(&token)).into_string();
    assert!(page.contains("<strong>printer</strong>") && page.contains("www.&lt;b&gt;example"), "{page}");
    assert!(
        page.contains("7.0 MB") && page.contains("900 B"),
        "the sum, and what a server has received: {page}"
    );
    assert!(page.contains("value=\"tcp 192.168.1.20:40000 198.51.100.80:443\""), "{page}");
    assert!(!page.contains("203.0.113.77"), "it is the gateway's own: {page}");
    assert_eq!(page.matches("<form").count(), 3);
    let viewed = flows::of(english(), &report, is_host, name_of, None).into_string();
    assert!(!viewed.contains("<form") && viewed.contains("printer"));
    let none = Flows { total: 0, flows: Vec::new() };
    assert!(flows::of(english(), &none, is_host, name_of, None).into_string().contains("No device"));
}

#[test]
fn a_page_is_small_and_offers_what_its_visitor_may_use() {
    let request = request("/");
    let user = User { name: "ute".to_owned(), full_name: String::new(), role: Role::User, quota: 0 };
    let session = SessionInfo {
        number: 1,
        user: "ute".to_owned(),
        source: request.peer,
        age: std::time::Duration::ZERO,
        unused: std::time::Duration::ZERO,
    };
    let visitor = Visitor { user, session: 1, form_token: "secret".to_owned(), sessions: vec![session] };
    let page = |visitor: Option<&Visitor>, menu, has_authority| {
        let visit = Visit { request: &request, visitor, has_authority };
        let office = "gatepost.office.example".to_owned();
        Frame {
            texts: english(),
            office,
            title: "Status",
            visit,
            menu,
            banner: None,
            theme: None,
            fingerprint: Some("AB:CD".to_owned()),
        }
        .page(&status::of(
            english(),
            &Status { ports: vec![port("gp-lan0", "up"); 64], ..status() },
            Some(&busy_traffic()),
        ))
    };
    let whole = page(Some(&visitor), Menu::At("/"), true);
    let css = style::file(&style::STYLE.path).expect("the style").body.octets().len();
    let icon = style::file(&style::ICON.path).expect("the icon").body.octets().len();
    assert!(whole.contains(&format!("<script src=\"{}\" defer></script>", style::SCRIPT.path)));
    assert!(whole.len() + css + icon <= 100 * 1024, "{} {css} {icon}", whole.len());
    assert!(whole.contains("<a href=\"/\" aria-current=\"page\">") && whole.contains("/authority.crt"));
    assert!(
        whole.contains("name=\"token\" value=\"secret\"")
            && whole.starts_with("<!DOCTYPE html><html lang=\"en\">")
    );
    assert!(!whole.contains("style=") && !whole.contains("onclick") && whole.matches("<script").count() == 1);
    assert!(whole.contains("SHA-256: <code>AB:CD</code>"), "{whole}");
    let bare = page(None, Menu::None, false);
    assert!(!bare.contains("aria-label=\"Pages\"") && !bare.contains("<form"), "{bare}");
    assert!(!bare.contains("/authority.crt"));
    assert!(bare.contains("<a href=\"?language=de\" lang=\"de\" hreflang=\"de\">Deutsch</a>"), "{bare}");
    assert!(style::file("/style.css").is_none() && style::file("/../style.css").is_none());
}

#[test]
fn a_banner_leads_to_where_the_pages_move() {
    let user = User { name: "olga".to_owned(), full_name: String::new(), role: Role::Owner, quota: 0 };
    let visitor = Visitor { user, session: 1, form_token: "secret".to_owned(), sessions: Vec::new() };
    let window = Window {
        remaining_secs: 61,
        who: "anna".to_owned(),
        why: String::new(),
        changes: Vec::new(),
        problem: None,
    };
    let place = || "10.0.0.1:8080".to_owned();
    let page = |banner: Banner| banner.render(english(), &visitor, false).into_string();
    let way = "<a href=\"/move\">Go on at https://10.0.0.1:8080</a>";
    let moves = page(Banner::Window(window.clone(), Some(place())));
    assert!(
        moves.contains(way) && moves.contains("1 min 1 s") && moves.contains("value=\"keep\""),
        "{moves}"
    );
    let stays = page(Banner::Window(window.clone(), None));
    assert!(!stays.contains("/move") && stays.contains("value=\"undo\""), "{stays}");
    let moved = page(Banner::Moved(place()));
    assert!(
        moved.contains(way) && moved.contains("The change is kept") && !moved.contains("<form"),
        "{moved}"
    );
    let stuck = page(Banner::Window(Window { problem: Some("it rains".to_owned()), ..window }, None));
    assert!(stuck.contains("cannot be undone yet") && stuck.contains("it rains"), "{stuck}");
}

#[test]
fn failures_say_what_to_do() {
    for failure in
        [Failure::NotFound, Failure::ReadOnly, Failure::ForeignForm, Failure::StaleForm, Failure::BrokenForm]
    {
        let (status, title, content) = failure::content(english(), failure);
        assert!(status.is_client_error() && !title.is_empty());
        assert!(content.into_string().contains("href=\"/\""));
    }
}
