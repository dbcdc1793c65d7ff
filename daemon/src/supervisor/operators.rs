//! The operators whose questions wait for workers to say what they do. Filled by
//! `commands`; `endings` and `messages` tell which workers need not be waited for
//! any more. Knows nothing of the answers.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::sync::oneshot;
use wsgid_protocol::answers::CommandResult;

use wsgid_policy::ids::WorkerId;

/// A status that waits for the reports of workers.
pub(super) struct PendingStatus {
    pub(super) uid: u32,
    pub(super) waits_for: BTreeSet<WorkerId>,
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<CommandResult>,
}

#[derive(Default)]
pub(super) struct Operators(Vec<PendingStatus>);

impl Operators {
    pub(super) fn wait(&mut self, status: PendingStatus) {
        self.0.push(status);
    }

    /// A worker has said what it does, or has ended.
    pub(super) fn reported(&mut self, worker: WorkerId) {
        for status in &mut self.0 {
            status.waits_for.remove(&worker);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|status| status.until).min()
    }

    /// Those who need not wait any longer.
    pub(super) fn take_done(&mut self, now: Instant) -> Vec<PendingStatus> {
        self.0
            .extract_if(.., |status| {
                status.waits_for.is_empty() || status.until <= now
            })
            .collect()
    }
}
