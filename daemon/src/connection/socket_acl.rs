//! `socket-user=`: users as which httpd's children connect where another module
//! gives a child the identity of its virtual host (MPM-ITK, mod_ruid2). The
//! socket's access list lets these users in; which process group each may have
//! is looked at for every connection (`supervisor/requests.rs`).

use std::collections::BTreeSet;
use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys;

/// Writing is what `connect` needs.
const WRITE: u16 = 2;
/// Both, for the socket's owner.
const READ_WRITE: u16 = 6;
/// Who has no number.
const NOBODY: u32 = u32::MAX;

/// Lets these users connect, and nobody else but the owner.
///
/// Where nobody is named and nobody was, the socket is not touched: to change
/// what belongs to another user needs a capability (CAP_FOWNER) that nothing
/// else here needs. Without it, or where the file system has no access lists, these
/// users cannot be let in.
pub(crate) fn admit(socket: &Path, uids: &BTreeSet<u32>) -> io::Result<()> {
    if !uids.is_empty() {
        return sys::set_access_list(socket, &access_list(uids));
    }
    if !sys::has_access_list(socket)? {
        return Ok(());
    }
    // What the list allowed at most stays as the rights of the file's group.
    let removed = sys::remove_access_list(socket)
        .and_then(|()| set_permissions(socket, Permissions::from_mode(0o600)));
    match removed {
        // The list was inherited from the directory. Whoever gets in by it is turned
        // away by its number.
        Err(error) if is_forbidden(&error) => Ok(()),
        other => other,
    }
}

/// Whether the socket belongs to another user, and the capability is missing.
pub(crate) fn is_forbidden(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EPERM as i32)
}

/// As the kernel has it: a version, then tag, rights and number of each entry.
fn access_list(uids: &BTreeSet<u32>) -> Vec<u8> {
    const OWNER: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let users = uids.iter().map(|uid| (USER, WRITE, *uid));
    let rest = [
        (GROUP, 0, NOBODY),
        (MASK, WRITE, NOBODY),
        (OTHER, 0, NOBODY),
    ];
    let mut out = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, number) in [(OWNER, READ_WRITE, NOBODY)]
        .into_iter()
        .chain(users)
        .chain(rest)
    {
        out.extend(tag.to_le_bytes());
        out.extend(rights.to_le_bytes());
        out.extend(number.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_list_is_set_and_taken_away() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("httpd.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let rights = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        admit(&path, &BTreeSet::new()).unwrap();
        assert_eq!(rights(), 0o600);
        match admit(&path, &BTreeSet::from([4001, 4002])) {
            // The rights of the group show the most that the list allows.
            Ok(()) => assert_eq!(rights(), 0o620),
            Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::ENOTSUP as i32)),
        }
        admit(&path, &BTreeSet::new()).unwrap();
        assert_eq!(rights(), 0o600);
    }
}
