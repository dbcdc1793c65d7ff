//! What stands in front of a structure that crosses releases: the versions its
//! sender speaks and whom it is about, at fixed places, readable whatever follows. Behind it the
//! structure as a JSON object: a field that is missing has its default, one that
//! nobody knows is ignored. Used by `control.rs` through serde's `with`; in a
//! format for people (the kept state of `wsgid reexec`) the structure stands
//! there as it is.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use crate::request::VERSIONS;

/// Versions and generation, as every release finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// Protocol versions the sender speaks (lowest, highest).
    pub versions: (u16, u16),
    /// The generation that the message is about.
    pub generation: u64,
    /// The user that the message is about.
    pub uid: u32,
}

impl Front {
    /// Its bytes: two numbers of two, one of eight and one of four, little-endian.
    pub const LEN: usize = 16;

    /// The front of a message whose kind has one: it stands behind the byte of
    /// the kind. What is missing of one that is cut off is zero.
    pub fn of_message(payload: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::LEN];
        for (byte, found) in bytes.iter_mut().zip(payload.get(1..)?) {
            *byte = *found;
        }
        Some(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, uid @ ..] = *bytes;
        Self {
            versions: (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
            generation: u64::from_le_bytes([e, f, g, h, i, j, k, l]),
            uid: u32::from_le_bytes(uid),
        }
    }

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.versions.0.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.versions.1.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.generation.to_le_bytes());
        bytes[12..].copy_from_slice(&self.uid.to_le_bytes());
        bytes
    }
}

/// Whether this range has a version in common with this build.
pub const fn is_spoken(versions: (u16, u16)) -> bool {
    versions.0 <= VERSIONS.1 && versions.1 >= VERSIONS.0
}

/// A structure that travels with a front.
pub(crate) trait Fronted: Serialize + DeserializeOwned {
    fn front(&self) -> Front;
}

impl<T: Fronted> Fronted for Box<T> {
    fn front(&self) -> Front {
        self.as_ref().front()
    }
}

pub(crate) fn serialize<T: Fronted, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        return value.serialize(to);
    }
    let body = serde_json::to_vec(value).map_err(S::Error::custom)?;
    (value.front().to_bytes(), Bytes::new(&body)).serialize(to)
}

pub(crate) fn deserialize<'de, T: Fronted, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    if from.is_human_readable() {
        return T::deserialize(from);
    }
    let (_, body) = <([u8; Front::LEN], ByteBuf)>::deserialize(from)?;
    serde_json::from_slice(&body).map_err(D::Error::custom)
}
