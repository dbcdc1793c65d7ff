//! The sockets over which the supervisor talks: with httpd's parent, with its workers,
//! with operators. Used by `supervisor`, `connection`, `process`, `log` and the commands;
//! what is said is the protocol's affair, and what follows from it the supervisor's.

pub(crate) mod closing;
pub(crate) mod operator;
pub(crate) mod parent;
pub(crate) mod quiesce;
pub(crate) mod worker;

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use wsgid_protocol::{FrameHead, Kind};

/// What came breaks the protocol.
fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A connected socket as the runtime has it.
fn stream(socket: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Writes one frame of these bytes.
pub(crate) async fn write_frame(
    stream: &mut UnixStream,
    kind: Kind,
    flags: u8,
    bytes: &[u8],
) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(invalid)?;
    let head = FrameHead::new(kind, 0, len).with_flags(flags);
    stream.write_all(&head.encode()).await?;
    stream.write_all(bytes).await
}
