//! The task of a process that tries a group, and its findings.

use serde::{Deserialize, Serialize};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;

use crate::process::path_check::Closed;

/// The task of the trying process.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) config: GroupConfig,
    pub(super) identity: Identity,
    /// Whether the user's home is entered if the group names no directory.
    pub(super) enter_home: bool,
}

/// The findings of the trying process.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// What holds, in words.
    pub(crate) good: Vec<String>,
    /// What is wrong, in words.
    pub(crate) problems: Vec<String>,
    /// What stops nothing and may be missed, in words.
    pub(crate) notes: Vec<String>,
    /// The version of its Python, if that runs.
    pub(crate) python: Option<(u32, u32)>,
    /// Whether there is a program to run an isolated site with, which says no version here.
    pub(super) has_python: bool,
}

impl Found {
    pub(super) fn failed(problem: String) -> Self {
        Self {
            problems: vec![problem],
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, tried: Result<String, String>) {
        match tried {
            Ok(good) => self.good.push(good),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// Adds what is wrong with the path of an option, if anything is.
    pub(super) fn check(&mut self, option: &str, tried: Result<(), Closed>) {
        if let Err(closed) = tried {
            self.problems.push(format!("{option} {closed}"));
        }
    }
}
