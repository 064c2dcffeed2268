//! What each editor has seen of the others' changes.

use std::collections::{BTreeMap, VecDeque};

use super::Editor;

/// The most editors that are remembered; the one that came least recently is forgotten.
pub const EDITORS_MAX: usize = 64;

/// The most changes that are remembered for editors who have not seen them.
pub const CHANGES_SEEN_MAX: usize = 64;

/// The latest changes, and up to which each editor has seen them.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    revision: u64,
    /// Changes with their revisions and editors.
    changes: VecDeque<(u64, Editor, String)>,
    editors: BTreeMap<Editor, u64>,
    /// The revision at which the present candidate began.
    began: u64,
}

impl Seen {
    /// Notes a change.
    pub fn note(&mut self, by: &Editor, what: String) {
        self.revision += 1;
        if self.changes.len() == CHANGES_SEEN_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((self.revision, by.clone(), what));
    }

    /// An editor without an entry has seen all changes up to now.
    pub fn begin(&mut self) {
        self.began = self.revision;
    }

    /// What others have changed since `editor` looked last, who has seen it from now on.
    pub fn look(&mut self, editor: &Editor) -> Vec<String> {
        let seen = self.editors.get(editor).copied().unwrap_or(self.began);
        let unseen = self.changes.iter().filter(|(revision, by, _)| *revision > seen && by != editor);
        let told = unseen.map(|(_, by, what)| format!("{}: {what}", by.name())).collect();
        if self.editors.len() >= EDITORS_MAX
            && !self.editors.contains_key(editor)
            && let Some(stale) =
                self.editors.iter().min_by_key(|(_, seen)| **seen).map(|(stale, _)| stale.clone())
        {
            self.editors.remove(&stale);
        }
        self.editors.insert(editor.clone(), self.revision);
        told
    }
}
