//! A pinhole through a whole gateway, by the worker that owns it.

use gatepost_dataplane::PinholeError;
use gatepost_dataplane::flow::Pinhole;
use gatepost_dataplane::key::Endpoint;
use gatepost_ground::wire::Protocol;

use super::super::command::CommandError;
use super::*;

const WAN: &str = "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.254'\n";

#[test]
fn whoever_owns_the_port_opens_it_and_it_ends_by_itself() {
    for workers in ["1", "3"] {
        simulate(async move {
            let (mut office, services) = Office::new(&format!("{WAN}system.workers = {workers}"));
            let commander = services.commander();
            let wan = office.inspector.plan.load().interface(Config::WAN).mac();
            let knock = |port: u16| Datagram {
                source_mac: PROVIDER_MAC,
                destination_mac: wan,
                source: SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 7000),
                destination: SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port),
                payload: b"voice",
            };
            for port in [5060, 5062, 5064] {
                let pinhole = Pinhole {
                    protocol: Protocol::UDP,
                    inside: Endpoint::new(Ipv4Addr::new(192, 168, 1, 10), port),
                    external: Ipv4Addr::new(203, 0, 113, 10),
                    remote: None,
                };
                let commander = commander.clone();
                let asked =
                    spawn_local(
                        async move { commander.open_pinhole(pinhole, Duration::from_secs(60)).await },
                    );
                office.pass(Duration::from_millis(5)).await;
                let opened = asked.await.expect("no panic").expect("it is opened");
                assert_eq!(opened.external.port, port);
                office.wan.send(&knock(port).to_frame().expect("it is short"));
            }
            office.pass(Duration::from_millis(5)).await;
            let flows = office.report(What::Flows).await;
            assert_eq!(flows["total"], 3, "{flows}");
            // Timers are late by up to a second.
            office.pass(Duration::from_secs(61)).await;
            let (protocol, inside) = (Protocol::UDP, Endpoint::new(Ipv4Addr::new(192, 168, 1, 10), 5060));
            let asked = spawn_local(async move { commander.close_pinholes(protocol, inside).await });
            office.pass(Duration::from_millis(5)).await;
            assert_eq!(asked.await.expect("no panic"), Ok(false), "it has ended");
        });
    }
}

#[test]
fn a_refusal_reaches_who_asked() {
    simulate(async {
        let (mut office, services) = Office::new("network.mode = 'router'\nsystem.workers = 2");
        let commander = services.commander();
        let inside = Endpoint::new(Ipv4Addr::new(192, 168, 1, 10), 5060);
        let pinhole = Pinhole {
            protocol: Protocol::UDP,
            inside,
            external: Ipv4Addr::new(203, 0, 113, 10),
            remote: None,
        };
        let asked =
            spawn_local(async move { commander.open_pinhole(pinhole, Duration::from_secs(60)).await });
        office.pass(Duration::from_millis(5)).await;
        let refused = asked.await.expect("no panic");
        assert_eq!(refused, Err(CommandError::Pinhole(PinholeError::NotTranslated)));
    });
}
