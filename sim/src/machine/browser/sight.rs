//! What browsers ask and are told, for the checker [`PagesTold`](crate::checkers::pages_told::PagesTold).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ipnet::Ipv4Net;

use super::page::Answer;

/// Who can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub user: &'static str,
    /// The role, as in the configuration.
    pub role: &'static str,
}

/// What a request is meant to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// It reads a page.
    Reads,
    /// It is in clear, and reads nothing.
    ReadsInClear,
    /// It signs somebody in, with the right password or a wrong one.
    SignsIn(Account, bool),
    /// It ends its own session.
    SignsOut,
    /// It ends the session of this number.
    Ends(u64),
    /// It saves a change of the configuration, or applies or undoes one.
    Changes,
    /// It keeps a change by which the LAN has this address.
    Keeps(Ipv4Net),
    /// It applies a change of the configuration, which the user may not.
    Meddles,
    /// It is a form of another site's, or with a wrong token, and must do nothing.
    Forges,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The path.
    pub path: String,
    /// The value of the session's cookie.
    pub cookie: Option<String>,
    /// What it is meant to do.
    pub aim: Aim,
}

/// Something that a browser does or sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It asks.
    Asks(Ask),
    /// It is told the answer.
    Told(Answer),
    /// There is no answer.
    Lost,
    /// The gateway's certificate is none that the office's authority has signed for the name, with the reason.
    Disbelieves(String),
}

/// What the browsers of an office have seen, each with its name, until the checker takes it.
pub type SharedSight = Rc<RefCell<VecDeque<(String, Seen)>>>;
