//! The office's users and their authentication, shared by all services.
//!
//! The configuration lists the users ([`User`]). The verifiers of their passwords are files in the state directory
//! ([`passwords`]), one for each user. [`setter`] sets a password in the running gateway; [`logins`] checks passwords;
//! [`limit`] limits failures; [`office`] has the one state that all services use.

pub mod limit;
pub mod logins;
pub mod office;
pub mod password;
pub mod passwords;
pub mod setter;
pub mod verifier;

/// The most users.
pub const USERS_MAX: usize = 4096;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name and local part of the user's address: in lower case, and valid as a file name.
    pub name: String,
    /// The full name, for display; it can be empty.
    pub full_name: String,
    /// The user's permissions.
    pub role: Role,
    /// The quota of the user's mailbox, in octets.
    pub quota: u64,
}

/// The permissions of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Access to the user's own data.
    User,
    /// In addition, read access to everything.
    Viewer,
    /// In addition, operating the gateway.
    Operator,
    /// In addition, changing the configuration and the users.
    Owner,
}

impl Role {
    /// All roles, in ascending order.
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
