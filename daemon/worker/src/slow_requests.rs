//! Which requests have become slow (`slow-request=`), each once. Asked by `monitor`,
//! which looks at all requests anyway; nothing is noted in a request itself.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wsgid_protocol::GroupConfig;

use crate::exchange::Exchange;
use crate::log;
use crate::report::activity;
use crate::thread_slot::ThreadSlot;

pub(crate) struct SlowRequests {
    after: Option<Duration>,
    /// Of each thread, which of its requests was told of last.
    told: Vec<u64>,
}

impl SlowRequests {
    pub(crate) fn new(group: &GroupConfig) -> Self {
        let after = Some(group.slow_request).filter(|after| !after.is_zero());
        Self {
            after,
            told: vec![0; after.map_or(0, |_| group.threads as usize)],
        }
    }

    /// Whether a request has just become slow. Then the log has said so: its stack follows
    /// as soon as the interpreter can be had, which may be the very thing it waits for.
    pub(crate) fn is_news(&mut self, exchange: &Exchange, slot: &ThreadSlot, now: Instant) -> bool {
        let passed = now.saturating_duration_since(exchange.started);
        if self.after.is_none_or(|after| passed < after) {
            return false;
        }
        let begun = slot.begun.load(Ordering::Relaxed);
        let Some(told) = self.told.get_mut(exchange.slot) else {
            return false;
        };
        let is_news = std::mem::replace(told, begun) != begun;
        if is_news {
            log::process(&format!(
                "request `{}` (id {}) has been running for {:.1} s in thread wsgid-{}, which is above slow-request: {}",
                exchange.label.what(),
                exchange.label.request_id(),
                passed.as_secs_f64(),
                exchange.slot + 1,
                activity(slot, exchange).word(),
            ));
        }
        is_news
    }
}
