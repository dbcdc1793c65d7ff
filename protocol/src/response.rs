//! What a worker says: response heads, file parts, the end report, answers.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

/// Status and headers; payload of RESPONSE and INTERIM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase; may be empty.
    #[serde(borrow)]
    pub reason: &'a Bytes,
    /// Name and value of each header field, in order, repeats kept. More than
    /// [`MAX_RESPONSE_FIELDS`](crate::limits::MAX_RESPONSE_FIELDS) do not decode.
    #[serde(borrow, deserialize_with = "crate::pairs::headers")]
    pub headers: Vec<(&'a Bytes, &'a Bytes)>,
}

/// Payload of FILE; the descriptor travels beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePart {
    /// Where to begin, in bytes from the start of the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// Payload of END: who served the request, and how busy it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReport {
    /// Process id of the worker; the module spreads requests by it.
    pub worker: u32,
    /// Requests that are still running in the worker.
    pub in_flight: u32,
    /// Time from taking the request to the end, in microseconds.
    pub request_us: u64,
    /// Time spent in the application, in microseconds.
    pub application_us: u64,
}

/// Payload of ANSWER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Granted (True).
    Granted,
    /// Granted under another user name.
    GrantedAs(ByteBuf),
    /// Denied (False).
    Denied,
    /// No opinion, or the user is not known (None).
    Neutral,
    /// The digest of user, realm and password.
    RealmHash(ByteBuf),
    /// The groups of the user.
    Groups(Vec<ByteBuf>),
    /// What a dispatch script chose; `None` keeps the configuration's choice.
    Dispatch {
        /// Process group.
        process_group: Option<ByteBuf>,
        /// Application group.
        application_group: Option<ByteBuf>,
        /// Callable object.
        callable: Option<ByteBuf>,
    },
}
