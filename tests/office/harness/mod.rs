//! The parts of the tests' offices. All of them are removed on drop.

mod directory;
mod dns_tree;
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
pub use dns_tree::DnsTree;
pub use gateway::{Gateway, Setup, gatepost};
pub use namespace::{Background, Namespace};
pub use office::{DOMAIN, ISP, LAN, Office, SERVER, WAN};

/// The interval of [`eventually`], in milliseconds.
const LOOK_EVERY_MS: u16 = 20;
/// The checks of [`eventually`]: for 20 seconds at least, and for longer on a slow machine.
const LOOKS_MAX: u32 = 1000;

/// Waits until `look` returns a value, which must happen within seconds.
///
/// Only this function waits by time, for events that foreign programs do not report.
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

/// Runs a command that must succeed and returns its output.
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
