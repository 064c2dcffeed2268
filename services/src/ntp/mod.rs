//! The time server and the time client: the server tells the LAN this machine's own time, and how good that is; the client finds
//! out what the time is if nobody keeps the machine's clock. (RFC 5905; RFC 4330 for simple clients)
//!
//! | module    | what it has                                                                    |
//! |-----------|--------------------------------------------------------------------------------|
//! | [`codec`] | the header of an NTP packet, timestamps, what may stand behind the header      |
//! | [`server`]| the state machine: which datagram is answered, and what its answer says        |
//! | [`office`]| the server on the gateway's addresses, as a service                            |
//! | [`client`]| the state machine that asks other servers, and what it has found               |
//! | [`asking`]| the client on sockets                                                          |
//! | [`own_time`]| the gateway's own time of day: the kernel's, or the client's                 |
//! | [`stats`] | what is counted                                                                |
//!
//! Nothing here sets a clock. Whoever disciplines the machine's clock (chrony, ntpd, systemd-timesyncd) tells the
//! kernel whether it is synchronised and how wrong it may be; [`Clock`](crate::clock::Clock) hands that over. The
//! kernel knows neither the stratum of the source nor its address, so [`server`] says what stands in for them.

pub mod asking;
pub mod client;
pub mod codec;
pub mod office;
pub mod own_time;
pub mod server;
pub mod stats;
