//! What the pages are told, and what they have to provide.

use std::net::IpAddr;
use std::time::Duration;

use super::setup::Installer;
use crate::http::form::Form;
use crate::http::{Request, Response};
use crate::service::LocalFuture;
use crate::users::{Role, User};

/// The pages of the administration.
pub trait Pages {
    /// The file at the request's path that is for everybody, such as the pages' style.
    fn file(&self, request: &Request) -> Option<Response>;

    /// The page with the form to sign in.
    fn sign_in(&self, visit: Visit<'_>, state: &SignIn) -> Response;

    /// The page with the form by which a browser with `ticket` signs in, which comes from the gateway's former address.
    fn enter(&self, visit: Visit<'_>, ticket: &str) -> Response;

    /// The page that asks for the code of the first run; `refusal`: why the last one was refused.
    fn code(&self, visit: Visit<'_>, refusal: Option<Refusal>) -> Response;

    /// The wizard of the first run: its page at the request's path, or the answer to `form` from there.
    fn setup<'a>(
        &'a self,
        visit: Visit<'a>,
        installer: &'a Installer,
        form: Option<&'a Form>,
    ) -> LocalFuture<'a, SetupAnswer>;

    /// The page about a forgotten password, with the form for a code.
    fn forgotten(&self, visit: Visit<'_>, state: &Forgotten) -> Response;

    /// The visitor's own page, which says why no other password was set.
    fn password_refused<'a>(
        &'a self,
        visit: Visit<'a>,
        visitor: &'a Visitor,
        fault: PasswordFault,
    ) -> LocalFuture<'a, Response>;

    /// Makes what the fields `password` and `again` of `form` have the password of `user`; or returns why not, for the
    /// page.
    fn set_password<'a>(
        &'a self,
        visit: Visit<'a>,
        user: &'a User,
        form: &'a Form,
    ) -> LocalFuture<'a, Result<(), String>>;

    /// The page at the request's path for `visitor`; `None` if there is none. Whoever may not read everything asks for
    /// the own page alone.
    fn page<'a>(&'a self, visit: Visit<'a>, visitor: &'a Visitor) -> LocalFuture<'a, Option<Response>>;

    /// The most octets of a file that an owner may send to `path`; `None` if no page there takes one.
    fn upload_octets_max(&self, path: &str) -> Option<usize> {
        let _ = path;
        None
    }

    /// Does what `form` asks for, which a page at the request's path has sent, and answers; `None` if no page there has
    /// a form. The form is known to be of the visitor's own session, and the visitor may change something.
    fn submit<'a>(
        &'a self,
        visit: Visit<'a>,
        visitor: &'a Visitor,
        form: &'a Form,
    ) -> LocalFuture<'a, Option<Response>>;

    /// The page that says why there is no other.
    fn failure(&self, visit: Visit<'_>, failure: Failure) -> Response;
}

/// A request to the pages.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The request.
    pub request: &'a Request,
    /// Who has signed in.
    pub visitor: Option<&'a Visitor>,
    /// Whether the certificate of the own authority is offered, as that has signed the port's certificate.
    pub has_authority: bool,
}

/// A user who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The user.
    pub user: User,
    /// The number of the session.
    pub session: u64,
    /// The token for the forms.
    pub form_token: String,
    /// The sessions that the user may end: all for an owner, else the user's own; the latest first.
    pub sessions: Vec<SessionInfo>,
}

impl Visitor {
    /// Whether the user may change something beside the own session.
    pub fn may_change(&self) -> bool {
        match self.user.role {
            Role::Operator | Role::Owner => true,
            Role::User | Role::Viewer => false,
        }
    }
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its number.
    pub number: u64,
    /// The name of its user.
    pub user: String,
    /// The address of the client that signed in.
    pub source: IpAddr,
    /// The time since it began.
    pub age: Duration,
    /// The time since its last request.
    pub unused: Duration,
}

/// The state of the form to sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignIn {
    /// The name that was entered.
    pub name: String,
    /// Why the login before was refused.
    pub refusal: Option<Refusal>,
    /// Whether the gateway has no owner yet.
    pub is_first_run: bool,
}

/// The answer of the wizard.
#[derive(Debug)]
pub enum SetupAnswer {
    /// This page; the first run goes on.
    Page(Response),
    /// There is an owner.
    Owned {
        /// The owner's name.
        owner: String,
        /// What the owner sees.
        page: Response,
    },
}

/// The state of the page about a forgotten password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The name that was entered.
    pub name: String,
    /// Why the form before did nothing.
    pub fault: Option<ForgottenFault>,
}

/// Why no password was set by a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForgottenFault {
    /// The code was refused.
    Code(Refusal),
    /// No owner has this name.
    NoOwner,
    /// The password was refused, for this reason.
    Password(String),
}

/// Why a user has no other password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordFault {
    /// The former one was refused.
    Former(Refusal),
    /// The new one was refused, for this reason.
    New(String),
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Name or password are wrong, or the code is.
    Wrong,
    /// There were too many failures; the next try is possible after this time.
    TooMany(Duration),
    /// It could not be checked now.
    Unavailable,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is none at that path.
    NotFound,
    /// The user may see the pages, and change nothing.
    ReadOnly,
    /// The form came from another site.
    ForeignForm,
    /// The form's token is missing or wrong, as of a page that is older than the session.
    StaleForm,
    /// The form's body is broken.
    BrokenForm,
}
