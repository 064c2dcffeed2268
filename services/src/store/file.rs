//! Atomic replacement of a single file, wherever it is: not a file of the state directory, but one that belongs to the
//! administrator.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::FILE_MODE;
use super::private::{make_directory_durably, new_file, sync_directory};

/// The mode of a file that did not exist.
const NEW_FILE_MODE: u32 = 0o644;

/// What the names of staged files end with.
const SUFFIX: &str = ".new";

/// The number of files that this process has staged.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// A new content of a file, written durably beside it. Dropping this removes it.
#[derive(Debug)]
pub struct StagedFile {
    /// The file that is replaced: links to it are followed.
    file: PathBuf,
    new: PathBuf,
    is_put: bool,
}

impl StagedFile {
    /// Writes `content` beside the file `path`, with the mode and the owner of the file, under a name that no other
    /// staged file has: `.NAME.PROCESS-NUMBER.new`. If `path` is a symbolic link, the file to which it leads is meant.
    /// Missing directories are made.
    ///
    /// # Errors
    ///
    /// An error of the file system, or `path` is no regular file. Nothing is left behind.
    pub fn write(path: &Path, content: &[u8]) -> io::Result<Self> {
        Self::write_with(path, content, NEW_FILE_MODE)
    }

    /// As [`StagedFile::write`], for a secret: a file that did not exist is readable by its owner alone.
    ///
    /// # Errors
    ///
    /// As [`StagedFile::write`].
    pub fn write_private(path: &Path, content: &[u8]) -> io::Result<Self> {
        Self::write_with(path, content, FILE_MODE)
    }

    fn write_with(path: &Path, content: &[u8], mode_of_new: u32) -> io::Result<Self> {
        let (file, former) = match fs::canonicalize(path) {
            Ok(file) => {
                let metadata = fs::metadata(&file)?;
                if !metadata.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
                }
                (file, Some(metadata))
            }
            // A link that leads nowhere must not be replaced by a file.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
                (path.to_owned(), None)
            }
            Err(error) => return Err(error),
        };
        if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            make_directory_durably(directory)?;
        }
        let mut hidden = prefix(&file)?;
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        hidden.push(format!("{}-{number}{SUFFIX}", std::process::id()));
        let path_of_new = file.with_file_name(hidden);
        let mut new = new_file(&path_of_new)?;
        // From here on the new file is this one's to remove.
        let staged = Self { new: path_of_new, file, is_put: false };
        new.write_all(content)?;
        let mode = former.as_ref().map_or(mode_of_new, |former| former.mode() & 0o7777);
        if let Some(former) = former {
            let (user, group) = (former.uid(), former.gid());
            let own = new.metadata()?;
            if (own.uid(), own.gid()) != (user, group) {
                fchown(&new, Some(user), Some(group)).map_err(|error| foreign(error, user, group))?;
            }
        }
        new.set_permissions(Permissions::from_mode(mode))?;
        new.sync_all()?;
        Ok(staged)
    }

    /// Puts the new content in the place of the file, atomically. Returns why that is not durable yet, if the sync of
    /// the directory has failed: after a power cut the file may have its old content.
    ///
    /// # Errors
    ///
    /// An error of the file system. The file has its old content.
    pub fn put(self) -> io::Result<Option<io::Error>> {
        self.put_with(sync_directory)
    }

    fn put_with(mut self, sync: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<Option<io::Error>> {
        fs::rename(&self.new, &self.file)?;
        self.is_put = true;
        Ok(sync(self.file.parent().unwrap_or_else(|| Path::new(""))).err())
    }

    /// Removes what a process that has ended has staged for the file `path`. No process may stage one now.
    pub fn sweep(path: &Path) {
        let Ok(file) = fs::canonicalize(path) else { return };
        let (Ok(prefix), Some(directory)) = (prefix(&file), file.parent()) else { return };
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.as_bytes().strip_prefix(prefix.as_bytes());
            let number = number.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
            if number.is_some_and(|number| number.iter().all(|c| c.is_ascii_digit() || *c == b'-')) {
                // A file that cannot be removed disturbs nobody.
                _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What the names of all files begin with that are staged for `file`.
fn prefix(file: &Path) -> io::Result<OsString> {
    let mut hidden = OsString::from(".");
    hidden.push(file.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    hidden.push(".");
    Ok(hidden)
}

/// The error of a file whose owner the process must not give to another file.
fn foreign(error: io::Error, user: u32, group: u32) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    let why = format!(
        "it belongs to user {user} and group {group}, and the gateway must not give a file to them ({error}); \
         `chown` it to the gateway's user and group"
    );
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_put {
            // The next start sweeps it up.
            _ = fs::remove_file(&self.new);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatepost-file-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a free path");
            Self(fs::canonicalize(path).expect("it is there"))
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("it can be read");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
        assert!(StagedFile::write(path, content)?.put()?.is_none());
        Ok(())
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_file_keeps_its_mode_and_a_link_stays_one() {
        let folder = Folder::new("mode");
        let (real, link) = (folder.0.join("real.toml"), folder.0.join("link.toml"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real.toml", &link).unwrap();
        replace_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(folder.names(), ["link.toml", "real.toml"]);
    }

    #[test]
    fn until_it_is_put_the_file_is_as_it_was_and_what_is_dropped_is_gone() {
        let folder = Folder::new("staged");
        let path = folder.0.join("a.toml");
        fs::write(&path, "old").unwrap();
        let staged = StagedFile::write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(staged);
        assert_eq!(folder.names(), ["a.toml"]);
    }

    #[test]
    fn two_staged_files_do_not_touch_each_other() {
        let folder = Folder::new("two");
        let path = folder.0.join("a.toml");
        fs::write(&path, "old").unwrap();
        let first = StagedFile::write(&path, b"first").unwrap();
        let second = StagedFile::write(&path, b"second").unwrap();
        drop(first);
        assert!(second.put().unwrap().is_none());
        assert_eq!(
            (fs::read(&path).unwrap(), folder.names()),
            (b"second".to_vec(), vec!["a.toml".to_owned()])
        );
    }

    #[test]
    fn what_a_former_process_has_staged_is_swept_up_and_nothing_else() {
        let folder = Folder::new("sweep");
        let (path, link) = (folder.0.join("a.toml"), folder.0.join("link.toml"));
        let others = [".a.toml.mine.new", ".a.toml.swp", ".b.toml.7-0.new", "a.toml"];
        for name in others.into_iter().chain([".a.toml.7-0.new", ".a.toml.18-3.new"]) {
            fs::write(folder.0.join(name), "text").unwrap();
        }
        symlink("a.toml", &link).unwrap();
        StagedFile::sweep(&link);
        assert_eq!(folder.names(), others.into_iter().chain(["link.toml"]).collect::<Vec<_>>());
        assert_eq!(fs::read(&path).unwrap(), b"text");
    }

    #[test]
    fn after_the_rename_the_file_is_new_even_if_that_is_not_durable() {
        let folder = Folder::new("unsynced");
        let path = folder.0.join("a.toml");
        fs::write(&path, "old").unwrap();
        let staged = StagedFile::write(&path, b"new").unwrap();
        let unsynced = staged.put_with(|_| Err(io::ErrorKind::QuotaExceeded.into())).unwrap();
        assert_eq!(unsynced.map(|error| error.kind()), Some(io::ErrorKind::QuotaExceeded));
        assert_eq!((fs::read(&path).unwrap(), folder.names()), (b"new".to_vec(), vec!["a.toml".to_owned()]));
    }

    #[test]
    fn an_owner_that_cannot_be_kept_is_told_with_the_remedy() {
        let error = foreign(io::Error::from_raw_os_error(1), 7, 8).to_string();
        assert!(error.contains("user 7 and group 8") && error.contains("`chown` it"), "{error}");
        assert_eq!(foreign(io::ErrorKind::StorageFull.into(), 7, 8).kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_missing_file_is_made_with_its_directory_and_what_is_no_file_stays() {
        let folder = Folder::new("new");
        let path = folder.0.join("etc/gatepost.toml");
        replace_file(&path, b"first").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, NEW_FILE_MODE);
        replace_file(&folder.0.join("etc"), b"a directory").unwrap_err();
        let link = folder.0.join("nowhere");
        symlink("missing", &link).unwrap();
        replace_file(&link, b"").unwrap_err();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(folder.names(), ["etc", "nowhere"]);
    }
}
