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

use std::fs;
use std::path::{Path, PathBuf};

use crate::site::Site;

pub use case::{Case, Expect};
pub use sleepers::FUSE_FILE;
pub use worker::{Start, run};

/// A directory of the site for `python-home`, whose Python is this program.
///
/// # Panics
/// If the program cannot be copied.
#[must_use]
pub fn home(site: &Site, program: impl AsRef<Path>) -> PathBuf {
    let home = site.file("hostile");
    fs::create_dir_all(home.join("bin")).expect("a directory can be made");
    fs::copy(program, home.join("bin/python")).expect("the program can be copied");
    home
}
