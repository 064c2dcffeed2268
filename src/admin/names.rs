//! Names: static records, the servers that are asked, the office's zone and the cache.

use gatepost_services::http::StatusCode;
use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place};
use super::layout::{badge, card, nothing, refused, table, token};
use super::texts::{Texts, fill};
use super::words::span;
use super::{Answer, Scene, Unavailable};
use crate::control::name_report::{Cache, Server, Zone};

const PATH: &str = "/names";
/// The fields of the query by which the settings are sent, and the cache is emptied.
const SETTINGS_FIELD: &str = "settings";
const FLUSH_FIELD: &str = "flush";

/// The most records of the zone, and the most cached answers, on the page; `gatepost show zone` and `cache` have all.
pub const RECORDS_SHOWN_MAX: usize = 300;
/// See [`RECORDS_SHOWN_MAX`].
pub const ANSWERS_SHOWN_MAX: usize = 50;

/// The static records.
pub const RECORDS: Form = Form {
    path: PATH,
    place: Place::List { key: "dns.records", names: &["name"], columns: &["name", "type", "value"] },
    groups: &[Group {
        name: "record",
        fields: &[
            Field::text("name").needed(),
            Field::choice("type", &["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"])
                .by_default(""),
            Field::text("value").needed(),
        ],
    }],
};

/// The settings.
pub const SETTINGS: Form = Form {
    path: "/names?settings",
    place: Place::Tables,
    groups: &[Group {
        name: "dns",
        fields: &[
            Field::switch("dns.enabled"),
            Field::lines("dns.upstream"),
            Field::switch("dns.use_upstream"),
            Field::switch("dns.trust_ad"),
            Field::switch("dns.mixed_case"),
            Field::lines("dns.private_answers_from"),
        ],
    }],
};

/// The zones that other servers are asked for.
pub const FORWARDED: Form = Form {
    path: "/zones",
    place: Place::List { key: "dns.forward", names: &["zone"], columns: &["zone", "servers"] },
    groups: &[Group {
        name: "forwarded_zone",
        fields: &[Field::text("zone").needed(), Field::lines("servers").needed()],
    }],
};

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let words = &scene.texts.names;
    if !form::is_of_all(scene) {
        return form::content(scene, &RECORDS).await;
    }
    Ok(html! {
        p .lead { (words.lead) }
        h2 { (words.records) }
        (form::content(scene, &RECORDS).await?)
        @if scene.inspector.config().services.is_enabled("dns") {
            (servers(scene.texts, &scene.inspector.name_servers()?.servers))
            (zone(scene.texts, &scene.inspector.zone()?))
            (cache(scene, &scene.inspector.cache()?))
        }
        h2 { (words.settings) }
        (form::content(scene, &SETTINGS).await?)
    })
}

/// Notes what was sent, or empties the cache.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let query = Sent::of_query(scene.request);
    if query.get(FLUSH_FIELD).is_some() {
        return flush(scene, sent).await;
    }
    let form = if query.get(SETTINGS_FIELD).is_some() { &SETTINGS } else { &RECORDS };
    form::submit(scene, form, sent).await
}

/// The content of the page of forwarded zones.
pub async fn zones(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    Ok(html! {
        p .lead { (scene.texts.zones.lead) }
        (form::content(scene, &FORWARDED).await?)
    })
}

/// Notes what was sent to the page of forwarded zones.
pub async fn submit_zones(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    form::submit(scene, &FORWARDED, sent).await
}

/// Empties the cache, of a name and those below it or of all.
async fn flush(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let name = sent.get("name").map(str::trim).filter(|name| !name.is_empty());
    match scene.inspector.flush(name) {
        Ok(_) => Ok(Answer::SeeOther(PATH.to_owned())),
        Err(undone) => {
            let problem = (format!("{}; {}", undone.why, undone.remedy), true);
            let page = html! { (refused(scene.texts, &[problem])) (content(scene).await?) };
            Ok(Answer::Page(StatusCode::CONFLICT, page))
        }
    }
}

fn servers(texts: &Texts, servers: &[Server]) -> Markup {
    let words = &texts.names;
    let header = [&words.server, &words.zone, &words.state].map(String::as_str);
    let row = |server: &Server| {
        [
            html! { (server.address) },
            html! { @match &server.zone { Some(zone) => (zone), None => (words.all_names) } },
            match server.down_for_secs {
                0 => badge("good", &words.asked),
                secs => badge("bad", &fill(&words.down, &[("time", &span(texts, secs))])),
            },
        ]
    };
    let rows: Vec<_> = servers.iter().map(row).collect();
    card(
        &words.servers,
        &html! { @if rows.is_empty() { p { (words.no_servers) } } @else { (table(&words.servers, header, &rows)) } },
    )
}

fn zone(texts: &Texts, zone: &Zone) -> Markup {
    let words = &texts.names;
    let header = [&words.name, &words.kind, &words.value, &words.origin].map(String::as_str);
    let rows: Vec<_> = zone
        .records
        .iter()
        .take(RECORDS_SHOWN_MAX)
        .map(|record| {
            let origin = match record.origin.as_str() {
                "configuration" => &words.by_configuration,
                "service" => &words.by_service,
                _ => &words.by_host,
            };
            [
                html! { (record.name) },
                html! { (record.record_type) },
                html! { (record.data) },
                html! { (origin) },
            ]
        })
        .collect();
    let left = zone.total.saturating_sub(rows.len());
    html! {
        section .card {
            details {
                summary { h2 { (words.own_zone) } }
                p { (fill(&words.own_zone_about, &[("zones", &zone.zones.join(", "))])) }
                (table(&words.own_zone, header, &rows))
                @if left > 0 { p { (fill(&texts.clients.more, &[("n", &left.to_string())])) } }
            }
        }
    }
}

fn cache(scene: &Scene<'_>, cache: &Cache) -> Markup {
    let (texts, words) = (scene.texts, &scene.texts.names);
    let header = [&words.name, &words.kind, &words.result, &words.lasts].map(String::as_str);
    let rows: Vec<_> = cache
        .answers
        .iter()
        .take(ANSWERS_SHOWN_MAX)
        .map(|answer| {
            [
                html! { (answer.name) },
                html! { @match &answer.record_type { Some(kind) => (kind), None => (nothing(texts)) } },
                html! { (answer.code) },
                html! { (span(texts, answer.expires_in_secs)) },
            ]
        })
        .collect();
    let left = cache.total.saturating_sub(rows.len());
    html! {
        section .card {
            h2 { (words.cache) }
            p { (fill(&words.cache_about, &[("n", &cache.total.to_string())])) }
            @if scene.visitor.may_change() {
                form .inline method="post" action={ (PATH) "?" (FLUSH_FIELD) } {
                    (token(scene.visitor))
                    label for="flush-name" { (words.flush_name) }
                    input id="flush-name" name="name" autocomplete="off";
                    button .quiet type="submit" { (words.flush) }
                }
            }
            @if !rows.is_empty() {
                details {
                    summary { (words.cached) }
                    (table(&words.cache, header, &rows))
                    @if left > 0 { p { (fill(&texts.clients.more, &[("n", &left.to_string())])) } }
                }
            }
        }
    }
}
