//! Passwords for logins at remote servers.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::sasl::Password;
use crate::store::open_regular;
use crate::work::{self, Work};

/// The longest file, in octets.
const FILE_OCTETS_MAX: u64 = 4096;

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The first line of this file. It is read for each login, so that a new password is effective at once, and an
    /// unreadable file affects nothing else.
    File(PathBuf),
    /// The password itself.
    Known(Password),
}

impl Secret {
    /// The file that it is in, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Known(_) => None,
        }
    }

    /// The password; a file is read by `work`.
    ///
    /// # Errors
    ///
    /// The problem and its remedy.
    pub async fn read(&self, work: &dyn Work) -> Result<Password, String> {
        let path = match self {
            Self::Known(password) => return Ok(password.clone()),
            Self::File(path) => path.clone(),
        };
        let of_job = path.clone();
        let read = work::run(work, move || first_line(&of_job)).await;
        let line = read.map_err(io::Error::from).and_then(|read| read);
        match line {
            Ok(line) if !line.is_empty() => Ok(Password(line)),
            Ok(_) => {
                Err(format!("the password file {} is empty; write the password into it", path.display()))
            }
            Err(error) => {
                let path = path.display();
                Err(format!(
                    "the password file {path} cannot be read: {error}; write one that the gateway may read"
                ))
            }
        }
    }
}

fn first_line(path: &Path) -> io::Result<String> {
    let mut content = Vec::new();
    open_regular(path)?.take(FILE_OCTETS_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_OCTETS_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is far too long"));
    }
    let text = String::from_utf8(content)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::work::AtOnce;

    #[tokio::test]
    async fn a_password_is_the_first_line_of_its_file_and_what_is_none_is_said() {
        let path = std::env::temp_dir().join(format!("gatepost-secret-{}", std::process::id()));
        let secret = Secret::File(path.clone());
        let missing = secret.read(&AtOnce).await.unwrap_err();
        assert!(
            missing.contains(&path.display().to_string()) && missing.contains("cannot be read"),
            "{missing}"
        );
        for (content, expected) in [
            (&b"blue harbour 47\nmore\n"[..], Ok("blue harbour 47")),
            (b" with blanks \r\n", Ok(" with blanks ")),
            (b"", Err("is empty")),
            (b"\nsecond", Err("is empty")),
            (b"\xff", Err("it is no text")),
            (&[b'x'; 5000], Err("far too long")),
        ] {
            fs::write(&path, content).unwrap();
            match (secret.read(&AtOnce).await, expected) {
                (Ok(password), Ok(expected)) => assert_eq!(password.0, expected),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (read, expected) => panic!("{read:?} instead of {expected:?}"),
            }
        }
        fs::remove_file(&path).unwrap();
        let known = Secret::Known(Password("known".to_owned()));
        assert_eq!(known.read(&AtOnce).await.unwrap().0, "known");
        assert!(!format!("{known:?}").contains("known\""), "it is never printed");
    }
}
