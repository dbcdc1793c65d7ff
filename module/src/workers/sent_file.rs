//! A descriptor that a worker sent with FILE: httpd reads and closes it on the
//! request's thread, so it must be a file that answers. Called by
//! `connection.rs`; what is refused is its to dispose of. Nothing here asks a
//! file system that could be a stranger's program.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::statfs::fstatfs;

use crate::sys::stat::{self, MountNumber};

/// The magic number of all file systems that a program makes (`fuse`, `virtiofs`).
const FUSE: u64 = 0x6573_5546;
/// File systems without a program behind them and without a device of their own
/// (tmpfs, ramfs, hugetlbfs, btrfs, bcachefs, ZFS): what a mount of another
/// namespace may be.
const FOREIGN: [u32; 6] = [
    0x0102_1994,
    0x8584_58f6,
    0x9584_58f6,
    0x9123_683e,
    0xca45_1a4e,
    0x2fc1_2fc1,
];

/// Why it is refused, if it is.
pub(crate) fn refusal(fd: BorrowedFd<'_>) -> Option<&'static str> {
    let Ok(flags) = fcntl(fd, FcntlArg::F_GETFL).map(OFlag::from_bits_retain) else {
        return Some("FILE with a descriptor that cannot be looked at");
    };
    // Of one that cannot be read, `mod_http2` in clear would send what its buffer
    // held before (EBADF is not looked at), as a complete response.
    if flags & OFlag::O_ACCMODE == OFlag::O_WRONLY || flags.contains(OFlag::O_PATH) {
        return Some("FILE with a descriptor that cannot be read");
    }
    // At an odd offset it is shorter than its size.
    if flags.contains(OFlag::O_DIRECT) {
        return Some("FILE with a descriptor that is open with O_DIRECT");
    }
    let Ok(facts) = stat::facts(fd) else {
        return Some("FILE with a descriptor that cannot be looked at");
    };
    if facts.mode & libc::S_IFMT != libc::S_IFREG {
        return Some("FILE with a descriptor that is no regular file");
    }
    // What has a device has no program behind it that a stranger started.
    let answers = facts.device_major != 0 || at_mount(facts.mount, fd);
    (!answers).then_some("FILE with a file of a file system that may never answer (FUSE)")
}

/// Whether the file system of this mount answers.
fn at_mount(mount: Option<MountNumber>, fd: BorrowedFd<'_>) -> bool {
    let here = match mount {
        Some(MountNumber::Unique(number)) => match stat::magic_at(number) {
            Ok(magic) => Some(magic != FUSE),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
            // Not permitted in this container: the list has it as well.
            Err(_) => mount_number(fd).and_then(in_list),
        },
        Some(MountNumber::Reused(number)) => in_list(number),
        None => None,
    };
    // A mount of another namespace. A FUSE file system there does not ask its
    // program for the sake of strangers.
    here.unwrap_or_else(|| {
        // The kernel's number has 32 bits, and some types here have a sign.
        fstatfs(fd).is_ok_and(|found| FOREIGN.contains(&(found.filesystem_type().0 as u32)))
    })
}

/// The number that a descriptor's mount has in the list of mounts.
fn mount_number(fd: BorrowedFd<'_>) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// Whether the mount with this number is of a file system that answers; `None`
/// if the list does not have it.
fn in_list(number: u64) -> Option<bool> {
    listed(&fs::read_to_string("/proc/self/mountinfo").ok()?, number)
}

fn listed(mountinfo: &str, number: u64) -> Option<bool> {
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').next().and_then(|id| id.parse().ok()) == Some(number))?;
    let (_, kind) = line.split_once(" - ")?;
    let kind = kind.split(' ').next().unwrap_or_default();
    Some(!kind.starts_with("fuse") && kind != "virtiofs")
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn an_ordinary_file_is_taken_whatever_it_lies_on() {
        assert_eq!(refusal(tempfile::tempfile().unwrap().as_fd()), None);
        assert_eq!(
            refusal(File::open("/proc/self/status").unwrap().as_fd()),
            None
        );
        let memory =
            nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::empty()).unwrap();
        assert_eq!(refusal(memory.as_fd()), None);
    }

    #[test]
    fn what_cannot_be_read_or_is_no_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = |flags: i32| {
            OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(file.path())
        };
        assert!(
            refusal(open(libc::O_PATH).unwrap().as_fd())
                .unwrap()
                .contains("cannot be read")
        );
        assert!(
            refusal(File::create(file.path()).unwrap().as_fd())
                .unwrap()
                .contains("cannot be read")
        );
        assert!(
            refusal(File::open("/").unwrap().as_fd())
                .unwrap()
                .contains("no regular file")
        );
        assert!(
            refusal(File::open("/dev/zero").unwrap().as_fd())
                .unwrap()
                .contains("no regular file")
        );
        // Not every file system has it.
        if let Ok(direct) = open(libc::O_DIRECT) {
            assert!(refusal(direct.as_fd()).unwrap().contains("O_DIRECT"));
        }
    }

    #[test]
    fn the_list_of_mounts_tells_the_kind() {
        let list = "36 35 98:0 / / rw - ext4 /dev/root rw\n40 36 0:50 / /home/a/m rw shared:1 - fuse.sshfs a:/ rw\n";
        assert_eq!(listed(list, 36), Some(true));
        assert_eq!(listed(list, 40), Some(false));
        assert_eq!(listed(list, 41), None);
    }
}
