//! The fixed head in front of every frame: 16 bytes, little-endian.
//!
//! Parsing is pure: it looks at bytes and never reads. The length has been
//! compared with the limit of its kind before a head leaves this file.

use crate::frame::Kind;
use crate::limits::HEAD_LEN;

/// The last frame of a body (BODY, DATA), or a REQUEST that has no body.
pub const FLAG_END: u8 = 0x01;
/// The application yielded: what was sent so far must reach the client.
pub const FLAG_FLUSH: u8 = 0x02;
/// The sender will not use this connection again after this frame.
pub const FLAG_CLOSE: u8 = 0x04;
/// Flags in this mask must be understood; an unknown one is an error. The
/// others are ignored when unknown (PROTOCOL.md §2).
pub const FLAG_CRITICAL: u8 = 0xF0;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Payload length in bytes.
    pub len: u32,
    /// What the frame is.
    pub kind: Kind,
    /// `FLAG_*`.
    pub flags: u8,
    /// Per kind: failure code, log level, number of descriptors; else 0.
    pub code: u16,
    /// Request number on this connection; 0 = about the connection itself.
    pub id: u64,
}

/// Why sixteen bytes are not a frame head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The kind is not one of this protocol version.
    #[error("unknown frame kind `{0:#04x}`")]
    UnknownKind(u8),
    /// A flag that must be understood is not known.
    #[error("unknown critical flag in `{0:#04x}`")]
    UnknownFlag(u8),
    /// The payload is longer than its kind allows.
    #[error("payload of {len} bytes is above the limit of {max} for {kind:?}")]
    TooLong {
        /// The announced length.
        len: u32,
        /// The limit of the kind.
        max: u32,
        /// The kind.
        kind: Kind,
    },
    /// Found before sending: the head announces another length.
    #[error("head announces {announced} bytes in front of a payload of {len}")]
    WrongLength {
        /// The length in the head.
        announced: u32,
        /// The length of the payload.
        len: usize,
    },
}

impl FrameHead {
    /// A head without flags and code.
    pub const fn new(kind: Kind, id: u64, len: u32) -> Self {
        Self {
            len,
            kind,
            flags: 0,
            code: 0,
            id,
        }
    }

    /// The same head with these flags.
    #[must_use]
    pub const fn with_flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// The same head with this code.
    #[must_use]
    pub const fn with_code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// Whether `flag` is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether this head may stand in front of a payload of `len` bytes: asked
    /// before sending, so that a mistake of ours never reaches a peer.
    pub fn check_payload(&self, len: usize) -> Result<(), HeadError> {
        let announced = self.len;
        if announced as usize != len {
            return Err(HeadError::WrongLength { announced, len });
        }
        check_len(announced, self.kind)
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; HEAD_LEN] {
        let mut out = [0; HEAD_LEN];
        out[0..4].copy_from_slice(&self.len.to_le_bytes());
        out[4] = self.kind as u8;
        out[5] = self.flags;
        out[6..8].copy_from_slice(&self.code.to_le_bytes());
        out[8..16].copy_from_slice(&self.id.to_le_bytes());
        out
    }

    /// Reads a head and checks kind, flags and length.
    pub fn parse(bytes: &[u8; HEAD_LEN]) -> Result<Self, HeadError> {
        let [l0, l1, l2, l3, kind, flags, c0, c1, id @ ..] = *bytes;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        let kind = Kind::from_byte(kind).ok_or(HeadError::UnknownKind(kind))?;
        if flags & FLAG_CRITICAL != 0 {
            return Err(HeadError::UnknownFlag(flags));
        }
        check_len(len, kind)?;
        Ok(Self {
            len,
            kind,
            flags,
            code: u16::from_le_bytes([c0, c1]),
            id: u64::from_le_bytes(id),
        })
    }
}

#[inline]
const fn check_len(len: u32, kind: Kind) -> Result<(), HeadError> {
    let max = kind.max_len();
    if len > max {
        return Err(HeadError::TooLong { len, max, kind });
    }
    Ok(())
}
