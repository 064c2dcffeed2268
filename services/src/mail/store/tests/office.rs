//! A store over a [`FakeDisk`], and what a user of it knows: what was promised, and what is open.

use std::collections::BTreeMap;
use std::io;

use gatepost_ground::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::disk::{FakeDisk, Loss};
use crate::mail::store::{
    Accept, Answer, Attempt, BodyOctets, Change, Delivery, Done, Expunge, Flags, INBOX, Lane, Mailbox,
    MailboxId, Origin, Progress, QueueId, Recovered, Remote, SetFlags, Settings, Store, StoreError, Stored,
    Ticket, Uid, Uidls, read_body_part, read_message, recover, recover_all,
};

pub(super) const SETTINGS: Settings = Settings {
    segment_octets: 900,
    batch_octets: 1200,
    batch_records: 3,
    inline_octets: 40,
    reserve_octets: 3000,
    checkpoint_octets: 1500,
    messages_max: 1000,
    queue_max: 1000,
    seen_max: 1000,
};
const MAILBOXES: usize = 2;
pub(super) const ACCOUNT: &str = "an account";

/// What is done to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// A message for the mailboxes whose bits are set, and perhaps for a remote address; polled or not.
    Accept { to: u8, is_remote: bool, is_large: bool, is_polled: bool },
    /// Some message is expunged from some mailbox.
    Expunge(u8),
    /// Some message gets flags.
    Flags(u8, u16),
    /// Some queue entry is tried once more.
    Attempt(u8),
    /// Some queue entry is over.
    Done(u8),
    /// Some message that was polled is forgotten.
    Forget(u8),
    /// Syncs fail from now on, or no more.
    FailSync(bool),
    /// There is so much room from now on.
    Room(Option<usize>),
    /// Some seconds pass.
    Wait,
    /// All that there is to do is done.
    Settle,
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    No,
    /// It was requested, and the outcome is unknown.
    Open,
    Yes,
}

/// A fact may be so or not only while a change of it is open.
impl Fate {
    fn resolve(&mut self, is_so: bool, what: &str) {
        let expected = match self {
            Self::No => false,
            Self::Yes => true,
            Self::Open => is_so,
        };
        assert_eq!(is_so, expected, "{what}: {self:?}");
        *self = if is_so { Self::Yes } else { Self::No };
    }
}

#[derive(Clone, Debug)]
struct Mail {
    body: Vec<u8>,
    to: Vec<usize>,
    is_remote: bool,
    is_polled: bool,
    accepted: Fate,
    sequence: Option<u64>,
    /// In each mailbox.
    uids: [Option<Uid>; MAILBOXES],
    expunged: [Fate; MAILBOXES],
    /// Flags that it may have.
    flags: [Vec<u16>; MAILBOXES],
    /// Tries that it may have.
    tries: Vec<u32>,
    done: Fate,
    forgotten: Fate,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Accept(usize),
    Expunge(usize, usize),
    Flags(usize, usize, u16),
    Attempt(usize, u32),
    Done(usize),
    Forget(usize),
}

#[derive(Clone, Default)]
pub(super) struct Model {
    mailboxes: Vec<MailboxId>,
    mails: Vec<Mail>,
    /// Whose each number ever was.
    known: BTreeMap<(MailboxId, Uid), usize>,
    pub refused: usize,
}

pub(super) struct Office {
    pub disk: FakeDisk,
    pub store: Store,
    pub model: Model,
    now: Instant,
    starts: u64,
    under_way: Option<(Lane, io::Result<Answer>)>,
    tickets: BTreeMap<Ticket, Asked>,
    /// Whether what the start found was compared. Nobody sees it before all of it is durable.
    is_checked: bool,
}

fn open(disk: &FakeDisk, starts: u64) -> Store {
    let (by_checkpoint, all) = (recover(disk).unwrap(), recover_all(disk).unwrap());
    let says = |recovered: &Recovered| {
        let state = recovered.state();
        let entries: Vec<_> = state.mailboxes().flat_map(Mailbox::entries).copied().collect();
        let queue: Vec<_> = state.queue().map(|(id, entry)| (id, entry.clone())).collect();
        let names: Vec<_> = state.mailboxes().map(|mailbox| mailbox.state().name.clone()).collect();
        (entries, queue, names, state.seen(ACCOUNT).map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(says(&by_checkpoint), says(&all), "with a checkpoint it is the same");
    assert!(!by_checkpoint.report().is_damaged(), "by a crash: {:?}", by_checkpoint.report());
    assert!(!all.report().is_damaged(), "by a crash: {:?}", all.report());
    Store::new(SETTINGS, recover(disk).unwrap(), StdRng::seed_from_u64(starts))
}

impl Office {
    /// Two mailboxes, empty.
    pub fn new() -> Self {
        let disk = FakeDisk::default();
        let store = open(&disk, 0);
        let mut office = Self::with(disk, store, Model::default(), 0);
        for name in ["anna", "bert"] {
            let change = Change::MakeMailbox { name: name.to_owned(), quota: 0, time: 7 };
            office.store.submit(change).unwrap();
            office.settle();
            office.model.mailboxes.push(office.store.state().mailbox_named(name).unwrap().state().id);
        }
        office
    }

    fn with(disk: FakeDisk, store: Store, model: Model, starts: u64) -> Self {
        let now = Instant::from_secs(100);
        Self { disk, store, model, now, starts, under_way: None, tickets: BTreeMap::new(), is_checked: false }
    }

    /// What comes up after a crash at this moment.
    pub fn crashed(&self, loss: Loss) -> Self {
        let disk = self.disk.fork();
        disk.cut_power(loss);
        disk.fail_to_sync(false);
        disk.set_room(None);
        let starts = self.starts + 1;
        let store = open(&disk, starts);
        let mut office = Self::with(disk, store, self.model.clone(), starts);
        office.check_start();
        office
    }

    /// What comes up after the process has ended, on the disk as it is.
    pub fn restarted(&self) -> Self {
        let disk = self.disk.fork();
        let store = open(&disk, self.starts + 1);
        Self::with(disk, store, self.model.clone(), self.starts + 1)
    }

    fn check_start(&mut self) {
        if !self.is_checked && self.store.is_ready() {
            self.is_checked = true;
            self.check();
        }
    }

    /// The same disk, as it was read. What damage has cost the model does not know.
    pub fn reopened(self, recovered: Recovered) -> Self {
        let store = Store::new(SETTINGS, recovered, StdRng::seed_from_u64(77));
        Self { is_checked: true, ..Self::with(self.disk, store, self.model, self.starts + 1) }
    }

    /// Delivers a message to the mailboxes that there are, and says which numbers it has got.
    pub fn deliver_to_all(&mut self) -> Vec<(MailboxId, Uid)> {
        let mailboxes: Vec<_> = self.store.state().mailboxes().map(|mailbox| mailbox.state().id).collect();
        let deliver = |mailbox: &MailboxId| Delivery { mailbox: *mailbox, ..Delivery::default() };
        let deliveries = mailboxes.iter().map(deliver).collect();
        let accept = Accept { deliveries, ..Accept::default() };
        let ticket = self.store.submit(Change::Accept(accept, b"new".to_vec())).unwrap();
        while let Some(request) = self.store.poll_request(self.now) {
            let done = request.task.perform(&self.disk);
            self.store.handle_done(self.now, request.lane, done);
        }
        let (told, outcome) = self.store.poll_outcome().unwrap();
        assert_eq!(told, ticket);
        outcome.unwrap().uids
    }

    pub fn act(&mut self, op: Op) {
        match op {
            Op::FailSync(fails) => self.disk.fail_to_sync(fails),
            Op::Room(room) => self.disk.set_room(room),
            Op::Wait => self.now = self.now + std::time::Duration::from_secs(11),
            Op::Settle => self.settle(),
            _ if !self.is_checked => {}
            Op::Accept { to, is_remote, is_large, is_polled } => {
                self.accept(to, is_remote, is_large, is_polled);
            }
            Op::Expunge(which) => {
                let Some((at, of, uid)) = self.delivered(which) else { return };
                self.model.mails[at].expunged[of] = Fate::Open;
                let mailbox = self.model.mailboxes[of];
                self.ask(Change::Expunge(Expunge { mailbox, uids: vec![uid] }), Asked::Expunge(at, of));
            }
            Op::Flags(which, flags) => {
                let Some((at, of, uid)) = self.delivered(which) else { return };
                self.model.mails[at].flags[of].push(flags);
                let mailbox = self.model.mailboxes[of];
                let set = SetFlags { mailbox, uids: vec![uid], flags: Flags(flags), modseq: 0 };
                self.ask(Change::Flags(set), Asked::Flags(at, of, flags));
            }
            Op::Attempt(which) => {
                let Some((at, entry)) = self.queued(which) else { return };
                let tries = self.store.state().queued(entry).map_or(0, |entry| entry.progress.tries) + 1;
                self.model.mails[at].tries.push(tries);
                let progress = Progress {
                    tries,
                    due: 8,
                    is_warned: true,
                    reply: "450 later".to_owned(),
                    ..Progress::default()
                };
                self.ask(Change::Attempt(Attempt { entry, progress }), Asked::Attempt(at, tries));
            }
            Op::Done(which) => {
                let Some((at, entry)) = self.queued(which) else { return };
                self.model.mails[at].done = Fate::Open;
                self.ask(Change::Done(Done::new(entry, "250".to_owned())), Asked::Done(at));
            }
            Op::Forget(which) => {
                let polled =
                    |mail: &Mail| mail.is_polled && mail.accepted == Fate::Yes && mail.forgotten == Fate::No;
                let Some(at) = pick(&self.model.mails, which, polled) else { return };
                self.model.mails[at].forgotten = Fate::Open;
                let uidls = Uidls { account: ACCOUNT.to_owned(), uidls: vec![at.to_string()] };
                self.ask(Change::Forget(uidls), Asked::Forget(at));
            }
        }
    }

    fn accept(&mut self, to: u8, is_remote: bool, is_large: bool, is_polled: bool) {
        let at = self.model.mails.len();
        let filler = "x".repeat(if is_large { 150 } else { at % 20 });
        let body = format!("mail {at} {filler}").into_bytes();
        let to: Vec<_> = (0..MAILBOXES).filter(|of| to & 1 << of != 0).collect();
        let deliveries = to.iter().map(|of| Delivery {
            mailbox: self.model.mailboxes[*of],
            folder: INBOX,
            prefix: format!("To: {of}\r\n").into_bytes(),
            ..Delivery::default()
        });
        let remote = Remote { recipient: "c@example".to_owned(), ..Remote::default() };
        let polled = Origin::Polled { account: ACCOUNT.to_owned(), uidl: at.to_string() };
        let accept = Accept {
            time: 9,
            origin: if is_polled { polled } else { Origin::Smtp },
            deliveries: deliveries.collect(),
            remotes: is_remote.then_some(remote).into_iter().collect(),
            ..Accept::default()
        };
        let mail = Mail {
            body: body.clone(),
            to,
            is_remote,
            is_polled,
            accepted: Fate::Open,
            sequence: None,
            uids: [None; MAILBOXES],
            expunged: [Fate::No; MAILBOXES],
            flags: [vec![0], vec![0]],
            tries: vec![0],
            done: Fate::No,
            forgotten: Fate::No,
        };
        self.model.mails.push(mail);
        if !is_large {
            self.ask(Change::Accept(accept, body), Asked::Accept(at));
            return;
        }
        let committed = self.store.begin().and_then(|draft| {
            let (first, rest) = body.split_at(body.len() / 2);
            self.store.chunk(draft, first)?;
            self.store.chunk(draft, rest)?;
            self.store.commit(draft, accept)
        });
        self.asked(committed, Asked::Accept(at));
    }

    /// A message that is surely in a mailbox, and its number there.
    fn delivered(&self, which: u8) -> Option<(usize, usize, Uid)> {
        let all = self.model.mails.iter().enumerate().flat_map(|(at, mail)| {
            let is_there = |of: &&usize| mail.accepted == Fate::Yes && mail.expunged[**of] == Fate::No;
            mail.to.iter().filter(is_there).filter_map(move |of| Some((at, *of, mail.uids[*of]?)))
        });
        let all: Vec<_> = all.collect();
        all.get(usize::from(which) % all.len().max(1)).copied()
    }

    fn queued(&self, which: u8) -> Option<(usize, QueueId)> {
        let is_queued = |mail: &Mail| mail.is_remote && mail.accepted == Fate::Yes && mail.done == Fate::No;
        let at = pick(&self.model.mails, which, is_queued)?;
        Some((at, QueueId { message: self.model.mails[at].sequence?, recipient: 0 }))
    }

    fn ask(&mut self, change: Change, asked: Asked) {
        let ticket = self.store.submit(change);
        self.asked(ticket, asked);
    }

    fn asked(&mut self, ticket: Result<Ticket, StoreError>, asked: Asked) {
        match ticket {
            Ok(ticket) => _ = self.tickets.insert(ticket, asked),
            Err(refused) => self.told(asked, Err(refused)),
        }
    }

    /// Does one thing: a request, or telling the store of it. Returns whether there was one.
    pub fn step(&mut self) -> bool {
        if let Some((lane, done)) = self.under_way.take() {
            self.store.handle_done(self.now, lane, done);
            self.check_start();
        } else if let Some(request) = self.store.poll_request(self.now) {
            self.under_way = Some((request.lane, request.task.perform(&self.disk)));
        } else {
            self.take_outcomes();
            let timeout = self.store.poll_timeout();
            assert!(timeout.is_none_or(|due| due > self.now), "at {timeout:?} there was nothing to do");
            return false;
        }
        self.take_outcomes();
        true
    }

    fn take_outcomes(&mut self) {
        while let Some((ticket, outcome)) = self.store.poll_outcome() {
            if let Some(asked) = self.tickets.remove(&ticket) {
                self.told(asked, outcome);
            }
        }
    }

    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                return;
            }
        }
        panic!("there is no end to it");
    }

    fn told(&mut self, asked: Asked, outcome: Result<Stored, StoreError>) {
        let is_done = outcome.is_ok();
        self.model.refused += usize::from(!is_done);
        let fate = if is_done { Fate::Yes } else { Fate::No };
        let mails = &mut self.model.mails;
        // Of several possible values, the one of the last certain change.
        let settle = |values: &mut Vec<u16>, value| {
            if is_done {
                let from = values.iter().position(|known| *known == value).unwrap_or(0);
                values.drain(..from);
            } else if let Some(at) = values.iter().rposition(|known| *known == value) {
                values.remove(at);
            }
        };
        match asked {
            Asked::Accept(at) => {
                mails[at].accepted = fate;
                let Ok(stored) = outcome else { return };
                mails[at].sequence = stored.sequence;
                for (mailbox, uid) in stored.uids {
                    let of = self.model.mailboxes.iter().position(|known| *known == mailbox).unwrap();
                    mails[at].uids[of] = Some(uid);
                    let former = self.model.known.insert((mailbox, uid), at);
                    assert!(former.is_none_or(|former| former == at), "number {uid} is given twice");
                }
            }
            Asked::Expunge(at, of) => mails[at].expunged[of] = fate,
            Asked::Flags(at, of, flags) => settle(&mut mails[at].flags[of], flags),
            Asked::Attempt(at, tries) => {
                let mut values: Vec<_> = mails[at].tries.iter().map(|tries| *tries as u16).collect();
                settle(&mut values, tries as u16);
                mails[at].tries = values.into_iter().map(u32::from).collect();
            }
            Asked::Done(at) => mails[at].done = fate,
            Asked::Forget(at) => mails[at].forgotten = fate,
        }
    }

    /// Compares what the store says with what it may say; what was open is known then.
    pub fn check(&mut self) {
        let state = self.store.state();
        let mut found: BTreeMap<(usize, usize), Uid> = BTreeMap::new();
        for (of, id) in self.model.mailboxes.iter().enumerate() {
            let mailbox = state.mailbox(*id).expect("mailboxes stay");
            for entry in mailbox.entries() {
                let segment = self.store.segment_file(entry.place.segment).unwrap();
                let message = read_message(&self.disk, &segment, *id, entry).unwrap();
                let body = read_all(&self.disk, &message.body);
                let mails = &self.model.mails;
                let at = mails.iter().position(|mail| mail.body == body).expect("it was sent");
                assert_eq!(entry.size, (message.prefix.len() + body.len()) as u64);
                assert_eq!(message.prefix, format!("To: {of}\r\n").into_bytes());
                assert!(mails[at].to.contains(&of), "mail {at} in the wrong mailbox");
                let flags = &self.model.mails[at].flags[of];
                assert!(flags.contains(&entry.flags.0), "flags {:?} of {flags:?}", entry.flags);
                self.model.mails[at].flags[of] = vec![entry.flags.0];
                let former = found.insert((at, of), entry.uid);
                assert_eq!(former, None, "mail {at} is there twice");
                let former = self.model.known.insert((*id, entry.uid), at);
                assert!(former.is_none_or(|former| former == at), "number {} was another's", entry.uid);
            }
            let known = self.model.known.keys().filter(|(mailbox, _)| mailbox == id);
            let last = known.map(|(_, uid)| *uid).max().unwrap_or(0);
            assert!(mailbox.state().uid_next > last, "{last} would be given again");
            let used: u64 = mailbox.entries().iter().map(|entry| entry.size).sum();
            assert_eq!(mailbox.used(), used);
        }
        for (at, mail) in self.model.mails.iter_mut().enumerate() {
            let uid_of = |of: usize| found.get(&(at, of)).copied();
            if mail.accepted == Fate::Open {
                let places: Vec<_> = mail.to.iter().map(|of| uid_of(*of).is_some()).collect();
                let seen = mail.is_polled.then(|| state.is_seen(ACCOUNT, &at.to_string()));
                let is_there = places.first().copied().or(seen);
                if let Some(is_there) = is_there {
                    assert!(places.iter().chain(&seen).all(|there| *there == is_there), "half of mail {at}");
                }
                mail.accepted.resolve(is_there.unwrap_or(false), "accepted");
                if let Some(of) = mail.to.first()
                    && let Some(uid) = uid_of(*of)
                {
                    let entry = state.mailbox(self.model.mailboxes[*of]).and_then(|all| all.entry(uid));
                    mail.sequence = entry.map(|entry| entry.message);
                }
            }
            for of in mail.to.clone() {
                if mail.accepted == Fate::Yes {
                    mail.expunged[of].resolve(uid_of(of).is_none(), &format!("mail {at} of {of} expunged"));
                    if let (Some(known), Some(uid)) = (mail.uids[of], uid_of(of)) {
                        assert_eq!(uid, known, "the number of mail {at}");
                    }
                    mail.uids[of] = mail.uids[of].or(uid_of(of));
                } else {
                    assert_eq!(uid_of(of), None, "mail {at} was refused, and is there");
                }
            }
            if mail.accepted == Fate::Yes && mail.is_remote {
                let id = mail.sequence.map(|message| QueueId { message, recipient: 0 });
                let entry = id.and_then(|id| state.queued(id));
                mail.done.resolve(entry.is_none(), "the queue entry is over");
                if let Some(entry) = entry {
                    let tries = entry.progress.tries;
                    assert!(mail.tries.contains(&tries), "{tries} of {:?}", mail.tries);
                    mail.tries = vec![tries];
                }
            }
            if mail.is_polled {
                let is_seen = state.is_seen(ACCOUNT, &at.to_string());
                if mail.accepted == Fate::Yes {
                    mail.forgotten.resolve(!is_seen, "forgotten");
                } else {
                    assert!(!is_seen, "mail {at} was refused, and is known");
                }
            }
        }
        let queued = self
            .model
            .mails
            .iter()
            .filter(|mail| mail.is_remote && mail.accepted == Fate::Yes && mail.done == Fate::No);
        assert_eq!(state.queue().count(), queued.count());
    }
}

pub(super) fn read_all(disk: &FakeDisk, body: &BodyOctets) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let part = read_body_part(disk, body, octets.len() as u64, 64).unwrap();
        if part.is_empty() {
            break;
        }
        octets.extend(part);
    }
    if let BodyOctets::File { checksum, .. } = body {
        assert_eq!(crc32fast::hash(&octets), *checksum);
    }
    octets
}

fn pick(mails: &[Mail], which: u8, wanted: impl Fn(&Mail) -> bool) -> Option<usize> {
    let all: Vec<_> = (0..mails.len()).filter(|at| wanted(&mails[*at])).collect();
    all.get(usize::from(which) % all.len().max(1)).copied()
}
