use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::*;

const LOSSY: Impairment = Impairment { loss: 5, duplication: 3, delay_max: Duration::from_millis(30) };

/// Listens, and sends everything back to the end of each connection.
pub(super) async fn serve_echo(stack: &Stack) {
    let listener = stack.listen(on(7)).await.expect("listen");
    spawn_local(async move {
        loop {
            let stream = listener.accept().await.expect("accept");
            spawn_local(async move {
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer).await.expect("echo");
            });
        }
    });
}

/// Sends `sent`, closes, and reads what comes back.
async fn echoed(stack: &Stack, remote: SocketAddr, sent: Vec<u8>) -> Vec<u8> {
    let stream = stack.connect(remote).await.expect("connect");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = spawn_local(async move {
        writer.write_all(&sent).await.expect("write");
        writer.shutdown().await.expect("shutdown");
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.expect("read");
    writing.await.expect("no panic");
    received
}

async fn echo_over_lossy_wire(seed: u64) -> u64 {
    let pair = Pair::new(StackConfig::default(), seed, LOSSY);
    serve_echo(&pair.b).await;
    let sent = octets(300_000, seed);
    assert_eq!(echoed(&pair.a, at(B, 7), sent.clone()).await, sent);
    pair.hash()
}

#[test]
fn a_lossy_reordering_wire_changes_nothing() {
    for seed in 0..cases(100).into() {
        simulate(echo_over_lossy_wire(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    let [first, second, other] = [5, 5, 6].map(|seed| simulate(echo_over_lossy_wire(seed)));
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn a_thousand_connections_at_once_are_each_served_right() {
    simulate(async {
        let pair = Pair::perfect();
        serve_echo(&pair.b).await;
        let everybody_connected = Rc::new(tokio::sync::Barrier::new(1000));
        let clients: Vec<_> = (0..1000)
            .map(|seed| {
                let (stack, barrier) = (pair.a.clone(), Rc::clone(&everybody_connected));
                spawn_local(async move {
                    let mut stream = stack.connect(at(B, 7)).await.expect("connect");
                    barrier.wait().await;
                    for round in 0..3 {
                        let sent = octets(3000, seed * 3 + round);
                        stream.write_all(&sent).await.expect("write");
                        let mut received = vec![0; sent.len()];
                        stream.read_exact(&mut received).await.expect("read");
                        assert_eq!(received, sent);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.expect("served");
        }
    });
}

#[test]
fn the_last_words_arrive_then_the_end() {
    simulate(async {
        let pair = Pair::new(StackConfig::default(), 2, LOSSY);
        let (mut client, mut server) = pair.connected().await;
        let words = octets(32 * 1024, 0);
        client.write_all(&words).await.expect("fits in the buffer");
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.expect("an end, no error");
        assert_eq!(received, words);
        drop(server);
        sleep(Duration::from_secs(60)).await;
        assert_eq!((pair.a.counters().connections, pair.b.counters().connections), (0, 0));
    });
}

#[test]
fn what_was_not_read_yet_outlives_the_connection() {
    simulate(async {
        let pair = Pair::perfect();
        let (mut client, mut server) = pair.connected().await;
        client.shutdown().await.expect("shutdown");
        server.write_all(b"read me later").await.expect("write");
        drop(server);
        sleep(Duration::from_secs(100)).await; // TIME-WAIT is over
        assert_eq!(pair.b.counters().connections, 0);
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.expect("an end, no error");
        assert_eq!(received, b"read me later");
        drop(client);
        assert_eq!(pair.a.counters().connections, 0);
    });
}

#[test]
fn a_reset_is_an_error_and_no_end() {
    simulate(async {
        let pair = Pair::perfect();
        let listener = pair.b.listen(on(7)).await.expect("listen");
        let mut client = pair.a.connect(at(B, 7)).await.expect("connect");
        drop(listener); // resets what was not accepted, at once
        let read = timeout(Duration::from_secs(1), client.read(&mut [0; 1])).await;
        assert_eq!(read.expect("at once").expect_err("a reset").kind(), ErrorKind::ConnectionReset);
        let error = client.write(&[0; 1]).await.expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn nobody_listening_is_refused_and_nobody_there_times_out() {
    simulate(async {
        let pair = Pair::perfect();
        let error = pair.a.connect(at(B, 7)).await.err().expect("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        pair.is_cut.set(true);
        let begun = tokio::time::Instant::now();
        let error = pair.a.connect(at(B, 7)).await.err().expect("nobody answers");
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::TimedOut, 180));
        assert_eq!(pair.a.counters().connections, 0);
    });
}

/// RFC 1122, section 4.2.2.13: Data for a dropped stream is answered by a reset.
#[test]
fn rfc1122_4_2_2_13_data_for_nobody_is_reset() {
    simulate(async {
        let pair = Pair::perfect();
        let (mut client, server) = pair.connected().await;
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
        sleep(Duration::from_secs(1)).await;
        client.write_all(b"anybody?").await.expect("not known yet");
        sleep(Duration::from_secs(1)).await;
        let error = client.write(b"anybody?").await.expect_err("nobody");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(pair.b.counters().connections, 0);
    });
}

#[test]
fn a_peer_that_never_closes_is_let_go() {
    simulate(async {
        let pair = Pair::perfect();
        let (client, server) = pair.connected().await;
        drop(server);
        sleep(Duration::from_secs(59)).await;
        assert_eq!(pair.b.counters().connections, 1);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(pair.b.counters().connections, 0);
        drop(client);
    });
}

#[test]
fn a_full_backlog_drops_the_syn_which_is_repeated() {
    simulate(async {
        let pair = Pair::perfect();
        let listener = pair.b.listen(on(7)).await.expect("listen");
        let mut clients = Vec::new();
        for _ in 0..BACKLOG_MAX {
            clients.push(pair.a.connect(at(B, 7)).await.expect("connect"));
        }
        let late = pair.a.clone();
        let late = spawn_local(async move { late.connect(at(B, 7)).await });
        sleep(Duration::from_millis(100)).await;
        assert_eq!(pair.b.counters().syns_dropped_backlog_full, 1);
        assert!(!late.is_finished());
        let _accepted = listener.accept().await.expect("accept");
        late.await.expect("no panic").expect("connected by the second SYN");
    });
}

#[test]
fn own_connections_are_bounded() {
    simulate(async {
        let config = StackConfig { connections_max: 2, ..StackConfig::default() };
        let pair = Pair::new(config, 1, Impairment::default());
        let _listener = pair.b.listen(on(7)).await.expect("listen");
        let _first = pair.a.connect(at(B, 7)).await.expect("connect");
        let second = pair.a.connect(at(B, 7)).await.expect("connect");
        let error = pair.a.connect(at(B, 7)).await.err().expect("too many");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        drop(second);
        sleep(Duration::from_secs(400)).await; // the peer never closes
        let _third = pair.a.connect(at(B, 7)).await.expect("there is room again");
    });
}

#[test]
fn a_dead_peer_holds_no_connection_for_ever() {
    simulate(async {
        let pair = Pair::perfect();
        let (mut client, mut server) = pair.connected().await;
        sleep(Duration::from_secs(24 * 3600)).await; // keep-alives are answered
        pair.is_cut.set(true);
        let begun = tokio::time::Instant::now();
        client.write_all(b"hello?").await.expect("buffered");
        let error = client.read(&mut [0; 1]).await.expect_err("nobody there");
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::TimedOut, 300));
        // The other end has sent nothing; its keep-alives find that the path is cut.
        let error = server.read(&mut [0; 1]).await.expect_err("nobody there");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() <= StackConfig::default().keep_alive * 3);
    });
}

#[test]
fn an_orphan_that_nobody_answers_is_given_up() {
    simulate(async {
        let pair = Pair::perfect();
        let (mut client, _server) = pair.connected().await;
        pair.is_cut.set(true);
        client.write_all(b"last words").await.expect("buffered");
        drop(client);
        sleep(Duration::from_secs(299)).await;
        assert_eq!(pair.a.counters().connections, 1);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(pair.a.counters().connections, 0);
    });
}

#[test]
fn connections_from_an_address_that_is_gone_are_aborted() {
    simulate(async {
        let pair = Pair::perfect();
        let (mut client, mut server) = pair.connected().await;
        let listener = pair.a.listen(on(9)).await.expect("listen");
        pair.a.set_addresses(&[network([192, 168, 1, 3])]);
        let error = client.read(&mut [0; 1]).await.expect_err("no address");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        // The unspecified address means the new one too.
        let _connected = pair.b.connect(at([192, 168, 1, 3], 9)).await.expect("connect");
        let _accepted = listener.accept().await.expect("accept");
        server.write_all(b"lost").await.expect("buffered");
        let bound_to_old = pair.a.listen(at(A, 10)).await.err().expect("not ours");
        assert_eq!(bound_to_old.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn a_sender_without_a_window_goes_on_as_soon_as_the_service_reads() {
    simulate(async {
        let pair = Pair::perfect();
        let (mut client, mut server) = pair.connected().await;
        let sent = octets(300_000, 4);
        let expected = sent.clone();
        let writing = spawn_local(async move { client.write_all(&sent).await.expect("write") });
        // By then the sender's window probes are many seconds apart.
        sleep(Duration::from_secs(100)).await;
        let mut received = vec![0; expected.len()];
        let reading = timeout(Duration::from_secs(1), server.read_exact(&mut received)).await;
        reading.expect("each read opens the window").expect("read");
        assert_eq!(received, expected);
        writing.await.expect("no panic");
    });
}

#[test]
fn a_connect_that_nobody_waits_for_is_given_up() {
    simulate(async {
        let pair = Pair::perfect();
        pair.is_cut.set(true);
        let attempt = timeout(Duration::from_secs(3), pair.a.connect(at(B, 7))).await;
        assert!(attempt.is_err());
        assert_eq!(pair.a.counters().connections, 0);
    });
}

#[test]
fn the_stack_can_talk_to_itself() {
    simulate(async {
        let pair = Pair::perfect();
        serve_echo(&pair.a).await;
        let sent = octets(100_000, 3);
        assert_eq!(echoed(&pair.a, at(A, 7), sent.clone()).await, sent);
    });
}

#[test]
fn a_port_is_listened_on_once() {
    simulate(async {
        let pair = Pair::perfect();
        let listener = pair.a.listen(on(7)).await.expect("listen");
        for taken in [on(7), at(A, 7)] {
            assert_eq!(pair.a.listen(taken).await.err().map(|e| e.kind()), Some(ErrorKind::AddrInUse));
        }
        drop(listener);
        assert_eq!(pair.a.listen(at(A, 7)).await.expect("free again").local_addr(), at(A, 7));
        assert!(pair.a.listen(on(0)).await.expect("any port").local_addr().port() >= 1024);
    });
}

#[test]
fn only_a_host_can_be_connected_to() {
    simulate(async {
        let pair = Pair::perfect();
        for wrong in [on(7), at(B, 0), at([255; 4], 7), at([192, 168, 1, 255], 7), at([224, 0, 0, 1], 7)] {
            let error = pair.a.connect(wrong).await.err().expect("no host");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
        }
        pair.a.set_addresses(&[]);
        let error = pair.a.connect(at(B, 7)).await.err().expect("no address");
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        let error = pair.a.connect("[::1]:7".parse().expect("an address")).await.err().expect("no IPv6");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn a_stack_without_memory_for_buffers_slows_down_and_serves_everybody() {
    simulate(async {
        const MEMORY_MAX: usize = 256 * 1024;
        let config = StackConfig { tcp_memory_max: MEMORY_MAX, ..StackConfig::default() };
        let pair = Pair::new(config, 3, Impairment::default());
        let listener = pair.b.listen(on(7)).await.expect("listen");
        let mut servers = Vec::new();
        let mut clients = Vec::new();
        for seed in 0..20 {
            let mut client = pair.a.connect(at(B, 7)).await.expect("connect");
            servers.push((seed, listener.accept().await.expect("accept")));
            clients.push(spawn_local(async move {
                client.write_all(&octets(200_000, seed)).await.expect("write");
                client.shutdown().await.expect("shutdown");
                client
            }));
        }
        // All streams send, and none is read.
        sleep(Duration::from_secs(5)).await;
        for stack in [&pair.a, &pair.b] {
            let memory = stack.counters().tcp_memory as usize;
            // A buffer may double once when the maximum is all but reached; then each connection has its minimum.
            assert!((MEMORY_MAX..2 * MEMORY_MAX + 20 * 16 * 1024).contains(&memory), "{memory}");
        }
        assert!(pair.b.counters().segments_dropped_memory_full > 0);
        let readers: Vec<_> = servers
            .into_iter()
            .map(|(seed, mut server)| {
                spawn_local(async move {
                    let mut received = Vec::new();
                    server.read_to_end(&mut received).await.expect("an end, no error");
                    assert!(received == octets(200_000, seed));
                })
            })
            .collect();
        for reader in readers {
            reader.await.expect("served");
        }
        drop(clients);
        sleep(Duration::from_secs(30)).await;
        assert_eq!((pair.a.counters().tcp_memory, pair.b.counters().tcp_memory), (0, 0));
    });
}

/// RFC 9293, section 3.6.1: A SYN from the same ends replaces a connection in TIME-WAIT.
#[test]
fn rfc9293_3_6_1_a_connection_in_time_wait_gives_way_to_the_next_of_the_same_ends() {
    use super::packets::{ACK, FIN, PEER, Raw, SYN, alone, next_segment};
    simulate(async {
        let (stack, wire) = alone(StackConfig::default());
        let listener = stack.listen(on(25)).await.expect("listen");
        for sequence in [100, 5000] {
            let syn = Raw { ports: (4000, 25), sequence, flags: SYN, window: 4000, ..Raw::default() };
            stack.handle_packet(&syn.packet(PEER, A));
            let (flags, ours, _) = next_segment(&wire).await.expect("SYN and ACK");
            assert_eq!(flags, SYN | ACK);
            let next = Raw {
                sequence: sequence + 1,
                acknowledgement: ours.wrapping_add(1),
                flags: ACK,
                ..syn.clone()
            };
            stack.handle_packet(&next.packet(PEER, A));
            drop(listener.accept().await.expect("accept"));
            assert_eq!(next_segment(&wire).await.map(|(flags, ..)| flags), Some(FIN | ACK));
            let last = Raw { acknowledgement: ours.wrapping_add(2), flags: FIN | ACK, ..next };
            stack.handle_packet(&last.packet(PEER, A));
            next_segment(&wire).await.expect("the last acknowledgement");
            assert_eq!(stack.counters().connections, 1, "TIME-WAIT");
        }
        sleep(Duration::from_secs(11)).await;
        assert_eq!(stack.counters().connections, 0);
    });
}
