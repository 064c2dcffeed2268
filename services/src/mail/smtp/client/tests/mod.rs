//! Whole sessions.

mod data;
mod envelope;
mod hostile;
mod opening;
