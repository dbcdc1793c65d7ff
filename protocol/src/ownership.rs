//! Who must own a script (`script-user`, `script-group`): looked at by the httpd child
//! before a request goes to a worker, as in mod_wsgi, and by a worker that loads a script
//! before anybody asks for it. A script or directory that others may write is nobody's.
//! Knows files and numbers, nothing of requests.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Group, User};

use crate::GroupConfig;

/// Write permission of the group and of all others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The system takes this number for "leave it as it is".
const NOBODY: u32 = u32::MAX;

/// The number behind `name` or `#number`.
#[must_use]
pub fn uid_of(name: &str) -> Option<u32> {
    match name.strip_prefix('#') {
        Some(digits) => number(digits),
        None => Some(User::from_name(name).ok()??.uid.as_raw()),
    }
}

/// The same for groups.
#[must_use]
pub fn gid_of(name: &str) -> Option<u32> {
    match name.strip_prefix('#') {
        Some(digits) => number(digits),
        None => Some(Group::from_name(name).ok()??.gid.as_raw()),
    }
}

fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|number| *number != NOBODY)
}

/// The primary group of a user, named or with `#` and a number. A number
/// without an account has the group of the same number, as the supervisor has it.
#[must_use]
pub fn primary_gid_of(name: &str) -> Option<u32> {
    let uid = uid_of(name)?;
    let account = match name.strip_prefix('#') {
        Some(_) => User::from_uid(uid.into()),
        None => User::from_name(name),
    };
    Some(account.ok().flatten().map_or(uid, |user| user.gid.as_raw()))
}

/// An account that is asked for: its name, and its number if it still exists.
#[derive(Clone, Debug)]
struct RequiredOwner {
    name: String,
    number: Option<u32>,
}

/// What a process group demands of its scripts.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    user: Option<RequiredOwner>,
    group: Option<RequiredOwner>,
}

impl RequiredOwner {
    fn new(name: &str, number: Option<u32>) -> Self {
        Self {
            name: name.to_owned(),
            number,
        }
    }
}

impl Ownership {
    /// What the options of a group demand.
    #[must_use]
    pub fn of(config: &GroupConfig) -> Self {
        let user = config.script_user.as_deref();
        let group = config.script_group.as_deref();
        Self {
            user: user.map(|name| RequiredOwner::new(name, uid_of(name))),
            group: group.map(|name| RequiredOwner::new(name, gid_of(name))),
        }
    }

    /// Whether the script and its directory are owned as demanded.
    ///
    /// # Errors
    /// Why they are not.
    pub fn check(&self, script: &[u8]) -> Result<(), String> {
        if self.user.is_none() && self.group.is_none() {
            return Ok(());
        }
        let script = Path::new(OsStr::from_bytes(script));
        self.check_one(script)?;
        script
            .parent()
            .map_or(Ok(()), |directory| self.check_one(directory))
    }

    fn check_one(&self, path: &Path) -> Result<(), String> {
        let shown = path.display();
        let found = std::fs::metadata(path)
            .map_err(|error| format!("the owner of `{shown}` is not known: {error}"))?;
        for (option, required, kind, number) in [
            ("script-user", &self.user, "uid", found.uid()),
            ("script-group", &self.group, "gid", found.gid()),
        ] {
            if let Some(required) = required
                && required.number != Some(number)
            {
                return Err(format!(
                    "`{shown}` belongs to {kind} {number}, {option}= demands `{}`",
                    required.name
                ));
            }
        }
        if found.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(format!(
                "`{shown}` may be written by others (mode {:o}); chmod go-w it",
                found.mode() & 0o7777
            ));
        }
        Ok(())
    }
}
