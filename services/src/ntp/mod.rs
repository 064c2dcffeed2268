//! The time server and the time client: the server tells the LAN this machine's own time, and how good that is; the
//! client finds out what the time is if nobody keeps the machine's clock. (RFC 5905; RFC 4330 for simple clients)
//!
//! | module    | what it has                                                                    |
//! |-----------|--------------------------------------------------------------------------------|
//! | [`codec`] | the header of an NTP packet, timestamps, extension fields and MACs behind it   |
//! | [`server`]| the state machine: which datagrams get an answer, and the answer's fields      |
//! | [`office`]| the server on the gateway's addresses, as a service                            |
//! | [`client`]| the state machine that asks other servers, and its findings                    |
//! | [`asking`]| the client on sockets                                                          |
//! | [`timekeeper`]| the client and the clocks that it goes by; the gateway's own time follows it |
//! | [`stats`] | what is counted                                                                |
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
