//! The namespaces of the lab, which end with its processes.
//!
//! The lab has a mount namespace of its own with a fresh `/run`: the names of its network namespaces,
//! the gateway's state and sockets are all there, and are gone with the last process. As an ordinary
//! user it first enters a user namespace in which it is root.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{AccessFlags, Gid, Uid, access, sethostname};

use crate::error::Error;

/// Where `ip netns` keeps the names of network namespaces.
const NETNS_DIR: &str = "/run/netns";
/// Where a host keeps what others have in `/etc/resolv.conf`.
pub const RESOLV_CONF: &str = "/run/resolv.conf";
/// Where the kernel makes TAP devices.
const TUN_DEVICE: &str = "/dev/net/tun";

/// Why there are no namespaces for the lab.
#[derive(Debug)]
pub enum SandboxError {
    /// `/dev/net/tun` cannot be used.
    TunDevice(Errno),
    /// The user may make no user namespace.
    UserNamespace(Errno),
    /// This cannot be done, for which root may be needed.
    Step(&'static str, io::Error),
}

impl From<SandboxError> for Error {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::TunDevice(errno) => {
                let remedy = match errno {
                    Errno::ENOENT => "load the kernel module with `modprobe tun`".to_owned(),
                    _ => format!("run the lab as root, or open the device with `chmod 666 {TUN_DEVICE}`"),
                };
                Self::failed(format!("cannot open {TUN_DEVICE}"), errno.desc(), remedy)
            }
            SandboxError::UserNamespace(errno) => Self::failed(
                "cannot enter a user namespace",
                errno.desc(),
                "run the lab as root (`sudo gatepost lab`), or allow user namespaces to ordinary users",
            ),
            SandboxError::Step(step, error) => Self::failed(
                format!("cannot {step}"),
                error,
                "run the lab as root on a Linux that has namespaces",
            ),
        }
    }
}

/// Brings this process into the lab's namespaces. It must still have one thread only.
///
/// # Errors
///
/// The system forbids user namespaces or mounts, or keeps `/dev/net/tun` from this user.
pub fn enter() -> Result<(), SandboxError> {
    check_tun_device()?;
    if !Uid::effective().is_root() {
        enter_user_namespace()?;
    }
    enter_mount_namespace()?;
    fs::create_dir_all(NETNS_DIR).map_err(|e| broken("make /run/netns", e))
}

/// Brings this process into namespaces of its own as the host `name`, with an own `/etc/resolv.conf`.
///
/// # Errors
///
/// The system forbids it.
pub fn become_host(name: &str) -> Result<(), SandboxError> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS)
        .map_err(|e| broken("make a network namespace", e))?;
    sethostname(name).map_err(|e| broken("set the host's name", e))?;
    enter_mount_namespace()?;
    own_resolv_conf().map_err(|e| broken("give the host its own /etc/resolv.conf", e))
}

/// Gives the network namespace of process `pid` a name, as `ip netns attach` would.
///
/// # Errors
///
/// The process is gone, or the system forbids the mount.
pub fn name_network_namespace(name: &str, pid: u32) -> Result<(), SandboxError> {
    let path = Path::new(NETNS_DIR).join(name);
    fs::write(&path, "").map_err(|e| broken("name a network namespace", e))?;
    let namespace = format!("/proc/{pid}/ns/net");
    bind(Path::new(&namespace), &path).map_err(|e| broken("name a network namespace", e))
}

fn check_tun_device() -> Result<(), SandboxError> {
    access(TUN_DEVICE, AccessFlags::R_OK | AccessFlags::W_OK).map_err(SandboxError::TunDevice)
}

/// Makes this user root of a new user namespace; needs no privilege where the system allows it.
fn enter_user_namespace() -> Result<(), SandboxError> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(SandboxError::UserNamespace)?;
    let map = |file: &str, line: String| {
        fs::write(format!("/proc/self/{file}"), line).map_err(|error| {
            SandboxError::UserNamespace(error.raw_os_error().map_or(Errno::EPERM, Errno::from_raw))
        })
    };
    // user_namespaces(7): setgroups must be denied before an ordinary user may map a group.
    map("setgroups", "deny".to_owned())?;
    map("uid_map", format!("0 {uid} 1"))?;
    map("gid_map", format!("0 {gid} 1"))
}

fn enter_mount_namespace() -> Result<(), SandboxError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| broken("make a mount namespace", e))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .and_then(|()| mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=0755")))
        .map_err(|e| broken("mount a fresh /run", e))
}

/// Puts [`RESOLV_CONF`] in place of `/etc/resolv.conf`, which on many systems is a link into `/run`. Where
/// there is none, the shells on the hosts have to do without.
fn own_resolv_conf() -> io::Result<()> {
    let system = Path::new("/etc/resolv.conf");
    fs::write(RESOLV_CONF, "")?;
    if let Ok(target) = fs::read_link(system) {
        let target = Path::new("/etc").join(target);
        if let Some(directory) = target.parent() {
            fs::create_dir_all(directory)?;
        }
        if !target.exists() {
            fs::write(target, "")?;
        }
    }
    match bind(Path::new(RESOLV_CONF), system) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

fn broken(step: &'static str, why: impl Into<io::Error>) -> SandboxError {
    SandboxError::Step(step, why.into())
}
