mod commands;
mod data;
mod limits;
mod login;
mod properties;
mod recipients;
