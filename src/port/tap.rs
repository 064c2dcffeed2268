//! A TAP device.
//!
//! Two drivers carry a device's frames: [`Driver::Offload`], with checksum and segmentation offloads
//! (`port/tap_offload`), and [`Driver::Plain`], which works with any kernel.
//!
//! With offloads, each of several workers has a queue of the device. A plain device has one queue, and so has a
//! persistent one that was created with one: the first worker reads it, and all workers write to it, which is atomic
//! for a frame.
//!
//! The device is created in the network namespace that its [`PortSpec`] names, by a thread that enters the namespace
//! and ends there, so that no return to the old namespace can fail. In the gateway's own namespace the kernel gives
//! the device no address by itself. In a namespace that the configuration names, the device belongs to the
//! namespace's creator, and the gateway only sets its MTU and brings it up.
//!
//! A device ends with its last file descriptor, also when the process crashes, unless [`Tap::keep`] has made it
//! persistent: then it stays in its bridge with its hardware address for the next start. [`remove`] removes it. The
//! gateway never makes a persistent device transient.
//!
//! An open device keeps its network namespace alive, even after `ip netns del`. [`Tap::is_orphaned`] detects that the
//! namespace's name is gone, so that the device can be closed.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use gatepost_ground::Offload;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use tracing::{debug, info, warn};
use tun_tap::{Iface, Mode};

use super::netdevice::NetDevice;
use super::tap_offload;
use super::tap_offload::Staging;
use crate::config::{Driver, Netns, PortSpec};
use crate::device::{Abilities, LinkState, Port, PortError, Received};
use crate::error::Error;

/// One worker's handle of an open TAP device. Dropping the last handle removes the device.
#[derive(Debug)]
pub struct Tap {
    queue: Arc<Queue>,
    /// Whether this handle reads, of several that share a queue.
    reads: bool,
    staging: Staging,
    namespace: Option<Namespace>,
    kernel_side: Arc<NetDevice>,
}

/// The driver that carries the frames.
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

    /// Creates the device for several workers, with a handle for each.
    ///
    /// # Errors
    ///
    /// One sentence with the remedy: the namespace is missing, the name is in use, /dev/net/tun is missing or cannot
    /// be opened.
    pub fn open_for(workers: u8, spec: &PortSpec, mtu: u16) -> Result<Vec<Self>, Error> {
        let (device, namespace) =
            in_namespace(spec, || create(spec, mtu, workers)).map_err(|failure| failure.explain(spec))?;
        Ok(Self::share_out(workers, spec, device, namespace.as_ref()))
    }

    /// Gives each worker its queue, or a share in the first.
    fn share_out(workers: u8, spec: &PortSpec, device: Device, namespace: Option<&Namespace>) -> Vec<Self> {
        let queues: Vec<_> = device.queues.into_iter().map(Arc::new).collect();
        if queues.len() < usize::from(workers) {
            info!("port {spec} has one queue, which dataplane-0 reads for all");
        }
        let kernel_side = Arc::new(device.kernel_side);
        let share = |number: u8| {
            let own = queues.get(usize::from(number));
            let queue = Arc::clone(own.unwrap_or(&queues[0]));
            Self {
                queue,
                reads: own.is_some(),
                staging: Staging::new(),
                namespace: namespace.cloned(),
                kernel_side: Arc::clone(&kernel_side),
            }
        };
        (0..workers).map(share).collect()
    }

    /// Makes the device persistent, so that it stays when no process has it open.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn keep(&self) -> io::Result<()> {
        tap_offload::set_persistent(self.as_raw_fd(), true)
    }

    /// The name of the device's driver, as in the configuration.
    pub fn driver_name(&self) -> &'static str {
        if self.abilities() == Abilities::NONE { "plain" } else { "offload" }
    }

    /// Whether this handle reads frames.
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Whether the namespace the device was created in has lost its name, or the name now refers to
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

    fn link_state(&self) -> LinkState {
        let device = &self.kernel_side;
        // A device that was moved to another namespace cannot be examined; it counts as attached.
        let Ok(is_up) = device.is_up() else { return LinkState::Up };
        // In a namespace of its own, the device itself is the host's interface.
        let is_attached = self.namespace.is_some()
            || device.has_address().unwrap_or(true)
            || device.is_lower_device().unwrap_or_default().unwrap_or(true);
        match (is_up, is_attached) {
            (false, _) => LinkState::Down,
            (true, true) => LinkState::Up,
            (true, false) => LinkState::Unattached,
        }
    }

    fn receive(&mut self, buffer: &mut [u8], rest: &mut [u8]) -> Result<Received, PortError> {
        if !self.reads {
            return Err(PortError::WouldBlock);
        }
        for _ in 0..INTERRUPTIONS_MAX {
            let received = match &*self.queue {
                Queue::Plain(iface) => iface.recv(buffer).map(|len| Received { len, offload: Offload::None }),
                Queue::Offload(queue) => queue.read(&mut self.staging, buffer, rest),
            };
            match received {
                Ok(received) => return Ok(received),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Err(PortError::WouldBlock),
                    io::ErrorKind::InvalidData => return Err(PortError::FrameRejected(error)),
                    _ => return Err(PortError::Gone(error)),
                },
            }
        }
        Err(PortError::Gone(Errno::EINTR.into()))
    }

    fn transmit(&mut self, frame: &[u8], offload: Offload) -> Result<(), PortError> {
        for _ in 0..INTERRUPTIONS_MAX {
            let sent = match &*self.queue {
                Queue::Plain(iface) => iface.send(frame),
                Queue::Offload(queue) => queue.write(&mut self.staging, frame, offload),
            };
            let error = match sent {
                Ok(len) if len == frame.len() => return Ok(()),
                Ok(len) => {
                    let short = format!("{len} of {} octets written", frame.len());
                    return Err(PortError::FrameRejected(io::Error::other(short)));
                }
                Err(error) => error,
            };
            return Err(match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::EINTR => continue,
                Errno::EAGAIN => PortError::WouldBlock,
                Errno::EIO => PortError::Down,
                Errno::EBADFD | Errno::ENODEV | Errno::ENXIO => PortError::Gone(error),
                _ => PortError::FrameRejected(error),
            });
        }
        Err(PortError::Gone(Errno::EINTR.into()))
    }
}

/// Removes the persistent device of a port, with its bridge port and its addresses. Returns whether it existed.
///
/// # Errors
///
/// One sentence with the remedy: another process has it open, it is no TAP device, or the process may not remove it.
pub fn remove(spec: &PortSpec) -> Result<bool, Error> {
    let remove = || {
        let device = NetDevice::new(&spec.tap).map_err(Failure::Create)?;
        // Attaching to a device that does not exist would create it.
        match device.index() {
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => return Ok(false),
            index => index.map_err(Failure::Create)?,
        };
        let queue = tap_offload::Queue::take_plain(&spec.tap).map_err(Failure::Create)?;
        tap_offload::set_persistent(queue.as_raw_fd(), false).map_err(Failure::Create)?;
        Ok(true)
    };
    match in_namespace(spec, remove) {
        Ok((was_there, _)) => Ok(was_there),
        // A device in a removed namespace is gone with it.
        Err(Failure::Namespace(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(failure) => Err(failure.explain_removal(spec)),
    }
}

/// Does something in the network namespace of a port.
fn in_namespace<T: Send>(
    spec: &PortSpec,
    action: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<(T, Option<Namespace>), Failure> {
    let Some(netns) = &spec.netns else {
        return Ok((action()?, None));
    };
    let (namespace, file) = Namespace::open(netns).map_err(Failure::Namespace)?;
    if matches!(netns, Netns::Pid(_)) && Namespace::own().is_ok_and(|own| own == namespace.identity) {
        return Err(Failure::OwnNamespace);
    }
    let enter_and_act = || {
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| Failure::Namespace(errno.into()))?;
        action()
    };
    let outcome = thread::scope(|scope| scope.spawn(enter_and_act).join())
        .expect("what is done in a namespace does not panic")?;
    Ok((outcome, Some(namespace)))
}

/// A named network namespace.
#[derive(Clone, Debug)]
struct Namespace {
    path: PathBuf,
    identity: NamespaceIdentity,
}

/// The device and inode that identify a namespace.
type NamespaceIdentity = (u64, u64);

impl Namespace {
    fn open(netns: &Netns) -> io::Result<(Self, File)> {
        let path = netns.path();
        let file = File::open(&path)?;
        let identity = Self::identity_of(&file.metadata()?);
        Ok((Self { path, identity }, file))
    }

    /// The identity of the calling thread's namespace.
    fn own() -> io::Result<NamespaceIdentity> {
        fs::metadata("/proc/thread-self/ns/net").map(|metadata| Self::identity_of(&metadata))
    }

    fn identity_of(metadata: &Metadata) -> NamespaceIdentity {
        (metadata.dev(), metadata.ino())
    }

    fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| Self::identity_of(&metadata) == self.identity)
    }
}

/// The step at which creating a device failed.
#[derive(Debug)]
enum Failure {
    Namespace(io::Error),
    /// The named process is in the gateway's own namespace.
    OwnNamespace,
    Create(io::Error),
    NoOffload,
    NameTaken,
    SetUp(io::Error),
}

impl Failure {
    fn explain(self, spec: &PortSpec) -> Error {
        let what = format!("cannot open port {spec}");
        match self {
            Self::Namespace(error) => match &spec.netns {
                Some(netns) => explain_namespace(&what, netns, &error),
                None => Error::failed(what, error, NEEDS_ROOT),
            },
            Self::OwnNamespace => Error::failed(
                what,
                "the process is in the gateway's own network namespace",
                "leave netns out, or give the id of a process in another one",
            ),
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

    fn explain_removal(self, spec: &PortSpec) -> Error {
        let what = format!("cannot remove port {spec}");
        match self {
            Self::Create(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::EBUSY => {
                    Error::failed(what, "somebody has it open", "stop the gateway or program that does")
                }
                Errno::EINVAL => Error::failed(
                    what,
                    "it is no TAP device of the gateway's",
                    format_args!("see `ip -d link show {}`", spec.tap),
                ),
                _ => Error::failed(what, error, NEEDS_ROOT),
            },
            other => other.explain(spec),
        }
    }
}

/// Why a namespace cannot be entered.
fn explain_namespace(what: &str, netns: &Netns, error: &io::Error) -> Error {
    match (error.kind(), netns) {
        (io::ErrorKind::NotFound, Netns::Name(name)) => Error::failed(
            what,
            format_args!("there is no network namespace {name}"),
            format_args!("make it with `ip netns add {name}`"),
        ),
        (io::ErrorKind::NotFound, Netns::Path(path)) => Error::failed(
            what,
            format_args!("there is no network namespace {}", path.display()),
            "write the path of one, such as /run/netns/pc1",
        ),
        (io::ErrorKind::NotFound, Netns::Pid(pid)) => Error::failed(
            what,
            format_args!("there is no process {pid}"),
            "write the id of one that runs in the namespace",
        ),
        (io::ErrorKind::PermissionDenied, _) => Error::failed(what, error, NEEDS_ROOT),
        (_, Netns::Name(name)) => Error::failed(
            what,
            format_args!("/run/netns/{name} cannot be entered: {error}"),
            format_args!("make it anew with `ip netns del {name}; ip netns add {name}`"),
        ),
        (_, Netns::Path(_) | Netns::Pid(_)) => Error::failed(
            what,
            format_args!("{} cannot be entered: {error}", netns.path().display()),
            "write what stands for a network namespace",
        ),
    }
}

/// The length of the kernel's queue of frames to be read: that of an Ethernet device, and twice a TAP's default. More
/// frames would not stay in the processor's caches until they are read.
const KERNEL_QUEUE_FRAMES: u16 = 1000;

/// The most system calls in a row that signals may interrupt. The kernel does not interrupt a non-blocking call, so a
/// device at which this happens is broken, and is opened again.
const INTERRUPTIONS_MAX: usize = 16;

const NEEDS_ROOT: &str = "run as root, or with CAP_NET_ADMIN (and CAP_SYS_ADMIN for `netns`)";

/// A device that was opened.
struct Device {
    queues: Vec<Queue>,
    kernel_side: NetDevice,
}

/// Creates the device in the calling thread's namespace, with this number of queues if possible.
fn create(spec: &PortSpec, mtu: u16, queues: u8) -> Result<Device, Failure> {
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
    if spec.netns.is_none()
        && let Err(error) = device.disable_ipv6()
    {
        warn!("port {spec}: the kernel may give it an IPv6 address: {error}");
    }
    device.set_mtu(mtu).map_err(Failure::SetUp)?;
    // The kernel allows this to its own root only, not to the root of a user namespace.
    if let Err(error) = device.set_queue_len(KERNEL_QUEUE_FRAMES) {
        debug!("port {spec}: the kernel's queue stays short: {error}");
    }
    device.set_up().map_err(Failure::SetUp)?;
    Ok(Device { queues, kernel_side: device })
}

fn create_plain(spec: &PortSpec) -> Result<Queue, Failure> {
    let iface = match Iface::without_packet_info(&spec.tap, Mode::Tap) {
        // A device with several queues rejects an attachment without the multi-queue flag.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
            return tap_offload::Queue::take_plain(&spec.tap).map(Queue::Offload).map_err(Failure::Create);
        }
        iface => iface.map_err(Failure::Create)?,
    };
    // The kernel treats a name with `%d` as a pattern.
    if iface.name() != spec.tap {
        return Err(Failure::NameTaken);
    }
    iface.set_non_blocking().map_err(Failure::SetUp)?;
    Ok(Queue::Plain(iface))
}

fn create_offload(spec: &PortSpec, queues: u8) -> Result<Vec<Queue>, Failure> {
    let queues =
        tap_offload::Queue::create(&spec.tap, queues, spec.persist).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => Failure::NoOffload,
            _ => Failure::Create(error),
        })?;
    Ok(queues.into_iter().map(Queue::Offload).collect())
}
