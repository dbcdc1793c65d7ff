//! The tokio-util codec of the supervisor: the same frames, without descriptors
//! (those travel through `fds`).

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::head::FrameHead;
use crate::limits::HEAD_LEN;

/// Splits a byte stream into frames, with a limit on top of that of each kind.
#[derive(Clone, Copy, Debug)]
pub struct FrameCodec {
    max_len: u32,
}

impl FrameCodec {
    /// A codec that refuses payloads above `max_len`, even where the kind
    /// allows more.
    pub const fn new(max_len: u32) -> Self {
        Self { max_len }
    }
}

impl Decoder for FrameCodec {
    type Item = (FrameHead, Bytes);
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        let Some(bytes) = source.first_chunk::<HEAD_LEN>() else {
            return Ok(None);
        };
        let head = FrameHead::parse(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if head.len > self.max_len {
            let text = format!(
                "payload of {} bytes is above the limit of {}",
                head.len, self.max_len
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let whole = HEAD_LEN + head.len as usize;
        if source.len() < whole {
            source.reserve(whole - source.len());
            return Ok(None);
        }
        source.advance(HEAD_LEN);
        Ok(Some((head, source.split_to(head.len as usize).freeze())))
    }
}

impl Encoder<(FrameHead, &[u8])> for FrameCodec {
    type Error = io::Error;

    fn encode(
        &mut self,
        (head, payload): (FrameHead, &[u8]),
        out: &mut BytesMut,
    ) -> io::Result<()> {
        head.check_payload(payload.len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        out.reserve(HEAD_LEN + payload.len());
        out.extend_from_slice(&head.encode());
        out.extend_from_slice(payload);
        Ok(())
    }
}
