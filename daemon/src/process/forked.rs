//! How a worker that a preloader forks comes to the supervisor (the fork
//! handshake): its control socket and pipes are made here, and its first message on
//! that socket says which process it is. The kernel says who sent it
//! (SCM_CREDENTIALS); what the preloader claims does not count. Used by `supervisor/preload.rs`.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::cmsg_space;
use nix::fcntl::OFlag;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg,
    setsockopt, socketpair,
};
use nix::unistd::pipe2;
use wsgid_protocol::refusal::Unwanted;

use crate::channel::closing::Guarded;
use crate::process::child::Running;
use crate::process::procfs;
use crate::sys;
use wsgid_policy::ids::Owner;

/// A fork takes milliseconds; hooks of the application may take longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the helper between preloader and worker may live on.
const HELPER: Duration = Duration::from_secs(1);

pub(crate) struct Expected {
    control: Guarded,
    pipes: [OwnedFd; 2],
}

impl Expected {
    /// Makes its descriptors: ours, and those that the preloader is to have.
    pub(crate) fn new(group: &str) -> io::Result<(Self, [Arc<OwnedFd>; 3])> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (control, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let control = Guarded::new(control, group);
        setsockopt(&control.as_fd(), PassCred, &true)?;
        let (out, out_theirs) = pipe2(OFlag::O_CLOEXEC)?;
        let (err, err_theirs) = pipe2(OFlag::O_CLOEXEC)?;
        let theirs = [theirs, out_theirs, err_theirs].map(Arc::new);
        let pipes = [out, err];
        Ok((Self { control, pipes }, theirs))
    }

    pub(crate) async fn wait(self, owner: Owner) -> Result<Running, String> {
        let first = tokio::time::timeout(TIMEOUT, self.first_message()).await;
        let (sender, inbox) = match first {
            Ok(Ok(first)) => first,
            Ok(Err(error)) => return Err(format!("the preloader could not fork: {error}")),
            Err(_) => {
                let seconds = TIMEOUT.as_secs();
                return Err(format!("the preloader did not fork within {seconds} s"));
            }
        };
        let pid = u32::try_from(sender.pid()).map_err(|error| error.to_string())?;
        if (sender.uid(), sender.gid()) != (owner.uid, owner.gid) {
            return Err(format!(
                "process {pid} runs as uid {} and gid {}, which no worker does",
                sender.uid(),
                sender.gid()
            ));
        }
        if !is_child_soon(pid).await {
            return Err(format!("process {pid} is not a child of the supervisor"));
        }
        setsockopt(&self.control.as_fd(), PassCred, &false).map_err(|errno| errno.to_string())?;
        let Self { control, pipes } = self;
        Ok(Running {
            pid,
            control,
            pipes,
            inbox,
        })
    }

    async fn first_message(&self) -> io::Result<(UnixCredentials, Vec<u8>)> {
        let readable = sys::poll_reads(self.control.as_fd().try_clone_to_owned()?)?;
        loop {
            let mut ready = readable.readable().await?;
            match self.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                other => return other,
            }
        }
    }

    fn receive(&self) -> io::Result<(UnixCredentials, Vec<u8>)> {
        let mut bytes = vec![0; 4096];
        if !self.control.is_enforced() {
            // Credentials have room and descriptors have none: those stay where they are.
            let (_, _, cut) = receive_once(&self.control, &mut bytes, MsgFlags::MSG_PEEK)?;
            if cut {
                return Err(io::Error::new(io::ErrorKind::InvalidData, Unwanted));
            }
        }
        let (count, sender, _) = receive_once(&self.control, &mut bytes, MsgFlags::empty())?;
        if count == 0 {
            return Err(io::Error::other("the new process ended at once"));
        }
        bytes.truncate(count);
        let sender = sender.ok_or_else(|| io::Error::other("the kernel did not say who spoke"))?;
        Ok((sender, bytes))
    }
}

/// How many bytes, who sent them, and whether something beside them was left out.
fn receive_once(
    control: &Guarded,
    bytes: &mut [u8],
    flags: MsgFlags,
) -> io::Result<(usize, Option<UnixCredentials>, bool)> {
    let mut space = cmsg_space!(UnixCredentials);
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let socket = control.as_fd().as_raw_fd();
    let message = recvmsg::<()>(socket, &mut slices, Some(&mut space), flags)?;
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Ok((message.bytes, None, true));
    }
    let sender = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmCredentials(who) => Some(who),
        _ => None,
    });
    Ok((message.bytes, sender, false))
}

/// Whether this process is, or becomes within a moment, a child of this one:
/// the helper that forked it may be about to end.
async fn is_child_soon(pid: u32) -> bool {
    let until = tokio::time::Instant::now() + HELPER;
    loop {
        match procfs::parent_of(pid) {
            Some(parent) if parent == std::process::id() => return true,
            None => return false,
            Some(_) if tokio::time::Instant::now() > until => return false,
            Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        }
    }

    #[tokio::test]
    async fn whoever_speaks_is_known_by_the_kernel_and_must_be_a_child() {
        let (expected, theirs) = Expected::new("a group").unwrap();
        nix::unistd::write(&*theirs[0], b"hello").unwrap();
        let problem = expected.wait(owner()).await.unwrap_err();
        let own = format!("process {} is not a child", std::process::id());
        assert!(problem.contains(&own), "{problem}");

        let (expected, theirs) = Expected::new("a group").unwrap();
        let output = theirs[0].try_clone().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo hello; read x"])
            .stdout(output)
            .spawn()
            .unwrap();
        let running = expected.wait(owner()).await.unwrap();
        assert_eq!(
            (running.pid, &*running.inbox),
            (child.id(), &b"hello\n"[..])
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn another_user_is_refused_and_an_end_is_seen() {
        let (expected, theirs) = Expected::new("a group").unwrap();
        nix::unistd::write(&*theirs[0], b"hello").unwrap();
        let other = Owner {
            uid: owner().uid + 1,
            gid: 1,
        };
        assert!(
            expected
                .wait(other)
                .await
                .unwrap_err()
                .contains("which no worker does")
        );
        let (expected, theirs) = Expected::new("a group").unwrap();
        drop(theirs);
        assert!(
            expected
                .wait(owner())
                .await
                .unwrap_err()
                .contains("ended at once")
        );
    }
}
