//! Forms as a browser uses them, over a file in memory.

use std::rc::Rc;
use std::sync::Arc;

use gatepost_services::admin::{Pages, Visit, Visitor};
use gatepost_services::http::form::Form as Sent;
use gatepost_services::http::{Method, Request, Response, StatusCode, header};
use gatepost_services::store::Memory;
use gatepost_services::users::setter::PasswordSetter;
use gatepost_services::users::verifier::Cost;
use gatepost_services::users::{Role, User};
use gatepost_services::work::AtOnce;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Field, Kind};
use crate::admin::AdminPages;
use crate::admin::menu::PAGES;
use crate::admin::tests::request;
use crate::admin::texts::Texts;
use crate::gateway::inspector::Inspector;
use crate::process::Process;
use crate::transaction::tests::{Desk, pass, run};

const FILE: &str = "\
# The office.
[lan]
address = '192.168.1.1/24' # for now

[[firewall.forwards]]
name = 'camera'   # in the yard
wan_port = '8443'
to = '192.168.1.20:443'
";

const LAN: &str = "[lan]\naddress = '192.168.1.1/24' # for now\n";

/// An office with its pages, and the browsers of two people.
pub struct Lab {
    pub desk: Desk,
    pages: AdminPages,
    _inspector: Rc<Inspector>,
}

/// A form with a file in its field `file`.
pub struct Upload {
    pub fields: Vec<(&'static str, &'static str)>,
    pub file: &'static str,
}

/// What a browser got.
pub struct Got {
    pub status: StatusCode,
    pub location: String,
    pub page: String,
}

pub fn visitor(name: &str, role: Role) -> Visitor {
    let user = User { name: name.to_owned(), full_name: String::new(), role, quota: 0 };
    Visitor { user, session: 1, form_token: "secret".to_owned(), sessions: Vec::new() }
}

pub fn olga() -> Visitor {
    visitor("olga", Role::Owner)
}

fn got(response: Response) -> Got {
    let location = response.fields.get(header::LOCATION).and_then(|value| value.to_str().ok());
    Got {
        status: response.status,
        location: location.unwrap_or_default().to_owned(),
        page: String::from_utf8(response.body.octets().to_vec()).expect("text"),
    }
}

fn request_for(path: &str) -> Request {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    Request { query: query.map(str::to_owned), ..request(path) }
}

impl Lab {
    pub async fn new(text: &str) -> Self {
        let desk = Desk::new(Some(text)).await;
        let inspector = Rc::new(crate::gateway::tests::inspector(text));
        let pages = AdminPages::default();
        pages.show(Rc::downgrade(&inspector));
        let storage = Arc::new(Memory::default());
        let rng = StdRng::seed_from_u64(1);
        pages.set_passwords_by(PasswordSetter::new(storage, Rc::new(AtOnce), Cost::LEAST, rng));
        pages.change(Rc::downgrade(&desk.keeper));
        Self { desk, pages, _inspector: inspector }
    }

    /// Has `process` run the gateway.
    pub fn run_by(&mut self, process: &Rc<impl Process + 'static>) {
        let process = Rc::downgrade(process);
        self.pages.run_by(process);
    }

    /// Sends a form with a file.
    pub async fn upload(&self, path: &str, upload: Upload) -> Got {
        let part = |head: &str, content: &str| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let fields = upload.fields.iter().map(|(name, value)| part(&format!("name=\"{name}\""), value));
        let body =
            fields.collect::<String>() + &part("name=\"file\"; filename=\"x\"", upload.file) + "--b--\r\n";
        let mut request = Request { method: Method::POST, body: body.into_bytes(), ..request_for(path) };
        request
            .fields
            .insert(header::CONTENT_TYPE, "multipart/form-data; boundary=b".parse().expect("a value"));
        let (form, olga) = (Sent::of(&request).expect("a form"), olga());
        let visit = Visit { request: &request, visitor: Some(&olga), has_authority: false };
        got(self.pages.submit(visit, &olga, &form).await.expect("a page with a form"))
    }

    pub async fn get_as(&self, visitor: &Visitor, path: &str) -> String {
        let request = request_for(path);
        let visit = Visit { request: &request, visitor: Some(visitor), has_authority: false };
        got(self.pages.page(visit, visitor).await.expect("a page")).page
    }

    pub async fn get(&self, path: &str) -> String {
        self.get_as(&olga(), path).await
    }

    pub async fn post_as(&self, visitor: &Visitor, path: &str, fields: &[(&str, &str)]) -> Got {
        let encoded = |text: &str| text.bytes().map(|octet| format!("%{octet:02x}")).collect::<String>();
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let kind = "application/x-www-form-urlencoded".parse().expect("a value");
        let mut request =
            Request { method: Method::POST, body: fields.join("&").into_bytes(), ..request_for(path) };
        request.fields.insert(header::CONTENT_TYPE, kind);
        let form = Sent::of(&request).expect("a form");
        let visit = Visit { request: &request, visitor: Some(visitor), has_authority: false };
        got(self.pages.submit(visit, visitor, &form).await.expect("a page with a form"))
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Got {
        self.post_as(&olga(), path, fields).await
    }

    /// The fields of the form at `path` as a browser would send them, with these in place of the shown ones.
    async fn filled(&self, path: &str, new: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut fields = fields_of(&self.get(path).await);
        for (name, value) in new {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        fields
    }

    pub async fn save(&self, path: &str, new: &[(&str, &str)]) -> Got {
        let fields = self.filled(path, new).await;
        self.send(path, &fields).await
    }

    async fn send(&self, path: &str, fields: &[(String, String)]) -> Got {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post(path, &fields).await
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let value = rest.split_once('"')?.0;
    Some(value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// The fields that a browser would send of the last form of a page.
fn fields_of(page: &str) -> Vec<(String, String)> {
    let form = page.rsplit("<form").next().and_then(|rest| rest.split("</form>").next()).unwrap_or_default();
    let mut fields = Vec::new();
    let mut select = String::new();
    for part in form.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        let name = attribute(tag, "name").unwrap_or_default();
        let value = attribute(tag, "value").unwrap_or_default();
        if tag.starts_with("input") && (!tag.contains("checkbox") || tag.contains(" checked")) {
            fields.push((name, value));
        } else if tag.starts_with("textarea") {
            fields.push((name, text.to_owned()));
        } else if tag.starts_with("select") {
            select = name;
        } else if tag.starts_with("option") && tag.contains(" selected") {
            fields.push((select.clone(), value));
        }
    }
    fields
}

#[test]
fn every_text_of_the_forms_is_there_and_none_besides() {
    let mut wanted: [Vec<String>; 3] = Default::default();
    let [groups, labels, choices] = &mut wanted;
    for form in PAGES.iter().flat_map(|page| page.forms) {
        groups.extend(form.groups.iter().map(|group| group.name.to_owned()));
        for field in form.fields() {
            let key = form.text_key(field);
            if let Kind::Choice(words) | Kind::Checks(words) = field.kind {
                choices.extend(words.iter().map(|word| format!("{key}={word}")));
            }
            labels.push(key);
        }
    }
    wanted.iter_mut().for_each(|names| names.sort_unstable());
    wanted.iter_mut().for_each(Vec::dedup);
    let texts = Texts::of(&request("/"));
    let [groups, labels, choices] = &wanted;
    assert_eq!(&texts.groups.keys().cloned().collect::<Vec<_>>(), groups);
    assert_eq!(&texts.labels.keys().cloned().collect::<Vec<_>>(), labels);
    assert!(texts.hints.keys().all(|key| labels.contains(key)), "{:?}", texts.hints.keys());
    let named: Vec<_> = texts.choices.keys().filter(|key| !key.ends_with('=')).cloned().collect();
    assert_eq!(&named, choices);
}

#[test]
fn a_setting_is_saved_tried_and_kept_in_the_visitor_s_name() {
    run(async {
        let lab = Lab::new(LAN).await;
        let page = lab.get("/network").await;
        assert!(page.contains("name=\"lan.address\" value=\"192.168.1.1/24\""), "{page}");
        assert!(page.contains("Without a value: gatepost"), "{page}");
        let saved =
            lab.save("/network", &[("lan.address", "192.168.2.1/24"), ("system.hostname", "gate")]).await;
        assert_eq!(
            (saved.status, saved.location.as_str()),
            (StatusCode::SEE_OTHER, "/changes"),
            "{}",
            saved.page
        );
        assert_eq!(lab.desk.file(), LAN, "nothing is applied yet");
        assert!(lab.get("/").await.contains("Changes that wait to be applied: 2."));
        let waiting = lab.get("/changes").await;
        let told = "the LAN&#39;s address changes from 192.168.1.1/24 to 192.168.2.1/24";
        assert!(waiting.replace('\'', "&#39;").contains(told) && waiting.contains("(olga)"), "{waiting}");
        let applied = lab.post("/changes", &[("do", "apply"), ("why", "the provider has the same")]).await;
        assert_eq!(applied.location, "/changes", "{}", applied.page);
        let trial = lab.get("/services").await;
        assert!(trial.contains("Unless it is kept within 1 min 30 s, it is undone"), "{trial}");
        assert!(lab.get("/network").await.contains("<fieldset class=\"card\" disabled>"));
        let refused = lab.save("/network", &[("lan.address", "192.168.3.1/24")]).await;
        assert!(refused.page.contains("waits for its confirmation"), "{}", refused.page);
        let kept = lab.post("/changes", &[("do", "keep")]).await;
        assert_eq!(kept.location, "/changes", "{}", kept.page);
        let file = lab.desk.file();
        assert!(
            file.contains("address = \"192.168.2.1/24\" # for now") && file.contains("hostname = \"gate\""),
            "{file}"
        );
        let last = &lab.desk.keeper.history().versions[0];
        assert_eq!((last.who.as_str(), last.why.as_str()), ("olga", "the provider has the same"));
        let history = lab.get("/changes").await;
        assert!(history.contains("No change waits") && history.contains("Version 2"), "{history}");
        let to_first = [("do", "back"), ("version", "1")];
        // Who was owner in a former version does not become it again.
        let otto = visitor("otto", Role::Operator);
        assert!(!lab.get_as(&otto, "/changes").await.contains("value=\"back\""));
        assert_eq!(lab.post_as(&otto, "/changes", &to_first).await.status, StatusCode::FORBIDDEN);
        assert!(lab.desk.keeper.window().is_none());
        let back = lab.post("/changes", &to_first).await;
        assert_eq!(back.location, "/changes", "{}", back.page);
        pass(91).await;
        assert!(lab.desk.keeper.window().is_none() && lab.desk.file() == file, "nobody has kept it");
    });
}

#[test]
fn a_fault_stands_beside_its_field_and_what_was_entered_is_kept() {
    run(async {
        let lab = Lab::new(FILE).await;
        let new = [("lan.address", "192.168.1"), ("system.domain", "<b>"), ("wan.gateway", "192.0.2.1")];
        let refused = lab.save("/network", &new).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let page = refused.page;
        for entered in ["value=\"192.168.1\"", "value=\"&lt;b&gt;\"", "value=\"192.0.2.1\""] {
            assert!(page.contains(entered), "{entered}: {page}");
        }
        for (key, told) in
            [("lan.address", "is no"), ("system.domain", "is no label"), ("wan.gateway", "is \"dhcp\"")]
        {
            let (_, rest) =
                page.split_once(&format!("id=\"{key}-fault\"")).unwrap_or_else(|| panic!("{key}: {page}"));
            let fault = rest.split("</div>").next().unwrap_or_default().replace("&quot;", "\"");
            assert!(fault.contains(told), "{key}: {fault}");
        }
        assert_eq!(page.matches("aria-invalid=\"true\"").count(), 3, "{page}");
        assert!(page.contains("<a href=\"#lan.address\">"), "{page}");
        assert_eq!(lab.desk.keeper.pending(), 0, "all or none");
        let emptied = lab.save("/forwards?element=camera", &[("to", "")]).await;
        assert!(emptied.page.contains("Write something here."), "{}", emptied.page);
    });
}

#[test]
fn the_second_of_two_editors_is_told_what_the_first_has_changed() {
    run(async {
        let lab = Lab::new(FILE).await;
        let seconds = lab
            .filled("/network", &[("lan.address", "192.168.3.1/24"), ("system.domain", "b.example")])
            .await;
        let of_another_field = lab.filled("/network", &[("wan.mac", "02:00:00:00:00:21")]).await;
        lab.save("/network", &[("lan.address", "192.168.2.1/24")]).await;
        let told = lab.send("/network", &seconds).await;
        assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(told.page.contains("It is now: 192.168.2.1/24."), "{}", told.page);
        assert!(told.page.contains("value=\"192.168.3.1/24\"") && told.page.contains("value=\"b.example\""));
        assert_eq!(lab.desk.keeper.pending(), 1, "neither is saved");
        let saved = lab.send("/network", &of_another_field).await;
        assert_eq!(saved.location, "/changes", "what was not touched is no conflict: {}", saved.page);
        let draft = lab.desk.keeper.draft().await.expect("it can be read").stored.flat();
        assert_eq!(draft["lan.address"], "\"192.168.2.1/24\"");
        // The form shows what it is about now, so that it can be sent again.
        let again = lab.send("/network", &fields_of(&told.page)).await;
        assert_eq!(again.location, "/changes", "{}", again.page);
        let draft = lab.desk.keeper.draft().await.expect("it can be read").stored.flat();
        assert_eq!(
            (&*draft["lan.address"], &*draft["system.domain"]),
            ("\"192.168.3.1/24\"", "\"b.example\"")
        );
    });
}

#[test]
fn whatever_is_entered_is_a_text() {
    run(async {
        let lab = Lab::new(FILE).await;
        for evil in [
            "x\"\n[admin]\nenabled = false",
            "'''\"\"\"\\u0000",
            "{ a = 1 }",
            "a # b",
            "]]\n[[users]]\nname = \"eve\"\nrole = \"owner\"",
            "\\",
        ] {
            let path = "/forwards?new";
            let fields =
                [("name", evil), ("wan_port", "9000"), ("to", "192.168.1.30:9000"), ("protocol", "tcp")];
            let saved = lab.post(path, &[&fields[..], &[("from", "0.0.0.0/0")]].concat()).await;
            assert_eq!(saved.location, "/changes", "{evil}: {}", saved.page);
            let draft = lab.desk.keeper.draft().await.expect("it can be read");
            let flat = draft.stored.flat();
            assert!(draft.mistakes.is_empty() && draft.conflicts.is_empty(), "{evil}: {draft:?}");
            assert!(!flat.keys().any(|key| key.starts_with("admin") || key.starts_with("users")), "{flat:?}");
            let key = crate::config::edit::Key::parse("firewall.forwards").expect("a key");
            assert_eq!(draft.stored.labels(&key), ["camera", evil.trim()]);
            for path in ["/forwards", "/changes"] {
                lab.get(path).await;
            }
            lab.desk.keeper.discard(&super::editor(&olga())).await.expect("own edits");
        }
        let number = lab.save("/security", &[("nat.max_flows", "9] \n[x]")]).await;
        let told = number.page.replace("&quot;", "\"");
        assert!(
            told.contains("id=\"nat.max_flows-fault\"") && told.contains("a text instead of an integer"),
            "{told}"
        );
        let odd = lab.save("/network", &[("network.mode", "x'\"\n")]).await;
        assert!(odd.page.contains("is not possible here"), "{}", odd.page);
    });
}

#[test]
fn elements_of_a_list_are_added_changed_renamed_and_removed() {
    run(async {
        let lab = Lab::new(FILE).await;
        let list = lab.get("/forwards").await;
        assert!(
            list.contains("href=\"/forwards?element=camera\"") && list.contains("href=\"/forwards?new\""),
            "{list}"
        );
        let renamed =
            lab.save("/forwards?element=camera", &[("name", "yard cam"), ("wan_port", "8444")]).await;
        assert_eq!(renamed.location, "/changes", "{}", renamed.page);
        let page = lab.get("/forwards?element=yard%20cam").await;
        assert!(page.contains("value=\"8444\"") && page.contains("<h2>yard cam</h2>"), "{page}");
        assert!(lab.get("/forwards?element=camera").await.contains("is not there any more"));
        let new = [("name", "web"), ("protocol", "tcp+udp"), ("wan_port", "80"), ("to", "192.168.1.21:80")];
        let added = lab.save("/forwards?new", &new).await;
        assert_eq!(added.location, "/changes", "{}", added.page);
        let wrong =
            lab.save("/forwards?new", &[("name", "more"), ("wan_port", "80"), ("to", "192.168.1.22")]).await;
        assert!(
            wrong.page.contains("id=\"to-fault\"") && wrong.page.contains("value=\"more\""),
            "{}",
            wrong.page
        );
        let clash = lab
            .save("/forwards?new", &[("name", "more"), ("wan_port", "80"), ("to", "192.168.1.22:80")])
            .await;
        assert!(clash.page.contains("id=\"wan_port-fault\""), "a contradiction in view: {}", clash.page);
        lab.post("/changes", &[("do", "apply")]).await;
        lab.post("/changes", &[("do", "keep")]).await;
        let file = lab.desk.file();
        assert_eq!(
            file,
            "# The office.\n[lan]\naddress = '192.168.1.1/24' # for now\n\n[[firewall.forwards]]\n\
             name = \"yard cam\"   # in the yard\nwan_port = \"8444\"\nto = '192.168.1.20:443'\n\n\
             [[firewall.forwards]]\nname = \"web\"\nprotocol = \"tcp+udp\"\nto = \"192.168.1.21:80\"\nwan_port = \"80\"\n"
        );
        let list = lab.get("/forwards").await;
        let stale = [("remove", "web"), ("shown", "000000000000")];
        assert_eq!(lab.post("/forwards", &stale).await.status, StatusCode::CONFLICT);
        let of_web = list.split("value=\"web\"").nth(1).expect("a form to remove it");
        let shown =
            attribute(of_web.split("<input").nth(1).expect("its digest"), "value").expect("its value");
        let removed = lab.post("/forwards", &[("remove", "web"), ("shown", &shown)]).await;
        assert_eq!(removed.location, "/changes", "{}", removed.page);
        assert!(lab.get("/changes").await.contains("port 80 closes"));
    });
}

#[test]
fn what_a_viewer_sees_is_closed() {
    run(async {
        let lab = Lab::new(FILE).await;
        let vera = visitor("vera", Role::Viewer);
        let page = lab.get_as(&vera, "/network").await;
        assert!(
            page.contains("disabled") && page.contains("You may look") && !page.contains(">Save<"),
            "{page}"
        );
        let list = lab.get_as(&vera, "/forwards").await;
        assert!(
            list.contains("?element=camera") && !list.contains("name=\"remove\"") && !list.contains("?new"),
            "{list}"
        );
        lab.save("/network", &[("system.hostname", "gate")]).await;
        let changes = lab.get_as(&vera, "/changes").await;
        assert!(!changes.contains("value=\"apply\"") && !changes.contains("value=\"discard\""), "{changes}");
        lab.post("/changes", &[("do", "apply")]).await;
        let banner = lab.get_as(&vera, "/").await;
        assert!(banner.contains("is undone") && !banner.contains("value=\"keep\""), "{banner}");
    });
}

#[test]
fn a_full_disk_keeps_the_trial_open() {
    run(async {
        let lab = Lab::new(FILE).await;
        lab.save("/network", &[("system.hostname", "gate")]).await;
        lab.post("/changes", &[("do", "apply")]).await;
        lab.desk.paper.is_full.set(true);
        let refused = lab.post("/changes", &[("do", "keep")]).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        assert!(
            refused.page.contains("cannot be written") && refused.page.contains("value=\"keep\""),
            "{}",
            refused.page
        );
        lab.desk.paper.is_full.set(false);
        assert_eq!(lab.post("/changes", &[("do", "keep")]).await.location, "/changes");
        assert!(lab.desk.file().contains("hostname = \"gate\""));
    });
}

#[test]
fn an_undo_of_a_page_that_is_too_old_does_nothing() {
    run(async {
        let lab = Lab::new(FILE).await;
        for host in ["one", "two"] {
            lab.save("/network", &[("system.hostname", host)]).await;
            lab.post("/changes", &[("do", "apply")]).await;
            lab.post("/changes", &[("do", "keep")]).await;
        }
        let file = lab.desk.file();
        assert_eq!(lab.post("/changes", &[("do", "undo")]).await.location, "/changes");
        assert_eq!(lab.desk.file(), file);
        for broken in [&[("do", "none")][..], &[], &[("do", "back"), ("version", "x")]] {
            assert_eq!(lab.post("/changes", broken).await.status, StatusCode::BAD_REQUEST, "{broken:?}");
        }
    });
}

#[test]
fn a_list_that_can_be_absent_is_told_apart_from_an_empty_one() {
    run(async {
        let lab = Lab::new(FILE).await;
        let services = |words: &'static [&'static str]| {
            let lab = &lab;
            async move {
                let mut fields = fields_of(&lab.get("/security").await);
                fields.retain(|(name, _)| name != "firewall.wan_services");
                fields.extend(
                    words.iter().map(|word| ("firewall.wan_services".to_owned(), (*word).to_owned())),
                );
                let saved = lab.send("/security", &fields).await;
                assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.page);
                let draft = lab.desk.keeper.draft().await.expect("it can be read");
                draft.stored.flat().get("firewall.wan_services").cloned()
            }
        };
        assert_eq!(services(&[""]).await, None);
        assert_eq!(services(&["", "dns"]).await.as_deref(), Some("[\"dns\"]"), "a service is new");
        assert_eq!(services(&["", "dns"]).await, None, "its absence is new");
        assert_eq!(services(&["dns", "smtp"]).await.as_deref(), Some("[\"dns\", \"smtp\"]"));
        assert_eq!(services(&[]).await.as_deref(), Some("[]"));
        assert_eq!(services(&[""]).await, None);
        let lines = lab.save("/security", &[("access.dns.from", "lan\r\n\r\n 198.51.100.0/24 \r\n")]).await;
        assert_eq!(lines.location, "/changes", "{}", lines.page);
        let draft = lab.desk.keeper.draft().await.expect("it can be read").stored.flat();
        assert_eq!(draft["access.dns.from"], "[\"lan\", \"198.51.100.0/24\"]");
        let emptied = lab.save("/security", &[("access.dns.from", "")]).await;
        assert_eq!(emptied.location, "/changes", "{}", emptied.page);
        let draft = lab.desk.keeper.draft().await.expect("it can be read");
        assert!(
            draft.mistakes.is_empty() && !draft.stored.flat().contains_key("access.dns.from"),
            "{draft:?}"
        );
    });
}

#[test]
fn the_words_of_choices_are_those_of_the_configuration() {
    let forms = PAGES.iter().flat_map(|page| page.forms);
    let choices = forms.flat_map(|form| form.fields().map(|field| (form.text_key(field), field)));
    let words = |(key, field): (String, &Field)| match field.kind {
        Kind::Choice(words) => words.iter().map(|word| (key.clone(), format!("\"{word}\""))).collect(),
        Kind::Checks(words) => words.iter().map(|word| (key.clone(), format!("[\"{word}\"]"))).collect(),
        _ => Vec::new(),
    };
    for (key, value) in choices.flat_map(words) {
        let text = if let Some(key) = key.strip_prefix("users.") {
            format!("[[users]]\nname = 'anna'\n{key} = {value}")
        } else if let Some(key) = key.strip_prefix("firewall.forwards.") {
            format!("[[firewall.forwards]]\nwan_port = '1'\nto = '192.168.1.9:1'\n{key} = {value}")
        } else if let Some(key) = key.strip_prefix("dns.records.") {
            let data = match value.as_str() {
                "\"A\"" => "192.168.1.9",
                "\"AAAA\"" => "2001:db8::9",
                "\"CAA\"" => "0 issue x",
                "\"MX\"" => "10 smtp",
                "\"SRV\"" => "0 5 5060 pbx",
                _ => "host",
            };
            let host = "[[dns.records]]\nname = 'host'\ntype = 'A'\nvalue = '192.168.1.8'\n";
            format!("{host}[[dns.records]]\nname = 'nas.example'\nvalue = '{data}'\n{key} = {value}")
        } else {
            format!("{key} = {value}")
        };
        crate::config::Config::parse("test", &text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    }
}
