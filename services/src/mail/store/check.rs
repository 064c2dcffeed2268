//! A read-only check of the mail store for damage.
//!
//! It reads all of the log, and all of every large body. A gateway may be running: files that it removes meanwhile are
//! not reported.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::content::{Body, Content, Sequence, Uid};
use super::layout::{CHECKPOINT, body_file, segment_file};
use super::mailbox::{Mailbox, Place};
use super::message::{BodyOctets, Unreadable, read_body_part};
use super::record::{Marker, decode};
use super::report::{Damage, Report};
use super::start::{Recovered, recover, recover_all, recover_known};
use crate::store::Storage;
use crate::words::{self, counted};

/// Octets of a large body that are read at a time.
const PART_OCTETS: usize = 256 << 10;

/// The result.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The damage of the log.
    pub report: Report,
    /// Damaged large bodies.
    pub bodies: Vec<DamagedBody>,
    /// Messages that the checkpoint has and whose records are lost: the mailbox's name, and the UID.
    pub lost: Vec<(String, Uid)>,
    /// How many mailboxes there are.
    pub mailboxes: usize,
    /// How many messages all mailboxes hold.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// How many deliveries to other servers are waiting.
    pub queued: usize,
}

/// A damaged large body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedBody {
    /// Its file.
    pub file: String,
    /// The message.
    pub message: Sequence,
    /// The damage.
    pub why: String,
    /// Where the message is: the mailbox's name, and the number there.
    pub mailboxes: Vec<(String, Uid)>,
}

impl Checked {
    /// A line for each damage: the file below the state directory, the damage, its consequence. Empty without damage.
    pub fn damages(&self) -> Vec<String> {
        let report = &self.report;
        let of_log = report.damages.iter().filter(|damage| !damage.is_at_end).map(|damage| {
            let (file, offset, len) = (&damage.file, damage.offset, damage.len);
            format!("{file}: {len} octets from offset {offset} on are no records; what they said is lost, the rest is not")
        });
        let more = (report.more_damages > 0).then(|| format!("mail: {} damages more", report.more_damages));
        let missing = report
            .segments_missing
            .iter()
            .map(|number| format!("mail/segments/{number:08}-*: it is missing; the messages in it are lost unless it is put back"));
        let read_again = report.segments_damaged.iter().map(|number| {
            format!(
                "mail/segments/{number:08}-*: it was damaged when the gateway read it, and is not now; stop the gateway and remove \
                 {CHECKPOINT}, and the next start reads it again"
            )
        });
        let twice = report.segments_twice.iter().map(|file| {
            format!("{file}: it is not read, as another segment has its number; move one of them away")
        });
        let bodies = self.bodies.iter().map(|body| {
            let of = match body.mailboxes.as_slice() {
                [] => "a message that waits in the queue".to_owned(),
                mailboxes => list(mailboxes),
            };
            format!("{}: {}; it is the body of {of}", body.file, body.why)
        });
        let lost = (!self.lost.is_empty()).then(|| format!("mail: lost are {}", list(&self.lost)));
        let checkpoint = report.is_checkpoint_damaged.then(|| {
            format!("{CHECKPOINT}: it cannot be used; nothing is lost, the next start reads all of the log")
        });
        let newer = report.newer.map(|_| {
            "mail: a newer version of this program has written records; check them with that version"
                .to_owned()
        });
        of_log
            .chain(more)
            .chain(missing)
            .chain(read_again)
            .chain(twice)
            .chain(bodies)
            .chain(lost)
            .chain(checkpoint)
            .chain(newer)
            .collect()
    }

    /// A line for each torn append, which is no damage, as it was never confirmed.
    pub fn notes(&self) -> Vec<String> {
        let cut = self.report.damages.iter().filter(|damage| damage.is_at_end);
        let note = |damage: &Damage| {
            let (file, offset, len) = (&damage.file, damage.offset, damage.len);
            format!(
                "{file}: {len} octets at its end, from offset {offset} on, are an append that was cut short"
            )
        };
        cut.map(note).collect()
    }

    /// How much there is, in a sentence.
    pub fn sums(&self) -> String {
        let Self { mailboxes, messages, octets, queued, .. } = self;
        let messages = counted(*messages, "message", "messages");
        let mailboxes = counted(*mailboxes, "mailbox", "mailboxes");
        let octets = words::octets(*octets);
        format!("mail: {messages}, {octets}, in {mailboxes}; {queued} in the queue")
    }
}

/// Messages, by mailboxes and numbers; of very many the first.
fn list(messages: &[(String, Uid)]) -> String {
    const SHOWN_MAX: usize = 20;
    let shown: Vec<_> =
        messages.iter().take(SHOWN_MAX).map(|(name, uid)| format!("message {uid} of {name}")).collect();
    let more = messages.len().saturating_sub(SHOWN_MAX);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Reads all that is stored.
///
/// # Errors
///
/// An error of the storage.
pub fn check(disk: &dyn Storage) -> io::Result<Checked> {
    let mut known = recover_known(disk)?;
    if known.as_ref().is_none_or(|(known, _)| known.report.is_damaged()) {
        // A gateway may have replaced it, with all that it refers to.
        known = recover_known(disk)?;
    }
    let recovered = recover_all(disk)?;
    let mut report = recovered.report.clone();
    report.is_checkpoint_damaged = known.is_none() && disk.len(CHECKPOINT)?.is_some();
    if let Some((known, position)) = &known {
        report.segments_missing.clone_from(&known.report.segments_missing);
        let found: BTreeSet<_> = recovered.report.damaged().collect();
        let known_damaged = known.report.segments_damaged.iter();
        report.segments_damaged = known_damaged.copied().filter(|number| !found.contains(number)).collect();
        if let Some(file) = recovered.files.get(&position.0) {
            report.confirm(&segment_file(position.0, file.marker), position.1);
        }
        for cut in &known.report.damages {
            report.add_cut(cut.clone());
        }
    }
    // A segment without needed records is removed.
    let mut damages = Vec::new();
    for damage in report.damages {
        if disk.len(&damage.file)?.is_some() {
            damages.push(damage);
        }
    }
    report.damages = damages;
    let mut bodies = damaged_bodies(disk, &recovered)?;
    if !bodies.is_empty() {
        // So is the body of a removed message.
        let now = recover(disk)?;
        bodies.retain(|body| now.state.bodies.contains_key(&body.message));
    }
    let mut checked = Checked {
        report,
        bodies,
        lost: known.map_or_else(Vec::new, |(known, _)| lost(disk, &known, &recovered)),
        queued: recovered.state.queue.len(),
        ..Checked::default()
    };
    for mailbox in recovered.state.mailboxes() {
        checked.mailboxes += 1;
        checked.messages += mailbox.entries().len() as u64;
        checked.octets += mailbox.used();
    }
    Ok(checked)
}

/// Messages that the checkpoint has, and that are not in the log and cannot be read.
fn lost(disk: &dyn Storage, known: &Recovered, read: &Recovered) -> Vec<(String, Uid)> {
    let mut lost = Vec::new();
    for mailbox in known.state.mailboxes() {
        let id = mailbox.state.id;
        let found = read.state.mailbox(id);
        let entries = mailbox.entries().iter();
        for entry in entries.filter(|entry| found.is_none_or(|found| found.entry(entry.uid).is_none())) {
            let is_lost = match known.message(disk, id, entry) {
                Ok(_) => false,
                // Another one may have been moved.
                Err(Unreadable::Gone) => known.report.segments_missing.contains(&entry.place.segment),
                Err(Unreadable::Damaged | Unreadable::Io(_)) => true,
            };
            if is_lost {
                lost.push((mailbox.state.name.clone(), entry.uid));
            }
        }
    }
    lost
}

fn damaged_bodies(disk: &dyn Storage, recovered: &Recovered) -> io::Result<Vec<DamagedBody>> {
    let state = &recovered.state;
    let entries =
        state.mailboxes.values().flat_map(Mailbox::entries).map(|entry| (entry.message, entry.place));
    let queued = state.queue.iter().map(|(id, entry)| (id.message, entry.place));
    let places: BTreeMap<Sequence, Place> =
        entries.chain(queued).filter(|(message, _)| state.bodies.contains_key(message)).collect();
    let mut damaged = Vec::new();
    for (message, place) in places {
        let Some(segment) = recovered.files.get(&place.segment) else { continue };
        let Some(file) = state.bodies.get(&message).map(|body| body_file(body.name)) else { continue };
        let why = match verify(disk, &segment_file(place.segment, segment.marker), segment.marker, place) {
            Ok(()) => continue,
            Err(Unreadable::Gone) => "it is missing".to_owned(),
            Err(Unreadable::Damaged) => "it is not what was written".to_owned(),
            Err(Unreadable::Io(error)) => format!("it cannot be read: {error}"),
        };
        let is_it = |mailbox: &&Mailbox| !mailbox.state.is_removed;
        let mailboxes = state.mailboxes.values().filter(is_it).flat_map(|mailbox| {
            let of_message = mailbox.entries().iter().filter(|entry| entry.message == message);
            of_message.map(|entry| (mailbox.state.name.clone(), entry.uid))
        });
        damaged.push(DamagedBody { file, message, why, mailboxes: mailboxes.collect() });
    }
    Ok(damaged)
}

/// Reads all of a large body. If the message is gone from the log meanwhile there is none to read.
fn verify(disk: &dyn Storage, segment: &str, marker: Marker, place: Place) -> Result<(), Unreadable> {
    let octets = disk.read_at(segment, place.offset, place.len as usize)?.unwrap_or_default();
    let Some((frame, text, _)) = decode(marker, &octets) else { return Ok(()) };
    let Ok(Content::Accept(accept)) = Content::decode(frame.kind, text) else { return Ok(()) };
    let Body::File { name, len, checksum } = accept.body else { return Ok(()) };
    each_body_part(disk, &BodyOctets::File { file: body_file(name), len, checksum }, |_| Ok(()))
}

/// Reads all of a body, and passes it to `visit` in parts.
///
/// # Errors
///
/// It cannot be read, is [damaged](Unreadable::Damaged), or `visit` fails. Damage may be detected only after the last
/// part.
pub fn each_body_part<E: From<Unreadable>>(
    disk: &dyn Storage,
    body: &BodyOctets,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let checksum = match body {
        BodyOctets::Inline(octets) => return visit(octets),
        BodyOctets::File { checksum, .. } => *checksum,
    };
    let (mut offset, mut hasher) = (0, crc32fast::Hasher::new());
    loop {
        let part = read_body_part(disk, body, offset, PART_OCTETS)?;
        if part.is_empty() {
            break;
        }
        offset += part.len() as u64;
        hasher.update(&part);
        visit(&part)?;
    }
    if hasher.finalize() == checksum { Ok(()) } else { Err(Unreadable::Damaged.into()) }
}
