//! Ports by number, and sets of them.

/// A port's number: its index in the dataplane's list of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u8);

impl PortId {
    /// The most ports a gateway can have.
    pub const COUNT_MAX: usize = 64;
}

/// A set of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSet(u64);

impl PortSet {
    /// No port.
    pub const EMPTY: Self = Self(0);

    /// The set of just `port`.
    pub const fn only(port: PortId) -> Self {
        Self(1 << (port.0 & 63))
    }

    /// This set and `port`.
    pub const fn with(self, port: PortId) -> Self {
        Self(self.0 | Self::only(port).0)
    }

    /// This set without `port`.
    pub const fn without(self, port: PortId) -> Self {
        Self(self.0 & !Self::only(port).0)
    }

    /// Whether `port` is in the set.
    pub const fn contains(self, port: PortId) -> bool {
        self.0 & Self::only(port).0 != 0
    }

    /// Whether there is no port in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The port of a set of one.
    #[inline]
    pub const fn single(self) -> Option<PortId> {
        if self.0.is_power_of_two() { Some(PortId(self.0.trailing_zeros() as u8)) } else { None }
    }

    /// The ports, lowest first.
    pub fn iter(self) -> impl Iterator<Item = PortId> {
        (0..64).map(PortId).filter(move |port| self.contains(*port))
    }
}

impl FromIterator<PortId> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortId>>(ports: I) -> Self {
        Self(ports.into_iter().fold(0, |set, port| set | Self::only(port).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_sets_list_their_ports_in_order() {
        let set: PortSet = [PortId(5), PortId(0), PortId(63)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [PortId(0), PortId(5), PortId(63)]);
        assert!(!set.without(PortId(5)).contains(PortId(5)));
        assert_eq!((set.single(), PortSet::EMPTY.single()), (None, None));
        assert_eq!(PortSet::only(PortId(63)).single(), Some(PortId(63)));
    }
}
