//! The namespaces the lab lives in, so that nothing of it outlives its processes.
//!
//! The lab has a mount namespace of its own with a fresh `/run`: the names of its network namespaces,
//! the gateway's state and sockets are all there, and are gone with the last process. As an ordinary
//! user it first enters a user namespace in which it is root.

use std::fs;
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

/// Brings this process into the lab's namespaces. It must still have one thread only.
///
/// # Errors
///
/// The system forbids user namespaces or mounts, or keeps `/dev/net/tun` from this user.
pub fn enter() -> Result<(), Error> {
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
pub fn become_host(name: &str) -> Result<(), Error> {
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
pub fn name_network_namespace(name: &str, pid: u32) -> Result<(), Error> {
    let path = Path::new(NETNS_DIR).join(name);
    fs::write(&path, "").map_err(|e| broken("name a network namespace", e))?;
    let namespace = format!("/proc/{pid}/ns/net");
    bind(Path::new(&namespace), &path).map_err(|e| broken("name a network namespace", e))
}

fn check_tun_device() -> Result<(), Error> {
    access(TUN_DEVICE, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|errno| {
        let remedy = match errno {
            Errno::ENOENT => "load the kernel module with `modprobe tun`".to_owned(),
            _ => format!("run the lab as root, or open the device with `chmod 666 {TUN_DEVICE}`"),
        };
        Error::failed(format!("cannot open {TUN_DEVICE}"), errno.desc(), remedy)
    })
}

/// Makes this user root of a new user namespace; needs no privilege where the system allows it.
fn enter_user_namespace() -> Result<(), Error> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let forbidden = |errno: Errno| {
        Error::failed(
            "cannot enter a user namespace",
            errno.desc(),
            "run the lab as root (`sudo gatepost lab`), or allow user namespaces to ordinary users",
        )
    };
    unshare(CloneFlags::CLONE_NEWUSER).map_err(forbidden)?;
    let map = |file: &str, line: String| {
        fs::write(format!("/proc/self/{file}"), line)
            .map_err(|e| forbidden(e.raw_os_error().map_or(Errno::EPERM, Errno::from_raw)))
    };
    // user_namespaces(7): setgroups must be denied before an ordinary user may map a group.
    map("setgroups", "deny".to_owned())?;
    map("uid_map", format!("0 {uid} 1"))?;
    map("gid_map", format!("0 {gid} 1"))
}

fn enter_mount_namespace() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| broken("make a mount namespace", e))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .and_then(|()| mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=0755")))
        .map_err(|e| broken("mount a fresh /run", e))
}

/// Puts [`RESOLV_CONF`] in place of `/etc/resolv.conf`, which on many systems is a link into `/run`. Where
/// there is none, the shells on the hosts have to do without.
fn own_resolv_conf() -> std::io::Result<()> {
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

fn broken(what: &str, why: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot {what}"), why, "run the lab as root on a Linux that has namespaces")
}
