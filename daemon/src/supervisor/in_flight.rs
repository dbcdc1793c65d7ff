//! What workers have said of the requests that they serve, and how much of it one
//! status holds. Filled by `messages`, asked by `status`. Knows nothing of groups.

use std::time::Instant;

use wsgid_protocol::in_flight::{RequestInFlight, WorkerRequests};

/// Requests that one status tells of: an answer has to fit into one frame.
const REQUESTS_MAX: usize = 2048;
/// Bytes of their stacks together. As JSON they may be six times as long.
const STACKS_MAX: usize = 2 << 20;

/// What a worker said last.
#[derive(Default)]
pub(super) struct ToldRequests {
    plain: Option<ToldAt>,
    with_stacks: Option<ToldAt>,
}

/// What a worker said, and when.
pub(super) struct ToldAt {
    at: Instant,
    pub(super) requests: WorkerRequests,
}

impl ToldRequests {
    pub(super) const fn new() -> Self {
        Self {
            plain: None,
            with_stacks: None,
        }
    }

    pub(super) fn note(&mut self, requests: WorkerRequests, at: Instant) {
        if requests.stacks {
            self.with_stacks = Some(ToldAt { at, requests });
        } else {
            self.plain = Some(ToldAt { at, requests });
        }
    }

    /// What is known: with stacks only if they came for this question. Of a worker that
    /// does not answer it is what it said before; what nobody ends goes on.
    pub(super) fn known(&self, asked: Instant, stacks: bool) -> Option<&ToldAt> {
        let with_stacks = self.with_stacks.as_ref();
        with_stacks
            .filter(|told| stacks && told.at >= asked)
            .or(self.plain.as_ref())
    }

    /// The worker serves nothing now.
    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }

    pub(super) fn forget_stacks(&mut self) {
        self.with_stacks = None;
    }
}

/// How much each worker may tell, so that all of it fits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestRoom {
    requests_each: usize,
    stack_len: usize,
}

impl RequestRoom {
    /// For workers that tell of so many requests each: who tells of few leaves room.
    pub(super) fn new(mut counts: Vec<usize>) -> Self {
        counts.sort_unstable();
        let mut room = REQUESTS_MAX;
        let mut left = counts.len();
        let mut requests_each = usize::MAX;
        for count in counts {
            if count.saturating_mul(left) > room {
                requests_each = (room / left).max(1);
                room = 0;
                break;
            }
            room -= count;
            left -= 1;
        }
        Self {
            requests_each,
            stack_len: STACKS_MAX / (REQUESTS_MAX - room).max(1),
        }
    }

    /// The oldest requests, as many as fit, as they are now.
    pub(super) fn take(self, told: &ToldAt, now: Instant) -> Vec<RequestInFlight> {
        let since = now.saturating_duration_since(told.at).as_micros();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        let running = &told.requests.running;
        let oldest = running.iter().take(self.requests_each).cloned();
        oldest
            .map(|mut request| {
                request.for_us = request.for_us.saturating_add(since);
                if let Some(stack) = &mut request.stack {
                    stack.truncate(wsgid_protocol::text::cut(stack, self.stack_len).len());
                }
                request
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(count: u32, stack: Option<&str>) -> WorkerRequests {
        let request = |thread| RequestInFlight {
            thread,
            stack: stack.map(str::to_owned),
            ..RequestInFlight::default()
        };
        WorkerRequests {
            stacks: stack.is_some(),
            queued: 0,
            running: (1..=count).map(request).collect(),
        }
    }

    fn told_at(requests: WorkerRequests, at: Instant) -> ToldAt {
        ToldAt { at, requests }
    }

    #[test]
    fn many_requests_share_the_room_and_few_keep_theirs() {
        let each = |counts: &[usize]| RequestRoom::new(counts.to_vec()).requests_each;
        assert_eq!(each(&[]), usize::MAX);
        assert_eq!(each(&[0, 0, 2048]), usize::MAX);
        assert_eq!(each(&[8, 3000, 3000]), 1020);
        assert_eq!(each(&[200; 4096]), 1);
        let room = RequestRoom::new(vec![1500, 1500]);
        let now = Instant::now();
        let taken = |count| room.take(&told_at(told(count, None), now), now).len();
        assert_eq!((taken(1500), taken(9)), (1024, 9));
    }

    #[test]
    fn stacks_share_the_room_too() {
        let long = "x".repeat(STACKS_MAX);
        let now = Instant::now();
        let told = told_at(told(4, Some(&long)), now);
        let taken = RequestRoom::new(vec![4, 0]).take(&told, now);
        let len = |request: &RequestInFlight| request.stack.as_ref().map_or(0, String::len);
        assert_eq!(taken.iter().map(len).sum::<usize>(), STACKS_MAX);
    }

    #[test]
    fn a_worker_that_does_not_answer_goes_on_with_what_it_has() {
        let before = Instant::now();
        let asked = before + Duration::from_secs(3);
        let mut said = ToldRequests::new();
        let known = |said: &ToldRequests, asked, stacks| {
            let told = said.known(asked, stacks)?;
            let taken = RequestRoom::new(Vec::new()).take(told, before + Duration::from_secs(3));
            Some((taken.len(), taken[0].for_us, taken[0].stack.is_some()))
        };
        assert_eq!(known(&said, before, true), None);
        said.note(told(1, None), before);
        said.note(told(2, Some("in f")), before);
        assert_eq!(known(&said, asked, false), Some((1, 3_000_000, false)));
        assert_eq!(known(&said, before, true), Some((2, 3_000_000, true)));
        assert_eq!(
            known(&said, asked, true),
            Some((1, 3_000_000, false)),
            "stacks are those of this moment"
        );
        said.forget_stacks();
        assert_eq!(known(&said, before, true), Some((1, 3_000_000, false)));
        said.forget();
        assert_eq!(known(&said, before, false), None);
    }
}
