//! The kinds of frame: one table, one row a kind, with its byte, who may send it,
//! how long it may be, and what PROTOCOL.md §3 says of it.

use crate::limits;

/// Who sends a kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The module, on a request connection.
    Module,
    /// A worker, or the supervisor in its place, on a request connection.
    Worker,
    /// Either side of a control socket.
    Control,
}

/// A row of the table, for people.
#[derive(Clone, Copy, Debug)]
pub struct KindRow {
    /// The kind.
    pub kind: Kind,
    /// From whom to whom.
    pub way: &'static str,
    /// What `code` means.
    pub code: &'static str,
    /// What flags mean.
    pub flags: &'static str,
    /// What the payload is.
    pub payload: &'static str,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $byte:literal, $sender:ident, $max_len:ident,
        $way:literal, $code:literal, $flags:literal, $payload:literal;)*) => {
        /// What a frame is. The number is the byte on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $byte,)*
        }

        /// The table, in the order of the bytes.
        pub const TABLE: &[KindRow] = &[
            $(KindRow {
                kind: Kind::$name, way: $way, code: $code, flags: $flags, payload: $payload,
            },)*
        ];

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

            /// Who may send it.
            pub const fn sender(self) -> Sender {
                match self {
                    $(Self::$name => Sender::$sender,)*
                }
            }
        }
    };
}

kinds! {
    /// Who asks for which group: first on a connection.
    Hello = 0x01, Module, MAX_HELLO_LEN,
        "module → supervisor", "–", "–", "`Hello` (bincode)";
    /// The head of a request.
    Request = 0x02, Module, MAX_REQUEST_LEN,
        "module → worker", "bit 0 = LOOKUP is answered", "END = no body", "`RequestHead` (bincode)";
    /// Bytes of the request body.
    Body = 0x03, Module, MAX_BODY_LEN,
        "module → worker", "–", "END on the last", "raw";
    /// Why the body ended early.
    BodyError = 0x04, Module, MAX_SMALL_LEN,
        "module → worker", "`BodyError`", "–", "empty";
    /// The client has gone.
    Cancel = 0x05, Module, MAX_SMALL_LEN,
        "module → worker", "–", "–", "empty";
    /// What a LOOKUP asked for.
    Variable = 0x06, Module, MAX_VARIABLE_LEN,
        "module → worker", "1 = there is one, else 0", "–", "raw, the value";
    /// A request that is traced has ended.
    Span = 0x07, Module, MAX_SPAN_LEN,
        "module → supervisor", "–", "–", "`SpanMessage` (bincode)";
    /// How much of the body is wanted.
    Want = 0x21, Worker, MAX_SMALL_LEN,
        "worker → module", "–", "–", "eight bytes, little-endian: body bytes wanted, 1 … 1 MiB";
    /// An interim response.
    Interim = 0x22, Worker, MAX_RESPONSE_LEN,
        "worker → module", "–", "–", "`ResponseHead` (bincode), status 103";
    /// The head of the response.
    Response = 0x23, Worker, MAX_RESPONSE_LEN,
        "worker → module", "–", "–", "`ResponseHead` (bincode), status 200 … 599";
    /// Bytes of the response body.
    Data = 0x24, Worker, MAX_BODY_LEN,
        "worker → module", "–", "FLUSH = must reach the client now", "raw";
    /// A part of a file as response body.
    File = 0x25, Worker, MAX_SMALL_LEN,
        "worker → module", "1", "–", "`FilePart` (bincode); one descriptor";
    /// A line for the error log.
    Log = 0x26, Worker, MAX_LOG_LEN,
        "worker → module", "httpd level 0 … 15", "–", "raw, one record without a line end";
    /// The response is complete; the connection is free again.
    End = 0x27, Worker, MAX_SMALL_LEN,
        "worker → module", "–", "CLOSE = do not use this connection again", "`EndReport` (bincode)";
    /// The request failed.
    Fail = 0x28, Worker, MAX_FAIL_LEN,
        "worker, supervisor → module", "`Failure`", "CLOSE likewise; always set by the supervisor", "UTF-8 text for the log only";
    /// What an authentication or dispatch script returned.
    Answer = 0x29, Worker, MAX_ANSWER_LEN,
        "worker → module", "–", "–", "`Answer` (bincode)";
    /// A script asks for a variable of mod_ssl.
    Lookup = 0x2a, Worker, MAX_LOOKUP_LEN,
        "worker → module", "–", "–", "raw, the name";
    /// One message on a control socket.
    Control = 0x41, Control, MAX_CONTROL_LEN,
        "control sockets", "number of descriptors", "–", "one message of `control.rs` (bincode)";
}
