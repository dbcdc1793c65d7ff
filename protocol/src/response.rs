//! What a worker says: response heads, file parts, the end report, answers.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

use crate::limits::MAX_RESPONSE_FIELDS;
use crate::pairs::{
    put_bytes, put_number, take_bytes, take_middle, take_number, take_pairs, take_short,
};
use crate::payload::PayloadError;

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

impl<'a> ResponseHead<'a> {
    /// As [`payload::decode`](crate::payload::decode), several times as fast.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, PayloadError> {
        let status = take_short(&mut bytes)?;
        let reason = take_bytes(&mut bytes)?;
        Ok(Self {
            status,
            reason,
            headers: take_pairs(bytes, MAX_RESPONSE_FIELDS)?,
        })
    }
}

/// A [`ResponseHead`] that is encoded as its fields come.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl<'a> HeadWriter<'a> {
    /// Begins at the end of `out` with a head that will have so many fields.
    pub fn new(out: &'a mut Vec<u8>, status: u16, reason: &[u8], fields: usize) -> Self {
        put_number(out, status.into());
        put_bytes(out, reason);
        put_number(out, fields as u64);
        Self { out, left: fields }
    }

    /// The next field; one more than was announced is left out.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            put_bytes(self.out, name);
            put_bytes(self.out, value);
        }
    }

    /// Whether as many fields came as were announced.
    pub const fn is_complete(&self) -> bool {
        self.left == 0
    }
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
    /// Time from the module's sending the request to a thread's taking it, in microseconds.
    pub queue_us: u64,
}

impl EndReport {
    /// As [`payload::decode`](crate::payload::decode), several times as fast.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, PayloadError> {
        let report = Self {
            worker: take_middle(&mut bytes)?,
            in_flight: take_middle(&mut bytes)?,
            request_us: take_number(&mut bytes)?,
            application_us: take_number(&mut bytes)?,
            queue_us: take_number(&mut bytes)?,
        };
        match bytes.len() {
            0 => Ok(report),
            left => Err(PayloadError::Trailing(left)),
        }
    }

    /// As [`payload::encode_into`](crate::payload::encode_into), several times as fast.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_number(out, self.worker.into());
        put_number(out, self.in_flight.into());
        put_number(out, self.request_us);
        put_number(out, self.application_us);
        put_number(out, self.queue_us);
    }
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
