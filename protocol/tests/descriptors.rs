//! Descriptors beside frames: the agreed number arrives, anything else is
//! refused and leaves no descriptor behind, also where the kernel had to stop
//! half way. The tests count `/proc/self/fd`, so they run one after another.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::MsgFlags;
use wsgid_protocol::blocking::{FrameReader, ReadError, send_all, send_frame};
use wsgid_protocol::fds::{DescriptorRoom, recv_with_fds};
use wsgid_protocol::limits::MAX_DESCRIPTORS;
use wsgid_protocol::{FrameHead, Kind};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn file() -> File {
    File::open("/dev/null").unwrap()
}

/// One frame with the same descriptor so many times.
fn send(socket: &UnixStream, count: usize) {
    let file = file();
    let fds: Vec<BorrowedFd<'_>> = vec![file.as_fd(); count];
    let head = FrameHead::new(Kind::Control, 0, 3).with_code(count as u16);
    send_frame(socket.as_fd(), head, b"abc", &fds).unwrap();
}

fn refused(result: Result<usize, ReadError>) {
    match result {
        Err(ReadError::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::InvalidData),
        other => panic!("{other:?}"),
    }
}

/// The payload's length, so that the reader is free again.
fn next(reader: &mut FrameReader, socket: &UnixStream) -> Result<usize, ReadError> {
    reader.next(socket.as_fd()).map(|frame| frame.payload.len())
}

#[test]
fn the_agreed_number_arrives_and_closes_on_exec() {
    let _alone = alone();
    for count in [1, 2, 3, MAX_DESCRIPTORS] {
        let (near, far) = pair();
        let before = open_descriptors();
        let mut reader = FrameReader::new(count);
        send(&near, count);
        assert_eq!(next(&mut reader, &far).unwrap(), 3);
        assert_eq!(
            (reader.waiting_fds(), open_descriptors()),
            (count, before + count)
        );
        let first: OwnedFd = reader.take_fd().unwrap();
        let flags = FdFlag::from_bits_retain(fcntl(&first, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        assert_eq!(reader.waiting_fds(), count - 1);
        drop((reader, first));
        assert_eq!(open_descriptors(), before);
    }
}

#[test]
fn too_many_are_refused_and_all_are_the_owners_to_close() {
    let _alone = alone();
    for (room, count) in [
        (1, 2),
        (1, 3),
        (1, MAX_DESCRIPTORS),
        (2, 3),
        (3, 4),
        (5, MAX_DESCRIPTORS),
    ] {
        let (near, far) = pair();
        let before = open_descriptors();
        let mut reader = FrameReader::new(room);
        send(&near, count);
        refused(next(&mut reader, &far));
        assert_eq!(reader.take_fds().len(), count, "room {room}");
        assert_eq!(
            (reader.waiting_fds(), open_descriptors()),
            (0, before),
            "room {room}, {count} sent"
        );
    }
}

#[test]
fn where_none_was_agreed_the_kernel_discards_them() {
    let _alone = alone();
    let (near, far) = pair();
    let before = open_descriptors();
    let mut reader = FrameReader::new(0);
    send(&near, MAX_DESCRIPTORS);
    assert_eq!(next(&mut reader, &far).unwrap(), 3);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn descriptors_that_no_frame_asked_for_do_not_pile_up() {
    let _alone = alone();
    let (near, far) = pair();
    let before = open_descriptors();
    let mut reader = FrameReader::new(1);
    let file = file();
    // A head one byte at a time, each byte with a descriptor.
    let head = FrameHead::new(Kind::Data, 1, 0).encode();
    for byte in &head {
        send_all(
            near.as_fd(),
            &mut [IoSlice::new(&[*byte])],
            &[file.as_fd()],
            MsgFlags::empty(),
        )
        .unwrap();
    }
    drop(file);
    refused(next(&mut reader, &far));
    assert!(
        reader.waiting_fds() < head.len(),
        "it stopped before the end"
    );
    drop(reader);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn frames_behind_each_other_keep_their_descriptors() {
    let _alone = alone();
    let (near, far) = pair();
    let before = open_descriptors();
    for _ in 0..20 {
        send(&near, 1);
    }
    let mut reader = FrameReader::new(1);
    for _ in 0..20 {
        assert_eq!(next(&mut reader, &far).unwrap(), 3);
        assert!(reader.take_fd().is_some());
    }
    assert_eq!((reader.waiting_fds(), open_descriptors()), (0, before));
}

#[test]
fn a_process_that_may_open_no_more_loses_none() {
    let _alone = alone();
    let (near, far) = pair();
    send(&near, 20);
    let before = open_descriptors();
    let mut reader = FrameReader::new(MAX_DESCRIPTORS);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // Room for some of the twenty: the kernel stops half way.
    setrlimit(Resource::RLIMIT_NOFILE, before as u64 + 7, hard).unwrap();
    let result = next(&mut reader, &far);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    refused(result);
    assert!(!reader.take_fds().is_empty(), "some fitted");
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_reader_that_goes_on_without_descriptors_knows_which_is_missing() {
    let _alone = alone();
    let (near, far) = pair();
    let before = open_descriptors();
    let mut reader = FrameReader::new(3).going_on_without_fds();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let mut had = Vec::new();
    for round in 0..4 {
        send(&near, 1);
        if round == 1 {
            setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        }
        let got = next(&mut reader, &far);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!(got.unwrap(), 3, "the frame is whole");
        had.push(reader.take_fd().is_some());
    }
    assert_eq!(
        (had, open_descriptors()),
        (vec![true, false, true, true], before)
    );
    send(&near, 2);
    assert!(
        next(&mut reader, &far).is_err(),
        "more than one is a breach of trust"
    );
}

#[test]
fn clear_closes_what_nobody_took() {
    let _alone = alone();
    let (near, far) = pair();
    let before = open_descriptors();
    let mut reader = FrameReader::new(4);
    send(&near, 4);
    assert_eq!(next(&mut reader, &far).unwrap(), 3);
    reader.clear();
    assert_eq!(open_descriptors(), before);
}

#[test]
fn an_end_of_file_and_other_control_data_bring_no_descriptor() {
    let _alone = alone();
    let (near, far) = pair();
    nix::sys::socket::setsockopt(&far, nix::sys::socket::sockopt::PassCred, &true).unwrap();
    let before = open_descriptors();
    let mut room = DescriptorRoom::new(MAX_DESCRIPTORS);
    let mut receive =
        || recv_with_fds(far.as_fd(), &mut [0; 64], &mut room, MsgFlags::empty()).unwrap();
    send(&near, 2);
    let got = receive();
    assert_eq!(
        (got.count, got.fds.len(), open_descriptors()),
        (19, 2, before + 2)
    );
    drop(got);
    drop(near);
    let end = receive();
    assert_eq!((end.count, end.fds.len()), (0, 0));
}
