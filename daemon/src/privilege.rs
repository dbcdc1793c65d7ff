//! How the launcher stops being root, for good. Called once by `exec` between
//! the settings that need privilege and the exec of Python; knows nothing of
//! Python. Every failure ends the process: a worker with half an identity must
//! not run.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use wsgid_protocol::control::Identity;

use crate::exit_code::launcher;
use crate::sys;

/// Why privileges could not be dropped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    #[error(
        "user `{user}` (uid {uid}, gid {gid}): workers never run as root; set user= and group= to an ordinary account"
    )]
    Root { user: String, uid: u32, gid: u32 },
    #[error("failed to {step} for user `{user}`: {errno}")]
    Refused { step: &'static str, user: String, errno: Errno },
    #[error("the launcher runs as uid {is} but the worker belongs to uid {wanted}, and only root can change that")]
    WrongUser { is: Uid, wanted: u32 },
    #[error("after the change to user `{user}` {what}")]
    NotProven { user: String, what: String },
}

impl PrivilegeError {
    /// The launcher's exit code for this error.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Root { .. } => launcher::ROOT_REFUSED,
            Self::Refused { .. } | Self::WrongUser { .. } => launcher::IDENTITY,
            Self::NotProven { .. } => launcher::STILL_PRIVILEGED,
        }
    }
}

/// Becomes `identity`, and proves that there is no way back.
pub(crate) fn drop_privileges(identity: &Identity) -> Result<(), PrivilegeError> {
    let refused = |step| move |errno| PrivilegeError::Refused { step, user: identity.user.clone(), errno };
    let failed = |step| move |error: std::io::Error| refused(step)(Errno::from_raw(error.raw_os_error().unwrap_or(0)));
    if !identity.change {
        let is = Uid::effective();
        return match is.as_raw() == identity.uid {
            true => sys::clear_capabilities().map_err(failed("give up capabilities")),
            false => Err(PrivilegeError::WrongUser { is, wanted: identity.uid }),
        };
    }
    if identity.uid == 0 || identity.gid == 0 {
        return Err(PrivilegeError::Root { user: identity.user.clone(), uid: identity.uid, gid: identity.gid });
    }
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let groups = wanted_groups(identity);
    // The order matters: each step needs the privilege that the next gives up.
    sys::leave_keyring().map_err(failed("leave the session keyring"))?;
    setgroups(&groups).map_err(refused("set the supplementary groups"))?;
    setresgid(gid, gid, gid).map_err(refused("change the group"))?;
    setresuid(uid, uid, uid).map_err(refused("change the user"))?;
    sys::clear_capabilities().map_err(failed("give up capabilities"))?;
    prove(identity, &groups)
}

/// The groups of a worker: the primary one and the others, never root's.
pub(crate) fn wanted_groups(identity: &Identity) -> Vec<Gid> {
    let mut groups: Vec<Gid> = std::iter::once(identity.gid)
        .chain(identity.groups.iter().copied().filter(|gid| *gid != 0))
        .map(Gid::from_raw)
        .collect();
    groups.sort_unstable_by_key(|gid| gid.as_raw());
    groups.dedup();
    groups
}

fn prove(identity: &Identity, groups: &[Gid]) -> Result<(), PrivilegeError> {
    let fail = |what: &str| PrivilegeError::NotProven { user: identity.user.clone(), what: what.to_owned() };
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let uids = getresuid().map_err(|_| fail("the user ids cannot be read"))?;
    if [uids.real, uids.effective, uids.saved] != [uid; 3] {
        return Err(fail("the user ids are not all the new one"));
    }
    let gids = getresgid().map_err(|_| fail("the group ids cannot be read"))?;
    if [gids.real, gids.effective, gids.saved] != [gid; 3] {
        return Err(fail("the group ids are not all the new one"));
    }
    let mut now = getgroups().map_err(|_| fail("the supplementary groups cannot be read"))?;
    now.sort_unstable_by_key(|gid| gid.as_raw());
    now.dedup();
    if now != groups {
        return Err(fail("the supplementary groups are not those that were set"));
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err(fail("root could be had back"));
    }
    if setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).is_ok() {
        return Err(fail("root's group could be had back"));
    }
    Ok(())
}
