//! The source of the configuration.

use std::path::{Path, PathBuf};

use super::{Config, Diagnostic};
use crate::error::Error;

/// A named file; without one, [`Source::DEFAULT_FILE`] if it exists, or else the built-in default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    named: Option<PathBuf>,
    default: PathBuf,
}

impl Source {
    /// The file that is read if none was named and it exists.
    pub const DEFAULT_FILE: &str = "/etc/gatepost/gatepost.toml";

    /// The file that was named, if any was.
    pub fn new(named: Option<PathBuf>) -> Self {
        Self { named, default: Self::DEFAULT_FILE.into() }
    }

    /// The file to read now; `None`: the built-in default.
    pub fn file(&self) -> Option<&Path> {
        // If the check fails, the file may exist, and reading it reports the problem.
        let default = || self.default.try_exists().unwrap_or(true).then_some(self.default.as_path());
        self.named.as_deref().or_else(default)
    }

    /// Reads and validates the configuration; warnings come in the order of the file.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load(&self) -> Result<(Config, Vec<Diagnostic>), Error> {
        self.file().map_or_else(|| Ok((Config::default(), Vec::new())), Config::load_with_warnings)
    }

    /// As [`Source::load`], with the text of the file; `None` without one.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_with_text(&self) -> Result<(Config, Vec<Diagnostic>, Option<String>), Error> {
        let Some(file) = self.file() else { return Ok((Config::default(), Vec::new(), None)) };
        let (name, text) = super::read(file)?;
        let (config, warnings) = Config::parse_with_warnings(&name, &text).map_err(Error::mistakes)?;
        Ok((config, warnings, Some(text)))
    }

    /// The file that is written: the one that was named, else [`Source::DEFAULT_FILE`]; and whether it may be missing.
    pub fn written(&self) -> (&Path, bool) {
        self.named.as_deref().map_or((self.default.as_path(), true), |named| (named, false))
    }

    /// The option, with a space before it, that makes another command read the same configuration; empty for none.
    pub fn option(&self) -> String {
        self.named.as_ref().map_or_else(String::new, |file| format!(" --config {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_named_goes_before_the_default_one() {
        assert_eq!(Source::new(None).default, Path::new(Source::DEFAULT_FILE));
        let example = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/gatepost.example.toml"));
        let missing = PathBuf::from("/nonexistent/gatepost.toml");
        let source = |named: Option<&Path>, default: &Path| Source {
            named: named.map(Path::to_owned),
            default: default.to_owned(),
        };
        let built_in = source(None, &missing);
        assert_eq!((built_in.file(), built_in.option()), (None, String::new()));
        assert_eq!(built_in.load(), Ok((Config::default(), Vec::new())));
        let default = source(None, example);
        assert_eq!((default.file(), default.option()), (Some(example), String::new()));
        let named = source(Some(&missing), example);
        assert_eq!(named.file(), Some(missing.as_path()));
        assert_eq!(named.option(), " --config /nonexistent/gatepost.toml");
        assert!(named.load().expect_err("it is missing").to_string().contains("/nonexistent/gatepost.toml"));
    }

    #[test]
    fn a_default_file_that_cannot_be_looked_for_is_no_reason_for_the_built_in_default() {
        let below_a_file =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/gatepost.example.toml/gatepost.toml"));
        let source = Source { named: None, default: below_a_file.to_owned() };
        assert_eq!(source.file(), Some(below_a_file));
        assert!(source.load().is_err());
    }
}
