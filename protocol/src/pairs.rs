//! Name-value pairs in a head: at most so many. Used by the derived decoders of
//! `request.rs` and `response.rs`, so that the count is refused before memory
//! is taken: two empty names cost a peer two bytes and a receiver thirty-two.
//!
//! The same pairs by hand, in the same bytes: every request has some forty of
//! them, and the serializer takes seven times as many instructions for each.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_bytes::Bytes;

use crate::limits::{MAX_ENVIRON_FIELDS, MAX_RESPONSE_FIELDS};
use crate::payload::PayloadError;

/// Borrowed name and value.
pub(crate) type NameValue<'de> = (&'de Bytes, &'de Bytes);

/// The variables of a request.
pub(crate) fn environ<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<NameValue<'de>>, D::Error> {
    deserializer.deserialize_seq(Pairs(MAX_ENVIRON_FIELDS))
}

/// The header fields of a response.
pub(crate) fn headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<NameValue<'de>>, D::Error> {
    deserializer.deserialize_seq(Pairs(MAX_RESPONSE_FIELDS))
}

/// So many pairs at most.
struct Pairs(usize);

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<NameValue<'de>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "at most {} pairs of a name and a value", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let announced = sequence.size_hint().unwrap_or(0);
        if announced > self.0 {
            return Err(A::Error::invalid_length(announced, &self));
        }
        let mut pairs = Vec::with_capacity(announced);
        while let Some(pair) = sequence.next_element()? {
            if pairs.len() == self.0 {
                return Err(A::Error::invalid_length(pairs.len() + 1, &self));
            }
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// First byte of an integer that has two, four or eight more.
const TWO: u8 = 251;
const FOUR: u8 = 252;
const EIGHT: u8 = 253;

/// Appends an integer.
#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(small @ 0..TWO) => out.push(small),
        _ => put_large(out, number),
    }
}

fn put_large(out: &mut Vec<u8>, number: u64) {
    match number {
        // Both casts lose nothing.
        0..0x1_0000 => {
            let [low, high] = (number as u16).to_le_bytes();
            out.extend_from_slice(&[TWO, low, high]);
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(FOUR);
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        _ => {
            out.push(EIGHT);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Appends bytes with their length in front.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends pairs with their number in front.
pub(crate) fn put_pairs(out: &mut Vec<u8>, pairs: &[NameValue<'_>]) {
    put_number(out, pairs.len() as u64);
    for (name, value) in pairs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

/// Takes an integer off the front.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Result<u64, PayloadError> {
    fn rest<const COUNT: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
        let (digits, rest) = bytes.split_first_chunk::<COUNT>()?;
        let mut number = [0; 8];
        number[..COUNT].copy_from_slice(digits);
        Some((u64::from_le_bytes(number), rest))
    }
    let (first, behind) = bytes.split_first().ok_or_else(ends_early)?;
    let (number, behind) = match *first {
        small @ 0..TWO => (u64::from(small), behind),
        TWO => rest::<2>(behind).ok_or_else(ends_early)?,
        FOUR => rest::<4>(behind).ok_or_else(ends_early)?,
        EIGHT => rest::<8>(behind).ok_or_else(ends_early)?,
        other => {
            return Err(PayloadError::Malformed(format!(
                "no integer begins with {other}"
            )));
        }
    };
    *bytes = behind;
    Ok(number)
}

/// Takes an integer of two bytes in memory off the front: the serializer refuses
/// longer forms even of small numbers.
pub(crate) fn take_short(bytes: &mut &[u8]) -> Result<u16, PayloadError> {
    // The forms up to this hold no more.
    take_form(bytes, TWO).map(|number| number as u16)
}

/// Takes an integer of four bytes in memory off the front.
pub(crate) fn take_middle(bytes: &mut &[u8]) -> Result<u32, PayloadError> {
    take_form(bytes, FOUR).map(|number| number as u32)
}

fn take_form(bytes: &mut &[u8], widest: u8) -> Result<u64, PayloadError> {
    match bytes.first() {
        Some(first) if *first > widest => Err(PayloadError::Malformed(format!(
            "no integer of this size begins with {first}"
        ))),
        _ => take_number(bytes),
    }
}

/// Takes bytes with their length off the front.
#[inline]
pub(crate) fn take_bytes<'de>(bytes: &mut &'de [u8]) -> Result<&'de Bytes, PayloadError> {
    if let [len @ 0..TWO, behind @ ..] = *bytes
        && let Some((taken, behind)) = behind.split_at_checked(usize::from(*len))
    {
        *bytes = behind;
        return Ok(Bytes::new(taken));
    }
    take_long(bytes)
}

#[cold]
fn take_long<'de>(bytes: &mut &'de [u8]) -> Result<&'de Bytes, PayloadError> {
    let len = usize::try_from(take_number(bytes)?).map_err(|_| ends_early())?;
    let (taken, behind) = bytes.split_at_checked(len).ok_or_else(ends_early)?;
    *bytes = behind;
    Ok(Bytes::new(taken))
}

/// Takes pairs, at most `max`, off the front; nothing may be left.
pub(crate) fn take_pairs<'de>(
    mut bytes: &'de [u8],
    max: usize,
) -> Result<Vec<NameValue<'de>>, PayloadError> {
    let count = take_number(&mut bytes)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= max)
        .ok_or_else(|| {
            PayloadError::Malformed(format!(
                "invalid length {count}, expected at most {max} pairs of a name and a value"
            ))
        })?;
    // Each takes two bytes at least: what is not there takes no memory.
    let mut pairs = Vec::with_capacity(count.min(bytes.len() / 2));
    for _ in 0..count {
        pairs.push((take_bytes(&mut bytes)?, take_bytes(&mut bytes)?));
    }
    match bytes.len() {
        0 => Ok(pairs),
        left => Err(PayloadError::Trailing(left)),
    }
}

#[cold]
fn ends_early() -> PayloadError {
    PayloadError::Malformed("the payload ends early".to_owned())
}
