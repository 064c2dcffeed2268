//! What survives a restart.
//!
//! [`Disk`] is the little that the services need of a file system: files that are written, appended to and
//! renamed, and [`Disk::sync`], before which a power cut can undo any of it. [`Disk::replace`] puts
//! those together to a whole file that is replaced at once. [`Files`] keeps them in a directory, [`Memory`]
//! in memory. [`Monitored`] is another disk that remembers what was found wrong with it, [`LateFiles`] a directory that
//! cannot be used yet. What is stored is [`sealed`] by checksums.

mod files;
mod memory;
mod monitored;
pub mod sealed;

use std::io;

pub use files::{Files, LateFiles, OpenError, read_file};
pub use memory::Memory;
pub use monitored::Monitored;

/// A directory of the gateway's own. File names are flat, 1 to [`NAME_OCTETS_MAX`] letters, digits,
/// `-`, `_` and `.`, the first no dot; any other is [`io::ErrorKind::InvalidInput`].
///
/// What is written can be read at once, and survives the end of the process. Only what is synced survives
/// a power cut.
pub trait Disk {
    /// The whole content of `name`; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Makes `content` all that `name` holds.
    ///
    /// # Errors
    ///
    /// What the file system refuses; a part of the content may be there, the old one is not.
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Adds `record` at the end of `name`, which is made if missing.
    ///
    /// # Errors
    ///
    /// What the file system refuses; a part of the record may be there.
    fn append(&self, name: &str, record: &[u8]) -> io::Result<()>;

    /// Calls `name` by the name `to`, in place of the file that was called so: at any time there is one
    /// or the other.
    ///
    /// # Errors
    ///
    /// What the file system refuses, or there is no `name`; nothing has changed then.
    fn rename(&self, name: &str, to: &str) -> io::Result<()>;

    /// Makes durable what `name` holds, and that it is called so.
    ///
    /// # Errors
    ///
    /// What the file system refuses. Any part of what was not yet durable may be lost then, now or at the
    /// next power cut, and syncing again does not bring it back: it has to be written again.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Puts `content` in place of whatever `name` held, durably, by way of the file `name` with `.new`
    /// after it. At any time, power cuts or not, there is the old content or the new; after `Ok` the new.
    ///
    /// # Errors
    ///
    /// What the file system refuses. Which content there is after the next power cut is open then. The file with
    /// `.new` is empty if the file system allows it, so that it takes no room on a full disk.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        let written = self.write(&new, content).and_then(|()| self.sync(&new));
        if let Err(error) = written.and_then(|()| self.rename(&new, name)) {
            // The first error is the one to tell.
            let _ = self.write(&new, b"").and_then(|()| self.sync(&new));
            return Err(error);
        }
        self.sync(name)
    }

    /// Keeps `content`, which was read from `name` and is damaged, in a file of its own, durably: `name` with
    /// `.damaged` after it, or `.damaged-2` and so on if there is such a file with other content. Returns the
    /// file's name.
    ///
    /// # Errors
    ///
    /// What the file system refuses, or there are [`DAMAGED_MAX`] such files.
    fn set_aside(&self, name: &str, content: &[u8]) -> io::Result<String> {
        for number in 1..=DAMAGED_MAX {
            let aside =
                if number == 1 { format!("{name}.damaged") } else { format!("{name}.damaged-{number}") };
            match self.read(&aside)? {
                Some(former) if former == content => return Ok(aside),
                Some(_) => {}
                None => return self.replace(&aside, content).map(|()| aside),
            }
        }
        let why = format!("{DAMAGED_MAX} damaged copies of {name} are kept; look at them and remove them");
        Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
    }

    /// Tells whoever watches the disk what is wrong about `topic` from now on, in a sentence; `None` if
    /// nothing is. Nobody may watch.
    fn report(&self, topic: Topic, problem: Option<String>) {
        let _ = (topic, problem);
    }
}

/// How many damaged copies of a file are kept.
pub const DAMAGED_MAX: usize = 8;

/// What can be wrong with what a disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The gateway's hardware addresses.
    Identity,
    /// The stored leases are not what was written.
    LeasesDamaged,
    /// The stored leases cannot be read.
    LeasesUnread,
    /// Leases cannot be written.
    LeasesNotKept,
    /// The WAN's lease is not what was written.
    WanLeaseDamaged,
    /// The WAN's lease cannot be written.
    WanLeaseNotKept,
}

impl Topic {
    /// What is said when the problem is over.
    fn when_well(self) -> &'static str {
        match self {
            Self::Identity => "the hardware addresses are kept",
            Self::LeasesDamaged => "the leases are sound",
            Self::LeasesUnread => "the leases can be read",
            Self::LeasesNotKept => "leases are kept",
            Self::WanLeaseDamaged => "the WAN's lease is sound",
            Self::WanLeaseNotKept => "the WAN's lease is kept",
        }
    }
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
        disk.sync("a").unwrap();
        disk.append("a", b"two").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"onetwo");
        disk.replace("a", b"x").unwrap();
        disk.append("a", b"y").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"xy");
        disk.replace("b.json", b"").unwrap();
        assert_eq!(disk.read("b.json").unwrap().unwrap(), b"");
        disk.write("c", b"longer").unwrap();
        disk.write("c", b"short").unwrap();
        disk.rename("c", "a").unwrap();
        disk.sync("a").unwrap();
        assert_eq!((disk.read("c").unwrap(), disk.read("a").unwrap().unwrap()), (None, b"short".to_vec()));
        assert_eq!(disk.rename("c", "a").unwrap_err().kind(), io::ErrorKind::NotFound);
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "a\0", "\u{e4}", &"n".repeat(65)] {
            let refused = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
            };
            refused(disk.read(name).map(|_| ()));
            refused(disk.replace(name, b""));
            refused(disk.append(name, b""));
            refused(disk.write(name, b""));
            refused(disk.rename(name, "a"));
            refused(disk.rename("a", name));
            refused(disk.sync(name));
        }
    }
}
