//! The listeners of one mail service with one configuration.
//!
//! An instance binds the gateway's addresses while it is prepared, and follows their changes. A replaced instance lets
//! each client finish its current command, including a message, and then closes the connection; the store, the logins
//! and the counters survive.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use gatepost_ground::Role as Side;
use tokio::io::AsyncWriteExt;

use super::connection::{self, Dialogue};
use super::settings::Settings;
use super::state::{MailState, Opener};
use crate::addresses::{Addresses, Subscription};
use crate::clock::Clock;
use crate::net::listeners::{self, Failure, Listeners};
use crate::net::{Listener, Net, Stream};
use crate::service::{Host, Instance, Listening, LocalFuture, State, Unprepared};
use crate::tls::Tls;
use crate::wait::first_of;
use crate::watch;

/// The state that the connections of one service with one configuration share.
pub(super) trait Server: 'static {
    /// The dialogue of a connection.
    type Dialogue: Dialogue;

    /// The reply to a client whose source has reached its share of connections.
    const TOO_MANY_CONNECTIONS: &'static [u8];

    fn settings(&self) -> &Settings;
    fn state(&self) -> &Rc<MailState>;
    fn clock(&self) -> &Rc<dyn Clock>;
    fn tls(&self) -> Option<&Rc<Tls>>;
    fn addresses(&self) -> &Subscription;
    /// Whether the service accepts nothing new.
    fn finish(&self) -> &watch::Sender<bool>;

    /// The port for connections that begin in clear, if there is one.
    fn port(&self) -> Option<u16>;

    /// The port for connections with implicit TLS, if there is one.
    fn tls_port(&self) -> Option<u16>;

    /// Counts an event of a connection.
    fn count(&self, what: Counted);

    /// Its configuration is in force from now on.
    fn activated(_this: &Rc<Self>) {}

    /// A new connection.
    fn dialogue(this: &Rc<Self>, peer: IpAddr, is_encrypted: bool) -> Self::Dialogue;

    /// Whether `peer` is on the LAN. For that the dataplane vouches.
    fn is_lan(&self, peer: IpAddr) -> bool {
        self.addresses().borrow().is_inside(peer)
    }

    /// Waits until the service shall take nothing new.
    async fn finishing(&self) {
        self.finish().subscribe().raised().await;
    }
}

/// An event of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Served,
    /// Rejected or closed: its source has reached its share, or there are too many.
    Refused,
    /// Lost before QUIT.
    Lost,
}

/// A mail service by one configuration.
pub(super) struct ServerInstance<N: Net, S> {
    shared: Rc<S>,
    net: N,
    /// The parameters for opening the store, if it is not open.
    opener: RefCell<Option<Opener>>,
    listeners: Listeners,
    addresses: Subscription,
    this: Weak<Self>,
}

impl<N: Net, S: Server> ServerInstance<N, S> {
    /// Binds the addresses of `shared`. `service` is its name.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, or there is none.
    pub async fn prepare(
        service: &'static str,
        shared: Rc<S>,
        host: &Host<N>,
    ) -> Result<Rc<Self>, Unprepared> {
        let mut addresses = host.addresses.clone();
        let now = Rc::clone(&addresses.borrow_and_update());
        if now.of(Side::Inside).next().is_none() {
            return Err(Unprepared::without_address(service));
        }
        let instance = Rc::new_cyclic(|this| Self {
            shared,
            net: host.net.clone(),
            opener: RefCell::new(Some(Opener::of(host))),
            listeners: Listeners::new("mail service"),
            addresses,
            this: Weak::clone(this),
        });
        for local in instance.wanted(&now) {
            let told = |error| Unprepared::not_listening(service, local, &error, "see the log");
            instance.listen(local).await.map_err(told)?;
        }
        Ok(instance)
    }

    /// Where it listens while the gateway has `addresses`.
    fn wanted(&self, addresses: &Addresses) -> BTreeSet<SocketAddr> {
        let ports = [self.shared.port(), self.shared.tls_port()];
        let ports: Vec<_> = ports.into_iter().flatten().collect();
        addresses.places(&ports, self.shared.settings().on_outside)
    }

    async fn listen(&self, local: SocketAddr) -> io::Result<()> {
        self.listeners.listen(&self.net, local, self.accepting()).await
    }

    /// What is done with a listener.
    fn accepting(&self) -> impl Fn(N::Listener, Failure) -> LocalFuture<'static, ()> + use<N, S> {
        let shared = Rc::clone(&self.shared);
        move |listener, failure| Box::pin(accept::<N, S>(Rc::clone(&shared), listener, failure))
    }
}

impl<N: Net, S: Server> Instance for ServerInstance<N, S> {
    fn activate(&self) {
        S::activated(&self.shared);
        let Settings { users, domains, shares, .. } = self.shared.settings();
        self.shared.state().rates.borrow_mut().set(shares.wan_messages_a_minute);
        let of_all = domains.iter().filter(|domain| domain.users.is_none());
        let names: Vec<_> = of_all.map(|domain| domain.name.as_str()).collect();
        self.shared.state().set_users(users, &names);
        if let Some(opener) = self.opener.borrow_mut().take() {
            self.shared.state().open(opener);
        }
    }

    fn run(&self) -> LocalFuture<'static, ()> {
        let Some(this) = self.this.upgrade() else { return Box::pin(std::future::pending()) };
        let mut addresses = self.addresses.clone();
        Box::pin(async move {
            let following = async {
                while addresses.changed().await.is_ok() {
                    let new = Rc::clone(&addresses.borrow_and_update());
                    this.listeners.follow(&this.net, &this.wanted(&new), this.accepting()).await;
                }
            };
            let providing = async {
                let opened = this.shared.state().when_opened().await;
                opened.provide(this.shared.settings().users.iter()).await;
                let settings = this.shared.settings();
                tokio::join!(opened.watch_room(settings.disk_reserve), opened.watch_quotas(settings));
            };
            tokio::join!(following, providing);
            // The publisher is gone: another configuration is in force.
            std::future::pending::<()>().await;
        })
    }

    fn state(&self) -> State {
        let trouble = self.shared.state().trouble(self.shared.clock().now());
        let trouble = trouble.or_else(|| self.listeners.trouble());
        match trouble {
            Some(trouble) => State::Impaired(trouble),
            None if self.shared.port().or(self.shared.tls_port()).is_none() => State::Off,
            None => State::Running,
        }
    }

    fn listens(&self) -> Vec<Listening> {
        self.listeners.listens()
    }

    fn stop(&self) -> LocalFuture<'static, ()> {
        let this = self.this.upgrade();
        Box::pin(async move {
            let Some(this) = this else { return };
            this.shared.finish().send_replace(true);
            this.listeners.ended().await;
        })
    }
}

/// `stream` when it is time for the greeting: after the handshake, with implicit TLS.
async fn begun(
    server: &impl Server,
    stream: impl Stream,
    begins_with_tls: bool,
) -> io::Result<Box<dyn Stream>> {
    match server.tls() {
        Some(tls) if begins_with_tls => {
            let stopped = async {
                server.finishing().await;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            };
            let stream = first_of(stopped, async { Ok(tls.accept(stream).await?) }).await?;
            Ok(Box::new(stream))
        }
        _ => Ok(Box::new(stream)),
    }
}

/// Serves the connections that `listener` accepts until the service stops.
async fn accept<N: Net, S: Server>(server: Rc<S>, listener: N::Listener, failure: Failure) {
    let begins_with_tls = server.tls_port() == Some(listener.local_addr().port());
    let finishing = server.finish().subscribe();
    listeners::accept(listener, failure, finishing, async |mut stream| {
        let peer = stream.peer_addr().ip().to_canonical();
        let (is_lan, shares) = (server.is_lan(peer), server.settings().shares);
        let share = if is_lan { shares.lan_connections } else { shares.wan_connections };
        let Some(admitted) = server.state().connections.admit(server.clock().now(), peer, is_lan, share)
        else {
            server.count(Counted::Refused);
            // It is sent only if the new connection has room for it, without waiting.
            let told = async { _ = stream.write_all(S::TOO_MANY_CONNECTIONS).await };
            if !begins_with_tls {
                first_of(told, std::future::ready(())).await;
            }
            return None;
        };
        server.count(Counted::Served);
        let server = Rc::clone(&server);
        Some(async move {
            if let Ok(stream) = begun(&*server, stream, begins_with_tls).await {
                let dialogue = S::dialogue(&server, peer, begins_with_tls);
                connection::serve(server, stream, dialogue, admitted).await;
            } else {
                server.count(Counted::Lost);
            }
        })
    })
    .await;
}
