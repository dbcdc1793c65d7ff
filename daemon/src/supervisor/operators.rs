//! The operators whose questions wait for workers to say what they do. Filled by
//! `commands`; `endings` and `messages` tell which workers need not be waited for
//! any more. Knows nothing of the answers.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::sync::oneshot;
use wsgid_protocol::answers::CommandResult;

use wsgid_policy::ids::WorkerId;

/// Which status is wanted.
#[derive(Clone, Debug)]
pub(super) struct StatusQuestion {
    pub(super) uid: u32,
    /// One group, or all that the asker may see.
    pub(super) group: Option<String>,
    /// Whether the stacks of requests are wanted.
    pub(super) stacks: bool,
    pub(super) asked: Instant,
}

impl StatusQuestion {
    pub(super) fn is_about(&self, group: &str) -> bool {
        self.group.as_ref().is_none_or(|wanted| wanted == group)
    }
}

/// A status that waits for the reports of workers, or for their stacks.
pub(super) struct PendingStatus {
    pub(super) question: StatusQuestion,
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

    /// A worker has said what it does, or what its requests do, with their stacks.
    pub(super) fn reported(&mut self, worker: WorkerId, stacks: bool) {
        let statuses = self.0.iter_mut();
        for status in statuses.filter(|status| status.question.stacks == stacks) {
            status.waits_for.remove(&worker);
        }
    }

    /// A worker has ended.
    pub(super) fn ended(&mut self, worker: WorkerId) {
        for status in &mut self.0 {
            status.waits_for.remove(&worker);
        }
    }

    pub(super) fn want_stacks(&self) -> bool {
        self.0.iter().any(|status| status.question.stacks)
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
