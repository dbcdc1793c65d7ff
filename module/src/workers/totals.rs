//! Counts what becomes of the requests of each process group, in memory that all children
//! of httpd and the supervisor share (`protocol/src/totals.rs` says what lies where). The
//! parent makes it, keeps it over reloads and hands it to each supervisor; where the
//! supervisor stands alone, that one has it beside its socket, and children look for it
//! there. Told by `request/outcome.rs` and `request/failure.rs`. Knows nothing of requests.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use wsgid_protocol::clock::since_1970;
use wsgid_protocol::totals::{FILE_NAME, HTTPDS, LEN, MARK, head, key_of};

use crate::configuration::groups::GroupView;
use crate::httpd::retained::Retained;
use crate::httpd::{process, shared};

static MEMORY: OnceLock<&'static [AtomicU64]> = OnceLock::new();

/// When it was last looked for a file in vain, so that not every request does.
static LOOKED: AtomicU64 = AtomicU64::new(0);
const LOOK_AGAIN_MS: u64 = 16;

/// In the parent, before children are forked: makes the memory, or goes on with what was
/// made before a reload.
pub(crate) fn prepare(retained: &mut Retained) {
    if MEMORY.get().is_some() && retained.totals().is_some() {
        return;
    }
    let is_there = retained.totals().is_some_and(is_of_this_form);
    if !is_there {
        retained.set_totals(make().ok());
    }
    if let Some(memory) = retained.totals().and_then(mapped) {
        let _ = MEMORY.set(memory);
    }
}

/// In a child: looks for that of a supervisor on its own, if there is no other. It may be
/// started after httpd, but it has made the file before it answers anything.
pub(crate) fn attach(socket: Option<&str>) {
    let now = process::monotonic().as_millis() as u64;
    let looked = || LOOKED.swap(now, Ordering::Relaxed);
    if MEMORY.get().is_some() || now.saturating_sub(looked()) < LOOK_AGAIN_MS {
        return;
    }
    let path = socket.map(|socket| Path::new(socket).with_file_name(FILE_NAME));
    let file = path.and_then(|path| {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true);
        options
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .ok()
    });
    let is_whole = |file: &File| {
        let found = file.metadata();
        found.is_ok_and(|found| found.is_file() && found.len() >= LEN as u64)
            && is_of_this_form(file.as_fd())
    };
    if let Some(memory) = file.filter(is_whole).and_then(|file| mapped(file.as_fd())) {
        let _ = MEMORY.set(memory);
    }
}

/// The numbers of a group. `None` where there is no memory, or no place in it.
pub(crate) fn of(group: &GroupView) -> Option<&'static [AtomicU64]> {
    if let Some(cells) = group.totals.get() {
        return Some(cells);
    }
    let cells = claim(MEMORY.get()?, key_of(&group.name))?;
    Some(group.totals.get_or_init(|| cells))
}

/// The numbers of requests that belong to no group.
pub(crate) fn of_none() -> Option<&'static [AtomicU64]> {
    claim(MEMORY.get()?, key_of(""))
}

pub(crate) fn add(cells: &[AtomicU64], cell: usize, count: u64) {
    if let Some(cell) = cells.get(cell) {
        cell.fetch_add(count, Ordering::Relaxed);
    }
}

/// The numbers of this key, which may take a place for it.
fn claim(memory: &'static [AtomicU64], key: u64) -> Option<&'static [AtomicU64]> {
    let (_, numbers) = HTTPDS.places(key).find(|(place, _)| {
        let Some(place) = memory.get(*place) else {
            return false;
        };
        let taken = place.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok() || taken == Err(key)
    })?;
    memory.get(numbers..numbers + HTTPDS.len)
}

/// Nobody can make it shorter, so that nobody who maps it faults.
fn make() -> std::io::Result<OwnedFd> {
    let file = File::from(memfd_create(
        c"wsgid-totals",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?);
    file.set_len(LEN as u64)?;
    file.write_all_at(&head(since_1970().as_secs()), 0)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Another build of this module may have made it.
fn is_of_this_form(fd: BorrowedFd<'_>) -> bool {
    let mut mark = [0; size_of::<u64>()];
    let file = fd.try_clone_to_owned().map(File::from);
    file.and_then(|file| file.read_exact_at(&mut mark, 0))
        .is_ok()
        && mark == MARK.to_ne_bytes()
}

fn mapped(fd: BorrowedFd<'_>) -> Option<&'static [AtomicU64]> {
    shared::of_file(fd, LEN / size_of::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_numbers_of_its_own_in_all_processes() {
        let file = make().unwrap();
        assert!(is_of_this_form(file.as_fd()));
        let [one, other] = [(); 2].map(|()| mapped(file.as_fd()).unwrap());
        let count = |memory, name: &str| {
            let cells = claim(memory, key_of(name)).unwrap();
            add(cells, 3, 1);
            cells[3].load(Ordering::Relaxed)
        };
        assert_eq!(count(one, "shop"), 1);
        assert_eq!(count(other, "wiki"), 1);
        assert_eq!(count(other, "shop"), 2);
        assert!(File::from(file).set_len(8).is_err(), "it is sealed");
    }

    #[test]
    fn a_full_table_has_no_place_for_more() {
        let file = make().unwrap();
        let memory = mapped(file.as_fd()).unwrap();
        let room = (1..=5000).filter(|key| claim(memory, *key).is_some());
        assert_eq!(room.count(), wsgid_protocol::totals::GROUPS);
        assert!(claim(memory, 1).is_some(), "who has one keeps it");
    }
}
