//! TXT records that the gateway's services publish at run time, such as DKIM keys.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::rc::Rc;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData};

use super::name::NameKey;

/// The longest string of a TXT record, in octets. (RFC 1035, section 3.3.14)
pub const STRING_OCTETS_MAX: usize = 255;

/// The published records of one configuration. Clones share them: DNS reads them for each query, so that a record is
/// effective as soon as it is published. The administrator's record of the same name takes precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedTexts(Rc<RefCell<BTreeMap<NameKey, RData>>>);

impl PublishedTexts {
    /// Replaces the published records: absolute names, each with its text. Invalid names are left out.
    pub fn set(&self, records: impl IntoIterator<Item = (String, String)>) {
        let read = |(name, text): (String, String)| {
            let name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
            Some((NameKey::new(&name), RData::TXT(strings(&text))))
        };
        *self.0.borrow_mut() = records.into_iter().filter_map(read).collect();
    }

    /// The record with this key.
    pub(super) fn get(&self, key: &NameKey) -> Option<RData> {
        self.0.borrow().get(key).cloned()
    }

    /// All records.
    pub(super) fn all(&self) -> Vec<(NameKey, RData)> {
        self.0.borrow().iter().map(|(key, data)| (key.clone(), data.clone())).collect()
    }

    /// Whether there is a name below this key.
    pub(super) fn has_names_below(&self, key: &NameKey) -> bool {
        let after = (Excluded(key.as_bytes()), Unbounded);
        self.0.borrow().range::<[u8], _>(after).next().is_some_and(|(next, _)| next.is_in(key))
    }
}

/// `text` split into strings of at most [`STRING_OCTETS_MAX`]; at least one.
pub(super) fn strings(text: &str) -> TXT {
    let octets = text.as_bytes();
    let strings: Vec<&[u8]> =
        if octets.is_empty() { vec![b""] } else { octets.chunks(STRING_OCTETS_MAX).collect() };
    TXT::from_bytes(strings)
}
