//! The pages in the order of the menu.

use gatepost_services::admin::SESSIONS;
use gatepost_services::http::form::Form as Sent;
use gatepost_services::task::LocalFuture;
use maud::Markup;

use super::form::Form;
use super::texts::Texts;
use super::{
    Answer, Scene, Unavailable, aliases, changes, clients, flows, forwards, leases, mail, names, network,
    security, services, sessions, status, system, time, users,
};

/// A page in the menu.
pub struct Page {
    /// Its path.
    pub path: &'static str,
    /// The menu's group that it is in.
    pub group: Group,
    /// Its name in the menu, and its title.
    pub name: fn(&Texts) -> &str,
    /// Makes its content.
    pub content: Content,
    /// Does what its forms ask for, if it has any.
    pub submit: Option<Submit>,
    /// Its forms for settings.
    pub forms: &'static [&'static Form],
}

/// Makes the content of a page.
pub type Content = for<'a> fn(&'a Scene<'a>) -> LocalFuture<'a, Result<Markup, Unavailable>>;

/// Answers a form of a page.
pub type Submit = for<'a> fn(&'a Scene<'a>, &'a Sent) -> LocalFuture<'a, Result<Answer, Unavailable>>;

/// A group of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// How the office is.
    Overview,
    /// The network and its names.
    Network,
    /// Users and their mail.
    People,
    /// The gateway itself.
    System,
}

impl Group {
    /// All groups in the order of the menu.
    pub const ALL: [Self; 4] = [Self::Overview, Self::Network, Self::People, Self::System];

    /// The name in the menu.
    pub fn name(self, texts: &Texts) -> &str {
        match self {
            Self::Overview => &texts.menu.overview,
            Self::Network => &texts.menu.network,
            Self::People => &texts.menu.people,
            Self::System => &texts.menu.system,
        }
    }
}

/// The pages in the order of the menu.
pub const PAGES: [Page; 17] = [
    Page {
        path: "/",
        group: Group::Overview,
        name: |texts| &texts.status.title,
        content: |scene| Box::pin(status::content(scene)),
        submit: None,
        forms: &[],
    },
    Page {
        path: "/clients",
        group: Group::Overview,
        name: |texts| &texts.clients.title,
        content: |scene| Box::pin(clients::content(scene)),
        submit: None,
        forms: &[],
    },
    Page {
        path: flows::PATH,
        group: Group::Overview,
        name: |texts| &texts.flows.title,
        content: |scene| Box::pin(flows::content(scene)),
        submit: Some(|scene, sent| Box::pin(flows::submit(scene, sent))),
        forms: &[],
    },
    Page {
        path: "/network",
        group: Group::Network,
        name: |texts| &texts.network.title,
        content: |scene| Box::pin(network::content(scene)),
        submit: Some(|scene, sent| Box::pin(network::submit(scene, sent))),
        forms: &[&network::FORM, &network::LAN_ONLY],
    },
    Page {
        path: "/security",
        group: Group::Network,
        name: |texts| &texts.security.title,
        content: |scene| Box::pin(security::content(scene)),
        submit: Some(|scene, sent| Box::pin(security::submit(scene, sent))),
        forms: &[&security::FORM],
    },
    Page {
        path: "/forwards",
        group: Group::Network,
        name: |texts| &texts.forwards.title,
        content: |scene| Box::pin(forwards::content(scene)),
        submit: Some(|scene, sent| Box::pin(forwards::submit(scene, sent))),
        forms: &[&forwards::FORM, &forwards::HOST],
    },
    Page {
        path: "/dhcp",
        group: Group::Network,
        name: |texts| &texts.leases.title,
        content: |scene| Box::pin(leases::content(scene)),
        submit: Some(|scene, sent| Box::pin(leases::submit(scene, sent))),
        forms: &[&leases::RESERVATIONS, &leases::SETTINGS],
    },
    Page {
        path: "/names",
        group: Group::Network,
        name: |texts| &texts.names.title,
        content: |scene| Box::pin(names::content(scene)),
        submit: Some(|scene, sent| Box::pin(names::submit(scene, sent))),
        forms: &[&names::RECORDS, &names::SETTINGS],
    },
    Page {
        path: "/zones",
        group: Group::Network,
        name: |texts| &texts.zones.title,
        content: |scene| Box::pin(names::zones(scene)),
        submit: Some(|scene, sent| Box::pin(names::submit_zones(scene, sent))),
        forms: &[&names::FORWARDED],
    },
    Page {
        path: "/time",
        group: Group::Network,
        name: |texts| &texts.time.title,
        content: |scene| Box::pin(time::content(scene)),
        submit: Some(|scene, sent| Box::pin(time::submit(scene, sent))),
        forms: &[&time::FORM],
    },
    Page {
        path: "/users",
        group: Group::People,
        name: |texts| &texts.users.title,
        content: |scene| Box::pin(users::content(scene)),
        submit: Some(|scene, sent| Box::pin(users::submit(scene, sent))),
        forms: &[&users::FORM],
    },
    Page {
        path: "/aliases",
        group: Group::People,
        name: |texts| &texts.aliases.title,
        content: |scene| Box::pin(aliases::content(scene)),
        submit: Some(|scene, sent| Box::pin(aliases::submit(scene, sent))),
        forms: &[&aliases::FORM],
    },
    Page {
        path: "/mail",
        group: Group::People,
        name: |texts| &texts.mail.title,
        content: |scene| Box::pin(mail::content(scene)),
        submit: Some(|scene, sent| Box::pin(mail::submit(scene, sent))),
        forms: &[],
    },
    Page {
        path: system::PATH,
        group: Group::System,
        name: |texts| &texts.system.title,
        content: |scene| Box::pin(system::content(scene)),
        submit: Some(|scene, sent| Box::pin(system::submit(scene, sent))),
        forms: &[],
    },
    Page {
        path: changes::PATH,
        group: Group::System,
        name: |texts| &texts.changes.title,
        content: |scene| Box::pin(changes::content(scene)),
        submit: Some(|scene, sent| Box::pin(changes::submit(scene, sent))),
        forms: &[],
    },
    Page {
        path: "/services",
        group: Group::System,
        name: |texts| &texts.services.title,
        content: |scene| Box::pin(services::content(scene)),
        submit: None,
        forms: &[],
    },
    Page {
        path: SESSIONS,
        group: Group::System,
        name: |texts| &texts.sessions.title,
        content: |scene| Box::pin(sessions::content(scene)),
        submit: None,
        forms: &[],
    },
];
