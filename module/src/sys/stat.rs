//! What the kernel knows of a descriptor and of mounts, without a word to a
//! file system that could be a stranger's program. Used by `sent_file.rs`.

#![expect(unsafe_code, reason = "statx and statmount have no safe form")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// 64-bit architectures agree on new numbers.
const SYS_STATMOUNT: libc::c_long = 457;
/// The file system of a mount, into the fields that [`Mount`] names.
const STATMOUNT_SB_BASIC: u64 = 1;

/// What is known of a descriptor.
pub(crate) struct DescriptorFacts {
    pub(crate) mode: u32,
    /// 0: the device is no device, but that of a file system alone.
    pub(crate) device_major: u32,
    /// Of its mount.
    pub(crate) mount: Option<MountNumber>,
}

/// The number of a mount.
#[derive(Clone, Copy)]
pub(crate) enum MountNumber {
    /// As `/proc/self/mountinfo` has it.
    Reused(u64),
    /// Never used twice (Linux 6.8).
    Unique(u64),
}

/// Asks for what is cached: a file system that is a program is not asked.
///
/// # Errors
/// As `statx(2)`.
pub(crate) fn facts(fd: BorrowedFd<'_>) -> io::Result<DescriptorFacts> {
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let wanted = libc::STATX_TYPE | libc::STATX_MNT_ID_UNIQUE | libc::STATX_MNT_ID;
    // SAFETY: an open descriptor, an empty C string, and room for one structure.
    let outcome = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            wanted,
            out.as_mut_ptr(),
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all-zero bytes are a valid `statx`, and so is what was written.
    let found = unsafe { out.assume_init() };
    let number = found.stx_mnt_id;
    let mount = if found.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0 {
        Some(MountNumber::Unique(number))
    } else {
        (found.stx_mask & libc::STATX_MNT_ID != 0).then_some(MountNumber::Reused(number))
    };
    Ok(DescriptorFacts {
        mode: u32::from(found.stx_mode),
        device_major: found.stx_dev_major,
        mount,
    })
}

/// The kernel's `mnt_id_req`.
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    number: u64,
    wanted: u64,
}

/// The beginning of the kernel's `statmount`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mount {
    size: u32,
    options: u32,
    mask: u64,
    device_major: u32,
    device_minor: u32,
    magic: u64,
    /// The kernel refuses less room than its whole structure.
    rest: [u64; 64],
}

/// The magic number of the file system at a mount of this namespace.
///
/// # Errors
/// As `statmount(2)` (Linux 6.8): `ENOENT` if the mount is not of this namespace.
pub(crate) fn magic_at(number: u64) -> io::Result<u64> {
    let asked = MountRequest {
        size: 24,
        spare: 0,
        number,
        wanted: STATMOUNT_SB_BASIC,
    };
    let mut out = MaybeUninit::<Mount>::zeroed();
    let room = (out.as_mut_ptr(), size_of::<Mount>());
    // SAFETY: two structures with their lengths, alive for the call.
    let outcome = unsafe { libc::syscall(SYS_STATMOUNT, &raw const asked, room.0, room.1, 0_u64) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all-zero bytes are valid numbers, and so is what was written.
    let found = unsafe { out.assume_init() };
    if found.mask & STATMOUNT_SB_BASIC == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(found.magic)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_mount_of_this_namespace_says_what_it_is() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let found = facts(file.as_fd()).unwrap();
        assert_eq!(
            (found.device_major, found.mode & libc::S_IFMT),
            (0, libc::S_IFREG)
        );
        if let Some(MountNumber::Unique(number)) = found.mount {
            match magic_at(number) {
                Ok(magic) => assert_eq!(magic, 0x9fa0, "procfs"),
                Err(error) => assert!(
                    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)),
                    "{error}"
                ),
            }
        }
    }
}
