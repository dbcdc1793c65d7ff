//! What control groups and users with limits have and may have: a part of the status
//! (`status.rs`), under the same rules.

use serde::{Deserialize, Serialize};

use crate::user_limits::UserLimits;

/// The control group of a process group or user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlGroupStatus {
    /// Its directory.
    pub path: Option<String>,
    /// Its share of the processors: 1 to 10000, 100 is usual.
    pub cpu_weight: u32,
    /// Milliseconds of processor time so far.
    pub cpu_ms: Option<u64>,
    /// Bytes of memory in use.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Processes that the kernel has killed because of `memory-max`.
    pub memory_kills: Option<u64>,
}

/// A user that has limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserStatus {
    /// Name, or `#1001`, as the configuration has it.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// Worker processes of all its process groups.
    pub processes: u64,
    /// Its process groups.
    pub sites: u64,
    /// What it may have; 0 is no limit.
    pub limits: UserLimits,
    /// The control group that holds those of its process groups.
    pub control_group: Option<ControlGroupStatus>,
    /// What has no effect, and why.
    pub problem: Option<String>,
}
