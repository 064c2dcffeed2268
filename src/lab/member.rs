//! A host of the lab, from the lab's view: a process of this program in namespaces of its own.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::protocol::{Request, Response, Role};
use super::sandbox::{self, SandboxError};
use crate::error::Error;

/// The hidden subcommand that makes this program a host of the lab.
pub const SUBCOMMAND: &str = "lab-host";

/// Why the host of this name does not start.
#[derive(Debug)]
pub enum StartError {
    /// Its process cannot be started.
    Process(String, io::Error),
    /// It said this instead of being ready.
    NotReady(String, Response),
    /// Its network namespace gets no name.
    Unnamed(SandboxError),
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        let failed = |name: &str, why: &dyn fmt::Display| {
            Self::failed(format!("cannot start the lab's host {name}"), why, "see what it said above")
        };
        match error {
            StartError::Process(name, why) => failed(&name, &why),
            StartError::NotReady(name, said) => failed(&name, &said),
            StartError::Unnamed(error) => error.into(),
        }
    }
}

/// A running host. It ends when this is dropped.
#[derive(Debug)]
pub struct Member {
    name: String,
    process: Child,
    requests: ChildStdin,
    responses: BufReader<ChildStdout>,
}

impl Member {
    /// Starts the host `name` and gives its network namespace that name.
    ///
    /// # Errors
    ///
    /// The process cannot be started, or it cannot make its namespaces.
    pub fn start(name: &str, role: &Role) -> Result<Self, StartError> {
        let lost = |why: io::Error| StartError::Process(name.to_owned(), why);
        let role = serde_json::to_string(role).map_err(|error| lost(error.into()))?;
        let mut process = Command::new("/proc/self/exe")
            .args([SUBCOMMAND, name, &role])
            // Ctrl-C is for the lab alone, which then ends the others in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(lost)?;
        let (Some(requests), Some(responses)) = (process.stdin.take(), process.stdout.take()) else {
            unreachable!("both streams are piped");
        };
        let mut member =
            Self { name: name.to_owned(), process, requests, responses: BufReader::new(responses) };
        match member.response() {
            Response::Ready => {}
            other => return Err(StartError::NotReady(name.to_owned(), other)),
        }
        sandbox::name_network_namespace(name, member.pid()).map_err(StartError::Unnamed)?;
        Ok(member)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process, whose namespaces are the host's.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Has it do something and waits for what came of it.
    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(request);
        self.response()
    }

    /// Has it do something; [`Member::response`] then waits for what came of it.
    pub fn send(&mut self, request: &Request) {
        if let Ok(mut line) = serde_json::to_string(request) {
            line.push('\n');
            // A host that is gone shows in its missing response.
            _ = self.requests.write_all(line.as_bytes());
        }
    }

    /// The descriptor that is readable when a response is there.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.responses.get_ref().as_fd()
    }

    /// Waits for what came of the last request.
    pub fn response(&mut self) -> Response {
        let mut line = String::new();
        match self.responses.read_line(&mut line) {
            Ok(0) => Response::Failed("the host is gone".to_owned()),
            Ok(_) => serde_json::from_str(&line).unwrap_or_else(|e| Response::Failed(e.to_string())),
            Err(e) => Response::Failed(e.to_string()),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Whatever it does at the moment. Both fail, rightly, where it has ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// The host's end of the streams.
///
/// # Errors
///
/// The lab is gone.
pub fn respond(response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_string(response)?;
    line.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}
