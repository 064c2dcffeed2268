//! The candidate: edits against the text of the file.

use std::collections::BTreeSet;

use super::Editor;
use crate::config::edit::{Edit, EditError, Key, Stored, VALUE_OCTETS_MAX, values};
use crate::config::{Config, FILE_OCTETS_MAX};
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
    /// What became of the edits in the file as it was last, so that a further edit is the only one that is applied.
    merged: Option<Merged>,
}

/// The edits in a file.
#[derive(Clone, Debug, PartialEq)]
struct Merged {
    /// The text of the file.
    file: String,
    /// The text with the edits that are in no conflict.
    text: String,
    /// The edits whose settings have changed in the file since, a sentence each.
    conflicts: Vec<String>,
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
    pub fn text(&mut self, file: &str) -> Result<String, Vec<String>> {
        let merged = self.merged(file);
        let merged = self.merged.insert(merged);
        if merged.conflicts.is_empty() { Ok(merged.text.clone()) } else { Err(merged.conflicts.clone()) }
    }

    /// The text of the file with the edits that are in no conflict, and the conflicts, a sentence each.
    pub(super) fn draft(&self, file: &str) -> (String, Vec<String>) {
        let Merged { text, conflicts, .. } = self.merged(file);
        (text, conflicts)
    }

    fn merged(&self, file: &str) -> Merged {
        let known = self.merged.as_ref().filter(|merged| merged.file == file);
        known.cloned().unwrap_or_else(|| self.replayed(file))
    }

    fn replayed(&self, file: &str) -> Merged {
        let (mut text, mut conflicts) = (file.to_owned(), Vec::new());
        let stored = match Stored::read(file) {
            Ok(stored) => stored,
            Err(error) => {
                let why = error.message().replace('\n', " ");
                conflicts.push(format!("the file is no TOML any more: {why}; correct it"));
                return Merged { file: file.to_owned(), text, conflicts };
            }
        };
        for Pended { edit, base, .. } in &self.edits {
            let now = stored.get(&edit.key);
            let edited = edit.apply(&text);
            let is_done = || match &edit.value {
                Some(_) => edited
                    .as_ref()
                    .is_ok_and(|edited| Stored::read(edited).is_ok_and(|edited| edited == stored)),
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
        Merged { file: file.to_owned(), text, conflicts }
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

    /// This candidate with one more edit of the file of this name and text, unless a single key or value is wrong then.
    fn with(&self, by: &Editor, (name, file): (&str, &str), edit: Edit) -> Result<Self, Error> {
        let key = edit.key.clone();
        let candidate = self.unchecked(by, file, edit)?;
        let after = candidate.draft(file).0;
        let mut wrong = local_mistakes(name, &after);
        if !wrong.is_empty() {
            wrong = &wrong - &local_mistakes(name, &self.draft(file).0);
        }
        if wrong.is_empty() {
            return Ok(candidate);
        }
        Err(Error::mistakes(wrong.iter().map(|mistake| format!("{key}: {mistake}"))))
    }

    /// This candidate with one more edit of the file of this text, whatever it says. The edit takes the place of those
    /// at its key or below it, with their conflicts.
    ///
    /// # Errors
    ///
    /// The edit cannot be done, or there are too many.
    pub(super) fn unchecked(&self, by: &Editor, file: &str, edit: Edit) -> Result<Self, Error> {
        let refused = |error: EditError| Error::usage(format!("{}: {error}", edit.key));
        let not_noted = |why, remedy| Error::failed("the change is not noted", why, remedy);
        let mut candidate = self.clone();
        candidate.edits.retain(|pended| !pended.edit.key.parts().starts_with(edit.key.parts()));
        let replaces = candidate.edits.len() < self.edits.len();
        let mut merged = if replaces { candidate.replayed(file) } else { self.merged(file) };
        let after = match edit.apply(&merged.text) {
            // Only the candidate had it.
            Err(EditError::Absent) if replaces => merged.text.clone(),
            edited => edited.map_err(refused)?,
        };
        if after.len() > FILE_OCTETS_MAX {
            let why = format!("the file would have more than {FILE_OCTETS_MAX} octets");
            return Err(not_noted(why, "remove what nobody needs first"));
        }
        // An edit without an effect on the file is none.
        if Stored::read(&merged.text).ok() != Stored::read(&after).ok() {
            let base = Stored::read(file).ok().and_then(|stored| stored.get(&edit.key).cloned());
            candidate.edits.push(Pended { edit, by: by.clone(), base });
            merged.text = after;
        }
        candidate.merged = Some(merged);
        if candidate.edits.len() > EDITS_MAX {
            let why = format!("{EDITS_MAX} changes wait already");
            return Err(not_noted(why, "apply or discard them first"));
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

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "gatepost.toml";
    const FILE: &str = "[dhcp]\nlease_secs = 600 # s\n\n[firewall]\nstealth = true\n";

    fn anna() -> Editor {
        Editor::new("anna")
    }

    #[test]
    fn the_kept_text_is_that_of_all_edits_one_after_the_other() {
        let mut candidate = Candidate::default();
        for (key, value) in [
            ("firewall.stealth", Some("false")),
            ("dhcp.lease_secs", Some("700")),
            ("lan.inspect_arp", Some("true")),
            ("dhcp.lease_secs", Some("800")),
            ("lan", None),
            ("dhcp.lease_secs", Some("600")),
            ("firewall.stealth", None),
        ] {
            let edited = match value {
                Some(value) => candidate.set(&anna(), (NAME, FILE), key, value),
                None => candidate.unset(&anna(), (NAME, FILE), key),
            };
            edited.expect(key);
            assert_eq!(candidate.merged, Some(candidate.replayed(FILE)), "{key}");
        }
        assert_eq!(candidate.edits.len(), 1);
    }

    #[test]
    fn each_conflict_is_resolved_by_setting_or_unsetting_its_key() {
        let edited = FILE.replace("600", "650").replace("true", "false");
        for (set, text) in [(Some("900"), "lease_secs = 900"), (None, "[dhcp]")] {
            let mut candidate = Candidate::default();
            candidate.set(&anna(), (NAME, FILE), "dhcp.lease_secs", "700").expect("valid");
            candidate.unset(&anna(), (NAME, FILE), "firewall.stealth").expect("valid");
            assert_eq!(candidate.text(&edited).expect_err("both").len(), 2);
            match set {
                Some(value) => candidate.set(&anna(), (NAME, &edited), "dhcp.lease_secs", value),
                None => candidate.unset(&anna(), (NAME, &edited), "dhcp.lease_secs"),
            }
            .expect("it resolves the conflict");
            let left = candidate.text(&edited).expect_err("one is left");
            assert!(left.len() == 1 && left[0].starts_with("firewall.stealth: "), "{left:?}");
            candidate.unset(&anna(), (NAME, &edited), "firewall.stealth").expect("it resolves the other");
            let merged = candidate.text(&edited).expect("none is left");
            assert!(
                merged.contains(text) && !merged.contains("650") && !merged.contains("stealth"),
                "{merged}"
            );
        }
    }

    #[test]
    fn an_edit_of_what_was_removed_in_the_file_is_withdrawn_by_unsetting_it() {
        let mut candidate = Candidate::default();
        candidate.set(&anna(), (NAME, FILE), "dhcp.lease_secs", "700").expect("valid");
        let edited = FILE.replace("lease_secs = 600 # s\n", "");
        candidate.text(&edited).expect_err("a conflict");
        candidate.unset(&anna(), (NAME, &edited), "dhcp.lease_secs").expect("it resolves the conflict");
        assert!(candidate.is_empty());
        assert_eq!(candidate.text(&edited), Ok(edited));
    }

    #[test]
    fn a_file_that_would_be_too_long_is_refused() {
        let long = format!("{FILE}#{}\n", "-".repeat(FILE_OCTETS_MAX - FILE.len() - 10));
        let error = Candidate::default().set(&anna(), (NAME, &long), "system.hostname", "\"office\"");
        let error = error.expect_err("too long").to_string();
        assert!(error.contains("more than 1048576 octets") && error.contains("remove"), "{error}");
    }
}
