//! Many connections at one time.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::harness::programs::pings;
use crate::harness::{Namespace, Office, SERVER, WAN};

const CONNECTIONS: usize = 1000;
const WITHIN: Duration = Duration::from_secs(60);

/// All are open before the first octet is sent, and each gets its own octets.
#[test]
fn a_thousand_connections_pass_nat_each_on_its_own() {
    allow_open_files(4096);
    let office = Office::new(2, "");
    // What waits for an ARP answer is bounded: let it be known before the rush.
    assert!([1, 2].into_iter().all(|pc| pings(office.pc(pc), "", SERVER)));
    let socket_in = |namespace: &Namespace| namespace.enter(TcpSocket::new_v4).expect("a socket");
    let server = socket_in(&office.internet);
    server.bind((Ipv4Addr::UNSPECIFIED, 7000).into()).expect("the port is free");
    let clients: Vec<_> = (0..CONNECTIONS).map(|number| socket_in(office.pc(1 + number % 2))).collect();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let talk = async {
        let listener = server.listen(u32::try_from(CONNECTIONS).expect("it fits"))?;
        let mut connecting = JoinSet::new();
        for client in clients {
            connecting.spawn(client.connect(SocketAddrV4::new(SERVER, 7000).into()));
        }
        let mut accepted = Vec::new();
        while accepted.len() < CONNECTIONS {
            let (stream, client) = listener.accept().await?;
            assert_eq!(client.ip(), WAN);
            accepted.push((stream, client));
        }
        let clients = connecting.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        assert_eq!(office.gateway().show("flows")["total"], CONNECTIONS + 2);

        let mut talking = JoinSet::new();
        for (stream, client) in accepted {
            talking.spawn(tell(stream, client));
        }
        for stream in clients {
            talking.spawn(ask(stream));
        }
        talking.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()
    };
    let done = runtime.block_on(async { tokio::time::timeout(WITHIN, talk).await });
    done.expect("in time").expect("no connection fails");
    office.gateway().assert_accounts(&["port-backpressure"]);
}

/// Says something and wants it back.
async fn ask(mut stream: TcpStream) -> std::io::Result<()> {
    let question = stream.local_addr()?.to_string();
    stream.write_all(question.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.starts_with(&question) && answer.ends_with("."), "{question}: {answer}");
    Ok(())
}

/// Echoes its input.
async fn tell(mut stream: TcpStream, client: SocketAddr) -> std::io::Result<()> {
    let mut question = String::new();
    stream.read_to_string(&mut question).await?;
    stream.write_all(format!("{question} is seen as {client}.").as_bytes()).await
}

fn allow_open_files(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limits are known");
    if soft < count {
        setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count)).expect("root may raise limits");
    }
}
