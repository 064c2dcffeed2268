mod commands;
mod login;
mod messages;
mod properties;
