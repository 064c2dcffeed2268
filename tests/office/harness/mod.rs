//! What the tests build their offices of. Everything here removes itself when it is dropped.

mod directory;
pub mod exim;
mod gateway;
mod namespace;
mod office;
pub mod postfix;
pub mod programs;
pub mod slow_disk;

use std::process::Command;

use nix::poll::{PollTimeout, poll};

pub use directory::Directory;
pub use gateway::{Gateway, Setup, gatepost};
pub use namespace::{Background, Namespace};
pub use office::{DOMAIN, ISP, LAN, Office, SERVER, WAN};

/// How long [`eventually`] waits between two looks, in milliseconds.
const LOOK_EVERY_MS: u16 = 20;
/// How often [`eventually`] looks: for 20 seconds at least, and for longer on a machine that is slow.
const LOOKS_MAX: u32 = 1000;

/// Waits until `look` finds something; it must be there within seconds.
///
/// This is the one place that waits by time, for what foreign programs do not tell of.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_for(look).unwrap_or_else(|| panic!("in vain waited for: {what}"))
}

/// As [`eventually`]; `None` if it is not there within seconds.
fn look_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS_MAX {
        if let Some(found) = look() {
            return Some(found);
        }
        _ = poll(&mut [], PollTimeout::from(LOOK_EVERY_MS));
    }
    None
}

/// Runs a command that must succeed and returns what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} does not run: {e}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
