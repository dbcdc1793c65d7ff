//! Places for peers that have not shown yet who they are: so many in all, and
//! so many for each peer. Who has more than the others makes room for them: the
//! oldest of its own goes. Nobody is kept waiting, and nobody is kept out by
//! another. Used for connections without HELLO (`listener`) and for those that
//! are ahead of their configuration (`supervisor/requests.rs`).

use std::collections::{BTreeMap, VecDeque};

/// A user, and the process where it is known and all peers are of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The process.
    pub pid: Option<i32>,
}

/// What has a place, by who has it.
#[derive(Debug)]
pub struct Places<T> {
    taken: BTreeMap<Peer, VecDeque<(u64, T)>>,
    count: usize,
    last: u64,
    each: usize,
    all: usize,
}

impl<T> Places<T> {
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

    /// Gives a place, by its number. Returns also what had to go for it.
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

    /// Gives a place back.
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

    /// All that have one.
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

    /// Who has most; of equals the one whose oldest came first.
    fn largest(&self) -> Option<Peer> {
        let oldest = |own: &VecDeque<(u64, T)>| own.front().map_or(u64::MAX, |(number, _)| *number);
        let size = |own: &VecDeque<(u64, T)>| (own.len(), u64::MAX - oldest(own));
        self.taken
            .iter()
            .max_by_key(|(_, own)| size(own))
            .map(|(peer, _)| *peer)
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
        let mut places = Places::new(2, 100);
        assert_eq!(places.take(peer(1), "a").1, None);
        assert_eq!(places.take(peer(1), "b").1, None);
        assert_eq!(places.take(peer(1), "c").1, Some("a"));
        assert_eq!(places.take(peer(2), "d").1, None);
    }

    #[test]
    fn who_has_most_makes_room_for_the_others() {
        let mut places = Places::new(100, 4);
        for value in 0..3 {
            places.take(peer(1), value);
        }
        let (number, gone) = places.take(peer(2), 10);
        assert_eq!(gone, None);
        assert_eq!(places.take(peer(3), 11).1, Some(0));
        assert_eq!(places.take(peer(3), 12).1, Some(1));
        assert_eq!(places.free(peer(2), number), Some(10));
        assert_eq!(places.free(peer(2), number), None);
        assert_eq!(places.iter().count(), 3);
    }

    #[test]
    fn what_is_taken_out_comes_in_its_order() {
        let mut places = Places::new(10, 10);
        for (value, pid) in [(1, 9), (2, 3), (3, 9), (4, 3)] {
            places.take(peer(pid), value);
        }
        assert_eq!(places.take_out(|value| *value != 2), [1, 3, 4]);
        assert_eq!(places.take_out(|_| true), [2]);
        assert_eq!(places.iter().count(), 0);
    }
}
