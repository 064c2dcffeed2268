//! Aliases: local addresses that lead to other addresses, local or remote.
//!
//! An alias has an edge to each of its members, which can be aliases themselves. A depth-first search in three colours
//! finds the receivers of an address:
//!
//! | target of an edge | meaning |
//! | --- | --- |
//! | the alias itself | the user, or the owners, who would receive its mail without the alias: a copy is kept |
//! | a finished address | a second path to the same receivers, who get one copy |
//! | an address that is still being walked | a loop |
//!
//! All names of a local domain are normalised before the search. The same search finds invalid configurations
//! ([`Directory::faults`]), so a directory in use has no loop; the search terminates in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::directory::{Directory, Local, Meaning};
use crate::mail::address::Mailbox;
use crate::mail::store::RECIPIENTS_MAX;

/// The most aliases.
pub const ALIASES_MAX: usize = 1024;
/// The most members of an alias.
pub const MEMBERS_MAX: usize = 1000;
/// The most members of all aliases together.
pub const ALL_MEMBERS_MAX: usize = 10_000;
/// The most receivers of one address.
pub const EXPANSION_MAX: usize = RECIPIENTS_MAX;
/// The most aliases on a path.
pub const DEPTH_MAX: usize = 16;

/// Which aliases there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    /// They, each of them once.
    pub all: Vec<Alias>,
    /// The receiver of unknown local addresses.
    pub catch_all: Option<Mailbox>,
}

/// An alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its address, at a local domain.
    pub address: Mailbox,
    /// Its members.
    pub members: Vec<Mailbox>,
}

/// Where a member leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An address at a local domain.
    Here(Local),
    /// A remote address.
    Outside(Mailbox),
}

/// The receivers of an address, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receivers<'a> {
    /// Users.
    pub users: Vec<&'a str>,
    /// Remote addresses.
    pub outside: Vec<&'a Mailbox>,
    /// Whether the mail is for the owners in their role: then it is enough that one of them has it.
    pub is_of_owners: bool,
}

impl Receivers<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.outside.is_empty()
    }
}

/// A step on the path from an address to its receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The steps that lead here.
    pub depth: usize,
    /// The address, or the name of a user.
    pub address: String,
    /// Its kind.
    pub what: What,
}

/// The kind of an address on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A user, who receives it.
    User,
    /// A remote address, which receives it.
    Outside,
    /// An alias.
    Alias,
    /// A role address of each domain, whose mail the owners receive.
    Owners,
    /// An unknown address, whose mail goes to the catch-all.
    CatchAll,
    /// An unknown address.
    Nobody,
    /// An address that was walked before.
    Again,
    /// An alias that is being walked: these lead around.
    Loop(Vec<String>),
    /// An address behind more than [`DEPTH_MAX`] others.
    TooDeep,
    /// One more than [`EXPANSION_MAX`].
    TooMany,
}

impl What {
    /// Its name for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Outside => "outside",
            Self::Alias => "alias",
            Self::Owners => "owners",
            Self::CatchAll => "catch_all",
            Self::Nobody => "nobody",
            Self::Again => "again",
            Self::Loop(_) => "loop",
            Self::TooDeep => "too_deep",
            Self::TooMany => "too_many",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("a user, who has it"),
            Self::Outside => f.write_str("at another server, which has it"),
            Self::Alias => f.write_str("an alias for"),
            Self::Owners => f.write_str("goes to the owners"),
            Self::CatchAll => f.write_str("nobody's, so it goes to mail.catch_all"),
            Self::Nobody => f.write_str("nobody's"),
            Self::Again => f.write_str("is above already, and has it once"),
            Self::Loop(path) => write!(f, "leads around: {}", path.join(" -> ")),
            Self::TooDeep => write!(f, "not followed: it is behind more than {DEPTH_MAX} others"),
            Self::TooMany => write!(f, "left out: {EXPANSION_MAX} others have it"),
        }
    }
}

/// An invalid alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The index of the alias; `None` for the catch-all.
    pub alias: Option<usize>,
    /// The index of the member within the alias; 0 if the fault is the alias's.
    pub member: usize,
    /// The fault.
    pub what: FaultKind,
}

/// The fault of an alias, or of one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The alias is not at a local domain.
    Foreign,
    /// The alias is a duplicate of the one with this index.
    Twice(usize),
    /// This member has no receiver.
    Nobody,
    /// The member is the alias itself, which without the alias has no receiver.
    NobodyKeeps,
    /// This member leads back to the alias, by these.
    Loop(Vec<String>),
    /// There are more than [`DEPTH_MAX`] aliases behind this member.
    TooDeep,
    /// The alias leads to more than [`EXPANSION_MAX`].
    TooMany,
}

/// A search from an address to its receivers.
pub(super) struct Walk<'a> {
    directory: &'a Directory,
    /// Those that are being walked, from the first on.
    open: Vec<Local>,
    /// Those that were walked to their end.
    done: BTreeSet<Local>,
    seen: BTreeSet<String>,
    pub reached: Receivers<'a>,
    pub steps: Vec<Step>,
}

impl<'a> Walk<'a> {
    pub fn new(directory: &'a Directory) -> Self {
        Self {
            directory,
            open: Vec::new(),
            done: BTreeSet::new(),
            seen: BTreeSet::new(),
            reached: Receivers::default(),
            steps: Vec::new(),
        }
    }

    /// Continues from the unknown `address` to the catch-all.
    pub fn catch(&mut self, address: &Local, target: &'a Target) {
        self.step(0, self.directory.written(address), What::CatchAll);
        self.follow(address, target, 1);
    }

    /// To `target`, which is named by the alias `from`.
    fn follow(&mut self, from: &Local, target: &'a Target, depth: usize) {
        match target {
            Target::Outside(mailbox) => {
                let address = mailbox.to_string();
                if self.is_new(depth, &address, What::Outside) {
                    self.reached.outside.push(mailbox);
                }
            }
            Target::Here(address) if address == from => {
                let meaning = self.directory.meaning_without_alias(address);
                self.end(address, meaning, depth);
            }
            Target::Here(address) => self.visit(address, depth),
        }
    }

    /// Visits `address`, which is at a local domain.
    pub fn visit(&mut self, address: &Local, depth: usize) {
        if let Some(first) = self.open.iter().position(|open| open == address) {
            let path = self.open[first..].iter().chain([address]);
            let path = path.map(|address| self.directory.written(address)).collect();
            self.step(depth, self.directory.written(address), What::Loop(path));
        } else if self.done.contains(address) {
            self.step(depth, self.directory.written(address), What::Again);
        } else if depth > DEPTH_MAX {
            self.step(depth, self.directory.written(address), What::TooDeep);
        } else {
            self.open.push(address.clone());
            match self.directory.meaning(address) {
                Meaning::Alias(members) => {
                    self.step(depth, self.directory.written(address), What::Alias);
                    for member in members {
                        self.follow(address, member, depth + 1);
                    }
                }
                meaning => self.end(address, meaning, depth),
            }
            self.open.pop();
            self.done.insert(address.clone());
        }
    }

    /// At `address`, which is no alias.
    fn end(&mut self, address: &Local, meaning: Meaning<'a>, depth: usize) {
        match meaning {
            Meaning::User(name) => {
                // An alias of a person's name holds at all domains of the person's.
                let own = Local::of_office(name);
                if *address != own && self.directory.is_alias(&own) {
                    self.step(depth, self.directory.written(address), What::Alias);
                    self.visit(&own, depth + 1);
                } else if self.is_new(depth, name, What::User) {
                    self.reached.users.push(name);
                }
            }
            Meaning::Owners(names) => {
                self.step(depth, self.directory.written(address), What::Owners);
                self.reached.is_of_owners |= depth == 0;
                for name in names {
                    self.visit(&Local::of_office(name), depth + 1);
                }
            }
            Meaning::Nobody | Meaning::Alias(_) => {
                self.step(depth, self.directory.written(address), What::Nobody);
            }
        }
    }

    /// Adds a receiver; returns whether it is new.
    fn is_new(&mut self, depth: usize, address: &str, what: What) -> bool {
        let is_known = self.seen.contains(address);
        let is_full = !is_known && self.seen.len() >= EXPANSION_MAX;
        let told = match (is_known, is_full) {
            (true, _) => What::Again,
            (_, true) => What::TooMany,
            _ => what,
        };
        self.step(depth, address.to_owned(), told);
        !is_known && !is_full && self.seen.insert(address.to_owned())
    }

    fn step(&mut self, depth: usize, address: String, what: What) {
        self.steps.push(Step { depth, address, what });
    }
}

impl Directory {
    /// The faults of `aliases`, from which it was made. Each fault is reported once, at the alias or member to fix.
    pub fn faults(&self, aliases: &Aliases) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut places: BTreeMap<Local, usize> = BTreeMap::new();
        for (place, alias) in aliases.all.iter().enumerate() {
            let fault = |what| Fault { alias: Some(place), member: 0, what };
            match self.target(&alias.address) {
                Target::Outside(_) => faults.push(fault(FaultKind::Foreign)),
                Target::Here(address) => match places.get(&address) {
                    Some(first) => faults.push(fault(FaultKind::Twice(*first))),
                    None => _ = places.insert(address, place),
                },
            }
        }
        let written: BTreeMap<_, _> =
            places.iter().map(|(address, place)| (self.written(address), *place)).collect();
        for (address, place) in &places {
            // A loop is reported at the first of its aliases.
            let is_first = |path: &[String]| {
                path.first() == Some(&self.written(address))
                    && path.iter().filter_map(|step| written.get(step)).min() == Some(place)
            };
            faults.extend(self.faults_of(address, *place, is_first));
        }
        if let Some(target) = self.catch_all() {
            let mut walk = Walk::new(self);
            // It is no alias, so no address is its own.
            walk.follow(&Local::default(), target, 1);
            if walk.steps.first().is_some_and(|step| step.what == What::Nobody) {
                faults.push(Fault { alias: None, member: 0, what: FaultKind::Nobody });
            }
        }
        faults.sort_by_key(|fault| (fault.alias, fault.member));
        faults
    }

    /// The faults of the alias `address` with the index `place`.
    fn faults_of(&self, address: &Local, place: usize, is_first: impl Fn(&[String]) -> bool) -> Vec<Fault> {
        let Meaning::Alias(members) = self.meaning(address) else { return Vec::new() };
        let mut faults = Vec::new();
        let mut walk = Walk::new(self);
        walk.open.push(address.clone());
        let (mut has_loop, mut is_too_long) = (false, false);
        for (member, target) in members.iter().enumerate() {
            let mut fault = |what| faults.push(Fault { alias: Some(place), member, what });
            walk.follow(address, target, 1);
            for Step { depth, what, .. } in walk.steps.drain(..) {
                match what {
                    What::Nobody if depth == 1 => fault(match target {
                        Target::Here(own) if own == address => FaultKind::NobodyKeeps,
                        _ => FaultKind::Nobody,
                    }),
                    What::Loop(path) if !has_loop && is_first(&path) => {
                        has_loop = true;
                        fault(FaultKind::Loop(path));
                    }
                    What::TooDeep if !is_too_long => {
                        is_too_long = true;
                        fault(FaultKind::TooDeep);
                    }
                    What::TooMany if !is_too_long => {
                        is_too_long = true;
                        fault(FaultKind::TooMany);
                    }
                    _ => {}
                }
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests;
