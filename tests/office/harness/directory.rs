//! Directories of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::namespace::unique;

/// A directory, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes an empty directory.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-test-{}", unique()));
        fs::create_dir(&path).expect("a temporary directory can be made");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes an executable file and returns its path.
    pub fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;

        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("it is in the directory")).expect("it can be made");
        fs::write(&path, format!("#!/bin/sh\n{text}")).expect("a script can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script can be made one");
        path.display().to_string()
    }

    /// The content of the file `name`; empty if there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}
