//! A TAP device.
//!
//! Two drivers carry its frames: [`Driver::Offload`], where the kernel can leave checksums and segmentation
//! undone (`port/tap_offload`), and [`Driver::Plain`], which takes any kernel.
//!
//! Several workers have a queue each of a device with offloads. A plain one has one queue, and so has a persistent
//! one that was made for one: there the first worker reads, and all write, which is atomic for a frame.
//!
//! The device is created in the network namespace that its [`PortSpec`] names, by a thread that enters
//! the namespace and ends there, so that there is no way back that could fail. It is not persistent:
//! it ends with its last file descriptor, also when the process crashes. In the gateway's own namespace the
//! kernel's end is kept without any address; in a namespace that the configuration names it belongs to
//! whoever made the namespace, and nothing but its MTU and being up is set.
//!
//! An open device holds on to its network namespace, even after `ip netns del`. So that the namespace
//! can go, [`Tap::is_orphaned`] says when its name is no longer there.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use gatepost_dataplane::Offload;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use tracing::{debug, info, warn};
use tun_tap::{Iface, Mode};

use super::netdevice::NetDevice;
use super::tap_offload::Staging;
use super::{Abilities, Port, PortError, Received, tap_offload};
use crate::config::{Driver, PortSpec};
use crate::error::Error;

/// An open TAP device, as one worker has it. Dropping the last removes the device.
#[derive(Debug)]
pub struct Tap {
    queue: Arc<Queue>,
    /// Whether it is this one that reads, of several that share a queue.
    reads: bool,
    staging: Staging,
    namespace: Option<Namespace>,
}

/// What carries the frames.
#[derive(Debug)]
enum Queue {
    Plain(Iface),
    Offload(tap_offload::Queue),
}

impl Tap {
    /// Creates the device that `spec` names, up and with the given MTU in octets.
    ///
    /// # Errors
    ///
    /// As [`Tap::open_for`].
    pub fn open(spec: &PortSpec, mtu: u16) -> Result<Self, Error> {
        Ok(Self::open_for(1, spec, mtu)?.remove(0))
    }

    /// The same for several workers: one of it for each.
    ///
    /// # Errors
    ///
    /// One sentence with the remedy: the namespace is missing, the name is taken, /dev/net/tun is
    /// missing or closed to us.
    pub fn open_for(workers: u8, spec: &PortSpec, mtu: u16) -> Result<Vec<Self>, Error> {
        let failed = |failure: Failure| failure.explain(spec);
        let Some(name) = &spec.netns else {
            let queues = create(spec, mtu, workers, true).map_err(failed)?;
            return Ok(Self::share_out(workers, spec, queues, None));
        };
        let (namespace, file) = Namespace::open(name).map_err(|error| failed(Failure::Namespace(error)))?;
        let enter_and_create = || {
            setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| Failure::Namespace(errno.into()))?;
            create(spec, mtu, workers, false)
        };
        let queues = thread::scope(|scope| scope.spawn(enter_and_create).join())
            .expect("creating a TAP device does not panic")
            .map_err(failed)?;
        Ok(Self::share_out(workers, spec, queues, Some(&namespace)))
    }

    /// Gives each worker its queue, or a share in the first.
    fn share_out(
        workers: u8,
        spec: &PortSpec,
        queues: Vec<Queue>,
        namespace: Option<&Namespace>,
    ) -> Vec<Self> {
        let queues: Vec<_> = queues.into_iter().map(Arc::new).collect();
        if queues.len() < usize::from(workers) {
            info!("port {spec} has one queue, which dataplane-0 reads for all");
        }
        let share = |number: u8| {
            let own = queues.get(usize::from(number));
            let queue = Arc::clone(own.unwrap_or(&queues[0]));
            Self { queue, reads: own.is_some(), staging: Staging::new(), namespace: namespace.cloned() }
        };
        (0..workers).map(share).collect()
    }

    /// Whether frames are read from it.
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Whether the namespace the device was created in has lost its name, or the name now stands for
    /// another one.
    pub fn is_orphaned(&self) -> bool {
        self.namespace.as_ref().is_some_and(|namespace| !namespace.is_in_place())
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        match &*self.queue {
            Queue::Plain(iface) => iface.as_raw_fd(),
            Queue::Offload(queue) => queue.as_raw_fd(),
        }
    }
}

impl Port for Tap {
    fn abilities(&self) -> Abilities {
        match &*self.queue {
            Queue::Plain(_) => Abilities::NONE,
            Queue::Offload(queue) => queue.abilities(),
        }
    }

    fn receive(&mut self, buffer: &mut [u8], rest: &mut [u8]) -> Result<Received, PortError> {
        if !self.reads {
            return Err(PortError::WouldBlock);
        }
        loop {
            let received = match &*self.queue {
                Queue::Plain(iface) => iface.recv(buffer).map(|len| Received { len, offload: Offload::None }),
                Queue::Offload(queue) => queue.read(&mut self.staging, buffer, rest),
            };
            match received {
                Ok(received) => return Ok(received),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Err(PortError::WouldBlock),
                    io::ErrorKind::InvalidData => return Err(PortError::Refused(error)),
                    _ => return Err(PortError::Gone(error)),
                },
            }
        }
    }

    fn transmit(&mut self, frame: &[u8], offload: Offload) -> Result<(), PortError> {
        loop {
            let sent = match &*self.queue {
                Queue::Plain(iface) => iface.send(frame),
                Queue::Offload(queue) => queue.write(&mut self.staging, frame, offload),
            };
            let error = match sent {
                Ok(len) if len == frame.len() => return Ok(()),
                Ok(len) => {
                    let short = format!("{len} of {} octets written", frame.len());
                    return Err(PortError::Refused(io::Error::other(short)));
                }
                Err(error) => error,
            };
            return Err(match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::EINTR => continue,
                Errno::EAGAIN => PortError::WouldBlock,
                Errno::EIO => PortError::Down,
                Errno::EBADFD | Errno::ENODEV | Errno::ENXIO => PortError::Gone(error),
                _ => PortError::Refused(error),
            });
        }
    }
}

/// A network namespace as `ip netns` names it.
#[derive(Clone, Debug)]
struct Namespace {
    path: PathBuf,
    /// Device and inode, which tell namespaces apart.
    identity: (u64, u64),
}

impl Namespace {
    fn open(name: &str) -> io::Result<(Self, File)> {
        let path = PathBuf::from("/run/netns").join(name);
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        Ok((Self { path, identity: (metadata.dev(), metadata.ino()) }, file))
    }

    fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }
}

/// The step at which a device could not be made.
#[derive(Debug)]
enum Failure {
    Namespace(io::Error),
    Create(io::Error),
    NoOffload,
    NameTaken,
    SetUp(io::Error),
}

impl Failure {
    fn explain(self, spec: &PortSpec) -> Error {
        let what = format!("cannot open port {spec}");
        let netns = spec.netns.as_deref().unwrap_or_default();
        match self {
            Self::Namespace(error) => match error.kind() {
                io::ErrorKind::NotFound => Error::failed(
                    what,
                    format_args!("there is no network namespace {netns}"),
                    format_args!("make it with `ip netns add {netns}`"),
                ),
                io::ErrorKind::PermissionDenied => Error::failed(what, error, NEEDS_ROOT),
                _ => Error::failed(
                    what,
                    format_args!("/run/netns/{netns} cannot be entered: {error}"),
                    format_args!("make it anew with `ip netns del {netns}; ip netns add {netns}`"),
                ),
            },
            Self::Create(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => Error::failed(
                    what,
                    "this kernel offers no /dev/net/tun",
                    "load it with `modprobe tun`, or give the container the device",
                ),
                Errno::EPERM | Errno::EACCES => {
                    Error::failed(what, format_args!("/dev/net/tun: {error}"), NEEDS_ROOT)
                }
                Errno::EBUSY | Errno::EINVAL => Self::NameTaken.explain(spec),
                _ => Error::failed(what, error, "see what the kernel log says of it"),
            },
            Self::NoOffload => Error::failed(
                what,
                "this kernel's TAP devices have no offloads",
                "write driver = \"auto\" or \"plain\"",
            ),
            Self::NameTaken => Error::failed(
                what,
                format_args!("the name {} is taken by another device", spec.tap),
                "end the program that holds it, or choose another name for `tap`",
            ),
            Self::SetUp(error) => {
                Error::failed(what, format_args!("it cannot be set up: {error}"), NEEDS_ROOT)
            }
        }
    }
}

/// Frames that the kernel keeps for the gateway to read: as many as for an Ethernet device, and twice a TAP's. More
/// would not stay in the processor's caches until they are read.
const KERNEL_QUEUE_FRAMES: u16 = 1000;

const NEEDS_ROOT: &str = "run as root, or with CAP_NET_ADMIN (and CAP_SYS_ADMIN for `netns`)";

/// Creates the device in the calling thread's namespace, with as many queues if it can have them; `bare`: kept
/// without any address.
fn create(spec: &PortSpec, mtu: u16, queues: u8, bare: bool) -> Result<Vec<Queue>, Failure> {
    let queues = match spec.driver {
        Driver::Plain => vec![create_plain(spec)?],
        Driver::Offload => create_offload(spec, queues)?,
        Driver::Auto => match create_offload(spec, queues) {
            Err(Failure::NoOffload) => {
                info!("port {spec}: this kernel leaves nothing undone in its frames");
                vec![create_plain(spec)?]
            }
            queues => queues?,
        },
    };
    let device = NetDevice::new(&spec.tap).map_err(Failure::SetUp)?;
    if bare && let Err(error) = device.disable_ipv6() {
        warn!("port {spec}: the kernel may give it an IPv6 address: {error}");
    }
    device.set_mtu(mtu).map_err(Failure::SetUp)?;
    // The kernel leaves this to its own root: not to that of a user namespace.
    if let Err(error) = device.set_queue_len(KERNEL_QUEUE_FRAMES) {
        debug!("port {spec}: the kernel's queue stays short: {error}");
    }
    device.set_up().map_err(Failure::SetUp)?;
    Ok(queues)
}

fn create_plain(spec: &PortSpec) -> Result<Queue, Failure> {
    let iface = Iface::without_packet_info(&spec.tap, Mode::Tap).map_err(Failure::Create)?;
    // The kernel takes a name with `%d` for a pattern.
    if iface.name() != spec.tap {
        return Err(Failure::NameTaken);
    }
    iface.set_non_blocking().map_err(Failure::SetUp)?;
    Ok(Queue::Plain(iface))
}

fn create_offload(spec: &PortSpec, queues: u8) -> Result<Vec<Queue>, Failure> {
    let queues = tap_offload::Queue::create(&spec.tap, queues).map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => Failure::NoOffload,
        _ => Failure::Create(error),
    })?;
    Ok(queues.into_iter().map(Queue::Offload).collect())
}
