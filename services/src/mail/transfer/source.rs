//! Files that are imported: a Maildir with its folders, an mbox, or one message.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::import::{ImportError, Importer, Meta, Sums};
use super::mbox::FROM;
use super::{Head, Parser, Sink, maildir};
use crate::mail::store::StoreError;

/// Octets that are read at a time.
const PART_OCTETS: usize = 64 << 10;

/// The kind of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory with messages and folders.
    Maildir(PathBuf),
    /// A file of messages.
    Mbox(PathBuf),
    /// One message.
    Message(PathBuf),
}

/// A skipped item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub why: String,
}

impl Source {
    /// Determines the kind of `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is of no known kind.
    pub fn find(path: &Path) -> io::Result<Self> {
        let invalid = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            let is_maildir = path.join("cur").is_dir() || path.join("new").is_dir();
            return if is_maildir {
                Ok(Self::Maildir(path.to_owned()))
            } else {
                invalid("a directory without cur and new is no Maildir")
            };
        }
        if !metadata.is_file() {
            return invalid("it is neither a file nor a directory");
        }
        let mut start = Vec::new();
        File::open(path)?.take(FROM.len() as u64).read_to_end(&mut start)?;
        match start.as_slice() {
            b"" => invalid("it is empty"),
            start if start == FROM => Ok(Self::Mbox(path.to_owned())),
            _ => Ok(Self::Message(path.to_owned())),
        }
    }

    /// Imports all of it. `now` is the time of a message without one; `progress` is called for each message. `skipped`
    /// gets the items that could not be imported, which do not stop the import.
    ///
    /// # Errors
    ///
    /// An error of the store, or the file cannot be read. Earlier messages are durable.
    pub fn import(
        &self,
        importer: &mut Importer<'_>,
        now: u64,
        progress: &mut dyn FnMut(&Sums),
        skipped: &mut Vec<Skipped>,
    ) -> Result<(), ImportError> {
        let imported = match self {
            Self::Maildir(path) => import_maildir(path, importer, now, progress, skipped),
            Self::Mbox(path) => import_mbox(path, importer, now, progress),
            Self::Message(path) => {
                import_message(path, importer, None, now).inspect(|()| progress(&importer.sums()))
            }
        };
        importer.give_up();
        // Messages before an error are stored.
        let finished = importer.finish();
        imported.and(finished)
    }
}

fn import_maildir(
    root: &Path,
    importer: &mut Importer<'_>,
    now: u64,
    progress: &mut dyn FnMut(&Sums),
    skipped: &mut Vec<Skipped>,
) -> Result<(), ImportError> {
    import_folder(root, None, importer, now, progress, skipped)?;
    for (name, path) in sorted(root)? {
        let is_folder = path.join("cur").is_dir() || path.join("new").is_dir();
        if !is_folder {
            continue;
        }
        let Some(folder) = maildir::folder_of(&name) else {
            let why = "the name of a folder's directory begins with one dot".to_owned();
            skipped.push(Skipped { file: path, why });
            continue;
        };
        match importer.folder(Some(&folder)) {
            Err(ImportError::Refused(refused @ StoreError::TooMuch(_))) => {
                skipped.push(Skipped { file: path, why: refused.to_string() });
            }
            made => {
                made?;
                import_folder(&path, Some(&folder), importer, now, progress, skipped)?;
            }
        }
    }
    Ok(())
}

fn import_folder(
    path: &Path,
    folder: Option<&str>,
    importer: &mut Importer<'_>,
    now: u64,
    progress: &mut dyn FnMut(&Sums),
    skipped: &mut Vec<Skipped>,
) -> Result<(), ImportError> {
    let mut files = sorted(&path.join("cur"))?;
    files.extend(sorted(&path.join("new"))?);
    files.sort_unstable();
    for (name, file) in files {
        if name.starts_with('.') {
            continue;
        }
        match import_message(&file, importer, folder, now) {
            Err(ImportError::Io(error)) => {
                importer.give_up();
                skipped.push(Skipped { file, why: error.to_string() });
            }
            other => other?,
        }
        progress(&importer.sums());
    }
    Ok(())
}

/// The entries of a directory by name. A missing directory is empty.
fn sorted(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        all.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    all.sort_unstable();
    Ok(all)
}

fn import_message(
    path: &Path,
    importer: &mut Importer<'_>,
    folder: Option<&str>,
    now: u64,
) -> Result<(), ImportError> {
    if !fs::symlink_metadata(path)?.is_file() {
        let why = "it is no file, or a link to one";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why).into());
    }
    let mut file = File::open(path)?;
    let changed = file.metadata()?.modified()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let since = changed.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs());
    let flags = maildir::parse(&name).1;
    let meta = Meta {
        folder: folder.map(str::to_owned),
        flags,
        time: since.unwrap_or(now),
        source: name,
        return_path: String::new(),
    };
    read_parts(&mut file, |part| importer.part(part))?;
    importer.end(&meta)
}

fn import_mbox(
    path: &Path,
    importer: &mut Importer<'_>,
    now: u64,
    progress: &mut dyn FnMut(&Sums),
) -> Result<(), ImportError> {
    struct ToImporter<'a, 'b, 'c> {
        importer: &'a mut Importer<'b>,
        name: String,
        now: u64,
        progress: &'c mut dyn FnMut(&Sums),
    }
    impl Sink for ToImporter<'_, '_, '_> {
        type Error = ImportError;

        fn part(&mut self, octets: &[u8]) -> Result<(), ImportError> {
            self.importer.part(octets)
        }

        fn end(&mut self, head: &Head) -> Result<(), ImportError> {
            let meta = Meta {
                folder: head.folder.clone().filter(|name| name != "INBOX"),
                flags: head.flags,
                time: head.time.unwrap_or(self.now),
                source: self.name.clone(),
                return_path: head.sender.clone(),
            };
            self.importer.end(&meta)?;
            (self.progress)(&self.importer.sums());
            Ok(())
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut sink = ToImporter { importer, name, now, progress };
    let mut parser = Parser::new();
    read_parts(&mut File::open(path)?, |part| parser.push(part, &mut sink))?;
    parser.finish(&mut sink)
}

fn read_parts(
    file: &mut File,
    mut take: impl FnMut(&[u8]) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut buffer = vec![0; PART_OCTETS];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => take(&buffer[..len])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
