//! Directories that a group has in the place of `/tmp`, `/var/tmp` and `/dev/shm`. The
//! supervisor makes them for a group's first worker and removes them when the group or
//! the supervisor goes; what a supervisor that was killed has left, the next one removes.
//! Nobody but root (or the one user) sees them where they are.

use std::fs::{DirBuilder, Permissions, set_permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use wsgid_protocol::isolation::IsolationPlaces;

use crate::process::keeper::{Keeper, escaped};

/// Where they are made: what lasts as long as the machine is up, and memory.
const BASES: [&str; 2] = ["/var/tmp", "/dev/shm"];

/// Those of one supervisor.
#[derive(Debug)]
pub(crate) struct TemporaryDirectories {
    keeper: Keeper,
    bases: [PathBuf; 2],
    /// Where all groups have theirs, once the first has.
    roots: Option<[PathBuf; 2]>,
}

impl TemporaryDirectories {
    pub(crate) fn new() -> Self {
        Self::below(BASES.map(PathBuf::from))
    }

    fn below(bases: [PathBuf; 2]) -> Self {
        Self {
            keeper: Keeper::this(),
            bases,
            roots: None,
        }
    }

    /// Those of a group, which are made if they are not there.
    pub(crate) fn of(&mut self, group: &str) -> io::Result<IsolationPlaces> {
        let roots = match self.roots.take() {
            Some(roots) => roots,
            None => self.make_roots()?,
        };
        let [temporary, memory] = roots.each_ref().map(|root| root.join(escaped(group)));
        self.roots = Some(roots);
        for directory in [&temporary, &memory] {
            make(directory, 0o700)?;
        }
        let places = [
            temporary.join("tmp"),
            temporary.join("var-tmp"),
            memory.join("shm"),
        ];
        for place in &places {
            make(place, 0o1777)?;
        }
        let [_, _, shared_memory] = places;
        Ok(IsolationPlaces {
            temporary: Some(temporary),
            shared_memory: Some(shared_memory),
            others: Vec::new(),
        })
    }

    /// Finds those of the program before (`wsgid reexec`), or makes new ones; others'
    /// whose supervisor has gone are removed.
    fn make_roots(&self) -> io::Result<[PathBuf; 2]> {
        let mut roots = self.bases.clone();
        let mut abandoned = Vec::new();
        for (base, root) in self.bases.iter().zip(&mut roots) {
            let mut found = None;
            for (keeper, path) in ours_in(base) {
                if keeper == self.keeper {
                    found = Some(path);
                } else if !keeper.lives() {
                    abandoned.push(path);
                }
            }
            *root = match found {
                Some(path) => path,
                // Nobody is to have made it before, knowing its name.
                None => {
                    let random = RandomState::new().build_hasher().finish();
                    let path = base.join(self.keeper.directory(&format!("{random:016x}")));
                    make(&path, 0o700)?;
                    path
                }
            };
        }
        remove(&abandoned);
        Ok(roots)
    }

    /// The group has gone.
    pub(crate) fn leave(&self, group: &str) {
        let own = self
            .made()
            .into_iter()
            .map(|root| root.join(escaped(group)));
        remove(&own.filter(|path| path.is_dir()).collect::<Vec<_>>());
    }

    /// The supervisor ends.
    pub(crate) fn end(&self) {
        remove(&self.made());
    }

    /// Those that are there, also if the program before (`wsgid reexec`) has made them.
    fn made(&self) -> Vec<PathBuf> {
        if let Some(roots) = &self.roots {
            return roots.to_vec();
        }
        let found = self.bases.iter().flat_map(|base| ours_in(base));
        let own = found.filter(|(keeper, _)| *keeper == self.keeper);
        own.map(|(_, path)| path).collect()
    }
}

/// Directories of supervisors of this user, past and present.
fn ours_in(base: &Path) -> Vec<(Keeper, PathBuf)> {
    let entries = base.read_dir().into_iter().flatten().flatten();
    let ours = entries.filter_map(|entry| {
        let keeper = Keeper::of(entry.file_name().to_str()?)?;
        let facts = entry.path().symlink_metadata().ok()?;
        let is_ours = facts.is_dir() && facts.uid() == geteuid().as_raw();
        is_ours.then(|| (keeper, entry.path()))
    });
    ours.collect()
}

/// A directory of ours. Where everybody may make one, what is there has to be ours.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(named)?,
    }
    let facts = path.symlink_metadata().map_err(named)?;
    if !facts.is_dir() || facts.uid() != geteuid().as_raw() {
        return Err(named(io::Error::other(
            "somebody else has made it; remove it",
        )));
    }
    if facts.mode() & 0o7777 == mode {
        return Ok(());
    }
    set_permissions(path, Permissions::from_mode(mode)).map_err(named)
}

/// Removes trees in which sites have put as much as they liked: a program of its own does
/// it, for which nobody waits.
fn remove(paths: &[PathBuf]) {
    if paths.is_empty() {
        return;
    }
    let mut command = Command::new("/bin/rm");
    command.args(["-rf", "--one-file-system", "--"]).args(paths);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.env_clear();
    if let Err(error) = command.spawn() {
        log_line!(
            TEMPORARY_STAYS,
            "temporary directories of groups that have gone stay in /var/tmp and /dev/shm: {error}"
        );
    }
}
