//! The pages of the administration: what the gateway's [`Inspector`] reports, for people.
//!
//! A page is made on the server, from the same reports as `gatepost show`, and needs no script. One file has one page;
//! [`layout`] is around all of them. The texts are in one file for each language ([`texts`]); `style.css` is served
//! under a name with its digest, so that browsers keep it until it changes.
//!
//! To add a page: a file with its function, an entry in [`PAGES`], its texts in each language.

mod clients;
mod failure;
mod layout;
mod services;
mod sessions;
mod sign_in;
mod status;
mod style;
#[cfg(test)]
mod tests;
mod texts;
mod words;

use std::cell::OnceCell;
use std::rc::{Rc, Weak};

use gatepost_services::admin::{Failure, Pages, SESSIONS, SignIn, Visit, Visitor};
use gatepost_services::http::{Request, Response, StatusCode};
use gatepost_services::task::LocalFuture;
use maud::Markup;

use crate::control::ReportError;
use crate::gateway::inspector::Inspector;
use layout::{Frame, Menu};
use texts::Texts;

/// The pages of a gateway.
#[derive(Default)]
pub(crate) struct AdminPages {
    /// The gateway's reports, as long as it runs.
    inspector: OnceCell<Weak<Inspector>>,
}

/// The circumstances of a page.
struct Scene<'a> {
    texts: &'static Texts,
    inspector: &'a Inspector,
    visitor: &'a Visitor,
}

/// A page in the menu.
struct Entry {
    path: &'static str,
    /// Its name in the menu, and its title.
    name: fn(&Texts) -> &str,
    content: for<'a> fn(&'a Scene<'a>) -> LocalFuture<'a, Result<Markup, ReportError>>,
}

/// The pages in the order of the menu.
const PAGES: [Entry; 4] = [
    Entry { path: "/", name: |texts| &texts.status.title, content: |scene| Box::pin(status::content(scene)) },
    Entry {
        path: "/clients",
        name: |texts| &texts.clients.title,
        content: |scene| Box::pin(clients::content(scene)),
    },
    Entry {
        path: "/services",
        name: |texts| &texts.services.title,
        content: |scene| Box::pin(services::content(scene)),
    },
    Entry {
        path: SESSIONS,
        name: |texts| &texts.sessions.title,
        content: |scene| Box::pin(sessions::content(scene)),
    },
];

impl AdminPages {
    /// Shows the reports of `inspector` from now on.
    pub fn show(&self, inspector: Weak<Inspector>) {
        // The gateway calls this once.
        _ = self.inspector.set(inspector);
    }

    fn inspector(&self) -> Option<Rc<Inspector>> {
        self.inspector.get()?.upgrade()
    }

    /// The gateway's full name, for the head of every page.
    fn office(&self) -> String {
        let config = self.inspector().map(|inspector| inspector.config());
        config
            .map(|config| format!("{}.{}", config.system.hostname, config.system.domain))
            .unwrap_or_default()
    }

    fn frame<'a>(&self, visit: Visit<'a>, title: &'a str, menu: Menu) -> Frame<'a> {
        let inspector = self.inspector().filter(|_| visit.has_authority);
        let fingerprint = inspector.and_then(|inspector| inspector.authority_fingerprint());
        Frame { texts: Texts::of(visit.request), office: self.office(), title, visit, menu, fingerprint }
    }
}

impl Pages for AdminPages {
    fn file(&self, request: &Request) -> Option<Response> {
        style::file(&request.path)
    }

    fn sign_in(&self, visit: Visit<'_>, state: &SignIn) -> Response {
        let texts = Texts::of(visit.request);
        let frame = self.frame(visit, &texts.sign_in.title, Menu::None);
        let has_users = self.inspector().is_some_and(|inspector| !inspector.config().users.is_empty());
        Response::html(StatusCode::OK, frame.page(&sign_in::content(texts, state, has_users)))
    }

    fn page<'a>(&'a self, visit: Visit<'a>, visitor: &'a Visitor) -> LocalFuture<'a, Option<Response>> {
        Box::pin(async move {
            let entry = PAGES.iter().find(|entry| entry.path == visit.request.path)?;
            let inspector = self.inspector()?;
            let texts = Texts::of(visit.request);
            let scene = Scene { texts, inspector: &inspector, visitor };
            let (status, content) = match (entry.content)(&scene).await {
                Ok(content) => (StatusCode::OK, content),
                Err(error) => (StatusCode::SERVICE_UNAVAILABLE, failure::unavailable(texts, &error)),
            };
            let frame = self.frame(visit, (entry.name)(texts), Menu::At(entry.path));
            Some(Response::html(status, frame.page(&content)))
        })
    }

    fn failure(&self, visit: Visit<'_>, failure: Failure) -> Response {
        let texts = Texts::of(visit.request);
        let (status, title, content) = failure::content(texts, failure);
        let menu = if failure == Failure::NotFound { Menu::At("") } else { Menu::None };
        Response::html(status, self.frame(visit, title, menu).page(&content))
    }
}
