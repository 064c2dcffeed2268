//! Atomic replacement of a file by a process other than the running gateway.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::checked_name;
use super::private::{if_there, make_directory_durably, new_file, sync_directory};

/// Replaces the content of the file `name` in the directory `path` by `content`, durably, and makes missing
/// directories. `name` has a directory of its own below `path`, which only this function writes to: concurrent
/// replacements there wait for each other. At any time, also after a power cut, the file has the old content or the
/// new.
///
/// # Errors
///
/// An error of the file system, or `name` has no directory. The old content remains, except that after a failed sync of
/// a directory either content may be there after the next power cut.
pub fn replace_beside(path: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let file = path.join(checked_name(name)?);
    let directory = file.parent().filter(|directory| *directory != path);
    let directory = directory.ok_or(io::ErrorKind::InvalidInput)?;
    make_directory_durably(directory)?;
    let held = File::open(directory)?;
    held.lock()?;
    let new = path.join(format!("{name}.new"));
    let written = || {
        // A file left by a power cut or restored from a backup may have another owner and mode.
        if_there(fs::remove_file(&new))?;
        let mut new = new_file(&new)?;
        new.write_all(content)?;
        new.sync_all()
    };
    if let Err(error) = written().and_then(|()| fs::rename(&new, &file)) {
        // The first error is the one to report.
        _ = fs::remove_file(&new);
        return Err(error);
    }
    held.sync_all()?;
    // The process that made the directory may not have synced its name.
    sync_directory(path)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::files::FILE_MODE;

    #[test]
    fn what_cannot_be_replaced_stays_and_nothing_is_left_behind() {
        let path = std::env::temp_dir().join(format!("gatepost-beside-{}", std::process::id()));
        replace_beside(&path, "own/a", b"one").unwrap();
        replace_beside(&path, "own/a", b"two").unwrap();
        assert_eq!(fs::read(path.join("own/a")).unwrap(), b"two");
        fs::write(path.join("own/a.new"), b"what was left").unwrap();
        fs::set_permissions(path.join("own/a.new"), Permissions::from_mode(0o644)).unwrap();
        replace_beside(&path, "own/a", b"three").unwrap();
        assert_eq!(fs::read(path.join("own/a")).unwrap(), b"three");
        let mode = fs::metadata(path.join("own/a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE, "nobody else reads it");
        fs::create_dir(path.join("own/b")).unwrap();
        replace_beside(&path, "own/b", b"a directory has this name").unwrap_err();
        assert!(!path.join("own/b.new").exists());
        for name in ["a", "../a", "own/../a", "own/.a"] {
            assert_eq!(replace_beside(&path, name, b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        fs::remove_dir_all(&path).unwrap();
    }
}
