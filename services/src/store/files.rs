//! A [`Storage`] over a directory of the file system.
//!
//! A written file stays open until it is synced, so that its write-back error reaches the caller of the sync. One
//! process at a time owns the directory, by locks that end with the process: of the directory itself, and of a file in
//! it, if there is one. A disk without inodes has no room for the file, and not every file system locks directories;
//! either lock keeps a second gateway out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::fcntl::OFlag;
use nix::sys::statvfs::fstatvfs;

use super::private::{make_directory, make_directory_durably};
use super::{NAME_PARTS_MAX, Storage, checked_directory, checked_name, replace_beside};

/// The lock file, locked while the directory is in use.
const LOCK_FILE: &str = ".lock";
/// The mode of the directory: access for the gateway's own user only.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;
pub(crate) const FILE_MODE: u32 = 0o600;

/// A directory that this process uses exclusively until the value is dropped.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    directory: File,
    /// The files with unsynced content.
    unsynced: Mutex<BTreeMap<String, File>>,
    /// The directories in which a file may have been created, removed or renamed since their last sync.
    names_changed: Mutex<BTreeSet<PathBuf>>,
    /// Locked while directories are synced, so that no caller takes a name for durable while another's sync is pending.
    syncing_names: Mutex<()>,
    _lock: Option<File>,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another process uses it, such as a second gateway.
    InUse,
    /// An error of the file system.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("in use by another gateway"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Files {
    /// Opens and locks the directory `path`, creating it for its owner only if it is missing. A read-only or full
    /// directory can be opened, too, and read.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] if another process (or another `Files`) holds it, else the file system's error.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        make_directory_durably(path)?;
        let directory = File::open(path)?;
        let of_directory = directory.try_lock();
        if matches!(of_directory, Err(TryLockError::WouldBlock)) {
            return Err(OpenError::InUse);
        }
        let lock = match lock_file(path) {
            Ok(file) => match (file.try_lock(), of_directory) {
                (Err(TryLockError::WouldBlock), _) => return Err(OpenError::InUse),
                (Err(TryLockError::Error(error)), Err(_)) => return Err(error.into()),
                _ => Some(file),
            },
            Err(error) if of_directory.is_err() => return Err(error.into()),
            Err(_) => None,
        };
        Ok(Self {
            path: path.to_owned(),
            directory,
            unsynced: Mutex::default(),
            // The former process may have left names unsynced.
            names_changed: Mutex::new(directories_in(path)),
            syncing_names: Mutex::default(),
            _lock: lock,
        })
    }

    fn add(&self, options: &mut OpenOptions, name: &str, octets: &[u8]) -> io::Result<()> {
        let path = self.path.join(checked_name(name)?);
        let mut file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_directory_of(name)?;
                let made = options.create_new(true).mode(FILE_MODE).open(&path)?;
                self.note_name(name);
                made
            }
            opened => opened?,
        };
        let written = file.write_all(octets);
        lock(&self.unsynced).insert(name.to_owned(), file);
        written
    }

    fn make_directory_of(&self, name: &str) -> io::Result<()> {
        match Path::new(name).parent() {
            Some(parent) if parent != Path::new("") => make_directory(&self.path.join(parent)),
            _ => Ok(()),
        }
    }

    /// Notes that `name` was created, removed or replaced, perhaps together with its directories.
    fn note_name(&self, name: &str) {
        let directories = Path::new(name).ancestors().skip(1).map(Path::to_owned);
        lock(&self.names_changed).extend(directories);
    }

    fn sync_names(&self) -> io::Result<()> {
        let _syncing = lock(&self.syncing_names);
        let changed = mem::take(&mut *lock(&self.names_changed));
        let synced = changed.iter().try_for_each(|directory| match directory.as_os_str().is_empty() {
            true => self.directory.sync_all(),
            false => File::open(self.path.join(directory))?.sync_all(),
        });
        if synced.is_err() {
            lock(&self.names_changed).extend(changed);
        }
        synced
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Maps the error of a missing file to `None`.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The directory `path` and all directories below it, relative to it. Unreadable ones are left out.
fn directories_in(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([PathBuf::new()]);
    let mut level = vec![PathBuf::new()];
    for _ in 1..NAME_PARTS_MAX {
        let inside = level.iter().flat_map(|directory| {
            let entries = fs::read_dir(path.join(directory)).into_iter().flatten().flatten();
            let is_directory = |entry: &DirEntry| {
                // It may be a link to a directory.
                !entry.file_type().is_ok_and(|kind| kind.is_file()) && fs::read_dir(entry.path()).is_ok()
            };
            entries.filter(is_directory).map(|entry| directory.join(entry.file_name()))
        });
        level = inside.collect();
        found.extend(level.iter().cloned());
    }
    found
}

/// The lock file of the directory `path`.
fn lock_file(path: &Path) -> io::Result<File> {
    let file = path.join(LOCK_FILE);
    let created = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(&file);
    // If the directory takes no new file, the lock file of a former process serves.
    created.or_else(|_| File::open(&file))
}

/// A directory that could not be opened when the process started. Each use tries again until one succeeds; users wait
/// between two tries.
#[derive(Debug)]
pub struct DeferredFiles {
    path: PathBuf,
    files: OnceLock<Files>,
    opening: Mutex<()>,
}

impl DeferredFiles {
    /// The directory `path`, which is not opened yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), files: OnceLock::new(), opening: Mutex::default() }
    }

    fn files(&self) -> io::Result<&Files> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let _opening = lock(&self.opening);
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let files = Files::open(&self.path).map_err(|error| match error {
            OpenError::InUse => io::Error::new(io::ErrorKind::ResourceBusy, error.to_string()),
            OpenError::Io(error) => error,
        })?;
        tracing::info!("the state directory {} can be used now", self.path.display());
        Ok(self.files.get_or_init(|| files))
    }
}

impl Storage for DeferredFiles {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.files()?.read(name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        self.files()?.read_at(name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.files()?.len(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.files()?.list(name)
    }

    fn space(&self) -> io::Result<u64> {
        self.files()?.space()
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files()?.write(name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        self.files()?.append(name, record)
    }

    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        self.files()?.rewrite(name, offset, len)
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.files()?.rename(name, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files()?.remove(name)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.files()?.sync(name)
    }

    fn replace_shared(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files()?.replace_shared(name, content)
    }
}

/// Opens the regular file at `path` for reading, without blocking on others, such as a FIFO.
///
/// # Errors
///
/// An error of the file system, or the file is no regular one.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// The content of the file `name` in the directory `path`, without the directory's lock; `None` if there is no such
/// file.
///
/// # Errors
///
/// An error of the file system.
pub fn read_file(path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    if_there(fs::read(path.join(checked_name(name)?)))
}

/// [`Storage::read_at`] of the file `name` in the directory `path`.
pub(super) fn read_part(path: &Path, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = if_there(File::open(path.join(checked_name(name)?)))? else { return Ok(None) };
    let left = usize::try_from(file.metadata()?.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut octets = vec![0; len.min(left)];
    file.read_exact_at(&mut octets, offset)?;
    Ok(Some(octets))
}

/// [`Storage::len`] of the file `name` in the directory `path`.
pub(super) fn file_len(path: &Path, name: &str) -> io::Result<Option<u64>> {
    let metadata = if_there(fs::metadata(path.join(checked_name(name)?)))?;
    Ok(metadata.map(|metadata| metadata.len()))
}

/// [`Storage::list`] of the directory `name` in the directory `path`.
pub(super) fn list_files(path: &Path, name: &str) -> io::Result<Vec<String>> {
    let Some(entries) = if_there(fs::read_dir(path.join(checked_directory(name)?)))? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        // This leaves out the lock file and files that are not the gateway's.
        names.extend(entry?.file_name().into_string().ok().filter(|name| checked_name(name).is_ok()));
    }
    names.sort();
    Ok(names)
}

impl Storage for Files {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        read_file(&self.path, name)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        read_part(&self.path, name, offset, len)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        file_len(&self.path, name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        list_files(&self.path, name)
    }

    fn space(&self) -> io::Result<u64> {
        let statistics = fstatvfs(&self.directory)?;
        Ok(statistics.blocks_available().saturating_mul(statistics.fragment_size()))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.add(OpenOptions::new().write(true).truncate(true), name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        self.add(OpenOptions::new().append(true), name, record)
    }

    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(checked_name(name)?))?;
        let mut octets = vec![0; len];
        file.read_exact_at(&mut octets, offset)?;
        let written = file.write_all_at(&octets, offset);
        lock(&self.unsynced).insert(name.to_owned(), file);
        written
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let (from, into) = (self.path.join(checked_name(name)?), self.path.join(checked_name(to)?));
        self.make_directory_of(to)?;
        fs::rename(from, into)?;
        self.note_name(name);
        self.note_name(to);
        let mut unsynced = lock(&self.unsynced);
        unsynced.remove(to);
        if let Some(file) = unsynced.remove(name) {
            unsynced.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn replace_shared(&self, name: &str, content: &[u8]) -> io::Result<()> {
        replace_beside(&self.path, name, content)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if if_there(fs::remove_file(self.path.join(checked_name(name)?)))?.is_some() {
            self.note_name(name);
            lock(&self.unsynced).remove(name);
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let file = lock(&self.unsynced).remove(checked_name(name)?);
        // A former process may have written it.
        let file = file.map_or_else(|| if_there(File::open(self.path.join(name))), |file| Ok(Some(file)))?;
        file.map_or(Ok(()), |file| file.sync_data())?;
        self.sync_names()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory that is removed when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatepost-{test}-{}", std::process::id()));
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("the test's own directory");
        }
    }

    #[test]
    fn it_keeps_what_every_disk_must() {
        let scratch = Scratch::new("promises");
        crate::store::tests::keeps_its_promises(&Files::open(&scratch.0).unwrap());
    }

    #[test]
    fn content_survives_reopening() {
        let scratch = Scratch::new("reopening");
        let files = Files::open(&scratch.0).unwrap();
        files.replace("state", b"one\n").unwrap();
        files.append("state", b"two\n").unwrap();
        drop(files);
        let files = Files::open(&scratch.0).unwrap();
        assert_eq!(files.read("state").unwrap().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_second_user_is_refused_until_the_first_has_gone() {
        let scratch = Scratch::new("lock");
        let first = Files::open(&scratch.0).unwrap();
        assert!(matches!(Files::open(&scratch.0), Err(OpenError::InUse)));
        drop(first);
        assert!(Files::open(&scratch.0).is_ok());
    }

    #[test]
    fn a_second_user_is_refused_also_if_the_first_has_found_no_place_for_the_lock() {
        use std::os::unix::fs::symlink;

        let scratch = Scratch::new("inodes");
        fs::create_dir(&scratch.0).unwrap();
        // As on a disk without inodes.
        symlink("nowhere/lock", scratch.0.join(LOCK_FILE)).unwrap();
        let first = Files::open(&scratch.0).unwrap();
        assert!(matches!(Files::open(&scratch.0), Err(OpenError::InUse)));
        fs::remove_file(scratch.0.join(LOCK_FILE)).unwrap();
        assert!(matches!(Files::open(&scratch.0), Err(OpenError::InUse)), "there is room again");
        drop(first);
        let second = Files::open(&scratch.0).unwrap();
        assert!(scratch.0.join(LOCK_FILE).exists());
        // Former versions lock only the file.
        assert!(File::open(scratch.0.join(LOCK_FILE)).unwrap().try_lock().is_err());
        drop(second);
    }

    #[test]
    fn a_directory_that_comes_late_is_taken_with_the_first_use() {
        let scratch = Scratch::new("late");
        fs::create_dir(&scratch.0).unwrap();
        let path = scratch.0.join("state");
        fs::write(&path, "a file").unwrap();
        let late = DeferredFiles::new(&path);
        assert!(late.read("leases").is_err() && late.append("leases", b"one").is_err());
        fs::remove_file(&path).unwrap();
        let other = Files::open(&path).unwrap();
        assert_eq!(late.read("leases").unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(other);
        crate::store::tests::keeps_its_promises(&late);
        assert!(matches!(Files::open(&path), Err(OpenError::InUse)));
    }

    #[test]
    fn a_directory_is_synced_with_the_file_that_came_into_it_and_again_if_that_failed() {
        let scratch = Scratch::new("names");
        let files = Files::open(&scratch.0).unwrap();
        let unsynced = || lock(&files.names_changed).iter().cloned().collect::<Vec<_>>();
        let both = ["", "mail"].map(PathBuf::from);
        assert_eq!(unsynced(), both[..1], "who was here before may not have synced it");
        files.append("mail/1", b"one").unwrap();
        assert_eq!(unsynced(), both);
        files.sync("mail/1").unwrap();
        assert!(unsynced().is_empty());
        files.append("mail/1", b"two").unwrap();
        assert!(unsynced().is_empty(), "no name has changed");
        files.append("mail/2", b"one").unwrap();
        fs::rename(scratch.0.join("mail"), scratch.0.join("away")).unwrap();
        assert!(files.sync("mail/2").is_err());
        assert_eq!(unsynced(), both);
        fs::rename(scratch.0.join("away"), scratch.0.join("mail")).unwrap();
        files.sync("mail/2").unwrap();
        assert!(unsynced().is_empty());
    }

    #[test]
    fn below_a_file_there_is_nothing() {
        let scratch = Scratch::new("below");
        let files = Files::open(&scratch.0).unwrap();
        files.append("file", b"one").unwrap();
        assert_eq!(files.read("file/1").unwrap(), None);
        files.remove("file/1").unwrap();
    }

    #[test]
    fn only_its_owner_can_read() {
        let scratch = Scratch::new("modes");
        let files = Files::open(&scratch.0.join("inner")).unwrap();
        files.replace("replaced", b"").unwrap();
        files.append("appended", b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
        for name in ["", "replaced", "appended", LOCK_FILE] {
            assert_eq!(mode(&scratch.0.join("inner").join(name)), 0, "{name}");
        }
    }

    #[test]
    fn remains_of_an_interrupted_replacement_do_no_harm() {
        let scratch = Scratch::new("remains");
        let files = Files::open(&scratch.0).unwrap();
        files.replace("state", b"old").unwrap();
        fs::write(scratch.0.join("state.new"), b"half of something much longer").unwrap();
        assert_eq!(files.read("state").unwrap().unwrap(), b"old");
        files.replace("state", b"new").unwrap();
        assert_eq!(files.read("state").unwrap().unwrap(), b"new");
    }
}
