//! DHCP: the leases, each of which becomes a reservation by one click, the reservations and the settings.

use std::collections::BTreeSet;

use gatepost_services::http::StatusCode;
use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place, editor};
use super::layout::{badge, nothing, refused, table, token};
use super::texts::fill;
use super::words::span;
use super::{Answer, Scene, Unavailable, changes};
use crate::config::edit::{Edit, Key, Stored};
use crate::control::report::Lease;
use crate::transaction::{Batch, Draft, Unnoted};

const PATH: &str = "/dhcp";
/// The fields of the query by which the settings, and a lease to reserve, are sent.
const SETTINGS_FIELD: &str = "settings";
const RESERVE_FIELD: &str = "reserve";

/// The key of the reservations.
const LIST: &str = "dhcp.reservations";

/// The most leases on the page; `gatepost show leases` has all.
pub const LEASES_SHOWN_MAX: usize = 500;

/// The reservations.
pub const RESERVATIONS: Form = Form {
    path: PATH,
    place: Place::List {
        key: LIST,
        names: &["hostname", "address"],
        columns: &["hostname", "mac", "address"],
    },
    groups: &[Group {
        name: "reservation",
        fields: &[
            Field::text("hostname"),
            Field::lines("mac"),
            Field::lines("client_id"),
            Field::text("address").needed(),
        ],
    }],
};

/// The settings.
pub const SETTINGS: Form = Form {
    path: "/dhcp?settings",
    place: Place::Tables,
    groups: &[
        Group {
            name: "dhcp",
            fields: &[
                Field::switch("dhcp.enabled"),
                Field::text("dhcp.pool"),
                Field::number("dhcp.lease_secs"),
                Field::switch("dhcp.authoritative"),
                Field::switch("dhcp.ignore_client_id"),
            ],
        },
        Group {
            name: "dhcp_parameters",
            fields: &[
                Field::lines("dhcp.dns_servers"),
                Field::lines("dhcp.ntp_servers"),
                Field::lines("dhcp.search"),
                Field::text("dhcp.next_server"),
                Field::text("dhcp.boot_file"),
            ],
        },
    ],
};

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let words = &scene.texts.leases;
    if !form::is_of_all(scene) {
        return form::content(scene, &RESERVATIONS).await;
    }
    let draft = scene.keeper()?.draft().await?;
    Ok(html! {
        p .lead { (words.lead) }
        (leases(scene, &draft, &scene.inspector.leases().await?.leases))
        h2 { (words.reservations) }
        (form::content(scene, &RESERVATIONS).await?)
        h2 { (words.settings) }
        (form::content(scene, &SETTINGS).await?)
    })
}

/// Notes what was sent.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let query = Sent::of_query(scene.request);
    if query.get(RESERVE_FIELD).is_some() {
        return reserve(scene, sent).await;
    }
    let form = if query.get(SETTINGS_FIELD).is_some() { &SETTINGS } else { &RESERVATIONS };
    form::submit(scene, form, sent).await
}

fn leases(scene: &Scene<'_>, draft: &Draft, leases: &[Lease]) -> Markup {
    let (texts, words) = (scene.texts, &scene.texts.leases);
    let reserved = Reserved::of(&draft.stored);
    let may_change = scene.visitor.may_change() && !draft.is_closed;
    let header = [&words.name, &words.address, &words.hardware, &words.lease_until, &words.reservation]
        .map(String::as_str);
    let row = |lease: &Lease| {
        let name = lease.hostname.as_deref();
        [
            html! { @match name { Some(name) => strong { (name) }, None => (nothing(texts)) } },
            html! { (lease.address) },
            html! { code { (lease.mac) } },
            html! { (span(texts, lease.expires_in_secs)) },
            html! {
                @if reserved.has(&lease.mac) { (badge("good", &words.reserved)) }
                @else if may_change { (reserve_button(scene, lease)) }
                @else { (nothing(texts)) }
            },
        ]
    };
    let rows: Vec<_> = leases.iter().take(LEASES_SHOWN_MAX).map(row).collect();
    let left = leases.len() - rows.len();
    html! {
        section .card {
            h2 { (words.leases) }
            p { (words.leases_about) }
            @if rows.is_empty() { p { (words.no_leases) } } @else { (table(&words.leases, header, &rows)) }
            @if left > 0 { p { (fill(&texts.clients.more, &[("n", &left.to_string())])) } }
        }
    }
}

fn reserve_button(scene: &Scene<'_>, lease: &Lease) -> Markup {
    let words = &scene.texts.leases;
    let address = lease.address.to_string();
    let label = fill(&words.reserve_one, &[("address", &address)]);
    html! {
        form method="post" action={ (PATH) "?" (RESERVE_FIELD) } {
            (token(scene.visitor))
            input type="hidden" name="address" value=(address);
            input type="hidden" name="mac" value=(lease.mac);
            button .quiet type="submit" aria-label=(label) { (words.reserve) }
        }
    }
}

/// Reserves the address of a lease for its machine.
async fn reserve(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let (Some(address), Some(mac)) = (sent.get("address"), sent.get("mac")) else {
        return Ok(Answer::Broken);
    };
    let leases = scene.inspector.leases().await?.leases;
    let lease = leases.iter().find(|lease| lease.address.to_string() == address && lease.mac == mac);
    let Some(lease) = lease else {
        return again(scene, &[(fill(&scene.texts.leases.lease_gone, &[("address", address)]), false)]).await;
    };
    let list = Key::parse(LIST).map_err(Unavailable)?;
    let edits =
        |draft: &Draft| reservation(&list, &draft.stored, lease).map(|edit| edit.into_iter().collect());
    let batch = Batch { edits: Box::new(edits), view: Vec::new() };
    let problems: Vec<_> = match scene.keeper()?.note(&editor(scene.visitor), batch).await {
        Ok(_) => return Ok(Answer::SeeOther(changes::PATH.to_owned())),
        Err(Unnoted::Refused(why)) => vec![(why, true)],
        Err(Unnoted::Mistakes(mistakes)) => {
            mistakes.into_iter().map(|mistake| (mistake.text, true)).collect()
        }
        Err(Unnoted::Failed(error)) => {
            error.messages().iter().map(|message| (message.clone(), true)).collect()
        }
    };
    again(scene, &problems).await
}

/// The page with what is wrong, in words, of which those of the gateway are in English.
async fn again(scene: &Scene<'_>, problems: &[(String, bool)]) -> Result<Answer, Unavailable> {
    let page = html! { (refused(scene.texts, problems)) (content(scene).await?) };
    Ok(Answer::Page(StatusCode::CONFLICT, page))
}

/// The edit that reserves the address of `lease`; `None` if its machine has a reservation.
fn reservation(list: &Key, stored: &Stored, lease: &Lease) -> Result<Option<Edit>, String> {
    let reserved = Reserved::of(stored);
    if reserved.has(&lease.mac) {
        return Ok(None);
    }
    let name = reserved.free_name(lease);
    let mut table = toml::Table::new();
    table.insert("hostname".to_owned(), name.as_str().into());
    table.insert("mac".to_owned(), lease.mac.as_str().into());
    table.insert("address".to_owned(), lease.address.to_string().into());
    Ok(Some(Edit { key: list.join(&name)?, value: Some(toml::Value::Table(table).to_string()) }))
}

/// What is reserved.
struct Reserved {
    macs: BTreeSet<String>,
    /// The labels of the reservations: names, and addresses of those without.
    names: BTreeSet<String>,
}

impl Reserved {
    fn of(stored: &Stored) -> Self {
        let list = Key::parse(LIST).ok();
        let elements = list.as_ref().and_then(|list| stored.get(list)?.as_array());
        let macs = elements.into_iter().flatten().filter_map(|element| element.get("mac"));
        let macs = macs.flat_map(|mac| match mac {
            toml::Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        });
        let macs = macs.filter_map(|mac| Some(mac.as_str()?.to_ascii_lowercase())).collect();
        let names = list.map(|list| stored.labels(&list)).unwrap_or_default();
        Self { macs, names: names.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    fn has(&self, mac: &str) -> bool {
        self.macs.contains(mac)
    }

    /// A name for the machine of `lease` that no reservation has: its own, or one of its hardware address.
    fn free_name(&self, lease: &Lease) -> String {
        let own = lease.hostname.as_deref().filter(|name| !name.is_empty() && !name.contains('.'));
        let base = own.map_or_else(|| format!("device-{}", lease.mac.replace(':', "")), str::to_owned);
        let with_number = |number: usize| if number == 1 { base.clone() } else { format!("{base}-{number}") };
        let is_free = |name: &String| !self.names.contains(&name.to_ascii_lowercase());
        (1..=self.names.len() + 1).map(with_number).find(is_free).unwrap_or(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(hostname: Option<&str>, mac: &str) -> Lease {
        Lease {
            address: [192, 168, 1, 23].into(),
            mac: mac.to_owned(),
            maker: None,
            locally_administered: true,
            hostname: hostname.map(str::to_owned),
            client_id: None,
            state: "bound".to_owned(),
            age_secs: 1,
            expires_in_secs: 60,
            last_seen_secs: 1,
        }
    }

    fn edit(text: &str, lease: &Lease) -> Option<(String, String)> {
        let list = Key::parse(LIST).expect("a key");
        let edit =
            reservation(&list, &Stored::read(text).expect("TOML"), lease).expect("a name that can be a key");
        edit.map(|edit| (edit.key.to_string(), edit.value.expect("a value")))
    }

    #[test]
    fn a_lease_is_reserved_with_its_name_once() {
        let desk = lease(Some("desk"), "02:00:00:00:00:0a");
        let (key, value) = edit("", &desk).expect("an edit");
        assert_eq!(key, "dhcp.reservations.desk");
        for part in ["hostname = \"desk\"", "mac = \"02:00:00:00:00:0a\"", "address = \"192.168.1.23\""] {
            assert!(value.contains(part), "{value}");
        }
        let of = |mac: &str| {
            format!("[[dhcp.reservations]]\nhostname = 'Desk'\nmac = {mac}\naddress = '192.168.1.9'\n")
        };
        assert_eq!(edit(&of("'02:00:00:00:00:0A'"), &desk), None, "its machine has one");
        assert_eq!(edit(&of("['02:00:00:00:00:0b', '02:00:00:00:00:0a']"), &desk), None);
        let (key, _) = edit(&of("'02:00:00:00:00:0b'"), &desk).expect("an edit");
        assert_eq!(key, "dhcp.reservations.desk-2", "the name is taken");
    }

    #[test]
    fn a_machine_without_a_name_gets_one() {
        let (key, _) = edit("", &lease(None, "02:00:00:00:00:0a")).expect("an edit");
        assert_eq!(key, "dhcp.reservations.device-02000000000a");
    }
}
