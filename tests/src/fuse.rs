//! A FUSE file system with one file, spoken by hand: its program (a thread of the
//! test) answers everything but reads and the flush at a close, and those too if
//! it is told so. Needs root.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

/// What the file holds.
pub const CONTENT: &[u8] = b"0123456789";

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

const ROOT: u64 = 1;
const FILE: u64 = 2;

/// The file system; it goes when this is dropped.
#[derive(Debug)]
pub struct Fuse {
    place: TempDir,
    answers: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    program: Option<JoinHandle<()>>,
}

impl Fuse {
    /// Mounts it, with a program that does not answer.
    ///
    /// # Errors
    /// If this process may not.
    pub fn mount() -> io::Result<Self> {
        let place = tempfile::tempdir()?;
        crate::cache::make_readable_directory(&place.path().join("at"));
        std::fs::set_permissions(
            place.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        // For mount, which passes the number on to the kernel.
        let copy = device.as_fd().try_clone_to_owned()?;
        fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            copy.as_raw_fd()
        );
        let at = place.path().join("at");
        let out = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", &options, "wsgid-test"])
            .arg(&at)
            .output()?;
        drop(copy);
        if !out.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&out.stderr).into_owned(),
            ));
        }
        let answers = Arc::new(AtomicBool::new(false));
        let ends = Arc::new(AtomicBool::new(false));
        let program = {
            let answers = Arc::clone(&answers);
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || serve(device, &answers, &ends))
        };
        Ok(Self {
            place,
            answers,
            ends,
            program: Some(program),
        })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.place.path().join("at/file")
    }

    /// Whether its program answers reads and flushes.
    pub fn answer(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // Everything that waits fails when the program has gone.
        self.ends.store(true, Ordering::Relaxed);
        if let Some(program) = self.program.take() {
            let _ = program.join();
        }
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.place.path().join("at"))
            .status();
    }
}

fn serve(mut device: File, answers: &AtomicBool, ends: &AtomicBool) {
    let mut buffer = vec![0; 1 << 17];
    while !ends.load(Ordering::Relaxed) {
        let mut polled = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut polled, PollTimeout::from(50_u8)), Ok(1..)) {
            continue;
        }
        let Ok(count) = device.read(&mut buffer) else {
            return;
        };
        if let Some(answer) = answer(&buffer[..count], answers.load(Ordering::Relaxed)) {
            let _ = device.write_all(&answer);
        }
    }
}

/// The answer to one request, if it gets any.
fn answer(request: &[u8], answers: bool) -> Option<Vec<u8>> {
    let number = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap_or_default());
    let long = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap_or_default());
    let operation = number(4);
    let unique = long(8);
    let node = long(16);
    let body = &request[40..];
    let payload = match operation {
        FORGET | INTERRUPT | BATCH_FORGET | DESTROY => return None,
        READ | FLUSH if !answers => return None,
        INIT => init(),
        LOOKUP if body == b"file\0" => [
            &FILE.to_le_bytes()[..],
            &0_u64.to_le_bytes(),
            &valid(2),
            &attributes(FILE),
        ]
        .concat(),
        LOOKUP => return Some(out(unique, -libc::ENOENT, &[])),
        GETATTR => [&valid(1)[..], &attributes(node)].concat(),
        OPEN => vec![0; 16],
        STATFS => vec![0; 80],
        READ => {
            let offset = usize::try_from(long(48))
                .unwrap_or(usize::MAX)
                .min(CONTENT.len());
            CONTENT[offset..].to_vec()
        }
        FLUSH | RELEASE => Vec::new(),
        _ => return Some(out(unique, -libc::ENOSYS, &[])),
    };
    Some(out(unique, 0, &payload))
}

fn out(unique: u64, error: i32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(16 + payload.len()).unwrap_or_default();
    [
        &len.to_le_bytes()[..],
        &error.to_le_bytes(),
        &unique.to_le_bytes(),
        payload,
    ]
    .concat()
}

fn init() -> Vec<u8> {
    let mut out = vec![0; 64];
    for (at, value) in [(0, 7_u32), (4, 31), (8, 1 << 16), (20, 1 << 16)] {
        out[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    out
}

/// So many times: an hour.
fn valid(times: usize) -> Vec<u8> {
    let seconds = 3600_u64.to_le_bytes().repeat(times);
    [
        &seconds[..],
        &vec![0; if times == 1 { 8 } else { 4 * times }],
    ]
    .concat()
}

fn attributes(node: u64) -> Vec<u8> {
    let mut out = vec![0; 88];
    let is_file = node == FILE;
    let size = if is_file { CONTENT.len() as u64 } else { 0 };
    let mode = if is_file {
        libc::S_IFREG | 0o644
    } else {
        libc::S_IFDIR | 0o755
    };
    out[..8].copy_from_slice(&if is_file { FILE } else { ROOT }.to_le_bytes());
    out[8..16].copy_from_slice(&size.to_le_bytes());
    out[60..64].copy_from_slice(&mode.to_le_bytes());
    out[64..68].copy_from_slice(&1_u32.to_le_bytes());
    out[80..84].copy_from_slice(&4096_u32.to_le_bytes());
    out
}

/// Whether this machine can mount it; the reason otherwise.
///
/// # Errors
/// The reason.
pub fn possible() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root mounts a file system".to_owned());
    }
    if !Path::new("/dev/fuse").exists() {
        return Err("there is no /dev/fuse".to_owned());
    }
    Fuse::mount()
        .map(drop)
        .map_err(|error| format!("FUSE cannot be mounted: {error}"))
}
