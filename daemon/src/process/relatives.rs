//! What workers without a control group have used, with all that comes from them,
//! and the priorities of those that give way: asked of the kernel by a thread of
//! its own, one look at a time, since a site decides how many threads and children
//! there are to look at. A look has a bound of entries and of time, and the next
//! one goes on where it stopped. Asked by `supervisor/resources`; it does not know
//! what the figures are for.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, ReadDir};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::procfs::{self, Relative};
use crate::sys;

/// Of each worker so many descendants are counted.
const RELATIVES: usize = 200;
/// Threads whose children are asked for in one look, of all workers together.
const ENTRIES: usize = 1000;
/// Every worker has so many of them.
const ENTRIES_LEAST: usize = 16;
/// How long one look may search for descendants.
const SEARCH: Duration = Duration::from_millis(10);
/// How long one look may ask those that are known.
const ASK: Duration = Duration::from_millis(100);
/// Descriptors that may stay open between two looks.
const OPEN: usize = 64;
/// Bytes that are read of one thread's children: more than `RELATIVES` of them.
const CHILDREN_MAX: u64 = 4096;

/// Workers by process group.
pub(crate) type Roots = Vec<(String, Vec<u32>)>;

enum UsageJob {
    Look(Roots),
    SetNice(Vec<u32>, i32),
}

/// What one look found: processor time so far of each group.
pub(crate) struct UsageSample {
    pub(crate) at: Instant,
    pub(crate) used: BTreeMap<String, Duration>,
}

#[derive(Default)]
pub(crate) struct UsageReader {
    thread: Option<(Sender<UsageJob>, Receiver<UsageSample>)>,
    is_looking: bool,
}

impl UsageReader {
    /// Begins a look, unless one is under way.
    pub(crate) fn look(&mut self, roots: Roots) {
        if !self.is_looking {
            self.is_looking = self.send(UsageJob::Look(roots));
        }
    }

    pub(crate) const fn is_looking(&self) -> bool {
        self.is_looking
    }

    /// What the look has found, once it is over.
    pub(crate) fn seen(&mut self) -> Option<UsageSample> {
        let seen = self.thread.as_ref()?.1.try_recv().ok()?;
        self.is_looking = false;
        Some(seen)
    }

    /// Sets the priority of all in the process groups that these lead.
    pub(crate) fn set_nice(&mut self, leaders: Vec<u32>, nice: i32) {
        self.send(UsageJob::SetNice(leaders, nice));
    }

    fn send(&mut self, job: UsageJob) -> bool {
        if self.thread.is_none() {
            let (jobs, inbox) = channel();
            let (outbox, seen) = channel();
            let named = thread::Builder::new().name("lookout".to_owned());
            match named.spawn(move || run(&inbox, &outbox)) {
                Ok(_) => self.thread = Some((jobs, seen)),
                Err(error) => {
                    log_line!(
                        NOBODY_GIVES_WAY,
                        "nobody is made to give way: failed to start a thread: {error}"
                    )
                }
            }
        }
        self.thread
            .as_ref()
            .is_some_and(|(jobs, _)| jobs.send(job).is_ok())
    }
}

fn run(jobs: &Receiver<UsageJob>, seen: &Sender<UsageSample>) {
    let mut families = Families::default();
    while let Ok(job) = jobs.recv() {
        match job {
            UsageJob::Look(roots) => {
                if seen.send(families.look(roots)).is_err() {
                    return;
                }
            }
            UsageJob::SetNice(leaders, nice) => {
                for pid in leaders {
                    if let Err(error) = sys::set_nice_of_group(pid, nice) {
                        tracing::trace!("the priority of worker {pid} stays: {error}");
                    }
                }
            }
        }
    }
}

struct Budget {
    entries: usize,
    until: Instant,
}

impl Budget {
    fn take(&mut self) -> bool {
        let left = self.entries > 0 && Instant::now() < self.until;
        self.entries = self.entries.saturating_sub(1);
        left
    }
}

/// All workers that were looked at the last time.
#[derive(Default)]
struct Families {
    known: BTreeMap<u32, Family>,
    /// Whose turn it is to be first.
    turn: usize,
}

impl Families {
    fn look(&mut self, roots: Roots) -> UsageSample {
        let at = Instant::now();
        let pids = roots.iter().flat_map(|(_, pids)| pids);
        let mut pids: Vec<u32> = pids.copied().collect();
        self.known.retain(|pid, _| pids.contains(pid));
        for pid in &pids {
            let family = self.known.entry(*pid);
            family.or_insert_with(|| Family::new(*pid)).ask(at + ASK);
        }
        if !pids.is_empty() {
            self.turn = (self.turn + 1) % pids.len();
            pids.rotate_left(self.turn);
        }
        self.search(&pids, ENTRIES, Instant::now() + SEARCH);
        let used = roots.into_iter();
        let used = used
            .map(|(group, pids)| (group, self.used(&pids)))
            .collect();
        UsageSample { at, used }
    }

    fn used(&self, pids: &[u32]) -> Duration {
        let families = pids.iter().filter_map(|pid| self.known.get(pid));
        families.map(Family::used).sum()
    }

    fn search(&mut self, pids: &[u32], entries: usize, until: Instant) {
        let each = (entries / pids.len().max(1)).max(ENTRIES_LEAST);
        let mut open = 0;
        for pid in pids {
            let Some(family) = self.known.get_mut(pid) else {
                continue;
            };
            let entries = each;
            family.search(&mut Budget { entries, until });
            open += usize::from(family.open.is_some());
            if open > OPEN {
                family.open = None;
            }
        }
    }
}

struct FamilyMember {
    start: u64,
    used: Duration,
    /// What it had used before it was seen, where that was late.
    before: Duration,
}

/// A worker and its descendants, as far as they were found.
struct Family {
    root: u32,
    members: BTreeMap<u32, FamilyMember>,
    /// Processes whose threads were not asked in this round.
    waiting: VecDeque<u32>,
    /// The threads of the one that is asked.
    open: Option<ReadDir>,
    /// Whether the round before was over within one look.
    was_whole: bool,
}

impl Family {
    const fn new(root: u32) -> Self {
        Self {
            root,
            members: BTreeMap::new(),
            waiting: VecDeque::new(),
            open: None,
            was_whole: true,
        }
    }

    fn used(&self) -> Duration {
        let members = self.members.values();
        members
            .map(|member| member.used.saturating_sub(member.before))
            .sum()
    }

    /// Asks those that are known; whoever comes too late keeps its old figure.
    fn ask(&mut self, until: Instant) {
        self.members.retain(|pid, member| {
            if Instant::now() >= until {
                return true;
            }
            let now = procfs::relative_of(*pid).filter(|now| now.start == member.start);
            if let Some(now) = now {
                member.used = now.used;
            }
            now.is_some()
        });
        if !self.members.contains_key(&self.root)
            && let Some(root) = procfs::relative_of(self.root)
        {
            self.add(root, true);
        }
    }

    fn add(&mut self, one: Relative, counts_whole: bool) {
        let member = FamilyMember {
            start: one.start,
            used: one.used,
            before: if counts_whole {
                Duration::ZERO
            } else {
                one.used
            },
        };
        self.members.insert(one.pid, member);
    }

    /// Looks for descendants that are not known yet, as far as the budget goes.
    fn search(&mut self, budget: &mut Budget) {
        let begins = self.open.is_none() && self.waiting.is_empty();
        if begins {
            self.waiting.extend(self.members.keys().copied());
        }
        loop {
            if !budget.take() {
                self.was_whole = false;
                return;
            }
            match self.open.as_mut().and_then(Iterator::next) {
                Some(Ok(thread)) => {
                    let file = thread.path().join("children");
                    self.meet(&procfs::numbers_in(&file, CHILDREN_MAX));
                }
                Some(Err(_)) => self.open = None,
                None => {
                    let Some(pid) = self.waiting.pop_front() else {
                        self.open = None;
                        self.was_whole = begins;
                        return;
                    };
                    self.open = fs::read_dir(format!("/proc/{pid}/task")).ok();
                }
            }
        }
    }

    fn meet(&mut self, children: &[u32]) {
        for pid in children {
            if self.members.len() >= RELATIVES || self.members.contains_key(pid) {
                continue;
            }
            if let Some(child) = procfs::relative_of(*pid) {
                self.add(child, self.was_whole);
                self.waiting.push_back(*pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleepers(count: usize) -> Child {
        let script = format!("i=0; while [ $i -lt {count} ]; do sleep 60 & i=$((i+1)); done; wait");
        Command::new("sh")
            .args(["-c", &script])
            .process_group(0)
            .spawn()
            .unwrap()
    }

    fn end(mut child: Child) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_search_asks_no_more_than_its_budget_and_goes_on_the_next_time() {
        let child = sleepers(30);
        let mut family = Family::new(child.id());
        let mut looks = 0;
        while family.members.len() < 31 {
            family.ask(far());
            let known = family.members.len();
            family.search(&mut Budget {
                entries: 5,
                until: far(),
            });
            looks += 1;
            assert!(family.members.len() <= 31 && looks < 2000, "{known}");
            thread::sleep(Duration::from_millis(1));
        }
        // A whole round takes each of them twice: its directory and its thread.
        let mut looks = 0;
        while !family.waiting.is_empty() || family.open.is_some() {
            family.search(&mut Budget {
                entries: 5,
                until: far(),
            });
            looks += 1;
        }
        assert!(looks <= 2 * 31 / 5 + 1 && !family.was_whole, "{looks}");
        family.search(&mut Budget {
            entries: 1000,
            until: far(),
        });
        assert!(family.was_whole && family.open.is_none());
        end(child);
        family.ask(far());
        assert!(!family.members.contains_key(&family.root));
    }

    #[test]
    fn threads_that_only_sleep_cost_a_look_no_more_than_its_time() {
        const THREADS: usize = 3000;
        let (stop, stopped) = channel::<()>();
        let stopped = std::sync::Arc::new(std::sync::Mutex::new(stopped));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let stopped = std::sync::Arc::clone(&stopped);
                thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn(move || drop(stopped.lock().map(|end| end.recv())))
                    .unwrap()
            })
            .collect();
        let mut budget = Budget {
            entries: ENTRIES,
            until: far(),
        };
        let mut family = Family::new(std::process::id());
        family.ask(far());
        family.search(&mut budget);
        assert!(
            budget.entries == 0 && family.open.is_some(),
            "it stopped within the threads"
        );
        let begun = Instant::now();
        family.search(&mut Budget {
            entries: usize::MAX,
            until: begun + SEARCH,
        });
        assert!(
            begun.elapsed() < SEARCH + Duration::from_millis(200),
            "{:?}",
            begun.elapsed()
        );
        drop(stop);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    #[test]
    fn what_was_used_before_it_was_seen_late_does_not_count() {
        let mut family = Family::new(1);
        let one = |pid, used| Relative {
            pid,
            start: 1,
            used: Duration::from_secs(used),
        };
        family.add(one(1, 3), true);
        family.add(one(2, 100), false);
        assert_eq!(family.used(), Duration::from_secs(3));
    }

    #[test]
    fn a_group_is_seen_with_what_comes_from_it() {
        let script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 60 & wait";
        let child = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .spawn()
            .unwrap();
        let mut reader = UsageReader::default();
        let until = far();
        let used = loop {
            assert!(Instant::now() < until, "it uses its processor");
            reader.look(vec![("site".to_owned(), vec![child.id()])]);
            thread::sleep(Duration::from_millis(5));
            let Some(seen) = reader.seen() else { continue };
            if !seen.used["site"].is_zero() {
                break seen.used["site"];
            }
        };
        assert!(used < Duration::from_secs(20) && !reader.is_looking());
        end(child);
    }
}
