//! Groups that heal beside groups that do not: workers that are told to go,
//! generations that fail, supervisors that die, and fifty groups that crash
//! without end.

mod children;
mod crash_loops;
mod descriptors;
mod neighbour;
mod owners;
mod privileges;
mod replacing;
mod sockets;
mod threads;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
