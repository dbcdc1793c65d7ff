//! The site's own view of the files: makes the name spaces and the mounts that `view`
//! has found to be right. Called by the launcher while it has all its privileges. Paths
//! of the site are looked up with the rights of the site's user, without following a
//! link, and never opened; directories are made only in what was mounted here before, or
//! in directories that are ours.

use std::fs::write;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{getegid, geteuid, symlinkat};
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::IsolationPlaces;

use super::devices::{self, COVER_OPTIONS};
use super::handles::{is_directory, kind_of, open_path};
use super::part::{Lack, Part};
use super::view::{TEMPORARY, View};
use super::wants::Wants;
use crate::sys::{self, NO_DEVICES, NO_SUID, READ_ONLY};
use crate::user_rights::as_user;

const NOTHING: Option<&str> = None;

/// A file system of its own for this process; as an ordinary user, by way of a user name
/// space in which that user is itself.
pub(super) fn leave_name_spaces(needs_user: bool) -> io::Result<()> {
    // There is no way back from a name space in which this user is nobody.
    if needs_user {
        sys::try_in_child(|| leave(true))?;
    }
    leave(needs_user)
}

fn leave(needs_user: bool) -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if needs_user {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        // Without it nobody may write the map of groups.
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What the system unmounts goes here too; nothing goes back.
    let slaves = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(NOTHING, "/", NOTHING, slaves, NOTHING)?;
    // Changes nothing, and says whether the kernel could.
    let root = open_path(Path::new("/"))?;
    match sys::add_mount_flags(root.as_fd(), 0, false) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err(io::Error::other("this needs Linux 5.12"))
        }
        other => other,
    }
}

/// Shared memory, semaphores and queues of System V, and POSIX queues.
pub(super) fn leave_ipc() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWIPC)?)
}

/// A tree that is put in its place at the end.
struct Tree {
    path: PathBuf,
    tree: OwnedFd,
}

impl Tree {
    fn of(path: &str) -> Result<Self, Lack> {
        Ok(Self {
            tree: sys::open_tree(open_path(Path::new(path))?.as_fd())?,
            path: path.into(),
        })
    }
}

/// Makes the view.
///
/// # Errors
/// In words, if the definition names what cannot be shown.
pub(super) fn change(
    view: &View,
    places: &IsolationPlaces,
    identity: &Identity,
    wants: Wants,
) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let change = Change {
        view,
        places,
        identity,
        wants,
        trees: Vec::new(),
    };
    match change.make(&mut parts) {
        Ok(()) => Ok(parts),
        Err(Lack::Definition(why)) => Err(why),
        // Half a view is none.
        Err(Lack::Kernel(why)) => Err(format!("the site's own view of the files: {why}")),
    }
}

struct Change<'a> {
    view: &'a View,
    places: &'a IsolationPlaces,
    identity: &'a Identity,
    wants: Wants,
    trees: Vec<Tree>,
}

impl Change<'_> {
    fn make(mut self, parts: &mut Vec<Part>) -> Result<(), Lack> {
        // Copies of all that stays come first, with the properties that they have now.
        let hidden = self.prepare_hidden()?;
        self.take_shown()?;
        self.take_temporary()?;
        let keeps_system = self.wants.system;
        if keeps_system && !self.wants.devices {
            self.take("/dev")?;
        }
        if !self.wants.tmp && (keeps_system || self.wants.devices) {
            for path in TEMPORARY.iter().filter(|path| Path::new(path).is_dir()) {
                self.take(path)?;
            }
        }
        let proc = Tree::of("/proc")?;
        if self.wants.home {
            self.cover()?;
            parts.push(("protect-home", Ok(())));
        }
        if self.wants.devices {
            parts.push(("private-devices", devices::make()));
        }
        if keeps_system {
            let root = open_path(Path::new("/"))?;
            sys::add_mount_flags(root.as_fd(), self.flags(false), true)?;
            parts.push(("protect-system", Ok(())));
        }
        let own_proc = self.wants.proc.then(mount_proc);
        if keeps_system && !matches!(own_proc, Some(Ok(()))) {
            self.trees.push(proc);
        }
        parts.extend(own_proc.map(|outcome| ("protect-proc", outcome)));
        self.put_back()?;
        self.hide(hidden)?;
        if self.wants.tmp {
            parts.push(("private-tmp", Ok(())));
        }
        Ok(())
    }

    /// The properties of what is shown.
    fn flags(&self, writable: bool) -> u64 {
        let no_suid = if self.wants.system && self.wants.no_suid {
            NO_SUID
        } else {
            0
        };
        if writable {
            no_suid
        } else {
            no_suid | READ_ONLY
        }
    }

    /// A copy of what is mounted at a path and below it.
    fn take(&mut self, path: &str) -> Result<(), Lack> {
        self.trees.push(Tree::of(path)?);
        Ok(())
    }

    /// The directories that the supervisor has made for the group.
    fn take_temporary(&mut self) -> Result<(), Lack> {
        if !self.wants.tmp {
            return Ok(());
        }
        let (Some(own), Some(memory)) = (&self.places.temporary, &self.places.shared_memory) else {
            return Err(Lack::Kernel("there is no directory for it".into()));
        };
        let sources = [own.join("tmp"), own.join("var-tmp"), memory.clone()];
        for (source, path) in sources.into_iter().zip(TEMPORARY) {
            let directory = open_path(&source)?;
            let below = |shown: &&super::view::Shown| shown.path.starts_with(path);
            for shown in self.view.shown.iter().filter(below) {
                let is_directory = self.is_directory(&shown.path);
                make_place(&directory, Path::new(path), &shown.path, is_directory)?;
            }
            for (place, target) in &self.view.links {
                if place.starts_with(path) {
                    make_link(&directory, Path::new(path), place, target)?;
                }
            }
            let tree = sys::open_tree(directory.as_fd())?;
            sys::add_mount_flags(tree.as_fd(), NO_SUID | NO_DEVICES, true)?;
            self.trees.push(Tree {
                path: path.into(),
                tree,
            });
        }
        Ok(())
    }

    fn take_shown(&mut self) -> Result<(), Lack> {
        for shown in &self.view.shown {
            let named = |error: io::Error| {
                Lack::Definition(format!(
                    "`{}` cannot be shown: {error}",
                    shown.path.display()
                ))
            };
            let at = self.look_up(&shown.path).map_err(named)?;
            let tree = sys::open_tree(at.as_fd()).map_err(named)?;
            sys::add_mount_flags(tree.as_fd(), self.flags(shown.writable), true)?;
            self.trees.push(Tree {
                path: shown.path.clone(),
                tree,
            });
        }
        Ok(())
    }

    /// What is at a path, found with the rights of the site's user.
    fn look_up(&self, path: &Path) -> io::Result<OwnedFd> {
        as_user(self.identity, || open_path(path))
    }

    /// An empty file system over each directory of others, with places for what is shown.
    fn cover(&self) -> Result<(), Lack> {
        for cover in &self.view.covers {
            let named = |error: io::Error| {
                Lack::Kernel(format!("`{}` cannot be covered: {error}", cover.display()))
            };
            self.cover_one(cover).map_err(named)?;
        }
        Ok(())
    }

    fn cover_one(&self, cover: &Path) -> io::Result<()> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let at = self.look_up(cover)?;
        mount(
            Some("tmpfs"),
            &proc_path(&at),
            Some("tmpfs"),
            flags,
            Some(COVER_OPTIONS),
        )?;
        let root = self.look_up(cover)?;
        let below = |path: &Path| path.starts_with(cover) && path != cover;
        for shown in &self.view.shown {
            if below(&shown.path) {
                let is_directory = self.is_directory(&shown.path);
                make_place(&root, cover, &shown.path, is_directory)?;
            }
        }
        for path in &self.view.empty {
            if below(path) {
                make_place(&root, cover, path, true)?;
            }
        }
        for (place, target) in &self.view.links {
            if below(place) {
                make_link(&root, cover, place, target)?;
            }
        }
        if self.wants.system {
            // It is read-only with all the rest in a moment.
            return Ok(());
        }
        sys::add_mount_flags(root.as_fd(), READ_ONLY, false)
    }

    fn is_directory(&self, path: &Path) -> bool {
        let mut trees = self.trees.iter().filter(|tree| tree.path == path);
        trees.any(|tree| is_directory(&tree.tree))
    }

    fn put_back(&mut self) -> Result<(), Lack> {
        self.trees
            .sort_by_key(|tree| tree.path.components().count());
        for Tree { path, tree } in &self.trees {
            let put = self
                .look_up(path)
                .and_then(|at| sys::move_mount(tree.as_fd(), at.as_fd()));
            put.map_err(|error| Lack::Kernel(format!("`{}`: {error}", path.display())))?;
        }
        Ok(())
    }

    /// Copies of an empty file and an empty directory that nobody may open, for each path
    /// that is hidden at the end.
    fn prepare_hidden(&self) -> Result<Vec<(PathBuf, [OwnedFd; 2])>, Lack> {
        if self.view.hidden.is_empty() {
            return Ok(Vec::new());
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("tmpfs"),
            "/tmp",
            Some("tmpfs"),
            flags,
            Some(COVER_OPTIONS),
        )?;
        let scratch = open_path(Path::new("/tmp"))?;
        mkdirat(&scratch, "directory", Mode::empty())?;
        mknodat(&scratch, "file", SFlag::S_IFREG, Mode::empty(), 0)?;
        let mut out = Vec::new();
        for path in &self.view.hidden {
            let copy = |name: &str| {
                let at = open_path(&Path::new("/tmp").join(name))?;
                let tree = sys::open_tree(at.as_fd())?;
                sys::add_mount_flags(tree.as_fd(), READ_ONLY, false)?;
                Ok::<_, io::Error>(tree)
            };
            out.push((path.clone(), [copy("directory")?, copy("file")?]));
        }
        umount2("/tmp", MntFlags::MNT_DETACH)?;
        Ok(out)
    }

    fn hide(&self, hidden: Vec<(PathBuf, [OwnedFd; 2])>) -> Result<(), Lack> {
        for (path, [directory, file]) in hidden {
            let own = self.view.shown.iter().filter(|one| one.writable);
            let mut own = own.filter(|one| path.starts_with(&one.path) && path != one.path);
            let root = own.next_back().map(|one| one.path.as_path());
            match self.look_up(&path) {
                Ok(_) => self.hold(&path, root)?,
                // What the user cannot look up needs no hiding, unless it could undo that.
                Err(error) if root.is_some() && error.kind() != io::ErrorKind::NotFound => {
                    return Err(Lack::Definition(format!(
                        "`{}` is not for this site, lies in what it writes, and cannot be looked up: {error}",
                        path.display()
                    )));
                }
                Err(_) => continue,
            }
            let at = self.look_up(&path)?;
            let nothing = if is_directory(&at) { directory } else { file };
            sys::move_mount(nothing.as_fd(), at.as_fd())?;
        }
        Ok(())
    }

    /// Keeps the directories between from being renamed: what is hidden would go with them.
    fn hold(&self, path: &Path, root: Option<&Path>) -> Result<(), Lack> {
        let between = path.ancestors().skip(1);
        let between = between.take_while(|one| root.is_some_and(|root| *one != root));
        let mut between: Vec<&Path> = between.collect();
        between.reverse();
        for directory in between {
            let at = self.look_up(directory)?;
            let tree = sys::open_tree(at.as_fd())?;
            sys::move_mount(tree.as_fd(), at.as_fd())?;
        }
        Ok(())
    }
}

/// Shows only processes that could be traced: none of another domain (`domain`).
fn mount_proc() -> Result<(), Lack> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = Some("hidepid=ptraceable");
    mount(Some("proc"), "/proc", Some("proc"), flags, options)?;
    Ok(())
}

fn proc_path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Makes the directories from `root` (which is at `at`) to `path`, and there a directory or
/// a file over which something can be mounted. Where others may write, what is there
/// already has to be ours.
fn make_place(root: &OwnedFd, at: &Path, path: &Path, is_directory: bool) -> io::Result<()> {
    let (parent, name) = make_parent(root, at, path)?;
    let Some(name) = name else { return Ok(()) };
    if is_directory {
        enter_made(&parent, &name).map(drop)
    } else {
        match mknodat(&parent, &name, SFlag::S_IFREG, Mode::S_IRUSR, 0) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn make_link(root: &OwnedFd, at: &Path, path: &Path, target: &Path) -> io::Result<()> {
    let (parent, name) = make_parent(root, at, path)?;
    let Some(name) = name else { return Ok(()) };
    match symlinkat(target, parent, &name) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn make_parent(root: &OwnedFd, at: &Path, path: &Path) -> io::Result<(OwnedFd, Option<PathBuf>)> {
    let mut directory = root.try_clone()?;
    let rest = path.strip_prefix(at).map_err(io::Error::other)?;
    let name = rest.file_name().map(PathBuf::from);
    for part in rest.parent().into_iter().flat_map(Path::components) {
        directory = enter_made(&directory, Path::new(part.as_os_str()))?;
    }
    Ok((directory, name))
}

/// Makes a directory if it is not there, and gives a handle of it if it is ours.
fn enter_made(parent: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = openat(parent.as_fd(), name, flags, Mode::empty())?;
    if kind_of(&directory)?.uid() == geteuid().as_raw() {
        Ok(directory)
    } else {
        Err(io::Error::other(format!(
            "`{}` is in the way in the site's own temporary directory; remove it there",
            name.display()
        )))
    }
}
