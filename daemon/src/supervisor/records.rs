//! How values stand in the records that `wsgid reexec` hands on, where their own
//! type does not say it: failures by their codes, and what a program that did not
//! write a field is taken to have meant. Knows no record.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use wsgid_protocol::Failure;

/// A failure as its code; one of another release is left out.
pub(super) mod failure {
    use super::{Deserialize, Deserializer, Failure, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(in super::super) fn serialize<S: Serializer>(
        failure: &Option<Failure>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        failure.map(Failure::code).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Failure>, D::Error> {
        Ok(Option::<u16>::deserialize(from)?.and_then(Failure::from_code))
    }
}

/// The same with a text.
pub(super) mod refusal {
    use super::{Deserialize, Deserializer, Failure, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(in super::super) fn serialize<S: Serializer>(
        refusal: &Option<(Failure, String)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let coded = refusal
            .as_ref()
            .map(|(failure, text)| (failure.code(), text));
        coded.serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<(Failure, String)>, D::Error> {
        let coded = Option::<(u16, String)>::deserialize(from)?;
        Ok(coded.and_then(|(code, text)| Some((Failure::from_code(code)?, text))))
    }
}

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

/// Those elements that this program understands: of another release's messages,
/// what is not understood is ignored as on a socket.
pub(super) fn readable<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let mut known = Vec::new();
    for value in Vec::<Value>::deserialize(from)? {
        match serde_json::from_value(value) {
            Ok(element) => known.push(element),
            Err(error) => tracing::warn!(
                "the program before has left a message that is not understood: {error}"
            ),
        }
    }
    Ok(known)
}
