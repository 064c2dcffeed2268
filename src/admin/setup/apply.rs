//! The end of the wizard: its settings, the owner and the owner's password are in force.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use gatepost_services::admin::{SetupAnswer, Visit};
use gatepost_services::http::{Response, StatusCode};
use maud::html;

use super::draft::{Draft, Faults, Wan, quoted};
use crate::admin::AdminPages;
use crate::admin::check::CHECK;
use crate::admin::layout::Menu;
use crate::admin::texts::{Texts, fill};
use crate::config::edit::{Edit, Key};
use crate::config::{Config, WanAddress};
use crate::error::Error;
use crate::gateway::inspector::Inspector;
use crate::transaction::{Batch, Editor, Keeper, Request, Unnoted};

/// The reason in the history.
const WHY: &str = "first run";

/// Applies `draft`: the settings and the owner for good, then the password, then the LAN's address until it is
/// confirmed. A failure leaves the wizard as it is, to be repeated.
///
/// # Errors
///
/// Why there is no owner yet.
pub async fn apply(
    pages: &AdminPages,
    visit: Visit<'_>,
    inspector: &Inspector,
    draft: &Draft,
) -> Result<SetupAnswer, Faults> {
    let texts = Texts::of(visit.request);
    let parts = pages.keeper().zip(pages.passwords()).zip(draft.verifiers.clone());
    let Some(((keeper, passwords), verifiers)) = parts else {
        let mut faults = Faults::default();
        faults.add("", &texts.common.unavailable);
        return Err(faults);
    };
    if keeper.pending() > 0 {
        let mut faults = Faults::default();
        faults.add("", &texts.setup.others_wait);
        return Err(faults);
    }
    let by = Editor::new(&draft.name);
    let wanted = edits(draft, &inspector.config())
        .and_then(|edits| Ok((edits, lan_edit(draft, &inspector.config())?)));
    let failed = |error: &Error| {
        let mut faults = Faults::default();
        error.messages().iter().for_each(|message| faults.add_english("", message));
        faults
    };
    let (edits, lan) = wanted.map_err(|why| failed(&Error::usage(why)))?;
    if let Some(lan) = &lan {
        // What speaks against the address is to be known before anything changes.
        let all = edits.iter().chain([lan]).cloned().collect();
        note(&keeper, &by, all).await.map_err(|error| failed(&error))?;
        keeper.discard(&by).await.map_err(|error| failed(&error))?;
    }
    if note(&keeper, &by, edits).await.map_err(|error| failed(&error))? > 0 {
        let request = Request { confirm: None, why: WHY.to_owned() };
        if let Err(error) = keeper.apply(&by, request).await {
            // The wizard has the edits, and notes them again.
            keeper.discard(&by).await.map_err(|error| failed(&error))?;
            return Err(failed(&error));
        }
    }
    passwords.store(&draft.name, verifiers).await.map_err(|why| {
        let mut faults = Faults::default();
        faults.add_english("", why);
        faults
    })?;
    let mut unchanged = None;
    if let Some(lan) = lan {
        let within = Duration::from_secs(inspector.config().services.admin.confirm_secs);
        let request = Request { confirm: Some(within), why: WHY.to_owned() };
        let changed = match note(&keeper, &by, vec![lan]).await {
            Ok(_) => keeper.apply(&by, request).await.map(|_| ()),
            Err(error) => Err(error),
        };
        unchanged = changed.err().map(|error| error.to_string());
    }
    pages.forget_draft();
    let page = match (&unchanged, is_reached_by(&visit.request.host.name, draft)) {
        (None, true) => Response::see_other(CHECK),
        _ => elsewhere(pages, visit, draft, unchanged.as_deref()),
    };
    Ok(SetupAnswer::Owned { owner: draft.name.clone(), page })
}

/// Notes `edits` in the candidate, all or none: nothing may contradict them. Returns how many wait to be applied.
async fn note(keeper: &Keeper, by: &Editor, edits: Vec<Edit>) -> Result<usize, Error> {
    let batch: Batch<'_, Infallible> = Batch { edits: Box::new(|_| Ok(edits)), view: Vec::new() };
    let edited = keeper.note(by, batch).await.map_err(|unnoted| match unnoted {
        Unnoted::Refused(never) => match never {},
        Unnoted::Mistakes(mistakes) => Error::mistakes(mistakes.into_iter().map(|mistake| mistake.text)),
        Unnoted::Failed(error) => error,
    })?;
    let diff = keeper.diff(by).await?;
    let wrong: Vec<_> = diff.conflicts.into_iter().chain(diff.mistakes).collect();
    if wrong.is_empty() {
        return Ok(edited.pending);
    }
    keeper.discard(by).await?;
    Err(Error::mistakes(wrong))
}

/// What makes `config` what was entered, except for the LAN's address.
///
/// # Errors
///
/// A name is too long for a key.
pub(super) fn edits(draft: &Draft, config: &Config) -> Result<Vec<Edit>, String> {
    let mut edits = Vec::new();
    let mut set = |key: &str, value: String| edits.push((key.to_owned(), value));
    for (key, old, new) in [
        ("system.hostname", &config.system.hostname, &draft.hostname),
        ("system.domain", &config.system.domain, &draft.domain),
    ] {
        if old != new {
            set(key, quoted(new));
        }
    }
    let user = format!("users.{}", quoted(&draft.name));
    let (name, full_name) = (quoted(&draft.name), quoted(&draft.full_name));
    match config.users.iter().find(|user| user.name == draft.name) {
        Some(_) => {
            set(&format!("{user}.role"), quoted("owner"));
            if !draft.full_name.is_empty() {
                set(&format!("{user}.full_name"), full_name);
            }
        }
        None if draft.full_name.is_empty() => set(&user, format!("{{ name = {name}, role = \"owner\" }}")),
        None => set(&user, format!("{{ name = {name}, full_name = {full_name}, role = \"owner\" }}")),
    }
    set("mail.enabled", draft.has_mail.to_string());
    match (draft.wan, &config.wan.address) {
        (Wan::Static, _) => {
            set("wan.address", quoted(&draft.wan_address));
            let had_gateway = matches!(config.wan.address, WanAddress::Static { gateway: Some(_), .. });
            if had_gateway || !draft.wan_gateway.is_empty() {
                set("wan.gateway", quoted(&draft.wan_gateway));
            }
            let servers = draft.name_servers.iter().filter(|server| !server.is_empty());
            let servers: Vec<_> = servers.map(|server| quoted(server)).collect();
            if !servers.is_empty() || !config.services.name_servers().is_empty() {
                set("dns.upstream", format!("[{}]", servers.join(", ")));
            }
        }
        (Wan::Leased, WanAddress::Static { gateway, .. }) => {
            set("wan.address", quoted("dhcp"));
            if gateway.is_some() {
                set("wan.gateway", quoted(""));
            }
        }
        (Wan::Leased | Wan::Absent, _) => {}
    }
    edits.into_iter().map(|(key, value)| Ok(Edit { key: Key::parse(&key)?, value: Some(value) })).collect()
}

/// The LAN's address, if it is another one.
///
/// # Errors
///
/// None is known.
pub(super) fn lan_edit(draft: &Draft, config: &Config) -> Result<Option<Edit>, String> {
    if draft.lan == config.lan.address.to_string() {
        return Ok(None);
    }
    Ok(Some(Edit { key: Key::parse("lan.address")?, value: Some(quoted(&draft.lan)) }))
}

/// Whether the pages have the name `host`, by which they were called, further on.
pub(super) fn is_reached_by(host: &str, draft: &Draft) -> bool {
    let (hostname, domain) = (draft.hostname.to_lowercase(), draft.domain.to_lowercase());
    let names = [format!("admin.{domain}"), format!("{hostname}.{domain}"), hostname];
    host.parse::<IpAddr>().is_ok() || names.iter().any(|name| name == host)
}

/// The page that says where to sign in now. `unchanged`: why the LAN has no other address.
fn elsewhere(pages: &AdminPages, visit: Visit<'_>, draft: &Draft, unchanged: Option<&str>) -> Response {
    let texts = Texts::of(visit.request);
    let words = &texts.setup;
    let port = visit.request.host.port.map_or_else(String::new, |port| format!(":{port}"));
    let place = if is_reached_by(&visit.request.host.name, draft) {
        CHECK.to_owned()
    } else {
        format!("https://admin.{}{port}{CHECK}", draft.domain.to_lowercase())
    };
    let content = html! {
        section .card.fine { h2 { (words.done) } p { (words.done_about) } }
        @if let Some(why) = unchanged {
            section .card.warning { h2 { (words.lan_unchanged) } p lang="en" { (why) } }
        }
        p { a .button href=(place) { (fill(&words.go_on, &[("place", &place)])) } }
    };
    let title = texts.setup.done.clone();
    Response::html(StatusCode::OK, pages.frame(visit, &title, Menu::None).page(&content))
}
