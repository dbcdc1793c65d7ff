//! The processes of the supervisor by process group: workers and preloaders.
//! Computed when it is asked for; used by what shares the machine out.

use std::collections::BTreeMap;

use super::pools::Pools;
use super::preloaders::PreloaderProcesses;
use super::workers::Workers;

/// Process ids by process group.
pub(super) type Processes<'a> = BTreeMap<&'a str, Vec<u32>>;

pub(super) fn by_group<'a>(
    pools: &'a Pools,
    workers: &Workers,
    preloaders: &PreloaderProcesses,
) -> Processes<'a> {
    let workers = workers
        .iter()
        .map(|(_, worker)| (worker.record.pool, worker.record.pid));
    let mut out = Processes::new();
    for (pool, pid) in workers.chain(preloaders.processes()) {
        if let Some(group) = pools.group_of(pool) {
            out.entry(group).or_default().push(pid);
        }
    }
    out
}
