//! The totals of process groups, in memory that httpd's children count in
//! (`protocol/src/totals.rs`): read for the status, and the supervisor's own numbers are
//! written there, so that they outlive it. httpd sends the memory; a supervisor on its own
//! makes it beside its socket. Only `pread` and `pwrite`: whatever others do with it, nothing
//! here faults or waits. Told by `counting`, asked by `status`; knows nothing of workers.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::geteuid;
use wsgid_protocol::clock::since_1970;
use wsgid_protocol::totals::{
    FILE_NAME, GroupTable, GroupTotals, HTTPDS, LEN, MARK, SINCE, SUPERVISORS, head, key_of,
};

const NUMBER: usize = size_of::<u64>();

/// The memory, if there is one.
#[derive(Default)]
pub(super) struct Totals(pub(super) Option<Arc<File>>);

impl Totals {
    /// Memory that somebody hands over; a module of another release may lay it out otherwise.
    pub(super) fn taken(file: Option<Arc<File>>) -> Self {
        let is_known = |file: &Arc<File>| read(file, 0, 1).is_ok_and(|mark| mark == [MARK]);
        Self(file.filter(is_known))
    }

    /// What was counted of a group; all of it is 0 where nothing was.
    pub(super) fn of(&self, group: &str) -> Option<GroupTotals> {
        let file = self.0.as_ref()?;
        let key = key_of(group);
        let numbers = |table| {
            let (_, at) = find(file, table, key).filter(|(is_there, _)| *is_there)?;
            read(file, at, table.len).ok()
        };
        let [since] = read(file, SINCE, 1).ok()?[..] else {
            return None;
        };
        Some(GroupTotals::new(
            since,
            &numbers(HTTPDS).unwrap_or_default(),
            &numbers(SUPERVISORS).unwrap_or_default(),
        ))
    }

    /// Counts for a group. The supervisor alone writes this table.
    pub(super) fn add(&self, group: &str, counts: &[(usize, u64)]) {
        let Some(file) = &self.0 else {
            return;
        };
        if let Err(error) = add(file, key_of(group), counts) {
            tracing::trace!("process group `{group}`: its totals were not counted: {error}");
        }
    }
}

fn add(file: &File, key: u64, counts: &[(usize, u64)]) -> io::Result<()> {
    let found = find(file, SUPERVISORS, key);
    let (is_there, at) = found.ok_or(io::ErrorKind::StorageFull)?;
    let mut numbers = read(file, at, SUPERVISORS.len)?;
    for (cell, count) in counts {
        if let Some(number) = numbers.get_mut(*cell) {
            *number = number.saturating_add(*count);
        }
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|one| one.to_ne_bytes()).collect();
    file.write_all_at(&bytes, (at * NUMBER) as u64)?;
    if !is_there {
        let place = SUPERVISORS.places(key).find(|(_, numbers)| *numbers == at);
        let (place, _) = place.ok_or(io::ErrorKind::NotFound)?;
        file.write_all_at(&key.to_ne_bytes(), (place * NUMBER) as u64)?;
    }
    Ok(())
}

/// Whether the key is in the table, and where its numbers are or may be.
fn find(file: &File, table: GroupTable, key: u64) -> Option<(bool, usize)> {
    for (place, numbers) in table.places(key) {
        match read(file, place, 1).ok()?[..] {
            [there] if there == key => return Some((true, numbers)),
            [0] => return Some((false, numbers)),
            _ => {}
        }
    }
    None
}

fn read(file: &File, at: usize, len: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; len * NUMBER];
    file.read_exact_at(&mut bytes, (at * NUMBER) as u64)?;
    let numbers = bytes.as_chunks().0.iter();
    Ok(numbers.map(|one| u64::from_ne_bytes(*one)).collect())
}

/// The memory of a supervisor on its own, for httpd's user alone: that of the supervisor
/// before, which httpd's children have mapped, or a new one.
///
/// # Errors
/// With the path in the text.
pub(super) fn beside(socket: &Path, httpd: u32) -> io::Result<File> {
    let path = socket.with_file_name(FILE_NAME);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
    if let Some(file) = kept(&path, httpd) {
        return Ok(file);
    }
    make(&path, httpd).map_err(named)
}

fn kept(path: &Path, httpd: u32) -> Option<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = options.custom_flags(flags).open(path).ok()?;
    let found = file.metadata().ok()?;
    let is_ours = found.uid() == httpd || !geteuid().is_root();
    let is_whole = found.is_file() && found.len() == LEN as u64;
    (is_ours && is_whole && read(&file, 0, 1).ok()? == [MARK]).then_some(file)
}

fn make(path: &Path, httpd: u32) -> io::Result<File> {
    let staged = path.with_extension(std::process::id().to_string());
    let _ = fs::remove_file(&staged);
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    let since = since_1970();
    let made = (|| {
        // Now, or who counts there would fault where the file system is full.
        let len = i64::try_from(LEN).map_err(io::Error::other)?;
        fallocate(&file, FallocateFlags::empty(), 0, len)?;
        file.write_all_at(&head(since.as_secs()), 0)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        if geteuid().is_root() {
            fchown(&file, Some(httpd), None)?;
        }
        fs::rename(&staged, path)
    })();
    if made.is_err() {
        let _ = fs::remove_file(&staged);
    }
    made.map(|()| file)
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::totals::{RestartReason, supervisors};

    use super::*;

    #[test]
    fn what_is_counted_outlives_who_counted_it() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("httpd.sock");
        let open = || Totals(Some(Arc::new(beside(&socket, geteuid().as_raw()).unwrap())));
        let first = open();
        assert_eq!(first.of("shop").unwrap().given_up, 0);
        let asked = supervisors::restarts(RestartReason::Asked);
        first.add("shop", &[(supervisors::GIVEN_UP, 1), (asked, 2)]);
        first.add("wiki", &[(asked, 1)]);
        drop(first);
        let second = open();
        second.add("shop", &[(asked, 1)]);
        let totals = second.of("shop").unwrap();
        assert_eq!((totals.given_up, totals.restarts["asked"]), (1, 3));
        assert_eq!(second.of("wiki").unwrap().restarts["asked"], 1);
        assert!(totals.since > 0 && totals.requests.is_empty());
    }

    #[test]
    fn memory_of_another_form_is_not_touched() {
        let place = tempfile::tempfile().unwrap();
        place.set_len(LEN as u64).unwrap();
        let totals = Totals::taken(Some(Arc::new(place)));
        totals.add("shop", &[(supervisors::GIVEN_UP, 1)]);
        assert_eq!(totals.of("shop"), None);
    }

    #[test]
    fn what_others_made_of_the_file_is_read_as_nothing_or_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("httpd.sock");
        let path = place.path().join(FILE_NAME);
        let totals = Totals(Some(Arc::new(beside(&socket, geteuid().as_raw()).unwrap())));
        totals.add("shop", &[(supervisors::GIVEN_UP, 1)]);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(9)
            .unwrap();
        totals.add("shop", &[(supervisors::GIVEN_UP, 1)]);
        assert_eq!(totals.of("shop"), None);
        let anew = Totals(Some(Arc::new(beside(&socket, geteuid().as_raw()).unwrap())));
        assert_eq!(anew.of("shop").unwrap().given_up, 0);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(
            beside(&socket, geteuid().as_raw())
                .unwrap()
                .metadata()
                .unwrap()
                .len(),
            LEN as u64
        );
    }
}
