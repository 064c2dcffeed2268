//! The store's requests to the disk.

use std::io;

use super::draft::DraftId;
use crate::store::{Disk, Storage};

/// The part of the store that makes a request. Each has at most one in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The log.
    Log,
    /// The background work: checkpoints, compaction, removals.
    Upkeep,
    /// A draft.
    Draft(DraftId),
}

/// A request on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The requesting part.
    pub lane: Lane,
    /// The operation.
    pub task: Task,
}

/// One thing to do with the disk, as [`Storage`] has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// [`Storage::append`]
    Append {
        /// The file.
        file: String,
        /// The octets to append.
        octets: Vec<u8>,
    },
    /// [`Storage::rewrite`]
    Rewrite {
        /// The file.
        file: String,
        /// The offset.
        offset: u64,
        /// How many octets.
        len: usize,
    },
    /// [`Storage::sync`]
    Sync {
        /// The file.
        file: String,
    },
    /// [`Storage::remove`]
    Remove {
        /// The file.
        file: String,
    },
    /// [`Storage::rename`]
    Rename {
        /// The file.
        file: String,
        /// The new name.
        to: String,
    },
    /// [`Storage::read_at`]
    Read {
        /// The file.
        file: String,
        /// The offset.
        offset: u64,
        /// How many octets, if there are so many.
        len: usize,
    },
    /// [`Storage::space`]
    Space,
}

/// The result of a [`Task`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The octets read; `None` if there is no such file.
    Octets(Option<Vec<u8>>),
    /// How many octets there is room for.
    Space(u64),
}

impl Task {
    /// Does it, while the caller waits.
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub fn perform(&self, disk: &dyn Storage) -> io::Result<Answer> {
        match self {
            Self::Append { file, octets } => disk.append(file, octets).map(|()| Answer::Done),
            Self::Rewrite { file, offset, len } => disk.rewrite(file, *offset, *len).map(|()| Answer::Done),
            Self::Sync { file } => disk.sync(file).map(|()| Answer::Done),
            Self::Remove { file } => disk.remove(file).map(|()| Answer::Done),
            Self::Rename { file, to } => disk.rename(file, to).map(|()| Answer::Done),
            Self::Read { file, offset, len } => disk.read_at(file, *offset, *len).map(Answer::Octets),
            Self::Space => disk.space().map(Answer::Space),
        }
    }

    /// Has it done off the services' thread.
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn perform_on(self, disk: &Disk) -> io::Result<Answer> {
        match self {
            Self::Append { file, octets } => disk.append(&file, octets).await.map(|()| Answer::Done),
            Self::Rewrite { file, offset, len } => {
                disk.rewrite(&file, offset, len).await.map(|()| Answer::Done)
            }
            Self::Sync { file } => disk.sync(&file).await.map(|()| Answer::Done),
            Self::Remove { file } => disk.remove(&file).await.map(|()| Answer::Done),
            Self::Rename { file, to } => disk.rename(&file, &to).await.map(|()| Answer::Done),
            Self::Read { file, offset, len } => disk.read_at(&file, offset, len).await.map(Answer::Octets),
            Self::Space => disk.space().await.map(Answer::Space),
        }
    }
}
