//! TLS as clients see it that others have written, over the machine's loopback: OpenSSL's and Python's.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use data_encoding::BASE64;
use gatepost_ground::Instant;
use gatepost_services::clock::{Clock, UnixTime};
use gatepost_services::crypto::signing::KeyKind;
use gatepost_services::crypto::tls::provider;
use gatepost_services::net::kernel::{Kernel, KernelStream};
use gatepost_services::net::{Listener, Net};
use gatepost_services::tls::Tls;
use gatepost_services::tls::authority::{Authority, Leaf, Names};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn unix_time(&self) -> UnixTime {
        now()
    }
}

#[expect(clippy::disallowed_methods, reason = "the clients go by the machine's clock")]
fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set").as_secs())
}

fn names(domain: &str) -> Names {
    let addresses = BTreeSet::from([IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1))]);
    Names { hostname: "gatepost".into(), domain: domain.into(), addresses }
}

/// Files of one test, removed with it.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-tls-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn keep(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The office's authority, and a certificate of it for the gateway.
fn office() -> (Authority, Leaf) {
    let mut rng = StdRng::seed_from_u64(1);
    let kind = KeyKind::EcdsaP256;
    let authority = Authority::make(kind, &names("office.example"), now(), &mut rng).expect("an authority");
    let leaf = authority.sign(kind, &names("office.example"), now(), &mut rng).expect("a certificate");
    (authority, leaf)
}

/// What somebody who has the key of `authority` signs for a server that is called `name`, in PEM.
fn forged(authority: &Authority, name: &str) -> String {
    let kept = serde_json::to_value(authority).expect("JSON");
    let key = BASE64.decode(kept["key"].as_str().expect("a key").as_bytes()).expect("base64");
    let mut by = CertificateParams::default();
    by.distinguished_name = DistinguishedName::new();
    by.distinguished_name.push(DnType::CommonName, "Gatepost authority of office.example");
    let issuer = Issuer::new(by, KeyPair::try_from(key).expect("a key"));
    let own = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let signed = params.signed_by(&own, &issuer).expect("a certificate");
    let lines = BASE64.encode(signed.der()).into_bytes();
    let lines: Vec<_> = lines.chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Where TLS begins.
#[derive(Clone, Copy, PartialEq)]
enum Begins {
    AtOnce,
    /// After a greeting, and a line of the client's.
    BehindStartTls,
}

/// Serves whoever comes, until the process ends: says what protects the connection, and sends one line back.
fn serve(leaf: Leaf, begins: Begins) -> SocketAddr {
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let tls = Tls::new(provider(StdRng::seed_from_u64(2)), Rc::new(MachineClock));
            tls.set_identity(&leaf.identity(now(), tls.provider()).expect("an identity"));
            let listener = Kernel.listen("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
            sender.send(listener.local_addr()).expect("the test waits");
            loop {
                let stream = listener.accept().await.expect("a connection");
                // A client that is not content ends the handshake.
                _ = converse(&tls, stream, begins).await;
            }
        });
    });
    address.recv().expect("it listens")
}

async fn converse(
    tls: &Tls,
    mut stream: KernelStream,
    begins: Begins,
) -> Result<(), Box<dyn std::error::Error>> {
    if begins == Begins::BehindStartTls {
        stream.write_all(b"220 ready\r\n").await?;
        while line(&mut stream).await? != b"STARTTLS\r\n" {
            stream.write_all(b"250 STARTTLS\r\n").await?;
        }
        stream.write_all(b"220 go ahead\r\n").await?;
    }
    let mut stream = tls.accept(stream).await?;
    let protection = stream.protection();
    let greeting = format!("{} {}\r\n", protection.version, protection.suite);
    if begins == Begins::AtOnce {
        stream.write_all(greeting.as_bytes()).await?;
        stream.flush().await?;
    }
    let line = line(&mut stream).await?;
    stream.write_all(&line).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, std::io::Error> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < 512 {
        line.push(stream.read_u8().await?);
    }
    Ok(line)
}

/// Runs a program that gets `input`.
fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    // A client that has ended takes nothing.
    _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn s_client(server: SocketAddr, authority: &str, arguments: &[&str]) -> Output {
    let server = server.to_string();
    let common = ["s_client", "-connect", &server, "-CAfile", authority, "-verify_return_error", "-ign_eof"];
    let named = ["-servername", "smtp.office.example", "-verify_hostname", "smtp.office.example"];
    run("openssl", &[&common[..], &named, arguments].concat(), "a line of ours\n")
}

#[test]
fn openssl_s_client_is_content_with_tls_1_3_and_1_2_and_gets_nothing_older_or_weaker() {
    let files = Files::new("openssl");
    let (authority, leaf) = office();
    let trusted = files.keep("authority.pem", &authority.certificate_pem());
    let server = serve(leaf, Begins::AtOnce);
    for (version, greeting) in [
        ("-tls1_3", "TLS1.3 TLS_AES_256_GCM_SHA384"),
        ("-tls1_2", "TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ] {
        let output = s_client(server, &trusted, &[version]);
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        assert!(text.contains(greeting) && text.contains("a line of ours"), "{text}");
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    }
    for weak in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:DHE:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
    ] {
        let output = s_client(server, &trusted, weak);
        assert!(!output.status.success(), "{weak:?}: {}", text(&output));
        assert!(text(&output).contains("alert"), "the server refuses: {}", text(&output));
    }
    let stranger = files.keep("stranger.pem", &office().0.certificate_pem());
    let output = s_client(server, &stranger, &[]);
    assert!(!output.status.success(), "{}", text(&output));
}

#[test]
fn openssl_s_client_begins_tls_within_smtp() {
    let files = Files::new("starttls");
    let (authority, leaf) = office();
    let trusted = files.keep("authority.pem", &authority.certificate_pem());
    let output = s_client(serve(leaf, Begins::BehindStartTls), &trusted, &["-starttls", "smtp"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("a line of ours"), "{}", text(&output));
}

const PYTHON: &str = r#"
import socket, ssl, sys
port, authority, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=authority)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=name) as stream:
    lines = stream.makefile("rwb")
    print(lines.readline().decode().strip(), stream.version(), stream.cipher()[0])
    lines.write(b"one line\r\n")
    lines.flush()
    print(lines.read().decode().strip())
"#;

#[test]
fn python_is_content_by_name_and_address_and_with_nobody_else() {
    let files = Files::new("python");
    let (authority, leaf) = office();
    let trusted = files.keep("authority.pem", &authority.certificate_pem());
    let port = serve(leaf, Begins::AtOnce).port().to_string();
    let python = |name: &str| run("python3", &["-c", PYTHON, &port, &trusted, name], "");
    for name in ["gatepost.office.example", "gatepost", "pop.office.example", "office.example", "192.168.1.1"]
    {
        let output = python(name);
        assert!(output.status.success(), "{name}: {}", text(&output));
        assert!(text(&output).contains("TLS1.3") && text(&output).contains("one line"), "{}", text(&output));
    }
    for name in ["smtp.other.example", "a.b.office.example", "192.168.1.2"] {
        let output = python(name);
        assert!(text(&output).contains("CERTIFICATE_VERIFY_FAILED"), "{name}: {}", text(&output));
    }
}

fn verify(authority: &str, leaf: &Path, arguments: &[&str]) -> Output {
    let leaf = leaf.to_str().expect("UTF-8");
    let common = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", authority];
    run("openssl", &[&common[..], arguments, &[leaf]].concat(), "")
}

/// RFC 5280, section 4.2.1.10: The office's authority speaks for the office's names and for no others.
#[test]
fn rfc5280_4_2_1_10_the_office_s_authority_speaks_for_the_office_s_names_and_for_no_others() {
    let files = Files::new("verify");
    let (authority, leaf) = office();
    let trusted = files.keep("authority.pem", &authority.certificate_pem());
    let leaf = PathBuf::from(files.keep("leaf.pem", &leaf.certificate_pem()));
    for arguments in [
        &["-verify_hostname", "imap.office.example"][..],
        &["-verify_ip", "192.168.1.1"],
        // The day before it is renewed, and before it ends.
        &["-attime", &(now().0 + 60 * 86_400).to_string()],
        &["-attime", &(now().0 + 89 * 86_400).to_string()],
    ] {
        let output = verify(&trusted, &leaf, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }
    let shown = run("openssl", &["x509", "-noout", "-text", "-in", &trusted], "");
    let shown = text(&shown);
    assert!(shown.contains("TLS Web Server Authentication"), "for servers only: {shown}");
    assert!(shown.contains("email:office.example"), "no mail of others is signed: {shown}");
    let late = (now().0 + 91 * 86_400).to_string();
    assert!(text(&verify(&trusted, &leaf, &["-attime", &late])).contains("expired"));
    let elsewhere = names("bank.example");
    let refused = authority.sign(KeyKind::EcdsaP256, &elsewhere, now(), &mut StdRng::seed_from_u64(3));
    assert!(refused.is_err(), "the authority itself does not do it");
    let forged = PathBuf::from(files.keep("forged.pem", &forged(&authority, "bank.example")));
    let output = verify(&trusted, &forged, &[]);
    assert!(text(&output).contains("permitted subtree violation"), "{}", text(&output));
}
