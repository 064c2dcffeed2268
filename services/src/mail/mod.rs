//! Mail: addresses, the protocols, the store, and receiving and sending.

pub mod address;
pub mod auth;
pub mod bounce;
pub mod delivery;
mod events;
mod header;
pub mod judge;
mod line;
pub mod mx;
pub mod poll;
pub mod pop3;
pub mod queue;
pub mod rules;
pub mod sasl;
pub mod secret;
pub mod service;
pub mod signing;
pub mod smtp;
pub mod srs;
pub mod store;
pub mod trace;
pub mod transfer;

pub use events::MailEvent;
