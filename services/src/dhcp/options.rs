//! The options that an administrator can set: their codes, names and types, and the encoding of their contents.
//! (IANA, BOOTP Vendor Extensions and DHCP Options; RFC 2132)

mod registry;
mod value;

pub use registry::{Kind, Registered, registered};
pub use value::{Value, encoded_len};

/// Domain Name Server
pub const DNS_SERVERS: u8 = 6;
/// NTP Servers
pub const NTP_SERVERS: u8 = 42;
/// Vendor Specific Information
pub const VENDOR_SPECIFIC: u8 = 43;
/// Vendor class identifier
pub const VENDOR_CLASS: u8 = 60;
/// TFTP server name
pub const TFTP_SERVER_NAME: u8 = 66;
/// Bootfile name
pub const BOOT_FILE: u8 = 67;
/// Domain Search
pub const DOMAIN_SEARCH: u8 = 119;
/// Classless Static Route (RFC 3442, section "Classless Route Option Format")
pub const ROUTES: u8 = 121;
/// TFTP server addresses (RFC 5859)
pub const TFTP_SERVERS: u8 = 150;
