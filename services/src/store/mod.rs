//! What survives a restart.
//!
//! [`Disk`] is the little that the services need of a file system: whole files replaced at once, and
//! journals that are appended to. Either is durable when the call returns.

use std::io;

/// A directory of the gateway's own. File names are flat: no directories inside.
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
