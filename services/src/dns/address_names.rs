//! The names under which addresses were found lately, for reports of who talks to whom.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hickory_proto::rr::Name;

/// The most addresses whose names are kept; with one more, the one that was found longest ago is forgotten.
pub const ADDRESSES_MAX: usize = 4096;

/// Names by address: of each address the name that was last asked for, even if its answer has expired since.
#[derive(Debug, Default)]
pub struct AddressNames {
    by_address: BTreeMap<Ipv4Addr, (Name, u64)>,
    /// The addresses in the order in which they were found.
    found: BTreeMap<u64, Ipv4Addr>,
    last: u64,
}

impl AddressNames {
    /// `address` was an answer to a question for `name`.
    pub fn put(&mut self, address: Ipv4Addr, name: &Name) {
        self.last += 1;
        if let Some((_, found)) = self.by_address.insert(address, (name.clone(), self.last)) {
            self.found.remove(&found);
        }
        self.found.insert(self.last, address);
        if self.by_address.len() > ADDRESSES_MAX
            && let Some((_, oldest)) = self.found.pop_first()
        {
            self.by_address.remove(&oldest);
        }
    }

    /// The name of `address`.
    pub fn get(&self, address: Ipv4Addr) -> Option<&Name> {
        self.by_address.get(&address).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_an_address_counts_and_the_oldest_address_is_forgotten() {
        let name = |text: &str| Name::from_ascii(text).expect("a name");
        let address = |number: usize| Ipv4Addr::from(0x0a00_0000 + number as u32);
        let mut names = AddressNames::default();
        names.put(address(0), &name("old.example."));
        names.put(address(0), &name("new.example."));
        assert_eq!(names.get(address(0)), Some(&name("new.example.")));
        for number in 1..ADDRESSES_MAX {
            names.put(address(number), &name("www.example."));
        }
        names.put(address(0), &name("again.example."));
        names.put(address(ADDRESSES_MAX), &name("one.more."));
        assert_eq!((names.by_address.len(), names.found.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        assert!(names.get(address(0)).is_some() && names.get(address(1)).is_none());
    }
}
