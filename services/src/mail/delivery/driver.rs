//! The driver of the queue, over all configurations.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Role as Side;
use ipnet::IpNet;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::courier::{Carried, Content, carry};
use super::office::{Login, Settings};
use super::outgoing::{Outgoing, is_ours};
use super::settlement::{AGAIN_AFTER, Original};
use super::stats::Stats;
use super::without_tls::WithoutTls;
use crate::addresses::Subscription;
use crate::clock::{Clock, sleep_until};
use crate::dns::resolver::Resolver;
use crate::dns::special::is_private;
use crate::mail::MailEvent;
use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::mx::{NextHop, Routes};
use crate::mail::queue::connection::PendingQuit;
use crate::mail::queue::schedule::Now;
use crate::mail::queue::{self, DeliveryResult, Job, Queue, Settlement, StoredMessage};
use crate::mail::service::directory::{Directory, Place};
use crate::mail::service::remote::{Delivered, Remote};
use crate::mail::service::state::{MailState, Opened};
use crate::mail::signing::{KeyKeeper, Reading};
use crate::mail::smtp::Rejection;
use crate::mail::smtp::client::Outcome;
use crate::mail::smtp::server::{Recipient, Sender};
use crate::mail::store::{self, Change, QueueId, Sequence};
use crate::net::Net;
use crate::tls::Tls;
use crate::wait::{all_of, first_of};
use crate::watch;
use crate::work::Work;

/// The most pending notices of local delivery. Further ones are dropped.
const REPORTS_MAX: usize = 1000;
/// The least interval between two looks at the queue without another event.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// The driver of the queue for mail to other domains.
pub struct DeliveryDriver<N: Net> {
    active: RefCell<Option<Rc<Active<N>>>>,
    /// `None` until the store's entries are loaded.
    queue: RefCell<Option<Queue>>,
    /// The last message whose entries were inserted into the queue.
    known: Cell<Sequence>,
    /// Jobs in progress.
    jobs: Cell<usize>,
    /// Pending notices of local delivery.
    reports: RefCell<VecDeque<Delivered>>,
    /// Something is to be done.
    woken: Notify,
    /// A job is over.
    ended: Notify,
    stats: Rc<RefCell<Stats>>,
    without_tls: Rc<RefCell<WithoutTls>>,
    is_driven: Cell<bool>,
    probe: Cell<Probe>,
}

/// Whether the store is known to accept the outcomes of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Probe {
    /// Unknown: no job begins.
    #[default]
    Unasked,
    /// Nothing yet.
    Asked,
    /// It has just accepted a change.
    Passed,
}

/// The state of one configuration.
pub(super) struct Active<N: Net> {
    pub settings: Settings,
    pub net: N,
    pub clock: Rc<dyn Clock>,
    pub work: Rc<dyn Work>,
    pub resolver: Resolver,
    pub tls: Option<Rc<Tls>>,
    pub state: Rc<MailState>,
    pub directory: Directory,
    /// The domains that sign.
    pub domains: Vec<String>,
    pub keeper: Rc<KeyKeeper>,
    pub rng: RefCell<StdRng>,
    pub addresses: Subscription,
    pub stats: Rc<RefCell<Stats>>,
    pub without_tls: Rc<RefCell<WithoutTls>>,
    /// Whether it stops: connections are closed.
    pub stopping: watch::Sender<bool>,
    /// Why the smarthost does not take mail, if that is for the administrator to mend.
    pub trouble: RefCell<Option<String>>,
    /// The problem with the public MX records of local domains.
    pub world: RefCell<Option<String>>,
}

impl<N: Net> Active<N> {
    /// How mail leaves at the addresses that the gateway has now.
    pub fn routes(&self) -> Routes {
        let addresses = self.addresses.borrow();
        let own = addresses.interfaces.iter().flat_map(|interface| &interface.addresses);
        let domains = &self.settings.mail.domains;
        Routes {
            domains: self.settings.routes.clone(),
            smarthost: self.settings.smarthost.clone(),
            own_names: domains.iter().map(|domain| domain.name.to_lowercase()).collect(),
            own_addresses: own.map(IpNet::addr).collect(),
            lan: addresses.of(Side::Inside).flat_map(|inside| inside.addresses.clone()).collect(),
            // The host stack speaks IPv4 only.
            has_ipv6: false,
        }
    }

    /// The credentials for a server.
    pub fn login(&self, next_hop: &NextHop) -> Option<&Login> {
        let is_smarthost = matches!(next_hop, NextHop::Server { is_smarthost: true, .. });
        self.settings.login.as_ref().filter(|_| is_smarthost)
    }

    /// Where `path` is.
    pub fn find(&self, path: &ForwardPath) -> Place<'_> {
        let addresses = self.addresses.borrow();
        let is_own = |address: IpAddr| {
            let own = addresses.interfaces.iter().flat_map(|interface| &interface.addresses);
            own.into_iter().any(|network| network.addr() == address)
        };
        self.directory.find(path, is_own)
    }

    pub fn count(&self, count: impl FnOnce(&mut Stats)) {
        count(&mut self.stats.borrow_mut());
    }

    /// Whether it stops.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    fn now(&self) -> Now {
        Now::of(&*self.clock)
    }

    /// Whether the internet is reachable: there is an address outside, or a router on the LAN. A LAN-only office counts
    /// as connected.
    fn has_connectivity(&self) -> bool {
        let addresses = self.addresses.borrow();
        !self.settings.may_leave
            || addresses.ipv4(Side::Outside).next().is_some()
            || addresses.of(Side::Inside).any(|inside| inside.ipv4_gateway().is_some())
    }
}

impl<N: Net> DeliveryDriver<N> {
    /// A driver without a configuration.
    pub fn new() -> Self {
        Self {
            active: RefCell::default(),
            queue: RefCell::default(),
            known: Cell::new(0),
            jobs: Cell::new(0),
            reports: RefCell::default(),
            woken: Notify::new(),
            ended: Notify::new(),
            stats: Rc::default(),
            without_tls: Rc::default(),
            is_driven: Cell::new(false),
            probe: Cell::default(),
        }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let queued = self.queue.borrow().as_ref().map_or(0, Queue::len);
        Stats { queued: u64::try_from(queued).unwrap_or(u64::MAX), ..self.stats.borrow().clone() }
    }

    pub(super) fn shared_stats(&self) -> Rc<RefCell<Stats>> {
        Rc::clone(&self.stats)
    }

    pub(super) fn without_tls(&self) -> Rc<RefCell<WithoutTls>> {
        Rc::clone(&self.without_tls)
    }

    /// Sends by `active` from now on. To be called where tasks can be spawned locally.
    pub(super) fn set(self: &Rc<Self>, active: &Rc<Active<N>>) {
        *self.active.borrow_mut() = Some(Rc::clone(active));
        self.reroute(active);
        if !self.is_driven.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).drive(Rc::clone(&active.state)));
        }
    }

    /// Follows the addresses that the gateway has now.
    pub(super) fn reroute(&self, active: &Active<N>) {
        if let Some(queue) = &mut *self.queue.borrow_mut() {
            queue.reroute(&active.routes());
            queue.set_connectivity(active.now(), active.has_connectivity());
        }
        self.woken.notify_one();
    }

    /// Begins no new job with `active`, ends connections before the end of their message, and waits until no job is in
    /// progress. If another configuration is active already, there is nothing to wait for: jobs continue.
    pub(super) async fn unset(&self, active: &Rc<Active<N>>) {
        let is_it = self.active.borrow().as_ref().is_some_and(|now| Rc::ptr_eq(now, active));
        if !is_it {
            return;
        }
        *self.active.borrow_mut() = None;
        active.stopping.send_replace(true);
        while self.jobs.get() > 0 {
            self.ended.notified().await;
        }
    }

    /// The active configuration, if mail is enabled.
    pub(super) fn active(&self) -> Option<Rc<Active<N>>> {
        self.active.borrow().clone()
    }

    /// Accesses the queue; `None` until it is loaded.
    pub(super) fn with_queue<T>(&self, using: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        self.queue.borrow_mut().as_mut().map(using)
    }

    /// Wakes the driver, as a job may be due.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Updates entries of the queue from the store.
    pub(super) fn follow(&self, active: &Active<N>, entries: impl Iterator<Item = QueueId>) {
        let (routes, now) = (active.routes(), active.now());
        let mut queue = self.queue.borrow_mut();
        let Some((queue, opened)) = queue.as_mut().zip(active.state.opened()) else { return };
        opened.store.look(|state| {
            for id in entries {
                match state.queued(id) {
                    Some(entry) => {
                        let change =
                            queue.insert(now, &routes, id, &entry.recipient, &entry.options, &entry.progress);
                        Self::hold(&opened, change);
                    }
                    None => queue.remove(id),
                }
            }
        });
    }

    /// Has the store hold an entry that cannot be read.
    fn hold(opened: &Opened, change: Option<Change>) {
        let Some(change) = change else { return };
        let store = opened.store.clone();
        tokio::task::spawn_local(async move {
            if let Err(refused) = store.change(change).await {
                warn!("a message with an address that cannot be read is not held yet: {refused}");
            }
        });
    }

    /// Inserts the entries of messages that were accepted since the last call. No other code inserts any.
    fn follow_new(&self, active: &Active<N>) {
        let Some(opened) = active.state.opened() else { return };
        let after = self.known.get();
        let ids: Vec<_> = opened.store.look(|state| state.queue_after(after).map(|(id, _)| id).collect());
        let Some(last) = ids.last() else { return };
        self.known.set(last.message);
        self.follow(active, ids.into_iter());
    }

    /// Runs one job, and stores its outcome.
    async fn work(&self, active: &Active<N>, job: Job) {
        let first = job.recipients.first().map(|recipient| recipient.id);
        let Some((first, opened)) = first.zip(active.state.opened()) else { return };
        let mut original = Original { head: &[], is_whole: false };
        let content;
        let mut quits = Vec::new();
        let settlement = match self.carry(active, &opened, &job, first).await {
            Ok((settled, open, read, is_whole)) => {
                (content, quits) = (read, open);
                original = Original { head: &content.head, is_whole };
                settled
            }
            Err(error) => {
                warn!("the message {first} in the queue cannot be sent: {error}");
                self.settlement(|queue| queue.unreadable(active.now(), job.id, &error))
            }
        };
        self.keep(active, &opened, settlement, &original).await;
        // Another configuration may be active now, with other routes.
        let now = self.active.borrow().clone();
        let active = now.as_deref().unwrap_or(active);
        self.follow(active, job.recipients.iter().map(|recipient| recipient.id));
        // The servers have their share of connections until they are left.
        all_of(quits.into_iter().map(|quit| Box::pin(quit.send()) as _).collect()).await;
        if let Some(queue) = &mut *self.queue.borrow_mut() {
            queue.settled(active.now(), job.id);
        }
    }

    fn settlement(&self, settle: impl FnOnce(&mut Queue) -> Settlement) -> Settlement {
        self.queue.borrow_mut().as_mut().map(settle).unwrap_or_default()
    }

    /// What is to be stored of a job, the connections that are to be left then, what its message holds, and whether its
    /// beginning is all of it.
    async fn carry(
        &self,
        active: &Active<N>,
        opened: &Opened,
        job: &Job,
        first: QueueId,
    ) -> Result<(Settlement, Vec<PendingQuit>, Content, bool), store::Unreadable> {
        let message = StoredMessage::of(&opened.store, first).await?;
        let mut reading = (job.known.is_none() && is_ours(job)).then(Reading::new);
        let content = Content::of(&message, &mut reading).await?;
        let accept = &message.message().accept;
        let sender = Mailbox::parse(&accept.return_path).map_or(ReversePath::Null, ReversePath::Mailbox);
        let Carried { results, quits } = match &job.known {
            Some(known) => Carried { results: known.clone(), quits: Vec::new() },
            None => {
                let (return_path, sent_on) = active.sent_on(&opened.srs, job, &sender);
                let mut fields = active.signatures(reading).await;
                fields.extend(sent_on.into_bytes());
                let outgoing = Outgoing { fields, message: &message };
                let stuck = || {
                    self.with_queue(|queue| queue.stuck(job.id));
                    self.wake();
                };
                let carried = carry(active, job, &outgoing, &content, &return_path, &stuck).await;
                self.tell(active, job, &accept.return_path, &carried.results);
                carried
            }
        };
        let is_deferred = |result: &DeliveryResult| result.report.outcome == Outcome::Deferred;
        let about = queue::Message { sender, accepted: crate::clock::UnixTime(accept.time) };
        let settlement = match active.is_stopping() && results.iter().all(is_deferred) {
            // The servers were left: that was no try.
            true => Settlement::default(),
            false => self.settlement(|queue| queue.settle(active.now(), job.id, &about, &results)),
        };
        let is_whole = message.message().body.len() == content.head.len() as u64;
        Ok((settlement, quits, content, is_whole))
    }

    fn tell(&self, active: &Active<N>, job: &Job, return_path: &str, results: &[DeliveryResult]) {
        let mut stats = self.stats.borrow_mut();
        for (recipient, result) in job.recipients.iter().zip(results) {
            let report = &result.report;
            let server = result.server.as_deref().unwrap_or("nobody");
            debug!(
                "{} to {}: {:?} by {server}: {}",
                recipient.id, recipient.address, report.outcome, report.text
            );
            active.state.events().note(active.clock.now(), || {
                let event = match report.outcome {
                    Outcome::Delivered => "sent",
                    Outcome::Deferred => "deferred",
                    Outcome::Failed => "failed",
                };
                MailEvent {
                    id: Some(recipient.id.to_string()),
                    from: Some(return_path.to_owned()),
                    to: vec![recipient.address.to_string()],
                    server: result.server.clone(),
                    reason: Some(report.text.clone()),
                    ..MailEvent::new(event)
                }
            });
            match report.outcome {
                Outcome::Delivered => stats.delivered += 1,
                Outcome::Deferred => stats.deferred += 1,
                Outcome::Failed => stats.failed += 1,
            }
            stats.perhaps_delivered += u64::from(report.may_be_delivered);
        }
    }

    /// Sends notices of local delivery, in a task of its own.
    fn report(self: &Rc<Self>, active: &Rc<Active<N>>) {
        let reports = self.reports.take();
        let Some(opened) = active.state.opened().filter(|_| !reports.is_empty()) else { return };
        self.jobs.set(self.jobs.get() + 1);
        let (this, active) = (Rc::clone(self), Rc::clone(active));
        tokio::task::spawn_local(async move {
            for report in reports {
                this.keep_report(&active, &opened, report).await;
            }
            this.jobs.set(this.jobs.get() - 1);
            this.ended.notify_one();
        });
    }

    /// Why no job begins although one is due, if the store is the reason.
    pub(super) fn trouble(&self, state: &MailState) -> Option<String> {
        let opened = state.opened().filter(|_| self.probe.get() == Probe::Asked)?;
        let refused = opened.store.trouble()?;
        Some(format!("no mail leaves, as what becomes of it could not be stored: {refused}"))
    }

    /// Probes the store until it accepts changes, in a task of its own.
    fn ask_store(self: &Rc<Self>, opened: &Rc<Opened>) {
        self.probe.set(Probe::Asked);
        let (this, opened) = (Rc::clone(self), Rc::clone(opened));
        tokio::task::spawn_local(async move {
            let mut is_told = false;
            while let Err(refused) = opened.store.probe().await {
                if !std::mem::replace(&mut is_told, true) {
                    warn!("no mail leaves, as what becomes of it could not be stored: {refused}");
                }
                sleep(AGAIN_AFTER).await;
            }
            this.probe.set(Probe::Passed);
            this.woken.notify_one();
        });
    }

    /// Begins all jobs that are due, once the store has shown that it accepts their outcomes: a sent message without a
    /// stored outcome would be sent again after a crash.
    fn begin_jobs(self: &Rc<Self>, active: &Rc<Active<N>>, opened: &Rc<Opened>) {
        let due = self.with_queue(|queue| queue.due(active.now())).flatten();
        let is_due = due.is_some_and(|due| due <= active.clock.now());
        match self.probe.get() {
            Probe::Unasked if is_due => return self.ask_store(opened),
            Probe::Unasked | Probe::Asked => return,
            Probe::Passed => self.probe.set(Probe::Unasked),
        }
        loop {
            let job = self.queue.borrow_mut().as_mut().and_then(|queue| queue.next_job(active.now()));
            let Some(job) = job else { return };
            self.jobs.set(self.jobs.get() + 1);
            let (this, active) = (Rc::clone(self), Rc::clone(active));
            tokio::task::spawn_local(async move {
                this.work(&active, job).await;
                this.jobs.set(this.jobs.get() - 1);
                this.ended.notify_one();
                this.woken.notify_one();
            });
        }
    }

    /// Drives the queue.
    async fn drive(self: Rc<Self>, state: Rc<MailState>) {
        let opened = state.when_opened().await;
        opened.store.ready().await;
        loop {
            let active = self.active.borrow().clone();
            let Some(active) = active else {
                // The result is outdated when delivery resumes.
                if self.probe.get() == Probe::Passed {
                    self.probe.set(Probe::Unasked);
                }
                self.woken.notified().await;
                continue;
            };
            if self.queue.borrow().is_none() {
                *self.queue.borrow_mut() = Some(Queue::new(active.now()));
                self.reroute(&active);
            }
            self.follow_new(&active);
            self.begin_jobs(&active, &opened);
            self.report(&active);
            let due = self.queue.borrow().as_ref().and_then(|queue| queue.due(active.now()));
            // An entry that is due but got no job waits for one to end.
            let due = due.map(|due| due.max(active.clock.now() + LOOKS_EVERY));
            let told = first_of(self.woken.notified(), opened.store.queued());
            first_of(told, sleep_until(&*active.clock, due)).await;
        }
    }
}

impl<N: Net> Default for DeliveryDriver<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N: Net> Remote for DeliveryDriver<N> {
    fn route(&self, sender: &Sender, recipient: &Recipient) -> Result<store::Remote, Rejection> {
        let active = self.active.borrow().clone().ok_or(Rejection::TryLater)?;
        let ForwardPath::Mailbox(mailbox) = &recipient.path else { return Err(Rejection::BadRecipient) };
        let refused = |text: &str| Err(Rejection::Policy { is_temporary: false, text: text.to_owned() });
        match active.routes().next_hop(&mailbox.domain) {
            NextHop::Literal(address) if is_private(address.to_canonical()) => {
                refused("no mail is sent to an address that no public server has")
            }
            NextHop::Domain(_) | NextHop::Literal(_) if !active.settings.may_leave => {
                refused("this server has no way to other domains")
            }
            _ => {
                let remote = if recipient.may_relay { queue::remote_of_ours } else { queue::remote };
                let now = active.clock.unix_time();
                Ok(remote(mailbox, &sender.parameters, &recipient.parameters, now))
            }
        }
    }

    fn has_reports(&self) -> bool {
        true
    }

    fn delivered(&self, delivered: Delivered) {
        let mut reports = self.reports.borrow_mut();
        if reports.len() >= REPORTS_MAX {
            return warn!(
                "{} gets no notice that a message is in a mailbox here: there are too many",
                delivered.sender
            );
        }
        reports.push_back(delivered);
        self.wake();
    }
}
