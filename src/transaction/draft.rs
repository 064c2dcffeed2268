//! The configuration as the candidate would make it, for a form that shows and changes settings of it.

use super::report::Edited;
use crate::config::edit::{Edit, Key, Stored, key_at};
use crate::config::{Config, Diagnostic};
use crate::error::Error;

/// The settings that the candidate makes of the file; in a window those in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The settings.
    pub stored: Stored,
    /// What is wrong with them.
    pub mistakes: Vec<Mistake>,
    /// The edits whose settings have changed in the file meanwhile.
    pub conflicts: Vec<String>,
    /// Whether a change waits for its confirmation, so that nothing can be edited.
    pub is_closed: bool,
}

/// A mistake, and the setting that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting; `None` if the mistake is about none in particular.
    pub key: Option<Key>,
    /// What is wrong, and the remedy.
    pub text: String,
    /// Whether it is about that setting alone, so that no change elsewhere can remedy it.
    pub is_local: bool,
}

impl Mistake {
    /// Whether it is about `key` or something in it.
    pub fn is_in(&self, key: &Key) -> bool {
        self.key.as_ref().is_some_and(|own| own.parts().starts_with(key.parts()))
    }
}

impl Draft {
    /// The settings in `text`, the content of the file called `name`.
    pub(super) fn of(name: &str, text: &str, conflicts: Vec<String>) -> Self {
        let mistake = |diagnostic: Diagnostic| Mistake {
            key: key_at(text, diagnostic.offset),
            text: diagnostic.problem.to_string(),
            is_local: diagnostic.is_local,
        };
        let mistakes = Config::parse(name, text).err().unwrap_or_default();
        Self {
            stored: Stored::read(text).unwrap_or_default(),
            mistakes: mistakes.into_iter().map(mistake).collect(),
            conflicts,
            is_closed: false,
        }
    }
}

/// Makes edits of a draft, or says why there are none.
pub type Editing<'a, E> = Box<dyn FnOnce(&Draft) -> Result<Vec<Edit>, E> + 'a>;

/// Edits that are made together, or not at all.
pub struct Batch<'a, E> {
    /// Makes the edits, or says why there are none, knowing the settings as they are now.
    pub edits: Editing<'a, E>,
    /// The settings that the editor has in view. Any mistake in one of them refuses the edits, while a contradiction
    /// elsewhere is noted with them, as it may need edits elsewhere.
    pub view: Vec<Key>,
}

/// Why a batch was not noted. The candidate is as before.
#[derive(Debug)]
pub enum Unnoted<E> {
    /// There are no edits.
    Refused(E),
    /// The edits are wrong.
    Mistakes(Vec<Mistake>),
    /// Nothing can be noted.
    Failed(Error),
}

impl<E> From<Error> for Unnoted<E> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The outcome of a batch.
pub type Noted<E> = Result<Edited, Unnoted<E>>;
