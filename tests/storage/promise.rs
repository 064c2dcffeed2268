//! The guarantees of [`Storage`](gatepost_services::store::Storage) about power cuts, as a model without system calls:
//! files by their names, and changes since the last sync.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::Operation;

/// The possible states after a power cut: the contents of each file.
pub type Left = BTreeMap<String, BTreeSet<Vec<u8>>>;

type Names = BTreeMap<String, usize>;

/// The allowed states after a power cut.
#[derive(Debug, Default)]
pub struct Promises {
    files: Vec<File>,
    names: Names,
    /// The durable names, and atomic changes since.
    synced_names: Names,
    changes: Vec<Vec<(String, Option<usize>)>>,
}

#[derive(Debug, Default)]
struct File {
    content: Vec<u8>,
    synced: Vec<u8>,
    /// It was rewritten since the last sync, or has no guarantee: it holds anything.
    is_open: bool,
}

impl File {
    fn allows(&self, left: &[u8]) -> bool {
        let is_written = |(octet, written): (&u8, &u8)| octet == written || *octet == 0;
        let appended = || left.iter().zip(&self.content).skip(self.synced.len()).all(is_written);
        let is_between = || left.len() <= self.content.len() && left.starts_with(&self.synced);
        self.is_open || (is_between() && appended())
    }
}

impl Promises {
    /// An operation begins.
    pub fn begin(&mut self, operation: &Operation) {
        match operation {
            Operation::Write(name, content) => {
                let file = self.file(name);
                file.content = content.as_bytes().to_vec();
                file.is_open = true;
            }
            Operation::Append(name, record) => self.file(name).content.extend(record.as_bytes()),
            Operation::Rename(name, to) => {
                if let Some(file) = self.names.get(name).copied() {
                    self.change(vec![(name.clone(), None), (to.clone(), Some(file))]);
                }
            }
            Operation::Remove(name) => {
                if self.names.contains_key(name) {
                    self.change(vec![(name.clone(), None)]);
                }
            }
            Operation::Replace(name, content) => {
                let new = format!("{name}.new");
                // The temporary file of the replacement has no guarantee.
                self.file(&new).is_open = true;
                let content = content.as_bytes().to_vec();
                self.files.push(File { synced: content.clone(), content, is_open: false });
                self.change(vec![(new, None), (name.clone(), Some(self.files.len() - 1))]);
            }
            Operation::Rewrite(_) | Operation::Sync(_) | Operation::Restart => {}
        }
    }

    /// It is over, and has succeeded.
    pub fn succeed(&mut self, operation: &Operation) {
        let (Operation::Sync(name) | Operation::Replace(name, _)) = operation else { return };
        if let Some(file) = self.names.get(name).and_then(|file| self.files.get_mut(*file)) {
            file.synced.clone_from(&file.content);
            file.is_open = false;
        }
        self.synced_names.clone_from(&self.names);
        self.changes.clear();
    }

    /// The file called `name`, which is made if missing.
    fn file(&mut self, name: &str) -> &mut File {
        let file = self.names.get(name).copied().unwrap_or(self.files.len());
        if file == self.files.len() {
            self.files.push(File::default());
            self.change(vec![(name.to_owned(), Some(file))]);
        }
        &mut self.files[file]
    }

    fn change(&mut self, change: Vec<(String, Option<usize>)>) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    /// Whether that may be left by a power cut.
    pub fn allow(&self, left: &Left) -> bool {
        self.left_names().iter().any(|names| {
            let holds = |(file, contents): (&usize, &BTreeSet<Vec<u8>>)| {
                contents.iter().all(|content| self.files[*file].allows(content))
            };
            names.keys().eq(left.keys()) && names.values().zip(left.values()).all(holds)
        })
    }

    fn left_names(&self) -> BTreeSet<Names> {
        let mut left = BTreeSet::from([self.synced_names.clone()]);
        for change in &self.changes {
            let with_it: Vec<_> = left
                .iter()
                .cloned()
                .map(|mut names| {
                    apply(&mut names, change);
                    names
                })
                .collect();
            left.extend(with_it);
        }
        left
    }
}

fn apply(names: &mut Names, change: &[(String, Option<usize>)]) {
    for (name, file) in change {
        match file {
            Some(file) => _ = names.insert(name.clone(), *file),
            None => _ = names.remove(name),
        }
    }
}
