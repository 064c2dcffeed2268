//! Files and directories of the file system that only their owner reads, by their paths.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::files::{DIRECTORY_MODE, FILE_MODE};

/// Makes a directory, and those above it that are missing. It may be there.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// Makes a directory, and those above it that are missing, durably. It may be there; then it is not made durable.
pub(crate) fn make_directory_durably(path: &Path) -> io::Result<()> {
    let made = path.ancestors().take_while(|directory| !directory.is_dir()).count();
    make_directory(path)?;
    path.ancestors().skip(1).take(made).try_for_each(sync_directory)
}

/// A file of a name that no other has.
pub(crate) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(path)
}

/// Makes durable what the files in a directory are called. The empty path is the working directory.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let is_here = path.as_os_str().is_empty();
    File::open(if is_here { Path::new(".") } else { path })?.sync_all()
}

/// What came of something that is of no concern if there is no such file.
pub(crate) fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
