//! Mail that programs of this machine hand in, over a stream that no network carries.
//!
//! They use SMTP like programs on the LAN on port 25, with the same treatment. The owner of such a stream may relay,
//! whatever `mail.relay_from` says.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use tokio::io::AsyncWriteExt;

use super::connection;
use super::listeners::{Counted, Server};
use super::office::Conversation;
use super::shared::Shared;
use super::state::MailState;
use crate::mail::smtp::{Limits, Policy, Tls};
use crate::net::Stream;
use crate::service::LocalFuture;
use crate::wait::first_of;

/// The address of this machine, in `Received` and for judges.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Serves one program, over the stream that it is called with.
pub type Serving = Box<dyn FnOnce(Box<dyn Stream>) -> LocalFuture<'static, ()>>;

impl MailState {
    /// Serves programs of this machine with `shared`, as long as that exists.
    pub(super) fn take_from_here_by(&self, shared: &Rc<Shared>) {
        *self.local.borrow_mut() = Rc::downgrade(shared);
    }

    /// The handler for the next program of this machine, whichever ports are enabled; `None` without mail.
    pub fn serve_local(&self) -> Option<Serving> {
        let shared = self.local.borrow().upgrade()?;
        Some(Box::new(|stream| Box::pin(serve(shared, stream))))
    }
}

async fn serve(shared: Rc<Shared>, mut stream: Box<dyn Stream>) {
    let share = shared.settings.shares.lan_connections;
    let Some(admitted) = shared.state.connections.admit(shared.clock.now(), HERE, true, share) else {
        shared.count(Counted::Refused);
        // It is sent to its end if there is room for it, as there is on a new connection.
        let told = async { _ = stream.write_all(Shared::TOO_MANY_CONNECTIONS).await };
        return first_of(told, std::future::ready(())).await;
    };
    shared.count(Counted::Served);
    let policy = Policy {
        is_lan: true,
        may_relay: true,
        has_dsn: shared.remote.has_reports(),
        tls: Tls::Unavailable,
        mechanisms: Vec::new(),
        limits: Limits::lan(shared.settings.message_octets_max),
        ..shared.policy(HERE, false)
    };
    let conversation = Conversation::new(&shared, policy);
    connection::serve(shared, stream, conversation, admitted).await;
}
