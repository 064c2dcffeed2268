mod lab;
mod limits;
mod login;
mod messages;
mod recipients;
mod reloads;
mod wire;
