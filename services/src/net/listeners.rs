//! The listeners of a TCP service at the gateway's addresses, which change.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use gatepost_ground::wire::Protocol;
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::{Listener, Net};
use crate::service::Listening;
use crate::task::Task;
use crate::wait::first_of;
use crate::watch;

/// The listeners of one service with one configuration.
pub(crate) struct Listeners {
    /// What is missing without a listener, as in `no mail service on 192.168.1.1:25`.
    what: &'static str,
    bound: RefCell<BTreeMap<SocketAddr, Bound>>,
    /// The error of binding new addresses.
    trouble: RefCell<Option<String>>,
}

/// A listening address.
struct Bound {
    task: Task,
    failure: Failure,
}

/// Whether the network has removed a listener's address.
#[derive(Clone)]
pub(crate) struct Failure {
    what: &'static str,
    has_failed: Rc<Cell<bool>>,
}

impl Failure {
    /// `listener` has failed with `error`.
    pub fn report(&self, listener: &impl Listener, error: &io::Error) {
        error!("no {} on {} any more: {error}", self.what, listener.local_addr());
        self.has_failed.set(true);
    }
}

/// Accepts connections until `finishing`, or until `listener` fails, and waits for the last of them to end. `admit`
/// returns what a connection is served by; `None` refuses it.
pub(crate) async fn accept<L: Listener, F: Future<Output = ()> + 'static>(
    listener: L,
    failure: Failure,
    mut finishing: watch::Receiver<bool>,
    mut admit: impl AsyncFnMut(L::Stream) -> Option<F>,
) {
    let mut served = JoinSet::new();
    loop {
        let stopped = async {
            finishing.raised().await;
            None
        };
        let stream = match first_of(stopped, async { Some(listener.accept().await) }).await {
            None => break,
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                failure.report(&listener, &error);
                break;
            }
        };
        while served.try_join_next().is_some() {}
        if let Some(connection) = admit(stream).await {
            served.spawn_local(connection);
        }
    }
    drop(listener);
    while served.join_next().await.is_some() {}
}

impl Listeners {
    /// No listeners yet of a service that people call `what`.
    pub fn new(what: &'static str) -> Self {
        Self { what, bound: RefCell::default(), trouble: RefCell::default() }
    }

    /// Listens on `local`, and has `serve` accept connections there.
    ///
    /// # Errors
    ///
    /// Those of [`Net::listen`].
    pub async fn listen<N: Net, F: Future<Output = ()> + 'static>(
        &self,
        net: &N,
        local: SocketAddr,
        serve: impl FnOnce(N::Listener, Failure) -> F,
    ) -> io::Result<()> {
        let listener = net.listen(local).await?;
        let failure = Failure { what: self.what, has_failed: Rc::default() };
        let task = Task::spawn(serve(listener, failure.clone()));
        self.bound.borrow_mut().insert(local, Bound { task, failure });
        Ok(())
    }

    /// Listens on `wanted` from now on. Connections at other addresses end.
    pub async fn follow<N: Net, F: Future<Output = ()> + 'static>(
        &self,
        net: &N,
        wanted: &BTreeSet<SocketAddr>,
        serve: impl Fn(N::Listener, Failure) -> F,
    ) {
        // One that has failed is tried again.
        self.bound.borrow_mut().retain(|_, bound| !bound.failure.has_failed.get());
        let bound: BTreeSet<_> = self.bound.borrow().keys().copied().collect();
        for gone in bound.difference(wanted) {
            let bound = self.bound.borrow_mut().remove(gone);
            if let Some(bound) = bound {
                bound.task.end().await;
            }
        }
        let mut trouble = None;
        for local in wanted.difference(&bound) {
            if let Err(error) = self.listen(net, *local, &serve).await {
                let what = format!("no {} on {local}: {error}", self.what);
                warn!("{what}");
                trouble = Some(what);
            }
        }
        *self.trouble.borrow_mut() = trouble;
    }

    /// The current problem, for the administrator.
    pub fn trouble(&self) -> Option<String> {
        let bound = self.bound.borrow();
        let failed = bound.iter().find(|(_, bound)| bound.failure.has_failed.get());
        let failed = failed.map(|(local, _)| format!("no {} on {local}: the network has failed", self.what));
        failed.or_else(|| self.trouble.borrow().clone())
    }

    /// The addresses and ports where it listens.
    pub fn listens(&self) -> Vec<Listening> {
        let bound = self.bound.borrow();
        let serving = bound.iter().filter(|(_, bound)| !bound.failure.has_failed.get());
        serving.map(|(local, _)| Listening { protocol: Protocol::TCP, local: *local }).collect()
    }

    /// Waits until the tasks that accept connections have ended.
    pub async fn ended(&self) {
        let bound = std::mem::take(&mut *self.bound.borrow_mut());
        for bound in bound.into_values() {
            bound.task.ended().await;
        }
    }
}
