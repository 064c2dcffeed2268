//! Aliases: addresses here that lead to others, here and elsewhere.
//!
//! An alias is an edge to each of its members, which can be aliases themselves. Who has what comes for an address is
//! found by a walk in three colours:
//!
//! | an edge leads to | what it is |
//! | --- | --- |
//! | the alias itself | the person, or the owners, who would have its mail without the alias: a copy is kept |
//! | an address that was walked to its end | a second way to the same people, who have one copy |
//! | an address that is still being walked | a loop |
//!
//! An address at any name of a domain of ours is the same address, before the walk begins. What a configuration may not
//! say is found by the same walk ([`Directory::faults`]), so a directory that is in use has no loop in it; the walk
//! ends in any case.

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
/// The most people and addresses elsewhere that have what comes for one address.
pub const EXPANSION_MAX: usize = RECIPIENTS_MAX;
/// The most aliases on the way to a person.
pub const DEPTH_MAX: usize = 16;

/// Which aliases there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    /// They, each of them once.
    pub all: Vec<Alias>,
    /// Who has what comes for nobody at the office's domains.
    pub catch_all: Option<Mailbox>,
}

/// An alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its address, at a domain of ours.
    pub address: Mailbox,
    /// Where what comes for it goes.
    pub members: Vec<Mailbox>,
}

/// Where a member leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To an address at a domain of ours.
    Here(Local),
    /// To an address elsewhere.
    Outside(Mailbox),
}

/// Who has what comes for an address: each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached<'a> {
    /// Users.
    pub users: Vec<&'a str>,
    /// Addresses elsewhere.
    pub outside: Vec<&'a Mailbox>,
    /// Whether the mail is for the owners in their role: then it is enough that one of them has it.
    pub is_of_owners: bool,
}

impl Reached<'_> {
    /// Whether that is nobody.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.outside.is_empty()
    }
}

/// A step on the way from an address to who has its mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The steps that lead here.
    pub depth: usize,
    /// The address that is looked at, or the name of a user.
    pub address: String,
    /// What it is.
    pub what: What,
}

/// What an address on the way is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A user, who has it.
    User,
    /// An address elsewhere, which has it.
    Outside,
    /// An alias.
    Alias,
    /// An address that each domain has, whose mail the owners have.
    Owners,
    /// An address that nobody has, whose mail goes where all of that goes.
    CatchAll,
    /// An address that nobody has.
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

/// What a configuration may not say of aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The alias, by its place in the list; `None`: the catch-all.
    pub alias: Option<usize>,
    /// The member, by its place in the list of the alias; 0 if it is about the alias.
    pub member: usize,
    /// What is wrong.
    pub what: FaultKind,
}

/// What is wrong with an alias, or with one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The alias is at a domain that is not ours.
    Foreign,
    /// The alias is there already, at this place in the list.
    Twice(usize),
    /// Nobody has what comes for this member.
    Nobody,
    /// The member is the alias, and without the alias nobody has its mail.
    NobodyKeeps,
    /// This member leads back to the alias, by these.
    Loop(Vec<String>),
    /// There are more than [`DEPTH_MAX`] aliases behind this member.
    TooDeep,
    /// The alias leads to more than [`EXPANSION_MAX`].
    TooMany,
}

/// A walk from an address to who has its mail.
pub(super) struct Walk<'a> {
    directory: &'a Directory,
    /// Those that are being walked, from the first on.
    open: Vec<Local>,
    /// Those that were walked to their end.
    done: BTreeSet<Local>,
    seen: BTreeSet<String>,
    pub reached: Reached<'a>,
    pub steps: Vec<Step>,
}

impl<'a> Walk<'a> {
    pub fn new(directory: &'a Directory) -> Self {
        Self {
            directory,
            open: Vec::new(),
            done: BTreeSet::new(),
            seen: BTreeSet::new(),
            reached: Reached::default(),
            steps: Vec::new(),
        }
    }

    /// From `address`, which nobody has, to where all of that goes.
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

    /// To `address`, which is at a domain of ours.
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

    /// Tells of who has it; whether that is somebody new.
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
    /// What of `aliases`, from which it was made, is wrong. Each mistake is told once, at the alias or member to be
    /// mended.
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
            // One loop is told by that of its aliases that stands first.
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

    /// What is wrong with the alias `address`, whose place in the list is `place`.
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
