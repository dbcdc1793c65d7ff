//! A worker that misbehaves: what a tenant could run in the place of ours.
//!
//! `src/bin/hostile_worker.rs` is the program; a site gets it by naming a
//! directory as `python-home` whose `bin/python` is that program. The path of a
//! request names the misbehaviour ([`cases`]); the suites go through the table.

mod answer;
mod bytes;
mod case;
pub mod cases;
pub mod child;
mod control;
mod exchange;
mod files;
mod frames;
mod heads;
pub mod questions;
mod sleepers;
mod supervisor;
mod worker;

pub use case::{Case, Expect};
pub use sleepers::FUSE_FILE;
pub use worker::{Start, run};
