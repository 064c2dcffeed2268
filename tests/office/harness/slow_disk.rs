//! A disk whose syncs the test controls: a file system of the test's own (FUSE), with one directory in memory.
//!
//! It implements the part of the kernel's protocol (`linux/fuse.h`, version 7.31) that a state directory needs. A sync
//! of a file waits at a gate; until the gate is open, the disk does nothing else either.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// More than a request with the longest write has.
const REQUEST_LEN_MAX: usize = 1 << 20;
const WRITE_LEN_MAX: u32 = 128 << 10;
const HEADER_LEN: usize = 40;
const ROOT: u64 = 1;
/// `S_IFDIR` and `S_IFREG`, for the owner only.
const DIRECTORY_MODE: u32 = 0o40_700;
const FILE_MODE: u32 = 0o100_600;
/// `FATTR_SIZE`: a request sets the length.
const SETS_SIZE: u32 = 1 << 3;

/// The mounted disk, unmounted on drop.
pub struct SlowDisk {
    path: PathBuf,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    is_closed: bool,
    /// How many syncs have come to the closed gate.
    waiting: usize,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) {
        let mut state = self.state();
        state.waiting += usize::from(state.is_closed);
        while state.is_closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl SlowDisk {
    /// Mounts one at the directory `path`. Its gate is open.
    pub fn mount(path: &Path) -> Self {
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("the kernel has FUSE");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("gatepost-test"), path, Some("fuse"), flags, Some(options.as_str()))
            .expect("it is mounted");
        let gate = Arc::<Gate>::default();
        let passed = Arc::clone(&gate);
        thread::spawn(move || Server { device, gate: passed, files: vec![], names: BTreeMap::new() }.serve());
        Self { path: path.to_owned(), gate }
    }

    /// Lets no sync end from now on.
    pub fn close_gate(&self) {
        let mut state = self.gate.state();
        (state.is_closed, state.waiting) = (true, 0);
    }

    /// Whether a sync waits at the closed gate.
    pub fn is_syncing(&self) -> bool {
        self.gate.state().waiting > 0
    }

    /// Lets all syncs end.
    pub fn open_gate(&self) {
        self.gate.state().is_closed = false;
        self.gate.changed.notify_all();
    }

    /// Whether a sync could have ended since the gate was closed.
    pub fn is_open(&self) -> bool {
        !self.gate.state().is_closed
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.open_gate();
        // Who still has a file open there keeps it, and its thread, until then.
        umount2(&self.path, MntFlags::MNT_DETACH).expect("it is mounted");
    }
}

/// Answers the kernel.
struct Server {
    device: File,
    gate: Arc<Gate>,
    /// The contents of the files; the first is node 2.
    files: Vec<Vec<u8>>,
    names: BTreeMap<Vec<u8>, u64>,
}

type Answer = Result<Vec<u8>, Errno>;

impl Server {
    fn serve(mut self) {
        let mut request = vec![0; REQUEST_LEN_MAX];
        // It ends with the last use of the mount.
        while let Ok(len) = self.device.read(&mut request) {
            let (header, body) = request[..len].split_at(HEADER_LEN);
            let (operation, unique, node) = (u32_at(header, 4), &header[8..16], u64_at(header, 16));
            let Some(answer) = self.answer(operation, node, body) else { continue };
            let error = answer.as_ref().err().map_or(0, |errno| -(*errno as i32));
            let answer = answer.unwrap_or_default();
            let answer_len = u32::try_from(16 + answer.len()).expect("a short answer");
            let whole = [&answer_len.to_ne_bytes()[..], &error.to_ne_bytes(), unique, &answer].concat();
            // Who was interrupted does not wait for it.
            _ = self.device.write(&whole);
        }
    }

    /// `None` if there is nothing to say.
    fn answer(&mut self, operation: u32, node: u64, body: &[u8]) -> Option<Answer> {
        Some(match operation {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            // INIT
            26 => Ok(init()),
            // LOOKUP
            1 => self.names.get(name_in(body)).copied().ok_or(Errno::ENOENT).map(|node| self.entry(node)),
            // GETATTR
            3 => Ok(self.attributes(node)),
            // SETATTR
            4 => {
                if u32_at(body, 0) & SETS_SIZE != 0 {
                    let size = usize::try_from(u64_at(body, 16)).expect("a short file");
                    self.file(node).resize(size, 0);
                }
                Ok(self.attributes(node))
            }
            // OPEN, OPENDIR
            14 | 27 => Ok(vec![0; 16]),
            // CREATE
            35 => {
                self.files.push(Vec::new());
                let node = ROOT + self.files.len() as u64;
                self.names.insert(name_in(&body[16..]).to_vec(), node);
                Ok([self.entry(node), vec![0; 16]].concat())
            }
            // READ
            15 => {
                let (offset, size) = (u64_at(body, 8) as usize, u32_at(body, 16) as usize);
                let content = self.file(node);
                let start = offset.min(content.len());
                Ok(content[start..content.len().min(start + size)].to_vec())
            }
            // WRITE
            16 => {
                let (offset, data) = (u64_at(body, 8) as usize, &body[40..]);
                let content = self.file(node);
                content.resize(content.len().max(offset + data.len()), 0);
                content[offset..offset + data.len()].copy_from_slice(data);
                Ok([u32::try_from(data.len()).expect("a short write"), 0].map(u32::to_ne_bytes).concat())
            }
            // RENAME, RENAME2
            12 => self.rename(&body[8..]),
            45 => self.rename(&body[16..]),
            // UNLINK
            10 => self.names.remove(name_in(body)).map(|_| Vec::new()).ok_or(Errno::ENOENT),
            // FSYNC
            20 => {
                self.gate.pass();
                Ok(Vec::new())
            }
            // RELEASE, FLUSH, READDIR, RELEASEDIR, FSYNCDIR
            18 | 25 | 28 | 29 | 30 => Ok(Vec::new()),
            _ => Err(Errno::ENOSYS),
        })
    }

    fn rename(&mut self, names: &[u8]) -> Answer {
        let from = name_in(names);
        let to = name_in(&names[from.len() + 1..]);
        let node = self.names.remove(from).ok_or(Errno::ENOENT)?;
        self.names.insert(to.to_vec(), node);
        Ok(Vec::new())
    }

    fn file(&mut self, node: u64) -> &mut Vec<u8> {
        let index = usize::try_from(node - ROOT - 1).expect("a file");
        &mut self.files[index]
    }

    /// `fuse_attr`
    fn attr(&mut self, node: u64) -> Vec<u8> {
        let (mode, size) = match node {
            ROOT => (DIRECTORY_MODE, 0),
            _ => (FILE_MODE, self.file(node).len() as u64),
        };
        let [ino, blocks, times] = [node, size.div_ceil(512), 0].map(u64::to_ne_bytes);
        let head = [ino, size.to_ne_bytes(), blocks, times, times, times].concat();
        // Nanoseconds, mode, links, owner, group, device, block size, flags.
        let rest = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat();
        [head, rest].concat()
    }

    /// `fuse_attr_out`; the kernel asks again each time.
    fn attributes(&mut self, node: u64) -> Vec<u8> {
        [vec![0; 16], self.attr(node)].concat()
    }

    /// `fuse_entry_out`
    fn entry(&mut self, node: u64) -> Vec<u8> {
        [node.to_ne_bytes().to_vec(), vec![0; 32], self.attr(node)].concat()
    }
}

/// `fuse_init_out`
fn init() -> Vec<u8> {
    // Major and minor version, read-ahead, flags, background requests, the longest write, time's granularity.
    let head = [7, 31, 0, 0, 0, WRITE_LEN_MAX, 1].map(u32::to_ne_bytes).concat();
    [head, vec![0; 36]].concat()
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(octets[at..at + 4].try_into().expect("four octets"))
}

fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(octets[at..at + 8].try_into().expect("eight octets"))
}

/// The octets up to the first zero.
fn name_in(octets: &[u8]) -> &[u8] {
    octets.split(|octet| *octet == 0).next().unwrap_or_default()
}
