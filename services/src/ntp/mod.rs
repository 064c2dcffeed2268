//! The time server and the time client (RFC 5905). The server sends the LAN this machine's time with its error. The
//! client measures the time with other servers while no daemon disciplines the machine's clock. RFC 4330, which RFC
//! 5905 obsoletes, is cited where only it has a rule: the answers to mode 1, and versions.
//!
//! | module    | content                                                                        |
//! |-----------|--------------------------------------------------------------------------------|
//! | [`codec`] | the header of an NTP packet, timestamps, extension fields and MACs behind it   |
//! | [`server`]| the state machine: which datagrams get an answer, and the answer's fields      |
//! | [`office`]| the server on the gateway's addresses, as a service                            |
//! | [`client`]| the client's state machine                                                     |
//! | [`asking`]| the client on sockets                                                          |
//! | [`timekeeper`]| the client with the clocks that it reads; the gateway's own time follows it |
//! | [`stats`] | the counters                                                                   |
//!
//! Nothing here sets a clock. The daemon that disciplines the machine's clock (chrony, ntpd, systemd-timesyncd) sets
//! the kernel's synchronisation state and maximum error (adjtimex(2)); [`Clock`](crate::clock::Clock) reads them. The
//! kernel knows neither the stratum of the source nor its address; [`server`] documents their substitutes.

pub mod asking;
pub mod client;
pub mod codec;
pub mod office;
pub mod server;
pub mod stats;
pub mod timekeeper;
