//! How the records that `wsgid reexec` hands on are read where their types do not
//! say it. Knows no record.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A secret that nobody can know: that of a generation whose own was not told.
#[expect(
    clippy::unnecessary_wraps,
    reason = "serde wants the type of the field"
)]
pub(super) fn unknown_secret() -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    for part in secret.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
    }
    Some(secret)
}

/// The elements that this program understands; those of another release are ignored as
/// on a socket.
pub(super) fn readable<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let mut known = Vec::new();
    for value in Vec::<Value>::deserialize(from)? {
        match serde_json::from_value(value) {
            Ok(element) => known.push(element),
            Err(error) => log_line!(
                MESSAGE_NOT_KEPT,
                "the program before has left a message that is not understood: {error}"
            ),
        }
    }
    Ok(known)
}
