//! How many may be open of peers that have not shown yet who they are: so many of
//! each peer, and so many in all. A peer that has more than the others makes room
//! for them: its oldest goes. No peer is kept waiting, or out, by another. Used for
//! connections without HELLO (`listener`) and for those that are ahead of their
//! configuration (`supervisor/arrivals.rs`).

use std::collections::{BTreeMap, VecDeque};

/// A user, and the process where it is known and all peers are of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The process.
    pub pid: Option<i32>,
}

/// What is open, by whose it is.
#[derive(Debug)]
pub struct PeerQuota<T> {
    taken: BTreeMap<Peer, VecDeque<(u64, T)>>,
    count: usize,
    last: u64,
    each: usize,
    all: usize,
}

impl<T> PeerQuota<T> {
    /// So many for each peer, and for all together.
    pub const fn new(each: usize, all: usize) -> Self {
        Self {
            taken: BTreeMap::new(),
            count: 0,
            last: 0,
            each,
            all,
        }
    }

    /// Takes one more in. Returns its number, and what had to go for it.
    pub fn take(&mut self, peer: Peer, value: T) -> (u64, Option<T>) {
        let own = self.taken.get(&peer).map_or(0, VecDeque::len);
        let gone = if own >= self.each {
            self.pop(peer)
        } else if self.count >= self.all {
            self.largest().and_then(|largest| self.pop(largest))
        } else {
            None
        };
        self.last += 1;
        self.count += 1;
        self.taken
            .entry(peer)
            .or_default()
            .push_back((self.last, value));
        (self.last, gone)
    }

    /// Takes one out by its number.
    pub fn free(&mut self, peer: Peer, number: u64) -> Option<T> {
        let own = self.taken.get_mut(&peer)?;
        let at = own.iter().position(|(taken, _)| *taken == number)?;
        let (_, value) = own.remove(at)?;
        self.count -= 1;
        if own.is_empty() {
            self.taken.remove(&peer);
        }
        Some(value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.taken.values().flatten().map(|(_, value)| value)
    }

    /// Takes out those of whom this is true, in the order in which they came.
    pub fn take_out(&mut self, mut is_meant: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut out: Vec<(u64, T)> = Vec::new();
        for (peer, own) in std::mem::take(&mut self.taken) {
            let (meant, rest): (VecDeque<_>, VecDeque<_>) =
                own.into_iter().partition(|(_, value)| is_meant(value));
            out.extend(meant);
            if !rest.is_empty() {
                self.taken.insert(peer, rest);
            }
        }
        self.count -= out.len();
        out.sort_by_key(|(number, _)| *number);
        out.into_iter().map(|(_, value)| value).collect()
    }

    /// The peer that has most; of equals the one whose oldest came first.
    fn largest(&self) -> Option<Peer> {
        let largest = self.taken.iter().max_by_key(|(_, own)| {
            let oldest = own.front().map_or(u64::MAX, |(number, _)| *number);
            (own.len(), u64::MAX - oldest)
        });
        largest.map(|(peer, _)| *peer)
    }

    fn pop(&mut self, peer: Peer) -> Option<T> {
        let number = self.taken.get(&peer)?.front()?.0;
        self.free(peer, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn peer(pid: i32) -> Peer {
        Peer {
            uid: 33,
            pid: Some(pid),
        }
    }

    #[test]
    fn who_has_all_it_may_have_makes_room_for_itself() {
        let mut quota = PeerQuota::new(2, 100);
        assert_eq!(quota.take(peer(1), "a").1, None);
        assert_eq!(quota.take(peer(1), "b").1, None);
        assert_eq!(quota.take(peer(1), "c").1, Some("a"));
        assert_eq!(quota.take(peer(2), "d").1, None);
    }

    #[test]
    fn who_has_most_makes_room_for_the_others() {
        let mut quota = PeerQuota::new(100, 4);
        for value in 0..3 {
            quota.take(peer(1), value);
        }
        let (number, gone) = quota.take(peer(2), 10);
        assert_eq!(gone, None);
        assert_eq!(quota.take(peer(3), 11).1, Some(0));
        assert_eq!(quota.take(peer(3), 12).1, Some(1));
        assert_eq!(quota.free(peer(2), number), Some(10));
        assert_eq!(quota.free(peer(2), number), None);
        assert_eq!(quota.iter().count(), 3);
    }

    #[test]
    fn what_is_taken_out_comes_in_its_order() {
        let mut quota = PeerQuota::new(10, 10);
        for (value, pid) in [(1, 9), (2, 3), (3, 9), (4, 3)] {
            quota.take(peer(pid), value);
        }
        assert_eq!(quota.take_out(|value| *value != 2), [1, 3, 4]);
        assert_eq!(quota.take_out(|_| true), [2]);
        assert_eq!(quota.iter().count(), 0);
    }
}
