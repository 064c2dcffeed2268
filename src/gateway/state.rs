//! A check of the files under the state directory that changes nothing.

use std::fs;
use std::io;
use std::path::Path;

use gatepost_services::mail::signing;
use gatepost_services::mail::store::check;
use gatepost_services::store::{ReadOnlyFiles, read_file};
use gatepost_services::tls::keeper;
use gatepost_services::users::passwords;

use super::identity::{self, Identity};
use super::services::list;
use super::wan_client::{WAN_LEASE_FILE, lease_damage};

/// The damage under `state_dir`: a line for each damaged file or record. A gateway may be running there. A missing
/// directory or file is not damaged.
pub fn damages(state_dir: &Path) -> Vec<String> {
    // A caller without permission to enter the directory gets one message instead of one for each file.
    if let Err(error) = fs::metadata(state_dir.join("."))
        && error.kind() != io::ErrorKind::NotFound
    {
        return vec![format!("{}: {}", state_dir.display(), unreadable(&error))];
    }
    let check = |name: &str, damages: &dyn Fn(&[u8]) -> Vec<String>| match read_file(state_dir, name) {
        Ok(content) => content.map_or_else(Vec::new, |content| damages(&content)),
        Err(error) => vec![unreadable(&error)],
    };
    let of_file = |name: &str, damages: &dyn Fn(&[u8]) -> Vec<String>| {
        let damages = check(name, damages);
        damages
            .into_iter()
            .map(|damage| format!("{}: {damage}", state_dir.join(name).display()))
            .collect::<Vec<_>>()
    };
    let own = of_file(identity::FILE, &|content| {
        Identity::damage(content).iter().map(ToString::to_string).collect()
    });
    let of_services = list::STORED.iter().flat_map(|(name, damages)| of_file(name, damages));
    let of_client = of_file(WAN_LEASE_FILE, &|content| lease_damage(content).into_iter().collect());
    let of_users = passwords::damages(state_dir)
        .into_iter()
        .map(|(name, damage)| format!("{}: {damage}", state_dir.join(name).display()));
    let of_tls = of_file(keeper::OWN_FILE, &|content| keeper::damage(content).into_iter().collect());
    let of_dkim = of_file(signing::FILE, &|content| signing::damage(content).into_iter().collect());
    let of_mail = mail_damages(state_dir);
    own.into_iter()
        .chain(of_tls)
        .chain(of_dkim)
        .chain(of_services)
        .chain(of_client)
        .chain(of_users)
        .chain(of_mail)
        .collect()
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
    use super::*;

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
