//! What is left in the file system when httpd ends and cannot remove it: it was
//! killed, or it was one process (`-X`), which is no longer root at its end.
//! Called by the supervisor as its last deed. What httpd removes itself is in
//! the module's `launch/listener.rs`.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{UnixAddr, getsockname};
use nix::unistd::{Pid, getppid};
use wsgid_protocol::readiness;

use crate::channel::operator;

/// How long a process may need from closing its descriptors to its end.
const ENDING: Duration = Duration::from_secs(1);

/// The path of a socket in the file system.
pub(crate) fn path_of(socket: &OwnedFd) -> Option<PathBuf> {
    let address: UnixAddr = getsockname(socket.as_raw_fd()).ok()?;
    address
        .path()
        .filter(|path| path.is_absolute())
        .map(Path::to_path_buf)
}

/// Removes the sockets once the parent, which said nothing, has ended. A parent that
/// lives keeps them for the next supervisor.
pub(crate) async fn remove_after(parent: Pid, listener: &OwnedFd) {
    let gone = async {
        while getppid() == parent {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(ENDING, gone).await.is_ok() {
        remove(listener);
    }
}

/// Removes the sockets and their directory, which is nobody else's: it has the parent's
/// number in its name. What cannot be removed is removed by the next with that number.
pub(crate) fn remove(listener: &OwnedFd) {
    let Some(path) = path_of(listener) else {
        return;
    };
    let _ = fs::remove_file(&path);
    if let Some(directory) = path.parent() {
        let _ = fs::remove_file(directory.join(operator::NAME));
        let _ = fs::remove_file(directory.join(readiness::FILE));
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn the_sockets_of_a_parent_that_has_gone_are_removed_and_no_others() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("wsgid.1");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("httpd.sock");
        let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
        assert_eq!(path_of(&listener).as_ref(), Some(&path));
        fs::write(directory.join(operator::NAME), "").unwrap();
        fs::write(directory.join(readiness::FILE), "").unwrap();
        remove_after(getppid(), &listener).await;
        assert!(path.exists(), "the parent lives");
        // No process has this number: the parent is another one by now.
        remove_after(Pid::from_raw(i32::MAX), &listener).await;
        assert!(!directory.exists());
    }
}
