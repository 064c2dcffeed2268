//! Bit rot: octets of the mail store flip on the disk, and the content of their records may be harmed.
//!
//! An octet in a record harms the messages of that record: a stored one may be lost; one that was deleted or forwarded
//! may be back, if the record said so. The checkpoint repeats the log, so it harms no message. Records of
//! [`Content::Abort`] are never flipped: a failed sync may have written the records that an Abort voids
//! ([`DiskMood::LosesWrites`](super::disk::DiskMood::LosesWrites)), so without the Abort the gateway would keep
//! messages that it has rejected, and the checker could not know which.
//!
//! The state of a mailbox is in the log and in the checkpoint. [`Rot`] flips an octet of a mailbox's record in the log,
//! or octets of the checkpoint, never both: then the mailbox would be lost.

use std::collections::BTreeMap;

use gatepost_services::mail::store::record::{Frame, Marker, Scanner, Step, decode};
use gatepost_services::mail::store::{
    Accept, Body, CHECKPOINT, Content, MailboxId, Origin, QueueId, SEGMENTS, Uid, body_file, parse_segment,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::disk::SimDisk;
use crate::machine::post::{Failures, Harm, failures_in, mark_of};

/// How often another octet is drawn, where the first ones must not flip.
const DRAWS_MAX: usize = 20;

/// Where an octet flips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotIn {
    /// Anywhere in the mail store.
    Store,
    /// In its checkpoint.
    Checkpoint,
}

/// An octet that has flipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The file.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// The messages that it may affect.
    pub harm: Harm,
}

/// Draws octets, and has them flip.
pub struct Rot {
    rng: StdRng,
    /// Where a mailbox's state was damaged: in a record of the store's log, or in the checkpoint.
    mailbox_in: Option<RotIn>,
    /// The names of the mailboxes, including those with a damaged record.
    names: BTreeMap<MailboxId, String>,
}

/// A record of the log.
struct Written {
    file: String,
    offset: u64,
    frame: Frame,
    content: Content,
    /// The mark of a message, and the failed ones that it reports.
    mark: Option<String>,
    failures: Option<Failures>,
}

/// All that is durable of the log, damage left out.
struct Log {
    records: Vec<Written>,
    /// The names of the mailboxes.
    names: BTreeMap<MailboxId, String>,
}

impl Rot {
    /// Dice of its own.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), mailbox_in: None, names: BTreeMap::new() }
    }

    /// Has an octet flip; `None` if there is none that may.
    pub fn flip(&mut self, disk: &SimDisk, place: RotIn) -> Option<Flip> {
        let log = Log::read(disk, &self.names);
        self.names.clone_from(&log.names);
        for _ in 0..DRAWS_MAX {
            let drawn = if place == RotIn::Checkpoint || self.rng.random_ratio(1, 8) {
                self.draw_in_checkpoint(disk)
            } else if self.rng.random_ratio(1, 8) {
                self.draw_in_body(disk, &log)
            } else {
                self.draw_in_record(&log)
            };
            if let Some(flip) = drawn {
                let at = usize::try_from(flip.offset).ok()?;
                if disk.flip(&flip.file, at, 1 << self.rng.random_range(0..8)) {
                    return Some(flip);
                }
            }
        }
        None
    }

    fn draw_in_checkpoint(&mut self, disk: &SimDisk) -> Option<Flip> {
        let len = disk.durable(CHECKPOINT).len() as u64;
        if self.mailbox_in == Some(RotIn::Store) || len == 0 {
            return None;
        }
        self.mailbox_in = Some(RotIn::Checkpoint);
        let offset = self.rng.random_range(0..len);
        Some(Flip { file: CHECKPOINT.to_owned(), offset, harm: Harm::default() })
    }

    /// An octet of a body that has a file of its own.
    fn draw_in_body(&mut self, disk: &SimDisk, log: &Log) -> Option<Flip> {
        let in_files: Vec<_> =
            log.records.iter().filter_map(|record| Some((record, file_of_body(record)?))).collect();
        let (_, file) = in_files.choose(&mut self.rng)?;
        let len = disk.durable(file).len() as u64;
        if len == 0 {
            return None;
        }
        let mut harm = Harm::default();
        // A copy of the record names the same file.
        for (record, _) in in_files.iter().filter(|(_, other)| other == file) {
            log.loses_message(record, &mut harm);
        }
        Some(Flip { file: file.clone(), offset: self.rng.random_range(0..len), harm })
    }

    fn draw_in_record(&mut self, log: &Log) -> Option<Flip> {
        let record = log.records.choose(&mut self.rng)?;
        // The records that an Abort voids may be on the disk, and would be valid again.
        if matches!(record.content, Content::Abort(_)) {
            return None;
        }
        let len = record.frame.len() as u64;
        // Half of the draws are in frame and text, which are short beside a body: a body alone would be hit.
        let up_to = if self.rng.random() { len - u64::from(record.frame.body_len()) } else { len };
        let offset = record.offset + self.rng.random_range(0..up_to);
        if matches!(record.content, Content::Mailbox(_)) {
            if self.mailbox_in.is_some() {
                return None;
            }
            self.mailbox_in = Some(RotIn::Store);
        }
        let mut harm = Harm::default();
        log.loses(record, &mut harm);
        Some(Flip { file: record.file.clone(), offset, harm })
    }
}

impl Log {
    /// The content of `disk`. `names`: those of mailboxes that were known before.
    fn read(disk: &SimDisk, names: &BTreeMap<MailboxId, String>) -> Self {
        let mut log = Self { records: Vec::new(), names: names.clone() };
        for file in disk.durable_names() {
            let name = file.strip_prefix(SEGMENTS).and_then(|name| name.strip_prefix('/'));
            if let Some((_, marker)) = name.and_then(parse_segment) {
                log.read_segment(disk, file, marker);
            }
        }
        log
    }

    fn read_segment(&mut self, disk: &SimDisk, file: String, marker: Marker) {
        let octets = disk.durable(&file);
        let mut scanner = Scanner::new(marker, 0);
        loop {
            match scanner.step() {
                Step::More(offset) => {
                    let at = usize::try_from(offset).unwrap_or(usize::MAX);
                    scanner.feed(octets.get(at..).unwrap_or_default());
                }
                Step::Record(offset, frame) => {
                    let decoded = decode(marker, scanner.record()).and_then(|(_, text, body)| {
                        Some((Content::decode(frame.kind, text).ok()?, body.to_vec()))
                    });
                    let Some((content, body)) = decoded else { continue };
                    if let Content::Mailbox(mailbox) = &content {
                        self.names.insert(mailbox.id, mailbox.name.clone());
                    }
                    let mut record =
                        Written { file: file.clone(), offset, frame, content, mark: None, failures: None };
                    let body = file_of_body(&record).map_or(body, |file| disk.durable(&file));
                    record.mark = mark_of(&body);
                    record.failures = if record.mark.is_none() { failures_in(&body) } else { None };
                    self.records.push(record);
                }
                Step::Damage { .. } | Step::Newer { .. } => {}
                Step::End => return,
            }
        }
    }

    /// Whatever `record` says is lost.
    fn loses(&self, record: &Written, harm: &mut Harm) {
        match &record.content {
            Content::Accept(accept) => {
                self.loses_message(record, harm);
                accept.ends.iter().for_each(|entry| harm.again.extend(self.queued(*entry)));
                if let Origin::Polled { .. } = accept.origin {
                    harm.again.extend(self.copies(record, accept));
                }
            }
            Content::Attempt(attempt) => harm.reasons.extend(self.queued(attempt.entry)),
            Content::Done(done) => harm.again.extend(self.queued(done.entry)),
            Content::Expunge(expunge) => {
                for uid in &expunge.uids {
                    harm.numbers.extend(self.number(expunge.mailbox, *uid));
                    harm.again.extend(self.delivered(expunge.mailbox, *uid));
                }
            }
            Content::Seen(_) => harm.is_fetched_again = true,
            Content::Start(_)
            | Content::Abort(_)
            | Content::Mailbox(_)
            | Content::Flags(_)
            | Content::Forget(_)
            | Content::Note(_) => {}
        }
    }

    /// The message that `record` accepts is lost.
    fn loses_message(&self, record: &Written, harm: &mut Harm) {
        let Content::Accept(accept) = &record.content else { return };
        harm.lost.extend(self.copies(record, accept));
        harm.numbers.extend(self.numbers(accept));
    }

    /// The copies of the message that `record` accepts, by mark and by mailbox or address; of a notice those that it
    /// tells of.
    fn copies(&self, record: &Written, accept: &Accept) -> Vec<(String, String)> {
        if let Some(Failures { mark, recipients }) = &record.failures {
            return recipients.iter().map(|recipient| (mark.clone(), recipient.clone())).collect();
        }
        let Some(mark) = &record.mark else { return Vec::new() };
        let here = accept.deliveries.iter().filter_map(|delivery| self.names.get(&delivery.mailbox));
        let elsewhere = accept.remotes.iter().map(|remote| &remote.recipient);
        here.chain(elsewhere).map(|copy| (mark.clone(), copy.clone())).collect()
    }

    fn numbers(&self, accept: &Accept) -> Vec<(String, u32)> {
        accept.deliveries.iter().filter_map(|delivery| self.number(delivery.mailbox, delivery.uid)).collect()
    }

    fn number(&self, mailbox: MailboxId, uid: Uid) -> Option<(String, u32)> {
        Some((self.names.get(&mailbox)?.clone(), uid))
    }

    /// The copy that has this number in a mailbox.
    fn delivered(&self, mailbox: MailboxId, uid: Uid) -> Option<(String, String)> {
        let name = self.names.get(&mailbox)?;
        let mark = self.accepts().find_map(|(record, accept)| {
            let is_it = accept.deliveries.iter().any(|to| (to.mailbox, to.uid) == (mailbox, uid));
            if is_it { record.mark.clone() } else { None }
        });
        Some((mark?, name.clone()))
    }

    /// The copy that waits, or has waited, as an entry of the queue.
    fn queued(&self, entry: QueueId) -> Option<(String, String)> {
        let mut of_message = self.accepts().filter(|(record, _)| record.frame.sequence == entry.message);
        of_message.find_map(|(record, accept)| {
            let remote = accept.remotes.iter().find(|remote| remote.number == entry.recipient)?;
            Some((record.mark.clone()?, remote.recipient.clone()))
        })
    }

    fn accepts(&self) -> impl Iterator<Item = (&Written, &Accept)> {
        self.records.iter().filter_map(|record| match &record.content {
            Content::Accept(accept) => Some((record, accept)),
            _ => None,
        })
    }
}

/// The file of the body of the message that `record` accepts, if it has one.
fn file_of_body(record: &Written) -> Option<String> {
    match &record.content {
        Content::Accept(Accept { body: Body::File { name, .. }, .. }) => Some(body_file(*name)),
        _ => None,
    }
}
