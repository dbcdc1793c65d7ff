//! Who must own a script (`script-user`, `script-group`) that is loaded before
//! anybody asks for it. httpd looks at those that are asked for, and by the same
//! rule: `module/src/configuration/ownership.rs`. Knows files and numbers.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Group, User};
use wsgid_protocol::GroupConfig;

/// Write permission of the group and of all others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Whether the script and its directory are owned as demanded; else why not.
pub(crate) fn check(config: &GroupConfig, script: &Path) -> Result<(), String> {
    if config.script_user.is_none() && config.script_group.is_none() {
        return Ok(());
    }
    check_one(config, script)?;
    script
        .parent()
        .map_or(Ok(()), |directory| check_one(config, directory))
}

fn check_one(config: &GroupConfig, path: &Path) -> Result<(), String> {
    let shown = path.display();
    // A script that is not there is told of where it is opened.
    let Ok(found) = std::fs::metadata(path) else {
        return Ok(());
    };
    if let Some(name) = config
        .script_user
        .as_deref()
        .filter(|name| uid_of(name) != Some(found.uid()))
    {
        return Err(format!(
            "`{shown}` belongs to uid {}, script-user= demands `{name}`",
            found.uid()
        ));
    }
    if let Some(name) = config
        .script_group
        .as_deref()
        .filter(|name| gid_of(name) != Some(found.gid()))
    {
        return Err(format!(
            "`{shown}` belongs to gid {}, script-group= demands `{name}`",
            found.gid()
        ));
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(format!(
            "`{shown}` may be written by others (mode {:o}); chmod go-w it",
            found.mode() & 0o7777
        ));
    }
    Ok(())
}

fn uid_of(name: &str) -> Option<u32> {
    match name.strip_prefix('#') {
        Some(number) => number.parse().ok(),
        None => User::from_name(name)
            .ok()
            .flatten()
            .map(|user| user.uid.as_raw()),
    }
}

fn gid_of(name: &str) -> Option<u32> {
    match name.strip_prefix('#') {
        Some(number) => number.parse().ok(),
        None => Group::from_name(name)
            .ok()
            .flatten()
            .map(|group| group.gid.as_raw()),
    }
}
