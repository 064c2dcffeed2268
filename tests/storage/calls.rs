//! The system calls of a process that uses a directory, as strace(1) records them.
//!
//! The traced process is this test binary: its test `traced` reads its script from standard input. It accesses files
//! that do not exist before and after each operation ([`MARK`]), so that the record shows which calls belong to which
//! operation.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatepost_services::store::{Files, replace_beside};
use serde::{Deserialize, Serialize};

use crate::operation::Operation;

/// The directory of the files that are asked for, which does not exist.
const MARK: &str = "/gatepost-mark";
/// The environment variable by which this test binary knows that it is to be traced.
const IS_TRACED: &str = "GATEPOST_IS_TRACED";
/// The most octets of a string that are recorded.
const STRING_OCTETS_MAX: &str = "65536";
/// Calls that change nothing durable, whatever they are about.
const HARMLESS: [&str; 28] = [
    "access",
    "chdir",
    "close_range",
    "dup",
    "dup2",
    "epoll_ctl",
    "execve",
    "fcntl",
    "flock",
    "fstat",
    "fstatfs",
    "fstatvfs",
    "getcwd",
    "getdents64",
    "ioctl",
    "lseek",
    "mmap",
    "newfstatat",
    "poll",
    "ppoll",
    "pread64",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "stat",
    "statfs",
    "statx",
];

/// What a traced process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Script {
    /// Does that with the directory `.0`, which the first operation takes.
    Files(PathBuf, Vec<Operation>),
    /// Replaces the file `.1` in the directory `.0` beside a gateway that runs; `.2` is the new content.
    Beside(PathBuf, String, String),
}

/// What a process did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation begins.
    Begin,
    /// It is over; whether it succeeded.
    End(bool),
    /// A system call that succeeded.
    Call(Call),
}

/// A system call that can change what is durable, or says which file a descriptor is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Mkdir {
        path: PathBuf,
    },
    Open {
        path: PathBuf,
        fd: i32,
        creates: bool,
        truncates: bool,
        appends: bool,
    },
    Write {
        fd: i32,
        octets: Vec<u8>,
        offset: Option<usize>,
    },
    Truncate {
        fd: i32,
        len: usize,
    },
    /// fsync(2) or fdatasync(2).
    Sync {
        fd: i32,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    Close {
        fd: i32,
    },
}

/// Has a process of its own carry out `script`, and records its calls below `root`.
pub fn record(root: &Path, script: &Script) -> Vec<Event> {
    let (out, program) = (root.with_extension("calls"), std::env::current_exe().expect("this program"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-xx", "-s", STRING_OCTETS_MAX, "-e", "trace=%file,%desc,sync"]);
    strace.args(["-e", "signal=none", "-o"]).arg(&out).arg("--").arg(program);
    strace.args(["traced", "--exact", "--test-threads=1"]).env(IS_TRACED, "");
    let mut child = strace
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("strace is among the packages of `./dev setup`");
    let script = serde_json::to_vec(script).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&script).expect("it reads");
    assert!(child.wait().expect("its end").success(), "the traced process has failed");
    let text = fs::read_to_string(&out).expect("the record");
    fs::remove_file(&out).expect("the record");
    // What the test harness does before and after is its own.
    let mark: String = MARK.bytes().map(|octet| format!("\\x{octet:02x}")).collect();
    let lines: Vec<_> = text.lines().collect();
    let is_mark = |line: &&str| line.contains(&mark);
    let first = lines.iter().position(is_mark).expect("a mark");
    let last = lines.iter().rposition(is_mark).expect("a mark");
    lines[first..=last].iter().filter_map(|line| parse(line, root)).collect()
}

/// Carries out what standard input says, in the traced process. In any other there is nothing to do.
pub fn carry_out() {
    if env::var_os(IS_TRACED).is_none() {
        return;
    }
    let script = serde_json::from_reader(std::io::stdin()).expect("a script");
    match script {
        Script::Files(directory, operations) => {
            let open = || Files::open(&directory);
            let mut files = None;
            for operation in operations {
                if operation == Operation::Restart {
                    files = None;
                }
                let done = marked(|| match &files {
                    Some(files) => operation.carry_out(files).map(|()| None),
                    None => open().map(Some).map_err(std::io::Error::other),
                });
                files = files.or(done.ok().flatten());
            }
        }
        Script::Beside(directory, name, content) => {
            _ = marked(|| replace_beside(&directory, &name, content.as_bytes()));
        }
    }
}

/// Does it between two marks, of which the second says whether it succeeded.
fn marked<T, E>(operation: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let mark = |what: &str| _ = Path::new(MARK).join(what).symlink_metadata();
    mark("begin");
    let done = operation();
    mark(if done.is_ok() { "ok" } else { "error" });
    done
}

/// What a line of the record says: `PID NAME(ARGUMENTS) = RESULT`, with all strings in hexadecimal digits.
fn parse(line: &str, root: &Path) -> Option<Event> {
    let (_, call) = line.split_once(' ')?;
    let call = call.trim_start();
    let parts = call.split_once('(').and_then(|(name, rest)| Some((name, rest.rsplit_once(" = ")?)));
    let (name, (arguments, result)) = parts.unwrap_or_else(|| panic!("not a whole call: {line}"));
    let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
    let arguments: Vec<_> = arguments.split(", ").collect();
    let strings: Vec<_> = arguments.iter().filter_map(|argument| string(argument)).collect();
    let path = |at: usize| PathBuf::from(String::from_utf8_lossy(&strings[at]).into_owned());
    if let Some(mark) = strings.first().and_then(|_| path(0).strip_prefix(MARK).ok().map(Path::to_owned)) {
        let is_begin = mark == Path::new("begin");
        return Some(if is_begin { Event::Begin } else { Event::End(mark == Path::new("ok")) });
    }
    let result: i32 = result.split(' ').next()?.parse().ok().filter(|result| *result >= 0)?;
    let is_inside = |at: usize| strings.len() > at && path(at).starts_with(root);
    let number = |at: usize| arguments.get(at).and_then(|argument| argument.parse().ok());
    // Descriptors of other files are sorted out by whoever knows which were opened.
    let fd = number(0).and_then(|number: usize| i32::try_from(number).ok());
    let call = match (name, fd) {
        ("mkdir" | "mkdirat", _) if is_inside(0) => Call::Mkdir { path: path(0) },
        ("open" | "openat", _) if is_inside(0) => {
            let has =
                |flag: &str| arguments.iter().any(|argument| argument.split('|').any(|one| one == flag));
            let (creates, truncates, appends) = (has("O_CREAT"), has("O_TRUNC"), has("O_APPEND"));
            Call::Open { path: path(0), fd: result, creates, truncates, appends }
        }
        ("rename" | "renameat" | "renameat2", _) if is_inside(0) => {
            Call::Rename { from: path(0), to: path(1) }
        }
        ("unlink" | "unlinkat", _) if is_inside(0) => Call::Unlink { path: path(0) },
        ("write", Some(fd)) => {
            let octets = strings[0][..usize::try_from(result).ok()?].to_vec();
            Call::Write { fd, octets, offset: None }
        }
        ("pwrite64", Some(fd)) => {
            let octets = strings[0][..usize::try_from(result).ok()?].to_vec();
            Call::Write { fd, octets, offset: number(3) }
        }
        ("ftruncate", Some(fd)) => Call::Truncate { fd, len: number(1)? },
        ("fsync" | "fdatasync", Some(fd)) => Call::Sync { fd },
        ("close", Some(fd)) => Call::Close { fd },
        (name, _) if HARMLESS.contains(&name) || (fd.is_none() && !is_inside(0) && name != "sync") => {
            return None;
        }
        _ => panic!("a system call that this test does not know: {line}"),
    };
    Some(Event::Call(call))
}

/// The octets of an argument that is a string.
fn string(argument: &str) -> Option<Vec<u8>> {
    // What others read can be longer than what is recorded of it.
    let digits = argument.strip_prefix('"')?.split('"').next()?;
    let octets =
        digits.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).expect("hexadecimal"));
    Some(octets.collect())
}
