//! The two sides of the gateway.

/// One of the two Ethernet segments between which the gateway stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The office's side.
    Lan,
    /// The internet's side.
    Wan,
}

impl Segment {
    /// The segment's name, as configuration and reports have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }
}
