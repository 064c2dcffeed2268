//! What the pages are told, and what they have to provide.

use std::net::IpAddr;
use std::time::Duration;

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

    /// The page at the request's path for `visitor`, who may read everything; `None` if there is none.
    fn page<'a>(&'a self, visit: Visit<'a>, visitor: &'a Visitor) -> LocalFuture<'a, Option<Response>>;

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
    /// Why nobody can sign in, if that is so.
    pub nobody: Option<Nobody>,
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Name or password are wrong.
    Wrong,
    /// There were too many failures; the next try is possible after this time.
    TooMany(Duration),
    /// It could not be checked now.
    Unavailable,
}

/// Why nobody can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// The configuration has no user who may see the pages.
    NoUser,
    /// None of these users has a password.
    NoPassword,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is none at that path.
    NotFound,
    /// The user may not see the pages.
    NotAllowed,
    /// The user may see the pages, and change nothing.
    ReadOnly,
    /// The form came from another site.
    ForeignForm,
    /// The form's token is missing or wrong, as of a page that is older than the session.
    StaleForm,
    /// The form's body is broken.
    BrokenForm,
}
