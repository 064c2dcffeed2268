//! The candidate: edits against the text of the file.

use std::collections::BTreeSet;

use super::Editor;
use crate::config::Config;
use crate::config::edit::{Edit, EditError, Key, Stored, VALUE_OCTETS_MAX, values};
use crate::error::Error;

/// The most edits that wait to be applied.
pub const EDITS_MAX: usize = 256;

/// An edit and the value that the file had when it was made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pended {
    pub edit: Edit,
    pub by: Editor,
    /// `None`: the file did not have the setting.
    base: Option<toml::Value>,
}

/// The edits that wait to be applied, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    pub(super) edits: Vec<Pended>,
}

impl Candidate {
    /// Whether nothing waits to be applied.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The text of the file with the edits.
    ///
    /// # Errors
    ///
    /// The edits whose settings have changed in the file since, a sentence each.
    pub fn text(&self, file: &str) -> Result<String, Vec<String>> {
        let stored = Stored::read(file).map_err(|error| {
            vec![format!("the file is no TOML any more: {}; correct it", error.message().replace('\n', " "))]
        })?;
        let (mut text, mut conflicts) = (file.to_owned(), Vec::new());
        for Pended { edit, base, .. } in &self.edits {
            let now = stored.get(&edit.key);
            let edited = edit.apply(&text);
            let is_done = || match &edit.value {
                Some(_) => {
                    edited.as_ref().is_ok_and(|edited| Stored::read(edited).ok() == Some(stored.clone()))
                }
                None => now.is_none(),
            };
            if now != base.as_ref() && !is_done() {
                conflicts.push(conflict(edit, base.as_ref(), now));
                continue;
            }
            match edited {
                Ok(edited) => text = edited,
                // Somebody has removed it in the file.
                Err(EditError::Absent) => {}
                Err(error) => conflicts.push(format!("{}: {error}", edit.key)),
            }
        }
        if conflicts.is_empty() { Ok(text) } else { Err(conflicts) }
    }

    /// Sets `key` to the first meaning of `value` that is possible there. Returns the edit.
    ///
    /// # Errors
    ///
    /// What is wrong with the key or the value. The candidate is as before.
    pub fn set(&mut self, by: &Editor, file: (&str, &str), key: &str, value: &str) -> Result<Edit, Error> {
        let key = Key::parse(key).map_err(Error::usage)?;
        if value.len() > VALUE_OCTETS_MAX {
            let what = format!("{key}: the value is too long; write at most {VALUE_OCTETS_MAX} octets");
            return Err(Error::usage(what));
        }
        let mut first = None;
        for value in values(value) {
            let edit = Edit { key: key.clone(), value: Some(value) };
            match self.with(by, file, edit.clone()) {
                Ok(candidate) => {
                    *self = candidate;
                    return Ok(edit);
                }
                Err(error) => _ = first.get_or_insert(error),
            }
        }
        Err(first.unwrap_or_else(|| Error::usage(format!("{key}: there is no value; write one"))))
    }

    /// Removes `key`. Returns the edit.
    ///
    /// # Errors
    ///
    /// What is wrong with the key. The candidate is as before.
    pub fn unset(&mut self, by: &Editor, file: (&str, &str), key: &str) -> Result<Edit, Error> {
        let edit = Edit { key: Key::parse(key).map_err(Error::usage)?, value: None };
        *self = self.with(by, file, edit.clone())?;
        Ok(edit)
    }

    /// This candidate with one more edit of the file of this name and text.
    fn with(&self, by: &Editor, (name, text): (&str, &str), edit: Edit) -> Result<Self, Error> {
        let refused = |error: EditError| Error::usage(format!("{}: {error}", edit.key));
        let before = self.text(text).map_err(Error::mistakes)?;
        let after = edit.apply(&before).map_err(refused)?;
        let wrong = local_mistakes(name, &after);
        let known = local_mistakes(name, &before);
        let mut new = wrong.difference(&known).peekable();
        if new.peek().is_some() {
            return Err(Error::mistakes(new.map(|mistake| format!("{}: {mistake}", edit.key))));
        }
        let is_within = |other: &Edit| other.key.parts().starts_with(edit.key.parts());
        let mut candidate = self.clone();
        // The base of a setting that is edited again is that of its first edit.
        let former = candidate.edits.iter().find(|pended| pended.edit.key == edit.key);
        let base = match former {
            Some(former) => former.base.clone(),
            None => Stored::read(text).ok().and_then(|stored| stored.get(&edit.key).cloned()),
        };
        candidate.edits.retain(|pended| !is_within(&pended.edit));
        candidate.edits.push(Pended { edit: edit.clone(), by: by.clone(), base });
        // An edit without an effect on the file is none.
        let same = |text: &str| Stored::read(text).ok();
        let without = Self { edits: candidate.edits.iter().rev().skip(1).rev().cloned().collect() };
        if let (Ok(without), Ok(with)) = (without.text(text), candidate.text(text))
            && same(&without) == same(&with)
        {
            candidate.edits.pop();
        }
        if candidate.edits.len() > EDITS_MAX {
            let why = format!("{EDITS_MAX} changes wait already");
            return Err(Error::failed("the change is not noted", why, "apply or discard them first"));
        }
        Ok(candidate)
    }
}

/// What is wrong with single keys and values of a file, whatever else it says.
fn local_mistakes(name: &str, text: &str) -> BTreeSet<String> {
    let mistakes = Config::parse(name, text).err().unwrap_or_default();
    mistakes
        .into_iter()
        .filter(|mistake| mistake.is_local)
        .map(|mistake| mistake.problem.to_string())
        .collect()
}

fn conflict(edit: &Edit, base: Option<&toml::Value>, now: Option<&toml::Value>) -> String {
    let told =
        |value: Option<&toml::Value>| value.map_or_else(|| "nothing".to_owned(), toml::Value::to_string);
    format!(
        "{}: the file was edited meanwhile and says {} in place of {}; set or unset it again, or discard",
        edit.key,
        told(now),
        told(base)
    )
}
