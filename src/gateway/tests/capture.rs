//! Captures by a whole gateway.

use gatepost_ground::wire::{Protocol, arp, ethernet};

use super::super::capture::Capture;
use super::super::probe;
use super::super::tap::TAPPED_MAX;
use super::*;
use crate::control::capture::{Interface, Wanted};
use crate::control::mail::Undone;
use crate::control::server::Capturing;
use crate::pcapng::{Block, Blocks};

const WAN: &str = "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.254'\n";
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const PC: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);

async fn begin(office: &mut Office, wanted: Wanted) -> Result<Capture, Undone> {
    let inspector = office.inspector.clone();
    let begun = spawn_local(async move { inspector.capture(&wanted).await });
    office.pass(Duration::from_millis(2)).await;
    begun.await.expect("no panic")
}

/// The blocks of a capture.
fn blocks(octets: &[u8]) -> Vec<Block> {
    let mut blocks = Blocks::default();
    blocks.push(octets);
    std::iter::from_fn(|| blocks.take().expect("a capture")).collect()
}

fn frames(blocks: &[Block]) -> Vec<&[u8]> {
    blocks.iter().filter(|block| block.is_frame()).map(Block::octets).collect()
}

fn contains(block: &[u8], octets: &[u8]) -> bool {
    block.windows(octets.len()).any(|window| window == octets)
}

/// A datagram from `from` to `to`, as the port of its sender's side gets it.
fn datagram(office: &Office, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> (Cable, Vec<u8>) {
    let is_inside = from.0.octets()[0] == 192;
    let plan = office.inspector.plan.load();
    let (cable, id, source) = if is_inside {
        (&office.lan, Config::LAN, HOST_MAC)
    } else {
        (&office.wan, Config::WAN, PROVIDER_MAC)
    };
    let ether_type = ethernet::EtherType::IPV4;
    let link = ethernet::Header { destination: plan.interface(id).mac(), source, ether_type };
    let ends = [from, to].map(|(address, port)| SocketAddrV4::new(address, port));
    (cable.clone(), probe::frame(link, Protocol::UDP, ends).expect("a packet"))
}

/// An office whose provider's router is known.
async fn office(workers: u8) -> Office {
    let (mut office, _services) = Office::new(&format!("{WAN}system.workers = {workers}"));
    office.wan.send(&arp::Packet::request(PROVIDER_MAC, ROUTER, OWN).to_frame(MacAddr::BROADCAST));
    office.pass(Duration::from_millis(2)).await;
    office
}

#[test]
fn a_capture_has_what_comes_and_what_goes_and_why_it_goes_no_further() {
    for workers in [1, 3] {
        simulate(async move {
            let mut office = office(workers).await;
            let mut all = begin(&mut office, Wanted::default()).await.expect("it begins");
            let filter = Some("udp and port 81".to_owned());
            let some = Wanted { interface: Some(Interface::Wan), host: Some(SERVER), filter, secs: None };
            let some = begin(&mut office, some).await.expect("it begins");
            let header = blocks(&all.part()).len();
            assert_eq!(header, 3, "the section and its interfaces");
            let sent = [((PC, 5000), (SERVER, 80)), ((SERVER, 5000), (OWN, 81)), ((SERVER, 5001), (OWN, 82))];
            let sent = sent.map(|(from, to)| datagram(&office, from, to));
            for (cable, frame) in &sent {
                cable.send(frame);
                office.pass(Duration::from_millis(2)).await;
            }
            let (all, some) = (blocks(&all.finish()), blocks(&some.finish()));
            let (all_frames, some_frames) = (frames(&all), frames(&some));
            assert_eq!(all_frames.len(), 4, "one is received and sent");
            assert!(contains(all_frames[0], &sent[0].1) && contains(all_frames[1], &OWN.octets()));
            for (frame, (_, sent)) in all_frames[2..].iter().zip(&sent[1..]) {
                assert!(contains(frame, sent) && contains(frame, b"dropped, unsolicited: "));
            }
            assert!(!contains(all_frames[0], b"dropped"));
            assert!(some_frames.len() == 1 && contains(some_frames[0], &sent[1].1));
            assert_eq!(all.iter().filter_map(Block::lost).collect::<Vec<_>>(), [0, 0]);
        });
    }
}

#[test]
fn frames_that_the_reader_does_not_fetch_are_counted_and_the_tap_ends_with_it() {
    simulate(async {
        let mut office = office(1).await;
        let capture = begin(&mut office, Wanted::default()).await.expect("it begins");
        let tap = Arc::downgrade(&capture.tap);
        let (cable, frame) = datagram(&office, (SERVER, 5000), (OWN, 81));
        let flood = |office: &Office, count: usize| (0..count).for_each(|_| _ = office.wan.send(&frame));
        flood(&office, TAPPED_MAX + 7);
        office.pass(Duration::from_millis(2)).await;
        let dropped = office.report(What::Counters).await["dropped"].as_u64();
        assert_eq!(dropped, Some(TAPPED_MAX as u64 + 7), "they are dealt with all the same");
        let captured = blocks(&capture.finish());
        assert_eq!(frames(&captured).len(), TAPPED_MAX);
        assert_eq!(captured.iter().filter_map(Block::lost).collect::<Vec<_>>(), [0, 7]);
        assert!(tap.upgrade().is_some(), "no batch has come since");
        cable.send(&frame);
        office.pass(Duration::from_millis(2)).await;
        assert!(tap.upgrade().is_none());
        let wrong = Wanted { filter: Some("port".to_owned()), ..Wanted::default() };
        let undone = begin(&mut office, wrong).await.err().expect("it makes no sense");
        assert!(undone.why.starts_with("it ends where a port"), "{undone:?}");
    });
}
