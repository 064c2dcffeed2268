//! Foreign programs that several tests run, and their output.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Background, Directory, ISP, LAN, Namespace, eventually};

/// A web server, busybox's, whose page has the client's address.
#[derive(Debug)]
pub struct WebServer {
    _process: Background,
    _directory: Directory,
}

impl WebServer {
    /// Serves on `port` of every address in the namespace.
    pub fn start(namespace: &Namespace, port: u16) -> Self {
        let directory = Directory::new();
        let page = "printf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$REMOTE_ADDR\"\n";
        directory.script("cgi-bin/client", page);
        // A page of some size, so that more than one segment is in flight.
        std::fs::write(directory.join("large"), vec![b'x'; LARGE_PAGE_LEN]).expect("it can be written");
        let home = directory.path().display();
        let process = namespace.spawn(&format!("busybox httpd -f -p 0.0.0.0:{port} -h {home}"));
        wait_for_listener(namespace, "tcp", port);
        Self { _process: process, _directory: directory }
    }
}

/// The command line of a Python program with smtplib. There is no `'` in `lines`.
pub fn smtplib(lines: &str) -> String {
    format!("/usr/bin/python3 -c '\nimport smtplib\n{lines}'")
}

/// The octets of the page `/large`.
pub const LARGE_PAGE_LEN: usize = 1 << 20;

/// Reads the page at `server` with curl, with its `options`; returns the address that the server sees.
pub fn curl(client: &Namespace, options: &str, server: impl Into<SocketAddr>) -> Result<Ipv4Addr, String> {
    let line = format!("curl -sS -m 5 {options} http://{}/cgi-bin/client", server.into());
    let output = client.try_sh(&line);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.parse() {
        Ok(address) if output.status.success() => Ok(address),
        _ => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A TCP server, socat's, that sends each client its address and its port and then returns every line.
pub fn echo_server(namespace: &Namespace, port: u16) -> Background {
    let answer = "echo \\$SOCAT_PEERADDR \\$SOCAT_PEERPORT; exec cat";
    let process = namespace.spawn(&format!("socat TCP4-LISTEN:{port},fork,reuseaddr SYSTEM:\"{answer}\""));
    wait_for_listener(namespace, "tcp", port);
    process
}

/// A connection by socat, with its `options`, to an [`echo_server`]; and the address it is seen by.
pub fn echo_client(client: &Namespace, options: &str, server: impl Into<SocketAddr>) -> (Background, String) {
    let server = server.into();
    let mut process = client.spawn(&format!("timeout 20 socat - TCP4:{server}{options}"));
    let seen_as = process.hear();
    (process, seen_as)
}

/// Asserts that the other end of `connection` returns what it is sent.
#[track_caller]
pub fn assert_echoes(connection: &mut Background, line: &str) {
    connection.say(line);
    assert_eq!(connection.hear(), line);
}

/// A UDP socket at `address` in the namespace; it waits for a datagram for some seconds. The port is below 32768: the
/// kernel gives those above to other sockets.
pub fn udp_socket(namespace: &Namespace, address: (Ipv4Addr, u16)) -> UdpSocket {
    let socket = namespace.enter(|| UdpSocket::bind(address)).expect("the port is free");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket has a timeout");
    socket
}

/// Whether a ping with `options` is answered, the first or a second one.
pub fn pings(client: &Namespace, options: &str, target: Ipv4Addr) -> bool {
    client.succeeds(&format!("ping -n -c 1 -W 2 {options} {target}"))
        || client.succeeds(&format!("ping -n -c 1 -W 2 {options} {target}"))
}

/// Waits until a socket in the namespace is bound to `port` of `protocol`.
pub fn wait_for_listener(namespace: &Namespace, protocol: &str, port: u16) {
    eventually(&format!("a listener at {protocol} port {port}"), || {
        (!namespace.sh(&format!("ss -Hnl --{protocol} 'sport = :{port}'")).is_empty()).then_some(())
    });
}

/// Waits until a TCP socket in the namespace listens at `address`.
pub fn wait_for_listener_at(namespace: &Namespace, address: Ipv4Addr, port: u16) {
    eventually(&format!("a listener at {address}:{port}"), || {
        let filter = format!("src {address} and sport = :{port}");
        (!namespace.sh(&format!("ss -Hnlt '{filter}'")).is_empty()).then_some(())
    });
}

/// dnsmasq at the provider's in the internet's namespace, on the `records` of its options.
pub fn name_server(internet: &Namespace, records: &str) -> Background {
    name_server_at(internet, ISP, records)
}

/// The same at another `address`, in its namespace.
pub fn name_server_at(namespace: &Namespace, address: Ipv4Addr, records: &str) -> Background {
    let process = namespace.spawn(&format!(
        "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --pid-file --no-resolv --no-hosts \
         --listen-address={address} --bind-interfaces --edns-packet-max=4096 --local-ttl=60 {records}"
    ));
    for protocol in ["udp", "tcp"] {
        wait_for_listener(namespace, protocol, 53);
    }
    process
}

/// The short answer of dig, by the gateway's name service on the LAN, to a `question`; without the line's
/// end, and empty where there is none.
#[track_caller]
pub fn dig(client: &Namespace, question: &str) -> String {
    client.sh(&format!("dig @{LAN} +time=3 +tries=2 +short {question}")).trim_end().to_owned()
}
