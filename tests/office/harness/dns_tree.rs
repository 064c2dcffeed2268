//! A small DNS tree that is signed from its root on, with its servers, and resolvers that know its root's key.

use std::env::consts::ARCH;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::programs::wait_for_listener_at;
use super::{Background, Directory, Namespace};

/// NSD. Installed, it would serve at this machine's addresses, so `./dev setup` unpacks it there.
const NSD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/nsd/usr/sbin/nsd");

/// The files of Unbound, unpacked for the same reason, and of a library that it needs.
const UNBOUND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/unbound/usr");

/// The root server.
const ROOT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The servers and their directories.
const SERVERS: [(&str, Ipv4Addr); 3] =
    [("root", ROOT), ("top", Ipv4Addr::new(198, 51, 100, 2)), ("leaf", Ipv4Addr::new(198, 51, 100, 3))];

/// The tree. Its zones are in `dns_tree.sh`; they are served until it is dropped.
#[derive(Debug)]
pub struct DnsTree {
    // First, so that they end before their files go.
    _servers: Vec<Background>,
    directory: Directory,
    /// The data of the root's DNSKEY record.
    key: String,
}

impl DnsTree {
    /// Signs the tree, and serves it in the namespace.
    pub fn start(namespace: &Namespace) -> Self {
        let directory = Directory::new();
        let script = directory.script("tree.sh", include_str!("dns_tree.sh"));
        let key = namespace.sh(&format!("cd {}; {script}", directory.path().display()));
        let key = key.trim_end().to_owned();
        let fields: Vec<_> = key.splitn(4, ' ').collect();
        let [flags, protocol, algorithm, octets] = fields[..] else { panic!("not a key: {key}") };
        let anchor =
            format!("trust-anchors {{ . static-key {flags} {protocol} {algorithm} \"{octets}\"; }};");
        fs::write(directory.join("anchor"), anchor).expect("it can be written");
        let hints = format!(". NS root.servers.example.\nroot.servers.example. A {ROOT}\n");
        fs::write(directory.join("hints"), hints).expect("it can be written");
        let servers = SERVERS.map(|(name, address)| serve(namespace, directory.path(), name, address));
        Self { _servers: servers.into(), directory, key }
    }

    /// A resolver at an address of the namespace that asks the servers of the tree, and `validates` their answers or
    /// not.
    pub fn resolver(&self, namespace: &Namespace, address: Ipv4Addr, validates: bool) -> Background {
        let modules = if validates { "validator iterator" } else { "iterator" };
        self.unbound(namespace, address, &format!("module-config: \"{modules}\"\nroot-hints: hints"))
    }

    /// A validator at an address of the namespace that asks the resolver at `server`.
    pub fn validator(&self, namespace: &Namespace, address: Ipv4Addr, server: Ipv4Addr) -> Background {
        self.unbound(namespace, address, &format!("forward-zone:\nname: .\nforward-addr: {server}"))
    }

    fn unbound(&self, namespace: &Namespace, address: Ipv4Addr, settings: &str) -> Background {
        // Without answers made of the proofs of earlier ones (RFC 8198), so that it asks each question.
        let settings = format!(
            r#"server:
            directory: {}
            interface: {address}
            access-control: 0.0.0.0/0 allow
            username: ""
            chroot: ""
            pidfile: ""
            logfile: unbound.log
            do-daemonize: no
            do-ip6: no
            aggressive-nsec: no
            trust-anchor: ". DNSKEY {}"
            {settings}
            "#,
            self.directory.path().display(),
            self.key
        );
        let config = self.directory.join(&format!("{}-{address}.conf", namespace.name()));
        fs::write(&config, settings).expect("it can be written");
        let server = namespace.spawn(&format!(
            "env LD_LIBRARY_PATH={UNBOUND}/lib/{ARCH}-linux-gnu {UNBOUND}/sbin/unbound -c {}",
            config.display()
        ));
        wait_for_listener_at(namespace, address, 53);
        server
    }

    /// The output of delv, which validates the answer of `server` to a `question`.
    pub fn delv(&self, client: &Namespace, server: Ipv4Addr, question: &str) -> String {
        let anchor = self.directory.join("anchor");
        client.sh(&format!("delv @{server} -a {} {question} 2>&1", anchor.display()))
    }
}

/// Serves the zones in the directory `name` of `home`.
fn serve(namespace: &Namespace, home: &Path, name: &str, address: Ipv4Addr) -> Background {
    let directory = home.join(name);
    let mut settings = format!(
        r#"server:
        zonesdir: {}
        ip-address: {address}
        username: ""
        chroot: ""
        database: ""
        pidfile: ""
        logfile: log
        zonelistfile: list
        xfrdfile: ""
        xfrdir: {}
        remote-control:
        control-enable: no
        "#,
        directory.display(),
        home.display(),
    );
    for file in namespace.sh(&format!("cd {}; ls -A", directory.display())).lines() {
        let zone = file.trim_end_matches("zone");
        settings += &format!("zone:\nname: {zone}\nzonefile: {file}\n");
    }
    let config = home.join(format!("{name}.conf"));
    fs::write(&config, settings).expect("it can be written");
    namespace.sh(&format!("ip address add {address}/32 dev lo"));
    let server = namespace.spawn(&format!("{NSD} -d -c {}", config.display()));
    wait_for_listener_at(namespace, address, 53);
    server
}
