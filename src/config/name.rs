//! Names of hosts, domains, devices and files, as text.

use std::fmt;
use std::path::{Path, PathBuf};

use super::diagnostic::Problem;
use super::value::quoted;

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Netns {
    /// The name as in `ip netns`.
    Name(String),
    /// A file that refers to the namespace.
    Path(PathBuf),
    /// The namespace of the process with this id.
    Pid(u32),
}

impl Netns {
    /// The file that refers to the namespace.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Name(name) => Path::new("/run/netns").join(name),
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
            Self::Pid(pid) => write!(f, "of process {pid}"),
        }
    }
}

/// The longest name in presentation form, without the trailing dot. (RFC 1035, section 2.3.4)
pub(super) const DOMAIN_OCTETS_MAX: usize = 253;
/// The longest label. (RFC 1035, section 2.3.4)
const LABEL_OCTETS_MAX: usize = 63;
/// The longest name of a network device: IFNAMSIZ without its NUL.
const DEVICE_OCTETS_MAX: usize = 15;
/// The longest name of a file: NAME_MAX.
const FILE_OCTETS_MAX: usize = 255;
/// The longest path of a Unix socket: `sun_path` without its NUL. (unix(7))
const SOCKET_PATH_OCTETS_MAX: usize = 107;

/// A host's name: a single label. (RFC 1123, section 2.1)
pub(super) fn host_name(text: &str) -> Result<String, Problem> {
    if text.contains('.') {
        let label = text.split('.').next().unwrap_or_default();
        let what = format!("{} is more than one label", quoted(text));
        return Err(Problem::new(what, format!("write {}; the domain is system.domain", quoted(label))));
    }
    check_label(text, false)?;
    Ok(text.to_owned())
}

/// A domain of at least one label, without a trailing dot.
pub(super) fn domain(text: &str) -> Result<String, Problem> {
    if let Some(relative) = text.strip_suffix('.').filter(|rest| !rest.is_empty()) {
        let what = format!("{} ends with a dot", quoted(text));
        return Err(Problem::new(what, format!("write {}", quoted(relative))));
    }
    check_labels(text, false)?;
    Ok(text.to_owned())
}

/// A name in the zone; it may end with a dot, and its labels may have underscores. (RFC 8552)
pub(super) fn zone_name(text: &str) -> Result<String, Problem> {
    check_labels(text.strip_suffix('.').unwrap_or(text), true)?;
    Ok(text.to_owned())
}

/// A network device's name that the kernel accepts.
pub(super) fn device(text: &str) -> Result<String, Problem> {
    // `%` would make the kernel number the device.
    let is_legal = |c: u8| c.is_ascii_graphic() && !matches!(c, b'/' | b':' | b'%');
    let what = if text.is_empty() || text.len() > DEVICE_OCTETS_MAX {
        format!("the device name {} has {} octets", quoted(text), text.len())
    } else if matches!(text, "." | "..") || !text.bytes().all(is_legal) {
        format!("{} is no device name", quoted(text))
    } else {
        return Ok(text.to_owned());
    };
    Err(Problem::new(what, format!("write 1 to {DEVICE_OCTETS_MAX} letters, digits, \"-\", \"_\" or \".\"")))
}

/// A network namespace: an absolute path, or a name, which must be a valid file name.
pub(super) fn namespace(text: &str) -> Result<Netns, Problem> {
    let is_file_name = !matches!(text, "" | "." | "..") && !text.contains(['/', '\0']);
    if text.starts_with('/') && !text.contains('\0') {
        Ok(Netns::Path(text.into()))
    } else if is_file_name && text.len() <= FILE_OCTETS_MAX {
        Ok(Netns::Name(text.to_owned()))
    } else {
        let what = format!("{} is no network namespace", quoted(text));
        let remedy =
            "write a name that \"ip netns list\" shows, an absolute path or a process id, or leave netns out";
        Err(Problem::new(what, remedy))
    }
}

/// The path of a directory.
pub(super) fn directory(text: &str) -> Result<std::path::PathBuf, Problem> {
    if text.is_empty() || text.contains('\0') {
        let what = format!("{} is no path", quoted(text));
        return Err(Problem::new(what, "write one such as \"/var/lib/gatepost\""));
    }
    check_absolute(text, "/var/lib/gatepost")?;
    Ok(text.into())
}

/// The path of a Unix socket.
pub(super) fn socket(text: &str) -> Result<std::path::PathBuf, Problem> {
    if text.is_empty() || text.contains('\0') || text.len() > SOCKET_PATH_OCTETS_MAX {
        let what = format!("{} is no path of a socket", quoted(text));
        let remedy =
            format!("write one of 1 to {SOCKET_PATH_OCTETS_MAX} octets, such as \"/run/gatepost.sock\"");
        return Err(Problem::new(what, remedy));
    }
    check_absolute(text, "/run/gatepost.sock")?;
    Ok(text.into())
}

/// Checks that a path means the same wherever the program is started.
fn check_absolute(path: &str, example: &str) -> Result<(), Problem> {
    if path.starts_with('/') {
        return Ok(());
    }
    let what = format!("{} depends on where the gateway is started", quoted(path));
    Err(Problem::new(what, format!("write an absolute path such as {}", quoted(example))))
}

fn check_labels(text: &str, underscore: bool) -> Result<(), Problem> {
    if text.len() > DOMAIN_OCTETS_MAX {
        let what = format!("the name has {} octets", text.len());
        return Err(Problem::new(what, format!("write at most {DOMAIN_OCTETS_MAX}")));
    }
    text.split('.').try_for_each(|label| check_label(label, underscore))
}

fn check_label(label: &str, underscore: bool) -> Result<(), Problem> {
    let is_legal = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || (underscore && c == b'_');
    let has_hyphen_at_end = label.starts_with('-') || label.ends_with('-');
    if (1..=LABEL_OCTETS_MAX).contains(&label.len()) && label.bytes().all(is_legal) && !has_hyphen_at_end {
        return Ok(());
    }
    let what = format!("{} is no label of a name", quoted(label));
    let remedy =
        format!("write 1 to {LABEL_OCTETS_MAX} letters, digits and hyphens, no hyphen first or last");
    Err(Problem::new(what, remedy))
}
