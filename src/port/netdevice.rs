//! The kernel's side of a network device: up, MTU, address, default route, by ioctl (netdevice(7)).

#![expect(unsafe_code, reason = "neither nix nor std knows the ioctls of netdevice(7)")]

use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use gatepost_ground::MacAddr;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// The longest name of a device, in octets.
pub const NAME_LEN_MAX: usize = libc::IFNAMSIZ - 1;

/// A device of the network namespace that the thread was in when it made this value.
#[derive(Debug)]
pub struct NetDevice {
    /// Any socket carries the ioctls to the namespace it belongs to.
    socket: OwnedFd,
    name: String,
}

impl NetDevice {
    /// The device `name` of the calling thread's network namespace. The device need not exist.
    ///
    /// # Errors
    ///
    /// The name is empty or longer than [`NAME_LEN_MAX`], or no socket can be opened.
    pub fn new(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.len() > NAME_LEN_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, name: name.to_owned() })
    }

    /// Brings the device up.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn set_up(&self) -> io::Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_flags = self.flags()? | UP;
        self.ioctl(libc::SIOCSIFFLAGS, &mut request)
    }

    /// The device's index in its namespace.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn index(&self) -> io::Result<i32> {
        let mut request = self.request();
        self.ioctl(libc::SIOCGIFINDEX, &mut request)?;
        // SAFETY: the kernel has filled in the index, which may have any value.
        Ok(unsafe { request.ifr_ifru.ifru_ifindex })
    }

    /// Whether the device has an IPv4 address.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn has_address(&self) -> io::Result<bool> {
        match self.ioctl(libc::SIOCGIFADDR, &mut self.request()) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Whether the device is a port of a bridge, or carries another device such as a VLAN's. `None` if this
    /// process's `/sys` is another namespace's.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn is_lower_device(&self) -> io::Result<Option<bool>> {
        let directory = Path::new("/sys/class/net").join(&self.name);
        let is_shown = |file: &str, value: &dyn fmt::Display| {
            fs::read_to_string(directory.join(file)).is_ok_and(|shown| shown.trim() == value.to_string())
        };
        if !is_shown("ifindex", &self.index()?) || !is_shown("address", &self.hardware_address()?) {
            return Ok(None);
        }
        for entry in fs::read_dir(&directory)? {
            let name = entry?.file_name();
            if name == "master" || name.as_encoded_bytes().starts_with(b"upper_") {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// Whether the device is up.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn is_up(&self) -> io::Result<bool> {
        Ok(self.flags()? & UP != 0)
    }

    /// Whether the device is up and has a link.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn has_link(&self) -> io::Result<bool> {
        let mut link = EthtoolValue { command: ETHTOOL_GLINK, data: 0 };
        let mut request = self.request();
        request.ifr_ifru.ifru_data = (&raw mut link).cast();
        self.ioctl(libc::SIOCETHTOOL, &mut request)?;
        Ok(link.data != 0)
    }

    /// Sets the largest IP packet that the device carries, in octets.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_mtu = mtu.into();
        self.ioctl(libc::SIOCSIFMTU, &mut request)
    }

    /// Sets the length of the device's transmit queue, in packets; a TAP's packets wait there for their reader.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn set_queue_len(&self, packets: u16) -> io::Result<()> {
        let mut request = self.request();
        // The kernel's `ifr_qlen` is in the same union and has the same type as the index.
        request.ifr_ifru.ifru_ifindex = packets.into();
        self.ioctl(libc::SIOCSIFTXQLEN, &mut request)
    }

    /// Sets the device's IPv4 address with the prefix of its link, replacing an earlier one.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn set_address(&self, address: Ipv4Net) -> io::Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_addr = socket_address(address.addr());
        self.ioctl(libc::SIOCSIFADDR, &mut request)?;
        request.ifr_ifru.ifru_addr = socket_address(address.netmask());
        self.ioctl(libc::SIOCSIFNETMASK, &mut request)
    }

    /// The device's hardware address.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn hardware_address(&self) -> io::Result<MacAddr> {
        let mut request = self.request();
        self.ioctl(libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the kernel has filled in the address, whose octets may have any value.
        let data = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
        Ok(MacAddr(std::array::from_fn(|i| data[i].cast_unsigned())))
    }

    /// Routes `destination` to `gateway`, through this device; 0.0.0.0/0 is the default route.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; `gateway` must be on the device's link.
    pub fn add_route(&self, destination: Ipv4Net, gateway: Ipv4Addr) -> io::Result<()> {
        let mut device = self.request().ifr_name;
        // SAFETY: a C struct of integers and a pointer, for which zeros are valid.
        let mut route: libc::rtentry = unsafe { mem::zeroed() };
        route.rt_dst = socket_address(destination.network());
        route.rt_genmask = socket_address(destination.netmask());
        route.rt_gateway = socket_address(gateway);
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        route.rt_dev = device.as_mut_ptr();
        // SAFETY: SIOCADDRT reads one `rtentry` and the name it points to, which is an array longer than
        // the name and so ends with a zero; both outlive the call.
        Errno::result(unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCADDRT, &raw const route) })?;
        Ok(())
    }

    /// Disables IPv6 on the device, and so its link-local address. It acts on the calling thread's namespace, and
    /// must come before [`NetDevice::set_up`].
    ///
    /// # Errors
    ///
    /// What the kernel refuses; a kernel without IPv6 is content.
    pub fn disable_ipv6(&self) -> io::Result<()> {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn flags(&self) -> io::Result<libc::c_short> {
        let mut request = self.request();
        self.ioctl(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has filled in the flags; any bit pattern is a valid `c_short`.
        Ok(unsafe { request.ifr_ifru.ifru_flags })
    }

    /// A request about this device, all else zero.
    fn request(&self) -> libc::ifreq {
        // SAFETY: a C struct of integers and a union of such, for which zeros are valid.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (target, octet) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *target = octet.cast_signed();
        }
        request
    }

    /// Calls one of the ioctls that take an `ifreq`.
    fn ioctl(&self, request: libc::Ioctl, argument: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: every caller passes an ioctl of netdevice(7) that reads and writes one `ifreq`, which
        // `argument` is, exclusively borrowed, and what that points to, if it does.
        Errno::result(unsafe { libc::ioctl(self.socket.as_raw_fd(), request, &raw mut *argument) })?;
        Ok(())
    }
}

/// The argument of simple ethtool commands. (Linux include/uapi/linux/ethtool.h)
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// The command that reads the link state.
const ETHTOOL_GLINK: u32 = 0x0a;

/// `IFF_UP` in the width that the request has.
const UP: libc::c_short = libc::IFF_UP as libc::c_short;

/// A `sockaddr_in` without port, in the generic struct that the requests hold.
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (target, octet) in data[2..6].iter_mut().zip(address.octets()) {
        *target = octet.cast_signed();
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        assert!(NetDevice::new("").is_err());
        assert!(NetDevice::new("exactly15octets").is_ok());
        assert!(NetDevice::new("sixteen-octets-x").is_err());
    }

    #[test]
    fn a_missing_device_is_an_error() {
        let device = NetDevice::new("gp-missing").expect("a valid name");
        assert_eq!(device.set_up().expect_err("no such device").raw_os_error(), Some(libc::ENODEV));
        assert_eq!(device.has_link().expect_err("no such device").raw_os_error(), Some(libc::ENODEV));
        assert_eq!(device.is_up().expect_err("no such device").raw_os_error(), Some(libc::ENODEV));
        assert_eq!(device.set_mtu(1500).expect_err("no such device").raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn a_socket_address_holds_the_octets_after_the_port() {
        let address = socket_address(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(i32::from(address.sa_family), libc::AF_INET);
        assert_eq!(
            address.sa_data[..7].iter().map(|c| c.cast_unsigned()).collect::<Vec<_>>(),
            [0, 0, 192, 0, 2, 1, 0]
        );
    }
}
