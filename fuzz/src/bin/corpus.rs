//! Makes inputs of the fuzz targets out of a capture of the simulation's: `corpus CAPTURE DIRECTORY`
//! writes them to a directory for each target. What of them is worth keeping is libFuzzer's to say.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use gatepost_fuzz::{PACKET, office};
use gatepost_services::clock::UnixTime;
use gatepost_services::dhcp::server::leases::{ClientKey, Grant, JOURNAL_FILE, Leases};
use gatepost_services::store::{Memory, Storage};
use gatepost_ground::wire::arp;
use gatepost_ground::{Instant, MacAddr};
use libfuzzer_sys as _; // It is built like a target, and has what its instrumentation calls.

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, capture, directory] = &arguments[..] else {
        return Err("usage: corpus CAPTURE DIRECTORY".into());
    };
    let frames = read_capture(&fs::read(capture)?)?;
    let corpus = Corpus::of(&office_of(&frames));
    for (target, inputs) in &corpus.0 {
        let directory = Path::new(directory).join(target);
        fs::create_dir_all(&directory)?;
        for (input, number) in inputs.values().zip(0..) {
            fs::write(directory.join(format!("capture-{number:03}")), input)?;
        }
    }
    Ok(())
}

/// A captured frame.
#[derive(Clone)]
struct Frame {
    micros: u64,
    is_wan: bool,
    bytes: Vec<u8>,
}

const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const OPTION_IF_NAME: usize = 2;

/// Reads what `gatepost_sim::world::pcapng` writes.
fn read_capture(mut blocks: &[u8]) -> Result<Vec<Frame>, Box<dyn Error>> {
    let mut are_wan = Vec::new();
    let mut frames = Vec::new();
    while !blocks.is_empty() {
        let number = |at: usize| -> Result<u32, Box<dyn Error>> {
            let octets = blocks.get(at..at + 4).ok_or("the capture is cut off")?;
            Ok(u32::from_le_bytes(octets.try_into()?))
        };
        let (kind, len) = (number(0)?, number(4)? as usize);
        let body = blocks.get(8..len.saturating_sub(4)).ok_or("the capture is cut off")?;
        match kind {
            INTERFACE_DESCRIPTION => {
                let option = number(16)? as usize;
                let name = body.get(12..12 + (option >> 16)).filter(|_| option & 0xffff == OPTION_IF_NAME);
                are_wan.push(name == Some(b"wan"));
            }
            ENHANCED_PACKET => {
                let micros = u64::from(number(12)?) << 32 | u64::from(number(16)?);
                let bytes = body.get(20..20 + number(20)? as usize).ok_or("the capture is cut off")?.to_vec();
                let is_wan = *are_wan.get(number(8)? as usize).ok_or("a frame of no interface")?;
                frames.push(Frame { micros, is_wan, bytes });
            }
            _ => {}
        }
        blocks = &blocks[len..];
    }
    Ok(frames)
}

/// The frames as they would be in the office of the targets, whose gateway has addresses of its own.
fn office_of(frames: &[Frame]) -> Vec<Frame> {
    let announced = |frame: &Frame| {
        let packet = frame.bytes.get(PACKET..).and_then(|packet| arp::Packet::parse(packet).ok())?;
        (packet.sender_ip == packet.target_ip).then_some((packet.sender_mac, packet.sender_ip))
    };
    let own = |is_wan| frames.iter().filter(|frame| frame.is_wan == is_wan).find_map(announced);
    let mut changes: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (own, mac, address) in [
        (own(false), office::GATEWAY_LAN_MAC, office::GATEWAY_LAN),
        (own(true), office::GATEWAY_WAN_MAC, office::GATEWAY_WAN),
    ] {
        let Some((own_mac, own_address)) = own else { continue };
        changes.push((own_mac.0.to_vec(), mac.0.to_vec()));
        changes.push((own_address.octets().to_vec(), address.octets().to_vec()));
    }
    let mut frames = frames.to_vec();
    for frame in &mut frames {
        // Addresses stand in headers; octets that only look like one are as good changed as not.
        for (from, to) in &changes {
            let places = frame.bytes.windows(from.len()).enumerate();
            let places: Vec<_> =
                places.filter(|(_, octets)| *octets == &from[..]).map(|(at, _)| at).collect();
            places.iter().for_each(|at| frame.bytes[*at..at + to.len()].copy_from_slice(to));
        }
        gatepost_fuzz::repair(&mut frame.bytes);
    }
    frames
}

/// For each target its inputs, one for each kind of frame or conversation.
#[derive(Default)]
struct Corpus(BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>);

/// Conversations for one target, and the longest: more would only be slow.
const CONVERSATIONS_MAX: usize = 16;
const CONVERSATION_OCTETS_MAX: usize = 2000;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DNS: u16 = 53;
/// Where the options of a DHCP message begin.
const OPTIONS: usize = 240;

impl Corpus {
    fn of(frames: &[Frame]) -> Self {
        let mut corpus = Self::default();
        let mut last_micros = BTreeMap::new();
        for frame in frames {
            let Ok(packet) = SlicedPacket::from_ethernet(&frame.bytes) else { continue };
            corpus.add("ethernet", shape(&packet), &frame.bytes);
            if let Some(input) = super_frame(&packet, &frame.bytes) {
                corpus.add("virtio", shape(&packet), &input);
            }
            let mac = MacAddr(frame.bytes[6..12].try_into().expect("six octets"));
            let is_own = mac == office::GATEWAY_LAN_MAC || mac == office::GATEWAY_WAN_MAC;
            let mut waited = |conversation: &Vec<u8>| {
                let last = last_micros.insert(conversation.clone(), frame.micros).unwrap_or(frame.micros);
                exponent(frame.micros - last)
            };
            if !is_own {
                // Both sides of the NAT know the one who is outside by the same address.
                let outside = if frame.is_wan { 12..16 } else { 16..20 };
                let conversation = match &packet.net {
                    Some(NetSlice::Ipv4(ip)) => ip.header().slice()[outside].to_vec(),
                    _ => Vec::new(),
                };
                let port = if frame.is_wan { 2 } else { 0 };
                let record = [&[1, port, waited(&conversation)][..], &chunk(&frame.bytes)].concat();
                corpus.extend("dataplane", conversation, &[0], &record);
            }
            let Some(NetSlice::Ipv4(ip)) = &packet.net else { continue };
            let is_for_us =
                [office::GATEWAY_LAN, office::GATEWAY_WAN].contains(&ip.header().destination_addr());
            if is_for_us && !is_own {
                let conversation = ip.header().source().to_vec();
                let record = [&[1][..], &chunk(&frame.bytes[PACKET..]), &[waited(&conversation)]].concat();
                corpus.extend("stack", conversation, &[], &record);
            }
            match &packet.transport {
                Some(TransportSlice::Icmpv4(message)) => {
                    corpus.add("icmp_embedded", shape(&packet), message.slice());
                }
                Some(TransportSlice::Udp(udp)) => {
                    let (from, to, payload) = (udp.source_port(), udp.destination_port(), udp.payload());
                    let kind = payload.iter().copied().skip(2).take(2).collect::<Vec<_>>();
                    if from == DNS || to == DNS {
                        corpus.add("dns_differential", kind.clone(), payload);
                    }
                    if to == DHCP_SERVER || to == DHCP_CLIENT {
                        corpus.add("dhcp_differential", payload.iter().copied().skip(OPTIONS).take(3).collect(), payload);
                    }
                    match (from, to) {
                        (DHCP_CLIENT, DHCP_SERVER) if !frame.is_wan => {
                            let conversation = mac.0.to_vec();
                            let record = [&[1, waited(&conversation)][..], &chunk(payload)].concat();
                            corpus.extend("dhcp_server", conversation, &[], &record);
                        }
                        (DHCP_SERVER, DHCP_CLIENT) if frame.is_wan => {
                            let conversation = Vec::new();
                            let record = [&[1, waited(&conversation)][..], &chunk(payload)].concat();
                            corpus.extend("dhcp_client", conversation, &[0], &record);
                        }
                        (_, DNS) if !frame.is_wan => {
                            let name_len = payload.iter().skip(12).position(|octet| *octet == 0);
                            corpus.add(
                                "dns_query",
                                vec![name_len.unwrap_or(0) as u8],
                                &[&[0][..], payload].concat(),
                            );
                        }
                        (DNS, _) if frame.is_wan && payload.len() > 12 => {
                            let records = gatepost_fuzz::dns::question_len(&payload[12..]) + 12;
                            let said = [&payload[2..4], &payload[6..12], &payload[records..]].concat();
                            let kind = [kind, payload[6..12].to_vec()].concat();
                            corpus.add("dns_upstream", kind, &[&[0, 2, 0][..], &chunk(&said)].concat());
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        corpus.add("journal", Vec::new(), &journal(frames));
        corpus
    }

    /// Adds an input, unless there is one of its kind.
    fn add(&mut self, target: &'static str, kind: Vec<u8>, input: &[u8]) {
        self.0.entry(target).or_default().entry(kind).or_insert_with(|| input.to_vec());
    }

    /// Adds a record to the input of a conversation, which begins with `head`.
    fn extend(&mut self, target: &'static str, conversation: Vec<u8>, head: &[u8], record: &[u8]) {
        let inputs = self.0.entry(target).or_default();
        let is_known = inputs.contains_key(&conversation);
        if is_known || inputs.len() < CONVERSATIONS_MAX {
            let input = inputs.entry(conversation).or_insert_with(|| head.to_vec());
            if input.len() + record.len() <= CONVERSATION_OCTETS_MAX {
                input.extend(record);
            }
        }
    }
}

/// The packet of a frame as a super-frame, behind the virtio-net header that says so.
fn super_frame(packet: &SlicedPacket<'_>, frame: &[u8]) -> Option<Vec<u8>> {
    const NEEDS_CSUM: u8 = 1;
    const SEGMENT_LEN: u16 = 100;
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return None };
    let (gso_type, offset) = match &packet.transport {
        Some(TransportSlice::Tcp(_)) => (1, 16u16),
        Some(TransportSlice::Udp(_)) => (5, 6),
        _ => return None,
    };
    let start = u16::try_from(PACKET + ip.header().slice().len()).ok()?;
    let numbers = [0, SEGMENT_LEN, start, offset].map(u16::to_ne_bytes);
    Some([&[NEEDS_CSUM, gso_type], numbers.as_flattened(), frame].concat())
}

/// What is like in frames of one kind.
fn shape(packet: &SlicedPacket<'_>) -> Vec<u8> {
    let mut shape = Vec::new();
    match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            shape.extend([4, header.ihl(), header.protocol().0, u8::from(ip.is_payload_fragmented())]);
        }
        Some(_) => shape.push(1),
        None => shape.push(0),
    }
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => shape.extend([tcp.slice()[13], tcp.data_offset()]),
        Some(TransportSlice::Udp(udp)) => shape.push(udp.source_port().min(udp.destination_port()) as u8),
        Some(TransportSlice::Icmpv4(icmp)) => shape.extend([icmp.type_u8(), icmp.code_u8()]),
        _ => {}
    }
    shape
}

/// Octets after their number, as [`gatepost_fuzz::Input::chunk`] reads them.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], &bytes[..usize::from(len)]].concat()
}

/// A time span, as [`gatepost_fuzz::Input::micros`] reads it: the power of two that is next to it.
fn exponent(micros: u64) -> u8 {
    micros.checked_ilog2().map_or(0, |exponent| exponent.min(40) as u8)
}

/// The journal that a server keeps of the clients whose requests are in `frames`.
fn journal(frames: &[Frame]) -> Vec<u8> {
    let disk = Arc::new(Memory::new());
    let now = Instant::from_secs(1);
    let unix_now = UnixTime(1_700_000_000);
    let mut leases = Leases::open(Arc::clone(&disk) as Arc<dyn Storage>, now, unix_now);
    let mut macs: Vec<_> =
        frames.iter().filter(|frame| !frame.is_wan).map(|frame| &frame.bytes[6..12]).collect();
    macs.sort_unstable();
    macs.dedup();
    for (mac, number) in macs.into_iter().zip(2..6_u8) {
        let mac = MacAddr(mac.try_into().expect("six octets"));
        let grant = Grant {
            address: [192, 168, 1, number].into(),
            client: if number == 3 { ClientKey::Id(vec![1, 2, 3]) } else { ClientKey::Mac(mac) },
            mac,
            source: mac,
            hostname: Some(format!("pc-{number}")),
            lease_secs: 3600,
        };
        leases.bind(now, unix_now, grant).expect("room for a few");
        leases.settle(now, unix_now).expect("a disk in memory");
    }
    leases.release(now, unix_now, [192, 168, 1, 2].into()).expect("nothing else waits");
    leases.settle(now, unix_now).expect("a disk in memory");
    disk.read(JOURNAL_FILE).expect("a disk in memory").unwrap_or_default()
}
