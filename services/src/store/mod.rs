//! What survives a restart.
//!
//! [`Disk`] is the little that the services need of a file system: whole files replaced at once, and
//! journals that are appended to. Either is durable when the call returns. [`Files`] keeps them in a
//! directory, [`Memory`] in memory.

mod files;
mod memory;

use std::io;

pub use files::{Files, OpenError};
pub use memory::Memory;

/// A directory of the gateway's own. File names are flat, 1 to [`NAME_OCTETS_MAX`] letters, digits,
/// `-`, `_` and `.`, the first no dot; any other is [`io::ErrorKind::InvalidInput`].
pub trait Disk {
    /// The whole content of `name`; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Puts `content` in place of whatever `name` held. After a crash there is the old content or the
    /// new, never a mixture; after `Ok` the new.
    ///
    /// # Errors
    ///
    /// What the file system refuses; the old content is then still there.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Adds `record` at the end of `name`, which is made if missing. After `Ok` it is durable; a crash
    /// before that may leave a part of it.
    ///
    /// # Errors
    ///
    /// What the file system refuses; a part of the record may be there.
    fn append(&self, name: &str, record: &[u8]) -> io::Result<()>;
}

/// The longest file name, in octets.
pub const NAME_OCTETS_MAX: usize = 64;

/// `name` itself if a file may be called so.
fn checked_name(name: &str) -> io::Result<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let flat =
        (1..=NAME_OCTETS_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed);
    if flat {
        Ok(name)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name for a file")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract of [`Disk`], for each of its implementations.
    pub(super) fn keeps_its_promises(disk: &dyn Disk) {
        assert_eq!(disk.read("a").unwrap(), None);
        disk.append("a", b"one").unwrap();
        disk.append("a", b"two").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"onetwo");
        disk.replace("a", b"x").unwrap();
        disk.append("a", b"y").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"xy");
        disk.replace("b.json", b"").unwrap();
        assert_eq!(disk.read("b.json").unwrap().unwrap(), b"");
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "a\0", "\u{e4}", &"n".repeat(65)] {
            let refused = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
            };
            refused(disk.read(name).map(|_| ()));
            refused(disk.replace(name, b""));
            refused(disk.append(name, b""));
        }
    }
}
