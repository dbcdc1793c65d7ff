//! Safe faces of APR: pools, tables, brigades, texts. Everything that
//! lives in a pool carries the pool's lifetime.

pub(crate) mod brigade;
pub(crate) mod handle;
pub(crate) mod pool;
pub(crate) mod table;
pub(crate) mod text;
