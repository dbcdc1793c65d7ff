//! The system's log: one datagram for each line to `/dev/log`, in the local
//! form of RFC 3164. A daemon that was restarted is found again; one that does
//! not read holds nobody up. Used by the log's own thread.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::format::{parts, short_time};

const SOCKET: &str = "/dev/log";
/// How often, and how long each time, a full socket is waited for.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// One facility and one name.
#[derive(Debug)]
pub(crate) struct Syslog {
    path: PathBuf,
    facility: u8,
    tag: String,
    socket: Mutex<Option<UnixDatagram>>,
}

impl Syslog {
    /// Connects at the first line.
    pub(crate) fn new(facility: u8, tag: &str) -> Self {
        Self::at(SOCKET.into(), facility, tag)
    }

    fn at(path: PathBuf, facility: u8, tag: &str) -> Self {
        // What ends a tag in a syslog daemon's eyes.
        let tag = tag
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() && !"[]:".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        Self {
            path,
            facility,
            tag,
            socket: Mutex::new(None),
        }
    }

    /// Sends a line of ours. `false`: it is lost.
    pub(super) fn send(&self, line: &str) -> bool {
        let datagram = self.datagram(line);
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            if socket.is_none() {
                *socket = self.connect().ok();
            }
            let Some(connected) = socket.as_ref() else {
                return false;
            };
            match connected.send(datagram.as_bytes()) {
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                // It was restarted: what is at the path now is another socket.
                Err(_) => *socket = None,
            }
        }
        false
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn datagram(&self, line: &str) -> String {
        let own = std::process::id().to_string();
        let (level, pid, text) =
            parts(line).unwrap_or(("notice", &own, line.trim_end_matches('\n')));
        let priority = u32::from(self.facility) * 8 + severity(level);
        format!("<{priority}>{} {}[{pid}]: {text}", short_time(), self.tag)
    }
}

/// httpd's levels are syslog's, but for the finer ones.
fn severity(level: &str) -> u32 {
    match level {
        "emerg" => 0,
        "alert" => 1,
        "crit" => 2,
        "error" => 3,
        "warn" => 4,
        "notice" => 5,
        "info" => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::prefix;
    use super::*;

    fn listen(path: &std::path::Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1000];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn a_line_is_a_datagram_with_facility_level_and_tag() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let log = Syslog::at(path.clone(), 16, "my shop[1]");
        assert!(!log.send("nobody listens yet\n"));
        let socket = listen(&path);
        assert!(log.send(&(prefix("error", 42) + "[group shop] it broke\n")));
        let text = heard(&socket);
        assert!(text.starts_with("<131>"), "{text}");
        assert!(
            text.ends_with(" my_shop_1_[42]: [group shop] it broke"),
            "{text}"
        );
    }

    #[test]
    fn a_daemon_that_was_restarted_is_found_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let first = listen(&path);
        let log = Syslog::at(path.clone(), 23, "httpd");
        assert!(log.send("one\n"));
        drop(first);
        std::fs::remove_file(&path).unwrap();
        assert!(!log.send("lost\n"));
        let second = listen(&path);
        assert!(log.send("two\n"));
        assert!(heard(&second).ends_with("two"));
    }

    #[test]
    fn one_that_does_not_read_holds_nobody_up() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let _deaf = listen(&path);
        let log = Syslog::at(path, 23, "httpd");
        let begun = std::time::Instant::now();
        let sent = (0..2000)
            .map(|_| log.send("line\n"))
            .take_while(|sent| *sent)
            .count();
        assert!(sent < 2000, "its queue is full at some time");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
