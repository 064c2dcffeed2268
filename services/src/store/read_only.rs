//! A [`Storage`] that is only read.

use std::io;
use std::path::{Path, PathBuf};

use super::files::{file_len, list_files, read_part};
use super::{Storage, read_file};

/// A directory of the file system that is only read, also while another process owns it: writes of a running gateway
/// can be seen half-way. It takes no lock and creates nothing.
#[derive(Clone, Debug)]
pub struct ReadOnlyFiles {
    path: PathBuf,
}

impl ReadOnlyFiles {
    /// The directory `path`. A missing one is empty.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Storage for ReadOnlyFiles {
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
        Ok(0)
    }

    fn write(&self, _: &str, _: &[u8]) -> io::Result<()> {
        refuse()
    }

    fn append(&self, _: &str, _: &[u8]) -> io::Result<()> {
        refuse()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refuse()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refuse()
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        refuse()
    }
}

fn refuse() -> io::Result<()> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Files;

    #[test]
    fn it_reads_what_another_has_locked_and_writes_nothing() {
        let path = std::env::temp_dir().join(format!("gatepost-read-only-{}", std::process::id()));
        let files = Files::open(&path).unwrap();
        files.append("mail/segments/1", b"octets").unwrap();
        let read_only = ReadOnlyFiles::new(&path);
        assert_eq!(read_only.list("mail/segments").unwrap(), ["1"]);
        assert_eq!(read_only.read_at("mail/segments/1", 2, 9).unwrap().unwrap(), b"tets");
        assert_eq!(read_only.len("mail/segments/1").unwrap(), Some(6));
        assert_eq!(read_only.read("mail/segments/2").unwrap(), None);
        let refused = [
            read_only.write("a", b""),
            read_only.append("a", b""),
            read_only.rename("mail/segments/1", "a"),
            read_only.remove("mail/segments/1"),
            read_only.sync("mail/segments/1"),
        ];
        assert!(refused.iter().all(Result::is_err));
        assert_eq!(files.read("mail/segments/1").unwrap().unwrap(), b"octets");
        drop(files);
        std::fs::remove_dir_all(&path).unwrap();
        assert_eq!(read_only.list("").unwrap(), [""; 0]);
    }
}
