//! A scenario's own parts: machines, servers of the internet, checkers, and actions on them.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use gatepost::config::Config;
use gatepost_ground::Instant;

use crate::checkers::Checker;
use crate::machine::Machine;
use crate::machine::identity::Identity;
use crate::machine::internet::Site;
use crate::machine::internet::server::Server;
use crate::mistake::Line;

/// The most machines that a scenario adds, and the most servers.
pub const OWN_MAX: usize = 32;

type MakeMachine = Box<dyn Fn(&Identity) -> Rc<RefCell<dyn Machine>>>;
type MakeChecker = Box<dyn Fn(&Config) -> Box<dyn Checker>>;
type Run = Rc<dyn Fn(&mut dyn Any, Instant)>;

/// A machine of the scenario's own.
pub(super) struct OwnMachine {
    pub(super) name: String,
    pub(super) port: String,
    pub(super) make: MakeMachine,
    pub(super) line: Line,
}

/// A server of the scenario's own.
pub(super) struct OwnServer {
    pub(super) name: String,
    pub(super) site: Site,
    pub(super) make: Box<dyn Fn(u64) -> Box<dyn Server>>,
    pub(super) line: Line,
}

/// A checker of the scenario's own.
pub(super) struct OwnChecker {
    pub(super) make: MakeChecker,
    pub(super) line: Line,
}

/// A scenario's action on a machine or a server at a time.
#[derive(Clone)]
pub struct Act {
    /// The machine or server.
    pub(super) name: String,
    what: String,
    kind: &'static str,
    is_kind: fn(&dyn Any) -> bool,
    run: Run,
}

impl Act {
    /// Calls `run` with the machine or server called `name`, which is a `T`.
    pub(super) fn new<T: Any>(name: &str, what: &str, run: impl Fn(&mut T, Instant) + 'static) -> Self {
        let run = move |machine: &mut dyn Any, now: Instant| {
            run(machine.downcast_mut().expect("checked when the world was built"), now);
        };
        Self {
            name: name.to_owned(),
            what: what.to_owned(),
            kind: type_name::<T>(),
            is_kind: |machine| machine.is::<T>(),
            run: Rc::new(run),
        }
    }

    /// The error if the machine or server is `found`.
    pub(super) fn mistake(&self, found: Option<&dyn Any>) -> Option<String> {
        let Self { name, kind, .. } = self;
        match found {
            None => Some(format!("there is no machine or server {name:?}; write machine() or server()")),
            Some(found) if (self.is_kind)(found) => None,
            Some(_) => Some(format!("{name:?} is no {kind}; write its own type in act()")),
        }
    }

    /// Does it.
    pub(super) fn run(&self, machine: &mut dyn Any, now: Instant) {
        (self.run)(machine, now);
    }
}

impl PartialEq for Act {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.what == other.what && Rc::ptr_eq(&self.run, &other.run)
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Act({self})")
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.what)
    }
}

#[cfg(test)]
mod tests;
