//! A plain socket for requests that no well-behaved client makes, and for bytes
//! that must be seen as they are on the wire.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connection whose every byte received is kept.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// All that came so far.
    pub received: Vec<u8>,
    /// Whether the other side has closed.
    pub closed: bool,
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server takes connections");
        stream.set_nodelay(true).expect("a socket has this option");
        stream
            .set_write_timeout(Some(Duration::from_secs(20)))
            .expect("a socket has this option");
        Self {
            stream,
            received: Vec::new(),
            closed: false,
        }
    }

    /// Sends bytes; whether that worked.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let _ =
            nix::sys::socket::setsockopt(&self.stream, nix::sys::socket::sockopt::Linger, &linger);
    }

    /// Takes what comes within the time, at most until the other side closes.
    pub fn listen(&mut self, time: Duration) -> &str {
        self.until(time, |_| false);
        self.text()
    }

    /// Waits for a text among all that came; whether it did.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> bool {
        let wanted = text.as_bytes();
        self.until(limit, |received| {
            received.windows(wanted.len()).any(|part| part == wanted)
        })
    }

    /// Waits until more than so many bytes have come; whether they did.
    pub fn wait_for_more_than(&mut self, bytes: usize, limit: Duration) -> bool {
        self.until(limit, |received| received.len() > bytes)
    }

    /// Waits for the other side to close; whether it did.
    pub fn wait_for_close(&mut self, limit: Duration) -> bool {
        self.until(limit, |_| false);
        self.closed
    }

    /// What came, as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.received).unwrap_or("(not UTF-8)")
    }

    fn until(&mut self, limit: Duration, done: impl Fn(&[u8]) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut buffer = [0; 65_536];
        while !done(&self.received) {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.closed || left.is_zero() {
                return false;
            }
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
        true
    }
}

/// Sends bytes on a connection of their own and returns all that came until
/// the other side closed or the time was over.
#[must_use]
pub fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>, time: Duration) -> String {
    let mut raw = Raw::connect(address);
    raw.send(bytes);
    raw.listen(time);
    String::from_utf8_lossy(&raw.received).into_owned()
}
