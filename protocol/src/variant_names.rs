//! The kinds of message that an enumeration has, asked of its derived decoder:
//! so a receiver can tell a kind that it does not know from bytes that are none
//! of this protocol, and tests can see that no kind was forgotten.

use std::fmt::Display;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// The names of an enumeration's variants, in the order of their numbers on the
/// wire; none if the type is no enumeration.
pub fn names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(NamesDecoder) {
        Err(VariantNames(names)) => names,
        Ok(_) => &[],
    }
}

/// A decoder that gives the names back as its error.
struct NamesDecoder;

#[derive(Debug, thiserror::Error)]
#[error("one of {0:?}")]
struct VariantNames(&'static [&'static str]);

impl Error for VariantNames {
    fn custom<T: Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for NamesDecoder {
    type Error = VariantNames;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, VariantNames> {
        Err(VariantNames(&[]))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, VariantNames> {
        Err(VariantNames(names))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
