//! Polling as one of the gateway's services.

use std::cell::{OnceCell, RefCell};
use std::future::pending;
use std::rc::{Rc, Weak};

use gatepost_ground::Role as Side;
use tokio::task::JoinSet;

use super::polls::{Active, Polls};
use super::settings::Account;
use super::stats::Stats;
use crate::mail::service;
use crate::mail::service::remote::Remote;
use crate::mail::service::state::{MailState, Opener};
use crate::net::Net;
use crate::service::{Host, Instance, Kind, Listening, LocalFuture, OnWan, Service, State, Unprepared};
use crate::watch;

/// The static description of the service.
pub const KIND: Kind = Kind {
    name: "polling",
    ports: &[],
    on_wan: OnWan::Never,
    is_limited_by_network: false,
    has_logins: false,
    about: "Mail that is fetched from mailboxes elsewhere",
    counters: Stats::GLOSSARY,
};

/// The service's part of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The part of all mail services: the office's domains and users.
    pub mail: service::Settings,
    /// The remote mailboxes, without duplicates.
    pub accounts: Vec<Account>,
}

/// Polling as a service, over all configurations.
pub struct OfficePolling<N: Net> {
    state: Rc<MailState>,
    polls: Rc<Polls<N>>,
    remote: Rc<dyn Remote>,
}

impl<N: Net> OfficePolling<N> {
    /// The service that fetches the accounts of `polls` into the store of `state`. Messages that users' rules forward
    /// go to `remote`.
    pub fn new(state: Rc<MailState>, polls: Rc<Polls<N>>, remote: Rc<dyn Remote>) -> Self {
        Self { state, polls, remote }
    }
}

impl<N: Net> Service<N> for OfficePolling<N> {
    type Settings = Settings;

    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn prepare<'a>(
        &'a self,
        settings: Settings,
        host: &'a Host<N>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>> {
        Box::pin(async move {
            let polls = Rc::clone(&self.polls);
            if !settings.mail.enabled || settings.accounts.is_empty() {
                return Ok(Rc::new(NoAccounts(polls)) as Rc<dyn Instance>);
            }
            if host.addresses.borrow().ipv4(Side::Inside).next().is_none() {
                return Err(Unprepared::without_address(KIND.name));
            }
            let active = Rc::new(Active {
                settings,
                net: host.net.clone(),
                clock: Rc::clone(&host.clock),
                work: Rc::clone(&host.work),
                resolver: host.resolver(),
                tls: host.tls.clone(),
                state: Rc::clone(&self.state),
                remote: Rc::clone(&self.remote),
                addresses: host.addresses.clone(),
                rng: RefCell::new(host.rng()),
                office: OnceCell::new(),
                is_ending: watch::Sender::new(false),
                under_way: watch::Sender::new(0),
            });
            let opener = RefCell::new(Some(Opener::of(host)));
            let instance =
                Rc::new_cyclic(|this| OfficeInstance { active, polls, opener, this: Weak::clone(this) });
            Ok(instance as Rc<dyn Instance>)
        })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.polls.stats().iter().collect()
    }
}

/// Polling by a configuration without accounts.
struct NoAccounts<N: Net>(Rc<Polls<N>>);

impl<N: Net> Instance for NoAccounts<N> {
    fn activate(&self) {
        self.0.set(None);
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        Box::pin(pending())
    }

    fn state(&self) -> State {
        State::Off
    }

    fn listens(&self) -> Vec<Listening> {
        Vec::new()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Polling by one configuration.
struct OfficeInstance<N: Net> {
    active: Rc<Active<N>>,
    polls: Rc<Polls<N>>,
    /// The parameters for opening the store, until it is open.
    opener: RefCell<Option<Opener>>,
    this: Weak<Self>,
}

impl<N: Net> Instance for OfficeInstance<N> {
    fn activate(&self) {
        if let Some(opener) = self.opener.take() {
            self.active.state.open(opener);
        }
        self.polls.set(Some(&self.active));
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let Some(this) = self.this.upgrade() else { return Box::pin(pending()) };
        Box::pin(async move {
            let mut tasks = JoinSet::new();
            for task in this.polls.tasks(&this.active) {
                tasks.spawn_local(task);
            }
            while tasks.join_next().await.is_some() {}
            // It has been stopped.
            pending::<()>().await;
        })
    }

    fn state(&self) -> State {
        let trouble = self.active.state.trouble(self.active.clock.now()).or_else(|| {
            let standings = self.polls.standings();
            let failing: Vec<_> =
                standings.iter().filter(|standing| standing.schedule.trouble().is_some()).collect();
            let first = failing.first()?;
            let why = first.schedule.trouble().unwrap_or_default();
            let others = match failing.len() {
                1 => String::new(),
                count => format!(" (and of {} others)", count - 1),
            };
            Some(format!("mail of {}{others} is not fetched: {why}", first.account))
        });
        trouble.map_or(State::Running, State::Impaired)
    }

    fn listens(&self) -> Vec<Listening> {
        Vec::new()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        let this = self.this.upgrade();
        Box::pin(async move {
            let Some(this) = this else { return };
            this.active.is_ending.send_replace(true);
            // It cannot fail: the sender is here.
            _ = this.active.under_way.subscribe().wait_for(|count| *count == 0).await;
        })
    }
}
