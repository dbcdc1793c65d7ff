//! Descriptors: too many, too few, of the wrong kind, and files that are not
//! what was announced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;

use nix::sys::stat::Mode;
use wsgid_protocol::Kind;
use wsgid_protocol::response::FilePart;

use super::case::Case;
use super::case::Expect::{Any, Complete, NotOk};
use super::exchange::{Exchange, TEXT};

type Result = io::Result<()>;

const CONTENT: &[u8] = b"0123456789";
const WHOLE: FilePart = FilePart { offset: 0, len: 10 };

fn content() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(CONTENT)?;
    Ok(file)
}

/// A response of this file, complete but for what is wrong with it.
fn file(exchange: &mut Exchange, part: FilePart, fds: &[BorrowedFd<'_>]) -> Result {
    exchange.response(
        200,
        &[TEXT, (b"Content-Length", part.len.to_string().as_bytes())],
    )?;
    exchange.file(part, fds)?;
    exchange.end()
}

/// Something that can be opened and is no regular file.
fn special(exchange: &mut Exchange, path: &str) -> Result {
    let it = File::open(path)?;
    file(exchange, WHOLE, &[it.as_fd()])
}

/// Data with descriptors that nobody asked for.
fn unasked(exchange: &mut Exchange, count: usize, times: usize) -> Result {
    let it = File::open("/dev/null")?;
    let fds = vec![it.as_fd(); count];
    exchange.ok()?;
    (0..times).try_for_each(|_| exchange.frame_with(exchange.head(Kind::Data), b"x", &fds))?;
    exchange.end()
}

fn fifo() -> io::Result<File> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    // Both ends, so that opening does not wait; nobody ever writes.
    OpenOptions::new().read(true).write(true).open(&path)
}

pub(super) const CASES: &[Case] = &[
    Case::new("file", Complete("0123456789"), |e| {
        file(e, WHOLE, &[content()?.as_fd()])
    }),
    Case::new("file-part", Complete("345"), |e| {
        file(e, FilePart { offset: 3, len: 3 }, &[content()?.as_fd()])
    }),
    Case::new("file-longer-than-it-is", NotOk, |e| {
        file(
            e,
            FilePart {
                offset: 0,
                len: 1000,
            },
            &[content()?.as_fd()],
        )
    }),
    Case::new("file-from-behind-its-end", NotOk, |e| {
        file(
            e,
            FilePart {
                offset: 1000,
                len: 10,
            },
            &[content()?.as_fd()],
        )
    }),
    Case::new("file-offset-overflow", NotOk, |e| {
        file(
            e,
            FilePart {
                offset: u64::MAX,
                len: 10,
            },
            &[content()?.as_fd()],
        )
    }),
    Case::new("file-end-overflow", NotOk, |e| {
        file(
            e,
            FilePart {
                offset: 5,
                len: u64::MAX,
            },
            &[content()?.as_fd()],
        )
    }),
    Case::new("file-length-2-exp-63", NotOk, |e| {
        file(
            e,
            FilePart {
                offset: 0,
                len: 1 << 63,
            },
            &[content()?.as_fd()],
        )
    }),
    Case::new("file-without-a-descriptor", NotOk, |e| file(e, WHOLE, &[])),
    Case::new("file-with-two-descriptors", NotOk, |e| {
        let one = content()?;
        file(e, WHOLE, &[one.as_fd(), one.as_fd()])
    }),
    Case::new("file-with-250-descriptors", NotOk, |e| {
        let one = content()?;
        file(e, WHOLE, &[one.as_fd(); 250])
    }),
    Case::new("file-twice", NotOk, |e| {
        let one = content()?;
        e.ok()?;
        e.file(WHOLE, &[one.as_fd()])?;
        e.file(WHOLE, &[one.as_fd()])?;
        e.end()
    }),
    Case::new("file-before-the-head", NotOk, |e| {
        let one = content()?;
        e.file(WHOLE, &[one.as_fd()])?;
        e.answer(b"body")
    }),
    Case::new("file-then-data", NotOk, |e| {
        let one = content()?;
        e.ok()?;
        e.file(WHOLE, &[one.as_fd()])?;
        e.data(b"body")?;
        e.end()
    }),
    Case::new("file-that-is-a-directory", NotOk, |e| special(e, "/")),
    Case::new("file-that-is-a-device", NotOk, |e| special(e, "/dev/zero")),
    Case::new("file-that-is-a-fifo", NotOk, |e| {
        file(e, WHOLE, &[fifo()?.as_fd()])
    }),
    Case::new("file-that-is-a-socket", NotOk, |e| {
        let (near, _far) = UnixStream::pair()?;
        file(e, WHOLE, &[near.as_fd()])
    }),
    Case::new("file-that-cannot-be-read", NotOk, |e| {
        let directory = tempfile::tempdir()?;
        let mut closed = File::create(directory.path().join("closed"))?;
        closed.write_all(CONTENT)?;
        file(e, WHOLE, &[closed.as_fd()])
    }),
    Case::new("file-that-is-only-a-path", NotOk, |e| {
        let mut readable = tempfile::NamedTempFile::new()?;
        readable.write_all(CONTENT)?;
        let path = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(readable.path())?;
        file(e, WHOLE, &[path.as_fd()])
    }),
    Case::new("file-cut-while-it-is-sent", Any, |e| {
        let large = tempfile::tempfile()?;
        large.set_len(64 << 20)?;
        file(
            e,
            FilePart {
                offset: 0,
                len: 64 << 20,
            },
            &[large.as_fd()],
        )?;
        large.set_len(0)
    }),
    Case::new("file-of-the-kernel", NotOk, |e| {
        // It says that it is a page, and has some bytes.
        let names = [
            "/sys/devices/system/cpu/online",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/kernel/profiling",
        ];
        let it = names
            .iter()
            .find_map(|name| File::open(name).ok())
            .ok_or(io::ErrorKind::NotFound)?;
        file(
            e,
            FilePart {
                offset: 0,
                len: it.metadata()?.len(),
            },
            &[it.as_fd()],
        )
    }),
    Case::new("file-cut-a-little-later", Any, |e| {
        let large = tempfile::tempfile()?;
        large.set_len(64 << 20)?;
        file(
            e,
            FilePart {
                offset: 0,
                len: 64 << 20,
            },
            &[large.as_fd()],
        )?;
        (0..3).for_each(|_| e.pause());
        large.set_len(0)
    }),
    Case::new("data-with-a-descriptor", NotOk, |e| unasked(e, 1, 1)),
    Case::new("data-with-250-descriptors", NotOk, |e| unasked(e, 250, 1)),
    Case::new("descriptor-flood", NotOk, |e| unasked(e, 250, 500)),
    Case::new("one-descriptor-each-flood", NotOk, |e| unasked(e, 1, 2000)),
    Case::new("descriptors-on-bytes-of-a-head", NotOk, |e| {
        let it = File::open("/dev/null")?;
        for byte in e.head(Kind::Data).encode() {
            let slices = &mut [io::IoSlice::new(std::slice::from_ref(&byte))];
            let flags = nix::sys::socket::MsgFlags::empty();
            wsgid_protocol::blocking::send_all(e.socket.as_fd(), slices, &[it.as_fd()], flags)?;
        }
        e.answer(b"body")
    }),
];
