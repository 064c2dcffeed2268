//! The pages of the administration: what the gateway's [`Inspector`] reports and its [`Keeper`] keeps, for people.
//!
//! A page is made on the server, from the same reports as `gatepost show`, and needs no script; where there is one, it
//! keeps values live. One file has one page; `layout` is around all of them. The texts are in one file for each language
//! (`texts`); `style.css` is served under a name with its digest, so that browsers keep it until it changes.
//!
//! To add a page: a file with its function, an entry in `menu::PAGES`, its texts in each language. A page that changes
//! the configuration is a `form`, whose header says how to add one. What a page does at once is a form of its own: its
//! `submit` gets what was sent, from an operator or an owner, with its token and its origin checked.

mod aliases;
mod banner;
mod changes;
mod check;
mod clients;
mod codes;
mod enter;
mod failure;
mod flows;
mod form;
mod forwards;
mod graph;
mod layout;
mod leases;
mod mail;
mod menu;
mod names;
mod network;
mod own;
mod security;
mod services;
mod sessions;
mod setup;
mod sign_in;
mod status;
mod style;
mod system;
#[cfg(test)]
mod tests;
mod texts;
pub(crate) mod theme;
mod time;
mod traffic;
mod users;
mod words;

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

use gatepost_services::admin::{
    Failure, Forgotten, Installer, OWN, Pages, PasswordFault, Refusal, SetupAnswer, SignIn, Visit, Visitor,
};
use gatepost_services::http::form::Form as Sent;
use gatepost_services::http::{BODY_OCTETS_MAX, Request, Response, StatusCode};
use gatepost_services::task::LocalFuture;
use gatepost_services::users::setter::PasswordSetter;
use gatepost_services::users::{Role, User};
use maud::Markup;

use crate::backup::BACKUP_OCTETS_MAX;
use crate::control::ReportError;
use crate::error::Error;
use crate::gateway::inspector::Inspector;
use crate::password;
use crate::process::Process;
use crate::transaction::Keeper;
use banner::Banner;
use layout::{Frame, Menu};
use menu::{Group, PAGES, Page};
use texts::Texts;
use theme::Theme;

/// The pages of a gateway.
#[derive(Default)]
pub struct AdminPages {
    /// The gateway's reports, as long as it runs.
    inspector: OnceCell<Weak<Inspector>>,
    /// What changes its configuration, as long as it runs.
    keeper: OnceCell<Weak<Keeper>>,
    /// What sets its users' passwords.
    passwords: OnceCell<PasswordSetter>,
    /// What was entered in the wizard of the first run.
    draft: RefCell<Option<setup::Draft>>,
    /// The process that runs it.
    process: OnceCell<Weak<dyn Process>>,
    /// The office's own look, if it has one.
    theme: RefCell<Option<Rc<Theme>>>,
}

/// The circumstances of a page.
struct Scene<'a> {
    texts: &'static Texts,
    inspector: &'a Inspector,
    keeper: Option<Rc<Keeper>>,
    passwords: Option<&'a PasswordSetter>,
    process: Option<Rc<dyn Process>>,
    visitor: &'a Visitor,
    request: &'a Request,
}

impl Scene<'_> {
    /// What changes the configuration.
    ///
    /// # Errors
    ///
    /// The gateway does not run yet, or ends.
    fn keeper(&self) -> Result<&Keeper, Unavailable> {
        self.keeper.as_deref().ok_or_else(Unavailable::between_runs)
    }
}

/// Why a page has no content now.
#[derive(Debug)]
struct Unavailable(String);

impl Unavailable {
    /// The gateway does not run yet, or ends.
    fn between_runs() -> Self {
        Self("the gateway is starting or stopping".to_owned())
    }
}

impl From<ReportError> for Unavailable {
    fn from(error: ReportError) -> Self {
        Self(error.to_string())
    }
}

impl From<Error> for Unavailable {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// The answer to a form.
enum Answer {
    /// The page again, with this status and content.
    Page(StatusCode, Markup),
    /// It is done, and the browser shall get this path.
    SeeOther(String),
    /// This, which is no page.
    Whole(Response),
    /// It is no form of the page's.
    Broken,
}

/// The pages that are not in the menu.
const OTHERS: [Page; 2] = [CHECK, OWN_PAGE];

/// The visitor's own.
const OWN_PAGE: Page = Page {
    path: OWN,
    group: Group::People,
    name: |texts| &texts.own.title,
    content: |scene| Box::pin(own::content(scene)),
    submit: Some(|scene, sent| Box::pin(own::submit(scene, sent))),
    forms: &[],
};

/// The one that the wizard leads to.
const CHECK: Page = Page {
    path: check::CHECK,
    group: Group::Overview,
    name: |texts| &texts.check.title,
    content: |scene| Box::pin(check::content(scene)),
    submit: None,
    forms: &[],
};

impl AdminPages {
    /// Shows the reports of `inspector` from now on.
    pub(crate) fn show(&self, inspector: Weak<Inspector>) {
        // The gateway calls this once.
        _ = self.inspector.set(inspector);
    }

    /// Sets users' passwords by `passwords` from now on.
    pub(crate) fn set_passwords_by(&self, passwords: PasswordSetter) {
        // The gateway calls this once.
        _ = self.passwords.set(passwords);
    }

    fn passwords(&self) -> Option<&PasswordSetter> {
        self.passwords.get()
    }

    /// Changes the configuration by `keeper` from now on.
    pub fn change(&self, keeper: Weak<Keeper>) {
        // The gateway's caller calls this once.
        _ = self.keeper.set(keeper);
    }

    /// Restarts, backs up and restores by `process` from now on.
    pub fn run_by(&self, process: Weak<dyn Process>) {
        // The gateway's caller calls this once.
        _ = self.process.set(process);
    }

    /// Has the look of `theme`, or the gateway's own, from now on.
    pub(crate) fn wear(&self, theme: Option<Rc<Theme>>) {
        *self.theme.borrow_mut() = theme;
    }

    fn inspector(&self) -> Option<Rc<Inspector>> {
        self.inspector.get()?.upgrade()
    }

    fn keeper(&self) -> Option<Rc<Keeper>> {
        self.keeper.get()?.upgrade()
    }

    /// The gateway's full name, for the head of every page.
    fn office(&self) -> String {
        let config = self.inspector().map(|inspector| inspector.config());
        config
            .map(|config| format!("{}.{}", config.system.hostname, config.system.domain))
            .unwrap_or_default()
    }

    fn scene<'a>(&'a self, inspector: &'a Inspector, visit: Visit<'a>, visitor: &'a Visitor) -> Scene<'a> {
        Scene {
            texts: Texts::of(visit.request),
            inspector,
            keeper: self.keeper(),
            passwords: self.passwords(),
            process: self.process.get().and_then(Weak::upgrade),
            visitor,
            request: visit.request,
        }
    }

    fn frame<'a>(&self, visit: Visit<'a>, title: &'a str, menu: Menu) -> Frame<'a> {
        let inspector = self.inspector().filter(|_| visit.has_authority);
        let fingerprint = inspector.and_then(|inspector| inspector.authority_fingerprint());
        let moves_to = self.inspector().and_then(|inspector| inspector.config().admin_moves_to());
        let moves_to = moves_to.filter(|place| *place != visit.request.host.to_string());
        let keeper = self.keeper().filter(|_| menu != Menu::None);
        let banner = keeper.and_then(|keeper| Banner::of(&keeper, moves_to));
        Frame {
            texts: Texts::of(visit.request),
            office: self.office(),
            title,
            visit,
            menu,
            fingerprint,
            banner,
            theme: self.theme.borrow().clone(),
        }
    }

    /// The page with this content, or why it has none.
    fn whole(
        &self,
        visit: Visit<'_>,
        page: &Page,
        (status, content): (StatusCode, Result<Markup, Unavailable>),
    ) -> Response {
        let texts = Texts::of(visit.request);
        let (status, content) = match content {
            Ok(content) => (status, content),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, failure::unavailable(texts, &error)),
        };
        let has_one_page = visit.visitor.is_some_and(|visitor| visitor.user.role == Role::User);
        let menu = if has_one_page { Menu::None } else { Menu::At(page.path) };
        let frame = self.frame(visit, (page.name)(texts), menu);
        Texts::remembered(visit.request, Response::html(status, frame.page(&content)))
    }
}

/// Makes what the fields `password` and `again` of `form` have the password of the user with this name and full name; or
/// returns why not.
async fn new_password(
    texts: &Texts,
    inspector: &Inspector,
    passwords: &PasswordSetter,
    (name, full_name): (&str, &str),
    form: &Sent,
) -> Result<(), String> {
    let (text, again) = (form.get("password").unwrap_or_default(), form.get("again").unwrap_or_default());
    let password = password::check(&inspector.config(), name, full_name, text);
    let password = password.map_err(|why| words::unfit(texts, why))?;
    if text != again {
        return Err(texts.passwords.differ.clone());
    }
    passwords.store(name, passwords.verifiers(password).await?).await
}

/// The page at the request's path.
fn page_at(request: &Request) -> Option<&'static Page> {
    PAGES.iter().chain(&OTHERS).find(|page| page.path == request.path)
}

impl Pages for AdminPages {
    fn file(&self, request: &Request) -> Option<Response> {
        let theme = self.theme.borrow();
        style::file(&request.path).or_else(|| theme.as_ref()?.file(&request.path))
    }

    fn sign_in(&self, visit: Visit<'_>, state: &SignIn) -> Response {
        let texts = Texts::of(visit.request);
        let frame = self.frame(visit, &texts.sign_in.title, Menu::None);
        let page = frame.page(&sign_in::content(texts, state));
        Texts::remembered(visit.request, Response::html(StatusCode::OK, page))
    }

    fn code(&self, visit: Visit<'_>, refusal: Option<Refusal>) -> Response {
        let texts = Texts::of(visit.request);
        let frame = self.frame(visit, &texts.codes.first_title, Menu::None);
        Response::html(StatusCode::OK, frame.page(&codes::first_run(texts, refusal)))
    }

    fn setup<'a>(
        &'a self,
        visit: Visit<'a>,
        installer: &'a Installer,
        form: Option<&'a Sent>,
    ) -> LocalFuture<'a, SetupAnswer> {
        Box::pin(setup::answer(self, visit, installer, form))
    }

    fn forgotten(&self, visit: Visit<'_>, state: &Forgotten) -> Response {
        let texts = Texts::of(visit.request);
        let frame = self.frame(visit, &texts.codes.forgotten_title, Menu::None);
        Response::html(StatusCode::OK, frame.page(&codes::forgotten(texts, state)))
    }

    fn password_refused<'a>(
        &'a self,
        visit: Visit<'a>,
        visitor: &'a Visitor,
        fault: PasswordFault,
    ) -> LocalFuture<'a, Response> {
        Box::pin(async move {
            let Some(inspector) = self.inspector() else { return self.failure(visit, Failure::NotFound) };
            let scene = self.scene(&inspector, visit, visitor);
            let content = own::page(&scene, &own::Faults::of_password(fault)).await;
            self.whole(visit, &OWN_PAGE, (StatusCode::OK, content))
        })
    }

    fn set_password<'a>(
        &'a self,
        visit: Visit<'a>,
        user: &'a User,
        form: &'a Sent,
    ) -> LocalFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let texts = Texts::of(visit.request);
            let gone = || texts.common.unavailable.clone();
            let (inspector, passwords) = self.inspector().zip(self.passwords()).ok_or_else(gone)?;
            new_password(texts, &inspector, passwords, (&user.name, &user.full_name), form).await
        })
    }

    fn enter(&self, visit: Visit<'_>, ticket: &str) -> Response {
        let texts = Texts::of(visit.request);
        let frame = self.frame(visit, &texts.enter.title, Menu::None);
        Response::html(StatusCode::OK, frame.page(&enter::content(texts, ticket)))
    }

    fn page<'a>(&'a self, visit: Visit<'a>, visitor: &'a Visitor) -> LocalFuture<'a, Option<Response>> {
        Box::pin(async move {
            if visit.request.path == traffic::LIVE {
                return Some(traffic::live(Texts::of(visit.request), self.inspector.get()?.clone()));
            }
            let page = page_at(visit.request)?;
            let inspector = self.inspector()?;
            let scene = self.scene(&inspector, visit, visitor);
            let content = (page.content)(&scene).await;
            Some(self.whole(visit, page, (StatusCode::OK, content)))
        })
    }

    fn submit<'a>(
        &'a self,
        visit: Visit<'a>,
        visitor: &'a Visitor,
        form: &'a Sent,
    ) -> LocalFuture<'a, Option<Response>> {
        Box::pin(async move {
            let page = page_at(visit.request)?;
            let submit = page.submit?;
            let inspector = self.inspector()?;
            let scene = self.scene(&inspector, visit, visitor);
            Some(match submit(&scene, form).await {
                Ok(Answer::Page(status, content)) => self.whole(visit, page, (status, Ok(content))),
                Ok(Answer::SeeOther(path)) => Response::see_other(&path),
                Ok(Answer::Whole(response)) => response,
                Ok(Answer::Broken) => self.failure(visit, Failure::BrokenForm),
                Err(error) => self.whole(visit, page, (StatusCode::SERVICE_UNAVAILABLE, Err(error))),
            })
        })
    }

    fn upload_octets_max(&self, path: &str) -> Option<usize> {
        // The backup, and the fields around it.
        (path == system::PATH).then_some(BACKUP_OCTETS_MAX + BODY_OCTETS_MAX)
    }

    fn failure(&self, visit: Visit<'_>, failure: Failure) -> Response {
        let texts = Texts::of(visit.request);
        let (status, title, content) = failure::content(texts, failure);
        let has_one_page = visit.visitor.is_some_and(|visitor| visitor.user.role == Role::User);
        let has_menu = matches!(failure, Failure::NotFound | Failure::ReadOnly) && !has_one_page;
        let menu = if has_menu { Menu::At("") } else { Menu::None };
        let page = self.frame(visit, title, menu).page(&content);
        Texts::remembered(visit.request, Response::html(status, page))
    }
}
