//! The `/dev` of an isolated site. Called by `mounts`, which puts what the site has in the
//! place of `/dev/shm` over it.

use std::fs::{File, create_dir};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::handles::open_path;
use super::part::Lack;
use crate::sys;

/// What a covering file system may hold: names only.
pub(super) const COVER_OPTIONS: &str = "mode=0755,size=1m,nr_inodes=4096";

/// A `/dev` with what every program needs. Where it cannot be had, that of the system
/// stays.
pub(super) fn make() -> Result<(), Lack> {
    const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
    let mut nodes = Vec::new();
    for name in DEVICES {
        let node = sys::open_tree(open_path(&Path::new("/dev").join(name))?.as_fd())?;
        nodes.push((name, node));
    }
    let log = Path::new("/dev/log");
    let log_link = log.read_link().ok();
    if log_link.is_none()
        && let Ok(at) = open_path(log)
    {
        nodes.push(("log", sys::open_tree(at.as_fd())?));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(
        Some("tmpfs"),
        "/dev",
        Some("tmpfs"),
        flags,
        Some(COVER_OPTIONS),
    )?;
    let filled = fill_devices(&nodes, log_link.as_deref());
    if filled.is_err() {
        umount2("/dev", MntFlags::MNT_DETACH)?;
    }
    Ok(filled?)
}

fn fill_devices(nodes: &[(&str, OwnedFd)], log: Option<&Path>) -> io::Result<()> {
    let dev = Path::new("/dev");
    for (name, node) in nodes {
        File::create(dev.join(name))?;
        sys::move_mount(node.as_fd(), open_path(&dev.join(name))?.as_fd())?;
    }
    if let Some(target) = log {
        symlink(target, dev.join("log"))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name))?;
    }
    create_dir(dev.join("shm"))?;
    create_dir(dev.join("pts"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = Some("newinstance,ptmxmode=0666,mode=620");
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, options)?;
    Ok(())
}
