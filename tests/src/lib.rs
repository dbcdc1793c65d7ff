//! The harness of the end-to-end suites: a real httpd, real Python
//! interpreters, real users, on loopback only.
//!
//! The suites in `tests/` and the benchmarks use it. It knows the product from
//! outside alone: through configuration, HTTP, signals and `/proc`.

pub mod artifacts;
pub mod bodies;
pub mod browser;
pub mod cache;
pub mod case;
pub mod checked;
pub mod claims;
pub mod client;
pub mod collector;
pub mod control;
pub mod curl;
pub mod document;
pub mod each;
pub mod express;
pub mod fixture;
pub mod fuse;
pub mod h2;
pub mod hostile;
pub mod httpd;
pub mod judge;
pub mod listed;
pub mod load;
pub mod machine;
pub mod mpm;
pub mod nghttp;
pub mod pattern;
pub mod peer;
pub mod process;
pub mod python;
pub mod raw;
pub mod site;
pub mod sleeper;
pub mod status;
pub mod terminal;
pub mod upgrade;
pub mod users;
pub mod wait;
pub mod wire;

pub use case::{Limit, at_once, case, heavy_case, heavy_on_every_mpm, note, on_every_mpm};
pub use checked::{Checked, Log};
pub use client::{Client, ClientError, Request, Response};
pub use curl::{Answer, Curl, Transport};
pub use each::{On, on_each};
pub use express::Express;
pub use fixture::Fixture;
pub use httpd::{Builder, Httpd};
pub use load::{Load, Tally};
pub use mpm::Mpm;
pub use process::Pid;
pub use python::Python;
pub use raw::Raw;
pub use site::Site;
pub use users::TestUser;
pub use wait::{eventually, until};
pub use wire::Wire;

/// A JSON value, as the applications under `apps/` answer.
pub use serde_json::Value as Json;
