//! Lengths that promise more than is there: an error at once, and memory only in
//! proportion to what was really sent. Alone in its process, because it counts
//! what the whole process allocates.
#![expect(
    unsafe_code,
    reason = "an allocator that counts implements an unsafe trait"
)]
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[expect(dead_code, reason = "the golden files use all of it")]
mod samples;

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::control::{Command, FromParent, FromWorker, ToParent, ToWorker};
use wsgid_protocol::payload::decode;
use wsgid_protocol::request::{Hello, RequestHead};
use wsgid_protocol::response::{Answer, ResponseHead};
use wsgid_protocol::{FrameHead, GroupConfig, Kind};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most memory that was taken at once while `work` ran.
fn most_during(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    work();
    MOST.load(Ordering::Relaxed) - before
}

/// A variable-length integer as the serializer writes its longest form.
fn varint(value: u64) -> Vec<u8> {
    let mut out = vec![0xFD];
    out.extend(value.to_le_bytes());
    out
}

/// Every structure that a peer can send.
fn decode_all(bytes: &[u8]) {
    fn one<'de, T: Deserialize<'de>>(bytes: &'de [u8]) {
        drop(decode::<T>(bytes));
    }
    drop(RequestHead::decode(bytes));
    drop(ResponseHead::decode(bytes));
    one::<Hello>(bytes);
    one::<RequestHead<'_>>(bytes);
    one::<ResponseHead<'_>>(bytes);
    one::<Answer>(bytes);
    one::<FromParent>(bytes);
    one::<ToParent>(bytes);
    one::<ToWorker>(bytes);
    one::<FromWorker>(bytes);
    one::<Command>(bytes);
    one::<GroupConfig>(bytes);
}

/// Puts a huge length in the place of each byte of each sample.
fn a_length_in_every_place() {
    for sample in samples::structures() {
        for huge in [1 << 24, 1 << 32, 1 << 60, u64::MAX] {
            for at in 0..sample.bytes.len() {
                let mut bytes = sample.bytes[..at].to_vec();
                bytes.extend(varint(huge));
                bytes.extend_from_slice(&sample.bytes[at + 1..]);
                let most = most_during(|| decode_all(&bytes));
                // A vector's first allocation is bounded by serde at 1 MiB.
                assert!(
                    most < (1 << 20) + (1 << 18),
                    "`{}` at {at}: {most} bytes",
                    sample.name
                );
            }
        }
    }
}

/// The most expensive payload of a kind: many empty elements.
fn many_empty_elements() {
    let mut pairs = vec![0xFB, 200, 0, 0, 0xFC, 0, 0, 2, 0];
    pairs.resize(Kind::Response.max_len() as usize, 0);
    let most = most_during(|| drop(decode::<ResponseHead<'_>>(&pairs)));
    assert!(
        most < 64 << 10,
        "{most} bytes for the header fields of a hostile worker"
    );

    // FromWorker::Report with 65 536 running requests of three bytes each.
    let mut running = vec![4, 0, 0, 0, 0, 0, 0, 0xFC, 0, 0, 1, 0];
    // Behind the elements: no memory, no processor time.
    running.resize(12 + 3 * 65_536 + 2, 0);
    assert!(decode::<FromWorker>(&running).is_ok());
    let most = most_during(|| drop(decode::<FromWorker>(&running)));
    assert!(
        most < 32 * running.len(),
        "{most} bytes for {}",
        running.len()
    );
}

/// A reader that is promised a frame takes memory for that frame and no more,
/// and gives back what an idle connection does not need.
fn a_reader_is_bounded() {
    let (near, far) = UnixStream::pair().unwrap();
    let most = most_during(|| {
        let mut reader = FrameReader::new(0);
        for kind in [Kind::Data, Kind::Response, Kind::Log] {
            let payload = vec![0; kind.max_len() as usize];
            let head = FrameHead::new(kind, 1, kind.max_len());
            std::thread::scope(|scope| {
                let near = near.as_fd();
                scope.spawn(move || {
                    wsgid_protocol::blocking::send_frame(near, head, &payload, &[]).unwrap()
                });
                assert_eq!(reader.next(far.as_fd()).unwrap().head, head);
            });
        }
        let held = NOW.load(Ordering::Relaxed);
        reader.shrink();
        assert!(held - NOW.load(Ordering::Relaxed) >= 64 << 10);
    });
    assert!(most < 1 << 20, "{most} bytes");
}

#[test]
fn memory_follows_what_was_sent() {
    let start = Instant::now();
    a_length_in_every_place();
    many_empty_elements();
    a_reader_is_bounded();
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "took {:?}",
        start.elapsed()
    );
}
