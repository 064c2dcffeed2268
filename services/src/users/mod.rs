//! The people of the office, whom all services share: who they are, and how they prove it.
//!
//! The configuration says who there is ([`User`]). What is kept of their passwords is a file for each in the state
//! directory ([`passwords`]), which the gateway only reads. [`logins`] checks passwords, for all services; failures are
//! limited ([`limit`]).

pub mod limit;
pub mod logins;
pub mod password;
pub mod passwords;
pub mod verifier;

/// The most users.
pub const USERS_MAX: usize = 4096;

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// By which the person logs in, and the local part of the person's address: lower case, and the name of a file.
    pub name: String,
    /// For people; it can be empty.
    pub full_name: String,
    /// What the administration lets the person do.
    pub role: Role,
    /// Room for the person's messages, in octets.
    pub quota: u64,
}

/// What the administration lets a user do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What concerns the user alone.
    User,
    /// Look at everything, too.
    Viewer,
    /// Change how things run, too.
    Operator,
    /// Change everything, the users too.
    Owner,
}

impl Role {
    /// All, from the least to the most.
    pub const ALL: [Self; 4] = [Self::User, Self::Viewer, Self::Operator, Self::Owner];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }
}
