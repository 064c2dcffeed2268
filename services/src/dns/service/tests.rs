//! Tests over the loopback interface; the upstream server is a stand-alone instance of the service.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rand::SeedableRng;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket as TokioUdp};
use tokio::task::LocalSet;

use super::super::config::{RecordValue, StaticRecord};
use super::super::connections::{CONNECTIONS_MAX, CONNECTIONS_PER_SOURCE_MAX};
use super::super::resolver::{MailExchange, NoAnswer, Resolver};
use super::super::testing::{Leases, addresses, name, office, query};
use super::*;
use crate::clock::UnixTime;
use crate::net::kernel::Kernel;

struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime::default()
    }
}

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn start(config: Config) -> (Service<Kernel>, SocketAddr) {
    let clock = Rc::new(TokioClock(tokio::time::Instant::now()));
    let leases = Leases::of(&[("pc1", "192.168.1.50")]);
    let config = Config { recursion_for: vec!["127.0.0.0/8".parse().unwrap()], ..config };
    let service = Service::new(Kernel, clock, StdRng::seed_from_u64(3), config, leases).unwrap();
    loop {
        // The port from UDP may be in use over TCP.
        match service.listen(LOOPBACK).await {
            Ok(address) => return (service, address),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
        }
    }
}

/// The provider's server with `www.shop.example`, which has one address, and `many.shop.example`, which has too many
/// for UDP.
async fn start_upstream() -> (Service<Kernel>, SocketAddr) {
    let address = |name: &str, octet: u8| StaticRecord {
        name: name.into(),
        value: RecordValue::Address(Ipv4Addr::new(203, 0, 113, octet).into()),
    };
    let mut records = vec![address("www.shop.example.", 7)];
    records.extend((0..100).map(|octet| address("many.shop.example.", octet)));
    start(Config { domain: "isp.example".into(), records, use_upstream: false, ..office() }).await
}

async fn start_office(upstream: SocketAddr) -> (Service<Kernel>, SocketAddr) {
    start(Config { upstreams: vec![upstream], lan: "192.168.1.1/24".parse().unwrap(), ..office() }).await
}

async fn ask_udp(server: SocketAddr, owner: &str, record_type: RecordType) -> Message {
    let socket = TokioUdp::bind(LOOPBACK).await.unwrap();
    socket.send_to(&query(9, owner, record_type, Some(1232)), server).await.unwrap();
    let mut buffer = [0; DATAGRAM_OCTETS_MAX];
    let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
    assert_eq!(from, server);
    Message::from_vec(&buffer[..len]).unwrap()
}

async fn read(stream: &mut TcpStream) -> Message {
    Message::from_vec(&read_message(stream).await.unwrap()).unwrap()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn own_and_foreign_names_are_answered_over_udp() {
    run(async {
        let (_upstream, upstream) = start_upstream().await;
        let (service, server) = start_office(upstream).await;
        assert_eq!(addresses(&ask_udp(server, "pc1.office.example.", RecordType::A).await), ["192.168.1.50"]);
        for _ in 0..2 {
            assert_eq!(
                addresses(&ask_udp(server, "www.shop.example.", RecordType::A).await),
                ["203.0.113.7"]
            );
        }
        let unknown = ask_udp(server, "nobody.shop.example.", RecordType::A).await;
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
        let stats = service.stats();
        assert_eq!((stats.local, stats.forwarded, stats.cached), (1, 2, 1));
    });
}

#[test]
fn a_long_answer_is_fetched_and_given_over_tcp() {
    run(async {
        let (_upstream, upstream) = start_upstream().await;
        let (_service, server) = start_office(upstream).await;
        let truncated = ask_udp(server, "many.shop.example.", RecordType::A).await;
        assert!(truncated.metadata.truncation);
        let mut stream = TcpStream::connect(server).await.unwrap();
        write_message(&mut stream, &query(1, "many.shop.example.", RecordType::A, None)).await.unwrap();
        assert_eq!(read(&mut stream).await.answers.len(), 100);
    });
}

/// RFC 7766, section 7: Queries on one connection are answered in any order.
#[test]
fn rfc7766_queries_on_one_connection_are_answered_in_any_order() {
    run(async {
        // An upstream server that answers on request.
        let upstream = TokioUdp::bind(LOOPBACK).await.unwrap();
        let (_service, server) = start_office(upstream.local_addr().unwrap()).await;
        let mut stream = TcpStream::connect(server).await.unwrap();
        write_message(&mut stream, &query(1, "slow.shop.example.", RecordType::A, None)).await.unwrap();
        write_message(&mut stream, &query(2, "pc1.office.example.", RecordType::A, None)).await.unwrap();
        assert_eq!(read(&mut stream).await.metadata.id, 2);
        // The client has closed its sending side, and still waits.
        stream.shutdown().await.unwrap();
        let mut buffer = [0; DATAGRAM_OCTETS_MAX];
        let (len, forwarder) = upstream.recv_from(&mut buffer).await.unwrap();
        let response = Message::from_vec(&buffer[..len]).unwrap().into_response();
        upstream.send_to(&response.to_vec().unwrap(), forwarder).await.unwrap();
        assert_eq!(read(&mut stream).await.metadata.id, 1);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0, "then the connection ends");
    });
}

#[test]
fn more_queries_than_a_connection_may_have_are_answered_in_turn() {
    run(async {
        let (_upstream, upstream) = start_upstream().await;
        let (_service, server) = start_office(upstream).await;
        let (mut reader, mut writer) = TcpStream::connect(server).await.unwrap().into_split();
        let count = 5 * u16::try_from(QUERIES_PER_CONNECTION_MAX).unwrap();
        for id in 0..count {
            write_message(&mut writer, &query(id, "www.shop.example.", RecordType::A, None)).await.unwrap();
        }
        for _ in 0..count {
            let message = Message::from_vec(&read_message(&mut reader).await.unwrap()).unwrap();
            assert_eq!(addresses(&message), ["203.0.113.7"]);
        }
    });
}

/// The sockets of an upstream server, and their address.
async fn bind_upstream() -> (TokioUdp, TcpListener, SocketAddr) {
    loop {
        let udp = TokioUdp::bind(LOOPBACK).await.unwrap();
        let address = udp.local_addr().unwrap();
        // The port from UDP may be in use over TCP.
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp, address);
        }
    }
}

/// Answers a query over UDP that the answer is too long.
async fn truncate(udp: &TokioUdp) {
    let mut buffer = [0; DATAGRAM_OCTETS_MAX];
    let (len, forwarder) = udp.recv_from(&mut buffer).await.unwrap();
    let mut response = Message::from_vec(&buffer[..len]).unwrap().into_response();
    response.metadata.truncation = true;
    udp.send_to(&response.to_vec().unwrap(), forwarder).await.unwrap();
}

fn asked_name(query: &[u8]) -> Name {
    Message::from_vec(query).unwrap().queries.pop().unwrap().name().clone()
}

async fn respond_empty(stream: &mut TcpStream, query: &[u8]) {
    let response = Message::from_vec(query).unwrap().into_response();
    write_message(stream, &response.to_vec().unwrap()).await.unwrap();
}

/// RFC 7766, section 6.2.1.1: Queries to an upstream server share a connection and are answered in any order.
#[test]
fn rfc7766_6_2_1_1_queries_to_an_upstream_server_share_a_connection() {
    run(async {
        let (udp, tcp, upstream) = bind_upstream().await;
        let (_service, server) = start_office(upstream).await;
        let client = TokioUdp::bind(LOOPBACK).await.unwrap();
        tokio::task::spawn_local(async move {
            loop {
                truncate(&udp).await;
            }
        });
        let ask = async |id: u16| {
            let query = query(id, &format!("n{id}.shop.example."), RecordType::A, None);
            client.send_to(&query, server).await.unwrap();
        };
        let answered = async || {
            let mut buffer = [0; DATAGRAM_OCTETS_MAX];
            let len = client.recv(&mut buffer).await.unwrap();
            let metadata = Message::from_vec(&buffer[..len]).unwrap().metadata;
            assert_eq!(metadata.response_code, ResponseCode::NoError);
            metadata.id
        };
        ask(1).await;
        ask(2).await;
        let (mut stream, _) = tcp.accept().await.unwrap();
        // On a busy machine a query may be repeated.
        let mut queries = BTreeMap::new();
        while queries.len() < 2 {
            let query = read_message(&mut stream).await.unwrap();
            queries.insert(asked_name(&query), query);
        }
        for id in [2, 1] {
            respond_empty(&mut stream, &queries[&name(&format!("n{id}.shop.example."))]).await;
            assert_eq!(answered().await, id);
        }

        // The server closes the connection instead of an answer: the query goes on a new one.
        ask(3).await;
        let third = read_message(&mut stream).await.unwrap();
        drop(stream);
        let (mut stream, _) = tcp.accept().await.unwrap();
        let repeated = read_message(&mut stream).await.unwrap();
        assert_eq!(asked_name(&repeated), asked_name(&third));
        respond_empty(&mut stream, &repeated).await;
        assert_eq!(answered().await, 3);

        // The server closes an idle connection.
        drop(stream);
        ask(4).await;
        let (mut stream, _) = tcp.accept().await.unwrap();
        let fourth = read_message(&mut stream).await.unwrap();
        respond_empty(&mut stream, &fourth).await;
        assert_eq!(answered().await, 4);
    });
}

/// RFC 5452, section 9.2: Every query has another source port, and answers from other senders are ignored.
#[test]
fn rfc5452_every_query_comes_from_another_port_and_other_senders_are_not_heard() {
    run(async {
        let upstream = TokioUdp::bind(LOOPBACK).await.unwrap();
        let liar = TokioUdp::bind(LOOPBACK).await.unwrap();
        let (_service, server) = start_office(upstream.local_addr().unwrap()).await;
        let client = TokioUdp::bind(LOOPBACK).await.unwrap();
        let mut ports = std::collections::BTreeSet::new();
        let mut buffer = [0; DATAGRAM_OCTETS_MAX];
        for host in 0..8 {
            let owner = format!("n{host}.shop.example.");
            client.send_to(&query(host, &owner, RecordType::A, None), server).await.unwrap();
            let (len, forwarder) = upstream.recv_from(&mut buffer).await.unwrap();
            ports.insert(forwarder.port());
            let mut response = Message::from_vec(&buffer[..len]).unwrap().into_response();
            response.metadata.response_code = ResponseCode::NXDomain;
            liar.send_to(&response.to_vec().unwrap(), forwarder).await.unwrap();
            response.metadata.response_code = ResponseCode::NoError;
            upstream.send_to(&response.to_vec().unwrap(), forwarder).await.unwrap();
            let len = client.recv(&mut buffer).await.unwrap();
            let answer = Message::from_vec(&buffer[..len]).unwrap();
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        }
        assert!(ports.len() > 4, "{ports:?}");
    });
}

/// A connection from 127.0.0.`host`.
async fn connect_from(host: u8, server: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
    socket.connect(server).await.unwrap()
}

async fn asks(stream: &mut TcpStream, owner: &str) -> Option<Message> {
    // The connection may already be gone.
    _ = write_message(stream, &query(1, owner, RecordType::A, None)).await;
    let message = read_message(stream).await.ok()?;
    Some(Message::from_vec(&message).unwrap())
}

/// RFC 7766, section 6.2.3: Idle connections of one source do not exclude others from TCP.
#[test]
fn rfc7766_idle_connections_of_one_source_close_tcp_for_nobody() {
    run(async {
        let (_upstream, upstream) = start_upstream().await;
        let (service, server) = start_office(upstream).await;
        let mut idle = Vec::new();
        for n in 1..=2 * CONNECTIONS_MAX {
            idle.push(connect_from(2, server).await);
            if n % 16 == 0 {
                let mut other = connect_from(3, server).await;
                let answer = asks(&mut other, "pc1.office.example.").await.expect("an answer");
                assert_eq!(addresses(&answer), ["192.168.1.50"], "{n} idle ones");
            }
        }
        let mut newest = idle.pop().unwrap();
        assert!(asks(&mut newest, "pc1.office.example.").await.is_some());
        assert!(asks(&mut idle[0], "pc1.office.example.").await.is_none(), "it was idle longest");
        let stats = service.stats();
        assert!(stats.connections_recycled > 0 && stats.connections_refused == 0, "{stats:?}");
    });
}

#[test]
fn a_connection_that_waits_for_its_answer_is_not_closed_for_another() {
    run(async {
        let upstream = TokioUdp::bind(LOOPBACK).await.unwrap();
        let (service, server) = start_office(upstream.local_addr().unwrap()).await;
        let mut waiting = connect_from(2, server).await;
        write_message(&mut waiting, &query(1, "slow.shop.example.", RecordType::A, None)).await.unwrap();
        let mut buffer = [0; DATAGRAM_OCTETS_MAX];
        let (len, forwarder) = upstream.recv_from(&mut buffer).await.unwrap();
        let mut idle = Vec::new();
        for _ in 0..2 * CONNECTIONS_PER_SOURCE_MAX {
            let mut stream = connect_from(2, server).await;
            assert!(asks(&mut stream, "pc1.office.example.").await.is_some());
            idle.push(stream);
        }
        assert!(service.stats().connections_recycled > 0);
        let response = Message::from_vec(&buffer[..len]).unwrap().into_response();
        upstream.send_to(&response.to_vec().unwrap(), forwarder).await.unwrap();
        assert_eq!(read(&mut waiting).await.metadata.id, 1);
    });
}

#[test]
fn who_stops_listening_frees_the_address() {
    run(async {
        let (_upstream, upstream) = start_upstream().await;
        let (service, server) = start_office(upstream).await;
        assert_eq!(service.listen(server).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        service.stop_listening(server).await;
        service.listen(server).await.expect("the address is free");
        assert_eq!(addresses(&ask_udp(server, "pc1.office.example.", RecordType::A).await), ["192.168.1.50"]);
    });
}

#[test]
fn a_service_that_finishes_answers_what_it_was_asked_and_ends_its_connections() {
    run(async {
        let upstream = TokioUdp::bind(LOOPBACK).await.unwrap();
        let (service, server) = start_office(upstream.local_addr().unwrap()).await;
        let question = query(1, "www.shop.example.", RecordType::A, None);
        let mut waiting = connect_from(1, server).await;
        write_message(&mut waiting, &question).await.unwrap();
        let client = TokioUdp::bind(LOOPBACK).await.unwrap();
        client.send_to(&question, server).await.unwrap();
        let mut idle = connect_from(2, server).await;
        assert!(asks(&mut idle, "pc1.office.example.").await.is_some());
        let mut buffer = [0; 512];
        let (len, forwarder) = upstream.recv_from(&mut buffer).await.unwrap();
        // Both queries wait for one exchange; the third was answered.
        while service.stats().queries < 3 {
            tokio::task::yield_now().await;
        }

        let answered = async {
            assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "an idle connection ends at once");
            let response = Message::from_vec(&buffer[..len]).unwrap().into_response();
            upstream.send_to(&response.to_vec().unwrap(), forwarder).await.unwrap();
            // A connection that ends by its time-out only is ended after the exchange has failed.
            let answer = read(&mut waiting).await.metadata;
            assert_eq!((answer.id, answer.response_code), (1, ResponseCode::NoError));
            client.recv_from(&mut [0; 512]).await.unwrap();
            assert_eq!(waiting.read(&mut [0]).await.unwrap(), 0);
        };
        tokio::join!(service.finish(), answered);
        service.listen(server).await.expect("the address is free");
    });
}

#[test]
fn the_gateways_services_ask_without_a_socket() {
    run(async {
        let record = |name: &str, value| StaticRecord { name: name.into(), value };
        let mx = |preference, exchange: &str| {
            record("shop.example.", RecordValue::MailExchange { preference, exchange: exchange.into() })
        };
        let records = vec![
            mx(20, "MX2.shop.example."),
            mx(10, "mx1.shop.example."),
            record("null.shop.example.", RecordValue::MailExchange { preference: 0, exchange: ".".into() }),
            record(
                "office.example.",
                RecordValue::MailExchange { preference: 5, exchange: "mx1.shop.example.".into() },
            ),
            record("mx1.shop.example.", RecordValue::Address("203.0.113.7".parse().unwrap())),
            record("mx1.shop.example.", RecordValue::Address("2001:db8::7".parse().unwrap())),
            record("mx.shop.example.", RecordValue::Alias("mx1.shop.example.".into())),
            record("txt.shop.example.", RecordValue::Text("v=spf1 -all".repeat(30))),
            record("inside.shop.example.", RecordValue::Address("10.1.2.3".parse().unwrap())),
        ];
        let isp = Config { domain: "isp.example".into(), records, use_upstream: false, ..office() };
        let (_upstream, upstream) = start(isp).await;
        let clock = Rc::new(TokioClock(tokio::time::Instant::now()));
        let leases = Leases::of(&[("pc1", "192.168.1.50")]);
        let config = Config { upstreams: vec![upstream], ..office() };
        let service = Rc::new(Service::new(Kernel, clock, StdRng::seed_from_u64(3), config, leases).unwrap());
        let resolver = Resolver::new(service.clone());

        let exchange = |preference, host: &str| MailExchange { preference, host: host.to_owned() };
        let mut exchanges = resolver.mail_exchanges("Shop.Example").await.unwrap();
        exchanges.sort();
        assert_eq!(exchanges, [exchange(10, "mx1.shop.example"), exchange(20, "mx2.shop.example")]);
        assert_eq!(resolver.mail_exchanges("null.shop.example").await, Ok(vec![exchange(0, "")]));
        for name in ["mx1.shop.example", "mx.shop.example."] {
            let addresses: Vec<_> =
                resolver.addresses(name).await.unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(addresses, ["203.0.113.7", "2001:db8::7"]);
        }
        assert_eq!(resolver.texts("txt.shop.example").await, Ok(vec!["v=spf1 -all".repeat(30).into_bytes()]));
        assert_eq!(
            resolver.names("192.168.1.50".parse().unwrap()).await,
            Ok(vec!["pc1.office.example".to_owned()])
        );
        assert_eq!(resolver.ipv4("pc1.office.example").await, Ok(vec!["192.168.1.50".parse().unwrap()]));

        // The public view of the office's names, and the local one.
        let world = resolver.of_world();
        assert_eq!(world.mail_exchanges("office.example").await, Ok(vec![exchange(5, "mx1.shop.example")]));
        assert_ne!(
            resolver.mail_exchanges("office.example").await,
            world.mail_exchanges("office.example").await
        );
        assert!(world.ipv4("pc1.office.example").await.is_err());

        assert_eq!(resolver.ipv6("pc1.office.example").await, Err(NoAnswer::NoData));
        assert_eq!(resolver.mail_exchanges("txt.shop.example").await, Err(NoAnswer::NoData));
        assert_eq!(resolver.addresses("nobody.shop.example").await, Err(NoAnswer::NoName));
        assert_eq!(resolver.addresses("txt.shop.example").await, Err(NoAnswer::NoData));
        assert_eq!(resolver.addresses("inside.shop.example").await, Err(NoAnswer::Unavailable), "filtered");
        assert_eq!(resolver.addresses("a..b").await, Err(NoAnswer::NoName));
        let (asked, cached) = (service.stats().queries, service.stats().cached);
        assert!(resolver.mail_exchanges("shop.example").await.is_ok());
        assert_eq!((service.stats().queries, service.stats().cached), (asked + 1, cached + 1));
        service.set_upstreams(Vec::new());
        assert_eq!(resolver.addresses("unasked.shop.example").await, Err(NoAnswer::Unavailable));
    });
}

#[test]
fn a_service_that_is_dropped_ends_its_tasks() {
    run(async {
        let upstream = TokioUdp::bind(LOOPBACK).await.unwrap();
        let (service, server) = start_office(upstream.local_addr().unwrap()).await;
        let client = TokioUdp::bind(LOOPBACK).await.unwrap();
        client.send_to(&query(1, "www.shop.example.", RecordType::A, None), server).await.unwrap();
        upstream.recv_from(&mut [0; 512]).await.unwrap();
        let shared = Rc::downgrade(&service.shared);
        drop(service);
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    });
}
