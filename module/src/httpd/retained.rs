//! What survives a restart of httpd: plain data in memory of the process, found again by
//! its key, also by a newer build of this module. Owned by `launch/`.

#![expect(unsafe_code, reason = "reads and writes memory that httpd keeps")]

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use crate::apr::pool::AprPool;
use crate::apr::text::optional;
use crate::sys;

/// Changes whenever the fields do: another build must not read them wrongly.
const KEY: &CStr = c"mod_wsgid/3";

/// Longest path of a socket, with its NUL.
pub(crate) const SOCKET_PATH_MAX: usize = 108;

/// Generations that may have children at the same time; each graceful restart
/// may leave some behind.
const GENERATIONS_MAX: usize = 16;

/// A generation of httpd's children.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChildGeneration {
    pub(crate) number: u64,
    /// What its children prove with that they are its. Each has its own, so that
    /// what a child knows is worth nothing when its generation has ended.
    pub(crate) secret: [u8; 32],
    children: u32,
}

/// The generations that have children, and the newest, which is about to.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Generations {
    known: [ChildGeneration; GENERATIONS_MAX],
    len: usize,
}

impl Generations {
    /// A configuration is in force from now on. Returns the secret.
    pub(crate) fn begin(&mut self, number: u64, secret: [u8; 32]) -> [u8; 32] {
        if let Some(newest) = self.all().last().filter(|newest| newest.number == number) {
            return newest.secret;
        }
        if self.len == GENERATIONS_MAX {
            // Nothing is lost but that a new supervisor would not know it.
            self.retain(|oldest, _| oldest > 0);
        }
        self.known[self.len] = ChildGeneration {
            number,
            secret,
            children: 0,
        };
        self.len += 1;
        secret
    }

    pub(crate) fn child_started(&mut self, number: u64) {
        self.of(number)
            .for_each(|generation| generation.children += 1);
    }

    pub(crate) fn child_exited(&mut self, number: u64) {
        self.of(number)
            .for_each(|generation| generation.children = generation.children.saturating_sub(1));
    }

    /// Forgets those without children and returns their numbers. The newest stays.
    pub(crate) fn take_ended(&mut self) -> Vec<u64> {
        let newest = self.len.saturating_sub(1);
        let mut ended = Vec::new();
        self.retain(|at, generation| {
            let stays = at == newest || generation.children > 0;
            if !stays {
                ended.push(generation.number);
            }
            stays
        });
        ended
    }

    /// All of them, the newest last.
    pub(crate) fn all(&self) -> &[ChildGeneration] {
        &self.known[..self.len]
    }

    fn of(&mut self, number: u64) -> impl Iterator<Item = &mut ChildGeneration> {
        self.known[..self.len]
            .iter_mut()
            .filter(move |generation| generation.number == number)
    }

    fn retain(&mut self, mut stays: impl FnMut(usize, &ChildGeneration) -> bool) {
        let mut left = 0;
        for at in 0..self.len {
            let generation = self.known[at];
            if stays(at, &generation) {
                self.known[left] = generation;
                left += 1;
            }
        }
        self.len = left;
    }
}

/// The record.
#[repr(C)]
pub(crate) struct Retained {
    /// For httpd's watch over other children; `pid` 0 is none.
    pub(crate) process: sys::apr_proc_t,
    /// Whether httpd watches it now.
    pub(crate) registered: bool,
    /// The process that made this record; children have copies.
    pub(crate) owner: i32,
    /// Our end of the control socket, or -1.
    control: RawFd,
    /// The listening socket, or -1.
    listener: RawFd,
    /// The memory of totals, or -1.
    totals: RawFd,
    pub(crate) generations: Generations,
    socket_path: [u8; SOCKET_PATH_MAX],
    /// Seconds of the monotonic clock when it was last started.
    pub(crate) started_at: u64,
    /// Starts in a row that ended at once.
    pub(crate) quick_deaths: u32,
    /// When to start again; 0 is not planned.
    pub(crate) retry_at: u64,
}

impl Retained {
    fn borrow(&self, fd: RawFd) -> Option<BorrowedFd<'_>> {
        // SAFETY: the record owns its descriptors; they are closed only through
        // `replace`, which needs it exclusively.
        (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn replace(place: &mut RawFd, fd: Option<OwnedFd>) {
        let old = std::mem::replace(place, fd.map_or(-1, IntoRawFd::into_raw_fd));
        if old >= 0 {
            // SAFETY: the record owned it and has just forgotten its number.
            drop(unsafe { OwnedFd::from_raw_fd(old) });
        }
    }

    pub(crate) fn control(&self) -> Option<BorrowedFd<'_>> {
        self.borrow(self.control)
    }

    pub(crate) fn set_control(&mut self, fd: Option<OwnedFd>) {
        Self::replace(&mut self.control, fd);
    }

    pub(crate) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.borrow(self.listener)
    }

    /// Takes a new listening socket with its path and closes the old one.
    pub(crate) fn set_listener(&mut self, listener: Option<(OwnedFd, &str)>) {
        let (fd, path) = listener.unzip();
        Self::replace(&mut self.listener, fd);
        self.socket_path = [0; SOCKET_PATH_MAX];
        for (place, byte) in self.socket_path.iter_mut().zip(path.unwrap_or("").bytes()) {
            *place = byte;
        }
    }

    pub(crate) fn totals(&self) -> Option<BorrowedFd<'_>> {
        self.borrow(self.totals)
    }

    pub(crate) fn set_totals(&mut self, fd: Option<OwnedFd>) {
        Self::replace(&mut self.totals, fd);
    }

    /// The listening socket's path; empty if there is none.
    pub(crate) fn socket_path(&self) -> String {
        let path = CStr::from_bytes_until_nul(&self.socket_path);
        path.unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The record of this server, made on first use.
pub(crate) fn with<T>(f: impl FnOnce(&mut Retained) -> T) -> T {
    // SAFETY: a look-up by name.
    let mut raw = unsafe { sys::ap_retained_data_get(KEY.as_ptr()) }.cast::<Retained>();
    let is_new = raw.is_null();
    if is_new {
        // SAFETY: httpd returns memory that lives as long as the process.
        raw = unsafe { sys::ap_retained_data_create(KEY.as_ptr(), size_of::<Retained>()) }.cast();
    }
    // SAFETY: large enough, aligned by APR, and zeroed when it was made, which is a valid
    // record; the parent has one thread, and `f` does not come back here.
    let retained = unsafe { &mut *raw };
    if is_new {
        retained.control = -1;
        retained.listener = -1;
        retained.totals = -1;
    }
    f(retained)
}

/// Has httpd tell us about the end of the supervisor, until the configuration
/// ends.
pub(crate) fn watch(retained: &mut Retained, pool: AprPool<'_>, maintenance: sys::Maintenance) {
    let data = std::ptr::from_mut(retained).cast();
    // SAFETY: process record and data live as long as the process; the function
    // is never unloaded (`-z nodelete`).
    unsafe {
        sys::apr_proc_other_child_register(
            &raw mut retained.process,
            maintenance,
            data,
            std::ptr::null_mut(),
            pool.as_raw(),
        );
    };
    retained.registered = true;
}

pub(crate) fn unwatch(retained: &mut Retained) {
    if retained.registered {
        retained.registered = false;
        // SAFETY: the data that was registered.
        unsafe { sys::apr_proc_other_child_unregister(std::ptr::from_mut(retained).cast()) };
    }
}

/// A path below httpd's runtime directory.
pub(crate) fn runtime_path(pool: AprPool<'_>, name: &CStr) -> Option<String> {
    // SAFETY: pool and name are alive.
    let path = unsafe { sys::ap_runtime_dir_relative(pool.as_raw(), name.as_ptr()) };
    // SAFETY: null or a C string in the pool.
    unsafe { optional(path) }.map(|path| path.to_string_lossy().into_owned())
}

/// Has `cleanup` called when the configuration is given up.
pub(crate) fn at_end_of_configuration(pool: AprPool<'_>, cleanup: sys::Cleanup) {
    // SAFETY: the function takes no data and is never unloaded.
    unsafe { pool.on_clear(std::ptr::null_mut(), cleanup) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(generations: &Generations) -> Vec<u8> {
        generations.all().iter().map(|one| one.secret[0]).collect()
    }

    #[test]
    fn each_generation_has_a_secret_that_ends_with_its_last_child() {
        let mut generations = Generations::default();
        assert_eq!(generations.begin(0, [1; 32]), [1; 32]);
        assert_eq!(
            generations.begin(0, [2; 32]),
            [1; 32],
            "the same generation"
        );
        generations.child_started(0);
        generations.child_started(0);
        // Restarted at once: its children end before the next one begins.
        generations.child_exited(0);
        generations.child_exited(0);
        assert!(generations.take_ended().is_empty(), "the newest stays");
        generations.begin(1, [3; 32]);
        assert_eq!(generations.take_ended(), [0]);
        generations.child_started(1);
        // Restarted gracefully.
        generations.begin(2, [4; 32]);
        assert!(generations.take_ended().is_empty());
        assert_eq!(secrets(&generations), [3, 4]);
        generations.child_exited(7);
        generations.child_exited(1);
        assert_eq!(generations.take_ended(), [1]);
        assert_eq!(secrets(&generations), [4]);
    }

    #[test]
    fn the_number_of_generations_is_bounded() {
        let mut generations = Generations::default();
        for number in 1..=40 {
            generations.begin(u64::from(number), [number; 32]);
        }
        assert_eq!(secrets(&generations), (25..=40).collect::<Vec<_>>());
    }
}
