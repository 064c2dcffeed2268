//! Dotted keys.

use std::fmt;

/// The longest key, in octets.
pub const KEY_OCTETS_MAX: usize = 512;

/// The most parts of a key.
pub const KEY_PARTS_MAX: usize = 8;

/// A dotted key such as `firewall.forwards.camera.wan_port`; a part with other characters than letters, digits, `-` and
/// `_` is quoted, as in `dns.records."*.dev".value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    parts: Vec<String>,
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the remedy.
    pub fn parse(text: &str) -> Result<Self, String> {
        let told =
            || format!("{text:.64?} is no key; write one such as \"firewall.forwards.camera.wan_port\"");
        if text.len() > KEY_OCTETS_MAX {
            return Err(told());
        }
        let parts = toml_edit::Key::parse(text).map_err(|_| told())?;
        Self::new(parts.iter().map(|part| part.get().to_owned()).collect()).map_err(|_| told())
    }

    /// The key with these parts.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the remedy.
    pub fn new(parts: Vec<String>) -> Result<Self, String> {
        let octets: usize = parts.iter().map(String::len).sum();
        let is_key = (1..=KEY_PARTS_MAX).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty());
        if is_key && octets <= KEY_OCTETS_MAX {
            return Ok(Self { parts });
        }
        let what = if is_key { "the name is too long" } else { "the name is empty" };
        Err(format!("{what}; write one of 1 to {KEY_OCTETS_MAX} octets"))
    }

    /// The key of `part` in what this key leads to.
    ///
    /// # Errors
    ///
    /// As [`Key::new`].
    pub fn join(&self, part: &str) -> Result<Self, String> {
        Self::new(self.parts.iter().cloned().chain([part.to_owned()]).collect())
    }

    /// The parts, at least one.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dotted(&self.parts))
    }
}

/// `parts` as a dotted key.
pub(super) fn dotted<S: AsRef<str>>(parts: &[S]) -> String {
    parts.iter().map(|part| quoted(part.as_ref())).collect::<Vec<_>>().join(".")
}

/// A part of a key as TOML writes it.
pub(super) fn quoted(part: &str) -> String {
    toml_edit::Key::new(part).display_repr().into_owned()
}
