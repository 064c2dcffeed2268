//! A check of the files under the state directory that changes nothing.

use std::fs;
use std::io;
use std::path::Path;

use gatepost_services::mail::signing;
use gatepost_services::mail::store::check;
use gatepost_services::store::{ReadOnlyFiles, Storage};
use gatepost_services::tls::keeper;
use gatepost_services::users::passwords;

use super::identity::{self, Identity};
use super::services::list;
use super::wan_client::{WAN_LEASE_FILE, lease_damage};
use crate::transaction;

/// The damage under `state_dir`: a line for each damaged file or record. A gateway may be running there. A missing
/// directory or file is not damaged.
pub fn damages(state_dir: &Path) -> Vec<String> {
    // A caller without permission to enter the directory gets one message instead of one for each file.
    if let Err(error) = fs::metadata(state_dir.join("."))
        && error.kind() != io::ErrorKind::NotFound
    {
        return vec![format!("{}: {}", state_dir.display(), unreadable(&error))];
    }
    let in_directory =
        |(name, damage): (String, String)| format!("{}: {damage}", state_dir.join(name).display());
    let mut all: Vec<_> =
        damaged_files(&ReadOnlyFiles::new(state_dir)).into_iter().map(in_directory).collect();
    all.extend(mail_damages(state_dir));
    all
}

/// The damage of the files in `storage`, without mail: the name of the file and what is wrong, for each damaged record.
pub fn damaged_files(storage: &dyn Storage) -> Vec<(String, String)> {
    let of_file = |name: &str, damages: &dyn Fn(&[u8]) -> Vec<String>| {
        let damages = match storage.read(name) {
            Ok(content) => content.map_or_else(Vec::new, |content| damages(&content)),
            Err(error) => vec![unreadable(&error)],
        };
        damages.into_iter().map(|damage| (name.to_owned(), damage)).collect::<Vec<_>>()
    };
    let own = of_file(identity::FILE, &|content| {
        Identity::damage(content).iter().map(ToString::to_string).collect()
    });
    let of_tls = of_file(keeper::OWN_FILE, &|content| keeper::damage(content).into_iter().collect());
    let of_dkim = of_file(signing::FILE, &|content| signing::damage(content).into_iter().collect());
    let of_services = list::STORED.iter().flat_map(|(name, damages)| of_file(name, damages));
    let of_client = of_file(WAN_LEASE_FILE, &|content| lease_damage(content).into_iter().collect());
    let of_users = passwords::damages(storage);
    let of_history = history(storage)
        .into_iter()
        .flat_map(|name| of_file(&name, &|content| transaction::damage(content).into_iter().collect()));
    own.into_iter()
        .chain(of_tls)
        .chain(of_dkim)
        .chain(of_services)
        .chain(of_client)
        .chain(of_users)
        .chain(of_history)
        .collect()
}

/// The files of the configuration's history, in order. A directory that cannot be read has none.
fn history(storage: &dyn Storage) -> Vec<String> {
    let names = storage.list(transaction::DIRECTORY).unwrap_or_default();
    let numbered = names.into_iter().filter(|name| name.parse::<u64>().is_ok());
    numbered.map(|name| format!("{}/{name}", transaction::DIRECTORY)).collect()
}

fn mail_damages(state_dir: &Path) -> Vec<String> {
    let damages = match check(&ReadOnlyFiles::new(state_dir)) {
        Ok(checked) => checked.damages(),
        Err(error) => vec![format!("mail: {}", unreadable(&error))],
    };
    let in_directory = |damage: String| format!("{}", state_dir.join(damage).display());
    damages.into_iter().map(in_directory).collect()
}

fn unreadable(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use gatepost_services::clock::UnixTime;

    use super::*;
    use crate::transaction::{Entry, Kind};

    #[test]
    fn a_damaged_version_of_the_configuration_is_told() {
        let path = std::env::temp_dir().join(format!("gatepost-history-{}", std::process::id()));
        let directory = path.join(transaction::DIRECTORY);
        fs::create_dir_all(&directory).expect("a free path");
        let sound = Entry::new(Kind::Found, UnixTime(1), "# a file\n", Vec::new());
        fs::write(directory.join("00000001"), sound.encode()).expect("it can be written");
        fs::write(directory.join("00000002"), "2 00000000 {}\n").expect("it can be written");
        let told = damages(&path);
        fs::remove_dir_all(&path).expect("it is there");
        assert_eq!(told, [format!("{}/00000002: its checksum is wrong", directory.display())]);
    }

    #[test]
    fn a_directory_that_cannot_be_entered_is_told_of_once() {
        let path = std::env::temp_dir().join(format!("gatepost-no-directory-{}", std::process::id()));
        assert!(damages(&path).is_empty(), "what is not there is not damaged");
        fs::write(&path, "").expect("a file");
        let told = damages(&path);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(told, [format!("{}: it cannot be read: Not a directory (os error 20)", path.display())]);
    }
}
