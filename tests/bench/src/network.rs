//! A network of the benchmark's own: a namespace with nothing but a loopback,
//! so that what is set for the machine (above all a congestion control that
//! paces its sends) does not falsify the figures, and nothing of the machine is
//! changed. Called once by `main`, before any server or thread is started.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use nix::unistd::Uid;

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// What is set in the network of its own: it sends as fast as the receiver
/// reads, and every kernel has it.
const WANTED: &str = "cubic";

/// The loopback is the first interface of a namespace.
const LOOPBACK: i32 = 1;

/// Moves this thread, and with it all that it starts, into a network of its
/// own. Says why not where that is not possible: figures of large transfers
/// are then those of whatever congestion control is set.
pub(crate) fn isolate() -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("only root can make a network namespace");
    }
    unshare(CloneFlags::CLONE_NEWNET).context("failed to make a network namespace")?;
    raise_loopback().context("failed to bring up the loopback of the network namespace")?;
    fs::write(CONGESTION, WANTED)
        .with_context(|| format!("failed to set TCP congestion control {WANTED}"))
}

/// The congestion control of the network that this thread is in.
pub(crate) fn congestion() -> String {
    fs::read_to_string(CONGESTION)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Asks the kernel as `ip link set lo up` does.
fn raise_loopback() -> Result<()> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    send(netlink.as_raw_fd(), &link_up(LOOPBACK), MsgFlags::empty())?;
    let mut answer = [0; 256];
    let len = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // NLMSG_ERROR: a head of 16 bytes, then an error number that is 0 for success.
    let code = answer
        .get(..len)
        .and_then(|answer| answer.get(16..)?.first_chunk())
        .map(|code| i32::from_ne_bytes(*code));
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code).into()),
        None => bail!("the kernel's answer is cut short"),
    }
}

/// RTM_NEWLINK with an acknowledgement, setting IFF_UP of one interface.
fn link_up(interface: i32) -> [u8; 32] {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const NLM_F_ACK: u16 = 4;
    const IFF_UP: u32 = 1;
    let mut message = [0; 32];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        message[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    // nlmsghdr: length, type, flags, sequence, port.
    put(&32_u32.to_ne_bytes());
    put(&RTM_NEWLINK.to_ne_bytes());
    put(&(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    put(&[0; 8]);
    // ifinfomsg: family, type, index, flags, which flags change.
    put(&[0; 4]);
    put(&interface.to_ne_bytes());
    put(&IFF_UP.to_ne_bytes());
    put(&IFF_UP.to_ne_bytes());
    message
}
