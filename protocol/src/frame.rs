//! The kinds of frame: one table, one row a kind, with its byte, who may send it
//! and how long it may be.

use crate::limits;

/// Who sends a kind of frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// The module, on a request connection.
    Module,
    /// A worker, or the supervisor in its place, on a request connection.
    Worker,
    /// Either side of a control socket.
    Control,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $byte:literal, $sender:ident, $max_len:ident;)*) => {
        /// What a frame is. The number is the byte on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $byte,)*
        }

        impl Kind {
            /// All kinds, for tables and tests.
            pub const ALL: [Self; [$($byte),*].len()] = [$(Self::$name),*];

            /// The kind with this byte.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The longest payload this kind may have.
            pub const fn max_len(self) -> u32 {
                match self {
                    $(Self::$name => limits::$max_len,)*
                }
            }

            const fn sender(self) -> Sender {
                match self {
                    $(Self::$name => Sender::$sender,)*
                }
            }
        }
    };
}

kinds! {
    /// module → supervisor: who asks for which group. First on a connection.
    Hello = 0x01, Module, MAX_HELLO_LEN;
    /// module → worker: the head of a request.
    Request = 0x02, Module, MAX_REQUEST_LEN;
    /// module → worker: bytes of the request body.
    Body = 0x03, Module, MAX_BODY_LEN;
    /// module → worker: why the body ended early; `code` is a [`BodyError`](crate::request::BodyError).
    BodyError = 0x04, Module, MAX_SMALL_LEN;
    /// module → worker: the client has gone.
    Cancel = 0x05, Module, MAX_SMALL_LEN;
    /// worker → module: number of body bytes wanted (u64).
    Want = 0x21, Worker, MAX_SMALL_LEN;
    /// worker → module: an interim response (103).
    Interim = 0x22, Worker, MAX_RESPONSE_LEN;
    /// worker → module: the head of the response.
    Response = 0x23, Worker, MAX_RESPONSE_LEN;
    /// worker → module: bytes of the response body.
    Data = 0x24, Worker, MAX_BODY_LEN;
    /// worker → module: a part of a file as response body; one descriptor.
    File = 0x25, Worker, MAX_SMALL_LEN;
    /// worker → module: a line for the error log; `code` is httpd's level.
    Log = 0x26, Worker, MAX_LOG_LEN;
    /// worker → module: the response is complete; the connection is free again.
    End = 0x27, Worker, MAX_SMALL_LEN;
    /// worker or supervisor → module: the request failed; `code` is a [`Failure`](crate::failure::Failure).
    Fail = 0x28, Worker, MAX_FAIL_LEN;
    /// worker → module: what an authentication or dispatch script returned.
    Answer = 0x29, Worker, MAX_ANSWER_LEN;
    /// On the control sockets: one message; `code` is the number of descriptors.
    Control = 0x41, Control, MAX_CONTROL_LEN;
}

impl Kind {
    /// Whether the module may send this kind on a request connection.
    pub const fn from_module(self) -> bool {
        matches!(self.sender(), Sender::Module)
    }

    /// Whether a worker (or the supervisor in its place) may send this kind on
    /// a request connection.
    pub const fn from_worker(self) -> bool {
        matches!(self.sender(), Sender::Worker)
    }
}
