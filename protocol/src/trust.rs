//! Whether a path means what root, or whoever runs this, has made it to mean: who
//! may replace a directory, a link or a file on the way to it decides what is read,
//! written or run there. Asked by the module and the supervisor before they use
//! what is theirs, and by the command line as root. It only looks.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

const STICKY: u32 = 0o1000;
/// Links that a path may lead through, as the kernel has it.
const LINKS: usize = 40;

/// Whether a directory itself may be one like `/tmp`, where others can add what is
/// theirs, and touch nothing of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// What is used in it is looked at by itself.
    Yes,
    /// Nobody else may put anything there.
    No,
}

/// Why a path is not used: the first part of it that is in other hands.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// It cannot be looked at.
    #[error("`{}`: {}", .0.display(), .1)]
    Look(PathBuf, std::io::Error),
    /// It is not a directory.
    #[error("`{}` is not a directory", .0.display())]
    NoDirectory(PathBuf),
    /// A directory belongs to another user, who can put other files there.
    #[error(
        "`{}` belongs to uid {}, who could put other files there; give it to root with chown, or \
         use another directory",
        .0.display(), .1
    )]
    Owner(PathBuf, u32),
    /// Others may write to a directory.
    #[error(
        "others may write to `{}` and put other files there; take that away with chmod go-w",
        .0.display()
    )]
    Writable(PathBuf),
    /// A file belongs to another user.
    #[error(
        "`{}` belongs to uid {}, who could change it; give it to root with chown",
        .0.display(), .1
    )]
    FileOwner(PathBuf, u32),
    /// Others may write to a file.
    #[error("others may write to `{}`; take that away with chmod go-w", .0.display())]
    FileWritable(PathBuf),
    /// A link in a directory like `/tmp` belongs to another user, who can have it lead elsewhere.
    #[error(
        "the link `{}` belongs to uid {}, who could have it lead elsewhere; name its target",
        .0.display(), .1
    )]
    Link(PathBuf, u32),
}

/// What a path has led to.
enum PathTarget {
    /// This, and nobody else can put another in its place.
    There(PathBuf, Metadata),
    /// Nothing; but whoever makes it, or the first directory that is missing on the
    /// way, has made it for good.
    Missing,
}

/// A directory, and all above it. `ours` is whose files are trusted beside root's.
pub fn directory(path: &Path, ours: u32, sticky: Sticky) -> Result<(), Distrust> {
    match follow(path, ours)? {
        PathTarget::There(real, facts) => is_trusted_directory(&real, &facts, ours, sticky),
        PathTarget::Missing => Err(cannot_look(path.into(), libc::ENOENT)),
    }
}

/// A directory that is to be made if it is not there.
pub fn directory_to_be(path: &Path, ours: u32, sticky: Sticky) -> Result<(), Distrust> {
    match follow(path, ours)? {
        PathTarget::There(real, facts) => is_trusted_directory(&real, &facts, ours, sticky),
        // What is made in a directory with the sticky bit stays the maker's.
        PathTarget::Missing => Ok(()),
    }
}

/// A file that is obeyed, run or written to, and all directories above it.
pub fn file(path: &Path, ours: u32) -> Result<(), Distrust> {
    match follow(path, ours)? {
        PathTarget::There(real, facts) if !is_ours(&facts, ours) => {
            Err(Distrust::FileOwner(real, facts.uid()))
        }
        PathTarget::There(real, facts) if is_open(&facts) => Err(Distrust::FileWritable(real)),
        PathTarget::There(..) => Ok(()),
        PathTarget::Missing => Err(cannot_look(path.into(), libc::ENOENT)),
    }
}

fn is_trusted_directory(
    real: &Path,
    facts: &Metadata,
    ours: u32,
    sticky: Sticky,
) -> Result<(), Distrust> {
    // The owner of `/` (in some containers a user that is unknown there) can change
    // everything anyway.
    let is_top = real.parent().is_none();
    if !facts.is_dir() {
        return Err(Distrust::NoDirectory(real.into()));
    }
    if !is_top && !is_ours(facts, ours) {
        return Err(Distrust::Owner(real.into(), facts.uid()));
    }
    let may_be_open = sticky == Sticky::Yes && facts.mode() & STICKY != 0;
    if is_open(facts) && !may_be_open {
        return Err(Distrust::Writable(real.into()));
    }
    Ok(())
}

/// Goes through a path as the kernel does, one name and one link after the other.
fn follow(path: &Path, ours: u32) -> Result<PathTarget, Distrust> {
    let absolute = std::path::absolute(path).map_err(|error| Distrust::Look(path.into(), error))?;
    let mut rest: VecDeque<OsString> = names(&absolute);
    let mut at = PathBuf::from("/");
    let mut facts = look(&at)?;
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        is_trusted_directory(&at, &facts, ours, Sticky::Yes)?;
        if name == ".." {
            at.pop();
            facts = look(&at)?;
            continue;
        }
        let next = at.join(&name);
        let found = match look(&next) {
            Err(Distrust::Look(_, error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(PathTarget::Missing);
            }
            other => other?,
        };
        // Where others may add something: it is theirs, and may be another next time.
        if is_open(&facts) && !is_ours(&found, ours) {
            let distrust = if found.is_symlink() {
                Distrust::Link
            } else if found.is_dir() {
                Distrust::Owner
            } else {
                Distrust::FileOwner
            };
            return Err(distrust(next, found.uid()));
        }
        if !found.is_symlink() {
            at = next;
            facts = found;
            continue;
        }
        links += 1;
        let target =
            std::fs::read_link(&next).map_err(|error| Distrust::Look(next.clone(), error))?;
        if links > LINKS {
            return Err(cannot_look(next, libc::ELOOP));
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
            facts = look(&at)?;
        }
        let mut first = names(&target);
        first.append(&mut rest);
        rest = first;
    }
    Ok(PathTarget::There(at, facts))
}

fn cannot_look(path: PathBuf, errno: i32) -> Distrust {
    Distrust::Look(path, std::io::Error::from_raw_os_error(errno))
}

fn names(path: &Path) -> VecDeque<OsString> {
    let parts = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

fn look(path: &Path) -> Result<Metadata, Distrust> {
    path.symlink_metadata()
        .map_err(|error| Distrust::Look(path.into(), error))
}

/// Whether the file belongs to root or to whoever is trusted beside.
pub fn is_ours(facts: &Metadata, ours: u32) -> bool {
    facts.uid() == 0 || facts.uid() == ours
}

/// Whether others than the owner and root's own group may write.
pub fn is_open(facts: &Metadata) -> bool {
    facts.mode() & 0o002 != 0 || (facts.mode() & 0o020 != 0 && facts.gid() != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    const STRANGER: u32 = 64_007;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Option<Self> {
            if !nix::unistd::geteuid().is_root() {
                return None;
            }
            let top =
                std::env::temp_dir().join(format!("wsgid-trust-{name}-{}", std::process::id()));
            fs::create_dir_all(top.join("above/below")).unwrap();
            fs::write(top.join("above/below/file"), "").unwrap();
            Some(Self(top))
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.at(name), Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn root_who_may_replace_a_part_of_a_path_is_found() {
        let Some(place) = Place::new("parts") else {
            return;
        };
        let below = place.at("above/below");
        let said = |path: &Path, sticky| directory(path, 0, sticky).map_err(|why| why.to_string());
        assert_eq!(said(&below, Sticky::No), Ok(()));
        assert!(said(&place.at("none"), Sticky::No).is_err());
        place.mode("above/below", 0o1777);
        assert_eq!(said(&below, Sticky::Yes), Ok(()));
        assert!(said(&below, Sticky::No).unwrap_err().contains("chmod go-w"));
        place.mode("above/below", 0o755);
        place.mode("above", 0o777);
        assert!(said(&below, Sticky::Yes).unwrap_err().contains("/above`"));
        place.mode("above", 0o1777);
        assert_eq!(said(&below, Sticky::No), Ok(()));
        chown(place.at("above"), Some(STRANGER), None).unwrap();
        assert!(
            said(&below, Sticky::No)
                .unwrap_err()
                .contains("belongs to uid 64007")
        );
        assert!(
            directory(&below, STRANGER, Sticky::No).is_ok(),
            "whose files are trusted"
        );
        assert!(said(&place.at("above/below/../../above/below"), Sticky::No).is_err());
    }

    #[test]
    fn root_a_group_may_write_if_it_is_roots() {
        let Some(place) = Place::new("group") else {
            return;
        };
        place.mode("above", 0o775);
        assert!(directory(&place.at("above/below"), 0, Sticky::No).is_ok());
        chown(place.at("above"), None, Some(STRANGER)).unwrap();
        assert!(matches!(
            directory(&place.at("above/below"), 0, Sticky::No),
            Err(Distrust::Writable(_))
        ));
    }

    #[test]
    fn root_links_are_followed_one_by_one() {
        let Some(place) = Place::new("links") else {
            return;
        };
        let link = place.at("link");
        symlink(place.at("above"), &link).unwrap();
        lchown(&link, Some(STRANGER), None).unwrap();
        assert!(
            directory(&link.join("below"), 0, Sticky::No).is_ok(),
            "only root may replace a link in root's directory"
        );
        place.mode("", 0o1777);
        assert!(matches!(
            directory(&link.join("below"), 0, Sticky::No),
            Err(Distrust::Link(..))
        ));
        lchown(&link, Some(0), None).unwrap();
        assert!(directory(&link.join("below"), 0, Sticky::No).is_ok());
        // A link into a directory whose owner has another link there.
        fs::create_dir(place.at("strangers")).unwrap();
        chown(place.at("strangers"), Some(STRANGER), None).unwrap();
        symlink(place.at("above/below"), place.at("strangers/to")).unwrap();
        symlink(place.at("strangers/to"), place.at("over")).unwrap();
        assert!(matches!(
            directory(&place.at("over"), 0, Sticky::No),
            Err(Distrust::Owner(_, STRANGER))
        ));
        symlink("round", place.at("round")).unwrap();
        assert!(matches!(
            directory(&place.at("round"), 0, Sticky::No),
            Err(Distrust::Look(..))
        ));
    }

    #[test]
    fn root_files_and_what_is_not_there_yet() {
        let Some(place) = Place::new("files") else {
            return;
        };
        let path = place.at("above/below/file");
        assert!(
            file(&path, 0).is_ok()
                && directory_to_be(&place.at("above/new/deep"), 0, Sticky::No).is_ok()
        );
        place.mode("above/below/file", 0o666);
        assert!(matches!(file(&path, 0), Err(Distrust::FileWritable(_))));
        place.mode("above/below/file", 0o644);
        chown(&path, Some(STRANGER), None).unwrap();
        assert!(matches!(
            file(&path, 0),
            Err(Distrust::FileOwner(_, STRANGER))
        ));
        assert!(matches!(
            directory(&path, 0, Sticky::No),
            Err(Distrust::NoDirectory(_))
        ));
        chown(place.at("above"), Some(STRANGER), None).unwrap();
        assert!(matches!(
            directory_to_be(&place.at("above/new/deep"), 0, Sticky::No),
            Err(Distrust::Owner(_, STRANGER))
        ));
        place.mode("", 0o777);
        assert!(matches!(
            directory_to_be(&place.at("new"), 0, Sticky::No),
            Err(Distrust::Writable(_))
        ));
    }
}
