//! Atomic replacement of a single file, wherever it is: not a file of the state directory, but one that belongs to the
//! administrator.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::private::{if_there, make_directory_durably, sync_directory};

/// The mode of a file that did not exist.
const NEW_FILE_MODE: u32 = 0o644;

/// A new content of a file, written durably beside it. Dropping this removes it.
#[derive(Debug)]
pub struct StagedFile {
    /// The file that is replaced: links to it are followed.
    file: PathBuf,
    new: PathBuf,
    is_put: bool,
}

impl StagedFile {
    /// Writes `content` beside the file `path`: `.NAME.new`, with the mode and the owner of the file. If `path` is a
    /// symbolic link, the file to which it leads is meant. Missing directories are made.
    ///
    /// # Errors
    ///
    /// An error of the file system, or `path` is no regular file. Nothing is left behind.
    pub fn write(path: &Path, content: &[u8]) -> io::Result<Self> {
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
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            make_directory_durably(directory)?;
        }
        let staged = Self { new: file.with_file_name(hidden), file, is_put: false };
        if_there(fs::remove_file(&staged.new))?;
        let mut new = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&staged.new)?;
        new.write_all(content)?;
        let mode = former.as_ref().map_or(NEW_FILE_MODE, |former| former.mode() & 0o7777);
        if let Some(former) = former {
            let (user, group) = (former.uid(), former.gid());
            let own = new.metadata()?;
            if (own.uid(), own.gid()) != (user, group) {
                fchown(&new, Some(user), Some(group))?;
            }
        }
        new.set_permissions(Permissions::from_mode(mode))?;
        new.sync_all()?;
        Ok(staged)
    }

    /// The file that is replaced.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Puts the new content in the place of the file, atomically and durably.
    ///
    /// # Errors
    ///
    /// An error of the file system. The file has its old content; but if only the last step has failed, the sync of
    /// the directory, it has the new one, and either after a power cut.
    pub fn put(mut self) -> io::Result<()> {
        fs::rename(&self.new, &self.file)?;
        self.is_put = true;
        sync_directory(self.file.parent().unwrap_or_else(|| Path::new("")))
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_put {
            // The next one replaces it.
            _ = fs::remove_file(&self.new);
        }
    }
}

/// Replaces the content of the file `path` by `content`, atomically and durably: at any time, also after a power cut,
/// it has the old content or the new. Mode, owner and symbolic links stay.
///
/// # Errors
///
/// As [`StagedFile::write`] and [`StagedFile::put`].
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    StagedFile::write(path, content)?.put()
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
        assert_eq!((fs::read(&path).unwrap(), staged.file()), (b"old".to_vec(), path.as_path()));
        drop(staged);
        assert_eq!(folder.names(), ["a.toml"]);
        fs::write(folder.0.join(".a.toml.new"), "left behind").unwrap();
        StagedFile::write(&path, b"new").unwrap().put().unwrap();
        assert_eq!((fs::read(&path).unwrap(), folder.names()), (b"new".to_vec(), vec!["a.toml".to_owned()]));
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
