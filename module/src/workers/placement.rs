//! The child's part of placement: on which of its open connections to a group a
//! request goes out. Pure: `pool.rs` asks it. The other parts are the supervisor's
//! (who gets a new connection) and the worker's (when one is given back).

/// The position of the connection whose worker has the fewest requests; of equals the
/// last, which was used last. `loads` has the requests of each connection's worker.
pub(crate) fn choose(
    loads: impl DoubleEndedIterator<Item = u32> + ExactSizeIterator,
) -> Option<usize> {
    let mut best: Option<(usize, u32)> = None;
    for (at, load) in loads.enumerate().rev() {
        if best.is_none_or(|(_, least)| load < least) {
            best = Some((at, load));
        }
        if load == 0 {
            break;
        }
    }
    best.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_requests_decide_and_then_the_last_use() {
        let chosen = |loads: &[u32]| choose(loads.iter().copied());
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[3, 1, 2]), Some(1));
        assert_eq!(chosen(&[1, 1, 2]), Some(1));
        assert_eq!(chosen(&[0, 4, 0, 1]), Some(2));
    }

    #[test]
    fn an_idle_worker_ends_the_search() {
        let mut asked = Vec::new();
        let loads = [7, 0, 5].into_iter().inspect(|load| asked.push(*load));
        assert_eq!(choose(loads), Some(1));
        assert_eq!(asked, [5, 0]);
    }
}
