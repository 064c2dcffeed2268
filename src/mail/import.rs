//! `gatepost mail import`.

#![expect(clippy::disallowed_types, reason = "a process draws its randomness from the system")]

use std::path::Path;

use gatepost_services::clock::Clock;
use gatepost_services::mail::store::{Settings, StoreError};
use gatepost_services::mail::transfer::import::{ImportError, Importer, Sums};
use gatepost_services::mail::transfer::offline::OfflineStore;
use gatepost_services::mail::transfer::source::{Skipped, Source};
use gatepost_services::store::{Files, OpenError};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use serde::Serialize;

use super::{Options, Progress, print, print_json, remedy_of_reading, tell};
use crate::control::table::counted;
use crate::error::Error;
use crate::port::clock::SystemClock;
use crate::port::find_user;

/// What `--json` prints. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct Report {
    mailbox: String,
    imported: u64,
    octets: u64,
    already_there: u64,
    empty: u64,
    skipped: Vec<SkippedFile>,
    /// Why not all was imported.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct SkippedFile {
    file: String,
    why: String,
}

/// Imports files into a mailbox. Whether all messages are there.
pub(super) fn run(options: &Options, user: &str, path: &Path) -> Result<bool, Error> {
    let config = options.load()?;
    let quota = find_user(&config, &options.source(), user)?.quota;
    let what = || format!("cannot import {}", path.display());
    let source = Source::find(path)
        .map_err(|error| Error::failed(what(), error, "name a Maildir, an mbox or a file with a message"))?;
    let state_dir = &config.system.state_dir;
    let directory = || format!("cannot use the state directory {}", state_dir.display());
    let files = Files::open(state_dir).map_err(|error| match error {
        OpenError::InUse => {
            Error::failed(directory(), error, "stop the gateway, or wait for another import, and import then")
        }
        OpenError::Io(io) => Error::failed(directory(), &io, remedy_of_reading(&io)),
    })?;
    let clock = SystemClock::new();
    let now = clock.unix_time().0;
    let mut rng =
        StdRng::try_from_rng(&mut SysRng).map_err(|error| Error::failed(what(), error, "try again"))?;
    let store = OfflineStore::open(&files, Settings::default(), clock.now(), StdRng::from_rng(&mut rng))
        .map_err(|error| Error::failed(directory(), error, "see `gatepost mail check`"))?;
    if store.was_damaged() {
        tell("the mail store is damaged; see `gatepost mail check`");
    }
    let refused = |error: ImportError| Error::failed(what(), &error, remedy(&error));
    let mut importer = Importer::new(store, user, quota, now, &mut rng).map_err(refused)?;
    let mut progress = Progress::new("imported", options);
    let mut skipped = Vec::new();
    let mut told = |sums: &Sums| progress.tell(sums.imported + sums.known);
    let error = source.import(&mut importer, now, &mut told, &mut skipped).err();
    let sums = importer.sums();
    for Skipped { file, why } in &skipped {
        tell(&format!("{} is not imported: {why}", file.display()));
    }
    let is_whole = skipped.is_empty() && error.is_none();
    if options.json {
        print_json(&report(user, sums, skipped, error.as_ref()))?;
    } else {
        print(&in_words(user, sums));
    }
    match error {
        Some(error) => Err(Error::failed(what(), &error, remedy(&error)).reported()),
        None => Ok(is_whole),
    }
}

fn remedy(error: &ImportError) -> &'static str {
    match error {
        ImportError::Refused(StoreError::NoRoom | StoreError::MailboxFull(_)) => {
            "make room and import again: what was imported is not imported twice"
        }
        ImportError::Refused(StoreError::Newer) => "use the newer version of this program",
        ImportError::Refused(_) | ImportError::Io(_) => {
            "mend that and import again: what was imported is not imported twice"
        }
    }
}

fn in_words(user: &str, sums: Sums) -> String {
    let mut words = format!("{user}: {} imported", counted(sums.imported, "message", "messages"));
    if sums.known > 0 {
        words.push_str(&format!(", {} there already", counted(sums.known, "was", "were")));
    }
    if sums.empty > 0 {
        words.push_str(&format!(", {} left out", counted(sums.empty, "empty one", "empty ones")));
    }
    words
}

fn report(user: &str, sums: Sums, skipped: Vec<Skipped>, error: Option<&ImportError>) -> Report {
    let skipped = skipped
        .into_iter()
        .map(|Skipped { file, why }| SkippedFile { file: file.display().to_string(), why });
    Report {
        mailbox: user.to_owned(),
        imported: sums.imported,
        octets: sums.octets,
        already_there: sums.known,
        empty: sums.empty,
        skipped: skipped.collect(),
        error: error.map(ToString::to_string),
    }
}
