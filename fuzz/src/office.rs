//! The gateway of the targets.

use std::net::Ipv4Addr;

use gatepost_ground::MacAddr;

/// Its hardware address on the LAN.
pub const GATEWAY_LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
/// Its hardware address on the WAN.
pub const GATEWAY_WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 2, 1]);
/// Its address on the LAN.
pub const GATEWAY_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// Its address on the WAN.
pub const GATEWAY_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
