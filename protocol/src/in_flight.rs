//! The requests that a worker serves at one moment: as the worker tells of them, and
//! as the status shows them. The worker fills them in, the supervisor bounds them,
//! the command line and the module's status page show them. Pure data.
//!
//! They cross the wire in a list: a [`RequestInFlight`] gets no further field.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::text::cut;
use crate::words::words;

/// Longest method, path and id that are believed.
const NAME_MAX: usize = 400;

/// Most requests of one worker that are told of.
const RUNNING_MAX: usize = 200;

words! {
    /// What the thread of a request does just now.
    Activity {
        /// It has a processor, or waits for one.
        Computing = "computing",
        /// It waits for more of the request's body.
        ReadingBody = "reading the body",
        /// It waits until the client, through httpd, takes more of the response.
        Writing = "writing to the client",
        /// It waits for something else: a database, a lock, the interpreter.
        Waiting = "waiting",
    }
}

/// A request that a thread of a worker serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestInFlight {
    /// Number of the thread, from 1, as in its name.
    pub thread: u32,
    /// httpd's id of the request, which its log has too.
    pub id: String,
    /// The method.
    pub method: String,
    /// The path, cut to a sensible length; without the query.
    pub path: String,
    /// For how long it has been running, in microseconds.
    pub for_us: u64,
    /// What its thread does.
    pub activity: Activity,
    /// The Python stack of its thread, for who has asked for it.
    pub stack: Option<String>,
}

/// What a worker says of its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerRequests {
    /// Whether these are with stacks.
    pub stacks: bool,
    /// Requests that wait in it for a thread.
    pub queued: u32,
    /// Those that run.
    pub running: Vec<RequestInFlight>,
}

impl WorkerRequests {
    /// Makes it what may be kept of a claim, and fits into a message: the oldest
    /// requests, texts of one line each, and stacks that have so many bytes together.
    pub fn bound(&mut self, stacks: usize) {
        self.running
            .sort_unstable_by_key(|request| Reverse(request.for_us));
        self.running.truncate(RUNNING_MAX);
        let each = stacks.checked_div(self.running.len()).unwrap_or(0);
        for request in &mut self.running {
            for text in [&mut request.id, &mut request.method, &mut request.path] {
                text.truncate(cut(text, NAME_MAX).len());
                if text.contains(|char| !is_shown(char)) {
                    *text = text.replace(|char| !is_shown(char), "?");
                }
            }
            if let Some(stack) = &mut request.stack {
                stack.truncate(cut(stack, each).len());
            }
        }
    }
}

/// As workers make the names of requests.
const fn is_shown(char: char) -> bool {
    char.is_ascii_graphic() || char == ' '
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_believed_within_bounds() {
        let claimed = |for_us| RequestInFlight {
            method: "GET\n".to_owned(),
            path: "\u{e9}".repeat(NAME_MAX),
            for_us,
            stack: Some("x".repeat(500)),
            ..RequestInFlight::default()
        };
        let mut requests = WorkerRequests {
            running: (0..300).map(claimed).collect(),
            ..WorkerRequests::default()
        };
        requests.bound(RUNNING_MAX * 9);
        let ages: Vec<u64> = requests.running.iter().map(|one| one.for_us).collect();
        assert!(ages.iter().copied().eq((100..300).rev()), "{ages:?}");
        for request in &requests.running {
            assert_eq!(request.method, "GET?");
            assert_eq!(request.path, "?".repeat(NAME_MAX / 2));
            assert_eq!(request.stack.as_deref(), Some("xxxxxxxxx"));
        }
        let len = crate::payload::encode(&requests).map_or(usize::MAX, |bytes| bytes.len());
        assert!(
            len < crate::limits::MAX_WORKER_CONTROL_LEN as usize / 2,
            "{len}"
        );
        WorkerRequests::default().bound(0);
    }
}
