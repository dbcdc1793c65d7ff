//! What a child of httpd keeps: the plan it inherited, its pool of connections, its
//! part in what all children count. Prepared by the parent.

use std::sync::{Arc, OnceLock};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::getpid;
use wsgid_protocol::metrics::HttpdThreads;

use crate::httpd::{retained, server};
use crate::workers::loads::{self, Counted, Loads};
use crate::workers::plan::{self, ServingPlan};
use crate::workers::pool::ConnectionPools;
use crate::workers::thread_reserve::{self, ThreadReserve};
use crate::workers::{absence, group_log, thread_table, totals};

pub(crate) struct Child {
    pub(crate) plan: Arc<ServingPlan>,
    pub(crate) pools: ConnectionPools,
    pub(crate) reserve: ThreadReserve,
    pid: u32,
}

impl Child {
    /// Which threads of httpd the groups have, over all children.
    pub(crate) fn threads(&self) -> HttpdThreads {
        let groups = self.plan.groups.values();
        self.reserve.threads(groups.filter(|group| group.serves))
    }
}

static CHILD: OnceLock<Child> = OnceLock::new();

/// The parent's decision for children that will be forked.
pub(crate) fn publish(plan: ServingPlan) {
    loads::prepare();
    thread_table::prepare();
    thread_reserve::prepare();
    group_log::prepare();
    absence::prepare();
    plan::publish(plan);
}

/// httpd's monitor hook, in the parent. Returns what the supervisor is to count of lines
/// that were left out of the log.
pub(crate) fn monitor() -> Vec<(String, u64, u64)> {
    loads::sweep();
    thread_table::sweep();
    group_log::say_rest(plan::current().iter().flat_map(|plan| plan.groups.values()))
}

/// httpd's child_init hook.
pub(crate) fn init() {
    // Who holds the control socket can define process groups of any user. It
    // and the listening socket are the parent's alone; and only the parent's
    // death may be an end of file to the supervisor.
    retained::with(|retained| {
        if retained.owner != getpid().as_raw() {
            retained.set_control(None);
            retained.set_listener(None);
            retained.set_totals(None);
        }
    });
    let plan = plan::current().unwrap_or_default();
    totals::attach(plan.socket.as_deref());
    let pid = std::process::id();
    // Streams of HTTP/2 run on threads beside the MPM's.
    let idle_max = usize::try_from(server::threads_per_child()).unwrap_or(1) * 2;
    let pools = ConnectionPools::new(
        idle_max,
        descriptors() / 2,
        Loads::of_child(pid, Counted::Workers),
    );
    let threads = server::most_children().saturating_mul(server::threads_per_child());
    // Probes need threads as another group would.
    let others = plan.has_several_groups() || plan.is_probed;
    let reserve = ThreadReserve::of_child(pid, threads, others);
    let _ = CHILD.set(Child {
        plan,
        pools,
        reserve,
        pid,
    });
}

/// How many descriptors this child may have; the clients need some of them.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// This child's state; `None` before child_init.
pub(crate) fn get() -> Option<&'static Child> {
    CHILD.get()
}

/// This process; asking the kernel costs a system call each time.
pub(crate) fn pid() -> u32 {
    CHILD.get().map_or_else(std::process::id, |child| child.pid)
}
