//! Application groups whose names requests make, of one process group: how many
//! of them there may be, which one makes room for another, and which are
//! forgotten. Pure; asked by `supervisor/requested.rs`. Knows nothing of those
//! that the configuration names, which always have room.

use std::time::{Duration, Instant};

use wsgid_protocol::GroupConfig;

use crate::ids::PoolId;

/// Processes of such application groups that any process group may have: as many
/// names as a small site has at a time, and about the memory that a small machine
/// can spare.
const PROCESSES: u32 = 32;
/// Such application groups that any process group may have, whatever their processes.
const POOLS: u32 = 4;
/// Application groups of one process group that httpd's children may say are the
/// configuration's: a child that was taken over could say so of any name, and no
/// site has as many of its own.
const BELIEVED: usize = 256;
/// An application group without requests is forgotten after this time.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// A request for another name waits for room so long. Whoever waits holds a
/// thread of httpd.
pub const WAIT: Duration = Duration::from_secs(2);
/// Between two looks for room meanwhile. A worker says 100 ms after its last
/// request that it has none.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// An application group that exists.
#[derive(Clone, Copy, Debug)]
pub struct RequestedName {
    /// Its pool.
    pub pool: PoolId,
    /// A request runs or waits in it.
    pub busy: bool,
    /// The pool is on its way out.
    pub leaving: bool,
    /// When it last had a request.
    pub used: Instant,
}

/// Whether there is room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room at once.
    Free,
    /// Enough of them are on their way out.
    Coming,
    /// There is room if this pool goes.
    After(PoolId),
    /// All of them are at work.
    None,
}

/// How many such application groups a process group may have. All that a pool
/// may start is counted, a preloader too, so that no pool has to be asked
/// before it starts one more.
pub fn most(config: &GroupConfig) -> usize {
    let of_one = config
        .processes_limit()
        .max(1)
        .saturating_add(u32::from(config.preload));
    (PROCESSES / of_one).max(POOLS) as usize
}

/// Whether a child of httpd is believed that the configuration makes a name that
/// its own lists do not have, in a process group with so many application groups.
pub const fn believes(application_groups: usize) -> bool {
    application_groups < BELIEVED
}

/// Whether there is room for one more name while `ahead` others wait before it.
pub fn find(candidates: &[RequestedName], most: usize, ahead: usize) -> Room {
    let free = most.saturating_sub(candidates.len());
    let leaving = candidates.iter().filter(|one| one.leaving).count();
    if free > ahead {
        return Room::Free;
    }
    if free + leaving > ahead {
        return Room::Coming;
    }
    let idle = candidates.iter().filter(|one| !one.leaving && !one.busy);
    idle.min_by_key(|one| one.used)
        .map_or(Room::None, |one| Room::After(one.pool))
}

/// The pools that nobody has asked for in a long time.
pub fn unused(candidates: &[RequestedName], now: Instant) -> Vec<PoolId> {
    let is_unused = |one: &&RequestedName| {
        !one.leaving && !one.busy && now.saturating_duration_since(one.used) >= FORGOTTEN_AFTER
    };
    candidates
        .iter()
        .filter(is_unused)
        .map(|one| one.pool)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(pool: PoolId, used: Instant) -> RequestedName {
        RequestedName {
            pool,
            busy: false,
            leaving: false,
            used,
        }
    }

    #[test]
    fn the_bound_is_on_processes() {
        let config = |words: &[(&str, &str)]| {
            let mut config = GroupConfig::new("site", "");
            words
                .iter()
                .for_each(|(name, value)| config.set(name, value).unwrap());
            most(&config)
        };
        assert_eq!(config(&[]), 32);
        assert_eq!(config(&[("processes", "2")]), 16);
        assert_eq!(config(&[("processes", "1..8")]), 4);
        assert_eq!(config(&[("processes", "100")]), 4);
        assert_eq!(config(&[("preload", "On")]), 16);
    }

    #[test]
    fn a_child_of_httpd_makes_only_so_many_names_of_the_configuration() {
        assert!(believes(0) && believes(BELIEVED - 1));
        assert!(!believes(BELIEVED) && !believes(usize::MAX));
    }

    #[test]
    fn the_one_least_recently_used_makes_room_unless_it_works() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut all = vec![idle(1, later(3)), idle(2, later(1)), idle(3, later(2))];
        assert_eq!(find(&all, 4, 0), Room::Free);
        assert_eq!(find(&all, 3, 0), Room::After(2));
        all[1].busy = true;
        assert_eq!(find(&all, 3, 0), Room::After(3));
        all.iter_mut().for_each(|one| one.busy = true);
        assert_eq!(find(&all, 3, 0), Room::None);
    }

    #[test]
    fn nobody_goes_for_a_name_that_gets_room_anyway() {
        let now = Instant::now();
        let mut all = vec![idle(1, now), idle(2, now)];
        all[0].leaving = true;
        assert_eq!(find(&all, 2, 0), Room::Coming);
        assert_eq!(find(&all, 2, 1), Room::After(2));
        // Who waits already comes first.
        assert_eq!(find(&all, 3, 0), Room::Free);
        assert_eq!(find(&all, 3, 1), Room::Coming);
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let start = Instant::now();
        let at_work = RequestedName {
            busy: true,
            ..idle(2, start)
        };
        let all = [
            idle(1, start),
            at_work,
            idle(3, start + Duration::from_secs(1)),
        ];
        assert!(unused(&all, start + FORGOTTEN_AFTER - Duration::from_millis(1)).is_empty());
        assert_eq!(unused(&all, start + FORGOTTEN_AFTER), [1]);
    }
}
