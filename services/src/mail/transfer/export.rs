//! A mailbox as files of other programs.
//!
//! The store is only read, and a gateway may be running: a message that moves meanwhile is looked up again, and a
//! removed one is skipped. An unreadable message is reported, and the others are written.
//!
//! A Maildir can be exported to again: existing messages get their current flags, new ones are added. Messages that
//! were removed from the mailbox stay there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::unistd::syncfs;

use super::lines::ToLf;
use super::reader::mailbox_named;
use super::{maildir, mbox};
use crate::mail::store::{
    Entry, FolderId, INBOX, Mailbox, Message, Recovered, Uid, Unreadable, each_body_part, recover,
};
use crate::store::{Storage, if_there, make_directory, new_file, sync_directory};

/// Messages of a Maildir that are made durable together, and their octets.
const BATCH_MAX: usize = 1000;
const BATCH_OCTETS_MAX: u64 = 64 << 20;
/// How often a message that has moved is looked up again.
const LOOKUPS_MAX: usize = 3;

/// The counts of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages that were written.
    pub exported: u64,
    /// Their octets in the store.
    pub octets: u64,
    /// Messages that were there already.
    pub unchanged: u64,
    /// Messages that cannot be read, and why.
    pub unreadable: Vec<(Uid, String)>,
}

/// Why nothing more is exported.
#[derive(Debug)]
pub enum ExportError {
    /// There is no such mailbox, but these.
    NoMailbox(Vec<String>),
    /// The store cannot be read.
    Store(io::Error),
    /// The files cannot be written.
    Output(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMailbox(names) if names.is_empty() => f.write_str("there is no mailbox yet"),
            Self::NoMailbox(names) => write!(f, "there is no such mailbox, but {}", names.join(", ")),
            Self::Store(error) => write!(f, "the mail store cannot be read: {error}"),
            Self::Output(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExportError {}

/// Why a message is not written.
enum Failed {
    Unreadable(Unreadable),
    Output(io::Error),
}

impl From<Unreadable> for Failed {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

/// The destination.
#[derive(Debug)]
pub enum Output {
    /// A directory.
    Maildir(MaildirOutput),
    /// A file.
    Mbox(MboxOutput),
}

impl Output {
    /// A Maildir, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made, or there is a directory that has something else in it.
    pub fn maildir(path: &Path) -> io::Result<Self> {
        make_directory(path)?;
        if !path.join("cur").is_dir() && fs::read_dir(path)?.next().is_some() {
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "it is no Maildir, and not empty"));
        }
        Ok(Self::Maildir(MaildirOutput {
            root: path.to_owned(),
            folders: BTreeMap::new(),
            open: None,
            waiting: Vec::new(),
            waiting_octets: 0,
        }))
    }

    /// An mbox, which has the name once it is complete.
    ///
    /// # Errors
    ///
    /// It cannot be made, or there is a file of that name.
    pub fn mbox(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(is_there(path));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = new_file(&part).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => is_there(&part),
            _ => error,
        })?;
        let writer = mbox::Writer::new(BufWriter::with_capacity(256 << 10, file));
        Ok(Self::Mbox(MboxOutput { path: path.to_owned(), part, writer, start: 0, is_finished: false }))
    }

    fn begin(&mut self, item: &Item<'_>) -> io::Result<()> {
        match self {
            Self::Maildir(maildir) => maildir.begin(item),
            Self::Mbox(mbox) => mbox.begin(item),
        }
    }

    fn part(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Maildir(maildir) => maildir.part(octets),
            Self::Mbox(mbox) => mbox.writer.part(octets),
        }
    }

    fn end(&mut self, item: &Item<'_>) -> io::Result<()> {
        match self {
            Self::Maildir(maildir) => maildir.end(item),
            Self::Mbox(mbox) => mbox.writer.end(),
        }
    }

    fn give_up(&mut self) -> io::Result<()> {
        match self {
            Self::Maildir(maildir) => maildir.open.take().map_or(Ok(()), |open| fs::remove_file(open.path)),
            Self::Mbox(mbox) => mbox.give_up(),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Maildir(maildir) => maildir.settle().and_then(|()| maildir.sync()),
            Self::Mbox(mbox) => mbox.finish(),
        }
    }
}

/// A message that is to be written.
struct Item<'a> {
    entry: &'a Entry,
    uid_validity: u32,
    folder: &'a str,
    return_path: &'a str,
}

impl Item<'_> {
    fn base_name(&self) -> String {
        maildir::base_name(self.entry.time, self.uid_validity, self.entry.uid)
    }
}

/// A Maildir that is written to.
#[derive(Debug)]
pub struct MaildirOutput {
    root: PathBuf,
    folders: BTreeMap<FolderId, FolderOutput>,
    open: Option<OpenFile>,
    /// Files that are not durable, with their final names.
    waiting: Vec<(PathBuf, PathBuf)>,
    waiting_octets: u64,
}

#[derive(Debug)]
struct FolderOutput {
    path: PathBuf,
    /// The messages that were there, without their flags: their subdirectories and names.
    there: BTreeMap<String, (&'static str, String)>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: BufWriter<File>,
    lines: ToLf,
}

impl MaildirOutput {
    fn folder(&mut self, id: FolderId, name: &str) -> io::Result<()> {
        let path = match maildir::directory_of(name) {
            _ if id == INBOX => self.root.clone(),
            Some(directory) => self.root.join(directory),
            None => self.root.join(format!(".folder-{}", id.0)),
        };
        make_directory(&path)?;
        let mut there = BTreeMap::new();
        for sub in ["tmp", "new", "cur"] {
            make_directory(&path.join(sub))?;
            for file in fs::read_dir(path.join(sub))? {
                let Ok(file) = file?.file_name().into_string() else { continue };
                if sub != "tmp" {
                    there.insert(maildir::parse(&file).0.to_owned(), (sub, file));
                }
            }
        }
        if id != INBOX {
            // So Maildir++ marks a folder.
            match new_file(&path.join("maildirfolder")) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        self.folders.insert(id, FolderOutput { path, there });
        Ok(())
    }

    /// Whether the message exists. It gets its current flags.
    fn is_there(&mut self, item: &Item<'_>) -> io::Result<bool> {
        let Some(folder) = self.folders.get(&item.entry.folder) else { return Ok(false) };
        let base = item.base_name();
        let Some((sub, name)) = folder.there.get(&base) else { return Ok(false) };
        let now = maildir::place(&base, item.entry.flags);
        if (*sub, name) != (now.0, &now.1) {
            fs::rename(folder.path.join(sub).join(name), folder.path.join(now.0).join(now.1))?;
        }
        Ok(true)
    }

    fn begin(&mut self, item: &Item<'_>) -> io::Result<()> {
        let folder = self.folders.get(&item.entry.folder).map_or(&self.root, |folder| &folder.path);
        let path = folder.join("tmp").join(item.base_name());
        // An export that was cut short may have left one.
        if_there(fs::remove_file(&path))?;
        let file = BufWriter::with_capacity(64 << 10, new_file(&path)?);
        self.open = Some(OpenFile { path, file, lines: ToLf::default() });
        Ok(())
    }

    fn part(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut text = Vec::with_capacity(octets.len());
        open.lines.push(octets, &mut text);
        open.file.write_all(&text)
    }

    fn end(&mut self, item: &Item<'_>) -> io::Result<()> {
        let Some(OpenFile { path, mut file, mut lines }) = self.open.take() else { return Ok(()) };
        let mut rest = Vec::new();
        lines.finish(&mut rest);
        file.write_all(&rest)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(item.entry.time))?;
        let (sub, name) = maildir::place(&item.base_name(), item.entry.flags);
        let folder = self.folders.get(&item.entry.folder).map_or(&self.root, |folder| &folder.path);
        self.waiting.push((path, folder.join(sub).join(name)));
        self.waiting_octets += item.entry.size;
        let is_batch = self.waiting.len() >= BATCH_MAX || self.waiting_octets >= BATCH_OCTETS_MAX;
        if is_batch { self.settle() } else { Ok(()) }
    }

    /// Renames the files once they are durable: a final name never has a part of a message.
    fn settle(&mut self) -> io::Result<()> {
        self.sync()?;
        self.waiting_octets = 0;
        mem::take(&mut self.waiting).iter().try_for_each(|(from, to)| fs::rename(from, to))
    }

    fn sync(&self) -> io::Result<()> {
        syncfs(File::open(&self.root)?).map_err(Into::into)
    }
}

/// An mbox that is written to.
#[derive(Debug)]
pub struct MboxOutput {
    path: PathBuf,
    part: PathBuf,
    writer: mbox::Writer<BufWriter<File>>,
    /// The offset of the message.
    start: u64,
    /// Whether it has its name.
    is_finished: bool,
}

impl MboxOutput {
    fn begin(&mut self, item: &Item<'_>) -> io::Result<()> {
        self.start = self.writer.get_mut().stream_position()?;
        self.writer.begin(item.return_path, item.entry.time, item.entry.flags, item.folder)
    }

    fn give_up(&mut self) -> io::Result<()> {
        let file = self.writer.get_mut();
        file.seek(io::SeekFrom::Start(self.start))?;
        file.get_ref().set_len(self.start)
    }

    fn finish(&mut self) -> io::Result<()> {
        let file = self.writer.get_mut();
        file.flush()?;
        file.get_ref().sync_all()?;
        // A rename would replace a file created meanwhile.
        match fs::hard_link(&self.part, &self.path) {
            Ok(()) => fs::remove_file(&self.part)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(is_there(&self.path)),
            // Not every file system has links.
            Err(_) => fs::rename(&self.part, &self.path)?,
        }
        self.is_finished = true;
        sync_directory(self.path.parent().unwrap_or(Path::new("/")))
    }
}

fn is_there(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", path.display()))
}

impl Drop for MboxOutput {
    fn drop(&mut self) {
        if !self.is_finished {
            // The remains are useless and harmless.
            _ = fs::remove_file(&self.part);
        }
    }
}

/// Exports the mailbox `name`. `progress` is called for each message.
///
/// # Errors
///
/// There is no such mailbox, the store cannot be read, or the files cannot be written.
pub fn export(
    disk: &dyn Storage,
    name: &str,
    output: &mut Output,
    mut progress: impl FnMut(&Sums),
) -> Result<Sums, ExportError> {
    let mut recovered = recover(disk).map_err(ExportError::Store)?;
    let mailbox = mailbox_named(&recovered, name)?.clone();
    let state = mailbox.state();
    if let Output::Maildir(maildir) = output {
        for (id, folder) in (0..).zip(&state.folders) {
            maildir.folder(FolderId(id), folder).map_err(ExportError::Output)?;
        }
    }
    let mut sums = Sums::default();
    for entry in mailbox.entries() {
        let folder = state.folders.get(usize::from(entry.folder.0)).map_or("INBOX", String::as_str);
        let uid_validity = state.uid_validity;
        if let Output::Maildir(maildir) = output
            && maildir
                .is_there(&Item { entry, uid_validity, folder, return_path: "" })
                .map_err(ExportError::Output)?
        {
            sums.unchanged += 1;
            continue;
        }
        // Its current position.
        let mut place = mailbox_named(&recovered, name)?.entry(entry.uid).copied();
        let mut lookups = 0;
        while let Some(entry) = place.take() {
            let item = Item { entry: &entry, uid_validity, folder, return_path: "" };
            match write(disk, &recovered, &mailbox, item, output) {
                Ok(()) => {
                    sums.exported += 1;
                    sums.octets += entry.size;
                }
                Err(Failed::Output(error)) => return Err(ExportError::Output(error)),
                Err(Failed::Unreadable(Unreadable::Gone)) if lookups < LOOKUPS_MAX => {
                    lookups += 1;
                    recovered = recover(disk).map_err(ExportError::Store)?;
                    place = mailbox_named(&recovered, name)?.entry(entry.uid).copied();
                }
                Err(Failed::Unreadable(why)) => sums.unreadable.push((entry.uid, why.to_string())),
            }
        }
        progress(&sums);
    }
    output.finish().map_err(ExportError::Output)?;
    Ok(sums)
}

fn write(
    disk: &dyn Storage,
    recovered: &Recovered,
    mailbox: &Mailbox,
    item: Item<'_>,
    output: &mut Output,
) -> Result<(), Failed> {
    let message: Message = recovered.message(disk, mailbox.state().id, item.entry)?;
    let item = Item { return_path: &message.accept.return_path, ..item };
    output.begin(&item).map_err(Failed::Output)?;
    let written = output
        .part(&message.prefix)
        .map_err(Failed::Output)
        .and_then(|()| each_body_part(disk, &message.body, |part| output.part(part).map_err(Failed::Output)));
    match written {
        Ok(()) => output.end(&item).map_err(Failed::Output),
        Err(error) => {
            output.give_up().map_err(Failed::Output)?;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// An empty directory, which goes with this.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatepost-export-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn no_file_is_written_to_that_was_there() {
        let directory = Directory::new("there");
        let other = directory.0.join("other");
        fs::write(&other, "of somebody").unwrap();
        symlink(&other, directory.0.join("box.part")).unwrap();
        let refused = Output::mbox(&directory.0.join("box")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(refused.to_string().contains("box.part is there"), "{refused}");
        let path = directory.0.join("late");
        let mut output = Output::mbox(&path).unwrap();
        fs::write(&path, "of somebody").unwrap();
        assert_eq!(output.finish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(output);
        for file in [&other, &path] {
            assert_eq!(fs::read(file).unwrap(), b"of somebody");
        }
        assert_eq!(directory.names(), ["box.part", "late", "other"]);
    }

    #[test]
    fn an_export_that_fails_leaves_no_part_of_a_file() {
        let directory = Directory::new("fails");
        let mut output = Output::mbox(&directory.0.join("box")).unwrap();
        let disk = crate::store::Memory::new();
        assert!(matches!(export(&disk, "anna", &mut output, |_| {}), Err(ExportError::NoMailbox(_))));
        drop(output);
        assert_eq!(directory.names(), [""; 0]);
        let mut output = Output::mbox(&directory.0.join("box")).unwrap();
        output.finish().unwrap();
        drop(output);
        assert_eq!(directory.names(), ["box"]);
    }
}
