//! What a pool wants and may have, where its user has a limit: numbers that `allowance` works
//! out and obeys, and `user_share` decides about.

use serde::{Deserialize, Serialize};

/// What a pool has, and what it would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Processes, those that end included, and those whose start was asked for.
    pub has: usize,
    /// Of them those that nobody has told to end.
    pub live: usize,
    /// Workers that are wanted now.
    pub wanted: usize,
    /// Of them those that it is configured to have in any case.
    pub least: usize,
    /// Requests wait for a worker.
    pub waits: bool,
    /// How many more it would have for a while, to replace others.
    pub extra: usize,
}

/// What a pool may have, where its user has a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowance {
    /// Workers that may stay.
    pub live: usize,
    /// Workers that may be started from now on: there is room for them already.
    pub starts: usize,
}
