//! The table of options.

/// The type of an option's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One address.
    Address,
    /// Addresses, the preferred first.
    Addresses,
    /// Addresses in pairs: a destination with its mask or router.
    AddressPairs,
    /// Text without NUL.
    Text,
    /// An integer of 8 bits.
    U8,
    /// An integer of 16 bits.
    U16,
    /// An integer of 32 bits.
    U32,
    /// A flag of one octet.
    Flag,
    /// Domain names. (RFC 3397, section 2)
    Domains,
    /// SIP servers: names or addresses. (RFC 3361, section 3)
    SipServers,
    /// Destinations with their routers. (RFC 3442, section "Classless Route Option Format")
    Routes,
    /// Vendor-specific options. (RFC 2132, section 8.4)
    VendorSpecific,
    /// Octets, which are written in hexadecimal.
    Octets,
    /// No type is registered: text or addresses.
    Unregistered,
    /// The setting that decides the content.
    SetBy(&'static str),
    /// The server decides the content, or only clients send the option.
    Decided,
}

/// The registration of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The name of the option.
    pub name: &'static str,
    /// The type of its content.
    pub kind: Kind,
}

/// The registration of the option `code`.
pub fn registered(code: u8) -> Registered {
    let unregistered = Registered { name: "an option without a registered type", kind: Kind::Unregistered };
    let found = OPTIONS.iter().find(|(registered, ..)| *registered == code);
    found.map_or(unregistered, |(_, name, kind)| Registered { name, kind: *kind })
}

use Kind::{
    Address, AddressPairs, Addresses, Decided, Domains, Flag, Octets, Routes, SetBy, SipServers, Text, U8,
    U16, U32, VendorSpecific,
};

const LEASE_SECS: Kind = SetBy("dhcp.lease_secs");

/// IANA, BOOTP Vendor Extensions and DHCP Options; 249 and 252 are Microsoft's.
const OPTIONS: &[(u8, &str, Kind)] = &[
    (0, "Pad", Decided),
    (1, "Subnet Mask", SetBy("lan.address")),
    (2, "Time Offset", U32),
    (3, "Router", Addresses),
    (4, "Time Server", Addresses),
    (5, "Name Server", Addresses),
    (6, "Domain Server", SetBy("dns_servers")),
    (7, "Log Server", Addresses),
    (8, "Quotes Server", Addresses),
    (9, "LPR Server", Addresses),
    (10, "Impress Server", Addresses),
    (11, "RLP Server", Addresses),
    (12, "Hostname", SetBy("the hostname of a reservation")),
    (13, "Boot File Size", U16),
    (14, "Merit Dump File", Text),
    (15, "Domain Name", Text),
    (16, "Swap Server", Address),
    (17, "Root Path", Text),
    (18, "Extension File", Text),
    (19, "Forward On/Off", Flag),
    (20, "SrcRte On/Off", Flag),
    (21, "Policy Filter", AddressPairs),
    (22, "Max DG Assembly", U16),
    (23, "Default IP TTL", U8),
    (24, "MTU Timeout", U32),
    (25, "MTU Plateau", Octets),
    (26, "MTU Interface", U16),
    (27, "MTU Subnet", Flag),
    (28, "Broadcast Address", Address),
    (29, "Mask Discovery", Flag),
    (30, "Mask Supplier", Flag),
    (31, "Router Discovery", Flag),
    (32, "Router Request", Address),
    (33, "Static Route", AddressPairs),
    (34, "Trailers", Flag),
    (35, "ARP Timeout", U32),
    (36, "Ethernet", Flag),
    (37, "Default TCP TTL", U8),
    (38, "Keepalive Time", U32),
    (39, "Keepalive Data", Flag),
    (40, "NIS Domain", Text),
    (41, "NIS Servers", Addresses),
    (42, "NTP Servers", SetBy("ntp_servers")),
    (43, "Vendor Specific", VendorSpecific),
    (44, "NETBIOS Name Srv", Addresses),
    (45, "NETBIOS Dist Srv", Addresses),
    (46, "NETBIOS Node Type", U8),
    (47, "NETBIOS Scope", Text),
    (48, "X Window Font", Addresses),
    (49, "X Window Manager", Addresses),
    (50, "Address Request", Decided),
    (51, "Address Time", LEASE_SECS),
    (52, "Overload", Decided),
    (53, "DHCP Msg Type", Decided),
    (54, "DHCP Server Id", Decided),
    (55, "Parameter List", Decided),
    (56, "DHCP Message", Decided),
    (57, "DHCP Max Msg Size", Decided),
    (58, "Renewal Time", LEASE_SECS),
    (59, "Rebinding Time", LEASE_SECS),
    (60, "Class Id", Text),
    (61, "Client Id", Decided),
    (62, "NetWare/IP Domain", Text),
    (63, "NetWare/IP Option", Octets),
    (64, "NIS-Domain-Name", Text),
    (65, "NIS-Server-Addr", Addresses),
    (66, "Server-Name", Text),
    (67, "Bootfile-Name", SetBy("boot_file")),
    (68, "Home-Agent-Addrs", Addresses),
    (69, "SMTP-Server", Addresses),
    (70, "POP3-Server", Addresses),
    (71, "NNTP-Server", Addresses),
    (72, "WWW-Server", Addresses),
    (73, "Finger-Server", Addresses),
    (74, "IRC-Server", Addresses),
    (75, "StreetTalk-Server", Addresses),
    (76, "STDA-Server", Addresses),
    (77, "User-Class", Decided),
    (78, "Directory Agent", Octets),
    (79, "Service Scope", Octets),
    (80, "Rapid Commit", Decided),
    (81, "Client FQDN", Decided),
    (82, "Relay Agent Information", Decided),
    (83, "iSNS", Octets),
    (85, "NDS Servers", Addresses),
    (86, "NDS Tree Name", Text),
    (87, "NDS Context", Text),
    (88, "BCMCS Controller Domain Name list", Domains),
    (89, "BCMCS Controller IPv4 address option", Addresses),
    (90, "Authentication", Decided),
    (91, "client-last-transaction-time option", Decided),
    (92, "associated-ip option", Decided),
    (93, "Client System", Decided),
    (94, "Client NDI", Decided),
    (97, "UUID/GUID", Decided),
    (98, "User-Auth", Text),
    (99, "GEOCONF_CIVIC", Octets),
    (100, "PCode", Text),
    (101, "TCode", Text),
    (108, "IPv6-Only Preferred", U32),
    (112, "Netinfo Address", Addresses),
    (113, "Netinfo Tag", Text),
    (114, "DHCP Captive-Portal", Text),
    (116, "Auto-Config", U8),
    (117, "Name Service Search", Octets),
    (118, "Subnet Selection Option", Decided),
    (119, "Domain Search", SetBy("search")),
    (120, "SIP Servers DHCP Option", SipServers),
    (121, "Classless Static Route Option", Routes),
    (122, "CCC", Octets),
    (123, "GeoConf Option", Octets),
    (124, "V-I Vendor Class", Octets),
    (125, "V-I Vendor-Specific Information", Octets),
    (136, "OPTION_PANA_AGENT", Addresses),
    (137, "OPTION_V4_LOST", Domains),
    (138, "OPTION_CAPWAP_AC_V4", Addresses),
    (139, "OPTION-IPv4_Address-MoS", Octets),
    (140, "OPTION-IPv4_FQDN-MoS", Octets),
    (141, "SIP UA Configuration Service Domains", Domains),
    (142, "OPTION-IPv4_Address-ANDSF", Addresses),
    (143, "OPTION_V4_SZTP_REDIRECT", Octets),
    (144, "GeoLoc", Octets),
    (145, "FORCERENEW_NONCE_CAPABLE", Decided),
    (146, "RDNSS Selection", Octets),
    (147, "OPTION_V4_DOTS_RI", Domains),
    (148, "OPTION_V4_DOTS_ADDRESS", Addresses),
    (150, "TFTP server address", Addresses),
    (159, "OPTION_V4_PORTPARAMS", Octets),
    (161, "OPTION_MUD_URL_V4", Text),
    (162, "OPTION_V4_DNR", Octets),
    (208, "PXELINUX Magic", Octets),
    (209, "Configuration File", Text),
    (210, "Path Prefix", Text),
    (211, "Reboot Time", U32),
    (212, "OPTION_6RD", Octets),
    (213, "OPTION_V4_ACCESS_DOMAIN", Domains),
    (221, "Virtual Subnet Selection (VSS) Option", Octets),
    (249, "Classless Static Route Option of Microsoft", Routes),
    (252, "Web Proxy Auto-Discovery", Text),
    (255, "End", Decided),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_registered_once_in_order() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn what_the_server_says_itself_is_not_for_an_administrator_to_say() {
        for code in [0, 50, 52, 53, 54, 55, 56, 57, 61, 77, 81, 82, 93, 94, 97, 255] {
            assert_eq!(registered(code).kind, Decided, "{code}");
        }
        for code in [1, 6, 12, 42, 51, 58, 59, 67, 119] {
            assert!(matches!(registered(code).kind, SetBy(_)), "{code}");
        }
        assert_eq!(registered(150).kind, Addresses);
        assert_eq!(registered(224).kind, Kind::Unregistered);
    }
}
