//! `gatepost mail check`.

use gatepost_services::mail::store::{Checked, check};
use gatepost_services::store::ReadOnlyFiles;
use serde::Serialize;

use super::{Options, has_store, print, print_json, remedy_of_reading};
use crate::error::Error;

/// What `--json` prints. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct Report<'a> {
    state_dir: String,
    /// A line for each damage, as it is printed for people.
    damages: Vec<String>,
    /// Findings that are no damage.
    notes: Vec<String>,
    /// Stretches of segments that are no records.
    segments: Vec<Segment<'a>>,
    /// Damaged large bodies.
    bodies: Vec<Body<'a>>,
    /// Lost messages.
    lost: Vec<Message<'a>>,
    records: u64,
    records_missing: u64,
    mailboxes: usize,
    messages: u64,
    octets: u64,
    queued: usize,
}

#[derive(Debug, Serialize)]
struct Segment<'a> {
    file: &'a str,
    offset: u64,
    octets: u64,
    /// Whether it is a truncated append, which was never acknowledged.
    is_at_end: bool,
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    file: &'a str,
    why: &'a str,
    messages: Vec<Message<'a>>,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    mailbox: &'a str,
    uid: u32,
}

/// Prints the damage. Returns whether there is none.
pub(super) fn run(options: &Options) -> Result<bool, Error> {
    let state_dir = options.load()?.system.state_dir;
    let checked = check(&ReadOnlyFiles::new(&state_dir)).map_err(|error| {
        let what = format!("the mail store in {} cannot be read", state_dir.display());
        Error::failed(what, &error, remedy_of_reading(&error))
    })?;
    let in_directory = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().map(|line| state_dir.join(line).display().to_string()).collect()
    };
    let (damages, mut notes) = (in_directory(checked.damages()), in_directory(checked.notes()));
    if !has_store(&state_dir) {
        notes.push(format!("there is no mail store in {}", state_dir.display()));
    }
    let is_well = damages.is_empty();
    if options.json {
        print_json(&report(&checked, state_dir.display().to_string(), damages, notes))?;
    } else {
        damages.iter().chain(&notes).for_each(|line| print(line));
        print(&checked.sums());
    }
    Ok(is_well)
}

fn report(checked: &Checked, state_dir: String, damages: Vec<String>, notes: Vec<String>) -> Report<'_> {
    fn messages(of: &[(String, u32)]) -> Vec<Message<'_>> {
        of.iter().map(|(mailbox, uid)| Message { mailbox, uid: *uid }).collect()
    }
    let segments = checked.report.damages.iter().map(|damage| Segment {
        file: &damage.file,
        offset: damage.offset,
        octets: damage.len,
        is_at_end: damage.is_at_end,
    });
    let bodies = checked.bodies.iter().map(|body| Body {
        file: &body.file,
        why: &body.why,
        messages: messages(&body.mailboxes),
    });
    Report {
        state_dir,
        damages,
        notes,
        segments: segments.collect(),
        bodies: bodies.collect(),
        lost: messages(&checked.lost),
        records: checked.report.records,
        records_missing: checked.report.records_missing,
        mailboxes: checked.mailboxes,
        messages: checked.messages,
        octets: checked.octets,
        queued: checked.queued,
    }
}
