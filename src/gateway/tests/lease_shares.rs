//! The DHCP server of a running gateway knows the port of each frame: what is behind one port does not take the
//! pool, and ends no lease of another port's.

use gatepost_services::dhcp::client::{Client, Output};

use super::*;

/// Two LAN ports, and a pool of 8 addresses, of which those behind one port may have 6.
const SETTINGS: &str =
    "lan.ports = [{ tap = 'lan' }, { tap = 'lan2' }]\ndhcp.pool = '192.168.1.50-192.168.1.57'\n";
const PORT_SHARE: usize = 6;
/// The longest time until an answer: the server probes a new address for 0.4 s before the offer.
const ANSWER_MAX: Duration = Duration::from_millis(450);

/// A client of which the test carries each frame.
struct Carried {
    client: Client,
    /// The client's own time: it need not wait for the office's.
    now: Instant,
    has_lease: bool,
}

impl Carried {
    /// A client at `mac`; it asks for `remembered` first, if that is some.
    fn new(mac: MacAddr, remembered: Option<Ipv4Addr>) -> Self {
        let config = client::Config { broadcast: true, ..client::Config::new(mac) };
        let client = Client::new(config, StdRng::seed_from_u64(5), remembered);
        Self { client, now: Instant::ZERO, has_lease: false }
    }

    /// Sends what the client has to send by `cable`, and takes in the events.
    fn drain(&mut self, cable: &Cable) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(frame) => _ = cable.send(&frame),
                Output::Event(event) => self.has_lease = matches!(event, Event::Configured(_)),
            }
        }
    }

    /// Works at `cable` until the client has a lease, or has asked in vain for it.
    async fn ask(&mut self, office: &mut Office, cable: &Cable) {
        for _ in 0..12 {
            if self.has_lease {
                return;
            }
            self.now = self.now.max(self.client.poll_timeout().expect("it goes on"));
            self.client.handle_timeout(self.now);
            self.drain(cable);
            // An offer, and what answers to the client's choice.
            for _ in 0..2 {
                office.pass(ANSWER_MAX).await;
                for frame in cable.from_gateway.take() {
                    self.client.handle_frame(self.now, &frame);
                }
                self.drain(cable);
            }
        }
    }
}

async fn leased(office: &mut Office) -> usize {
    let report = office.report(What::Leases).await;
    report["leases"].as_array().expect("a list").len()
}

#[test]
fn one_port_of_forged_senders_leaves_addresses_to_the_others() {
    leaves_addresses(1);
    leaves_addresses(3);
}

fn leaves_addresses(workers: u8) {
    simulate(async move {
        let mut office = Office::running(&format!("system.workers = {workers}\n{SETTINGS}"));
        let attacker = office.lan2.clone();
        for number in 0..12 {
            let mut forged = Carried::new(MacAddr([2, 0, 0, 0, 7, number]), None);
            forged.ask(&mut office, &attacker).await;
        }
        assert_eq!(leased(&mut office).await, PORT_SHARE, "{workers} workers");
        let lease = office.plug_in_host("alice");
        office.pass(Duration::from_secs(20)).await;
        assert!(lease.borrow().is_some(), "{workers} workers");
    });
}

#[test]
fn a_release_counts_only_at_the_port_where_the_client_was_heard_last() {
    simulate(async {
        let mut office = Office::running(SETTINGS);
        let [home, other] = [office.lan.clone(), office.lan2.clone()];
        let mut client = Carried::new(HOST_MAC, None);
        client.ask(&mut office, &home).await;
        assert!(client.has_lease);
        let address = Ipv4Addr::new(192, 168, 1, 50);

        // Somebody at the other port says that it is the client.
        client.client.release();
        client.drain(&other);
        office.pass(Duration::from_millis(5)).await;
        assert_eq!(leased(&mut office).await, 1, "it is not believed");

        // The client itself moves to the other port.
        let mut moved = Carried::new(HOST_MAC, Some(address));
        moved.ask(&mut office, &other).await;
        assert!(moved.has_lease);
        moved.client.release();
        moved.drain(&other);
        office.pass(Duration::from_millis(5)).await;
        assert_eq!(leased(&mut office).await, 0);
    });
}
