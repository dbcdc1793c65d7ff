//! Safe faces of APR: pools, tables, brigades, texts. Everything that
//! lives in a pool carries the pool's lifetime.

pub(crate) mod brigade;
pub(crate) mod foreign;
pub(crate) mod pool;
pub(crate) mod table;
pub(crate) mod text;

/// What a function of APR says, 0 being success.
pub(crate) fn outcome(status: crate::sys::apr_status_t) -> Result<(), std::ffi::c_int> {
    if status == 0 { Ok(()) } else { Err(status) }
}
