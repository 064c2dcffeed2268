//! What is in a backup, and how it is gathered.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use data_encoding::BASE64;
use gatepost_services::clock::UnixTime;
use gatepost_services::store::{Memory, NAME_PARTS_MAX, Storage, checked_name, open_regular};
use gatepost_services::words;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::restore::JOURNAL;
use crate::config::Config;
use crate::error::Error;
use crate::gateway::services::list::ROOM_FILE;
use crate::gateway::state::damaged_files;

/// The most files in a backup.
pub const ENTRIES_MAX: usize = 4096;

/// The most octets of all files in a backup.
pub const STATE_OCTETS_MAX: usize = 32 << 20;

/// The longest file beside the configuration that is taken, in octets.
const BESIDE_OCTETS_MAX: u64 = 1 << 20;

/// The most tries to read the state at a moment at which no file is half written.
const TRIES_MAX: usize = 5;

/// What of the state directory no backup has: mail, room that is kept free, and a restore that is under way.
const LEFT_OUT: [&str; 3] = ["mail", ROOM_FILE, JOURNAL];

/// The content of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The version of the program that has made it.
    pub program: String,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// The text of the configuration; empty for the built-in one.
    pub configuration: String,
    /// The files of the state directory by their names.
    pub(super) state: BTreeMap<String, Octets>,
    /// The files that the configuration names, by their paths from its folder on.
    pub(super) beside: BTreeMap<String, Octets>,
}

/// The content of a file; in JSON, base64.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Octets(pub Vec<u8>);

/// Hides the content, which may be a secret.
impl std::fmt::Debug for Octets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Octets({})", self.0.len())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Archive {
    /// Gathers the configuration `config`, which was read from `text`, the files that it names below `folder`, and the
    /// state in `storage`, which a running gateway may be writing to. Returns what is not in it, a sentence each.
    ///
    /// # Errors
    ///
    /// The state cannot be read, or is too large.
    pub fn gather(
        (config, text): (&Config, &str),
        folder: &Path,
        storage: &dyn Storage,
        now: UnixTime,
    ) -> Result<(Self, Vec<String>), Error> {
        let unread = |error: io::Error| {
            let directory = config.system.state_dir.display();
            Error::failed(
                "no backup is made",
                format!("{directory}: {error}"),
                "run it as the gateway's user",
            )
        };
        let mut state = BTreeMap::new();
        let mut damages = Vec::new();
        for _ in 0..TRIES_MAX {
            state = read_state(storage).map_err(unread)?;
            damages = damaged_files(&in_memory(&state).map_err(unread)?);
            if damages.is_empty() {
                break;
            }
        }
        let mut left_out = Vec::new();
        for (name, damage) in damages {
            if state.remove(&name).is_some() {
                left_out.push(format!("{name} is left out: {damage}; see `gatepost check --state`"));
            }
        }
        let (mut beside, mut elsewhere) = (BTreeMap::new(), Vec::new());
        for file in config.named_files() {
            let Some(name) = name_below(folder, file) else {
                elsewhere.push(file.display().to_string());
                continue;
            };
            match read_file(file) {
                Ok(content) => _ = beside.insert(name, Octets(content)),
                Err(error) => left_out.push(format!("{} is left out: {error}", file.display())),
            }
        }
        left_out.extend(elsewhere.iter().map(|file| {
            format!("{file} is left out: it is not in the configuration's folder; copy it yourself")
        }));
        let archive = Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: now.0,
            configuration: text.to_owned(),
            state,
            beside,
        };
        archive.check_size().map_err(|why| {
            let largest = archive.state.iter().max_by_key(|(_, content)| content.0.len());
            let name = largest.map_or("nothing", |(name, _)| name);
            Error::failed("no backup is made", why, format!("see what has grown: the largest is {name}"))
        })?;
        Ok((archive, left_out))
    }

    /// The number of its files, the configuration's own included.
    pub fn files(&self) -> usize {
        1 + self.state.len() + self.beside.len()
    }

    /// Whether it has few and short files.
    pub(super) fn check_size(&self) -> Result<(), String> {
        let octets: usize =
            self.state.values().chain(self.beside.values()).map(|content| content.0.len()).sum();
        if self.files() > ENTRIES_MAX {
            return Err(format!("there are more than {ENTRIES_MAX} files"));
        }
        if octets > STATE_OCTETS_MAX {
            // A length fits into `u64`.
            let most = words::octets(STATE_OCTETS_MAX as u64);
            return Err(format!("the files have more than {most}"));
        }
        Ok(())
    }
}

/// Whether a backup has the file `name` of the state directory.
pub(super) fn is_kept(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    let is_remainder = |part: &str| {
        let (_, suffix) = part.rsplit_once('.').unwrap_or_default();
        suffix == "new" || suffix.starts_with("damaged")
    };
    checked_name(name).is_ok() && !LEFT_OUT.contains(&first) && !name.split('/').any(is_remainder)
}

/// The names of the files in `storage` that a backup has.
pub(super) fn kept_names(storage: &dyn Storage) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut directories = vec![(String::new(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        for entry in storage.list(&directory)? {
            let name = if directory.is_empty() { entry } else { format!("{directory}/{entry}") };
            if !is_kept(&name) {
                continue;
            }
            if depth + 1 < NAME_PARTS_MAX && storage.list(&name).is_ok_and(|entries| !entries.is_empty()) {
                directories.push((name, depth + 1));
            } else if is_file(storage, &name) {
                names.push(name);
            }
            if names.len() > ENTRIES_MAX {
                return Err(io::Error::other(format!("there are more than {ENTRIES_MAX} files")));
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Whether `name`, in which there is nothing, is a file: an empty directory cannot be read.
fn is_file(storage: &dyn Storage, name: &str) -> bool {
    storage.read_at(name, 0, 0).is_ok_and(|octets| octets.is_some())
}

fn read_state(storage: &dyn Storage) -> io::Result<BTreeMap<String, Octets>> {
    let (mut state, mut octets) = (BTreeMap::new(), 0);
    for name in kept_names(storage)? {
        let Some(content) = storage.read(&name)? else { continue };
        octets += content.len();
        if octets > STATE_OCTETS_MAX {
            let most = words::octets(STATE_OCTETS_MAX as u64);
            return Err(io::Error::other(format!("the files have more than {most}; the last was {name}")));
        }
        state.insert(name, Octets(content));
    }
    Ok(state)
}

/// The files in a storage of their own, for checks.
pub(super) fn in_memory(state: &BTreeMap<String, Octets>) -> io::Result<Memory> {
    let memory = Memory::new();
    state.iter().try_for_each(|(name, content)| memory.write(name, &content.0))?;
    Ok(memory)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(open_regular(path)?, BESIDE_OCTETS_MAX + 1), &mut content)?;
    if content.len() as u64 > BESIDE_OCTETS_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {BESIDE_OCTETS_MAX} octets"),
        ));
    }
    Ok(content)
}

/// The path of `file` from `folder` on, if it is below it, without a step up, and can be written as text.
pub(super) fn name_below(folder: &Path, file: &Path) -> Option<String> {
    let below = file.strip_prefix(folder).ok()?;
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let text = below.to_str().filter(|text| !text.is_empty())?;
    below.components().all(is_plain).then(|| text.to_owned())
}
