mod folders;
pub(in crate::mail) mod lab;
mod limits;
mod login;
mod messages;
mod recipients;
mod reloads;
mod starts;
pub(in crate::mail) mod wire;
