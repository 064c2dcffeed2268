//! A file system model that loses in a power cut all that was not flushed.
//!
//! It separates cached from durable content. fsync(2) of a file makes its octets durable and not its name; fsync(2) of
//! a directory makes the creation, removal and renaming of files in it durable. Of what is not durable yet a power cut
//! leaves any subset: each change of names is there or not, in any order, and a renaming is one change. Only a
//! directory is there before its content, as on all file systems with a journal. Octets are there up to any write,
//! which can be torn, and can be zeros while the length is there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use crate::calls::Call;

type Inode = usize;
type Entries = BTreeMap<OsString, Inode>;

/// Paths from the root to the files that have them.
pub type Paths = BTreeMap<String, Inode>;

/// The file system.
#[derive(Debug, Default)]
pub struct FileSystem {
    nodes: Vec<Node>,
    changes: Vec<Change>,
    open: BTreeMap<i32, Open>,
}

#[derive(Debug, Default)]
struct Node {
    /// A directory's entries now, and the durable ones before the remaining changes.
    entries: Entries,
    base: Entries,
    /// A file's octets: cached, durable, and written since.
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<DataChange>,
    is_directory: bool,
}

/// An atomic change of names.
#[derive(Debug)]
struct Change {
    sets: Vec<(Inode, OsString, Option<Inode>)>,
    /// The directories that are still to be synced.
    unsynced_in: BTreeSet<Inode>,
}

#[derive(Debug)]
enum DataChange {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug)]
struct Open {
    inode: Inode,
    appends: bool,
    position: usize,
}

impl FileSystem {
    /// With a root, which is durable and empty.
    pub fn new() -> Self {
        let root = Node { is_directory: true, ..Node::default() };
        Self { nodes: vec![root], ..Self::default() }
    }

    /// Carries out a call of a process at `root`.
    pub fn apply(&mut self, call: &Call, root: &Path) {
        let inside = |path: &Path| path.strip_prefix(root).expect("below the root").to_owned();
        match call {
            Call::Mkdir { path } => self.make(&inside(path), true),
            Call::Open { path, fd, creates, truncates, appends } => {
                let path = inside(path);
                if self.find(&path).is_none() {
                    assert!(creates, "{} is opened and not there", path.display());
                    self.make(&path, false);
                }
                let inode = self.find(&path).expect("it is there");
                self.open.insert(*fd, Open { inode, appends: *appends, position: 0 });
                if *truncates {
                    self.change(inode, DataChange::Truncate(0));
                }
            }
            Call::Write { fd, octets, offset } => {
                let Some(open) = self.open.get_mut(fd) else { return };
                let end = self.nodes[open.inode].content.len();
                let at = offset.unwrap_or(if open.appends { end } else { open.position });
                if offset.is_none() {
                    open.position = at + octets.len();
                }
                let inode = open.inode;
                self.change(inode, DataChange::Write(at, octets.clone()));
            }
            Call::Truncate { fd, len } => {
                let Some(open) = self.open.get(fd) else { return };
                self.change(open.inode, DataChange::Truncate(*len));
            }
            Call::Sync { fd } => {
                let Some(open) = self.open.get(fd) else { return };
                self.sync(open.inode);
            }
            Call::Rename { from, to } => {
                let (from, to) = (inside(from), inside(to));
                let inode = self.find(&from).expect("it is there");
                let [from, to] = [self.place(&from), self.place(&to)];
                self.change_names([(from, None), (to, Some(inode))]);
            }
            Call::Unlink { path } => {
                let place = self.place(&inside(path));
                self.change_names([(place, None)]);
            }
            Call::Close { fd } => _ = self.open.remove(fd),
        }
    }

    fn find(&self, path: &Path) -> Option<Inode> {
        path.iter().try_fold(0, |inode: Inode, part| self.nodes[inode].entries.get(part).copied())
    }

    /// The directory that `path` is in, and its name there.
    fn place(&self, path: &Path) -> (Inode, OsString) {
        let directory = self.find(path.parent().expect("not the root")).expect("the directory is there");
        (directory, path.file_name().expect("not the root").to_owned())
    }

    fn make(&mut self, path: &Path, is_directory: bool) {
        let inode = self.nodes.len();
        self.nodes.push(Node { is_directory, ..Node::default() });
        self.change_names([(self.place(path), Some(inode))]);
    }

    fn change_names<const N: usize>(&mut self, sets: [((Inode, OsString), Option<Inode>); N]) {
        let sets = sets.map(|((directory, name), inode)| (directory, name, inode)).to_vec();
        for (directory, name, inode) in &sets {
            set(&mut self.nodes[*directory].entries, name, *inode);
        }
        let unsynced_in = sets.iter().map(|(directory, ..)| *directory).collect();
        self.changes.push(Change { sets, unsynced_in });
    }

    fn change(&mut self, inode: Inode, change: DataChange) {
        let node = &mut self.nodes[inode];
        change.apply(&mut node.content);
        node.unsynced.push(change);
    }

    fn sync(&mut self, inode: Inode) {
        let node = &mut self.nodes[inode];
        node.durable.clone_from(&node.content);
        node.unsynced.clear();
        for change in &mut self.changes {
            change.unsynced_in.remove(&inode);
        }
        // Durable for good, with all that came before it.
        let durable = self.changes.iter().take_while(|change| change.unsynced_in.is_empty()).count();
        for change in self.changes.drain(..durable) {
            for (directory, name, inode) in change.sets {
                set(&mut self.nodes[directory].base, &name, inode);
            }
        }
    }

    /// Which files a power cut can leave, by their paths.
    pub fn left_names(&self) -> BTreeSet<Paths> {
        let base: Vec<_> = self.nodes.iter().map(|node| node.base.clone()).collect();
        let mut left = BTreeSet::from([base]);
        for change in &self.changes {
            let is_durable = change.unsynced_in.is_empty();
            let is_possible = |directories: &&Vec<Entries>| {
                let reached = self.reached(directories);
                is_durable || change.sets.iter().all(|(directory, ..)| reached.contains_key(directory))
            };
            let with_it = left.iter().filter(is_possible).cloned().map(|mut directories| {
                for (directory, name, inode) in &change.sets {
                    set(&mut directories[*directory], name, *inode);
                }
                directories
            });
            let with_it: BTreeSet<_> = with_it.collect();
            if is_durable {
                left = with_it;
            } else {
                left.extend(with_it);
            }
        }
        left.iter().map(|directories| self.paths(directories)).collect()
    }

    /// The directories that are reached from the root, of what directories hold, and the paths to them.
    fn reached(&self, directories: &[Entries]) -> BTreeMap<Inode, String> {
        let mut reached = BTreeMap::new();
        let mut walk = vec![(0, String::new())];
        while let Some((directory, path)) = walk.pop() {
            let inside = directories[directory].iter().filter(|(_, inode)| self.nodes[**inode].is_directory);
            walk.extend(inside.map(|(name, inode)| (*inode, format!("{path}/{}", name.display()))));
            reached.insert(directory, path);
        }
        reached
    }

    /// The files that are reached from the root.
    fn paths(&self, directories: &[Entries]) -> Paths {
        let mut paths = Paths::new();
        for (directory, path) in self.reached(directories) {
            let files = directories[directory].iter().filter(|(_, inode)| !self.nodes[**inode].is_directory);
            paths.extend(files.map(|(name, inode)| (format!("{path}/{}", name.display()), *inode)));
        }
        paths
    }

    /// The possible contents of the file `inode` after a power cut.
    pub fn left_contents(&self, inode: Inode) -> BTreeSet<Vec<u8>> {
        let node = &self.nodes[inode];
        let (mut content, mut left) = (node.durable.clone(), BTreeSet::from([node.durable.clone()]));
        for change in &node.unsynced {
            if let DataChange::Write(at, octets) = change {
                let mut torn = content.clone();
                DataChange::Write(*at, octets[..octets.len() / 2].to_vec()).apply(&mut torn);
                left.insert(torn);
            }
            let before = content.len();
            change.apply(&mut content);
            left.insert(content.clone());
            // The length is there, and the octets are not: of this write, or of those before.
            for zeros in [before.min(content.len())..content.len(), node.durable.len().min(before)..before] {
                let mut part = content.clone();
                part.get_mut(zeros).into_iter().flatten().for_each(|octet| *octet = 0);
                left.insert(part);
            }
        }
        left
    }

    /// The durable and the cached content of the file `inode`.
    pub fn contents(&self, inode: Inode) -> [&[u8]; 2] {
        [&self.nodes[inode].durable, &self.nodes[inode].content]
    }
}

impl DataChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, octets) => {
                content.resize(content.len().max(at + octets.len()), 0);
                content[*at..at + octets.len()].copy_from_slice(octets);
            }
            Self::Truncate(len) => content.resize(*len, 0),
        }
    }
}

fn set<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) {
    match value {
        Some(value) => _ = map.insert(key.clone(), value),
        None => _ = map.remove(key),
    }
}
