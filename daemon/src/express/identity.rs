//! Who httpd and the application run as, and whether that user can reach the
//! application's files. Called by `plan`.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, geteuid};
use serde::Serialize;

use super::options::ServerOptions;

/// The user and group of everything that serves requests.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerAccount {
    pub(crate) user: String,
    pub(crate) group: String,
    #[serde(skip)]
    pub(crate) uid: Uid,
    #[serde(skip)]
    pub(crate) gid: Gid,
    /// All groups of the user, for the look at files.
    #[serde(skip)]
    groups: Vec<Gid>,
    /// Whether this process is root and httpd has to change to the account.
    pub(crate) change: bool,
}

/// Why the account cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error(
        "started as root: give --user (and --group, if not the user's own), the account that httpd and the application run as"
    )]
    Required,
    #[error("{0} `{1}` does not exist on this system")]
    Unknown(&'static str, String),
    #[error("{0} `{1}` is root; applications never run as root, give an ordinary account")]
    Root(&'static str, String),
    #[error("failed to look up {0} `{1}`: {2}")]
    LookUp(&'static str, String, nix::Error),
}

impl ServerAccount {
    pub(crate) fn resolve(options: &ServerOptions) -> Result<Self, AccountError> {
        let environment = &options.environment;
        if !geteuid().is_root() {
            return Ok(Self::current());
        }
        let Some(user) = &environment.user else {
            return Err(AccountError::Required);
        };
        let found = find_user(user)?;
        let (group, gid) = match &environment.group {
            Some(group) => (group.clone(), find_group(group)?),
            None => {
                let name = group_name(found.gid);
                let gid = if_not_root(found.gid, &name)?;
                (name, gid)
            }
        };
        let name = CString::new(found.name.clone()).unwrap_or_default();
        let mut groups = nix::unistd::getgrouplist(&name, gid).unwrap_or_default();
        groups.push(gid);
        Ok(Self {
            user: found.name,
            group,
            uid: found.uid,
            gid,
            groups,
            change: true,
        })
    }

    fn current() -> Self {
        let uid = geteuid();
        let gid = nix::unistd::getegid();
        let user = User::from_uid(uid).ok().flatten();
        Self {
            user: user.map_or_else(|| format!("#{uid}"), |user| user.name),
            group: group_name(gid),
            uid,
            gid,
            groups: nix::unistd::getgroups().unwrap_or_default(),
            change: false,
        }
    }

    /// The user and group to change to, if this process is not the account's.
    pub(crate) fn to_change_to(&self) -> Option<(Uid, Gid)> {
        self.change.then_some((self.uid, self.gid))
    }

    /// The component of `path` that an account to change to may not pass, by the mode
    /// bits alone. Access control lists may still let it in, so this is a warning.
    pub(crate) fn closed_component(&self, path: &Path) -> Option<PathBuf> {
        if !self.change {
            return None;
        }
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        let closed = above.into_iter().find(|part| {
            let Ok(facts) = part.metadata() else {
                return false;
            };
            let wanted = if facts.is_dir() { 0o1 } else { 0o4 };
            let shift = if facts.uid() == self.uid.as_raw() {
                6
            } else if self.groups.iter().any(|gid| gid.as_raw() == facts.gid()) {
                3
            } else {
                0
            };
            (facts.mode() >> shift) & wanted == 0
        });
        closed.map(Path::to_path_buf)
    }
}

/// The name of a group, else its number as `#1000`.
fn group_name(gid: Gid) -> String {
    let group = Group::from_gid(gid).ok().flatten();
    group.map_or_else(|| format!("#{gid}"), |group| group.name)
}

/// Looks a user up by name, or by number as `#1000`.
fn find_user(name: &str) -> Result<User, AccountError> {
    let found = match number(name) {
        Some(number) => User::from_uid(Uid::from_raw(number)),
        None => User::from_name(name),
    };
    let user = known(found, name, "--user")?;
    if user.uid.is_root() {
        return Err(AccountError::Root("--user", name.to_owned()));
    }
    Ok(user)
}

/// Looks a group up by name, or by number as `#1000`.
fn find_group(name: &str) -> Result<Gid, AccountError> {
    let gid = match number(name) {
        Some(number) => Gid::from_raw(number),
        None => known(Group::from_name(name), name, "--group")?.gid,
    };
    if_not_root(gid, name)
}

fn if_not_root(gid: Gid, name: &str) -> Result<Gid, AccountError> {
    match gid.as_raw() {
        0 => Err(AccountError::Root("--group", name.to_owned())),
        _ => Ok(gid),
    }
}

/// `#1000` is a number.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix('#')?.parse().ok()
}

/// What the system's accounts have under the name that an option gives.
fn known<T>(
    found: nix::Result<Option<T>>,
    name: &str,
    option: &'static str,
) -> Result<T, AccountError> {
    match found {
        Ok(found) => found.ok_or_else(|| AccountError::Unknown(option, name.to_owned())),
        Err(errno) => Err(AccountError::LookUp(option, name.to_owned(), errno)),
    }
}
