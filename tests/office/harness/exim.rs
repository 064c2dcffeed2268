//! Exim, as a remote mail server that requires a login.

use std::fs;
use std::net::Ipv4Addr;

use super::programs::wait_for_listener_at;
use super::{Background, DOMAIN, Directory, Namespace, WAN};

/// The program. Debian has it for machines without Postfix only, so `./dev setup` unpacks it there.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/exim/usr/sbin/exim4");

/// Exim at an address of a namespace: submission at 587 by STARTTLS and at 465 under TLS. It accepts mail of `office`,
/// whose password is [`Exim::PASSWORD`], for any domain, and delivers mail for the office to the gateway. Its authority
/// is the test's own.
#[derive(Debug)]
pub struct Exim {
    _process: Background,
    directory: Directory,
}

const SETTINGS: &str = "primary_hostname = {1}
exim_path = {2}
spool_directory = {0}/spool
log_file_path = {0}/log/%slog
pid_file_path = {0}/pid
local_interfaces = {3}
daemon_smtp_ports = 587 : 465
tls_on_connect_ports = 465
tls_certificate = {0}/server.pem
tls_privatekey = {0}/server.key
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
host_lookup =
rfc1413_hosts =
keep_environment =
never_users =
exim_user = 8
exim_group = 8
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
  accept authenticated = *
  deny message = log in first
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if and{{eq{$auth2}{office}}{eq{$auth3}{{4}}}}}
  server_set_id = $auth2
begin routers
office:
  driver = manualroute
  domains = {5}
  route_list = * {6}
  transport = smtp
all:
  driver = accept
  transport = inbox
begin transports
smtp:
  driver = smtp
inbox:
  driver = appendfile
  file = {0}/inbox
  user = 8
  group = 8
";

impl Exim {
    /// The password of `office`.
    pub const PASSWORD: &str = "blue harbour 47";

    /// Starts it at `address`, with a certificate for `name`.
    pub fn start(namespace: &Namespace, address: Ipv4Addr, name: &str) -> Self {
        let directory = Directory::new();
        let here = directory.path().display().to_string();
        let settings = SETTINGS
            .replace("{0}", &here)
            .replace("{1}", name)
            .replace("{2}", PROGRAM)
            .replace("{3}", &address.to_string())
            .replace("{4}", Self::PASSWORD)
            .replace("{5}", DOMAIN)
            .replace("{6}", &WAN.to_string());
        fs::write(directory.join("exim.conf"), settings).expect("it can be written");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        namespace.sh(&format!(
            "cd {here}; mkdir spool log
             openssl req -x509 {key} -days 30 -subj /CN=authority -keyout ca.key -out ca.pem 2>&1
             openssl req {key} -subj /CN={name} -keyout server.key -out server.csr 2>&1
             echo subjectAltName=DNS:{name} >extensions
             openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 30 -extfile extensions -out server.pem 2>&1
             {{ cat /etc/passwd; echo Debian-exim:x:8:8::/:/bin/false; }} >passwd
             {{ cat /etc/group; echo Debian-exim:x:8:; }} >group
             chown 8:8 . spool log server.key"
        ));
        // It requires a user of that name. `ip netns exec` has mounts of its own.
        let process = namespace.spawn(&format!(
            "sh -ec 'mount --bind {here}/passwd /etc/passwd; mount --bind {here}/group /etc/group
             exec {PROGRAM} -C {here}/exim.conf -bdf 2>>{here}/errors'"
        ));
        for port in [587, 465] {
            wait_for_listener_at(namespace, address, port);
        }
        Self { _process: process, directory }
    }

    /// The certificate of its authority, in PEM.
    pub fn authority(&self) -> String {
        self.directory.read("ca.pem")
    }

    /// The messages that it has accepted.
    pub fn inbox(&self) -> String {
        self.directory.read("inbox")
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.directory.read("log/mainlog") + &self.directory.read("errors")
    }
}
