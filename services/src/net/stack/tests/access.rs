use std::io::ErrorKind;

use gatepost_ground::wire::Protocol;
use tokio::time::timeout;

use super::*;
use crate::net::UdpSocket;

#[test]
fn a_source_that_is_not_admitted_finds_nobody_listening() {
    simulate(async {
        let pair = Pair::perfect();
        let listener = pair.b.listen(at(B, 53)).await.expect("listen");
        let socket = pair.b.bind_udp(at(B, 53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        let rule = |protocol, from: &str| AccessRule {
            protocol,
            port: 53,
            from: vec![from.parse().expect("a network")],
        };
        let rules = |from| [Protocol::TCP, Protocol::UDP].map(|protocol| rule(protocol, from)).to_vec();
        let soon = Duration::from_secs(1);
        let mut buffer = [0; 1];

        pair.b.set_access(rules("192.168.1.9/32"));
        let refused = pair.a.connect(at(B, 53)).await.err().expect("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        client.send_to(&[1], at(B, 53)).await.expect("send");
        assert!(timeout(soon, socket.recv_from(&mut buffer)).await.is_err());
        assert_eq!(pair.b.counters().sources_refused, 2);

        pair.b.set_access(rules("192.168.1.0/30"));
        let _client = pair.a.connect(at(B, 53)).await.expect("it is admitted");
        listener.accept().await.expect("a connection");
        client.send_to(&[2], at(B, 53)).await.expect("send");
        assert!(timeout(soon, socket.recv_from(&mut buffer)).await.is_ok());
        assert_eq!((buffer[0], pair.b.counters().sources_refused), (2, 2));
    });
}

#[test]
fn the_gateway_itself_may_use_all_that_it_serves() {
    simulate(async {
        let pair = Pair::perfect();
        let listener = pair.b.listen(at(B, 53)).await.expect("listen");
        let from = vec!["192.168.1.9/32".parse().expect("a network")];
        pair.b.set_access(vec![AccessRule { protocol: Protocol::TCP, port: 53, from }]);
        let _client = pair.b.connect(at(B, 53)).await.expect("it is admitted");
        listener.accept().await.expect("a connection");
        assert_eq!(pair.b.counters().sources_refused, 0);
    });
}
