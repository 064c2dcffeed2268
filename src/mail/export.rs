//! `gatepost mail export`.

use std::io;
use std::path::PathBuf;

use gatepost_services::mail::transfer::export::{ExportError, Output, export};
use gatepost_services::store::ReadOnlyFiles;
use serde::Serialize;

use super::{NotRead, Options, Progress, print, print_json, remedy_of_reading, tell};
use crate::control::table::counted;
use crate::error::Error;

/// Where a mailbox goes.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// A Maildir, which is made if it is missing. One that was exported before gets what came since.
    #[arg(long, value_name = "DIR")]
    maildir: Option<PathBuf>,
    /// A new mbox file.
    #[arg(long, value_name = "FILE")]
    mbox: Option<PathBuf>,
}

/// What `--json` prints. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct Report {
    mailbox: String,
    exported: u64,
    octets: u64,
    unchanged: u64,
    unreadable: Vec<NotRead>,
}

/// Exports a mailbox. Whether all of its messages could be read.
pub(super) fn run(options: &Options, user: &str, target: Target) -> Result<bool, Error> {
    let state_dir = options.load()?.system.state_dir;
    let (path, output) = match (target.maildir, target.mbox) {
        (Some(path), _) => (path.clone(), Output::maildir(&path)),
        (None, Some(path)) => (path.clone(), Output::mbox(&path)),
        (None, None) => return Err(Error::usage("write --maildir DIR or --mbox FILE")),
    };
    let not_written = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory => "name a new file or directory",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room and export again",
            io::ErrorKind::PermissionDenied => "name a place where you may write",
            _ => "mend that and export again",
        };
        Error::failed(format!("cannot export to {}", path.display()), error, remedy)
    };
    let mut output = output.map_err(not_written)?;
    let mut progress = Progress::new("exported", options);
    let done =
        export(&ReadOnlyFiles::new(&state_dir), user, &mut output, |sums| progress.tell(sums.exported));
    let sums = done.map_err(|error| match error {
        ExportError::Output(error) => not_written(error),
        error @ ExportError::NoMailbox(_) => {
            Error::failed(format!("cannot export the mailbox {user}"), error, "name one that there is")
        }
        ExportError::Store(error) => {
            let what = format!("cannot export the mailbox {user} from {}", state_dir.display());
            Error::failed(what, &error, remedy_of_reading(&error))
        }
    })?;
    let is_whole = sums.unreadable.is_empty();
    for (uid, why) in &sums.unreadable {
        tell(&format!("message {uid} is not exported: {why}; see `gatepost mail check`"));
    }
    if options.json {
        let unreadable = sums.unreadable.into_iter().map(|(uid, why)| NotRead { uid, why });
        print_json(&Report {
            mailbox: user.to_owned(),
            exported: sums.exported,
            octets: sums.octets,
            unchanged: sums.unchanged,
            unreadable: unreadable.collect(),
        })?;
    } else {
        let there = match sums.unchanged {
            0 => String::new(),
            count => format!(", {} there already", counted(count, "was", "were")),
        };
        let exported = counted(sums.exported, "message", "messages");
        print(&format!("{}: {exported} exported{there}", path.display()));
    }
    Ok(is_whole)
}
