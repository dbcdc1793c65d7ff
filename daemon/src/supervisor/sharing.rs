//! Lets `resources` share the machine out between the process groups: as time
//! passes, as configurations change, and as workers come and go.

use std::time::Instant;

use super::{Supervisor, resources::Processes};

impl Supervisor {
    /// When the next look at the processors is due.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.resources
            .next_look(self.pools.len(), self.workers.len())
    }

    pub(super) fn look_at_use(&mut self, now: Instant) {
        if self.next_look().is_some_and(|at| at <= now) {
            let processes = self.processes();
            self.resources.look(&processes, &self.groups, now);
        }
    }

    /// Sites of several users are kept apart, also those that began when there
    /// was only one; those of a user that has limits are in that one's control group.
    pub(super) fn keep_users_apart(&mut self) {
        let several = self.groups.have_several_users();
        if several {
            self.resources.groups.say_problem();
        } else if !self.users.are_any_bounded() {
            return;
        }
        let processes = self.processes();
        for name in processes.keys() {
            let owner = self.groups.owner(name);
            if several || owner.is_some_and(|uid| self.resources.groups.bounds_user(uid)) {
                self.resources.contain(name, &processes, &self.groups);
            }
        }
    }

    /// Once a second: control groups whose workers have all ended.
    pub(super) fn tidy_control_groups(&mut self) {
        let processes = self.processes();
        self.resources
            .tidy(&processes, &self.groups, Instant::now());
    }

    pub(super) fn give_priorities_back(&self) {
        self.resources.give_priorities_back(&self.processes());
    }

    /// The processes of workers and preloaders.
    fn processes(&self) -> Processes {
        let workers = self.workers.values();
        let workers = workers.map(|worker| (worker.record.pool, worker.record.pid));
        let mut processes = Processes::new();
        for (pool, pid) in workers.chain(self.preloaders.processes()) {
            if let Some(group) = self.pools.group_of(pool) {
                processes.entry(group.to_owned()).or_default().push(pid);
            }
        }
        processes
    }
}
