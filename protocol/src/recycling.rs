//! Why a worker asks to be replaced, as it tells the supervisor.

use serde::{Deserialize, Serialize};

/// Why a worker asks to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecycleReason {
    /// The script's modification time changed.
    ScriptChanged,
    /// `maximum-requests` was reached.
    MaximumRequests,
    /// `memory-recycle` was exceeded twice.
    Memory,
    /// `restart-interval` passed.
    RestartInterval,
    /// `inactivity-timeout` passed.
    Inactivity,
    /// SIGXCPU: `cpu-time-limit`.
    CpuTimeLimit,
    /// SIGUSR1.
    Signal,
    /// A request ran longer than `request-timeout`.
    RequestTimeout,
    /// A script failed to load; a fresh process may do better.
    LoadFailed,
    /// A connection could not be received: the process has no descriptor left.
    NoDescriptors,
    /// A reason that this release does not know: whoever reads one takes it for
    /// this, and nobody sends it. New reasons stand above it.
    #[serde(other)]
    Other,
}
