//! What a child of httpd keeps: the frozen plan it inherited, its pool of
//! connections, and whether it is about to stop.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::getpid;

use crate::configuration::groups::Groups;
use crate::configuration::settings::DEFAULT_GROUP;
use crate::httpd::{process, retained, server};
use crate::workers::loads::{self, Counted, Loads};
use crate::workers::pool::Pools;
use crate::workers::thread_reserve::{self, Crowd};
use crate::workers::{group_log, holders};

/// What the parent decided, for its children.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) groups: Groups,
    /// Application groups that directives name.
    pub(crate) application_groups: HashSet<String>,
    /// The supervisor's socket; `None` if there is none, with the reason.
    pub(crate) socket: Option<String>,
    pub(crate) secret: [u8; 32],
    pub(crate) generation: u64,
    /// WSGIRestrictEmbedded.
    pub(crate) restrict_embedded: bool,
    /// Requests that take longer are named in the log.
    pub(crate) slow_requests: Option<Duration>,
}

impl Plan {
    /// Whether several groups take requests, besides the implicit one, which is
    /// always there.
    fn has_several_groups(&self) -> bool {
        self.groups
            .values()
            .filter(|group| group.serves && group.name != DEFAULT_GROUP)
            .nth(1)
            .is_some()
    }
}

/// The plan of the configuration in force; children are forked after it is set.
static PLAN: Mutex<Option<Arc<Plan>>> = Mutex::new(None);

/// The state of this child.
pub(crate) struct Child {
    pub(crate) plan: Arc<Plan>,
    pub(crate) pools: Pools,
    pub(crate) crowd: Crowd,
    pid: u32,
}

static CHILD: OnceLock<Child> = OnceLock::new();

/// Sockets on which a thread of this child waits, so that `stop` can end the
/// waits. A table of atomics, for `stop` may run inside a signal handler.
static WAITING: [AtomicI32; WAITING_MAX] = [const { AtomicI32::new(-1) }; WAITING_MAX];
const WAITING_MAX: usize = 1024;

static STOPPING: AtomicBool = AtomicBool::new(false);

/// The parent's decision for children that will be forked.
pub(crate) fn publish(plan: Plan) {
    loads::prepare();
    holders::prepare();
    thread_reserve::prepare();
    group_log::prepare();
    *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(plan));
}

/// httpd's monitor hook, in the parent.
pub(crate) fn monitor() {
    loads::sweep();
    holders::sweep();
    let plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    group_log::say_rest(plan.iter().flat_map(|plan| plan.groups.values()));
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
        }
    });
    let plan = PLAN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
        .unwrap_or_default();
    let pid = std::process::id();
    // Streams of HTTP/2 run on threads beside the MPM's.
    let idle_max = usize::try_from(server::threads_per_child()).unwrap_or(1) * 2;
    let pools = Pools::new(
        idle_max,
        descriptors() / 2,
        Loads::of_child(pid, Counted::Workers),
    );
    let threads = server::most_children().saturating_mul(server::threads_per_child());
    let crowd = Crowd::of_child(pid, threads, plan.has_several_groups());
    let _ = CHILD.set(Child {
        plan,
        pools,
        crowd,
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

/// httpd's child_stopping hook. After a graceful one requests go on.
pub(crate) fn stop(graceful: bool) {
    if graceful {
        return;
    }
    STOPPING.store(true, Ordering::SeqCst);
    for place in &WAITING {
        let fd = place.load(Ordering::SeqCst);
        if fd >= 0 {
            process::shut_down_socket(fd);
        }
    }
}

/// Whether this child stops at once.
pub(crate) fn is_stopping() -> bool {
    STOPPING.load(Ordering::SeqCst)
}

/// A socket that `stop` may shut down; ends when dropped.
pub(crate) struct Waiting(Option<&'static AtomicI32>);

impl Waiting {
    /// Enters `fd`. With the table full the wait ends at its next tick instead.
    pub(crate) fn on(fd: i32) -> Self {
        // Threads begin at different places, so that they seldom meet.
        let start = usize::try_from(fd).unwrap_or(0) % WAITING_MAX;
        let places = WAITING[start..].iter().chain(&WAITING[..start]);
        let mut free = places.filter(|place| {
            place
                .compare_exchange(-1, fd, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        });
        Self(free.next())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(-1, Ordering::SeqCst);
        }
    }
}
