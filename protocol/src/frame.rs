//! The kinds of frame: who may send each and how long it may be.

use crate::limits;

/// What a frame is. The number is the byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// module → supervisor: who asks for which group. First on a connection.
    Hello = 0x01,
    /// module → worker: the head of a request.
    Request = 0x02,
    /// module → worker: bytes of the request body.
    Body = 0x03,
    /// module → worker: why the body ended early; `code` is a [`BodyError`](crate::request::BodyError).
    BodyError = 0x04,
    /// module → worker: the client has gone.
    Cancel = 0x05,
    /// worker → module: number of body bytes wanted (u64).
    Want = 0x21,
    /// worker → module: an interim response (103).
    Interim = 0x22,
    /// worker → module: the head of the response.
    Response = 0x23,
    /// worker → module: bytes of the response body.
    Data = 0x24,
    /// worker → module: a part of a file as response body; one descriptor.
    File = 0x25,
    /// worker → module: a line for the error log; `code` is httpd's level.
    Log = 0x26,
    /// worker → module: the response is complete; the connection is free again.
    End = 0x27,
    /// worker or supervisor → module: the request failed; `code` is a [`Failure`](crate::failure::Failure).
    Fail = 0x28,
    /// worker → module: what an authentication or dispatch script returned.
    Answer = 0x29,
    /// On the control sockets: one message; `code` is the number of descriptors.
    Control = 0x41,
}

impl Kind {
    /// All kinds, for tables and tests.
    pub const ALL: [Self; 15] = [
        Self::Hello,
        Self::Request,
        Self::Body,
        Self::BodyError,
        Self::Cancel,
        Self::Want,
        Self::Interim,
        Self::Response,
        Self::Data,
        Self::File,
        Self::Log,
        Self::End,
        Self::Fail,
        Self::Answer,
        Self::Control,
    ];

    /// The kind with this byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Hello,
            0x02 => Self::Request,
            0x03 => Self::Body,
            0x04 => Self::BodyError,
            0x05 => Self::Cancel,
            0x21 => Self::Want,
            0x22 => Self::Interim,
            0x23 => Self::Response,
            0x24 => Self::Data,
            0x25 => Self::File,
            0x26 => Self::Log,
            0x27 => Self::End,
            0x28 => Self::Fail,
            0x29 => Self::Answer,
            0x41 => Self::Control,
            _ => return None,
        })
    }

    /// The longest payload this kind may have.
    #[must_use]
    pub const fn max_len(self) -> u32 {
        match self {
            Self::Hello => limits::MAX_HELLO_LEN,
            Self::Request => limits::MAX_REQUEST_LEN,
            Self::Body | Self::Data => limits::MAX_BODY_LEN,
            Self::Interim | Self::Response => limits::MAX_RESPONSE_LEN,
            Self::Log => limits::MAX_LOG_LEN,
            Self::Fail => limits::MAX_FAIL_LEN,
            Self::Answer => limits::MAX_ANSWER_LEN,
            Self::Control => limits::MAX_CONTROL_LEN,
            Self::BodyError | Self::Cancel | Self::Want | Self::File | Self::End => limits::MAX_SMALL_LEN,
        }
    }

    /// Whether the module may send this kind on a request connection.
    #[must_use]
    pub const fn from_module(self) -> bool {
        matches!(self, Self::Hello | Self::Request | Self::Body | Self::BodyError | Self::Cancel)
    }

    /// Whether a worker (or the supervisor in its place) may send this kind on
    /// a request connection.
    #[must_use]
    pub const fn from_worker(self) -> bool {
        !self.from_module() && !matches!(self, Self::Control)
    }
}
