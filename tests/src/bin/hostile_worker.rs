//! The program that a test site runs in the place of its Python: it takes the
//! control socket on descriptor 3, ignores its arguments, and misbehaves.
#![expect(unsafe_code, reason = "the control socket is inherited by number")]

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

fn main() -> std::io::Result<()> {
    // SAFETY: the launcher left the control socket at this number for us, and
    // nothing else in this process knows of it.
    let control = unsafe { OwnedFd::from_raw_fd(3) };
    wsgid_tests::hostile::run(UnixStream::from(control))
}
