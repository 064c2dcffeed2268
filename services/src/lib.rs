//! What the gateway answers itself.
//!
//! Every protocol is a state machine that is given bytes, the time and randomness and is asked what to
//! do next; a thin async shell connects it to [`net`], the gateway's own TCP and UDP, or to raw frames
//! that whoever runs it passes in and out. The shells run on one thread, in production and in simulation alike.

pub mod clock;
pub mod dhcp;
pub mod dns;
pub mod net;
pub mod race;
pub mod store;
