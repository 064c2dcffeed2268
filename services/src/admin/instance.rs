//! The administration with one configuration: its listeners, and their connections.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use gatepost_ground::Role as Side;

use super::first_run::is_owned;
use super::seats::Guest;
use super::site::AdminSite;
use super::{KIND, Settings, State};
use crate::addresses::Addresses;
use crate::http::{Conditions, End, serve};
use crate::net::listeners::{self, Failure, Listeners};
use crate::net::{Net, Stream};
use crate::service::{Host, Instance, Listening, LocalFuture, State as Condition, Unprepared};
use crate::wait::first_of;
use crate::watch;

/// The administration by one configuration.
pub(super) struct AdminInstance<N: Net> {
    site: Rc<AdminSite>,
    conditions: Conditions,
    finish: watch::Sender<bool>,
    net: N,
    listeners: Listeners,
    this: Weak<Self>,
}

impl<N: Net> AdminInstance<N> {
    /// Binds the gateway's addresses on the LAN.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, there is none, or there is no certificate.
    pub async fn prepare(
        state: Rc<State>,
        settings: Settings,
        host: &Host<N>,
    ) -> Result<Rc<Self>, Unprepared> {
        let service = KIND.name;
        let mut addresses = host.addresses.clone();
        let now = Rc::clone(&addresses.borrow_and_update());
        if now.of(Side::Inside).next().is_none() {
            return Err(Unprepared::without_address(service));
        }
        let Some(tls) = host.tls.clone() else {
            let (why, remedy) = ("there is no certificate".to_owned(), "see the log".to_owned());
            return Err(Unprepared { service, why, remedy });
        };
        let finish = watch::Sender::new(false);
        let conditions =
            Conditions { tls: Rc::clone(&tls), clock: Rc::clone(&host.clock), finishing: finish.subscribe() };
        let site = Rc::new(AdminSite {
            state,
            settings,
            tls,
            clock: Rc::clone(&host.clock),
            addresses: addresses.clone(),
            storage: std::sync::Arc::clone(&host.storage),
            work: Rc::clone(&host.work),
            rng: RefCell::new(host.rng()),
        });
        if !site.state.setup.borrow().has_begun() {
            let is_owned = is_owned(&site.settings.users, &site.storage, &*site.work).await;
            site.state.setup.borrow_mut().begin(is_owned, &mut *site.rng.borrow_mut());
        }
        let instance = Self::of(site, conditions, finish, host.net.clone());
        for local in instance.wanted(&now) {
            let listening = instance.listeners.listen(&instance.net, local, instance.accepting());
            let remedy = "write another admin.port, or see the log";
            listening.await.map_err(|error| Unprepared::not_listening(service, local, &error, remedy))?;
        }
        Ok(instance)
    }

    /// It listens nowhere yet.
    pub fn of(site: Rc<AdminSite>, conditions: Conditions, finish: watch::Sender<bool>, net: N) -> Rc<Self> {
        let listeners = Listeners::new("administration");
        Rc::new_cyclic(|this| Self { site, conditions, finish, net, listeners, this: Weak::clone(this) })
    }

    /// Where it listens while the gateway has `addresses`.
    fn wanted(&self, addresses: &Addresses) -> BTreeSet<SocketAddr> {
        addresses.places(&self.site.settings.ports, false)
    }

    /// What is done with a listener.
    fn accepting(&self) -> impl Fn(N::Listener, Failure) -> LocalFuture<'static, ()> + use<N> {
        let (site, conditions) = (Rc::clone(&self.site), self.conditions.clone());
        move |listener, failure| {
            Box::pin(accept::<N>(Rc::clone(&site), conditions.clone(), listener, failure))
        }
    }
}

impl<N: Net> Instance for AdminInstance<N> {
    fn activate(&self) {
        let Settings { users, domains, .. } = &self.site.settings;
        let domains: Vec<_> = domains.iter().map(String::as_str).collect();
        self.site.state.logins.set_users(users, &domains);
        self.site.end_strangers();
        let former = self.site.state.current.replace(Rc::downgrade(&self.site));
        if former.upgrade().is_none() {
            self.site.announce_code();
        }
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let Some(this) = self.this.upgrade() else { return Box::pin(std::future::pending()) };
        let mut addresses = self.site.addresses.clone();
        Box::pin(async move {
            while addresses.changed().await.is_ok() {
                let new = Rc::clone(&addresses.borrow_and_update());
                this.listeners.follow(&this.net, &this.wanted(&new), this.accepting()).await;
            }
            // The publisher is gone: another configuration is in force.
            std::future::pending::<()>().await;
        })
    }

    fn state(&self) -> Condition {
        self.listeners.trouble().map_or(Condition::Running, Condition::Impaired)
    }

    fn listens(&self) -> Vec<Listening> {
        self.listeners.listens()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        let this = self.this.upgrade();
        Box::pin(async move {
            let Some(this) = this else { return };
            this.finish.send_replace(true);
            this.listeners.ended().await;
        })
    }
}

/// Serves the connections that `listener` accepts until the service stops.
async fn accept<N: Net>(
    site: Rc<AdminSite>,
    conditions: Conditions,
    listener: N::Listener,
    failure: Failure,
) {
    let finishing = conditions.finishing.clone();
    listeners::accept(listener, failure, finishing, async |stream| {
        let peer = stream.peer_addr().ip().to_canonical();
        let is_lan = site.addresses.borrow().is_inside(peer);
        let Some((seat, is_other_ended)) = site.state.seats.take(peer, is_lan) else {
            site.state.count(|stats| stats.connections_refused += 1);
            return None;
        };
        site.state.count(|stats| {
            stats.connections += 1;
            stats.connections_displaced += u64::from(is_other_ended);
        });
        let (guest, conditions) = (Guest { site: Rc::clone(&site), seat: Rc::new(seat) }, conditions.clone());
        Some(async move {
            let displaced = async {
                guest.seat.lost().await;
                End::Closed
            };
            let end = first_of(displaced, serve(stream, &guest, &conditions)).await;
            guest.site.state.count(|stats| match end {
                End::Closed => {}
                End::TimedOut => stats.connections_timed_out += 1,
                End::Lost => stats.connections_lost += 1,
            });
        })
    })
    .await;
}
