//! A flow's name in requests, and the request to end it.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

use gatepost_dataplane::key::{Endpoint, FlowKey};
use gatepost_ground::wire::Protocol;
use serde::{Deserialize, Serialize};

use super::{Request, Response, converse, misunderstood};
use crate::error::Error;

/// What names a flow: the columns `protocol`, `client` and `destination` of `gatepost show flows`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct FlowName {
    /// tcp, udp or icmp.
    pub protocol: String,
    /// The address and port of the client.
    pub client: SocketAddr,
    /// The address and port that the client sends to.
    pub destination: SocketAddr,
}

impl FlowName {
    /// The key of the packets that the client sends, as they arrive. `None` if no flow has that protocol.
    pub fn key(&self) -> Option<FlowKey<std::net::IpAddr>> {
        let protocol = match self.protocol.as_str() {
            "tcp" => Protocol::TCP,
            "udp" => Protocol::UDP,
            "icmp" => Protocol::ICMP,
            _ => return None,
        };
        let end = |end: SocketAddr| Endpoint::new(end.ip(), end.port());
        Some(FlowKey { protocol, source: end(self.client), destination: end(self.destination) })
    }
}

impl fmt::Display for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.protocol, self.client, self.destination)
    }
}

impl FromStr for FlowName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(' ');
        let (Some(protocol), Some(client), Some(destination), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let end = |text: &str| text.parse().map_err(|_| ());
        Ok(Self { protocol: protocol.to_owned(), client: end(client)?, destination: end(destination)? })
    }
}

/// Ends a flow of the gateway behind `socket`, and says so on stdout.
///
/// # Errors
///
/// No gateway runs there, it is not ours to control, or there is no such flow.
pub fn end(socket: &Path, flow: FlowName) -> Result<(), Error> {
    let told = flow.to_string();
    match converse(socket, &Request::End(flow))? {
        Response::Ended(true) => {
            // If stdout is closed, the exit code still reports the outcome.
            _ = writeln!(io::stdout(), "ended: {told}");
            Ok(())
        }
        Response::Ended(false) => {
            let what = format!("cannot end the flow {told}");
            Err(Error::failed(
                what,
                "there is none",
                "look at `gatepost show flows`; it may have ended by itself",
            ))
        }
        _ => Err(misunderstood(socket)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_show_prints() {
        let text = "tcp 192.168.1.10:40000 198.51.100.7:443";
        let name: FlowName = text.parse().expect("a name");
        assert_eq!(name.to_string(), text);
        let key = name.key().expect("a protocol");
        assert_eq!((key.protocol, key.source.port, key.destination.port), (Protocol::TCP, 40_000, 443));
        for wrong in ["", "tcp", "tcp 192.168.1.10:1", "tcp x 192.168.1.10:1", "tcp 1.2.3.4:1 1.2.3.4:2 x"] {
            assert_eq!(wrong.parse::<FlowName>(), Err(()), "{wrong}");
        }
        let strange: FlowName = "sctp 192.168.1.10:1 198.51.100.7:2".parse().expect("a name");
        assert_eq!(strange.key(), None);
    }
}
