//! Tells systemd how the supervisor is (`sd_notify`): ready, reloading,
//! stopping, alive. Without `NOTIFY_SOCKET` all of it does nothing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use wsgid_protocol::clock::monotonic;

pub(crate) fn ready() {
    send("READY=1\n");
}

pub(crate) fn reloading() {
    send(&format!(
        "RELOADING=1\nMONOTONIC_USEC={}\n",
        monotonic().as_micros()
    ));
}

pub(crate) fn stopping() {
    send("STOPPING=1\n");
}

/// The loop still turns.
pub(crate) fn alive() {
    send("WATCHDOG=1\n");
}

/// How often systemd is to be told that the loop turns: twice in the time after
/// which it would end us. `None`: it does not watch.
pub(crate) fn watchdog() -> Option<Duration> {
    let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    variable("WATCHDOG_USEC")
        .filter(|time| is_ours && *time > 0)
        .map(|time| Duration::from_micros(time.div_ceil(2)))
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One line for `systemctl status`.
pub(crate) fn status(text: &str) {
    send(&format!("STATUS={text}\n"));
}

fn send(text: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let name = name.to_string_lossy();
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name.as_ref()),
    };
    // systemd that does not listen is nothing that could be told to anybody.
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to_addr(text.as_bytes(), &address);
    }
}
