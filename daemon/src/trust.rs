//! Whether files and directories are in the hands of root and of ourselves
//! alone. Asked before configuration is read and before sockets are made: who
//! may write there decides for us. Knows nothing of what is in them.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

const WRITABLE_FOR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Whether the directory itself may be one like `/tmp`, where others can add
/// what is theirs, and touch nothing of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sticky {
    Yes,
    No,
}

/// Why a directory is not used.
#[derive(Debug)]
pub(crate) enum Distrust {
    Look(PathBuf, std::io::Error),
    NoDirectory(PathBuf),
    Owner(PathBuf, u32),
    Writable(PathBuf),
}

impl fmt::Display for Distrust {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Look(path, error) => write!(out, "`{}`: {error}", path.display()),
            Self::NoDirectory(path) => write!(out, "`{}` is not a directory", path.display()),
            Self::Owner(path, uid) => {
                let path = path.display();
                write!(
                    out,
                    "`{path}` belongs to uid {uid}, who could put other files there; give it to root with chown"
                )
            }
            Self::Writable(path) => {
                let path = path.display();
                write!(out, "others may write to `{path}` and put other files there; take that away with chmod go-w")
            }
        }
    }
}

/// A file whose content we obey.
pub(crate) fn file(facts: &Metadata) -> Result<(), String> {
    if !is_ours(facts) {
        return Err(format!("it belongs to uid {}; give it to the supervisor's user with chown", facts.uid()));
    }
    if facts.mode() & WRITABLE_FOR_OTHERS != 0 {
        return Err("others may write it; take that away with chmod go-w".to_owned());
    }
    Ok(())
}

/// A directory whose names mean what we made them to mean: it and all above it.
/// Only root has anything to lose there.
pub(crate) fn directory(path: &Path, sticky: Sticky) -> Result<(), Distrust> {
    let look = |path: &Path| path.metadata().map_err(|error| Distrust::Look(path.into(), error));
    let real = path.canonicalize().map_err(|error| Distrust::Look(path.into(), error))?;
    if !look(&real)?.is_dir() {
        return Err(Distrust::NoDirectory(path.into()));
    }
    if !geteuid().is_root() {
        return Ok(());
    }
    // As it is written and as it is: who owns a link decides where it leads. Whoever
    // has `/` (in some containers nobody that is known there) has everything.
    let below_root = |part: &&Path| part.parent().is_some();
    for part in path.ancestors().chain(real.ancestors()).filter(below_root) {
        let facts = look(part)?;
        let may_be_sticky = (part != real && part != path) || sticky == Sticky::Yes;
        match () {
            () if !is_ours(&facts) => return Err(Distrust::Owner(part.into(), facts.uid())),
            () if facts.mode() & WRITABLE_FOR_OTHERS == 0 => {}
            () if may_be_sticky && facts.mode() & STICKY != 0 => {}
            () => return Err(Distrust::Writable(part.into())),
        }
    }
    Ok(())
}

fn is_ours(facts: &Metadata) -> bool {
    facts.uid() == 0 || facts.uid() == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn who_may_change_what_a_name_means_is_found_at_every_step() {
        let place = tempfile::tempdir().unwrap();
        let below = place.path().join("above/below");
        fs::create_dir_all(&below).unwrap();
        let above = below.parent().unwrap();
        let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        assert!(directory(&below, Sticky::No).is_ok());
        assert!(directory(&place.path().join("none"), Sticky::No).is_err());
        if !geteuid().is_root() {
            return;
        }
        mode(&below, 0o1777);
        assert!(directory(&below, Sticky::Yes).is_ok());
        assert!(directory(&below, Sticky::No).unwrap_err().to_string().contains("chmod go-w"));
        mode(&below, 0o755);
        mode(above, 0o775);
        assert!(directory(&below, Sticky::Yes).unwrap_err().to_string().contains("/above`"));
        mode(above, 0o1777);
        assert!(directory(&below, Sticky::No).is_ok());
        chown(above, Some(65534), None).unwrap();
        assert!(directory(&below, Sticky::No).unwrap_err().to_string().contains("belongs to uid 65534"));
    }
}
