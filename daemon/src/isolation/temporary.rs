//! Directories that a group has in the place of `/tmp`, `/var/tmp` and `/dev/shm`. The
//! supervisor makes them for a group's first worker and removes them when the group or
//! the supervisor goes; what a supervisor that was killed has left, the next one removes.
//! Nobody but root (or the one user) sees them where they are.

use std::fs::{DirBuilder, Permissions, rename, set_permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

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
    roots: [Option<PathBuf>; 2],
}

impl TemporaryDirectories {
    pub(crate) fn new() -> Self {
        Self::below(BASES.map(PathBuf::from))
    }

    fn below(bases: [PathBuf; 2]) -> Self {
        Self {
            keeper: Keeper::this(),
            bases,
            roots: [None, None],
        }
    }

    /// Those of a group, which are made if they are not there.
    pub(crate) fn of(&mut self, group: &str) -> io::Result<IsolationPlaces> {
        let roots = match &self.roots {
            [Some(temporary), Some(memory)] => [temporary.clone(), memory.clone()],
            _ => self.make_roots()?,
        };
        let [temporary, memory] = roots.map(|root| root.join(escaped(group)));
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

    /// Goes on with those of the program before (`wsgid reexec`).
    pub(crate) fn resume(&mut self) {
        for (base, root) in self.bases.iter().zip(&mut self.roots) {
            let own = ours_in(base)
                .into_iter()
                .find(|(keeper, _)| *keeper == self.keeper);
            *root = own.map(|(_, path)| path);
        }
    }

    /// Makes those that are not there; others' whose supervisor has gone are removed.
    fn make_roots(&mut self) -> io::Result<[PathBuf; 2]> {
        let mut roots = self.bases.clone();
        for (path, root) in roots.iter_mut().zip(&mut self.roots) {
            let abandoned = ours_in(path).into_iter();
            let abandoned = abandoned.filter(|(keeper, _)| !keeper.lives());
            remove(abandoned.map(|(_, path)| path).collect());
            *path = match root {
                Some(root) => root.clone(),
                // Nobody is to have made it before, knowing its name.
                None => {
                    let new = path.join(self.keeper.directory(&random()));
                    make(&new, 0o700)?;
                    root.insert(new).clone()
                }
            };
        }
        Ok(roots)
    }

    /// The group has gone. The name is free at once: another group may have it while the
    /// directories are removed.
    pub(crate) fn leave(&self, group: &str) {
        let mut gone = Vec::new();
        for root in self.roots.iter().flatten() {
            // No group's is called so.
            let aside = root.join(format!(".{}", random()));
            match rename(root.join(escaped(group)), &aside) {
                Ok(()) => gone.push(aside),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => note_stays(&error),
            }
        }
        remove(gone);
    }

    /// The supervisor ends.
    pub(crate) fn end(&self) {
        remove(self.roots.iter().flatten().cloned().collect());
    }
}

/// What nobody knows beforehand.
fn random() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
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
/// it, for which only a thread waits.
fn remove(paths: Vec<PathBuf>) {
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
    let waiting = command.spawn().and_then(|mut program| {
        let thread = thread::Builder::new().name("remove".to_owned());
        thread.spawn(move || drop(program.wait()))
    });
    if let Err(error) = waiting {
        note_stays(&error);
    }
}

fn note_stays(error: &io::Error) {
    log_line!(
        TEMPORARY_STAYS,
        "temporary directories of groups that have gone stay in /var/tmp and /dev/shm: {error}"
    );
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use super::*;

    fn bases() -> (tempfile::TempDir, [PathBuf; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let bases = ["disk", "memory"].map(|name| dir.path().join(name));
        for base in &bases {
            fs::create_dir(base).unwrap();
        }
        (dir, bases)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = directory.read_dir().unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_name_is_free_as_soon_as_its_group_has_gone() {
        let (_dir, bases) = bases();
        let mut directories = TemporaryDirectories::below(bases);
        let places = directories.of("site").unwrap();
        let temporary = places.temporary.unwrap();
        for number in 0..3000 {
            fs::write(temporary.join("tmp").join(number.to_string()), "").unwrap();
        }
        directories.leave("site");
        let places = directories.of("site").unwrap();
        assert_eq!(places.temporary.as_ref(), Some(&temporary));
        assert!(names(&temporary.join("tmp")).is_empty(), "it begins anew");
        fs::write(temporary.join("tmp/new"), "").unwrap();
        let root = temporary.parent().unwrap();
        let deadline = Instant::now() + Duration::from_secs(15);
        while names(root) != ["site"] {
            assert!(Instant::now() < deadline, "{:?}", names(root));
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(names(&temporary.join("tmp")), ["new"]);
        assert!(places.shared_memory.unwrap().is_dir());
    }

    #[test]
    fn the_next_program_goes_on_with_what_there_is() {
        let (_dir, bases) = bases();
        let mut before = TemporaryDirectories::below(bases.clone());
        let places = before.of("site").unwrap();
        let mut next = TemporaryDirectories::below(bases.clone());
        next.resume();
        assert_eq!(next.of("site").unwrap(), places);
        assert_eq!(names(&bases[0]).len(), 1);
        next.leave("site");
        assert!(!places.temporary.unwrap().exists());
        // One of the two, too: the other could not be made.
        fs::remove_dir_all(&bases[1]).unwrap();
        fs::create_dir(&bases[1]).unwrap();
        let mut next = TemporaryDirectories::below(bases.clone());
        next.resume();
        next.of("site").unwrap();
        assert_eq!(bases.map(|base| names(&base).len()), [1, 1]);
    }

    #[test]
    fn what_lasts_is_left_alone_by_the_cleaner_of_the_system() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/tmpfiles/wsgid.conf");
        let [lasting, _] = BASES;
        let directory = Keeper::this().directory("name");
        let is_named = |line: &str| {
            let glob = line
                .strip_prefix("x ")
                .and_then(|glob| glob.strip_suffix('*'));
            glob.is_some_and(|start| format!("{lasting}/{directory}").starts_with(start))
        };
        let text = fs::read_to_string(file).unwrap();
        assert!(text.lines().any(is_named), "{text}");
    }
}
