use gatepost_ground::{Instant, MacAddr};

use super::*;
use crate::checkers::Checker;
use crate::machine::Machine;
use crate::machine::internet::server::{Server, Wire};
use crate::machine::internet::{CHAT_ADDRESS, CHAT_PORT, Site};
use crate::machine::internet::{DnsMood, ProviderMood};
use crate::scenario::Identity;
use crate::scenario::action::{
    act, calm, dns_of, frame, link, name_moves, partition, power_back, power_cut, power_cut_while_writing,
    provider, renumber, replug, sleep,
};
use crate::scenario::office::office;
use crate::scenario::own::OWN_MAX;
use crate::world::link::{loss, perfect};

const TIME: Duration = Duration::from_secs(7);

/// Asserts that the office is rejected at the caller's line, with the text `told`.
#[track_caller]
fn refused(office: Office, told: &str) {
    let line = std::panic::Location::caller();
    let mistake = office.run("refused", 1, None).map(|_| ()).expect_err("a mistake");
    let expected = format!("{}:{}: {told}", line.file(), line.line());
    assert!(mistake.starts_with(&expected), "{mistake}\n{expected}");
}

#[test]
fn numbers_that_cannot_be_are_told_with_their_line() {
    refused(office().pcs(251), "251 PCs are not possible; write pcs(1) to pcs(250)");
    refused(office().pcs(0), "0 PCs are not possible");
    refused(office().tick_ms(0), "ticks of 0 ms are not possible; write tick_ms(1) to tick_ms(20)");
    refused(office().workers(17), "17 workers are not possible; write workers(1) to workers(16)");
    refused(office().lan_ports(9), "9 LAN ports are not possible; write lan_ports(1) to lan_ports(8)");
    refused(office().chatting(6), "6 of 5 PCs cannot chat; write chatting(5)");
    refused(office().chatting_every(Duration::ZERO), "nobody chats so often");
    refused(office().asking(6), "6 of 5 PCs cannot ask; write asking(5)");
    refused(office().asking_by_tcp(6), "6 of 5 PCs cannot ask; write asking_by_tcp(5)");
    refused(office().asking_time(6), "6 of 5 PCs cannot ask; write asking_time(5)");
    refused(office().asking_time(2).in_a_hurry(3), "3 of 2 PCs cannot hurry; write in_a_hurry(2)");
    refused(office().hairpinning(6), "6 of 5 PCs cannot visit; write hairpinning(5)");
    refused(office().mode("bridge"), "there is no mode \"bridge\"; write one of lan-only, router");
    refused(office().isp_lease_secs(0), "no lease lasts 0 s");
    refused(office().visiting_every(Some(Duration::ZERO)), "nobody visits so often");
    refused(office().config("[dhcp]\nlease_secs = 'soon'\n"), "the gateway's configuration:");
    refused(office().config("[dhcp\n"), "the scenario's lines:");
    refused(office().lan("192.168.1.0/25"), "\"192.168.1.0/25\" is no network");
    refused(office().at(TIME, frame("pc-9", [0; 60])), "there is no machine \"pc-9\"");
    refused(office().at(TIME, frame("lan0", [0; 60])), "there is no machine \"lan0\"");
    refused(office().at(TIME, frame("pc-0", [0; 13])), "13 octets are no frame");
    let lan_only = office().mode("lan-only");
    refused(lan_only.at(TIME, frame("visitor", [0; 60])), "there is no visitor in lan-only");
    refused(office().wan_mtu(100), "the gateway's configuration:");
    refused(office().at(TIME, power_cut_while_writing(0)), "the next write is 1");
}

#[test]
fn names_that_do_not_exist_are_told_with_their_line() {
    let no_pc = "there is no machine \"pc-9\" in an office of 5 PCs; name one of pc-0 to pc-4";
    refused(office().at(TIME, replug("pc-9", "lan0")), no_pc);
    refused(office().at(TIME, partition(["pc-0", "pc-9"])), no_pc);
    refused(office().link("pc-9", perfect()), no_pc);
    refused(office().at(TIME, sleep("pc-9")), no_pc);
    refused(office().forwarded("pc-9", 80), no_pc);
    refused(office().dmz_host("pc-9"), no_pc);
    refused(office().printer("pc-9"), no_pc);
    let no_port = "there is no port \"lan2\"; name one of lan0, lan1";
    refused(office().lan_ports(2).at(TIME, replug("pc-0", "lan2")), no_port);
    let no_cable = "there is no cable \"printer\"; name one of lan, lan0, pcs, pc-0, wan";
    refused(office().link("printer", perfect()), no_cable);
    refused(office().at(TIME, link("printer", perfect())), no_cable);
    refused(office().at(TIME, renumber("192.0.2")), "\"192.0.2\" is no network");
    let no_server = "there is no name server \"ns-9.example.com\"; write resolver-0";
    refused(office().at(TIME, dns_of("ns-9.example.com", DnsMood::Silent)), no_server);
    let alias = "\"site-19.example\" has no address of its own";
    refused(office().at(TIME, name_moves("site-19.example")), alias);
}

#[test]
fn cables_that_cannot_be_are_told_with_the_line_that_makes_them() {
    refused(office().link("lan", loss(1.5)), "1.5 is no probability; write 0.0 to 1.0");
    refused(office().at(TIME, link("lan", perfect().corrupt(-0.1))), "-0.1 is no probability");
    refused(office().link("lan", perfect().duplicate(f64::NAN)), "NaN is no probability");
    refused(office().link("lan", perfect().reorder(2.0)), "2 is no probability");
    refused(office().link("lan", perfect().loss_in_bursts(2.0, 5.0)), "2 is no probability");
    refused(office().link("lan", perfect().loss_in_bursts(0.1, 0.5)), "a row of 0.5 frames is none");
    refused(office().link("lan", perfect().rate(0, 10)), "nothing passes a cable of rate 0");
    refused(office().link("lan", perfect().mtu(67)), "no link has an MTU of 67; write 68 or more");
}

#[test]
fn actions_at_impossible_times_are_told_with_their_line() {
    let too_late = "61 s are after the end, at 60 s; see lasting()";
    refused(office().at(Duration::from_secs(61), calm()), too_late);
    refused(office().at(TIME, power_back()), "the power is there; write power_cut() before");
    refused(office().at(TIME, power_cut()).at(TIME, power_cut()), "the power is cut already");
    assert_eq!(office().at(TIME, power_back()).at(TIME - TIME / 2, power_cut()).validate(), Ok(()));
}

#[test]
fn in_lan_only_mode_there_is_no_wan() {
    let office = || office().mode("lan-only");
    refused(office().link("wan", perfect()), "there is no wan in lan-only mode");
    let no_wan = "there is no WAN in lan-only mode, and so not: the provider is Gone";
    refused(office().at(TIME, provider(ProviderMood::Gone)), no_wan);
    refused(office().chatting(1), "nobody to chat with in lan-only mode");
    refused(office().asking(1), "nobody to ask in lan-only mode");
    refused(office().hairpinning(1), "there is no address outside in lan-only mode");
    refused(office().forwarded("pc-0", 80), "nobody outside visits pc-0 in lan-only mode");
}

/// Does nothing.
struct Idle(MacAddr);

impl Machine for Idle {
    fn mac(&self) -> MacAddr {
        self.0
    }

    fn handle_frame(&mut self, _frame: Vec<u8>) {}

    fn poll(&mut self, _now: Instant, _transmit: &mut dyn FnMut(Vec<u8>)) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl Server for Idle {
    fn poll(&mut self, _now: Instant, _wire: &mut Wire<'_>) {}
}

impl Checker for Idle {
    fn name(&self) -> &'static str {
        "frames-balance"
    }

    fn promise(&self) -> &'static str {
        "none"
    }
}

fn idle(identity: &Identity) -> Idle {
    Idle(identity.mac)
}

fn server(_seed: u64) -> Idle {
    Idle(MacAddr::ZERO)
}

#[test]
fn own_machines_that_cannot_be_are_told_with_their_line() {
    refused(office().machine("probe", "lan1", idle), "there is no port \"lan1\"; name one of lan0, wan");
    refused(office().machine("Probe", "lan0", idle), "\"Probe\" is no host name");
    for name in ["pc-9", "spoofer", "lan", "lan0", "wan", "pcs"] {
        refused(office().machine(name, "lan0", idle), &format!("the name {name:?} is taken; write another"));
    }
    let twice = office().machine("probe", "lan0", idle);
    refused(twice.machine("probe", "wan", idle), "the name \"probe\" is taken");
    let lan_only = office().mode("lan-only");
    refused(lan_only.machine("probe", "wan", idle), "there is no probe in lan-only mode");
    let same_mac = office().machine("probe", "lan0", idle);
    let told = "copy and probe have one MAC address";
    refused(same_mac.machine("copy", "lan0", |_| Idle(MacAddr([2, 0, 0x5e, 0x40, 0, 0]))), told);
    let many = (0..OWN_MAX).fold(office(), |office, n| office.machine(&format!("probe-{n}"), "lan0", idle));
    refused(many.machine("one-more", "lan0", idle), "more than 32 are not possible");
}

#[test]
fn own_servers_that_cannot_be_are_told_with_their_line() {
    let here = || Site::at([198, 18, 99, 1]);
    refused(office().server("echo", here(), server), "echo takes nothing; write udp(4000)");
    refused(office().server("echo", Site::default().udp(9), server), "echo has no address");
    let outside = Site::at([203, 0, 113, 1]).udp(9);
    refused(office().server("echo", outside, server), "203.0.113.1 is not on the internet, 198.18.0.0/16");
    refused(office().server("chat", here().udp(9), server), "there is a server \"chat\" already");
    let chat = Site::at(CHAT_ADDRESS).tcp(CHAT_PORT);
    refused(office().server("echo", chat, server), "198.18.7.7:7 is the server chat's");
    let lan_only = office().mode("lan-only");
    refused(lan_only.server("echo", here().udp(9), server), "there is no echo in lan-only mode");
}

#[test]
fn acts_and_checkers_that_cannot_be_are_told_with_their_line() {
    let does = |name| act(name, "does nothing", |_: &mut Idle, _| {});
    refused(office().at(TIME, does("probe")), "there is no machine or server \"probe\"");
    refused(office().at(TIME, does("pc-0")), "\"pc-0\" is no gatepost_sim::scenario::validate::tests::Idle");
    refused(office().at(TIME, does("web")), "\"web\" is no ");
    refused(office().mode("lan-only").at(TIME, does("web")), "there is no web in lan-only mode");
    refused(office().checker(|_| Idle(MacAddr::ZERO)), "there is a checker \"frames-balance\" already");
}

#[test]
fn own_names_can_be_used_as_others_can() {
    let office = office()
        .lan_ports(2)
        .machine("probe", "lan1", idle)
        .machine("peer", "wan", idle)
        .server("echo", Site::at([198, 18, 99, 1]).udp(9), server)
        .link("probe", loss(0.5))
        .at(TIME, link("peer", perfect()))
        .at(TIME, replug("probe", "lan0"))
        .at(TIME, sleep("probe"))
        .at(TIME, frame("peer", [0; 60]))
        .at(TIME, act("echo", "does nothing", |_: &mut Idle, _| {}));
    assert_eq!(office.validate(), Ok(()));
    let identity = office.identity(0, 7);
    assert_eq!((identity.address.to_string(), identity.seed), ("192.168.1.200/24".to_owned(), 7));
    assert_eq!(identity.router.to_string(), "192.168.1.1");
    let reserved = &office.gateway_config().expect("the gateway accepts it").services.dhcp.reservations[0];
    assert_eq!(reserved.address, identity.address.addr());
    let peer = office.identity(1, 7);
    assert_eq!(
        (peer.address.to_string(), peer.router.to_string()),
        ("203.0.113.181/24".to_owned(), "203.0.113.1".to_owned())
    );
}
