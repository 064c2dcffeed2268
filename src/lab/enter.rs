//! Going into a host of a running lab, as nsenter(1) does.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::error::Error;

/// The namespaces of a host, in the order of entering: the user namespace first, which brings the right to enter
/// the others.
const NAMESPACES: [(&str, CloneFlags); 4] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("net", CloneFlags::CLONE_NEWNET),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Why nothing can be run on a host.
#[derive(Debug)]
pub enum EnterError {
    /// Its namespaces cannot be entered.
    Namespaces(io::Error),
    /// This program cannot be run there.
    Program(OsString, io::Error),
}

impl From<EnterError> for Error {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Namespaces(why) => {
                Self::failed("cannot enter the lab's host", why, "run this as the user who started the lab")
            }
            EnterError::Program(program, why) => {
                let what = format!("cannot run {}", program.display());
                Self::failed(what, why, "install it, or name another program")
            }
        }
    }
}

/// Brings this process into the namespaces of process `pid`. It must have one thread.
///
/// # Errors
///
/// The process is gone, or belongs to another user.
pub fn enter(pid: u32) -> Result<(), EnterError> {
    enter_namespaces(pid).map_err(EnterError::Namespaces)
}

/// Runs `command` in the namespaces of process `pid`, in place of this program; without a command, the user's shell.
/// It returns only if that fails.
///
/// # Errors
///
/// As [`enter`], or there is no such program.
pub fn run_in(pid: u32, command: &[OsString]) -> EnterError {
    // The mount namespace begins at its root.
    let directory = env::current_dir();
    if let Err(error) = enter(pid) {
        return error;
    }
    if let Ok(directory) = directory {
        // A directory below /run is not there.
        _ = env::set_current_dir(directory);
    }
    let shell = [env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    let [program, arguments @ ..] = (if command.is_empty() { &shell[..] } else { command }) else {
        unreachable!("there is a command or the shell");
    };
    let why = Command::new(program).args(arguments).exec();
    EnterError::Program(program.clone(), why)
}

fn enter_namespaces(pid: u32) -> io::Result<()> {
    let mut namespaces = Vec::new();
    for (name, kind) in NAMESPACES {
        let (theirs, own) = (format!("/proc/{pid}/ns/{name}"), format!("/proc/self/ns/{name}"));
        // To enter one's own user namespace again is an error. // setns(2)
        if fs::metadata(&theirs)?.ino() != fs::metadata(own)?.ino() {
            namespaces.push((File::open(theirs)?, kind));
        }
    }
    for (namespace, kind) in namespaces {
        setns(namespace, kind)?;
    }
    Ok(())
}
