//! TXT records that the gateway's services publish while they run, such as the keys by which its mail is verified.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::rc::Rc;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData};

use super::name::NameKey;

/// The most octets of a string of a TXT record. (RFC 1035, section 3.3.14)
pub const STRING_OCTETS_MAX: usize = 255;

/// The published records of one configuration. Clones share them: the name service asks for each question, so that a
/// record is there as soon as it is published. A record of the administrator's at the same name comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedTexts(Rc<RefCell<BTreeMap<NameKey, RData>>>);

impl PublishedTexts {
    /// Has `records` be all that is published: absolute names, each with its text. What is no name is left out.
    pub fn set(&self, records: impl IntoIterator<Item = (String, String)>) {
        let read = |(name, text): (String, String)| {
            let name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
            Some((NameKey::new(&name), RData::TXT(strings(&text))))
        };
        *self.0.borrow_mut() = records.into_iter().filter_map(read).collect();
    }

    /// The record of the name whose key this is.
    pub(super) fn get(&self, key: &NameKey) -> Option<RData> {
        self.0.borrow().get(key).cloned()
    }

    /// Whether there is a name below.
    pub(super) fn has_names_below(&self, key: &NameKey) -> bool {
        let after = (Excluded(key.as_bytes()), Unbounded);
        self.0.borrow().range::<[u8], _>(after).next().is_some_and(|(next, _)| next.is_in(key))
    }
}

/// `text` cut into strings of [`STRING_OCTETS_MAX`]; one at least.
pub(super) fn strings(text: &str) -> TXT {
    let octets = text.as_bytes();
    let strings: Vec<&[u8]> =
        if octets.is_empty() { vec![b""] } else { octets.chunks(STRING_OCTETS_MAX).collect() };
    TXT::from_bytes(strings)
}
