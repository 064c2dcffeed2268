use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::net::UdpSocket;

const SOON: Duration = Duration::from_secs(1);

async fn receive(socket: &StackUdp) -> Option<u8> {
    let mut buffer = [0];
    timeout(SOON, socket.recv_from(&mut buffer)).await.ok()?.expect("never fails");
    Some(buffer[0])
}

async fn accept(listener: &StackListener) -> Option<StackStream> {
    timeout(SOON, listener.accept()).await.ok().map(|stream| stream.expect("never fails"))
}

/// The other stack's next connection to port 7.
async fn connect(pair: &Pair) -> StackStream {
    pair.a.connect(at(B, 7)).await.expect("connect")
}

#[test]
fn a_staged_socket_hears_nothing_until_it_takes_over_with_what_waits() {
    simulate(async {
        let pair = Pair::perfect();
        let former = pair.b.bind_udp(at(B, 53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        let to = at(B, 53);
        let stage = pair.b.stage(&[network(B)]);
        let new = stage.bind_udp(to).await.expect("the port is taken, and can be staged");
        client.send_to(&[1], to).await.expect("send");
        assert_eq!((receive(&new).await, receive(&former).await), (None, Some(1)));

        client.send_to(&[2], to).await.expect("send");
        tokio::time::sleep(SOON).await;
        stage.activate();
        client.send_to(&[3], to).await.expect("send");
        assert_eq!(
            (receive(&former).await, receive(&new).await, receive(&new).await),
            (None, Some(2), Some(3))
        );

        former.send_to(&[4], at(A, client.local_addr().port())).await.expect("an answer that was under way");
        assert_eq!(receive(&client).await, Some(4));
        drop(former);
        client.send_to(&[5], to).await.expect("send");
        assert_eq!(receive(&new).await, Some(5), "the former holder gave up nothing");
        let error = pair.b.bind_udp(to).await.err().expect("it is taken");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(new);
        pair.b.bind_udp(to).await.expect("it is free");
    });
}

/// A receiver that waits already is woken, as by an arrival.
#[test]
fn a_new_holder_that_waits_is_told_of_what_waits() {
    simulate(async {
        let pair = Pair::perfect();
        let _former = pair.b.bind_udp(at(B, 53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        client.send_to(&[1], at(B, 53)).await.expect("send");
        let stage = pair.b.stage(&[network(B)]);
        let new = stage.bind_udp(at(B, 53)).await.expect("bind");
        let waiting = spawn_local(async move { receive(&new).await });
        tokio::task::yield_now().await;
        tokio::time::sleep(SOON / 2).await;
        stage.activate();
        assert_eq!(waiting.await.expect("no panic"), Some(1));
    });
}

#[test]
fn a_new_listener_that_waits_is_told_of_what_waits() {
    simulate(async {
        let pair = Pair::perfect();
        let _former = pair.b.listen(at(B, 7)).await.expect("listen");
        let _client = connect(&pair).await;
        let stage = pair.b.stage(&[network(B)]);
        let new = stage.listen(at(B, 7)).await.expect("listen");
        let waiting = spawn_local(async move { accept(&new).await.is_some() });
        tokio::time::sleep(SOON / 2).await;
        stage.activate();
        assert!(waiting.await.expect("no panic"));
    });
}

/// Nobody else can have such a port, so there is nothing to wait for.
#[test]
fn a_port_that_the_stack_chooses_is_bound_at_once() {
    simulate(async {
        let pair = Pair::perfect();
        let stage = pair.b.stage(&[network(B)]);
        let socket = stage.bind_udp(on(0)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        client.send_to(&[1], at(B, socket.local_addr().port())).await.expect("send");
        assert_eq!(receive(&socket).await, Some(1));
    });
}

#[test]
fn a_staged_listener_takes_over_what_nobody_has_accepted_and_leaves_the_rest() {
    simulate(async {
        let pair = Pair::perfect();
        let former = pair.b.listen(at(B, 7)).await.expect("listen");
        let stage = pair.b.stage(&[network(B)]);
        let new = stage.listen(at(B, 7)).await.expect("listen");
        let mut early = connect(&pair).await;
        let mut served = accept(&former).await.expect("the former listener serves");
        assert!(accept(&new).await.is_none());

        let mut waiting = connect(&pair).await;
        stage.activate();
        assert!(accept(&former).await.is_none());
        let mut accepted = accept(&new).await.expect("what waited");
        drop(former);
        let _late = connect(&pair).await;
        assert!(accept(&new).await.is_some(), "the former holder closed nothing");

        for (server, client) in [(&mut served, &mut early), (&mut accepted, &mut waiting)] {
            server.write_all(b"alive").await.expect("write");
            let mut buffer = [0; 5];
            client.read_exact(&mut buffer).await.expect("read");
        }
    });
}

#[test]
fn what_is_given_up_before_leaves_the_former_bindings_alone() {
    simulate(async {
        let pair = Pair::perfect();
        let former = pair.b.bind_udp(at(B, 53)).await.expect("bind");
        let client = pair.a.bind_udp(on(0)).await.expect("bind");
        let stage = pair.b.stage(&[network(B)]);
        drop(stage.bind_udp(at(B, 53)).await.expect("bind"));
        drop(stage.listen(at(B, 7)).await.expect("listen"));
        client.send_to(&[1], at(B, 53)).await.expect("send");
        assert_eq!(receive(&former).await, Some(1));
        stage.activate();
        client.send_to(&[2], at(B, 53)).await.expect("send");
        assert_eq!(receive(&former).await, Some(2));
        let refused = pair.a.connect(at(B, 7)).await.err().expect("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_stage_refuses_what_cannot_be_bound_when_it_is_activated() {
    simulate(async {
        const LATER: [u8; 4] = [10, 0, 0, 1];
        let pair = Pair::perfect();
        let stage = pair.b.stage(&[network(LATER)]);
        let refused = |outcome: io::Result<StackUdp>| outcome.err().map(|error| error.kind());
        assert_eq!(refused(stage.bind_udp(at(B, 53)).await), Some(ErrorKind::AddrNotAvailable));
        let held = stage.bind_udp(at(LATER, 53)).await.expect("an address to come");
        assert_eq!(refused(stage.bind_udp(at(LATER, 53)).await), Some(ErrorKind::AddrInUse));
        assert_eq!(refused(stage.bind_udp(on(53)).await), Some(ErrorKind::AddrInUse));
        let _listener = stage.listen(at(LATER, 53)).await.expect("TCP is another matter");
        pair.b.set_addresses(&[network(LATER)]);
        stage.activate();
        assert_eq!(refused(pair.b.bind_udp(at(LATER, 53)).await), Some(ErrorKind::AddrInUse));
        drop(held);
        stage.bind_udp(at(LATER, 53)).await.expect("it is bound at once from now on");
    });
}

#[test]
fn the_bindings_of_a_stage_are_bounded() {
    simulate(async {
        let pair = Pair::perfect();
        let stage = pair.b.stage(&[network(B)]);
        let mut held = Vec::new();
        for port in 0..STAGED_BINDINGS_MAX {
            held.push(stage.bind_udp(at(B, 1000 + port as u16)).await.expect("room"));
        }
        let error = stage.bind_udp(at(B, 53)).await.err().expect("no room");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        held.pop();
        stage.bind_udp(at(B, 53)).await.expect("there is room again");
    });
}

/// As when the LAN's address changes, and a page is open that wants to know whether it has.
#[test]
fn a_connection_at_an_address_that_stays_beside_a_new_one_goes_on_and_both_are_served() {
    const NEW: [u8; 4] = [10, 0, 0, 1];
    simulate(async {
        let pair = Pair::perfect();
        let former = pair.b.listen(at(B, 7)).await.expect("listen");
        let mut client = connect(&pair).await;
        let mut server = accept(&former).await.expect("a connection");
        let mut exchange = async |octet: u8| {
            client.write_all(&[octet]).await.expect("write");
            assert_eq!(server.read_u8().await.expect("read"), octet);
            server.write_all(&[octet]).await.expect("write");
            assert_eq!(client.read_u8().await.expect("read"), octet);
        };
        exchange(1).await;
        let both = [network(B), network(NEW)];
        let stage = pair.b.stage(&both);
        let listeners = [B, NEW].map(|own| at(own, 7));
        let listeners = [stage.listen(listeners[0]).await, stage.listen(listeners[1]).await];
        pair.b.set_addresses(&both);
        stage.activate();
        drop(former);
        exchange(2).await;
        for (own, listener) in [B, NEW].into_iter().zip(listeners) {
            let _client = pair.a.connect(at(own, 7)).await.expect("connect");
            let stream = accept(&listener.expect("listen")).await.expect("a connection");
            assert_eq!(stream.local_addr(), at(own, 7));
        }
        pair.b.set_addresses(&[network(B)]);
        exchange(3).await;
        assert!(timeout(SOON, pair.a.connect(at(NEW, 7))).await.is_err(), "nobody is there any more");
    });
}
