//! Bindings to httpd 2.4, APR 1 and APR-util 1: only what this module uses,
//! checked in so that a build needs neither headers nor libclang. The test in
//! `layout.rs` compares them with the installed headers. Nothing here decides
//! anything; `apr/` and `httpd/` make it safe.
//!
//! Structures of httpd are never created by this crate, only looked at. The fields that
//! this module uses have names, up to the last of them; every 2.4 release has them.

#![expect(non_camel_case_types, reason = "the names are those of the C headers")]
#![expect(unsafe_code, reason = "declares what C defines")]

/// Declares functions that httpd or APR provide. Unit tests run outside httpd,
/// where nothing provides them: there each is a function that must not be
/// called, so that the test program links.
macro_rules! imports {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;)*) => {
        #[cfg(not(test))]
        unsafe extern "C" {
            $(pub(crate) fn $name($($arg: $ty),*) $(-> $ret)?;)*
        }
        $(
            /// # Safety
            /// It must not be called.
            #[cfg(test)]
            pub(crate) unsafe extern "C" fn $name($(_: $ty),*) $(-> $ret)? {
                unreachable!(concat!(stringify!($name), " exists inside httpd only"))
            }
        )*
        /// The names, for the test that looks for them in the installed server.
        #[cfg(test)]
        pub(super) const IMPORTS: &[&str] = &[$(stringify!($name)),*];
    };
}

/// A type that is only pointed at.
macro_rules! opaque {
    ($($name:ident)*) => {
        $(
            #[repr(C)]
            pub(crate) struct $name {
                _opaque: [u8; 0],
            }
        )*
    };
}

mod apr;
mod bucket;
mod config;
mod constants;
mod core;
#[cfg(test)]
mod layout;
pub(crate) mod stat;

pub(crate) use self::apr::*;
pub(crate) use self::bucket::*;
pub(crate) use self::config::*;
pub(crate) use self::constants::*;
pub(crate) use self::core::*;
