//! Persistent storage.
//!
//! [`Storage`] is the services' interface of a file system: files in directories that are written, appended to and
//! renamed, and [`Storage::sync`], before which a power cut can undo any of it. [`Storage::replace`] combines these
//! into an atomic replacement. All methods may block for long. Services use a [`Disk`], which runs requests off their
//! thread, or a [job](crate::work) of their own.
//!
//! [`Files`] is a directory of the file system, [`Memory`] is in memory, [`Monitored`] wraps another storage and
//! remembers its problems, [`DeferredFiles`] is a directory that cannot be opened yet, [`ReadOnlyFiles`] one that is
//! only read. [`replace_beside`] is for another process than the owner of the directory, [`StagedFile`] for a file
//! elsewhere. Stored records are [`sealed`] by checksums.

mod beside;
mod disk;
mod file;
mod files;
mod key;
mod memory;
mod monitored;
mod private;
mod read_only;
pub mod sealed;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeSet;
use std::io;

pub use beside::replace_beside;
pub use disk::{Disk, REQUESTS_MAX};
pub use file::StagedFile;
pub use files::{DeferredFiles, Files, OpenError, open_regular, read_file};
pub use key::{KEY_OCTETS, kept_key};
pub use memory::Memory;
pub use monitored::{Monitored, SILENT};
pub(crate) use private::{if_there, make_directory, new_file, sync_directory};
pub use read_only::ReadOnlyFiles;

/// A directory of the gateway. A file's name is 1 to [`NAME_PARTS_MAX`] parts separated by `/`: its directories, which
/// its creation makes, and its own name. Each part is 1 to [`NAME_OCTETS_MAX`] letters, digits, `-`, `_` and `.`, and
/// does not begin with a dot; any other name is [`io::ErrorKind::InvalidInput`].
///
/// Written content can be read at once, and survives the end of the process. Only synced content survives a power cut.
/// Any thread may call; callers order concurrent calls on one file.
pub trait Storage: Send + Sync {
    /// The whole content of `name`; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// What `name` holds from `offset` on, `len` octets or as many as there are; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>>;

    /// The length of `name` in octets; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;

    /// The entries of the directory `name` in order: files and directories by the last part of their names. The empty
    /// name is the root. A missing directory has no entries.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn list(&self, name: &str) -> io::Result<Vec<String>>;

    /// The free space in octets.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn space(&self) -> io::Result<u64>;

    /// Replaces the content of `name` with `content`, neither atomically nor durably.
    ///
    /// # Errors
    ///
    /// An error of the file system. A part of the new content may be there; the old content is lost.
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Appends `record` to `name`, which is created if missing.
    ///
    /// # Errors
    ///
    /// An error of the file system; a part of the record may be there.
    fn append(&self, name: &str, record: &[u8]) -> io::Result<()>;

    /// Writes the `len` octets that `name` holds from `offset` on once more, in place, which takes no room: so a sync
    /// makes durable what an earlier failed sync may have lost.
    ///
    /// # Errors
    ///
    /// An error of the file system, or there are not so many octets; [`io::ErrorKind::Unsupported`] if the storage
    /// cannot do it. The file is unchanged then.
    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        let _ = (name, offset, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Renames `name` to `to`, atomically replacing a file of that name.
    ///
    /// # Errors
    ///
    /// An error of the file system, or there is no `name`; nothing has changed then.
    fn rename(&self, name: &str, to: &str) -> io::Result<()>;

    /// Removes the file `name`, if there is one. A sync of any other file in its directory makes that durable.
    ///
    /// # Errors
    ///
    /// An error of the file system; nothing has changed then.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the content and the name of `name` durable, and the names of all files.
    ///
    /// # Errors
    ///
    /// An error of the file system. Any part of the content that was not durable may be lost then, now or at the next
    /// power cut, and another sync does not bring it back: the caller has to write it again.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Replaces the content of `name` by `content`, durably, by way of the file `name` with `.new` after it. At any
    /// time, also after a power cut, the file has the old content or the new; after `Ok` the new.
    ///
    /// # Errors
    ///
    /// An error of the file system. Either content may be there after the next power cut. The file with `.new` is
    /// emptied if the file system allows it, so that it takes no room on a full disk.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        let written = self.write(&new, content).and_then(|()| self.sync(&new));
        if let Err(error) = written.and_then(|()| self.rename(&new, name)) {
            // The first error is the one to report.
            let _ = self.write(&new, b"").and_then(|()| self.sync(&new));
            return Err(error);
        }
        self.sync(name)
    }

    /// As [`Storage::replace`], of a file that other processes replace, too, by [`replace_beside`].
    ///
    /// # Errors
    ///
    /// As [`Storage::replace`].
    fn replace_shared(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.replace(name, content)
    }

    /// Stores `content`, which was read from `name` and is damaged, in a file of its own, durably: `name` with
    /// `.damaged` after it, or `.damaged-2` and so on if there is such a file with other content. Returns the file's
    /// name.
    ///
    /// # Errors
    ///
    /// An error of the file system, or there are [`DAMAGED_MAX`] such files.
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

    /// Reports the current problem with `topic`, in a sentence, to a monitor if there is one; `None` if there is no
    /// problem.
    fn report(&self, topic: Topic, problem: Option<String>) {
        let _ = (topic, problem);
    }

    /// Whether the storage is known not to respond now.
    fn is_silent(&self) -> bool {
        false
    }
}

/// The largest number of damaged copies of a file.
pub const DAMAGED_MAX: usize = 8;

/// The topics of problems with stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The disk does not respond.
    Silence,
    /// The gateway's hardware addresses.
    Identity,
    /// The stored leases are damaged.
    LeasesDamaged,
    /// The stored leases cannot be read.
    LeasesUnread,
    /// Leases cannot be written.
    LeasesNotKept,
    /// The WAN's stored lease is damaged.
    WanLeaseDamaged,
    /// The WAN's lease cannot be written.
    WanLeaseNotKept,
    /// The office's stored authority is damaged.
    AuthorityDamaged,
    /// The office's own authority cannot be read or written.
    AuthorityNotKept,
    /// The servers' certificate ends soon, or its files are unusable.
    Certificate,
    /// The stored keys that sign mail are damaged.
    SigningKeysDamaged,
    /// The keys that sign mail cannot be read, made or written.
    SigningKeysNotKept,
    /// The file of trusted authorities is unusable.
    Authorities,
    /// The files of the pages' own look are unusable.
    Theme,
}

impl Topic {
    /// The log message when the problem is over.
    fn when_well(self) -> &'static str {
        match self {
            Self::Silence => "the disk answers",
            Self::Identity => "the hardware addresses are kept",
            Self::LeasesDamaged => "the leases are sound",
            Self::LeasesUnread => "the leases can be read",
            Self::LeasesNotKept => "leases are kept",
            Self::WanLeaseDamaged => "the WAN's lease is sound",
            Self::WanLeaseNotKept => "the WAN's lease is kept",
            Self::AuthorityDamaged => "the office's own authority is sound",
            Self::AuthorityNotKept => "the office's own authority is kept",
            Self::Certificate => "the certificate is good",
            Self::SigningKeysDamaged => "the keys that sign mail are sound",
            Self::SigningKeysNotKept => "the keys that sign mail are kept",
            Self::Authorities => "the file of trusted authorities is good",
            Self::Theme => "the pages have the look of admin.theme",
        }
    }
}

/// The longest part of a name, in octets.
pub const NAME_OCTETS_MAX: usize = 64;

/// The most parts of a name: directories, and the file itself.
pub const NAME_PARTS_MAX: usize = 4;

/// `name`, if it is valid for a file.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`].
pub fn checked_name(name: &str) -> io::Result<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_part = |part: &str| {
        (1..=NAME_OCTETS_MAX).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(allowed)
    };
    if name.split('/').all(is_part) && name.split('/').count() <= NAME_PARTS_MAX {
        Ok(name)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name for a file")))
    }
}

/// `name`, if it is valid for a directory: as a file's name, or empty.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`].
pub fn checked_directory(name: &str) -> io::Result<&str> {
    if name.is_empty() { Ok(name) } else { checked_name(name) }
}

/// The entries of `directory` derived from the files `names`, for a storage without directories.
pub fn list_in<'a>(directory: &str, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let inside = |name: &'a String| {
        let rest = match directory {
            "" => Some(name.as_str()),
            _ => name.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')),
        };
        rest.and_then(|rest| rest.split('/').next())
    };
    let parts: BTreeSet<_> = names.filter_map(inside).collect();
    parts.into_iter().map(str::to_owned).collect()
}

/// The part of `content` from `offset` on, `len` octets or as many as there are.
pub fn part_of(content: &[u8], offset: u64, len: usize) -> Vec<u8> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
    content[start..content.len().min(start.saturating_add(len))].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests the contract of [`Storage`], for each of its implementations.
    pub(super) fn keeps_its_promises(disk: &dyn Storage) {
        assert_eq!(disk.read("a").unwrap(), None);
        disk.append("a", b"one").unwrap();
        disk.sync("a").unwrap();
        disk.append("a", b"two").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"onetwo");
        disk.rewrite("a", 2, 3).unwrap();
        disk.sync("a").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"onetwo");
        assert!(disk.rewrite("a", 2, 5).is_err() && disk.rewrite("none", 0, 1).is_err());
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
        disk.append("mail/segments/0001", b"message").unwrap();
        disk.write("mail/checkpoint", b"").unwrap();
        disk.sync("mail/segments/0001").unwrap();
        let part = |offset, len| disk.read_at("mail/segments/0001", offset, len).unwrap().unwrap();
        assert_eq!(
            [part(0, 4), part(4, 100), part(7, 1), part(9, 1)],
            [&b"mess"[..], b"age", b"", b""].map(<[u8]>::to_vec)
        );
        assert_eq!(disk.read_at("mail/segments/0002", 0, 1).unwrap(), None);
        let lens = ["mail/segments/0001", "mail/checkpoint", "mail/none"].map(|name| disk.len(name).unwrap());
        assert_eq!(lens, [Some(7), Some(0), None]);
        assert_eq!(disk.list("").unwrap(), ["a", "b.json", "mail"]);
        assert_eq!(disk.list("mail").unwrap(), ["checkpoint", "segments"]);
        disk.rename("mail/segments/0001", "mail/old/0001").unwrap();
        disk.remove("mail/checkpoint").unwrap();
        disk.remove("mail/checkpoint").unwrap();
        disk.sync("mail/old/0001").unwrap();
        assert_eq!(disk.read("mail/checkpoint").unwrap(), None);
        assert_eq!(disk.list("mail/old").unwrap(), ["0001"]);
        assert_eq!(disk.list("mail/segments").unwrap(), [""; 0]);
        assert_eq!(disk.list("nowhere").unwrap(), [""; 0]);
        assert!(disk.space().unwrap() > 0);
        let long = "n".repeat(65);
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "/a",
            "a/",
            "a//b",
            "a/.b",
            "1/2/3/4/5",
            "../a",
            "a\0",
            "\u{e4}",
            &long,
        ] {
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
            refused(disk.remove(name));
            refused(disk.len(name).map(|_| ()));
            refused(disk.read_at(name, 0, 1).map(|_| ()));
            if !name.is_empty() {
                refused(disk.list(name).map(|_| ()));
            }
        }
    }
}
