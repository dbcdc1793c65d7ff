//! The transitions of a pool, one by one.
