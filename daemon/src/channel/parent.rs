//! The control socket to the httpd parent: configurations in, with the error
//! logs as descriptors; answers out. A bridge between that socket and the
//! supervisor's events.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::sys::socket::MsgFlags;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{Receiver, Sender};
use wsgid_protocol::control::{FromParent, ToParent};
use wsgid_protocol::limits::{LOGS_MAX, MAX_DESCRIPTORS};
use wsgid_protocol::{Kind, blocking::FrameReader};

use super::{invalid, quiesce::Quiesce, stream, worker::send_message};

/// A message of the parent, with what came beside it.
#[derive(Debug)]
pub(crate) struct ParentMessage {
    pub(crate) message: FromParent,
    pub(crate) files: Vec<Arc<File>>,
}

/// A message, or its descriptors alone if this release does not know its kind.
struct Received {
    message: Option<FromParent>,
    files: Vec<Arc<File>>,
}

/// Speaks with the parent until either side ends, or until `quiesce` asks. `Ok` means that the parent
/// has gone.
pub(crate) async fn converse(
    socket: OwnedFd,
    messages: Sender<ParentMessage>,
    mut answers: Receiver<ToParent>,
    mut quiesce: Quiesce,
) -> io::Result<()> {
    let stream = stream(socket)?;
    let mut reader = FrameReader::new(MAX_DESCRIPTORS);
    let mut ahead = Vec::new();
    loop {
        tokio::select! {
            // Only between two messages: half of one would be lost.
            () = quiesce.asked(), if reader.is_empty() && ahead.is_empty() && answers.is_empty() => return Ok(()),
            got = fill(&stream, &mut reader) => {
                if got? == 0 {
                    return Ok(());
                }
                while let Some(Received { message, mut files }) = next(&mut reader)? {
                    let Some(message) = message else {
                        log_line!(MODULE_OF_OTHER_RELEASE, "httpd's module is of another release: it says what release {} does not know, and that is ignored", env!("CARGO_PKG_VERSION"));
                        continue;
                    };
                    ahead.append(&mut files);
                    if ahead.len() > LOGS_MAX {
                        return Err(invalid("too many descriptors"));
                    }
                    if message == FromParent::Logs {
                        continue;
                    }
                    let message = ParentMessage { message, files: std::mem::take(&mut ahead) };
                    if messages.send(message).await.is_err() {
                        return Ok(());
                    }
                }
            }
            answer = answers.recv() => match answer {
                Some(answer) => send_message(&stream, &answer, &[]).await?,
                None => return Ok(()),
            },
        }
    }
}

async fn fill(stream: &UnixStream, reader: &mut FrameReader) -> io::Result<usize> {
    stream
        .async_io(Interest::READABLE, || {
            reader.fill(stream.as_fd(), MsgFlags::MSG_DONTWAIT)
        })
        .await
}

fn next(reader: &mut FrameReader) -> io::Result<Option<Received>> {
    let Some(frame) = reader.next_buffered().map_err(invalid)? else {
        return Ok(None);
    };
    if frame.head.kind != Kind::Control {
        return Err(invalid(format!(
            "{:?} has no place on the parent's control socket",
            frame.head.kind
        )));
    }
    let message = FromParent::read(frame.payload).map_err(invalid)?;
    let count = frame.head.code;
    let files: Vec<Arc<File>> = (0..count)
        .filter_map(|_| reader.take_fd())
        .map(|fd| Arc::new(File::from(fd)))
        .collect();
    if files.len() != usize::from(count) {
        return Err(invalid(format!(
            "{count} descriptors were announced and {} came",
            files.len()
        )));
    }
    Ok(Some(Received { message, files }))
}
