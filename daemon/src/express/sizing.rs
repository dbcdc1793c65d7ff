//! How many processes and threads httpd gets for so many application threads.
//! Pure arithmetic, with the defaults of mod_wsgi-express, but for threads of httpd: one
//! is held by each client that sends its request slowly and by each upgraded connection,
//! and they are cheap (docs/tuning.md has what they take).

use serde::Serialize;

use super::options::Processes;

/// The numbers of the MPM section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sizing {
    pub(crate) max_clients: u32,
    pub(crate) server_limit: u32,
    pub(crate) threads_per_child: u32,
    pub(crate) start_servers: u32,
    pub(crate) min_spare: u32,
    pub(crate) max_spare: u32,
}

/// Most threads in one httpd child. Few children share the connections to the
/// workers best; more than this in one would put too much on one process.
const THREADS_PER_CHILD_MAX: u32 = 100;

/// Threads beyond what the application needs, for clients that hold one and ask nothing
/// of it. A child of prefork is a process: there are none of those.
const THREADS_FOR_IDLE: u32 = 380;

impl Sizing {
    pub(crate) fn of(options: &Processes, mpm: &str, worker_processes: u32) -> Self {
        let capacity = f64::from(worker_processes.max(1)) * f64::from(options.threads);
        let for_application = whole(10.0 + (1.5 * capacity).max(10.0));
        let prefork = mpm == "prefork";
        let (wanted, initial, least, most) = match options.max_clients {
            Some(given) if !prefork => (given, 0.2, None, 0.6),
            // All are there from the start: clients may come all at once.
            None if !prefork => (for_application + THREADS_FOR_IDLE, 1.0, Some(0.05), 1.0),
            given => (given.unwrap_or(for_application), 0.05, None, 0.1),
        };
        let least = least.filter(|_| options.initial_workers.is_none());
        let initial = options.initial_workers.unwrap_or(initial);
        let least = options.minimum_spare_workers.or(least).unwrap_or(initial);
        let most = options.maximum_spare_workers.unwrap_or(most).max(least);
        if prefork {
            return Self {
                max_clients: wanted,
                server_limit: wanted,
                threads_per_child: 1,
                start_servers: part(initial, wanted),
                min_spare: part(least, wanted),
                max_spare: part(most, wanted)
                    .max(part(least, wanted) + 1)
                    .min(wanted.max(2)),
            };
        }
        let children = wanted.div_ceil(THREADS_PER_CHILD_MAX);
        let threads = wanted.div_ceil(children);
        let max_clients = children * threads;
        let min_spare = part(least, max_clients);
        Self {
            max_clients,
            server_limit: children,
            threads_per_child: threads,
            start_servers: part(initial, max_clients).div_ceil(threads).min(children),
            min_spare,
            // httpd wants room for one child between the two.
            max_spare: part(most, max_clients).max(min_spare + threads),
        }
    }
}

/// At least one.
fn part(fraction: f64, of: u32) -> u32 {
    whole((fraction.clamp(0.0, 1.0) * f64::from(of)).ceil()).clamp(1, of)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded to the range before"
)]
fn whole(number: f64) -> u32 {
    number.clamp(0.0, 1_000_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::express::tests::options;

    fn sizing(arguments: &[&str], mpm: &str, processes: u32) -> Sizing {
        Sizing::of(&options(arguments).processes, mpm, processes)
    }

    #[test]
    fn threads_are_many_and_processes_few() {
        let got = sizing(&[], "event", 1);
        assert_eq!((got.max_clients, got.start_servers), (400, 4));
        assert_eq!((got.min_spare, got.max_spare), (20, 400));
        assert_eq!(sizing(&["--threads", "15"], "event", 4).max_clients, 480);
        assert_eq!(sizing(&["--threads", "15"], "prefork", 4).max_clients, 100);
        assert_eq!(sizing(&[], "prefork", 1).max_clients, 20);
        assert_eq!(sizing(&[], "prefork", 1).start_servers, 1);
        assert_eq!(
            sizing(&["--max-clients", "33"], "prefork", 1).server_limit,
            33
        );
    }

    #[test]
    fn children_and_threads_multiply_up() {
        for processes in [1, 2, 7, 40, 400] {
            let got = sizing(&[], "event", processes);
            assert_eq!(got.max_clients, got.server_limit * got.threads_per_child);
            assert!(got.threads_per_child <= THREADS_PER_CHILD_MAX);
            assert!(got.start_servers >= 1 && got.start_servers <= got.server_limit);
            assert!(got.max_spare >= got.min_spare + got.threads_per_child);
        }
    }
}
