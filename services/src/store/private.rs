//! Files and directories of the file system that only their owner reads, by their paths.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::files::{DIRECTORY_MODE, FILE_MODE};

/// Creates a directory and its missing parents. It may exist.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// Creates a directory and its missing parents, durably. It may exist, and is not synced then.
pub(crate) fn make_directory_durably(path: &Path) -> io::Result<()> {
    let made = path.ancestors().take_while(|directory| !directory.is_dir()).count();
    make_directory(path)?;
    path.ancestors().skip(1).take(made).try_for_each(sync_directory)
}

/// Creates a file, which must not exist.
pub(crate) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(path)
}

/// Syncs a directory, so that its files' names are durable. The empty path is the working directory.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let is_here = path.as_os_str().is_empty();
    File::open(if is_here { Path::new(".") } else { path })?.sync_all()
}

/// Ignores the error of a missing file.
pub(crate) fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
