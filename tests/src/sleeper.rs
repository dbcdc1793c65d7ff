//! Descriptors that do not let themselves be closed or read: a TCP connection
//! that lingers for 45 seconds, and files of a FUSE file system whose program
//! answers what it likes. For tests that hand them to others.

use std::io::{self, IoSlice, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use wsgid_protocol::fds::send_with_fds;

/// How long the last close of a [`Sleeper`] takes.
const LINGER: i32 = 45;

/// A connection whose last close sleeps, and the end that reads nothing.
#[derive(Debug)]
pub struct Sleeper {
    fd: OwnedFd,
    _listener: TcpListener,
}

impl Sleeper {
    /// Makes one.
    ///
    /// # Errors
    /// If there is no network.
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut stream = TcpStream::connect(listener.local_addr()?)?;
        setsockopt(
            &stream,
            sockopt::Linger,
            &libc::linger {
                l_onoff: 1,
                l_linger: LINGER,
            },
        )?;
        stream.set_nonblocking(true)?;
        while stream.write(&[0; 65536]).is_ok() {}
        stream.set_nonblocking(false)?;
        Ok(Self {
            fd: stream.into(),
            _listener: listener,
        })
    }

    /// Leaves the last copy of it to whoever has been sent one. Our own close
    /// may be the last one already.
    pub fn leave(self) {
        std::thread::spawn(move || {
            let Self { fd, _listener } = self;
            drop(fd);
            // The data must stay unsent.
            std::thread::sleep(std::time::Duration::from_secs(u64::from(
                LINGER.unsigned_abs(),
            )));
        });
    }

    /// Sends bytes with it, and leaves it to the receiver. A kernel that refuses
    /// has done so already.
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub fn send(self, socket: &UnixStream, bytes: &[u8], flags: MsgFlags) -> io::Result<()> {
        let sent = send_with_fds(
            socket.as_fd(),
            &[IoSlice::new(bytes)],
            &[self.fd.as_fd()],
            flags,
        );
        self.leave();
        sent.map(drop)
    }
}

impl AsFd for Sleeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
