//! The landlock domain of an isolated process: what it reaches of other processes, of the
//! files (under `strict`, once more) and of the network. Called by the launcher as the
//! last step but one; needs no privilege.

use std::os::fd::AsFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::Isolation;

use super::handles::{is_directory, open_path};
use super::part::{Lack, Part};
use super::view::{READABLE, Shown, TEMPORARY};
use crate::sys;
use crate::user_rights::as_user;

/// The newest version whose rights are used here.
const NEWEST: ABI = ABI::V6;
/// The version that has them.
const SCOPES: i32 = 6;
/// Where every site may write.
const WRITABLE: [&str; 2] = ["/dev", "/proc"];

/// Enters it, as far as the kernel has it.
pub(super) fn enter(
    config: &GroupConfig,
    shown: &[Shown],
    program: Option<&Path>,
    who: &Identity,
) -> Vec<Part> {
    let wanted = wanted(config);
    if wanted.is_empty() {
        return Vec::new();
    }
    let version = sys::landlock_version();
    let entered = confine(config, shown, (program, who), version);
    let parts = wanted.into_iter().map(|(name, least, linux)| {
        let lack = match &entered {
            Err(Lack::Kernel(why) | Lack::Definition(why)) => Some(why.clone()),
            Ok(()) if version == 0 => Some("the kernel has no landlock".into()),
            Ok(()) if version < least => Some(format!("this needs Linux {linux}")),
            Ok(()) => None,
        };
        (name, lack.map_or(Ok(()), |why| Err(Lack::Kernel(why))))
    });
    parts.collect()
}

/// What is wanted of it, and the version of landlock and of Linux that has it.
fn wanted(config: &GroupConfig) -> Vec<(&'static str, i32, &'static str)> {
    let mut parts = Vec::new();
    if config.isolation > Isolation::None {
        parts.push(("tracing", 2, "5.19"));
        parts.push(("signals", SCOPES, "6.12"));
        parts.push(("abstract-sockets", SCOPES, "6.12"));
    }
    if config.isolation == Isolation::Strict {
        parts.push(("files", 3, "6.2"));
    }
    if !config.connect_ports.is_empty() {
        parts.push(("connect-ports", 4, "6.7"));
    }
    parts
}

fn confine(
    config: &GroupConfig,
    shown: &[Shown],
    (program, who): (Option<&Path>, &Identity),
    version: i32,
) -> Result<(), Lack> {
    let is_strict = config.isolation == Isolation::Strict;
    let mut rules = Ruleset::default();
    if is_strict {
        rules = rules
            .handle_access(AccessFs::from_all(NEWEST))
            .map_err(failed)?;
    } else if (2..SCOPES).contains(&version) {
        // Only to have a domain, in which nobody of another is traced.
        let least = AccessFs::MakeBlock | AccessFs::Refer;
        rules = rules.handle_access(least).map_err(failed)?;
    }
    if !config.connect_ports.is_empty() {
        rules = rules.handle_access(AccessNet::ConnectTcp).map_err(failed)?;
    }
    if config.isolation > Isolation::None {
        rules = rules.scope(Scope::from_all(NEWEST)).map_err(failed)?;
    }
    let mut rules = rules.create().map_err(failed)?;
    if is_strict {
        rules = allow_files(rules, program)?;
        rules = allow_own(rules, shown, who)?;
    } else if (2..SCOPES).contains(&version) {
        let root = PathFd::new("/").map_err(|error| Lack::Kernel(error.to_string()))?;
        let all = AccessFs::MakeBlock | AccessFs::Refer;
        rules = rules
            .add_rule(PathBeneath::new(root, all))
            .map_err(failed)?;
    }
    for port in config.connect_ports.iter().flat_map(|range| range.ports()) {
        let rule = NetPort::new(port, AccessNet::ConnectTcp);
        rules = rules.add_rule(rule).map_err(failed)?;
    }
    // The launcher has set it, where it is to be.
    let rules = rules.no_new_privs(false);
    rules.restrict_self().map(drop).map_err(failed)
}

/// What all sites reach.
fn allow_files(mut rules: RulesetCreated, program: Option<&Path>) -> Result<RulesetCreated, Lack> {
    let read = AccessFs::from_read(NEWEST);
    let all = AccessFs::from_all(NEWEST);
    let existing = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let system = READABLE.iter().map(|path| (Path::new(path), read));
    let temporary = TEMPORARY.iter().map(|path| (Path::new(path), all));
    let writable = WRITABLE
        .iter()
        .map(|path| (Path::new(path), read | existing));
    let program = program.map(|path| (path, read));
    for (path, access) in system.chain(temporary).chain(writable).chain(program) {
        // What is not there cannot be reached either.
        if let Ok(at) = PathFd::new(path) {
            rules = allow(rules, at, path.is_dir(), access)?;
        }
    }
    Ok(rules)
}

/// What is the site's own, looked up with its rights and without following a link.
fn allow_own(
    mut rules: RulesetCreated,
    shown: &[Shown],
    who: &Identity,
) -> Result<RulesetCreated, Lack> {
    for one in shown.iter().filter(|one| !one.is_rest) {
        let found = as_user(who, || open_path(&one.path));
        let access = if one.writable {
            AccessFs::from_all(NEWEST)
        } else {
            AccessFs::from_read(NEWEST)
        };
        if let Ok(at) = found {
            let is_directory = is_directory(&at);
            rules = allow(rules, at, is_directory, access)?;
        }
    }
    Ok(rules)
}

fn allow(
    rules: RulesetCreated,
    at: impl AsFd,
    is_directory: bool,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Lack> {
    let access = if is_directory {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    };
    rules.add_rule(PathBeneath::new(at, access)).map_err(failed)
}

fn failed(error: RulesetError) -> Lack {
    Lack::Kernel(error.to_string())
}
