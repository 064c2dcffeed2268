use std::io::ErrorKind;

use tokio::time::timeout;

use super::*;
use crate::net::UdpSocket;

const SOON: Duration = Duration::from_secs(1);

async fn receive(socket: &StackUdp) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 65_536];
    let (len, remote) = timeout(SOON, socket.recv_from(&mut buffer)).await.ok()?.expect("never fails");
    buffer.truncate(len);
    Some((buffer, remote))
}

#[test]
fn datagrams_of_every_length_arrive_whole() {
    simulate(async {
        let pair = Pair::perfect();
        let server = pair.b.bind_udp(on(53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        for len in [0, 1, 1472, 1473, 4096, DATAGRAM_LEN_MAX] {
            let sent = octets(len, len as u64);
            client.send_to(&sent, at(B, 53)).await.expect("send");
            let (received, from) = receive(&server).await.expect("a datagram");
            assert_eq!((received == sent, from), (true, at(A, client.local_addr().port())), "{len}");
            server.send_to(&received, from).await.expect("send");
            assert_eq!(receive(&client).await, Some((sent, at(B, 53))));
        }
        let error = client.send_to(&vec![0; DATAGRAM_LEN_MAX + 1], at(B, 53)).await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn what_a_dropped_socket_has_sent_is_sent() {
    simulate(async {
        let pair = Pair::perfect();
        let server = pair.b.bind_udp(on(53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        for number in 0..10 {
            client.send_to(&[number; 5000], at(B, 53)).await.expect("send");
        }
        drop(client);
        for number in 0..10 {
            assert_eq!(receive(&server).await.expect("a datagram").0, [number; 5000]);
        }
    });
}

#[test]
fn a_sender_waits_for_room_and_nothing_is_lost() {
    simulate(async {
        let pair = Pair::perfect();
        let server = pair.b.bind_udp(on(53)).await.expect("bind");
        let receiving = spawn_local(async move {
            let mut count = 0;
            while receive(&server).await.is_some() {
                count += 1;
            }
            count
        });
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        for _ in 0..1000 {
            client.send_to(&[0; 3000], at(B, 53)).await.expect("send");
        }
        let received: u64 = receiving.await.expect("no panic");
        assert_eq!(received + pair.b.counters().datagrams_dropped_queue_full, 1000);
    });
}

#[test]
fn a_full_queue_drops_what_comes_last() {
    simulate(async {
        let pair = Pair::perfect();
        let server = pair.b.bind_udp(on(53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        for number in 0..100 {
            client.send_to(&[number], at(B, 53)).await.expect("send");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let dropped = 100 - UDP_QUEUE_DATAGRAMS_MAX as u64;
        assert_eq!(pair.b.counters().datagrams_dropped_queue_full, dropped);
        for number in 0..UDP_QUEUE_DATAGRAMS_MAX {
            assert_eq!(receive(&server).await.expect("a datagram").0, [number as u8]);
        }
        // By octets it is full sooner, and there is room again.
        for _ in 0..3 {
            client.send_to(&[0; 30_000], at(B, 53)).await.expect("send");
        }
        assert!(receive(&server).await.is_some() && receive(&server).await.is_some());
        assert_eq!(receive(&server).await, None);
        assert_eq!(pair.b.counters().datagrams_dropped_queue_full, dropped + 1);
    });
}

/// RFC 1122, section 4.1.3.5: The answer's source is the request's destination.
#[test]
fn rfc1122_4_1_3_5_the_answer_comes_from_the_address_that_was_asked() {
    simulate(async {
        let pair = Pair::perfect();
        let wan = [203, 0, 113, 10];
        pair.b.set_addresses(&[network(B), network(wan)]);
        let server = pair.b.bind_udp(on(53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        for asked in [wan, B] {
            client.send_to(b"?", at(asked, 53)).await.expect("send");
            let (_, from) = receive(&server).await.expect("a datagram");
            server.send_to(b"!", from).await.expect("send");
            assert_eq!(receive(&client).await, Some((b"!".to_vec(), at(asked, 53))));
        }
    });
}

#[test]
fn sockets_are_bounded_and_a_port_is_bound_once() {
    simulate(async {
        let config = StackConfig { udp_sockets_max: 2, ..StackConfig::default() };
        let pair = Pair::new(config, 1, Impairment::default());
        let first = pair.a.bind_udp(on(53)).await.expect("bind");
        let in_use = pair.a.bind_udp(at(A, 53)).await.err().expect("taken");
        assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
        let second = pair.a.bind_udp(on(0)).await.expect("bind");
        assert!(second.local_addr().port() >= 1024);
        let too_many = pair.a.bind_udp(on(0)).await.err().expect("too many");
        assert_eq!(too_many.kind(), ErrorKind::QuotaExceeded);
        drop(first);
        pair.a.bind_udp(at(A, 53)).await.expect("free again");
    });
}

#[test]
fn a_socket_on_an_address_that_is_gone_cannot_send() {
    simulate(async {
        let pair = Pair::perfect();
        let bound = pair.a.bind_udp(at(A, 53)).await.expect("bind");
        let every = pair.a.bind_udp(on(54)).await.expect("bind");
        pair.a.set_addresses(&[]);
        let gone = bound.send_to(b"?", at(B, 53)).await.expect_err("no address");
        assert_eq!(gone.kind(), ErrorKind::AddrNotAvailable);
        let none = every.send_to(b"?", at(B, 53)).await.expect_err("no address");
        assert_eq!(none.kind(), ErrorKind::NetworkUnreachable);
        pair.a.set_addresses(&[network(A)]);
        bound.send_to(b"?", at(B, 53)).await.expect("back again");
    });
}
