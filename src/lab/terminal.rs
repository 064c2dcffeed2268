//! The terminal that the lab may be started from: its size, its colours, and single keys.

#![expect(unsafe_code, reason = "nix has no safe form of the ioctl for a terminal's size")]

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::libc;
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// The size of a terminal that reports none.
const SIZE_USUAL: Size = Size { rows: 24, columns: 80 };
/// Keys that are read at once; more are read with the next.
const KEYS_MAX: usize = 16;

nix::ioctl_read_bad!(read_window_size, libc::TIOCGWINSZ, libc::winsize);

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: usize,
    /// Characters in a line.
    pub columns: usize,
}

/// Whether standard output is a terminal on which the cursor can be moved.
pub fn is_there() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether to write in colours on a terminal. (https://no-color.org)
pub fn has_colours() -> bool {
    is_there() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The size of the terminal that is standard output.
pub fn size() -> Size {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer is to a `winsize` that outlives the call, which is what the ioctl fills in.
    let read = unsafe { read_window_size(io::stdout().as_raw_fd(), &raw mut size) };
    match (read, usize::from(size.ws_row), usize::from(size.ws_col)) {
        (Ok(_), rows @ 1.., columns @ 1..) => Size { rows, columns },
        _ => SIZE_USUAL,
    }
}

/// A keyboard whose keys come one by one and are not shown. It is as before when this is dropped.
#[derive(Debug)]
pub struct Keyboard {
    before: Termios,
}

impl Keyboard {
    /// The keyboard on standard input; `None` if there is none, or the lab runs in the background.
    pub fn open() -> Option<Self> {
        let stdin = io::stdin();
        // Who changes a terminal from the background is stopped. // tcsetattr(3)
        if !is_there() || !stdin.is_terminal() || tcgetpgrp(&stdin) != Ok(getpgrp()) {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut attributes = before.clone();
        attributes.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        attributes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        attributes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&stdin, SetArg::TCSANOW, &attributes).ok()?;
        Some(Self { before })
    }

    /// What is readable when a key was pressed.
    pub fn fd(&self) -> BorrowedFd<'static> {
        // SAFETY: nothing of this program closes standard input.
        unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) }
    }

    /// The keys pressed, one at least once [`Keyboard::fd`] is readable; `None` at the end of the input.
    pub fn keys(&self) -> Option<Vec<u8>> {
        let mut keys = [0; KEYS_MAX];
        match nix::unistd::read(self.fd(), &mut keys) {
            Ok(0) | Err(_) => None,
            Ok(len) => Some(keys[..len].to_vec()),
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // The error cannot be reported, and the shell sets the terminal up for itself.
        _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.before);
    }
}
