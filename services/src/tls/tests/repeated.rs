//! Reproducible handshakes, which a simulation needs.

use super::super::testing::SetClock;
use super::*;
use crate::crypto::tls::provider_that_repeats;

/// The octets that a client of `seed` and a server of `seed` + 1 exchange for a handshake and a line each.
async fn conversation(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let authority = authority();
    let leaf = leaf(&authority, NOW);
    let tls = |seed| Tls::new(provider_that_repeats(rng(seed)), Rc::new(SetClock::at(NOW)));
    let (client, server) = (tls(seed), tls(seed + 1));
    client.set_authorities(&Authorities::from_pem(authority.certificate_pem().as_bytes()).unwrap());
    server.set_identity(&leaf.identity(NOW, server.provider()).unwrap());

    let ((at_client, mut from_client), (mut from_server, at_server)) = (pipe(PORTION_MAX), pipe(PORTION_MAX));
    let between = async {
        let mut sent = (Vec::new(), Vec::new());
        let (mut client_ended, mut server_ended) = (false, false);
        let mut buffer = [0; 4096];
        // The sides take turns, so that the order of reads is the protocol's order.
        while !(client_ended && server_ended) {
            let octets = from_client.read(&mut buffer).await.unwrap();
            sent.0.extend(&buffer[..octets]);
            client_ended |= octets == 0;
            from_server.write_all(&buffer[..octets]).await.unwrap();
            if client_ended {
                from_server.shutdown().await.unwrap();
            }
            let octets = if server_ended { 0 } else { from_server.read(&mut buffer).await.unwrap() };
            sent.1.extend(&buffer[..octets]);
            server_ended |= octets == 0;
            from_client.write_all(&buffer[..octets]).await.unwrap();
        }
        sent
    };
    let serves = async {
        let mut stream = server.accept(at_server).await.unwrap();
        let mut line = [0; 6];
        stream.read_exact(&mut line).await.unwrap();
        stream.write_all(b"221 bye\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let asks = async {
        let mut stream = client.connect(at_client, NAME).await.unwrap();
        stream.write_all(b"QUIT\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply, b"221 bye\r\n");
    };
    let (sent, (), ()) = tokio::join!(between, serves, asks);
    sent
}

#[tokio::test]
async fn a_handshake_is_what_the_seed_says_to_the_octet() {
    let first = conversation(1).await;
    assert!(
        first.0.len() > 200 && first.1.len() > 600,
        "a handshake: {} and {}",
        first.0.len(),
        first.1.len()
    );
    assert!(first == conversation(1).await);
    let other = conversation(11).await;
    assert!(first.0 != other.0 && first.1 != other.1);
}
