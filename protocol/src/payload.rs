//! The only file that names the serializer.
//!
//! Heads and control messages are bincode 2 with its standard configuration
//! (little-endian, variable-length integers), a byte limit, and no bytes left
//! over. Field order *is* the format; the golden files pin it.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_CONTROL_LEN;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<{ MAX_CONTROL_LEN as usize }>,
> = bincode::config::standard().with_limit::<{ MAX_CONTROL_LEN as usize }>();

/// Why a payload is not what its frame says.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The bytes do not decode.
    #[error("malformed payload: {0}")]
    Malformed(String),
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

/// Appends the encoding of `value` to `out`.
///
/// # Errors
/// If the type cannot be encoded (a type of this crate always can).
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    bincode::serde::encode_into_std_write(value, out, CONFIG)
        .map(drop)
        .map_err(|error| PayloadError::Malformed(error.to_string()))
}

/// The encoding of `value`.
///
/// # Errors
/// As [`encode_into`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Decodes all of `bytes`; borrowed fields point into it.
///
/// # Errors
/// If the bytes are malformed or some are left over.
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, PayloadError> {
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|error| PayloadError::Malformed(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(PayloadError::Trailing(left)),
    }
}
