//! Lets `resources` share the machine out between the process groups: as time
//! passes, as configurations change, and as workers come and go.

use std::time::Instant;

use super::Supervisor;
use super::pools::PoolEntries;
use super::preloaders::PreloaderProcesses;
use super::resources::Processes;
use super::workers::Workers;

impl Supervisor {
    /// When the next look at the processors is due.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.resources
            .next_look(self.pools.len(), self.workers.len())
    }

    /// Sees who takes what others want.
    pub(super) fn look_at_use(&mut self, now: Instant) {
        if self.next_look().is_some_and(|at| at <= now) {
            let processes = by_group(&self.pools, &self.workers, &self.preloaders);
            self.resources.look(&processes, &self.groups, now);
        }
    }

    /// Sites of several users are kept apart, also those that began when there
    /// was only one.
    pub(super) fn keep_users_apart(&mut self) {
        if self.groups.have_several_users() {
            let processes = by_group(&self.pools, &self.workers, &self.preloaders);
            for name in processes.keys() {
                self.resources.contain(name, &processes, &self.groups);
            }
        }
    }

    /// Once a second: control groups whose workers have all ended.
    pub(super) fn tidy_control_groups(&mut self) {
        let processes = by_group(&self.pools, &self.workers, &self.preloaders);
        self.resources
            .tidy(&processes, &self.groups, Instant::now());
    }

    /// Before another program goes on.
    pub(super) fn give_priorities_back(&self) {
        let processes = by_group(&self.pools, &self.workers, &self.preloaders);
        self.resources.give_priorities_back(&processes);
    }
}

/// The processes of workers and preloaders.
fn by_group<'a>(
    pools: &'a PoolEntries,
    workers: &Workers,
    preloaders: &PreloaderProcesses,
) -> Processes<'a> {
    let workers = workers
        .values()
        .map(|worker| (worker.record.pool, worker.record.pid));
    let mut out = Processes::new();
    for (pool, pid) in workers.chain(preloaders.processes()) {
        if let Some(group) = pools.group_of(pool) {
            out.entry(group).or_default().push(pid);
        }
    }
    out
}
