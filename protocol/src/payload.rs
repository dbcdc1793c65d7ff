//! The only file that names the serializer of the wire.
//!
//! Heads and control messages are bincode 2 with its standard configuration
//! (little-endian, variable-length integers), a limit on what is allocated, and
//! no bytes left over. Field order *is* the format; the golden files pin it. What
//! may come from another release is read with [`decode_message`], and what has
//! many fields is JSON behind a front (`front.rs`).

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::error::DecodeError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::head::FrameHead;
use crate::limits::{HEAD_LEN, MAX_CONTROL_LEN, MAX_HELLO_LEN, MAX_WORKER_CONTROL_LEN};
use crate::variant_names;

/// The serializer's limit counts an integer by its size in memory, up to eight
/// times its bytes on the wire. A lower factor would refuse valid messages.
const GROWTH: usize = 8;
const SMALL: usize = MAX_HELLO_LEN as usize;
const MIDDLE: usize = MAX_WORKER_CONTROL_LEN as usize;
const LARGE: usize = MAX_CONTROL_LEN as usize;

/// The serializer allocates a text before it looks whether so many bytes are
/// there. So the limit follows the size of the payload, in three steps: a HELLO
/// of twenty bytes cannot ask for megabytes.
const fn config<const MAX: usize>() -> Configuration<LittleEndian, Varint, Limit<MAX>> {
    bincode::config::standard().with_limit::<MAX>()
}

/// Why a payload is not what its frame says.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The bytes do not decode.
    #[error("malformed payload: {0}")]
    Malformed(String),
    /// The message needs more bytes than there are.
    #[error("malformed payload: it ends early")]
    Short,
    /// Bytes are left over behind the message.
    #[error("{0} bytes left over behind the payload")]
    Trailing(usize),
    /// The message is longer than its frame may be.
    #[error("message of {len} bytes is above the limit of {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: u32,
    },
}

/// Appends the encoding of `value` to `out`. A path that is not UTF-8 has none.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    bincode::serde::encode_into_std_write(value, out, config::<LARGE>())
        .map(drop)
        .map_err(|error| PayloadError::Malformed(error.to_string()))
}

/// The encoding of `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Appends a whole frame to `out`: `head`, its length filled in, and `value`. After
/// an error `out` is as before.
pub fn encode_frame_into<T: Serialize>(
    head: FrameHead,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    let start = out.len();
    let result = frame_into(head, value, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn frame_into<T: Serialize>(
    head: FrameHead,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_LEN]);
    encode_into(value, out)?;
    let len = out.len() - start - HEAD_LEN;
    let max = head.kind.max_len();
    match u32::try_from(len) {
        Ok(short) if short <= max => {
            out[start..start + HEAD_LEN]
                .copy_from_slice(&FrameHead { len: short, ..head }.encode());
            Ok(())
        }
        _ => Err(PayloadError::TooLong { len, max }),
    }
}

/// Decodes all of `bytes`; borrowed fields point into it.
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, PayloadError> {
    let (value, rest) = decode_front(bytes)?;
    match rest.len() {
        0 => Ok(value),
        left => Err(PayloadError::Trailing(left)),
    }
}

/// What fields take at most that another release has more: they read as zero.
const FIELDS_MAX: usize = 64;

/// Decodes a message of an enumeration whose sender may be of another release.
/// `None`: a kind that this release does not know. Bytes behind the fields that
/// are known here are ignored; fields that the sender does not know are zero,
/// empty or absent.
pub fn decode_message<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, PayloadError> {
    let (kind, _) = decode_front::<u32>(bytes)?;
    if kind as usize >= variant_names::names::<T>().len() {
        return Ok(None);
    }
    match decode_front(bytes) {
        Ok((message, _)) => Ok(Some(message)),
        Err(PayloadError::Short) => {
            let mut longer = bytes.to_vec();
            longer.resize(bytes.len() + FIELDS_MAX, 0);
            decode_front(&longer).map(|(message, _)| Some(message))
        }
        Err(error) => Err(error),
    }
}

/// Decodes what is at the front of `bytes`; returns it and the rest.
fn decode_front<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<(T, &'de [u8]), PayloadError> {
    use bincode::serde::borrow_decode_from_slice as read;
    let read = match bytes.len() {
        len if len <= SMALL => read(bytes, config::<{ GROWTH * SMALL }>()),
        len if len <= MIDDLE => read(bytes, config::<{ GROWTH * MIDDLE }>()),
        len if len <= LARGE => read(bytes, config::<{ GROWTH * LARGE }>()),
        len => {
            return Err(PayloadError::TooLong {
                len,
                max: MAX_CONTROL_LEN,
            });
        }
    };
    let (value, used) = read.map_err(|error| match error {
        DecodeError::UnexpectedEnd { .. } => PayloadError::Short,
        error => PayloadError::Malformed(error.to_string()),
    })?;
    Ok((value, bytes.get(used..).unwrap_or_default()))
}
