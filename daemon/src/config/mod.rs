//! The configuration of a supervisor that runs on its own: `wsgid.toml` and
//! one file per site. Read at start and at every reload; the groups in it have
//! the same options as `WSGIDaemonProcess`.

mod file;
mod group;
pub(crate) mod standalone;
mod user;

pub(crate) use file::{InForce, Loaded, load};
