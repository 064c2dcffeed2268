//! The capture of a run: every segment is an interface, hosts have their names, and events are comments.
//!
//! A comment is at the first frame after its event: an action of the scenario, or a violation. The names of PCs are
//! written when the gateway acknowledges their leases, before they are used.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::Ipv4Addr;

use dhcproto::v4::MessageType;
use gatepost::pcapng::PcapNg;
use gatepost_ground::{Instant, MacAddr};

use super::segment::SegmentId;
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, Packet, dhcp_message};

/// The most comments at one frame; of further ones, only the number.
const COMMENTS_MAX: usize = 16;
/// The most addresses that get a name; further ones have none.
const NAMES_MAX: usize = 4_096;

/// A capture in the making.
pub struct Capture {
    file: PcapNg<Box<dyn Write>>,
    /// The machines that lease addresses.
    machines: BTreeMap<MacAddr, String>,
    names: BTreeMap<Ipv4Addr, String>,
    /// The comments for the next frame.
    comments: Vec<String>,
    /// Comments that had no room.
    comments_left_out: usize,
}

impl Capture {
    /// Begins a capture of segments with these names. What `machines` lease goes by their names.
    ///
    /// # Errors
    ///
    /// What the writer refuses.
    pub fn begin(
        out: Box<dyn Write>,
        segments: &[String],
        machines: impl IntoIterator<Item = (MacAddr, String)>,
    ) -> io::Result<Self> {
        let file = PcapNg::begin(out, segments.iter().map(String::as_str))?;
        let machines = machines.into_iter().collect();
        let (names, comments) = (BTreeMap::new(), Vec::new());
        Ok(Self { file, machines, names, comments, comments_left_out: 0 })
    }

    /// Names the host that has `address` from now on.
    ///
    /// # Errors
    ///
    /// What the writer refuses.
    pub fn name(&mut self, address: Ipv4Addr, name: &str) -> io::Result<()> {
        let is_known = self.names.get(&address).is_some_and(|known| known == name);
        if is_known || self.names.len() == NAMES_MAX && !self.names.contains_key(&address) {
            return Ok(());
        }
        self.names.insert(address, name.to_owned());
        self.file.name(address, name)
    }

    /// Tells something at the next frame.
    pub fn comment(&mut self, text: String) {
        if self.comments.len() < COMMENTS_MAX {
            self.comments.push(text);
        } else {
            self.comments_left_out += 1;
        }
    }

    /// Adds a frame.
    ///
    /// # Errors
    ///
    /// What the writer refuses.
    pub fn frame(&mut self, at: Instant, segment: SegmentId, frame: &[u8]) -> io::Result<()> {
        if let Some((address, name)) = self.acknowledged(frame) {
            self.name(address, &name)?;
        }
        if self.comments_left_out > 0 {
            self.comments.push(format!("and {} things more", self.comments_left_out));
            self.comments_left_out = 0;
        }
        self.file.frame(at.as_micros(), segment.0.into(), frame, frame.len(), &self.comments)?;
        self.comments.clear();
        Ok(())
    }

    /// Ends the capture.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn finish(self) -> io::Result<()> {
        self.file.finish().map(|_| ())
    }

    /// The address and the machine of a lease that `frame` acknowledges.
    fn acknowledged(&self, frame: &[u8]) -> Option<(Ipv4Addr, String)> {
        let packet = Packet::parse(frame)?;
        let (_, DHCP_SERVER_PORT, DHCP_CLIENT_PORT, payload) = packet.udp()? else { return None };
        let message = dhcp_message(payload)?;
        if message.opts().msg_type()? != MessageType::Ack || message.yiaddr().is_unspecified() {
            return None;
        }
        let mac = MacAddr(message.chaddr().try_into().ok()?);
        Some((message.yiaddr(), self.machines.get(&mac)?.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Memory that two hold.
    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn occurrences(bytes: &[u8], text: &str) -> usize {
        bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }

    fn begin() -> (Capture, Shared) {
        let out = Shared::default();
        let capture = Capture::begin(Box::new(out.clone()), &["lan0".to_owned()], []);
        (capture.expect("memory takes it"), out)
    }

    #[test]
    fn comments_stand_at_the_next_frame_only_and_not_without_bound() {
        let (mut capture, out) = begin();
        for number in 0..COMMENTS_MAX + 3 {
            capture.comment(format!("thing {number};"));
        }
        for _ in 0..2 {
            capture.frame(Instant::ZERO, SegmentId(0), &[0; 60]).expect("memory takes it");
        }
        let bytes = out.0.borrow();
        assert_eq!(occurrences(&bytes, "thing 0;"), 1);
        assert_eq!(occurrences(&bytes, &format!("thing {};", COMMENTS_MAX - 1)), 1);
        assert_eq!(occurrences(&bytes, &format!("thing {COMMENTS_MAX};")), 0);
        assert_eq!(occurrences(&bytes, "and 3 things more"), 1);
    }

    #[test]
    fn a_name_is_written_when_it_is_new_and_not_without_bound() {
        let (mut capture, out) = begin();
        let address = |number: usize| Ipv4Addr::from_bits(u32::try_from(number).expect("few"));
        for name in ["pc-1", "pc-1", "pc-2"] {
            capture.name(address(0), name).expect("memory takes it");
        }
        assert_eq!(["pc-1", "pc-2"].map(|name| occurrences(&out.0.borrow(), name)), [1, 1]);
        for number in 1..=NAMES_MAX {
            capture.name(address(number), "crowd").expect("memory takes it");
        }
        capture.name(address(0), "pc-3").expect("memory takes it");
        assert_eq!(occurrences(&out.0.borrow(), "crowd"), NAMES_MAX - 1);
        assert_eq!(occurrences(&out.0.borrow(), "pc-3"), 1);
    }
}
