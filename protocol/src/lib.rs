//! The contract between the httpd module, the supervisor and the workers:
//! frames, messages, limits and the failure table. PROTOCOL.md beside this
//! crate is its normative text. No I/O runtime in the default features.

pub mod answers;
pub mod blocking;
mod by_name;
pub mod byte_rate;
pub mod clock;
#[cfg(feature = "codec")]
pub mod codec;
pub mod config;
pub mod control;
pub mod disposal;
pub mod endpoint;
pub mod environ;
pub mod failure;
pub mod fds;
pub mod frame;
pub mod front;
mod group_syntax;
pub mod head;
mod identity;
pub mod in_flight;
pub mod isolation;
pub mod limits;
pub mod metrics;
pub mod names;
pub mod option;
mod own_paths;
pub mod ownership;
mod pairs;
pub mod payload;
pub mod readable;
pub mod readiness;
mod recycling;
pub mod refusal;
pub mod report;
pub mod request;
pub mod request_line;
pub mod response;
pub mod runs;
pub mod span;
pub mod stamp;
pub mod status;
pub mod supervisor_line;
mod syntax;
pub mod text;
pub mod token;
pub mod totals;
pub mod trust;
pub mod user_limits;
mod user_status;
mod values;
pub mod variant_names;
pub mod warm_up;
mod words;

pub use config::GroupConfig;
pub use failure::Failure;
pub use frame::Kind;
pub use head::FrameHead;
