//! The files of verifiers: one for each user, below the state directory.
//!
//! `gatepost passwd` and the gateway's pages ([`setter`](super::setter)) replace a file atomically, each also while the
//! other does; the gateway reads the file at each login, so that a new password is effective at once.

use std::fmt;
use std::io;
use std::path::Path;

use rand::Rng;

use super::verifier::{Damage, Verifiers};
use crate::crypto::Sha256Digest;
use crate::store::{Storage, kept_key, replace_beside};

/// The directory of the files.
pub const DIRECTORY: &str = "passwords";

/// The name whose file is read for an unknown user, so that the lookup takes as long as a user's. No user can have it.
pub const NOBODY: &str = "-";

/// The file of the key for decoys.
const DECOY_KEY: &str = "decoys";

/// The suffix of file names.
const SUFFIX: &str = ".json";

/// Why verifiers cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// An error of the file system.
    Io(io::Error),
    /// The file is damaged.
    Damaged(Damage),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

/// The name of the file of `user`, below the state directory.
pub fn file_of(user: &str) -> String {
    format!("{DIRECTORY}/{user}{SUFFIX}")
}

/// The verifiers of `user`; `None` if no password was set.
///
/// # Errors
///
/// The file cannot be read, or is damaged.
pub fn read(storage: &dyn Storage, user: &str) -> Result<Option<Verifiers>, ReadError> {
    let content = storage.read(&file_of(user)).map_err(ReadError::Io)?;
    content.map(|content| Verifiers::from_file(&content).map_err(ReadError::Damaged)).transpose()
}

/// The key for [`Verifiers::decoy`]. It is persistent: if it changed at each start, the salts of decoys would change
/// and so reveal them. If there is no readable key, a new one comes from `rng`.
///
/// # Errors
///
/// An error of the file system.
pub fn decoy_key(storage: &dyn Storage, rng: &mut impl Rng) -> io::Result<Sha256Digest> {
    kept_key(storage, DECOY_KEY, rng)
}

/// Replaces the verifiers of `user` in the directory `state_dir` durably, also while a gateway uses the directory.
///
/// # Errors
///
/// An error of the file system. The former verifiers stay in force, if there were any.
pub fn write(state_dir: &Path, user: &str, verifiers: &Verifiers) -> io::Result<()> {
    replace_beside(state_dir, &file_of(user), &verifiers.to_file()?)
}

/// As [`write()`], in the storage of the running gateway.
///
/// # Errors
///
/// An error of the file system. The former verifiers stay in force, if there were any.
pub fn store(storage: &dyn Storage, user: &str, verifiers: &Verifiers) -> io::Result<()> {
    storage.replace_shared(&file_of(user), &verifiers.to_file()?)
}

/// The damaged files of `storage`: the name and the problem of each.
pub fn damages(storage: &dyn Storage) -> Vec<(String, String)> {
    let names = match storage.list(DIRECTORY) {
        Ok(names) => names,
        Err(error) => return vec![(DIRECTORY.to_owned(), format!("it cannot be read: {error}"))],
    };
    let users = names.iter().filter_map(|name| name.strip_suffix(SUFFIX));
    let damaged = users.filter_map(|user| Some((file_of(user), read(storage, user).err()?.to_string())));
    damaged.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::store::{Files, ReadOnlyFiles};
    use crate::users::password::Prepared;
    use crate::users::verifier::Cost;

    fn of(password: &str) -> Verifiers {
        let password = Prepared::new(password).unwrap();
        Verifiers::of(&password, Cost::LEAST, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    #[test]
    fn they_are_kept_whether_a_gateway_runs_or_not() {
        let path = std::env::temp_dir().join(format!("gatepost-passwords-{}", std::process::id()));
        let damages = || super::damages(&ReadOnlyFiles::new(&path));
        assert_eq!(damages(), []);
        write(&path, "anna", &of("blue harbour 47")).unwrap();
        let gateway = Files::open(&path).unwrap();
        assert!(read(&gateway, "anna").unwrap() == Some(of("blue harbour 47")));
        write(&path, "anna", &of("red harbour 48")).unwrap();
        assert!(read(&gateway, "anna").unwrap() == Some(of("red harbour 48")));
        assert!(read(&gateway, "berta").unwrap().is_none());

        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(""), mode(DIRECTORY), mode("passwords/anna.json")], [0o700, 0o700, 0o600]);
        assert_eq!(gateway.list(DIRECTORY).unwrap(), ["anna.json"]);
        assert_eq!(damages(), []);

        fs::write(path.join("passwords/berta.json"), b"2 00000000 {}\n").unwrap();
        // The remains of a replacement after a power cut.
        fs::write(path.join("passwords/clara.json.new"), b"2 0").unwrap();
        assert!(matches!(read(&gateway, "berta"), Err(ReadError::Damaged(_))));
        let told = ("passwords/berta.json".to_owned(), "its checksum is wrong".to_owned());
        assert_eq!(damages(), [told]);
        write(&path, "clara", &of("green harbour 49")).unwrap();
        assert_eq!(gateway.list(DIRECTORY).unwrap(), ["anna.json", "berta.json", "clara.json"]);
        fs::remove_dir_all(&path).unwrap();
    }
}
