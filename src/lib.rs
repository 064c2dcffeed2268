//! Gatepost: a small office's gateway in one program.
//!
//! The [`gateway`] puts a [`gatepost_dataplane::Dataplane`] and the services of [`gatepost_services`]
//! together and knows no more of a device than [`device`] says; [`port`] gives it real TAP devices and
//! clocks; [`lab`] builds a whole office of network namespaces around it.

pub mod admin;
pub mod backup;
pub mod config;
pub mod control;
pub mod device;
pub mod error;
pub mod gateway;
pub mod glossary;
pub mod lab;
pub mod mail;
mod password;
pub mod pcapng;
pub mod port;
pub mod process;
pub mod recent_log;
pub mod tls;
pub mod traffic;
pub mod transaction;
