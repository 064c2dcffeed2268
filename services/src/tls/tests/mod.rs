//! Client and server over a connection in memory.

mod identities;
mod keeping;
mod repeated;
mod trust;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::testing::{DAY, NOW, PORTION_MAX, Pipe, authority, leaf, names, office, pipe, rng};
use super::*;
use crate::clock::UnixTime;
use crate::crypto::signing::KeyKind;
use crate::tls::authority::{Authority, Names};

const NAME: Peer<'_> = Peer::Named("smtp.office.example");

/// The outcomes of a server's and a client's handshake over one connection.
async fn handshake(
    server: &Tls,
    client: &Tls,
    peer: Peer<'_>,
) -> (Result<TlsStream<Pipe>, HandshakeError>, Result<TlsStream<Pipe>, HandshakeError>) {
    let (at_client, at_server) = pipe(PORTION_MAX);
    tokio::join!(server.accept(at_server), client.connect(at_client, peer))
}

async fn connection(server: &Tls, client: &Tls, peer: Peer<'_>) -> (TlsStream<Pipe>, TlsStream<Pipe>) {
    let (accepted, connected) = handshake(server, client, peer).await;
    (accepted.expect("accepted"), connected.expect("connected"))
}

async fn refusal(server: &Tls, client: &Tls, peer: Peer<'_>) -> String {
    let (accepted, connected) = handshake(server, client, peer).await;
    accepted.expect_err("the client tells the server");
    match connected.expect_err("it is not trusted") {
        HandshakeError::Untrusted(why) => why,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn octets_pass_both_ways_and_an_end_is_told() {
    let (server, client, _) = office();
    let (mut accepted, mut connected) = connection(&server, &client, NAME).await;
    for stream in [&accepted, &connected] {
        let Protection { version, suite } = stream.protection();
        assert_eq!(version, "TLS1.3");
        assert!(suite.starts_with("TLS_AES_"), "{suite}");
    }
    assert_eq!(accepted.peer_addr(), connected.local_addr());
    assert_eq!(accepted.local_addr(), connected.peer_addr());
    connected.write_all(b"EHLO pc1\r\n").await.unwrap();
    connected.flush().await.unwrap();
    let mut line = [0; 10];
    accepted.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"EHLO pc1\r\n");
    accepted.write_all(b"221 bye\r\n").await.unwrap();
    accepted.shutdown().await.unwrap();
    let mut rest = Vec::new();
    connected.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"221 bye\r\n");
    assert_eq!(server.stats(), Stats { accepted: 1, ..Stats::default() });
    assert_eq!(client.stats(), Stats { connected: 1, ..Stats::default() });
}

/// RFC 8446, section 6.1: An end that the peer does not tell of is none.
#[tokio::test]
async fn rfc8446_6_1_an_end_that_the_peer_does_not_tell_of_is_none() {
    let (server, client, _) = office();
    let (accepted, mut connected) = connection(&server, &client, NAME).await;
    drop(accepted);
    let error = connected.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn octets_come_one_by_one_and_more_of_them_than_the_buffers_hold() {
    let (server, client, _) = office();
    let (at_client, at_server) = pipe(1);
    let (accepted, connected) = tokio::join!(server.accept(at_server), client.connect(at_client, NAME));
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    let sent: Vec<u8> = (0..5 * WRITE_BUFFER_OCTETS).map(|n| (n % 251) as u8).collect();
    let mut got = Vec::new();
    let sends = async {
        connected.write_all(&sent).await.unwrap();
        connected.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(sends, accepted.read_to_end(&mut got));
    read.unwrap();
    assert!(got == sent);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_makes_the_writer_wait() {
    let (server, client, _) = office();
    let (mut accepted, _connected) = connection(&server, &client, NAME).await;
    let mut written = 0;
    let fills = poll_fn(|context| {
        loop {
            match pin!(&mut accepted).poll_write(context, &[7; 1024]) {
                std::task::Poll::Ready(octets) => written += octets.unwrap(),
                std::task::Poll::Pending => return std::task::Poll::Ready(()),
            }
        }
    });
    fills.await;
    assert!(written <= 2 * WRITE_BUFFER_OCTETS + (1 << 14), "{written} octets");
}

#[tokio::test]
async fn a_server_is_trusted_by_its_name_its_authority_and_the_clock() {
    let (server, client, clock) = office();
    for name in
        ["gatepost.office.example", "gatepost.office.example.", "gatepost", "office.example", "192.168.1.1"]
    {
        connection(&server, &client, Peer::Named(name)).await;
    }
    for name in ["smtp.other.example", "a.smtp.office.example", "192.168.1.2", "203.0.113.1"] {
        let why = refusal(&server, &client, Peer::Named(name)).await;
        assert!(why.contains("not valid for name"), "{why}");
    }
    let why = refusal(&server, &client, Peer::Named("no name at all")).await;
    assert_eq!(why, "\"no name at all\" is no name of a server");
    clock.0.set(UnixTime(NOW.0 + 91 * DAY));
    let why = refusal(&server, &client, NAME).await;
    assert!(why.contains("expired"), "{why}");
    clock.0.set(UnixTime(NOW.0 - 2 * DAY));
    let why = refusal(&server, &client, NAME).await;
    assert!(why.contains("not valid yet"), "{why}");
    clock.0.set(NOW);
    let stranger = Authority::make(KeyKind::Ed25519, &names(), NOW, &mut rng(9)).unwrap();
    client.set_authorities(&Authorities::from_pem(stranger.certificate_pem().as_bytes()).unwrap());
    let why = refusal(&server, &client, NAME).await;
    assert_eq!(why, "BadSignature", "it has the same name");
    client.set_authorities(&Authorities::none());
    let why = refusal(&server, &client, NAME).await;
    assert!(why.contains("UnknownIssuer"), "{why}");
}

/// RFC 7435, section 3: With opportunistic security, a certificate that proves nothing is no reason to send in clear.
#[tokio::test]
async fn rfc7435_3_a_certificate_that_proves_nothing_is_no_reason_to_send_in_clear() {
    let (server, client, clock) = office();
    client.set_authorities(&Authorities::none());
    clock.0.set(UnixTime(NOW.0 + 1000 * DAY));
    for name in [None, Some("mx.other.example"), Some("no name at all"), Some("192.0.2.1")] {
        connection(&server, &client, Peer::Anybody(name)).await;
    }
}

/// A certificate of X.509 version 1, as `openssl x509 -req` makes one without extensions.
const OF_VERSION_1: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBKTCBzwIUcu2xXOayAqRm3EXLTI5YFTkc0fYwCgYIKoZIzj0EAwIwFjEUMBIG
A1UEAwwLb2xkLmV4YW1wbGUwIBcNMjYxMTI5MDY0MjQ0WhgPMjEyNjExMDUwNjQy
NDRaMBYxFDASBgNVBAMMC29sZC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEetZFvULufusojHSDx48HByYkRFIbWu3j7sICUuKAvk4nEMteXwMSk2mL
eKcrskoHsLK+orAXnX87t7Qg+g9HjzAKBggqhkjOPQQDAgNJADBGAiEAj9nj7FQX
+dP0oXpvWHD3Zv4hUzv8CE+HP8dx19Lj2OkCIQC0Qu81RhNfrOvBGvumu1Nim/LN
v4x7u0zpkEKLx2P6KQ==
-----END CERTIFICATE-----
";

/// RFC 7435, section 3: With opportunistic security, a certificate that cannot be read is no reason to send in clear.
#[tokio::test]
async fn rfc7435_3_a_certificate_that_cannot_be_read_is_no_reason_to_send_in_clear() {
    let (server, client, _) = office();
    let old = CertificateDer::from_pem_slice(OF_VERSION_1).unwrap();
    for shown in [old, CertificateDer::from(b"no certificate".to_vec())] {
        let certified = leaf(&authority(), NOW).identity(NOW, server.provider()).unwrap().certified;
        let certified = Arc::new(CertifiedKey::new(vec![shown], Arc::clone(&certified.key)));
        server.show(&certified);
        connection(&server, &client, Peer::Anybody(None)).await;
        assert!(handshake(&server, &client, NAME).await.1.is_err(), "it proves nothing");
    }
}

/// A server's certificate quotes whatever the server likes.
#[tokio::test]
async fn what_is_told_of_a_strangers_certificate_is_short() {
    let (server, client, _) = office();
    let long = Names { domain: ["a".repeat(60).as_str(); 4].join("."), ..names() };
    let authority = Authority::make(KeyKind::Ed25519, &long, NOW, &mut rng(7)).unwrap();
    let signed = authority.sign(KeyKind::Ed25519, &long, NOW, &mut rng(8)).unwrap();
    server.set_identity(&signed.identity(NOW, server.provider()).unwrap());
    client.set_authorities(&Authorities::from_pem(authority.certificate_pem().as_bytes()).unwrap());
    let why = refusal(&server, &client, NAME).await;
    assert_eq!(why.chars().count(), REASON_CHARS_MAX, "{why}");
    assert_eq!(printable("a\r\n\u{1b}[2Jb"), "a[2Jb");
}

#[tokio::test]
async fn a_client_that_says_nothing_gives_its_place_back_in_time() {
    tokio::time::pause();
    let (server, _, _) = office();
    let (_silent, at_server) = pipe(PORTION_MAX);
    let error = server.accept(at_server).await.unwrap_err();
    assert!(matches!(error, HandshakeError::TimedOut), "{error}");
    assert_eq!(server.stats(), Stats { timed_out: 1, ..Stats::default() });
}

#[tokio::test]
async fn a_source_with_too_many_handshakes_is_refused_the_next() {
    let (server, client, _) = office();
    let mut silent = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..HANDSHAKES_PER_SOURCE_MAX {
        let (at_client, at_server) = pipe(PORTION_MAX);
        silent.push(at_client);
        let mut handshake = Box::pin(server.accept(at_server));
        poll_fn(|context| {
            assert!(handshake.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        waiting.push(handshake);
    }
    let (accepted, connected) = handshake(&server, &client, NAME).await;
    assert!(matches!(accepted.unwrap_err(), HandshakeError::TooMany));
    assert!(matches!(connected.unwrap_err(), HandshakeError::Failed(_)));
    assert_eq!(server.stats().refused, 1);
    waiting.pop();
    connection(&server, &client, NAME).await;
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_so_in_its_words() {
    let (server, _, _) = office();
    let (mut at_client, at_server) = pipe(PORTION_MAX);
    at_client.write_all(b"EHLO pc1\r\n").await.unwrap();
    let error = server.accept(at_server).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Failed(_)), "{error}");
    let mut told = Vec::new();
    at_client.read_to_end(&mut told).await.unwrap();
    assert_eq!(told.first(), Some(&21), "an alert: {told:?}");
    assert_eq!(server.stats(), Stats { failed: 1, ..Stats::default() });
}

#[tokio::test]
async fn without_a_certificate_there_is_no_handshake() {
    let (_, client, _) = office();
    assert!(!client.has_identity());
    let (_at_client, at_server) = pipe(PORTION_MAX);
    let error = client.accept(at_server).await.unwrap_err();
    assert!(matches!(error, HandshakeError::NoIdentity), "{error}");
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_then_on_and_leaves_connections_alone() {
    let (server, client, _) = office();
    let (mut accepted, mut connected) = connection(&server, &client, NAME).await;
    let other = Authority::make(KeyKind::EcdsaP256, &names(), NOW, &mut rng(5)).unwrap();
    let signed = other.sign(KeyKind::EcdsaP256, &names(), NOW, &mut rng(6)).unwrap();
    server.set_identity(&signed.identity(NOW, server.provider()).unwrap());
    refusal(&server, &client, NAME).await;
    client.set_authorities(&Authorities::from_pem(other.certificate_pem().as_bytes()).unwrap());
    connection(&server, &client, NAME).await;
    accepted.write_all(b"still here").await.unwrap();
    accepted.shutdown().await.unwrap();
    let mut got = Vec::new();
    connected.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"still here");
}

#[tokio::test]
async fn a_connection_in_clear_becomes_one_of_tls() {
    let (server, client, _) = office();
    let (mut at_client, mut at_server) = pipe(PORTION_MAX);
    at_server.write_all(b"220 go ahead\r\n").await.unwrap();
    let mut line = [0; 14];
    at_client.read_exact(&mut line).await.unwrap();
    // A service need not know which kind of stream it has.
    let in_clear: Box<dyn Stream> = Box::new(at_server);
    let (served, connected) = tokio::join!(server.accept(in_clear), client.connect(at_client, NAME));
    let (served, mut connected) = (served.unwrap(), connected.unwrap());
    assert_eq!(served.protection(), connected.protection());
    let mut served: Box<dyn Stream> = Box::new(served);
    assert_eq!(served.peer_addr(), connected.local_addr());
    connected.write_all(b"quit").await.unwrap();
    connected.shutdown().await.unwrap();
    let mut got = Vec::new();
    served.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"quit");
}

#[test]
fn nothing_that_is_printed_shows_a_key() {
    let (server, _, _) = office();
    let authority = authority();
    let leaf = leaf(&authority, NOW);
    let identity = leaf.identity(NOW, server.provider()).unwrap();
    let printed = format!("{server:?} {authority:?} {leaf:?} {identity:?} {:?}", server.provider());
    assert!(printed.len() < 4096, "{printed}");
    assert!(!printed.contains("StdRng") && !printed.contains("key: ["), "{printed}");
}
