//! Finding the labs that run, from another terminal.
//!
//! A lab records itself nowhere, so that nothing can be left behind: its processes are looked for in `/proc`, by
//! the hidden subcommands that they were started with. Only processes of the same user count.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::{gateway, internet, member};
use crate::error::Error;

/// A lab that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningLab {
    /// The process of `gatepost lab`.
    pub pid: u32,
    /// The process of its gateway.
    gateway: u32,
    /// The names and processes of its hosts, by name.
    hosts: Vec<(String, u32)>,
}

/// Why a lab, or a host of it, is not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchError {
    /// No lab of this user runs.
    NoLab,
    /// No lab of this user has the process id that was given.
    NoSuchLab,
    /// Several labs run, with these process ids, and none was chosen.
    Several(Vec<u32>),
    /// The lab has no host of the first name, but hosts of the others.
    NoSuchHost(String, Vec<String>),
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        let what = "cannot find the lab";
        match error {
            SearchError::NoLab => {
                let remedy = "start one with `gatepost lab` in another terminal, as the same user";
                Self::failed(what, "none of yours runs", remedy)
            }
            SearchError::NoSuchLab => {
                Self::failed(what, "no lab of yours has this process id", "leave `--pid` away")
            }
            SearchError::Several(pids) => {
                let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
                let why = format!("several run, with process ids {}", pids.join(", "));
                Self::failed(what, why, "say which one with `--pid`")
            }
            SearchError::NoSuchHost(name, hosts) => {
                Self::usage(format!("the lab has no host {name:?}; it has {}", hosts.join(", ")))
            }
        }
    }
}

impl RunningLab {
    /// The lab with process `pid`, or else the only one that runs.
    ///
    /// # Errors
    ///
    /// There is none, or `pid` was not given and there are several.
    pub fn find(pid: Option<u32>) -> Result<Self, SearchError> {
        let mut labs = labs(Path::new("/proc"), Uid::effective().as_raw());
        labs.retain(|lab| pid.is_none_or(|pid| lab.pid == pid));
        match (labs.pop(), &labs[..]) {
            (Some(lab), []) => Ok(lab),
            (Some(last), others) => {
                Err(SearchError::Several(others.iter().chain([&last]).map(|lab| lab.pid).collect()))
            }
            (None, _) if pid.is_some() => Err(SearchError::NoSuchLab),
            (None, _) => Err(SearchError::NoLab),
        }
    }

    /// The process of the host `name`.
    ///
    /// # Errors
    ///
    /// The lab has no such host.
    pub fn host(&self, name: &str) -> Result<u32, SearchError> {
        let host = self.hosts.iter().find(|(host, _)| host == name);
        host.map(|(_, pid)| *pid).ok_or_else(|| {
            let hosts = self.hosts.iter().map(|(name, _)| name.clone()).collect();
            SearchError::NoSuchHost(name.to_owned(), hosts)
        })
    }

    /// Whether there is an internet behind the gateway.
    pub fn has_internet(&self) -> bool {
        self.host(internet::NAME).is_ok()
    }

    /// Where the control socket of its gateway is to be found from outside of the lab.
    pub fn control_socket(&self) -> PathBuf {
        let inside = Path::new(gateway::CONTROL_SOCKET);
        let root = PathBuf::from(format!("/proc/{}/root", self.gateway));
        inside.strip_prefix("/").map_or_else(|_| root.clone(), |path| root.join(path))
    }
}

/// The labs of the user `uid` among the processes in `proc`, by process id.
fn labs(proc: &Path, uid: u32) -> Vec<RunningLab> {
    let mut labs = Vec::new();
    let mut hosts = Vec::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(command) = fs::read_to_string(entry.path().join("cmdline")) else { continue };
        let arguments: Vec<_> = command.split('\0').collect();
        let [_, subcommand, rest @ ..] = &arguments[..] else { continue };
        if ![gateway::SUBCOMMAND, member::SUBCOMMAND].contains(subcommand) {
            continue;
        }
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status_field(&status, "Uid:", 1) != Some(uid) {
            continue;
        }
        match (*subcommand, rest) {
            (gateway::SUBCOMMAND, [_config, lab, ..]) => {
                if let Ok(lab) = lab.parse() {
                    labs.push(RunningLab { pid: lab, gateway: pid, hosts: Vec::new() });
                }
            }
            (member::SUBCOMMAND, [name, ..]) => {
                if let Some(lab) = status_field(&status, "PPid:", 0) {
                    hosts.push((lab, (*name).to_owned(), pid));
                }
            }
            _ => {}
        }
    }
    labs.sort_unstable_by_key(|lab| lab.pid);
    hosts.sort_unstable();
    for lab in &mut labs {
        let own = hosts.iter().filter(|(of, ..)| *of == lab.pid);
        lab.hosts = own.map(|(_, name, pid)| (name.clone(), *pid)).collect();
    }
    labs
}

/// A number of `/proc/PID/status`: the `nth` behind `label`. (proc_pid_status(5))
fn status_field(status: &str, label: &str, nth: usize) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().nth(nth)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for `/proc`, removed when dropped.
    struct Proc(PathBuf);

    impl Proc {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatepost-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("there is room");
            Self(path)
        }

        fn process(&self, pid: u32, parent: u32, uid: u32, arguments: &[&str]) {
            let directory = self.0.join(pid.to_string());
            fs::create_dir_all(&directory).expect("there is room");
            let command: String = arguments.iter().map(|argument| format!("{argument}\0")).collect();
            fs::write(directory.join("cmdline"), command).expect("there is room");
            let status = format!("Name:\tgatepost\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
            fs::write(directory.join("status"), status).expect("there is room");
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_lab_is_found_with_its_hosts_and_no_other_users() {
        let proc = Proc::new("labs");
        let start = |pid: u32, uid| {
            let lab = pid.to_string();
            proc.process(pid, 1, uid, &["gatepost", "lab"]);
            proc.process(pid + 1, pid, uid, &["/proc/self/exe", "lab-host", "pc1", "\"Pc\""]);
            proc.process(pid + 2, pid, uid, &["/proc/self/exe", "lab-gateway", "FILE", &lab]);
        };
        start(10, 1000);
        start(20, 0);
        start(30, 1000);
        proc.process(40, 1, 1000, &["lab-gateway"]);
        proc.process(41, 1, 1000, &["sh", "lab-gateway", "FILE", "no number"]);
        proc.process(42, 7, 1000, &["/proc/self/exe", "lab-host", "pc9", "\"Pc\""]);
        let lab = |pid| RunningLab { pid, gateway: pid + 2, hosts: vec![("pc1".to_owned(), pid + 1)] };
        assert_eq!(labs(&proc.0, 1000), [lab(10), lab(30)]);
        assert_eq!(labs(&proc.0, 0), [lab(20)]);
        assert_eq!(labs(&proc.0, 7), []);
        assert_eq!(labs(Path::new("/nonexistent"), 0), []);
    }

    #[test]
    fn a_host_that_is_not_there_is_an_error_that_names_those_that_are() {
        let hosts = vec![("pc1".to_owned(), 11), ("pc2".to_owned(), 12)];
        let lab = RunningLab { pid: 10, gateway: 13, hosts };
        assert_eq!(lab.host("pc2"), Ok(12));
        let message = Error::from(lab.host("pc3").expect_err("there is none")).to_string();
        assert!(message.contains("pc1, pc2"), "{message}");
        assert!(!lab.has_internet());
        assert_eq!(lab.control_socket(), Path::new("/proc/13/root/run/gatepost-lab/control.sock"));
    }
}
