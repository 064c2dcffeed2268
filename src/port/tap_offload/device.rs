//! The ioctls of /dev/net/tun that make a TAP device with the virtio-net header, and those that keep one.
//! (Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h)

#![expect(unsafe_code, reason = "neither nix nor std knows the ioctls of tun(4)")]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;
use nix::{ioctl_read, ioctl_readwrite_bad, ioctl_write_int, ioctl_write_ptr, request_code_write};

use super::virtio::Header;
use crate::device::Abilities;
use crate::port::netdevice::NetDevice;

ioctl_readwrite_bad!(tunsetiff, request_code_write!(b'T', 202, size_of::<libc::c_int>()), libc::ifreq);
ioctl_read!(tungetfeatures, b'T', 207, libc::c_uint);
ioctl_write_int!(tunsetpersist, b'T', 203);
ioctl_write_int!(tunsetoffload, b'T', 208);
ioctl_write_ptr!(tunsetvnethdrsz, b'T', 216, libc::c_int);

/// Fails if the device exists.
const IFF_TUN_EXCL: libc::c_int = 0x8000;

/// The offload flags of the kernel.
const CSUM: u64 = 0x01;
const TSO4: u64 = 0x02;
const TSO6: u64 = 0x04;
const TSO_ECN: u64 = 0x08;
const USO4: u64 = 0x20;
const USO6: u64 = 0x40;

/// The combinations of offloads to request, best first, with their meanings. UDP segmentation came with Linux 6.2.
const OFFLOADS: [(u64, Abilities); 3] = [
    (
        CSUM | TSO4 | TSO6 | TSO_ECN | USO4 | USO6,
        Abilities { checksum: true, tcp_segmentation: true, udp_segmentation: true },
    ),
    (
        CSUM | TSO4 | TSO6 | TSO_ECN,
        Abilities { checksum: true, tcp_segmentation: true, udp_segmentation: false },
    ),
    (CSUM, Abilities { checksum: true, tcp_segmentation: false, udp_segmentation: false }),
];

/// Creates the TAP device `name` with this number of queues, whose frames have a [`Header`]. Reading and writing do
/// not block. A device that will `persist` is created with the multi-queue flag in any case, as the number of workers
/// may change. An existing persistent device without that flag has one queue, whatever is requested.
pub(super) fn create(name: &str, queues: u8, persist: bool) -> io::Result<Vec<File>> {
    // An existing device with several queues may belong to another process, and the kernel would attach to it
    // nevertheless.
    let first = match queues {
        1 if !persist => attach(name, 0),
        _ => attach(name, libc::IFF_MULTI_QUEUE | IFF_TUN_EXCL),
    };
    match first {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EINVAL)) => {
            let (first, has_several) = attach_to_free(name)?;
            if has_several { with_others(first, name, queues) } else { Ok(vec![first]) }
        }
        first => with_others(first?, name, queues),
    }
}

/// A queue of the persistent TAP device `name`, which no other process has open, and whether the device can have more
/// queues.
pub(super) fn attach_to_free(name: &str) -> io::Result<(File, bool)> {
    if NetDevice::new(name)?.has_link()? {
        return Err(Errno::EBUSY.into());
    }
    match attach(name, libc::IFF_MULTI_QUEUE) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok((attach(name, 0)?, false)),
        first => Ok((first?, true)),
    }
}

/// Sets whether the TAP device, of which `device` is a queue, stays when no process has it open.
pub fn set_persistent(device: RawFd, persistent: bool) -> io::Result<()> {
    // SAFETY: the ioctl's argument is a number.
    unsafe { tunsetpersist(device, persistent.into()) }?;
    Ok(())
}

fn with_others(first: File, name: &str, queues: u8) -> io::Result<Vec<File>> {
    let others = (1..queues).map(|_| attach(name, libc::IFF_MULTI_QUEUE));
    [Ok(first)].into_iter().chain(others).collect()
}

/// A queue of the TAP device `name`, which is created with its first queue.
fn attach(name: &str, more_flags: libc::c_int) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut features = 0;
    // SAFETY: the ioctl writes one `unsigned int`, which outlives the call.
    unsafe { tungetfeatures(file.as_raw_fd(), &raw mut features) }?;
    if features & libc::IFF_VNET_HDR.cast_unsigned() == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: a C struct of integers and a union of such, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // A zero stays at the end: the name is checked to be shorter.
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let asked_for = request.ifr_name;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | more_flags;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    let header_len = Header::LEN as libc::c_int;
    // SAFETY: both ioctls read one value of the given type, which outlives the call; what the first
    // writes back goes to the same place.
    unsafe {
        tunsetiff(file.as_raw_fd(), &raw mut request)?;
        tunsetvnethdrsz(file.as_raw_fd(), &raw const header_len)?;
    }
    // The kernel treats a name with `%d` as a pattern.
    if request.ifr_name == asked_for { Ok(file) } else { Err(Errno::EINVAL.into()) }
}

/// Enables the offloads that the kernel supports for frames to be read; `None` if there are none.
pub(super) fn enable_offloads(file: &File) -> Option<Abilities> {
    let takes = |flags| set_offloads(file, flags).is_ok();
    OFFLOADS.into_iter().find(|(flags, _)| takes(*flags)).map(|(_, abilities)| abilities)
}

/// Disables offloads in frames to be read.
pub(super) fn disable_offloads(file: &File) -> io::Result<()> {
    set_offloads(file, 0)
}

fn set_offloads(file: &File, flags: u64) -> io::Result<()> {
    // SAFETY: the ioctl's argument is a number.
    unsafe { tunsetoffload(file.as_raw_fd(), flags) }?;
    Ok(())
}
