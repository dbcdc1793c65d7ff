//! What the supervisor counts of each process group for its totals (`totals`): ends of
//! workers by their reason, generations that were given up, processor time, and lines kept
//! out of the log. Called by `endings`, `actions` and, before a status, `commands`.

use wsgid_protocol::byte_rate::LeftOut;
use wsgid_protocol::control::RecycleReason;
use wsgid_protocol::status::EndReason;
use wsgid_protocol::totals::{RestartReason, supervisors};

use super::{Supervisor, workers::WorkerRecord};
use wsgid_policy::ids::{PoolId, WorkerId};

impl Supervisor {
    /// A worker has ended.
    pub(super) fn count_end(&mut self, id: WorkerId, record: &WorkerRecord, end: EndReason) {
        let Some(entry) = self.pools.get(&record.pool) else {
            return;
        };
        let mut members = entry.machine.members();
        let member = members.find(|(known, _)| *known == id);
        let wish = member.and_then(|(_, member)| member.recycling());
        let reason = restart_reason(end, wish);
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
fn restart_reason(end: EndReason, wish: Option<RecycleReason>) -> RestartReason {
    match end {
        EndReason::Exited => RestartReason::Exited,
        EndReason::Signalled => RestartReason::Signalled,
        EndReason::OutOfMemory => RestartReason::OutOfMemory,
        EndReason::NotStarted => RestartReason::NotStarted,
        EndReason::StartupTimeout => RestartReason::StartupTimeout,
        EndReason::RequestTimeout => RestartReason::RequestTimeout,
        EndReason::Deadlock => RestartReason::Deadlock,
        EndReason::ShutdownTimeout => RestartReason::ShutdownTimeout,
        EndReason::ControlLost => RestartReason::ControlLost,
        EndReason::Asked | EndReason::Unknown => wish.map_or(RestartReason::Asked, of_wish),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_has_the_words_of_the_causes() {
        let name = |end, wish| {
            let reason = restart_reason(end, wish);
            let named = RestartReason::ALL.iter().find(|(one, _)| *one == reason);
            named.map(|(_, name)| *name)
        };
        for end in [
            EndReason::Asked,
            EndReason::Exited,
            EndReason::Signalled,
            EndReason::OutOfMemory,
            EndReason::NotStarted,
            EndReason::StartupTimeout,
            EndReason::RequestTimeout,
            EndReason::Deadlock,
            EndReason::ShutdownTimeout,
            EndReason::ControlLost,
        ] {
            assert_eq!(name(end, None), Some(end.word()));
        }
        let wish = Some(RecycleReason::MaximumRequests);
        assert_eq!(name(EndReason::Asked, wish), Some("maximum-requests"));
        assert_eq!(name(EndReason::Signalled, wish), Some("signalled"));
    }
}
