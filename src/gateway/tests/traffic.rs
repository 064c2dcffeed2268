//! The history of traffic through a whole gateway.

use super::*;
use crate::control::flows::FlowName;
use crate::traffic::SAMPLED_EVERY;

const SETTINGS: &str = "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.254'\n";

/// The octets of a datagram's headers, as flows count them.
const HEADERS: u64 = 28;

#[test]
fn what_a_host_and_the_wan_carried_is_told_with_the_host_s_name() {
    for workers in [1, 3] {
        simulate(async move {
            let mut office = Office::running(&format!("{SETTINGS}system.workers = {workers}"));
            let lease = office.plug_in_host("desk");
            office.pass(Duration::from_secs(3)).await;
            let address = lease.borrow().as_ref().expect("a lease").address.addr();
            let [lan, wan] = [Config::LAN, Config::WAN]
                .map(|interface| office.inspector.plan.load().interface(interface).mac());
            let far = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 7000);
            for port in [6000, 6001, 6002] {
                let question = Datagram {
                    source_mac: HOST_MAC,
                    destination_mac: lan,
                    source: SocketAddrV4::new(address, port),
                    destination: far,
                    payload: b"question",
                };
                office.lan.send(&question.to_frame().expect("it is short"));
            }
            office.pass(Duration::from_millis(50)).await;
            let flows = office.report(What::Flows).await;
            let seen_as = flows["flows"].as_array().expect("flows").iter().find_map(|flow| {
                let is_asked = flow["server"] == far.to_string();
                is_asked.then(|| flow["client_seen_as"].as_str()?.parse::<SocketAddrV4>().ok())?
            });
            let answer = Datagram {
                source_mac: PROVIDER_MAC,
                destination_mac: wan,
                source: far,
                destination: seen_as.expect("a flow"),
                payload: b"an answer of some length",
            };
            office.wan.send(&answer.to_frame().expect("it is short"));
            // Each octet counts once, however often the flows are read.
            office.pass(SAMPLED_EVERY * 3).await;
            let name: FlowName = format!("udp {address}:6001 {far}").parse().expect("a flow's name");
            for was_there in [true, false] {
                let (inspector, name) = (office.inspector.clone(), name.clone());
                let ending = spawn_local(async move { inspector.end_flow(&name).await });
                office.pass(Duration::from_millis(20)).await;
                assert_eq!(ending.await.expect("no panic").ok(), Some(was_there));
            }
            let left = office.report(What::Flows).await;
            assert!(!left.to_string().contains(&format!("{address}:6001")), "{left}");
            assert!(left.to_string().contains(&format!("{address}:6002")), "{left}");
            let traffic = office.report(What::Traffic).await;
            let host = &traffic["hosts"][0];
            assert_eq!((&host["address"], &host["name"]), (&address.to_string().into(), &"desk".into()));
            for span in ["hour", "day", "month"] {
                assert_eq!(host[span]["sent"], 3 * (HEADERS + 8), "{traffic}");
                assert_eq!(host[span]["received"], HEADERS + 24, "{traffic}");
                assert_eq!(host[span]["packets_sent"], 3);
            }
            assert_eq!(traffic["hosts"].as_array().map(Vec::len), Some(1), "{traffic}");
            assert_eq!(traffic["is_complete"], true);
            let periods = traffic["wan"][0]["periods"].as_array().expect("periods");
            assert_eq!((traffic["wan"][0]["span"].clone(), periods.len()), ("hour".into(), 60));
            let received: u64 = periods.iter().filter_map(|period| period["received"].as_u64()).sum();
            assert!(received >= HEADERS + 24, "{traffic}");
        });
    }
}

#[test]
fn however_many_watch_the_wan_its_counters_are_read_once() {
    simulate(async {
        let mut office = Office::running(SETTINGS);
        office.pass(Duration::from_secs(1)).await;
        let watching: Vec<_> = (0..100)
            .map(|_| {
                let inspector = office.inspector.clone();
                spawn_local(async move { inspector.wan_rate().await })
            })
            .collect();
        office.pass(Duration::from_millis(50)).await;
        let mut answered = 0;
        for watcher in watching {
            // The workers keep so many questions: all others would be refused.
            answered += usize::from(watcher.await.expect("no panic").is_ok());
        }
        assert_eq!(answered, 100);
    });
}
