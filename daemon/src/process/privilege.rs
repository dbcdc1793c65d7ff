//! How a process stops being root, for good. Called by `exec`, between the settings that
//! need privilege and the exec of Python, and by `wsgid check` in a process of its own;
//! knows nothing of Python. Every failure ends the process: a worker with half an
//! identity must not run.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use wsgid_protocol::control::Identity;

use crate::exit_code::launcher;
use crate::sys;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    #[error(
        "user `{user}` (uid {uid}, gid {gid}): workers never run as root; set user= and group= to an ordinary account"
    )]
    Root { user: String, uid: u32, gid: u32 },
    #[error("failed to {step} for user `{user}`: {errno}")]
    Refused {
        step: &'static str,
        user: String,
        errno: Errno,
    },
    #[error(
        "the launcher runs as uid {is} but the worker belongs to uid {wanted}, and only root can change that"
    )]
    WrongUser { is: Uid, wanted: u32 },
    #[error("after the change to user `{user}` {what}")]
    NotProven { user: String, what: String },
}

impl PrivilegeError {
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Root { .. } => launcher::ROOT_REFUSED,
            Self::Refused { .. } | Self::WrongUser { .. } => launcher::IDENTITY,
            Self::NotProven { .. } => launcher::STILL_PRIVILEGED,
        }
    }
}

/// Whether a worker's `oom_score_adj` stays at least what the launcher writes. The
/// kernel asks for CAP_SYS_RESOURCE outside of all user namespaces; root in a
/// container often does not have it.
pub(crate) fn may_fix_memory_score() -> bool {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    has_resource_capability(&read("/proc/self/status"))
        && is_first_namespace(&read("/proc/self/uid_map"))
}

fn has_resource_capability(status: &str) -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> CAP_SYS_RESOURCE & 1 == 1)
}

/// The first user namespace maps every number to itself.
fn is_first_namespace(uid_map: &str) -> bool {
    let numbers: Vec<u32> = uid_map
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    numbers == [0, 0, u32::MAX]
}

/// Becomes `identity`, and proves that there is no way back.
pub(crate) fn drop_privileges(identity: &Identity) -> Result<(), PrivilegeError> {
    let refused = |step| {
        move |errno| PrivilegeError::Refused {
            step,
            user: identity.user.clone(),
            errno,
        }
    };
    let failed = |step| {
        move |error: std::io::Error| {
            refused(step)(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
        }
    };
    if !identity.change {
        let is = Uid::effective();
        return if is.as_raw() == identity.uid {
            sys::clear_capabilities().map_err(failed("give up capabilities"))
        } else {
            Err(PrivilegeError::WrongUser {
                is,
                wanted: identity.uid,
            })
        };
    }
    if identity.uid == 0 || identity.gid == 0 {
        return Err(PrivilegeError::Root {
            user: identity.user.clone(),
            uid: identity.uid,
            gid: identity.gid,
        });
    }
    let uid = Uid::from_raw(identity.uid);
    let gid = Gid::from_raw(identity.gid);
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
    let fail = |what: &str| PrivilegeError::NotProven {
        user: identity.user.clone(),
        what: what.to_owned(),
    };
    let uid = Uid::from_raw(identity.uid);
    let gid = Gid::from_raw(identity.gid);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_a_container_is_told_from_root_of_the_machine() {
        assert!(has_resource_capability(
            "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n"
        ));
        // As container engines have it by default.
        assert!(!has_resource_capability("CapEff:\t00000000a80425fb\n"));
        assert!(!has_resource_capability(""));
        assert!(is_first_namespace("         0          0 4294967295\n"));
        assert!(!is_first_namespace("         0     100000      65536\n"));
        assert!(!is_first_namespace(""));
    }
}
