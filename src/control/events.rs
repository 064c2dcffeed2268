//! The events that `gatepost watch` prints, besides [drops](super::drops).

use std::fmt;

use gatepost_services::clock::WallTime;
use serde::{Deserialize, Serialize};

/// An event of a service with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed<T> {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The event, whose keys stand beside the time.
    #[serde(flatten)]
    pub event: T,
}

impl<T: fmt::Display> fmt::Display for Timed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", WallTime::text_of_millis(self.at_ms), self.event)
    }
}

/// A flow that is opened, or has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEvent {
    /// `opened` or `ended`.
    pub event: String,
    /// The protocol.
    pub protocol: String,
    /// Who opened it.
    pub client: String,
    /// Where the client sends.
    pub destination: String,
    /// Who answers: the destination, or the host that a forward leads to.
    pub server: String,
    /// The client as the server sees it.
    pub client_seen_as: String,
    /// Packets from the client so far.
    pub packets_sent: u64,
    /// Packets to the client so far.
    pub packets_received: u64,
    /// Octets from the client so far.
    pub octets_sent: u64,
    /// Octets to the client so far.
    pub octets_received: u64,
    /// Why it has ended, in words; `null` for one that is opened.
    pub reason: Option<String>,
}

impl fmt::Display for FlowEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, protocol, client, destination, server, .. } = self;
        write!(f, "{event:6}  {protocol:4} {client} > {destination}")?;
        if server != destination {
            write!(f, " at {server}")?;
        }
        match &self.reason {
            Some(reason) => {
                write!(f, "  {reason}; {} octets out, {} back", self.octets_sent, self.octets_received)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_time_among_its_keys() {
        let event = FlowEvent { event: "opened".to_owned(), ..FlowEvent::default() };
        let json = serde_json::to_value(Timed { at_ms: 7, event }).expect("it has a form");
        assert_eq!((&json["at_ms"], &json["event"]), (&7.into(), &"opened".into()));
    }

    #[test]
    fn a_flow_says_who_answers_if_that_is_another_and_why_it_has_ended() {
        let [client, destination, server] =
            ["198.51.100.7:5000", "203.0.113.10:443", "192.168.1.5:443"].map(str::to_owned);
        let event = FlowEvent {
            event: "ended".to_owned(),
            protocol: "tcp".to_owned(),
            client,
            server,
            destination,
            reason: Some("both ends have closed it".to_owned()),
            ..FlowEvent::default()
        };
        let expected = "2000-02-29T00:00:00.007Z  ended   tcp  198.51.100.7:5000 > 203.0.113.10:443 at \
                        192.168.1.5:443  both ends have closed it; 0 octets out, 0 back";
        assert_eq!(Timed { at_ms: 951_782_400_007, event }.to_string(), expected);
    }
}
