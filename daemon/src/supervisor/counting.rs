//! What the supervisor counts of each process group for its totals (`totals`): ends of
//! workers by their reason, generations that were given up, processor time, and lines kept
//! out of the log. Called by `endings`, `actions` and, before a status, `commands`.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use wsgid_protocol::control::RecycleReason;
use wsgid_protocol::totals::{RestartReason, supervisors};
use wsgid_protocol::{Failure, byte_rate::LeftOut};

use super::{Supervisor, workers::WorkerRecord};
use crate::exit_code::launcher;
use wsgid_policy::ids::{PoolId, WorkerId};

impl Supervisor {
    /// A worker has ended.
    pub(super) fn count_end(
        &mut self,
        id: WorkerId,
        record: &WorkerRecord,
        status: ExitStatus,
        failure: Failure,
    ) {
        let Some(entry) = self.pools.get(&record.pool) else {
            return;
        };
        let mut members = entry.machine.members();
        let member = members.find(|(known, _)| *known == id);
        let wish = member.and_then(|(_, member)| member.recycling());
        let reason = reason(record, status, failure, wish);
        let cpu = record.report.cpu_us.unwrap_or_default();
        let counts = [
            (supervisors::restarts(reason), 1),
            (
                supervisors::CPU_US,
                cpu.saturating_sub(record.counted_cpu_us),
            ),
        ];
        self.totals.add(&entry.group, &counts);
    }

    pub(super) fn count_given_up(&self, pool: PoolId) {
        if let Some(group) = self.pools.group_of(pool) {
            self.totals.add(group, &[(supervisors::GIVEN_UP, 1)]);
        }
    }

    /// Counts what has come since it was last asked for.
    pub(super) fn count_use(&mut self) {
        for worker in self.workers.values_mut() {
            let record = &mut worker.record;
            let cpu = record.report.cpu_us.unwrap_or_default();
            let more = cpu.saturating_sub(record.counted_cpu_us);
            let group = self.pools.group_of(record.pool);
            if let Some(group) = group.filter(|_| more > 0) {
                record.counted_cpu_us = cpu;
                self.totals.add(group, &[(supervisors::CPU_US, more)]);
            }
        }
        for (name, group) in self.groups.iter_mut() {
            let now = group.target.left_out();
            let LeftOut { lines, bytes } = std::mem::replace(&mut group.counted_left_out, now);
            if now.lines > lines {
                let counts = [
                    (supervisors::LOG_DROPPED_LINES, now.lines - lines),
                    (
                        supervisors::LOG_DROPPED_BYTES,
                        now.bytes.saturating_sub(bytes),
                    ),
                ];
                self.totals.add(name, &counts);
            }
        }
    }
}

/// Why a worker ended; `wish` is why it was to be replaced, if it was.
fn reason(
    record: &WorkerRecord,
    status: ExitStatus,
    failure: Failure,
    wish: Option<RecycleReason>,
) -> RestartReason {
    let was_ready = record.python.is_some();
    if !was_ready && status.code().and_then(launcher::text).is_some() {
        return RestartReason::NotStarted;
    }
    match failure {
        Failure::OutOfMemory => RestartReason::OutOfMemory,
        Failure::RequestTimeout => RestartReason::RequestTimeout,
        Failure::Deadlock => RestartReason::Deadlock,
        Failure::StartupTimeout => RestartReason::StartupTimeout,
        // Nobody else kills a worker before it has anything.
        _ if !was_ready && record.ended_for.is_some() && status.signal().is_some() => {
            RestartReason::StartupTimeout
        }
        Failure::WorkerSignalled => RestartReason::Signalled,
        Failure::WorkerExited if wish.is_none() && !status.success() => RestartReason::Exited,
        Failure::WorkerExited if record.ended_for.is_none() && wish.is_none() => {
            RestartReason::Exited
        }
        _ => wish.map_or(RestartReason::Asked, of_wish),
    }
}

const fn of_wish(wish: RecycleReason) -> RestartReason {
    match wish {
        RecycleReason::ScriptChanged => RestartReason::ScriptChanged,
        RecycleReason::MaximumRequests => RestartReason::MaximumRequests,
        RecycleReason::Memory => RestartReason::Memory,
        RecycleReason::RestartInterval => RestartReason::RestartInterval,
        RecycleReason::Inactivity => RestartReason::Inactivity,
        RecycleReason::CpuTimeLimit => RestartReason::CpuTimeLimit,
        RecycleReason::Signal => RestartReason::Signal,
        RecycleReason::RequestTimeout => RestartReason::RequestTimeout,
        RecycleReason::LoadFailed => RestartReason::LoadFailed,
        RecycleReason::NoDescriptors => RestartReason::NoDescriptors,
        RecycleReason::Other => RestartReason::Asked,
    }
}
