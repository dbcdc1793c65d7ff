//! Name-value pairs in a head: at most so many. Used by the derived decoders of
//! `request.rs` and `response.rs`, so that the count is refused before memory
//! is taken: two empty names cost a peer two bytes and a receiver thirty-two.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_bytes::Bytes;

use crate::limits::{MAX_ENVIRON_FIELDS, MAX_RESPONSE_FIELDS};

/// Borrowed name and value.
type Pair<'de> = (&'de Bytes, &'de Bytes);

/// The variables of a request.
pub(crate) fn environ<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pair<'de>>, D::Error> {
    deserializer.deserialize_seq(Pairs { max: MAX_ENVIRON_FIELDS })
}

/// The header fields of a response.
pub(crate) fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pair<'de>>, D::Error> {
    deserializer.deserialize_seq(Pairs { max: MAX_RESPONSE_FIELDS })
}

struct Pairs {
    max: usize,
}

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<Pair<'de>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "at most {} pairs of a name and a value", self.max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let announced = sequence.size_hint().unwrap_or(0);
        if announced > self.max {
            return Err(A::Error::invalid_length(announced, &self));
        }
        let mut pairs = Vec::with_capacity(announced);
        while let Some(pair) = sequence.next_element()? {
            if pairs.len() == self.max {
                return Err(A::Error::invalid_length(pairs.len() + 1, &self));
            }
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
