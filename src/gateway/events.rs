//! The events that `gatepost watch` follows: those of the services and of the workers in one form.

use gatepost_dataplane::flow::{self, FlowChange, FlowEnd};
use gatepost_dataplane::key::{Direction, Endpoint, FlowKey};
use gatepost_ground::Instant;
use gatepost_services::events::{NewEvents, Watcher};
use gatepost_services::watched::{DhcpEvent, DnsEvent, MailEvent};

use super::drops::shown;
use super::inspector::Inspector;
use super::query::{FlowEventsAnswer, Query};
use super::requests::RequestError;
use crate::control::ReportError;
use crate::control::drops::{Cursor, NewDrops};
use crate::control::events::{FlowEvent, Timed};
use crate::control::follow::{Event, Watched};

/// The most events of one worker or one service in an answer to a watcher.
pub(super) const WATCHED_MAX: usize = 1_000;

/// A watcher's place among the events.
pub enum Watching {
    /// Drops.
    Drops(Cursor),
    /// The DHCP server's messages.
    DhcpMessages(Watcher<DhcpEvent>),
    /// Clients' DNS queries.
    DnsQueries(Watcher<DnsEvent>),
    /// Messages.
    Mail(Watcher<MailEvent>),
    /// Flows.
    Flows(Cursor),
}

impl Inspector {
    /// A watcher's place behind the last event.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub async fn watch(&self, what: Watched) -> Result<Watching, ReportError> {
        Ok(match what {
            Watched::Drops => Watching::Drops(self.drops_end().await?),
            Watched::DhcpMessages => Watching::DhcpMessages(self.list.dhcp_events().watch()),
            Watched::DnsQueries => Watching::DnsQueries(self.list.dns_events().watch()),
            Watched::Mail => Watching::Mail(self.list.mail_state().events().watch()),
            Watched::Flows => {
                let end = Cursor(vec![u64::MAX; self.workers()]);
                let parts = self.flow_events(&end, 0).await?.by_worker;
                Watching::Flows(Cursor(parts.iter().map(|part| part.first).collect()))
            }
        })
    }

    /// The events since `watching`, which moves on. A part of them, if there are many: the next call returns the
    /// others.
    ///
    /// # Errors
    ///
    /// The workers do not answer.
    pub async fn new_events(&self, watching: &mut Watching) -> Result<Vec<Event>, ReportError> {
        Ok(match watching {
            Watching::Drops(cursor) => {
                let NewDrops { drops, missed } = self.new_drops(cursor).await?;
                told(missed, drops.into_iter().map(|drop| Event::Drop(Box::new(drop))))
            }
            Watching::DhcpMessages(watcher) => self.timed(watcher, Event::DhcpMessage),
            Watching::DnsQueries(watcher) => self.timed(watcher, |event| Event::DnsQuery(Box::new(event))),
            Watching::Mail(watcher) => self.timed(watcher, |event| Event::Mail(Box::new(event))),
            Watching::Flows(cursor) => {
                let parts = self.flow_events(cursor, WATCHED_MAX).await?.by_worker;
                let missed =
                    parts.iter().zip(&cursor.0).map(|(part, next)| part.first.saturating_sub(*next)).sum();
                *cursor = Cursor(parts.iter().map(|part| part.first + part.events.len() as u64).collect());
                let mut events: Vec<_> = parts.iter().flat_map(|part| &part.events).collect();
                events.sort_by_key(|event| event.at);
                let events = events.into_iter().map(|event| {
                    let (at_ms, event) = (self.at_ms(event.at), flow_event(event));
                    Event::Flow(Box::new(Timed { at_ms, event }))
                });
                told(missed, events)
            }
        })
    }

    fn timed<T: Clone>(&self, watcher: &mut Watcher<T>, form: impl Fn(Timed<T>) -> Event) -> Vec<Event> {
        let NewEvents { events, missed } = watcher.take(WATCHED_MAX);
        let timed = |(at, event)| form(Timed { at_ms: self.at_ms(at), event });
        told(missed, events.into_iter().map(timed))
    }

    /// The time of day at `at`, which is not in the future, in milliseconds since 1970.
    fn at_ms(&self, at: Instant) -> u64 {
        let age_ms = self.clock.now().since(at).as_millis().try_into().unwrap_or(u64::MAX);
        self.clock.wall_time().millis().saturating_sub(age_ms)
    }

    /// The flows that were opened and have ended, of each worker.
    async fn flow_events(&self, from: &Cursor, count_max: usize) -> Result<FlowEventsAnswer, RequestError> {
        let query = |worker, reply| Query::FlowEvents {
            from: from.0.get(worker).copied().unwrap_or(0),
            count_max,
            reply,
        };
        self.requests.put_each(query).await
    }
}

/// The events after the number of missed ones.
fn told(missed: u64, events: impl Iterator<Item = Event>) -> Vec<Event> {
    (missed > 0).then_some(Event::Missed(missed)).into_iter().chain(events).collect()
}

fn flow_event(event: &flow::FlowEvent) -> FlowEvent {
    let (protocol, [sent, received]) = (event.original.protocol, event.traffic);
    let FlowKey { source: client, destination, .. } = event.original;
    let FlowKey { source: server, destination: seen_as, .. } = event.reply;
    let [client, destination, server, client_seen_as] =
        [client, destination, server, seen_as].map(|end: Endpoint| shown(protocol, end));
    let (name, reason) = match event.change {
        FlowChange::Opened => ("opened", None),
        FlowChange::Ended(end) => ("ended", Some(why(end))),
    };
    FlowEvent {
        event: name.to_owned(),
        protocol: protocol.to_string().to_lowercase(),
        client,
        destination,
        server,
        client_seen_as,
        packets_sent: sent.packets,
        packets_received: received.packets,
        octets_sent: sent.octets,
        octets_received: received.octets,
        reason: reason.map(str::to_owned),
    }
}

/// The reason for the end of a flow, in words.
fn why(end: FlowEnd) -> &'static str {
    match end {
        FlowEnd::Closed => "both ends have closed it",
        FlowEnd::Reset(Direction::Original) => "the client has reset it",
        FlowEnd::Reset(Direction::Reply) => "the server has reset it",
        FlowEnd::Idle => "nothing came for its time",
        FlowEnd::Unanswered => "nothing has answered",
        FlowEnd::Recycled => "a new flow needed its place",
        FlowEnd::Removed => "the configuration or the administrator has ended it",
    }
}
