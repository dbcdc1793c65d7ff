//! The harness of the end-to-end suites: a real httpd, real Python
//! interpreters, real users, on loopback only.
//!
//! The suites in `tests/` and the benchmarks use it. It knows the product from
//! outside alone: through configuration, HTTP, signals and `/proc`.

pub mod artifacts;
pub mod cache;
pub mod case;
pub mod client;
pub mod hostile;
pub mod httpd;
pub mod load;
pub mod pattern;
pub mod process;
pub mod python;
pub mod site;
pub mod users;
pub mod wait;

pub use case::{Limit, case, heavy_case, note};
pub use client::{Client, ClientError, Request, Response};
pub use httpd::{Builder, Httpd, Mpm};
pub use load::{Load, Tally};
pub use process::Pid;
pub use python::Python;
pub use site::Site;
pub use users::TestUser;
pub use wait::{eventually, until};

/// A JSON value, as the applications under `apps/` answer.
pub use serde_json::Value as Json;
