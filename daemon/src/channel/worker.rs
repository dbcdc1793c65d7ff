//! A control socket to a worker: frames out, with descriptors; frames in,
//! without. Used by the task of each worker. What comes in may have been
//! written by a tenant.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::BytesMut;
use nix::sys::socket::MsgFlags;
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio_util::codec::Decoder;
use wsgid_protocol::codec::FrameCodec;
use wsgid_protocol::control::{FromWorker, ToWorker};
use wsgid_protocol::fds::send_with_fds;
use wsgid_protocol::limits::MAX_WORKER_CONTROL_LEN;
use wsgid_protocol::{FrameHead, Kind, payload};

use super::{closing::Guarded, invalid};

const CHUNK: usize = 4096;
/// What is read of a worker that has ended: more than its socket holds. A process
/// that it has left behind may go on writing.
const LAST_WORDS_MAX: usize = 1 << 20;

/// A message on its way to a worker.
pub(crate) struct Outgoing {
    pub(crate) message: ToWorker,
    /// Travel beside it.
    pub(crate) fds: Vec<Arc<dyn AsFd + Send + Sync>>,
}

impl From<ToWorker> for Outgoing {
    fn from(message: ToWorker) -> Self {
        Self {
            message,
            fds: Vec::new(),
        }
    }
}

/// The supervisor's end.
pub(crate) struct Link {
    // Dropped first: never the last descriptor.
    stream: UnixStream,
    guarded: Guarded,
}

impl Link {
    pub(crate) fn new(guarded: Guarded) -> io::Result<Self> {
        Ok(Self {
            stream: guarded.stream()?,
            guarded,
        })
    }

    /// Another program goes on with it.
    pub(crate) fn leave(&self) {
        self.guarded.leave();
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(crate) async fn send(&self, out: &Outgoing) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = out.fds.iter().map(|fd| fd.as_fd()).collect();
        send_message(&self.stream, &out.message, &fds).await
    }

    /// Waits for bytes and gives back the messages that are complete. An empty
    /// list and `true`: the worker has closed its end.
    pub(crate) async fn recv(&self, inbox: &mut Inbox) -> io::Result<(Vec<FromWorker>, bool)> {
        loop {
            self.stream.readable().await?;
            match self.try_recv(inbox) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    fn try_recv(&self, inbox: &mut Inbox) -> io::Result<(Vec<FromWorker>, bool)> {
        let mut buffer = [0; CHUNK];
        let count = self
            .stream
            .try_io(Interest::READABLE, || self.guarded.recv(&mut buffer));
        let count =
            count.inspect_err(|error| self.guarded.tell_of(error, "control socket of a worker"))?;
        inbox
            .bytes
            .extend_from_slice(buffer.get(..count).unwrap_or_default());
        let messages = inbox.messages()?;
        Ok((messages, count == 0))
    }

    /// Everything that is still in the socket of a worker that has ended. It
    /// asks the kernel and not the runtime, which may not have heard of the
    /// last bytes yet.
    pub(crate) fn last_words(&self, inbox: &mut Inbox) -> io::Result<Vec<FromWorker>> {
        let mut buffer = [0; CHUNK];
        let mut all = 0;
        while all < LAST_WORDS_MAX {
            match self.guarded.recv(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    all += count;
                    inbox
                        .bytes
                        .extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
            }
        }
        inbox.messages()
    }
}

/// Bytes of a worker that are not yet a message.
pub(crate) struct Inbox {
    bytes: BytesMut,
    codec: FrameCodec,
    unknown: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            codec: FrameCodec::new(MAX_WORKER_CONTROL_LEN),
            unknown: 0,
        }
    }

    /// With bytes that the program before has received.
    pub(crate) fn with(bytes: &[u8]) -> Self {
        Self {
            bytes: BytesMut::from(bytes),
            ..Self::new()
        }
    }

    /// What is no whole message yet.
    pub(crate) fn rest(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// How many messages of other releases were skipped, and not yet told.
    pub(crate) fn take_unknown(&mut self) -> usize {
        std::mem::take(&mut self.unknown)
    }

    fn messages(&mut self) -> io::Result<Vec<FromWorker>> {
        let mut out = Vec::new();
        while let Some((head, bytes)) = self.codec.decode(&mut self.bytes)? {
            if head.kind != Kind::Control || head.code != 0 {
                return Err(invalid(format!(
                    "{:?} has no place on a control socket",
                    head.kind
                )));
            }
            match payload::decode_message(&bytes).map_err(invalid)? {
                Some(message) => out.push(message),
                None => self.unknown += 1,
            }
        }
        Ok(out)
    }
}

/// Sends a message, the descriptors with its first byte.
pub(super) async fn send_message(
    stream: &UnixStream,
    message: &impl Serialize,
    mut fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = payload::encode(message).map_err(invalid)?;
    let len = u32::try_from(bytes.len()).map_err(invalid)?;
    let code = u16::try_from(fds.len()).map_err(invalid)?;
    let head = FrameHead::new(Kind::Control, 0, len).with_code(code);
    let head = head.encode();
    let mut slices = [IoSlice::new(&head), IoSlice::new(&bytes)];
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let send = || send_with_fds(stream.as_fd(), left, fds, MsgFlags::MSG_DONTWAIT);
        let count = stream.async_io(Interest::WRITABLE, send).await?;
        fds = &[];
        IoSlice::advance_slices(&mut left, count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream as Stream;
    use std::time::{Duration, Instant};

    use wsgid_protocol::limits::HEAD_LEN;

    use super::*;

    #[tokio::test]
    async fn last_words_without_end_have_one() {
        let (ours, theirs) = Stream::pair().unwrap();
        let link = Link::new(Guarded::new(ours.into(), "a group")).unwrap();
        // What a dead worker has left behind writes as fast as it is read.
        let bytes = payload::encode(&FromWorker::Heartbeat).unwrap();
        let head = FrameHead::new(Kind::Control, 0, u32::try_from(bytes.len()).unwrap()).encode();
        let many = [&head[..], &bytes].concat().repeat(1000);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let mut theirs = theirs.try_clone().unwrap();
                let many = many.clone();
                std::thread::spawn(move || while theirs.write_all(&many).is_ok() {})
            })
            .collect();
        std::thread::sleep(Duration::from_millis(50));
        let begun = Instant::now();
        let mut inbox = Inbox::new();
        // Two writers may break each other's frames: that is an end as well.
        let count = link
            .last_words(&mut inbox)
            .map_or(0, |messages| messages.len());
        assert!(count <= LAST_WORDS_MAX / HEAD_LEN && begun.elapsed() < Duration::from_secs(10));
        drop(link);
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
    }
}
