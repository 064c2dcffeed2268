//! Real input and output: TAP devices, the event loop over them, the process's clock, `gatepost run`, and the commands
//! that change a gateway's environment.

pub mod clock;
mod config_file;
pub mod event_loop;
pub mod log;
pub mod netdevice;
mod notify;
mod operator;
mod panics;
mod passwd;
mod process;
mod removal;
mod run;
mod secret_input;
pub mod tap;
mod tap_offload;
mod timex;
pub mod upkeep;
pub mod watch;

pub use passwd::{find_user, set_password};
pub use removal::remove as remove_ports;
pub use run::run;
pub use secret_input::{ask_secret, read_secret_line};
pub use tap_offload::virtio;
