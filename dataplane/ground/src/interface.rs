//! The gateway's interfaces by number, and their roles in the policy.

/// An interface's number: its index in the dataplane's list of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u8);

impl InterfaceId {
    /// The most interfaces a gateway can have.
    pub const COUNT_MAX: usize = 16;

    /// The interface's place in a list of all interfaces.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The role of an interface. Firewall, NAT and all other policy depend on the role only, and never on the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The office's side.
    Inside,
    /// The internet's side.
    Outside,
}
