//! DNS queries, as a PC's resolver sends them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use gatepost_services::net::kernel::Kernel;
use gatepost_services::net::{Net, UdpSocket};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::time::timeout;

/// How long an answer may take. (resolv.conf(5): RES_TIMEOUT)
const PATIENCE: Duration = Duration::from_secs(5);

/// The address of `name` from `server`; `None` without an answer.
///
/// # Errors
///
/// The server answers, but not with an address.
pub async fn address_of(name: &str, server: Ipv4Addr, id: u16) -> io::Result<Option<Ipv4Addr>> {
    let name = Name::from_ascii(name).map_err(invalid)?;
    ask(Query::query(name, RecordType::A), server, id, |data| match data {
        RData::A(address) => Some(address.0),
        _ => None,
    })
    .await
}

/// The name of `address` from `server`, without the trailing dot; `None` without an answer.
///
/// # Errors
///
/// The server answers, but not with a name.
pub async fn name_of(address: Ipv4Addr, server: Ipv4Addr, id: u16) -> io::Result<Option<String>> {
    let query = Query::query(Name::from(std::net::IpAddr::V4(address)), RecordType::PTR);
    ask(query, server, id, |data| match data {
        RData::PTR(name) => Some(name.0.to_ascii().trim_end_matches('.').to_owned()),
        _ => None,
    })
    .await
}

async fn ask<T>(
    query: Query,
    server: Ipv4Addr,
    id: u16,
    wanted: impl Fn(&RData) -> Option<T>,
) -> io::Result<Option<T>> {
    timeout(PATIENCE, async {
        let socket = Kernel.bind_udp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into()).await?;
        let mut message = Message::query();
        message.metadata.id = id;
        message.metadata.recursion_desired = true;
        message.add_query(query);
        let bytes = message.to_vec().map_err(invalid)?;
        socket.send_to(&bytes, SocketAddrV4::new(server, 53).into()).await?;
        let mut buffer = [0; 1500];
        loop {
            let (len, _) = socket.recv_from(&mut buffer).await?;
            let Ok(answer) = Message::from_vec(&buffer[..len]) else { continue };
            if answer.metadata.id == id {
                let found = answer.answers.iter().find_map(|record| wanted(&record.data));
                return found.ok_or_else(|| io::Error::other(answer.metadata.response_code.to_str()));
            }
        }
    })
    .await
    .map_or(Ok(None), |found| found.map(Some))
}

fn invalid(why: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
