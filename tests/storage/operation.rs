//! Random sequences of storage operations.

use std::io;

use gatepost_services::store::Storage;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use serde::{Deserialize, Serialize};

/// The most operations of a sequence.
const OPERATIONS_MAX: usize = 12;
/// Files in the directory itself and below it, and one that a replacement writes on its way.
const NAMES: [&str; 5] = ["a", "a.new", "b", "d/a", "d/e/a"];

/// One operation of [`Storage`], or a new process that uses the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// [`Storage::write`]
    Write(String, String),
    /// [`Storage::append`]
    Append(String, String),
    /// [`Storage::rewrite`] of the first octet.
    Rewrite(String),
    /// [`Storage::rename`]
    Rename(String, String),
    /// [`Storage::remove`]
    Remove(String),
    /// [`Storage::sync`]
    Sync(String),
    /// [`Storage::replace`]
    Replace(String, String),
    /// The process ends if there is one, and another takes the directory.
    Restart,
}

impl Operation {
    /// Does it. A restart is not the storage's own.
    ///
    /// # Errors
    ///
    /// What the storage refuses.
    pub fn carry_out(&self, storage: &dyn Storage) -> io::Result<()> {
        match self {
            Self::Write(name, content) => storage.write(name, content.as_bytes()),
            Self::Append(name, record) => storage.append(name, record.as_bytes()),
            Self::Rewrite(name) => storage.rewrite(name, 0, 1),
            Self::Rename(name, to) => storage.rename(name, to),
            Self::Remove(name) => storage.remove(name),
            Self::Sync(name) => storage.sync(name),
            Self::Replace(name, content) => storage.replace(name, content.as_bytes()),
            Self::Restart => Ok(()),
        }
    }
}

/// Sequences of operations, the first of which takes the directory. No two write the same octets.
pub fn sequences() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..=OPERATIONS_MAX).prop_map(|mut operations| {
        operations.insert(0, Operation::Restart);
        for (number, operation) in operations.iter_mut().enumerate() {
            if let Operation::Write(_, octets)
            | Operation::Append(_, octets)
            | Operation::Replace(_, octets) = operation
            {
                *octets = format!("<{number:02}>");
            }
        }
        operations
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = || select(&NAMES[..]).prop_map(str::to_owned);
    let content = || Just(String::new());
    prop_oneof![
        2 => (name(), content()).prop_map(|(name, content)| Operation::Write(name, content)),
        4 => (name(), content()).prop_map(|(name, content)| Operation::Append(name, content)),
        1 => name().prop_map(Operation::Rewrite),
        4 => (name(), name())
            .prop_filter("another name", |(name, to)| name != to)
            .prop_map(|(name, to)| Operation::Rename(name, to)),
        1 => name().prop_map(Operation::Remove),
        5 => name().prop_map(Operation::Sync),
        2 => (name(), content()).prop_map(|(name, content)| Operation::Replace(name, content)),
        1 => Just(Operation::Restart),
    ]
}
