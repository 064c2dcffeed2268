//! The time server: it tells the LAN this machine's own time, and how good that is. (RFC 5905; RFC 4330 for simple
//! clients)
//!
//! | module    | what it has                                                                    |
//! |-----------|--------------------------------------------------------------------------------|
//! | [`codec`] | the header of an NTP packet, timestamps, what may stand behind the header      |
//! | [`server`]| the state machine: which datagram is answered, and what its answer says        |
//! | [`office`]| the server on the gateway's addresses, as a service                            |
//! | [`stats`] | what is counted                                                                |
//!
//! Nothing here sets a clock. Whoever disciplines the machine's clock (chrony, ntpd, systemd-timesyncd) tells the
//! kernel whether it is synchronised and how wrong it may be; [`Clock`](crate::clock::Clock) hands that over. The
//! kernel knows neither the stratum of the source nor its address, so [`server`] says what stands in for them.

pub mod codec;
pub mod office;
pub mod server;
pub mod stats;
