//! The rights of a site's user for one look at the file system, while this is root: what
//! belongs to a tenant is never opened with more. Used where logs are opened and where a
//! launcher looks for what a site reaches; knows neither.

use std::io;

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setfsgid, setfsuid};
use wsgid_protocol::control::Identity;

use crate::sys::set_thread_groups;

/// Does one thing with the rights of a user, for this thread alone; as ourselves where we are
/// that user, or have become it.
pub(crate) fn as_user<T>(who: &Identity, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if !who.change || !geteuid().is_root() {
        return act();
    }
    let own: Vec<u32> = getgroups()?.into_iter().map(Gid::as_raw).collect();
    set_thread_groups(&who.groups)?;
    let uid = Uid::from_raw(who.uid);
    let gid = Gid::from_raw(who.gid);
    setfsgid(gid);
    setfsuid(uid);
    // Neither call says whether it succeeded, but each tells what was before.
    let is_the_user = setfsuid(uid) == uid && setfsgid(gid) == gid;
    let done = if is_the_user {
        act()
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    };
    setfsuid(geteuid());
    setfsgid(getegid());
    set_thread_groups(&own)?;
    done
}
